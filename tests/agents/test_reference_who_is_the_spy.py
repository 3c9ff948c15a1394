"""The reference players of Who Is The Spy: what each says and votes, and how they fare against each other."""

from functools import cache

import pytest

from agents.reference.who_is_the_spy import PLAYERS, Blender, breadth, mean_return, play, sentence_of, shares, unsaid
from agents.specs import make_agent
from lmgames.games.who_is_the_spy import ABSTAIN, WhoIsTheSpy
from lmgames.observation import Observation
from lmgames.registry import make
from lmgames.words import concept, family_of, load_bank, spy_pairs, true_sentences

PAIR = spy_pairs()[0]
SEEDS = range(12)
GAMES = 250


def state_with(game, clues, spies=(3,), words=None):
    """The state after these clues, of player_0, player_1, ..., in seat order; of as many as there are."""
    names = list(game.player_names)
    state = game.start(
        {
            "words": words or {"civilian": PAIR.civilian, "spy": PAIR.spy},
            "spies": [names[number] for number in spies],
            "orders": [names],
            "tie_breaks": [],
        }
    )
    for number, clue in enumerate(clues):
        state = game.apply(state, {names[number % len(names)]: clue})
    return state


def asked(game, state, seat, seed=0):
    view = game.view(state, seat)
    return Observation("", seat, game.role_of(view, seat), game.legal_moves(view, seat), seed=seed, game=game, view=view)


def game_of(**options):
    return WhoIsTheSpy(**{"players": 4, "clue_rounds": 1, **options})


def only_of(word, other):
    """Sentences true of a word and not of another."""
    return [sentence for sentence in true_sentences(word) if sentence not in true_sentences(other)]


def shared_by(word, other):
    return [sentence for sentence in true_sentences(word) if sentence in true_sentences(other)]


# Clues.


@pytest.mark.parametrize("name", PLAYERS)
def test_civilians_say_new_and_true_things(name):
    game = game_of(clue_rounds=20)
    state = state_with(game, [])
    player = PLAYERS[name]()
    for turn in range(80):
        (seat,) = game.to_move(state)
        clue = game.parse(game.view(state, seat), seat, player.reply(asked(game, state, seat, turn)))
        if seat != "player_3":
            assert sentence_of(clue) in true_sentences(PAIR.civilian)
        state = game.apply(state, {seat: clue})
    assert state.cycles[-1].polls


@pytest.mark.parametrize("name", ["naive", "mismatch", "abstainer"])
def test_a_naive_spy_says_what_is_true_of_its_own_word(name):
    game = game_of()
    for seed in SEEDS:
        state = state_with(game, [], spies=(0,))
        assert PLAYERS[name]().reply(asked(game, state, "player_0", seed)) in true_sentences(PAIR.spy)


def test_styles_of_clues():
    game = game_of()
    state = state_with(game, [])
    known = {breadth(sentence, PAIR.family) for sentence in true_sentences(PAIR.civilian)}
    for style, wanted in (("specific", min(known)), ("vague", max(known))):
        replies = {PLAYERS["naive"](clues=style).reply(asked(game, state, "player_0", seed)) for seed in SEEDS}
        assert {breadth(reply, PAIR.family) for reply in replies} == {wanted}
    replies = {PLAYERS["naive"]().reply(asked(game, state, "player_0", seed)) for seed in range(100)}
    assert replies == set(true_sentences(PAIR.civilian))


def test_breadth_counts_the_words_a_sentence_is_true_of():
    family = family_of(PAIR.civilian)
    for attribute in family.attributes:
        holds = sum(each.attributes[attribute.id] for each in family.concepts)
        assert breadth(attribute.sentence, family.name) == holds


def test_a_used_up_sentence_gets_a_number_and_still_means_the_same():
    game = game_of()
    sentences = list(true_sentences(PAIR.civilian))
    view = state_with(game, sentences[:2])
    assert unsaid(sentences, view) == sentences[2:]
    assert unsaid(sentences[:2], view) == [f"Clue 2: {sentence}" for sentence in sentences[:2]]
    assert sentence_of(f"Clue 2: {sentences[0]}") == sentences[0]
    assert sentence_of("Nothing the bank knows.") == ""


def test_a_blending_spy_says_what_the_others_clues_leave_possible():
    game = game_of()
    family = family_of(PAIR.civilian)
    told = sorted(true_sentences(PAIR.civilian), key=lambda sentence: breadth(sentence, PAIR.family))[:3]
    fitting = [
        each.name
        for each in family.concepts
        if each.name != PAIR.spy and all(sentence in family.true_sentences(each) for sentence in told)
    ]
    assert PAIR.civilian in fitting
    state = state_with(game, told)
    for seed in SEEDS:
        clue = sentence_of(Blender().reply(asked(game, state, "player_3", seed)))
        assert all(clue in family.true_sentences(concept(name)) for name in fitting)


def test_a_spy_without_a_word_blends_in_from_nothing_but_clues():
    game = game_of(spy_word="blank")
    words = {"civilian": PAIR.civilian, "spy": ""}
    told = [each.sentence for each in family_of(PAIR.civilian).attributes if concept(PAIR.civilian).attributes[each.id]][:3]
    clue = Blender().reply(asked(game, state_with(game, told, words=words), "player_3"))
    assert sentence_of(clue) in {
        sentence for family in load_bank() for each in family.attributes for sentence in [each.sentence]
    }
    opening = state_with(game, [], spies=(0,), words=words)
    assert sentence_of(Blender().reply(asked(game, opening, "player_0"))) == ""  # nothing to go by


