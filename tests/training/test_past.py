"""Old selves, exploitability from samples, pictures, and where metrics go."""

import json
from collections.abc import Sequence

import pytest

from agents.agent import Agent, Observation, Reply
from agents.elicit import policy_from_samples, policy_of_agent
from agents.specs import make_agent
from lmgames import solve
from lmgames.chance import Chance
from lmgames.registry import make_game
from training.checkpoint import read_metrics, write_file
from training.config import load_config
from training.past import keep_for_later, past_selves
from training.plot import PANELS, plot_runs
from training.train import train
from training.wandb_log import WandB


def touch(folder):
    folder.mkdir(parents=True)


def test_as_many_old_selves_are_kept_as_are_met(tmp_path):
    back = (1, 2, 4)
    assert past_selves(tmp_path, 0, back) == {}
    for step in range(0, 80, 10):
        keep_for_later(tmp_path, step, back, touch)
    assert sorted(each.name for each in (tmp_path / "evaluated").iterdir()) == [
        f"step_{step:06d}" for step in (40, 50, 60, 70)
    ]
    met = past_selves(tmp_path, 80, back)
    assert {name: folder.name for name, folder in met.items()} == {
        "start": "start",
        "1 back": "step_000070",
        "2 back": "step_000060",
        "4 back": "step_000040",
    }
    assert set(past_selves(tmp_path, 61, back)) == {"start", "1 back", "2 back"}, "a cut-off run's later ones do not count"
    assert past_selves(tmp_path, 80, ()) == {}


class Quiet:
    def warm_up(self, step, total, loss):
        pass

    def step(self, line, total):
        pass


def test_a_run_meets_what_it_was(tmp_path):
    settings = {"hidden_size": 32, "layers": 1, "warmup_steps": 4, "warmup_games": 30, "games_per_step": 24, "group_size": 4}
    settings |= {
        "steps": 3,
        "play_every": 1,
        "play_games": 2,
        "play_past": "1,2,16",
        "opponents": "random",
        "eval_every": 1,
        "eval_samples": 4,
    }
    train(load_config("kuhn_tiny", settings), tmp_path, Quiet())
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [list(line["against"]) for line in lines] == [
        ["random"],
        ["random", "start"],
        ["random", "start", "1 back"],
        ["random", "start", "1 back", "2 back"],
    ]
    assert set(lines[3]["against"]["2 back"]) == {"first", "second"}
    asked = 4 * 12  # replies in all
    assert all(
        line["illegal_mass"]["last"] * asked == pytest.approx(round(line["illegal_mass"]["last"] * asked)) for line in lines
    )


def test_weights_and_biases_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    config = load_config(None)
    for step in (0, 1):
        board = WandB(tmp_path, config)
        board.write({"step": step, "nash_conv": {"ema": 0.5}, "seconds": {"train": 1.0}})
        board.close()
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 2
    name = (tmp_path / "wandb_id.txt").read_text().strip()
    assert all(folder.name.endswith(name) for folder in (tmp_path / "wandb").glob("offline-run-*")), "one run, gone on with"


class Thinks(Agent):
    """Plays as another does, and says so after some thought; sometimes rubbish."""

    def __init__(self, spec, rubbish=0.0):
        self.player = make_agent(spec)
        self.rubbish = rubbish

    def act(self, observations: Sequence[Observation]) -> list[Reply]:
        replies = self.player.act(observations)
        return [
            Reply("<think>well</think> what?" if self._is_rubbish(seen) else f"<think>[fold]?</think> I say {reply.text}")
            for seen, reply in zip(observations, replies, strict=True)
        ]

    def _is_rubbish(self, seen):
        return Chance(seen.seed).uniform("rubbish") < self.rubbish


