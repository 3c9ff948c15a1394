"""A transformers model as it stands in memory: on CPU or GPU, also while a trainer changes its weights.

Small games ask the same few questions in hundreds of games at once, so the engine works on distinct sequences. Requests
with one prompt share its prefill, and go on sharing as long as their replies are equal; what a sequence's next-token
distribution is stays known until the weights change. Prompts that begin alike, as those of one game do with its rules,
share the keys and values of that beginning. Each request draws its own tokens, by inverse CDF from draws fixed by
its seed and the token's place, so a reply does not depend on what runs beside it.
"""

import gc
import inspect
import json
import weakref
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from agents.agent import Agent
from agents.model_agent import ModelAgent
from agents.models.adapters import AdapterEngine, adapter_folder, adapter_name, check_loaded, peft_at_work
from agents.models.model import Completion, FinishReason, Model, Request, Sampling, common_prefix
from agents.models.revision import revision_of
from lmgames.chance import Chance

PREFILL_TOKENS = 16_384  # of one forward pass, padding included
SCORE_LOGITS = 1 << 26  # of one forward pass: rows * length * vocabulary
STEM_TOKENS = 32  # shortest beginning worth sharing
KEPT_BYTES = 256 << 20  # of next-token distributions, before they are forgotten
SMALL_MODEL = 100_000_000  # parameters
PROBED = 64  # elements of each parameter in the check for changed weights
NO_ADAPTER = "__base__"  # peft's word
PATIENCE = 8  # polls in a row that may give only what is known already, before what other requests wait for is computed
CACHEABLE_LAYERS = {"full_attention", "sliding_attention", "chunked_attention"}


