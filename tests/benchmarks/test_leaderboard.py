import csv
import json

import pytest

from agents.specs import make_agent
from benchmarks.leaderboard import main, nash_convs, parse_agents, rate_results, run_tournament
from benchmarks.results import ResultsFile
from benchmarks.schedule import GameSpec, round_robin
from lmgames.records import replay

KUHN = GameSpec("KuhnPoker-v0", {})


def tournament(out, names=("random", "honest", "nash"), games=(KUHN,), blocks=30, **options):
    agents = {name: make_agent(name) for name in names}
    return agents, run_tournament(agents, list(games), blocks=blocks, seed=0, out=out, **options)


def test_every_block_is_one_deal_from_both_seats():
    pairings = list(round_robin(["a", "b", "c"], [KUHN], blocks=5, seed=1))
    assert len(pairings) == 3 * 5 * 2
    for block in range(5):
        members = [pairing for pairing in pairings if pairing.block == block]
        assert len({pairing.seed for pairing in members}) == 1, "all pairs play the same deal"
        for pair in (("a", "b"), ("a", "c"), ("b", "c")):
            seated = [tuple(pairing.seats.values()) for pairing in members if pairing.pair == pair]
            assert sorted(seated) == sorted([pair, pair[::-1]])


def test_mirrored_deals_cancel_luck(tmp_path):
    """Two equal deterministic players win what they lose on each deal."""
    _, results = tournament(tmp_path, names=("bet_call", "first"), blocks=12)
    agents = {"one": make_agent("bet_call"), "two": make_agent("bet_call")}
    results = run_tournament(agents, [KUHN], blocks=12, seed=0, out=tmp_path / "mirror")
    lines = rate_results(results, list(agents), [KUHN], {}, resamples=50)
    assert [line.mean_return["KuhnPoker-v0"].value for line in lines] == [0.0, 0.0]


def test_the_table_knows_the_order_and_the_exact_values(tmp_path):
    agents, results = tournament(tmp_path, blocks=400)
    lines = rate_results(results, list(agents), [KUHN], nash_convs(agents, [KUHN]), resamples=200)
    by_name = {line.name: line for line in lines}
    assert by_name["random"].nash_conv["KuhnPoker-v0"] == pytest.approx(11 / 12)
    assert by_name["honest"].nash_conv["KuhnPoker-v0"] == pytest.approx(1 / 4)
    assert by_name["nash"].nash_conv["KuhnPoker-v0"] == pytest.approx(0, abs=1e-12)
    assert by_name["random"].rating.value == 0
    assert by_name["nash"].mean_return["KuhnPoker-v0"].value > by_name["random"].mean_return["KuhnPoker-v0"].value
    assert all(line.games == 1600 for line in lines)
    assert all(line.invalid_rate == 0 for line in lines)


def test_results_do_not_depend_on_concurrency(tmp_path):
    _, one = tournament(tmp_path / "one", concurrency=1)
    _, many = tournament(tmp_path / "many", concurrency=64)
    assert {result.key: result.record.id for result in one} == {result.key: result.record.id for result in many}


def test_a_stopped_tournament_goes_on(tmp_path):
    _, whole = tournament(tmp_path / "whole")
    _, _ = tournament(tmp_path / "cut")
    path = tmp_path / "cut" / "games.jsonl"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join(lines[:40]) + b"\n" + lines[40][:100])  # forty whole lines and a torn one
    played = []
    _, again = tournament(tmp_path / "cut", on_game=lambda done, total: played.append(done))
    assert played[0] == 40
    assert sorted(result.record.id for result in again) == sorted(result.record.id for result in whole)
    assert len(path.read_text().splitlines()) == len(whole)


def test_every_line_can_be_played_again(tmp_path):
    _, results = tournament(tmp_path, blocks=5)
    for result in results:
        replay(result.record)


def test_a_damaged_line_is_named(tmp_path):
    tournament(tmp_path, blocks=3)
    path = tmp_path / "games.jsonl"
    lines = path.read_text().splitlines()
    data = json.loads(lines[4])
    data["record"]["returns"]["player_0"] += 1
    lines[4] = json.dumps(data)
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=r"games\.jsonl:5 is damaged: .*changed after it was written"):
        ResultsFile(path)


def test_command_line(tmp_path, capsys):
    arguments = ["--agents", "random", "x=first", "--games", "KuhnPoker-v0", "TicTacToe-v0", "--blocks", "5"]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    rows = list(csv.reader((tmp_path / "table.csv").open()))
    assert rows[0][0] == "agent"
    assert {row[0] for row in rows[1:]} == {"random", "x"}
    assert (tmp_path / "table.md").read_text().startswith("| agent |")
    assert "mirrored deals" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (["--agents", "random", "nsah", "--games", "KuhnPoker-v0"], "did you mean 'nash'"),
        (["--agents", "random", "nash", "--games", "KuhnPokr-v0"], "did you mean 'KuhnPoker-v0'"),
        (["--agents", "random", "nash", "--games", "KuhnPoker-v0", "--option", "hand=3"], "did you mean 'hands'"),
        (["--agents", "random", "minimax", "--games", "KuhnPoker-v0"], "no reference player 'minimax'"),
        (["--agents", "random", "random", "--games", "KuhnPoker-v0"], "two agents are called 'random'"),
        (["--agents", "random", "--games", "KuhnPoker-v0"], "two or more agents"),
        (["--agents", "random", "nash", "--games", "KuhnPoker-v0", "--blocks", "0"], "blocks=0"),
    ],
)
def test_command_line_refuses_with_2(tmp_path, capsys, arguments, complaint):
    assert main([*arguments, "--out", str(tmp_path)]) == 2
    assert complaint in capsys.readouterr().err


def test_names_of_agents():
    assert list(parse_agents(["random", "mine=nash:alpha=0.1", "nash:alpha=0.2"])) == ["random", "mine", "nash:alpha=0.2"]
