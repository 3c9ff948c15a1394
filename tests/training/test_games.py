"""Several games in one run: how they take turns, what their tables say, and that nothing of one leaks into another."""

import json
from collections import Counter, defaultdict

import pytest

from lmgames.records import GameRecord
from training.checkpoint import load_latest, read_metrics
from training.config import load_config
from training.games import Rota, dealt
from training.metrics import without_timing
from training.rollout import collect, matches
from training.train import new_run, train
from training.warmup import random_play_of

MIXED = {
    "hidden_size": 32,
    "layers": 1,
    "vocab_size": 400,
    "warmup_steps": 4,
    "warmup_games": 40,
    "games_per_step": 24,
    "group_size": 4,
    "steps": 3,
    "eval_every": 2,
    "play_every": 3,
    "play_games": 3,
    "save_every": 1,
    "snapshot_every": 1,
    "p_self": 0.5,
    "scale": "running",
    "forfeits": "keep",
    "opponents": "random,nash",
    "games": {
        "*": {"invalid_policy": "forfeit", "show_rules": False},
        "KuhnPoker-v0": {"weight": 2},
        "TicTacToe-v0": {"weight": 1, "max_reply_tokens": 3},
    },
    "holdout": {"DealOrNoDeal-v0": {"invalid_policy": "forfeit"}},
}


class Quiet:
    def warm_up(self, step, total, loss):
        pass

    def step(self, line, total):
        pass


@pytest.mark.parametrize("weights", [(1,), (1, 1), (1, 2), (3, 1, 1, 0.5), (0.1, 0.2, 0.7), (9, 1, 1, 1, 1)])
def test_everybody_has_had_its_share_to_within_one_turn(weights):
    """The bound of Tijdeman's theorem, 1 - 1 / (2 k - 2), holds after every turn."""
    rota, total, count = Rota(weights), sum(weights), len(weights)
    bound = 1 - 1 / (2 * count - 2) if count > 1 else 0
    for number in range(1, 400):
        had = [rota.before(who, number) for who in range(count)]
        assert sum(had) == number
        assert max(abs(turns - number * weight / total) for turns, weight in zip(had, weights, strict=True)) <= bound + 1e-9


def test_the_sequence_does_not_depend_on_where_one_looks_first():
    late, early = Rota((1, 2, 4)), Rota((1, 2, 4))
    assert [late[number] for number in reversed(range(50))][::-1] == [early[number] for number in range(50)]


def test_groups_go_to_games_by_weight_and_through_each_ones_deals():
    config = load_config(None, {**MIXED, "games_per_step": 72, "p_self": 1.0})
    agents = {game.name: None for game in config.played}
    steps = [list(matches(config, step, agents)) for step in range(4)]
    for played in steps:
        assert Counter(match.env_id for match in played) == {"KuhnPoker-v0": 48, "TicTacToe-v0": 24}
        of_group = defaultdict(set)
        for match in played:
            of_group[match.tag.group].add((match.env_id, json.dumps(match.instance, default=str)))
        assert len(of_group) == 18
        assert all(len(deals) == 1 for deals in of_group.values()), "a group is of one game on one deal"
    deals = Counter(json.dumps(match.instance) for played in steps for match in played if match.env_id == "KuhnPoker-v0")
    assert set(deals.values()) == {8 * 4}, "48 groups go eight times through the six deals"
    assert len({match.seed for played in steps for match in played}) == 4 * 72
    first, then = dealt(config.played, 0, 7), dealt(config.played, 7, 5)
    assert first + then == dealt(config.played, 0, 12)


def test_tables_of_games():
    config = load_config(None, {**MIXED, "max_reply_tokens": 9})
    kuhn, tictactoe = config.played
    assert (kuhn.name, kuhn.weight, kuhn.max_reply_tokens) == ("KuhnPoker-v0", 2, 9)
    assert (tictactoe.name, tictactoe.weight, tictactoe.max_reply_tokens) == ("TicTacToe-v0", 1, 3)
    assert kuhn.options == {"invalid_policy": "forfeit", "show_rules": False}
    (held_out,) = config.held_out
    assert held_out.options == {"invalid_policy": "forfeit", "show_rules": False}
    assert [config.reply_limit(name) for name in ("lmgames/TicTacToe-v0", "lmgames/KuhnPoker-v0", "Other-v0")] == [3, 9, 9]
    same = load_config(None, {"games": "lmgames/KuhnPoker-v0"})
    assert [game.name for game in same.played] == ["KuhnPoker-v0"]


