"""What the tiny recipes reach from fixed seeds in a short time. Levels and curves of whole runs are in docs/training.md.

NashConv of uniform play is 0.917, and 2/3 is a policy that never reads its card.
"""

import pytest

from training.checkpoint import read_metrics
from training.config import load_config
from training.train import train


class Quiet:
    def warm_up(self, step, total, loss):
        pass

    def step(self, line, total):
        pass


def trained(tmp_path, recipe="kuhn_tiny", **settings):
    """The metrics of a run, line by line."""
    train(load_config(recipe, {"play_every": 0, **settings}), tmp_path, Quiet())
    return read_metrics(tmp_path / "metrics.jsonl")


def test_self_play_reads_the_card(tmp_path):
    """After 80 steps the last weights were at 0.22, 0.29 and 0.31 with seeds 0, 1 and 2."""
    assert trained(tmp_path, steps=80, eval_every=80)[-1]["nash_conv"]["last"] < 0.5


@pytest.mark.slow
def test_the_recipe_reaches_its_level(tmp_path):
    """The levels of three seeds, this one's 0.045, and their curves are in docs/training.md."""
    assert trained(tmp_path, seed=1)[-1]["nash_conv"]["ema"] <= 0.09


@pytest.mark.slow
def test_self_play_learns_to_agree(tmp_path):
    """Deals were 0.28 of the games of the first step and 0.93 of those of the last three; the joint score was 0.20 and 0.61."""
    lines = trained(tmp_path, "deal_tiny", warmup_steps=120, warmup_rows=48, games_per_step=64, steps=14)
    last = lines[-3:]
    assert lines[1]["won"]["opener"] < 0.5
    assert sum(line["won"]["opener"] for line in last) / 3 > 0.75
    assert sum(line["return"]["opener"] for line in last) / 3 > lines[1]["return"]["opener"] + 0.2


@pytest.mark.slow
def test_self_play_goes_on_from_what_minimax_has_taught(tmp_path):
    """Against random play, at its likeliest token: X lost 0.18 of the games after the lessons and 0.10 after eight steps."""
    lines = trained(tmp_path, "tictactoe_tiny", warmup_steps=140, steps=8, play_every=8, play_games=10)
    before, after = (line["greedy"]["random"]["x"] for line in (lines[0], lines[-1]))
    assert before["lost"] < 0.29  # that of random play
    assert after["mean"] > before["mean"]
    assert after["lost"] < 0.18
