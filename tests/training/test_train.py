"""The loop end to end: what it learns, that it goes on where it stopped, that its files are whole."""

import json
import os
import signal
import subprocess
import sys
import time
import warnings

import pytest
import torch

from agents.models.model import Sampling
from agents.play import play
from agents.specs import make_agent
from lmgames import GAMES, solve
from lmgames.records import GameRecord, replay
from lmgames.registry import make_game
from training.__main__ import main
from training.advantages import variance_shares
from training.checkpoint import load_latest, read_metrics, read_tensors
from training.config import load_config
from training.credit import Credit
from training.evaluate import AveragePolicy, evaluation_games, own_reach, summary, transcripts
from training.metrics import without_timing
from training.rollout import collect, matches
from training.stop import Stop
from training.tensorboard import scalars
from training.train import _evaluated, _learn, new_run, train

SMALL = {
    "hidden_size": 32,
    "layers": 1,
    "warmup_steps": 6,
    "warmup_games": 30,
    "games_per_step": 24,
    "group_size": 4,
    "steps": 4,
    "eval_every": 2,
    "save_every": 2,
    "play_every": 4,
    "play_games": 5,
}

NOBODY = {"KuhnPoker-v0": None}


class Quiet:
    """A display that only remembers."""

    def __init__(self):
        self.lines = []

    def warm_up(self, step, total, loss):
        pass

    def step(self, line, total):
        self.lines.append(line)


@pytest.fixture
def small_run(tmp_path):
    return new_run(load_config("kuhn_tiny", SMALL), tmp_path)


def test_deals_are_stratified_and_shared_by_a_group():
    config = load_config("kuhn_tiny", {**SMALL, "games_per_step": 30, "group_size": 5})
    scheduled = list(matches(config, 3, NOBODY))
    by_group = {}
    for match in scheduled:
        by_group.setdefault(match.tag.group, []).append(match)
    assert [len(group) for group in by_group.values()] == [5] * 6
    deals = [json.dumps(group[0].instance) for group in by_group.values()]
    assert len(set(deals)) == 6, "six groups see the six deals of Kuhn Poker"
    assert all(
        json.dumps(match.instance) == deal for group, deal in zip(by_group.values(), deals, strict=True) for match in group
    )
    assert len({match.seed for match in scheduled}) == 30, "players draw differently in each game"


def test_steps_have_different_games():
    config = load_config("kuhn_tiny", SMALL)
    assert {match.seed for match in matches(config, 0, NOBODY)}.isdisjoint(
        match.seed for match in matches(config, 1, NOBODY)
    )


def test_every_seat_gives_a_trajectory_with_its_own_return(small_run):
    played = collect(small_run.config, 0, small_run.agents)
    assert len(played) == 48
    for first, second in zip(played[::2], played[1::2], strict=True):
        assert (first.outcome.role, second.outcome.role) == ("first", "second")
        assert first.outcome.return_ == -second.outcome.return_
        for trajectory in (first, second):
            assert all(step.seat == trajectory.seat for step in trajectory.steps)
            if trajectory.steps:
                assert sum(step.reward for step in trajectory.steps) == trajectory.outcome.return_


def test_variance_shares_of_random_play():
    """By hand: a deal is worth +-1 and 1/8 more to the first seat, and E[R^2] is 17/8; so roles make (1/8)^2, deals 1 of it."""
    config = load_config("kuhn_tiny", {"games_per_step": 2400, "group_size": 20})
    played = collect(config, 0, {"KuhnPoker-v0": make_agent("random")})
    (shares,) = variance_shares([trajectory.outcome for trajectory in played]).values()
    assert shares["role"] == pytest.approx(1 / 136, abs=0.02)
    assert shares["deal"] == pytest.approx(8 / 17, abs=0.05)


@pytest.mark.parametrize("game", list(GAMES))
def test_positions_are_noted_where_they_are_compared(game):
    """Games on one deal begin at one position; where something is hidden, other deals begin at others."""
    options = {"games": {game: {}}, "games_per_step": 6, "group_size": 3, "baseline": "position", "credit": "turn"}
    played = collect(load_config(None, {**options, "deals": "random"}), 0, {game: make_agent("random")})
    assert all(len(trajectory.positions) == len(trajectory.steps) for trajectory in played)
    first = {
        trajectory.outcome.episode: position
        for trajectory in played
        for step, position in zip(trajectory.steps, trajectory.positions, strict=True)
        if step.observation.turn == 0
    }
    assert first[0] == first[1] == first[2]
    assert (first[0] != first[3]) == make_game(game).hidden_information
    assert len({position for trajectory in played for position in trajectory.positions}) > 1  # they can be hashed
    assert not collect(load_config(None, {**options, "baseline": "none"}), 0, {game: make_agent("random")})[0].positions


