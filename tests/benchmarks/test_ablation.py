import csv
import dataclasses

import numpy as np
import pytest

from benchmarks import ablation
from benchmarks.ablation import ARENAS, BASELINES, Line, TaxedKuhn, main, read_csv, write_csv
from lmgames import solve
from lmgames.games.kuhn_poker import KuhnPoker

SMALL = {
    "hidden_size": 64,
    "layers": 1,
    "warmup_steps": 60,
    "warmup_games": 30,
    "games_per_step": 48,
    "group_size": 8,
}


def test_the_tax_moves_the_means_of_the_roles_and_nothing_else():
    plain, taxed = KuhnPoker(), TaxedKuhn(tax=2)
    uniform = solve.uniform_policy(plain)
    before, after = solve.expected_returns(plain, uniform), solve.expected_returns(taxed, uniform)
    assert after["player_0"] == pytest.approx(before["player_0"] + 2)
    assert after["player_1"] == pytest.approx(before["player_1"] - 2)
    assert solve.nash_conv(taxed, uniform) == pytest.approx(solve.nash_conv(plain, uniform)) == pytest.approx(11 / 12)
    low, high = taxed.return_bounds
    assert (low, high) == (-4, 4)


def test_variance_from_inner_products():
    vectors = np.random.default_rng(0).normal(size=(7, 5))
    which = np.array([0, 1, 2, 3, 4, 5, 6])
    expected = np.trace(np.cov(vectors.T))
    assert ablation._total_variance(vectors @ vectors.T, which) == pytest.approx(expected)


@pytest.fixture
def small(monkeypatch):
    arena = ARENAS["taxed_kuhn"]
    shrunk = dataclasses.replace(arena, settings={**arena.settings, **SMALL}, reads_like="", steps=4, batches=6)
    monkeypatch.setitem(ARENAS, "taxed_kuhn", shrunk)


@pytest.mark.usefixtures("small")
def test_where_roles_are_paid_unlike_role_conditioning_takes_that_variance_away(tmp_path, capsys):
    assert main(["variance", "--games", "taxed_kuhn", "--seeds", "1", "--out", str(tmp_path)]) == 0
    found = {(line.measure, line.baseline): line for line in read_csv(tmp_path / "variance.csv")}
    of = {baseline: found["advantage variance, start", baseline].value for baseline in BASELINES}
    assert of["none"] == 1.0
    assert of["global"] == pytest.approx(1.0, abs=0.01)  # zero-sum: the mean over both roles is 0
    # 4 of about 6 squared chips are the tax.
    assert of["role_loo"] < 0.5
    assert of["seed_role_loo"] < of["role_loo"]
    gradient = found["gradient variance, start", "role_loo"]
    assert gradient.low <= gradient.value < 0.6
    assert "taxed Kuhn" in capsys.readouterr().out


@pytest.mark.usefixtures("small")
def test_strength_at_equal_games(tmp_path, monkeypatch):
    monkeypatch.setattr(ablation, "BASELINES", ("none", "role_loo"))
    assert main(["strength", "--games", "taxed_kuhn", "--seeds", "2", "--out", str(tmp_path)]) == 0
    lines = read_csv(tmp_path / "strength.csv")
    assert {line.baseline for line in lines} == {"none", "role_loo"}
    assert all(line.low <= line.value <= line.high for line in lines)
    assert main(["picture", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "ablation.png").stat().st_size > 1000


def test_tables_are_read_back_as_written(tmp_path):
    lines = [Line("kuhn", "advantage variance, start", "none", 1.0, 0.5, 1.5, 3)]
    write_csv(lines, tmp_path / "x.csv")
    assert read_csv(tmp_path / "x.csv") == lines
    with (tmp_path / "x.csv").open() as file:
        assert next(csv.reader(file)) == ["arena", "measure", "baseline", "value", "low", "high", "seeds"]


@pytest.mark.parametrize("name", ARENAS)
def test_every_arena_has_a_config(name):
    config = ARENAS[name].config(seed=1)
    assert config.p_self == 1.0
    assert config.games_per_step // config.group_size > 1
