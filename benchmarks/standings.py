"""What a tournament says of its agents: `ratings.json`, a pure function of manifest, results, errors and policies.

Three boards: all games, where a refused reply has the consequences that the game gives it; clean play, the blocks in which
every reply was legal at once; and reliability. Wins are rated in zero-sum games alone; other games are reported by what they
pay, how efficient their outcomes are, and who does well with whom.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cache import paid_tokens
from benchmarks.choices import Played
from benchmarks.cycles import intransitive_share, nash_average
from benchmarks.exact import nash_conv_of
from benchmarks.manifest import read_manifest
from benchmarks.ratings import RESAMPLES, Interval, Payoffs, Ratings, payoffs, rate
from benchmarks.results import ERRORS, POLICIES, Result, as_played, complete, policy_key, read_objects, read_results
from benchmarks.schedule import GameSpec, stake_of
from training.meta import alpha_rank

FILE = "ratings.json"
SCHEMA = 1
ANCHOR = "random"  # the agent at 0 points, where it plays
DIGITS = 7  # significant, of every number kept
FEW_DEALS = 30
CLEAN_WARNING = (
    "Clean play leaves out every block with a refused, replaced or forfeited reply. Which blocks those are depends on the agents, "
    "so this board compares them on different samples of deals; read it beside the number of games, not instead of the first board."
)


def rate_folder(folder: Path, resamples: int = RESAMPLES) -> dict[str, Any]:
    """The standings of a folder of results.

    Raises:
        ValueError: if something in it is missing or damaged, or no block is complete.
    """
    manifest = read_manifest(folder)
    results = read_results(folder)
    ours = [result for result in results.values() if _is_of(result, manifest)]
    if not ours:
        raise ValueError(f"{folder} has no game of the tournament in its manifest; run `run` first")
    stored = {entry["key"]: entry for entry in read_objects(folder / POLICIES)}
    policies = {
        game: {
            name: stored[key]
            for name, agent in manifest["agents"].items()
            if (key := policy_key(name, agent["fingerprint"], about["hash"])) in stored
        }
        for game, about in manifest["games"].items()
    }
    errors = [error for error in read_objects(folder / ERRORS) if error["key"] not in results]
    factors = manifest.get("factors", {})
    return standings(
        ours,
        list(manifest["agents"]),
        {name: spec_of(about) for name, about in manifest["games"].items()},
        policies=policies,
        errors=errors,
        anchor=factors.get("anchor", ANCHOR),
        ceiling=factors.get("ceiling"),
        prices=factors.get("prices", {}),
        specs={name: about["spec"] for name, about in manifest["agents"].items()},
        resamples=resamples,
    )


def _is_of(result: Result, manifest: Mapping[str, Any]) -> bool:
    return result.game in manifest["games"] and all(name in manifest["agents"] for name in result.lineup)


def spec_of(about: Mapping[str, Any]) -> GameSpec:
    """The game of an entry of a manifest."""
    return GameSpec(about["env_id"].removeprefix("lmgames/"), about["options"])


def standings(
    results: Iterable[Result],
    names: Sequence[str],
    games: Mapping[str, GameSpec],
    *,
    policies: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
    errors: Sequence[Mapping[str, Any]] = (),
    anchor: str | None = ANCHOR,
    ceiling: str | None = None,
    prices: Mapping[str, Mapping[str, float]] | None = None,
    specs: Mapping[str, str] | None = None,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """The standings of some results, of JSON types; the order of the results does not matter.

    Args:
        results: games of one tournament.
        names: of the agents.
        games: by name.
        policies: by game and agent, see `exact.read_policy`.
        errors: games that could not be played, for the count of timeouts.
        anchor: name of the agent at 0 points; the mean is at 0 where it does not play.
        ceiling: name of the agent taken as the strongest possible; its rating is printed as a ceiling.
        prices: by agent, USD for a million "prompt" and "completion" tokens.
        specs: by agent.
        resamples: see `ratings.Resamples`.

    Raises:
        ValueError: if no block is complete.
    """
    results = list(results)
    names = sorted(names)
    index = {name: number for number, name in enumerate(names)}
    blocks = complete(results)
    if not blocks:
        raise ValueError(f"no complete block to rate among {len(results)} games; play at least one")
    by_block = {block: [as_played(result, index) for result in members] for block, members in blocks.items()}
    played = [game for block in by_block.values() for game in block]
    clean = [game for block, of in by_block.items() if all(result.is_clean for result in blocks[block]) for game in of]
    in_order = [name for name in games if any(each.game == name for each in played)]
    zero_sum = {
        name for name in in_order if games[name].rules().payoffs == "zero_sum" and len(games[name].rules().seats) > 1
    }
    at = index.get(anchor) if anchor is not None else None

    rated = [each for each in played if each.game in zero_sum]
    stakes = {name: stake_of(games[name]) for name in zero_sum}
    fit = rate(rated, len(names), anchor=at, stakes=stakes, resamples=resamples) if rated else None
    of_games = {
        name: payoffs(
            [each for each in played if each.game == name],
            len(names),
            stake=stakes.get(name),
            bounds=games[name].rules().return_bounds,
            resamples=resamples,
        )
        for name in in_order
    }
    order = _order(names, fit, of_games)
    found = {
        "schema": SCHEMA,
        "agents": [{"name": name, "spec": (specs or {}).get(name, name)} for name in order],
        "anchor": anchor if at is not None else None,
        "ceiling": ceiling if ceiling in index else None,
        "resamples": resamples,
        "games_played": len(results),
        "games_counted": len(played),
        "failed": len(errors),
        "warnings": _warnings(of_games, results, played),
        "boards": {
            "all": _board(fit, order, index, len(rated)),
            "clean": _clean_board(fit, rated, clean, stakes, order, index, at, resamples),
            "reliability": _reliability(results, errors, order),
        },
        "games": {
            name: _of_game(of_games[name], games[name], order, index)
            | {"facts": _facts((r for r in results if r.game == name), order)}
            | {"nash_conv": _nash_convs((policies or {}).get(name, {}), games[name])}
            for name in in_order
        },
        "cycles": _cycles({name: of_games[name] for name in sorted(zero_sum)}, order, index),
        "cost": _cost(results, order, prices or {}),
    }
    return _rounded(found)


def write_standings(folder: Path, found: Mapping[str, Any]) -> None:
    """FOLDER/ratings.json and FOLDER/cost.json."""
    (folder / FILE).write_text(json.dumps(found, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
    (folder / "cost.json").write_text(json.dumps(found["cost"], indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_standings(folder: Path) -> dict[str, Any]:
    """What `write_standings` wrote.

    Raises:
        ValueError: if it is missing, damaged or of another schema.
    """
    path = folder / FILE
    if not path.exists():
        raise ValueError(f"{folder} has no {FILE}; run `rate` first")
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    if found.get("schema") != SCHEMA:
        raise ValueError(f"{path} is of schema {found.get('schema')!r}; this version reads schema {SCHEMA}")
    return found


def _order(names: Sequence[str], fit: Ratings | None, of_games: Mapping[str, Payoffs]) -> list[str]:
    """Best first: by rating, else by mean return, games of several scales by their spread."""
    if fit is not None:
        value = {name: fit.rating[number].value for number, name in enumerate(names)}
    else:
        value = dict.fromkeys(names, 0.0)
        for means in of_games.values():
            of_agents = np.array([mean.value for mean in means.mean])
            spread = float(np.nanstd(of_agents)) or 1.0
            for number, name in enumerate(names):
                value[name] += float(np.nan_to_num(of_agents[number] - np.nanmean(of_agents))) / spread
    return sorted(names, key=lambda name: (-value[name], name))


def _warnings(of_games: Mapping[str, Payoffs], results: Sequence[Result], played: Sequence[Played]) -> list[str]:
    few = [f"{name} ({game.deals})" for name, game in of_games.items() if game.deals < FEW_DEALS]
    found = [f"fewer than {FEW_DEALS} deals, so that intervals are wide, and from one deal there are none: {', '.join(few)}"]
    found = found if few else []
    if len(played) < len(results):
        found.append(f"{len(results) - len(played)} games are of blocks that are not complete; they are not counted")
    return found


# Boards.


def _board(fit: Ratings | None, order: Sequence[str], index: Mapping[str, int], games: int) -> dict[str, Any]:
    if fit is None:
        return {"games": games, "rows": [], "p_values": [], "sides": {}, "draws": {}}
    rows = [
        {
            "agent": name,
            "rating": _interval(fit.rating[index[name]]),
            "best": fit.best[index[name]],
            "top3": fit.top3[index[name]],
            "rank": list(fit.ranks[index[name]]),
        }
        for name in order
    ]
    sides: dict[str, dict[str, Any]] = defaultdict(dict)
    for (game, side), effect in fit.sides.items():
        sides[game][side] = _interval(effect)
    p_values = [[fit.p_values[index[one]][index[two]] for two in order] for one in order]
    return {
        "games": games,
        "rows": rows,
        "p_values": p_values,
        "sides": dict(sides),
        "draws": dict(sorted(fit.draws.items())),
    }


def _clean_board(
    fit: Ratings | None,
    rated: Sequence[Played],
    clean: Sequence[Played],
    stakes: Mapping[str, float],
    order: Sequence[str],
    index: Mapping[str, int],
    anchor: int | None,
    resamples: int,
) -> dict[str, Any]:
    kept = [each for each in clean if each.game in stakes]
    if len(kept) < len(rated):
        fit = rate(kept, len(index), anchor=anchor, stakes=stakes, resamples=resamples) if kept else None
    seen = Counter(agent for each in kept for agent in set(each.seats))
    board = _board(fit, order, index, len(kept))
    for row in board["rows"]:
        row["games"] = seen[index[row["agent"]]]
        if not row["games"]:
            row.update(rating=None, best=None, top3=None, rank=None)
    return board | {"share": len(kept) / len(rated) if rated else 1.0, "warning": CLEAN_WARNING}


def _reliability(
    results: Sequence[Result], errors: Sequence[Mapping[str, Any]], order: Sequence[str]
) -> list[dict[str, Any]]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for result in results:
        retrying: set[str] = set()
        for seat, status in result.statuses:
            of = counts[result.seats[seat]]
            if seat not in retrying:
                of["decisions"] += 1
                of["first_try"] += status == "ok"
            retrying.discard(seat)
            if status == "refused":
                retrying.add(seat)
            of["legal"] += status == "ok"
            of["replaced"] += status == "replaced"
            of["forfeits"] += status == "forfeit"
        for seat, usage in result.usage.items():
            counts[result.seats[seat]]["replies"] += int(usage.get("replies", 0))
            counts[result.seats[seat]]["truncated"] += int(usage.get("truncated", 0))
        for name in set(result.seats.values()):
            counts[name]["games"] += 1
            counts[name]["limit"] += result.played["outcome"] == "limit"
    for error in errors:
        counts[str(error.get("agent"))]["timeouts" if error.get("timeout") else "failures"] += 1
    return [_reliability_row(name, counts[name]) for name in order]


def _reliability_row(name: str, of: Mapping[str, int]) -> dict[str, Any]:
    decisions, replies, games = of["decisions"], of["replies"], of["games"]
    tried = games + of["timeouts"] + of["failures"]
    low, high = wilson(of["first_try"], decisions)
    return {
        "agent": name,
        "games": games,
        "decisions": decisions,
        "first_try": _ratio(of["first_try"], decisions),
        "first_try_low": low,
        "first_try_high": high,
        "after_retry": _ratio(of["legal"], decisions),
        "forfeits": _ratio(of["forfeits"], decisions),
        "replaced": _ratio(of["replaced"], decisions),
        "truncated": _ratio(of["truncated"], replies),
        "limit": _ratio(of["limit"], games),
        "timeouts": _ratio(of["timeouts"], tried),
        "failures": _ratio(of["failures"], tried),
    }


def wilson(hits: int, trials: int, z: float = 1.959964) -> tuple[float | None, float | None]:
    """The 95 % interval of a share by Wilson's score; (None, None) without trials."""
    if not trials:
        return None, None
    share = hits / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / (1 + z * z / trials)
    return max(0.0, middle - half), min(1.0, middle + half)


