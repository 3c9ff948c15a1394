"""Texts that parsers fall over: drawn by seed, the same for every game."""

import json
import sys
import unicodedata
from collections.abc import Sequence

from lmgames.chance import Chance

MEGABYTE = 1_000_000
BREAKS = ("\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\n\r")
"""Every form in which Unicode, Python or a terminal may begin a line."""
INVISIBLE = tuple(
    chr(code)
    for code in range(sys.maxunicode + 1)
    if unicodedata.category(chr(code)) == "Cf" and not 0xE0020 < code < 0xE007F
)
"""Bidi, zero-width and other format characters."""
ODDITIES = (
    "", " ", "\n", "\0", "\t", "[", "]", "[]", "[[]]", "][", "[ ]", "\\boxed{}", "\\boxed{", "\\boxed{[x]}", "{}", "()",
    "''", "%s%n%x", "{0}{__class__}", "$(reboot)", "`id`", "__import__('os').system('id')", "../../etc/passwd",
    "'; DROP TABLE moves;--", "[-1]", "[+1]", "[1.0]", "[1e9]", "[1,000]", "[0x1]", "[٣]", "[３]", "[²]", "[½]", "[Ⅷ]",
    "[一]", "[" + "9" * 5000 + "]", "[nan]", "[inf]", "[None]", "[null]", "[true]", "[İ]", "[ß]", "[ŉ]", "[ﬀ]",
    "[vote: ]", "[vote: -0]", "[propose:]", "[offer: ->]", "[offer: 99999999999 wood -> 1 ore]", "[guess:]", "[message]",
    "[accept][reject]", "<think>", "</think>", "<think></think>", "</think>" * 50, "<think>" * 50,
    "<think><think></think>[0]", "<quote>", "</quote><quote>", "\ud800", "\udfff[0]\ud800", "\ufeff", "\U0010ffff",
    "a\u0300" * 100, "ﷺ" * 50, "[\u202e0]", "[\u200b0]", "\x1b[2J\x1b]0;x\x07", "<script>alert(1)</script>",
    "&#91;0&#93;",
)  # fmt: skip


def nasty_replies(chance: Chance, *, longest: int = MEGABYTE, random_texts: int = 60) -> list[str]:
    """Odd texts, long ones, and random ones over all of Unicode, surrogates among them.

    Args:
        chance: of the random texts.
        longest: characters.
        random_texts: how many of them.
    """
    found = list(ODDITIES)
    found += _long_texts(longest)
    for number in range(random_texts):
        length = chance.integer("length", number, high=min(longest, 400))
        found.append("".join(_character(chance, number, place) for place in range(length)))
    return [text[:longest] for text in found]


def _long_texts(length: int) -> list[str]:
    depth = min(length // 2, 100_000)
    units: Sequence[str] = (
        "a", " ", "\n", "\0", "[", "]", "[a", "[a]", "[0] ", "[check] [bet] ", "\\boxed{", "\\boxed{0}", "{", "<",
        "<think>", "</think>", "<think></think>", "[THINK]", "<|channel|>analysis<|message|>",
        "\u0315\u0300", "e\u0301\u0327", "\u200b", "\u0300\u200b\u0315",
        "\u202e", "ﷺ", "\ud83d", "😀", "İ", "\r", "\u2028", "<quote>", "player_0> ", "1 wood, ", "- ", "-> ", "a.", "'",
        '"',
    )  # fmt: skip
    texts = [unit * (length // len(unit)) for unit in units]
    texts += ["[" * depth + "]" * depth, "[" + "a" * (length - 2) + "]", "[" + " " * (length - 2) + "]"]
    texts += ['{"a":' * (length // 6) + "1" + "}" * (length // 6), json.dumps([{"move": "[0]"}] * (length // 20))]
    return texts


def _character(chance: Chance, number: int, place: int) -> str:
    kind = chance.integer("kind", number, place, high=5)
    if kind == 0:
        return chance.choice(("[", "]", "{", "}", "<", ">", "/", "\\", ":", ",", "-", "\n"), "mark", number, place)
    if kind == 1:
        return chr(chance.integer("ascii", number, place, low=0, high=127))
    if kind == 2:
        return chr(chance.integer("surrogate", number, place, low=0xD800, high=0xDFFF))
    if kind == 3:
        return chance.choice(INVISIBLE, "format", number, place)
    if kind == 4:
        return chance.choice(BREAKS, "break", number, place)
    return chr(chance.integer("any", number, place, high=sys.maxunicode))
