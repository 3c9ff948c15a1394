"""`GameEnv`: PettingZoo's bookkeeping, refusals, what seats read, endings, copies. Values by hand, from the rules."""

import copy
import hashlib
import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from pettingzoo.utils.env_logger import EnvLogger
from pettingzoo.utils.wrappers import OrderEnforcingWrapper

import lmgames
from lmgames import Game, GameEnv, IllegalMove, Said
from lmgames.parsing import extract_command, parse_integer


@dataclass(frozen=True)
class BidState:
    secrets: tuple[int | None, ...]
    bids: tuple[int | None, ...] = (None, None, None)
    rounds: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Bids(Game[BidState, int]):
    """Three bid at once, twice; in each round the highest bid takes 2 from the table, 1 from each other; ties: the first."""

    name: ClassVar[str] = "Bids"
    roles: ClassVar[tuple[str, ...]] = ("bidder",)
    simultaneous: ClassVar[bool] = True
    seats = ("bidder_0", "bidder_1", "bidder_2")
    payoffs = "zero_sum"
    return_bounds = (-2.0, 4.0)
    max_turns = 6

    def deal(self, chance):
        return [chance.integer("secret", index, high=99) for index in range(3)]

    def start(self, instance):
        if not isinstance(instance, list) or len(instance) != 3:
            raise ValueError(f"an instance is three numbers, not {instance!r}")
        return BidState(tuple(instance))

    def to_move(self, state):
        return self.seats if len(state.rounds) < 2 else ()

    def apply(self, state: BidState, moves: Mapping[str, int]):
        return replace(state, rounds=(*state.rounds, tuple(moves[seat] for seat in self.seats)))

    def returns(self, state):
        paid = dict.fromkeys(self.seats, 0.0)
        for bids in state.rounds:
            for index, seat in enumerate(self.seats):
                paid[seat] += 2.0 if index == bids.index(max(bids)) else -1.0
        return paid

    def view(self, state, seat):
        own = self.seats.index(seat)
        return replace(state, secrets=tuple(x if index == own else None for index, x in enumerate(state.secrets)))

    def rules(self, view, seat):
        return "Bid from 0 to 9 as [bid N]."

    def observe(self, view, seat):
        secret = view.secrets[self.seats.index(seat)]
        lines = [f"Your secret: {secret}."]
        return lines + [f"Round {number}: bids {bids}." for number, bids in enumerate(view.rounds, 1)]

    def legal_moves(self, view, seat):
        return None if seat in self.to_move(view) else ()

    def parse(self, view, seat, text):
        return parse_integer(extract_command(text, ("bid",), hint="Write [bid N].").args, 0, 9)

    def write(self, move):
        return f"[bid {move}]"

    def sample_reply(self, view, seat, chance):
        return self.write(chance.integer("bid", high=9))

    def noop(self, view, seat):
        return 0


def kuhn(*hands, **options):
    """A Kuhn match with these cards, each hand e.g. "KJ0": player_0 K, player_1 J, player_0 opens."""
    env = lmgames.make("KuhnPoker-v0", hands=len(hands), **options).unwrapped
    env.reset(seed=1, options={"instance": [[hand[0], hand[1], int(hand[2])] for hand in hands]})
    return env


def bids(**options):
    env = GameEnv(Bids(), **options)
    env.reset(seed=1, options={"instance": [10, 20, 30]})
    return env


def text(env, seat):
    return env.observe(seat)["text"]


def new_lines(env, seat, before):
    """Lines that the seat's text has gained; it must only have grown."""
    assert text(env, seat).startswith(before)
    return text(env, seat)[len(before) :].strip("\n").split("\n")


# PettingZoo's bookkeeping.


def test_rewards_and_turns_of_a_match_by_hand():
    env = kuhn("KJ0", "KJ1")
    seen = []
    for reply in ("[bet]", "[fold]", "[check]", "[bet]", "[call]", None, None):
        agent = env.agent_selection
        _, reward, terminated, truncated, _ = env.last()
        seen.append((agent[-1], reward, terminated, truncated))
        env.step(reply)
        if reply is not None:
            assert sum(env.rewards.values()) == 0.0
            assert set(env.rewards) == set(env.infos) == set(env.terminations) == set(env.truncations) == set(env.agents)
    assert seen == [
        ("0", 0.0, False, False),
        ("1", 0.0, False, False),  # folds: loses 1 chip
        ("1", -1.0, False, False),  # and opens the second hand
        ("0", 1.0, False, False),  # what the first hand brought since it last acted
        ("1", 0.0, False, False),
        ("0", 2.0, True, False),  # the second hand: ante 1 and bet 1
        ("1", -2.0, True, False),
    ]
    assert env.agents == []
    assert env.returns == {"player_0": 3.0, "player_1": -3.0}
    assert env.outcome == "rules"


