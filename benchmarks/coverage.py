"""Do the intervals cover? Tournaments simulated from known strengths, rated as real ones are.

    python -m benchmarks.coverage            prints how often 95 % intervals hold the true rating

Each simulated deal favours some agents a little, whoever they meet, as real deals do: what is played on one deal is not
independent. Differences to the first agent are what is covered, so that the anchor is no free hit. Adaptive schedules choose what
is played by what was played, as `run` lets them.
"""

import argparse
import math
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from benchmarks.choices import Floats, Played
from benchmarks.ratings import ELO, rate
from benchmarks.schedule import Adaptive, GameSpec, Standing, pair_key, rotations
from benchmarks.tournament import standing_of

STRENGTHS = (0.0, 0.3, 0.6, 0.9, 1.3)  # logits
LOPSIDED = (0.0, 3.5)  # the stronger wins 97 of 100
LADDER = (0.0, 1.0, 2.0, 3.0, 4.0)
SEAT = 0.3  # logits that the first seat gains


@dataclass(frozen=True)
class Covered:
    """What a study found.

    Args:
        share: of the intervals that hold the truth.
        error: its standard error; intervals of one tournament are not independent.
        width: median width, Elo points.
        intervals: how many.
    """

    share: float
    error: float
    width: float
    intervals: int


def two_player(
    rng: np.random.Generator,
    deals: int,
    deal_effect: float = 0.0,
    draws: float = 0.0,
    strengths: Sequence[float] = STRENGTHS,
) -> list[Played]:
    """A round robin of one game on mirrored deals.

    Args:
        deals: number.
        deal_effect: standard deviation of what a deal adds to an agent's strength in either seat, logits.
        draws: strength of a draw as in Davidson's model, nu; 0 for none.
        strengths: of the agents, logits.
    """
    pairs = combinations(range(len(strengths)), 2)
    blocks = [(deal, *pair) for pair in pairs for deal in range(deals)]
    return play_blocks(rng, _strengths(rng, deals, deal_effect, strengths), blocks, draws)


def _strengths(rng: np.random.Generator, deals: int, deal_effect: float, strengths: Sequence[float] = STRENGTHS) -> Floats:
    """[deals, agents], logits."""
    return np.array(strengths) + deal_effect * rng.standard_normal((deals, len(strengths)))


def play_blocks(
    rng: np.random.Generator, of_deals: Floats, blocks: Sequence[tuple[int, int, int]], draws: float = 0.0
) -> list[Played]:
    """Blocks of (deal, agent, agent), each deal from both seats, one after the other."""
    seated = [(deal, *pair) for deal, one, other in blocks for pair in ((one, other), (other, one))]
    deal_G, first_G, second_G = np.array(seated).T
    first_wins_G, second_wins_G = np.exp(of_deals[deal_G, first_G] + SEAT), np.exp(of_deals[deal_G, second_G])
    drawn_G = draws * np.sqrt(first_wins_G * second_wins_G)
    at_G = rng.random(len(seated)) * (first_wins_G + second_wins_G + drawn_G)
    paid_G = np.where(at_G < first_wins_G, 1.0, np.where(at_G < first_wins_G + drawn_G, 0.0, -1.0))
    return [
        Played("g", deal, (min(pair), max(pair)), tuple(pair), ("a", "b"), (paid, -paid))
        for (deal, *pair), paid in zip(seated, paid_G.tolist(), strict=True)
    ]


def adaptive(rng: np.random.Generator, deals: int, deal_effect: float = 0.0) -> list[Played]:
    """As many games as `two_player` plays, but an adaptive schedule says who meets, round by round."""
    names = [str(agent) for agent in range(len(STRENGTHS))]
    game = GameSpec("TicTacToe-v0", {})  # any of two seats; it is not played
    schedule = Adaptive(names, [game], deals, seed=0)
    of_deals = _strengths(rng, deals * math.comb(len(names), 2), deal_effect)  # at most, if one pair is always chosen
    games: list[Played] = []
    standing = Standing({}, {}, {})
    number = 0
    while (drawn := schedule.round(number, standing)) is not None:
        games += play_blocks(
            rng, of_deals, [(lineup.block, int(lineup.agents[0]), int(lineup.agents[1])) for lineup in drawn[0]]
        )
        met = Counter((game.name, pair_key(map(str, played.lineup))) for played in games[::2])
        standing = standing_of(rate(games, len(names), resamples=0), names, met)
        number += 1
    return games


