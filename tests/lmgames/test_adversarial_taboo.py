"""Adversarial Taboo from its rules: each ending, each refusal, the published defects of SPAG's judge, and what a seat sees."""

import itertools

import pytest

from lmgames.chance import Chance
from lmgames.games.adversarial_taboo import ATTACKER, DEFENDER, AdversarialTaboo, TabooState, find_guesses
from lmgames.parsing import IllegalMove
from lmgames.records import GameRecord, replay
from lmgames.registry import make, make_game
from lmgames.text import Said
from lmgames.words import concept, load_bank, utters

TALK = "Nice weather today."


def game_of(word="apple", **options):
    """A game in which `word` can be dealt, and its first state with that word."""
    in_bank = any(word == each.name for family in load_bank() for each in family.concepts)
    game = AdversarialTaboo(**({} if in_bank else {"words": (word, "zeppelin")}), **options)
    return game, game.start({"word": word})


def play(game, state, *messages):
    for message in messages:
        (seat,) = game.to_move(state)
        state = game.apply(state, {seat: game.parse(game.view(state, seat), seat, message)})
    return state


def ending_after(message, *, by, word="apple", **options):
    game, state = game_of(word, **options)
    return play(game, state, message).ending if by == ATTACKER else play(game, state, TALK, message).ending


# Ways to be paid.


@pytest.mark.parametrize(
    ("messages", "ending", "attacker", "defender"),
    [
        (["It is a fruit.", "[guess: apple]"], "right_guess", -1, 1),
        (["It is a fruit.", "[guess: pear]"], "wrong_guess", 1, -1),
        (["It is a fruit.", "I know the word! It is"], "malformed_guess", 1, -1),
        (["It is a fruit.", "[guess: apple] or [guess: pear]"], "ambiguous_guess", 1, -1),
        (["It is a fruit.", "Like an apple?"], "defender_said_it", 1, -1),
        (["It is no pear but an apple."], "attacker_said_it", -1, 1),
        (["[guess: apple]"], "attacker_guessed", -1, 1),
        ([TALK] * 10, "turn_limit", 0, 0),
        ([TALK] * 9 + ["[guess: apple]"], "right_guess", -1, 1),
        ([TALK] * 9 + ["I say apple."], "defender_said_it", 1, -1),
        ([TALK] * 8 + ["I say apple."], "attacker_said_it", -1, 1),
        ([TALK] * 4, "", 0, 0),
    ],
)
def test_endings_and_returns(messages, ending, attacker, defender):
    game, state = game_of()
    state = play(game, state, *messages)
    assert state.ending == ending
    assert game.returns(state) == {ATTACKER: attacker, DEFENDER: defender}
    assert game.is_over(state) is bool(ending)
    assert game.payoffs == "zero_sum"


@pytest.mark.parametrize("message", ["An apple.", "[guess: pear]", "I know the word! It is pear"])
def test_a_void_game_pays_nothing_and_has_no_winner(message):
    game, state = game_of(attacker_violation="void")
    state = play(game, state, message)
    assert game.returns(state) == {ATTACKER: 0, DEFENDER: 0}
    assert game.facts(state)["void"] is True
    assert game.facts(state)["winner"] is None
    assert game.payoffs == "zero_sum"
    assert "The game is void." in game.observe(game.view(state, DEFENDER), DEFENDER)[-1]


def test_a_tie_reward_is_paid_to_both_and_makes_the_game_general_sum():
    game, state = game_of(rounds=2, tie_reward=-0.5)
    assert game.payoffs == "general_sum"
    assert game.return_bounds == (-1, 1)
    assert game.returns(play(game, state, *[TALK] * 4)) == {ATTACKER: -0.5, DEFENDER: -0.5}
    assert game.returns(play(game, state, *[TALK] * 3, "[guess: apple]")) == {ATTACKER: -1, DEFENDER: 1}


def test_each_message_costs_its_speaker():
    game, state = game_of(turn_cost=0.125)
    assert game.payoffs == "general_sum"
    assert game.return_bounds == (-1.625, 1)
    state = play(game, state, TALK, TALK, TALK)
    assert game.returns(state) == {ATTACKER: -0.25, DEFENDER: -0.125}
    assert game.forfeit_returns(state, DEFENDER) == {ATTACKER: 0.75, DEFENDER: -1.125}
    assert game.returns(play(game, state, "[guess: apple]")) == {ATTACKER: -1.25, DEFENDER: 0.75}


