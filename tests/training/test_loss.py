import math

import pytest
import torch

from training import loss as losses

t = torch.tensor


def test_policy_loss_by_hand():
    """Ratio e on both rows: a gain is capped at 1.28, a loss is not."""
    rows = {"logp_BR": t([[0.0], [0.0]]), "sampled_logp_BR": t([[-1.0], [-1.0]]), "is_reply_BR": t([[True], [True]])}
    loss = losses.policy_loss(**rows, advantage_B=t([1.0, -1.0]), clip_low=0.2, clip_high=0.28, norm_tokens=2)
    assert loss == pytest.approx((math.e - 1.28) / 2)


def test_policy_loss_caps_a_fall_at_the_lower_clip():
    """Ratio 1/e: pushing down further gains nothing below 0.8."""
    rows = {"logp_BR": t([[-2.0]]), "sampled_logp_BR": t([[-1.0]]), "is_reply_BR": t([[True]])}
    loss = losses.policy_loss(**rows, advantage_B=t([-1.0]), clip_low=0.2, clip_high=0.2, norm_tokens=1)
    assert loss == pytest.approx(0.8)


def test_on_policy_gradient_is_the_score_times_the_advantage():
    logits = torch.randn(1, 1, 5, dtype=torch.float64, requires_grad=True)
    logp = losses.token_logprobs(logits, t([[2]]))
    losses.policy_loss(logp, logp.detach(), t([3.0]), t([[True]]), clip_low=0.2, clip_high=0.2, norm_tokens=1).backward()
    expected = -3.0 * (torch.nn.functional.one_hot(t(2), 5) - logits.detach().softmax(-1))
    assert torch.allclose(logits.grad, expected[None].to(logits.grad), atol=1e-6)


def test_masked_tokens_have_no_gradient():
    logits = torch.randn(1, 3, 4, requires_grad=True)
    logp = losses.token_logprobs(logits, t([[0, 1, 2]]))
    mask = t([[False, True, False]])
    losses.policy_loss(logp, logp.detach(), t([1.0]), mask, clip_low=0.2, clip_high=0.2, norm_tokens=1).backward()
    assert logits.grad[0, 0].abs().sum() == 0
    assert logits.grad[0, 2].abs().sum() == 0
    assert logits.grad[0, 1].abs().sum() > 0


def test_an_impossible_ratio_stays_finite():
    rows = {"logp_BR": t([[0.0]]), "sampled_logp_BR": t([[-1e9]]), "is_reply_BR": t([[True]])}
    loss = losses.policy_loss(**rows, advantage_B=t([-1.0]), clip_low=0.2, clip_high=0.2, norm_tokens=1)
    assert torch.isfinite(loss)


def test_full_kl_against_a_naive_sum():
    a, b = torch.randn(2, 3, 7), torch.randn(2, 3, 7)
    p, q = a.softmax(-1), b.softmax(-1)
    naive = sum(p[..., v] * (p[..., v].log() - q[..., v].log()) for v in range(7))
    assert torch.allclose(losses.full_kl(a, b), naive, atol=1e-6)
    assert torch.allclose(losses.full_kl(a, a), torch.zeros(2, 3), atol=1e-6)


@pytest.mark.parametrize("kind, factor", [("k1", 0.0), ("k2", 1.0)])
def test_gradient_of_the_sampled_kl(kind, factor):
    """By enumeration over three tokens: as a loss on the policy's own samples, k1's gradient is 0 in the mean and k2's is
    the reverse KL's."""
    torch.manual_seed(0)
    logits = torch.randn(1, 1, 3, dtype=torch.float64, requires_grad=True)
    reference = torch.randn(1, 1, 3, dtype=torch.float64)
    probabilities = logits.detach().softmax(-1)[0, 0]
    total = sum(
        probabilities[token]
        * losses.sampled_kl(
            losses.token_logprobs(logits, t([[token]])), losses.token_logprobs(reference, t([[token]])), kind
        ).sum()
        for token in range(3)
    )
    (mean_gradient,) = torch.autograd.grad(total, logits, retain_graph=True)
    (exact,) = torch.autograd.grad(losses.full_kl(logits, reference).sum(), logits)
    assert torch.allclose(mean_gradient, factor * exact, atol=1e-6)


def test_k3_is_never_negative_and_0_for_equals():
    logp, reference = torch.randn(4, 5), torch.randn(4, 5)
    assert (losses.sampled_kl(logp, reference, "k3") >= 0).all()
    assert losses.sampled_kl(logp, logp, "k3").abs().max() == 0


def test_unknown_kl():
    with pytest.raises(ValueError, match="k4"):
        losses.sampled_kl(t([0.0]), t([0.0]), "k4")


def test_entropy_of_a_fair_die():
    assert losses.token_entropy(torch.zeros(1, 1, 6)).item() == pytest.approx(math.log(6))


def test_supervised_loss_is_the_mean_over_reply_tokens():
    logp = t([[-1.0, -3.0], [-5.0, -100.0]])
    assert losses.supervised_loss(logp, t([[True, True], [True, False]])) == pytest.approx(3.0)
