"""Token rows and their tensors: what was sampled, exactly, with each distinct row computed once.

U = distinct rows, B = all rows, T = tokens of the longest row, R = tokens of the longest reply, P = tokens that predict a reply's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from agents.models.model import common_prefix
from training.prefixes import Tree, make_tree

Tokens = tuple[tuple[int, ...], tuple[int, ...]]  # of a row: prompt, reply


@dataclass(frozen=True, slots=True)
class Row:
    """One reply to learn from, as the sampler gave it; nothing is ever tokenised again.

    Args:
        prompt_ids: what the model was given.
        reply_ids: what it sampled, the end token included if and only if it was sampled.
        logprobs: of each reply token when it was sampled, nats; () for rows that only imitate.
        advantage: in the unit of the game's return.
        weight: of the row in the loss.
        old_logprobs: of each reply token under the weights that the step began with, as the trainer computes them; () where one
            update is made, which computes them itself.
    """

    prompt_ids: tuple[int, ...]
    reply_ids: tuple[int, ...]
    logprobs: tuple[float, ...] = ()
    advantage: float = 0.0
    weight: float = 1.0
    old_logprobs: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Padded:
    """Distinct rows one below the other, padded on the left: replies stand in the last R columns.

    Args:
        ids_UT: tokens.
        attention_UT: True on tokens that are no padding.
        positions_UT: position of each token in its own row.
    """

    ids_UT: Tensor
    attention_UT: Tensor
    positions_UT: Tensor

    @property
    def tokens(self) -> int:
        """What a model computes, padding included."""
        return self.ids_UT.numel()

    def inputs(self) -> dict[str, Any]:
        """What a model is called with. The cache is off: with it, transformers lets packed rows mix."""
        return {
            "input_ids": self.ids_UT,
            "attention_mask": self.attention_UT,
            "position_ids": self.positions_UT,
            "use_cache": False,
        }


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows as tensors.

    Args:
        layout: the distinct rows as a model computes them, padded, or as a tree of their beginnings.
        keep_P: which of the layout's tokens, one row behind the other, predict a reply token, each once.
        point_UR: which of them predicts each reply token; 0 where there is none.
        reply_ids_UR, is_reply_UR: reply tokens, in the last columns, and which columns hold one.
        row_B: which distinct row each row is.
        sampled_logp_BR: 0 where nothing was sampled.
        old_logp_BR: the same under the weights that the step began with; None where these compute the batch.
        advantage_B, weight_B: one a row.
    """

    layout: Padded | Tree
    keep_P: Tensor
    point_UR: Tensor
    reply_ids_UR: Tensor
    is_reply_UR: Tensor
    row_B: Tensor
    sampled_logp_BR: Tensor
    old_logp_BR: Tensor | None
    advantage_B: Tensor
    weight_B: Tensor

    @property
    def is_reply_BR(self) -> Tensor:
        return self.is_reply_UR[self.row_B]

    @property
    def count_U(self) -> Tensor:
        """How often each distinct row was sampled."""
        return torch.bincount(self.row_B, minlength=self.distinct)

    @property
    def distinct(self) -> int:
        """U."""
        return len(self.reply_ids_UR)


