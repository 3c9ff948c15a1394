"""Agents by string: `random`, `nash:alpha=0.2`, `hf:PATH,temperature=0.7`, `human`.

A spec is `name`, or `name:part,part,...`; a part `key=value` is an option, the one part without `=` is the target (a path, a
model's name). Specs are what results, recipes and `gym.make(..., opponent=...)` name agents by.
"""

import importlib
import inspect
from typing import Any

from agents.agent import Agent
from agents.reference import ReferenceAgent, all_names, players_of
from lmgames.registry import nearest

KINDS: dict[str, str] = {
    "hf": "agents.models.hf:make_agent",
    "human": "agents.human:Human",
}
"""Kind of agent -> "module:factory", imported when first made. Reference players need no line here."""


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


def make_agent(spec: str) -> Agent:
    """The agent that a spec names.

    Raises:
        ValueError: for an unknown name or option, with the nearest one.
    """
    name, target, options = parse_spec(spec)
    if name in KINDS:
        module, _, attribute = KINDS[name].partition(":")
        factory = getattr(importlib.import_module(module), attribute)
        arguments = ([] if target is None else [target], options)
    elif name in all_names():
        if target is not None:
            raise ValueError(f"agent spec {spec!r}: {name!r} takes options such as key=value, not {target!r}")
        factory, arguments = ReferenceAgent, ([name], options)
    else:
        raise ValueError(f"no agent {name!r}{nearest(name, all_names() | set(KINDS))}")
    try:
        if factory is not ReferenceAgent:
            inspect.signature(factory).bind(*arguments[0], **options)
    except TypeError as error:
        raise ValueError(f"agent spec {spec!r}: {error}") from None
    agent: Agent = factory(*arguments[0], **options)
    agent.spec = spec.strip()
    return agent


def check_plays(agent: Agent, game_name: str) -> None:
    """Refuses a reference player that the game does not have, before any game is begun.

    Raises:
        ValueError: naming the players it has.
    """
    if isinstance(agent, ReferenceAgent):
        agent.player(game_name)


__all__ = ["KINDS", "check_plays", "make_agent", "parse_spec", "players_of"]
