"""Text questions of your own: two answers and a passage that debaters quote; read from JSON lines or given as a list.

Two forms of a line are read. Ours: {"id", "question", "answers": [two], "correct": 0, 1 or null, "passage", "meta"}. That of
QuALITY (Pang et al. 2022): {"article_id", "article", "questions": [{"question", "options", "gold_label" (from 1),
"difficult", "validation"}]}, where the wrong answer is the option that careful readers chose most often. No data is shipped.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmgames.chance import Chance
from lmgames.debate_sources.source import Question, Source
from lmgames.text import clean, defuse


@dataclass(frozen=True)
class TextQuestions(Source):
    """A list of questions.

    Args:
        questions: of our form, as dicts.
    """

    questions: tuple[Mapping[str, Any], ...]

    name = "text"
    has_words = True
    default_rounds = 2
    rule_judge = False

    def __post_init__(self) -> None:
        if not self.questions:
            raise ValueError("questions: there is none")
        for number, question in enumerate(self.questions):
            check_question(question, f"questions[{number}]")
            self.read_passage(question["passage"])

    def generate(self, chance: Chance) -> dict[str, Any]:
        question = dict(chance.choice(self.questions, "question"))
        return {"meta": {}, **question, "answers": list(question["answers"])}

    def read_passage(self, passage: Any) -> str:
        if not isinstance(passage, str) or not passage.strip():
            raise ValueError("the passage of a text question is a text that is not empty")
        return passage

    def rules(self, rounds: int, quotes: int | None, mode: str) -> str:
        limit = "" if quotes is None else f" At most {quotes} valid quotes of each debater count."
        turns = "once" if rounds == 1 else f"{rounds} times"
        return (
            "The debaters have read a passage, the judge has not. Speak to the judge in your own words and quote the passage "
            f"to the letter between <quote> and </quote>. The moderator checks every quote.{limit} Each debater speaks {turns}."
        )

    def judging(self, mode: str) -> str:
        raise AssertionError("text questions have no rule judge")

    def passage_lines(self, question: Question) -> list[str]:
        lines = defuse(question.passage).split("\n")
        return ["The passage:", *(f"| {line}" for line in lines if line.strip())]

    def units(self, question: Question) -> Sequence[str]:
        return (clean(question.passage),)


def check_question(question: Any, where: str) -> None:
    """Refuses what is no question of our form.

    Raises:
        ValueError: with `where` and what is wrong.
    """
    if not isinstance(question, Mapping):
        raise ValueError(f"{where}: a question is an object, not {type(question).__name__}")
    missing = [key for key in ("id", "question", "answers", "correct", "passage") if key not in question]
    if missing:
        raise ValueError(f"{where}: {', '.join(missing)} missing")
    if not isinstance(question["id"], str) or not isinstance(question["question"], str) or not question["question"].strip():
        raise ValueError(f"{where}: id and question must be texts, and the question not empty")
    answers = question["answers"]
    two = isinstance(answers, list | tuple) and len(answers) == 2
    if not two or not all(isinstance(answer, str) and answer.strip() for answer in answers):
        raise ValueError(f"{where}: answers must be two texts, not {answers!r}")
    if answers[0] == answers[1]:
        raise ValueError(f"{where}: both answers are {answers[0]!r}")
    if question["correct"] is not None and (type(question["correct"]) is not int or question["correct"] not in (0, 1)):
        raise ValueError(f"{where}: correct must be 0, 1 or null, not {question['correct']!r}")


def load_quality(path: str | Path, *, difficult_only: bool = False) -> list[dict[str, Any]]:
    """The questions of a JSONL file, in either form, in order.

    Args:
        path: of the file; empty lines are skipped.
        difficult_only: whether QuALITY questions not marked `difficult` are left out.

    Raises:
        ValueError: for a broken line, with file, line and what is wrong in it, or if no question is left.
    """
    questions: list[dict[str, Any]] = []
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                questions += _questions_of(line, f"{path}:{number}", difficult_only)
    if not questions:
        raise ValueError(f"{path}: there is no question in it")
    return questions


def _questions_of(line: str, where: str, difficult_only: bool) -> Iterable[dict[str, Any]]:
    try:
        data = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: not JSON: {error}") from None
    if not isinstance(data, dict):
        raise ValueError(f"{where}: a line is an object, not {type(data).__name__}")
    if "article" not in data:
        check_question(data, where)
        return [data]
    if not isinstance(data["article"], str) or not data["article"].strip():
        raise ValueError(f"{where}: article must be a text that is not empty")
    if not isinstance(data.get("questions"), list):
        raise ValueError(f"{where}: questions must be a list")
    found = []
    for index, entry in enumerate(data["questions"]):
        place = f"{where}: questions[{index}]"
        if not isinstance(entry, dict):
            raise ValueError(f"{place}: a question is an object, not {type(entry).__name__}")
        if difficult_only and not entry.get("difficult"):
            continue
        found.append(_from_quality(entry, data, index, place))
    return found


def _from_quality(entry: dict[str, Any], article: dict[str, Any], index: int, where: str) -> dict[str, Any]:
    options = entry.get("options")
    if not isinstance(options, list) or len(options) < 2 or not all(isinstance(option, str) for option in options):
        raise ValueError(f"{where}.options must be two or more texts")
    gold = entry.get("gold_label")
    if type(gold) is not int or not 1 <= gold <= len(options):
        raise ValueError(f"{where}.gold_label must be a number from 1 to {len(options)}, not {gold!r}")
    wrong = _best_distractor(entry.get("validation", []), gold, len(options), f"{where}.validation")
    question = {
        "id": str(entry.get("question_unique_id", f"{article.get('article_id', 'article')}-{index}")),
        "question": entry.get("question"),
        "answers": [options[gold - 1], options[wrong - 1]],
        "correct": 0,
        "passage": article["article"],
        "meta": {"difficult": bool(entry.get("difficult")), "article_id": str(article.get("article_id", ""))},
    }
    check_question(question, where)
    return question


def _best_distractor(validation: Any, gold: int, count: int, where: str) -> int:
    """The wrong option, from 1, that most careful readers took, or else named the best distractor, or else the first."""
    if not isinstance(validation, list) or not all(isinstance(reader, dict) for reader in validation):
        raise ValueError(f"{where} must be a list of objects")
    wrong = [option for option in range(1, count + 1) if option != gold]
    took = [reader.get("untimed_answer") for reader in validation]
    named = [reader.get("untimed_best_distractor") for reader in validation]
    return max(wrong, key=lambda option: (took.count(option), named.count(option), -option))
