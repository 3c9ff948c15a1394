"""Names to games: one table, registered in PettingZoo's and in Gymnasium's registry under the same IDs.

A new game is one line in `GAMES`. A game of your own is registered with `register("MyGame-v0", MyGame)`.
"""

import dataclasses
import difflib
import importlib
import inspect
from collections.abc import Collection
from functools import cache
from typing import Any

import gymnasium
import pettingzoo

from lmgames.aec import GameEnv
from lmgames.game import Game

NAMESPACE = "lmgames"
GAMES: dict[str, str] = {
    "TicTacToe-v0": "lmgames.games.tic_tac_toe:TicTacToe",
    "KuhnPoker-v0": "lmgames.games.kuhn_poker:KuhnPoker",
    "DealOrNoDeal-v0": "lmgames.games.deal_or_no_deal:DealOrNoDeal",
    "SimpleNegotiation-v0": "lmgames.games.simple_negotiation:SimpleNegotiation",
    "AdversarialTaboo-v0": "lmgames.games.adversarial_taboo:AdversarialTaboo",
    "WhoIsTheSpy-v0": "lmgames.games.who_is_the_spy:WhoIsTheSpy",
    "Debate-v0": "lmgames.games.debate:Debate",
}
"""ID without namespace -> "module:class", imported when first made."""


def nearest(name: str, known: Collection[str]) -> str:
    """ "; did you mean 'x'?" for the nearest known name, or the list of all where none is near."""
    folded = {each.casefold(): each for each in known}
    near = difflib.get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.5)
    return f"; did you mean {folded[near[0]]!r}?" if near else f"; there are {', '.join(sorted(known)) or 'none'}"


def register(name: str, game: str | type[Game[Any, Any]]) -> None:
    """Adds a game under `lmgames/<name>` to PettingZoo's and Gymnasium's registries.

    Args:
        name: "CamelCase-v0".
        game: the class, or "module:class".

    Raises:
        ValueError: if the name is taken by another game.
    """
    entry = game if isinstance(game, str) else f"{game.__module__}:{game.__qualname__}"
    if GAMES.get(name, entry) != entry:
        raise ValueError(f"{name!r} is already {GAMES[name]}")
    GAMES[name] = entry
    if not isinstance(game, str):
        _classes[name] = game
    _register_everywhere(name)


_classes: dict[str, type[Game[Any, Any]]] = {}


def _register_everywhere(name: str) -> None:
    env_id = f"{NAMESPACE}/{name}"
    if env_id in gymnasium.registry:
        return
    pettingzoo.register("aec", env_id, entry_point=f"{__name__}:make", kwargs={"name": name})
    pettingzoo.register("parallel", env_id, entry_point="lmgames.parallel:make_parallel", kwargs={"name": name})
    gymnasium.register(
        env_id,
        entry_point="lmgames.single:SingleSeatEnv",
        vector_entry_point="lmgames.vector:TextVectorEnv",
        kwargs={"game": name},
    )


def game_class(name: str) -> type[Game[Any, Any]]:
    """The class of a registered game, by its ID with or without namespace.

    Raises:
        ValueError: for an unknown ID, with the nearest one.
    """
    short = name.removeprefix(NAMESPACE + "/")
    if short not in GAMES:
        raise ValueError(f"no game {name!r}{nearest(short, GAMES)}")
    if short not in _classes:
        module, _, attribute = GAMES[short].partition(":")
        _classes[short] = getattr(importlib.import_module(module), attribute)
    return _classes[short]


@cache
def env_options() -> frozenset[str]:
    """Names of the options of the environment, which go with every game."""
    return frozenset(inspect.signature(GameEnv.__init__).parameters) - {"self", "game", "env_id"}


def split_options(name: str, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of the game and options of the environment.

    Raises:
        ValueError: for an unknown game or option, with the nearest one.
    """
    game_options = {field.name for field in dataclasses.fields(game_class(name)) if field.init}
    for option in options:
        if option not in game_options | env_options():
            raise ValueError(f"{name} has no option {option!r}{nearest(option, game_options | env_options())}")
    of_game = {key: value for key, value in options.items() if key in game_options}
    return of_game, {key: value for key, value in options.items() if key not in game_options}


def make_game(name: str, **options: Any) -> Game[Any, Any]:
    """The rules alone, for search: `make_game("KuhnPoker-v0", hands=5)`.

    Raises:
        ValueError: for an unknown game, option or value.
    """
    of_game, of_env = split_options(name, options)
    if of_env:
        raise ValueError(f"{', '.join(of_env)}: options of the environment, not of the game {name}")
    return game_class(name)(**of_game)


def make(name: str, **options: Any) -> GameEnv:
    """The AEC environment of a game: `make("KuhnPoker-v0", hands=5, legal_hint="none")`.

    Args:
        name: registered ID, with or without "lmgames/".
        options: of the game (fields of its class) and of `GameEnv`.

    Raises:
        ValueError: for an unknown game, option or value.
    """
    of_game, of_env = split_options(name, options)
    env_id = f"{NAMESPACE}/{name.removeprefix(NAMESPACE + '/')}"
    return GameEnv(make_game(name, **of_game), env_id=env_id, **of_env)


for _name in GAMES:
    _register_everywhere(_name)