# Games.


def _of_game(game: Payoffs, spec: GameSpec, order: Sequence[str], index: Mapping[str, int]) -> dict[str, Any]:
    rules = spec.rules()
    sides: dict[str, dict[str, Any]] = defaultdict(dict)
    for (agent, side), (mean, games) in game.by_side.items():
        sides[order_name(index, agent)][side] = {"mean": mean, "games": games}
    return {
        "env_id": spec.env_id,
        "options": dict(spec.options),
        "payoffs": rules.payoffs,
        "seats": len(rules.seats),
        "deals": game.deals,
        "variance_ratio": game.variance_ratio,
        "mean": {name: _interval(game.mean[index[name]]) for name in order},
        "adjusted": None if game.adjusted is None else {name: _interval(game.adjusted[index[name]]) for name in order},
        "against": _matrix(game.against, order, index),
        "points": _matrix(game.points, order, index),
        "sides": {name: sides[name] for name in order if name in sides},
        "cross_play": _cross_play(game, order, index) if rules.payoffs != "zero_sum" else None,
    }


def order_name(index: Mapping[str, int], agent: int) -> str:
    """The name of an index."""
    return next(name for name, number in index.items() if number == agent)


def _matrix(entries: Mapping[tuple[int, int], Interval], order: Sequence[str], index: Mapping[str, int]) -> list[list[Any]]:
    if not entries:
        return []
    return [
        [_interval(entries[k]) if (k := (index[one], index[two])) in entries else None for two in order] for one in order
    ]


