"""Is A better than B? A paired comparison on the deals and opponents that they share."""

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from benchmarks.choices import Floats, pays_amounts, points_of
from benchmarks.profile import LEVEL
from benchmarks.ratings import Interval, interval_of_samples
from benchmarks.results import Result, complete
from lmgames.registry import nearest

POWER = 0.8
EXACT_DEALS = 12  # up to so many that differ every choice of signs is tried: 4,096
LEAST_DEALS = 6  # fewer can never show a difference: with 5, one choice of signs in 16 is as far out as can be


@dataclass(frozen=True)
class Difference:
    """A's mean less B's in one game.

    Args:
        game: name.
        unit: "return" in the game's unit, or "points" as ratings count them: a win 1, a draw half, amounts by the stake.
        difference: with its 95 % interval; it holds 0 unless the test finds a difference.
        p_value: of "they are equal", two-sided: of a sign-flip test where few deals differ, else of a t-test.
        deals: that both played, the independent units.
        games: of A and of B on them.
        needed: games of both, at the same spread, until a difference of this size shows with 80 % power; 0: enough were played;
            None: the data show no difference at all, or, from one deal, no spread.
    """

    game: str
    unit: str
    difference: Interval
    p_value: float
    deals: int
    games: int
    needed: int | None


def compare(results: Sequence[Result], one: str, other: str, stakes: Mapping[str, float]) -> list[Difference]:
    """Paired differences, game by game: on each deal what A earns less what B earns against the same opponents, and against each
    other. Deals are the units: what is played on one deal is averaged first.

    Args:
        results: of a tournament.
        one, other: names of the agents A and B.
        stakes: the most that a seat can win, by name of the games in which points count, too.

    Raises:
        ValueError: for an unknown agent, or if they share no complete block.
    """
    known = {name for result in results for name in result.lineup}
    for name in (one, other):
        if name not in known:
            raise ValueError(f"no agent {name!r} among the results{nearest(name, known)}")
    if one == other:
        raise ValueError(f"{one!r} is to be compared with another agent")
    played = [member for members in complete(results).values() for member in members]
    graded = {
        game: stake
        for game, stake in stakes.items()
        if any(pays_amounts(result.returns.values(), stake) for result in played if result.game == game)
    }
    means = _block_means(played, graded)
    found = []
    for game in sorted({game for game, *_ in means}):
        for unit in ("return", "points") if game in stakes else ("return",):
            by_deal, games = _differences(means, game, unit, one, other)
            if by_deal:
                most = 1.0 if unit == "points" else 2 * stakes[game] if game in stakes else None
                found.append(_tested(game, unit, by_deal, games, None if most is None else (-most, most)))
    if not found:
        raise ValueError(f"{one!r} and {other!r} share no deal against the same opponents; play more blocks")
    return found


Means = dict[tuple[str, str, int, tuple[str, ...]], dict[str, list[float]]]
"""(game, unit, deal, the others at the table) -> agent -> its values."""


def _block_means(results: Sequence[Result], graded: Mapping[str, float]) -> Means:
    means: Means = defaultdict(lambda: defaultdict(list))
    for result in results:
        for seat, name in result.seats.items():
            others = list(result.lineup)
            others.remove(name)
            place = (result.block, tuple(sorted(others)))
            means[result.game, "return", *place][name].append(result.returns[seat])
            if len(result.seats) == 2:
                (rival,) = (paid for where, paid in result.returns.items() if where != seat)
                points = points_of(result.returns[seat], rival, graded.get(result.game))
                means[result.game, "points", *place][name].append(points)
    return means


def _differences(means: Means, game: str, unit: str, one: str, other: str) -> tuple[list[float], int]:
    """(mean difference on each deal, games behind them). Against each other, A's own mean less B's on the mirrored deal."""
    by_deal: dict[int, list[float]] = defaultdict(list)
    games = 0
    for (of_game, of_unit, deal, others), values in means.items():
        if (of_game, of_unit) != (game, unit):
            continue
        if others == (other,) and one in values:
            rival = means[game, unit, deal, (one,)][other]
            by_deal[deal].append(_mean(values[one]) - _mean(rival))
            games += len(values[one])
        elif one in values and other in values and one not in others and other not in others:
            by_deal[deal].append(_mean(values[one]) - _mean(values[other]))
            games += len(values[one]) + len(values[other])
    return [_mean(by_deal[deal]) for deal in sorted(by_deal)], games


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _tested(game: str, unit: str, by_deal: Sequence[float], games: int, bounds: tuple[float, float] | None) -> Difference:
    """Args: as in `Difference`; bounds: of the difference on one deal."""
    values = np.array(by_deal)
    deals, mean = len(values), float(values.mean())
    if deals < 2:
        return Difference(game, unit, Interval(mean), 1.0, deals, games, None)
    error = float(values.std(ddof=1)) / math.sqrt(deals)
    p_value = _p_value(values, mean, error)
    if error > 0:
        half = float(stats.t.ppf((1 + LEVEL) / 2, deals - 1)) * error
        low, high = mean - half, mean + half
    else:
        interval = interval_of_samples(np.full(3, mean), deals, bounds)
        low, high = interval.low, interval.high
    if p_value > 1 - LEVEL:
        low, high = min(low, 0.0), max(high, 0.0)
    return Difference(game, unit, Interval(mean, low, high), p_value, deals, games, _needed(mean, error, deals, games))


def _p_value(values: Floats, mean: float, error: float) -> float:
    """Were A and B alike, each deal's difference would be as likely with the other sign (Fisher's randomisation test).

    Where many deals differ it is near the t-test, but never below the chance that all signs agree.
    """
    moved = values[values != 0]
    if len(moved) <= EXACT_DEALS:
        flipped = np.array(list(itertools.product((1.0, -1.0), repeat=len(moved)))) @ moved
        return float(np.mean(np.abs(flipped) >= abs(moved.sum()) * (1 - 1e-9)))
    by_t = float(2 * stats.t.sf(abs(mean) / error, len(values) - 1)) if error > 0 else 0.0
    return max(by_t, 2.0 ** (1 - len(moved)))


def _needed(mean: float, error: float, deals: int, games: int) -> int | None:
    if mean == 0:
        return None
    wanted = (stats.norm.ppf((1 + LEVEL) / 2) + stats.norm.ppf(POWER)) ** 2 * error**2 * deals / mean**2  # deals
    return max(0, math.ceil((max(wanted, LEAST_DEALS) - deals) * games / deals))


def describe(found: Sequence[Difference], one: str, other: str) -> list[dict[str, str]]:
    """Rows of a table."""
    rows = []
    for each in found:
        gap = each.difference
        rows.append(
            {
                "game": each.game,
                "unit": each.unit,
                f"{one} less {other}": f"{gap.value:+.3f}",
                "95 % interval": "" if math.isnan(gap.low) else f"{gap.low:+.3f} to {gap.high:+.3f}",
                "p": "" if math.isnan(each.p_value) else f"{each.p_value:.3f}" if each.p_value >= 0.001 else "< 0.001",
                "deals": str(each.deals),
                "games": str(each.games),
                "games still needed": _still(each),
            }
        )
    return rows


def _still(found: Difference) -> str:
    if found.needed is None:
        return "no difference seen" if found.difference.value == 0 else "unknown: one deal has no spread"
    return str(found.needed)
