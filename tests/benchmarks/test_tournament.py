import json
import math

import numpy as np
import pytest

from agents.agent import Agent, Reply
from agents.elicit import frequencies, policy_of_agent
from agents.specs import make_agent
from benchmarks.exact import nash_conv_of, read_policy
from benchmarks.luck import CFR_ITERATIONS
from benchmarks.players import PerGame, make_player, read_pool
from benchmarks.ratings import payoffs
from benchmarks.results import Result, as_played, complete, read_lines, read_objects, read_results, sealed, unsealed
from benchmarks.schedule import GameSpec
from benchmarks.standings import standings, wilson
from benchmarks.tournament import MAX_ERRORS, Budget, Price, run_tournament
from lmgames import solve
from lmgames.records import replay

KUHN = GameSpec("KuhnPoker-v0", {})
TICTACTOE = GameSpec("TicTacToe-v0", {})
SPY = GameSpec("WhoIsTheSpy-v0", {})
DEAL = GameSpec("DealOrNoDeal-v0", {})


def tournament(out, names=("random", "honest", "nash"), games=(KUHN,), blocks=10, **options):
    agents = {name: make_agent(name) for name in names}
    return run_tournament(agents, list(games), blocks=blocks, seed=0, out=out, **options)


def rated(outcome, names=("random", "honest", "nash"), games=(KUHN,), **options):
    by_name = {game.name: game for game in games}
    return standings(outcome.results, list(names), by_name, policies=outcome.policies, resamples=100, **options)


class Breaks(Agent):
    """Plays the first legal move until it has replied `replies` times, then raises."""

    def __init__(self, replies, error=ConnectionError):
        self.spec = "breaks"
        self.left = replies
        self.error = error

    def act(self, observations, /):
        replies = []
        for observation in observations:
            if self.left <= 0:
                raise self.error("the server is gone")
            self.left -= 1
            replies.append(Reply(observation.legal_moves[0], usage={"prompt_tokens": 100, "completion_tokens": 10}))
        return replies


class Rude(Agent):
    """Refused at first in every game, then legal; its replies are cut off by a limit."""

    spec = "rude"

    def act(self, observations, /):
        refused = ["Refused" not in observation.text for observation in observations]
        return [
            Reply("no move" if bad else observation.legal_moves[0], finish_reason="length" if bad else "stop")
            for bad, observation in zip(refused, observations, strict=True)
        ]


# Play.


def test_results_do_not_depend_on_concurrency(tmp_path):
    one = tournament(tmp_path / "one", concurrency=1)
    many = tournament(tmp_path / "many", concurrency=64)
    assert {result.key: result.to_json() for result in one.results} == {
        result.key: result.to_json() for result in many.results
    }
    assert rated(one) == rated(many)


def test_a_stopped_tournament_goes_on(tmp_path):
    whole = tournament(tmp_path / "whole")
    tournament(tmp_path / "cut")
    path = tmp_path / "cut" / "games.jsonl"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join(lines[:40]) + b"\n" + lines[40][:100])  # forty whole lines and a torn one
    done = []
    again = tournament(tmp_path / "cut", on_progress=lambda progress: done.append(progress.done))
    assert done[0] == 40
    assert {result.to_json() for result in again.results} == {result.to_json() for result in whole.results}
    assert len(path.read_text().splitlines()) == len(whole.results)


def test_every_game_can_be_played_again(tmp_path):
    for result in tournament(tmp_path, blocks=3, games=(KUHN, DEAL), names=("random", "honest")).results:
        replay(result.record)


def test_mirrored_deals_cancel_luck(tmp_path):
    """Two equal deterministic players win what they lose on each deal; twelve such deals do not rule out others."""
    agents = {"one": make_agent("bet_call"), "two": make_agent("bet_call")}
    outcome = run_tournament(agents, [KUHN], blocks=12, seed=0, out=tmp_path)
    found = rated(outcome, list(agents))
    mean = found["games"]["KuhnPoker-v0"]["mean"]
    unseen = 1 - 0.025 ** (1 / 12)
    assert mean["one"] == mean["two"] == pytest.approx({"value": 0.0, "low": -2 * unseen, "high": 2 * unseen})