def test_rewards_of_one_step_are_what_it_paid():
    env = kuhn("KJ0", "KJ1")
    paid = []
    for reply in ("[bet]", "[fold]", "[check]", "[bet]", "[call]"):
        env.step(reply)
        paid.append((env.rewards["player_0"], env._cumulative_rewards["player_0"], env._cumulative_rewards["player_1"]))
    assert paid == [(0.0, 0.0, 0.0), (1.0, 1.0, -1.0), (0.0, 1.0, 0.0), (0.0, 0.0, 0.0), (2.0, 2.0, -2.0)]


def test_simultaneous_replies_are_hidden_until_all_are_there():
    env = bids()
    before = {seat: text(env, seat) for seat in env.agents}
    assert env.waiting == ("bidder_0", "bidder_1", "bidder_2")
    env.step("[bid 3]")
    assert env.agent_selection == "bidder_1"
    assert env.waiting == ("bidder_1", "bidder_2")
    assert {seat: text(env, seat) for seat in env.agents} == before
    env.step("[bid 5]")
    assert {seat: text(env, seat) for seat in env.agents} == before
    assert env.rewards == dict.fromkeys(env.agents, 0.0)
    env.step("[bid 4]")
    assert env.rewards == {"bidder_0": -1.0, "bidder_1": 2.0, "bidder_2": -1.0}
    assert new_lines(env, "bidder_0", before["bidder_0"]) == ["Round 1: bids (3, 5, 4).", "Your turn."]
    assert env.agent_selection == "bidder_0"


def test_who_is_asked_at_once_is_asked_the_same_whoever_replied_first():
    env = bids()
    asked = {seat: env.observation(seat) for seat in env.waiting}
    assert len({observation.seed for observation in asked.values()}) == 3
    for seat in tuple(asked):
        assert env.observation(seat) == asked[seat]
        env.step("[bid 1]")


def test_info_is_the_acting_agents_and_fresh():
    env = kuhn("KJ0")
    assert env.infos["player_1"] == {}
    info = env.infos["player_0"]
    assert info == {
        "legal_moves": ["[check]", "[bet]"],
        "action_mask": ["[check]", "[bet]"],
        "role": "first",
        "turn": 0,
        "invalid_count": 0,
    }
    assert info["legal_moves"] is not info["action_mask"]
    info["legal_moves"].clear()
    info["action_mask"].append("[bluff]")
    info["role"] = "boss"
    assert env.observation("player_0").legal_moves == ("[check]", "[bet]")
    env.step("nonsense")
    again = env.infos["player_0"]
    assert again is not info
    assert (again["legal_moves"], again["action_mask"], again["role"]) == (
        ["[check]", "[bet]"],
        ["[check]", "[bet]"],
        "first",
    )
    assert (again["turn"], again["invalid_count"]) == (0, 1)
    env.step("[bet]")
    assert env.infos["player_1"]["legal_moves"] == ["[call]", "[fold]"]
    assert env.infos["player_1"]["turn"] == 1
    env.step("[fold]")
    ends = [env.infos[agent] for agent in env.agents]
    assert ends[0] == {
        "role": "first",
        "facts": {"chips": {"player_0": 1, "player_1": -1}, "hands": 1},
        "outcome": "rules",
        "invalid_count": 1,
    }
    assert ends[0]["facts"] is not ends[1]["facts"]
    assert ends[0]["facts"]["chips"] is not ends[1]["facts"]["chips"]


def test_where_moves_are_not_listed_the_mask_has_one_legal_reply():
    env = bids()
    info = env.infos["bidder_0"]
    assert info["legal_moves"] is None
    (reply,) = info["action_mask"]
    env.step(reply)
    assert env.record().turns[0].status == "ok"


def test_sampling_from_the_mask_plays_legal_games():
    env = lmgames.make("KuhnPoker-v0", hands=3)
    env.reset(seed=3)
    for agent in env.agent_iter():
        _, _, terminated, truncated, info = env.last()
        env.step(None if terminated or truncated else env.action_space(agent).sample(info["action_mask"]))
    assert all(turn.status == "ok" for turn in env.unwrapped.record().turns)


