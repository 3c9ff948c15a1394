"""The word bank: structure and rules of the data. The matcher: one case a line, from the rules."""

import itertools
import re
from collections import Counter

import pytest

from lmgames.chance import Chance
from lmgames.inflection import inflections_by_rule, stem
from lmgames.registry import GAMES, make_game
from lmgames.words import (
    BANK_VERSION,
    bank_sha256,
    concept,
    family_of,
    inflections,
    load_bank,
    spy_pairs,
    tokens,
    true_sentences,
    utters,
)

BANK = load_bank()
CONCEPTS = [each for family in BANK for each in family.concepts]
SENTENCES = sorted({attribute.sentence for family in BANK for attribute in family.attributes})
families = pytest.mark.parametrize("family", BANK, ids=lambda family: family.name)


# The bank.


def test_size_of_the_bank():
    assert len(BANK) >= 12
    assert len(CONCEPTS) >= 150
    assert len({each.name for each in CONCEPTS}) == len(CONCEPTS)


@families
def test_a_family_has_the_promised_shape(family):
    assert 12 <= len(family.concepts) <= 24
    assert 14 <= len(family.attributes) <= 20
    assert len({attribute.id for attribute in family.attributes}) == len(family.attributes)
    for each in family.concepts:
        assert each.family == family.name
        assert set(each.attributes) == {attribute.id for attribute in family.attributes}
        assert each.frequency in (1, 2, 3)


@families
def test_some_attributes_are_shared_by_all_and_none_holds_of_nothing(family):
    holding = [sum(each.attributes[attribute.id] for each in family.concepts) for attribute in family.attributes]
    shared = holding.count(len(family.concepts))
    assert 0.25 <= shared / len(family.attributes) <= 0.5
    assert min(holding) >= 1


@families
def test_something_true_of_each_concept_is_false_of_each_sibling(family):
    for one, other in itertools.permutations(family.concepts, 2):
        assert any(holds and not other.attributes[key] for key, holds in one.attributes.items()), (one.name, other.name)


def test_names_are_one_token_of_3_to_12_letters_and_forms_belong_to_one_concept():
    for each in CONCEPTS:
        assert re.fullmatch(r"[a-z]{3,12}", each.name)
        assert each.inflections[0] == each.name
        assert all(tokens(form) == (form,) for form in each.inflections)
        assert len(set(each.inflections)) == len(each.inflections)
    forms = Counter(form for each in CONCEPTS for form in each.inflections)
    assert [form for form, count in forms.items() if count > 1] == []


def test_every_sentence_is_one_short_sentence_within_its_family_only_once():
    for family in BANK:
        assert len({attribute.sentence for attribute in family.attributes}) == len(family.attributes)
    for sentence in SENTENCES:
        assert re.fullmatch(r"[A-Z][^.!?;:]*\.", sentence)
        assert 2 <= len(tokens(sentence)) <= 13, sentence


def test_no_sentence_stands_inside_another():
    spaced = [f" {' '.join(tokens(sentence))} " for sentence in SENTENCES]
    assert [pair for pair in itertools.permutations(spaced, 2) if pair[0] in pair[1]] == []


@families
def test_no_sentence_says_a_word_of_the_bank(family):
    all_sentences = "\n".join(attribute.sentence for attribute in family.attributes)
    assert [each.name for each in CONCEPTS if utters(each, all_sentences, match="stem", derivation=True)] == []


@pytest.mark.parametrize("game", [f"{name}-v0" for name in ("AdversarialTaboo", "WhoIsTheSpy") if f"{name}-v0" in GAMES])
def test_no_word_stands_in_the_rules_of_a_game_of_words(game):
    game = make_game(game)
    state = game.start(game.deal(Chance(0)))
    for seat in game.seats:
        rules = game.rules(game.view(state, seat), seat)
        assert [each.name for each in CONCEPTS if utters(each, rules)] == []


def test_no_hand_checked_form_is_missing():
    """The plural of each noun is in its set, whichever way the rules would spell it; plural nouns carry their singular."""
    for each in CONCEPTS:
        if each.name in ("trousers", "pyjamas", "scissors"):
            assert each.name.removesuffix("s") in each.inflections
        else:
            assert set(each.inflections) & set(inflections_by_rule(each.name)) - {each.name}, each.name
    assert "wolves" in concept("wolf").inflections
    assert "aeroplanes" in concept("airplane").inflections
    assert "shod" in concept("shoe").inflections