class HFModel(AdapterEngine):
    """The engine. Requests with LoRA adapters and without are computed together.

    Args:
        model: a causal language model of transformers (or wrapped by peft). It is used as it stands: a trainer that changes
            its weights in place has them sampled from the next request on. It is put into eval mode for each forward pass
            and back.
        tokenizer: of the model.
        version: number of the weights. Setting `version` on the object also forgets all that was computed with the old
            ones; requests in the middle of their reply go on with the new weights over the old keys and values.
        max_batch: requests in progress at once; others wait. None: 1024 for models below 100M parameters, else 64.
        device: where to move the model; None leaves it where it is.
        eos_token_ids: tokens that end every reply. None: those of the generation config and of the tokenizer.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        version: int = 0,
        max_batch: int | None = None,
        device: str | torch.device | None = None,
        eos_token_ids: Iterable[int] | None = None,
    ):
        if max_batch is not None and max_batch < 1:
            raise ValueError(f"max_batch={max_batch!r} must be at least 1")
        self.model = model if device is None else model.to(device)
        self.tokenizer = tokenizer
        self.name = ""
        self.revision = ""
        small = sum(parameter.numel() for parameter in model.parameters()) < SMALL_MODEL
        self.max_batch = max_batch or (1024 if small else 64)
        self.eos_token_ids = frozenset(_eos(model, tokenizer) if eos_token_ids is None else eos_token_ids)
        self._forward = _Forward(self.model)
        self._context = _context(model.config)
        self._adapters: dict[str, int] = {}  # version by name
        self._own = model.active_adapter if hasattr(model, "peft_config") else NO_ADAPTER
        self._arrivals: deque[Request] = deque()
        self._known: dict[_Ids, _Node] = {}  # by adapter and prompt
        self._weights: Tensor | None = None  # a sample of them, those that `_known` was computed with
        self._reset()
        self._version = version

    @property
    def version(self) -> int:
        return self._version

    @version.setter
    def version(self, version: int) -> None:
        self._version = version
        self.forget()

    def forget(self) -> None:
        """Drops what is known of sequences; their distributions are computed anew."""
        self._known = {}
        self._kept = 0
        self._stems: dict[_Ids, _Stem] = {}  # by adapter and their first tokens

    def _reset(self) -> None:
        """The state with nothing in progress."""
        self._active = 0
        self._ready: list[_Run] = []  # at sequences whose next-token distribution is known
        self._done: list[Completion] = []
        self._put_off = 0  # polls in a row that left what is to be computed for later
        self._front: _Front | None = None  # the sequences of the last forward pass, with keys and values
        self._decodes: list[tuple[_Node, int]] = []  # to be computed next: one token after that row of the front
        self._prefills: list[_Node] = []  # to be computed next: from their first token on
        self.forget()

    # The interface of Model.

    def submit(self, request: Request) -> None:
        if not request.prompt_ids:
            raise ValueError("a prompt has at least one token")
        if request.adapter:
            check_loaded(self._adapters, request.adapter)
        longest = len(request.prompt_ids) + request.sampling.max_tokens
        if self._context is not None and longest > self._context:
            raise ValueError(
                f"a prompt of {len(request.prompt_ids)} tokens with up to {request.sampling.max_tokens} of reply exceeds "
                f"the model's context of {self._context} tokens; lower max_tokens or play a shorter game"
            )
        self._arrivals.append(request)

    @property
    def waiting(self) -> int:
        return len(self._arrivals) + self._active

    @property
    def context(self) -> int | None:
        return self._context

    def poll(self) -> list[Completion]:
        try:
            while self.waiting and not self._done:
                self._admit()
                while self._ready:
                    self._draw()
                if self._done and self._active and self._put_off < PATIENCE:
                    self._put_off += 1  # replies may bring further requests, and what waits be computed together with theirs
                elif self._active:
                    self._compute()
                    self._put_off = 0
        except BaseException:
            self._arrivals.clear()
            self._reset()  # half a step cannot be taken up again; later requests can
            raise
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
        if adapter:
            check_loaded(self._adapters, adapter)
        if not temperature > 0:
            raise ValueError(f"temperature={temperature!r} must be above 0 to score replies")
        rows = [(tuple(prompt), tuple(reply)) for prompt, reply in zip(prompts, replies, strict=True)]
        if not all(prompt for prompt, _ in rows):
            raise ValueError("a prompt has at least one token")
        distinct = sorted(dict.fromkeys(rows), key=lambda row: len(row[0]) + len(row[1]))
        scores: dict[tuple[tuple[int, ...], tuple[int, ...]], list[float]] = {}
        width = max(1, SCORE_LOGITS // self._forward.vocabulary)
        for chunk in _chunks(distinct, [len(prompt) + len(reply) for prompt, reply in distinct], width):
            scores.update(zip(chunk, self._forward.score(chunk, temperature, adapter), strict=True))
        return [list(scores[row]) for row in rows]

    def fingerprint(self) -> dict[str, Any]:
        return {
            "model": self.name,
            "revision": self.revision,
            "dtype": str(next(self.model.parameters()).dtype).removeprefix("torch."),
        }

    def close(self) -> None:
        self._arrivals.clear()
        self._reset()

    # Adapters.

    @property
    def end_ids(self) -> tuple[int, ...]:
        return tuple(sorted(self.eos_token_ids))

    def load_adapter(self, name: str, path: str | Path, version: int = 0) -> None:
        """As in AdapterEngine; the first one wraps the model in place, which needs the package peft.

        Requests in progress with an older version of it go on with the new one over the old keys and values.
        """
        folder = adapter_folder(path)
        if not name or "." in name:
            raise ValueError(f"an adapter's name, {name!r}, must not be empty and has no dot in it")
        if name not in self._adapters and name in getattr(self.model, "peft_config", ()):
            raise ValueError(f"the model has an adapter {name!r} of its own; choose another name")
        try:
            self.model = _with_adapter(self.model, name, folder)
        except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
            raise ValueError(f"the adapter at {str(path)!r} cannot be loaded: {_first_line(error)}") from error
        self._forward = _Forward(self.model, self._own)
        self._adapters[name] = version
        self.forget()

    @property
    def adapters(self) -> dict[str, int]:
        return dict(self._adapters)

    # The steps of poll.

    def _admit(self) -> None:
        if not self._active:
            self._forget_if_weights_changed()
        while self._arrivals and self._active < self.max_batch:
            request = self._arrivals.popleft()
            self._active += 1
            key = (request.adapter, request.prompt_ids)
            root = self._known.get(key)
            if root is None:
                root = self._known[key] = _Node(request.adapter)
            self._stand(_Run(request, root, Chance(request.seed)), None)

    def _forget_if_weights_changed(self) -> None:
        weights = _sample_of_weights(self.model)
        if self._weights is None or not torch.equal(weights, self._weights):
            self.forget()
        self._weights = weights

    def _stand(self, run: "_Run", parent: "_Node | None") -> None:
        """Puts a request to its node; one that is not computed yet is put on the list once."""
        node = run.node
        if node.table is not None:
            self._ready.append(run)
            return
        node.standing.append(run)
        if len(node.standing) > 1:
            return
        if parent is not None and self._front is not None and parent.front is self._front:
            self._decodes.append((node, parent.row_of_front))
        else:
            self._prefills.append(node)

    def _draw(self) -> None:
        """Draws one token for every request that can, and moves it on."""
        groups: dict[tuple[int, float, float, int], list[_Run]] = {}
        for run in self._ready:
            sampling = run.request.sampling
            key = (id(run.node.table), sampling.temperature, sampling.top_p, sampling.top_k)
            groups.setdefault(key, []).append(run)
        self._ready = []
        for runs in groups.values():
            table = runs[0].node.table
            assert table is not None
            draws = [run.chance.uniform("token", len(run.ids)) for run in runs]
            tokens, logprobs = table.draw([run.node.row for run in runs], draws, runs[0].request.sampling)
            for run, token, logprob in zip(runs, tokens, logprobs, strict=True):
                self._move(run, token, logprob)

    def _move(self, run: "_Run", token: int, logprob: float) -> None:
        run.add(token, logprob)
        sampling = run.request.sampling
        if token in self.eos_token_ids or token in sampling.stop_token_ids:
            self._finish(run, "stop")
        elif len(run.ids) >= sampling.max_tokens:
            self._finish(run, "length")
        else:
            parent = run.node
            run.node = parent.children.get(token) or parent.children.setdefault(token, _Node(parent.adapter))
            self._stand(run, parent)

    def _finish(self, run: "_Run", reason: FinishReason) -> None:
        self._active -= 1
        request = run.request
        usage: dict[str, float] = {
            "cached_tokens": len(request.prompt_ids) - run.computed_of_prompt,
            "computed_tokens": run.computed,
        }
        self._done.append(
            Completion(
                request.key,
                request.prompt_ids,
                tuple(run.ids),
                tuple(run.logprobs),
                reason,
                run.spans[0][0],
                usage=usage,
                version_spans=tuple(run.spans) if len(run.spans) > 1 else (),
            )
        )

    def _compute(self) -> None:
        """One forward pass for the sequences one token longer than the front's, and those that new sequences need."""
        fronts: list[_Front] = []
        decodes, self._decodes = self._decodes, []
        prefills, self._prefills = self._prefills, []
        if decodes:
            assert self._front is not None
            rows = [row for _, row in decodes]
            tokens = [node.standing[0].ids[-1] for node, _ in decodes]
            for node, _ in decodes:
                node.standing[0].count(self._forward.tokens_of_decode(node.standing[0].sequence))
            fronts.append(self._forward.decode(self._front, rows, tokens, [node for node, _ in decodes]))
        fronts += self._prefilled([(node, node.standing[0].sequence) for node in prefills])
        for front in fronts:
            self._settle(front)
        self._front = _merged(fronts)

    def _prefilled(self, rows: list["_Row"]) -> list["_Front"]:
        """Forward passes for sequences of which nothing is known, each after the beginning that it shares with others."""
        alike: dict[_Ids, list[_Row]] = {}
        for row in rows:
            alike.setdefault((row[0].adapter, row[1][:STEM_TOKENS]), []).append(row)
        groups: list[tuple[_Stem | None, list[_Row]]] = [(None, [])]
        for beginning, group in alike.items():
            known = self._stems.get(beginning)
            stem = self._stem(beginning, [sequence for _, sequence in group])
            shared = len(stem.ids) if stem else 0
            for node, sequence in group:
                node.standing[0].count(len(sequence) - shared)
            if known is None:
                group[0][0].standing[0].count(shared)
            if stem is None:
                groups[0][1].extend(group)
            else:
                groups.append((stem, group))
        fronts = []
        for stem, group in groups:
            group.sort(key=lambda row: len(row[1]))
            lengths = [len(sequence) - (len(stem.ids) if stem else 0) for _, sequence in group]
            fronts += [self._forward.prefill(chunk, stem) for chunk in _chunks(group, lengths, PREFILL_TOKENS)]
        return fronts

    def _stem(self, beginning: "_Ids", sequences: list[tuple[int, ...]]) -> "_Stem | None":
        """What sequences that begin alike share with each other and with those before them, if it is worth sharing."""
        stem = self._stems.get(beginning)
        if not self._forward.shares_stems or (stem is None and len(sequences) < 2):
            return None
        ids = sequences[0] if stem is None else stem.ids
        shared = min(
            common_prefix(ids, sequence[:-1]) for sequence in sequences
        )  # the last token's logits are wanted of each
        if shared < STEM_TOKENS:
            return None
        if stem is None:
            stem = self._forward.stem(ids[:shared], beginning[0])
        elif shared < len(ids):
            layers = [(keys[:, :, :shared], values[:, :, :shared]) for keys, values in stem.keys_and_values]
            stem = _Stem(ids[:shared], layers)
        self._stems[beginning] = stem
        return stem

    def _settle(self, front: "_Front") -> None:
        """Hands the nodes their distributions and lets their requests go on."""
        table = _Table(front.logits)
        self._kept += 5 * front.logits.numel() * 4  # logits, and log-probabilities and their sums in double precision
        if self._kept > KEPT_BYTES:
            self.forget()
        for row, node in enumerate(front.nodes):
            node.table, node.row = table, row
            node.version = self._adapters[node.adapter] if node.adapter else self._version
            self._ready += node.standing
            node.standing = []


