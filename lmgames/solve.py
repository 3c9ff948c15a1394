"""Exact play of small games, from the rules alone: best response, exploitability, CFR, minimax.

A policy is a table: (seat, information set) -> probability of each move, by the move's canonical text. A table may hold one
seat or all of them; `{**one, **other}` joins two. A `Mix` is a player seen as a function, Observation -> probability of
each reply, such as `MixedPlayer.mix` in the package `agents`; `policy_of` asks it at every information set:

    game = lmgames.make_game("KuhnPoker-v0")
    exploitability(game, policy_of(game, Nash(alpha=0.2).mix))  # 0 up to rounding

The functions over tables need a game whose instances and moves can be listed (`Game.instances`, `Game.legal_moves`) and in
which every seat remembers what it saw and did. Seats that move at once do not see each other's move. Games that are too
large for a tree, but small as a graph of positions (`Game.position`), have `minimax`, `outcomes` and `complete_games`.

Sources: Zinkevich et al. 2007, Regret minimization in games with incomplete information (CFR); Tammelin 2014, Solving large
imperfect information games using CFR+; Lanctot et al. 2019, OpenSpiel (definitions of NashConv and exploitability).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from typing import Any

from lmgames.aec import GameEnv
from lmgames.game import Game
from lmgames.observation import Observation
from lmgames.parsing import IllegalMove
from lmgames.players import move_of
from lmgames.registry import make
from lmgames.text import Line

Key = tuple[str, tuple[Line, ...]]
"""(seat, what it has been told): one information set."""
Policy = Mapping[Key, Mapping[str, float]]
Mix = Callable[[Observation], Mapping[str, float]]

MAX_NODES = 2_000_000


# The tree.


@dataclass(slots=True)
class Node:
    """A history. `key` and `moves` are of the seat that decides here, None and () where the game is over."""

    returns: tuple[float, ...]
    key: Key | None = None
    moves: tuple[str, ...] = ()
    children: "tuple[Node, ...]" = ()


@dataclass(frozen=True, slots=True)
class Path:
    """One way into an information set: an instance and the replies, (seat, text), that lead there."""

    instance: Any
    replies: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Tree:
    """Every history of a game.

    Args:
        seats: in seat order, as in `Node.returns`.
        roots: one for each instance, equally likely.
        moves: of each information set, in legal order; the sets come in the order of play.
        paths: one history of each information set.
        decisions, terminals: number of histories in which a seat decides, and in which the game is over.
    """

    seats: tuple[str, ...]
    roots: tuple[Node, ...]
    moves: dict[Key, tuple[str, ...]]
    paths: dict[Key, Path]
    decisions: int
    terminals: int


@lru_cache(maxsize=16)
def game_tree(game: Game[Any, Any]) -> Tree:
    """The game's tree, kept for later calls.

    Raises:
        ValueError: if instances or moves cannot be listed, or there are more than `MAX_NODES` histories.
    """
    instances = game.instances()
    if instances is None:
        raise ValueError(f"{game.name} with {game.options}: its instances cannot be listed, so it has no tree")
    builder = _TreeBuilder(game)
    roots = tuple(builder.grow(game.start(instance), (), Path(instance, ())) for instance in instances)
    return Tree(tuple(game.seats), roots, builder.moves, builder.paths, builder.decisions, builder.terminals)


class _TreeBuilder:
    def __init__(self, game: Game[Any, Any]):
        self.game = game
        self.moves: dict[Key, tuple[str, ...]] = {}
        self.paths: dict[Key, Path] = {}
        self.decisions = 0
        self.terminals = 0

    def grow(self, state: Any, committed: tuple[Any, ...], path: Path) -> Node:
        """The subtree of a state in which the first `len(committed)` seats to move have chosen, unseen by the others."""
        game = self.game
        seats = game.to_move(state)
        if not seats:
            self.terminals += 1
            return Node(_paid(game, state))
        self.decisions += 1
        if self.decisions + self.terminals > MAX_NODES:
            raise ValueError(f"{game.name} with {game.options} has more than {MAX_NODES} histories")
        seat = seats[len(committed)]
        legal = listed_moves(game, state, seat)
        texts = tuple(game.write(move) for move in legal)
        key = (seat, game.information_set(state, seat))
        if self.moves.setdefault(key, texts) != texts:
            raise ValueError(f"{game.name}: {seat} has different moves in states that it cannot tell apart: {key[1]}")
        self.paths.setdefault(key, path)
        children = []
        for move, text in zip(legal, texts, strict=True):
            chosen, then = (*committed, move), Path(path.instance, (*path.replies, (seat, text)))
            if len(chosen) < len(seats):
                children.append(self.grow(state, chosen, then))
            else:
                children.append(self.grow(game.apply(state, dict(zip(seats, chosen, strict=True))), (), then))
        return Node((), key, texts, tuple(children))


def _paid(game: Game[Any, Any], state: Any) -> tuple[float, ...]:
    returns = game.returns(state)
    return tuple(returns[seat] for seat in game.seats)


def listed_moves(game: Game[Any, Any], state: Any, seat: str) -> tuple[Any, ...]:
    """The legal moves of a seat to move.

    Raises:
        ValueError: if words are free, so that moves cannot be listed.
    """
    legal = game.legal_moves(game.view(state, seat), seat)
    if not legal:
        raise ValueError(f"{game.name}: the moves of {seat} cannot be listed, so the game cannot be searched")
    return tuple(legal)


def information_sets(game: Game[Any, Any]) -> dict[Key, tuple[str, ...]]:
    """Every information set in which a seat decides, with the texts of its moves."""
    return dict(game_tree(game).moves)


def has_small_tree(game: Game[Any, Any], max_instances: int = 100) -> bool:
    """Whether exploitability tells something and is cheap: zero-sum, hidden information, listed moves, few instances.

    Without hidden information one hole that a best response finds decides, so NashConv hardly tells policies apart.
    """
    if game.words_are_free or not game.hidden_information or game.payoffs != "zero_sum":
        return False
    instances = game.instances()
    return instances is not None and len(instances) <= max_instances


# Policies.


def uniform_policy(game: Game[Any, Any]) -> dict[Key, dict[str, float]]:
    """Every legal move with the same probability, for all seats."""
    return {key: dict.fromkeys(moves, 1.0 / len(moves)) for key, moves in game_tree(game).moves.items()}


def of_seat(policy: Policy, seat: str) -> dict[Key, Mapping[str, float]]:
    """The part of a policy that decides for one seat."""
    return {key: mix for key, mix in policy.items() if key[0] == seat}


def observations(game: Game[Any, Any], **env_options: Any) -> list[tuple[Key, Observation]]:
    """What a player is given at each information set: exactly what `GameEnv` shows after one of its histories.

    Args:
        env_options: of `GameEnv`, e.g. `show_rules=False`.
    """
    env = GameEnv(game, **env_options)
    return [(key, _observation_after(env, path)) for key, path in game_tree(game).paths.items()]


def _observation_after(env: GameEnv, path: Path) -> Observation:
    env.reset(seed=0, options={"instance": path.instance})
    for _, text in path.replies:
        env.step(text)
    return env.observation(env.agent_selection)


def observations_of_information_sets(env_id: str, **options: Any) -> list[tuple[Key, Observation]]:
    """`observations` of a registered game, e.g. the 12 prompts of Kuhn Poker.

    Args:
        env_id: e.g. "KuhnPoker-v0".
        options: of the game and of `GameEnv`, as for `lmgames.make`.
    """
    env = make(env_id, **options).unwrapped
    assert isinstance(env, GameEnv)
    return [(key, _observation_after(env, path)) for key, path in game_tree(env.game).paths.items()]


def policy_of(game: Game[Any, Any], mix: Mix, **env_options: Any) -> dict[Key, dict[str, float]]:
    """The table of a player, for all seats.

    Args:
        mix: the player; replies that mean the same move are added up.
        env_options: of `GameEnv`, for players that read its text.

    Raises:
        ValueError: if a reply is refused.
    """
    return {key: move_probabilities(seen, mix(seen)) for key, seen in observations(game, **env_options)}


def move_probabilities(observation: Observation, replies: Mapping[str, float]) -> dict[str, float]:
    """Probabilities of replies as probabilities of moves, by canonical text; moves never made are left out.

    Raises:
        ValueError: if a reply with positive probability is refused.
    """
    mix: dict[str, float] = {}
    for reply, probability in replies.items():
        if probability > 0:
            try:
                move = move_of(observation, reply)
            except IllegalMove as refusal:
                raise ValueError(
                    f"{observation.game.name}: the reply {reply!r} is refused ({refusal.code}): {refusal.message}"
                ) from None
            mix[move] = mix.get(move, 0.0) + probability
    return mix


# Values of tables.


def expected_returns(game: Game[Any, Any], policy: Policy) -> dict[str, float]:
    """Mean return of each seat when every seat plays by the policy.

    Raises:
        ValueError: if the policy lacks an information set, or its probabilities are none.
    """
    tree = game_tree(game)
    table = _aligned(tree.moves, policy)
    totals = [0.0] * len(tree.seats)
    pending = [(root, 1.0 / len(tree.roots)) for root in tree.roots]
    while pending:
        node, reach = pending.pop()
        if node.key is None:
            for seat, paid in enumerate(node.returns):
                totals[seat] += reach * paid
            continue
        for probability, child in zip(table[node.key], node.children, strict=True):
            if probability:
                pending.append((child, reach * probability))
    return dict(zip(tree.seats, totals, strict=True))


def _aligned(moves: Mapping[Key, tuple[str, ...]], policy: Policy) -> dict[Key, tuple[float, ...]]:
    """Probabilities in the order of the moves of each information set."""
    return {key: _in_order(key, texts, policy) for key, texts in moves.items()}


def _in_order(key: Key, texts: tuple[str, ...], policy: Policy) -> tuple[float, ...]:
    if key not in policy:
        raise ValueError(f"the policy says nothing for {key[0]} at {list(key[1])}")
    mix = policy[key]
    unknown = set(mix) - set(texts)
    if unknown or min(mix.values(), default=-1.0) < 0 or abs(sum(mix.values()) - 1.0) > 1e-6:
        raise ValueError(f"the policy of {key[0]} at {list(key[1])} is no distribution over {texts}: {dict(mix)}")
    return tuple(mix.get(text, 0.0) for text in texts)


def best_response(game: Game[Any, Any], policy: Policy, seat: str) -> tuple[float, dict[Key, dict[str, float]]]:
    """The most that `seat` can get against the other seats' policy, and a pure policy that gets it.

    Equally good moves: the first in legal order, also where the others' policy never leads.

    Args:
        policy: of the other seats; what it says for `seat` is not read.

    Raises:
        ValueError: if the policy lacks an information set of another seat, or its probabilities are none.
    """
    tree = game_tree(game)
    response = _BestResponse(tree, policy, seat)
    value = sum(response.value(root) for root in tree.roots) / len(tree.roots)
    chosen = {key: response.choice(key) for key in tree.moves if key[0] == seat}
    return value, {key: {tree.moves[key][index]: 1.0} for key, index in chosen.items()}


class _BestResponse:
    def __init__(self, tree: Tree, policy: Policy, seat: str):
        if seat not in tree.seats:
            raise ValueError(f"no seat {seat!r}; there are {', '.join(tree.seats)}")
        self.seat = seat
        self.index = tree.seats.index(seat)
        self.table = _aligned({key: texts for key, texts in tree.moves.items() if key[0] != seat}, policy)
        self.nodes: dict[Key, list[tuple[Node, float]]] = {key: [] for key in tree.moves if key[0] == seat}
        """Histories of each of the seat's sets, with the probability that luck and the others let them happen."""
        self._choices: dict[Key, int] = {}
        self._values: dict[int, float] = {}
        pending = [(root, 1.0) for root in tree.roots]
        while pending:
            node, reach = pending.pop()
            if node.key is None:
                continue
            if node.key[0] == seat:
                self.nodes[node.key].append((node, reach))
                pending += [(child, reach) for child in node.children]
            else:
                chances = self.table[node.key]
                pending += [(child, reach * chance) for child, chance in zip(node.children, chances, strict=True)]

    def value(self, node: Node) -> float:
        if node.key is None:
            return node.returns[self.index]
        if id(node) not in self._values:  # nodes live as long as the tree
            self._values[id(node)] = self._value(node, node.key)
        return self._values[id(node)]

    def _value(self, node: Node, key: Key) -> float:
        if key[0] == self.seat:
            return self.value(node.children[self.choice(key)])
        return sum(p * self.value(child) for p, child in zip(self.table[key], node.children, strict=True) if p)

    def choice(self, key: Key) -> int:
        if key not in self._choices:
            nodes = self.nodes[key]
            gains = [
                sum(reach * self.value(node.children[move]) for node, reach in nodes if reach)
                for move in range(len(nodes[0][0].moves))
            ]
            self._choices[key] = gains.index(max(gains))
        return self._choices[key]


