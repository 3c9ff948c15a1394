"""What replies cost: tokens, calls and seconds by agent and seat, and money where a user states prices.

Prices are a TOML file; a table is named by an agent's spec, by its target ("gpt-x" of "openai:gpt-x@https://...") or by its
kind ("openai"), whichever is found first:

    ["gpt-x"]
    prompt = 1.25      # for a million tokens, in any currency
    cached = 0.125     # of the prompt's, those the server had; by default as much as `prompt`
    completion = 10.0  # reasoning included
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from agents.agent import Reply
from agents.play import Episode
from agents.specs import parse_spec
from lmgames.registry import nearest

PER = 1_000_000  # tokens


@dataclass
class Usage:
    """Sums over replies of models. What an engine or a server does not tell counts as 0.

    Attributes:
        calls: replies.
        prompt_tokens: tokens of their prompts.
        cached_tokens: of those, the ones whose computation was at hand.
        completion_tokens: tokens sampled, reasoning included.
        reasoning_tokens: of those, the ones in private reasoning.
        retries: tries that failed before a reply came.
        seconds: from each request to its reply; requests overlap, so these exceed the time that passed.
    """

    calls: int = 0
    prompt_tokens: float = 0
    cached_tokens: float = 0
    completion_tokens: float = 0
    reasoning_tokens: float = 0
    retries: float = 0
    seconds: float = 0.0

    def add(self, reply: Reply) -> None:
        """Counts a reply; one without usage, of an agent that is no model, counts nothing."""
        if reply.usage:
            self += Usage(1, **{name: reply.usage.get(name, 0) for name in _NAMES[1:]})

    def __iadd__(self, other: "Usage") -> "Usage":
        for name in _NAMES:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self


_NAMES = [field.name for field in fields(Usage)]


@dataclass(frozen=True)
class Price:
    """For a million tokens.

    Args:
        prompt: of prompts.
        completion: of what is sampled.
        cached: of prompts, where the server had computed it; None for as much as `prompt`.
    """

    prompt: float
    completion: float
    cached: float | None = None

    def of(self, usage: Usage) -> float:
        cached = self.prompt if self.cached is None else self.cached
        fresh = usage.prompt_tokens - usage.cached_tokens
        return (fresh * self.prompt + usage.cached_tokens * cached + usage.completion_tokens * self.completion) / PER


def usage_by_seat(episodes: Iterable[Episode]) -> dict[tuple[str, str], Usage]:
    """Usage by (agent, seat), for agents that tell theirs."""
    sums: dict[tuple[str, str], Usage] = {}
    for episode in episodes:
        add_episode(sums, episode)
    return sums


def add_episode(sums: dict[tuple[str, str], Usage], episode: Episode) -> None:
    for step in episode.steps:
        if step.reply.usage:
            agent = episode.match.agents[step.seat]
            sums.setdefault((agent.spec or type(agent).__name__, step.seat), Usage()).add(step.reply)


def read_prices(path: Path) -> dict[str, Price]:
    """The prices of a file.

    Raises:
        ValueError: if it is none, saying what is wrong.
        OSError: if it cannot be read.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML file: {error}") from error
    return {name: _price(path, name, table) for name, table in tables.items()}


def _price(path: Path, name: str, table: object) -> Price:
    known = {field.name for field in fields(Price)}
    if not isinstance(table, dict):
        raise ValueError(f'{path}: {name!r} is no table; write ["{name}"] and the prices below it')
    for key, value in table.items():
        if key not in known:
            raise ValueError(f"{path}: [{name}] has an unknown price {key!r}{nearest(key, known)}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise ValueError(f"{path}: [{name}] {key} = {value!r} is no price")
    for key in ("prompt", "completion"):
        if key not in table:
            raise ValueError(f"{path}: [{name}] lacks {key}, the price of a million tokens")
    return Price(**table)


def price_of(spec: str, prices: Mapping[str, Price]) -> Price | None:
    """The price of an agent, None if the file has none for it."""
    kind, target, _ = parse_spec(spec)
    names = [spec, *([target, target.rpartition("@")[0]] if target else []), kind]
    return next((prices[name] for name in names if name in prices), None)


def usage_table(sums: Mapping[tuple[str, str], Usage], prices: Mapping[str, Price] | None = None) -> str:
    """Rows by agent and seat, and a sum for each agent in several seats; "" if there is nothing to show."""
    if not sums:
        return ""
    by_agent: dict[str, list[tuple[str, Usage]]] = {}
    for (agent, seat), usage in sorted(sums.items()):
        by_agent.setdefault(agent, []).append((seat, usage))
    head = ["agent", "seat", "calls", "prompt", "cached", "completion", "reasoning", "retries", "seconds"]
    rows = [tuple([*head, "cost"] if prices else head)]
    for agent, seats in by_agent.items():
        if len(seats) > 1:
            total = Usage()
            for _, usage in seats:
                total += usage
            seats = [*seats, ("all", total)]
        price = price_of(agent, prices) if prices else None
        rows += [_cells(agent, seat, usage, price, bool(prices)) for seat, usage in seats]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _cells(agent: str, seat: str, usage: Usage, price: Price | None, priced: bool) -> tuple[str, ...]:
    counts = [f"{getattr(usage, name):.0f}" for name in _NAMES[:-1]]
    cost = [f"{price.of(usage):.6g}" if price else "-"] if priced else []
    return (agent, seat, *counts, f"{usage.seconds:.1f}", *cost)
