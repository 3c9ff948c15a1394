"""A model without weights, for tests of everything that uses one: it says what it is told to, at a fixed speed.

It is a real policy over token ids: its replies have a known distribution, so log-probabilities, temperature, truncation and
`score` mean what they mean for any model.
"""

import heapq
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from agents.models.model import Completion, FinishReason, Model, Request, Sampling
from lmgames.chance import Chance

Replies = str | Mapping[str, float]
"""One text, or texts with their weights."""
Fault = Literal["error", "crash"]


class ByteTokenizer:
    """UTF-8 bytes, and one special token that ends texts."""

    eos_token = pad_token = "<|end|>"
    eos_token_id = pad_token_id = 256
    all_special_ids = (256,)
    chat_template = None

    def __len__(self) -> int:
        return 257

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        return list(text.encode("utf-8", "replace"))

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False, **_: Any) -> str:
        parts = bytes(token for token in ids if token < 256).decode("utf-8", "replace")
        end = "" if skip_special_tokens else self.eos_token * sum(token == self.eos_token_id for token in ids)
        return parts + end


class FakeModel(Model):
    """The model.

    Args:
        replies: what it says: a text, texts with weights, or a function from the prompt's text to either. Each reply is
            sampled token by token and ends with the end-of-sequence token.
        tokenizer: a `ByteTokenizer` by default.
        version: number of its weights.
        latency_s: seconds per sampled token. Up to `max_batch` requests are in progress at once; the others queue.
        max_batch: None for no limit.
        faults: by number of the request, from 0: "error" gives a completion that says so, "crash" has `poll` raise and lose
            every waiting request, as an engine does that dies.
        clock, sleep: seconds; for tests that must not wait.
    """

    def __init__(
        self,
        replies: Replies | Callable[[str], Replies] = "[check]",
        *,
        tokenizer: Any = None,
        version: int = 0,
        latency_s: float = 0.0,
        max_batch: int | None = None,
        faults: Mapping[int, Fault] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        if max_batch is not None and max_batch < 1:
            raise ValueError(f"max_batch={max_batch!r} must be at least 1")
        self.tokenizer = ByteTokenizer() if tokenizer is None else tokenizer
        self.version = version
        self.submitted = 0
        """Requests so far."""
        self._replies = replies
        self._latency_s = latency_s
        self._max_batch = max_batch or math.inf
        self._faults = dict(faults or {})
        self._clock, self._sleep = clock, sleep
        self._queue: deque[tuple[int, Completion]] = deque()
        self._running: list[tuple[float, int, Completion]] = []  # a heap of (when done, number, completion)
        self._known: dict[tuple[int, ...], list[tuple[tuple[int, ...], float]]] = {}  # replies by prompt
        self._nexts: dict[tuple[Any, ...], dict[int, float]] = {}  # next-token distributions

    def submit(self, request: Request) -> None:
        if not request.prompt_ids:
            raise ValueError("a prompt has at least one token")
        if request.adapter:
            raise ValueError(f"this model serves no adapters, but was asked for {request.adapter!r}")
        number = self.submitted
        self.submitted += 1
        if self._faults.get(number) == "error":
            completion = Completion(request.key, request.prompt_ids, (), (), "error", self.version, "injected fault")
        else:
            completion = self._sampled(request)
        self._queue.append((number, completion))
        self._start(self._clock())

    def poll(self) -> list[Completion]:
        done: list[Completion] = []
        while self._running and not done:
            now = self._clock()
            if self._running[0][0] > now:
                self._sleep(self._running[0][0] - now)
                now = max(self._running[0][0], self._clock())
            while self._running and self._running[0][0] <= now:
                when, number, completion = heapq.heappop(self._running)
                if self._faults.get(number) == "crash":
                    self._queue.clear()
                    self._running.clear()
                    raise RuntimeError(f"injected fault: the engine crashed at request {number}")
                done.append(completion)
                self._start(when)
        return done

    @property
    def waiting(self) -> int:
        return len(self._queue) + len(self._running)

    def score(
        self, prompts: Sequence[Sequence[int]], replies: Sequence[Sequence[int]], temperature: float = 1.0
    ) -> list[list[float]]:
        if not temperature > 0:
            raise ValueError(f"temperature={temperature!r} must be above 0 to score replies")
        sampling = Sampling(temperature=temperature)
        scores = []
        for prompt, reply in zip(prompts, replies, strict=True):
            nexts = [self._next_token(tuple(prompt), tuple(reply[:place]), sampling) for place in range(len(reply))]
            chances = [p.get(token, 0.0) for token, p in zip(reply, nexts, strict=True)]
            scores.append([math.log(chance) if chance > 0 else -math.inf for chance in chances])
        return scores

    def fingerprint(self) -> dict[str, Any]:
        return {"model": "fake"}

    def _start(self, now: float) -> None:
        while self._queue and len(self._running) < self._max_batch:
            number, completion = self._queue.popleft()
            heapq.heappush(self._running, (now + self._latency_s * len(completion.ids), number, completion))

    def _sampled(self, request: Request) -> Completion:
        sampling, chance = request.sampling, Chance(request.seed)
        ids: list[int] = []
        logprobs: list[float] = []
        reason: FinishReason = "length"
        while len(ids) < sampling.max_tokens and reason == "length":
            p = self._next_token(request.prompt_ids, tuple(ids), sampling)
            token = _drawn(p, chance.uniform("token", len(ids)))
            ids.append(token)
            logprobs.append(math.log(p[token]))
            if token == self.tokenizer.eos_token_id or token in sampling.stop_token_ids:
                reason = "stop"
        return Completion(request.key, request.prompt_ids, tuple(ids), tuple(logprobs), reason, self.version)

    def _next_token(self, prompt: tuple[int, ...], begun: tuple[int, ...], sampling: Sampling) -> dict[int, float]:
        """Probability of each next token; beyond the replies it knows, the end."""
        key = (prompt, begun, sampling.temperature, sampling.top_p, sampling.top_k)
        if key not in self._nexts:
            self._nexts[key] = _sharpened(self._weights(prompt, begun), sampling)
        return self._nexts[key]

    def _weights(self, prompt: tuple[int, ...], begun: tuple[int, ...]) -> dict[int, float]:
        weights: dict[int, float] = {}
        for ids, weight in self._sequences(prompt):
            if len(ids) > len(begun) and ids[: len(begun)] == begun:
                weights[ids[len(begun)]] = weights.get(ids[len(begun)], 0.0) + weight
        return weights or {self.tokenizer.eos_token_id: 1.0}

    def _sequences(self, prompt: tuple[int, ...]) -> list[tuple[tuple[int, ...], float]]:
        """The replies to a prompt as tokens, with their weights."""
        if prompt not in self._known:
            said = self._replies(self.tokenizer.decode(list(prompt))) if callable(self._replies) else self._replies
            weights = {said: 1.0} if isinstance(said, str) else said
            self._known[prompt] = [
                ((*self.tokenizer.encode(text, add_special_tokens=False), self.tokenizer.eos_token_id), float(weight))
                for text, weight in weights.items()
                if weight > 0
            ]
        return self._known[prompt]


def _sharpened(weights: dict[int, float], sampling: Sampling) -> dict[int, float]:
    """Probabilities under a temperature and truncation, in the order of the tokens."""
    ordered = sorted(weights, key=lambda token: (-weights[token], token))
    if sampling.temperature == 0:
        return {ordered[0]: 1.0}
    top = weights[ordered[0]]
    p = {token: (weights[token] / top) ** (1 / sampling.temperature) for token in ordered}
    if sampling.top_k:
        p = {token: p[token] for token in ordered[: sampling.top_k]}
    total, before = sum(p.values()), 0.0
    for token, share in list(p.items()):
        if before >= sampling.top_p * total:
            del p[token]
        before += share
    total = sum(p.values())
    return {token: p[token] / total for token in sorted(p)}


def _drawn(p: dict[int, float], draw: float) -> int:
    for token, share in p.items():
        draw -= share
        if draw < 0:
            return token
    return next(reversed(p))