def nash_conv(game: Game[Any, Any], policy: Policy) -> float:
    """What each seat could gain by a best response to the policy, summed over the seats; 0 at an equilibrium."""
    now = expected_returns(game, policy)
    return sum(best_response(game, policy, seat)[0] - now[seat] for seat in game.seats)


def exploitability(game: Game[Any, Any], policy: Policy) -> float:
    """`nash_conv` by the number of seats."""
    return nash_conv(game, policy) / len(game.seats)


# Counterfactual regret minimisation.


def cfr(game: Game[Any, Any], iterations: int) -> dict[Key, dict[str, float]]:
    """The average policy of plain CFR, seats updated in turn. Its NashConv falls at least as 1 / sqrt(iterations)."""
    return _cfr(game, iterations, plus=False)


def cfr_plus(game: Game[Any, Any], iterations: int) -> dict[Key, dict[str, float]]:
    """The average policy of CFR+: regrets cut off at 0, iteration t weighted by t, seats updated in turn."""
    return _cfr(game, iterations, plus=True)


@dataclass(slots=True)
class _Learner:
    """Regrets and the current and the summed policy at one information set, by index of the move."""

    regrets: list[float]
    current: list[float]
    summed: list[float]


def _cfr(game: Game[Any, Any], iterations: int, *, plus: bool) -> dict[Key, dict[str, float]]:
    if game.payoffs != "zero_sum" or len(game.seats) != 2:
        raise ValueError(f"{game.name}: CFR finds equilibria of zero-sum games of two seats only")
    if iterations < 1:
        raise ValueError(f"iterations={iterations} must be at least 1")
    tree = game_tree(game)
    sets = {key: _Learner([0.0] * n, [1.0 / n] * n, [0.0] * n) for key, n in ((k, len(m)) for k, m in tree.moves.items())}
    for iteration in range(1, iterations + 1):
        for seat, name in enumerate(tree.seats):
            for root in tree.roots:
                _update_regrets(root, sets, seat, name, 1.0, 1.0, iteration if plus else 1)
            for key, learner in sets.items():
                if key[0] == name:
                    _match_regrets(learner, plus)
    return {key: _average(tree.moves[key], learner.summed) for key, learner in sets.items()}


