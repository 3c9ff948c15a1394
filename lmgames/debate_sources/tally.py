"""Tally: is the sum of a list above or below zero? Each side shows the judge a few of its numbers.

Revealing is additive, so the largest numbers of one's own sign are exactly optimal. Truth has an edge, since its numbers are
larger or more, and the edge grows with the numbers shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from lmgames.chance import Chance
from lmgames.debate_sources.source import DebateState, Item, Part, Question, RevealSource, claims, evidence_of

LARGEST = 9
LEAST_LIKELY = 0.05  # of a list that a generator may wait for
ANSWERS = ("above zero", "below zero")


@dataclass(frozen=True)
class Tally(RevealSource):
    """Lists of integers from -9 to 9 without 0.

    Args:
        size: numbers of a list.
        distance: least distance of the sum from zero; 1 takes any list whose sum is not 0. One list in twenty must have it.
    """

    size: int = 20
    distance: int = 1

    name = "tally"
    default_rounds = 3
    form = "[reveal: N] with the place of a number in the list"

    def __post_init__(self) -> None:
        if not 2 <= self.size <= 999:
            raise ValueError(f"size={self.size}: a tally has 2 to 999 numbers")
        most = 1 if self.distance == 1 else min(self.size, _likely_distance(self.size))
        if not 1 <= self.distance <= most:
            raise ValueError(f"distance={self.distance}: the sum of {self.size} numbers can be 1 to {most} from zero here")

    @property
    def most_rounds(self) -> int:  # type: ignore[override]  # it follows from the size
        return self.size // 2

    def generate(self, chance: Chance) -> dict[str, Any]:
        attempt = 0
        while True:
            numbers = [self._number(chance, "number", attempt, place) for place in range(self.size)]
            if abs(sum(numbers)) >= self.distance:
                break
            attempt += 1
        true = 0 if sum(numbers) > 0 else 1
        return {
            "id": f"tally-{chance.word('id') & 0xFFFFFFFF:08x}",
            "question": f"A list has {self.size} numbers from -{LARGEST} to {LARGEST}. Is its sum above or below zero?",
            "answers": [ANSWERS[true], ANSWERS[1 - true]],
            "correct": 0,
            "passage": numbers,
            "meta": {"sum": sum(numbers)},
        }

    def _number(self, chance: Chance, purpose: str, *index: int) -> int:
        value = chance.integer(purpose, *index, low=1, high=2 * LARGEST)
        return value if value <= LARGEST else LARGEST - value

    def read_passage(self, passage: Any) -> tuple[int, ...]:
        good = isinstance(passage, list | tuple) and len(passage) == self.size
        if not good or any(type(number) is not int or not 1 <= abs(number) <= LARGEST for number in passage):
            raise ValueError(f"the passage of a tally is a list of {self.size} integers from -9 to 9 without 0")
        return tuple(passage)

    def read_answers(self, answers: tuple[str, str]) -> tuple[str, str]:
        if set(answers) != set(ANSWERS):
            raise ValueError(f"answers={list(answers)}: those of a tally are {ANSWERS[0]!r} and {ANSWERS[1]!r}")
        return answers

    def truth(self, question: Question) -> int | None:
        total = sum(question.passage)
        return None if total == 0 else question.answers.index(ANSWERS[0 if total > 0 else 1])

    def rules(self, rounds: int, quotes: int | None, mode: str) -> str:
        return (
            "The debaters know the list, the judge does not. On your turn you show the judge one number: write [reveal: N], "
            f"N from 1 to {self.size}, its place in the list. The moderator tells its true value. Each debater has {rounds} turns."
        )

    def judging(self, mode: str) -> str:
        return "The judge adds up all the numbers shown and answers by the sign of that sum; on zero it cannot decide."

    def passage_lines(self, question: Question) -> list[str]:
        return ["The list: " + ", ".join(f"{place}: {number:+d}" for place, number in enumerate(question.passage, 1))]

    def items(self, question: Question) -> tuple[Item, ...]:
        return tuple((place,) for place in range(1, len(question.passage) + 1))

    def limits(self, question: Question) -> tuple[tuple[str, int, int], ...]:
        return (("place", 1, self.size),)

    def weight(self, question: Question, item: Item) -> float:
        value = float(question.passage[item[0] - 1])
        return value if question.answers[0] == ANSWERS[0] else -value

    def show_item(self, question: Question, item: Item) -> Part:
        value = question.passage[item[0] - 1]
        return Part("evidence", f"number {item[0]} of the list is {value:+d}", data=(*item, value))

    def verdict(self, record: Mapping[str, Any]) -> dict[str, Any]:
        shown = [value for _, value in evidence_of(record)]
        total = sum(shown)
        p_above = _probability_above(total, self.size - len(shown))
        above = record["answers"].index(ANSWERS[0])
        choice = None if total == 0 else above if total > 0 else 1 - above
        return claims(
            p=p_above if above == 0 else 1.0 - p_above, choice=choice, reason=f"the numbers shown add up to {total:+d}"
        )

    def hidden_twin(self, state: DebateState, chance: Chance) -> Question:
        known = {place for (place,) in self.revealed(state)} | {part.data[0] for part in state.shown}
        attempt = 0
        while True:
            numbers = tuple(
                value if place in known else self._number(chance, "twin", attempt, place)
                for place, value in enumerate(state.question.passage, 1)
            )
            twin = Question(state.question.id, state.question.text, state.question.answers, None, numbers)
            if abs(sum(numbers)) >= self.distance:
                return Question(twin.id, twin.text, twin.answers, self.truth(twin), numbers)
            if attempt > 100:  # e.g. nothing is hidden any more
                return state.question
            attempt += 1


@lru_cache(maxsize=4096)
def _probability_above(shown: int, hidden: int) -> float:
    """Probability that the list's sum is above zero, given that it is not zero and the hidden numbers are random."""
    chances = _sum_distribution(hidden)
    totals = np.arange(len(chances)) - LARGEST * hidden + shown
    above, below = float(chances[totals > 0].sum()), float(chances[totals < 0].sum())
    return above / (above + below) if above + below > 0 else 0.5


@lru_cache(maxsize=64)
def _sum_distribution(count: int) -> np.ndarray:
    """Probabilities of the sums -9*count .. 9*count of `count` random numbers."""
    one = np.full(2 * LARGEST + 1, 1.0 / (2 * LARGEST))
    one[LARGEST] = 0.0
    chances = np.ones(1)
    for _ in range(count):
        chances = np.convolve(chances, one)
    return chances


@lru_cache(maxsize=64)
def _likely_distance(size: int) -> int:
    """The greatest distance from zero that the sum of `size` random numbers reaches with probability 1/20."""
    chances = _sum_distribution(size)
    middle = LARGEST * size
    beyond = 2.0 * chances[middle + 1 :][::-1].cumsum()[::-1]  # at index d - 1: of a distance of d or more
    return int((beyond >= LEAST_LIKELY).sum())
