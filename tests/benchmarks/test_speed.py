"""The speed benchmark runs, and a turn of ours costs what it may."""

import statistics
import sys

import pytest

from benchmarks import speed
from lmgames.registry import GAMES

MOST_US = {"TicTacToe-v0": 200.0, "KuhnPoker-v0": 200.0}
"""CPU time of the environment for one turn, microseconds; a model takes a thousand times as long."""
MOST_US_WITH_WORDS = 1000.0


@pytest.mark.parametrize(("env_id", "options"), [(env_id, {}) for env_id in GAMES] + [("KuhnPoker-v0", {"hands": 100})])
def test_a_turn_costs_little(env_id, options):
    games = speed.draw_games(env_id, options, 3)  # imports and caches
    us_a_turn = statistics.median(speed.play_lmgames(env_id, options, games) for _ in range(5))
    assert us_a_turn < MOST_US.get(env_id, MOST_US_WITH_WORDS)


@pytest.mark.parametrize("pair", speed.PAIRS, ids=str)
def test_the_games_that_are_compared_go_the_same_way_in_both(pair):
    pytest.importorskip("textarena")
    drawn = speed.draw_games(pair.env_id, pair.options, 20)
    taken = [seed for seed, replies in drawn.items() if speed.textarena_takes(pair.peer, seed, replies)]
    assert len(taken) >= 15
    seed = taken[0]
    assert not speed.textarena_takes(pair.peer, seed, drawn[seed][:-1])
    assert not speed.textarena_takes(pair.peer, seed, [*drawn[seed], drawn[seed][-1]])
    assert not speed.textarena_takes(pair.peer, seed, ["[Offer: nonsense]", *drawn[seed][1:]])


def test_without_textarena_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "textarena", None)  # makes its import fail
    monkeypatch.setenv("COLUMNS", "200")
    assert speed.main(["--games", "1", "--rounds", "1"]) == 2
    shown = capsys.readouterr()
    assert "textarena is not installed; pip install 'lmgames[speed]'" in shown.err
    assert all(env_id in shown.out for env_id in GAMES)


def test_the_table_has_every_game_and_every_way_to_run_textarena(monkeypatch, capsys):
    pytest.importorskip("textarena")
    monkeypatch.setenv("COLUMNS", "200")
    assert speed.main(["--games", "2", "--rounds", "1"]) == 0
    table = capsys.readouterr().out
    for heading in (*map(str, speed.PAIRS), "us a turn", "TextArena, new", "-raw, new", "TextArena, reset"):
        assert heading in table
