"""Players of Kuhn Poker. All but `nash` play any deck; what they do depends on the current hand alone.

The exact ones are computed for the one-hand game with the match's deck, ante and bet, and play it in every hand: right for
returns in chips, not for matches scored by who wins.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from agents.reference.base import MixedPlayer, Random
from lmgames import solve
from lmgames.games.kuhn_poker import KuhnPoker
from lmgames.observation import Observation

CFR_ITERATIONS = 1000
Spot = tuple[str, tuple[str, ...]]
"""(own card, moves of the hand so far)."""
Table = Mapping[Spot, Mapping[str, float]]


def spot_of(observation: Observation) -> Spot:
    """The card and the moves of the hand being played."""
    view = observation.view
    own = observation.game.seats.index(observation.seat)
    return view.deals[-1].cards[own], view.played[-1]


def one_hand_of(game: KuhnPoker) -> KuhnPoker:
    """One hand with the deck and the stakes of a match; `player_0` opens."""
    return KuhnPoker(deck_size=game.deck_size, ante=game.ante, bet=game.bet)


class BetCall(MixedPlayer):
    """Always bets and calls."""

    def mix(self, observation: Observation) -> Mapping[str, float]:
        return {"[bet]" if "[bet]" in _legal(observation) else "[call]": 1.0}


class CheckFold(MixedPlayer):
    """Always checks and folds."""

    def mix(self, observation: Observation) -> Mapping[str, float]:
        return {"[check]" if "[check]" in _legal(observation) else "[fold]": 1.0}


class Honest(MixedPlayer):
    """Never bluffs: bets and calls with the best card, checks and folds the worst, else checks, and calls half the time."""

    def mix(self, observation: Observation) -> Mapping[str, float]:
        deck = observation.game.deck
        card, _ = spot_of(observation)
        if card == deck[-1]:
            return {"[bet]" if "[bet]" in _legal(observation) else "[call]": 1.0}
        if "[check]" in _legal(observation):
            return {"[check]": 1.0}
        return {"[fold]": 1.0} if card == deck[0] else {"[call]": 0.5, "[fold]": 0.5}


class Nash(MixedPlayer):
    """The equilibrium of the classic game: three cards, ante and bet equal.

    Args:
        alpha: probability of opening with a bet on a jack, 0 to 1/3; it names the equilibrium. All of them have the same
            value, and 1/3 wins most from weak players.
    """

    def __init__(self, alpha: float = 1 / 3):
        if not 0 <= alpha <= 1 / 3:
            raise ValueError(f"alpha={alpha} must be from 0 to 1/3")
        self.bets: dict[Spot, float] = {
            ("J", ()): alpha,
            ("Q", ()): 0.0,
            ("K", ()): 3 * alpha,
            ("J", ("check",)): 1 / 3,
            ("Q", ("check",)): 0.0,
            ("K", ("check",)): 1.0,
        }
        self.calls: dict[Spot, float] = {
            ("J", ("bet",)): 0.0,
            ("Q", ("bet",)): 1 / 3,
            ("K", ("bet",)): 1.0,
            ("J", ("check", "bet")): 0.0,
            ("Q", ("check", "bet")): alpha + 1 / 3,
            ("K", ("check", "bet")): 1.0,
        }

    def mix(self, observation: Observation) -> Mapping[str, float]:
        game = observation.game
        if game.deck_size != 3 or game.ante != game.bet:
            raise ValueError(
                f"nash knows the game of 3 cards with equal ante and bet, not deck_size={game.deck_size}, ante={game.ante}, "
                f"bet={game.bet}; cfr plays any"
            )
        spot = spot_of(observation)
        if spot in self.bets:
            return _two("[bet]", "[check]", self.bets[spot])
        return _two("[call]", "[fold]", self.calls[spot])


class CFR(MixedPlayer):
    """The average policy of CFR+ for the game's own deck and stakes, computed when first asked.

    Args:
        iterations: of CFR+; 1000 leave a NashConv of about 0.0002 chips with three cards.
    """

    def __init__(self, iterations: int = CFR_ITERATIONS):
        if iterations < 1:
            raise ValueError(f"iterations={iterations} must be at least 1")
        self.iterations = iterations

    def mix(self, observation: Observation) -> Mapping[str, float]:
        return _cfr_table(one_hand_of(observation.game), self.iterations)[spot_of(observation)]


class BestResponse(MixedPlayer):
    """The exact best response to another reference player.

    Args:
        against: name of the player, e.g. "honest"; its options are their defaults.
    """

    def __init__(self, against: str = "random"):
        if against not in OPPONENTS:
            raise ValueError(f"best_response: against={against!r} is not one of {', '.join(OPPONENTS)}")
        self.against = against

    def mix(self, observation: Observation) -> Mapping[str, float]:
        return _best_response_table(one_hand_of(observation.game), self.against)[spot_of(observation)]


def _legal(observation: Observation) -> tuple[str, ...]:
    assert observation.legal_moves is not None
    return observation.legal_moves


def _two(first: str, second: str, chance_of_first: float) -> dict[str, float]:
    mix = {first: chance_of_first, second: 1 - chance_of_first}
    return {move: probability for move, probability in mix.items() if probability > 0}


@lru_cache(maxsize=64)
def _cfr_table(game: KuhnPoker, iterations: int) -> Table:
    return _by_spot(game, solve.cfr_plus(game, iterations))


@lru_cache(maxsize=64)
def _best_response_table(game: KuhnPoker, against: str) -> Table:
    policy = solve.policy_of(game, OPPONENTS[against]().mix)
    responses = [solve.best_response(game, policy, seat)[1] for seat in game.seats]
    return _by_spot(game, {**responses[0], **responses[1]})


def _by_spot(game: KuhnPoker, policy: solve.Policy) -> Table:
    return {spot_of(observation): policy[key] for key, observation in solve.observations(game)}


OPPONENTS: dict[str, Any] = {
    "random": Random,
    "check_fold": CheckFold,
    "bet_call": BetCall,
    "honest": Honest,
    "cfr": CFR,
    "nash": Nash,
}
"""Those whom `best_response` can be asked to beat."""
PLAYERS: dict[str, Any] = {
    **{name: player for name, player in OPPONENTS.items() if name != "random"},
    "best_response": BestResponse,
}
