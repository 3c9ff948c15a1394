"""A run on the screen: progress with time left and the figures of the last step; plain lines where there is no terminal."""

import sys
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class RichDisplay:
    """One bar for the warm start, one for self-play.

    Args:
        plain: lines in place of bars; by default where standard output is no terminal.
        every: steps between plain lines.
        quiet: show nothing, as of several processes all but one do.
    """

    def __init__(self, plain: bool | None = None, every: int = 50, quiet: bool = False):
        self.console = Console(quiet=quiet)
        self.plain = not sys.stdout.isatty() if plain is None else plain
        self.every = every
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=self.console,
            disable=self.plain,
        )
        self._tasks: dict[str, Any] = {}
        self._ringing: set[str] = set()  # alarms of the last step

    def __enter__(self) -> "RichDisplay":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def warm_up(self, step: int, total: int, loss: float) -> None:
        """One supervised step is done."""
        self._show("warm start", step, total, f"loss {loss:.3f}")

    def step(self, line: dict[str, Any], total: int) -> None:
        """One line of metrics is written."""
        figures = []
        if "kl" in line:
            figures.append(f"kl {line['kl']:.3f} entropy {line['entropy']:.2f} refused {line['invalid_rate']:.1%}")
        if "nash_conv" in line:
            figures.append(" ".join(f"{name} {value:.3f}" for name, value in line["nash_conv"].items()))
            self._nash_conv = figures[-1]
        elif hasattr(self, "_nash_conv"):
            figures.append(self._nash_conv)
        self._warn(line)
        self._show("self-play", line["step"], total, "; ".join(figures))

    def _warn(self, line: dict[str, Any]) -> None:
        """Skipped steps, and alarms as they go off, are said at once."""
        if "skipped" in line:
            self.console.print(f"step {line['step']} skipped: {line['skipped']}", highlight=False)
        alarms = line.get("alarms", {})
        for name in alarms.keys() - self._ringing:
            self.console.print(f"step {line['step']} alarm: {alarms[name]}", highlight=False)
        self._ringing = set(alarms)

    def _show(self, name: str, done: int, total: int, figures: str) -> None:
        if self.plain:
            if done % self.every == 0 or done == total:
                self.console.print(f"{name} {done}/{total} {figures}", highlight=False)
            return
        if name not in self._tasks:
            self._tasks[name] = self.progress.add_task(name, total=total, figures="")
        self.progress.update(self._tasks[name], completed=done, figures=figures)
