import csv
import json
import random
import shutil
import signal
import subprocess
import sys
import time
import tomllib

import pytest

from agents.reference import players_of
from benchmarks.config import as_toml, load_config
from benchmarks.leaderboard import agent_specs, main
from benchmarks.results import digest, read_results
from benchmarks.standings import rate_folder
from lmgames.records import GameRecord, Turn
from lmgames.registry import GAMES, game_class

KUHN = ["--games", "KuhnPoker-v0"]
THREE = ["--agents", "random", "honest", "nash"]


def run(out, *arguments, agents=THREE, games=KUHN, blocks=8):
    return main(
        ["run", *agents, *games, "--blocks", str(blocks), "--out", str(out), "--quiet", "--resamples", "50", *arguments]
    )


def ratings(folder):
    assert main(["rate", "--out", str(folder)]) == 0
    return (folder / "ratings.json").read_bytes()


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    folder = tmp_path_factory.mktemp("played")
    assert run(folder) == 0
    return folder


@pytest.fixture
def copied(played, tmp_path):
    return shutil.copytree(played, tmp_path / "copied")


# What it leaves.


def test_files(played):
    assert {path.name for path in played.iterdir()} == {
        *("manifest.json", "config.toml", "games.jsonl", "errors.jsonl", "policies.jsonl", "design.jsonl"),
        *("ratings.json", "cost.json", "table.csv", "table.md", "table.tex", "report.html"),
    }
    manifest = json.loads((played / "manifest.json").read_text())
    assert manifest["schema"] == 1
    assert manifest["agents"]["nash"]["fingerprint"] == {"spec": "nash"}
    assert len(manifest["games"]["KuhnPoker-v0"]["hash"]) == 32
    assert {"versions", "hardware", "commit", "seed"} <= set(manifest)
    rows = list(csv.DictReader((played / "table.csv").open()))
    assert {row["agent"] for row in rows} == {"random", "honest", "nash"}
    assert float(next(row["rating"] for row in rows if row["agent"] == "random")) == 0
    markdown = (played / "table.md").read_text()
    assert markdown.startswith("| agent |")
    assert "variance of independent deals by that of mirrored ones" in markdown
    latex = (played / "table.tex").read_text()
    assert latex.count("\\toprule") == latex.count("\\bottomrule") == 2
    assert "95 \\% interval" in latex


