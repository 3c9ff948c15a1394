"""Settings of a tournament: from a TOML file, from the command line, which wins, and kept beside the results as config.toml.

pool = "ref-2026.1"                    # agents and games of a frozen pool; what follows overrides or adds
blocks = 200
games = ["KuhnPoker-v0", "*Negotiation*"]

[agents]
mine = "hf:runs/demo/model"
mixed = { KuhnPoker = "nash", default = "random" }

[options]                              # of every game that has them
show_rules = false

[game_options."KuhnPoker-v0"]
hands = 3
"""

import dataclasses
import fnmatch
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.specs import KINDS, parse_spec
from benchmarks.exact import SAMPLES
from benchmarks.players import Spec, read_pool
from benchmarks.schedule import SCHEDULES, GameSpec
from benchmarks.standings import ANCHOR
from benchmarks.tournament import CONCURRENCY, Budget, Price
from benchmarks.turns import KINDS as KINDS_OF_TURNS
from lmgames.registry import GAMES, NAMESPACE, make, nearest, split_options

FILE = "config.toml"
PEOPLE = ("human",)


@dataclass(frozen=True)
class Config:
    """A tournament.

    Args:
        agents: spec by name.
        games: IDs, with `*` and `?` as in file names; none: all.
        options: of the games and their environments; each goes to the games that have it.
        game_options: of single games, by ID; they win over `options`.
        blocks: deals for each line-up.
        seed: of all luck.
        schedule: "round-robin", "vs-reference", "swiss" or "adaptive".
        references: names of the agents that "vs-reference" measures against; those of the pool if none are named.
        anchor: name of the agent at 0 points.
        ceiling: name of the agent whose rating is printed as the ceiling; "" for none.
        on_invalid, retries, max_turns: `invalid_policy`, `retries` and `max_env_steps` of every game; None: the game's own.
        max_tokens: of a reply of agents that are models and do not say themselves.
        concurrency: games at once.
        budget_games, budget_tokens, budget_usd, time_limit: see `tournament.Budget`; the last in seconds.
        prices: by agent, USD for a million "prompt" and "completion" tokens.
        policy_samples: see `exact.read_policy`.
        turns: whose prompts and replies are kept in turns.jsonl: "models" (of agents that are no scripted players), "all", "none".
        cache: file of replies that tournaments share, see `cache`; "" for none.
        part: "k/n", see `run_tournament`.
    """

    agents: Mapping[str, Spec] = field(default_factory=dict)
    games: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    game_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    blocks: int = 100
    seed: int = 0
    schedule: str = "round-robin"
    references: tuple[str, ...] = ()
    anchor: str = ANCHOR
    ceiling: str = ""
    on_invalid: str | None = None
    retries: int | None = None
    max_turns: int | None = None
    max_tokens: int | None = None
    concurrency: int = CONCURRENCY
    budget_games: int | None = None
    budget_tokens: float | None = None
    budget_usd: float | None = None
    time_limit: float | None = None
    prices: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    policy_samples: int = SAMPLES
    turns: str = "models"
    cache: str = ""
    part: str = "1/1"

    @property
    def budget(self) -> Budget:
        return Budget(self.budget_games, self.budget_tokens, self.budget_usd, self.time_limit)

    @property
    def price_of(self) -> dict[str, Price]:
        return {name: Price(**price) for name, price in self.prices.items()}

    @property
    def parts(self) -> tuple[int, int]:
        """(k, n) of `part`.

        Raises:
            ValueError: if it is none.
        """
        number, slash, of = self.part.partition("/")
        if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise ValueError(f"part={self.part!r} must be k/n with 1 <= k <= n, e.g. 1/2")
        return int(number), int(of)

    def specs(self) -> dict[str, Spec]:
        """The agents' specs with `max_tokens` where it belongs."""
        return {name: self._limited(spec) for name, spec in self.agents.items()}

    def _limited(self, spec: Spec) -> Spec:
        if not isinstance(spec, str):
            return {game: str(self._limited(of)) for game, of in spec.items()}
        kind, target, options = parse_spec(spec)
        if self.max_tokens is None or kind not in KINDS or kind in PEOPLE or "max_tokens" in options:
            return spec
        return f"{spec}{',' if target or options else ':'}max_tokens={self.max_tokens}"

    def game_specs(self) -> list[GameSpec]:
        """The games with their options, in the order of the registry.

        Raises:
            ValueError: for an unknown game or option, with the nearest one.
        """
        chosen = _matching(self.games)
        short = {name.removeprefix(NAMESPACE + "/"): options for name, options in self.game_options.items()}
        for name in short:
            if name not in GAMES:
                raise ValueError(f"game_options: no game {name!r}{nearest(name, GAMES)}")
        settings = {"invalid_policy": self.on_invalid, "retries": self.retries, "max_env_steps": self.max_turns}
        shared = {**self.options, **{key: value for key, value in settings.items() if value is not None}}
        found = []
        unused = set(shared)
        problem: ValueError | None = None
        for name in chosen:
            options = dict(short.get(name, {}))
            for key, value in shared.items():
                try:
                    split_options(name, {key: value})
                except ValueError as error:
                    problem = error
                    continue
                unused.discard(key)
                options.setdefault(key, value)
            make(name, **options)  # refuses wrong values
            found.append(GameSpec(name, options))
        if unused and problem is not None:
            raise problem
        return found


