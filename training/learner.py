"""One optimiser step on token rows, and the two slow copies of the weights.

The magnet is a copy that follows the weights slowly; a KL to it keeps self-play from cycling (magnetic mirror descent,
2206.05825). The EMA is the average of the weights over time, the one that is kept: last iterates of self-play cycle, averages
converge.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from training import loss as losses
from training.config import Config
from training.samples import Row, make_batch, micro_batches, reply_logits


@dataclass(frozen=True, slots=True)
class StepStats:
    """What one optimiser step measured; means are over sampled tokens."""

    loss: float
    kl: float
    """to the magnet, nats a token."""
    entropy: float
    """nats a token."""
    ratio_max: float
    clipped: float
    """share of tokens whose ratio was out of the clip range."""
    grad_norm: float
    lr: float
    rows: int
    distinct_rows: int


class Learner:
    """Holds the weights in training.

    Args:
        model: a causal language model, in fp32; updated in place.
        config: see `Config`.
        total_steps: optimiser steps of the whole run, for the learning-rate schedule.
    """

    def __init__(self, model: nn.Module, config: Config, total_steps: int):
        self.model = model
        self.config = config
        self.total_steps = total_steps
        self.step_number = 0
        self.optimizer = torch.optim.AdamW(
            [parameter for parameter in model.parameters() if parameter.requires_grad],
            lr=config.lr,
            betas=(config.beta1, config.beta2),
            weight_decay=config.weight_decay,
        )
        self.magnet = copy.deepcopy(model).eval().requires_grad_(False)
        self.ema = copy.deepcopy(model).eval().requires_grad_(False)

    def learning_rate(self) -> float:
        """Cosine from `lr` down to `lr_end` of it over the run."""
        done = min(1.0, self.step_number / max(1, self.total_steps))
        return self.config.lr * (self.config.lr_end + (1 - self.config.lr_end) * (1 + math.cos(math.pi * done)) / 2)

    def update(self, rows: Sequence[Row]) -> StepStats:
        """One step on all rows, split into micro-batches whose losses add up to the step's.

        Raises:
            FloatingPointError: if the loss or its gradient is not finite; the weights are then as before.
        """
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        # One constant divisor for the whole step (Dr.GRPO): rows times the longest reply that may be sampled.
        norm_tokens = float(len(rows) * self.config.max_reply_tokens)
        sums = {"loss": 0.0, "kl": 0.0, "entropy": 0.0, "clipped": 0.0, "tokens": 0.0, "ratio_max": 0.0, "distinct": 0.0}
        for part in micro_batches(rows, self.config.micro_batch_tokens):
            self._accumulate(part, norm_tokens, sums)
        grad_norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip))
        if not (math.isfinite(grad_norm) and math.isfinite(sums["loss"])):
            self.optimizer.zero_grad(set_to_none=True)
            raise FloatingPointError(f"step {self.step_number}: loss {sums['loss']}, gradient norm {grad_norm}")
        lr = self.learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.step_number += 1
        if self.step_number > self.config.magnet_hold:
            _follow(self.magnet, self.model, self.config.magnet_rate)
        # The EMA starts as a plain mean, so that the first weights do not linger in it.
        _follow(self.ema, self.model, max(1 - self.config.ema_decay, 1 / (self.step_number + 1)))
        self.model.eval()
        tokens = max(1.0, sums["tokens"])
        return StepStats(
            loss=sums["loss"],
            kl=sums["kl"] / tokens,
            entropy=sums["entropy"] / tokens,
            ratio_max=sums["ratio_max"],
            clipped=sums["clipped"] / tokens,
            grad_norm=grad_norm,
            lr=lr,
            rows=len(rows),
            distinct_rows=int(sums["distinct"]),
        )

    def _accumulate(self, rows: Sequence[Row], norm_tokens: float, sums: dict[str, float]) -> None:
        config = self.config
        batch = make_batch(rows, device=next(self.model.parameters()).device)
        logits_URV = reply_logits(self.model, batch)
        logp_UR = losses.token_logprobs(logits_URV, batch.reply_ids_UR)
        is_reply_BR = batch.is_reply_BR
        logp_BR = logp_UR[batch.row_B]
        loss = losses.policy_loss(
            logp_BR,
            batch.sampled_logp_BR,
            batch.advantage_B,
            is_reply_BR,
            clip_low=config.clip_low,
            clip_high=config.clip_high,
            norm_tokens=norm_tokens,
        )
        # A distinct row counts as often as it was sampled: the same sum as over all rows, at the cost of the distinct ones.
        count_U = torch.bincount(batch.row_B, minlength=batch.distinct).float()
        weight_UR = count_U[:, None] * batch.is_reply_UR
        kl_UR = self._kl(batch, logits_URV, logp_UR)
        if config.kl_weight:
            loss = loss + config.kl_weight * (kl_UR * weight_UR).sum() / norm_tokens
        entropy_UR = losses.token_entropy(logits_URV)
        if config.entropy_weight:
            loss = loss - config.entropy_weight * (entropy_UR * weight_UR).sum() / norm_tokens
        loss.backward()
        with torch.no_grad():
            ratio_BR = (logp_BR - batch.sampled_logp_BR).exp()
            outside_BR = (ratio_BR < 1 - config.clip_low) | (ratio_BR > 1 + config.clip_high)
            sums["loss"] += loss.item()
            sums["kl"] += (kl_UR * weight_UR).sum().item()
            sums["entropy"] += (entropy_UR * weight_UR).sum().item()
            sums["clipped"] += (outside_BR & is_reply_BR).sum().item()
            sums["tokens"] += weight_UR.sum().item()
            sums["ratio_max"] = max(sums["ratio_max"], (ratio_BR * is_reply_BR).max().item())
            sums["distinct"] += batch.distinct

    def _kl(self, batch: Any, logits_URV: Tensor, logp_UR: Tensor) -> Tensor:
        with torch.no_grad():
            magnet_URV = reply_logits(self.magnet, batch)
        if self.config.kl_kind == "full":
            return losses.full_kl(logits_URV, magnet_URV)
        return losses.sampled_kl(logp_UR, losses.token_logprobs(magnet_URV, batch.reply_ids_UR), self.config.kl_kind)

    def state_dict(self) -> dict[str, Any]:
        """All that must be saved to go on as if never stopped."""
        return {
            "model": self.model.state_dict(),
            "magnet": self.magnet.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step_number": self.step_number,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a saved state."""
        self.model.load_state_dict(state["model"])
        self.magnet.load_state_dict(state["magnet"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step_number = state["step_number"]


@torch.no_grad()
def _follow(slow: nn.Module, fast: nn.Module, rate: float) -> None:
    for behind, ahead in zip(slow.parameters(), fast.parameters(), strict=True):
        behind.lerp_(ahead, rate)
