"""How much of a return was luck, where exact values are known: control variates in the manner of AIVAT.

Every draw whose probabilities are known moves the value of the game under exact play: the deal, and the move of a player whose
mix is known. What it moved it by, less its mean, is luck: its expectation is zero, so returns less luck have the same mean and a
smaller variance.

Source: Burch, Schmid, Moravcik, Morrill and Bowling 2018, AIVAT: a new variance reduction technique for agent evaluation.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from agents.play import Episode
from benchmarks.players import exact_mix
from lmgames import solve
from lmgames.game import Game

CFR_ITERATIONS = 300
Values = Callable[[Any], float]
"""State -> return of the first seat when both play exactly from there."""


@lru_cache(maxsize=16)
def exact_values(game: Game[Any, Any]) -> Values | None:
    """Values of every state of a game between two seats, zero-sum, that is small enough; None for other games."""
    if game.words_are_free or game.payoffs != "zero_sum" or len(game.seats) != 2 or game.simultaneous:
        return None
    if not game.hidden_information:
        return _perfect_information_values(game)
    return _tree_values(game) if solve.has_small_tree(game) else None


def _perfect_information_values(game: Game[Any, Any]) -> Values | None:
    instances = game.instances()
    if instances is None or len(instances) > 1 or game.max_turns > 9:
        return None
    return solve.minimax(game).value


def _tree_values(game: Game[Any, Any]) -> Values:
    policy = solve.cfr_plus(game, CFR_ITERATIONS)
    known: dict[Any, float] = {}

    def value(state: Any) -> float:
        if state not in known:
            seats = game.to_move(state)
            if not seats:
                known[state] = game.returns(state)[game.seats[0]]
            else:
                mix = policy[seats[0], game.information_set(state, seats[0])]
                known[state] = sum(
                    share * value(after) for move, share in mix.items() if share for after in [_after(game, state, move)]
                )
        return known[state]

    return value


def _after(game: Game[Any, Any], state: Any, text: str) -> Any:
    (seat,) = game.to_move(state)
    return game.apply(state, {seat: game.parse(game.view(state, seat), seat, text)})


@lru_cache(maxsize=16)
def _mean_over_deals(game: Game[Any, Any]) -> float:
    values = exact_values(game)
    instances = game.instances()
    assert values is not None
    assert instances is not None
    return sum(values(game.start(instance)) for instance in instances) / len(instances)


def luck_of(episode: Episode) -> dict[str, float] | None:
    """The luck in the returns of an episode, by seat; None where no exact values are known.

    From the first refused reply on nothing is put down to luck: what follows a refusal is no draw of known probability.
    """
    if episode.record is None or not episode.steps:
        return None
    record, game = episode.record, episode.steps[0].observation.game
    values = exact_values(game)
    if values is None:
        return None
    state = game.start(record.instance)
    luck = values(state) - _mean_over_deals(game)
    for step in episode.steps:
        if step.turn.status != "ok":
            break
        after = _after(game, state, step.turn.move)
        player = exact_mix(episode.match.agents[step.seat], game.name)
        mixes = player.masses([step.observation]) if player is not None else None
        if mixes:
            mean = sum(share * values(_after(game, state, reply)) for reply, share in mixes[0].items() if share)
            luck += values(after) - mean
        state = after
    first, second = game.seats
    return {first: luck, second: -luck}
