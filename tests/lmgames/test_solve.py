"""Solvers against values known in closed form: Kuhn Poker's, and toy games small enough to work out by hand."""

import itertools
import time
from collections import Counter
from dataclasses import dataclass, replace

import pytest

import lmgames
from lmgames import Game, IllegalMove, solve
from lmgames.games.kuhn_poker import KuhnPoker
from lmgames.games.tic_tac_toe import TicTacToe
from lmgames.parsing import extract_command

KUHN = KuhnPoker()
ALPHAS = [0, 1 / 12, 1 / 6, 1 / 4, 1 / 3]


def kuhn_policy(*, first_bets, first_calls, second_bets, second_calls):
    """A policy from the probabilities with J, Q and K to bet, and to call a bet, of the seat that opens and of the other."""
    policy = {}
    for key, observation in solve.observations(KUHN):
        card = observation.view.deals[0].cards[KUHN.seats.index(observation.seat)]
        bets, calls = (first_bets, first_calls) if observation.seat == "player_0" else (second_bets, second_calls)
        bold, meek, chances = (
            ("[bet]", "[check]", bets) if "[bet]" in observation.legal_moves else ("[call]", "[fold]", calls)
        )
        chance = chances["JQK".index(card)]
        policy[key] = {bold: chance, meek: 1 - chance}
    return policy


def same_in_both_seats(*, bets, calls):
    return kuhn_policy(first_bets=bets, first_calls=calls, second_bets=bets, second_calls=calls)


def equilibrium(alpha):
    return kuhn_policy(
        first_bets=(alpha, 0, 3 * alpha),
        first_calls=(0, alpha + 1 / 3, 1),
        second_bets=(1 / 3, 0, 1),
        second_calls=(0, 1 / 3, 1),
    )


POLICIES = {
    "uniform": solve.uniform_policy(KUHN),
    "bet_call": same_in_both_seats(bets=(1, 1, 1), calls=(1, 1, 1)),
    "check_fold": same_in_both_seats(bets=(0, 0, 0), calls=(0, 0, 0)),
    "honest": same_in_both_seats(bets=(0, 0, 1), calls=(0, 1 / 2, 1)),
    "nash_0": equilibrium(0),
    "nash_1/3": equilibrium(1 / 3),
}


def against(first, second):
    """Chips a hand for `first` when it acts first against `second`."""
    joined = {**solve.of_seat(POLICIES[first], "player_0"), **solve.of_seat(POLICIES[second], "player_1")}
    return solve.expected_returns(KUHN, joined)["player_0"]


# The tree of Kuhn Poker.


def test_counts_of_kuhn_poker():
    tree = solve.game_tree(KUHN)
    assert (tree.decisions, tree.terminals, len(tree.moves)) == (24, 30, 12)
    # dealt card by card there are four more histories: the empty one, and one for each first card
    assert tree.decisions + tree.terminals + 1 + 3 == 58
    assert all(len(moves) == 2 for moves in solve.information_sets(KUHN).values())


def test_both_openers_double_the_tree():
    tree = solve.game_tree(KuhnPoker(first_player="random"))
    assert (tree.decisions, tree.terminals, len(tree.moves)) == (48, 60, 24)


def test_a_tree_is_refused_where_instances_cannot_be_listed():
    with pytest.raises(ValueError, match="cannot be listed"):
        solve.game_tree(KuhnPoker(hands=50))


@pytest.mark.parametrize(("game", "small"), [
    (KuhnPoker(), True), (KuhnPoker(hands=2), True), (KuhnPoker(hands=3), False), (KuhnPoker(deals="all"), False),
    (TicTacToe(), False),
])  # fmt: skip
def test_where_exploitability_is_cheap_and_telling(game, small):
    assert solve.has_small_tree(game) == small


def test_free_words_and_general_sums_have_no_small_tree():
    assert not solve.has_small_tree(Dilemma())
    assert not solve.has_small_tree(lmgames.make_game("SimpleNegotiation-v0"))


# Values.


