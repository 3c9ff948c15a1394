"""Pictures of a tournament, drawn by hand as inline SVG: they need nothing, print well and can be copied into a paper."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

INK, FAINT, GRID, BLUE, ORANGE, GREEN, RED = "#1c2733", "#6b7785", "#e3e8ee", "#1f6fb4", "#d9822b", "#3a9a5b", "#c8442e"
ROW = 24  # pixels
CHAR = 6.6  # pixels, mean width of a character at 12 px
MAX_LABEL = 30  # characters


@dataclass
class Drawing:
    """An SVG under construction; coordinates in pixels, y downwards."""

    width: float
    height: float
    title: str
    parts: list[str] = field(default_factory=list)

    def line(self, x1: float, y1: float, x2: float, y2: float, colour: str = GRID, width: float = 1, dash: str = "") -> None:
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"{dashes}/>'
        )

    def rect(self, x: float, y: float, width: float, height: float, fill: str, hint: str = "", opacity: float = 1.0) -> None:
        told = f"<title>{escape(hint)}</title>" if hint else ""
        shape = f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(0.0, width):.1f}" height="{height:.1f}" fill="{fill}"'
        shape += f' fill-opacity="{opacity:.3f}"' if opacity < 1 else ""
        self.parts.append(f"{shape}>{told}</rect>" if told else f"{shape}/>")

    def dot(self, x: float, y: float, radius: float, fill: str, stroke: str, hint: str = "") -> None:
        told = f"<title>{escape(hint)}</title>" if hint else ""
        self.parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}" stroke="{stroke}" stroke-width="1.6">{told}</circle>'
        )

    def text(
        self,
        x: float,
        y: float,
        words: str,
        anchor: str = "start",
        colour: str = INK,
        size: float = 12,
        turn: float = 0,
        halo: bool = False,
    ) -> None:
        around = ' stroke="#fff" stroke-width="3" paint-order="stroke"' if halo else ""
        turned = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}"{turned}{around}>'
            f"{escape(words)}</text>"
        )

    def __str__(self) -> str:
        return (
            f'<svg viewBox="0 0 {self.width:.0f} {self.height:.0f}" width="{self.width:.0f}" role="img" '
            f'aria-label="{escape(self.title, quote=True)}">{"".join(self.parts)}</svg>'
        )


@dataclass(frozen=True)
class Mark:
    """A point with its interval in a forest plot: a dict with "value", "low", "high", or None to leave it out."""

    interval: Mapping[str, Any] | None
    hollow: bool = False
    hint: str = ""


def short(name: str) -> str:
    """A name that fits into a margin."""
    return name if len(name) <= MAX_LABEL else name[: MAX_LABEL - 1] + "…"


def margin(names: Sequence[str]) -> float:
    """Width of the longest label."""
    return max((len(short(name)) for name in names), default=0) * CHAR + 14


def ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round numbers from `low` to `high`."""
    if high <= low:
        high = low + 1.0
    step = 10 ** math.floor(math.log10((high - low) / about))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= about)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def tick_text(value: float) -> str:
    return f"{value + 0.0:.6g}"


