"""Whether an episode is fixed by its seed and the replies, whatever goes on beside it or went before."""

import difflib
import importlib.util
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

import lmgames
from lmgames.aec import GameEnv
from lmgames.playthrough import play_by_play
from lmgames.testing.suite import Fault, Skipped, Subject, check, subjects_of

ROOT = str(Path(lmgames.__file__).parent.parent)


def told(env: GameEnv, seed: int, between: Callable[[], object] = lambda: None) -> list[str]:
    """A random game as texts; `between` is called after each."""
    texts = []
    for text in play_by_play(env, seed):
        texts.append(text)
        between()
    return texts


def difference(now: list[str], then: list[str], now_is: str, then_is: str) -> str:
    """The first lines in which two tellings differ; "" if they do not."""
    if now == then:
        return ""
    lines = difflib.unified_diff(
        "\n".join(then).splitlines(), "\n".join(now).splitlines(), then_is, now_is, lineterm="", n=1
    )
    return "\n".join(line[:200] for line, _ in zip(lines, range(12), strict=False))


def _require_same(seed: int, now: list[str], then: list[str], now_is: str) -> None:
    found = difference(now, then, now_is, "played alone")
    if found:
        raise Fault(f"the game came out differently {now_is}:\n{found}", seed)


@check("T5")
def foreign_luck(subject: Subject) -> None:
    """T5. Draws from `random` and `numpy.random`, and a second game, between the steps change nothing."""
    for seed in subject.seeds:
        alone = told(subject.env(), seed)
        _require_same(seed, told(subject.env(), seed), alone, "when played again")
        other = play_by_play(subject.env(), seed + 1000)

        def disturb(other: Any = other, seed: int = seed) -> None:
            random.seed(seed)  # noqa: TID251 -- what others do to us
            random.random()
            np.random.seed(seed)  # noqa: NPY002, TID251
            np.random.random()  # noqa: NPY002
            next(other, None)

        saved = random.getstate(), np.random.get_state()  # noqa: NPY002
        try:
            disturbed = told(subject.env(), seed, disturb)
        finally:
            random.setstate(saved[0])
            np.random.set_state(saved[1])  # noqa: NPY002
        _require_same(seed, disturbed, alone, "beside foreign draws and another game")


@check("T6")
def global_luck(subject: Subject) -> None:
    """T6. The global generators of `random` and `numpy.random` are as they were after construction, reset and a game."""
    for seed in subject.seeds:
        before = random.getstate(), repr(np.random.get_state())  # noqa: NPY002
        told(subject.env(), seed)
        after = random.getstate(), repr(np.random.get_state())  # noqa: NPY002
        if after[0] != before[0]:
            raise Fault("the game drew from Python's global `random`; draw from the Chance given to `deal`", seed)
        if after[1] != before[1]:
            raise Fault("the game drew from `numpy.random`; draw from the Chance given to `deal`", seed)


@check("T7")
def hash_seeds(subject: Subject) -> None:
    """T7. Processes with PYTHONHASHSEED 0 and 1 and this one tell the same games."""
    request = json.dumps({**_address(subject), "options": subject.family, "seeds": subject.seeds, "path": sys.path})
    position = subject.family.index(subject.options)
    for hash_seed in ("0", "1"):
        elsewhere = _told_elsewhere(request, hash_seed)[position]
        for seed, there in zip(subject.seeds, elsewhere, strict=True):
            _require_same(seed, there, told(subject.env(), seed), f"with PYTHONHASHSEED={hash_seed}")


def _address(subject: Subject) -> dict[str, str]:
    """Where another process finds the game."""
    kind = type(subject.game)
    if subject.env_id is not None and kind.__module__.startswith("lmgames."):
        return {"id": subject.env_id}
    module = sys.modules.get(kind.__module__)
    file = getattr(module, "__file__", None)
    if file is None or kind.__module__ == "__main__" or getattr(module, kind.__qualname__, None) is not kind:
        raise Skipped(f"another process cannot import {kind.__qualname__}; define it at the top level of a module")
    return {"file": str(Path(file).resolve()), "class": kind.__qualname__}


@lru_cache(maxsize=8)  # every set of options asks for the same two runs
def _told_elsewhere(request: str, hash_seed: str) -> list[list[list[str]]]:
    """The games of each set of options, by seed, as another process tells them."""
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {ROOT!r}); from {__name__} import answer; answer()"],
        input=request,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        timeout=600,
    )
    if run.returncode:
        raise Fault(f"a process with PYTHONHASHSEED={hash_seed} failed:\n{run.stderr[-2000:]}")
    texts: list[list[list[str]]] = json.loads(run.stdout)
    return texts


def answer() -> None:
    """Reads a request from standard input and writes the games told; the other end of `_told_elsewhere`."""
    request = json.load(sys.stdin)
    sys.path.extend(path for path in request["path"] if path not in sys.path)
    game: Any = request.get("id")
    if game is None:
        spec = importlib.util.spec_from_file_location("game_under_test", request["file"])
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules["game_under_test"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        game = getattr(module, request["class"])
    subjects = subjects_of(game, request["options"])
    json.dump([[told(subject.env(), seed) for seed in request["seeds"]] for subject in subjects], sys.stdout)


@check("T26")
def no_trace(subject: Subject) -> None:
    """T26. An episode after `reset` reads as in a new environment, whether the one before it ended or was broken off."""
    env = subject.env()
    for seed in subject.seeds:
        for stop_after in (1, 4, None):
            play = play_by_play(env, seed + 1)
            for number, _ in enumerate(play):
                if number == stop_after:
                    break
            play.close()
            _require_same(seed, told(env, seed), told(subject.env(), seed), "in an environment played before")


@check("T27")
def side_by_side(subject: Subject) -> str:
    """T27. Interleaved games, turn about, equal the same games alone."""
    games = subject.count(64, 256)
    seeds = range(subject.seeds[0], subject.seeds[0] + games)
    alone = [told(subject.env(), seed) for seed in seeds]
    plays = [play_by_play(subject.env(), seed) for seed in seeds]
    together: list[list[str]] = [[] for _ in plays]
    while texts := [(number, text) for number, play in enumerate(plays) if (text := next(play, None)) is not None]:
        for number, text in texts:
            together[number].append(text)
    for seed, now, then in zip(seeds, together, alone, strict=True):
        _require_same(seed, now, then, f"among {games} games")
    return f"{games} games"
