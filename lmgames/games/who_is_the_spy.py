"""Who Is The Spy: clues about a secret word in turn, then a vote on who has another word.

Seats: `player_0` ... `player_<n-1>`, and `judge_0` with `voters="non_spy_plus_judge"`. Roles: `civilian`, `spy`, `judge`;
`player` is all that a seat knows of its role with `role_visible=False`.
Hidden: the others' words and roles, how the others voted (the counts are public), the order of rounds to come, broken ties.
Returns: points at the end. `scheme="vision_zero"`: a clue part that sums to exactly 0 plus a decision part that does not.
`scheme="win"`: +1 for the winning side and -1 for the other, or shared within the sides so that it sums to exactly 0.
Reference: a civilian that votes at random among the others is right with probability k / (n - 1), which pays
2 k / (n - 1) - 1; abstaining (-0.5) is better where a vote is right with probability below 1/4. One spy survives random
ejections until two players are left with probability 2/n.
Sources: the party game; rewards as in Wang et al., "Vision-Zero" (2025), with text in place of images.
Versions: v0.
"""

import contextlib
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

from lmgames.chance import Chance
from lmgames.game import Game, Payoffs, check_choice, check_count, check_number, check_tuple
from lmgames.parsing import Command, IllegalMove, extract_command, find_commands, parse_integer
from lmgames.text import Line, Said, quoted
from lmgames.words import Split, is_in_bank, spy_pairs, tokens, true_sentences, utters

PLAYER_NAMES = tuple(f"player_{number}" for number in range(12))
JUDGE = "judge_0"
NO_CLUE = "(no clue)"
ABSTAIN = "[abstain]"
FORFEIT = "(forfeit)"
"""What stands for a turn without a legal reply: no clue, or no vote, and one forfeit more."""
VERBS = ("vote", "abstain")
GRID = 2.0**-40
"""Points are multiples of it wherever they must add up to exactly 0: such floats are added without rounding."""
TWIN_ATTEMPTS = 40

RULES = """You play Who Is The Spy with {players} players, player_0 to player_{last}. {spies_are} drawn by lot; the others \
are civilians. {words}{judge}
There {rounds} of clues, then a vote{repeat}. In a round each player in turn gives one clue about its word: one sentence of \
at most {length}, which all read. A clue must not contain your own word in any form nor repeat an earlier clue.
Then {voters} vote, all at once: [vote: player_2] or [vote: 2] names player_2 as a spy, [abstain] names nobody. You cannot \
vote for yourself. {ballots} Whoever has the most votes is ejected; {tie}{reveal}
{goal}"""
TIE_RULES = {
    "none": "in a tie nobody is.",
    "random": "a tie is broken by lot.",
    "revote": "after a tie those not tied vote once more among the tied; a second tie ejects nobody.",
    "all_tied": "in a tie all the tied are.",
}
SAMPLE_CLUES = (
    "Most people know it.",
    "You may have one in mind already.",
    "I have come across it more than once.",
    "A child could tell you about it.",
    "It is easy to picture.",
    "There is more than one kind of it.",
)
SAMPLE_WORDS = ("Yes", "Well", "Right")


@dataclass(frozen=True, slots=True)
class Poll:
    """One vote.

    Args:
        candidates: who can be named.
        votes: (voter, target) in seat order, target None for nobody. In a view, only what the seat may know of them.
        counts: (player, votes) of those with votes, in seat order; None until all have voted.
    """

    candidates: tuple[str, ...]
    votes: tuple[tuple[str, str | None], ...] = ()
    counts: tuple[tuple[str, int], ...] | None = None


@dataclass(frozen=True, slots=True)
class Cycle:
    """Clue rounds, the vote after them, and whom it ejected.

    Args:
        clues: (seat, words) as they were given, words None where none came.
        polls: none before the clues are complete; a second one is a revote.
        ejected: those who are out by this vote.
    """

    clues: tuple[tuple[str, str | None], ...] = ()
    polls: tuple[Poll, ...] = ()
    ejected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SpyState:
    """An episode.

    Args:
        words: by seat; "" where a seat has none, None where a view does not know it.
        roles: by seat; None where a view does not know it.
        orders: speaking orders of all players: one, or with order="shuffle" one a round; in a view, those announced.
        tie_breaks: for each vote with tie="random", the players by who is ejected first among the tied; () in a view.
        cycles: past ones and the one being played.
        forfeits: a seat for each of its turns without a legal reply; () in a view.
        result: "civilians" or "spies" when the game is over.
    """

    words: tuple[str | None, ...]
    roles: tuple[str | None, ...]
    orders: tuple[tuple[str, ...], ...]
    tie_breaks: tuple[tuple[str, ...], ...] = ()
    cycles: tuple[Cycle, ...] = (Cycle(),)
    forfeits: tuple[str, ...] = ()
    result: Literal["", "civilians", "spies"] = ""


