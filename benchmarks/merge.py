"""Results of several machines as one folder."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.manifest import difference, read_manifest, write_manifest
from benchmarks.results import DESIGN, ERRORS, GAMES, POLICIES, read_objects, read_results, sealed
from benchmarks.turns import FILE as TURNS
from benchmarks.turns import read_turns


def merge(folders: Sequence[Path], out: Path) -> tuple[int, int]:
    """Joins folders of one tournament into `out`; what several have is kept once.

    A game that was played twice, with different outcomes, because an agent does not repeat itself: the one whose record hashes
    lower is kept, whatever the order of the folders.

    Returns:
        (games, games that were played twice with different outcomes).

    Raises:
        ValueError: if a folder is damaged, two are not of one tournament, or `out` has results already.
    """
    if len(folders) < 2:
        raise ValueError("merge needs two or more folders")
    if (out / GAMES).exists():
        raise ValueError(f"{out} has results already; give a new folder")
    manifests = [read_manifest(folder) for folder in folders]
    for folder, manifest in zip(folders[1:], manifests[1:], strict=True):
        found = difference(manifests[0], manifest)
        if found:
            raise ValueError(f"{folders[0]} and {folder} are not of one tournament: {found}")
    designs = {json.dumps(_without_head(read_objects(folder / DESIGN))) for folder in folders if (folder / DESIGN).exists()}
    if len({design for design in designs if design != "[]"}) > 1:
        raise ValueError("the folders have different design logs: their schedules followed different results")
    games, twice = _games(folders)
    write_manifest(out, {**manifests[0], "blocks": max(manifest["blocks"] for manifest in manifests)})
    _write(out / GAMES, games)
    for name, keys in ((POLICIES, ("key",)), (ERRORS, ("key", "error")), (DESIGN, ("round",))):
        entries = {tuple(entry[key] for key in keys): entry for folder in folders for entry in _entries(folder / name)}
        _write(out / name, [sealed(entries[key]) for key in sorted(entries)])
    if any((folder / TURNS).exists() for folder in folders):
        _write(out / TURNS, _turns(folders, out))
    return len(games), twice


def _games(folders: Sequence[Path]) -> tuple[list[str], int]:
    kept: dict[str, Any] = {}
    twice = set()
    for folder in folders:
        for key, result in read_results(folder).items():
            if key in kept and kept[key].played["id"] != result.played["id"]:
                twice.add(key)
                kept[key] = min(kept[key], result, key=lambda each: str(each.played["id"]))
            else:
                kept.setdefault(key, result)
    return [kept[key].to_json() for key in sorted(kept)], len(twice)


def _turns(folders: Sequence[Path], out: Path) -> list[str]:
    """The turns of the games that were kept."""
    ids = {key: result.played["id"] for key, result in read_results(out).items()}
    found = {
        (turn["key"], turn["turn"]): line
        for folder in folders
        for _, turn, line in read_turns(folder)
        if ids.get(turn["key"]) == turn["record"]
    }
    return [found[place] for place in sorted(found)]


def _entries(path: Path) -> list[dict[str, Any]]:
    return _without_head(read_objects(path))


def _without_head(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in entry.items() if key not in ("sha256", "schema")} for entry in entries]


def _write(path: Path, lines: Sequence[str]) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    part.replace(path)
