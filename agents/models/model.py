"""What a language model is to this package: token ids in, token ids and their log-probabilities out.

Text never crosses this line, so what was sampled is what is trained on. Requests are independent: each finishes when it
finishes, whatever else runs beside it.
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

FinishReason = Literal["stop", "length", "error"]
Spans = tuple[tuple[int, int], ...]
"""(number of weights, how many tokens they sampled), one behind the other."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn.

    Args:
        temperature: logits are divided by it; 0 takes the most likely token.
        top_p: the most likely tokens up to this mass, 0 < top_p <= 1; 1 is off.
        top_k: the most likely `top_k` tokens; 0 is off.
        max_tokens: longest reply, tokens.
        stop_token_ids: tokens that end a reply, beside the model's own end-of-sequence tokens.

    Training wants top_p=1 and top_k=0: a truncated distribution is not the one that the trainer computes.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 32
    stop_token_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise ValueError(f"temperature={self.temperature!r} must be at least 0")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p={self.top_p!r} must be above 0 and at most 1")
        if self.top_k < 0:
            raise ValueError(f"top_k={self.top_k!r} must be at least 0; 0 is off")
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens={self.max_tokens!r} must be at least 1")


@dataclass(frozen=True, slots=True)
class Request:
    """One reply wanted.

    Args:
        key: names the completion; any hashable value.
        prompt_ids: at least one token.
        sampling: how to draw.
        seed: fixes the draws, so that the reply does not depend on what runs beside it.
        adapter: name of the LoRA adapter to sample with, of those loaded into the engine; "" for none.
    """

    key: Hashable
    prompt_ids: tuple[int, ...]
    sampling: Sampling = Sampling()
    seed: int = 0
    adapter: str = ""


@dataclass(frozen=True, slots=True)
class Completion:
    """One reply.

    Args:
        key, prompt_ids: of the request.
        ids: what was sampled, exactly; ends with an end-of-sequence or stop token only if that was sampled.
        logprobs: of each sampled token under the distribution it was drawn from (after temperature, top_k and top_p), nats.
        finish_reason: "stop" by an end-of-sequence or stop token, "length" by max_tokens, "error" if the engine failed.
        version: number of the weights that sampled it; of the first token, if they were changed during it.
        error: what failed.
        version_spans: which weights sampled which tokens, where they were changed in between; () where all are of `version`. An
            engine that cannot tell from which token on the new ones sampled gives them none: ((3, 12), (4, 0)).
        usage: what it cost beside its tokens, where the engine tells, e.g. {"cached_tokens": 128} of the prompt, whose computation
            was at hand; {"computed_tokens": 7} of prompt and reply together that were computed, where replies share theirs, too.
    """

    key: Hashable
    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: FinishReason
    version: int = 0
    error: str = ""
    usage: dict[str, float] = field(default_factory=dict, compare=False)
    version_spans: Spans = ()


class Model(ABC):
    """A language model behind some engine.

    Attributes:
        tokenizer: `encode`, `decode` and a chat template, as in transformers.
        version: number of the weights, set by whoever changes them.
    """

    tokenizer: Any
    version: int = 0

    def about(self) -> dict[str, Any]:
        """What can be told before a request, for those who check a set-up.

        Raises:
            RuntimeError: if it cannot be asked.
        """
        return {}

    @abstractmethod
    def submit(self, request: Request) -> None:
        """Hands over a request; its completion comes out of a later `poll`.

        Raises:
            ValueError: if the prompt is empty or, with `max_tokens`, longer than the context.
        """

    @abstractmethod
    def poll(self) -> list[Completion]:
        """Works until at least one request is done and returns all that are; [] only if none waits."""

    @property
    @abstractmethod
    def waiting(self) -> int:
        """Requests handed over whose completion has not been returned."""

    @abstractmethod
    def score(
        self, prompts: Sequence[Sequence[int]], replies: Sequence[Sequence[int]], temperature: float = 1.0
    ) -> list[list[float]]:
        """Log-probability of each reply token after its prompt and the reply before it (teacher forcing), nats.

        `temperature` divides the logits; nothing is truncated.
        """

    def generate(self, requests: Iterable[Request]) -> list[Completion]:
        """Completions in the order of the requests.

        Raises:
            RuntimeError: if other requests wait; their completions would be lost.
            ValueError: if one of the requests cannot be served; none is left behind.
        """
        if self.waiting:
            raise RuntimeError(f"generate: {self.waiting} submitted requests wait; poll them first")
        requests = list(requests)
        try:
            for number, request in enumerate(requests):
                self.submit(replace(request, key=number))
        except ValueError:
            while self.waiting:  # those before it would come out of somebody else's `poll`
                self.poll()
            raise
        done: dict[Hashable, Completion] = {}
        while len(done) < len(requests):
            done.update((completion.key, completion) for completion in self.poll())
        return [replace(done[number], key=request.key) for number, request in enumerate(requests)]

    @property
    def end_ids(self) -> tuple[int, ...]:
        """The tokens that end a reply, each by itself."""
        end = getattr(self.tokenizer, "eos_token_id", None)
        return () if end is None else (end,)

    @property
    def context(self) -> int | None:
        """Longest prompt and reply together, tokens; None where it is not known here."""
        return None

    def fingerprint(self) -> dict[str, Any]:
        """What must be equal for two models to give the same replies, of JSON types."""
        return {}

    def close(self) -> None:  # noqa: B027  # most hold nothing
        """Frees what the model holds."""


def common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    """How many first tokens are equal."""
    length = min(len(one), len(other))
    if one[:length] == other[:length]:
        return length
    return next(place for place in range(length) if one[place] != other[place])
