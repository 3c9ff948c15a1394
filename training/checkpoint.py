"""Run folders: what is written is whole or not there.

RUN/config.json          settings, merged
RUN/metrics.jsonl        one line a step
RUN/steps/step_000100/   state.pt, COMPLETE
RUN/model/               the weight EMA, as transformers saves it: `hf:RUN/model`
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def write_folder(target: Path, fill: Callable[[Path], None]) -> None:
    """Makes a folder appear whole: filled beside its place, synced, and moved there in one step; an older one is replaced."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        fill(partial)
        for file in partial.rglob("*"):
            _sync(file)
        (partial / "COMPLETE").touch()
        _sync(partial)
        if target.exists():
            replaced = target.with_name(f"{target.name}.replaced-{os.getpid()}")
            os.replace(target, replaced)
            os.replace(partial, target)
            shutil.rmtree(replaced)
        else:
            os.replace(partial, target)
        _sync(target.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_file(target: Path, text: str) -> None:
    """Makes a file appear whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial-{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    _sync(partial)
    os.replace(partial, target)


def save_step(run: Path, step: int, state: dict[str, Any], keep: int) -> None:
    """Saves a state as step `step` and removes all but the newest `keep`."""
    write_folder(run / "steps" / f"step_{step:06d}", lambda folder: torch.save(state, folder / "state.pt"))
    for old in _complete_steps(run)[:-keep]:
        shutil.rmtree(old)


def load_latest(run: Path) -> tuple[int, dict[str, Any]] | None:
    """(step, state) of the newest whole checkpoint of a run, None if there is none."""
    steps = _complete_steps(run)
    if not steps:
        return None
    state = torch.load(steps[-1] / "state.pt", map_location="cpu", weights_only=True)
    return int(steps[-1].name.removeprefix("step_")), state


def _complete_steps(run: Path) -> list[Path]:
    return sorted(folder for folder in (run / "steps").glob("step_??????") if (folder / "COMPLETE").exists())


class MetricsFile:
    """Append-only JSONL, a line a step, on disk when `write` returns. A last line that a kill has torn is dropped on opening.

    Args:
        path: of the file.
        last_step: lines of later steps are dropped, too: a resumed run writes them again.
    """

    def __init__(self, path: Path, last_step: int | None = None):
        lines = read_metrics(path)
        kept = [line for line in lines if last_step is None or line["step"] <= last_step]
        if path.exists():
            write_file(path, "".join(json.dumps(line) + "\n" for line in kept))
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")

    def write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a metrics file; [] if there is none.

    Raises:
        ValueError: if a line other than the last is damaged, with its number.
    """
    if not path.exists():
        return []
    found = []
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            if number < len(lines):
                raise ValueError(f"{path}:{number} is damaged: {line[:80]!r}") from None
    return found
