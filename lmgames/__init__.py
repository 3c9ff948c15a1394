"""Multi-turn text games for language models, as PettingZoo and Gymnasium environments.

    import lmgames
    env = lmgames.make("KuhnPoker-v0")

Importing registers every game under `lmgames/<Name>-v0` with `pettingzoo.make("aec", ...)` and `gymnasium.make(...)`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from lmgames.aec import GameEnv
from lmgames.chance import Chance
from lmgames.game import Game
from lmgames.observation import Observation, Player
from lmgames.parsing import IllegalMove
from lmgames.records import GameRecord, ReplayMismatch, replay
from lmgames.registry import GAMES, make, make_game, register
from lmgames.spaces import TextSpace
from lmgames.text import Line, Said

if TYPE_CHECKING:
    from lmgames import playthrough, solve, testing

__all__ = [
    "GAMES",
    "Chance",
    "Game",
    "GameEnv",
    "GameRecord",
    "IllegalMove",
    "Line",
    "Observation",
    "Player",
    "ReplayMismatch",
    "Said",
    "TextSpace",
    "make",
    "make_game",
    "playthrough",
    "register",
    "replay",
    "solve",
    "testing",
]
_WHEN_ASKED_FOR = ("playthrough", "solve", "testing")
"""Modules that playing needs not, imported by their first use."""


def __getattr__(name: str) -> object:
    if name in _WHEN_ASKED_FOR:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
