"""Options of every game and environment: a value of the wrong type or size is refused by name, and never crashes later."""

import dataclasses
import json
import math

import pytest

from lmgames import GAMES, make
from lmgames.game import check_choice, check_number, check_pair
from lmgames.registry import env_options, game_class

ODD = [
    None, True, 1, -1, 0, 2.5, math.nan, math.inf, "x", "", (), ("x",), (1, 2), (2, 1), ("a", "b"), ((1, 2),), (("a", "b"),),
    (("a", 1), ("b", 2)), [[1], [2]], {"a": 1}, {1}, object(), b"x", 10**30, 1j,
]  # fmt: skip
CASES = [
    (name, option)
    for name in GAMES
    for option in sorted({field.name for field in dataclasses.fields(game_class(name)) if field.init} | env_options())
]


@pytest.mark.parametrize(("name", "option"), CASES)
def test_odd_values_are_refused_by_name_or_play(name, option):
    for value in ODD:
        refusal, env = None, None
        try:
            env = make(name, **{option: value})
        except ValueError as error:
            refusal = str(error)
        if env is None:
            assert option in refusal, f"{option}={value!r}: {refusal}"
            continue
        json.dumps([env.game.options, env.options], allow_nan=False)
        env.reset(seed=0)
        assert env.agents


def test_checks_of_values():
    for value in (0, 1, 0.5):
        check_number("x", value, 0, 1)
    for value in (True, "1", None, math.nan, -0.1, 1.1, (), 1j):
        with pytest.raises(ValueError, match=r"^x=.* must be a number from 0 to 1$"):
            check_number("x", value, 0, 1)
    check_pair("x", (1, 3), 1, 3)
    check_pair("x", (2, 2), 1, 3)
    for value in ((3, 1), (0, 3), (1, 4), (1,), (1, 2, 3), [1, 2], 1, None, (True, 2), ("1", "2"), ((), ())):
        with pytest.raises(ValueError, match=r"^x=.* must be two integers from 1 to 3, the lesser one first$"):
            check_pair("x", value, 1, 3)
    for value, choices in ((1, (True, False)), (True, (0, 1)), ({}, (None, "a")), ([], ("a",))):
        with pytest.raises(ValueError, match="is not one of"):
            check_choice("x", value, choices)
