"""The loop: play, compare, learn, look; one process.

deals -> self-play games -> trajectories -> role-conditioned advantages -> token rows -> loss -> weights, version + 1
"""

import json
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from agents.elicit import Elicited, policy_of_agent
from agents.model_agent import ModelAgent
from agents.models.hf import HFModel
from agents.models.model import Model, Sampling
from agents.specs import make_agent
from lmgames import solve
from lmgames.records import GameRecord
from training.alarms import Alarms
from training.checkpoint import MetricsFile, clear_partial, load_latest, load_tensors, save_step, write_file
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
from training.metrics import play_metrics
from training.opponents import OpponentPool
from training.policy import TRAINED, WithAdapter, load_policy, save_policy
from training.rollout import collect
from training.sampler import Sampler, make_sampler
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
    alarms: Alarms = field(default_factory=Alarms)
    skipped: int = 0
    """Steps in a row that could not be taken."""

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

    def player(self, game: PlayedGame, model: Model) -> ModelAgent:
        """Who plays a game with a model, as in training."""
        return ModelAgent(model, sampling=self.agents[game.name].sampling)

    def publish(self) -> None:
        """Sends the weights in training to the sampler."""
        self.sampler.publish(self.learner.model, self.learner.step_number)

    def state_dict(self) -> dict[str, Any]:
        return {
            "learner": self.learner.state_dict(),
            "credit": self.credit.state_dict(),
            "averages": {game: average.state_dict() for game, average in self.averages.items()},
            "pool": self.pool.state_dict(),
            "alarms": self.alarms.state_dict(),
            "skipped": self.skipped,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.learner.load_state_dict(state["learner"])
        self.credit.load_state_dict(state["credit"])
        for game, average in self.averages.items():
            average.load_state_dict(state["averages"][game])
        self.pool.load_state_dict(state["pool"])
        self.alarms.load_state_dict(state["alarms"])
        self.skipped = state["skipped"]


class Log:
    """Where a run's lines of metrics go: JSONL, the display, and TensorBoard if asked for."""

    def __init__(self, config: Config, folder: Path, display: Display, last_step: int):
        self._steps = config.steps
        self._display = display
        self._file = MetricsFile(folder / "metrics.jsonl", last_step=last_step)
        self._board = None
        if config.tensorboard:
            from training.tensorboard import TensorBoard

            self._board = TensorBoard(folder / "tensorboard", last_step)

    def write(self, line: dict[str, Any]) -> None:
        self._file.write(line)
        if self._board is not None:
            self._board.write(line)
        self._display.step(line, self._steps)

    def close(self) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()


class NoLog(Log):
    """Of processes that do not write."""

    def __init__(self) -> None:
        pass

    def write(self, line: dict[str, Any]) -> None:
        pass

    def close(self) -> None:
        pass


def train(config: Config, folder: Path, display: Display) -> dict[str, Any]:
    """Trains to the end of the run and keeps the weight EMA in `folder/model`. A folder with a checkpoint is gone on with.

    Asked to end by SIGTERM, or by an alarm with `stop_on_alarm`, it finishes its step, saves a checkpoint and returns.

    Returns:
        The last line of metrics; {} if it was asked to end before the first.

    Raises:
        ValueError: if the folder belongs to a run with other settings.
        FloatingPointError: if `skips_in_a_row` steps could not be taken; their rows are in `folder/skipped_rows.jsonl`.
    """
    with join_world(config.device) as world:
        return _train(config, folder, display, world)


def _train(config: Config, folder: Path, display: Display, world: World) -> dict[str, Any]:
    saved = folder / "config.json"
    if saved.exists() and saved.read_text(encoding="utf-8") != config.to_json():
        raise ValueError(f"{folder} holds a run with other settings ({saved}); name another folder")
    world.barrier()
    if world.is_main:
        clear_partial(folder)
        write_file(saved, config.to_json())
    run = new_run(config, folder, world)
    done = load_latest(folder)
    if done is not None:
        run.learner.shard()
        load_tensors(folder, done[0], run.learner.tensors(), world)
        run.load_state_dict(done[1])
    log = Log(config, folder, display, last_step=done[0] if done else -1) if world.is_main else NoLog()
    try:
        with Stop() as stop:
            if done is None and not _start(run, display, log, stop):
                return {}
            last = _steps(run, done[0] if done else 0, log, stop)
    finally:
        log.close()
        run.sampler.close()
    if last["step"] == config.steps:
        save_model(run, folder / "model")
    return last


def new_run(config: Config, folder: Path, world: World = ALONE) -> Run:
    model, tokenizer = load_policy(config, folder, world.device)
    sampler = make_sampler(config, model, tokenizer, folder, world)
    sampling = {
        game.name: Sampling(temperature=config.temperature, max_tokens=game.max_reply_tokens)
        for game in (*config.played, *config.held_out)
    }
    return Run(
        config=config,
        folder=folder,
        sampler=sampler,
        agents={name: ModelAgent(sampler.model, sampling=of_game) for name, of_game in sampling.items()},
        learner=Learner(model, config, config.steps * config.updates_per_step, world),
        credit=Credit(config),
        averages={game.name: AveragePolicy() for game in (*config.played, *config.held_out) if is_exact(game)},
        pool=OpponentPool(config, folder, sampling, sampler),
    )


class _AskedToEndError(Exception):
    pass


def _start(run: Run, display: Display, log: Log, stop: Stop) -> bool:
    """The warm start and what the model is worth after it, as step 0. False if it was asked to end before that."""
    config = run.config
    began = time.perf_counter()

    def on_step(step: int, loss: float) -> None:
        display.warm_up(step, config.warmup_steps, loss)
        if stop.asked:
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


def _steps(run: Run, first: int, log: Log, stop: Stop) -> dict[str, Any]:
    config = run.config
    line: dict[str, Any] = {"step": first}
    run.publish()
    for step in range(first, config.steps):
        line = _one_step(run, step)
        log.write(line)
        ends = stop.asked or (config.stop_on_alarm and "alarms" in line)
        if ends or (step + 1) % config.save_every == 0 or step + 1 == config.steps:
            save_checkpoint(run, step + 1)
        if ends:
            break
    return line


def _one_step(run: Run, step: int) -> dict[str, Any]:
    config = run.config
    began = time.perf_counter()
    played = collect(config, step, run.agents, run.pool, run.sampler.play)
    rolled_out = time.perf_counter()
    credited = run.credit.rows(played, step)
    line = {"step": step + 1, **_learn(run, credited.rows, credited.norm_tokens)}
    line |= play_metrics(played, several_games=len(config.played) > 1)
    line |= credited.metrics
    learnt = time.perf_counter()
    run.publish()
    published = time.perf_counter()
    line |= run.pool.metrics()
    if config.plays_pool and not config.exploit and config.snapshot_every and (step + 1) % config.snapshot_every == 0:
        tokenizer, world = run.agent.model.tokenizer, run.learner.world
        run.pool.add_snapshot(step + 1, lambda folder: save_policy(run.learner.model, tokenizer, folder, world))
    if config.alarms:
        found = run.alarms.check(line)
        line |= {"alarms": found} if found else {}
    line |= _evaluated(run, step + 1)
    line["seconds"] = {
        "rollout": rolled_out - began,
        "train": learnt - rolled_out,
        "sync": published - learnt,
        "evaluate": time.perf_counter() - published,
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


def _evaluated(run: Run, step: int) -> dict[str, Any]:
    """What the policies are worth after a step, where it is their turn to be looked at; held-out games under "holdout"."""
    config = run.config

    def is_due(every: int) -> bool:
        return bool(every) and (step % every == 0 or step == config.steps)

    line: dict[str, Any] = {}
    holdout: dict[str, dict[str, Any]] = {game.name: {} for game in config.held_out}
    if is_due(config.eval_every):
        exact = {game.name: _exact(run, game) for game in (*config.played, *config.held_out) if game.name in run.averages}
        for name in ("nash_conv", "illegal_mass"):
            if found := {game.name: exact[game.name][name] for game in config.played if game.name in exact}:
                line[name] = found if len(config.played) > 1 else found[config.played[0].name]
        for game in config.held_out:
            holdout[game.name] |= exact.get(game.name, {})
    if is_due(config.play_every):
        kept: list[GameRecord] = []
        line["against"] = by_game({game.name: _against(run, game, kept) for game in config.played})
        for game in config.held_out:
            holdout[game.name]["against"] = _against(run, game, kept)
        followed = {game.name: _greedy(run, game) for game in config.played if can_be_followed(game)}
        line |= {"greedy": by_game(followed)} if followed else {}
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


def _against(run: Run, game: PlayedGame, kept: list[GameRecord]) -> dict[str, Any]:
    """Games of the EMA against each fixed opponent that knows the game, by opponent and role of the model; adds some of them to
    those that are kept in full."""
    agent = run.player(game, run.ema_model)
    found = {}
    for spec in run.config.opponents:
        if can_play(spec, game):
            episodes = evaluation_games(agent, make_agent(spec), game, run.config)
            found[spec] = summary(episodes)
            kept += transcripts(episodes, run.config.transcripts)
    return found


def _greedy(run: Run, game: PlayedGame) -> dict[str, Any]:
    """The exact results of the EMA, always at its likeliest token, against each fixed opponent whose probabilities are known."""
    agent = ModelAgent(run.ema_model, sampling=replace(run.agents[game.name].sampling, temperature=0.0))
    specs = [spec for spec in run.config.opponents if can_play(spec, game)]
    found = {spec: exact_outcomes(agent, make_agent(spec), game) for spec in specs}
    return {spec: outcomes for spec, outcomes in found.items() if outcomes}


def _elicit(run: Run, game: PlayedGame, model: Model) -> Elicited:
    elicited = policy_of_agent(run.player(game, model), game.name, **game.options)
    assert elicited is not None, "a model's replies can be scored"
    return elicited


def save_checkpoint(run: Run, step: int) -> None:
    """Saves all that it takes to go on after a step."""
    config = run.config
    save_step(
        run.folder,
        step,
        run.state_dict(),
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
