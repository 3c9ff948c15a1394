"""Where debates get their questions: each source's truth, evidence, rule judge and refusals."""

import json
import math

import numpy as np
import pytest

from lmgames.chance import Chance
from lmgames.debate_sources import Bisection, Custody, Pixels, Question, Tally, TextQuestions, load_quality
from lmgames.debate_sources.bisection import log_likelihood
from lmgames.debate_sources.custody import implied_room
from lmgames.debate_sources.glyphs import STROKES, draw_glyph
from lmgames.debate_sources.pixels import judge_table, most_alike
from lmgames.games.debate import Debate

GENERATORS = [
    Custody(),
    Custody(size=12, distance=2, people=3, rooms=5),
    Pixels(),
    Pixels(distance=1),
    Tally(),
    Tally(size=6, distance=5),
    Bisection(),
    Bisection(size=4, distance=9),
]


def read(source, data):
    return Question(
        data["id"], data["question"], tuple(data["answers"]), data["correct"], source.read_passage(data["passage"])
    )


@pytest.mark.parametrize("source", GENERATORS, ids=repr)
def test_generated_questions_are_sound(source):
    seen = set()
    for seed in range(40):
        data = source.generate(Chance(seed))
        assert json.loads(json.dumps(data)) == data == source.generate(Chance(seed))
        assert set(data) == {"id", "question", "answers", "correct", "passage", "meta"}
        question = read(source, data)
        assert question.answers[0] != question.answers[1]
        assert source.truth(question) in (0, None)
        assert data["correct"] == 0
        seen.add(data["id"])
    assert len(seen) == 40


# The custody story.


@pytest.mark.parametrize(
    ("sentences", "room"),
    [
        ([], None),
        (["Ann goes to the attic"], None),  # nobody has said where the thing is
        (["Ann takes the key in the attic"], "attic"),
        (["Ann takes the key in the attic", "Ann goes to the hall"], "hall"),  # she carries it
        (["Ann takes the key in the attic", "Ben goes to the hall"], "attic"),
        (["Ann takes the key in the attic", "Ann joins Ben"], None),  # where is Ben?
        (["Ben goes to the hall", "Ann takes the key in the attic", "Ann joins Ben"], "hall"),
        (
            [
                "Ann takes the key in the attic",
                "Ann goes to the hall",
                "Ann drops the key in the hall",
                "Ann goes to the study",
            ],
            "hall",
        ),
        (["Ann drops the key in the hall", "Ann goes to the study"], "hall"),
        (["Ann takes the key in the attic", "Ben takes the key in the hall", "Ann goes to the study"], "hall"),
        (["Ann might take the key in the attic", "The key is in the hall"], None),  # no sentence of a story
    ],
)
def test_where_sentences_lead(sentences, room):
    assert implied_room(sentences) == room


def test_the_story_as_a_whole_leads_to_the_true_answer_and_the_wrong_one_is_a_room_before():
    for distance in (1, 2):
        source = Custody(size=14, distance=distance)
        for seed in range(30):
            data = source.generate(Chance(seed))
            rooms = data["meta"]["rooms_of_the_thing"]
            assert data["answers"] == [f"in the {rooms[-1]}", f"in the {rooms[-1 - distance]}"]
            assert source.truth(read(source, data)) == 0
            assert len(data["passage"]) == 14


@pytest.mark.parametrize(
    "passage", [None, "1. Ann goes to the attic.", [], [1], ["Ann goes to the attic."], ["2. Ann goes to the attic."]]
)
def test_a_story_that_is_none(passage):
    with pytest.raises(ValueError, match="custody story"):
        Custody().read_passage(passage)


# Pixels.


def test_every_digit_has_a_stroke_and_glyphs_are_the_same_for_one_seed():
    assert len(STROKES) == 10
    for digit in range(10):
        glyph = draw_glyph(digit, Chance(1), 0.1)
        assert glyph == draw_glyph(digit, Chance(1), 0.1) != draw_glyph(digit, Chance(2), 0.1)
        assert len(glyph) == 8
        assert all(len(row) == 8 and set(row) <= {0, 1, 2, 3} for row in glyph)


