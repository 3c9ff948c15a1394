"""Deal or No Deal: the space of contexts, every way to be paid, every reply that is refused, and what a seat may see."""

import itertools
from collections import Counter, defaultdict
from fractions import Fraction

import pytest

import lmgames
from lmgames.chance import Chance
from lmgames.games.deal_contexts import (
    Context,
    PoolRule,
    best_split,
    competitiveness,
    contexts,
    max_joint,
    pareto_front,
    partner_values,
    regrets,
    rest,
    splits,
    worth,
)
from lmgames.games.deal_or_no_deal import DealMove, DealOrNoDeal
from lmgames.parsing import IllegalMove, public_text
from lmgames.text import render

# 1 book, 2 hats, 2 balls: player_0 values 4, 3, 0 and player_1 2, 0, 4.
INSTANCE = {"counts": [1, 2, 2], "values": [[4, 3, 0], [2, 0, 4]], "first": 0}


def played(game, replies, instance=INSTANCE):
    """The state after these replies, each by whoever is to move."""
    state = game.start(instance)
    for text in replies:
        (seat,) = game.to_move(state)
        state = game.apply(state, {seat: game.parse(game.view(state, seat), seat, public_text(text))})
    return state


def refusal(game, replies, text, instance=INSTANCE):
    state = played(game, replies, instance)
    (seat,) = game.to_move(state)
    with pytest.raises(IllegalMove) as refused:
        game.parse(game.view(state, seat), seat, text)
    return refused.value


def paid(game, replies, instance=INSTANCE):
    state = played(game, replies, instance)
    assert game.is_over(state)
    return tuple(game.returns(state).values())


# The contexts.


def relabelled(context, order):
    pick = lambda vector: tuple(vector[index] for index in order)  # noqa: E731
    return pick(context.counts), pick(context.values[0]), pick(context.values[1])


@pytest.mark.parametrize(
    ("most", "ordered", "unordered", "pools", "up_to_items", "up_to_both"),
    [(5, 5793, 2961, 31, 981, 519), (4, 5295, 2706, 28, 898, 475), (3, 3903, 1995, 19, 662, 352)],
)
def test_number_of_contexts(most, ordered, unordered, pools, up_to_items, up_to_both):
    every = contexts(PoolRule(max_per_type=most))
    assert len(every) == len(set(every)) == ordered
    assert len({(context.counts, frozenset(context.values)) for context in every}) == unordered
    assert len({context.counts for context in every}) == pools
    orders = list(itertools.permutations(range(3)))
    forms = {context: [relabelled(context, order) for order in orders] for context in every}
    assert len({min(each) for each in forms.values()}) == up_to_items
    swapped = {min(min(each), min((counts, b, a) for counts, a, b in each)) for each in forms.values()}
    assert len(swapped) == up_to_both


def test_contexts_are_sorted_and_keep_the_rules():
    every = contexts()
    keys = [(context.counts, *context.values) for context in every]
    assert keys == sorted(keys)
    for context in every:
        first, second = context.values
        assert 5 <= sum(context.counts) <= 7
        assert worth(first, context.counts) == worth(second, context.counts) == 10
        assert all(a + b > 0 for a, b in zip(first, second, strict=True))
        assert any(a * b > 0 for a, b in zip(first, second, strict=True))


def test_contexts_by_items_and_without_the_rules_on_values():
    assert Counter(sum(context.counts) for context in contexts(PoolRule(max_per_type=4))) == {5: 2475, 6: 2004, 7: 816}
    assert len(contexts(PoolRule(some_item_contested=False))) == 6123
    assert len(contexts(PoolRule(some_item_contested=False, each_item_wanted=False))) == 8670


