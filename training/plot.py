"""Learning curves of one or several runs as a picture."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.checkpoint import read_metrics

CURVES = {"ema": "weight EMA (kept)", "average": "time-average", "last": "last iterate"}
SMOOTHED = 10  # steps of self-play in a point

Line = Mapping[str, Any]


def plot_runs(runs: Sequence[Path], target: Path, *, title: str = "") -> None:
    """One column a run. NashConv over steps where it is known of all games; else also the games lost to fixed opponents and the
    results of self-play. Below them KL, entropy and refused replies.

    Args:
        runs: run folders.
        target: picture to write, .png or .svg.

    Raises:
        ValueError: if a run has no metrics.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    lines_of = {run: read_metrics(run / "metrics.jsonl") for run in runs}
    for run, lines in lines_of.items():
        if not lines:
            raise ValueError(f"{run} has no metrics.jsonl with a whole line")
    panels = _panels([line for lines in lines_of.values() for line in lines])
    figure, axes = plt.subplots(
        len(panels),
        len(runs),
        figsize=(4.6 * len(runs) + 1.2, 3.1 * len(panels)),
        squeeze=False,
        sharex="col",
        sharey="row",
    )
    for column, (run, lines) in enumerate(lines_of.items()):
        for row, draw in enumerate(panels):
            draw(axes[row, column], lines)
            axes[row, column].grid(alpha=0.3, which="both")
            if column:
                axes[row, column].set(ylabel="")
        axes[0, column].set(title=f"{title} {run.name}".strip())
        axes[-1, column].set(xlabel="step")
    for first in axes[:, 0]:
        if first.get_legend_handles_labels()[1]:
            first.legend(fontsize=8)
    figure.tight_layout()
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=120)
    plt.close(figure)


def _panels(lines: Sequence[Line]) -> list[Callable[[Any, Sequence[Line]], None]]:
    """What there is to draw."""
    known = [line["nash_conv"] for line in lines if "nash_conv" in line]
    if known and "last" in known[0]:  # of one game: all there is to know
        return [_nash_conv, _training]
    panels: list[Callable[[Any, Sequence[Line]], None]] = [_nash_conv] if known else []
    panels += [_against] if any("against" in line for line in lines) else []
    return [*panels, _self_play, _training]


def _nash_conv(axis: Any, lines: Sequence[Line]) -> None:
    exact = [line for line in lines if "nash_conv" in line]
    by_game = [{"": line["nash_conv"]} if "last" in line["nash_conv"] else line["nash_conv"] for line in exact]
    for game in by_game[0] if by_game else ():
        for name, label in CURVES.items():
            values = [found[game][name] for found in by_game]
            axis.plot([line["step"] for line in exact], values, label=f"{game} {label}".strip())
    axis.axhline(11 / 12, color="0.6", linestyle=":", label="uniform play in Kuhn Poker")
    axis.set(yscale="log", ylabel="NashConv, chips")


def _against(axis: Any, lines: Sequence[Line]) -> None:
    """The share lost, or the mean return in games that nobody loses."""
    played = [(line["step"], dict(_results(line["against"]))) for line in lines if "against" in line]
    loses = any(summary["lost"] for _, found in played for summary in found.values())
    for name in played[0][1] if played else ():
        values = [found[name]["lost" if loses else "mean"] for _, found in played]
        axis.plot([step for step, _ in played], values, marker=".", label=name)
    axis.set(ylabel="games lost, share" if loses else "mean return", ylim=(0, None))


def _results(against: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, Mapping[str, float]]]:
    """("OPPONENT, ROLE" with the game before it if there are several, summary)."""
    for key, inner in against.items():
        joined = f"{name}, {key}" if name else f"v {key}"
        if "lost" in inner:
            yield joined, inner
        else:
            yield from _results(inner, joined)


def _self_play(axis: Any, lines: Sequence[Line]) -> None:
    played = [line for line in lines if "return" in line]
    roles = sorted({role for line in played for role in line["return"]})
    for number, role in enumerate(roles):
        for key, style, label in (("return", "-", "mean return"), ("won", "--", "paid more than 0, share")):
            points = [(line["step"], line[key][role]) for line in played if role in line[key]]
            steps, values = _smoothed(points)
            axis.plot(steps, values, style, color=f"C{number}", label=f"{role}: {label}")
    axis.set(ylabel=f"self-play, means of {SMOOTHED} steps")


def _smoothed(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    """(last step, mean) of every `SMOOTHED` points."""
    parts = [points[first : first + SMOOTHED] for first in range(0, len(points), SMOOTHED)]
    return [part[-1][0] for part in parts], [sum(value for _, value in part) / len(part) for part in parts]


def _training(axis: Any, lines: Sequence[Line]) -> None:
    trained = [line for line in lines if "kl" in line]
    steps = [line["step"] for line in trained]
    axis.plot(steps, [line["kl"] for line in trained], label="KL to magnet, nats a token")
    axis.plot(steps, [line["entropy"] for line in trained], label="entropy, nats a token")
    axis.plot(steps, [line["invalid_rate"] for line in trained], label="refused replies, share")
    axis.set(ylim=(0, None))
