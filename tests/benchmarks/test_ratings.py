import math
import random

import numpy as np
import pytest
from scipy import optimize, stats

from benchmarks.choices import PRIOR_PRECISION, SIDE_PRECISION, Choices, Played, orders
from benchmarks.coverage import STRENGTHS, adaptive, four_player, play_blocks, study, two_player
from benchmarks.profile import HALF, Profile
from benchmarks.ratings import ELO, holm, interval_of_samples, payoffs, rank_ranges, rate


def game(one, other, paid, name="g", deal=0, lineup=None):
    return Played(name, deal, lineup or tuple(sorted((one, other))), (one, other), ("first", "second"), (paid, -paid))


def simulate(strengths, names, deals, seed, seat=0.3):
    """Mirrored blocks of every pair; strengths in logits."""
    rng = np.random.default_rng(seed)
    made = []
    for name in names:
        for i in range(len(strengths)):
            for j in range(i + 1, len(strengths)):
                for deal in range(deals):
                    for first, second in ((i, j), (j, i)):
                        chance = 1 / (1 + math.exp(-(strengths[first] - strengths[second] + seat)))
                        made.append(game(first, second, 1.0 if rng.random() < chance else -1.0, name, deal))
    return made


def test_two_agents_by_hand():
    """30 wins of 40 from either seat. With no seat effect and theta_0 = -theta_1 = gap / 2: 60 - 80 p = prior * gap / 2."""
    games = [game(0, 1, 1.0 if deal < 30 else -1.0, deal=deal) for deal in range(40)]
    games += [game(1, 0, -1.0 if deal < 30 else 1.0, deal=deal) for deal in range(40)]
    ratings = rate(games, 2, resamples=10)
    gap = (ratings.rating[0].value - ratings.rating[1].value) / ELO
    assert 60 - 80 / (1 + math.exp(-gap)) == pytest.approx(PRIOR_PRECISION * gap / 2, abs=1e-6)
    assert ratings.sides["g", "first"].value == pytest.approx(0, abs=1e-6)


def test_strengths_come_back():
    true = [0.0, 0.5, 1.0, 1.5]
    ratings = rate(simulate(true, ["a", "b"], 200, seed=1), 4, anchor=0, resamples=200)
    for agent, strength in enumerate(true):
        interval = ratings.rating[agent]
        assert interval.low <= ELO * strength <= interval.high
        assert abs(interval.value - ELO * strength) < 40
    assert ratings.best[3] > 0.9
    assert ratings.rating[0].value == 0
    assert ratings.ranks[3] == (1, 1)
    gap = ratings.sides["a", "first"].value - ratings.sides["a", "second"].value
    assert gap == pytest.approx(0.3 * ELO, abs=25)


def test_draws_follow_davidson():
    """More than a tenth of draws: the fit is the maximum of Davidson's likelihood, found here by another optimiser."""
    rng = np.random.default_rng(5)
    games = [each for each in two_player(rng, 30, 0.0, draws=1.0) if max(each.seats) < 3]
    ratings = rate(games, 3, resamples=2)
    assert ratings.draws["g"] > 0.1

    def loss(parameters):
        theta, side, tie = parameters[:3], parameters[3:5], parameters[5]
        total = PRIOR_PRECISION / 2 * (np.sum(theta**2) + tie**2) + SIDE_PRECISION / 2 * np.sum(side**2)
        for each in games:
            one, other = theta[each.seats[0]] + side[0], theta[each.seats[1]] + side[1]
            strengths = np.array([one, other, (one + other) / 2 + tie])
            which = 2 if each.returns[0] == 0 else int(each.returns[0] < 0)
            total -= strengths[which] - np.logaddexp.reduce(strengths)
        return total

    theta = optimize.minimize(loss, np.zeros(6), method="BFGS").x[:3]
    for agent in range(3):
        assert ratings.rating[agent].value == pytest.approx(ELO * (theta[agent] - theta.mean()), abs=0.1)


def test_few_draws_are_half_wins():
    wins = [game(0, 1, 1.0, deal=deal) for deal in range(10)] + [game(1, 0, 1.0, deal=deal) for deal in range(10)]
    drawn = [game(0, 1, 0.0, deal=10)]
    both = [game(0, 1, 1.0, deal=10, lineup=(0, 1)), game(0, 1, -1.0, deal=10, lineup=(0, 1))]
    twice = rate(wins + wins + both, 2, resamples=0)
    once = rate(wins + wins + drawn + drawn, 2, resamples=0)
    assert once.rating[0].value == pytest.approx(twice.rating[0].value, abs=1e-9)


