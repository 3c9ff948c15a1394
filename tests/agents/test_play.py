import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from gymnasium.spaces import Dict, Discrete, Text
from pettingzoo import AECEnv

from agents import play_cli
from agents.agent import Agent, Reply
from agents.model_agent import ModelAgent
from agents.models.fake import FakeModel
from agents.models.hf import HFModel
from agents.models.model import Sampling
from agents.play import Match, MatchError, play, run_matches
from agents.specs import make_agent
from lmgames import make
from lmgames.aec import GameEnv
from lmgames.game import Game
from lmgames.parsing import IllegalMove
from lmgames.records import GameRecord, replay

KUHN = "lmgames/KuhnPoker-v0"
MOVES = {"[check]": 2, "[bet]": 2, "[call]": 1, "[fold]": 1, "pass": 1}


def kuhn(seed, agent, other=None, **options):
    return Match(KUHN, seed, {"player_0": agent, "player_1": other or agent}, options, tag=seed)


def in_order(episodes):
    return sorted(episodes, key=lambda episode: episode.index)


def faces(episode):
    """All of an episode that must be equal, log-probabilities rounded."""
    steps = [
        (step.observation.text, step.reply.text, step.reply.reply_ids, step.turn, step.reward) for step in episode.steps
    ]
    return episode.match.seed, episode.record, steps, episode.returns


class Shuffling(Agent):
    """Replies one at a time, last request first."""

    def __init__(self, player):
        self.player = player
        self.waiting = []
        self.most = 0

    def act(self, observations):
        return self.player.act(observations)

    def submit(self, key, observation):
        self.waiting.append((key, observation))
        self.most = max(self.most, len(self.waiting))

    def poll(self):
        if not self.waiting:
            return []
        key, observation = self.waiting.pop()
        return [(key, self.act([observation])[0])]


class Scripted(Agent):
    """Says what its function makes of the observation."""

    def __init__(self, say):
        self.say = say

    def act(self, observations):
        return [Reply(self.say(observation)) for observation in observations]


# Episodes.


def test_episodes_do_not_depend_on_concurrency_or_on_who_replies_first():
    agent, nash = make_agent("random"), make_agent("nash")
    expected = [faces(*run_matches([kuhn(seed, agent, nash, hands=2)])) for seed in range(40)]
    for player, concurrency in ((agent, 1), (agent, 7), (agent, 256), (Shuffling(agent), 16)):
        matches = [kuhn(seed, player, nash, hands=2) for seed in range(40)]
        found = [faces(episode) for episode in in_order(run_matches(matches, concurrency=concurrency))]
        for one, other in zip(found, expected, strict=True):
            assert (one[0], one[2], one[3]) == (other[0], other[2], other[3])
            assert (one[1].turns, one[1].prompts_sha256) == (other[1].turns, other[1].prompts_sha256)


def test_records_replay_and_name_their_agents():
    for episode in play(KUHN, ["random", "nash"], episodes=10, options={"hands": 2}):
        assert replay(episode.record).returns == episode.returns
        assert episode.record.agents == {"player_0": "random", "player_1": "nash"}
        assert tuple(step.turn for step in episode.steps) == episode.record.turns


def test_rewards_are_what_a_seat_is_paid_until_its_next_step():
    always_bet = Scripted(lambda seen: "[bet]" if "[bet]" in seen.legal_moves else "[call]")
    fold = Scripted(lambda seen: "[fold]" if "[fold]" in seen.legal_moves else "[check]")
    (episode,) = run_matches([kuhn(0, always_bet, fold, hands=3)])
    # Hand 1: bet, fold. Hand 2 is opened by the other: check, bet, fold. Hand 3 as the first.
    assert [(step.seat, step.reward) for step in episode.steps] == [
        ("player_0", 1.0), ("player_1", -1.0), ("player_1", 0.0), ("player_0", 1.0), ("player_1", -1.0),
        ("player_0", 1.0), ("player_1", -1.0),
    ]  # fmt: skip
    for seat, return_ in episode.returns.items():
        assert sum(step.reward for step in episode.steps_of(seat)) == return_


