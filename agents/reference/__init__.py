"""Reference players: one file a game, named in `MODULES` below; `random` and `first` play every game."""

import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from agents.agent import Agent, Reply
from agents.reference.base import First, MixedPlayer, Random, ReferencePlayer
from lmgames.observation import Observation
from lmgames.registry import nearest

__all__ = ["GENERIC", "MODULES", "ReferenceAgent", "MixedPlayer", "ReferencePlayer", "players_of"]

GENERIC: dict[str, Callable[..., ReferencePlayer]] = {"random": Random, "first": First}
MODULES: dict[str, str] = {
    "TicTacToe": "agents.reference.tic_tac_toe",
    "KuhnPoker": "agents.reference.kuhn_poker",
    "Debate": "agents.reference.debate",
    "AdversarialTaboo": "agents.reference.adversarial_taboo",
    "DealOrNoDeal": "agents.reference.deal_or_no_deal",
    "SimpleNegotiation": "agents.reference.simple_negotiation",
    "WhoIsTheSpy": "agents.reference.who_is_the_spy",
}
"""Name of the game -> module whose `PLAYERS` maps a name to the class of a player."""


def players_of(game_name: str) -> dict[str, Callable[..., ReferencePlayer]]:
    """Every reference player of a game by name, weakest first after `random` and `first`."""
    if game_name not in MODULES:
        return dict(GENERIC)
    return {**GENERIC, **importlib.import_module(MODULES[game_name]).PLAYERS}


def all_names() -> set[str]:
    """Names of the reference players of all games."""
    return {name for game in MODULES for name in players_of(game)} | set(GENERIC)


def options_of(name: str) -> dict[str, Any]:
    """Options of the reference players of a name, with their annotations; of all games, since a spec names none."""
    options: dict[str, Any] = {}
    for game in (*MODULES, ""):
        player = players_of(game).get(name)
        if player is not None:
            options |= {each.name: each.annotation for each in inspect.signature(player).parameters.values()}
    return options


class ReferenceAgent(Agent):
    """A reference player by name. Games may have players of the same name; which one plays follows from the observation.

    Args:
        name: e.g. "nash".
        options: of the player, e.g. {"alpha": 0.2}.
    """

    def __init__(self, name: str, /, **options: Any):
        super().__init__()
        self.name = name
        self.options = options
        self._players: dict[str, ReferencePlayer] = {}

    def player(self, game_name: str) -> ReferencePlayer:
        """The player of this name in a game.

        Raises:
            ValueError: if the game has none, or does not know an option.
        """
        if game_name not in self._players:
            players = players_of(game_name)
            if self.name not in players:
                raise ValueError(f"{game_name} has no reference player {self.name!r}{nearest(self.name, players)}")
            try:
                self._players[game_name] = players[self.name](**self.options)
            except TypeError as error:
                raise ValueError(f"reference player {self.name!r} of {game_name}: {error}") from None
        return self._players[game_name]

    def act(self, observations: Sequence[Observation], /) -> list[Reply]:
        return [Reply(self.player(_name(observation)).reply(observation)) for observation in observations]

    def masses(self, observations: Sequence[Observation], /) -> list[dict[str, float]] | None:
        masses = []
        for observation in observations:
            player = self.player(_name(observation))
            if not isinstance(player, MixedPlayer):
                return None
            masses.append(dict(player.mix(observation)))
        return masses


def _name(observation: Observation) -> str:
    return observation.game.name if observation.game is not None else observation.env_id
