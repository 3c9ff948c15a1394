"""What the bargaining games share: lists of goods, words around commands."""

import pytest

from lmgames.games.bargaining import Goods, care_for_other, talk
from lmgames.parsing import IllegalMove, without_commands

GOODS = Goods.named(["book", "knife/knives", "ice cream"])


def test_goods_are_written_and_read():
    assert GOODS.write((1, 2, 0)) == "1 book, 2 knives, 0 ice creams"
    assert GOODS.write((1, 0, 1), zeros=False) == "1 book, 1 ice cream"
    assert GOODS.write((0, 0, 0), zeros=False) == "nothing"
    assert Goods.named(["Brick"], plurals=False).write((3,)) == "3 Brick"
    for text in ("1 book, 2 knives, 0 ice creams", "0 ICE  cream; 2 knife and 1 books", "2knives,,1 book, and 0 ice cream"):
        assert GOODS.read(text, low=0, high=(9, 9, 9)) == {0: 1, 1: 2, 2: 0}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("1 book, 1 books", "bad_args"),
        ("book", "bad_args"),
        ("1 b00k", "bad_args"),
        ("+1 book", "bad_args"),
        ("10 books", "out_of_range"),
    ],
)
def test_goods_that_cannot_be_read(text, code):
    with pytest.raises(IllegalMove) as refused:
        GOODS.read(text, low=0, high=(9, 9, 9))
    assert refused.value.code == code


@pytest.mark.parametrize("names", [["hat", "Hat"], ["hat", "hats"], ["a, b"], ["1st"], [""], [3], ["/nuts"], ["pen  knife"]])
def test_names_that_are_none(names):
    with pytest.raises(ValueError):
        Goods.named(names)


def test_words_around_commands():
    assert without_commands("I need clay. [pass] Please [x]!", ["pass"]) == "I need clay. Please [x]!"
    assert without_commands("[pass]\n[PASS]", ["pass"]) == ""
    assert talk("Fine. [accept]", ["accept"]) == "Fine."
    with pytest.raises(IllegalMove, match="command inside a command"):
        talk("[[pass]accept]", ["accept", "pass"])


def test_the_weight_of_the_others_points():
    assert (care_for_other("semi", {"semi": 0.0}), care_for_other(-1, {}), care_for_other(0.5, {})) == (0, -1, 0.5)
    with pytest.raises(ValueError, match="'semi' and no number"):
        care_for_other("fair", {"semi": 0.0})