def test_private_types_and_partners():
    partners = defaultdict(list)
    for context in contexts():
        partners[context.counts, context.values[0]].append(context.values[1])
    sizes = [len(values) for values in partners.values()]
    assert (len(sizes), min(sizes), max(sizes)) == (492, 1, 26)
    assert sum(sizes) / len(sizes) == pytest.approx(11.8, abs=0.05)
    assert sum(context.values[0] == context.values[1] for context in contexts()) == 129
    for (counts, own), values in partners.items():
        assert partner_values(counts, own, PoolRule()) == tuple(values)


def test_greatest_joint_scores():
    joints = Counter(max_joint(context) for context in contexts())
    assert joints == {10: 129, 11: 150, 12: 474, 13: 636, 14: 1182, 15: 528, 16: 1332, 17: 258, 18: 774, 19: 330}
    assert sum(joint * count for joint, count in joints.items()) / 5793 == pytest.approx(15.064, abs=5e-4)
    assert sum(map(competitiveness, contexts())) / 5793 == pytest.approx(0.494, abs=5e-4)
    assert max(max(context.scores(take)[0] * 2 for take in splits(context.counts)) for context in contexts()) == 20
    assert not any((10, 10) in pareto_front(context) for context in contexts())


def test_pareto_fronts():
    fronts = [pareto_front(context) for context in contexts()]
    sizes = [len(front) for front in fronts]
    assert (min(sizes), max(sizes)) == (2, 11)
    assert sum(sizes) / 5793 == pytest.approx(4.36, abs=5e-3)
    on_front = [
        sum(context.scores(take) in front for take in splits(context.counts)) / len(splits(context.counts))
        for context, front in zip(contexts(), fronts, strict=True)
    ]
    assert sum(on_front) / 5793 == pytest.approx(0.226, abs=5e-4)
    for context, front in list(zip(contexts(), fronts, strict=True))[::97]:
        points = {context.scores(take) for take in splits(context.counts)}
        undominated = {p for p in points if not any(q != p and q[0] >= p[0] and q[1] >= p[1] for q in points)}
        assert set(front) == undominated


def test_splits_of_a_pool():
    counts = [len(splits(context.counts)) for context in contexts()]
    assert (min(counts), max(counts)) == (16, 36)
    assert sum(counts) / 5793 == pytest.approx(21.5, abs=0.05)


@pytest.mark.parametrize(
    ("criterion", "first", "second", "joint"),
    [("utilitarian", 7.440, 7.624, 15.064), ("nash", 7.417, 7.601, 15.018), ("egalitarian", 7.338, 7.522, 14.860)],
)
def test_best_splits(criterion, first, second, joint):
    scores = [context.scores(best_split(context, criterion)) for context in contexts()]
    means = [sum(column) / 5793 for column in zip(*scores, strict=True)]
    assert [*means, sum(means)] == pytest.approx([first, second, joint], abs=5.1e-4)
    extremes = {"egalitarian": (min, 2, 9, 6.561), "nash": (lambda pair: pair[0] * pair[1], 20, 90, 55.66)}
    if criterion in extremes:
        merit, low, high, mean = extremes[criterion]
        merits = [merit(pair) for pair in scores]
        assert (min(merits), max(merits)) == (low, high)
        assert sum(merits) / 5793 == pytest.approx(mean, abs=5e-3)


def test_random_proposals_match_in_4_912_percent_of_games():
    rate = sum(Fraction(1, len(splits(context.counts))) for context in contexts()) / 5793
    assert float(rate) == pytest.approx(0.04912, abs=5e-6)
    # given a match every split is equally likely, and the two players' points average to half the pool's worth each
    points = sum(
        Fraction(sum(context.scores(take)[0] for take in splits(context.counts)), len(splits(context.counts)) ** 2)
        for context in contexts()
    )
    assert float(points / 5793) == pytest.approx(0.2456, abs=5e-5)


