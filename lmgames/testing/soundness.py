"""Whether the rules are what they declare to be: pure, bounded, paid right, ending, symmetric, and their states values."""

import copy
import dataclasses
import itertools
import json
import pickle
import re
from collections.abc import Callable
from typing import Any

from lmgames.aec import GameEnv
from lmgames.game import Game
from lmgames.parsing import IllegalMove
from lmgames.playthrough import random_reply
from lmgames.records import GameRecord, replay
from lmgames.testing.nasty import nasty_replies
from lmgames.testing.positions import env_tells, first_difference, policies, random_game
from lmgames.testing.suite import Fault, Skipped, Subject, check

MAX_LISTED_INSTANCES = 2_000


@check("")
def declarations(subject: Subject) -> None:
    """What the game declares holds: options rebuild it, instances survive JSON and are listed, roles are known."""
    game = subject.game
    as_given: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in game.options.items()
    }
    if type(game)(**as_given) != game:
        raise Fault(f"{type(game).__name__}(**{game.options!r}) is another game")
    if json.loads(json.dumps(game.options)) != game.options:
        raise Fault(f"options {game.options!r} do not survive JSON; use lists for tuples")
    declared = {field.name for field in dataclasses.fields(game)} & {"seats", "payoffs", "return_bounds"}
    if declared:
        raise Fault(f"{', '.join(sorted(declared))}: options by accident; declare it as a property or ClassVar")
    least, most = game.return_bounds
    if not least <= most or game.max_turns < 1 or len(set(game.seats)) != len(game.seats):
        raise Fault(f"declares return_bounds {game.return_bounds}, max_turns {game.max_turns}, seats {game.seats}")
    for seat in game.seats:
        if not re.fullmatch(r"[a-z]+_[0-9]+", seat):
            raise Fault(f"seat {seat!r} is not named <word>_<number>")
    listed = game.instances()
    known = None if listed is None else {json.dumps(instance, sort_keys=True) for instance in listed}
    if listed is not None and known is not None and len(known) != len(listed):
        raise Fault("instances() lists one twice")
    for instance in list(listed or ())[:MAX_LISTED_INSTANCES]:
        _instance_is_sound(game, instance, None)
    for seed in range(subject.seeds[0], subject.seeds[0] + 20):
        env = subject.env()
        env.reset(seed=seed)
        _instance_is_sound(game, env.instance, seed)
        if known is not None and json.dumps(env.instance, sort_keys=True) not in known:
            raise Fault(f"deals {env.instance!r}, which instances() does not list", seed)
        again = subject.env()
        again.reset(seed=seed)
        if env.instance != again.instance:
            raise Fault(f"one seed deals {env.instance!r} and {again.instance!r}", seed)


def _instance_is_sound(game: Game[Any, Any], instance: Any, seed: int | None) -> None:
    back = json.loads(json.dumps(instance))
    if back != instance:
        raise Fault(f"instance {instance!r} is not of JSON types; it comes back as {back!r}", seed)
    state = game.start(instance)
    if game.start(back) != state:
        raise Fault(f"instance {instance!r} starts another state after a JSON round trip", seed)
    for seat in game.seats:
        if game.role_of(state, seat) not in game.roles:
            raise Fault(f"{seat} has the role {game.role_of(state, seat)!r}, which is not of {game.roles}", seed)


@check("")
def pure_rules(subject: Subject) -> str:
    """Rules are functions of values: `apply` changes no state, views answer as states do, moves equal their texts."""
    positions = 0
    for seed in range(subject.seeds[0], subject.seeds[0] + subject.count(15, 200)):
        for env in random_game(subject.env(), seed):
            positions += 1
            state, game = env.game_state, env.game
            before, wrote = hash(state), repr(state)
            frozen = copy.deepcopy(state)
            _views_agree(game, state, seed)
            moves = {seat: _listed_moves_are_texts(game, state, seat, subject, seed) for seat in game.to_move(state)}
            if moves:
                one, two = game.apply(state, moves), game.apply(frozen, moves)
                if one != two:
                    raise Fault(f"apply gives {one!r}, and then {two!r} for the same state and moves", seed)
            if state != frozen or hash(state) != before or repr(state) != wrote:
                raise Fault(f"a state was changed in place: {wrote} became {state!r}", seed)
            if pickle.loads(pickle.dumps(state)) != state:  # noqa: S301 -- our own bytes
                raise Fault(f"a state does not survive pickle: {state!r}", seed)
            _returns_are_sound(game, state, seed)
    return f"{positions} positions"


