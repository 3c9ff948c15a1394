"""The weights in training as others read them: whole tensors under the names of a checkpoint, and folders.

A module that peft wrapped trains its adapter alone; below it lies a base that stays as it is. A sharded module's tensors are
gathered, which all ranks take part in.
"""

import copy
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from training.distributed import World

PEFT_PREFIX = "base_model.model."
OF_ADAPTER = (".lora_", ".modules_to_save.")  # in peft's names


def is_adapted(module: nn.Module) -> bool:
    """Whether an adapter is trained, and not the module's own weights."""
    return hasattr(module, "peft_config")


def whole(tensor: Tensor) -> Tensor:
    """A tensor, gathered from all ranks where it is sharded."""
    gathered: Tensor = tensor.detach().full_tensor() if hasattr(tensor, "full_tensor") else tensor.detach()
    return gathered


def trained(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """(name, whole tensor) of each parameter that is trained, by its name in the module."""
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            yield name, whole(parameter)


def checkpoint(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """(name, whole tensor) of the model's own weights as `save_pretrained` names them; an adapter's are left out."""
    adapted = is_adapted(module)
    for name, tensor in module.state_dict().items():
        if not adapted:
            yield name, whole(tensor)
        elif not any(part in name for part in OF_ADAPTER):
            plain = name.removeprefix(PEFT_PREFIX).replace(".base_layer.", ".").replace(".original_module.", ".")
            yield plain, whole(tensor)


def on_main(tensors: Iterable[tuple[str, Tensor]], world: World) -> dict[str, Tensor]:
    """Tensors for rank 0 to write, on its CPU; {} on the other ranks. They are taken one by one, so that no rank holds more than
    one of those that are gathered for it on its device. Alone: as they are."""
    if world.size == 1:
        return dict(tensors)
    found = {}
    for name, tensor in tensors:
        if world.is_main:
            found[name] = tensor.cpu()
        del tensor  # before the next is gathered
    return found


def on_cpu(module: nn.Module) -> nn.Module:
    """A module that can be sent to another process: itself where it is on CPU, else a copy."""
    on_other_device = any(parameter.device.type != "cpu" for parameter in module.parameters())
    return copy.deepcopy(module).cpu() if on_other_device else module


def save_checkpoint(module: nn.Module, tokenizer: Any, folder: Path, state: dict[str, Tensor] | None = None) -> None:
    """Writes the model's own weights and the tokenizer, as transformers does.

    Args:
        state: `checkpoint` by `on_main`, where all ranks have taken part and one writes.
    """
    model: Any = module.get_base_model() if is_adapted(module) else module
    model.save_pretrained(folder, state_dict=dict(checkpoint(module)) if state is None else state)
    tokenizer.save_pretrained(folder)


def adapter_state(module: nn.Module) -> dict[str, Tensor]:
    """Whole tensors of the adapter in training, by peft's names in the module."""
    trained = f".{module.active_adapter}."
    return {
        name: whole(tensor)
        for name, tensor in module.state_dict().items()
        if trained in name and any(part in name for part in OF_ADAPTER)
    }


def save_adapter(module: nn.Module, folder: Path, state: dict[str, Tensor] | None = None) -> None:
    """Writes the adapter in training, as peft does.

    Args:
        state: `adapter_state`, where all ranks have taken part and one writes.
    """
    state = adapter_state(module) if state is None else state
    module.save_pretrained(folder, state_dict=state, selected_adapters=[module.active_adapter])


def adapter_rank(module: nn.Module) -> int:
    """Of the adapter in training."""
    config: Any = module.peft_config
    return int(config[module.active_adapter].r)
