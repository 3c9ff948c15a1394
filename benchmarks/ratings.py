"""Ratings from results: one batch fit, so that the order of games cannot matter, with intervals from resampled deals.

Every outcome is a choice among alternatives of given strength, P(a) = exp(s_a) / sum of exp(s_b):

- two seats (Bradley-Terry): each agent's strength is theta_agent + gamma_(game, side); a draw is half a win for both. In a game
  with more than `DAVIDSON_SHARE` draws a draw is a third alternative of strength (s_a + s_b) / 2 + lambda_game (Davidson). Where a
  game pays more or less, as poker does, a result is the share of the stake that it brings, r / (2 stake) + 1/2, a part of a win:
  else who wins small pots often would rate above who wins the money.
- more seats (Plackett-Luce): the first place is chosen among all, the second among the rest, and so on; tied agents, such as the
  members of a winning team, share their places: the mean over their orders.

Every game has the same weight, whatever the number of its blocks. A weak Gaussian prior keeps ratings finite where one agent
wins everything. The unit of resampling is the deal of a game with all that was played on it: blocks of different line-ups on one
deal are not independent. With n deals, n - 1 are drawn, and intervals are widened from the normal to Student's quantile, so that
few deals do not look like many.

Sources: Bradley and Terry 1952; Davidson 1970, On extending the Bradley-Terry model to accommodate ties; Plackett 1975; Hunter
2004, MM algorithms for generalized Bradley-Terry models; Holm 1979; Cameron, Gelbach and Miller 2008, Bootstrap-based improvements
for inference with clustered errors; Rao and Wu 1988, Resampling inference with complex survey data (n - 1 draws).
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, combinations_with_replacement

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats

ELO = 400 / np.log(10)  # rating points a unit of theta
PRIOR_PRECISION = 0.05  # of every parameter, in logits: a standard deviation of 4.5 logits, about 780 points
DAVIDSON_SHARE = 0.1  # of draws
RESAMPLES = 1000
LEVEL = 0.95
CHUNK = 4_000_000  # alternatives x samples at a time
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


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval; NaN where there is nothing to estimate from."""

    value: float
    low: float = math.nan
    high: float = math.nan

    def __str__(self) -> str:
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


NOTHING = Interval(math.nan)


@dataclass(frozen=True)
class Ratings:
    """The joint fit over the rated games, by index of the agent.

    Args:
        rating: Elo points, the anchor at 0.
        best: probability of the highest rating.
        top3: probability of one of the three highest.
        ranks: (best, worst) rank that the data allow: 1 + how many are significantly better, and last - how many worse.
        p_values: of "these two are equal", two-sided, Holm-corrected over all pairs, [agent][agent].
        errors: standard error of the difference of two ratings, Elo points, [agent][agent].
        sides: by (game, side), Elo points above the mean side of the game.
        draws: by game, share of draws; games above `DAVIDSON_SHARE` have a draw parameter.
    """

    rating: tuple[Interval, ...]
    best: tuple[float, ...]
    top3: tuple[float, ...]
    ranks: tuple[tuple[int, int], ...]
    p_values: tuple[tuple[float, ...], ...]
    errors: tuple[tuple[float, ...], ...]
    sides: dict[tuple[str, str], Interval]
    draws: dict[str, float]


@dataclass(frozen=True)
class Payoffs:
    """Mean returns in one game.

    Args:
        mean: by agent, every opponent with equal weight; without games against itself.
        adjusted: the same less luck; None where no exact values are known.
        against: by (agent, opponent); (agent, agent) is self-play. Two seats only.
        points: by (agent, opponent), mean of 1 for a win, 0.5 for a draw, or of the share of the stake. Two seats only.
        by_side: by (agent, side), (mean return, games).
        variance_ratio: variance of an agent's mean over two games on independent deals, by that over a mirrored block; None for
            other than two seats or without any variance.
        deals: number.
    """

    mean: tuple[Interval, ...]
    adjusted: tuple[Interval, ...] | None
    against: dict[tuple[int, int], Interval]
    points: dict[tuple[int, int], Interval]
    by_side: dict[tuple[int, str], tuple[float, int]]
    variance_ratio: float | None
    deals: int


