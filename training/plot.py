"""Learning curves of runs as a picture: a panel for each thing to watch, a column for each run where there are several."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.checkpoint import read_metrics

Line = Mapping[str, Any]
Curves = dict[str, tuple[list[float], list[float]]]
"""Label -> (steps, values)."""

MANY = 40  # points, above which a curve is drawn with its running mean
KINDS = {"ema": "weight EMA (kept)", "average": "time-average", "last": "last iterate"}
ENGINE = {"efficiency": "efficiency", "occupancy": "occupancy", "tokens_saved": "not computed: known or shared"}
TIMES = ("generate", "env", "wait", "train", "sync", "evaluate")


@dataclass(frozen=True)
class Panel:
    """One thing to watch.

    Args:
        title, unit: of the panel and of its vertical axis.
        curves: of the lines of a run; {} leaves the panel out.
        log: logarithmic axis.
        noisy: figures of single steps, drawn faintly with their running mean.
        stacked: areas on each other.
        zero: the axis has 0 on it.
    """

    title: str
    unit: str
    curves: Callable[[Sequence[Line]], Curves]
    log: bool = False
    noisy: bool = False
    stacked: bool = False
    zero: bool = True


def _nested(line: Line, name: str) -> Iterator[tuple[str, float]]:
    """("a/b", value) of every number under a name, however deep."""
    found = line.get(name, {})
    if isinstance(found, int | float):
        yield "", float(found)
        return
    pending: list[tuple[str, Any]] = [(str(key), value) for key, value in found.items()]
    while pending:
        path, value = pending.pop(0)
        if isinstance(value, Mapping):
            pending += [(f"{path}/{key}", inner) for key, inner in value.items()]
        elif isinstance(value, int | float):
            yield path, float(value)


def _collected(lines: Sequence[Line], found: Callable[[Line], Iterator[tuple[str, float]]]) -> Curves:
    curves: Curves = {}
    for line in lines:
        for label, value in found(line):
            steps, values = curves.setdefault(label, ([], []))
            steps.append(line["step"])
            values.append(value)
    return curves


def _nash_conv(lines: Sequence[Line]) -> Curves:
    def found(line: Line) -> Iterator[tuple[str, float]]:
        for path, value in _nested(line, "nash_conv"):
            *game, kind = path.split("/")
            yield " ".join([*game, KINDS.get(kind, kind)]), value

    return _collected(lines, found)


def _against(lines: Sequence[Line]) -> Curves:
    """Mean return against each opponent, by role."""

    def found(line: Line) -> Iterator[tuple[str, float]]:
        for path, value in _nested(line, "against"):
            if path.endswith("/mean"):
                *where, role, _ = path.split("/")
                yield f"{' '.join(where)}, as {role}", value

    return _collected(lines, found)


def _named(**names: str) -> Callable[[Sequence[Line]], Curves]:
    """Curves of figures at the top of a line, by label."""
    by_label = {label: name for name, label in names.items()}
    return lambda lines: _collected(lines, lambda line: ((s, float(line[n])) for s, n in by_label.items() if n in line))


def _engine(lines: Sequence[Line]) -> Curves:
    """How well the engine was used; of runs that can tell."""

    def found(line: Line) -> Iterator[tuple[str, float]]:
        rollout = line.get("rollout", {})
        return ((label, float(rollout[name])) for name, label in ENGINE.items() if name in rollout)

    return _collected(lines, found)


def _times(lines: Sequence[Line]) -> Curves:
    """Seconds of each part; 0 where a step has none of it. Of games played ahead, beside the steps, only what was waited for."""
    timed = [line["seconds"] | {"of": line["step"]} for line in lines if "train" in line.get("seconds", {})]
    parts = {name: [seconds.get(name, 0.0) for seconds in timed] for name in TIMES}
    if sum(map(sum, parts.values())) > 1.05 * sum(seconds.get("step", math.inf) for seconds in timed):
        del parts["generate"], parts["env"]
    return {name: ([seconds["of"] for seconds in timed], values) for name, values in parts.items()} if timed else {}


def _without_ever_full(curves: Curves) -> Curves:
    """Shares that are all of it at every step say nothing: a model that never thinks."""
    return {label: (steps, values) for label, (steps, values) in curves.items() if min(values) < 1}


PANELS = [
    Panel("NashConv", "in the game's unit", _nash_conv, log=True),
    Panel("against fixed players", "mean return", _against, zero=False),
    Panel(
        "return by role",
        "mean return, learner's games",
        lambda lines: _collected(lines, lambda line: _nested(line, "return")),
        noisy=True,
        zero=False,
    ),
    Panel(
        "entropy, KL",
        "nats a token",
        _named(entropy="entropy", kl="KL to the magnet", mismatch_k3="sampler to trainer"),
        noisy=True,
    ),
    Panel(
        "replies",
        "share",
        lambda lines: _without_ever_full(
            _named(invalid_rate="refused", truncated_rate="cut off", empty_thinking="without thinking")(lines)
        ),
        noisy=True,
    ),
    Panel(
        "reply length", "tokens", _named(reply_tokens="mean", reply_median="median", reply_p95="95th percentile"), noisy=True
    ),
    Panel("engine in self-play", "share", _engine, noisy=True),
    Panel("where a step's time goes", "seconds", _times, stacked=True),
]


def plot_runs(runs: Sequence[Path], target: Path, *, title: str = "") -> None:
    """Draws runs: one as a grid of panels, several side by side with the same axes.

    Args:
        runs: run folders.
        target: picture to write, .png, .svg or .pdf.

    Raises:
        ValueError: if a run has no metrics, there is nothing to draw yet, or the picture's kind is not known.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    lines = {run: read_metrics(run / "metrics.jsonl") for run in runs}
    for run, found in lines.items():
        if not found:
            raise ValueError(f"{run} has no metrics.jsonl with a whole line; is it the folder of a run?")
    if target.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise ValueError(f"{target}: pictures are .png, .svg or .pdf")
    panels = [panel for panel in PANELS if any(panel.curves(found) for found in lines.values())]
    if not panels:
        raise ValueError(f"{', '.join(map(str, runs))}: nothing to draw before the first step")
    one = len(runs) == 1
    columns = min(3, len(panels)) if one else len(runs)
    rows = math.ceil(len(panels) / columns) if one else len(panels)
    size = (4.9 * columns, 3.1 * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, sharey=False if one else "row")
    for place, panel in enumerate(panels):
        for column, run in enumerate(runs):
            axis = axes[divmod(place, columns)] if one else axes[place, column]
            _draw(axis, panel, panel.curves(lines[run]))
            if not one:
                axis.set_title(f"{run.name}: {panel.title}", fontsize=9)
    for empty in list(axes.flat)[len(panels) :] if one else []:
        empty.axis("off")
    if title or one:
        figure.suptitle(f"{title} {runs[0].name if one else ''}".strip(), fontsize=12)
    figure.tight_layout()
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=110)
    plt.close(figure)


