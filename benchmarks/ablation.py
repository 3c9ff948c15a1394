"""Does role conditioning pay? The baselines of `training.advantages` compared on games whose roles are paid alike and unlike.

    python -m benchmarks.ablation variance     noise of advantages and of gradients, all baselines on the same games
    python -m benchmarks.ablation strength     training runs that differ in the baseline alone, at equal games and tokens
    python -m benchmarks.ablation picture      both as one picture

Every table is printed, and written to OUT/variance.csv and OUT/strength.csv. A command that was stopped is gone on with. The
policy is the tiny model after its warm start on random legal play, a different one for each seed; arenas that read alike share it.

Taxed Kuhn is Kuhn Poker in which the seat that acts first is paid 2 chips by the other after every hand: the strategies are those
of Kuhn Poker, and so is NashConv, but the means of the roles differ by 4 chips by construction.
"""

import argparse
import csv
import dataclasses
import io
import math
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import stats

from lmgames.games.kuhn_poker import KuhnPoker, KuhnState
from lmgames.registry import register
from training import loss as losses
from training.checkpoint import read_metrics, write_file, write_folder
from training.config import Config, load_config
from training.credit import Credit, make_baseline
from training.display import RichDisplay
from training.network import Network, predict
from training.rollout import collect
from training.samples import Row, make_batch
from training.train import Run, new_run, train
from training.warmup import warm_up

Floats = NDArray[np.float64]
BASELINES = ("none", "global", "role_ema", "role_loo", "seed_role_loo")
DRAWS = 2000  # of the bootstrap
ROWS_AT_ONCE = 256  # of a forward pass


@dataclass(frozen=True, kw_only=True)
class TaxedKuhn(KuhnPoker):
    """Kuhn Poker with a payment from the one seat to the other at the end.

    Args:
        tax: chips that the role `first` gets from the role `second`.
    """

    tax: int = 2

    name: ClassVar[str] = "TaxedKuhn"

    @property
    def return_bounds(self) -> tuple[float, float]:
        low, high = super().return_bounds
        return low - abs(self.tax), high + abs(self.tax)

    def returns(self, state: KuhnState) -> dict[str, float]:
        paid = super().returns(state)
        if self.to_move(state):
            return paid
        sign = {"first": 1, "second": -1}
        return {seat: chips + sign[self.role_of(state, seat)] * self.tax for seat, chips in paid.items()}


@dataclass(frozen=True)
class Arena:
    """A game with the settings that all baselines share.

    Args:
        title: in tables.
        recipe: whose settings it has, but for `settings`.
        reads_like: the arena whose warm start it shares, since the texts are the same.
        steps: of a training run; 0 where a model of this size learns nothing that could be compared.
        batches: of games for the noise of a step.
    """

    title: str
    recipe: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    reads_like: str = ""
    steps: int = 0
    batches: int = 16

    def config(self, seed: int, **settings: Any) -> Config:
        register("TaxedKuhn-v0", TaxedKuhn)
        common = {"p_self": 1.0, "play_every": 0, "eval_every": 0, "opponents": (), "advantage_clip": 0.0, "alarms": False}
        own = {**common, **self.settings}
        if "model" in settings:  # it has its size
            own = {name: value for name, value in own.items() if name not in ("hidden_size", "layers")}
        return load_config(self.recipe, {**own, "seed": seed, **settings})


BRIEF = {"show_rules": False, "invalid_policy": "forfeit"}
KUHN = {"games_per_step": 96, "group_size": 16}
DEALS = {"games_per_step": 64}
TALKERS = {  # games of free words: the warm start imitates the sentences of random play
    "games_per_step": 32,
    "group_size": 4,
    "deals": "random",
    "max_reply_tokens": 24,
    "warmup_steps": 80,
    "warmup_rows": 12,
    "kl_weight": 0.0,
    "forfeits": "keep",  # a refused clue or vote is none, and the game goes on
}
ARENAS = {
    "kuhn": Arena("Kuhn Poker", "kuhn_tiny", KUHN, steps=150),
    "taxed_kuhn": Arena(
        "taxed Kuhn",
        "kuhn_tiny",
        {**KUHN, "games": {"TaxedKuhn-v0": {**BRIEF, "legal_hint": "none"}}},
        reads_like="kuhn",
        steps=150,
    ),
    "deal": Arena("Deal or No Deal, coop", "deal_tiny", DEALS, steps=40, batches=8),
    "deal_semi": Arena(
        "Deal or No Deal, semi",
        "deal_tiny",
        {**DEALS, "games.DealOrNoDeal-v0.objective": "semi"},
        reads_like="deal",
        steps=40,
        batches=8,
    ),
    "taboo": Arena("Adversarial Taboo", "kuhn_tiny", {**TALKERS, "games": {"AdversarialTaboo-v0": BRIEF}}, batches=8),
    "spy": Arena(
        "Who Is The Spy",
        "kuhn_tiny",
        {
            **TALKERS,
            "games_per_step": 16,
            "games": {"WhoIsTheSpy-v0": {**BRIEF, "players": 4, "clue_rounds": 1}},
        },
        batches=6,
    ),
}