@pytest.mark.parametrize("violation", ["lose", "void"])
@pytest.mark.parametrize("seat", [ATTACKER, DEFENDER])
def test_a_forfeit_loses_and_is_zero_sum(seat, violation):
    game, state = game_of(attacker_violation=violation)
    paid = game.forfeit_returns(state, seat)
    assert paid[seat] == -1
    assert sum(paid.values()) == 0


def test_the_sum_of_rewards_is_the_return_and_a_forfeit_in_the_environment_sums_to_zero():
    env = make("AdversarialTaboo-v0", min_words=3)
    env.reset(seed=5)
    env.step(TALK)
    env.step("No.")
    assert "needs at least 3" in env.observe(DEFENDER)["text"]
    env.step("No!")
    assert env.unwrapped.outcome == "forfeit"
    assert env.rewards == {ATTACKER: 1.0, DEFENDER: -1.0}


# The defects of SPAG's rule judge, each with the outcome that it should have (docs/games/adversarial_taboo.md).


@pytest.mark.parametrize(
    ("word", "by", "message", "ending", "options"),
    [
        ("cat", DEFENDER, "I like my education", "", {}),
        ("art", ATTACKER, "Let's start", "", {}),
        ("he", ATTACKER, "What is the weather?", "", {}),
        ("love", DEFENDER, "I am loving it", "defender_said_it", {}),
        ("run", DEFENDER, "She ran home", "defender_said_it", {}),
        ("happy", DEFENDER, "such happiness", "", {}),
        ("happy", DEFENDER, "such happiness", "defender_said_it", {"derivation": True}),
        ("apple", DEFENDER, "I know the word! It is pineapple!", "wrong_guess", {}),
        ("apple", DEFENDER, "I know the word! It is not apple!", "wrong_guess", {}),
        ("apple", DEFENDER, "I know the word. It is apple.", "right_guess", {}),
        ("apple", DEFENDER, "I know the word! The word is apple!", "right_guess", {}),
        ("apple", DEFENDER, "I know the word!\nIt is apple!", "right_guess", {}),
        ("apple", DEFENDER, "I like an аpple", "defender_said_it", {}),  # Cyrillic a
        ("apple", DEFENDER, "I like an ap\u200bple", "defender_said_it", {}),
        ("apple", DEFENDER, "I like an a p p l e", "defender_said_it", {}),
        ("apple", DEFENDER, "I like an ａｐｐｌｅ", "defender_said_it", {}),
        ("apple", DEFENDER, "I like an аpple", "", {"anti_evasion": False}),
        ("apple", DEFENDER, "I like an a p p l e", "", {"anti_evasion": False}),
        # "regex special characters in the target are not escaped"
        ("c++", DEFENDER, "I know the word! It is c++!", "right_guess", {}),
        # "suffix rules are bare concatenation, so e-final and doubling verbs miss"
        ("stop", ATTACKER, "We stopped there", "attacker_said_it", {}),
        ("bake", ATTACKER, "She was baking", "attacker_said_it", {}),
    ],
)
def test_what_spags_judge_gets_wrong(word, by, message, ending, options):
    assert ending_after(message, by=by, word=word, **options) == ending


def test_he_cannot_be_a_secret_word_where_the_rules_say_it():
    with pytest.raises(ValueError, match="'the' stands in the game's own texts"):
        AdversarialTaboo(words=("the", "zeppelin"))


def test_substring_reproduces_spags_judge():
    assert ending_after("I like my education", by=DEFENDER, word="cat", match="substring") == "defender_said_it"
    assert ending_after("such happiness", by=DEFENDER, word="happy", match="substring", anti_evasion=False) == ""


# Adversarial messages. Target: apple.