def test_amounts_count_by_the_share_of_the_stake():
    """Agent 0 wins one chip three times for each two chips that it loses twice: more wins, and less money."""
    games = [game(0, 1, paid, deal=deal) for deal, paid in enumerate([1.0, 1.0, 1.0, -2.0, -2.0] * 8)]
    games += [game(1, 0, -each.returns[0], deal=each.deal) for each in games]
    won = rate(games, 2, resamples=0)
    paid = rate(games, 2, stakes={"g": 2.0}, resamples=0)
    assert won.rating[0].value > won.rating[1].value
    assert paid.rating[0].value < paid.rating[1].value
    gap = (paid.rating[0].value - paid.rating[1].value) / ELO
    points = (3 * 0.75 + 2 * 0.0) / 5
    assert 1 / (1 + math.exp(-gap)) == pytest.approx(points, abs=0.002)
    assert payoffs(games, 2, stake=2.0, resamples=2).points[0, 1].value == pytest.approx(points)
    assert payoffs(games, 2, stake=9.0, resamples=2).points[0, 1].value == pytest.approx(0.5 - 0.2 / 18)


def test_a_stake_changes_nothing_where_all_of_it_is_won_or_lost():
    games = simulate([0.0, 0.5], ["a"], 20, seed=1)
    assert rate(games, 2, stakes={"a": 1.0}, resamples=5) == rate(games, 2, resamples=5)


def test_plackett_luce_by_another_optimiser():
    rng = np.random.default_rng(3)
    games = four_player(rng, 15, 0.0)

    def loss(parameters):
        theta, side = parameters[:5], dict(zip("abcd", parameters[5:], strict=True))
        total = PRIOR_PRECISION / 2 * np.sum(theta**2) + SIDE_PRECISION / 2 * np.sum(parameters[5:] ** 2)
        for each in games:
            strength = np.array([theta[agent] + side[where] for agent, where in zip(each.seats, each.sides, strict=True)])
            left = list(np.argsort(each.returns)[::-1])
            while len(left) > 1:
                total -= strength[left[0]] - np.logaddexp.reduce(strength[left])
                left.pop(0)
        return total

    theta = optimize.minimize(loss, np.zeros(9), method="BFGS").x[:5]
    ratings = rate(games, 5, resamples=2)
    for agent in range(5):
        assert ratings.rating[agent].value == pytest.approx(ELO * (theta[agent] - theta.mean()), abs=0.1)


def test_a_team_shares_its_places():
    """Four civilians beat a spy: each civilian stands first, second, third and fourth in a quarter of the orders."""
    found = orders([1.0, 1.0, 1.0, 1.0, -4.0])
    assert sum(weight for _, weight in found) == pytest.approx(1)
    assert all(order[-1] == 4 for order, _ in found)
    for seat in range(4):
        for place in range(4):
            assert sum(weight for order, weight in found if order[place] == seat) == pytest.approx(1 / 4)


@pytest.mark.parametrize("tied", [2, 3])
def test_all_orders_of_small_ties(tied):
    found = orders([0.0] * tied)
    assert len(found) == math.factorial(tied)
    assert {round(weight * math.factorial(tied), 9) for _, weight in found} == {1.0}


def test_order_changes_nothing():
    games = simulate([0.0, 0.4, 0.8], ["a"], 30, seed=2)
    shuffled = list(games)
    random.Random(0).shuffle(shuffled)
    assert rate(games, 3) == rate(shuffled, 3)
    assert payoffs(games, 3) == payoffs(shuffled, 3)


def test_games_weigh_the_same():
    """Ten times the blocks of one game, in which the order is reversed, do not drown the other game."""
    games = simulate([0.0, 1.0], ["a"], 40, seed=3, seat=0.0) + simulate([1.0, 0.0], ["b"], 400, seed=4, seat=0.0)
    ratings = rate(games, 2, resamples=100)
    assert abs(ratings.rating[0].value - ratings.rating[1].value) < 60


