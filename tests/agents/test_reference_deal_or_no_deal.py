"""The players of Deal or No Deal: exact values over all contexts, and who beats whom."""

from functools import cache

import pytest

import agents.play
from agents.reference import players_of
from agents.reference.deal_or_no_deal import PLAYERS, Greedy, Honest, Planner, Threshold, Yielding, informed_claim
from lmgames.chance import Chance
from lmgames.games.deal_contexts import contexts
from lmgames.games.deal_or_no_deal import DealOrNoDeal
from lmgames.observation import Observation


def play(game, players, instance, seed=0):
    """The last state of a game between two players, by the rules alone."""
    state, turn = game.start(instance), 0
    while seats := game.to_move(state):
        (seat,) = seats
        view = game.view(state, seat)
        number = Chance(seed).word(seat, turn)
        reply = players[game.seats.index(seat)].reply(Observation("", seat, turn=turn, seed=number, game=game, view=view))
        state, turn = game.apply(state, {seat: game.parse(view, seat, reply)}), turn + 1
    return state


def means(game, first, second, instances):
    """Mean points of both players and the share of games with a deal."""
    totals = [0.0, 0.0, 0.0]
    for instance in instances:
        state = play(game, (first, second), instance)
        scores = game.scores(state)
        totals = [totals[0] + scores[0], totals[1] + scores[1], totals[2] + (game.bundles(state) is not None)]
    return [total / len(instances) for total in totals]


def everything(game):
    return [instance for instance in game.instances() if instance["first"] == 0]


def test_greedy_takes_all_it_values_from_the_yielding():
    game = DealOrNoDeal()
    assert means(game, Greedy(), Yielding(), everything(game)) == pytest.approx([10, 2.778, 1], abs=5e-4)


@pytest.mark.parametrize("protocol", ["private_proposal", "public_offer", "selection"])
def test_the_yielding_gets_what_greedy_leaves_whoever_opens(protocol):
    game = DealOrNoDeal(protocol=protocol)
    for instance in everything(game)[::29]:
        wanted, theirs = instance["values"]
        left = sum(count * value for count, mine, value in zip(instance["counts"], wanted, theirs, strict=True) if not mine)
        for first in (0, 1):
            state = play(game, (Greedy(), Yielding()), {**instance, "first": first})
            assert game.scores(state) == (10, left)


def test_two_greedy_players_never_agree():
    game = DealOrNoDeal()
    assert means(game, Greedy(), Greedy(), everything(game)[::11]) == [0, 0, 0]


def test_honest_players_reach_the_nash_split():
    game = DealOrNoDeal()
    first, second, deals = means(game, Honest(), Honest(), everything(game))
    assert deals == 1
    assert (first, second, first + second) == pytest.approx((7.417, 7.601, 15.018), abs=5.1e-4)


@pytest.mark.parametrize("players", [(Honest("utilitarian"), Honest("utilitarian")), (Honest(), Planner())])
def test_together_they_reach_the_greatest_sum(players):
    game = DealOrNoDeal(objective="coop", first=1)
    instances = everything(DealOrNoDeal())[::9]
    first, second, deals = means(game, *players, instances)
    best = sum(game.facts(play(game, players, instance))["max_joint"] for instance in instances) / len(instances)
    assert (first + second, deals) == (pytest.approx(best), 1)


@pytest.mark.parametrize(
    ("threshold", "proposer", "responder", "agreement"),
    [(1, 8.786, 4.350, 0.959), (3, 7.343, 5.042, 0.869), (5, 5.571, 5.767, 0.781)],
)
def test_one_shot_offers_knowing_own_values(threshold, proposer, responder, agreement):
    """As an ultimatum: one open offer, one answer."""
    game = DealOrNoDeal(protocol="public_offer", max_messages=2, min_messages=0, first=0)
    player = Threshold(threshold)
    assert means(game, player, player, everything(game)) == pytest.approx([proposer, responder, agreement], abs=5.1e-4)


@pytest.mark.parametrize(("threshold", "proposer", "responder"), [(1, 9.418, 4.361), (3, 8.897, 5.328), (5, 7.807, 6.785)])
def test_one_shot_offers_knowing_all(threshold, proposer, responder):
    scores = [context.scores(informed_claim(context, 0, threshold)) for context in contexts()]
    assert [sum(column) / len(scores) for column in zip(*scores, strict=True)] == pytest.approx(
        [proposer, responder], abs=5.1e-4
    )


@cache
def sample():
    return [DealOrNoDeal().deal(Chance(seed)) for seed in range(60)]


@pytest.mark.parametrize(
    ("stronger", "weaker"),
    [
        ("greedy", "yielding"),
        ("threshold", "yielding"),
        ("conceder", "threshold"),
        ("conceder", "honest"),
        ("planner", "conceder"),
        ("planner", "honest"),
        ("planner", "yielding"),
    ],
)
@pytest.mark.parametrize("objective", ["semi", "comp"])
def test_who_beats_whom(stronger, weaker, objective):
    game = DealOrNoDeal(objective=objective)
    won = [0.0, 0.0]
    for instance in sample():
        for seat in (0, 1):
            players = (PLAYERS[stronger](), PLAYERS[weaker]())
            returns = list(game.returns(play(game, players if seat == 0 else players[::-1], instance)).values())
            won = [won[0] + returns[seat], won[1] + returns[1 - seat]]
    assert won[0] > won[1]


@pytest.mark.parametrize(
    "options", [{}, {"protocol": "public_offer"}, {"protocol": "selection"}, {"objective": "comp"}, {"objective": 0.5}]
)
def test_every_player_plays_legally_with_every_other(options):
    game = DealOrNoDeal(**options)
    players = {name: make() for name, make in players_of("DealOrNoDeal").items()}
    for number, first in enumerate(players.values()):
        for second in players.values():
            assert game.is_over(play(game, (first, second), sample()[number], seed=number))


def test_the_ladder_rises():
    """Mean points against all, over both seats."""
    game = DealOrNoDeal()
    players = [make() for make in PLAYERS.values()]
    instances = sample()[:25]
    points = []
    for own in players:
        pairs = [(means(game, own, other, instances)[0], means(game, other, own, instances)[1]) for other in players]
        points.append(sum(map(sum, pairs)))
    assert points == sorted(points)


def test_by_spec_in_the_environment():
    for spec in ("honest:split=egalitarian", "threshold:t=4", "conceder:t=3,step=1", "planner:t=5,patience=3"):
        for episode in agents.play.play("lmgames/DealOrNoDeal-v0", spec, episodes=3):
            assert episode.record.outcome == "rules"
            assert {turn.status for turn in episode.record.turns} == {"ok"}
    with pytest.raises(ValueError, match="split"):
        Honest("fair")