class Resamples:
    """How often each deal of each game comes in each sample; sample 0 is the data themselves.

    Args:
        games: those played, in any order.
        resamples: number.
        seed: of the draws; each game has a stream of its own, so that it does not matter which others there are.
    """

    def __init__(self, games: Iterable[Played], resamples: int, seed: int = 0):
        deals: dict[str, set[int]] = defaultdict(set)
        for played in games:
            deals[played.game].add(played.deal)
        self.deals = {game: sorted(deals[game]) for game in sorted(deals)}
        self.counts = {game: self._counts(game, len(self.deals[game]), resamples, seed) for game in self.deals}
        self.freedom = max(1, sum(len(numbers) - 1 for numbers in self.deals.values()))

    @staticmethod
    def _counts(game: str, deals: int, resamples: int, seed: int) -> Floats:
        rng = np.random.default_rng([seed, *game.encode()])
        drawn: Floats = np.ones((resamples, 1))
        if deals > 1:
            draws = rng.multinomial(deals - 1, np.full(deals, 1 / deals), size=resamples).astype(np.float64)
            drawn = draws * (deals / (deals - 1))
        return np.concatenate([np.ones((1, deals)), drawn])

    def interval(self, samples: Floats, freedom: int | None = None) -> Interval:
        """The interval of an estimate from its value in every sample.

        Args:
            samples: [S], the estimate first; NaN where a resample has nothing to say.
            freedom: degrees of freedom; None: deals of all games less one each.
        """
        value, rest = float(samples[0]), samples[1:]
        rest = rest[np.isfinite(rest)]
        if not math.isfinite(value) or len(rest) < 2:
            return Interval(value)
        # The k-th of B samples stands for the share k / (B + 1); numpy's default would make intervals of 300 cover 94.4 %.
        low, high = np.quantile(rest, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="weibull")
        wider = widening(self.freedom if freedom is None else freedom)
        return Interval(value, value + (float(low) - value) * wider, value + (float(high) - value) * wider)


@cache
def widening(freedom: int) -> float:
    """Student's quantile by the normal one."""
    return float(stats.t.ppf((1 + LEVEL) / 2, max(1, freedom)) / stats.norm.ppf((1 + LEVEL) / 2))