def test_changing_an_ingredient_changes_the_key(tmp_path):
    keys = {result.key for result in tournament(tmp_path / "a", names=("random", "honest"), blocks=2).results}
    for number, (names, games) in enumerate(
        [
            (("random", "nash"), (KUHN,)),
            (("random", "honest"), (GameSpec("KuhnPoker-v0", {"retries": 2}),)),
            (("random", "honest"), (GameSpec("KuhnPoker-v0", {"legal_hint": "none"}),)),
        ]
    ):
        other = tournament(tmp_path / str(number), names=names, games=games, blocks=2).results
        assert not keys & {result.key for result in other}
    renamed = run_tournament(
        {"random": make_agent("random"), "honest": make_agent("nash")}, [KUHN], blocks=2, seed=0, out=tmp_path / "c"
    )
    assert not keys & {result.key for result in renamed.results}


# Failures and budgets.


def test_an_agent_that_dies_midway(tmp_path):
    """Its games are recorded apart, those without it are played, and nothing is lost when it is back."""
    good = {name: make_agent(name) for name in ("random", "honest")}
    outcome = run_tournament({**good, "mine": Breaks(30)}, [KUHN], blocks=10, seed=0, out=tmp_path, concurrency=4)
    by_pair = {result.lineup for result in outcome.results}
    assert ("honest", "random") in by_pair
    assert sum(result.lineup == ("honest", "random") for result in outcome.results) == 20
    assert outcome.missing > 0
    assert any("ConnectionError: the server is gone" in failure for failure in outcome.failures)
    errors = read_objects(tmp_path / "errors.jsonl")
    assert errors
    assert all(error["agent"] == "mine" and not error["timeout"] for error in errors)
    assert not {error["key"] for error in errors} & set(read_results(tmp_path)), "a failure is no result"

    kept = {result.key: result.to_json() for result in outcome.results}
    failed = {error["key"] for error in errors}
    back = run_tournament({**good, "mine": Breaks(1000)}, [KUHN], blocks=10, seed=0, out=tmp_path)
    assert back.missing == len(failed), "those that failed are left until they are asked for"
    again = run_tournament({**good, "mine": Breaks(1000)}, [KUHN], blocks=10, seed=0, out=tmp_path, retry_errors=True)
    assert again.missing == 0
    assert kept.items() <= {result.key: result.to_json() for result in again.results}.items()


def test_a_dead_agent_is_not_asked_for_ever(tmp_path):
    dead = Breaks(0, TimeoutError)
    outcome = run_tournament(
        {"random": make_agent("random"), "dead": dead}, [KUHN], blocks=50, seed=0, out=tmp_path, concurrency=1
    )
    assert len(outcome.failures) == MAX_ERRORS
    assert outcome.results == []
    assert outcome.missing == 100
    assert all(error["timeout"] for error in read_objects(tmp_path / "errors.jsonl"))
    with pytest.raises(ValueError, match="no complete block"):
        rated(outcome, ("random", "dead"))


@pytest.mark.parametrize(
    "budget, word",
    [(Budget(games=7), "games"), (Budget(tokens=500), "tokens"), (Budget(usd=0.001), "USD"), (Budget(seconds=0), "seconds")],
)
def test_budgets(tmp_path, budget, word):
    agents = {"random": make_agent("random"), "mine": Breaks(10_000)}
    options = {"blocks": 20, "seed": 0, "out": tmp_path, "prices": {"mine": Price(prompt=10.0, completion=10.0)}}
    outcome = run_tournament(agents, [KUHN], budget=budget, concurrency=2, **options)
    assert word in outcome.stopped
    assert 0 < outcome.missing <= 40
    if budget.games:
        assert len(outcome.results) == 7
    rest = run_tournament(agents, [KUHN], concurrency=2, **options)
    assert rest.missing == 0


# Schedules that follow results.


