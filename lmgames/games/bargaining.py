"""What the bargaining games share: lists of goods, words around a command, the weight of the other's points in a return."""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lmgames.parsing import IllegalMove, find_commands, parse_integer, without_commands
from lmgames.text import quoted

_ENTRY = re.compile(r"([0-9]+)\s*(\S.*)")
_NAME = re.compile(r"[A-Za-z][A-Za-z' -]*")
_SEPARATOR = re.compile(r"\s*(?:,|;|\band\b)[\s,;]*", re.IGNORECASE)


@dataclass(frozen=True)
class Goods:
    """Named goods, written and read as "1 book, 2 hats, 0 balls".

    Args:
        singular, plural: names in the order of the counts.
    """

    singular: tuple[str, ...]
    plural: tuple[str, ...]

    @classmethod
    def named(cls, names: Sequence[str], *, plurals: bool = True, option: str = "goods") -> "Goods":
        """Goods by name.

        Args:
            names: "book", or "knife/knives" where the plural is not formed with s.
            plurals: whether texts use plural forms; they are read in either case.
            option: what the names are the value of, for messages.

        Raises:
            ValueError: if a name is no word, or two cannot be told apart.
        """
        singular, plural = [], []
        for name in names:
            one, slash, many = name.partition("/") if isinstance(name, str) else ("", "", "")
            for form in (one, many) if slash else (one,):
                if not _NAME.fullmatch(form) or _SEPARATOR.search(form) or form != " ".join(form.split()):
                    raise ValueError(
                        f"{option}: {name!r} is not the name of a good: letters only, such as 'book' or 'knife/knives'"
                    )
            singular.append(one)
            plural.append(many or (one + "s" if plurals else one))
        goods = cls(tuple(singular), tuple(plural))
        if len(goods.forms) != sum(len(_forms(one, many)) for one, many in zip(singular, plural, strict=True)):
            raise ValueError(f"{option}: {list(names)} cannot be told apart by name")
        return goods

    @property
    def forms(self) -> Mapping[str, int]:
        """Every accepted spelling, case-folded, and the good it names."""
        return _all_forms(self)

    def __len__(self) -> int:
        return len(self.singular)

    def count(self, index: int, count: int) -> str:
        """E.g. "2 hats"."""
        return f"{count} {self.singular[index] if count == 1 else self.plural[index]}"

    def write(self, counts: Sequence[int], *, zeros: bool = True) -> str:
        """E.g. "1 book, 2 hats, 0 balls"; without `zeros`, only what there is some of, or "nothing"."""
        entries = [self.count(index, count) for index, count in enumerate(counts) if count or zeros]
        return ", ".join(entries) or "nothing"

    def read(self, text: str, *, low: int, high: Sequence[int], hint: str = "") -> dict[int, int]:
        """Counts by good, for the goods that a list names, in any order.

        Args:
            low, high: least count, and greatest count of each good.
            hint: what to write instead, for the message.

        Raises:
            IllegalMove: `bad_args` for anything but different goods with whole numbers, `out_of_range` for a number that is.
        """
        counts: dict[int, int] = {}
        for entry in filter(None, _SEPARATOR.split(text.strip())):
            match = _ENTRY.fullmatch(entry)
            index = self.forms.get(" ".join(match[2].split()).casefold()) if match else None
            if match is None or index is None:
                raise IllegalMove("bad_args", f"{quoted(entry)} is not a number and an item. {hint}".strip())
            if index in counts:
                raise IllegalMove("bad_args", f"{self.plural[index]} are named twice. {hint}".strip())
            counts[index] = parse_integer(match[1], low, high[index], what=f"The number of {self.plural[index]}")
        return counts


def _forms(one: str, many: str) -> set[str]:
    return {one.casefold(), many.casefold(), one.casefold() + "s"}


@lru_cache(maxsize=256)
def _all_forms(goods: Goods) -> Mapping[str, int]:
    pairs = enumerate(zip(goods.singular, goods.plural, strict=True))
    return {form: index for index, (one, many) in pairs for form in _forms(one, many)}


def talk(text: str, verbs: Collection[str]) -> str:
    """The words of a public text that are not its commands.

    Raises:
        IllegalMove: `ambiguous` if they would read as a command themselves.
    """
    words = without_commands(text, verbs)
    if find_commands(words, verbs):
        raise IllegalMove("ambiguous", "Your reply has a command inside a command. Write one command.")
    return words


def care_for_other(objective: Any, named: Mapping[str, float]) -> float:
    """The weight of the other's points in a seat's return: of a named objective, or the number itself.

    Raises:
        ValueError: if it is neither a name nor a number from -1 to 1.
    """
    if isinstance(objective, str) and objective in named:
        return named[objective]
    if type(objective) in (int, float) and math.isfinite(objective) and -1 <= objective <= 1:
        return float(objective)
    names = ", ".join(repr(name) for name in named)
    raise ValueError(f"objective={objective!r} is none of {names} and no number from -1 to 1")


def check_flags(options: Mapping[str, Any]) -> None:
    """Refuses options that must be True or False and are not.

    Raises:
        ValueError: naming the option.
    """
    for option, value in options.items():
        if type(value) is not bool:
            raise ValueError(f"{option}={value!r} must be True or False")