def test_rows_are_the_sampled_tokens(small_run):
    played = collect(small_run.config, 0, small_run.agents)
    made = Credit(small_run.config).rows(played).rows
    assert len(made) > 20
    for row in made:
        (logprobs,) = small_run.agent.model.score([row.prompt_ids], [row.reply_ids])
        assert row.logprobs == pytest.approx(logprobs, abs=1e-4)


def test_a_forfeited_game_teaches_only_what_was_refused(small_run):
    """Before its warm start the model says rubbish: every game is decided by a forfeit."""
    played = collect(small_run.config, 0, small_run.agents)
    spoiled = [trajectory for trajectory in played if not trajectory.decided_by_rules]
    assert len(spoiled) > 40
    made = Credit(small_run.config).rows(spoiled).rows
    refused = sum(step.turn.status != "ok" for trajectory in spoiled for step in trajectory.steps)
    assert len(made) == refused
    assert {row.advantage for row in made} == {-small_run.config.invalid_penalty}


def test_average_policy_is_weighed_by_own_reach():
    """Half the time always check then fold, half always check then call: facing a bet after a check it is half and half.
    A third policy that never checks does not count there."""
    game = make_game("KuhnPoker-v0")

    def pure(opening, facing_a_bet):
        return {
            key: {move: float(move == (opening if "[check]" in moves else facing_a_bet)) for move in moves}
            for key, moves in solve.information_sets(game).items()
        }

    average = AveragePolicy()
    for policy in (pure("[check]", "[fold]"), pure("[check]", "[call]"), pure("[bet]", "[call]")):
        average.add(game, policy)
    key = next(key for key, moves in solve.information_sets(game).items() if key[0] == "player_0" and "[call]" in moves)
    assert own_reach(game, pure("[bet]", "[call]"))[key] == 0
    assert average.policy()[key] == pytest.approx({"[call]": 0.5, "[fold]": 0.5})
    again = AveragePolicy()
    again.load_state_dict(average.state_dict())
    assert again.policy() == average.policy()


def saved_of(folder):
    """All that the newest checkpoint holds."""
    step, state = load_latest(folder)
    return step, state, read_tensors(folder, step)


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


EVERYTHING = {  # that remembers something, or draws
    "warmup_steps": 40,
    "forfeits": "keep",
    "baseline": "auto",
    "invalid_baseline": "role_ema",
    "scale": "running",
    "p_self": 0.5,
    "snapshot_every": 1,
    "pool": "nash",
    "group_size": 2,
    "pool_sampler": "pfsp_even",
    "epochs": 2,
    "minibatches": 2,
    "entropy_target": 50.0,
    "kl_kind": "k3",
}


LORA = {
    "lora_rank": 2,
    "kl_weight": 0.1,
    "magnet_hold": 0,
    "compute_dtype": "bfloat16",
    "base_dtype": "bfloat16",
    "p_self": 0.5,
}
LORA |= {"snapshot_every": 2, "group_size": 2}


@pytest.mark.parametrize("changes", [{"baseline": "seed_role_loo"}, EVERYTHING, LORA], ids=["plain", "everything", "lora"])
def test_four_steps_are_two_and_two(tmp_path, changes):
    settings = {**SMALL, **changes}
    train(load_config("kuhn_tiny", settings), tmp_path / "whole", Quiet())
    config = load_config("kuhn_tiny", settings)
    with pytest.raises(StoppedError):
        train(config, tmp_path / "cut", StopsAfter(3))  # the checkpoint is of step 2: step 3 is done again
    assert load_latest(tmp_path / "cut")[0] == 2
    train(config, tmp_path / "cut", Quiet())
    assert same(saved_of(tmp_path / "whole"), saved_of(tmp_path / "cut"))
    plain = [[without_timing(line) for line in read_metrics(tmp_path / run / "metrics.jsonl")] for run in ("whole", "cut")]
    assert plain[0] == plain[1]
    if changes is LORA:
        kept = tmp_path / "cut" / "model"
        assert (kept / "adapter_config.json").is_file()
        assert make_agent(f"hf:{kept}").model.score([(5, 6)], [(7,)]) != make_agent(
            f"hf:{tmp_path / 'cut' / 'base'}"
        ).model.score([(5, 6)], [(7,)])
    if changes is EVERYTHING:
        state = load_latest(tmp_path / "cut")[1]
        assert state["credit"]["outcome"]["promised"]
        assert state["credit"]["invalid"]["cells"]
        assert state["credit"]["scale"]["games"]
        assert state["learner"]["entropy"]["weight"] > 0
        assert len(state["pool"]["members"]) == 5
        assert {entry[1] for entry in state["pool"]["payoffs"]["KuhnPoker-v0"]["sums"]} > {"nash"}
        assert plain[0][-1]["baseline"]["lmgames/KuhnPoker-v0"]["choice"] in ("none", "shrink", "seed_role_loo")


