"""The optimiser steps on a step's token rows, and the two slow copies of the weights.

The magnet is a copy that follows the weights slowly, or is set to them now and then; a KL to it keeps self-play from cycling
(magnetic mirror descent, 2206.05825; a refreshed one as in 2206.15378). The EMA is the average of the weights over time, the one
that is kept: last iterates of self-play cycle, averages converge.
"""

import copy
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lmgames.chance import Chance
from training import loss as losses
from training import policy
from training.config import Config
from training.distributed import ALONE, World
from training.network import Network, Predictions, predict
from training.samples import Batch, Row, make_batch, micro_batches
from training.weights import is_adapted

PROBED_ROWS = 64
PAIRED_PARTS = 4
SUMS = (  # over the rows of an update
    *("loss", "kl", "entropy", "tokens", "ratio", "ratio_max", "low", "high", "distinct", "computed"),
    *("k1", "k3", "trust", "trust_squared", "outside", "cut", "rejected"),
)


@dataclass(frozen=True, slots=True)
class StepStats:
    """What the optimiser steps on one step's rows measured; means are over sampled tokens, and over optimiser steps."""

    loss: float
    kl: float
    """to the magnet, nats a token; 0 where none is kept."""
    entropy: float
    """nats a token."""
    entropy_weight: float
    ratio_mean: float
    ratio_max: float
    clipped_low: float
    """share of tokens whose ratio was below the clip range."""
    clipped_high: float
    """share of tokens whose ratio was above it."""
    mismatch_k1: float
    """sampler's log-probability less the trainer's under the same weights, nats a token; either sign."""
    mismatch_k3: float
    """KL estimate between sampler and trainer under the same weights, nats a token."""
    mismatch_ess: float
    """effective sample size of the trainer-to-sampler ratios r before any cap, (sum r)^2 / sum r^2, as a share of the tokens."""
    mismatch_outside: float
    """share of tokens whose trainer-to-sampler ratio was out of [0.5, 2]."""
    importance_cut: float
    """share of tokens whose importance weight was capped ("tis") or masked ("mis")."""
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
        model: a causal language model, what is trained of it in fp32; updated in place.
        config: see `Config`.
        total_steps: optimiser steps of the whole run, for the learning-rate schedule.
        world: the processes that share the work. All make the same calls, with the same rows.
    """

    def __init__(self, model: nn.Module, config: Config, total_steps: int, world: World = ALONE):
        self.model = model
        self.config = config
        self.total_steps = total_steps
        self.world = world
        self.step_number = 0
        """Optimiser steps so far; the version of the weights."""
        self.steps = 0
        """Steps of the run so far, of `updates_per_step` optimiser steps each: the slow copies move once in each."""
        self.network = Network(model, share=config.share_prefixes, around=self._precision)
        self.clip = losses.Clip(config.clip_low, config.clip_high, config.dual_clip)
        self.entropy = losses.EntropyController(config.entropy_weight, config.entropy_target, config.entropy_gain)
        self.magnet: Any = None
        """The policy that the KL is to, as a model; None without one."""
        self.ema: Any = None
        """The average of the weights, as a model."""
        self._reference: Network | None = None
        self.begin_here()

    def begin_here(self) -> None:
        """Has both slow copies begin at the weights as they are, and the optimiser afresh. The model is not sharded yet; several
        processes wait for that with it, so that none of them ever holds all of that whole."""
        if self.world.size > 1:
            return
        self.ema = self._slow_copy("ema")
        if self.config.kl_weight:
            self.magnet = self._slow_copy("magnet")
        self._ready()

    def shard(self) -> None:
        """Shares the weights, the slow copies and the optimiser's state out over the processes; alone, all stays as it is."""
        if self.world.size == 1:
            return
        adapted = is_adapted(self.model)
        if not adapted:
            self.model.cpu()  # from there layers go to the GPU one by one
        self.ema = self._slow_copy("ema", sharded=not adapted)
        if self.config.kl_weight:
            self.magnet = self._slow_copy("magnet", sharded=not adapted)
        self._shard(self.model)
        self._ready()

    def _shard(self, model: Any) -> Any:
        policy.shard(model, self.world, self.config.compute_dtype)
        return model

    def _ready(self) -> None:
        """The optimiser at its start, and how the magnet is called."""
        config = self.config
        on_gpu = self.world.device.type == "cuda"
        self.optimizer = torch.optim.AdamW(
            [parameter for parameter in self.model.parameters() if parameter.requires_grad],
            lr=config.lr,
            betas=(config.beta1, config.beta2),
            weight_decay=config.weight_decay,
            fused=on_gpu or None,  # what it takes there by default makes a copy of all it holds
        )
        for parameter in self.optimizer.param_groups[0]["params"]:  # there from the start, so that it can be read in place
            self.optimizer.state[parameter] = {
                "step": torch.zeros((), device=parameter.device if on_gpu else None),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        if self.magnet is not None:
            adapted = is_adapted(self.model)
            model = self.model if adapted else self.magnet
            self._reference = Network(model, around=self._as_magnet if adapted else self._precision, like=self.network)

    def _slow_copy(self, name: str, *, sharded: bool = False) -> Any:
        """The policy as it is now: a copy of the model, or of its adapter on the same base."""
        if not is_adapted(self.model):
            copied = copy.deepcopy(self.model).eval().requires_grad_(False)
            return self._shard(copied) if sharded else copied
        policy.add_adapter(self.model, name)
        return policy.WithAdapter(self.model, name)

    def _pairs(self, slow: Any) -> Iterator[tuple[Tensor, Tensor]]:
        """(parameter of a slow copy, the same in training)."""
        if isinstance(slow, policy.WithAdapter):
            return policy.adapter_pairs(self.model, slow.name)
        return zip(slow.parameters(), self.model.parameters(), strict=True)

    @contextmanager
    def _precision(self) -> Iterator[None]:
        """What forward passes compute in. Of a sharded model, its shards say it."""
        low = getattr(torch, self.config.compute_dtype)
        with torch.autocast(self.world.device.type, low, enabled=low != torch.float32 and self.world.size == 1):
            yield

    @contextmanager
    def _as_magnet(self) -> Iterator[None]:
        with policy.adapter_on(self.model, self.magnet.name), self._precision():
            yield

    def learning_rate(self) -> float:
        """Cosine from `lr` down to `lr_end` of it over the run."""
        done = min(1.0, self.step_number / max(1, self.total_steps))
        return self.config.lr * (self.config.lr_end + (1 - self.config.lr_end) * (1 + math.cos(math.pi * done)) / 2)

    def learn(self, rows: Sequence[Row], norm_tokens: float | None = None) -> StepStats:
        """A step: all optimiser steps on its rows, `epochs` passes in `minibatches` parts; then the slow copies move.

        Where there are several, the log-probabilities that ratios are taken to are computed first, of all rows, whatever role they
        come from: rows of a later update would else be compared with weights that the earlier ones have moved. One alone finds
        them in its own forward pass.

        Args:
            norm_tokens: divisor of the loss of all rows; None for rows times the longest reply. Each part gets its share.

        Raises:
            FloatingPointError: as `update`; updates before stay, and the slow copies where they are.
        """
        if norm_tokens is None:
            norm_tokens = self._constant_norm(rows)
        if self.config.updates_per_step > 1 and self.config.importance != "bypass":
            rows = self.with_old_logprobs(rows)
        stats = [self.update(part, norm_tokens * len(part) / len(rows)) for part in self._parts(rows)]
        self.steps += 1
        self._move_slow_copies()
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
        own: dict[tuple[tuple[int, ...], tuple[int, ...]], tuple[float, ...]] = {}
        with self.network.passes():
            for part, _ in self._own_parts(rows):
                batch = self._batch(part)
                logp_UR = predict(self.network, batch).logp_UR
                for row, index in zip(part, batch.row_B.tolist(), strict=True):
                    own[row.prompt_ids, row.reply_ids] = tuple(logp_UR[index, -len(row.reply_ids) :].tolist())
        known = {key: values for of_rank in self.world.all_gather_objects(own) for key, values in of_rank.items()}
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
        sums = dict.fromkeys(SUMS, 0.0)
        for part, counts in self._own_parts(rows):
            self._accumulate(part, norm_tokens, sums if counts else dict.fromkeys(sums, 0.0))
        sums = self._over_ranks(sums)
        grad_norm = self._clip_gradient(self.config.grad_clip)
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
        self.model.eval()
        tokens = max(1.0, sums["tokens"])
        return StepStats(
            loss=sums["loss"],
            kl=sums["kl"] / tokens,
            entropy=sums["entropy"] / tokens,
            entropy_weight=self.entropy.now,
            ratio_mean=sums["ratio"] / tokens,
            ratio_max=sums["ratio_max"],
            clipped_low=sums["low"] / tokens,
            clipped_high=sums["high"] / tokens,
            mismatch_k1=sums["k1"] / tokens,
            mismatch_k3=sums["k3"] / tokens,
            mismatch_ess=sums["trust"] ** 2 / (tokens * sums["trust_squared"]) if sums["trust_squared"] else 1.0,
            mismatch_outside=sums["outside"] / tokens,
            importance_cut=sums["cut"] / tokens,
            rejected=sums["rejected"] / len(rows),
            grad_norm=grad_norm,
            lr=lr,
            rows=len(rows),
            distinct_rows=int(sums["distinct"]),
            tokens_saved=1 - sums["computed"] / sum(len(row.prompt_ids) + len(row.reply_ids) - 1 for row in rows),
        )

    def gradients_of(self, parts: Mapping[str, Sequence[Row]], norm_tokens: float) -> dict[str, Any]:
        """How parts of the rows, say those of each role, pull at the weights: of at most `PROBED_ROWS` of each, which stand for all
        of its rows. Nothing is updated. All ranks call this.

        Args:
            norm_tokens: divisor of the loss of all rows.

        Returns:
            norm: of the loss's gradient, by part. cosine: between the gradients of two parts, by "ONE/OTHER", -1 where they undo
            each other; of up to `PAIRED_PARTS` parts, since each pair costs a pass.
        """
        probes = {}
        for name, rows in parts.items():
            probe = rows[:: math.ceil(len(rows) / PROBED_ROWS)]
            probes[name] = (probe, norm_tokens * len(probe) / len(rows))
        norms = {name: self._norm_of([probe]) for name, probe in probes.items()}
        cosines = {}
        for one, other in itertools.combinations(probes, 2) if len(probes) <= PAIRED_PARTS else ():
            if norms[one] and norms[other]:
                both = self._norm_of([probes[one], probes[other]])
                dot = (both**2 - norms[one] ** 2 - norms[other] ** 2) / 2
                cosines[f"{one}/{other}"] = dot / (norms[one] * norms[other])
        return {"norm": norms, "cosine": cosines}

    def _norm_of(self, probes: Sequence[tuple[Sequence[Row], float]]) -> float:
        """Of the summed gradient of rows with their divisors."""
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        for rows, norm_tokens in probes:
            for part, _ in self._own_parts(rows):
                self._accumulate(part, norm_tokens, dict.fromkeys(SUMS, 0.0))
        norm = self._clip_gradient(math.inf)
        self.optimizer.zero_grad(set_to_none=True)
        self.model.eval()
        return norm

    def _move_slow_copies(self) -> None:
        config = self.config
        if self.magnet is not None:
            if config.magnet_refresh:
                if self.steps % config.magnet_refresh == 0:
                    self._follow(self.magnet, 1.0)
            elif self.steps > config.magnet_hold:
                self._follow(self.magnet, config.magnet_rate)
        # The EMA starts as a plain mean, so that the first weights do not linger in it.
        self._follow(self.ema, max(1 - config.ema_decay, 1 / (self.steps + 1)))

    @torch.no_grad()
    def _follow(self, slow: Any, rate: float) -> None:
        policy.reshard(slow)
        policy.reshard(self.model)
        for behind, ahead in self._pairs(slow):
            _local(behind).lerp_(_local(ahead), rate)

    def _own_parts(self, rows: Sequence[Row]) -> Iterator[tuple[list[Row], bool]]:
        """This rank's micro-batches, and whether they count. All ranks get as many, since each pass of a sharded model is one of
        all; those that have fewer, or no rows at all, get rows that weigh nothing."""
        parts = list(micro_batches(rows, self.config.micro_batch_tokens, share=self.network.shares))
        size, rank = self.world.size, self.world.rank
        if len(parts) < size and size > 1:
            whole = len({(row.prompt_ids, row.reply_ids) for row in rows})
            fewer = max(1, sum(len(row.prompt_ids) + len(row.reply_ids) for row in rows) // size) if whole > 1 else 0
            parts = list(micro_batches(rows, fewer, share=self.network.shares)) if fewer else parts
        idle = ([replace(rows[0], advantage=0.0, weight=0.0)], False)
        for first in range(0, len(parts), size):
            yield (parts[first + rank], True) if first + rank < len(parts) else idle

    def _over_ranks(self, sums: dict[str, float]) -> dict[str, float]:
        """What all ranks measured, together."""
        largest = self.world.all_reduce_max([sums["ratio_max"]])
        total = self.world.all_reduce_sum(list(sums.values()))
        return {**dict(zip(sums, total, strict=True)), "ratio_max": largest[0]}

    def _clip_gradient(self, limit: float) -> float:
        """Scales the gradient down to a limit, and gives its norm before; over all shards."""
        norm: Any = nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)

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
        # The weights that the step began with. With one update they are those of this very pass.
        began_logp_BR = logp_BR.detach() if batch.old_logp_BR is None else batch.old_logp_BR
        trust = _Trust.between(batch, began_logp_BR, config)
        old_logp_BR = batch.sampled_logp_BR if config.importance == "bypass" else began_logp_BR
        # A distinct row counts as often as it was sampled: the same sum as over all rows, at the cost of the distinct ones.
        weight_U = torch.bincount(batch.row_B, weights=batch.weight_B, minlength=batch.distinct).float()
        weight_UR = weight_U[:, None] * batch.is_reply_UR
        kl = self._kl(batch, predicted, logp_BR, weight_UR)
        loss = losses.policy_loss(
            logp_BR,
            old_logp_BR,
            batch.advantage_B,
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
            ratio_BR = (logp_BR - old_logp_BR).exp() * is_reply_BR
            sums["loss"] += loss.item()
            sums["kl"] += kl.seen.item()
            sums["entropy"] += (predicted.entropy_UR * batch.count_U[:, None]).sum().item()
            sums["tokens"] += is_reply_BR.sum().item()
            sums["ratio"] += ratio_BR.sum().item()
            sums["ratio_max"] = max(sums["ratio_max"], ratio_BR.max().item())
            sums["low"] += ((ratio_BR < 1 - config.clip_low) & is_reply_BR).sum().item()
            sums["high"] += (ratio_BR > 1 + config.clip_high).sum().item()
            sums["distinct"] += batch.distinct
            sums["computed"] += batch.layout.tokens
            for name, value in trust.measured.items():
                sums[name] += value

    def _kl(self, batch: Batch, predicted: Predictions, logp_BR: Tensor, weight_UR: Tensor) -> "_KL":
        """The KL to the magnet on a part of the rows; all 0 where none is kept."""
        nothing = torch.zeros((), device=logp_BR.device)
        if self._reference is None:
            return _KL(nothing, nothing)
        kind = self.config.kl_kind
        if kind == "full":
            assert predicted.kl_UR is not None
            seen = (predicted.kl_UR.detach() * batch.count_U[:, None]).sum()
            return _KL((predicted.kl_UR * weight_UR).sum(), seen)
        with torch.no_grad():
            magnet_BR = predict(self._reference, batch).logp_UR[batch.row_B]
        kl_BR = losses.kl_term(logp_BR, batch.sampled_logp_BR, magnet_BR, kind)
        return _KL(
            (kl_BR * batch.weight_B[:, None] * batch.is_reply_BR).sum(),
            (losses.sampled_kl(logp_BR.detach(), magnet_BR, "k3") * batch.is_reply_BR).sum(),
        )

    def tensors(self) -> dict[str, Tensor]:
        """All tensors that must be saved to go on as if never stopped, by name, to be read and written in place: weights in
        training, slow copies, optimiser."""
        for model in (self.model, self.ema, self.magnet):
            policy.reshard(model)
        trained = {id(parameter): name for name, parameter in self.model.named_parameters() if parameter.requires_grad}
        found = {}
        for parameter in self.optimizer.param_groups[0]["params"]:
            name = trained[id(parameter)]
            found[f"weights/{name}"] = parameter.detach()
            found |= {f"{kind}/{name}": value for kind, value in self.optimizer.state[parameter].items()}
        for kind, slow in (("ema", self.ema), ("magnet", self.magnet)):
            if slow is not None:
                names = {id(parameter): name for name, parameter in self.model.named_parameters()}
                found |= {f"{kind}/{names[id(ahead)]}": behind.detach() for behind, ahead in self._pairs(slow)}
        return found

    def state_dict(self) -> dict[str, Any]:
        """What else must be saved."""
        return {"entropy": self.entropy.state_dict(), "step_number": self.step_number, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a saved state, but for the tensors."""
        self.entropy.load_state_dict(state["entropy"])
        self.step_number = state["step_number"]
        self.steps = state["steps"]


def _local(tensor: Tensor) -> Tensor:
    """This rank's shard."""
    local: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return local


@dataclass(frozen=True, slots=True)
class _KL:
    """Of a part of the rows, nats.

    Args:
        loss: sum over tokens, weighed, with the gradient of the KL.
        seen: sum over tokens, to look at.
    """

    loss: Tensor
    seen: Tensor


@dataclass(frozen=True, slots=True)
class _Trust:
    """How far the weights that the step began with, as the trainer computes, are from those that sampled, as the sampler did, on a
    part of the rows: by computing otherwise, and by their age where replies are stale. And what weights follow from it (the
    decoupled form: AReaL, 2505.24298)."""

    weight_BR: Tensor
    measured: dict[str, float]

    @classmethod
    @torch.no_grad()
    def between(cls, batch: Batch, began_logp_BR: Tensor, config: Config) -> "_Trust":
        """
        Args:
            began_logp_BR: under the weights that the step began with; with several updates and "bypass", which computes none, under
                those of the update.
        """
        mismatch_BR = began_logp_BR - batch.sampled_logp_BR
        is_reply_BR = batch.is_reply_BR
        log_ratio_BR = losses.log_ratio(mismatch_BR)
        ratio_BR = log_ratio_BR.exp()
        kept_B = torch.ones_like(batch.weight_B, dtype=torch.bool)
        if config.row_reject:
            kept_B = losses.accepted_rows(mismatch_BR, is_reply_BR, config.row_reject)
        weight_BR = losses.IMPORTANCE[config.importance](mismatch_BR, config.importance_cap)
        cut_BR = torch.zeros_like(is_reply_BR)
        if config.importance in ("tis", "mis"):
            cut_BR = (weight_BR != ratio_BR) & is_reply_BR
        weight_BR = weight_BR * kept_B[:, None]
        return cls(
            weight_BR,
            {
                "k1": -(log_ratio_BR * is_reply_BR).sum().item(),
                "k3": ((torch.expm1(log_ratio_BR) - log_ratio_BR) * is_reply_BR).sum().item(),
                "trust": (ratio_BR * is_reply_BR).sum().item(),
                "trust_squared": (ratio_BR**2 * is_reply_BR).sum().item(),
                "outside": (((ratio_BR < 0.5) | (ratio_BR > 2)) & is_reply_BR).sum().item(),
                "cut": cut_BR.sum().item(),
                "rejected": (~kept_B).sum().item(),
            },
        )


def _mean(stats: Sequence[StepStats], rows: int) -> StepStats:
    mean = {name: sum(asdict(each)[name] for each in stats) / len(stats) for name in asdict(stats[0])}
    mean |= {"ratio_max": max(each.ratio_max for each in stats), "lr": stats[-1].lr, "rows": rows}
    return StepStats(**{**mean, "distinct_rows": max(each.distinct_rows for each in stats)})
