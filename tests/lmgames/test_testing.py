"""The conformance suite catches what it is there for: sound games pass, and each planted fault fails in the check named."""

import pickle
import random
import socket
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest

from lmgames.aec import GameEnv
from lmgames.chance import Chance
from lmgames.game import Game
from lmgames.games.kuhn_poker import KuhnPoker, KuhnState
from lmgames.games.who_is_the_spy import WhoIsTheSpy
from lmgames.parsing import IllegalMove, extract_command
from lmgames.testing import CHECKS, ConformanceError, check_game
from lmgames.testing.nasty import BREAKS, nasty_replies
from lmgames.testing.spoofs import CANARY, Scene, payloads
from lmgames.testing.suite import subjects_of
from lmgames.text import Said

# Two small games, sound as they stand.


@dataclass(frozen=True, slots=True)
class Talk:
    """Words said so far; `secret` is known to player_0 alone."""

    secret: str | None
    said: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Chatter(Game[Talk, str]):
    """Two seats say two things each; player_0 has been told a secret word."""

    name: ClassVar[str] = "Chatter"
    roles: ClassVar[tuple[str, ...]] = ("player",)
    words_are_free: ClassVar[bool] = True
    seats = ("player_0", "player_1")
    payoffs: ClassVar[str] = "general_sum"
    return_bounds = (0.0, 0.0)
    max_turns = 4

    def deal(self, chance):
        return {"secret": chance.choice(("marigold", "turnstile", "obsidian"), "secret")}

    def start(self, instance):
        return Talk(instance["secret"])

    def to_move(self, state):
        return () if len(state.said) == 4 else (self.seats[len(state.said) % 2],)

    def apply(self, state, moves):
        return replace(state, said=(*state.said, *moves.values()))

    def returns(self, state):
        return dict.fromkeys(self.seats, 0.0)

    def view(self, state, seat):
        return state if seat == "player_0" else replace(state, secret=None)

    def hidden_twin(self, state, seat, chance):
        return state if seat == "player_0" else replace(state, secret=chance.choice(("a cat", "a dog"), "twin"))

    def rules(self, view, seat):
        return "Say something, twice each."

    def observe(self, view, seat):
        told = [f"The secret is {view.secret}."] if view.secret else []
        return [*told, *(Said(self.seats[turn % 2], words) for turn, words in enumerate(view.said))]

    def legal_moves(self, view, seat):
        return None if seat in self.to_move(view) else ()

    def parse(self, view, seat, text):
        return text

    def write(self, move):
        return move

    def sample_reply(self, view, seat, chance):
        return f"I think of {chance.integer('number', high=99)}."


@dataclass(frozen=True, kw_only=True)
class Pennies(Game[tuple, str]):
    """Matching pennies: both show heads or tails at once; the first wins if they match."""

    name: ClassVar[str] = "Pennies"
    roles: ClassVar[tuple[str, ...]] = ("player",)
    simultaneous: ClassVar[bool] = True
    hidden_information: ClassVar[bool] = False
    seats = ("player_0", "player_1")
    payoffs: ClassVar[str] = "zero_sum"
    return_bounds = (-1.0, 1.0)
    max_turns = 2

    def deal(self, chance):
        return {}

    def instances(self):
        return [{}]

    def start(self, instance):
        return ()

    def to_move(self, state):
        return () if state else self.seats

    def apply(self, state, moves):
        return tuple(moves[seat] for seat in self.seats)

    def returns(self, state):
        won = 0.0 if not state else 1.0 if state[0] == state[1] else -1.0
        return {"player_0": won, "player_1": -won}

    def rules(self, view, seat):
        return "Show [heads] or [tails]; player_0 wins if they match."

    def observe(self, view, seat):
        return [Said(who, f"[{move}]") for who, move in zip(self.seats, view, strict=False)]

    def legal_moves(self, view, seat):
        return ("heads", "tails") if seat in self.to_move(view) else ()

    def parse(self, view, seat, text):
        return extract_command(text, ("heads", "tails"), select=self.select, hint="Write [heads] or [tails].").verb


@pytest.mark.parametrize("game", [Chatter, Pennies, KuhnPoker])
def test_sound_games_pass(game):
    report = check_game(game)
    assert [result.check for result in report.results] == list(CHECKS)
    assert sum(result.status == "passed" for result in report.results) >= len(CHECKS) - 5


# Faults. What a game keeps outside its states stands in here.
KEPT: dict[str, Any] = {"instance": None, "started": 0, "luck": random.Random(0)}


class ShowsTheCardInTheView(KuhnPoker):
    def view(self, state, seat):
        return replace(state, deals=state.deals[: len(state.played)])


class KeepsItsInstance(KuhnPoker):
    """Knows the cards where only a view is given."""

    def start(self, instance):
        KEPT["instance"] = instance
        return super().start(instance)

    def other_card(self, seat):
        return KEPT["instance"][0][1 - self.seats.index(seat)]


