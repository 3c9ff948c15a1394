"""Every recipe loads, and the tiny ones begin. Models are not downloaded, and packages that a recipe needs may be missing here."""

import importlib.util

import pytest

from training.checkpoint import read_metrics
from training.config import RECIPES, load_config
from training.train import train

NAMES = sorted(file.stem for file in RECIPES.glob("*.toml"))
TINY = [name for name in NAMES if name.endswith("_tiny")]
SHORT = {
    "steps": 1,
    "hidden_size": 32,
    "layers": 1,
    "warmup_steps": 2,
    "warmup_games": 20,
    "warmup_rows": 8,
    "eval_every": 1,
    "play_every": 1,
    "play_games": 1,
    "games_per_step": 32,
    "group_size": 2,
}


class Quiet:
    def warm_up(self, step, total, loss):
        pass

    def step(self, line, total):
        pass


@pytest.mark.parametrize("name", NAMES)
def test_it_loads(name, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: find_spec(package) or find_spec("training"))
    config = load_config(name)
    assert config.model == "tiny" or "not measured here" in (RECIPES / f"{name}.toml").read_text().casefold()


@pytest.mark.parametrize("name", TINY)
def test_it_begins(name, tmp_path):
    train(load_config(name, SHORT), tmp_path, Quiet())
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines] == [0, 1]
    assert lines[-1]["games"] == SHORT["games_per_step"]
    assert (tmp_path / "model").is_dir()
