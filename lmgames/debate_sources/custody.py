"""Custody: people carry a thing from room to room; where is it at the end? Debaters quote sentences of the story.

The wrong answer is a room where the thing was before. The rule judge runs the sentences it is shown, in the story's order:
who takes or drops the thing says where it is, and whoever holds it carries it along; a person that joins another is where
that one was last seen. So a single sentence can prove a room, a chain overrules it, and a later chain an earlier one.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lmgames.chance import Chance
from lmgames.debate_sources.source import DebateState, Item, Part, Question, Source, claims

PEOPLE = ("Ann", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gwen", "Hugo", "Ida", "Jon")
ROOMS = ("attic", "cellar", "garden", "hall", "kitchen", "office", "stable", "study")
THINGS = ("key", "coin", "map", "ring", "book", "lamp")
_GOES = re.compile(r"(?P<who>\w+) goes to the (?P<room>\w+)")
_JOINS = re.compile(r"(?P<who>\w+) joins (?P<other>\w+)")
_HANDLES = re.compile(r"(?P<who>\w+) (?P<does>takes|drops) the \w+ in the (?P<room>\w+)")
_NUMBER = re.compile(r"(?:(\d+)\. )?(.*?)\.?$")


@dataclass
class World:
    """Where everybody and the thing are, as far as the sentences told so far say."""

    rooms: dict[str, str | None] = field(default_factory=dict)
    holder: str | None = None
    thing: str | None = None

    def tell(self, sentence: str) -> None:
        """Takes in one sentence, without its number; others than the story's forms say nothing."""
        if match := _GOES.fullmatch(sentence):
            self._moves(match["who"], match["room"])
        elif match := _JOINS.fullmatch(sentence):
            self._moves(match["who"], self.rooms.get(match["other"]))
        elif match := _HANDLES.fullmatch(sentence):
            self.rooms[match["who"]] = self.thing = match["room"]
            self.holder = match["who"] if match["does"] == "takes" else None

    def _moves(self, who: str, room: str | None) -> None:
        self.rooms[who] = room
        if self.holder == who:
            self.thing = room


def implied_room(sentences: Iterable[str]) -> str | None:
    """Where the thing is after these sentences; None if they do not say."""
    world = World()
    for sentence in sentences:
        world.tell(sentence)
    return world.thing


