import math
from dataclasses import replace

import numpy as np
import pytest

from training.advantages import (
    BASELINES,
    AtPosition,
    Auto,
    OpponentShrink,
    Outcome,
    RoleEMA,
    RunningScale,
    Shrink,
    variance_components,
    variance_shares,
)

GAME = "lmgames/G-v0"


def outcomes(*rows):
    """(role, group, episode, return) rows of one game against itself."""
    return [Outcome("lmgames/G-v0", role, "self", group, episode, value) for role, group, episode, value in rows]


FOUR = outcomes(("first", "a", 0, 1.0), ("first", "a", 1, 3.0), ("first", "b", 2, 5.0), ("second", "a", 0, -2.0))


@pytest.mark.parametrize(
    "name, expected",
    [
        ("none", [0, 0, 0, 0]),
        ("global", [7 / 4] * 4),  # (1 + 3 + 5 - 2) / 4
        ("seat_pair", [-1 / 2, 3, 5, -1 / 2]),  # game 0 has two seats
        ("role_batch", [3, 3, 3, -2]),
        ("role_loo", [4, 3, 2, 0]),  # the other two first seats; the only second seat has nobody to compare with
        ("seed_role", [2, 2, 5, -2]),
        ("seed_role_loo", [3, 1, 2, 0]),  # group b has one game: the cell's others; there is no other second seat
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


def test_seats_of_one_game_are_not_each_others_ema():
    """Five villagers: all are compared with the games before, and their game counts once, by its mean."""
    ema = RoleEMA(0.95)
    first = [("villager", 0, 0, value) for value in (1.0, 1.0, 1.0, 1.0, 6.0)]
    assert ema(outcomes(*first, ("villager", 0, 1, 4.0), ("wolf", 0, 0, -3.0))) == [0, 0, 0, 0, 0, pytest.approx(0.1), 0]
    assert ema.count == {(GAME, "villager", "self"): 2, (GAME, "wolf", "self"): 1}
    assert ema.value((GAME, "villager", "self")) == pytest.approx(0.95 * (0.05 * 2) + 0.05 * 4)


@pytest.mark.parametrize("debias", [False, True])
def test_role_ema_leaves_the_gradient_of_a_shared_role_alone(debias):
    """A public good: each of five seats of one role pays 0.5 to give all 0.2 a head of three times as much. The exact gradient at
    even odds is a quarter of 0.6 - 0.5, for the last seat as for the first."""
    rng = np.random.default_rng(9)
    gives_GS = rng.random((12_000, 5)) < 0.5  # G = games, S = seats
    paid_GS = 0.6 * gives_GS.sum(1, keepdims=True) - 0.5 * gives_GS
    rows = [("citizen", 0, game, value) for game, of_game in enumerate(paid_GS) for value in of_game]
    advantage_GS = paid_GS - np.reshape(RoleEMA(0.95, debias=debias)(outcomes(*rows)), (-1, 5))
    estimates = advantage_GS * (gives_GS - 0.5)
    error = np.std(estimates, axis=0) / math.sqrt(len(estimates))
    assert (abs(np.mean(estimates, axis=0) - 0.025) < 4 * error).all()
    assert 4 * error.max() < 0.02, "enough games to tell"


def test_turns_that_share_a_bucket_are_not_each_others_ema():
    """What an early turn is paid holds what the later one is: the later one must not be compared with it."""

    def turn(episode, value):
        return Outcome(GAME, "first", "self", "a", episode, value, turn=7)

    assert RoleEMA(0.5)([turn(0, 6.0), turn(0, 2.0), turn(1, 0.0)]) == [0, 0, 2]


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


def test_bias_and_noise_of_the_gradient_on_a_toy():
    """Two roles whose returns are 1 apart, luck of the deal and of the outcome of standard deviation 1, 16 deals of 8 games. Coins
    at even odds whose heads pay 0.4 more: the gradient is 0.1, and with a mean over the 8 that holds the own game 7/8 of it."""
    rng = np.random.default_rng(10)
    names = ("none", "role_loo", "role_ema", "shrink", "seed_role", "seed_role_loo")
    estimators = {name: BASELINES[name]() for name in names}
    found = {name: [] for name in names}
    for batch in range(300):
        heads_DGR = rng.random((16, 8, 2)) < 0.5  # D = deals, G = games on each, R = roles
        luck_D11 = rng.normal(size=(16, 1, 1))
        paid_DGR = 0.4 * heads_DGR + [0.5, -0.5] + luck_D11 + rng.normal(size=heads_DGR.shape)
        episode = 128 * batch
        rows = [
            (role, int(deal), episode + 8 * int(deal) + int(game), paid_DGR[deal, game, number])
            for deal, game in np.ndindex(16, 8)
            for number, role in enumerate(("first", "second"))
        ]
        seats = outcomes(*rows)
        for name, baseline in estimators.items():
            advantage_DGR = paid_DGR - np.reshape(baseline(seats), paid_DGR.shape)
            found[name].append(np.mean(advantage_DGR * (heads_DGR - 0.5)))
    for name, estimates in found.items():
        error = np.std(estimates) / math.sqrt(len(estimates))
        assert error < 0.1 / 8 / 4, "as many batches as tell 1 from 7/8"
        assert np.mean(estimates) == pytest.approx(0.1 * (7 / 8 if name == "seed_role" else 1), abs=4 * error), name
    noise = {name: np.std(estimates) for name, estimates in found.items()}
    assert noise["seed_role_loo"] < 0.85 * noise["role_loo"], "the luck of the deal is gone"
    assert max(noise["role_loo"], noise["role_ema"], noise["shrink"]) < 0.97 * noise["none"], "the means of roles are gone"


def test_same_deal_groups_remove_the_luck_of_the_deal():
    rng = np.random.default_rng(3)
    luck = rng.normal(size=50) * 3
    rows = [("r", group, 8 * group + k, luck[group] + rng.normal()) for group in range(50) for k in range(8)]
    group = outcomes(*rows)
    returns = np.array([outcome.return_ for outcome in group])
    variance = {name: np.var(returns - np.array(BASELINES[name]()(group))) for name in ("role_loo", "seed_role_loo")}
    assert variance["seed_role_loo"] < 0.25 * variance["role_loo"]
    assert variance_shares(group)[GAME]["deal"] > 0.8


def test_seat_tax_shows_as_role_variance():
    rng = np.random.default_rng(4)
    rows = [(role, n, n, tax + rng.normal()) for n in range(200) for role, tax in (("first", 2.0), ("second", -2.0))]
    assert variance_shares(outcomes(*rows))[GAME]["role"] == pytest.approx(0.8, abs=0.05)


def test_refuses_a_decay_of_one():
    with pytest.raises(ValueError, match="decay=1"):
        RoleEMA(1.0)


def test_turns_have_their_own_cells():
    def turn(number, episode, value):
        return Outcome(GAME, "first", "self", "a", episode, value, turn=number)

    ema = RoleEMA(0.5)
    assert ema([turn(0, 0, 4.0), turn(1, 0, 8.0), turn(0, 1, 0.0), turn(1, 1, 0.0)]) == [0, 0, 2, 4]
    again = RoleEMA(0.5)
    again.load_state_dict(ema.state_dict())
    assert again.value((GAME, "first", "self", 1)) == 2


def test_teams_of_two_roles_each_have_their_own_usual_return():
    """Spymaster and guesser of a team are paid alike, but each is compared within its role, without its own game."""
    seats = [
        Outcome(GAME, role, "self", 0, episode, value)
        for episode, value in ((0, 1.0), (1, -1.0), (2, 1.0))
        for role in ("team/master", "team/guesser")
    ]
    assert BASELINES["role_loo"]()(seats) == pytest.approx([0, 0, 1, 1, 0, 0])


def test_general_sum_is_not_centred_across_seats():
    """A deal that gives both 10 is good for both: against the other game's 0, not against each other."""
    seats = outcomes(("buyer", 0, 0, 10.0), ("seller", 0, 0, 10.0), ("buyer", 1, 1, 0.0), ("seller", 1, 1, 0.0))
    returns = np.array([seat.return_ for seat in seats])
    assert (returns - BASELINES["role_loo"]()(seats)).tolist() == [10, 10, -10, -10]


def test_three_seats_of_two_roles():
    """One spy against two civilians: their return counts once a game, however many share it."""
    rows = [("spy", 0, 0, 2.0), ("civilian", 0, 0, -1.0), ("civilian", 0, 0, -1.0)]
    rows += [("spy", 0, 1, -2.0), ("civilian", 0, 1, 1.0), ("civilian", 0, 1, 1.0)]
    rows += [("spy", 0, 2, 2.0), ("civilian", 0, 2, -1.0), ("civilian", 0, 2, -1.0)]
    assert BASELINES["role_loo"]()(outcomes(*rows)) == pytest.approx([0, 0, 0, 2, -1, -1, 0, 0, 0])


def test_turns_at_one_position_by_hand():
    """kappa 2. Position "p" is met by games 0 and 1 of deal "a" and 2 of deal "b"; "q" by game 3 of deal "b" alone."""

    def turn(group, episode, return_, position, number=0):
        return Outcome("lmgames/G-v0", "x", "self", group, episode, return_, number, position)

    turns = [turn("a", 0, 1.0, "p"), turn("a", 1, -1.0, "p"), turn("b", 2, 0.5, "p"), turn("b", 3, 0.0, "q")]
    expected = [
        (2 * (-1 + 0.5) / 2 + 2 * -1.0) / 4,
        (2 * (1 + 0.5) / 2 + 2 * 1.0) / 4,
        (2 * (1 - 1) / 2 + 2 * 0.0) / 4,
        0.5,  # nobody else at "q": the deal's
    ]
    assert AtPosition(kappa=2.0)(turns) == pytest.approx(expected)
    # Coming back to a position in one game is one episode and no evidence about itself; the number of the turn does not matter.
    again = [*turns, turn("b", 3, 8.0, "q", 1)]
    assert AtPosition(kappa=2.0)(again)[3] == pytest.approx(0.5)
    later = [turn("a", 0, 1.0, "p", 1), *turns[1:]]
    assert AtPosition(kappa=2.0)(later)[1] == pytest.approx(0.75), "no other second turn on the deal"


@pytest.mark.parametrize("group, position, expected", [("a", "p", 1.0), ("b", "p", 1.0), ("a", "q", 1.0), ("b", "q", 1.0)])
def test_a_mean_of_nobody_is_no_mean_of_0(group, position, expected):
    """All are paid 1, so 1 is usual, whether or not others stood at the position or played the deal; alone in the cell: 0."""
    others = [Outcome(GAME, "x", "self", "a", episode, 1.0, 0, "p") for episode in (0, 1)]
    mine = Outcome(GAME, "x", "self", group, 2, 1.0, 0, position)
    assert AtPosition(kappa=8.0)([*others, mine])[2] == pytest.approx(expected)
    assert AtPosition(kappa=8.0)([mine]) == [0]
    assert BASELINES["seed_role_loo"]()([*others, mine])[2] == pytest.approx(expected)
    assert OpponentShrink(kappa=8.0)([replace(others[0], opponent="fixed:random"), mine]) == [1, 1]
    shrink = Shrink(kappa=8.0)
    shrink(others)
    assert shrink([mine]) == pytest.approx([1.0]), "the past alone"


def test_opponent_shrink_by_hand():
    """Two wins against random, one loss against itself; kappa 2."""
    games = [
        Outcome(GAME, "first", opponent, 0, episode, value)
        for episode, (opponent, value) in enumerate([("fixed:random", 3.0), ("fixed:random", 1.0), ("self", -1.0)])
    ]
    expected = [
        (1 * 1.0 + 2 * 0.0) / 3,  # one other game against random (1), the role's two others have mean (1 - 1) / 2
        (1 * 3.0 + 2 * 1.0) / 3,
        2.0,  # no other game against itself: the role's mean (3 + 1) / 2
    ]
    assert OpponentShrink(kappa=2.0)(games) == pytest.approx(expected)


def sample(rng, *, tax=0.0, luck=0.0, noise=1.0, deals=30, games=4):
    """Zero-sum games of two roles."""
    rows = []
    for deal in range(deals):
        shift = rng.normal() * luck
        for game in range(games):
            value = tax + shift + rng.normal() * noise
            rows += [("first", deal, deal * games + game, value), ("second", deal, deal * games + game, -value)]
    return outcomes(*rows)


def test_components_are_unbiased_for_small_groups():
    """Four deals of two games each; role 1.5^2, deal 1, rest 0.5^2, although the seats mirror each other."""
    rng = np.random.default_rng(5)
    found = [variance_components(sample(rng, tax=1.5, luck=1.0, noise=0.5, deals=4, games=2))[GAME] for _ in range(3000)]
    for name, truth in (("role", 2.25), ("deal", 1.0), ("rest", 0.25)):
        values = np.array([getattr(spread, name) for spread in found])
        assert values.mean() == pytest.approx(truth, abs=4 * values.std() / math.sqrt(len(values))), name
    square = np.array([spread.mean_square for spread in found])
    assert square.mean() == pytest.approx(3.5, abs=4 * square.std() / math.sqrt(len(square)))


def test_components_by_hand():
    """Two deals of two games, one role: within 2 / 2 = 1 (squares 0.5 each); between: means 1 and 5 around 3, 16 = 1 + 2 x."""
    spread = variance_components(outcomes(("r", 0, 0, 0.0), ("r", 0, 1, 2.0), ("r", 1, 2, 4.0), ("r", 1, 3, 6.0)))[GAME]
    assert (spread.mean_square, spread.role) == (14.0, 0.0)
    assert spread.rest == pytest.approx(2.0)  # 4 squares of 1 over 2 degrees of freedom
    assert spread.deal == pytest.approx((16 - 2) / 2)  # sum of squares between 16, one degree, games a deal 2


def test_shares_of_each_game_and_without_repeated_deals():
    rng = np.random.default_rng(6)
    taxed = sample(rng, tax=3.0, games=1, deals=200)
    lucky = [Outcome("lmgames/L-v0", o.role, "self", o.group, o.episode, o.return_) for o in sample(rng, luck=3.0)]
    shares = variance_shares(taxed + lucky)
    assert set(shares[GAME]) == {"role"}, "no deal was played twice"
    assert shares[GAME]["role"] == pytest.approx(0.9, abs=0.03)
    assert shares["lmgames/L-v0"]["deal"] == pytest.approx(0.9, abs=0.06)
    assert shares["lmgames/L-v0"]["role"] < 0.1
    assert variance_shares(outcomes(("r", 0, 0, 1.0))) == {}
    assert variance_shares(outcomes(("r", 0, 0, 1.0), ("r", 0, 1, 1.0)))[GAME]["role"] == 0


@pytest.mark.parametrize(
    "spread, choice",
    [({}, "none"), ({"tax": 2.0}, "shrink"), ({"luck": 2.0}, "seed_role_loo"), ({"tax": 2.0, "luck": 2.0}, "seed_role_loo")],
)
def test_auto_chooses_by_what_it_measured(spread, choice):
    rng = np.random.default_rng(7)
    auto = Auto()
    assert auto.choice(GAME) == "shrink", "nothing measured yet"
    for _ in range(5):
        auto(sample(rng, **spread))
    assert auto.choice(GAME) == choice
    report = auto.report()[GAME]
    assert report["choice"] == choice
    assert report["why"]
    now = sample(rng, **spread)
    assert auto.choices["shrink"].past.count[GAME, "first", "self"] == 5 * 120, "what is not used is kept up to date"
    again = Auto()
    again.load_state_dict(auto.state_dict())
    assert again(now) == auto(now)
    if choice == "seed_role_loo":
        assert again(now) == BASELINES["seed_role_loo"]()(now)


def test_auto_promises_what_comes():
    """The promised mean squares are those of the advantages that each choice gives."""
    rng = np.random.default_rng(8)
    auto = Auto()
    step = sample(rng, tax=1.0, luck=1.0, deals=2000)
    auto(step)
    returns = np.array([outcome.return_ for outcome in step])
    for name in ("none", "seed_role_loo"):
        measured = np.mean((returns - BASELINES[name]()(step)) ** 2)
        assert auto.promised[GAME][name] == pytest.approx(measured, rel=0.02)
    assert auto.promised[GAME]["shrink"] == pytest.approx(np.mean((returns - BASELINES["role_loo"]()(step)) ** 2), rel=0.02)


def test_running_scale():
    """One divisor for all roles of a game; its first is the deviation within cells, 2 here, however far the roles are apart."""
    scale = RunningScale(decay=0.5)
    step = outcomes(("a", 0, 0, 10.0), ("a", 1, 1, 10 + math.sqrt(8)), ("b", 0, 0, -10.0), ("b", 1, 1, -10 - math.sqrt(8)))
    assert scale(step) == pytest.approx({GAME: 2.0})
    flat = outcomes(("a", 0, 2, 1.0), ("a", 1, 3, 1.0))
    assert scale(flat) == pytest.approx({GAME: (0.25 * 2 + 0.5 * 0) / 0.75})
    again = RunningScale(decay=0.5)
    again.load_state_dict(scale.state_dict())
    for _ in range(20):
        assert again(flat) == scale(flat)
    assert scale(flat) == {GAME: 0.1}, "never below the floor"
    assert RunningScale()(outcomes(("a", 0, 0, 1.0))) == {GAME: 1.0}, "one game tells no spread"