def _update_regrets(
    node: Node, sets: Mapping[Key, _Learner], seat: int, name: str, own: float, others: float, weight: float
) -> float:
    """The value of a node for the seat under the current policies; adds to its regrets and its summed policy.

    Args:
        own, others: probability that the seat, and that luck and the others, play up to here.
        weight: of this iteration in the average policy.
    """
    if node.key is None:
        return node.returns[seat]
    learner = sets[node.key]
    current = learner.current
    if node.key[0] != name:
        return sum(
            p * _update_regrets(child, sets, seat, name, own, others * p, weight)
            for p, child in zip(current, node.children, strict=True)
        )
    gains = [
        _update_regrets(child, sets, seat, name, own * p, others, weight)
        for p, child in zip(current, node.children, strict=True)
    ]
    value = sum(p * gain for p, gain in zip(current, gains, strict=True))
    for move, gain in enumerate(gains):
        learner.regrets[move] += others * (gain - value)
        learner.summed[move] += weight * own * current[move]
    return value


def _match_regrets(learner: _Learner, plus: bool) -> None:
    if plus:
        learner.regrets = [max(0.0, regret) for regret in learner.regrets]
    positive = [max(0.0, regret) for regret in learner.regrets]
    total = sum(positive)
    count = len(positive)
    learner.current = [regret / total for regret in positive] if total > 0 else [1.0 / count] * count