def make_batch(rows: Sequence[Row], *, share: bool = False, device: str | torch.device = "cpu") -> Batch:
    """The tensors of some rows. Masks are made from lengths, never from the padding token, which may be the end token.

    Args:
        share: lay the distinct rows out as a tree of their beginnings.

    Raises:
        ValueError: if there are no rows, or one has no prompt, no reply, or not a log-probability for each of its tokens.
    """
    if not rows:
        raise ValueError("a batch needs at least one row")
    distinct: dict[Tokens, int] = {}
    row_of = [distinct.setdefault((row.prompt_ids, row.reply_ids), len(distinct)) for row in rows]
    for prompt, reply in distinct:
        if not prompt or not reply:
            raise ValueError(f"a row of {len(prompt)} prompt tokens has {len(reply)} of reply; it needs both")
    longest_reply = max(len(reply) for _, reply in distinct)
    layout, places = (_tree if share else _padded)(list(distinct), device)
    points = {place: point for point, place in enumerate(sorted({place for line in places for place in line}))}
    point_lines = [[0] * (longest_reply - len(line)) + [points[place] for place in line] for line in places]
    reply_lines = [[0] * (longest_reply - len(reply)) + list(reply) for _, reply in distinct]
    is_reply_lines = [[False] * (longest_reply - len(reply)) + [True] * len(reply) for _, reply in distinct]
    sampled = _right_aligned([row.logprobs for row in rows], rows, longest_reply)
    has_old = any(row.old_logprobs for row in rows)
    old = _right_aligned([row.old_logprobs for row in rows], rows, longest_reply) if has_old else None
    return Batch(
        layout=layout,
        keep_P=torch.tensor(list(points), device=device),
        point_UR=torch.tensor(point_lines, device=device),
        reply_ids_UR=torch.tensor(reply_lines, device=device),
        is_reply_UR=torch.tensor(is_reply_lines, device=device),
        row_B=torch.tensor(row_of, device=device),
        sampled_logp_BR=torch.tensor(sampled, dtype=torch.float32, device=device),
        old_logp_BR=None if old is None else torch.tensor(old, dtype=torch.float32, device=device),
        advantage_B=torch.tensor([row.advantage for row in rows], dtype=torch.float32, device=device),
        weight_B=torch.tensor([row.weight for row in rows], dtype=torch.float32, device=device),
    )


def _tree(distinct: Sequence[Tokens], device: str | torch.device) -> tuple[Tree, list[list[int]]]:
    """The layout, and where in it the token before each reply token stands. A row's last token predicts nothing: left out."""
    tree, paths = make_tree([prompt + reply[:-1] for prompt, reply in distinct], device)
    return tree, [path[len(prompt) - 1 :] for (prompt, _), path in zip(distinct, paths, strict=True)]


def _padded(distinct: Sequence[Tokens], device: str | torch.device) -> tuple[Padded, list[list[int]]]:
    """As `_tree`."""
    longest = max(len(prompt) + len(reply) - 1 for prompt, reply in distinct)
    ids, attention, positions, places = [], [], [], []
    for number, (prompt, reply) in enumerate(distinct):
        length = len(prompt) + len(reply) - 1
        padding = longest - length
        ids.append([0] * padding + [*prompt, *reply[:-1]])
        attention.append([0] * padding + [1] * length)
        positions.append([0] * padding + list(range(length)))
        places.append(list(range((number + 1) * longest - len(reply), (number + 1) * longest)))
    layout = Padded(*(torch.tensor(lines, device=device) for lines in (ids, attention, positions)))
    return layout, places


def _right_aligned(of_rows: Sequence[tuple[float, ...]], rows: Sequence[Row], width: int) -> list[list[float]]:
    """Values of the reply tokens in the last of `width` columns, 0 elsewhere and for rows that have none."""
    lines = []
    for values, row in zip(of_rows, rows, strict=True):
        if values and len(values) != len(row.reply_ids):
            raise ValueError(f"{len(row.reply_ids)} reply tokens with {len(values)} log-probabilities")
        lines.append([0.0] * (width - len(values)) + list(values))
    return lines


def micro_batches(rows: Sequence[Row], max_tokens: int, *, share: bool = False) -> Iterator[list[Row]]:
    """The rows in parts of at most `max_tokens` tokens to compute; identical rows stay together.

    Padded, rows of one length come together and the padding counts; as a tree, rows that begin alike do, and a token of another
    row's counts an eighth, since its keys and values are copied for each. A single row longer than that makes a part of its own.
    """
    together: dict[Tokens, list[Row]] = {}
    for row in rows:
        together.setdefault((row.prompt_ids, row.reply_ids), []).append(row)
    tokens = {key: key[0] + key[1][:-1] for key in together}
    part: list[Row] = []
    before: tuple[int, ...] = ()
    used = longest = distinct = 0
    for key in sorted(together, key=lambda key: tokens[key] if share else len(tokens[key])):
        length = len(tokens[key])
        shared = common_prefix(before, tokens[key]) if share and part else 0
        more = length - shared + shared // 8 if share else 0
        if part and (used + more if share else (distinct + 1) * max(longest, length)) > max_tokens:
            yield part
            part, used, longest, distinct, more = [], 0, 0, 0, length
        part += together[key]
        used, longest, distinct, before = used + more, max(longest, length), distinct + 1, tokens[key]
    if part:
        yield part