@pytest.mark.parametrize("alpha", ALPHAS)
def test_every_equilibrium_has_the_value_and_no_exploitability(alpha):
    policy = equilibrium(alpha)
    assert solve.expected_returns(KUHN, policy)["player_0"] == pytest.approx(-1 / 18, abs=1e-15)
    assert solve.nash_conv(KUHN, policy) == pytest.approx(0, abs=1e-12)
    assert solve.best_response(KUHN, policy, "player_0")[0] == pytest.approx(-1 / 18, abs=1e-12)
    assert solve.best_response(KUHN, policy, "player_1")[0] == pytest.approx(1 / 18, abs=1e-12)


@pytest.mark.parametrize("change", [
    {"first_bets": (1 / 6, 0, 1)}, {"first_bets": (1 / 6, 0.1, 1 / 2)}, {"first_calls": (0, 1 / 3, 1)},
    {"second_bets": (1 / 2, 0, 1)}, {"second_calls": (0, 1 / 2, 1)}, {"second_calls": (0.1, 1 / 3, 1)},
])  # fmt: skip
def test_outside_the_family_there_is_something_to_gain(change):
    alpha = 1 / 6
    inside = {
        "first_bets": (alpha, 0, 3 * alpha),
        "first_calls": (0, alpha + 1 / 3, 1),
        "second_bets": (1 / 3, 0, 1),
        "second_calls": (0, 1 / 3, 1),
    }
    assert solve.nash_conv(KUHN, kuhn_policy(**inside)) == pytest.approx(0, abs=1e-12)
    assert solve.nash_conv(KUHN, kuhn_policy(**{**inside, **change})) > 1e-3


@pytest.mark.parametrize(("name", "nash_conv"), [
    ("uniform", 11 / 12), ("bet_call", 2 / 3), ("check_fold", 2), ("honest", 1 / 4), ("nash_0", 0), ("nash_1/3", 0),
])  # fmt: skip
def test_nash_conv_of_known_policies(name, nash_conv):
    assert solve.nash_conv(KUHN, POLICIES[name]) == pytest.approx(nash_conv, abs=1e-12)
    assert solve.exploitability(KUHN, POLICIES[name]) == pytest.approx(nash_conv / 2, abs=1e-12)


@pytest.mark.parametrize(("name", "as_first", "as_second"), [
    ("uniform", 1 / 2, 5 / 12), ("bet_call", 1 / 3, 1 / 3), ("check_fold", 1, 1),
])  # fmt: skip
def test_best_responses(name, as_first, as_second):
    for seat, value in (("player_0", as_first), ("player_1", as_second)):
        found, response = solve.best_response(KUHN, POLICIES[name], seat)
        assert found == pytest.approx(value, abs=1e-12)
        assert solve.expected_returns(KUHN, {**POLICIES[name], **response})[seat] == pytest.approx(value, abs=1e-12)


VALUES = {  # chips a hand, row acts first: uniform, bet/call, check/fold, honest, nash 0, nash 1/3
    "uniform": (1 / 8, -1 / 4, 1 / 2, -1 / 6, -1 / 6, -1 / 6),
    "bet_call": (1 / 2, 0, 1, -1 / 6, -1 / 9, -1 / 9),
    "check_fold": (-1 / 2, -1, 0, 0, -2 / 9, -2 / 9),
    "honest": (1 / 12, 1 / 6, 0, 0, -1 / 18, -1 / 18),
    "nash_0": (1 / 18, 1 / 9, 0, -1 / 18, -1 / 18, -1 / 18),
    "nash_1/3": (1 / 6, 1 / 9, 2 / 9, -1 / 18, -1 / 18, -1 / 18),
}


@pytest.mark.parametrize(("first", "second"), list(itertools.product(POLICIES, POLICIES)))
def test_each_policy_against_each(first, second):
    assert against(first, second) == pytest.approx(VALUES[first][list(POLICIES).index(second)], abs=1e-15)


