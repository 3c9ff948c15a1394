"""Who can find out what: hidden information stays hidden, and what may be known is told."""

import copy
import itertools
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from lmgames.aec import GameEnv
from lmgames.chance import Chance
from lmgames.game import Game, IllegalMove
from lmgames.testing.positions import (
    Position,
    env_tells,
    every_position,
    first_difference,
    policies,
    random_game,
    random_positions,
    rules_tell,
)
from lmgames.testing.suite import Fault, Skipped, Subject, check
from lmgames.text import render

DEALS = 400
"""Instances dealt in search of pairs that open alike."""
TWINS = 8
"""Most twins drawn of a listed position and seat."""


@check("T8")
def hidden_information(subject: Subject) -> str:
    """T8. Non-interference: what a seat may not know changes nothing it sees: view, text, legal moves, info, refusals, render.

    Three comparisons. States that the game's `hidden_twin` says a seat cannot tell apart: same view, and everything that
    follows from it, in the rules and in the environment; with `history`, each also in an environment of its own that has played
    up to it, since an environment that is moved to a twin has counted what led elsewhere. Positions with the same view: the
    same in everything else, over all positions where they can be listed. Instances that open alike for a seat, played with the
    same replies: the same in everything as long as the views agree. Without `hidden_twin` nothing says what a view must hide,
    and a view that hides too little is found only if it hides nothing at all.
    """
    game = subject.game
    if not game.hidden_information:
        for position in random_positions(subject, subject.seeds):
            for seat in game.seats:
                if game.view(position.state, seat) != position.state:
                    raise Fault(f"hidden_information is False, but {seat}'s view is not the state", position.seed)
        return "nothing is hidden: every view is the state"
    listed = every_position(game)
    positions = listed or list(random_positions(subject, range(subject.count(40, 400))))
    alike = _same_view_same_rest(game, positions)
    twins, different = _twins(subject, listed)
    in_envs = _twins_in_environments(subject) + _twins_played(subject) if twins else 0
    replayed, distinct = _alike_at_the_start(subject)
    if twins and not different:
        raise Fault("hidden_twin never differs from its state although hidden_information is declared")
    if not twins and not replayed and distinct:
        raise Fault(
            f"hidden_information is declared, but in {DEALS} deals no two open alike for any seat: views hide nothing"
        )
    how = f"all {len(positions)} positions" if listed else f"{len(positions)} positions of random games"
    without = "" if twins else "; no hidden_twin, so what a view must hide is not known"
    return f"{how}, {alike + twins + in_envs + replayed} pairs{without}"


def _same_view_same_rest(game: Game[Any, Any], positions: list[Position]) -> int:
    """Compares every position with the first that gives the seat the same view."""
    met: dict[Any, tuple[dict[str, Any], Position]] = {}
    pairs = 0
    for position in positions:
        for seat in game.seats:
            tells = rules_tell(game, position.state, seat)
            before, other = met.setdefault((seat, game.view(position.state, seat)), (tells, position))
            pairs += other is not position
            _require_equal(before, tells, f"{seat} has the same view in two states, but not the same", game, other, position)
    return pairs


def _require_equal(
    one: dict[str, Any], two: dict[str, Any], what: str, game: Game[Any, Any], at: Position, other: Position
) -> None:
    found = first_difference(one, two)
    if found:
        raise Fault(
            f"{what} {found}\n  one:   {at.told(game)}: {at.state!r}\n  other: {other.told(game)}: {other.state!r}", at.seed
        )


def _twins(subject: Subject, listed: list[Position] | None) -> tuple[int, int]:
    """Compares states with their twins; how many pairs, and how many of them were not the same state."""
    game = subject.game
    if type(game).hidden_twin is Game.hidden_twin:
        return 0, 0
    asked = pairs = different = 0
    for position in _positions_to_twin(subject, listed):
        for seat in game.seats:
            chance = subject.chance("twin", seat, asked)
            asked += 1
            twin = game.hidden_twin(position.state, seat, chance)
            if twin is None:
                continue
            pairs += 1
            different += twin != position.state
            told = {"view": game.view(position.state, seat), **rules_tell(game, position.state, seat)}
            told_twin = {"view": game.view(twin, seat), **rules_tell(game, twin, seat)}
            what = f"{seat} must not tell these states apart, but its views lead to different"
            _require_equal(told, told_twin, what, game, position, Position(twin, position.path))
        if listed is None and asked >= subject.pairs:
            break
    return pairs, different


