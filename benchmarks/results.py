"""Results of a tournament: append-only JSON lines, one a game, keyed by the content of what was to be played."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.ratings import Block
from benchmarks.schedule import Pairing
from lmgames.records import GameRecord


@dataclass(frozen=True)
class Result:
    """A game that was played.

    Args:
        key: of the pairing, see `key_of`.
        game: name of the game with its options.
        pair: names of the two agents.
        block: number of the deal.
        seats: name of the agent by seat.
        record: the game, from which it can be played again.
    """

    key: str
    game: str
    pair: tuple[str, str]
    block: int
    seats: Mapping[str, str]
    record: GameRecord

    def to_json(self) -> str:
        """One line."""
        head = {"key": self.key, "game": self.game, "pair": self.pair, "block": self.block, "seats": dict(self.seats)}
        return json.dumps({**head, "record": json.loads(self.record.to_json())}, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> "Result":
        """The result of a line.

        Raises:
            ValueError: if it is none.
        """
        data = json.loads(line)
        try:
            record = GameRecord.from_json(json.dumps(data["record"]))
            return cls(data["key"], data["game"], tuple(data["pair"]), data["block"], data["seats"], record)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a tournament result: {type(error).__name__} {error}") from None


def key_of(pairing: Pairing, fingerprints: Mapping[str, Mapping[str, Any]]) -> str:
    """A hash of all that decides a game: the game, its deal, and who sits where. Changing any of it changes the key.

    Args:
        pairing: what is to be played.
        fingerprints: by agent name, see `Agent.fingerprint`.
    """
    content = {
        "game": pairing.game.env_id,
        "options": dict(pairing.game.options),
        "seed": pairing.seed,
        "pair": pairing.pair,
        "seats": {seat: [name, fingerprints[name]] for seat, name in pairing.seats.items()},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


class ResultsFile:
    """The file of a tournament. Each line is on disk when `append` returns; a last line that a kill has torn is cut off.

    Raises:
        ValueError: if another line is damaged, with its number.
    """

    def __init__(self, path: Path):
        self.path = path
        self.results: dict[str, Result] = {}
        whole = 0
        if path.exists():
            lines = path.read_bytes().split(b"\n")
            for number, line in enumerate(lines, 1):
                if number == len(lines):
                    break  # after the last newline: nothing, or a torn line
                try:
                    result = Result.from_json(line.decode())
                except ValueError as error:
                    raise ValueError(f"{path}:{number} is damaged: {error}") from None
                self.results[result.key] = result
                whole += len(line) + 1
            os.truncate(path, whole)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")

    def append(self, result: Result) -> None:
        self._file.write(result.to_json() + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.results[result.key] = result

    def close(self) -> None:
        self._file.close()


def blocks_of(
    results: Iterable[Result], names: list[str], games_per_block: Mapping[tuple[str, tuple[str, str], int], int]
) -> list[Block]:
    """The complete blocks among some results.

    Args:
        results: in any order.
        names: of the agents; their places are their indices.
        games_per_block: by (game, pair, block), as scheduled; blocks with fewer results are left out.
    """
    together: dict[tuple[str, tuple[str, str], int], list[Result]] = {}
    for result in results:
        together.setdefault((result.game, result.pair, result.block), []).append(result)
    return [
        _block(key[0], (names.index(key[1][0]), names.index(key[1][1])), names, members)
        for key, members in sorted(together.items())
        if len(members) == games_per_block.get(key)
    ]


def _block(game: str, pair: tuple[int, int], names: list[str], members: list[Result]) -> Block:
    results = []
    returns: dict[int, list[float]] = {agent: [] for agent in pair}
    for member in sorted(members, key=lambda member: member.key):
        paid = {agent: _mean_paid(member, names[agent]) for agent in pair}
        for agent in pair:
            returns[agent].append(paid[agent])
        first = names.index(next(iter(member.seats.values())))
        (second,) = (agent for agent in pair if agent != first)
        results.append((first, 0.5 if paid[first] == paid[second] else float(paid[first] > paid[second])))
    means = tuple(sum(returns[agent]) / len(returns[agent]) for agent in pair)
    return Block(game, pair, tuple(results), (means[0], means[1]))


def _mean_paid(result: Result, name: str) -> float:
    paid = [result.record.returns[seat] for seat, agent in result.seats.items() if agent == name]
    return sum(paid) / len(paid)
