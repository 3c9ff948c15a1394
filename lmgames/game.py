"""What a game must answer: rules as pure functions over frozen states, and nothing else.

    instance = game.deal(chance)            what is drawn once per episode, as JSON
    state = game.start(instance)            a frozen value; the rules never change one in place
    game.to_move(state)                     the seats to reply now; several reply without seeing each other
    view = game.view(state, seat)           the state with everything removed that the seat must not know
    game.observe(view, seat)                what has happened so far, as lines; they are only ever added to
    game.request(view, seat)                what is asked of the seat now
    move = game.parse(view, seat, text)     or IllegalMove
    state = game.apply(state, {seat: move})

`GameEnv` plays every game for PettingZoo; `lmgames.solve` searches it; both need only these answers. What a seat is told,
allowed and refused comes from its view, so a secret cannot slip out of any of them.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Generic, Literal, TypeVar

from lmgames.chance import Chance
from lmgames.parsing import IllegalMove, Select
from lmgames.text import Line

State = TypeVar("State")
Move = TypeVar("Move")
Payoffs = Literal["zero_sum", "cooperative", "general_sum"]

__all__ = [
    "Chance",
    "Game",
    "IllegalMove",
    "Line",
    "Payoffs",
    "check_choice",
    "check_count",
    "check_number",
    "check_pair",
    "check_tuple",
]


@dataclass(frozen=True, kw_only=True)
class Game(ABC, Generic[State, Move]):
    """The rules of one game under one set of options. A subclass is a frozen dataclass; its fields are the options.

    Args:
        select: what to do with two different commands in one reply: refuse it ("unique") or take one of them.
    """

    select: Select = "unique"

    name: ClassVar[str]
    """CamelCase, as in the registered ID."""
    version: ClassVar[int] = 0
    """Raised by any change of text, parsing, chance or payoff."""
    roles: ClassVar[tuple[str, ...]]
    """Every value `role_of` can give."""
    sources: ClassVar[tuple[str, ...]] = ()
    """Where the rules come from."""
    words_are_free: ClassVar[bool] = False
    """Whether some replies are free text, so that `legal_moves` can be None."""
    simultaneous: ClassVar[bool] = False
    """Whether several seats can be to move at once."""
    hidden_information: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for field in fields(self):  # lists when read from JSON
            object.__setattr__(self, field.name, _with_tuples(getattr(self, field.name)))
        check_choice("select", self.select, ("unique", "last", "first"))

    # Declared by each game, as class attributes or as properties of its options.

    @property
    @abstractmethod
    def seats(self) -> tuple[str, ...]:
        """Chairs at the table, `<word>_<n>`, in seat order."""

    @property
    @abstractmethod
    def payoffs(self) -> Payoffs:
        """ "zero_sum" promises that `returns` sums to 0 in every state, forfeits included."""

    @property
    @abstractmethod
    def return_bounds(self) -> tuple[float, float]:
        """Least and greatest return of any seat, in the unit that the game's page names."""

    @property
    @abstractmethod
    def max_turns(self) -> int:
        """No episode has more accepted moves."""

    # The rules.

    @abstractmethod
    def deal(self, chance: Chance) -> Any:
        """All that luck decides in an episode: an instance, of JSON types."""

    @abstractmethod
    def start(self, instance: Any) -> State:
        """The first state.

        Raises:
            ValueError: if `instance` is none of this game's, saying why.
        """

    def instances(self) -> Sequence[Any] | None:
        """Every instance, each equally likely under `deal`; None where they cannot be listed."""
        return None

    @abstractmethod
    def to_move(self, state: State) -> tuple[str, ...]:
        """Seats that reply now, in seat order; several commit before any is revealed; none when the game is over."""

    def is_over(self, state: State) -> bool:
        return not self.to_move(state)

    def turns_taken(self, state: State) -> int | None:
        """How many turns came before, as all seats may know: one for all seats that move at once. None leaves it to the
        environment, which counts those it has asked for; that will do unless luck or a secret decides whether one is held."""
        return None

    @abstractmethod
    def apply(self, state: State, moves: Mapping[str, Move]) -> State:
        """The state after every seat of `to_move(state)` has moved."""

    @abstractmethod
    def returns(self, state: State) -> dict[str, float]:
        """What each seat has been paid so far; the reward of a step is the difference."""

    def role_of(self, state: State, seat: str) -> str:
        """The role of a seat: seats whose returns may be compared share one. Fixed through an episode."""
        return seat.rsplit("_", 1)[0]

    def facts(self, state: State) -> dict[str, Any]:
        """What the rules found out besides the returns, of JSON types. Read only when the game is over; may tell secrets."""
        return {}

    # What a seat knows, is told and may do. Each is given the seat's view, not the state.

    def view(self, state: State, seat: str) -> State:
        """The state as far as `seat` may know it: everything else blanked. Perfect information needs no override."""
        return state

    @abstractmethod
    def rules(self, view: State, seat: str) -> str:
        """The rules and the grammar of moves, as the seat reads them first. The same through an episode."""

    @abstractmethod
    def observe(self, view: State, seat: str) -> list[Line]:
        """What has happened, as lines, in order. A later observation starts with the lines of an earlier one, and two
        states that the rules let the seat tell apart give different lines."""

    def request(self, view: State, seat: str) -> list[Line]:
        """What a seat to move needs to read last, e.g. the board. It follows from what `observe` has told."""
        return []

    @abstractmethod
    def legal_moves(self, view: State, seat: str) -> tuple[Move, ...] | None:
        """Every move open to the seat now, () if it is not to move, None where words are free."""

    @abstractmethod
    def parse(self, view: State, seat: str, text: str) -> Move:
        """The move that a public text means, one that is legal now.

        Raises:
            IllegalMove: for anything else, with a code of `parsing.REFUSALS` and a message that says what would be legal.
        """

    def write(self, move: Move) -> str:
        """The canonical text of a move; `parse` gives the move back. The environment counts on it: a reply that is the text of a
        legal move and nothing else is that move, and `parse` is not asked."""
        return f"[{move}]"

    def sample_reply(self, view: State, seat: str, chance: Chance) -> str:
        """A legal reply drawn by chance: a uniformly random legal move. Games with free words override it."""
        moves = self.legal_moves(view, seat)
        if not moves:
            raise ValueError(f"{self.name}: {seat} has no listed move; a game with free words must define sample_reply")
        return self.write(chance.choice(moves, "reply"))

    # Endings that the rules do not reach by moves.

    def forfeit(self, state: State, seat: str) -> State | None:
        """The state after `seat` gave up its turn, where the rules go on; None ends the episode with `forfeit_returns`."""
        return None

    def forfeit_move(self, view: State, seat: str) -> Move | None:
        """The move that a turn without a legal reply counts as, where the game goes on and what the other seats have
        committed stands: an abstention in a vote. None: `forfeit` says what follows."""
        return None

    def forfeit_returns(self, state: State, seat: str) -> dict[str, float]:
        """Returns when `seat` forfeits the episode: zero-sum games pay -1 to it and share +1, others pay nobody."""
        if self.payoffs != "zero_sum":
            return dict.fromkeys(self.seats, 0.0)
        others = len(self.seats) - 1
        share = round(2**40 / others) / 2**40  # a multiple of 2**-40, so that the shares sum exactly
        return {other: -share * others if other == seat else share for other in self.seats}

    def noop(self, view: State, seat: str) -> Move | None:
        """The move that does least, for `invalid_policy="retry_noop"`; None where the rules have none."""
        return None

    # For search.

    def position(self, state: State) -> Any:
        """A hashable key of all that matters for the rest of the game; states that differ only in history may share one."""
        return state

    def information_set(self, state: State, seat: str) -> tuple[Line, ...]:
        """A hashable key of what `seat` knows in `state`."""
        return tuple(self.observe(self.view(state, seat), seat))

    # For the conformance suite; all are optional, and a check that lacks one says so.

    def hidden_twin(self, state: State, seat: str, chance: Chance) -> State | None:
        """Another state that the rules do not let `seat` tell from this one: all that is hidden from it now, drawn anew.

        Written from the rules, never from `view`: that the two agree is what the check finds out. Other seats' secrets,
        what luck has yet to reveal and unrevealed moves change; whatever the seat has been told stays. None: not offered.
        """
        return None

    def history(self, state: State) -> tuple[Any, list[dict[str, Move]]] | None:
        """The instance and the moves of every turn that lead to a state, so that it can be played in an environment; None where
        the state does not tell them."""
        return None

    def rotated(self, instance: Any) -> Any | None:
        """The instance in which each seat's place is taken by the next seat, the last one's by the first, for games whose
        rules treat all seats alike; None for the others."""
        return None

    # What this object is.

    @property
    def options(self) -> dict[str, Any]:
        """The options that differ from their defaults, of JSON types; `type(game)(**game.options) == game`."""
        return {
            field.name: _jsonable(getattr(self, field.name))
            for field in fields(self)
            if field.init and getattr(self, field.name) != field.default
        }