def test_spaces_belong_to_one_environment_and_hold_what_it_gives():
    one, other = kuhn("KJ0"), kuhn("KJ0")
    for agent in one.possible_agents:
        assert one.action_space(agent) is one.action_space(agent)
        assert one.action_space(agent) is not other.action_space(agent)
        assert one.observation_space(agent) is one.observation_space(agent)
        assert one.observe(agent) in one.observation_space(agent)
    assert one.state() in one.state_space


# Reset and seeds.


def deals(env, count, seed=None):
    env.reset(seed=seed)
    found = [(env.seed, env.instance)]
    for _ in range(count - 1):
        env.reset()
        found.append((env.seed, env.instance))
    return found


def test_unseeded_resets_continue_the_stream_of_the_last_seed():
    env, other = (lmgames.make("KuhnPoker-v0", hands=5).unwrapped for _ in range(2))
    first = deals(env, 6, seed=7)
    assert deals(env, 6, seed=7) == deals(other, 6, seed=7) == first
    assert len({seed for seed, _ in first}) == 6
    assert deals(other, 6, seed=8) != first
    env.reset(seed=first[3][0])
    assert env.instance == first[3][1]  # each of them can be played again by its own seed


def test_environments_never_seeded_differ():
    found = [deals(lmgames.make("KuhnPoker-v0").unwrapped, 1)[0][0] for _ in range(5)]
    assert len(set(found)) == 5


@pytest.mark.parametrize("seed", [0, -3, 2**64, 10**30])
def test_any_integer_is_a_seed(seed):
    env = lmgames.make("KuhnPoker-v0").unwrapped
    assert deals(env, 3, seed=seed) == deals(env, 3, seed=seed)
    assert env.record().to_json()


def test_a_pinned_instance_is_played_and_unknown_options_are_ignored():
    env = lmgames.make("KuhnPoker-v0").unwrapped
    for seed in range(10):
        env.reset(seed=seed, options={"instance": [["J", "Q", 0]], "options": 1})
        assert env.instance == [["J", "Q", 0]]
        assert "Your card: J." in text(env, "player_0")
    with pytest.raises(ValueError, match="list of 1 hands"):
        env.reset(options={"instance": [["J", "Q", 0], ["J", "Q", 0]]})
    with pytest.raises(ValueError, match="is not a hand"):
        env.reset(options={"instance": [["J", "J", 0]]})
    with pytest.raises(ValueError, match="no option 'instanse'; did you mean 'instance'"):
        env.reset(options={"instanse": [["J", "Q", 0]]})


def test_a_seed_that_is_no_integer_is_refused():
    env = lmgames.make("KuhnPoker-v0")
    for seed in (2.7, "2", [2]):
        with pytest.raises(ValueError, match="must be an integer"):
            env.reset(seed=seed)
    env.reset(seed=np.int64(5))
    assert type(env.seed) is int


def test_nothing_is_left_of_the_game_before():
    env = kuhn("KJ0", share="public")
    fresh = text(env, "player_0"), env.record().to_json()
    for reply in ("secret plan", "my plan is to [bet]", "[call]"):
        env.step(reply)
    env.reset(seed=1, options={"instance": [["K", "J", 0]]})
    assert (text(env, "player_0"), env.record().to_json()) == fresh


# Refusals.


def test_retry_forfeit_is_the_default_and_tells_the_offender_alone():
    env = kuhn("KJ0")
    before = {seat: text(env, seat) for seat in env.agents}
    env.step("I think I bet")
    assert env.agent_selection == "player_0"
    assert new_lines(env, "player_0", before["player_0"]) == [
        'Refused (no_command): No move was found in "I think I bet". Write [check] or [bet]. 1 more attempt.'
    ]
    assert text(env, "player_1") == before["player_1"]
    assert env.rewards == {"player_0": 0.0, "player_1": 0.0}
    env.step("[call]")
    assert env.outcome == "rules"  # in Kuhn Poker the hand is forfeited, which the rules score: the ante
    assert env.returns == {"player_0": -1.0, "player_1": 1.0}
    assert new_lines(env, "player_1", before["player_1"]) == ["player_0 gave no legal move.", "player_1 wins 1 chip."]
    assert "call" not in text(env, "player_1").split("You are player_1.")[1]
    assert [turn.status for turn in env.record().turns] == ["refused", "forfeit"]
    assert [turn.code for turn in env.record().turns] == ["no_command", "illegal_now"]