def test_a_glyph_without_noise_is_as_drawn():
    assert draw_glyph(1, Chance(0), 0.0) == [  # the same on every machine
        [0, 0, 1, 3, 3, 0, 0, 0],
        [0, 1, 3, 3, 3, 0, 0, 0],
        [0, 0, 3, 2, 3, 1, 0, 0],
        [0, 0, 0, 1, 3, 2, 0, 0],
        [0, 0, 0, 1, 3, 2, 0, 0],
        [0, 0, 0, 0, 3, 3, 0, 0],
        [0, 0, 0, 0, 3, 3, 0, 0],
        [0, 0, 0, 0, 2, 2, 0, 0],
    ]


def test_the_naive_bayes_table_is_normalised_and_smoothed():
    table = judge_table(0.1)
    assert table.shape == (10, 8, 8, 4)
    assert np.exp(table).sum(axis=-1) == pytest.approx(1.0)
    assert np.exp(table).min() >= 0.5 / (120 + 4 * 0.5) - 1e-12  # Laplace 0.5 over 4 levels, 120 glyphs a digit


def test_the_pixel_judge_leaves_unseen_pixels_out():
    """p is Bayes' rule over the pixels shown; the sum over all levels of an unseen pixel is 1, so it changes nothing."""
    source, table = Pixels(), np.exp(judge_table(0.1))
    parts = [{"kind": "evidence", "data": [3, 4, 2]}, {"kind": "evidence", "data": [8, 1, 1]}]
    record = {"transcript": [{"parts": parts}], "evidence": [], "answers": ["3", "8"]}
    likelihood = [table[digit, 2, 3, 2] * table[digit, 7, 0, 1] for digit in (3, 8)]
    verdict = source.verdict(record)
    assert verdict["p"][0] == pytest.approx(likelihood[0] / sum(likelihood))
    assert verdict["choice"] == int(likelihood[1] > likelihood[0])
    twice = {**record, "transcript": [{"parts": parts + parts}]}  # a pixel shown twice says nothing new
    assert source.verdict(twice) == verdict
    nothing = source.verdict({**record, "transcript": []})
    assert nothing["choice"] is None
    assert nothing["p"] == [0.5, 0.5]


def test_the_wrong_digit_lies_at_its_distance():
    for distance in (1, 5, 9):
        for seed in range(10):
            true, wrong = map(int, Pixels(distance=distance).generate(Chance(seed))["answers"])
            assert most_alike(0.1)[true][distance - 1] == wrong
    assert all(sorted((digit, *others)) == list(range(10)) for digit, others in enumerate(most_alike(0.1)))


@pytest.mark.parametrize("passage", [None, [[0] * 8] * 7, [[0] * 7] * 8, [[4] * 8] * 8, [["0"] * 8] * 8])
def test_a_picture_that_is_none(passage):
    with pytest.raises(ValueError, match="grey levels"):
        Pixels().read_passage(passage)


# The tally.


def test_the_tally_judge_adds_up():
    source = Tally(size=4)
    parts = [{"kind": "evidence", "data": [1, 9]}, {"kind": "evidence", "data": [2, -4]}]
    record = {"transcript": [{"parts": parts}], "evidence": [], "answers": ["below zero", "above zero"]}
    verdict = source.verdict(record)
    assert verdict["choice"] == 1  # 9 - 4 = 5 is above zero
    values = [value for value in range(-9, 10) if value]
    sums = [5 + one + two for one in values for two in values]
    above = sum(total > 0 for total in sums) / sum(total != 0 for total in sums)  # all ways to complete the list
    assert verdict["p"] == pytest.approx([1 - above, above])
    even = {
        **record,
        "transcript": [{"parts": [{"kind": "evidence", "data": [1, 9]}, {"kind": "evidence", "data": [2, -9]}]}],
    }
    assert source.verdict(even)["choice"] is None
    assert source.verdict(even)["p"] == pytest.approx([0.5, 0.5])


def test_the_sum_keeps_its_distance_from_zero():
    for seed in range(30):
        data = Tally(size=6, distance=5).generate(Chance(seed))
        assert abs(sum(data["passage"])) >= 5
        assert data["answers"][0] == ("above zero" if sum(data["passage"]) > 0 else "below zero")


@pytest.mark.parametrize("passage", [None, [1, 2, 3], [0, 1, 2, 3], [10, 1, 2, 3], [1.0, 1, 2, 3], [True, 1, 2, 3]])
def test_a_list_that_is_none(passage):
    with pytest.raises(ValueError, match="integers from -9 to 9"):
        Tally(size=4).read_passage(passage)


# The bisection.


