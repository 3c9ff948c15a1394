"""The opponent pool: past weights and fixed players that sit in some of the seats, never trained.

A frozen seat gives no rows, keeps no log-probabilities and moves no baseline; its class stands in the outcomes of the learning
seats, so that a win against a weak member is not compared with a game against oneself.

RUN/pool/step_000050/   weights as they were then; no retention removes them
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.agent import Agent
from agents.model_agent import ModelAgent
from agents.models.hf import load
from agents.models.model import Sampling
from agents.play import Episode, Match, run_matches
from agents.specs import make_agent
from lmgames.chance import Chance
from lmgames.registry import make_game, split_options
from training.checkpoint import write_folder
from training.config import Config
from training.meta import alpha_rank, zero_sum_nash

LEARNER = "learner"
MEMORY = 0.98  # of the learner's results, a step: it is no longer the one it was


@dataclass(frozen=True, slots=True)
class Member:
    """A frozen policy.

    Args:
        name: unique in the pool.
        spec: of a fixed player; "" for weights of this run, which are in RUN/pool/<name>.
    """

    name: str
    spec: str = ""

    @property
    def opponent(self) -> str:
        """Its class, as baselines tell opponents apart."""
        return f"fixed:{self.spec}" if self.spec else "snapshot"


@dataclass(frozen=True, slots=True)
class Pairing:
    """Who plays a group of games: the learner in every seat of one role, a member in the others."""

    role: str
    member: Member


class PayoffTable:
    """What each policy was paid in each role against each other: counts, and sums of returns and scores.

    A score is 1 for a return above the mean of the other side's seats, 0.5 for the same, 0 for less.
    """

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str, str], list[float]] = {}  # (who, against, role) -> games, returns, scores

    def add(self, who: str, against: str, role: str, return_: float, score: float) -> None:
        """Counts one game."""
        sums = self._sums.setdefault((who, against, role), [0.0, 0.0, 0.0])
        for place, value in enumerate((1.0, return_, score)):
            sums[place] += value

    def fade(self, who: str, rate: float) -> None:
        """Lets the games of a policy that changes count less."""
        for key, sums in self._sums.items():
            if key[0] == who:
                self._sums[key] = [rate * value for value in sums]

    def games(self, who: str, against: str) -> float:
        """Played, in all roles; faded ones count in part."""
        return sum(sums[0] for key, sums in self._sums.items() if key[:2] == (who, against))

    def score(self, who: str, against: str) -> float:
        """Mean score, drawn to a half by the weight of two games."""
        found = [sums for key, sums in self._sums.items() if key[:2] == (who, against)]
        return (sum(sums[2] for sums in found) + 1) / (sum(sums[0] for sums in found) + 2)

    def return_(self, who: str, against: str) -> float:
        """Mean over roles of the mean return; 0 where they never met."""
        found = [sums[1] / sums[0] for key, sums in self._sums.items() if key[:2] == (who, against) and sums[0]]
        return float(np.mean(found)) if found else 0.0

    def matrix(self, names: Sequence[str]) -> NDArray[np.float64]:
        """`return_` of each against each; 0 against itself."""
        return np.array([[self.return_(who, other) if who != other else 0.0 for other in names] for who in names])

    def state_dict(self) -> dict[str, Any]:
        """Of JSON types."""
        return {"sums": [[*key, *sums] for key, sums in sorted(self._sums.items())]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._sums = {(who, against, role): list(sums) for who, against, role, *sums in state["sums"]}


def _pfsp_hard(names: Sequence[str], payoffs: PayoffTable) -> list[float]:
    """(1 - p)^2, p = the learner's score: those it loses to (AlphaStar, Vinyals et al. 2019)."""
    return [(1 - payoffs.score(LEARNER, name)) ** 2 for name in names]


def _pfsp_even(names: Sequence[str], payoffs: PayoffTable) -> list[float]:
    """p (1 - p): those of its own strength."""
    return [payoffs.score(LEARNER, name) * (1 - payoffs.score(LEARNER, name)) for name in names]