@dataclass(frozen=True)
class Custody(Source):
    """Stories.

    Args:
        size: events of a story, one sentence each.
        distance: how many rooms back the wrong answer is: 1 for the room where the thing was last before.
        people, rooms: how many there are.
    """

    size: int = 8
    distance: int = 1
    people: int = 2
    rooms: int = 4

    name = "custody"
    has_words = True
    numbered = True
    default_rounds = 2
    default_quotes = 2

    def __post_init__(self) -> None:
        if not 3 <= self.size <= 200:
            raise ValueError(f"size={self.size}: a story has 3 to 200 events")
        if not 1 <= self.distance < self.rooms or self.size < 3 * self.distance:
            raise ValueError(f"distance={self.distance}: too far for {self.rooms} rooms and {self.size} events")
        if not 2 <= self.people <= len(PEOPLE) or not 2 <= self.rooms <= len(ROOMS):
            raise ValueError(f"people={self.people}, rooms={self.rooms}: a story has 2 to 10 people and 2 to 8 rooms")

    def generate(self, chance: Chance) -> dict[str, Any]:
        attempt = 0
        while True:
            sentences, path, thing = self._story(chance.derive("story", attempt))
            if len(path) > self.distance:
                break
            attempt += 1
        return {
            "id": f"custody-{chance.word('id') & 0xFFFFFFFF:08x}",
            "question": f"Where is the {thing} at the end of the story?",
            "answers": [f"in the {path[-1]}", f"in the {path[-1 - self.distance]}"],
            "correct": 0,
            "passage": sentences,
            "meta": {"rooms_of_the_thing": path},
        }

    def _story(self, chance: Chance) -> tuple[list[str], list[str], str]:
        """Sentences, the rooms of the thing from first to last (each at its last visit), and the thing."""
        people = chance.sample(PEOPLE, self.people, "people")
        rooms = chance.sample(ROOMS, self.rooms, "rooms")
        thing = chance.choice(THINGS, "thing")
        world = World(thing=chance.choice(rooms, "first room"))
        sentences: list[str] = []
        path: list[str] = []
        for event in range(self.size):
            sentences.append(self._event(chance, event, world, people, rooms, thing))
            world.tell(sentences[-1])
            carried = path or "takes" in sentences[-1]  # before, the story has not told where the thing is
            if carried and path[-1:] != [world.thing]:
                path = [room for room in path if room != world.thing] + [str(world.thing)]
        return [f"{number}. {sentence}." for number, sentence in enumerate(sentences, 1)], path, thing

    def _event(
        self, chance: Chance, event: int, world: World, people: Sequence[str], rooms: Sequence[str], thing: str
    ) -> str:
        """What happens next. Nobody has a place until the story has told one."""
        who = chance.choice(people, "who", event)
        here = world.rooms.get(who)
        if here is not None and world.holder is None and here == world.thing and chance.integer("takes", event, high=9):
            return f"{who} takes the {thing} in the {here}"
        if world.holder == who and chance.integer("drops", event, high=1):
            return f"{who} drops the {thing} in the {here}"
        elsewhere = [other for other in people if world.rooms.get(other) not in (None, here)]
        if elsewhere and not chance.integer("joins", event, high=2):
            return f"{who} joins {chance.choice(elsewhere, 'whom', event)}"
        return f"{who} goes to the {chance.choice([room for room in rooms if room != here], 'where', event)}"

    def read_passage(self, passage: Any) -> tuple[str, ...]:
        if not isinstance(passage, list | tuple) or not passage or not all(isinstance(line, str) for line in passage):
            raise ValueError("the passage of a custody story is a list of sentences")
        for number, sentence in enumerate(passage, 1):
            if not sentence.startswith(f"{number}. "):
                raise ValueError(f"sentence {number} of a custody story must start with '{number}. ', not {sentence[:20]!r}")
        return tuple(passage)

    def truth(self, question: Question) -> int | None:
        room = implied_room(event_of(sentence) for sentence in question.passage)
        answers = [room_of(answer) for answer in question.answers]
        return answers.index(room) if room in answers else None

    def rules(self, rounds: int, quotes: int | None, mode: str) -> str:
        limit = (
            "" if quotes is None else f" Only your first {quotes} valid quotes count." if quotes > 1 else " Only one counts."
        )
        turns = "once" if rounds == 1 else f"{rounds} times"
        return (
            "The debaters have read the story, the judge has not. Speak to the judge in your own words and quote the story: "
            "write [quote: N] for its sentence N, or the sentence's words between <quote> and </quote>. The moderator checks "
            f"every quote.{limit} Each debater speaks {turns}."
        )

    def judging(self, mode: str) -> str:
        return (
            "The judge reads only the checked quotes, from both sides, in the story's order, and works out from whole "
            "sentences where the thing ends up. If that is neither answer, it cannot decide."
        )

    def passage_lines(self, question: Question) -> list[str]:
        return ["The story: " + " ".join(question.passage)]

    def units(self, question: Question) -> Sequence[str]:
        return question.passage

    def shown_items(self, question: Question) -> tuple[Item, ...]:
        return tuple((number,) for number in range(1, len(question.passage) + 1))

    def show_item(self, question: Question, item: Item) -> Part:
        sentence = question.passage[item[0] - 1]
        return Part("quote", sentence, "valid", item[0])

    def verdict(self, record: Mapping[str, Any]) -> dict[str, Any]:
        parts = [part for entry in record["transcript"] for part in entry["parts"]] + list(record["evidence"])
        quotes = {(part["place"], part["text"]) for part in parts if part["kind"] == "quote" and part["status"] == "valid"}
        room = implied_room(event_of(text) for _, text in sorted(quotes))
        return self.verdict_on(room, record["answers"])

    def verdict_on(self, room: str | None, answers: Sequence[str]) -> dict[str, Any]:
        """The verdict when the quotes imply `room`."""
        rooms = [room_of(answer) for answer in answers]
        if room not in rooms:
            place = "an unknown place" if room is None else f"the {room}, which is no answer"
            return claims(p=0.5, choice=None, reason=f"the quotes lead to {place}")
        choice = rooms.index(room)
        return claims(p=1.0 - choice, choice=choice, reason=f"the quotes lead to the {room}")

    def hidden_twin(self, state: DebateState, chance: Chance) -> Question:
        """A story with the same sentences where any was quoted, and any others and any truth elsewhere."""
        question = state.question
        parts = [part for speech in state.speeches for part in speech.parts] + list(state.shown)
        known = {part.place for part in parts if part.place is not None}
        sentences = tuple(
            sentence if number in known else f"{number}. {self._news(chance, number)}."
            for number, sentence in enumerate(question.passage, 1)
        )
        return Question(question.id, question.text, question.answers, chance.integer("twin truth", high=1), sentences)

    def _news(self, chance: Chance, number: int) -> str:
        return f"{chance.choice(PEOPLE, 'twin', number)} goes to the {chance.choice(ROOMS, 'twin to', number)}"


def event_of(sentence: str) -> str:
    """A sentence without its number and full stop."""
    match = _NUMBER.fullmatch(sentence)
    return match[2] if match else sentence


def room_of(answer: str) -> str:
    """The room of an answer such as "in the attic"."""
    return answer.rsplit(" ", 1)[-1]