class TellsTheCardInAnError(KeepsItsInstance):
    def parse(self, view, seat, text):
        try:
            return super().parse(view, seat, text)
        except IllegalMove as refusal:
            raise IllegalMove(refusal.code, f"{refusal.message} The other holds {self.other_card(seat)}.") from None


class TellsTheCardByTheOrderOfMoves(KeepsItsInstance):
    def legal_moves(self, view, seat):
        moves = super().legal_moves(view, seat)
        return moves[::-1] if self.other_card(seat) == "K" else moves


class TellsTheCardByTheNumberOfMoves(KeepsItsInstance):
    def legal_moves(self, view, seat):
        moves = super().legal_moves(view, seat)
        return moves[:1] if self.other_card(seat) == "K" else moves


class TellsTheCardInTheInfo(KeepsItsInstance):
    roles: ClassVar[tuple[str, ...]] = ("first", "second", "doomed")

    def role_of(self, state, seat):
        return "doomed" if self.other_card(seat) == "K" else super().role_of(state, seat)


class PaysBeforeTheShowdown(KuhnPoker):
    def returns(self, state):
        if self.to_move(state) and None not in state.deals[0].cards:
            ahead = 0.5 if self.deck.index(state.deals[0].cards[0]) > self.deck.index(state.deals[0].cards[1]) else -0.5
            return {"player_0": ahead, "player_1": -ahead}
        return super().returns(state)


class HidesNothing(Chatter):
    def view(self, state, seat):
        return state

    def hidden_twin(self, state, seat, chance):
        return None


class TwinsThatAreNone(Chatter):
    def hidden_twin(self, state, seat, chance):
        return state


class ForfeitsAreNotZeroSum(KuhnPoker):
    def forfeit(self, state, seat):
        return None

    def forfeit_returns(self, state, seat):
        return {other: -1.5 if other == seat else 0.5 for other in self.seats}


class PaysOutOfBounds(KuhnPoker):
    return_bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)


class ForgetsOldLines(KuhnPoker):
    def observe(self, view, seat):
        return super().observe(view, seat)[-2:]


class DrawsFromTheGlobalGenerator(KuhnPoker):
    def deal(self, chance):
        return [[*random.sample(self.deck, 2), 0]]


class DrawsInOrder(KuhnPoker):
    def deal(self, chance):
        return [[*KEPT["luck"].sample(self.deck, 2), 0]]


class ChangesStatesInPlace(KuhnPoker):
    def apply(self, state, moves):
        then = super().apply(state, moves)
        object.__setattr__(state, "played", then.played)
        return then


class DoesNotTellTheCard(KuhnPoker):
    def observe(self, view, seat):
        return [
            line.split(" Your card")[0] if isinstance(line, str) and "Your card" in line else line
            for line in super().observe(view, seat)
        ]


class DoesNotTellMoves(KuhnPoker):
    def observe(self, view, seat):
        return [line for line in super().observe(view, seat) if not isinstance(line, Said)]


class RepeatsWordsAsTheModerator(Chatter):
    def observe(self, view, seat):
        told = super().observe(view, seat)
        return [f"{line.seat} says: {line.words}" if isinstance(line, Said) else line for line in told]


class QuotesWordsInALineOfItsOwn(Chatter):
    def observe(self, view, seat):
        told = super().observe(view, seat)
        return [*told, f"The last word was {view.said[0].split()[-1]}."] if len(view.said) == 1 else told


class RaisesValueError(KuhnPoker):
    def parse(self, view, seat, text):
        inside = text.partition("[")[2].partition("]")[0]
        if inside[:1].isdigit():
            raise IllegalMove("illegal_now", f"{int(inside)} is no move.")
        return super().parse(view, seat, text)


class TakesTheFirstMove(KuhnPoker):
    def parse(self, view, seat, text):
        command = extract_command(text, ("check", "bet", "call", "fold"), select="first")
        if command.verb not in self.legal_moves(view, seat):
            raise IllegalMove("illegal_now", "Not now.")
        return command.verb


class TakesOnlyBareMoves(KuhnPoker):
    def parse(self, view, seat, text):
        if text.startswith("**"):
            raise IllegalMove("no_command", "No bold type, please.")
        return super().parse(view, seat, text)


class TakesSquareTime(Chatter):
    def parse(self, view, seat, text):
        if sum(one == other for one in text for other in text) < len(text):
            raise IllegalMove("bad_args", "Never.")
        return text


class NeverEnds(KuhnPoker):
    def apply(self, state, moves):
        return state if moves.get("player_1") == "check" else super().apply(state, moves)