def test_refused_replies_are_steps_without_pay():
    stubborn = Scripted(lambda _: "no")
    (episode,) = run_matches([kuhn(0, stubborn)])
    assert [(step.turn.status, step.reward) for step in episode.steps] == [("refused", 0.0), ("forfeit", -1.0)]
    assert episode.returns == {"player_0": -1.0, "player_1": 1.0}
    assert episode.steps_of("player_1") == ()
    assert "Refused" in episode.steps[1].observation.text


def test_matches_are_drawn_as_tables_become_free():
    drawn = []

    def matches():
        for seed in range(1000):
            drawn.append(seed)
            yield kuhn(seed, agent)

    agent = make_agent("random")
    run = run_matches(matches(), concurrency=5)
    assert drawn == []
    for count in range(1, 20):
        next(run)
        assert len(drawn) <= 2 * 5 + count  # those being played, and those that ended together and wait to be given
    run.close()


def test_games_wait_neither_for_each_others_turns_nor_for_their_ends():
    patient = Shuffling(make_agent("random"))
    list(run_matches([kuhn(seed, patient) for seed in range(30)], concurrency=10))
    assert patient.most == 10  # one request of every game, whatever its turn


def test_an_instance_can_be_given():
    match = Match(KUHN, 3, dict.fromkeys(("player_0", "player_1"), make_agent("random")), instance=[["J", "K", 0]])
    (episode,) = run_matches([match])
    assert "Your card: J." in episode.steps[0].observation.text
    assert episode.record.instance_given


def test_on_episode_hears_of_each_before_it_is_given():
    heard = []
    for number, episode in enumerate(
        run_matches([kuhn(seed, make_agent("random")) for seed in range(5)], on_episode=heard.append)
    ):
        assert heard[number] is episode
    assert [episode.match.tag for episode in in_order(heard)] == list(range(5))


def test_the_scheduler_adds_nothing_to_the_time_of_the_engine():
    """At full occupancy the clock of an engine with a fixed time per token stands where its tokens put it."""
    now = [0.0]
    model = FakeModel(
        MOVES, latency_s=1.0, max_batch=32, clock=lambda: now[0], sleep=lambda s: now.__setitem__(0, now[0] + s)
    )
    agent = ModelAgent(model, sampling=Sampling(max_tokens=20))
    tokens = 0
    for episode in run_matches([kuhn(seed, agent) for seed in range(640)], concurrency=64):
        tokens += sum(len(step.reply.reply_ids) for step in episode.steps)
    assert tokens / 32 <= now[0] <= tokens / 32 / 0.95  # within 5 % of the engine's own speed, the tail included


# Failures.


def failing(at_seed):
    player = make_agent("random")

    def say(seen):
        if seen.turn == 1 and seen.seed == bad.get("seed", seen.seed) and bad["armed"]:
            raise ArithmeticError("dice lost")
        return player.act([seen])[0].text

    env = make(KUHN).unwrapped
    env.reset(seed=at_seed)
    env.step(play(KUHN, "random", seed=at_seed)[0].steps[0].reply.text)
    bad = {"seed": env.observation("player_1").seed, "armed": True}
    return Scripted(say)


def test_an_agent_that_raises_loses_its_own_match_alone():
    agent, episodes = failing(at_seed=3), []
    with pytest.raises(MatchError) as error:
        list(run_matches([kuhn(seed, agent) for seed in range(8)], concurrency=8, on_episode=episodes.append))
    assert sorted(episode.match.seed for episode in episodes) == [0, 1, 2, 4, 5, 6, 7]
    assert "lmgames/KuhnPoker-v0, seed 3, seat player_1 (Scripted): ArithmeticError: dice lost" in str(error.value)
    assert [failure.match.seed for failure in error.value.failures] == [3]
    assert isinstance(error.value.__cause__, ArithmeticError)


def test_no_match_is_begun_after_a_failure():
    agent, drawn = failing(at_seed=3), []

    def matches():
        for seed in range(1000):
            drawn.append(seed)
            yield kuhn(seed, agent)

    with pytest.raises(MatchError):
        list(run_matches(matches(), concurrency=2))
    assert len(drawn) < 10