def test_told_no_role_a_blender_takes_itself_for_the_spy_when_most_disagree():
    game = game_of(role_visible=False, voters="all")
    against = only_of(PAIR.civilian, PAIR.spy)
    agreeing = shared_by(PAIR.civilian, PAIR.spy)
    one = asked(game, state_with(game, [against[0]]), "player_1")
    assert not Blender().is_spy(one)  # player_1 has the civilians' word; nothing disagrees
    spy = asked(game, state_with(game, [against[0], against[1], agreeing[0]]), "player_3")
    assert Blender().is_spy(spy)
    assert not Blender().is_spy(asked(game, state_with(game, [against[0], agreeing[0], agreeing[1]]), "player_3"))


# Votes.


def at_vote(game, spy_clue, **more):
    return state_with(game, [*shared_by(PAIR.civilian, PAIR.spy)[:3], spy_clue], **more)


@pytest.mark.parametrize(("name", "sure"), [("naive", False), ("mismatch", True), ("abstainer", True), ("blender", True)])
def test_votes_when_a_clue_is_false_of_the_own_word(name, sure):
    game = game_of()
    state = at_vote(game, only_of(PAIR.spy, PAIR.civilian)[0])
    votes = {PLAYERS[name]().reply(asked(game, state, "player_0", seed)) for seed in range(40)}
    assert votes == ({"[vote: player_3]"} if sure else {f"[vote: player_{n}]" for n in (1, 2, 3)})


@pytest.mark.parametrize(
    ("name", "abstains"), [("naive", False), ("mismatch", False), ("abstainer", True), ("blender", False)]
)
def test_votes_when_every_clue_fits(name, abstains):
    game = game_of()
    state = at_vote(game, shared_by(PAIR.civilian, PAIR.spy)[3])
    votes = {PLAYERS[name]().reply(asked(game, state, "player_0", seed)) for seed in range(40)}
    assert votes == ({ABSTAIN} if abstains else {f"[vote: player_{n}]" for n in (1, 2, 3)})


def test_a_clue_that_says_nothing_is_worse_than_a_true_one():
    game = game_of()
    state = at_vote(game, "Hm, you know it.")
    assert PLAYERS["mismatch"]().reply(asked(game, state, "player_0")) == "[vote: player_3]"
    assert PLAYERS["abstainer"]().reply(asked(game, state, "player_0")) == ABSTAIN


# Episodes.


@pytest.mark.parametrize("name", PLAYERS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"role_visible": False, "voters": "all", "mode": "elimination", "tie": "revote"},
        {"spy_word": "blank", "voters": "non_spy_plus_judge"},
        {"players": 6, "spies": 2, "mode": "elimination", "max_rounds": 4, "tie": "all_tied"},
        {"pairs": (("qqxa", "qqxb"),)},
    ],
    ids=["default", "classic", "blank", "two spies", "unknown words"],
)
def test_no_reply_is_refused(name, options):
    agent = make_agent(name)
    env = make("WhoIsTheSpy-v0", **options).unwrapped
    for seed in range(2):
        env.reset(seed=seed)
        while not env.outcome:
            env.step(agent.act([env.observation(env.agent_selection)])[0].text)
        assert {turn.status for turn in env.record().turns} == {"ok"}


def test_an_episode_follows_from_its_seed():
    game, players = game_of(), {"civilian": PLAYERS["mismatch"](), "spy": Blender()}
    assert play(game, players, 3) == play(game, players, 3)
    assert play(game, players, 3) != play(game, players, 4)
    assert play(game, {**players, "player_0": Blender()}, 3).result


def test_unknown_styles_and_options_are_refused():
    with pytest.raises(ValueError, match="loud"):
        PLAYERS["naive"](clues="loud")
    with pytest.raises(ValueError, match="no option 'volume'"):
        make_agent("naive:volume=3").player("WhoIsTheSpy")


@cache
def found(spy, voter, clues="random"):
    """(spy ejected, votes right, abstentions) with four players and two rounds, the table's setting."""
    players = {"spy": PLAYERS[spy](clues=clues), "civilian": PLAYERS[voter](clues=clues)}
    return shares(WhoIsTheSpy(players=4), players, GAMES)


def test_votes_at_random_eject_the_spy_as_often_as_counting_says():
    ejected, accuracy, abstentions = found("naive", "naive")
    assert ejected == pytest.approx(7 / 27, abs=0.09)  # three standard errors of 250 games
    assert accuracy == pytest.approx(1 / 3, abs=0.06)
    assert abstentions == 0


def test_judging_the_clues_finds_a_naive_spy_far_more_often_than_chance():
    assert found("naive", "mismatch")[0] > found("naive", "naive")[0] + 0.3


def test_abstaining_when_in_doubt_is_never_wrong_about_truthful_players():
    ejected, accuracy, abstentions = found("naive", "abstainer")
    assert accuracy + abstentions == pytest.approx(1.0)
    assert 0.05 < abstentions < 0.6
    assert ejected == pytest.approx(accuracy, abs=1e-9)  # all civilians see the same


def test_a_blending_spy_survives_far_more_often_than_a_naive_one():
    assert found("blender", "mismatch")[0] < found("naive", "mismatch")[0] - 0.2


def test_specific_clues_feed_a_blending_spy_and_expose_a_naive_one():
    assert found("blender", "mismatch", "specific")[0] < found("blender", "mismatch", "vague")[0] - 0.1
    assert found("naive", "mismatch", "specific")[0] > found("naive", "mismatch", "vague")[0] + 0.1


def test_the_ladder_is_one():
    """The mean points of each player among players drawn from all: the weakest and the strongest stand out."""
    game = WhoIsTheSpy(players=4, scheme="win")
    naive, abstainer, mismatch, blender = (mean_return(game, name, 400) for name in PLAYERS)
    assert naive < min(abstainer, mismatch)
    assert max(abstainer, mismatch) + 0.1 < blender