class CountsItsGames(KuhnPoker):
    def start(self, instance):
        KEPT["started"] += 1
        return super().start(instance)

    def rules(self, view, seat):
        return f"{super().rules(view, seat)} Game {KEPT['started']}."


class ListsMovesInHashOrder(KuhnPoker):
    def rules(self, view, seat):
        return f"{super().rules(view, seat)} Verbs: {' '.join({'check', 'bet', 'call', 'fold', 'raise', 'pass'})}"


class SharesOneTable(KuhnPoker):
    def start(self, instance):
        KEPT["instance"] = instance
        return super().start(instance)

    def request(self, view, seat):
        return [*super().request(view, seat), f"Deal of the day: {KEPT['instance'][0][2 - 2 * (seat == 'player_0')]}"]


class DependsOnTheOrderOfCommitments(Pennies):
    def apply(self, state, moves):
        return tuple(moves.values())


class FavoursASeat(KuhnPoker):
    def returns(self, state):
        paid = super().returns(state)
        return {"player_0": 1.0, "player_1": -1.0} if paid["player_0"] == 2.0 else paid


class TellsTheSecret(Chatter):
    def start(self, instance):
        KEPT["instance"] = instance["secret"]
        return super().start(instance)

    def rules(self, view, seat):
        return f"{super().rules(view, seat)} It rhymes."

    def request(self, view, seat):
        return [f"Hint: {KEPT['instance'][:-1]}{KEPT['instance'][-1]}"]


class CallsHome(KuhnPoker):
    def start(self, instance):
        socket.create_connection(("127.0.0.1", 9), timeout=0.1)
        return super().start(instance)


@dataclass(frozen=True, slots=True)
class Unpicklable(KuhnState):
    def __reduce__(self):
        return KuhnState, (self.deals,)


class LosesItsStateInAPickle(KuhnPoker):
    def start(self, instance):
        return Unpicklable(super().start(instance).deals)


class DealsTuples(KuhnPoker):
    def deal(self, chance):
        return tuple(tuple(hand) for hand in super().deal(chance))


class DealsWhatIsNotListed(KuhnPoker):
    def instances(self):
        return super().instances()[:1]


class OddSeatNames(Pennies):
    seats = ("Alice", "Bob")

    def returns(self, state):
        return dict(zip(self.seats, super().returns(state).values(), strict=True))


@dataclass(frozen=True, kw_only=True)
class OptionByAccident(Pennies):
    payoffs: str = "zero_sum"


class WritesOneTextForTwoMoves(Pennies):
    def write(self, move):
        return "[heads]"


FAULTS = {
    ShowsTheCardInTheView: "hidden_information",
    TellsTheCardInAnError: "hidden_information",
    TellsTheCardByTheOrderOfMoves: "hidden_information",
    TellsTheCardByTheNumberOfMoves: "hidden_information",
    TellsTheCardInTheInfo: "hidden_information",
    PaysBeforeTheShowdown: "hidden_information",
    HidesNothing: "hidden_information",
    TwinsThatAreNone: "hidden_information",
    ForfeitsAreNotZeroSum: "payoffs",
    PaysOutOfBounds: "payoffs",
    ForgetsOldLines: "growing",
    DrawsFromTheGlobalGenerator: "global_luck",
    DrawsInOrder: "foreign_luck",
    ChangesStatesInPlace: "pure_rules",
    DoesNotTellTheCard: "telling",
    DoesNotTellMoves: "recall",
    RepeatsWordsAsTheModerator: "spoofing",
    QuotesWordsInALineOfItsOwn: "spoofing",
    RaisesValueError: "parser_fuzz",
    TakesSquareTime: "parser_fuzz",
    TakesTheFirstMove: "decorations",
    TakesOnlyBareMoves: "decorations",
    NeverEnds: "ending",
    CountsItsGames: "no_trace",
    ListsMovesInHashOrder: "hash_seeds",
    SharesOneTable: "side_by_side",
    DependsOnTheOrderOfCommitments: "simultaneous_commitments",
    FavoursASeat: "seat_symmetry",
    TellsTheSecret: "canaries",
    CallsHome: "offline",
    LosesItsStateInAPickle: "clones",
    DealsTuples: "declarations",
    DealsWhatIsNotListed: "declarations",
    OptionByAccident: "declarations",
    WritesOneTextForTwoMoves: "pure_rules",
    OddSeatNames: "pettingzoo_tests",
}


@pytest.mark.parametrize(("game", "check"), FAULTS.items(), ids=lambda each: getattr(each, "__name__", each))
def test_a_planted_fault_is_caught(game, check):
    with pytest.raises(ConformanceError) as caught:
        check_game(game, checks=[check])
    assert caught.value.check == check
    assert game.__name__ in str(caught.value)
    assert "To see it again: check_game(" in str(caught.value)