def test_output(tmp_path, capsys):
    assert main(["run", *THREE, *KUHN, "--blocks", "3", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "18 of 18 games" in shown
    assert "mirrored deals" in shown


def test_plan_writes_the_manifest_and_plays_nothing(tmp_path, capsys):
    assert main(["plan", *THREE, *KUHN, "--out", str(tmp_path / "a"), "--price", "nash=1/2"]) == 0
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"manifest.json", "config.toml"}
    assert "600 games" in capsys.readouterr().out
    assert main(["plan", *THREE, *KUHN, "--out", str(tmp_path / "b"), "--dry-run"]) == 0
    assert not (tmp_path / "b").exists()


def test_doctor(capsys):
    assert main(["doctor", "--agents", "random", "nash", "--games", "KuhnPoker-v0"]) == 0
    assert capsys.readouterr().out.count("legal") == 2
    assert main(["doctor", "--agents", "minimax", "--games", "KuhnPoker-v0"]) == 3
    assert "no reference player" in capsys.readouterr().err


def test_compare(played, capsys):
    assert main(["compare", "nash", "random", "--out", str(played)]) == 0
    shown = capsys.readouterr().out
    assert "nash less random" in shown
    assert "games still needed" in shown
    assert main(["compare", "nash", "randm", "--out", str(played)]) == 2
    assert "did you mean 'random'" in capsys.readouterr().err


# One result whatever the way.


def test_rating_does_not_depend_on_the_order_of_lines(copied):
    before = ratings(copied)
    for seed in range(3):
        lines = (copied / "games.jsonl").read_text().splitlines()
        random.Random(seed).shuffle(lines)
        (copied / "games.jsonl").write_text("\n".join(lines) + "\n")
        assert ratings(copied) == before


def test_halves_merge_to_the_whole(played, tmp_path, capsys):
    for part in ("1", "2"):
        assert run(tmp_path / part, "--part", f"{part}/2") == 0
    assert main(["merge", str(tmp_path / "1"), str(tmp_path / "2"), "--out", str(tmp_path / "both")]) == 0
    assert "48 games from 2 folders" in capsys.readouterr().out
    shutil.copytree(played, tmp_path / "whole")
    assert ratings(tmp_path / "both") == ratings(tmp_path / "whole")
    assert main(["verify", "--out", str(tmp_path / "both")]) == 0
    assert run(tmp_path / "both") == 0, "and the tournament goes on from there"
    assert main(["merge", str(tmp_path / "2"), str(tmp_path / "1"), "--out", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "games.jsonl").read_bytes() == (tmp_path / "both" / "games.jsonl").read_bytes()


def test_a_repeated_run_plays_nothing_and_more_blocks_only_those(copied):
    before = (copied / "games.jsonl").read_bytes()
    assert run(copied) == 0
    assert (copied / "games.jsonl").read_bytes() == before
    assert run(copied, blocks=9) == 0
    after = (copied / "games.jsonl").read_bytes()
    assert after.startswith(before)
    assert len(after.splitlines()) == 54


def test_settings_are_kept_and_taken_up_again(copied):
    kept = tomllib.loads((copied / "config.toml").read_text())
    assert kept["agents"] == {"random": "random", "honest": "honest", "nash": "nash"}
    assert kept["blocks"] == 8
    assert main(["run", "--resume", "--out", str(copied), "--quiet", "--resamples", "50"]) == 0
    assert len(read_results(copied)) == 48


KILLED = """
import os, signal, sys
from benchmarks import leaderboard, results

lines, calls = int(sys.argv[1]), int(sys.argv[2])
append = results.LineFile.append

def count_lines(file, line):
    global lines
    lines -= file.path.name == results.GAMES
    if lines == 0:
        sys.setprofile(count_calls)
    append(file, line)

def count_calls(frame, event, argument):
    global calls
    calls -= 1
    if calls <= 0:
        os.kill(os.getpid(), signal.SIGKILL)

results.LineFile.append = count_lines
sys.exit(leaderboard.main(sys.argv[3:]))
"""
"""A run that is killed without warning: at the given number of calls and returns after it began to write the given line."""


def kill_at_random_moments(folder, kills, seed, blocks):
    """Starts one run again and again; each time it is killed some games later, somewhere between two calls of functions.

    Moments are counted in lines and calls, not in seconds, so that a machine of any speed is cut at the same places.
    """
    arguments = ["run", *THREE, *KUHN, "--blocks", str(blocks), "--quiet", "--resamples", "20", "--out", str(folder)]
    draws = random.Random(seed)
    for _ in range(kills):
        moment = [str(draws.randint(1, 20)), str(draws.randint(1, 3000))]  # a game takes a few hundred calls
        process = subprocess.run([sys.executable, "-c", KILLED, *moment, *arguments], stdout=subprocess.DEVNULL)
        assert process.returncode == -signal.SIGKILL
    assert 0 < len(read_results(folder)) < 6 * blocks, "there is something left to play"
    return arguments


def assert_resumes(folder, kills, seed, blocks):
    arguments = kill_at_random_moments(folder / "cut", kills, seed, blocks)
    assert main(arguments) == 0
    assert run(folder / "whole", blocks=blocks) == 0
    assert len(read_results(folder / "cut")) == 6 * blocks
    assert ratings(folder / "cut") == ratings(folder / "whole")


def test_killed_and_resumed(tmp_path):
    assert_resumes(tmp_path, kills=1, seed=0, blocks=20)


@pytest.mark.slow
def test_killed_twenty_times_and_resumed(tmp_path):
    assert_resumes(tmp_path, kills=20, seed=1, blocks=150)


# Anyone may play it again.


def test_verify(played, capsys):
    assert main(["verify", "--out", str(played)]) == 0
    assert "48 played again, 0 turns compared; 0 problems" in capsys.readouterr().out
    assert main(["verify", "--out", str(played), "--sample", "5"]) == 0
    assert "5 played again, 0 turns compared; 0 problems" in capsys.readouterr().out


@pytest.mark.parametrize("place", [3, 60, 200, -3])
def test_a_changed_byte_is_refused(copied, capsys, place):
    path = copied / "games.jsonl"
    lines = path.read_bytes().split(b"\n")
    line = bytearray(lines[10])
    line[place] ^= 1
    lines[10] = bytes(line)
    path.write_bytes(b"\n".join(lines))
    assert main(["verify", "--out", str(copied)]) == 2
    assert "games.jsonl:11 is damaged" in capsys.readouterr().err
    assert main(["rate", "--out", str(copied)]) == 2


def forge(path, change):
    """Changes a game's line and hashes it anew, as someone would who knows the format."""
    lines = path.read_text().splitlines()
    body = json.loads(lines[0])
    del body["sha256"]
    change(body)
    text = json.dumps(body, separators=(",", ":"))
    lines[0] = f'{{"sha256":"{digest(text)}",{text[1:]}'
    path.write_text("\n".join(lines) + "\n")


def rehash(record):
    fields = {key: value for key, value in record.items() if key != "id"}
    fields["turns"] = tuple(Turn(**turn) for turn in record["turns"])
    made = GameRecord(**fields)
    record.clear()
    record.update(json.loads(made.to_json()))


def more_pay(body):
    first = next(iter(body["record"]["returns"]))
    body["record"]["returns"][first] += 1
    rehash(body["record"])


def other_seats(body):
    names = list(body["seats"].values())
    body["seats"] = dict(zip(body["seats"], names[::-1], strict=True))


def other_deal(body):
    body["record"]["seed"] += 1
    rehash(body["record"])


@pytest.mark.parametrize(
    "change, complaint",
    [(more_pay, "returns"), (other_seats, "give the key"), (other_deal, "has seed")],
)
def test_a_forged_game_is_found(copied, capsys, change, complaint):
    forge(copied / "games.jsonl", change)
    assert main(["verify", "--out", str(copied)]) == 3
    assert complaint in capsys.readouterr().err


# What it refuses, with what words.


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (["--agents", "random", "nsah", *KUHN], "did you mean 'nash'"),
        (["--agents", "random", "nash", "--games", "KuhnPokr-v0"], "did you mean 'KuhnPoker-v0'"),
        (["--agents", "random", "nash", *KUHN, "--option", "hand=3"], "did you mean 'hands'"),
        (["--agents", "random", "nash", *KUHN, "--option", "hands"], "NAME=VALUE"),
        (["--agents", "random", "nash", *KUHN, "--option", "hands=0"], "hands=0"),
        (["--agents", "random", "minimax", *KUHN], "no reference player 'minimax'"),
        (["--agents", "random", "random", *KUHN], "two agents are called 'random'"),
        (["--agents", "random", *KUHN], "two or more agents"),
        ([*KUHN], "two or more agents"),
        (["--agents", "random", "nash", *KUHN, "--blocks", "0"], "blocks=0"),
        (["--agents", "random", "nash", *KUHN, "--schedule", "swis"], "did you mean 'swiss'"),
        (["--agents", "random", "nash", *KUHN, "--anchor", "nahs"], "did you mean 'nash'"),
        (["--agents", "random", "nash", *KUHN, "--pool", "ref-2026"], "did you mean 'ref-2026.1'"),
        (["--agents", "random", "nash", *KUHN, "--part", "3/2"], "1 <= k <= n"),
        (["--agents", "random", "nash", *KUHN, "--price", "nash=1"], "AGENT=PROMPT/COMPLETION"),
        (["--agents", "random", "nash", *KUHN, "--on-invalid", "forfiet"], "invalid_policy='forfiet'"),
    ],
)
def test_refused_with_2(tmp_path, capsys, arguments, complaint):
    assert main(["run", *arguments, "--out", str(tmp_path / "new")]) == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "arguments, complaint",
    [(["rnu"], "did you mean 'run'"), (["run", "--agent", "random"], "did you mean '--agents'"), ([], "COMMAND")],
)
def test_unknown_words(capsys, arguments, complaint):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert complaint in capsys.readouterr().err