def _with_tuples(value: Any) -> Any:
    return tuple(map(_with_tuples, value)) if isinstance(value, list | tuple) else value


def _jsonable(value: Any) -> Any:
    return [_jsonable(item) for item in value] if isinstance(value, tuple | list) else value


def check_choice(option: str, value: Any, choices: Sequence[Any]) -> None:
    """Refuses an option's value that is none of `choices`.

    Raises:
        ValueError: with the value and the choices.
    """
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise ValueError(f"{option}={value!r} is not one of {', '.join(repr(choice) for choice in choices)}")


def check_count(option: str, value: Any, low: int, high: int | None = None) -> None:
    """Refuses an option's value that is no integer from `low` to `high`.

    Raises:
        ValueError: with the value and the range.
    """
    if type(value) is not int or value < low or (high is not None and value > high):
        wanted = f"an integer from {low} to {high}" if high is not None else f"an integer of at least {low}"
        raise ValueError(f"{option}={value!r} must be {wanted}")


def check_number(option: str, value: Any, low: float, high: float) -> None:
    """Refuses an option's value that is no number from `low` to `high`.

    Raises:
        ValueError: with the value and the range.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{option}={value!r} must be a number from {low:g} to {high:g}")


def check_pair(option: str, value: Any, low: int, high: int) -> None:
    """Refuses an option's value that is no pair of integers from `low` to `high`, the lesser one first.

    Raises:
        ValueError: with the value and the range.
    """
    is_pair = isinstance(value, tuple) and len(value) == 2 and all(type(number) is int for number in value)
    if not is_pair or not low <= value[0] <= value[1] <= high:
        raise ValueError(f"{option}={value!r} must be two integers from {low} to {high}, the lesser one first")


def check_tuple(option: str, value: Any, what: str) -> None:
    """Refuses an option's value that is no tuple, such as a list becomes, or an empty one.

    Raises:
        ValueError: with the value and `what` it must be.
    """
    if not isinstance(value, tuple) or not value:
        raise ValueError(f"{option}={value!r} must be {what}")
