"""Self-play games to trajectories: one for each learning seat."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.agent import Agent
from agents.play import Episode, Match, Step, run_matches
from lmgames.chance import Chance
from lmgames.game import Game
from training.advantages import Outcome
from training.config import Config
from training.games import dealt
from training.opponents import OpponentPool, Pairing


@dataclass(frozen=True, slots=True)
class Seating:
    """Who sits where in a group of games.

    Args:
        group: (step, number): its games share their deal.
        learners: seats of the policy in training.
        pairing: whom it meets in the others; None in self-play.
    """

    group: tuple[int, int]
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
    """

    outcome: Outcome
    seat: str
    steps: tuple[Step, ...]
    decided_by_rules: bool
    forfeited_by: frozenset[str] = frozenset()
    facts: Mapping[str, Any] = field(default_factory=dict)


def matches(config: Config, step: int, agents: Mapping[str, Agent], pool: OpponentPool | None = None) -> Iterator[Match]:
    """The games of one step: groups of games on one deal, all drawn by (seed, step, number).

    Args:
        config: settings of the run.
        step: number of the optimiser step.
        agents: the learner's, by game.
        pool: gives some groups other policies in some seats.

    Returns:
        Matches whose tag is a `Seating`.
    """
    chance = Chance(config.seed).derive("rollout", step)
    groups = dealt(config.played, step * config.groups_per_step, config.groups_per_step)
    pairings = pool.pairings(step, groups) if pool is not None else {}
    for group, (game, number) in enumerate(groups):
        instance = _instance(game.rules, config, number)
        seated = dict.fromkeys(game.rules.seats, agents[game.name])
        seating = Seating((step, group), frozenset(seated))
        if pool is not None and group in pairings:
            pairing = pairings[group]
            seating = Seating((step, group), pool.seats(pairing, game, instance), pairing)
            other = pool.agent(pairing.member, game)
            seated = {seat: agent if seat in seating.learners else other for seat, agent in seated.items()}
        for member in range(config.group_size):
            yield Match(
                env_id=game.name,
                seed=chance.word("game", group, member) >> 2,
                agents=seated,
                options=dict(game.options),
                instance=instance,
                tag=seating,
            )


def _instance(game: Game[Any, Any], config: Config, number: int) -> Any:
    """What group `number` of a game's groups is dealt."""
    instances = game.instances() if config.deals == "stratified" else None
    if instances is None:
        return game.deal(Chance(config.seed).derive("deal", number))
    # Every instance once, in a new order, before any comes again.
    order = Chance(config.seed).shuffled(range(len(instances)), "deals", number // len(instances))
    return instances[order[number % len(instances)]]


def trajectories(episode: Episode, seating: Seating) -> list[Trajectory]:
    """One trajectory for each learning seat of an episode, in seat order. Seats of other policies give none."""
    record = episode.record
    assert record is not None, "training plays lmgames' own environments"
    by_rules = all(turn.status not in ("forfeit", "replaced") for turn in record.turns)
    forfeited_by = frozenset(turn.seat for turn in record.turns if turn.status == "forfeit")
    return [
        Trajectory(
            outcome=Outcome(
                record.env_id, record.roles[seat], seating.opponent, seating.group, episode.index, record.returns[seat]
            ),
            seat=seat,
            steps=tuple(step for step in episode.steps if step.seat == seat),
            decided_by_rules=by_rules,
            forfeited_by=forfeited_by,
            facts=record.facts,
        )
        for seat in record.roles
        if seat in seating.learners
    ]


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
    played = sorted(
        play(matches(config, step, agents, pool), concurrency=config.concurrency),
        key=lambda episode: episode.index,
    )
    found = []
    for episode in played:
        seating: Seating = episode.match.tag
        found += trajectories(episode, seating)
        if pool is not None and seating.pairing is not None:
            pool.record(seating.pairing, seating.learners, episode)
    if pool is not None:
        pool.end_step()
    return found
