"""Adversarial Taboo: one player knows a word and tries to make the other say it; the other tries to find out what it is.

Seats: `attacker_0` knows the word and speaks first; `defender_0` does not know it. Roles: `attacker`, `defender`.
Hidden from the defender until the end: the word, its forms, and with `secret_pool` the list it was drawn from.
Returns: +1 and -1, a tie 0; zero-sum unless `tie_reward` or `turn_cost` is set.
Reference: under perfect play the game is a tie, since either side can say nothing of content. A blind guess is right with
probability 1 / number of words.
Source: Cheng et al., "Self-playing Adversarial Language Game Enhances LLM Reasoning" (SPAG, 2024).
Versions: v0.
"""

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Literal

from lmgames.chance import Chance
from lmgames.game import Game, Payoffs, check_choice, check_count, check_number, check_pair
from lmgames.parsing import IllegalMove, find_commands
from lmgames.text import Line, Said
from lmgames.words import (
    BANK_VERSION,
    Concept,
    Match,
    Split,
    bank_sha256,
    concept,
    inflections,
    is_in_bank,
    load_bank,
    tokens,
    true_sentences,
    utters,
)

ATTACKER, DEFENDER = "attacker_0", "defender_0"
MAX_GUESS_TOKENS = 4
Ending = Literal[
    "",  # not over
    "right_guess",
    "wrong_guess",
    "malformed_guess",
    "ambiguous_guess",
    "defender_said_it",
    "attacker_said_it",
    "attacker_guessed",
    "turn_limit",
]
DEFENDER_LOSES = ("wrong_guess", "malformed_guess", "ambiguous_guess", "defender_said_it")
ATTACKER_BREAKS_RULES = ("attacker_said_it", "attacker_guessed")

RULES = """You play Adversarial Taboo. The attacker knows a secret word; the defender does not.{pool} They take turns to \
speak, the attacker first, {rounds} {messages} each, {length}read by both.
The defender has one guess, written [guess: ...] or announced as: I know the word! It is ... A right guess wins, a \
wrong one loses.{malformed} The defender also loses by saying the secret word anywhere outside a guess.
{violation} {forms}{disguise} If nobody has won after {rounds} {messages} each, it is a tie.
A win pays +1, a loss -1, a tie {tie}.{cost}"""
FORMS = {
    "exact": "Only the word itself counts, not its other forms.",
    "inflect": "Any form of the word counts, such as its plural.",
    "stem": "Any form of the word counts, and any other word with its stem.",
    "substring": "Its letters inside a longer word count, too.",
}
RESULTS = {
    "right_guess": "defender_0 guessed the word.",
    "wrong_guess": "defender_0 guessed wrong.",
    "malformed_guess": "defender_0 announced a guess without a readable word.",
    "ambiguous_guess": "defender_0 guessed two different words.",
    "defender_said_it": "defender_0 said the word.",
    "attacker_said_it": "attacker_0 said the word.",
    "attacker_guessed": "attacker_0 announced a guess.",
    "turn_limit": "All messages are used up.",
}
NOTHING = "I have nothing to say."
SMALL_TALK = ("Tell me more about it.", "Please go on.", "I am listening to you.", "What else can you say?", "I see, go on.")


@dataclass(frozen=True, slots=True)
class TabooState:
    """A conversation.

    Args:
        target: the secret word; None in the defender's view before the end.
        hint: what the defender is told about it; "" for nothing.
        said: messages in order, the attacker's first.
        ending: why the game is over; "" while it is not.
    """

    target: str | None
    hint: str = ""
    said: tuple[str, ...] = ()
    ending: Ending = ""


