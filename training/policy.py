"""The module that is trained: loading it, LoRA adapters on it, its shards over several processes, and saving it for users.

Full weights are fp32, whatever the forward passes compute in: bf16 weights would lose updates of 1e-6. LoRA adapters are fp32 over
a base in `base_dtype`, which never changes; slow copies of the policy are then further adapters on the same base.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from agents.models.adapters import peft_at_work
from training import weights
from training.checkpoint import write_folder
from training.config import Config
from training.distributed import ALONE, World
from training.tiny import make_model, make_tokenizer
from training.warmup import random_play_of, shown_turns

TRAINED = "default"  # peft's name of the adapter in training


def load_policy(config: Config, folder: Path, world: World = ALONE) -> tuple[Any, Any]:
    """The module to train and its tokenizer.

    Args:
        config: settings of the run.
        folder: of the run; the base of an adapter on a tiny model is written there, since it is nowhere else.
        world: the processes of the run, which all load it; each gets it on its own device.

    Raises:
        ValueError: if there is no such model, or none of its layers is one of `lora_targets`.
    """
    model, tokenizer = _tiny(config) if config.model == "tiny" else _loaded(config)
    if config.lora_rank and config.model == "tiny":
        base = (folder / "base").absolute()
        if world.is_main and not base.exists():
            write_folder(base, lambda target: weights.save_checkpoint(model, tokenizer, target))
        world.barrier()
        model.name_or_path = str(base)
    return prepared(model, config).to(world.device), tokenizer


def prepared(model: Any, config: Config) -> Any:
    """A model as it is trained: with adapters, layers that are computed again, and no dropout.

    Raises:
        ValueError: if none of its layers is one of `lora_targets`.
    """
    _without_dropout(model)
    if config.gradient_checkpointing:
        getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)({"use_reentrant": False})
    return _with_lora(model, config) if config.lora_rank else model


def _tiny(config: Config) -> tuple[Any, Any]:
    texts = [turn.text for of_game in shown_turns(config) for turn in of_game]
    replies = [" ".join(turn.replies) for of_game in random_play_of(config, 50) for turn in of_game]
    tokenizer = make_tokenizer(texts + replies, config.vocab_size)
    model = make_model(
        tokenizer,
        hidden_size=config.hidden_size,
        layers=config.layers,
        init_std=config.init_std,
        seed=config.seed,
    )
    return model.to(getattr(torch, config.base_dtype)), tokenizer


def _loaded(config: Config) -> tuple[Any, Any]:
    folder = Path(config.model).expanduser()
    name = str(folder) if folder.is_dir() else config.model
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        model = AutoModelForCausalLM.from_pretrained(name, dtype=config.base_dtype)
    except (OSError, ValueError, KeyError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ValueError(
            f"model={config.model!r} cannot be loaded: {reason}. Give 'tiny', a folder that save_pretrained of a model and of its "
            "tokenizer wrote, or a name on the hub that is downloaded or can be"
        ) from error
    if tokenizer.chat_template is None and tokenizer.eos_token_id is None:
        raise ValueError(f"model={config.model!r} has neither a chat template nor an end token: no reply of it would end")
    return model, tokenizer


def _without_dropout(model: nn.Module) -> None:
    """Ratios compare one function under two sets of weights; dropout would make it another at every pass."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0


def _with_lora(model: Any, config: Config) -> Any:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise ValueError(f"lora_rank={config.lora_rank} needs the package peft: pip install 'lmgames[train]'") from None
    named = config.lora_targets
    lora = LoraConfig(
        task_type="CAUSAL_LM",
        r=config.lora_rank,
        lora_alpha=config.lora_alpha or 2 * config.lora_rank,
        target_modules=named[0] if named == ("all-linear",) else list(named),
        lora_dropout=0.0,
    )
    linear = sorted({name.rsplit(".", 1)[-1] for name, each in model.named_modules() if isinstance(each, nn.Linear)})
    try:
        with torch.random.fork_rng(devices=[]), peft_at_work():
            torch.manual_seed(config.seed)
            adapted = get_peft_model(model, lora)
    except ValueError as error:
        raise ValueError(
            f"lora_targets={list(named)} do not fit the model {config.model!r}, whose linear layers are {', '.join(linear)}: "
            f"{error}"
        ) from None
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return adapted


