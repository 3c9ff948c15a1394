"""The command line of the suite."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from agents import play_cli
from benchmarks import cli, leaderboard
from lmgames.registry import GAMES
from training import __main__ as training_cli

ALONE = """
import sys
from benchmarks.cli import main
for words in {commands}:
    assert main(words) == 0, words
heavy = [name for name in ("torch", "transformers", "scipy", "matplotlib") if name in sys.modules]
assert not heavy, heavy
"""


def test_the_script_is_declared():
    scripts = tomllib.loads((Path(cli.__file__).parents[1] / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"lmgames": f"{cli.main.__module__}:{cli.main.__name__}"}


def test_lists_games_and_players(capsys):
    assert cli.main(["list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in (*GAMES, "minimax", "nash", "hf", "vllm"))
    assert cli.main(["list", "KuhnPoker-v0"]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("deck_size", "alpha=", "player_1", "Kuhn"))


def test_lists_and_scripted_games_import_nothing_heavy():
    commands = [["list"], ["list", "TicTacToe-v0"], ["play", "KuhnPoker-v0", "--agents", "random", "nash", "--quiet"]]
    done = subprocess.run([sys.executable, "-c", ALONE.format(commands=commands)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "command, module, words",
    [
        ("play", play_cli, ["KuhnPoker-v0", "--agents", "random"]),
        ("train", training_cli, ["kuhn_tiny", "--seed", "1"]),
        ("leaderboard", leaderboard, ["run", "--agents", "random", "nash"]),
    ],
)
def test_the_same_code_as_the_modules(monkeypatch, command, module, words):
    asked = []
    monkeypatch.setattr(module, "main", lambda *given: asked.append(given) or 7)
    assert cli.main([command, *words]) == 7
    assert asked == [(words, f"lmgames {command}")]


@pytest.mark.parametrize(
    "words, complaint",
    [
        (["lst"], "lmgames: no command 'lst'; did you mean 'list'?"),
        (["list", "KuhnPokr-v0"], "did you mean 'KuhnPoker-v0'"),
        (["check", "KuhnPokr-v0"], "did you mean 'KuhnPoker-v0'"),
        (["check", "KuhnPoker-v0", "--checks", "T99"], "no check 'T99'"),
        (["check", "KuhnPoker-v0", "--option", "hand=2"], "did you mean 'hands'"),
        (["check", "benchmarks.cli:Nothing"], "has no 'Nothing'"),
        (["check", "no_such_module:Game"], "no_such_module"),
        (["play", "KuhnPoker-v0", "--agent", "random"], "lmgames play: no option --agent; did you mean '--agents'?"),
        (["play", "KuhnPokr-v0", "--agents", "random"], "did you mean 'KuhnPoker-v0'"),
        (["leaderboard", "rnu"], "lmgames leaderboard: no command 'rnu'; did you mean 'run'?"),
        (["leaderboard", "run", "--blcks", "3"], "did you mean '--blocks'"),
        (["train", "kuhn_tny"], "did you mean 'kuhn_tiny'"),
        (["train", "kuhn_tiny", "--baslin", "none"], "did you mean 'baseline'"),
    ],
)
def test_unknown_words_are_refused_with_2(capsys, words, complaint):
    try:
        code = cli.main(words)
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    assert complaint in capsys.readouterr().err


def test_what_is_not_installed_is_named_with_its_extra(monkeypatch, capsys):
    def missing(_):
        raise ModuleNotFoundError("No module named 'scipy'", name="scipy.sparse")

    monkeypatch.setattr(cli.importlib, "import_module", missing)
    assert cli.main(["leaderboard", "run"]) == 2
    assert "lmgames leaderboard: scipy is not installed; pip install 'lmgames[bench]'" in capsys.readouterr().err


def test_help(capsys):
    assert cli.main(["--help"]) == 0
    assert cli.main([]) == 2
    assert capsys.readouterr().out.count("lmgames leaderboard run") == 2


def test_check(capsys):
    assert cli.main(["check", "KuhnPoker-v0", "--checks", "T8", "T14", "--seeds", "2", "--option", "hands=2"]) == 0
    assert "T8" in capsys.readouterr().out


def test_check_of_a_faulty_game(tmp_path, monkeypatch, capsys):
    (tmp_path / "leaky.py").write_text(
        "from lmgames.games.kuhn_poker import KuhnPoker\n"
        "class Leaky(KuhnPoker):\n"
        "    def view(self, state, seat):\n"
        "        return state\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert cli.main(["check", "leaky:Leaky", "--seeds", "2"]) == 1
    assert "Leaky" in capsys.readouterr().err or "KuhnPoker" in capsys.readouterr().err


def test_plays(tmp_path, capsys):
    out = tmp_path / "games.jsonl"
    assert (
        cli.main(["play", "KuhnPoker-v0", "--agents", "random", "nash", "--games", "3", "--quiet", "--out", str(out)]) == 0
    )
    assert len([json.loads(line) for line in out.read_text().splitlines()]) == 3
    assert "nash" in capsys.readouterr().out
