"""Imports point one way: benchmarks -> training -> agents -> lmgames, and lmgames stands on little."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ("lmgames", "agents", "training", "benchmarks")  # each may import itself and those before it
THIRD_PARTY_OF_LMGAMES = {"numpy", "gymnasium", "pettingzoo"}
FILES = [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]


def imported_modules(path):
    """Every module that a file imports anywhere, absolute: also inside functions and under TYPE_CHECKING."""
    package = list(path.relative_to(ROOT).with_suffix("").parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            yield ".".join([*base, *([node.module] if node.module else [])])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    layer = path.relative_to(ROOT).parts[0]
    above = set(LAYERS[LAYERS.index(layer) + 1 :]) | {"tests"}
    assert [module for module in imported_modules(path) if module.split(".")[0] in above] == []


@pytest.mark.parametrize("path", [path for path in FILES if (ROOT / "lmgames") in path.parents], ids=lambda path: path.name)
def test_lmgames_stands_on_three_packages(path):
    allowed = THIRD_PARTY_OF_LMGAMES | {"lmgames"} | set(sys.stdlib_module_names)
    assert [module for module in imported_modules(path) if module.split(".")[0] not in allowed] == []


def test_only_reference_players_know_games():
    others = [
        path for path in FILES if (ROOT / "agents") in path.parents and (ROOT / "agents/reference") not in path.parents
    ]
    assert [path.name for path in others if any(name.startswith("lmgames.games") for name in imported_modules(path))] == []


def test_the_check_sees_every_form_of_import(tmp_path, monkeypatch):
    file = tmp_path / "lmgames" / "games" / "x.py"
    file.parent.mkdir(parents=True)
    file.write_text(
        "import torch.nn as n, os\nfrom ..records import replay\nfrom . import y\ndef f():\n    from agents import z\n"
    )
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert list(imported_modules(file)) == ["torch.nn", "os", "lmgames.records", "lmgames.games", "agents"]
    assert len(FILES) > 10
