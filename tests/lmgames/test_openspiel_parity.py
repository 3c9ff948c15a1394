"""The same games as OpenSpiel's: legal moves, returns, ends, what a seat knows, and what policies are worth."""

import itertools
import random

import pytest

import lmgames
from lmgames import solve
from lmgames.games.kuhn_poker import KuhnPoker
from lmgames.games.tic_tac_toe import TicTacToe

pyspiel = pytest.importorskip("pyspiel")
cfr = pytest.importorskip("open_spiel.python.algorithms.cfr")
exploitability = pytest.importorskip("open_spiel.python.algorithms.exploitability")
openspiel_policy = pytest.importorskip("open_spiel.python.policy")

SEATS = ("player_0", "player_1")
KUHN = KuhnPoker()
TRAJECTORIES = 10_000


@pytest.fixture(scope="module")
def kuhn():
    return pyspiel.load_game("kuhn_poker")


@pytest.fixture(scope="module")
def tic_tac_toe():
    return pyspiel.load_game("tic_tac_toe")


def kuhn_action(move):
    """OpenSpiel's 0 is pass, 1 is bet."""
    return {"check": 0, "fold": 0, "bet": 1, "call": 1}[move]


def dealt(kuhn, cards):
    state = kuhn.new_initial_state()
    for card in cards:
        state.apply_action("JQK".index(card))
    return state


class OneToOne:
    """Pairs that must map one to one."""

    def __init__(self):
        self.forward, self.backward = {}, {}

    def add(self, ours, theirs):
        assert self.forward.setdefault(ours, theirs) == theirs
        assert self.backward.setdefault(theirs, ours) == ours


def assert_same_position(game, state, theirs, action_of):
    over = game.is_over(state)
    assert theirs.is_terminal() == over
    assert theirs.returns() == list(game.returns(state).values())
    for number, seat in enumerate(SEATS):
        legal = game.legal_moves(game.view(state, seat), seat)
        assert sorted(map(action_of, legal)) == ([] if over else theirs.legal_actions(number))
    if not over:
        assert game.to_move(state) == (SEATS[theirs.current_player()],)


# Trajectories.


def test_kuhn_trajectories_are_the_same(kuhn):
    draws = random.Random(1)
    cards_of = list(itertools.permutations("JQK", 2))
    for _ in range(TRAJECTORIES):
        cards = draws.choice(cards_of)
        state, theirs = KUHN.start([[*cards, 0]]), dealt(kuhn, cards)
        assert_same_position(KUHN, state, theirs, kuhn_action)
        while not KUHN.is_over(state):
            (seat,) = KUHN.to_move(state)
            move = draws.choice(KUHN.legal_moves(KUHN.view(state, seat), seat))
            state = KUHN.apply(state, {seat: move})
            theirs.apply_action(kuhn_action(move))
            assert_same_position(KUHN, state, theirs, kuhn_action)


def test_tic_tac_toe_trajectories_and_what_is_known_are_the_same(tic_tac_toe):
    game = TicTacToe()
    draws = random.Random(2)
    known = OneToOne()
    for _ in range(TRAJECTORIES):
        state, theirs = game.start({"symmetry": 0, "opening": []}), tic_tac_toe.new_initial_state()
        while True:
            assert_same_position(game, state, theirs, int)
            if game.is_over(state):
                break
            (seat,) = game.to_move(state)
            known.add(game.information_set(state, seat), theirs.information_state_string(SEATS.index(seat)))
            move = draws.choice(game.legal_moves(state, seat))
            state = game.apply(state, {seat: move})
            theirs.apply_action(move)
    assert len(known.forward) > 25_000


# What a seat knows.


def kuhn_histories(kuhn):
    """(instance, moves, OpenSpiel's state) of every history in which a seat decides."""
    for cards in itertools.permutations("JQK", 2):
        for moves in ((), ("check",), ("bet",), ("check", "bet")):
            theirs = dealt(kuhn, cards)
            for move in moves:
                theirs.apply_action(kuhn_action(move))
            yield [[*cards, 0]], moves, theirs


def test_kuhn_information_sets_are_the_same_for_both_seats_in_every_history(kuhn):
    known = [OneToOne(), OneToOne()]
    for instance, moves, theirs in kuhn_histories(kuhn):
        state = KUHN.start(instance)
        for move in moves:
            state = KUHN.apply(state, {KUHN.to_move(state)[0]: move})
        for number, seat in enumerate(SEATS):
            known[number].add(KUHN.information_set(state, seat), theirs.information_state_string(number))
    assert [len(each.forward) for each in known] == [12, 12]


