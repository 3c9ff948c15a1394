"""Games played ahead of training and carried over: none is lost or too old, the player waits, and what goes wrong comes out."""

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from agents.agent import Agent, Observation, Reply
from agents.play import Watch, run_matches
from lmgames.chance import Chance
from training.batches import Ahead, make_batches
from training.checkpoint import load_latest, read_metrics
from training.config import load_config
from training.distributed import ALONE, World
from training.metrics import staleness
from training.rollout import Rollout, gathered
from training.train import _train as train_in
from training.train import new_run, train

SETTINGS = {
    "games": {"TicTacToe-v0": {"invalid_policy": "forfeit"}},
    "games_per_step": 12,
    "group_size": 3,
    "concurrency": 7,
    "opponents": "random",
    "p_self": 1.0,
    "sampler": "copy",
    "steps": 8,
}


class Versioned(Agent):
    """Plays at random and says by which weights; like a model it answers some of what is asked, when it likes."""

    def __init__(self):
        self.version = 0
        self.fails_after = None
        self.asked = 0

    def act(self, observations: Sequence[Observation]) -> list[Reply]:
        return [self._reply(seen) for seen in observations]

    def poll(self):
        waiting = self._requests()
        answered = waiting[::2] if len(waiting) > 3 else list(waiting)
        waiting[:] = [each for each in waiting if each not in answered]
        return [(key, self._reply(seen)) for key, seen in answered]

    def _reply(self, seen):
        self.asked += 1
        if self.fails_after is not None and self.asked > self.fails_after:
            raise OSError("the engine is on fire")
        move = Chance(seen.seed).choice(seen.legal_moves, "move")
        return Reply(move, (1,), (2,), (-0.5,), "stop", policy_version=self.version)


class Engine:
    """As a sampler."""

    def __init__(self):
        self.watch = Watch()

    def play(self, matches, *, concurrency):
        return run_matches(matches, concurrency=concurrency, watch=self.watch)


class NoPool:
    def pairings(self, step, groups):
        return {}

    def rest(self, *, forget=True):
        pass


def rollout_of(**settings):
    config = load_config(None, {**SETTINGS, **settings})
    agent = Versioned()
    return Rollout(config, {"TicTacToe-v0": agent}, Engine(), NoPool()), agent, config


def publish(batches, agent, step):
    with batches.held():
        agent.version = step
        batches.published(step)


def ages(batch):
    return [batch.step - step.reply.policy_version for each in batch.trajectories for step in each.steps]