def test_forfeit_gives_no_second_attempt():
    env = kuhn("KJ0", invalid_policy="forfeit")
    env.step("hm")
    assert env.returns == {"player_0": -1.0, "player_1": 1.0}
    assert all(env.terminations.values())


def test_a_forfeited_hand_costs_its_stake_and_the_match_goes_on():
    env = kuhn("KJ0", "KJ1", "KJ0")
    for reply in ("[bet]", "what?", "what?"):
        env.step(reply)
    assert env.rewards == {"player_0": 1.0, "player_1": -1.0}
    assert env.outcome == ""
    assert env.agent_selection == "player_1"  # opens hand 2
    for reply in ("[bet]", "what?", "what?"):
        env.step(reply)
    assert env.rewards == {"player_0": -1.0, "player_1": 1.0}
    assert env.infos[env.agent_selection]["invalid_count"] == 2
    for reply in ("[bet]", "[call]"):
        env.step(reply)
    assert env.returns == {"player_0": 2.0, "player_1": -2.0}


def test_attempts_start_anew_each_turn():
    env = kuhn("KJ0", retries=2)
    for reply in ("a", "b", "[check]", "a", "b", "[bet]", "a", "b", "[fold]"):
        assert env.outcome == ""
        env.step(reply)
    assert env.outcome == "rules"
    assert {agent: env.infos[agent]["invalid_count"] for agent in env.agents} == {"player_0": 4, "player_1": 2}
    assert "2 more attempts." in text(env, "player_0")
    assert "1 more attempt." in text(env, "player_0")


def test_retry_random_plays_a_legal_move_fixed_by_the_seed():
    played = set()
    for seed in range(12):
        moves = set()
        for _ in range(2):
            env = lmgames.make("KuhnPoker-v0", invalid_policy="retry_random").unwrapped
            env.reset(seed=seed)
            before = text(env, "player_0")
            env.step("a")
            env.step("b")
            turn = env.record().turns[1]
            assert (turn.status, turn.code, turn.reply) == ("replaced", "no_command", "b")
            assert f"Played for you: {turn.move}" in new_lines(env, "player_0", before)
            assert f"player_0> {turn.move}" in text(env, "player_1")
            assert "Played for you" not in text(env, "player_1")
            moves.add(turn.move)
        assert len(moves) == 1
        played |= moves
    assert played == {"[check]", "[bet]"}


def test_retry_noop_does_least():
    env = kuhn("KJ0", invalid_policy="retry_noop", retries=0)
    env.step("a")
    assert env.record().turns[0].move == "[check]"
    env.step("[bet]")
    env.step("a")
    assert env.record().turns[2].move == "[fold]"
    assert env.returns == {"player_0": -1.0, "player_1": 1.0}


def test_retry_noop_needs_a_game_with_such_a_move():
    class Strict(Bids):
        noop = Game.noop

    with pytest.raises(ValueError, match="has no move that does nothing"):
        GameEnv(Strict(), invalid_policy="retry_noop")


def test_a_forfeited_game_of_three_pays_the_others_alike():
    env = bids()
    env.step("[bid 3]")
    before = {seat: text(env, seat) for seat in env.agents}
    env.step("x")
    env.step("x")
    assert env.outcome == "forfeit"
    assert env.returns == {"bidder_0": 0.5, "bidder_1": -1.0, "bidder_2": 0.5}
    assert all(env.terminations.values())
    assert not any(env.truncations.values())
    for seat in ("bidder_0", "bidder_2"):
        assert new_lines(env, seat, before[seat]) == ["bidder_1 gave no legal reply and forfeits the game."]
    assert env.infos["bidder_0"]["facts"] == {}


def test_a_forfeit_after_a_round_gives_up_what_was_won():
    env = bids(invalid_policy="forfeit")
    for reply in ("[bid 9]", "[bid 1]", "[bid 1]"):
        env.step(reply)
    assert env.returns == {"bidder_0": 2.0, "bidder_1": -1.0, "bidder_2": -1.0}
    env.step("x")
    assert env.rewards == {"bidder_0": -3.0, "bidder_1": 1.5, "bidder_2": 1.5}
    assert env.returns == {"bidder_0": -1.0, "bidder_1": 0.5, "bidder_2": 0.5}


