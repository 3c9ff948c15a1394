import numpy as np
import pytest

from training.meta import alpha_rank, zero_sum_nash

ROCK_PAPER_SCISSORS = [[0, -1, 1], [1, 0, -1], [-1, 1, 0]]


def test_nash_of_rock_paper_scissors():
    row, column, value = zero_sum_nash(ROCK_PAPER_SCISSORS)
    assert row == pytest.approx([1 / 3] * 3)
    assert column == pytest.approx([1 / 3] * 3)
    assert value == pytest.approx(0)


def test_nash_by_hand():
    """Matching pennies where heads pays 3: 3p - (1 - p) = -p + (1 - p) at p = 1/3, value 1/3."""
    row, column, value = zero_sum_nash([[3, -1], [-1, 1]])
    assert row == pytest.approx([1 / 3, 2 / 3])
    assert column == pytest.approx([1 / 3, 2 / 3])
    assert value == pytest.approx(1 / 3)


def test_nash_leaves_out_what_is_dominated_and_takes_any_shape():
    row, column, value = zero_sum_nash([[2, 3, 4], [1, 2, 0]])
    assert (row.tolist(), column.tolist(), value) == ([1, 0], [1, 0, 0], 2)


def test_no_one_gains_against_a_nash_mix():
    rng = np.random.default_rng(0)
    for _ in range(20):
        matrix = rng.normal(size=(4, 6))
        row, column, value = zero_sum_nash(matrix)
        assert (row @ matrix).min() == pytest.approx(value, abs=1e-6)
        assert (matrix @ column).max() == pytest.approx(value, abs=1e-6)


def test_alpha_rank_of_a_cycle_is_even_and_of_a_chain_is_its_top():
    assert alpha_rank(ROCK_PAPER_SCISSORS) == pytest.approx([1 / 3] * 3)
    chain = [[0, -1, -1], [1, 0, -1], [1, 1, 0]]
    assert alpha_rank(chain)[2] > 0.999


def test_alpha_rank_by_hand():
    """Two policies: shares are as the rates at which each takes the other over; payoffs are scaled by the largest, 2."""
    found = alpha_rank([[0, 1], [-2, 0]], intensity=0.1, population=2)
    gain = 0.1 * (1 - -2) / 2
    to_first = (1 - np.exp(-gain)) / (1 - np.exp(-2 * gain))
    to_second = (1 - np.exp(gain)) / (1 - np.exp(2 * gain))
    assert found == pytest.approx([to_first / (to_first + to_second), to_second / (to_first + to_second)])


def test_alpha_rank_of_equals_and_of_one():
    assert alpha_rank(np.zeros((4, 4))) == pytest.approx([0.25] * 4)
    assert alpha_rank([[0.0]]).tolist() == [1.0]


def test_alpha_rank_against_open_spiel():
    """OpenSpiel works on the unscaled matrix: the largest payoff is 1 here."""
    alpharank = pytest.importorskip("open_spiel.python.egt.alpharank")
    rng = np.random.default_rng(1)
    for _ in range(5):
        matrix = rng.uniform(-1, 1, size=(4, 4))
        np.fill_diagonal(matrix, 0)
        matrix /= np.abs(matrix).max()
        _, _, shares, _, _ = alpharank.compute([matrix], m=20, alpha=2.0, use_local_selection_model=True)
        assert alpha_rank(matrix, intensity=2.0, population=20) == pytest.approx(shares, abs=1e-6)


@pytest.mark.parametrize("matrix", [[], [[float("nan")]]])
def test_refused(matrix):
    with pytest.raises(ValueError, match="payoff matrix"):
        zero_sum_nash(matrix)
    with pytest.raises(ValueError, match="payoff matrix"):
        alpha_rank(matrix)


def test_alpha_rank_wants_a_square():
    with pytest.raises(ValueError, match="shape"):
        alpha_rank([[0, 1, 2], [1, 0, 2]])
