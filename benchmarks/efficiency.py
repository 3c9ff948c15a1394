"""Rollout efficiency: how fast self-play gets its tokens out of an engine, against the engine by itself.

    python -m benchmarks.efficiency                                   the fake engine and transformers
    python -m benchmarks.efficiency --engine vllm                     where vLLM is installed
    python -m benchmarks.efficiency --engine fake --at-once 1024      1,024 games at once in one process

Self-play and the bare engine alternate in one run. The bare engine is given the very requests of the games, prompt, sampling and
seed, as a plain queue, and computes as many sequences at once; so both give the same replies. Efficiency is the ratio of their
completion tokens per second; the environments' share is the part of the time of self-play outside the engine.

The fake engine does not wait: its waits are added to the CPU time of the process, so that its figures are those of a processor that
does nothing else, on any machine. The other engines are measured by wall time, and by CPU time beside it.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from agents.model_agent import ModelAgent
from agents.models.fake import FakeModel
from agents.models.model import Completion, Model, Request, Sampling
from agents.play import Match, run_matches
from lmgames.registry import make

FAKE_REPLIES = {"[check]": 1.0, "[bet]": 1.0, "[call]": 1.0, "[fold]": 1.0}
FAKE_LATENCY_S = 0.02  # a token; what a model of some billions of parameters takes
ENGINES = ("fake", "hf", "vllm")


class AddedWaits:
    """A clock of CPU time, on which waits take no time of the machine's."""

    def __init__(self) -> None:
        self._waited = 0.0

    def now(self) -> float:
        return time.process_time() + self._waited

    def sleep(self, seconds: float) -> None:
        self._waited += seconds


class Meter(Model):
    """A model that notes what it is asked for and the seconds spent in it, by the clock `now`."""

    def __init__(self, model: Model, now: Callable[[], float]):
        self._model = model
        self._now = now
        self.tokenizer = model.tokenizer
        self.reset()

    def reset(self) -> None:
        self.seconds = 0.0
        self.tokens = 0
        self.requests: list[Request] = []

    def submit(self, request: Request) -> None:
        began = self._now()
        self._model.submit(request)
        self.seconds += self._now() - began
        self.requests.append(request)

    def poll(self) -> list[Completion]:
        began = self._now()
        done = self._model.poll()
        self.seconds += self._now() - began
        self.tokens += sum(len(completion.ids) for completion in done)
        return done

    @property
    def waiting(self) -> int:
        return self._model.waiting

    def score(self, *arguments: Any, **options: Any) -> list[list[float]]:
        return self._model.score(*arguments, **options)


@dataclass(frozen=True)
class Round:
    """Self-play, and the bare engine with the same requests."""

    tokens: int
    self_play_s: float
    bare_s: float
    in_engine_s: float  # of self_play_s
    replies: int
    self_play_cpu_s: float  # of the process; steadier than wall time where an engine computes and others use the machine
    bare_cpu_s: float

    @property
    def cpu_efficiency(self) -> float:
        return self.bare_cpu_s / self.self_play_cpu_s

    @property
    def efficiency(self) -> float:
        return self.bare_s / self.self_play_s

    @property
    def env_share(self) -> float:
        return 1 - self.in_engine_s / self.self_play_s


def measure(
    model: Model,
    env_id: str,
    *,
    games: int,
    at_once: int,
    max_tokens: int,
    seed: int = 0,
    now: Callable[[], float] = time.perf_counter,
) -> Round:
    """One round, timed by the clock `now`. The model forgets between the two what it knows of the prompts, where it can."""
    meter = Meter(model, now)
    agent = ModelAgent(meter, sampling=Sampling(max_tokens=max_tokens))
    seats = make(env_id).possible_agents
    matches = (Match(env_id, seed + number, dict.fromkeys(seats, agent)) for number in range(games))
    _forget(model)
    began, cpu_began = now(), time.process_time()
    for _ in run_matches(matches, concurrency=at_once):
        pass
    self_play_s, self_play_cpu_s = now() - began, time.process_time() - cpu_began
    _forget(model)
    began, cpu_began = now(), time.process_time()
    tokens = bare(model, meter.requests, at_once)
    bare_s, bare_cpu_s = now() - began, time.process_time() - cpu_began
    assert tokens == meter.tokens, "the same requests give the same replies"
    return Round(tokens, self_play_s, bare_s, meter.seconds, len(meter.requests), self_play_cpu_s, bare_cpu_s)


