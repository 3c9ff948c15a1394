"""Games between agents, many at once: `play` for a few lines of code, `run_matches` for training and tournaments.

    from agents.play import play
    for episode in play("lmgames/KuhnPoker-v0", ["random", "nash"], episodes=4):
        print(episode.returns)

The same from the command line: python -m agents.play lmgames/KuhnPoker-v0 --agents random nash --games 64
"""

import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from agents.agent import Agent, Observation, Reply
from agents.specs import check_plays, make_agent
from agents.tables import GameTable, Table, table_of
from lmgames.players import text_of
from lmgames.records import GameRecord, Turn
from lmgames.registry import make

__all__ = ["Episode", "Match", "MatchError", "Step", "Watch", "play", "run_matches"]

DEFAULT_CONCURRENCY = 256  # games


@dataclass(frozen=True, eq=False)
class Match:
    """A game to be played.

    Args:
        env_id: registered ID.
        seed: of the episode.
        agents: who sits where, for every seat. One agent may sit in several seats and in many matches at once.
        options: of the game and of its environment.
        instance: played in place of the one that the seed deals.
        tag: anything; comes back with the episode.
    """

    env_id: str
    seed: int
    agents: Mapping[str, Agent]
    options: Mapping[str, Any] = field(default_factory=dict)
    instance: Any = None
    tag: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One reply of one seat.

    Args:
        observation: what it was asked.
        reply: what it answered.
        turn: what became of it.
        reward: what the seat was paid from this step until its next one. The rewards of a seat's steps sum to its return.
    """

    observation: Observation
    reply: Reply
    turn: Turn
    reward: float

    @property
    def seat(self) -> str:
        return self.turn.seat


@dataclass(frozen=True, slots=True, eq=False)
class Episode:
    """A game that was played.

    Args:
        match: which one.
        record: from which it can be replayed; None for environments that are not ours.
        steps: every reply, in the order in which the environment took them.
        returns: by seat.
        index: place of the match among those that were drawn, from 0.
    """

    match: Match
    record: GameRecord | None
    steps: tuple[Step, ...]
    returns: Mapping[str, float]
    index: int = 0

    def steps_of(self, seat: str) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.turn.seat == seat)


@dataclass
class Watch:
    """Where the time of `run_matches` goes; added to.

    Args:
        agents: seconds in agents: models that generate, players that think.
        engine: of these, seconds in the engines of models.
        games: seconds in the games, and in handing replies to and fro.
        live: games in progress, times the seconds that agents took meanwhile.
    """

    agents: float = 0.0
    engine: float = 0.0
    games: float = 0.0
    live: float = 0.0


@dataclass(frozen=True)
class Failure:
    """A match that could not be played to its end: where, and why."""

    match: Match
    seat: str | None
    error: Exception

    def __str__(self) -> str:
        where = f"{self.match.env_id}, seed {self.match.seed}"
        if self.seat is not None:
            who = self.match.agents.get(self.seat)
            where += f", seat {self.seat} ({(who.spec if who else '') or type(who).__name__})"
        return f"{where}: {type(self.error).__name__}: {self.error}"


class MatchError(RuntimeError):
    """Raised after every other game has been played to its end and handed out; `failures` lists those that were not."""

    def __init__(self, failures: Sequence[Failure]):
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        super().__init__(f"a match failed{more}: {failures[0]}")
        self.failures = tuple(failures)


def run_matches(
    matches: Iterable[Match],
    *,
    concurrency: int = DEFAULT_CONCURRENCY,
    on_episode: Callable[[Episode], None] | None = None,
    watch: Watch | None = None,
) -> Iterator[Episode]:
    """Plays matches, `concurrency` at a time, and gives each episode as it ends.

    A game's request goes to its agent the moment the game is ready, and its reply to the game the moment it is there: games
    wait neither for each other's turns nor for each other's end. What happens in a game depends on its match alone, not on
    `concurrency` or on who finishes first; `Episode.index` gives the order back.

    Args:
        matches: drawn one at a time, as tables become free.
        concurrency: games.
        on_episode: called with each episode before it is given.
        watch: takes the time.

    Raises:
        MatchError: at the end, if an agent or a game raised. No further match is drawn once one has failed; games already
            begun are played to their end.
    """
    return _Hall(matches, concurrency, _Pool(), watch).run(on_episode)


def play(
    env: Any,
    agents: Any,
    *,
    episodes: int = 1,
    seed: int = 0,
    seats: Literal["fixed", "rotate"] = "fixed",
    options: Mapping[str, Any] | None = None,
    concurrency: int = DEFAULT_CONCURRENCY,
    on_episode: Callable[[Episode], None] | None = None,
) -> list[Episode]:
    """Plays episodes between agents.

    Args:
        env: a registered ID, an AEC environment (any, not only ours), or a function that makes one. With a single
            environment the games are played one after the other.
        agents: a list in seat order, a mapping by seat, or one for all seats; each an `Agent` or a spec such as "random".
        episodes: games.
        seed: of the first game. "fixed": game i has seed + i. "rotate": every deal is played once in each rotation of the
            agents over the seats, so that n seats give n games with one seed.
        options: of the game and its environment, where `env` is an ID.

    Returns:
        Episodes in the order of their seeds.

    Raises:
        ValueError: for an unknown game, option, agent, or number of agents.
        MatchError: if an agent raised.
    """
    if seats not in ("fixed", "rotate"):
        raise ValueError(f"seats={seats!r} is not one of 'fixed', 'rotate'")
    if options and not isinstance(env, str):
        raise ValueError("options go with a registered ID; make the environment with them instead")
    pool = _Pool(env)
    table = pool.take(env if isinstance(env, str) else "", options or {})
    pool.put_back(table)
    seated, made = seat_agents(agents, table)
    matches = schedule(table.env_id, seated, episodes=episodes, seed=seed, seats=seats, options=options or {})
    try:
        hall = _Hall(matches, concurrency if pool.makes_more else 1, pool)
        return sorted(hall.run(on_episode), key=lambda episode: episode.index)
    finally:
        for agent in made:
            agent.close()


def schedule(
    env_id: str, seated: Mapping[str, Agent], *, episodes: int, seed: int, seats: str, options: Mapping[str, Any]
) -> Iterator[Match]:
    """The matches of `play`: as many as `episodes`, agents rotated over the seats of each deal if asked for."""
    names, agents = list(seated), list(seated.values())
    turns = len(names) if seats == "rotate" else 1
    for number in range(episodes):
        shift = number % turns
        rotated = agents[-shift:] + agents[:-shift] if shift else agents
        yield Match(env_id, seed + number // turns, dict(zip(names, rotated, strict=True)), options, tag=shift)


def seat_agents(agents: Any, table: Table) -> tuple[dict[str, Agent], list[Agent]]:
    """(agent by seat, agents made here from specs, which the caller closes). Equal specs share one agent.

    Raises:
        ValueError: if they are not as many as the seats, or one cannot play the game.
    """
    if isinstance(agents, Mapping):
        wrong = set(agents) ^ set(table.seats)
        if wrong:
            raise ValueError(
                f"agents: {sorted(wrong)} missing or unknown; {table.env_id} has seats {', '.join(table.seats)}"
            )
        chosen = [agents[seat] for seat in table.seats]
    elif isinstance(agents, str | Agent):
        chosen = [agents] * len(table.seats)
    else:
        chosen = list(agents)
        if len(chosen) != len(table.seats):
            seats = f"{len(table.seats)} seats: {', '.join(table.seats)}"
            raise ValueError(f"{len(chosen)} agents were given; {table.env_id} has {seats}")
    made: dict[str, Agent] = {}
    for who in chosen:
        if isinstance(who, str):
            made[who] = made.get(who) or make_agent(who)
        elif not isinstance(who, Agent):
            raise ValueError(f"an agent is an Agent or a spec such as 'random', not {who!r}")
    seated = {seat: made[who] if isinstance(who, str) else who for seat, who in zip(table.seats, chosen, strict=True)}
    if isinstance(table, GameTable):
        for agent in seated.values():
            check_plays(agent, table.env.game.name)
    return seated, list(made.values())


class _Pool:
    """Tables, made when wanted and used again.

    Args:
        env: the one environment to use, or what makes one; None to make them by ID.
    """

    def __init__(self, env: Any = None):
        self._env = None if isinstance(env, str) else env
        self._free: dict[str, list[Table]] = {}
        self._kind: dict[int, str] = {}  # id of table -> its key in `_free`
        self.makes_more = not hasattr(self._env, "reset")

    def take(self, env_id: str, options: Mapping[str, Any]) -> Table:
        kind = env_id + json.dumps(options, sort_keys=True, default=repr) if self._env is None else ""
        free = self._free.get(kind)
        table = free.pop() if free else self._make(env_id, options)
        self._kind[id(table)] = kind
        return table

    def _make(self, env_id: str, options: Mapping[str, Any]) -> Table:
        if self._env is None:
            return table_of(make(env_id, **options))
        return table_of(self._env() if self.makes_more else self._env)

    def put_back(self, table: Table) -> None:
        self._free.setdefault(self._kind[id(table)], []).append(table)


class _Game:
    """A match being played."""

    def __init__(self, match: Match, index: int, table: Table):
        self.match = match
        self.index = index
        self.table = table
        self._asked: dict[str, Observation] = {}  # what each seat that has not replied was asked
        self._held: dict[str, tuple[Observation, Reply]] = {}  # replies to be taken after those of seats before
        self._taken: list[tuple[Observation, Reply, float]] = []  # and what the seat had been paid until then
        table.begin(match.seed, match.instance)

    def requests(self) -> list[tuple[str, Observation]]:
        """What is to be asked now and has not been."""
        wanted = [seat for seat in self.table.waiting if seat not in self._asked and seat not in self._held]
        for seat in wanted:
            self._asked[seat] = self.table.observation(seat)
        return [(seat, self._asked[seat]) for seat in wanted]

    def receive(self, seat: str, reply: Reply) -> None:
        """Takes a reply as soon as it is the seat's turn."""
        self._held[seat] = (self._asked.pop(seat), reply)
        while (waiting := self.table.waiting) and (next_seat := waiting[0]) in self._held:
            observation, reply = self._held.pop(next_seat)
            if observation.text != self.table.text(next_seat):
                continue  # what it was asked no longer stands: a seat before it forfeited the round
            self._taken.append((observation, reply, self.table.paid(next_seat)))
            self.table.step(reply.text)

    @property
    def is_over(self) -> bool:
        return not self.table.waiting

    def episode(self) -> Episode:
        specs = {seat: agent.spec for seat, agent in self.match.agents.items() if agent.spec}
        record, turns, returns = self.table.result(specs)
        rewards: list[float] = []
        paid = dict(returns)
        first = {observation.seat: number for number, (observation, _, _) in reversed(list(enumerate(self._taken)))}
        for number in range(len(self._taken) - 1, -1, -1):
            seat, before = self._taken[number][0].seat, self._taken[number][2]
            since = 0.0 if first[seat] == number else before
            rewards.append(paid[seat] - since)
            paid[seat] = before
        steps = tuple(
            Step(observation, reply, turn, reward)
            for (observation, reply, _), turn, reward in zip(self._taken, turns, reversed(rewards), strict=True)
        )
        return Episode(self.match, record, steps, returns, self.index)