def test_one_context_by_hand():
    context = Context((1, 2, 2), ((4, 3, 0), (2, 0, 4)))
    assert max_joint(context) == 4 + 6 + 8
    assert competitiveness(context) == pytest.approx(0.2)
    assert pareto_front(context) == ((10, 8), (6, 10))
    assert best_split(context, "nash") == (1, 2, 0)
    assert regrets(context, (4, 0)) == (6, 10)
    assert regrets(context, (10, 8)) == (0, 0)


def test_other_pools():
    two = PoolRule(types=2, min_items=3, max_items=4, max_per_type=3, value_total=6)
    assert [context for context in contexts(two) if context.counts == (1, 2)] == [
        Context((1, 2), (first, second))
        for first, second in itertools.product([(0, 3), (2, 2), (4, 1), (6, 0)], repeat=2)
        if not ({first, second} == {(0, 3), (6, 0)} or first == second in [(0, 3), (6, 0)])
    ]
    with pytest.raises(ValueError, match="no context"):
        contexts(PoolRule(types=1, min_items=3, max_items=3, max_per_type=3))
    with pytest.raises(ValueError, match="narrow"):
        contexts(PoolRule(types=5, min_items=5, max_items=15, value_total=100))


def test_openspiel_has_the_same_contexts_and_pays_the_same():
    """Open offers and nothing else are OpenSpiel's bargaining game."""
    pyspiel = pytest.importorskip("pyspiel")
    theirs = pyspiel.load_game("bargaining")
    ours = DealOrNoDeal(protocol="public_offer", min_messages=0, max_messages=10, first=0)
    every = {(context.counts, *context.values) for context in contexts()}
    agree = theirs.num_distinct_actions() - 1
    chance = Chance(1)
    for number, instance in enumerate(theirs.all_instances()):
        dealt = (tuple(instance.pool), tuple(instance.values[0]), tuple(instance.values[1]))
        assert dealt in every
        state = theirs.new_initial_state()
        state.apply_action(number)
        mine = ours.start({"counts": dealt[0], "values": dealt[1:], "first": 0})
        for turn in range(chance.integer("turns", number, high=9)):
            action = chance.choice([action for action in state.legal_actions() if action != agree], "offer", number, turn)
            take = tuple(theirs.all_offers()[action].quantities)
            state.apply_action(action)
            assert take in splits(dealt[0])
            mine = ours.apply(mine, {f"player_{turn % 2}": DealMove("offer", take=take)})
        if mine.moves:
            state.apply_action(agree)
            mine = ours.apply(mine, {f"player_{mine.mover}": DealMove("accept")})
            assert ours.is_over(mine)
            assert state.is_terminal()
            assert list(ours.returns(mine).values()) == state.returns()


# Deals.


def test_deals_are_uniform_over_the_listed_instances():
    game = DealOrNoDeal(first=0)
    every = game.instances()
    assert len(every) == 5793
    assert len(DealOrNoDeal().instances()) == 2 * 5793
    drawn = [game.deal(Chance(seed)) for seed in range(200)]
    assert all(instance in every for instance in drawn)
    assert len({str(instance) for instance in drawn}) > 190
    assert {DealOrNoDeal().deal(Chance(seed))["first"] for seed in range(20)} == {0, 1}


def test_chosen_contexts():
    game = DealOrNoDeal(contexts=[7, 4000])
    assert {tuple(map(tuple, game.deal(Chance(seed))["values"])) for seed in range(30)} == {
        contexts()[7].values,
        contexts()[4000].values,
    }
    assert len(game.instances()) == 4
    assert DealOrNoDeal(**game.options) == game


def test_instances_by_index_and_by_hand():
    game = DealOrNoDeal()
    state = game.start({"index": 17, "first": 1})
    assert (state.counts, state.values, state.opener) == (contexts()[17].counts, contexts()[17].values, 1)
    by_hand = game.start({"counts": [1, 1, 8], "values": [[10, 0, 0], [10, 0, 0]]})  # outside the rule, yet playable
    assert by_hand.opener == 0


