"""What a step's games look like, in figures."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import median
from typing import Any

from agents.play import Step
from training.advantages import variance_shares
from training.rollout import Trajectory

_THINK_TAG = re.compile(r"<(/?)(?:think|thinking|reasoning|scratchpad)>", re.IGNORECASE)


def play_metrics(played: Sequence[Trajectory]) -> dict[str, Any]:
    """Of the learning seats' trajectories of one step.

    Returns:
        games, replies: numbers.
        invalid_rate, truncated_rate, empty_thinking: shares of replies refused, cut off, without a word of private reasoning.
        reply_tokens, reply_median: length.
        reply_tokens_by: length in trajectories that were won (return above 0), drawn and lost.
        return: mean by role. won: share by role, of the games with the weights in training in every seat.
        distinct_actions, action_entropy: different moves, and nats, at an observation that came up more than once in the step.
        variance_share: see `variance_shares`.
    """
    steps = [step for trajectory in played for step in trajectory.steps]
    lengths = [len(step.reply.reply_ids) for step in steps]
    returns: dict[str, list[float]] = defaultdict(list)
    won: dict[str, list[bool]] = defaultdict(list)
    by_result: dict[str, list[int]] = defaultdict(list)
    for trajectory in played:
        outcome = trajectory.outcome
        returns[outcome.role].append(outcome.return_)
        if outcome.opponent == "self":
            won[outcome.role].append(outcome.return_ > 0)
        result = "won" if outcome.return_ > 0 else "lost" if outcome.return_ < 0 else "drawn"
        by_result[result] += [len(step.reply.reply_ids) for step in trajectory.steps]
    return {
        "games": len({trajectory.outcome.episode for trajectory in played}),
        "replies": len(steps),
        "invalid_rate": _share(step.turn.status != "ok" for step in steps),
        "truncated_rate": _share(step.reply.finish_reason == "length" for step in steps),
        "empty_thinking": _share(not thinking(step.reply.text) for step in steps),
        "reply_tokens": sum(lengths) / max(1, len(lengths)),
        "reply_median": float(median(lengths)) if lengths else 0.0,
        "reply_tokens_by": {result: sum(of) / len(of) for result, of in sorted(by_result.items()) if of},
        "return": {role: sum(of_role) / len(of_role) for role, of_role in sorted(returns.items())},
        "won": {role: _share(of_role) for role, of_role in sorted(won.items())},
        **_variety(steps),
        "variance_share": variance_shares([trajectory.outcome for trajectory in played]),
    }


def thinking(text: str) -> str:
    """The private reasoning in a reply as a model wrote it, "" if there is none."""
    tags = list(_THINK_TAG.finditer(text))
    closing = [tag for tag in tags if tag[1]]
    if closing:
        return _THINK_TAG.sub("", text[: closing[-1].start()]).strip()
    return text[tags[0].end() :].strip() if tags else ""


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
