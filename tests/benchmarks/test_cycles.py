import numpy as np
import pytest

from benchmarks.cycles import intransitive_share, nash_average

RPS = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])


def ranked(*strengths):
    values = np.array(strengths)
    return values[:, None] - values[None, :]


def test_nash_average_of_rock_paper_scissors_is_even():
    mix, payoff = nash_average(RPS)
    assert mix == pytest.approx([1 / 3] * 3, abs=1e-3)
    assert payoff == pytest.approx([0, 0, 0], abs=1e-3)


def test_copies_do_not_change_nash_averages():
    """With a second rock, the rocks share a third: of all equilibria the one of greatest entropy."""
    order = [0, 0, 1, 2]
    mix, _ = nash_average(RPS[np.ix_(order, order)])
    assert mix == pytest.approx([1 / 6, 1 / 6, 1 / 3, 1 / 3], abs=2e-3)


def test_the_best_of_a_ranking_is_the_nash_average():
    mix, payoff = nash_average(ranked(0.0, 0.3, 1.0) / 2)
    assert mix == pytest.approx([0, 0, 1], abs=1e-6)
    assert payoff == pytest.approx([-0.5, -0.35, 0], abs=1e-6)


def test_unequal_cycle():
    """Rock beats scissors twice as high: the equilibrium weighs each by what the other two lose to each other."""
    game = np.array([[0.0, -1.0, 2.0], [1.0, 0.0, -1.0], [-2.0, 1.0, 0.0]])
    mix, _ = nash_average(game)
    assert mix == pytest.approx([1 / 4, 2 / 4, 1 / 4], abs=2e-3)


def test_share_that_no_ranking_explains():
    assert intransitive_share(RPS)[0] == pytest.approx(1)
    assert intransitive_share(ranked(0.0, 0.4, 1.0, 1.1))[0] == pytest.approx(0, abs=1e-12)
    both = RPS + ranked(0.0, 1.0, 2.0)
    assert intransitive_share(both)[0] == pytest.approx((RPS**2).sum() / (both**2).sum())


def test_share_left_by_noise():
    """Noise around a ranking leaves about what is foretold."""
    rng = np.random.default_rng(0)
    true, sd = ranked(0.0, 0.5, 1.0, 1.5, 2.0), 0.2
    shares, foretold = [], []
    for _ in range(300):
        noise = np.triu(rng.normal(0, sd, true.shape), 1)
        share, by_noise = intransitive_share(true + noise - noise.T, np.full(true.shape, sd) * (1 - np.eye(5)))
        shares.append(share)
        foretold.append(by_noise)
    assert np.mean(shares) == pytest.approx(np.mean(foretold), rel=0.1)


def test_not_antisymmetric():
    with pytest.raises(ValueError, match="antisymmetric"):
        nash_average(np.ones((2, 2)))