def test_a_perfect_score_stays_finite():
    games = [game(0, 1, 1.0, deal=deal) for deal in range(50)] + [game(1, 0, -1.0, deal=deal) for deal in range(50)]
    ratings = rate(games, 2, resamples=10)
    assert 400 < ratings.rating[0].value - ratings.rating[1].value < 3000


def test_copies_of_an_agent_tell_nothing():
    assert rate([*simulate([0, 1], ["a"], 20, seed=1), game(0, 0, 1.0, lineup=(0, 0))], 2, resamples=0).rating == (
        rate(simulate([0, 1], ["a"], 20, seed=1), 2, resamples=0).rating
    )


def test_intervals_cover():
    """40 tournaments of five agents, 160 intervals: 0.95 +- 3.5 standard errors. The full study is in the documentation."""
    found = study(lambda rng: two_player(rng, 20, 0.0), STRENGTHS, tournaments=40)
    assert found.intervals == 160
    assert 0.88 <= found.share <= 1.0


def test_a_match_between_equals_holds_0():
    """100 matches of 30 mirrored deals; 95 are expected to hold the truth."""
    held = 0
    for number in range(100):
        games = play_blocks(np.random.default_rng([3, number]), np.zeros((30, 2)), [(deal, 0, 1) for deal in range(30)])
        gap = rate(games, 2, anchor=0, resamples=0).rating[1]
        held += gap.low <= 0 <= gap.high
    assert held >= 93


def test_quantiles_of_few_resamples_are_not_too_narrow():
    """Of 39 samples the 1st and the 39th stand for 2.5 and 97.5 %."""
    found = interval_of_samples(np.array([20.0, *range(1, 40)]), deals=10**9)
    assert (found.low, found.high) == pytest.approx((1.0, 39.0))


@pytest.mark.slow
def test_two_player_intervals_cover_93_to_97_percent():
    found = study(lambda rng: two_player(rng, 40, 0.0), STRENGTHS, tournaments=200)
    assert 0.93 <= found.share <= 0.97


@pytest.mark.slow
def test_four_player_intervals_cover_90_percent():
    found = study(lambda rng: four_player(rng, 50, 0.0), STRENGTHS, tournaments=200)
    assert found.share >= 0.90


def test_an_adaptive_schedule_plays_as_many_games_and_is_rated():
    """The full study is in the documentation."""
    games = adaptive(np.random.default_rng(0), 8)
    assert len(games) == len(two_player(np.random.default_rng(0), 8))
    found = study(lambda rng: adaptive(rng, 8), STRENGTHS, tournaments=5)
    assert found.share >= 0.7


# Few deals and lopsided results.


def whitewash(deals, upsets=0):
    """Agent 0 wins every game from both seats but the first few from the first seat."""
    return [
        each
        for deal in range(deals)
        for each in (game(0, 1, -1.0 if deal < upsets else 1.0, deal=deal), game(1, 0, -1.0, deal=deal))
    ]


def test_one_deal_says_nothing_about_its_error():
    ratings = rate(whitewash(1), 2, anchor=1)
    assert ratings.rating[0].value > 0
    assert math.isnan(ratings.rating[0].low)
    assert math.isnan(ratings.rating[0].high)
    assert ratings.p_values[0][1] == 1.0
    assert ratings.ranks == ((1, 2), (1, 2))
    assert ratings.errors[0][1] == math.inf
    assert math.isnan(ratings.best[0])


@pytest.mark.parametrize("upsets", [0, 1])
def test_more_wins_are_surer(upsets):
    """The lower end rises with every deal that is won, the estimate with it; no interval is without width or off its estimate."""
    found = [rate(whitewash(deals, upsets), 2, anchor=1, resamples=50) for deals in (2, 3, 5, 10, 30)]
    intervals = [ratings.rating[0] for ratings in found]
    assert all(each.low < each.value < each.high for each in intervals)
    assert [each.low for each in intervals] == sorted(each.low for each in intervals)
    assert [each.value for each in intervals] == sorted(each.value for each in intervals)
    p_values = [ratings.p_values[0][1] for ratings in found]
    assert p_values == sorted(p_values, reverse=True)
    assert p_values[0] > 0.2, "two deals are no proof"
    assert p_values[-1] < 1e-3
    for ratings, interval in zip(found, intervals, strict=True):
        assert (ratings.p_values[0][1] < 0.05) == (interval.low > 0), "the test and the interval are of one kind"