def _cross_play(game: Payoffs, order: Sequence[str], index: Mapping[str, int]) -> dict[str, Any] | None:
    """What an agent earns with itself and with others, and what others earn with it."""
    if not game.against:
        return None
    found = {}
    for name in order:
        agent = index[name]
        itself = game.against.get((agent, agent))
        with_it = [value.value for (_, other), value in game.against.items() if other == agent and _ != agent]
        found[name] = {
            "self_play": _interval(itself) if itself else None,
            "partners": sum(with_it) / len(with_it) if with_it else None,
        }
    return found


def _facts(results: Iterable[Result], order: Sequence[str]) -> dict[str, dict[str, float]]:
    """Mean of every number and truth value that the rules found out, by fact and agent, over the games that ended by the rules."""
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for result in results:
        if result.played["outcome"] == "rules":
            for fact, value in result.played["facts"].items():
                if isinstance(value, bool | int | float):
                    for name in set(result.seats.values()):
                        values[fact][name].append(float(value))
    return {
        fact: {name: math.fsum(of[name]) / len(of[name]) for name in order if name in of}
        for fact, of in sorted(values.items())
    }


def _nash_convs(policies: Mapping[str, Mapping[str, Any]], spec: GameSpec) -> dict[str, dict[str, Any]]:
    return {
        name: {**_interval(nash_conv_of(stored, spec)), "method": stored["method"], "illegal": stored["illegal"]}
        for name, stored in sorted(policies.items())
    }