@pytest.mark.parametrize("mode", ["sync", "stream"])
@pytest.mark.parametrize("cap", [1, 2])
def test_carried_over_games_are_conserved_whole_and_fresh_enough(mode, cap):
    rollout, agent, config = rollout_of(mode=mode, carry_over=True, max_staleness=cap)
    batches = make_batches(rollout, config, 0)
    finished, groups, stale = 0, Counter(), 0
    try:
        for step in range(config.steps):
            batch = batches.next(step)
            episodes = {each.outcome.episode: each.outcome.group for each in batch.trajectories}
            of_group = Counter(episodes.values())
            assert set(of_group.values()) == {3}, "groups are whole"
            assert config.groups_per_step <= len(of_group) <= 2 * config.groups_per_step
            groups.update(of_group.keys())
            finished += len(episodes)
            assert 0 <= max(ages(batch)) <= cap
            stale += sum(age > 0 for age in ages(batch))
            publish(batches, agent, step + 1)
            with batches.held(quiet=True):
                waiting = sum(len({each.outcome.episode for each in b.trajectories}) for b in getattr(batches, "_ready", ()))
                assert rollout.started == finished + waiting + rollout.live, "no game is lost"
    finally:
        batches.close()
    assert set(groups.values()) == {1}, "and none is counted twice"
    assert stale > 0, "games did go on with newer weights"
    first = sorted(groups)[: config.steps]
    assert first == [(number // 4, number % 4) for number in range(len(first))], "games are begun in their order"


def test_a_resumed_run_plays_what_was_begun_and_not_what_was_learnt_from():
    """Games of later steps end before those of earlier ones, so that what a run has learnt from is no number of steps."""
    seen, state, ahead = Counter(), {"first": 0, "later": []}, 0
    for first, end in ((0, 3), (3, 4), (4, 7)):
        rollout, agent, config = rollout_of(carry_over=True, games_per_step=48, concurrency=48)
        rollout.learnt.load_state_dict(state)
        agent.version = first
        batches = make_batches(rollout, config, first)
        for step in range(first, end):
            batch = batches.next(step)
            rollout.learnt.add(batch)
            seen.update({each.outcome.group for each in batch.trajectories})
            publish(batches, agent, step + 1)
        state = json.loads(json.dumps(rollout.learnt.state_dict()))
        ahead += len(state["later"])
    assert ahead > 0
    assert set(seen.values()) == {1}
    whole = {(step, number) for step in range(state["first"]) for number in range(16)}
    assert seen.keys() == whole | set(map(tuple, state["later"]))
    assert state["first"] >= 6, "none is left out"


def test_without_carry_over_a_step_is_its_own_games():
    rollout, _, config = rollout_of()
    batches = make_batches(rollout, config, 3)
    batch = batches.next(3)
    assert {each.outcome.group for each in batch.trajectories} == {(3, number) for number in range(4)}
    assert (rollout.started, rollout.live) == (12, 0)
    assert batch.figures["tokens"] == sum(len(each.steps) for each in batch.trajectories)
    assert 1 < batch.figures["live_games"] <= 7
    assert batch.figures["env"] > 0


def test_one_step_plays_with_the_weights_that_the_step_before_began_with():
    rollout, agent, config = rollout_of(mode="one_step")
    batches = make_batches(rollout, config, 0)
    try:
        for step in range(config.steps):
            batch = batches.next(step)
            assert set(ages(batch)) == {min(step, 1)}
            publish(batches, agent, step + 1)
    finally:
        batches.close()


@pytest.mark.parametrize("cap, waits", [(1, 1), (3, 2), (2, 5)])
def test_the_player_waits_where_the_trainer_is_behind(cap, waits):
    """Nothing is trained: the player comes to a stand, and what it has made is all used later, in order."""
    rollout, agent, config = rollout_of(mode="stream", max_staleness=cap, queue_batches=waits)
    batches = make_batches(rollout, config, 0)
    try:
        with batches._change:
            ready = min(waits, cap + 1)  # steps 0 to cap may be played with the first weights
            assert batches._change.wait_for(lambda: len(batches._ready) == ready and batches._still, timeout=60)
        assert rollout.started == 12 * ready
        seen = []
        for step in range(config.steps):
            batch = batches.next(step)
            seen.append(batch.step)
            assert max(ages(batch)) <= cap
            assert len(batches._ready) <= waits
            publish(batches, agent, step + 1)
        assert seen == list(range(config.steps))
        assert rollout.started == 12 * config.steps, "and nothing is played for steps that never come"
    finally:
        batches.close()
    assert not batches._thread.is_alive()


def test_with_games_carried_over_the_player_waits_too():
    """With old weights it begins no game that would have to be waited for: the second batch is what a step has, and the last."""
    rollout, agent, config = rollout_of(mode="stream", carry_over=True)
    batches = Ahead(rollout, config, 0)
    try:
        batches.next(0)
        with batches._change:
            assert batches._change.wait_for(lambda: batches._ready and batches._still, timeout=60)
        assert (rollout.started, rollout.live) == (24, 0)
        with batches.held():
            agent.version = 1
            batches.published(1)
        second = batches.next(1)
        assert len({each.outcome.group for each in second.trajectories}) <= 4
        assert max(ages(second)) == 1
        assert batches.next(2).step == 2
    finally:
        batches.close()


@pytest.mark.parametrize("mode", ["one_step", "stream"])
def test_what_goes_wrong_in_the_thread_comes_out_where_it_is_waited_for(mode):
    rollout, agent, config = rollout_of(mode=mode)
    agent.fails_after = 150
    batches = Ahead(rollout, config, 0)

    def go_on():
        for step in range(config.steps):
            batches.next(step)
            publish(batches, agent, step + 1)

    with pytest.raises(RuntimeError, match="the engine is on fire") as raised:
        go_on()
    assert isinstance(raised.value.__cause__, OSError)
    batches.close()
    assert not batches._thread.is_alive()


def test_closing_ends_a_player_in_the_middle_of_a_batch():
    rollout, agent, config = rollout_of(mode="stream", games_per_step=3000, concurrency=50)
    batches = Ahead(rollout, config, 0)
    with batches.held():
        version = agent.version
    batches.close()
    assert version == 0
    assert not batches._thread.is_alive()
    assert rollout.started < 3000


class Quiet:
    def __init__(self, ends_at=None):
        self.ends_at = ends_at

    def warm_up(self, step, total, loss):
        pass

    def step(self, line, total):
        if line["step"] == self.ends_at:
            signal.raise_signal(signal.SIGTERM)


TINY = {
    "hidden_size": 32,
    "layers": 1,
    "warmup_steps": 6,
    "warmup_games": 30,
    "games_per_step": 24,
    "group_size": 4,
    "steps": 4,
    "eval_every": 2,
    "play_every": 0,
    "save_every": 2,
    "sampler": "copy",
    "forfeits": "keep",
    "pool": "random",
    "snapshot_every": 2,
    "p_self": 0.5,
}


@pytest.mark.parametrize(
    "mode",
    [{"mode": "one_step"}, {"mode": "stream", "carry_over": True, "concurrency": 16}, {"carry_over": True}],
    ids=["one_step", "stream-carry_over", "sync-carry_over"],
)
def test_runs_ahead_of_training(tmp_path, mode):
    """They reach their end, also when asked to stop half way, and leave no thread."""
    config = load_config("kuhn_tiny", {**TINY, **mode})
    assert train(config, tmp_path, Quiet(ends_at=3))["step"] == 3
    assert load_latest(tmp_path)[0] == 3
    train(config, tmp_path, Quiet())
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(5))
    assert "rollout" not in {thread.name for thread in threading.enumerate()}
    assert all(line["staleness"]["max"] <= config.max_staleness for line in lines[1:])
    assert all(24 <= line["games"] <= 56 for line in lines[1:]), "games of a step, and at most those that are in progress"
    assert any(line["staleness"]["mean"] > 0 for line in lines[1:])
    assert {"generate", "env", "wait", "train", "sync", "evaluate", "step", "cpu"} == set(lines[-1]["seconds"])
    assert 0 < lines[-1]["rollout"]["tokens_trained"] <= 1
    assert lines[-1]["rollout"]["tokens_per_second"] > 0
    assert lines[-1]["peak_memory"]["cpu"] > 50
    assert [("nash_conv" in line) for line in lines] == [True, False, True, False, True]
    assert len(load_latest(tmp_path)[1]["pool"]["members"]) == 3
    assert load_latest(tmp_path)[1]["learner"]["step_number"] == 4


def games_of_a_step(world, folder):
    """What each process learns from: (number of the game, seat, return, replies)."""
    config = load_config("kuhn_tiny", {**TINY, "games_per_step": 20, "pool": "random", "snapshot_every": 0})
    run = new_run(config, folder, world)
    run.learner.shard()
    run.publish()
    batch = gathered(make_batches(run.rollout, config, 0).next(0), world)
    run.pool.record(batch.results)
    seen = [
        (each.outcome.episode, each.seat, each.outcome.return_, tuple(step.reply.reply_ids for step in each.steps))
        for each in batch.trajectories
    ]
    return seen, run.pool.state_dict(), run.rollout.started


def test_two_processes_share_the_games_that_one_would_play(on_ranks, tmp_path):
    alone, payoffs, _ = games_of_a_step(ALONE, tmp_path / "alone")
    found = on_ranks(2, games_of_a_step, tmp_path / "both")
    assert [started for _, _, started in found] == [12, 8], "of five groups of four"
    for seen, pool, _ in found:
        assert seen == alone
        assert pool == payoffs


AHEAD = {
    "one_step": {"mode": "one_step"},
    "stream": {"mode": "stream", "max_staleness": 2, "queue_batches": 2, "carry_over": True, "concurrency": 8},
}


def runs_ahead(world, folder):
    """The last steps of each mode. The second process, whose player is the slower, is alone asked to end; then the run goes on."""
    played = 0
    real = Rollout._end

    def slower(self, episode):
        nonlocal played
        played += 1
        time.sleep(0.002 * world.rank)
        if world.rank == 1 and played == 20:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, episode)

    Rollout._end = slower
    found = {}
    for name, settings in AHEAD.items():
        config = load_config("kuhn_tiny", {**TINY, "games_per_step": 20, "warmup_steps": 2, "eval_every": 0, **settings})
        played = 0
        ended = train_in(config, folder / name, Quiet(), world)["step"]
        found[name] = (ended, train_in(config, folder / name, Quiet(), world))
    return found, "rollout" in {thread.name for thread in threading.enumerate()}


