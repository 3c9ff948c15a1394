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
        finish_reason: "stop", "length", or "" for agents that are no models; "error" if the agent failed to reply at all,
            which ends the match as a failure and not as a refused move.
        policy_version: number of the weights that sampled it; of its first token, if they were changed during it; None for agents
            that do not learn.
        version_spans: (number of weights, tokens that they sampled), where they were changed; see `agents.models.model.Completion`.
        usage: what it cost, e.g. {"completion_tokens": 12}; its names are those of `agents.usage.Usage`.
        error: why it failed to reply.
    """

    text: str
    prompt_ids: tuple[int, ...] = ()
    reply_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    finish_reason: str = ""
    policy_version: int | None = None
    usage: dict[str, float] = field(default_factory=dict, compare=False)
    error: Exception | None = None
    version_spans: tuple[tuple[int, int], ...] = ()


class Agent(ABC):
    """A player: a batch of observations in, a reply to each out.

    An agent keeps nothing between calls that a reply depends on; what it draws by chance it draws from `Observation.seed`.
    So a game's course does not depend on what is played beside it. Agents that finish requests one by one override `submit`
    and `poll`, the others only `act`.
    """

    spec: str = ""
    """The string that `make_agent` makes it from."""
    engine_seconds: float = 0.0
    """Spent so far in the engine of a model, for agents that have one: what is left of their time goes into prompts and replies."""

    @abstractmethod
    def act(self, observations: Sequence[Observation], /) -> Sequence[Reply]:
        """A reply to each observation, in their order."""

    def submit(self, key: Hashable, observation: Observation) -> None:
        """Hands over a request; its reply comes out of a later `poll` under `key`."""
        self._requests().append((key, observation))

    def poll(self) -> list[tuple[Hashable, Reply]]:
        """Replies that are ready, at least one if any request waits; [] only if none does.

        Requests of which `act` raises come back as replies with finish_reason "error"; the others of their batch are asked
        again without them.
        """
        waiting = list(self._requests())
        self._requests().clear()
        if not waiting:
            return []
        replies = self._act_or_say_why([observation for _, observation in waiting])
        return [(key, reply) for (key, _), reply in zip(waiting, replies, strict=True)]

    def _requests(self) -> list[tuple[Hashable, Observation]]:
        # Made at first use, so that a subclass need not call `super().__init__`.
        waiting: list[tuple[Hashable, Observation]] = vars(self).setdefault("_waiting", [])
        return waiting

    def _act_or_say_why(self, observations: list[Observation]) -> list[Reply]:
        try:
            replies = list(self.act(observations))
            if len(replies) != len(observations):
                raise ValueError(f"act was given {len(observations)} observations and returned {len(replies)} replies")
            return replies
        except Exception as error:
            if len(observations) == 1:
                return [Reply("", finish_reason="error", error=error)]
            return [reply for observation in observations for reply in self._act_or_say_why([observation])]

    def masses(self, observations: Sequence[Observation], /) -> list[dict[str, float]] | None:
        """Probability of each reply that the agent may give to each observation; None where only playing tells.

        They may sum to less than 1: the rest goes to replies that are not listed, such as illegal ones.
        """
        return None

    def fingerprint(self) -> dict[str, Any]:
        """What must be equal for two agents to be the same player, of JSON types: kept with results."""
        return {"spec": self.spec}

    def about(self) -> dict[str, Any]:
        """What can be told of it before a game, for those who check a set-up, e.g. {"max context": 4096}.

        Raises:
            RuntimeError: if it cannot play, e.g. because its server does not answer.
        """
        return {}

    def close(self) -> None:  # noqa: B027  # most hold nothing
        """Frees what the agent holds."""
