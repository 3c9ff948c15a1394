"""What every model promises, checked on each engine. vLLM's runs where it is installed: `make test-vllm`."""

import importlib.util
import math
import random
import threading
from collections import Counter

import pytest

from agents.models.endpoint import Endpoint
from agents.models.fake import ByteTokenizer, FakeModel
from agents.models.hf import HFModel
from agents.models.model import Request, Sampling
from agents.models.remote import RemoteModel

REPLIES = {"[check]": 3.0, "[call]": 1.0, "[bet]": 2.0}


VLLM = pytest.param("vllm", marks=pytest.mark.skipif(not importlib.util.find_spec("vllm"), reason="needs vLLM"))


@pytest.fixture(scope="session")
def vllm_engine(qwen3, tokenizer, tmp_path_factory):
    from agents.models.vllm import load

    folder = tmp_path_factory.mktemp("model")
    qwen3.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return load(str(folder), dtype="float32", kv_cache_memory_bytes=1 << 28, seeded=True).llm


@pytest.fixture(params=["hf", "fake", "remote", VLLM])
def make_model(request, qwen3, tokenizer, serve):
    made = []

    def make(**options):
        if request.param == "fake":
            return FakeModel(REPLIES, tokenizer=tokenizer, **options)
        if request.param == "hf":
            return HFModel(qwen3, tokenizer, **options)
        if request.param == "remote":
            server = made[0].endpoint if made else Endpoint(serve(vllm_like(HFModel(qwen3, tokenizer))).url)
            made.append(RemoteModel(server, "tiny", tokenizer, seeded=True, **options))
            return made[-1]
        from agents.models.vllm import VLLMModel

        return VLLMModel(request.getfixturevalue("vllm_engine"), seeded=True, **options)

    yield make
    for model in made:
        model.close()


def vllm_like(model):
    """Answers as vLLM's server does, as far as `RemoteModel` asks."""
    lock = threading.Lock()

    def respond(path, body):
        assert path == "/completions"
        prompt, temperature = tuple(body["prompt"]), body["temperature"]
        assert (body["min_p"], body["repetition_penalty"], body["add_special_tokens"]) == (0.0, 1.0, False)
        with lock:
            if "logprob_token_ids" in body:
                (token,) = body["logprob_token_ids"]
                ((after,),) = model.score([prompt], [(token,)], temperature)
                return {"choices": [{"logprobs": {"top_logprobs": [{f"token_id:{token}": after}]}}]}
            limits = {name: body[name] for name in ("temperature", "top_p", "top_k", "max_tokens")}
            sampling = Sampling(**limits, stop_token_ids=tuple(body["stop_token_ids"]))
            (done,) = model.generate([Request(0, prompt, sampling, body["seed"])])
        choice = {
            "token_ids": done.ids,
            "prompt_token_ids": prompt,
            "logprobs": {"token_logprobs": done.logprobs},
            "finish_reason": done.finish_reason,
        }
        return {"choices": [choice], "usage": {"prompt_tokens": len(prompt), "completion_tokens": len(done.ids)}}

    return respond


def requests_of(count, prompts=12, seed=0, **options):
    rng = random.Random(seed)
    distinct = [tuple(rng.randrange(3, 300) for _ in range(rng.randrange(1, 40))) for _ in range(prompts)]
    sampling = [
        Sampling(max_tokens=rng.randrange(1, 9), temperature=rng.choice([1.0, 0.7]), **options) for _ in range(count)
    ]
    return [Request(number, distinct[number % prompts], sampling[number], seed=number) for number in range(count)]


def same(one, other):
    """Equal but for rounding of the log-probabilities."""
    return (one.key, one.prompt_ids, one.ids, one.finish_reason) == (
        other.key,
        other.prompt_ids,
        other.ids,
        other.finish_reason,
    ) and one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_300_requests_at_once_come_back_in_order_with_exact_logprobs(make_model):
    model = make_model()
    requests = requests_of(300)
    completions = model.generate(requests)
    assert [completion.key for completion in completions] == list(range(300))
    for temperature in (1.0, 0.7):
        rows = [done for done, asked in zip(completions, requests, strict=True) if asked.sampling.temperature == temperature]
        scores = model.score([done.prompt_ids for done in rows], [done.ids for done in rows], temperature)
        for done, scored in zip(rows, scores, strict=True):
            assert done.logprobs == pytest.approx(scored, abs=1e-4)
    assert [completion.prompt_ids for completion in completions] == [request.prompt_ids for request in requests]
    assert model.waiting == 0
    assert model.poll() == []


def test_a_reply_depends_on_its_request_alone(make_model):
    requests = requests_of(60)
    together = make_model().generate(requests)
    alone = [make_model().generate([request])[0] for request in requests[:20]]
    few_at_a_time = make_model(max_batch=3).generate(requests[::-1])[::-1]
    assert all(map(same, alone, together))
    assert all(map(same, few_at_a_time, together))


def test_requests_that_arrive_later_change_nothing(make_model):
    requests = requests_of(40)
    expected = make_model().generate(requests)
    model, done = make_model(), {}
    for request in requests:
        model.submit(request)
        if request.key % 3 == 0:
            done.update((completion.key, completion) for completion in model.poll())
    while model.waiting:
        done.update((completion.key, completion) for completion in model.poll())
    assert all(same(done[completion.key], completion) for completion in expected)


