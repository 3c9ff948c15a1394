"""Who Is The Spy by hand from its rules: each way to be paid, each reply refused, who sees what, exact reference values."""

import itertools
import math
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from functools import cache

import pytest

from lmgames.chance import Chance
from lmgames.games.who_is_the_spy import ABSTAIN, FORFEIT, NO_CLUE, WhoIsTheSpy, leaders
from lmgames.parsing import IllegalMove
from lmgames.records import GameRecord, replay
from lmgames.registry import make, make_game
from lmgames.text import Said

WORDS = {"civilian": "castle", "spy": "lighthouse"}
CLASSIC = {"role_visible": False, "voters": "all"}
OPTION_SETS = {
    "default": {},
    "classic": CLASSIC,
    "classic elimination": {**CLASSIC, "mode": "elimination", "open_ballot": True, "reveal_role": True, "tie": "revote"},
    "blank": {"spy_word": "blank", "tie": "random"},
    "elimination": {"mode": "elimination", "players": 6, "tie": "random", "order": "rotate"},
    "elimination of two spies": {"mode": "elimination", "players": 6, "spies": 2, "tie": "all_tied", "reveal_role": True},
    "judge": {"voters": "non_spy_plus_judge", "scheme": "win", "zero_sum": True, "tie": "revote"},
    "win": {"scheme": "win", "order": "shuffle"},
    "mixed": {"scheme": "mixed", "weights": (0.5, 2.0, 1.0), "players": 6, "spies": 2, "voters": "all", "open_ballot": True},
}


def game_of(**options):
    return WhoIsTheSpy(**{"players": 4, "clue_rounds": 1, **options})


def begun(game, spies=(3,), words=None):
    """The first state with the spies in these seats and the players speaking, and losing lots, in seat order."""
    names = list(game.player_names)
    needed = game.deal(Chance(0))
    return game.start(
        {
            "words": words or ({**WORDS, "spy": ""} if game.spy_word == "blank" else WORDS),
            "spies": [names[number] for number in spies],
            "orders": [names for _ in needed["orders"]],
            "tie_breaks": [names for _ in needed["tie_breaks"]],
        }
    )


def at_vote(game, state):
    """After clues that say nothing."""
    while not state.cycles[-1].polls:
        (seat,) = game.to_move(state)
        state = game.apply(state, {seat: f"clue number {len(state.cycles)} {len(state.cycles[-1].clues)}"})
    return state


def voted(game, state, *targets):
    """After clues and these votes of the voters in seat order: a player's number, None abstains."""
    state = at_vote(game, state)
    voters = game.to_move(state)
    assert len(voters) == len(targets)
    votes = [ABSTAIN if target is None else f"[vote: player_{target}]" for target in targets]
    return game.apply(state, dict(zip(voters, votes, strict=True)))


def random_moves(game, state, chance, number):
    moves = {}
    for seat in game.to_move(state):
        view = game.view(state, seat)
        moves[seat] = game.parse(view, seat, game.sample_reply(view, seat, chance.derive("reply", seat, number)))
    return moves


def random_states(game, seed):
    """Every state of a random episode."""
    chance = Chance(seed)
    state = game.start(game.deal(chance))
    yield state
    while not game.is_over(state):
        state = game.apply(
            state, random_moves(game, state, chance, sum(len(c.clues) + 9 * len(c.polls) for c in state.cycles))
        )
        yield state


# Points.


@pytest.mark.parametrize(
    ("votes", "scale", "points"),
    [
        # whom player_0, 1 and 2, the civilians, vote for; player_3 is the spy; the points of all four
        ((3, 0, 0), 1.0, (-11 / 9, 7 / 9, 7 / 9, -1 / 3)),  # figure 3 of the paper: civilians 2, 0, 0, spy 1
        ((3, 3, 3), 0.1, (0.1, 0.1, 0.1, -0.3)),
        ((1, 0, 0), 0.1, (-0.4 / 3, -0.1 / 3, 0.2 / 3, 0.1)),  # 2, 1, 0, spy 0
        ((3, 3, 0), 0.1, (-0.1 / 9, 0.8 / 9, 0.8 / 9, -0.5 / 3)),  # 1, 0, 0, spy 2
        ((None, None, None), 0.1, (0.0, 0.0, 0.0, 0.0)),
    ],
)
def test_clue_points(votes, scale, points):
    game = game_of(clue_beta=scale, clue_lambda=scale)
    state = voted(game, begun(game), *votes)
    assert tuple(game.clue_points(state).values()) == pytest.approx(points, abs=1e-9)
    assert game.facts(state)["stage_rewards"]["clue"] == game.clue_points(state)


@pytest.mark.parametrize(("vote", "paid"), [(3, 1.0), (None, -0.5), (1, -1.0)])
def test_decision_points_are_the_civilians(vote, paid):
    game = game_of()
    state = voted(game, begun(game), vote, 3, None)
    assert game.decision_points(state) == {"player_0": paid, "player_1": 1.0, "player_2": -0.5, "player_3": 0.0}


def test_a_spy_that_votes_scores_nothing_for_it_but_its_vote_counts():
    game = game_of(voters="all")
    state = voted(game, begun(game), 3, 3, None, 0)
    assert game.decision_points(state) == {"player_0": 1.0, "player_1": 1.0, "player_2": -0.5, "player_3": 0.0}
    # votes 1, 0, 0, spy 2: as in the table above
    assert tuple(game.clue_points(state).values()) == pytest.approx((-0.1 / 9, 0.8 / 9, 0.8 / 9, -0.5 / 3), abs=1e-9)


def test_two_spies_by_hand():
    game = game_of(players=6, spies=2, clue_beta=0.1, clue_lambda=0.2)
    state = voted(game, begun(game, spies=(4, 5)), 4, 4, 5, 0)
    # votes: player_0 1, player_4 2, player_5 1; mean of the civilians 1/4, so spies lose 0.175 and 0.075,
    # each civilian gains 0.0625, player_0 loses 0.2 * 3/4, the others gain 0.2 * 1/4
    expected = (0.0625 - 0.15, 0.1125, 0.1125, 0.1125, -0.175, -0.075)
    assert tuple(game.clue_points(state).values()) == pytest.approx(expected, abs=1e-9)


