"""Pools of items and what they are worth to two players: enumerated from the rules, with the solutions of each.

A context is a pool and two private value vectors. Contexts are facts of arithmetic, listed here from the rules of Lewis et
al. (2017), section 2.2: three item types, five to seven items, the pool worth 10 to each player, every item worth something
to somebody, and some item worth something to both. No published list of contexts is used.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Counts = tuple[int, ...]
Criterion = Literal["nash", "utilitarian", "egalitarian"]
MAX_CONTEXTS = 2_000_000


@dataclass(frozen=True, slots=True)
class Context:
    """One pool.

    Args:
        counts: items of each type, in the order of the game's item names.
        values: by seat, points per item of each type.
    """

    counts: Counts
    values: tuple[Counts, Counts]

    def scores(self, take: Counts) -> tuple[int, int]:
        """Points of both seats when player_0 takes `take` and player_1 the rest."""
        return worth(self.values[0], take), worth(self.values[1], rest(self.counts, take))


@dataclass(frozen=True, slots=True)
class PoolRule:
    """Which contexts there are.

    Args:
        types: number of item types; every pool has at least one item of each.
        min_items, max_items: items in a pool.
        max_per_type: items of one type.
        value_total: points that the whole pool is worth to each player.
        each_item_wanted: whether every item is worth something to somebody.
        some_item_contested: whether some item is worth something to both.
    """

    types: int = 3
    min_items: int = 5
    max_items: int = 7
    max_per_type: int = 5
    value_total: int = 10
    each_item_wanted: bool = True
    some_item_contested: bool = True

    def admits(self, first: Counts, second: Counts) -> bool:
        """Whether two value vectors may meet."""
        if self.each_item_wanted and any(a + b == 0 for a, b in zip(first, second, strict=True)):
            return False
        return not self.some_item_contested or any(a * b > 0 for a, b in zip(first, second, strict=True))


def worth(values: Counts, take: Counts) -> int:
    """Points of a bundle."""
    return sum(map(int.__mul__, values, take))


def rest(counts: Counts, take: Counts) -> Counts:
    """What a bundle leaves of the pool."""
    return tuple(map(int.__sub__, counts, take))


def pools(rule: PoolRule) -> Iterator[Counts]:
    """Every vector of item counts, in lexicographic order."""
    yield from _pools(rule, rule.types, rule.min_items, rule.max_items)


def _pools(rule: PoolRule, types: int, least: int, most: int) -> Iterator[Counts]:
    if types == 0:
        if least <= 0:
            yield ()
        return
    for count in range(1, min(rule.max_per_type, most - types + 1) + 1):
        for others in _pools(rule, types - 1, least - count, most - count):
            yield (count, *others)


@lru_cache(maxsize=4096)
def value_vectors(counts: Counts, total: int) -> tuple[Counts, ...]:
    """Every vector of values >= 0 under which the pool is worth `total`, in lexicographic order."""
    if not counts:
        return ((),) if total == 0 else ()
    first, others = counts[0], counts[1:]
    return tuple(
        (value, *tail) for value in range(total // first + 1) for tail in value_vectors(others, total - value * first)
    )


@lru_cache(maxsize=65_536)
def _value_vector_count(counts: Counts, total: int) -> int:
    if not counts:
        return int(total == 0)
    return sum(_value_vector_count(counts[1:], total - worth_here) for worth_here in range(0, total + 1, counts[0]))


@lru_cache(maxsize=32)
def check_pool_rule(rule: PoolRule) -> None:
    """Refuses a rule with no context, or with too many to list.

    Raises:
        ValueError: saying which.
    """
    if rule.min_items > rule.max_items:
        raise ValueError(f"min_items={rule.min_items} is more than max_items={rule.max_items}")
    pairs = 0
    for counts in pools(rule):
        pairs += _value_vector_count(counts, rule.value_total) ** 2
        if pairs > MAX_CONTEXTS:
            raise ValueError(f"{rule} has more than {MAX_CONTEXTS} contexts to list; narrow it")
    if not pairs:
        raise ValueError(f"{rule} has no context: no such pool can be worth {rule.value_total} points")
    if next(_admitted(rule), None) is None:
        raise ValueError(f"{rule} has no context in which some item is wanted as it asks")


@lru_cache(maxsize=8)
def contexts(rule: PoolRule = PoolRule()) -> tuple[Context, ...]:
    """Every context of a rule, in lexicographic order: by counts, values of player_0, values of player_1.

    Raises:
        ValueError: if there is none, or there are too many to list.
    """
    check_pool_rule(rule)
    return tuple(_admitted(rule))


def _admitted(rule: PoolRule) -> Iterator[Context]:
    for counts in pools(rule):
        for first, second in itertools.product(value_vectors(counts, rule.value_total), repeat=2):
            if rule.admits(first, second):
                yield Context(counts, (first, second))


@lru_cache(maxsize=4096)
def splits(counts: Counts) -> tuple[Counts, ...]:
    """Every bundle that one player can take of a pool, in lexicographic order; the other gets the rest."""
    return tuple(itertools.product(*(range(count + 1) for count in counts)))


@lru_cache(maxsize=4096)
def partner_values(counts: Counts, own: Counts, rule: PoolRule) -> tuple[Counts, ...]:
    """The other player's possible values, all equally likely, given the pool and one's own."""
    return tuple(other for other in value_vectors(counts, rule.value_total) if rule.admits(own, other))


def max_joint(context: Context) -> int:
    """The greatest sum of both scores: every item to whoever values it more."""
    best = map(max, *context.values)
    return sum(count * value for count, value in zip(context.counts, best, strict=True))


def competitiveness(context: Context) -> float:
    """How much the players want the same: 0 if the joint score can be twice the pool's worth, 1 if it cannot exceed it."""
    total = worth(context.values[0], context.counts)
    return (2 * total - max_joint(context)) / total


@lru_cache(maxsize=4096)
def pareto_front(context: Context) -> tuple[tuple[int, int], ...]:
    """Scores (player_0, player_1) that no split improves for one player without a loss to the other, best for 0 first."""
    points = sorted({context.scores(take) for take in splits(context.counts)}, reverse=True)
    front: list[tuple[int, int]] = []
    for point in points:
        if not front or point[1] > front[-1][1]:
            front.append(point)
    return tuple(front)


def best_split(context: Context, criterion: Criterion = "nash") -> Counts:
    """What player_0 takes in the best split.

    Args:
        criterion: "nash" maximises the product of the scores, then their sum; "utilitarian" the sum, then the product;
            "egalitarian" the lesser score, then the sum. Of equals, the lexicographically first take.
    """

    def merit(take: Counts) -> tuple[int, int]:
        first, second = context.scores(take)
        joint, product = first + second, first * second
        merits = {"nash": (product, joint), "utilitarian": (joint, product), "egalitarian": (min(first, second), joint)}
        return merits[criterion]

    return max(splits(context.counts), key=merit)  # max keeps the first of equals


def regrets(context: Context, scores: Sequence[float]) -> tuple[float, float]:
    """By seat: how many points more it could have had without the other having less; 0, 0 on the Pareto front."""
    points = pareto_front(context)
    more_0 = max((point[0] for point in points if point[1] >= scores[1]), default=-math.inf) - scores[0]
    more_1 = max((point[1] for point in points if point[0] >= scores[0]), default=-math.inf) - scores[1]
    return max(0.0, float(more_0)), max(0.0, float(more_1))
