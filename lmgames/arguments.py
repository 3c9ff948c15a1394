"""Command lines: unknown words are refused with the nearest known one and exit code 2."""

import argparse
import difflib
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from lmgames.registry import nearest

BAD_USAGE = 2  # exit code


def option(text: str) -> tuple[str, Any]:
    """(name, value) of "NAME=VALUE"; values that read as JSON, True, False or None become those.

    Raises:
        ValueError: if the text is no such thing.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip().isidentifier():
        raise ValueError(f"--option {text!r} must be NAME=VALUE, e.g. show_rules=false")
    try:
        return name.strip(), json.loads({"True": "true", "False": "false", "None": "null"}.get(value, value))
    except json.JSONDecodeError:
        return name.strip(), value


def count(text: str) -> int:
    """A whole number of at least 1, for `add_argument(type=count)`."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return int(text)


class Parser(argparse.ArgumentParser):
    """An argument parser that says what was probably meant, of options and of subcommands."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_USAGE, f"{self.prog}: {message}\n")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        args = sys.argv[1:] if args is None else list(args)
        commands = next((action.choices for action in self._actions if isinstance(action, argparse._SubParsersAction)), None)
        assert commands is None or isinstance(commands, Mapping)
        if commands is None:
            _check_options(self, args)
        elif args and not args[0].startswith("-"):
            if args[0] not in commands:
                self.error(f"no command {args[0]!r}{nearest(args[0], commands)}")
            _check_options(commands[args[0]], args[1:])
        return super().parse_args(args, namespace)


def _check_options(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Refuses an unknown option before anything is said to be missing for it."""
    known = [option for action in parser._actions for option in action.option_strings]
    for word in words:
        name = word.partition("=")[0]
        if name.startswith("--") and name != "--" and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            parser.error(f"no option {name}" + (f"; did you mean {near[0]!r}?" if near else f"; see {parser.prog} --help"))
