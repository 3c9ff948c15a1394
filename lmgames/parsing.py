"""From a reply to a move: one grammar for all games, and one closed set of reasons to refuse.

A move is `[verb arguments]` in the public part of a reply. The order of the steps matters and is the same for every game:
type, length, cleaning, private reasoning removed, commands collected, one selected. Everything here is total: any string
gives a result or an `IllegalMove`, in time linear in its length.
"""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from lmgames.reasoning import without_reasoning
from lmgames.text import clean, quoted

REFUSALS = {
    "type": "the reply is not text",
    "too_long": "the reply is longer than allowed",
    "empty": "nothing public is left of the reply",
    "no_command": "no command of this game was found",
    "ambiguous": "two different commands in one reply",
    "bad_args": "the command's arguments cannot be read",
    "illegal_now": "the rules do not allow this move now",
    "out_of_range": "a number is outside its range",
    "insufficient": "something needed for the move is lacking",
    "duplicate": "the move repeats what must not be repeated",
    "reveals_word": "the words contain the speaker's secret word",
}
UNREADABLE = frozenset({"type", "too_long", "empty", "no_command", "ambiguous", "bad_args"})
"""Those that are about how a reply is written; the others are about a move that was understood."""
SHORT = 200
"""Characters: what is read of a reply up to this length is kept, since short replies come again and again."""
KEPT = 4096  # replies
Select = Literal["unique", "last", "first"]
Clip = Literal["head", "tail"]


class IllegalMove(Exception):
    """A refused reply. Its text is game text: the player reads it, so it says what would be legal.

    Args:
        code: one of `REFUSALS`.
        message: what was wrong and what to write instead. Text of the player's inside it goes through `quoted`.
    """

    def __init__(self, code: str, message: str):
        assert code in REFUSALS, f"{code!r} is not a refusal code"
        super().__init__(message)
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, self.message)


@dataclass(frozen=True, slots=True)
class Command:
    """A command found in a reply: `verb` case-folded, `args` as written, stripped."""

    verb: str
    args: str = ""


Located = tuple[int, int, Command]
"""Where a command begins, where it ends, and the command."""
# One level of nesting; the length bound keeps the search linear in the length of the reply.
_BRACKET = re.compile(r"\[([^\[\]\n]{0,300})\]|\\boxed\{([^{}\[\]\n]{0,300})\}")
_NUMBER_LIKE = re.compile(r"[-+.]?\d")
_INTEGER = re.compile(r"[0-9]{1,4}")


def readable(reply: Any) -> str | dict[str, str]:
    """A reply as it is read and recorded, so that its record can be read again: a text; `{"public": text}`, with "private" where
    that is a text too, for one that its agent has split; `{"unreadable": type name}` for anything else, which is refused.

    Halves of a character beyond 16 bits (surrogates) that stand together become the character: JSON would join them.
    """
    if isinstance(reply, str):
        text = reply[:]  # of a subclass, the text alone
        return text if text.isascii() or not _SURROGATE_PAIR.search(text) else _joined(text)
    if isinstance(reply, dict):
        texts = {key: reply[key] for key in ("private", "public") if reply.get(key) is not None}
        if (
            "public" in texts
            and set(reply) <= {"private", "public"}
            and all(isinstance(text, str) for text in texts.values())
        ):
            return {key: str(readable(text)) for key, text in texts.items()}
        if set(reply) == {"unreadable"} and isinstance(reply["unreadable"], str):  # from a record
            return dict(reply)
    return {"unreadable": type(reply).__name__}


