"""Returns to advantages: the baselines of role-conditioned self-play.

A seat's return is compared with the usual return of its cell (game, role, opponent class), so that a seat's luck is not taken
for skill; within a same-deal group the luck of the deal goes, too. Every estimator is one class here: a list of outcomes in, a
baseline for each out. None divides by a standard deviation: that weighs near-decided cells up.

Sources: SPIRAL (2506.24119) for the role EMA; leave-one-out as in RLOO (2402.14740); mean-only groups as in Dr.GRPO (2503.20783).
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a baseline reads of one seat's trajectory.

    Args:
        game: registered ID.
        role: seats of one role may be compared.
        opponent: class of the other seats' policies: "self", "fixed:random", ...
        group: episodes of one group share their deal.
        episode: number of the episode; seats of one episode are never each other's baseline.
        return_: of the seat, in the game's unit.
    """

    game: str
    role: str
    opponent: str
    group: Hashable
    episode: int
    return_: float

    @property
    def cell(self) -> tuple[str, str, str]:
        return (self.game, self.role, self.opponent)


class Baseline(ABC):
    """The usual return that an outcome is compared with. What it remembers between steps is in `state_dict`."""

    @abstractmethod
    def __call__(self, outcomes: Sequence[Outcome]) -> list[float]:
        """The baseline of each outcome of one step, in their order; then learns from them."""

    def state_dict(self) -> dict[str, Any]:
        """What must be saved to go on as if never stopped, of JSON types."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a saved state."""
        assert not state, f"{type(self).__name__} remembers nothing, got {state}"


class NoBaseline(Baseline):
    """0: the return itself is the advantage."""

    def __call__(self, outcomes: Sequence[Outcome]) -> list[float]:
        return [0.0] * len(outcomes)


class Mean(Baseline):
    """Mean return of the outcomes with the same key; biased by the share of the outcome itself."""

    def __init__(self, key: Callable[[Outcome], Hashable]):
        self.key = key

    def __call__(self, outcomes: Sequence[Outcome]) -> list[float]:
        sums = _sums((self.key(outcome), outcome.return_) for outcome in outcomes)
        return [sums[self.key(outcome)][0] / sums[self.key(outcome)][1] for outcome in outcomes]


class LeaveOneOut(Baseline):
    """Mean return of the other episodes with the same key: unbiased. The whole episode is left out, since seats that share a
    role share its fate. 0 for an outcome that has no other episode to compare with."""

    def __init__(self, key: Callable[[Outcome], Hashable]):
        self.key = key

    def __call__(self, outcomes: Sequence[Outcome]) -> list[float]:
        sums = _sums((self.key(outcome), outcome.return_) for outcome in outcomes)
        own = _sums(((self.key(outcome), outcome.episode), outcome.return_) for outcome in outcomes)
        baselines = []
        for outcome in outcomes:
            total, count = sums[self.key(outcome)]
            mine, seats = own[self.key(outcome), outcome.episode]
            baselines.append((total - mine) / (count - seats) if count > seats else 0.0)
        return baselines


