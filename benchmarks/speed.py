"""Speed of the environments, alone and against TextArena, side by side in one process, as ratios.

    make speed        installs textarena and runs        python -m benchmarks.speed

Against TextArena both play the same games: replies are drawn beforehand from our random legal ones, a game that does not take
all of them in both is left out, and only playing is timed. Each reads every observation as text and the returns at the end; ours
lists the legal moves besides, as its interface promises. Ours is made once and reset for each game. TextArena is measured in
three ways:

    new      made anew for each game, which is part of its time: how it plays games as its rules say
    reset    made once and reset for each game, as its documentation shows. Its observation wrapper then keeps the text of
             earlier games and shows it in every prompt, so the figure grows with the games of a round
    -raw     anew, without the wrapper that puts an observation together: lists of new messages instead of a text

Times are CPU time of the process. Rounds alternate, so that a machine whose speed drifts slows all alike.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table

import lmgames
from benchmarks import efficiency
from lmgames.registry import GAMES

Game = Sequence[str]
"""The replies of a game, in order."""


@dataclass(frozen=True)
class Pair:
    """A game that both have, of the same length.

    Args:
        env_id, options: ours.
        peer: TextArena's ID.
    """

    env_id: str
    peer: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        options = ", ".join(f"{name}={value}" for name, value in self.options.items())
        return f"{self.env_id} {options}".strip()


PAIRS = (
    Pair("TicTacToe-v0", "TicTacToe-v0"),
    Pair("KuhnPoker-v0", "KuhnPoker-v0", {"hands": 3}),
    Pair("KuhnPoker-v0", "KuhnPoker-v0-extreme", {"hands": 25}),
    Pair("SimpleNegotiation-v0", "SimpleNegotiation-v0", {"max_turns": 11}),  # TextArena's 10 let 11 pass
)


def draw_game(env: Any, seed: int) -> Game:
    """Random legal replies to the end of the game of a seed."""
    choose = random.Random(seed).choice
    replies: list[str] = []
    env.reset(seed=seed)
    while not env.outcome:
        replies.append(choose(env.infos[env.agent_selection]["action_mask"]))
        env.step(replies[-1])
    return replies


def draw_games(env_id: str, options: Mapping[str, Any], count: int) -> dict[int, Game]:
    """Games by seed."""
    env = lmgames.make(env_id, **options)
    return {seed: draw_game(env, seed) for seed in range(count)}


def play_lmgames(env_id: str, options: Mapping[str, Any], games: Mapping[int, Game]) -> float:
    """CPU microseconds a turn, through the AEC interface."""
    env = lmgames.make(env_id, **options)
    began = time.process_time()
    for seed, replies in games.items():
        reply = iter(replies)
        env.reset(seed=seed)
        for _ in env.agent_iter():
            *_, terminated, truncated, _ = env.last()
            env.step(None if terminated or truncated else next(reply))
    return _us_a_turn(began, games)


def reset_lmgames(env_id: str, options: Mapping[str, Any], games: Mapping[int, Game]) -> float:
    """CPU microseconds a reset."""
    env = lmgames.make(env_id, **options)
    began = time.process_time()
    for seed in games:
        env.reset(seed=seed)
    return 1e6 * (time.process_time() - began) / len(games)


def play_textarena(peer: str, games: Mapping[int, Game], *, anew: bool) -> float:
    """CPU microseconds a turn, in one environment or in one made anew for each game."""
    import textarena

    env = textarena.make(peer)
    began = time.process_time()
    for seed, replies in games.items():
        if anew:
            env = textarena.make(peer)
        env.reset(num_players=2, seed=seed)
        for reply in replies:
            env.get_observation()
            env.step(action=reply)
        env.close()  # gives the rewards
    return _us_a_turn(began, games)


def textarena_takes(peer: str, seed: int, replies: Game) -> bool:
    """Whether TextArena's game of a seed takes the replies as legal moves and ends with the last."""
    import textarena

    env = textarena.make(peer)
    env.reset(num_players=2, seed=seed)
    ended = []
    for reply in replies:
        ended.append(env.step(action=reply)[0])
        if env.state.error_count:
            return False
    return ended == [False] * (len(replies) - 1) + [True]


def _us_a_turn(began: float, games: Mapping[int, Game]) -> float:
    return 1e6 * (time.process_time() - began) / sum(map(len, games.values()))


def alternately(ways: Sequence[Callable[[], float]], rounds: int) -> list[tuple[float, ...]]:
    """What each way gave in each round, by way."""
    return list(zip(*[[way() for way in ways] for _ in range(rounds)], strict=True))


def table_of_all(games: int, rounds: int) -> Table:
    """Microseconds of every game of ours."""
    table = Table(title=f"lmgames, random legal play, {games} games a round, median of {rounds} rounds")
    for column in ("game", "turns a game", "us a turn, all included", "us of that for the reset"):
        table.add_column(column, justify="left" if column == "game" else "right")
    drawn = {env_id: draw_games(env_id, {}, games) for env_id in GAMES}
    ways = [partial(way, env_id, {}, drawn[env_id]) for env_id in GAMES for way in (play_lmgames, reset_lmgames)]
    times = iter([statistics.median(measured) for measured in alternately(ways, rounds)])
    for env_id, turn, reset in zip(GAMES, times, times, strict=True):
        turns = statistics.fmean(map(len, drawn[env_id].values()))
        table.add_row(env_id, f"{turns:.1f}", f"{turn:.0f}", f"{reset / turns:.0f}")
    return table


def compare(pair: Pair, games: int, rounds: int) -> list[str]:
    """The cells of a game's row."""
    drawn = draw_games(pair.env_id, pair.options, games)
    same = {seed: replies for seed, replies in drawn.items() if textarena_takes(pair.peer, seed, replies)}
    ways = [
        lambda: play_lmgames(pair.env_id, pair.options, same),
        lambda: play_textarena(pair.peer, same, anew=True),
        lambda: play_textarena(f"{pair.peer}-raw", same, anew=True),
        lambda: play_textarena(pair.peer, same, anew=False),
    ]
    ours, *theirs = alternately(ways, rounds)
    turns = statistics.fmean(map(len, same.values()))
    cells = [str(pair), str(len(same)), f"{turns:.1f}", f"{statistics.median(ours):.0f}"]
    for times in theirs:
        ratios = [other / mine for mine, other in zip(ours, times, strict=True)]
        cells.append(f"{statistics.median(times):.0f}: {statistics.median(ratios):.2f} ({min(ratios):.2f})")
    return cells


def main(arguments: list[str] | None = None) -> int:
    """Prints the tables; 2 if TextArena is not installed."""
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
    Console().print(table_of_all(known.games, known.rounds))
    try:
        import textarena
    except ImportError:
        print("error: textarena is not installed; pip install 'lmgames[speed]'", file=sys.stderr)
        return 2
    table = Table(
        title=f"the same games in TextArena {textarena.__version__}, {known.rounds} rounds\n"
        "its us a turn: how many times ours that is, median (least) of the rounds"
    )
    for column in ("game", "games", "turns a game", "us a turn", "TextArena, new", "-raw, new", "TextArena, reset"):
        table.add_column(column, justify="left" if column == "game" else "right")
    for pair in PAIRS:
        table.add_row(*compare(pair, known.games, known.rounds))
    Console().print(table)
    return efficiency.main(["--engine", *known.engines]) if known.engines else 0


if __name__ == "__main__":
    sys.exit(main())
