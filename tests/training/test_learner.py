"""Optimiser steps: what ratios are taken to, what weights touch, and what never changes the gradient."""

import math
from dataclasses import replace
from functools import cache

import pytest
import torch

from training.config import load_config
from training.learner import Learner
from training.network import Network, predict
from training.samples import Row, make_batch
from training.tiny import make_model, make_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer(["a b c [bet] [check]"] * 3, vocab_size=300)


def learner_of(tokenizer, **settings):
    config = load_config(None, {"row_reject": 0.0, "lr": 1e-3, "lr_end": 1.0, "grad_clip": 1e9, **settings})
    model = make_model(tokenizer, hidden_size=32, layers=2, heads=2, kv_heads=1, init_std=0.3)
    return Learner(model, config, total_steps=100)


def parameters(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def gradient(learner):
    return torch.cat([parameter.grad.flatten() for parameter in learner.model.parameters()])


def logprobs(learner, rows):
    """Of each row's reply, by a plain forward pass."""
    with torch.no_grad():
        batch = make_batch(rows)
        logp_BR = predict(Network(learner.model), batch).logp_UR[batch.row_B]
    return [tuple(logp_BR[number, -len(row.reply_ids) :].tolist()) for number, row in enumerate(rows)]


def sampled_rows(learner, count=24, shift=0.0):
    """Rows of several lengths and both signs, sampled by weights whose log-probabilities differ by `shift`."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for number in range(count):
        prompt = tuple(torch.randint(4, 200, (3 + number % 5,), generator=generator).tolist())
        reply = tuple(torch.randint(4, 200, (1 + number % 3,), generator=generator).tolist())
        rows.append(Row(prompt, reply, (0.0,) * len(reply), float(number % 5 - 2), weight=1.0 + number % 2))
    rows += rows[:4]
    scored = logprobs(learner, rows)
    return [
        replace(row, logprobs=tuple(value - shift for value in values)) for row, values in zip(rows, scored, strict=True)
    ]


def test_ratios_are_summed_up_by_hand(tokenizer):
    """Rows of one token each whose trainer-to-sampler ratios are 2, 1, 1 and 1/2."""
    learner = learner_of(tokenizer, clip_low=0.2, clip_high=0.28, importance="bypass")
    rows = [Row((5, 6 + number), (7,), (0.0,), 1.0) for number in range(4)]
    ratios = (2.0, 1.0, 1.0, 0.5)
    rows = [
        replace(row, logprobs=(value - math.log(ratio),))
        for row, (value,), ratio in zip(rows, logprobs(learner, rows), ratios, strict=True)
    ]
    stats = learner.update(rows)
    assert stats.ratio_mean == pytest.approx(4.5 / 4, abs=1e-4)
    assert stats.ratio_max == pytest.approx(2.0, abs=1e-4)
    assert (stats.clipped_low, stats.clipped_high) == (1 / 4, 1 / 4)
    assert stats.mismatch_k1 == pytest.approx(0.0, abs=1e-4), "log 2 and -log 2"
    assert stats.mismatch_ess == pytest.approx(4.5**2 / (4 * 6.25), abs=1e-4)


def test_gradients_of_parts_are_those_of_their_rows(tokenizer):
    """Norms and cosine against gradients taken one by one; the weights and the next update are as if nothing had been asked."""
    learner, untouched = learner_of(tokenizer), learner_of(tokenizer)
    rows = sampled_rows(learner)
    parts = {"a": rows[:9], "b": rows[9:]}
    found = learner.gradients_of(parts, 50.0)
    alone = {}
    for name, part in parts.items():
        other = learner_of(tokenizer)
        other.update(part, 50.0)
        alone[name] = gradient(other)
    assert found["norm"] == pytest.approx({name: float(each.norm()) for name, each in alone.items()}, rel=1e-4)
    expected = torch.nn.functional.cosine_similarity(alone["a"], alone["b"], dim=0)
    assert found["cosine"] == {"a/b": pytest.approx(float(expected), abs=1e-4)}
    undone = learner.gradients_of({"a": rows, "b": [replace(row, advantage=-row.advantage) for row in rows]}, 50.0)
    assert undone["cosine"]["a/b"] == pytest.approx(-1.0, abs=1e-4)
    learner.update(rows, 50.0)
    untouched.update(rows, 50.0)
    assert torch.equal(parameters(learner.model), parameters(untouched.model))


def test_a_probe_stands_for_all_rows(tokenizer):
    """Of 200 equal rows some 50 are computed, and weigh as much as all."""
    learner = learner_of(tokenizer)
    (row, *_) = sampled_rows(learner)
    many, one = (learner.gradients_of({"a": rows}, 10.0) for rows in ([row] * 200, [replace(row, weight=200 * row.weight)]))
    assert many["norm"] == pytest.approx(one["norm"], rel=1e-4)
    assert many["cosine"] == {}


def test_old_logprobs_are_those_of_before_any_update(tokenizer):
    """Of all rows, whatever role they come from: a row of the last update is still compared with the first weights."""
    learner = learner_of(tokenizer, epochs=2, minibatches=3, lr=1e-2)
    rows = sampled_rows(learner, shift=0.4)
    before = logprobs(learner, rows)
    seen = []
    update = learner.update
    learner.update = lambda part, norm: (seen.append(list(part)), update(part, norm))[1]
    learner.learn(rows)
    assert len(seen) == 6
    known = {(row.prompt_ids, row.reply_ids): values for row, values in zip(rows, before, strict=True)}
    for part in seen:
        for row in part:
            assert row.old_logprobs == pytest.approx(known[row.prompt_ids, row.reply_ids], abs=1e-5)
    for epoch in (seen[:3], seen[3:]):
        found = sorted((row.prompt_ids, row.reply_ids) for part in epoch for row in part)
        assert found == sorted((row.prompt_ids, row.reply_ids) for row in rows), "a pass takes every row once"
    assert [len(part) for part in seen] == [10, 9, 9] * 2
    assert [row.prompt_ids for row in seen[0]] != [row.prompt_ids for row in seen[3]], "passes are in different orders"


@pytest.mark.parametrize("epochs", [1, 2])
def test_bypass_takes_the_clipped_ratio_to_the_sampler(tokenizer, epochs):
    """Trainer to sampler e^0.4: what wins is clipped away at 1.28, what loses counts e^0.4 times, and no other weight is taken."""
    plain = learner_of(tokenizer, importance="none")
    rows = [replace(row, advantage=-2.0) for row in sampled_rows(plain)]
    plain.learn(rows)
    learner = learner_of(tokenizer, importance="bypass", epochs=epochs, lr=1e-12)
    learner.with_old_logprobs = None  # is not needed
    shifted = [replace(row, logprobs=tuple(value - 0.4 for value in row.logprobs)) for row in rows]
    stats = learner.learn([*shifted, *(replace(row, advantage=3.0) for row in shifted)], learner._constant_norm(rows))
    assert stats.ratio_max == pytest.approx(math.exp(0.4), abs=1e-4)
    assert stats.clipped_high == 1
    assert stats.importance_cut == 0
    assert gradient(learner) == pytest.approx(math.exp(0.4) * gradient(plain), rel=1e-4, abs=1e-5)


def test_several_updates_take_theirs_to_the_first_weights(tokenizer):
    """The first of them has ratio 1 whatever the sampler says; the sampler's say is the importance weight, here e^0.9, capped."""
    learner = learner_of(tokenizer, epochs=2, lr=1e-9, importance="tis", importance_cap=2.0)
    rows = sampled_rows(learner, shift=0.9)
    stats = learner.learn(rows)
    assert stats.ratio_max == pytest.approx(1.0, abs=1e-4)
    assert stats.importance_cut == 1.0
    assert stats.mismatch_outside == 1.0
    assert stats.mismatch_k3 == pytest.approx(2.718281828**0.9 - 1 - 0.9, abs=1e-3)
    capped = gradient(learner)
    plain = learner_of(tokenizer, epochs=2, lr=1e-9, importance="none")
    plain.learn(rows)
    assert torch.allclose(capped, 2 * gradient(plain), atol=1e-6)
    masked = learner_of(tokenizer, epochs=2, lr=1e-9, importance="mis")
    masked.learn(rows)
    assert gradient(masked).abs().max() == 0


@pytest.mark.parametrize(
    "importance, shift, weight",
    [
        ("tis", 0.4, math.exp(0.4)),
        ("tis", -1.5, math.exp(-1.5)),
        ("tis", 1.5, 2.0),  # capped
        ("mis", 0.4, math.exp(0.4)),
        ("mis", 1.5, 0.0),
        ("mis", -1.5, 0.0),
        ("none", 1.5, 1.0),
    ],
)
@pytest.mark.parametrize("loss", ["ppo", "reinforce"])
def test_one_update_weighs_the_way_from_the_sampler(tokenizer, loss, importance, shift, weight):
    """The ratio of the loss is 1, and trainer to sampler, e^shift, is a weight, on winners and losers alike; replies that both
    agree on, as many beside them, keep theirs."""
    agreed = gradient_where_both_agree(tokenizer)
    assert agreed.abs().max() > 1e-2
    learner = learner_of(tokenizer, loss=loss, importance=importance)
    forward, passes = learner.network.hidden, []
    rows = [*sampled_rows(learner, shift=shift), *sampled_rows(learner)]
    learner.network.hidden = lambda batch: (passes.append(batch), forward(batch))[1]
    stats = learner.learn(rows, 10.0)
    assert len(passes) == 1, "no further pass"
    assert gradient(learner) == pytest.approx((weight + 1) * agreed, rel=1e-4, abs=1e-5)
    assert stats.ratio_max == 1
    assert (stats.clipped_low, stats.clipped_high) == (0, 0)
    assert stats.importance_cut == (0.5 if weight in (0.0, 2.0) else 0)
    assert stats.mismatch_outside == (0.5 if abs(shift) == 1.5 else 0)


@cache
def gradient_where_both_agree(tokenizer):
    learner = learner_of(tokenizer, importance="none")
    learner.learn(sampled_rows(learner), 10.0)
    return gradient(learner)


@pytest.mark.parametrize("epochs", [1, 2])
@pytest.mark.parametrize("kind", ["full", "k1", "k2", "k3"])
def test_weights_of_trust_never_touch_kl_and_entropy(tokenizer, kind, epochs):
    """Rows whose gain is masked or rejected altogether still pull towards the magnet, with all their weight."""
    settings = {"kl_kind": kind, "epochs": epochs, "lr": 1e-9, "kl_weight": 0.5, "entropy_weight": 0.1}
    found = []
    for importance, reject, advantage in (("none", 0.0, 0.0), ("mis", 0.0, 5.0), ("none", 2.0, 5.0)):
        learner = learner_of(tokenizer, importance=importance, row_reject=reject, **settings)
        with torch.no_grad():
            for parameter in learner.magnet.parameters():
                parameter.mul_(0.9)
        stats = learner.learn([replace(row, advantage=advantage) for row in sampled_rows(learner, shift=1.5)])
        assert (stats.rejected, stats.importance_cut) == (float(reject > 0), float(importance == "mis"))
        found.append(gradient(learner))
    assert found[0].abs().max() > 1e-4
    assert torch.allclose(found[0], found[1], atol=1e-6)
    assert torch.allclose(found[0], found[2], atol=1e-6)


@pytest.mark.parametrize("kind", ["k1", "k2", "k3"])
def test_a_sampled_kl_is_weighed_by_the_way_from_the_sampler(tokenizer, kind):
    """Of replies that other weights have sampled the mean gradient is the KL's only if each counts by its ratio, without a cap."""
    found = []
    for shift in (0.0, 1.5):
        learner = learner_of(tokenizer, kl_kind=kind, kl_weight=0.5)
        with torch.no_grad():
            for parameter in learner.magnet.parameters():
                parameter.mul_(0.9)
        learner.learn([replace(row, advantage=0.0) for row in sampled_rows(learner, shift=shift)])
        found.append(gradient(learner))
    assert found[0].abs().max() > 1e-4
    assert torch.allclose(found[1], math.exp(1.5) * found[0], rtol=1e-3, atol=1e-5)


def test_rejected_rows_are_counted(tokenizer):
    learner = learner_of(tokenizer, row_reject=2.0)
    rows = sampled_rows(learner)
    rows = [replace(row, logprobs=tuple(value - 1 for value in row.logprobs)) for row in rows[:7]] + rows[7:]
    assert learner.learn(rows).rejected == pytest.approx(7 / 28)


SETTINGS = [
    {"loss": "ppo", "dual_clip": 1.5},
    {"loss": "gspo"},
    {"loss": "cispo"},
    {"loss": "reinforce"},
    {"kl_kind": "full"},
    {"kl_kind": "k1"},
    {"kl_kind": "k2"},
    {"kl_kind": "k3"},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_parts_and_shared_computation_leave_the_gradient_as_it_is(tokenizer, settings):
    """One batch, uneven parts and rows one by one, with weights, clip, KL and entropy: the same sum to 1e-6."""

    def total(rows_of_each, max_tokens):
        learner = learner_of(
            tokenizer, kl_weight=0.1, entropy_weight=0.01, lr=1e-12, micro_batch_tokens=max_tokens, **settings
        )
        with torch.no_grad():
            for parameter in learner.magnet.parameters():
                parameter.mul_(0.95)
        rows = sampled_rows(learner, shift=0.15)
        gradients = []
        for part in rows_of_each(rows):
            learner.update(part, norm_tokens=100.0)
            gradients.append(gradient(learner))
        return sum(gradients)

    whole = total(lambda rows: [rows], 100_000)
    assert whole.abs().max() > 1e-3
    assert torch.allclose(whole, total(lambda rows: [rows], 23), atol=1e-6)
    assert torch.allclose(whole, total(lambda rows: [rows[:5], rows[5:6], rows[6:]], 100_000), atol=1e-6)
    assert torch.allclose(whole, total(lambda rows: [[row] for row in rows], 100_000), atol=1e-6)


def test_a_row_of_weight_two_is_two_rows(tokenizer):
    one, two = learner_of(tokenizer, kl_weight=0.1), learner_of(tokenizer, kl_weight=0.1)
    row = replace(sampled_rows(one)[1], weight=1.0)
    one.update([replace(row, weight=2.0)], norm_tokens=3.0)
    two.update([row, row], norm_tokens=3.0)
    assert torch.allclose(gradient(one), gradient(two), atol=1e-7)


def test_no_magnet_is_kept_without_a_kl(tokenizer):
    learner = learner_of(tokenizer, kl_weight=0.0)
    assert learner.magnet is None
    stats = learner.learn(sampled_rows(learner))
    assert stats.kl == 0
    again = learner_of(tokenizer, kl_weight=0.0)
    again.load_state_dict(learner.state_dict())
    saved = learner.tensors()
    for name, tensor in again.tensors().items():
        tensor.copy_(saved[name])
    assert again.tensors().keys() == saved.keys()
    assert torch.equal(parameters(again.model), parameters(learner.model))


UPDATES = pytest.mark.parametrize("updates", [{}, {"epochs": 2, "minibatches": 2}], ids=["one update", "four updates"])


@UPDATES
def test_the_magnet_is_refreshed_every_so_many_steps(tokenizer, updates):
    learner = learner_of(tokenizer, kl_weight=0.1, magnet_refresh=2, **updates)
    start = parameters(learner.model)
    rows = sampled_rows(learner)
    learner.learn(rows)
    assert torch.equal(parameters(learner.magnet), start)
    again = learner_of(tokenizer, kl_weight=0.1, magnet_refresh=2, **updates)
    again.load_state_dict(learner.state_dict())
    assert again.steps == 1
    learner.learn(rows)
    assert torch.equal(parameters(learner.magnet), parameters(learner.model))


@UPDATES
def test_slow_copies_move_once_a_step(tokenizer, updates):
    """The magnet stays for one step, then goes half of the way; the average is the plain mean at first, then keeps 0.7."""
    learner = learner_of(tokenizer, kl_weight=0.1, magnet_hold=1, magnet_rate=0.5, ema_decay=0.7, **updates)
    rows, weights = sampled_rows(learner), [parameters(learner.model)]
    for _ in range(3):
        learner.learn(rows)
        weights.append(parameters(learner.model))
    assert learner.steps == 3
    assert learner.step_number == 3 * learner.config.updates_per_step
    assert torch.allclose(parameters(learner.magnet), 0.25 * weights[0] + 0.25 * weights[2] + 0.5 * weights[3], atol=1e-6)
    assert torch.allclose(parameters(learner.ema), 0.7 * sum(weights[:3]) / 3 + 0.3 * weights[3], atol=1e-6)


def test_the_magnet_stays_at_the_start_with_rate_0(tokenizer):
    learner = learner_of(tokenizer, kl_weight=0.1, magnet_rate=0.0, magnet_hold=0)
    start = parameters(learner.model)
    rows = sampled_rows(learner)
    for _ in range(3):
        learner.learn(rows)
    assert torch.equal(parameters(learner.magnet), start)


def test_entropy_weight_follows_the_measured_entropy(tokenizer):
    learner = learner_of(tokenizer, entropy_target=50.0, entropy_gain=0.01)
    rows = sampled_rows(learner)
    assert [learner.learn(rows).entropy_weight for _ in range(3)] == pytest.approx([0.0, 0.01, 0.02])
    assert learner_of(tokenizer, entropy_target=1e-3, entropy_weight=0.5).learn(rows).entropy_weight == 0.5


@pytest.mark.parametrize("wrong", ["advantage", "norm"])
def test_a_step_that_cannot_be_taken_leaves_the_weights(tokenizer, wrong):
    learner = learner_of(tokenizer, skip_grad_norm=1e-9 if wrong == "norm" else 0.0)
    rows = sampled_rows(learner)
    if wrong == "advantage":
        rows[3] = replace(rows[3], advantage=float("nan"))
    before, ema = parameters(learner.model), parameters(learner.ema)
    with pytest.raises(FloatingPointError, match="gradient norm"):
        learner.learn(rows)
    assert torch.equal(parameters(learner.model), before)
    assert torch.equal(parameters(learner.ema), ema)
    assert learner.step_number == 0


def test_the_cache_is_off_so_that_packed_rows_cannot_mix(tokenizer):
    """With a cache, transformers lets rows that stand one behind the other in a sequence see each other; without it they
    are told apart by positions that start again. `reply_logits` says so itself, whatever the model's own setting."""
    model = learner_of(tokenizer).model.eval()
    model.config.use_cache = True
    asked = []
    model.register_forward_pre_hook(lambda _, __, kwargs: asked.append(kwargs["use_cache"]), with_kwargs=True)
    for share in (False, True):
        predict(Network(model, share=share), make_batch([Row((5, 6), (7,))], share=share))
    assert set(asked) == {False}
    first, second = [5, 6, 7, 8], [40, 41, 42]
    packed = {
        "input_ids": torch.tensor([first + second]),
        "position_ids": torch.tensor([[*range(len(first)), *range(len(second))]]),
    }
    with torch.no_grad():
        alone = model(input_ids=torch.tensor([second]), use_cache=False).logits
        apart = model(**packed, use_cache=False).logits[:, len(first) :]
        mixed = model(**packed, use_cache=True).logits[:, len(first) :]
    assert torch.allclose(alone, apart, atol=1e-5)
    assert not torch.allclose(alone, mixed, atol=1e-2)