def test_vision_zero_pays_the_sum_of_both_stages_at_the_end():
    game = game_of()
    state = at_vote(game, begun(game))
    assert set(game.returns(state).values()) == {0.0}
    state = voted(game, begun(game), 3, 3, 0)
    assert tuple(game.returns(state).values()) == pytest.approx((0.98888889, 1.08888889, -0.91111111, -0.16666667))


@pytest.mark.parametrize(
    ("options", "votes", "returns"),
    [
        ({}, (3, 3, 0), (1.0, 1.0, 1.0, -1.0)),
        ({}, (1, 0, 0), (-1.0, -1.0, -1.0, 1.0)),
        ({}, (3, 0, None), (-1.0, -1.0, -1.0, 1.0)),  # a tie ejects nobody
        ({"zero_sum": True}, (3, 3, 0), (1 / 3, 1 / 3, 1 / 3, -1.0)),
        ({"zero_sum": True}, (1, 0, 0), (-1 / 3, -1 / 3, -1 / 3, 1.0)),
    ],
)
def test_win_pays_the_sides(options, votes, returns):
    game = game_of(scheme="win", **options)
    assert tuple(game.returns(voted(game, begun(game), *votes)).values()) == pytest.approx(returns, abs=1e-9)


def test_win_shares_are_equal_within_a_side_of_two_spies():
    game = game_of(scheme="win", zero_sum=True, players=7, spies=2)
    returns = game.returns(voted(game, begun(game, spies=(5, 6)), 6, 6, 6, 6, 6))
    assert tuple(returns.values()) == pytest.approx((0.2,) * 5 + (-0.5,) * 2)
    assert len(set(returns.values())) == 2


def test_mixed_weighs_clues_decisions_and_winning():
    game = game_of(scheme="mixed", weights=(2.0, 3.0, 5.0))
    state = voted(game, begun(game), 3, 3, 3)
    assert tuple(game.returns(state).values()) == pytest.approx((8.2, 8.2, 8.2, -5.6))


@pytest.mark.parametrize(
    ("options", "payoffs"),
    [
        ({}, "general_sum"),
        ({"vote_right": 0.0, "vote_abstain": 0.0, "vote_wrong": 0.0}, "zero_sum"),
        ({"scheme": "win"}, "general_sum"),
        ({"scheme": "win", "zero_sum": True}, "zero_sum"),
        ({"scheme": "mixed"}, "general_sum"),
        ({"scheme": "mixed", "weights": (1.0, 0.0, 1.0)}, "general_sum"),
        ({"scheme": "mixed", "weights": (1.0, 0.0, 1.0), "zero_sum": True}, "zero_sum"),
        ({"scheme": "mixed", "weights": (1.0, 1.0, 0.0)}, "general_sum"),
    ],
)
def test_payoffs_are_what_they_are_called(options, payoffs):
    assert game_of(**options).payoffs == payoffs


ZERO_SUM = ({"scheme": "win", "zero_sum": True}, {"scheme": "mixed", "weights": (0.3, 0.0, 0.7), "zero_sum": True})


