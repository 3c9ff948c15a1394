"""Golden playthroughs: a change of any game's text, parsing, luck or payoffs shows here as a diff."""

import difflib
import importlib.util
from pathlib import Path

import pytest

from lmgames import GAMES, replay
from lmgames.playthrough import play_by_play, playthrough
from lmgames.registry import make

GOLDEN = Path(__file__).parent / "golden"
SEEDS = (0, 1, 2)
_spec = importlib.util.spec_from_file_location("option_sets", Path(__file__).with_name("option_sets.py"))
_sets = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_sets)

CASES = [(name, chosen, seed) for name in GAMES for chosen in _sets.option_sets(name) for seed in SEEDS]


def path_of(name: str, chosen: str, seed: int) -> Path:
    return GOLDEN / f"{name}.{chosen}.{seed}.txt"


@pytest.mark.parametrize(("name", "chosen", "seed"), CASES)
def test_the_game_plays_as_it_was_written_down(name, chosen, seed, request):
    text = playthrough(name, _sets.option_sets(name)[chosen], seed)
    path = path_of(name, chosen, seed)
    if request.config.getoption("--update-golden"):
        path.write_bytes(text.encode())
        return
    assert path.exists(), f"{path.name} is missing: run pytest {__file__} --update-golden"
    golden = path.read_bytes().decode()
    if text != golden:
        lines = difflib.unified_diff(golden.splitlines(), text.splitlines(), path.name, "now", lineterm="", n=2)
        diff = "\n".join(lines)
        pytest.fail(
            f"{name} no longer plays as {path.name} says. If that is meant, raise the game's version (its ID ends in the next "
            f"-v number) and run: pytest {Path(__file__).name} --update-golden\n{diff}"
        )


def test_no_golden_file_is_left_over(request):
    left_over = {path.name for path in GOLDEN.iterdir()} - {path_of(*case).name for case in CASES}
    if request.config.getoption("--update-golden"):
        for name in left_over:
            (GOLDEN / name).unlink()
    else:
        assert not left_over


@pytest.mark.parametrize("name", GAMES)
def test_every_refusal_and_outcome_can_be_read_in_a_playthrough_and_its_record_replays(name):
    env = make(name).unwrapped
    text = "\n".join(play_by_play(env, 5))
    for turn in env.turns:
        assert f"{turn.status} {turn.code}".strip() in text
    assert replay(env.record()).outcome == env.outcome
    assert f"== end: {env.outcome}" in text
