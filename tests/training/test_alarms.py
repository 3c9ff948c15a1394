import pytest

from training.alarms import ALARMS, Alarms

HEALTHY = {
    "reply_median": 100.0,
    "empty_thinking": 0.1,
    "won": {"first": 0.6, "second": 0.4},
    "invalid_rate": 0.02,
    "entropy": 0.4,
    "mismatch_k3": 0.001,
    "cells": {"a": {"games": 10, "zero_advantage": 0.1}, "b": {"games": 30, "zero_advantage": 0.5}},
}


@pytest.mark.parametrize(
    "name, sick, just_well",
    [
        ("short_replies", {"reply_median": 19.0}, {"reply_median": 20.0}),
        ("empty_thinking", {"empty_thinking": 0.51}, {"empty_thinking": 0.5}),
        ("refused", {"invalid_rate": 0.31}, {"invalid_rate": 0.3}),
        ("entropy", {"entropy": 0.049}, {"entropy": 0.05}),
        ("mismatch", {"mismatch_k3": 0.051}, {"mismatch_k3": 0.05}),
        (
            "nothing_to_learn",
            {"cells": {"a": {"games": 10, "zero_advantage": 0.3}, "b": {"games": 30, "zero_advantage": 0.98}}},  # 32.4 / 40
            {"cells": {"a": {"games": 10, "zero_advantage": 0.3}, "b": {"games": 30, "zero_advantage": 0.96}}},  # 31.8 / 40
        ),
    ],
)
def test_each_alarm(name, sick, just_well):
    alarms = Alarms()
    assert alarms.check(HEALTHY) == {}
    assert alarms.check({**HEALTHY, **just_well}) == {}
    assert list(alarms.check({**HEALTHY, **sick})) == [name]
    assert alarms.check(HEALTHY) == {}


def test_one_side_has_to_win_for_twenty_steps_and_memory_comes_back():
    one_sided = {**HEALTHY, "won": {"first": 0.96, "second": 0.04}}
    alarms = Alarms()
    for _ in range(10):
        assert alarms.check(one_sided) == {}
    alarms.check(HEALTHY)  # breaks the streak
    for _ in range(10):
        assert alarms.check(one_sided) == {}
    again = Alarms()
    again.load_state_dict(alarms.state_dict())
    for _ in range(9):
        assert again.check(one_sided) == {}
    assert "first won more than 95%" in again.check(one_sided)["one_sided"]
    assert again.check({**HEALTHY, "reply_median": 10.0}).keys() == {"short_replies"}, "the start is remembered, too"


@pytest.mark.parametrize(
    "won",
    [
        {"opener": 1.0, "responder": 0.99},  # they agree, and both gain
        {"A-v0/x": 1.0, "A-v0/o": 0.5, "B-v0/first": 0.02, "B-v0/second": 0.5},  # who loses sits in another game
        {"player": 0.97},  # all seats share a role
    ],
)
def test_no_side_is_beaten_where_all_gain(won):
    alarms = Alarms()
    assert not any(alarms.check({**HEALTHY, "won": won}) for _ in range(30))


def test_models_that_never_think_are_no_alarm():
    alarms = Alarms()
    for _ in range(3):
        assert alarms.check({**HEALTHY, "empty_thinking": 1.0}) == {}


def test_a_step_without_an_update_is_judged_by_its_games():
    line = {name: value for name, value in HEALTHY.items() if name not in ("entropy", "mismatch_k3", "cells")}
    assert Alarms().check({**line, "invalid_rate": 0.9}).keys() == {"refused"}


def test_every_alarm_is_tested():
    assert set(ALARMS) == {
        "short_replies", "empty_thinking", "one_sided", "refused", "entropy", "mismatch", "nothing_to_learn"
    }  # fmt: skip
