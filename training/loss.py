"""Token rows to a scalar loss. Pure functions of tensors.

B = token rows, R = tokens of the longest reply, V = vocabulary. A row is one reply of a model with the prompt it was given, its
reply in the last columns; `is_reply_BR` says which columns are tokens that the model sampled. Logits at column r are those that
predict token r. Nothing here divides by a row's own length: that would punish long losing replies less.
"""

from typing import Literal

import torch
from torch import Tensor

MAX_LOG_RATIO = 20.0  # nats; exp of more is no ratio but an error upstream
SampledKL = Literal["k1", "k2", "k3"]


def token_logprobs(logits_BRV: Tensor, ids_BR: Tensor) -> Tensor:
    """Log-probability of each token, nats; shape [B, R]."""
    return logits_BRV.float().log_softmax(-1).gather(-1, ids_BR[..., None]).squeeze(-1)


def policy_loss(
    logp_BR: Tensor,
    sampled_logp_BR: Tensor,
    advantage_B: Tensor,
    is_reply_BR: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    norm_tokens: float,
) -> Tensor:
    """Clipped policy-gradient loss, a scalar (PPO: Schulman et al. 2017, eq. 7; uneven clip: DAPO 2503.14476, eq. 10).

    Args:
        logp_BR: log-probability of each token under the weights in training, nats.
        sampled_logp_BR: the same under the weights that sampled it, as the sampler gave it.
        advantage_B: in the units of the game's return; one a row.
        is_reply_BR: True on tokens the model sampled; prompts and other seats' words are False.
        clip_low, clip_high: the ratio counts from 1 - clip_low to 1 + clip_high.
        norm_tokens: divisor, equal for all micro-batches of a step, so that their losses add up to the batch's.
    """
    ratio_BR = (logp_BR - sampled_logp_BR).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    gain_BR = torch.minimum(
        ratio_BR * advantage_B[:, None], ratio_BR.clamp(1 - clip_low, 1 + clip_high) * advantage_B[:, None]
    )
    return -(gain_BR * is_reply_BR).sum() / norm_tokens


def full_kl(logits_BRV: Tensor, reference_logits_BRV: Tensor) -> Tensor:
    """KL(policy || reference) of each token's distribution, exact over the vocabulary, nats; shape [B, R]."""
    logp_BRV = logits_BRV.float().log_softmax(-1)
    reference_BRV = reference_logits_BRV.float().log_softmax(-1)
    return (logp_BRV.exp() * (logp_BRV - reference_BRV)).sum(-1)


def sampled_kl(logp_BR: Tensor, reference_logp_BR: Tensor, kind: SampledKL) -> Tensor:
    """KL(policy || reference) at each sampled token from its log-probabilities alone, nats; shape [B, R].

    With r = reference / policy: k1 = -log r, k2 = (log r)**2 / 2, k3 = r - 1 - log r (Schulman, "Approximating KL divergence",
    2020). As a loss on the sampler's own tokens only k2 has the gradient of the reverse KL; k1's is 0 in the mean.
    """
    log_r_BR = (reference_logp_BR - logp_BR).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    if kind == "k1":
        return -log_r_BR
    if kind == "k2":
        return log_r_BR**2 / 2
    if kind == "k3":
        return log_r_BR.exp() - 1 - log_r_BR
    raise ValueError(f"no sampled KL {kind!r}; there are k1, k2, k3")


def token_entropy(logits_BRV: Tensor) -> Tensor:
    """Entropy of each token's distribution, nats; shape [B, R]."""
    logp_BRV = logits_BRV.float().log_softmax(-1)
    return -(logp_BRV.exp() * logp_BRV).sum(-1)


def supervised_loss(logp_BR: Tensor, is_reply_BR: Tensor) -> Tensor:
    """Mean negative log-probability of the reply tokens, nats a token."""
    return -(logp_BR * is_reply_BR).sum() / is_reply_BR.sum().clamp(min=1)
