"""Where checks look: the positions of a game, all of them where they are few, else those of random games."""

import copy
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lmgames.aec import GameEnv
from lmgames.game import Game, IllegalMove
from lmgames.playthrough import BAD_REPLIES, random_reply
from lmgames.testing.suite import Subject

MAX_LISTED = 20_000
"""Positions; a game with more is sampled."""
ONE_IN_BAD = 8


@dataclass(frozen=True, slots=True)
class Position:
    """A state and the way to it.

    Args:
        state: the game's.
        path: the moves that led here, a dict by seat for each round.
        seed: of the episode; None where it was listed rather than dealt.
        parent: the position before the last round, where positions are listed.
    """

    state: Any
    path: tuple[Any, ...] = ()
    seed: int | None = None
    parent: "Position | None" = None

    def told(self, game: Game[Any, Any]) -> str:
        """The way here, for messages."""
        moves = " ".join(f"{seat}{game.write(move)}" for step in self.path for seat, move in step.items())
        return f"after {moves}" if moves else "at the start"


def every_position(game: Game[Any, Any], limit: int = MAX_LISTED) -> list[Position] | None:
    """Every position of every instance; None if they are more than `limit` or cannot be listed."""
    instances = game.instances()
    if instances is None:
        return None
    found: list[Position] = []
    for instance in instances:
        waiting = [Position(game.start(instance))]
        while waiting:
            here = waiting.pop()
            found.append(here)
            if len(found) > limit:
                return None
            seats = game.to_move(here.state)
            listed = [game.legal_moves(game.view(here.state, seat), seat) for seat in seats]
            if seats and any(moves is None for moves in listed):
                return None
            for joint in itertools.product(*(moves or () for moves in listed)) if seats else ():
                step = dict(zip(seats, joint, strict=True))
                waiting.append(Position(game.apply(here.state, step), (*here.path, step), parent=here))
    return found


def random_game(env: GameEnv, seed: int, *, bad_one_in: int = ONE_IN_BAD) -> Iterator[GameEnv]:
    """Plays an episode; gives the environment after the reset and after every reply."""
    env.reset(seed=seed)
    yield env
    while not env.outcome:
        env.step(random_reply(env, seed, bad_one_in=bad_one_in))
        yield env


def policies(subject: Subject) -> list[dict[str, Any]]:
    """Options for each way to deal with a refused reply."""
    names = ["forfeit", "retry_forfeit", "retry_random"]
    if type(subject.game).noop is not Game.noop:
        names.append("retry_noop")
    return [{"invalid_policy": name} for name in names]


def random_positions(subject: Subject, seeds: Iterator[int] | range | tuple[int, ...]) -> Iterator[Position]:
    """The positions of random games, forfeits and replaced moves among them."""
    for seed in seeds:
        for env in random_game(subject.env(), seed):
            yield Position(env.game_state, seed=seed)


def rules_tell(game: Game[Any, Any], state: Any, seat: str) -> dict[str, Any]:
    """All that the rules tell a seat in a state, by the name of what tells it."""
    view = game.view(state, seat)
    moving = game.to_move(state)
    tells: dict[str, Any] = {
        "whether it is to move": seat in moving,  # who else is may be a secret where seats move at once
        "rules": game.rules(view, seat),
        "observe": tuple(game.observe(view, seat)),
        "information_set": game.information_set(state, seat),
        "role_of": game.role_of(view, seat),
    }
    if moving:  # the last reward may tell by rule what was hidden
        tells["returns"] = game.returns(state)[seat]
    if seat in moving:
        tells["request"] = tuple(game.request(view, seat))
        tells["legal_moves"] = game.legal_moves(view, seat)
        tells["noop"] = game.noop(view, seat)
        for reply in BAD_REPLIES[2:]:
            tells[f"the answer to {reply!r}"] = _answer(game, view, seat, reply)
    return tells


def _answer(game: Game[Any, Any], view: Any, seat: str, reply: str) -> Any:
    try:
        return "move", game.parse(view, seat, reply)
    except IllegalMove as refusal:
        return refusal.code, refusal.message


def env_tells(env: GameEnv, seat: str) -> dict[str, Any]:
    """All that the environment shows a seat: text, info, render, and what refused replies would be answered."""
    tells: dict[str, Any] = {
        "observe": env.observe(seat)["text"],
        "space": env.observation_space(seat).contains(env.observe(seat)),
    }
    if env.outcome or seat != env.agent_selection:
        return tells
    tells["info"] = json.dumps(env.infos[seat], sort_keys=True)
    tells["render"] = env.render()
    tells["last"] = repr(env.last())
    for reply in BAD_REPLIES:
        trial = copy.deepcopy(env)
        trial.step(reply)
        if trial.turns[-1].status == "refused":
            tells[f"the answer to {reply!r}"] = trial.observe(seat)["text"], json.dumps(trial.infos[seat], sort_keys=True)
    return tells


def first_difference(one: dict[str, Any], other: dict[str, Any]) -> str:
    """Names the first thing that two tellings tell differently, with both; "" if none."""
    for name in {**one, **other}:
        if one.get(name) != other.get(name):
            return f"{name}: {_short(one.get(name))} against {_short(other.get(name))}"
    return ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:100]} ... {text[-180:]}"