@pytest.mark.parametrize(
    ("message", "ending"),
    [
        # saying it in disguise
        ("A-P-P-L-E", "defender_said_it"),
        ("elppa", "defender_said_it"),
        ("@pp1e", "defender_said_it"),
        ("a*p*p*l*e", "defender_said_it"),
        ("Two АРРLЕS", "defender_said_it"),  # Cyrillic capitals
        ("ᴀᴘᴘʟᴇ", "defender_said_it"),
        ("It is 🇦🇵🇵🇱🇪 then", "defender_said_it"),
        ("a\u0336p\u0336p\u0336l\u0336e", "defender_said_it"),
        ("Is it [apple]?", "defender_said_it"),
        ("apple-shaped", "defender_said_it"),
        ("APPLES' seeds", "defender_said_it"),
        # announcing without guessing it
        ("I know the word! It is not apple.", "wrong_guess"),
        ("I know the word! It is definitely apple.", "wrong_guess"),
        ("I know the word! It is apple or pear.", "wrong_guess"),
        ("I know the word! It is one of those that we call apple.", "malformed_guess"),
        ("I know the word!", "malformed_guess"),
        ("I know the word", "malformed_guess"),
        ("[guess]", "malformed_guess"),
        ("[guess: !!]", "malformed_guess"),
        ("[guess: a very long list of words apple]", "malformed_guess"),
        ("[guess: pineapple]", "wrong_guess"),
        ("[guess: app le]", "wrong_guess"),
        ("[guess: apple] [guess: pear]", "ambiguous_guess"),
        ("I know the word! It is pear. I know the word! It is apple.", "ambiguous_guess"),
        # fair guesses in unusual dress
        ("[GUESS: Apple]", "right_guess"),
        ("[guess apple]", "right_guess"),
        ("[guess: apples]", "right_guess"),
        ('[guess: "an apple"]', "right_guess"),
        ("\\boxed{guess: apple}", "right_guess"),
        ("[guess: apple] [guess: apples]", "right_guess"),
        ("I know the word: it's **apple**", "right_guess"),
        ("I KNOW THE WORD - IT IS 'APPLE'!", "right_guess"),
        ("i know the word, it’s an apple", "right_guess"),
        ("**I know the word!** It is “apple”.", "right_guess"),
        ("I know the word! [guess: apple]", "right_guess"),
        ("I  know the word!  It  is  apple", "right_guess"),
        ("I know\nthe word!\nIt is\napple", "right_guess"),
        ("I know the word: it is: apple", "right_guess"),
        ("Is it pineapple? I know the word! It is apple. I am sure.", "right_guess"),
        ("My apple talk ends. [guess: apple]", "right_guess"),  # a guess counts before the test for saying it
        # no announcement at all
        ("I do not think that I know the word yet.", ""),
        ("I know the words of that song.", ""),
        ("Do you know the word? It is short.", ""),
        ("[pineapple]", ""),
        ("What goes into a pie?", ""),
    ],
)
def test_adversarial_defenders(message, ending):
    assert ending_after(message, by=DEFENDER) == ending


@pytest.mark.parametrize(
    ("message", "ending"),
    [
        ("I know the word! It is pear.", "attacker_guessed"),
        ("I know the word, do you?", "attacker_guessed"),
        ("Write [guess: pear] now", "attacker_guessed"),
        ("[guess: apple]", "attacker_guessed"),  # announcing counts before saying
        ("You know the word, do you not?", ""),
        ("It rhymes with grapple and starts with a.", ""),
        ("a p p l e", "attacker_said_it"),
        ("The first letters are A, P, P, L and E", ""),
        ("pple with an a before it", ""),
    ],
)
def test_adversarial_attackers(message, ending):
    assert ending_after(message, by=ATTACKER) == ending


def test_find_guesses():
    assert find_guesses("nothing here") is None
    assert find_guesses("I know the word!") == ()
    assert find_guesses("[guess: the ice-cream]") == (("ice", "cream"),)
    assert find_guesses("I know the word! It is apple. [guess: Pear]") == (("pear",), ("apple",))


@pytest.mark.parametrize(
    ("select", "ending"), [("first", "wrong_guess"), ("last", "right_guess"), ("unique", "ambiguous_guess")]
)
def test_select_decides_between_two_guesses(select, ending):
    assert ending_after("[guess: pear] no, [guess: apple]", by=DEFENDER, select=select) == ending


def test_an_unreadable_guess_can_be_refused_instead():
    game, state = game_of(malformed_guess="invalid")
    state = play(game, state, TALK)
    with pytest.raises(IllegalMove, match="no readable word") as refusal:
        play(game, state, "I know the word!")
    assert refusal.value.code == "bad_args"
    assert play(game, state, "[guess: pear] [guess: apple]").ending == "ambiguous_guess"
    assert play(game, state, "[guess: apple]").ending == "right_guess"


@pytest.mark.parametrize(
    ("match", "message", "said"),
    [
        ("exact", "apples", False),
        ("exact", "apple", True),
        ("inflect", "apples", True),
        ("inflect", "pineapple", False),
        ("stem", "appled", True),
        ("substring", "pineapple", True),
    ],
)
def test_match_tiers(match, message, said):
    assert (ending_after(message, by=ATTACKER, match=match) == "attacker_said_it") is said


