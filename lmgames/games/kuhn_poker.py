"""Kuhn Poker: the smallest poker with a bluff in it, one hand or a match of several.

Seats: `player_0`, `player_1`. Roles: `first` opens the first hand, `second` does not.
Hidden: the other card before a showdown (and after a fold), the undealt cards, later deals.
Returns: chips, ante 1 and bet 1 by default, zero-sum; or the sign of the chip total; or chips over their bound.
Reference: with the default deck the value for the seat that opens is -1/18 chips a hand. First to act bets J with
probability a in [0, 1/3], never Q, K with 3a; facing a bet it folds J, calls Q with a + 1/3, calls K. The other seat bets J
1/3 after a check and always K; facing a bet it calls Q 1/3 and always K.
Source: Kuhn, "A simplified two-person poker", Contributions to the Theory of Games I (1950).
Versions: v0.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from typing import Any, ClassVar, Literal

from lmgames.chance import Chance
from lmgames.game import Game, Payoffs, check_choice, check_count
from lmgames.parsing import Command, IllegalMove, extract_command
from lmgames.text import Line, Said

RANKS = ("2", "3", "4", "5", "6", "7", "8", "9", "T", "J", "Q", "K", "A")
LEGAL = {
    (): ("check", "bet"),
    ("check",): ("check", "bet"),
    ("bet",): ("call", "fold"),
    ("check", "bet"): ("call", "fold"),
}
"""Moves open after the moves of a hand so far; a hand with any other moves is over."""
HINTS: dict[tuple[str, ...], str] = {legal: f"Write [{legal[0]}] or [{legal[1]}]." for legal in LEGAL.values()}
ALONE = (("player_0",), ("player_1",))
"""Each seat as the one to move."""
VERBS = ("check", "bet", "call", "fold")
ALIASES = {"pass": ("check", "fold"), "bet": ("bet", "call")}
SHOWDOWNS = ("check", "call")
"""Last moves of a hand after which both cards are shown."""
MAX_LISTED_INSTANCES = 50_000

RULES = """You play Kuhn Poker, {match}. The deck has {size} cards, from low to high: {deck}. In each hand both players put \
in an ante of {ante} and get one card that only they see. The first to act may check or bet {bet}. After a check the other \
may check or bet. Facing a bet, a player may call it or fold. A fold gives the pot to the other; otherwise the higher card \
wins it.{openers} {scoring}
Reply with one move in brackets: [check], [bet], [call] or [fold]."""
SCORING = {
    "chips": "You want to win as many chips as you can.",
    "chips_norm": "You want to win as many chips as you can.",
    "match": "Whoever has won more chips after the last hand wins the match; by how much does not matter.",
}


@dataclass(frozen=True, slots=True)
class Deal:
    """One hand's luck: a card for each seat (None in a view where it is not known) and which seat opens, 0 or 1."""

    cards: tuple[str | None, str | None]
    opener: int


@dataclass(frozen=True, slots=True)
class KuhnState:
    """A match.

    Args:
        deals: of all hands; in a view, of the hands begun.
        played: the moves of each hand begun; a last move "forfeit" is a hand lost without a legal reply.
        won: chips of player_0 in each hand that is over.
        match_forfeited_by: the seat index that lost the whole match by a forfeit.
    """

    deals: tuple[Deal, ...]
    played: tuple[tuple[str, ...], ...] = ((),)
    won: tuple[int, ...] = ()
    match_forfeited_by: int | None = None


