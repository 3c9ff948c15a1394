import math

import pytest
import torch

from training import loss as losses
from training.loss import Clip, EntropyController

t = torch.tensor


def token_logprobs(logits, ids):
    return logits.log_softmax(-1).gather(-1, ids[..., None]).squeeze(-1)


def test_policy_loss_by_hand():
    """Ratio e on both rows: a gain is capped at 1.28, a loss is not."""
    rows = {"logp_BR": t([[0.0], [0.0]]), "old_logp_BR": t([[-1.0], [-1.0]]), "is_reply_BR": t([[True], [True]])}
    loss = losses.policy_loss(**rows, advantage_B=t([1.0, -1.0]), clip=Clip(0.2, 0.28), norm_tokens=2)
    assert loss == pytest.approx((math.e - 1.28) / 2)


def test_policy_loss_caps_a_fall_at_the_lower_clip():
    """Ratio 1/e: pushing down further gains nothing below 0.8."""
    rows = {"logp_BR": t([[-2.0]]), "old_logp_BR": t([[-1.0]]), "is_reply_BR": t([[True]])}
    loss = losses.policy_loss(**rows, advantage_B=t([-1.0]), clip=Clip(0.2, 0.2), norm_tokens=1)
    assert loss == pytest.approx(0.8)


def test_on_policy_gradient_is_the_score_times_the_advantage():
    logits = torch.randn(1, 1, 5, dtype=torch.float64, requires_grad=True)
    logp = token_logprobs(logits, t([[2]]))
    losses.policy_loss(logp, logp.detach(), t([3.0]), t([[True]]), clip=Clip(0.2, 0.2), norm_tokens=1).backward()
    expected = -3.0 * (torch.nn.functional.one_hot(t(2), 5) - logits.detach().softmax(-1))
    assert torch.allclose(logits.grad, expected[None].to(logits.grad), atol=1e-6)


def test_masked_tokens_have_no_gradient():
    logits = torch.randn(1, 3, 4, requires_grad=True)
    logp = token_logprobs(logits, t([[0, 1, 2]]))
    mask = t([[False, True, False]])
    losses.policy_loss(logp, logp.detach(), t([1.0]), mask, clip=Clip(0.2, 0.2), norm_tokens=1).backward()
    assert logits.grad[0, 0].abs().sum() == 0
    assert logits.grad[0, 2].abs().sum() == 0
    assert logits.grad[0, 1].abs().sum() > 0


def test_an_impossible_ratio_stays_finite():
    rows = {"logp_BR": t([[0.0]]), "old_logp_BR": t([[-1e9]]), "is_reply_BR": t([[True]])}
    loss = losses.policy_loss(**rows, advantage_B=t([-1.0]), clip=Clip(0.2, 0.2), norm_tokens=1)
    assert torch.isfinite(loss)


def test_full_kl_against_a_naive_sum():
    a, b = torch.randn(2, 3, 7), torch.randn(2, 3, 7)
    p, q = a.softmax(-1), b.softmax(-1)
    naive = sum(p[..., v] * (p[..., v].log() - q[..., v].log()) for v in range(7))
    assert torch.allclose(losses.full_kl(a.log_softmax(-1), b.log_softmax(-1)), naive, atol=1e-6)
    assert torch.allclose(losses.full_kl(a.log_softmax(-1), a.log_softmax(-1)), torch.zeros(2, 3), atol=1e-6)


def batch_of_replies():
    """Two rows of 3 and 2 tokens, ratios on all sides of the clip, in float64."""
    generator = torch.Generator().manual_seed(1)
    logp = torch.randn(4, 3, generator=generator, dtype=torch.float64) * 0.5 - 1
    old = logp + torch.randn(4, 3, generator=generator, dtype=torch.float64) * 0.4
    advantage = t([1.0, -2.0, 0.5, -0.7], dtype=torch.float64)
    is_reply = t([[True, True, True], [False, True, True], [True, True, True], [False, False, True]])
    return logp.requires_grad_(), old, advantage, is_reply


