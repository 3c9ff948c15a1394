"""Exact planning for debates: which sentences of a custody story to quote, and how to split a total that is a lie."""

import itertools
from collections.abc import Iterator
from functools import lru_cache

from lmgames.debate_sources import Question
from lmgames.debate_sources.bisection import DIGIT
from lmgames.debate_sources.custody import event_of, implied_room, room_of

MAX_SETS = 6_000
"""Sets of quoted sentences up to which all are tried and a custody debate is searched to its end."""


class Story:
    """A custody story as a game of quoting: what the rule judge makes of each set of sentences. Sets are bits of an int.

    Args:
        events: sentences without their numbers.
        rooms: of the two answers.
    """

    def __init__(self, events: tuple[str, ...], rooms: tuple[str, str]):
        self.events = events
        self.rooms = rooms
        self._values: dict[int, int] = {}
        self._searched: dict[tuple[int, int, int, tuple[bool, ...], int], int] = {}

    def value(self, shown: int, side: int) -> int:
        """+1 if these sentences lead to the side's answer, -1 if to the other, 0 if to neither."""
        if shown not in self._values:
            room = implied_room(event for index, event in enumerate(self.events) if shown >> index & 1)
            self._values[shown] = 0 if room not in self.rooms else 1 - 2 * self.rooms.index(room)
        return self._values[shown] if side == 0 else -self._values[shown]

    def best_set(self, shown: int, count: int, side: int) -> tuple[int, ...]:
        """Numbers of the at most `count` further sentences that help a side most if nobody replies; the fewest such.

        Fewer than `count` are looked for where the sets of so many are more than `MAX_SETS`.
        """
        while count > 1 and self._count_sets(count) > MAX_SETS:
            count -= 1
        sets = self._sets(shown, count)
        best = max(sets, key=lambda bits: (self.value(shown | bits, side), -bits.bit_count()))
        return _numbers(best)

    def best_reply(self, shown: int, own: int, other: int, order: tuple[bool, ...], side: int) -> tuple[int, ...]:
        """Numbers of the sentences to quote now, if both sides play on perfectly.

        Args:
            shown: what has been quoted.
            own, other: quotes that the debater and its opponent have left.
            order: for each turn to come, the first of which is the debater's own, whether it is its own.
            side: the debater's.
        """
        if self._count_sets(own + other) > MAX_SETS:
            return self.best_set(shown, own, side)

        def worth(bits: int) -> tuple[int, int, int]:
            after = shown | bits
            later = self._search(after, own - bits.bit_count(), other, order[1:], side)
            return later, self.value(after, side), -bits.bit_count()

        return _numbers(max(self._sets(shown, own), key=worth))

    def _search(self, shown: int, own: int, other: int, order: tuple[bool, ...], side: int) -> int:
        """The value for a side under perfect play of both."""
        if not order:
            return self.value(shown, side)
        key = (shown, own, other, order, side)
        if key not in self._searched:
            mine = order[0]
            goal = 1 if mine else -1
            found = -goal
            for bits in self._sets(shown, own if mine else other):
                left = (own - bits.bit_count(), other) if mine else (own, other - bits.bit_count())
                value = self._search(shown | bits, *left, order[1:], side)
                found = max(found, value) if mine else min(found, value)
                if found == goal:
                    break
            self._searched[key] = found
        return self._searched[key]

    def _sets(self, shown: int, count: int) -> Iterator[int]:
        """Every set of at most `count` sentences that were not shown, small ones first."""
        free = [1 << index for index in range(len(self.events)) if not shown >> index & 1]
        for size in range(min(count, len(free)) + 1):
            for chosen in itertools.combinations(free, size):
                yield sum(chosen)

    def _count_sets(self, count: int) -> int:
        total, one_size = 1, 1
        for size in range(1, min(count, len(self.events)) + 1):
            one_size = one_size * (len(self.events) - size + 1) // size
            total += one_size
        return total


def _numbers(bits: int) -> tuple[int, ...]:
    return tuple(index + 1 for index in range(bits.bit_length()) if bits >> index & 1)


def story_of(question: Question) -> Story:
    """The game of a question, with what has been searched of it."""
    return _story(tuple(map(event_of, question.passage)), (room_of(question.answers[0]), room_of(question.answers[1])))


@lru_cache(maxsize=64)
def _story(events: tuple[str, ...], rooms: tuple[str, str]) -> Story:
    return Story(events, rooms)


def _lefts(claim: int, length: int) -> range:
    """Totals that a left half may be given, of a stretch of `length` digits with this claim."""
    most = DIGIT * length // 2
    return range(max(0, claim - most), min(most, claim) + 1)


def left_against_truth(digits: tuple[int, ...], claim: int) -> int:
    """The left total that is best against an opponent that tells the truth: the one nearest to the truth.

    Every false claim loses against the truth, so what counts is a slip of the opponent. A lie kept in the right half leaves
    the truth on one's own side if the opponent slips in the left one, where the debate then goes on.
    """
    return min(_lefts(claim, len(digits)), key=lambda left: abs(left - sum(digits[: len(digits) // 2])))


def left_unopposed(digits: tuple[int, ...], claim: int) -> int:
    """The left total with which a judge that looks into either half at random finds the last digit false least often."""
    true_left = sum(digits[: len(digits) // 2])
    lefts = _lefts(claim, len(digits))
    return min(lefts, key=lambda left: (_found_after(digits, claim, left), abs(left - true_left)))


def _found_after(digits: tuple[int, ...], claim: int, left: int) -> float:
    middle = len(digits) // 2
    return (_found(digits[:middle], left) + _found(digits[middle:], claim - left)) / 2


@lru_cache(maxsize=200_000)
def _found(digits: tuple[int, ...], claim: int) -> float:
    """Least probability that a claim is found false."""
    if claim == sum(digits):
        return 0.0
    if len(digits) == 1:
        return 1.0
    return min(_found_after(digits, claim, left) for left in _lefts(claim, len(digits)))
