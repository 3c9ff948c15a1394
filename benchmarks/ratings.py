"""Ratings and mean returns from results, with intervals, so that the order of games cannot matter.

Ratings are one batch fit of the model of `choices`, with intervals and tests from its `profile`. Mean returns have intervals from
resampled deals: with n deals, n - 1 are drawn, and intervals are widened from the normal to Student's quantile, so that few deals
do not look like many. The independent unit is the deal of a game with all that was played on it: blocks of different line-ups on
one deal are not independent.

Sources: Holm 1979; Cameron, Gelbach and Miller 2008, Bootstrap-based improvements for inference with clustered errors; Rao and Wu
1988, Resampling inference with complex survey data (n - 1 draws).
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import stats

from benchmarks.choices import Choices, Floats, Played, is_graded, points_of
from benchmarks.profile import LEVEL, Profile

ELO = 400 / np.log(10)  # rating points a unit of theta
RESAMPLES = 1000


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
        best: probability of the highest rating; NaN where no game has two deals.
        top3: probability of one of the three highest, likewise.
        ranks: (best, worst) rank that the data allow: 1 + how many are significantly better, and last - how many worse.
        p_values: of "these two are equal", two-sided, Holm-corrected over all pairs, [agent][agent].
        errors: standard error of the difference of two ratings, Elo points, [agent][agent]; inf where no game has two deals.
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

    @staticmethod
    def _counts(game: str, deals: int, resamples: int, seed: int) -> Floats:
        rng = np.random.default_rng([seed, *game.encode()])
        drawn: Floats = np.ones((resamples, 1))
        if deals > 1:
            draws = rng.multinomial(deals - 1, np.full(deals, 1 / deals), size=resamples).astype(np.float64)
            drawn = draws * (deals / (deals - 1))
        return np.concatenate([np.ones((1, deals)), drawn])


def interval_of_samples(samples: Floats, deals: int, bounds: tuple[float, float] | None = None) -> Interval:
    """The interval of an estimate from its value in every sample; none where it is of one deal.

    Args:
        samples: [S], the estimate first; NaN where a resample has nothing to say.
        deals: that the estimate is from.
        bounds: of what one deal can give. Where all gave the same, the interval reaches towards them as far as deals that have
            not been seen may still weigh; without bounds nothing is known.
    """
    value, rest = float(samples[0]), samples[1:]
    rest = rest[np.isfinite(rest)]
    if not math.isfinite(value) or deals < 2 or len(rest) < 2:
        return Interval(value)
    if np.ptp(rest) <= 1e-9 * max(1.0, abs(value)):
        if bounds is None:
            return Interval(value)
        share = unseen_share(deals)
        return Interval(value, value - share * max(0.0, value - bounds[0]), value + share * max(0.0, bounds[1] - value))
    # The k-th of B samples stands for the share k / (B + 1); numpy's default would make intervals of 300 cover 94.4 %.
    low, high = np.quantile(rest, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="weibull")
    wider = widening(deals - 1)
    return Interval(value, value + min(0.0, float(low) - value) * wider, value + max(0.0, float(high) - value) * wider)


def unseen_share(deals: int) -> float:
    """The most that deals of another outcome may be of all, when some were drawn and none was among them: (1 - share)^deals is
    half of 1 - `LEVEL` (Clopper and Pearson 1934)."""
    return 1.0 - float(((1 - LEVEL) / 2) ** (1 / deals))


@cache
def widening(freedom: int) -> float:
    """Student's quantile by the normal one."""
    return float(stats.t.ppf((1 + LEVEL) / 2, freedom) / stats.norm.ppf((1 + LEVEL) / 2))


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
        resamples: of the deals of each game, for the probabilities of places; 0: they are not wanted.
        seed: of the resampling.

    Raises:
        ValueError: if there are no games.
    """
    if not games:
        raise ValueError("no complete block to rate; play at least one")
    games = sorted(games)
    choices = Choices(games, agents, stakes or {})
    profile = Profile(choices)
    of_agents_PK = np.eye(choices.parameters)[:, :agents]
    zero_P1 = of_agents_PK[:, [anchor]] if anchor is not None else of_agents_PK.mean(axis=1, keepdims=True)
    rating = _intervals(profile, of_agents_PK - zero_P1)
    p_values, errors = _differences(profile, of_agents_PK)
    best, top3 = _chances(profile, games, agents, resamples, seed)
    return Ratings(
        rating=rating,
        best=best,
        top3=top3,
        ranks=rank_ranges(np.array([interval.value for interval in rating]), p_values),
        p_values=tuple(tuple(map(float, row)) for row in p_values),
        errors=tuple(tuple(map(float, row)) for row in errors),
        sides=_sides(profile),
        draws=choices.draws,
    )


def _intervals(profile: Profile, contrasts_PK: Floats) -> tuple[Interval, ...]:
    """Elo points; without width where a contrast is of nothing, such as the anchor with itself."""
    found = [Interval(0.0, 0.0, 0.0)] * contrasts_PK.shape[1]
    real = np.flatnonzero(np.abs(contrasts_PK).max(axis=0) > 0)
    value_K = profile.estimates(contrasts_PK[:, real])
    low_K, high_K = profile.intervals(contrasts_PK[:, real])
    for place, *ends in zip(real, value_K, low_K, high_K, strict=True):
        found[place] = Interval(*(float(ELO * end) for end in ends))
    return tuple(found)


def _sides(profile: Profile) -> dict[tuple[str, str], Interval]:
    keys = profile.choices.sides
    contrasts_PK = np.zeros((profile.choices.parameters, len(keys)))
    for number, (game, _) in enumerate(keys):
        of_game = [profile.choices.agents + place for place, key in enumerate(keys) if key[0] == game]
        contrasts_PK[of_game, number] -= 1 / len(of_game)
        contrasts_PK[profile.choices.agents + number, number] += 1.0
    return dict(zip(keys, _intervals(profile, contrasts_PK), strict=True))


def _differences(profile: Profile, of_agents_PK: Floats) -> tuple[Floats, Floats]:
    """(Holm-corrected p-values, standard errors in Elo points) of all pairs of agents, [agent, agent]."""
    agents = of_agents_PK.shape[1]
    one, other = np.triu_indices(agents, 1)
    raw_K, error_K = profile.tests(of_agents_PK[:, one] - of_agents_PK[:, other])
    p_values, errors = np.ones((agents, agents)), np.zeros((agents, agents))
    p_values[one, other] = p_values[other, one] = holm(raw_K)
    errors[one, other] = errors[other, one] = ELO * error_K
    return p_values, errors


def _chances(
    profile: Profile, games: Sequence[Played], agents: int, resamples: int, seed: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Each agent's probability (of the highest rating, of one of the three highest)."""
    if not resamples or not profile.freedom:
        return ((math.nan,) * agents,) * 2
    counts = {game: counts[1:] for game, counts in Resamples(games, resamples, seed).counts.items()}
    samples = profile.samples(counts, np.random.default_rng(seed))[:agents]
    places = np.argsort(np.argsort(-samples, axis=0, kind="stable"), axis=0)
    best, top3 = ((places < count).mean(axis=1) for count in (1, 3))
    return tuple(map(float, best)), tuple(map(float, top3))


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