@pytest.mark.parametrize("game", [ShowsTheCardInTheView, TellsTheCardInAnError, TellsTheCardByTheOrderOfMoves])
def test_leaks_are_caught_in_games_too_large_to_list(game):
    with pytest.raises(ConformanceError):
        check_game(game, options=[{"deck_size": 13, "hands": 4}], checks=["T8"], pairs=4000)


def test_a_count_of_moves_that_tells_who_voted_is_caught(monkeypatch):
    """In WhoIsTheSpy spies are not asked to vote, so how many were tells whether one of them has been ejected."""
    options = [{"mode": "elimination", "players": 6, "spies": 2, "clue_rounds": 1, "tie": "random"}]
    check_game("WhoIsTheSpy-v0", options=options, checks=["T8"], pairs=50)
    monkeypatch.setattr(WhoIsTheSpy, "turns_taken", lambda game, state: sum(map(len, game.history(state)[1])))
    with pytest.raises(ConformanceError, match=r"tells player_. hidden states apart, each played from its deal, by info"):
        check_game("WhoIsTheSpy-v0", options=options, checks=["T8"], pairs=50)


def test_a_count_of_seats_asked_before_is_caught(monkeypatch):
    """It tells whether a spy sits before a seat."""
    acting_info = GameEnv._acting_info
    monkeypatch.setattr(
        GameEnv, "_acting_info", lambda env, seat: {**acting_info(env, seat), "turn": env._turn + len(env._committed)}
    )
    with pytest.raises(ConformanceError, match=r"tells player_. hidden states apart by info"):
        check_game("WhoIsTheSpy-v0", checks=["T8"], pairs=50)


def test_the_numbers_of_the_published_list_name_checks():
    numbers = {each.number for each in CHECKS.values()} - {""}
    wanted = {1, 2, 3, 5, 6, 7, 8, 10, 12, 13, 14, 15, 16, 17, 18, 19, 20, 25, 26, 27}
    assert numbers == {f"T{number}" for number in wanted}
    for each in CHECKS.values():
        assert each.summary.startswith(f"{each.number}. " if each.number else each.summary[0])
        assert each.summary.endswith((".", ":"))


def test_a_report_prints_what_passed_and_why_something_did_not_run():
    report = check_game("KuhnPoker-v0", options=[{}, {"hands": 2}], checks=["T8", "T12"])
    assert [(result.number, result.status) for result in report.results] == [
        ("T8", "passed"),
        ("T8", "passed"),
        ("T12", "skipped"),
        ("T12", "skipped"),
    ]
    assert "seats move one after another" in str(report)
    assert "2 passed, 2 skipped" in str(report)
    assert "all 54 positions" in str(report)  # 6 deals, 9 histories each


def test_an_error_names_what_to_run_and_survives_pickle():
    with pytest.raises(ConformanceError) as caught:
        check_game(ForgetsOldLines, options=[{"hands": 2}], checks=["growing"], seeds=[4])
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    assert (again.check, again.options, str(again)) == ("growing", {"hands": 2}, str(caught.value))
    assert "seeds=[" in str(again)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"game": "KuhnPokr-v0"}, "did you mean 'KuhnPoker-v0'"),
        ({"game": "KuhnPoker-v0", "checks": ["growin"]}, "did you mean 'growing'"),
        ({"game": "KuhnPoker-v0", "options": [{"hand": 2}]}, "did you mean 'hands'"),
    ],
)
def test_unknown_names_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        check_game(**arguments)


def test_a_game_is_checked_by_id_class_or_object():
    for game in ("KuhnPoker-v0", "lmgames/KuhnPoker-v0", KuhnPoker, KuhnPoker(hands=1)):
        (subject,) = subjects_of(game, [{"hands": 2, "retries": 0}])
        assert subject.game == KuhnPoker(hands=2)
        assert subject.env_id == "lmgames/KuhnPoker-v0"
        assert subject.env().retries == 0
        assert subject.options == {"hands": 2, "retries": 0}


def test_the_corpus_has_over_200_distinct_forgeries():
    found = payloads(Scene("player_1", "Your turn. Legal moves: [bet]", "[bet]"))
    assert len(found) == len(set(found)) >= 200
    assert all(CANARY in payload for payload in found)
    for line_break in BREAKS:
        assert any(line_break in payload for payload in found)
    assert not any("{seat}" in payload or "{line}" in payload for payload in found)


def test_nasty_replies_are_the_same_every_time_and_reach_all_of_unicode():
    texts = nasty_replies(Chance(3), longest=1000)
    assert texts == nasty_replies(Chance(3), longest=1000)
    everything = "".join(texts)
    assert "\0" in everything
    assert any("\ud800" <= character <= "\udfff" for character in everything)
    assert max(map(ord, everything)) > 0x10000
    assert max(map(len, nasty_replies(Chance(3)))) == 1_000_000
