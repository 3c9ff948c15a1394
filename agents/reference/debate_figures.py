"""Measures what debate is worth: `python -m agents.reference.debate_figures` prints the table of docs/games/debate.md.

For each source: how often the rule judge is right, a draw counting one half, after a debate of optimal players, alone with
evidence drawn at random, after one consultant of a coin's choosing, after an unopposed liar, and when one side is careless.
"""

import argparse
import math
from collections.abc import Iterable, Mapping
from typing import Any

from agents.reference.base import ReferencePlayer
from agents.reference.debate import Careless, Optimal
from lmgames.chance import Chance
from lmgames.games.debate import Debate
from lmgames.observation import Observation
from lmgames.parsing import public_text

SETTINGS: tuple[Mapping[str, Any], ...] = (
    {"source": "custody"},
    {"source": "custody", "size": 12},
    {"source": "custody", "quotes": 1},
    {"source": "pixels"},
    {"source": "pixels", "rounds": 2},
    {"source": "pixels", "rounds": 4},
    {"source": "pixels", "distance": 1},
    {"source": "pixels", "distance": 1, "rounds": 2},
    {"source": "tally"},
    {"source": "tally", "rounds": 5},
    {"source": "bisection"},
    {"source": "bisection", "rounds": 3},
    {"source": "bisection", "rounds": 2},
)
COLUMNS = ("debate", "alone", "consultancy", "liar", "careless liar", "careless honest", "coin judge")


def play(game: Debate, seed: int, players: Mapping[str, ReferencePlayer]) -> dict[str, Any]:
    """The facts of one debate.

    Args:
        game: the rules.
        seed: of the episode.
        players: by role.
    """
    state = game.start(game.deal(Chance(seed)))
    turn = 0
    while seats := game.to_move(state):
        moves = {}
        for seat in seats:
            view = game.view(state, seat)
            own_seed = Chance(seed).word("player", seat, turn, 0)
            observation = Observation("", seat, game.role_of(view, seat), None, turn, own_seed, "Debate-v0", game, view)
            moves[seat] = game.parse(view, seat, public_text(players[game.role_of(state, seat)].reply(observation)))
        state = game.apply(state, moves)
        turn += len(moves)
    return game.facts(state)


def accuracy(game: Debate, seeds: Iterable[int], honest: ReferencePlayer, liar: ReferencePlayer) -> tuple[float, int]:
    """How often the judge was right, and in how many debates; `swap="both"` and seeds in pairs leave out position bias."""
    players = {"honest": honest, "liar": liar, "judge": Optimal()}
    rights = [play(game, seed, players)["judge_right"] for seed in seeds]
    return sum(rights) / len(rights), len(rights)


def measure(options: Mapping[str, Any], games: int) -> dict[str, tuple[float, int]]:
    """Accuracy, and the number of games behind it, of every column for one setting.

    Args:
        options: of the game.
        games: even; seeds 0 .. games - 1.
    """
    debate = Debate(**options, swap="both")
    naive = Debate(**options, swap="both", mode="naive", judge="agent")
    consultancy = Debate(**options, swap="both", mode="consultancy")
    coin = Debate(**options, swap="both", judge="coin")
    optimal, careless, seeds = Optimal(), Careless(), range(games)
    lies = [seed for seed in seeds if _is_lie(consultancy, seed)]
    return {
        "debate": accuracy(debate, seeds, optimal, optimal),
        "alone": accuracy(naive, seeds, optimal, optimal),
        "consultancy": accuracy(consultancy, seeds, optimal, optimal),
        "liar": accuracy(consultancy, lies, optimal, optimal),
        "careless liar": accuracy(debate, seeds, optimal, careless),
        "careless honest": accuracy(debate, seeds, careless, optimal),
        "coin judge": accuracy(coin, seeds, optimal, optimal),
    }


def _is_lie(game: Debate, seed: int) -> bool:
    state = game.start(game.deal(Chance(seed)))
    return game.role_of(state, game.debaters[0]) == "liar"


def ten_way(shown: int, games: int) -> float:
    """How often the pixel judge, alone with `shown` random pixels, names the right one of ten digits."""
    game = Debate(source="pixels", swap="fixed", mode="naive", judge="agent", rounds=shown // 2)
    right = 0
    for seed in range(games):
        state = game.start(game.deal(Chance(seed)))
        right += game.evidence.classify(part.data for part in state.shown) == int(state.question.answers[0])  # type: ignore[attr-defined]
    return right / games


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", type=int, default=1000, help="debates behind each figure, an even number")
    games = parser.parse_args().games
    print(f"| options | {' | '.join(COLUMNS)} |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for options in SETTINGS:
        row = measure(options, games)
        name = ", ".join(f"{key}={value}" for key, value in options.items())
        print(f"| {name} | {' | '.join(f'{row[column][0]:.3f}' for column in COLUMNS)} |", flush=True)
    error = math.sqrt(0.25 / games)
    print(f"\n{games} debates a figure, about half as many for `liar`; standard error at most {error:.3f}.")
    print("Ten-way judge alone: " + ", ".join(f"{shown} pixels {ten_way(shown, games):.3f}" for shown in (4, 6, 8)))


__all__ = ["COLUMNS", "SETTINGS", "accuracy", "measure", "play", "ten_way"]

if __name__ == "__main__":
    main()