@pytest.mark.parametrize(("one", "other", "value"), [
    ("nash_0", "uniform", 1 / 9), ("nash_1/3", "uniform", 1 / 6), ("nash_0", "bet_call", 1 / 9),
    ("nash_1/3", "bet_call", 1 / 9), ("uniform", "bet_call", -3 / 8), ("honest", "uniform", 1 / 8),
])  # fmt: skip
def test_values_over_both_seats(one, other, value):
    assert (against(one, other) - against(other, one)) / 2 == pytest.approx(value, abs=1e-15)


def test_no_pure_policy_beats_the_best_response():
    keys = [key for key in solve.information_sets(KUHN) if key[0] == "player_0"]
    moves = solve.information_sets(KUHN)
    best = max(
        solve.expected_returns(
            KUHN, {**POLICIES["honest"], **{key: {move: 1.0} for key, move in zip(keys, chosen, strict=True)}}
        )["player_0"]
        for chosen in itertools.product(*(moves[key] for key in keys))
    )
    assert solve.best_response(KUHN, POLICIES["honest"], "player_0")[0] == pytest.approx(best, abs=1e-12)


# CFR.


@pytest.mark.parametrize(("solver", "iterations", "nash_conv"), [
    (solve.cfr, 10, 0.1374), (solve.cfr, 100, 0.01645), (solve.cfr, 1000, 0.001875),
    (solve.cfr_plus, 10, 0.0654), (solve.cfr_plus, 100, 0.00239), (solve.cfr_plus, 1000, 0.000175),
])  # fmt: skip
def test_cfr_converges_as_published_implementations_do(solver, iterations, nash_conv):
    """Figures of OpenSpiel's solvers with alternating updates, to the digits they were noted with."""
    assert solve.nash_conv(KUHN, solver(KUHN, iterations)) == pytest.approx(nash_conv, rel=2e-3)


@pytest.mark.parametrize("options", [{"deck_size": 5}, {"bet": 3}, {"first_player": "random"}])
def test_cfr_plus_solves_relatives(options):
    game = KuhnPoker(**options)
    assert solve.nash_conv(game, solve.cfr_plus(game, 300)) < 0.01


def test_cfr_refuses_what_it_cannot_solve():
    with pytest.raises(ValueError, match="zero-sum"):
        solve.cfr(Dilemma(), 10)
    with pytest.raises(ValueError, match="iterations=0"):
        solve.cfr_plus(KUHN, 0)


# Observations and players.


def test_the_twelve_prompts_are_what_the_environment_shows():
    prompts = solve.observations_of_information_sets("KuhnPoker-v0")
    assert [key for key, _ in prompts] == list(solve.information_sets(KUHN))
    assert len({observation.text for _, observation in prompts}) == 12
    for (seat, told), observation in prompts:
        assert observation.seat == seat
        assert KUHN.observe(observation.view, seat) == list(told)
    env = lmgames.make("KuhnPoker-v0").unwrapped
    env.reset(seed=9, options={"instance": [["Q", "K", 0]]})
    env.step("[check]")
    env.step("[bet]")
    live = env.observation("player_0")
    ((_, listed),) = [
        (key, seen) for key, seen in prompts if key == ("player_0", KUHN.information_set(env.game_state, "player_0"))
    ]
    assert (listed.text, listed.legal_moves, listed.role, listed.turn, listed.env_id) == (
        live.text, live.legal_moves, live.role, live.turn, "lmgames/KuhnPoker-v0",
    )  # fmt: skip


def test_options_of_the_environment_reach_the_prompts():
    (_, prompt), *_ = solve.observations_of_information_sets("KuhnPoker-v0", show_rules=False, ante=2)
    assert prompt.text.startswith("You are player_0.")
    assert "Pot: 4 chips." in prompt.text


