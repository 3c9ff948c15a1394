import math

import numpy as np
import pytest

from training.advantages import BASELINES, Outcome, RoleEMA, Shrink, variance_shares


def outcomes(*rows):
    """(role, group, episode, return) rows of one game against itself."""
    return [Outcome("lmgames/G-v0", role, "self", group, episode, value) for role, group, episode, value in rows]


FOUR = outcomes(("first", "a", 0, 1.0), ("first", "a", 1, 3.0), ("first", "b", 2, 5.0), ("second", "a", 0, -2.0))


@pytest.mark.parametrize(
    "name, expected",
    [
        ("none", [0, 0, 0, 0]),
        ("global", [7 / 4] * 4),  # (1 + 3 + 5 - 2) / 4
        ("role_batch", [3, 3, 3, -2]),
        ("role_loo", [4, 3, 2, 0]),  # the other two first seats; the only second seat has nobody to compare with
        ("seed_role", [2, 2, 5, -2]),
        ("seed_role_loo", [3, 1, 0, 0]),  # group b has one game
    ],
)
def test_baselines_by_hand(name, expected):
    assert BASELINES[name]()(FOUR) == pytest.approx(expected)


def test_leave_one_out_leaves_out_the_whole_game():
    """Two villagers of one game share their fate: neither is evidence about the other."""
    seats = outcomes(
        ("villager", "a", 0, 1.0), ("villager", "a", 0, 1.0), ("villager", "b", 1, -1.0), ("villager", "b", 1, -1.0)
    )
    assert BASELINES["role_loo"]()(seats) == [-1, -1, 1, 1]


def test_cells_keep_games_and_opponents_apart():
    one = Outcome("lmgames/A-v0", "first", "self", 0, 0, 1.0)
    other_game = Outcome("lmgames/B-v0", "first", "self", 0, 1, 9.0)
    other_opponent = Outcome("lmgames/A-v0", "first", "fixed:random", 0, 2, 5.0)
    assert BASELINES["role_batch"]()([one, other_game, other_opponent]) == [1, 9, 5]


def test_role_ema_is_read_before_it_is_updated():
    """SPIRAL: b = 0, then 0.95 b + 0.05 R."""
    stream = outcomes(("first", 0, 0, 1.0), ("first", 0, 1, 1.0), ("first", 0, 2, -1.0))
    assert RoleEMA(0.95)(stream) == pytest.approx([0.0, 0.05, 0.0975])


def test_role_ema_debiased_starts_at_the_first_return():
    stream = outcomes(("first", 0, 0, 2.0), ("first", 0, 1, 2.0), ("first", 0, 2, 2.0))
    assert RoleEMA(0.95, debias=True)(stream) == pytest.approx([0.0, 2.0, 2.0])


def test_order_of_update_is_a_constant_factor():
    """With one EMA, the advantage after the update is decay times the one before it (research identity, any history)."""
    ema, rng = RoleEMA(0.9), np.random.default_rng(0)
    for number, value in enumerate(rng.normal(size=50)):
        before = value - ema([Outcome("g", "r", "self", 0, number, value)])[0]
        after = value - ema.value(("g", "r", "self"))
        assert after == pytest.approx(0.9 * before)


def test_zero_sum_roles_mirror_each_other():
    ema, rng = RoleEMA(), np.random.default_rng(1)
    for number, value in enumerate(rng.normal(size=50)):
        ema(outcomes(("first", 0, number, value), ("second", 0, number, -value)))
    cells = [("lmgames/G-v0", role, "self") for role in ("first", "second")]
    assert ema.value(cells[0]) == pytest.approx(-ema.value(cells[1]))


def test_state_comes_back():
    ema = RoleEMA(0.9)
    ema(FOUR)
    again = RoleEMA(0.9)
    again.load_state_dict(ema.state_dict())
    assert again(FOUR) == ema(FOUR)


def test_shrink_between_the_batch_and_the_past():
    shrink = Shrink(kappa=2.0, decay=0.5)
    first = outcomes(("r", 0, 0, 1.0), ("r", 0, 1, 3.0))
    assert shrink(first) == pytest.approx([3.0, 1.0])  # no past: leave-one-out alone
    past = (0.5 * (0.5 * 1.0) + 0.5 * 3.0) / (1 - 0.25)  # debiased EMA of 1 and 3
    second = outcomes(("r", 0, 0, 0.0), ("r", 0, 1, 6.0))
    weight = 1 / (1 + 2.0)  # one other episode
    assert shrink(second) == pytest.approx([weight * 6 + (1 - weight) * past, weight * 0 + (1 - weight) * past])


@pytest.mark.parametrize("name", ["none", "role_loo", "seed_role_loo"])
def test_unbiased_baselines_leave_the_gradient_alone(name):
    """E[advantage * score] of a biased coin is the same with every baseline that leaves the own game out."""
    rng = np.random.default_rng(2)
    estimates = []
    for _ in range(4000):
        heads = rng.random(8) < 0.5
        returns = heads.astype(float) + 3.0  # an offset that a baseline should remove
        group = outcomes(*(("r", index // 4, index, value) for index, value in enumerate(returns)))
        advantage = returns - np.array(BASELINES[name]()(group))
        estimates.append(np.mean(advantage * (heads - 0.5)))
    tolerance = 4 * np.std(estimates) / math.sqrt(len(estimates))
    assert np.mean(estimates) == pytest.approx(0.25, abs=tolerance)  # d/dp of p at a logit: p (1 - p)


def test_same_deal_groups_remove_the_luck_of_the_deal():
    rng = np.random.default_rng(3)
    luck = rng.normal(size=50) * 3
    rows = [("r", group, 8 * group + k, luck[group] + rng.normal()) for group in range(50) for k in range(8)]
    group = outcomes(*rows)
    returns = np.array([outcome.return_ for outcome in group])
    variance = {name: np.var(returns - np.array(BASELINES[name]()(group))) for name in ("role_loo", "seed_role_loo")}
    assert variance["seed_role_loo"] < 0.25 * variance["role_loo"]
    assert variance_shares(group)["deal"] > 0.8


def test_seat_tax_shows_as_role_variance():
    rng = np.random.default_rng(4)
    rows = [(role, n, n, tax + rng.normal()) for n in range(200) for role, tax in (("first", 2.0), ("second", -2.0))]
    assert variance_shares(outcomes(*rows))["role"] == pytest.approx(0.8, abs=0.05)


def test_refuses_a_decay_of_one():
    with pytest.raises(ValueError, match="decay=1"):
        RoleEMA(1.0)
