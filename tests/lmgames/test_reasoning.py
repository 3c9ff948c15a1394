"""Private reasoning by its marks, whichever kind a model writes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmgames import IllegalMove, make
from lmgames.parsing import public_text
from lmgames.reasoning import is_mark, opener_of, private_spans, reasoning_in, without_reasoning

KINDS = {
    "think": ("<think>", "</think>"),
    "seed": ("<seed:think>", "</seed:think>"),
    "mistral": ("[THINK]", "[/THINK]"),
    "cohere": ("<|START_THINKING|>", "<|END_THINKING|>"),
    "kimi": ("◁think▷", "◁/think▷"),
    "harmony": ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
}


@pytest.mark.parametrize(("opener", "closer"), KINDS.values(), ids=KINDS)
def test_what_each_kind_of_mark_hides(opener, closer):
    assert public_text(f"{opener}[fold]?{closer}[bet]") == "[bet]"
    assert public_text(f"[fold]?{closer}[bet]") == "[bet]"  # the chat template wrote the opening mark
    assert public_text(f"[bet]{opener}was that wise?") == "[bet]"  # one that is not closed hides the rest
    assert public_text(f"{opener}a{closer}[bet]{opener}b{closer}") == "[bet]"
    for cut in range(1, len(opener) + 1):
        if cut == len(opener) or (opener.startswith("<|channel|>") and cut >= len("<|channel|>")):
            with pytest.raises(IllegalMove, match="no public text"):
                public_text(opener[:cut])
    assert reasoning_in(f"{opener}[fold]?{closer}[bet]").removesuffix("<|end|>") == "[fold]?"
    assert reasoning_in(f"{opener}no end") == "no end"
    assert reasoning_in(f"so{closer}[bet]").removesuffix("<|end|>") == "so"
    assert reasoning_in(f"{opener}\n{closer}[bet]").removesuffix("<|end|>").strip() == ""
    assert reasoning_in("[bet]") == ""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_only_its_own_kind_of_mark_ends_reasoning(kind, other):
    if {kind, other} == {"think", "seed"} or kind == other:
        return
    (opener, closer), (_, foreign) = KINDS[kind], KINDS[other]
    assert public_text(f"{opener}I must not write {foreign} secret{closer}[bet]") == "[bet]"


@pytest.mark.parametrize(
    ("reply", "public"),
    [
        ("<|channel|>analysis<|message|>[bet]?<|channel|>final<|message|>[check]", "[check]"),
        ("<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>[check]<|return|>", "[check]"),
        ("<|start|>assistant<|channel|>final<|message|>[check]<|return|>", "[check]"),
        ("<|channel|>analysis<|message|>a<|end|><|channel|>commentary<|message|>b<|channel|>final<|message|>c", "c"),
        ("<|channel|>commentary to=functions.x <|constrain|>json<|message|>{}<|call|><|channel|>final<|message|>c", "c"),
        ("<|channel|>analysis<|message|>aassistant<|channel|>final <|constrain|>json<|message|>c", "c"),
        ("<|channel|>final<|message|>[check]<|end|><|start|>assistant<|channel|>analysis<|message|>more", "[check]"),
        ("<|channel|>final[check]", "[check]"),
        ("the [THINKER] says [think] and <|end|>", "the [THINKER] says [think] and <|end|>"),
    ],
)  # fmt: skip
def test_channels(reply, public):
    assert public_text(reply) == public


def test_reasoning_in_brackets_neither_reaches_the_defender_nor_loses_the_game():
    env = make("AdversarialTaboo-v0", words=("kangaroo", "bicycle"))
    env.reset(options={"instance": {"word": "kangaroo"}})
    env.step("[THINK]the word is kangaroo[/THINK]hello")
    assert not env.outcome
    assert "defender_0> " not in env.observe("defender_0")["text"]
    assert env.observe("defender_0")["text"].count("hello") == 1
    assert "kangaroo" not in env.observe("defender_0")["text"]


@pytest.mark.parametrize(
    ("prompt", "opener"),
    [
        ("x <think>\n", "<think>"),
        ("x [THINK]", "[THINK]"),
        ("<|start|>assistant<|channel|>analysis<|message|>", "<|start|>assistant<|channel|>analysis<|message|>"),
        ("<|start|>assistant", ""),
        ("<think>\n\n</think>\n\n", ""),
        ("Write <think> first.", ""),
        ("", ""),
    ],
)
def test_the_mark_that_a_prompt_ends_with(prompt, opener):
    assert opener_of(prompt) == opener


def test_tokens_that_are_marks_or_parts_of_them():
    for kind in ("think", "seed", "mistral", "cohere", "kimi"):
        assert all(map(is_mark, KINDS[kind]))
    assert all(map(is_mark, ("<|channel|>", "<|message|>", "<|constrain|>", " <think> ")))
    assert not any(map(is_mark, ("<|end|>", "<|start|>", "</s>", "[INST]", "think", "")))


PIECES = [mark for pair in KINDS.values() for mark in pair] + [
    "a",
    "[bet]",
    "<|channel|>",
    "<|message|>",
    "<|end|>",
    "final",
    "\n",
]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_public_and_private_parts_are_all_of_a_text(text):
    spans = private_spans(text)
    assert all(start < end for start, end, _ in spans)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    assert len(without_reasoning(text)) <= len(text) - sum(end - start for start, end, _ in spans)
    assert all(closed for _, _, closed in spans[:-1])