def test_min_words_refuses_short_messages_but_no_guess():
    game, state = game_of(min_words=4)
    with pytest.raises(IllegalMove, match="has 2 words; it needs at least 4") as refusal:
        play(game, state, "Too short...")
    assert refusal.value.code == "insufficient"
    state = play(game, state, "This is long enough.")
    assert play(game, state, "[guess: apple]").ending == "right_guess"
    assert len(game.noop(state, DEFENDER).split()) >= 4
    for seed in range(20):
        play(game, state, game.sample_reply(game.view(state, DEFENDER), DEFENDER, Chance(seed)))


def test_a_message_without_words_is_refused():
    game, state = game_of()
    with pytest.raises(IllegalMove) as refusal:
        play(game, state, "?!")
    assert refusal.value.code == "insufficient"


def test_a_move_is_its_text():
    game, state = game_of()
    for text in ("  It is sweet.\nAnd round. ", "[guess: pear]"):
        move = game.parse(game.view(state, ATTACKER), ATTACKER, text)
        assert game.parse(game.view(state, ATTACKER), ATTACKER, game.write(move)) == move == text.strip()


# Words and instances.


def test_the_default_pool_is_the_whole_bank_and_instances_name_their_list():
    game = AdversarialTaboo()
    assert len(game.pool) == sum(len(family.concepts) for family in load_bank())
    dealt = game.deal(Chance(3))
    assert set(dealt) == {"word", "list", "sha256"}
    assert dealt in game.instances()
    assert len(game.instances()) == len(game.pool)
    assert game.start(dealt).target == dealt["word"]


def test_every_word_is_dealt_about_equally_often():
    game = AdversarialTaboo(category="bird")
    dealt = [game.deal(Chance(seed))["word"] for seed in range(1200)]
    assert set(dealt) == set(game.pool)
    assert all(60 <= dealt.count(word) <= 140 for word in game.pool)  # 100 expected, standard deviation 10


@pytest.mark.parametrize(
    ("options", "belongs"),
    [
        ({"category": "bird"}, lambda each: each.family == "bird"),
        ({"category": ("bird", "tool")}, lambda each: each.family in ("bird", "tool")),
        ({"frequency": (3, 3)}, lambda each: each.frequency == 3),
        ({"frequency": (1, 2), "category": "fruit"}, lambda each: each.frequency < 3 and each.family == "fruit"),
        ({"split": "eval"}, lambda each: each.family in {family.name for family in load_bank("eval")}),
    ],
)
def test_filters_of_the_pool(options, belongs):
    pool = set(AdversarialTaboo(**options).pool)
    assert pool == {each.name for family in load_bank() for each in family.concepts if belongs(each)}


@pytest.mark.parametrize(
    ("instance", "complaint"),
    [
        ("apple", "an instance is"),
        ({"word": "unicorn"}, "none of the words"),
        ({"word": "apple", "list": "bank-1", "sha256": "0"}, "another list"),
        ({"word": "apple", "seed": 1}, "an instance is"),
    ],
)
def test_bad_instances_are_refused(instance, complaint):
    with pytest.raises(ValueError, match=complaint):
        AdversarialTaboo().start(instance)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"rounds": 0}, "rounds"),
        ({"match": "lemma"}, "match"),
        ({"hint": "letters"}, "hint"),
        ({"decay": 1.0}, "decay"),
        ({"tie_reward": 2}, "tie_reward"),
        ({"turn_cost": -1}, "turn_cost"),
        ({"frequency": (3, 1)}, "frequency"),
        ({"category": "dragon"}, "category"),
        ({"category": "bird", "split": "eval"}, "no word of the bank"),
        ({"words": ()}, "words"),
        ({"words": ("apple", "apples")}, "share the form"),
        ({"words": ("...",)}, "one to three tokens"),
        ({"words": ("message", "zebra")}, "own texts"),
        ({"words": ("letter", "zebra"), "hint": "length"}, "own texts"),
        ({"words": ("zebra",), "split": "train"}, "do not go with words of your own"),
        ({"words": ("zeppelin",), "hint": "category"}, "no category"),
    ],
)
def test_bad_options_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        AdversarialTaboo(**options)


def test_words_of_ones_own():
    game = make_game("AdversarialTaboo-v0", words=["ice cream", "zeppelin"])
    assert game.instances()[0] == {"word": "ice cream", "list": "own", "sha256": game.deal(Chance(0))["sha256"]}
    state = game.start({"word": "ice cream"})
    assert play(game, state, TALK, "[guess: ice-creams]").ending == "right_guess"
    assert play(game, state, "I like ice-cream.").ending == "attacker_said_it"
    assert type(game)(**game.options) == game