@dataclass(frozen=True, kw_only=True)
class KuhnPoker(Game[KuhnState, str]):
    """The rules.

    Args:
        hands: of a match; with `deals="all"` it follows from the deck and must be left at 1.
        scoring: returns in "chips", their sign at the end ("match"), or chips by the most that bets allow ("chips_norm").
        alternate_first: whether the opener changes from hand to hand.
        first_player: seat index that opens the first hand, or "random".
        deals: "random"; "duplicate", each deal twice with the seats exchanged; or "all", every deal with either opener
            once, so that luck is out of the comparison. The last two come in random order.
        ante, bet: chips.
        deck_size: cards, 3 to 13; the facts above hold for 3.
        aliases: whether "pass" and "bet" also mean fold and call, as in OpenSpiel.
        reveal_on_fold: whether both cards are shown after a fold.
        forfeit_match: whether a forfeit loses the hands not yet played, too, at the ante each. A forfeited hand always
            costs what its loser has put in.
        stack: chips each seat starts with; the match ends when one cannot pay ante and bet. None: no limit.
    """

    hands: int = 1
    scoring: Literal["chips", "match", "chips_norm"] = "chips"
    alternate_first: bool = True
    first_player: Literal[0, 1, "random"] = 0
    deals: Literal["random", "duplicate", "all"] = "random"
    ante: int = 1
    bet: int = 1
    deck_size: int = 3
    aliases: bool = False
    reveal_on_fold: bool = False
    forfeit_match: bool = False
    stack: int | None = None

    name: ClassVar[str] = "KuhnPoker"
    roles: ClassVar[tuple[str, ...]] = ("first", "second")
    sources: ClassVar[tuple[str, ...]] = ("Kuhn 1950, A simplified two-person poker",)
    seats = ("player_0", "player_1")
    payoffs: ClassVar[Payoffs] = "zero_sum"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("hands", self.hands, 1, 10_000)
        check_choice("scoring", self.scoring, ("chips", "match", "chips_norm"))
        if self.first_player != "random":
            check_count("first_player", self.first_player, 0, 1)
        check_choice("deals", self.deals, ("random", "duplicate", "all"))
        check_count("ante", self.ante, 1)
        check_count("bet", self.bet, 1)
        check_count("deck_size", self.deck_size, 3, len(RANKS))
        for flag in ("alternate_first", "aliases", "reveal_on_fold", "forfeit_match"):
            check_choice(flag, getattr(self, flag), (True, False))
        if self.stack is not None:
            check_count("stack", self.stack, self.ante + self.bet)
        if self.deals == "duplicate" and self.hands % 2:
            raise ValueError(f"hands={self.hands}: deals='duplicate' needs an even number of hands")
        if self.deals == "all" and self.hands not in (1, self.total_hands):
            raise ValueError(f"hands={self.hands}: deals='all' has {self.total_hands} hands; leave the option out")

    @cached_property
    def deck(self) -> tuple[str, ...]:
        """Cards from low to high: J Q K for the classic three, else the top ranks up to the ace."""
        return ("J", "Q", "K") if self.deck_size == 3 else RANKS[-self.deck_size :]

    @cached_property
    def total_hands(self) -> int:
        return 2 * self.deck_size * (self.deck_size - 1) if self.deals == "all" else self.hands

    @property
    def return_bounds(self) -> tuple[float, float]:
        bound = 1 if self.scoring != "chips" else self.total_hands * (self.ante + self.bet)
        if self.scoring == "chips" and self.stack is not None:
            bound = min(bound, self.stack)
        return -bound, bound

    @property
    def max_turns(self) -> int:
        return 3 * self.total_hands

    # Deals.

    def deal(self, chance: Chance) -> list[list[Any]]:
        """[card of player_0, card of player_1, opener] for each hand."""
        if self.deals == "all":
            return [list(hand) for hand in chance.shuffled(self._every_hand(), "order")]
        first = chance.integer("opener", high=1) if self.first_player == "random" else self.first_player
        distinct = self.hands // 2 if self.deals == "duplicate" else self.hands
        pairs = [chance.sample(self.deck, 2, "cards", number) for number in range(distinct)]
        hands: list[list[Any]] = [[*pair, self._opener(first, number)] for number, pair in enumerate(pairs)]
        if self.deals == "random":
            return hands
        swapped = [[card_1, card_0, 1 - opener] for card_0, card_1, opener in hands]
        return list(chance.shuffled(hands + swapped, "order"))

    def instances(self) -> Sequence[Any] | None:
        count = (self.deck_size * (self.deck_size - 1)) ** self.hands * (2 if self.first_player == "random" else 1)
        if self.deals != "random" or count > MAX_LISTED_INSTANCES:
            return None
        firsts: tuple[int, ...] = (0, 1) if self.first_player == "random" else (self.first_player,)
        pairs = list(itertools.permutations(self.deck, 2))
        return [
            [[*cards, self._opener(first, number)] for number, cards in enumerate(hands)]
            for first in firsts
            for hands in itertools.product(pairs, repeat=self.hands)
        ]

    def start(self, instance: Any) -> KuhnState:
        if not isinstance(instance, list | tuple) or len(instance) != self.total_hands:
            raise ValueError(f"an instance of this match is a list of {self.total_hands} hands, not {instance!r}")
        return KuhnState(tuple(self._read_deal(hand) for hand in instance))

    def _read_deal(self, hand: Any) -> Deal:
        if isinstance(hand, list | tuple) and len(hand) == 3:
            card_0, card_1, opener = hand
            if card_0 in self.deck and card_1 in self.deck and card_0 != card_1 and type(opener) is int and opener in (0, 1):
                return Deal((card_0, card_1), opener)
        raise ValueError(f"{hand!r} is not a hand: [card, another card, opener], cards of {self.deck}, opener 0 or 1")

    def _opener(self, first: int, number: int) -> int:
        return (first + number) % 2 if self.alternate_first else first

    def _every_hand(self) -> list[tuple[str, str, int]]:
        return [(*cards, opener) for cards in itertools.permutations(self.deck, 2) for opener in (0, 1)]

    # Play.

    def to_move(self, state: KuhnState) -> tuple[str, ...]:
        hands = len(state.played)
        if len(state.won) == hands:
            return ()
        return ALONE[(state.deals[hands - 1].opener + len(state.played[-1])) % 2]

    def apply(self, state: KuhnState, moves: Mapping[str, str]) -> KuhnState:
        (move,) = moves.values()
        return self._with_move(state, move)

    def _with_move(self, state: KuhnState, move: str) -> KuhnState:
        hand = (*state.played[-1], move)
        played = (*state.played[:-1], hand)
        if hand in LEGAL:
            return KuhnState(state.deals, played, state.won)
        won = (*state.won, self._won_by_player_0(state.deals[len(state.won)], hand))
        return KuhnState(state.deals, (*played, ()) if self._goes_on(won) else played, won)

    def _goes_on(self, won: tuple[int, ...]) -> bool:
        if len(won) == self.total_hands:
            return False
        return self.stack is None or self.stack - abs(sum(won)) >= self.ante + self.bet

    def _won_by_player_0(self, deal: Deal, hand: tuple[str, ...]) -> int:
        if hand[-1] in ("fold", "forfeit"):
            loser = (deal.opener + len(hand) - 1) % 2
            return -self.ante if loser == 0 else self.ante
        stake = self.ante + (self.bet if hand[-1] == "call" else 0)
        low_to_high = [self.deck.index(str(card)) for card in deal.cards]
        return stake if low_to_high[0] > low_to_high[1] else -stake

    def returns(self, state: KuhnState) -> dict[str, float]:
        chips = self._chips_of_player_0(state)
        paid: float = chips
        if self.scoring == "chips_norm":
            paid = chips / (self.total_hands * (self.ante + self.bet))
        elif self.scoring == "match":
            paid = self._match_result(state, chips)
        return {"player_0": float(paid), "player_1": 0.0 - paid}

    def _chips_of_player_0(self, state: KuhnState) -> int:
        chips = sum(state.won)
        if state.match_forfeited_by is None:
            return chips
        sign = 1 if state.match_forfeited_by == 0 else -1  # of player_0's chips, as the loser counts them
        unplayed = self.ante * (self.total_hands - len(state.won))
        if self.stack is not None:  # nobody loses more than the stack
            unplayed = min(unplayed, self.stack + sign * chips)
        return chips - sign * unplayed

    def _match_result(self, state: KuhnState, chips: int) -> int:
        if state.match_forfeited_by is not None:
            return -1 if state.match_forfeited_by == 0 else 1
        return 0 if self.to_move(state) else (chips > 0) - (chips < 0)

    def forfeit(self, state: KuhnState, seat: str) -> KuhnState:
        state = self._with_move(state, "forfeit")
        if not self.forfeit_match:
            return state
        played = state.played[: len(state.won)]  # no further hand begins
        return replace(state, played=played, match_forfeited_by=self.seats.index(seat))

    def noop(self, view: KuhnState, seat: str) -> str:
        """Check where it is free, else fold."""
        return "check" if "check" in LEGAL[view.played[-1]] else "fold"

    def role_of(self, state: KuhnState, seat: str) -> str:
        return "first" if self.seats.index(seat) == state.deals[0].opener else "second"

    def facts(self, state: KuhnState) -> dict[str, Any]:
        chips = self._chips_of_player_0(state)
        return {"chips": {"player_0": chips, "player_1": -chips}, "hands": len(state.won)}

    # For the conformance suite.

    def hidden_twin(self, state: KuhnState, seat: str, chance: Chance) -> KuhnState:
        """The other's card of every hand not shown, and all of the hands not begun, drawn anew."""
        own = self.seats.index(seat)
        deals = list(state.deals)
        begun = len(state.played)
        if self.deals != "random":
            deals[begun:] = chance.shuffled(deals[begun:], "order")
        for number, deal in enumerate(deals):
            if number < len(state.won) and (state.played[number][-1] in SHOWDOWNS or self.reveal_on_fold):
                continue
            if self.deals == "random":
                mine = deal.cards[own] if number < begun else chance.choice(self.deck, "own", number)
                other = chance.choice([card for card in self.deck if card != mine], "other", number)
                deals[number] = replace(deal, cards=(mine, other) if own == 0 else (other, mine))
            else:  # the deals of the match are known but for their order: one not begun may stand here
                same = [later for later in range(max(begun, number + 1), len(deals)) if self._alike(deal, deals[later], own)]
                if same:
                    later = chance.choice(same, "swap", number)
                    deals[number], deals[later] = deals[later], deals[number]
        return replace(state, deals=tuple(deals))

    def _alike(self, deal: Deal, other: Deal, own: int) -> bool:
        return deal.cards[own] == other.cards[own] and deal.opener == other.opener

    def rotated(self, instance: Any) -> list[list[Any]]:
        return [[card_1, card_0, 1 - opener] for card_0, card_1, opener in instance]

    # What a seat sees.

    def view(self, state: KuhnState, seat: str) -> KuhnState:
        own, over = self.seats.index(seat), len(state.won)
        deals = tuple(
            [
                deal
                if number < over and (self.reveal_on_fold or hand[-1] in SHOWDOWNS)
                else _own_card_alone(deal.cards[own], deal.opener, own)
                for number, (deal, hand) in enumerate(zip(state.deals, state.played, strict=False))
            ]
        )
        return KuhnState(deals, state.played, state.won, state.match_forfeited_by)

    def rules(self, view: KuhnState, seat: str) -> str:
        return self._rules

    @cached_property
    def _rules(self) -> str:
        openers = " The opener changes after each hand." if self.alternate_first and self.total_hands > 1 else ""
        if self.deals == "duplicate":
            openers = " Each deal is played twice, with the seats exchanged, in random order."
        elif self.deals == "all":
            openers = " Every deal is played once with either opener, in random order."
        if self.stack is not None:
            openers += f" Each player has {self.stack} chips; the match ends when one cannot pay ante and bet."
        return RULES.format(
            match="one hand" if self.total_hands == 1 else f"a match of {self.total_hands} hands",
            size=self.deck_size,
            deck=" ".join(self.deck),
            ante=_chips(self.ante),
            bet=_chips(self.bet),
            openers=openers,
            scoring=SCORING[self.scoring],
        )

    def observe(self, view: KuhnState, seat: str) -> list[Line]:
        own, of_hands = self.seats.index(seat), self.total_hands
        lines: list[Line] = []
        total = 0
        for number, (deal, hand, won) in enumerate(itertools.zip_longest(view.deals, view.played, view.won)):
            total += won or 0
            lines += _lines_of_hand(number, of_hands, deal.cards, deal.opener, own, hand, won, total)
        if view.match_forfeited_by is not None:
            lines.append(f"{self.seats[view.match_forfeited_by]} loses the match by forfeit.")
        return lines

    def request(self, view: KuhnState, seat: str) -> list[Line]:
        pot = 2 * self.ante + (self.bet if "bet" in view.played[-1] else 0)
        return [f"Pot: {_chips(pot)}."]

    def legal_moves(self, view: KuhnState, seat: str) -> tuple[str, ...]:
        return LEGAL[view.played[-1]] if seat in self.to_move(view) else ()

    def parse(self, view: KuhnState, seat: str, text: str) -> str:
        legal = self.legal_moves(view, seat)
        hint = HINTS.get(legal, "It is not your turn.")
        verbs = (*VERBS, "pass") if self.aliases else VERBS
        command = extract_command(
            text, verbs, select=self.select, hint=hint, meaning=lambda each: self._meant(each, legal, hint)
        )
        return self._meant(command, legal, hint)

    def _meant(self, command: Command, legal: tuple[str, ...], hint: str) -> str:
        if command.args:
            raise IllegalMove("bad_args", f"[{command.verb}] takes nothing after it. {hint}")
        meant = ALIASES.get(command.verb, ()) if self.aliases else ()
        for move in (command.verb, *meant):
            if move in legal:
                return move
        raise IllegalMove("illegal_now", f"You cannot {command.verb} now. {hint}")


