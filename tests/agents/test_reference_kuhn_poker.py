"""The players of Kuhn Poker: what each does, what each is worth, and that they play matches and other decks."""

import itertools
from dataclasses import replace

import pytest

import lmgames
from agents.reference import players_of
from agents.reference.base import MixedPlayer
from agents.reference.kuhn_poker import CFR, OPPONENTS, PLAYERS, BestResponse, Honest, Nash
from agents.specs import make_agent
from lmgames import Chance, solve
from lmgames.games.kuhn_poker import KuhnPoker

KUHN = KuhnPoker()
SEATS = KUHN.seats


def player(name, **options):
    return players_of("KuhnPoker")[name](**options)


def policy(name, **options):
    return solve.policy_of(KUHN, player(name, **options).mix)


def over_both_seats(one, other):
    """Chips a hand of `one` against `other`, mean over who opens."""
    as_first = solve.expected_returns(KUHN, {**solve.of_seat(one, SEATS[0]), **solve.of_seat(other, SEATS[1])})[SEATS[0]]
    as_second = solve.expected_returns(KUHN, {**solve.of_seat(other, SEATS[0]), **solve.of_seat(one, SEATS[1])})[SEATS[1]]
    return (as_first + as_second) / 2


def seen_by(seat, instance, *moves, **options):
    env = lmgames.make("KuhnPoker-v0", **options).unwrapped
    env.reset(seed=0, options={"instance": instance})
    for move in moves:
        env.step(f"[{move}]")
    assert env.agent_selection == seat
    return env.observation(seat)


def test_the_ladder():
    assert list(PLAYERS) == ["check_fold", "bet_call", "honest", "cfr", "nash", "best_response"]
    assert all(issubclass(each, MixedPlayer) for each in PLAYERS.values())


@pytest.mark.parametrize(("name", "nash_conv"), [
    ("random", 11 / 12), ("bet_call", 2 / 3), ("check_fold", 2), ("honest", 1 / 4), ("nash", 0),
])  # fmt: skip
def test_nash_conv(name, nash_conv):
    assert solve.nash_conv(KUHN, policy(name)) == pytest.approx(nash_conv, abs=1e-12)


@pytest.mark.parametrize("alpha", [0, 1 / 12, 1 / 6, 1 / 4, 1 / 3])
def test_nash_is_an_equilibrium_for_every_alpha(alpha):
    assert solve.nash_conv(KUHN, policy("nash", alpha=alpha)) == pytest.approx(0, abs=1e-12)


def test_nash_by_hand():
    assert Nash(alpha=0.2).mix(seen_by("player_0", [["J", "Q", 0]])) == pytest.approx({"[bet]": 0.2, "[check]": 0.8})
    assert Nash(alpha=0.2).mix(seen_by("player_0", [["K", "Q", 0]])) == pytest.approx({"[bet]": 0.6, "[check]": 0.4})
    facing = seen_by("player_0", [["Q", "K", 0]], "check", "bet")
    assert Nash(alpha=0.2).mix(facing) == pytest.approx({"[call]": 8 / 15, "[fold]": 7 / 15})
    assert Nash().mix(seen_by("player_0", [["K", "Q", 0]])) == {"[bet]": 1.0}  # alpha is 1/3 unless given


@pytest.mark.parametrize(("one", "other", "value"), [
    ("nash", "random", 1 / 6), ("nash", "bet_call", 1 / 9), ("random", "bet_call", -3 / 8), ("honest", "random", 1 / 8),
    ("nash", "check_fold", 2 / 9), ("nash", "honest", 0), ("nash", "nash", 0),
])  # fmt: skip
def test_values_over_both_seats(one, other, value):
    assert over_both_seats(policy(one), policy(other)) == pytest.approx(value, abs=1e-15)


def test_nash_with_alpha_0_wins_less_from_a_random_player():
    assert over_both_seats(policy("nash", alpha=0), policy("random")) == pytest.approx(1 / 9, abs=1e-15)


@pytest.mark.parametrize(("one", "other", "chips"), [
    ("nash", "nash", 0), ("random", "random", 0), ("nash", "random", 2), ("nash", "bet_call", 4 / 3), ("honest", "random", 3 / 2),
])  # fmt: skip
def test_over_all_twelve_hands_luck_cancels(one, other, chips):
    """`deals="all"` plays each deal with either opener once: its mean is twelve times the value over both seats."""
    match = KuhnPoker(deals="all")
    hands = match.deal(Chance(4))
    twelve = KuhnPoker(first_player="random")
    assert sorted(hands) == sorted(hand for (hand,) in twelve.instances())
    found = solve.outcomes(twelve, {"player_0": player(one).mix, "player_1": player(other).mix})
    assert 12 * sum(paid * probability for (paid, _), probability in found.items()) == pytest.approx(chips, abs=1e-12)


