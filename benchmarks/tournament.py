"""Plays a tournament: what its schedule asks for and its folder does not have yet."""

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from agents.agent import Agent
from agents.play import Episode, Failure, Match, MatchError, run_matches
from benchmarks import ratings
from benchmarks.cache import paid_tokens
from benchmarks.choices import Played
from benchmarks.exact import SAMPLES, read_policy
from benchmarks.luck import luck_of
from benchmarks.manifest import game_hash
from benchmarks.players import check_agent_plays, exact_mix
from benchmarks.results import (
    DESIGN,
    ERRORS,
    GAMES,
    POLICIES,
    LineFile,
    Result,
    as_played,
    complete,
    key_of,
    policy_key,
    read_objects,
    read_results,
    sealed,
)
from benchmarks.schedule import (
    GameSpec,
    LineUp,
    Schedule,
    Seating,
    Standing,
    check_design,
    make_schedule,
    seatings,
    stake_of,
)
from benchmarks.turns import FILE as TURNS
from benchmarks.turns import TurnFile, turn_lines

CONCURRENCY = 256  # games at once
MAX_ERRORS = 3  # failed games of one agent after which it is asked for no more
QUICK_RESAMPLES = 200  # of mean returns, where schedules go by them


@dataclass(frozen=True)
class Price:
    """USD for a million tokens."""

    prompt: float = 0.0
    completion: float = 0.0


@dataclass(frozen=True)
class Budget:
    """What a run may spend; None: no limit. Games in progress are played to their end, so tokens and money may end a little above.

    Args:
        games: of this run.
        tokens: prompt and completion, of the whole tournament.
        usd: likewise.
        seconds: of this run.
    """

    games: int | None = None
    tokens: float | None = None
    usd: float | None = None
    seconds: float | None = None


@dataclass
class Spent:
    """What was spent so far."""

    games: int = 0
    tokens: float = 0.0
    usd: float = 0.0
    began: float = field(default_factory=time.monotonic)

    def add(self, result: Result, prices: Mapping[str, Price]) -> None:
        for seat, counts in result.usage.items():
            price = prices.get(result.seats[seat], Price())
            prompt, completion = paid_tokens(counts)
            self.tokens += prompt + completion
            self.usd += (prompt * price.prompt + completion * price.completion) / 1e6

    def over(self, budget: Budget) -> str:
        """What has run out, "" if nothing has."""
        limits = (
            ("games", self.games, budget.games),
            ("tokens", self.tokens, budget.tokens),
            ("USD", self.usd, budget.usd),
            ("seconds", time.monotonic() - self.began, budget.seconds),
        )
        for name, spent, limit in limits:
            if limit is not None and spent >= limit:
                return f"the budget of {limit:g} {name} is spent"
        return ""


@dataclass(frozen=True)
class Progress:
    """How far a run is, for a display.

    Args:
        done, total: games, of the rounds drawn up so far.
        failed: games that could not be played.
        result: the game that has just been added; None at the start.
        spent: so far.
    """

    done: int
    total: int
    failed: int
    result: Result | None
    spent: Spent


@dataclass(frozen=True)
class Outcome:
    """What a run left.

    Args:
        results: of this tournament, in the order of the schedule.
        policies: by game and agent, see `exact.read_policy`.
        missing: games that were asked for and not played, for a budget or a failure.
        failures: games of this run that could not be played, with the reason.
        stopped: why the run ended early, "" if it did not.
    """

    results: list[Result]
    policies: dict[str, dict[str, Any]]
    missing: int
    failures: list[str]
    stopped: str