@dataclass(slots=True, eq=False)
class _Node:
    """A distinct sequence: a prompt with the beginning of a reply, under an adapter or none."""

    adapter: str
    table: "_Table | None" = None  # holds its next-token distribution in `row`
    row: int = -1
    version: int = 0  # of the weights that it was computed with
    front: "_Front | None" = None  # the last front that it was part of, in `row_of_front`
    row_of_front: int = -1
    children: dict[int, "_Node"] = field(default_factory=dict)
    standing: "list[_Run]" = field(default_factory=list)  # requests that wait for its distribution


_Ids = tuple[str, tuple[int, ...]]  # an adapter or "", and tokens
_Row = tuple[_Node, tuple[int, ...]]  # a sequence to be computed: where it stands, and its tokens


@dataclass(slots=True, eq=False)
class _Run:
    """A request in progress."""

    request: Request
    node: _Node
    chance: Chance
    computed: int = 0  # tokens that were computed for it; what others had them computed for does not count
    computed_of_prompt: int = 0
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)  # see `Completion.version_spans`; also where there is one

    def add(self, token: int, logprob: float) -> None:
        """Takes a token that was drawn where it stands."""
        self.ids.append(token)
        self.logprobs.append(logprob)
        version = self.node.version
        tokens = self.spans.pop()[1] if self.spans and self.spans[-1][0] == version else 0
        self.spans.append((version, tokens + 1))

    @property
    def sequence(self) -> tuple[int, ...]:
        return (*self.request.prompt_ids, *self.ids)

    def count(self, tokens: int) -> None:
        """Takes note of what is computed for it."""
        self.computed += tokens
        if not self.ids:
            self.computed_of_prompt += tokens


