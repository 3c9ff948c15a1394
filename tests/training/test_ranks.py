"""Two processes with sharded weights learn what one does, and take up what the other has saved."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from training.checkpoint import load_latest, load_tensors, read_tensors, save_step
from training.config import load_config
from training.distributed import ALONE
from training.learner import Learner
from training.policy import load_policy, save_policy
from training.samples import Row
from training.weights import trained, whole

SETTINGS = {
    "hidden_size": 32,
    "layers": 2,
    "vocab_size": 300,
    "warmup_games": 10,
    "kl_weight": 0.1,
    "magnet_hold": 0,
    "magnet_rate": 0.1,
    "entropy_weight": 0.01,
    "entropy_target": 9.0,
    "row_reject": 0.0,
    "lr": 1e-3,
}
BF16 = {"compute_dtype": "bfloat16", "kl_kind": "k3", "entropy_target": 0.0}
IN_BF16 = {
    "full": BF16,
    "full, checkpointing": {**BF16, "gradient_checkpointing": True},
    "lora": {**BF16, "lora_rank": 4, "base_dtype": "bfloat16"},
    "lora, checkpointing": {**BF16, "lora_rank": 4, "base_dtype": "bfloat16", "gradient_checkpointing": True},
}
KINDS = {
    "full": {},
    "lora": {"lora_rank": 4, "gradient_checkpointing": True},
    "plain": {"share_prefixes": False, "kl_kind": "k3"},
    "several updates": {"epochs": 2, "minibatches": 2},
}


def rows():
    generator = torch.Generator().manual_seed(0)
    found = []
    for number in range(21):
        prompt = (5, 6, 7, *torch.randint(4, 200, (2 + number % 5,), generator=generator).tolist())
        reply = tuple(torch.randint(4, 200, (1 + number % 3,), generator=generator).tolist())
        found.append(Row(prompt, reply, (-5.0,) * len(reply), float(number % 5 - 2), weight=1.0 + number % 2))
    return found + found[:4]


def learner_of(settings, folder, world):
    config = load_config("kuhn_tiny", {**SETTINGS, "micro_batch_tokens": 40, **settings})
    model, tokenizer = load_policy(config, folder, world)
    with torch.no_grad():  # an adapter begins at 0, and all slow copies at the weights: move them apart
        for number, parameter in enumerate(each for each in model.parameters() if each.requires_grad):
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    learner = Learner(model, config, total_steps=8, world=world)
    assert (learner.ema is None) == (world.size > 1), "several processes never hold whole copies"
    learner.shard()
    return learner, tokenizer


SAME = ("loss", "kl", "entropy", "grad_norm", "ratio_mean", "ratio_max", "clipped_low", "clipped_high")
SAME += ("mismatch_ess", "rows", "distinct_rows")


def gradient(learner):
    parameters = [each for each in learner.model.parameters() if each.requires_grad]
    return torch.cat([whole(each.grad).flatten() for each in parameters])


def nearly_all_close(one, other):
    """Adam makes a whole step of a gradient that is rounding alone."""
    return ((one - other).abs() > 2e-5).float().mean() < 0.01


def take_up(world, folder, kind):
    """A learner as it was saved, whatever number of processes it was saved by."""
    learner, _ = learner_of(KINDS[kind], Path(folder), world)
    step, state = load_latest(Path(folder) / kind)
    load_tensors(Path(folder) / kind, step, learner.tensors(), world)
    learner.load_state_dict(state)
    return learner.step_number, {name: whole(tensor) for name, tensor in learner.tensors().items()}


def everything(world, folder, folder_of_one):
    """Processes take long to start: all that is asked of two of them."""
    taken_up = {kind: take_up(world, folder_of_one, kind) for kind in ("full", "lora")}
    return learn(world, folder), taken_up, learn_in_bf16(world, folder)


def learn(world, folder):
    """By kind: two steps' gradients and statistics, the weights, and the gradients of two parts of the rows; the second step has
    rows for one rank alone."""
    found = {}
    for kind in KINDS:
        learner, tokenizer = learner_of(KINDS[kind], Path(folder), world)
        steps = []
        probed = learner.gradients_of({"a": rows()[:3], "b": rows()[3:]}, 10.0)
        for of_step in (rows(), rows()[:1]):
            stats = learner.learn(of_step, norm_tokens=10.0)
            steps.append((gradient(learner), stats))
        weights = dict(trained(learner.model))
        found[kind] = (steps, weights, probed)
        run = Path(folder) / kind
        save_step(run, 2, learner.state_dict(), learner.tensors(), keep=1, world=world)
        save_policy(learner.model, tokenizer, run / "model", world)
    return found


def learn_in_bf16(world, folder):
    """By kind: a step's gradient, its norm, and the types of what is kept, of what is never trained and of what layers give."""
    return {kind: step_in_bf16(world, Path(folder) / "bf16" / kind, settings) for kind, settings in IN_BF16.items()}


