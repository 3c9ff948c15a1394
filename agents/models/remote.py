"""Models on a server: any OpenAI-compatible endpoint by text, a vLLM server by token ids.

    openai:MODEL@http://localhost:8000/v1                       text; the server applies the chat template
    openai:MODEL@http://localhost:8000/v1,tokenizer=PATH        token ids and log-probabilities, as training needs them

By text a reply carries no tokens: what comes back is words, and tokenising them again would not give what was sampled.
"""

import os
from collections.abc import Hashable, Sequence
from itertools import count
from typing import Any

from agents.agent import Agent, Observation, Reply
from agents.chat import PROMPT_VERSION
from agents.model_agent import ModelAgent
from agents.models.endpoint import Answer, Calls, Endpoint, EndpointError
from agents.models.model import Completion, Model, Request, Sampling
from agents.models.scoring import Pass, passes
from lmgames.registry import nearest

DEFAULT_CONCURRENCY = 64  # requests
DEFAULT_KEY = "OPENAI_API_KEY"
DEFAULT_LIMIT = "max_tokens"
SEED_BITS = (1 << 63) - 1
NEUTRAL = {"min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
"""Said outright, since servers take what is not said from the model's own files."""


class RemoteModel(Model):
    """A model of a vLLM server (`vllm serve`), spoken to in token ids.

    Start the server with `--logprobs-mode processed_logprobs`, or its log-probabilities ignore the temperature.

    Args:
        endpoint: the server's API, e.g. `Endpoint("http://localhost:8000/v1")`.
        name: of the model, as the server calls it. An adapter is asked for by its own name.
        tokenizer: of the model, for prompts and replies.
        version: number of the weights; to be set when those of the server change.
        max_batch: requests sent at once; others wait.
        context: longest prompt and reply together, tokens; None leaves it to the server.
        seeded: send each request's seed. It costs the server speed, so it is for tests.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        name: str,
        tokenizer: Any,
        *,
        version: int = 0,
        max_batch: int | None = None,
        context: int | None = None,
        seeded: bool = False,
    ):
        if max_batch is not None and max_batch < 1:
            raise ValueError(f"max_batch={max_batch!r} must be at least 1")
        self.endpoint = endpoint
        self.name = name
        self.tokenizer = tokenizer
        self.version = version
        self._context = context
        self._seeded = seeded
        self._calls: Calls[tuple[Request, int]] = Calls(lambda job: self.complete(*job), max_batch or DEFAULT_CONCURRENCY)

    def submit(self, request: Request) -> None:
        if not request.prompt_ids:
            raise ValueError("a prompt has at least one token")
        longest = len(request.prompt_ids) + request.sampling.max_tokens
        if self._context is not None and longest > self._context:
            raise ValueError(
                f"a prompt of {len(request.prompt_ids)} tokens with up to {request.sampling.max_tokens} of reply exceeds "
                f"the server's context of {self._context} tokens; lower max_tokens or play a shorter game"
            )
        self._calls.submit((request, self.version))

    @property
    def waiting(self) -> int:
        return self._calls.waiting

    @property
    def context(self) -> int | None:
        return self._context

    def poll(self) -> list[Completion]:
        completions = []
        for (request, version), result in self._calls.results():
            if isinstance(result, Exception):
                result = Completion(request.key, request.prompt_ids, (), (), "error", version, str(result))
            completions.append(result)
        return completions

    def score(
        self,
        prompts: Sequence[Sequence[int]],
        replies: Sequence[Sequence[int]],
        temperature: float = 1.0,
        *,
        adapter: str = "",
    ) -> list[list[float]]:
        """As in Model, under an adapter of the server's."""
        if not temperature > 0:
            raise ValueError(f"temperature={temperature!r} must be above 0 to score replies")
        rows = [(tuple(prompt), tuple(reply)) for prompt, reply in zip(prompts, replies, strict=True)]
        if not all(prompt for prompt, _ in rows):
            raise ValueError("a prompt has at least one token")
        # Not in one pass, of which a vLLM 0.32 server that serves adapters can die.
        parts = {row: passes(*row, in_one=False) for row in rows if row[1]}
        calls: Calls[tuple[Any, Pass]] = Calls(lambda job: self._score(job[1], temperature, adapter), DEFAULT_CONCURRENCY)
        found: dict[Any, float] = {}
        try:
            for row, of_row in parts.items():
                for part in of_row:
                    calls.submit((row, part))
            while calls.waiting:
                for job, result in calls.results():
                    if isinstance(result, Exception):
                        raise result
                    found[job] = result
        finally:
            calls.close()
        return [[found[row, part] for part in parts.get(row, [])] for row in rows]

    def about(self) -> dict[str, Any]:
        return _about(self.endpoint, self.name)

    def fingerprint(self) -> dict[str, Any]:
        return {"model": self.name, "server": self.endpoint.url}

    def close(self) -> None:
        self.endpoint.close()
        self._calls.close()

    def _body(self, prompt: Sequence[int], adapter: str = "") -> dict[str, Any]:
        return {"model": adapter or self.name, "prompt": list(prompt), "add_special_tokens": False, **NEUTRAL}

    def complete(self, request: Request, version: int) -> Completion:
        """The completion of a request, whatever else is asked at the same time.

        Raises:
            EndpointError: if there is none; its `status` is 0 where the server is at fault.
        """
        sampling = request.sampling
        body = {
            **self._body(request.prompt_ids, request.adapter),
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "stop_token_ids": list(sampling.stop_token_ids),
            "logprobs": 0,
            "return_token_ids": True,
            **({"seed": request.seed & SEED_BITS} if self._seeded else {}),
        }
        answer = _asked(self.endpoint, "/completions", body)
        choice = _choice(answer)
        try:
            ids = tuple(int(token) for token in choice["token_ids"])
            logprobs = tuple(float(value) for value in choice["logprobs"]["token_logprobs"])
            prompt_ids = tuple(int(token) for token in choice["prompt_token_ids"])
        except (KeyError, TypeError, ValueError) as error:
            raise EndpointError(
                f"the server at {self.endpoint.url} gives no token ids with their log-probabilities; it is no vLLM server, or "
                "too old a one. Leave out tokenizer=... to play by text"
            ) from error
        if prompt_ids != request.prompt_ids or len(ids) != len(logprobs):
            raise EndpointError(f"the server at {self.endpoint.url} did not take the prompt's token ids as they were given")
        if choice.get("finish_reason") not in ("stop", "length"):
            raise EndpointError(f"the server gave the request up (finish_reason {choice.get('finish_reason')!r})")
        if sampling.temperature == 0:
            logprobs = (0.0,) * len(ids)  # the token was certain to be taken
        return Completion(
            request.key, request.prompt_ids, ids, logprobs, choice["finish_reason"], version, usage=_costs(answer)
        )

    def _score(self, part: Pass, temperature: float, adapter: str) -> float:
        body = {
            **self._body(part.context, adapter),
            "max_tokens": 1,
            "temperature": temperature,
            "top_p": 1.0,
            "top_k": 0,
            "logprobs": 1,
            "logprob_token_ids": [part.next_token],
            "return_tokens_as_token_ids": True,
        }
        choice = _choice(_asked(self.endpoint, "/completions", body))
        try:
            return float(choice["logprobs"]["top_logprobs"][0][f"token_id:{part.next_token}"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise EndpointError(f"the server at {self.endpoint.url} does not score tokens; it is no vLLM server") from error


class RemoteAgent(Agent):
    """Plays with a model behind an OpenAI-compatible API (`/chat/completions`), by text.

    Args:
        endpoint: the API.
        name: of the model.
        sampling: how replies are drawn; `top_k` is sent where it is not 0, `stop_token_ids` is not sent.
        system: a message put before every observation.
        thinking: sent as the chat template's `enable_thinking`, which vLLM servers take; None sends nothing.
        concurrency: requests sent at once.
        max_tokens_name: what the server calls the longest reply; some want "max_completion_tokens".
    """

    def __init__(
        self,
        endpoint: Endpoint,
        name: str,
        *,
        sampling: Sampling | None = None,
        system: str | None = None,
        thinking: bool | None = None,
        concurrency: int = DEFAULT_CONCURRENCY,
        max_tokens_name: str = DEFAULT_LIMIT,
    ):
        self.endpoint = endpoint
        self.name = name
        self.sampling = sampling or Sampling()
        self.system = system
        self.thinking = thinking
        self._max_tokens_name = max_tokens_name
        self._numbers = count()
        self._calls: Calls[tuple[Hashable, Observation]] = Calls(lambda job: self._ask(job[1]), concurrency)

    def act(self, observations: Sequence[Observation], /) -> list[Reply]:
        """A reply to each observation; those that failed have finish_reason "error".

        Raises:
            RuntimeError: if requests wait that were submitted otherwise.
        """
        if self._calls.waiting:
            raise RuntimeError(f"act: {self._calls.waiting} submitted requests wait; poll them first")
        for number, observation in enumerate(observations):
            self.submit(number, observation)
        replies: dict[Hashable, Reply] = {}
        while self._calls.waiting:
            replies.update(self.poll())
        return [replies[number] for number in range(len(observations))]

    def submit(self, key: Hashable, observation: Observation) -> None:
        self._calls.submit((key, observation))

    def poll(self) -> list[tuple[Hashable, Reply]]:
        return [
            (key, Reply("", finish_reason="error", error=result) if isinstance(result, Exception) else result)
            for (key, _), result in self._calls.results()
        ]

    def about(self) -> dict[str, Any]:
        return {"tokenizer": "the server's", "max tokens": self.sampling.max_tokens, **_about(self.endpoint, self.name)}

    def fingerprint(self) -> dict[str, Any]:
        sampling = self.sampling
        return {
            **super().fingerprint(),
            "model": self.name,
            "server": self.endpoint.url,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "max_tokens": sampling.max_tokens,
            "prompt": [PROMPT_VERSION, self.system, self.thinking],
        }

    def close(self) -> None:
        self.endpoint.close()
        self._calls.close()

    def _ask(self, observation: Observation) -> Reply:
        sampling = self.sampling
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        body = {
            "model": self.name,
            "messages": [*system, {"role": "user", "content": observation.text}],
            self._max_tokens_name: sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            **({"top_k": sampling.top_k} if sampling.top_k else {}),
            **({} if self.thinking is None else {"chat_template_kwargs": {"enable_thinking": self.thinking}}),
        }
        answer = _asked(self.endpoint, "/chat/completions", body)
        choice = _choice(answer)
        reason = choice.get("finish_reason")
        text = _public_text(choice, reason, self.endpoint.url)
        return Reply(text, finish_reason="length" if reason == "length" else "stop", usage=_costs(answer))


def _public_text(choice: dict[str, Any], reason: Any, url: str) -> str:
    """What the model said. Reasoning that the server has split off is left out; nothing but reasoning comes back as such.

    Raises:
        EndpointError: if there is no text. An empty reply is no move that a model chose, so it must not lose a game.
    """
    message = choice.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    reasoning = (message.get("reasoning_content") or message.get("reasoning")) if isinstance(message, dict) else None
    if isinstance(content, str) and content.strip():
        return _sound(content)
    if reason == "length" and isinstance(reasoning, str) and reasoning:
        return _sound(f"<think>{reasoning}")  # cut off while it reasoned, as a model in this process would be
    if not isinstance(message, dict) or not isinstance(content, str | None):
        raise EndpointError(f"the server at {url} gave no message; is it an OpenAI-compatible API?")
    advice = "raise max_tokens; the model may have spent them on reasoning" if reason == "length" else "try another sampling"
    raise EndpointError(f"the server at {url} gave an empty reply (finish_reason {reason!r}); {advice}, or ask its operator")


def _sound(text: str) -> str:
    """Text without lone surrogates, which JSON can carry and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _about(endpoint: Endpoint, name: str) -> dict[str, Any]:
    """What a server says of a model.

    Raises:
        EndpointError: if the server does not answer, or does not serve the model.
    """
    try:
        answer = endpoint.get("/models")
        served = {str(model["id"]): model for model in answer.body["data"]}
    except (KeyError, TypeError):
        return {"server": f"{endpoint.url} answers and lists no models"}
    except EndpointError as error:
        if error.status in (404, 405, 501):
            return {"server": f"{endpoint.url} answers and lists no models"}
        raise
    if name not in served:
        raise EndpointError(f"the server at {endpoint.url} does not serve {name!r}{nearest(name, served)}")
    found = {"server": f"{endpoint.url} serves it, answered in {answer.seconds:.2f} s"}
    context = served[name].get("max_model_len")  # vLLM's name for it
    return found if context is None else {**found, "max context": context}


def _asked(endpoint: Endpoint, path: str, body: dict[str, Any]) -> Answer:
    """The answer; where the model is unknown, with the names of those that the server has."""
    try:
        return endpoint.post(path, body)
    except EndpointError as error:
        if error.status != 404:
            raise
        try:
            served = [str(model["id"]) for model in endpoint.get("/models").body["data"]]
        except (EndpointError, KeyError, TypeError):
            raise error from None
        raise EndpointError(f"{error} It serves: {', '.join(served[:20])}", error.status) from error


def _choice(answer: Answer) -> dict[str, Any]:
    choices = answer.body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        keys = ", ".join(sorted(map(str, answer.body)))[:80]
        raise EndpointError(f"the server's answer has no choices (it has: {keys}); is it an OpenAI-compatible API?")
    return choices[0]


def _costs(answer: Answer) -> dict[str, float]:
    """What the request cost, as far as the server tells."""
    costs: dict[str, float] = {"retries": answer.retries, "seconds": answer.seconds}
    usage = answer.body.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    for name, *path in (
        ("prompt_tokens", "prompt_tokens"),
        ("completion_tokens", "completion_tokens"),
        ("cached_tokens", "prompt_tokens_details", "cached_tokens"),
        ("reasoning_tokens", "completion_tokens_details", "reasoning_tokens"),
    ):
        value: Any = usage
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            costs[name] = value
    return costs


def make_agent(
    model_at_url: str,
    *,
    tokenizer: str | None = None,
    api_key_env: str = DEFAULT_KEY,
    timeout_s: float = 300.0,
    retries: int = 5,
    requests_per_minute: float | None = None,
    concurrency: int = DEFAULT_CONCURRENCY,
    max_tokens_name: str = DEFAULT_LIMIT,
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int = 0,
    max_tokens: int = 1024,
    thinking: bool | None = None,
    system: str | None = None,
) -> Agent:
    """The agent of the spec `openai:MODEL@URL,temperature=0.7,...`; options as in `Endpoint`, `Sampling` and the classes here.

    Args:
        model_at_url: e.g. "Qwen/Qwen3-0.6B@http://localhost:8000/v1". Without "@URL", the environment variable OPENAI_BASE_URL.
        tokenizer: a folder or a name on the hub; the server is then spoken to in token ids, which takes a vLLM server.
        api_key_env: environment variable that holds the key. Specs are written to files, so they never hold a key themselves.
    """
    name, at, url = model_at_url.rpartition("@")
    if not at or not url.startswith("http"):
        name, url = model_at_url, os.environ.get("OPENAI_BASE_URL", "")
    if not name or not url:
        raise ValueError(f"'openai:{model_at_url}' names no model and server; write openai:MODEL@http://HOST:PORT/v1")
    if api_key_env != DEFAULT_KEY and api_key_env not in os.environ:
        raise ValueError(f"api_key_env={api_key_env!r} names an environment variable that is not set")
    if tokenizer is not None and max_tokens_name != DEFAULT_LIMIT:
        raise ValueError(
            f"max_tokens_name={max_tokens_name!r} is of the chat API, which tokenizer={tokenizer!r} does not use"
        )
    endpoint = Endpoint(
        url,
        api_key=os.environ.get(api_key_env),
        timeout_s=timeout_s,
        retries=retries,
        requests_per_minute=requests_per_minute,
    )
    sampling = Sampling(temperature=temperature, top_p=top_p, top_k=top_k, max_tokens=max_tokens)
    if tokenizer is None:
        return RemoteAgent(
            endpoint,
            name,
            sampling=sampling,
            system=system,
            thinking=thinking,
            concurrency=concurrency,
            max_tokens_name=max_tokens_name,
        )
    model = RemoteModel(endpoint, name, _tokenizer(tokenizer), max_batch=concurrency)
    return ModelAgent(model, sampling=sampling, thinking=thinking, system=system)


def _tokenizer(path: str) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError, KeyError) as error:
        first = str(error).strip().splitlines()[0]
        raise ValueError(
            f"tokenizer={path!r} cannot be loaded: {first}. Give the folder or the name of the model"
        ) from error
