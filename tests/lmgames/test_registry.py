"""One name in every registry, and errors that say what was meant."""

import subprocess
import sys
from dataclasses import dataclass
from typing import ClassVar

import gymnasium
import pettingzoo
import pytest

import lmgames
from lmgames import GAMES, Game, GameEnv, make_game, register
from lmgames.registry import game_class


@dataclass(frozen=True, kw_only=True)
class Coin(Game[tuple, str]):
    """One seat says heads or tails and wins 1 if it is right."""

    sides: tuple[str, ...] = ("heads", "tails")

    name: ClassVar[str] = "Coin"
    roles: ClassVar[tuple[str, ...]] = ("player",)
    seats = ("player_0",)
    payoffs = "general_sum"
    return_bounds = (0.0, 1.0)
    max_turns = 1

    def deal(self, chance):
        return chance.choice(self.sides, "coin")

    def start(self, instance):
        return (instance,)

    def to_move(self, state):
        return self.seats if len(state) == 1 else ()

    def apply(self, state, moves):
        return (*state, moves["player_0"])

    def returns(self, state):
        return {"player_0": float(len(state) == 2 and state[0] == state[1])}

    def view(self, state, seat):
        return state if len(state) == 2 else ("?",)

    def rules(self, view, seat):
        return "Heads or tails?"

    def observe(self, view, seat):
        return [f"It was {view[0]}."] if len(view) == 2 else []

    def legal_moves(self, view, seat):
        return self.sides if self.to_move(view) else ()

    def parse(self, view, seat, text):
        return text.strip("[]")


@pytest.fixture
def registered():
    """`Coin-v0`, registered for one test."""
    register("Coin-v0", Coin)
    yield "Coin-v0"
    GAMES.pop("Coin-v0")
    gymnasium.registry.pop("lmgames/Coin-v0")
    pettingzoo.aec_registry.pop("lmgames/Coin-v0")
    pettingzoo.parallel_registry.pop("lmgames/Coin-v0")
    lmgames.registry._classes.pop("Coin-v0")


@pytest.mark.parametrize("name", list(GAMES))
def test_the_same_game_under_one_name(name):
    ours = lmgames.make(name)
    full = lmgames.make(f"lmgames/{name}")
    theirs = pettingzoo.make("aec", f"lmgames/{name}")
    for env in (ours, full, theirs):
        assert type(env) is GameEnv  # in no wrapper: it holds the order of calls itself
        assert env.unwrapped is env
        assert env.env_id == f"lmgames/{name}"
        env.reset(seed=4)
    assert ours.unwrapped.instance == full.unwrapped.instance == theirs.unwrapped.instance
    single = gymnasium.make(f"lmgames/{name}", disable_env_checker=True)
    single.reset(seed=4)
    assert single.unwrapped.core.instance == ours.unwrapped.instance


@pytest.mark.parametrize("name", list(GAMES))
def test_names_follow_the_convention(name):
    game = make_game(name)
    assert name == f"{game.name}-v{game.version}"
    assert gymnasium.spec(f"lmgames/{name}").version == game.version
    env = GameEnv(game)
    assert env.metadata["name"].endswith(f"_v{game.version}")
    assert env.metadata["name"] == env.metadata["name"].lower()
    assert all(seat.rsplit("_", 1)[1].isdigit() for seat in game.seats)
    assert f"lmgames/{name}" in gymnasium.registry


def test_options_reach_the_game_and_the_environment():
    for env in (
        lmgames.make("KuhnPoker-v0", hands=5, legal_hint="none"),
        pettingzoo.make("aec", "lmgames/KuhnPoker-v0", hands=5, legal_hint="none"),
    ):
        assert env.unwrapped.game.hands == 5
        assert env.unwrapped.legal_hint == "none"


def test_gymnasium_imports_the_module_that_is_named():
    code = "import gymnasium; print(gymnasium.make('lmgames:lmgames/KuhnPoker-v0').reset(seed=0)[0][:19])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "You play Kuhn Poker\n"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lmgames.make("KuhnPokr-v0"), "no game 'KuhnPokr-v0'; did you mean 'KuhnPoker-v0'?"),
        (lambda: lmgames.make("kuhnpoker-v0"), "did you mean 'KuhnPoker-v0'?"),
        (lambda: lmgames.make("lmgames/KuhnPoker-v1"), "did you mean 'KuhnPoker-v0'?"),
        (lambda: lmgames.make("Zork-v9"), "there are "),
        (lambda: make_game("Chess"), "no game 'Chess'"),
        (lambda: lmgames.make("KuhnPoker-v0", hand=5), "KuhnPoker-v0 has no option 'hand'; did you mean 'hands'?"),
        (lambda: lmgames.make("KuhnPoker-v0", legal_hints="list"), "did you mean 'legal_hint'?"),
        (lambda: lmgames.make("KuhnPoker-v0", hands=0), "hands=0 must be an integer from 1"),
        (lambda: lmgames.make("KuhnPoker-v0", scoring="points"), "scoring='points' is not one of 'chips', 'match'"),
        (lambda: lmgames.make("KuhnPoker-v0", share="none"), "share='none' is not one of 'move', 'public', 'raw'"),
        (lambda: make_game("KuhnPoker-v0", retries=2), "retries: options of the environment, not of the game"),
        (lambda: pettingzoo.make("aec", "lmgames/KuhnPoker-v0", hand=5), "did you mean 'hands'?"),
        (lambda: gymnasium.make("lmgames/KuhnPoker-v0", hand=5), "did you mean 'hands'?"),
    ],
)
def test_errors_say_what_was_meant(call, message):
    with pytest.raises(ValueError) as caught:
        call()
    assert message in str(caught.value)


def test_options_that_json_turned_into_lists_are_tuples_again(registered):
    assert make_game(registered, sides=["heads", "tails", "edge"]).sides == ("heads", "tails", "edge")


def test_a_game_of_ones_own(registered):
    assert game_class(registered) is Coin
    env = pettingzoo.make("aec", "lmgames/Coin-v0", show_rules=False)
    env.reset(seed=0)
    env.step(f"[{env.unwrapped.instance}]")
    assert env.unwrapped.returns == {"player_0": 1.0}
    single = gymnasium.make("lmgames/Coin-v0")
    text, _ = single.reset(seed=0)
    assert text == "Heads or tails?\nYou are player_0.\nYour turn. Legal moves: [heads] [tails]"
    text, reward, terminated, truncated, _ = single.step(f"[{single.unwrapped.core.instance}]")
    assert (reward, terminated, truncated) == (1.0, True, False)
    record = single.unwrapped.record()
    assert lmgames.replay(record).returns == {"player_0": 1.0}


def test_a_name_is_given_once(registered):
    register(registered, Coin)  # again the same: nothing happens
    with pytest.raises(ValueError, match=r"'Coin-v0' is already .*Coin"):
        register(registered, "somewhere:Else")
