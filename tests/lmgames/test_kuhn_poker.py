"""Kuhn Poker by hand: each way to be paid, each option, each refusal, and what each seat is told."""

import itertools
import re

import pytest

import lmgames
from lmgames import Chance, IllegalMove
from lmgames.game import Game
from lmgames.games.kuhn_poker import KuhnPoker
from lmgames.records import replay

SEATS = ("player_0", "player_1")
RANK = {"J": 0, "Q": 1, "K": 2}


def played(game, instance, *moves):
    state = game.start(instance)
    for move in moves:
        (seat,) = game.to_move(state)
        state = game.apply(state, {seat: game.parse(game.view(state, seat), seat, f"[{move}]")})
    return state


def chips(game, instance, *moves):
    state = played(game, instance, *moves)
    assert game.is_over(state)
    returns = game.returns(state)
    assert returns["player_0"] + returns["player_1"] == 0
    return returns["player_0"]


def env_at(instance, *replies, **options):
    env = lmgames.make("KuhnPoker-v0", **options).unwrapped
    env.reset(seed=1, options={"instance": instance})
    for reply in replies:
        env.step(reply)
    return env


# Payoffs.


@pytest.mark.parametrize("cards", list(itertools.permutations("JQK", 2)))
@pytest.mark.parametrize(
    ("moves", "stake"),
    [("check check", 1), ("bet call", 2), ("check bet call", 2), ("bet fold", None), ("check bet fold", None)],
)
def test_every_line_of_every_deal_pays_the_first_actor(cards, moves, stake):
    higher = 1 if RANK[cards[0]] > RANK[cards[1]] else -1
    expected = stake * higher if stake else {"bet fold": 1, "check bet fold": -1}[moves]
    assert chips(KuhnPoker(), [[*cards, 0]], *moves.split()) == expected


def test_with_the_other_opener_the_same_moves_pay_the_other_seat():
    assert chips(KuhnPoker(), [["J", "K", 1]], "bet", "fold") == -1  # player_0 folds
    assert chips(KuhnPoker(), [["J", "K", 1]], "check", "bet", "fold") == 1  # player_1 folds to player_0
    assert chips(KuhnPoker(), [["J", "K", 1]], "check", "bet", "call") == -2


def test_ante_and_bet_are_the_stakes():
    game = KuhnPoker(ante=2, bet=5)
    assert chips(game, [["K", "J", 0]], "check", "check") == 2
    assert chips(game, [["K", "J", 0]], "bet", "call") == 7
    assert chips(game, [["K", "J", 0]], "bet", "fold") == 2
    assert game.return_bounds == (-7, 7)


def test_a_larger_deck_runs_up_to_the_ace():
    game = KuhnPoker(deck_size=5)
    assert game.deck == ("T", "J", "Q", "K", "A")
    assert chips(game, [["A", "K", 0]], "bet", "call") == 2
    assert chips(game, [["T", "J", 0]], "check", "check") == -1
    assert len(game.instances()) == 20
    assert KuhnPoker(deck_size=13).deck[0] == "2"


@pytest.mark.parametrize(("history", "legal"), [
    ((), ("check", "bet")),
    (("check",), ("check", "bet")),
    (("bet",), ("call", "fold")),
    (("check", "bet"), ("call", "fold")),
])  # fmt: skip
def test_legal_moves_after_each_history(history, legal):
    game = KuhnPoker()
    state = played(game, [["J", "Q", 0]], *history)
    (seat,) = game.to_move(state)
    other = SEATS[1 - SEATS.index(seat)]
    assert seat == SEATS[len(history) % 2]
    assert game.legal_moves(game.view(state, seat), seat) == legal
    assert game.legal_moves(game.view(state, other), other) == ()


# Matches.

TWO_WINS = ("check", "check", "check", "check")


