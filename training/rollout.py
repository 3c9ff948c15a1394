"""Self-play games to trajectories: one for each learning seat."""

import itertools
import time
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from agents.agent import Agent, Reply
from agents.play import Episode, Match, Step, run_matches
from lmgames.chance import Chance
from lmgames.game import Game
from training.advantages import Outcome
from training.config import Config
from training.distributed import ALONE, World
from training.games import dealt
from training.opponents import OpponentPool, Pairing, Result
from training.sampler import Sampler

SECONDS = ("generate", "engine", "env")  # among the figures of a batch


@dataclass(frozen=True, slots=True)
class Seating:
    """Who sits where in a group of games.

    Args:
        group: (step, number): its games share their deal.
        number: of the game in the run.
        learners: seats of the policy in training.
        pairing: whom it meets in the others; None in self-play.
    """

    group: tuple[int, int]
    number: int
    learners: frozenset[str]
    pairing: Pairing | None = None

    @property
    def opponent(self) -> str:
        """Class of the policies in the other seats."""
        return "self" if self.pairing is None else self.pairing.member.opponent


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One seat's turns in one episode.

    Args:
        outcome: what its return is compared by.
        seat: where it sat.
        steps: its replies in order, refused ones included.
        decided_by_rules: False where a seat forfeited or had a move played for it.
        forfeited_by: the seats of its game that forfeited, if any.
        facts: what the rules found out at the end of its game.
        positions: a key of the state that each of its replies was asked in; empty where nobody compares by it.
    """

    outcome: Outcome
    seat: str
    steps: tuple[Step, ...]
    decided_by_rules: bool
    forfeited_by: frozenset[str] = frozenset()
    facts: Mapping[str, Any] = field(default_factory=dict)
    positions: tuple[Hashable, ...] = ()


def matches(
    config: Config,
    step: int,
    agents: Mapping[str, Agent],
    pool: OpponentPool | None = None,
    share: tuple[int, int] = (0, 1),
) -> Iterator[Match]:
    """The games of one step: groups of games on one deal, all drawn by (seed, step, number).

    Args:
        config: settings of the run.
        step: number of the step.
        agents: the learner's, by game.
        pool: gives some groups other policies in some seats.
        share: (rank, size): only the groups of this process, every `size`-th. What they are does not depend on it.

    Returns:
        Matches whose tag is a `Seating`.
    """
    chance = Chance(config.seed).derive("rollout", step)
    groups = dealt(config.played, step * config.groups_per_step, config.groups_per_step)
    pairings = pool.pairings(step, groups) if pool is not None else {}
    rank, size = share
    for group in range(rank, len(groups), size):
        game, number = groups[group]
        instance = _instance(game.rules, config, number)
        seated = dict.fromkeys(game.rules.seats, agents[game.name])
        first = step * config.games_per_step + group * config.group_size
        seating = Seating((step, group), first, frozenset(seated))
        if pool is not None and group in pairings:
            pairing = pairings[group]
            seating = Seating((step, group), first, pool.seats(pairing, game, instance), pairing)
            other = pool.agent(pairing.member, game)
            seated = {seat: agent if seat in seating.learners else other for seat, agent in seated.items()}
        for member in range(config.group_size):
            yield Match(
                env_id=game.name,
                seed=chance.word("game", group, member) >> 2,
                agents=seated,
                options=dict(game.options),
                instance=instance,
                tag=replace(seating, number=first + member),
            )


def _instance(game: Game[Any, Any], config: Config, number: int) -> Any:
    """What group `number` of a game's groups is dealt."""
    instances = game.instances() if config.deals == "stratified" else None
    if instances is None:
        return game.deal(Chance(config.seed).derive("deal", number))
    # Every instance once, in a new order, before any comes again.
    order = Chance(config.seed).shuffled(range(len(instances)), "deals", number // len(instances))
    return instances[order[number % len(instances)]]


def trajectories(episode: Episode, seating: Seating, *, positions: bool = False) -> list[Trajectory]:
    """One trajectory for each learning seat of an episode, in seat order. Seats of other policies give none.

    Args:
        positions: whether each reply's position is noted.
    """
    record = episode.record
    assert record is not None, "training plays lmgames' own environments"
    by_rules = all(turn.status not in ("forfeit", "replaced") for turn in record.turns)
    forfeited_by = frozenset(turn.seat for turn in record.turns if turn.status == "forfeit")
    steps_of = {seat: episode.steps_of(seat) for seat in record.roles if seat in seating.learners}
    return [
        Trajectory(
            outcome=Outcome(
                record.env_id, record.roles[seat], seating.opponent, seating.group, seating.number, record.returns[seat]
            ),
            seat=seat,
            steps=steps,
            decided_by_rules=by_rules,
            forfeited_by=forfeited_by,
            facts=record.facts,
            positions=tuple(_position(step, seating) for step in steps) if positions else (),
        )
        for seat, steps in steps_of.items()
    ]


def _position(step: Step, seating: Seating) -> Hashable:
    """What decides how good the seat's prospects are when it is asked: the rules' key of what it sees, and where something is
    hidden also the deal."""
    seen = step.observation
    position = seen.game.position(seen.view)
    return (seating.group, position) if seen.game.hidden_information else position


@dataclass(frozen=True, slots=True)
class Batch:
    """What the learning seats learn from in one step.

    Args:
        step: number of the step.
        trajectories: in an order that does not depend on which game ended first.
        results: of the games against members of the pool.
        figures: how it was played, see `Rollout`.
    """

    step: int
    trajectories: list[Trajectory]
    results: list[Result]
    figures: dict[str, float]


def collect(
    config: Config,
    step: int,
    agents: Mapping[str, Agent],
    pool: OpponentPool | None = None,
    play: Callable[..., Iterator[Episode]] = run_matches,
) -> list[Trajectory]:
    """Plays the games of one step, and tells the pool how those against its members went.

    Args:
        play: of the sampler that holds the agents' models.

    Returns:
        Trajectories of the learning seats, in an order that does not depend on which game ended first.
    """
    if pool is not None:
        pool.settle(step)
    episodes = list(play(matches(config, step, agents, pool), concurrency=config.concurrency))
    batch = as_batch(step, episodes, positions=config.baseline == "position")
    if pool is not None:
        pool.rest()
        pool.record(batch.results)
    return batch.trajectories


def as_batch(
    step: int, episodes: Sequence[Episode], figures: Mapping[str, float] | None = None, *, positions: bool = False
) -> Batch:
    """Episodes whose tag is a `Seating`, as a batch."""
    trajs: list[Trajectory] = []
    results: list[Result] = []
    for episode in sorted(episodes, key=lambda episode: episode.match.tag.number):
        seating: Seating = episode.match.tag
        trajs += trajectories(episode, seating, positions=positions)
        if seating.pairing is not None:
            results.append(Result.of(episode, seating.number, seating.pairing, seating.learners))
    return Batch(step, trajs, results, dict(figures or {}))


def gathered(batch: Batch, world: World) -> Batch:
    """The batches that each process has played of a step as one, the same on all of them, in the order that one process would
    have given."""
    if world.size == 1:
        return batch
    parts = world.all_gather_objects(replace(batch, trajectories=[_slim(each) for each in batch.trajectories]))
    trajs = [each for part in parts for each in part.trajectories]
    results = [each for part in parts for each in part.results]
    figures = {name: max(part.figures[name] for part in parts) for name in batch.figures}  # they play at the same time
    figures |= {name: sum(part.figures[name] for part in parts) for name in batch.figures if name not in SECONDS}
    return Batch(
        batch.step,
        sorted(trajs, key=lambda each: each.outcome.episode),  # stable: the seats of a game stay in order
        sorted(results, key=lambda each: each.number),
        figures,
    )


def _tokens(replies: Sequence[Reply]) -> dict[str, float]:
    """Of replies, see `Rollout`. A reply's last token is sampled and not computed."""
    sums = dict.fromkeys(("tokens", "prompt", "cached", "asked", "computed"), 0.0)
    for reply in replies:
        prompt, sampled, usage = len(reply.prompt_ids), len(reply.reply_ids), reply.usage
        sums["tokens"] += sampled
        if sampled and "cached_tokens" in usage:
            asked = prompt + sampled - 1
            sums["prompt"] += prompt
            sums["cached"] += usage["cached_tokens"]
            sums["asked"] += asked
            sums["computed"] += usage.get("computed_tokens", asked - usage["cached_tokens"])
    return sums


def _slim(trajectory: Trajectory) -> Trajectory:
    """Without what only players that are programs read."""
    steps = tuple(
        replace(step, observation=replace(step.observation, game=None, view=None, legal_moves=None))
        for step in trajectory.steps
    )
    return replace(trajectory, steps=steps)


class Learnt:
    """Which groups of games were learnt from: all of the steps before `first`, and of the others those in `later`."""

    def __init__(self, groups_per_step: int):
        self.first = 0
        self.later: set[tuple[int, int]] = set()
        self._groups_per_step = groups_per_step

    def add(self, batch: Batch) -> None:
        """Counts a batch, of all processes."""
        self.later |= {cast(tuple[int, int], each.outcome.group) for each in batch.trajectories}
        while (whole := {(self.first, number) for number in range(self._groups_per_step)}) <= self.later:
            self.later -= whole
            self.first += 1

    def state_dict(self) -> dict[str, Any]:
        """Of JSON types."""
        return {"first": self.first, "later": sorted(map(list, self.later))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.first, self.later = state["first"], {(step, number) for step, number in state["later"]}


class Rollout:
    """The games of a run, cut into batches.

    A batch is the games of its step, played to their end. With `carry_over` games are begun one after the other whatever the step,
    and a batch ends when as many groups are complete as a step has: games that are not over go on in the next, with its weights.
    Groups stay whole, and count in the batch in which their last game ends. A game that would become more than `max_staleness`
    steps old is waited for. A resumed run plays the groups that are in no batch which was learnt from (`learnt`).

    Of several processes each plays every so many-th group of a step, with a sampler of its own.

    Figures of a batch, other policies' seats included: seconds in agents ("generate"), of these in engines ("engine"), and in the
    games ("env"), the last two 0 where games are played elsewhere; sampled tokens ("tokens"); the mean number of games in progress
    while agents worked ("live_games") and the greatest possible ("room"); and of replies whose engine tells: tokens of prompts
    ("prompt"), of these cached ("cached"), tokens of prompts and replies ("asked"), of these computed ("computed").

    Args:
        config: settings of the run.
        agents: the learner's, by game.
        sampler: plays.
        pool: gives some groups other policies in some seats.
        world: the processes that share the games.

    Raises:
        ValueError: if there are more processes than groups.
    """

    def __init__(
        self, config: Config, agents: Mapping[str, Agent], sampler: Sampler, pool: OpponentPool, world: World = ALONE
    ):
        if config.groups_per_step < world.size:
            raise ValueError(
                f"{config.groups_per_step} groups of games a step (games_per_step={config.games_per_step}, "
                f"group_size={config.group_size}) are too few for {world.size} processes; each plays at least one"
            )
        self.config = config
        self._share = (world.rank, world.size)
        self._quota = len(range(world.rank, config.groups_per_step, world.size))  # groups of a step
        self.agents = agents
        self.sampler = sampler
        self.pool = pool
        self.weights_of = 0
        """Step whose weights games are sampled with now; set by whoever publishes them."""
        self.learnt = Learnt(config.groups_per_step)
        self.started = 0
        """Games begun so far."""
        self.is_between_groups = True
        """Whether all games of the group begun last are begun."""
        self._playing: Iterator[Episode] | None = None
        self._to_come: Iterator[Match] | None = None
        self._step = 0  # of the batch that is played
        self._complete = 0  # groups in it so far
        self._open: dict[tuple[int, int], _Group] = {}

    def play(self, step: int) -> Iterator[Batch | None]:
        """Plays until the batch of a step is whole, and gives it last. Before that it gives None now and then: there the weights
        may be changed, or the rest be left."""
        before, spent, began = replace(self.sampler.watch), 0.0, time.perf_counter()
        episodes: list[Episode] = []
        for episode in self._carried(step) if self.config.carry_over else self._of(step):
            episodes.append(episode)
            spent += time.perf_counter() - began
            yield None
            began = time.perf_counter()
        self.pool.rest(forget=not self.config.carry_over)
        after = self.sampler.watch
        generate = after.agents - before.agents or spent + time.perf_counter() - began  # all of it, where others play
        figures = {
            "generate": generate,
            "engine": after.engine - before.engine,
            "env": after.games - before.games,
            "live_games": (after.live - before.live) / generate if generate else 0.0,
            "room": float(min(self.config.concurrency, self._quota * self.config.group_size)),
            **_tokens([each.reply for episode in episodes for each in episode.steps]),
        }
        yield as_batch(step, episodes, figures, positions=self.config.baseline == "position")

    @property
    def live(self) -> int:
        """Games begun whose group is in no batch yet."""
        return sum(group.begun for group in self._open.values())

    def _of(self, step: int) -> Iterator[Episode]:
        for episode in self.sampler.play(self._begun(step), concurrency=self.config.concurrency):
            self._end(episode)
            yield episode

    def _carried(self, step: int) -> Iterator[Episode]:
        self._step, self._complete = step, 0
        # What is open when the batch ends is trained on in the next step at the earliest.
        while self._complete < self._quota or self._oldest() < step + 1 - self.config.max_staleness:
            whole = self._end(self._next_episode())
            self._complete += whole is not None
            yield from whole or ()

    def _next_episode(self) -> Episode:
        if self._to_come is None:
            self._to_come = self._left()
        while True:
            if self._playing is None:
                concurrency = min(self.config.concurrency, self._quota * self.config.group_size)
                self._playing = self.sampler.play(_Gate(self._to_come, self), concurrency=concurrency)
            episode = next(self._playing, None)
            if episode is not None:
                return episode
            self._playing = None  # all were over, and for a while none could be begun

    def may_begin(self) -> bool:
        """Whether a further group may be begun now: one that the batch lacks or, if the weights will be fresh enough, one for the
        next batch, of which as many at most as a step has."""
        young = self.weights_of >= self._step + 1 - self.config.max_staleness
        return self._complete + len(self._open) < (2 if young else 1) * self._quota

    def _left(self) -> Iterator[Match]:
        """All games of the run but those that a run before this one has learnt from, begun as they are drawn."""
        first, later = self.learnt.first, frozenset(self.learnt.later)
        return itertools.chain.from_iterable(self._begun(step, later) for step in itertools.count(first))

    def _begun(self, step: int, but: Collection[tuple[int, int]] = ()) -> Iterator[Match]:
        """The games of a step, except for some groups, taken down as they are begun."""
        for match in matches(self.config, step, self.agents, self.pool, self._share):
            if match.tag.group in but:
                continue
            self.started += 1
            group = self._open.setdefault(match.tag.group, _Group(self.weights_of))
            group.begun += 1
            self.is_between_groups = group.begun == self.config.group_size
            yield match

    def _end(self, episode: Episode) -> list[Episode] | None:
        """All games of its group, if this was the last."""
        key = episode.match.tag.group
        self._open[key].episodes.append(episode)
        return self._open.pop(key).episodes if len(self._open[key].episodes) == self.config.group_size else None

    def _oldest(self) -> float:
        """Step whose weights began the oldest group that is not whole."""
        return min((group.since for group in self._open.values()), default=float("inf"))


class _Gate(Iterator[Match]):
    """Matches, of which none is to be had for a while wherever no further group may be begun."""

    def __init__(self, matches: Iterator[Match], rollout: Rollout):
        self._matches = matches
        self._rollout = rollout

    def __next__(self) -> Match:
        if self._rollout.is_between_groups and not self._rollout.may_begin():
            raise StopIteration
        return next(self._matches)


@dataclass
class _Group:
    """Games on one deal, not all of which are over.

    Args:
        since: step whose weights were in use when the first was begun.
        begun: games so far.
    """

    since: int
    begun: int = 0
    episodes: list[Episode] = field(default_factory=list)
