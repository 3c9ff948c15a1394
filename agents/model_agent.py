"""A language model in a seat."""

import math
import time
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any, cast

from agents.agent import Agent, Observation, Reply
from agents.chat import Chat
from agents.models.model import Completion, Model, Request, Sampling


class ModelAgent(Agent):
    """Plays with a model: the observation's text is the prompt, what it samples is the reply.

    Several agents may share a model, e.g. with different temperatures. A reply carries the tokens and log-probabilities
    exactly as they were sampled, and the number of the weights that sampled them.

    Args:
        model: any engine.
        sampling: how replies are drawn; its draws follow from `Observation.seed`.
        system: a message put before every observation.
        thinking: handed to the chat template as `enable_thinking`; None leaves the template's default.
    """

    def __init__(
        self,
        model: Model,
        *,
        sampling: Sampling | None = None,
        system: str | None = None,
        thinking: bool | None = None,
    ):
        self.model = model
        self.sampling = sampling or Sampling()
        self.chat = Chat(model.tokenizer, system=system, thinking=thinking)
        self._asked: dict[Hashable, float] = {}  # key -> when, of requests whose reply has not come out of `poll`
        self._arrived: list[tuple[Hashable, Reply]] = []

    def act(self, observations: Sequence[Observation], /) -> list[Reply]:
        """A reply to each observation.

        Raises:
            RuntimeError: if requests wait that were submitted to the model otherwise.
        """
        requests = [self._request(number, observation) for number, observation in enumerate(observations)]
        began = time.perf_counter()
        completions = self.model.generate(requests)
        self.engine_seconds += time.perf_counter() - began
        return [self._reply(completion, began) for completion in completions]

    def submit(self, key: Hashable, observation: Observation) -> None:
        request = self._request((self, key), observation)
        began = time.perf_counter()
        self.model.submit(request)
        self._asked[key] = time.perf_counter()
        self.engine_seconds += self._asked[key] - began

    def poll(self) -> list[tuple[Hashable, Reply]]:
        while self._asked and not self._arrived:
            try:
                began = time.perf_counter()
                completions = self.model.poll()
                self.engine_seconds += time.perf_counter() - began
                _deliver(completions)
            except Exception:
                self._asked.clear()
                raise
            if not completions:
                lost = len(self._asked)
                self._asked.clear()
                raise RuntimeError(f"the model lost {lost} requests")
        arrived, self._arrived = self._arrived, []
        return arrived

    def receive(self, key: Hashable, completion: Completion) -> None:
        """Takes a completion that came out of the model's `poll`."""
        self._arrived.append((key, self._reply(completion, self._asked.pop(key))))

    def masses(self, observations: Sequence[Observation], /) -> list[dict[str, float]] | None:
        """Of each legal move, the probability of its canonical text followed by a token that ends the reply.

        None where words are free, where the sampling is greedy or truncated, so that scores do not tell, and where the prompt
        opens the model's reasoning, so that a bare move would be all private.
        """
        if self.sampling.temperature == 0 or self.sampling.top_p < 1 or self.sampling.top_k:
            return None
        if self.chat.opener or any(observation.legal_moves is None for observation in observations):
            return None
        masses = [dict.fromkeys(seen.legal_moves or (), 0.0) for seen in observations]
        asked = [
            (number, move, reply)
            for number, of_one in enumerate(masses)
            for move in of_one
            for reply in self._ways_to_say(move)
        ]
        logprobs = self.model.score(
            [self.chat.prompt_ids(observations[number].text) for number, _, _ in asked],
            [reply for _, _, reply in asked],
            self.sampling.temperature,
        )
        for (number, move, _), of_tokens in zip(asked, logprobs, strict=True):
            masses[number][move] += math.exp(sum(of_tokens))
        return masses

    def _ways_to_say(self, move: str) -> list[tuple[int, ...]]:
        """The tokens of a move, ended by each token that ends a reply."""
        ids = tuple(self.model.tokenizer.encode(move, add_special_tokens=False))
        return [(*ids, end) for end in self.model.end_ids] or [ids]

    def _request(self, key: Hashable, observation: Observation) -> Request:
        return Request(key, self.chat.prompt_ids(observation.text), self.sampling, observation.seed)

    def _reply(self, completion: Completion, began: float) -> Reply:
        failed = completion.finish_reason == "error"
        usage = {"prompt_tokens": len(completion.prompt_ids), "completion_tokens": len(completion.ids)}
        if reasoning := self.chat.reasoning_tokens(completion.ids):
            usage["reasoning_tokens"] = reasoning
        return Reply(
            text="" if failed else self.chat.reply_text(completion.ids),
            prompt_ids=completion.prompt_ids,
            reply_ids=completion.ids,
            logprobs=completion.logprobs,
            finish_reason=completion.finish_reason,
            policy_version=completion.version,
            version_spans=completion.version_spans,
            usage={**usage, "seconds": time.perf_counter() - began, **completion.usage},
            error=RuntimeError(completion.error or "the engine failed") if failed else None,
        )

    def about(self) -> dict[str, Any]:
        tokenizer = self.model.tokenizer
        return {
            "tokenizer": f"{type(tokenizer).__name__}, {len(tokenizer)} tokens",
            "chat template": "yes" if self.chat.has_template else "no: plain prompts",
            "max context": self.model.context,
            "max tokens": self.sampling.max_tokens,
            **self.model.about(),
        }

    def fingerprint(self) -> dict[str, Any]:
        sampling = self.sampling
        return {
            **super().fingerprint(),
            **self.model.fingerprint(),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "max_tokens": sampling.max_tokens,
            "prompt": self.chat.fingerprint(),
        }


def complete_beside(model: Model, requests: Sequence[Request]) -> list[Completion]:
    """Completions of requests, in their order, while requests of agents to the same model go on beside them."""
    box = _Box()
    for number, request in enumerate(requests):
        model.submit(replace(request, key=(box, number)))
    while len(box.completions) < len(requests):
        completions = model.poll()
        if not completions:
            raise RuntimeError(f"the model lost {len(requests) - len(box.completions)} requests")
        _deliver(completions)
    return [replace(box.completions[number], key=request.key) for number, request in enumerate(requests)]


class _Box:
    """Takes completions that belong to no game."""

    def __init__(self) -> None:
        self.completions: dict[Hashable, Completion] = {}

    def receive(self, key: Hashable, completion: Completion) -> None:
        self.completions[key] = completion


def _deliver(completions: Sequence[Completion]) -> None:
    """Hands completions to those that asked: agents that share the model."""
    for completion in completions:
        receiver, key = cast(tuple[ModelAgent | _Box, Hashable], completion.key)
        receiver.receive(key, completion)
