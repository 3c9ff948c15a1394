import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.compare import compare, describe
from benchmarks.results import Result


def game(deal, seats, returns, name="g"):
    places = [f"player_{number}" for number in range(len(seats))]
    record = {
        "returns": dict(zip(places, returns, strict=True)),
        "roles": dict.fromkeys(places, "player"),
        "outcome": "rules",
        "turns": [],
        "facts": {},
    }
    lineup = tuple(sorted(seats))
    return Result(f"{deal}{seats}{name}", name, lineup, deal, dict(zip(places, seats, strict=True)), {}, None, record)


def block(deal, one, other, first, second, name="g"):
    """`one` wins `first` in the first seat and `second` in the second."""
    return [game(deal, (one, other), (first, -first), name), game(deal, (other, one), (-second, second), name)]


def test_paired_by_deal_and_opponent():
    """Both meet x on the same deals; what a deal gives to both cancels."""
    luck = np.random.default_rng(0).normal(0, 5, 20)
    edge = np.random.default_rng(1).normal(0.1, 0.2, 20)
    results = []
    for deal in range(20):
        results += block(deal, "a", "x", luck[deal] + edge[deal], luck[deal] + edge[deal])
        results += block(deal, "b", "x", luck[deal], luck[deal])
    (found,) = compare(results, "a", "b", {})
    assert found.unit == "return"
    assert found.difference.value == pytest.approx(edge.mean())
    error = edge.std(ddof=1) / math.sqrt(20)
    assert found.difference.high - found.difference.value == pytest.approx(stats.t.ppf(0.975, 19) * error)
    assert found.p_value == pytest.approx(2 * stats.t.sf(edge.mean() / error, 19))
    assert (found.deals, found.games) == (20, 80)
    assert found.needed == 0


def test_against_each_other():
    results = [each for deal in range(4) for each in block(deal, "a", "b", 1.0, (-1.0) ** deal)]
    returns, points = compare(results, "a", "b", {"g": 1.0})
    assert returns.difference.value == pytest.approx(1.0)  # a earns 1 or 0 on a deal, b the opposite
    assert points.difference.value == pytest.approx(0.5)
    assert (returns.deals, returns.games) == (4, 8)


def test_points_are_those_of_the_ratings():
    """Where amounts are paid, a point is all of the stake: many small wins are not worth a great loss."""
    results = [each for deal in range(4) for each in block(deal, "a", "b", 1.0, -4.0)]
    _, points = compare(results, "a", "b", {"g": 4.0})
    # a's share of the stake: 1/2 + 1/8 in one seat, 0 in the other; b has the rest
    assert points.difference.value == pytest.approx(((0.625 + 0.0) - (0.375 + 1.0)) / 2)


def test_signs_by_hand():
    """Differences of 3, 2 and -1: of the eight choices of signs, +-(3, 2, 1) and +-(3, 2, -1) are as far out."""
    results = [each for deal, edge in enumerate([3.0, 2.0, -1.0]) for each in block(deal, "a", "x", edge, edge)]
    results += [each for deal in range(3) for each in block(deal, "b", "x", 0.0, 0.0)]
    (found,) = compare(results, "a", "b", {})
    assert found.p_value == pytest.approx(4 / 8)


@pytest.mark.parametrize("deals, p_value", [(1, 1.0), (2, 0.5), (5, 1 / 16), (12, 2 / 4096), (20, 2 / 2**20)])
def test_deals_that_all_say_the_same(deals, p_value):
    """No spread is no proof: n equal signs come by chance in 2 of 2^n cases."""
    results = [each for deal in range(deals) for each in block(deal, "a", "b", 1.0, 1.0)]
    for found, most in zip(compare(results, "a", "b", {"g": 1.0}), (2.0, 1.0), strict=True):
        assert found.p_value == pytest.approx(p_value)
        if deals == 1:
            assert math.isnan(found.difference.low)
            assert found.needed is None
            continue
        assert found.difference.low < found.difference.value == found.difference.high == most
        assert (found.difference.low <= 0) == (p_value > 0.05)
        assert found.needed == max(0, 6 - deals) * 2


def test_an_interval_never_says_more_than_the_test():
    """Five nearly equal differences: a t-interval would leave out 0, five signs cannot."""
    results = [each for deal in range(5) for each in block(deal, "a", "x", 1 + deal / 100, 1 + deal / 100)]
    results += [each for deal in range(5) for each in block(deal, "b", "x", 0.0, 0.0)]
    (found,) = compare(results, "a", "b", {})
    assert found.p_value == pytest.approx(1 / 16)
    assert found.difference.low == 0.0 < found.difference.value < found.difference.high


def test_one_deal_is_no_spread_in_words():
    (row,) = describe(compare(block(0, "a", "b", 1.0, 1.0), "a", "b", {}), "a", "b")
    assert row["95 % interval"] == ""
    assert row["games still needed"] == "unknown: one deal has no spread"


def test_games_still_needed():
    """Differences of mean 0.5 and standard deviation 1 need (1.96 + 0.84)^2 / 0.25 = 31.4 deals, of which 10 are played."""
    edges = np.random.default_rng(3).normal(size=10)
    edges = (edges - edges.mean()) / edges.std(ddof=1) + 0.5
    results = []
    for deal, edge in enumerate(edges):
        results += block(deal, "a", "x", edge, edge) + block(deal, "b", "x", 0.0, 0.0)
    (found,) = compare(results, "a", "b", {})
    assert found.needed == math.ceil((31.3954 - 10) * 4)


def test_no_difference_seen():
    results = [each for deal in range(3) for each in block(deal, "a", "b", 0.0, 0.0)]
    (found,) = compare(results, "a", "b", {})
    assert found.needed is None
    assert found.p_value == 1.0


def test_nothing_in_common():
    results = block(0, "a", "x", 1.0, 1.0) + block(1, "b", "x", 1.0, 1.0)
    with pytest.raises(ValueError, match="share no deal"):
        compare(results, "a", "b", {})
    with pytest.raises(ValueError, match="another agent"):
        compare(results, "a", "a", {})
