"""Beyond one number an agent: Nash averaging, and how much of the results no ranking can explain.

Sources: Balduzzi et al. 2018, Re-evaluating evaluation (Nash averaging); Jiang et al. 2011,
Statistical ranking and combinatorial Hodge theory (the transitive part of a payoff matrix).
"""

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from training.meta import zero_sum_nash

Floats = NDArray[np.float64]
SLACK = 1e-7  # of the equilibrium's inequalities


def nash_average(payoff: Floats) -> tuple[Floats, Floats]:
    """(the maximum-entropy equilibrium of the game "pick an agent", each agent's payoff against it).

    Args:
        payoff: antisymmetric, [P, P]; of the row's agent.

    Raises:
        ValueError: if it is not antisymmetric.
    """
    if not np.allclose(payoff, -payoff.T, atol=1e-9):
        raise ValueError("the payoff matrix is not antisymmetric")
    agents = len(payoff)
    scale = float(np.abs(payoff).max()) or 1.0
    game = payoff / scale
    start = zero_sum_nash(game)[0]
    free = _could_be_played(game)
    mix = np.zeros(agents)
    if len(free) == 1:
        mix[free] = 1.0
    else:
        mix[free] = _most_even(game[:, free], start[free])
    return mix, scale * (game @ mix)


def _could_be_played(game: Floats) -> list[int]:
    """Agents with positive probability in some equilibrium."""
    agents = len(game)
    found = []
    for agent in range(agents):
        goal = np.zeros(agents)
        goal[agent] = -1.0
        result = optimize.linprog(goal, A_ub=game, b_ub=np.full(agents, SLACK), A_eq=np.ones((1, agents)), b_eq=[1.0])
        if result.x is not None and result.x[agent] > 1e-4:
            found.append(agent)
    return found


def _most_even(game: Floats, start: Floats) -> Floats:
    count = game.shape[1]
    result = optimize.minimize(
        lambda mix: float(np.sum(mix * np.log(np.maximum(mix, 1e-12)))),
        0.5 * start + 0.5 / count if not (game @ np.full(count, 1 / count) > SLACK).any() else start,
        jac=lambda mix: np.log(np.maximum(mix, 1e-12)) + 1,
        bounds=[(0.0, 1.0)] * count,
        constraints=[
            {"type": "eq", "fun": lambda mix: mix.sum() - 1, "jac": lambda mix: np.ones(count)},
            {"type": "ineq", "fun": lambda mix: 1e-6 - game @ mix, "jac": lambda mix: -game},
        ],
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-10},
    )
    mix = np.clip(result.x, 0.0, None)
    return mix / mix.sum() if mix.sum() > 0 else start


def intransitive_share(payoff: Floats, errors: Floats | None = None) -> tuple[float, float]:
    """(share of the squared payoffs that no ranking explains, the share that sampling errors alone would leave).

    The part that a ranking explains is r_i - r_j with r the row means, the least-squares fit.

    Args:
        payoff: antisymmetric, [P, P].
        errors: standard error of each entry; None: unknown.
    """
    agents = len(payoff)
    total = float((payoff**2).sum())
    if total == 0 or agents < 3:
        return 0.0, 0.0
    row = payoff.mean(axis=1)
    rest = payoff - (row[:, None] - row[None, :])
    if errors is None:
        return float((rest**2).sum()) / total, 0.0
    kept = (agents - 2) / agents  # share of the pairs' freedom that the ranking leaves: (P-1)(P-2)/2 of P(P-1)/2
    return float((rest**2).sum()) / total, min(1.0, kept * float((errors**2).sum()) / total)