def test_a_failed_reply_of_an_engine_is_no_refused_move():
    agent = ModelAgent(FakeModel("[check]", faults={2: "error"}), sampling=Sampling(max_tokens=20))
    other = make_agent("random")
    with pytest.raises(MatchError, match=r"seat player_0 \(ModelAgent\): RuntimeError: injected fault") as error:
        list(run_matches([kuhn(seed, agent, other) for seed in range(8)]))
    assert len(error.value.failures) == 1


def test_an_engine_that_dies_takes_only_its_own_matches():
    broken = ModelAgent(FakeModel("[check]", faults={1: "crash"}), sampling=Sampling(max_tokens=20))
    sound = make_agent("random")
    matches = [kuhn(seed, broken if seed < 4 else sound) for seed in range(8)]
    episodes = []
    with pytest.raises(MatchError, match="crashed") as error:
        list(run_matches(matches, on_episode=episodes.append))
    assert {episode.match.seed for episode in episodes} | {f.match.seed for f in error.value.failures} == set(range(8))
    assert {4, 5, 6, 7} <= {episode.match.seed for episode in episodes}


def test_unknown_games_and_wrong_replies_are_named():
    class Careless(Agent):
        def act(self, observations):
            return ["[check]"] * len(observations)

    with pytest.raises(MatchError, match="replies with Reply objects, not str"):
        list(run_matches([kuhn(0, Careless())]))
    with pytest.raises(MatchError, match="did you mean 'KuhnPoker-v0'"):
        list(run_matches([Match("lmgames/KunPoker-v0", 0, {})]))
    with pytest.raises(MatchError, match="KeyError: 'player_1'"):
        list(run_matches([Match(KUHN, 0, {"player_0": make_agent("random")})]))
    with pytest.raises(ValueError, match="concurrency=0"):
        list(run_matches([], concurrency=0))


# Agents that share.


@pytest.mark.parametrize("kind", ["fake", "hf"])
def test_agents_that_share_a_model_get_their_own_replies(kind, qwen3, tokenizer):
    def model():
        return FakeModel(MOVES) if kind == "fake" else HFModel(qwen3, tokenizer)

    def agents(one, other):
        return ModelAgent(one, sampling=Sampling(max_tokens=8)), ModelAgent(
            other, sampling=Sampling(temperature=0.3, max_tokens=5)
        )

    def games(one, other):
        matches = [kuhn(seed, one, other, show_rules=False) for seed in range(12)]
        return [faces(episode) for episode in in_order(run_matches(matches))]

    shared = model()
    together, apart = games(*agents(shared, shared)), games(*agents(model(), model()))
    assert [(steps, returns) for _, _, steps, returns in together] == [(steps, returns) for _, _, steps, returns in apart]


def test_two_runs_with_one_agent_do_not_mix():
    def runs(one, other):
        kuhn_run = run_matches([kuhn(seed, one) for seed in range(20)], concurrency=4)
        seats = dict.fromkeys(("player_0", "player_1"), other)
        other_run = run_matches([Match("lmgames/TicTacToe-v0", seed, seats) for seed in range(20)], concurrency=4)
        return kuhn_run, other_run

    def model():
        return ModelAgent(FakeModel({"[check]": 1, "[bet]": 1, "[4]": 1, "[0]": 1}), sampling=Sampling(max_tokens=9))

    agent = model()
    found = [[faces(episode) for episode in pair] for pair in zip(*runs(agent, agent), strict=True)]
    expected = [[faces(episode) for episode in pair] for pair in zip(*runs(model(), model()), strict=True)]

    def by_seed(pairs, column):
        return sorted((pair[column] for pair in pairs), key=lambda face: face[0])

    for column in (0, 1):
        assert by_seed(found, column) == by_seed(expected, column)


# Simultaneous moves.


@dataclass(frozen=True)
class Hands:
    shown: tuple = ()
    rounds: int = 0


