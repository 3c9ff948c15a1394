"""PettingZoo's and Gymnasium's own tests, and whether the game needs anything from outside."""

import contextlib
import io
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import gymnasium
from gymnasium.utils.env_checker import check_env
from pettingzoo.test import api_test, parallel_api_test, render_test, seed_test
from pettingzoo.utils.wrappers import BaseWrapper

from lmgames.aec import GameEnv
from lmgames.chance import Chance
from lmgames.observation import Observation
from lmgames.parallel import ParallelGameEnv
from lmgames.playthrough import play_by_play
from lmgames.testing.suite import Fault, Skipped, Subject, check

ALLOWED_WARNINGS = (
    "Observation is not a NumPy array",
    "Observation space for each agent probably should be gymnasium.spaces.box or gymnasium.spaces.discrete",
    "Action space for each agent probably should be gymnasium.spaces.box or gymnasium.spaces.discrete",
)
"""What PettingZoo says of any environment whose observations and actions are text."""


class _Unmasked(BaseWrapper[str, Any, Any]):
    """Hides the action masks, so that the official test sends noise instead of legal moves."""

    def last(self, observe: bool = True) -> Any:
        observation, reward, terminated, truncated, info = super().last(observe)
        return observation, reward, terminated, truncated, {k: v for k, v in info.items() if k != "action_mask"}

    def __getattr__(self, name: str) -> Any:
        value = super().__getattr__(name)
        if name == "infos":
            return {seat: {k: v for k, v in info.items() if k != "action_mask"} for seat, info in value.items()}
        return value


@check("T1")
def pettingzoo_tests(subject: Subject) -> None:
    """T1. PettingZoo's api_test with and without masks, seed_test, render_test and parallel_api_test; 3 warnings allowed."""
    cycles = subject.count(200, 1000)

    def made(**options: Any) -> GameEnv:
        return subject.env(**options)

    _quietly("api_test", lambda: api_test(made(), num_cycles=cycles))
    _quietly("api_test without masks", lambda: api_test(_Unmasked(made()), num_cycles=cycles))
    _quietly("seed_test", lambda: seed_test(made, num_cycles=max(10, cycles // 10)))
    _quietly("render_test", lambda: render_test(made))
    _quietly("parallel_api_test", lambda: parallel_api_test(ParallelGameEnv(made()), num_cycles=cycles))


def _quietly(what: str, run: Callable[[], object]) -> None:
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("always")
        try:
            run()
        except Exception as error:
            raise Fault(f"PettingZoo's {what} raised {type(error).__name__}: {error}") from error
    for warning in caught:
        if str(warning.message) not in ALLOWED_WARNINGS:
            raise Fault(f"PettingZoo's {what} warned: {warning.message}")


@check("T2")
def gymnasium_checker(subject: Subject) -> str | None:
    """T2. Gymnasium's check_env on the single-seat environment of every seat, warnings as errors."""
    if subject.env_id is None:
        raise Skipped("not registered; after lmgames.register(...) it is in Gymnasium's registry, too")
    for seat in range(len(subject.game.seats)):
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("error")
            try:
                env = gymnasium.make(subject.env_id, opponent=_Anyone(), seat=seat, **subject.options)
                check_env(env.unwrapped)
            except Exception as error:
                raise Fault(f"check_env with the learner at seat {seat} raised {type(error).__name__}: {error}") from error
    return None


@dataclass(frozen=True, slots=True)
class _Reply:
    text: str


class _Anyone:
    """Plays every game: a random legal reply."""

    def act(self, observations: Sequence[Observation], /) -> list[_Reply]:
        return [_Reply(each.game.sample_reply(each.view, each.seat, Chance(each.seed))) for each in observations]


@check("T3")
def offline(subject: Subject) -> None:
    """T3. Construction, reset and one random game open no network connection."""
    with _no_network():
        for line in play_by_play(subject.env(), subject.seeds[0]):
            assert line


@contextlib.contextmanager
def _no_network() -> Iterator[None]:
    def refuse(*arguments: Any, **_named: Any) -> NoReturn:
        raise Fault(f"the game opened a network connection: {arguments}")

    before = socket.socket.connect, socket.getaddrinfo, socket.create_connection
    socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse  # type: ignore[method-assign]
    try:
        yield
    finally:
        socket.socket.connect, socket.getaddrinfo, socket.create_connection = before  # type: ignore[method-assign]
