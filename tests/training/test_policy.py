"""The module that is trained: what is refused, what is trained of it, what users get."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from agents.models.hf import load
from training.config import load_config
from training.distributed import ALONE, join_world
from training.learner import Learner
from training.policy import WithAdapter, load_policy, save_policy
from training.samples import Row
from training.tiny import make_model, make_tokenizer

SMALL = {"hidden_size": 32, "layers": 2, "vocab_size": 300, "warmup_games": 10}
ROWS = [Row((5, 6, 7, number % 7), (8 + number, 9), (-5.0, -5.0), float(number % 3 - 1)) for number in range(12)]


@pytest.mark.parametrize(
    "settings, complaint",
    [
        ({"lora_targets": "q_proj"}, "need lora_rank above 0"),
        ({"lora_alpha": 8}, "need lora_rank above 0"),
        ({"base_dtype": "bfloat16"}, "say compute_dtype='bfloat16'"),
        ({"lora_rank": -1}, "lora_rank=-1 must not be below 0"),
        ({"compute_dtype": "float16"}, "compute_dtype='float16' is not known"),
        ({"device": "gpu"}, "device='gpu' is not known"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, complaint):
    with pytest.raises(ValueError, match=complaint):
        load_config("kuhn_tiny", settings)


def test_targets_that_match_nothing_are_named_with_what_there_is(tmp_path):
    config = load_config("kuhn_tiny", {**SMALL, "lora_rank": 2, "lora_targets": "query,value"})
    with pytest.raises(ValueError, match=r"lora_targets=\['query', 'value'\].*linear layers are down_proj, .*q_proj"):
        load_policy(config, tmp_path)


def test_a_model_that_is_not_there_is_named(tmp_path):
    config = load_config("kuhn_tiny", {"model": str(tmp_path / "nowhere"), "warmup_steps": 0})
    with pytest.raises(ValueError, match="nowhere' cannot be loaded"):
        load_policy(config, tmp_path)


def test_a_missing_gpu_is_named(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match="torch sees no GPU"), join_world(load_config(None, {"device": "cuda"}).device):
        pass


def test_a_model_without_a_padding_token_is_trained(tmp_path):
    """Nothing needs one: masks come from lengths."""
    tokenizer = make_tokenizer(["a b c [bet] [check]"] * 3, vocab_size=300)
    make_model(tokenizer, hidden_size=32, layers=1).save_pretrained(tmp_path / "model")
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path / "model")
    model, loaded = load_policy(load_config(None, {"model": str(tmp_path / "model")}), tmp_path)
    assert loaded.pad_token is None
    assert Learner(model, load_config(None, {}), total_steps=1).learn(ROWS).grad_norm > 0


def test_dropout_is_off_in_training(tmp_path):
    """GPT-2 comes with 0.1 of it in three places: the sampler's log-probabilities must be the trainer's."""
    tokenizer = make_tokenizer(["a b c [bet] [check]"] * 3, vocab_size=300)
    GPT2LMHeadModel(GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=4)).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    model, _ = load_policy(load_config(None, {"model": str(tmp_path / "model")}), tmp_path)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        assert torch.equal(model.train()(input_ids=ids).logits, model.eval()(input_ids=ids).logits)


def lora_learner(tmp_path, **settings):
    config = load_config("kuhn_tiny", {**SMALL, "lora_rank": 4, "kl_weight": 0.1, "row_reject": 0.0, **settings})
    model, tokenizer = load_policy(config, tmp_path)
    return Learner(model, config, total_steps=4), tokenizer


def test_adapters_are_fp32_on_a_base_that_stays(tmp_path):
    learner, _ = lora_learner(tmp_path, base_dtype="bfloat16", magnet_hold=0)
    base = {name: each.clone() for name, each in learner.model.named_parameters() if ".lora_" not in name}
    for _ in range(3):
        learner.learn(ROWS)
    after = dict(learner.model.named_parameters())
    assert {each.dtype for each in base.values()} == {torch.bfloat16}
    assert all(torch.equal(after[name], each) for name, each in base.items())
    adapters = {name: each for name, each in after.items() if ".lora_" in name}
    assert {each.dtype for each in adapters.values()} == {torch.float32}
    assert {name.split(".")[-2] for name in adapters} == {"default", "ema", "magnet"}
    assert {name.split(".")[-2] for name, each in adapters.items() if each.requires_grad} == {"default"}
    moved = [each.abs().max() for name, each in adapters.items() if ".lora_B." in name]
    assert min(moved) > 0, "the slow copies follow"
    assert isinstance(learner.ema, WithAdapter)


def test_the_saved_adapter_is_the_average(tmp_path):
    """What a user loads from the folder replies as the adapter that was asked for, on the base that it names."""
    learner, tokenizer = lora_learner(tmp_path, ema_decay=0.5, lr=0.05)
    for _ in range(4):
        learner.learn(ROWS)
    ids = torch.tensor([[5, 6, 7, 8]])
    found = {}
    for name in ("default", "ema"):
        save_policy(learner.model, tokenizer, tmp_path / name, ALONE, name)
        loaded = load(str(tmp_path / name))
        with torch.no_grad():
            found[name] = loaded.model.eval()(input_ids=ids, use_cache=False).logits
            expected = WithAdapter(learner.model, name)(input_ids=ids, use_cache=False).logits
        assert torch.allclose(found[name], expected, atol=1e-5)
    assert not torch.allclose(found["default"], found["ema"], atol=1e-3)


def test_bf16_compute_keeps_fp32_weights_and_gives_about_the_same_gradient(tmp_path):
    found = []
    for compute_dtype in ("float32", "bfloat16"):
        config = load_config("kuhn_tiny", {**SMALL, "compute_dtype": compute_dtype, "kl_weight": 0.0, "row_reject": 0.0})
        model, _ = load_policy(config, tmp_path)
        learner = Learner(model, config, total_steps=4)
        stats = learner.learn(ROWS)
        assert learner.network.shares
        assert {each.dtype for each in model.parameters()} == {torch.float32}
        found.append((torch.cat([each.grad.flatten() for each in model.parameters()]), stats))
    (exact, _), (low, stats) = found
    assert not torch.equal(exact, low)
    assert torch.nn.functional.cosine_similarity(exact, low, dim=0) > 0.99
    assert stats.grad_norm > 0