def test_a_forfeit_that_the_rules_score_replaces_the_round_begun():
    class Lenient(Bids):
        def forfeit(self, state, seat):
            return replace(state, rounds=(*state.rounds, (0, 0, 0)))

    env = GameEnv(Lenient(), invalid_policy="forfeit", share="public")
    env.reset(seed=1, options={"instance": [10, 20, 30]})
    env.step("never told [bid 9]")
    env.step("x")
    assert env.outcome == ""
    assert env.waiting == ("bidder_0", "bidder_1", "bidder_2")
    assert "never told" not in text(env, "bidder_2")
    for reply in ("[bid 1]", "[bid 2]", "[bid 3]"):
        env.step(reply)
    assert env.game_state.rounds == ((0, 0, 0), (1, 2, 3))


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (None, "type"),
        (3, "type"),
        (b"[bet]", "type"),
        (["[bet]"], "type"),
        ({"public": 1}, "type"),
        ({1: 2}, "type"),
        (object(), "type"),
        ("", "empty"),
        ("<think>[bet]", "empty"),
        ("x" * 30_000, "too_long"),
        ("[bet] [check]", "ambiguous"),
        ("[bet 2]", "bad_args"),
        ("[fold]", "illegal_now"),
        ("\ud800\x00[call]", "illegal_now"),
    ],
)
def test_no_reply_raises(reply, code):
    env = kuhn("KJ0")
    env.step(reply)
    assert env.agent_selection == "player_0"
    assert env.record().turns[0].code == code
    assert f"Refused ({code})" in text(env, "player_0")
    assert env.observe("player_0") in env.observation_space("player_0")


@pytest.mark.parametrize("env_id", ["TicTacToe-v0", "KuhnPoker-v0", "WhoIsTheSpy-v0"])
def test_the_text_of_a_legal_move_is_read_as_with_words_around_it(env_id):
    bare, wordy = (lmgames.make(env_id, share="move") for _ in range(2))
    bare.reset(seed=3)
    wordy.reset(seed=3)
    while not bare.outcome:
        info = bare.infos[bare.agent_selection]
        reply = info["action_mask"][-1]
        bare.step(reply)
        wordy.step(reply if info["legal_moves"] is None else f"I play {reply}")
        assert wordy.game_state == bare.game_state
    assert [turn.move for turn in wordy.turns] == [turn.move for turn in bare.turns]


@pytest.mark.parametrize("limit", [{"max_raw_chars": 4}, {"max_public_chars": 4}])
def test_the_text_of_a_legal_move_is_held_to_the_limits(limit):
    env = kuhn("KJ0", **limit)
    env.step("[bet]")
    assert env.turns[0].code == "too_long"


def test_reasoning_is_private_also_in_raw_replies():
    env = kuhn("KJ0", share="public")
    env.step("<think>I have the king</think>I feel lucky: [bet]")
    assert "player_0> I feel lucky: [bet]" in text(env, "player_1")
    assert "king" not in text(env, "player_1").split("You are player_1.")[1]


def test_a_split_reply_is_its_public_part():
    env = kuhn("KJ0", share="raw")
    env.step({"private": "I have the king", "public": "lucky [bet]"})
    assert env.record().turns[0].move == "[bet]"
    assert "player_0> lucky [bet]" in text(env, "player_1")
    assert "I have the king" not in text(env, "player_1")


# What seats read.


def test_the_text_of_a_hand():
    env = kuhn("KJ0", show_rules=False)
    assert text(env, "player_0") == (
        "You are player_0.\nplayer_0 acts first. Your card: K.\nPot: 2 chips.\nYour turn. Legal moves: [check] [bet]"
    )
    assert text(env, "player_1") == "You are player_1.\nplayer_0 acts first. Your card: J."
    env.step("[bet]")
    assert text(env, "player_0").endswith("Legal moves: [check] [bet]\nplayer_0> [bet]")
    assert text(env, "player_1") == (
        "You are player_1.\nplayer_0 acts first. Your card: J.\nplayer_0> [bet]\nPot: 3 chips.\n"
        "Your turn. Legal moves: [call] [fold]"
    )


