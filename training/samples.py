"""Token rows and their tensors: what was sampled, exactly, with each distinct row computed once.

U = distinct rows, B = all rows, T = tokens of the longest row, R = tokens of the longest reply.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Row:
    """One reply to learn from, as the sampler gave it; nothing is ever tokenised again.

    Args:
        prompt_ids: what the model was given.
        reply_ids: what it sampled, the end token included if and only if it was sampled.
        logprobs: of each reply token when it was sampled, nats; () for rows that only imitate.
        advantage: in the unit of the game's return.
        weight: of the row in the loss.
        old_logprobs: of each reply token under the weights that the step began with, as the trainer computes them; () where the
            sampler's own stand for them.
    """

    prompt_ids: tuple[int, ...]
    reply_ids: tuple[int, ...]
    logprobs: tuple[float, ...] = ()
    advantage: float = 0.0
    weight: float = 1.0
    old_logprobs: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows as tensors. Replies stand in the last R columns, so that a model need give logits for those alone.

    Args:
        ids_UT: tokens, padded on the left.
        attention_UT: True on tokens that are no padding.
        positions_UT: position of each token in its own row.
        reply_ids_UR, is_reply_UR: the last R columns of it, and which of them were sampled.
        row_B: which distinct row each row is.
        sampled_logp_BR: 0 where nothing was sampled.
        old_logp_BR: the same under the weights that the step began with; None where the sampler's stand for them.
        advantage_B, weight_B: one a row.
    """

    ids_UT: Tensor
    attention_UT: Tensor
    positions_UT: Tensor
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
        return len(self.ids_UT)


def make_batch(rows: Sequence[Row], *, device: str | torch.device = "cpu") -> Batch:
    """The tensors of some rows. Masks are made from lengths, never from the padding token, which may be the end token.

    Raises:
        ValueError: if there are no rows, or one has no reply or not a log-probability for each of its tokens.
    """
    if not rows:
        raise ValueError("a batch needs at least one row")
    distinct: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
    row_of = [distinct.setdefault((row.prompt_ids, row.reply_ids), len(distinct)) for row in rows]
    longest = max(len(prompt) + len(reply) for prompt, reply in distinct)
    longest_reply = max(len(reply) for _, reply in distinct)
    ids, attention, positions, is_reply = [], [], [], []
    for prompt, reply in distinct:
        if not reply:
            raise ValueError(f"a row of {len(prompt)} prompt tokens has no reply")
        length = len(prompt) + len(reply)
        padding = longest - length
        ids.append([0] * padding + [*prompt, *reply])
        attention.append([0] * padding + [1] * length)
        positions.append([0] * padding + list(range(length)))
        is_reply.append([False] * (longest_reply - len(reply)) + [True] * len(reply))
    sampled = _right_aligned([row.logprobs for row in rows], rows, longest_reply)
    has_old = any(row.old_logprobs for row in rows)
    old = _right_aligned([row.old_logprobs for row in rows], rows, longest_reply) if has_old else None
    ids_UT = torch.tensor(ids, device=device)
    return Batch(
        ids_UT=ids_UT,
        attention_UT=torch.tensor(attention, device=device),
        positions_UT=torch.tensor(positions, device=device),
        reply_ids_UR=ids_UT[:, -longest_reply:],
        is_reply_UR=torch.tensor(is_reply, device=device),
        row_B=torch.tensor(row_of, device=device),
        sampled_logp_BR=torch.tensor(sampled, dtype=torch.float32, device=device),
        old_logp_BR=None if old is None else torch.tensor(old, dtype=torch.float32, device=device),
        advantage_B=torch.tensor([row.advantage for row in rows], dtype=torch.float32, device=device),
        weight_B=torch.tensor([row.weight for row in rows], dtype=torch.float32, device=device),
    )


def _right_aligned(of_rows: Sequence[tuple[float, ...]], rows: Sequence[Row], width: int) -> list[list[float]]:
    """Values of the reply tokens in the last of `width` columns, 0 elsewhere and for rows that have none."""
    lines = []
    for values, row in zip(of_rows, rows, strict=True):
        if values and len(values) != len(row.reply_ids):
            raise ValueError(f"{len(row.reply_ids)} reply tokens with {len(values)} log-probabilities")
        lines.append([0.0] * (width - len(values)) + list(values))
    return lines


def micro_batches(rows: Sequence[Row], max_tokens: int) -> Iterator[list[Row]]:
    """The rows in parts of at most `max_tokens` padded tokens of distinct rows; identical rows stay together.

    A single row longer than that makes a part of its own.
    """
    together: dict[tuple[tuple[int, ...], tuple[int, ...]], list[Row]] = {}
    for row in rows:
        together.setdefault((row.prompt_ids, row.reply_ids), []).append(row)
    part: list[Row] = []
    distinct = longest = 0
    for (prompt, reply), same in sorted(together.items(), key=lambda item: len(item[0][0]) + len(item[0][1])):
        length = len(prompt) + len(reply)
        if part and (distinct + 1) * max(longest, length) > max_tokens:
            yield part
            part, distinct, longest = [], 0, 0
        part += same
        distinct, longest = distinct + 1, max(longest, length)
    if part:
        yield part


def reply_logits(model: torch.nn.Module, batch: Batch) -> Tensor:
    """Logits that predict each reply token; shape [U, R, V]. The cache is off: with it, transformers lets packed rows mix."""
    longest_reply = batch.reply_ids_UR.shape[1]
    output = model(
        input_ids=batch.ids_UT,
        attention_mask=batch.attention_UT,
        position_ids=batch.positions_UT,
        use_cache=False,
        logits_to_keep=longest_reply + 1,
    )
    return output.logits[:, :-1]