@pytest.mark.parametrize("options", [{}, {"show_rules": False, "legal_hint": "none"}, {"share": "public"}])
def test_kuhn_texts_tell_apart_what_openspiel_tells_apart(kuhn, options):
    known = [OneToOne(), OneToOne()]
    env = lmgames.make("KuhnPoker-v0", **options).unwrapped
    for instance, moves, theirs in kuhn_histories(kuhn):
        env.reset(seed=0, options={"instance": instance})
        for move in moves:
            env.step(f"[{move}]")
        for number, seat in enumerate(SEATS):
            known[number].add(env.observe(seat)["text"], theirs.information_state_string(number))
    assert [len(each.forward) for each in known] == [12, 12]


def test_tic_tac_toe_texts_tell_apart_what_openspiel_tells_apart(tic_tac_toe):
    draws = random.Random(3)
    known = [OneToOne(), OneToOne()]
    env = lmgames.make("TicTacToe-v0").unwrapped
    for _ in range(500):
        env.reset(seed=0)
        theirs = tic_tac_toe.new_initial_state()
        while not env.outcome:
            for number, seat in enumerate(SEATS):
                known[number].add(env.observe(seat)["text"], theirs.information_state_string(number))
            move = draws.choice(env.infos[env.agent_selection]["legal_moves"])
            env.step(move)
            theirs.apply_action(int(move.strip("[]")))
    assert all(len(each.forward) > 2_000 for each in known)


def test_counts_are_the_same(kuhn):
    chance, decisions, terminals, sets = 0, 0, 0, set()
    pending = [kuhn.new_initial_state()]
    while pending:
        state = pending.pop()
        if state.is_terminal():
            terminals += 1
            continue
        if state.is_chance_node():
            chance += 1
        else:
            decisions += 1
            sets.add(state.information_state_string())
        pending += [state.child(action) for action in state.legal_actions()]
    tree = solve.game_tree(KUHN)
    assert (decisions, terminals, len(sets)) == (tree.decisions, tree.terminals, len(tree.moves)) == (24, 30, 12)
    assert chance + decisions + terminals == 58


# What policies are worth.


@pytest.fixture(scope="module")
def names(kuhn):
    """Our information set -> OpenSpiel's name of it."""
    known = OneToOne()
    for instance, moves, theirs in kuhn_histories(kuhn):
        state = KUHN.start(instance)
        for move in moves:
            state = KUHN.apply(state, {KUHN.to_move(state)[0]: move})
        (seat,) = KUHN.to_move(state)
        known.add((seat, KUHN.information_set(state, seat)), theirs.information_state_string())
    return known.forward


def as_openspiel(kuhn, names, policy):
    table = openspiel_policy.TabularPolicy(kuhn)
    for key, mix in policy.items():
        row = table.policy_for_key(names[key])
        for move in solve.information_sets(KUHN)[key]:
            row[kuhn_action(move[1:-1])] = mix.get(move, 0.0)
    return table


def random_policy(seed):
    draws = random.Random(seed)
    return {
        key: {moves[0]: chance, moves[1]: 1 - chance}
        for key, moves in solve.information_sets(KUHN).items()
        for chance in (draws.choice((0.0, 1.0, draws.random())),)
    }


@pytest.mark.parametrize("seed", range(25))
def test_values_and_exploitability_of_random_policies_are_the_same(kuhn, names, seed):
    policy = random_policy(seed) if seed else solve.uniform_policy(KUHN)
    theirs = as_openspiel(kuhn, names, policy)
    assert solve.nash_conv(KUHN, policy) == pytest.approx(exploitability.nash_conv(kuhn, theirs), abs=1e-9)
    assert solve.exploitability(KUHN, policy) == pytest.approx(exploitability.exploitability(kuhn, theirs), abs=1e-9)
    found = exploitability.nash_conv(kuhn, theirs, return_only_nash_conv=False)
    now = solve.expected_returns(KUHN, policy)
    for gain, seat in zip(found.player_improvements, SEATS, strict=True):
        assert solve.best_response(KUHN, policy, seat)[0] - now[seat] == pytest.approx(gain, abs=1e-9)


@pytest.mark.parametrize(("ours", "theirs"), [(solve.cfr, cfr.CFRSolver), (solve.cfr_plus, cfr.CFRPlusSolver)])
@pytest.mark.parametrize("iterations", [1, 10, 100])
def test_cfr_policies_are_the_same(kuhn, names, ours, theirs, iterations):
    solver = theirs(kuhn)
    for _ in range(iterations):
        solver.evaluate_and_update_policy()
    average = solver.average_policy()
    for key, mix in ours(KUHN, iterations).items():
        row = average.policy_for_key(names[key])
        for move, probability in mix.items():
            assert probability == pytest.approx(row[kuhn_action(move[1:-1])], abs=1e-9)
