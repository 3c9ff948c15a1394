"""The measurement of rollout efficiency: both sides must do the same work."""

import time

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
    step = GameTable.step

    def slow_step(self, reply):
        time.sleep(0.01)
        step(self, reply)

    monkeypatch.setattr(GameTable, "step", slow_step)
    one = efficiency.measure(FakeModel("[check]"), "KuhnPoker-v0", games=10, at_once=5, max_tokens=20)
    assert one.self_play_s > 0.2  # at least two turns a game
    assert one.env_share > 0.5
    assert one.efficiency < 0.5


def test_it_prints_a_line_for_each_engine(capsys):
    assert efficiency.main(["--engine", "fake", "--live", "8", "--games", "16", "--rounds", "1", "--latency", "0.0005"]) == 0
    assert "fake: efficiency " in (printed := capsys.readouterr().out)
    assert "16 games, 16 at once, over 8 live sequences" in printed
