"""Every Python block of the README and the docs runs, in order, in one namespace a page. A block is left out by a comment line
`<!-- not run: reason -->` right above it; one that begins with `# name.py` is saved as that module and imported."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"(?P<left_out><!-- not run: [^\n]+ -->\n)?```python\n(?P<code>.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(page):
    text = page.read_text(encoding="utf-8")
    return [
        (text[: match.start("code")].count("\n"), match["code"]) for match in BLOCK.finditer(text) if not match["left_out"]
    ]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    monkeypatch.syspath_prepend(str(tmp_path))
    for line, code in blocks(page):
        module = re.match(r"# (\w+)\.py\n", code)
        if module:
            (tmp_path / f"{module[1]}.py").write_text(code, encoding="utf-8")
            namespace[module[1]] = importlib.import_module(module[1])
            continue
        exec(compile("\n" * line + code, str(page), "exec"), namespace)  # noqa: S102  # our own documentation


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}, which is not there"