def rate(
    games: Sequence[Played],
    agents: int,
    *,
    anchor: int | None = None,
    stakes: Mapping[str, float] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Ratings:
    """Ratings with 95 % intervals, a pure function of the set of games: their order does not matter.

    Args:
        games: whose winners count.
        agents: how many.
        anchor: index of the agent at 0; None puts the mean there.
        stakes: the most that a seat can win in a game of two seats; a game that is not named has winners and losers alone.
        resamples: of the deals of each game.
        seed: of the resampling.

    Raises:
        ValueError: if there are no games.
    """
    if not games:
        raise ValueError("no complete block to rate; play at least one")
    games = sorted(games)
    drawn = Resamples(games, resamples, seed)
    choices = Choices(games, agents, stakes or {})
    elo = ELO * choices.fit(drawn)
    strength = elo[:agents] - (elo[[anchor]] if anchor is not None else elo[:agents].mean(axis=0))
    p_values, errors = _differences(strength, drawn.freedom)
    places = np.argsort(np.argsort(-strength[:, 1:], axis=0, kind="stable"), axis=0)
    sides: dict[tuple[str, str], Interval] = {}
    for game in sorted({game for game, _ in choices.sides}):
        rows = {key: agents + place for place, key in enumerate(choices.sides) if key[0] == game}
        middle = elo[list(rows.values())].mean(axis=0)
        sides |= {key: drawn.interval(elo[row] - middle) for key, row in rows.items()}
    return Ratings(
        rating=tuple(drawn.interval(strength[agent]) for agent in range(agents)),
        best=tuple(float(share) for share in (places == 0).mean(axis=1)) if resamples else (math.nan,) * agents,
        top3=tuple(float(share) for share in (places < 3).mean(axis=1)) if resamples else (math.nan,) * agents,
        ranks=rank_ranges(strength[:, 0], p_values),
        p_values=tuple(tuple(map(float, row)) for row in p_values),
        errors=tuple(tuple(map(float, row)) for row in errors),
        sides=sides,
        draws=choices.draws,
    )


def _differences(strength: Floats, freedom: int) -> tuple[Floats, Floats]:
    """(Holm-corrected p-values, standard errors) of all pairs of rows of [P, S], the estimate in column 0."""
    agents = len(strength)
    p_values, errors = np.ones((agents, agents)), np.zeros((agents, agents))
    pairs = list(combinations(range(agents), 2))
    raw = np.ones(len(pairs))
    for number, (one, other) in enumerate(pairs):
        gap = strength[one] - strength[other]
        error = float(np.std(gap[1:])) if len(gap) > 2 else math.inf
        errors[one, other] = errors[other, one] = error
        if error > 0:
            raw[number] = 2 * stats.t.sf(abs(gap[0]) / error, freedom)
        elif abs(gap[0]) > 1e-6:
            raw[number] = 0.0
    for (one, other), p_value in zip(pairs, holm(raw), strict=True):
        p_values[one, other] = p_values[other, one] = p_value
    return p_values, errors


def holm(p_values: Floats) -> Floats:
    """Holm's step-down correction."""
    order = np.argsort(p_values, kind="stable")
    stepped = np.maximum.accumulate(p_values[order] * (len(p_values) - np.arange(len(p_values))))
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


def rank_ranges(values: Floats, p_values: Floats) -> tuple[tuple[int, int], ...]:
    """(best, worst) rank of each agent: 1 + those significantly better; all - those significantly worse."""
    agents = len(values)
    sure = p_values < 1 - LEVEL
    better = [int(np.sum(sure[agent] & (values > values[agent]))) for agent in range(agents)]
    worse = [int(np.sum(sure[agent] & (values < values[agent]))) for agent in range(agents)]
    return tuple((1 + better[agent], agents - worse[agent]) for agent in range(agents))


Alternative = tuple[tuple[int, float], ...]
"""(parameter, coefficient): the strength of an alternative is their sum."""


class Choices:
    """The games as choices among alternatives, equal ones of a game counted together.

    Parameters: one an agent, one a (game, side), one a game with many draws.
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
        self._alternatives: list[Alternative] = []
        self._starts: list[int] = []
        chosen = {game: self._count(game, by_game[game]) for game in sorted(by_game)}
        self._chosen = self._with_equal_weight(chosen)
        self._build()

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

    def _with_equal_weight(
        self, chosen: Mapping[str, dict[tuple[int, int], float]]
    ) -> dict[str, dict[tuple[int, int], float]]:
        totals = {game: sum(counts.values()) for game, counts in chosen.items()}
        mean = sum(totals.values()) / max(1, sum(total > 0 for total in totals.values()))
        return {
            game: {key: count * mean / totals[game] for key, count in counts.items()}
            for game, counts in chosen.items()
            if counts
        }

    def _build(self) -> None:
        ends = [*self._starts[1:], len(self._alternatives)]
        self._choice_of = np.repeat(np.arange(len(self._starts)), np.diff([*self._starts, len(self._alternatives)]))
        pairs = [pair for start, end in zip(self._starts, ends, strict=True) for pair in combinations(range(start, end), 2)]
        self._one = np.array([one for one, _ in pairs], dtype=int)
        self._other = np.array([other for _, other in pairs], dtype=int)
        self.design = _sparse(self._alternatives, self.parameters)
        rows = [[(row, 1.0) for row in range(start, end)] for start, end in zip(self._starts, ends, strict=True)]
        self._together = _sparse(rows, len(self._alternatives))  # sums over the alternatives of each choice
        gaps = [_minus(self._alternatives[one], self._alternatives[other]) for one, other in pairs]
        upper = {pair: number for number, pair in enumerate(combinations_with_replacement(range(self.parameters), 2))}
        squares = [
            tuple((upper[p, q], a * b) for p, a in gap for q, b in gap if p <= q)  # of gap x gap, upper half
            for gap in gaps
        ]
        self._squares = _sparse(squares, len(upper))

    def fit(self, drawn: Resamples, iterations: int = 60) -> Floats:
        """Penalised maximum likelihood of each sample by Newton's method; [parameters, samples]."""
        samples = next(iter(drawn.counts.values())).shape[0]
        chosen = np.zeros((len(self._alternatives), samples))
        for game, counts in self._chosen.items():
            number = {deal: place for place, deal in enumerate(drawn.deals[game])}
            keys = list(counts)
            of_deals = sparse.csr_matrix(
                (list(counts.values()), ([row for _, row in keys], [number[deal] for deal, _ in keys])),
                shape=(len(self._alternatives), len(number)),
            )
            chosen += of_deals @ drawn.counts[game].T
        first = self._newton(chosen[:, :1], np.zeros((self.parameters, 1)), iterations)
        step = max(1, CHUNK // max(1, len(self._alternatives)))
        parts = [
            self._newton(part := chosen[:, start : start + step], np.repeat(first, part.shape[1], axis=1), iterations)
            for start in range(1, samples, step)
        ]
        return np.concatenate([first, *parts], axis=1)

    def _newton(self, chosen: Floats, theta: Floats, iterations: int) -> Floats:
        upper = np.triu_indices(self.parameters)
        prior = PRIOR_PRECISION * np.eye(self.parameters)
        totals = (self._together @ chosen)[self._choice_of]
        for _ in range(iterations):
            shares = self._shares(theta)
            gradient = self.design.T @ (chosen - totals * shares) - PRIOR_PRECISION * theta
            curvature = self._squares.T @ (totals[self._one] * shares[self._one] * shares[self._other])
            hessian = np.zeros((theta.shape[1], self.parameters, self.parameters))
            hessian[:, upper[0], upper[1]] = curvature.T
            hessian[:, upper[1], upper[0]] = curvature.T
            step = np.linalg.solve(hessian + prior, gradient.T[..., None])[..., 0].T
            theta = theta + np.clip(step, -2.0, 2.0)  # damped far from the optimum, where the curvature misleads
            if np.abs(step).max() < 1e-7:
                break
        return theta

    def _shares(self, theta: Floats) -> Floats:
        weight = np.exp(self.design @ theta)  # far from overflow: the prior holds strengths within tens
        shares: Floats = weight / (self._together @ weight)[self._choice_of]
        return shares


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


# Mean returns.


def payoffs(
    games: Sequence[Played], agents: int, *, stake: float | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> Payoffs:
    """Mean returns with intervals in one game.

    Args:
        games: all of one game.
        agents: how many.
        stake: see `rate`.

    Raises:
        ValueError: if there are none.
    """
    if not games:
        raise ValueError("no complete block")
    games = sorted(games)
    drawn = Resamples(games, resamples, seed)
    two = len(games[0].seats) == 2
    returns = {key: _Means(values) for key, values in _by_opponent(games, lambda game, seat: game.returns[seat]).items()}
    lucky = all(game.luck for game in games)
    adjusted = (
        {key: _Means(v) for key, v in _by_opponent(games, lambda game, seat: game.returns[seat] - game.luck[seat]).items()}
        if lucky
        else None
    )
    samples = {key: means.samples(drawn, games[0].game) for key, means in returns.items()}
    graded = stake is not None and is_graded(games, stake)
    points = _by_opponent(games, lambda game, seat: _points(game, seat, stake if graded else None)) if two else {}
    return Payoffs(
        mean=_over_opponents(samples, drawn, agents),
        adjusted=None
        if adjusted is None
        else _over_opponents({key: m.samples(drawn, games[0].game) for key, m in adjusted.items()}, drawn, agents),
        against={key: drawn.interval(values) for key, values in samples.items()} if two else {},
        points={key: drawn.interval(_Means(v).samples(drawn, games[0].game)) for key, v in points.items()},
        by_side=_by_side(games),
        variance_ratio=_variance_ratio(games) if two else None,
        deals=len(drawn.deals[games[0].game]),
    )


ByOpponent = dict[tuple[int, int], dict[int, list[float]]]
"""(agent, opponent) -> deal -> values; opponent -1 stands for the whole table where there are more than two seats."""


def _by_opponent(games: Sequence[Played], value: Callable[[Played, int], float]) -> ByOpponent:
    found: ByOpponent = defaultdict(lambda: defaultdict(list))
    for game in games:
        for seat, agent in enumerate(game.seats):
            opponent = game.seats[1 - seat] if len(game.seats) == 2 else -1
            found[agent, opponent][game.deal].append(value(game, seat))
    return found


def _points(game: Played, seat: int, stake: float | None) -> float:
    return points_of(game.returns[seat], game.returns[1 - seat], stake)


class _Means:
    """A mean over the deals that were played, in every sample."""

    def __init__(self, by_deal: Mapping[int, Sequence[float]]):
        self.by_deal = by_deal

    def samples(self, drawn: Resamples, game: str) -> Floats:
        deals = drawn.deals[game]
        total = np.array([sum(self.by_deal.get(deal, ())) for deal in deals])
        count = np.array([float(len(self.by_deal.get(deal, ()))) for deal in deals])
        counts = drawn.counts[game]
        with np.errstate(invalid="ignore", divide="ignore"):
            means: Floats = (counts @ total) / (counts @ count)
        return means


def _over_opponents(samples: Mapping[tuple[int, int], Floats], drawn: Resamples, agents: int) -> tuple[Interval, ...]:
    found = []
    for agent in range(agents):
        of_opponents = [values for (who, opponent), values in samples.items() if who == agent and opponent != agent]
        with np.errstate(invalid="ignore"):
            found.append(drawn.interval(np.mean(of_opponents, axis=0)) if of_opponents else NOTHING)
    return tuple(found)


def _by_side(games: Sequence[Played]) -> dict[tuple[int, str], tuple[float, int]]:
    values: dict[tuple[int, str], list[float]] = defaultdict(list)
    for game in games:
        if len(set(game.seats)) > 1 or len(game.seats) == 1:
            for agent, side, paid in zip(game.seats, game.sides, game.returns, strict=True):
                values[agent, side].append(paid)
    return {key: (math.fsum(values[key]) / len(values[key]), len(values[key])) for key in sorted(values)}


def _variance_ratio(games: Sequence[Played]) -> float | None:
    """Variance of the mean of two games on independent deals by that of a mirrored block, pooled over pairs of agents."""
    seated: dict[tuple[tuple[int, ...], int], dict[int, float]] = defaultdict(dict)
    for game in games:
        if game.seats[0] != game.seats[1]:
            one = min(game.seats)
            seated[game.lineup, game.deal][game.seats.index(one)] = game.returns[game.seats.index(one)]
    of_pair: dict[tuple[int, ...], list[tuple[float, float]]] = defaultdict(list)
    for (lineup, _), returns in seated.items():
        if len(returns) == 2:
            of_pair[lineup].append((returns[0], returns[1]))
    independent = mirrored = 0.0
    for blocks in of_pair.values():
        if len(blocks) > 1:
            both = np.array(blocks)
            independent += float(both.var(axis=0, ddof=1).sum()) / 4
            mirrored += float(both.mean(axis=1).var(ddof=1))
    return independent / mirrored if mirrored > 0 else None
