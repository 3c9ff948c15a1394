from rich.console import Console

from training.display import RichDisplay, figures


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


def test_figures_say_what_kind_of_replies_are_refused_and_how_well_the_engine_is_used(capsys):
    rollout = {"tokens_per_second": 1234.0, "live_games": 5.0, "tokens_trained": 0.9, "efficiency": 0.87}
    line = {
        "reply_tokens": 3.0,
        "truncated_rate": 0.0,
        "invalid_rate": 0.3,
        "invalid": {"cut_off": 0.0, "format": 0.2, "illegal": 0.1},
    }
    line |= {"rollout": rollout, "peak_memory": {"cpu": 100.0}}
    Console(width=140).print(figures(line))
    shown = capsys.readouterr().out
    assert "refused 30.0% (format 20.0%, illegal 10.0%)" in shown
    assert "1,234 tokens/s (efficiency 87%)" in shown
    del rollout["efficiency"]  # games played elsewhere
    Console(width=140).print(figures(line))
    assert "1,234 tokens/s   5 games" in capsys.readouterr().out
