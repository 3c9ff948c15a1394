"""Luck as a function of what it decides, never of how many draws came before.

A draw is named by (seed, purpose, index). Two games with one seed therefore get the same deal whatever the players do,
which is what makes mirrored deals and same-deal groups valid. Nothing here reads or moves `random` or `numpy.random`.
"""

import hashlib
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
_WORD = 1 << 64


def _key(seed: int, purpose: str, index: tuple[int | str, ...]) -> str:
    key = repr((seed, purpose, *index))
    if "np." in key:  # perhaps a number of NumPy's, which is the same draw as the number
        plain = [str(part) if isinstance(part, str) else operator.index(part) for part in index]
        key = repr((operator.index(seed), str(purpose), *plain))
    return key


def _word(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


@dataclass(frozen=True, slots=True)
class Chance:
    """The draws of one episode.

    Args:
        seed: any integer; episodes with one seed share every draw.
    """

    seed: int

    def word(self, purpose: str, *index: int | str) -> int:
        """A uniform 64-bit word, 0 <= word < 2**64, fixed by (seed, purpose, index)."""
        return _word(_key(self.seed, purpose, index))

    def integer(self, purpose: str, *index: int | str, low: int = 0, high: int) -> int:
        """A uniform integer, low <= value <= high.

        Raises:
            ValueError: if the range is empty.
        """
        span = high - low + 1
        if span <= 0:
            raise ValueError(f"chance {purpose!r}: no integer from {low} to {high}")
        if span > _WORD:
            raise ValueError(f"chance {purpose!r}: a range of {span} values is wider than 64 bits")
        if span == 1:
            return low
        limit = _WORD - _WORD % span  # words above it would favour the low values
        attempt = 0
        word = self.word(purpose, *index)
        while word >= limit:
            attempt += 1
            word = self.word(purpose, *index, "again", attempt)
        return low + word % span

    def uniform(self, purpose: str, *index: int | str) -> float:
        """A float, 0 <= value < 1, on a grid of 2**-53."""
        return (self.word(purpose, *index) >> 11) * 2.0**-53

    def choice(self, options: Sequence[T], purpose: str, *index: int | str) -> T:
        """One of `options`, each equally likely."""
        return options[self.integer(purpose, *index, high=len(options) - 1)]

    def weighted(self, options: Sequence[T], weights: Sequence[float], purpose: str, *index: int | str) -> T:
        """One of `options`, with probability proportional to its weight (weights >= 0, not all 0)."""
        total = float(sum(weights))
        if not total > 0 or min(weights) < 0:
            raise ValueError(f"chance {purpose!r}: weights must be >= 0 and not all 0, got {list(weights)}")
        point = self.uniform(purpose, *index) * total
        for option, weight in zip(options, weights, strict=True):
            point -= weight
            if point < 0:
                return option
        return next(option for option, weight in reversed(list(zip(options, weights, strict=True))) if weight > 0)

    def shuffled(self, items: Sequence[T], purpose: str, *index: int | str) -> tuple[T, ...]:
        """The items in a uniformly random order."""
        order = list(items)
        draw = _key(self.seed, purpose, index)[:-1]
        for last in range(len(order) - 1, 0, -1):
            word = _word(f"{draw}, {last})")  # the words of `integer(purpose, *index, last, high=last)`
            fair = word < _WORD - _WORD % (last + 1)
            other = word % (last + 1) if fair else self.integer(purpose, *index, last, high=last)
            order[last], order[other] = order[other], order[last]
        return tuple(order)

    def sample(self, items: Sequence[T], count: int, purpose: str, *index: int | str) -> tuple[T, ...]:
        """`count` different items, in random order.

        Raises:
            ValueError: if there are fewer than `count` items.
        """
        if count > len(items):
            raise ValueError(f"chance {purpose!r}: {count} different items asked for, only {len(items)} there")
        return self.shuffled(items, purpose, *index)[:count] if count else ()

    def derive(self, purpose: str, *index: int | str) -> "Chance":
        """An independent stream, for a part that makes draws of its own."""
        return Chance(self.word(purpose, *index))
