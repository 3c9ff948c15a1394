"""Simple Negotiation: two players with private goods and values trade by talk and offers, one command a turn.

Seats: `player_0`, `player_1`. Roles: `opener` moves first, `responder` second.
Hidden: the other's values; the other's holdings, unless public.
Returns, at the end: own gain + care * the other's gain, a gain being how much the value of what a seat holds has grown at
its own values; care 0 ("own_gain"), 1 ("sum"), -1 ("difference") or any number between; or the sign of the difference
("sign"). Zero-sum exactly for the last two.
Reference: by "textarena5" a seat starts with goods worth 1372.5 in the mean, and the greatest joint gain is 164.776 in the
mean; by "spiral2" each starts with 200, and swapping all that each values less brings +100 to both.
Sources: the resource trading games of TextArena (2025) and of SPIRAL (Liu et al. 2025), whose numbers two presets take over.
Versions: v0.
"""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Literal

import numpy as np

from lmgames.chance import Chance
from lmgames.game import Game, Payoffs, check_choice, check_count, check_number, check_pair, check_tuple
from lmgames.games.bargaining import Goods, care_for_other, check_flags, talk
from lmgames.parsing import Command, IllegalMove, extract_command, find_commands
from lmgames.text import Line, Said

Counts = tuple[int, ...]
Basket = tuple[tuple[str, int], ...]  # (resource, quantity) of each resource in it, quantities > 0
Pair = tuple[int, int]
OBJECTIVES = {"own_gain": 0.0, "sum": 1.0, "difference": -1.0}
SIGN = "sign"
MAX_QUANTITY = 99
VERBS = ("offer", "accept", "reject", "deny", "decline", "withdraw", "pass", "end")
ALIASES = {"deny": "reject", "decline": "reject"}
EVENTS = {
    "reject": "rejects the offer.",
    "withdraw": "withdraws its offer.",
    "pass": "passes.",
    "end": "wants to end the game.",
}
_ARROW = re.compile(r"\s*(?:[-=]{1,3}>|[→⇒⟶⟹➔➜➝➞➡⮕]\ufe0f?|\bfor\b)\s*", re.IGNORECASE)
_MAX_DRAWS = 1000

RULES = """You trade goods with another player. Each has its own goods and its own values for them. You never see the \
other's values{holdings}.
You take turns, {turns} in all. In a turn you may talk and give one command. {example} offers the goods on the left, \
which you must have, for those on the right. [accept] or [reject] answers the other's offer, [withdraw] takes back your \
own, [pass] does nothing, [end] asks to end; the game ends when both ask so in a row. {lifetime} An accepted offer that \
cannot be fulfilled changes nothing and stays open.
{objective}"""


@dataclass(frozen=True, slots=True)
class Preset:
    """A way to draw instances.

    Args:
        resources: (name, base value) each.
        spread: values are whole numbers at most this share of the base away from it.
        holdings: least and greatest number of each resource a player starts with.
        value_clip: limits of values.
        opposed: whether player_1 has player_0's values in reverse order, rather than values of its own.
    """

    resources: tuple[tuple[str, int], ...]
    spread: float
    holdings: Pair
    value_clip: Pair
    opposed: bool


PRESETS = {
    "textarena5": Preset(
        (("Wheat", 5), ("Wood", 10), ("Sheep", 15), ("Brick", 25), ("Ore", 40)), 0.2, (5, 25), (5, 40), False
    ),
    "spiral2": Preset((("Wood", 5), ("Gold", 15)), 0.0, (10, 10), (5, 15), True),
    "spiral2_random": Preset((("Wood", 10), ("Gold", 10)), 0.5, (10, 10), (5, 15), True),
}