@pytest.mark.parametrize("schedule", ["swiss", "adaptive"])
def test_schedules_that_follow_results_go_on_as_logged(tmp_path, schedule):
    names = ("random", "honest", "nash", "bet_call")
    whole = tournament(tmp_path / "whole", names, blocks=6, schedule=schedule)
    cut = tournament(tmp_path / "cut", names, blocks=6, schedule=schedule, budget=Budget(games=9))
    assert cut.missing
    again = tournament(tmp_path / "cut", names, blocks=6, schedule=schedule)
    assert {result.to_json() for result in again.results} == {result.to_json() for result in whole.results}
    design = read_objects(tmp_path / "whole" / "design.jsonl")
    assert [entry["round"] for entry in design] == list(range(len(design)))
    assert rated(again, names) == rated(whole, names)


def test_swiss_over_games_that_are_not_zero_sum(tmp_path):
    outcome = tournament(tmp_path, ("random", "honest", "greedy"), (DEAL,), blocks=3, schedule="swiss")
    assert outcome.missing == 0
    assert rated(outcome, ("random", "honest", "greedy"), (DEAL,))["boards"]["all"]["rows"] == []


# Standings.


def test_the_table_knows_the_order_and_the_exact_values(tmp_path):
    found = rated(tournament(tmp_path, blocks=150))
    kuhn = found["games"]["KuhnPoker-v0"]
    assert kuhn["nash_conv"]["random"]["value"] == pytest.approx(11 / 12)
    assert kuhn["nash_conv"]["honest"]["value"] == pytest.approx(1 / 4)
    assert kuhn["nash_conv"]["nash"]["value"] == pytest.approx(0, abs=1e-7)
    assert kuhn["nash_conv"]["nash"]["method"] == "probabilities"
    ratings = {row["agent"]: row["rating"]["value"] for row in found["boards"]["all"]["rows"]}
    assert ratings["random"] == 0
    assert min(ratings["nash"], ratings["honest"]) > 10, "in chips, not in pots won"
    assert kuhn["mean"]["nash"]["value"] > kuhn["mean"]["random"]["value"]
    assert found["boards"]["clean"]["share"] == 1.0
    assert found["games_counted"] == 900


@pytest.mark.parametrize("solver, game", [("cfr", KUHN), ("nash", KUHN), ("minimax", TICTACTOE)])
def test_solvers_beat_random_play(tmp_path, solver, game):
    outcome = tournament(tmp_path, (solver, "random"), (game,), blocks=60)
    mean = rated(outcome, (solver, "random"), (game,))["games"][game.name]["mean"][solver]
    assert mean["low"] > 0


def test_near_optimal_against_uniform_on_mirrored_deals(tmp_path):
    """The variance ratio that was found for near-optimal against uniform play is 3.5."""
    outcome = tournament(tmp_path, ("random", "nash"), blocks=400)
    assert rated(outcome, ("random", "nash"))["games"]["KuhnPoker-v0"]["variance_ratio"] == pytest.approx(3.5, abs=0.9)


def test_luck_adjusted_returns_are_unbiased_and_sharper(tmp_path):
    names = ("random", "nash")
    outcome = tournament(tmp_path, names, blocks=300)
    index = {name: place for place, name in enumerate(names)}
    games = [as_played(result, index) for members in complete(outcome.results).values() for result in members]
    found = payoffs(games, 2, resamples=300)
    plain, adjusted = found.mean[1], found.adjusted[1]
    rules = KUHN.rules()
    policies = {name: policy_of_agent(make_agent(name), "KuhnPoker-v0").policy for name in names}
    first = solve.expected_returns(
        rules, solve.of_seat(policies["nash"], "player_0") | solve.of_seat(policies["random"], "player_1")
    )
    second = solve.expected_returns(
        rules, solve.of_seat(policies["random"], "player_0") | solve.of_seat(policies["nash"], "player_1")
    )
    truth = (first["player_0"] + second["player_1"]) / 2
    assert adjusted.high - adjusted.low < 0.7 * (plain.high - plain.low)
    assert adjusted.low - 0.01 <= truth <= adjusted.high + 0.01


