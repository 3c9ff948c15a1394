"""Can the results be believed? Re-execution of games from seeds and recorded replies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.manifest import game_hash, read_manifest
from benchmarks.results import Result, key_of, read_results
from benchmarks.schedule import GameSpec, LineUp, Seating, deal_seed
from benchmarks.turns import read_turns
from lmgames.chance import Chance
from lmgames.records import ReplayMismatch, replay


@dataclass(frozen=True)
class Verified:
    """What was found.

    Args:
        lines: in the file, each of which hashes to what it says.
        replayed: games that were played again, all that were sampled.
        turns: lines of turns.jsonl that were compared with these games, prompts included.
        problems: one line each.
    """

    lines: int
    replayed: int
    turns: int
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
    read = read_results(folder)
    results = list(read.values())
    chosen = set(_sample(results, sample, seed))
    turns = _turns_by_game(folder)
    problems = [f"turns.jsonl has turns of a game {key} that is not there" for key in turns if key not in read]
    compared = 0
    hashes: dict[str, str] = {}
    for result in results:
        problem = _mismatch(result, manifest, hashes)
        if not problem and result.key in chosen:
            of_game = turns.get(result.key, [])
            problem = _replay_problem(result, of_game)
            compared += len(of_game)
        if problem:
            problems.append(f"game {result.key} ({result.game}, deal {result.block}): {problem}")
    return Verified(len(results), len(chosen), compared, tuple(problems))


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


def _turns_by_game(folder: Path) -> dict[str, list[dict[str, Any]]]:
    turns: dict[str, list[dict[str, Any]]] = {}
    for _, turn, _ in read_turns(folder):
        turns.setdefault(turn["key"], []).append(turn)
    return turns


def _replay_problem(result: Result, turns: Sequence[Mapping[str, Any]]) -> str:
    record = result.record
    prompts: list[str] = []
    try:
        replay(record, before_turn=lambda env: prompts.append(env.observe(env.agent_selection)["text"]))
    except (ReplayMismatch, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    for turn in turns:
        number = turn["turn"]
        if turn["record"] != result.played["id"]:
            return f"turns.jsonl has turn {number} of another playing of it"
        if not 0 <= number < len(record.turns):
            return f"turns.jsonl has a turn {number}, the game {len(record.turns)} turns"
        there = record.turns[number]
        now = (there.seat, there.reply, there.status, there.code, there.move, prompts[number])
        if tuple(turn[key] for key in ("seat", "reply", "status", "reason", "move", "prompt")) != now:
            return f"turn {number} in turns.jsonl is not what was played"
    return ""
