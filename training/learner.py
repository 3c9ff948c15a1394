"""The optimiser steps on a step's token rows, and the two slow copies of the weights.

The magnet is a copy that follows the weights slowly, or is set to them now and then; a KL to it keeps self-play from cycling
(magnetic mirror descent, 2206.05825; a refreshed one as in 2206.15378). The EMA is the average of the weights over time, the one
that is kept: last iterates of self-play cycle, averages converge.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lmgames.chance import Chance
from training import loss as losses
from training.config import Config
from training.network import Network, Predictions, predict
from training.samples import Batch, Row, make_batch, micro_batches


@dataclass(frozen=True, slots=True)
class StepStats:
    """What the optimiser steps on one step's rows measured; means are over sampled tokens, and over optimiser steps."""

    loss: float
    kl: float
    """to the magnet, nats a token; 0 where none is kept."""
    entropy: float
    """nats a token."""
    entropy_weight: float
    ratio_max: float
    clipped: float
    """share of tokens whose ratio was out of the clip range."""
    mismatch_k3: float
    """KL estimate between sampler and trainer under the same weights, nats a token."""
    mismatch_outside: float
    """share of tokens whose trainer-to-sampler ratio was out of [0.5, 2]."""
    importance_cut: float
    """share of tokens whose importance weight was capped or masked."""
    rejected: float
    """share of rows left out because trainer and sampler disagree."""
    grad_norm: float
    lr: float
    rows: int
    distinct_rows: int
    tokens_saved: float
    """share of the tokens of all rows that need not be computed: of rows that are equal, and of beginnings that rows share."""