@pytest.mark.parametrize(
    "instance",
    [
        None,
        [],
        {"index": 5793},
        {"index": "3"},
        {"index": 3, "first": 2},
        {"counts": [1, 2, 2], "values": [[4, 3, 0]]},
        {"counts": [1, 2], "values": [[4, 3], [2, 4]]},
        {"counts": [1, 2, 2], "values": [[4, 3, 1], [2, 0, 4]]},
        {"counts": [1, 2, 2], "values": [[4, 3, 0], [-2, 0, 6]]},
        {"counts": [1, 2, 2], "values": [[4, 3, 0], [2, 0, 4]], "first": 0, "more": 1},
    ],
)
def test_instances_of_no_game(instance):
    with pytest.raises(ValueError):
        DealOrNoDeal().start(instance)


@pytest.mark.parametrize(
    "options",
    [
        {"objective": "greedy"},
        {"objective": 1.5},
        {"objective": True},
        {"objective": float("nan")},
        {"protocol": "auction"},
        {"max_messages": 0},
        {"min_messages": 20},
        {"walk_from": 0},
        {"first": 2},
        {"normalize": 1},
        {"disagreement": 3},
        {"disagreement": (11, 0)},
        {"comp_disagreement": -1},
        {"items": ()},
        {"items": ("book", "book")},
        {"items": ("book", "books")},
        {"items": ("2 books",)},
        {"items": ("salt and pepper", "hat")},
        {"min_items": 8},
        {"min_items": 2, "max_items": 2},
        {"items": ("book",), "min_items": 3, "max_items": 3},
        {"value_total": 0},
        {"contexts": ()},
        {"contexts": (5793,)},
    ],
)
def test_impossible_options(options):
    with pytest.raises(ValueError):
        DealOrNoDeal(**options)


# Ways to be paid.

DEAL = ["Hello", "[propose: 0 books, 0 hats, 2 balls]", "[propose: 1 book, 2 hats, 0 balls]"]  # 10 and 8 points
NO_DEAL = ["Hello", "[propose: 1 book, 0 hats, 2 balls]", "[propose: 1 book, 2 hats, 0 balls]"]
WALK = ["a", "b", "[walk away]"]


@pytest.mark.parametrize(
    ("options", "returns"),
    [
        ({}, (10, 8)),
        ({"objective": "coop"}, (18, 18)),
        ({"objective": "comp"}, (2, -2)),
        ({"objective": 0.5}, (14, 13)),
        ({"objective": -0.25}, (8, 5.5)),
        ({"normalize": True}, (1, 0.8)),
        ({"normalize": True, "objective": "coop"}, (1, 1)),  # 18 is this context's greatest joint score
        ({"normalize": True, "objective": "comp"}, (0.2, -0.2)),
    ],
)
def test_a_deal_pays(options, returns):
    assert paid(DealOrNoDeal(**options), DEAL) == pytest.approx(returns)


@pytest.mark.parametrize(
    ("options", "returns"),
    [
        ({}, (0, 0)),
        ({"disagreement": (3, 1)}, (3, 1)),
        ({"disagreement": (3, 1), "objective": "comp"}, (2, -2)),
        ({"disagreement": (3, 1), "objective": "coop"}, (4, 4)),
        ({"objective": "comp", "comp_disagreement": 4}, (0, 0)),  # nobody walked away
    ],
)
@pytest.mark.parametrize("replies", [NO_DEAL, [*["word"] * 20]])
def test_no_deal_pays(options, returns, replies):
    assert paid(DealOrNoDeal(**options), replies) == pytest.approx(returns)


@pytest.mark.parametrize(
    ("options", "returns"),
    [
        ({}, (0, 0)),
        ({"objective": "comp"}, (0, 0)),
        ({"objective": "comp", "comp_disagreement": 4}, (-4, 4)),
        ({"objective": -1, "comp_disagreement": 4, "normalize": True}, (-0.4, 0.4)),
        ({"objective": "coop", "comp_disagreement": 4}, (0, 0)),
    ],
)
def test_walking_away_pays(options, returns):
    assert paid(DealOrNoDeal(walk_from=3, **options), WALK) == pytest.approx(returns)


