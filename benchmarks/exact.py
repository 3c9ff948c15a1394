"""How far an agent is from unbeatable, in games small enough to be searched: NashConv of its policy.

The policy is read off without playing, at every information set (12 prompts in Kuhn Poker): from the probabilities of the
replies where the agent gives them, else from samples. NashConv is convex in what is played at one set, so that sampling errors
raise it: frequencies of a policy without illegal replies give no less than the truth on average. How much they raise and scatter
it is seen from policies drawn around the frequencies (a Dirichlet posterior under Jeffreys' prior). The interval is long enough
for both readings of the draws: that the truth lies among them, and that it lies as far below the estimate as they lie above it,
with what they lie above it on average taken off once more, since unbeatable play loses more by errors than play close to it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from agents.agent import Agent
from agents.elicit import Elicited, counts_from_samples, frequencies, policy_of_agent
from benchmarks.profile import LEVEL
from benchmarks.ratings import Interval
from benchmarks.schedule import GameSpec
from lmgames import solve

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
    if not samples:
        return None
    counted = counts_from_samples(agent, game.env_id, samples, **game.options)
    sets = [[key[0], number, counts] for number, (key, counts) in enumerate(counted.counts.items())]
    return {"method": "samples", "illegal": counted.illegal_share, "sets": sets}


def _stored(method: str, elicited: Elicited) -> dict[str, Any]:
    sets = [[key[0], number, dict(mix)] for number, (key, mix) in enumerate(elicited.policy.items())]
    return {"method": method, "illegal": elicited.illegal_mass, "sets": sets}


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
    value = solve.nash_conv(rules, {keys[number]: frequencies(counts) for _, number, counts in stored["sets"]})
    drawn = [solve.nash_conv(rules, _draw(stored, keys, rng)) for _ in range(DRAWS)]
    low, high = map(float, np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    raised = max(0.0, float(np.mean(drawn)) - value)
    return Interval(value, max(0.0, min(low, 2 * value - high - raised)), max(high, 2 * value - low))


def _draw(stored: Mapping[str, Any], keys: list[solve.Key], rng: np.random.Generator) -> dict[solve.Key, dict[str, float]]:
    policy = {}
    for _, number, counts in stored["sets"]:
        shares = rng.dirichlet([count + PSEUDOCOUNT for count in counts.values()])
        policy[keys[number]] = frequencies(dict(zip(counts, map(float, shares), strict=True)))
    return policy