class _Hall:
    """The loop of `run_matches`: games in progress, and who owes them replies."""

    def __init__(self, matches: Iterable[Match], concurrency: int, pool: "_Pool", watch: Watch | None = None):
        if concurrency < 1:
            raise ValueError(f"concurrency={concurrency!r} must be at least 1")
        self._matches = enumerate(matches)
        self._concurrency = concurrency
        self._pool = pool
        self._watch = watch or Watch()
        self._live: dict[int, _Game] = {}  # by index of the match
        self._owing: dict[int, tuple[Agent, set[tuple[int, str]]]] = {}  # id of agent -> agent, (match index, seat) asked
        self._inbox: deque[tuple[int, str, Reply]] = deque()
        self._ended: deque[Episode] = deque()
        self._failures: list[Failure] = []

    def run(self, on_episode: Callable[[Episode], None] | None) -> Iterator[Episode]:
        began, agents = time.perf_counter(), self._watch.agents
        self._begin_matches()
        while self._live or self._ended:
            if not self._ended:
                self._hear()
                self._begin_matches()
            while self._ended:
                episode = self._ended.popleft()
                if on_episode is not None:
                    on_episode(episode)
                self._watch.games += time.perf_counter() - began - (self._watch.agents - agents)
                yield episode
                began, agents = time.perf_counter(), self._watch.agents
        if self._failures:
            raise MatchError(self._failures) from self._failures[0].error

    def _begin_matches(self) -> None:
        while len(self._live) < self._concurrency and not self._failures:
            index, match = next(self._matches, (None, None))
            if index is None or match is None:
                return
            try:
                game = _Game(match, index, self._pool.take(match.env_id, match.options))
            except Exception as error:
                self._failures.append(Failure(match, None, error))
                return
            self._live[index] = game
            self._go_on(game)

    def _go_on(self, game: _Game) -> None:
        """Asks for what the game wants next, or ends it."""
        if game.is_over:
            del self._live[game.index]
            self._ended.append(game.episode())
            self._pool.put_back(game.table)
            return
        for seat, observation in game.requests():
            try:
                agent = game.match.agents[seat]
                began, in_engine = time.perf_counter(), agent.engine_seconds
                agent.submit((self, game.index, seat), observation)
                self._watch.agents += time.perf_counter() - began
                self._watch.engine += agent.engine_seconds - in_engine
            except Exception as error:
                self._fail(game, seat, error)
                return
            self._owing.setdefault(id(agent), (agent, set()))[1].add((game.index, seat))

    def _fail(self, game: _Game, seat: str | None, error: Exception) -> None:
        self._live.pop(game.index, None)
        self._failures.append(Failure(game.match, seat, error))

    def _hear(self) -> None:
        """Lets agents reply. Those that only know `act` come first, so that models are asked for as much as there is."""
        owing = [agent for agent, asked in self._owing.values() if asked]
        for agent in [agent for agent in owing if type(agent).poll is Agent.poll] or owing:
            if not self._inbox:
                self._poll(agent)
            while self._inbox:
                self._deliver(*self._inbox.popleft())

    def _poll(self, agent: Agent) -> None:
        asked = self._owing[id(agent)][1]
        began, in_engine = time.perf_counter(), agent.engine_seconds
        try:
            replies = agent.poll()
            seconds = time.perf_counter() - began
            self._watch.agents += seconds
            self._watch.engine += agent.engine_seconds - in_engine
            self._watch.live += seconds * len(self._live)
            if asked and not replies:
                raise RuntimeError(f"poll gave nothing although {len(asked)} requests wait")
        except Exception as error:
            for index, seat in sorted(asked):
                if index in self._live:
                    self._fail(self._live[index], seat, error)
            asked.clear()
            return
        for key, reply in replies:
            hall, index, seat = cast(tuple[_Hall, int, str], key)  # this run, or one that shares the agent
            hall._inbox.append((index, seat, reply))

    def _deliver(self, index: int, seat: str, reply: Reply) -> None:
        game = self._live.get(index)
        if game is None:  # over before this reply was needed
            return
        self._owing[id(game.match.agents[seat])][1].discard((index, seat))
        try:
            if not isinstance(reply, Reply):
                raise TypeError(f"an agent replies with Reply objects, not {type(reply).__name__}")
            text_of(reply)  # raises if the agent failed
            game.receive(seat, reply)
        except Exception as error:
            self._fail(game, seat, error)
            return
        self._go_on(game)


if __name__ == "__main__":
    import sys

    from agents.play_cli import main

    sys.exit(main())