def step_in_bf16(world, folder, settings):
    learner, _ = learner_of(settings, folder, world)
    parameters = dict(learner.model.named_parameters())
    given = set()
    for layer in learner.model.modules():
        if type(layer).__name__ == "Qwen3MLP":
            layer.register_forward_hook(lambda layer, asked, out: given.add(out.dtype))
    stats = learner.learn(rows(), norm_tokens=10.0)
    save_step(folder, 1, learner.state_dict(), learner.tensors(), keep=1, world=world)
    kept = {
        each.dtype
        for each in (*learner.tensors().values(), *(each.grad for each in parameters.values() if each.requires_grad))
    }
    frozen = {each.dtype for name, each in parameters.items() if ".lora_" not in name and not each.requires_grad}
    return gradient(learner), stats.grad_norm, kept, frozen, given


@pytest.fixture(scope="module")
def of_one_and_two(on_ranks, tmp_path_factory):
    """(folder, what one process found, what each of two found) of `everything`; the folder has what one saved in `alone`."""
    folder = tmp_path_factory.mktemp("ranks")
    alone = folder / "alone"
    of_one = learn(ALONE, alone), learn_in_bf16(ALONE, alone)
    return folder, of_one, on_ranks(2, everything, str(folder), str(alone))


@pytest.mark.parametrize("kind", IN_BF16)
def test_two_ranks_compute_in_bf16_over_fp32_weights(kind, of_one_and_two):
    """FSDP2 casts whole layers, autocast some operations: the gradients agree as well as rounding to 8 bits lets them."""
    folder, (_, of_one), on_both = of_one_and_two
    expected, expected_norm, *_ = of_one[kind]
    for _, _, of_rank in on_both:
        found, norm, kept, frozen, given = of_rank[kind]
        assert torch.nn.functional.cosine_similarity(expected, found, dim=0) > 0.995
        assert norm == pytest.approx(expected_norm, rel=0.02)
        assert kept == {torch.float32}
        assert frozen == ({torch.bfloat16} if "lora" in kind else set())
        assert given == {torch.bfloat16}
    saved = read_tensors(folder / "bf16" / kind, 1)
    assert {tensor.dtype for tensor in saved.values()} == {torch.float32}
    assert saved.keys() == read_tensors(folder / "alone" / "bf16" / kind, 1).keys()


def test_two_ranks_learn_and_save_what_one_process_does(of_one_and_two):
    """Full weights, LoRA with gradient checkpointing, without shared beginnings, several updates a step; a rank without rows.
    And each takes up what the other has saved, to the bit."""
    tmp_path, (of_one, _), on_both = of_one_and_two
    folder_of_one = tmp_path / "alone"
    of_ranks = [learnt for learnt, _, _ in on_both]
    for kind in KINDS:
        steps, weights, probed = of_one[kind]
        for found_steps, found_weights, found_probed in (of_rank[kind] for of_rank in of_ranks):
            assert found_probed == {name: pytest.approx(figures, rel=1e-3, abs=1e-4) for name, figures in probed.items()}
            for (expected, stats), (found, found_stats) in zip(steps, found_steps, strict=True):
                assert expected.abs().max() > 1e-4
                assert torch.allclose(expected, found, atol=1e-6 * max(1.0, float(expected.abs().max()))), kind
                for name in SAME:
                    assert getattr(found_stats, name) == pytest.approx(getattr(stats, name), rel=1e-4, abs=1e-6), (
                        kind,
                        name,
                    )
            assert all(nearly_all_close(found_weights[name], weights[name]) for name in weights)
        one, two = read_tensors(folder_of_one / kind, 2), read_tensors(tmp_path / kind, 2)
        assert one.keys() == two.keys()
        assert {name.split("/")[0] for name in one} == {"weights", "exp_avg", "exp_avg_sq", "step", "ema", "magnet"}
        assert all(nearly_all_close(one[name], two[name]) for name in one)
        files = sorted(path.name for path in (folder_of_one / kind / "model").iterdir())
        assert files == sorted(path.name for path in (tmp_path / kind / "model").iterdir())
    for kind in ("full", "lora"):
        of_two = (take_up(ALONE, tmp_path, kind), read_tensors(tmp_path / kind, 2))
        for (step, taken_up), saved in (
            of_two,
            *((found[kind], read_tensors(folder_of_one / kind, 2)) for _, found, _ in on_both),
        ):
            assert step == 2
            assert taken_up.keys() == saved.keys()
            assert all(torch.equal(tensor, saved[name]) for name, tensor in taken_up.items())


def test_uneven_parts_give_one_gradient(tmp_path):
    found = []
    for micro_batch_tokens in (10_000, 33, 1):
        learner, _ = learner_of({"micro_batch_tokens": micro_batch_tokens}, tmp_path, ALONE)
        learner.update([replace(row) for row in rows()], norm_tokens=10.0)
        found.append(gradient(learner))
    assert torch.allclose(found[0], found[1], atol=1e-6 * float(found[0].abs().max()))
    assert torch.allclose(found[0], found[2], atol=1e-6 * float(found[0].abs().max()))
