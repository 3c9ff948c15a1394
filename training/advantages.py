"""Returns to baselines: what role-conditioned self-play compares a return with.

A seat's return is compared with the usual return of its cell (game, role, opponent class), so that a seat's luck is not taken
for skill; within a same-deal group the luck of the deal goes, too. Every estimator is one class here: a list of outcomes in, a
baseline for each out. None divides by a standard deviation: that weighs near-decided cells up.

Sources: SPIRAL (2506.24119) for the role EMA; leave-one-out as in RLOO (2402.14740); mean-only groups as in Dr.GRPO (2503.20783);
means shrunk towards each other: James and Stein (1961).
"""

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Key = TypeVar("Key", bound=Hashable)
Cell = tuple[str | int, ...]
"""(game, role, opponent), and the turn where turns are compared."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a baseline reads of one seat's trajectory, or of one turn of it.

    Args:
        game: registered ID.
        role: seats of one role may be compared.
        opponent: class of the other seats' policies: "self", "fixed:random", ...
        group: episodes of one group share their deal.
        episode: number of the episode; seats of one episode are never each other's baseline.
        return_: of the seat, in the game's unit.
        turn: number of the seat's turn that it was earned from; None for the whole trajectory.
        position: a key of the state that the turn was taken in; None where turns are not compared by it.
    """

    game: str
    role: str
    opponent: str
    group: Hashable
    episode: int
    return_: float
    turn: int | None = None
    position: Hashable = None

    @property
    def cell(self) -> Cell:
        cell = (self.game, self.role, self.opponent)
        return cell if self.turn is None else (*cell, self.turn)


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

    def report(self) -> dict[str, Any]:
        """What it has decided by itself, for the metrics; {} if nothing."""
        return {}


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


@dataclass(frozen=True, slots=True)
class Others:
    """What the other episodes that an outcome may be compared with were paid.

    Args:
        mean: of their returns; 0 where there are none.
        episodes: how many they are.
    """

    mean: float
    episodes: int

    def drawn_to(self, wider: "Others", kappa: float) -> "Others":
        """Shrunk towards a mean that leans on more: (n mean + kappa wider.mean) / (n + kappa). A mean of nothing has no weight:
        it is unknown, not 0."""
        pull = kappa if wider.episodes else 0.0
        if not self.episodes + pull:
            return self
        return Others(
            (self.episodes * self.mean + pull * wider.mean) / (self.episodes + pull), max(self.episodes, wider.episodes)
        )


class LeaveOneOut(Baseline):
    """Mean return of the other episodes with the same key: unbiased. The whole episode is left out, since seats that share a
    role share its fate.

    Args:
        keys: the narrowest first; an outcome is compared by the first with which any other episode has the same key. By none: 0.
    """

    def __init__(self, *keys: Callable[[Outcome], Hashable]):
        self.keys = keys

    def __call__(self, outcomes: Sequence[Outcome]) -> list[float]:
        by_key = [others(outcomes, key) for key in self.keys]
        return [_first(among).mean for among in zip(*by_key, strict=True)]


def others(outcomes: Sequence[Outcome], key: Callable[[Outcome], Hashable]) -> list[Others]:
    """For each outcome the other episodes of this step with the same key."""
    sums = _sums((key(outcome), outcome.return_) for outcome in outcomes)
    own = _sums(((key(outcome), outcome.episode), outcome.return_) for outcome in outcomes)
    episodes = Counter(of_key for of_key, _ in own)
    found = []
    for outcome in outcomes:
        total, count = sums[key(outcome)]
        mine, seats = own[key(outcome), outcome.episode]
        mean = (total - mine) / (count - seats) if count > seats else 0.0
        found.append(Others(mean, episodes[key(outcome)] - 1))
    return found


def _first(among: Iterable[Others]) -> Others:
    """The first that are any."""
    return next((each for each in among if each.episodes), Others(0.0, 0))


