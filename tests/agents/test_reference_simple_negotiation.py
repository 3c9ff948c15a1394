"""The players of Simple Negotiation: what each gains by the rules of its own, and who gains more."""

import pytest

import agents.play
from agents.reference import players_of
from agents.reference.simple_negotiation import (
    PLAYERS,
    AcceptAll,
    AcceptGain,
    Exploiter,
    Planner,
    Silent,
    TitForTat,
    read_table,
)
from lmgames.chance import Chance
from lmgames.games.simple_negotiation import SimpleNegotiation, best_for_first, max_joint_gain, pareto_gap
from lmgames.observation import Observation


def play(game, players, instance=None, seed=0):
    """The last state of a game between two players, by the rules alone."""
    state, turn = game.start(game.deal(Chance(seed)) if instance is None else instance), 0
    while seats := game.to_move(state):
        (seat,) = seats
        view = game.view(state, seat)
        number = Chance(seed).word(seat, turn)
        reply = players[game.seats.index(seat)].reply(Observation("", seat, turn=turn, seed=number, game=game, view=view))
        state, turn = game.apply(state, {seat: game.parse(view, seat, reply)}), turn + 1
    return state


def gains(players, seed=0, **options):
    game = SimpleNegotiation(**options)
    return game.gains(play(game, players, seed=seed))


@pytest.mark.parametrize("other", [Silent(), AcceptAll(), AcceptGain(), Exploiter(), TitForTat(), Planner()])
def test_without_a_word_nothing_is_gained(other):
    assert gains((Silent(), other)) == gains((other, Silent())) == (0, 0)


@pytest.mark.parametrize(
    ("q", "max_turns", "each"),
    [(1, 10, 50), (1, 20, 100), (2, 10, 100), (5, 4, 100), (10, 2, 100), (3, 10, 100), (1, 40, 100)],
)
def test_unit_swaps_on_spiral2(q, max_turns, each):
    """10 Wood for 10 Gold, q at a time, takes 10 / q accepted offers of two turns each; then nothing is left to swap."""
    assert gains((TitForTat(q), TitForTat(q)), preset="spiral2", max_turns=max_turns) == (each, each)


def test_the_swapper_stops_when_it_is_refused():
    game = SimpleNegotiation(preset="spiral2")
    state = play(game, (TitForTat(), Silent()))
    assert [offer.status for offer in state.offers] == ["expired"]


@pytest.mark.parametrize("holdings_public", [False, True])
def test_the_exploiter_leaves_one_wood(holdings_public):
    options = {"preset": "spiral2", "holdings_public": holdings_public}
    assert gains((Exploiter(), AcceptAll()), **options) == (195, -185)
    assert gains((AcceptAll(), Exploiter()), **options) == (-185, 195)
    assert gains((Exploiter(), AcceptGain()), **options) == (0, 0)


@pytest.mark.parametrize("opener", [0, 1])
def test_planners_split_the_ceiling_of_spiral2(opener):
    assert gains((Planner(), Planner()), preset="spiral2", first=opener) == (100, 100)


def best_lesser_gain(state):
    """The greatest lesser gain of all divisions of the goods."""
    totals = tuple(map(sum, zip(*state.initial, strict=True)))
    worth = [sum(map(int.__mul__, values, held)) for values, held in zip(state.values, state.initial, strict=True)]
    best = best_for_first(totals, state.values)
    return max(min(int(most) - worth[0], second - worth[1]) for second, most in enumerate(best) if most >= 0)


def test_planners_share_what_goods_allow():
    """The lesser gain is as great as it can be and nothing is left; all of the ceiling would take side payments in money."""
    game = SimpleNegotiation()
    ends = [play(game, (Planner(), Planner()), seed=seed) for seed in range(40)]
    for end in ends:
        assert min(game.gains(end)) == best_lesser_gain(end) > 0
        assert pareto_gap(end) == 0
    assert 0.7 < sum(sum(game.gains(end)) for end in ends) / sum(map(max_joint_gain, ends)) < 1


