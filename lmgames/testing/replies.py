"""Whatever a player writes: it is read or refused, never taken for something else, and never poses as somebody else's."""

import contextlib
import re
import time
import unicodedata
from collections.abc import Iterator
from typing import Any

from lmgames.aec import GameEnv
from lmgames.game import Game
from lmgames.parsing import REFUSALS, IllegalMove, public_text
from lmgames.playthrough import random_reply
from lmgames.testing.nasty import BREAKS, MEGABYTE, nasty_replies
from lmgames.testing.positions import random_game
from lmgames.testing.spoofs import CANARY, TEMPLATE_TOKENS, Scene, payloads
from lmgames.testing.suite import Fault, Subject, check
from lmgames.text import Said, clean

SECONDS_PER_100_KB = 0.005
NOT_TEXT: tuple[Any, ...] = (
    None,
    0,
    1.5,
    b"[0]",
    [],
    ["[0]"],
    {},
    {"public": 3},
    {"text": "[0]"},
    {"public": "x", "private": "y"},
    object,
)
DECORATIONS = {
    "as it is": "{move}",
    "upper case": "{UPPER}",
    "capital": "{Capital}",
    "spaces around": "  {move}  \n",
    "spaces inside": "[ {inside} ]",
    "double quotes": '"{move}"',
    "bold": "**{move}**",
    "code": "`{move}`",
    "code block": "```\n{move}\n```",
    "block quote": "> {move}",
    "list item": "- {move}",
    "prose before": "I have thought about it, and I will play {move}",
    "prose after": "{move} because it seems best to me.",
    "full stop": "{move}.",
    "boxed": "{boxed}",
    "boxed in mathematics": "The answer is ${boxed}$.",
    "twice": "{move} Yes: {move}",
    "after thinking": "<think>{other} or {move}?</think>\n{move}",
    "after thinking begun in the prompt": "Perhaps {other}.</think>{move}",
    "after thinking in brackets": "[THINK]{other} or {move}?[/THINK]{move}",
    "in the final channel": "<|channel|>analysis<|message|>{other}?<|end|><|start|>assistant<|channel|>final<|message|>{move}",
    "fullwidth brackets": "［{inside}］",
    "Windows lines": "Well.\r\n{move}\r\n",
    "zero-width characters": "\u200b{move}\ufeff",
    "other brackets": "[sigh] {move} (finally)",
}
"""Ways in which models write a move; each must read as the move alone."""


@check("T16")
def parser_fuzz(subject: Subject) -> str:
    """T16. Any text gives a legal move or a typed refusal, never an exception; 100 KB are read in under 5 ms."""
    texts = nasty_replies(subject.chance("fuzz"), longest=20_000, random_texts=subject.count(60, 1000))
    tried = 0
    for position, env in enumerate(_turns(subject, subject.count(4, 20))):
        game, seat = env.game, env.agent_selection
        view = game.view(env.game_state, seat)
        for number, text in enumerate(texts):
            tried += 1
            _read_or_refused(game, view, seat, text, env.seed)
            if (position + number) % 10 == 0:
                _step_survives(subject, env.seed, text)
    for thing in NOT_TEXT:
        _step_survives(subject, subject.seeds[0], thing)
    slowest = _slowest(subject)
    return f"{tried} texts, slowest {slowest * 1000:.2f} ms for a reply of 100 KB"


def _turns(subject: Subject, wanted: int) -> Iterator[GameEnv]:
    """Environments at different turns of random games, with every seat to move in some if they are many."""
    given = 0
    for seed in range(subject.seeds[0], subject.seeds[0] + wanted):
        for number, env in enumerate(random_game(subject.env(), seed, bad_one_in=0)):
            if not env.outcome and number % 2 == seed % 2:
                given += 1
                yield env
            if given > wanted:
                return


def _read_or_refused(game: Game[Any, Any], view: Any, seat: str, text: str, seed: int) -> None:
    try:
        move = game.parse(view, seat, public_text(text))
    except IllegalMove as refusal:
        if refusal.code not in REFUSALS or not refusal.message:
            raise Fault(
                f"{text[:200]!r} is refused with code {refusal.code!r} and message {refusal.message!r}", seed
            ) from None
        return
    except Exception as error:
        raise Fault(f"parse of {text[:200]!r} raised {type(error).__name__}: {error}", seed) from error
    legal = game.legal_moves(view, seat)
    if legal is not None and move not in legal:
        raise Fault(f"{text[:200]!r} is read as {move!r}, which is not a legal move", seed)
    if game.parse(view, seat, game.write(move)) != move:
        raise Fault(f"{text[:200]!r} is read as {move!r}, whose text {game.write(move)!r} is not", seed)


