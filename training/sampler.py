"""What games are sampled with: an engine in the learning seats, and the way of the trainer's weights into it.

    sampler = make_sampler(config, module, tokenizer, folder)      before the trainer shards or wraps the module
    sampler.publish(module, version)                               after every change of the weights
    for episode in sampler.play(matches): ...                      `sampler.agent` sits in the learning seats

Weights are moved by `publish` and by nothing else. That they arrived is proved at the first two times, the first of which may
move what the engine was started with, and at every `verify_every`-th (`agents.models.sync`).
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from agents.model_agent import ModelAgent
from agents.models import sync
from agents.models.hf import HFModel
from agents.models.model import Model, Sampling
from agents.play import Episode, Match, run_matches
from training.config import Config

SIXTEEN_BITS = (torch.bfloat16, torch.float16)


class Sampler(ABC):
    """An engine that games are sampled with.

    One thread may play while another trains: `publish` must not run while another thread is in `play` or in a method of the
    agent, unless it is suspended at a `yield`. Requests may then be in progress if `in_flight`.

    Attributes:
        agent: sits in the learning seats. The `policy_version` of its replies is that of the weights published last when the
            reply was begun.
        in_flight: whether weights can be published while requests are in progress; else play to the end first.
        copies: whether the engine has weights of its own, so that games can be sampled while the trainer changes its.
    """

    agent: ModelAgent
    in_flight = True
    copies = True

    def __init__(self, config: Config):
        self.config = config
        self._published = 0

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
        self._load(module, version)
        self._published += 1
        due = self._published <= 2 or (self.config.verify_every and self._published % self.config.verify_every == 0)
        return self._verify(module, version) if due else None

    @abstractmethod
    def _load(self, module: nn.Module, version: int) -> None:
        """Moves the weights."""

    def _verify(self, module: nn.Module, version: int) -> float | None:
        if self.agent.model.waiting:
            return None  # the probe wants the engine for itself
        trainer = HFModel(module, self.agent.model.tokenizer, version=version)
        return sync.verify(self.agent.model, trainer, tolerance=self._tolerance(module))

    def _tolerance(self, module: nn.Module) -> float:
        """Nats: what rounding makes of one computation by two programs."""
        in_16 = next(module.parameters()).dtype in SIXTEEN_BITS
        of_engine = self.agent.model.fingerprint().get("dtype")
        return sync.TOLERANCE_16_BIT if in_16 or of_engine in ("bfloat16", "float16") else sync.TOLERANCE

    def play(self, matches: Iterable[Match]) -> Iterator[Episode]:
        """Plays matches, `concurrency` at a time, and gives each episode as it ends, as `run_matches`."""
        return run_matches(matches, concurrency=self.config.concurrency)

    def close(self) -> None:
        """Frees what the sampler holds."""
        self.agent.close()


class InPlace(Sampler):
    """The module that is trained, as it stands in memory: nothing is moved, and nothing can be played while it is trained."""

    copies = False

    def __init__(self, config: Config, module: nn.Module, tokenizer: Any):
        super().__init__(config)
        self.agent = _agent(config, HFModel(module, tokenizer))

    def _load(self, module: nn.Module, version: int) -> None:
        model = self.agent.model
        assert isinstance(model, HFModel)
        assert model.model is module, "the sampler was made with the module that is trained"
        model.version = version  # forgets what was computed

    def _verify(self, module: nn.Module, version: int) -> None:
        """There is one set of weights."""


class InProcess(Sampler):
    """A copy of the module in this process. Weights that are not trained, as those under LoRA adapters, are shared with it."""

    def __init__(self, config: Config, module: nn.Module, tokenizer: Any):
        super().__init__(config)
        shared = {id(parameter): parameter for parameter in module.parameters() if not parameter.requires_grad}
        self._module = copy.deepcopy(module, shared)  # with `requires_grad`, by which torch's matmul rounds differently
        self.agent = _agent(config, HFModel(self._module, tokenizer))

    def _load(self, module: nn.Module, version: int) -> None:
        targets = dict(self._module.named_parameters())
        with torch.no_grad():
            for name, tensor in trained_weights(module):
                targets[name].copy_(tensor)
        self.agent.model.version = version

    def _verify(self, module: nn.Module, version: int) -> float | None:
        difference = super()._verify(module, version)
        self.agent.model.version = version  # forgets the probe: what follows does not depend on whether one was due
        return difference


def trained_weights(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """(name, whole tensor) of each parameter that is trained. All ranks of a sharded module call it."""
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            yield name, _whole(parameter)


def _whole(tensor: Tensor) -> Tensor:
    """A tensor, gathered from all ranks where it is sharded."""
    whole: Tensor = tensor.detach().full_tensor() if hasattr(tensor, "full_tensor") else tensor.detach()
    return whole


def _agent(config: Config, model: Model) -> ModelAgent:
    return ModelAgent(model, sampling=Sampling(temperature=config.temperature, max_tokens=config.max_reply_tokens))


def make_sampler(config: Config, module: nn.Module, tokenizer: Any, folder: Path) -> Sampler:
    """The sampler that `config.sampler` names.

    Args:
        config: settings of the run.
        module: the weights at the start; not sharded yet.
        tokenizer: of the model.
        folder: of the run; what an engine needs to read is written there.
    """
    del folder  # that of engines outside this process
    return {"module": InPlace, "copy": InProcess}[config.sampler](config, module, tokenizer)