# Cycles and cost.


def _cycles(games: Mapping[str, Payoffs], order: Sequence[str], index: Mapping[str, int]) -> dict[str, Any] | None:
    """Over the rated games of two seats, each with equal weight; None unless every pair has met in one of them."""
    agents = [index[name] for name in order]
    tables = [game.points for game in games.values() if game.points]
    if not tables or len(agents) < 2:
        return None
    payoff, variance = np.zeros((len(agents),) * 2), np.zeros((len(agents),) * 2)
    for i, one in enumerate(agents):
        for j, two in enumerate(agents):
            if i == j:
                continue
            met = [table[one, two] for table in tables if (one, two) in table]
            if not met:
                return None
            payoff[i, j] = 2 * sum(each.value for each in met) / len(met) - 1
            widths = [(each.high - each.low) / 3.92 for each in met if math.isfinite(each.high)]
            variance[i, j] = 4 * sum(width**2 for width in widths) / len(met) ** 2
    payoff = (payoff - payoff.T) / 2
    mix, against = nash_average(payoff)
    share, noise = intransitive_share(payoff, np.sqrt(variance))
    return {
        "payoff": payoff.tolist(),
        "nash_mix": dict(zip(order, map(float, mix), strict=True)),
        "nash_payoff": dict(zip(order, map(float, against), strict=True)),
        "alpha_rank": dict(zip(order, map(float, alpha_rank(payoff)), strict=True)),
        "intransitive_share": share,
        "intransitive_by_noise": noise,
    }


def _cost(results: Sequence[Result], order: Sequence[str], prices: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    counts: dict[str, defaultdict[str, float]] = {name: defaultdict(float) for name in order}
    for result in results:
        for seat, usage in result.usage.items():
            of = counts[result.seats[seat]]
            of["seats"] += 1
            for kind, amount in usage.items():
                of[kind] += amount
    found = {}
    for name, of in counts.items():
        price = prices.get(name, {})
        usd, full = (
            (prompt * price.get("prompt", 0.0) + completion * price.get("completion", 0.0)) / 1e6
            for prompt, completion in (paid_tokens(of), (of["prompt_tokens"], of["completion_tokens"]))
        )
        found[name] = {kind: of[kind] for kind in sorted(of)} | {
            "usd": usd,
            "tokens_per_game": (of["prompt_tokens"] + of["completion_tokens"]) / of["seats"] if of["seats"] else 0.0,
            "usd_per_game": full / of["seats"] if of["seats"] else 0.0,
            "replies_per_game": of["replies"] / of["seats"] if of["seats"] else 0.0,
        }
    return found


# JSON.


def _interval(interval: Interval) -> dict[str, Any]:
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _rounded(value: Any) -> Any:
    """Numbers to `DIGITS` significant digits, NaN as None: what is kept does not depend on the last bits of an addition."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.{DIGITS}g}") + 0.0 if math.isfinite(value) else None
    return value
