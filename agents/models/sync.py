"""Proof that an engine samples with the weights that the trainer holds: a probe after every sync.

    engine.load_weights(module.state_dict().items(), version)
    sync.verify(engine, HFModel(module, tokenizer))

A sync can fail without an error: a layer that keeps its old weights, keys and values cached from before, an adapter that was
not read again. So the probe goes the way that games go, through the engine's sampling and its caches.
"""

import random
from collections.abc import Sequence

from agents.models.model import Completion, Model, Request, Sampling

TOLERANCE = 1e-3  # nats, in fp32
TOLERANCE_16_BIT = 0.05  # nats, in bfloat16 and float16
PROBE_LENGTHS = (1, 8, 32, 160, 160, 40, 24, 16)  # tokens; 160 is more than a block of vLLM's cache, 128 on CPU
PROBE_REPLY = 32  # tokens


class SyncError(RuntimeError):
    """The engine does not sample with the trainer's weights."""


def probe(vocabulary: int, *, context: int | None = None, seed: int = 0) -> list[Request]:
    """Requests with random prompts, the same every time, so that what an engine has cached of them comes to light.

    Args:
        vocabulary: tokens of the model.
        context: longest prompt and reply together, tokens; None for no limit.
        seed: of the prompts.
    """
    draws = random.Random(seed)
    longest = max(PROBE_LENGTHS) if context is None else min(max(PROBE_LENGTHS), context - PROBE_REPLY)
    if longest < 1:
        raise ValueError(f"context={context!r} must be more than {PROBE_REPLY} tokens")
    sampling = Sampling(max_tokens=PROBE_REPLY)
    return [
        Request(number, tuple(draws.randrange(vocabulary) for _ in range(min(length, longest))), sampling, number)
        for number, length in enumerate(PROBE_LENGTHS)
    ]


def verify(
    engine: Model, trainer: Model, *, tolerance: float = TOLERANCE, requests: Sequence[Request] | None = None
) -> float:
    """Has the engine reply to the probe, and the trainer score the replies.

    Args:
        engine: what games are played with; no request may wait.
        trainer: the weights as they should be, e.g. `HFModel(module, tokenizer)`.
        tolerance: largest difference of a token's log-probability, nats.
        requests: other ones than the probe.

    Returns:
        The largest difference.

    Raises:
        SyncError: if it exceeds the tolerance.
        RuntimeError: if the engine failed.
    """
    requests = probe(len(engine.tokenizer), context=engine.context) if requests is None else requests
    return compare(engine.generate(requests), trainer, tolerance=tolerance, version=engine.version)


def compare(replies: Sequence[Completion], trainer: Model, *, tolerance: float, version: int) -> float:
    """As `verify`, with replies that an engine gave to the probe, drawn at temperature 1.

    Args:
        version: of the engine's weights, as it says.
    """
    differences = [0.0]
    for completion in replies:
        if completion.finish_reason == "error":
            raise RuntimeError(f"the engine failed on the probe: {completion.error}")
        (expected,) = trainer.score([completion.prompt_ids], [completion.ids])
        pairs = zip(completion.logprobs, expected, strict=True)
        differences += [abs(sampled - scored) for sampled, scored in pairs]
    difference = max(differences)
    if not all(found <= tolerance for found in differences):  # also where one is not a number
        raise SyncError(
            f"the engine's log-probabilities differ from the trainer's by up to {difference:.3g} nats (tolerance {tolerance:g}) "
            f"at version {version}: weights were not sent, arrived in part, or old keys and values are in use. Send "
            "them again; for 16-bit weights give tolerance=0.05"
        )
    return difference