@pytest.mark.parametrize(
    ("options", "returns"),
    [
        ({}, (0, 0)),
        ({"disagreement": (1, 2)}, (1, 2)),  # giving up is no better than no deal
        ({"objective": "coop"}, (0, 0)),
        ({"objective": "comp"}, (10, -10)),
        ({"objective": "comp", "normalize": True}, (1, -1)),
        ({"objective": -1.0, "comp_disagreement": 7}, (10, -10)),
    ],
)
def test_a_forfeit_pays(options, returns):
    env = lmgames.make("DealOrNoDeal-v0", invalid_policy="forfeit", **options)
    env.reset(seed=1, options={"instance": INSTANCE})
    env.step("Hello")
    env.step("[propose: seven]")
    assert env.unwrapped.outcome == "forfeit"
    assert tuple(env.unwrapped.returns.values()) == pytest.approx(returns)


def test_an_accepted_offer_pays():
    game = DealOrNoDeal(protocol="public_offer")
    talk = ["Hello", "[offer: 1 book, 0 hats, 2 balls]"]
    assert paid(game, [*talk, "[accept]"]) == (6, 10)
    assert paid(game, [*talk, "[offer: 1 book, 2 hats, 0 balls]", "[accept]"]) == (10, 8)  # the counter-offer counts
    assert paid(game, [*talk, "Hm.", "Well?", "[accept]"]) == (6, 10)  # an offer outlives talk
    assert paid(
        DealOrNoDeal(protocol="public_offer", max_messages=2, min_messages=0), ["[offer: 1 book, 2 hats, 2 balls]", "No"]
    ) == (0, 0)


def test_selection_pays():
    game = DealOrNoDeal(protocol="selection")
    talk = ["Hello", "[end talk]"]
    assert paid(game, [*talk, "[propose: 1 book, 2 hats, 0 balls]", "[propose: 0 books, 0 hats, 2 balls]"]) == (10, 8)
    assert paid(game, [*talk, "[propose: 1 book, 2 hats, 0 balls]", "[propose: 1 book, 0 hats, 2 balls]"]) == (0, 0)


@pytest.mark.parametrize(
    ("objective", "payoffs"),
    [
        ("semi", "general_sum"),
        ("coop", "cooperative"),
        ("comp", "zero_sum"),
        (1, "cooperative"),
        (-1.0, "zero_sum"),
        (0.3, "general_sum"),
    ],
)
def test_declared_payoffs(objective, payoffs):
    game = DealOrNoDeal(objective=objective)
    assert game.payoffs == payoffs
    low, high = game.return_bounds
    for replies in (DEAL, NO_DEAL):
        assert all(low <= value <= high for value in paid(game, replies))


def test_the_limit_is_exact():
    game = DealOrNoDeal(max_messages=3)
    assert not game.is_over(played(game, ["a", "b"]))
    assert game.is_over(played(game, ["a", "b", "c"]))
    assert not game.is_over(played(game, ["a", "b", "[propose: 1 book, 2 hats, 0 balls]"]))  # the answer is still due


# Replies.

PROPOSED = ["Hello", "[propose: 0 books, 0 hats, 2 balls]"]


