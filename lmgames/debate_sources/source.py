"""What a source of debate questions must answer, and the values a debate is made of."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from lmgames.chance import Chance
from lmgames.parsing import IllegalMove, Select, extract_command, parse_integer

Item = tuple[int, ...]
"""A piece of evidence as its source numbers it, e.g. (row, column)."""
QuoteStatus = Literal["", "valid", "not_found", "too_short", "nested", "over_budget"]
LETTERS = ("A", "B")
"""Names of the two answers; seat debater_0 sits on the side of A."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question with two answers.

    Args:
        id: of the question in its source.
        text: as everybody reads it.
        answers: A and B.
        correct: 0 or 1; None where nobody knows, or in the view of a seat that must not know.
        passage: the evidence as the source keeps it, of tuples, numbers and strings; None in the judge's view.
    """

    id: str
    text: str
    answers: tuple[str, str]
    correct: int | None
    passage: Any


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a speech, checked.

    Args:
        kind: "words" of the speaker; a "quote"; "evidence" that the environment states.
        text: words; the passage's own text if a quote is valid, else the rejected text; what is stated of the evidence.
        status: of a quote; "" of anything else.
        place: of a valid quote: the number of the sentence, from 1, where sentences are numbered, else its first character.
        data: of evidence: the item and what it shows, as numbers.
    """

    kind: Literal["words", "quote", "evidence"]
    text: str
    status: QuoteStatus = ""
    place: int | None = None
    data: Item = ()


@dataclass(frozen=True, slots=True)
class Speech:
    """What a seat said in a round (from 0): a debater's speech or the judge's question after it."""

    seat: str
    round: int
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Ruling:
    """A verdict.

    Args:
        choice: 0 for A, 1 for B, None for a draw.
        p: how probable the judge holds each answer.
        reason: its words.
        failed: whether there is no valid verdict; the draw is then nobody's choice.
    """

    choice: int | None
    p: tuple[float, float]
    reason: str = ""
    failed: bool = False


@dataclass(frozen=True, slots=True)
class DebateState:
    """A debate.

    Args:
        question: see `Question`.
        sides: the answer that each debater argues for, by seat number.
        opposed: whether the debaters answer each other, on different sides.
        luck: bits drawn beforehand, for choices that a rule judge leaves to chance; in a view, those used.
        speeches: in order.
        step: how many entries of the schedule are done.
        shown: evidence that the judge is given by the environment: drawn at random for a judge alone, or the last check.
        ruling: once the judge has spoken.
    """

    question: Question
    sides: tuple[int, ...]
    opposed: bool
    luck: tuple[int, ...] = ()
    speeches: tuple[Speech, ...] = ()
    step: int = 0
    shown: tuple[Part, ...] = ()
    ruling: Ruling | None = None

    def by(self, debater: int) -> tuple[Speech, ...]:
        """The speeches of a debater."""
        return tuple(speech for speech in self.speeches if speech.seat == f"debater_{debater}")


