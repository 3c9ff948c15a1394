"""Agents by string: `random`, `nash:alpha=0.2`, `hf:PATH,temperature=0.7`, `human`.

A spec is `name`, or `name:part,part,...`; a part `key=value` is an option, the one part without `=` is the target (a path, a
model's name). A value with a comma in it stands in double quotes: `system="Be brief, and win"`. Specs are what results, recipes
and `gym.make(..., opponent=...)` name agents by.
"""

import contextlib
import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, get_args, get_origin

from agents.agent import Agent
from agents.reference import ReferenceAgent, all_names, options_of, players_of
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
    name, target, options = _split(spec)
    return name, target, {option: _value(text) for option, text in options.items()}


def _split(spec: str) -> tuple[str, str | None, dict[str, str]]:
    """(name, target or None, options as they are written)."""
    if not isinstance(spec, str) or not spec.strip():
        raise ValueError(f"an agent spec is a string such as 'random' or 'nash:alpha=0.2', not {spec!r}")
    name, _, rest = spec.strip().partition(":")
    target: str | None = None
    options: dict[str, str] = {}
    for part in _PARTS.findall(rest):
        key, equals, value = part.partition("=")
        if equals and key.strip().isidentifier():
            if key.strip() in options:
                raise ValueError(f"agent spec {spec!r} gives {key.strip()!r} twice")
            options[key.strip()] = _unquoted(value.strip())
        elif target is None:
            target = _unquoted(part.strip())
        else:
            raise ValueError(f"agent spec {spec!r} has two targets, {target!r} and {part.strip()!r}")
    return name.strip(), target, options


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


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


def _fitted(spec: str, options: Mapping[str, str], kinds: Mapping[str, Any]) -> dict[str, Any]:
    """The options as what they are declared to be.

    Args:
        kinds: by name of the option, its annotation; `Parameter.empty` takes anything.
    """
    fitted = {}
    for option, text in options.items():
        if option not in kinds:
            raise ValueError(f"agent spec {spec!r} has no option {option!r}{nearest(option, kinds)}")
        if kinds[option] is inspect.Parameter.empty:
            fitted[option] = _value(text)
            continue
        for kind in _plain_kinds(kinds[option]):
            with contextlib.suppress(ValueError, KeyError):
                fitted[option] = _READERS[kind](text) if kind in _READERS else {str(kind): kind}[text]
                break
        else:
            wanted = " or ".join(_WORDS.get(kind, repr(kind)) for kind in _plain_kinds(kinds[option]))
            raise ValueError(f"agent spec {spec!r}: {option}={text!r} is no {wanted}")
    return fitted


def _plain_kinds(annotation: Any) -> list[Any]:
    """The types and the single values that an annotation allows, numbers before words; [] if it has others."""
    kinds: list[Any] = []
    for part in get_args(annotation) or (annotation,):
        if get_origin(annotation) is Literal or part in _READERS:
            kinds.append(part)
        elif get_args(part):
            kinds += _plain_kinds(part)
        else:
            return []
    return sorted(kinds, key=lambda kind: kind is str)  # any text is a word


def _whole(text: str) -> int:
    number = float(text)  # 1e3 is one, too
    if not number.is_integer():
        raise ValueError(text)
    return int(number)


_PARTS = re.compile(r'(?:[^,"]|"[^"]*"?)+')  # between commas, but for those in quotes
_READERS: dict[Any, Callable[[str], Any]] = {
    bool: lambda text: {"true": True, "false": False}[text.lower()],
    int: _whole,
    float: float,
    str: str,
    type(None): lambda text: {"none": None}[text.lower()],
}
_WORDS = {bool: "true or false", int: "whole number", float: "number", str: "word", type(None): "none"}


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
    name, target, options = _split(spec)
    if name in KINDS:
        return _maker_of_kind(spec, KINDS[name], target, options)
    if name not in all_names():
        raise ValueError(f"no agent {name!r}{nearest(name, all_names() | set(KINDS))}")
    if target is not None:
        raise ValueError(f"agent spec {spec!r}: {name!r} takes options such as key=value, not {target!r}")
    return partial(ReferenceAgent, name, **_fitted(spec, options, options_of(name)))


def _maker_of_kind(spec: str, entry: str, target: str | None, options: Mapping[str, str]) -> Callable[[], Agent]:
    """The factory of a kind with its arguments: `entry` is "module:factory"."""
    module, _, attribute = entry.partition(":")
    factory = getattr(importlib.import_module(module), attribute)
    parameters = inspect.signature(factory).parameters.values()
    kinds = {
        each.name: each.annotation
        for each in parameters
        if each.kind is each.KEYWORD_ONLY and (each.annotation is each.empty or _plain_kinds(each.annotation))
    }
    fitted = _fitted(spec, options, kinds)
    takes_target = any(each.kind is each.POSITIONAL_OR_KEYWORD for each in parameters)
    if takes_target != (target is not None):
        name = spec.partition(":")[0].strip()
        wanted = f"needs a target: {name}:NAME" if takes_target else f"takes no target, but was given {target!r}"
        raise ValueError(f"agent spec {spec!r} {wanted}")
    return partial(factory, *([] if target is None else [target]), **fitted)


def check_plays(agent: Agent, game_name: str) -> None:
    """Refuses a reference player that the game does not have, before any game is begun.

    Raises:
        ValueError: naming the players it has.
    """
    if isinstance(agent, ReferenceAgent):
        agent.player(game_name)


__all__ = ["KINDS", "check_plays", "check_spec", "make_agent", "parse_spec", "players_of"]