def _draw(axis: Any, panel: Panel, curves: Curves) -> None:
    if panel.stacked and curves:
        steps = next(iter(curves.values()))[0]
        axis.stackplot(steps, [_smooth(values) for _, values in curves.values()], labels=list(curves), alpha=0.85)
    for label, (steps, values) in ({} if panel.stacked else curves).items():
        if panel.noisy and len(values) > MANY:
            (faint,) = axis.plot(steps, values, alpha=0.22, linewidth=0.8)
            axis.plot(steps, _smooth(values), color=faint.get_color(), label=label)
        else:
            axis.plot(steps, values, label=label, marker="." if len(values) <= MANY else "", markersize=4)
    axis.set_title(panel.title, fontsize=10)
    axis.set_xlabel("step", fontsize=8)
    axis.set_ylabel(panel.unit, fontsize=8)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.3, which="both" if panel.log else "major")
    if panel.log and curves:
        axis.set_yscale("log")
    elif panel.zero and curves:
        axis.set_ylim(bottom=0)
    if curves:
        axis.legend(fontsize=7, framealpha=0.6)


def _smooth(values: Sequence[float]) -> list[float]:
    """Mean over a window of a twentieth of the run around each step."""
    half = len(values) // 40
    windows = (values[max(0, place - half) : place + half + 1] for place in range(len(values)))
    return [sum(window) / len(window) for window in windows]
