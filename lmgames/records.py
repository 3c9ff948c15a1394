"""Game records: an episode as one JSON line that re-executes to the byte."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from importlib import metadata
from typing import Any, Literal

from lmgames.parsing import readable

SCHEMA = 1
Status = Literal["ok", "refused", "replaced", "forfeit"]


class ReplayMismatch(Exception):
    """A record that does not come out again; says at which turn and how."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One reply.

    Args:
        seat: who replied.
        reply: as it was sent, before anything is removed, in the form of `parsing.readable`.
        status: "ok", "refused" (may try again), "replaced" (a move was played for it), "forfeit".
        code: why it was refused, one of `parsing.REFUSALS`; "" if it was not.
        move: the canonical text of the move that was played; "" if none was.
    """

    seat: str
    reply: Any
    status: Status
    code: str = ""
    move: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "reply", readable(self.reply))


@cache
def package_version() -> str:
    """The installed version of this distribution."""
    try:
        return metadata.version("lmgames")
    except metadata.PackageNotFoundError:
        return "0+unknown"


@dataclass(frozen=True, slots=True)
class GameRecord:
    """One episode.

    Args:
        env_id: registered ID.
        options: of the game and of the environment, those that differ from their defaults.
        seed: of the episode.
        instance: what was dealt, of JSON types.
        instance_given: whether the instance was pinned rather than dealt from the seed.
        roles: role by seat.
        agents: spec of the agent by seat, if known.
        turns: every reply in order.
        returns: by seat, in the game's unit.
        outcome: "rules", "forfeit", "limit", or "" for an episode that is not over.
        facts: what the rules found out.
        prompts_sha256: SHA-256, reply by reply, over the digest so far and what the seat's text has gained since it was last
            asked (all of it at first). Texts only grow, so with the seats of `turns` it fixes every text a seat was asked
            with. "" before the first.
        package: version that wrote it.
        schema: version of this format.
    """

    env_id: str
    options: dict[str, Any]
    seed: int
    instance: Any
    instance_given: bool
    roles: dict[str, str]
    agents: dict[str, str]
    turns: tuple[Turn, ...]
    returns: dict[str, float]
    outcome: str
    facts: dict[str, Any]
    prompts_sha256: str
    package: str = field(default_factory=package_version)
    schema: int = SCHEMA

    @property
    def id(self) -> str:
        """Hash of the content: equal for equal records, whoever wrote them."""
        content = {key: value for key, value in asdict(self).items() if key != "package"}
        return hashlib.sha256(_dump(content).encode()).hexdigest()[:32]

    def invalid_count(self, seat: str) -> int:
        """Replies of a seat that were refused."""
        return sum(turn.seat == seat and turn.status != "ok" for turn in self.turns)

    def to_json(self) -> str:
        """One line of ASCII."""
        return _dump({"id": self.id, **asdict(self)})

    @classmethod
    def from_json(cls, line: str) -> "GameRecord":
        """The record of one line.

        Raises:
            ValueError: if the line is no record of this schema, or was changed since it was written.
        """
        try:
            data = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"not a game record: {error}") from None
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            found = data.get("schema") if isinstance(data, dict) else type(data).__name__
            raise ValueError(f"not a game record of schema {SCHEMA}: found {found!r}")
        stated = data.pop("id", None)
        unknown = set(data) ^ {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"not a game record: wrong or missing keys {sorted(unknown)}")
        try:
            record = cls(**{**data, "turns": tuple(Turn(**turn) for turn in data["turns"])})
        except TypeError as error:
            raise ValueError(f"not a game record: {error}") from None
        if stated != record.id:
            raise ValueError(f"game record {stated!r} was changed after it was written (its content hashes to {record.id})")
        return record


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"), sort_keys=True)


def replay(record: GameRecord, before_turn: Callable[[Any], None] = lambda env: None) -> Any:
    """Plays a record again and compares every turn, return, fact and prompt.

    Args:
        record: of an episode.
        before_turn: called with the environment before each reply.

    Returns:
        The environment at the position where the record ends.

    Raises:
        ReplayMismatch: at the first difference, with both sides.
    """
    from lmgames.registry import make

    env = make(record.env_id, **record.options).unwrapped
    env.reset(seed=record.seed, options={"instance": record.instance} if record.instance_given else None)
    if _dump(env.instance) != _dump(record.instance):
        raise ReplayMismatch(f"seed {record.seed} deals {env.instance!r}, the record says {record.instance!r}")
    for number, turn in enumerate(record.turns):
        if not env.agents or env.outcome:
            raise ReplayMismatch(f"turn {number}: the game is over ({env.outcome}), the record goes on with {turn}")
        if env.agent_selection != turn.seat:
            raise ReplayMismatch(f"turn {number}: {env.agent_selection} is to move, the record says {turn.seat}")
        before_turn(env)
        env.step(turn.reply)
        again = env.turns[number]
        if again != turn:
            raise ReplayMismatch(f"turn {number}: now {again}, the record says {turn}")
    again = env.record(record.agents)
    for name in ("roles", "returns", "outcome", "facts", "prompts_sha256"):
        now, then = _dump(getattr(again, name)), _dump(getattr(record, name))
        if now != then:
            raise ReplayMismatch(f"{name}: now {now}, the record says {then}")
    return env
