import html.parser
import re
import shutil
import subprocess

import matplotlib.pyplot as plt
import numpy as np
import pytest

from agents.agent import Agent, Reply
from agents.specs import make_agent
from benchmarks import svg
from benchmarks.html import page
from benchmarks.live import LiveTable, summary
from benchmarks.manifest import make_manifest
from benchmarks.report import as_csv, as_latex, as_markdown, heading, main_table
from benchmarks.schedule import GameSpec
from benchmarks.standings import standings
from benchmarks.tournament import run_tournament
from lmgames.chance import Chance

KUHN = GameSpec("KuhnPoker-v0", {})
DEAL = GameSpec("DealOrNoDeal-v0", {})
ATTACK = '</pre></details><script>document.title="taken"</script><img src=x onerror=alert(1)> \u202e &amp; {}'
NAME = 'a<b>"&$_%|'


class Attacker(Agent):
    """Writes markup into its first reply, then plays."""

    spec = "attacker"

    def act(self, observations, /):
        first = ["Refused" not in observation.text for observation in observations]
        return [
            Reply(
                ATTACK
                if bad
                else observation.game.sample_reply(observation.view, observation.seat, Chance(observation.seed))
            )
            for bad, observation in zip(first, observations, strict=True)
        ]


@pytest.fixture(scope="module")
def tournament(tmp_path_factory):
    agents = {"random": make_agent("random"), NAME: make_agent("honest"), "attacker": Attacker()}
    games = [KUHN, DEAL]
    progress = []
    outcome = run_tournament(agents, games, blocks=6, seed=0, out=tmp_path_factory.mktemp("t"), on_progress=progress.append)
    found = standings(
        outcome.results, list(agents), {game.name: game for game in games}, policies=outcome.policies, resamples=60
    )
    manifest = make_manifest(agents, games, blocks=6, seed=0, schedule="round-robin")
    return found, manifest, outcome.results, progress


