"""The measurement of rollout efficiency: both sides must do the same work."""

import pytest

from agents.models.fake import FakeModel
from agents.models.model import Request, Sampling
from agents.tables import GameTable
from benchmarks import efficiency


def test_the_bare_engine_gives_the_tokens_of_the_games():
    one = efficiency.measure(FakeModel(efficiency.FAKE_REPLIES), "KuhnPoker-v0", games=30, at_once=8, max_tokens=20)
    again = efficiency.measure(FakeModel(efficiency.FAKE_REPLIES), "KuhnPoker-v0", games=30, at_once=30, max_tokens=20)
    assert (one.tokens, one.replies) == (again.tokens, again.replies)  # games do not depend on how many run at once
    assert one.replies > 60
    assert 0 < one.env_share < 1
    assert one.efficiency > 0


def test_the_queue_of_the_bare_engine_stays_as_long_as_there_are_requests():
    most = []

    class Watched(FakeModel):
        def poll(self):
            most.append(self.waiting)
            return super().poll()

    model = Watched("abc")
    requests = [Request(n, (1, 2), Sampling(max_tokens=9), n) for n in range(40)]
    assert efficiency.bare(model, requests, 16) == 40 * 4
    assert max(most) == 16
    assert model.submitted == 40


def test_a_slow_environment_shows(monkeypatch):
    """By a clock that only the environment, 10 ms a turn, and the model, 1 ms a token, move on."""
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    step = GameTable.step

    def slow_step(self, reply):
        sleep(0.01)
        step(self, reply)

    monkeypatch.setattr(GameTable, "step", slow_step)
    model = FakeModel("[check]", latency_s=0.001, clock=lambda: now[0], sleep=sleep)
    one = efficiency.measure(model, "KuhnPoker-v0", games=10, at_once=5, max_tokens=20, now=lambda: now[0])
    in_env_s = 0.01 * one.replies
    assert one.self_play_s == pytest.approx(in_env_s + one.in_engine_s)
    assert one.env_share == pytest.approx(in_env_s / one.self_play_s)
    assert one.efficiency == pytest.approx(one.bare_s / one.self_play_s)
    assert 0 < one.in_engine_s <= one.bare_s < one.self_play_s


def test_the_fake_engine_is_measured_without_waiting():
    """Hours of its latency pass in no time, and none of them is lost."""
    model, now = efficiency.make_model("fake", None, 8, latency_s=60.0)
    one = efficiency.measure(model, "KuhnPoker-v0", games=400, at_once=16, max_tokens=20, now=now)
    assert one.bare_s > 3600
    assert 0.9 < one.efficiency < 1.01


def test_it_prints_a_line_for_each_engine(capsys):
    assert efficiency.main(["--engine", "fake", "--live", "8", "--games", "16", "--rounds", "1", "--latency", "0.0005"]) == 0
    assert "fake: efficiency " in (printed := capsys.readouterr().out)
    assert "16 games, 16 at once, over 8 live sequences" in printed
