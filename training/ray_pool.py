"""Sampling on Ray actors: each holds an engine and plays whole games, which are sent to it as they stand in a schedule.

Games come back as if they had been played here: what happens in one depends on its seeds and on the weights alone, not on who
plays it. An actor that dies is restarted by Ray, gets the weights again and plays its games again from their seeds.

A machine of the cluster needs this package and, where the pool has snapshots, the run's folder under the same path.
"""

import math
import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from agents.agent import Agent, Observation, Reply
from agents.model_agent import ModelAgent
from agents.models import sync
from agents.models.hf import HFModel
from agents.models.model import Completion, Model, Request, Sampling
from agents.play import Episode, Failure, Match, MatchError, Step
from agents.play import run_matches as play_here
from agents.specs import make_agent
from lmgames.records import GameRecord
from training import weights
from training.config import Config
from training.distributed import ALONE, World, device_of
from training.sampler import Sampler, make_sampler

PLACED_S = 120.0  # seconds, until a run that waits for its actors says so
RESTARTS = 20  # of an actor, before a run stops


class Elsewhere(Model):
    """Weights in the actors. It sits in the seats of a schedule and cannot be asked here.

    Args:
        tokenizer: of the model.
        folder: of saved weights; None for those in training.
    """

    def __init__(self, tokenizer: Any, folder: Path | None = None):
        self.tokenizer = tokenizer
        self.folder = folder

    def submit(self, request: Request) -> None:
        raise RuntimeError("this model is held by Ray actors: play with the `play` of its sampler")

    def poll(self) -> list[Completion]:
        return []

    @property
    def waiting(self) -> int:
        return 0

    def score(self, *_: Any, **__: Any) -> list[list[float]]:
        raise RuntimeError("this model is held by Ray actors, which only play; score with the module in training")


class Named(Agent):
    """A fixed player that the actors make."""

    def __init__(self, spec: str):
        self.spec = spec

    def act(self, observations: Sequence[Observation], /) -> Sequence[Reply]:
        raise RuntimeError(f"{self.spec!r} is held by Ray actors: play with the `play` of its sampler")


@dataclass(frozen=True, slots=True)
class Seated:
    """Who sits in a seat, in words that another process understands.

    Args:
        spec: of an agent that `make_agent` makes; "" for a model.
        folder: of its weights; "" for those in training.
        sampling, system, thinking: as in ModelAgent.
    """

    spec: str = ""
    folder: str = ""
    sampling: Sampling | None = None
    system: str | None = None
    thinking: bool | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A game to be played, by the fields of `Match`."""

    env_id: str
    seed: int
    seats: Mapping[str, Seated]
    options: Mapping[str, Any]
    instance: Any


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a job: an episode, or in which seat it failed and why."""

    record: GameRecord | None = None
    steps: tuple[Step, ...] = ()
    returns: Mapping[str, float] | None = None
    failed_in: str | None = None
    error: Exception | None = None