def naive_gain(form, logp, old, advantage, clip):
    """What the tokens of one reply gain, token by token."""
    gains = []
    for token in range(len(logp)):
        ratio = math.exp(logp[token] - old[token])
        if form == "gspo":
            ratio = math.exp(sum(new - before for new, before in zip(logp, old, strict=True)) / len(logp))
        clipped = min(max(ratio, 1 - clip.low), 1 + clip.high)
        if form in ("ppo", "gspo"):
            gain = min(ratio * advantage, clipped * advantage)
            if clip.dual and advantage < 0:
                gain = max(gain, clip.dual * advantage)
        elif form == "cispo":
            gain = clipped * advantage * logp[token]
        else:
            gain = advantage * logp[token]
        gains.append(gain)
    return gains


@pytest.mark.parametrize("form", list(losses.FORMS))
@pytest.mark.parametrize("dual", [0.0, 1.3])
def test_forms_against_a_naive_loop(form, dual):
    logp, old, advantage, is_reply = batch_of_replies()
    clip = Clip(0.2, 0.28, dual)
    weight = t([[1.0], [2.0], [0.5], [1.0]], dtype=torch.float64)
    found = losses.policy_loss(logp, old, advantage, is_reply, clip=clip, norm_tokens=7, form=form, weight_BR=weight)
    total = 0.0
    for row in range(4):
        columns = is_reply[row].nonzero().flatten().tolist()
        of_row = ([float(values[row, column]) for column in columns] for values in (logp.detach(), old))
        total += float(weight[row]) * sum(naive_gain(form, *of_row, float(advantage[row]), clip))
    assert found.item() == pytest.approx(-total / 7)


@pytest.mark.parametrize("form", ["ppo", "gspo", "reinforce"])
def test_gradient_of_a_form_against_finite_differences(form):
    logp, old, advantage, is_reply = batch_of_replies()

    def loss(values):
        return losses.policy_loss(values, old, advantage, is_reply, clip=Clip(0.2, 0.28), norm_tokens=3, form=form)

    assert torch.autograd.gradcheck(loss, (logp,), atol=1e-6)


def test_cispo_keeps_the_gradient_of_every_token():
    """Its ratio is a constant: the gradient is clipped ratio * advantage, where PPO's is 0 out of the range."""
    logp, old, advantage, is_reply = batch_of_replies()
    clip = Clip(0.2, 0.28)
    losses.policy_loss(logp, old, advantage, is_reply, clip=clip, norm_tokens=1, form="cispo").backward()
    ratio = (logp.detach() - old).exp().clamp(0.8, 1.28)
    assert torch.allclose(logp.grad, -ratio * advantage[:, None] * is_reply)
    assert (logp.grad[is_reply] != 0).all()
    ppo = logp.detach().clone().requires_grad_()
    losses.policy_loss(ppo, old, advantage, is_reply, clip=clip, norm_tokens=1).backward()
    assert (ppo.grad[is_reply] == 0).any()


def test_gspo_with_row_weights_is_the_papers_objective():
    logp, old, advantage, is_reply = batch_of_replies()
    lengths = is_reply.sum(-1, keepdim=True).double()
    found = losses.policy_loss(
        logp, old, advantage, is_reply, clip=Clip(0.1, 0.1), norm_tokens=4, form="gspo", weight_BR=1 / lengths
    )
    ratio = (((logp - old) * is_reply).sum(-1) / lengths[:, 0]).exp()
    expected = torch.minimum(ratio * advantage, ratio.clamp(0.9, 1.1) * advantage).mean()
    assert found.item() == pytest.approx(-expected.item())


@pytest.mark.parametrize(
    "name, expected",
    [("none", [1, 1, 1, 1, 1]), ("bypass", [1, 1, 1, 1, 1]), ("tis", [0.4, 0.5, 1, 2, 2]), ("mis", [0, 0.5, 1, 2, 0])],
)
def test_importance_weights(name, expected):
    mismatch = t([[0.4, 0.5, 1.0, 2.0, 3.0]], dtype=torch.float64).log()
    assert losses.IMPORTANCE[name](mismatch, 2.0 + 1e-9)[0].tolist() == pytest.approx(expected)


def test_rows_whose_mean_ratio_is_off_are_rejected():
    """Geometric mean over the reply's tokens only: 3 * 1/3 is 1; 3 alone is out."""
    mismatch = t([[3.0, 1 / 3, 1.0], [100.0, 3.0, 3.0], [100.0, 1.9, 1.9], [1.0, 1.0, 0.4]]).log()
    is_reply = t([[True, True, True], [False, True, True], [False, True, True], [False, False, True]])
    assert losses.accepted_rows(mismatch, is_reply, 2.0).tolist() == [True, False, True, False]


