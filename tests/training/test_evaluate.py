"""Exact results of an agent that answers in one way, against `lmgames.solve` and by hand."""

import pytest

from agents.agent import Agent, Reply
from agents.reference import players_of
from agents.specs import make_agent
from lmgames import solve
from lmgames.registry import make_game
from training.config import load_config
from training.evaluate import exact_outcomes

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
