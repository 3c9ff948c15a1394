"""The switching rule of Iterative-SPO against scripted traces of accuracy and abstentions."""

from dataclasses import asdict

import pytest

from lmgames.stage_switcher import PUBLISHED_PATIENCE, StageSwitcher


def fed(switcher, accuracy, abstentions, updates):
    """The stages after each of so many equal updates."""
    return [switcher.update(accuracy, abstentions) for _ in range(updates)]


def test_the_published_constants_are_the_defaults():
    assert asdict(StageSwitcher()) == {
        "smoothing": 0.95,
        "to_clue_accuracy": 0.9,
        "to_clue_abstentions": 0.1,
        "to_decision_error": 0.4,
        "to_decision_abstentions": 0.5,
        "min_stay": 5,
        "patience": None,
        "debias": False,
        "stage": "decision",
        "accuracy_average": 0.0,
        "abstention_average": 0.0,
        "updates": 0,
        "stayed": 0,
    }
    assert PUBLISHED_PATIENCE == 20


def test_perfect_accuracy_needs_45_updates_from_0():
    # 1 - 0.95**44 = 0.8953, 1 - 0.95**45 = 0.9006
    assert fed(StageSwitcher(), 1.0, 0.0, 45) == ["decision"] * 44 + ["clue"]


def test_debiased_it_needs_only_the_shortest_stay():
    assert fed(StageSwitcher(debias=True), 1.0, 0.0, 5) == ["decision"] * 4 + ["clue"]


def test_the_averages_by_hand():
    switcher = StageSwitcher(smoothing=0.5)
    switcher.update(1.0, 0.5)
    switcher.update(0.5, 0.25)
    assert switcher.accuracy == 0.5 * 0.5 + 0.5 * 0.5  # 0 -> 0.5 -> 0.5
    assert switcher.abstentions == 0.5 * 0.25 + 0.5 * 0.25
    debiased = StageSwitcher(smoothing=0.5, debias=True)
    debiased.update(1.0, 0.5)
    assert (debiased.accuracy, debiased.abstentions) == (1.0, 0.5)
    debiased.update(0.5, 0.25)
    assert debiased.accuracy == pytest.approx((0.5 * 1.0 + 0.5) / 1.5)


@pytest.mark.parametrize(
    ("accuracy", "abstentions", "stage"),
    [
        (0.9, 0.1, "clue"),  # both thresholds are inclusive
        (0.89, 0.0, "decision"),
        (0.95, 0.11, "decision"),
    ],
)
def test_from_decision_to_clue(accuracy, abstentions, stage):
    assert StageSwitcher(smoothing=0.0, min_stay=0).update(accuracy, abstentions) == stage


@pytest.mark.parametrize(
    ("accuracy", "abstentions", "stage"),
    [
        (0.6, 0.0, "decision"),
        (0.61, 0.0, "clue"),
        (0.61, 0.39, "clue"),
        (0.95, 0.5, "decision"),
        (0.95, 0.49, "clue"),
    ],
)
def test_from_clue_to_decision(accuracy, abstentions, stage):
    assert StageSwitcher(smoothing=0.0, min_stay=0, stage="clue").update(accuracy, abstentions) == stage


def test_a_stage_is_left_after_five_updates_at_the_earliest():
    switcher = StageSwitcher(smoothing=0.0)
    assert fed(switcher, 1.0, 0.0, 5) == ["decision"] * 4 + ["clue"]
    assert fed(switcher, 0.0, 0.0, 5) == ["clue"] * 4 + ["decision"]
    assert fed(switcher, 1.0, 0.0, 5) == ["decision"] * 4 + ["clue"]


def test_between_the_thresholds_the_stage_stays():
    switcher = StageSwitcher(smoothing=0.0)
    fed(switcher, 1.0, 0.0, 5)
    assert set(fed(switcher, 0.75, 0.2, 50)) == {"clue"}  # too bad to enter the clue stage, too good to leave it
    fed(switcher, 0.5, 0.0, 1)
    assert set(fed(switcher, 0.75, 0.2, 50)) == {"decision"}


def test_a_scripted_trace_of_the_published_rule():
    switcher = StageSwitcher()
    stages = fed(switcher, 1.0, 0.0, 45) + fed(switcher, 0.0, 0.0, 8)
    # accuracy after the 45th: 0.90056; times 0.95**8 = 0.5974, error 0.4026 >= 0.4; times 0.95**7 = 0.6289 is not enough
    assert stages == ["decision"] * 44 + ["clue"] * 8 + ["decision"]
    assert switcher.stayed == 0


def test_patience_is_off_by_default_and_leaves_a_stage_when_set():
    assert set(fed(StageSwitcher(), 0.5, 0.0, 200)) == {"decision"}
    patient = StageSwitcher(patience=PUBLISHED_PATIENCE)
    assert fed(patient, 0.75, 0.0, 20) == ["decision"] * 19 + ["clue"]


def test_a_copy_from_its_fields_goes_on_alike():
    switcher = StageSwitcher(debias=True)
    fed(switcher, 0.8, 0.1, 7)
    copy = StageSwitcher(**asdict(switcher))
    assert fed(copy, 1.0, 0.0, 30) == fed(switcher, 1.0, 0.0, 30)
    assert copy == switcher


@pytest.mark.parametrize("options", [{"smoothing": 1.0}, {"stage": "vote"}, {"min_stay": -1}, {"patience": 3}])
def test_refused_options(options):
    with pytest.raises(ValueError):
        StageSwitcher(**options)


@pytest.mark.parametrize("shares", [(1.1, 0.0), (-0.1, 0.0), (0.5, 2.0)])
def test_refused_shares(shares):
    with pytest.raises(ValueError, match="shares"):
        StageSwitcher().update(*shares)
