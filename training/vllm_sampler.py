"""Sampling with vLLM: an engine in this process.

Full weights are handed over as tensors. Of a LoRA run the base goes over once, and each version of the adapter through a folder
of its own, since vLLM reads no folder twice:

RUN/sampler/rank_0/base/           what the engine starts from, where that is no checkpoint on disk
RUN/sampler/rank_0/adapters/...    the newest versions; older ones are removed
"""

import os
import shutil
from pathlib import Path
from typing import Any

from torch import nn

from agents.models.adapters import AdapterModel
from agents.models.model import Model
from agents.models.vllm import load
from training import weights
from training.checkpoint import write_folder
from training.config import Config
from training.sampler import Sampler

LEARNER = "policy"  # name of the adapter in training
KEPT_ADAPTERS = 2  # versions: requests in progress may use the one before
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # of adapters, that vLLM takes as a maximum
CPU_ADAPTERS = 64  # of a pool, that vLLM keeps in memory; others are read again when they are met


class VLLMEngine(Sampler):
    """vLLM in this process. Weights may be published while requests are in progress: those go on with the new ones."""

    def __init__(self, config: Config, module: nn.Module, tokenizer: Any, folder: Path):
        super().__init__(config, module)
        self.folder = folder / "sampler" / f"rank_{os.environ.get('RANK', '0')}"
        base = config.model
        if base == "tiny":
            base = str(self.folder / "base")
            write_folder(self.folder / "base", lambda target: weights.save_checkpoint(module, tokenizer, target))
        options: dict[str, Any] = {}
        if self._adapted:
            rank = weights.adapter_rank(module)
            options["max_lora_rank"] = next((known for known in RANKS if known >= rank), rank)
            options["max_cpu_loras"] = CPU_ADAPTERS
        self.engine = load(base, **{**options, **config.engine})
        self.model = AdapterModel(self.engine, LEARNER) if self._adapted else self.engine
        self._adapters: list[Path] = []  # folders, oldest first

    def _load(self, module: nn.Module, version: int) -> None:
        if not self._adapted or not self._published:
            self.engine.load_weights(weights.checkpoint(module), version)
        if self._adapted:
            self._load_adapter(module, version)

    def _load_adapter(self, module: nn.Module, version: int) -> None:
        target = self.folder / "adapters" / f"{version:06d}_{self._published}"
        write_folder(target, lambda folder: weights.save_adapter(module, folder))
        self.engine.load_adapter(LEARNER, target, version)
        self._adapters.append(target)
        for old in self._adapters[:-KEPT_ADAPTERS]:
            shutil.rmtree(old, ignore_errors=True)
        del self._adapters[:-KEPT_ADAPTERS]

    def _frozen_adapter(self, folder: Path) -> Model:
        if folder.name not in self.engine.adapters:
            self.engine.load_adapter(folder.name, folder)
        return self.engine.with_adapter(folder.name)
