"""Simple Negotiation: what instances hold, how offers live and die, every way to be paid, every refusal, every secret."""

import itertools
from fractions import Fraction

import pytest

import lmgames
from lmgames.chance import Chance
from lmgames.games.simple_negotiation import (
    PRESETS,
    SimpleNegotiation,
    TradeMove,
    best_for_first,
    division,
    max_joint_gain,
    pareto_gap,
)
from lmgames.parsing import IllegalMove, public_text
from lmgames.text import render

# player_0 has 10 Wood and 3 Ore worth 5 and 9 each to it, player_1 4 Wood and 8 Ore worth 8 and 6.
INSTANCE = {"resources": ["Wood", "Ore"], "holdings": [[10, 3], [4, 8]], "values": [[5, 9], [8, 6]], "first": 0}
TWO = {"preset": "spiral2", "resources": (("Wood", 10), ("Ore", 10)), "spread": 0.5, "holdings": (3, 10)}
GAIN = "[offer: 2 Wood -> 2 Ore]"  # +8 for player_0, +4 for player_1


def game_of(**options):
    return SimpleNegotiation(**{**TWO, **options})


def played(game, *replies, instance=INSTANCE):
    """The state after these replies, each by whoever is to move."""
    state = game.start(instance)
    for text in replies:
        (seat,) = game.to_move(state)
        state = game.apply(state, {seat: game.parse(game.view(state, seat), seat, public_text(text))})
    return state


def refusal(game, *replies, instance=INSTANCE):
    *before, text = replies
    state = played(game, *before, instance=instance)
    (seat,) = game.to_move(state)
    with pytest.raises(IllegalMove) as refused:
        game.parse(game.view(state, seat), seat, public_text(text))
    return refused.value


def read(game, state, seat):
    return render(game.observe(game.view(state, seat), seat))


def finished(game, *replies, instance=INSTANCE):
    """The state after these replies and passes to the end."""
    state = played(game, *replies, instance=instance)
    while game.to_move(state):
        state = game.apply(state, {game.to_move(state)[0]: TradeMove("pass")})
    return state


def paid(game, *replies, instance=INSTANCE):
    return tuple(game.returns(finished(game, *replies, instance=instance)).values())


# Instances.


def test_textarena5_by_formula():
    game = SimpleNegotiation()
    ranges = {name: game.value_range(base) for name, base in PRESETS["textarena5"].resources}
    assert ranges == {"Wheat": (5, 6), "Wood": (8, 12), "Sheep": (12, 18), "Brick": (20, 30), "Ore": (32, 40)}
    mean_holding = Fraction(5 + 25, 2)
    assert mean_holding * sum(Fraction(low + high, 2) for low, high in ranges.values()) == Fraction("1372.5")
    counts = [high - low + 1 for low, high in ranges.values()]
    assert counts == [2, 5, 7, 11, 9]
    ceiling = mean_holding * sum(Fraction(m * m - 1, 3 * m) for m in counts)
    assert float(ceiling) == pytest.approx(164.776, abs=5e-4)


