import errno
import json
import resource
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from training.checkpoint import (
    MetricsFile,
    clear_partial,
    load_latest,
    load_tensors,
    made_with,
    read_metrics,
    read_tensors,
    save_step,
    warn_of_differences,
    write_file,
    write_folder,
)
from training.past import keep_for_later, past_selves
from training.policy import save_policy
from training.tiny import make_model, make_tokenizer


def test_newest_whole_checkpoint_wins(tmp_path):
    for step in (1, 2, 3):
        save_step(tmp_path, step, {"steps": step}, {"weights": torch.tensor([float(step)])}, keep=2)
    assert sorted(folder.name for folder in (tmp_path / "steps").iterdir()) == ["step_000002", "step_000003"]
    (tmp_path / "steps" / "step_000009").mkdir()  # what a kill might leave: no COMPLETE
    step, state = load_latest(tmp_path)
    assert (step, state) == (3, {"steps": 3})
    assert read_tensors(tmp_path, 3) == {"weights": torch.tensor([3.0])}


def test_every_so_manieth_is_kept(tmp_path):
    for step in range(8):
        save_step(tmp_path, step, {}, {"weights": torch.zeros(1)}, keep=1, keep_every=3)
    assert sorted(folder.name[-1] for folder in (tmp_path / "steps").iterdir()) == ["0", "3", "6", "7"]


TENSORS = {"weights/a.b": torch.randn(7, 3, generator=torch.Generator().manual_seed(0)), "step/a.b": torch.tensor(4.0)}


@pytest.mark.parametrize("limit", [100, 3000, 60_000])
def test_a_full_disk_is_named_and_leaves_no_half_checkpoint(tmp_path, limit):
    """The limit hits the first file, the tensors, or a large tensor in the middle."""
    save_step(tmp_path, 1, {"steps": 1}, TENSORS, keep=1)
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    code = (
        "import resource, sys, torch; from pathlib import Path; from training.checkpoint import save_step\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "tensors = {'small': torch.zeros(3), 'large': torch.zeros(300, 300)}\n"
        "try: save_step(Path(sys.argv[1]), 2, {'steps': 2}, tensors, keep=1)\n"
        "except OSError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert "the checkpoint of step 2 cannot be written" in done.stdout, done.stderr
    assert "File too large" in done.stdout or "could not be written to its end" in done.stdout
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == files
    assert load_latest(tmp_path) == (1, {"steps": 1})


@pytest.fixture(scope="module")
def policy():
    tokenizer = make_tokenizer(["a b"], vocab_size=300)
    return make_model(tokenizer, hidden_size=32, layers=1), tokenizer


@pytest.mark.parametrize("limit", [100, 3000])  # hits the first file of the model, or its weights
@pytest.mark.parametrize(
    "what", ["metrics.jsonl: the line of step 2", "games.jsonl", "model"]
)  # model: pool, start, ... as well
def test_a_full_disk_is_named_and_leaves_all_else_as_it_was(tmp_path, policy, what, limit):
    def content():
        return {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}

    save_policy(*policy, tmp_path / "model")
    write_file(tmp_path / "games.jsonl", "old")
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    metrics.write({"step": 1})
    write = {
        "metrics.jsonl: the line of step 2": lambda: metrics.write({"step": 2, "text": "x" * 9000}),
        "games.jsonl": lambda: write_file(tmp_path / "games.jsonl", "x" * 9000),
        "model": lambda: save_policy(*policy, tmp_path / "model"),
    }[what]
    before = content()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(OSError, match=rf"{what} cannot be written \(File too large\); nothing of it is kept") as failed:
            write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert failed.value.errno == errno.EFBIG
    assert content() == before
    metrics.write({"step": 2})
    metrics.close()
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 1}, {"step": 2}]


def test_what_differs_from_when_a_checkpoint_was_made_is_named():
    saved = made_with("{}", "cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_differences(3, saved, made_with("{}", "cpu"))
    assert {"settings", "python", "torch", "transformers", "platform", "threads"} <= saved.keys()
    with pytest.warns(UserWarning, match="the checkpoint of step 3") as warned:
        warn_of_differences(3, saved | {"torch": "2.1.0", "vllm": "0.9"}, saved)
    (told,) = [str(each.message) for each in warned]
    assert f"step 3 was made with torch 2.1.0, now {saved['torch']}; vllm 0.9, now {saved.get('vllm', 'none')}." in told
    with pytest.warns(UserWarning, match="made with settings"):
        warn_of_differences(3, saved, made_with('{"lr": 1}', "cpu"))


def test_tensors_are_read_in_place(tmp_path):
    save_step(tmp_path, 1, {}, TENSORS, keep=1)
    found = {name: torch.zeros_like(tensor) for name, tensor in TENSORS.items()}
    load_tensors(tmp_path, 1, found)
    assert all(torch.equal(found[name], tensor) for name, tensor in TENSORS.items())


def test_what_a_killed_process_left_is_cleared(tmp_path):
    save_step(tmp_path, 1, {}, TENSORS, keep=1)
    (tmp_path / "steps" / "step_000002.partial-77").mkdir()
    (tmp_path / "steps" / "step_000001").rename(tmp_path / "steps" / "step_000001.replaced-77")
    (tmp_path / "config.json.partial-77").write_text("{")
    clear_partial(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["steps"]
    assert [path.name for path in (tmp_path / "steps").iterdir()] == ["step_000001"]
    assert load_latest(tmp_path) == (1, {})


@pytest.mark.parametrize("place", ["evaluated", "games", "sampler/servers/weights", "pool", "."])
def test_what_a_killed_process_left_is_cleared_in_every_folder(place, tmp_path):
    folder = tmp_path / place
    for name in ("old.replaced-77", "new", "new.replaced-7", "half.partial-77"):
        (folder / name).mkdir(parents=True)
    (folder / "lines.partial-77").write_text("{")
    (folder / "of a user.partial").write_text("")
    clear_partial(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["new", "of a user.partial", "old"]


def test_a_checkpoint_half_removed_does_not_count_as_one(tmp_path, monkeypatch):
    """Killed while older ones are removed: what is left of those is never read, and is cleared."""
    for step in (1, 2):
        save_step(tmp_path, step, {"steps": step}, TENSORS, keep=2)

    def killed(folder):
        (Path(folder) / "state.pt").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("training.checkpoint.shutil.rmtree", lambda folder, **_: _ or killed(folder))
        with pytest.raises(KeyboardInterrupt):
            save_step(tmp_path, 3, {"steps": 3}, TENSORS, keep=2)
    shutil.rmtree(tmp_path / "steps" / "step_000003")
    shutil.rmtree(tmp_path / "steps" / "step_000002")
    assert load_latest(tmp_path) is None
    clear_partial(tmp_path)
    assert list((tmp_path / "steps").iterdir()) == []


def test_an_old_self_is_removed_whole(tmp_path, monkeypatch):
    for step in (1, 2):
        keep_for_later(tmp_path, step, (1,), lambda folder: folder.mkdir(parents=True))
    with monkeypatch.context() as patched:
        patched.setattr("training.checkpoint.shutil.rmtree", lambda folder, **_: None)  # it goes no further
        keep_for_later(tmp_path, 3, (1,), lambda folder: folder.mkdir(parents=True))
    assert list(past_selves(tmp_path, 4, (1,)).values()) == [tmp_path / "start", tmp_path / "evaluated" / "step_000003"]
    assert not (tmp_path / "evaluated" / "step_000002").exists()


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
    with pytest.raises(ValueError, match=r"metrics\.jsonl:2 is damaged.*remove that line"):
        read_metrics(path)