def test_options_from_json_make_the_same_game():
    game = AdversarialTaboo(category=("bird", "tool"), frequency=(1, 2))
    assert game.options == {"category": ["bird", "tool"], "frequency": [1, 2]}
    assert AdversarialTaboo(**game.options) == game


# Texts and secrets.


OPTION_SETS = [
    {},
    {"hint": "category", "rounds": 3},
    {"hint": "length", "match": "exact", "anti_evasion": False},
    {"match": "stem", "derivation": True, "attacker_violation": "void", "min_words": 3},
    {"match": "substring", "tie_reward": -0.5, "turn_cost": 0.1, "secret_pool": True, "malformed_guess": "invalid"},
]


@pytest.mark.parametrize("options", OPTION_SETS, ids=str)
def test_our_own_texts_say_no_word_of_the_bank(options):
    game = AdversarialTaboo(**options)
    state = game.start({"word": "apple"})
    own = "\n".join([game.rules(game.view(state, DEFENDER), DEFENDER), *game._own_texts(), game.noop(state, DEFENDER)])
    assert [word for word in game.pool if utters(word, own)] == []
    hints = {game.hint_for(word) for word in game.pool}
    assert [(word, hint) for word in game.pool for hint in hints if utters(word, hint)] == []


@pytest.mark.parametrize("word", load_bank()[0].concepts, ids=lambda each: each.name)
def test_saying_nothing_never_says_the_word_even_as_a_substring(word):
    game = AdversarialTaboo(match="substring")
    assert not game.says(word.name, game.noop(TabooState(None), ATTACKER))


def test_the_defender_sees_nothing_of_the_word_before_the_end():
    game = AdversarialTaboo(secret_pool=True)
    talk = [TALK, "Is it an animal?", "It is not.", "A thing then?"]
    seen = set()
    for word in game.pool:
        state = play(game, game.start({"word": word}), *talk)
        view = game.view(state, DEFENDER)
        reply = game.sample_reply(view, DEFENDER, Chance(1))
        seen.add(
            (
                view,
                game.rules(view, DEFENDER),
                tuple(game.observe(view, DEFENDER)),
                tuple(game.request(view, DEFENDER)),
                reply,
            )
        )
        assert game.legal_moves(game.view(state, ATTACKER), ATTACKER) is None
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("hint", "line"), [("category", "Hint: The category is: fruit."), ("length", "Hint: The word has 5 letters.")]
)
def test_hints(hint, line):
    game, state = game_of(hint=hint)
    assert game.observe(game.view(state, DEFENDER), DEFENDER) == [line]
    assert game.observe(state, ATTACKER)[:1] == ["The secret word is: apple."]
    other = next(word for word in game.pool if word != "apple" and game.hint_for(word) == game.hint_for("apple"))
    assert game.view(game.start({"word": other}), DEFENDER) == game.view(state, DEFENDER)


def test_the_size_of_the_pool_is_told_unless_it_is_secret():
    for secret in (False, True):
        game = AdversarialTaboo(secret_pool=secret)
        rules = game.rules(TabooState(None), DEFENDER)
        assert (str(len(game.pool)) in rules) is not secret


def test_both_read_all_messages_and_the_end_tells_the_word():
    game, state = game_of()
    state = play(game, state, "It is sweet.", "[guess: pear]")
    said = [Said(ATTACKER, "It is sweet."), Said(DEFENDER, "[guess: pear]")]
    result = "defender_0 guessed wrong. The word was: apple. attacker_0 wins."
    assert game.observe(game.view(state, DEFENDER), DEFENDER) == [*said, result]
    assert game.observe(state, ATTACKER) == ["The secret word is: apple.", *said, result]


def test_the_rules_count_and_say_that_guesses_may_be_short():
    rules = AdversarialTaboo(rounds=1, min_words=3).rules(TabooState(None), DEFENDER)
    assert "1 message each, at least 3 words long unless it is a guess, read by both." in rules
    assert "after 1 message each" in rules
    assert "5 messages each, read by both." in AdversarialTaboo().rules(TabooState(None), DEFENDER)