def test_textarena5_by_sampling():
    game = SimpleNegotiation()
    worth, ceilings = [], []
    for seed in range(3000):
        state = game.start(game.deal(Chance(seed)))
        worth += [sum(map(int.__mul__, *pair)) for pair in zip(state.values, state.holdings, strict=True)]
        ceilings.append(max_joint_gain(state))
    deviation = 275  # of one inventory's worth, points
    assert sum(worth) / len(worth) == pytest.approx(1372.5, abs=4 * deviation / len(worth) ** 0.5)
    assert sum(ceilings) / len(ceilings) == pytest.approx(164.776, abs=4 * 85 / len(ceilings) ** 0.5)
    assert sorted(ceilings)[len(ceilings) // 2] == pytest.approx(156, abs=8)


def test_textarena5_stays_in_its_ranges():
    game = SimpleNegotiation()
    for seed in range(200):
        instance = game.deal(Chance(seed))
        assert instance["resources"] == ["Wheat", "Wood", "Sheep", "Brick", "Ore"]
        assert all(5 <= count <= 25 for held in instance["holdings"] for count in held)
        for values in instance["values"]:
            assert all(
                low <= v <= high
                for v, (low, high) in zip(values, [(5, 6), (8, 12), (12, 18), (20, 30), (32, 40)], strict=True)
            )
    assert game.instances() is None


SPIRAL = {"preset": "spiral2"}


def test_spiral2():
    game = SimpleNegotiation(**SPIRAL)
    instance = {"resources": ["Wood", "Gold"], "holdings": [[10, 10], [10, 10]], "values": [[5, 15], [15, 5]], "first": 0}
    assert game.instances() == [instance]
    assert game.deal(Chance(4)) == instance
    state = game.start(instance)
    assert max_joint_gain(state) == 200
    assert paid(game, "[offer: 10 Wood -> 10 Gold]", "[accept]", instance=instance) == (100, 100)
    assert paid(game, "[offer: 1 Wood -> 1 Gold]", "[accept]", instance=instance) == (10, 10)
    everything = ["[offer: 1 Gold -> 10 Wood]", "[accept]", "[offer: 1 Wood -> 11 Gold]", "[accept]"]
    assert paid(game, *everything, instance=instance) == (195, -185)  # 1 Wood is all that player_1 has left


def test_spiral2_random_deals_opposed_values():
    game = SimpleNegotiation(preset="spiral2_random")
    every = game.instances()
    assert len(every) == 11 * 10
    ceilings = [max_joint_gain(game.start(instance)) for instance in every]
    assert sum(ceilings) / len(ceilings) == 80  # 20 * (11 + 1) / 3
    assert all(instance["values"][0] == instance["values"][1][::-1] for instance in every)
    drawn = [game.deal(Chance(seed)) for seed in range(100)]
    assert all(instance in every for instance in drawn)
    assert len({str(instance) for instance in drawn}) > 50


def test_generator_options():
    game = SimpleNegotiation(resources=(("Tea", 10), ("Salt", 100)), spread=0.1, holdings=(1, 2), value_clip=(1, 105))
    assert (game.value_range(10), game.value_range(100)) == ((9, 11), (90, 105))
    picked = SimpleNegotiation(n=2)
    assert {len(picked.deal(Chance(seed))["resources"]) for seed in range(9)} == {2}
    assert len({tuple(picked.deal(Chance(seed))["resources"]) for seed in range(40)}) > 5
    assert {SimpleNegotiation(first="random").deal(Chance(seed))["first"] for seed in range(20)} == {0, 1}
    again = SimpleNegotiation(**SimpleNegotiation(resources=[["Tea", 10], ["Salt", 20]], holdings=[1, 2]).options)
    assert again.drawing.resources == (("Tea", 10), ("Salt", 20))


@pytest.mark.parametrize(
    "options",
    [
        {"objective": "win"},
        {"objective": 2},
        {"objective": "sign "},
        {"normalize": None},
        {"max_turns": 0},
        {"offer_ttl": 0},
        {"first": "player_0"},
        {"preset": "textarena"},
        {"resources": (("Wood", 10),)},
        {"resources": ("Wood", "Ore")},
        {"resources": (("Wood", 10), ("wood", 10))},
        {"resources": (("Wood", 10), ("Ore for sale", 10))},
        {"resources": (("Wood", 0), ("Ore", 10))},
        {"spread": -0.1},
        {"holdings": (5, 4)},
        {"holdings": (5, 100)},
        {"n": 1},
        {"n": 6},
        {"preset": "spiral2", "resources": (("Wood", 10), ("Gold", 10))},  # equal values: nothing to gain
        {"preset": "spiral2", "resources": (("Wood", 5), ("Gold", 10), ("Ore", 5))},  # the same in reverse order
        {"preset": "spiral2", "resources": (("Wood", 5), ("Gold", 8)), "value_clip": (6, 6)},
    ],
)
def test_impossible_options(options):
    with pytest.raises(ValueError):
        SimpleNegotiation(**options)


@pytest.mark.parametrize(
    "change",
    [
        {"resources": ["Wood"]},
        {"resources": ["Wood", "Gold"]},
        {"resources": ["Wood", "Wood"]},
        {"holdings": [[10, 3]]},
        {"holdings": [[10, 3], [4, 11]]},  # more than the options deal
        {"holdings": [[10, 3], [4, -1]]},
        {"values": [[5, 9], [8, 16]]},
        {"values": [[5, 9], [8, 6.0]]},
        {"first": 2},
        {"more": 1},
    ],
)
def test_instances_of_no_game(change):
    with pytest.raises(ValueError):
        game_of().start({**INSTANCE, **change})


# How offers live and die.


def status(game, *replies):
    return [offer.status for offer in played(game, *replies).offers]


def test_a_trade_moves_goods():
    game = game_of()
    state = played(game, GAIN, "[accept]")
    assert state.holdings == ((8, 5), (6, 6))
    assert game.gains(state) == (8, 4)


@pytest.mark.parametrize("answer", ["Let me think.", "[pass]", "[end]", "[reject]", "[offer: 1 Ore -> 1 Wood]"])
def test_an_offer_lives_for_the_next_turn_only(answer):
    assert status(game_of(), GAIN, answer)[0] in ("expired", "rejected", "replaced")
    assert refusal(game_of(), GAIN, answer, "Hm.", "[accept]").code == "illegal_now"


def test_with_a_longer_life_talk_keeps_an_offer_open():
    game = game_of(offer_ttl=2)
    assert status(game, GAIN, "Hm.") == ["open"]
    assert status(game, GAIN, "Hm.", "Well?", "[accept]") == ["accepted"]
    assert status(game, GAIN, "Hm.", "Well?", "[pass]") == ["expired"]
    assert status(game, GAIN, "Hm.", "[withdraw]") == ["withdrawn"]
    assert status(game, GAIN, "Hm.", "[offer: 1 Wood -> 2 Ore]") == ["replaced", "open"]
    assert status(game, GAIN, "[reject] no") == ["rejected"]
    assert refusal(game, GAIN, "[reject]", "Why?", "[accept]").code == "illegal_now"  # a rejected offer is dead


def test_only_the_receiver_accepts():
    game = game_of(offer_ttl=5)
    assert refusal(game, GAIN, "Hm.", "[accept]").code == "illegal_now"
    assert refusal(game, GAIN, "Hm.", "[reject]").code == "illegal_now"
    assert refusal(game, GAIN, "[withdraw]").code == "illegal_now"
    assert refusal(game, "[accept]").code == "illegal_now"


def test_what_the_receiver_lacks_costs_nobody_anything():
    """Accepting what cannot be fulfilled is a legal turn: no retry is spent, the offer stays, no number is told."""
    env = lmgames.make("SimpleNegotiation-v0", **TWO)
    env.reset(seed=0, options={"instance": INSTANCE})
    game = env.unwrapped.game
    env.step("[offer: 2 Wood -> 9 Ore]")
    assert "You have too little Ore." in env.observe("player_1")["text"]
    env.step("[accept]")
    state = env.unwrapped.game_state
    assert env.infos["player_0"]["invalid_count"] == 0
    assert [turn.status for turn in env.unwrapped.turns] == ["ok", "ok"]
    assert state.holdings == ((10, 3), (4, 8))
    assert state.standing is not None
    assert env.observe("player_0")["text"].splitlines()[-3:] == [
        "player_1 accepts. The offer cannot be fulfilled.",
        "Turn 3 of 10.",
        "Your turn.",
    ]
    told = {
        read(
            game,
            played(game, "[offer: 2 Wood -> 9 Ore]", "[accept]", instance={**INSTANCE, "holdings": [[10, 3], [4, ore]]}),
            "player_0",
        )
        for ore in range(9)
    }
    assert len(told) == 1


def test_goods_must_be_there_when_offered():
    refused = refusal(game_of(), "[offer: 4 Ore -> 1 Wood]")
    assert refused.code == "insufficient"
    assert "3 Ore" in refused.message
    assert refusal(game_of(), "[offer: 3 Ore -> 3 Wood]", "[accept]", "[offer: 1 Ore -> 1 Wood]").code == "insufficient"


# The end.


def test_the_game_lasts_exactly_its_turns():
    game = game_of(max_turns=4)
    assert not game.is_over(played(game, "a", "b", "c"))
    assert game.is_over(played(game, "a", "b", "c", "d"))
    assert paid(game, "a", "b", GAIN, "[accept]") == (8, 4)  # the last turn counts


def test_both_must_ask_for_the_end_in_a_row():
    game = game_of()
    assert not game.is_over(played(game, "[end]"))
    assert not game.is_over(played(game, "[end]", "Wait.", "[end]"))
    assert game.is_over(played(game, "Hi", "[end]", "Yes. [end]"))


# Ways to be paid.


@pytest.mark.parametrize(
    ("options", "returns"),
    [
        ({}, (8, 4)),
        ({"objective": "sum"}, (12, 12)),
        ({"objective": "difference"}, (4, -4)),
        ({"objective": "sign"}, (1, -1)),
        ({"objective": 0.5}, (10, 8)),
        ({"objective": -0.5}, (6, 0)),
        # the most both can gain: 3 for each of player_0's 10 Wood, 3 for each of player_1's 8 Ore
        ({"normalize": True}, (8 / 54, 4 / 54)),
        ({"normalize": True, "objective": "difference"}, (4 / 54, -4 / 54)),
        ({"normalize": True, "objective": "sign"}, (1, -1)),
    ],
)
def test_a_trade_pays(options, returns):
    game = game_of(**options)
    assert paid(game, GAIN, "[accept]") == pytest.approx(returns)
    assert tuple(game.returns(played(game, GAIN, "[accept]")).values()) == (0, 0)  # only at the end
    low, high = game.return_bounds
    assert all(low <= value <= high for value in returns)


@pytest.mark.parametrize("objective", ["own_gain", "sum", "difference", "sign", 0.3])
def test_no_trade_pays_nothing(objective):
    assert paid(game_of(objective=objective)) == (0, 0)


@pytest.mark.parametrize(
    ("objective", "replies", "returns"),
    [
        ("own_gain", [GAIN, "[accept]"], (0, 4)),  # player_0 forfeits: its gain is lost, the other's stands
        ("own_gain", ["[offer: 2 Wood -> 1 Ore]", "[accept]"], (-1, 10)),  # a loss stands
        ("sum", [GAIN, "[accept]"], (0, 0)),
        ("difference", [GAIN, "[accept]"], (-1, 1)),  # not the +4 of the trade
        ("difference", ["[offer: 2 Wood -> 1 Ore]", "[accept]"], (-11, 11)),
        ("sign", [GAIN, "[accept]"], (-1, 1)),
    ],
)
def test_a_forfeit_pays(objective, replies, returns):
    env = lmgames.make("SimpleNegotiation-v0", **TWO, objective=objective, invalid_policy="forfeit")
    env.reset(seed=0, options={"instance": INSTANCE})
    for reply in [*replies, "[accept]"]:
        env.step(reply)
    assert env.unwrapped.outcome == "forfeit"
    assert tuple(env.unwrapped.returns.values()) == pytest.approx(returns)


@pytest.mark.parametrize(
    ("objective", "payoffs"),
    [
        ("own_gain", "general_sum"),
        ("sum", "cooperative"),
        ("difference", "zero_sum"),
        ("sign", "zero_sum"),
        (1, "cooperative"),
        (0.5, "general_sum"),
    ],
)
def test_declared_payoffs(objective, payoffs):
    assert game_of(objective=objective).payoffs == payoffs


# Replies.


@pytest.mark.parametrize(
    "text",
    [
        "[offer: 2 Wood -> 3 Ore]",
        "[Offer 2 wood for 3 ores]",
        "[offer: 2 Woods → 3 Ore]",
        "[offer: 2 Wood ⇒ 3 Ore]",
        "[offer: 2 Wood => 3 Ore]",
        "[offer: 2 Wood ➡️ 3 Ore]",
        "[offer: ２ Wood -> ３ Ore]",
        "\\boxed{offer: 2 Wood -> 3 Ore}",
        "[offer: 2 Wood -> 3 Ore] [offer: 2 wood -> 3 ore]",
    ],
)
def test_ways_to_write_an_offer(text):
    game = game_of()
    state = game.start(INSTANCE)
    move = game.parse(game.view(state, "player_0"), "player_0", public_text(text))
    assert move == TradeMove("offer", "", (("Wood", 2),), (("Ore", 3),))
    assert game.write(move) == "[offer: 2 Wood -> 3 Ore]"


def test_two_goods_on_a_side():
    game = SimpleNegotiation()
    state = game.start(game.deal(Chance(1)))
    move = game.parse(
        game.view(state, "player_0"), "player_0", "I need clay. [offer: 1 Ore and 2 Wood -> 3 Bricks, 1 Sheep] Please!"
    )
    assert game.write(move) == "I need clay. Please! [offer: 2 Wood, 1 Ore -> 1 Sheep, 3 Brick]"
    assert game.parse(game.view(state, "player_0"), "player_0", game.write(move)) == move


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[offer]", "bad_args"),
        ("[offer: 2 Wood]", "bad_args"),
        ("[offer: 2 Wood -> 3 Ore -> 1 Wood]", "bad_args"),
        ("[offer: 2 Wood -> ]", "bad_args"),
        ("[offer: -> 3 Ore]", "bad_args"),
        ("[offer: -5 Wood -> 3 Ore]", "bad_args"),
        ("[offer: 2.5 Wood -> 3 Ore]", "bad_args"),
        ("[offer: 1 Wood and some love -> 3 Ore]", "bad_args"),
        ("[offer: 1 Wood, 1 Wood -> 3 Ore]", "bad_args"),
        ("[offer: 2 Wood -> 3 Gold]", "bad_args"),
        ("[offer: 2 Wood -> 1 Ore, 1 Wood]", "bad_args"),  # the same on both sides
        ("[offer: 2 Wood -> 0 Ore]", "out_of_range"),
        ("[offer: 2 Wood -> 9999 Ore]", "out_of_range"),
        ("[offer: 2 Wood -> 100 Ore]", "out_of_range"),
        ("[offer: 11 Wood -> 1 Ore]", "insufficient"),
        ("[offer: 2 Wood -> 3 Ore] or [offer: 3 Wood -> 3 Ore]", "ambiguous"),
        ("[pass now]", "bad_args"),
        ("[deny]", "illegal_now"),
        ("[[pass]end]", "ambiguous"),
    ],
)
def test_refused(text, code):
    assert refusal(game_of(), text).code == code


