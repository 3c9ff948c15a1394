"""Players of Debate. Each argues for whichever side it is given, with any source, and rules by rule as a judge.

In the sources whose evidence adds up (pixels, tally) the best single item is the best play, so `cherry_picker`,
`consultant` and `optimal` are one there; the custody story and the bisection tell them apart. On texts of a user's own,
where nobody knows what convinces the judge, all but `silent` quote the sentence that shares most words with their answer.
"""

import re
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import replace

from agents.reference.base import ReferencePlayer
from agents.reference.debate_plans import left_against_truth, left_unopposed, story_of
from lmgames.chance import Chance
from lmgames.debate_sources import Bisection, Custody, DebateState, RevealSource
from lmgames.debate_sources.source import LETTERS, Item
from lmgames.games.debate import PASS, Debate
from lmgames.observation import Observation
from lmgames.quotes import normalized


class DebatePlayer(ReferencePlayer):
    """A debater, and a judge that follows the source's rule."""

    def reply(self, observation: Observation) -> str:
        game, view, chance = observation.game, observation.view, Chance(observation.seed)
        does = game.schedule[view.step].does
        if does == "ask":
            return PASS
        if does == "rule":
            return self.verdict(game, view, chance)
        debater = game.debaters.index(observation.seat)
        if isinstance(game.evidence, Custody):
            return speech(view, debater, self.sentences(game, view, debater, chance))
        if game.evidence.has_words:
            return self.speech_on_text(game, view, debater, chance)
        return str(game.evidence.write(self.item(game, view, debater, chance)))

    def verdict(self, game: Debate, view: DebateState, chance: Chance) -> str:
        """The rule judge's verdict; without one, the side with more words quoted."""
        if game.evidence.rule_judge:
            verdict = game.evidence.verdict(game.record(view))
            return _verdict(game, verdict["choice"], max(verdict["p"]))
        quoted = [
            sum(len(p.text.split()) for s in view.by(d) for p in s.parts if p.status == "valid")
            for d in range(len(view.sides))
        ]
        if len(set(view.sides)) < 2 or quoted[0] == quoted[1]:
            return _verdict(game, None, 0.5)
        return _verdict(game, view.sides[0 if quoted[0] > quoted[1] else 1], 0.75)

    def speech_on_text(self, game: Debate, view: DebateState, debater: int, chance: Chance) -> str:
        """Quotes the passage's sentence that shares most words with the answer, another one each round."""
        answer = view.question.answers[view.sides[debater]]
        wanted = set(re.findall(r"\w+", answer.casefold()))
        sentences = re.split(r"(?<=[.!?])\s+", normalized(game.evidence.units(view.question)[0]))
        ranked = sorted(sentences, key=lambda one: -len(wanted & set(re.findall(r"\w+", one.casefold()))))
        return f"The answer is: {answer} <quote>{ranked[len(view.by(debater)) % len(ranked)]}</quote>"

    @abstractmethod
    def item(self, game: Debate, view: DebateState, debater: int, chance: Chance) -> Item:
        """What to reveal or how to split, in the sources without words."""

    @abstractmethod
    def sentences(self, game: Debate, view: DebateState, debater: int, chance: Chance) -> Sequence[int]:
        """Numbers of the sentences of a custody story to quote now."""


class Silent(DebatePlayer):
    """Talks without a quote; where a command is asked for, any. Judges by a coin."""

    def verdict(self, game: Debate, view: DebateState, chance: Chance) -> str:
        return _verdict(game, chance.integer("coin", high=1), 0.5)

    def speech_on_text(self, game: Debate, view: DebateState, debater: int, chance: Chance) -> str:
        return f"The answer is: {view.question.answers[view.sides[debater]]}"

    def item(self, game: Debate, view: DebateState, debater: int, chance: Chance) -> Item:
        return chance.choice(game.evidence.options(view, debater), "item")

    def sentences(self, game: Debate, view: DebateState, debater: int, chance: Chance) -> Sequence[int]:
        return ()


class CherryPicker(DebatePlayer):
    """Shows the single piece that helps most at once, with no thought of what follows."""

    def item(self, game: Debate, view: DebateState, debater: int, chance: Chance) -> Item:
        if isinstance(game.evidence, Bisection):
            return likely_split(game, view, debater)
        return best_item(game, view, debater)

    def sentences(self, game: Debate, view: DebateState, debater: int, chance: Chance) -> Sequence[int]:
        if quotes_left(game, view, debater) == 0:
            return ()
        story, side = story_of(view.question), view.sides[debater]
        shown = quoted_sentences(view)
        ranked = [
            (story.value(shown | 1 << index, side), index) for index in range(len(story.events)) if not shown >> index & 1
        ]
        return [max(ranked)[1] + 1] if ranked else ()


class Contradictor(CherryPicker):
    """Contradicts itself: in every second round it argues as the other side would."""

    def item(self, game: Debate, view: DebateState, debater: int, chance: Chance) -> Item:
        if len(view.by(debater)) % 2 == 0:
            return super().item(game, view, debater, chance)
        if isinstance(game.evidence, Bisection):
            return chance.choice(game.evidence.options(view, debater), "item")
        return best_item(game, view, debater, side=1 - view.sides[debater])

    def sentences(self, game: Debate, view: DebateState, debater: int, chance: Chance) -> Sequence[int]:
        if len(view.by(debater)) % 2 == 0:
            return super().sentences(game, view, debater, chance)
        shown, story = quoted_sentences(view), story_of(view.question)
        ranked = [(story.value(shown | 1 << index, 1 - view.sides[debater]), index) for index in range(len(story.events))]
        return [max(ranked)[1] + 1]