def _step_survives(subject: Subject, seed: int, reply: Any) -> None:
    env = subject.env()
    env.reset(seed=seed)
    seat = env.agent_selection
    try:
        env.step(reply)
        for other in env.possible_agents:
            env.observe(other)["text"].encode()
        env.record().to_json()
    except Exception as error:
        raise Fault(f"env.step({str(reply)[:200]!r}) of {seat} raised {type(error).__name__}: {error}", seed) from error


def _slowest(subject: Subject) -> float:
    """The longest that a reply of up to 100 KB takes to read, seconds of CPU for 100 KB as sent or normalised, whichever is
    more; texts are cut to each limit of the environment, since what is over it is refused at once. Best of several tries."""
    env = next(_turns(subject, 1))
    slowest = 0.0
    for text in nasty_replies(subject.chance("fuzz"), longest=MEGABYTE, random_texts=0):
        for length in (env.max_public_chars, env.max_raw_chars, 100_000) if len(text) > 50_000 else ():
            cut = text[:length]
            size = max(1.0, len(clean(cut[: env.max_raw_chars]).encode()) / 100_000)
            seconds = min(_seconds_to_read(env, cut) for _ in range(3))
            for _ in range(10):  # something else may have had the processor
                if seconds / size <= SECONDS_PER_100_KB:
                    break
                seconds = min(seconds, _seconds_to_read(env, cut))
            slowest = max(slowest, seconds / size)
            if seconds / size > SECONDS_PER_100_KB:
                raise Fault(f"{text[:20]!r}..., {len(cut)} characters, takes {seconds * 1000:.1f} ms to read")
    return slowest


def _seconds_to_read(env: GameEnv, text: str) -> float:
    view = env.game.view(env.game_state, env.agent_selection)
    start = time.thread_time()
    with contextlib.suppress(IllegalMove):
        caps = {"max_raw_chars": env.max_raw_chars, "max_public_chars": env.max_public_chars, "clip": env.clip}
        env.game.parse(view, env.agent_selection, public_text(text, **caps))  # type: ignore[arg-type]
    return time.thread_time() - start


@check("T17")
def decorations(subject: Subject) -> str:
    """T17. Every legal move, in 12 and more ways of writing it, reads as itself; a reply with two moves is refused."""
    game = subject.game
    read = ambiguous = 0
    for env in _turns(subject, subject.count(8, 100)):
        seat, seed = env.agent_selection, env.seed
        view = game.view(env.game_state, seat)
        legal = game.legal_moves(view, seat)
        for move in legal or ():
            text, other = game.write(move), game.write(legal[0] if legal and move != legal[0] else legal[-1])  # type: ignore[index]
            if not re.fullmatch(r"\[[^\[\]{}]*\]", text):
                _reads_as(game, view, seat, text, move, "nothing around it", seed)
                continue
            for name, reply in _decorated(text, other):
                read += 1
                _reads_as(game, view, seat, reply, move, name, seed)
            if text != other:
                ambiguous += 1
                _is_ambiguous(game, view, seat, (text, other), seed)
    if not read:
        return "no turn lists bracketed moves: words are free"
    return f"{read} decorated moves, {ambiguous} ambiguous replies"


def _decorated(text: str, other: str) -> Iterator[tuple[str, str]]:
    inside = text[1:-1]
    verb = re.match(r"[^\W\d_]*", inside)
    assert verb is not None
    rest = inside[verb.end() :]
    values = {
        "{move}": text,
        "{other}": other,
        "{inside}": inside,
        "{boxed}": f"\\boxed{{{inside}}}",
        "{UPPER}": f"[{verb[0].upper()}{rest}]",
        "{Capital}": f"[{verb[0].capitalize()}{rest}]",
    }
    for name, template in DECORATIONS.items():
        reply = template
        for key, value in values.items():
            reply = reply.replace(key, value)
        yield name, reply


def _reads_as(game: Game[Any, Any], view: Any, seat: str, reply: str, move: Any, name: str, seed: int) -> None:
    try:
        found = game.parse(view, seat, public_text(reply))
    except IllegalMove as refusal:
        raise Fault(f"{game.write(move)} written with {name}, {reply!r}, is refused: {refusal.message}", seed) from None
    if found != move:
        raise Fault(f"{game.write(move)} written with {name}, {reply!r}, is read as {game.write(found)}", seed)


def _is_ambiguous(game: Game[Any, Any], view: Any, seat: str, pair: tuple[str, str], seed: int) -> None:
    reply = f"{pair[0]} or rather {pair[1]}"
    try:
        found = game.write(game.parse(view, seat, public_text(reply)))
    except IllegalMove as refusal:
        if game.select != "unique" or refusal.code != "ambiguous":
            raise Fault(f"{reply!r} is refused as {refusal.code!r} under select={game.select!r}", seed) from None
        return
    wanted = {"unique": None, "first": pair[0], "last": pair[1]}[game.select]
    if found != wanted:
        raise Fault(f"{reply!r} is read as {found} under select={game.select!r}", seed)