class _Table:
    """Next-token distributions of the sequences of one forward pass. B = sequences, V = vocabulary."""

    def __init__(self, logits_BV: Tensor):
        self._logits_BV = logits_BV
        self._by: dict[tuple[float, float, int], tuple[Tensor, Tensor]] = {}

    def draw(self, rows: list[int], draws: list[float], sampling: Sampling) -> tuple[list[int], list[float]]:
        """Tokens and their log-probabilities: for each request the first token whose cumulated probability exceeds its draw.

        Args:
            rows: sequence of each request.
            draws: uniform, 0 <= draw < 1.
        """
        logp_BV, cdf_BV = self._distribution(sampling)
        used = sorted(set(rows))
        place = {row: number for number, row in enumerate(used)}
        columns: list[list[float]] = [[] for _ in used]
        where = []
        for row, draw in zip(rows, draws, strict=True):
            column = columns[place[row]]
            where.append((place[row], len(column)))
            column.append(draw)
        most = max(map(len, columns))
        padded = [column + [0.0] * (most - len(column)) for column in columns]
        draws_RM = torch.tensor(padded, dtype=torch.float64, device=cdf_BV.device)
        if len(used) < len(cdf_BV):
            index = torch.tensor(used, device=cdf_BV.device)
            logp_BV, cdf_BV = logp_BV[index], cdf_BV[index]
        total_R1 = cdf_BV[:, -1:]
        below_total = torch.nextafter(total_R1, torch.zeros_like(total_R1))  # rounding must not reach past the last token
        point_RM = torch.minimum(draws_RM * total_R1, below_total)
        token_RM = torch.searchsorted(cdf_BV, point_RM, right=True)
        tokens = token_RM.tolist()
        logprobs = logp_BV.gather(1, token_RM).tolist()
        return [tokens[r][m] for r, m in where], [logprobs[r][m] for r, m in where]

    def _distribution(self, sampling: Sampling) -> tuple[Tensor, Tensor]:
        key = (sampling.temperature, sampling.top_p, sampling.top_k)
        if key not in self._by:
            logp_BV = _sampling_logprobs(self._logits_BV, sampling)
            self._by[key] = (logp_BV, logp_BV.exp().cumsum(-1))
        return self._by[key]


