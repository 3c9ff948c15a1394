"""Can the results be believed? Re-execution of games from seeds and recorded replies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.manifest import game_hash, read_manifest
from benchmarks.results import Result, key_of, read_results
from benchmarks.schedule import GameSpec, LineUp, Seating, deal_seed
from lmgames.chance import Chance
from lmgames.records import ReplayMismatch, replay


@dataclass(frozen=True)
class Verified:
    """What was found.

    Args:
        lines: in the file, each of which hashes to what it says.
        replayed: games that were played again, all that were sampled.
        problems: one line each.
    """

    lines: int
    replayed: int
    problems: tuple[str, ...]


def verify(folder: Path, sample: int | None = None, seed: int = 0) -> Verified:
    """Checks every line's hash, that it is a game of the manifest with its deal and agents, and plays a sample again.

    Args:
        folder: of results.
        sample: games to play again; None: all.
        seed: of the choice.

    Raises:
        ValueError: if a line is damaged, or the manifest is missing.
    """
    manifest = read_manifest(folder)
    results = list(read_results(folder).values())
    chosen = set(_sample(results, sample, seed))
    problems = []
    hashes: dict[str, str] = {}
    for result in results:
        problem = _mismatch(result, manifest, hashes) or (_replay_problem(result) if result.key in chosen else "")
        if problem:
            problems.append(f"game {result.key} ({result.game}, deal {result.block}): {problem}")
    return Verified(len(results), len(chosen), tuple(problems))


def _sample(results: Sequence[Result], sample: int | None, seed: int) -> list[str]:
    keys = sorted(result.key for result in results)
    if sample is None or sample >= len(keys):
        return keys
    return list(Chance(seed).sample(keys, sample, "verify"))


def _mismatch(result: Result, manifest: Mapping[str, Any], hashes: dict[str, str]) -> str:
    """What does not fit the manifest, "" if all does."""
    about = manifest["games"].get(result.game)
    if about is None:
        return "the manifest has no such game"
    strangers = [name for name in result.seats.values() if name not in manifest["agents"]]
    if strangers:
        return f"the manifest has no agent {strangers[0]!r}"
    spec = GameSpec(about["env_id"].removeprefix("lmgames/"), about["options"])
    if result.game not in hashes:
        hashes[result.game] = game_hash(spec)
    if hashes[result.game] != about["hash"]:
        return "the game's text or rules are not those of the manifest: another version is installed"
    record = result.played
    if record["env_id"].removeprefix("lmgames/") != spec.env_id or list(record["roles"]) != list(result.seats):
        return f"its record is of {record['env_id']} with other seats"
    seed = deal_seed(manifest["seed"], spec, result.block)
    if record["seed"] != seed or record["instance_given"]:
        return f"deal {result.block} has seed {seed}, the record was played from {record['seed']} or a given instance"
    fingerprints = {name: about["fingerprint"] for name, about in manifest["agents"].items()}
    key = key_of(Seating(LineUp(spec, result.lineup, result.block), seed, result.seats), fingerprints, about["hash"])
    return "" if key == result.key else f"agents, deal and game give the key {key}"


def _replay_problem(result: Result) -> str:
    try:
        replay(result.record)
    except (ReplayMismatch, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return ""