@cache  # at most 13 cards, 2 openers, 2 seats
def _own_card_alone(card: str | None, opener: int, own: int) -> Deal:
    return Deal((card, None) if own == 0 else (None, card), opener)


@lru_cache(maxsize=4096)  # a hand that is over is told again at every later turn
def _lines_of_hand(
    number: int,
    of_hands: int,
    cards: tuple[str | None, str | None],
    opener: int,
    own: int,
    hand: tuple[str, ...],
    won: int | None,
    total: int,
) -> tuple[Line, ...]:
    """What the seat `own` reads of one hand; `won` and `total` are chips of player_0 in it and so far, None if not over."""
    title = f"Hand {number + 1} of {of_hands}. " if of_hands > 1 else ""
    lines: list[Line] = [f"{title}player_{opener} acts first. Your card: {cards[own]}."]
    for turn, move in enumerate(hand):
        mover = f"player_{(opener + turn) % 2}"
        lines.append(f"{mover} gave no legal move." if move == "forfeit" else Said(mover, f"[{move}]"))
    if won is not None:
        shown = "" if None in cards else f"Cards: player_0 {cards[0]}, player_1 {cards[1]}. "
        lines.append(f"{shown}player_{0 if won > 0 else 1} wins {_chips(abs(won))}.")
        if of_hands > 1:
            lines.append(f"Chips so far: player_0 {total:+d}, player_1 {-total:+d}.")
    return tuple(lines)


def _chips(count: int) -> str:
    return f"{count} chip" if count == 1 else f"{count} chips"
