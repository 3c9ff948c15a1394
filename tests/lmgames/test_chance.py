"""Draws are uniform, keyed by what they decide, and the same in every process."""

import os
import pickle
import random
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from lmgames.chance import Chance

KNOWN = {"word": 8620571803714337214, "integer": 391, "order": (0, 4, 2, 5, 3, 1)}
N = 6000


def chi_square(counts, expected):
    return sum((counts[key] - want) ** 2 / want for key, want in expected.items())


# Bounds: the 0.999 quantile of chi-square with k - 1 degrees of freedom. The draws are fixed, so this never flickers.


@pytest.mark.parametrize(("low", "high", "bound"), [(0, 1, 10.83), (0, 5, 20.52), (-3, 6, 27.88), (1, 16, 37.70)])
def test_integers_are_uniform(low, high, bound):
    counts = Counter(Chance(7).integer("die", index, low=low, high=high) for index in range(N))
    span = high - low + 1
    assert set(counts) == set(range(low, high + 1))
    assert chi_square(counts, dict.fromkeys(range(low, high + 1), N / span)) < bound


def test_integers_are_uniform_over_seeds():
    counts = Counter(Chance(seed).integer("die", high=5) for seed in range(N))
    assert chi_square(counts, dict.fromkeys(range(6), N / 6)) < 20.52


def test_neighbouring_seeds_and_indices_are_independent():
    pairs = Counter((Chance(seed).integer("x", 0, high=2), Chance(seed + 1).integer("x", 0, high=2)) for seed in range(N))
    assert chi_square(pairs, {(a, b): N / 9 for a in range(3) for b in range(3)}) < 26.12
    pairs = Counter((Chance(seed).integer("x", 0, high=2), Chance(seed).integer("x", 1, high=2)) for seed in range(N))
    assert chi_square(pairs, {(a, b): N / 9 for a in range(3) for b in range(3)}) < 26.12


def test_uniform_is_uniform_and_below_one():
    draws = [Chance(3).uniform("u", index) for index in range(N)]
    assert min(draws) >= 0
    assert max(draws) < 1
    assert chi_square(Counter(int(10 * draw) for draw in draws), dict.fromkeys(range(10), N / 10)) < 27.88


def test_choice_and_shuffled_are_uniform():
    chosen = Counter(Chance(seed).choice("abc", "letter") for seed in range(N))
    assert chi_square(chosen, dict.fromkeys("abc", N / 3)) < 13.82
    orders = Counter(Chance(seed).shuffled("abc", "order") for seed in range(N))
    assert len(orders) == 6
    assert chi_square(orders, dict.fromkeys(orders, N / 6)) < 20.52


def test_weighted_follows_the_weights():
    drawn = Counter(Chance(seed).weighted("abcd", (1, 0, 3, 6), "w") for seed in range(N))
    assert drawn["b"] == 0
    assert chi_square(drawn, {"a": N * 0.1, "c": N * 0.3, "d": N * 0.6}) < 13.82


def test_weighted_gives_the_last_possible_option_where_rounding_leaves_a_rest():
    class Edge(Chance):
        def uniform(self, purpose, *index):
            return 1.0  # beyond what `uniform` gives: the walk runs out of weights

    assert Edge(0).weighted("abc", (0.5, 0.5, 0.0), "w") == "b"


@pytest.mark.parametrize("weights", [(0, 0), (-1, 2), (float("nan"), 1)])
def test_weights_that_are_none(weights):
    with pytest.raises(ValueError, match="weights must be >= 0 and not all 0"):
        Chance(0).weighted("ab", weights, "w")


def test_sample_gives_different_items_and_every_subset_alike():
    drawn = Counter(frozenset(Chance(seed).sample(range(4), 2, "hand")) for seed in range(N))
    assert all(len(hand) == 2 for hand in drawn)
    assert len(drawn) == 6
    assert chi_square(drawn, dict.fromkeys(drawn, N / 6)) < 20.52
    assert Chance(0).sample("abc", 0, "none") == ()
    assert sorted(Chance(0).sample("abc", 3, "all")) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="4 different items asked for, only 3"):
        Chance(0).sample("abc", 4, "too many")