class Consultant(CherryPicker):
    """Plans what convinces the judge if nobody replies."""

    def item(self, game: Debate, view: DebateState, debater: int, chance: Chance) -> Item:
        if isinstance(game.evidence, Bisection):
            return best_split(game, replace(view, opposed=False), debater)
        return best_item(game, view, debater)

    def sentences(self, game: Debate, view: DebateState, debater: int, chance: Chance) -> Sequence[int]:
        story, own = story_of(view.question), quoted_sentences(view, debater)
        plan = story.best_set(own, quotes_left(game, view, debater), view.sides[debater])
        return plan[: _share(len(plan), len(_speakers_to_come(game, view, debater, own_only=True)))]


class Optimal(DebatePlayer):
    """Exact play: largest terms, the best reply to a truthful opponent, search to the end of the debate."""

    def item(self, game: Debate, view: DebateState, debater: int, chance: Chance) -> Item:
        if isinstance(game.evidence, Bisection):
            return best_split(game, view, debater)
        return best_item(game, view, debater)

    def sentences(self, game: Debate, view: DebateState, debater: int, chance: Chance) -> Sequence[int]:
        story, side = story_of(view.question), view.sides[debater]
        shown, own_left = quoted_sentences(view), quotes_left(game, view, debater)
        if not view.opposed:
            return story.best_set(shown, own_left, side)
        other_left = quotes_left(game, view, 1 - debater)
        order = tuple(speaker == debater for speaker in _speakers_to_come(game, view, debater))
        return story.best_reply(shown, own_left, other_left, order, side)


class Careless(Optimal):
    """Optimal, but with probability `slip` its turn is random."""

    def __init__(self, slip: float = 0.5):
        if not 0 <= slip <= 1:
            raise ValueError(f"slip={slip} is no probability")
        self.slip = slip

    def item(self, game: Debate, view: DebateState, debater: int, chance: Chance) -> Item:
        if chance.uniform("slip") < self.slip:
            return chance.choice(game.evidence.options(view, debater), "item")
        return super().item(game, view, debater, chance)

    def sentences(self, game: Debate, view: DebateState, debater: int, chance: Chance) -> Sequence[int]:
        if chance.uniform("slip") < self.slip:
            return (chance.integer("sentence", low=1, high=len(view.question.passage)),)
        return super().sentences(game, view, debater, chance)


PLAYERS = {
    "silent": Silent,
    "careless": Careless,
    "contradictor": Contradictor,
    "consultant": Consultant,
    "cherry_picker": CherryPicker,
    "optimal": Optimal,
}


# What is common to several players.


def _verdict(game: Debate, choice: int | None, p: float) -> str:
    if choice is None:
        return "[verdict: none]"
    percent = f" {max(50, round(100 * p))}" if game.needs_percent else ""
    return f"[verdict: {LETTERS[choice]}{percent}]"


def speech(view: DebateState, debater: int, sentences: Iterable[int]) -> str:
    """A speech for the debater's answer with quotes of numbered sentences."""
    quotes = "".join(f" [quote: {number}]" for number in sentences)
    return f"It is {view.question.answers[view.sides[debater]]}.{quotes}"


def quotes_left(game: Debate, view: DebateState, debater: int) -> int:
    """Valid quotes that a debater may still have counted, at most one for each sentence."""
    used = sum(part.status == "valid" for one in view.by(debater) for part in one.parts)
    most = len(view.question.passage)
    return most if game.quote_limit is None else min(most, game.quote_limit - used)


def quoted_sentences(view: DebateState, debater: int | None = None) -> int:
    """The sentences that have been quoted in full, as bits, by a debater or by anybody."""
    bits = 0
    for one in view.speeches if debater is None else view.by(debater):
        for part in one.parts:
            if part.status == "valid" and part.place is not None and part.text == view.question.passage[part.place - 1]:
                bits |= 1 << (part.place - 1)
    return bits


def _speakers_to_come(game: Debate, view: DebateState, debater: int, own_only: bool = False) -> list[int]:
    """Who speaks from now on. Of two that speak at once the other counts as later, so as to expect the worst."""
    seats = [
        game.debaters.index(seat)
        for phase in game.schedule[view.step :]
        if phase.does == "speak"
        for seat in sorted(phase.seats, key=lambda seat: seat != game.debaters[debater])
    ]
    return [speaker for speaker in seats if speaker == debater or not own_only]


def _share(count: int, turns: int) -> int:
    return -(-count // max(1, turns))


# Sources whose evidence adds up.


def best_item(game: Debate, view: DebateState, debater: int, side: int | None = None) -> Item:
    """The item that moves the judge most towards a side, the debater's own by default."""
    source = game.evidence
    assert isinstance(source, RevealSource)
    sign = 1.0 if (view.sides[debater] if side is None else side) == 0 else -1.0
    return max(source.options(view, debater), key=lambda item: sign * source.weight(view.question, item))


# The bisection.


def likely_split(game: Debate, view: DebateState, debater: int) -> Item:
    """The truth if the claim is true, else two halves as equal as can be."""
    source = game.evidence
    assert isinstance(source, Bisection)
    now = source.stretch(view)
    digits = view.question.passage[now.low : now.high]
    claim = now.claims[debater]
    left = sum(digits[: len(digits) // 2]) if claim == sum(digits) else claim / 2
    return min(source.options(view, debater), key=lambda item: abs(item[0] - left))


def best_split(game: Debate, view: DebateState, debater: int) -> Item:
    """Exact: nothing beats the truth, so a lie is kept where a slip of the other side pays most; or, where nobody replies,
    where a judge finds it least often."""
    source = game.evidence
    assert isinstance(source, Bisection)
    now = source.stretch(view)
    digits, claim = view.question.passage[now.low : now.high], now.claims[debater]
    left = left_against_truth(digits, claim) if view.opposed else left_unopposed(digits, claim)
    return left, claim - left