def test_likelihoods_of_totals():
    assert log_likelihood(0, 2) == pytest.approx(math.log(1 / 100))
    assert log_likelihood(9, 2) == pytest.approx(math.log(10 / 100))
    assert log_likelihood(5, 1) == pytest.approx(math.log(1 / 10))
    assert log_likelihood(-1, 2) == log_likelihood(19, 2) == -math.inf
    assert log_likelihood(3, 4) == log_likelihood(33, 4)  # exactly: a tie must be a tie


def test_the_bisection_judge_alone_takes_the_likelier_total():
    record = {"transcript": [], "evidence": [{"kind": "evidence", "data": [1, 9]}], "answers": ["20", "12"]}
    verdict = Bisection(size=4).verdict(record)  # three digits are left, for 11 or for 3
    odds = [math.exp(log_likelihood(11, 3)), math.exp(log_likelihood(3, 3))]
    assert verdict["choice"] == 0
    assert verdict["p"][0] == pytest.approx(odds[0] / sum(odds))


def test_the_greatest_distance_of_a_sum_is_one_that_lists_have():
    assert Tally(size=2).generate(Chance(0))
    sums = [abs(Tally(size=200).generate(Chance(seed))["meta"]["sum"]) for seed in range(300)]
    assert 0.01 < sum(total >= 156 for total in sums) / 300 < 0.1  # 1/20
    Tally(size=200, distance=156)


def test_the_wrong_total_lies_at_its_distance_and_is_possible():
    for seed in range(50):
        true, wrong = map(int, Bisection(size=2, distance=9).generate(Chance(seed))["answers"])
        assert abs(true - wrong) == 9
        assert 0 <= wrong <= 18


@pytest.mark.parametrize("passage", [None, [1, 2, 3], [1, 2, 3, 10], [1, 2, 3, -1], [1, 2, 3, "4"]])
def test_digits_that_are_none(passage):
    with pytest.raises(ValueError, match="digits from 0 to 9"):
        Bisection(size=4).read_passage(passage)


# Options of the sources.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "custody", "size": 2}, "3 to 200 events"),
        ({"source": "custody", "distance": 4}, "too far"),
        ({"source": "pixels", "size": 9}, "no such option"),
        ({"source": "pixels", "distance": 10}, "1st to 9th"),
        ({"source": "pixels", "rounds": 7}, "6 turns at most"),
        ({"source": "tally", "size": 1}, "2 to 999"),
        ({"source": "tally", "rounds": 11}, "10 turns at most"),
        ({"source": "bisection", "size": 12}, "2, 4, 8"),
        ({"source": "bisection", "rounds": 5}, "4 turns at most"),
        ({"source": "bisection", "distance": 10}, "1 to 9"),
        ({"source": "custody", "size": 0}, "at least 1"),
        ({"source": "tally", "distance": -1}, "at least 1"),
        ({"source": "tally", "size": 999, "distance": 999}, "1 to 349 from zero"),
        ({"source": "tally", "size": 4, "distance": 5}, "1 to 4 from zero"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        Debate(**options)


# Questions of a user's own.

OWN = {"id": "q", "question": "Who?", "answers": ["Ann", "Ben"], "correct": 1, "passage": "Ben did it at noon.", "meta": {}}
QUALITY = {
    "article_id": "52845",
    "article": "Ben did it at noon. Ann slept.",
    "questions": [
        {
            "question": "Who did it?",
            "question_unique_id": "52845_1",
            "options": ["Ann", "Ben", "Cleo", "Dan"],
            "gold_label": 2,
            "difficult": 1,
            "validation": [
                {"untimed_answer": 2, "untimed_best_distractor": 1},
                {"untimed_answer": 4, "untimed_best_distractor": 1},
                {"untimed_answer": 4, "untimed_best_distractor": 3},
            ],
        },
        {"question": "Who slept?", "options": ["Ann", "Ben"], "gold_label": 1, "difficult": 0, "validation": []},
    ],
}


def written(path, *lines):
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return str(path)


def test_both_forms_of_a_line_are_read(tmp_path):
    questions = load_quality(written(tmp_path / "q.jsonl", OWN, "", QUALITY))
    assert [question["id"] for question in questions] == ["q", "52845_1", "52845-1"]
    assert questions[1]["answers"] == ["Ben", "Dan"]  # the wrong option that careful readers took most often
    assert questions[1]["correct"] == 0
    assert questions[1]["passage"] == QUALITY["article"]
    assert questions[2]["answers"] == ["Ann", "Ben"]
    assert [one["id"] for one in load_quality(written(tmp_path / "q.jsonl", QUALITY), difficult_only=True)] == ["52845_1"]


def without(data, *keys):
    return {key: value for key, value in data.items() if key not in keys}


def quality_with(**changes):
    return {**QUALITY, "questions": [{**QUALITY["questions"][0], **changes}]}


def test_a_reader_without_a_readable_answer_does_not_count(tmp_path):
    readers = [{}, {"untimed_answer": None}, {"untimed_answer": [4]}, {"untimed_answer": 3}]
    (question,) = load_quality(written(tmp_path / "q.jsonl", quality_with(validation=readers)))
    assert question["answers"] == ["Ben", "Cleo"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"q.jsonl:2: not JSON"),
        ("[1]", r"q.jsonl:2: a line is an object, not list"),
        (without(OWN, "passage", "id"), r"q.jsonl:2: id, passage missing"),
        ({**OWN, "answers": ["Ann"]}, "answers must be two texts"),
        ({**OWN, "answers": ["Ann", "Ann"]}, "both answers are 'Ann'"),
        ({**OWN, "correct": 2}, "correct must be 0, 1 or null, not 2"),
        ({**OWN, "correct": True}, "correct must be 0, 1 or null"),
        ({**OWN, "question": " "}, "question not empty"),
        ({**QUALITY, "article": ""}, "article must be a text"),
        ({**QUALITY, "questions": {}}, "questions must be a list"),
        ({**QUALITY, "questions": [3]}, r"questions\[0\]: a question is an object"),
        (quality_with(gold_label=0), r"questions\[0\].gold_label must be a number from 1 to 4, not 0"),
        (quality_with(gold_label="2"), "gold_label"),
        (quality_with(options=["Ann"]), r"questions\[0\].options must be two or more texts"),
        (quality_with(validation={}), r"questions\[0\].validation must be a list of objects"),
        (quality_with(question=None), "question must be texts"),
    ],
)
def test_broken_lines_are_told(tmp_path, line, message):
    with pytest.raises(ValueError, match=message):
        load_quality(written(tmp_path / "q.jsonl", OWN, line))


