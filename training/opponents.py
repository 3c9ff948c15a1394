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
from training.games import PlayedGame, by_game, dealt, short_name
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
        self._met: dict[str, dict[int, str]] = {game.name: {} for game in config.played}
        """By game and round: name of the member."""
        self._begun = 0  # the last step whose pairings were asked for

    def add_snapshot(self, step: int, save: Callable[[Path], None]) -> None:
        """Keeps weights as a member.

        Args:
            step: after which they were so.
            save: makes a folder of them appear whole, as `hf:FOLDER` reads it.
        """
        member = Member(f"step_{step:06d}")
        save(self._folder(member))
        self.sampler.admit(self._folder(member))
        self._agents = {key: agent for key, agent in self._agents.items() if key[0] != member.name}
        self.members = [each for each in self.members if each.name != member.name] + [member]

    def announce(self) -> None:
        """Tells the sampler who is in the pool of a run that is taken up; it has weights by then."""
        for member in self.members:
            if not member.spec:
                self.sampler.admit(self._folder(member))

    def settle(self, step: int) -> None:
        """Settles whom the games are played against that are begun with the weights of a step: members meet that have not (for a
        meta-strategy), and who is met is drawn. All ranks call it at the same moment, while no game goes on; `pairings` and `agent`
        are then for each to call as it comes to its games.
        """
        if not self.config.plays_pool or step >= self.config.steps:
            return
        if self.config.pool_sampler in NEED_PAYOFFS:
            for game in self.config.played:
                self._fill_payoffs(game)
        # With games that are carried over, some rank may have come further than others, and had to draw.
        of_ranks = self.sampler.world.all_gather_objects((self._begun, self._met))
        for _, of_rank in reversed(of_ranks):
            for name, of_game in of_rank.items():
                self._met[name] = {**self._met[name], **of_game}
        ahead = max(begun for begun, _ in of_ranks) + 1 if self.config.carry_over else 0
        for later in range(step, max(step + self.config.steps_ahead, ahead) + 1):
            self._draw(self._groups(later))
        # Games that are not over may have been begun with weights so much older.
        first = self._numbers(self._groups(max(0, step - self.config.steps_ahead)))
        for game, numbers in first.items():
            oldest = numbers.start // len(game.rules.roles)
            self._met[game.name] = {turn: name for turn, name in self._met[game.name].items() if turn >= oldest}

    def agent(self, member: Member, game: PlayedGame) -> Agent:
        """Who plays for a member. Held as long as it is met in every step."""
        key = (member.name, game.name)
        self._used.add(key)
        if key not in self._agents:
            self._agents[key] = self._new_agent(member, game)
        return self._agents[key]

    def _new_agent(self, member: Member, game: PlayedGame) -> Agent:
        if member.spec:
            return self.sampler.player(member.spec)
        return ModelAgent(self.sampler.frozen(self._folder(member)), sampling=self.sampling[game.name])

    def _folder(self, member: Member) -> Path:
        return self.folder / "pool" / member.name

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
        and each round of the roles has one opponent, drawn when it begins, also where a step ends within it.

        Args:
            groups: (game, number among the groups of that game) of each group.
        """
        if not self.config.plays_pool:
            return {}
        self._begun = max(self._begun, step)
        self._draw(groups)  # those that are settled stay
        found: dict[int, Pairing] = {}
        by_name = {member.name: member for member in self.members}
        for game, numbers in self._numbers(groups).items():
            places = [place for place, (its, _) in enumerate(groups) if its is game]
            chance = Chance(self.config.seed).derive("pool", game.name)
            for place, number in zip(chance.shuffled(places, "groups", step), numbers, strict=False):
                turn, role = divmod(number, len(game.rules.roles))
                if turn in self._met[game.name]:
                    found[place] = Pairing(game.rules.roles[role], by_name[self._met[game.name][turn]])
        return dict(sorted(found.items()))

    def _draw(self, groups: Sequence[tuple[PlayedGame, int]]) -> None:
        """Draws the member of each round that begins in a step and has none yet; of those before, if there was none to draw."""
        for game, numbers in self._numbers(groups).items():
            met, roles = self._met[game.name], len(game.rules.roles)
            begun = {number // roles for number in numbers} - met.keys()
            weights = self.weights(game) if begun else {}
            chance = Chance(self.config.seed).derive("pool", game.name)
            for turn in sorted(begun) if weights else ():
                met[turn] = chance.weighted(list(weights), list(weights.values()), "member", turn)

    def _groups(self, step: int) -> list[tuple[PlayedGame, int]]:
        count = self.config.groups_per_step
        return dealt(self.config.played, step * count, count)

    def _numbers(self, groups: Sequence[tuple[PlayedGame, int]]) -> dict[PlayedGame, range]:
        """By game that some groups are of: the numbers that those of them which are no self-play have among all such."""
        of_game: dict[PlayedGame, list[int]] = {}
        for game, number in groups:
            of_game.setdefault(game, []).append(number)
        return {
            game: range(self._against_others(min(numbers)), self._against_others(max(numbers) + 1))
            for game, numbers in of_game.items()
        }

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
        """Plays the pairs of members that have not met in a game, each in every role; each process plays its share."""
        unmet = [
            (one, other)
            for one, other in itertools.combinations(self.eligible(game), 2)
            if not self.payoffs[game.name].games(one.name, other.name)
        ]
        world = self.sampler.world
        played = [self._played(game, *pair, share=(world.rank, world.size)) for pair in unmet]
        for (one, other), *parts in zip(unmet, *world.all_gather_objects(played), strict=True):
            for result in sorted(itertools.chain.from_iterable(parts), key=lambda result: result.number):
                self._count(one.name, other.name, result.learners, result)
                self._count(other.name, one.name, frozenset(game.rules.seats) - result.learners, result)

    def _played(self, game: PlayedGame, one: Member, other: Member, share: tuple[int, int]) -> list[Result]:
        """How games of two members went, each of them in every role; the first one counts as the learner.

        Args:
            share: (rank, size): only every `size`-th game.
        """
        chance = Chance(self.config.seed).derive("payoffs", one.name, other.name)
        # Of their own: others may be in the middle of a game.
        agents = {member.name: self._new_agent(member, game) for member in (one, other)}
        matches = []
        for number, role in itertools.product(range(self.config.payoff_games), game.rules.roles):
            instance = game.rules.deal(chance.derive("deal", number))
            seats = self.seats(Pairing(role, other), game, instance)
            seated = {seat: agents[one.name if seat in seats else other.name] for seat in game.rules.seats}
            seed = chance.word("game", number, role) >> 2
            matches.append(Match(game.name, seed, seated, dict(game.options), instance=instance, tag=seats))
        rank, size = share
        episodes = self.sampler.play(matches[rank::size], concurrency=self.config.concurrency)
        return [
            Result.of(episode, episode.index * size + rank, Pairing("", other), episode.match.tag) for episode in episodes
        ]

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
        met = {name: [[turn, member] for turn, member in sorted(of_game.items())] for name, of_game in self._met.items()}
        return {"members": [asdict(member) for member in self.members], "payoffs": payoffs, "met": met}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.members = [Member(**member) for member in state["members"]]
        for name, payoffs in self.payoffs.items():
            payoffs.load_state_dict(state["payoffs"][name])
        self._met = {name: dict(of_game) for name, of_game in state["met"].items()}
