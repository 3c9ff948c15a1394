"""The transformers engine: padding, sharing, changing weights, loading."""

import copy

import pytest
import torch
from transformers import AutoModelForCausalLM, GemmaConfig, GPT2Config, LlamaConfig, MistralConfig

from agents.models import hf, sync
from agents.models.hf import HFModel
from agents.models.model import Request, Sampling
from agents.play import play
from agents.specs import make_agent

RULES = tuple(range(200, 240))  # a beginning that some prompts share
PROMPTS = [(7,), tuple(range(10, 50)), (3, 0, 4, 0, 5), tuple(range(100, 117)), (7, 8)]


def counted(model):
    """Counts rows and tokens of every forward pass from here on."""
    seen = {"passes": 0, "rows": 0, "tokens": 0}
    run = model._forward._run

    def counting(**inputs):
        seen["passes"] += 1
        seen["rows"] += inputs["input_ids"].shape[0]
        seen["tokens"] += inputs["input_ids"].numel()
        return run(**inputs)

    model._forward._run = counting
    return seen


def computed(completions):
    """What was computed for each, as the engine tells it."""
    return [completion.usage["computed_tokens"] for completion in completions]


def alone(model, ids, prompt_length):
    """Log-probabilities of one sequence by itself: no padding, no cache, no batch."""
    with torch.no_grad():
        logp = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].log_softmax(-1)
    return [float(logp[place - 1, ids[place]]) for place in range(prompt_length, len(ids))]


def small(config, **options):
    torch.manual_seed(1)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32, **options).eval()


