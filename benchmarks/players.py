"""The agents of a tournament: by name, from specs; one agent may be a different player in each game.

A table in a configuration or a pool, e.g. `{ KuhnPoker = "nash", TicTacToe = "minimax", default = "random" }`, makes one agent
of several: whoever the observation's game names plays.
"""

import tomllib
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.agent import Agent, Observation, Reply
from agents.human import Human
from agents.reference import ReferenceAgent
from agents.specs import check_plays, make_agent
from benchmarks.cache import CachedAgent, ReplyCache
from lmgames.registry import GAMES, game_class, nearest

POOLS = Path(__file__).parent / "pools"
Spec = str | Mapping[str, str]
"""What an agent is made from: a spec, or one for each game."""


class PerGame(Agent):
    """Another player in each game.

    Args:
        players: by `Game.name`; "default" plays the others.
    """

    def __init__(self, players: Mapping[str, Agent]):
        self.players = dict(players)

    def player(self, game_name: str) -> Agent:
        """Who plays a game.

        Raises:
            ValueError: if nobody does.
        """
        player = self.players.get(game_name, self.players.get("default"))
        if player is None:
            raise ValueError(f"no player for {game_name}; there are {', '.join(self.players)}")
        return player

    def act(self, observations: Sequence[Observation], /) -> list[Reply]:
        return [self._of(observation).act([observation])[0] for observation in observations]

    def submit(self, key: Hashable, observation: Observation) -> None:
        self._of(observation).submit(key, observation)

    def poll(self) -> list[tuple[Hashable, Reply]]:
        return [reply for player in dict.fromkeys(self.players.values()) for reply in player.poll()]

    def masses(self, observations: Sequence[Observation], /) -> list[dict[str, float]] | None:
        if not observations:
            return []
        return self._of(observations[0]).masses(observations)

    def _of(self, observation: Observation) -> Agent:
        return self.player(observation.game.name if observation.game is not None else observation.env_id)

    def about(self) -> dict[str, Any]:
        return {key: value for player in self.players.values() for key, value in player.about().items()}

    def fingerprint(self) -> dict[str, Any]:
        return {"per_game": {game: player.fingerprint() for game, player in sorted(self.players.items())}}

    def close(self) -> None:
        for player in self.players.values():
            player.close()


def make_player(name: str, spec: Spec, cache: ReplyCache | None = None) -> Agent:
    """The agent of a spec.

    Args:
        name: for messages.
        spec: of it.
        cache: of replies that are not asked for again; scripted players and people need none.

    Raises:
        ValueError: for an unknown spec, game or player, with the nearest one.
    """
    try:
        if isinstance(spec, str):
            return _cached(make_agent(spec), cache)
        known = {game_class(game).name for game in GAMES} | {"default"}
        for game in spec:
            if game not in known:
                raise ValueError(f"no game {game!r}{nearest(game, known)}")
        players = {game: make_agent(of, None if game == "default" else game) for game, of in spec.items()}
        agent = PerGame({game: _cached(player, cache) for game, player in players.items()})
        agent.spec = spec_text(spec)
    except ValueError as error:
        raise ValueError(f"agent {name!r}: {error}") from None
    return agent


def _cached(agent: Agent, cache: ReplyCache | None) -> Agent:
    return agent if cache is None or isinstance(agent, ReferenceAgent | Human) else CachedAgent(agent, cache)


def spec_text(spec: Spec) -> str:
    """A spec on one line."""
    return spec if isinstance(spec, str) else " ".join(f"{game}={of}" for game, of in sorted(spec.items()))


def check_agent_plays(name: str, agent: Agent, game_name: str) -> None:
    """Refuses an agent that cannot play a game, before any game is begun.

    Raises:
        ValueError: naming the players that the game has.
    """
    try:
        check_plays(agent.player(game_name) if isinstance(agent, PerGame) else agent, game_name)
    except ValueError as error:
        raise ValueError(f"agent {name!r}: {error}") from None


def exact_mix(agent: Agent, game_name: str) -> ReferenceAgent | None:
    """The reference player behind an agent in a game, whose mix is its policy exactly; None for other agents."""
    player = agent.player(game_name) if isinstance(agent, PerGame) else agent
    return player if isinstance(player, ReferenceAgent) else None


def read_pool(name: str) -> dict[str, Any]:
    """A frozen pool of agents: {"agents": by name, "games": ..., "blocks": ..., ...}, the keys of a configuration.

    Raises:
        ValueError: for an unknown name, with the nearest one.
    """
    known = {path.stem: path for path in sorted(POOLS.glob("*.toml"))}
    if name not in known:
        raise ValueError(f"no pool {name!r}{nearest(name, known)}")
    return tomllib.loads(known[name].read_text(encoding="utf-8"))
