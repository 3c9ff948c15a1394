"""What a step of the learner costs: time against a plain forward and backward pass of the same distinct rows, tokens saved, memory.

    python -m benchmarks.step [--game TicTacToe-v0] [--games 250] [--steps 200] [--setting value ...]

The rows are those of random legal play, as a tiny model reads them. Times are CPU-seconds of this process on a CPU, wall time on a
GPU; the ways are timed in turn within one run.
"""

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from agents.chat import Chat
from lmgames.chance import Chance
from training.__main__ import overrides_of
from training.config import Config, load_config
from training.distributed import join_world
from training.learner import Learner
from training.network import Network, predict
from training.policy import load_policy
from training.samples import Row, make_batch, micro_batches
from training.warmup import random_play


@dataclass(frozen=True, slots=True)
class Cost:
    """Args:
    plain_s: forward and backward pass of the distinct rows, padded, loss and gradient alone.
    unshared_s: a whole update, beginnings not shared.
    update_s: a whole update as it is.
    rows, distinct_rows: of the step.
    tokens_saved: as in `StepStats`.
    growth_mib: of the peak memory, from the tenth part of the steps to the end.
    """

    plain_s: float
    unshared_s: float
    update_s: float
    rows: int
    distinct_rows: int
    tokens_saved: float
    growth_mib: float


def rows_of(config: Config, chat: Chat, games: int) -> list[Row]:
    """A row for every turn of some games of random legal play, with advantages of both signs."""
    chance = Chance(config.seed)
    (game,) = config.played
    rows = []
    for number, turn in enumerate(random_play(game.name, dict(game.options), games, config.seed)):
        reply = chat.reply_ids(chance.choice(turn.replies, "reply", number))
        rows.append(Row(chat.prompt_ids(turn.text), reply, (-1.0,) * len(reply), chance.choice((-1.0, 1.0), "sign", number)))
    return rows


def measure(config: Config, games: int, steps: int, repeats: int = 5) -> Cost:
    """The costs of a step."""
    with join_world(config.device) as world, TemporaryDirectory() as folder:
        model, tokenizer = load_policy(config, Path(folder), world)
        rows = rows_of(config, Chat(tokenizer), games)
        learner = Learner(model, config, total_steps=steps)
        unshared = Learner(model, replace(config, share_prefixes=False), total_steps=steps)
        rows = learner.with_old_logprobs(rows)
        rows = [replace(row, logprobs=row.old_logprobs, old_logprobs=()) for row in rows]
        ways: tuple[Callable[[], Any], ...] = (
            lambda: plain_pass(learner.model, rows, config.micro_batch_tokens),
            lambda: unshared.update(rows),
            lambda: learner.update(rows),
        )
        times: list[list[float]] = [[], [], []]
        for _ in range(repeats):
            for number, way in enumerate(ways):
                times[number].append(_timed(way, world.device))
        stats = learner.update(rows)
        early = 0.0
        for step in range(steps):
            learner.update(rows)
            if step == steps // 10:
                gc.collect()
                early = peak_mib(world.device)
        growth = peak_mib(world.device) - early
        plain, of_unshared, whole = (statistics.median(each) for each in times)
        return Cost(plain, of_unshared, whole, stats.rows, stats.distinct_rows, stats.tokens_saved, growth)


def plain_pass(model: Any, rows: list[Row], tokens: int) -> None:
    """Forward and backward pass of the distinct rows, padded, in parts of so many tokens."""
    network = Network(model, share=False)
    distinct = list({(row.prompt_ids, row.reply_ids): row for row in rows}.values())
    model.zero_grad(set_to_none=True)
    for part in micro_batches(distinct, tokens):
        batch = make_batch(part, device=network.device)
        predict(network, batch).logp_UR.sum().backward()


def _timed(way: Callable[[], Any], device: torch.device) -> float:
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    began = clock()
    way()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - began


def peak_mib(device: torch.device) -> float:
    """The most that this process has had, of memory or of its GPU's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return memory_mib("VmHWM")


def memory_mib(which: str = "VmRSS") -> float:
    """Of this process, in memory now."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith(which))
    return int(line.split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step", allow_abbrev=False)
    parser.add_argument("--game", default="TicTacToe-v0")
    parser.add_argument("--games", type=int, default=60)
    parser.add_argument("--steps", type=int, default=200)
    known, rest = parser.parse_known_args()
    settings: dict[str, Any] = {"games": {known.game: {"show_rules": False}}}
    cost = measure(load_config(None, settings | overrides_of(rest)), known.games, known.steps)
    print(f"{known.game}: {cost.rows} rows, {cost.distinct_rows} distinct, {cost.tokens_saved:.0%} of the tokens saved")
    print(f"plain forward and backward pass of the distinct rows  {cost.plain_s:.2f} s")
    print(
        f"update, beginnings not shared                         {cost.unshared_s:.2f} s  {cost.unshared_s / cost.plain_s:.2f}x"
    )
    print(
        f"update                                                {cost.update_s:.2f} s  {cost.update_s / cost.plain_s:.2f}x"
    )
    print(f"peak memory grew by {cost.growth_mib:.1f} MiB from step {known.steps // 10} to {known.steps}")


if __name__ == "__main__":
    main()
