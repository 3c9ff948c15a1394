"""Reference players of Who Is The Spy. They give clues from the word bank and judge the others' clues by it.

One player plays both roles and the judge, clues and votes. With words that the bank lacks they say little and vote at
random. `python -m agents.reference.who_is_the_spy` prints how spies and voters of each kind fare against each other.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Literal

from agents.reference.base import ReferencePlayer
from lmgames.chance import Chance
from lmgames.game import check_choice
from lmgames.games.who_is_the_spy import ABSTAIN, SpyState, WhoIsTheSpy
from lmgames.observation import Observation
from lmgames.words import family_of, is_in_bank, load_bank, tokens, true_sentences

Clues = Literal["random", "specific", "vague"]
UNKNOWN = 0.5  # how much a clue that the bank cannot judge counts against its speaker, where a false one counts 1


class Naive(ReferencePlayer):
    """States something true of its own word, whichever role it has, and votes at random.

    Args:
        clues: which of the true sentences not yet said: a "random" one, a most "specific" one (true of the fewest words of
            the family), or a most "vague" one.
    """

    def __init__(self, clues: Clues = "random"):
        check_choice("clues", clues, ("random", "specific", "vague"))
        self.clues = clues

    def reply(self, observation: Observation) -> str:
        chance = Chance(observation.seed)
        if observation.legal_moves is None:
            return self.clue(observation, chance)
        return self.vote(observation, chance)

    def clue(self, observation: Observation, chance: Chance) -> str:
        word = own_word(observation)
        if word is None:
            return observation.game.sample_reply(observation.view, observation.seat, chance)
        choices = unsaid(true_sentences(word), observation.view)
        return chance.choice(self.preferred(choices, word), "clue")

    def preferred(self, choices: Sequence[str], word: str) -> list[str]:
        """The clues of the player's style among `choices`, sentences of the family of `word`."""
        if self.clues == "random":
            return list(choices)
        sign = 1 if self.clues == "specific" else -1
        return best(choices, lambda clue: -sign * breadth(sentence_of(clue), family_of(word).name))

    def vote(self, observation: Observation, chance: Chance) -> str:
        """At random among the players; it never abstains."""
        return chance.choice([move for move in observation.legal_moves or () if move != ABSTAIN], "vote")


class Mismatch(Naive):
    """Votes for a player whose clues fit its own word worst."""

    def vote(self, observation: Observation, chance: Chance) -> str:
        suspects = self.suspicions(observation)
        return chance.choice(best(list(suspects), suspects.__getitem__), "vote")

    def suspicions(self, observation: Observation) -> dict[str, float]:
        """How many clues of whom a vote names speak against it, by vote."""
        word = own_word(observation)
        votes = [move for move in observation.legal_moves or () if move != ABSTAIN]
        if word is None:
            return dict.fromkeys(votes, 0.0)
        against: Counter[str] = Counter()
        for seat, sentence in heard(observation.view):
            against[f"[vote: {seat}]"] += misfit(sentence, word)  # type: ignore[assignment]
        return {vote: against[vote] for vote in votes}


class Abstainer(Mismatch):
    """Votes like `Mismatch` where some clue is false of its own word, else abstains."""

    def vote(self, observation: Observation, chance: Chance) -> str:
        if max(self.suspicions(observation).values()) < 1:
            return ABSTAIN
        return super().vote(observation, chance)


class Blender(Mismatch):
    """As a spy gives clues that fit the words which the others' clues leave possible; else plays like `Mismatch`.

    Told no role, it takes itself for a spy when the clues of at least two players, and of most, are false of its word.
    """

    def clue(self, observation: Observation, chance: Chance) -> str:
        words = self.possible_words(observation) if self.is_spy(observation) else []
        if not words:
            return super().clue(observation, chance)
        choices = unsaid(
            list(dict.fromkeys(sentence for word in words for sentence in true_sentences(word))), observation.view
        )
        fitting = best(choices, lambda clue: sum(sentence_of(clue) in truths(word) for word in words))
        return chance.choice(self.preferred(fitting, words[0]), "clue")

    def is_spy(self, observation: Observation) -> bool:
        word = own_word(observation)
        if observation.role != "player" or word is None:
            return observation.role == "spy"
        others = [(seat, sentence) for seat, sentence in heard(observation.view) if seat != observation.seat]
        against = {seat for seat, sentence in others if misfit(sentence, word) == 1}
        return len(against) >= 2 and 2 * len(against) > len({seat for seat, _ in others})

    def possible_words(self, observation: Observation) -> list[str]:
        """The words that most clues of the others fit: of the own word's family, of the whole bank for a spy without a word;
        [] before there is anything to go by."""
        sentences = [sentence for seat, sentence in heard(observation.view) if seat != observation.seat and sentence]
        own = own_word(observation)
        if own is None and not sentences:
            return []
        families = load_bank() if own is None else (family_of(own),)
        words = [concept.name for family in families for concept in family.concepts if concept.name != own]
        return best(words, lambda word: sum(sentence in truths(word) for sentence in sentences))


PLAYERS: dict[str, Callable[..., ReferencePlayer]] = {
    "naive": Naive,
    "abstainer": Abstainer,
    "mismatch": Mismatch,
    "blender": Blender,
}


# What the bank says about clues.


