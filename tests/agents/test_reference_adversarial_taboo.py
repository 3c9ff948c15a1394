"""The reference players of Adversarial Taboo: what each says, and the relations between them, exactly."""

import itertools
import math
from functools import cache

import pytest

from agents.reference import players_of
from agents.reference.adversarial_taboo import (
    PLAYERS,
    Bayes,
    Hinter,
    Mute,
    Parrot,
    TabooPlayer,
    Trap,
    candidates,
    exact_return,
    heard,
    identified_share,
    most_probable,
    open_hints,
    posterior,
)
from lmgames.games.adversarial_taboo import ATTACKER, DEFENDER, AdversarialTaboo
from lmgames.observation import Observation
from lmgames.registry import make
from lmgames.words import concept, load_bank, true_sentences

BIRDS = AdversarialTaboo(category="bird", rounds=3)
NAMES = ["parrot", "hinter", "mute", "bayes", "trap"]


def mix(player, game, state, seat):
    return player.mix(Observation("", seat, game=game, view=game.view(state, seat)))


def state_after(game, word, *hints):
    """The state in which the defender is to reply to the last of `hints`."""
    state = game.start({"word": word})
    for hint in hints:
        if game.to_move(state) == (DEFENDER,):
            state = game.apply(state, {DEFENDER: "Go on please."})
        state = game.apply(state, {ATTACKER: hint})
    return state


class Liar(TabooPlayer):
    """As attacker, says only what is false of its word."""

    def attack(self, game, view):
        true = set(true_sentences(view.target))
        false = [each.sentence for family in load_bank() for each in family.attributes if each.sentence not in true]
        return {false[len(view.said)]: 1.0}


# What they know and say.


def test_players_are_listed_weakest_first_after_the_generic_ones():
    assert list(PLAYERS) == NAMES
    assert list(players_of("AdversarialTaboo"))[-len(NAMES) :] == NAMES


def test_hinter_says_each_true_sentence_once_with_equal_chance():
    state = BIRDS.start({"word": "owl"})
    true = true_sentences("owl")
    assert mix(Hinter(), BIRDS, state, ATTACKER) == pytest.approx(dict.fromkeys(true, 1 / len(true)))
    state = state_after(BIRDS, "owl", true[0])
    state = BIRDS.apply(state, {DEFENDER: "Go on please."})
    assert mix(Hinter(), BIRDS, state, ATTACKER) == pytest.approx(dict.fromkeys(true[1:], 1 / (len(true) - 1)))


def test_hinter_starts_again_when_everything_is_said():
    game = AdversarialTaboo(rounds=30)
    state = state_after(game, "owl", *true_sentences("owl"))
    assert set(open_hints(game, state)) == set(true_sentences("owl"))


def test_hints_never_say_the_word_under_any_tier():
    for options in ({"match": "substring"}, {"match": "stem", "derivation": True}):
        game = AdversarialTaboo(**options)
        for word in game.pool:
            state = game.start({"word": word})
            assert not any(game.says(word, hint) for hint in mix(Hinter(), game, state, ATTACKER))
            assert not any(game.says(word, text) for text in mix(Trap(), game, state, ATTACKER))


def test_what_is_heard_are_the_sentences_of_the_bank_however_they_are_wrapped():
    state = state_after(
        BIRDS, "owl", "Well... it has FEATHERS, I think.", "No hint. It lays eggs. It has a beak.", "It lays eggs."
    )
    assert heard(state) == ("It has feathers.", "It has a beak.", "It lays eggs.")


def test_posterior_by_hand():
    """After "It has very long legs for its size." only two birds are left; the one of whom less is true says it more often."""
    state = state_after(BIRDS, "flamingo", "It has very long legs for its size.")
    counts = {word: len(true_sentences(word)) for word in ("ostrich", "flamingo")}
    total = sum(1 / count for count in counts.values())
    expected = {word: 1 / count / total for word, count in counts.items()}
    assert posterior(BIRDS, BIRDS.view(state, DEFENDER)) == pytest.approx(expected)


def test_the_most_probable_of_equals_is_the_more_frequent_then_the_first_by_spelling():
    assert concept("duck").frequency > concept("crow").frequency == concept("owl").frequency
    assert most_probable({"crow": 0.4, "duck": 0.4, "owl": 0.2}) == "duck"
    assert most_probable({"owl": 0.5, "crow": 0.5}) == "crow"
    assert most_probable({"owl": 0.6, "crow": 0.4}) == "owl"