@pytest.mark.parametrize(
    "text",
    [
        "[propose: 1 book, 2 hats, 0 balls]",
        "[propose: 2 hats, 1 book, 0 balls]",  # the nouns say which, not the places
        "[PROPOSE 0 Ball; 1 BOOKS; 2 hat]",
        "[propose: 1 book and 2 hats and 0 balls]",
        "\\boxed{propose: 1 book, 2 hats, 0 balls}",
        "I think this is fair: [propose: 1 book, 2 hats, 0 balls]",
        "[propose:１ book, ２ hats, ０ balls]",
        "[propose: 1 book, 2 hats, 0 balls] Again: [propose: 1  Book, 2 hats, 0 balls]",
    ],
)
def test_ways_to_write_a_proposal(text):
    game = DealOrNoDeal()
    state = played(game, ["Hello"])
    move = game.parse(game.view(state, "player_1"), "player_1", public_text(text))
    assert move == DealMove("propose", take=(1, 2, 0))
    assert game.write(move) == "[propose: 1 book, 2 hats, 0 balls]"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[propose]", "bad_args"),
        ("[propose: all]", "bad_args"),
        ("[propose: 1 book, 2 hats, none]", "bad_args"),
        ("[propose: 1, 2, 0]", "bad_args"),
        ("[propose: 1 book, 2 hats]", "bad_args"),  # balls are missing
        ("[propose: 1 book, 1 book, 2 hats, 0 balls]", "bad_args"),
        ("[propose: -1 book, 2 hats, 0 balls]", "bad_args"),
        ("[propose: 1.5 books, 2 hats, 0 balls]", "bad_args"),
        ("[propose: 1 book, 2 hats, 0 cats]", "bad_args"),
        ("[propose: 1 book, 12345 hats, 0 balls]", "bad_args"),
        ("[propose: 2 books, 2 hats, 0 balls]", "out_of_range"),
        ("[propose: 1 book, 9999 hats, 0 balls]", "out_of_range"),
        ("[propose: 1 book, 2 hats, 0 balls] [propose: 0 books, 2 hats, 0 balls]", "ambiguous"),
        ("[message] Fine. [propose: 1 book, 2 hats, 0 balls]", "ambiguous"),
        ("[[message]propose: 1 book, 2 hats, 0 balls]", "ambiguous"),
        ("[message: Not yet [propose: 1 book, 2 hats, 0 balls]]", "ambiguous"),
        ("[message]", "empty"),
        ("[walk away]", "illegal_now"),
    ],
)
def test_refused(text, code):
    assert refusal(DealOrNoDeal(), ["Hello"], text).code == code


@pytest.mark.parametrize(
    ("options", "replies", "text", "code"),
    [
        ({}, [], "[propose: 1 book, 2 hats, 0 balls]", "illegal_now"),  # before the first message
        ({"min_messages": 3}, ["a", "b"], "[propose: 1 book, 2 hats, 0 balls]", "illegal_now"),
        ({}, PROPOSED, "But why?", "illegal_now"),
        ({}, PROPOSED, "[message] But why?", "illegal_now"),
        ({"walk_from": 2}, ["a"], "[walk away] now", None),
        ({"walk_from": 2}, ["a"], "[walk away now]", "bad_args"),
        ({"walk_from": 3}, ["a"], "[walk away]", "illegal_now"),
        ({"protocol": "public_offer"}, [], "[offer: 1 book, 2 hats, 0 balls]", "illegal_now"),
        ({"protocol": "public_offer"}, ["a"], "[accept]", "illegal_now"),
        ({"protocol": "public_offer"}, ["a", "[offer: 1 book, 2 hats, 0 balls]", "b"], "[accept]", "illegal_now"),  # its own
        ({"protocol": "public_offer"}, ["a", "[offer: 1 book, 2 hats, 0 balls]"], "[accept: all]", "bad_args"),
        (
            {"protocol": "public_offer"},
            ["a", "[offer: 1 book, 2 hats, 0 balls]"],
            "I will not [accept]. [offer: 1 book, 0 hats, 0 balls]",
            "ambiguous",
        ),
        ({"protocol": "selection"}, [], "[end talk]", "illegal_now"),
        ({"protocol": "selection"}, ["a"], "[propose: 1 book, 2 hats, 0 balls]", "illegal_now"),
        ({"protocol": "selection"}, ["a", "[end talk]"], "[end talk]", "illegal_now"),
        ({"protocol": "selection"}, ["a", "[end talk]"], "More talk", "illegal_now"),
        ({"missing_zero": True}, ["a"], "[propose: 1 book]", None),
        ({"missing_zero": True}, ["a"], "[propose: ]", "bad_args"),
    ],
)
def test_when_moves_are_legal(options, replies, text, code):
    game = DealOrNoDeal(**options)
    if code is None:
        played(game, [*replies, text])
    else:
        assert refusal(game, replies, text).code == code