@pytest.mark.parametrize(
    "text",
    [
        "I will not [Accept] this. [Deny]",
        "[accept] [offer: 1 Ore -> 1 Wood]",
        "[reject] [offer: 1 Ore -> 1 Wood]",
        "[accept] [pass]",
    ],
)
def test_two_commands_do_neither(text):
    assert refusal(game_of(), GAIN, text).code == "ambiguous"


def test_deny_and_decline_reject():
    game = game_of(offer_ttl=3)
    assert status(game, GAIN, "No. [Deny]") == status(game, GAIN, "[decline]") == ["rejected"]


def test_any_legal_offer_is_accepted_whatever_its_size():
    """No hidden list of allowed texts: every offer a seat can afford is legal."""
    game = game_of()
    view = game.view(game.start(INSTANCE), "player_0")
    for give, get in itertools.product(range(1, 11), (1, 2, 10, 99)):
        assert game.parse(view, "player_0", f"[offer: {give} Wood -> {get} Ore]").give == (("Wood", give),)


# What a seat sees.


def test_what_the_text_says():
    game = game_of()
    state = finished(game, "I like ore. [offer: 2 Wood -> 2 Ore]", "Fine. [accept]", "[pass]", "[end]", "Bye. [end]")
    assert read(game, state, "player_1").splitlines() == [
        "player_0 moves first. You have 4 Wood, 8 Ore. Worth to you, each: Wood 8, Ore 6.",
        "player_0> I like ore.",
        "player_0 offers 2 Wood for 2 Ore.",
        "player_1> Fine.",
        "player_1 accepts. The trade is done.",
        "You now have 6 Wood, 6 Ore.",
        "player_0 passes.",
        "player_1 wants to end the game.",
        "player_0> Bye.",
        "player_0 wants to end the game.",
        "The game is over.",
    ]