def own_word(observation: Observation) -> str | None:
    """The word the seat was told, if the bank has it."""
    word = observation.view.words[observation.game.seats.index(observation.seat)]
    return word if word and is_in_bank(word) else None


def heard(view: SpyState) -> list[tuple[str, str]]:
    """(seat, sentence of the bank, "" for anything else) of all clues so far."""
    return [(seat, sentence_of(words or "")) for cycle in view.cycles for seat, words in cycle.clues]


@cache
def truths(word: str) -> frozenset[str]:
    """The sentences that are true of a word of the bank."""
    return frozenset(true_sentences(word))


def misfit(sentence: str, word: str) -> float:
    """How much a sentence speaks against its speaker having `word`: 0 if true of it, 1 if false."""
    if sentence in truths(word):
        return 0.0
    return 1.0 if sentence else UNKNOWN


def sentence_of(clue: str) -> str:
    """The sentence of the bank that a clue says, "" if none."""
    said = tokens(clue)
    return _sentences().get(said[2:] if said[:1] == ("clue",) else said, "")


@cache
def _sentences() -> dict[tuple[str, ...], str]:
    return {tokens(attribute.sentence): attribute.sentence for family in load_bank() for attribute in family.attributes}


@cache
def breadth(sentence: str, family_name: str) -> int:
    """How many words of a family a sentence is true of."""
    (family,) = (family for family in load_bank() if family.name == family_name)
    return sum(sentence in truths(concept.name) for concept in family.concepts)


def unsaid(sentences: Sequence[str], view: SpyState) -> list[str]:
    """The sentences nobody has said; when all are said, all again with a number before them, which makes them new."""
    said = {tokens(words or "") for cycle in view.cycles for _, words in cycle.clues}
    choices, number = list(sentences), 1
    while all(tokens(choice) in said for choice in choices):
        number += 1
        choices = [f"Clue {number}: {sentence}" for sentence in sentences]
    return [choice for choice in choices if tokens(choice) not in said]


def best(options: Sequence[str], score: Callable[[str], float]) -> list[str]:
    """The options with the highest score, in their order."""
    scores = {option: score(option) for option in options}
    return [option for option in options if scores[option] == max(scores.values())]


# How the players fare.


def play(game: WhoIsTheSpy, sitting: Mapping[str, ReferencePlayer], seed: int) -> SpyState:
    """The end of an episode.

    Args:
        sitting: who plays, by seat or, as it really is, by role.
    """
    state, turn = game.start(game.deal(Chance(seed))), 0
    while not game.is_over(state):
        moves = {}
        for seat in game.to_move(state):
            player = sitting.get(seat) or sitting[game.role_of(state, seat)]
            view = game.view(state, seat)
            legal = game.legal_moves(view, seat)
            draws = Chance(seed).word("player", seat, turn)
            asked = Observation("", seat, game.role_of(view, seat), legal, turn, draws, game=game, view=view)
            moves[seat] = game.parse(view, seat, player.reply(asked))
        state, turn = game.apply(state, moves), turn + len(moves)
    return state


def shares(game: WhoIsTheSpy, by_role: Mapping[str, ReferencePlayer], games: int) -> tuple[float, float, float]:
    """(spy ejected, votes right, abstentions) as shares over episodes with the seeds 0, 1, ..."""
    facts = [game.facts(play(game, by_role, seed)) for seed in range(games)]
    accuracy, abstentions = (sum(found[key] for found in facts) / games for key in ("vote_accuracy", "abstention_rate"))
    return sum(found["result"] == "civilians" for found in facts) / games, accuracy, abstentions


def mean_return(game: WhoIsTheSpy, name: str, games: int) -> float:
    """Of a player in a seat drawn by lot, among players drawn from all of `PLAYERS`, over the seeds 0, 1, ..."""
    players = {each: make() for each, make in PLAYERS.items()}
    total = 0.0
    for seed in range(games):
        chance = Chance(seed).derive("seating")
        seat = chance.choice(game.player_names, "seat")
        sitting = {other: players[chance.choice(list(PLAYERS), "player", other)] for other in game.seats}
        total += game.returns(play(game, {**sitting, seat: players[name]}, seed))[seat]
    return total / games


def main() -> None:
    parser = argparse.ArgumentParser(description="How the reference players of Who Is The Spy fare, as two tables.")
    parser.add_argument("--games", type=int, default=1000, help="episodes behind each row")
    games = parser.parse_args().games
    game = WhoIsTheSpy(players=4)
    print("| clues | spy | voters | spy ejected | votes right | abstentions |\n|---|---|---|---|---|---|")
    for clues in ("random", "specific", "vague"):
        for spy in ("naive", "blender"):
            for voter in ("naive", "mismatch", "abstainer"):
                by_role = {"spy": PLAYERS[spy](clues=clues), "civilian": PLAYERS[voter](clues=clues)}
                row = " | ".join(f"{share:.3f}" for share in shares(game, by_role, games))
                print(f"| {clues} | {spy} | {voter} | {row} |", flush=True)
    print('\n| player | scheme="vision_zero" | scheme="win" |\n|---|---|---|')
    for name in PLAYERS:
        means = (mean_return(WhoIsTheSpy(players=4, scheme=scheme), name, games) for scheme in ("vision_zero", "win"))
        print(f"| {name} | {' | '.join(f'{mean:+.3f}' for mean in means)} |", flush=True)


if __name__ == "__main__":
    main()