@pytest.mark.parametrize(("scoring", "second_hand", "paid"), [
    ("chips", ["K", "J", 1], 2.0),
    ("chips", ["J", "K", 1], 0.0),
    ("match", ["K", "J", 1], 1.0),
    ("match", ["J", "K", 1], 0.0),  # a draw
    ("chips_norm", ["K", "J", 1], 0.5),  # 2 chips of 2 hands x 2
])  # fmt: skip
def test_scoring_of_a_match(scoring, second_hand, paid):
    game = KuhnPoker(hands=2, scoring=scoring)
    assert chips(game, [["K", "J", 0], second_hand], *TWO_WINS) == paid


def test_the_winner_of_a_match_is_who_has_more_chips_not_who_wins_the_last_hand():
    game = KuhnPoker(hands=2, scoring="match")
    assert chips(game, [["K", "J", 0], ["J", "K", 1]], "bet", "call", "check", "check") == 1  # +2 - 1


def test_a_match_pays_nothing_before_its_end_and_chips_pay_by_the_hand():
    deals = [["K", "J", 0], ["K", "J", 1]]
    assert KuhnPoker(hands=2, scoring="match").returns(played(KuhnPoker(hands=2), deals, "bet", "call"))["player_0"] == 0
    assert KuhnPoker(hands=2).returns(played(KuhnPoker(hands=2), deals, "bet", "call"))["player_0"] == 2


@pytest.mark.parametrize(("options", "openers"), [
    ({}, [0, 1, 0, 1]),
    ({"first_player": 1}, [1, 0, 1, 0]),
    ({"alternate_first": False}, [0, 0, 0, 0]),
    ({"alternate_first": False, "first_player": 1}, [1, 1, 1, 1]),
])  # fmt: skip
def test_who_opens_which_hand(options, openers):
    assert [opener for _, _, opener in KuhnPoker(hands=4, **options).deal(Chance(3))] == openers


def test_a_random_first_player_is_each_seat_about_half_of_the_time():
    game = KuhnPoker(first_player="random", hands=2)
    firsts = [game.deal(Chance(seed))[0][2] for seed in range(400)]
    assert 160 < sum(firsts) < 240
    assert all(deal[1][2] == 1 - deal[0][2] for deal in map(game.deal, map(Chance, range(20))))


def test_instances_are_all_deals_by_both_openers():
    assert len(KuhnPoker().instances()) == 6
    both = KuhnPoker(first_player="random").instances()
    assert len(both) == 12
    assert {tuple(hand) for (hand,) in both} == {(*cards, o) for cards in itertools.permutations("JQK", 2) for o in (0, 1)}
    assert len(KuhnPoker(hands=3).instances()) == 216
    assert len(KuhnPoker(hands=5, first_player="random").instances()) == 15_552
    assert KuhnPoker(hands=7).instances() is None  # 6 ** 7 are too many to list
    assert KuhnPoker(hands=2, deals="duplicate").instances() is None


@pytest.mark.parametrize("game", [KuhnPoker(), KuhnPoker(hands=2), KuhnPoker(first_player="random")])
def test_deals_are_instances_and_each_is_about_as_frequent(game):
    instances = game.instances()
    counts = dict.fromkeys(map(repr, instances), 0)
    draws = 100 * len(instances)
    for seed in range(draws):
        counts[repr(game.deal(Chance(seed)))] += 1
    chi_square = sum((count - 100) ** 2 / 100 for count in counts.values())
    assert chi_square < 2 * len(instances) + 20  # its mean is len(instances) - 1


@pytest.mark.parametrize("seed", range(20))
def test_duplicate_plays_each_deal_twice_with_seats_exchanged(seed):
    hands = KuhnPoker(hands=10, deals="duplicate").deal(Chance(seed))
    mirrored = [[b, a, 1 - opener] for a, b, opener in hands]
    assert len(hands) == 10
    assert sorted(hands) == sorted(mirrored)