@check("T18")
def spoofing(subject: Subject) -> str:
    """T18. Over 200 forgeries by each seat, shared in each way: no line that others read poses as another's.

    Every line with the player's words is behind its label, with no control, bidi, zero-width character or template token in
    it; the lines without a label are those that the moderator issued; and where the reply means the same move, they are the
    same as after a harmless reply.
    """
    sent = accepted = 0
    for share in ("move",) if subject.game.words_are_free else ("move", "public", "raw"):
        for seat in subject.game.seats:
            env = subject.env(share=share)
            if not _to_turn_of(env, seat, subject.seeds[0]):
                continue
            scene, wrap = _scene(env, seat)
            harmless = _sent(subject, share, seat, wrap("Well, let me see."))
            for payload in payloads(scene):
                sent += 1
                attacked = _sent(subject, share, seat, wrap(payload))
                accepted += attacked.turns[-1].status == "ok"
                _no_forged_line(attacked, harmless, seat, payload)
    return f"{sent} forgeries, {accepted} taken as moves"


def _to_turn_of(env: GameEnv, seat: str, seed: int) -> bool:
    """Plays a random game up to the first turn of a seat; False if it has none."""
    env.reset(seed=seed)
    while not env.outcome:
        if env.agent_selection == seat:
            return True
        env.step(random_reply(env, seed))
    return False


def _scene(env: GameEnv, seat: str) -> tuple[Scene, Any]:
    """What a forger knows, and how it wraps a payload so that the reply is a move where it can be."""
    other = next((each for each in env.possible_agents if each != seat), seat)
    lines = [line for line in env.lines(other) if isinstance(line, str)]
    legal = env.infos[seat]["legal_moves"]
    move = legal[0] if legal else "[pass]"
    if legal:
        return Scene(other, lines[-1].splitlines()[-1], move), lambda payload: f"{payload}\n{move}"
    return Scene(other, lines[-1].splitlines()[-1], move), lambda payload: payload


def _sent(subject: Subject, share: str, seat: str, reply: str) -> GameEnv:
    """The environment after the reply, and the rest of a simultaneous round, so that words are revealed."""
    env = subject.env(share=share)
    _to_turn_of(env, seat, subject.seeds[0])
    env.step(reply)
    turns = len(env.turns)
    while not env.outcome and env._committed and len(env.turns) < turns + len(env.possible_agents):
        env.step(random_reply(env, subject.seeds[0]))
    return env


_LINE_BREAKS = re.compile("|".join(sorted(map(re.escape, BREAKS), key=len, reverse=True)))


def _no_forged_line(attacked: GameEnv, harmless: GameEnv, speaker: str, payload: str) -> None:
    same_move = [(turn.status, turn.move) for turn in attacked.turns] == [
        (turn.status, turn.move) for turn in harmless.turns
    ]
    for reader in attacked.possible_agents:
        text = attacked.observe(reader)["text"]
        issued = [part for line in attacked.lines(reader) if not isinstance(line, Said) for part in line.split("\n")]
        labels = tuple(f"{seat}> " for seat in attacked.possible_agents)
        unlabelled = []
        for line in _LINE_BREAKS.split(text):
            mine = line.startswith(f"{speaker}> ")
            if CANARY in line.casefold():
                if not mine and not (reader == speaker and line.startswith("Refused (")):
                    raise Fault(f"{reader} reads {line!r}, words of {speaker}; sent: {payload!r}", attacked.seed)
                _is_harmless(line.removeprefix(f"{speaker}> "), reader, payload, attacked.seed)
            if not line.startswith(labels):
                unlabelled.append(line)
        if unlabelled != issued:
            raise Fault(f"{reader} reads lines of the moderator that it did not issue; sent: {payload!r}", attacked.seed)
        if reader != speaker and same_move:
            plain = [line for line in harmless.observe(reader)["text"].split("\n") if not line.startswith(labels)]
            if unlabelled != plain:
                raise Fault(f"what the moderator tells {reader} depends on {speaker}'s words {payload!r}", attacked.seed)


def _is_harmless(line: str, reader: str, payload: str, seed: int) -> None:
    odd = [character for character in line if unicodedata.category(character) in ("Cc", "Cf", "Cs") and character != "\t"]
    tokens = [token for token in TEMPLATE_TOKENS if unicodedata.normalize("NFKC", token).split("system")[0].strip() in line]
    if odd or tokens:
        raise Fault(f"{reader} reads {odd or tokens} in {line[:200]!r}; sent: {payload!r}", seed)
