"""What training a model takes in memory, from its configuration alone.

    python -m benchmarks.memory [--recipe NAME] [--model FOLDER] [--sizes name=value,...] [--processes N] [--setting value ...]
    python -m benchmarks.memory --measure [--setting value ...]        beside it, a step with real weights

Of a model only `config.json` is read; "tiny" is the recipe's own, and `--sizes` changes either by the names of its configuration:
`--sizes hidden_size=2560,num_hidden_layers=36`. A model of one layer and one of two take a step of the very learner on tensors that
have sizes and no data, and the bytes of all that are alive are followed; what the second layer adds, every further one does. The
rows of the step begin with the same `--prompt` tokens, have `--reply` tokens of their own, and fill two micro-batches.

What this leaves out on a GPU: CUDA itself (about half a GB), what its allocator holds and cannot use, and an engine's cache.
"""

import argparse
import copy
import json
import math
import warnings
import weakref
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoConfig, AutoModelForCausalLM

from benchmarks.step import memory_mib, peak_mib
from lmgames.registry import nearest
from training import policy
from training.__main__ import overrides_of
from training.config import Config, load_config
from training.distributed import World, join_world
from training.learner import Learner
from training.samples import Row, micro_batches
from training.tiny import tiny_config

FP32 = 4  # bytes
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Load:
    """What a step computes.

    Args:
        prompt: tokens that all rows begin with.
        reply: tokens of each row's own.
    """

    prompt: int = 256
    reply: int = 64

    def rows(self, config: Config, vocabulary: int, parts: int = 2) -> list[Row]:
        """As many as fill so many micro-batches."""
        tokens = self.prompt // 8 + self.reply if config.share_prefixes else self.prompt + self.reply
        prompt = tuple(number % vocabulary for number in range(self.prompt))
        rows = []
        for number in range((parts + 1) * config.micro_batch_tokens // tokens + parts + 1):
            ids = (number % vocabulary, number // vocabulary, *range(2, self.reply))
            reply = tuple(each % vocabulary for each in ids[: self.reply])
            rows.append(Row(prompt, reply, (-1.0,) * len(reply), 1.0))
        full = islice(micro_batches(rows, config.micro_batch_tokens, share=config.share_prefixes), parts)
        return [row for part in full for row in part]


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of one process.

    Args:
        parameters: of the model, adapters included.
        trained: of those.
        kept: by what; from the first step to the end.
        passes: what forward and backward passes take beside that, at most.
        whole: weights and gradients that are shared out over processes and yet whole while they are needed, at most.
        sampler: weights that games are sampled with, in this process.
    """

    parameters: int
    trained: int
    kept: dict[str, int]
    passes: int
    whole: int
    sampler: int

    @property
    def total(self) -> int:
        return sum(self.kept.values()) + self.passes + self.whole + self.sampler


class Followed(TorchDispatchMode):
    """Inside, all tensors that operations give are followed.

    Attributes:
        now, peak: bytes of those that are alive, and the most there were.
    """

    def __init__(self, module: nn.Module):
        super().__init__()
        self.now = self.peak = 0
        self._sizes: dict[int, int] = {}  # by storage
        for tensor in (*module.parameters(), *module.buffers()):
            self._follow(tensor.detach())

    def __torch_dispatch__(self, operation: Any, _: Any, arguments: Any = (), named: Any = None) -> Any:
        if operation is torch.ops.aten._local_scalar_dense.default and isinstance(arguments[0], FakeTensor):
            return 0.0  # what a tensor without data is asked for: losses, norms, differences
        found = operation(*arguments, **(named or {}))
        for each in tree_leaves(found):
            if isinstance(each, Tensor):
                self._follow(each)
        return found

    def _follow(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata in self._sizes:
            return
        self._sizes[storage._cdata] = storage.nbytes()
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, storage._cdata)

    def _gone(self, storage: int) -> None:
        self.now -= self._sizes.pop(storage)


def read_shape(config: Config, sizes: dict[str, Any]) -> Any:
    """The configuration of a run's model.

    Args:
        sizes: what is to be changed in it.

    Raises:
        ValueError: if there is none, or a size has no such name.
    """
    if config.model == "tiny":
        shape: Any = tiny_config(config.vocab_size, hidden_size=config.hidden_size, layers=config.layers)
    else:
        try:
            shape = AutoConfig.from_pretrained(str(Path(config.model).expanduser()))
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(
                f"model={config.model!r} has no configuration that can be read here: {str(error).strip().splitlines()[0]} Give a "
                "folder with its config.json, or --model tiny with --sizes"
            ) from error
    known = shape.get_text_config()
    for name, value in sizes.items():
        if not hasattr(known, name):
            raise ValueError(f"--sizes {name}={value}: no such size of {type(known).__name__}{nearest(name, vars(known))}")
        setattr(known, name, value)
    if "num_hidden_layers" in sizes:
        _set_layers(known, sizes["num_hidden_layers"])
    return shape


def _set_layers(shape: Any, layers: int) -> None:
    shape.num_hidden_layers = layers
    if getattr(shape, "layer_types", None):
        shape.layer_types = (shape.layer_types * layers)[:layers]


def make_model(
    shape: Any, config: Config, *, device: str = "cpu", layers: int | None = None, dtype: torch.dtype | None = None
) -> Any:
    """A model with random weights, as it is trained.

    Args:
        layers: fewer than it has.
        dtype: other than the run's.
    """
    shape = copy.deepcopy(shape)
    if layers is not None:
        _set_layers(shape.get_text_config(), layers)
    with torch.device(device), torch.random.fork_rng(devices=[]):
        model = AutoModelForCausalLM.from_config(shape, dtype=dtype or getattr(torch, config.base_dtype))
        return policy.prepared(model, config)


def estimate(shape: Any, config: Config, load: Load, processes: int = 1) -> Footprint:
    """What each process of a run takes.

    Args:
        shape: configuration of the model.
        config: settings of the run.
        load: what its steps compute.
        processes: that the weights are shared out over.
    """
    model = make_model(shape, config, device="meta")
    low = getattr(torch, config.compute_dtype)
    # Shards are cast before they are gathered, and the passes then see nothing but cast weights.
    of_passes = replace(config, compute_dtype="float32") if processes > 1 else config
    one, two = (
        _passes(make_fake(shape, of_passes, layers, low if processes > 1 else None), of_passes, load) for layers in (1, 2)
    )
    layers = int(shape.get_text_config().num_hidden_layers)
    return Footprint(
        parameters=_count(model),
        trained=_count(model, trained=True),
        kept={name: math.ceil(size / processes) for name, size in kept(model, config).items()},
        passes=one + (two - one) * (layers - 1),
        whole=_whole(model, config, low) if processes > 1 else 0,
        sampler=_sampler(model, config, processes),
    )


def kept(model: Any, config: Config) -> dict[str, int]:
    """Bytes of what one process alone keeps from step to step."""
    trained = FP32 * _count(model, trained=True)
    found = {"weights": sum(each.numel() * each.itemsize for each in model.parameters())}
    found |= {"gradient": trained, "AdamW": 2 * trained, "average": trained}
    return found | ({"magnet": trained} if config.kl_weight else {})


def _count(model: nn.Module, *, trained: bool = False) -> int:
    return sum(each.numel() for each in model.parameters() if each.requires_grad or not trained)


def make_fake(shape: Any, config: Config, layers: int, dtype: torch.dtype | None = None) -> Any:
    """As `make_model`, of tensors that have sizes and no data."""
    model = make_model(shape, config, device="meta", layers=layers, dtype=dtype)
    made: dict[Tensor, Tensor] = {}
    with FakeTensorMode(allow_non_fake_inputs=True):
        for module in model.modules():
            for tensors in (module._parameters, module._buffers):
                for name, tensor in tensors.items():
                    if tensor is None:
                        continue
                    if tensor not in made:  # tied weights are one tensor
                        empty = torch.empty(tensor.shape, dtype=tensor.dtype)
                        is_weight = isinstance(tensor, nn.Parameter)
                        made[tensor] = nn.Parameter(empty, tensor.requires_grad) if is_weight else empty
                    tensors[name] = made[tensor]
    return model


def _passes(model: Any, config: Config, load: Load) -> int:
    """Bytes that passes take beside what is kept."""
    kept_bytes, most = follow(model, config, load)
    return most - kept_bytes


def follow(model: Any, config: Config, load: Load) -> tuple[int, int]:
    """A step of the learner: bytes alive at its end, and the most."""
    rows = load.rows(config, int(model.config.get_text_config().vocab_size))
    with Followed(model) as followed, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Accessing the data pointer of FakeTensor", UserWarning)  # to copy one
        learner = Learner(model, config, total_steps=2)
        followed.peak = followed.now
        learner.update(rows)
        return followed.now, followed.peak


def _whole(model: Any, config: Config, low: torch.dtype) -> int:
    """Bytes of the layer that runs and the one after it, and of all that is in no layer, which stays whole from pass to pass; with
    their gradients, as computed and as they are summed."""

    def weights(of: Sequence[nn.Parameter]) -> int:
        return sum(each.numel() * (each.itemsize if low == torch.float32 else low.itemsize) for each in of)

    def gradients(of: Sequence[nn.Parameter]) -> int:
        return sum(each.numel() * (low.itemsize + FP32) for each in of if each.requires_grad)

    names = set((model.get_base_model() if config.lora_rank else model)._no_split_modules or ())
    layers = [list(each.parameters()) for each in model.modules() if type(each).__name__ in names]
    in_layers = {id(each) for layer in layers for each in layer}
    rest = [each for each in model.parameters() if id(each) not in in_layers]
    largest = max(layers, key=weights, default=[])
    copies = 2 if config.kl_weight and not config.lora_rank else 1
    return copies * weights(rest) + gradients(rest) + 2 * weights(largest) + gradients(largest)


def _sampler(model: Any, config: Config, processes: int) -> int:
    if config.sampler == "vllm":
        item = torch.float32.itemsize if config.engine.get("dtype") == "float32" else torch.bfloat16.itemsize
        return _count(model) * item
    if config.sampler in ("servers", "ray") or (config.sampler == "module" and processes == 1):
        return 0
    # What is not trained is shared with the trainer, until that shares it out.
    return sum(each.numel() * each.itemsize for each in model.parameters() if each.requires_grad or processes > 1)


def measure(shape: Any, config: Config, load: Load, world: World) -> tuple[int, int, int]:
    """A step with real weights: bytes kept, the most, and the growth of this process's memory (of its GPU's, if it has one)."""
    before = 0.0 if world.device.type == "cuda" else memory_mib()
    model = make_model(shape, config).to(world.device)
    rows = load.rows(config, int(shape.get_text_config().vocab_size), parts=2 * world.size)
    with Followed(model) as followed:
        learner = Learner(model, config, total_steps=2, world=world)
        learner.shard()
        followed.peak = followed.now
        learner.update(rows)
        return followed.now, followed.peak, int((peak_mib(world.device) - before) * MIB)


WAYS: dict[str, dict[str, Any]] = {
    "full weights": {"lora_rank": 0, "base_dtype": "float32", "kl_weight": 0.0},
    "full weights, KL": {"lora_rank": 0, "base_dtype": "float32", "kl_weight": 0.1},
    "LoRA on a bf16 base": {"base_dtype": "bfloat16", "kl_weight": 0.0},
    "LoRA on a bf16 base, KL": {"base_dtype": "bfloat16", "kl_weight": 0.1},
}
LAYOUTS: dict[str, dict[str, Any]] = {
    "padded": {"share_prefixes": False, "gradient_checkpointing": False},
    "shared beginnings": {"share_prefixes": True, "gradient_checkpointing": False},
    "padded, gradient checkpointing": {"share_prefixes": False, "gradient_checkpointing": True},
    "shared beginnings, gradient checkpointing": {"share_prefixes": True, "gradient_checkpointing": True},
}
RANK = 16  # of adapters in the table, for a run without


def kept_table(shape: Any, config: Config, processes: int) -> list[str]:
    """Of each way to train: what is kept, by process."""
    lines = ["| kept all the time | trained | bytes a parameter | GB a process |", "|---|---|---|---|"]
    for way, settings in WAYS.items():
        rank = settings.get("lora_rank", config.lora_rank or RANK)
        changed = replace(config, **{**settings, "lora_rank": rank, **({} if rank else {"lora_alpha": 0.0})})
        model = make_model(shape, changed, device="meta")
        size, count = sum(kept(model, changed).values()), _count(model)
        name = way.replace("LoRA", f"LoRA of rank {rank}")
        lines.append(
            f"| {name} | {_count(model, trained=True) / 1e6:,.1f} M | {size / count:.2f} | {_gb(size / processes)} |"
        )
    return lines


def passes_table(shape: Any, config: Config, load: Load, processes: int) -> list[str]:
    """Of each layout: what passes take beside it."""
    known = shape.get_text_config()
    lines = [
        f"| passes, {config.compute_dtype} | tokens computed | GB | bytes a token, layer and unit of width |",
        "|---|---|---|---|",
    ]
    for way, settings in LAYOUTS.items():
        changed = replace(config, **settings)
        rows = load.rows(changed, known.vocab_size, parts=1)
        tokens = (
            load.prompt + len(rows) * (load.reply - 1)
            if changed.share_prefixes
            else len(rows) * (load.prompt + load.reply - 1)
        )
        size = estimate(shape, changed, load, processes).passes
        each = size / tokens / known.num_hidden_layers / known.hidden_size
        lines.append(f"| {way} | {tokens:,} | {_gb(size)} | {each:.1f} |")
    return lines


def _gb(size: float) -> str:
    return f"{size / 1e9:,.3g}"


def _footprint_lines(found: Footprint) -> list[str]:
    lines = [*found.kept.items(), ("passes, at most", found.passes)]
    lines += [("whole weights of layers, at most", found.whole)] if found.whole else []
    lines += [("sampler's weights", found.sampler)] if found.sampler else []
    return ["| this run | GB a process |", "|---|---|", *(f"| {n} | {_gb(s)} |" for n, s in (*lines, ("sum", found.total)))]


def _sizes(text: str) -> dict[str, Any]:
    pairs = [part.partition("=") for part in text.split(",") if part]
    return {name: json.loads(value) for name, _, value in pairs}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", allow_abbrev=False)
    parser.add_argument("--recipe", help="TOML file, or the name of one in training/recipes/")
    parser.add_argument("--sizes", type=_sizes, default={}, help="of the model, by the names of its configuration")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--prompt", type=int, default=Load().prompt, help="tokens that all rows begin with")
    parser.add_argument("--reply", type=int, default=Load().reply, help="tokens of each row's own")
    parser.add_argument("--tables", action="store_true", help="compare ways to train and layouts, too")
    parser.add_argument(
        "--measure", action="store_true", help="take the step with real weights, under torchrun in several processes"
    )
    known, rest = parser.parse_known_args(arguments)
    config, load = load_config(known.recipe, overrides_of(rest)), Load(known.prompt, known.reply)
    shape = read_shape(config, known.sizes)
    with join_world(config.device) if known.measure else nullcontext(World()) as world:
        found = estimate(shape, config, load, max(known.processes, world.size))
        if world.is_main:
            text = shape.get_text_config()
            print(f"{found.parameters / 1e6:,.1f} M parameters, {found.trained / 1e6:,.1f} M trained; ", end="")
            print(
                f"{text.num_hidden_layers} layers of width {text.hidden_size}, micro_batch_tokens={config.micro_batch_tokens}"
            )
            print("\n".join(_footprint_lines(found)))
        if known.measure:
            followed, most, grown = measure(shape, config, load, world)
            # Shards are freed in a way that cannot be followed.
            tensors = f"{_gb(followed)} GB of tensors kept, {_gb(most)} at most; " if world.size == 1 else ""
            if world.is_main:
                print(f"measured: {tensors}{_gb(grown)} GB more in this process")
    if known.tables:
        print("\n" + "\n".join(kept_table(shape, config, known.processes)))
        print("\n" + "\n".join(passes_table(shape, config, load, known.processes)))


if __name__ == "__main__":
    main()