def test_luck_of_perfect_play_is_all_there_is(tmp_path):
    """Between players that play by the values that luck is measured with, all but the value of the game is luck."""
    agents = {name: make_agent(f"cfr:iterations={CFR_ITERATIONS}") for name in ("one", "two")}
    outcome = run_tournament(agents, [KUHN], blocks=20, seed=0, out=tmp_path)
    for result in outcome.results:
        first = next(iter(result.seats))
        assert result.returns[first] - result.luck[first] == pytest.approx(-1 / 18, abs=0.002)


def test_reliability_and_clean_play(tmp_path):
    agents = {"random": make_agent("random"), "honest": make_agent("honest"), "rude": Rude()}
    outcome = run_tournament(agents, [KUHN], blocks=10, seed=0, out=tmp_path)
    found = rated(outcome, list(agents))
    row = {row["agent"]: row for row in found["boards"]["reliability"]}
    assert row["random"]["first_try"] == row["random"]["after_retry"] == 1.0
    assert row["rude"]["first_try"] < 1.0
    assert row["rude"]["after_retry"] == 1.0
    assert row["rude"]["truncated"] > 0
    clean = found["boards"]["clean"]
    assert clean["games"] == 20, "only the games without it are clean"
    assert clean["share"] == pytest.approx(1 / 3)
    ratings = {each["agent"]: each["rating"] for each in clean["rows"]}
    assert ratings["rude"] is None
    assert ratings["honest"] is not None


def test_no_wins_are_counted_where_interests_are_shared(tmp_path):
    names = ("random", "honest", "greedy")
    found = rated(tournament(tmp_path, names, (DEAL,), blocks=8), names, (DEAL,))
    assert found["boards"]["all"]["rows"] == []
    assert found["cycles"] is None
    game = found["games"]["DealOrNoDeal-v0"]
    assert game["cross_play"]["honest"]["self_play"]["value"] > game["cross_play"]["greedy"]["self_play"]["value"]
    assert 0 <= game["facts"]["joint_share"]["honest"] <= 1
    assert game["facts"]["pareto"]["honest"] > game["facts"]["pareto"]["greedy"]


def test_tables_of_five(tmp_path):
    names = ("random", "naive", "mismatch")
    win = GameSpec("WhoIsTheSpy-v0", {"scheme": "win", "zero_sum": True})
    found = rated(tournament(tmp_path, names, (SPY, win), blocks=4), names, (SPY, win))
    assert {row["agent"] for row in found["boards"]["all"]["rows"]} == set(names)
    assert found["boards"]["all"]["games"] == 4 * 3 * 5
    spy = found["games"]["WhoIsTheSpy-v0"]
    assert set(spy["sides"]["naive"]) == {"civilian", "spy"}
    games = [spy["sides"][name]["spy"]["games"] for name in names]
    assert len(set(games)) == 1, "everybody is the spy equally often"


def test_incomplete_blocks_are_not_counted(tmp_path):
    outcome = tournament(tmp_path, ("random", "nash"), blocks=5)
    found = rated(type(outcome)(outcome.results[:-1], {}, 1, [], ""), ("random", "nash"))
    assert (found["games_played"], found["games_counted"]) == (9, 8)
    assert any("not complete" in warning for warning in found["warnings"])


def test_wilson_by_hand():
    low, high = wilson(8, 10)
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert wilson(0, 0) == (None, None)


# Exact values.


class Sampled(Agent):
    """A reference player that does not give its probabilities away."""

    def __init__(self, name):
        self.spec, self._player = name, make_agent(name)

    def act(self, observations, /):
        return self._player.act(observations)


def test_nash_conv_from_samples():
    stored = read_policy(Sampled("honest"), KUHN, samples=64)
    assert stored["method"] == "samples"
    found = nash_conv_of(stored, KUHN)
    assert found.low <= 0.25 <= found.high
    assert found.value == pytest.approx(0.25, abs=0.1)
    assert 0 < found.high - found.low < 0.3
    assert read_policy(Sampled("honest"), KUHN, samples=0) is None
    assert read_policy(Sampled("random"), TICTACTOE) is None