class Source(ABC):
    """A source of questions: generates them, says what counts as evidence, and judges by rule.

    Methods that get a `DebateState` may get a seat's view of it: only those that say so may read the passage.
    """

    name: ClassVar[str]
    has_words: ClassVar[bool]
    """Whether debaters speak freely and quote; otherwise each of their turns is one command."""
    numbered: ClassVar[bool] = False
    """Whether a passage's parts are numbered for `[quote: N]`."""
    item_verb: ClassVar[str] = "shows"
    """What a debater does whose command is told, as in "debater_0 shows: ..."."""
    default_rounds: int
    default_quotes: int | None = None
    """Quotes of a debater in the whole debate; None: no limit."""
    rule_judge: ClassVar[bool] = True
    most_rounds: int | None = None
    """Most turns of a debater; None: no limit."""

    # Questions.

    @abstractmethod
    def generate(self, chance: Chance) -> dict[str, Any]:
        """A question as JSON: id, question, answers, correct (0 if the true one is first), passage, meta."""

    @abstractmethod
    def read_passage(self, passage: Any) -> Any:
        """The passage of a question, from JSON to tuples.

        Raises:
            ValueError: saying what is wrong with it.
        """

    def truth(self, question: Question) -> int | None:
        """The answer that the passage makes true, 0 or 1; None where the source cannot tell. Reads the passage."""
        return None

    def read_answers(self, answers: tuple[str, str]) -> tuple[str, str]:
        """The answers of a question.

        Raises:
            ValueError: if this source cannot have asked for them.
        """
        return answers

    # What players read.

    @abstractmethod
    def rules(self, rounds: int, quotes: int | None, mode: str) -> str:
        """What the evidence is and what a debater writes, in a mode of `games.debate.MODES`."""

    def judge_rules(self, rounds: int, mode: str) -> str:
        """What a judge must know to read the evidence."""
        return ""

    @abstractmethod
    def judging(self, mode: str) -> str:
        """How the rule judge decides, for debaters."""

    @abstractmethod
    def passage_lines(self, question: Question) -> list[str]:
        """The evidence as debaters read it. Reads the passage."""

    def round_lines(self, state: DebateState, rounds_done: int) -> list[str]:
        """What follows from a round for all to see."""
        return []

    def request_lines(self, state: DebateState, debater: int) -> list[str]:
        """What a debater needs to read last."""
        return []

    # Evidence.

    def units(self, question: Question) -> Sequence[str]:
        """The parts of a passage within which a quote must lie. Reads the passage."""
        return ()

    def options(self, state: DebateState, debater: int) -> tuple[Item, ...]:
        """Every command open to a debater; sources without words only."""
        return ()

    def parse(self, state: DebateState, debater: int, text: str, select: Select) -> Item:
        """The command that a debater gives; sources without words only.

        Raises:
            IllegalMove: if it gives none that is open.
        """
        raise NotImplementedError

    def write(self, item: Item) -> str:
        """The command of an item."""
        raise NotImplementedError

    def state_item(self, state: DebateState, debater: int, item: Item) -> Part:
        """What the environment tells of an item. Reads the passage."""
        raise NotImplementedError

    def shown_items(self, question: Question) -> tuple[Item, ...]:
        """Everything that a judge alone may be shown, in order. Reads the passage."""
        return ()

    def show_item(self, question: Question, item: Item) -> Part:
        """What a judge alone is shown. Reads the passage."""
        raise NotImplementedError

    def last_check(self, state: DebateState) -> tuple[Part, ...]:
        """What the environment looks up for the judge after the last speech. Reads the passage."""
        return ()

    # Judging.

    def course(self, state: DebateState) -> dict[str, Any]:
        """What the judge's record holds besides the transcript, of JSON types. Does not read the passage."""
        return {}

    def verdict(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The rule judge: from the judge's record to {"p": [p0, p1], "choice": 0, 1 or None, "reason": str}."""
        raise NotImplementedError

    def used_luck(self, state: DebateState) -> int:
        """How many bits of `luck` can be read off what the players have been told."""
        return 0

    # For the conformance suite.

    def hidden_twin(self, state: DebateState, chance: Chance) -> Question:
        """Another question that a judge cannot tell from this one after what has been said. Reads the passage."""
        return state.question


class RevealSource(Source):
    """A source whose evidence is items, each for or against A by a fixed weight; debaters reveal one a turn."""

    has_words = False
    form: ClassVar[str]
    """How the command is written, for hints."""

    @abstractmethod
    def items(self, question: Question) -> tuple[Item, ...]:
        """Every item that may be revealed. Reads the passage."""

    @abstractmethod
    def weight(self, question: Question, item: Item) -> float:
        """How far the rule judge moves towards A when it sees the item. Reads the passage."""

    @abstractmethod
    def limits(self, question: Question) -> tuple[tuple[str, int, int], ...]:
        """Name, least and greatest value of each number of an item."""

    def revealed(self, state: DebateState, debater: int | None = None) -> set[Item]:
        """Items that were revealed, by anybody or so far as a debater has heard."""
        speeches = state.speeches
        if debater is not None and not state.opposed and len(set(state.sides)) > 1:
            speeches = state.by(debater)
        width = len(self.limits(state.question))
        return {part.data[:width] for speech in speeches for part in speech.parts if part.kind == "evidence"}

    def options(self, state: DebateState, debater: int) -> tuple[Item, ...]:
        done = self.revealed(state, debater)
        return tuple(item for item in self.items(state.question) if item not in done)

    def parse(self, state: DebateState, debater: int, text: str, select: Select) -> Item:
        hint = f"Write {self.form}."
        limits = self.limits(state.question)
        command = extract_command(
            text, ("reveal",), select=select, hint=hint, meaning=lambda each: self._item_named(each.args, limits, hint)
        )
        item = self._item_named(command.args, limits, hint)
        if item in self.revealed(state, debater):
            raise IllegalMove("duplicate", f"{self.write(item)} was revealed before. Reveal something else.")
        if item not in self.items(state.question):
            raise IllegalMove("illegal_now", f"{self.write(item)} shows nothing. {hint}")
        return item

    def _item_named(self, args: str, limits: tuple[tuple[str, int, int], ...], hint: str) -> Item:
        numbers = args.replace(",", " ").split()
        if len(numbers) != len(limits):
            raise IllegalMove("bad_args", f"[reveal] takes {' and '.join(name for name, _, _ in limits)}. {hint}")
        return tuple(
            parse_integer(number, low, high, what=f"The {name}")
            for number, (name, low, high) in zip(numbers, limits, strict=True)
        )

    def write(self, item: Item) -> str:
        return f"[reveal: {','.join(map(str, item))}]"

    def state_item(self, state: DebateState, debater: int, item: Item) -> Part:
        return self.show_item(state.question, item)

    def shown_items(self, question: Question) -> tuple[Item, ...]:
        return self.items(question)


def evidence_of(record: Mapping[str, Any]) -> list[tuple[int, ...]]:
    """The data of all evidence in a judge's record, each once, in order."""
    parts = [part for entry in record["transcript"] for part in entry["parts"]] + list(record["evidence"])
    return list(dict.fromkeys(tuple(part["data"]) for part in parts if part["kind"] == "evidence"))


def claims(*, p: float, choice: int | None, reason: str) -> dict[str, Any]:
    """A verdict from the probability of A."""
    return {"p": [p, 1.0 - p], "choice": choice, "reason": reason}
