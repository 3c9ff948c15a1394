"""Sampling with vLLM: an engine in this process, or servers that others started.

Full weights are handed to an engine as tensors, to servers through a folder that all of them can read. Of a LoRA run the base goes
over once, and each version of the adapter through a folder of its own, since vLLM reads no folder twice:

RUN/sampler/rank_0/base/           what the engine starts from, where that is no checkpoint on disk
RUN/sampler/rank_0/adapters/...    the newest versions; older ones are removed
RUN/sampler/servers/weights/...    likewise
"""

import secrets
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from agents.models import sync
from agents.models.adapters import AdapterModel
from agents.models.hf import HFModel
from agents.models.model import Model
from agents.models.servers import Servers
from agents.models.vllm import load
from training import weights
from training.checkpoint import write_folder
from training.config import Config
from training.distributed import ALONE, World
from training.sampler import Sampler

LEARNER = "policy"  # name of the adapter in training
KEPT_VERSIONS = 2  # on disk: requests in progress may use the one before
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # of adapters, that vLLM takes as a maximum
SERVER_RETRIES = 3  # of a request, before its server is given up
CPU_ADAPTERS = 64  # of a pool, that vLLM keeps in memory; others are read again when they are met


class VLLMEngine(Sampler):
    """vLLM in this process. Weights may be published while requests are in progress: those go on with the new ones."""

    def __init__(self, config: Config, module: nn.Module, tokenizer: Any, folder: Path, world: World = ALONE):
        super().__init__(config, module, world)
        self.folder = folder / "sampler" / f"rank_{world.rank}"
        base = config.model
        if base == "tiny":
            base = str(self.folder / "base")
            write_folder(self.folder / "base", lambda target: weights.save_checkpoint(module, tokenizer, target))
        options: dict[str, Any] = {}
        if self._adapted:
            rank = weights.adapter_rank(module)
            options["max_lora_rank"] = next((known for known in RANKS if known >= rank), rank)
            options["max_cpu_loras"] = CPU_ADAPTERS
        if world.size > 1 and world.device.type == "cuda":
            options["gpu"] = world.device.index
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
        _remove_old(self._adapters, target)

    def _frozen_adapter(self, folder: Path) -> Model:
        if folder.name not in self.engine.adapters:
            self.engine.load_adapter(folder.name, folder)
        return self.engine.with_adapter(folder.name)


class VLLMServers(Sampler):
    """Servers by their addresses; rank 0 sends them the weights."""

    def __init__(self, config: Config, module: nn.Module, tokenizer: Any, folder: Path, world: World = ALONE):
        super().__init__(config, module, world)
        self.folder = folder / "sampler" / "servers"
        self.servers = Servers(
            config.sampler_urls,
            tokenizer,
            leads=world.is_main,
            label=world.broadcast_object(secrets.token_hex(4)),
            **{"retries": SERVER_RETRIES, **config.engine},
        )
        self.model = AdapterModel(self.servers, LEARNER) if self._adapted else self.servers
        self._written: dict[str, list[Path]] = {"weights": [], "adapters": []}  # oldest first

    def _load(self, module: nn.Module, version: int) -> None:
        if not self._adapted or not self._published:
            tokenizer = self.servers.tokenizer
            saved = weights.on_main(weights.checkpoint(module), self.world)
            target = self._write("weights", version, lambda to: weights.save_checkpoint(module, tokenizer, to, saved))
            self.servers.load_weights(target, version)
        if self._adapted:
            adapter = weights.adapter_state(module)
            target = self._write("adapters", version, lambda to: weights.save_adapter(module, to, adapter))
            self.servers.load_adapter(LEARNER, target, version)
        self.world.barrier()

    def _write(self, kind: str, version: int, save: Callable[[Path], None]) -> Path:
        target = self.folder / kind / f"{version:06d}_{self._published}"
        if self.world.is_main:
            write_folder(target, save)
            if kind == "adapters" or not self._adapted:  # the base of adapters stays, for servers that are started anew
                _remove_old(self._written[kind], target)
        self.world.barrier()
        return target

    def _verify(self, module: nn.Module, version: int) -> float:
        """Every server is asked by itself."""
        trainer = HFModel(module, self.servers.tokenizer, version=version)
        served = self.servers.served_as(LEARNER) if self._adapted else ""
        requests = [replace(one, adapter=served) for one in sync.probe(len(trainer.tokenizer), context=self.servers.context)]
        found = []
        for server in self.servers.alive if self.world.is_main else ():
            server.version = version
            found.append(server.generate(requests))
        (replies, *_) = self.world.all_gather_objects(found)
        tolerance = self._tolerance(module)
        return max(sync.compare(one, trainer, tolerance=tolerance, version=version) for one in replies)

    def admit(self, folder: Path) -> None:
        """At once: which games are whose, and so who meets it first and when, differs between the processes."""
        if self._adapted:
            self.servers.load_adapter(folder.name, folder)
            self.world.barrier()

    def _frozen_adapter(self, folder: Path) -> Model:
        return self.servers.with_adapter(folder.name)


def _remove_old(written: list[Path], newest: Path) -> None:
    written.append(newest)
    for old in written[:-KEPT_VERSIONS]:
        shutil.rmtree(old, ignore_errors=True)
    del written[:-KEPT_VERSIONS]