def _nash(names: Sequence[str], payoffs: PayoffTable) -> list[float]:
    """The equilibrium mix of the members (PSRO, Lanctot et al. 2017)."""
    matrix = payoffs.matrix(names)
    return zero_sum_nash((matrix - matrix.T) / 2)[0].tolist()


def _alpha_rank(names: Sequence[str], payoffs: PayoffTable) -> list[float]:
    """Long-run shares of the members."""
    return alpha_rank(payoffs.matrix(names)).tolist()


SAMPLERS: dict[str, Callable[[Sequence[str], PayoffTable], list[float]]] = {
    "latest": lambda names, payoffs: [0.0] * (len(names) - 1) + [1.0],
    "uniform": lambda names, payoffs: [1.0] * len(names),
    "pfsp_hard": _pfsp_hard,
    "pfsp_even": _pfsp_even,
    "nash": _nash,
    "alpha_rank": _alpha_rank,
}
"""Name in a recipe -> (names, fixed ones first, then snapshots by age; payoffs) -> weights, not all 0."""
NEED_PAYOFFS = ("nash", "alpha_rank")


class OpponentPool:
    """The members and what is known of them.

    Args:
        config: settings of the run.
        folder: of the run.
        sampling: how snapshots reply, as the learner does.
    """

    def __init__(self, config: Config, folder: Path, sampling: Sampling):
        self.config = config
        self.folder = folder
        self.sampling = sampling
        of_game, _ = split_options(config.game, dict(config.env_options))
        self.game = make_game(config.game, **of_game)
        fixed = [config.exploit] if config.exploit else config.pool
        self.members = [Member(spec, spec) for spec in fixed]
        self.payoffs = PayoffTable()
        self._agents: dict[str, Agent] = {}  # by name of the member
        self._used: set[str] = set()  # in this step

    def add_snapshot(self, step: int, save: Callable[[Path], None]) -> None:
        """Keeps weights as a member.

        Args:
            step: after which they were so.
            save: writes them to a folder, as `hf:FOLDER` reads them.
        """
        member = Member(f"step_{step:06d}")
        write_folder(self.folder / "pool" / member.name, save)
        self._agents.pop(member.name, None)
        self.members = [each for each in self.members if each.name != member.name] + [member]

    def agent(self, member: Member) -> Agent:
        """Who plays for a member. Held as long as it is met in every step."""
        self._used.add(member.name)
        if member.name not in self._agents:
            if member.spec:
                self._agents[member.name] = make_agent(member.spec)
            else:
                model = load(str(self.folder / "pool" / member.name), dtype="float32")
                self._agents[member.name] = ModelAgent(model, sampling=self.sampling)
        return self._agents[member.name]

    def eligible(self) -> list[Member]:
        """Those that may be met now, fixed ones first."""
        fixed = [member for member in self.members if member.spec]
        snapshots = [member for member in self.members if not member.spec]
        return fixed + (snapshots[-self.config.pool_last :] if self.config.pool_last else snapshots)

    def weights(self) -> dict[str, float]:
        """Probability of each member to be met; {} for an empty pool."""
        names = [member.name for member in self.eligible()]
        if not names:
            return {}
        weights = SAMPLERS[self.config.pool_sampler](names, self.payoffs)
        total = sum(weights)
        if not total > 0:
            weights, total = [1.0] * len(names), float(len(names))
        return {name: weight / total for name, weight in zip(names, weights, strict=True)}

    def pairings(self, step: int) -> dict[int, Pairing]:
        """Which groups of a step's games are played against whom; the other groups are self-play.

        Every role gets the same number of groups, against the same members.
        """
        if not self.config.plays_pool:
            return {}
        if self.config.pool_sampler in NEED_PAYOFFS:
            self._fill_payoffs()
        weights = self.weights()
        if not weights:
            return {}
        groups, roles = self.config.games_per_step // self.config.group_size, self.game.roles
        share = 1 - self.config.share_of_self
        rounds = max(1, int(share * groups / len(roles) + 1e-9))
        chance = Chance(self.config.seed).derive("pool", step)
        by_name = {member.name: member for member in self.members}
        drawn = [chance.weighted(list(weights), list(weights.values()), "member", number) for number in range(rounds)]
        places = chance.shuffled(range(groups), "groups")
        paired = [Pairing(role, by_name[name]) for name in drawn for role in roles]
        return dict(sorted(zip(places, paired, strict=False)))

    def seats(self, pairing: Pairing, instance: Any) -> frozenset[str]:
        """The learner's seats in a game on this deal: those of its role, or the first one's role where the deal lacks it."""
        state = self.game.start(instance)
        roles = {seat: self.game.role_of(state, seat) for seat in self.game.seats}
        role = pairing.role if pairing.role in roles.values() else roles[self.game.seats[0]]
        return frozenset(seat for seat, its in roles.items() if its == role)

    def record(self, pairing: Pairing, seats: frozenset[str], episode: Episode) -> None:
        """Counts a game of the learner, which sat in `seats`."""
        self._count(LEARNER, pairing.member.name, seats, episode)

    def _count(self, who: str, against: str, seats: frozenset[str], episode: Episode) -> None:
        assert episode.record is not None
        usual = float(np.mean([paid for seat, paid in episode.returns.items() if seat not in seats]))
        for role in sorted({episode.record.roles[seat] for seat in seats}):
            paid = float(np.mean([episode.returns[seat] for seat in seats if episode.record.roles[seat] == role]))
            self.payoffs.add(who, against, role, paid, 0.5 * (1 + (paid > usual) - (paid < usual)))

    def end_step(self) -> None:
        """After a step's games: what the learner won counts a little less, and what the members have computed is forgotten, so
        that a step's games do not depend on what was played before."""
        self.payoffs.fade(LEARNER, MEMORY)
        self._agents = {name: agent for name, agent in self._agents.items() if name in self._used}
        self._used = set()
        for agent in self._agents.values():
            if isinstance(agent, ModelAgent):
                agent.model.close()

    def _fill_payoffs(self) -> None:
        """Plays the pairs of members that have not met, each in every role."""
        unmet = [
            (one, other)
            for one, other in itertools.combinations(self.eligible(), 2)
            if not self.payoffs.games(one.name, other.name)
        ]
        for one, other in unmet:
            chance = Chance(self.config.seed).derive("payoffs", one.name, other.name)
            matches = []
            for number, role in itertools.product(range(self.config.payoff_games), self.game.roles):
                instance = self.game.deal(chance.derive("deal", number))
                seats = self.seats(Pairing(role, other), instance)
                agents = {seat: self.agent(one if seat in seats else other) for seat in self.game.seats}
                seed = chance.word("game", number, role) >> 2
                matches.append(
                    Match(self.config.game, seed, agents, dict(self.config.env_options), instance=instance, tag=seats)
                )
            played = run_matches(matches, concurrency=self.config.concurrency)
            for episode in sorted(played, key=lambda episode: episode.index):
                seats = episode.match.tag
                self._count(one.name, other.name, seats, episode)
                self._count(other.name, one.name, frozenset(self.game.seats) - seats, episode)

    def metrics(self) -> dict[str, Any]:
        """Who may be met how often, and how the learner does; {} without a pool."""
        if not self.config.plays_pool:
            return {}
        weights = self.weights()
        met = {name: self.payoffs.score(LEARNER, name) for name in weights if self.payoffs.games(LEARNER, name)}
        line: dict[str, Any] = {"pool": {"weights": weights, "score": met}}
        if self.config.exploit:
            line["exploit"] = self.payoffs.return_(LEARNER, self.config.exploit)
        return line

    def state_dict(self) -> dict[str, Any]:
        """Of JSON types."""
        return {"members": [asdict(member) for member in self.members], "payoffs": self.payoffs.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.members = [Member(**member) for member in state["members"]]
        self.payoffs.load_state_dict(state["payoffs"])
