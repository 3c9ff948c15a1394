"""Who plays whom on which deal.

A line-up is a deal and the agents that meet on it; its block is that deal played under every seat rotation of the line-up, so
that each agent has every seat once. Deals are numbered, and number b of a game is the same for every line-up (common random
numbers). Line-ups come in rounds: fixed schedules have one, the others draw a round up when the results of those before it are
there, from nothing but those results.
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lmgames.chance import Chance
from lmgames.game import Game
from lmgames.registry import make_game, split_options

MIN_BASE_BLOCKS = 4  # deals that an adaptive schedule gives every pair first, at least


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


def stake_of(game: GameSpec) -> float:
    """The most that a seat can win or lose."""
    return max(abs(bound) for bound in game.rules().return_bounds)


@dataclass(frozen=True)
class LineUp:
    """The agents that meet on one deal.

    Args:
        game: which.
        agents: names, one a seat, in the order in which they sit round the table, the least rotation of it; an agent may come
            more than once.
        block: number of the deal.
    """

    game: GameSpec
    agents: tuple[str, ...]
    block: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "agents", min(rotations(self.agents)))


def rotations(agents: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Every rotation of some agents, equal ones once."""
    return list(dict.fromkeys(agents[shift:] + agents[:shift] for shift in range(len(agents))))


@dataclass(frozen=True)
class Seating:
    """One game of a block.

    Args:
        lineup: of the block.
        seed: of the episode, fixed by (tournament seed, game, block).
        seats: name of the agent by seat.
    """

    lineup: LineUp
    seed: int
    seats: Mapping[str, str]


def deal_seed(seed: int, game: GameSpec, block: int) -> int:
    """The seed of deal number `block` of a game in the tournament of `seed`."""
    return Chance(seed).word("deal", game.name, block) >> 2


def seatings(lineup: LineUp, seats: Sequence[str], seed: int) -> list[Seating]:
    """The games of a block: every rotation of the line-up over the seats, equal ones once."""
    of_deal = deal_seed(seed, lineup.game, lineup.block)
    return [Seating(lineup, of_deal, dict(zip(seats, seated, strict=True))) for seated in rotations(lineup.agents)]


def tables(names: Sequence[str], seats: int, chance: Chance) -> list[tuple[str, ...]]:
    """Line-ups of three or more seats in which each agent sits equally often: runs of a shuffled circle of the agents.

    With fewer agents than seats the circle goes round again, so that an agent meets copies of itself.
    """
    circle = chance.shuffled(sorted(names), "circle")
    runs = [tuple(circle[(start + seat) % len(circle)] for seat in range(seats)) for start in range(len(circle))]
    return list(dict.fromkeys(min(rotations(run)) for run in runs))  # rotations of one another would give the same games


@dataclass(frozen=True)
class Standing:
    """What is known of the agents after some rounds.

    Args:
        value: by agent, greater is better.
        error: by pair of agents, standard error of the difference of their values; inf where nothing is known.
        played: by (game name, pair), blocks played.
    """

    value: Mapping[str, float]
    error: Mapping[tuple[str, str], float]
    played: Mapping[tuple[str, tuple[str, ...]], int]


class Schedule(Protocol):
    """What a tournament plays."""

    fixed: bool
    """Whether the first round is all there is and needs no results."""

    def round(self, number: int, standing: Standing) -> tuple[list[LineUp], dict[str, Any]] | None:
        """(line-ups of a round, why they were chosen), None after the last."""