def test_equal_requests_share_without_changing_anything(make_model):
    distinct = requests_of(12)
    copies = [
        Request((request.key, copy), request.prompt_ids, request.sampling, request.seed)
        for copy in range(5)
        for request in distinct
    ]
    expected = {completion.key: completion for completion in make_model().generate(distinct)}
    for completion in make_model().generate(copies):
        assert completion.ids == expected[completion.key[0]].ids
        assert completion.logprobs == pytest.approx(expected[completion.key[0]].logprobs, abs=1e-4)


def test_max_tokens_ends_a_reply_without_an_end_token(make_model, tokenizer):
    requests = [Request(n, (5, 6, 7), Sampling(max_tokens=1), seed=n) for n in range(50)]
    for completion in make_model().generate(requests):
        assert len(completion.ids) == len(completion.logprobs) == 1
        assert completion.finish_reason == ("stop" if completion.ids[-1] == tokenizer.eos_token_id else "length")


def test_a_sampled_stop_token_is_kept_and_ends_the_reply(make_model):
    model = make_model()
    free = model.generate([Request(n, (5, 6, 7), Sampling(max_tokens=6), seed=n) for n in range(40)])
    stop = Counter(token for completion in free for token in completion.ids[1:-1] or completion.ids[:1]).most_common(1)[0][0]
    sampling = Sampling(max_tokens=6, stop_token_ids=(stop,))
    stopped = model.generate([Request(n, (5, 6, 7), sampling, seed=n) for n in range(40)])
    assert any(stop in completion.ids for completion in stopped)
    for before, after in zip(free, stopped, strict=True):
        if stop in before.ids:
            assert after.ids == before.ids[: before.ids.index(stop) + 1]
            assert after.finish_reason == "stop"
        else:
            assert after.ids == before.ids


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_first_tokens_follow_the_distribution_at_the_temperature(make_model, temperature):
    model = make_model()
    draws = 500 if isinstance(model, RemoteModel) else 3000
    sampling = Sampling(max_tokens=1, temperature=temperature)
    completions = model.generate([Request(n, (9, 8, 7), sampling, seed=n) for n in range(draws)])
    counts = Counter(completion.ids[0] for completion in completions)
    for token, count in counts.most_common(3):
        p = math.exp(model.score([(9, 8, 7)], [(token,)], temperature)[0][0])
        assert abs(count / draws - p) < 4 * math.sqrt(p * (1 - p) / draws) + 1e-9


def test_temperature_0_takes_the_most_likely_token(make_model, tokenizer):
    model = make_model()
    (completion,) = model.generate([Request(0, (9, 8, 7), Sampling(temperature=0, max_tokens=4))])
    assert completion.logprobs == (0.0,) * len(completion.ids)
    best = max(range(len(tokenizer)), key=lambda token: model.score([(9, 8, 7)], [(token,)])[0][0])
    assert completion.ids[0] == best


def test_top_k_and_top_p_truncate_and_renormalise(make_model, tokenizer):
    model, prompt = make_model(), (9, 8, 7)
    p = {token: math.exp(model.score([prompt], [(token,)])[0][0]) for token in range(len(tokenizer))}
    best = sorted(p, key=p.get, reverse=True)
    for options, kept in (({"top_k": 1}, best[:1]), ({"top_k": 2}, best[:2]), ({"top_p": p[best[0]] * 0.9}, best[:1]),
                          ({"top_p": p[best[0]] + p[best[1]] * 0.5}, best[:2])):  # fmt: skip
        kept = [token for token in kept if p[token] > 0]
        sampling = Sampling(max_tokens=1, **options)
        for completion in model.generate([Request(n, prompt, sampling, seed=n) for n in range(60)]):
            (token,) = completion.ids
            assert token in kept
            assert completion.logprobs[0] == pytest.approx(math.log(p[token] / sum(p[t] for t in kept)), abs=1e-4)


def test_completions_carry_the_version_of_the_weights(make_model):
    model = make_model(version=3)
    assert {completion.version for completion in model.generate(requests_of(5))} == {3}
    model.version = 4
    assert {completion.version for completion in model.generate(requests_of(5))} == {4}


def test_what_cannot_be_asked_is_refused(make_model):
    model = make_model()
    with pytest.raises(ValueError, match="at least one token"):
        model.submit(Request(0, ()))
    with pytest.raises(ValueError, match="temperature=0"):
        model.score([(1,)], [(2,)], temperature=0)
    with pytest.raises(ValueError, match="max_batch=0"):
        make_model(max_batch=0)
    model.submit(requests_of(1)[0])
    with pytest.raises(RuntimeError, match="1 submitted requests wait"):
        model.generate(requests_of(1))


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1}, {"temperature": math.nan}, {"top_p": 0}, {"top_k": -1}, {"max_tokens": 0}]
)
def test_sampling_refuses_values_out_of_range(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Sampling(**wrong)


def test_bytes_and_back():
    tokenizer = ByteTokenizer()
    ids = [*tokenizer.encode("[bet] é"), tokenizer.eos_token_id]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "[bet] é"
    assert tokenizer.decode(ids) == "[bet] é<|end|>"