def _sampling_logprobs(logits_BV: Tensor, sampling: Sampling) -> Tensor:
    """Log-probabilities that tokens are drawn with, in double precision; -inf for those that cannot be."""
    if sampling.temperature == 0:
        best_B1 = logits_BV.argmax(-1, keepdim=True)
        nothing = torch.full_like(logits_BV, -torch.inf, dtype=torch.float64)
        return nothing.scatter(1, best_B1, 0.0)
    logits_BV = logits_BV.double() / sampling.temperature
    if 0 < sampling.top_k < logits_BV.shape[-1]:
        kept = logits_BV.topk(sampling.top_k).indices
        logits_BV = torch.full_like(logits_BV, -torch.inf).scatter(1, kept, logits_BV.gather(1, kept))
    if sampling.top_p < 1:
        p_BV, order = logits_BV.softmax(-1).sort(descending=True, stable=True)
        beyond = p_BV.cumsum(-1) - p_BV >= sampling.top_p  # the token that crosses the mass is kept
        logits_BV = logits_BV.masked_fill(torch.zeros_like(beyond).scatter(1, order, beyond), -torch.inf)
    return logits_BV.log_softmax(-1)


@dataclass(slots=True, eq=False)
class _Front:
    """Sequences with their keys and values, padded on the left to one length.

    Args:
        nodes: the sequences; B of them.
        lengths: tokens of each, padding excluded.
        keys_and_values: for each layer two tensors [B, heads, longest, head size].
        logits: [B, V], of the last token of each.
    """

    nodes: list[_Node]
    lengths: list[int]
    keys_and_values: list[tuple[Tensor, Tensor]]
    logits: Tensor


@dataclass(slots=True, eq=False)
class _Stem:
    """The beginning of several sequences, with its keys and values (as in `_Front`, one row)."""

    ids: tuple[int, ...]
    keys_and_values: list[tuple[Tensor, Tensor]]


def _merged(fronts: list[_Front]) -> _Front | None:
    """One front of all rows of several."""
    if not fronts:
        return None
    merged = fronts[0]
    if len(fronts) > 1:
        longest = max(max(front.lengths) for front in fronts)
        layers = zip(*(_padded_left(front, longest) for front in fronts), strict=True)
        merged = _Front(
            nodes=[node for front in fronts for node in front.nodes],
            lengths=[length for front in fronts for length in front.lengths],
            keys_and_values=[(torch.cat([k for k, _ in layer]), torch.cat([v for _, v in layer])) for layer in layers],
            logits=merged.logits,  # read by now
        )
    for row, node in enumerate(merged.nodes):
        node.front, node.row_of_front = merged, row
    return merged


def _padded_left(front: _Front, longest: int) -> list[tuple[Tensor, Tensor]]:
    more = longest - max(front.lengths)
    if not more:
        return front.keys_and_values
    return [(pad(keys, (0, 0, more, 0)), pad(values, (0, 0, more, 0))) for keys, values in front.keys_and_values]


