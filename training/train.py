"""The loop: play, compare, learn, look; one process.

deals -> self-play games -> trajectories -> role-conditioned advantages -> token rows -> loss -> weights, version + 1
"""

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from agents.agent import Agent
from agents.elicit import Elicited, policy_from_samples, policy_of_agent
from agents.model_agent import ModelAgent
from agents.models.hf import HFModel, load
from agents.models.model import Model, Sampling
from agents.specs import make_agent
from lmgames import solve
from lmgames.records import GameRecord
from training.alarms import Alarms
from training.batches import Batches, make_batches
from training.checkpoint import (
    MetricsFile,
    clear_partial,
    held_alone,
    load_latest,
    load_tensors,
    made_with,
    save_step,
    warn_of_differences,
    write_file,
)
from training.config import Config, can_play
from training.credit import Credit
from training.distributed import ALONE, World, join_world
from training.evaluate import (
    AveragePolicy,
    can_be_followed,
    evaluation_games,
    exact_outcomes,
    is_exact,
    summary,
    transcripts,
)
from training.games import PlayedGame, by_game
from training.learner import Learner
from training.metrics import play_metrics, rollout_metrics, staleness
from training.opponents import OpponentPool
from training.past import keep_for_later, past_selves
from training.policy import TRAINED, WithAdapter, load_policy, save_policy
from training.rollout import Rollout, gathered
from training.sampler import Sampler, check_processes, make_sampler
from training.samples import Row
from training.stop import Stop
from training.warmup import warm_up


class Display(Protocol):
    """What a run reports to, see `training.display`."""

    def warm_up(self, step: int, total: int, loss: float) -> None: ...

    def step(self, line: dict[str, Any], total: int) -> None: ...