@pytest.mark.parametrize("against", list(OPPONENTS))
def test_best_response_is_worth_the_best_response(against):
    theirs = policy(against)
    for seat in SEATS:
        value, _ = solve.best_response(KUHN, theirs, seat)
        joined = {**theirs, **solve.of_seat(policy("best_response", against=against), seat)}
        assert solve.expected_returns(KUHN, joined)[seat] == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(("against", "as_first", "as_second"), [
    ("random", 1 / 2, 5 / 12), ("bet_call", 1 / 3, 1 / 3), ("check_fold", 1, 1),
])  # fmt: skip
def test_what_best_responses_win(against, as_first, as_second):
    gain = (as_first + as_second) / 2
    assert over_both_seats(policy("best_response", against=against), policy(against)) == pytest.approx(gain, abs=1e-12)


def test_cfr_is_close_to_an_equilibrium_and_closer_with_more_iterations():
    assert solve.nash_conv(KUHN, policy("cfr")) == pytest.approx(0.000175, rel=2e-3)
    assert solve.nash_conv(KUHN, policy("cfr", iterations=10)) == pytest.approx(0.0654, rel=2e-3)


@pytest.mark.parametrize("options", [{"deck_size": 4}, {"deck_size": 6, "ante": 2, "bet": 3}, {"bet": 2}])
def test_cfr_and_best_response_solve_the_games_own_deck_and_stakes(options):
    game = KuhnPoker(**options)
    assert solve.nash_conv(game, solve.policy_of(game, CFR(iterations=300).mix)) < 0.02
    theirs = solve.policy_of(game, Honest().mix)
    response = solve.policy_of(game, BestResponse("honest").mix)
    for seat in SEATS:
        value, _ = solve.best_response(game, theirs, seat)
        joined = {**theirs, **solve.of_seat(response, seat)}
        assert solve.expected_returns(game, joined)[seat] == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(("card", "moves", "mix"), [
    ("A", (), {"[bet]": 1.0}), ("T", (), {"[check]": 1.0}), ("Q", (), {"[check]": 1.0}),
    ("A", ("check", "bet"), {"[call]": 1.0}), ("T", ("check", "bet"), {"[fold]": 1.0}),
    ("K", ("check", "bet"), {"[call]": 0.5, "[fold]": 0.5}),
])  # fmt: skip
def test_honest_with_five_cards(card, moves, mix):
    other = "J" if card != "J" else "Q"
    assert Honest().mix(seen_by("player_0", [[card, other, 0]], *moves, deck_size=5)) == mix


@pytest.mark.parametrize("options", [{"deck_size": 4}, {"ante": 2}, {"bet": 2}])
def test_nash_says_where_it_cannot_play(options):
    env = lmgames.make("KuhnPoker-v0", **options).unwrapped
    env.reset(seed=0)
    with pytest.raises(ValueError, match="nash knows the game of 3 cards"):
        Nash().mix(env.observation(env.agent_selection))


def test_nash_plays_the_classic_game_at_other_stakes():
    game = KuhnPoker(ante=5, bet=5)
    assert solve.nash_conv(game, solve.policy_of(game, Nash().mix)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("spec", ["nash:alpha=0.4", "nash:alpha=-0.1", "cfr:iterations=0", "best_response:against=martian",
                                  "best_response:against=best_response", "nash:beta=1"])  # fmt: skip
def test_wrong_options_are_refused(spec):
    with pytest.raises(ValueError, match=r"alpha|iterations|against|beta"):
        make_agent(spec).player("KuhnPoker")


@pytest.mark.parametrize("name", ["random", *PLAYERS])
@pytest.mark.parametrize("options", [{"hands": 2}, {"hands": 2, "first_player": 1}, {"hands": 2, "reveal_on_fold": True}])
def test_in_a_match_each_hand_is_played_like_one_hand(name, options):
    """The mix in the second hand is that of the one-hand game with the same card, moves and place."""
    mover = player(name)
    match = KuhnPoker(**options)
    one_hand = {
        (seen.view.deals[0].cards[SEATS.index(seen.seat)], seen.view.played[0]): mover.mix(seen)
        for _, seen in solve.observations(KUHN)
    }
    checked = 0
    for _, seen in itertools.islice(solve.observations(match), 0, None, 5):
        card = seen.view.deals[-1].cards[SEATS.index(seen.seat)]
        assert mover.mix(seen) == one_hand[card, seen.view.played[-1]]
        checked += len(seen.view.played) == 2
    assert checked > 20


@pytest.mark.parametrize("spec", ["random", *PLAYERS, "nash:alpha=0.1", "best_response:against=honest"])
@pytest.mark.parametrize(
    "options", [{"hands": 5}, {"deals": "all"}, {"hands": 6, "deals": "duplicate", "first_player": "random"}]
)
def test_agents_play_whole_matches_without_a_refusal(spec, options):
    agent = make_agent(spec)
    env = lmgames.make("KuhnPoker-v0", **options).unwrapped
    for seed in range(3):
        env.reset(seed=seed)
        while not env.outcome:
            (reply,) = agent.act([env.observation(env.agent_selection)])
            env.step(reply.text)
        assert env.outcome == "rules"
        assert all(turn.status == "ok" for turn in env.record().turns)


def test_replies_follow_the_mix():
    seen = seen_by("player_0", [["Q", "K", 0]], "check", "bet")
    replies = [Nash(alpha=0).reply(replace(seen, seed=seed)) for seed in range(3000)]
    assert replies.count("[call]") / 3000 == pytest.approx(1 / 3, abs=0.03)
    assert set(replies) == {"[call]", "[fold]"}
