"""Results of a tournament: append-only JSON lines, one a game, keyed by the content of what was to be played.

games.jsonl      games that were played, a hash of its line in front of each
turns.jsonl      what models were asked and what they answered, see `turns`
errors.jsonl     games that could not be played: a server or a program failed, which is nobody's loss
policies.jsonl   policies that were read off agents in games small enough for exact values
design.jsonl     line-ups of schedules that depend on results, round by round
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.choices import Played
from benchmarks.schedule import Seating
from lmgames.records import GameRecord

SCHEMA = 1
GAMES, ERRORS, POLICIES, DESIGN = "games.jsonl", "errors.jsonl", "policies.jsonl", "design.jsonl"
_HEAD = '{"sha256":"'
_HASH = 32  # hexadecimal digits kept of a SHA-256


@dataclass(frozen=True, eq=False)
class Result:
    """A game that was played.

    Args:
        key: of what was to be played, see `key_of`.
        game: name of the game with its options.
        lineup: names of the agents of the block.
        block: number of the deal.
        seats: name of the agent by seat.
        usage: by seat, what its replies cost: "replies", "truncated" (cut off by a token limit), and the counts that models
            report, e.g. "prompt_tokens", "completion_tokens".
        luck: by seat, the part of its return that exact values put down to luck; None where none are known.
        played: the game's record as JSON types.
    """

    key: str
    game: str
    lineup: tuple[str, ...]
    block: int
    seats: Mapping[str, str]
    usage: Mapping[str, Mapping[str, float]]
    luck: Mapping[str, float] | None
    played: Mapping[str, Any]

    @property
    def record(self) -> GameRecord:
        """From which the game can be played again.

        Raises:
            ValueError: if it was changed after it was written.
        """
        return GameRecord.from_json(json.dumps(self.played))

    @property
    def returns(self) -> Mapping[str, float]:
        returns: Mapping[str, float] = self.played["returns"]
        return returns

    @property
    def statuses(self) -> list[tuple[str, str]]:
        """(seat, status) of each reply, in order."""
        return [(turn["seat"], turn["status"]) for turn in self.played["turns"]]

    @property
    def is_clean(self) -> bool:
        """Whether every reply was a legal move at once and the game ended by its rules."""
        return self.played["outcome"] == "rules" and all(status == "ok" for _, status in self.statuses)

    def to_json(self) -> str:
        """One line, its own hash in front."""
        body = {
            "key": self.key,
            "game": self.game,
            "lineup": list(self.lineup),
            "block": self.block,
            "seats": dict(self.seats),
            "usage": {seat: dict(counts) for seat, counts in self.usage.items()},
            "luck": None if self.luck is None else dict(self.luck),
            "record": dict(self.played),
        }
        return sealed(body)

    @classmethod
    def from_json(cls, line: str) -> "Result":
        """The result of a line.

        Raises:
            ValueError: if it is none, of another schema, or was changed since it was written.
        """
        data = unsealed(line)
        try:
            return cls(
                key=data["key"],
                game=data["game"],
                lineup=tuple(data["lineup"]),
                block=data["block"],
                seats=data["seats"],
                usage=data["usage"],
                luck=data["luck"],
                played=data["record"],
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a tournament result: {type(error).__name__} {error}") from None


def sealed(body: Mapping[str, Any]) -> str:
    """A JSON object as one line that starts with a hash of the rest."""
    text = json.dumps({"schema": SCHEMA, **body}, separators=(",", ":"))
    return f'{_HEAD}{digest(text)}",{text[1:]}'


def unsealed(line: str) -> dict[str, Any]:
    """The object of a sealed line.

    Raises:
        ValueError: if the line is no such object, was changed, or is of another schema.
    """
    end = len(_HEAD) + _HASH
    if not line.startswith(_HEAD) or line[end : end + 2] != '",':
        raise ValueError("it does not start with a hash of itself")
    text = "{" + line[end + 2 :]
    stated, found = line[len(_HEAD) : end], digest(text)
    if stated != found:
        raise ValueError(f"it was changed after it was written (it says {stated}, its content hashes to {found})")
    data: dict[str, Any] = json.loads(text)
    if data.get("schema") != SCHEMA:
        raise ValueError(f"it is of schema {data.get('schema')!r}; this version reads schema {SCHEMA}")
    return data


def digest(text: str) -> str:
    """The first 32 hexadecimal digits of a text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH]


