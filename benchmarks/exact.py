"""How far an agent is from unbeatable, in games small enough to be searched: NashConv of its policy.

The policy is read off without playing, at every information set (12 prompts in Kuhn Poker): from the probabilities of the
replies where the agent gives them, else from samples. Samples leave an interval: NashConv of policies drawn from the Dirichlet
posterior. NashConv is convex, so that sampling error raises it: the estimate from samples is no lower than the truth on average.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from agents.agent import Agent
from agents.elicit import Elicited, policy_of_agent
from benchmarks.ratings import Interval
from benchmarks.schedule import GameSpec
from lmgames import solve
from lmgames.chance import Chance
from lmgames.parsing import IllegalMove
from lmgames.players import move_of, text_of

SAMPLES = 64  # replies at each information set
DRAWS = 200  # of the posterior
TALKS = 0.05  # probability of other replies than bare moves, above which these do not tell how an agent plays
PSEUDOCOUNT = 0.5  # of each move, Jeffreys' prior


def read_policy(agent: Agent, game: GameSpec, samples: int = SAMPLES) -> dict[str, Any] | None:
    """The policy of an agent in a game, of JSON types; None where the game is too large.

    Where the probabilities of the bare moves sum to less than 0.95, as with a model that says "I play [bet]", it is counted from
    samples instead.

    Args:
        samples: replies at each information set of agents that give no probabilities; 0: such agents have no policy.

    Returns:
        {"method": "probabilities" or "samples", "illegal": share of replies that are no legal move,
        "sets": [[seat, place of the set in the tree's order, {move: probability or count}], ...]}.
    """
    rules = game.rules()
    if not solve.has_small_tree(rules):
        return None
    elicited = policy_of_agent(agent, game.env_id, **game.options)
    if elicited is not None and not (samples and elicited.illegal_mass > TALKS):
        return _stored("probabilities", elicited)
    return _sampled(agent, game, samples) if samples else None


def _stored(method: str, elicited: Elicited) -> dict[str, Any]:
    sets = [[key[0], number, dict(mix)] for number, (key, mix) in enumerate(elicited.policy.items())]
    return {"method": method, "illegal": elicited.illegal_mass, "sets": sets}


def _sampled(agent: Agent, game: GameSpec, samples: int) -> dict[str, Any]:
    asked = solve.observations_of_information_sets(game.env_id, **game.options)
    requests = [
        dataclasses.replace(observation, seed=Chance(number).word("sample", sample))
        for number, (_, observation) in enumerate(asked)
        for sample in range(samples)
    ]
    replies = iter(agent.act(requests))
    refused = 0
    sets = []
    for number, (key, observation) in enumerate(asked):
        counts: dict[str, float] = dict.fromkeys(observation.legal_moves or (), 0.0)
        for _ in range(samples):
            text = text_of(next(replies))
            try:
                move = move_of(observation, text)
            except IllegalMove:
                refused += 1
            else:
                counts[move] += 1
        sets.append([key[0], number, counts])
    return {"method": "samples", "illegal": refused / len(requests), "sets": sets}


def nash_conv_of(stored: Mapping[str, Any], game: GameSpec) -> Interval:
    """NashConv of a policy that `read_policy` gave, in the game's unit; without width where probabilities are known."""
    rules = game.rules()
    keys = list(solve.information_sets(rules))
    if len(keys) != len(stored["sets"]):
        raise ValueError(f"{game.name} has {len(keys)} information sets, the stored policy has {len(stored['sets'])}")
    if stored["method"] == "probabilities":
        policy = {keys[number]: mix for _, number, mix in stored["sets"]}
        return Interval(*[solve.nash_conv(rules, policy)] * 3)
    rng = np.random.default_rng(0)
    drawn = [solve.nash_conv(rules, _draw(stored, keys, rng)) for _ in range(DRAWS)]
    mean = {
        keys[number]: _normalised({move: count + PSEUDOCOUNT for move, count in counts.items()})
        for _, number, counts in stored["sets"]
    }
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(solve.nash_conv(rules, mean), float(low), float(high))


def _draw(stored: Mapping[str, Any], keys: list[solve.Key], rng: np.random.Generator) -> dict[solve.Key, dict[str, float]]:
    policy = {}
    for _, number, counts in stored["sets"]:
        shares = rng.dirichlet([count + PSEUDOCOUNT for count in counts.values()])
        policy[keys[number]] = _normalised(dict(zip(counts, map(float, shares), strict=True)))
    return policy


def _normalised(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {move: weight / total for move, weight in weights.items()}