class StoppedError(Exception):
    pass


class StopsAfter(Quiet):
    """Ends the run in the middle."""

    def __init__(self, step):
        super().__init__()
        self.last = step

    def step(self, line, total):
        if line["step"] == self.last:
            raise StoppedError


def test_kill_9_loses_at_most_a_step(tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "training", "kuhn_tiny", "--run", str(run), "--save_every", "1", "--steps", "100000"]
    command += [f"--{name}={value}" for name, value in SMALL.items() if name not in ("steps", "save_every")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    try:
        wait_for(lambda: len(read_metrics(run / "metrics.jsonl")) > 4, process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    steps = [line["step"] for line in read_metrics(run / "metrics.jsonl")]
    saved, state = load_latest(run)
    assert steps == list(range(len(steps)))
    assert steps[-1] - saved in (0, 1)
    assert state["learner"]["step_number"] == saved


def wait_for(condition, process, seconds=600):
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the run ended by itself"
        assert time.monotonic() < until, "the run does not get on"
        time.sleep(0.05)


def test_the_kept_model_plays_as_an_agent(tmp_path):
    train(load_config("kuhn_tiny", SMALL), tmp_path, Quiet())
    for name in ("start", "model"):
        episodes = play(
            "KuhnPoker-v0", [make_agent(f"hf:{tmp_path / name}"), "random"], episodes=4, options={"show_rules": False}
        )
        assert all(episode.record.outcome for episode in episodes)


def test_evaluation_plays_both_seats_on_fixed_deals():
    """Honest against uniform, exact: +1/12 in the first seat, +1/6 in the second."""
    config = load_config("kuhn_tiny", {**SMALL, "play_games": 2000})
    (game,) = config.played
    found, again = (summary(evaluation_games(make_agent("honest"), make_agent("random"), game, config)) for _ in range(2))
    assert found == again
    for role, exact in (("first", 1 / 12), ("second", 1 / 6)):
        assert abs(found[role]["mean"] - exact) < 4 * found[role]["standard_error"]
        assert found[role]["won"] + found[role]["drawn"] + found[role]["lost"] == pytest.approx(1)


def test_evaluation_has_options_and_sampling_of_its_own(tmp_path):
    settings = {**SMALL, "play_every": 1, "play_games": 2, "eval_every": 0, "eval_temperature": 0.5, "eval_top_p": 0.9}
    games = {"games": {"TicTacToe-v0": {"random_opening": [2, 6], "invalid_policy": "forfeit"}}}
    games |= {"evaluate": {"TicTacToe-v0": {"random_opening": 0, "max_reply_tokens": 3}}}
    run = new_run(load_config(None, {**settings, **games}), tmp_path)
    line = _evaluated(run, 1)
    assert set(line["greedy"]["random"]) == {"x", "o"}, "the plain board can be followed exactly"
    assert set(line["against"]["random"]["x"]["interval"]) == {"won", "drawn", "lost"}
    kept = [GameRecord.from_json(line) for line in (tmp_path / "games" / "step_000001.jsonl").read_text().splitlines()]
    assert [(record.options["invalid_policy"], "random_opening" in record.options) for record in kept] == [
        ("forfeit", False)
    ] * 4
    (game,) = run.config.evaluated
    assert run.player_in_evaluation(game, run.ema_model).sampling == Sampling(0.5, 0.9, max_tokens=3)
    assert run.agents[game.name].sampling == Sampling(max_tokens=6)


def test_metrics_of_a_run(tmp_path):
    train(load_config("kuhn_tiny", {**SMALL, "forfeits": "keep"}), tmp_path, Quiet())
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines] == [0, 1, 2, 3, 4]
    assert [("nash_conv" in line) for line in lines] == [True, False, True, False, True]
    assert [("against" in line) for line in lines] == [True, False, False, False, True]
    assert [("gradient" in line) for line in lines] == [False, False, False, False, True]
    assert set(lines[4]["gradient"]["norm"]) == {"first", "second"}
    assert -1 <= lines[4]["gradient"]["cosine"]["first/second"] <= 1
    assert set(lines[4]["against"]) == {"random", "honest", "nash"}
    assert set(lines[4]["against"]["nash"]) == {"first", "second"}
    assert {"loss", "kl", "entropy", "grad_norm", "invalid_rate", "variance_share", "seconds"} <= set(lines[1])
    assert {"cells", "mismatch_k3", "mismatch_outside", "reply_tokens_by", "won"} <= set(lines[1])
    kept = [GameRecord.from_json(line) for line in (tmp_path / "games" / "step_000004.jsonl").read_text().splitlines()]
    assert len(kept) == 3 * 8
    assert {spec for record in kept for spec in record.agents.values()} == {"random", "honest", "nash"}
    names = dict(scalars(lines[4]))
    assert names["against/nash/first/mean"] == lines[4]["against"]["nash"]["first"]["mean"]
    assert names["cells/KuhnPoker-v0/first/self/games"] == lines[4]["cells"]["KuhnPoker-v0/first/self"]["games"]


IN_LORA = {"lora_rank": 4, "base_dtype": "bfloat16", "compute_dtype": "bfloat16", "gradient_checkpointing": "true"}


ON_GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=ON_GPU)])
@pytest.mark.parametrize("settings", [{}, IN_LORA], ids=["full", "lora"])
def test_a_run_says_its_own_lines_and_nothing_else(settings, device, tmp_path, capfd):
    """No warning of a library, no progress bar of one: also of pools that load what the run has saved."""
    small = {
        **SMALL,
        "steps": 2,
        "save_every": 1,
        "play_every": 1,
        "play_past": 1,
        "snapshot_every": 1,
        "p_self": 0.5,
        "device": device,
    }
    arguments = [word for name, value in (small | settings).items() for word in (f"--{name}", str(value))]
    with warnings.catch_warnings():
        warnings.simplefilter("error" if device == "cpu" else "default")  # CUDA's libraries may warn once
        assert main(["kuhn_tiny", "--run", str(tmp_path / "run"), *arguments]) == 0
    out, err = capfd.readouterr()
    assert err == "" or device == "cuda"
    own = ("warm start 6/6", "self-play 0/2", "self-play 2/2", "trained model: ")
    assert [line for line in out.splitlines() if not line.startswith(own) and " alarm: " not in line] == []
    assert [out.count(line) for line in own] == [1] * 4


