"""Reference players of Simple Negotiation, weakest first.

The planner tells what it has and what that is worth to it, "My values: Wood 5, Gold 15. I have 10 Wood, 10 Gold.", and
understands the same sentences; the others say nothing.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from agents.reference.base import ReferencePlayer
from lmgames.games.simple_negotiation import (
    MAX_QUANTITY,
    Basket,
    NegotiationState,
    Offer,
    SimpleNegotiation,
    TradeMove,
    best_for_first,
    division,
)
from lmgames.observation import Observation

Holdings = Mapping[str, int]
_VALUES = re.compile(r"my values: ([^.]*)\.", re.IGNORECASE)
_HOLDINGS = re.compile(r"i have ([^.]*)\.", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Table:
    """What a player can read off its view.

    Args:
        own: its seat index.
        held, values: its own, by resource.
        their_held, their_values: the other's, as seen or told; None if neither.
        told: whether it has told its own.
        offer: the other's open offer.
        mine: its own last offer.
    """

    game: SimpleNegotiation
    view: NegotiationState
    own: int
    held: Holdings
    values: Holdings
    their_held: Holdings | None
    their_values: Holdings | None
    told: bool
    offer: Offer | None
    mine: Offer | None

    def gain(self, offer: Offer) -> int:
        """What accepting the other's offer brings."""
        return _worth(self.values, offer.give) - _worth(self.values, offer.get)

    def their_gain(self, offer: Offer) -> int | None:
        """What the other's offer brings itself, if it has told its values."""
        if self.their_values is None:
            return None
        return _worth(self.their_values, offer.get) - _worth(self.their_values, offer.give)

    def has(self, basket: Basket) -> bool:
        return all(self.held[name] >= count for name, count in basket)


def read_table(observation: Observation) -> Table:
    """The table as the seat of an observation sees it."""
    game, view = observation.game, observation.view
    names, own = view.resources, game.seats.index(observation.seat)
    seen, their_values, told = view.holdings[1 - own], None, False
    their_held = None if seen is None else dict(zip(names, seen, strict=True))
    standing, offers = None, iter(view.offers)
    dearest = max(game.value_range(base)[1] for _, base in game.drawing.resources)
    most = 2 * game.drawing.holdings[1]
    for number, turn in enumerate(view.turns):
        mine = (view.opener + number) % 2 == own
        values, held = _read(_VALUES, turn.words, names, dearest), _read(_HOLDINGS, turn.words, names, most)
        told = told or (mine and values is not None)
        if not mine:
            their_values = their_values if values is None else values
            their_held = their_held if held is None or seen is not None else held
        if turn.verb == "offer":
            standing = next(offers)
        elif turn.verb == "accept" and turn.fulfilled and their_held is not None and seen is None:
            assert standing is not None
            their_held = _after(their_held, standing, of_proposer=standing.seat != own)
    open_offer = view.standing if view.standing is not None and view.standing.seat != own else None
    last = next((offer for offer in reversed(view.offers) if offer.seat == own), None)
    held_now = dict(zip(names, view.holdings[own], strict=True))
    my_values = dict(zip(names, view.values[own], strict=True))
    return Table(game, view, own, held_now, my_values, their_held, their_values, told, open_offer, last)


def _read(pattern: re.Pattern[str], words: str, names: tuple[str, ...], most: int) -> dict[str, int] | None:
    """A number of each resource; None if the words do not tell them, or one that cannot be."""
    match = pattern.search(words)
    numbers: dict[str, int] = {}
    for entry in match[1].split(", ") if match else ():
        parts = sorted(entry.split(), key=lambda part: not part.isascii() or not part.isdigit())  # the number first
        if len(parts) < 2 or not re.fullmatch("[0-9]{1,4}", parts[0]):
            return None
        numbers[" ".join(parts[1:])] = int(parts[0])
    return numbers if set(numbers) == set(names) and max(numbers.values()) <= most else None


def _after(held: Holdings, offer: Offer, *, of_proposer: bool) -> dict[str, int]:
    gone, come = (offer.give, offer.get) if of_proposer else (offer.get, offer.give)
    changed = dict(held)
    for sign, basket in ((-1, gone), (1, come)):
        for name, count in basket:
            changed[name] = max(0, changed[name] + sign * count)
    return changed


def _worth(values: Holdings, basket: Basket) -> int:
    return sum(values[name] * count for name, count in basket)


def _offer(give: Basket, get: Basket) -> TradeMove:
    return TradeMove("offer", "", give, get)


class Trader(ReferencePlayer):
    """Answers offers, then makes one of its own or passes; accepts what brings it something."""

    def reply(self, observation: Observation) -> str:
        table = read_table(observation)
        offer = table.offer
        if offer is not None and table.has(offer.get) and self.accepts(table, offer):
            return "[accept]"
        own = self.own_offer(table)
        if own is not None:
            return table.game.write(own)
        return "[pass]" if offer is None else "[reject]"

    def accepts(self, table: Table, offer: Offer) -> bool:
        return table.gain(offer) > 0

    def own_offer(self, table: Table) -> TradeMove | None:
        """An offer, or None to make none."""
        return None