def bare(model: Model, requests: Sequence[Request], at_once: int) -> int:
    """Completion tokens of requests, of which `at_once` are submitted or in progress at any time."""
    left = iter([replace(request, key=number) for number, request in enumerate(requests)])
    tokens = 0
    for request in islice(left, at_once):
        model.submit(request)
    while model.waiting:
        for completion in model.poll():
            tokens += len(completion.ids)
            following = next(left, None)
            if following is not None:
                model.submit(following)
    return tokens


def _forget(model: Model) -> None:
    forget: Callable[[], None] = getattr(model, "forget", lambda: None)
    forget()


def make_model(engine: str, path: str | None, live: int, latency_s: float) -> tuple[Model, Callable[[], float]]:
    """The engine to be measured, and by which clock; without a path, a small model with random weights."""
    if engine == "fake":
        clock = AddedWaits()
        model = FakeModel(FAKE_REPLIES, latency_s=latency_s, max_batch=live, clock=clock.now, sleep=clock.sleep)
        return model, clock.now
    folder = path or _random_model()
    if engine == "hf":
        from agents.models.hf import load as load_hf

        return load_hf(folder, dtype="float32", max_batch=live), time.perf_counter
    from agents.models.vllm import load as load_vllm

    return load_vllm(folder, dtype="float32", max_batch=live, seeded=True), time.perf_counter


def _random_model() -> str:
    from training.tiny import make_model as make_tiny
    from training.tiny import make_tokenizer

    folder = tempfile.mkdtemp(prefix="lmgames-")
    env = make("KuhnPoker-v0")
    env.reset(seed=0)
    observed: Any = env.observe(env.agents[0])
    tokenizer = make_tokenizer([observed["text"]] * 4)
    make_tiny(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.efficiency", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", nargs="+", choices=ENGINES, default=["fake", "hf"])
    parser.add_argument("--model", help="a folder or a name on the hub; without it a small model with random weights")
    parser.add_argument("--game", default="lmgames/KuhnPoker-v0")
    parser.add_argument("--live", type=int, default=128, help="sequences that the engine computes at once (128)")
    parser.add_argument(
        "--at-once", type=int, help="games at once; by default twice as many, so that the engine is never short"
    )
    parser.add_argument("--games", type=int, help="of one round; by default eight times as many")
    parser.add_argument("--max-tokens", type=int, default=32, help="longest reply (32)")
    parser.add_argument("--latency", type=float, default=FAKE_LATENCY_S, help="of the fake engine, seconds a token")
    parser.add_argument("--rounds", type=int, default=3, help="after one that is not counted (3)")
    known = parser.parse_args(arguments)
    games = known.games or 8 * known.live
    at_once = known.at_once or 2 * known.live
    print(f"{known.game}: {games} games, {at_once} at once, over {known.live} live sequences")
    print(f"medians (least, most) of {known.rounds} rounds")
    for engine in known.engine:
        model, now = make_model(engine, known.model, known.live, known.latency)
        print(f"{engine}: {_line(model, now, known, games, at_once)}", flush=True)
    return 0


def _line(model: Model, now: Callable[[], float], known: argparse.Namespace, games: int, at_once: int) -> str:
    limits: dict[str, Any] = {"at_once": at_once, "max_tokens": known.max_tokens, "now": now}
    measure(model, known.game, games=min(games, known.live), **limits)  # imports, caches and threads
    rounds = [measure(model, known.game, games=games, seed=number * games, **limits) for number in range(known.rounds)]
    parts = [f"efficiency {_spread([one.efficiency for one in rounds])}"]
    if not isinstance(model, FakeModel):
        parts.append(f"by CPU time {_spread([one.cpu_efficiency for one in rounds])}")
    self_play = statistics.median(one.tokens / one.self_play_s for one in rounds)
    by_itself = statistics.median(one.tokens / one.bare_s for one in rounds)
    parts.append(f"{self_play:,.0f} tokens/s in self-play, {by_itself:,.0f} bare")
    parts.append(f"{sum(one.tokens for one in rounds) / sum(one.replies for one in rounds):.1f} tokens a reply")
    parts.append(f"environments {statistics.median(one.env_share for one in rounds):.1%} of the time")
    return "; ".join(parts)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f}, {max(values):.3f})"


if __name__ == "__main__":
    sys.exit(main())
