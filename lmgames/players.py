"""Opponents by name: whoever sits in the seats that the learner does not.

`lmgames` has no players of its own. It finds them through the entry-point group `lmgames.players`: each entry is a factory,
`factory(spec, game=None) -> Player`, that raises ValueError for a spec it does not know or that cannot play the game named.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any, Protocol

from lmgames.game import Game
from lmgames.observation import HasText, Observation, Player
from lmgames.parsing import public_text

GROUP = "lmgames.players"


class Factory(Protocol):
    """What an entry point of the group names."""

    def __call__(self, spec: str, game: str | None = None) -> Player: ...


@cache
def _factories() -> tuple[Factory, ...]:
    return tuple(entry.load() for entry in sorted(metadata.entry_points(group=GROUP), key=lambda entry: entry.name))


def make_player(spec: str | Player, game_name: str | None = None) -> Player:
    """The player that a spec names; anything with `act` is a player as it is.

    Args:
        spec: e.g. "random" or "nash:alpha=0.2".
        game_name: `Game.name` of what it is going to play, so that a player which cannot is refused here.

    Raises:
        ValueError: if no installed package knows the spec, or the player does not play the game.
    """
    if not isinstance(spec, str):
        if callable(getattr(spec, "act", None)):
            return spec
        raise ValueError(f"a player is a string such as 'random', or has a method act(observations); {spec!r} is neither")
    refusals: list[ValueError] = []
    for factory in _factories():
        try:
            return factory(spec, game_name)
        except ValueError as error:
            refusals.append(error)
    if refusals:
        raise refusals[0]
    raise ValueError(
        f"player {spec!r}: no installed package names players in the entry-point group {GROUP!r}; "
        "install the lmgames distribution with its package `agents`, or pass an object with act(observations)"
    )


def text_of(reply: HasText | str) -> Any:
    """What a reply sends to the environment.

    Raises:
        Exception: what the reply names as its `error`, or RuntimeError, if its player failed to reply (`finish_reason` "error"):
            the empty text that is left is no move of the player's, so it must not lose it a game.
    """
    if isinstance(reply, str):
        return reply
    if getattr(reply, "finish_reason", "") == "error":
        error = getattr(reply, "error", None)
        raise error if isinstance(error, Exception) else RuntimeError("the reply has finish_reason 'error'")
    return reply.text


def move_of(observation: Observation, text: str) -> str:
    """The canonical text of the move that a reply means.

    Raises:
        IllegalMove: if it is refused.
    """
    if text in (observation.legal_moves or ()):
        return text
    game = observation.game
    move: str = game.write(game.parse(observation.view, observation.seat, public_text(text)))
    return move


@dataclass(frozen=True)
class Opponents:
    """Who sits where.

    Args:
        players: by seat or, where a seat is not named, by role.
        anyone: who sits in all other seats; None if nobody does.
        own: players made from specs, to be closed with the environment that made them.
    """

    players: Mapping[str, Player]
    anyone: Player | None = None
    own: tuple[Player, ...] = ()

    def at(self, seat: str, role: str) -> Player:
        """The player of a seat.

        Raises:
            ValueError: if nobody sits there.
        """
        player = self.players.get(seat) or self.players.get(role) or self.anyone
        if player is None:
            raise ValueError(f"opponent: nobody was named for {seat} or the role {role}")
        return player

    def close(self) -> None:
        """Frees what the players hold that were made here."""
        for player in self.own:
            close = getattr(player, "close", None)
            if callable(close):
                close()


def make_opponents(opponent: Any, game: Game[Any, Any], learner: str | None = None) -> Opponents:
    """The opponents of a learner.

    Args:
        opponent: a spec or a player for every other seat, or a dict of them by seat or role.
        game: what is played.
        learner: the learner's seat, which needs no opponent; None if it is not always the same.

    Raises:
        ValueError: for a player that cannot be had, an unknown seat, or a seat that nobody would sit in.
    """
    if isinstance(opponent, Opponents):
        return opponent
    if not isinstance(opponent, dict):
        player = make_player(opponent, game.name)
        return Opponents({}, player, (player,) if isinstance(opponent, str) else ())
    for place in opponent:
        if place not in (*game.seats, *game.roles):
            known = ", ".join((*game.seats, *game.roles))
            raise ValueError(f"opponent: {game.name} has no seat or role {place!r}; there are {known}")
    if learner in opponent:
        warnings.warn(
            f"opponent: nobody but the learner sits at {learner}; {opponent[learner]!r} plays there only if "
            "reset(options={'seat': ...}) seats the learner elsewhere",
            stacklevel=3,
        )
    empty = [seat for seat in game.seats if seat not in opponent and seat != learner]
    if empty and not all(role in opponent for role in game.roles):
        raise ValueError(
            f"opponent: nobody sits at {', '.join(empty)}; name every seat that can be an opponent's, or every role"
        )
    # One player for one spec: a model that sits in several seats is loaded once and asked in one batch.
    made = {spec: make_player(spec, game.name) for spec in opponent.values() if isinstance(spec, str)}
    players = {place: made[who] if isinstance(who, str) else make_player(who) for place, who in opponent.items()}
    return Opponents(players, own=tuple(made.values()))