def test_candidates_follow_hint_and_secrecy():
    whole = {each.name for family in load_bank() for each in family.concepts}
    assert set(candidates(BIRDS, "")) == set(BIRDS.pool)
    assert set(candidates(AdversarialTaboo(category="bird", secret_pool=True), "")) == whole
    hinted = AdversarialTaboo(hint="category")
    assert set(candidates(hinted, hinted.hint_for("owl"))) == set(BIRDS.pool)
    lengths = AdversarialTaboo(hint="length")
    assert set(candidates(lengths, lengths.hint_for("owl"))) == {word for word in whole if len(word) == 3}


def test_no_player_knows_more_than_its_view():
    """The reply of a defender is the same whatever the word behind the same talk."""
    for name, factory in PLAYERS.items():
        replies = {str(mix(factory(), BIRDS, state_after(BIRDS, word, "It has feathers."), DEFENDER)) for word in BIRDS.pool}
        assert len(replies) == 1, name


def test_parrot_names_the_top_and_guesses_when_sure():
    state = state_after(BIRDS, "owl", "It has feathers.")
    (reply,) = mix(Parrot(), BIRDS, state, DEFENDER)
    assert reply == f"Do you mean {most_probable(posterior(BIRDS, state))}?"
    sure = state_after(BIRDS, "owl", "It is a bird of prey that hunts at night.")
    assert mix(Parrot(), BIRDS, sure, DEFENDER) == {"[guess: owl]": 1.0}


def test_bayes_guesses_at_its_threshold():
    state = state_after(BIRDS, "ostrich", "It has very long legs for its size.")
    top = max(posterior(BIRDS, state).values())
    assert 0.5 < top < 0.7
    assert mix(Bayes(k=0.7), BIRDS, state, DEFENDER) == mix(Mute(), BIRDS, state, DEFENDER)
    assert mix(Bayes(k=0.5), BIRDS, state, DEFENDER) == {"[guess: ostrich]": 1.0}
    with pytest.raises(ValueError, match="k=0"):
        Bayes(k=0)


def test_bayes_says_nothing_when_what_it_heard_fits_no_word():
    state = state_after(BIRDS, "owl", "It has two wheels.")
    assert mix(Bayes(), BIRDS, state, DEFENDER) == mix(Mute(), BIRDS, state, DEFENDER)


def test_words_outside_the_bank_leave_everyone_speechless():
    game = AdversarialTaboo(words=("zeppelin", "mortgage"))
    state = game.start({"word": "zeppelin"})
    for factory in PLAYERS.values():
        assert mix(factory(), game, state, ATTACKER) == mix(Mute(), game, state, ATTACKER)
        assert mix(factory(), game, state_after(game, "zeppelin", "Hello there."), DEFENDER) == mix(
            Mute(), game, state, DEFENDER
        )


def test_trap_takes_the_vaguest_hint_that_makes_its_word_the_likeliest():
    state = BIRDS.start({"word": "chicken"})
    (message,) = mix(Trap(), BIRDS, state, ATTACKER)
    assert message.startswith("Name a thing this is true of: ")
    after = state_after(BIRDS, "chicken", message)
    assert most_probable(posterior(BIRDS, after)) == "chicken"
    assert len(posterior(BIRDS, after)) == len(BIRDS.pool)


# Relations, exactly.


def test_mute_v_mute_ties_with_probability_1():
    assert exact_return(AdversarialTaboo(), Mute(), Mute()) == pytest.approx({"attacker": 0, "defender": 0, "tie": 1})


@pytest.mark.parametrize("defender", [Mute, Hinter, Bayes, Trap])
def test_a_mute_attacker_ties_with_every_cautious_defender(defender):
    assert exact_return(AdversarialTaboo(), Mute(), defender()) == pytest.approx({"attacker": 0, "defender": 0, "tie": 1})


def test_a_mute_attacker_beats_the_parrot_once_in_the_size_of_the_bank():
    game = AdversarialTaboo()
    result = exact_return(game, Mute(), Parrot())
    assert result == pytest.approx({"attacker": 1 / len(game.pool), "defender": 0, "tie": 1 - 1 / len(game.pool)})


@pytest.mark.parametrize("attacker", [Mute, Hinter, Trap])
@pytest.mark.parametrize("options", [{"category": "bird"}, {"category": ("fruit", "tool"), "rounds": 2}], ids=str)
def test_certain_bayes_never_loses_to_a_truthful_attacker(attacker, options):
    assert exact_return(AdversarialTaboo(**options), attacker(), Bayes(k=1.0))["attacker"] == 0


def test_certain_bayes_can_lose_to_a_liar_only():
    game = AdversarialTaboo(words=("owl", "crow"), rounds=2)

    class FalseOwl(Liar):
        def attack(self, game, view):
            return {"It is a bird of prey that hunts at night.": 1.0}

    result = exact_return(game, FalseOwl(), Bayes())
    assert result == pytest.approx({"attacker": 0.5, "defender": 0.5, "tie": 0})