def test_a_pool_is_never_cut_down(tmp_path):
    """Checkpoints are, to the last one; the snapshots that the pool holds stay, and the table knows them."""
    settings = {**SMALL, "p_self": 0.5, "snapshot_every": 1, "save_every": 1, "keep": 1, "eval_every": 0, "play_every": 0}
    settings["forfeits"] = "keep"
    train(load_config("kuhn_tiny", settings), tmp_path, Quiet())
    assert [folder.name for folder in (tmp_path / "steps").iterdir()] == ["step_000004"]
    names = [f"step_{step:06d}" for step in (1, 2, 3, 4)]
    assert sorted(folder.name for folder in (tmp_path / "pool").iterdir()) == names
    saved = load_latest(tmp_path)[1]["pool"]
    assert [member["name"] for member in saved["members"]] == names
    assert {entry[1] for entry in saved["payoffs"]["KuhnPoker-v0"]["sums"]} <= set(names)
    last = read_metrics(tmp_path / "metrics.jsonl")[-1]
    assert {cell.rsplit("/", 1)[1] for cell in last["cells"]} == {"self", "snapshot"}
    assert sum(last["pool"]["weights"].values()) == pytest.approx(1)


def test_sigterm_finishes_the_step_saves_and_exits_0(tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "training", "kuhn_tiny", "--run", str(run), "--steps", "100000", "--save_every=100000"]
    command += [f"--{name}={value}" for name, value in SMALL.items() if name not in ("steps", "save_every")]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        wait_for(lambda: len(read_metrics(run / "metrics.jsonl")) > 2, process)
        process.terminate()
        _, said = process.communicate(timeout=600)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "stopped and saved; go on with: python -m training kuhn_tiny" in said
    step, state = load_latest(run)
    assert step == read_metrics(run / "metrics.jsonl")[-1]["step"] == state["learner"]["step_number"] > 1


