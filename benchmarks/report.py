"""A tournament's tables: on the screen, as CSV, Markdown and LaTeX. `benchmarks.html` makes the page."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

Standings = Mapping[str, Any]
Rows = tuple[list[str], list[list[str]]]
"""(header, cells), all text."""
HOW_TO_READ = (
    "Ratings are Elo points with 95 % intervals. A rank such as 2-4 is the range that the data allow: nobody outside it is told "
    "apart with 95 % confidence over all pairs (Holm). Agents whose ranges overlap may be equal."
)


def heading(found: Standings, game: str) -> str:
    """A game's name at the head of a column: without its options, unless another game of the tournament has them otherwise."""
    short = game.partition("(")[0]
    return short if sum(name.partition("(")[0] == short for name in found["games"]) == 1 else game


def main_table(found: Standings) -> Rows:
    """Rating, rank and legality, best first."""
    rows = {row["agent"]: row for row in found["boards"]["all"]["rows"]}
    legal = {row["agent"]: row for row in found["boards"]["reliability"]}
    exact = [(name, game["nash_conv"]) for name, game in found["games"].items() if game["nash_conv"]]
    header = ["agent"]
    if rows:
        header += ["rating", "95 % interval", "rank", "P(best)"]
    header += ["first-try legal", "games"] + [f"NashConv {heading(found, name)}" for name, _ in exact]
    table = []
    for agent in found["agents"]:
        name = agent["name"]
        cells = [name]
        if rows:
            row = rows[name]
            within = "fixed" if name == found["anchor"] else span(row["rating"], 0)  # the others are measured from it
            cells += [f"{row['rating']['value']:.0f}", within, rank_text(row["rank"]), share(row["best"], 2)]
        cells += [percent(legal[name]["first_try"]), str(legal[name]["games"])]
        cells += [nash_conv_text(conv.get(name)) for _, conv in exact]
        table.append(cells)
    return header, table


def returns_table(found: Standings) -> Rows:
    """Mean return with its interval in each game; less luck where exact values are known."""
    header, columns = ["agent"], []
    for name, game in found["games"].items():
        header.append(heading(found, name))
        columns.append(game["mean"])
        if game["adjusted"]:
            header.append(f"{heading(found, name)} less luck")
            columns.append(game["adjusted"])
    return header, [[agent["name"], *(estimate(column[agent["name"]]) for column in columns)] for agent in found["agents"]]


def clean_table(found: Standings) -> Rows:
    """Ratings from the blocks in which every reply was legal at once."""
    rows = found["boards"]["clean"]["rows"]
    return ["agent", "rating", "95 % interval", "rank", "games"], [
        [
            row["agent"],
            *(
                ["", "", ""]
                if row["rating"] is None
                else [f"{row['rating']['value']:.0f}", span(row["rating"], 0), rank_text(row["rank"])]
            ),
            str(row["games"]),
        ]
        for row in rows
    ]


def reliability_table(found: Standings) -> Rows:
    """How often replies were legal, and what became of the others."""
    header = [
        "agent",
        "decisions",
        "first-try legal",
        "95 % interval",
        "legal after retry",
        "replaced",
        "forfeited",
        "cut off by token limit",
        "games cut off",
        "timeouts",
        "failures",
    ]
    rows = []
    for row in found["boards"]["reliability"]:
        low, high = row["first_try_low"], row["first_try_high"]
        rows.append(
            [row["agent"], str(row["decisions"]), percent(row["first_try"])]
            + ["" if low is None else f"{percent(low)} to {percent(high)}"]
            + [
                percent(row[key])
                for key in ("after_retry", "replaced", "forfeits", "truncated", "limit", "timeouts", "failures")
            ]
        )
    return header, rows