@dataclass(frozen=True, kw_only=True)
class MatchingPennies(Game):
    """Two rounds; player_0 wins a round if the coins are equal."""

    name = "MatchingPennies"
    roles = ("player",)
    simultaneous = True
    seats = ("player_0", "player_1")
    payoffs = "zero_sum"
    return_bounds = (-2, 2)
    max_turns = 4

    def deal(self, chance):
        return None

    def start(self, instance):
        return Hands()

    def to_move(self, state):
        return self.seats if len(state.shown) < 2 else ()

    def apply(self, state, moves):
        return Hands((*state.shown, tuple(moves[seat] for seat in self.seats)))

    def returns(self, state):
        won = float(sum(1 if one == other else -1 for one, other in state.shown))
        return {"player_0": won, "player_1": -won}

    def rules(self, view, seat):
        return "Pennies."

    def observe(self, view, seat):
        return [f"Coins: {one} {other}." for one, other in view.shown]

    def legal_moves(self, view, seat):
        return ("heads", "tails")

    def parse(self, view, seat, text):
        if text.strip("[]") not in ("heads", "tails"):
            raise IllegalMove("no_command", "Write [heads] or [tails].")
        return text.strip("[]")


def test_seats_that_move_at_once_are_asked_at_once():
    first_round = Shuffling(Scripted(lambda seen: "[heads]" if seen.seat == "player_0" else "[tails]"))
    (episode,) = play(GameEnv(MatchingPennies()), first_round)
    assert first_round.most == 2
    assert [step.seat for step in episode.steps] == ["player_0", "player_1"] * 2  # taken in seat order all the same
    assert episode.returns == {"player_0": -2.0, "player_1": 2.0}
    assert [step.reward for step in episode.steps] == [-1.0, 1.0, -1.0, 1.0]


def test_a_seat_that_has_committed_waits_for_one_that_was_refused():
    hesitant = Scripted(lambda seen: "[heads]" if seen.seat == "player_1" or "Refused" in seen.text else "what?")
    asked = Shuffling(hesitant)
    (episode,) = play(GameEnv(MatchingPennies()), asked)
    assert [(step.seat, step.turn.status) for step in episode.steps[:3]] == [
        ("player_0", "refused"), ("player_0", "ok"), ("player_1", "ok"),
    ]  # fmt: skip
    assert episode.returns["player_0"] == 2.0


def test_simultaneous_games_read_the_same_one_by_one():
    """Asking all seats at once gives what PettingZoo's order gives."""
    player = make_agent("random")
    (episode,) = play(GameEnv(MatchingPennies()), player, seed=5)
    env = GameEnv(MatchingPennies())
    env.reset(seed=5)
    for step in episode.steps:
        seen = env.observation(env.agent_selection)
        assert seen == step.observation
        env.step(player.act([seen])[0].text)
    assert env.record(episode.record.agents) == episode.record


# The environments of others.


class Countdown(AECEnv):
    """Two players take 1 or 2 from 5 by turns; who takes the last wins 1 from the other. Texts or numbers."""

    metadata = {"name": "countdown"}

    def __init__(self, numbers=False):
        self.numbers = numbers
        self.possible_agents = ["a", "b"]

    def action_space(self, agent):
        return Discrete(2) if self.numbers else Text(10)

    def observation_space(self, agent):
        return Dict({"observation": Discrete(6)}) if self.numbers else Text(100)

    def reset(self, seed=None, options=None):
        self.agents = list(self.possible_agents)
        self.left = 5
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos = {agent: {"legal_moves": ["1", "2"][: self.left]} for agent in self.agents}
        self.agent_selection = "a"

    def observe(self, agent):
        if self.numbers:
            return {"observation": np.array([self.left]), "action_mask": np.array([1, self.left >= 2], dtype=np.int8)}
        return f"{self.left} left. Take 1 or 2."

    def step(self, action):
        agent = self.agent_selection
        if self.terminations[agent]:
            self._was_dead_step(action)
            return
        other = "b" if agent == "a" else "a"
        self._clear_rewards()
        self.left -= int(action) + 1 if self.numbers else int(action)
        if self.left <= 0:
            self.rewards = {agent: 1.0, other: -1.0}
            self.terminations = dict.fromkeys(self.agents, True)
        self.infos = {each: {"legal_moves": ["1", "2"][: self.left]} for each in self.agents}
        self.agent_selection = other


