"""Who plays whom on which deal: mirrored blocks.

A block is one deal played under every assignment of two agents to the sides of a game, so that each agent has every side of it
once. The deals are the same for every pair (common random numbers), and the block, not the game, is the unit of inference.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lmgames.chance import Chance
from lmgames.game import Game
from lmgames.registry import make_game, split_options


@dataclass(frozen=True)
class GameSpec:
    """A game as it is played in a tournament."""

    env_id: str
    options: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The ID with its options, as a column of a table."""
        settings = ",".join(f"{key}={value}" for key, value in sorted(self.options.items()))
        return self.env_id + (f"({settings})" if settings else "")

    def rules(self) -> Game[Any, Any]:
        of_game, _ = split_options(self.env_id, dict(self.options))
        return make_game(self.env_id, **of_game)


@dataclass(frozen=True)
class Pairing:
    """One game of a block.

    Args:
        game: which.
        pair: names of the two agents.
        block: number of the deal.
        seed: of the episode, fixed by (tournament seed, game, block).
        seats: name of the agent by seat.
        side: of the first agent of the pair: its seat, or its roles where a game has more than two seats.
    """

    game: GameSpec
    pair: tuple[str, str]
    block: int
    seed: int
    seats: Mapping[str, str]
    side: str


def sides(rules: Game[Any, Any], seed: int) -> dict[str, str]:
    """The side of each seat: the seat itself where there are two, else its role in the deal of this seed."""
    if len(rules.seats) == 2:
        return {seat: seat for seat in rules.seats}
    state = rules.start(rules.deal(Chance(seed)))
    return {seat: rules.role_of(state, seat) for seat in rules.seats}


def round_robin(names: Sequence[str], games: Sequence[GameSpec], blocks: int, seed: int) -> Iterator[Pairing]:
    """Every pair of agents on every game, `blocks` deals each; block by block, so that a partial run is balanced.

    Raises:
        ValueError: for fewer than two agents, equal names or no blocks.
    """
    if len(set(names)) != len(names) or len(names) < 2:
        raise ValueError(f"a round robin needs two or more agents with different names, not {list(names)}")
    if blocks < 1:
        raise ValueError(f"blocks={blocks} must be at least 1")
    rules = [game.rules() for game in games]
    for block in range(blocks):
        for game, rule in zip(games, rules, strict=True):
            deal_seed = Chance(seed).word("deal", game.name, block) >> 2
            for pair in itertools.combinations(names, 2):
                yield from _block(game, rule, pair, block, deal_seed)


def _block(game: GameSpec, rules: Game[Any, Any], pair: tuple[str, str], block: int, seed: int) -> Iterator[Pairing]:
    side_of = sides(rules, seed)
    done = set()
    for one, others in (pair, pair[::-1]):
        for side in dict.fromkeys(side_of.values()):
            seats = {seat: one if side_of[seat] == side else others for seat in rules.seats}
            if tuple(seats.values()) in done:
                continue  # with two sides, "A here, B there" is "B there, A here"
            done.add(tuple(seats.values()))
            own = dict.fromkeys(side_of[seat] for seat in rules.seats if seats[seat] == pair[0])
            yield Pairing(game, pair, block, seed, seats, "+".join(own))