@pytest.mark.slow
def test_two_processes_play_ahead_together(on_ranks, tmp_path):
    """They end after the same step, learn from the same games and keep to the cap, whoever is the faster."""
    (first, lives), (second, lives_too) = on_ranks(2, runs_ahead, tmp_path)
    assert not lives
    assert not lives_too
    for name, settings in AHEAD.items():
        ended, last = first[name]
        assert ended == second[name][0] < 4
        lines = read_metrics(tmp_path / name / "metrics.jsonl")
        assert [line["step"] for line in lines] == list(range(5))
        for key in ("loss", "games", "return", "pool", "staleness", "grad_norm"):
            assert second[name][1][key] == last[key] == lines[-1][key], key
        assert max(line["staleness"]["max"] for line in lines[1:]) <= settings.get("max_staleness", 1)
        assert any(line["staleness"]["mean"] > 0 for line in lines[1:])
        step, state = load_latest(tmp_path / name)
        learnt = state["learnt"]
        assert step == 4
        assert sum(line["games"] for line in lines[1:]) == 20 * learnt["first"] + 4 * len(learnt["later"])


def test_more_processes_than_groups_are_refused():
    with pytest.raises(ValueError, match=r"4 groups of games a step .* are too few for 5 processes"):
        Rollout(load_config(None, SETTINGS), {}, Engine(), NoPool(), World(0, 5))