@dataclass(frozen=True, slots=True)
class TradeMove:
    """One turn.

    Args:
        verb: "talk", "offer", "accept", "reject", "withdraw", "pass" or "end".
        words: what is said besides.
        give, get: of an offer, the mover's goods and the other's.
        fulfilled: of an accepted offer, whether both had the goods; the rules decide.
    """

    verb: str
    words: str = ""
    give: Basket = ()
    get: Basket = ()
    fulfilled: bool = True


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer and what became of it.

    Args:
        seat: index of its proposer.
        turn: in which it was made, from 0.
        give, get: the proposer's goods and the other's.
        left: turns of the receiver that it outlives.
        status: "open", "accepted", "rejected", "replaced", "withdrawn" or "expired".
    """

    seat: int
    turn: int
    give: Basket
    get: Basket
    left: int
    status: str = "open"


@dataclass(frozen=True, slots=True)
class NegotiationState:
    """A negotiation.

    Args:
        resources: names.
        initial, holdings: by seat, what it started with and has now; None in the other's view unless public.
        values: by seat, value of one unit of each resource; None in the other's view.
        opener: seat index that moves first; the seats take turns strictly.
        turns: so far.
        offers: so far; at most the last is open.
    """

    resources: tuple[str, ...]
    initial: tuple[Counts | None, Counts | None]
    holdings: tuple[Counts | None, Counts | None]
    values: tuple[Counts | None, Counts | None]
    opener: int
    turns: tuple[TradeMove, ...] = ()
    offers: tuple[Offer, ...] = ()

    @property
    def mover(self) -> int:
        """Seat index whose turn it is."""
        return (self.opener + len(self.turns)) % 2

    @property
    def standing(self) -> Offer | None:
        """The offer that is open."""
        return self.offers[-1] if self.offers and self.offers[-1].status == "open" else None


@dataclass(frozen=True, kw_only=True)
class SimpleNegotiation(Game[NegotiationState, TradeMove]):
    """The rules.

    Args:
        objective: "own_gain", "sum" of both gains, "difference", the difference's "sign", or a number from -1 to 1, the
            weight of the other's gain.
        normalize: whether returns are divided by the instance's greatest joint gain; a sign is not.
        max_turns: of both players together.
        offer_ttl: turns of the receiver that an offer lives; with more than 1, talking does not end it.
        holdings_public: whether each sees what the other has.
        first: seat index that moves first, or "random".
        preset: how instances are drawn; the options below change parts of it.
        resources: (name, base value) each.
        spread: values are whole numbers at most this share of the base away from it.
        holdings: least and greatest number of each resource that a player starts with.
        value_clip: limits of values.
        n: resources of an instance, drawn from the list; None for all.
    """

    objective: str | float = "own_gain"
    normalize: bool = False
    max_turns: int = 10
    offer_ttl: int = 1
    holdings_public: bool = False
    first: Literal[0, 1, "random"] = 0
    preset: Literal["textarena5", "spiral2", "spiral2_random"] = "textarena5"
    resources: tuple[tuple[str, int], ...] | None = None
    spread: float | None = None
    holdings: Pair | None = None
    value_clip: Pair | None = None
    n: int | None = None

    name: ClassVar[str] = "SimpleNegotiation"
    roles: ClassVar[tuple[str, ...]] = ("opener", "responder")
    words_are_free: ClassVar[bool] = True
    sources: ClassVar[tuple[str, ...]] = (
        "Guertler et al. 2025, TextArena, arXiv:2504.11442",
        "Liu et al. 2025, SPIRAL: Self-Play on Zero-Sum Games Incentivizes Reasoning, arXiv:2506.24119",
    )
    seats = ("player_0", "player_1")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.objective != SIGN:
            care_for_other(self.objective, {**OBJECTIVES, SIGN: -1.0})
        check_flags({"normalize": self.normalize, "holdings_public": self.holdings_public})
        check_count("max_turns", self.max_turns, 1, 1000)
        check_count("offer_ttl", self.offer_ttl, 1)
        check_choice("first", self.first, (0, 1, "random"))
        check_choice("preset", self.preset, tuple(PRESETS))
        self._check_drawing()

    def _check_drawing(self) -> None:
        rule = self.drawing
        check_tuple("resources", rule.resources, "two to twenty pairs (name, base value)")
        named = all(isinstance(item, tuple) and len(item) == 2 for item in rule.resources)
        if not named or not 2 <= len(rule.resources) <= 20:
            raise ValueError(f"resources={self.resources!r} must be two to twenty pairs (name, base value)")
        Goods.named([name for name, _ in rule.resources], plurals=False, option="resources")
        if any(_ARROW.search(name) for name, _ in rule.resources):
            raise ValueError(f"resources={self.resources!r}: no name may have the word 'for' in it")
        for name, base in rule.resources:
            check_count(f"resources: base value of {name}", base, 1, 1000)
        check_number("spread", rule.spread, 0, 1)
        check_pair("holdings", rule.holdings, 0, MAX_QUANTITY)
        check_pair("value_clip", rule.value_clip, 0, 2000)
        for option, most in (("holdings", rule.holdings[1]), ("value_clip", rule.value_clip[1])):
            if most == 0:
                raise ValueError(f"{option}=(0, 0): the greater one must be at least 1")
        if self.n is not None:
            check_count("n", self.n, 2, len(rule.resources))
        ranges = [self.value_range(base) for _, base in rule.resources]
        mirrored = all(
            low == high and one == other for one, other in zip(ranges, ranges[::-1], strict=True) for low, high in [one]
        )
        if rule.opposed and self.n is not None:
            raise ValueError(f"n={self.n}: preset={self.preset!r} needs all its resources")
        if rule.opposed and mirrored:
            raise ValueError(
                f"resources={rule.resources!r}: the values of preset={self.preset!r} are the same in reverse order, so both "
                "players would have the same and nobody could gain; change a value, or the order"
            )

    @cached_property
    def drawing(self) -> Preset:
        """How instances are drawn: the preset with what the options change."""
        changes = {
            option: getattr(self, option)
            for option in ("resources", "spread", "holdings", "value_clip")
            if getattr(self, option) is not None
        }
        return replace(PRESETS[self.preset], **changes)

    def value_range(self, base: int) -> Pair:
        """Least and greatest value of a resource."""
        return _value_range(base, self.drawing.spread, self.drawing.value_clip)

    @property
    def payoffs(self) -> Payoffs:
        if self.care == -1:
            return "zero_sum"
        return "cooperative" if self.care == 1 else "general_sum"

    @property
    def care(self) -> float:
        """Weight of the other's gain in a seat's return; for the sign, in the difference it is taken of."""
        return -1.0 if self.objective == SIGN else care_for_other(self.objective, OBJECTIVES)

    @property
    def return_bounds(self) -> tuple[float, float]:
        """Everything given away, or everything got, at the greatest values; both at once for the difference."""
        if self.objective == SIGN:
            return -1.0, 1.0
        worth = sorted((high * self.drawing.holdings[1] for high in self._greatest_values.values()), reverse=True)
        bound = float(sum(worth[: self.n])) * (1 + abs(min(self.care, 0.0)))
        return -bound, bound

    @cached_property
    def _greatest_values(self) -> dict[str, int]:
        highs = [self.value_range(base)[1] for _, base in self.drawing.resources]
        if self.drawing.opposed:
            highs = [max(pair) for pair in zip(highs, reversed(highs), strict=True)]
        return {name: high for (name, _), high in zip(self.drawing.resources, highs, strict=True)}

    # Deals.

    def deal(self, chance: Chance) -> dict[str, Any]:
        """{"resources": [...], "holdings": [[...], [...]], "values": [[...], [...]], "first": 0 or 1}."""
        rule = self.drawing
        kinds = rule.resources
        if self.n is not None:
            chosen = chance.sample(range(len(kinds)), self.n, "resources")
            kinds = tuple(kinds[index] for index in sorted(chosen))
        low, high = rule.holdings
        return {
            "resources": [name for name, _ in kinds],
            "holdings": [
                [chance.integer("holding", seat, name, low=low, high=high) for name, _ in kinds] for seat in range(2)
            ],
            "values": self._draw_values(chance, kinds),
            "first": chance.integer("first", high=1) if self.first == "random" else self.first,
        }

    def _draw_values(self, chance: Chance, kinds: tuple[tuple[str, int], ...]) -> list[list[int]]:
        def draw(*index: int) -> list[int]:
            ranges = [(name, *self.value_range(base)) for name, base in kinds]
            return [chance.integer("value", *index, name, low=low, high=high) for name, low, high in ranges]

        if not self.drawing.opposed:
            return [draw(0), draw(1)]
        for attempt in itertools.count():
            values = draw(0, attempt)
            if values != values[::-1]:  # else nobody could gain
                return [values, values[::-1]]
        raise AssertionError("unreachable")

    def instances(self) -> Sequence[Any] | None:
        """Only of presets with fixed holdings and opposed values; the others have too many."""
        rule = self.drawing
        if not rule.opposed or rule.holdings[0] != rule.holdings[1]:
            return None
        ranges = [self.value_range(base) for _, base in rule.resources]
        each = [rule.holdings[0]] * len(ranges)
        return [
            {
                "resources": [name for name, _ in rule.resources],
                "holdings": [each[:], each[:]],
                "values": [list(values), list(values[::-1])],
                "first": first,
            }
            for values in itertools.product(*(range(low, high + 1) for low, high in ranges))
            for first in ((0, 1) if self.first == "random" else (self.first,))
            if values != values[::-1]
        ]

    def start(self, instance: Any) -> NegotiationState:
        """Holdings and values may be less than the options draw, not more."""
        keys = set(instance) if isinstance(instance, dict) else set()
        if keys | {"first"} != {"resources", "holdings", "values", "first"}:
            raise ValueError(f'an instance is {{"resources", "holdings", "values", "first"}}, not {instance!r}')
        known = self._greatest_values
        names = instance["resources"]
        is_list = isinstance(names, list | tuple) and len(names) == (self.n or len(known))
        if not is_list or any(name not in known for name in names) or len(set(names)) != len(names):
            raise ValueError(f"resources={names!r} must be {self.n or len(known)} of {', '.join(known)}")
        first = instance.get("first", 0 if self.first == "random" else self.first)
        if type(first) is not int or first not in (0, 1):
            raise ValueError(f"first={first!r} is not 0 or 1")
        most = [self.drawing.holdings[1]] * len(names)
        holdings = _read_pair("holdings", instance["holdings"], most)
        values = _read_pair("values", instance["values"], [known[name] for name in names])
        return NegotiationState(tuple(names), holdings, holdings, values, first)

    def rotated(self, instance: Any) -> Any:
        state = self.start(instance)
        return {
            "resources": list(state.resources),
            "holdings": [list(held or ()) for held in reversed(state.initial)],
            "values": [list(values or ()) for values in reversed(state.values)],
            "first": 1 - state.opener,
        }

    # Play.

    def to_move(self, state: NegotiationState) -> tuple[str, ...]:
        turns = state.turns
        agreed_to_end = len(turns) > 1 and turns[-1].verb == turns[-2].verb == "end"
        return () if agreed_to_end or len(turns) >= self.max_turns else (self.seats[state.mover],)

    def apply(self, state: NegotiationState, moves: Mapping[str, TradeMove]) -> NegotiationState:
        (move,) = moves.values()
        mover, offer, offers, holdings = state.mover, state.standing, state.offers, state.holdings
        if move.verb == "accept":
            assert offer is not None
            move = replace(move, fulfilled=_can_fulfil(offer, state))
            if move.fulfilled:
                first, second = (_after(state.resources, held, offer, seat) for seat, held in enumerate(_both(holdings)))
                offers, holdings = _closed(offers, "accepted"), (first, second)
        elif move.verb == "offer":
            made = Offer(mover, len(state.turns), move.give, move.get, self.offer_ttl)
            offers = (*_closed(offers, "replaced"), made)
        elif move.verb == "reject":
            offers = _closed(offers, "rejected")
        elif move.verb == "withdraw":
            offers = _closed(offers, "withdrawn")
        elif offer is not None and offer.seat != mover:
            older = replace(offer, left=offer.left - 1, status="open" if offer.left > 1 else "expired")
            offers = (*offers[:-1], older)
        turns = (*state.turns, move)
        return NegotiationState(state.resources, state.initial, holdings, state.values, state.opener, turns, offers)

    def open_verbs(self, view: NegotiationState) -> tuple[str, ...]:
        """Verbs of the moves that the seat to move may make."""
        offer = view.standing
        if offer is None:
            return "offer", "pass", "end"
        answers = ("accept", "reject") if offer.seat != view.mover else ("withdraw",)
        return "offer", *answers, "pass", "end"

    # Payment.

    def gains(self, state: NegotiationState) -> tuple[int, int]:
        """By seat, how much the value of what it holds has grown, at its own values."""
        initial, holdings, values = _both(state.initial), _both(state.holdings), _both(state.values)
        first, second = (_worth(values[seat], holdings[seat]) - _worth(values[seat], initial[seat]) for seat in range(2))
        return first, second

    def returns(self, state: NegotiationState) -> dict[str, float]:
        if self.to_move(state):
            return dict.fromkeys(self.seats, 0.0)
        return self._pay(state)

    def _pay(self, state: NegotiationState) -> dict[str, float]:
        first, second = self.gains(state)
        if self.objective == SIGN:
            sign = float((first > second) - (first < second))
            return {"player_0": sign, "player_1": -sign}
        unit = max(max_joint_gain(state), 1) if self.normalize else 1
        care = self.care
        return {"player_0": (first + care * second) / unit, "player_1": (second + care * first) / unit}

    def forfeit_returns(self, state: NegotiationState, seat: str) -> dict[str, float]:
        """The trades made so far stand, but whoever forfeits scores at most 0, or -1 where the game is zero-sum."""
        paid = self._pay(state)
        if self.payoffs == "zero_sum":
            lost = -1.0 if self.objective == SIGN else min(paid[seat], -1.0)
            return {other: lost if other == seat else -lost for other in self.seats}
        if self.payoffs == "cooperative":
            return {other: min(value, 0.0) for other, value in paid.items()}
        return {other: min(value, 0.0) if other == seat else value for other, value in paid.items()}

    def role_of(self, state: NegotiationState, seat: str) -> str:
        return "opener" if self.seats.index(seat) == state.opener else "responder"

    def facts(self, state: NegotiationState) -> dict[str, Any]:
        gains, ceiling = self.gains(state), max_joint_gain(state)
        return {
            "gains": dict(zip(self.seats, gains, strict=True)),
            "joint_gain": sum(gains),
            "max_joint_gain": ceiling,
            "joint_share": sum(gains) / ceiling if ceiling else None,
            "pareto_gap": pareto_gap(state),
            "trades": sum(offer.status == "accepted" for offer in state.offers),
            "turns": len(state.turns),
            "offers": [self._offer_fact(offer) for offer in state.offers],
        }

    def _offer_fact(self, offer: Offer) -> dict[str, Any]:
        return {
            "turn": offer.turn,
            "seat": self.seats[offer.seat],
            "give": dict(offer.give),
            "get": dict(offer.get),
            "outcome": "expired" if offer.status == "open" else offer.status,
        }

    # What a seat sees.

    def view(self, state: NegotiationState, seat: str) -> NegotiationState:
        own = self.seats.index(seat)
        initial, holdings = state.initial, state.holdings
        if not self.holdings_public:
            initial, holdings = _only(own, initial), _only(own, holdings)
        values = _only(own, state.values)
        return NegotiationState(state.resources, initial, holdings, values, state.opener, state.turns, state.offers)

    def hidden_twin(self, state: NegotiationState, seat: str, chance: Chance) -> NegotiationState | None:
        """The other's values and, unless public, holdings, such that every offer and answer so far comes out the same."""
        own = self.seats.index(seat)
        known = self._greatest_values
        drawn = tuple(chance.integer("value", name, high=known[name]) for name in state.resources)
        values = _put(1 - own, drawn, state.values)
        if self.holdings_public:
            return replace(state, values=values)
        for attempt in range(_MAX_DRAWS):
            most = self.drawing.holdings[1]
            held = tuple(chance.integer("holding", attempt, name, high=most) for name in state.resources)
            initial = _put(1 - own, held, state.initial)
            twin = self._replayed(
                replace(state, initial=initial, holdings=initial, values=values, turns=(), offers=()), state
            )
            if twin is not None:
                return twin
        return replace(state, values=values)

    def _replayed(self, start: NegotiationState, played: NegotiationState) -> NegotiationState | None:
        for turn in played.turns:
            held = start.holdings[start.mover]
            assert held is not None
            if turn.verb == "offer" and _lacking(start.resources, held, turn.give):
                return None
            start = self.apply(start, {self.seats[start.mover]: turn})
            if start.turns[-1] != turn:
                return None
        return start

    def rules(self, view: NegotiationState, seat: str) -> str:
        names = view.resources
        sides = f"2 {names[0]}, 1 {names[1]} -> 3 {names[2]}" if len(names) > 2 else f"2 {names[0]} -> 3 {names[1]}"
        lifetime = "An offer stands until your or the other's next offer"
        if self.offer_ttl == 1:
            lifetime = "An offer must be accepted in the very next turn."
        else:
            lifetime += f", at most for {self.offer_ttl} turns of the player who may accept it."
        return RULES.format(
            holdings="" if self.holdings_public else " or goods",
            turns=self.max_turns,
            example=f"[offer: {sides}]",
            lifetime=lifetime,
            objective=self._objective(),
        )

    def _objective(self) -> str:
        own = "how much the value of your goods has grown by the end, at your values"
        if self.objective == SIGN:
            return (
                "You win if the value of your goods, at your values, has grown by more than that of the other's at its "
                "values, and lose if by less. Giving no legal reply loses."
            )
        wanted = {
            0.0: own,
            1.0: f"{own}, plus how much the value of the other's has grown at its values",
            -1.0: f"{own}, minus how much the value of the other's has grown at its values",
        }.get(self.care)
        if wanted is None:
            sign = "plus" if self.care > 0 else "minus"
            wanted = f"{own}, {sign} {abs(self.care):g} times how much the value of the other's has grown at its values"
        scale = "; all divided by the most that both together could gain" if self.normalize else ""
        most = -1 if self.care == -1 else 0
        return f"Your score is {wanted}{scale}. Giving no legal reply ends the game, and you score at most {most}."

    def observe(self, view: NegotiationState, seat: str) -> list[Line]:
        own = self.seats.index(seat)
        held = view.initial
        mine, values = view.initial[own], view.values[own]
        assert mine is not None
        assert values is not None
        prices = ", ".join(f"{name} {value}" for name, value in zip(view.resources, values, strict=True))
        opening = (
            f"{self.seats[view.opener]} moves first. You have {_list(view.resources, mine)}. Worth to you, each: {prices}."
        )
        theirs = held[1 - own]
        lines: list[Line] = [
            opening if theirs is None else f"{opening} {self.seats[1 - own]} has {_list(view.resources, theirs)}."
        ]
        accepted = iter([offer for offer in view.offers if offer.status == "accepted"])
        for number, turn in enumerate(view.turns):
            mover = (view.opener + number) % 2
            if turn.words:
                lines.append(Said(self.seats[mover], turn.words))
            lines += self._event(turn, self.seats[mover])
            if turn.verb == "accept" and turn.fulfilled:
                mine = _after(view.resources, mine, next(accepted), own)
                lines.append(f"You now have {_list(view.resources, mine)}.")
        if not self.to_move(view):
            lines.append("The game is over.")
        return lines

    def _event(self, turn: TradeMove, mover: str) -> list[Line]:
        if turn.verb == "offer":
            return [f"{mover} offers {write_basket(turn.give)} for {write_basket(turn.get)}."]
        if turn.verb == "accept":
            done = "The trade is done." if turn.fulfilled else "The offer cannot be fulfilled."
            return [f"{mover} accepts. {done}"]
        return [f"{mover} {EVENTS[turn.verb]}"] if turn.verb in EVENTS else []

    def request(self, view: NegotiationState, seat: str) -> list[Line]:
        lines: list[Line] = [f"Turn {len(view.turns) + 1} of {self.max_turns}."]
        offer, held = view.standing, view.holdings[self.seats.index(seat)]
        if offer is not None and offer.seat != self.seats.index(seat) and held is not None:
            short = _lacking(view.resources, held, offer.get)
            enough = f" You have too little {', '.join(short)}." if short else ""
            lines.append(f"To accept is to give {write_basket(offer.get)} and get {write_basket(offer.give)}.{enough}")
        return lines

    def legal_moves(self, view: NegotiationState, seat: str) -> tuple[TradeMove, ...] | None:
        return None if seat in self.to_move(view) else ()

    def parse(self, view: NegotiationState, seat: str, text: str) -> TradeMove:
        if seat not in self.to_move(view):
            raise IllegalMove("illegal_now", "It is not your turn.")
        if not find_commands(text, VERBS):
            return TradeMove("talk", text.strip())
        legal = self.open_verbs(view)
        hint = f"Commands now: {', '.join(f'[{verb}]' if verb != 'offer' else '[offer: ... -> ...]' for verb in legal)}."
        command = extract_command(
            text, VERBS, select=self.select, hint=hint, meaning=lambda each: self._meant(view, seat, each, legal, hint)
        )
        words = talk(text, VERBS)
        return replace(self._meant(view, seat, command, legal, hint), words=words)

    def _meant(self, view: NegotiationState, seat: str, command: Command, legal: Sequence[str], hint: str) -> TradeMove:
        verb = ALIASES.get(command.verb, command.verb)
        if verb == "offer":
            give, get = self._read_offer(view, seat, command)
            return TradeMove("offer", give=give, get=get)
        if command.args:
            raise IllegalMove("bad_args", f"[{verb}] takes nothing after it. {hint}")
        if verb not in legal:
            whose = "of your own" if verb == "withdraw" else "of the other's"
            raise IllegalMove("illegal_now", f"There is no open offer {whose} to {verb}. {hint}")
        return TradeMove(verb)

    def _read_offer(self, view: NegotiationState, seat: str, command: Command) -> tuple[Basket, Basket]:
        names = view.resources
        form = f"Write [offer: 2 {names[0]} -> 3 {names[1]}] with what you give on the left."
        sides = _ARROW.split(command.args)
        if len(sides) != 2:
            raise IllegalMove("bad_args", f"An offer has two sides. {form}")
        give, get = (self._read_side(view, side, form) for side in sides)
        both = [name for name, _ in give if name in dict(get)]
        if both:
            raise IllegalMove("bad_args", f"{both[0]} is on both sides. {form}")
        held = view.holdings[self.seats.index(seat)]
        assert held is not None
        if short := _lacking(names, held, give):
            have = ", ".join(f"{held[names.index(name)]} {name}" for name in short)
            raise IllegalMove("insufficient", f"You have only {have}. Offer what you have.")
        return give, get

    def _read_side(self, view: NegotiationState, side: str, form: str) -> Basket:
        goods = _goods(view.resources)
        counts = goods.read(side, low=1, high=[MAX_QUANTITY] * len(goods), hint=form)
        if not counts:
            raise IllegalMove("bad_args", f"Each side of an offer needs something. {form}")
        return tuple((name, counts[index]) for index, name in enumerate(view.resources) if index in counts)

    def write(self, move: TradeMove) -> str:
        command = "" if move.verb == "talk" else f"[{move.verb}]"
        if move.verb == "offer":
            command = f"[offer: {write_basket(move.give)} -> {write_basket(move.get)}]"
        return " ".join(filter(None, (move.words, command)))

    def sample_reply(self, view: NegotiationState, seat: str, chance: Chance) -> str:
        """A small offer, an answer, a wish or a pass; ends only with the other."""
        held = view.holdings[view.mover]
        assert held is not None
        kinds = ["talk", *self.open_verbs(view)]
        if not any(held):
            kinds.remove("offer")
        if not view.turns or view.turns[-1].verb != "end":
            kinds.remove("end")
        verb = chance.choice(kinds, "verb")
        names = view.resources
        if verb == "talk":
            return f"I want {chance.choice(names, 'wish')}."
        if verb == "offer":
            gives = chance.choice([index for index, count in enumerate(held) if count], "gives")
            gets = chance.choice([index for index in range(len(names)) if index != gives], "gets")
            give, get = chance.integer("give", low=1, high=min(3, held[gives])), chance.integer("get", low=1, high=3)
            return f"[offer: {give} {names[gives]} -> {get} {names[gets]}]"
        return f"[{verb}]"

    def noop(self, view: NegotiationState, seat: str) -> TradeMove:
        return TradeMove("pass")