def test_texts_only_grow_and_reading_changes_nothing():
    env = lmgames.make("KuhnPoker-v0", hands=4, invalid_policy="retry_random", share="public").unwrapped
    env.reset(seed=2)
    silent = lmgames.make("KuhnPoker-v0", hands=4, invalid_policy="retry_random", share="public").unwrapped
    silent.reset(seed=2)
    before = dict.fromkeys(env.agents, "")
    replies = iter(["hi", "there", "[check] ok", "x", "[fold]", "[bet]", "y", "z"] * 4)
    while not env.outcome:
        for agent in env.agents:
            assert text(env, agent) == text(env, agent)
            assert text(env, agent).startswith(before[agent])
            before[agent] = text(env, agent)
        reply = next(replies)
        env.step(reply)
        silent.step(reply)
    assert env.record() == silent.record()
    assert {agent: text(silent, agent) for agent in env.agents} == {agent: text(env, agent) for agent in env.agents}


def test_rules_can_be_left_out():
    with_rules, without = kuhn("KJ0"), kuhn("KJ0", show_rules=False)
    rules = with_rules.game.rules(with_rules.game_state, "player_0")
    assert text(with_rules, "player_0") == f"{rules}\n{text(without, 'player_0')}"


@pytest.mark.parametrize(
    ("hint", "line"),
    [("list", "Your turn. Legal moves: [check] [bet]"), ("count", "Your turn. Legal moves: 2."), ("none", "Your turn.")],
)
def test_legal_hint(hint, line):
    env = kuhn("KJ0", legal_hint=hint)
    assert text(env, "player_0").split("\n")[-1] == line
    assert env.infos["player_0"]["legal_moves"] == ["[check]", "[bet]"]


@pytest.mark.parametrize(
    ("share", "lines"),
    [
        ("move", ["player_0> [bet]"]),
        ("public", ["player_0> trust me", "player_0> [bet]", "player_0> [bet]"]),
        ("raw", ["player_0> < think>king< /think>trust me", "player_0> [bet]", "player_0> [bet]"]),
    ],
)
def test_what_others_see_of_a_reply(share, lines):
    env = kuhn("KJ0", share=share)
    before = text(env, "player_1")
    env.step("<think>king</think>trust me\n[bet]")
    assert new_lines(env, "player_1", before)[: len(lines)] == lines


@pytest.mark.parametrize("clip", ["head", "tail"])
def test_what_others_see_of_a_raw_reply_is_clipped(clip):
    env = kuhn("KJ0", share="raw", clip=clip)
    before = len(env.observe("player_1")["text"])
    env.step("[check]" + "x" * 300_000 + "[check]")
    assert 20_000 <= len(env.observe("player_1")["text"]) - before < 21_000


def test_words_at_once_are_shared_when_all_are_there():
    env = bids(share="public")
    before = {seat: text(env, seat) for seat in env.agents}
    env.step("high [bid 9]")
    env.step("low [bid 1]")
    assert {seat: text(env, seat) for seat in env.agents} == before
    env.step("mid [bid 5]")
    assert new_lines(env, "bidder_0", before["bidder_0"]) == [
        "bidder_1> low [bid 1]",
        "bidder_2> mid [bid 5]",
        "Round 1: bids (9, 1, 5).",
        "Your turn.",
    ]


def test_lines_keep_the_speaker_apart():
    env = kuhn("KJ0", show_rules=False)
    env.step("[bet]")
    assert env.lines("player_1")[:3] == [
        "You are player_1.",
        "player_0 acts first. Your card: J.",
        Said("player_0", "[bet]"),
    ]


def test_observation_has_what_a_player_needs():
    env = kuhn("KJ0")
    observation = env.observation("player_0")
    assert observation.text == text(env, "player_0")
    assert (observation.seat, observation.role, observation.turn) == ("player_0", "first", 0)
    assert observation.legal_moves == ("[check]", "[bet]")
    assert observation.env_id == "lmgames/KuhnPoker-v0"
    assert observation.view == env.game.view(env.game_state, "player_0")
    assert observation.view.deals[0].cards == ("K", None)
    seeds = {observation.seed}
    env.step("x")
    seeds.add(env.observation("player_0").seed)
    env.step("[check]")
    seeds |= {env.observation(agent).seed for agent in env.agents}
    assert len(seeds) == 4  # by seat, turn and attempt
    assert env.observation("player_0").legal_moves == ()


# Endings.


def test_the_safety_limit_truncates():
    env = kuhn("KJ0", "KJ1", max_env_steps=3)
    for reply in ("[bet]", "[fold]", "[check]"):
        assert env.outcome == ""
        env.step(reply)
    assert env.outcome == "limit"
    assert all(env.truncations.values())
    assert not any(env.terminations.values())
    assert env.returns == {"player_0": 1.0, "player_1": -1.0}
    assert not text(env, "player_0").endswith("Legal moves: [check] [bet]")  # nothing is asked any more
    assert env.infos["player_0"]["facts"] == {}