@pytest.mark.parametrize("size", [3, 4])
def test_all_plays_every_deal_with_either_opener_once(size):
    game = KuhnPoker(deals="all", deck_size=size)
    hands = game.deal(Chance(5))
    assert len(hands) == game.total_hands == 2 * size * (size - 1)
    wanted = {(*cards, opener) for cards in itertools.permutations(game.deck, 2) for opener in (0, 1)}
    assert {tuple(hand) for hand in hands} == wanted
    assert game.deal(Chance(6)) != hands  # the order is drawn


@pytest.mark.parametrize("options", [{"deals": "all"}, {"deals": "duplicate", "hands": 6}])
@pytest.mark.parametrize("strategy", ["first", "last"])
def test_a_deterministic_strategy_ties_with_itself_when_luck_is_mirrored(options, strategy):
    game = KuhnPoker(**options)
    state = game.start(game.deal(Chance(2)))
    while not game.is_over(state):
        (seat,) = game.to_move(state)
        state = game.apply(state, {seat: game.legal_moves(game.view(state, seat), seat)[0 if strategy == "first" else -1]})
    assert game.returns(state) == {"player_0": 0, "player_1": 0}


def test_a_match_ends_when_a_stack_cannot_pay_ante_and_bet():
    game = KuhnPoker(hands=10, stack=3)
    deals = [["K", "J", number % 2] for number in range(10)]
    state = played(game, deals, "bet", "call")  # 1 chip is left, a hand needs 2
    assert game.is_over(state)
    assert game.returns(state)["player_0"] == 2
    assert not game.is_over(played(game, deals, "check", "check"))  # 2 chips are left
    assert game.return_bounds == (-3, 3)


# Forfeits.


def forfeited(game, instance, moves, seat):
    return game.forfeit(played(game, instance, *moves), seat)


@pytest.mark.parametrize(("moves", "seat", "paid"), [
    ((), "player_0", -1), (("check",), "player_1", 1), (("bet",), "player_1", 1), (("check", "bet"), "player_0", -1),
])  # fmt: skip
def test_a_forfeit_costs_what_the_seat_has_put_in(moves, seat, paid):
    game = KuhnPoker()
    state = forfeited(game, [["K", "J", 0]], moves, seat)
    assert game.is_over(state)
    assert game.returns(state) == {"player_0": paid, "player_1": -paid}


def test_a_forfeited_hand_leaves_the_match_going():
    game = KuhnPoker(hands=3)
    state = forfeited(game, [["K", "J", 0], ["K", "J", 1], ["K", "J", 0]], (), "player_0")
    assert game.to_move(state) == ("player_1",)
    assert game.returns(state)["player_0"] == -1


@pytest.mark.parametrize(("scoring", "paid"), [("chips", -1 + 2 - 3), ("match", -1), ("chips_norm", -2 / 10)])
def test_forfeit_match_loses_the_other_hands_at_the_ante(scoring, paid):
    game = KuhnPoker(hands=5, forfeit_match=True, scoring=scoring)
    deals = [["K", "J", 0], *([["K", "J", number % 2] for number in range(1, 5)])]
    state = forfeited(game, deals, ("bet", "call"), "player_1")  # +2 for player_0, then player_1 gives up hands 2 to 5
    assert game.returns(state)["player_0"] == pytest.approx({"chips": 2 + 4, "match": 1, "chips_norm": 6 / 10}[scoring])
    state = forfeited(game, deals, ("bet", "call", "check"), "player_0")  # +2, then hands 2 to 5 at 1 each
    assert game.is_over(state)
    assert game.returns(state)["player_0"] == pytest.approx(paid)
    assert sum(game.returns(state).values()) == 0


def test_forfeit_match_cannot_cost_more_than_the_stack():
    game = KuhnPoker(hands=10, stack=3, forfeit_match=True)
    state = forfeited(game, [["K", "J", number % 2] for number in range(10)], (), "player_0")
    assert game.returns(state) == {"player_0": -3, "player_1": 3}
    assert game.facts(state)["chips"] == {"player_0": -3, "player_1": 3}


