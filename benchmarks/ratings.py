"""Ratings from results: one batch fit, so that the order of games cannot matter, with intervals from resampled blocks.

Bradley-Terry with a seat effect for each game and draws as half a win: P(i wins in the first seat against j) =
1 / (1 + exp(-(theta_i - theta_j + gamma_game))). Every game has the same weight, whatever the number of its blocks. A weak
Gaussian prior keeps ratings finite where one agent wins everything.

Sources: Bradley and Terry 1952; Hunter 2004, MM algorithms for generalized Bradley-Terry models; blocks as clusters: Cameron,
Gelbach and Miller 2008, Bootstrap-based improvements for inference with clustered errors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ELO = 400 / np.log(10)  # rating points a unit of theta
PRIOR_PRECISION = 0.05  # of theta and gamma, in logits: a standard deviation of 4.5 logits, about 780 points
RESAMPLES = 1000
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Block:
    """What one deal gave between two agents.

    Args:
        game: name of the game.
        pair: indices of the two agents.
        results: for each game of the block, (index of the agent in the first seat's side, its points: 1, 0.5 or 0).
        returns: mean return of each agent of the pair over the block, in the game's unit.
    """

    game: str
    pair: tuple[int, int]
    results: tuple[tuple[int, float], ...]
    returns: tuple[float, float]


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


@dataclass(frozen=True)
class Ratings:
    """What a tournament says of each agent, by index.

    Args:
        rating: Elo points, the anchor at 0; None without rated games.
        best: probability of the highest rating, from the resamples.
        mean_return: by game; against all opponents with equal weight.
        seat_effect: by game, Elo points for the first seat.
    """

    rating: tuple[Interval, ...] | None
    best: tuple[float, ...] | None
    mean_return: dict[str, tuple[Interval, ...]]
    seat_effect: dict[str, Interval]


def rate(
    blocks: Sequence[Block],
    agents: int,
    *,
    rated_games: Sequence[str],
    anchor: int | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Ratings:
    """Ratings and mean returns with 95 % intervals. A pure function of the set of blocks: their order does not matter.

    Args:
        blocks: of a tournament.
        agents: how many.
        rated_games: games whose wins count; the others are reported by their returns alone.
        anchor: index of the agent at 0; None puts the mean there.
        resamples: of blocks within each (game, pair).
        seed: of the resampling.

    Raises:
        ValueError: if there are no blocks.
    """
    if not blocks:
        raise ValueError("no complete block to rate; play at least one")
    strata = _strata(blocks)
    rng = np.random.default_rng(seed)
    # Row 0 of each table of counts is the sample itself, the others are resamples.
    counts = {
        key: np.concatenate([np.ones((1, len(members))), rng.multinomial(len(members), _even(len(members)), size=resamples)])
        for key, members in strata.items()
    }
    mean_return = {game: _mean_returns(game, strata, counts, agents) for game in sorted({block.game for block in blocks})}
    rated = sorted({block.game for block in blocks} & set(rated_games))
    if not rated:
        return Ratings(None, None, mean_return, {})
    design, wins, weights = _contests(strata, counts, rated, agents)
    theta = _fit(design, wins, weights)
    elo = ELO * theta
    strength = elo[:, :agents]
    strength = strength - (strength[:, [anchor]] if anchor is not None else strength.mean(axis=1, keepdims=True))
    best = np.bincount(strength[1:].argmax(axis=1), minlength=agents) / max(1, resamples)
    return Ratings(
        rating=tuple(_interval(strength[:, agent]) for agent in range(agents)),
        best=tuple(float(share) for share in best),
        mean_return=mean_return,
        seat_effect={game: _interval(elo[:, agents + number]) for number, game in enumerate(rated)},
    )


Stratum = tuple[str, tuple[int, int]]


def _strata(blocks: Sequence[Block]) -> dict[Stratum, list[Block]]:
    strata: dict[Stratum, list[Block]] = {}
    for block in blocks:
        strata.setdefault((block.game, block.pair), []).append(block)
    return {key: sorted(strata[key], key=lambda block: (block.results, block.returns)) for key in sorted(strata)}


def _even(count: int) -> Floats:
    return np.full(count, 1.0 / count)


def _mean_returns(
    game: str, strata: Mapping[Stratum, list[Block]], counts: Mapping[Stratum, Floats], agents: int
) -> tuple[Interval, ...]:
    sums: list[list[Floats]] = [[] for _ in range(agents)]
    for (name, pair), members in strata.items():
        if name != game:
            continue
        returns = np.array([block.returns for block in members])
        means = counts[name, pair] @ returns / len(members)
        for place, agent in enumerate(pair):
            sums[agent].append(means[:, place])
    return tuple(_interval(np.mean(means, axis=0)) if means else Interval(np.nan, np.nan, np.nan) for means in sums)


def _contests(
    strata: Mapping[Stratum, list[Block]], counts: Mapping[Stratum, Floats], games: Sequence[str], agents: int
) -> tuple[Floats, Floats, Floats]:
    """(design [C, P], wins [S, C], games [S, C]) of the C contests "i in the first seat against j in a game" in S samples."""
    total = {
        game: sum(len(block.results) for (name, _), m in strata.items() if name == game for block in m) for game in games
    }
    design, wins, weights = [], [], []
    for (game, pair), members in strata.items():
        if game not in games:
            continue
        scale = 1.0 / total[game] * sum(total.values()) / len(games)  # equal weight a game, the same information in all
        for first, second in (pair, pair[::-1]):
            points = np.array([[sum(p for who, p in block.results if who == first)] for block in members])
            played = np.array([[float(sum(who == first for who, _ in block.results))] for block in members])
            row = np.zeros(agents + len(games))
            row[first], row[second], row[agents + games.index(game)] = 1.0, -1.0, 1.0
            design.append(row)
            wins.append(scale * (counts[game, pair] @ points)[:, 0])
            weights.append(scale * (counts[game, pair] @ played)[:, 0])
    return np.array(design), np.array(wins).T, np.array(weights).T


def _fit(design: Floats, wins: Floats, weights: Floats, iterations: int = 50) -> Floats:
    """Penalised maximum likelihood of each sample by Newton's method; [S, P]."""
    parameters = design.shape[1]
    theta = np.zeros((len(wins), parameters))
    prior = PRIOR_PRECISION * np.eye(parameters)
    for _ in range(iterations):
        chance = 1.0 / (1.0 + np.exp(-theta @ design.T))
        gradient = (wins - weights * chance) @ design - PRIOR_PRECISION * theta
        curvature = weights * chance * (1.0 - chance)
        hessian = np.einsum("sc,cp,cq->spq", curvature, design, design, optimize=True) + prior
        step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        theta += np.clip(step, -2.0, 2.0)  # damped far from the optimum, where the curvature misleads
        if np.abs(step).max() < 1e-9:
            break
    return theta


def _interval(samples: Floats) -> Interval:
    """The first sample is the estimate; the others give the percentile interval."""
    if len(samples) == 1:
        return Interval(float(samples[0]), np.nan, np.nan)
    low, high = np.quantile(samples[1:], [0.025, 0.975])
    return Interval(float(samples[0]), float(low), float(high))
