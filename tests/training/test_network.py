"""Forward passes: shared beginnings and logits by parts give what plain passes give, and models that cannot are told apart."""

import math
from dataclasses import replace

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

import training.network
from training.config import load_config
from training.learner import Learner
from training.network import Network, predict
from training.prefixes import make_tree
from training.samples import Row, make_batch

SMALL = {"vocab_size": 200, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
GATED = {**SMALL, "intermediate_size": 48, "num_key_value_heads": 2}
SHARING = {  # kinds that differ in how they see positions and attend
    "qwen3": transformers.Qwen3Config(**GATED, head_dim=16, tie_word_embeddings=True),
    "llama": transformers.LlamaConfig(**GATED),
    "gpt2": transformers.GPT2Config(
        vocab_size=200, n_embd=32, n_layer=2, n_head=4, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0
    ),
    "neox": transformers.GPTNeoXConfig(**SMALL, intermediate_size=48),
    "cohere": transformers.CohereConfig(**GATED, logit_scale=0.25),  # scales what its output layer gives
}
PLAIN = {
    "mistral": (transformers.MistralConfig(**GATED, sliding_window=4), "look back in another way"),
    "mamba": (transformers.MambaConfig(**SMALL, state_size=8), "look back in another way (linear_attention)"),
    "bloom": (transformers.BloomConfig(vocab_size=200, hidden_size=32, n_layer=2, n_head=4), "cannot be replaced"),
}


def model_of(config):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    return model.eval()


def rows_alike(count=30):
    """Rows with one prompt and several replies, prompts that begin alike, one that is the beginning of others, and one apart."""
    generator = torch.Generator().manual_seed(1)

    def ids(length):
        return tuple(torch.randint(1, 200, (length,), generator=generator).tolist())

    rules, prompts = ids(9), []
    for number in range(6):
        prompts.append(rules + ids(2) + (prompts[0][11:] if number % 2 and prompts else ()) + ids(number))
    prompts += [rules, prompts[2] + ids(4), ids(3)]
    rows = []
    for number in range(count):
        reply = ids(1 + number % 4)
        rows.append(Row(prompts[number % len(prompts)], reply, (-3.0,) * len(reply), number % 5 - 2.0, 1.0 + number % 2))
    return rows + rows[:3] + [replace(rows[0], reply_ids=(*rows[0].reply_ids, 5), logprobs=(-3.0,) * 2)]


def gradient_and_stats(config, rows, **settings):
    settings = {"kl_weight": 0.1, "entropy_weight": 0.01, "grad_clip": 1e9, "lr": 1e-12, "row_reject": 0.0, **settings}
    learner = Learner(model_of(config), load_config(None, settings), total_steps=1)
    with torch.no_grad():
        for parameter in learner.magnet.parameters():
            parameter.mul_(0.9)
    stats = learner.update(rows)
    return torch.cat([parameter.grad.flatten() for parameter in learner.model.parameters()]), stats


@pytest.mark.parametrize("kind", SHARING)
def test_shared_beginnings_leave_loss_and_gradient_as_they_are(kind):
    """With clip, KL and entropy; in one part and in several."""
    config, rows = SHARING[kind], rows_alike()
    plain, of_plain = gradient_and_stats(config, rows, share_prefixes=False)
    assert plain.abs().max() > 1e-3
    for micro_batch_tokens in (10_000, 60):
        shared, of_shared = gradient_and_stats(config, rows, micro_batch_tokens=micro_batch_tokens)
        assert torch.allclose(plain, shared, atol=1e-5 * max(1.0, float(plain.abs().max())))
        for name in ("loss", "kl", "entropy", "grad_norm", "ratio_max", "clipped_low", "clipped_high"):
            assert getattr(of_shared, name) == pytest.approx(getattr(of_plain, name), rel=1e-4, abs=1e-5)
        assert of_shared.tokens_saved > of_plain.tokens_saved + 0.2


def test_packed_is_padded_to_rounding():
    """In float64, where nothing but rounding is a difference: one packed tree of all rows, and rows padded to one length."""
    found = []
    for share in (False, True):
        settings = {"kl_weight": 0.1, "entropy_weight": 0.01, "grad_clip": 1e9, "lr": 1e-12, "share_prefixes": share}
        learner = Learner(model_of(SHARING["qwen3"]).double(), load_config(None, settings), total_steps=1)
        with torch.no_grad():
            for parameter in learner.magnet.parameters():
                parameter.mul_(0.9)
        learner.update(rows_alike())
        assert learner.network.shares == share
        found.append(torch.cat([parameter.grad.flatten() for parameter in learner.model.parameters()]))
    assert found[0].dtype == torch.float64
    assert found[0].abs().max() > 1e-3
    assert torch.allclose(found[0], found[1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", PLAIN)
def test_models_that_see_more_than_the_path_are_computed_plainly(kind):
    config, why = PLAIN[kind]
    model = model_of(config)
    network = Network(model)
    assert not network.shares
    assert why in network.why_not
    rows = [Row((5, 6, 7, 8, 9), (10, 11)), Row((5, 6, 7, 8, 9, 20, 21), (12,))]
    with torch.no_grad(), network.passes():
        found = predict(network, make_batch(rows, share=network.shares)).logp_UR
        for row, logp_R in zip(rows, found, strict=True):
            if kind == "mamba" and row is rows[0]:
                continue  # left padding is part of what a recurrent model reads
            ids = torch.tensor([[*row.prompt_ids, *row.reply_ids]])
            logits = model(input_ids=ids, use_cache=False).logits[0, len(row.prompt_ids) - 1 : -1]
            alone = logits.log_softmax(-1).gather(1, torch.tensor([row.reply_ids]).T)[:, 0]
            assert torch.allclose(logp_R[-len(row.reply_ids) :], alone, atol=1e-4)


def test_a_tree_holds_each_beginning_once():
    sequences = [(1, 2, 3, 4), (1, 2, 5), (1, 2, 3), (7,)]
    tree, paths = make_tree(sequences)
    assert len(tree.ids_M) == 6
    for sequence, path in zip(sequences, paths, strict=True):
        assert tuple(tree.ids_M[path].tolist()) == sequence
        assert tree.positions_M[path].tolist() == list(range(len(sequence)))
    assert paths[0][:3] == paths[2]
    nodes = [node for bucket in tree.buckets for node in bucket.query_SL.flatten().tolist()]
    assert [nodes[place] for place in tree.place_M.tolist()] == list(range(6))


def test_the_attention_of_the_model_is_as_before():
    model = model_of(SHARING["qwen3"])
    network = Network(model)
    before = model.config._attn_implementation
    with network.passes():
        assert model.config._attn_implementation != before
    assert model.config._attn_implementation == before


@pytest.mark.parametrize("kind", ["qwen3", "cohere"])
@pytest.mark.parametrize("share", [False, True])
def test_logits_by_parts_give_the_same(kind, share, monkeypatch):
    """Log-probabilities, entropies, KL and their gradients, from parts of seven rows of logits."""
    rows = rows_alike()
    whole, of_whole = gradient_and_stats(SHARING[kind], rows, share_prefixes=share)
    monkeypatch.setattr(training.network, "LOGITS", 7 * 200)
    parts, of_parts = gradient_and_stats(SHARING[kind], rows, share_prefixes=share)
    assert torch.allclose(whole, parts, atol=1e-6 * max(1.0, float(whole.abs().max())))
    assert (of_parts.entropy, of_parts.kl) == pytest.approx((of_whole.entropy, of_whole.kl), rel=1e-5)


def test_no_tensor_is_rows_times_length_times_vocabulary(monkeypatch):
    """What is kept for the backward pass does not grow by the vocabulary for each token."""
    model = model_of(replace_vocabulary(SHARING["qwen3"], 5000))
    rows = [Row((5, 6, 7), tuple(range(number, number + 40)), (0.0,) * 40, 1.0) for number in range(10, 30)]
    monkeypatch.setattr(training.network, "LOGITS", 10 * 5000)
    largest = 0

    def kept(tensor):
        nonlocal largest
        if tensor.shape[-1:] == (5000,) and not isinstance(tensor, torch.nn.Parameter):
            largest = max(largest, math.prod(tensor.shape[:-1]))
        return tensor

    network = Network(model)
    batch = make_batch(rows, share=True)
    with network.passes(), torch.autograd.graph.saved_tensors_hooks(kept, lambda tensor: tensor):
        predict(network, batch, entropy_learns=True).logp_UR.sum().backward()
    assert len(batch.keep_P) > 700
    assert largest <= 32  # the rows of a weight, or one part


def replace_vocabulary(config, size):
    return type(config)(**{**config.to_dict(), "vocab_size": size})