def test_a_won_match_by_hand():
    """10 wins of 10 less half a game: the lower end is where 2 (l(9.5 of 10 at its best) - l) / phi is the square of Student's
    quantile; the deals show no dispersion, so that phi is the prior's share of what independent games would have."""
    profile = Profile(Choices(sorted(whitewash(5)), 2, {}))
    contrast = np.array([[1.0], [-1.0], [0.0], [0.0]])
    (_,), (phi,) = profile.variance(contrast)
    assert 0.8 < phi <= 1.0
    (low,), (high,) = profile.intervals(contrast)
    limit = stats.t.ppf(0.975, 4)

    def value(gap):  # sides are even, theta is +-gap / 2
        return -10 * math.log1p(math.exp(-gap)) - PRIOR_PRECISION * gap**2 / 4

    def loss(gap, sign):
        best = -optimize.minimize_scalar(
            lambda at: -(value(at) + sign * HALF * phi * at), bounds=(0, 60), method="bounded"
        ).fun
        return 2 * (best - value(gap) - sign * HALF * phi * gap) / phi - limit**2

    estimate = profile.estimates(contrast)[0]
    assert low == pytest.approx(optimize.brentq(lambda gap: loss(gap, -1), -5, estimate), rel=0.02)
    assert high == pytest.approx(optimize.brentq(lambda gap: loss(gap, 1), estimate, 200), rel=0.02)


def test_intervals_hold_their_estimates():
    """Random small tournaments of up to four agents and two games, lopsided or not."""
    rng = np.random.default_rng(8)
    for _ in range(12):
        agents, deals = int(rng.integers(2, 5)), int(rng.integers(2, 6))
        games = simulate(rng.normal(0, 2.5, agents), ["a", "b"][: int(rng.integers(1, 3))], deals, int(rng.integers(1000)))
        ratings = rate(games, agents, anchor=0, resamples=0)
        for interval in [*ratings.rating[1:], *ratings.sides.values()]:
            assert interval.low < interval.value < interval.high
        p_values = np.array(ratings.p_values)
        assert ((p_values >= 0) & (p_values <= 1)).all()


def test_mirrored_luck_makes_intervals_narrower():
    """Each deal is won from one and the same seat: it shows that the agents are equal, as two independent games cannot."""
    paid = [1.0 if deal % 2 else -1.0 for deal in range(40)]
    mirrored = [
        each for deal in range(40) for each in (game(0, 1, paid[deal], deal=deal), game(1, 0, paid[deal], deal=deal))
    ]
    alone = [game(*each.seats, each.returns[0], deal=number) for number, each in enumerate(mirrored)]
    narrow, wide = (rate(games, 2, anchor=0, resamples=0).rating[1] for games in (mirrored, alone))
    assert narrow.value == pytest.approx(0, abs=0.1)
    assert narrow.low < 0 < narrow.high
    assert narrow.high - narrow.low < 0.5 * (wide.high - wide.low)


def test_what_one_deal_gives_to_an_agent_makes_intervals_wider():
    """All that is played on a deal goes one way: there are as many independent results as deals, a quarter of the games."""
    paid = [1.0 if deal % 2 else -1.0 for deal in range(40)]
    pairs = [(game(0, 1, paid[deal], deal=deal), game(1, 0, -paid[deal], deal=deal)) for deal in range(40)]
    together = [each for pair in pairs for each in pair * 2]
    apart = [game(*each.seats, each.returns[0], deal=number) for number, each in enumerate(together)]
    wide, narrow = (rate(games, 2, anchor=0, resamples=0).rating[1] for games in (together, apart))
    assert wide.high - wide.low == pytest.approx(2 * (narrow.high - narrow.low), rel=0.1)


@pytest.mark.parametrize("deals", [5, 30])
def test_lopsided_matches_cover(deals):
    """Two agents 3.5 logits apart: nearly all games are won by one. Of 60 matches 57 are expected to hold the truth."""
    found = study(lambda rng: two_player(rng, deals, strengths=(0.0, 3.5)), (0.0, 3.5), tournaments=60)
    assert found.share >= 0.9


def test_holm_by_hand():
    # sorted 0.01, 0.02, 0.04: times 3, 2, 1 and never falling
    assert holm(np.array([0.04, 0.01, 0.02])).tolist() == pytest.approx([0.04, 0.03, 0.04])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]


