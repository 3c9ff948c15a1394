"""A leaderboard whose numbers can be trusted: mirrored deals, intervals, every game open to re-execution.

    python -m benchmarks.leaderboard run --agents random honest nash mine=hf:runs/demo/model \\
        --games KuhnPoker-v0 --blocks 500 --out results

    plan            what would be played and what it would cost; writes the manifest
    run             plays what OUT does not have yet, then rates and reports; the same command goes on after any interruption
    rate            ratings.json from manifest and results alone
    report          table.md, table.csv, table.tex and report.html from ratings.json
    compare A B     paired test on the deals they share
    verify          plays recorded games again and compares
    merge           joins folders of several machines
    doctor          looks at each agent (server, tokenizer, chat template, context) and asks it once in each game

Exit codes: 0 done, 2 for a wrong name, option or file, 3 if a part is missing: failed games, a budget that is spent,
or results that do not come out again.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from agents.agent import Agent
from benchmarks import manifest as manifests
from benchmarks.cache import ReplyCache
from benchmarks.compare import compare, describe
from benchmarks.config import FILE as CONFIG_FILE
from benchmarks.config import Config, as_toml, load_config
from benchmarks.doctor import CHARS_PER_TOKEN, FACTS, examine, probe
from benchmarks.html import page
from benchmarks.live import make_display
from benchmarks.merge import merge
from benchmarks.players import check_agent_plays, make_player
from benchmarks.ratings import RESAMPLES
from benchmarks.report import Rows, as_rich, main_table, notes, returns_table, write_tables
from benchmarks.results import read_results
from benchmarks.schedule import GameSpec, Standing, make_schedule, rotations, stake_of
from benchmarks.standings import rate_folder, read_standings, spec_of, write_standings
from benchmarks.tournament import Outcome, run_tournament
from benchmarks.verify import verify
from lmgames.arguments import BAD_USAGE, Parser, count, option

OK, PARTIAL, INTERRUPTED = 0, 3, 130
REPLY_TOKENS = 60  # of a reply, for estimates, where no limit is given
WIDTH = 160  # columns, where there is no terminal to tell


def main(arguments: Sequence[str] | None = None, prog: str = "python -m benchmarks.leaderboard") -> int:
    """Returns the exit code."""
    parser = _parser(prog)
    known = parser.parse_args(arguments)
    try:
        code: int = known.do(known)
    except (ValueError, OSError) as error:
        print(f"leaderboard: {error}", file=sys.stderr)
        return BAD_USAGE
    except KeyboardInterrupt:
        print("Stopped; the same command goes on.", file=sys.stderr)
        return INTERRUPTED
    return code


# Subcommands.


def do_plan(known: argparse.Namespace) -> int:
    """Prints what would be played; writes manifest and settings."""
    config = _config(known)
    agents, games = _tournament(config)
    manifest = _manifest(config, agents, games)
    _check_same_tournament(known.out, manifest)
    _print_plan(config, games)
    if not known.dry_run:
        _keep(known.out, config, manifest)
        _say(f"{known.out / manifests.FILE}")
    return OK


def do_run(known: argparse.Namespace) -> int:
    """Plays, rates, reports."""
    config = _config(known)
    cache = ReplyCache(Path(config.cache)) if config.cache and not known.dry_run else None
    agents, games = _tournament(config, cache)
    manifest = _manifest(config, agents, games)
    _check_same_tournament(known.out, manifest)
    if known.dry_run:
        _print_plan(config, games)
        return OK
    _keep(known.out, config, manifest)
    try:
        with make_display(list(agents), games, known.quiet) as display:
            outcome = run_tournament(
                agents,
                games,
                blocks=config.blocks,
                seed=config.seed,
                out=known.out,
                schedule=config.schedule,
                references=config.references,
                concurrency=config.concurrency,
                part=config.parts,
                budget=config.budget,
                prices=config.price_of,
                retry_errors=known.retry_errors,
                policy_samples=config.policy_samples,
                turns=config.turns,
                on_progress=display.update,
            )
    finally:
        for agent in agents.values():
            agent.close()
        if cache is not None:
            cache.close()
    if outcome.results:
        try:
            _rate_and_report(known.out, known.resamples, quiet=known.quiet)
        except ValueError as error:
            print(f"leaderboard: not rated: {error}", file=sys.stderr)
    return _tell_missing(outcome, known.out)


def _tell_missing(outcome: Outcome, out: Path) -> int:
    for failure in dict.fromkeys(outcome.failures):
        print(f"leaderboard: {failure}", file=sys.stderr)
    if outcome.missing:
        why = outcome.stopped or "games failed; --retry-errors plays them again"
        print(
            f"leaderboard: {outcome.missing} games of {outcome.missing + len(outcome.results)} are missing: {why}. "
            f"What was played is kept in {out}; the same command goes on.",
            file=sys.stderr,
        )
    return PARTIAL if outcome.missing or outcome.failures else OK


def do_rate(known: argparse.Namespace) -> int:
    """ratings.json and cost.json."""
    began = time.perf_counter()
    found = rate_folder(known.out, known.resamples)
    write_standings(known.out, found)
    _say(as_rich(found, f"{found['games_played']} games, rated in {time.perf_counter() - began:.1f} s"))
    return OK


def do_report(known: argparse.Namespace) -> int:
    """Tables and page."""
    _report(known.out, known.title)
    return OK


def do_compare(known: argparse.Namespace) -> int:
    """A paired test."""
    manifest = manifests.read_manifest(known.out)
    results = [result for result in read_results(known.out).values() if result.game in manifest["games"]]
    zero_sum = {name: spec_of(about) for name, about in manifest["games"].items() if about["payoffs"] == "zero_sum"}
    stakes = {name: stake_of(game) for name, game in zero_sum.items()}
    rows = describe(compare(results, known.a, known.b, stakes), known.a, known.b)
    cells: Rows = (list(rows[0]), [list(row.values()) for row in rows])
    _say(as_rich({}, f"{known.a} and {known.b} on the same deals against the same opponents", cells))
    return OK


def do_verify(known: argparse.Namespace) -> int:
    """Plays recorded games again."""
    found = verify(known.out, known.sample, known.seed)
    for problem in found.problems:
        print(f"leaderboard: {problem}", file=sys.stderr)
    _say(
        f"{found.lines} games, each line as it was written; {found.replayed} played again, "
        f"{found.turns} turns compared; {len(found.problems)} problems."
    )
    return PARTIAL if found.problems else OK


def do_merge(known: argparse.Namespace) -> int:
    """Joins folders."""
    games, twice = merge(known.folders, known.out)
    config = known.folders[0] / CONFIG_FILE
    if config.exists():
        (known.out / CONFIG_FILE).write_bytes(config.read_bytes())
    _say(
        f"{games} games from {len(known.folders)} folders in {known.out}; {twice} were played twice with different outcomes."
    )
    return OK


def do_doctor(known: argparse.Namespace) -> int:
    """Looks at each agent and asks it once in each game."""
    config = _config(known)
    found = examine(config.specs(), config.game_specs(), lambda name: print(f"{name} ...", file=sys.stderr))
    facts = [[name, *(str(about.get(fact, "")) for fact in FACTS)] for name, about in found.agents.items()]
    _say(as_rich({}, "Agents", (["agent", *FACTS], facts)))
    replies: Rows = (["agent", "game", "first reply", "seconds", "prompt tokens"], [list(row) for row in found.replies])
    _say(as_rich({}, "One request to each agent in each game", replies))
    for problem in found.problems:
        print(f"leaderboard: {problem}", file=sys.stderr)
    return PARTIAL if found.problems else OK


# What they share.


def _tournament(config: Config, cache: ReplyCache | None = None) -> tuple[dict[str, Agent], list[GameSpec]]:
    games = config.game_specs()
    config.parts  # noqa: B018  # refuses a wrong one now
    make_schedule(config.schedule, list(config.agents), games, config.blocks, config.seed, config.references)
    agents = {name: make_player(name, spec, cache) for name, spec in config.specs().items()}
    for game in games:
        for name, agent in agents.items():
            check_agent_plays(name, agent, game.rules().name)
    return agents, games


def _config(known: argparse.Namespace) -> Config:
    if known.resume and known.config is None:
        known.config = known.out / CONFIG_FILE
    given = {key: value for key, value in vars(known).items() if key in Config.__dataclass_fields__ and value is not None}
    if known.agents:
        given["agents"] = agent_specs(known.agents)
    if known.option:
        given["options"] = dict(option(text) for text in known.option)
    if known.price:
        given["prices"] = dict(_price(text) for text in known.price)
    return load_config(known.config, given, known.pool)


def _manifest(config: Config, agents: Mapping[str, Agent], games: Sequence[GameSpec]) -> dict[str, Any]:
    return manifests.make_manifest(
        agents,
        games,
        blocks=config.blocks,
        seed=config.seed,
        schedule=config.schedule,
        references=config.references if config.schedule == "vs-reference" else (),
        factors={
            "anchor": config.anchor,
            "ceiling": config.ceiling or None,
            "max_tokens": config.max_tokens,
            "prices": dict(config.prices),
        },
    )


def _check_same_tournament(out: Path, manifest: Mapping[str, Any]) -> None:
    if not (out / manifests.FILE).exists():
        return
    found = manifests.difference(manifests.read_manifest(out), manifest)
    if found:
        raise ValueError(f"{out} holds another tournament: {found} (first: there, second: asked for); give another --out")


def _keep(out: Path, config: Config, manifest: Mapping[str, Any]) -> None:
    manifests.write_manifest(out, manifest)
    (out / CONFIG_FILE).write_text(as_toml(config), encoding="utf-8")


def _rate_and_report(out: Path, resamples: int, quiet: bool) -> None:
    write_standings(out, rate_folder(out, resamples))
    _report(out, None, quiet)


def _report(out: Path, title: str | None, quiet: bool = False) -> None:
    found, manifest = read_standings(out), manifests.read_manifest(out)
    write_tables(found, out)
    results = [result for result in read_results(out).values() if result.game in found["games"]]
    (out / "report.html").write_text(page(found, manifest, results, title or "Leaderboard"), encoding="utf-8")
    if quiet:
        return
    _say(as_rich(found, f"{found['games_counted']} games on mirrored deals, every seat", main_table(found)))
    _say(as_rich(found, "Mean returns with 95 % intervals", returns_table(found)))
    for note in notes(found):
        _say(note)
    _say(", ".join(str(out / name) for name in ("report.html", "table.md", "table.csv", "table.tex")))


def _print_plan(config: Config, games: Sequence[GameSpec]) -> None:
    schedule = make_schedule(config.schedule, list(config.agents), games, config.blocks, config.seed, config.references)
    first = schedule.round(0, Standing({}, {}, {}))
    assert first is not None
    counts = dict.fromkeys((game.name for game in games), 0)
    for lineup in first[0]:
        counts[lineup.game.name] += len(rotations(lineup.agents))
    rows = []
    total_games = total_tokens = 0.0
    for game in games:
        calls, chars = _probe(game)
        tokens = counts[game.name] * calls * (chars / CHARS_PER_TOKEN + (config.max_tokens or REPLY_TOKENS))
        rows.append([game.name, str(counts[game.name]), f"{calls:.1f}", f"{chars:.0f}", f"{tokens / 1e6:.2f}"])
        total_games += counts[game.name]
        total_tokens += tokens
    header = ["game", "games", "replies a game", "characters a prompt", "million tokens, at most"]
    what = "round 1" if not schedule.fixed else "in all"
    _say(as_rich({}, f"{config.schedule}: {len(config.agents)} agents, {config.blocks} blocks; {what}", (header, rows)))
    dearest = sum(max(price.values(), default=0.0) for price in config.prices.values())
    usd = total_tokens / len(config.agents) * dearest / 1e6
    _say(f"{total_games:.0f} games, about {total_tokens / 1e6:.1f} million tokens, about {usd:.2f} USD at the prices given.")


def _probe(game: GameSpec) -> tuple[float, float]:
    """(replies a game, characters a prompt), from a few games of random players."""
    episodes = probe(game)
    steps = [step for episode in episodes for step in episode.steps]
    chars = sum(len(step.observation.text) for step in steps) / max(1, len(steps))
    return len(steps) / len(episodes), chars


def agent_specs(texts: Sequence[str]) -> dict[str, str]:
    """Specs by name from `spec` or `name=spec`.

    Raises:
        ValueError: for a name used twice.
    """
    specs: dict[str, str] = {}
    for text in texts:
        name, equals, spec = text.partition("=")
        if not equals or ":" in name:
            name, spec = text, text
        if name in specs:
            raise ValueError(f"two agents are called {name!r}; give one of them as another_name={spec}")
        specs[name] = spec
    return specs


def _price(text: str) -> tuple[str, dict[str, float]]:
    name, equals, value = text.rpartition("=")
    prompt, slash, completion = value.partition("/")
    try:
        if not equals or not slash:
            raise ValueError
        return name, {"prompt": float(prompt), "completion": float(completion)}
    except ValueError:
        raise ValueError(f"--price {text!r} must be AGENT=PROMPT/COMPLETION, USD for a million tokens") from None


def _say(what: Any) -> None:
    Console(width=None if sys.stdout.isatty() else WIDTH).print(what, highlight=False, markup=False)


# The command line.


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = Parser(prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, do: Any) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=(do.__doc__ or "").strip(), description=do.__doc__, allow_abbrev=False)
        command.set_defaults(do=do)
        if name != "doctor":
            command.add_argument("--out", type=Path, default=Path("results"), help="folder of the results (results)")
        return command

    for name, do in (("plan", do_plan), ("run", do_run), ("doctor", do_doctor)):
        _add_settings(add(name, do))
    run, rated = commands.choices["run"], add("rate", do_rate)
    run.add_argument("--quiet", action="store_true", help="show nothing while playing")
    run.add_argument("--retry-errors", action="store_true", help="play games again that failed in an earlier run")
    for command in (run, rated):
        command.add_argument("--resamples", type=count, default=RESAMPLES, help=f"of the deals ({RESAMPLES})")
    for command in (run, commands.choices["plan"]):
        command.add_argument("--dry-run", action="store_true", help="print the plan and write nothing")
    add("report", do_report).add_argument("--title", default=None, help="of the page")
    compared = add("compare", do_compare)
    compared.add_argument("a", metavar="A")
    compared.add_argument("b", metavar="B")
    verified = add("verify", do_verify)
    verified.add_argument("--sample", type=count, default=None, help="games to play again (all)")
    verified.add_argument("--seed", type=int, default=0, help="of the choice of the sample (0)")
    add("merge", do_merge).add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    return parser


def _add_settings(command: argparse.ArgumentParser) -> None:
    """Settings of a tournament; those not given come from --config, --pool, or `config.Config`."""
    one = command.add_argument
    one("--config", type=Path, metavar="FILE.toml", help="settings; what is given here wins")
    one("--resume", action="store_true", help="take the settings kept in OUT")
    one("--pool", metavar="NAME", help="a frozen pool of agents, e.g. ref-2026.1")
    one("--agents", nargs="+", action="extend", metavar="[NAME=]SPEC", help="e.g. random nash mine=hf:runs/demo/model")
    one("--games", nargs="+", metavar="ID", help="IDs, also with * and ? (all)")
    one("--option", action="append", default=[], metavar="NAME=VALUE", help="of the games; may be repeated")
    one("--blocks", type=int, help="deals for each line-up (100)")
    one("--seed", type=int, help="of all luck (0)")
    one("--schedule", metavar="KIND", help="round-robin, vs-reference, swiss or adaptive")
    one("--references", nargs="+", metavar="NAME", help="agents that vs-reference measures against")
    one("--anchor", metavar="NAME", help="agent at 0 points (random)")
    one("--ceiling", metavar="NAME", help="agent whose rating is printed as the ceiling")
    one("--on-invalid", metavar="POLICY", help="forfeit, retry_forfeit, retry_random or retry_noop")
    one("--retries", type=int, help="after a refused reply")
    one("--max-turns", type=int, help="replies of a game before it is cut off")
    one("--max-tokens", type=int, help="of a reply")
    one("--concurrency", type=int, help="games at once (256)")
    one("--budget-games", type=int, help="of this run")
    one("--budget-tokens", type=float, help="of the tournament")
    one("--budget-usd", type=float, help="of the tournament")
    one("--time-limit", type=float, metavar="SECONDS", help="of this run")
    one("--price", action="append", default=[], metavar="AGENT=PROMPT/COMPLETION", help="USD for a million tokens")
    one("--policy-samples", type=int, help="replies at each information set where an agent gives no probabilities (64)")
    one("--turns", metavar="WHOSE", help="prompts and replies to keep in turns.jsonl: models (default), all or none")
    one("--cache", metavar="FILE.jsonl", help="replies given before, not paid for again; tournaments may share it")
    one("--part", metavar="K/N", help="play the k-th of n parts, for several machines")
    if command.prog.endswith("doctor"):
        command.set_defaults(out=Path("results"))


if __name__ == "__main__":
    sys.exit(main())