def _positions_to_twin(subject: Subject, listed: list[Position] | None) -> Iterator[Position]:
    if listed is not None:
        draws = min(TWINS, max(1, subject.pairs // (len(listed) * len(subject.game.seats))))
        return (position for position in listed for _ in range(draws))
    played = random_positions(subject, itertools.count(subject.seeds[0]))
    return (position for position in played for _ in range(2))


def _twins_in_environments(subject: Subject) -> int:
    """The same in the environment, whose texts have a history, with refused replies tried in both."""
    pairs = 0
    for seed in range(subject.seeds[0], subject.seeds[0] + subject.count(3, 30)):
        for env in random_game(subject.env(render_mode="ansi"), seed):
            for seat in env.possible_agents:
                twin = subject.game.hidden_twin(env.game_state, seat, subject.chance("twin in env", seat, pairs))
                if twin is None or twin == env.game_state or env.outcome:
                    continue
                moved = _moved_to(env, twin)
                couples = [(env, moved)]
                if not env._committed and seat in env.waiting and seat in moved.waiting:
                    couples.append((_come_to(env, seat), _come_to(moved, seat)))  # others may have been asked before it
                for one, other in couples:
                    pairs += 1
                    tells, others = env_tells(one, seat), env_tells(other, seat)
                    both = [name for name in tells if name in others]  # where seats move at once, another may be asked first
                    found = first_difference({name: tells[name] for name in both}, {name: others[name] for name in both})
                    if found:
                        raise Fault(f"the environment tells {seat} hidden states apart by {found}", seed)
    return pairs


def _twins_played(subject: Subject) -> int:
    """Twins each in an environment that has come to it by play."""
    game = subject.game
    pairs = 0
    for seed in range(subject.seeds[0], subject.seeds[0] + subject.count(3, 30)):
        for env in random_game(subject.env(), seed, bad_one_in=0):  # a history has no refused replies
            if env.outcome or env._committed:
                continue
            for seat in env.possible_agents:
                twin = game.hidden_twin(env.game_state, seat, subject.chance("twin played", seat, pairs))
                if twin is None or twin == env.game_state:
                    continue
                one, other = _played_to(subject, env.game_state), _played_to(subject, twin)
                if one is None or other is None:
                    return pairs
                if seat in one.waiting and seat in other.waiting:
                    one, other = _come_to(one, seat), _come_to(other, seat)
                pairs += 1
                found = first_difference(env_tells(one, seat), env_tells(other, seat))
                if found:
                    raise Fault(
                        f"the environment tells {seat} hidden states apart, each played from its deal, by {found}", seed
                    )
    return pairs


def _played_to(subject: Subject, state: Any) -> GameEnv | None:
    """An environment that has played up to a state; None if the game does not tell how."""
    history = subject.game.history(state)
    if history is None:
        return None
    instance, turns = history
    env = subject.env(render_mode="ansi")
    env.reset(seed=0, options={"instance": instance})
    for moves in turns:
        for seat in env.waiting:
            env.step(subject.game.write(moves[seat]))
    if env.game_state != state:
        raise Fault(f"history does not lead back to {state!r}, but to {env.game_state!r}")
    return env


def _moved_to(env: GameEnv, state: Any) -> GameEnv:
    """A copy of the environment in another state, with the same past."""
    other = copy.deepcopy(env)
    other._state, other._views = state, {}
    if not env._committed:
        other._movers = env.game.to_move(state)
        for mover in other._movers:
            other._list_moves(mover, other._view(mover))
    other._select_next()
    return other


def _come_to(env: GameEnv, seat: str) -> GameEnv:
    """A copy of the environment in which the seats asked before `seat` have replied."""
    other = copy.deepcopy(env)
    while other.agent_selection != seat:
        other.step(other.infos[other.agent_selection]["action_mask"][0])
    return other


def _alike_at_the_start(subject: Subject) -> tuple[int, bool]:
    """Plays pairs of instances that open alike for a seat; how many positions were compared, and whether the deals differ."""
    game = subject.game
    listed = game.instances()
    deals = list(listed)[:DEALS] if listed is not None else [game.deal(subject.chance("deal", n)) for n in range(DEALS)]
    pairs, wanted = 0, subject.pairs // 4
    for seat in game.seats:
        alike: dict[Any, list[Any]] = defaultdict(list)
        for instance in deals:
            alike[game.view(game.start(instance), seat)].append(instance)
        couples = [couple for group in alike.values() for couple in itertools.pairwise(group) if couple[0] != couple[1]]
        for number, (one, other) in enumerate(couples):
            if pairs >= wanted:
                break
            pairs += _play_both(subject, seat, one, other, number)
    return pairs, len({repr(instance) for instance in deals}) > 1


def _play_both(subject: Subject, seat: str, one: Any, other: Any, number: int) -> int:
    """Plays two instances with the same replies while the seat's views agree; each is played alone, one after the other, so
    that what a game keeps of its latest instance would show."""
    game = subject.game
    replies, shown = _shown(game, seat, one, subject, number, None)
    _, shown_other = _shown(game, seat, other, subject, number, replies)
    pairs = 0
    for (view, tells), (view_other, tells_other) in zip(shown, shown_other, strict=False):
        if view != view_other:
            break
        pairs += 1
        found = first_difference(tells, tells_other)
        if found:
            raise Fault(f"{seat} tells instances {one!r} and {other!r} apart, its views being equal, by {found}")
    return pairs


def _shown(
    game: Game[Any, Any], seat: str, instance: Any, subject: Subject, number: int, replies: list[dict[str, str]] | None
) -> tuple[list[dict[str, str]], list[tuple[Any, dict[str, Any]]]]:
    """Plays an instance, with given replies or random ones; the replies, and what the seat was shown."""
    state = game.start(instance)
    sent: list[dict[str, str]] = []
    shown = [(game.view(state, seat), rules_tell(game, state, seat))]
    for turn in range(game.max_turns):
        moving = game.to_move(state)
        if not moving or (replies is not None and turn >= len(replies)):
            break
        views = {mover: game.view(state, mover) for mover in moving}
        if replies is None:
            drawn = subject.chance("replies", number, turn)
            sent.append({mover: game.sample_reply(views[mover], mover, drawn.derive(mover)) for mover in moving})
        elif set(replies[turn]) != set(moving):
            break
        texts = sent[turn] if replies is None else replies[turn]
        try:
            moves = {mover: game.parse(views[mover], mover, texts[mover]) for mover in moving}
        except IllegalMove:  # another seat's secret may forbid it the reply
            break
        state = game.apply(state, moves)
        shown.append((game.view(state, seat), rules_tell(game, state, seat)))
    return sent, shown


@check("T19")
def canaries(subject: Subject) -> str:
    """T19. A word of the instance that is not in a seat's view stands in no text, info, render or observation of that seat."""
    looked = 0
    for seed in range(subject.seeds[0], subject.seeds[0] + subject.count(10, 100)):
        for env in random_game(subject.env(render_mode="ansi"), seed):
            secrets = set(_words(env.instance))
            for seat in env.possible_agents:
                view = repr(env.game.view(env.game_state, seat)).casefold()
                shown = env.observe(seat)["text"]
                if seat == env.agent_selection and not env.outcome:
                    shown += repr(env.infos[seat]) + (env.render() or "")
                shown = shown.casefold()
                public = env.game.rules(env.game.view(env.game_state, seat), seat).casefold()
                for word in secrets:
                    if (
                        word in view
                        or word in public
                        or any(word in each for each in (*env.possible_agents, *env.game.roles))
                    ):
                        continue
                    looked += 1
                    if word in shown:
                        raise Fault(f"{seat} reads {word!r} of the instance, which is not in its view", seed)
    if not looked:
        raise Skipped("no hidden word of four letters or more in the instances")
    return f"{looked} searches"


def _words(value: Any) -> Iterator[str]:
    """Texts of four characters and more in a JSON value, case-folded."""
    if isinstance(value, str):
        if len(value) >= 4:
            yield value.casefold()
    elif isinstance(value, dict):
        for item in value.values():
            yield from _words(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _words(item)


@check("T10")
def recall(subject: Subject) -> str:
    """T10. Perfect recall: what a seat has been told determines what it was told and did before.

    Over all positions where they can be listed: equal information sets have equal pasts. In random games: two different
    moves of a seat lead to tellings of which neither starts the other, while the game goes on.
    """
    game = subject.game
    listed = every_position(game)
    if listed is not None:
        _recall_all(game, listed)
        return f"all {len(listed)} positions"
    pairs = 0
    for seed in range(subject.seeds[0], subject.seeds[0] + subject.count(20, 200)):
        for env in random_game(subject.env(), seed):
            pairs += _recall_moves(game, env.game_state, subject.chance("recall", seed, len(env.turns)), seed)
    return f"{pairs} pairs of moves"


def _recall_all(game: Game[Any, Any], listed: list[Position]) -> None:
    pasts: dict[tuple[int, str], Any] = {}  # by position and seat: (information set, own move) of each own turn
    told: dict[Any, tuple[Any, Position]] = {}
    for position in listed:  # parents stand before their children
        for seat in game.seats:
            past: Any = ()
            if position.parent is not None:
                past = pasts[id(position.parent), seat]
                if seat in position.path[-1]:
                    before = game.information_set(position.parent.state, seat)
                    past = (*past, (before, game.write(position.path[-1][seat])))
            pasts[id(position), seat] = past
            if not game.to_move(position.state):
                continue
            before, other = told.setdefault((seat, game.information_set(position.state, seat)), (past, position))
            if before != past:
                raise Fault(
                    f"{seat} is told the same {position.told(game)} as {other.told(game)}: it forgets what it did or knew"
                )


def _recall_moves(game: Game[Any, Any], state: Any, chance: Chance, seed: int) -> int:
    """Tries two moves of each seat to move, the others' being the same."""
    moves = {seat: _two_moves(game, state, seat, chance) for seat in game.to_move(state)}
    pairs = 0
    for seat, (one, two) in moves.items():
        after = []
        for move in (one, two):
            then = game.apply(state, {**{other: pair[0] for other, pair in moves.items()}, seat: move})
            if game.to_move(then):
                after.append(game.observe(game.view(then, seat), seat))
        if game.write(one) == game.write(two) or len(after) < 2:
            continue
        pairs += 1
        if all(line == other for line, other in zip(*after, strict=False)):
            raise Fault(f"{seat} is not told whether it played {game.write(one)} or {game.write(two)}", seed)
    return pairs


def _two_moves(game: Game[Any, Any], state: Any, seat: str, chance: Chance) -> tuple[Any, Any]:
    view = game.view(state, seat)
    listed = game.legal_moves(view, seat)
    if listed is not None:
        pair = chance.sample(listed, 2, "pair", seat) if len(listed) > 1 else listed * 2
        return pair[0], pair[1]
    texts = [game.sample_reply(view, seat, chance.derive("pair", seat, number)) for number in range(2)]
    return game.parse(view, seat, texts[0]), game.parse(view, seat, texts[1])


@check("")
def growing(subject: Subject) -> None:
    """Each later text of a seat starts with the earlier one, whoever reads when and whatever is refused or forfeited."""
    for policy in policies(subject):
        for seed in range(subject.seeds[0], subject.seeds[0] + subject.count(10, 100)):
            read: dict[str, str] = {}
            lines: dict[str, list[Any]] = {}
            for env in random_game(subject.env(**policy), seed, bad_one_in=4):
                for seat in env.possible_agents:
                    before, now = read.get(seat, ""), env.observe(seat)["text"]
                    if not now.startswith(before):
                        cut = next(
                            index for index, (a, b) in enumerate(zip(before + "\0", now + "\1", strict=False)) if a != b
                        )
                        raise Fault(
                            f"{policy}: {seat} read ...{before[max(0, cut - 60) : cut + 100]!r}, "
                            f"then ...{now[max(0, cut - 60) : cut + 100]!r}",
                            seed,
                        )
                    read[seat] = now
                    told = env.game.observe(env.game.view(env.game_state, seat), seat)
                    if told[: len(lines.get(seat, []))] != lines.get(seat, []):
                        raise Fault(f"observe told {seat} {lines[seat]!r}, then {told!r}; lines may only be added", seed)
                    lines[seat] = told


@check("T25")
def telling(subject: Subject) -> str:
    """T25. A seat's text differs exactly where what it knows differs: equal views have equal texts, different views do not."""
    game = subject.game
    listed = every_position(game)
    positions = listed or random_positions(subject, range(subject.count(60, 2000)))
    texts: dict[Any, tuple[Any, Position]] = {}
    views: dict[Any, tuple[str, Position]] = {}
    count = 0
    for position in positions:
        count += 1
        for seat in game.seats:
            view, text = game.view(position.state, seat), _text(game, position.state, seat)
            known, other = texts.setdefault((seat, text), (view, position))
            if known != view:
                raise Fault(
                    f"{seat} reads the same text in two states that its view tells apart:\n{view!r}\n{known!r}",
                    position.seed,
                )
            read, other = views.setdefault((seat, view), (text, position))
            if read != text:
                raise Fault(
                    f"{seat} reads two texts for one view: {read!r} and {text!r} ({other.told(game)})", position.seed
                )
    return f"{count} positions"


def _text(game: Game[Any, Any], state: Any, seat: str) -> str:
    view = game.view(state, seat)
    asked = game.request(view, seat) if seat in game.to_move(state) else []
    return render([game.rules(view, seat), *game.observe(view, seat), *asked])