@dataclass(frozen=True)
class Line:
    """A figure with its 95 % interval."""

    arena: str
    measure: str
    baseline: str
    value: float
    low: float
    high: float
    seeds: int


# Noise.


def variance_lines(out: Path, arenas: Sequence[str], seeds: int) -> Iterator[Line]:
    """Mean square of the advantages and variance of the gradient, each as a multiple of what they are without a baseline: at the
    warm start, and where there are training runs also of what same-deal groups have made of it."""
    for name in arenas:
        for trained in (False, True):
            models = [_trained_model(out, name, seed) if trained else _start(out, name, seed) for seed in range(seeds)]
            if not all(model.exists() for model in models):
                continue
            squares: dict[str, list[Floats]] = {baseline: [] for baseline in BASELINES}  # by seed, [batch]
            grams: dict[str, list[Floats]] = {baseline: [] for baseline in BASELINES}  # by seed, [batch, batch]
            for seed, model in enumerate(models):
                noise = measure_noise(_with_model(out, name, seed, model), ARENAS[name].batches)
                for baseline in BASELINES:
                    squares[baseline].append(np.array(noise.squares[baseline]))
                    grams[baseline].append(noise.grams[baseline])
            when = "trained" if trained else "start"
            yield from _ratios(name, f"advantage variance, {when}", squares, _mean)
            yield from _ratios(name, f"gradient variance, {when}", grams, _total_variance)


@dataclass(frozen=True)
class Noise:
    """Of batches of games played by one policy, by baseline.

    Args:
        squares: mean square of the advantages of each batch.
        grams: inner products of the batches' gradients.
    """

    squares: dict[str, list[float]]
    grams: dict[str, Floats]


def measure_noise(run: Run, batches: int) -> Noise:
    """Plays `batches` + 1 batches and compares the returns of each by every baseline; the first only fills the averages."""
    config = run.config
    squares: dict[str, list[float]] = {baseline: [] for baseline in BASELINES}
    gradients: dict[str, list[torch.Tensor]] = {baseline: [] for baseline in BASELINES}
    settings = {**dataclasses.asdict(config), "drop_zero_advantage": False}
    credits = {name: Credit(Config(**{**settings, "baseline": name})) for name in BASELINES}
    baselines = {name: make_baseline(name, config) for name in BASELINES}
    for batch in range(batches + 1):
        played = collect(config, batch, run.agents)
        fair = [trajectory for trajectory in played if trajectory.decided_by_rules or config.forfeits == "keep"]
        outcomes = [trajectory.outcome for trajectory in fair]
        returns = np.array([outcome.return_ for outcome in outcomes])
        rows = {name: credit.rows(played, batch).rows for name, credit in credits.items()}
        usual = {name: np.array(baseline(outcomes)) for name, baseline in baselines.items()}
        if batch == 0:
            continue
        for name in BASELINES:
            squares[name].append(float(np.mean((returns - usual[name]) ** 2)))
        for name, gradient in _gradients(run.learner.model, rows).items():
            gradients[name].append(gradient)
    return Noise(squares, {name: _gram(of) for name, of in gradients.items()})


def _gradients(model: torch.nn.Module, rows_by_baseline: Mapping[str, Sequence[Row]]) -> dict[str, torch.Tensor]:
    """The gradient of the loss at the weights that sampled, by baseline; the rows differ in their advantages alone."""
    network = Network(model)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    totals = {name: torch.zeros(sum(each.numel() for each in parameters)) for name in rows_by_baseline}
    count = len(next(iter(rows_by_baseline.values())))
    for first in range(0, count, ROWS_AT_ONCE):
        parts = {name: rows[first : first + ROWS_AT_ONCE] for name, rows in rows_by_baseline.items()}
        batch = make_batch(next(iter(parts.values())), share=network.shares, device=network.device)
        with network.passes():
            logp_BR = predict(network, batch).logp_UR[batch.row_B]
            for name, part in parts.items():
                loss = losses.policy_loss(
                    logp_BR,
                    logp_BR.detach(),
                    torch.tensor([row.advantage for row in part]),
                    batch.is_reply_BR,
                    clip=losses.Clip(),
                    norm_tokens=float(count),
                    form="reinforce",
                )
                pieces = torch.autograd.grad(loss, parameters, retain_graph=True)
                totals[name] += torch.cat([piece.flatten() for piece in pieces])
    return totals