@pytest.mark.parametrize("policy", ["forfeit", "retry_forfeit", "retry_random", "retry_noop"])
@pytest.mark.parametrize("options", [{}, {"hands": 4, "forfeit_match": True}, {"hands": 4, "scoring": "match"}])
def test_every_ending_by_garbage_is_zero_sum_at_every_step(policy, options):
    env = lmgames.make("KuhnPoker-v0", invalid_policy=policy, **options).unwrapped
    for seed in range(10):
        env.reset(seed=seed)
        while not env.outcome:
            legal = env.infos[env.agent_selection]["legal_moves"]
            env.step("garbage" if seed % 3 else legal[seed % 2])
            assert sum(env.rewards.values()) == 0
        assert env.outcome == "rules"
        low, high = env.game.return_bounds
        assert all(low <= paid <= high for paid in env.returns.values())
        replay(env.record())


def test_noop_checks_or_folds():
    game = KuhnPoker()
    assert game.noop(game.start([["K", "J", 0]]), "player_0") == "check"
    assert game.noop(played(game, [["K", "J", 0]], "bet"), "player_1") == "fold"


# What is refused.


@pytest.mark.parametrize(("reply", "code"), [
    ("bet", "no_command"),
    ("I will [raise]", "no_command"),
    ("[call]", "illegal_now"),
    ("[fold]", "illegal_now"),
    ("[pass]", "no_command"),
    ("[bet] or [check]", "ambiguous"),
    ("[bet 2]", "bad_args"),
    ("[better]", "no_command"),
])  # fmt: skip
def test_refused_when_opening(reply, code):
    game = KuhnPoker()
    with pytest.raises(IllegalMove) as refused:
        game.parse(game.start([["J", "Q", 0]]), "player_0", reply)
    assert refused.value.code == code
    assert "[check] or [bet]" in refused.value.message


@pytest.mark.parametrize(("reply", "code"), [
    (7, "type"),
    ({"private": "hm"}, "type"),
    ("", "empty"),
    ("<think>[bet]</think>", "empty"),
    ("<think>[bet]", "empty"),
    ("x" * 20_001, "too_long"),
    ("x" * 2_001, "too_long"),
])  # fmt: skip
def test_refused_by_the_environment_before_the_rules_read_it(reply, code):
    env = env_at([["J", "Q", 0]], reply)
    assert [turn.code for turn in env.record().turns] == [code]
    assert env.agent_selection == "player_0"


@pytest.mark.parametrize(("reply", "move"), [
    ("[bet]", "bet"), ("[BET]", "bet"), ("[ bet ]", "bet"), (r"\boxed{check}", "check"), ("[bet], yes [bet]", "bet"),
    ("[Check] [note] it", "check"), ("［ｂｅｔ］", "bet"), ("<think>[check]?</think>[bet]", "bet"),
    ({"private": "[check]", "public": "[bet]"}, "bet"),
])  # fmt: skip
def test_understood(reply, move):
    env = env_at([["J", "Q", 0]], reply)
    assert env.record().turns[0].move == f"[{move}]"


@pytest.mark.parametrize(("select", "move"), [("first", "check"), ("last", "bet")])
def test_select_chooses_among_several_moves(select, move):
    game = KuhnPoker(select=select)
    assert game.parse(game.start([["J", "Q", 0]]), "player_0", "[check] no: [bet]") == move


@pytest.mark.parametrize(("history", "alias", "move"), [
    ((), "pass", "check"), ((), "bet", "bet"), (("check",), "pass", "check"), (("check",), "bet", "bet"),
    (("bet",), "pass", "fold"), (("bet",), "bet", "call"), (("check", "bet"), "pass", "fold"),
    (("check", "bet"), "bet", "call"),
])  # fmt: skip
def test_aliases_are_openspiels_two_actions(history, alias, move):
    game = KuhnPoker(aliases=True)
    state = played(game, [["J", "Q", 0]], *history)
    (seat,) = game.to_move(state)
    assert game.parse(game.view(state, seat), seat, f"[{alias}]") == move