class _Forward:
    """Forward passes of a model, in eval mode and without gradients.

    Args:
        own: peft's name for what is used where no adapter is asked for; "" as long as there are no others.
    """

    def __init__(self, model: Any, own: str = ""):
        self._model = model
        self._own = own
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(inner.forward).parameters else {}
        config = model.config.get_text_config() if hasattr(model.config, "get_text_config") else model.config
        self.vocabulary = int(config.vocab_size)
        layers = getattr(config, "layer_types", None) or ["full_attention"]
        self._keeps = set(layers) <= CACHEABLE_LAYERS  # else every token is computed from the first one on
        # After a stem, padding stands in the middle, where a window of attention would count it.
        self.shares_stems = self._keeps and not _uses_windows(config)

    @torch.no_grad()
    def _run(self, *, adapters: Sequence[str], **inputs: Any) -> Any:
        if any(adapters) or self._own == NO_ADAPTER:
            inputs["adapter_names"] = [adapter or self._own for adapter in adapters]
        training = self._model.training
        self._model.eval()
        try:
            return self._model(**inputs)
        finally:
            self._model.train(training)

    def prefill(self, rows: list[_Row], stem: _Stem | None = None) -> _Front:
        """Sequences from their first token on, or from the end of the stem that all of them begin with."""
        known = 0 if stem is None else len(stem.ids)
        lengths = [len(sequence) for _, sequence in rows]
        longest = max(lengths)
        pads = [longest - length for length in lengths]
        ids = [[0] * padding + list(sequence[known:]) for padding, (_, sequence) in zip(pads, rows, strict=True)]
        positions = [[0] * padding + list(range(known, length)) for padding, length in zip(pads, lengths, strict=True)]
        mask = [[1] * known + [0] * padding + [1] * (length - known) for padding, length in zip(pads, lengths, strict=True)]
        cache = DynamicCache() if self._keeps else None
        if stem is not None and cache is not None:
            for layer, (keys, values) in enumerate(stem.keys_and_values):
                cache.update(keys.expand(len(rows), -1, -1, -1), values.expand(len(rows), -1, -1, -1), layer)
        padded = self._tensor(mask) if any(pads) else None
        adapters = [node.adapter for node, _ in rows]
        logits = self._logits(adapters, self._tensor(ids), self._tensor(positions), padded, cache)
        layers = _layers(cache)
        if known and any(pads):
            layers = _padding_first(layers, self._tensor(pads), known)
        return _Front([node for node, _ in rows], lengths, layers, logits)

    def stem(self, ids: tuple[int, ...], adapter: str) -> _Stem:
        cache = DynamicCache()
        self._logits([adapter], self._tensor([list(ids)]), self._tensor([list(range(len(ids)))]), None, cache)
        return _Stem(ids, _layers(cache))

    def tokens_of_decode(self, sequence: Sequence[int]) -> int:
        """What `decode` computes of a sequence."""
        return 1 if self._keeps else len(sequence)

    def decode(self, front: _Front, rows: list[int], tokens: list[int], nodes: list[_Node]) -> _Front:
        if not self._keeps:
            return self.prefill([(node, node.standing[0].sequence) for node in nodes])
        lengths = [front.lengths[row] for row in rows]
        cache = DynamicCache()
        unused = max(front.lengths) - max(lengths)  # columns that are padding in every row that goes on
        index = None if rows == list(range(len(front.lengths))) else self._tensor(rows)
        for layer, (keys, values) in enumerate(front.keys_and_values):
            if index is not None:
                keys, values = keys[:, :, unused:].index_select(0, index), values[:, :, unused:].index_select(0, index)
            cache.update(keys, values, layer)
        positions = self._tensor([[length] for length in lengths])
        longer = [length + 1 for length in lengths]
        mask = self._mask(longer, max(longer))
        adapters = [node.adapter for node in nodes]
        logits = self._logits(adapters, self._tensor([[token] for token in tokens]), positions, mask, cache)
        return _Front(nodes, longer, _layers(cache), logits)

    def _logits(
        self, adapters: list[str], ids: Tensor, positions: Tensor, mask: Tensor | None, cache: DynamicCache | None
    ) -> Tensor:
        output = self._run(
            adapters=adapters,
            input_ids=ids,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=cache is not None,
            **self._last_only,
        )
        logits: Tensor = output.logits[:, -1].float()
        return logits

    def score(
        self, rows: Sequence[tuple[tuple[int, ...], tuple[int, ...]]], temperature: float, adapter: str
    ) -> list[list[float]]:
        """Log-probabilities of each row's reply after its prompt, padded on the right, without keeping keys and values."""
        sequences = [prompt + reply for prompt, reply in rows]
        longest = max(map(len, sequences))
        ids = self._tensor([list(sequence) + [0] * (longest - len(sequence)) for sequence in sequences])
        positions = self._tensor([list(range(longest))] * len(rows))
        mask = self._tensor([[1] * len(sequence) + [0] * (longest - len(sequence)) for sequence in sequences])
        adapters = [adapter] * len(rows)
        logits = self._run(
            adapters=adapters, input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False
        ).logits
        scores = []
        for row, (prompt, reply) in enumerate(rows):
            # The logits after token i tell of token i + 1.
            logits_TV = logits[row, len(prompt) - 1 : len(prompt) - 1 + len(reply)].double() / temperature
            logp_TV = logits_TV.log_softmax(-1)
            scores.append(logp_TV.gather(1, self._tensor(reply, (-1, 1))).squeeze(1).tolist())
        return scores

    def _mask(self, lengths: list[int], longest: int) -> Tensor | None:
        if min(lengths) == longest:
            return None
        return self._tensor([[0] * (longest - length) + [1] * length for length in lengths])

    def _tensor(self, values: Any, shape: tuple[int, ...] | None = None) -> Tensor:
        tensor = torch.tensor(values, dtype=torch.long, device=next(self._model.parameters()).device)
        return tensor if shape is None else tensor.reshape(shape)