@pytest.mark.parametrize("options", ZERO_SUM, ids=["win", "mixed"])
@pytest.mark.parametrize(
    ("players", "spies"), [(players, spies) for players in range(3, 13) for spies in range(1, (players + 1) // 2)]
)
def test_zero_sum_is_exact(options, players, spies):
    for voters in ("civilians", "all", "non_spy_plus_judge"):
        game = game_of(players=players, spies=spies, voters=voters, **options)
        assert game.payoffs == "zero_sum"
        for seed in range(3):
            *_, state = random_states(game, seed)
            for points in (game.returns(state), game.clue_points(state)):
                amounts = list(points.values())
                assert sum(amounts) == 0
                assert sum(sorted(amounts)) == 0
                assert math.fsum(amounts) == 0
            low, high = game.return_bounds
            assert all(low <= paid <= high for paid in game.returns(state).values())


# The count.


def test_leaders():
    assert leaders([]) == ()
    assert leaders([None, None]) == ()
    assert leaders(["a", None, "b", "b"]) == ("b",)
    assert leaders(["b", "a", None]) == ("b", "a")


@pytest.mark.parametrize(
    ("options", "votes", "ejected"),
    [
        ({}, (1, 0, 0), ("player_0",)),
        ({}, (1, 0, None), ()),
        ({}, (None, None, None), ()),
        ({"tie": "all_tied"}, (1, 0, None), ("player_0", "player_1")),
        ({"tie": "all_tied"}, (1, 0, 0), ("player_0",)),
        ({"tie": "random"}, (3, 0, None), ("player_0",)),  # the first by lot among the tied, here in seat order
        ({"tie": "random"}, (3, 2, None), ("player_2",)),
        ({"tie": "random"}, (None, None, None), ()),
    ],
)
def test_whom_a_vote_ejects(options, votes, ejected):
    game = game_of(**options)
    state = voted(game, begun(game), *votes)
    assert game.is_over(state)
    assert state.cycles[-1].ejected == ejected
    assert game.facts(state)["ejected"] == [list(ejected)]


def test_a_broken_tie_is_drawn_uniformly_in_the_deal():
    game = game_of(tie="random")
    first = Counter(game.deal(Chance(seed))["tie_breaks"][0][0] for seed in range(400))
    assert min(first.values()) > 70  # 100 each
    instance = game.deal(Chance(0))
    out = Counter()
    for lot in itertools.permutations(game.player_names):
        state = game.start({**instance, "spies": ["player_3"], "tie_breaks": [list(lot)]})
        out[voted(game, state, 1, 2, 3).cycles[-1].ejected] += 1
    assert out == {("player_1",): 8, ("player_2",): 8, ("player_3",): 8}


@pytest.mark.parametrize(
    ("again", "ejected"),
    [
        ({"player_2": "[vote: player_0]", "player_4": "[vote: player_0]"}, ("player_0",)),
        ({"player_2": "[vote: player_0]", "player_4": "[vote: player_1]"}, ()),
        ({"player_2": ABSTAIN, "player_4": "[vote: player_1]"}, ("player_1",)),
        ({"player_2": ABSTAIN, "player_4": ABSTAIN}, ()),
    ],
)
def test_a_revote_is_by_the_untied_among_the_tied(again, ejected):
    game = game_of(players=5, tie="revote")
    state = voted(game, begun(game), 1, 0, None, None)
    assert game.to_move(state) == ("player_2", "player_4")
    assert game.legal_moves(state, "player_2") == ("[vote: player_0]", "[vote: player_1]", ABSTAIN)
    with pytest.raises(IllegalMove, match="player_3 cannot be voted for now"):
        game.parse(state, "player_2", "[vote: 3]")
    state = game.apply(state, again)
    assert game.is_over(state)
    assert state.cycles[-1].ejected == ejected
    # the first vote is what is paid for
    assert game.decision_points(state) == {f"player_{n}": (-1.0, -1.0, -0.5, 0.0, -0.5)[n] for n in range(5)}
    assert game.facts(state)["turn_stages"]["player_2"] == ["clue", "decision", "revote"]


def test_where_nobody_is_untied_there_is_no_revote():
    game = game_of(tie="revote", voters="all")
    state = voted(game, begun(game), 1, 2, 3, 0)
    assert game.is_over(state)
    assert len(state.cycles[-1].polls) == 1
    assert state.cycles[-1].ejected == ()


def test_a_revote_without_a_voter_reads_like_one_in_which_all_abstain():
    """Four players are tied; whether the fifth may vote once more would tell whether it is a spy."""
    game = game_of(players=5, tie="revote", mode="elimination")
    spy_is_untied = voted(game, begun(game, spies=(4,)), 1, 0, 3, 2)
    civilian_is_untied = voted(game, begun(game, spies=(0,)), 0, 3, 2, 1)
    assert game.to_move(civilian_is_untied) == ("player_4",)
    civilian_is_untied = game.apply(civilian_is_untied, {"player_4": ABSTAIN})
    assert len(spy_is_untied.cycles) == len(civilian_is_untied.cycles) == 2
    lines = [game.observe(game.view(state, "player_2"), "player_2") for state in (spy_is_untied, civilian_is_untied)]
    assert lines[0] == lines[1]
    assert "Tie: those not tied vote once more, among player_0 and player_1 and player_2 and player_3." in lines[0]
    twins = [game.hidden_twin(spy_is_untied, "player_2", Chance(seed)) for seed in range(20)]
    assert any(twin and game.role_of(twin, "player_4") == "civilian" for twin in twins)


def test_two_spies_lose_a_single_vote_when_one_is_ejected():
    game = game_of(players=6, spies=2, scheme="win")
    assert voted(game, begun(game, spies=(4, 5)), 4, 4, 4, 5).result == "civilians"
    assert voted(game, begun(game, spies=(4, 5)), 4, 4, 5, 5).result == "spies"


# Elimination.


def test_the_civilians_win_when_the_last_spy_is_out():
    game = game_of(players=6, spies=2, mode="elimination", scheme="win")
    state = voted(game, begun(game, spies=(4, 5)), 4, 4, 4, 4)
    assert not state.result
    assert game.alive(state) == ("player_0", "player_1", "player_2", "player_3", "player_5")
    state = voted(game, state, 5, 5, 5, 0)
    assert state.result == "civilians"
    assert list(game.returns(state).values()) == [1, 1, 1, 1, -1, -1]


def test_one_spy_wins_when_two_players_are_left():
    game = game_of(mode="elimination", scheme="win")
    state = voted(game, begun(game), 1, 0, 0)
    assert game.alive(state) == ("player_1", "player_2", "player_3")
    assert not state.result
    assert game.legal_moves(at_vote(game, state), "player_1") == ("[vote: player_2]", "[vote: player_3]", ABSTAIN)
    with pytest.raises(IllegalMove, match="player_0 cannot be voted for now"):
        game.parse(at_vote(game, state), "player_1", "[vote: 0]")
    state = voted(game, state, 2, None)
    assert state.result == "spies"
    assert list(game.returns(state).values()) == [-1, -1, -1, 1]


def test_a_greater_margin_stops_earlier():
    game = game_of(players=5, mode="elimination", margin=3)
    assert voted(game, begun(game), 1, 0, 0, 0).result == "spies"  # 3 civilians left, 1 + 3 needed
    game = game_of(players=5, mode="elimination", margin=2)
    assert not voted(game, begun(game), 1, 0, 0, 0).result


def test_the_spies_win_after_max_rounds():
    game = game_of(mode="elimination", max_rounds=2)
    state = voted(game, begun(game), None, None, None)
    assert not state.result
    assert voted(game, state, None, None, None).result == "spies"
    assert voted(game, state, 3, 3, 3).result == "civilians"


def test_points_of_an_elimination_add_up_over_its_votes():
    game = game_of(mode="elimination")
    state = voted(game, begun(game), 1, 0, 0)  # votes 2, 1, 0, spy 0
    state = voted(game, state, 3, 3)  # players 1, 2 and the spy: votes 0, 0, spy 2
    assert state.result == "civilians"
    assert tuple(game.decision_points(state).values()) == (-1.0, 0.0, 0.0, 0.0)
    # second vote: the spy loses 0.2, which two civilians share
    clue = (-0.4 / 3, -0.1 / 3 + 0.1, 0.2 / 3 + 0.1, 0.1 - 0.2)
    assert tuple(game.clue_points(state).values()) == pytest.approx(clue, abs=1e-9)
    facts = game.facts(state)
    assert facts["vote_accuracy"] == 2 / 5
    assert facts["turn_stages"]["player_1"] == ["clue", "decision", "clue", "decision"]
    assert facts["turn_stages"]["player_0"] == ["clue", "decision"]
    assert facts["ejected"] == [["player_0"], ["player_3"]]
    assert facts["votes"][1] == [{"player_1": "player_3", "player_2": "player_3"}]


@pytest.mark.parametrize(
    ("reveal_role", "line"), [(True, "player_0 is ejected: a civilian."), (False, "player_0 is ejected.")]
)
def test_the_role_of_the_ejected_is_told_if_so_agreed(reveal_role, line):
    game = game_of(mode="elimination", reveal_role=reveal_role)
    state = voted(game, begun(game), 1, 0, 0)
    view = game.view(state, "player_1")
    assert line in game.observe(view, "player_1")
    assert view.roles == (("civilian" if reveal_role else None), "civilian", None, None)


# The judge.


def test_the_judge_votes_and_is_on_the_civilians_side():
    game = game_of(voters="non_spy_plus_judge", scheme="mixed", zero_sum=True)
    state = at_vote(game, begun(game))
    assert game.to_move(state) == ("player_0", "player_1", "player_2", "judge_0")
    assert "You are the judge. The civilians' word is castle." in game.observe(game.view(state, "judge_0"), "judge_0")
    assert len(game.legal_moves(game.view(state, "judge_0"), "judge_0")) == 5
    state = voted(game, begun(game), 3, 0, None, 3)
    assert state.result == "civilians"
    assert game.decision_points(state)["judge_0"] == 1.0
    assert game.clue_points(state)["judge_0"] == 0.0
    assert game.returns(state)["judge_0"] == pytest.approx(1.0 + 0.25)
    assert game.role_of(state, "judge_0") == "judge"


# Deals and options.


def test_a_deal_follows_from_the_seed_and_starts():
    for options in OPTION_SETS.values():
        game = WhoIsTheSpy(**options)
        instance = game.deal(Chance(7))
        assert instance == game.deal(Chance(7))
        state = game.start(instance)
        assert state == game.start(instance)
        assert [seat for seat in game.seats if game.role_of(state, seat) == "spy"] == instance["spies"]


def test_seat_order_and_word_say_nothing_about_the_role():
    game = WhoIsTheSpy(pairs=(("castle", "lighthouse"),))
    deals = [game.deal(Chance(seed)) for seed in range(600)]
    spies = Counter(deal["spies"][0] for deal in deals)
    places = Counter(deal["orders"][0].index(deal["spies"][0]) for deal in deals)
    words = Counter(deal["words"]["civilian"] for deal in deals)
    assert min(spies.values()) > 85  # 120 each
    assert min(places.values()) > 85
    assert min(words.values()) > 250  # 300 each


def test_bundled_pairs_are_of_the_split_and_difficulty():
    everything = {frozenset(WhoIsTheSpy().deal(Chance(seed))["words"].values()) for seed in range(60)}
    assert len(everything) > 20
    train, held_out = WhoIsTheSpy(split="train")._word_pairs(), WhoIsTheSpy(split="eval")._word_pairs()
    assert train
    assert held_out
    assert not {word for pair in train for word in pair} & {word for pair in held_out for word in pair}
    graded = [WhoIsTheSpy(difficulty=grade)._word_pairs() for grade in (1, 2, 3)]
    assert sum(map(len, graded)) == len(WhoIsTheSpy()._word_pairs())


def test_pairs_of_your_own_survive_json():
    game = make_game("WhoIsTheSpy-v0", pairs=[["castle", "lighthouse"], ["ice cream", "cake"]])
    assert game.options == {"pairs": [["castle", "lighthouse"], ["ice cream", "cake"]]}
    assert make_game("WhoIsTheSpy-v0", **game.options) == game
    assert WhoIsTheSpy(**game.options) == game
    assert hash(game)


@pytest.mark.parametrize(
    ("order", "rounds"),
    [
        ("fixed", ["0123", "0123", "0123"]),
        ("rotate", ["0123", "1230", "2301"]),
        ("shuffle", ["3210", "1032", "0123"]),
    ],
)
def test_speaking_orders(order, rounds):
    game = game_of(order=order, clue_rounds=3)
    lots = [[f"player_{n}" for n in lot] for lot in (["3210", "1032", "0123"] if order == "shuffle" else ["0123"])]
    state = game.start({"words": WORDS, "spies": ["player_3"], "orders": lots, "tie_breaks": []})
    for number, lot in enumerate(rounds):
        for seat in lot:
            assert game.to_move(state) == (f"player_{seat}",)
            state = game.apply(state, {f"player_{seat}": f"clue {number} of {seat}"})
    assert game.to_move(state) == ("player_0", "player_1", "player_2")


def test_the_order_goes_on_without_the_ejected():
    game = game_of(order="rotate", mode="elimination")
    state = voted(game, begun(game), 1, 0, 0)
    assert [game.speaking_order(state, cycle, 0) for cycle in (0, 1)] == [
        ("player_0", "player_1", "player_2", "player_3"),
        ("player_2", "player_3", "player_1"),
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"players": 2},
        {"players": 13},
        {"players": 4, "spies": 2},
        {"spies": 0},
        {"clue_rounds": 0},
        {"mode": "both"},
        {"margin": 0},
        {"margin": 4},
        {"max_rounds": 0},
        {"spy_word": "none"},
        {"role_visible": False, "voters": "all", "spy_word": "blank"},
        {"role_visible": False},
        {"role_visible": False, "voters": "non_spy_plus_judge"},
        {"order": "random"},
        {"max_words": 0},
        {"voters": "spies"},
        {"tie": "coin"},
        {"open_ballot": True, "mode": "elimination"},
        {"open_ballot": True, "tie": "revote"},
        {"open_ballot": "yes"},
        {"scheme": "points"},
        {"clue_beta": -0.1},
        {"clue_lambda": 11},
        {"clue_lambda": math.nan},
        {"vote_wrong": -math.inf},
        {"weights": (1.0, 1.0)},
        {"weights": (1.0, -1.0, 1.0)},
        {"split": "test"},
        {"difficulty": 4},
        {"pairs": ()},
        {"pairs": (("castle", "castles"),)},
        {"pairs": (("castle", ""),)},
        {"pairs": (("castle",),)},
        {"pairs": (("castle", 3),)},
    ],
)
def test_refused_options(options):
    with pytest.raises(ValueError):
        WhoIsTheSpy(**options)


