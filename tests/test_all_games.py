"""Every registered game passes every check of the conformance suite, and withstands any reply that Hypothesis finds."""

import importlib.util
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmgames import GAMES, IllegalMove, make, make_game
from lmgames.aec import GameEnv
from lmgames.chance import Chance
from lmgames.parsing import REFUSALS, public_text
from lmgames.playthrough import random_reply
from lmgames.testing import CHECKS, check_game

_spec = importlib.util.spec_from_file_location("option_sets", Path(__file__).with_name("option_sets.py"))
_sets = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_sets)

FUZZ = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
PIECES = [
    *"[]{}<>/\\:,-> \n\t0123456789\u2028\u202e",
    *("check", "bet", "vote", "propose", "offer", "accept", "guess", "book", "player_1", "<think>", "</think>", "\\boxed"),
]
TEXTS = st.text(st.characters(codec=None, exclude_categories=())) | st.lists(st.sampled_from(PIECES)).map("".join)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", GAMES)
def test_conforms(name, check):
    report = check_game(name, options=list(_sets.option_sets(name).values()), checks=[check])
    assert [result.check for result in report.results] == [check] * len(_sets.option_sets(name))


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", GAMES)
def test_conforms_thoroughly(name, check):
    """A thousand games where the default has twenty, under the default options."""
    check_game(name, checks=[check], thorough=True)


def at_turn(env: GameEnv, seed: int, turn: int) -> GameEnv:
    """The environment after some random legal replies, before the end."""
    env.reset(seed=seed)
    for _ in range(turn):
        reply = random_reply(env, seed)
        env.step(reply)
        if env.outcome:
            env.reset(seed=seed)
    return env


@pytest.mark.parametrize("name", GAMES)
@FUZZ
@given(text=TEXTS, seed=st.integers(0, 50), turn=st.integers(0, 6))
def test_any_text_is_a_legal_move_or_a_typed_refusal(name, text, seed, turn):
    env = at_turn(make(name).unwrapped, seed, turn)
    game, seat = env.game, env.agent_selection
    view = game.view(env.game_state, seat)
    code, move = "", None
    try:
        move = game.parse(view, seat, public_text(text))
    except IllegalMove as refusal:
        code = refusal.code
    legal = game.legal_moves(view, seat)
    assert code in REFUSALS or legal is None or move in legal
    assert code or game.parse(view, seat, game.write(move)) == move


@pytest.mark.parametrize("name", GAMES)
@FUZZ
@given(
    replies=st.lists(TEXTS | st.none() | st.integers() | st.dictionaries(st.text(), st.text()), max_size=6),
    seed=st.integers(0, 50),
)
def test_step_takes_anything(name, replies, seed):
    env = make(name).unwrapped
    env.reset(seed=seed)
    for reply in replies:
        if env.outcome:
            break
        before = {seat: env.observe(seat)["text"] for seat in env.possible_agents}
        env.step(reply)
        assert env.turns[-1].status in ("ok", "refused", "replaced", "forfeit")
        for seat, text in before.items():
            assert env.observe(seat)["text"].startswith(text)
            env.observe(seat)["text"].encode()
    if env.game.payoffs == "zero_sum":
        assert sum(env.returns.values()) == 0


@pytest.mark.parametrize("name", GAMES)
@FUZZ
@given(seed=st.integers(-(2**70), 2**70))
def test_any_seed_deals_an_instance_that_starts(name, seed):
    game = make_game(name)
    state = game.start(game.deal(Chance(seed)))
    assert game.to_move(state)
