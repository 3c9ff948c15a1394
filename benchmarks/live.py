"""What a tournament shows while it runs: a live table on a terminal, plain lines elsewhere."""

import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from benchmarks.ratings import Interval, rate
from benchmarks.results import Result, as_played, complete
from benchmarks.schedule import GameSpec, stake_of
from benchmarks.tournament import Progress

PLAIN_EVERY = 10.0  # seconds between lines
LEAST_PAUSE = 1.0  # seconds between refits
SHARE_OF_TIME = 0.1  # that refits may take


class Display(Protocol):
    """Told of every game."""

    def __enter__(self) -> "Display": ...

    def __exit__(self, *error: Any) -> None: ...

    def update(self, progress: Progress) -> None:
        """Called after every game."""


def make_display(names: Sequence[str], games: Sequence[GameSpec], quiet: bool) -> Display:
    """The display for where output goes."""
    if quiet:
        return Quiet()
    return LiveTable(names, games) if sys.stdout.isatty() else PlainLines()


class Quiet:
    """Shows nothing."""

    def __enter__(self) -> "Quiet":
        return self

    def __exit__(self, *error: Any) -> None:
        return None

    def update(self, progress: Progress) -> None:
        return None


class PlainLines(Quiet):
    """A line now and then."""

    def __init__(self) -> None:
        self._next = 0.0

    def update(self, progress: Progress) -> None:
        if time.monotonic() >= self._next or (progress.done == progress.total and progress.result is not None):
            self._next = time.monotonic() + PLAIN_EVERY
            print(summary(progress), flush=True)


class LiveTable(Quiet):
    """Games, wins, ratings whose intervals shrink, tokens a second, money and the time that is left.

    Args:
        names: of the agents.
        games: played.
    """

    def __init__(self, names: Sequence[str], games: Sequence[GameSpec], console: Console | None = None):
        self.names = sorted(names)
        self.zero_sum = {game.name for game in games if game.rules().payoffs == "zero_sum"}
        self.stakes = {game.name: stake_of(game) for game in games}
        self.results: list[Result] = []
        self.tally: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        self.ratings: dict[str, Interval] = {}
        self._refit_at = 0.0
        self._last: Progress | None = None
        self._live = Live(console=console, refresh_per_second=4)

    def __enter__(self) -> "LiveTable":
        self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._last is not None:
            self._draw(self._last)
        self._live.__exit__(*error)

    def update(self, progress: Progress) -> None:
        self._last = progress
        if progress.result is not None:
            self._count(progress.result)
        if time.monotonic() >= self._refit_at:
            began = time.monotonic()
            self._draw(progress)
            took = time.monotonic() - began
            self._refit_at = time.monotonic() + max(LEAST_PAUSE, took / SHARE_OF_TIME)

    def _draw(self, progress: Progress) -> None:
        self._refit()
        self._live.update(Group(self.table(), Text(summary(progress))))

    def _count(self, result: Result) -> None:
        self.results.append(result)
        if result.game in self.zero_sum:
            best = max(result.returns.values())
            tied = min(result.returns.values()) == best
            for seat, name in result.seats.items():
                self.tally[name][1 if tied else 0 if result.returns[seat] == best else 2] += 1

    def _refit(self) -> None:
        index = {name: place for place, name in enumerate(self.names)}
        blocks = complete(result for result in self.results if result.game in self.zero_sum)
        played = [as_played(result, index) for members in blocks.values() for result in members]
        if played:
            fit = rate(played, len(self.names), anchor=index.get("random"), stakes=self.stakes, resamples=0)
            self.ratings = dict(zip(self.names, fit.rating, strict=True))

    def table(self) -> Table:
        """The table as it stands."""
        table = Table()
        for column in ("agent", "won", "drawn", "lost", "rating", "95 %"):
            table.add_column(column, justify="left" if column == "agent" else "right")
        nothing = Interval(0.0)
        for name in sorted(self.names, key=lambda name: -self.ratings.get(name, nothing).value):
            won, drawn, lost = self.tally[name]
            rating = self.ratings.get(name)
            cells = ["", ""] if rating is None else [f"{rating.value:.0f}", ""]
            if rating is not None and rating.low < rating.high:
                cells[1] = f"{rating.low:.0f} to {rating.high:.0f}"
            table.add_row(name, str(won), str(drawn), str(lost), *cells)
        return table


def summary(progress: Progress) -> str:
    """One line."""
    spent = progress.spent
    seconds = max(1e-9, time.monotonic() - spent.began)
    parts = [f"{progress.done} of {progress.total} games"]
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    if spent.games:
        left = (progress.total - progress.done) * seconds / spent.games
        parts.append(f"{spent.games / seconds:.1f} games/s, {left / 60:.1f} minutes left")
    if spent.tokens:
        parts.append(f"{spent.tokens / seconds:.0f} tokens/s")
    if spent.usd:
        parts.append(f"{spent.usd:.2f} USD")
    return "; ".join(parts)