@pytest.mark.parametrize(
    "options", [{"category": "bird", "rounds": rounds} for rounds in (1, 2, 3, 5)] + [{"rounds": 1}], ids=str
)
def test_hinter_v_bayes_is_the_share_of_hints_that_become_unique(options):
    """Found twice: by playing out every sequence of hints in the game, and by counting sets of sentences."""
    game = AdversarialTaboo(**options)
    share = identified_share(game)
    assert exact_return(game, Hinter(), Bayes(k=1.0)) == pytest.approx({"attacker": 0, "defender": share, "tie": 1 - share})


def test_the_share_by_hand_for_one_hint():
    """With one hint a word is found if the sentence is true of it alone; the words are equally likely."""
    true = {word: set(true_sentences(word)) for word in BIRDS.pool}
    alone = {
        word: sum(all(sentence not in true[other] for other in true if other != word) for sentence in true[word])
        / len(true[word])
        for word in true
    }
    game = AdversarialTaboo(category="bird", rounds=1)
    assert identified_share(game) == pytest.approx(math.fsum(alone.values()) / len(alone))


def test_the_share_in_the_default_game():
    """As docs/games/adversarial_taboo.md gives it; changes only with the bank."""
    assert identified_share(AdversarialTaboo()) == pytest.approx(0.6234, abs=5e-5)


@pytest.mark.parametrize("attacker", [Mute, Hinter, Trap, Liar])
def test_parrot_is_worse_than_bayes_against_every_attacker(attacker):
    def value(defender):
        result = exact_return(BIRDS, attacker(), defender)
        return result["defender"] - result["attacker"]

    assert value(Parrot()) < value(Bayes(k=1.0)) - 1e-9 or attacker is Liar
    assert value(Parrot()) <= value(Bayes(k=1.0)) + 1e-9


def test_a_bolder_bayes_wins_and_loses_more():
    results = [exact_return(BIRDS, Hinter(), Bayes(k=k)) for k in (1.0, 0.5, 0.2)]
    for cautious, bold in itertools.pairwise(results):
        assert bold["defender"] >= cautious["defender"]
        assert bold["attacker"] > cautious["attacker"]


def test_the_list_is_in_order_of_strength():
    """Mean result of each player over both seats against each of the others."""
    game = AdversarialTaboo(category="bird", rounds=2)

    @cache
    def attack_value(attack, defend):
        """Of the attacker; players who share a way to play one role share its results."""
        attacker, defender = (
            next(p for p in players if type(p).attack is attack),
            next(p for p in players if type(p).defend is defend),
        )
        result = exact_return(game, attacker, defender)
        return result["attacker"] - result["defender"]

    players = [factory() for factory in PLAYERS.values()]
    strength = []
    for own in players:
        others = [other for other in players if other is not own]
        gained = [attack_value(type(own).attack, type(other).defend) for other in others]
        lost = [attack_value(type(other).attack, type(own).defend) for other in others]
        strength.append((sum(gained) - sum(lost)) / len(others))
    assert strength == sorted(strength)
    assert len(set(strength)) == len(strength)


# In the environment.


@pytest.mark.parametrize("pair", list(itertools.product(NAMES, repeat=2)), ids="-".join)
def test_every_pairing_plays_by_the_rules(pair):
    players = {ATTACKER: PLAYERS[pair[0]](), DEFENDER: PLAYERS[pair[1]]()}
    for seed, options in enumerate([{}, {"hint": "category", "min_words": 12}, {"secret_pool": True, "match": "substring"}]):
        env = make("AdversarialTaboo-v0", **options)
        env.reset(seed=seed)
        while not env.unwrapped.outcome:
            seat = env.agent_selection
            env.step(players[seat].reply(env.unwrapped.observation(seat)))
        assert env.unwrapped.outcome == "rules"
        assert all(turn.status == "ok" for turn in env.unwrapped.record().turns)
        assert env.unwrapped.record().facts["reason"] not in ("attacker_said_it", "attacker_guessed", "malformed_guess")


def test_played_games_agree_with_the_exact_share():
    """Hinter v bayes in 300 seeded games: wins within four standard errors of the enumeration, all others ties."""
    game = AdversarialTaboo()
    wins = 0
    for seed in range(300):
        env = make("AdversarialTaboo-v0")
        env.reset(seed=seed)
        players = {ATTACKER: Hinter(), DEFENDER: Bayes()}
        while not env.unwrapped.outcome:
            seat = env.agent_selection
            env.step(players[seat].reply(env.unwrapped.observation(seat)))
        assert env.unwrapped.returns[DEFENDER] >= 0
        wins += env.unwrapped.returns[DEFENDER] == 1
    share = identified_share(game)
    assert abs(wins / 300 - share) < 4 * math.sqrt(share * (1 - share) / 300)