@dataclass(frozen=True, kw_only=True)
class WhoIsTheSpy(Game[SpyState, str]):
    """The rules. A move is its text: the words of a clue, `[vote: player_2]`, `[abstain]`.

    Args:
        players: n, 3 to 12.
        spies: k, fewer than half of the players; they do not know each other.
        clue_rounds: before each vote.
        mode: "single", one vote; or "elimination": the ejected leave, and clues and votes go on until a side has won.
        margin: in elimination the spies win as soon as fewer civilians are left than spies + margin; 1 stops a game with
            one spy at two players.
        max_rounds: in elimination the spies win if they are not all out after so many votes.
        reveal_role: in elimination, whether the role of the ejected is announced.
        spy_word: "other", a related word; or "blank", none.
        role_visible: whether a seat is told its role (as in Vision-Zero) or its word alone (the classic game).
        order: of speaking, drawn by lot: "fixed" through the episode, "rotate", each round begun by the next player, or
            "shuffle", drawn for each round.
        max_words: of a clue, as separated by spaces.
        voters: "civilians"; "all", the spies too; or "non_spy_plus_judge", the civilians and a further seat `judge_0`,
            which gives no clues, knows the civilians' word, and is on their side (the released code of Vision-Zero lets
            such a judge vote).
        tie: who is ejected if several have the most votes: "none"; "random", one of them by lot; "revote", decided by one
            more vote of those not tied among the tied, then none; "all_tied", all of them.
        open_ballot: whether the count says how each voted. While the game goes on it would show who the spies are, so then
            it needs voters="all".
        scheme: of returns: "vision_zero", "win", or "mixed": both, weighted by `weights`.
        clue_beta: b; points that a spy loses for each vote it has above the civilians' average; the civilians share them.
        clue_lambda: l; points that a civilian loses for each vote it has above the civilians' average.
        vote_right, vote_abstain, vote_wrong: points of a voter that is no spy for its vote.
        zero_sum: whether the sides of "win" share +1 and -1 within them; otherwise every player gets +1 or -1.
        weights: in "mixed", of the clue points, of the decision points, of winning.
        split: families of words to draw from: "train", "eval" or "all".
        difficulty: 1 for pairs easily told apart to 3 for near neighbours; None for all.
        pairs: word pairs of your own in place of the bundled ones; which of the two is the civilians' is drawn.
    """

    players: int = 5
    spies: int = 1
    clue_rounds: int = 2
    mode: Literal["single", "elimination"] = "single"
    margin: int = 1
    max_rounds: int = 10
    reveal_role: bool = False
    spy_word: Literal["other", "blank"] = "other"
    role_visible: bool = True
    order: Literal["fixed", "rotate", "shuffle"] = "fixed"
    max_words: int = 30
    voters: Literal["civilians", "all", "non_spy_plus_judge"] = "civilians"
    tie: Literal["none", "random", "revote", "all_tied"] = "none"
    open_ballot: bool = False
    scheme: Literal["vision_zero", "win", "mixed"] = "vision_zero"
    clue_beta: float = 0.1
    clue_lambda: float = 0.1
    vote_right: float = 1.0
    vote_abstain: float = -0.5
    vote_wrong: float = -1.0
    zero_sum: bool = False
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0)
    split: Split = "all"
    difficulty: int | None = None
    pairs: tuple[tuple[str, str], ...] | None = None

    name: ClassVar[str] = "WhoIsTheSpy"
    roles: ClassVar[tuple[str, ...]] = ("civilian", "spy", "judge", "player")
    sources: ClassVar[tuple[str, ...]] = ("Wang et al. 2025, Vision-Zero", "the party game Who Is The Spy (Undercover)")
    words_are_free: ClassVar[bool] = True
    simultaneous: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("players", self.players, 3, len(PLAYER_NAMES))
        check_count("spies", self.spies, 1, (self.players - 1) // 2)
        check_count("clue_rounds", self.clue_rounds, 1, 20)
        check_choice("mode", self.mode, ("single", "elimination"))
        check_count("margin", self.margin, 1, self.players - 2 * self.spies)
        check_count("max_rounds", self.max_rounds, 1, 50)
        check_choice("spy_word", self.spy_word, ("other", "blank"))
        check_choice("order", self.order, ("fixed", "rotate", "shuffle"))
        check_count("max_words", self.max_words, 1, 1000)
        check_choice("voters", self.voters, ("civilians", "all", "non_spy_plus_judge"))
        check_choice("tie", self.tie, tuple(TIE_RULES))
        check_choice("scheme", self.scheme, ("vision_zero", "win", "mixed"))
        for flag in ("reveal_role", "role_visible", "open_ballot", "zero_sum"):
            check_choice(flag, getattr(self, flag), (True, False))
        check_choice("split", self.split, ("all", "train", "eval"))
        check_choice("difficulty", self.difficulty, (None, 1, 2, 3))
        self._check_points()
        self._check_secrecy()
        if self.pairs is not None:
            _check_pairs(self.pairs)
        elif not spy_pairs(self.split, self.difficulty):
            raise ValueError(f"split={self.split!r}, difficulty={self.difficulty}: the bank has no such pair of words")

    def _check_points(self) -> None:
        for option in ("clue_beta", "clue_lambda"):
            check_number(option, getattr(self, option), 0, 10)
        for option in ("vote_right", "vote_abstain", "vote_wrong"):
            check_number(option, getattr(self, option), -100, 100)
        if not isinstance(self.weights, tuple) or len(self.weights) != 3:
            raise ValueError(f"weights={self.weights!r} must be three numbers from 0 to 10: clue, decision, win")
        for stage, weight in zip(("clue", "decision", "win"), self.weights, strict=True):
            check_number(f"weights: of {stage}", weight, 0, 10)

    def _check_secrecy(self) -> None:
        """Refuses options under which a seat is promised not to know a role, but would."""
        if not self.role_visible and self.spy_word == "blank":
            raise ValueError("role_visible=False: a spy without a word knows its role; use spy_word='other'")
        if not self.role_visible and self.voters != "all":
            raise ValueError(
                f"role_visible=False: with voters={self.voters!r} not being asked tells a spy; use voters='all'"
            )
        goes_on = self.mode == "elimination" or self.tie == "revote"
        if self.open_ballot and goes_on and self.voters != "all":
            raise ValueError(f"open_ballot=True: with voters={self.voters!r} the ballots tell the spies; use voters='all'")

    # What follows from the options.

    @cached_property
    def player_names(self) -> tuple[str, ...]:
        """The seats that give clues and can be named."""
        return PLAYER_NAMES[: self.players]

    @cached_property
    def has_judge(self) -> bool:
        return self.voters == "non_spy_plus_judge"

    @cached_property
    def seats(self) -> tuple[str, ...]:
        return (*self.player_names, JUDGE) if self.has_judge else self.player_names

    @property
    def stage_weights(self) -> tuple[float, float, float]:
        """How much of the clue points, of the decision points and of winning the returns hold."""
        return {"vision_zero": (1.0, 1.0, 0.0), "win": (0.0, 0.0, 1.0), "mixed": self.weights}[self.scheme]

    @property
    def payoffs(self) -> Payoffs:
        """The clue points sum to 0; the decision points do not, and winning only with `zero_sum`."""
        _, decision, win = self.stage_weights
        pays_votes = decision and any((self.vote_right, self.vote_abstain, self.vote_wrong))
        return "general_sum" if pays_votes or (win and not self.zero_sum) else "zero_sum"

    @property
    def return_bounds(self) -> tuple[float, float]:
        clue, decision, win = self.stage_weights
        votes = self.votes_at_most
        ballots = len(self.seats) - (0 if self.voters == "all" else self.spies)
        low = -clue * (self.clue_beta + self.clue_lambda) * ballots
        points = (0.0, self.vote_right, self.vote_abstain, self.vote_wrong)
        return votes * (low + decision * min(points)) - win, votes * (-low + decision * max(points)) + win

    @property
    def votes_at_most(self) -> int:
        """Votes of an episode, revotes not counted."""
        return 1 if self.mode == "single" else self.max_rounds

    @property
    def max_turns(self) -> int:
        polls = 2 if self.tie == "revote" else 1
        return self.votes_at_most * (self.players * self.clue_rounds + polls * len(self.seats))

    # Deals.

    def deal(self, chance: Chance) -> dict[str, Any]:
        """{"words": {"civilian", "spy"}, "spies": seats, "orders": speaking orders, "tie_breaks": orders for lots}."""
        civilian, spy = chance.shuffled(chance.choice(self._word_pairs(), "pair"), "whose word")
        spies = chance.sample(self.player_names, self.spies, "spies")
        return {
            "words": {"civilian": civilian, "spy": "" if self.spy_word == "blank" else spy},
            "spies": sorted(spies, key=self.player_names.index),
            "orders": self._lots(chance, "order", self._orders_needed),
            "tie_breaks": self._lots(chance, "tie", self._tie_breaks_needed),
        }

    def _word_pairs(self) -> tuple[tuple[str, str], ...]:
        if self.pairs is not None:
            return self.pairs
        return tuple((pair.civilian, pair.spy) for pair in spy_pairs(self.split, self.difficulty))

    def _lots(self, chance: Chance, purpose: str, count: int) -> list[list[str]]:
        return [list(chance.shuffled(self.player_names, purpose, number)) for number in range(count)]

    @property
    def _orders_needed(self) -> int:
        return self.votes_at_most * self.clue_rounds if self.order == "shuffle" else 1

    @property
    def _tie_breaks_needed(self) -> int:
        return self.votes_at_most if self.tie == "random" else 0

    def start(self, instance: Any) -> SpyState:
        keys = {"words", "spies", "orders", "tie_breaks"}
        if not isinstance(instance, Mapping) or set(instance) != keys:
            raise ValueError(f"an instance of this game is an object with {', '.join(sorted(keys))}, not {instance!r}")
        words, spies = self._read_words(instance["words"]), instance["spies"]
        if not isinstance(spies, list | tuple) or len(spies) != self.spies or len(self._known(spies)) != self.spies:
            raise ValueError(f"spies={spies!r} must be {self.spies} of {', '.join(self.player_names)}")
        roles = ["spy" if seat in spies else "judge" if seat == JUDGE else "civilian" for seat in self.seats]
        return SpyState(
            words=tuple(words["spy" if role == "spy" else "civilian"] for role in roles),
            roles=tuple(roles),
            orders=self._read_lots("orders", instance["orders"], self._orders_needed),
            tie_breaks=self._read_lots("tie_breaks", instance["tie_breaks"], self._tie_breaks_needed),
        )

    def _known(self, names: list[Any] | tuple[Any, ...]) -> list[str]:
        """Players that `names` holds, each once."""
        return [seat for seat in self.player_names if seat in names]

    def _read_words(self, words: Any) -> dict[str, str]:
        if isinstance(words, Mapping) and set(words) == {"civilian", "spy"}:
            civilian, spy = words["civilian"], words["spy"]
            if self.spy_word == "blank" and spy == "" and isinstance(civilian, str) and tokens(civilian):
                return dict(words)
            if self.spy_word == "other" and not _pair_problem((civilian, spy)):
                return dict(words)
        wanted = '""' if self.spy_word == "blank" else "another word"
        raise ValueError(f'words={words!r} must be {{"civilian": a word, "spy": {wanted}}}')

    def _read_lots(self, key: str, lots: Any, count: int) -> tuple[tuple[str, ...], ...]:
        if isinstance(lots, list | tuple) and len(lots) == count:
            everyone = len(self.player_names)
            if all(isinstance(lot, list | tuple) and len(lot) == len(self._known(lot)) == everyone for lot in lots):
                return tuple(tuple(lot) for lot in lots)
        raise ValueError(f"{key}={lots!r} must be {count} orders of {', '.join(self.player_names)}")

    def rotated(self, instance: Any) -> Any | None:
        if self.has_judge:
            return None
        following = dict(zip(self.player_names, (*self.player_names[1:], self.player_names[0]), strict=True))
        return {
            "words": dict(instance["words"]),
            "spies": sorted((following[seat] for seat in instance["spies"]), key=self.player_names.index),
            "orders": [[following[seat] for seat in order] for order in instance["orders"]],
            "tie_breaks": [[following[seat] for seat in order] for order in instance["tie_breaks"]],
        }

    # Play.

    def to_move(self, state: SpyState) -> tuple[str, ...]:
        """In a view of a vote, the seats that may be voters for all that the seat knows, itself exactly."""
        if state.result:
            return ()
        cycle = state.cycles[-1]
        if not cycle.polls:
            order = self.speaking_order(state, len(state.cycles) - 1, self.clue_round(state))
            return (order[len(cycle.clues) % len(order)],)
        voted = {voter for voter, _ in cycle.polls[-1].votes}
        return tuple(seat for seat in self._electorate(state) if seat not in voted)

    def turns_taken(self, state: SpyState) -> int:
        """Clues, and votes counted, each vote as one turn: how many have votes tells who was a spy, and so does whether anybody
        has one after a tie."""
        return sum(len(cycle.clues) + sum(poll.counts is not None for poll in cycle.polls) for cycle in state.cycles)

    def alive(self, state: SpyState, cycle: int | None = None) -> tuple[str, ...]:
        """Players who take part in a cycle, by its number; the current one by default."""
        before = state.cycles[:-1] if cycle is None else state.cycles[:cycle]
        if not before:
            return self.player_names
        out = {seat for past in before for seat in past.ejected}
        return tuple(seat for seat in self.player_names if seat not in out) if out else self.player_names

    def clue_round(self, state: SpyState) -> int:
        """Number of the clue round being played, from 0 in each cycle."""
        return len(state.cycles[-1].clues) // len(self.alive(state))

    def speaking_order(self, state: SpyState, cycle: int, clue_round: int) -> tuple[str, ...]:
        number = cycle * self.clue_rounds + clue_round
        order = state.orders[number if self.order == "shuffle" else 0]
        alive = self.alive(state, cycle)
        if len(alive) < len(order):
            order = tuple(seat for seat in order if seat in alive)
        first = number % len(order) if self.order == "rotate" else 0
        return order[first:] + order[:first]

    def _electorate(self, state: SpyState) -> tuple[str, ...]:
        polls = state.cycles[-1].polls
        seats = (*self.alive(state), JUDGE) if self.has_judge else self.alive(state)
        if self.voters != "all":
            seats = tuple(seat for seat in seats if self._role(state, seat) != "spy")
        return seats if len(polls) == 1 else tuple(seat for seat in seats if seat not in polls[-1].candidates)

    def _role(self, state: SpyState, seat: str) -> str | None:
        return state.roles[self.seats.index(seat)]

    def apply(self, state: SpyState, moves: Mapping[str, str]) -> SpyState:
        """A vote is counted when all have voted; `moves` may hold some of the votes."""
        if FORFEIT in moves.values():
            forfeits = tuple(seat for seat in self.seats if moves.get(seat) == FORFEIT)
            state = replace(state, forfeits=state.forfeits + forfeits)
        if state.cycles[-1].polls:
            return self._with_votes(state, moves)
        ((seat, words),) = moves.items()
        cycle = state.cycles[-1]
        cycle = replace(cycle, clues=(*cycle.clues, (seat, None if words in (NO_CLUE, FORFEIT) else words)))
        alive = self.alive(state)
        if len(cycle.clues) == len(alive) * self.clue_rounds:
            cycle = replace(cycle, polls=(Poll(alive),))
        return _with_cycle(state, cycle)

    def _with_votes(self, state: SpyState, moves: Mapping[str, str]) -> SpyState:
        cycle = state.cycles[-1]
        poll = cycle.polls[-1]
        votes = dict(poll.votes) | {voter: _target(move) for voter, move in moves.items()}
        poll = replace(poll, votes=tuple((voter, votes[voter]) for voter in self.seats if voter in votes))
        state = _with_cycle(state, replace(cycle, polls=(*cycle.polls[:-1], poll)))
        return state if self.to_move(state) else self._counted(state)

    def _counted(self, state: SpyState) -> SpyState:
        cycle = state.cycles[-1]
        poll = cycle.polls[-1]
        received = Counter(target for _, target in poll.votes if target is not None)
        poll = replace(poll, counts=tuple((seat, received[seat]) for seat in self.player_names if received[seat]))
        cycle = replace(cycle, polls=(*cycle.polls[:-1], poll))
        most = leaders(target for _, target in poll.votes)
        someone_is_untied = self.has_judge or len(most) < len(self.alive(state))
        if len(most) > 1 and self.tie == "revote" and len(cycle.polls) == 1 and someone_is_untied:
            asked = _with_cycle(state, replace(cycle, polls=(*cycle.polls, Poll(self._by_seat(most)))))
            # Without a voter it is held all the same: leaving it out would tell that all the untied are spies.
            return asked if self.to_move(asked) else self._counted(asked)
        return self._resolved(_with_cycle(state, replace(cycle, ejected=self._ejected(state, most))))

    def _ejected(self, state: SpyState, most: tuple[str, ...]) -> tuple[str, ...]:
        if len(most) <= 1 or self.tie == "all_tied":
            return self._by_seat(most)
        if self.tie == "random":
            return (next(seat for seat in state.tie_breaks[len(state.cycles) - 1] if seat in most),)
        return ()

    def _by_seat(self, seats: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(seats, key=self.player_names.index))

    def _resolved(self, state: SpyState) -> SpyState:
        result = self._result(state)
        return replace(state, result=result) if result else replace(state, cycles=(*state.cycles, Cycle()))

    def _result(self, state: SpyState) -> Literal["", "civilians", "spies"]:
        if self.mode == "single":
            return "civilians" if any(self._role(state, seat) == "spy" for seat in state.cycles[-1].ejected) else "spies"
        left = Counter(self._role(state, seat) for seat in self.alive(state, len(state.cycles)))
        if not left["spy"]:
            return "civilians"
        spies_win = left["civilian"] < left["spy"] + self.margin or len(state.cycles) == self.max_rounds
        return "spies" if spies_win else ""

    def forfeit_move(self, view: SpyState, seat: str) -> str:
        return FORFEIT

    def forfeit(self, state: SpyState, seat: str) -> SpyState:
        """The game goes on without the clue or the vote."""
        return self.apply(state, {seat: FORFEIT})

    def forfeit_returns(self, state: SpyState, seat: str) -> dict[str, float]:
        """Nobody is paid: no forfeit ends this game."""
        return dict.fromkeys(self.seats, 0.0)

    def noop(self, view: SpyState, seat: str) -> str:
        return ABSTAIN if view.cycles[-1].polls else NO_CLUE

    # Points.

    def returns(self, state: SpyState) -> dict[str, float]:
        total = dict.fromkeys(self.seats, 0.0)
        if not state.result:
            return total
        clue, decision, win = self.stage_weights
        parts = (self.clue_points(state, clue), self.decision_points(state, decision), self._win_points(state, win))
        return {seat: sum(part[seat] for part in parts) for seat in self.seats}

    def clue_points(self, state: SpyState, weight: float = 1.0) -> dict[str, float]:
        """Points of the clue stage: with v the votes a seat got and vbar the mean over the civilians, each spy gets
        -b (v - vbar); each civilian gets its share of what the spies lost, less l (v - vbar). They sum to exactly 0."""
        points = dict.fromkeys(self.seats, 0.0)
        for number, cycle in enumerate(state.cycles):
            received = Counter(target for _, target in cycle.polls[0].votes)
            alive = self.alive(state, number)
            spies = [seat for seat in alive if self._role(state, seat) == "spy"]
            civilians = [seat for seat in alive if self._role(state, seat) == "civilian"]
            # Whole numbers times one grid value for b and one for l: v - vbar is excess / len(civilians).
            count = len(civilians)
            beta = _on_grid(weight * self.clue_beta / count**2)
            lambda_ = _on_grid(weight * self.clue_lambda / count)
            of_civilians = sum(received[seat] for seat in civilians)
            excess = {seat: count * received[seat] - of_civilians for seat in alive}
            for seat in spies:
                points[seat] -= beta * count * excess[seat]
            for seat in civilians:
                points[seat] += beta * sum(excess[spy] for spy in spies) - lambda_ * excess[seat]
        return points

    def decision_points(self, state: SpyState, weight: float = 1.0) -> dict[str, float]:
        """Points of the decision stage, of each voter that is no spy for its vote; a revote pays nothing."""
        points = dict.fromkeys(self.seats, 0.0)
        for voter, target in self._honest_votes(state):
            if target is None:
                points[voter] += weight * self.vote_abstain
            else:
                points[voter] += weight * (self.vote_right if self._role(state, target) == "spy" else self.vote_wrong)
        return points

    def _honest_votes(self, state: SpyState) -> list[tuple[str, str | None]]:
        """(voter, target) of all votes, revotes left out, by seats that are no spies."""
        votes = [vote for cycle in state.cycles for poll in cycle.polls[:1] for vote in poll.votes]
        return [(voter, target) for voter, target in votes if self._role(state, voter) != "spy"]

    def _win_points(self, state: SpyState, weight: float) -> dict[str, float]:
        sign = 1 if state.result == "spies" else -1
        spies, others = self.spies, len(self.seats) - self.spies
        share = _on_grid(weight / (spies * others))
        for_spy, for_other = (share * others, share * spies) if self.zero_sum else (weight, weight)
        return {seat: sign * for_spy if self._role(state, seat) == "spy" else -sign * for_other for seat in self.seats}

    def role_of(self, state: SpyState, seat: str) -> str:
        return self._role(state, seat) or "player"

    def facts(self, state: SpyState) -> dict[str, Any]:
        """Who was who, each vote, and the points of either stage, whatever the scheme.

        `turn_stages` names, for each seat, the stage of each of its turns in order: "clue", "decision" or "revote", so that
        `stage_rewards` can be credited to them. The rates are over the votes of seats that are no spies.
        """
        targets = [target for _, target in self._honest_votes(state)]
        right = sum(target is not None and self._role(state, target) == "spy" for target in targets)
        by_role = dict(zip(state.roles, state.words, strict=True))
        return {
            "result": state.result,
            "words": {"civilian": by_role["civilian"], "spy": by_role["spy"]},
            "spies": [seat for seat in self.seats if self._role(state, seat) == "spy"],
            "ejected": [list(cycle.ejected) for cycle in state.cycles],
            "votes": [[dict(poll.votes) for poll in cycle.polls] for cycle in state.cycles],
            "vote_accuracy": right / len(targets),
            "abstention_rate": targets.count(None) / len(targets),
            "stage_rewards": {"clue": self.clue_points(state), "decision": self.decision_points(state)},
            "turn_stages": {seat: _turn_stages(state, seat) for seat in self.seats},
            "forfeits": {seat: state.forfeits.count(seat) for seat in self.seats},
        }

    # What a seat sees.

    def view(self, state: SpyState, seat: str) -> SpyState:
        known = {JUDGE}
        if self.role_visible:
            known.add(seat)
        if self._reveals_roles:
            known.update(out for cycle in state.cycles for out in cycle.ejected)
        begun = (len(state.cycles) - 1) * self.clue_rounds + min(self.clue_round(state) + 1, self.clue_rounds)
        return SpyState(
            words=tuple([word if name == seat else None for name, word in zip(self.seats, state.words, strict=True)]),
            roles=tuple([role if name in known else None for name, role in zip(self.seats, state.roles, strict=True)]),
            orders=state.orders[:begun],
            cycles=tuple([self._seen(cycle, seat) if cycle.polls else cycle for cycle in state.cycles]),
            result=state.result,
        )

    @property
    def _reveals_roles(self) -> bool:
        return self.reveal_role and self.mode == "elimination"

    def _seen(self, cycle: Cycle, seat: str) -> Cycle:
        return Cycle(cycle.clues, tuple([self._seen_poll(poll, seat) for poll in cycle.polls]), cycle.ejected)

    def _seen_poll(self, poll: Poll, seat: str) -> Poll:
        if self.open_ballot and poll.counts is not None:
            return poll
        return Poll(poll.candidates, tuple([vote for vote in poll.votes if vote[0] == seat]), poll.counts)

    def rules(self, view: SpyState, seat: str) -> str:
        return self._rules

    @cached_property
    def _rules(self) -> str:
        one = self.spies == 1
        spy_has = {"other": "another, related word", "blank": "no word"}[self.spy_word]
        return RULES.format(
            players=self.players,
            last=self.players - 1,
            spies_are="One is the spy," if one else f"{self.spies} are spies, who do not know each other,",
            words=f"All civilians have the same secret word, {'the spy has' if one else 'all spies have'} {spy_has}."
            + ("" if self.role_visible else " You are told your word, but not whether you are a spy."),
            judge=" judge_0 knows the civilians' word, gives no clues and votes on their side." if self.has_judge else "",
            rounds="is one round" if self.clue_rounds == 1 else f"are {self.clue_rounds} rounds",
            repeat=self._repetition(),
            length=self._longest,
            voters={
                "civilians": "the civilians",
                "all": "all players",
                "non_spy_plus_judge": "the civilians and judge_0",
            }[self.voters],
            ballots="How each voted is told then." if self.open_ballot else "Only the counts are told.",
            tie=TIE_RULES[self.tie],
            reveal=" The role of the ejected is told." if self._reveals_roles else "",
            goal=self._goal(),
        )

    @property
    def _longest(self) -> str:
        return "1 word" if self.max_words == 1 else f"{self.max_words} words"

    def _repetition(self) -> str:
        if self.mode == "single":
            return ""
        return f", and so on without the ejected, up to {self.max_rounds} votes"

    def _goal(self) -> str:
        clue, decision, win = self.stage_weights
        parts = [self._win_goal(win), *self._stage_goals(clue, decision)]
        return " ".join([*filter(None, parts), "You want as many points as you can."])

    def _win_goal(self, weight: float) -> str:
        spies = "the spy" if self.spies == 1 else "the spies"
        wins = "wins" if self.spies == 1 else "win"
        if self.mode == "single":
            text = f"The civilians win if a spy is ejected, otherwise {spies} {wins}."
        else:
            text = (
                f"The civilians win when every spy is out; {spies} {wins} when the civilians left are fewer than the spies "
                f"left plus {self.margin}, or after {self.max_rounds} votes."
            )
        if not weight:
            return text if self._tells_winner else ""
        if self.zero_sum:
            return f"{text} The winning side shares {_points(weight)} equally, the losing side shares as great a loss."
        return f"{text} Each on the winning side gains {_points(weight)}, each on the losing side loses as much."

    def _stage_goals(self, clue: float, decision: float) -> list[str]:
        goals = []
        if clue and (self.clue_beta or self.clue_lambda):
            goals.append(
                f"For each vote it gets above the civilians' average a spy loses {_points(clue * self.clue_beta)}, which the "
                f"civilians share, and a civilian loses {_points(clue * self.clue_lambda)}; below the average it is a gain."
            )
        points = [decision * value for value in (self.vote_right, self.vote_abstain, self.vote_wrong)]
        if any(points):
            right, abstain, wrong = (f"{value:+g}" for value in points)
            voter = "civilian or judge" if self.has_judge else "civilian"
            goals.append(
                f"A {voter} scores {right} for voting for a spy, {abstain} for abstaining, {wrong} for another vote."
            )
        return [*goals, self._scored_votes()] if goals else []

    def _scored_votes(self) -> str:
        """Which votes the points of the stages are for, where there may be several."""
        if self.mode == "elimination":
            return "Each vote is scored" + (", but not the one after a tie." if self.tie == "revote" else ".")
        return "The vote after a tie is not scored." if self.tie == "revote" else ""

    def observe(self, view: SpyState, seat: str) -> list[Line]:
        lines: list[Line] = [self._secret(view, seat)]
        for number, cycle in enumerate(view.cycles):
            lines += self._clue_lines(view, number, cycle)
            for ballot, poll in enumerate(cycle.polls):
                if ballot:
                    lines.append(f"Tie: those not tied vote once more, among {' and '.join(poll.candidates)}.")
                lines += self._poll_lines(poll)
            if number < len(view.cycles) - 1 or view.result:
                lines += self._ejection_lines(view, cycle)
        if view.result and self._tells_winner:
            spies_win = "The spy wins." if self.spies == 1 else "The spies win."
            lines.append("The civilians win." if view.result == "civilians" else spies_win)
        return lines

    @property
    def _tells_winner(self) -> bool:
        return self.mode == "elimination" or self.stage_weights[2] > 0

    def _secret(self, view: SpyState, seat: str) -> str:
        role, word = self.role_of(view, seat), view.words[self.seats.index(seat)]
        if role == "judge":
            return f"You are the judge. The civilians' word is {word}."
        your_word = f"Your word is {word}." if word else "You have no word."
        if role == "player" or not self.role_visible:  # an ejected player may have been told; its first line stays
            return your_word
        return f"You are {'the' if role == 'spy' and self.spies == 1 else 'a'} {role}. {your_word}"

    def _clue_lines(self, view: SpyState, number: int, cycle: Cycle) -> list[Line]:
        lines: list[Line] = []
        alive = self.alive(view, number)
        title = f"Vote {number + 1}, clue" if self.mode == "elimination" else "Clue"
        for clue_round in range(self.clue_rounds):
            if len(cycle.clues) < clue_round * len(alive):
                break
            given = cycle.clues[clue_round * len(alive) : (clue_round + 1) * len(alive)]
            order = " ".join(self.speaking_order(view, number, clue_round))
            lines.append(f"{title} round {clue_round + 1} of {self.clue_rounds}. Order: {order}.")
            lines += [f"{seat} gives no clue." if words is None else Said(seat, words) for seat, words in given]
        return lines

    def _poll_lines(self, poll: Poll) -> list[Line]:
        if poll.counts is None:
            return []
        lines: list[Line] = [Said(voter, _vote(target)) for voter, target in poll.votes]
        counts = ", ".join(f"{seat} {votes}" for seat, votes in poll.counts)
        return [*lines, f"Votes: {counts or 'none'}."]

    def _ejection_lines(self, view: SpyState, cycle: Cycle) -> list[Line]:
        if not cycle.ejected:
            return ["Nobody is ejected."]
        if not self._reveals_roles:
            return [f"{seat} is ejected." for seat in cycle.ejected]
        return [f"{seat} is ejected: a {self._role(view, seat)}." for seat in cycle.ejected]

    def request(self, view: SpyState, seat: str) -> list[Line]:
        polls = view.cycles[-1].polls
        if not polls:
            return ["Give your clue."]
        if len(polls) == 1:
            return ["Vote: who is the spy?" if self.spies == 1 else "Vote: who is a spy?"]
        return ["Vote once more."]

    # What a seat may do.

    def legal_moves(self, view: SpyState, seat: str) -> tuple[str, ...] | None:
        if seat not in self.to_move(view):
            return ()
        polls = view.cycles[-1].polls
        if not polls:
            return None
        return (*(_vote(target) for target in polls[-1].candidates if target != seat), ABSTAIN)

    def write(self, move: str) -> str:
        return move

    def parse(self, view: SpyState, seat: str, text: str) -> str:
        legal = self.legal_moves(view, seat)
        if legal is None:
            return self._parse_clue(view, seat, text)
        if not legal:
            raise IllegalMove("illegal_now", "It is not your turn.")
        return self._parse_vote(legal, seat, text)

    def _parse_clue(self, view: SpyState, seat: str, text: str) -> str:
        hint = f"Write one sentence of at most {self._longest}."
        if find_commands(text, VERBS):
            raise IllegalMove("illegal_now", f"The vote comes after the clues; now give a clue. {hint}")
        clue = " ".join(text.split())
        if not tokens(clue) or clue in (NO_CLUE, FORFEIT):
            raise IllegalMove("empty", f"{quoted(clue)} is no clue. {hint}")
        if len(clue.split()) > self.max_words:
            raise IllegalMove("too_long", f"Your clue has {len(clue.split())} words. {hint}")
        # Only the speaker's own word is looked for: a test against the other word would give that one away.
        word = view.words[self.seats.index(seat)]
        if word and utters(word, clue):
            raise IllegalMove("reveals_word", f"Your clue contains your own word. Describe {word} without naming it. {hint}")
        if tokens(clue) in _given(view):
            raise IllegalMove("duplicate", f"This clue was given before. Say something new. {hint}")
        return clue

    def _parse_vote(self, legal: tuple[str, ...], seat: str, text: str) -> str:
        hint = f"Write one of {' '.join(legal)}."
        command = extract_command(
            text, VERBS, select=self.select, hint=hint, meaning=lambda each: self._vote_meant(each, legal, seat, hint)
        )
        return self._vote_meant(command, legal, seat, hint)

    def _vote_meant(self, command: Command, legal: tuple[str, ...], seat: str, hint: str) -> str:
        if command.verb == "abstain":
            if command.args:
                raise IllegalMove("bad_args", f"[abstain] takes nothing after it. {hint}")
            return ABSTAIN
        name = command.args.casefold()
        if name not in self.player_names:
            if not name[:1].isdigit():
                raise IllegalMove("bad_args", f"No player is called {quoted(command.args)}. {hint}")
            name = self.player_names[parse_integer(name, 0, self.players - 1, what="The player's number")]
        if name == seat:
            raise IllegalMove("illegal_now", f"You cannot vote for yourself. {hint}")
        if _vote(name) not in legal:
            raise IllegalMove("illegal_now", f"{name} cannot be voted for now. {hint}")
        return _vote(name)

    def sample_reply(self, view: SpyState, seat: str, chance: Chance) -> str:
        """A random vote; or a clue: something true of the seat's word where the bank knows it, else a sentence that says
        little. Used-up sentences get a number; where they are too long, so do single words."""
        moves = self.legal_moves(view, seat)
        if moves:
            return chance.choice(moves, "reply")
        word = view.words[self.seats.index(seat)]
        given = _given(view)
        for clue in itertools.chain(_sample_clues(word, chance), _further_clues(len(given), self.max_words)):
            if tokens(clue) in given:
                continue
            with contextlib.suppress(IllegalMove):
                return self.parse(view, seat, clue)
        raise AssertionError("one of the further clues is always free")

    # For the conformance suite.

    def hidden_twin(self, state: SpyState, seat: str, chance: Chance) -> SpyState | None:
        """Other spies, another word of the others, other ballots with the same counts, and other lots to come, replayed
        through the rules; None where no such draw leads to the same public events."""
        for attempt in range(TWIN_ATTEMPTS):
            twin = self._twin_start(state, seat, chance.derive("twin", attempt))
            if twin is None:
                continue
            twin = self._twin_play(state, twin, seat, chance.derive("ballots", attempt))
            if twin is not None and _public(twin) == _public(state):
                return twin
        return None

    def history(self, state: SpyState) -> tuple[Any, list[dict[str, str]]]:
        words = dict(zip(state.roles, state.words, strict=True))
        instance = {
            "words": {"civilian": words["civilian"], "spy": words["spy"]},
            "spies": [seat for seat in self.player_names if self._role(state, seat) == "spy"],
            "orders": [list(order) for order in state.orders],
            "tie_breaks": [list(order) for order in state.tie_breaks],
        }
        turns: list[dict[str, str]] = []
        for cycle in state.cycles:
            turns += [{speaker: NO_CLUE if words is None else words} for speaker, words in cycle.clues]
            turns += [{voter: _vote(target) for voter, target in poll.votes} for poll in cycle.polls if poll.votes]
        return instance, turns

    def _twin_start(self, state: SpyState, seat: str, chance: Chance) -> SpyState | None:
        spies = chance.sample(self.player_names, self.spies, "spies")
        roles = tuple("spy" if name in spies else "judge" if name == JUDGE else "civilian" for name in self.seats)
        told = {seat} if self.role_visible else set()
        if self._reveals_roles:
            told |= {out for cycle in state.cycles for out in cycle.ejected}
        if any(roles[self.seats.index(name)] != self._role(state, name) for name in told):
            return None
        own = str(state.words[self.seats.index(seat)])
        pairs = [pair for pair in self._word_pairs() if own not in pair] or self._word_pairs()
        fresh = next(word for word in chance.choice(pairs, "pair") if word != own)
        civilian, spy = (fresh, own) if roles[self.seats.index(seat)] == "spy" else (own, fresh)
        words = {"civilian": civilian, "judge": civilian, "spy": "" if self.spy_word == "blank" else spy}
        begun, past = len(self.view(state, seat).orders), len(state.cycles) - (not state.result)
        return SpyState(
            words=tuple(words[role] for role in roles),
            roles=roles,
            orders=state.orders[:begun] + tuple(chance.shuffled(order, "orders") for order in state.orders[begun:]),
            tie_breaks=state.tie_breaks[:past] + tuple(chance.shuffled(order, "ties") for order in state.tie_breaks[past:]),
        )

    def _twin_play(self, state: SpyState, twin: SpyState, seat: str, chance: Chance) -> SpyState | None:
        """`twin` after the public events of `state` and ballots drawn to fit them; None if these do not fit."""
        for number, cycle in enumerate(state.cycles):
            for speaker, words in cycle.clues:
                if self.to_move(twin) != (speaker,):
                    return None
                twin = self.apply(twin, {speaker: NO_CLUE if words is None else words})
            for ballot, poll in enumerate(cycle.polls):
                if number >= len(twin.cycles) or ballot >= len(twin.cycles[number].polls):
                    return None
                if twin.cycles[number].polls[ballot].counts is not None:  # nobody was asked
                    continue
                votes = self._twin_votes(poll, self.to_move(twin), seat, chance.derive("poll", number, ballot))
                if votes is None:
                    return None
                twin = self.apply(twin, votes) if votes else twin
        return twin

    def _twin_votes(self, poll: Poll, voters: tuple[str, ...], seat: str, chance: Chance) -> dict[str, str] | None:
        votes = dict(poll.votes)
        fixed = set(votes) if self.open_ballot and poll.counts is not None else {seat} & set(votes)
        targets = [target for voter, target in poll.votes if voter not in fixed]
        others = [voter for voter in voters if voter not in fixed and voter != seat]
        if poll.counts is not None and not self.open_ballot:  # how many abstained is not told
            targets = [target for target in targets if target is not None]
            targets += [None] * (len(others) - len(targets))
        drawn = dict(zip(chance.shuffled(others, "voters"), chance.shuffled(targets, "targets"), strict=False))
        if len(drawn) != len(targets) or (poll.counts is not None and len(drawn) != len(others)):
            return None
        drawn |= {voter: votes[voter] for voter in fixed}
        if not set(drawn) <= set(voters) or any(who == whom for who, whom in drawn.items()):
            return None
        return {voter: _vote(target) for voter, target in drawn.items()}


def leaders(targets: Iterable[str | None]) -> tuple[str, ...]:
    """Those with the most votes, in the order of their first vote; None is an abstention. () without votes."""
    received = Counter(target for target in targets if target is not None)
    most = max(received.values(), default=0)
    return tuple(seat for seat, votes in received.items() if votes == most)


def _public(state: SpyState) -> Any:
    """What all seats have seen."""
    cycles = [
        (cycle.clues, [(poll.candidates, poll.counts) for poll in cycle.polls], cycle.ejected) for cycle in state.cycles
    ]
    return state.result, cycles


def _with_cycle(state: SpyState, cycle: Cycle) -> SpyState:
    return replace(state, cycles=(*state.cycles[:-1], cycle))


def _vote(target: str | None) -> str:
    return ABSTAIN if target is None else f"[vote: {target}]"


def _target(move: str) -> str | None:
    return None if move in (ABSTAIN, FORFEIT) else move.removeprefix("[vote: ").removesuffix("]")


def _sample_clues(word: str | None, chance: Chance) -> Iterator[str]:
    """Clues to draw from, in random order; shuffled only as far as they are wanted."""
    yield from chance.shuffled(true_sentences(word) if word and is_in_bank(word) else SAMPLE_CLUES, "reply")
    yield from chance.shuffled(SAMPLE_CLUES, "reply", "plain")


def _given(view: SpyState) -> set[tuple[str, ...]]:
    """Tokens of the clues so far: two clues with the same tokens are the same."""
    return {tokens(words) for cycle in view.cycles for _, words in cycle.clues if words is not None}


def _further_clues(given: int, max_words: int) -> Iterator[str]:
    """Clues of which one can be given after `given` others: every beginning comes with more numbers than that, a single word
    is never too long, and no secret word is like two of them."""
    short_enough = [sentence for sentence in SAMPLE_CLUES if 2 + len(sentence.split()) <= max_words]
    for number in range(2, given + 3):
        yield from (f"Clue {number}: {sentence}" for sentence in short_enough)
    for number in range(2, given + 3):
        yield from (f"{word}{number}" for word in SAMPLE_WORDS)


def _turn_stages(state: SpyState, seat: str) -> list[str]:
    stages: list[str] = []
    for cycle in state.cycles:
        stages += ["clue" for speaker, _ in cycle.clues if speaker == seat]
        for stage, poll in zip(("decision", "revote"), cycle.polls, strict=False):
            stages += [stage for voter, _ in poll.votes if voter == seat]
    return stages


def _on_grid(points: float) -> float:
    return math.floor(points / GRID) * GRID


def _points(value: float) -> str:
    return f"{value:g} point" if value == 1 else f"{value:g} points"


def _check_pairs(pairs: tuple[tuple[str, str], ...]) -> None:
    check_tuple("pairs", pairs, "pairs of words; leave it out for the bundled pairs")
    for pair in pairs:
        if problem := _pair_problem(pair):
            raise ValueError(f"pairs: {pair!r} {problem}")


def _pair_problem(pair: Any) -> str:
    """What keeps two words from being the secret words of one game; "" if nothing does."""
    if not isinstance(pair, tuple) or len(pair) != 2 or not all(isinstance(word, str) and tokens(word) for word in pair):
        return "is not two words"
    if utters(pair[0], pair[1]) or utters(pair[1], pair[0]):
        return "is twice the same word"
    return ""