def test_exploitability_of_a_player_that_reads_text():
    def bets_with_a_king(observation):
        """Replies as a model would: in sentences, the same move in two ways."""
        king = "Your card: K" in observation.text
        bold, meek = ("[bet]", "[check]") if "[bet]" in observation.legal_moves else ("[call]", "[fold]")
        return (
            {"hm": 0.0, f"A king! {bold}": 0.5, rf"\boxed{{{bold[1:-1]}}}": 0.5}
            if king
            else {f"<think>{bold}?</think> {meek}": 1.0}
        )

    policy = solve.policy_of(KUHN, bets_with_a_king)
    tight = same_in_both_seats(bets=(0, 0, 1), calls=(0, 0, 1))
    assert solve.expected_returns(KUHN, policy) == solve.expected_returns(KUHN, tight)
    assert solve.nash_conv(KUHN, policy) == pytest.approx(solve.nash_conv(KUHN, tight), abs=1e-12)
    assert all(len(mix) == 1 for mix in policy.values())


def test_a_player_whose_reply_is_refused_has_no_policy():
    with pytest.raises(ValueError, match="no_command"):
        solve.policy_of(KUHN, lambda _: {"I raise": 1.0})


@pytest.mark.parametrize("mix", [
    {"[check]": 0.5}, {"[check]": 1.5, "[bet]": -0.5}, {"[call]": 1.0}, {},
])  # fmt: skip
def test_a_table_must_hold_distributions(mix):
    policy = {**POLICIES["uniform"], next(iter(POLICIES["uniform"])): mix}
    with pytest.raises(ValueError, match="no distribution"):
        solve.expected_returns(KUHN, policy)


def test_a_table_must_be_complete():
    with pytest.raises(ValueError, match="says nothing for player_1"):
        solve.expected_returns(KUHN, solve.of_seat(POLICIES["uniform"], "player_0"))
    value, _ = solve.best_response(KUHN, solve.of_seat(POLICIES["uniform"], "player_1"), "player_0")
    assert value == pytest.approx(0.5)  # one's own part is not needed
    with pytest.raises(ValueError, match="no seat"):
        solve.best_response(KUHN, POLICIES["uniform"], "player_2")


# Matches, exactly.


def mix_of(name):
    def mix(observation):
        view = observation.view
        state = replace(view, deals=view.deals[-1:], played=view.played[-1:], won=())
        seat = (
            observation.seat
            if view.deals[-1].opener == 0
            else {"player_0": "player_1", "player_1": "player_0"}[observation.seat]
        )
        if view.deals[-1].opener == 1:
            deal = view.deals[-1]
            state = replace(state, deals=(replace(deal, cards=deal.cards[::-1], opener=0),))
        return POLICIES[name][seat, tuple(KUHN.observe(state, seat))]

    return mix


def chips_of_a_hand(one, other, opener):
    found = solve.outcomes(KuhnPoker(first_player=opener), {"player_0": mix_of(one), "player_1": mix_of(other)})
    return {paid: probability for (paid, _), probability in found.items()}


def chips_of_a_match(one, other, hands):
    """Distribution of player_0's chips when it opens hands 1, 3, 5, ..."""
    total = {0.0: 1.0}
    hand = [chips_of_a_hand(one, other, opener) for opener in (0, 1)]
    for number in range(hands):
        after = Counter()
        for (so_far, p), (won, q) in itertools.product(total.items(), hand[number % 2].items()):
            after[so_far + won] += p * q
        total = after
    return total


def test_a_match_of_two_hands_is_the_convolution_of_its_hands():
    found = solve.outcomes(KuhnPoker(hands=2), {"player_0": mix_of("honest"), "player_1": mix_of("nash_1/3")})
    expected = chips_of_a_match("honest", "nash_1/3", 2)
    assert {paid for paid, _ in found} == {paid for paid, p in expected.items() if p}
    for (paid, _), probability in found.items():
        assert probability == pytest.approx(expected[paid], abs=1e-12)


