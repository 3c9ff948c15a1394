"""Token rows to a scalar loss. Pure functions of tensors.

B = token rows, R = tokens of the longest reply, V = vocabulary. A row is one reply of a model with the prompt it was given, its
reply in the last columns; `is_reply_BR` says which columns are tokens that the model sampled. Logits at column r are those that
predict token r. Nothing here divides by a row's own length, unless the form itself is about whole replies: that would punish long
losing replies less.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

MAX_LOG_RATIO = 20.0  # nats; exp of more is no ratio but an error upstream
SampledKL = Literal["k1", "k2", "k3"]


@dataclass(frozen=True, slots=True)
class Clip:
    """How far a ratio counts.

    Args:
        low, high: from 1 - low to 1 + high.
        dual: the largest ratio that counts on a negative advantage; 0 for no limit.
    """

    low: float = 0.2
    high: float = 0.28
    dual: float = 0.0


@dataclass(frozen=True, slots=True)
class Terms:
    """What a form of the policy gradient is made from; see `policy_loss`."""

    logp_BR: Tensor
    old_logp_BR: Tensor
    advantage_BR: Tensor
    is_reply_BR: Tensor
    clip: Clip

    @property
    def log_ratio_BR(self) -> Tensor:
        return self.logp_BR - self.old_logp_BR


def log_ratio(difference: Tensor) -> Tensor:
    """A difference of log-probabilities, kept within what can be one."""
    return difference.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)


def ratio(difference: Tensor) -> Tensor:
    """exp of `log_ratio`."""
    return log_ratio(difference).exp()


def _mean_over_reply(values_BR: Tensor, is_reply_BR: Tensor) -> Tensor:
    """Shape [B, 1]."""
    return (values_BR * is_reply_BR).sum(-1, keepdim=True) / is_reply_BR.sum(-1, keepdim=True).clamp(min=1)


def _clipped(ratio_BR: Tensor, advantage_BR: Tensor, clip: Clip) -> Tensor:
    gain_BR = torch.minimum(ratio_BR * advantage_BR, ratio_BR.clamp(1 - clip.low, 1 + clip.high) * advantage_BR)
    if clip.dual:
        gain_BR = torch.where(advantage_BR < 0, torch.maximum(gain_BR, clip.dual * advantage_BR), gain_BR)
    return gain_BR


def ppo(terms: Terms) -> Tensor:
    """Each token's ratio, clipped (PPO: Schulman et al. 2017, eq. 7; uneven: DAPO 2503.14476, eq. 10; dual: 1912.09729, eq. 5)."""
    return _clipped(ratio(terms.log_ratio_BR), terms.advantage_BR, terms.clip)


def gspo(terms: Terms) -> Tensor:
    """One ratio a reply, the geometric mean of its tokens' (GSPO: 2507.18071, eq. 5 and 7), for each of its tokens.

    With row weights 1 / length this is the paper's objective; with a constant weight a reply counts by its length.
    """
    ratio_B1 = ratio(_mean_over_reply(terms.log_ratio_BR, terms.is_reply_BR))
    return _clipped(ratio_B1.expand_as(terms.logp_BR), terms.advantage_BR, terms.clip)


def cispo(terms: Terms) -> Tensor:
    """The clipped ratio as a constant weight of the log-probability: no token loses its gradient (CISPO: 2506.13585, eq. 4)."""
    weight_BR = ratio(terms.log_ratio_BR).clamp(1 - terms.clip.low, 1 + terms.clip.high).detach()
    return weight_BR * terms.advantage_BR * terms.logp_BR


def reinforce(terms: Terms) -> Tensor:
    """The log-probability alone, for one update a step by the weights that sampled (Williams 1992)."""
    return terms.advantage_BR * terms.logp_BR


FORMS: dict[str, Callable[[Terms], Tensor]] = {
    "ppo": ppo,
    "gspo": gspo,
    "cispo": cispo,
    "reinforce": reinforce,
}
"""Name in a recipe -> what each token gains, shape [B, R]. A new form is one function above and one line here."""


def policy_loss(
    logp_BR: Tensor,
    old_logp_BR: Tensor,
    advantage_B: Tensor,
    is_reply_BR: Tensor,
    *,
    clip: Clip,
    norm_tokens: float,
    form: str = "ppo",
    weight_BR: Tensor | None = None,
) -> Tensor:
    """Policy-gradient loss of one of the `FORMS`, a scalar.

    Args:
        logp_BR: log-probability of each token under the weights in training, nats.
        old_logp_BR: the same under the weights that the ratio is taken to: those that the step began with, as the trainer computes
            it, or those that sampled, as the sampler gave it.
        advantage_B: in the units of the game's return; one a row, or one a token with shape [B, R].
        is_reply_BR: True on tokens the model sampled; prompts and other seats' words are False.
        norm_tokens: divisor, equal for all micro-batches of a step, so that their losses add up to the batch's.
        weight_BR: of each token, or of each row with shape [B, 1].
    """
    advantage_BR = advantage_B[:, None] if advantage_B.dim() == 1 else advantage_B
    gain_BR = FORMS[form](Terms(logp_BR, old_logp_BR, advantage_BR, is_reply_BR, clip))
    if weight_BR is not None:
        gain_BR = gain_BR * weight_BR
    return -(gain_BR * is_reply_BR).sum() / norm_tokens


