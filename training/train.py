"""The loop: play, compare, learn, look; one process.

deals -> self-play games -> trajectories -> role-conditioned advantages -> token rows -> loss -> weights, version + 1
"""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from agents.elicit import Elicited, policy_of_agent
from agents.model_agent import ModelAgent
from agents.models.hf import HFModel, load
from agents.models.model import Model, Sampling
from agents.specs import make_agent
from lmgames import solve
from training.advantages import BASELINES, Baseline, variance_shares
from training.checkpoint import MetricsFile, load_latest, save_step, write_file, write_folder
from training.config import Config
from training.evaluate import AveragePolicy, exact_game, game_of, play_against
from training.learner import Learner
from training.rollout import Trajectory, collect, rows
from training.tiny import make_model, make_tokenizer
from training.warmup import random_play, warm_up


class Display(Protocol):
    """What a run reports to, see `training.display`."""

    def warm_up(self, step: int, total: int, loss: float) -> None: ...

    def step(self, line: dict[str, Any], total: int) -> None: ...


@dataclass
class Run:
    """A run in memory: everything between two steps."""

    config: Config
    folder: Path
    agent: ModelAgent
    learner: Learner
    baseline: Baseline
    average: AveragePolicy

    @property
    def ema_model(self) -> Model:
        """The average of the weights as an engine."""
        return HFModel(self.learner.ema, self.agent.model.tokenizer, version=self.learner.step_number)

    def state_dict(self) -> dict[str, Any]:
        return {
            "learner": self.learner.state_dict(),
            "baseline": self.baseline.state_dict(),
            "average": self.average.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.learner.load_state_dict(state["learner"])
        self.baseline.load_state_dict(state["baseline"])
        self.average.load_state_dict(state["average"])
        self.agent.model.version = self.learner.step_number


def train(config: Config, folder: Path, display: Display) -> dict[str, Any]:
    """Trains to the end of the run and keeps the weight EMA in `folder/model`. A folder with a checkpoint is gone on with.

    Returns:
        The last line of metrics.

    Raises:
        ValueError: if the folder belongs to a run with other settings.
    """
    saved = folder / "config.json"
    if saved.exists() and saved.read_text(encoding="utf-8") != config.to_json():
        raise ValueError(f"{folder} holds a run with other settings ({saved}); name another folder")
    write_file(saved, config.to_json())
    run = new_run(config, folder)
    done = load_latest(folder)
    if done is not None:
        run.load_state_dict(done[1])
    metrics = MetricsFile(folder / "metrics.jsonl", last_step=done[0] if done else -1)
    try:
        if done is None:
            _start(run, display, metrics)
        last = _steps(run, display, metrics)
    finally:
        metrics.close()
    save_model(run, folder / "model")
    return last


def new_run(config: Config, folder: Path) -> Run:
    model, tokenizer = _model_and_tokenizer(config)
    hf_model = HFModel(model, tokenizer)
    agent = ModelAgent(hf_model, sampling=Sampling(temperature=config.temperature, max_tokens=config.max_reply_tokens))
    decay = {"decay": config.ema_baseline_decay} if config.baseline in ("role_ema", "shrink") else {}
    return Run(
        config=config,
        folder=folder,
        agent=agent,
        learner=Learner(model, config, total_steps=config.steps * config.epochs),
        baseline=BASELINES[config.baseline](**decay),
        average=AveragePolicy(),
    )


def _model_and_tokenizer(config: Config) -> tuple[Any, Any]:
    if config.model != "tiny":
        loaded = load(config.model, dtype="float32")
        return loaded.model, loaded.tokenizer
    texts = [turn.text for turn in random_play(config.game, config.env_options, config.warmup_games, config.seed)]
    replies = [" ".join(turn.replies) for turn in random_play(config.game, config.env_options, 50, config.seed)]
    tokenizer = make_tokenizer(texts + replies, config.vocab_size)
    model = make_model(
        tokenizer,
        hidden_size=config.hidden_size,
        layers=config.layers,
        init_std=config.init_std,
        seed=config.seed,
    )
    return model, tokenizer


def _start(run: Run, display: Display, metrics: MetricsFile) -> None:
    """The warm start and what the model is worth after it, as step 0."""
    config = run.config
    began = time.perf_counter()
    if config.warmup_steps:
        warm_up(
            run.learner.model,
            config,
            run.agent.chat.prompt_ids,
            run.agent.chat.reply_ids,
            on_step=lambda step, loss: display.warm_up(step, config.warmup_steps, loss),
        )
        # Both slow copies begin at the warm start.
        run.learner = Learner(run.learner.model, config, run.learner.total_steps)
    line: dict[str, Any] = {"step": 0, "seconds": {"warm_up": time.perf_counter() - began}}
    line |= _exact(run)
    if config.play_every:
        line["against"] = _against(run)
    metrics.write(line)
    display.step(line, config.steps)
    save_model(run, run.folder / "start")
    save_step(run.folder, 0, run.state_dict(), config.keep)


def _steps(run: Run, display: Display, metrics: MetricsFile) -> dict[str, Any]:
    config = run.config
    line: dict[str, Any] = {"step": run.learner.step_number // config.epochs}
    for step in range(line["step"], config.steps):
        line = _one_step(run, step)
        metrics.write(line)
        display.step(line, config.steps)
        if (step + 1) % config.save_every == 0 or step + 1 == config.steps:
            save_step(run.folder, step + 1, run.state_dict(), config.keep)
    return line


def _one_step(run: Run, step: int) -> dict[str, Any]:
    config = run.config
    began = time.perf_counter()
    played = collect(config, step, dict.fromkeys(game_of(config).seats, run.agent))
    rolled_out = time.perf_counter()
    made = rows(played, run.baseline, config)
    for _ in range(config.epochs):
        stats = run.learner.update(made)
    run.agent.model.version = run.learner.step_number
    learnt = time.perf_counter()
    line = {"step": step + 1, **asdict(stats), **_play_metrics(played)}
    if config.eval_every and ((step + 1) % config.eval_every == 0 or step + 1 == config.steps):
        line |= _exact(run)
    if config.play_every and ((step + 1) % config.play_every == 0 or step + 1 == config.steps):
        line["against"] = _against(run)
    line["seconds"] = {
        "rollout": rolled_out - began,
        "train": learnt - rolled_out,
        "evaluate": time.perf_counter() - learnt,
        "cpu": time.process_time(),
    }
    return line


def _play_metrics(played: list[Trajectory]) -> dict[str, Any]:
    steps = [step for trajectory in played for step in trajectory.steps]
    refused = sum(step.turn.status != "ok" for step in steps)
    by_role: dict[str, list[float]] = {}
    for trajectory in played:
        by_role.setdefault(trajectory.outcome.role, []).append(trajectory.outcome.return_)
    return {
        "games": len({trajectory.outcome.episode for trajectory in played}),
        "replies": len(steps),
        "invalid_rate": refused / max(1, len(steps)),
        "reply_tokens": sum(len(step.reply.reply_ids) for step in steps) / max(1, len(steps)),
        "return": {role: sum(returns) / len(returns) for role, returns in sorted(by_role.items())},
        "variance_share": variance_shares([trajectory.outcome for trajectory in played]),
    }


def _exact(run: Run) -> dict[str, Any]:
    """NashConv of the last weights, of the average of the policies so far, and of the EMA, where the game is small enough."""
    game = exact_game(run.config)
    if game is None:
        return {}
    last = _elicit(run, run.agent.model)
    ema = _elicit(run, run.ema_model)
    run.average.add(game, last.policy)
    return {
        "nash_conv": {
            "last": solve.nash_conv(game, last.policy),
            "average": solve.nash_conv(game, run.average.policy()),
            "ema": solve.nash_conv(game, ema.policy),
        },
        "illegal_mass": {"last": last.illegal_mass, "ema": ema.illegal_mass},
    }


def _against(run: Run) -> dict[str, Any]:
    """Games of the EMA against each fixed opponent, by opponent and role of the model."""
    agent = ModelAgent(run.ema_model, sampling=run.agent.sampling)
    return {spec: play_against(agent, make_agent(spec), run.config) for spec in run.config.opponents}


def _elicit(run: Run, model: Model) -> Elicited:
    elicited = policy_of_agent(ModelAgent(model, sampling=run.agent.sampling), run.config.game, **run.config.env_options)
    assert elicited is not None, "a model's replies can be scored"
    return elicited


def save_model(run: Run, target: Path) -> None:
    """Keeps the weight EMA (at the start: the weights) and the tokenizer, as transformers saves them, for `hf:<target>`."""

    def fill(folder: Path) -> None:
        run.learner.ema.save_pretrained(folder)
        run.agent.model.tokenizer.save_pretrained(folder)

    with torch.no_grad():
        write_folder(target, fill)