@pytest.mark.parametrize(
    "settings, complaint",
    [
        ({"mode": "stream", "sampler": "module"}, "sampler='copy'"),
        ({"mode": "streem"}, "did you mean 'stream'"),
        ({"mode": "one_step", "carry_over": "true"}, "carry_over goes with 'sync' and 'stream'"),
        ({"max_staleness": 2}, "max_staleness=2 says something with"),
        ({"max_staleness": 0, "mode": "stream"}, "max_staleness=0 must be at least 1"),
        ({"queue_batches": 2, "mode": "one_step"}, "queue_batches=2"),
        ({"mode": "stream", "importance": "none"}, "mode='stream' .* importance='tis', 'mis' or 'bypass'"),
        ({"carry_over": "true", "importance": "none"}, "carry_over=True .* importance='tis', 'mis' or 'bypass'"),
    ],
)
def test_refused(settings, complaint):
    with pytest.raises(ValueError, match=complaint):
        load_config(None, {"sampler": "copy", **settings})


def test_what_is_off_policy():
    assert load_config(None, {"sampler": "copy", "mode": "stream"}).is_off_policy
    assert load_config(None, {"carry_over": "true"}).is_off_policy
    assert not load_config(None).is_off_policy


def test_staleness_is_of_tokens_where_weights_changed_under_a_reply():
    changed = Reply("", reply_ids=(5, 6, 7, 8), policy_version=2, version_spans=((2, 1), (3, 3)))
    untold = Reply("", reply_ids=(5, 6), policy_version=2, version_spans=((2, 2), (3, 0)))  # as servers say it
    fresh = Reply("", reply_ids=(5,), policy_version=4)
    played = [SimpleNamespace(steps=[SimpleNamespace(reply=reply) for reply in (changed, untold, fresh)])]
    found = staleness(played, version=4, updates_per_step=1)
    assert found == {"mean": pytest.approx((1.25 + 2 + 0) / 3), "max": 2, "mixed": pytest.approx(2 / 3)}
