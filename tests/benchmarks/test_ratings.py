import math
import random

import numpy as np
import pytest

from benchmarks.ratings import ELO, PRIOR_PRECISION, Block, rate


def simulate(strengths, games, blocks, seed, seat=0.3):
    """Blocks of two mirrored games; strengths in logits."""
    rng = np.random.default_rng(seed)
    made = []
    for game in games:
        for i in range(len(strengths)):
            for j in range(i + 1, len(strengths)):
                for _ in range(blocks):
                    results, returns = [], {i: [], j: []}
                    for first, second in ((i, j), (j, i)):
                        chance = 1 / (1 + math.exp(-(strengths[first] - strengths[second] + seat)))
                        won = float(rng.random() < chance)
                        results.append((first, won))
                        returns[first].append(2 * won - 1)
                        returns[second].append(1 - 2 * won)
                    made.append(Block(game, (i, j), tuple(results), (np.mean(returns[i]), np.mean(returns[j]))))
    return made


def test_two_agents_by_hand():
    """One game, 30 wins of 40 in the first seat and 30 of 40 in the second: the penalised likelihood has a closed gradient."""
    blocks = [Block("g", (0, 1), ((0, 1.0), (1, 0.0)), (1.0, -1.0))] * 30
    blocks += [Block("g", (0, 1), ((0, 0.0), (1, 1.0)), (-1.0, 1.0))] * 10
    ratings = rate(blocks, 2, rated_games=["g"], resamples=10)
    gap = (ratings.rating[0].value - ratings.rating[1].value) / ELO
    # theta_0 = -theta_1 = gap / 2 and no seat effect: 60 - 80 p = prior * gap / 2
    assert 60 - 80 / (1 + math.exp(-gap)) == pytest.approx(PRIOR_PRECISION * gap / 2, abs=1e-6)
    assert ratings.seat_effect["g"].value == pytest.approx(0, abs=1e-6)
    assert ratings.mean_return["g"][0].value == pytest.approx(0.5)


def test_strengths_come_back():
    true = [0.0, 0.5, 1.0, 1.5]
    ratings = rate(simulate(true, ["a", "b"], 200, seed=1), 4, rated_games=["a", "b"], anchor=0, resamples=200)
    for agent, strength in enumerate(true):
        interval = ratings.rating[agent]
        assert interval.low <= ELO * strength <= interval.high
        assert abs(interval.value - ELO * strength) < 40
    assert ratings.best[3] > 0.9
    assert ratings.rating[0].value == 0
    assert ratings.seat_effect["a"].value == pytest.approx(0.3 * ELO, abs=25)


def test_order_changes_nothing():
    blocks = simulate([0.0, 0.4, 0.8], ["a"], 30, seed=2)
    shuffled = list(blocks)
    random.Random(0).shuffle(shuffled)
    assert rate(blocks, 3, rated_games=["a"]) == rate(shuffled, 3, rated_games=["a"])


def test_intervals_cover():
    """60 tournaments of three agents; 95 % intervals of the two free ratings. The full study is in the documentation."""
    true = [0.0, 0.4, 0.9]
    covered = total = 0
    for seed in range(60):
        ratings = rate(simulate(true, ["a"], 40, seed=100 + seed), 3, rated_games=["a"], anchor=0, resamples=300)
        for agent in (1, 2):
            total += 1
            covered += ratings.rating[agent].low <= ELO * true[agent] <= ratings.rating[agent].high
    assert 0.88 <= covered / total <= 1.0  # 120 intervals: 0.95 +- 3.5 standard errors


def test_games_weigh_the_same():
    """Ten times the blocks of one game, in which the order is reversed, do not drown the other game."""
    blocks = simulate([0.0, 1.0], ["a"], 40, seed=3, seat=0.0) + simulate([1.0, 0.0], ["b"], 400, seed=4, seat=0.0)
    ratings = rate(blocks, 2, rated_games=["a", "b"], resamples=100)
    assert abs(ratings.rating[0].value - ratings.rating[1].value) < 60


def test_a_perfect_score_stays_finite():
    blocks = [Block("g", (0, 1), ((0, 1.0), (1, 0.0)), (1.0, -1.0))] * 50
    ratings = rate(blocks, 2, rated_games=["g"], resamples=10)
    assert 400 < ratings.rating[0].value - ratings.rating[1].value < 3000


def test_unrated_games_have_returns_only():
    blocks = simulate([0.0, 1.0], ["coop"], 20, seed=5)
    ratings = rate(blocks, 2, rated_games=[], resamples=50)
    assert ratings.rating is None
    assert ratings.mean_return["coop"][1].value > ratings.mean_return["coop"][0].value


def test_no_blocks():
    with pytest.raises(ValueError, match="no complete block"):
        rate([], 2, rated_games=["g"])
