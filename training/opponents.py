"""The opponent pool: past weights and fixed players that sit in some of the seats, never trained.

A frozen seat gives no rows, keeps no log-probabilities and moves no baseline; its class stands in the outcomes of the learning
seats, so that a win against a weak member is not compared with a game against oneself.

RUN/pool/step_000050/   weights as they were then; no retention removes them
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.agent import Agent
from agents.model_agent import ModelAgent
from agents.models.model import Sampling
from agents.play import Episode, Match
from lmgames.chance import Chance
from training.config import Config, can_play
from training.games import PlayedGame, by_game, short_name
from training.meta import alpha_rank, zero_sum_nash
from training.sampler import Sampler

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


@dataclass(frozen=True, slots=True)
class Result:
    """How a game against a member went.

    Args:
        game: name of the game.
        number: of this one in the run.
        pairing: who was met.
        learners: seats of the policy in training.
        roles, returns: by seat.
    """

    game: str
    number: int
    pairing: Pairing
    learners: frozenset[str]
    roles: Mapping[str, str]
    returns: Mapping[str, float]

    @classmethod
    def of(cls, episode: Episode, number: int, pairing: Pairing, learners: frozenset[str]) -> "Result":
        assert episode.record is not None
        return cls(
            short_name(episode.record.env_id), number, pairing, learners, dict(episode.record.roles), dict(episode.returns)
        )


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
        sampling: how snapshots reply in each game, as the learner does.
        sampler: holds the members and plays their games, as it does the learner's.
    """

    def __init__(self, config: Config, folder: Path, sampling: Mapping[str, Sampling], sampler: Sampler):
        self.config = config
        self.folder = folder
        self.sampling = sampling
        self.sampler = sampler
        fixed = [config.exploit] if config.exploit else config.pool
        self.members = [Member(spec, spec) for spec in fixed]
        self.payoffs = {game.name: PayoffTable() for game in config.played}
        """By game: what one pays is in its own unit."""
        self._agents: dict[tuple[str, str], Agent] = {}  # by names of the member and the game
        self._used: set[tuple[str, str]] = set()  # in this step

    def add_snapshot(self, step: int, save: Callable[[Path], None]) -> None:
        """Keeps weights as a member.

        Args:
            step: after which they were so.
            save: makes a folder of them appear whole, as `hf:FOLDER` reads it.
        """
        member = Member(f"step_{step:06d}")
        save(self.folder / "pool" / member.name)
        self.sampler.admit(self.folder / "pool" / member.name)
        self._agents = {key: agent for key, agent in self._agents.items() if key[0] != member.name}
        self.members = [each for each in self.members if each.name != member.name] + [member]

    def announce(self) -> None:
        """Tells the sampler who is in the pool of a run that is taken up; it has weights by then."""
        for member in self.members:
            if not member.spec:
                self.sampler.admit(self.folder / "pool" / member.name)

    def agent(self, member: Member, game: PlayedGame) -> Agent:
        """Who plays for a member. Held as long as it is met in every step."""
        key = (member.name, game.name)
        self._used.add(key)
        if key not in self._agents:
            if member.spec:
                self._agents[key] = self.sampler.player(member.spec)
            else:
                model = self.sampler.frozen(self.folder / "pool" / member.name)
                self._agents[key] = ModelAgent(model, sampling=self.sampling[game.name])
        return self._agents[key]

    def eligible(self, game: PlayedGame) -> list[Member]:
        """Those that may be met now in a game, fixed ones first."""
        fixed = [member for member in self.members if member.spec and can_play(member.spec, game)]
        snapshots = [member for member in self.members if not member.spec]
        return fixed + (snapshots[-self.config.pool_last :] if self.config.pool_last else snapshots)

    def weights(self, game: PlayedGame) -> dict[str, float]:
        """Probability of each member to be met in a game; {} if there is none."""
        names = [member.name for member in self.eligible(game)]
        if not names:
            return {}
        weights = SAMPLERS[self.config.pool_sampler](names, self.payoffs[game.name])
        total = sum(weights)
        if not total > 0:
            weights, total = [1.0] * len(names), float(len(names))
        return {name: weight / total for name, weight in zip(names, weights, strict=True)}

    def pairings(self, step: int, groups: Sequence[tuple[PlayedGame, int]]) -> dict[int, Pairing]:
        """Which groups of a step's games are played against whom; the other groups are self-play.

        Of each game's groups over the run, `p_self` are self-play to within one group. The others go through the roles in turn,
        and each round of the roles has one opponent, also where a step ends within it.

        Args:
            groups: (game, number among the groups of that game) of each group.
        """
        if not self.config.plays_pool:
            return {}
        found: dict[int, Pairing] = {}
        for game in self.config.played:
            of_game = {number: place for place, (its, number) in enumerate(groups) if its is game}
            if self.config.pool_sampler in NEED_PAYOFFS:
                self._fill_payoffs(game)
            weights = self.weights(game)
            if not of_game or not weights:
                continue
            first, last = (self._against_others(number) for number in (min(of_game), max(of_game) + 1))
            chance = Chance(self.config.seed).derive("pool", game.name)
            places = chance.shuffled(list(of_game.values()), "groups", step)
            by_name = {member.name: member for member in self.members}
            for place, number in zip(places, range(first, last), strict=False):
                turn, role = divmod(number, len(game.rules.roles))
                name = chance.weighted(list(weights), list(weights.values()), "member", turn)
                found[place] = Pairing(game.rules.roles[role], by_name[name])
        return dict(sorted(found.items()))

    def _against_others(self, groups: int) -> int:
        """How many of the first groups of a game are no self-play."""
        return int((1 - self.config.share_of_self) * groups + 1e-9)

    def seats(self, pairing: Pairing, game: PlayedGame, instance: Any) -> frozenset[str]:
        """The learner's seats in a game on this deal: those of its role, or the first one's role where the deal lacks it."""
        rules = game.rules
        state = rules.start(instance)
        roles = {seat: rules.role_of(state, seat) for seat in rules.seats}
        role = pairing.role if pairing.role in roles.values() else roles[rules.seats[0]]
        return frozenset(seat for seat, its in roles.items() if its == role)

    def record(self, results: Iterable[Result]) -> None:
        """Counts the games of a step in which the learner met members; what it won in earlier ones counts a little less."""
        for result in results:
            self._count(LEARNER, result.pairing.member.name, result.learners, result)
        for payoffs in self.payoffs.values():
            payoffs.fade(LEARNER, MEMORY)

    def _count(self, who: str, against: str, seats: frozenset[str], result: Result) -> None:
        payoffs = self.payoffs[result.game]
        usual = float(np.mean([paid for seat, paid in result.returns.items() if seat not in seats]))
        for role in sorted({result.roles[seat] for seat in seats}):
            paid = float(np.mean([result.returns[seat] for seat in seats if result.roles[seat] == role]))
            payoffs.add(who, against, role, paid, 0.5 * (1 + (paid > usual) - (paid < usual)))

    def rest(self, *, forget: bool = True) -> None:
        """Between two steps' games: members that were not met are let go.

        Args:
            forget: also what the others have computed, so that games do not depend on what was played before; not while they play.
        """
        self._agents = {key: agent for key, agent in self._agents.items() if key in self._used}
        self._used = set()
        for agent in self._agents.values():
            if forget and isinstance(agent, ModelAgent):
                agent.model.close()

    def _fill_payoffs(self, game: PlayedGame) -> None:
        """Plays the pairs of members that have not met in a game, each in every role."""
        unmet = [
            (one, other)
            for one, other in itertools.combinations(self.eligible(game), 2)
            if not self.payoffs[game.name].games(one.name, other.name)
        ]
        for one, other in unmet:
            chance = Chance(self.config.seed).derive("payoffs", one.name, other.name)
            matches = []
            for number, role in itertools.product(range(self.config.payoff_games), game.rules.roles):
                instance = game.rules.deal(chance.derive("deal", number))
                seats = self.seats(Pairing(role, other), game, instance)
                agents = {seat: self.agent(one if seat in seats else other, game) for seat in game.rules.seats}
                seed = chance.word("game", number, role) >> 2
                matches.append(Match(game.name, seed, agents, dict(game.options), instance=instance, tag=seats))
            played = self.sampler.play(matches, concurrency=self.config.concurrency)
            for episode in sorted(played, key=lambda episode: episode.index):
                seats = episode.match.tag
                result = Result.of(episode, episode.index, Pairing("", other), seats)
                self._count(one.name, other.name, seats, result)
                self._count(other.name, one.name, frozenset(game.rules.seats) - seats, result)

    def metrics(self) -> dict[str, Any]:
        """Who may be met how often, and how the learner does, by game where there are several; {} without a pool."""
        if not self.config.plays_pool:
            return {}
        pool, exploit = {}, {}
        for game in self.config.played:
            weights, payoffs = self.weights(game), self.payoffs[game.name]
            met = {name: payoffs.score(LEARNER, name) for name in weights if payoffs.games(LEARNER, name)}
            pool[game.name] = {"weights": weights, "score": met}
            exploit[game.name] = payoffs.return_(LEARNER, self.config.exploit)
        return {"pool": by_game(pool), **({"exploit": by_game(exploit)} if self.config.exploit else {})}

    def state_dict(self) -> dict[str, Any]:
        """Of JSON types."""
        payoffs = {name: payoffs.state_dict() for name, payoffs in self.payoffs.items()}
        return {"members": [asdict(member) for member in self.members], "payoffs": payoffs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.members = [Member(**member) for member in state["members"]]
        for name, payoffs in self.payoffs.items():
            payoffs.load_state_dict(state["payoffs"][name])
