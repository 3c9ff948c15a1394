"""turns.jsonl: what each agent was asked and what it answered, one sealed line a reply; for reading, no rating depends on it.

The turns of a game are on disk before the game is, so a game that is there has its turns. Prompts of scripted players can be had
by playing the record again, so by default only models and people are written down.
"""

import mmap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.play import Episode
from benchmarks.results import LineFile, Result, read_lines, sealed, unsealed

FILE = "turns.jsonl"
KINDS = ("models", "all", "none")
"""Whose turns are kept: of agents that are no scripted players, of all, of none."""


def turn_lines(result: Result, episode: Episode, wanted: Sequence[str]) -> list[str]:
    """The lines of a game.

    Args:
        result: of the game.
        episode: the same game.
        wanted: names of the agents whose replies are kept.
    """
    return [
        sealed(
            {
                "key": result.key,
                "record": result.played["id"],
                "game": result.game,
                "block": result.block,
                "turn": number,
                "seat": step.seat,
                "agent": result.seats[step.seat],
                "prompt": step.observation.text,
                "reply": step.reply.text,
                "status": step.turn.status,
                "reason": step.turn.code,
                "move": step.turn.move,
                "finish_reason": step.reply.finish_reason,
                "usage": dict(step.reply.usage),
            }
        )
        for number, step in enumerate(episode.steps)
        if result.seats[step.seat] in wanted
    ]


class TurnFile:
    """The file of a run. What a kill has left of a game that is not among the results is cut off when it is opened.

    Args:
        path: of the file; it is made with the first line.
        keys: of the games that are there.
    """

    def __init__(self, path: Path, keys: Mapping[str, object]):
        self._path = path
        self._file: LineFile | None = None
        if path.exists() and path.stat().st_size:
            _cut_after_last_of(path, keys)

    def append(self, lines: Sequence[str]) -> None:
        if not lines:
            return
        if self._file is None:
            self._file = LineFile(self._path)
        self._file.append(*lines)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _cut_after_last_of(path: Path, keys: Mapping[str, object]) -> None:
    with path.open("r+b") as file:
        with mmap.mmap(file.fileno(), 0) as content:
            end = content.rfind(b"\n") + 1
            while end:
                start = content.rfind(b"\n", 0, end - 1) + 1
                if unsealed(content[start : end - 1].decode())["key"] in keys:
                    break
                end = start
        file.truncate(end)


def read_turns(folder: Path) -> Iterator[tuple[int, dict[str, Any], str]]:
    """(number, object, text) of each line.

    Raises:
        ValueError: if a line is damaged, with its number.
    """
    for number, line in read_lines(folder / FILE):
        try:
            yield number, unsealed(line), line
        except ValueError as error:
            raise ValueError(f"{folder / FILE}:{number} is damaged: {error}") from None