class Player:
    """What runs in an actor: an engine, and games on it.

    Args:
        config: settings of the run.
        folder: of the run.
        start: (module, tokenizer) at the start of the run.
    """

    def __init__(self, config: Config, folder: Path, start: tuple[nn.Module, Any]):
        module, tokenizer = start
        own_device = device_of("auto" if config.ray_gpus and config.ray_engine == "hf" else "cpu")
        self.module = module.to(own_device)
        here = replace(
            config,
            sampler="vllm" if config.ray_engine == "vllm" else "module",
            ray_actors=0,
            ray_engine="hf",
            verify_every=0,
            mode="sync",  # when games are played is decided by who asks for them
            carry_over=False,
            max_staleness=1,
            queue_batches=1,
        )
        own = folder / "actors" / _ray().get_runtime_context().get_actor_id()
        self.sampler = make_sampler(here, self.module, tokenizer, own, World(device=own_device))
        self._published = -1
        self._agents: dict[Seated, Agent] = {}

    def process(self) -> int:
        """Its number on its machine."""
        return os.getpid()

    def play(self, number: int, version: int, sent: list[Any], jobs: list[Job], concurrency: int) -> list[Played]:
        """What came of each job, in their order.

        Args:
            number: of the publication that the games are to be played with.
            version: of its weights.
            sent: one Ray reference to them.
        """
        self._load(number, version, sent)
        matches = [
            Match(
                job.env_id, job.seed, {seat: self._agent(who) for seat, who in job.seats.items()}, job.options, job.instance
            )
            for job in jobs
        ]
        places = {id(match): place for place, match in enumerate(matches)}
        found: list[Played] = [Played()] * len(jobs)
        left = deque(matches)
        while left:  # no match is drawn after a failure; those that are left are as good as ever
            try:
                for episode in play_here(_drawn(left), concurrency=concurrency):
                    found[places[id(episode.match)]] = Played(episode.record, episode.steps, episode.returns)
            except MatchError as error:
                for failure in error.failures:
                    found[places[id(failure.match)]] = Played(failed_in=failure.seat, error=_picklable(failure.error))
        return found

    def complete(self, number: int, version: int, sent: list[Any], requests: list[Request]) -> list[Completion]:
        """Replies to a probe."""
        self._load(number, version, sent)
        return self.sampler.model.generate(requests)

    def _load(self, number: int, version: int, sent: list[Any]) -> None:
        if number == self._published:
            return
        targets = dict(self.module.named_parameters())
        with torch.no_grad():
            for name, tensor in _ray().get(sent[0]).items():
                targets[name].copy_(tensor)
        self.sampler.publish(self.module, version)
        self._published = number

    def _agent(self, who: Seated) -> Agent:
        if who not in self._agents:
            self._agents[who] = make_agent(who.spec) if who.spec else self._model_agent(who)
        return self._agents[who]

    def _model_agent(self, who: Seated) -> ModelAgent:
        model = self.sampler.frozen(Path(who.folder)) if who.folder else self.sampler.model
        return ModelAgent(model, sampling=who.sampling, system=who.system, thinking=who.thinking)


def _drawn(left: deque[Match]) -> Iterator[Match]:
    while left:
        yield left.popleft()


def _picklable(error: Exception) -> Exception:
    """An error that any process can read."""
    return RuntimeError(f"{type(error).__name__}: {error}")


class RaySampler(Sampler):
    """Actors on a Ray cluster: the one of RAY_ADDRESS, that this process is part of already, or a local one.

    Args:
        player: what runs in an actor.
    """

    def __init__(
        self,
        config: Config,
        module: nn.Module,
        tokenizer: Any,
        folder: Path,
        player: type[Player] = Player,
        world: World = ALONE,
    ):
        super().__init__(config, module, world)
        ray = _ray()
        if not ray.is_initialized():
            ray.init(include_dashboard=False, log_to_driver=False)
        _check_room(ray.cluster_resources(), config)
        self.model = Elsewhere(tokenizer)
        self._start = ray.put((weights.on_cpu(module), tokenizer))
        self._sent: Any = None
        actor = ray.remote(player).options(
            num_cpus=1, num_gpus=config.ray_gpus, max_restarts=RESTARTS, max_task_retries=RESTARTS
        )
        self.actors = [actor.remote(config, folder.absolute(), self._start) for _ in range(config.ray_actors)]
        _wait_for_places(self.actors)

    def _load(self, module: nn.Module, version: int) -> None:
        """The weights are put into the cluster's memory; an actor takes them from there when it next plays."""
        self._sent = _ray().put({name: tensor.cpu().clone() for name, tensor in weights.trained(module)})
        self._number = self._published
        self.model.version = version

    def _verify(self, module: nn.Module, version: int) -> float:
        """Every actor is asked; one that plays answers afterwards."""
        trainer = HFModel(module, self.model.tokenizer, version=version)
        requests = sync.probe(len(self.model.tokenizer), context=trainer.context)
        asked = [actor.complete.remote(*self._weights, requests) for actor in self.actors]
        tolerance = self._tolerance(module)
        return max(sync.compare(one, trainer, tolerance=tolerance, version=version) for one in self._results(asked))

    def player(self, spec: str) -> Agent:
        """The actors make it when it is first met."""
        return Named(spec)

    def frozen(self, folder: Path) -> Model:
        """The actors load it when it is first met."""
        return self._frozen_adapter(folder)

    def _frozen_adapter(self, folder: Path) -> Model:
        return Elsewhere(self.model.tokenizer, folder.absolute())

    def play(self, matches: Iterable[Match], *, concurrency: int) -> Iterator[Episode]:
        """As in Sampler. Each actor plays its share of `concurrency` games at once, and as many again when they are over or as
        soon as there are further ones."""
        ray = _ray()
        numbered = enumerate(matches)
        share = math.ceil(concurrency / len(self.actors))
        first = list(islice(numbered, concurrency))
        playing: dict[Any, tuple[Any, list[tuple[int, Match]]]] = {}
        idle: deque[Any] = deque(self.actors)

        def begin(of_actor: list[tuple[int, Match]]) -> None:
            actor, jobs = idle.popleft(), [_job(match) for _, match in of_actor]
            playing[actor.play.remote(*self._weights, jobs, share)] = (actor, of_actor)

        for place in range(min(len(first), len(self.actors))):
            begin(first[place :: len(self.actors)])
        failures: list[Failure] = []
        while playing:
            (ready, *_), _ = ray.wait(list(playing))
            actor, of_actor = playing.pop(ready)
            (played,) = self._results([ready])
            idle.append(actor)
            while idle and not failures and (further := list(islice(numbered, share))):
                begin(further)
            for (index, match), one in zip(of_actor, played, strict=True):
                if one.error is not None:
                    failures.append(Failure(match, one.failed_in, one.error))
                    continue
                assert one.returns is not None
                yield Episode(match, one.record, one.steps, one.returns, index)
        if failures:
            raise MatchError(failures)

    @property
    def _weights(self) -> tuple[int, int, list[Any]]:
        assert self._sent is not None, "weights are published before games are played"
        return self._number, self.model.version, [self._sent]

    def _results(self, references: list[Any]) -> list[Any]:
        """What actors answered.

        Raises:
            RuntimeError: if one could not be kept alive.
        """
        ray = _ray()
        try:
            return list(ray.get(references))
        except ray.exceptions.RayActorError as error:
            raise RuntimeError(
                f"a Ray actor died {RESTARTS + 1} times and is given up: {str(error).strip().splitlines()[0]} Look at Ray's logs "
                "(often it runs out of memory: lower concurrency, or give an actor more), then start the run again; it goes on "
                "from its last checkpoint"
            ) from error

    def close(self) -> None:
        for actor in self.actors:
            _ray().kill(actor)
        self.actors = []


