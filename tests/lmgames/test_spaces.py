"""The space of texts."""

import copy
import pickle
import time

import pytest
from gymnasium.spaces import Dict, Text
from gymnasium.vector.utils import batch_space

from lmgames import TextSpace


def test_members_are_strings_up_to_the_length():
    space = TextSpace(5)
    for member in ("", "a", "héllo", "\n\t", "\x00", "日本語", "\ud800"):
        assert member in space
    for other in ("123456", b"abc", 3, None, ["a"], {"text": "a"}):
        assert other not in space


def test_membership_does_not_read_the_text():
    space = TextSpace(10**8)
    text = "x" * 10**8
    start = time.process_time()
    for _ in range(1000):
        assert text in space
    assert time.process_time() - start < 0.5


def test_samples_are_members_and_fixed_by_the_seed():
    first, second = TextSpace(60, seed=1), TextSpace(60)
    second.seed(1)
    samples = [first.sample() for _ in range(50)]
    assert samples == [second.sample() for _ in range(50)]
    assert all(sample in first and sample for sample in samples)
    assert len(set(samples)) > 40
    assert all(len(TextSpace(1, seed=seed).sample()) == 1 for seed in range(20))


def test_a_mask_lists_what_may_be_drawn():
    space = TextSpace(10, seed=0)
    assert {space.sample(["[a]", "[b]"]) for _ in range(50)} == {"[a]", "[b]"}
    assert {space.sample(mask=["[a]", "[b]"], probability=[0.0, 1.0]) for _ in range(20)} == {"[b]"}
    assert space.sample([]) in space


def test_equal_by_length_limit():
    assert TextSpace(5) == TextSpace(5)
    assert TextSpace(5) != TextSpace(6)
    assert TextSpace(5) != Text(5)
    assert repr(TextSpace(5)) == "TextSpace(5)"
    assert TextSpace(5).dtype is str
    assert TextSpace(5).shape is None
    assert not TextSpace(5).is_np_flattenable


def test_copies_and_pickles_go_on_alike():
    space = TextSpace(7, seed=3)
    space.sample()
    copies = [copy.deepcopy(space), pickle.loads(pickle.dumps(space))]  # noqa: S301
    expected = [space.sample() for _ in range(5)]
    for again in copies:
        assert again == space
        assert [again.sample() for _ in range(5)] == expected


def test_json_forms():
    space = TextSpace(5)
    assert space.from_jsonable(space.to_jsonable(["a", "é"])) == ["a", "é"]


def test_composes_with_gymnasiums_spaces():
    space = Dict({"text": TextSpace(9)})
    assert {"text": "hello"} in space
    assert {"text": "0123456789"} not in space
    assert space.sample() in space
    assert ("a", "b") in batch_space(TextSpace(3), 2)
    assert not isinstance(TextSpace(3), Text)  # AsyncVectorEnv would return garbage for it


@pytest.mark.parametrize("length", [0, -1])
def test_a_length_that_is_none(length):
    with pytest.raises(ValueError, match=f"at least 1, got {length}"):
        TextSpace(length)