def test_foreign_environments_with_texts_play():
    takes_one = Scripted(lambda _: "1")
    (episode,) = play(Countdown(), {"a": takes_one, "b": takes_one})
    assert (episode.returns, episode.record) == ({"a": 1.0, "b": -1.0}, None)
    assert [step.observation.text[0] for step in episode.steps] == ["5", "4", "3", "2", "1"]
    assert [step.reward for step in episode.steps] == [0.0, 0.0, 0.0, -1.0, 1.0]
    assert episode.match.env_id == "countdown"


def test_foreign_environments_with_numbers_play():
    seen_texts = []

    def say(seen):
        seen_texts.append(seen.text)
        return "[1]" if seen.seat == "a" else "I do not know"

    (episode,) = play(Countdown(numbers=True), Scripted(say), seed=3)
    assert "Reply with one number in brackets. Legal moves: [0] [1]" in seen_texts[0]
    assert episode.steps[0].turn.move == "[1]"
    assert episode.steps[1].turn.status == "replaced"
    assert sum(episode.returns.values()) == 0
    assert all(step.turn.move in step.observation.legal_moves for step in episode.steps)


def test_random_agents_play_many_foreign_games_from_a_factory():
    for numbers in (True, False):
        episodes = play(lambda numbers=numbers: Countdown(numbers), "random", episodes=20, concurrency=5)
        again = play(Countdown(numbers), "random", episodes=20)
        assert [faces(episode) for episode in episodes] == [faces(episode) for episode in again]
        assert {episode.returns["a"] for episode in episodes} == {1.0, -1.0}


# play.


def test_agents_come_as_a_list_a_mapping_or_one_for_all():
    agent = make_agent("random")
    for agents in (["random", agent], {"player_1": "random", "player_0": agent}, "random", agent):
        assert len(play(KUHN, agents, episodes=2)) == 2
    (episode,) = play(KUHN, ["random", "random"])
    assert episode.match.agents["player_0"] is episode.match.agents["player_1"]  # a model is loaded once


@pytest.mark.parametrize(
    ("agents", "message"),
    [
        (["random"], "1 agents were given; lmgames/KuhnPoker-v0 has 2 seats: player_0, player_1"),
        ({"player_0": "random", "player_2": "random"}, r"\['player_1', 'player_2'\] missing or unknown"),
        (["random", 3], "an agent is an Agent or a spec such as 'random', not 3"),
        (["random", "minimax"], "KuhnPoker has no reference player 'minimax'"),
        (["random", "rando"], "did you mean 'random'"),
    ],
)
def test_wrong_agents_are_refused_before_any_game(agents, message):
    with pytest.raises(ValueError, match=message):
        play(KUHN, agents)


def test_rotation_plays_each_deal_in_every_seating():
    episodes = play(KUHN, ["first", "nash"], episodes=6, seed=10, seats="rotate")
    assert [episode.match.seed for episode in episodes] == [10, 10, 11, 11, 12, 12]
    assert [episode.match.agents["player_0"].spec for episode in episodes] == ["first", "nash"] * 3
    for one, other in zip(episodes[::2], episodes[1::2], strict=True):
        assert one.record.instance == other.record.instance
    with pytest.raises(ValueError, match="seats='mirror'"):
        play(KUHN, "random", seats="mirror")


def test_environments_come_as_an_id_an_instance_or_a_factory():
    expected = [faces(episode) for episode in play(KUHN, "random", episodes=4, options={"hands": 2})]
    for env in (make(KUHN, hands=2), lambda: make(KUHN, hands=2), make(KUHN, hands=2).unwrapped):
        assert [faces(episode) for episode in play(env, "random", episodes=4)] == expected
    with pytest.raises(ValueError, match="options go with a registered ID"):
        play(make(KUHN), "random", options={"hands": 2})


# The command line.


