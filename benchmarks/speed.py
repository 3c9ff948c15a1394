"""Speed of the environments against TextArena, side by side in one process, as ratios.

    make speed        installs textarena and runs        python -m benchmarks.speed

Both play the same games with random legal moves and read every observation as text. TextArena's IDs are measured as registered,
with the wrapper that renders the observation as text, and as "-raw", which hands out lists of new messages instead. Rounds
alternate, so that a machine whose speed drifts slows all; the figures are medians over the rounds.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

import lmgames
from lmgames.chance import Chance

GAMES = {"KuhnPoker-v0": {"hands": 3}, "TicTacToe-v0": {}}
"""ID, the same in both, and the options that make ours the same length."""


def play_lmgames(env_id: str, options: dict[str, Any], games: int) -> tuple[int, float]:
    """(turns, seconds) of games through the AEC interface."""
    env = lmgames.make(env_id, **options)
    chance = Chance(0)
    turns = 0
    began = time.perf_counter()
    for game in range(games):
        env.reset(seed=game)
        for _ in env.agent_iter():
            *_, terminated, truncated, info = env.last()
            if terminated or truncated:
                env.step(None)
                continue
            moves = info["legal_moves"]
            env.step(moves[chance.word("move", turns) % len(moves)])
            turns += 1
    return turns, time.perf_counter() - began


def play_textarena(env_id: str, games: int) -> tuple[int, float]:
    """(turns, seconds) of games through `get_observation` and `step`. Its games list no moves, so they are known here."""
    import textarena

    env = textarena.make(env_id)
    pick = _kuhn_move if env_id.startswith("Kuhn") else _tic_tac_toe_move
    chance = Chance(0)
    turns = 0
    began = time.perf_counter()
    for game in range(games):
        env.reset(num_players=2, seed=game)
        done = False
        while not done:
            env.get_observation()
            moves = pick(env.state.game_state)
            done, _ = env.step(action=moves[chance.word("move", turns) % len(moves)])
            turns += 1
    return turns, time.perf_counter() - began


def _kuhn_move(state: Any) -> list[str]:
    return [f"[{move}]" for move in state["current_legal_action_tree"]]


def _tic_tac_toe_move(state: Any) -> list[str]:
    board = state["board"]
    return [f"[{3 * row + col}]" for row in range(3) for col in range(3) if board[row][col] == ""]


def main(arguments: list[str] | None = None) -> int:
    """Prints the table; 2 if TextArena is not installed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--games", type=int, default=300, help="of one round (default 300)")
    parser.add_argument("--rounds", type=int, default=7)
    known = parser.parse_args(arguments)
    try:
        import textarena  # noqa: F401
    except ImportError:
        print("error: textarena is not installed; pip install 'lmgames[speed]'", file=sys.stderr)
        return 2
    table = Table(
        title="turns a second, random legal play, one process; ratio: ours to theirs, median (least) of alternating rounds"
    )
    for column in ("game", "lmgames", "us a turn", "TextArena", "ratio", "TextArena -raw", "ratio"):
        table.add_column(column, justify="left" if column == "game" else "right")
    for env_id, options in GAMES.items():
        table.add_row(env_id, *_compare(env_id, options, known.games, known.rounds))
    Console().print(table)
    return 0


def _compare(env_id: str, options: dict[str, Any], games: int, rounds: int) -> list[str]:
    players: list[Callable[[], tuple[int, float]]] = [
        lambda: play_lmgames(env_id, options, games),
        lambda: play_textarena(env_id, games),
        lambda: play_textarena(f"{env_id}-raw", games),
    ]
    for player in players:
        player()  # imports and caches
    speeds: list[list[float]] = [[] for _ in players]
    for _ in range(rounds):
        for player, found in zip(players, speeds, strict=True):
            turns, seconds = player()
            found.append(turns / seconds)
    ours = statistics.median(speeds[0])
    cells = [f"{ours:,.0f}", f"{1e6 / ours:.0f}"]
    for theirs in speeds[1:]:
        ratios = [mine / other for mine, other in zip(speeds[0], theirs, strict=True)]
        cells += [f"{statistics.median(theirs):,.0f}", f"{statistics.median(ratios):.1f} ({min(ratios):.1f})"]
    return cells


if __name__ == "__main__":
    sys.exit(main())