class RoundRobin:
    """Every pair of agents on every deal; tables of more seats with each agent equally often. Where the game is not zero-sum each
    agent also meets itself: what a policy earns with its own kind.

    Args:
        names: of the agents.
        games: each is played by all.
        blocks: deals of each game.
        seed: of the tournament.
    """

    fixed = True

    def __init__(self, names: Sequence[str], games: Sequence[GameSpec], blocks: int, seed: int):
        check_design(names, blocks)
        self.names, self.games, self.blocks, self.seed = tuple(names), tuple(games), blocks, seed
        self.rules = {game.name: game.rules() for game in games}

    def round(self, number: int, standing: Standing) -> tuple[list[LineUp], dict[str, Any]] | None:
        if number:
            return None
        return [lineup for block in range(self.blocks) for game in self.games for lineup in self.deal(game, block)], {}

    def deal(self, game: GameSpec, block: int) -> Iterator[LineUp]:
        """The line-ups of one deal."""
        rules = self.rules[game.name]
        seats = len(rules.seats)
        if seats == 1:
            groups: list[tuple[str, ...]] = [(name,) for name in self.names]
        elif seats == 2:
            groups = list(self.pairs())
            if rules.payoffs != "zero_sum":
                groups += [(name, name) for name in self.names]
        else:
            groups = self.tables(seats, Chance(self.seed).derive("tables", game.name, block))
        return (LineUp(game, group, block) for group in groups)

    def pairs(self) -> Iterator[tuple[str, ...]]:
        return itertools.combinations(self.names, 2)

    def tables(self, seats: int, chance: Chance) -> list[tuple[str, ...]]:
        return tables(self.names, seats, chance)


class VsReference(RoundRobin):
    """Every candidate against every reference agent, the references not among themselves: cost grows with the candidates alone.

    Args:
        references: names of those whose strength is to be measured against.
    """

    def __init__(self, names: Sequence[str], games: Sequence[GameSpec], blocks: int, seed: int, references: Sequence[str]):
        super().__init__(names, games, blocks, seed)
        self.references = [name for name in names if name in references]
        self.candidates = [name for name in names if name not in references]
        if not self.references or not self.candidates:
            raise ValueError(
                f"schedule 'vs-reference' needs agents that are references and agents that are not; "
                f"agents {', '.join(names)}; references {', '.join(references) or 'none'}"
            )

    def pairs(self) -> Iterator[tuple[str, ...]]:
        return itertools.product(self.candidates, self.references)

    def tables(self, seats: int, chance: Chance) -> list[tuple[str, ...]]:
        found = []
        for candidate in self.candidates:
            circle = chance.shuffled(sorted(self.references), "circle", candidate)
            found.append((candidate, *(circle[seat % len(circle)] for seat in range(seats - 1))))
        return found


class Swiss(RoundRobin):
    """One deal of each game a round, between neighbours in the standing that have met least; `blocks` rounds."""

    fixed = False

    def round(self, number: int, standing: Standing) -> tuple[list[LineUp], dict[str, Any]] | None:
        if number >= self.blocks:
            return None
        order = sorted(self.names, key=lambda name: (-standing.value.get(name, 0.0), self._lot(number, name)))
        lineups = [
            LineUp(game, group, number)
            for game in self.games
            for group in self._groups(game, order, standing.played, number)
        ]
        return lineups, {"order": order, "value": {name: round(standing.value.get(name, 0.0), 4) for name in order}}

    def _lot(self, number: int, name: str) -> int:
        return Chance(self.seed).word("swiss", number, name)

    def _groups(
        self, game: GameSpec, order: list[str], played: Mapping[tuple[str, tuple[str, ...]], int], number: int
    ) -> list[tuple[str, ...]]:
        seats = len(self.rules[game.name].seats)
        if seats == 1:
            return [(name,) for name in order]
        if seats > 2:
            whole = order + order[: -len(order) % seats] if len(order) >= seats else (order * seats)[:seats]
            return [tuple(whole[start : start + seats]) for start in range(0, len(whole), seats)]
        left = list(order)
        groups = []
        if len(left) % 2:  # the bye goes round, from the bottom
            left.remove(sorted(self.names, key=lambda name: self._lot(-1, name))[number % len(left)])
        while left:
            first = left.pop(0)
            met = [played.get((game.name, pair_key((first, other))), 0) for other in left]
            second = left.pop(met.index(min(met)))
            groups.append(pair_key((first, second)))
        return groups