GOOD = {"words": WORDS, "spies": ["player_3"], "orders": [[f"player_{n}" for n in range(4)]], "tie_breaks": []}


@pytest.mark.parametrize(
    "instance",
    [
        None,
        [],
        {},
        {**GOOD, "pair": 3},
        {**GOOD, "words": {"civilian": "castle"}},
        {**GOOD, "words": {"civilian": "castle", "spy": ""}},
        {**GOOD, "words": {"civilian": "castle", "spy": "Castles"}},
        {**GOOD, "words": {"civilian": "castle", "spy": None}},
        {**GOOD, "spies": []},
        {**GOOD, "spies": ["player_4"]},
        {**GOOD, "spies": ["player_0", "player_1"]},
        {**GOOD, "spies": [["player_0"]]},
        {**GOOD, "spies": "player_3"},
        {**GOOD, "orders": []},
        {**GOOD, "orders": [["player_0"] * 4]},
        {**GOOD, "orders": [[*GOOD["orders"][0], "player_0"]]},
        {**GOOD, "tie_breaks": GOOD["orders"]},
    ],
)
def test_refused_instances(instance):
    game = game_of()
    game.start(GOOD)
    with pytest.raises(ValueError):
        game.start(instance)


# Replies.


@pytest.mark.parametrize(
    ("reply", "clue"),
    [
        ("It is very old.", "It is very old."),
        ("  It is\nvery   old. ", "It is very old."),
        ("Kings [and queens] lived in it.", "Kings [and queens] lived in it."),
        ("A lighthouse is smaller.", "A lighthouse is smaller."),  # the other word is not looked for: that would tell it
        ("Das Gebäude ist groß", "Das Gebäude ist groß"),
    ],
)
def test_clues(reply, clue):
    game = game_of()
    view = game.view(begun(game), "player_0")
    assert game.parse(view, "player_0", reply) == clue
    assert game.parse(view, "player_0", game.write(clue)) == clue


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("It is a castle.", "reveals_word"),
        ("Many CASTLES look like it.", "reveals_word"),
        ("c a s t l e", "reveals_word"),
        ("My clue: it is very OLD!", "ok"),
        ("it is... very old", "duplicate"),
        ("...", "empty"),
        ("(no clue)", "empty"),
        ("(forfeit)", "empty"),
        ("one two three four five six", "too_long"),
        ("[vote: player_2]", "illegal_now"),
        ("It is old. [abstain]", "illegal_now"),
    ],
)
def test_refused_clues(reply, code):
    game = game_of(max_words=5 if code == "too_long" else 30)
    state = game.apply(begun(game), {"player_0": "It is very old."})
    view = game.view(state, "player_1")
    if code == "ok":
        assert game.parse(view, "player_1", reply) == reply
        return
    with pytest.raises(IllegalMove) as refusal:
        game.parse(view, "player_1", reply)
    assert refusal.value.code == code


