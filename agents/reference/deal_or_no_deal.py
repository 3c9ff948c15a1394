"""Reference players of Deal or No Deal, weakest first.

They play every protocol, and talk in three sentences that they understand from each other: "My values: book 4, hat 3, ball
0." tells values, "I take 1 book, 2 hats, 0 balls." makes a claim, "What do you want?" asks. Whoever agrees to a claim
proposes the rest of it; the claimer then proposes its claim.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from agents.reference.base import ReferencePlayer
from lmgames.games.deal_contexts import (
    Context,
    Counts,
    Criterion,
    PoolRule,
    best_split,
    partner_values,
    rest,
    splits,
    worth,
)
from lmgames.games.deal_or_no_deal import DealMove, DealOrNoDeal, DealState
from lmgames.observation import Observation
from lmgames.parsing import IllegalMove

QUESTION = "What do you want?"
_VALUES = re.compile(r"my values: ([^.]*)\.", re.IGNORECASE)
_CLAIM = re.compile(r"i take ([^.]*)\.", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Table:
    """What a player can read off its view.

    Args:
        own: its seat index.
        their_values: as the other told them last; None if it did not.
        told: whether it has told its own.
        claim: the last claim of either side, as (whether it is its own, what the claimer takes).
        said: messages it has sent.
    """

    game: DealOrNoDeal
    view: DealState
    own: int
    values: Counts
    their_values: Counts | None
    told: bool
    claim: tuple[bool, Counts] | None
    said: int

    @property
    def counts(self) -> Counts:
        return self.view.counts

    @property
    def offered(self) -> Counts | None:
        """What the other's claim leaves for oneself, if the last claim is the other's."""
        return rest(self.counts, self.claim[1]) if self.claim and not self.claim[0] else None

    @property
    def context(self) -> Context | None:
        """The whole context, if the other has told its values."""
        if self.their_values is None:
            return None
        values = (self.values, self.their_values) if self.own == 0 else (self.their_values, self.values)
        return Context(self.counts, values)

    def partners(self) -> tuple[Counts, ...]:
        """The other's possible values: as told, or all that the rules allow."""
        if self.their_values is not None:
            return (self.their_values,)
        return partner_values(self.counts, self.values, self.game.pool_rule) or (self.values,)


def read_table(observation: Observation) -> Table:
    """The table as the seat of an observation sees it."""
    game, view = observation.game, observation.view
    own = game.seats.index(observation.seat)
    their_values, told, claim, said = None, False, None, 0
    for number, move in enumerate(view.moves):
        mine = (view.opener + number) % 2 == own
        values = _read_values(game, view.counts, move.words)
        take = move.take if move.verb == "offer" else _read_claim(game, view.counts, move.words)
        if values is not None and not mine:
            their_values = values
        told = told or (values is not None and mine)
        claim = claim if take is None else (mine, take)
        said += mine and move.verb in ("message", "offer")
    return Table(game, view, own, view.values[own], their_values, told, claim, said)


def _read_values(game: DealOrNoDeal, counts: Counts, words: str) -> Counts | None:
    match = _VALUES.search(words)
    if not match:
        return None
    pairs = [entry.rsplit(" ", 1) for entry in match[1].split(", ")]
    told = {pair[0].casefold(): pair[1] for pair in pairs if len(pair) == 2 and re.fullmatch("[0-9]{1,4}", pair[1])}
    if set(told) != {name.casefold() for name in game.goods.singular}:
        return None
    values = tuple(int(told[name.casefold()]) for name in game.goods.singular)
    return values if worth(values, counts) == game.value_total else None


def _read_claim(game: DealOrNoDeal, counts: Counts, words: str) -> Counts | None:
    match = _CLAIM.search(words)
    if not match:
        return None
    try:
        take = game.goods.read(match[1], low=0, high=counts)
    except IllegalMove:
        return None
    return tuple(take[index] for index in range(len(counts))) if len(take) == len(counts) else None


def one_shot_claim(counts: Counts, own: Counts, rule: PoolRule, threshold: int) -> Counts:
    """The take of most expected value when the other, of any values that the rules allow, accepts what is worth at least
    `threshold` to it; of equals the one of most own value, then the lexicographically first."""
    return _best_claim(counts, own, partner_values(counts, own, rule), threshold)