class RoleEMA(Baseline):
    """Exponential moving average of the cell's returns, read before it is updated (RAE of SPIRAL's released code).

    An episode counts once, by the mean of its outcomes in the cell, after all of them have been compared: seats that share a role,
    and turns that share a bucket, know of each other's luck. With one seat a cell this is SPIRAL's.

    Args:
        decay: weight of the past; 0.95 looks back about 20 episodes.
        debias: divide by 1 - decay**n, so that the start at 0 is not taken for experience. SPIRAL does not.
    """

    def __init__(self, decay: float = 0.95, debias: bool = False):
        if not 0 <= decay < 1:
            raise ValueError(f"decay={decay!r} must be at least 0 and below 1")
        self.decay = decay
        self.debias = debias
        self.average: dict[Cell, float] = defaultdict(float)
        self.count: dict[Cell, int] = defaultdict(int)

    def value(self, cell: Cell) -> float:
        """The baseline of a cell now; 0 before its first outcome."""
        if not self.debias or not self.count[cell]:
            return self.average[cell]
        return self.average[cell] / (1 - self.decay ** self.count[cell])

    def __call__(self, outcomes: Sequence[Outcome]) -> list[float]:
        episodes: dict[int, list[int]] = defaultdict(list)  # to the numbers of their outcomes, in the order they ended
        for number, outcome in enumerate(outcomes):
            episodes[outcome.episode].append(number)
        baselines = [0.0] * len(outcomes)
        for numbers in episodes.values():
            for number in numbers:
                baselines[number] = self.value(outcomes[number].cell)
            paid = _sums((outcomes[number].cell, outcomes[number].return_) for number in numbers)
            for cell, (total, count) in paid.items():
                self.average[cell] = self.decay * self.average[cell] + (1 - self.decay) * (total / count)
                self.count[cell] += 1
        return baselines

    def state_dict(self) -> dict[str, Any]:
        return {"cells": [[*cell, self.average[cell], count] for cell, count in sorted(self.count.items())]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.average.clear()
        self.count.clear()
        for *cell, average, count in state["cells"]:
            self.average[tuple(cell)] = average
            self.count[tuple(cell)] = count


class Shrink(Baseline):
    """Between the cell's other episodes of this step and its past: w loo + (1 - w) EMA, w = N / (N + kappa).

    Args:
        kappa: episodes of this step at which both weigh the same.
        decay: of the EMA, debiased; cells with no past take the leave-one-out mean alone.
    """

    def __init__(self, kappa: float = 8.0, decay: float = 0.95):
        self.kappa = kappa
        self.past = RoleEMA(decay, debias=True)

    def __call__(self, outcomes: Sequence[Outcome]) -> list[float]:
        # Of earlier steps only: none of this step's outcomes is in it.
        past = {
            cell: Others(self.past.value(cell), self.past.count[cell]) for cell in {outcome.cell for outcome in outcomes}
        }
        self.past(outcomes)
        now = others(outcomes, _cell)
        return [mean.drawn_to(past[outcome.cell], self.kappa).mean for outcome, mean in zip(outcomes, now, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        return self.past.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.past.load_state_dict(state)


class OpponentShrink(Baseline):
    """For runs against a pool: the mean against this class of opponents, drawn towards the role's mean against all of them.

    (n m_opponent + kappa m_role) / (n + kappa), both means without the own episode, n other episodes against that class. So an
    opponent met twice does not make every game against a weak one a success and every other a failure.

    Args:
        kappa: episodes at which both weigh the same.
    """

    def __init__(self, kappa: float = 8.0):
        self.kappa = kappa

    def __call__(self, outcomes: Sequence[Outcome]) -> list[float]:
        against, role = others(outcomes, _cell), others(outcomes, _role)
        return [own.drawn_to(all_, self.kappa).mean for own, all_ in zip(against, role, strict=True)]


class AtPosition(Baseline):
    """For turns: the mean of the other episodes that stood at the same position, drawn towards those of the deal.

    (n m_position + kappa m_deal) / (n + kappa), both means without the own episode, n other episodes that stood there. What is left
    is what the move changed: a won position gives no credit to the moves that come after. Where one of the means is of nothing, the
    other stands alone; where both are, the mean of the cell's other episodes does. Positions are the anchor states of GiGPO
    (2505.10978, section 3.3), whose deviation by group is left out.

    Args:
        kappa: episodes at which both weigh the same.
    """

    def __init__(self, kappa: float = 8.0):
        self.kappa = kappa

    def __call__(self, outcomes: Sequence[Outcome]) -> list[float]:
        by_key = (others(outcomes, key) for key in (_position, _cell_and_group, _cell))
        return [_first((here.drawn_to(deal, self.kappa), cell)).mean for here, deal, cell in zip(*by_key, strict=True)]


class Auto(Baseline):
    """For each game the baseline that promises the smallest advantages, by the variance measured in the steps before.

    Promised mean square of an advantage: E[R^2] without a baseline; the variance within cells, N / (N - 1) of it, by comparing
    with the N - 1 other games of the cell; the variance within deals, K / (K - 1) of it, by comparing with the K - 1 others on
    the same deal. A more particular one is taken if it saves at least `WORTH`. The first step has nothing measured and uses
    `shrink`. What a step measures counts from the next step on, so the choice does not depend on what it is applied to.

    Args:
        kappa, decay: of `Shrink`.
    """

    WORTH = 0.05  # of the mean square
    MEMORY = 0.9  # weight of what earlier steps measured

    def __init__(self, kappa: float = 8.0, decay: float = 0.95):
        shrink = Shrink(kappa, decay)
        self.choices: dict[str, Baseline] = {
            "none": NoBaseline(),
            "shrink": shrink,
            "seed_role_loo": LeaveOneOut(_cell_and_group, _cell),
        }
        self.promised: dict[str, dict[str, float]] = {}  # game -> choice -> mean square of the advantages

    def choice(self, game: str) -> str:
        """Name of the baseline that the next outcomes of a game are compared by."""
        promised = self.promised.get(game)
        if promised is None:
            return "shrink"
        chosen = "none"
        for name in ("shrink", "seed_role_loo"):
            if name in promised and promised[name] < (1 - self.WORTH) * promised[chosen]:
                chosen = name
        return chosen

    def __call__(self, outcomes: Sequence[Outcome]) -> list[float]:
        by_name = {name: baseline(outcomes) for name, baseline in self.choices.items()}
        baselines = [by_name[self.choice(outcome.game)][number] for number, outcome in enumerate(outcomes)]
        for game, spread in variance_components(outcomes).items():
            now = _promises([outcome for outcome in outcomes if outcome.game == game], spread)
            before = self.promised.get(game, now)
            self.promised[game] = {
                name: self.MEMORY * before.get(name, value) + (1 - self.MEMORY) * value for name, value in now.items()
            }
        return baselines

    def report(self) -> dict[str, Any]:
        """By game: what the next step uses, and the mean square of the advantages that each choice promises."""
        return {
            game: {"choice": self.choice(game), "why": _why(self.choice(game)), "mean_square": promised}
            for game, promised in sorted(self.promised.items())
        }

    def state_dict(self) -> dict[str, Any]:
        return {"promised": self.promised, "shrink": self.choices["shrink"].state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.promised = {game: dict(promised) for game, promised in state["promised"].items()}
        self.choices["shrink"].load_state_dict(state["shrink"])


def _promises(outcomes: Sequence[Outcome], spread: "Spread") -> dict[str, float]:
    within = spread.rest + (spread.deal or 0.0)
    in_cell = np.mean([len(episodes) for episodes in _episodes(outcomes).values()])
    promised = {"none": spread.mean_square}
    if in_cell > 1:
        promised["shrink"] = float(within * in_cell / (in_cell - 1))
    if spread.deal is not None:
        on_deal: dict[Hashable, set[int]] = defaultdict(set)
        for outcome in outcomes:
            on_deal[_cell_and_group(outcome)].add(outcome.episode)
        size = np.mean([len(episodes) for episodes in on_deal.values()])
        promised["seed_role_loo"] = float(spread.rest * size / (size - 1))
    return promised


def _why(choice: str) -> str:
    return {
        "none": "neither roles nor deals differ enough for a baseline to pay",
        "shrink": "means of roles differ, the luck of the deal is small or unknown",
        "seed_role_loo": "much of the variance is luck of the deal, which games on the same deal share",
    }[choice]


def _cell(outcome: Outcome) -> Hashable:
    return outcome.cell


def _role(outcome: Outcome) -> Hashable:
    return (outcome.game, outcome.role, outcome.turn)


def _cell_and_group(outcome: Outcome) -> Hashable:
    return (outcome.cell, outcome.group)


def _position(outcome: Outcome) -> Hashable:
    return (outcome.game, outcome.role, outcome.opponent, outcome.position)


def _seats_of_game(outcome: Outcome) -> Hashable:
    return (outcome.game, outcome.episode, outcome.turn)


def _everything(_: Outcome) -> Hashable:
    return None


def _sums(pairs: Iterable[tuple[Key, float]]) -> dict[Key, tuple[float, int]]:
    sums: dict[Key, tuple[float, int]] = {}
    for key, value in pairs:
        total, count = sums.get(key, (0.0, 0))
        sums[key] = (total + value, count + 1)
    return sums


def _episodes(outcomes: Sequence[Outcome]) -> dict[Cell, set[int]]:
    episodes: dict[Cell, set[int]] = defaultdict(set)
    for outcome in outcomes:
        episodes[outcome.cell].add(outcome.episode)
    return episodes


BASELINES: dict[str, Callable[..., Baseline]] = {
    "none": NoBaseline,
    "global": lambda: Mean(_everything),
    "seat_pair": lambda: Mean(_seats_of_game),
    "role_batch": lambda: Mean(_cell),
    "role_loo": lambda: LeaveOneOut(_cell),
    "role_ema": RoleEMA,
    "seed_role": lambda: Mean(_cell_and_group),
    "seed_role_loo": lambda: LeaveOneOut(_cell_and_group, _cell),
    "shrink": Shrink,
    "opponent_shrink": OpponentShrink,
    "position": AtPosition,
    "auto": Auto,
}
"""Name in a recipe -> what makes the baseline. A new estimator is one class above and one line here."""


class RunningScale:
    """A divisor for the advantages of each game, so that games paid in coins and games paid in wins weigh alike.

    An average over steps, debiased, of the standard deviation within cells; one for all roles of a game, so zero-sum stays
    zero-sum. Never that of a group: that would weigh nearly decided ones up.

    Args:
        decay: weight of the past.
        floor: smallest divisor, in the game's unit.
    """

    def __init__(self, decay: float = 0.95, floor: float = 0.1):
        self.decay = decay
        self.floor = floor
        self.average: dict[str, float] = defaultdict(float)
        self.count: dict[str, int] = defaultdict(int)

    def __call__(self, outcomes: Sequence[Outcome]) -> dict[str, float]:
        """The divisor of each game in these outcomes, which count already."""
        for game, spread in variance_components(outcomes).items():
            deviation = (spread.rest + (spread.deal or 0.0)) ** 0.5
            self.average[game] = self.decay * self.average[game] + (1 - self.decay) * deviation
            self.count[game] += 1
        return {game: self.value(game) for game in sorted({outcome.game for outcome in outcomes})}

    def value(self, game: str) -> float:
        """The divisor of a game now; 1 before any of its steps had two games of one cell."""
        if not self.count[game]:
            return 1.0
        return max(self.floor, self.average[game] / (1 - self.decay ** self.count[game]))

    def state_dict(self) -> dict[str, Any]:
        return {"games": [[game, self.average[game], count] for game, count in sorted(self.count.items())]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.average.clear()
        self.count.clear()
        for game, average, count in state["games"]:
            self.average[game], self.count[game] = average, count


@dataclass(frozen=True, slots=True)
class Spread:
    """Variance of one game's returns, taken apart; in the square of the game's unit.

    Args:
        mean_square: E[R^2].
        role: variance of the cells' means: between roles, and between classes of opponents where there are several.
        deal: variance of a cell's means from deal to deal; None if no deal was played twice.
        rest: what is left on one deal; with `deal` None, all within cells.
    """

    mean_square: float
    role: float
    deal: float | None
    rest: float


def variance_components(outcomes: Sequence[Outcome]) -> dict[str, Spread]:
    """The spread of each game that has at least two episodes in one cell.

    Seats of one episode that share a role count as one, by their mean. Within cells: analysis of variance with one random factor
    (deals) and unequal group sizes, pooled over cells (Henderson's method 1); E[deal] and E[rest] are exact for groups of any
    size from 2 on. Between cells: the variance of their means, its upward bias taken off by the jackknife over deals, which also
    holds where the seats of one game are correlated. An estimate below 0 counts as 0. Deals are taken as drawn from many: where a
    step holds each of a game's G deals once, `deal` comes out G / (G - 1) times too large.
    """
    by_game: dict[str, dict[Cell, dict[Hashable, dict[int, list[float]]]]] = {}
    for outcome in outcomes:
        of_cell = by_game.setdefault(outcome.game, {}).setdefault(outcome.cell, {})
        of_cell.setdefault(outcome.group, {}).setdefault(outcome.episode, []).append(outcome.return_)
    found = {}
    for game, cells in by_game.items():
        groups = {
            cell: {group: np.array([np.mean(seats) for seats in episodes.values()]) for group, episodes in of_cell.items()}
            for cell, of_cell in cells.items()
        }
        within = _within_cells([list(of_cell.values()) for of_cell in groups.values()])
        if within is not None:
            deal, rest = within
            returns = np.concatenate([values for of_cell in groups.values() for values in of_cell.values()])
            found[game] = Spread(float((returns**2).mean()), _between_cells(list(groups.values())), deal, rest)
    return found


def _within_cells(cells: Sequence[Sequence[NDArray[np.float64]]]) -> tuple[float | None, float] | None:
    """(between deals or None, rest) from the returns of each cell by deal; None if no cell has two."""
    inner = outer = around = 0.0  # sums of squares: within deals, between deals, within cells
    inner_df = outer_df = around_df = 0
    coefficient = 0.0
    for deals in cells:
        sizes = np.array([len(values) for values in deals])
        returns = np.concatenate(list(deals))
        means = np.array([values.mean() for values in deals])
        inner += sum(float(((values - values.mean()) ** 2).sum()) for values in deals)
        outer += float((sizes * (means - returns.mean()) ** 2).sum())
        around += float(((returns - returns.mean()) ** 2).sum())
        inner_df += len(returns) - len(deals)
        outer_df += len(deals) - 1
        around_df += len(returns) - 1
        coefficient += len(returns) - float((sizes**2).sum()) / len(returns)
    if around_df == 0:
        return None
    if inner_df == 0 or coefficient == 0:
        return None, around / around_df
    rest = inner / inner_df
    return max(0.0, (outer - outer_df * rest) / coefficient), rest


def _between_cells(cells: Sequence[dict[Hashable, NDArray[np.float64]]]) -> float:
    """Variance of the cells' means, weighed by their games. C = cells, G = deals."""
    groups = list(dict.fromkeys(group for of_cell in cells for group in of_cell))
    count_CG = np.array([[len(of_cell.get(group, ())) for group in groups] for of_cell in cells], dtype=float)
    sum_CG = np.array([[np.sum(of_cell.get(group, 0.0)) for group in groups] for of_cell in cells])
    plain = float(_variance_of_means(sum_CG.sum(1, keepdims=True), count_CG.sum(1, keepdims=True))[0])
    if len(groups) < 2:
        return plain
    without_G = _variance_of_means(
        sum_CG.sum(1, keepdims=True) - sum_CG, count_CG.sum(1, keepdims=True) - count_CG
    )  # each deal left out in turn
    return max(0.0, len(groups) * plain - (len(groups) - 1) * float(without_G.mean()))


def _variance_of_means(sum_CG: NDArray[np.float64], count_CG: NDArray[np.float64]) -> NDArray[np.float64]:
    mean_CG = sum_CG / np.maximum(count_CG, 1)
    share_CG = count_CG / count_CG.sum(0)
    mean_G = (share_CG * mean_CG).sum(0)
    variance_G: NDArray[np.float64] = (share_CG * (mean_CG - mean_G) ** 2).sum(0)
    return variance_G


def variance_shares(outcomes: Sequence[Outcome]) -> dict[str, dict[str, float]]:
    """By game, how much of the returns' variance a baseline could take away; estimated as in `variance_components`.

    Returns:
        {game: {"role": share, "deal": share}}, each from 0 to 1 (0 where the returns do not vary): `role` is what a
        role-conditioned baseline removes, `deal`, absent if no deal was played twice, what a same-deal group removes besides.
    """
    shares = {}
    for game, spread in sorted(variance_components(outcomes).items()):
        total = spread.role + (spread.deal or 0.0) + spread.rest
        shares[game] = {"role": spread.role / total if total else 0.0}
        if spread.deal is not None:
            shares[game]["deal"] = spread.deal / total if total else 0.0
    return shares
