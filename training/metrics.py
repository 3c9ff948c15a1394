"""What a step's games look like, in figures."""

import math
import resource
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, cast

import torch

from agents.models.model import Spans
from agents.play import Step
from lmgames.parsing import UNREADABLE
from lmgames.reasoning import reasoning_in
from training.advantages import variance_shares
from training.games import short_name
from training.rollout import Batch, Trajectory

RUN_LENGTH = 4  # tokens, of the runs that `repetition` compares


def play_metrics(played: Sequence[Trajectory], *, several_games: bool = False) -> dict[str, Any]:
    """Of the learning seats' trajectories of one step.

    Args:
        several_games: whether the run plays more than one.

    Returns:
        games, replies: numbers.
        invalid_rate, truncated_rate, empty_thinking: shares of replies refused, cut off, without a word of private reasoning.
        invalid: the share refused in three parts: "cut_off", "format" (no move could be read), "illegal" (one could).
        refusals: shares of replies by refusal code.
        forfeit_rate: share of games in which a seat forfeited or had a move played for it.
        reply_tokens, reply_median, reply_p95: length.
        reply_tokens_by: mean length in trajectories that were won (return above 0), drawn and lost. reply_tokens_by_role: by role.
        repetition: share of the runs of 4 tokens in a reply that stood in it before; mean over replies that have any.
        facts: mean over games of what their rules found out, where that is a number or yes and no, e.g. "deal" and "joint".
        by_game: all these by game, where there are several.
        return: mean by role. won: share by role, of the games with the weights in training in every seat. Of several games the
            roles are called "GAME/ROLE".
        welfare, first_mover_gap: by game, of the games with the weights in training in every seat: mean sum of the seats'
            returns (0 in zero-sum games), and by how much the return of the seat that moved first exceeds the others' mean;
            without the latter where seats begin at once.
        distinct_actions, action_entropy: different moves, and nats, at an observation that came up more than once in the step.
        variance_share: see `variance_shares`.
    """
    returns: dict[str, list[float]] = defaultdict(list)
    won: dict[str, list[bool]] = defaultdict(list)
    of_game: dict[str, list[Trajectory]] = defaultdict(list)
    for trajectory in played:
        role = role_name(trajectory.outcome.game, trajectory.outcome.role, several_games)
        of_game[short_name(trajectory.outcome.game)].append(trajectory)
        returns[role].append(trajectory.outcome.return_)
        if trajectory.outcome.opponent == "self":
            won[role].append(trajectory.outcome.return_ > 0)
    return {
        **_reply_metrics(played, several_games),
        **({"by_game": {game: _reply_metrics(of) for game, of in sorted(of_game.items())}} if several_games else {}),
        "return": {role: _mean(of_role) for role, of_role in sorted(returns.items())},
        "won": {role: _share(of_role) for role, of_role in sorted(won.items())},
        **_table_metrics(of_game),
        **_variety([step for trajectory in played for step in trajectory.steps]),
        "variance_share": variance_shares([trajectory.outcome for trajectory in played]),
    }


def role_name(game: str, role: str, several_games: bool) -> str:
    """What metrics call a role of a game."""
    return f"{short_name(game)}/{role}" if several_games else role


def _reply_metrics(played: Sequence[Trajectory], several_games: bool = False) -> dict[str, Any]:
    steps = [step for trajectory in played for step in trajectory.steps]
    lengths = sorted(len(step.reply.reply_ids) for step in steps)
    by_result: dict[str, list[int]] = defaultdict(list)
    by_role: dict[str, list[int]] = defaultdict(list)
    for trajectory in played:
        return_ = trajectory.outcome.return_
        result = "won" if return_ > 0 else "lost" if return_ < 0 else "drawn"
        of_trajectory = [len(step.reply.reply_ids) for step in trajectory.steps]
        by_result[result] += of_trajectory
        by_role[role_name(trajectory.outcome.game, trajectory.outcome.role, several_games)] += of_trajectory
    repeated = [share for step in steps if (share := _repetition(step.reply.reply_ids)) is not None]
    return {
        "games": len({trajectory.outcome.episode for trajectory in played}),
        "replies": len(steps),
        **_refusals(steps),
        "forfeit_rate": _share({each.outcome.episode: not each.decided_by_rules for each in played}.values()),
        "truncated_rate": _share(_is_cut_off(step) for step in steps),
        "empty_thinking": _share(not reasoning_in(step.reply.text) for step in steps),
        "reply_tokens": _mean(lengths),
        "reply_median": float(median(lengths)) if lengths else 0.0,
        "reply_p95": float(lengths[math.ceil(0.95 * len(lengths)) - 1]) if lengths else 0.0,
        "reply_tokens_by": {result: _mean(of) for result, of in sorted(by_result.items()) if of},
        "reply_tokens_by_role": {role: _mean(of) for role, of in sorted(by_role.items()) if of},
        **({"repetition": _mean(repeated)} if repeated else {}),
        "facts": _mean_facts(played),
    }


def _is_cut_off(step: Step) -> bool:
    return step.reply.finish_reason == "length"


def _refusals(steps: Sequence[Step]) -> dict[str, Any]:
    refused = [step for step in steps if step.turn.status != "ok"]
    kinds = Counter(
        "cut_off" if _is_cut_off(step) else "format" if step.turn.code in UNREADABLE else "illegal" for step in refused
    )
    codes = Counter(step.turn.code for step in refused)
    total = max(1, len(steps))
    return {
        "invalid_rate": len(refused) / total,
        "invalid": {kind: kinds[kind] / total for kind in ("cut_off", "format", "illegal")},
        "refusals": {code: count / total for code, count in sorted(codes.items())},
    }