def test_a_spy_may_not_say_its_own_word_and_one_without_a_word_may_say_any():
    game = game_of()
    state = begun(game, spies=(0,))
    with pytest.raises(IllegalMove, match="Describe lighthouse"):
        game.parse(game.view(state, "player_0"), "player_0", "Lighthouses stand at the sea.")
    assert game.parse(game.view(state, "player_0"), "player_0", "No castle.") == "No castle."
    blank = game_of(spy_word="blank")
    assert blank.parse(blank.view(begun(blank, spies=(0,)), "player_0"), "player_0", "A castle?") == "A castle?"


@pytest.mark.parametrize(
    ("reply", "move"),
    [
        ("[vote: player_2]", "[vote: player_2]"),
        ("I think [vote: 2]", "[vote: player_2]"),
        ("[Vote player_2]", "[vote: player_2]"),
        ("\\boxed{vote: 2}", "[vote: player_2]"),
        ("[vote: 2] and again [vote: 2]", "[vote: player_2]"),
        ("[abstain]", "[abstain]"),
        ("[ABSTAIN]", "[abstain]"),
    ],
)
def test_votes(reply, move):
    game = game_of()
    view = game.view(at_vote(game, begun(game)), "player_0")
    assert game.parse(view, "player_0", reply) == move
    assert move in game.legal_moves(view, "player_0")


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("player_2", "no_command"),
        ("I vote for 2", "no_command"),
        ("[vote]", "bad_args"),
        ("[vote: castle]", "bad_args"),
        ("[vote: Player 2]", "bad_args"),
        ("[vote: player_02]", "bad_args"),
        ("[vote: player_20]", "bad_args"),
        ("[vote: 2.0]", "bad_args"),
        ("[vote: -1]", "bad_args"),
        ("[vote: 22222]", "bad_args"),
        ("[vote: 1 2]", "bad_args"),
        ("[abstain: 2]", "bad_args"),
        ("[vote: 4]", "out_of_range"),
        ("[vote: 0]", "illegal_now"),
        ("[vote: player_0]", "illegal_now"),
        ("[vote: 1] or [vote: 2]", "ambiguous"),
        ("[vote: 1] or [abstain]", "ambiguous"),
    ],
)
def test_refused_votes(reply, code):
    game = game_of()
    view = game.view(at_vote(game, begun(game)), "player_0")
    with pytest.raises(IllegalMove) as refusal:
        game.parse(view, "player_0", reply)
    assert refusal.value.code == code


def test_player_1_is_not_player_10():
    game = game_of(players=12)
    view = game.view(at_vote(game, begun(game)), "player_0")
    assert game.parse(view, "player_0", "[vote: player_10]") == "[vote: player_10]"
    assert game.parse(view, "player_0", "[vote: 10]") == "[vote: player_10]"
    assert game.parse(view, "player_0", "[vote: 1]") == "[vote: player_1]"


def test_who_is_not_asked_may_not_move():
    game = game_of()
    state = begun(game)
    with pytest.raises(IllegalMove, match="not your turn"):
        game.parse(game.view(state, "player_1"), "player_1", "It is very old.")
    assert game.legal_moves(game.view(state, "player_1"), "player_1") == ()
    state = at_vote(game, state)
    assert game.legal_moves(game.view(state, "player_3"), "player_3") == ()  # the spy does not vote
    with pytest.raises(IllegalMove, match="not your turn"):
        game.parse(game.view(state, "player_3"), "player_3", "[abstain]")


# Turns without a legal reply.


def env_at_vote(**options):
    env = make("WhoIsTheSpy-v0", players=4, clue_rounds=1, **options).unwrapped
    env.reset(seed=1, options={"instance": GOOD})
    for number in range(4):
        env.step(f"clue number {number}")
    return env


def test_a_forfeited_clue_is_no_clue_and_the_game_goes_on():
    env = make("WhoIsTheSpy-v0", players=4, clue_rounds=1, invalid_policy="retry_forfeit", retries=1).unwrapped
    env.reset(seed=1, options={"instance": GOOD})
    env.step("A castle.")
    assert env.agent_selection == "player_0"
    assert "Refused (reveals_word)" in env.observe("player_0")["text"]
    assert "castle" not in env.observe("player_3")["text"]
    env.step("A castle again.")
    assert env.agent_selection == "player_1"
    assert "player_0 gives no clue." in env.observe("player_1")["text"]
    for number in range(3):
        env.step(f"clue number {number}")
    for _ in range(3):
        env.step("[vote: 3]") if env.agent_selection != "player_3" else None
    assert env.outcome == "rules"
    facts = env.infos["player_0"]["facts"]
    assert facts["forfeits"] == {"player_0": 1, "player_1": 0, "player_2": 0, "player_3": 0}
    assert facts["turn_stages"]["player_0"] == ["clue", "decision"]