def efficiency_table(found: Standings) -> Rows | None:
    """Games that are not zero-sum: mean return with others, with itself, what partners get, and how efficient outcomes were.

    Columns that no game fills are left out.
    """
    games = {name: game for name, game in found["games"].items() if game["payoffs"] != "zero_sum"}
    if not games:
        return None
    header = ["game", "agent", "mean return", "self-play", "partners' mean", "joint share", "Pareto-efficient"]
    rows = []
    for name, game in games.items():
        cross, facts = game["cross_play"] or {}, game["facts"]
        for agent in (each["name"] for each in found["agents"]):
            of = cross.get(agent, {})
            rows.append(
                [
                    name,
                    agent,
                    estimate(game["mean"][agent]),
                    estimate(of.get("self_play")),
                    number(of.get("partners")),
                    plain(facts.get("joint_share", {}).get(agent)),
                    percent(facts.get("pareto", {}).get(agent)),
                ]
            )
    filled = [place for place in range(len(header)) if any(row[place] for row in rows)]
    return [header[place] for place in filled], [[row[place] for place in filled] for row in rows]


def cycles_table(found: Standings) -> Rows | None:
    """Nash averaging and alpha-rank."""
    cycles = found["cycles"]
    if cycles is None:
        return None
    return ["agent", "Nash mix", "payoff against it", "alpha-rank"], [
        [
            agent["name"],
            share(cycles["nash_mix"][agent["name"]], 3),
            number(cycles["nash_payoff"][agent["name"]]),
            share(cycles["alpha_rank"][agent["name"]], 3),
        ]
        for agent in found["agents"]
    ]


def notes(found: Standings) -> list[str]:
    """What goes with every table: sample, variance ratios, cycles, warnings."""
    anchor, ceiling = found["anchor"], found["ceiling"]
    lines = [
        f"{found['games_counted']} games in complete blocks of mirrored deals, {found['resamples']} resamples of the deals; "
        + (f"{anchor} is at 0" if anchor else "the mean is at 0")
        + (f"; {ceiling} is taken as the ceiling" if ceiling else "")
        + "."
    ]
    for name, game in found["games"].items():
        ratio = game["variance_ratio"]
        told = f"; variance of independent deals by that of mirrored ones {ratio:.2f}" if ratio else ""
        lines.append(f"{name}: {game['deals']} deals{told}.")
    if found["cycles"]:
        lines.append(
            f"Share of the results between agents that no ranking explains: {found['cycles']['intransitive_share']:.1%}; sampling "
            f"errors alone would leave about {found['cycles']['intransitive_by_noise']:.1%}."
        )
    clean = found["boards"]["clean"]
    if clean["share"] < 1:
        lines.append(f"Clean play: {clean['games']} games, {clean['share']:.1%} of those rated.")
    if found["failed"]:
        lines.append(
            f"{found['failed']} games could not be played, for a failure that is nobody's loss; they are not counted."
        )
    return lines + [f"Warning: {warning}." for warning in found["warnings"]]


# Forms.


def as_rich(found: Standings, title: str, rows: Rows | None = None) -> Table:
    """A table for a terminal; the main one if none is given."""
    header, cells = rows or main_table(found)
    table = Table(title=title)
    for place, column in enumerate(header):
        table.add_column(column, justify="left" if place == 0 else "right")
    for row in cells:
        table.add_row(*row)
    return table