def test_a_refusal_says_what_to_write():
    assert "[propose: N books, N hats, N balls]" in refusal(DealOrNoDeal(), ["Hello"], "[propose: 1 book]").message
    assert "hats, balls are missing" in refusal(DealOrNoDeal(), ["Hello"], "[propose: 1 book]").message
    assert (
        "after the talk" in refusal(DealOrNoDeal(protocol="selection"), ["a"], "[propose: 1 book, 2 hats, 0 balls]").message
    )


def test_messages():
    game = DealOrNoDeal()
    for text, words in [
        ("[message] I want hats.", "I want hats."),
        ("[message: I want hats.]", "I want hats."),
        ("I want [two] hats.", "I want [two] hats."),
        ("[accept]", "[accept]"),  # no command of this protocol
    ]:
        move = game.parse(game.start(INSTANCE), "player_0", text)
        assert move == DealMove("message", words)
        assert game.parse(game.start(INSTANCE), "player_0", game.write(move)) == move


def test_items_of_ones_own():
    game = DealOrNoDeal(items=("knife/knives", "fish/fish"), min_items=2, max_items=5, value_total=6)
    instance = {"counts": [2, 1], "values": [[1, 4], [2, 2]], "first": 1}
    assert paid(game, ["Hi", "[propose: 2 knives, 0 fish]", "[propose: 0 knifes, 1 fish]"], instance) == (2, 2)


# What a seat sees.


def read(game, state, seat):
    return render(game.observe(game.view(state, seat), seat))


def test_what_the_text_says():
    game = DealOrNoDeal()
    state = played(game, DEAL)
    assert read(game, state, "player_0").splitlines() == [
        "Pool: 1 book, 2 hats, 2 balls. Worth to you: book 4, hat 3, ball 0. player_0 begins.",
        "player_0> Hello",
        "player_1 has proposed.",
        "player_0> [propose: 1 book, 2 hats, 0 balls]",
        "player_1 proposed 0 books, 0 hats, 2 balls.",
        "Deal. You take 1 book, 2 hats, 0 balls, worth 10 to you.",
    ]
    assert read(game, played(game, NO_DEAL), "player_1").splitlines()[-2:] == [
        "player_0 proposed 1 book, 2 hats, 0 balls.",
        "No deal.",
    ]


def test_a_proposal_is_secret_until_both_are_in():
    game = DealOrNoDeal()
    open_now = [
        played(game, ["Hello", f"[propose: {books} book, {hats} hats, 2 balls]"]) for books in (0, 1) for hats in (0, 1, 2)
    ]
    assert len({game.view(state, "player_0") for state in open_now}) == 1
    assert len({game.view(state, "player_1") for state in open_now}) == 6


def test_without_reveal_end_only_a_match_is_told():
    game = DealOrNoDeal(reveal_end=False)
    ends = [
        played(game, ["Hello", f"[propose: 1 book, {hats} hats, 2 balls]", "[propose: 1 book, 2 hats, 0 balls]"])
        for hats in (0, 1, 2)
    ]
    assert len({read(game, state, "player_0") for state in ends}) == 1
    assert "proposed 1 book" not in read(game, ends[0], "player_0").replace("player_0> [propose", "")
    assert "Deal." in read(game, played(game, DEAL), "player_0")