def _average(moves: Sequence[str], summed: Sequence[float]) -> dict[str, float]:
    total = sum(summed)
    if total <= 0:
        return dict.fromkeys(moves, 1.0 / len(moves))
    return {move: weight / total for move, weight in zip(moves, summed, strict=True)}


# Graphs of positions.


@dataclass(frozen=True, slots=True)
class Minimax:
    """Perfect play of a zero-sum game of two seats without hidden information. Values are returns of the first seat.

    Tie rule: every move that keeps the value is optimal. A quick win is no better than a slow one.
    """

    game: Game[Any, Any]
    _known: dict[Any, float] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        game = self.game
        if game.payoffs != "zero_sum" or len(game.seats) != 2 or game.hidden_information or game.simultaneous:
            raise ValueError(f"{game.name}: minimax needs a zero-sum game of two seats, in turn, without hidden information")

    def value(self, state: Any) -> float:
        """The first seat's return under perfect play of both from here."""
        position = self.game.position(state)
        if position not in self._known:
            self._known[position] = self._value(state)
        return self._known[position]

    def _value(self, state: Any) -> float:
        seats = self.game.to_move(state)
        if not seats:
            return _paid(self.game, state)[0]
        best = max if seats[0] == self.game.seats[0] else min
        return best(self.value(after) for _, after in _successors(self.game, state))

    def move_values(self, state: Any) -> dict[str, float]:
        """For each move, the return of the seat to move under perfect play after it."""
        (seat,) = self.game.to_move(state)
        sign = 1.0 if seat == self.game.seats[0] else -1.0
        texts = (self.game.write(move) for move in listed_moves(self.game, state, seat))
        return {
            text: sign * self.value(after) for text, (_, after) in zip(texts, _successors(self.game, state), strict=True)
        }

    def optimal_moves(self, state: Any) -> tuple[str, ...]:
        """Every move of greatest value, in legal order."""
        values = self.move_values(state)
        best = max(values.values())
        return tuple(text for text, value in values.items() if value == best)