@dataclass
class Run:
    """A run in memory: everything between two steps."""

    config: Config
    folder: Path
    sampler: Sampler
    agents: dict[str, ModelAgent]
    """By game, the policy in training, with the weights published last."""
    learner: Learner
    credit: Credit
    averages: dict[str, AveragePolicy]
    """By game, of those small enough."""
    pool: OpponentPool
    rollout: Rollout
    alarms: Alarms = field(default_factory=Alarms)
    skipped: int = 0
    """Steps in a row that could not be taken."""
    proved: float | None = None
    """Largest difference in proofs that weights have arrived, of those that no line of metrics tells of yet, nats."""

    @property
    def agent(self) -> ModelAgent:
        """One of them: they share the engine and how it is spoken to."""
        return next(iter(self.agents.values()))

    @property
    def last_model(self) -> Model:
        """The weights in training as an engine."""
        return HFModel(self.learner.model, self.agent.model.tokenizer, version=self.learner.step_number)

    @property
    def ema_model(self) -> Model:
        """The average of the weights as an engine."""
        return HFModel(self.learner.ema, self.agent.model.tokenizer, version=self.learner.step_number)

    def player(self, game: PlayedGame, model: Model, temperature: float, top_p: float = 1.0) -> ModelAgent:
        """Who plays a game with a model."""
        return ModelAgent(model, sampling=Sampling(temperature, top_p, max_tokens=game.max_reply_tokens))

    def player_in_evaluation(self, game: PlayedGame, model: Model) -> ModelAgent:
        """Who plays a game with a model in evaluation by games."""
        return self.player(game, model, self.config.eval_temperature, self.config.eval_top_p)

    def publish(self) -> None:
        """Sends the weights in training to the sampler."""
        difference = self.sampler.publish(self.learner.model, self.learner.step_number)
        if difference is not None:
            self.proved = max(self.proved or 0.0, difference)

    def state_dict(self) -> dict[str, Any]:
        return {
            "learner": self.learner.state_dict(),
            "credit": self.credit.state_dict(),
            "averages": {game: average.state_dict() for game, average in self.averages.items()},
            "pool": self.pool.state_dict(),
            "learnt": self.rollout.learnt.state_dict(),
            "alarms": self.alarms.state_dict(),
            "skipped": self.skipped,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.learner.load_state_dict(state["learner"])
        self.credit.load_state_dict(state["credit"])
        for game, average in self.averages.items():
            average.load_state_dict(state["averages"][game])
        self.pool.load_state_dict(state["pool"])
        self.rollout.learnt.load_state_dict(state["learnt"])
        self.alarms.load_state_dict(state["alarms"])
        self.skipped = state["skipped"]


class Board(Protocol):
    """A further place for lines of metrics."""

    def write(self, line: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


class Log:
    """Where a run's lines of metrics go: JSONL, the display, and TensorBoard and Weights & Biases if asked for."""

    def __init__(self, config: Config, folder: Path, display: Display, last_step: int):
        self._steps = config.steps
        self._display = display
        self._file = MetricsFile(folder / "metrics.jsonl", last_step=last_step)
        self._boards: list[Board] = []
        if config.tensorboard:
            from training.tensorboard import TensorBoard

            self._boards.append(TensorBoard(folder / "tensorboard", last_step))
        if config.wandb:
            from training.wandb_log import WandB

            self._boards.append(WandB(folder, config))

    def write(self, line: dict[str, Any]) -> None:
        self._file.write(line)
        for board in self._boards:
            board.write(line)
        self._display.step(line, self._steps)

    def close(self) -> None:
        self._file.close()
        for board in self._boards:
            board.close()


class NoLog(Log):
    """Of processes that do not write."""

    def __init__(self) -> None:
        pass

    def write(self, line: dict[str, Any]) -> None:
        pass

    def close(self) -> None:
        pass


class RefusedError(ValueError):
    """What the user can get wrong, found before anything is trained."""


def train(config: Config, folder: Path, display: Display) -> dict[str, Any]:
    """Trains to the end of the run and keeps the weight EMA in `folder/model`. A folder with a checkpoint is gone on with.

    Asked to end by SIGTERM or SIGINT, or by an alarm with `stop_on_alarm`, it finishes its step, saves a checkpoint and returns.

    Returns:
        The last line of metrics; {} if it was asked to end before the first.

    Raises:
        RefusedError: if another process trains in the folder, if it belongs to a run with other settings, or if the model cannot be
            loaded or trained as asked.
        FloatingPointError: if `skips_in_a_row` steps could not be taken; their rows are in `folder/skipped_rows.jsonl`.
    """
    with join_world(config.device) as world:
        return _train(config, folder, display, world)


def _train(config: Config, folder: Path, display: Display, world: World) -> dict[str, Any]:
    with ExitStack() as held:
        try:
            if world.is_main:
                held.enter_context(held_alone(folder))
            run, done = _opened(config, folder, world)
        except ValueError as error:
            raise RefusedError(str(error)) from error
        log = Log(config, folder, display, last_step=-1 if done is None else done) if world.is_main else NoLog()
        try:
            with Stop() as stop:
                if done is None and not _start(run, display, log, stop):
                    return {}
                last = _steps(run, done or 0, log, stop)
        finally:
            log.close()
            run.sampler.close()
        if last["step"] == config.steps:
            save_model(run, folder / "model")
        return last


def _opened(config: Config, folder: Path, world: World) -> tuple[Run, int | None]:
    """A run and the step it stands at; None before its warm start."""
    saved = folder / "config.json"
    if saved.exists() and saved.read_text(encoding="utf-8") != config.to_json():
        raise ValueError(f"{folder} holds a run with other settings ({saved}); name another folder")
    world.barrier()
    if world.is_main:
        clear_partial(folder)
        write_file(saved, config.to_json())
    world.barrier()  # nobody reads what is being cleared
    run = new_run(config, folder, world)
    done = load_latest(folder)
    if done is not None:
        run.learner.shard()
        load_tensors(folder, done[0], run.learner.tensors(), world)
        run.load_state_dict(done[1])
        if world.is_main:
            warn_of_differences(done[0], done[1]["made_with"], made_with(config.to_json(), world.device.type))
    return run, done[0] if done is not None else None


def new_run(config: Config, folder: Path, world: World = ALONE) -> Run:
    check_processes(config, world)
    model, tokenizer = load_policy(config, folder, world)
    sampler = make_sampler(config, model, tokenizer, folder, world)
    sampling = {
        game.name: Sampling(temperature=config.temperature, max_tokens=game.max_reply_tokens)
        for game in (*config.played, *config.held_out)
    }
    agents = {name: ModelAgent(sampler.model, sampling=of_game) for name, of_game in sampling.items()}
    pool = OpponentPool(config, folder, sampling, sampler)
    return Run(
        config=config,
        folder=folder,
        sampler=sampler,
        agents=agents,
        learner=Learner(model, config, config.steps * config.updates_per_step, world),
        credit=Credit(config),
        averages={game.name: AveragePolicy() for game in (*config.evaluated, *config.held_out) if is_exact(game)},
        pool=pool,
        rollout=Rollout(config, agents, sampler, pool, world),
    )


class _AskedToEndError(Exception):
    pass


def _start(run: Run, display: Display, log: Log, stop: Stop) -> bool:
    """The warm start and what the model is worth after it, as step 0. False if it was asked to end before that."""
    config = run.config
    began = time.perf_counter()

    def on_step(step: int, loss: float) -> None:
        display.warm_up(step, config.warmup_steps, loss)
        if _asked(stop, run.learner.world):
            raise _AskedToEndError

    if config.warmup_steps:
        try:
            warm_up(run.learner.model, config, run.agent.chat.prompt_ids, run.agent.chat.reply_ids, on_step=on_step)
        except _AskedToEndError:
            return False
        run.learner.begin_here()
    run.learner.shard()
    line: dict[str, Any] = {"step": 0, "seconds": {"warm_up": time.perf_counter() - began}}
    line["prefix_sharing"] = run.learner.network.why_not or "on"
    log.write(line | _evaluated(run, 0))
    save_model(run, run.folder / "start")
    save_checkpoint(run, 0)
    return True


def _asked(stop: Stop, world: World) -> bool:
    """Whether any process was asked to end: all end after the same step."""
    return bool(world.all_reduce_max([float(stop.asked)])[0])


def _steps(run: Run, first: int, log: Log, stop: Stop) -> dict[str, Any]:
    config = run.config
    line: dict[str, Any] = {"step": first}
    run.publish()
    run.pool.announce()
    run.pool.settle(first)
    world = run.learner.world
    batches = make_batches(run.rollout, config, first)
    try:
        for step in range(first, config.steps):
            line = _one_step(run, step, batches)
            log.write(line)
            ends = _asked(stop, world) or (config.stop_on_alarm and "alarms" in line)
            if ends or (step + 1) % config.save_every == 0 or step + 1 == config.steps:
                with batches.held():
                    save_checkpoint(run, step + 1)
            if ends:
                break
    finally:
        batches.close()
    return line


def _one_step(run: Run, step: int, batches: Batches) -> dict[str, Any]:
    config = run.config
    began = time.perf_counter()
    batch = gathered(batches.next(step), run.learner.world)
    had = time.perf_counter()
    version = run.learner.step_number
    credited = run.credit.rows(batch.trajectories, step)
    line: dict[str, Any] = {"step": step + 1}
    asked = time.perf_counter()
    if credited.rows and _is_due(config, step + 1, config.play_every):
        line["gradient"] = run.learner.gradients_of(credited.by_role, credited.norm_tokens)
    probe = time.perf_counter() - asked
    line |= _learn(run, credited.rows, credited.norm_tokens)
    run.rollout.learnt.add(batch)
    learnt = time.perf_counter()
    line |= play_metrics(batch.trajectories, several_games=len(config.played) > 1)
    line |= credited.metrics
    line["staleness"] = staleness(batch.trajectories, version / config.updates_per_step, config.updates_per_step)
    with batches.held():
        held = time.perf_counter()
        run.pool.record(batch.results)
        line |= run.pool.metrics()
        if config.plays_pool and not config.exploit and config.snapshot_every and (step + 1) % config.snapshot_every == 0:
            tokenizer, world = run.agent.model.tokenizer, run.learner.world
            run.pool.add_snapshot(step + 1, lambda folder: save_policy(run.learner.model, tokenizer, folder, world))
        run.publish()
        run.pool.settle(step + 1)
        batches.published(step + 1)
    published = time.perf_counter()
    if config.alarms:
        found = run.alarms.check(line)
        line |= {"alarms": found} if found else {}
    if _is_evaluated(config, step + 1):
        with batches.held(quiet=True):
            line |= _evaluated(run, step + 1)
    ended = time.perf_counter()
    line |= rollout_metrics(batch, [len(row.reply_ids) for row in credited.rows])
    if run.proved is not None:
        line["sync"] = {"difference": run.proved}
        run.proved = None
    generate, env = batch.figures["generate"], batch.figures["env"]
    played_here = generate + env if config.mode == "sync" else 0.0  # else beside what this thread did
    line["seconds"] = {
        "generate": generate,
        "env": env,
        "wait": max(0.0, had - began - played_here) + held - learnt,
        "train": learnt - had - probe,
        "sync": published - held,
        "evaluate": ended - published + probe,
        "step": ended - began,
        "cpu": time.process_time(),
    }
    return line


def _learn(run: Run, rows: list[Row], norm_tokens: float) -> dict[str, Any]:
    """What the optimiser measured, or why it could not take a step.

    Raises:
        FloatingPointError: after `skips_in_a_row` steps whose loss or gradient was no number or too large.
    """
    if not rows:
        return {"skipped": "no row teaches anything"}
    try:
        stats = run.learner.learn(rows, norm_tokens)
    except FloatingPointError as error:
        run.skipped += 1
        if run.skipped >= run.config.skips_in_a_row:
            dump = run.folder / "skipped_rows.jsonl"
            write_file(dump, "".join(json.dumps(asdict(row)) + "\n" for row in rows))
            raise FloatingPointError(
                f"{run.skipped} steps in a row could not be taken, the last: {error}; rows: {dump}"
            ) from error
        return {"skipped": str(error)}
    run.skipped = 0
    return asdict(stats)


def _is_due(config: Config, step: int, every: int) -> bool:
    return bool(every) and (step % every == 0 or step == config.steps)


def _is_evaluated(config: Config, step: int) -> bool:
    return any(_is_due(config, step, every) for every in (config.eval_every, config.play_every))


def _evaluated(run: Run, step: int) -> dict[str, Any]:
    """What the policies are worth after a step, where it is their turn to be looked at; held-out games under "holdout"."""
    config = run.config
    line: dict[str, Any] = {}
    holdout: dict[str, dict[str, Any]] = {game.name: {} for game in config.held_out}
    if _is_due(config, step, config.eval_every):
        exact = {game.name: _exact(run, game) for game in (*config.evaluated, *config.held_out) if game.name in run.averages}
        for name in ("nash_conv", "illegal_mass"):
            if found := {game.name: exact[game.name][name] for game in config.evaluated if game.name in exact}:
                line[name] = found if len(config.evaluated) > 1 else found[config.evaluated[0].name]
        for game in config.held_out:
            holdout[game.name] |= exact.get(game.name, {})
    if _is_due(config, step, config.play_every):
        kept: list[GameRecord] = []
        line["against"] = by_game({game.name: _against(run, game, step, kept) for game in config.evaluated})
        for game in config.held_out:
            holdout[game.name]["against"] = _against(run, game, step, kept)
        followed = {game.name: _greedy(run, game) for game in config.evaluated if can_be_followed(game)}
        line |= {"greedy": by_game(followed)} if followed else {}
        if step:
            main = run.learner.world.is_main
            keep_for_later(run.folder, step, config.play_past, lambda place: save_model(run, place), removes=main)
        if kept and run.learner.world.is_main:
            write_file(run.folder / "games" / f"step_{step:06d}.jsonl", "".join(record.to_json() + "\n" for record in kept))
    return line | ({"holdout": holdout} if any(holdout.values()) else {})


def _exact(run: Run, game: PlayedGame) -> dict[str, Any]:
    """NashConv of the last weights, of the average of the policies so far, and of the EMA."""
    last = _elicit(run, game, run.last_model)
    ema = _elicit(run, game, run.ema_model)
    average = run.averages[game.name]
    average.add(game.rules, last.policy)
    return {
        "nash_conv": {
            "last": solve.nash_conv(game.rules, last.policy),
            "average": solve.nash_conv(game.rules, average.policy()),
            "ema": solve.nash_conv(game.rules, ema.policy),
        },
        "illegal_mass": {"last": last.illegal_mass, "ema": ema.illegal_mass},
    }


def _against(run: Run, game: PlayedGame, step: int, kept: list[GameRecord]) -> dict[str, Any]:
    """Games of the EMA against each fixed opponent that knows the game, and against old selves, by opponent and role of the model;
    adds some of them to those that are kept in full."""
    agent = run.player_in_evaluation(game, run.ema_model)
    opponents: dict[str, Callable[[], Agent]] = {
        spec: partial(make_agent, spec) for spec in run.config.opponents if can_play(spec, game)
    }
    for name, place in past_selves(run.folder, step, run.config.play_past).items():
        opponents[name] = partial(_frozen, run, game, place)
    found = {}
    for name, make in opponents.items():
        episodes = evaluation_games(agent, make(), game, run.config)
        found[name] = summary(episodes)
        kept += transcripts(episodes, run.config.transcripts)
    return found


def _frozen(run: Run, game: PlayedGame, place: Path) -> Agent:
    return run.player_in_evaluation(
        game, load(str(place), dtype=run.config.base_dtype, device=str(run.learner.world.device))
    )


def _greedy(run: Run, game: PlayedGame) -> dict[str, Any]:
    """The exact results of the EMA, always at its likeliest token, against each fixed opponent whose probabilities are known."""
    agent = run.player(game, run.ema_model, temperature=0.0)
    specs = [spec for spec in run.config.opponents if can_play(spec, game)]
    found = {spec: exact_outcomes(agent, make_agent(spec), game) for spec in specs}
    return {spec: outcomes for spec, outcomes in found.items() if outcomes}


def _elicit(run: Run, game: PlayedGame, model: Model) -> Elicited:
    agent = run.player(game, model, run.config.temperature)
    if run.config.eval_samples:
        return policy_from_samples(agent, game.name, run.config.eval_samples, run.config.seed, **game.options)
    elicited = policy_of_agent(agent, game.name, **game.options)
    assert elicited is not None, "a model's replies can be scored"
    return elicited


def save_checkpoint(run: Run, step: int) -> None:
    """Saves all that it takes to go on after a step."""
    config = run.config
    save_step(
        run.folder,
        step,
        run.state_dict() | {"made_with": made_with(config.to_json(), run.learner.world.device.type)},
        run.learner.tensors(),
        keep=config.keep,
        keep_every=config.keep_every,
        world=run.learner.world,
    )


def save_model(run: Run, target: Path) -> None:
    """Keeps the weight EMA (at the start: the weights) and the tokenizer, or of a run with LoRA the adapter, for `hf:<target>`."""
    ema = run.learner.ema
    model, adapter = (ema.model, ema.name) if isinstance(ema, WithAdapter) else (ema, TRAINED)
    save_policy(model, run.agent.model.tokenizer, target, run.learner.world, adapter)