@dataclass(frozen=True, kw_only=True)
class AdversarialTaboo(Game[TabooState, str]):
    """The rules. A move is the public text of a message.

    Args:
        rounds: messages of each player; a guess in the last one counts.
        words: "bank", or your own words, each of one to three tokens.
        category: families of the bank to draw from; () for all. For `words="bank"` only, as are the next two.
        frequency: lowest and highest frequency grade: 1 less common, 2 common, 3 everyday.
        split: which families of the bank: "train", "eval" or "all".
        match: what counts as saying the word, see `lmgames.words.utters`. Guesses are compared by inflection in any case.
        derivation: whether words made from it count, too: banker, happiness.
        anti_evasion: whether the word in disguise counts: spelled out, in look-alike letters, with digits, reversed.
        attacker_violation: an attacker who says the word or announces a guess loses ("lose"), or the game is void and pays
            nothing ("void", as SPAG's code has it).
        malformed_guess: an announcement without a readable word is a wrong guess ("wrong") or is refused ("invalid").
        tie_reward: paid to both for a tie; below 0 it makes talking past each other costly.
        turn_cost: taken from the speaker for each message.
        hint: what the defender is told: "none", the word's "category", or its "length".
        reward_shape: how `facts["turn_weights"]` spreads a seat's result over its turns: all on the last ("terminal"), or by
            SPAG's discount ("spag_decay"). Returns are the same for both.
        decay: the discount g of "spag_decay", 0 < g < 1.
        min_words: shortest message, words; guesses may be shorter.
        secret_pool: whether the number of possible words is kept from the players.
    """

    rounds: int = 5
    words: Literal["bank"] | tuple[str, ...] = "bank"
    category: str | tuple[str, ...] = ()
    frequency: tuple[int, int] = (1, 3)
    split: Split = "all"
    match: Match = "inflect"
    derivation: bool = False
    anti_evasion: bool = True
    attacker_violation: Literal["lose", "void"] = "lose"
    malformed_guess: Literal["wrong", "invalid"] = "wrong"
    tie_reward: float = 0.0
    turn_cost: float = 0.0
    hint: Literal["none", "category", "length"] = "none"
    reward_shape: Literal["terminal", "spag_decay"] = "terminal"
    decay: float = 0.8
    min_words: int = 1
    secret_pool: bool = False

    name: ClassVar[str] = "AdversarialTaboo"
    roles: ClassVar[tuple[str, ...]] = ("attacker", "defender")
    sources: ClassVar[tuple[str, ...]] = (
        "Cheng et al. 2024, Self-playing Adversarial Language Game Enhances LLM Reasoning (SPAG)",
    )
    words_are_free: ClassVar[bool] = True
    seats = (ATTACKER, DEFENDER)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("rounds", self.rounds, 1, 1000)
        check_choice("split", self.split, ("all", "train", "eval"))
        check_choice("match", self.match, tuple(FORMS))
        check_choice("attacker_violation", self.attacker_violation, ("lose", "void"))
        check_choice("malformed_guess", self.malformed_guess, ("wrong", "invalid"))
        check_choice("hint", self.hint, ("none", "category", "length"))
        check_choice("reward_shape", self.reward_shape, ("terminal", "spag_decay"))
        check_count("min_words", self.min_words, 0, 100)
        for flag in ("derivation", "anti_evasion", "secret_pool"):
            check_choice(flag, getattr(self, flag), (True, False))
        check_number("tie_reward", self.tie_reward, -1, 1)
        check_number("turn_cost", self.turn_cost, 0, 1)
        check_number("decay", self.decay, 0, 1)
        if self.decay in (0, 1):
            raise ValueError(f"decay={self.decay!r} must be between 0 and 1")
        self._check_words()

    def _check_words(self) -> None:
        check_pair("frequency", self.frequency, 1, 3)
        if not isinstance(self.category, str | tuple):
            raise ValueError(f"category={self.category!r} must be the name of a family, or a tuple of them")
        if self.words == "bank":
            for name in self._categories():
                check_choice("category", name, tuple(family.name for family in load_bank()))
            if not self.pool:
                raise ValueError("no word of the bank is left by category, frequency and split together")
            return
        if not isinstance(self.words, tuple) or not all(isinstance(word, str) for word in self.words) or not self.words:
            raise ValueError(f"words={self.words!r} must be 'bank' or a tuple of words")
        if self.category or self.frequency != (1, 3) or self.split != "all":
            raise ValueError("category, frequency and split choose from the bank; they do not go with words of your own")
        if self.hint == "category" and not all(is_in_bank(word) for word in self.words):
            raise ValueError("hint='category' needs words of the bank; other words have no category")
        check_own_words(self.words, self._own_texts())

    def _own_texts(self) -> tuple[str, ...]:
        """What we say ourselves: a secret word in it would be said by the rules."""
        told = f"Hint: {self.hint_for(self.pool[0])}" if self.hint == "length" else ""  # categories are of the bank
        return (self.rules(TabooState(None), DEFENDER), told, NOTHING, *SMALL_TALK, *RESULTS.values())

    def _categories(self) -> tuple[str, ...]:
        return (self.category,) if isinstance(self.category, str) else tuple(self.category)

    @property
    def pool(self) -> tuple[str, ...]:
        """Every word that can be dealt, each equally likely."""
        return tuple(self.words) if self.words != "bank" else _bank_words(self._categories(), self.frequency, self.split)

    @property
    def payoffs(self) -> Payoffs:
        return "zero_sum" if self.tie_reward == 0 and self.turn_cost == 0 else "general_sum"

    @property
    def return_bounds(self) -> tuple[float, float]:
        return min(-1.0, self.tie_reward) - self.rounds * self.turn_cost, 1.0

    @property
    def max_turns(self) -> int:
        return 2 * self.rounds

    # Deals.

    def deal(self, chance: Chance) -> dict[str, str]:
        """{"word": the target, "list": which list it is from, "sha256": hash of that list}."""
        return self._instance(chance.choice(self.pool, "word"))

    def instances(self) -> Sequence[dict[str, str]]:
        return [self._instance(word) for word in self.pool]

    def _instance(self, word: str) -> dict[str, str]:
        name, sha256 = self._list_identity()
        return {"word": word, "list": name, "sha256": sha256}

    def _list_identity(self) -> tuple[str, str]:
        if self.words == "bank":
            return f"bank-{BANK_VERSION}", bank_sha256()
        return "own", hashlib.sha256("\n".join(self.words).encode()).hexdigest()

    def start(self, instance: Any) -> TabooState:
        """Takes a dealt instance, or {"word": ...} alone."""
        if not isinstance(instance, Mapping) or set(instance) not in ({"word"}, {"word", "list", "sha256"}):
            raise ValueError(
                f'an instance is {{"word": ..., "list": ..., "sha256": ...}} or {{"word": ...}}, not {instance!r}'
            )
        if instance["word"] not in self.pool:
            raise ValueError(f"word={instance['word']!r} is none of the words of this game")
        if "list" in instance and (instance["list"], instance["sha256"]) != self._list_identity():
            raise ValueError(
                f"the instance is from another list of words: {instance['list']!r} with hash {instance['sha256']!r}"
            )
        return TabooState(target=str(instance["word"]), hint=self.hint_for(str(instance["word"])))

    def hint_for(self, word: str) -> str:
        """What the defender would be told about a word."""
        if self.hint == "none":
            return ""
        if self.hint == "category":
            return f"The category is: {concept(word).family}."
        return f"The word has {sum(map(len, tokens(word)))} letters."

    # Play.

    def to_move(self, state: TabooState) -> tuple[str, ...]:
        return () if state.ending else (self.seats[len(state.said) % 2],)

    def apply(self, state: TabooState, moves: Mapping[str, str]) -> TabooState:
        ((seat, message),) = moves.items()
        assert state.target is not None
        ending = self._attack(state.target, message) if seat == ATTACKER else self._defence(state.target, message)
        said = (*state.said, message)
        if not ending and len(said) == self.max_turns:
            ending = "turn_limit"
        return TabooState(state.target, state.hint, said, ending)

    def _attack(self, target: str, message: str) -> Ending:
        if find_guesses(message) is not None:
            return "attacker_guessed"
        return "attacker_said_it" if self.says(target, message) else ""

    def _defence(self, target: str, message: str) -> Ending:
        guesses = find_guesses(message)
        if guesses is None:
            return "defender_said_it" if self.says(target, message) else ""
        if not guesses:
            return "malformed_guess"
        if self.select == "unique" and any(not _same_word(guesses[0], guess) for guess in guesses[1:]):
            return "ambiguous_guess"
        guess = guesses[0] if self.select == "first" else guesses[-1]
        return "right_guess" if is_form_of(guess, target) else "wrong_guess"

    def says(self, target: str, message: str) -> bool:
        """Whether a message says the target, under these options."""
        return utters(target, message, match=self.match, derivation=self.derivation, anti_evasion=self.anti_evasion)

    def returns(self, state: TabooState) -> dict[str, float]:
        if state.ending == "turn_limit":
            result = dict.fromkeys(self.seats, float(self.tie_reward))
        else:
            winner = self.winner(state)
            result = {seat: 0.0 if winner is None else 1.0 if seat == winner else -1.0 for seat in self.seats}
        return self._less_costs(state, result)

    def _less_costs(self, state: TabooState, result: dict[str, float]) -> dict[str, float]:
        return {seat: paid - self.turn_cost * len(state.said[index::2]) for index, (seat, paid) in enumerate(result.items())}

    def winner(self, state: TabooState) -> str | None:
        """The seat that has won; None for a tie, a void game, or one that goes on."""
        if state.ending in DEFENDER_LOSES:
            return ATTACKER
        if state.ending == "right_guess" or (state.ending in ATTACKER_BREAKS_RULES and self.attacker_violation == "lose"):
            return DEFENDER
        return None

    def forfeit_returns(self, state: TabooState, seat: str) -> dict[str, float]:
        """-1 to the seat that forfeits, +1 to the other, less what their messages have cost."""
        return self._less_costs(state, {other: -1.0 if other == seat else 1.0 for other in self.seats})

    def facts(self, state: TabooState) -> dict[str, Any]:
        guesses = find_guesses(state.said[-1]) if state.said else None
        return {
            "winner": self.winner(state),
            "reason": state.ending,
            "tie": state.ending == "turn_limit",
            "void": state.ending in ATTACKER_BREAKS_RULES and self.attacker_violation == "void",
            "turns": len(state.said),
            "target": state.target,
            "guess": " ".join(guesses[-1]) if guesses else None,
            "turn_weights": {seat: self.turn_weights(len(state.said[index::2])) for index, seat in enumerate(self.seats)},
        }

    def hidden_twin(self, state: TabooState, seat: str, chance: Chance) -> TabooState:
        """Another target with the same hint that no message so far has said; the attacker, and the end, hide nothing."""
        if seat == ATTACKER or state.ending:
            return state
        for target in chance.shuffled(self.pool, "target"):
            if self.hint_for(target) == state.hint and not any(self.says(target, message) for message in state.said):
                return replace(state, target=target)
        return state

    def turn_weights(self, turns: int) -> list[float]:
        """The share of a seat's result that each of its turns is credited with; they sum to 1.

        "spag_decay": turn t of 1..n gets (1 - g) g^(n - t) / (1 - g^n), so later turns weigh more.
        """
        if self.reward_shape == "terminal":
            return [0.0] * (turns - 1) + [1.0] * (turns > 0)
        weights = [self.decay ** (turns - 1 - turn) for turn in range(turns)]
        return [weight / sum(weights) for weight in weights]

    # What a seat sees.

    def view(self, state: TabooState, seat: str) -> TabooState:
        return state if seat == ATTACKER or state.ending else TabooState(None, state.hint, state.said)

    def rules(self, view: TabooState, seat: str) -> str:
        return self._rules

    @cached_property
    def _rules(self) -> str:
        breaks = "says the secret word or announces a guess"
        count = "" if self.secret_pool or len(self.pool) == 1 else f" It is one of {len(self.pool)} words."
        return RULES.format(
            pool=count,
            rounds=self.rounds,
            messages="message" if self.rounds == 1 else "messages",
            length=f"at least {self.min_words} words long unless it is a guess, " if self.min_words > 1 else "",
            malformed=self._wrong_guesses(),
            violation=f"The attacker loses if it {breaks}."
            if self.attacker_violation == "lose"
            else f"If the attacker {breaks}, the game is void and pays nothing.",
            forms=FORMS[self.match] + (" Words made from it count, too." if self.derivation else ""),
            disguise=" Spelling it out or disguising it counts, too." if self.anti_evasion else "",
            tie=f"{self.tie_reward:+g}" if self.tie_reward else "0",
            cost=f" Each message costs its speaker {self.turn_cost:g}." if self.turn_cost else "",
        )

    def _wrong_guesses(self) -> str:
        """What the rules say about guesses that name no word or two."""
        two = "two different ones" if self.select == "unique" else ""
        none = "without a readable word" if self.malformed_guess == "wrong" else ""
        if none and two:
            return f" One {none}, or with {two}, is wrong."
        return f" One {none} is wrong." if none else " One with two different words is wrong." if two else ""

    def observe(self, view: TabooState, seat: str) -> list[Line]:
        lines: list[Line] = []
        if seat == ATTACKER:
            lines.append(f"The secret word is: {view.target}.")
        if view.hint:
            lines.append(f"{'The defender is told' if seat == ATTACKER else 'Hint'}: {view.hint}")
        lines += [Said(self.seats[turn % 2], words) for turn, words in enumerate(view.said)]
        if view.ending:
            lines.append(self._result(view))
        return lines

    def _result(self, view: TabooState) -> str:
        winner = self.winner(view)
        verdict = f"{winner} wins." if winner else "It is a tie." if view.ending == "turn_limit" else "The game is void."
        return f"{RESULTS[view.ending]} The word was: {view.target}. {verdict}"

    def request(self, view: TabooState, seat: str) -> list[Line]:
        return [f"Message {len(view.said) // 2 + 1} of {self.rounds}."]

    def legal_moves(self, view: TabooState, seat: str) -> tuple[str, ...] | None:
        return None if seat in self.to_move(view) else ()

    def parse(self, view: TabooState, seat: str, text: str) -> str:
        message = text.strip()
        guesses = find_guesses(message)
        if guesses is None:
            self._check_length(message)
        elif seat == DEFENDER and not guesses and self.malformed_guess == "invalid":
            raise IllegalMove(
                "bad_args",
                f"Your guess has no readable word. Write [guess: ...] with at most {MAX_GUESS_TOKENS} words in it.",
            )
        return message

    def _check_length(self, message: str) -> None:
        count = len(tokens(message))
        if count < self.min_words:
            raise IllegalMove("insufficient", f"Your message has {count} words; it needs at least {self.min_words}.")

    def write(self, move: str) -> str:
        return move

    def noop(self, view: TabooState, seat: str) -> str:
        """A message without content, long enough."""
        return self.long_enough(NOTHING)

    def sample_reply(self, view: TabooState, seat: str, chance: Chance) -> str:
        """The attacker says something true of the word where the bank knows it; the defender guesses or makes small talk."""
        if seat == DEFENDER and chance.uniform("guess") < 0.2:
            pool = _bank_words((), (1, 3), "all") if self.secret_pool else self.pool
            return f"[guess: {chance.choice(pool, 'guessed word')}]"
        true = true_sentences(view.target) if seat == ATTACKER and view.target and is_in_bank(view.target) else ()
        return self.long_enough(chance.choice(true or SMALL_TALK, "message"))

    def long_enough(self, message: str) -> str:
        """The message, said again as often as `min_words` needs."""
        repeats = -(-self.min_words // len(tokens(message)))
        return " ".join([message] * max(1, repeats))


@lru_cache(maxsize=64)
def _bank_words(categories: tuple[str, ...], frequency: tuple[int, int], split: Split) -> tuple[str, ...]:
    return tuple(
        each.name
        for family in load_bank(split)
        if not categories or family.name in categories
        for each in family.concepts
        if frequency[0] <= each.frequency <= frequency[1]
    )


@lru_cache(maxsize=64)
def check_own_words(words: tuple[str, ...], own_texts: tuple[str, ...]) -> None:
    """Refuses a list of words that would make a broken game.

    Raises:
        ValueError: for a word without letters or of more than three tokens, one that shares a form with another, or one that
            the game's own texts say.
    """
    taken: dict[str, str] = {}
    for word in words:
        if not 1 <= len(tokens(word)) <= 3:
            raise ValueError(f"words: {word!r} must have one to three tokens")
        for form in inflections(word):
            if form in taken:
                raise ValueError(f"words: {word!r} and {taken[form]!r} share the form {form!r}")
            taken[form] = word
        if any(utters(word, text, anti_evasion=False) for text in own_texts):
            raise ValueError(f"words: {word!r} stands in the game's own texts, so it cannot be secret")


# Guesses.

_ANNOUNCEMENT = re.compile(r"\bi\s+know\s+the\s+word\b([\s!.,:;…\-–—\"'“”«»`*_]*)")
_BREAK = re.compile(r"[!.,:;…\-–—\n]")
_IT_IS = re.compile(r"(?:it\s+is|it's|the\s+word\s+is)\b[\s:]*([^.!?;\n]*)")
_ARTICLES = ("a", "an", "the")


@lru_cache(maxsize=256)  # a message is read when it is checked, when it is played, and by the facts
def find_guesses(message: str) -> tuple[tuple[str, ...], ...] | None:
    """The guesses in a message, each as its tokens: `[guess: word]`, or "I know the word! It is ...".

    The announcement needs a break after "word" (one of ! . , : ; - or a new line, or the end of the message), then "it is",
    "it's" or "the word is", then at most four tokens to the end of the sentence.

    Returns:
        None if there is no announcement; () if there is one, but none with a readable guess.
    """
    commands = [command.args for command in find_commands(message, ("guess",))]
    text = unicodedata.normalize("NFKC", message).casefold().translate(_STRAIGHT)
    announced = [_announced(text, match) for match in _ANNOUNCEMENT.finditer(text)]
    phrases = [*commands, *(phrase for phrase in announced if phrase is not None)]
    if not phrases:
        return None
    guesses = [_guess(phrase) for phrase in phrases]
    return tuple(guess for guess in guesses if guess)


_STRAIGHT = str.maketrans("’‘", "''")


def _announced(text: str, match: re.Match[str]) -> str | None:
    """The phrase after an announcement, "" if none can be read, None if the words are no announcement."""
    if not _BREAK.search(match[1]) and match.end() < len(text):
        return None
    it_is = _IT_IS.match(text, match.end())
    return it_is[1] if it_is else ""


def _guess(phrase: str) -> tuple[str, ...]:
    """The tokens of a guess without a leading article; () if there are none or more than four."""
    found = tokens(phrase)
    if len(found) > 1 and found[0] in _ARTICLES:
        found = found[1:]
    return found if len(found) <= MAX_GUESS_TOKENS else ()


def is_form_of(guess: tuple[str, ...], target: str | Concept) -> bool:
    """Whether a guess, as a whole, is a form of the target: "apples" for "apple", but not "not apple" or "pineapple"."""
    name = target.name if isinstance(target, Concept) else target
    return " ".join(guess) in inflections(name)


def _same_word(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    return first == second or is_form_of(second, " ".join(first)) or is_form_of(first, " ".join(second))