class Tags(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.all, self.attributes, self.words = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.all.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "line", "rect", "circle", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.all.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        if tag in ("rect", "circle"):
            return
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_page_is_self_contained_and_well_formed(tournament):
    found, manifest, results, _ = tournament
    text = page(found, manifest, results)
    tags = Tags()
    tags.feed(text)
    assert tags.open == [], "every tag is closed"
    assert not {"script", "img", "link", "iframe", "object", "form"} & set(tags.all)
    assert not [name for name, _ in tags.attributes if name.startswith("on") or name == "src"]
    assert all(value.startswith("#") for name, value in tags.attributes if name == "href")
    assert "default-src &#x27;none&#x27;" in text
    assert not re.search(r"https?://|url\(|@import", text)


def test_what_players_write_is_text(tournament):
    found, manifest, results, _ = tournament
    tags = Tags()
    tags.feed(page(found, manifest, results))
    words = "".join(tags.words)
    assert '<script>document.title="taken"</script>' in words, "shown as it was written"
    assert "\u202e" not in words
    assert NAME in words


def test_sections(tournament):
    found, manifest, results, _ = tournament
    text = page(found, manifest, results, "My table")
    for words in (
        "My table",
        "Ratings",
        "Head to head",
        "Reliability",
        "Rating against cost",
        "KuhnPoker-v0",
        "DealOrNoDeal-v0",
    ):
        assert words in text
    assert "Variance of a mean over independent deals by that over mirrored ones" in text
    assert text.count("<svg") >= 7
    assert "Clean play leaves out" in text, "the warning stands beside the clean board"


def test_names_cannot_break_a_table(tournament):
    found = tournament[0]
    row = next(line for line in as_markdown(found).splitlines() if line.startswith("| a&lt;"))
    assert row.startswith('| a&lt;b>"&$_%\\| |')
    assert 'a\\textless{}b\\textgreater{}"\\&\\$\\_\\%|' in as_latex(found)
    assert '"a<b>""&$_%|"' in as_csv(found)


def test_every_game_leads_to_its_replays(tournament):
    found, manifest, results, _ = tournament
    text = page(found, manifest, results)
    anchors = re.findall('href="#(replays-[^"]+)"', text)
    assert len(anchors) == len(found["games"])
    assert all(f'<h3 id="{anchor}">' in text for anchor in anchors)
    assert "replays-" not in page(found, manifest)


def test_the_anchor_has_no_interval(tournament):
    _, rows = main_table(tournament[0])
    assert [row[2] for row in rows if row[0] == "random"] == ["fixed"]
    assert all(" to " in row[2] for row in rows if row[0] != "random")


def test_columns_are_headed_by_options_only_where_these_tell_games_apart():
    games = {"KuhnPoker-v0(hands=1)": {}, "KuhnPoker-v0(hands=2)": {}, "TicTacToe-v0(rows=4)": {}}
    assert [heading({"games": games}, name) for name in games] == [*list(games)[:2], "TicTacToe-v0"]


def test_tables_have_equal_rows(tournament):
    header, rows = main_table(tournament[0])
    assert {len(row) for row in rows} == {len(header)}
    assert header[:5] == ["agent", "rating", "95 % interval", "rank", "P(best)"]


def test_live_table(tournament):
    table = LiveTable(["random", NAME, "attacker"], [KUHN, DEAL])
    progress = tournament[3]
    for each in progress:
        if each.result is not None:
            table._count(each.result)
    table._refit()
    assert table.table().row_count == 3
    assert set(table.ratings) == {"random", NAME, "attacker"}
    won, drawn, lost = table.tally["random"]
    assert won + drawn + lost == 24, "six deals, two opponents, both seats of Kuhn Poker; the other game has no winners"
    assert f"{progress[-1].done} of {progress[-1].total} games" in summary(progress[-1])


@pytest.mark.parametrize("low, high", [(0, 1), (-3, 250), (0.001, 0.0042), (5, 5), (-1e6, 1e6)])
def test_ticks_are_few_and_round(low, high):
    found = svg.ticks(low, high)
    assert 1 <= len(found) <= 8
    assert all(low - 1e-9 <= tick <= max(high, low + 1) + 1e-9 for tick in found)


def test_drawings_of_odd_data():
    nothing = {"value": 0.0, "low": None, "high": None}
    assert "<svg" in svg.forest([("a", [svg.Mark(nothing), svg.Mark(None)])], "t", "x")
    assert "<svg" in svg.scatter([("a", 0.0, nothing)], "t", "x", "y")
    assert "<svg" in svg.heat_map(["a"], [[None]], "t")
    assert "&lt;b&gt;" in svg.bars([("<b>", [(1.0, "#000", "what")])], "t")


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")
def test_a_browser_draws_it(tournament, tmp_path):
    """The page takes no script from a reply, keeps its title, and paints dark text, blue marks and white ground."""
    found, manifest, results, _ = tournament
    (tmp_path / "report.html").write_text(page(found, manifest, results), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}"]
    where = (tmp_path / "report.html").as_uri()
    dom = subprocess.run(
        [CHROMIUM, *flags, "--dump-dom", where], capture_output=True, text=True, timeout=600, check=True
    ).stdout
    assert "<title>Leaderboard</title>" in dom
    assert "<script" not in dom
    picture = tmp_path / "report.png"
    command = [CHROMIUM, *flags, "--hide-scrollbars", "--window-size=1060,1400", f"--screenshot={picture}", where]
    subprocess.run(command, capture_output=True, timeout=600, check=True)
    colours = pixels(picture)
    assert colours[(255, 255, 255)] > 500_000
    assert colours[(0x1F, 0x6F, 0xB4)] > 300, "marks of the rating plot"
    assert sum(count for colour, count in colours.items() if max(colour) < 80) > 2000, "text"
    dark = [CHROMIUM, *flags, "--blink-settings=preferredColorScheme=0", *command[len(flags) + 1 :]]
    subprocess.run(dark, capture_output=True, timeout=600, check=True)
    colours = pixels(picture)
    assert colours[(0x15, 0x1B, 0x23)] > 500_000, "a dark ground where the reader asks for one"
    assert colours[(0x4A, 0x9B, 0xE6)] > 300
    assert sum(count for colour, count in colours.items() if min(colour) > 220) > 1000, "light text"


def pixels(path):
    """Colour -> count."""
    image = np.round(plt.imread(path)[..., :3] * 255).astype(int)
    colours, counts = np.unique(image.reshape(-1, 3), axis=0, return_counts=True)
    return {tuple(map(int, colour)): int(count) for colour, count in zip(colours, counts, strict=True)}