def test_an_end_by_the_rules_at_the_limit_is_no_truncation():
    env = kuhn("KJ0", max_env_steps=2)
    env.step("[bet]")
    env.step("[fold]")
    assert env.outcome == "rules"
    assert not any(env.truncations.values())


def test_the_default_limit_is_never_reached():
    env = lmgames.make("KuhnPoker-v0", hands=3, retries=3, invalid_policy="retry_noop").unwrapped
    for seed in range(20):
        env.reset(seed=seed)
        while not env.outcome:
            env.step("garbage")
        assert env.outcome == "rules"


def test_stepping_the_dead():
    env = kuhn("KJ0")
    env.step("[bet]")
    env.step("[fold]")
    assert env.waiting == ()
    with pytest.raises(ValueError, match="the only valid action is None"):
        env.step("[bet]")
    env.step(None)
    assert env.agents == ["player_1"]
    env.step(None)
    assert env.agents == []
    assert env.infos == env.rewards == env.terminations == {}


# The order of calls, the same whether PettingZoo's wrapper is around the environment or not.


def wrapped():
    return OrderEnforcingWrapper(lmgames.make("KuhnPoker-v0"))


def bare():
    return lmgames.make("KuhnPoker-v0")


@pytest.mark.parametrize("made", [bare, wrapped])
def test_nothing_of_an_episode_is_there_before_reset(made):
    env = made()
    for name in ("agents", "num_agents", "agent_selection", "rewards", "terminations", "truncations", "infos"):
        assert not hasattr(env, name)
        with pytest.raises(AttributeError, match=f"{name} cannot be accessed before reset"):
            getattr(env, name)
    for call in (lambda: env.step("[bet]"), lambda: env.observe("player_0"), env.render, env.state, env.agent_iter):
        with pytest.raises(AssertionError, match=r"reset\(\) needs to be called before"):
            call()
    with pytest.raises(AttributeError, match="agent_selection cannot be accessed before reset"):
        env.last()


@pytest.mark.parametrize("name", ["seed", "instance", "outcome", "turns", "returns", "waiting", "game_state"])
def test_nor_is_anything_beyond_pettingzoo(name):
    env = bare()
    with pytest.raises(AttributeError, match=f"{name} cannot be accessed before reset"):
        getattr(env, name)
    env.reset(seed=0)
    getattr(env, name)


def test_what_does_not_exist_is_said_not_to():
    env = bare()
    for _ in range(2):
        with pytest.raises(AttributeError, match="'GameEnv' object has no attribute 'agent_selected'"):
            _ = env.agent_selected
        env.reset(seed=0)


def test_copies_made_before_reset_can_be_reset():
    for env in (copy.deepcopy(bare()), pickle.loads(pickle.dumps(bare()))):  # noqa: S301 -- our own bytes
        assert not hasattr(env, "agents")
        env.reset(seed=0)
        assert env.agent_selection == "player_0"


@pytest.mark.parametrize("made", [bare, wrapped])
def test_each_agent_of_agent_iter_must_be_stepped(made):
    env = made()
    env.reset(seed=0)
    with pytest.raises(AssertionError, match="need to call step"):
        for _ in env.agent_iter():
            pass
    env.reset(seed=0)
    assert [env.step("[check]") for _ in env.agent_iter(max_iter=2)] == [None, None]


@pytest.mark.parametrize("made", [bare, wrapped])
def test_stepping_when_nobody_is_left_warns_and_changes_nothing(made):
    env = made()
    env.reset(seed=0)
    for reply in ("[check]", "[check]", None, None):
        env.step(reply)
    before = env.unwrapped.record()
    EnvLogger.flush()
    env.step("[bet]")
    assert [message for message in EnvLogger.mqueue if "Should reset() first" in message]
    assert env.unwrapped.record() == before
    assert env.agents == []
    EnvLogger.flush()


# What is recorded of the texts.