SHAPE = {"vocab_size": 300, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
GPT2 = {"vocab_size": 300, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
UNEVEN = {"initializer_range": 0.2}  # random weights with distributions far from uniform
OTHERS = {
    "llama-eager": lambda: small(LlamaConfig(**SHAPE, **UNEVEN), attn_implementation="eager"),
    "mistral-window-8": lambda: small(MistralConfig(**SHAPE, **UNEVEN, num_key_value_heads=2, sliding_window=8)),
    "gemma": lambda: small(GemmaConfig(**SHAPE, **UNEVEN, num_key_value_heads=1, head_dim=8)),
    "gpt2": lambda: small(GPT2Config(**GPT2, **UNEVEN)),
}


@pytest.mark.parametrize("name", ["qwen3", *OTHERS])
def test_a_padded_batch_gives_what_each_sequence_gives_alone(name, qwen3, tokenizer):
    model = qwen3 if name == "qwen3" else OTHERS[name]()
    engine = HFModel(model, tokenizer, eos_token_ids=[0])
    requests = [Request(n, PROMPTS[n % 5], Sampling(max_tokens=3 + n % 9), seed=n) for n in range(40)]
    for completion in engine.generate(requests):
        prompt = completion.prompt_ids
        assert completion.logprobs == pytest.approx(alone(model, prompt + completion.ids, len(prompt)), abs=1e-5)
    replies = [tuple(range(20, 20 + n)) for n in range(5)]
    stems = [(*RULES, *range(10, 10 + 3 * n)) for n in range(1, 6)] + [(*RULES[:36], 1, 2), RULES, RULES[:32]]
    for wave in range(2):  # the second meets what the first has left
        requests = [Request(n, stems[n % 4 + 4 * wave], Sampling(max_tokens=1 + n % 9), seed=n) for n in range(30)]
        for completion in engine.generate(requests):
            prompt = completion.prompt_ids
            assert completion.logprobs == pytest.approx(alone(model, prompt + completion.ids, len(prompt)), abs=1e-5)
    for prompt, reply, scores in zip(PROMPTS, replies, engine.score(PROMPTS, replies), strict=True):
        assert scores == pytest.approx(alone(model, prompt + reply, len(prompt)), abs=1e-5)


def test_the_end_token_counts_as_sampled_where_padding_uses_the_same(make_tokenizer, make_qwen3):
    replies = []
    for pad_is_eos in (True, False):
        tokenizer = make_tokenizer(pad_is_eos=pad_is_eos)
        assert (tokenizer.pad_token_id == tokenizer.eos_token_id) == pad_is_eos
        model = HFModel(make_qwen3(len(tokenizer), scale=0.02), tokenizer)
        model.model.config.pad_token_id = tokenizer.pad_token_id
        sampling = Sampling(max_tokens=12, temperature=1.5)
        requests = [Request(n, (*PROMPTS[n % 5], tokenizer.eos_token_id), sampling, seed=n) for n in range(200)]
        replies.append(model.generate(requests))
    for with_shared, with_own in zip(*replies, strict=True):
        assert with_shared.ids == with_own.ids
        assert (with_shared.ids[-1] == 0) == (with_shared.finish_reason == "stop")
        assert 0 not in with_shared.ids[:-1]
    assert {completion.finish_reason for completion in replies[0]} == {"stop", "length"}


def test_600_requests_for_12_prompts_cost_12_prefills(qwen3, tokenizer):
    model = HFModel(qwen3, tokenizer)
    seen = counted(model)
    prompts = [(9, number, *range(100, 120)) for number in range(12)]
    model.generate([Request(n, prompts[n % 12], Sampling(max_tokens=1), seed=n) for n in range(600)])
    assert seen == {"passes": 1, "rows": 12, "tokens": 12 * 22}
    model.generate([Request(n, prompts[n % 12], Sampling(max_tokens=1), seed=n + 600) for n in range(600)])
    assert seen["rows"] == 12  # known, as long as the weights stay


def test_prompts_that_begin_alike_share_their_beginning(qwen3, tokenizer):
    model = HFModel(qwen3, tokenizer)
    seen = counted(model)
    one = Sampling(max_tokens=1)
    first = model.generate([Request(n, (*RULES, 7, n), one) for n in range(10)])
    assert seen == {"passes": 2, "rows": 11, "tokens": 41 + 10 * 1}
    assert computed(first) == [41 + 1, *[1] * 9]
    assert [completion.usage["cached_tokens"] for completion in first] == [0, *[41] * 9]
    again = model.generate([Request(n, (*RULES, 8, n), one) for n in range(10)])  # agrees with them up to the rules' end
    assert seen["tokens"] == 41 + 10 + 10 * 2
    assert computed(again) == [2] * 10
    model.version = 1  # other weights have other keys
    model.generate([Request(n, (*RULES, 8, n), one) for n in range(10)])
    assert seen["tokens"] == 41 + 10 + 10 * 2 + 41 + 10


def test_replies_share_what_they_have_in_common(qwen3, tokenizer):
    model = HFModel(qwen3, tokenizer)
    seen = counted(model)
    completions = model.generate([Request(n, (5, 6), Sampling(max_tokens=4), seed=n) for n in range(100)])
    beginnings = {completion.ids[:length] for completion in completions for length in range(1, len(completion.ids))}
    assert seen["rows"] == 1 + len(beginnings)
    assert seen["rows"] < 250
    assert sum(computed(completions)) == seen["tokens"] == 2 + len(beginnings)


@pytest.mark.parametrize("announced", [True, False])
def test_changed_weights_are_used_from_the_next_request_on(announced, make_qwen3, tokenizer):
    live = make_qwen3(len(tokenizer))
    model = HFModel(live, tokenizer)
    requests = [Request(n, PROMPTS[n % 5], Sampling(max_tokens=6), seed=n) for n in range(30)]
    before = model.generate(requests)
    with torch.no_grad():
        for parameter in live.parameters():
            parameter.data.add_(0.01 * torch.randn_like(parameter))  # `.data`: not even autograd sees it
    if announced:
        model.version = 1
    after = model.generate(requests)
    assert [completion.ids for completion in after] != [completion.ids for completion in before]
    for completion in after:
        assert completion.version == int(announced)
        expected = alone(live, completion.prompt_ids + completion.ids, len(completion.prompt_ids))
        assert completion.logprobs == pytest.approx(expected, abs=1e-5)


def test_a_request_goes_on_when_the_weights_change_in_the_middle(make_qwen3, tokenizer):
    model = HFModel(make_qwen3(len(tokenizer)), tokenizer, eos_token_ids=())
    model.submit(Request("long", (5, 6), Sampling(max_tokens=6), seed=1))
    model.submit(Request("short", (5, 6), Sampling(max_tokens=2), seed=2))
    assert [completion.key for completion in model.poll()] == ["short"]
    model.version = 1
    model.submit(Request("new", (5, 6), Sampling(max_tokens=2), seed=2))
    rest = {completion.key: completion for _ in range(2) for completion in model.poll()}
    assert (rest["long"].version, rest["new"].version) == (0, 1)
    assert len(rest["long"].ids) == 6
    assert (rest["long"].version_spans, rest["new"].version_spans) == (((0, 2), (1, 4)), ())


def test_the_module_is_left_as_it_was(make_qwen3, tokenizer):
    live = make_qwen3(len(tokenizer), attention_dropout=0.5).train()
    model = HFModel(live, tokenizer)
    (completion,) = model.generate([Request(0, PROMPTS[1], Sampling(max_tokens=5))])
    assert live.training
    assert completion.logprobs == pytest.approx(model.score([PROMPTS[1]], [completion.ids])[0], abs=1e-5)  # no dropout
    live(input_ids=torch.tensor([PROMPTS[1]]), labels=torch.tensor([PROMPTS[1]])).loss.backward()
    assert all(parameter.grad is not None for parameter in live.parameters())


def test_a_request_does_not_wait_for_ever_beside_an_endless_stream_of_known_ones(qwen3, tokenizer):
    """Each answer brings the next question, as games do. A reply of five tokens needs five passes."""
    model = HFModel(qwen3, tokenizer, eos_token_ids=())
    known = [(Request((seat, 0), PROMPTS[seat], Sampling(max_tokens=1), seed=seat)) for seat in range(3)]
    model.generate(known)
    seen = counted(model)
    for request in known:
        model.submit(request)
    model.submit(Request("new", PROMPTS[4], Sampling(max_tokens=5), seed=9))
    polls, done = 1, model.poll()
    while all(completion.key != "new" for completion in done):
        assert len(done) == 3
        assert polls < 100
        for seat, number in (completion.key for completion in done):
            model.submit(Request((seat, number + 1), PROMPTS[seat], Sampling(max_tokens=1), seed=number))
        polls, done = polls + 1, model.poll()
    assert polls == 5 * (hf.PATIENCE + 1) + 1
    assert seen["passes"] == 5


def test_memory_of_distributions_is_bounded(qwen3, tokenizer, monkeypatch):
    requests = [Request(n, PROMPTS[n % 5], Sampling(max_tokens=5), seed=n) for n in range(60)]
    expected = HFModel(qwen3, tokenizer).generate(requests)
    monkeypatch.setattr(hf, "KEPT_BYTES", 1)
    forgetful = HFModel(qwen3, tokenizer)
    assert [completion.ids for completion in forgetful.generate(requests)] == [completion.ids for completion in expected]
    assert not forgetful._known


def test_a_failed_pass_leaves_the_model_usable(make_qwen3, tokenizer):
    model = HFModel(make_qwen3(len(tokenizer)), tokenizer)
    with pytest.raises(IndexError):
        model.generate([Request(0, (100_000,))])  # no such token
    assert model.waiting == 0
    assert len(model.generate([Request(0, (5,))])) == 1


def test_prompts_beyond_the_context_are_refused(make_qwen3, tokenizer):
    model = HFModel(make_qwen3(len(tokenizer), max_position_embeddings=20), tokenizer)
    with pytest.raises(ValueError, match=r"18 tokens with up to 3 of reply exceeds the model's context of 20 tokens"):
        model.submit(Request(0, (5,) * 18, Sampling(max_tokens=3)))


def test_saved_models_are_loaded_once_and_play(tmp_path, make_qwen3, tokenizer):
    make_qwen3(len(tokenizer)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    cold = make_agent(f"hf:{tmp_path},temperature=0.5,max_tokens=3,device=cpu")
    hot = make_agent(f"hf:{tmp_path},max_tokens=3,device=cpu")
    assert cold.model is hot.model
    assert (cold.sampling, hot.sampling) == (Sampling(temperature=0.5, max_tokens=3), Sampling(max_tokens=3))
    assert cold.fingerprint()["model"] == str(tmp_path)
    assert cold.fingerprint()["temperature"] == 0.5
    with pytest.raises(ValueError, match="dtype='int8'"):
        make_agent(f"hf:{tmp_path},dtype=int8")


def test_a_missing_model_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=r"there is no such folder. Save one there with model.save_pretrained"):
        make_agent(f"hf:{tmp_path}/nothing")
    with pytest.raises(ValueError, match="cannot be loaded"):
        make_agent(f"hf:{tmp_path}")
    with pytest.raises(ValueError, match="has no option 'temprature'; did you mean 'temperature'"):
        make_agent(f"hf:{tmp_path},temprature=1")


# Adapters.


def adapted(module, seed):
    """A copy of the module under a random LoRA adapter."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    settings = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False)
    return get_peft_model(copy.deepcopy(module), settings).eval()


@pytest.fixture
def adapters(qwen3, tokenizer, tmp_path):
    """(an engine with the adapters "a" and "b", teacher forcing by name); "" is the model without one."""
    engine, scorers = HFModel(copy.deepcopy(qwen3), tokenizer), {"": HFModel(qwen3, tokenizer)}
    for seed, name in enumerate("ab"):
        module = adapted(qwen3, seed)
        module.save_pretrained(tmp_path / name)
        engine.load_adapter(name, tmp_path / name, seed + 1)
        scorers[name] = HFModel(module.merge_and_unload(), tokenizer)
    return engine, scorers


def prompts_of(name, count=12):
    prompts = [tuple(range(5, 50 + n % 5)) for n in range(count)]  # a beginning long enough to be shared
    return [Request((name, n), prompt, Sampling(max_tokens=6), seed=n, adapter=name) for n, prompt in enumerate(prompts)]


def test_two_adapters_and_none_in_one_batch(adapters):
    engine, scorers = adapters
    done = engine.generate([request for name in scorers for request in prompts_of(name)])
    for one in done:
        name = one.key[0]
        (scored,) = scorers[name].score([one.prompt_ids], [one.ids])
        assert one.logprobs == pytest.approx(scored, abs=1e-4)
        assert one.version == {"": 0, "a": 1, "b": 2}[name]
        assert engine.score([one.prompt_ids], [one.ids], adapter=name)[0] == pytest.approx(scored, abs=1e-4)
    assert len({tuple(one.logprobs) for one in done if one.key[1] == 0}) == 3, "the three do differ"


def test_a_new_version_of_an_adapter_is_used_at_once(adapters, qwen3, tokenizer, tmp_path):
    engine, _ = adapters
    newer = adapted(qwen3, 7)
    newer.save_pretrained(tmp_path / "newer")
    model = engine.with_adapter("a")
    sync.verify(model, HFModel(adapted(qwen3, 0).merge_and_unload(), tokenizer))
    with pytest.raises(sync.SyncError):
        sync.verify(model, HFModel(newer, tokenizer))
    engine.load_adapter("a", tmp_path / "newer", 5)
    assert sync.verify(model, HFModel(newer, tokenizer)) < 1e-4
    assert (model.version, engine.adapters) == (5, {"a": 5, "b": 2})


def test_other_adapters_beside_the_one_in_training(qwen3, tokenizer, tmp_path):
    """Which is used where none is asked for, and stays trainable."""
    trained, other = adapted(qwen3, 3), adapted(qwen3, 4)
    other.save_pretrained(tmp_path / "other")
    engine, alone = HFModel(trained, tokenizer), HFModel(copy.deepcopy(trained), tokenizer)
    engine.load_adapter("other", tmp_path / "other")
    rows = [(5, 6, 7)], [(8, 9)]
    assert engine.score(*rows)[0] == pytest.approx(alone.score(*rows)[0], abs=1e-5)
    assert engine.score(*rows, adapter="other")[0] == pytest.approx(HFModel(other, tokenizer).score(*rows)[0], abs=1e-5)
    learning = {name for name, parameter in trained.named_parameters() if parameter.requires_grad}
    assert learning == {name for name, parameter in alone.model.named_parameters() if parameter.requires_grad}
    with pytest.raises(ValueError, match="has an adapter 'default' of its own"):
        engine.load_adapter("default", tmp_path / "other")


def test_adapters_that_are_not_there_are_named(adapters, tmp_path):
    engine, _ = adapters
    with pytest.raises(ValueError, match=r"no adapter 'c' is loaded; there are \['a', 'b'\]"):
        engine.submit(Request(0, (5,), adapter="c"))
    with pytest.raises(ValueError, match=r"there is no adapter_config\.json"):
        engine.load_adapter("c", tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"the adapter at .* cannot be loaded"):
        engine.load_adapter("c", tmp_path)


def test_a_spec_plays_with_an_adapter(qwen3, tokenizer, tmp_path):
    qwen3.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    module = adapted(qwen3, 2)
    module.save_pretrained(tmp_path / "a")
    spec = f"hf:{tmp_path / 'base'},dtype=float32,max_tokens=6,adapter={tmp_path / 'a'}"
    agents = [make_agent(spec), make_agent(spec + ",temperature=0.5")]
    assert agents[0].model.engine is agents[1].model.engine
    assert agents[0].model.adapter == agents[1].model.adapter
    exact = HFModel(module, tokenizer)
    for step in play("KuhnPoker-v0", agents)[0].steps_of("player_0"):
        (scored,) = exact.score([step.reply.prompt_ids], [step.reply.reply_ids])
        assert step.reply.logprobs == pytest.approx(scored, abs=1e-4)
    adapted(qwen3, 3).save_pretrained(tmp_path / "a")  # trained anew, in the same folder
    newer = make_agent(spec)
    assert newer.model.engine is agents[0].model.engine
    assert newer.fingerprint() != agents[0].fingerprint()