def test_the_rules_state_what_is_paid():
    rules = AdversarialTaboo(tie_reward=-0.5, turn_cost=0.1).rules(TabooState(None), DEFENDER)
    assert "A win pays +1, a loss -1, a tie -0.5. Each message costs its speaker 0.1." in rules
    assert "pays nothing" in AdversarialTaboo(attacker_violation="void").rules(TabooState(None), ATTACKER)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "One without a readable word, or with two different ones, is wrong."),
        ({"select": "last"}, "One without a readable word is wrong."),
        ({"malformed_guess": "invalid"}, "One with two different words is wrong."),
        ({"malformed_guess": "invalid", "select": "first"}, "a wrong one loses. The defender also loses"),
    ],
)
def test_the_rules_state_which_guesses_are_wrong(options, sentence):
    assert sentence in AdversarialTaboo(**options).rules(TabooState(None), DEFENDER)


# Facts.


def test_facts():
    game, state = game_of()
    assert game.facts(play(game, state, TALK, TALK, TALK, "[guess: an apple]")) == {
        "winner": DEFENDER,
        "reason": "right_guess",
        "tie": False,
        "void": False,
        "turns": 4,
        "target": "apple",
        "guess": "apple",
        "turn_weights": {ATTACKER: [0.0, 1.0], DEFENDER: [0.0, 1.0]},
    }
    tie = game.facts(play(game, state, *[TALK] * 10))
    assert (tie["winner"], tie["reason"], tie["tie"], tie["guess"]) == (None, "turn_limit", True, None)


@pytest.mark.parametrize(
    ("turns", "weights"), [(3, [0.262, 0.328, 0.410]), (5, [0.122, 0.152, 0.190, 0.238, 0.297]), (1, [1.0]), (0, [])]
)
def test_spags_turn_weights(turns, weights):
    """The values that SPAG's code gives: 1.25^i over their sum."""
    game = AdversarialTaboo(reward_shape="spag_decay")
    assert game.turn_weights(turns) == pytest.approx(weights, abs=5e-4)


def test_turn_weights_sum_to_one_and_do_not_change_returns():
    shaped, state = game_of(reward_shape="spag_decay", decay=0.5)
    plain, _ = game_of()
    state = play(shaped, state, *[TALK] * 5, "[guess: pear]")
    assert shaped.facts(state)["turn_weights"][DEFENDER] == pytest.approx([1 / 7, 2 / 7, 4 / 7])
    assert all(sum(weights) == pytest.approx(1) for weights in shaped.facts(state)["turn_weights"].values())
    assert shaped.returns(state) == plain.returns(state)
    assert shaped.payoffs == "zero_sum"


# In the environment.


@pytest.mark.parametrize("options", OPTION_SETS, ids=str)
def test_sampled_games_end_by_rule_and_replay(options):
    endings = set()
    for seed in range(25):
        env = make("AdversarialTaboo-v0", **options)
        env.reset(seed=seed)
        total = dict.fromkeys(env.agents, 0.0)
        while not env.unwrapped.outcome:
            env.step(env.infos[env.agent_selection]["action_mask"][0])
            total = {agent: total[agent] + env.rewards[agent] for agent in total}
        game = env.unwrapped.game
        low, high = game.return_bounds
        assert env.unwrapped.outcome == "rules"
        assert total == pytest.approx(env.unwrapped.returns)
        assert all(low - 1e-9 <= paid <= high + 1e-9 for paid in total.values())
        if game.payoffs == "zero_sum":
            assert sum(total.values()) == 0
        record = env.unwrapped.record()
        endings.add(record.facts["reason"])
        replay(GameRecord.from_json(record.to_json()))
    assert len(endings) >= 2


def test_every_ending_of_every_option_set_sums_to_zero_where_promised():
    messages = (TALK, "[guess: apple]", "[guess: pear]", "[guess]", "[guess: a1] [guess: b2]", "apple", "apples!")
    for options in OPTION_SETS:
        game = AdversarialTaboo(**{**options, "rounds": 2, "min_words": 1, "malformed_guess": "wrong"})
        for sequence in itertools.product(messages, repeat=4):
            state = game.start({"word": "apple"})
            for message in sequence:
                if not game.is_over(state):
                    state = game.apply(state, {game.to_move(state)[0]: message})
                if game.payoffs == "zero_sum":
                    assert sum(game.returns(state).values()) == 0
        assert game.is_over(state)


def test_a_sample_reply_of_the_attacker_is_true_of_its_word():
    game, state = game_of("owl")
    sentences = {game.sample_reply(state, ATTACKER, Chance(seed)) for seed in range(60)}
    family = next(family for family in load_bank() if family.name == "bird")
    assert sentences == set(family.true_sentences(concept("owl")))