def run_tournament(
    agents: Mapping[str, Agent],
    games: Sequence[GameSpec],
    *,
    blocks: int,
    seed: int,
    out: Path,
    schedule: str = "round-robin",
    references: Sequence[str] = (),
    concurrency: int = CONCURRENCY,
    part: tuple[int, int] = (1, 1),
    budget: Budget | None = None,
    prices: Mapping[str, Price] | None = None,
    retry_errors: bool = False,
    policy_samples: int = SAMPLES,
    turns: str = "models",
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Outcome:
    """Plays what is not in `out` yet.

    Args:
        agents: by name.
        games: each is played by every agent.
        blocks: deals for each line-up.
        seed: of the tournament; fixes the deals and the draws of every player.
        out: folder of the results.
        schedule: see `schedule.SCHEDULES`.
        references: names, for "vs-reference".
        concurrency: games at once; it changes no result.
        part: (k, n): play the k-th of n parts, every n-th deal, for several machines; fixed schedules only.
        budget: stops the run.
        prices: by agent.
        retry_errors: whether games that failed in an earlier run are tried again.
        policy_samples: see `exact.read_policy`.
        turns: whose turns go to turns.jsonl, one of `turns.KINDS`.
        on_progress: called after every game.

    Raises:
        ValueError: if an agent cannot play a game, the design is none, or the results are damaged.
    """
    check_design(list(agents), blocks)
    for game in games:
        for name, agent in agents.items():
            check_agent_plays(name, agent, game.rules().name)
    plan = make_schedule(schedule, list(agents), games, blocks, seed, references)
    if part != (1, 1) and (not plan.fixed or not 1 <= part[0] <= part[1]):
        raise ValueError(f"part {part[0]}/{part[1]}: k of n with 1 <= k <= n, and a schedule that is fixed beforehand")
    run = _Run(agents, games, plan, seed, out, part, budget or Budget(), prices or {}, retry_errors, turns, on_progress)
    try:
        run.play(concurrency)
        if not run.stopped:
            run.read_policies(policy_samples)
    finally:
        run.close()
    return run.outcome()


class _Run:
    def __init__(
        self,
        agents: Mapping[str, Agent],
        games: Sequence[GameSpec],
        schedule: Schedule,
        seed: int,
        out: Path,
        part: tuple[int, int],
        budget: Budget,
        prices: Mapping[str, Price],
        retry_errors: bool,
        turns: str,
        on_progress: Callable[[Progress], None],
    ):
        self.agents, self.games, self.schedule, self.seed = agents, games, schedule, seed
        self.part, self.budget, self.prices, self.on_progress = part, budget, prices, on_progress
        self.fingerprints = {name: agent.fingerprint() for name, agent in agents.items()}
        self.hashes = {game.name: game_hash(game) for game in games}
        self.seats = {game.name: game.rules().seats for game in games}
        self.results = read_results(out)
        self.errors = {error["key"]: error for error in read_objects(out / ERRORS)}
        self.given_up: set[str] = set() if retry_errors else set(self.errors)
        self.policies = {entry["key"]: entry for entry in read_objects(out / POLICIES)}
        self.design = read_objects(out / DESIGN)
        self.turns = TurnFile(out / TURNS, self.results)
        self.talkers = {game.name: _talkers(agents, game, turns) for game in games}
        self.files = {name: LineFile(out / name) for name in (GAMES, ERRORS, POLICIES, DESIGN)}
        self.asked: dict[str, Seating] = {}
        self.failures: list[str] = []
        self.failed_by: Counter[str] = Counter()
        self.stopped = ""
        self.spent = Spent()
        self._done = 0

    def play(self, concurrency: int) -> None:
        """Every round of the schedule."""
        number = 0
        while not self.stopped:
            lineups = self._round(number)
            if lineups is None:
                break
            new = {
                key_of(seating, self.fingerprints, self.hashes[seating.lineup.game.name]): seating
                for lineup in lineups
                if lineup.block % self.part[1] == self.part[0] - 1
                for seating in seatings(lineup, self.seats[lineup.game.name], self.seed)
            }
            self.asked |= new
            for key in new:
                if key in self.results:
                    self.spent.add(self.results[key], self.prices)
            self._tell(None)
            self._play(new, concurrency)
            number += 1

    def _round(self, number: int) -> list[LineUp] | None:
        """The line-ups of a round: those logged, if an earlier run drew them up."""
        by_name = {game.name: game for game in self.games}
        if not self.schedule.fixed and number < len(self.design):
            logged = self.design[number]["lineups"]
            return [LineUp(by_name[game], tuple(agents), block) for game, agents, block in logged]
        drawn = self.schedule.round(number, Standing({}, {}, {}) if number == 0 else self._standing())
        if drawn is None:
            return None
        lineups, why = drawn
        if not self.schedule.fixed:
            body = {"round": number, "why": why, "lineups": [[lu.game.name, lu.agents, lu.block] for lu in lineups]}
            self.files[DESIGN].append(sealed(body))
            self.design.append(json.loads(json.dumps(body)))
        return lineups

    def _standing(self) -> Standing:
        return standing(list(self.agents), self.games, [self.results[key] for key in self.asked if key in self.results])

    def _play(self, seatings_: Mapping[str, Seating], concurrency: int) -> None:
        tried: set[str] = set()
        while not self.stopped:
            left = {key: seating for key, seating in seatings_.items() if self._is_wanted(key, seating, tried)}
            if not left:
                return
            try:
                for episode in run_matches(self._matches(left, tried), concurrency=concurrency):
                    self._add(episode, left[episode.match.tag])
            except MatchError as error:
                for failure in error.failures:
                    self._note(failure, left[failure.match.tag])

    def _is_wanted(self, key: str, seating: Seating, tried: set[str]) -> bool:
        if key in self.results or key in self.given_up or key in tried:
            return False
        return all(self.failed_by[name] < MAX_ERRORS for name in seating.seats.values())

    def _matches(self, left: Mapping[str, Seating], tried: set[str]) -> Iterator[Match]:
        for key, seating in left.items():
            self.stopped = self.spent.over(self.budget)
            if self.stopped:
                return
            self.spent.games += 1
            tried.add(key)
            seats = {seat: self.agents[name] for seat, name in seating.seats.items()}
            yield Match(seating.lineup.game.env_id, seating.seed, seats, dict(seating.lineup.game.options), tag=key)

    def _add(self, episode: Episode, seating: Seating) -> None:
        assert episode.record is not None, "tournaments are played in lmgames' own environments"
        result = Result(
            key=episode.match.tag,
            game=seating.lineup.game.name,
            lineup=seating.lineup.agents,
            block=seating.lineup.block,
            seats=seating.seats,
            usage=_usage(episode),
            luck=luck_of(episode),
            played=json.loads(episode.record.to_json()),
        )
        self.turns.append(turn_lines(result, episode, self.talkers[result.game]))
        self.files[GAMES].append(result.to_json())
        self.results[result.key] = result
        self.spent.add(result, self.prices)
        self._tell(result)

    def _note(self, failure: Failure, seating: Seating) -> None:
        name = seating.seats[failure.seat] if failure.seat is not None else None
        body = {
            "key": failure.match.tag,
            "game": seating.lineup.game.name,
            "block": seating.lineup.block,
            "seats": dict(seating.seats),
            "agent": name,
            "error": f"{type(failure.error).__name__}: {failure.error}",
            "timeout": isinstance(failure.error, TimeoutError),
        }
        self.files[ERRORS].append(sealed(body))
        self.failures.append(f"{name or 'the game'}: {failure}")
        if name is not None:
            self.failed_by[name] += 1
        self._tell(None)

    def _tell(self, result: Result | None) -> None:
        self._done = sum(key in self.results for key in self.asked) if result is None else self._done + 1
        self.on_progress(Progress(self._done, len(self.asked), len(self.failures), result, self.spent))

    def read_policies(self, samples: int) -> None:
        """The policies of all agents in games small enough, into policies.jsonl."""
        for game in self.games:
            for name, agent in self.agents.items():
                key = policy_key(name, self.fingerprints[name], self.hashes[game.name])
                if key in self.policies or self.failed_by[name] >= MAX_ERRORS:
                    continue
                try:
                    stored = read_policy(agent, game, samples)
                except (RuntimeError, OSError) as error:  # an engine or a server: nobody's loss
                    self.failures.append(f"{name}: its policy could not be read: {type(error).__name__}: {error}")
                    continue
                if stored is not None:
                    self.policies[key] = {"key": key, "agent": name, "game": game.name, **stored}
                    self.files[POLICIES].append(sealed(self.policies[key]))

    def outcome(self) -> Outcome:
        results = [self.results[key] for key in self.asked if key in self.results]
        policies: dict[str, dict[str, Any]] = {}
        for game in self.games:
            for name in self.agents:
                stored = self.policies.get(policy_key(name, self.fingerprints[name], self.hashes[game.name]))
                if stored is not None:
                    policies.setdefault(game.name, {})[name] = stored
        return Outcome(results, policies, len(self.asked) - len(results), self.failures, self.stopped)

    def close(self) -> None:
        self.turns.close()
        for file in self.files.values():
            file.close()


def _talkers(agents: Mapping[str, Agent], game: GameSpec, turns: str) -> list[str]:
    """The agents whose turns are kept."""
    if turns == "none":
        return []
    return [name for name, agent in agents.items() if turns == "all" or exact_mix(agent, game.rules().name) is None]


def _usage(episode: Episode) -> dict[str, dict[str, float]]:
    usage: dict[str, dict[str, float]] = {seat: {"replies": 0, "truncated": 0} for seat in episode.match.agents}
    for step in episode.steps:
        counts = usage[step.seat]
        counts["replies"] += 1
        counts["truncated"] += step.reply.finish_reason == "length"
        for kind, amount in step.reply.usage.items():
            counts[kind] = counts.get(kind, 0) + amount
    return usage


def standing(names: Sequence[str], games: Sequence[GameSpec], results: Sequence[Result]) -> Standing:
    """What schedules go by: ratings where games are zero-sum; else mean returns, each game in units of its own spread."""
    blocks = complete(results)
    index = {name: number for number, name in enumerate(names)}
    played = [as_played(result, index) for members in blocks.values() for result in members]
    zero_sum = {game.name for game in games if game.rules().payoffs == "zero_sum"}
    rated = [each for each in played if each.game in zero_sum]
    counts = Counter((game, lineup) for game, _, lineup in blocks)
    if rated:
        stakes = {game.name: stake_of(game) for game in games}
        return standing_of(ratings.rate(rated, len(names), stakes=stakes, resamples=0), names, counts)
    return Standing(*_by_returns(names, played), counts)


def standing_of(fit: ratings.Ratings, names: Sequence[str], played: Mapping[tuple[str, tuple[str, ...]], int]) -> Standing:
    """Ratings as schedules see them.

    Args:
        fit: of the agents in the order of their names.
        names: of the agents.
        played: by (game name, pair), blocks.
    """
    index = {name: number for number, name in enumerate(names)}
    value = {name: fit.rating[number].value for name, number in index.items()}
    error = {(one, two): fit.errors[index[one]][index[two]] for one in names for two in names if one != two}
    return Standing(value, error, played)


def _by_returns(names: Sequence[str], played: Sequence[Played]) -> tuple[dict[str, float], dict[tuple[str, str], float]]:
    scores, squares = np.zeros(len(names)), np.zeros(len(names))
    for game in sorted({each.game for each in played}):
        means = ratings.payoffs([each for each in played if each.game == game], len(names), resamples=QUICK_RESAMPLES).mean
        values = np.array([mean.value for mean in means])
        spread = float(np.nanstd(values)) or 1.0
        scores += np.nan_to_num((values - np.nanmean(values)) / spread)
        squares += np.nan_to_num(np.array([(mean.high - mean.low) / 3.92 / spread for mean in means]), nan=math.inf) ** 2
    errors = {
        (one, two): math.sqrt(squares[i] + squares[j])
        for i, one in enumerate(names)
        for j, two in enumerate(names)
        if i != j
    }
    return {name: float(score) for name, score in zip(names, scores, strict=True)}, errors
