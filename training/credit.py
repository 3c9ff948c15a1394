"""Trajectories to token rows: which reply gets which advantage, and how much each row weighs.

Two channels of reward, each with a baseline of its own: what the game paid, and the penalty of refused replies. So a wave of
refused replies does not shift what counts as a usual result. A row's advantage is the sum over the channels.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from agents.play import Step
from lmgames.chance import Chance
from training.advantages import BASELINES, Baseline, Cell, Outcome, RunningScale
from training.config import Config
from training.metrics import role_name
from training.rollout import Trajectory
from training.samples import Row

NOTHING = 1e-8  # an advantage below this teaches nothing

Place = tuple[int, int]
"""A reply: id of its trajectory, number in it."""
Unit = tuple[Outcome, list[tuple[Place, float]]]
"""What is compared as one, and the replies that get the advantage, each with its share."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a row comes from, as far as its weight depends on it."""

    game: str
    role: str
    episode: int
    seat: str


@dataclass(frozen=True, slots=True)
class Credited:
    """The rows of a step.

    Args:
        rows: to learn from.
        norm_tokens: divisor of their loss, one for the whole step; rows that were dropped because they teach nothing count in it,
            those that `rows_per_step` did not draw do not.
        roles: of each row, as metrics call it.
        metrics: "cells" (see `cell_metrics`), what the baseline has decided ("baseline"), the largest advantage before any is cut
            ("advantage_max"), the share that is cut ("advantages_cut"), of rows that teach nothing ("rows_dropped"), and each
            role's share in what drives the gradient ("pull").
    """

    rows: list[Row]
    norm_tokens: float
    roles: list[str]
    metrics: dict[str, Any]

    @property
    def by_role(self) -> dict[str, list[Row]]:
        """The rows of each role."""
        found: dict[str, list[Row]] = {role: [] for role in sorted(set(self.roles))}
        for row, role in zip(self.rows, self.roles, strict=True):
            found[role].append(row)
        return found


