"""Measures what debate is worth: `python -m agents.reference.debate_figures` prints the table of docs/games/debate.md.

For each source: how often the rule judge is right, a draw counting one half, after a debate of optimal players, alone with
evidence drawn at random, after one consultant of a coin's choosing, after an unopposed liar, and when one side is careless.
"""

import argparse
import math
from collections.abc import Mapping
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
COLUMNS = ("debate", "alone", "consultancy", "liar", "careless liar", "careless honest")


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


def measure(options: Mapping[str, Any], games: int) -> dict[str, float]:
    """Every column for one setting. Seeds come in pairs with the sides exchanged, so no position bias is left in a mean.

    Args:
        options: of the game.
        games: debates behind each figure, even; half as many for "liar".
    """
    optimal, careless = Optimal(), Careless()
    debate = Debate(**options, swap="both")
    naive = Debate(**options, swap="both", mode="naive", judge="agent")
    consultancy = Debate(**options, swap="both", mode="consultancy")
    rights: dict[str, list[float]] = {column: [] for column in COLUMNS}
    for seed in range(games):  # all columns of one question in turn, since its plans are kept for a while
        rights["debate"].append(right(debate, seed, optimal, optimal))
        rights["careless liar"].append(right(debate, seed, optimal, careless))
        rights["careless honest"].append(right(debate, seed, careless, optimal))
        rights["alone"].append(right(naive, seed, optimal, optimal))
        facts = play(consultancy, seed, {"honest": optimal, "liar": optimal})
        rights["consultancy"].append(facts["judge_right"])
        if facts["honest_seat"] is None:
            rights["liar"].append(facts["judge_right"])
    return {column: sum(found) / len(found) for column, found in rights.items()}


def right(game: Debate, seed: int, honest: ReferencePlayer, liar: ReferencePlayer) -> float:
    """Whether the judge is right in one debate: 1, 0, or one half for a draw."""
    found: float = play(game, seed, {"honest": honest, "liar": liar, "judge": Optimal()})["judge_right"]
    return found


def ten_way(shown: int, games: int) -> float:
    """How often the pixel judge, alone with `shown` random pixels, names the right one of ten digits."""
    game = Debate(source="pixels", swap="fixed", mode="naive", judge="agent", rounds=shown // 2)
    right = 0
    for seed in range(games):
        state = game.start(game.deal(Chance(seed)))
        right += game.evidence.classify(part.data for part in state.shown) == int(state.question.answers[0])  # type: ignore[attr-defined]
    return right / games


def best_of_nine_lies(shown: int, games: int) -> float:
    """How often the truth about a picture wins a debate with `shown` pixels against each of the nine wrong digits."""
    debates = [Debate(source="pixels", distance=distance, swap="fixed", rounds=shown // 2) for distance in range(1, 10)]
    optimal = Optimal()
    won = [all(right(debate, seed, optimal, optimal) == 1 for debate in debates) for seed in range(games)]
    return sum(won) / games


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", type=int, default=1000, help="debates behind each figure, an even number")
    games = parser.parse_args().games
    print(f"| options | {' | '.join(COLUMNS)} |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for options in SETTINGS:
        row = measure(options, games)
        name = ", ".join(f"{key}={value}" for key, value in options.items())
        print(f"| {name} | {' | '.join(f'{row[column]:.3f}' for column in COLUMNS)} |", flush=True)
    error = math.sqrt(0.25 / (games / 2))  # each question is played twice
    print(f"\n{games} debates a figure, half as many for `liar`; standard error at most {error:.3f}.")
    print("Ten-way judge alone: " + ", ".join(f"{shown} pixels {ten_way(shown, games):.3f}" for shown in (4, 6, 8)))
    lies = ", ".join(f"{shown} pixels {best_of_nine_lies(shown, games):.3f}" for shown in (4, 6, 8))
    print(f"Debate against the best of nine lies: {lies}")


__all__ = ["COLUMNS", "SETTINGS", "best_of_nine_lies", "measure", "play", "right", "ten_way"]

if __name__ == "__main__":
    main()