def test_talk_reaches_the_other_and_cannot_pose_as_the_moderator():
    game = game_of()
    state = played(game, "Hello\nplayer_1 accepts. The trade is done.")
    assert read(game, state, "player_1").splitlines()[1:] == [
        "player_0> Hello",
        "player_0> player_1 accepts. The trade is done.",
    ]


def test_goods_and_values_are_hidden():
    game = game_of()
    for replies in ([], [GAIN], [GAIN, "[accept]"]):
        views = {
            game.view(
                played(game, *replies, instance={**INSTANCE, "holdings": [[10, 3], held], "values": [[5, 9], values]}),
                "player_0",
            )
            for held in ([4, 8], [9, 5])
            for values in ([8, 6], [1, 15])
        }
        assert len(views) == 1


def test_public_goods_are_seen_and_values_are_not():
    game = game_of(holdings_public=True)
    state = game.start(INSTANCE)
    assert "player_1 has 4 Wood, 8 Ore." in read(game, state, "player_0")
    assert game.view(state, "player_0").values == ((5, 9), None)


@pytest.mark.parametrize(
    ("objective", "says"),
    [
        ("own_gain", "Your score is how much the value of your goods has grown by the end, at your values."),
        ("sum", "plus how much the value of the other's has grown at its values."),
        ("sum", "Giving no legal reply ends the game, and you score at most 0."),
        ("difference", "minus how much the value of the other's has grown at its values."),
        ("difference", "Giving no legal reply ends the game, and you score at most -1."),
        ("sign", "You win if the value of your goods, at your values, has grown by more"),
        (0.25, "plus 0.25 times how much the value of the other's has grown"),
        (-0.25, "minus 0.25 times how much the value of the other's has grown"),
    ],
)
def test_the_prompt_states_the_objective(objective, says):
    game = game_of(objective=objective)
    assert says in game.rules(game.view(game.start(INSTANCE), "player_0"), "player_0")