def key_of(seating: Seating, fingerprints: Mapping[str, Mapping[str, Any]], game_hash: str) -> str:
    """A hash of all that decides a game: its text and options, its deal, and who sits where. Changing any of it changes the key.

    Args:
        seating: what is to be played.
        fingerprints: by agent name, see `Agent.fingerprint`.
        game_hash: see `manifest.game_hash`.
    """
    content = {
        "game": seating.lineup.game.env_id,
        "options": dict(seating.lineup.game.options),
        "game_hash": game_hash,
        "seed": seating.seed,
        "seats": {seat: [name, fingerprints[name]] for seat, name in seating.seats.items()},
    }
    return digest(json.dumps(content, sort_keys=True))


def policy_key(name: str, fingerprint: Mapping[str, Any], game_hash: str) -> str:
    """A hash of whose policy in what game it is."""
    return digest(json.dumps([name, fingerprint, game_hash], sort_keys=True))


class LineFile:
    """A file of sealed lines that is only added to. Lines are on disk when `append` returns.

    A last line that a kill has torn is cut off when the file is opened.
    """

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            whole = path.read_bytes()
            os.truncate(path, whole.rfind(b"\n") + 1)
        self._file = path.open("a", encoding="utf-8")

    def append(self, *lines: str) -> None:
        self._file.write("".join(line + "\n" for line in lines))
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number, text) of the whole lines of a file of sealed lines; none where there is no file.

    Raises:
        ValueError: if a line is no text, with its number.
    """
    if not path.exists():
        return
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        try:
            yield number, line.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}:{number} is damaged: {error}") from None


def read_results(folder: Path) -> dict[str, Result]:
    """The games of a folder by key.

    Raises:
        ValueError: if a line is damaged, with its number.
    """
    results = {}
    for number, line in read_lines(folder / GAMES):
        try:
            result = Result.from_json(line)
        except ValueError as error:
            raise ValueError(f"{folder / GAMES}:{number} is damaged: {error}") from None
        results[result.key] = result
    return results


def read_objects(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of sealed lines.

    Raises:
        ValueError: if a line is damaged, with its number.
    """
    found = []
    for number, line in read_lines(path):
        try:
            found.append(unsealed(line))
        except ValueError as error:
            raise ValueError(f"{path}:{number} is damaged: {error}") from None
    return found


Block = tuple[str, int, tuple[str, ...]]
"""(name of the game, number of the deal, agents)."""


def block_of(result: Result) -> Block:
    return result.game, result.block, result.lineup


def complete(results: Iterable[Result]) -> dict[Block, list[Result]]:
    """The blocks of which every rotation has been played, in order."""
    together: dict[Block, list[Result]] = {}
    for result in sorted(results, key=lambda result: (block_of(result), list(result.seats.values()))):
        together.setdefault(block_of(result), []).append(result)
    return {
        block: members
        for block, members in together.items()
        if len({tuple(member.seats.values()) for member in members}) == len(_rotations(block[2]))
    }


def _rotations(agents: Sequence[str]) -> set[tuple[str, ...]]:
    return {(*agents[shift:], *agents[:shift]) for shift in range(len(agents))}


def as_played(result: Result, names: Mapping[str, int]) -> Played:
    """A game as the statistics see it.

    Args:
        result: of a game.
        names: index of each agent.
    """
    roles = result.played["roles"]
    differ = len(set(roles.values())) > 1
    return Played(
        game=result.game,
        deal=result.block,
        lineup=tuple(names[name] for name in result.lineup),
        seats=tuple(names[name] for name in result.seats.values()),
        sides=tuple(roles[seat] if differ else seat for seat in result.seats),
        returns=tuple(result.returns[seat] for seat in result.seats),
        luck=() if result.luck is None else tuple(result.luck[seat] for seat in result.seats),
    )
