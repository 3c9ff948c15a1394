"""What a run plays: one game or several with weights, and whose turn it is.

[games."KuhnPoker-v0"]        # a table for each game: its options and those of its environment, and, if wanted,
show_rules = false
weight = 2                    # its share of the games, against the other weights
max_reply_tokens = 6          # in place of the run's
[games."*"]                   # for all of them
invalid_policy = "forfeit"
[evaluate."KuhnPoker-v0"]     # what differs where it is evaluated
show_rules = true
"""

import bisect
import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeVar

from lmgames.game import Game
from lmgames.registry import NAMESPACE, make, make_game, split_options

EVERY_GAME = "*"
OF_THE_RUN = ("weight", "max_reply_tokens")  # what a table says beside options
Value = TypeVar("Value")


def short_name(env_id: str) -> str:
    """An ID without its namespace."""
    return env_id.removeprefix(f"{NAMESPACE}/")


@dataclass(frozen=True, eq=False)
class PlayedGame:
    """A game of a run.

    Args:
        name: ID without namespace; what metrics call it.
        options: of the game and of its environment.
        weight: its share of the games, against those of the others; 0 for games held out.
        max_reply_tokens: longest reply.
        rules: the game itself.
    """

    name: str
    options: Mapping[str, Any]
    weight: float
    max_reply_tokens: int
    rules: Game[Any, Any] = field(repr=False)


def read_games(
    tables: Mapping[str, Mapping[str, Any]], max_reply_tokens: int, *, setting: str = "games"
) -> tuple[PlayedGame, ...]:
    """The games of a table of tables, by ID.

    Args:
        setting: that says so, for messages.

    Raises:
        ValueError: for an unknown game, option or value, or a weight that is none.
    """
    found: dict[str, PlayedGame] = {}
    for env_id, table in tables.items():
        name = short_name(env_id)
        if name in found:
            raise ValueError(f"{setting}: {name!r} is there twice")
        options = {key: value for key, value in table.items() if key not in OF_THE_RUN}
        of_game, _ = split_options(name, options)
        try:
            make(name, **options)  # refuses values, and reads what files an option names
        except OSError as error:
            raise ValueError(f"{setting}: {name} cannot be read: {error}; name another file in its options") from error
        weight, longest = table.get("weight", 1.0), table.get("max_reply_tokens", max_reply_tokens)
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < float("inf"):
            raise ValueError(f"{setting}: weight={weight!r} of {name} must be a number above 0")
        if type(longest) is not int or longest < 1:
            raise ValueError(f"{setting}: max_reply_tokens={longest!r} of {name} must be a whole number, at least 1")
        found[name] = PlayedGame(name, options, float(weight), longest, make_game(name, **of_game))
    return tuple(found.values())


def for_every_game(tables: Mapping[str, Any], common: Mapping[str, Any]) -> dict[str, Any]:
    """The tables with what the table "*" says, and before it `common`, wherever they say nothing else."""
    shared = {**common, **tables.get(EVERY_GAME, {})}
    return {name: {**shared, **table} for name, table in tables.items() if name != EVERY_GAME}


def by_game(found: Mapping[str, Value]) -> Any:
    """What was found of each game: by its name, or, where there is only one, alone."""
    return next(iter(found.values())) if len(found) == 1 else dict(found)


class Rota:
    """An endless sequence in which several take turns, each as often as its weight says, as evenly as can be: of any first n, each
    has had its share to within less than one (the chairman assignment problem, Tijdeman 1980)."""

    def __init__(self, weights: Sequence[float]):
        shares = [Fraction(weight) / sum(map(Fraction, weights)) for weight in weights]
        self._whole = math.lcm(*(share.denominator for share in shares))
        self._parts = [int(share * self._whole) for share in shares]
        self._sequence: list[int] = []
        self._places: list[list[int]] = [[] for _ in weights]

    def __getitem__(self, number: int) -> int:
        """Whose turn number `number` is."""
        while len(self._sequence) <= number:
            self._extend()
        return self._sequence[number]

    def before(self, who: int, number: int) -> int:
        """How many turns one of them has had before turn `number`."""
        if number > 0:
            _ = self[number - 1]
        return bisect.bisect_left(self._places[who], number)

    def _extend(self) -> None:
        number, count = len(self._sequence) + 1, len(self._parts)
        # In units of 1 / (whole * slack): what each is owed, and how long until it is owed a turn too many.
        slack = max(1, 2 * count - 2)
        owed = [
            slack * (part * number - self._whole * len(had)) for part, had in zip(self._parts, self._places, strict=True)
        ]
        late = [who for who in range(count) if owed[who] >= self._whole]
        chosen = min(late, key=lambda who: (Fraction((slack - 1) * self._whole - owed[who], self._parts[who]), who))
        self._places[chosen].append(len(self._sequence))
        self._sequence.append(chosen)


@functools.cache
def rota(weights: tuple[float, ...]) -> Rota:
    """The sequence of these weights."""
    return Rota(weights)


def weights_of(games: Sequence[PlayedGame]) -> tuple[float, ...]:
    return tuple(game.weight for game in games)


def shared_out(total: int, games: Sequence[PlayedGame]) -> list[int]:
    """A number of things, shared out among games by weight; each gets at least one."""
    sequence = rota(weights_of(games))
    return [max(1, sequence.before(who, total)) for who in range(len(games))]


def dealt(games: Sequence[PlayedGame], first: int, count: int) -> list[tuple[PlayedGame, int]]:
    """Which game each of `count` groups from number `first` on is of, and its number among the groups of that game."""
    sequence = rota(weights_of(games))
    places = (sequence[number] for number in itertools.count(first))
    return [(games[who], sequence.before(who, first + number)) for number, who in enumerate(itertools.islice(places, count))]
