"""What games are sampled with: an engine in the learning seats, and the way of the trainer's weights into it.

    sampler = make_sampler(config, module, tokenizer, folder)      before the trainer shards or wraps the module
    sampler.publish(module, version)                               after every change of the weights
    agent = ModelAgent(sampler.model, sampling=...)                sits in the learning seats
    for episode in sampler.play(matches, concurrency=64): ...

Weights are moved by `publish` and by nothing else. That they arrived is proved at the first two times, the first of which may
move what the engine was started with, and at every `verify_every`-th (`agents.models.sync`).
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from agents.agent import Agent
from agents.model_agent import complete_beside
from agents.models import sync
from agents.models.hf import HFModel, load
from agents.models.model import Model
from agents.play import Episode, Match, Watch, run_matches
from agents.specs import make_agent
from training import weights
from training.config import Config
from training.distributed import ALONE, World
from training.policy import reshard

SIXTEEN_BITS = {"bfloat16", "float16"}


class Sampler(ABC):
    """An engine that games are sampled with.

    One thread may play while another trains, but `publish` must not run while another thread is in `play` (unless it is suspended
    at a `yield`), in `poll` or in `submit`. Requests may then be in progress: they go on with the new weights, or, with adapters
    in vLLM, with the old ones to their end. A reply knows the versions that sampled it.

    Attributes:
        model: the engine with the weights published last, for agents in the learning seats.
        copies: whether the engine has weights of its own, so that games can be sampled while the trainer changes its.
        watch: where the time of `play` went, as far as it went in this process.
    """

    model: Model
    copies = True

    def __init__(self, config: Config, module: nn.Module, world: World = ALONE):
        self.config = config
        self.world = world
        self._adapted = weights.is_adapted(module)
        self._published = 0
        self.watch = Watch()

    def publish(self, module: nn.Module, version: int) -> float | None:
        """Moves the trainer's weights into the engine and has it forget what it computed with the old ones. All ranks of a
        sharded module call it.

        Args:
            module: the weights in training, sharded or not.
            version: their number.

        Returns:
            The largest difference of a token's log-probability in the proof, nats; None where none was due.

        Raises:
            SyncError: if the engine samples with other weights: the run must not go on.
        """
        reshard(module)
        self._load(module, version)
        self._published += 1
        due = self._published <= 2 or (self.config.verify_every and self._published % self.config.verify_every == 0)
        difference = self._verify(module, version) if due else None
        reshard(module)
        return difference

    @abstractmethod
    def _load(self, module: nn.Module, version: int) -> None:
        """Moves the weights."""

    def _verify(self, module: nn.Module, version: int) -> float | None:
        """Has the engine reply to a probe and the trainer score the replies."""
        model = self.model
        trainer = HFModel(module, model.tokenizer, version=version)
        requests = sync.probe(len(model.tokenizer), context=model.context)
        tolerance = self._tolerance(module)
        return max(
            sync.compare(replies, trainer, tolerance=tolerance, version=version)
            for replies in self.world.all_gather_objects(
                complete_beside(model, requests)
            )  # a sharded trainer scores with all ranks
        )

    def _tolerance(self, module: nn.Module) -> float:
        """Nats: what rounding makes of one computation by two programs."""
        if self.config.verify_tolerance:
            return self.config.verify_tolerance
        of_trainer = {str(next(module.parameters()).dtype).removeprefix("torch."), self.config.compute_dtype}
        of_engine = str(self.model.fingerprint().get("dtype"))
        return sync.TOLERANCE_16_BIT if SIXTEEN_BITS & {of_engine, *of_trainer} else sync.TOLERANCE

    def player(self, spec: str) -> Agent:
        """A fixed player."""
        return make_agent(spec)

    def admit(self, folder: Path) -> None:  # noqa: B027  # most read it when it is first met
        """Says that weights saved to a folder may be met from now on; all processes say so, of each folder in the same order."""

    def frozen(self, folder: Path) -> Model:
        """Weights as they were saved to a folder, which stays: a whole model, or an adapter in a run that trains one, which is put
        on the base that is here already."""
        if self._adapted and (folder / "adapter_config.json").is_file():
            return self._frozen_adapter(folder)
        return load(str(folder), dtype=self.config.base_dtype, device=str(self.world.device))

    @abstractmethod
    def _frozen_adapter(self, folder: Path) -> Model: ...

    def play(self, matches: Iterable[Match], *, concurrency: int) -> Iterator[Episode]:
        """Plays matches and gives each episode as it ends: `run_matches`, wherever the engine is."""
        return run_matches(matches, concurrency=concurrency, watch=self.watch)

    def close(self) -> None:
        """Frees what the sampler holds."""
        self.model.close()


class _HFSampler(Sampler):
    """Sampling with transformers in this process.

    Args:
        sampled: the module to sample from.
    """

    model: HFModel

    def __init__(self, config: Config, sampled: nn.Module, tokenizer: Any, world: World = ALONE):
        super().__init__(config, sampled, world)
        self.model = HFModel(sampled, tokenizer)
        self._frozen: HFModel | None = None  # with the adapters of the pool, on the base that the learner's stands on

    def _frozen_adapter(self, folder: Path) -> Model:
        if self._frozen is None:
            self._frozen = HFModel(_copied(self.model.model), self.model.tokenizer)
        if folder.name not in self._frozen.adapters:
            self._frozen.load_adapter(folder.name, folder)
        return self._frozen.with_adapter(folder.name)

    def _settle(self, version: int) -> None:
        """Forgets what was computed, also for a proof: what follows does not depend on whether one was due."""
        self.model.version = version
        if self._frozen is not None:
            self._frozen.forget()


class InPlace(_HFSampler):
    """The module that is trained, as it stands in memory: nothing is moved, and nothing can be played while it is trained."""

    copies = False

    def __init__(self, config: Config, module: nn.Module, tokenizer: Any, world: World = ALONE):
        super().__init__(config, module, tokenizer, world)

    def _load(self, module: nn.Module, version: int) -> None:
        assert self.model.model is module, "the sampler was made with the module that is trained"
        self._settle(version)

    def _verify(self, module: nn.Module, version: int) -> None:
        """There is one set of weights."""


class InProcess(_HFSampler):
    """A copy of the module in this process. Weights that are not trained, as those under LoRA adapters, are shared with it."""

    def __init__(self, config: Config, module: nn.Module, tokenizer: Any, world: World = ALONE):
        super().__init__(config, _copied(module), tokenizer, world)

    def _load(self, module: nn.Module, version: int) -> None:
        targets = dict(self.model.model.named_parameters())
        with torch.no_grad():
            for name, tensor in weights.trained(module):
                targets[name].copy_(tensor)
        self._settle(version)

    def _verify(self, module: nn.Module, version: int) -> float | None:
        difference = super()._verify(module, version)
        self._settle(version)
        return difference


def _copied(module: nn.Module) -> nn.Module:
    """With the parameters that are not trained shared. The others keep `requires_grad`, by which torch's matmul rounds differently
    even where no gradient is taken."""
    shared = {id(parameter): parameter for parameter in module.parameters() if not parameter.requires_grad}
    return copy.deepcopy(module, shared)


def check_processes(config: Config, world: World) -> None:
    """Refuses samplers that several processes cannot have one each of; before anything is loaded.

    Raises:
        ValueError: saying what to do.
    """
    if world.size == 1:
        return
    if config.sampler == "ray":
        raise ValueError(
            f"sampler='ray' with {world.size} processes: each would place ray_actors={config.ray_actors} of its own. Train in one "
            "process, beside which the actors play, or say sampler='copy', 'vllm' or 'servers'"
        )
    parallel = {name: size for name, size in config.engine.items() if name.endswith("_parallel_size") and size != 1}
    if config.sampler == "vllm" and parallel:
        raise ValueError(
            f"engine={parallel} with {world.size} processes: each has one GPU, that its engine shares with the trainer. Leave it "
            "out, or serve the model on other GPUs and say sampler='servers'"
        )


def make_sampler(config: Config, module: nn.Module, tokenizer: Any, folder: Path, world: World = ALONE) -> Sampler:
    """The sampler that `config.sampler` names.

    Args:
        config: settings of the run.
        module: the weights at the start; not sharded yet.
        tokenizer: of the model.
        folder: of the run; what an engine outside this process needs to read is written to its folder `sampler`.
        world: the processes of the run. A module that they share out cannot be played as it stands: a copy is.
    """
    if config.sampler == "module" and world.size == 1:
        return InPlace(config, module, tokenizer, world)
    if config.sampler in ("module", "copy"):
        return InProcess(config, module, tokenizer, world)
    if config.sampler == "ray":
        from training.ray_pool import RaySampler

        return RaySampler(config, module, tokenizer, folder, world=world)
    from training.vllm_sampler import VLLMEngine, VLLMServers

    return (VLLMEngine if config.sampler == "vllm" else VLLMServers)(config, module, tokenizer, folder, world)