@pytest.mark.parametrize("instance", [
    None, [], [["J", "Q", 0], ["J", "Q", 0]], [["J", "J", 0]], [["J", "A", 0]], [["J", "Q"]], [["J", "Q", 2]],
    [["J", "Q", True]], [["J", "Q", 0.0]], [[["J"], "Q", 0]], ["JQ0"], {"cards": "JQ"},
])  # fmt: skip
def test_wrong_instances_are_refused(instance):
    with pytest.raises(ValueError, match="hand"):
        KuhnPoker().start(instance)


@pytest.mark.parametrize("options", [
    {"hands": 0}, {"hands": 1.0}, {"scoring": "sign"}, {"first_player": 2}, {"first_player": 1.0}, {"deals": "some"},
    {"ante": 0}, {"bet": 0}, {"deck_size": 2}, {"deck_size": 14}, {"stack": 1}, {"aliases": "yes"},
    {"deals": "duplicate", "hands": 3}, {"deals": "all", "hands": 5}, {"select": "best"},
])  # fmt: skip
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match="="):
        KuhnPoker(**options)


# What a seat is told.


def test_the_whole_text_of_an_opening():
    env = env_at([["J", "Q", 0]])
    assert env.observe("player_0")["text"] == (
        "You play Kuhn Poker, one hand. The deck has 3 cards, from low to high: J Q K. In each hand both players put in "
        "an ante of 1 chip and get one card that only they see. The first to act may check or bet 1 chip. After a check the "
        "other may check or bet. Facing a bet, a player may call it or fold. A fold gives the pot to the other; otherwise "
        "the higher card wins it. You want to win as many chips as you can.\n"
        "Reply with one move in brackets: [check], [bet], [call] or [fold].\n"
        "You are player_0.\n"
        "player_0 acts first. Your card: J.\n"
        "Pot: 2 chips.\n"
        "Your turn. Legal moves: [check] [bet]"
    )
    assert env.infos["player_0"]["legal_moves"] == ["[check]", "[bet]"]


def lines_of(env, seat):
    return env.observe(seat)["text"].split("\n")


def test_a_showdown_shows_both_cards_and_a_fold_none():
    called = env_at([["J", "K", 0]], "[bet]", "[call]")
    assert lines_of(called, "player_0")[-3:] == [
        "player_0> [bet]", "player_1> [call]", "Cards: player_0 J, player_1 K. player_1 wins 2 chips."
    ]  # fmt: skip
    folded = env_at([["J", "K", 0]], "[bet]", "[fold]")
    for seat in SEATS:
        assert lines_of(folded, seat)[-1] == "player_0 wins 1 chip."
    open_fold = env_at([["J", "K", 0]], "[bet]", "[fold]", reveal_on_fold=True)
    assert lines_of(open_fold, "player_1")[-1] == "Cards: player_0 J, player_1 K. player_0 wins 1 chip."


def test_the_pot_grows_with_the_bet():
    assert "Pot: 3 chips." in lines_of(env_at([["J", "K", 0]], "[bet]"), "player_1")
    assert "Pot: 9 chips." in lines_of(env_at([["J", "K", 0]], "[check]", "[bet]", ante=2, bet=5), "player_0")


def test_a_match_counts_hands_and_chips():
    env = env_at([["K", "J", 0], ["Q", "K", 1]], "[check]", "[check]", hands=2)
    assert lines_of(env, "player_0")[-5:] == [
        "player_0> [check]",
        "player_1> [check]",
        "Cards: player_0 K, player_1 J. player_0 wins 1 chip.",
        "Chips so far: player_0 +1, player_1 -1.",
        "Hand 2 of 2. player_1 acts first. Your card: Q.",
    ]


