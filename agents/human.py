"""A person at the terminal."""

import sys
from collections.abc import Sequence
from typing import TextIO

from agents.agent import Agent, Observation, Reply

HELP = "Type a move{numbered}, ? for the rules, or Ctrl-D to leave."
CLEAR = "\x1b[2J\x1b[3J\x1b[H"  # the screen, and what could be scrolled back to
BLANK_LINES = 60  # in place of clearing, where escape codes are not understood


class PlayerLeft(KeyboardInterrupt):
    """The person left the game: end of input, or Ctrl-C."""


class Human(Agent):
    """Shows a seat its text and reads its reply.

    One `Human` may sit in several seats: the screen is then cleared between them, so that nobody reads another seat's cards.

    Args:
        stdin, stdout: the terminal; the process's own by default.
    """

    def __init__(self, *, stdin: TextIO | None = None, stdout: TextIO | None = None):
        self._in = stdin
        self._out = stdout
        self._seat: str | None = None  # who is looking at the screen
        self._shown: dict[str, str] = {}  # by seat, what it has read of its text, which only grows

    def act(self, observations: Sequence[Observation], /) -> list[Reply]:
        """Asks for one reply after the other.

        Raises:
            PlayerLeft: at the end of the input, or on Ctrl-C.
        """
        return [Reply(self._ask(observation)) for observation in observations]

    def _ask(self, observation: Observation) -> str:
        self._hand_over(observation.seat)
        self._show(observation)
        numbered = number_moves(observation.legal_moves)
        if numbered:
            self._print("  ".join(f"{number}) {move}" for number, move in numbered.items()))
        self._print(HELP.format(numbered=" or its number" if numbered else ""))
        while True:
            typed = self._read(f"{observation.seat}> ").strip()
            if typed == "?":
                self._print(_rules(observation))
            elif typed:
                return as_reply(typed, observation.legal_moves)

    def _hand_over(self, seat: str) -> None:
        """Hides the last seat's screen before another seat looks at it."""
        if self._seat not in (None, seat):
            self._clear()
            self._read(f"{seat}, press Enter when you alone can see the screen. ")
            self._clear()
            self._shown.clear()  # the screen is empty: everything has to be shown again
        self._seat = seat

    def _show(self, observation: Observation) -> None:
        seen = self._shown.get(observation.seat, "")
        new = observation.text.removeprefix(seen) or observation.text  # equal texts: the same deal in a new game
        self._shown[observation.seat] = observation.text
        self._print("\n" + new.strip("\n"))

    def _clear(self) -> None:
        out = self._out or sys.stdout
        self._print(CLEAR if out.isatty() else "\n" * BLANK_LINES)

    def _print(self, text: str) -> None:
        out = self._out or sys.stdout
        encoding = out.encoding or "utf-8"
        out.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        out.flush()

    def _read(self, prompt: str) -> str:
        out = self._out or sys.stdout
        out.write(prompt)
        out.flush()
        try:
            line = (self._in or sys.stdin).readline()
        except KeyboardInterrupt:
            line = ""
        if not line:  # end of input; an empty line still has its line break
            out.write("\n")
            raise PlayerLeft("you left the game")
        return line


def number_moves(moves: Sequence[str] | None) -> dict[int, str]:
    """Moves by a number to type; none where moves are free, or are numbers themselves."""
    if not moves or any(move.strip("[] ").isdigit() for move in moves):
        return {}
    return dict(enumerate(moves, 1))


def as_reply(typed: str, moves: Sequence[str] | None) -> str:
    """What a person meant: a move by its number, with or without its brackets; anything else as it was typed."""
    numbered = number_moves(moves)
    if typed.isdecimal() and int(typed) in numbered:
        return numbered[int(typed)]
    bare = {move.strip("[]").casefold(): move for move in moves or ()}
    return bare.get(typed.casefold(), typed)


def _rules(observation: Observation) -> str:
    if observation.game is None:
        return observation.text
    rules: str = observation.game.rules(observation.view, observation.seat)
    return rules
