"""Which of several policies to count on, from what each pair of them pays: meta-strategies over a payoff matrix."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

POPULATION = 50
INTENSITY = 10.0


def zero_sum_nash(payoffs: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """An equilibrium of a two-player zero-sum matrix game, by linear programming (von Neumann; scipy's HiGHS).

    Args:
        payoffs: to the row player, [rows, columns].

    Returns:
        (row player's mix, column player's mix, value to the row player).

    Raises:
        ValueError: if the matrix is empty or not finite.
    """
    from scipy.optimize import linprog

    matrix = np.atleast_2d(np.asarray(payoffs, dtype=float))
    if matrix.size == 0 or not np.isfinite(matrix).all():
        raise ValueError(f"a payoff matrix is finite and not empty, not {matrix.tolist()}")

    def best_floor(of: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        """The mix of rows that maximises the least column, and that least."""
        rows, columns = of.shape
        solved = linprog(
            c=[0.0] * rows + [-1.0],
            A_ub=np.hstack([-of.T, np.ones((columns, 1))]),
            b_ub=np.zeros(columns),
            A_eq=[[1.0] * rows + [0.0]],
            b_eq=[1.0],
            bounds=[(0, None)] * rows + [(None, None)],
        )
        assert solved.status == 0, solved.message  # such a program always has a solution
        mix = np.clip(solved.x[:-1], 0.0, None)
        return mix / mix.sum(), float(solved.x[-1])

    row_mix, value = best_floor(matrix)
    column_mix, _ = best_floor(-matrix.T)
    return row_mix, column_mix, value


def alpha_rank(payoffs: ArrayLike, *, intensity: float = INTENSITY, population: int = POPULATION) -> NDArray[np.float64]:
    """Long-run shares of the policies in one evolving population (alpha-rank, Omidshafiei et al. 2019, 1903.01373).

    A mutant r takes a population of s over with probability (1 - e^-d) / (1 - e^-(m d)), d = intensity times what r gains more than
    s when the two meet; the shares are the stationary distribution of that chain. Holds for any symmetric game, zero-sum or not.

    Args:
        payoffs: [i, j] is what i is paid against j; divided by the largest absolute value, so that `intensity` has no unit.
        population: m, individuals.

    Raises:
        ValueError: if the matrix is not square and finite.
    """
    matrix = np.atleast_2d(np.asarray(payoffs, dtype=float))
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size or not np.isfinite(matrix).all():
        raise ValueError(f"a payoff matrix of one population is square and finite, not of shape {matrix.shape}")
    count = len(matrix)
    if count == 1:
        return np.ones(1)
    scaled = intensity * matrix / max(float(np.abs(matrix).max()), 1e-12)
    gain = scaled.T - scaled  # [s, r]: of a mutant r over residents s
    fixation = np.full((count, count), 1.0 / population)
    differs = np.abs(gain) > 1e-12
    with np.errstate(over="ignore"):
        fixation[differs] = np.expm1(-gain[differs]) / np.expm1(-population * gain[differs])
    chain = fixation / (count - 1)
    np.fill_diagonal(chain, 0.0)
    np.fill_diagonal(chain, 1.0 - chain.sum(1))
    # Stationary: share @ chain = share, shares sum to 1.
    system = np.vstack([chain.T - np.eye(count), np.ones(count)])
    shares = np.linalg.lstsq(system, np.append(np.zeros(count), 1.0), rcond=None)[0]
    shares = np.clip(shares, 0.0, None)
    return shares / shares.sum()
