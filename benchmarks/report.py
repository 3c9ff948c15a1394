"""A tournament's table: on the screen, as CSV and as Markdown."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from benchmarks.ratings import Interval, Ratings


@dataclass(frozen=True)
class Line:
    """What the table says of one agent.

    Args:
        name: of the agent.
        rating: Elo points, None without rated games.
        best: probability of the highest rating.
        mean_return: by game, in its unit.
        invalid_rate: refused replies by all replies.
        games: played.
        nash_conv: by game, where the agent's policy is known exactly.
    """

    name: str
    rating: Interval | None
    best: float | None
    mean_return: Mapping[str, Interval]
    invalid_rate: float
    games: int
    nash_conv: Mapping[str, float]


def lines_of(
    names: Sequence[str],
    ratings: Ratings,
    invalid: Mapping[str, tuple[int, int]],
    games: Mapping[str, int],
    nash_convs: Mapping[str, Mapping[str, float]],
) -> list[Line]:
    """The table, best rating first (best mean return of the first game where nothing is rated).

    Args:
        names: of the agents, by index.
        ratings: by index.
        invalid: by name, (refused replies, replies).
        games: by name.
        nash_convs: by name, by game.
    """
    lines = []
    for index, name in enumerate(names):
        refused, replies = invalid.get(name, (0, 0))
        lines.append(
            Line(
                name=name,
                rating=ratings.rating[index] if ratings.rating else None,
                best=ratings.best[index] if ratings.best else None,
                mean_return={game: means[index] for game, means in ratings.mean_return.items()},
                invalid_rate=refused / replies if replies else 0.0,
                games=games.get(name, 0),
                nash_conv=nash_convs.get(name, {}),
            )
        )
    first_game = next(iter(ratings.mean_return))
    return sorted(lines, key=lambda line: (-(line.rating or line.mean_return[first_game]).value, line.name))


def table_rows(lines: Sequence[Line]) -> tuple[list[str], list[list[str]]]:
    """(header, cells) as text, the same for every form of the table."""
    games = list(lines[0].mean_return)
    exact = [game for game in games if any(game in line.nash_conv for line in lines)]
    rated = lines[0].rating is not None
    header = ["agent"] + (["rating", "95 % interval", "P(best)"] if rated else [])
    header += [column for game in games for column in (f"return {game}", "95 % interval")]
    header += ["invalid", "games"] + [f"NashConv {game}" for game in exact]
    rows = []
    for line in lines:
        cells = [line.name]
        if line.rating is not None and line.best is not None:
            cells += [f"{line.rating.value:.0f}", _range(line.rating, 0), f"{line.best:.2f}"]
        for game in games:
            cells += [f"{line.mean_return[game].value:+.3f}", _range(line.mean_return[game], 3)]
        cells += [f"{line.invalid_rate:.1%}", str(line.games)]
        cells += [f"{line.nash_conv[game]:.3f}" if game in line.nash_conv else "" for game in exact]
        rows.append(cells)
    return header, rows


def _range(interval: Interval, digits: int) -> str:
    if math.isnan(interval.low):
        return ""
    return f"{interval.low:.{digits}f} to {interval.high:.{digits}f}"


def as_rich(lines: Sequence[Line], title: str) -> Table:
    """The table for a terminal."""
    header, rows = table_rows(lines)
    table = Table(title=title)
    for number, column in enumerate(header):
        table.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*row)
    return table


def as_csv(lines: Sequence[Line]) -> str:
    """The table as CSV."""
    header, rows = table_rows(lines)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def as_markdown(lines: Sequence[Line]) -> str:
    """The table as Markdown."""
    header, rows = table_rows(lines)
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, rule, *rows]) + "\n"
