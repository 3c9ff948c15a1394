"""The whole suite at work on two cores: a tiny model is made from scratch, warm-started on random legal play, trained on Kuhn
Poker by self-play against itself, and rated before and after against reference players.

    make demo        the same as        python -m benchmarks.demo

What it leaves in runs/demo: the models `start` and `model`, metrics.jsonl, curves.png, and the table as table.md and table.csv.
A run that was stopped is gone on with.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import transformers
from rich.console import Console
from rich.table import Table

from agents.specs import make_agent
from benchmarks.report import as_rich, write_tables
from benchmarks.schedule import GameSpec
from benchmarks.standings import standings
from benchmarks.tournament import run_tournament
from training.checkpoint import read_metrics
from training.config import load_config
from training.display import RichDisplay
from training.plot import plot_runs
from training.train import train

WIDTH = 140  # columns, where there is no terminal to tell
OPPONENTS = ("random", "bet_call", "honest", "nash")
ROWS = {"last": "last weights", "average": "time-average of the policies", "ema": "moving average of the weights (kept)"}


def main(arguments: list[str] | None = None) -> int:
    """Trains, rates, prints; 0 when all is done."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, default=Path("runs/demo"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=None, help="of self-play; default that of the recipe kuhn_tiny")
    parser.add_argument("--blocks", type=int, default=200, help="deals for each pair of the rating (default 200)")
    known = parser.parse_args(arguments)
    began = time.perf_counter()
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    transformers.utils.logging.disable_progress_bar()  # ours says how far the whole is
    config = load_config("kuhn_tiny", {"seed": known.seed} | ({"steps": known.steps} if known.steps else {}))
    (played,) = config.played
    console.print(f"Training on {played.name} by self-play: {config.steps} steps of {config.games_per_step} games.")
    with RichDisplay() as display:
        train(config, known.run, display)
    plot_runs([known.run], known.run / "curves.png")

    game = GameSpec(played.name, played.options)
    agents = {"before": make_agent(f"hf:{known.run / 'start'}"), "after": make_agent(f"hf:{known.run / 'model'}")}
    agents |= {name: make_agent(name) for name in OPPONENTS}
    console.print(f"Rating it against {', '.join(OPPONENTS)}: {known.blocks} mirrored deals a pair.")
    outcome = run_tournament(agents, [game], blocks=known.blocks, seed=known.seed, out=known.run)
    found = standings(outcome.results, list(agents), {game.name: game}, policies=outcome.policies)
    write_tables(found, known.run)

    console.print(_nash_conv_table(read_metrics(known.run / "metrics.jsonl")))
    console.print(as_rich(found, f"{len(outcome.results)} games, mirrored deals, both seats; rating 0 is random play"))
    console.print(
        f"{(time.perf_counter() - began) / 60:.1f} minutes. Curve: {known.run / 'curves.png'}, table: {known.run / 'table.md'}, "
        f"model: hf:{known.run / 'model'}",
        highlight=False,
    )
    return 0


def _nash_conv_table(metrics: list[dict[str, Any]]) -> Table:
    exact = [line for line in metrics if "nash_conv" in line]
    table = Table(title="NashConv in chips: what best responses of both seats gain (uniform play 0.917, equilibrium 0)")
    table.add_column("model")
    table.add_column("NashConv", justify="right")
    table.add_row("warm start on random legal play", f"{exact[0]['nash_conv']['last']:.3f}")
    for name, label in ROWS.items():
        table.add_row(f"after self-play: {label}", f"{exact[-1]['nash_conv'][name]:.3f}")
    return table


if __name__ == "__main__":
    sys.exit(main())