def max_joint_gain(state: NegotiationState) -> int:
    """The most that both can gain together: every unit to whoever values it more."""
    values, held = _both(state.values), _both(state.initial)
    return sum(
        abs(first - second) * (have_0 if first < second else have_1)
        for first, second, have_0, have_1 in zip(*values, *held, strict=True)
    )


def pareto_gap(state: NegotiationState) -> int:
    """How much joint value could still be gained without a loss to either player; 0 on the Pareto front."""
    held, values = _both(state.holdings), _both(state.values)
    return _pareto_gap(tuple(map(sum, zip(*held, strict=True))), values, held)


@lru_cache(maxsize=1024)
def _pareto_gap(totals: Counts, values: tuple[Counts, Counts], held: tuple[Counts, Counts]) -> int:
    own, other = (_worth(values[seat], held[seat]) for seat in range(2))
    front = best_for_first(totals, values)
    reachable = np.flatnonzero(front[other:] >= own) + other
    return int((front[reachable] + reachable).max()) - own - other


def best_for_first(totals: Counts, values: tuple[Counts, Counts]) -> np.ndarray:
    """The most value that player_0 can hold while player_1 holds exactly value w, for each w; -1 where w cannot be.

    Args:
        totals: units of each resource, of both players together.
        values: of one unit, by seat.
    """
    return _best_of_first_resources(totals, values)[-1]


