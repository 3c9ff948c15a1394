"""Agents by string: `random`, `nash:alpha=0.2`, `hf:PATH,temperature=0.7`, `human`.

A spec is `name`, or `name:part,part,...`; a part `key=value` is an option, the one part without `=` is the target (a path, a
model's name). Specs are what results, recipes and `gym.make(..., opponent=...)` name agents by.
"""

import importlib
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from agents.agent import Agent
from agents.reference import ReferenceAgent, all_names, players_of
from lmgames.registry import nearest

KINDS: dict[str, str] = {
    "hf": "agents.models.hf:make_agent",
    "human": "agents.human:Human",
    "openai": "agents.models.remote:make_agent",
    "vllm": "agents.models.vllm:make_agent",
}
"""Kind of agent -> "module:factory", imported when first made; a module may have `check_target`, which refuses what is no target
without loading it. Reference players need no line here."""


def parse_spec(spec: str) -> tuple[str, str | None, dict[str, Any]]:
    """(name, target or None, options) of a spec; values that read as numbers, true, false or none become those.

    Raises:
        ValueError: if the spec is no string of that form.
    """
    if not isinstance(spec, str) or not spec.strip():
        raise ValueError(f"an agent spec is a string such as 'random' or 'nash:alpha=0.2', not {spec!r}")
    name, _, rest = spec.strip().partition(":")
    target: str | None = None
    options: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if equals and key.strip().isidentifier():
            options[key.strip()] = _value(value.strip())
        elif target is None:
            target = part.strip()
        else:
            raise ValueError(f"agent spec {spec!r} has two targets, {target!r} and {part.strip()!r}")
    return name.strip(), target, options


def _value(text: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def make_agent(spec: str, game: str | None = None) -> Agent:
    """The agent that a spec names.

    Args:
        spec: see the top of this file.
        game: `Game.name` of what it is going to play, if known, so that a player that the game lacks is refused here.

    Raises:
        ValueError: for an unknown name or option, with the nearest one.
    """
    agent = _maker(spec)()
    agent.spec = spec.strip()
    if game is not None:
        check_plays(agent, game)
    return agent


def check_spec(spec: str, game: str | None = None) -> None:
    """Refuses what `make_agent` would refuse by the spec alone; no model is loaded and no server asked.

    Raises:
        ValueError: as `make_agent`.
    """
    make = _maker(spec)
    name, target, _ = parse_spec(spec)
    if name in KINDS:
        check_target = getattr(importlib.import_module(KINDS[name].partition(":")[0]), "check_target", None)
        if target is not None and check_target is not None:
            check_target(target)
    elif game is not None:
        check_plays(make(), game)


def _maker(spec: str) -> Callable[[], Agent]:
    """What makes the agent of a spec that names one."""
    name, target, options = parse_spec(spec)
    if name in KINDS:
        return _maker_of_kind(spec, KINDS[name], target, options)
    if name not in all_names():
        raise ValueError(f"no agent {name!r}{nearest(name, all_names() | set(KINDS))}")
    if target is not None:
        raise ValueError(f"agent spec {spec!r}: {name!r} takes options such as key=value, not {target!r}")
    return partial(ReferenceAgent, name, **options)


def _maker_of_kind(spec: str, entry: str, target: str | None, options: dict[str, Any]) -> Callable[[], Agent]:
    """The factory of a kind with its arguments: `entry` is "module:factory"."""
    module, _, attribute = entry.partition(":")
    factory = getattr(importlib.import_module(module), attribute)
    parameters = inspect.signature(factory).parameters.values()
    known = {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    for option in options:
        if option not in known:
            raise ValueError(f"agent spec {spec!r} has no option {option!r}{nearest(option, known)}")
    takes_target = any(parameter.kind is parameter.POSITIONAL_OR_KEYWORD for parameter in parameters)
    if takes_target != (target is not None):
        name = spec.partition(":")[0].strip()
        wanted = f"needs a target: {name}:NAME" if takes_target else f"takes no target, but was given {target!r}"
        raise ValueError(f"agent spec {spec!r} {wanted}")
    return partial(factory, *([] if target is None else [target]), **options)


def check_plays(agent: Agent, game_name: str) -> None:
    """Refuses a reference player that the game does not have, before any game is begun.

    Raises:
        ValueError: naming the players it has.
    """
    if isinstance(agent, ReferenceAgent):
        agent.player(game_name)


__all__ = ["KINDS", "check_plays", "check_spec", "make_agent", "parse_spec", "players_of"]