def test_tables_on_the_command_line():
    config = load_config("kuhn_tiny", {"games.TicTacToe-v0.weight": "0.5", "games.*.legal_hint": "none"})
    assert config.games == {
        "KuhnPoker-v0": {"legal_hint": "none", "show_rules": False, "invalid_policy": "forfeit"},
        "TicTacToe-v0": {"legal_hint": "none", "weight": 0.5},
    }
    assert load_config("kuhn_tiny", {"games": "TicTacToe-v0", "opponents": "random"}).games == {"TicTacToe-v0": {}}
    assert load_config(None, {"games": '{"KuhnPoker-v0": {"hands": 3}}'}).games == {"KuhnPoker-v0": {"hands": 3}}


@pytest.mark.parametrize(
    "settings, complaint",
    [
        ({"game": "KuhnPoker-v0"}, "no setting 'game'; did you mean 'games'"),
        ({"games": ""}, None),
        ({"games": "KuhnPoker-v0,TicTacTo-v0"}, "did you mean 'TicTacToe-v0'"),
        ({"games": {"KuhnPoker-v0": {"weigth": 2}}}, "KuhnPoker-v0 has no option 'weigth'"),
        ({"games": {"KuhnPoker-v0": {"weight": 0}}}, "weight=0 of KuhnPoker-v0 must be a number above 0"),
        ({"games": {"KuhnPoker-v0": {"weight": "two"}}}, "weight='two' of KuhnPoker-v0"),
        ({"games": {"KuhnPoker-v0": {"max_reply_tokens": 0}}}, "max_reply_tokens=0 of KuhnPoker-v0"),
        ({"games": {"KuhnPoker-v0": {"invalid_policy": "forfiet"}}}, "invalid_policy"),
        ({"games": {"KuhnPoker-v0": 3}}, r"write \[games.\"KuhnPoker-v0\"\]"),
        ({"games": {"KuhnPoker-v0": {}, "lmgames/KuhnPoker-v0": {}}}, "there twice"),
        ({"games.KuhnPoker-v0": "3"}, "games.GAME.OPTION"),
        ({"lr.KuhnPoker-v0.x": "3"}, "lr has no parts"),
        ({"games.*.hands": "3", "games.TicTacToe-v0.rows": "3"}, "TicTacToe-v0 has no option 'hands'"),
        ({"holdout": "KuhnPoker-v0"}, "is trained on"),
        ({"holdout": {"TicTacToe-v0": {"weight": 1}}}, "has no weight"),
        ({"holdout": "TicTacTo-v0"}, "did you mean 'TicTacToe-v0'"),
        ({"holdout": "TicTacToe-v0", "eval_every": 0, "play_every": 0}, "evaluate nothing"),
        ({"games": "TicTacToe-v0", "eval_samples": 8}, "none of the games is small enough"),
        ({"games": "KuhnPoker-v0,TicTacToe-v0", "exploit": "nash"}, "nash"),
        (
            {"games": "KuhnPoker-v0,TicTacToe-v0", "pool": "nash", "snapshot_every": 0, "p_self": 0.0},
            "none of them plays TicTacToe-v0",
        ),
        ({"games": "KuhnPoker-v0,DealOrNoDeal-v0", "pool_sampler": "nash"}, "DealOrNoDeal-v0 is"),
        ({"games": "KuhnPoker-v0,TicTacToe-v0", "opponents": "nahs"}, "did you mean"),
    ],
)
def test_refused(settings, complaint):
    if complaint is None:
        assert load_config(None, settings).games == {"KuhnPoker-v0": {}}, "no game named is the default"
        return
    with pytest.raises(ValueError, match=complaint):
        load_config(None, settings)


def test_a_file_of_questions_is_read_before_anything_is_loaded(tmp_path):
    good = {"id": "a", "question": "Who?", "answers": ["x", "y"], "correct": 0, "passage": "It was x."}
    questions = tmp_path / "questions.jsonl"
    questions.write_text(json.dumps(good) + "\n{broken\n")
    tables = {"Debate-v0": {"source": "text", "questions": str(questions)}}
    settings = {"games": tables, "opponents": "random", "p_self": 1.0}
    with pytest.raises(ValueError, match=r"questions\.jsonl:2: not JSON"):
        load_config(None, settings)
    questions.write_text(json.dumps(good) + "\n" + json.dumps({**good, "answers": ["x"]}) + "\n")
    with pytest.raises(ValueError, match=r"questions\.jsonl:2: answers must be two texts"):
        load_config(None, settings)
    questions.unlink()
    with pytest.raises(ValueError, match=r"Debate-v0 cannot be read: .*No such file.*name another file"):
        load_config(None, settings)


def test_the_warm_start_teaches_all_games():
    config = load_config(None, MIXED)
    kuhn, tictactoe = random_play_of(config, 30)
    assert all("[" in turn.replies[0] for turn in (*kuhn, *tictactoe))
    assert 8 < len({turn.text for turn in kuhn}) <= 12, "the information sets of Kuhn Poker"
    assert sum(len(turn.replies) == 9 for turn in tictactoe) == 10, "ten of thirty games, each with nine moves open at first"


