"""Forward passes: what a causal language model predicts at the tokens that matter, without a tensor of rows x length x vocabulary.

A model is called up to its output layer, for the tokens that predict a reply's alone; log-probabilities, entropies and KLs are then
taken over parts of the vocabulary's logits that are computed again in the backward pass.

U = distinct rows, R = tokens of the longest reply, P = tokens that predict one, D = width of the model, V = vocabulary.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from training import loss as losses
from training.prefixes import make_tree, tree_attention
from training.samples import Batch

LOGITS = 1 << 25  # of one part: 128 MiB in fp32, a few such tensors at a time
TOLERANCE, TOLERANCE_16_BIT = 1e-4, 0.05  # of logits, as a share of their largest


@dataclass(frozen=True, slots=True)
class Predictions:
    """Of a batch; 0 where a reply has no token.

    Args:
        logp_UR: of each reply token, nats.
        entropy_UR: of the distribution that it was drawn from, nats.
        kl_UR: of that distribution to the reference's, nats; None without one.
    """

    logp_UR: Tensor
    entropy_UR: Tensor
    kl_UR: Tensor | None


class Network:
    """A model as the learner calls it.

    Args:
        model: a causal language model of transformers, bare or wrapped by peft.
        share: compute beginnings that rows share once, if the model can. Whether it can is tried here, on a few tokens.
        around: what each forward pass runs inside of: an adapter switched on, autocast.
        like: a network of the same kind of model, whose tries hold for this one, too.
    """

    def __init__(
        self,
        model: Any,
        *,
        share: bool = True,
        around: Callable[[], AbstractContextManager[Any]] = nullcontext,
        like: "Network | None" = None,
    ):
        self.model = model
        self.around = around
        self._inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        head = self._inner.get_output_embeddings()
        assert head is not None, "a causal language model has an output layer"
        self._output: nn.Module = head
        if like is not None:
            self._ends_with_output: bool = like._ends_with_output
            self.why_not: str = like.why_not
            return
        # Some models scale or bound the logits after their output layer; of those the logits are taken as they come.
        self._ends_with_output = "logits_to_keep" in inspect.signature(self._inner.forward).parameters
        self._ends_with_output = self._ends_with_output and self._try_output()
        self.why_not = self._try_sharing() if share else "switched off"
        """Why beginnings are not shared; "" if they are."""

    @property
    def shares(self) -> bool:
        """Whether batches are laid out as trees."""
        return not self.why_not

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @contextmanager
    def passes(self) -> Iterator[None]:
        """Forward passes and the backward passes that follow from them belong inside."""
        with tree_attention(self.model) if self.shares else nullcontext():
            yield
        if hasattr(self.model, "reshard"):  # a sharded model's output layer was left whole for `logits`
            self.model.reshard()

    def hidden(self, batch: Batch) -> Tensor:
        """What the output layer reads at each token that predicts one; shape [P, D]. Or the logits, where they do not end in it."""
        with self.around():
            return self._hidden(batch.layout.inputs(), batch.keep_P)

    def _hidden(self, inputs: dict[str, Any], keep_P: Tensor) -> Tensor:
        rows, columns = inputs["input_ids"].shape
        if not self._ends_with_output:
            logits: Tensor = self.model(**inputs).logits
            return logits.flatten(0, 1)[keep_P]
        if rows == 1:
            with _skipped(self._output):
                one_row: Tensor = self.model(**inputs, logits_to_keep=keep_P).logits
            return one_row[0]
        first = int(keep_P.remainder(columns).min()) if len(keep_P) else 0
        with _skipped(self._output):
            last: Tensor = self.model(**inputs, logits_to_keep=columns - first).logits
        places_P = keep_P // columns * (columns - first) + keep_P % columns - first
        return last.flatten(0, 1)[places_P]

    def logits(self, hidden_PD: Tensor) -> Tensor:
        """What the model makes of `hidden`, fp32; shape [P, V]."""
        if not self._ends_with_output:
            return hidden_PD.float()
        with self.around():
            logits: Tensor = self._output(hidden_PD)
        return logits.float()

    @torch.no_grad()
    def _try_output(self) -> bool:
        ids = self._some_ids(5)[None]
        training = self.model.training
        self.model.eval()
        try:
            with self.around():
                plain = self.model(input_ids=ids, use_cache=False).logits[0, 2:]
                with _skipped(self._output):
                    hidden_PD = self.model(input_ids=ids, use_cache=False, logits_to_keep=3).logits[0]
                found = self._output(hidden_PD) if hidden_PD.shape[0] == 3 else hidden_PD
        except (RuntimeError, ValueError, TypeError):
            return False
        finally:
            self.model.train(training)
        return found.shape == plain.shape and self._close(found, plain)

    @torch.no_grad()
    def _try_sharing(self) -> str:
        config = self.model.config.get_text_config()
        kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention"}
        if kinds or (not hasattr(config, "layer_types") and getattr(config, "sliding_window", None) is not None):
            return f"its layers look back in another way ({', '.join(sorted(kinds)) or 'sliding window'})"
        if config._attn_implementation not in ("sdpa", "eager"):
            return f"its attention is {config._attn_implementation!r}; load it with 'sdpa' or 'eager'"
        ids = tuple(self._some_ids(8).tolist())
        sequences = [ids[:6], ids[:3] + ids[5:], (ids[0], ids[7])]
        tree, paths = make_tree(sequences, self.device)
        training = self.model.training
        self.model.eval()
        try:
            with self.around(), tree_attention(self.model):
                found_MV = self.model(**tree.inputs()).logits[0]
            with self.around():
                alone = [self.model(input_ids=self._tensor([each]), use_cache=False).logits[0] for each in sequences]
        except (NotImplementedError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            return f"its attention cannot be replaced ({str(error).splitlines()[0]})"
        finally:
            self.model.train(training)
        if not all(self._close(found_MV[path], plain) for path, plain in zip(paths, alone, strict=True)):
            return "a token's prediction depends on more than the tokens before it and its position"
        return ""

    def _close(self, found: Tensor, plain: Tensor) -> bool:
        tolerance = TOLERANCE_16_BIT if torch.finfo(plain.dtype).bits == 16 else TOLERANCE
        return float((found.float() - plain.float()).abs().max()) <= tolerance * float(plain.abs().max())

    def _some_ids(self, count: int) -> Tensor:
        vocabulary = int(self.model.config.get_text_config().vocab_size)
        return self._tensor([vocabulary * (number + 1) // (count + 2) for number in range(count)])

    def _tensor(self, values: Any) -> Tensor:
        return torch.tensor(values, device=self.device)


@contextmanager
def _skipped(module: nn.Module) -> Iterator[None]:
    """Inside, the module gives back what it is given."""
    before = module.__dict__.get("forward")
    module.__dict__["forward"] = lambda given: given
    try:
        yield
    finally:
        if before is None:
            del module.__dict__["forward"]
        else:
            module.__dict__["forward"] = before


def predict(
    network: Network, batch: Batch, *, reference: Network | None = None, entropy_learns: bool = False
) -> Predictions:
    """Log-probabilities and entropies of a batch's replies, and the KL to another network.

    Args:
        entropy_learns: give the entropy a gradient.
    """
    hidden_PD = network.hidden(batch)
    with torch.no_grad():
        reference_PD = None if reference is None else reference.hidden(batch)
    pairs_K2 = batch.is_reply_UR.nonzero()
    point_K = batch.point_UR[pairs_K2[:, 0], pairs_K2[:, 1]]
    order_K = point_K.argsort(stable=True)
    point_K, token_K = point_K[order_K], batch.reply_ids_UR[pairs_K2[:, 0], pairs_K2[:, 1]][order_K]

    def part(hidden_pD: Tensor, reference_pD: Tensor | None, point_k: Tensor, token_k: Tensor) -> tuple[Tensor, ...]:
        logp_pV = network.logits(hidden_pD).log_softmax(-1)
        with torch.set_grad_enabled(torch.is_grad_enabled() and entropy_learns):
            entropy_p = losses.token_entropy(logp_pV)
        found = (logp_pV[point_k, token_k], entropy_p)
        if reference_pD is None:
            return found
        assert reference is not None
        with torch.no_grad():
            reference_pV = reference.logits(reference_pD).log_softmax(-1)
        return (*found, losses.full_kl(logp_pV, reference_pV))

    points = len(hidden_PD)
    size = max(1, LOGITS // _vocabulary(network))
    starts = list(range(0, points, size))
    bounds = torch.searchsorted(point_K, torch.tensor([*starts, points], device=point_K.device)).tolist()
    columns = []
    for number, start in enumerate(starts):
        mine = slice(bounds[number], bounds[number + 1])
        arguments = (
            hidden_PD[start : start + size],
            None if reference_PD is None else reference_PD[start : start + size],
            point_K[mine] - start,
            token_K[mine],
        )
        # One part alone is kept for the backward pass: there is nothing to gain.
        again = len(starts) > 1 and torch.is_grad_enabled()
        columns.append(checkpoint(part, *arguments, use_reentrant=False) if again else part(*arguments))
    logp_K, entropy_P, *kl = (torch.cat(column) for column in zip(*columns, strict=True))
    place_K = pairs_K2[order_K, 0] * batch.is_reply_UR.shape[1] + pairs_K2[order_K, 1]
    logp_UR = logp_K.new_zeros(batch.is_reply_UR.numel()).scatter(0, place_K, logp_K).view_as(batch.is_reply_UR)
    return Predictions(
        logp_UR,
        entropy_P[batch.point_UR] * batch.is_reply_UR,
        kl[0][batch.point_UR] * batch.is_reply_UR if kl else None,
    )


def _vocabulary(network: Network) -> int:
    return int(network.model.config.get_text_config().vocab_size)
