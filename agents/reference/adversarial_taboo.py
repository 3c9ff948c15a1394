"""Reference players of Adversarial Taboo. They speak in sentences of the word bank, which both seats know.

A player's name says how it plays the one role it is made for; in the other role it plays the partner named here.

| player | as attacker | as defender |
|---|---|---|
| parrot | hints | says the most probable word, until only one is left: then it guesses |
| hinter | says a random true sentence about the word | says nothing of content |
| mute | says nothing of content | says nothing of content |
| bayes | hints | says nothing of content until a word's probability reaches `k`, then guesses it |
| trap | asks for a thing that the hints so far make the most probable one | bayes with k = 1 |

Words that are not in the bank cannot be hinted at: about them every player says nothing.
"""

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from itertools import combinations

from agents.reference.base import MixedPlayer, ReferencePlayer
from lmgames.games.adversarial_taboo import ATTACKER, AdversarialTaboo, TabooState
from lmgames.observation import Observation
from lmgames.words import concept, is_in_bank, load_bank, tokens, true_sentences


class TabooPlayer(MixedPlayer):
    """Plays either seat; says nothing of content unless a derived class knows better."""

    def mix(self, observation: Observation) -> Mapping[str, float]:
        game: AdversarialTaboo = observation.game
        view: TabooState = observation.view
        return self.attack(game, view) if observation.seat == ATTACKER else self.defend(game, view)

    def attack(self, game: AdversarialTaboo, view: TabooState) -> Mapping[str, float]:
        """Probability of each message of the attacker."""
        return nothing(game, view)

    def defend(self, game: AdversarialTaboo, view: TabooState) -> Mapping[str, float]:
        """Probability of each message of the defender."""
        return nothing(game, view)


class Mute(TabooPlayer):
    """Never says anything of content. Mute v mute is always a tie."""


class Hinter(TabooPlayer):
    """As attacker, says one of the true sentences not yet said, each equally likely."""

    def attack(self, game: AdversarialTaboo, view: TabooState) -> Mapping[str, float]:
        hints = open_hints(game, view)
        return {game.long_enough(hint): 1.0 / len(hints) for hint in hints} or nothing(game, view)


class Parrot(Hinter):
    """As defender, says the most probable word, so it loses once that is the secret one; guesses when certain."""

    def defend(self, game: AdversarialTaboo, view: TabooState) -> Mapping[str, float]:
        probabilities = posterior(game, view)
        if not probabilities:
            return nothing(game, view)
        top = most_probable(probabilities)
        if len(probabilities) == 1:
            return {f"[guess: {top}]": 1.0}
        return {game.long_enough(f"Do you mean {top}?"): 1.0}


class Bayes(Hinter):
    """As defender, guesses the most probable word once its probability reaches `k`, and says nothing of content before.

    Args:
        k: with 1, it guesses only what is certain, and never loses to an attacker who says true sentences of the bank.
    """

    def __init__(self, k: float = 1.0):
        if not 0 < k <= 1:
            raise ValueError(f"k={k!r} must be above 0 and at most 1")
        self.k = k

    def defend(self, game: AdversarialTaboo, view: TabooState) -> Mapping[str, float]:
        probabilities = posterior(game, view)
        if probabilities and max(probabilities.values()) >= self.k - 1e-12:
            return {f"[guess: {most_probable(probabilities)}]": 1.0}
        return nothing(game, view)


class Trap(Bayes):
    """As attacker, picks the vaguest true sentence after which its word is the most probable one, and asks for a name."""

    def __init__(self) -> None:
        super().__init__(k=1.0)

    def attack(self, game: AdversarialTaboo, view: TabooState) -> Mapping[str, float]:
        hints = open_hints(game, view)
        if not hints:
            return nothing(game, view)
        return {
            game.long_enough(f"Name a thing this is true of: {max(hints, key=lambda hint: _lure(game, view, hint))}"): 1.0
        }


def _lure(game: AdversarialTaboo, view: TabooState, hint: str) -> tuple[bool, int]:
    """(whether the word is then the most probable of several, how many remain)."""
    after = _posterior(candidates(game, view.hint), (*heard(view), hint))
    return len(after) > 1 and most_probable(after) == view.target, len(after)


PLAYERS: dict[str, type[ReferencePlayer]] = {
    "parrot": Parrot,
    "hinter": Hinter,
    "mute": Mute,
    "bayes": Bayes,
    "trap": Trap,
}


# What the players know and infer.


def nothing(game: AdversarialTaboo, view: TabooState) -> dict[str, float]:
    """The message without content, for sure."""
    return {game.noop(view, ""): 1.0}


def open_hints(game: AdversarialTaboo, view: TabooState) -> tuple[str, ...]:
    """True sentences about the target that do not say it and have not been said; all of them once all have been said."""
    if view.target is None or not is_in_bank(view.target):
        return ()
    target = view.target
    true = tuple(sentence for sentence in true_sentences(target) if not game.says(target, sentence))
    return tuple(sentence for sentence in true if sentence not in heard(view)) or true


