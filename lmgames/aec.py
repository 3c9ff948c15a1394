"""`GameEnv`: the one AEC environment that plays every `Game`.

It owns what is the same in all of them: turn order, hidden simultaneous commitments, refusals and retries, forfeits, the
text of each seat, rewards by PettingZoo's bookkeeping, and the record from which the episode can be replayed.
"""

import difflib
import hashlib
import inspect
import operator
import secrets
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from gymnasium.spaces import Dict
from pettingzoo import AECEnv
from pettingzoo.utils.env import AECIterable, AECIterator
from pettingzoo.utils.env_logger import EnvLogger

from lmgames.chance import Chance
from lmgames.game import Game, check_choice, check_count
from lmgames.observation import Observation
from lmgames.parsing import Clip, IllegalMove, capped, public_text, readable
from lmgames.records import GameRecord, Turn
from lmgames.spaces import TextSpace
from lmgames.text import Line, Said, clean, render

InvalidPolicy = Literal["forfeit", "retry_forfeit", "retry_random", "retry_noop"]
LegalHint = Literal["list", "count", "none"]
Share = Literal["move", "public", "raw"]
MAX_OBSERVATION_CHARS = 4_000_000
OF_PETTINGZOO = ("agents", "num_agents", "agent_selection", "rewards", "terminations", "truncations", "infos")
OF_AN_EPISODE = {*OF_PETTINGZOO, "seed", "instance", "outcome", "turns", "returns", "waiting", "game_state"}
"""Attributes that `reset` sets."""