@pytest.mark.parametrize(("one", "other", "hands", "shares", "mean"), [
    ("uniform", "uniform", 5, (0.462, 0.110, 0.428), 0.125),
    ("uniform", "uniform", 10, (0.457, 0.085, 0.457), 0),
    ("nash_0", "uniform", 5, (0.479, 0.155, 0.366), 0.5),
    ("nash_0", "uniform", 10, (0.550, 0.092, 0.358), 10 / 9),
    ("nash_1/3", "uniform", 5, (0.532, 0.128, 0.341), 5 / 6),
    ("nash_1/3", "uniform", 10, (0.600, 0.083, 0.317), 5 / 3),
    ("bet_call", "uniform", 5, (0.646, 0.135, 0.219), 2),
    ("bet_call", "uniform", 10, (0.736, 0.062, 0.202), 3.75),
    ("nash_1/3", "bet_call", 5, (0.487, 0.156, 0.357), 5 / 9),
    ("nash_1/3", "bet_call", 10, (0.549, 0.075, 0.376), 10 / 9),
    ("nash_1/3", "nash_1/3", 5, (0.438, 0.113, 0.449), -1 / 18),
    ("nash_1/3", "nash_1/3", 10, (0.454, 0.092, 0.454), 0),
])  # fmt: skip
def test_results_of_matches(one, other, hands, shares, mean):
    chips = chips_of_a_match(one, other, hands)
    won = sum(p for paid, p in chips.items() if paid > 0)
    lost = sum(p for paid, p in chips.items() if paid < 0)
    assert (won, 1 - won - lost, lost) == pytest.approx(shares, abs=5.1e-4)
    assert sum(paid * p for paid, p in chips.items()) == pytest.approx(mean, abs=1e-12)


def test_a_one_hand_match_scored_by_sign_has_value_0_and_no_poker():
    """Bet sizes mean nothing there: checking and calling everything is unbeatable."""
    game = KuhnPoker(scoring="match")
    passive = {
        key: {"[check]" if "[check]" in moves else "[call]": 1.0} for key, moves in solve.information_sets(game).items()
    }
    assert solve.nash_conv(game, passive) == 0
    assert solve.expected_returns(game, passive)["player_0"] == 0


# Toy games.


@dataclass(frozen=True)
class Chosen:
    moves: tuple = ()


@dataclass(frozen=True, kw_only=True)
class Matrix(Game):
    """Both seats choose at once, "a" or "b"."""

    name = "Matrix"
    roles = ("player",)
    seats = ("player_0", "player_1")
    payoffs = "general_sum"
    return_bounds = (-5, 5)
    max_turns = 2
    simultaneous = True
    table = None

    def deal(self, chance):
        return None

    def instances(self):
        return [None]

    def start(self, instance):
        return Chosen()

    def to_move(self, state):
        return () if state.moves else self.seats

    def apply(self, state, moves):
        return Chosen(tuple(moves[seat] for seat in self.seats))

    def returns(self, state):
        paid = self.table[state.moves] if state.moves else (0, 0)
        return dict(zip(self.seats, map(float, paid), strict=True))

    def rules(self, view, seat):
        return "Choose [a] or [b]."

    def observe(self, view, seat):
        return [f"Chosen: {' '.join(view.moves)}."] if view.moves else []

    def legal_moves(self, view, seat):
        return () if view.moves else ("a", "b")

    def parse(self, view, seat, text):
        move = extract_command(text, ("a", "b")).verb
        if view.moves:
            raise IllegalMove("illegal_now", "It is over.")
        return move


@dataclass(frozen=True, kw_only=True)
class Pennies(Matrix):
    """player_0 wins 1 on a match of "a", 2 on a match of "b", and loses 1 else: it plays "a" with 3/5, value 1/5."""

    name = "Pennies"
    payoffs = "zero_sum"
    table = {("a", "a"): (1, -1), ("b", "b"): (2, -2), ("a", "b"): (-1, 1), ("b", "a"): (-1, 1)}


@dataclass(frozen=True, kw_only=True)
class Dilemma(Matrix):
    """The prisoner's dilemma: "b" is better whatever the other does."""

    name = "Dilemma"
    table = {("a", "a"): (3, 3), ("b", "b"): (1, 1), ("a", "b"): (0, 5), ("b", "a"): (5, 0)}


def profile(game, *chances_of_a):
    return {(seat, ()): {"[a]": p, "[b]": 1 - p} for seat, p in zip(game.seats, chances_of_a, strict=True)}