def test_the_planner_takes_no_number_that_cannot_be():
    """What the other tells is checked: a value beyond the rules would be a lie, and slow to plan with."""
    game = SimpleNegotiation()
    state = game.start(game.deal(Chance(0)))
    names = state.resources
    tells = [f"My values: {', '.join(f'{name} {value}' for name in names)}." for value in (40, 41, 9999)]
    tells += [f"I have {', '.join(f'{count} {name}' for name in names)}." for count in (50, 51, 9999)]
    found = []
    for words in tells:
        after = game.apply(state, {"player_0": game.parse(game.view(state, "player_0"), "player_0", words)})
        table = read_table(Observation("", "player_1", turn=1, seed=0, game=game, view=game.view(after, "player_1")))
        found.append(table.their_values is not None or table.their_held is not None)
    assert found == [True, False, False] * 2


def test_planners_reach_the_ceiling_where_the_sum_is_paid():
    game = SimpleNegotiation(objective="sum")
    for seed in range(20):
        end = play(game, (Planner(), Planner()), seed=seed)
        assert sum(game.gains(end)) == max_joint_gain(end)


@pytest.mark.parametrize(
    ("options", "stronger", "weaker"),
    [
        ({}, "exploiter", "accept_all"),
        ({}, "tit_for_tat", "accept_all"),
        ({}, "planner", "accept_all"),
        ({"preset": "spiral2_random"}, "exploiter", "accept_all"),
        ({"preset": "spiral2", "max_turns": 7}, "tit_for_tat", "silent"),
        ({"preset": "spiral2", "objective": "difference"}, "exploiter", "accept_all"),
        ({"preset": "spiral2", "objective": "sign"}, "exploiter", "accept_all"),
    ],
)
def test_who_gains_more_against_the_field(options, stronger, weaker):
    """Against each of the others in both seats, the stronger is paid more than the weaker."""
    game = SimpleNegotiation(**options)

    def paid(name):
        total = 0.0
        for seed in range(10):
            for other in PLAYERS.values():
                own = PLAYERS[name]()
                total += game.returns(play(game, (own, other()), seed=seed))["player_0"]
                total += game.returns(play(game, (other(), own), seed=seed))["player_1"]
        return total

    assert paid(stronger) > paid(weaker)


def test_on_spiral2_the_ladder_rises_against_those_who_trade():
    game = SimpleNegotiation(preset="spiral2")
    points = []
    for own in PLAYERS.values():
        pairs = [(play(game, (own(), other())), play(game, (other(), own()))) for other in (AcceptGain, TitForTat, Planner)]
        points.append(sum(game.gains(first)[0] + game.gains(second)[1] for first, second in pairs))
    named = dict(zip(PLAYERS, points, strict=True))
    assert named["silent"] == 0 < named["accept_gain"] < named["tit_for_tat"] < named["planner"]


def test_where_the_other_counts_against_it_the_planner_gives_nothing_away():
    for other in (AcceptGain, TitForTat, Exploiter, Planner):
        for seat in (0, 1):
            players = (Planner(), other()) if seat == 0 else (other(), Planner())
            assert gains(players, objective="difference", preset="spiral2") == (0, 0)


@pytest.mark.parametrize(
    "options",
    [{}, {"preset": "spiral2"}, {"n": 2, "offer_ttl": 3}, {"objective": "sum", "holdings_public": True}, {"max_turns": 1}],
)
def test_every_player_plays_legally_with_every_other(options):
    game = SimpleNegotiation(**options)
    players = {name: make() for name, make in players_of("SimpleNegotiation").items()}
    for number, first in enumerate(players.values()):
        for second in players.values():
            assert game.is_over(play(game, (first, second), seed=number))


def test_by_spec_in_the_environment():
    for spec in ("tit_for_tat:q=3", "planner", "exploiter"):
        for episode in agents.play.play("lmgames/SimpleNegotiation-v0", [spec, "accept_gain"], episodes=3):
            assert episode.record.outcome == "rules"
            assert {turn.status for turn in episode.record.turns} == {"ok"}
    with pytest.raises(ValueError, match="at least 1"):
        TitForTat(0)