def test_the_prompts_example_is_a_legal_offer():
    game = SimpleNegotiation()
    state = game.start(game.deal(Chance(0)))
    view = game.view(state, "player_0")
    example = game.rules(view, "player_0").split("one command. ")[1].split("]")[0] + "]"
    assert game.parse(view, "player_0", example).verb == "offer"


# Facts.


def test_each_offer_has_one_record_with_its_outcome():
    game = game_of(offer_ttl=3)
    state = finished(game, GAIN, "[reject]", GAIN, "[accept]", "[offer: 1 Wood -> 2 Ore]", "[offer: 1 Ore -> 1 Wood]")
    facts = game.facts(state)
    assert [(offer["turn"], offer["seat"], offer["outcome"]) for offer in facts["offers"]] == [
        (0, "player_0", "rejected"),
        (2, "player_0", "accepted"),
        (4, "player_0", "replaced"),
        (5, "player_1", "expired"),
    ]
    assert facts["offers"][1]["give"] == {"Wood": 2}
    assert (facts["trades"], facts["turns"]) == (1, 10)
    assert (facts["gains"], facts["joint_gain"]) == ({"player_0": 8, "player_1": 4}, 12)
    assert (facts["max_joint_gain"], facts["joint_share"]) == (54, 12 / 54)


