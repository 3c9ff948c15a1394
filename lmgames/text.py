"""From records to text: the one renderer of all games.

A game answers with lines. A plain `str` is the moderator's; `Said` is a player's words. Only this module turns them into
text, and it puts the speaker's label before every line of a player's words, so that no player can write a line that looks
like the moderator's or another seat's.
"""

import json
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Said:
    """Words of a player.

    Args:
        seat: who speaks; the label of each line.
        words: what was said, untrusted; cleaned when rendered.
    """

    seat: str
    words: str


Line = str | Said
SHORT = 200  # characters of words that are kept as they were rendered
MAX_COMBINING = 30

# All of Unicode category Cf (bidi, zero-width, tags) and the controls; lone surrogates cannot be encoded at all.
_FORMAT_CHARACTERS = re.compile(
    "[\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f"
    "\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0001\U000e0020-\U000e007f]"
)
_CONTROL_CHARACTERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_LONG_RUN = re.compile(b"\1{%d,}" % (MAX_COMBINING + 1))
_ASCII_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
_ASCII_CONTROLS = dict.fromkeys([*range(9), *range(11, 32), 127], " ")
_LINE_BREAK = re.compile("\r\n|[\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]")
# What chat templates use to mark turns: <|im_start|>, <start_of_turn>, </s>, <<SYS>>, [INST], [gMASK]. A space breaks each.
_TEMPLATE_ANGLE = re.compile(r"<(?=[|/<\w\u2581])")
_TEMPLATE_BAR = re.compile(r"\|(?=>)")
_TEMPLATE_BRACKET = re.compile(r"\[(?=/?[a-z]?[A-Z][A-Z0-9_]{2,}\])")


def clean(text: str) -> str:
    """The text as games read it: NFKC, line breaks as newlines, no format characters, other controls as spaces.

    Tab and newline stay. Compatibility forms fold, so a fullwidth digit is a digit and a fullwidth bracket a bracket.
    """
    if text.isascii():
        if _ASCII_CONTROL.search(text):
            text = _LINE_BREAK.sub("\n", text).translate(_ASCII_CONTROLS)
        return text
    text = _FORMAT_CHARACTERS.sub("", _LINE_BREAK.sub("\n", text))  # normalising makes neither of them
    if len(text) > MAX_COMBINING:
        text = _stream_safe(text)
    text = unicodedata.normalize("NFKC", text)
    return _CONTROL_CHARACTERS.sub(" ", text)


def _stream_safe(text: str) -> str:
    """The text without combining marks beyond the 30 that a character carries in stream-safe text (Unicode's UAX 15):
    normalisation sorts a run of them in a time quadratic in its length."""
    is_mark = bytes(map(bool, map(unicodedata.combining, text)))
    parts, start = [], 0
    for run in _LONG_RUN.finditer(is_mark):
        parts.append(text[start : run.start() + MAX_COMBINING])
        start = run.end()
    return "".join([*parts, text[start:]])


def defuse(words: str) -> str:
    """Cleaned words in which no chat template finds one of its special tokens."""
    words = clean(words)
    if "<" in words or "|" in words:
        words = _TEMPLATE_BAR.sub("| ", _TEMPLATE_ANGLE.sub("< ", words))
    if "[" in words and words != words.lower():  # tokens in brackets are written in capitals
        words = _TEMPLATE_BRACKET.sub("[ ", words)
    return words


def quoted(text: str, limit: int = 60) -> str:
    """A player's text inside a message of ours: on one line, in double quotes, at most `limit` characters of it."""
    words = defuse(text[: 4 * limit])  # cleaning only shortens or folds; four times the limit is enough to fill it
    return json.dumps(words if len(words) <= limit else words[:limit] + "...", ensure_ascii=False)


def render(lines: Iterable[Line]) -> str:
    """The text a seat reads: the moderator's lines as they are, each line of a player's words behind `seat> `."""
    return "\n".join([line if isinstance(line, str) else _labelled(line.seat, line.words) for line in lines])


def _labelled(seat: str, words: str) -> str:
    return _short_labelled(seat, words) if len(words) <= SHORT else _with_label(seat, words)


def _with_label(seat: str, words: str) -> str:
    label = f"{seat}> "
    return label + defuse(words).replace("\n", f"\n{label}")


_short_labelled = lru_cache(maxsize=4096)(_with_label)  # every seat is told the same words