def test_exploitability_from_samples():
    """Nash play is exploited by no more than the noise of its frequencies; an honest player by what it is worth exactly."""
    game = make_game("KuhnPoker-v0")
    assert policy_of_agent(Thinks("nash"), "KuhnPoker-v0") is None, "only playing tells"
    found = policy_from_samples(Thinks("nash", rubbish=0.1), "KuhnPoker-v0", 400)
    assert solve.nash_conv(game, found.policy) < 0.12
    assert found.illegal_mass == pytest.approx(0.1, abs=0.02)
    assert all(sum(mix.values()) == pytest.approx(1) for mix in found.policy.values())
    exact = policy_of_agent(make_agent("honest"), "KuhnPoker-v0")
    sampled = policy_from_samples(Thinks("honest"), "KuhnPoker-v0", 300)
    assert solve.nash_conv(game, sampled.policy) == pytest.approx(solve.nash_conv(game, exact.policy), abs=0.1)
    assert policy_from_samples(Thinks("nash", rubbish=1.0), "KuhnPoker-v0", 2).illegal_mass == 1.0


class Fails(Agent):
    def act(self, observations: Sequence[Observation]) -> list[Reply]:
        return [Reply("", finish_reason="error", error=ConnectionError("the server is down")) for _ in observations]


def test_a_model_that_fails_has_no_policy():
    """Its empty replies are no illegal moves of its own."""
    with pytest.raises(ConnectionError, match="the server is down"):
        policy_from_samples(Fails(), "KuhnPoker-v0", 2)


def run_with(tmp_path, name, lines):
    write_file(tmp_path / name / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path / name


LINES = [
    {"step": 0, "seconds": {"warm_up": 3.0}, "against": {"random": {"x": {"mean": 0.1}, "o": {"mean": -0.1}}}},
    {"step": 1, "return": {"x": 0.5, "o": -0.5}, "entropy": 0.3, "kl": 0.1, "seconds": {"train": 1.0, "generate": 2.0}},
    {"step": 2, "nash_conv": {"A-v0": {"ema": 0.5}, "B-v0": {"ema": 0.7}}, "reply_tokens": 3.0, "empty_thinking": 1.0},
]


def test_a_picture_has_a_curve_for_each_thing_that_was_measured(tmp_path):
    curves = {panel.title: panel.curves(LINES) for panel in PANELS}
    assert curves["NashConv"] == {
        "A-v0 weight EMA (kept)": ([2], [0.5]),
        "B-v0 weight EMA (kept)": ([2], [0.7]),
    }
    assert curves["against fixed players"] == {"random, as x": ([0], [0.1]), "random, as o": ([0], [-0.1])}
    assert curves["return by role"] == {"x": ([1], [0.5]), "o": ([1], [-0.5])}
    assert curves["where a step's time goes"]["generate"] == ([1], [2.0])
    assert curves["where a step's time goes"]["env"] == ([1], [0.0])
    assert curves["replies"] == {}, "a model that never thinks is no news"
    run = run_with(tmp_path, "one", LINES)
    for runs, name in (([run], "one.png"), ([run, run], "two.svg")):
        plot_runs(runs, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 5000


def test_pictures_that_cannot_be_drawn_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no metrics\.jsonl"):
        plot_runs([tmp_path], tmp_path / "x.png")
    with pytest.raises(ValueError, match=r"pictures are \.png"):
        plot_runs([run_with(tmp_path, "one", LINES)], tmp_path / "x.bmp")


def test_what_is_not_installed_or_known_is_said(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'lmgames\[wandb\]'"):
        load_config(None, {"wandb": "true"})


@pytest.mark.parametrize(
    "settings, complaint",
    [
        ({"play_past": "0,1"}, "from 1 on"),
        ({"play_past": "1", "play_every": 0}, "play_every=0 must make some"),
        ({"play_past": "1,two"}, "play_past='two' is not of type int"),
        ({"eval_samples": -1}, "eval_samples=-1"),
    ],
)
def test_refused(settings, complaint):
    with pytest.raises(ValueError, match=complaint):
        load_config(None, settings)