def _with_adapter(model: Any, name: str, folder: Path) -> Any:
    """The model with an adapter loaded, in place of an older one of that name."""
    try:
        from peft import PeftModel
    except ImportError as error:
        raise ValueError("adapters need the package peft: pip install 'lmgames[train]'") from error
    if not hasattr(model, "peft_config"):
        training = model.training
        flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
        with peft_at_work():
            wrapped = PeftModel.from_pretrained(model, folder, adapter_name=name).train(training)
        for parameter, flag in flags:  # peft freezes the base
            parameter.requires_grad_(flag)
        return wrapped
    if name in model.peft_config:
        model.delete_adapter(name)
    model.load_adapter(folder, adapter_name=name, is_trainable=False)
    return model


def _uses_windows(config: Any) -> bool:
    layers = getattr(config, "layer_types", None)
    return set(layers) != {"full_attention"} if layers else getattr(config, "sliding_window", None) is not None


def _padding_first(layers: list[tuple[Tensor, Tensor]], pads_B: Tensor, known: int) -> list[tuple[Tensor, Tensor]]:
    """Moves the padding from behind the first `known` tokens to the front of each row."""
    keys, _ = layers[0]
    place_1L = torch.arange(keys.shape[2], device=keys.device)[None]
    unpadded_BL = place_1L - pads_B[:, None]
    source_BL = torch.where(unpadded_BL < known, unpadded_BL.clamp(min=0), place_1L)  # padding may hold anything
    return [tuple(kept.gather(2, source_BL[:, None, :, None].expand_as(kept)) for kept in layer) for layer in layers]


def _layers(cache: DynamicCache | None) -> list[tuple[Tensor, Tensor]]:
    return [] if cache is None else [(layer.keys, layer.values) for layer in cache.layers]


def _chunks(items: list[Any], lengths: list[int], tokens: int) -> list[list[Any]]:
    """Consecutive items, sorted by length, of at most `tokens` tokens with padding; a longer one goes alone."""
    chunks: list[list[Any]] = []
    for item, length in zip(items, lengths, strict=True):
        if not chunks or (len(chunks[-1]) + 1) * length > tokens:
            chunks.append([])
        chunks[-1].append(item)
    return chunks