def truncated_importance(mismatch_BR: Tensor, cap: float) -> Tensor:
    """Token TIS: the trainer-to-sampler ratio, at most `cap`: biased, low variance, nothing thrown away."""
    return ratio(mismatch_BR).clamp(max=cap)


def masked_importance(mismatch_BR: Tensor, cap: float) -> Tensor:
    """Token MIS (IcePop): the ratio, or 0 where it is out of [1 / cap, cap]."""
    ratio_BR = ratio(mismatch_BR)
    return ratio_BR * ((ratio_BR >= 1 / cap) & (ratio_BR <= cap))


def unweighed(mismatch_BR: Tensor, _: float) -> Tensor:
    """1."""
    return torch.ones_like(mismatch_BR)


IMPORTANCE: dict[str, Callable[[Tensor, float], Tensor]] = {
    "none": unweighed,
    "tis": truncated_importance,
    "mis": masked_importance,
    "bypass": unweighed,
}
"""Name in a recipe -> (log of the trainer-to-sampler ratio, cap) -> constant weight of each token's gain. The trainer's side of it
is the weights that the step began with; the way from there is the ratio of the loss. With "bypass" that one is taken all the way
from the sampler."""


def accepted_rows(mismatch_BR: Tensor, is_reply_BR: Tensor, limit: float) -> Tensor:
    """True for rows whose geometric mean ratio, trainer to sampler, is within [1 / limit, limit]; shape [B]."""
    mean_B = _mean_over_reply(mismatch_BR, is_reply_BR).squeeze(-1)
    return mean_B.abs() <= torch.tensor(limit, device=mean_B.device).log()


def full_kl(logp_xV: Tensor, reference_xV: Tensor) -> Tensor:
    """KL(policy || reference), exact over the vocabulary, nats; from the log-probabilities of all of it, without the last axis."""
    return (logp_xV.exp() * (logp_xV - reference_xV)).sum(-1)


def sampled_kl(logp_BR: Tensor, reference_logp_BR: Tensor, kind: SampledKL) -> Tensor:
    """KL(policy || reference) at each sampled token from its log-probabilities alone, nats; shape [B, R].

    With r = reference / policy: k1 = -log r, k2 = (log r)**2 / 2, k3 = r - 1 - log r (Schulman, "Approximating KL divergence",
    2020). To look at, k3: never negative, low variance. To learn from, see `kl_term`.
    """
    log_r_BR = log_ratio(reference_logp_BR - logp_BR)
    if kind == "k1":
        return -log_r_BR
    if kind == "k2":
        return log_r_BR**2 / 2
    if kind == "k3":
        return log_r_BR.exp() - 1 - log_r_BR
    raise ValueError(f"no sampled KL {kind!r}; there are k1, k2, k3")


def kl_term(logp_BR: Tensor, sampled_logp_BR: Tensor, reference_logp_BR: Tensor, kind: SampledKL) -> Tensor:
    """What to add to the loss at each sampled token so that its mean gradient is that of KL(policy || reference); shape [B, R].

    As they stand, k1's gradient is 0 in the mean and k3's is another divergence's. So all are weighed by the ratio to the weights
    that sampled (DeepSeek-V3.2, 2512.02556, section 3.1): k1, a constant, by the ratio with its gradient, which is that of a reward
    of -k1, unclipped; k2 by the ratio as a constant; k3 by the ratio with its gradient.

    Args:
        sampled_logp_BR: as the sampler gave it, however old its weights.
    """
    ratio_BR = ratio(logp_BR - sampled_logp_BR)
    kl_BR = sampled_kl(logp_BR, reference_logp_BR, kind)
    if kind == "k1":
        return kl_BR.detach() * ratio_BR
    return kl_BR * (ratio_BR.detach() if kind == "k2" else ratio_BR)


def token_entropy(logp_xV: Tensor) -> Tensor:
    """Entropy, nats; from the log-probabilities of the whole vocabulary, without the last axis."""
    return -(logp_xV.exp() * logp_xV).sum(-1)


def supervised_loss(logp_BR: Tensor, is_reply_BR: Tensor) -> Tensor:
    """Mean negative log-probability of the reply tokens, nats a token."""
    return -(logp_BR * is_reply_BR).sum() / is_reply_BR.sum().clamp(min=1)


class EntropyController:
    """The entropy bonus's weight: up by `gain` after each step below the target, down after each above it, never below 0; off while
    above the target (Skywork-OR1, 2505.22312). Without a target it stays as it is.

    Args:
        weight: to begin with.
        target: nats a token; 0 for none.
        gain: change a step.
    """

    def __init__(self, weight: float, target: float, gain: float):
        self.weight = weight
        self.target = target
        self.gain = gain
        self.below = True  # nothing measured yet

    @property
    def now(self) -> float:
        """The weight for the next step."""
        return self.weight if self.below or not self.target else 0.0

    def measure(self, entropy: float) -> None:
        """Takes note of the mean token entropy of a step, nats."""
        if self.target:
            self.below = entropy < self.target
            self.weight = max(0.0, self.weight + (self.gain if self.below else -self.gain))

    def state_dict(self) -> dict[str, float | bool]:
        return {"weight": self.weight, "below": self.below}

    def load_state_dict(self, state: dict[str, float | bool]) -> None:
        self.weight, self.below = float(state["weight"]), bool(state["below"])