class GameEnv(AECEnv[str, dict[str, str], str]):
    """A game as a PettingZoo AEC environment: text in, text out, agents are the seats.

    Observations are `{"text": str}`, actions are replies (`str`). The acting agent's `infos` entry has `legal_moves` (texts,
    or None where words are free), `action_mask` (texts that `action_space(agent).sample(mask)` draws from: the legal moves,
    or one legal sample reply), `role`, `turn` (how many turns came before; seats that move at once take one together) and
    `invalid_count` (refused replies of this seat so far). After the end every agent's entry has `role`, `facts`, `outcome` and
    `invalid_count`.

    It holds the order of calls itself, as PettingZoo's `OrderEnforcingWrapper` does: before `reset`, attributes such as
    `agents` raise AttributeError and methods AssertionError; `step` after the end warns. That wrapper may be put around it
    all the same, but costs time at every look-up.

    Args:
        game: the rules.
        env_id: the registered ID, for records.
        invalid_policy: what follows a refused reply. "forfeit" ends the seat's game at once; "retry_*" lets it try again
            `retries` times, with the reason told to it alone, and then forfeits, plays a random legal move, or a no-op.
        retries: further attempts at one turn, for the policies that retry.
        legal_hint: whether a request lists the legal moves ("list"), counts them, or leaves them out.
        show_rules: whether a seat's text starts with the rules; off for models that know them.
        share: what others see of a reply beyond what the rules show of the move: nothing ("move"), its public text
            ("public"), or all of it, reasoning included ("raw", to reproduce suites that broadcast it). Games with free words
            say themselves what is heard, and take "move" alone.
        max_raw_chars, max_public_chars, clip: limits of a reply, see `parsing.public_text`.
        max_env_steps: safety limit on replies; reaching it truncates. None: as many as the rules and retries can need.
        render_mode: "human" prints, "ansi" returns, the text of the seat to move.
    """

    metadata = {"render_modes": ["human", "ansi"], "is_parallelizable": False, "render_fps": 1}

    def __init__(
        self,
        game: Game[Any, Any],
        *,
        env_id: str | None = None,
        invalid_policy: InvalidPolicy = "retry_forfeit",
        retries: int = 1,
        legal_hint: LegalHint = "list",
        show_rules: bool = True,
        share: Share = "move",
        max_raw_chars: int = 20_000,
        max_public_chars: int = 2_000,
        clip: Clip | None = None,
        max_env_steps: int | None = None,
        render_mode: Literal["human", "ansi"] | None = None,
    ):
        super().__init__()
        check_choice("invalid_policy", invalid_policy, ("forfeit", "retry_forfeit", "retry_random", "retry_noop"))
        check_count("retries", retries, 0)
        check_choice("legal_hint", legal_hint, ("list", "count", "none"))
        check_choice("share", share, ("move", "public", "raw"))
        check_choice("clip", clip, (None, "head", "tail"))
        check_choice("show_rules", show_rules, (True, False))
        check_choice("render_mode", render_mode, (None, "human", "ansi"))
        check_count("max_raw_chars", max_raw_chars, 1)
        check_count("max_public_chars", max_public_chars, 1)
        if max_env_steps is not None:
            check_count("max_env_steps", max_env_steps, 1)
        if share != "move" and game.words_are_free:
            raise ValueError(
                f"share={share!r}: what others hear of a reply is up to the rules of {game.name}; leave it at 'move'"
            )
        if invalid_policy == "retry_noop" and type(game).noop is Game.noop:
            raise ValueError(f"invalid_policy='retry_noop': {game.name} has no move that does nothing")
        self.game = game
        self.env_id = env_id or f"{game.name}-v{game.version}"
        self.invalid_policy = invalid_policy
        self.retries = 0 if invalid_policy == "forfeit" else retries
        self.legal_hint = legal_hint
        self.show_rules = show_rules
        self.share = share
        self.max_raw_chars = max_raw_chars
        self.max_public_chars = max_public_chars
        self.clip = clip
        self._shortest_limit = min(max_raw_chars, max_public_chars)
        self.max_env_steps = max_env_steps
        self._step_limit = max_env_steps or game.max_turns * (self.retries + 1)
        self.render_mode = render_mode
        self.options = _options(self)
        """Options of this environment (not of its game) that differ from their defaults, of JSON types."""
        self.metadata = {**type(self).metadata, "name": f"{_snake(game.name)}_v{game.version}"}
        self.possible_agents = list(game.seats)
        # Spaces belong to the instance: PettingZoo's seed_test fails when two environments share one.
        self._action_spaces = {seat: TextSpace(max_raw_chars) for seat in game.seats}
        self._observation_spaces = {seat: _text_observation() for seat in game.seats}
        self.state_space = TextSpace(MAX_OBSERVATION_CHARS)
        self._stream, self._unseeded = Chance(secrets.randbits(64)), 0
        self._has_reset = False
        self._has_updated = False  # since agent_iter last named an agent

    if not TYPE_CHECKING:  # a type checker that saw it would let every misspelt attribute pass

        def __getattr__(self, name: str) -> Any:
            if name in OF_AN_EPISODE:
                raise AttributeError(f"{name} cannot be accessed before reset")
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    # PettingZoo's interface.

    def observation_space(self, agent: str) -> Any:
        return self._observation_spaces[agent]

    def action_space(self, agent: str) -> Any:
        return self._action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Starts an episode.

        Args:
            seed: fixes all luck of the episode. Without one the episode's seed comes from the stream that the last seeded
                reset started, so unseeded episodes after a seeded one differ and can be repeated.
            options: `{"instance": ...}` plays that instance in place of a dealt one. Other keys are ignored, since PettingZoo's
                own tests give such; a misspelt "instance" is not.

        Raises:
            ValueError: if the instance is none of this game's, or the seed no integer.
        """
        for option in options or ():
            if option != "instance" and difflib.get_close_matches(str(option), ["instance"]):
                raise ValueError(f"reset: no option {option!r}; did you mean 'instance'?")
        if seed is not None:
            seed = _whole("seed", seed)
            self._stream, self._unseeded = Chance(seed), 0
        else:
            self._unseeded += 1
        self.seed = seed if seed is not None else self._stream.word("episode", self._unseeded) >> 2
        pinned = (options or {}).get("instance")
        self.instance = self.game.deal(Chance(self.seed)) if pinned is None else pinned
        self._enter(self.game.start(self.instance))
        self._instance_given = pinned is not None

        self.agents: list[str] = list(self.possible_agents)
        self.rewards: dict[str, float] = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards: dict[str, float] = dict.fromkeys(self.agents, 0.0)
        self.terminations: dict[str, bool] = dict.fromkeys(self.agents, False)
        self.truncations: dict[str, bool] = dict.fromkeys(self.agents, False)
        self.outcome = ""
        """Why the episode ended: "", "rules", "forfeit" or "limit"."""
        self._log: dict[str, list[Line]] = {seat: self._opening(seat) for seat in self.agents}
        self._text: dict[str, str] = {seat: render(lines) for seat, lines in self._log.items()}  # the log, rendered
        self._told: dict[str, int] = dict.fromkeys(self.agents, 0)  # lines of game.observe that stand in the log
        self._committed: dict[str, Any] = {}  # moves of the first of the movers, until all are there
        self._shared: list[Said] = []
        self._attempt = 0
        self._steps = 0
        self._turn = 0
        self._invalid: dict[str, int] = dict.fromkeys(self.agents, 0)
        self._paid = self.game.returns(self._state)
        self._turns: list[tuple[Any, ...]] = []  # the fields of each `Turn`, but the move itself (None: none) for its text
        self._told_turns: list[Turn] = []  # the first of them, as `turns` has made them
        self._asked: list[int] = []  # length of the text that the seat of each turn was asked with
        self._select_next()
        self._has_reset = self._has_updated = True

    def observe(self, agent: str) -> dict[str, str]:
        """`{"text": ...}`: all that the agent may read now. Reading it changes nothing."""
        if not self._has_reset:
            EnvLogger.error_observe_before_reset()
        if agent in self._legal:  # asked in this state, and so told of it
            return {"text": self._text[agent]}
        untold = self._untold(agent)
        return {"text": f"{self._text[agent]}\n{render(untold)}" if untold else self._text[agent]}

    def step(self, action: str | None) -> None:
        """Takes the reply of `agent_selection`: a move or a refusal. No text makes it raise; None removes a dead agent."""
        if not self._has_reset:
            EnvLogger.error_step_before_reset()
        self._has_updated = True
        if not self.agents:
            EnvLogger.warn_step_after_terminated_truncated()
            return
        seat = self.agent_selection
        if self.outcome:
            self._bury(seat, action)
            return
        self._cumulative_rewards[seat] = 0.0
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._asked.append(len(self._text[seat]))
        self._steps += 1
        self._attempt += 1
        reply = readable(action)
        try:
            move, public = self._read(seat, reply)
        except IllegalMove as refusal:
            self._refuse(seat, reply, refusal)
        else:
            self._turns.append((seat, reply, "ok", "", move))
            self._commit(seat, move, self._words_for_others(reply, public))
        if not self.outcome and self._steps >= self._step_limit:
            self._end("limit", self.game.returns(self._state))
        self._select_next()

    def _bury(self, seat: str, action: str | None) -> None:
        """What PettingZoo's `_was_dead_step` does where all agents die at once."""
        if action is not None:
            raise ValueError("when an agent is dead, the only valid action is None")
        self.agents.remove(seat)
        for of_agents in (self.terminations, self.truncations, self._cumulative_rewards, self.infos):
            del of_agents[seat]
        self.rewards = dict.fromkeys(self.agents, 0.0)
        if self.agents:
            self.agent_selection = self.agents[0]

    def agent_iter(self, max_iter: int = 2**63) -> AECIterable[str, dict[str, str], str]:
        """The agent to act, again and again until all are done; each must be stepped before the next is asked for."""
        if not self._has_reset:
            EnvLogger.error_agent_iter_before_reset()
        return _AgentsInTurn(self, max_iter)

    def render(self) -> str | None:
        """The text of the seat to move; after the end, the returns. Prints in mode "human", returns it in mode "ansi"."""
        if not self._has_reset:
            EnvLogger.error_render_before_reset()
        if self.outcome:
            text = "\n".join(f"{seat}: {paid:+g}" for seat, paid in self._paid.items())
        else:
            text = f"[{self.agent_selection}]\n{self.observe(self.agent_selection)['text']}"
        if self.render_mode == "human":
            print(text)
            return None
        return text

    def state(self) -> str:
        """Everything, secrets of all seats included: privileged, for centralised critics; never shown to a player."""
        if not self._has_reset:
            EnvLogger.error_state_before_reset()
        return repr(self._state)

    def close(self) -> None:
        pass

    # Beyond PettingZoo.

    def lines(self, agent: str) -> list[Line]:
        """What `observe` renders: the moderator's lines as `str`, players' words as `Said`."""
        return self._log[agent] + self._untold(agent)

    @property
    def waiting(self) -> tuple[str, ...]:
        """Seats whose reply is wanted now, in the order in which `step` takes them: several where they move at once."""
        if not self.agents or self.outcome:
            return ()
        return self._movers[len(self._committed) :]

    def observation(self, agent: str) -> Observation:
        """All that a player in the agent's seat is given, texts and structured view alike.

        It is the same for a seat of `waiting` whether or not the seats before it have replied, so all can be asked at once.
        """
        legal = self._legal[agent] if agent in self.waiting else ()
        turn = self._turn
        attempt = self._attempt if agent == self.agent_selection else 0
        return Observation(
            text=self.observe(agent)["text"],
            seat=agent,
            role=self.game.role_of(self._view(agent), agent),
            legal_moves=legal,
            turn=turn,
            seed=Chance(self.seed).word("player", agent, turn, attempt),
            env_id=self.env_id,
            game=self.game,
            view=self._view(agent),
        )

    @property
    def game_state(self) -> Any:
        """The game's state, secrets included: privileged."""
        return self._state

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Every reply so far and what became of it."""
        write = self.game.write
        self._told_turns += [
            Turn(seat, reply, status, code, "" if move is None else write(move))
            for seat, reply, status, code, move in self._turns[len(self._told_turns) :]
        ]
        return tuple(self._told_turns)

    @property
    def returns(self) -> dict[str, float]:
        """What each seat has been paid so far."""
        return dict(self._paid)

    def role(self, agent: str) -> str:
        """The agent's role: privileged where a game hides a seat's role from itself."""
        return self.game.role_of(self._state, agent)

    def record(self, agents: dict[str, str] | None = None) -> GameRecord:
        """The episode so far as a record that `replay` re-executes to the byte.

        Args:
            agents: spec of who sat where, by seat, to be kept with it.
        """
        return GameRecord(
            env_id=self.env_id,
            options={**self.game.options, **self.options},
            seed=self.seed,
            instance=self.instance,
            instance_given=self._instance_given,
            roles={seat: self.role(seat) for seat in self.possible_agents},
            agents=dict(agents or {}),
            turns=self.turns,
            returns=dict(self._paid),
            outcome=self.outcome,
            facts=self.game.facts(self._state) if self.outcome == "rules" else {},
            prompts_sha256=self._prompts_sha256(),
        )

    # What a seat reads.

    def _opening(self, seat: str) -> list[Line]:
        lines: list[Line] = [f"You are {seat}."]
        if self.show_rules:
            lines.insert(0, self.game.rules(self._view(seat), seat))
        return lines

    def _untold(self, seat: str) -> list[Line]:
        if seat in self._legal:  # asked in this state, and so told of it
            return []
        return self.game.observe(self._view(seat), seat)[self._told[seat] :]

    def _ask(self) -> None:
        """Puts what happened and what is asked into the log of every seat to move; later lines come after it."""
        game = self.game
        for seat in self._movers:
            view = self._view(seat)
            lines = game.observe(view, seat)
            told, self._told[seat] = self._told[seat], len(lines)
            legal = self._list_moves(seat, view)
            self._tell(seat, [*lines[told:], *game.request(view, seat), self._asking(legal)])

    def _list_moves(self, seat: str, view: Any) -> tuple[str, ...] | None:
        """The texts of the seat's legal moves, kept for its reply."""
        moves = self.game.legal_moves(view, seat)
        legal = None if moves is None else tuple(map(self.game.write, moves))
        self._moves[seat], self._legal[seat] = moves, legal
        return legal

    def _asking(self, legal: tuple[str, ...] | None) -> str:
        if legal is None or self.legal_hint == "none":
            return "Your turn."
        if self.legal_hint == "count":
            return f"Your turn. Legal moves: {len(legal)}."
        return f"Your turn. Legal moves: {' '.join(legal)}"

    def _tell_events(self, seat: str) -> None:
        untold = self._untold(seat)
        self._told[seat] += len(untold)
        self._tell(seat, untold)

    def _tell(self, seat: str, lines: list[Line]) -> None:
        if lines:
            self._log[seat] += lines
            self._text[seat] += "\n" + render(lines)

    def _prompts_sha256(self) -> str:
        """The chain of digests that `GameRecord` describes."""
        digest = b""
        hashed = dict.fromkeys(self.possible_agents, 0)
        for (seat, *_), asked in zip(self._turns, self._asked, strict=True):
            gained = self._text[seat][hashed[seat] : asked]
            digest = hashlib.sha256(digest + gained.encode("utf-8", "surrogatepass")).digest()
            hashed[seat] = asked
        return digest.hex()

    # What a reply leads to.

    def _read(self, seat: str, reply: Any) -> tuple[Any, str]:
        """(move, public text) of a reply.

        Raises:
            IllegalMove: if it is refused.
        """
        legal = self._legal[seat]
        if legal and type(reply) is str and reply in legal and len(reply) <= self._shortest_limit:
            # `Game.write` promises that `parse` gives the move back, and conformance holds every game to it: a reply that is a
            # legal move and nothing else, as programs write it, needs no reading.
            return self._moves[seat][legal.index(reply)], reply
        public = public_text(reply, max_raw_chars=self.max_raw_chars, max_public_chars=self.max_public_chars, clip=self.clip)
        return self.game.parse(self._view(seat), seat, public), public

    def _words_for_others(self, reply: Any, public: str) -> str | None:
        if self.share == "move":
            return None
        if self.share == "public" or not isinstance(reply, str):
            return public
        return clean(capped(reply, self.max_raw_chars, self.clip))

    def _commit(self, seat: str, move: Any, words: str | None) -> None:
        self._committed[seat] = move
        self._attempt = 0
        if words is not None:
            self._shared.append(Said(seat, words))
        if len(self._committed) < len(self._movers):
            return
        moves, self._committed = self._committed, {}
        for said in self._shared:
            for other in self.possible_agents:
                if other != said.seat:
                    self._tell_events(other)
                    self._tell(other, [said])
        self._shared = []
        self._advance(self.game.apply(self._state, moves))

    def _advance(self, state: Any) -> None:
        self._enter(state)
        told = self.game.turns_taken(state)
        self._turn = self._turn + 1 if told is None else told
        returns = self.game.returns(state)
        if self._movers:
            self._pay(returns)
        else:
            self._end("rules", returns)

    def _enter(self, state: Any) -> None:
        self._state = state
        self._movers = self.game.to_move(state)
        self._views: dict[str, Any] = {}
        self._moves: dict[str, Any] = {}  # the legal moves of each seat that has been asked, None where words are free
        self._legal: dict[str, tuple[str, ...] | None] = {}  # their texts

    def _view(self, seat: str) -> Any:
        view = self._views.get(seat)
        if view is None:
            view = self._views[seat] = self.game.view(self._state, seat)
        return view

    def _refuse(self, seat: str, reply: Any, refusal: IllegalMove) -> None:
        self._invalid[seat] += 1
        self._turns.append((seat, reply, "refused", refusal.code, None))
        left = self.retries + 1 - self._attempt
        told = f"Refused ({refusal.code}): {refusal.message}"
        if left > 0:
            self._tell(seat, [f"{told} {left} more {'attempt' if left == 1 else 'attempts'}."])
            return
        self._tell(seat, [told])
        view = self._view(seat)
        if self.invalid_policy == "retry_random":
            chance = Chance(self.seed).derive("in place of a refused reply", seat, self._turn)
            move = self.game.parse(view, seat, self.game.sample_reply(view, seat, chance))
        elif self.invalid_policy == "retry_noop":
            move = self.game.noop(view, seat)
        else:
            move = None
        if move is None:
            self._turns[-1] = (seat, reply, "forfeit", refusal.code, None)
            self._forfeit(seat)
        else:
            self._tell(seat, [f"Played for you: {self.game.write(move)}"])
            self._turns[-1] = (seat, reply, "replaced", refusal.code, move)
            self._commit(seat, move, None)

    def _forfeit(self, seat: str) -> None:
        move = self.game.forfeit_move(self._view(seat), seat)
        if move is not None:
            self._commit(seat, move, None)
            return
        self._attempt = 0
        state = self.game.forfeit(self._state, seat)
        if state is not None:
            self._committed, self._shared = {}, []  # a forfeit by rule replaces the round that was being committed
            self._advance(state)
            return
        for other in self.possible_agents:
            self._tell_events(other)
            self._tell(other, [f"{seat} gave no legal reply and forfeits the game."])
        self._end("forfeit", self.game.forfeit_returns(self._state, seat))

    def _pay(self, returns: dict[str, float]) -> None:
        if returns != self._paid:
            for agent in self.agents:
                self.rewards[agent] = reward = returns[agent] - self._paid[agent]
                self._cumulative_rewards[agent] += reward
        self._paid = returns

    def _end(self, outcome: str, returns: dict[str, float]) -> None:
        self.outcome = outcome
        self._committed, self._shared = {}, []
        self._pay(returns)
        flags = self.truncations if outcome == "limit" else self.terminations
        for agent in self.agents:
            flags[agent] = True

    def _select_next(self) -> None:
        if self.outcome:
            self.agent_selection = self.agents[0]
            self.infos: dict[str, dict[str, Any]] = {agent: self._closing_info(agent) for agent in self.agents}
            return
        if not self._legal:
            self._ask()
        self.agent_selection = seat = self._movers[len(self._committed)]
        self.infos = {agent: {} for agent in self.agents}
        self.infos[seat] = self._acting_info(seat)

    def _acting_info(self, seat: str) -> dict[str, Any]:
        view, legal = self._view(seat), self._legal[seat]
        if legal is None:
            chance = Chance(self.seed).derive("sample", seat, self._turn, self._attempt)
            mask = [self.game.sample_reply(view, seat, chance)]
        else:
            mask = list(legal)
        return {
            "legal_moves": None if legal is None else list(legal),
            "action_mask": mask,
            "role": self.game.role_of(view, seat),
            "turn": self._turn,
            "invalid_count": self._invalid[seat],
        }

    def _closing_info(self, seat: str) -> dict[str, Any]:
        return {
            "role": self.game.role_of(self._state, seat),
            "facts": self.game.facts(self._state) if self.outcome == "rules" else {},
            "outcome": self.outcome,
            "invalid_count": self._invalid[seat],
        }