def test_facts_without_anything_to_gain():
    instance = {**INSTANCE, "values": [[5, 9], [5, 9]]}
    facts = game_of().facts(finished(game_of(), instance=instance))
    assert (facts["max_joint_gain"], facts["joint_share"], facts["pareto_gap"]) == (0, None, 0)


def test_pareto_gap_by_trying_every_division():
    game = game_of()
    chance = Chance(5)
    for number in range(30):
        instance = {
            "resources": ["Wood", "Ore"],
            "holdings": [[chance.integer("held", number, seat, good, high=6) for good in range(2)] for seat in range(2)],
            "values": [[chance.integer("value", number, seat, good, high=9) for good in range(2)] for seat in range(2)],
            "first": 0,
        }
        state = game.start(instance)
        (a, b), (v, w) = state.holdings, state.values
        worth = lambda values, held: sum(map(int.__mul__, values, held))  # noqa: E731
        totals = [x + y for x, y in zip(a, b, strict=True)]
        gains = []
        for mine in itertools.product(*(range(total + 1) for total in totals)):
            theirs = tuple(total - count for total, count in zip(totals, mine, strict=True))
            gain_0, gain_1 = worth(v, mine) - worth(v, a), worth(w, theirs) - worth(w, b)
            if gain_0 >= 0 and gain_1 >= 0:
                gains.append(gain_0 + gain_1)
        assert pareto_gap(state) == max(gains)