def test_another_tournament_in_the_same_folder(copied, capsys):
    assert run(copied, "--seed", "5") == 2
    assert "holds another tournament: seed: 0 and 5" in capsys.readouterr().err
    assert run(copied, agents=["--agents", "random", "honest", "nash=bet_call"]) == 2
    assert "agents.nash" in capsys.readouterr().err
    assert run(copied, "--option", "hands=2") == 2
    assert "games.KuhnPoker-v0" in capsys.readouterr().err


def test_manifests_that_differ_do_not_merge(played, tmp_path, capsys):
    assert run(tmp_path / "other", "--seed", "5", blocks=1) == 0
    assert main(["merge", str(played), str(tmp_path / "other"), "--out", str(tmp_path / "out")]) == 2
    assert "not of one tournament: seed: 0 and 5" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["merge", str(played), str(played), "--out", str(played)]) == 2
    assert "has results already" in capsys.readouterr().err


def test_wrong_version(copied, capsys):
    path = copied / "manifest.json"
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 7'))
    assert main(["rate", "--out", str(copied)]) == 2
    assert "schema 7; this version reads schema 1" in capsys.readouterr().err


def test_zero_games(copied, tmp_path, capsys):
    (copied / "games.jsonl").write_text("")
    assert main(["rate", "--out", str(copied)]) == 2
    assert "has no game" in capsys.readouterr().err
    assert main(["rate", "--out", str(tmp_path / "nowhere")]) == 2
    assert "has no manifest.json" in capsys.readouterr().err
    assert main(["report", "--out", str(tmp_path)]) == 2
    assert "has no ratings.json" in capsys.readouterr().err