def add_adapter(model: Any, name: str) -> None:
    """A frozen copy of the adapter in training, as it is now."""
    if name in model.peft_config:
        model.delete_adapter(name)
    with torch.random.fork_rng(devices=[]):
        model.add_adapter(name, model.peft_config[TRAINED])
    for full_name, original in list(model.named_parameters()):
        if f".{TRAINED}." in full_name:
            owner, _, leaf = full_name.replace(f".{TRAINED}.", f".{name}.").rpartition(".")
            setattr(model.get_submodule(owner), leaf, nn.Parameter(original.detach().clone(), requires_grad=False))


def adapter_pairs(model: Any, name: str) -> Iterator[tuple[nn.Parameter, nn.Parameter]]:
    """(parameter of an adapter, the same of the one in training)."""
    found = dict(model.named_parameters())
    for full_name, parameter in found.items():
        if f".{name}." in full_name:
            yield parameter, found[full_name.replace(f".{name}.", f".{TRAINED}.")]


@contextmanager
def adapter_on(model: Any, name: str) -> Iterator[None]:
    """Inside, forward passes use that adapter. Which one is trained does not change."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    before = [layer._active_adapter for layer in layers]
    try:
        for layer in layers:
            layer._active_adapter = [name]
        yield
    finally:
        for layer, active in zip(layers, before, strict=True):
            layer._active_adapter = active


class WithAdapter:
    """A model with another of its adapters on, for whoever calls it; all else is the model's.

    Args:
        model: wrapped by peft.
        name: of the adapter.
    """

    def __init__(self, model: Any, name: str):
        self.model = model
        self.name = name

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        with adapter_on(self.model, self.name):
            return self.model(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)


def shard(model: Any, world: World, compute_dtype: str) -> None:
    """Shares a module out over the processes, in place (FSDP2): each decoder layer, then what is left.

    Gradients are summed over ranks, not averaged: the divisor of the loss is one for all of them.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(world.device.type, (world.size,))
    low = getattr(torch, compute_dtype)
    precision = MixedPrecisionPolicy() if low == torch.float32 else MixedPrecisionPolicy(low, torch.float32)
    inner = model.get_base_model() if weights.is_adapted(model) else model
    layers = set(inner._no_split_modules or ())
    for module in list(model.modules()):
        if type(module).__name__ in layers:
            fully_shard(module, mesh=mesh, mp_policy=precision)
    # The output layer is called after the model's own forward pass, see `training.network`.
    fully_shard(model, mesh=mesh, mp_policy=precision, reshard_after_forward=False)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)


def reshard(model: Any) -> None:
    """Gives up the whole weights that forward passes have left, so that parameters are the shards again; nothing if not sharded."""
    if hasattr(model, "reshard"):
        model.reshard()


def save_policy(model: Any, tokenizer: Any, target: Path, world: World = ALONE, adapter: str = TRAINED) -> None:
    """Writes the policy and its tokenizer to a folder, for `hf:FOLDER`: whole weights, or the adapter alone. All ranks call it."""
    reshard(model)
    if not weights.is_adapted(model):
        state = weights.on_main(weights.checkpoint(model), world)
        fill = lambda folder: model.save_pretrained(folder, state_dict=state)  # noqa: E731
    else:
        of_adapter = (
            (name.replace(f".{adapter}.", f".{TRAINED}."), weights.whole(tensor))
            for name, tensor in model.state_dict().items()
            if f".{adapter}." in name and any(part in name for part in weights.OF_ADAPTER)
        )
        state = weights.on_main(of_adapter, world)
        fill = lambda folder: model.save_pretrained(folder, state_dict=state, selected_adapters=[TRAINED])  # noqa: E731

    def write(folder: Path) -> None:
        fill(folder)
        tokenizer.save_pretrained(folder)

    if world.is_main:
        write_folder(target, write)
    world.barrier()
