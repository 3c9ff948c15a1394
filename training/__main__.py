"""python -m training RECIPE [--setting value ...] [--run FOLDER]; python -m training plot FOLDER ... --out PICTURE"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from training.config import load_config


def main(arguments: list[str] | None = None, prog: str = "python -m training") -> int:
    """Trains, or draws; 0 also for a run that SIGTERM has ended, 1 for one that diverged or could not be saved, 2 for what the
    user can get wrong."""
    arguments = sys.argv[1:] if arguments is None else arguments
    return _plot(arguments[1:], prog) if arguments[:1] == ["plot"] else _train(arguments, prog)


def _train(arguments: list[str], prog: str) -> int:
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, allow_abbrev=False)
    parser.add_argument("recipe", help="TOML file, or the name of one in training/recipes/")
    parser.add_argument("--run", type=Path, help="folder of the run, gone on with if it exists; default runs/RECIPE-seedN")
    known, rest = parser.parse_known_args(arguments)
    try:
        config = load_config(known.recipe, overrides_of(rest))
    except ValueError as error:
        return _refused(error)
    run = known.run or Path("runs") / f"{Path(known.recipe).stem}-seed{config.seed}"

    import transformers

    from training.display import RichDisplay
    from training.train import RefusedError, train

    transformers.utils.logging.disable_progress_bar()  # ours says how far the run is

    is_main = os.environ.get("RANK", "0") == "0"  # of those that torchrun started
    with RichDisplay(quiet=not is_main) as display:
        try:
            last = train(config, run, display)
        except RefusedError as error:
            return _refused(error)
        except KeyboardInterrupt:
            print(f"\nstopped; go on with: {prog} {' '.join(arguments)}", file=sys.stderr)
            return 130
        except (FloatingPointError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    if not is_main:
        return 0
    if last.get("step") != config.steps:
        print(f"stopped and saved; go on with: {prog} {' '.join(arguments)}", file=sys.stderr)
        return 0
    print(f"trained model: hf:{run / 'model'}   curves: {prog} plot {run} --out curves.png")
    return 0


def _refused(error: ValueError) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 2


def overrides_of(rest: list[str]) -> dict[str, Any]:
    """Settings as words of a command line: --name value, or --name=value."""
    overrides: dict[str, Any] = {}
    words = iter(rest)
    for word in words:
        name, equals, value = word.partition("=")
        if not name.startswith("--"):
            raise ValueError(f"unexpected {word!r}; settings are given as --name value")
        setting, *parts = name[2:].split(".")  # only a setting's own name is spelt with either dash
        key = ".".join([setting.replace("-", "_"), *parts])
        overrides[key] = value if equals else next(words, None)
        if overrides[key] is None:
            raise ValueError(f"{word} needs a value")
    return overrides


def _plot(arguments: list[str], prog: str) -> int:
    parser = argparse.ArgumentParser(prog=f"{prog} plot", allow_abbrev=False)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("curves.png"))
    known = parser.parse_args(arguments)

    from training.plot import plot_runs

    try:
        plot_runs(known.runs, known.out)
    except ValueError as error:
        return _refused(error)
    print(known.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