# Mean returns.


def payoffs(
    games: Sequence[Played],
    agents: int,
    *,
    stake: float | None = None,
    bounds: tuple[float, float] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Payoffs:
    """Mean returns with intervals in one game.

    Args:
        games: all of one game.
        agents: how many.
        stake: see `rate`.
        bounds: of a seat's return; without them a mean of equal returns has no interval.

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
    graded = stake is not None and is_graded(games, stake)
    points = _by_opponent(games, lambda game, seat: _points(game, seat, stake if graded else None)) if two else {}

    def of_pairs(
        means: Mapping[tuple[int, int], _Means], between: tuple[float, float] | None
    ) -> dict[tuple[int, int], Interval]:
        return {
            key: interval_of_samples(m.samples(drawn, games[0].game), len(m.by_deal), between) for key, m in means.items()
        }

    return Payoffs(
        mean=_over_opponents(returns, drawn, games[0].game, agents, bounds),
        adjusted=None if adjusted is None else _over_opponents(adjusted, drawn, games[0].game, agents, bounds),
        against=of_pairs(returns, bounds) if two else {},
        points=of_pairs({key: _Means(v) for key, v in points.items()}, (0.0, 1.0)),
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


def _over_opponents(
    means: Mapping[tuple[int, int], _Means], drawn: Resamples, game: str, agents: int, bounds: tuple[float, float] | None
) -> tuple[Interval, ...]:
    found = []
    for agent in range(agents):
        of_opponents = [of for (who, opponent), of in means.items() if who == agent and opponent != agent]
        if not of_opponents:
            found.append(NOTHING)
            continue
        with np.errstate(invalid="ignore"):
            samples = np.mean([of.samples(drawn, game) for of in of_opponents], axis=0)
        deals = len({deal for of in of_opponents for deal in of.by_deal})
        found.append(interval_of_samples(samples, deals, bounds))
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