class Credit:
    """Gives every reply of the learning seats its advantage. Remembers what its baselines remember."""

    def __init__(self, config: Config):
        self.config = config
        self.outcome = make_baseline(config.baseline, config)
        self.invalid = make_baseline(config.invalid_baseline, config)
        self.scale = RunningScale()

    def rows(self, trajs: Sequence[Trajectory], step: int = 0) -> Credited:
        """The rows of a step.

        Args:
            trajs: of the learning seats, in an order that does not depend on who finished first.
            step: number of the step, for the draw of `rows_per_step`.
        """
        config = self.config
        if config.forfeits == "pay":
            trajs = [_paid_for_forfeit(trajectory, config) for trajectory in trajs]
        fair = [trajectory for trajectory in trajs if trajectory.decided_by_rules or config.forfeits != "mask"]
        of_game, cells = self._of_game(fair)
        of_refusals = self._of_refusals(trajs)
        rows: list[Row] = []
        origins: list[Origin] = []
        cut, largest = 0, 0.0
        for trajectory in trajs:
            for number, answered in enumerate(trajectory.steps):
                place = (id(trajectory), number)
                parts = [channel[place] for channel in (of_refusals, of_game) if place in channel]
                if not parts or (config.truncated == "mask" and _is_cut_off(answered)):
                    continue
                advantage = sum(parts)
                largest = max(largest, abs(advantage))
                if config.advantage_clip and abs(advantage) > config.advantage_clip:
                    cut += 1
                    advantage = max(-config.advantage_clip, min(config.advantage_clip, advantage))
                reply = answered.reply
                rows.append(Row(reply.prompt_ids, reply.reply_ids, reply.logprobs, advantage))
                outcome = trajectory.outcome
                origins.append(Origin(outcome.game, outcome.role, outcome.episode, trajectory.seat))
        metrics = {"cells": cells, "advantage_max": largest, "advantages_cut": cut / max(1, len(rows))}
        metrics |= _named("baseline", self.outcome.report())
        return self._weighed(rows, origins, metrics, step)

    def _of_game(self, fair: Sequence[Trajectory]) -> tuple[dict[Place, float], dict[str, Any]]:
        """(advantages from what the game paid, metrics by cell)."""
        units: list[Unit] = []
        for trajectory in fair:
            units += self._turns(trajectory) if self.config.credit == "turn" else [self._whole(trajectory)]
        outcomes = [outcome for outcome, _ in units]
        if not outcomes:
            return {}, {}
        usual = self.outcome(outcomes)
        scale = self.scale(outcomes) if self.config.scale == "running" else {}
        advantages = [
            (outcome.return_ - base) / scale.get(outcome.game, 1.0) for outcome, base in zip(outcomes, usual, strict=True)
        ]
        credited = {
            place: advantage * share
            for (_, places), advantage in zip(units, advantages, strict=True)
            for place, share in places
        }
        return credited, cell_metrics(outcomes, usual, advantages)

    def _whole(self, trajectory: Trajectory) -> Unit:
        """The trajectory as one unit; each accepted reply has a share, discounted by the own turns after it."""
        places = []
        after = sum(self._counts(step) for step in trajectory.steps)
        for number, step in enumerate(trajectory.steps):
            if self._counts(step):
                after -= 1
                places.append(((id(trajectory), number), self.config.turn_discount**after))
        return trajectory.outcome, places

    def _turns(self, trajectory: Trajectory) -> list[Unit]:
        """Each accepted reply as a unit: what was paid from it on, later rewards discounted by own turns."""
        units: list[Unit] = []
        to_come = turn_returns(trajectory.steps, self.config.turn_discount)
        turn = 0
        for number, (step, return_) in enumerate(zip(trajectory.steps, to_come, strict=True)):
            if not self._counts(step):
                continue
            bucket = min(turn, self.config.turn_buckets - 1)
            position = trajectory.positions[number] if trajectory.positions else None
            outcome = replace(trajectory.outcome, return_=return_, turn=bucket, position=position)
            units.append((outcome, [((id(trajectory), number), 1.0)]))
            turn += 1
        return units

    def _of_refusals(self, trajs: Sequence[Trajectory]) -> dict[Place, float]:
        """Advantages from the penalty, of the replies that get one."""
        if self.config.forfeits == "pay":
            return {}
        places, outcomes = [], []
        for trajectory in trajs:
            for number, step in enumerate(trajectory.steps):
                paid = 0.0 if self._counts(step) else -self.config.invalid_penalty
                places.append((id(trajectory), number))
                outcomes.append(replace(trajectory.outcome, return_=paid))
        usual = self.invalid(outcomes) if outcomes else []
        return {
            place: outcome.return_ - base
            for place, outcome, base in zip(places, outcomes, usual, strict=True)
            if outcome.return_ or self.config.invalid_baseline != "none"
        }

    def _counts(self, step: Step) -> bool:
        """Whether a reply shares in the game's result."""
        if self.config.forfeits == "pay":
            return True
        return step.turn.status == "ok" and not (self.config.truncated == "penalise" and _is_cut_off(step))

    def _weighed(self, rows: list[Row], origins: list[Origin], metrics: dict[str, Any], step: int) -> Credited:
        config = self.config
        only_advantages = not (config.kl_weight or config.entropy_weight or config.entropy_target)
        drop = config.drop_zero_advantage and only_advantages
        teaches = [not drop or abs(row.advantage) >= NOTHING for row in rows]
        metrics["rows_dropped"] = 1 - sum(teaches) / max(1, len(rows))
        if config.rows_per_step:
            kept = [number for number, teaching in enumerate(teaches) if teaching]
            order = Chance(config.seed).derive("rows", step).shuffled(kept, "order")
            chosen = sorted(order[: config.rows_per_step])
            rows, origins = [rows[number] for number in chosen], [origins[number] for number in chosen]
            teaches = [True] * len(rows)
        limits = [config.reply_limit(origin.game) for origin in origins]
        weights, norm = WEIGHTS[config.row_weights](rows, origins, limits)
        several = len(config.played) > 1
        kept = [place for place, teaching in enumerate(teaches) if teaching]
        made = [replace(rows[place], weight=weights[place]) for place in kept]
        roles = [role_name(origins[place].game, origins[place].role, several) for place in kept]
        metrics["pull"] = _pull(made, roles)
        return Credited(made, norm, roles, metrics)

    def state_dict(self) -> dict[str, Any]:
        """What must be saved to go on as if never stopped, of JSON types."""
        return {
            "outcome": self.outcome.state_dict(),
            "invalid": self.invalid.state_dict(),
            "scale": self.scale.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a saved state."""
        self.outcome.load_state_dict(state["outcome"])
        self.invalid.load_state_dict(state["invalid"])
        self.scale.load_state_dict(state["scale"])


def make_baseline(name: str, config: Config) -> Baseline:
    """A baseline by name, with the run's settings."""
    settings: dict[str, Any] = {}
    if name == "role_ema":
        settings["debias"] = config.ema_baseline_debias
    if name in ("role_ema", "shrink", "auto"):
        settings["decay"] = config.ema_baseline_decay
    if name in ("shrink", "opponent_shrink", "position", "auto"):
        settings["kappa"] = config.baseline_kappa
    return BASELINES[name](**settings)


def turn_returns(steps: Sequence[Step], discount: float) -> list[float]:
    """For each reply what its seat was paid from it on, later rewards discounted by the own accepted turns in between."""
    to_come, backwards = 0.0, []
    for step in reversed(steps):
        to_come = step.reward + (discount if step.turn.status == "ok" else 1.0) * to_come
        backwards.append(to_come)
    return backwards[::-1]


def _paid_for_forfeit(trajectory: Trajectory, config: Config) -> Trajectory:
    """SPIRAL's rule: a game that ends by a refused reply pays the seat at fault and the others fixed amounts."""
    if not trajectory.forfeited_by:
        return trajectory
    paid = -config.invalid_penalty if trajectory.seat in trajectory.forfeited_by else config.invalid_bonus
    return replace(trajectory, outcome=replace(trajectory.outcome, return_=paid))


def _is_cut_off(step: Step) -> bool:
    return step.reply.finish_reason == "length"


def _pull(rows: Sequence[Row], roles: Sequence[str]) -> dict[str, float]:
    """Who drives the gradient: each role's share of the sum over rows of weight * |advantage| * tokens."""
    pulls: dict[str, float] = defaultdict(float)
    for row, role in zip(rows, roles, strict=True):
        pulls[role] += row.weight * abs(row.advantage) * len(row.reply_ids)
    total = sum(pulls.values())
    return {role: pull / total for role, pull in sorted(pulls.items())} if total else {}


def _named(name: str, report: dict[str, Any]) -> dict[str, Any]:
    return {name: report} if report else {}


def cell_metrics(outcomes: Sequence[Outcome], usual: Sequence[float], advantages: Sequence[float]) -> dict[str, Any]:
    """By cell: games, mean return and baseline, mean and standard deviation of the advantages, and the share of them that is 0."""
    numbers: dict[Cell, list[int]] = defaultdict(list)
    for number, outcome in enumerate(outcomes):
        numbers[outcome.cell].append(number)
    found = {}
    for cell, of_cell in sorted(numbers.items()):
        advantage = np.array([advantages[number] for number in of_cell])
        found["/".join(map(str, cell)).removeprefix("lmgames/")] = {
            "games": len({outcomes[number].episode for number in of_cell}),
            "return": float(np.mean([outcomes[number].return_ for number in of_cell])),
            "baseline": float(np.mean([usual[number] for number in of_cell])),
            "advantage": float(advantage.mean()),
            "advantage_std": float(advantage.std()),
            "zero_advantage": float((abs(advantage) < NOTHING).mean()),
        }
    return found


# How rows weigh: (rows, where they come from, longest reply that may be sampled there) -> (weight of each, divisor Z).
# loss = -(sum over rows of weight * sum of its tokens' gains) / Z, with one Z for all optimiser steps and micro-batches.
Weighing = Callable[[Sequence[Row], Sequence[Origin], Sequence[int]], tuple[list[float], float]]


def by_token(rows: Sequence[Row], _: Sequence[Origin], __: Sequence[int]) -> tuple[list[float], float]:
    """Every token alike (DAPO): long replies weigh more."""
    return [1.0] * len(rows), float(sum(len(row.reply_ids) for row in rows))


def by_row(rows: Sequence[Row], _: Sequence[Origin], __: Sequence[int]) -> tuple[list[float], float]:
    """Every reply alike (GRPO as published): a long losing reply is punished less a token. For `gspo`."""
    return [1.0 / len(row.reply_ids) for row in rows], float(len(rows))


def by_constant(rows: Sequence[Row], _: Sequence[Origin], longest: Sequence[int]) -> tuple[list[float], float]:
    """One constant (Dr.GRPO, SPIRAL): unbiased."""
    return [1.0] * len(rows), float(sum(longest))


def by_game(_: Sequence[Row], origins: Sequence[Origin], longest: Sequence[int]) -> tuple[list[float], float]:
    """Every seat's game alike, however many turns it took."""
    counts = Counter(origins)
    return [1.0 / counts[origin] for origin in origins], float(sum(dict(zip(origins, longest, strict=True)).values()))


def by_role(rows: Sequence[Row], origins: Sequence[Origin], longest: Sequence[int]) -> tuple[list[float], float]:
    """Every role of every game alike, however many rows it has (SPAG)."""
    counts = Counter((origin.game, origin.role) for origin in origins)
    weights = [len(rows) / (len(counts) * counts[origin.game, origin.role]) for origin in origins]
    return weights, float(sum(longest))


WEIGHTS: dict[str, Weighing] = {
    "token": by_token,
    "row": by_row,
    "const": by_constant,
    "game": by_game,
    "role": by_role,
}
