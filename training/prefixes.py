"""Sequences that begin alike, each distinct beginning computed once in a forward pass with gradients.

The tokens of all sequences are the nodes of a prefix tree, laid one behind the other as one packed sequence. All that a model does
to each token by itself (projections, feed-forward layers, norms) then runs on distinct nodes and on no padding; only attention
needs to know who comes before whom, and it looks that up: a registered attention function of transformers gathers keys and values
along each path. Exact: a token's value depends on its path alone.

M = nodes, S = branches in a bucket, L = nodes of its longest branch, T = tokens of its longest path.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, scaled_dot_product_attention
from transformers import AttentionInterface

from agents.models.model import common_prefix

ATTENTION = "lmgames_prefix_tree"
ALIKE = 0.7  # shortest branch of a bucket, as a share of its longest: more is fewer kernels, less is less padding


@dataclass(frozen=True, slots=True)
class Bucket:
    """Branches of about one length, whose attention is computed together.

    Args:
        query_SL: nodes of each branch; padded with node 0.
        key_ST: nodes of the whole path to the end of each branch; padded with node 0.
        position_SL: of each query in its path; 0 for padding.
    """

    query_SL: Tensor
    key_ST: Tensor
    position_SL: Tensor

    @property
    def sees_SLT(self) -> Tensor:
        """Which keys each query attends to: those of its path up to itself. Padding sees node 0."""
        return torch.arange(self.key_ST.shape[1], device=self.key_ST.device) <= self.position_SL[:, :, None]


@dataclass(frozen=True, slots=True)
class Tree:
    """Args:
    ids_M: token of each node.
    positions_M: its position in its sequences.
    buckets: hold each node once, in a branch.
    place_M: where it stands among all of theirs, one behind the other with the padding.
    """

    ids_M: Tensor
    positions_M: Tensor
    buckets: tuple[Bucket, ...]
    place_M: Tensor

    @property
    def tokens(self) -> int:
        """What a model computes."""
        return len(self.ids_M)

    def inputs(self) -> dict[str, Any]:
        """What a model is called with inside `tree_attention`."""
        return {
            "input_ids": self.ids_M[None],
            "position_ids": self.positions_M[None],
            # A mask of four axes is handed through as it is, and not read; without one transformers would make it, M times M.
            "attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool, device=self.ids_M.device),
            "use_cache": False,
            "tree": self,
        }


def make_tree(sequences: Sequence[tuple[int, ...]], device: str | torch.device = "cpu") -> tuple[Tree, list[list[int]]]:
    """The tree of some sequences, and each one's path of nodes."""
    ids: list[int] = []
    positions: list[int] = []
    paths: list[list[int]] = [[] for _ in sequences]
    branches: list[tuple[int, list[int]]] = []  # (tokens shared with the one before, path)
    before: tuple[int, ...] = ()
    path: list[int] = []
    for index in sorted(range(len(sequences)), key=lambda index: sequences[index]):
        sequence = sequences[index]
        shared = common_prefix(before, sequence)
        path = path[:shared] + list(range(len(ids), len(ids) + len(sequence) - shared))
        paths[index] = path
        if len(sequence) > shared:
            ids.extend(sequence[shared:])
            positions.extend(range(shared, len(sequence)))
            branches.append((shared, path))
        before = sequence
    buckets, place = [], [0] * len(ids)
    offset = 0
    for group in _alike(branches):
        longest = max(len(path) - shared for shared, path in group)
        deepest = max(len(path) for _, path in group)
        for number, (shared, path) in enumerate(group):
            for column, node in enumerate(path[shared:]):
                place[node] = offset + number * longest + column
        offset += len(group) * longest
        buckets.append(
            Bucket(
                _padded([path[shared:] for shared, path in group], longest, device),
                _padded([path for _, path in group], deepest, device),
                _padded([list(range(shared, len(path))) for shared, path in group], longest, device),
            )
        )
    tensor = lambda values: torch.tensor(values, dtype=torch.long, device=device)  # noqa: E731
    return Tree(tensor(ids), tensor(positions), tuple(buckets), tensor(place)), paths


def _alike(branches: list[tuple[int, list[int]]]) -> Iterator[list[tuple[int, list[int]]]]:
    """The branches by length, those of about one length together."""
    group: list[tuple[int, list[int]]] = []
    for shared, path in sorted(branches, key=lambda branch: branch[0] - len(branch[1])):
        if group and len(path) - shared < ALIKE * (len(group[0][1]) - group[0][0]):
            yield group
            group = []
        group.append((shared, path))
    if group:
        yield group


def _padded(lines: list[list[int]], width: int, device: str | torch.device) -> Tensor:
    return torch.tensor([line + [0] * (width - len(line)) for line in lines], dtype=torch.long, device=device)


def _attend(
    module: nn.Module,  # noqa: ARG001
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001
    dropout: float = 0.0,
    scaling: float | None = None,
    tree: Tree | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention of each node to its path. Query, key and value come as [1, heads, M, size].

    Raises:
        NotImplementedError: for a kind of attention that is not this one, naming what it asks for.
    """
    unknown = [name for name, given in others.items() if name not in HARMLESS and given is not None]
    if tree is None or unknown:
        raise NotImplementedError(f"attention with {', '.join(unknown) or 'no tree'}")
    heads, shared_by = query.shape[1], query.shape[1] // key.shape[1]
    query_MX, key_MX, value_MX = (each[0].transpose(0, 1).flatten(1) for each in (query, key, value))
    found = []
    for bucket in tree.buckets:
        branches, length = bucket.query_SL.shape
        # Heads that share keys and values stand one behind the other as queries, so that those are not copied for each.
        query_SHLD = (
            embedding(bucket.query_SL, query_MX).unflatten(2, (heads // shared_by, shared_by, -1)).permute(0, 2, 3, 1, 4)
        )
        key_SHTD, value_SHTD = (
            embedding(bucket.key_ST, each_MX).unflatten(2, (heads // shared_by, -1)).transpose(1, 2)
            for each_MX in (key_MX, value_MX)
        )
        out_SHLD = scaled_dot_product_attention(
            query_SHLD.flatten(2, 3),
            key_SHTD,
            value_SHTD,
            attn_mask=bucket.sees_SLT.repeat(1, shared_by, 1)[:, None],
            dropout_p=dropout,
            scale=scaling,
        )
        found.append(out_SHLD.unflatten(2, (shared_by, length)).permute(0, 3, 1, 2, 4).reshape(branches * length, -1))
    out_MX = embedding(tree.place_M, torch.cat(found))
    return out_MX.unflatten(1, (heads, -1))[None], None


HARMLESS = {"position_ids", "use_cache", "is_causal", "cache_position", "output_attentions", "position_embeddings"}
AttentionInterface.register(ATTENTION, _attend)


@contextmanager
def tree_attention(model: nn.Module) -> Iterator[None]:
    """Inside, forward and backward passes of the model (also recomputed ones) are on trees."""
    configs = {id(module.config): module.config for module in model.modules() if hasattr(module, "config")}
    before = [(each, each._attn_implementation) for each in configs.values() if hasattr(each, "_attn_implementation")]
    try:
        for config, _ in before:
            config._attn_implementation = ATTENTION
        yield
    finally:
        for config, name in before:
            config._attn_implementation = name