def division(totals: Counts, values: tuple[Counts, Counts], worth_to_second: int) -> Counts:
    """What player_1 holds where `best_for_first` is reached at the value `worth_to_second`, one that can be."""
    best = _best_of_first_resources(totals, values)
    held: list[int] = []
    left = worth_to_second
    for number in reversed(range(len(totals))):
        total, first, second = totals[number], values[0][number], values[1][number]
        given = next(
            given
            for given in range(total + 1)
            if given * second <= left
            and best[number][left - given * second] >= 0
            and best[number][left - given * second] + (total - given) * first == best[number + 1][left]
        )
        held.append(given)
        left -= given * second
    return tuple(reversed(held))


def _best_of_first_resources(totals: Counts, values: tuple[Counts, Counts]) -> list[np.ndarray]:
    """As `best_for_first`, for the first 0, 1, 2, ... resources."""
    best = np.full(_worth(values[1], totals) + 1, -1, dtype=np.int64)
    best[0] = 0
    found = [best]
    for total, first, second in zip(totals, *values, strict=True):
        longer = np.full_like(best, -1)
        for given in range(total + 1):  # units of this resource that player_1 holds
            moved = best[: len(best) - given * second]
            gain = np.where(moved >= 0, moved + (total - given) * first, -1)
            longer[given * second :] = np.maximum(longer[given * second :], gain)
        best = longer
        found.append(best)
    return found


