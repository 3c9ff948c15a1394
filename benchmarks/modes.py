"""What playing ahead of training brings: the same short run in each mode, from the same weights, in turn within one command.

    python -m benchmarks.modes [--steps 8] [--repeats 3] [--latency 0.02] [--setting value ...]

The engine is a copy of the weights in this process, so games and training share its processors and Python's lock. With `--latency`
every pass of the engine takes that much longer without using a processor, as if it ran on a machine of its own.

The first two steps of a run, in which nothing is ready yet, are not counted. Times are wall time but for CPU-seconds.
"""

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import torch
import transformers

from agents.models.hf import HFModel
from training.checkpoint import read_metrics
from training.config import Config, load_config
from training.train import train

MODES: dict[str, dict[str, Any]] = {
    "sync": {},
    "sync, carried over": {"carry_over": True},
    "one_step": {"mode": "one_step"},
    "stream": {"mode": "stream", "max_staleness": 2, "queue_batches": 2},
    "stream, carried over": {"mode": "stream", "max_staleness": 2, "queue_batches": 2, "carry_over": True},
}
NOT_COUNTED = 2  # steps
RUN = {
    "games_per_step": 64,
    "group_size": 4,
    "p_self": 1.0,
    "pool": "",
    "sampler": "copy",
    "eval_every": 0,
    "play_every": 0,
}
TAUGHT = {
    "hidden_size": 64,
    "layers": 2,
    "warmup_player": "random",
    "warmup_games": 400,
    "warmup_steps": 150,
    "warmup_rows": 144,
}
"""The model that all runs begin with."""


OF_START = (
    "hidden_size",
    "layers",
    "vocab_size",
    "init_std",
    *(each.name for each in fields(Config) if "warmup" in each.name),
)
"""Settings of the model that all runs begin with, which say nothing in those."""


class Quiet:
    """A display that shows nothing."""

    def warm_up(self, step: int, total: int, loss: float) -> None:
        pass

    def step(self, line: dict[str, Any], total: int) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Figures:
    """Of a run.

    Args:
        games_per_s: learnt from, a second.
        tokens_per_s: trained on, a second.
        cpu_s: of the process, a step.
        stale_mean, stale_max: age of replies, steps.
        trainer_waits: share of the time in which no step is taken for want of games.
        player_waits: share of the time in which no game is played.
    """

    games_per_s: float
    tokens_per_s: float
    cpu_s: float
    stale_mean: float
    stale_max: float
    trainer_waits: float
    player_waits: float


def figures(lines: list[dict[str, Any]], mode: str) -> Figures:
    """Of a run's lines of metrics, from the first line's end on."""
    counted = lines[1:]
    seconds = [line["seconds"] for line in counted]
    whole = sum(each["step"] for each in seconds)
    playing = [each["generate"] + each["env"] for each in seconds]
    waiting = sum(each["wait"] for each in seconds) + (sum(playing) if mode == "sync" else 0.0)
    tokens = sum(
        line["rollout"]["tokens_per_second"] * line["rollout"]["tokens_trained"] * played
        for line, played in zip(counted, playing, strict=True)
    )
    return Figures(
        games_per_s=sum(line["games"] for line in counted) / whole,
        tokens_per_s=tokens / whole,
        cpu_s=(lines[-1]["seconds"]["cpu"] - lines[0]["seconds"]["cpu"]) / len(counted),
        stale_mean=statistics.mean(line["staleness"]["mean"] for line in counted),
        stale_max=max(line["staleness"]["max"] for line in counted),
        trainer_waits=waiting / whole,
        player_waits=max(0.0, 1 - sum(playing) / whole),
    )


def measure(
    recipe: str | None,
    settings: Mapping[str, Any],
    *,
    steps: int,
    repeats: int,
    latency_s: float = 0.0,
    modes: Mapping[str, Mapping[str, Any]] = MODES,
    on_run: Callable[[str], None] = lambda mode: None,
) -> dict[str, list[Figures]]:
    """By mode, the figures of each repeat."""
    found: dict[str, list[Figures]] = {name: [] for name in modes}
    with TemporaryDirectory() as folder, _slower(latency_s):
        place = Path(folder)
        taught = load_config(recipe, {**TAUGHT, **RUN, **settings, "steps": 1, "games_per_step": 8, "group_size": 4})
        train(taught, place / "taught", Quiet())
        usual = {each.name: each.default for each in fields(Config) if each.name in OF_START}
        start = {**usual, "model": str(place / "taught" / "start"), "warmup_steps": 0}
        for number in range(repeats):
            for name, of_mode in modes.items():
                config = load_config(recipe, {**RUN, **settings, **start, **of_mode, "steps": steps + NOT_COUNTED})
                run = place / f"{name}-{number}"
                if train(config, run, Quiet()).get("step") != config.steps:
                    raise KeyboardInterrupt  # it took SIGTERM or Ctrl-C for itself and saved
                found[name].append(figures(read_metrics(run / "metrics.jsonl")[NOT_COUNTED:], config.mode))
                on_run(name)
    return found


@contextlib.contextmanager
def _slower(latency_s: float) -> Iterator[None]:
    """Every pass of the engine takes so much longer."""
    real = HFModel._compute

    def compute(self: HFModel) -> None:
        real(self)
        time.sleep(latency_s)

    with mock.patch.object(HFModel, "_compute", compute) if latency_s else contextlib.nullcontext():
        yield


def table(found: Mapping[str, list[Figures]]) -> str:
    """In Markdown: medians over repeats; behind them games a second as a multiple of the first mode's, repeat by repeat."""
    first = next(iter(found.values()))
    heads = ("games/s", "to `sync` (least to most)", "tokens trained/s", "CPU-s a step", "staleness, mean", "max")
    lines = ["| | " + " | ".join((*heads, "trainer waits", "player waits")) + " |", "|---" * (len(heads) + 3) + "|"]
    for name, runs in found.items():
        games, tokens, cpu, stale, oldest, trainer, player = (
            statistics.median(column) for column in zip(*map(astuple, runs), strict=True)
        )
        ratios = sorted(one.games_per_s / other.games_per_s for one, other in zip(runs, first, strict=True))
        ratio = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        cells = (name, f"{games:.1f}", ratio, f"{tokens:.0f}", f"{cpu:.2f}", f"{stale:.2f}", f"{oldest:.0f}")
        lines.append("| " + " | ".join((*cells, f"{trainer:.0%}", f"{player:.0%}")) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.modes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--recipe", default="tictactoe_tiny")
    parser.add_argument("--steps", type=int, default=8, help="counted, of each run (8)")
    parser.add_argument("--repeats", type=int, default=3, help="of all modes, in turn (3)")
    parser.add_argument("--latency", type=float, default=0.0, help="added to each pass of the engine, seconds (0)")
    known, rest = parser.parse_known_args()
    transformers.utils.logging.disable_progress_bar()
    settings = {name.removeprefix("--"): value for name, value in zip(rest[::2], rest[1::2], strict=True)}
    found = measure(
        known.recipe,
        settings,
        steps=known.steps,
        repeats=known.repeats,
        latency_s=known.latency,
        on_run=lambda mode: print(f"played: {mode}", flush=True),
    )
    print(
        f"{known.recipe}, torch on {torch.get_num_threads()} threads, {known.latency:g} s added to each pass of the engine"
    )
    print(table(found))


if __name__ == "__main__":
    main()
