"""Multi-turn text games for language models, as PettingZoo and Gymnasium environments.

    import lmgames
    env = lmgames.make("KuhnPoker-v0")

Importing registers every game under `lmgames/<Name>-v0` with `pettingzoo.make("aec", ...)` and `gymnasium.make(...)`.
"""

from lmgames.aec import GameEnv
from lmgames.chance import Chance
from lmgames.game import Game
from lmgames.observation import Observation, Player
from lmgames.parsing import IllegalMove
from lmgames.records import GameRecord, ReplayMismatch, replay
from lmgames.registry import GAMES, make, make_game, register
from lmgames.spaces import TextSpace
from lmgames.text import Line, Said

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
    "register",
    "replay",
]
