"""What a folder of results is about: agents, games and design, by hash, and what they were played with."""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from agents.agent import Agent
from benchmarks.results import SCHEMA, digest
from benchmarks.schedule import GameSpec
from lmgames.aec import GameEnv
from lmgames.records import package_version
from lmgames.registry import make

FILE = "manifest.json"
IDENTITY = ("schema", "seed", "schedule", "references", "agents", "games")
"""What folders must share to be about one tournament; blocks may differ."""
PACKAGES = ("numpy", "scipy", "gymnasium", "pettingzoo", "torch", "transformers", "vllm")
PROBE_SEEDS = (0, 1, 2)


def game_hash(game: GameSpec) -> str:
    """A hash of what players read: rules, first requests and hints of some deals, and of the options and version behind them."""
    env = make(game.env_id, **game.options).unwrapped
    assert isinstance(env, GameEnv)
    texts = []
    for seed in PROBE_SEEDS:
        env.reset(seed=seed)
        texts += [env.observe(seat)["text"] for seat in env.possible_agents]
    content = [env.env_id, env.game.version, dict(game.options), env.game.return_bounds, texts]
    return digest(json.dumps(content, sort_keys=True, default=repr))


def make_manifest(
    agents: Mapping[str, Agent],
    games: Sequence[GameSpec],
    *,
    blocks: int,
    seed: int,
    schedule: str,
    references: Sequence[str] = (),
    factors: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The manifest of a tournament, of JSON types.

    Args:
        factors: further declared conditions, e.g. {"anchor": "random"}.
    """
    return {
        "schema": SCHEMA,
        "seed": seed,
        "blocks": blocks,
        "schedule": schedule,
        "references": sorted(references),
        "agents": {
            name: {"spec": agent.spec, "fingerprint": agent.fingerprint(), "hash": _hash(agent.fingerprint())}
            for name, agent in agents.items()
        },
        "games": {game.name: _about(game) for game in games},
        "factors": dict(factors or {}),
        "versions": versions(),
        "commit": commit(),
        "hardware": hardware(),
    }


def _about(game: GameSpec) -> dict[str, Any]:
    rules = game.rules()
    return {
        "env_id": game.env_id,
        "options": dict(game.options),
        "hash": game_hash(game),
        "payoffs": rules.payoffs,
        "seats": list(rules.seats),
        "hidden_information": rules.hidden_information,
        "return_bounds": list(rules.return_bounds),
    }


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=repr).encode()).hexdigest()[:16]


def versions() -> dict[str, str]:
    """Of Python, of this package and of those that can matter for results."""
    found = {"python": platform.python_version(), "lmgames": package_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """The commit of the working copy that runs, with "+changes" if files differ from it; None outside a repository."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=20, check=True
        )
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def hardware() -> dict[str, Any]:
    """Processor, cores, memory and accelerators of this machine."""
    found: dict[str, Any] = {"machine": platform.machine(), "processor": _processor(), "cores": os.cpu_count()}
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found["memory_gib"] = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    return found


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """FOLDER/manifest.json, replaced in one step."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / (FILE + ".part")
    part.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    part.replace(folder / FILE)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder.

    Raises:
        ValueError: if there is none, it is damaged, or of another schema.
    """
    path = folder / FILE
    if not path.exists():
        raise ValueError(f"{folder} has no {FILE}; make one with `plan` or `run`")
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        found = manifest.get("schema") if isinstance(manifest, dict) else type(manifest).__name__
        raise ValueError(f"{path} is of schema {found!r}; this version reads schema {SCHEMA}")
    return manifest


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """The first thing in which two tournaments differ, e.g. "agents.nash.hash: 'a1' and 'b2'"; None if they are one."""
    for key in IDENTITY:
        found = _first_difference(key, one.get(key), other.get(key))
        if found:
            return found
    return None


def _first_difference(where: str, one: Any, other: Any) -> str | None:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            if key not in one or key not in other:
                return f"{where}.{key} is only in the {'second' if key in other else 'first'}"
            found = _first_difference(f"{where}.{key}", one[key], other[key])
            if found:
                return found
        return None
    return None if one == other else f"{where}: {one!r} and {other!r}"
