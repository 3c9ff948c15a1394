"""Exact results of an agent that answers in one way, against `lmgames.solve` and by hand."""

from types import SimpleNamespace

import pytest

from agents.agent import Agent, Reply
from agents.reference import players_of
from agents.specs import make_agent
from lmgames import solve
from lmgames.registry import make_game
from training.config import load_config
from training.evaluate import can_be_followed, exact_outcomes, summary, wilson

OPTIONS = {"games_per_step": 8, "group_size": 4, "p_self": 1.0, "baseline": "role_loo"}


@pytest.mark.parametrize("opponent", ["random", "minimax"])
def test_exact_outcomes_are_those_of_the_solver(opponent):
    config = load_config(None, {**OPTIONS, "games": {"TicTacToe-v0": {"random_opening": 2}}})
    found = exact_outcomes(make_agent("first"), make_agent(opponent), *config.played)
    game = make_game("TicTacToe-v0", random_opening=2)
    players = {name: player() for name, player in players_of("TicTacToe").items()}
    for role, seats in (("x", ("first", opponent)), ("o", (opponent, "first"))):
        mixes = {seat: players[name].mix for seat, name in zip(game.seats, seats, strict=True)}
        sign = 1 if role == "x" else -1
        expected = {sign * paid[0]: chance for paid, chance in solve.outcomes(game, mixes).items()}
        for share, value in (("won", 1.0), ("drawn", 0.0), ("lost", -1.0)):
            assert found[role][share] == pytest.approx(expected.get(value, 0.0))
        assert found[role]["mean"] == pytest.approx(found[role]["won"] - found[role]["lost"])


class Mute(Agent):
    def act(self, observations):
        return [Reply("I do not know.") for _ in observations]


def test_a_refused_reply_loses():
    config = load_config(None, {**OPTIONS, "games": {"TicTacToe-v0": {"invalid_policy": "forfeit"}}})
    found = exact_outcomes(Mute(), make_agent("minimax"), *config.played)
    assert found["x"]["lost"] == found["o"]["lost"] == 1.0


def test_nothing_is_claimed_where_it_is_not_known():
    deal = load_config(None, {**OPTIONS, "games": {"DealOrNoDeal-v0": {"contexts": [0], "first": 0}}})
    assert exact_outcomes(make_agent("first"), make_agent("greedy"), *deal.played) == {}


def test_wilson_by_hand():
    """Newcombe (1998), table I: 81 of 263, and none of 20."""
    assert wilson(81 / 263, 263) == pytest.approx({"low": 0.2553, "high": 0.3662}, abs=1e-4)
    assert wilson(0.0, 20) == pytest.approx({"low": 0.0, "high": 0.1611}, abs=1e-4)
    assert wilson(1.0, 20)["high"] == 1.0


def played(deal, seat, role, return_):
    record = SimpleNamespace(roles={seat: role})
    return SimpleNamespace(record=record, match=SimpleNamespace(seed=deal, tag=seat), returns={seat: return_})


def test_errors_are_taken_over_deals():
    """Two seats of one role that are always paid alike tell no more than one of them does."""
    paid = [1.0, 0.0, -1.0, 1.0]
    alone = summary([played(deal, "a", "x", return_) for deal, return_ in enumerate(paid)])["x"]
    both = summary([played(deal, seat, "x", return_) for deal, return_ in enumerate(paid) for seat in "ab"])["x"]
    assert both.pop("interval") == alone["interval"] | {"won": wilson(0.5, 4)}
    assert both == pytest.approx({name: value for name, value in alone.items() if name != "interval"})
    assert alone["mean"] == 0.25
    assert alone["standard_error"] == pytest.approx((2.75 / 3) ** 0.5 / 2)
    assert (alone["won"], alone["drawn"], alone["lost"]) == (0.5, 0.25, 0.25)


def test_openings_that_serve_training_alone_do_not_hide_what_a_policy_is_worth():
    games = {"games": {"TicTacToe-v0": {"random_opening": [0, 6]}}, "evaluate": {"TicTacToe-v0": {"random_opening": 0}}}
    config = load_config(None, {**OPTIONS, **games})
    (training,), (evaluation,) = config.played, config.evaluated
    assert (can_be_followed(training), can_be_followed(evaluation)) == (False, True)
    found = exact_outcomes(make_agent("minimax"), make_agent("random"), evaluation)
    assert found["x"]["lost"] == found["o"]["lost"] == 0