class Learner:
    """Holds the weights in training.

    Args:
        model: a causal language model, in fp32; updated in place.
        config: see `Config`.
        total_steps: optimiser steps of the whole run, for the learning-rate schedule.
    """

    def __init__(self, model: nn.Module, config: Config, total_steps: int):
        self.model = model
        self.network = Network(model, share=config.share_prefixes)
        self.config = config
        self.total_steps = total_steps
        self.step_number = 0
        self.optimizer = torch.optim.AdamW(
            [parameter for parameter in model.parameters() if parameter.requires_grad],
            lr=config.lr,
            betas=(config.beta1, config.beta2),
            weight_decay=config.weight_decay,
        )
        self.clip = losses.Clip(config.clip_low, config.clip_high, config.dual_clip)
        self.entropy = losses.EntropyController(config.entropy_weight, config.entropy_target, config.entropy_gain)
        self.magnet = copy.deepcopy(model).eval().requires_grad_(False) if config.kl_weight else None
        self._reference = Network(self.magnet, share=config.share_prefixes) if self.magnet is not None else None
        self.ema = copy.deepcopy(model).eval().requires_grad_(False)

    def learning_rate(self) -> float:
        """Cosine from `lr` down to `lr_end` of it over the run."""
        done = min(1.0, self.step_number / max(1, self.total_steps))
        return self.config.lr * (self.config.lr_end + (1 - self.config.lr_end) * (1 + math.cos(math.pi * done)) / 2)

    def learn(self, rows: Sequence[Row], norm_tokens: float | None = None) -> StepStats:
        """All optimiser steps on the rows of a step: `epochs` passes in `minibatches` parts.

        Where there are several, the log-probabilities that ratios are taken to are computed first, of all rows, whatever role they
        come from: rows of a later update would else be compared with weights that the earlier ones have moved.

        Args:
            norm_tokens: divisor of the loss of all rows; None for rows times the longest reply. Each part gets its share.

        Raises:
            FloatingPointError: as `update`; updates before stay.
        """
        if norm_tokens is None:
            norm_tokens = self._constant_norm(rows)
        if self.config.updates_per_step > 1:
            rows = self.with_old_logprobs(rows)
        stats = [self.update(part, norm_tokens * len(part) / len(rows)) for part in self._parts(rows)]
        self.entropy.measure(sum(each.entropy for each in stats) / len(stats))
        return stats[0] if len(stats) == 1 else _mean(stats, len(rows))

    def _parts(self, rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
        count = self.config.minibatches
        for epoch in range(self.config.epochs):
            if count == 1:
                yield rows
                continue
            chance = Chance(self.config.seed).derive("minibatches", self.step_number, epoch)
            order = chance.shuffled(range(len(rows)), "order")
            yield from ([rows[index] for index in order[part::count]] for part in range(min(count, len(rows))))

    def _constant_norm(self, rows: Sequence[Row]) -> float:
        """Rows times the longest reply that may be sampled: one constant for the whole step (Dr.GRPO)."""
        return float(len(rows) * self.config.max_reply_tokens)

    @torch.no_grad()
    def with_old_logprobs(self, rows: Sequence[Row]) -> list[Row]:
        """The rows with the log-probabilities of their replies under the weights as they are, in their order."""
        self.model.eval()
        known: dict[tuple[tuple[int, ...], tuple[int, ...]], tuple[float, ...]] = {}
        for part in self._micro_batches(rows):
            batch = self._batch(part)
            with self.network.passes():
                logp_UR = predict(self.network, batch).logp_UR
            for row, index in zip(part, batch.row_B.tolist(), strict=True):
                known[row.prompt_ids, row.reply_ids] = tuple(logp_UR[index, -len(row.reply_ids) :].tolist())
        return [replace(row, old_logprobs=known[row.prompt_ids, row.reply_ids]) for row in rows]

    def update(self, rows: Sequence[Row], norm_tokens: float | None = None) -> StepStats:
        """One optimiser step on all rows, split into micro-batches whose losses add up to the step's.

        Raises:
            FloatingPointError: if the loss or its gradient is not finite, or the gradient too large; the weights are then as
                before.
        """
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        if norm_tokens is None:
            norm_tokens = self._constant_norm(rows)
        sums = dict.fromkeys(("loss", "kl", "entropy", "clipped", "tokens", "ratio_max", "distinct", "computed"), 0.0)
        sums |= dict.fromkeys(("k3", "outside", "cut", "rejected"), 0.0)
        for part in self._micro_batches(rows):
            self._accumulate(part, norm_tokens, sums)
        grad_norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip))
        too_large = self.config.skip_grad_norm and grad_norm > self.config.skip_grad_norm
        if too_large or not (math.isfinite(grad_norm) and math.isfinite(sums["loss"])):
            self.optimizer.zero_grad(set_to_none=True)
            self.model.eval()
            raise FloatingPointError(f"update {self.step_number}: loss {sums['loss']}, gradient norm {grad_norm}")
        lr = self.learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.step_number += 1
        self._move_slow_copies()
        self.model.eval()
        tokens = max(1.0, sums["tokens"])
        return StepStats(
            loss=sums["loss"],
            kl=sums["kl"] / tokens,
            entropy=sums["entropy"] / tokens,
            entropy_weight=self.entropy.now,
            ratio_max=sums["ratio_max"],
            clipped=sums["clipped"] / tokens,
            mismatch_k3=sums["k3"] / tokens,
            mismatch_outside=sums["outside"] / tokens,
            importance_cut=sums["cut"] / tokens,
            rejected=sums["rejected"] / len(rows),
            grad_norm=grad_norm,
            lr=lr,
            rows=len(rows),
            distinct_rows=int(sums["distinct"]),
            tokens_saved=1 - sums["computed"] / sum(len(row.prompt_ids) + len(row.reply_ids) - 1 for row in rows),
        )

    def _move_slow_copies(self) -> None:
        config = self.config
        if self.magnet is not None:
            if config.magnet_refresh:
                if self.step_number % config.magnet_refresh == 0:
                    _follow(self.magnet, self.model, 1.0)
            elif self.step_number > config.magnet_hold:
                _follow(self.magnet, self.model, config.magnet_rate)
        # The EMA starts as a plain mean, so that the first weights do not linger in it.
        _follow(self.ema, self.model, max(1 - config.ema_decay, 1 / (self.step_number + 1)))

    def _micro_batches(self, rows: Sequence[Row]) -> Iterator[list[Row]]:
        return micro_batches(rows, self.config.micro_batch_tokens, share=self.network.shares)

    def _batch(self, rows: Sequence[Row]) -> Batch:
        return make_batch(rows, share=self.network.shares, device=self.network.device)

    def _accumulate(self, rows: Sequence[Row], norm_tokens: float, sums: dict[str, float]) -> None:
        """Adds the gradient of a part of the rows, and what is measured on it.

        Weights of trust (between trainer and sampler) apply to the policy gradient alone, never to KL or entropy.
        """
        batch = self._batch(rows)
        with self.network.passes(), self._reference.passes() if self._reference is not None else nullcontext():
            self._accumulate_batch(batch, norm_tokens, sums)

    def _accumulate_batch(self, batch: Batch, norm_tokens: float, sums: dict[str, float]) -> None:
        config = self.config
        full_kl = self._reference if config.kl_kind == "full" else None
        predicted = predict(self.network, batch, reference=full_kl, entropy_learns=bool(self.entropy.now))
        is_reply_BR = batch.is_reply_BR
        logp_BR = predicted.logp_UR[batch.row_B]
        old_logp_BR = batch.sampled_logp_BR if batch.old_logp_BR is None else batch.old_logp_BR
        trust = _Trust.between(batch, logp_BR.detach(), config)
        # A distinct row counts as often as it was sampled: the same sum as over all rows, at the cost of the distinct ones.
        weight_U = torch.bincount(batch.row_B, weights=batch.weight_B, minlength=batch.distinct).float()
        weight_UR = weight_U[:, None] * batch.is_reply_UR
        kl = self._kl(batch, predicted, logp_BR, old_logp_BR, weight_UR)
        loss = losses.policy_loss(
            logp_BR,
            old_logp_BR,
            batch.advantage_B[:, None] - config.kl_weight * kl.reward_BR,
            is_reply_BR,
            clip=self.clip,
            norm_tokens=norm_tokens,
            form=config.loss,
            weight_BR=batch.weight_B[:, None] * trust.weight_BR,
        )
        if self.magnet is not None:
            loss = loss + config.kl_weight * kl.loss / norm_tokens
        if self.entropy.now:
            loss = loss - self.entropy.now * (predicted.entropy_UR * weight_UR).sum() / norm_tokens
        loss.backward()
        with torch.no_grad():
            ratio_BR = (logp_BR - old_logp_BR).exp()
            outside_BR = (ratio_BR < 1 - config.clip_low) | (ratio_BR > 1 + config.clip_high)
            sums["loss"] += loss.item()
            sums["kl"] += kl.seen.item()
            sums["entropy"] += (predicted.entropy_UR * batch.count_U[:, None]).sum().item()
            sums["clipped"] += (outside_BR & is_reply_BR).sum().item()
            sums["tokens"] += is_reply_BR.sum().item()
            sums["ratio_max"] = max(sums["ratio_max"], (ratio_BR * is_reply_BR).max().item())
            sums["distinct"] += batch.distinct
            sums["computed"] += batch.layout.tokens
            for name, value in trust.measured.items():
                sums[name] += value

    def _kl(self, batch: Batch, predicted: Predictions, logp_BR: Tensor, old_logp_BR: Tensor, weight_UR: Tensor) -> "_KL":
        """The KL to the magnet on a part of the rows; all 0 where none is kept."""
        nothing = torch.zeros((), device=logp_BR.device)
        if self._reference is None:
            return _KL(nothing, nothing, nothing)
        kind = self.config.kl_kind
        if kind == "full":
            assert predicted.kl_UR is not None
            seen = (predicted.kl_UR.detach() * batch.count_U[:, None]).sum()
            return _KL(nothing, (predicted.kl_UR * weight_UR).sum(), seen)
        with torch.no_grad():
            magnet_BR = predict(self._reference, batch).logp_UR[batch.row_B]
        kl_BR = losses.kl_term(logp_BR, old_logp_BR, magnet_BR, kind)
        return _KL(
            losses.kl_reward(logp_BR, magnet_BR, kind),
            (kl_BR * batch.weight_B[:, None] * batch.is_reply_BR).sum(),
            (losses.sampled_kl(logp_BR.detach(), magnet_BR, "k3") * batch.is_reply_BR).sum(),
        )

    def state_dict(self) -> dict[str, Any]:
        """All that must be saved to go on as if never stopped."""
        return {
            "model": self.model.state_dict(),
            "magnet": None if self.magnet is None else self.magnet.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "entropy": self.entropy.state_dict(),
            "step_number": self.step_number,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a saved state."""
        self.model.load_state_dict(state["model"])
        if self.magnet is not None:
            self.magnet.load_state_dict(state["magnet"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.entropy.load_state_dict(state["entropy"])
        self.step_number = state["step_number"]


@dataclass(frozen=True, slots=True)
class _KL:
    """Of a part of the rows, nats.

    Args:
        reward_BR: to be taken off each token's advantage, or 0.
        loss: sum over tokens, weighed, with the gradient of the KL where that is not in the reward.
        seen: sum over tokens, to look at.
    """

    reward_BR: Tensor
    loss: Tensor
    seen: Tensor


@dataclass(frozen=True, slots=True)
class _Trust:
    """How much trainer and sampler agree on a part of the rows under the same weights, and what weights follow from it."""

    weight_BR: Tensor
    measured: dict[str, float]

    @classmethod
    @torch.no_grad()
    def between(cls, batch: Batch, logp_BR: Tensor, config: Config) -> "_Trust":
        """
        Args:
            logp_BR: under the weights in training. They are still those that sampled if the batch has no old log-probabilities.
        """
        trainer_BR = logp_BR if batch.old_logp_BR is None else batch.old_logp_BR
        mismatch_BR = trainer_BR - batch.sampled_logp_BR
        is_reply_BR = batch.is_reply_BR
        log_ratio_BR = losses.log_ratio(mismatch_BR)
        ratio_BR = log_ratio_BR.exp()
        kept_B = torch.ones_like(batch.weight_B, dtype=torch.bool)
        if config.row_reject:
            kept_B = losses.accepted_rows(mismatch_BR, is_reply_BR, config.row_reject)
        weight_BR = kept_B[:, None].float()
        cut_BR = torch.zeros_like(is_reply_BR)
        if batch.old_logp_BR is not None:  # else the ratio of the loss is the one to the sampler already
            importance_BR = losses.IMPORTANCE[config.importance](mismatch_BR, config.importance_cap)
            cut_BR = (importance_BR != ratio_BR) & is_reply_BR if config.importance != "none" else cut_BR
            weight_BR = weight_BR * importance_BR
        return cls(
            weight_BR,
            {
                "k3": ((torch.expm1(log_ratio_BR) - log_ratio_BR) * is_reply_BR).sum().item(),
                "outside": (((ratio_BR < 0.5) | (ratio_BR > 2)) & is_reply_BR).sum().item(),
                "cut": cut_BR.sum().item(),
                "rejected": (~kept_B).sum().item(),
            },
        )


def _mean(stats: Sequence[StepStats], rows: int) -> StepStats:
    mean = {name: sum(asdict(each)[name] for each in stats) / len(stats) for name in asdict(stats[0])}
    mean |= {"ratio_max": max(each.ratio_max for each in stats), "lr": stats[-1].lr, "rows": rows}
    return StepStats(**{**mean, "distinct_rows": max(each.distinct_rows for each in stats)})


@torch.no_grad()
def _follow(slow: nn.Module, fast: nn.Module, rate: float) -> None:
    for behind, ahead in zip(slow.parameters(), fast.parameters(), strict=True):
        behind.lerp_(ahead, rate)
