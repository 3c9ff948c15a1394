"""Metrics for TensorBoard. Imported only by runs that ask for it; needs the package tensorboard."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any


def scalars(line: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """(name, value) of every number in a line of metrics, however deep, e.g. ("nash_conv/ema", 0.05)."""
    for name, value in line.items():
        if isinstance(value, dict):
            yield from scalars(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            yield prefix + name, float(value)


class TensorBoard:
    """Writes lines of metrics as event files.

    Args:
        folder: of the event files.
        last_step: what an earlier process wrote of later steps is taken back.
    """

    def __init__(self, folder: Path, last_step: int = -1):
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(folder, purge_step=last_step + 1)

    def write(self, line: dict[str, Any]) -> None:
        for name, value in scalars(line):
            if name != "step":
                self._writer.add_scalar(name, value, line["step"])

    def close(self) -> None:
        self._writer.close()