def forest(
    rows: Sequence[tuple[str, Sequence[Mark]]],
    title: str,
    axis: str,
    width: float = 720,
    ceiling: float | None = None,
    notes: Sequence[str] = (),
) -> str:
    """Estimates with their intervals, one row an agent.

    Args:
        rows: (name, marks); the second mark is drawn a little lower.
        axis: label.
        ceiling: value of a dashed line.
        notes: text at the right end of each row.
    """
    left, right = margin([name for name, _ in rows]), (max((len(note) for note in notes), default=0) * CHAR + 16)
    values = [mark.interval for _, marks in rows for mark in marks if mark.interval is not None]
    ends = [each[key] for each in values for key in ("value", "low", "high") if each[key] is not None]
    ends += [0.0] + ([ceiling] if ceiling is not None else [])
    shown = [each["value"] for each in values if each["value"] is not None]
    low, high = _span_of(ends, [0.0, *shown] + ([ceiling] if ceiling is not None else []))
    pad = 0.04 * (high - low or 1.0)
    low, high = low - pad, high + pad
    height = ROW * len(rows) + 48
    drawing = Drawing(width, height, title)
    inner = width - left - right

    def x_of(value: float) -> float:
        return left + (value - low) / (high - low) * inner

    bottom = ROW * len(rows) + 8
    for tick in ticks(low, high):
        drawing.line(x_of(tick), 6, x_of(tick), bottom, GRID if abs(tick) > 1e-12 else "#b9c3ce")
        drawing.text(x_of(tick), bottom + 15, tick_text(tick), "middle", FAINT, 11)
    drawing.text(left + inner / 2, bottom + 33, axis, "middle", FAINT, 11.5)
    if ceiling is not None:
        drawing.line(x_of(ceiling), 2, x_of(ceiling), bottom, ORANGE, 1.2, "5 4")
    for number, (name, marks) in enumerate(rows):
        y = 8 + ROW * number + ROW / 2
        drawing.text(left - 8, y + 4, short(name), "end")
        for place, mark in enumerate(marks):
            if mark.interval is None or mark.interval["value"] is None:
                continue
            at = y + (place - (len(marks) - 1) / 2) * 8
            colour = FAINT if mark.hollow else BLUE
            if mark.interval["low"] is not None:
                begin, end = max(low, mark.interval["low"]), min(high, mark.interval["high"])
                drawing.line(x_of(begin), at, x_of(end), at, colour, 1.3 if mark.hollow else 2)
                for cut, turn in ((mark.interval["low"] < low, -1), (mark.interval["high"] > high, 1)):
                    if cut:  # it goes on outside
                        tip = x_of(low if turn < 0 else high)
                        drawing.line(tip - 5 * turn, at - 4, tip, at, colour, 1.5)
                        drawing.line(tip - 5 * turn, at + 4, tip, at, colour, 1.5)
            drawing.dot(
                x_of(mark.interval["value"]),
                at,
                3.2 if mark.hollow else 4,
                "#fff" if mark.hollow else BLUE,
                colour,
                mark.hint,
            )
        if notes:
            drawing.text(width - right + 10, y + 4, notes[number], "start", FAINT, 11.5)
    return str(drawing)