class Adaptive(RoundRobin):
    """Half the blocks as a round robin, the rest where the order of two agents is least sure.

    A pair's claim is (how likely the data could have come from equals) times the error that one more block takes off. Which
    blocks were played follows from results, so that intervals taken at face value may hold the truth a little less often; the
    log of the design says what was chosen when.
    """

    fixed = False

    def __init__(self, names: Sequence[str], games: Sequence[GameSpec], blocks: int, seed: int):
        super().__init__(names, games, blocks, seed)
        self.base = min(blocks, max(MIN_BASE_BLOCKS, blocks // 2))
        self.rounds = blocks - self.base

    def round(self, number: int, standing: Standing) -> tuple[list[LineUp], dict[str, Any]] | None:
        if number == 0:
            deals = [lineup for block in range(self.base) for game in self.games for lineup in self.deal(game, block)]
            return deals, {"base": self.base}
        if number > self.rounds:
            return None
        lineups: list[LineUp] = []
        why: dict[str, Any] = {}
        for game in self.games:
            if len(self.rules[game.name].seats) != 2:  # tables have no pairs to choose
                lineups += self.deal(game, self.base + number - 1)
                continue
            played = {pair: standing.played.get((game.name, pair), 0) for pair in map(pair_key, self.pairs())}
            chosen = self._choose(standing, played)
            why[game.name] = chosen
            for pair in chosen:
                lineups.append(LineUp(game, pair, played[pair]))
                played[pair] += 1
        return lineups, {"pairs": why}

    def _choose(self, standing: Standing, played: Mapping[tuple[str, ...], int]) -> list[tuple[str, ...]]:
        """As many pairs as a round robin has, the greatest claim first; a block given lowers the claim of its pair."""
        given: Counter[tuple[str, ...]] = Counter()
        for _ in played:
            best = max(played, key=lambda pair: (self._claim(standing, pair, played[pair] + given[pair]), pair))
            given[best] += 1
        return sorted(given.elements())

    def _claim(self, standing: Standing, pair: tuple[str, ...], blocks: int) -> float:
        one, other = pair
        error = standing.error.get((one, other), math.inf)
        if not math.isfinite(error) or blocks == 0:
            return math.inf
        gap = (standing.value[one] - standing.value[other]) / max(error, 1e-9)
        return math.exp(-min(gap * gap, 1000.0) / 2) * error / (blocks + 1)


SCHEDULES: dict[str, Any] = {"round-robin": RoundRobin, "vs-reference": VsReference, "swiss": Swiss, "adaptive": Adaptive}


def make_schedule(
    kind: str, names: Sequence[str], games: Sequence[GameSpec], blocks: int, seed: int, references: Sequence[str] = ()
) -> Schedule:
    """A schedule by name.

    Raises:
        ValueError: for an unknown kind, fewer than two agents, equal names or no blocks.
    """
    if kind not in SCHEDULES:
        raise ValueError(f"no schedule {kind!r}; there are {', '.join(SCHEDULES)}")
    more = {"references": references} if kind == "vs-reference" else {}
    schedule: Schedule = SCHEDULES[kind](names, games, blocks, seed, **more)
    return schedule


def check_design(names: Sequence[str], blocks: int) -> None:
    """Refuses a tournament of fewer than two agents, of equal names, or without blocks.

    Raises:
        ValueError: saying which.
    """
    if len(set(names)) != len(names) or len(names) < 2:
        raise ValueError(f"a tournament needs two or more agents with different names, not {list(names)}")
    if blocks < 1:
        raise ValueError(f"blocks={blocks} must be at least 1")


def pair_key(pair: Iterable[str]) -> tuple[str, ...]:
    """Two agents in the order that names them."""
    return tuple(sorted(pair))