def test_seats_that_move_at_once_do_not_see_each_other():
    game = Pennies()
    assert set(solve.information_sets(game)) == {("player_0", ()), ("player_1", ())}
    assert solve.nash_conv(game, profile(game, 3 / 5, 3 / 5)) == pytest.approx(0, abs=1e-12)
    assert solve.expected_returns(game, profile(game, 3 / 5, 3 / 5))["player_0"] == pytest.approx(1 / 5)
    assert solve.best_response(game, profile(game, 1, 1), "player_1") == (1.0, {("player_1", ()): {"[b]": 1.0}})
    assert [observation.seat for _, observation in solve.observations(game)] == ["player_0", "player_1"]
    (_, first), (_, second) = solve.observations(game)
    assert first.text.replace("player_0", "player_1") == second.text


def test_cfr_plus_solves_a_simultaneous_game():
    game = Pennies()
    policy = solve.cfr_plus(game, 2000)
    assert policy["player_0", ()]["[a]"] == pytest.approx(3 / 5, abs=0.01)
    assert solve.nash_conv(game, policy) < 0.01


def test_nash_conv_of_a_general_sum_game():
    game = Dilemma()
    assert solve.nash_conv(game, profile(game, 0, 0)) == 0
    assert solve.nash_conv(game, profile(game, 1, 1)) == 4  # each gains 2 by "b"
    assert solve.exploitability(game, profile(game, 1, 1)) == 2


def test_outcomes_of_a_simultaneous_game():
    players = {"player_0": lambda _: {"[a]": 0.25, "[b]": 0.75}, "player_1": lambda _: {"I say [a]": 0.5, "[b]": 0.5}}
    assert solve.outcomes(Dilemma(), players) == {(3, 3): 0.125, (0, 5): 0.125, (5, 0): 0.375, (1, 1): 0.375}


@dataclass(frozen=True, kw_only=True)
class AllEqual(Matrix):
    """Nothing matters."""

    name = "AllEqual"
    table = dict.fromkeys([("a", "a"), ("b", "b"), ("a", "b"), ("b", "a")], (1, 1))


def test_best_response_breaks_ties_by_the_order_of_moves():
    assert solve.best_response(AllEqual(), profile(AllEqual(), 0, 0), "player_1") == (1.0, {("player_1", ()): {"[a]": 1.0}})


# Minimax.


def test_minimax_knows_forced_wins_and_keeps_every_move_of_greatest_value():
    game = TicTacToe()
    solution = solve.minimax(game)
    two_ways = game.start({"symmetry": 0, "opening": [0, 3, 1, 6]})  # X threatens 2, O threatens nothing yet
    assert solution.value(two_ways) == 1
    values = solution.move_values(two_ways)
    assert values["[2]"] == 1
    # a slower win is as good: 4 makes two threats
    assert values["[4]"] == 1
    assert set(solution.optimal_moves(two_ways)) == {move for move, value in values.items() if value == 1}


def test_minimax_values_are_those_of_the_seat_to_move():
    game = TicTacToe()
    solution = solve.minimax(game)
    after_corner = game.start({"symmetry": 0, "opening": [0]})
    assert solution.optimal_moves(after_corner) == ("[4]",)  # every reply but the centre loses
    assert {value for move, value in solution.move_values(after_corner).items() if move != "[4]"} == {-1}


def test_minimax_refuses_hidden_information_and_general_sums():
    with pytest.raises(ValueError, match="hidden information"):
        solve.minimax(KUHN)
    with pytest.raises(ValueError, match="zero-sum"):
        solve.minimax(Dilemma())


# Speed.


def test_solving_is_quick():
    solve.game_tree.cache_clear()
    start = time.process_time()
    solve.nash_conv(KUHN, solve.uniform_policy(KUHN))
    assert time.process_time() - start < 0.05
    solve.minimax.cache_clear()
    start = time.process_time()
    solve.minimax(TicTacToe()).value(TicTacToe().start(TicTacToe().instances()[0]))
    assert time.process_time() - start < 3