@lru_cache(maxsize=1024)
def _value_range(base: int, spread: float, clip: Pair) -> Pair:
    low, high = clip
    away = math.floor(base * spread + 1e-9)
    return min(max(base - away, low), high), max(min(base + away, high), low)


def _read_pair(what: str, pair: Any, most: Sequence[int]) -> tuple[Counts, Counts]:
    def is_vector(numbers: Any) -> bool:
        if not isinstance(numbers, list | tuple) or len(numbers) != len(most):
            return False
        return all(type(number) is int and 0 <= number <= high for number, high in zip(numbers, most, strict=True))

    if isinstance(pair, list | tuple) and len(pair) == 2 and all(is_vector(numbers) for numbers in pair):
        return tuple(pair[0]), tuple(pair[1])
    raise ValueError(f"{what}={pair!r} must be two lists of whole numbers, from 0 to {list(most)} at most")


@lru_cache(maxsize=64)
def _goods(resources: tuple[str, ...]) -> Goods:
    return Goods.named(resources, plurals=False)


@lru_cache(maxsize=1024)  # what a player began with is told again at every turn
def _list(resources: tuple[str, ...], held: Counts) -> str:
    return _goods(resources).write(held)


def _worth(values: Counts, held: Counts) -> int:
    return sum(value * count for value, count in zip(values, held, strict=True))