def as_csv(found: Standings) -> str:
    """Everything that the tables say of an agent, one row an agent, numbers unrounded."""
    rows = {row["agent"]: row for row in found["boards"]["all"]["rows"]}
    legal = {row["agent"]: row for row in found["boards"]["reliability"]}
    lines: list[dict[str, Any]] = []
    for agent in found["agents"]:
        name = agent["name"]
        line: dict[str, Any] = {"agent": name, "spec": agent["spec"]}
        if rows:
            rating = rows[name]["rating"]
            line |= {"rating": rating["value"], "rating_low": rating["low"], "rating_high": rating["high"]}
            line |= {"rank_best": rows[name]["rank"][0], "rank_worst": rows[name]["rank"][1], "p_best": rows[name]["best"]}
        line |= {
            key: legal[name][key] for key in ("games", "decisions", "first_try", "after_retry", "forfeits", "truncated")
        }
        for game_name, game in found["games"].items():
            for kind, column in (("return", game["mean"]), ("return_less_luck", game["adjusted"])):
                if column:
                    cell = column[name]
                    line |= {f"{kind} {game_name}": cell["value"]}
                    line |= {f"{kind} {game_name} {end}": cell[end] for end in ("low", "high")}
            if game["nash_conv"]:
                line |= {f"nash_conv {game_name}": game["nash_conv"].get(name, {}).get("value")}
        lines.append(line)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def as_markdown(found: Standings) -> str:
    """All tables, with their notes."""
    parts = [markdown_table(main_table(found)), HOW_TO_READ, "\n".join(f"- {note}" for note in notes(found))]
    parts += ["Mean returns, every opponent with equal weight:", markdown_table(returns_table(found))]
    efficiency = efficiency_table(found)
    if efficiency:
        parts += ["Games that are not zero-sum, by what they pay:", markdown_table(efficiency)]
    cycles = cycles_table(found)
    if cycles:
        parts += ["Beyond a ranking:", markdown_table(cycles)]
    if found["boards"]["clean"]["share"] < 1:
        parts += [f"Clean play. {found['boards']['clean']['warning']}", markdown_table(clean_table(found))]
    parts += ["Reliability:", markdown_table(reliability_table(found))]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def markdown_table(rows: Rows) -> str:
    """One table."""
    header, cells = rows
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(_markdown_cell(cell) for cell in line) + " |" for line in [header, rule, *cells])


def _markdown_cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def as_latex(found: Standings) -> str:
    """The main table and the mean returns, for `booktabs`."""
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            *(_latex_table(main_table(found), "Ratings with 95\\,\\% intervals over mirrored deals.")),
            *(_latex_table(returns_table(found), "Mean returns with 95\\,\\% intervals.")),
            "",
        ]
    )


def _latex_table(rows: Rows, caption: str) -> list[str]:
    header, cells = rows
    lines = ["\\begin{table}", "\\centering", f"\\caption{{{caption}}}", f"\\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}"]
    lines += ["\\toprule", " & ".join(map(_latex, header)) + " \\\\", "\\midrule"]
    lines += [" & ".join(map(_latex, row)) + " \\\\" for row in cells]
    return [*lines, "\\bottomrule", "\\end{tabular}", "\\end{table}"]


_LATEX = {
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
} | {character: f"\\{character}" for character in "&%$#_{}"}


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def write_tables(found: Standings, out: Path) -> None:
    """OUT/table.csv, OUT/table.md and OUT/table.tex."""
    (out / "table.csv").write_text(as_csv(found), encoding="utf-8")
    (out / "table.md").write_text(as_markdown(found), encoding="utf-8")
    (out / "table.tex").write_text(as_latex(found), encoding="utf-8")


# Cells.


def span(interval: Mapping[str, Any] | None, digits: int) -> str:
    """ "low to high", "" where there is none."""
    if interval is None or interval["low"] is None:
        return ""
    return f"{interval['low']:.{digits}f} to {interval['high']:.{digits}f}"


def estimate(interval: Mapping[str, Any] | None) -> str:
    """ "+1.23 [+1.10, +1.36]"."""
    if interval is None or interval["value"] is None:
        return ""
    if interval["low"] is None:
        return number(interval["value"])
    return f"{number(interval['value'])} [{number(interval['low'])}, {number(interval['high'])}]"


def number(value: float | None) -> str:
    """With a sign and about three significant digits."""
    if value is None:
        return ""
    size = abs(value)
    text = f"{value:+.{3 if size < 10 else 2 if size < 100 else 1}f}"
    return text if float(text) else text[1:]


def plain(value: float | None) -> str:
    """About three significant digits, without a sign where it is positive."""
    return number(value).removeprefix("+")


def percent(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1%}"


def share(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def rank_text(rank: Sequence[int]) -> str:
    """ "3", or "2-4"."""
    return f"{rank[0]}" if rank[0] == rank[1] else f"{rank[0]}-{rank[1]}"


def nash_conv_text(conv: Mapping[str, Any] | None) -> str:
    if conv is None:
        return ""
    if conv["method"] == "probabilities":
        return f"{conv['value']:.3f}"
    return f"{conv['value']:.3f} [{conv['low']:.3f}, {conv['high']:.3f}]"