def test_split_is_by_family():
    train, held_out = load_bank("train"), load_bank("eval")
    assert {*train, *held_out} == set(BANK)
    assert not {family.name for family in train} & {family.name for family in held_out}
    assert 0.2 <= len(held_out) / len(BANK) <= 0.4
    with pytest.raises(ValueError, match="split='test'"):
        load_bank("test")


def test_looking_things_up():
    assert concept("owl").family == family_of("owl").name == "bird"
    assert "It is a bird of prey that hunts at night." in true_sentences("owl")
    assert "It has webbed feet." not in true_sentences("owl")
    assert load_bank() is load_bank()
    assert re.fullmatch("[0-9a-f]{64}", bank_sha256())
    assert BANK_VERSION == 1
    with pytest.raises(ValueError, match="no concept 'unicorn'"):
        concept("unicorn")


# Pairs.


def test_pairs_are_of_one_family_and_there_is_none_twice():
    assert len(spy_pairs()) >= 200
    for pair in spy_pairs():
        assert concept(pair.civilian).family == concept(pair.spy).family == pair.family
        assert pair.civilian != pair.spy
    assert len({frozenset((pair.civilian, pair.spy)) for pair in spy_pairs()}) == len(spy_pairs())


def test_the_harder_a_pair_the_less_tells_it_apart():
    def differences(pair):
        one, other = concept(pair.civilian).attributes, concept(pair.spy).attributes
        return sum(one[key] != other[key] for key in one)

    means = []
    for difficulty in (1, 2, 3):
        pairs = spy_pairs(difficulty=difficulty)
        assert len(pairs) >= 50
        means.append(sum(map(differences, pairs)) / len(pairs))
    assert means[0] > means[1] > means[2] >= 2


def test_pairs_by_split_and_grade():
    assert {pair.family for pair in spy_pairs("eval")} == {family.name for family in load_bank("eval")}
    assert len(spy_pairs("train")) + len(spy_pairs("eval")) == len(spy_pairs())
    assert {pair.difficulty for pair in spy_pairs("train", 3)} == {3}
    with pytest.raises(ValueError, match="difficulty=4"):
        spy_pairs(difficulty=4)


# Tokens and forms.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't stop, apple-pie!", ("don't", "stop", "apple", "pie")),
        ("The dog’s bone", ("the", "dog", "bone")),
        ("snake_case 42nd", ("snake", "case", "42nd")),
        ("ＡＰＰＬＥ Straße", ("apple", "strasse")),
        ("café 你好", ("café", "你好")),
        ("...", ()),
    ],
)
def test_tokens(text, expected):
    assert tokens(text) == expected


@pytest.mark.parametrize(
    ("word", "forms"),
    [
        ("run", "ran runs running"),
        ("love", "loved loving loves"),
        ("happy", "happier happiest"),
        ("child", "children"),
        ("go", "went gone goes going"),
        ("leaf", "leaves"),
        ("tooth", "teeth"),
        ("cactus", "cacti cactuses"),
        ("stop", "stopped stopping"),
        ("die", "dying died dies"),
        ("box", "boxes"),
        ("city", "cities"),
        ("hero", "heroes heros"),
        ("big", "bigger biggest"),
        ("good", "better best"),
        ("colour", "color colors coloured"),
        ("gray", "grey greyer"),
        ("ran", "run running"),
        ("ice-cream", "ice creams"),
    ],
)
def test_forms_of_words_that_are_not_in_the_bank(word, forms):
    assert set(forms.split(" ")) <= set(inflections(word)) or forms in inflections(word)


@pytest.mark.parametrize(("word", "other"), [("hop", "hoping"), ("rose", "rise"), ("car", "care"), ("ground", "grind")])
def test_forms_do_not_join_different_words(word, other):
    assert other not in inflections(word)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        # examples that Porter's paper gives for its steps
        ("caresses", "caress"),
        ("ponies", "poni"),
        ("plastered", "plaster"),
        ("motoring", "motor"),
        ("hopping", "hop"),
        ("falling", "fall"),
        ("filing", "file"),
        ("happy", "happi"),
        ("sky", "sky"),
        ("vietnamization", "vietnam"),
        ("hopefulness", "hope"),
        ("electrical", "electr"),
        ("adjustable", "adjust"),
        ("probate", "probat"),
        ("controll", "control"),
        ("generalizations", "gener"),
        ("oscillators", "oscil"),
    ],
)
def test_porter_stem(word, expected):
    assert stem(word) == expected


