"""The speed benchmark runs, and a turn of ours costs what it may."""

import statistics
import sys

import pytest

from benchmarks import speed

MOST_US = 200.0
"""CPU time of the environment for one turn, microseconds; a model takes a thousand times as long."""


@pytest.mark.parametrize("env_id", list(speed.GAMES))
def test_a_turn_costs_little(env_id):
    speed.play_lmgames(env_id, games=2)  # imports and caches
    turns_per_s = statistics.median(speed.play_lmgames(env_id, games=20) for _ in range(5))
    assert 1e6 / turns_per_s < MOST_US


def test_a_turn_of_a_long_match_costs_little(monkeypatch):
    monkeypatch.setitem(speed.GAMES, "KuhnPoker-v0", {"hands": 100})
    turns_per_s = statistics.median(speed.play_lmgames("KuhnPoker-v0", games=1) for _ in range(5))
    assert 1e6 / turns_per_s < MOST_US


def test_without_textarena_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "textarena", None)  # makes its import fail
    assert speed.main(["--games", "1", "--rounds", "1"]) == 2
    assert "textarena is not installed; pip install 'lmgames[speed]'" in capsys.readouterr().err


def test_the_table_has_every_game_and_every_way_to_run_textarena(monkeypatch, capsys):
    pytest.importorskip("textarena")
    monkeypatch.setenv("COLUMNS", "160")
    assert speed.main(["--games", "2", "--rounds", "1"]) == 0
    table = capsys.readouterr().out
    for heading in (*speed.GAMES, "us a turn", "TextArena, reset", "TextArena, new", "TextArena -raw, new"):
        assert heading in table
