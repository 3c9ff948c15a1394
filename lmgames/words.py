"""Words in texts: whether a text says a word, in any form or disguise; and the word bank, for games to draw from.

Nothing here needs a language package: the bank's words come with checked forms, other words are inflected by rule.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from lmgames.game import check_choice
from lmgames.inflection import derivations, inflections_by_rule, stem, word_set
from lmgames.wordbank import (
    BANK_VERSION,
    Attribute,
    Concept,
    Family,
    Split,
    SpyPair,
    bank_sha256,
    concept,
    family_of,
    is_in_bank,
    load_bank,
    spy_pairs,
    true_sentences,
)

__all__ = [
    "BANK_VERSION",
    "Attribute",
    "Concept",
    "Family",
    "Match",
    "Split",
    "SpyPair",
    "bank_sha256",
    "concept",
    "family_of",
    "inflections",
    "is_in_bank",
    "load_bank",
    "spy_pairs",
    "tokens",
    "true_sentences",
    "utters",
]

Match = Literal["exact", "inflect", "stem", "substring"]

SHORT = 200  # characters of a text whose tokens are kept
_TOKEN = re.compile(r"(?:[^\W_]|[\u0300-\u036f])+(?:'(?:[^\W_]|[\u0300-\u036f])+)*")
_APOSTROPHES = str.maketrans("’‘ʼ`´", "'''''")


def tokens(text: str) -> tuple[str, ...]:
    """The words of a text, case-folded: runs of letters and digits with apostrophes inside; hyphens split; 's removed."""
    return _short_tokens(text) if len(text) <= SHORT else _tokens(text)


def _tokens(text: str) -> tuple[str, ...]:
    text = unicodedata.normalize("NFKC", text).casefold().translate(_APOSTROPHES)
    return tuple([token.removesuffix("'s") for token in _TOKEN.findall(text)])


_short_tokens = lru_cache(maxsize=4096)(_tokens)  # a clue is compared with every later one


@lru_cache(maxsize=4096)
def inflections(word: str) -> tuple[str, ...]:
    """Every form that counts as a word, itself first: as checked by hand for words of the bank, by rule for others."""
    folded = " ".join(tokens(word))
    if is_in_bank(folded):
        return concept(folded).inflections
    *before, last = folded.split(" ")
    return tuple(" ".join((*before, form)) for form in inflections_by_rule(last))


def utters(
    word: str | Concept,
    text: str,
    *,
    match: Match = "inflect",
    derivation: bool = False,
    anti_evasion: bool = True,
) -> bool:
    """Whether a text says a word.

    Args:
        word: of the bank or not; several tokens match when they follow one another.
        text: any text.
        match: "exact", the word as a token; "inflect", any of its inflections; "stem", also any token with its Porter stem;
            "substring", its letters anywhere, inside other words too (as in SPAG's judge; only to reproduce it).
        derivation: with "inflect" and "stem", also words made from it: banker, happiness.
        anti_evasion: also the word in disguise: spelled out, split, in look-alike letters, digits for letters, reversed.
    """
    check_choice("match", match, ("exact", "inflect", "stem", "substring"))
    name = word.name if isinstance(word, Concept) else word
    if match == "substring":
        wanted = " ".join(name.casefold().split())
        return wanted in text.casefold() or (anti_evasion and any(wanted in reading.text for reading in _readings(text)))
    forms = _forms(name, match, derivation)
    if _says(forms, name, tokens(text), match):
        return True
    return anti_evasion and _says_in_disguise(forms, name, text, match)


@lru_cache(maxsize=4096)
def _forms(name: str, match: Match, derivation: bool) -> frozenset[tuple[str, ...]]:
    """Every sequence of tokens that counts as the word."""
    if match == "exact":
        return frozenset({tokens(name)})
    forms = set(inflections(name))
    if derivation:
        forms |= derivations(name)
    return frozenset(tuple(form.split(" ")) for form in forms)


def _says(forms: frozenset[tuple[str, ...]], name: str, said: tuple[str, ...], match: Match) -> bool:
    for length in {len(form) for form in forms}:
        if any(said[start : start + length] in forms for start in range(len(said) - length + 1)):
            return True
    if match != "stem":
        return False
    stems, wanted = [stem(token) for token in said], [stem(token) for token in tokens(name)]
    return any(stems[start : start + len(wanted)] == wanted for start in range(len(stems) - len(wanted) + 1))


# Words in disguise.

