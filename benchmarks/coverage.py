"""Do the intervals cover? Tournaments simulated from known strengths, rated as real ones are.

    python -m benchmarks.coverage            prints how often 95 % intervals hold the true rating

Each simulated deal favours some agents a little, whoever they meet, as real deals do: what is played on one deal is not
independent. Differences to the first agent are what is covered, so that the anchor is no free hit.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.ratings import ELO, Played, rate
from benchmarks.schedule import rotations

STRENGTHS = (0.0, 0.3, 0.6, 0.9, 1.3)  # logits
SEAT = 0.3  # logits that the first seat gains


@dataclass(frozen=True)
class Covered:
    """What a study found.

    Args:
        share: of the intervals that hold the truth.
        width: mean width, Elo points.
        intervals: how many.
    """

    share: float
    width: float
    intervals: int


def two_player(rng: np.random.Generator, deals: int, deal_effect: float, draws: float = 0.0) -> list[Played]:
    """A round robin of one game on mirrored deals.

    Args:
        deals: number.
        deal_effect: standard deviation of what a deal adds to an agent's strength in either seat, logits.
        draws: strength of a draw as in Davidson's model, nu; 0 for none.
    """
    games = []
    for deal in range(deals):
        of_deal = np.array(STRENGTHS) + deal_effect * rng.standard_normal(len(STRENGTHS))
        for one in range(len(STRENGTHS)):
            for other in range(one + 1, len(STRENGTHS)):
                for first, second in ((one, other), (other, one)):
                    strengths = np.exp([of_deal[first] + SEAT, of_deal[second]])
                    weights = np.append(strengths, draws * np.sqrt(strengths.prod()))
                    result = rng.choice(3, p=weights / weights.sum())
                    paid = {0: 1.0, 1: -1.0, 2: 0.0}[int(result)]
                    games.append(Played("g", deal, (one, other), (first, second), ("a", "b"), (paid, -paid)))
    return games


def four_player(rng: np.random.Generator, deals: int, deal_effect: float) -> list[Played]:
    """Tables of four of the five agents, in turn, in every rotation, ranked by Plackett and Luce's model."""
    games = []
    for deal in range(deals):
        of_deal = np.array(STRENGTHS) + deal_effect * rng.standard_normal(len(STRENGTHS))
        lineup = tuple(agent for agent in range(len(STRENGTHS)) if agent != deal % len(STRENGTHS))
        for table in rotations(tuple(map(str, lineup))):
            seats = tuple(map(int, table))
            strength = of_deal[list(seats)] + SEAT * np.array([1.0, 0.0, 0.0, 0.0])
            finish = strength + rng.gumbel(size=4)  # ranks by strength plus Gumbel noise are Plackett-Luce's
            places = np.argsort(np.argsort(finish))
            games.append(Played("g", deal, lineup, seats, ("a", "b", "c", "d"), tuple(map(float, places))))
    return games


def study(
    simulate: Callable[[np.random.Generator], Sequence[Played]],
    truth: Sequence[float],
    tournaments: int,
    resamples: int = 300,
) -> Covered:
    """Rates simulated tournaments and counts.

    Args:
        simulate: one tournament.
        truth: strengths that the ratings estimate, logits.
        tournaments: number.
        resamples: of each.
    """
    hits, widths = 0, []
    for number in range(tournaments):
        ratings = rate(simulate(np.random.default_rng([7, number])), len(truth), anchor=0, resamples=resamples, seed=number)
        for agent in range(1, len(truth)):
            interval = ratings.rating[agent]
            hits += interval.low <= ELO * (truth[agent] - truth[0]) <= interval.high
            widths.append(interval.high - interval.low)
    return Covered(hits / len(widths), float(np.mean(widths)), len(widths))


def marginal_truth(simulate: Callable[[np.random.Generator, int], Sequence[Played]], deals: int = 40_000) -> list[float]:
    """What the ratings estimate where deals have effects of their own: the fit to very many deals."""
    ratings = rate(simulate(np.random.default_rng(1), deals), len(STRENGTHS), anchor=0, resamples=0)
    return [interval.value / ELO for interval in ratings.rating]


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table of the documentation."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__.partition("\n")[0])
    parser.add_argument("--tournaments", type=int, default=200)
    known = parser.parse_args(arguments)
    table = Table(title=f"95 % intervals that hold the truth, {known.tournaments} simulated tournaments of five agents")
    for column in ("tables", "deals", "effect of a deal", "draws", "coverage", "mean width, Elo"):
        table.add_column(column, justify="left" if column == "tables" else "right")
    console = Console(width=110)
    for deals, effect, draws in ((20, 0.0, 0.0), (40, 0.0, 0.0), (40, 0.0, 0.6), (40, 0.7, 0.0), (100, 0.0, 0.0)):

        def two(rng: np.random.Generator, count: int = deals, effect: float = effect, draws: float = draws) -> list[Played]:
            return two_player(rng, count, effect, draws)

        truth = marginal_truth(two, 3000) if effect else list(STRENGTHS)
        found = study(two, truth, known.tournaments)
        table.add_row("two seats", str(deals), f"{effect}", f"{draws}", f"{found.share:.1%}", f"{found.width:.0f}")
    for deals, effect in ((20, 0.0), (50, 0.0), (50, 0.7)):

        def four(rng: np.random.Generator, count: int = deals, effect: float = effect) -> list[Played]:
            return four_player(rng, count, effect)

        truth = marginal_truth(four, 20_000) if effect else list(STRENGTHS)
        found = study(four, truth, known.tournaments)
        table.add_row("four seats", str(deals), f"{effect}", "0.0", f"{found.share:.1%}", f"{found.width:.0f}")
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
