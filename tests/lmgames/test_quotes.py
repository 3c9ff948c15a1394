"""Quotes: what counts, what does not, and that nothing is repaired."""

import pytest

from lmgames.quotes import Found, Piece, count_tokens, find_quote, normalized, split_speech

PASSAGE = (
    "The Nautilus sailed 3.14 leagues. Ned did not betray his crew; he didn't even lie.\n"
    "“The sea is everything,”  said the captain. A well-known path: C:\\new\\data. ﬁne ships passed."
)


@pytest.mark.parametrize(
    "quote",
    [
        "did not betray his crew",
        "The Nautilus sailed 3.14 leagues",
        "The Nautilus sailed 3.14 leagues.",
        "he didn't even lie",
        "he didn’t even lie",  # a typographic quote is a straight one
        '"The sea is everything," said the captain',  # two spaces in the passage, curly quotes
        "“The sea is everything,” said the captain",
        "he didn't even lie. \"The sea\n  is everything",  # over a line break
        "path: C:\\new\\data",  # a backslash is a character like others
        "fine ships passed",  # the passage has a ligature
        '  even lie. "The  ',
    ],
)
def test_valid(quote):
    found = find_quote(quote, [PASSAGE])
    assert isinstance(found, Found)
    assert found.text == normalized(quote)
    assert normalized(PASSAGE)[found.start : found.end] == found.text


@pytest.mark.parametrize(
    ("quote", "reason"),
    [
        ("e", "too_short"),
        (". . .", "too_short"),
        ("", "too_short"),
        ("3.14 leagues", "too_short"),  # one number and one word
        ("well-known path", "too_short"),
        ("sailed 314 leagues", "not_found"),  # punctuation inside a number is part of it
        ("14 leagues. Ned did", "not_found"),  # not from the middle of a number
        ("not betray his cre", "not_found"),  # nor to the middle of a word
        ("t even lie", "not_found"),  # nor from behind an apostrophe
        ("known path: C", "not_found"),
        ("did betray his crew", "not_found"),  # near to the passage, and fabricated: not repaired
        ("Did not betray his crew", "not_found"),  # case counts
        ("The Nautilus ... leagues", "not_found"),  # parts are not joined
        ("The Nautilus [...] Ned did", "not_found"),
        ("did not betray (his) crew", "not_found"),
        ("\\1 did not betray", "not_found"),
    ],
)
def test_invalid(quote, reason):
    assert find_quote(quote, [PASSAGE]) == reason


def test_options_of_the_check():
    assert find_quote("DID NOT BETRAY", [PASSAGE], case=False).text == "did not betray"
    assert find_quote("3.14 leagues", [PASSAGE], min_tokens=2).text == "3.14 leagues"
    assert find_quote("crew", [PASSAGE], min_tokens=1).text == "crew"
    assert find_quote("rew", [PASSAGE], min_tokens=1) == "not_found"


def test_a_later_place_counts_if_the_first_is_inside_a_word():
    assert find_quote("art", ["A cart of art"], min_tokens=1).start == 10


def test_a_quote_lies_within_one_part():
    parts = ["1. Ann goes to the attic.", "2. Ben goes to the attic."]
    assert find_quote("Ben goes to", parts).unit == 1
    assert find_quote("goes to the", parts).unit == 0  # the first place
    assert find_quote("the attic. 2. Ben", parts) == "not_found"


def test_lower_case_keeps_places():
    found = find_quote("i̇stanbul is far", ["İİ İstanbul is far"], case=False)  # İ has a lower case of two characters
    assert found == "not_found" or found.text.startswith("İstanbul")
    assert find_quote("is FAR away", ["İİ is far away"], case=False).text == "is far away"


def test_tokens():
    assert [count_tokens(text) for text in ("", "...", "3.14", "don't", "well-known man", "a b, c!")] == [0, 0, 1, 1, 2, 3]


@pytest.mark.parametrize(
    ("speech", "pieces"),
    [
        ("I say <quote>a b c</quote> so", [("words", "I say"), ("quote", "a b c"), ("words", "so")]),
        ("<QUOTE> a </Quote>", [("quote", "a")]),
        ("<quote>a</quote><quote>b</quote>", [("quote", "a"), ("quote", "b")]),
        ("no <quote>end", [("words", "no <quote>end")]),
        ("no </quote> start", [("words", "no </quote> start")]),
        ("<quote>a <quote>b</quote> c</quote> d", [("nested", "a <quote>b</quote> c"), ("words", "d")]),
        ("<quote>a <quote>b</quote> c", [("words", "<quote>a"), ("quote", "b"), ("words", "c")]),  # the first never ends
        ("<quote>a</quote> b</quote>", [("quote", "a"), ("words", "b</quote>")]),
        ("<quote>a<quote>b</quote><quote>c</quote></quote>", [("nested", "a<quote>b</quote><quote>c</quote>")]),
        ("<quote></quote>", [("quote", "")]),
        ("< quote>a</ quote>", [("words", "< quote>a</ quote>")]),
        ("see [quote: 3].", [("words", "see"), ("number", "3"), ("words", ".")]),
        ("[Quote 3][quote:x]", [("number", "3"), ("number", "x")]),
        ("\\boxed{quote: 4}", [("number", "4")]),
        ("[quotes: 3] [unquote 2]", [("words", "[quotes: 3] [unquote 2]")]),
        ("<quote>[quote: 3]</quote>", [("quote", "[quote: 3]")]),
    ],
)
def test_a_speech_in_pieces(speech, pieces):
    assert split_speech(speech, numbered=True) == [Piece(kind, text) for kind, text in pieces]


def test_numbers_only_where_sentences_are_numbered():
    assert split_speech("see [quote: 3]") == [Piece("words", "see [quote: 3]")]


def test_many_tags_take_linear_time():
    speech = "<quote>" * 20_000 + "</quote>" * 20_000
    assert [piece.kind for piece in split_speech(speech)] == ["nested"]
