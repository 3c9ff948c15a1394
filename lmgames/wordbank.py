"""The bundled bank of words: everyday things by family, with what is true of each.

The bank says of each concept which attributes hold, each attribute being one sentence about "it". Games of words draw
targets from it; scripted players hint and infer with it. Its sources are the files in `lmgames/data/`: one TOML file a
family, and the pairs in `spy_pairs.csv`. `docs/words.md` describes the format. Use it through `lmgames.words`.

Families, never single words, are split into "train" and "eval", so that a word held out has no sibling that was seen.
"""

import csv
import hashlib
import io
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Literal

from lmgames.game import check_choice

BANK_VERSION = 1
"""Raised by any change of a data file."""

Split = Literal["all", "train", "eval"]


@dataclass(frozen=True, slots=True)
class Attribute:
    """Something that is true of a concept of the family or is not.

    Args:
        id: unique within its family.
        sentence: says that it holds, of "it".
    """

    id: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Concept:
    """A word of the bank.

    Args:
        name: one lower-case token.
        family: name of its family.
        inflections: every form that counts as the word, `name` first.
        attributes: whether each attribute of the family holds, by id.
        frequency: 3 for everyday words, 2 for common ones, 1 for less common ones.
    """

    name: str
    family: str
    inflections: tuple[str, ...]
    attributes: Mapping[str, bool] = field(hash=False)
    frequency: int


@dataclass(frozen=True, slots=True)
class Family:
    """Concepts of one kind, with the attributes that tell them apart and those that all of them share."""

    name: str
    concepts: tuple[Concept, ...]
    attributes: tuple[Attribute, ...]
    split: Split

    def true_sentences(self, concept: Concept) -> tuple[str, ...]:
        """What can be said truly of a concept of this family, in the family's order."""
        return tuple(attribute.sentence for attribute in self.attributes if concept.attributes[attribute.id])


@dataclass(frozen=True, slots=True)
class SpyPair:
    """Two words of one family for a game in which one player has another word than the rest.

    Args:
        civilian, spy: concepts of the bank; which of the two is whose may be exchanged.
        difficulty: 1 for things that are easy to tell apart, 3 for near neighbours.
        family: name of the family of both.
    """

    civilian: str
    spy: str
    difficulty: int
    family: str


@cache
def load_bank(split: Split = "all") -> tuple[Family, ...]:
    """The families of a split, by name.

    Raises:
        ValueError: for an unknown split.
    """
    check_choice("split", split, ("all", "train", "eval"))
    if split != "all":
        return tuple(family for family in load_bank() if family.split == split)
    return tuple(_read_family(tomllib.loads(text)) for name, text in _files() if name.endswith(".toml"))


@cache
def _files() -> tuple[tuple[str, str], ...]:
    """(name, text) of each data file, by name."""
    folder = resources.files("lmgames") / "data"
    found = [entry for entry in folder.iterdir() if entry.name.endswith((".toml", ".csv"))]
    return tuple((entry.name, entry.read_text(encoding="utf-8")) for entry in sorted(found, key=lambda entry: entry.name))


def _read_family(table: Mapping[str, Any]) -> Family:
    family = str(table["family"])
    split: Split = "eval" if table["split"] == "eval" else "train"
    names = list(table["concepts"])
    holds = {key: _named(where, names) for key, (_, where) in table["attributes"].items()}
    concepts = []
    for name, line in table["concepts"].items():
        frequency, *forms = line.split()
        attributes = {key: name in where for key, where in holds.items()}
        concepts.append(Concept(name, family, (name, *forms), attributes, int(frequency)))
    attributes_of_family = tuple(Attribute(key, sentence) for key, (sentence, _) in table["attributes"].items())
    return Family(family, tuple(concepts), attributes_of_family, split)


def _named(where: str, names: list[str]) -> set[str]:
    """The concepts that "all", "all but a b" or "a b" names."""
    first, *rest = where.split()
    listed = set(rest[1:]) if first == "all" else {first, *rest}
    unknown = listed - set(names)
    assert not unknown, f"unknown concepts {sorted(unknown)}"
    return set(names) - listed if first == "all" else listed


@cache
def _by_name() -> dict[str, Concept]:
    return {concept.name: concept for family in load_bank() for concept in family.concepts}


def is_in_bank(name: str) -> bool:
    """Whether the bank has a concept of this name."""
    return name in _by_name()


def concept(name: str) -> Concept:
    """The concept of a name.

    Raises:
        ValueError: if the bank has none.
    """
    if name not in _by_name():
        raise ValueError(f"the word bank has no concept {name!r}; `load_bank()` lists them all")
    return _by_name()[name]


@cache
def family_of(name: str) -> Family:
    """The family of a concept.

    Raises:
        ValueError: if the bank has no such concept.
    """
    return next(family for family in load_bank() if family.name == concept(name).family)


def true_sentences(name: str) -> tuple[str, ...]:
    """What the bank says of a concept, in its family's order.

    Raises:
        ValueError: if the bank has no such concept.
    """
    return family_of(name).true_sentences(concept(name))


@cache
def bank_sha256() -> str:
    """Hash of all data files, hex."""
    digest = hashlib.sha256()
    for name, text in _files():
        digest.update(f"{name}\0{text}\0".encode())
    return digest.hexdigest()


@cache
def spy_pairs(split: Split = "all", difficulty: int | None = None) -> tuple[SpyPair, ...]:
    """Pairs of a split, and of one grade of difficulty if one is named.

    Raises:
        ValueError: for an unknown split or grade.
    """
    check_choice("difficulty", difficulty, (None, 1, 2, 3))
    families = {family.name for family in load_bank(split)}
    rows = csv.DictReader(io.StringIO(dict(_files())["spy_pairs.csv"]))
    pairs = [SpyPair(row["civilian"], row["spy"], int(row["difficulty"]), row["family"]) for row in rows]
    return tuple(pair for pair in pairs if pair.family in families and difficulty in (None, pair.difficulty))
