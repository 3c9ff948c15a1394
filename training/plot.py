"""Learning curves of one or several runs as a picture."""

from collections.abc import Sequence
from pathlib import Path

from training.checkpoint import read_metrics

CURVES = {"ema": "weight EMA (kept)", "average": "time-average", "last": "last iterate"}


def plot_runs(runs: Sequence[Path], target: Path, *, title: str = "") -> None:
    """NashConv over steps, one panel a run, and the KL, entropy and refused replies of each.

    Args:
        runs: run folders.
        target: picture to write, .png or .svg.

    Raises:
        ValueError: if a run has no metrics.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        2, len(runs), figsize=(4.6 * len(runs) + 1.2, 6.2), squeeze=False, sharex="col", sharey="row"
    )
    for column, run in enumerate(runs):
        lines = read_metrics(run / "metrics.jsonl")
        if not lines:
            raise ValueError(f"{run} has no metrics.jsonl with a whole line")
        exact = [line for line in lines if "nash_conv" in line]
        top, bottom = axes[0, column], axes[1, column]
        for name, label in CURVES.items():
            top.plot([line["step"] for line in exact], [line["nash_conv"][name] for line in exact], label=label)
        top.axhline(11 / 12, color="0.6", linestyle=":", label="uniform play")
        top.set(yscale="log", ylabel="NashConv, chips" if column == 0 else "", title=f"{title} {run.name}".strip())
        top.grid(alpha=0.3, which="both")
        trained = [line for line in lines if "kl" in line]
        steps = [line["step"] for line in trained]
        bottom.plot(steps, [line["kl"] for line in trained], label="KL to magnet, nats a token")
        bottom.plot(steps, [line["entropy"] for line in trained], label="entropy, nats a token")
        bottom.plot(steps, [line["invalid_rate"] for line in trained], label="refused replies, share")
        bottom.set(xlabel="step", ylim=(0, None))
        bottom.grid(alpha=0.3)
    axes[0, 0].legend(fontsize=8)
    axes[1, 0].legend(fontsize=8)
    figure.tight_layout()
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=120)
    plt.close(figure)
