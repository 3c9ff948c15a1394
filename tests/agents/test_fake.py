import pytest

from agents.models.fake import FakeModel
from agents.models.model import Request, Sampling

LONG = Sampling(max_tokens=100)


class Clock:
    """Time that passes only when someone sleeps."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def said(model, completion):
    return model.tokenizer.decode(completion.ids, skip_special_tokens=True)


def test_a_request_that_is_refused_leaves_no_other_behind():
    model = FakeModel("[check]")
    with pytest.raises(ValueError, match="prompt"):
        model.generate([Request(0, (1, 2)), Request(1, ())])
    assert model.waiting == 0
    assert [completion.key for completion in model.generate([Request("next", (1, 2))])] == ["next"]


def test_it_says_what_it_is_told_to():
    model = FakeModel("[bet]")
    (completion,) = model.generate([Request("k", (1, 2), LONG)])
    assert (said(model, completion), completion.key, completion.finish_reason) == ("[bet]", "k", "stop")
    assert completion.logprobs == (0.0,) * 6  # five bytes and the end


def test_replies_may_depend_on_the_prompt():
    model = FakeModel(lambda prompt: "[bet]" if "K" in prompt else "[fold]")
    prompts = [tuple(model.tokenizer.encode(card)) for card in ("K", "J")]
    completions = model.generate([Request(n, prompt, LONG) for n, prompt in enumerate(prompts)])
    assert [said(model, completion) for completion in completions] == ["[bet]", "[fold]"]


def test_weights_are_odds_of_whole_replies():
    model = FakeModel({"aa": 1, "ab": 2, "b": 1})
    texts = [said(model, completion) for completion in model.generate([Request(n, (1,), LONG, n) for n in range(4000)])]
    assert {text: texts.count(text) / 4000 for text in set(texts)} == pytest.approx(
        {"aa": 0.25, "ab": 0.5, "b": 0.25}, abs=0.03
    )
    ids = model.tokenizer.encode("ab")
    assert model.score([(1,)], [ids])[0] == pytest.approx([-0.28768, -0.40547], abs=1e-4)  # ln 3/4, ln 2/3


def test_tokens_take_their_time_and_slots_are_limited():
    clock = Clock()
    model = FakeModel(lambda prompt: "x" * len(prompt), latency_s=1.0, max_batch=2, clock=clock, sleep=clock.sleep)
    for length in (5, 1, 1):  # with the end token 6, 2 and 2 seconds
        model.submit(Request(length, (120,) * length, LONG))
    ends = []
    while model.waiting:
        ends += [(clock(), completion.key) for completion in model.poll()]
        ends = [(clock(), key) if n == len(ends) - 1 else (t, key) for n, (t, key) in enumerate(ends)]
    assert ends == [(2.0, 1), (4.0, 1), (6.0, 5)]


def test_injected_faults():
    model = FakeModel(faults={1: "error", 4: "crash"})
    completions = model.generate([Request(n, (1,), LONG) for n in range(3)])
    assert [completion.finish_reason for completion in completions] == ["stop", "error", "stop"]
    assert completions[1].error == "injected fault"
    with pytest.raises(RuntimeError, match="crashed at request 4"):
        model.generate([Request(n, (1,), LONG) for n in range(3)])
    assert model.waiting == 0
    assert len(model.generate([Request(0, (1,), LONG)])) == 1