def _matching(patterns: Sequence[str]) -> list[str]:
    if not patterns:
        return list(GAMES)
    chosen: set[str] = set()
    for pattern in patterns:
        short = pattern.removeprefix(NAMESPACE + "/")
        matched = set(fnmatch.filter(GAMES, short))
        if not matched:
            raise ValueError(f"no game {pattern!r}{nearest(short, GAMES)}")
        chosen |= matched
    return [name for name in GAMES if name in chosen]


def load_config(path: Path | None, given: Mapping[str, Any], pool: str | None = None) -> Config:
    """Settings of a file and of a pool, overridden by those given.

    Args:
        path: of a TOML file; None for none.
        given: settings by name; agents and options are added to those of the file.
        pool: name of a pool, in place of the file's.

    Raises:
        ValueError: for an unknown setting, with the nearest one, a value of a wrong type, or a file that is no TOML.
    """
    data: dict[str, Any] = {}
    if path is not None:
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ValueError(f"{path}: {error}") from None
    pool = pool or data.pop("pool", None)
    data.pop("pool", None)
    merged: dict[str, Any] = {}
    if pool is not None:
        merged = dict(read_pool(pool))
        merged.setdefault("references", list(merged["agents"]))
    for source in (data, given):
        for key, value in source.items():
            both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
            merged[key] = {**merged[key], **value} if both else value
    return _config(merged)


def _config(data: Mapping[str, Any]) -> Config:
    fields = {each.name: each for each in dataclasses.fields(Config)}
    for key in data:
        if key not in fields:
            raise ValueError(f"no setting {key!r}{nearest(key, fields)}")
    values = {key: _checked(key, value) for key, value in data.items()}
    config = Config(**values)
    if config.turns not in KINDS_OF_TURNS:
        raise ValueError(f"turns={config.turns!r} is none of the kinds{nearest(config.turns, KINDS_OF_TURNS)}")
    if config.schedule not in SCHEDULES:
        raise ValueError(f"no schedule {config.schedule!r}{nearest(config.schedule, SCHEDULES)}")
    for setting in ("anchor", "ceiling"):
        name = getattr(config, setting)
        if name and name not in config.agents and (setting == "ceiling" or name != ANCHOR):
            raise ValueError(f"{setting}: no agent {name!r}{nearest(name, config.agents)}")
    for setting, names in (("references", config.references), ("prices", config.prices)):
        for name in names:
            if name not in config.agents:
                raise ValueError(f"{setting}: no agent {name!r}{nearest(name, config.agents)}")
    for name, price in config.prices.items():
        for kind in price:
            if kind not in ("prompt", "completion"):
                raise ValueError(f"prices.{name}: no kind of tokens {kind!r}{nearest(kind, ('prompt', 'completion'))}")
    return config


_TABLES = ("agents", "options", "game_options", "prices")
_LISTS = ("games", "references")
_TEXTS = ("schedule", "anchor", "ceiling", "on_invalid", "part", "turns", "cache")
_FLOATS = ("budget_tokens", "budget_usd", "time_limit")
_LEAST = {"blocks": 1, "concurrency": 1, "seed": 0, "retries": 0, "policy_samples": 0}


def _checked(key: str, value: Any) -> Any:
    """The value in the form that `Config` keeps it in.

    Raises:
        ValueError: if it is of another kind.
    """
    if key in _TABLES:
        if not isinstance(value, Mapping):
            raise ValueError(f"{key} is a table, not {value!r}")
        return dict(value)
    if key in _LISTS:
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise ValueError(f"{key} is a list of names, not {value!r}")
        return tuple(value)
    if value is None:
        return None
    if key in _TEXTS:
        if not isinstance(value, str):
            raise ValueError(f"{key} is a text, not {value!r}")
        return value
    least = _LEAST.get(key, 0 if key in _FLOATS else 1)
    is_number = isinstance(value, int | float) if key in _FLOATS else isinstance(value, int)
    if isinstance(value, bool) or not is_number or value < least:
        raise ValueError(f"{key}={value!r} must be {'a number' if key in _FLOATS else 'an integer'} of at least {least}")
    return value


def as_toml(config: Config) -> str:
    """The settings as TOML, from which `load_config` reads the same ones."""
    lines, tables = [], []
    for each in dataclasses.fields(Config):
        value = getattr(config, each.name)
        if value is None or value == {} or value == ():
            continue
        if not isinstance(value, Mapping):
            lines.append(f"{each.name} = {_toml(value)}")
            continue
        tables.append(f"\n[{each.name}]")
        tables += [f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()]
    return "\n".join([*lines, *tables]) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value)  # of texts, numbers and truth values, TOML's form is JSON's
