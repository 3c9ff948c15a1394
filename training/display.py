"""A run on the screen: progress with time left and the figures that matter; plain lines where there is no terminal."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

LONG_TABLE = 8  # lines of one kind, more are left out


class RichDisplay:
    """A bar for the warm start, one for self-play, and a table of the last figures under them.

    Args:
        plain: lines in place of it; by default where standard output is no terminal.
        every: steps between plain lines.
        quiet: show nothing, as of several processes all but one do.
        console: to show it on.
    """

    def __init__(self, plain: bool | None = None, every: int = 50, quiet: bool = False, console: Console | None = None):
        self.console = console or Console(quiet=quiet)
        self.plain = not sys.stdout.isatty() if plain is None else plain
        self.every = every
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=self.console,
        )
        self._live = Live(self._progress, console=self.console, refresh_per_second=4)
        self._tasks: dict[str, Any] = {}
        self._last: dict[str, Any] = {}  # newest value of each figure: not every line has all
        self._ringing: set[str] = set()  # alarms of the last step

    def __enter__(self) -> "RichDisplay":
        if not self.plain:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self.plain:
            self._live.stop()

    def warm_up(self, step: int, total: int, loss: float) -> None:
        """One supervised step is done."""
        self._show("warm start", step, total, f"loss {loss:.3f}")

    def step(self, line: dict[str, Any], total: int) -> None:
        """One line of metrics is written."""
        self._last |= line
        self._warn(line)
        self._show("self-play", line["step"], total, "" if not self.plain else "; ".join(self._summary()))
        if not self.plain:
            self._live.update(Group(self._progress, figures(self._last)))

    def _summary(self) -> Iterator[str]:
        """The few figures of a plain line."""
        last = self._last
        if "entropy" in last:
            yield f"kl {last['kl']:.3f} entropy {last['entropy']:.2f} refused {last['invalid_rate']:.1%}"
        for game, found in _by_game(last.get("nash_conv", {})):
            yield f"{game} ".lstrip() + " ".join(f"{kind} {value:.3f}" for kind, value in found.items())

    def _warn(self, line: dict[str, Any]) -> None:
        """Skipped steps, and alarms as they go off, are said at once."""
        if "skipped" in line:
            self.console.print(f"step {line['step']} skipped: {line['skipped']}", highlight=False, soft_wrap=True)
        alarms = line.get("alarms", {})
        for name in alarms.keys() - self._ringing:
            self.console.print(f"step {line['step']} alarm: {alarms[name]}", highlight=False, soft_wrap=True)
        self._ringing = set(alarms)

    def _show(self, name: str, done: int, total: int, text: str) -> None:
        if self.plain:
            if done % self.every == 0 or done == total:
                self.console.print(f"{name} {done}/{total} {text}".rstrip(), highlight=False, soft_wrap=True)
            return
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total, figures="")
        self._progress.update(self._tasks[name], completed=done, figures=text)


def figures(line: Mapping[str, Any]) -> Table:
    """The figures of a step that matter, as lines of a small table."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim", justify="right")
    table.add_column()
    for game, found in _by_game(line.get("nash_conv", {})):
        table.add_row(f"NashConv {game}".rstrip(), "   ".join(f"{kind} {value:.3f}" for kind, value in found.items()))
    for label, text in list(_strength(line))[:LONG_TABLE]:
        table.add_row(label, text)
    if "return" in line:
        table.add_row("return", "   ".join(f"{role} {value:+.2f}" for role, value in line["return"].items()))
    if "entropy" in line:
        table.add_row("policy", f"entropy {line['entropy']:.3f}   kl {line['kl']:.3f}   gradient {line['grad_norm']:.2g}")
    if "reply_tokens" in line:
        cut = f"   cut off {line['truncated_rate']:.1%}" if line["truncated_rate"] else ""
        old = f"   {line['staleness']['max']:g} steps old at most" if line.get("staleness", {}).get("max") else ""
        kinds = ", ".join(f"{kind} {share:.1%}" for kind, share in line.get("invalid", {}).items() if share)
        refused = f"refused {line['invalid_rate']:.1%}" + (f" ({kinds})" if kinds else "")
        table.add_row("replies", f"{line['reply_tokens']:.1f} tokens   {refused}{cut}{old}")
    if "step" in line.get("seconds", {}):
        seconds = line["seconds"]
        parts = "   ".join(
            f"{name} {seconds[name]:.2f}" for name in ("generate", "env", "wait", "train", "sync", "evaluate")
        )
        table.add_row("a step", f"{seconds['step']:.2f} s: {parts}")
    if "rollout" in line:
        rollout = line["rollout"]
        efficiency = f" (efficiency {rollout['efficiency']:.0%})" if "efficiency" in rollout else ""
        table.add_row(
            "engine",
            f"{rollout['tokens_per_second']:,.0f} tokens/s{efficiency}   {rollout['live_games']:.0f} games at once   "
            f"{rollout['tokens_trained']:.0%} of the tokens learnt from   {line['peak_memory']['cpu']:,.0f} MB at most",
        )
    return table


def _by_game(found: Mapping[str, Any]) -> list[tuple[str, Mapping[str, float]]]:
    """(game, values); the game is "" where a run plays one."""
    if any(isinstance(value, Mapping) for value in found.values()):
        return list(found.items())
    return [("", found)] if found else []


def _strength(line: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(opponent, mean return by role)."""
    against = line.get("against", {})
    several = any(isinstance(value, Mapping) and "mean" not in value for who in against.values() for value in who.values())
    for game, of_game in against.items() if several else [("", against)]:
        for who, roles in of_game.items():
            shown = (f"{role} {_with_error(found)}" for role, found in roles.items())
            yield f"{game} against {who}".strip(), "   ".join(shown)


def _with_error(found: Mapping[str, float]) -> str:
    error = f" ± {found['standard_error']:.2f}" if "standard_error" in found else ""
    return f"{found['mean']:+.2f}{error}"
