"""What a step's games look like in figures, by hand."""

import pytest

from agents.agent import Observation, Reply
from agents.play import Step
from lmgames.records import Turn
from training.advantages import Outcome
from training.metrics import play_metrics, rollout_metrics
from training.rollout import Batch, Trajectory, _tokens


def step(role, text, prompt, ids, status="ok", move="", code="", turn=0):
    reply = Reply(text, prompt, tuple(ids), (), "length" if len(ids) > 8 else "stop")
    return Step(Observation("", role, turn=turn), reply, Turn(role, "", status, code, move), 0)


def trajectory(role, return_, *steps, opponent="self", episode=0, game="G-v0", by_rules=True):
    return Trajectory(Outcome(f"lmgames/{game}", role, opponent, 0, episode, return_), role, steps, by_rules)


def test_metrics_by_hand():
    found = play_metrics(
        [
            trajectory(
                "a",
                1.0,
                step("a", "<think>x</think>[p]", (1,), range(4), move="[p]"),
                step("a", "[p]", (2,), (1, 1), move="[p]"),
            ),
            trajectory(
                "b",
                -1.0,
                step("b", "[p]", (1,), (1, 1), move="[q]"),
                step("b", "no", (1,), range(9), "refused", code="no_command"),
            ),
            trajectory("a", -1.0, step("a", "[p]", (1,), (1, 1), move="[q]"), opponent="snapshot", episode=1),
        ]
    )
    assert {name: found[name] for name in ("games", "replies", "reply_tokens", "reply_median", "reply_p95")} == {
        "games": 2, "replies": 5, "reply_tokens": 19 / 5, "reply_median": 2.0, "reply_p95": 9.0
    }  # fmt: skip
    assert (found["invalid_rate"], found["truncated_rate"], found["empty_thinking"]) == (1 / 5, 1 / 5, 4 / 5)
    assert found["reply_tokens_by"] == {"won": 3.0, "lost": 13 / 3}
    assert found["reply_tokens_by_role"] == {"a": 8 / 3, "b": 5.5}
    assert found["return"] == {"a": 0.0, "b": -1.0}
    assert found["won"] == {"a": 1.0, "b": 0.0}, "games against others are not counted"
    assert found["distinct_actions"] == 2, "one observation came up more than once: p, q, q"
    assert found["action_entropy"] == pytest.approx(0.6365, abs=1e-4)  # of 1/3, 2/3


def test_refused_replies_by_kind():
    """Cut off, badly written, and understood but not allowed: the three make up the share refused."""
    steps = [
        step("a", "[p]", (1,), (1,)),
        step("a", "and so", (1,), range(9), "refused", code="no_command"),
        step("a", "p", (1,), (1,), "refused", code="no_command"),
        step("a", "[p] [q]", (1,), (1,), "refused", code="ambiguous"),
        step("a", "[take 9]", (1,), (1,), "forfeit", code="out_of_range"),
    ]
    found = play_metrics([trajectory("a", 0.0, *steps, by_rules=False), trajectory("b", 0.0, episode=1)])
    assert found["invalid"] == {"cut_off": 0.2, "format": 0.4, "illegal": 0.2}
    assert sum(found["invalid"].values()) == pytest.approx(found["invalid_rate"])
    assert found["refusals"] == {"ambiguous": 0.2, "no_command": 0.4, "out_of_range": 0.2}
    assert found["forfeit_rate"] == 0.5


@pytest.mark.parametrize(
    "replies, expected",
    [
        (["1234"], 0.0),
        (["12341234"], 1 / 5),  # the last of five runs
        (["1111111", "1234"], 3 / 8),  # 3 of 4, and none
        (["123", "1111"], 0.0),  # shorter ones have no run
        (["123"], None),
    ],
)
def test_repetition(replies, expected):
    steps = [step("a", "", (1,), [*map(int, reply)]) for reply in replies]
    found = play_metrics([trajectory("a", 0.0, *steps)]).get("repetition")
    assert found is expected if expected is None else found == pytest.approx(expected)


def test_who_moves_first_and_what_all_get():
    """Of games in which all seats learn; the gap of game H, whose seats begin at once, is not known."""

    def table(episode, paid, turns, **more):
        return [
            trajectory(role, return_, step(role, "", (1,), (1,), turn=turn), episode=episode, **more)
            for role, return_, turn in zip("abc", paid, turns, strict=False)
        ]

    played = [
        *table(0, (3.0, 1.0, 0.0), (0, 1, 2)),
        *table(1, (1.0, 1.0, 4.0), (2, 1, 0)),
        *table(2, (9.0, 9.0), (0, 1), opponent="snapshot"),
        *table(3, (1.0, -1.0), (0, 0), game="H-v0"),
    ]
    found = play_metrics(played, several_games=True)
    assert found["welfare"] == {"G-v0": 5.0, "H-v0": 0.0}
    assert found["first_mover_gap"] == {"G-v0": (2.5 + 3.0) / 2}
    assert found["reply_tokens_by_role"] == {"G-v0/a": 1, "G-v0/b": 1, "G-v0/c": 1, "H-v0/a": 1, "H-v0/b": 1}


def test_metrics_of_nothing():
    assert play_metrics([])["replies"] == 0


def test_how_well_the_engine_was_used_by_hand():
    """8 of 10 s in the engine; 5 games of 8 at once; two replies whose engine tells what it computed, and one of a program."""
    replies = [
        Reply("", (1,) * 6, (1,) * 5, usage={"cached_tokens": 4, "computed_tokens": 3}),
        Reply("", (1,) * 4, (1,) * 2, usage={"cached_tokens": 1}),  # what is not cached of a prompt is computed
        Reply("[p]"),
    ]
    tokens = _tokens(replies)
    assert tokens == {"tokens": 7, "prompt": 10, "cached": 5, "asked": 15, "computed": 3 + 4}
    figures = {"generate": 9.0, "engine": 8.0, "env": 1.0, "live_games": 5.0, "room": 8.0, **tokens}
    found = rollout_metrics(Batch(0, [], [], figures), [2, 3])["rollout"]
    assert found == pytest.approx(
        {
            "tokens_per_second": 0.7,
            "engine_tokens_per_second": 7 / 8,
            "efficiency": 0.8,
            "occupancy": 5 / 8,
            "live_games": 5,
            "env_share": 0.1,
            "tokens_trained": 5 / 7,
            "tokens_saved": 8 / 15,
            "prompt_cached": 0.5,
        }
    )
    elsewhere = {**figures, "engine": 0.0, "env": 0.0, **_tokens([Reply("", (1,), (1,))])}
    assert set(rollout_metrics(Batch(0, [], [], elsewhere), [])["rollout"]) == {
        "tokens_per_second", "tokens_trained", "live_games", "env_share"
    }  # fmt: skip