def test_the_others_values_are_never_seen():
    game = DealOrNoDeal()
    for replies in ([], ["Hello"], PROPOSED, DEAL, NO_DEAL):
        views = [
            game.view(played(game, replies, {**INSTANCE, "values": [[4, 3, 0], other]}), "player_0")
            for other in ([2, 0, 4], [0, 4, 1], [10, 0, 0])
        ]
        assert len(set(views)) == 1


@pytest.mark.parametrize(
    ("objective", "says"),
    [
        ("semi", "Your score is what your items are worth to you."),
        ("coop", "what both players' items are worth to them, added up."),
        ("comp", "minus what the other's are worth to it."),
        (0.5, "plus 0.5 times what the other's are worth to it."),
        (-0.5, "minus 0.5 times what the other's are worth to it."),
    ],
)
def test_the_prompt_states_the_objective(objective, says):
    game = DealOrNoDeal(objective=objective)
    rules = game.rules(game.view(game.start(INSTANCE), "player_0"), "player_0")
    assert says in rules
    forfeit = "costs you 10 points, which the other gets." if objective == "comp" else "counts as no deal."
    assert f"Giving no legal reply {forfeit}" in rules


def test_the_prompt_states_prices_as_they_are_paid():
    game = DealOrNoDeal(objective="comp", comp_disagreement=4, normalize=True)
    rules = game.rules(game.view(game.start(INSTANCE), "player_0"), "player_0")
    assert "Walking away costs you 0.4 points, which the other gets." in rules
    assert "Giving no legal reply costs you 1 points, which the other gets." in rules


def test_roles_are_who_opens():
    game = DealOrNoDeal()
    state = game.start({**INSTANCE, "first": 1})
    assert game.to_move(state) == ("player_1",)
    assert [game.role_of(state, seat) for seat in game.seats] == ["responder", "opener"]


def test_facts():
    game = DealOrNoDeal()
    facts = game.facts(played(game, ["Hello", "[propose: 1 book, 0 hats, 2 balls]", "[propose: 0 books, 2 hats, 0 balls]"]))
    assert facts == {
        "deal": True,
        "scores": {"player_0": 6, "player_1": 10},
        "joint": 16,
        "joint_share": 16 / 18,
        "pareto": True,
        "envy": {"player_0": 0, "player_1": 0},
        "messages": 1,
        "turns": 3,
        "values": {"player_0": [4, 3, 0], "player_1": [2, 0, 4]},
        "max_joint": 18,
        "competitiveness": 0.2,
        "regret": {"player_0": 0, "player_1": 0},
    }
    bad = game.facts(played(game, ["Hello", "[propose: 0 books, 2 hats, 0 balls]", "[propose: 1 book, 0 hats, 2 balls]"]))
    assert (bad["scores"], bad["pareto"]) == ({"player_0": 4, "player_1": 0}, False)
    assert bad["envy"] == {"player_0": 2, "player_1": 10}
    assert bad["regret"] == {"player_0": 6, "player_1": 10}
    none = DealOrNoDeal(report=False).facts(played(game, NO_DEAL))
    assert (none["deal"], none["pareto"], none["joint"]) == (False, False, 0)
    assert "max_joint" not in none


def test_random_replies_are_sensible():
    """The sample replies' proposals are uniform, so two of them match as often as the exact rate says."""
    game = DealOrNoDeal(min_messages=0, max_messages=2, protocol="selection", first=0)
    matched = 0.0
    trials = 1500
    for seed in range(trials):
        state = played(game, ["Hi", "[end talk]"], game.deal(Chance(seed)))
        for seat in ("player_0", "player_1"):
            view = game.view(state, seat)
            text = game.sample_reply(view, seat, Chance(seed).derive(seat))
            state = game.apply(state, {seat: game.parse(view, seat, text)})
        matched += game.facts(state)["deal"]
    assert matched / trials == pytest.approx(0.04912, abs=3 * (0.04912 * 0.951 / trials) ** 0.5)


def test_rest_of_a_pool():
    assert rest((1, 2, 2), (1, 0, 2)) == (0, 2, 0)
