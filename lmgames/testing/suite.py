"""The frame of the suite: named checks, what they are run on, how a fault is told, and the report."""

import dataclasses
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

from lmgames.aec import GameEnv
from lmgames.chance import Chance
from lmgames.game import Game
from lmgames.registry import GAMES, NAMESPACE, env_options, game_class, make_game, nearest, split_options

Status = Literal["passed", "skipped"]
SEEDS = (0, 1, 2)
PAIRS = 10_000


class ConformanceError(AssertionError):
    """A check found a fault. Its text says which check, on what, what differed, and how to see it again.

    Args:
        check: name of the check.
        game: ID or class name.
        options: of game and environment.
        seed: of the episode; None where the fault is not one episode's.
        message: what differed.
    """

    def __init__(self, check: str, game: str, options: Mapping[str, Any], seed: int | None, message: str):
        number = CHECKS[check].number if check in CHECKS else ""
        seeds = "" if seed is None else f", seeds=[{seed}]"
        again = f"check_game({game!r}, options=[{dict(options)!r}], checks=[{check!r}]{seeds})"
        at = "" if seed is None else f", seed {seed}"
        super().__init__(f"{number} {check}: {game} {dict(options)}{at}: {message}\nTo see it again: {again}".lstrip())
        self.check, self.game, self.options, self.seed, self.message = check, game, dict(options), seed, message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.check, self.game, self.options, self.seed, self.message)


class Fault(Exception):
    """What a check raises: the message of a `ConformanceError` before it is known on what."""

    def __init__(self, message: str, seed: int | None = None):
        super().__init__(message)
        self.message, self.seed = message, seed


class Skipped(Exception):
    """A check does not apply; its text is the reason."""


