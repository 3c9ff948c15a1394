"""What a player is given when it is asked, and what a player is to the environments."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Observation:
    """One request to one seat. Models read `text`; players that are programs may read `view` with the rules of `game`.

    Args:
        text: all that the seat may know, ending with what is asked of it.
        seat: e.g. "player_0".
        role: e.g. "first"; what the seat may know of its own role.
        legal_moves: the texts of every legal move, or None where words are free.
        turn: turns of the episode so far; seats that move at once take one together.
        seed: fixed by (episode seed, seat, turn, attempt). A player that draws its randomness from it plays the same
            whatever else is played beside it.
        env_id: registered ID of the game.
        game: the rules, a `Game`; None for environments that are not ours.
        view: the state as far as the seat may know it; None likewise.
    """

    text: str
    seat: str
    role: str = ""
    legal_moves: tuple[str, ...] | None = None
    turn: int = 0
    seed: int = 0
    env_id: str = ""
    game: Any = None
    view: Any = None


class HasText(Protocol):
    """A reply: anything with the text to be sent to the environment."""

    @property
    def text(self) -> str: ...


class Player(Protocol):
    """What can sit in a seat: a batch of observations in, a reply to each out."""

    def act(self, observations: Sequence[Observation], /) -> Sequence[HasText]: ...
