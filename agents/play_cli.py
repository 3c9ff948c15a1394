"""The command line of `agents.play`."""

import argparse
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from agents.human import Human, PlayerLeft
from agents.play import Episode, MatchError, run_matches, schedule, seat_agents
from agents.tables import GameTable, table_of
from agents.usage import Price, Usage, add_episode, read_prices, usage_table
from lmgames.arguments import BAD_USAGE, Parser, count, option
from lmgames.records import GameRecord
from lmgames.registry import GAMES, NAMESPACE, make

FAILED = 1  # exit codes
INTERRUPTED = 130
Z_95 = 1.96
RECORD_BEGINS = b'{"agents":'  # keys are sorted
BLOCK = 1 << 16  # bytes


def main(argv: Sequence[str] | None = None, prog: str = "python -m agents.play") -> int:
    """Returns the exit code: 0, 1 if a match failed, 2 for a wrong name or option, 130 after Ctrl-C."""
    arguments = _parser(prog).parse_args(argv)
    try:
        options = dict(option(text) for text in arguments.option)
        table = table_of(make(arguments.game, **options))
        assert isinstance(table, GameTable)
        seated, made = seat_agents(arguments.agents * _copies(arguments.agents, table), table)
        prices = read_prices(arguments.prices) if arguments.prices else {}
        out = RecordFile(arguments.out) if arguments.out else None
    except (ValueError, OSError) as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return BAD_USAGE
    people = any(isinstance(agent, Human) for agent in seated.values())
    seats = "rotate" if arguments.rotate else "fixed"
    matches = schedule(table.env_id, seated, episodes=arguments.games, seed=arguments.seed, seats=seats, options=options)
    tally = Tally(table.env.game.payoffs, prices)
    try:
        with _progress(arguments.games, quiet=people or arguments.quiet) as advance:
            for episode in run_matches(matches, concurrency=1 if people else arguments.concurrency):
                tally.add(episode)
                if out is not None:
                    assert episode.record is not None
                    out.append(episode.record)
                if people:
                    _tell_result(episode)
                advance()
    except PlayerLeft:
        print("You left the game.")
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return INTERRUPTED
    except MatchError as error:
        for failure in error.failures:
            print(f"{prog}: {failure}", file=sys.stderr)
        return FAILED
    finally:
        print(tally.table())
        if tally.usage:
            print("\n" + tally.usage_table())
        if out is not None:
            out.close()
            print(f"{tally.games} games added to {arguments.out}")
        for agent in made:
            agent.close()
    return 0


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = Parser(prog=prog, description="Games between agents.", allow_abbrev=False)
    parser.add_argument("game", help=f"e.g. {NAMESPACE}/{sorted(GAMES)[0]}")
    parser.add_argument(
        "--agents", nargs="+", required=True, metavar="SPEC", help="one a seat, e.g. random nash:alpha=0.2 hf:PATH human"
    )
    parser.add_argument("--games", type=count, default=1, help="how many (1)")
    parser.add_argument("--seed", type=int, default=0, help="of the first game (0)")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="of the game; may be repeated")
    parser.add_argument("--rotate", action="store_true", help="play every deal once in each rotation of the agents")
    parser.add_argument("--out", type=Path, metavar="FILE.jsonl", help="add a record of each game to this file")
    parser.add_argument("--concurrency", type=count, default=256, help="games at once (256)")
    parser.add_argument("--prices", type=Path, metavar="FILE.toml", help="of tokens, to tell the cost (see docs/agents.md)")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    return parser


def _copies(specs: Sequence[str], table: GameTable) -> int:
    """One agent given for several seats sits in all of them."""
    return len(table.seats) if len(specs) == 1 else 1


def _tell_result(episode: Episode) -> None:
    assert episode.record is not None
    paid = ", ".join(f"{seat} {return_:+g}" for seat, return_ in episode.returns.items())
    print(f"\nGame over ({episode.record.outcome}): {paid}\n")


