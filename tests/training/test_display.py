from training.display import RichDisplay


def test_alarms_are_said_once_as_they_go_off(capsys):
    display = RichDisplay(plain=True, every=1000)
    for step, alarms in enumerate(
        [{}, {"refused": "half are refused"}, {"refused": "most are"}, {}, {"refused": "again"}], 1
    ):
        display.step({"step": step, "alarms": alarms}, total=10)
    display.step({"step": 6, "skipped": "gradient norm nan"}, total=10)
    assert capsys.readouterr().out.splitlines() == [
        "step 2 alarm: half are refused",
        "step 5 alarm: again",
        "step 6 skipped: gradient norm nan",
    ]