def heard(view: TabooState) -> tuple[str, ...]:
    """The sentences of the bank that the attacker has said, each once, in order."""
    return tuple(dict.fromkeys(sentence for message in view.said[::2] for sentence in _sentences_in(message)))


@lru_cache(maxsize=4096)
def _sentences_in(message: str) -> tuple[str, ...]:
    said = f" {' '.join(tokens(message))} "
    return tuple(sentence for sentence, spaced in _spaced_sentences().items() if spaced in said)


@cache
def _spaced_sentences() -> dict[str, str]:
    """Each sentence of the bank -> its tokens between spaces."""
    sentences = dict.fromkeys(attribute.sentence for family in load_bank() for attribute in family.attributes)
    return {sentence: f" {' '.join(tokens(sentence))} " for sentence in sentences}


@lru_cache(maxsize=256)
def candidates(game: AdversarialTaboo, hint: str) -> tuple[str, ...]:
    """The words of the bank that can be the target as far as the defender knows; the whole bank if the pool is secret."""
    pool = tuple(each.name for family in load_bank() for each in family.concepts) if game.secret_pool else game.pool
    return tuple(word for word in pool if is_in_bank(word) and (not hint or game.hint_for(word) == hint))


def posterior(game: AdversarialTaboo, view: TabooState) -> dict[str, float]:
    """Probability of each word that is consistent with all that was heard, if the attacker is a hinter; {} if none is."""
    return _posterior(candidates(game, view.hint), heard(view))


def _posterior(words: Sequence[str], sentences: Sequence[str]) -> dict[str, float]:
    weights = {}
    for word in words:
        true = _true_set(word)
        if true.issuperset(sentences):
            weights[word] = 1.0
            for said in range(len(sentences)):
                weights[word] /= len(true) - said
    total = sum(weights.values())
    return {word: weight / total for word, weight in weights.items()}


@cache
def _true_set(word: str) -> frozenset[str]:
    return frozenset(true_sentences(word))


def most_probable(probabilities: Mapping[str, float]) -> str:
    """The word of highest probability; among equals the more frequent one, then the first by spelling."""
    return min(probabilities, key=lambda word: (-round(probabilities[word], 12), -concept(word).frequency, word))


# Exact values.


def identified_share(game: AdversarialTaboo) -> float:
    """How often a hinter's sentences leave one word only, over all words and all orders of sentences.

    This is the probability that bayes(k=1) wins against a hinter; all other games of the two are ties.
    """
    return sum(_identified(word, candidates(game, game.hint_for(word)), game.rounds) for word in game.pool) / len(game.pool)


def _identified(word: str, words: Sequence[str], hints: int) -> float:
    """Share of the sets of `hints` true sentences about `word` that hold of no other of `words`."""
    true = sorted(_true_set(word))
    shared = {frozenset(_true_set(other) & set(true)) for other in words if other != word}
    sets = list(combinations(true, min(hints, len(true))))
    return sum(not any(each.issuperset(said) for each in shared) for said in sets) / len(sets)


def exact_return(game: AdversarialTaboo, attacker: TabooPlayer, defender: TabooPlayer) -> dict[str, float]:
    """Probabilities of "attacker" and "defender" winning and of a "tie", over all words, by enumeration.

    The players must draw on the set of sentences said and not on their order, as all in `PLAYERS` do.
    """
    total = {"attacker": 0.0, "defender": 0.0, "tie": 0.0}
    for instance in game.instances():
        reached = {_position(game.start(instance)): (game.start(instance), 1.0)}
        while reached:
            reached = _one_message_on(game, attacker, defender, reached, total)
    return {result: weight / len(game.pool) for result, weight in total.items()}


def _position(state: TabooState) -> tuple[int, frozenset[str]]:
    return len(state.said), frozenset(heard(state))


def _one_message_on(
    game: AdversarialTaboo,
    attacker: TabooPlayer,
    defender: TabooPlayer,
    reached: Mapping[tuple[int, frozenset[str]], tuple[TabooState, float]],
    total: dict[str, float],
) -> dict[tuple[int, frozenset[str]], tuple[TabooState, float]]:
    """The positions after one more message, with their probabilities; results of games that end go into `total`."""
    after: dict[tuple[int, frozenset[str]], tuple[TabooState, float]] = {}
    for state, weight in reached.values():
        (seat,) = game.to_move(state)
        player = attacker if seat == ATTACKER else defender
        view = game.view(state, seat)
        for message, probability in player.mix(Observation("", seat, game=game, view=view)).items():
            following = game.apply(state, {seat: message})
            if game.is_over(following):
                winner = game.winner(following)
                total["tie" if winner is None else winner.split("_")[0]] += weight * probability
            else:
                key = _position(following)
                after[key] = (following, after.get(key, (following, 0.0))[1] + weight * probability)
    return after