class RecordFile:
    """A file of game records, one a line, that is only added to: being killed costs at most the line being written.

    What such a death has left of a line at its end is cut off when the file is opened again.

    Raises:
        OSError: if the file cannot be written.
        ValueError: if it holds something else than game records.
    """

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = path.open("a+b")
        try:
            self._check_first_line()
        except ValueError as error:
            self._file.close()
            raise ValueError(f"{path} is no file of game records ({error}); choose another one") from None
        self._file.truncate(self._end_of_last_line())

    def _check_first_line(self) -> None:
        self._file.seek(0)
        first = self._file.readline()
        if first.endswith(b"\n"):
            GameRecord.from_json(first.decode(errors="replace"))
        elif first and not first.startswith(RECORD_BEGINS[: len(first)]):
            raise ValueError("its one line is none")

    def _end_of_last_line(self) -> int:
        position = self._file.seek(0, os.SEEK_END)
        while position > 0:
            block = min(BLOCK, position)
            self._file.seek(position - block)
            found = self._file.read(block).rfind(b"\n")
            if found >= 0:
                return position - block + found + 1
            position -= block
        return 0

    def append(self, record: GameRecord) -> None:
        self._file.write(record.to_json().encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


@dataclass
class Score:
    """Results of one agent in one seat."""

    returns: list[float] = field(default_factory=list)
    wins: int = 0
    draws: int = 0
    losses: int = 0
    replies: int = 0
    refused: int = 0


class Tally:
    """Results by agent and seat.

    Args:
        payoffs: of the game; wins are counted unless it is cooperative.
        prices: of tokens, by agent.
    """

    def __init__(self, payoffs: str, prices: Mapping[str, Price] | None = None):
        self._competitive = payoffs != "cooperative"
        self._prices = prices or {}
        self.usage: dict[tuple[str, str], Usage] = {}
        self._scores: dict[tuple[str, str], Score] = {}
        self.games = 0

    def add(self, episode: Episode) -> None:
        self.games += 1
        add_episode(self.usage, episode)
        for seat, agent in episode.match.agents.items():
            score = self._scores.setdefault((agent.spec or type(agent).__name__, seat), Score())
            score.returns.append(episode.returns[seat])
            best_other = max((paid for other, paid in episode.returns.items() if other != seat), default=-math.inf)
            score.wins += episode.returns[seat] > best_other
            score.draws += episode.returns[seat] == best_other
            score.losses += episode.returns[seat] < best_other
            turns = [step.turn for step in episode.steps if step.turn.seat == seat]
            score.replies += len(turns)
            score.refused += sum(turn.status != "ok" for turn in turns)

    def usage_table(self) -> str:
        """What models cost, "" if none played."""
        return usage_table(self.usage, self._prices)

    def table(self) -> str:
        """Mean returns with 95 % intervals (normal), wins, draws and losses, and the share of refused replies."""
        rows = [("agent", "seat", "games", "mean return", "95 %", "win/draw/loss", "invalid")]
        for (agent, seat), score in sorted(self._scores.items()):
            mean, half = interval(score.returns)
            results = f"{score.wins}/{score.draws}/{score.losses}" if self._competitive else "-"
            invalid = f"{score.refused / score.replies:.1%}" if score.replies else "-"
            row = (agent, seat, str(len(score.returns)), f"{mean:+.3f}", f"± {half:.3f}", results, invalid)
            rows.append(row)
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """(mean, half of the 95 % interval around it, by the normal approximation; nan for fewer than two values)."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, math.nan
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, Z_95 * math.sqrt(variance / len(values))


@contextmanager
def _progress(games: int, *, quiet: bool) -> Iterator[Callable[[], None]]:
    """A bar with the time left on a terminal that rich is installed for; else about ten lines on stderr."""
    if quiet:
        yield lambda: None
    elif sys.stderr.isatty() and (bar := _rich_bar()) is not None:
        with bar:
            task = bar.add_task("games", total=games)
            yield lambda: bar.advance(task)
    else:
        yield _Lines(games)


def _rich_bar() -> Any:
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    except ImportError:
        return None
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True))


class _Lines:
    def __init__(self, games: int):
        self._games = games
        self._done = 0
        self._began = time.monotonic()

    def __call__(self) -> None:
        self._done += 1
        if self._done % max(1, self._games // 10) == 0:
            taken = time.monotonic() - self._began
            left = taken / self._done * (self._games - self._done)
            print(f"{self._done} of {self._games} games, {left:.0f} s left", file=sys.stderr)