def _views_agree(game: Game[Any, Any], state: Any, seed: int) -> None:
    for seat in game.seats:
        view = game.view(state, seat)
        if game.view(state, seat) != view:
            raise Fault(f"view of {seat} is not the same twice", seed)
        if (seat in game.to_move(view)) != (seat in game.to_move(state)):
            raise Fault(f"to_move of {seat}'s view is {game.to_move(view)}, of the state {game.to_move(state)}", seed)
        if game.rules(view, seat) != game.rules(view, seat) or game.observe(view, seat) != game.observe(view, seat):
            raise Fault(f"{seat} is told something else the second time it reads", seed)
        legal = game.legal_moves(view, seat)
        if seat in game.to_move(state):
            if legal is not None and not legal:
                raise Fault(f"{seat} is to move and has no legal move", seed)
            if legal is None and not game.words_are_free:
                raise Fault("legal_moves is None, but the game does not declare words_are_free", seed)
            if legal != game.legal_moves(state, seat):
                raise Fault(f"{seat}'s view and the state differ in its legal moves", seed)
        elif legal:
            raise Fault(f"{seat} has legal moves {legal!r} and is not to move", seed)


def _listed_moves_are_texts(game: Game[Any, Any], state: Any, seat: str, subject: Subject, seed: int) -> Any:
    """Checks that write and parse are inverse; gives a move of the seat."""
    view = game.view(state, seat)
    listed = game.legal_moves(view, seat)
    sampled = [game.parse(view, seat, game.sample_reply(view, seat, subject.chance("sample", n))) for n in range(2)]
    idle = game.noop(view, seat)
    if listed is not None and idle is not None and idle not in listed:
        raise Fault(f"the no-op {game.write(idle)} is not of the legal moves", seed)
    for move in (*(listed or ()), *sampled):  # a no-op need not be a text that a player could write
        if listed is not None and move not in listed:
            raise Fault(f"{game.write(move)} is sampled, and not of the legal moves", seed)
        try:
            back = game.parse(view, seat, game.write(move))
        except IllegalMove as refusal:
            raise Fault(
                f"{game.write(move)!r} is the text of a legal move and is refused: {refusal.message}", seed
            ) from None
        if back != move:
            raise Fault(f"move {move!r} is written {game.write(move)!r}, which is read as {back!r}", seed)
    if listed is not None and len({game.write(move) for move in listed}) != len(listed):
        raise Fault(f"two legal moves have one text: {[game.write(move) for move in listed]}", seed)
    return sampled[0]


def _returns_are_sound(game: Game[Any, Any], state: Any, seed: int) -> None:
    least, most = game.return_bounds
    endings = [("returns", game.returns(state))]
    endings += [(f"forfeit_returns of {seat}", game.forfeit_returns(state, seat)) for seat in game.to_move(state)]
    for what, returns in endings:
        if set(returns) != set(game.seats):
            raise Fault(f"{what} pays {sorted(returns)}, the seats are {game.seats}", seed)
        if game.payoffs == "zero_sum" and sum(returns.values()) != 0:
            raise Fault(f"{what} {returns} do not sum to 0 in a zero-sum game", seed)
        for seat, paid in returns.items():
            if not least <= paid <= most:
                raise Fault(f"{what} pays {seat} {paid}, out of return_bounds {game.return_bounds}", seed)