def four_player(rng: np.random.Generator, deals: int, deal_effect: float = 0.0) -> list[Played]:
    """Tables of four of the five agents, in turn, in every rotation, ranked by Plackett and Luce's model."""
    games = []
    for deal in range(deals):
        of_deal = _strengths(rng, 1, deal_effect)[0]
        lineup = tuple(agent for agent in range(len(STRENGTHS)) if agent != deal % len(STRENGTHS))
        for table in rotations(tuple(map(str, lineup))):
            seats = tuple(map(int, table))
            strength = of_deal[list(seats)] + SEAT * np.array([1.0, 0.0, 0.0, 0.0])
            finish = strength + rng.gumbel(size=4)  # ranks by strength plus Gumbel noise are Plackett-Luce's
            places = np.argsort(np.argsort(finish))
            games.append(Played("g", deal, lineup, seats, ("a", "b", "c", "d"), tuple(map(float, places))))
    return games


def study(simulate: Callable[[np.random.Generator], Sequence[Played]], truth: Sequence[float], tournaments: int) -> Covered:
    """Rates simulated tournaments and counts.

    Args:
        simulate: one tournament.
        truth: strengths that the ratings estimate, logits.
        tournaments: number.
    """
    hits, widths = np.zeros((tournaments, len(truth) - 1)), []
    for number in range(tournaments):
        ratings = rate(simulate(np.random.default_rng([7, number])), len(truth), anchor=0, resamples=0)
        for agent in range(1, len(truth)):
            interval = ratings.rating[agent]
            hits[number, agent - 1] = interval.low <= ELO * (truth[agent] - truth[0]) <= interval.high
            widths.append(interval.high - interval.low)
    error = float(hits.mean(axis=1).std()) / math.sqrt(tournaments)
    return Covered(float(hits.mean()), error, float(np.median(widths)), len(widths))


def marginal_truth(simulate: Callable[[np.random.Generator, int], Sequence[Played]], deals: int = 10_000) -> list[float]:
    """What the ratings estimate where deals have effects of their own: the fit to very many deals."""
    ratings = rate(simulate(np.random.default_rng(1), deals), len(STRENGTHS), anchor=0, resamples=0)
    return [interval.value / ELO for interval in ratings.rating]


STUDIES: tuple[tuple[str, Callable[..., list[Played]], dict[str, Any]], ...] = (
    *(("two seats", two_player, {"deals": deals}) for deals in (2, 5, 10, 20, 40, 100)),
    ("two seats", two_player, {"deals": 40, "draws": 0.6}),
    *(("two seats", two_player, {"deals": deals, "deal_effect": 0.7}) for deals in (5, 10, 40)),
    *(("two seats", two_player, {"deals": deals, "strengths": LADDER}) for deals in (2, 5, 10, 30, 100)),
    *(("two agents, two seats", two_player, {"deals": deals, "strengths": LOPSIDED}) for deals in (2, 5, 10, 30, 100)),
    *(("two agents, two seats", two_player, {"deals": deals, "strengths": (0.0, 2.2)}) for deals in (5, 10, 30, 100)),
    ("two seats, adaptive", adaptive, {"deals": 40}),
    ("two seats, adaptive", adaptive, {"deals": 40, "deal_effect": 0.7}),
    *(("four seats", four_player, {"deals": deals}) for deals in (5, 10, 20, 50)),
    ("four seats", four_player, {"deals": 50, "deal_effect": 0.7}),
)
"""Tables, what simulates them, and with what."""
ADAPTIVE_SHARE = 4  # adaptive tournaments are rated after each round: one in four is enough


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table of the documentation."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__.partition("\n")[0])
    parser.add_argument("--tournaments", type=int, default=200, help="of each kind; a quarter where schedules are adaptive")
    parser.add_argument("--only", default="", help="studies whose kind starts with this")
    known = parser.parse_args(arguments)
    print("| tables | strengths | deals | effect of a deal | draws | tournaments | coverage | error | median width, Elo |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    marginal: dict[tuple[str, float], list[float]] = {}
    for tables, simulate, of in STUDIES:
        if not tables.startswith(known.only):
            continue
        truth: Sequence[float] = of.get("strengths", STRENGTHS)
        if of.get("deal_effect"):  # who meets has no part in the truth: that of a round robin holds for adaptive play, too
            whole = two_player if simulate is adaptive else simulate
            key = (whole.__name__, of["deal_effect"])
            if key not in marginal:
                marginal[key] = marginal_truth(partial(whole, deal_effect=of["deal_effect"]))
            truth = marginal[key]
        tournaments = known.tournaments // (ADAPTIVE_SHARE if simulate is adaptive else 1)
        found = study(partial(simulate, **of), truth, tournaments)
        cells = [tables, " ".join(f"{each:g}" for each in of.get("strengths", STRENGTHS))]
        cells += [f"{of.get(name, 0)}" for name in ("deals", "deal_effect", "draws")] + [f"{tournaments}"]
        cells += [f"{found.share:.1%}", f"{found.error:.1%}", f"{found.width:.0f}"]
        print(f"| {' | '.join(cells)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