def _check_room(resources: Mapping[str, float], config: Config) -> None:
    """Ray would wait without a word for a place that a cluster does not have.

    Raises:
        ValueError: if it has none for all actors.
    """
    for name, words, each in (("CPU", "processors", 1.0), ("GPU", "GPUs", config.ray_gpus)):
        there = resources.get(name, 0.0)
        if config.ray_actors * each > there:
            raise ValueError(
                f"ray_actors={config.ray_actors} take {config.ray_actors * each:g} {words}, and the Ray cluster has {there:g}; ask "
                "for fewer, or add machines to the cluster"
            )


def _wait_for_places(actors: list[Any]) -> None:
    """Waits until all actors run, and says so while the cluster has no room for some."""
    ray = _ray()
    missing = [actor.process.remote() for actor in actors]
    while missing:
        _, missing = ray.wait(missing, num_returns=len(missing), timeout=PLACED_S)
        if missing:
            warnings.warn(
                f"{len(missing)} of {len(actors)} Ray actors do not run yet; others may use the cluster, of which "
                f"{ray.available_resources().get('CPU', 0.0):g} processors and {ray.available_resources().get('GPU', 0.0):g} GPUs "
                "are free",
                RuntimeWarning,
                stacklevel=2,
            )


def _job(match: Match) -> Job:
    seats = {seat: _seated(agent, seat) for seat, agent in match.agents.items()}
    return Job(match.env_id, match.seed, seats, dict(match.options), match.instance)


def _seated(agent: Agent, seat: str) -> Seated:
    if isinstance(agent, ModelAgent) and isinstance(agent.model, Elsewhere):
        folder = "" if agent.model.folder is None else str(agent.model.folder)
        return Seated("", folder, agent.sampling, agent.chat.system, agent.chat.thinking)
    if not agent.spec:
        raise ValueError(
            f"seat {seat}: {type(agent).__name__} cannot be sent to a Ray actor; name it by a spec, e.g. 'hf:PATH'"
        )
    return Seated(agent.spec)


def _ray() -> Any:
    """The package, imported when first needed.

    Raises:
        ValueError: if it is not installed, saying how to.
    """
    try:
        import ray
    except ImportError as error:
        raise ValueError(f"Ray cannot be imported ({error}): pip install 'lmgames[ray]'") from error
    return ray