def _span_of(ends: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """What an axis shows: all intervals, but of those that say little no more than the span of the values on either side."""
    low, high = min(ends), max(ends)
    reach = max(values) - min(values)
    if reach:
        low, high = max(low, min(values) - reach), min(high, max(values) + reach)
    return low, high


def heat_map(
    names: Sequence[str], cells: Sequence[Sequence[float | None]], title: str, digits: int = 2, middle: float = 0.0
) -> str:
    """What the row's agent gets against the column's: blue above the middle of the scale, orange below."""
    left, side = margin(names), max(26.0, min(52.0, 620 / max(1, len(names))))
    count = len(names)
    top = min(150.0, margin(names) * 0.72 + 12)
    drawing = Drawing(left + side * count + top * 0.9, top + side * count + 10, title)
    known = [abs(value - middle) for row in cells for value in row if value is not None]
    scale = max(known, default=0.0) or 1.0
    write = side >= 30
    for number, name in enumerate(names):
        drawing.text(left - 8, top + side * (number + 0.5) + 4, short(name), "end")
        drawing.text(left + side * (number + 0.5) + 3, top - 7, short(name), "start", INK, 12, -42)
        for other, value in enumerate(cells[number]):
            x, y = left + side * other, top + side * number
            if value is None:
                drawing.rect(x, y, side - 1, side - 1, FAINT, opacity=0.1)
                continue
            strength = (value - middle) / scale
            hint = f"{name} against {names[other]}: {value:+.3f}"
            colour = (
                BLUE if strength >= 0 else ORANGE
            )  # over the page's own ground: white at 0 on paper, dark on a dark page
            drawing.rect(x, y, side - 1, side - 1, colour, hint, opacity=min(1.0, abs(strength)))
            if write:
                colour = "#ffffff" if strength > 0.62 else INK
                words = f"{value:.{digits}f}"
                drawing.text(x + side / 2 - 0.5, y + side / 2 + 4, words, "middle", colour, 11 if len(words) < 6 else 9.5)
    return str(drawing)


def bars(rows: Sequence[tuple[str, Sequence[tuple[float, str, str]]]], title: str, width: float = 720) -> str:
    """Stacked shares, one row an agent: (share, colour, what it is)."""
    left = margin([name for name, _ in rows])
    right = 62.0
    drawing = Drawing(width, ROW * len(rows) + 30, title)
    inner = width - left - right
    for number, (name, shares) in enumerate(rows):
        y = 4 + ROW * number
        drawing.text(left - 8, y + ROW / 2 + 4, short(name), "end")
        x = left
        for amount, colour, what in shares:
            drawing.rect(x, y + 4, inner * amount, ROW - 8, colour, f"{name}: {what} {amount:.1%}")
            x += inner * amount
        drawing.text(width - right + 8, y + ROW / 2 + 4, f"{shares[0][0]:.1%}", "start", FAINT, 11.5)
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        drawing.text(left + inner * tick, ROW * len(rows) + 20, f"{tick:.0%}", "middle", FAINT, 11)
    return str(drawing)


def scatter(
    points: Sequence[tuple[str, float, Mapping[str, Any]]], title: str, x_axis: str, y_axis: str, width: float = 720
) -> str:
    """Rating against cost: (name, cost, interval of the rating). The line joins those that nobody beats at no more cost."""
    left, bottom, height = 64.0, 44.0, 340.0
    costs = [cost for _, cost, _ in points]
    lows = [interval["low"] if interval["low"] is not None else interval["value"] for _, _, interval in points]
    highs = [interval["high"] if interval["high"] is not None else interval["value"] for _, _, interval in points]
    x_low, x_high = 0.0, max(costs, default=1.0) * 1.18 or 1.0
    if min(costs, default=0.0) > x_high / 2:  # nothing to see between 0 and the cheapest
        x_low = min(costs) - 0.25 * (max(costs) - min(costs) or 1.0)
        x_high = max(costs) + 0.4 * (max(costs) - min(costs) or 1.0)
    y_low, y_high = _span_of([0.0, *lows, *highs], [0.0, *(interval["value"] for _, _, interval in points)])
    pad = 0.06 * (y_high - y_low or 1.0)
    y_low, y_high = y_low - pad, y_high + pad
    drawing = Drawing(width, height, title)

    def x_of(value: float) -> float:
        return left + (value - x_low) / (x_high - x_low) * (width - left - 20)

    def y_of(value: float) -> float:
        return 10 + (y_high - value) / (y_high - y_low) * (height - bottom - 10)

    for tick in ticks(y_low, y_high):
        drawing.line(left, y_of(tick), width - 20, y_of(tick))
        drawing.text(left - 8, y_of(tick) + 4, tick_text(tick), "end", FAINT, 11)
    for tick in ticks(x_low, x_high):
        drawing.text(x_of(tick), height - bottom + 18, tick_text(tick), "middle", FAINT, 11)
    drawing.text(left + (width - left - 20) / 2, height - 6, x_axis, "middle", FAINT, 11.5)
    drawing.text(16, 10 + (height - bottom) / 2, y_axis, "middle", FAINT, 11.5, -90)
    best = -math.inf
    front = []
    for name, cost, interval in sorted(points, key=lambda point: (point[1], -point[2]["value"])):
        if interval["value"] > best:
            best = interval["value"]
            front.append((x_of(cost), y_of(interval["value"]), name))
    for (x1, y1, _), (x2, y2, _) in itertools.pairwise(front):
        drawing.line(x1, y1, x2, y2, ORANGE, 1.4, "5 4")
    taken: list[tuple[float, float, float]] = []
    for name, cost, interval in sorted(points, key=lambda point: -point[2]["value"]):
        x, y = x_of(cost), y_of(interval["value"])
        if interval["low"] is not None:
            drawing.line(x, y_of(max(y_low, interval["low"])), x, y_of(min(y_high, interval["high"])), BLUE, 1.6)
        drawing.dot(x, y, 4, BLUE, BLUE, f"{name}: {interval['value']:.0f} at {cost:.4g}")
        label, at = short(name), y + 4
        size = len(label) * CHAR
        to_left = x + 9 + size > width - 4
        start = x - 9 - size if to_left else x + 9
        while any(abs(at - other) < 12 and start < end and begin < start + size for begin, end, other in taken):
            at += 12
        taken.append((start, start + size, at))
        drawing.text(x - 9 if to_left else x + 9, at, label, "end" if to_left else "start", INK, 11.5, halo=True)
    return str(drawing)
