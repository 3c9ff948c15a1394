"""Self-play games to trajectories: one for each learning seat."""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agents.agent import Agent
from agents.play import Episode, Match, Step, run_matches
from lmgames.chance import Chance
from lmgames.game import Game
from lmgames.registry import make_game, split_options
from training.advantages import Baseline, Outcome
from training.config import Config
from training.samples import Row


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One seat's turns in one episode.

    Args:
        outcome: what its return is compared by.
        seat: where it sat.
        steps: its replies in order, refused ones included.
        decided_by_rules: False where a seat forfeited or had a move played for it.
    """

    outcome: Outcome
    seat: str
    steps: tuple[Step, ...]
    decided_by_rules: bool


def matches(config: Config, step: int, agents: Mapping[str, Agent]) -> Iterator[Match]:
    """The games of one step: groups of games on one deal, all drawn by (seed, step, number).

    Args:
        config: settings of the run.
        step: number of the optimiser step.
        agents: by seat.
    """
    of_game, _ = split_options(config.game, dict(config.env_options))
    game = make_game(config.game, **of_game)
    chance = Chance(config.seed).derive("rollout", step)
    for group in range(config.games_per_step // config.group_size):
        instance = _instance(game, config, step, group)
        for member in range(config.group_size):
            yield Match(
                env_id=config.game,
                seed=chance.word("game", group, member) >> 2,
                agents=agents,
                options=dict(config.env_options),
                instance=instance,
                tag=(step, group),
            )


def _instance(game: Game[Any, Any], config: Config, step: int, group: int) -> Any:
    groups = config.games_per_step // config.group_size
    number = step * groups + group
    instances = game.instances() if config.deals == "stratified" else None
    if instances is None:
        return game.deal(Chance(config.seed).derive("deal", number))
    # Every instance once, in a new order, before any comes again.
    order = Chance(config.seed).shuffled(range(len(instances)), "deals", number // len(instances))
    return instances[order[number % len(instances)]]


def trajectories(episode: Episode, learners: frozenset[str], opponent: str) -> list[Trajectory]:
    """One trajectory for each learning seat of an episode. Seats of other policies give none.

    Args:
        episode: as played.
        learners: seats that the policy in training sat in.
        opponent: class of the policies in the other seats.
    """
    record = episode.record
    assert record is not None, "training plays lmgames' own environments"
    by_rules = all(turn.status not in ("forfeit", "replaced") for turn in record.turns)
    group: Hashable = episode.match.tag
    return [
        Trajectory(
            outcome=Outcome(record.env_id, record.roles[seat], opponent, group, episode.index, record.returns[seat]),
            seat=seat,
            steps=tuple(step for step in episode.steps if step.seat == seat),
            decided_by_rules=by_rules,
        )
        for seat in record.roles
        if seat in learners
    ]


def collect(config: Config, step: int, agents: Mapping[str, Agent]) -> list[Trajectory]:
    """Plays the games of one step, all seats learning.

    Returns:
        Trajectories in an order that does not depend on which game ended first.
    """
    learners = frozenset(agents)
    played = sorted(
        run_matches(matches(config, step, agents), concurrency=config.concurrency),
        key=lambda episode: episode.index,
    )
    return [trajectory for episode in played for trajectory in trajectories(episode, learners, "self")]


def rows(trajs: list[Trajectory], baseline: Baseline, config: Config) -> list[Row]:
    """Token rows with their advantages.

    A row's advantage is its trajectory's return minus the baseline, times the discount for the own turns that follow. A refused
    reply gets minus the invalid penalty and no share of the game's result; of a game decided by a forfeit no other row is used,
    and no baseline learns from it.
    """
    fair = [trajectory for trajectory in trajs if trajectory.decided_by_rules]
    usual = baseline([trajectory.outcome for trajectory in fair]) if fair else []
    advantage_of = {id(trajectory): trajectory.outcome.return_ - base for trajectory, base in zip(fair, usual, strict=True)}
    made = []
    for trajectory in trajs:
        accepted = sum(step.turn.status == "ok" for step in trajectory.steps)
        for step in trajectory.steps:
            if step.turn.status == "ok":
                accepted -= 1
                if id(trajectory) not in advantage_of:
                    continue
                advantage = advantage_of[id(trajectory)] * config.turn_discount**accepted
            else:
                advantage = -config.invalid_penalty
            if config.drop_zero_advantage and advantage == 0:
                continue
            reply = step.reply
            made.append(Row(reply.prompt_ids, reply.reply_ids, reply.logprobs, advantage))
    return made