def test_a_forfeited_vote_abstains_and_the_votes_cast_before_stand():
    env = env_at_vote(retries=0)
    env.step("[vote: 3]")
    env.step("nobody")
    assert env.agent_selection == "player_2"
    env.step("[vote: 3]")
    facts = env.infos["player_0"]["facts"]
    assert facts["votes"] == [[{"player_0": "player_3", "player_1": None, "player_2": "player_3"}]]
    assert facts["forfeits"]["player_1"] == 1
    assert facts["stage_rewards"]["decision"] == {"player_0": 1.0, "player_1": -0.5, "player_2": 1.0, "player_3": 0.0}
    assert [turn.status for turn in env.record().turns[4:]] == ["ok", "forfeit", "ok"]
    replay(GameRecord.from_json(env.record().to_json()))


def test_nobody_sees_whether_an_abstention_was_a_forfeit():
    forfeited, abstained = env_at_vote(retries=0), env_at_vote(retries=0)
    for env, reply in ((forfeited, "nobody"), (abstained, "[abstain]")):
        for text in ("[vote: 3]", reply, "[vote: 3]"):
            env.step(text)
    for seat in ("player_0", "player_2", "player_3"):
        assert forfeited.observe(seat) == abstained.observe(seat)


def test_a_noop_is_no_forfeit():
    env = env_at_vote(invalid_policy="retry_noop", retries=0)
    env.step("nobody")
    env.step("[vote: 3]")
    env.step("[vote: 3]")
    facts = env.infos["player_0"]["facts"]
    assert facts["votes"][0][0]["player_0"] is None
    assert set(facts["forfeits"].values()) == {0}
    game = game_of()
    state = game.apply(begun(game), {"player_0": game.noop(begun(game), "player_0")})
    assert state.cycles[-1].clues == (("player_0", None),)
    assert game.noop(begun(game), "player_0") == NO_CLUE


def test_a_forfeit_by_the_rules_alone():
    game = game_of()
    state = game.forfeit(at_vote(game, begun(game)), "player_1")
    assert game.to_move(state) == ("player_0", "player_2")
    state = game.apply(state, {"player_0": "[vote: player_3]", "player_2": ABSTAIN})
    assert dict(state.cycles[-1].polls[0].votes) == {"player_0": "player_3", "player_1": None, "player_2": None}
    assert state.forfeits == ("player_1",)
    assert game.apply(begun(game), {"player_0": FORFEIT}).forfeits == ("player_0",)
    assert set(game.forfeit_returns(state, "player_1").values()) == {0.0}


# Who sees what.


def test_what_each_seat_is_told():
    game = game_of()
    state = begun(game)
    assert game.observe(game.view(state, "player_0"), "player_0")[0] == "You are a civilian. Your word is castle."
    assert game.observe(game.view(state, "player_3"), "player_3")[0] == "You are the spy. Your word is lighthouse."
    blank = game_of(spy_word="blank")
    assert blank.observe(blank.view(begun(blank), "player_3"), "player_3")[0] == "You are the spy. You have no word."
    two = game_of(players=5, spies=2)
    assert two.observe(two.view(begun(two, (1, 3)), "player_3"), "player_3")[0] == "You are a spy. Your word is lighthouse."
    assert two.view(begun(two, (1, 3)), "player_3").roles == (None, None, None, "spy", None)


def test_the_classic_game_tells_no_role_to_anybody():
    game = game_of(**CLASSIC)
    state = begun(game)
    swapped = begun(game, spies=(0,), words={"civilian": "lighthouse", "spy": "castle"})
    for seat in game.seats:
        view = game.view(state, seat)
        assert game.role_of(view, seat) == "player"
        assert view.roles == (None,) * 4
    # player_0 has the castle in both, as a civilian in one and as the spy in the other
    assert game.observe(game.view(state, "player_0"), "player_0") == game.observe(game.view(swapped, "player_0"), "player_0")
    assert game.view(state, "player_0") == game.view(swapped, "player_0")
    env = make("WhoIsTheSpy-v0", players=4, **CLASSIC).unwrapped
    env.reset(seed=1)
    while not env.outcome:
        seat = env.agent_selection
        assert env.infos[seat]["role"] == env.observation(seat).role == "player"
        env.step(env.infos[seat]["action_mask"][0])


def test_votes_are_hidden_until_all_have_voted():
    one, other = env_at_vote(), env_at_vote()
    one.step("[vote: 3]")
    other.step("[vote: 1]")
    for seat in ("player_1", "player_2", "player_3"):
        assert one.observe(seat) == other.observe(seat)
        assert one.infos[seat] == other.infos[seat]


def test_a_voter_is_not_told_how_many_were_asked_before_it():
    """Spies are not asked, so the number of those asked before would tell whether a spy is among the earlier seats."""
    told = []
    for spy in ("player_0", "player_2", "player_3"):
        env = make("WhoIsTheSpy-v0", players=4, clue_rounds=1, invalid_policy="retry_random").unwrapped
        env.reset(seed=1, options={"instance": {**GOOD, "spies": [spy]}})
        for number in range(4):
            env.step(f"clue number {number}")
        while env.agent_selection != "player_1":
            env.step("[vote: player_1]")
        told.append((env.observe("player_1"), env.infos["player_1"], env.observation("player_1")))
        for _ in range(2):
            env.step("nobody")  # the second time, a random vote takes its place
        told.append(env.turns[-1].move)
    assert told[:2] == told[2:4] == told[4:]


def test_the_count_is_public_and_the_ballots_only_if_open():
    for open_ballot in (False, True):
        game = game_of(open_ballot=open_ballot, voters="all")
        state = voted(game, begun(game), 3, 0, 3, None)
        ballots = {seat: Said(seat, vote) for seat, vote in zip(game.seats, ("3", "0", "3", None), strict=True)}
        ballots = {
            seat: Said(seat, ABSTAIN if said.words is None else f"[vote: player_{said.words}]")
            for seat, said in ballots.items()
        }
        lines = game.observe(game.view(state, "player_0"), "player_0")
        shown = list(ballots.values()) if open_ballot else [ballots["player_0"]]
        assert lines[-len(shown) - 2 :] == [*shown, "Votes: player_0 1, player_3 2.", "player_3 is ejected."]


