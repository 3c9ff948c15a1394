"""Quotes in a speech: found, checked against a passage to the letter, and never repaired.

A speech may hold `<quote>words of the passage</quote>` and, where the passage's sentences are numbered, `[quote: 3]`. A
quote is valid if its words stand in the passage one after another, from token boundary to token boundary. Both sides are
compared after NFKC, with each run of whitespace as one space and typographic quotes straight; case counts. What a tag holds
beyond that (an ellipsis, a paraphrase, a slip) makes it invalid; nobody joins or corrects it.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Reason = Literal["not_found", "too_short", "nested"]

_TAG = re.compile(r"<(/?)quote>", re.IGNORECASE)
_NUMBERED = re.compile(r"(?:\[|\\boxed\{)[ \t]*quote(?![^\W_])[ \t:]*([^\[\]{}\n]{0,300})[\]}]", re.IGNORECASE)
_TOKEN = re.compile(r"\w+(?:[.,:'\-]\w+)*")
_STRAIGHT = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u201a": "'", "\u201b": "'", "\u201c": '"', "\u201d": '"', "\u201e": '"'}
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a speech as it was written.

    Args:
        kind: "words"; "quote" with what the tags hold; "number" with what follows `quote` in a bracket; "nested" for a
            quote with another one inside.
        text: stripped.
    """

    kind: Literal["words", "quote", "number", "nested"]
    text: str


@dataclass(frozen=True, slots=True)
class Found:
    """Where a quote stands.

    Args:
        unit: index of the passage's part (sentence, or 0 for an undivided passage).
        start, end: characters of the normalised part.
        text: that stretch of the part, which is what readers are shown.
    """

    unit: int
    start: int
    end: int
    text: str


def normalized(text: str) -> str:
    """NFKC, whitespace runs as one space, straight quotes, stripped; case kept."""
    return " ".join(unicodedata.normalize("NFKC", text).translate(_STRAIGHT).split())


def count_tokens(text: str) -> int:
    """Words and numbers of a text; "3.14", "don't" and "well-known" are one each, punctuation alone is none."""
    return sum(1 for _ in _TOKEN.finditer(text))


def split_speech(text: str, *, numbered: bool = False) -> list[Piece]:
    """The words and quotes of a speech, in order.

    A pair of tags with a pair inside is one nested quote. A tag without its partner is text.

    Args:
        text: public text of the speech.
        numbered: whether `[quote: N]` counts.
    """
    pieces: list[Piece] = []
    end = 0
    for start, stop, inner, nested in _outermost_pairs(text):
        pieces += _words_and_numbers(text[end:start], numbered)
        pieces.append(Piece("nested" if nested else "quote", inner.strip()))
        end = stop
    return pieces + _words_and_numbers(text[end:], numbered)


def _outermost_pairs(text: str) -> list[tuple[int, int, str, bool]]:
    """(start, stop, text between the tags, whether another pair lies inside) of each pair that lies in no other."""
    open_tags: list[re.Match[str]] = []
    pairs: list[tuple[int, int, str, bool]] = []
    for tag in _TAG.finditer(text):
        if not tag[1]:
            open_tags.append(tag)
        elif open_tags:
            opener = open_tags.pop()
            nested = False
            while pairs and pairs[-1][0] > opener.start():  # pairs end in order, so those inside are the last ones
                pairs.pop()
                nested = True
            pairs.append((opener.start(), tag.end(), text[opener.end() : tag.start()], nested))
    return pairs


def _words_and_numbers(text: str, numbered: bool) -> list[Piece]:
    pieces: list[Piece] = []
    end = 0
    for match in _NUMBERED.finditer(text) if numbered else ():
        pieces += _words(text[end : match.start()])
        pieces.append(Piece("number", match[1].strip()))
        end = match.end()
    return pieces + _words(text[end:])


def _words(text: str) -> list[Piece]:
    return [Piece("words", text.strip())] if text.strip() else []


def find_quote(quote: str, units: Sequence[str], *, min_tokens: int = 3, case: bool = True) -> Found | Reason:
    """The first place where a quote stands in a passage, or why it is invalid.

    Args:
        quote: what the tags hold.
        units: the passage in parts; a quote lies within one of them.
        min_tokens: fewest words of a quote.
        case: whether upper and lower case differ.
    """
    wanted = normalized(quote)
    if count_tokens(wanted) < min_tokens:
        return "too_short"
    for unit, passage in enumerate(units):
        text = normalized(passage)
        start = _find_at_boundaries(wanted, text, case)
        if start is not None:
            return Found(unit, start, start + len(wanted), text[start : start + len(wanted)])
    return "not_found"


def _find_at_boundaries(wanted: str, text: str, case: bool) -> int | None:
    if not case:
        wanted, text = _lower(wanted), _lower(text)
    inside: set[int] | None = None  # positions between two characters of one token
    start = text.find(wanted)
    while start >= 0:
        if inside is None:
            inside = {at for token in _TOKEN.finditer(text) for at in range(token.start() + 1, token.end())}
        if start not in inside and start + len(wanted) not in inside:
            return start
        start = text.find(wanted, start + 1)
    return None


def _lower(text: str) -> str:
    """Lower case of the same length, so that places in it are places in the text."""
    return "".join(char.lower() if len(char.lower()) == 1 else char for char in text)