_LOOK_ALIKES = {
    "a": "аαᴀɑ", "b": "вβʙ", "c": "сᴄϲ", "d": "ԁᴅđ", "e": "еεᴇє", "f": "ғ", "g": "ɢɡ", "h": "һнʜħ", "i": "іιɪı", "j": "јᴊ",
    "k": "кκᴋ", "l": "ӏʟł", "m": "мᴍ", "n": "ηɴ", "o": "оοσᴏø", "p": "рρᴘ", "q": "ԛ", "r": "ʀ", "s": "ѕς", "t": "тτᴛŧ",
    "u": "υᴜ", "v": "ѵνᴠ", "w": "ԝωᴡ", "x": "хχ", "y": "уγʏ", "z": "ᴢ",
}  # fmt: skip
_FOLD = str.maketrans(
    {alike: letter for letter, group in _LOOK_ALIKES.items() for alike in group}
    | {chr(first + number): chr(ord("a") + number) for first in (0x1F150, 0x1F170, 0x1F1E6) for number in range(26)}
)  # and letters white on black, round or square, and those that make flags
_INVISIBLE_LETTERS = str.maketrans("", "", "\u115f\u1160\u17b4\u17b5")
_CAPITAL_I_AS_L = re.compile(r"(?<=[a-z])I(?=[a-z]|\b)")
_DIGITS_AS_LETTERS = (str.maketrans("013457@$|", "oieastasl"), str.maketrans("013457@$|", "oleastasl"))
_NOT_OF_A_WORD = re.compile(r"[^\w']|_|'(?!(?:s|d|m|t|ll|re|ve)\b)")  # "ap'ple" is "apple", but "she'd" is no "shed"
_DIGITS = re.compile(r"\d")
_LETTER_AND_DIGIT = re.compile(r"(?=.*[^\W\d_])(?=.*[013457@$|])")
_WORDS_BACKWARDS = word_set("""
dog god wolf flow star rats rat tar bat tab pan nap pans snap snaps span spans snaps naps pot top tops stop pots spot
part trap parts strap reed deer gum mug gums smug tub but tubs stub bus sub pets step net ten nets stent tap pat taps spat
pit tip pits tips loop pool loops spool tool loot tools loots door rood doors keel leek keels sleek leg gel saw was war raw
won now on no own animal lamina live evil lived devil gulp plug guns snug raps spar spoons snoops straw warts drawer reward
sleep peels lager regal liar rail rails liars room moor moors time emit times item bin nib bins snob nip pin pins snip ton
not buns snub tide edit meet teem may yam mad dam dams spam maps tac cat
""")
"""Words that are other words backwards: said as they are, they are no disguise."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """One way to read a text whose words may be disguised.

    Args:
        text: in plain letters.
        said: its tokens.
        joined: runs without spaces, their letters joined, with and without digits: "a-p.p_le" and "1apple2" give "apple".
        spelled: runs of single letters, joined: "a p p l e" gives "apple".
        backwards: its tokens and what is spelled, from the last letter to the first; words of their own are left out.
    """

    text: str
    said: tuple[str, ...]
    joined: frozenset[str]
    spelled: frozenset[str]
    backwards: frozenset[str]


@lru_cache(maxsize=512)
def _readings(text: str) -> tuple[_Reading, ...]:
    return tuple(_read(version) for version in dict.fromkeys(_undisguised(text)))


def _undisguised(text: str) -> list[str]:
    """The text in plain letters: look-alikes and accents folded; then also digits read as letters, in two ways."""
    text = _CAPITAL_I_AS_L.sub("l", unicodedata.normalize("NFKC", text)).casefold().translate(_APOSTROPHES)
    if not text.isascii():
        text = text.translate(_INVISIBLE_LETTERS)
        text = "".join(letter for letter in text if unicodedata.category(letter) != "Cf").translate(_FOLD)
        text = unicodedata.normalize("NFKD", text)
        text = "".join(letter for letter in text if not unicodedata.combining(letter)).translate(_FOLD)
    chunks = re.split(r"(\s+)", text)
    return [text] + [
        "".join(chunk.translate(table) if _LETTER_AND_DIGIT.match(chunk) else chunk for chunk in chunks)
        for table in _DIGITS_AS_LETTERS
    ]


def _read(text: str) -> _Reading:
    said = tokens(text)
    spelled = "".join(token if len(token) == 1 else " " for token in said).split()
    spelled += [run.translate(table) for run in spelled for table in _DIGITS_AS_LETTERS if not run.isalpha()]
    joined = [_NOT_OF_A_WORD.sub("", chunk).strip("'") for chunk in text.split()]
    turned = (token for token in (*said, *spelled) if len(token) > 2 and token not in _WORDS_BACKWARDS)
    return _Reading(
        text=text,
        said=said,
        joined=frozenset(joined) | {_DIGITS.sub("", chunk) for chunk in joined},
        spelled=frozenset(spelled),
        backwards=frozenset(token[::-1] for token in turned),
    )


def _says_in_disguise(forms: frozenset[tuple[str, ...]], name: str, text: str, match: Match) -> bool:
    solid = {"".join(form) for form in forms}
    return any(
        _says(forms, name, reading.said, match)
        or not solid.isdisjoint(reading.joined | reading.backwards | reading.spelled)
        or any(form in run for run in reading.spelled for form in solid if len(form) > 2)
        for reading in _readings(text)
    )
