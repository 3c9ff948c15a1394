"""Round robin between agents on mirrored deals, rated with intervals.

    python -m benchmarks.leaderboard --agents random honest nash mine=hf:runs/kuhn_tiny-seed0/model \\
        --games KuhnPoker-v0 --blocks 500 --out results

Every pair plays the same deals from both seats. Games go to OUT/games.jsonl as they end; running the command again goes on where
it stopped. The table goes to the screen, OUT/table.csv and OUT/table.md.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from agents.agent import Agent
from agents.elicit import policy_of_agent
from agents.play import Match, run_matches
from agents.specs import check_plays, make_agent
from benchmarks.ratings import RESAMPLES, rate
from benchmarks.report import Line, as_csv, as_markdown, as_rich, lines_of
from benchmarks.results import Result, ResultsFile, blocks_of, key_of
from benchmarks.schedule import GameSpec, Pairing, round_robin
from lmgames import solve

ANCHOR = "random"  # the agent at 0 points, where it plays


def run_tournament(
    agents: Mapping[str, Agent],
    games: Sequence[GameSpec],
    *,
    blocks: int,
    seed: int,
    out: Path,
    concurrency: int = 256,
    on_game: Any = lambda done, total: None,
) -> list[Result]:
    """Plays what is not in `out/games.jsonl` yet.

    Args:
        agents: by name.
        games: each is played by every pair.
        blocks: deals for each pair and game.
        seed: of the tournament; fixes the deals and the draws of every player.
        out: folder of the results.
        on_game: called with (games done, games in all).

    Returns:
        The results of this tournament in the order of the schedule.

    Raises:
        ValueError: if an agent cannot play a game, or the results are damaged.
        agents.play.MatchError: if an agent failed; what was played is kept.
    """
    for game in games:
        for agent in agents.values():
            check_plays(agent, game.rules().name)
    fingerprints = {name: agent.fingerprint() for name, agent in agents.items()}
    pairings = {key_of(pairing, fingerprints): pairing for pairing in round_robin(list(agents), games, blocks, seed)}
    file = ResultsFile(out / "games.jsonl")
    try:
        missing = {key: pairing for key, pairing in pairings.items() if key not in file.results}
        done = len(pairings) - len(missing)
        on_game(done, len(pairings))
        for episode in run_matches(_matches(missing, agents), concurrency=concurrency):
            assert episode.record is not None, "tournaments are played in lmgames' own environments"
            pairing = missing[episode.match.tag]
            file.append(
                Result(episode.match.tag, pairing.game.name, pairing.pair, pairing.block, pairing.seats, episode.record)
            )
            done += 1
            on_game(done, len(pairings))
    finally:
        file.close()
    return [file.results[key] for key in pairings]


def _matches(pairings: Mapping[str, Pairing], agents: Mapping[str, Agent]) -> Iterator[Match]:
    for key, pairing in pairings.items():
        seats = {seat: agents[name] for seat, name in pairing.seats.items()}
        yield Match(pairing.game.env_id, pairing.seed, seats, dict(pairing.game.options), tag=key)


def rate_results(
    results: Sequence[Result],
    names: Sequence[str],
    games: Sequence[GameSpec],
    nash_convs: Mapping[str, Mapping[str, float]],
    resamples: int = RESAMPLES,
) -> list[Line]:
    """The table of some results. Wins count in zero-sum games; others are compared by returns alone.

    Raises:
        ValueError: if no block is complete.
    """
    scheduled = Counter((result.game, result.pair, result.block) for result in results)
    rated = [game.name for game in games if game.rules().payoffs == "zero_sum"]
    ratings = rate(
        blocks_of(results, list(names), scheduled),
        len(names),
        rated_games=rated,
        anchor=list(names).index(ANCHOR) if ANCHOR in names else None,
        resamples=resamples,
    )
    return lines_of(names, ratings, _invalid(results), _games(results), nash_convs)


def _invalid(results: Iterable[Result]) -> dict[str, tuple[int, int]]:
    counts: dict[str, tuple[int, int]] = {}
    for result in results:
        for turn in result.record.turns:
            name = result.seats[turn.seat]
            refused, replies = counts.get(name, (0, 0))
            counts[name] = (refused + (turn.status != "ok"), replies + 1)
    return counts


def _games(results: Iterable[Result]) -> Counter[str]:
    return Counter(name for result in results for name in set(result.seats.values()))


def nash_convs(agents: Mapping[str, Agent], games: Sequence[GameSpec]) -> dict[str, dict[str, float]]:
    """NashConv of every agent whose policy can be read off, in every game whose tree can be searched, by name and game."""
    found: dict[str, dict[str, float]] = {}
    for game in games:
        rules = game.rules()
        if not solve.has_small_tree(rules):
            continue
        for name, agent in agents.items():
            elicited = policy_of_agent(agent, game.env_id, **game.options)
            if elicited is not None:
                found.setdefault(name, {})[game.name] = solve.nash_conv(rules, elicited.policy)
    return found


def parse_agents(specs: Sequence[str]) -> dict[str, Agent]:
    """Agents by name from `spec` or `name=spec`.

    Raises:
        ValueError: for an unknown spec or a name used twice.
    """
    agents: dict[str, Agent] = {}
    for text in specs:
        name, equals, spec = text.partition("=")
        if not equals or ":" in name:
            name, spec = text, text
        if name in agents:
            raise ValueError(f"two agents are called {name!r}; name them as name=spec")
        agents[name] = make_agent(spec)
    return agents


def main(arguments: list[str] | None = None) -> int:
    """The command line; 2 for what the user can get wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.leaderboard",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--agents", nargs="+", required=True, metavar="[NAME=]SPEC")
    parser.add_argument("--games", nargs="+", required=True, metavar="ID")
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="of every game, e.g. hands=5")
    parser.add_argument("--blocks", type=int, default=100, help="deals for each pair and game (default 100)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--concurrency", type=int, default=256, help="games at once (default 256)")
    parser.add_argument("--out", type=Path, default=Path("results"))
    known = parser.parse_args(arguments)
    try:
        return _main(known)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _main(known: argparse.Namespace) -> int:
    from agents.specs import parse_spec

    _, _, options = parse_spec("options:" + ",".join(known.option))
    games = [GameSpec(env_id, options) for env_id in known.games]
    agents = parse_agents(known.agents)
    console = Console()
    columns = (TextColumn("games"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not sys.stdout.isatty()) as progress:
        task = progress.add_task("games", total=None)
        results = run_tournament(
            agents,
            games,
            blocks=known.blocks,
            seed=known.seed,
            out=known.out,
            concurrency=known.concurrency,
            on_game=lambda done, total: progress.update(task, completed=done, total=total),
        )
    lines = rate_results(results, list(agents), games, nash_convs(agents, games))
    write_tables(lines, known.out)
    console.print(as_rich(lines, f"{len(results)} games, mirrored deals, both seats"))
    console.print(f"{known.out / 'table.md'}, {known.out / 'table.csv'}", highlight=False)
    return 0


def write_tables(lines: Sequence[Line], out: Path) -> None:
    """OUT/table.csv and OUT/table.md."""
    (out / "table.csv").write_text(as_csv(lines), encoding="utf-8")
    (out / "table.md").write_text(as_markdown(lines), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
