"""What playing ahead brings: figures of a run by hand, and the command's runs."""

from benchmarks.modes import MODES, Figures, figures, measure, table


def line(step, wait, games=10):
    seconds = {"generate": 3.0, "env": 1.0, "wait": wait, "step": 10.0, "cpu": 2.0 * step}
    rollout = {"tokens_per_second": 25.0, "tokens_trained": 0.5}
    return {"step": step, "games": games, "seconds": seconds, "rollout": rollout, "staleness": {"mean": 0.5, "max": step}}


def test_figures_by_hand():
    """Two steps of 10 s; of 4 s of playing 100 tokens come, half of which are learnt from."""
    lines = [line(0, 0.0), line(1, 1.0), line(2, 2.0, games=30)]
    found = figures(lines, "stream")
    assert found == Figures(2.0, 5.0, 2.0, 0.5, 2, 0.15, 0.6)
    assert figures(lines, "sync").trainer_waits == 0.55, "there it waits while games are played"
    rows = table({"sync": [found], "stream": [found]}).splitlines()
    assert rows[-1] == "| stream | 2.0 | 1.00 (1.00 to 1.00) | 5 | 2.00 | 0.50 | 2 | 15% | 60% |"


def test_runs_that_differ_in_their_mode_alone():
    small = {"hidden_size": 32, "layers": 1, "games_per_step": 8, "warmup_steps": 2, "warmup_games": 10}
    modes = {name: MODES[name] for name in ("sync", "one_step")}
    found = measure("kuhn_tiny", small, steps=2, repeats=1, latency_s=0.001, modes=modes)
    assert found["sync"][0].stale_max == 0
    assert found["one_step"][0].stale_max == found["one_step"][0].stale_mean == 1
    for (run,) in found.values():
        assert run.games_per_s > 0
        assert run.tokens_per_s > 0
        assert 0 <= run.player_waits < 1