def _gram(gradients: Sequence[torch.Tensor]) -> Floats:
    stacked = torch.stack(list(gradients)).double()
    return (stacked @ stacked.T).numpy()


def _ratios(arena: str, measure: str, found: Mapping[str, list[Floats]], of: Any) -> Iterator[Line]:
    """Each baseline's figure by that of `none`; the interval is a bootstrap over the batches of each seed."""
    seeds, batches = len(found["none"]), len(found["none"][0])
    rng = np.random.default_rng(0)
    every = np.tile(np.arange(batches), (1, seeds, 1))
    drawn = rng.integers(batches, size=(DRAWS, seeds, batches))
    sums = {name: _sum_over_seeds(of, by_seed, every) for name, by_seed in found.items()}
    redrawn = {name: _sum_over_seeds(of, by_seed, drawn) for name, by_seed in found.items()}
    for name in found:
        low, high = np.quantile(redrawn[name] / redrawn["none"], [0.025, 0.975])
        yield Line(arena, measure, name, float(sums[name][0] / sums["none"][0]), float(low), float(high), seeds)


def _sum_over_seeds(of: Any, by_seed: Sequence[Floats], drawn: NDArray[np.int64]) -> Floats:
    """The figure of each draw of batches, added up over the seeds; `drawn` has shape [draw, seed, batch]."""
    return np.array([sum(of(found, which) for found, which in zip(by_seed, of_draw, strict=True)) for of_draw in drawn])


def _mean(values: Floats, which: NDArray[np.int64]) -> float:
    return float(values[which].mean())


def _total_variance(gram: Floats, which: NDArray[np.int64]) -> float:
    """Trace of the covariance of the gradients of some batches, from their inner products."""
    count = len(which)
    return float((gram[which, which].sum() - gram[np.ix_(which, which)].sum() / count) / (count - 1))


# Strength.


def strength_lines(out: Path, arenas: Sequence[str], seeds: int) -> Iterator[Line]:
    """What runs with each baseline reach; means over seeds, with t-intervals."""
    for name in arenas:
        if not ARENAS[name].steps:
            continue
        found: dict[str, dict[str, list[float]]] = {}  # measure -> baseline -> by seed
        for baseline in BASELINES:
            # The mean of a zero-sum step is 0, so that `global` is the very run that `none` is.
            zero_sum = baseline == "global" and ARENAS[name].config(0).played[0].rules.payoffs == "zero_sum"
            for seed in range(seeds):
                for measure, value in _reached(_trained(out, name, seed, "none" if zero_sum else baseline)).items():
                    found.setdefault(measure, {}).setdefault(baseline, []).append(value)
        for measure, by_baseline in found.items():
            for baseline, values in by_baseline.items():
                half = _half_width(values)
                mean = float(np.mean(values))
                yield Line(name, measure, baseline, mean, mean - half, mean + half, seeds)


def _half_width(values: Sequence[float]) -> float:
    """Of the 95 % t-interval of a mean."""
    if len(values) < 2:
        return math.nan
    return float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5)


