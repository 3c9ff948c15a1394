import itertools
from collections import Counter

import pytest

from benchmarks.schedule import GameSpec, LineUp, Standing, make_schedule, rotations, seatings, tables
from lmgames.chance import Chance

KUHN = GameSpec("KuhnPoker-v0", {})
DEAL = GameSpec("DealOrNoDeal-v0", {})
SPY = GameSpec("WhoIsTheSpy-v0", {})
NOTHING = Standing({}, {}, {})


def first_round(kind, names, games, blocks=3, **more):
    lineups, _ = make_schedule(kind, names, games, blocks, 1, **more).round(0, NOTHING)
    return lineups


def games_of(lineups, seed=1):
    return [seating for lineup in lineups for seating in seatings(lineup, lineup.game.rules().seats, seed)]


def test_every_block_is_one_deal_from_both_seats():
    games = games_of(first_round("round-robin", ["a", "b", "c"], [KUHN], blocks=5))
    assert len(games) == 3 * 5 * 2
    for block in range(5):
        members = [game for game in games if game.lineup.block == block]
        assert len({game.seed for game in members}) == 1, "all pairs play the same deal"
        for pair in (("a", "b"), ("a", "c"), ("b", "c")):
            seated = [tuple(game.seats.values()) for game in members if game.lineup.agents == pair]
            assert sorted(seated) == sorted([pair, pair[::-1]])


def test_games_that_are_not_zero_sum_are_played_with_oneself_too():
    groups = [lineup.agents for lineup in first_round("round-robin", ["a", "b"], [DEAL], blocks=1)]
    assert sorted(groups) == [("a", "a"), ("a", "b"), ("b", "b")]
    assert len(games_of([LineUp(DEAL, ("a", "a"), 0)])) == 1, "both rotations are one game"


@pytest.mark.parametrize("count", [2, 3, 5, 6, 9])
def test_tables_seat_everybody_equally_often(count):
    names = [f"p{number}" for number in range(count)]
    for block in range(4):
        found = tables(names, 5, Chance(0).derive("t", block))
        seated = Counter((name, seat) for table in found for turned in rotations(table) for seat, name in enumerate(turned))
        assert len({seated[name, seat] for name in names for seat in range(5)}) == 1
        assert len({min(rotations(table)) for table in found}) == len(found)


def test_references_do_not_meet_each_other():
    lineups = first_round("vs-reference", ["new", "r1", "r2", "r3"], [KUHN, SPY], blocks=2, references=["r1", "r2", "r3"])
    assert {lineup.agents for lineup in lineups if lineup.game is KUHN} == {("new", "r1"), ("new", "r2"), ("new", "r3")}
    for lineup in lineups:
        assert lineup.agents.count("new") == 1
    with pytest.raises(ValueError, match="references"):
        make_schedule("vs-reference", ["a", "b"], [KUHN], 1, 0, references=["a", "b"])


def test_swiss_pairs_neighbours_that_have_not_met():
    schedule = make_schedule("swiss", ["a", "b", "c", "d"], [KUHN], 3, 0)
    value = {"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0}
    pairs = [lineup.agents for lineup in schedule.round(1, Standing(value, {}, {}))[0]]
    assert sorted(pairs) == [("a", "b"), ("c", "d")]
    met = {("KuhnPoker-v0", ("a", "b")): 1, ("KuhnPoker-v0", ("c", "d")): 1}
    pairs = [lineup.agents for lineup in schedule.round(2, Standing(value, {}, met))[0]]
    assert sorted(pairs) == [("a", "c"), ("b", "d")]
    assert schedule.round(3, NOTHING) is None


def test_swiss_gives_everybody_the_bye_in_turn():
    schedule = make_schedule("swiss", ["a", "b", "c"], [KUHN], 3, 0)
    byes = []
    for number in range(3):
        lineups, _ = schedule.round(number, Standing(dict.fromkeys("abc", 0.0), {}, {}))
        (pair,) = (lineup.agents for lineup in lineups)
        byes.append(next(name for name in "abc" if name not in pair))
    assert sorted(byes) == ["a", "b", "c"]


def test_adaptive_spends_on_pairs_whose_order_is_unsure():
    names = ["a", "b", "c"]
    schedule = make_schedule("adaptive", names, [KUHN], 20, 0)
    base, _ = schedule.round(0, NOTHING)
    assert len(base) == 3 * 10
    played = {("KuhnPoker-v0", pair): 10 for pair in itertools.combinations(names, 2)}
    errors = {(one, other): 10.0 for one in names for other in names if one != other}
    lineups, why = schedule.round(1, Standing({"a": 100.0, "b": 0.0, "c": 1.0}, errors, played))
    assert [lineup.agents for lineup in lineups] == [("b", "c")] * 3
    assert [lineup.block for lineup in lineups] == [10, 11, 12], "each a new deal"
    assert why["pairs"]["KuhnPoker-v0"] == [("b", "c")] * 3
    assert schedule.round(11, NOTHING) is None


@pytest.mark.parametrize(
    "names, blocks, complaint",
    [(["a"], 1, "two or more"), (["a", "a"], 1, "different names"), (["a", "b"], 0, "blocks=0")],
)
def test_no_tournament(names, blocks, complaint):
    with pytest.raises(ValueError, match=complaint):
        make_schedule("round-robin", names, [KUHN], blocks, 0)