@pytest.fixture
def foreground():
    """Ctrl-C interrupts, which it does not where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("foreground")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_end_in_the_warm_start_nothing_is_saved(tmp_path, number):
    class Ends(Quiet):
        def warm_up(self, step, total, loss):
            if step == 2:
                signal.raise_signal(number)

    before = signal.getsignal(number)
    assert train(load_config("kuhn_tiny", SMALL), tmp_path, Ends()) == {}
    assert load_latest(tmp_path) is None
    assert signal.getsignal(number) == before


@pytest.mark.usefixtures("foreground")
def test_ctrl_c_asks_and_a_second_one_interrupts(capfd):
    with Stop() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.asked
        assert "finishing the step, then saving; once more stops at once" in capfd.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


@pytest.mark.usefixtures("foreground")
def test_ctrl_c_stays_ignored_in_the_background():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Stop() as stop:
        signal.raise_signal(signal.SIGINT)
    assert not stop.asked


def test_steps_that_cannot_be_taken_are_skipped_and_end_the_run(tmp_path):
    """No gradient is small enough here: the weights stay, three in a row end the run, and the rows are kept."""
    settings = {**SMALL, "skip_grad_norm": 1e-12, "eval_every": 0, "play_every": 0}
    with pytest.raises(FloatingPointError, match=r"3 steps in a row could not be taken.*skipped_rows\.jsonl"):
        train(load_config("kuhn_tiny", settings), tmp_path, Quiet())
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert ["skipped" in line for line in lines] == [False, True, True]
    assert "gradient norm" in lines[1]["skipped"]
    state = load_latest(tmp_path)[1]
    assert (state["skipped"], state["learner"]["step_number"]) == (2, 0)
    kept = [json.loads(line) for line in (tmp_path / "skipped_rows.jsonl").read_text().splitlines()]
    assert kept[0].keys() >= {"prompt_ids", "reply_ids", "advantage"}


def test_a_step_without_rows_is_no_step(small_run):
    before = {name: value.clone() for name, value in small_run.learner.model.state_dict().items()}
    assert _learn(small_run, [], 1.0) == {"skipped": "no row teaches anything"}
    assert same(before, small_run.learner.model.state_dict())
    assert (small_run.learner.step_number, small_run.skipped) == (0, 0)


def test_an_alarm_can_stop_a_run_which_can_be_gone_on_with(tmp_path):
    """Without a warm start most replies are refused."""
    settings = {**SMALL, "warmup_steps": 0, "stop_on_alarm": True, "eval_every": 0, "play_every": 0}
    for step in (1, 2):
        last = train(load_config("kuhn_tiny", settings), tmp_path, Quiet())
        assert last["step"] == load_latest(tmp_path)[0] == step
        assert "of the replies are refused" in last["alarms"]["refused"]
    assert not (tmp_path / "model").exists()


def test_transcripts_are_the_extremes_and_replay():
    config = load_config("kuhn_tiny", {**SMALL, "play_games": 40})
    episodes = evaluation_games(make_agent("honest"), make_agent("random"), *config.played, config)
    records = transcripts(episodes, 6)
    assert len({record.id for record in records}) == 6
    kept = [episode for episode in episodes if any(episode.record is record for record in records)]
    own = [episode.returns[episode.match.tag] for episode in episodes]
    assert {episode.returns[episode.match.tag] for episode in kept} >= {max(own), min(own)}
    assert max(len(episode.steps) for episode in kept) == max(len(episode.steps) for episode in episodes)
    for record in records:
        replay(record)
    assert transcripts(episodes, 0) == []
    assert len(transcripts(episodes, 10_000)) == len(episodes)


def test_another_configuration_is_refused(tmp_path):
    train(load_config("kuhn_tiny", {**SMALL, "steps": 1}), tmp_path, Quiet())
    with pytest.raises(ValueError, match="run with other settings"):
        train(load_config("kuhn_tiny", {**SMALL, "steps": 2}), tmp_path, Quiet())


def test_three_seeds_are_three_runs(tmp_path):
    finals = []
    for seed in range(3):
        train(load_config("kuhn_tiny", {**SMALL, "steps": 1, "seed": seed}), tmp_path / str(seed), Quiet())
        finals.append(saved_of(tmp_path / str(seed))[2]["weights/model.norm.weight"])
    assert not torch.equal(finals[0], finals[1])
    assert not torch.equal(finals[1], finals[2])