@lru_cache(maxsize=64)
def minimax(game: Game[Any, Any]) -> Minimax:
    """The solved game; positions are valued when first asked for, and kept.

    Raises:
        ValueError: if the game is not zero-sum between two seats that move in turn and see everything.
    """
    return Minimax(game)


def _successors(game: Game[Any, Any], state: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every joint move of the seats to move, in legal order, with the state after it."""
    seats = game.to_move(state)
    for moves in product(*(listed_moves(game, state, seat) for seat in seats)):
        yield moves, game.apply(state, dict(zip(seats, moves, strict=True)))


def positions(game: Game[Any, Any], instance: Any) -> Iterator[Any]:
    """One state for each position that can be reached from an instance, its first state included."""
    start = game.start(instance)
    seen = {game.position(start)}
    pending = [start]
    while pending:
        state = pending.pop()
        yield state
        for _, after in _successors(game, state) if game.to_move(state) else ():
            position = game.position(after)
            if position not in seen:
                seen.add(position)
                pending.append(after)


def complete_games(game: Game[Any, Any], instance: Any) -> Counter[tuple[tuple[float, ...], int]]:
    """How many courses of an instance end with which (returns in seat order, number of turns)."""
    known: dict[Any, Counter[tuple[tuple[float, ...], int]]] = {}

    def count(state: Any) -> Counter[tuple[tuple[float, ...], int]]:
        position = game.position(state)
        if position not in known:
            known[position] = Counter()
            if not game.to_move(state):
                known[position][_paid(game, state), 0] = 1
            else:
                for _, after in _successors(game, state):
                    for (paid, turns), number in count(after).items():
                        known[position][paid, turns + 1] += number
        return known[position]

    return count(game.start(instance))


def outcomes(game: Game[Any, Any], players: Mapping[str, Mix]) -> dict[tuple[float, ...], float]:
    """Probability of each vector of returns, in seat order, exactly, over the game's instances.

    Args:
        players: seat -> player. They are given `view`, `legal_moves`, `role` and `game`, but no text, and their mix must
            follow from the position alone.

    Raises:
        ValueError: if instances or moves cannot be listed, or a reply is refused.
    """
    instances = game.instances()
    if instances is None:
        raise ValueError(f"{game.name} with {game.options}: its instances cannot be listed")
    known: dict[Any, dict[tuple[float, ...], float]] = {}
    total: dict[tuple[float, ...], float] = {}
    for instance in instances:
        for paid, probability in _outcomes_from(game, players, game.start(instance), known).items():
            total[paid] = total.get(paid, 0.0) + probability / len(instances)
    return total


def _outcomes_from(
    game: Game[Any, Any], players: Mapping[str, Mix], state: Any, known: dict[Any, dict[tuple[float, ...], float]]
) -> dict[tuple[float, ...], float]:
    position = game.position(state)
    if position in known:
        return known[position]
    seats = game.to_move(state)
    if not seats:
        known[position] = {_paid(game, state): 1.0}
        return known[position]
    mixes = [move_probabilities(seen, players[seat](seen)) for seat in seats for seen in (_bare(game, state, seat),)]
    total: dict[tuple[float, ...], float] = {}
    for moves, after in _successors(game, state):
        probability = 1.0
        for mix, move in zip(mixes, moves, strict=True):
            probability *= mix.get(game.write(move), 0.0)
        if probability:
            for paid, chance in _outcomes_from(game, players, after, known).items():
                total[paid] = total.get(paid, 0.0) + probability * chance
    known[position] = total
    return total


def _bare(game: Game[Any, Any], state: Any, seat: str) -> Observation:
    view = game.view(state, seat)
    legal = tuple(game.write(move) for move in listed_moves(game, state, seat))
    return Observation("", seat, role=game.role_of(view, seat), legal_moves=legal, game=game, view=view)