def informed_claim(context: Context, seat: int, threshold: int) -> Counts:
    """The take of most own value that leaves the other at least `threshold`; of equals the one best for the other."""
    own, other = context.values[seat], context.values[1 - seat]
    fair = [take for take in splits(context.counts) if worth(other, rest(context.counts, take)) >= threshold]
    return max(fair, key=lambda take: (worth(own, take), worth(other, rest(context.counts, take))))


@lru_cache(maxsize=4096)
def _best_claim(counts: Counts, own: Counts, partners: tuple[Counts, ...], threshold: int) -> Counts:
    def merit(take: Counts) -> tuple[int, int]:
        left = rest(counts, take)
        accepting = sum(worth(values, left) >= threshold for values in partners)
        return worth(own, take) * accepting, worth(own, take)

    return max(splits(counts), key=merit)


class Bargainer(ReferencePlayer):
    """Claims, agrees or insists; what a player demands and agrees to makes it.

    Args:
        patience: own messages after which it proposes its demand, agreed or not.
    """

    def __init__(self, patience: int = 5):
        self.patience = patience

    def demand(self, table: Table) -> Counts:
        """What it wants to take."""
        raise NotImplementedError

    def agrees(self, table: Table, take: Counts) -> bool:
        """Whether it is content with taking `take`, as the other's claim leaves it."""
        raise NotImplementedError

    def words(self, table: Table) -> str | None:
        """What it says in place of a claim; None to claim its demand."""
        return None

    def settled(self, table: Table) -> Counts | None:
        """What it takes if both know the deal by now."""
        return table.offered if table.offered is not None and self.agrees(table, table.offered) else None

    def reply(self, observation: Observation) -> str:
        table = read_table(observation)
        game, view = table.game, table.view
        verbs, settled = game.open_verbs(view), self.settled(table)
        if "message" not in verbs:
            return game.write(DealMove("propose", take=self._final(table)))
        if "accept" in verbs and table.offered is not None and self.agrees(table, table.offered):
            return "[accept]"
        hurried = table.said >= self.patience or game.max_messages - view.count("message") <= 2
        if (settled is not None or hurried) and "propose" in verbs:
            return game.write(DealMove("propose", take=settled or self._final(table)))
        if (settled is not None or hurried) and "end talk" in verbs:
            return "[end talk]"
        words = None if settled is not None else self.words(table)
        if words is not None:
            return words
        claim = settled or self.demand(table)
        return game.write(DealMove("offer", take=claim)) if "offer" in verbs else f"I take {game.goods.write(claim)}."

    def _final(self, table: Table) -> Counts:
        settled = self.settled(table)
        if settled is not None:
            return settled
        if table.claim is not None and table.claim[0]:
            return table.claim[1]  # the other has agreed to it, if to anything
        return self.demand(table)


class Yielding(Bargainer):
    """Asks what the other wants and takes the rest; left without a claim, the half that it likes less."""

    def demand(self, table: Table) -> Counts:
        half = table.game.value_total / 2
        return max(splits(table.counts), key=lambda take: (worth(table.values, take) <= half, worth(table.values, take)))

    def agrees(self, table: Table, take: Counts) -> bool:
        return True

    def words(self, table: Table) -> str | None:
        return QUESTION


class Greedy(Bargainer):
    """Claims every item that is worth something to it, and never agrees to less than all of that."""

    def demand(self, table: Table) -> Counts:
        return tuple(count if value else 0 for count, value in zip(table.counts, table.values, strict=True))

    def agrees(self, table: Table, take: Counts) -> bool:
        return worth(table.values, take) == table.game.value_total


class Threshold(Bargainer):
    """Claims what is best if the other accepts `t` points, knowing its own values alone, and agrees to `t` points itself."""

    def __init__(self, t: int = 5, patience: int = 5):
        super().__init__(patience)
        self.t = t

    def demand(self, table: Table) -> Counts:
        return one_shot_claim(table.counts, table.values, table.game.pool_rule, self.t)

    def agrees(self, table: Table, take: Counts) -> bool:
        return worth(table.values, take) >= self.t


