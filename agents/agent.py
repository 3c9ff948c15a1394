"""Who replies: the interface of everything that can sit in a seat."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lmgames.observation import Observation

__all__ = ["Agent", "Observation", "Reply"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What an agent answers to one observation.

    Args:
        text: sent to the environment, which removes private reasoning from it.
        prompt_ids: the tokens the model was given; () for agents that are no models.
        reply_ids: the tokens it sampled, exactly; never re-tokenised from `text`.
        logprobs: log-probability of each sampled token under the sampling distribution, nats.
        finish_reason: "stop", "length", or "" for agents that are no models.
        policy_version: number of the weights that sampled it; None for agents that do not learn.
        usage: what it cost, e.g. {"completion_tokens": 12}.
    """

    text: str
    prompt_ids: tuple[int, ...] = ()
    reply_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    finish_reason: str = ""
    policy_version: int | None = None
    usage: dict[str, float] = field(default_factory=dict)


class Agent(ABC):
    """A player: a batch of observations in, a reply to each out.

    An agent keeps nothing between calls that a reply depends on; what it draws by chance it draws from `Observation.seed`.
    So a game's course does not depend on what is played beside it. Agents that finish requests one by one override `submit`
    and `poll`, the others only `act`.
    """

    spec: str = ""
    """The string that `make_agent` makes it from."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Hashable, Observation]] = []

    @abstractmethod
    def act(self, observations: Sequence[Observation], /) -> Sequence[Reply]:
        """A reply to each observation, in their order."""

    def submit(self, key: Hashable, observation: Observation) -> None:
        """Hands over a request; its reply comes out of a later `poll` under `key`."""
        self._waiting.append((key, observation))

    def poll(self) -> list[tuple[Hashable, Reply]]:
        """Replies that are ready, at least one if any request waits; [] only if none does."""
        if not self._waiting:
            return []
        waiting, self._waiting = self._waiting, []
        replies = self.act([observation for _, observation in waiting])
        return [(key, reply) for (key, _), reply in zip(waiting, replies, strict=True)]

    def fingerprint(self) -> dict[str, Any]:
        """What must be equal for two agents to be the same player, of JSON types: kept with results."""
        return {"spec": self.spec}

    def close(self) -> None:
        """Frees what the agent holds."""