def test_the_hash_of_the_prompts_is_a_chain_over_what_each_seat_newly_read():
    env = kuhn("KJ0", "QJ1")
    digest, read = b"", dict.fromkeys(env.agents, "")
    for reply in ("[bet]", "what?", "[fold]", "[check]", "[check]"):
        seat = env.agent_selection
        asked = text(env, seat)
        assert asked.startswith(read[seat])
        digest = hashlib.sha256(digest + asked[len(read[seat]) :].encode()).digest()
        read[seat] = asked
        env.step(reply)
        assert env.record().prompts_sha256 == digest.hex()
    assert env.outcome == "rules"


def test_render_and_close(capsys):
    env = kuhn("KJ0", render_mode="ansi")
    assert env.render() == f"[player_0]\n{text(env, 'player_0')}"
    env.step("[bet]")
    assert env.render().startswith("[player_1]\n")
    env.step("[call]")
    assert env.render() == "player_0: +2\nplayer_1: -2"
    env.close()
    env.close()
    env = kuhn("KJ0", render_mode="human")
    capsys.readouterr()
    assert env.render() is None
    assert capsys.readouterr().out.startswith("[player_0]\nYou play Kuhn Poker")


# Copies.


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])  # noqa: S301
def test_a_copy_goes_on_alike_and_leaves_the_original_alone(duplicate):
    replies = ["[bet]", "hm", "[call]", "[check]", "hm", "hm", "[bet]", "[fold]", "[bet]", "[call]"]
    for made_after in range(len(replies)):
        env = kuhn("KJ0", "JQ1", "QK0", "KQ1", invalid_policy="retry_random", share="public")
        for reply in replies[:made_after]:
            env.step(reply)
        at_copy = json.dumps(env.record().to_json()), text(env, "player_0")
        again = duplicate(env)
        for reply in replies[made_after:]:
            if not again.outcome:
                again.step(reply)
        assert (json.dumps(env.record().to_json()), text(env, "player_0")) == at_copy
        for reply in replies[made_after:]:
            if not env.outcome:
                env.step(reply)
        assert env.record() == again.record()
        assert env.rewards == again.rewards
        assert env.infos == again.infos
        assert {agent: text(env, agent) for agent in env.agents} == {agent: text(again, agent) for agent in again.agents}


def test_a_copy_in_the_middle_of_a_simultaneous_round():
    env = bids()
    env.step("[bid 2]")
    again = pickle.loads(pickle.dumps(env))  # noqa: S301
    for each in (env, again):
        each.step("[bid 3]")
        each.step("[bid 1]")
    assert env.rewards == again.rewards == {"bidder_0": -1.0, "bidder_1": 2.0, "bidder_2": -1.0}


# Options.


@pytest.mark.parametrize("share", ["public", "raw"])
def test_games_with_free_words_say_themselves_what_is_heard(share):
    """Sharing replies as they are would show secret proposals and ballots."""
    with pytest.raises(ValueError, match="leave it at 'move'"):
        lmgames.make("DealOrNoDeal-v0", share=share)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("invalid_policy", "retry", "'retry_forfeit'"),
        ("retries", -1, "at least 0"),
        ("retries", True, "an integer"),
        ("legal_hint", "all", "'list', 'count', 'none'"),
        ("share", "all", "'move', 'public', 'raw'"),
        ("clip", "middle", "'head'"),
        ("show_rules", "yes", "True, False"),
        ("render_mode", "rgb_array", "'ansi'"),
        ("max_raw_chars", 0, "at least 1"),
        ("max_public_chars", 1.5, "an integer"),
        ("max_env_steps", 0, "at least 1"),
    ],
)
def test_values_that_are_none(option, value, message):
    with pytest.raises(ValueError, match=message) as caught:
        GameEnv(Bids(), **{option: value})
    assert f"{option}={value!r}" in str(caught.value)


def test_options_are_those_that_differ_from_the_default():
    assert GameEnv(Bids()).options == {}
    assert GameEnv(Bids(), retries=1, share="raw", legal_hint="none").options == {"share": "raw", "legal_hint": "none"}
    assert GameEnv(Bids(), max_env_steps=4, render_mode="ansi").options == {"max_env_steps": 4}


def test_an_illegal_move_of_a_bug_is_not_hidden():
    class Broken(Bids):
        def parse(self, view, seat, text):
            raise KeyError("a bug")

    env = GameEnv(Broken())
    env.reset(seed=0)
    with pytest.raises(KeyError, match="a bug"):
        env.step("[bid 1]")


def test_the_sample_game_refuses():
    env = bids()
    with pytest.raises(IllegalMove):
        env.game.parse(env.game_state, "bidder_0", "[bid 10]")