@pytest.mark.parametrize("name", OPTION_SETS)
def test_hidden_parts_change_nothing_that_a_seat_reads(name):
    game = WhoIsTheSpy(**OPTION_SETS[name])
    twins = 0
    for seed in range(4):
        for step, state in enumerate(random_states(game, seed)):
            for seat in game.seats:
                twin = game.hidden_twin(state, seat, Chance(seed).derive(seat, step))
                if twin is None or twin == state:
                    continue
                twins += 1
                view, twin_view = game.view(state, seat), game.view(twin, seat)
                assert view == twin_view
                assert game.rules(view, seat) == game.rules(twin_view, seat)
                assert game.observe(view, seat) == game.observe(twin_view, seat)
                assert (seat in game.to_move(state)) == (seat in game.to_move(twin))
    assert twins > 100


def test_a_twin_of_the_classic_game_may_have_the_other_role():
    game = game_of(**CLASSIC)
    state = begun(game)
    twins = [game.hidden_twin(state, "player_0", Chance(seed)) for seed in range(40)]
    assert {game.role_of(twin, "player_0") for twin in twins} == {"civilian", "spy"}
    assert {twin.words[0] for twin in twins} == {"castle"}


@pytest.mark.parametrize("name", OPTION_SETS)
def test_no_seat_reads_the_others_word(name):
    options = {**OPTION_SETS[name], "pairs": (("qqxa", "qqxb"),), "invalid_policy": "retry_noop"}
    env = make("WhoIsTheSpy-v0", **options).unwrapped
    for seed in range(3):
        env.reset(seed=seed)
        while not env.outcome:
            seat = env.agent_selection
            word = env.game_state.words[env.game.seats.index(seat)]
            other = ({"qqxa", "qqxb"} - {word}).pop()
            assert other not in env.observe(seat)["text"]
            assert other not in str(env.infos[seat])
            if word:
                assert f"word is {word}." in env.observe(seat)["text"]
            env.step(env.infos[seat]["action_mask"][-1])


# Symmetry, growth, limits.