@check("T14")
def payoffs(subject: Subject) -> str:
    """T14. Zero-sum games pay 0 in sum at every step, and every return is within its bounds, in every ending.

    Endings by invalid replies are tried for each seat, at each turn, under each invalid policy.
    """
    games = 0
    for policy in policies(subject):
        for seed in subject.seeds:
            length = sum(1 for _ in random_game(subject.env(**policy), seed, bad_one_in=0)) - 1
            fails_from = range(length) if length <= 12 or subject.thorough else range(0, length, -(-length // 12))
            for turn in fails_from:
                games += 1
                _paid_right(subject, subject.env(**policy), seed, turn)
    return f"{games} games broken off by refused replies"


def _paid_right(subject: Subject, env: GameEnv, seed: int, fails_from: int) -> None:
    """Plays at random up to a reply, and sends empty replies for that reply's seat from there."""
    env.reset(seed=seed)
    total = dict.fromkeys(env.possible_agents, 0.0)
    failing = None
    for number in itertools.count():
        if env.outcome:
            break
        if number == fails_from:
            failing = env.agent_selection
        env.step("" if env.agent_selection == failing else random_reply(env, seed))
        if subject.game.payoffs == "zero_sum" and sum(env.rewards.values()) != 0:
            raise Fault(
                f"{env.invalid_policy}: {failing} failing from reply {fails_from} on, a step pays {env.rewards}", seed
            )
        for seat, reward in env.rewards.items():
            total[seat] += reward
    least, most = subject.game.return_bounds
    for seat, paid in total.items():
        if not least - 1e-9 <= paid <= most + 1e-9:
            raise Fault(f"{env.invalid_policy}: {failing} failing, {seat} is paid {paid}, out of {(least, most)}", seed)
        if abs(paid - env.returns[seat]) > 1e-9:
            raise Fault(f"rewards of {seat} sum to {paid}, its return is {env.returns[seat]}", seed)


@check("T15")
def ending(subject: Subject) -> str:
    """T15. Random-legal, first-legal, garbage and empty replies all end the game within max_turns, never by the safety limit."""
    noise = nasty_replies(subject.chance("garbage"), longest=500)

    def first(env: GameEnv, _: int) -> str:
        texts = env.infos[env.agent_selection]["action_mask"]
        return str(texts[0])

    def garbage(env: GameEnv, seed: int) -> str:
        return subject.chance("noise", seed, len(env.turns)).choice(noise, "which")

    players: dict[str, Callable[[GameEnv, int], str]] = {
        "random legal": random_reply,
        "first legal": first,
        "garbage": garbage,
        "empty": lambda _env, _seed: "",
    }
    games = subject.count(20, 1000)
    for name, reply in players.items():
        for policy in policies(subject):
            for seed in range(subject.seeds[0], subject.seeds[0] + games // len(policies(subject)) + 1):
                env = subject.env(**policy)
                env.reset(seed=seed)
                while not env.outcome:
                    env.step(reply(env, seed))
                accepted = sum(turn.status in ("ok", "replaced") for turn in env.turns)
                if env.outcome == "limit" or accepted > subject.game.max_turns:
                    raise Fault(f"{name} replies: {accepted} moves, over max_turns={subject.game.max_turns}", seed)
    return f"{games} games of each of {len(players)} kinds of player"


@check("T20")
def clones(subject: Subject) -> str:
    """T20. Copies, pickles and JSON records of an episode, taken at every step, go on as it does and leave it unaffected."""
    steps = 0
    for seed in subject.seeds:
        whole = [_facts(env) for env in random_game(subject.env(), seed)]
        taken_every = 1 if len(whole) <= 25 or subject.thorough else len(whole) // 12
        for number, env in enumerate(random_game(subject.env(), seed)):
            if _facts(env) != whole[number]:
                raise Fault(f"after {number} replies the episode was changed by what its copies played", seed)
            if number % taken_every:
                continue
            steps += 1
            for how, other in _copies(subject, env).items():
                _goes_on_alike(how, other, whole, number, seed)
    return f"{steps} steps, 3 ways each"


def _copies(subject: Subject, env: GameEnv) -> dict[str, GameEnv]:
    record = GameRecord.from_json(env.record().to_json())
    if subject.env_id is not None:
        replayed = replay(record)
    else:
        replayed = subject.env()
        replayed.reset(options={"instance": record.instance}, seed=record.seed)
        for turn in record.turns:
            replayed.step(turn.reply)
    pickled = pickle.loads(pickle.dumps(env))  # noqa: S301 -- our own bytes
    return {"deep copy": copy.deepcopy(env), "pickle": pickled, "record": replayed}


def _goes_on_alike(how: str, env: GameEnv, whole: list[dict[str, Any]], number: int, seed: int) -> None:
    for then in whole[number:]:
        found = first_difference(_facts(env), then)
        if found:
            raise Fault(f"a {how} taken after {number} replies goes on differently: {found}", seed)
        if not env.outcome:
            env.step(random_reply(env, seed, bad_one_in=8))


def _facts(env: GameEnv) -> dict[str, Any]:
    """All of an environment's outside, to be compared."""
    return {
        "agents": (tuple(env.agents), env.agent_selection, env.outcome),
        "texts": tuple(env.observe(seat)["text"] for seat in env.possible_agents),
        "state": env.state(),
        "rewards": (dict(env.rewards), dict(env._cumulative_rewards), dict(env.terminations), dict(env.truncations)),
        "infos": json.dumps(env.infos, sort_keys=True),
        "turns": env.turns,
    }


@check("T12")
def simultaneous_commitments(subject: Subject) -> str:
    """T12. What a seat has committed is invisible to the others until all have, and the order of commitments is, too."""
    game = subject.game
    if not game.simultaneous:
        raise Skipped("seats move one after another")
    rounds = 0
    for seed in range(subject.seeds[0], subject.seeds[0] + subject.count(10, 100)):
        for env in random_game(subject.env(), seed, bad_one_in=0):
            moving = game.to_move(env.game_state)
            if len(moving) < 2 or env.agent_selection != moving[0]:
                continue
            rounds += 1
            _commitments_are_invisible(subject, env, moving, seed)
            moves = {}
            for seat in moving:
                view = game.view(env.game_state, seat)
                moves[seat] = game.parse(view, seat, game.sample_reply(view, seat, subject.chance("joint", rounds, seat)))
            results = {game.apply(env.game_state, {seat: moves[seat] for seat in order}) for order in (moving, moving[::-1])}
            if len(results) > 1:
                raise Fault("apply depends on the order in which the seats' moves are given", seed)
    if not rounds:
        raise Fault("declares `simultaneous`, but no two seats were to move at once")
    return f"{rounds} rounds"


def _commitments_are_invisible(subject: Subject, env: GameEnv, moving: tuple[str, ...], seed: int) -> None:
    """The first seat commits in three ways, one after a refusal; the others must see the same."""
    shown = []
    for number in range(3):
        trial = copy.deepcopy(env)
        if number == 2:
            trial.step("")
            if trial.agent_selection != moving[0] or trial.outcome:
                continue
        view = subject.game.view(env.game_state, moving[0])
        trial.step(subject.game.sample_reply(view, moving[0], subject.chance("commit", seed, number)))
        shown.append({seat: env_tells(trial, seat) for seat in moving[1:]})
    for other in shown[1:]:
        for seat in moving[1:]:
            found = first_difference(shown[0][seat], other[seat])
            if found:
                raise Fault(f"{seat} sees what {moving[0]} committed before its own move: {found}", seed)


@check("T13")
def seat_symmetry(subject: Subject) -> str:
    """T13. With the seats rotated, deal and replies with them, everything is rotated: turns, roles, moves, returns and words."""
    game = subject.game
    games = 0
    for seed in range(subject.seeds[0], subject.seeds[0] + subject.count(20, 200)):
        env = subject.env()
        env.reset(seed=seed)
        instance = game.rotated(env.instance)
        if instance is None:
            raise Skipped("the game declares no symmetry of its seats (Game.rotated)")
        games += 1
        _plays_rotated(subject, env.game_state, game.start(instance), seed)
    return f"{games} games"


def _plays_rotated(subject: Subject, state: Any, other: Any, seed: int) -> None:
    game = subject.game
    places = dict(zip(game.seats, (*game.seats[1:], game.seats[0]), strict=True))
    for turn in range(game.max_turns + 1):
        found = first_difference(_rotated(_outside(game, state), places), _outside(game, other))
        if found:
            raise Fault(f"turn {turn}: with the seats rotated, {found}", seed)
        if not game.to_move(state):
            return
        moves, other_moves = {}, {}
        for seat in game.to_move(state):
            view = game.view(state, seat)
            text = game.sample_reply(view, seat, subject.chance("rotated", seed, turn, seat))
            moves[seat] = game.parse(view, seat, text)
            there = places[seat]
            other_moves[there] = game.parse(game.view(other, there), there, _renamed(text, places))
        state, other = game.apply(state, moves), game.apply(other, other_moves)


def _outside(game: Game[Any, Any], state: Any) -> dict[str, Any]:
    """What is comparable under renaming: words are a bag, since tables list the seats in their order."""
    tells: dict[str, Any] = {"to_move": sorted(game.to_move(state))}
    for seat in game.seats:
        view = game.view(state, seat)
        lines = [str(line) for line in (*game.observe(view, seat), *game.request(view, seat))] if game.to_move(state) else []
        legal = game.legal_moves(view, seat)
        tells[seat] = {
            "role": game.role_of(state, seat),
            "return": game.returns(state)[seat],
            "legal moves": None if legal is None else sorted(game.write(move) for move in legal),
            "words": sorted(re.findall(r"\w+", " ".join(lines))),
        }
    return tells


def _rotated(value: Any, places: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {_rotated(key, places): _rotated(item, places) for key, item in value.items()}
    if isinstance(value, list):
        return sorted(_rotated(item, places) for item in value)
    return _renamed(value, places) if isinstance(value, str) else value


def _renamed(text: str, places: dict[str, str]) -> str:
    return re.sub("|".join(map(re.escape, places)), lambda match: places[match[0]], text)