@torch.no_grad()
def _sample_of_weights(model: Any) -> Tensor:
    """Some elements of each parameter: equal if no training step was taken in between."""
    parts = []
    for parameter in model.parameters():
        flat = parameter.to_local() if hasattr(parameter, "to_local") else parameter
        flat = flat.detach().flatten()
        parts.append(flat[:: max(1, flat.numel() // PROBED)].float())
    return torch.cat(parts).cpu()


def _eos(model: Any, tokenizer: Any) -> set[int]:
    stated = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ids = {stated} if isinstance(stated, int) else set(stated or ())
    return ids | ({tokenizer.eos_token_id} if getattr(tokenizer, "eos_token_id", None) is not None else set())


def _context(config: Any) -> int | None:
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    return getattr(config, "max_position_embeddings", None)


_loaded: "weakref.WeakValueDictionary[tuple[Any, ...], HFModel]" = weakref.WeakValueDictionary()


def load(
    path: str, *, dtype: str = "auto", device: str | None = None, max_batch: int | None = None, revision: str | None = None
) -> HFModel:
    """A model from a folder or from the hub. The same one is loaded once, however many agents use it.

    Args:
        path: a folder that `save_pretrained` wrote, or a name on the hub.
        dtype: "auto" (as it was saved), "float32", "bfloat16", "float16".
        device: "cpu", "cuda", "cuda:1", ...; None takes a GPU if there is one.
        max_batch: see HFModel.
        revision: of a model on the hub.

    Raises:
        ValueError: if there is no such model, saying what to do.
    """
    key = (path, dtype, device, max_batch, revision)
    model = _loaded.get(key)
    if model is None:
        model = _loaded[key] = _load(path, dtype, device, max_batch, revision)
    return model


def check_target(path: str) -> None:
    """Refuses what is a folder's name by its looks where there is no such folder; nothing is loaded.

    Raises:
        ValueError: saying what to do.
    """
    if not Path(path).expanduser().is_dir() and (path.startswith((".", "/", "~")) or path.count("/") > 1):
        raise ValueError(
            f"no model at {path!r}: there is no such folder. Save one there with model.save_pretrained(...) "
            "and tokenizer.save_pretrained(...), or give a name on the hub such as 'Qwen/Qwen3-0.6B'"
        )


def _load(path: str, dtype: str, device: str | None, max_batch: int | None, revision: str | None) -> HFModel:
    if dtype not in ("auto", "float32", "bfloat16", "float16"):
        raise ValueError(f"dtype={dtype!r} is not one of 'auto', 'float32', 'bfloat16', 'float16'")
    check_target(path)
    folder = Path(path).expanduser()
    name = str(folder) if folder.is_dir() else path
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
        if (folder / "adapter_config.json").is_file():
            model = _adapted(folder, dtype)
        else:
            model = AutoModelForCausalLM.from_pretrained(name, dtype=dtype, revision=revision)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"model {path!r} cannot be loaded: {_first_line(error)}. If it is a folder, both model.save_pretrained and "
            "tokenizer.save_pretrained must have written to it; if it is a name on the hub, download it while there is a "
            "network, or give the folder that it was downloaded to"
        ) from error
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    loaded = HFModel(model, tokenizer, max_batch=max_batch, device=device)
    loaded.name = path if revision is None else f"{path}@{revision}"
    loaded.revision = revision_of(path, model.config)
    gc.collect()  # the loader leaves cycles that hold copies of the weights
    return loaded


def _adapted(folder: Path, dtype: str) -> Any:
    """The model of a folder that peft wrote: the base that it names, with the adapter on it."""
    base = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8")).get("base_model_name_or_path")
    if not base:
        raise ValueError("its adapter_config.json names no base model")
    model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    return _with_adapter(model, "default", folder)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def make_agent(
    path: str,
    *,
    dtype: str = "auto",
    device: str | None = None,
    max_batch: int | None = None,
    adapter: str | None = None,
    revision: str | None = None,
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int = 0,
    max_tokens: int = 256,
    thinking: bool | None = None,
    system: str | None = None,
) -> Agent:
    """The agent of the spec `hf:PATH,temperature=0.7,...`; options as in `load`, `Sampling` and `ModelAgent`.

    `adapter` is the folder of a LoRA adapter; agents with different ones share the model below.
    """
    sampling = Sampling(temperature=temperature, top_p=top_p, top_k=top_k, max_tokens=max_tokens)
    model: Model = load(path, dtype=dtype, device=device, max_batch=max_batch, revision=revision)
    if adapter is not None:
        assert isinstance(model, HFModel)
        name = adapter_name(adapter)
        if name not in model.adapters:  # another agent may have loaded it
            model.load_adapter(name, adapter)
        model = model.with_adapter(name)
    return ModelAgent(model, sampling=sampling, thinking=thinking, system=system)