class Conceder(Bargainer):
    """Demands less each time, two points by default, down to `t`; agrees to what it would demand next.

    Of the takes that are worth its demand it claims the one that leaves most to the other, as far as it can know.
    """

    def __init__(self, t: int = 4, step: int = 2, patience: int = 5):
        super().__init__(patience)
        self.t = t
        self.step = step

    def _level(self, table: Table, rounds: int) -> int:
        return max(min(self.t, table.game.value_total), table.game.value_total - self.step * rounds)

    def demand(self, table: Table) -> Counts:
        level, partners = self._level(table, table.said), table.partners()
        worthy = [take for take in splits(table.counts) if worth(table.values, take) >= level]
        return max(worthy, key=lambda take: sum(worth(values, rest(table.counts, take)) for values in partners))

    def agrees(self, table: Table, take: Counts) -> bool:
        return worth(table.values, take) >= self._level(table, table.said + 1)


class Honest(Bargainer):
    """Tells its values; once the other has told its own, both know the best split.

    Args:
        split: what is best: "nash", "utilitarian" or "egalitarian"; None: utilitarian where the other's points count for a
            player, else Nash.
        t: with one that does not tell, it agrees to so many points.
    """

    def __init__(self, split: Criterion | None = None, t: int = 3, patience: int = 5):
        super().__init__(patience)
        self.split = split
        self.t = t
        if split not in (None, "nash", "utilitarian", "egalitarian"):
            raise ValueError(f"split={split!r} is none of 'nash', 'utilitarian', 'egalitarian'")

    def _fair(self, table: Table) -> Counts | None:
        if table.context is None or not table.told:
            return None
        take = best_split(table.context, self.split or ("utilitarian" if table.game.care > 0 else "nash"))
        return take if table.own == 0 else rest(table.counts, take)

    def settled(self, table: Table) -> Counts | None:
        fair = self._fair(table)
        return super().settled(table) if fair is None else fair

    def demand(self, table: Table) -> Counts:
        fair = self._fair(table)
        return Threshold(max(self.t, table.game.value_total // 2)).demand(table) if fair is None else fair

    def agrees(self, table: Table, take: Counts) -> bool:
        fair = self._fair(table)
        return take == fair if fair is not None else worth(table.values, take) >= self.t

    def words(self, table: Table) -> str | None:
        if table.told:
            return None
        pairs = zip(table.game.goods.singular, table.values, strict=True)
        return f"My values: {', '.join(f'{name} {value}' for name, value in pairs)}."


class Planner(Bargainer):
    """Plays for the game's objective. Where the other's points count for it, it is honest and seeks the greatest sum;
    elsewhere it asks, keeps its own values to itself and claims the most that the other may be expected to grant.

    Args:
        t: points that it is content with itself when time runs out, and the most that it expects the other to insist on. It
            begins by expecting 1, and one more each time it is not agreed to.
    """

    def __init__(self, t: int = 4, patience: int = 5):
        super().__init__(patience)
        self.t = t
        self._honest = Honest(None, t, patience)

    def reply(self, observation: Observation) -> str:
        return self._honest.reply(observation) if observation.game.care > 0 else super().reply(observation)

    def demand(self, table: Table) -> Counts:
        return self._claim(table, table.said)

    def _claim(self, table: Table, refused: int) -> Counts:
        expected = min(self.t, 1 + refused, table.game.value_total)
        return _best_claim(table.counts, table.values, table.partners(), expected)

    def agrees(self, table: Table, take: Counts) -> bool:
        if table.game.care < 0:
            return self._gain(table, take) > 0
        wanted = worth(table.values, self._claim(table, table.said + 1))
        late = table.said + 2 >= self.patience
        return worth(table.values, take) >= (self.t if late else wanted)

    def _gain(self, table: Table, take: Counts) -> float:
        partners = table.partners()
        theirs = sum(worth(values, rest(table.counts, take)) for values in partners) / len(partners)
        return worth(table.values, take) + table.game.care * theirs

    def words(self, table: Table) -> str | None:
        return QUESTION if not table.said and table.their_values is None and table.claim is None else None


PLAYERS: dict[str, Callable[..., ReferencePlayer]] = {
    "yielding": Yielding,
    "greedy": Greedy,
    "threshold": Threshold,
    "honest": Honest,
    "conceder": Conceder,
    "planner": Planner,
}