def test_pool_games_are_dealt_out_within_each_game(tmp_path):
    config = load_config(None, {**MIXED, "pool": "nash,minimax,random", "snapshot_every": 0, "p_self": 0.0})
    run = new_run(config, tmp_path)
    counts = defaultdict(Counter)
    for step in range(6):
        for trajectory in collect(config, step, run.agents, run.pool):
            if trajectory.outcome.opponent != "self":
                counts[trajectory.outcome.game][trajectory.outcome.role, trajectory.outcome.opponent] += 1
    assert set(counts) == {"lmgames/KuhnPoker-v0", "lmgames/TicTacToe-v0"}
    kuhn, tictactoe = (counts[f"lmgames/{game.name}"] for game in config.played)
    assert {who for _, who in kuhn} == {"fixed:nash", "fixed:random"}
    assert {who for _, who in tictactoe} == {"fixed:minimax", "fixed:random"}
    assert sum(kuhn.values()) == 24 * 4
    assert sum(tictactoe.values()) == 12 * 4
    for of_game in (kuhn, tictactoe):
        for opponent in {who for _, who in of_game}:
            first, second = (number for (_, who), number in of_game.items() if who == opponent)
            assert first == second, "the same members in every role"
    assert not run.pool.payoffs["KuhnPoker-v0"].games("learner", "minimax")
    assert run.pool.payoffs["TicTacToe-v0"].games("learner", "minimax") > 0
    assert set(run.pool.metrics()["pool"]) == {"KuhnPoker-v0", "TicTacToe-v0"}


class StoppedError(Exception):
    pass


class Stops(Quiet):
    def step(self, line, total):
        if line["step"] == 2:
            raise StoppedError


def test_a_mixed_run(tmp_path):
    """Metrics by game, held-out games evaluated and never played, and a cut run ends as a whole one."""
    config = load_config(None, MIXED)
    train(config, tmp_path / "whole", Quiet())
    lines = read_metrics(tmp_path / "whole" / "metrics.jsonl")
    last = lines[-1]
    names = ["KuhnPoker-v0", "TicTacToe-v0"]
    assert [sorted(line.get("nash_conv", {})) for line in lines] == [[names[0]], [], [names[0]], [names[0]]]
    assert set(last["nash_conv"]["KuhnPoker-v0"]) == {"last", "average", "ema"}
    assert {game: set(found) for game, found in last["against"].items()} == {
        "KuhnPoker-v0": {"random", "nash"},
        "TicTacToe-v0": {"random"},
    }
    assert set(last["holdout"]) == {"DealOrNoDeal-v0"}
    assert set(last["holdout"]["DealOrNoDeal-v0"]["against"]) == {"random"}
    assert set(last["return"]) == {
        f"{game}/{role}" for game, roles in zip(names, (("first", "second"), ("x", "o")), strict=True) for role in roles
    }
    assert [last["by_game"][game]["games"] for game in names] == [16, 8]
    assert {cell.split("/")[0] for cell in last["cells"]} == set(names)
    assert set(last["variance_share"]) == {f"lmgames/{game}" for game in names}
    kept = (tmp_path / "whole" / "games" / "step_000003.jsonl").read_text().splitlines()
    assert {GameRecord.from_json(line).env_id for line in kept} == {f"lmgames/{g}" for g in (*names, "DealOrNoDeal-v0")}
    scales = {game: average for game, average, _ in load_latest(tmp_path / "whole")[1]["credit"]["scale"]["games"]}
    assert set(scales) == {f"lmgames/{game}" for game in names}
    with pytest.raises(StoppedError):
        train(config, tmp_path / "cut", Stops())
    train(config, tmp_path / "cut", Quiet())
    again = read_metrics(tmp_path / "cut" / "metrics.jsonl")
    for one, other in zip(lines, again, strict=True):
        assert without_timing(one) == without_timing(other)


def test_replies_are_as_long_as_their_game_allows(tmp_path):
    """An untrained model rambles: every reply is cut off, at the limit of its own game."""
    config = load_config(None, {**MIXED, "max_reply_tokens": 5, "p_self": 1.0})
    run = new_run(config, tmp_path)
    longest = defaultdict(int)
    for trajectory in collect(config, 0, run.agents):
        for step in trajectory.steps:
            longest[trajectory.outcome.game] = max(longest[trajectory.outcome.game], len(step.reply.reply_ids))
    assert longest == {"lmgames/KuhnPoker-v0": 5, "lmgames/TicTacToe-v0": 3}
