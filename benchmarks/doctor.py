"""Is everything there that a tournament needs? What each agent says of itself, and one reply of it in each game."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.agent import Agent
from agents.play import Match, run_matches
from benchmarks.players import Spec, check_agent_plays, make_player
from benchmarks.schedule import GameSpec
from lmgames.aec import GameEnv
from lmgames.parsing import IllegalMove, public_text
from lmgames.registry import make

CHARS_PER_TOKEN = 4  # of English, for estimates
PROBE_GAMES = 4
FACTS = ("server", "tokenizer", "chat template", "max context", "max tokens")


@dataclass
class Findings:
    """What was found.

    Args:
        agents: what each agent says of itself.
        replies: agent, game, what became of its first reply, seconds, prompt tokens.
        problems: one line each.
    """

    agents: dict[str, dict[str, Any]] = field(default_factory=dict)
    replies: list[tuple[str, str, str, str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def examine(
    specs: Mapping[str, Spec], games: Sequence[GameSpec], say: Callable[[str], None] = lambda name: None
) -> Findings:
    """Makes each agent and asks it once in each game. Nothing it meets is raised.

    Args:
        specs: by name.
        games: each is tried with every agent.
        say: told the name of each agent before it is made, which may take minutes.
    """
    found = Findings()
    longest = {game.name: longest_prompt(game) for game in games}
    for name, spec in specs.items():
        say(name)
        agent: Agent | None = None
        try:
            agent = make_player(name, spec)
            found.agents[name] = about = agent.about()
            for game in games:
                _try(name, agent, game, found)
                _check_context(name, game, longest[game.name], about, found)
        except Exception as error:
            found.agents.setdefault(name, {})
            found.problems.append(f"{name}: {type(error).__name__}: {error}")
        finally:
            if agent is not None:
                agent.close()
    return found


def _try(name: str, agent: Agent, game: GameSpec, found: Findings) -> None:
    try:
        check_agent_plays(name, agent, game.rules().name)
        outcome, seconds, tokens = _first_reply(agent, game)
    except Exception as error:
        found.replies.append((name, game.name, "failed", "", ""))
        found.problems.append(f"{name} in {game.name}: {type(error).__name__}: {error}")
    else:
        found.replies.append((name, game.name, outcome, f"{seconds:.2f}", "" if tokens is None else f"{tokens:.0f}"))


def _first_reply(agent: Agent, game: GameSpec) -> tuple[str, float, float | None]:
    """("legal" or why it was refused, seconds, prompt tokens if known)."""
    env = make(game.env_id, **game.options).unwrapped
    assert isinstance(env, GameEnv)
    env.reset(seed=0)
    observation = env.observation(env.agent_selection)
    began = time.perf_counter()
    (reply,) = agent.act([observation])
    seconds = time.perf_counter() - began
    if reply.finish_reason == "error":
        raise reply.error or RuntimeError("the agent gave no reply")
    try:
        env.game.parse(observation.view, observation.seat, public_text(reply.text))
        outcome = "legal"
    except IllegalMove as refusal:
        cut = ", cut off by max_tokens" if reply.finish_reason == "length" else ""
        outcome = f"refused: {refusal.code}{cut}"
    return outcome, seconds, reply.usage.get("prompt_tokens")


def longest_prompt(game: GameSpec) -> int:
    """Characters of the longest prompt in a few games of random players."""
    return max((len(step.observation.text) for episode in probe(game) for step in episode.steps), default=0)


def probe(game: GameSpec) -> list[Any]:
    """A few games of random players."""
    player = make_player("random", "random")
    seats = dict.fromkeys(game.rules().seats, player)
    return list(run_matches(Match(game.env_id, seed, seats, dict(game.options)) for seed in range(PROBE_GAMES)))


def _check_context(name: str, game: GameSpec, longest: int, about: Mapping[str, Any], found: Findings) -> None:
    context = about.get("max context")
    if not isinstance(context, int):
        return
    wanted = longest / CHARS_PER_TOKEN + about.get("max tokens", 0)
    if wanted > context:
        found.problems.append(
            f"{name} in {game.name}: prompts of up to {longest} characters, about {longest // CHARS_PER_TOKEN} tokens, with "
            f"{about.get('max tokens', 0)} of reply do not fit into its context of {context} tokens"
        )
