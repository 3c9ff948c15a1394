"""What a GPU does in another way than a CPU: 16-bit kernels, nccl, the fused optimiser. Each test runs on a CPU, too.

pytest -m gpu
"""

import contextlib
import socket
from dataclasses import replace

import pytest
import torch
from torch import distributed
from torch.nn.functional import cosine_similarity

from training import policy
from training.config import load_config
from training.distributed import World
from training.learner import Learner
from training.network import Network, predict
from training.policy import load_policy
from training.samples import Row, make_batch
from training.tiny import make_model, make_tokenizer
from training.weights import whole

SMALL = {
    "hidden_size": 32,
    "layers": 2,
    "vocab_size": 300,
    "warmup_games": 10,
    "kl_weight": 0.1,
    "row_reject": 0.0,
    "lr": 1e-3,
}
KINDS = {"full": {}, "lora": {"lora_rank": 8, "base_dtype": "bfloat16"}, "checkpointing": {"gradient_checkpointing": True}}
ROWS = [Row((5, 6, 7, number % 7), (8 + number, 9), (-5.0, -5.0), float(number % 3 - 1)) for number in range(12)]
on_devices = pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda",
            marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")],
        ),
    ],
)


def learner_of(folder, device, **settings):
    config = load_config("kuhn_tiny", {**SMALL, **settings})
    world = World(device=torch.device(device, 0) if device == "cuda" else torch.device(device))
    model, _ = load_policy(config, folder, world)
    return Learner(model, config, total_steps=20, world=world)


def gradient(learner):
    parameters = [each for each in learner.model.parameters() if each.requires_grad]
    return torch.cat([whole(each.grad).flatten() for each in parameters]).cpu()


def sampled(learner):
    """The rows as if the weights had sampled them."""
    rows = learner.with_old_logprobs(ROWS)
    return [replace(row, logprobs=row.old_logprobs, old_logprobs=()) for row in rows]


@on_devices
@pytest.mark.parametrize("kind", KINDS)
def test_steps_in_bf16(kind, device, tmp_path):
    """The gradient is about that of fp32 on a CPU, weights stay fp32, and the loss falls when the step is repeated."""
    learner = learner_of(tmp_path, device, compute_dtype="bfloat16", **KINDS[kind])
    rows = sampled(learner)
    first = learner.learn(rows)
    low = gradient(learner)
    later = [learner.learn(rows) for _ in range(9)]
    assert learner.network.shares, learner.network.why_not
    assert {each.device.type for each in learner.model.parameters()} == {device}
    assert {each.dtype for each in learner.tensors().values()} == {torch.float32}
    assert later[-1].loss < first.loss
    on_cpu = learner_of(tmp_path, "cpu", **KINDS[kind])
    expected = on_cpu.learn(rows)
    assert first.grad_norm == pytest.approx(expected.grad_norm, rel=0.1)
    assert cosine_similarity(low, gradient(on_cpu), dim=0) > 0.98


@on_devices
def test_the_fused_optimiser_takes_the_same_steps(device, tmp_path):
    """It is what a GPU gets, since it makes no copies."""
    found = []
    for fused in (False, True):
        learner = learner_of(tmp_path, device)
        learner.optimizer.param_groups[0] |= {"fused": fused, "foreach": False}
        for _ in range(3):
            learner.learn(ROWS)
        found.append(torch.cat([each.detach().flatten() for each in learner.model.parameters()]))
    assert torch.allclose(*found, atol=1e-6)


@contextlib.contextmanager
def group_of_one(device):
    """A process group with the backends of a run on such devices."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    distributed.init_process_group(backend, init_method=f"tcp://127.0.0.1:{port}", rank=0, world_size=1)
    try:
        yield
    finally:
        distributed.destroy_process_group()


@on_devices
@pytest.mark.parametrize("kind", KINDS)
def test_shards_of_one_process_in_bf16(kind, device, tmp_path):
    """Gathered, cast and summed by the backend of the device; about the same gradient and weights as without shards."""
    plain = learner_of(tmp_path, device, compute_dtype="bfloat16", **KINDS[kind])
    rows = sampled(plain)
    plain.learn(rows)
    with group_of_one(device):
        learner = learner_of(tmp_path, device, **KINDS[kind])  # its shards say what it computes in
        for model in (learner.model, *(() if kind == "lora" else (learner.ema, learner.magnet))):
            policy.shard(model, learner.world, "bfloat16")
        learner._ready()
        learner.optimizer.param_groups[0] |= {"fused": True, "foreach": False}
        stats = learner.learn(rows)
        found = gradient(learner)
        assert {each.dtype for each in learner.tensors().values()} == {torch.float32}
        moved = {name: whole(each).cpu() for name, each in learner.tensors().items() if name.startswith("weights/")}
    assert stats.grad_norm > 0
    assert cosine_similarity(found, gradient(plain), dim=0) > 0.98
    off = [(moved[name] - each.cpu()).abs() for name, each in plain.tensors().items() if name in moved]
    assert torch.cat([each.flatten() for each in off]).median() < 1e-4  # a tenth of a step of Adam


@on_devices
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_shared_beginnings_give_what_padded_rows_give(dtype, device):
    """With lengths that no kernel likes: 301 common tokens, branches of 1 to 23."""
    tokenizer = make_tokenizer(["a b c [bet] [check]"] * 3, vocab_size=300)
    model = make_model(tokenizer, hidden_size=64, layers=2).to(device, dtype)
    rules = tuple(5 + number % 200 for number in range(301))
    rows = [
        Row(rules + (7,) * (number % 5), tuple(9 + (number * each) % 190 for each in range(1, 2 + number % 23)))
        for number in range(40)
    ]
    found = []
    for share in (False, True):
        network = Network(model, share=share)
        assert network.shares == share
        model.zero_grad(set_to_none=True)
        batch = make_batch(rows, share=share, device=device)
        with network.passes():
            logp_UR = predict(network, batch).logp_UR
            logp_UR.sum().backward()
        found.append((logp_UR.detach(), torch.cat([each.grad.flatten() for each in model.parameters()]).float()))
    (padded_UR, of_padded), (shared_UR, of_shared) = found
    off_UR = (padded_UR - shared_UR).abs()
    exact = dtype == torch.float32
    assert off_UR.max() < (1e-3 if exact else 0.3)
    assert off_UR.mean() < (1e-4 if exact else 0.02)
    assert cosine_similarity(of_padded, of_shared, dim=0) > (0.99999 if exact else 0.99)
