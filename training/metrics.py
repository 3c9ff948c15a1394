"""What a step's games look like, in figures."""

import math
import resource
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import median
from typing import Any

import torch

from agents.play import Step
from lmgames.reasoning import reasoning_in
from training.advantages import variance_shares
from training.games import short_name
from training.rollout import Batch, Trajectory


def play_metrics(played: Sequence[Trajectory], *, several_games: bool = False) -> dict[str, Any]:
    """Of the learning seats' trajectories of one step.

    Args:
        several_games: whether the run plays more than one.

    Returns:
        games, replies: numbers.
        invalid_rate, truncated_rate, empty_thinking: shares of replies refused, cut off, without a word of private reasoning.
        reply_tokens, reply_median: length.
        reply_tokens_by: length in trajectories that were won (return above 0), drawn and lost.
        facts: mean over games of what their rules found out, where that is a number or yes and no, e.g. "deal" and "joint".
        by_game: all these by game, where there are several.
        return: mean by role. won: share by role, of the games with the weights in training in every seat. Of several games the
            roles are called "GAME/ROLE".
        distinct_actions, action_entropy: different moves, and nats, at an observation that came up more than once in the step.
        variance_share: see `variance_shares`.
    """
    returns: dict[str, list[float]] = defaultdict(list)
    won: dict[str, list[bool]] = defaultdict(list)
    of_game: dict[str, list[Trajectory]] = defaultdict(list)
    for trajectory in played:
        outcome = trajectory.outcome
        game = short_name(outcome.game)
        role = f"{game}/{outcome.role}" if several_games else outcome.role
        of_game[game].append(trajectory)
        returns[role].append(outcome.return_)
        if outcome.opponent == "self":
            won[role].append(outcome.return_ > 0)
    return {
        **_reply_metrics(played),
        **({"by_game": {game: _reply_metrics(of) for game, of in sorted(of_game.items())}} if several_games else {}),
        "return": {role: sum(of_role) / len(of_role) for role, of_role in sorted(returns.items())},
        "won": {role: _share(of_role) for role, of_role in sorted(won.items())},
        **_variety([step for trajectory in played for step in trajectory.steps]),
        "variance_share": variance_shares([trajectory.outcome for trajectory in played]),
    }


def _reply_metrics(played: Sequence[Trajectory]) -> dict[str, Any]:
    steps = [step for trajectory in played for step in trajectory.steps]
    lengths = [len(step.reply.reply_ids) for step in steps]
    by_result: dict[str, list[int]] = defaultdict(list)
    for trajectory in played:
        return_ = trajectory.outcome.return_
        result = "won" if return_ > 0 else "lost" if return_ < 0 else "drawn"
        by_result[result] += [len(step.reply.reply_ids) for step in trajectory.steps]
    return {
        "games": len({trajectory.outcome.episode for trajectory in played}),
        "replies": len(steps),
        "invalid_rate": _share(step.turn.status != "ok" for step in steps),
        "truncated_rate": _share(step.reply.finish_reason == "length" for step in steps),
        "empty_thinking": _share(not reasoning_in(step.reply.text) for step in steps),
        "reply_tokens": sum(lengths) / max(1, len(lengths)),
        "reply_median": float(median(lengths)) if lengths else 0.0,
        "reply_tokens_by": {result: sum(of) / len(of) for result, of in sorted(by_result.items()) if of},
        "facts": _mean_facts(played),
    }


def _mean_facts(played: Sequence[Trajectory]) -> dict[str, float]:
    facts_of = {trajectory.outcome.episode: trajectory.facts for trajectory in played}
    values: dict[str, list[float]] = defaultdict(list)
    for facts in facts_of.values():
        for name, fact in facts.items():
            if isinstance(fact, bool | int | float):
                values[name].append(float(fact))
    return {name: sum(of) / len(of) for name, of in sorted(values.items())}


def staleness(played: Sequence[Trajectory], version: float, updates_per_step: int) -> dict[str, float]:
    """By how many steps the weights have moved on since the replies were sampled: mean over replies, and max.

    Args:
        version: of the weights that are going to be trained, in steps.
        updates_per_step: versions a step.
    """
    ages = [
        version - step.reply.policy_version / updates_per_step
        for trajectory in played
        for step in trajectory.steps
        if step.reply.policy_version is not None
    ]
    return {"mean": sum(ages) / max(1, len(ages)), "max": max(ages, default=0.0)}


def without_timing(line: dict[str, Any]) -> dict[str, Any]:
    """A line of metrics without what differs from machine to machine and from time to time."""
    return {name: value for name, value in line.items() if name not in ("seconds", "rollout", "peak_memory")}


def rollout_metrics(batch: Batch, trained: Sequence[int]) -> dict[str, Any]:
    """How well the engine was used.

    Args:
        batch: of a step.
        trained: tokens of each reply that was learnt from.

    Returns:
        rollout: completion tokens a second of playing, share of them that is learnt from, games in progress while agents worked,
            share of the time that the games themselves took.
        peak_memory: MB of this process so far ("cpu"), and of its GPU's allocator ("gpu") where it has one.
    """
    figures = batch.figures
    seconds = figures["generate"] + figures["env"]
    return {
        "rollout": {
            "tokens_per_second": figures["tokens"] / seconds if seconds else 0.0,
            "tokens_trained": sum(trained) / max(1.0, figures["tokens"]),
            "live_games": figures["live_games"],
            "env_share": figures["env"] / seconds if seconds else 0.0,
        },
        "peak_memory": _peak_memory(),
    }


def _peak_memory() -> dict[str, float]:
    unit = 1 if sys.platform == "darwin" else 1024  # bytes of ru_maxrss
    found = {"cpu": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6}
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.max_memory_allocated() / 1e6
    return found


def _share(flags: Any) -> float:
    flags = list(flags)
    return sum(flags) / max(1, len(flags))


def _variety(steps: Sequence[Step]) -> dict[str, float]:
    """Policies that answer without reading show here first; token entropy may stay high (RAGEN-2, 2604.06268)."""
    moves: dict[tuple[int, ...], Counter[str]] = defaultdict(Counter)
    for step in steps:
        if step.turn.status == "ok":
            moves[step.reply.prompt_ids][step.turn.move] += 1
    repeated = [counts for counts in moves.values() if counts.total() > 1]
    total = sum(counts.total() for counts in repeated)
    if not total:
        return {}
    return {
        "distinct_actions": sum(map(len, repeated)) / len(repeated),
        "action_entropy": sum(counts.total() * _entropy(counts) for counts in repeated) / total,
    }


def _entropy(counts: Counter[str]) -> float:
    total = counts.total()
    return -sum(count / total * math.log(count / total) for count in counts.values())