# Whether a text says a word.


@pytest.mark.parametrize(
    ("word", "text", "said"),
    [
        ("cat", "I like my education", False),
        ("cat", "Two CATS!", True),
        ("art", "Let's start", False),
        ("love", "I am loving it", True),
        ("run", "She ran home", True),
        ("happy", "such happiness", False),
        ("apple", "the apple's core", True),
        ("apple", "apple-pie", True),
        ("apple", "pineapple", False),
        ("bee", "I have been there", False),
        ("clock", "at six o'clock", False),
        ("wolf", "wolves", True),
        ("c++", "is it c++?", True),
        ("a.b", "axb", False),
        ("ice cream", "an ice-cream", True),
        ("ice cream", "ice\ncreams", True),
        ("ice cream", "cream on ice", False),
    ],
)
def test_the_default_tier_counts_inflected_tokens(word, text, said):
    assert utters(word, text) is said


@pytest.mark.parametrize(
    ("match", "counted"),
    [
        ("exact", {"organ"}),
        ("inflect", {"organ", "organs"}),
        ("stem", {"organ", "organs", "organization"}),
        ("substring", {"organ", "organs", "organization", "disorganised"}),
    ],
)
def test_tiers(match, counted):
    texts = ("organ", "organs", "organization", "disorganised", "origin")
    assert {text for text in texts if utters("organ", text, match=match)} == counted


def test_derivation_is_a_switch_of_its_own():
    for word, text in [("bank", "a banker"), ("happy", "happiness"), ("happy", "unhappy"), ("home", "homeless")]:
        assert not utters(word, text)
        assert utters(word, text, derivation=True)
    assert not utters("ham", "hammer", derivation=True)
    assert not utters("bank", "a banker", match="exact", derivation=True)


@pytest.mark.parametrize(
    "text",
    [
        "a p p l e",
        "It is an A P P L E I think",
        "a-p-p-l-e",
        "a.p.p.l.e",
        "ap-ple",
        "a*p*p*l*e*s",
        "аpple",  # Cyrillic a
        "αpplε",  # Greek
        "APРLE",  # Cyrillic capital er
        "ap\u200bple",  # zero-width space
        "ap\u00adple",  # soft hyphen
        "a\u0336p\u0336p\u0336l\u0336e\u0336",  # struck through
        "àpplé",
        "4pple",
        "app1e",
        "@pple",
        "4 p p 1 e",
        "elppa",
        "selppa",
        "ᴀᴘᴘʟᴇ",  # small capitals
        "🇦🇵🇵🇱🇪",
        "🅰🅿🅿🅻🅴",
        "🅐🅟🅟🅛🅔",
        "a\u3164pple",  # an invisible Hangul letter
        "e l p p a",
        "ap'ple",
        "appIe",  # capital i
        "apple2",
        "a1p2p3l4e",
    ],
)
def test_disguises_count_unless_switched_off(text):
    assert utters("apple", text)
    assert not utters("apple", text, anti_evasion=False)


@pytest.mark.parametrize("text", ["ａｐｐｌｅ", "𝐚𝐩𝐩𝐥𝐞", "ⓐⓟⓟⓛⓔ"])
def test_compatibility_forms_are_the_same_letters(text):
    assert utters("apple", text, anti_evasion=False)


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("shed", "she'd go"),
        ("wolf", "the flow of time"),
        ("pan", "take a nap"),
        ("dog", "by god"),
        ("apple", "an appeal, a ripple, a1 50 70%"),
        ("cat", "a c t"),
        ("bus", "a sub and 3 more"),
        ("cat", "tic-tac-toe"),
        ("ill", "We said that I'll be there"),
        ("well", "we'll see, they'd go, I'm sure, you've been, it's fine, they're in, don't"),
    ],
)
def test_ordinary_text_is_no_disguise(word, text):
    assert not utters(word, text)


def test_each_tier_counts_what_a_stricter_one_counts():
    for each in CONCEPTS:
        for text in (*each.inflections, f"{each.name}like", f"x{each.name}x", f"{each.name}ness"):
            said = [utters(each, text, match=match) for match in ("exact", "inflect", "stem")]
            assert said == sorted(said)


def test_unknown_tier():
    with pytest.raises(ValueError, match="match='lemma'"):
        utters("apple", "apple", match="lemma")