class RoleEMA(Baseline):
    """Exponential moving average of the cell's returns, read before it is updated (RAE of SPIRAL's released code).

    Args:
        decay: weight of the past; 0.95 looks back about 20 outcomes.
        debias: divide by 1 - decay**n, so that the start at 0 is not taken for experience. SPIRAL does not.
    """

    def __init__(self, decay: float = 0.95, debias: bool = False):
        if not 0 <= decay < 1:
            raise ValueError(f"decay={decay!r} must be at least 0 and below 1")
        self.decay = decay
        self.debias = debias
        self.average: dict[tuple[str, str, str], float] = defaultdict(float)
        self.count: dict[tuple[str, str, str], int] = defaultdict(int)

    def value(self, cell: tuple[str, str, str]) -> float:
        """The baseline of a cell now; 0 before its first outcome."""
        if not self.debias or not self.count[cell]:
            return self.average[cell]
        return self.average[cell] / (1 - self.decay ** self.count[cell])

    def __call__(self, outcomes: Sequence[Outcome]) -> list[float]:
        baselines = []
        for outcome in outcomes:
            cell = outcome.cell
            baselines.append(self.value(cell))
            self.average[cell] = self.decay * self.average[cell] + (1 - self.decay) * outcome.return_
            self.count[cell] += 1
        return baselines

    def state_dict(self) -> dict[str, Any]:
        return {"cells": [[*cell, self.average[cell], count] for cell, count in sorted(self.count.items())]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.average.clear()
        self.count.clear()
        for game, role, opponent, average, count in state["cells"]:
            self.average[game, role, opponent] = average
            self.count[game, role, opponent] = count


class Shrink(Baseline):
    """Between the cell's other episodes of this step and its past: w loo + (1 - w) EMA, w = N / (N + kappa).

    Args:
        kappa: episodes of this step at which both weigh the same.
        decay: of the EMA, debiased; cells with no past take the leave-one-out mean alone.
    """

    def __init__(self, kappa: float = 8.0, decay: float = 0.95):
        self.kappa = kappa
        self.now = LeaveOneOut(_cell)
        self.past = RoleEMA(decay, debias=True)

    def __call__(self, outcomes: Sequence[Outcome]) -> list[float]:
        others = {cell: len(episodes) - 1 for cell, episodes in _episodes(outcomes).items()}
        had_past = {cell: self.past.count[cell] > 0 for cell in others}
        past = {
            cell: self.past.value(cell) for cell in others
        }  # of earlier steps only: none of this step's outcomes is in it
        now = self.now(outcomes)
        self.past(outcomes)
        baselines = []
        for outcome, loo in zip(outcomes, now, strict=True):
            count = others[outcome.cell]
            weight = count / (count + self.kappa) if had_past[outcome.cell] else float(count > 0)
            baselines.append(weight * loo + (1 - weight) * past[outcome.cell])
        return baselines

    def state_dict(self) -> dict[str, Any]:
        return self.past.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.past.load_state_dict(state)


def _cell(outcome: Outcome) -> Hashable:
    return outcome.cell


def _cell_and_group(outcome: Outcome) -> Hashable:
    return (outcome.cell, outcome.group)


def _everything(_: Outcome) -> Hashable:
    return None


def _sums(pairs: Iterable[tuple[Hashable, float]]) -> dict[Hashable, tuple[float, int]]:
    sums: dict[Hashable, tuple[float, int]] = {}
    for key, value in pairs:
        total, count = sums.get(key, (0.0, 0))
        sums[key] = (total + value, count + 1)
    return sums


def _episodes(outcomes: Sequence[Outcome]) -> dict[tuple[str, str, str], set[int]]:
    episodes: dict[tuple[str, str, str], set[int]] = defaultdict(set)
    for outcome in outcomes:
        episodes[outcome.cell].add(outcome.episode)
    return episodes


BASELINES: dict[str, Callable[..., Baseline]] = {
    "none": NoBaseline,
    "global": lambda: Mean(_everything),
    "role_batch": lambda: Mean(_cell),
    "role_loo": lambda: LeaveOneOut(_cell),
    "role_ema": RoleEMA,
    "seed_role": lambda: Mean(_cell_and_group),
    "seed_role_loo": lambda: LeaveOneOut(_cell_and_group),
    "shrink": Shrink,
}
"""Name in a recipe -> what makes the baseline. A new estimator is one class above and one line here."""


def variance_shares(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """How much of the returns' variance a baseline could take away, per game: between roles, and between deals of one role.

    Returns:
        {"role": share, "deal": share}, each from 0 to 1 (0 where the returns do not vary): `role` is what a role-conditioned
        baseline removes, `deal` what a same-deal group removes besides. Biased upward for small groups.
    """
    returns = np.array([outcome.return_ for outcome in outcomes])
    total = returns.var() if len(returns) else 0.0
    if total == 0:
        return {"role": 0.0, "deal": 0.0}
    by_role = np.array(Mean(_cell)(outcomes))
    by_deal = np.array(Mean(_cell_and_group)(outcomes))
    return {"role": float(by_role.var() / total), "deal": float((by_deal - by_role).var() / total)}
