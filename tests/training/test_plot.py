import json

import pytest

from training.plot import PANELS, plot_runs

EXACT = {"last": 0.5, "average": 0.6, "ema": 0.4}
TRAINED = {"kl": 0.1, "entropy": 0.3, "invalid_rate": 0.0, "return": {"x": 0.1, "o": -0.1}, "won": {"x": 0.4}}
AGAINST = {"random": {"x": {"lost": 0.2, "mean": 0.5}, "o": {"lost": 0.3, "mean": 0.1}}}
RUNS = {
    "exact": [{"step": 0, "nash_conv": EXACT}, {"step": 1, **TRAINED, "nash_conv": EXACT}],
    "played": [{"step": 0, "against": AGAINST}, {"step": 1, **TRAINED}, {"step": 2, **TRAINED, "against": AGAINST}],
    "several games": [
        {"step": 0, "nash_conv": {"KuhnPoker-v0": EXACT}, "against": {"KuhnPoker-v0": AGAINST, "TicTacToe-v0": AGAINST}},
        {"step": 1, **TRAINED},
    ],
}


def run(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in RUNS[name]))
    return folder


@pytest.mark.parametrize("name", RUNS)
def test_every_kind_of_run_is_drawn(tmp_path, name):
    plot_runs([run(tmp_path, name)], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5000


def test_runs_of_different_kinds_stand_side_by_side(tmp_path):
    plot_runs([run(tmp_path, name) for name in RUNS], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5000


def test_there_is_nothing_to_draw_before_the_first_step(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n')
    with pytest.raises(ValueError, match="before the first step"):
        plot_runs([tmp_path], tmp_path / "curves.png")


def test_a_run_without_metrics_is_refused(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(ValueError, match="no metrics"):
        plot_runs([tmp_path], tmp_path / "curves.png")


def test_how_the_engine_was_used_is_drawn_where_it_is_known():
    (panel,) = [panel for panel in PANELS if panel.title == "engine in self-play"]
    lines = [
        {"step": 0},
        {"step": 1, "rollout": {"efficiency": 0.9, "env_share": 0.1}},
        {"step": 2, "rollout": {"efficiency": 0.8}},
    ]
    assert panel.curves(lines) == {"efficiency": ([1, 2], [0.9, 0.8])}
    assert panel.curves([{"step": 1, "rollout": {"live_games": 3.0}}]) == {}