class _AgentsInTurn(AECIterable[str, dict[str, str], str]):
    def __iter__(self) -> "_AgentIterator":
        return _AgentIterator(self.env, self.max_iter)


class _AgentIterator(AECIterator[str, dict[str, str], str]):
    env: GameEnv

    def __next__(self) -> str:  # as in the base class, which costs a call more
        env = self.env
        if not env.agents or self.iters_til_term <= 0:
            raise StopIteration
        self.iters_til_term -= 1
        assert env._has_updated, "need to call step() or reset() in a loop over `agent_iter`"
        env._has_updated = False
        return env.agent_selection


def _whole(name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise ValueError(f"{name}={value!r} must be an integer") from None


def _text_observation() -> Any:
    return Dict({"text": TextSpace(MAX_OBSERVATION_CHARS)})


def _snake(name: str) -> str:
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name).lstrip("_")


@cache
def _parameters() -> Mapping[str, inspect.Parameter]:
    return inspect.signature(GameEnv.__init__).parameters


def _options(env: GameEnv) -> dict[str, Any]:
    parameters = _parameters()
    recorded = [name for name in parameters if name not in ("self", "game", "env_id", "render_mode")]
    options = {name: getattr(env, name) for name in recorded}
    return {name: value for name, value in options.items() if value != parameters[name].default}
