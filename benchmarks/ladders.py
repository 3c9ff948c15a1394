"""The tables of the reference players: what "better" means in each game, measured.

    python -m benchmarks.ladders                       the players of every game against each other: docs/ladders.md
    python -m benchmarks.ladders --pool ref-2026.1     a frozen pool over all games: docs/leaderboard/ref-2026.1.md and .csv

A run that was stopped is gone on with.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.reference import players_of
from agents.specs import make_agent
from benchmarks import leaderboard
from benchmarks.report import Rows, estimate, markdown_table, number, plain, rank_text
from benchmarks.schedule import GameSpec
from benchmarks.standings import standings
from benchmarks.tournament import run_tournament
from lmgames.registry import GAMES

BLOCKS = 100  # deals
HEAD = """# The ladders

Each game's reference players against each other: {blocks} deals, each from every seat, mean returns with 95 % intervals in the
game's own unit. Made by

```bash
python -m benchmarks.ladders --blocks {blocks}
```

In the tables of pairs a cell is what the row's player earns against the column's, over both seats; **bold** where the interval
leaves out 0 in a zero-sum game. Where a game is not zero-sum the diagonal is what a player earns with itself. Intervals come from
resampled deals ([how](leaderboard.md)).
"""

POOL_HEAD = """# {name}

The agents of `benchmarks/pools/{name}.toml` against each other ([how to read it](../leaderboard.md), [as numbers]({name}.csv)).
Made by

```bash
python -m benchmarks.ladders --pool {name}
```

"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Plays what is missing and writes the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ladders", description=__doc__.partition("\n")[0])
    parser.add_argument("--blocks", type=int, default=BLOCKS, help=f"deals of each game ({BLOCKS})")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pool", help="name of a pool, to be rated in place of the ladders")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder of the pages (docs)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the games (runs)")
    known = parser.parse_args(arguments)
    if known.pool is not None:
        return pool_page(known.pool, known.runs / known.pool, known.docs / "leaderboard")
    parts = [HEAD.format(blocks=known.blocks)]
    for env_id in GAMES:
        game = GameSpec(env_id, {})
        parts.append(section(game, ladder(game, known.blocks, known.seed, known.runs / "ladders" / env_id)))
        print(env_id, flush=True)
    (known.docs / "ladders.md").write_text("\n".join(parts), encoding="utf-8")
    return 0


def pool_page(name: str, run: Path, out: Path) -> int:
    """Plays what a pool's tournament lacks and writes its page and its table."""
    code = leaderboard.main(["run", "--pool", name, "--out", str(run)])
    if code == leaderboard.OK:
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{name}.md").write_text(POOL_HEAD.format(name=name) + (run / "table.md").read_text(), encoding="utf-8")
        (out / f"{name}.csv").write_bytes((run / "table.csv").read_bytes())
    return code


def ladder(game: GameSpec, blocks: int, seed: int, out: Path) -> dict[str, Any]:
    """The standings of all reference players of a game."""
    names = list(players_of(game.rules().name))
    agents = {name: make_agent(name) for name in names}
    outcome = run_tournament(agents, [game], blocks=blocks, seed=seed, out=out)
    return standings(outcome.results, names, {game.name: game}, policies=outcome.policies)


def section(game: GameSpec, found: Mapping[str, Any]) -> str:
    """The part of the page about one game."""
    of = found["games"][game.name]
    names = sorted(of["mean"], key=lambda name: -of["mean"][name]["value"])
    parts = [f"## {game.env_id}\n", markdown_table(_players(found, of, names)), ""]
    if of["variance_ratio"]:
        parts += [f"Variance of independent deals by that of mirrored ones: {of['variance_ratio']:.2f}.", ""]
    if of["against"]:
        parts += [markdown_table(_pairs(found, of, names)), ""]
    return "\n".join(parts)


def _players(found: Mapping[str, Any], of: Mapping[str, Any], names: Sequence[str]) -> Rows:
    ratings = {row["agent"]: row for row in found["boards"]["all"]["rows"]}
    sides = sorted({side for by_side in of["sides"].values() for side in by_side})
    shares = of["facts"].get("joint_share", {})
    header = ["player", "mean return", *(f"as {side}" for side in sides)]
    header += (["rating", "rank"] if ratings else []) + (["joint share"] if shares else [])
    header += ["NashConv"] if of["nash_conv"] else []
    rows = []
    for name in names:
        row = [name, estimate(of["mean"][name])]
        row += [number(of["sides"].get(name, {}).get(side, {}).get("mean")) for side in sides]
        if ratings:
            row += [f"{ratings[name]['rating']['value']:.0f}", rank_text(ratings[name]["rank"])]
        if shares:
            row.append(plain(shares.get(name)))
        if of["nash_conv"]:
            row.append(f"{of['nash_conv'][name]['value']:.3f}" if name in of["nash_conv"] else "")
        rows.append(row)
    return header, rows


def _pairs(found: Mapping[str, Any], of: Mapping[str, Any], names: Sequence[str]) -> Rows:
    place = {agent["name"]: number for number, agent in enumerate(found["agents"])}
    zero_sum = of["payoffs"] == "zero_sum"

    def cell(one: str, other: str) -> str:
        interval = of["against"][place[one]][place[other]]
        sure = interval and interval["low"] is not None and (interval["low"] > 0 or interval["high"] < 0)
        text = estimate(interval)
        return f"**{text}**" if zero_sum and sure else text

    return ["", *names], [[one, *(cell(one, other) for other in names)] for one in names]


if __name__ == "__main__":
    sys.exit(main())