def test_no_question_is_told(tmp_path):
    with pytest.raises(ValueError, match="no question"):
        load_quality(written(tmp_path / "q.jsonl", ""))
    with pytest.raises(ValueError, match="there is none"):
        TextQuestions(())


def test_a_game_on_a_file_and_on_a_list(tmp_path):
    path = written(tmp_path / "q.jsonl", OWN)
    of_file = Debate(source="text", questions=path, judge="agent")
    of_list = Debate(source="text", questions=(OWN,), judge="agent")
    assert of_file.options == {"source": "text", "questions": path, "judge": "agent"}
    for game in (of_file, of_list):
        instance = game.deal(Chance(1))
        assert sorted(instance["question"]["answers"]) == ["Ann", "Ben"]
        assert instance["question"]["answers"][instance["question"]["correct"]] == "Ben"
    with pytest.raises(ValueError, match="no rule judge"):
        Debate(source="text", questions=path)
    with pytest.raises(ValueError, match="questions belong to"):
        Debate(source="text", judge="agent")
    with pytest.raises(ValueError, match="questions belong to"):
        Debate(questions=path)


@pytest.mark.parametrize("swap", ["fixed", "random", "both"])
def test_fixed_answers_stay_in_the_order_of_the_question(swap):
    question = {
        "id": "q",
        "question": "Which?",
        "answers": ["wrong", "right"],
        "correct": 1,
        "passage": "It is right, they say.",
    }
    game = Debate(source="text", questions=[question], judge="coin", swap=swap)
    dealt = [game.deal(Chance(seed))["question"] for seed in range(40)]
    assert all(each["answers"][each["correct"]] == "right" for each in dealt)
    first = [each["correct"] for each in dealt]
    assert set(first) == ({1} if swap == "fixed" else {0, 1})
    turned = {**question, "answers": ["right", "wrong"], "correct": 0}
    again = Debate(source="text", questions=[turned], judge="coin", swap=swap)
    if swap != "fixed":  # luck, and not the file, says which answer is A
        assert [again.deal(Chance(seed))["question"]["correct"] for seed in range(40)] == first
