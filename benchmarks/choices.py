"""The model behind ratings: every result is a choice among alternatives of given strength, P(a) = exp(s_a) / sum of exp(s_b).

- two seats (Bradley-Terry): each agent's strength is theta_agent + gamma_(game, side); a draw is half a win for both. In a game
  with more than `DAVIDSON_SHARE` draws a draw is a third alternative of strength (s_a + s_b) / 2 + lambda_game (Davidson). Where a
  game pays more or less, as poker does, a result is the share of the stake that it brings, r / (2 stake) + 1/2, a part of a win:
  else who wins small pots often would rate above who wins the money.
- more seats (Plackett-Luce): the first place is chosen among all, the second among the rest, and so on; tied agents, such as the
  members of a winning team, share their places: the mean over their orders.

Every game has the same weight, whatever the number of its blocks. Weak Gaussian priors keep strengths finite where one agent wins
everything, and keep a few games from being explained by the seats in which they were won.

Sources: Bradley and Terry 1952; Davidson 1970, On extending the Bradley-Terry model to accommodate ties; Plackett 1975; Hunter
2004, MM algorithms for generalized Bradley-Terry models.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

PRIOR_PRECISION = 0.05  # of strengths, in logits: a standard deviation of 4.5 logits, about 780 points
SIDE_PRECISION = 1.0  # of a side's effect, in logits: a standard deviation of one, 174 points
DAVIDSON_SHARE = 0.1  # of draws
SAFE = 300.0  # logits whose exponentials neither overflow nor vanish
CHUNK = 4_000_000  # alternatives x columns at a time
Floats = NDArray[np.float64]


@dataclass(frozen=True, order=True)
class Played:
    """One game, as far as statistics go.

    Args:
        game: name.
        deal: number of the deal.
        lineup: indices of the agents that met on it, a block's name.
        seats: index of the agent in each seat.
        sides: role of each seat where roles differ, else the seat.
        returns: of each seat.
        luck: part of each return that exact values put down to luck; () where none are known.
    """

    game: str
    deal: int
    lineup: tuple[int, ...]
    seats: tuple[int, ...]
    sides: tuple[str, ...]
    returns: tuple[float, ...]
    luck: tuple[float, ...] = ()


Alternative = tuple[tuple[int, float], ...]
"""(parameter, coefficient): the strength of an alternative is their sum."""


class Choices:
    """The games as choices among alternatives, equal ones of a game counted together.

    Axes: P parameters (one an agent, one a (game, side), one a game with many draws), A alternatives, C choices, K problems that
    are solved side by side.

    Args:
        games: in order.
        agents: how many.
        stakes: the most that a seat can win, by game of two seats that pays amounts.
    """

    def __init__(self, games: Sequence[Played], agents: int, stakes: Mapping[str, float]):
        by_game: dict[str, list[Played]] = defaultdict(list)
        for played in games:
            by_game[played.game].append(played)
        self.agents = agents
        self.sides = sorted({(played.game, side) for played in games for side in played.sides})
        self.draws = {game: _draw_share(members) for game, members in by_game.items()}
        self._place = {key: agents + number for number, key in enumerate(self.sides)}
        self._graded = {game: stakes[game] for game in by_game if game in stakes and is_graded(by_game[game], stakes[game])}
        with_draws = [game for game in sorted(by_game) if self.draws[game] > DAVIDSON_SHARE and game not in self._graded]
        self._tie = {game: agents + len(self.sides) + number for number, game in enumerate(with_draws)}
        self.parameters = agents + len(self.sides) + len(self._tie)
        self.precision_P = np.full(self.parameters, PRIOR_PRECISION)
        self.precision_P[list(self._place.values())] = SIDE_PRECISION
        self._alternatives: list[Alternative] = []
        self._starts: list[int] = []
        rows = [0]
        chosen = {}
        for game in sorted(by_game):
            chosen[game] = self._count(game, by_game[game])
            rows.append(len(self._alternatives))
        self._build()
        self._weigh(chosen, rows, {game: sorted({played.deal for played in by_game[game]}) for game in chosen})

    def _count(self, game: str, members: Sequence[Played]) -> dict[tuple[int, int], float]:
        """(deal, row of an alternative) -> how often it was chosen."""
        rows: dict[tuple[Alternative, ...], int] = {}
        chosen: dict[tuple[int, int], float] = defaultdict(float)
        for played in members:
            for alternatives, which, weight in self._outcomes(game, played):
                if alternatives not in rows:
                    rows[alternatives] = len(self._alternatives)
                    self._starts.append(len(self._alternatives))
                    self._alternatives += alternatives
                chosen[played.deal, rows[alternatives] + which] += weight
        return chosen

    def _outcomes(self, game: str, played: Played) -> list[tuple[tuple[Alternative, ...], int, float]]:
        strengths = [
            ((agent, 1.0), (self._place[game, side], 1.0)) for agent, side in zip(played.seats, played.sides, strict=True)
        ]
        if len(strengths) != 2:
            return [
                (tuple(strengths[seat] for seat in sorted(left)), sorted(left).index(left[0]), weight)
                for order, weight in orders(played.returns)
                for left in (order[place:] for place in range(len(order) - 1))
            ]
        if played.seats[0] == played.seats[1]:
            return []
        one, other = played.returns
        pair: tuple[Alternative, ...] = tuple(strengths)
        if game in self._graded:
            points = share_of_stake(one, other, self._graded[game])
            return [(pair, which, part) for which, part in ((0, points), (1, 1 - points)) if part]
        if game not in self._tie:
            return [(pair, 0, 0.5), (pair, 1, 0.5)] if one == other else [(pair, int(one < other), 1.0)]
        half = tuple((parameter, 0.5) for strength in strengths for parameter, _ in strength)
        return [((*pair, (*half, (self._tie[game], 1.0))), 2 if one == other else int(one < other), 1.0)]

    def _build(self) -> None:
        ends = [*self._starts[1:], len(self._alternatives)]
        self.choice_of_A = np.repeat(np.arange(len(self._starts)), np.diff([*self._starts, len(self._alternatives)]))
        pairs = [pair for start, end in zip(self._starts, ends, strict=True) for pair in combinations(range(start, end), 2)]
        self._one = np.array([one for one, _ in pairs], dtype=int)
        self._other = np.array([other for _, other in pairs], dtype=int)
        self.design_AP = _sparse(self._alternatives, self.parameters)
        rows = [[(row, 1.0) for row in range(start, end)] for start, end in zip(self._starts, ends, strict=True)]
        self.together_CA = _sparse(rows, len(self._alternatives))  # sums over the alternatives of each choice
        gaps = [_minus(self._alternatives[one], self._alternatives[other]) for one, other in pairs]
        upper = {pair: number for number, pair in enumerate(combinations_with_replacement(range(self.parameters), 2))}
        squares = [
            tuple((upper[p, q], a * b) for p, a in gap for q, b in gap if p <= q)  # of gap x gap, upper half
            for gap in gaps
        ]
        self._squares = _sparse(squares, len(upper))

    def _weigh(
        self, chosen: Mapping[str, Mapping[tuple[int, int], float]], rows: Sequence[int], deals: Mapping[str, Sequence[int]]
    ) -> None:
        """Gives every game the same weight: what was chosen then adds up to the same number in each."""
        totals = {game: sum(counts.values()) for game, counts in chosen.items()}
        mean = sum(totals.values()) / max(1, sum(total > 0 for total in totals.values()))
        self.weight_A = np.ones(len(self._alternatives))
        self.rows = {game: slice(start, end) for game, start, end in zip(chosen, rows[:-1], rows[1:], strict=True)}
        self.by_deal: dict[str, sparse.csr_matrix] = {}  # [A, D]
        for game, counts in chosen.items():
            weight = mean / totals[game] if totals[game] else 1.0
            number = {deal: place for place, deal in enumerate(deals[game])}
            at = ([row for _, row in counts], [number[deal] for deal, _ in counts])
            shape = (len(self._alternatives), len(number))
            self.weight_A[self.rows[game]] = weight
            self.by_deal[game] = sparse.csr_matrix(([count * weight for count in counts.values()], at), shape=shape)
        self._chosen_A = sum((counts.sum(axis=1).A1 for counts in self.by_deal.values()), np.zeros(len(self._alternatives)))
        self.totals_A = (self.together_CA @ self._chosen_A)[self.choice_of_A]

    def fit(
        self,
        start_PK: Floats,
        *,
        tilt_PK: Floats | None = None,
        along_PK: Floats | None = None,
        tolerance: float = 1e-7,
        iterations: int = 100,
    ) -> Floats:
        """Penalised maximum likelihood by Newton's method, [P, K].

        Args:
            start_PK: where to begin.
            tilt_PK: its product with the parameters is added to the log-likelihood.
            along_PK: contrasts whose values stay those of the start.
            tolerance: logits that a last step may have.
            iterations: at most.
        """
        width = max(1, CHUNK // max(1, len(self._alternatives)))
        parts = [
            self._newton(
                start_PK[:, part],
                0.0 if tilt_PK is None else tilt_PK[:, part],
                None if along_PK is None else along_PK[:, part],
                tolerance,
                iterations,
            )
            for part in (slice(first, first + width) for first in range(0, start_PK.shape[1], width))
        ]
        return np.concatenate(parts, axis=1) if parts else start_PK

    def _newton(
        self, theta_PK: Floats, tilt_PK: Floats | float, along_PK: Floats | None, tolerance: float, iterations: int
    ) -> Floats:
        chosen_A1, totals_A1, precision_P1 = self._chosen_A[:, None], self.totals_A[:, None], self.precision_P[:, None]
        for _ in range(iterations):
            shares_AK = self.shares(theta_PK)
            gradient_PK = self.design_AP.T @ (chosen_A1 - totals_A1 * shares_AK) - precision_P1 * theta_PK + tilt_PK
            hessian_KPP = self.curvature(shares_AK) + np.diag(self.precision_P)
            if along_PK is None:
                step_PK = np.linalg.solve(hessian_KPP, gradient_PK.T[..., None])[..., 0].T
            else:
                both_KP2 = np.linalg.solve(hessian_KPP, np.stack([gradient_PK.T, along_PK.T], axis=-1))
                free_PK, along_step_PK = both_KP2[..., 0].T, both_KP2[..., 1].T
                step_PK = free_PK - along_step_PK * ((along_PK * free_PK).sum(0) / (along_PK * along_step_PK).sum(0))
            size_K = np.abs(step_PK).max(axis=0)
            theta_PK = theta_PK + step_PK * np.minimum(1.0, 2.0 / np.maximum(size_K, 1e-300))  # far off, curvature misleads
            if size_K.max() < tolerance:
                break
        return theta_PK

    def shares(self, theta_PK: Floats) -> Floats:
        """Probability of each alternative, [A, K]."""
        return np.exp(self._log_shares(theta_PK))

    def _log_shares(self, theta_PK: Floats) -> Floats:
        strength_AK: Floats = self.design_AP @ theta_PK
        if not self._starts:  # nobody met anybody else
            return strength_AK
        if np.abs(strength_AK).max() > SAFE:
            strength_AK -= np.maximum.reduceat(strength_AK, self._starts, axis=0)[self.choice_of_A]
        return strength_AK - np.log(self.together_CA @ np.exp(strength_AK))[self.choice_of_A]

    def curvature(self, shares_AK: Floats) -> Floats:
        """Negative second derivatives of the log-likelihood without priors, [K, P, P]."""
        row, column = np.triu_indices(self.parameters)
        upper_UK = self._squares.T @ (self.totals_A[self._one, None] * shares_AK[self._one] * shares_AK[self._other])
        curvature_KPP = np.zeros((shares_AK.shape[1], self.parameters, self.parameters))
        curvature_KPP[:, row, column] = upper_UK.T
        curvature_KPP[:, column, row] = upper_UK.T
        return curvature_KPP

    def log_likelihood(self, theta_PK: Floats) -> Floats:
        """Penalised, [K]."""
        found: Floats = self._chosen_A @ self._log_shares(theta_PK) - self.precision_P @ theta_PK**2 / 2
        return found


def is_graded(games: Iterable[Played], stake: float) -> bool:
    """Whether a game between two pays anything but all of the stake or nothing."""
    return any(pays_amounts(game.returns, stake) for game in games if len(game.returns) == 2)


def pays_amounts(returns: Iterable[float], stake: float) -> bool:
    """Whether somebody was paid anything but all of the stake or nothing."""
    return any(abs(paid) not in (0.0, stake) for paid in returns)


def points_of(mine: float, other: float, stake: float | None) -> float:
    """A win 1, a draw 1/2; the share of the stake where amounts are paid."""
    if stake is not None:
        return share_of_stake(mine, other, stake)
    return 0.5 if mine == other else float(mine > other)


def share_of_stake(mine: float, other: float, stake: float) -> float:
    """1 for winning all of it, 0 for losing it, 1/2 for a draw."""
    return min(1.0, max(0.0, 0.5 + (mine - other) / (4 * stake)))


def orders(returns: Sequence[float]) -> list[tuple[tuple[int, ...], float]]:
    """Finishing orders of the seats with their weights; tied seats take every place equally often.

    Of the orders of a tie those are taken that are rotations, forwards and backwards: all of them for up to three.
    """
    places = sorted(set(returns), reverse=True)
    groups = [[seat for seat, paid in enumerate(returns) if paid == place] for place in places]
    turns = math.lcm(*(len(group) for group in groups))
    found: dict[tuple[int, ...], float] = defaultdict(float)
    for turn in range(turns):
        for direction in (1, -1):
            rotated = [(group[turn % len(group) :] + group[: turn % len(group)])[::direction] for group in groups]
            found[tuple(seat for group in rotated for seat in group)] += 1 / (2 * turns)
    return list(found.items())


def _draw_share(members: Sequence[Played]) -> float:
    two = [played for played in members if len(played.returns) == 2]
    return sum(played.returns[0] == played.returns[1] for played in two) / len(two) if two else 0.0


def _minus(one: Alternative, other: Alternative) -> Alternative:
    gap: dict[int, float] = defaultdict(float)
    for parameter, coefficient in one:
        gap[parameter] += coefficient
    for parameter, coefficient in other:
        gap[parameter] -= coefficient
    return tuple((parameter, gap[parameter]) for parameter in sorted(gap) if gap[parameter])


def _sparse(rows: Sequence[Iterable[tuple[int, float]]], columns: int) -> sparse.csr_matrix:
    """Row by row (column, value); values of one column add up."""
    entries = [(row, column, value) for row, members in enumerate(rows) for column, value in members]
    at = ([row for row, _, _ in entries], [column for _, column, _ in entries])
    return sparse.csr_matrix(([value for _, _, value in entries], at), shape=(len(rows), columns))