def run_cli(capsys, *arguments):
    code = play_cli.main(list(arguments))
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_the_command_line_prints_a_table_and_adds_records(tmp_path, capsys):
    out = tmp_path / "deep" / "games.jsonl"
    arguments = ["KuhnPoker-v0", "--agents", "random", "first", "--games", "6", "--option", "hands=3", "--out", str(out)]
    code, printed, _ = run_cli(capsys, *arguments)
    assert code == 0
    assert "mean return" in printed
    assert "6 games added" in printed
    run_cli(capsys, *arguments, "--seed", "6", "--rotate")
    records = [GameRecord.from_json(line) for line in out.read_text().splitlines()]
    assert sorted(record.seed for record in records) == [0, 1, 2, 3, 4, 5, 6, 6, 7, 7, 8, 8]
    assert {record.options["hands"] for record in records} == {3}
    replay(records[0])


def test_a_line_cut_by_a_kill_is_removed_and_nothing_else(tmp_path, capsys):
    out = tmp_path / "games.jsonl"
    run_cli(capsys, KUHN, "--agents", "random", "--games", "3", "--out", str(out))
    whole = out.read_bytes()
    out.write_bytes(whole[:-20])
    run_cli(capsys, KUHN, "--agents", "random", "--games", "1", "--seed", "3", "--out", str(out))
    lines = out.read_text().splitlines()
    assert len(lines) == 3
    assert whole.decode().splitlines()[:2] == lines[:2]
    assert GameRecord.from_json(lines[2]).seed == 3


@pytest.mark.parametrize("content", ["precious\n", "precious", json.dumps({"a": 1}) + "\nx"])
def test_other_files_are_never_touched(tmp_path, capsys, content):
    out = tmp_path / "notes.txt"
    out.write_text(content)
    code, _, error = run_cli(capsys, KUHN, "--agents", "random", "--out", str(out))
    assert code == 2
    assert "is no file of game records" in error
    assert out.read_text() == content


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["KunPoker-v0", "--agents", "random"], "no game 'KunPoker-v0'; did you mean 'KuhnPoker-v0'?"),
        (["KuhnPoker-v0", "--agents", "randm"], "no agent 'randm'; did you mean 'random'?"),
        (["KuhnPoker-v0", "--agents", "random", "--option", "hand=3"], "has no option 'hand'; did you mean 'hands'?"),
        (["KuhnPoker-v0", "--agents", "random", "--option", "hands"], "--option 'hands' must be NAME=VALUE"),
        (["KuhnPoker-v0", "--agents", "random", "--option", "hands=x"], "hands='x' must be an integer"),
        (["KuhnPoker-v0", "--agents", "random", "nash", "nash"], "3 agents were given"),
    ],
)
def test_wrong_names_exit_with_2_and_the_nearest_right_one(capsys, arguments, message):
    code, _, error = run_cli(capsys, *arguments)
    assert code == 2
    assert message in error


def test_a_failed_match_exits_with_1_and_keeps_the_others(tmp_path, capsys, monkeypatch):
    agent = failing(at_seed=3)
    monkeypatch.setattr("agents.play.make_agent", lambda _: agent)
    out = tmp_path / "games.jsonl"
    code, _, error = run_cli(capsys, KUHN, "--agents", "x", "--games", "6", "--out", str(out))
    assert code == 1
    assert "seed 3, seat player_1 (Scripted): ArithmeticError: dice lost" in error
    assert len(out.read_text().splitlines()) == 5


def test_the_mean_and_its_interval():
    mean, half = play_cli.interval([1.0, 0.0, 1.0, 2.0])
    assert mean == 1.0
    assert half == pytest.approx(1.96 * (2 / 3 / 4) ** 0.5)


def test_it_runs_as_a_module_with_a_person_at_the_keyboard():
    command = [
        sys.executable,
        "-W",
        "error::RuntimeWarning",
        "-m",
        "agents.play",
        KUHN,
        "--agents",
        "human",
        "first",
        "--games",
        "9",
    ]
    result = subprocess.run(command, input="check\n1\n", capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert "Game over (rules): player_0" in result.stdout
    assert "You left the game." in result.stdout
    assert "human   player_0" in result.stdout.replace("human  ", "human   ")


def test_the_agent_in_the_documentation_runs():
    page = (Path(__file__).parents[2] / "docs" / "agents.md").read_text()
    (example,) = [code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "class Bluffer" in code]
    names = {}
    exec(example, names)  # noqa: S102  # our own page
    assert len(names["episodes"]) == 200