@pytest.mark.parametrize("samples", [8, 64])
@pytest.mark.parametrize("player", ["check_fold", "honest", "nash", "random"])
def test_nash_conv_from_samples_holds_the_truth_and_its_estimate(player, samples):
    """A pure policy is seen as it is, however few the samples; an unbeatable one is not put above 0 by their noise."""
    truth = nash_conv_of(read_policy(make_agent(player), KUHN), KUHN).value
    found = nash_conv_of(read_policy(Sampled(player), KUHN, samples=samples), KUHN)
    assert found.low <= truth <= found.high
    assert found.low <= found.value <= found.high
    if player == "check_fold":
        assert found.value == pytest.approx(truth)


def test_sampling_errors_raise_nash_conv():
    """On average over samples, frequencies give no less than the truth."""
    rules = KUHN.rules()
    uniform = {key: frequencies(dict.fromkeys(moves, 1)) for key, moves in solve.information_sets(rules).items()}
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(60):
        counts = {
            key: dict(zip(mix, rng.multinomial(8, list(mix.values())).tolist(), strict=True)) for key, mix in uniform.items()
        }
        drawn.append(solve.nash_conv(rules, {key: frequencies(of) for key, of in counts.items()}))
    assert np.mean(drawn) > solve.nash_conv(rules, uniform)


def test_illegal_replies_are_told_apart():
    class Half(Sampled):
        def act(self, observations, /):
            return [Reply("" if observation.seed % 2 else "[check] [bet]"[:7]) for observation in observations]

    stored = read_policy(Half("honest"), KUHN, samples=50)
    assert stored["illegal"] > 0.5


# Agents and lines.


def test_one_agent_may_be_another_player_in_each_game(tmp_path):
    agent = make_player("mixed", {"KuhnPoker": "nash", "TicTacToe": "minimax"})
    assert isinstance(agent, PerGame)
    outcome = run_tournament(
        {"mixed": agent, "random": make_agent("random")}, [KUHN, TICTACTOE], blocks=2, seed=0, out=tmp_path
    )
    assert outcome.missing == 0
    assert outcome.policies["KuhnPoker-v0"]["mixed"]["method"] == "probabilities"
    with pytest.raises(ValueError, match="no player for DealOrNoDeal"):
        run_tournament({"mixed": agent, "random": make_agent("random")}, [DEAL], blocks=2, seed=0, out=tmp_path)
    with pytest.raises(ValueError, match="did you mean 'KuhnPoker'"):
        make_player("m", {"KuhnPokr": "nash"})


def test_the_reference_pool_plays_every_game(tmp_path):
    pool = read_pool("ref-2026.1")
    agents = {name: make_player(name, spec) for name, spec in pool["agents"].items()}
    games = [GameSpec(game, {}) for game in pool["games"]]
    assert len(games) == 7
    outcome = run_tournament(agents, games, blocks=1, seed=0, out=tmp_path)
    assert outcome.missing == 0
    found = rated(outcome, list(agents), games)
    assert all(row["first_try"] == 1.0 for row in found["boards"]["reliability"]), "reference players never err"


def test_sealed_lines():
    line = sealed({"a": [1, "ä"], "b": None})
    assert unsealed(line) == {"schema": 1, "a": [1, "ä"], "b": None}
    for place in range(len(line)):
        changed = line[:place] + ("x" if line[place] != "x" else "y") + line[place + 1 :]
        with pytest.raises(ValueError):
            unsealed(changed)
    with pytest.raises(ValueError, match="schema 99; this version reads schema 1"):
        unsealed(sealed({"schema": 99}))


def test_a_damaged_line_is_named(tmp_path):
    tournament(tmp_path, blocks=2)
    path = tmp_path / "games.jsonl"
    lines = path.read_text().splitlines()
    lines[4] = lines[4].replace('"block":0', '"block":7')
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=r"games\.jsonl:5 is damaged: it was changed after it was written"):
        read_results(tmp_path)


def test_results_as_lines(tmp_path):
    result = tournament(tmp_path, blocks=1).results[0]
    again = Result.from_json(result.to_json())
    assert again.to_json() == result.to_json()
    assert json.loads(result.to_json())["record"]["id"] == result.record.id
    assert math.isclose(sum(result.returns.values()), 0)
    assert len(list(read_lines(tmp_path / "games.jsonl"))) == 6
