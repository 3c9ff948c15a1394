"""A seeded game written down as readable text, byte for byte the same whenever it is played again.

Seats reply at random, now and then with something that is refused. What is written is what each seat reads, replies and is
paid. Golden playthroughs (`tests/golden/`) show any change of text, parsing, luck or payoff as a diff: such a change is a new
version of the game.
"""

import json
from collections.abc import Generator, Mapping
from typing import Any

from lmgames.aec import GameEnv
from lmgames.chance import Chance
from lmgames.registry import make

BAD_REPLIES = (
    "",
    "<think>I had better not say it.</think>",
    "Let me think about that first.",
    "[resign]",
    "[1] no, [2]",
    "[99999]",
    "[check] or [bet]",
)
"""Replies that most games refuse for some reason or other; games with free words may take the third as a message."""
ONE_IN = 6  # replies


def playthrough(name: str, options: Mapping[str, Any] | None = None, seed: int = 0) -> str:
    """A random game as text.

    Args:
        name: registered ID.
        options: of the game and of `GameEnv`.
        seed: of the episode; the replies are drawn from it, too.

    Raises:
        ValueError: for an unknown game, option or value.
    """
    env = make(name, **(options or {})).unwrapped
    assert isinstance(env, GameEnv)
    return "\n".join([f"{env.env_id} {_json(dict(options or {}))} seed {seed}", *play_by_play(env, seed), ""])


def play_by_play(env: GameEnv, seed: int, *, bad_one_in: int = ONE_IN) -> Generator[str, None, None]:
    """Plays an episode and tells it: the instance, then one text for each reply, then the end.

    Args:
        env: reset by this.
        seed: of the episode and of the replies.
        bad_one_in: one in so many replies, by chance, is of `BAD_REPLIES`; 0: none.
    """
    env.reset(seed=seed)
    yield f"instance: {_json(env.instance)}"
    read = dict.fromkeys(env.possible_agents, "")
    while not env.outcome:
        seat = env.agent_selection
        asked = _unread(env, seat, read)
        reply = random_reply(env, seed, bad_one_in=bad_one_in)
        env.step(reply)
        yield f"\n== {seat} reads\n{asked}\n== {seat} replies {_json(reply)}: {_verdict(env)}"
    yield f"\n== end: {env.outcome}"
    for seat in env.possible_agents:
        yield f"== {seat} reads\n{_unread(env, seat, read)}"
    yield f"returns: {_json(env.returns)}\nfacts: {_json(env.record().facts)}"


def random_reply(env: GameEnv, seed: int, *, bad_one_in: int = 0) -> str:
    """A reply of the seat to move: drawn by (seed, replies so far), legal but for one in `bad_one_in`."""
    chance = Chance(seed).derive("playthrough", len(env.turns))
    if bad_one_in and chance.integer("bad", high=bad_one_in - 1) == 0:
        return chance.choice(BAD_REPLIES, "which bad")
    seat = env.agent_selection
    return env.game.sample_reply(env.game.view(env.game_state, seat), seat, chance)


def _unread(env: GameEnv, seat: str, read: dict[str, str]) -> str:
    """What the seat reads beyond what it has read before; all of it should that have changed."""
    text = env.observe(seat)["text"]
    before, read[seat] = read[seat], text
    if not text.startswith(before):
        return f"(changed) {text}"
    return text[len(before) :].removeprefix("\n")


def _verdict(env: GameEnv) -> str:
    turn = env.turns[-1]
    played = f"{turn.status} {turn.code}".strip() + (f", plays {turn.move}" if turn.move else "")
    paid = ", ".join(f"{seat} {reward:+g}" for seat, reward in env.rewards.items() if reward)
    return played + (f"; paid {paid}" if paid else "")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