def renamed(value, names):
    """Every player's name in a JSON value or a move replaced."""
    if isinstance(value, dict):
        return {renamed(key, names): renamed(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [renamed(item, names) for item in value]
    for name in names if isinstance(value, str) else ():
        if value in (name, f"[vote: {name}]"):
            return value.replace(name, names[name])
    return value


@pytest.mark.parametrize("name", OPTION_SETS)
def test_renaming_the_players_renames_the_outcome(name):
    game = WhoIsTheSpy(**OPTION_SETS[name])
    for seed in range(6):
        names = dict(zip(game.player_names, Chance(seed).shuffled(game.player_names, "names"), strict=True))
        instance = game.deal(Chance(seed))
        state = game.start(instance)
        other = game.start(renamed(instance, names))
        number = 0
        while not game.is_over(state):
            moves = random_moves(game, state, Chance(seed), number)
            number += 1
            state, other = game.apply(state, moves), game.apply(other, renamed(moves, names))
        assert game.is_over(other)
        assert other.result == state.result
        expected = renamed(game.returns(state), names)
        assert {seat: game.returns(other)[seat] for seat in expected} == pytest.approx(expected, abs=1e-12)
        facts, other_facts = renamed(game.facts(state), names), game.facts(other)
        assert other_facts["votes"] == facts["votes"]
        assert [sorted(seats) for seats in other_facts["ejected"]] == [sorted(seats) for seats in facts["ejected"]]


def test_rotated_moves_every_seat_one_on():
    game = WhoIsTheSpy(tie="random")
    instance = game.deal(Chance(3))
    names = {f"player_{n}": f"player_{(n + 1) % 5}" for n in range(5)}
    assert game.rotated(instance) == renamed(instance, names)
    game.start(game.rotated(instance))
    assert WhoIsTheSpy(voters="non_spy_plus_judge").rotated(instance) is None


@pytest.mark.parametrize("name", OPTION_SETS)
def test_what_a_seat_reads_only_grows(name):
    game = WhoIsTheSpy(**OPTION_SETS[name])
    for seed in range(4):
        told = {seat: [] for seat in game.seats}
        moves = 0
        for state in random_states(game, seed):
            for seat in game.seats:
                lines = game.observe(game.view(state, seat), seat)
                assert lines[: len(told[seat])] == told[seat]
                told[seat] = lines
            moves += len(game.to_move(state))
        assert moves <= game.max_turns


@pytest.mark.parametrize("name", OPTION_SETS)
def test_an_episode_of_refused_replies_ends_by_the_rules(name):
    for policy in ("forfeit", "retry_forfeit", "retry_random", "retry_noop"):
        env = make("WhoIsTheSpy-v0", invalid_policy=policy, **OPTION_SETS[name]).unwrapped
        env.reset(seed=2)
        while not env.outcome:
            env.step("\0 [vote: nobody]")
        assert env.outcome == "rules"
        replay(env.record())


def test_every_rule_is_in_the_rules():
    text = game_of(players=5).rules(None, "player_0")
    assert "2 rounds" not in text
    assert "There is one round of clues, then a vote." in text
    assert "scores +1 for voting for a spy, -0.5 for abstaining, -1 for another vote" in text
    assert "a spy loses 0.1 points" in text
    assert "win" not in text.split("\n")[-1]
    win = game_of(scheme="win", mode="elimination", margin=1, max_rounds=7).rules(None, "player_0")
    assert "when the civilians left are fewer than the spies left plus 1, or after 7 votes" in win
    assert "scores" not in win
    elimination, revote = {"mode": "elimination"}, {"tie": "revote"}
    assert "Each vote is scored. You want" in game_of(**elimination).rules(None, "player_0")
    assert "Each vote is scored, but not the one after a tie." in game_of(**elimination, **revote).rules(None, "player_0")
    assert "The vote after a tie is not scored." in game_of(**revote).rules(None, "player_0")
    assert "scored" not in text
    assert "scored" not in game_of(scheme="win", **elimination, **revote).rules(None, "player_0")
    assert "not whether you are a spy" in game_of(**CLASSIC).rules(None, "player_0")


# Exact reference values: all voters vote at random for another player.


@cache
def random_votes(players, voters):
    """Shares of (spy alone has most, a civilian alone has most, tie, spy out if a tie is broken by lot)."""
    game = game_of(players=players, voters=voters)
    state = at_vote(game, begun(game, spies=(players - 1,)))
    seats = game.to_move(state)
    spy = f"player_{players - 1}"
    found = Counter()
    for votes in itertools.product(*(game.legal_moves(state, seat)[:-1] for seat in seats)):
        over = game.apply(state, dict(zip(seats, votes, strict=True)))
        most = leaders(target for _, target in over.cycles[0].polls[0].votes)
        assert over.cycles[0].ejected == (most if len(most) == 1 else ())
        found["spy" if over.result == "civilians" else "civilian" if len(most) == 1 else "tie"] += 1
        found["spy out"] += Fraction(spy in most, len(most))
        found["decision"] += Fraction(sum(game.decision_points(over).values())) / (players - 1)
        found["all"] += 1
    return {key: Fraction(count) / found["all"] for key, count in found.items()}


@pytest.mark.parametrize(
    ("players", "voters", "spy", "civilian", "tie", "spy_out"),
    [
        (3, "civilians", "1/4", "0", "3/4", "1/2"),
        (4, "civilians", "7/27", "9/27", "11/27", "10/27"),
        (4, "all", "5/27", "15/27", "7/27", "1/4"),
        (5, "civilians", "55/256", "124/256", "77/256", "9/32"),
        (5, "all", "17/128", "68/128", "43/128", "1/5"),
        (6, "civilians", "501/3125", "1595/3125", "1029/3125", "704/3125"),
        (6, "all", "303/3125", "1515/3125", "1307/3125", "1/6"),
    ],
)
def test_random_votes(players, voters, spy, civilian, tie, spy_out):
    found = random_votes(players, voters)
    assert (found["spy"], found.get("civilian", 0), found["tie"]) == (Fraction(spy), Fraction(civilian), Fraction(tie))
    assert found["spy out"] == Fraction(spy_out)
    assert found["decision"] == Fraction(2, players - 1) - 1  # right with probability 1 / (n - 1)


@pytest.mark.parametrize("players", [3, 4, 5, 6])
def test_a_spy_survives_random_ejections_with_probability_2_over_n(players):
    game = game_of(players=players, voters="all", mode="elimination")

    def survival(state):
        if state.result:
            return Fraction(state.result == "spies")
        state = at_vote(game, state)
        alive = game.to_move(state)
        outcomes = []
        for out in alive:
            someone = next(seat for seat in alive if seat != out)
            votes = {seat: f"[vote: {out if seat != out else someone}]" for seat in alive}
            outcomes.append(survival(game.apply(state, votes)))
        return sum(outcomes) / len(alive)

    assert survival(begun(game, spies=(0,))) == Fraction(2, players)


# Sample replies, and what the environment counts.


@pytest.mark.parametrize("max_words", [1, 3, 5])
@pytest.mark.parametrize("pairs", [None, (("yes", "well"),), (("right", "fine"),)])
def test_sample_clues_fit_however_few_words_are_allowed(max_words, pairs):
    env = make("WhoIsTheSpy-v0", players=8, clue_rounds=6, max_words=max_words, pairs=pairs)
    env.reset(seed=0)
    while not env.outcome:
        env.step(env.infos[env.agent_selection]["action_mask"][0])
    assert all(turn.status == "ok" for turn in env.turns)


def asked_in(cycle, seat, dealt, votes, **options):
    """What a seat is given when it is asked for its clue of a cycle (from 1).

    Args:
        dealt: who the spies are.
        votes: the target of each voter, by cycle and ballot; whoever is left out abstains.
    """
    options = {"clue_rounds": 1, "mode": "elimination", **options}
    names = list(game_of(**options).player_names)
    env = make("WhoIsTheSpy-v0", **options)
    env.reset(options={"instance": {"words": WORDS, "spies": dealt, "orders": [names], "tie_breaks": []}}, seed=0)
    while True:
        asked, cycles = env.agent_selection, env.game_state.cycles
        if asked == seat and len(cycles) == cycle and not cycles[-1].polls:
            seen = env.observation(seat)
            return seen.text, seen.turn, seen.seed, env.infos[seat]
        if cycles[-1].polls:
            target = votes[len(cycles) - 1][len(cycles[-1].polls) - 1].get(asked)
            env.step(f"[vote: {target}]" if target else "[abstain]")
        else:
            env.step(f"Clue number {len(cycles)} of {asked.replace('_', ' ')}")


def test_the_turn_does_not_tell_whether_the_ejected_were_spies():
    """Five of seven vote, and four once a civilian is out; with an abstention more or less the counts are the same."""
    votes = [
        [dict.fromkeys(("player_3", "player_4", "player_5"), "player_0")],
        [{"player_3": "player_1", "player_4": "player_1"}],
    ]
    options = {"players": 7, "spies": 2}
    a_spy_is_out = asked_in(3, "player_5", ["player_0", "player_6"], votes, **options)
    no_spy_is_out = asked_in(3, "player_5", ["player_2", "player_6"], votes, **options)
    assert a_spy_is_out == no_spy_is_out


def test_the_turn_does_not_tell_whether_anybody_could_vote_after_a_tie():
    tie = {"player_0": "player_1", "player_1": "player_0", "player_2": "player_3", "player_3": "player_2"}
    turned = {"player_1": "player_0", "player_2": "player_3", "player_3": "player_2", "player_4": "player_1"}
    options = {"players": 5, "tie": "revote"}
    nobody_could = asked_in(2, "player_2", ["player_4"], [[tie]], **options)
    somebody_could = asked_in(2, "player_2", ["player_0"], [[turned, {}]], **options)
    assert nobody_could == somebody_could


def test_a_history_leads_back_to_its_state():
    for options in OPTION_SETS.values():
        game = WhoIsTheSpy(**options)
        for state in random_states(game, 3):
            if FORFEIT in [move for moves in game.history(state)[1] for move in moves.values()]:
                continue
            instance, turns = game.history(state)
            again = game.start(instance)
            for moves in turns:
                again = game.apply(again, moves)
            assert replace(again, forfeits=()) == replace(state, forfeits=())