class Silent(ReferencePlayer):
    """Passes: no trade, no gain."""

    def reply(self, observation: Observation) -> str:
        return "[pass]"


class AcceptAll(Trader):
    """Accepts whatever it can, whatever it costs; offers nothing."""

    def accepts(self, table: Table, offer: Offer) -> bool:
        return True


class AcceptGain(Trader):
    """Accepts what brings it something; offers nothing."""


class TitForTat(Trader):
    """Offers `q` units of what it values least for as many of what it values most, while its offers are accepted."""

    def __init__(self, q: int = 1):
        if q < 1:
            raise ValueError(f"q={q} must be at least 1 unit")
        self.q = q

    def own_offer(self, table: Table) -> TradeMove | None:
        if table.mine is not None and table.mine.status != "accepted":
            return None
        return swap(table, self.q)


def swap(table: Table, most: int) -> TradeMove | None:
    """At most so many units of the least valued for as many of the most valued resource; None if there is no such swap."""
    had = [name for name in table.view.resources if table.held[name]]
    if not had:
        return None
    least = min(had, key=lambda name: table.values[name])
    wanted = max(table.view.resources, key=lambda name: table.values[name])
    if table.values[least] == table.values[wanted]:
        return None
    count = min(most, table.held[least])
    if table.their_held is not None:
        count = min(count, table.their_held[wanted])
    return _offer(((least, count),), ((wanted, count),)) if count else None


class Exploiter(Trader):
    """Asks for all that the other has, in two offers of one unit each, which only accept-all grants; accepts what gains.

    What the other has it sees, is told, or takes to be the least that the rules deal.
    """

    def own_offer(self, table: Table) -> TradeMove | None:
        cheapest_first = sorted((name for name in table.held if table.held[name]), key=lambda name: table.values[name])
        if len(cheapest_first) < 2:
            return None
        least, second = cheapest_first[:2]
        theirs = table.their_held or self._guess(table)
        others = tuple((name, count) for name, count in theirs.items() if count and name != second)
        if others and others != ((least, 1),):
            return _offer(((second, 1),), others)
        if theirs[second]:
            return _offer(((least, 1),), ((second, theirs[second]),))
        return None

    def _guess(self, table: Table) -> Holdings:
        guess: Holdings = dict.fromkeys(table.held, table.game.drawing.holdings[0])
        for offer in table.view.offers:
            if offer.status == "accepted":
                guess = _after(guess, offer, of_proposer=offer.seat != table.own)
        return guess


class Planner(Trader):
    """Tells what it has and values; knowing the other's as well, offers the trade that serves both best, else small swaps.

    Best is the greatest lesser gain, or where the other's gain counts as much as its own the greatest sum. Where the other's
    gain counts against it, it tells nothing and accepts only what it can see to bring it more than the other.
    """

    def reply(self, observation: Observation) -> str:
        table = read_table(observation)
        reply = super().reply(observation)
        if table.told or table.game.care < 0:
            return reply
        values = ", ".join(f"{name} {value}" for name, value in table.values.items())
        goods = ", ".join(f"{count} {name}" for name, count in table.held.items())
        return f"My values: {values}. I have {goods}. {reply}"

    def accepts(self, table: Table, offer: Offer) -> bool:
        theirs = table.their_gain(offer)
        if theirs is None:
            return table.gain(offer) > 0 and table.game.care >= 0
        return table.gain(offer) + table.game.care * theirs > 0

    def own_offer(self, table: Table) -> TradeMove | None:
        if table.game.care < 0:
            return None
        if table.their_held is not None and table.their_values is not None:
            return best_trade(table)
        return swap(table, 2) if table.told else None


def best_trade(table: Table) -> TradeMove | None:
    """The trade, of all that the goods allow, after which the lesser gain is greatest, then the sum; where the other's gain
    counts as much as the own, the sum, then the lesser gain."""
    theirs, their_values = table.their_held, table.their_values
    assert theirs is not None
    assert their_values is not None
    names = table.view.resources
    totals = tuple(table.held[name] + theirs[name] for name in names)
    values = tuple(table.values[name] for name in names), tuple(their_values[name] for name in names)
    best = best_for_first(totals, values)
    worths = np.flatnonzero(best >= 0)
    own = best[worths] - _worth(table.values, tuple(table.held.items()))
    other = worths - _worth(their_values, tuple(theirs.items()))
    merits = (own + other, np.minimum(own, other))
    first, second = merits if table.game.care == 1 else merits[::-1]
    choice = int(np.lexsort((second, first))[-1])
    kept = dict(zip(names, division(totals, values, int(worths[choice])), strict=True))
    give = tuple((name, kept[name] - theirs[name]) for name in names if kept[name] > theirs[name])
    get = tuple((name, theirs[name] - kept[name]) for name in names if kept[name] < theirs[name])
    fits = give and get and all(count <= MAX_QUANTITY for _, count in (*give, *get))
    return _offer(give, get) if fits and first[choice] > 0 else None


PLAYERS: dict[str, Callable[..., ReferencePlayer]] = {
    "accept_all": AcceptAll,
    "silent": Silent,
    "accept_gain": AcceptGain,
    "exploiter": Exploiter,
    "tit_for_tat": TitForTat,
    "planner": Planner,
}
