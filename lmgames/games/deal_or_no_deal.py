"""Deal or No Deal: two players with private values share out a pool of items, by talk and one matching pair of proposals.

Seats: `player_0`, `player_1`. Roles: `opener` moves first, `responder` second.
Hidden: the other's values, to the end; a proposal until both are in.
Returns: own points + care * the other's points, care 0 ("semi"), 1 ("coop"), -1 ("comp") or any number between. A deal gives
each what its items are worth to it, no deal the disagreement points (0). Zero-sum exactly if care is -1.
Reference, means over all 5793 contexts: two random proposals match in 4.912 % of games; the greatest joint score is 15.064
points, the Nash split's 15.018.
Sources: Lewis et al., "Deal or No Deal? End-to-End Learning for Negotiation Dialogues" (2017), for the pools; Liao, Tomlin
and Klein, "Efficacy of Language Model Self-Play in Non-Zero-Sum Games" (2024), for secret proposals and the objectives.
Versions: v0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

from lmgames.chance import Chance
from lmgames.game import Game, Payoffs, check_choice, check_count, check_tuple
from lmgames.games.bargaining import Goods, care_for_other, check_flags, talk
from lmgames.games.deal_contexts import (
    Context,
    Counts,
    PoolRule,
    check_pool_rule,
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
from lmgames.parsing import Command, IllegalMove, extract_command, find_commands
from lmgames.text import Line, Said

Verb = Literal["message", "propose", "offer", "accept", "end talk", "walk away"]
Protocol = Literal["private_proposal", "public_offer", "selection"]
OBJECTIVES = {"semi": 0.0, "coop": 1.0, "comp": -1.0}
MAX_COUNT = 99  # items of one type in an instance given by hand
VERBS: dict[str, tuple[str, ...]] = {
    "private_proposal": ("message", "propose", "walk away"),
    "public_offer": ("message", "offer", "accept", "walk away"),
    "selection": ("message", "propose", "end talk", "walk away"),
}

RULES = """You and another player share out a pool of items. Both see the pool, but each has its own values for the items \
and never sees the other's. The whole pool is worth {total} points to each.
You take turns. {protocol}
{endings} {objective}"""
PROTOCOLS = {
    "private_proposal": "Write a message for the other to read, or{after} propose in secret what you take: {form}. The \
other must answer a proposal with its own, without seeing it. If the two add up to the pool exactly, each takes what it \
proposed; otherwise there is no deal.",
    "public_offer": "Write a message for the other to read, or{after} offer a split by saying what you take: {form}. An \
offer stands until the next offer. Write [accept] to take the other's standing offer.",
    "selection": "Write a message for the other to read, or{after} end the talk with [end talk]. Then each proposes in \
secret what it takes: {form}. If the two proposals add up to the pool exactly, each takes what it proposed; \
otherwise there is no deal.",
}


@dataclass(frozen=True, slots=True)
class DealMove:
    """One turn.

    Args:
        verb: which move.
        words: of a message.
        take: of a proposal or offer, the mover's own items; None in a view where it is not known.
    """

    verb: str
    words: str = ""
    take: Counts | None = None


@dataclass(frozen=True, slots=True)
class DealState:
    """A negotiation.

    Args:
        counts: of each item type in the pool.
        values: by seat, points per item; None in the other's view.
        opener: seat index that moves first; the seats take turns strictly.
        moves: so far.
    """

    counts: Counts
    values: tuple[Counts | None, Counts | None]
    opener: int
    moves: tuple[DealMove, ...] = ()

    @property
    def mover(self) -> int:
        """Seat index whose turn it is."""
        return (self.opener + len(self.moves)) % 2

    def count(self, *verbs: str) -> int:
        """Moves so far with one of these verbs."""
        return sum(move.verb in verbs for move in self.moves)

    def last(self, verb: str) -> tuple[int, DealMove] | None:
        """Seat index and move of the last move with this verb."""
        for number in reversed(range(len(self.moves))):
            if self.moves[number].verb == verb:
                return (self.opener + number) % 2, self.moves[number]
        return None


@dataclass(frozen=True, kw_only=True)
class DealOrNoDeal(Game[DealState, DealMove]):
    """The rules.

    Args:
        objective: "semi" pays own points, "coop" both players' sum, "comp" the difference; a number from -1 to 1 is the
            weight of the other's points.
        protocol: "private_proposal", a proposal is secret and is answered with a proposal; "public_offer", offers are open
            and accepted or countered; "selection", one side ends the talk, then both propose in secret.
        normalize: whether returns are divided by `value_total`, or for the sum by the context's greatest joint score.
        disagreement: points of player_0 and player_1 without a deal.
        comp_disagreement: points that walking away costs and gives the other, where the objective is the difference. A
            forfeit costs at least `value_total` then; under any other objective it counts as no deal.
        max_messages: the game ends without a deal after so many; open offers count, too.
        min_messages: to be sent, by both together, before anything is proposed.
        walk_from: turn of the game, counted from 1, from which a player may walk away.
        first: seat index that opens, or "random".
        reveal_end: whether secret proposals are shown when both are in; if not, players learn only whether they match.
        missing_zero: whether an item left out of a proposal counts as none of it.
        report: whether the terminal facts include the context's greatest joint score, competitiveness and regrets.
        items: names of the item types; "knife/knives" where the plural is not formed with s.
        min_items, max_items, max_per_type, value_total, each_item_wanted, some_item_contested: which pools are dealt, see
            `deal_contexts.PoolRule`.
        contexts: indices of the contexts to deal from, in the order of `deal_contexts.contexts`; None for all of them.
    """

    objective: str | float = "semi"
    protocol: Protocol = "private_proposal"
    normalize: bool = False
    disagreement: tuple[float, float] = (0.0, 0.0)
    comp_disagreement: float = 0.0
    max_messages: int = 20
    min_messages: int = 1
    walk_from: int = 10
    first: Literal[0, 1, "random"] = "random"
    reveal_end: bool = True
    missing_zero: bool = False
    report: bool = True
    items: tuple[str, ...] = ("book", "hat", "ball")
    min_items: int = 5
    max_items: int = 7
    max_per_type: int = 5
    value_total: int = 10
    each_item_wanted: bool = True
    some_item_contested: bool = True
    contexts: tuple[int, ...] | None = None

    name: ClassVar[str] = "DealOrNoDeal"
    roles: ClassVar[tuple[str, ...]] = ("opener", "responder")
    words_are_free: ClassVar[bool] = True
    sources: ClassVar[tuple[str, ...]] = (
        "Lewis et al. 2017, Deal or No Deal? End-to-End Learning for Negotiation Dialogues, arXiv:1706.05125",
        "Liao, Tomlin and Klein 2024, Efficacy of Language Model Self-Play in Non-Zero-Sum Games, arXiv:2406.18872",
    )
    seats = ("player_0", "player_1")

    def __post_init__(self) -> None:
        super().__post_init__()
        care_for_other(self.objective, OBJECTIVES)
        check_choice("protocol", self.protocol, tuple(VERBS))
        check_choice("first", self.first, (0, 1, "random"))
        flags = ("normalize", "reveal_end", "missing_zero", "report", "each_item_wanted", "some_item_contested")
        check_flags({flag: getattr(self, flag) for flag in flags})
        check_count("max_messages", self.max_messages, 1, 1000)
        check_count("min_messages", self.min_messages, 0)
        if self.min_messages >= self.max_messages:
            raise ValueError(f"min_messages={self.min_messages!r} must be less than max_messages={self.max_messages!r}")
        check_count("walk_from", self.walk_from, 1)
        check_count("value_total", self.value_total, 1, 1000)
        if not isinstance(self.items, tuple) or not 1 <= len(self.items) <= 10:
            raise ValueError(f"items={self.items!r} must be one to ten names")
        self._check_payments()
        check_count("min_items", self.min_items, 1)
        check_count("max_items", self.max_items, len(self.items), MAX_COUNT)
        check_count("max_per_type", self.max_per_type, 1, MAX_COUNT)
        check_pool_rule(self.pool_rule)
        Goods.named(self.items, option="items")
        if self.contexts is not None:
            check_tuple("contexts", self.contexts, "indices of contexts; None stands for all of them")
            for place, index in enumerate(self.contexts):
                check_count(f"contexts[{place}]", index, 0, len(contexts(self.pool_rule)) - 1)

    def _check_payments(self) -> None:
        points = self.disagreement
        numbers = [*points, self.comp_disagreement] if isinstance(points, tuple) and len(points) == 2 else [None]
        bound = self.value_total
        if (
            not all(type(number) in (int, float) and abs(number) <= bound for number in numbers)
            or self.comp_disagreement < 0
        ):
            raise ValueError(
                f"disagreement={points!r}, comp_disagreement={self.comp_disagreement!r}: no deal pays two numbers from "
                f"-{bound} to {bound}, and walking away costs 0 to {bound} points"
            )

    @cached_property
    def pool_rule(self) -> PoolRule:
        return PoolRule(
            len(self.items),
            self.min_items,
            self.max_items,
            self.max_per_type,
            self.value_total,
            self.each_item_wanted,
            self.some_item_contested,
        )

    @cached_property
    def goods(self) -> Goods:
        return Goods.named(self.items)

    @property
    def care(self) -> float:
        """Weight of the other's points in a seat's return."""
        return care_for_other(self.objective, OBJECTIVES)

    @property
    def payoffs(self) -> Payoffs:
        kinds: dict[float, Payoffs] = {-1.0: "zero_sum", 1.0: "cooperative"}
        return kinds.get(self.care, "general_sum")

    @property
    def return_bounds(self) -> tuple[float, float]:
        worst = min(0.0, self.care, *(self._return(*points) for points in self._disagreements()))
        best = max(
            1.0,
            1.0 if self.normalize and self.care == 1 else 1 + self.care,
            *(self._return(*points) for points in self._disagreements()),
        )
        unit = 1 if self.normalize else self.value_total
        return worst * unit, best * unit

    def _disagreements(self) -> list[tuple[float, float]]:
        """Points without a deal of each seat and the other, as shares of the pool's worth."""
        first, second = (points / self.value_total for points in self.disagreement)
        return [(first, second), (second, first)]

    @property
    def max_turns(self) -> int:
        return self.max_messages + {"private_proposal": 1, "public_offer": 0, "selection": 2}[self.protocol]

    # Deals.

    def deal(self, chance: Chance) -> dict[str, Any]:
        """{"counts": [...], "values": [[...], [...]], "first": 0 or 1}."""
        every = contexts(self.pool_rule)
        indices = self.contexts or range(len(every))
        first = chance.integer("first", high=1) if self.first == "random" else self.first
        return _instance(every[chance.choice(indices, "context")], first)

    def instances(self) -> Sequence[Any] | None:
        every = contexts(self.pool_rule)
        firsts = (0, 1) if self.first == "random" else (self.first,)
        return [_instance(every[index], first) for index in self.contexts or range(len(every)) for first in firsts]

    def start(self, instance: Any) -> DealState:
        """Accepts also {"index": 17, "first": 0}, a context by its place in the list; "first" may be left out."""
        keys = set(instance) if isinstance(instance, dict) else set()
        first = instance.get("first", 0 if self.first == "random" else self.first) if keys else None
        if keys - {"first"} not in ({"index"}, {"counts", "values"}) or type(first) is not int or first not in (0, 1):
            raise ValueError(f'an instance is {{"counts", "values", "first"}} or {{"index", "first"}}, not {instance!r}')
        if "index" in keys:
            check_count("index", instance["index"], 0, len(contexts(self.pool_rule)) - 1)
            context = contexts(self.pool_rule)[instance["index"]]
            return DealState(context.counts, context.values, first)
        counts, values = self._read_vector(instance["counts"]), instance["values"]
        if not isinstance(values, list | tuple) or len(values) != 2:
            raise ValueError(f"values={values!r} must be two lists, one a seat")
        first_values, second_values = self._read_vector(values[0]), self._read_vector(values[1])
        for vector in (first_values, second_values):
            if worth(vector, counts) != self.value_total:
                raise ValueError(f"the pool {counts} is worth {worth(vector, counts)}, not {self.value_total}, at {vector}")
        return DealState(counts, (first_values, second_values), first)

    def _read_vector(self, numbers: Any) -> Counts:
        most = max(MAX_COUNT, self.value_total)
        is_vector = isinstance(numbers, list | tuple) and len(numbers) == len(self.items)
        if is_vector and all(type(number) is int and 0 <= number <= most for number in numbers):
            return tuple(numbers)
        raise ValueError(f"{numbers!r} is not a list of {len(self.items)} whole numbers, one for each of {self.items}")

    def rotated(self, instance: Any) -> Any | None:
        if self.disagreement[0] != self.disagreement[1]:
            return None
        state = self.start(instance)
        return _instance(Context(state.counts, (state.values[1], state.values[0])), 1 - state.opener)  # type: ignore[arg-type]

    # Play.

    def to_move(self, state: DealState) -> tuple[str, ...]:
        over = (
            state.count("accept", "walk away") > 0
            or state.count("propose") == 2
            or self._talk_turns(state) >= self.max_messages
        )
        return () if over else (self.seats[state.mover],)

    def _talk_turns(self, state: DealState) -> int:
        return state.count("message", "offer")

    def apply(self, state: DealState, moves: Mapping[str, DealMove]) -> DealState:
        (move,) = moves.values()
        return DealState(state.counts, state.values, state.opener, (*state.moves, move))

    def open_verbs(self, view: DealState) -> tuple[str, ...]:
        """Verbs of the moves that the seat to move may make."""
        enough = view.count("message") >= self.min_messages
        deciding = view.count("propose", "end talk") > 0
        standing = view.last("offer")
        may = {
            "message": not deciding,
            "propose": deciding or (enough and self.protocol == "private_proposal"),
            "offer": enough,
            "accept": standing is not None and standing[0] != view.mover,
            "end talk": enough and not deciding,
            "walk away": len(view.moves) + 1 >= self.walk_from,
        }
        return tuple(verb for verb in VERBS[self.protocol] if may[verb])

    # Payment.

    def bundles(self, state: DealState) -> tuple[Counts, Counts] | None:
        """What each seat takes; None without a deal, or in a view that does not tell."""
        if accepted := state.last("accept"):
            standing = state.last("offer")
            assert standing is not None
            assert standing[1].take is not None
            take, left = standing[1].take, rest(state.counts, standing[1].take)
            return (left, take) if accepted[0] == 0 else (take, left)
        first, second = self._proposed(state)
        if first is None or second is None or rest(state.counts, first) != second:
            return None
        return first, second

    def _proposed(self, state: DealState) -> tuple[Counts | None, Counts | None]:
        found: list[Counts | None] = [None, None]
        for number, move in enumerate(state.moves):
            if move.verb == "propose":
                found[(state.opener + number) % 2] = move.take
        return found[0], found[1]

    def scores(self, state: DealState) -> tuple[float, float]:
        """Points of both seats in a game that is over."""
        taken = self.bundles(state)
        if taken is None:
            return self.disagreement
        first, second = _known(state.values)
        return worth(first, taken[0]), worth(second, taken[1])

    def returns(self, state: DealState) -> dict[str, float]:
        if self.to_move(state):
            return dict.fromkeys(self.seats, 0.0)
        walked = state.last("walk away")
        if walked and self.care == -1 and self.comp_disagreement:
            return self._penalty(walked[0], self.comp_disagreement)
        return self._paid(state, self.scores(state))

    def forfeit_returns(self, state: DealState, seat: str) -> dict[str, float]:
        """No deal; where the objective is the difference, a loss of at least the pool's worth, so that it is no way out."""
        if self.care == -1:
            return self._penalty(self.seats.index(seat), max(self.value_total, self.comp_disagreement))
        return self._paid(state, self.disagreement)

    def _penalty(self, seat: int, points: float) -> dict[str, float]:
        points = self._price(points)
        return {other: -points if number == seat else points for number, other in enumerate(self.seats)}

    def _price(self, points: float) -> float:
        return points / self.value_total if self.normalize else float(points)

    def _paid(self, state: DealState, scores: tuple[float, float]) -> dict[str, float]:
        unit = 1
        if self.normalize:
            unit = max_joint(_context(state)) if self.care == 1 else self.value_total
        first, second = scores
        return {
            "player_0": self._return(first, second) / unit,
            "player_1": self._return(second, first) / unit,
        }

    def _return(self, own: float, other: float) -> float:
        return float(own + self.care * other)

    def role_of(self, state: DealState, seat: str) -> str:
        return "opener" if self.seats.index(seat) == state.opener else "responder"

    def facts(self, state: DealState) -> dict[str, Any]:
        context, taken, scores = _context(state), self.bundles(state), self.scores(state)
        joint = sum(scores)
        envy = [0, 0]
        if taken is not None:
            envy = [
                max(0, worth(values, taken[1 - seat]) - worth(values, taken[seat]))
                for seat, values in enumerate(context.values)
            ]
        facts: dict[str, Any] = {
            "deal": taken is not None,
            "scores": self._by_seat(scores),
            "joint": joint,
            "joint_share": joint / max_joint(context),
            "pareto": taken is not None and scores in pareto_front(context),
            "envy": self._by_seat(envy),
            "messages": state.count("message"),
            "turns": len(state.moves),
            "values": self._by_seat([list(values) for values in context.values]),
        }
        if self.report:
            facts["max_joint"] = max_joint(context)
            facts["competitiveness"] = competitiveness(context)
            facts["regret"] = self._by_seat(regrets(context, scores))
        return facts

    def _by_seat(self, values: Sequence[Any]) -> dict[str, Any]:
        return dict(zip(self.seats, values, strict=True))

    # What a seat sees.

    def view(self, state: DealState, seat: str) -> DealState:
        own = self.seats.index(seat)
        values = (state.values[0], None) if own == 0 else (None, state.values[1])
        shown = state.count("propose") == 2 and self.reveal_end
        if shown or not state.count("propose") or (not self.to_move(state) and self.bundles(state)):
            return DealState(state.counts, values, state.opener, state.moves)  # a deal tells the proposals by itself
        moves = tuple(
            replace(move, take=None) if move.verb == "propose" and (state.opener + number) % 2 != own else move
            for number, move in enumerate(state.moves)
        )
        return DealState(state.counts, values, state.opener, moves)

    def hidden_twin(self, state: DealState, seat: str, chance: Chance) -> DealState:
        own = self.seats.index(seat)
        known = _known(state.values)
        others = partner_values(state.counts, known[own], self.pool_rule) or (known[1 - own],)
        other_values = chance.choice(others, "values")
        values = (known[0], other_values) if own == 0 else (other_values, known[1])
        twin = replace(state, values=values)
        proposals = state.count("propose")
        if proposals == 1 or (proposals == 2 and not self.reveal_end and not self.bundles(state)):
            match = rest(state.counts, self._proposed(state)[own] or state.counts)
            takes = [take for take in splits(state.counts) if proposals == 1 or take != match]
            moves = tuple(
                replace(move, take=chance.choice(takes, "proposal"))
                if move.verb == "propose" and (state.opener + number) % 2 != own
                else move
                for number, move in enumerate(state.moves)
            )
            twin = replace(twin, moves=moves)
        return twin

    def rules(self, view: DealState, seat: str) -> str:
        return self._rules[seat]

    @cached_property
    def _rules(self) -> dict[str, str]:
        """By seat: points without a deal may differ."""
        return {seat: self._rules_for(number) for number, seat in enumerate(self.seats)}

    def _rules_for(self, own: int) -> str:
        after = "" if not self.min_messages else f", after {_count(self.min_messages, 'message')},"
        counted = "messages and offers" if self.protocol == "public_offer" else "messages"
        endings = f"After {_count(self.max_messages, counted)} the game ends without a deal."
        if self.walk_from <= self.max_turns:
            endings += f" From turn {self.walk_from} on, [walk away] ends it without a deal."
            if self.care == -1 and self.comp_disagreement:
                endings += f" Walking away costs you {self._price(self.comp_disagreement):g} points, which the other gets."
        return RULES.format(
            total=self.value_total,
            protocol=PROTOCOLS[self.protocol].format(after=after, form=self.form),
            endings=endings,
            objective=self._objective(own),
        )

    @property
    def form(self) -> str:
        """How a proposal is written."""
        verb = "offer" if self.protocol == "public_offer" else "propose"
        return f"[{verb}: {', '.join(f'N {name}' for name in self.goods.plural)}]"

    def _objective(self, own: int) -> str:
        texts = {0.0: "what your items are worth to you", 1.0: "what both players' items are worth to them, added up"}
        texts[-1.0] = "what your items are worth to you minus what the other's are worth to it"
        wanted = texts.get(self.care)
        if wanted is None:
            sign = "plus" if self.care > 0 else "minus"
            wanted = f"{texts[0.0]} {sign} {abs(self.care):g} times what the other's are worth to it"
        scale = ""
        if self.normalize:
            scale = ", divided by the greatest such sum" if self.care == 1 else f", divided by {self.value_total}"
        none = f"Without a deal your items count {self.disagreement[own]:g} and the other's {self.disagreement[1 - own]:g}."
        forfeit = "counts as no deal"
        if self.care == -1:
            forfeit = (
                f"costs you {self._price(max(self.value_total, self.comp_disagreement)):g} points, which the other gets"
            )
        return f"Your score is {wanted}{scale}. {none} Giving no legal reply {forfeit}."

    def observe(self, view: DealState, seat: str) -> list[Line]:
        own = self.seats.index(seat)
        values = view.values[own]
        assert values is not None
        prices = ", ".join(f"{name} {value}" for name, value in zip(self.goods.singular, values, strict=True))
        lines: list[Line] = [
            f"Pool: {self.goods.write(view.counts)}. Worth to you: {prices}. {self.seats[view.opener]} begins."
        ]
        for number, move in enumerate(view.moves):
            mover = (view.opener + number) % 2
            hidden = move.verb == "propose" and mover != own  # also at the end: what was told stays as it was told
            lines.append(f"{self.seats[mover]} has proposed." if hidden else Said(self.seats[mover], self.write(move)))
        if not self.to_move(view):
            lines += self._result(view, own, values)
        return lines

    def _result(self, view: DealState, own: int, values: Counts) -> list[Line]:
        lines: list[Line] = []
        other_proposal = self._proposed(view)[1 - own]
        if other_proposal is not None:
            lines.append(f"{self.seats[1 - own]} proposed {self.goods.write(other_proposal)}.")
        taken = self.bundles(view)
        if taken is None:
            return [*lines, "No deal."]
        return [*lines, f"Deal. You take {self.goods.write(taken[own])}, worth {worth(values, taken[own])} to you."]

    def request(self, view: DealState, seat: str) -> list[Line]:
        if view.count("propose", "end talk"):
            return ["Propose now."]
        return [f"Turn {len(view.moves) + 1} of {self.max_messages}."]

    def legal_moves(self, view: DealState, seat: str) -> tuple[DealMove, ...] | None:
        """None also where only a proposal is legal: `deal_contexts.splits` lists those, a prompt should not."""
        return None if seat in self.to_move(view) else ()

    def parse(self, view: DealState, seat: str, text: str) -> DealMove:
        if seat not in self.to_move(view):
            raise IllegalMove("illegal_now", "It is not your turn.")
        legal = self.open_verbs(view)
        hint = self._hint(legal)
        verbs = VERBS[self.protocol]
        command = Command("message")
        if find_commands(text, verbs):
            command = extract_command(
                text, verbs, select=self.select, hint=hint, meaning=lambda each: self._meant(view, each, hint)
            )
        if command.verb not in legal:
            raise IllegalMove("illegal_now", f"{self._why_not(view, command.verb)} {hint}")
        around = talk(text, verbs)
        if command.verb == "message":
            words = " ".join(filter(None, (command.args, around)))
            if not words:
                raise IllegalMove("empty", f"The message has no words. {hint}")
            return DealMove("message", words)
        return self._meant(view, command, hint)

    def _meant(self, view: DealState, command: Command, hint: str) -> DealMove:
        if command.verb == "message":
            return DealMove("message", command.args)
        if command.verb in ("propose", "offer"):
            return DealMove(command.verb, take=self._read_take(view, command.args))
        if command.args:
            raise IllegalMove("bad_args", f"[{command.verb}] takes nothing after it. {hint}")
        return DealMove(command.verb)

    def _read_take(self, view: DealState, args: str) -> Counts:
        form = f"Write {self.form} with every item once."
        counts = self.goods.read(args, low=0, high=view.counts, hint=form)
        missing = [self.goods.plural[index] for index in range(len(self.goods)) if index not in counts]
        if missing and not (self.missing_zero and counts):
            raise IllegalMove("bad_args", f"{', '.join(missing)} are missing. {form}")
        return tuple(counts.get(index, 0) for index in range(len(self.goods)))

    def _hint(self, legal: Sequence[str]) -> str:
        forms = {"message": "a message", "propose": self.form, "offer": self.form}
        return f"Write {' or '.join(forms.get(verb, f'[{verb}]') for verb in legal)}."

    def _why_not(self, view: DealState, verb: str) -> str:
        if verb == "accept":
            return "There is no offer of the other's to accept."
        if verb == "message" or (verb == "end talk" and view.count("propose", "end talk")):
            return "The talk is over."
        if verb == "walk away":
            return f"You may walk away from turn {self.walk_from} on."
        if self.protocol == "selection" and verb == "propose":
            return "Proposals come after the talk has ended."
        return f"First {_count(self.min_messages, 'message')} must be sent."

    def write(self, move: DealMove) -> str:
        if move.verb == "message":
            return move.words
        if move.take is not None:
            return f"[{move.verb}: {self.goods.write(move.take)}]"
        return f"[{move.verb}]"

    def sample_reply(self, view: DealState, seat: str, chance: Chance) -> str:
        """A wish, a uniformly random split or another legal move, equally likely; walking away only when it is late."""
        patient = self._talk_turns(view) <= self.max_messages // 2
        kinds = [verb for verb in self.open_verbs(view) if not (patient and verb == "walk away")]
        verb = chance.choice(kinds, "verb")
        if verb == "message":
            index = chance.integer("item", high=len(self.goods) - 1)
            return f"I would like {self.goods.count(index, view.counts[index])}."
        if verb in ("propose", "offer"):
            return self.write(DealMove(verb, take=chance.choice(splits(view.counts), "split")))
        return self.write(DealMove(verb))

    def noop(self, view: DealState, seat: str) -> DealMove | None:
        """An empty message; none where a proposal is due."""
        return DealMove("message", "...") if "message" in self.open_verbs(view) else None


def _instance(context: Context, first: int) -> dict[str, Any]:
    return {"counts": list(context.counts), "values": [list(values) for values in context.values], "first": first}


def _known(values: tuple[Counts | None, Counts | None]) -> tuple[Counts, Counts]:
    first, second = values
    assert first is not None, "a view does not tell the other's values"
    assert second is not None, "a view does not tell the other's values"
    return first, second


def _context(state: DealState) -> Context:
    return Context(state.counts, _known(state.values))


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 or what.endswith("s") else f"{number} {what}s"