_SURROGATE_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def _joined(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def public_text(reply: Any, *, max_raw_chars: int = 20_000, max_public_chars: int = 2_000, clip: Clip | None = None) -> str:
    """What others may read of a reply: cleaned, with private reasoning removed.

    Reasoning is known by the marks of `lmgames.reasoning`: `<think>` tags and the like.

    Args:
        reply: a str, or a dict {"private": str or None, "public": str} from an agent that has split them already.
        max_raw_chars: longest reply, characters, before anything is removed.
        max_public_chars: longest public text, characters.
        clip: None refuses what is too long; "head" or "tail" keeps that end.

    Raises:
        IllegalMove: `type`, `too_long` or `empty`.
    """
    reply = readable(reply)
    if not isinstance(reply, str):
        if "public" not in reply:
            raise IllegalMove("type", "Your reply must be text.")
        reply = reply["public"]
    reply = capped(reply, max_raw_chars, clip)
    text = _short_public_part(reply) if len(reply) <= SHORT else _public_part(reply)
    text = capped(text, max_public_chars, clip, "The public part of your reply")
    if not text:
        raise IllegalMove("empty", "Your reply has no public text; write your move after any reasoning.")
    return text


def _public_part(reply: str) -> str:
    return without_reasoning(clean(reply)).strip()


_short_public_part = lru_cache(maxsize=KEPT)(_public_part)


def capped(text: str, limit: int, clip: Clip | None, what: str = "Your reply") -> str:
    """The text, or the end of it that `clip` keeps where it is longer than `limit` characters.

    Raises:
        IllegalMove: `too_long`, if it is and `clip` is None.
    """
    if len(text) <= limit:
        return text
    if clip is None:
        raise IllegalMove("too_long", f"{what} has {len(text)} characters; at most {limit} are allowed.")
    return text[:limit] if clip == "head" else text[-limit:]


def find_commands(text: str, verbs: Collection[str] = (), *, numbers: bool = False) -> list[Command]:
    r"""All commands of a game in a public text, in order.

    `[verb ...]`, `[verb: ...]` and `\boxed{...}` count if the verb, case-folded, is one of `verbs`; with `numbers`, so does
    a bracket that starts with a number (verb ""). Other brackets are text.
    """
    return [command for _, _, command in _located(text, tuple(verbs), numbers)]


def without_commands(text: str, verbs: Collection[str] = (), *, numbers: bool = False) -> str:
    """The words around the commands that `find_commands` finds: what a player says besides its move."""
    pieces, start = [], 0
    for first, end, _ in _located(text, tuple(verbs), numbers):
        pieces.append(text[start:first].strip())
        start = end
    return " ".join(filter(None, [*pieces, text[start:].strip()]))


def _located(text: str, verbs: tuple[str, ...], numbers: bool) -> Sequence[Located]:
    return _short_located(text, verbs, numbers) if len(text) <= SHORT else tuple(_locate(text, verbs, numbers))


def _locate(text: str, verbs: tuple[str, ...], numbers: bool) -> Iterator[Located]:
    longest_first = _ordered(verbs)
    for match in _BRACKET.finditer(text):
        content = (match[1] if match[1] is not None else match[2]).strip()
        if numbers and _NUMBER_LIKE.match(content):
            yield match.start(), match.end(), Command("", content)
            continue
        folded = content.casefold()
        for verb in longest_first:
            if folded.startswith(verb) and not folded[len(verb) : len(verb) + 1].isalnum():
                # casefold can lengthen a text (ß -> ss), but not a prefix that equals an ASCII verb
                yield match.start(), match.end(), Command(verb, content[len(verb) :].lstrip(" \t:").rstrip())
                break


@lru_cache(maxsize=KEPT)
def _short_located(text: str, verbs: tuple[str, ...], numbers: bool) -> Sequence[Located]:
    return tuple(_locate(text, verbs, numbers))


@lru_cache(maxsize=256)
def _ordered(verbs: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(verbs, key=len, reverse=True))


def extract_command(
    text: str,
    verbs: Collection[str] = (),
    *,
    numbers: bool = False,
    select: Select = "unique",
    hint: str = "",
    meaning: Callable[[Command], Any] | None = None,
) -> Command:
    """The command that a public text gives.

    Args:
        text: from `public_text`.
        verbs, numbers: as in `find_commands`.
        select: "unique" refuses two different commands; "last" and "first" choose.
        hint: what to write instead, for the message, e.g. "Write [check] or [bet]."
        meaning: the move that a command gives, or IllegalMove; commands that give the same are not different. None compares
            verbs and arguments as they are written.

    Raises:
        IllegalMove: `no_command` or `ambiguous`.
    """
    found = find_commands(text, verbs, numbers=numbers)
    if not found:
        raise IllegalMove("no_command", f"No move was found in {quoted(text)}. {hint}".strip())
    if len(found) > 1 and select == "unique" and not _mean_the_same(found, meaning):
        raise IllegalMove("ambiguous", f"Your reply has more than one move. Write exactly one. {hint}".strip())
    return found[-1] if select == "last" else found[0]


def _mean_the_same(commands: Sequence[Command], meaning: Callable[[Command], Any] | None) -> bool:
    different = dict(zip(map(_normalised, commands), commands, strict=True))
    if len(different) == 1 or meaning is None:
        return len(different) == 1
    try:
        first, *others = map(meaning, different.values())
    except IllegalMove:
        return False
    return all(move == first for move in others)


def _normalised(command: Command) -> tuple[str, str]:
    return command.verb, " ".join(command.args.split()).casefold()


def parse_integer(args: str, low: int, high: int, *, what: str = "The number") -> int:
    """An integer of one to four ASCII digits.

    Raises:
        IllegalMove: `bad_args` if it is anything else (signed, decimal, longer), `out_of_range` outside low..high.
    """
    if not _INTEGER.fullmatch(args.strip()):
        raise IllegalMove("bad_args", f"{what} must be a whole number from {low} to {high}, not {quoted(args)}.")
    value = int(args)
    if not low <= value <= high:
        raise IllegalMove("out_of_range", f"{what} must be from {low} to {high}, not {value}.")
    return value
