"""Every setting of a run: one frozen dataclass, filled from a preset, a recipe in TOML and the command line, in that order."""

import dataclasses
import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from agents.specs import check_plays, make_agent
from lmgames.registry import game_class, nearest, split_options
from training.advantages import BASELINES

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a run. "measured" marks defaults found best on two cores with the tiny model."""

    preset: Literal["rcgrpo", "spiral"] = "rcgrpo"
    """What the other defaults are: role-conditioned GRPO, or the settings of SPIRAL (2506.24119)."""
    game: str = "KuhnPoker-v0"
    env_options: dict[str, Any] = field(default_factory=dict)
    """Options of the game and its environment."""
    seed: int = 0
    """Fixes everything that is drawn in the run: weights, deals, replies, warm-up."""
    steps: int = 700
    """Optimiser steps of self-play."""

    # The model.
    model: str = "tiny"
    """"tiny" makes one from scratch; else a path or name for transformers."""
    hidden_size: int = 128
    layers: int = 3
    init_std: float = 0.08
    """Of the tiny model's weights, about 1 / sqrt(width) (measured: with 0.02 self-play stays blind to the card)."""
    vocab_size: int = 512

    # Warm start.
    warmup_steps: int = 160
    """0 for a model that plays legal moves already."""
    warmup_rows: int = 36
    """Random legal replies a step, and as many recall items."""
    warmup_games: int = 400
    warmup_lr: float = 3e-3

    # Rollout.
    games_per_step: int = 600
    group_size: int = 100
    """Games on one deal; games_per_step is a multiple of it."""
    deals: Literal["stratified", "random"] = "stratified"
    """"stratified" goes through all instances of a game that can be listed, each equally often."""
    concurrency: int = 1024
    """Games played at once."""
    temperature: float = 1.0
    """Of the sampler; the trainer's log-probabilities are those of temperature 1."""
    max_reply_tokens: int = 6

    # Advantage.
    baseline: Literal["none", "global", "role_batch", "role_loo", "role_ema", "seed_role", "seed_role_loo", "shrink"] = (
        "seed_role_loo"
    )
    ema_baseline_decay: float = 0.95
    """Of `role_ema` and `shrink`; 0.95 as SPIRAL."""
    turn_discount: float = 1.0
    """A turn's advantage is the trajectory's times this to the number of own turns after it."""
    invalid_penalty: float = 1.0
    """Advantage of a refused reply is minus this; games decided by a forfeit teach nothing else."""
    drop_zero_advantage: bool = False
    """Leave rows out whose advantage is exactly 0 (SPIRAL does)."""

    # Loss.
    clip_low: float = 0.2
    clip_high: float = 0.28
    """Uneven clip of DAPO (2503.14476)."""
    kl_weight: float = 0.3
    """Of the KL to the magnet, in units of the game's return a nat (measured; annealing it lets the cycle come back)."""
    kl_kind: Literal["full", "k1", "k2", "k3"] = "full"
    """Exact over the vocabulary, or an estimate from the sampled tokens."""
    magnet_rate: float = 0.02
    """Share of the way that the magnet goes to the weights each step (measured)."""
    magnet_hold: int = 100
    """Steps during which the magnet stays at the start, so that the policy keeps trying every move until it reads what it sees
    (measured: twice as fast as 0)."""
    entropy_weight: float = 0.0

    # Optimiser.
    epochs: int = 1
    """Passes over a step's rows."""
    lr: float = 3e-4
    lr_end: float = 0.05
    """Share of `lr` left at the end of the cosine."""
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.0
    grad_clip: float = 1.0
    micro_batch_tokens: int = 16384
    """Padded tokens of distinct rows in one forward pass."""
    ema_decay: float = 0.99
    """Of the weights' moving average, the copy that is kept."""

    # Evaluation and files.
    eval_every: int = 20
    """Steps between exact evaluations; 0 for none."""
    play_every: int = 100
    """Steps between evaluations by games against `opponents`; 0 for none."""
    play_games: int = 200
    """Games in each seat against each of `opponents`, the same deals every time."""
    opponents: tuple[str, ...] = ("random",)
    """Specs of fixed agents."""
    save_every: int = 100
    """Steps between checkpoints."""
    keep: int = 2
    """Checkpoints kept, the newest ones."""

    def __post_init__(self) -> None:
        split_options(self.game, dict(self.env_options))
        if self.games_per_step % self.group_size:
            raise ValueError(f"games_per_step={self.games_per_step} is no multiple of group_size={self.group_size}")
        if self.baseline in ("seed_role", "seed_role_loo") and self.group_size < 2:
            raise ValueError(
                f"baseline={self.baseline!r} compares games on one deal: group_size={self.group_size} must be 2 or more"
            )
        if self.temperature != 1.0:
            raise ValueError(f"temperature={self.temperature}: the trainer's log-probabilities are those of temperature 1")
        for name in (
            "steps",
            "games_per_step",
            "group_size",
            "warmup_games",
            "concurrency",
            "max_reply_tokens",
            "epochs",
            "keep",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        for name in ("lr", "warmup_lr", "clip_low", "clip_high", "grad_clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)} must be above 0")
        for spec in self.opponents:
            check_plays(make_agent(spec), game_class(self.game).name)
        assert self.baseline in BASELINES

    def to_json(self) -> str:
        """The settings, all of them, as they are saved with a run."""
        return json.dumps(dataclasses.asdict(self), indent=2)


PRESETS: dict[str, dict[str, Any]] = {
    "rcgrpo": {},
    "spiral": {  # run script and defaults of spiral-rl/spiral, research notes in the documentation
        "baseline": "role_ema",
        "group_size": 1,
        "deals": "random",
        "games_per_step": 128,
        "clip_high": 0.2,
        "epochs": 2,
        "kl_weight": 0.0,
        "lr": 1e-6,
        "magnet_hold": 0,
        "lr_end": 1.0,
        "beta2": 0.95,
        "drop_zero_advantage": True,
        "max_reply_tokens": 4096,
        "invalid_penalty": 1.5,
    },
}


def load_config(recipe: str | Path | None = None, overrides: dict[str, Any] | None = None) -> Config:
    """The settings of a recipe with overrides.

    Args:
        recipe: path of a TOML file, or the name of one in `training/recipes/`; None for the defaults.
        overrides: by name; strings are read as the setting's type.

    Raises:
        ValueError: for an unknown recipe or setting, with the nearest one, and for a value that does not fit.
    """
    given = {**(_read_recipe(recipe) if recipe is not None else {}), **(overrides or {})}
    fields = {each.name: each for each in dataclasses.fields(Config)}
    for name in given:
        if name not in fields:
            raise ValueError(f"no setting {name!r}{nearest(name, fields)}")
    values = {name: _as_type(name, value, fields[name].type) for name, value in given.items()}
    preset = values.get("preset", "rcgrpo")
    return Config(**{**PRESETS[preset], **values})


def _read_recipe(recipe: str | Path) -> dict[str, Any]:
    path = Path(recipe)
    if not path.suffix and not path.exists():
        path = RECIPES / f"{recipe}.toml"
    if not path.is_file():
        raise ValueError(f"no recipe {str(recipe)!r}{nearest(str(recipe), [file.stem for file in RECIPES.glob('*.toml')])}")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"recipe {path}: {error}") from None


def _as_type(name: str, value: Any, kind: Any) -> Any:
    """The value as the type of the setting; text from a command line is converted."""
    origin = get_origin(kind)
    if origin is Literal:
        if value not in get_args(kind):
            hint = nearest(value, get_args(kind)) if isinstance(value, str) else f"; there are {', '.join(get_args(kind))}"
            raise ValueError(f"{name}={value!r} is not known{hint}")
        return value
    if origin is dict:
        return _as_dict(name, value)
    if origin is tuple:
        return tuple(value.split(",")) if isinstance(value, str) else tuple(value)
    assert not isinstance(kind, UnionType)
    if kind is bool and isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if isinstance(value, str) and kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            raise ValueError(f"{name}={value!r} is not of type {kind.__name__}") from None
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{name}={value!r} is not of type {kind.__name__}")
    return value


def _as_dict(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"{name}={value!r} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{name}={value!r} is not a table of options")
    return value