@dataclass(frozen=True)
class Subject:
    """What a check is run on: a game under one set of options.

    Args:
        game: the rules.
        env_id: registered ID with namespace; None for a game that is not registered.
        options: of game and environment together.
        env_options: those of the environment.
        seeds: of the episodes that are played.
        thorough: whether to take the sample sizes of the published bars, minutes a game.
        pairs: how many pairs of states the secrecy check compares where it cannot compare all.
        family: the options of all subjects of the run.
    """

    game: Game[Any, Any]
    env_id: str | None
    options: dict[str, Any]
    env_options: dict[str, Any]
    seeds: tuple[int, ...] = SEEDS
    thorough: bool = False
    pairs: int = PAIRS
    family: tuple[dict[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """What reports call the game."""
        return (self.env_id or type(self.game).__name__).removeprefix(NAMESPACE + "/")

    def env(self, **changes: Any) -> GameEnv:
        """A new environment of the game."""
        return GameEnv(self.game, env_id=self.env_id, **{**self.env_options, **changes})

    def chance(self, purpose: str, *index: int | str) -> Chance:
        """Luck of the suite itself, apart from the game's."""
        return Chance(0).derive("suite: " + purpose, *index)

    def count(self, usual: int, thorough: int) -> int:
        """A sample size."""
        return thorough if self.thorough else usual


@dataclass(frozen=True, slots=True)
class Check:
    """A named check; `run` raises `Fault` or `Skipped`, or returns a note for the report."""

    name: str
    number: str
    run: Callable[[Subject], str | None]

    @property
    def summary(self) -> str:
        """First line of its docstring."""
        return (self.run.__doc__ or "").strip().splitlines()[0]


CHECKS: dict[str, Check] = {}
"""Every check by name, in the order in which they run."""


def check(number: str) -> Callable[[Callable[[Subject], str | None]], Callable[[Subject], str | None]]:
    """Enters a function under its name; `number` is the test's in the published list, "" for those beyond it."""

    def enter(run: Callable[[Subject], str | None]) -> Callable[[Subject], str | None]:
        CHECKS[run.__name__] = Check(run.__name__, number, run)
        return run

    return enter


@dataclass(frozen=True, slots=True)
class Result:
    """How one check went on one set of options.

    Args:
        check: its name.
        number: as in the published list.
        options: of game and environment.
        status: "passed" or "skipped".
        note: the reason of a skip, or what was covered.
        seconds: of this process's processor time.
    """

    check: str
    number: str
    options: dict[str, Any]
    status: Status
    note: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """Every result of a run; prints as a table."""

    game: str
    results: list[Result] = field(default_factory=list)

    def __str__(self) -> str:
        many = len({json.dumps(result.options, sort_keys=True, default=repr) for result in self.results}) > 1
        rows = [("check", "", "status", "s", "note")]
        for result in self.results:
            options = f"{result.options} " if many else ""
            rows.append(
                (result.check, result.number, result.status, f"{result.seconds:.2f}", f"{options}{result.note}".strip())
            )
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = ["  ".join([*map(str.ljust, row[:4], widths), row[4]]).rstrip() for row in rows]
        passed = sum(result.status == "passed" for result in self.results)
        seconds = sum(result.seconds for result in self.results)
        return "\n".join([self.game, *lines, f"{passed} passed, {len(self.results) - passed} skipped in {seconds:.1f} s"])


def check_game(
    game: str | type[Game[Any, Any]] | Game[Any, Any],
    *,
    options: Sequence[Mapping[str, Any]] = ({},),
    checks: Iterable[str] | None = None,
    seeds: Iterable[int] = SEEDS,
    thorough: bool = False,
    pairs: int = PAIRS,
) -> Report:
    """Runs the conformance suite on a game.

    Args:
        game: a registered ID, a subclass of `Game`, or a game.
        options: sets of options, of game and environment; every check runs on each.
        checks: names or numbers ("T8") of the checks to run; None: all.
        seeds: of the episodes that are played.
        thorough: take the sample sizes of the published bars; minutes a game.
        pairs: pairs of states that the secrecy check compares where it cannot compare all, over all sets of options.

    Returns:
        What passed, what was skipped and why.

    Raises:
        ConformanceError: at the first fault.
        ValueError: for an unknown game, option or check.
    """
    wanted = [CHECKS[name] for name in _chosen(checks)]
    subjects = subjects_of(game, options, seeds, thorough, pairs)
    report = Report(subjects[0].name)
    for each in wanted:
        report.results.extend(_run(each, subject) for subject in subjects)
    return report


def subjects_of(
    game: str | type[Game[Any, Any]] | Game[Any, Any],
    options: Sequence[Mapping[str, Any]] = ({},),
    seeds: Iterable[int] = SEEDS,
    thorough: bool = False,
    pairs: int = PAIRS,
) -> list[Subject]:
    """What `check_game` runs its checks on: one for each set of options; its arguments are explained there."""
    seeds = tuple(seeds)
    made = [_made(game, dict(chosen)) for chosen in options]
    family = tuple(of_both for _, _, of_both, _ in made)
    return [Subject(*each, seeds, thorough, max(1, pairs // len(made)), family) for each in made]


def _chosen(checks: Iterable[str] | None) -> list[str]:
    if checks is None:
        return list(CHECKS)
    numbers = {each.number: each.name for each in CHECKS.values() if each.number}
    names = [numbers.get(name, name) for name in checks]
    for name in names:
        if name not in CHECKS:
            raise ValueError(f"no check {name!r}{nearest(name, CHECKS)}")
    return names


def _made(
    game: str | type[Game[Any, Any]] | Game[Any, Any], options: dict[str, Any]
) -> tuple[Game[Any, Any], str | None, dict[str, Any], dict[str, Any]]:
    """The rules, their registered ID, all options, and those of the environment."""
    if isinstance(game, str):
        short = game.removeprefix(NAMESPACE + "/")
        of_game, of_env = split_options(short, options)
        return make_game(short, **of_game), f"{NAMESPACE}/{short}", options, of_env
    of_env = {key: value for key, value in options.items() if key in env_options()}
    of_game = {key: value for key, value in options.items() if key not in of_env}
    rules = game(**of_game) if isinstance(game, type) else dataclasses.replace(game, **of_game)
    name = f"{rules.name}-v{rules.version}"
    env_id = f"{NAMESPACE}/{name}" if name in GAMES and game_class(name) is type(rules) else None
    return rules, env_id, {**rules.options, **of_env}, of_env


def _run(each: Check, subject: Subject) -> Result:
    start = time.process_time()

    def fail(message: str, seed: int | None, cause: Exception) -> NoReturn:
        raise ConformanceError(each.name, subject.name, subject.options, seed, message) from cause

    try:
        note, status = each.run(subject) or "", "passed"
    except Skipped as skipped:
        note, status = str(skipped), "skipped"
    except Fault as fault:
        fail(fault.message, fault.seed, fault)
    except Exception as error:  # a game that raises is at fault whatever the check was after
        fail(f"raised {type(error).__name__}: {error}", None, error)
    outcome: Status = "skipped" if status == "skipped" else "passed"
    return Result(each.name, each.number, subject.options, outcome, note, time.process_time() - start)
