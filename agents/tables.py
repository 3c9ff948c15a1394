"""A game in progress, seen by whoever lets agents play it: ours, or any other AEC environment."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete
from pettingzoo.utils.wrappers import OrderEnforcingWrapper

from agents.agent import Observation
from lmgames.aec import GameEnv
from lmgames.chance import Chance
from lmgames.parsing import IllegalMove, extract_command, public_text
from lmgames.records import GameRecord, Turn

MAX_LISTED_ACTIONS = 1000


class Table(ABC):
    """One environment, played again and again."""

    env_id: str
    seats: tuple[str, ...]

    @abstractmethod
    def begin(self, seed: int, instance: Any = None) -> None:
        """Starts an episode."""

    @property
    @abstractmethod
    def waiting(self) -> tuple[str, ...]:
        """Seats whose reply is wanted now; `step` takes the first one's. Empty when the episode is over."""

    @abstractmethod
    def observation(self, seat: str) -> Observation:
        """What a waiting seat is asked."""

    @abstractmethod
    def text(self, seat: str) -> str:
        """The text of `observation(seat)`."""

    @abstractmethod
    def step(self, reply: str) -> None:
        """Takes the reply of the first seat of `waiting`."""

    @abstractmethod
    def paid(self, seat: str) -> float:
        """What a seat has been paid so far."""

    @abstractmethod
    def result(self, specs: Mapping[str, str]) -> tuple[GameRecord | None, tuple[Turn, ...], dict[str, float]]:
        """(record if the environment can write one, every reply in order, return of each seat)."""


def table_of(env: Any) -> Table:
    """The table of an AEC environment."""
    core = env.env if type(env) is OrderEnforcingWrapper else env
    return GameTable(core) if isinstance(core, GameEnv) else ForeignTable(env)


class GameTable(Table):
    """A table of ours, without the wrapper that checks the order of calls."""

    def __init__(self, env: GameEnv):
        self.env = env
        self.env_id = env.env_id
        self.seats = env.game.seats

    def begin(self, seed: int, instance: Any = None) -> None:
        self.env.reset(seed=seed, options=None if instance is None else {"instance": instance})

    @property
    def waiting(self) -> tuple[str, ...]:
        return self.env.waiting

    def observation(self, seat: str) -> Observation:
        return self.env.observation(seat)

    def text(self, seat: str) -> str:
        return self.env.observe(seat)["text"]

    def step(self, reply: str) -> None:
        self.env.step(reply)

    def paid(self, seat: str) -> float:
        return self.env.returns[seat]

    def result(self, specs: Mapping[str, str]) -> tuple[GameRecord | None, tuple[Turn, ...], dict[str, float]]:
        record = self.env.record(dict(specs))
        return record, record.turns, dict(record.returns)


class ForeignTable(Table):
    """Any other AEC environment whose actions are texts or numbers.

    Its text is the observation, or the entry "text" or "observation" of it. Legal moves are `infos[agent]["legal_moves"]`,
    or come from an action mask. Where actions are numbers a reply is `[number]`, and one that cannot be read or is masked is
    replaced by a legal action drawn from the seed.
    """

    def __init__(self, env: Any):
        self.env = env
        self.env_id = str(env.metadata.get("name") or type(env.unwrapped).__name__)
        self.seats = tuple(env.possible_agents)

    def begin(self, seed: int, instance: Any = None) -> None:
        self.env.reset(seed=seed, options=None if instance is None else {"instance": instance})
        self._chance = Chance(seed)
        self._paid = dict.fromkeys(self.seats, 0.0)
        self._turns: list[Turn] = []
        self._bury()

    def _bury(self) -> None:
        """Steps the dead agents out, as the AEC loop demands."""
        env = self.env
        while env.agents and (env.terminations[env.agent_selection] or env.truncations[env.agent_selection]):
            env.step(None)
        self._asked: Observation | None = None

    @property
    def waiting(self) -> tuple[str, ...]:
        return (self.env.agent_selection,) if self.env.agents else ()

    def observation(self, seat: str) -> Observation:
        if self._asked is None:
            self._asked = self._observation(seat)
        return self._asked

    def text(self, seat: str) -> str:
        return self.observation(seat).text

    def _observation(self, seat: str) -> Observation:
        seen, info = self.env.observe(seat), self.env.infos.get(seat, {})
        numbers = self._legal_numbers(seat, seen, info)
        listed = info.get("legal_moves")
        if numbers is not None:
            moves: tuple[str, ...] | None = tuple(f"[{number}]" for number in numbers)
        else:
            moves = tuple(listed) if isinstance(listed, list | tuple) and listed else None
        text = _text(seen)
        if numbers is not None:
            text += f"\nYou are {seat}. Reply with one number in brackets. Legal moves: {' '.join(moves or ())}"
        turn = len(self._turns)
        seed = self._chance.word("player", seat, turn, 0)
        return Observation(text, seat, str(info.get("role", "")), moves, turn, seed, self.env_id)

    def _legal_numbers(self, seat: str, seen: Any, info: Mapping[str, Any]) -> list[int] | None:
        space = self.env.action_space(seat)
        if not isinstance(space, Discrete):
            return None
        mask = seen.get("action_mask") if isinstance(seen, dict) else None
        mask = info.get("action_mask") if mask is None else mask
        if mask is None and space.n > MAX_LISTED_ACTIONS:
            raise ValueError(f"{self.env_id}: {space.n} actions without a mask are too many to list to a language model")
        allowed = range(int(space.n)) if mask is None else np.flatnonzero(np.asarray(mask))
        return [int(space.start) + int(number) for number in allowed]

    def step(self, reply: str) -> None:
        seat = self.env.agent_selection
        moves = self.observation(seat).legal_moves
        action: Any = reply
        turn = Turn(seat, reply, "ok")
        if isinstance(self.env.action_space(seat), Discrete):
            action, turn = self._number(seat, reply, moves or ())
        self._turns.append(turn)
        self.env.step(action)
        for agent, reward in self.env.rewards.items():
            self._paid[agent] = self._paid.get(agent, 0.0) + float(reward)
        self._bury()

    def _number(self, seat: str, reply: str, moves: tuple[str, ...]) -> tuple[int, Turn]:
        try:
            move = f"[{extract_command(public_text(reply), numbers=True).args}]"
            if move not in moves:
                raise IllegalMove("illegal_now", "")
            turn = Turn(seat, reply, "ok", move=move)
        except IllegalMove as refusal:
            move = self._chance.choice(moves, "in place of a refused reply", len(self._turns))
            turn = Turn(seat, reply, "replaced", code=refusal.code, move=move)
        return int(move[1:-1]), turn

    def paid(self, seat: str) -> float:
        return self._paid[seat]

    def result(self, specs: Mapping[str, str]) -> tuple[GameRecord | None, tuple[Turn, ...], dict[str, float]]:
        return None, tuple(self._turns), dict(self._paid)


def _text(seen: Any) -> str:
    if isinstance(seen, dict):
        seen = next((seen[key] for key in ("text", "observation") if key in seen), seen)
    return seen if isinstance(seen, str) else str(seen.tolist() if isinstance(seen, np.ndarray) else seen)
