"""Metrics for Weights & Biases. Imported only by runs that ask for it; needs the extra `wandb`.

Offline without an account: WANDB_MODE=offline, and `wandb sync RUN/wandb/offline-run-...` later.
"""

import dataclasses
import uuid
from pathlib import Path
from typing import Any

from training.checkpoint import write_file
from training.config import Config
from training.tensorboard import scalars


class WandB:
    """Writes lines of metrics as one W&B run, which a resumed run goes on with.

    Args:
        folder: of the run; what W&B keeps is in its folder `wandb`.
        config: of the run.
    """

    def __init__(self, folder: Path, config: Config):
        import wandb

        known = folder / "wandb_id.txt"
        if not known.exists():
            write_file(known, uuid.uuid4().hex[:8] + "\n")
        self._run = wandb.init(
            project="lmgames",
            name=folder.name,
            id=known.read_text(encoding="utf-8").strip(),
            resume="allow",
            dir=folder,
            config=dataclasses.asdict(config),
        )

    def write(self, line: dict[str, Any]) -> None:
        self._run.log({name: value for name, value in scalars(line) if name != "step"}, step=line["step"])

    def close(self) -> None:
        self._run.finish()
