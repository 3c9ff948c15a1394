"""A tournament as one self-contained HTML page: no script, no network, nothing that a player wrote is ever markup."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from benchmarks.report import (
    HOW_TO_READ,
    Rows,
    Standings,
    clean_table,
    cycles_table,
    efficiency_table,
    estimate,
    main_table,
    nash_conv_text,
    notes,
    number,
    percent,
    plain,
    rank_text,
    reliability_table,
    returns_table,
)
from benchmarks.results import Result
from benchmarks.svg import BLUE, GREEN, ORANGE, RED, Mark, bars, forest, heat_map, scatter

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
REPLAYS = 4  # of each game
MAX_REPLY = 1500  # characters of a reply that are shown
STYLE = """
:root{color-scheme:light dark;--page:#f4f6f8;--paper:#fff;--ink:#1c2733;--faint:#4a5764;--line:#dde3e9;--rule:#9aa6b2;
--link:#1f6fb4;--refused:#c8442e;--caution:#fdf6ee}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif}
main{max-width:980px;margin:0 auto;padding:32px 40px 64px;background:var(--paper);min-height:100vh}
h1{font-size:26px;margin:0 0 4px;letter-spacing:-.01em}
h2{font-size:19px;margin:44px 0 8px;padding-top:14px;border-top:1px solid var(--line)}
h3{font-size:15px;margin:26px 0 6px}
p{margin:6px 0 12px;max-width:78ch}
.lead{color:var(--faint)}
.note{color:var(--faint);font-size:13.5px}
.warning{border-left:3px solid #d9822b;padding:4px 12px;background:var(--caution);font-size:13.5px;max-width:82ch}
nav{margin:14px 0 6px;font-size:13.5px}
nav{display:flex;flex-wrap:wrap;gap:2px 16px}
nav a{white-space:nowrap}
a{color:var(--link);text-decoration:none}
figure{margin:14px 0 18px;overflow-x:auto}
figcaption{color:var(--faint);font-size:13.5px;margin-top:4px;max-width:82ch}
svg{max-width:100%;height:auto;font-family:inherit}
.scroll{overflow-x:auto;margin:10px 0 16px}
.row{display:flex;flex-wrap:wrap;gap:0 44px}
.row .scroll{min-width:0}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}
th,td{padding:4px 11px 4px 0;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap;vertical-align:bottom}
th{color:var(--faint);font-weight:600;border-bottom:1px solid var(--rule);white-space:normal;min-width:54px}
th:first-child,td:first-child{text-align:left}
td.text,th.text{text-align:left}
.legend{font-size:13px;color:var(--faint);margin:2px 0 6px}
.legend i{display:inline-block;width:11px;height:11px;margin:0 5px 0 14px;vertical-align:-1px}
.legend i:first-child{margin-left:0}
details{border:1px solid var(--line);border-radius:5px;padding:6px 12px;margin:6px 0;font-size:13.5px}
summary{cursor:pointer}
pre{white-space:pre-wrap;overflow-wrap:anywhere;font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;margin:8px 0}
.seat{color:var(--link);font-weight:600}
.refused{color:var(--refused)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px;font-size:13.5px;margin:8px 0}
dt{color:var(--faint)}
dd{margin:0;overflow-wrap:anywhere}
@media screen and (prefers-color-scheme:dark){
:root{--page:#0c1117;--paper:#151b23;--ink:#e4eaf0;--faint:#a3b0bd;--line:#2c3642;--rule:#5c6a78;--link:#6cb2f2;--refused:#ff8b76;
--caution:#2b2318}
svg [fill="#1c2733"]{fill:#e4eaf0} svg [fill="#6b7785"]{fill:#a3b0bd} svg [fill="#fff"]{fill:#151b23}
svg [stroke="#fff"]{stroke:#151b23} svg [stroke="#e3e8ee"]{stroke:#2c3642} svg [stroke="#b9c3ce"]{stroke:#5c6a78}
.legend [style*="#1f6fb4"]{background:#4a9be6!important}
svg [stroke="#6b7785"]{stroke:#a3b0bd} svg [fill="#1f6fb4"]{fill:#4a9be6} svg [stroke="#1f6fb4"]{stroke:#4a9be6}
}
@media (max-width:640px){main{padding:20px 16px 48px}figure svg{max-width:none}figure svg[width="720"]{width:560px}
dl{grid-template-columns:1fr}dd{margin-bottom:6px}
table{font-size:12.5px}th,td{padding-right:9px}}
@media print{body{background:#fff}main{padding:0;max-width:none}details{break-inside:avoid}figure{break-inside:avoid}}
"""


def page(found: Standings, manifest: Mapping[str, Any], results: Sequence[Result] = (), title: str = "Leaderboard") -> str:
    """The page.

    Args:
        found: standings.
        manifest: of the tournament.
        results: games, some of which are told in full.
        title: of the page.
    """
    replayed = {result.game for result in results}
    sections = [
        ("ratings", "Ratings", _ratings(found)),
        ("head-to-head", "Head to head", _head_to_head(found)),
        ("reliability", "Reliability", _reliability(found)),
        ("cost", "Rating against cost", _cost(found)),
        *((f"game-{place}", name, _game(found, name, name in replayed)) for place, name in enumerate(found["games"])),
        ("replays", "Replays", _replays(results)),
        ("made", "How this was made", _made(found, manifest)),
    ]
    shown = [(anchor, heading, body) for anchor, heading, body in sections if body]
    links = "".join(f'<a href="#{anchor}">{escape(heading)}</a>' for anchor, heading, _ in shown)
    bodies = "".join(f'<section id="{anchor}"><h2>{escape(heading)}</h2>{body}</section>' for anchor, heading, body in shown)
    agents, games = len(found["agents"]), len(found["games"])
    lead = (
        f"{agents} agents, {games} {'game' if games == 1 else 'games'}, {found['games_played']:,} games played, every deal from "
        "every seat. All intervals are 95 %."
    )
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY, quote=True)}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head><body><main><h1>{escape(title)}</h1>"
        f'<p class="lead">{lead}</p><nav>{links}</nav>{bodies}</main></body></html>\n'
    )


# Sections.


def _ratings(found: Standings) -> str:
    board, clean = found["boards"]["all"], found["boards"]["clean"]
    parts = []
    if board["rows"]:
        of_clean = {row["agent"]: row["rating"] for row in clean["rows"]}
        differs = clean["share"] < 1
        rows = [
            (
                row["agent"],
                [Mark(row["rating"], hint=f"{row['agent']}: {row['rating']['value']:.0f}")]
                + ([Mark(of_clean.get(row["agent"]), hollow=True, hint="clean play")] if differs else []),
            )
            for row in board["rows"]
        ]
        ceiling = next((row["rating"]["value"] for row in board["rows"] if row["agent"] == found["ceiling"]), None)
        picture = forest(
            rows,
            "Ratings with intervals",
            "rating, Elo points" + (f" ({found['anchor']} = 0)" if found["anchor"] else ""),
            ceiling=ceiling,
            notes=[f"rank {rank_text(row['rank'])}" for row in board["rows"]],
        )
        caption = "Rating with its 95 % interval, all games." + (
            " Hollow: clean play, the blocks in which every reply was legal at once." if differs else ""
        )
        if ceiling is not None:
            caption += f" Dashed: {found['ceiling']}, the ceiling."
        parts.append(_figure(picture, caption))
        parts.append(f'<p class="note">{escape(HOW_TO_READ)}</p>')
    else:
        parts.append("<p>No game here is zero-sum, so wins are not rated; see the panel of each game for what it pays.</p>")
    parts.append(_table(main_table(found)))
    parts += [f'<p class="warning">{escape(warning[:1].upper() + warning[1:])}.</p>' for warning in found["warnings"]]
    if clean["rows"] and clean["share"] < 1:
        parts.append(
            f"<h3>Clean play</h3><p class='note'>{clean['games']:,} games, {clean['share']:.1%} of those rated.</p>"
        )
        parts.append(f'<p class="warning">{escape(clean["warning"])}</p>{_table(clean_table(found))}')
    return "".join(parts)


def _head_to_head(found: Standings) -> str:
    cycles = found["cycles"]
    if cycles is None:
        return ""
    names = [agent["name"] for agent in found["agents"]]
    shares = [[None if i == j else (value + 1) / 2 for j, value in enumerate(row)] for i, row in enumerate(cycles["payoff"])]
    caption = (
        "Points of the row's agent against the column's: a draw half, amounts by the stake; mean over the zero-sum games."
    )
    told = (
        f"A ranking leaves {cycles['intransitive_share']:.1%} of these results unexplained; sampling errors alone would leave "
        f"about {cycles['intransitive_by_noise']:.1%}. Nash mix: how often each is played in the maximum-entropy equilibrium of "
        "“pick an agent”; copies of an agent do not change it. Alpha-rank: the share of time a population spends with "
        "each agent when winners replace losers."
    )
    table = cycles_table(found)
    return (
        _figure(heat_map(names, shares, "Points, head to head", middle=0.5), caption)
        + f'<p class="note">{escape(told)}</p>'
        + (_table(table) if table else "")
    )


def _reliability(found: Standings) -> str:
    rows = []
    for row in found["boards"]["reliability"]:
        if row["first_try"] is None:
            continue
        late = max(0.0, row["after_retry"] - row["first_try"])
        rows.append(
            (
                row["agent"],
                [
                    (row["first_try"], BLUE, "legal at once"),
                    (late, GREEN, "legal after a retry"),
                    (row["replaced"], ORANGE, "replaced"),
                    (row["forfeits"], RED, "forfeited"),
                ],
            )
        )
    legend = "".join(
        f'<i style="background:{colour}"></i>{what}'
        for colour, what in (
            (BLUE, "legal at once"),
            (GREEN, "legal after a retry"),
            (ORANGE, "replaced"),
            (RED, "forfeited"),
        )
    )
    caption = "What became of each decision. The figure at the right is the share that was legal at once."
    return f'<p class="legend">{legend}</p>' + _figure(bars(rows, "Reliability"), caption) + _table(reliability_table(found))


def _cost(found: Standings) -> str:
    rows = found["boards"]["all"]["rows"]
    if not rows:
        return ""
    cost = found["cost"]
    kinds = (
        ("usd_per_game", "USD a game"),
        ("tokens_per_game", "tokens a game, prompts and replies"),
        ("replies_per_game", "replies a game (none of these agents reports tokens)"),
    )
    key, label = next((each for each in kinds if any(cost[row["agent"]][each[0]] for row in rows)), kinds[-1])
    points = [(row["agent"], cost[row["agent"]][key], row["rating"]) for row in rows]
    caption = "Dashed: agents that nobody beats at no more cost."
    return _figure(scatter(points, "Rating against cost", label, "rating, Elo points"), caption)


def _game(found: Standings, name: str, told_in_full: bool) -> str:
    game = found["games"][name]
    names = [agent["name"] for agent in found["agents"]]
    ratio = game["variance_ratio"]
    told = f"{_kind(game)}; {game['deals']} deals."
    if ratio:
        told += f" Variance of a mean over independent deals by that over mirrored ones, measured here: {ratio:.2f}."
    rows = [
        (
            agent,
            [Mark(game["mean"][agent], hint=estimate(game["mean"][agent]))]
            + ([Mark(game["adjusted"][agent], hollow=True, hint="less luck")] if game["adjusted"] else []),
        )
        for agent in sorted(names, key=lambda agent: -(game["mean"][agent]["value"] or 0.0))
    ]
    caption = "Mean return with its interval, every opponent with equal weight." + (
        " Hollow: less luck, by exact values." if game["adjusted"] else ""
    )
    parts = [f"<p>{escape(told)}</p>", _figure(forest(rows, f"Mean returns in {name}", "mean return"), caption)]
    if game["against"]:
        cells = [[None if cell is None else cell["value"] for cell in row] for row in game["against"]]
        what = "Mean return of the row's agent against the column's." + (
            "" if game["payoffs"] == "zero_sum" else " On the diagonal: with itself."
        )
        parts.append(_figure(heat_map(names, cells, f"Returns, head to head, in {name}", _digits(cells)), what))
    parts.append(f'<p class="note"><a href="#{_anchor(name)}">Games in full</a></p>' if told_in_full else "")
    tables = (_sides_table(game, names), _exact_table(game, names), _facts_table(game, names))
    parts.append(f'<div class="row">{"".join(_table(table) for table in tables if table)}</div>')
    if game["payoffs"] != "zero_sum":
        rows_of_game = efficiency_table({**found, "games": {name: game}})
        if rows_of_game:
            header, of_game = rows_of_game
            parts.append(_table((header[1:], [row[1:] for row in of_game])))  # the first column names the game
    return "".join(parts)


def _kind(game: Mapping[str, Any]) -> str:
    kinds = {"zero_sum": "Zero-sum", "cooperative": "Cooperative", "general_sum": "General-sum"}
    seats = f"{game['seats']} {'seat' if game['seats'] == 1 else 'seats'}"
    rated = "wins are rated" if game["payoffs"] == "zero_sum" else "reported by what it pays, not by wins"
    return f"{kinds[game['payoffs']]}, {seats}; {rated}"


def _digits(cells: Iterable[Iterable[float | None]]) -> int:
    largest = max((abs(value) for row in cells for value in row if value is not None), default=0.0)
    return 2 if largest < 10 else 1 if largest < 100 else 0


def _sides_table(game: Mapping[str, Any], names: Sequence[str]) -> Rows | None:
    sides = sorted({side for of in game["sides"].values() for side in of})
    if not sides:
        return None
    header = ["agent", *(f"return as {side}" for side in sides)]
    return header, [
        [name, *(number(game["sides"].get(name, {}).get(side, {}).get("mean")) for side in sides)] for name in names
    ]


def _exact_table(game: Mapping[str, Any], names: Sequence[str]) -> Rows | None:
    if not game["nash_conv"]:
        return None
    return ["agent", "NashConv", "read from", "replies not legal"], [
        [name, nash_conv_text(conv), conv["method"], percent(conv["illegal"])]
        for name in names
        if (conv := game["nash_conv"].get(name))
    ]


def _facts_table(game: Mapping[str, Any], names: Sequence[str]) -> Rows | None:
    facts = {fact: of for fact, of in game["facts"].items() if len({round(value, 9) for value in of.values()}) > 1}
    if not facts:
        return None
    header = ["mean over games", *(fact.replace("_", " ") for fact in facts)]
    return header, [[name, *(plain(of.get(name)) for of in facts.values())] for name in names]


def _replays(results: Sequence[Result]) -> str:
    chosen: dict[str, list[Result]] = {}
    for result in sorted(results, key=lambda each: (each.game, each.is_clean, each.key)):  # refusals tell most
        of_game = chosen.setdefault(result.game, [])
        if len(of_game) < REPLAYS and (result.is_clean or sum(not each.is_clean for each in of_game) < REPLAYS // 2):
            of_game.append(result)
    if not chosen:
        return ""
    told = "Some games in full, those with a refused reply first. Each line of games.jsonl plays again with <code>verify</code>."
    return f'<p class="note">{told}</p>' + "".join(
        f'<h3 id="{_anchor(game)}">{escape(game)}</h3>' + "".join(map(_replay, of_game)) for game, of_game in chosen.items()
    )


def _anchor(game: str) -> str:
    return "replays-" + "".join(character if character.isalnum() else "-" for character in game)


def _replay(result: Result) -> str:
    players = ", ".join(f"{seat} {name}" for seat, name in result.seats.items())
    paid = ", ".join(f"{value:+.3g}" for value in result.returns.values())
    lines = []
    for turn in result.played["turns"]:
        reply = turn["reply"] if isinstance(turn["reply"], str) else str(turn["reply"])
        cut = reply if len(reply) <= MAX_REPLY else reply[:MAX_REPLY] + "…"
        what = (
            ""
            if turn["status"] == "ok"
            else f' <span class="refused">{escape(turn["status"])}: {escape(turn["code"])}</span>'
        )
        lines.append(f'<span class="seat">{escape(turn["seat"])}</span> {escape(_visible(cut))}{what}')
    returns = ", ".join(f"{seat} {value:+g}" for seat, value in result.returns.items())
    facts = {"deal": result.played["instance"], "returns": returns, "ended by": result.played["outcome"]}
    about = "".join(f"<dt>{escape(key)}</dt><dd>{escape(_visible(str(value)))}</dd>" for key, value in facts.items())
    return (
        f"<details><summary>Deal {result.block}: {escape(players)}; {escape(paid)}</summary>"
        f"<dl>{about}</dl><pre>{chr(10).join(lines)}</pre></details>"
    )


def _visible(text: str) -> str:
    """Text without characters that could hide or reorder what is around them."""
    return "".join(character if character.isprintable() or character in "\n\t" else "\ufffd" for character in text)


def _made(found: Standings, manifest: Mapping[str, Any]) -> str:
    about = {
        "seed": manifest.get("seed"),
        "schedule": manifest.get("schedule"),
        "blocks": manifest.get("blocks"),
        "commit": manifest.get("commit"),
        "versions": ", ".join(f"{name} {version}" for name, version in manifest.get("versions", {}).items()),
        "hardware": ", ".join(f"{key} {value}" for key, value in manifest.get("hardware", {}).items()),
        **{f"game {name}": f"text and rules {of['hash']}" for name, of in manifest.get("games", {}).items()},
        **{f"agent {name}": f"{of['spec']}, {of['hash']}" for name, of in manifest.get("agents", {}).items()},
    }
    listed = "".join(
        f"<dt>{escape(key)}</dt><dd>{escape(str(value))}</dd>" for key, value in about.items() if value is not None
    )
    items = "".join(f"<li>{escape(note)}</li>" for note in notes(found))
    return f'<ul class="note">{items}</ul><h3>Mean returns</h3>{_table(returns_table(found))}<dl>{listed}</dl>'


# Parts.


def _figure(picture: str, caption: str) -> str:
    return f"<figure>{picture}<figcaption>{escape(caption)}</figcaption></figure>"


def _table(rows: Rows) -> str:
    header, cells = rows
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in cells)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