def write_basket(basket: Basket) -> str:
    """E.g. "2 Wood, 1 Ore"."""
    return ", ".join(f"{count} {name}" for name, count in basket)


def _lacking(resources: tuple[str, ...], held: Counts, wanted: Basket) -> list[str]:
    return [name for name, count in wanted if held[resources.index(name)] < count]


def _can_fulfil(offer: Offer, state: NegotiationState) -> bool:
    held, names = _both(state.holdings), state.resources
    return not _lacking(names, held[offer.seat], offer.give) and not _lacking(names, held[1 - offer.seat], offer.get)


def _after(resources: tuple[str, ...], held: Counts, offer: Offer, seat: int) -> Counts:
    """What `seat` holds once the offer is carried out."""
    gives, gets = (offer.give, offer.get) if seat == offer.seat else (offer.get, offer.give)
    gone, come = dict(gives), dict(gets)
    return tuple(have - gone.get(name, 0) + come.get(name, 0) for name, have in zip(resources, held, strict=True))


def _closed(offers: tuple[Offer, ...], status: str) -> tuple[Offer, ...]:
    """The offers; the last one, if it was open, with what became of it."""
    if not offers or offers[-1].status != "open":
        return offers
    return (*offers[:-1], replace(offers[-1], status=status))


def _both(pair: tuple[Counts | None, Counts | None]) -> tuple[Counts, Counts]:
    first, second = pair
    assert first is not None, "a view does not tell all"
    assert second is not None, "a view does not tell all"
    return first, second


def _only(own: int, pair: tuple[Counts | None, Counts | None]) -> tuple[Counts | None, Counts | None]:
    return (pair[0], None) if own == 0 else (None, pair[1])


def _put(seat: int, counts: Counts, pair: tuple[Counts | None, Counts | None]) -> tuple[Counts | None, Counts | None]:
    return (counts, pair[1]) if seat == 0 else (pair[0], counts)