def test_a_draw_depends_on_its_name_not_on_other_draws():
    names = [("card", 0), ("card", 1), ("word",), ("order", 2, "player_0")]
    forwards = {name: Chance(5).word(*name) for name in names}
    chance = Chance(5)
    for index in range(100):
        chance.integer("something else", index, high=9)
    assert {name: chance.word(*name) for name in reversed(names)} == forwards
    assert len(set(forwards.values())) == len(names)


def test_purposes_indices_and_seeds_never_run_together():
    names = [("a", 1, 1), ("a", 11), ("a", "1", 1), ("a", "1", "1"), ("a", "1, 1"), ("a1", 1), ("a",), ("a", ""), ("", "a")]
    assert len({Chance(0).word(*name) for name in names}) == len(names)
    assert len({Chance(seed).word("a") for seed in (0, 1, -1, 2**64, 2**64 + 1, 10**40)}) == 6


def test_derived_streams_are_their_own():
    chance = Chance(9)
    assert chance.derive("players", 1) == chance.derive("players", 1)
    assert len({chance.derive("players", n).word("x") for n in range(50)} | {chance.word("x")}) == 51


def test_words_that_would_favour_low_values_are_drawn_again():
    class Counting(Chance):
        def word(self, purpose, *index):
            asked.append(index)
            return 2**64 - 1 if len(asked) < 3 else 4

    asked = []
    # 2**64 = 1 mod 3: the very last word is rejected, and so is a second one
    assert Counting(0).integer("x", 8, high=2) == 4 % 3
    assert asked == [(8,), (8, "again", 1), (8, "again", 2)]


def test_wide_ranges():
    assert 0 <= Chance(1).integer("x", high=2**64 - 1) < 2**64
    assert Chance(1).integer("x", high=2**64 - 1) == Chance(1).word("x")
    big = [Chance(seed).integer("x", low=-(2**62), high=2**62) for seed in range(200)]
    assert min(big) < -(2**60) < 2**60 < max(big)
    with pytest.raises(ValueError, match="wider than 64 bits"):
        Chance(1).integer("x", high=2**64)
    with pytest.raises(ValueError, match="no integer from 5 to 4"):
        Chance(1).integer("x", low=5, high=4)
    with pytest.raises(ValueError, match="no integer"):
        Chance(1).choice((), "empty")


def test_global_generators_are_not_touched():
    before = random.getstate(), pickle.dumps(np.random.get_state())  # noqa: NPY002
    Chance(0).shuffled(range(50), "x")
    assert (random.getstate(), pickle.dumps(np.random.get_state())) == before  # noqa: NPY002


def test_the_values_are_fixed():
    """A change of these is a change of every deal: every game's version must rise."""
    assert Chance(0).word("cards") == KNOWN["word"]
    assert Chance(-5).integer("cards", 3, "é", high=999) == KNOWN["integer"]
    assert Chance(2**70).shuffled(range(6), "order") == KNOWN["order"]


def test_same_values_whatever_the_hash_seed():
    code = "from lmgames import Chance; c = Chance(4); print(c.word('a', 1, 'b'), c.shuffled('abcdef', 's'), c.uniform('u'))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "1", "random")
    }
    assert len(outputs) == 1


def test_numbers_of_numpy_are_the_numbers():
    numpys, plain = Chance(np.int64(5)), Chance(5)
    assert numpys.word("x", np.uint8(3), np.str_("a")) == plain.word("x", 3, "a")
    assert numpys.shuffled("abcdef", "x", np.int32(1)) == plain.shuffled("abcdef", "x", 1)
    assert plain.word("np.", "np.int64(3)") != plain.word("np.", 3)
    with pytest.raises(TypeError):
        plain.word("x", np.float64(2.5))
