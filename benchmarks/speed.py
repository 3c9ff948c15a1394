"""Speed of the environments against TextArena, side by side in one process, as ratios.

    make speed        installs textarena and runs        python -m benchmarks.speed

Both play the same games with random legal moves and read every observation as text. Ours is made once and reset for each game.
TextArena is measured in three ways, because its observation wrapper keeps the text of earlier games, which makes a turn slower
the more games an environment has played:

    reset    made once and reset for each game, as its documentation shows; the figure depends on the games of a round
    new      made anew for each game, which is part of its time
    -raw     likewise, without the wrapper that puts an observation together: lists of new messages instead of a text

Times are CPU time of the process. Rounds alternate, so that a machine whose speed drifts slows all alike.
"""

import argparse
import random
import statistics
import sys
import time
from typing import Any

from rich.console import Console
from rich.table import Table

import lmgames
from benchmarks import efficiency

GAMES = {"KuhnPoker-v0": {"hands": 3}, "TicTacToe-v0": {}}
"""ID, the same in both, and the options that make ours the same length."""


def play_lmgames(env_id: str, games: int) -> float:
    """Turns a second through the AEC interface."""
    choose = random.Random(0).choice
    turns = 0
    env = lmgames.make(env_id, **GAMES[env_id])
    began = time.process_time()
    for game in range(games):
        env.reset(seed=game)
        for _ in env.agent_iter():
            *_, terminated, truncated, info = env.last()
            if terminated or truncated:
                env.step(None)
                continue
            env.step(choose(info["legal_moves"]))
            turns += 1
    return turns / (time.process_time() - began)


def play_textarena(env_id: str, games: int, *, anew: bool) -> float:
    """Turns a second through `get_observation` and `step`, in one environment or in one made anew for each game."""
    import textarena

    legal_moves = _kuhn_moves if env_id.startswith("Kuhn") else _tic_tac_toe_moves
    choose = random.Random(0).choice
    turns = 0
    env = textarena.make(env_id)
    began = time.process_time()
    for game in range(games):
        if anew:
            env = textarena.make(env_id)
        env.reset(num_players=2, seed=game)
        done = False
        while not done:
            env.get_observation()
            done, _ = env.step(action=choose(legal_moves(env.state.game_state)))
            turns += 1
    return turns / (time.process_time() - began)


def _kuhn_moves(state: Any) -> list[str]:
    return [f"[{move}]" for move in state["current_legal_action_tree"]]


def _tic_tac_toe_moves(state: Any) -> list[str]:
    board = state["board"]  # TextArena lists no moves
    return [f"[{3 * row + col}]" for row in range(3) for col in range(3) if board[row][col] == ""]


def compare(env_id: str, games: int, rounds: int) -> list[str]:
    """The cells of a game's row."""
    ways = [
        lambda: play_lmgames(env_id, games),
        lambda: play_textarena(env_id, games, anew=False),
        lambda: play_textarena(env_id, games, anew=True),
        lambda: play_textarena(f"{env_id}-raw", games, anew=True),
    ]
    play_lmgames(env_id, 2)  # imports and caches
    play_textarena(env_id, 2, anew=True)
    measured = [[play() for play in ways] for _ in range(rounds)]
    ours, *theirs = zip(*measured, strict=True)
    cells = [f"{statistics.median(ours):,.0f}", f"{1e6 / statistics.median(ours):.0f}"]
    for speeds in theirs:
        ratios = [mine / other for mine, other in zip(ours, speeds, strict=True)]
        cells.append(f"{1e6 / statistics.median(speeds):.0f}: {statistics.median(ratios):.2f} ({min(ratios):.2f})")
    return cells


def main(arguments: list[str] | None = None) -> int:
    """Prints the table; 2 if TextArena is not installed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--games", type=int, default=60, help="of one round (default 60)")
    parser.add_argument("--rounds", type=int, default=9, help="(default 9)")
    parser.add_argument(
        "--engines",
        nargs="+",
        default=[],
        choices=efficiency.ENGINES,
        help="then rollout efficiency, see benchmarks.efficiency",
    )
    known = parser.parse_args(arguments)
    try:
        import textarena
    except ImportError:
        print("error: textarena is not installed; pip install 'lmgames[speed]'", file=sys.stderr)
        return 2
    table = Table(
        title=f"random legal play, {known.games} games a round, {known.rounds} rounds, one process\n"
        f"TextArena {textarena.__version__}: us a turn: turns a second of ours to its, median (least) of the rounds"
    )
    for column in ("game", "lmgames turns/s", "us a turn", "TextArena, reset", "TextArena, new", "TextArena -raw, new"):
        table.add_column(column, justify="left" if column == "game" else "right")
    for env_id in GAMES:
        table.add_row(env_id, *compare(env_id, known.games, known.rounds))
    Console().print(table)
    return efficiency.main(["--engine", *known.engines]) if known.engines else 0


if __name__ == "__main__":
    sys.exit(main())
