import json

import pytest
import torch

from training.checkpoint import MetricsFile, load_latest, read_metrics, save_step, write_folder


def test_newest_whole_checkpoint_wins(tmp_path):
    for step in (1, 2, 3):
        save_step(tmp_path, step, {"weights": torch.tensor([float(step)])}, keep=2)
    assert sorted(folder.name for folder in (tmp_path / "steps").iterdir()) == ["step_000002", "step_000003"]
    (tmp_path / "steps" / "step_000009").mkdir()  # what a kill might leave: no COMPLETE
    step, state = load_latest(tmp_path)
    assert (step, state["weights"].item()) == (3, 3.0)


def test_no_checkpoint(tmp_path):
    assert load_latest(tmp_path) is None


def test_a_failed_write_leaves_the_old_folder(tmp_path):
    target = tmp_path / "model"
    write_folder(target, lambda folder: (folder / "a").write_text("old"))

    def fails(folder):
        (folder / "a").write_text("new")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_folder(target, fails)
    assert (target / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_torn_last_line_is_dropped_and_others_are_kept(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps({"step": 1}) + "\n" + '{"step": 2, "lo')
    metrics = MetricsFile(path)
    metrics.write({"step": 2})
    metrics.close()
    assert read_metrics(path) == [{"step": 1}, {"step": 2}]


def test_lines_after_the_checkpoint_are_written_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps({"step": step}) + "\n" for step in (1, 2, 3)))
    MetricsFile(path, last_step=1).close()
    assert read_metrics(path) == [{"step": 1}]


def test_a_damaged_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\nrubbish\n{"step": 3}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl:2 is damaged"):
        read_metrics(path)