def test_rank_ranges_by_hand():
    """The first is surely better than the third, nothing else is sure."""
    sure = np.ones((3, 3))
    sure[0, 2] = sure[2, 0] = 0.01
    assert rank_ranges(np.array([3.0, 2.0, 1.0]), sure) == ((1, 2), (1, 3), (2, 3))


# Mean returns.


def test_mean_returns_weigh_opponents_equally():
    games = [game(0, 1, 1.0, deal=deal) for deal in range(8)] + [game(0, 2, -1.0, deal=deal) for deal in range(2)]
    found = payoffs(games, 3, resamples=20)
    assert found.mean[0].value == 0.0
    assert found.against[0, 1].value == 1.0
    assert found.against[2, 0].value == 1.0
    assert found.points[0, 1].value == 1.0
    assert math.isnan(payoffs(games, 4, resamples=20).mean[3].value)


def test_interval_of_one_mean_is_the_t_interval():
    """Without ties between deals the bootstrap of a mean is the normal interval, widened to Student's."""
    values = np.random.default_rng(0).normal(size=12)
    games = [game(0, 1, float(value), deal=deal) for deal, value in enumerate(values)]
    interval = payoffs(games, 2, resamples=20_000).against[0, 1]
    half = stats.t.ppf(0.975, 11) * values.std(ddof=1) / math.sqrt(12)
    assert interval.value == pytest.approx(values.mean())
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.06)


def test_equal_returns_are_not_the_whole_truth():
    """10 deals won of 10: with 97.5 % certainty others are at most 1 - 0.025^(1/10) of all."""
    games = [game(0, 1, 1.0, deal=deal) for deal in range(10)]
    share = 1 - 0.025**0.1
    found = payoffs(games, 2, bounds=(-1.0, 1.0), resamples=50)
    assert (found.mean[0].low, found.mean[0].high) == pytest.approx((1 - 2 * share, 1.0))
    assert found.points[0, 1].low == pytest.approx(1 - share)
    assert math.isnan(payoffs(games, 2, resamples=50).mean[0].low), "unknown without bounds"
    assert math.isnan(payoffs(games[:1], 2, bounds=(-1.0, 1.0), resamples=50).mean[0].low), "nor from one deal"


def test_pairs_that_met_seldom_are_widened_by_their_own_deals():
    """Two of twenty deals: Student's quantile of one degree of freedom, whatever others have played."""
    games = [game(0, 1, float(deal % 2), deal=deal) for deal in range(20)]
    games += [game(2, 3, float(deal), deal=deal) for deal in range(2)]
    found = payoffs(games, 4, resamples=400)
    assert found.against[2, 3].high - found.against[2, 3].low > 5
    assert found.against[0, 1].high - found.against[0, 1].low < 1


def test_self_play_is_no_opponent():
    games = [game(0, 1, 1.0), Played("g", 0, (0, 0), (0, 0), ("first", "second"), (9.0, 9.0))]
    found = payoffs(games, 2, resamples=5)
    assert found.mean[0].value == 1.0
    assert found.against[0, 0].value == 9.0


def test_variance_ratio_by_hand():
    """Luck that the seats exchange: +-1 in the first seat, -+1 in the second, plus a little that they do not."""
    games = []
    for deal, (luck, rest) in enumerate([(1, 0.1), (-1, 0.1), (1, -0.1), (-1, -0.1)]):
        games += [game(0, 1, luck + rest, deal=deal), game(1, 0, luck - rest, deal=deal)]
    # agent 0: luck + rest, then -(luck - rest); each seat varies by (1 + 0.01) * 4/3, the mean of both by 0.01 * 4/3
    assert payoffs(games, 2, resamples=2).variance_ratio == pytest.approx((2 * 1.01 / 4) / 0.01)


def test_luck_is_taken_off():
    games = [Played("g", 0, (0, 1), (0, 1), ("a", "b"), (2.0, -2.0), (1.5, -1.5))]
    assert payoffs(games, 2, resamples=2).adjusted[0].value == 0.5


def test_no_games():
    with pytest.raises(ValueError, match="no complete block"):
        rate([], 2)
    with pytest.raises(ValueError, match="no complete block"):
        payoffs([], 2)
