"""The command line of the suite: `lmgames list`, `play`, `train`, `leaderboard`, `check`.

    lmgames list                                                       games and who plays them
    lmgames list KuhnPoker-v0                                          its options and players
    lmgames play KuhnPoker-v0 --agents random nash --games 64          the same as python -m agents.play
    lmgames train kuhn_tiny --seed 1                                   the same as python -m training
    lmgames leaderboard run --agents random nash --out results         the same as python -m benchmarks.leaderboard
    lmgames check KuhnPoker-v0 --option hands=2                        the conformance suite on a game

Nothing is imported before it is needed: games of scripted players need neither torch nor transformers.
"""

import dataclasses
import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any

from lmgames.arguments import BAD_USAGE, Parser, option
from lmgames.registry import GAMES, NAMESPACE, game_class, nearest

FAULTY = 1  # exit code of `check`: the game has a fault


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: that of the command; 2 for an unknown one."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help"):
        print(__doc__.strip())
        return 0 if words else BAD_USAGE
    if words[0] not in COMMANDS:
        print(f"lmgames: no command {words[0]!r}{nearest(words[0], COMMANDS)}", file=sys.stderr)
        return BAD_USAGE
    return COMMANDS[words[0]](words[1:], f"lmgames {words[0]}")


def _of(module: str, extra: str) -> Callable[[list[str], str], int]:
    """The command line of a module, imported when it is run; what it lacks is in an extra."""

    def run(words: list[str], prog: str) -> int:
        try:
            code: int = importlib.import_module(module).main(words, prog)
        except ModuleNotFoundError as missing:
            package = (missing.name or "").partition(".")[0]
            if package in ("", "lmgames", "agents", "training", "benchmarks"):
                raise
            print(f"{prog}: {package} is not installed; pip install 'lmgames[{extra}]'", file=sys.stderr)
            return BAD_USAGE
        return code

    return run


def _list(words: list[str], prog: str) -> int:
    parser = Parser(prog=prog, description="Games and who plays them; of one game, its options and players.")
    parser.add_argument("game", nargs="?", metavar="GAME", help="e.g. KuhnPoker-v0")
    known = parser.parse_args(words)
    if known.game is None:
        _list_games()
        return 0
    try:
        _list_game(known.game)
    except ValueError as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return BAD_USAGE
    return 0


def _list_games() -> None:
    from agents.reference import players_of
    from agents.specs import KINDS

    rows = []
    for name in GAMES:
        rules = game_class(name)()
        rows.append((name, str(len(rules.seats)), rules.payoffs, " ".join(players_of(rules.name))))
    _print_columns(("game", "seats", "payoffs", "players"), rows)
    print(f"\nEvery ID also stands under {NAMESPACE}/ in PettingZoo's and Gymnasium's registries.")
    print(f"Models and people play every game: {', '.join(sorted(KINDS))}.")


def _list_game(name: str) -> None:
    from agents.reference import players_of

    of = game_class(name)
    rules = of()
    about = sys.modules[of.__module__].__doc__ or of.__doc__ or ""
    print(f"{name}: {inspect.cleandoc(about).splitlines()[0]}")
    print(f"seats {', '.join(rules.seats)}; payoffs {rules.payoffs}; version {rules.version}\n")
    options = [(each.name, repr(getattr(rules, each.name))) for each in dataclasses.fields(of) if each.init]
    _print_columns(("option", "default"), options)
    print()
    players = []
    for player, made in players_of(rules.name).items():
        of_player = ", ".join(f"{key}={each.default!r}" for key, each in inspect.signature(made).parameters.items())
        players.append((player, of_player, inspect.cleandoc(made.__doc__ or "").partition("\n")[0]))
    _print_columns(("player", "options", ""), players)


def _print_columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _check(words: list[str], prog: str) -> int:
    parser = Parser(prog=prog, description="Runs the conformance suite on a game, ours or a registered one of yours.")
    parser.add_argument("game", metavar="GAME", help="an ID, or MODULE:CLASS of a game that is not registered")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="of the game; may be repeated")
    parser.add_argument("--checks", nargs="+", metavar="NAME", help="names or numbers such as T8 (all)")
    parser.add_argument("--seeds", type=int, default=None, metavar="N", help="deals to check on")
    parser.add_argument("--thorough", action="store_true", help="takes minutes instead of seconds")
    known = parser.parse_args(words)

    from lmgames.testing import ConformanceError, check_game

    given: dict[str, Any] = {} if known.seeds is None else {"seeds": range(known.seeds)}
    try:
        options = dict(option(text) for text in known.option)
        report = check_game(_game(known.game), options=[options], checks=known.checks, thorough=known.thorough, **given)
    except ConformanceError as fault:
        print(f"{prog}: {fault}", file=sys.stderr)
        return FAULTY
    except (ValueError, ImportError) as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return BAD_USAGE
    print(report)
    return 0


def _game(name: str) -> Any:
    module, colon, attribute = name.partition(":")
    if not colon:
        game_class(name)
        return name
    sys.path.insert(0, "")  # a file in the current folder, as for `python -m`
    try:
        return getattr(importlib.import_module(module), attribute)
    except AttributeError:
        raise ValueError(f"{module} has no {attribute!r}") from None


COMMANDS: dict[str, Callable[[list[str], str], int]] = {
    "list": _list,
    "play": _of("agents.play_cli", "hf"),
    "train": _of("training.__main__", "train"),
    "leaderboard": _of("benchmarks.leaderboard", "bench"),
    "check": _check,
}


if __name__ == "__main__":
    sys.exit(main())