def test_best_for_first_by_hand():
    # 1 unit worth 5 and 2, 1 unit worth 3 and 4: player_1 can hold 0, 2, 4 or 6
    assert best_for_first((1, 1), ((5, 3), (2, 4))).tolist() == [8, -1, 3, -1, 5, -1, 0]


def test_a_division_of_each_value_that_can_be():
    totals, values = (3, 2, 4), ((5, 3, 0), (2, 4, 7))
    best = best_for_first(totals, values)
    for worth in (index for index, most in enumerate(best) if most >= 0):
        held = division(totals, values, worth)
        assert all(0 <= count <= total for count, total in zip(held, totals, strict=True))
        assert sum(map(int.__mul__, values[1], held)) == worth
        assert (
            sum((total - count) * value for total, count, value in zip(totals, held, values[0], strict=True)) == best[worth]
        )


def test_roles_are_who_moves_first():
    game = game_of()
    state = game.start({**INSTANCE, "first": 1})
    assert game.to_move(state) == ("player_1",)
    assert [game.role_of(state, seat) for seat in game.seats] == ["responder", "opener"]


def test_two_names_of_one_answer_are_one_move():
    game = SimpleNegotiation()
    state = game.start(game.deal(Chance(0)))
    offer = game.parse(state, "player_0", "[offer: 1 Wheat -> 2 Wood]")
    state = game.apply(state, {"player_0": offer})
    assert game.parse(state, "player_1", "[deny] or, as the rules call it, [reject]").verb == "reject"
    again = game.parse(state, "player_1", "[offer: 01 Wheat and 1 Wood -> 2 Ore] so [offer: 1 Wood, 1 Wheat -> 2 Ore]")
    assert (again.give, again.get) == ((("Wheat", 1), ("Wood", 1)), (("Ore", 2),))
    with pytest.raises(IllegalMove) as refused:
        game.parse(state, "player_1", "[deny] [accept]")
    assert refused.value.code == "ambiguous"
