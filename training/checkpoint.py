"""Run folders: what is written is whole or not there.

RUN/config.json          settings, merged
RUN/metrics.jsonl        one line a step
RUN/steps/step_000100/   tensors/ (torch.distributed.checkpoint, for any number of processes), state.pt (all else), COMPLETE
RUN/model/               the weight EMA, as transformers saves it: `hf:RUN/model`
"""

import errno
import fcntl
import hashlib
import io
import json
import os
import platform
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException

from training.distributed import ALONE, World

_LEFT = re.compile(r"(.+)\.(partial|replaced)-\d+")  # names of what is being written, removed or replaced: by which process
PACKAGES = ("lmgames", "torch", "transformers", "tokenizers", "numpy", "gymnasium", "pettingzoo", "peft", "vllm", "ray")


def write_folder(target: Path, fill: Callable[[Path], None]) -> None:
    """Makes a folder appear whole: filled beside its place, synced, and moved there in one step; an older one is replaced.

    Raises:
        OSError: if it cannot be written whole; nothing of it is left then, and an older one is as it was.
    """
    partial = _beside(target, "partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        fill(partial)
        _complete(partial, target)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        _say_what_failed(error, str(target))
        raise


def _say_what_failed(error: BaseException, what: str) -> None:
    """Raises an OSError that says what cannot be written, if an error comes of that.

    Raises:
        OSError: with the number and the reason that the operating system gave.
    """
    failed = _os_error(error)
    if failed is not None:
        raise OSError(
            failed.errno,
            f"{what} cannot be written ({failed.strerror}); nothing of it is kept, what was written before is whole. Make room "
            "and give the same command again",
        ) from error


def _beside(target: Path, what: str) -> Path:
    return target.with_name(f"{target.name}.{what}-{os.getpid()}")


def _complete(partial: Path, target: Path) -> None:
    """Moves a folder that is filled to its place."""
    for file in partial.rglob("*"):
        _sync(file)
    (partial / "COMPLETE").touch()
    _sync(partial)
    if target.exists():
        replaced = _beside(target, "replaced")
        os.replace(target, replaced)
        os.replace(partial, target)
        shutil.rmtree(replaced)
    else:
        os.replace(partial, target)
    _sync(target.parent)


def remove_folder(folder: Path) -> None:
    """Makes a folder disappear whole: moved aside in one step, under a name that `clear_partial` knows, and then removed."""
    partial = _beside(folder, "partial")
    shutil.rmtree(partial, ignore_errors=True)
    os.replace(folder, partial)
    _sync(folder.parent)
    shutil.rmtree(partial)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_file(target: Path, text: str) -> None:
    """Makes a file appear whole.

    Raises:
        OSError: if it cannot be written whole; nothing of it is left then, and an older one is as it was.
    """
    partial = _beside(target, "partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        _sync(partial)
        os.replace(partial, target)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        _say_what_failed(error, str(target))
        raise


def save_step(
    run: Path,
    step: int,
    state: dict[str, Any],
    tensors: dict[str, Tensor],
    *,
    keep: int,
    keep_every: int = 0,
    world: World = ALONE,
) -> None:
    """Saves step `step` and removes older ones, but for the newest `keep` and those of every `keep_every`-th step.

    Args:
        state: what `torch.load` reads without code; the same on all ranks.
        tensors: by name, sharded or not; each rank writes its part. All ranks call this.

    Raises:
        OSError: if it cannot be written whole; nothing of it is left then, and the checkpoints before are as they were.
    """
    target = run / "steps" / f"step_{step:06d}"
    partial = Path(world.broadcast_object(str(_beside(target, "partial"))))
    try:
        if world.is_main:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            buffer = io.BytesIO()
            torch.save(state, buffer)
            (partial / "state.pt").write_bytes(buffer.getvalue())
        world.barrier()
        with _no_group_is_meant():
            dcp.save(tensors, checkpoint_id=partial / "tensors", no_dist=world.size == 1)
        if world.is_main:
            _complete(partial, target)
    except (Exception, CheckpointException) as error:
        if world.is_main:
            shutil.rmtree(partial, ignore_errors=True)
        _say_what_failed(error, f"{run / 'steps'}: the checkpoint of step {step}")
        raise
    world.barrier()
    if world.is_main:
        for old in _complete_steps(run)[:-keep]:
            if not keep_every or _number(old) % keep_every:
                remove_folder(old)


def made_with(settings: str, device: str) -> dict[str, str]:
    """What decides, beside a checkpoint, how a run goes on from it: kept with it, and compared when it is taken up.

    Args:
        settings: of the run, all of them.
        device: that it computes on.
    """
    versions = {}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    where = f"{platform.system()} {platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"
    if device == "cuda":
        where += f", {torch.cuda.get_device_name()}"
    return {
        "settings": hashlib.sha256(settings.encode()).hexdigest()[:16],
        "python": platform.python_version(),
        **versions,
        "platform": where,
        "device": device,
        "threads": str(torch.get_num_threads()),
    }


def warn_of_differences(step: int, saved: dict[str, str], now: dict[str, str]) -> None:
    """Warns, naming what differs, where a checkpoint was made with something else; see `made_with`."""
    names = [name for name in (*now, *(saved.keys() - now.keys())) if saved.get(name) != now.get(name)]
    if names:
        told = "; ".join(f"{name} {saved.get(name, 'none')}, now {now.get(name, 'none')}" for name in names)
        warnings.warn(
            f"the checkpoint of step {step} was made with {told}. The run goes on from it, and may not be to the bit what it would "
            "have been",
            stacklevel=2,
        )


@contextmanager
def _no_group_is_meant() -> Iterator[None]:
    """A process alone has no process group, which torch would warn of."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")
        yield


def _os_error(error: BaseException) -> OSError | None:
    """What the operating system said, if that is behind an error."""
    if isinstance(error, OSError) and error.errno:
        return error
    if isinstance(error, CheckpointException):
        for failure, _ in error.failures.values():
            if (found := _os_error(failure)) is not None:
                return found
    behind = error.__cause__ or error.__context__
    if behind is not None and (found := _os_error(behind)) is not None:
        return found
    if isinstance(error, RuntimeError) and "inline_container" in str(
        error
    ):  # torch's archive writer keeps the reason to itself
        return OSError(errno.EIO, "a file could not be written to its end")
    told = re.search(r"\(os error (\d+)\)", str(error))  # as safetensors and tokenizers do
    return OSError(int(told[1]), os.strerror(int(told[1]))) if told else None


def load_latest(run: Path) -> tuple[int, dict[str, Any]] | None:
    """(step, state) of the newest whole checkpoint of a run, None if there is none. Its tensors: `load_tensors`."""
    steps = _complete_steps(run)
    if not steps:
        return None
    return _number(steps[-1]), torch.load(steps[-1] / "state.pt", map_location="cpu", weights_only=True)


def load_tensors(run: Path, step: int, tensors: dict[str, Tensor], world: World = ALONE) -> None:
    """Reads the tensors of a step in place, whatever number of processes wrote them. All ranks call this."""
    with _no_group_is_meant():
        dcp.load(tensors, checkpoint_id=run / "steps" / f"step_{step:06d}" / "tensors", no_dist=world.size == 1)


def read_tensors(run: Path, step: int) -> dict[str, Tensor]:
    """The tensors of a step, whole, by name."""
    reader = dcp.FileSystemReader(run / "steps" / f"step_{step:06d}" / "tensors")
    stored = reader.read_metadata().state_dict_metadata
    tensors = {name: torch.empty(about.size, dtype=about.properties.dtype) for name, about in stored.items()}
    load_tensors(run, step, tensors)
    return tensors


@contextmanager
def held_alone(run: Path) -> Iterator[None]:
    """Inside, no other process trains in a run's folder. The lock goes with the process, however it ends.

    Raises:
        ValueError: if another one does.
    """
    run.mkdir(parents=True, exist_ok=True)
    with (run / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{run} is being trained in by another process; wait for it, or name another folder") from None
        except OSError:
            pass  # a file system without locks
        yield


def clear_partial(run: Path) -> None:
    """Removes what killed processes have left half written or half removed anywhere in a run's folder, and puts back what they were
    about to replace. No other process uses the folder."""
    for parent, folders, files in os.walk(run):
        left = {name: match for name in (*folders, *files) if (match := _LEFT.fullmatch(name))}
        folders[:] = [name for name in folders if name not in left]  # what is inside goes with it
        for name, found in left.items():
            old, kept = Path(parent, name), Path(parent, found[1])
            if found[2] == "replaced" and not kept.exists():
                os.replace(old, kept)
            elif old.is_dir():
                shutil.rmtree(old)
            else:
                old.unlink()


def _number(step: Path) -> int:
    return int(step.name.removeprefix("step_"))


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
        self._path = path
        self._file = path.open("ab", buffering=0)

    def write(self, line: dict[str, Any]) -> None:
        """Adds a line.

        Raises:
            OSError: if it cannot be written whole; nothing of it is left then.
        """
        left = json.dumps(line).encode() + b"\n"
        end = os.fstat(self._file.fileno()).st_size
        try:
            while left:
                left = left[self._file.write(left) or 0 :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(end)
            _say_what_failed(error, f"{self._path}: the line of step {line['step']}")
            raise

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
            read = json.loads(line)
            if not isinstance(read, dict) or not isinstance(read.get("step"), int):
                raise ValueError
            found.append(read)
        except ValueError:
            if number < len(lines):
                raise ValueError(
                    f"{path}:{number} is damaged, no line of metrics: {line[:80]!r}; remove that line, or name another folder"
                ) from None
    return found