def _repetition(ids: Sequence[int]) -> float | None:
    runs = len(ids) - RUN_LENGTH + 1
    if runs < 1:
        return None
    return 1 - len(set(zip(*(ids[place : place + runs] for place in range(RUN_LENGTH)), strict=True))) / runs


def _table_metrics(of_game: Mapping[str, Sequence[Trajectory]]) -> dict[str, Any]:
    """What is of whole games: those in which all seats learn."""
    welfare, gaps = {}, {}
    for game, played in sorted(of_game.items()):
        tables: dict[int, list[Trajectory]] = defaultdict(list)
        for trajectory in played:
            if trajectory.outcome.opponent == "self":
                tables[trajectory.outcome.episode].append(trajectory)
        if tables:
            welfare[game] = _mean([sum(each.outcome.return_ for each in table) for table in tables.values()])
        if found := [gap for table in tables.values() if (gap := _first_mover_gap(table)) is not None]:
            gaps[game] = _mean(found)
    return {"welfare": welfare, "first_mover_gap": gaps}


def _first_mover_gap(table: Sequence[Trajectory]) -> float | None:
    opened = [each for each in table if each.steps and each.steps[0].observation.turn == 0]
    others = [each.outcome.return_ for each in table if each is not opened[0]] if len(opened) == 1 else []
    return opened[0].outcome.return_ - _mean(others) if others else None


def _mean_facts(played: Sequence[Trajectory]) -> dict[str, float]:
    facts_of = {trajectory.outcome.episode: trajectory.facts for trajectory in played}
    values: dict[str, list[float]] = defaultdict(list)
    for facts in facts_of.values():
        for name, fact in facts.items():
            if isinstance(fact, bool | int | float):
                values[name].append(float(fact))
    return {name: _mean(of) for name, of in sorted(values.items())}


def staleness(played: Sequence[Trajectory], version: float, updates_per_step: int) -> dict[str, float]:
    """By how many steps the weights have moved on since the replies were sampled.

    Args:
        version: of the weights that are going to be trained, in steps.
        updates_per_step: versions a step.

    Returns:
        mean: over replies, of the mean over their tokens. max: of any token. mixed: share of replies under which weights changed.
    """
    replies = [step.reply for trajectory in played for step in trajectory.steps if step.reply.policy_version is not None]
    spans = [reply.version_spans or ((cast(int, reply.policy_version), len(reply.reply_ids)),) for reply in replies]
    return {
        "mean": _mean([version - _mean_version(each) / updates_per_step for each in spans]),
        "max": max((version - each[0][0] / updates_per_step for each in spans), default=0.0),
        "mixed": _share(len(each) > 1 for each in spans),
    }


def _mean_version(spans: Spans) -> float:
    tokens = sum(count for _, count in spans)
    return sum(version * count for version, count in spans) / tokens if tokens else spans[0][0]


def without_timing(line: dict[str, Any]) -> dict[str, Any]:
    """A line of metrics without what differs from machine to machine, from time to time, and with the number of processes."""
    return {name: value for name, value in line.items() if name not in ("seconds", "rollout", "sync", "peak_memory")}


def rollout_metrics(batch: Batch, trained: Sequence[int]) -> dict[str, Any]:
    """How well the engine was used.

    Args:
        batch: of a step.
        trained: tokens of each reply that was learnt from.

    Returns:
        rollout: tokens_per_second, sampled in a second of playing. efficiency: that by the tokens in a second of the engine alone
            (`engine_tokens_per_second`). occupancy: games in progress while agents worked (`live_games`) by the most that may be.
            env_share: of the time, what the games themselves took. tokens_trained: share of the sampled tokens that is learnt
            from. tokens_saved: share of the tokens of all prompts and replies that need not be computed: of equal sequences,
            shared beginnings, the engine's cache. prompt_cached: share of the prompts' tokens whose computation was at hand.
            Left out is what is not known where the games or the engine are.
        peak_memory: MB of this process so far ("cpu"), and of its GPU's allocator ("gpu") where it has one.
    """
    figures = batch.figures
    seconds = figures["generate"] + figures["env"]
    found = {
        "tokens_per_second": figures["tokens"] / seconds if seconds else 0.0,
        "tokens_trained": sum(trained) / max(1.0, figures["tokens"]),
        "live_games": figures["live_games"],
        "env_share": figures["env"] / seconds if seconds else 0.0,
    }
    if figures["engine"]:
        found["engine_tokens_per_second"] = figures["tokens"] / figures["engine"]
        found["efficiency"] = figures["engine"] / seconds
        found["occupancy"] = figures["live_games"] / figures["room"]
    if figures["asked"]:
        found["tokens_saved"] = 1 - figures["computed"] / figures["asked"]
        found["prompt_cached"] = figures["cached"] / figures["prompt"]
    return {"rollout": found, "peak_memory": _peak_memory()}


def _peak_memory() -> dict[str, float]:
    unit = 1 if sys.platform == "darwin" else 1024  # bytes of ru_maxrss
    found = {"cpu": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6}
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.max_memory_allocated() / 1e6
    return found


def _share(flags: Any) -> float:
    return _mean(list(flags))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))


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
