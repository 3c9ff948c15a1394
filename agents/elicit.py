"""The policy of an agent in a small game as a table, read off without playing, e.g. to compute its exploitability."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from agents.agent import Agent
from lmgames import solve
from lmgames.chance import Chance
from lmgames.observation import Observation
from lmgames.parsing import IllegalMove
from lmgames.players import move_of, text_of


@dataclass(frozen=True)
class Elicited:
    """An agent's policy.

    Args:
        policy: probability of each legal move at every information set, renormalised over the legal ones.
        illegal_mass: what the agent gives to anything else, mean over the information sets.
    """

    policy: dict[solve.Key, dict[str, float]]
    illegal_mass: float


def policy_of_agent(agent: Agent, env_id: str, **options: object) -> Elicited | None:
    """The policy of an agent at every information set of a game (12 prompts in Kuhn Poker), None if it cannot be known.

    Args:
        agent: with `Agent.masses`.
        env_id: registered ID of a game whose tree can be searched.
        options: of the game and of its environment: they decide what the agent reads.

    Raises:
        ValueError: if the agent gives no probability to any legal move of an information set.
    """
    asked = solve.observations_of_information_sets(env_id, **options)
    masses = agent.masses([observation for _, observation in asked])
    if masses is None:
        return None
    legal = [_legal(observation, mass) for (_, observation), mass in zip(asked, masses, strict=True)]
    policy: dict[solve.Key, dict[str, float]] = {}
    for (key, observation), mix in zip(asked, legal, strict=True):
        total = sum(mix.values())
        if total <= 0:
            raise ValueError(
                f"{agent.spec or type(agent).__name__} gives no legal move any probability at {observation.text!r}"
            )
        policy[key] = {move: mass / total for move, mass in mix.items()}
    return Elicited(policy, 1.0 - sum(sum(mix.values()) for mix in legal) / len(legal))


@dataclass(frozen=True)
class Counted:
    """How often an agent gave each move.

    Args:
        counts: of each legal move at every information set, in the tree's order.
        illegal_share: of the replies, those that are no legal move.
    """

    counts: dict[solve.Key, dict[str, int]]
    illegal_share: float


def counts_from_samples(agent: Agent, env_id: str, samples: int, seed: int = 0, **options: object) -> Counted:
    """Asks any agent for replies at every information set of a game: Kuhn Poker's 12 at 64 samples are 768 replies.

    Args:
        samples: replies asked for at each information set.
        seed: of their draws.
        env_id, options: as in `policy_of_agent`.
    """
    asked = solve.observations_of_information_sets(env_id, **options)
    chance = Chance(seed)
    seen = [
        replace(observation, seed=chance.word("sample", place, number))
        for place, (_, observation) in enumerate(asked)
        for number in range(samples)
    ]
    replies = agent.act(seen)
    counts: dict[solve.Key, dict[str, int]] = {}
    illegal = 0
    for place, (key, observation) in enumerate(asked):
        counts[key] = dict.fromkeys(observation.legal_moves or (), 0)
        for reply in replies[place * samples : (place + 1) * samples]:
            try:
                counts[key][move_of(observation, text_of(reply))] += 1
            except IllegalMove:
                illegal += 1
    return Counted(counts, illegal / len(seen))


def policy_from_samples(agent: Agent, env_id: str, samples: int, seed: int = 0, **options: object) -> Elicited:
    """The policy of any agent at every information set of a game, from how often it gives each legal move: for models that think
    before they answer, whose log-probabilities of the bare moves say nothing. The noise of a frequency p is sqrt(p (1 - p) /
    samples), and makes NashConv larger than it is.

    Args:
        samples, seed, env_id, options: as in `counts_from_samples`.
    """
    found = counts_from_samples(agent, env_id, samples, seed, **options)
    return Elicited({key: frequencies(counts) for key, counts in found.counts.items()}, found.illegal_share)


def frequencies(counts: Mapping[str, float]) -> dict[str, float]:
    """The share of each move; all moves are equally likely where none was counted."""
    total = sum(counts.values())
    return {move: count / total if total else 1 / len(counts) for move, count in counts.items()}


def _legal(observation: Observation, masses: dict[str, float]) -> dict[str, float]:
    mix = dict.fromkeys(observation.legal_moves or (), 0.0)
    for reply, mass in masses.items():
        if mass > 0:
            with contextlib.suppress(IllegalMove):
                mix[move_of(observation, reply)] += mass
    return mix