@pytest.mark.parametrize(("options", "sentence"), [
    ({"hands": 5}, "a match of 5 hands"),
    ({"hands": 5}, "The opener changes after each hand."),
    ({"hands": 4, "deals": "duplicate"}, "Each deal is played twice, with the seats exchanged, in random order."),
    ({"deals": "all"}, "Every deal is played once with either opener, in random order."),
    ({"deals": "all"}, "a match of 12 hands"),
    ({"hands": 5, "scoring": "match"}, "Whoever has won more chips after the last hand wins the match"),
    ({"hands": 5, "stack": 7}, "Each player has 7 chips; the match ends when one cannot pay ante and bet."),
    ({"deck_size": 4}, "The deck has 4 cards, from low to high: J Q K A."),
    ({"ante": 2, "bet": 3}, "an ante of 2 chips"),
])  # fmt: skip
def test_the_rules_tell_the_options(options, sentence):
    env = lmgames.make("KuhnPoker-v0", **options).unwrapped
    env.reset(seed=0)
    assert sentence in env.observe("player_1")["text"]


def all_states(game, instance):
    pending = [game.start(instance)]
    while pending:
        state = pending.pop()
        yield state
        for seat in game.to_move(state):
            pending += [game.apply(state, {seat: move}) for move in game.legal_moves(game.view(state, seat), seat)]


@pytest.mark.parametrize("reveal", [False, True])
def test_a_seat_is_told_the_same_whatever_the_other_holds_until_cards_are_shown(reveal):
    game = KuhnPoker(reveal_on_fold=reveal)
    for seat, (card_0, card_1, other) in itertools.product((0, 1), itertools.permutations("JQK")):
        hands = [[card_0, card_1, 0], [card_0, other, 0]] if seat == 0 else [[card_1, card_0, 0], [other, card_0, 0]]
        for left, right in zip(*(all_states(game, [hand]) for hand in hands), strict=True):
            assert left.played == right.played
            views = [game.view(state, SEATS[seat]) for state in (left, right)]
            shown = bool(left.won) and (reveal or left.played[0][-1] in ("check", "call"))
            if shown:
                assert views[0] != views[1]
            else:
                assert views[0] == views[1] or left.won != right.won


def test_later_deals_are_in_no_view():
    game = KuhnPoker(hands=3)
    state = played(game, [["K", "J", 0], ["Q", "K", 1], ["J", "Q", 0]], "bet", "fold")
    view = game.view(state, "player_0")
    assert [deal.cards for deal in view.deals] == [("K", None), ("Q", None)]


def test_relabelled_seats_and_deal_give_a_relabelled_transcript():
    swap = {"player_0": "player_1", "player_1": "player_0"}

    def relabelled(text):
        text = text.replace("player_0", "?").replace("player_1", "player_0").replace("?", "player_1")
        return re.sub(r"Cards: (player_1 .), (player_0 .)", r"Cards: \2, \1", text)  # always named in seat order

    for cards in itertools.permutations("JQK", 2):
        for moves in (("[check]", "[bet]", "[call]"), ("[bet]", "[fold]"), ("[check]", "[check]")):
            env = env_at([[*cards, 0]], *moves)
            mirrored = env_at([[cards[1], cards[0], 1]], *moves)
            for seat in SEATS:
                assert relabelled(env.observe(seat)["text"]) == mirrored.observe(swap[seat])["text"]
                assert env.returns[seat] == mirrored.returns[swap[seat]]
                assert env.role(seat) == mirrored.role(swap[seat])


@pytest.mark.parametrize("opener", [0, 1])
def test_roles_are_first_and_second(opener):
    game = KuhnPoker(first_player=opener, hands=2)
    state = game.start(game.deal(Chance(0)))
    assert game.role_of(game.view(state, SEATS[opener]), SEATS[opener]) == "first"
    assert game.role_of(game.view(state, SEATS[1 - opener]), SEATS[1 - opener]) == "second"


def test_facts_and_options():
    game = KuhnPoker(hands=2, deals="duplicate")
    assert game.options == {"hands": 2, "deals": "duplicate"}
    state = played(game, [["K", "J", 0], ["J", "K", 1]], *TWO_WINS)
    assert game.facts(state) == {"chips": {"player_0": 0, "player_1": 0}, "hands": 2}
    assert isinstance(game, Game)