def test_a_spent_budget_is_partial(tmp_path, capsys):
    assert run(tmp_path, "--budget-games", "10") == 3
    assert "38 games of 48 are missing: the budget of 10 games is spent" in capsys.readouterr().err
    assert run(tmp_path) == 0
    assert len(read_results(tmp_path)) == 48


# Settings.


def test_command_line_wins_over_the_file(tmp_path):
    path = tmp_path / "t.toml"
    path.write_text(
        'blocks = 7\nseed = 3\ngames = ["Kuhn*"]\n[agents]\nrandom = "random"\nmixed = { KuhnPoker = "nash", default = "random" }\n'
        '[options]\nshow_rules = false\n[game_options."KuhnPoker-v0"]\nhands = 3\n'
    )
    config = load_config(path, {"blocks": 9, "agents": {"more": "honest"}})
    assert (config.blocks, config.seed) == (9, 3)
    assert list(config.agents) == ["random", "mixed", "more"]
    (game,) = config.game_specs()
    assert dict(game.options) == {"hands": 3, "show_rules": False}
    (tmp_path / "again.toml").write_text(as_toml(config))
    assert load_config(tmp_path / "again.toml", {}) == config


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("block = 3", "did you mean 'blocks'"),
        ("blocks = '3'", "blocks='3' must be an integer"),
        ("blocks = true", "must be an integer"),
        ("blocks = ", "t.toml"),
        ("games = 'KuhnPoker-v0'", "games is a list"),
        ("ceiling = 'x'", "ceiling: no agent 'x'"),
        ("[prices]\nnash = {prompt = 1}", "prices: no agent 'nash'"),
        ("[agents]\na = 'nash'\n[prices]\na = {promt = 1}", "did you mean 'prompt'"),
    ],
)
def test_files_refused(tmp_path, text, complaint):
    (tmp_path / "t.toml").write_text(text)
    with pytest.raises(ValueError, match=complaint):
        load_config(tmp_path / "t.toml", {})


def test_names_of_agents():
    assert agent_specs(["random", "mine=nash:alpha=0.1", "nash:alpha=0.2"]) == {
        "random": "random",
        "mine": "nash:alpha=0.1",
        "nash:alpha=0.2": "nash:alpha=0.2",
    }


def test_max_tokens_goes_to_models_that_say_nothing():
    config = load_config(None, {"agents": {"a": "hf:x", "b": "hf:x,max_tokens=5", "c": "nash"}, "max_tokens": 64})
    assert config.specs() == {"a": "hf:x,max_tokens=64", "b": "hf:x,max_tokens=5", "c": "nash"}


@pytest.mark.slow
def test_twenty_players_twenty_thousand_games(tmp_path):
    """All games in minutes of one core's time, 1,000 resamples in seconds of it; the limits leave a busy machine room."""
    ladders = {game_class(game).name: list(players_of(game_class(game).name)) for game in GAMES}
    lines = ["blocks = 8", "[agents]"]
    for number in range(20):
        players = ", ".join(f'{game} = "{names[number % len(names)]}"' for game, names in ladders.items())
        lines.append(f"p{number} = {{ {players} }}")
    (tmp_path / "twenty.toml").write_text("\n".join(lines))
    arguments = ["--config", str(tmp_path / "twenty.toml"), "--quiet", "--resamples", "20"]
    began = time.process_time()
    assert main(["run", *arguments, "--out", str(tmp_path / "out")]) == 0
    played = time.process_time() - began
    assert len(read_results(tmp_path / "out")) > 19_000
    assert played < 900
    began = time.process_time()
    found = rate_folder(tmp_path / "out", 1000)
    assert time.process_time() - began < 30
    assert len(found["boards"]["all"]["rows"]) == 20
    print(f"played in {played:.0f} s, rated in {time.process_time() - began:.1f} s")