def _reached(metrics: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Means over the last quarter of a run: the last iterates cycle, and one of them says little."""
    last = metrics[-1]["step"]
    late = [line for line in metrics if line["step"] > 0.75 * last]
    cells = [list(line["cells"].values()) for line in late]
    noise = {
        "advantage, mean square": float(
            np.mean(
                [np.mean([cell["advantage"] ** 2 + cell["advantage_std"] ** 2 for cell in of_step]) for of_step in cells]
            )
        ),
        "gradient norm": float(np.mean([line["grad_norm"] for line in late])),
    }
    exact = [line["nash_conv"] for line in late if "nash_conv" in line]
    if exact:
        return {
            "NashConv, last weights": float(np.mean([found["last"] for found in exact])),
            "NashConv, time-average": float(exact[-1]["average"]),
            **noise,
        }
    return {
        "deals": float(np.mean([line["facts"]["deal"] for line in late])),
        "joint score": float(np.mean([line["facts"]["joint"] for line in late])),
        **noise,
    }


# Runs.


def _start(out: Path, name: str, seed: int) -> Path:
    """The model after the warm start, which is made once."""
    arena = ARENAS[name]
    start = out / "starts" / f"{arena.reads_like or name}-seed{seed}"
    if not start.exists():
        config = ARENAS[arena.reads_like or name].config(seed)
        run = new_run(config, out)
        warm_up(run.learner.model, config, run.agent.chat.prompt_ids, run.agent.chat.reply_ids)

        def save(folder: Path) -> None:
            run.learner.model.save_pretrained(folder)
            run.agent.model.tokenizer.save_pretrained(folder)

        write_folder(start, save)
    return start


def _with_model(out: Path, name: str, seed: int, model: Path) -> Run:
    """A run that begins with a model."""
    return new_run(ARENAS[name].config(seed, model=str(model), warmup_steps=0), out)


def _folder(out: Path, name: str, seed: int, baseline: str) -> Path:
    return out / "runs" / f"{name}-{baseline}-seed{seed}"


def _trained_model(out: Path, name: str, seed: int) -> Path:
    return _folder(out, name, seed, "seed_role_loo") / "model"


def _trained(out: Path, name: str, seed: int, baseline: str) -> list[dict[str, Any]]:
    """The metrics of a training run, which is gone on with if it was begun."""
    arena = ARENAS[name]
    start = _start(out, name, seed)
    config = arena.config(seed, baseline=baseline, steps=arena.steps, eval_every=10, model=str(start), warmup_steps=0)
    folder = _folder(out, name, seed, baseline)
    if not (folder / "model").exists():
        with RichDisplay() as display:
            train(config, folder, display)
    return read_metrics(folder / "metrics.jsonl")


# Tables.


def write_csv(lines: Sequence[Line], target: Path) -> None:
    """One line a figure."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([each.name for each in dataclasses.fields(Line)])
    for line in lines:
        writer.writerow(
            [line.arena, line.measure, line.baseline, *(f"{x:.4g}" for x in (line.value, line.low, line.high)), line.seeds]
        )
    write_file(target, text.getvalue())


def read_csv(path: Path) -> list[Line]:
    """The lines of `write_csv`."""
    with path.open(encoding="utf-8", newline="") as file:
        return [_read(row) for row in csv.DictReader(file)]


def _read(row: Mapping[str, str]) -> Line:
    value, low, high = (float(row[name]) for name in ("value", "low", "high"))
    return Line(row["arena"], row["measure"], row["baseline"], value, low, high, int(row["seeds"]))


def as_table(lines: Sequence[Line], title: str) -> Table:
    """A row for each arena and measure, a column for each baseline."""
    table = Table(title=title)
    table.add_column("game")
    table.add_column("measure")
    for baseline in BASELINES:
        table.add_column(baseline, justify="right")
    for arena, measure in dict.fromkeys((line.arena, line.measure) for line in lines):
        cells = {
            line.baseline: f"{line.value:.3g} [{line.low:.3g}, {line.high:.3g}]"
            for line in lines
            if (line.arena, line.measure) == (arena, measure)
        }
        table.add_row(ARENAS[arena].title, measure, *(cells.get(baseline, "") for baseline in BASELINES))
    return table


def draw(lines: Sequence[Line], target: Path) -> None:
    """A panel a measure: bars for each game, one a baseline, with their intervals."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    measures = list(dict.fromkeys(line.measure for line in lines))
    rows = math.ceil(len(measures) / 2)
    figure, axes = plt.subplots(rows, 2, figsize=(11, 3.2 * rows), squeeze=False, layout="constrained")
    for panel in axes.flat[len(measures) :]:
        panel.set_visible(False)
    for panel, measure in zip(axes.flat, measures, strict=False):
        of_measure = [line for line in lines if line.measure == measure]
        arenas = list(dict.fromkeys(line.arena for line in of_measure))
        for number, baseline in enumerate(BASELINES):
            bars = [line for line in of_measure if line.baseline == baseline]
            places = [arenas.index(line.arena) + (number - 2) * 0.16 for line in bars]
            errors = [[line.value - line.low for line in bars], [line.high - line.value for line in bars]]
            panel.bar(places, [line.value for line in bars], 0.15, yerr=errors, label=baseline, capsize=2)
        panel.set_xticks(range(len(arenas)), [textwrap.fill(ARENAS[arena].title, 12) for arena in arenas], fontsize=8)
        panel.set(title=measure + (" (none = 1)" if "variance" in measure else ""), ylim=(0, None))
        panel.grid(alpha=0.3, axis="y")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(BASELINES), fontsize=8)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=120)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> int:
    """Measures, prints and writes; 0 when all is done."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ablation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", choices=["variance", "strength", "picture"])
    parser.add_argument("--games", nargs="+", choices=list(ARENAS), default=list(ARENAS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    known = parser.parse_args(arguments)
    transformers.utils.logging.disable_progress_bar()
    if known.table == "picture":
        tables = [known.out / f"{name}.csv" for name in ("variance", "strength")]
        draw([line for path in tables if path.exists() for line in read_csv(path)], known.out / "ablation.png")
        print(known.out / "ablation.png")
        return 0
    make = {"variance": variance_lines, "strength": strength_lines}[known.table]
    lines = list(make(known.out, known.games, known.seeds))
    write_csv(lines, known.out / f"{known.table}.csv")
    title = {"variance": "noise of a step; without a baseline = 1", "strength": "after training at equal games"}[known.table]
    Console(width=None if sys.stdout.isatty() else 160).print(
        as_table(lines, f"{title}; {known.seeds} seeds, 95 % intervals")
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