def enumerated_kl_gradient(kind, old_logits, logits, reference):
    """Mean gradient over three tokens drawn from `old_logits`."""
    probabilities = old_logits.softmax(-1)[0, 0]
    total = torch.zeros((), dtype=torch.float64)
    for token in range(3):
        logp, old, magnet = (token_logprobs(each, t([[token]])) for each in (logits, old_logits, reference))
        total = total + probabilities[token] * losses.kl_term(logp, old, magnet, kind).sum()
    return torch.autograd.grad(total, logits)[0]


@pytest.mark.parametrize("kind", ["k1", "k2", "k3"])
@pytest.mark.parametrize("moved", [0.0, 0.3])
def test_gradient_of_the_sampled_kl(kind, moved):
    """By enumeration over three tokens: each kind, used as it must be, has the gradient of the reverse KL, also when the weights
    have moved since the tokens were sampled."""
    torch.manual_seed(0)
    logits = torch.randn(1, 1, 3, dtype=torch.float64, requires_grad=True)
    reference = torch.randn(1, 1, 3, dtype=torch.float64)
    old = logits.detach() + moved * torch.randn(1, 1, 3, dtype=torch.float64)
    (exact,) = torch.autograd.grad(losses.full_kl(logits.log_softmax(-1), reference.log_softmax(-1)).sum(), logits)
    assert torch.allclose(enumerated_kl_gradient(kind, old, logits, reference), exact, atol=1e-6)


@pytest.mark.parametrize("kind", ["k1", "k3"])
def test_k1_and_k3_as_they_stand_are_no_reverse_kl(kind):
    """Why `kl_term` does more: the mean gradient of k1 is 0, that of k3 another divergence's."""
    torch.manual_seed(0)
    logits = torch.randn(1, 1, 3, dtype=torch.float64, requires_grad=True)
    reference = torch.randn(1, 1, 3, dtype=torch.float64)
    probabilities = logits.detach().softmax(-1)[0, 0]
    total = sum(
        probabilities[token]
        * losses.sampled_kl(token_logprobs(logits, t([[token]])), token_logprobs(reference, t([[token]])), kind).sum()
        for token in range(3)
    )
    (mean_gradient,) = torch.autograd.grad(total, logits, retain_graph=True)
    (exact,) = torch.autograd.grad(losses.full_kl(logits.log_softmax(-1), reference.log_softmax(-1)).sum(), logits)
    assert not torch.allclose(mean_gradient, exact, atol=1e-2)
    if kind == "k1":
        assert torch.allclose(mean_gradient, torch.zeros_like(exact), atol=1e-6)


def test_k3_is_never_negative_and_0_for_equals():
    logp, reference = torch.randn(4, 5), torch.randn(4, 5)
    assert (losses.sampled_kl(logp, reference, "k3") >= 0).all()
    assert losses.sampled_kl(logp, logp, "k3").abs().max() == 0


def test_unknown_kl():
    with pytest.raises(ValueError, match="k4"):
        losses.sampled_kl(t([0.0]), t([0.0]), "k4")


def test_entropy_of_a_fair_die():
    assert losses.token_entropy(torch.zeros(1, 1, 6).log_softmax(-1)).item() == pytest.approx(math.log(6))


def test_supervised_loss_is_the_mean_over_reply_tokens():
    logp = t([[-1.0, -3.0], [-5.0, -100.0]])
    assert losses.supervised_loss(logp, t([[True, True], [True, False]])) == pytest.approx(3.0)


def test_entropy_controller_rises_below_its_target_and_is_off_above():
    controller = EntropyController(0.01, target=0.5, gain=0.004)
    assert controller.now == 0.01
    controller.measure(0.4)
    assert controller.now == pytest.approx(0.014)
    controller.measure(0.6)
    assert controller.now == 0
    again = EntropyController(0.0, target=0.5, gain=0.004)
    again.load_state_dict(controller.state_dict())
    again.measure(0.4)
    assert again.now == pytest.approx(0.014)  # 0.014 - 0.004 + 0.004
    for _ in range(9):
        again.measure(0.6)
    again.measure(0.4)
    assert again.now == pytest.approx(0.004), "the weight does not fall below 0"


def test_entropy_weight_without_a_target_stays():
    controller = EntropyController(0.01, target=0.0, gain=0.004)
    controller.measure(0.0)
    controller.measure(9.0)
    assert controller.now == 0.01
