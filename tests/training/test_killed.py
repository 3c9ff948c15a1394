"""A run that is killed again and again comes to the same end as one that never was; and one of two processes runs."""

import subprocess
import sys

import pytest
import torch

from training.checkpoint import load_latest, read_metrics, read_tensors
from training.metrics import without_timing
from training.opponents import LEARNER, MEMORY

SMALL = {
    "hidden_size": 32,
    "layers": 1,
    "warmup_steps": 3,
    "warmup_games": 10,
    "games_per_step": 12,
    "group_size": 2,
    "steps": 25,
    "eval_every": 5,
    "save_every": 1,
    "play_every": 0,
    "keep_every": 7,
    "p_self": 0.5,
    "snapshot_every": 3,
    "forfeits": "keep",
}
KILLS = 20
# Children are forked from a process that has imported everything, so that kills fall into the run itself.
SCRIPT = f"""
import os, random, signal, sys, time
from pathlib import Path
import torch
from training.checkpoint import load_latest, read_metrics, read_tensors
from training.config import load_config
from training.train import train

class Quiet:
    def warm_up(self, step, total, loss): pass
    def step(self, line, total): pass

torch.set_num_threads(1)
config, folder = load_config("kuhn_tiny", {SMALL!r}), Path(sys.argv[1])

def child():
    pid = os.fork()
    if not pid:
        train(config, folder, Quiet())
        os._exit(0)
    return pid

moments, last = random.Random(0), -1
for kill in range({KILLS}):
    pid = child()
    time.sleep(moments.uniform(0.02, 1.5))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    done = load_latest(folder)
    step = -1 if done is None else done[0]
    assert step >= last, "a checkpoint was lost"
    last = step
    if done is not None:
        assert read_tensors(folder, step)
        assert done[1]["learner"]["step_number"] == step
    read_metrics(folder / "metrics.jsonl")
_, status = os.waitpid(child(), 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""


# A child ends itself at a counted one of the moments at which something is played, learnt, sent or written.
COUNTED = f"""
import os, random, signal, sys, threading
from pathlib import Path
import training.checkpoint, training.rollout, training.sampler, training.train
from training.checkpoint import load_latest
from training.config import load_config

class Quiet:
    def warm_up(self, step, total, loss): pass
    def step(self, line, total): pass

left, signal_, count = 0, signal.SIGKILL, threading.Lock()

def moment():
    global left
    with count:
        left -= 1
        if not left:
            os.kill(os.getpid(), signal_)

def counted(place, name):
    real = getattr(place, name)
    def both(*arguments, **named):
        moment()
        found = real(*arguments, **named)
        moment()
        return found
    setattr(place, name, both)

counted(training.rollout.Rollout, "_end")
counted(training.sampler.InProcess, "publish")
counted(training.train.OpponentPool, "record")
counted(training.train.Learner, "learn")
counted(training.train.MetricsFile, "write")
counted(training.checkpoint.os, "replace")

def child(moments, number):
    global left, signal_
    pid = os.fork()
    if not pid:
        left, signal_ = moments, number
        status = 1
        try:
            training.train.train(config, folder, Quiet())
            status = 2 if any(thread.name == "rollout" for thread in threading.enumerate()) else 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

config, folder = load_config("kuhn_tiny", {SMALL!r} | {{settings}}), Path(sys.argv[1])
draws = random.Random(1)
for kill in range(6):
    assert child(draws.randint(1, 120), signal.SIGKILL) == -signal.SIGKILL, "the run ended before it was killed"
before = load_latest(folder)[0]
assert child(40, signal.SIGTERM) == 0
stopped = load_latest(folder)[0]
assert before < stopped < config.steps, (before, stopped)
assert child(0, signal.SIGKILL) == 0
"""
AHEAD = {
    "one_step": {"mode": "one_step"},
    "stream": {"mode": "stream", "max_staleness": 2, "queue_batches": 2},
    "stream-carry_over": {"mode": "stream", "carry_over": True, "max_staleness": 2},
    "sync-carry_over": {"carry_over": True},
}


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_killed_at_twenty_random_moments_it_ends_as_if_never_killed(tmp_path):
    run([sys.executable, "-c", SCRIPT, str(tmp_path / "killed")])
    run([sys.executable, "-c", SCRIPT.replace(f"range({KILLS})", "range(0)"), str(tmp_path / "whole")])
    whole, killed = (read_tensors(tmp_path / name, 25) for name in ("whole", "killed"))
    assert whole.keys() == killed.keys()
    assert all(torch.equal(tensor, killed[name]) for name, tensor in whole.items())
    assert load_latest(tmp_path / "whole") == load_latest(tmp_path / "killed")
    lines = [
        [without_timing(line) for line in read_metrics(tmp_path / name / "metrics.jsonl")] for name in ("whole", "killed")
    ]
    assert lines[0] == lines[1]
    kept = sorted(path.name for path in (tmp_path / "killed" / "steps").iterdir())
    assert kept == [f"step_{step:06d}" for step in (0, 7, 14, 21, 24, 25)], "nothing half written is left"


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"lora_rank": 2}], ids=["full", "lora"])
def test_two_processes_of_torchrun_train_and_one_goes_on(tmp_path, settings):
    """Two steps by two processes, then the folder is gone on with by one."""
    settings = {**SMALL, "steps": 4, "save_every": 2, "device": "cpu", **settings}
    words = ["--", "training", "kuhn_tiny", "--run", str(tmp_path / "run")]
    words += [f"--{name}={value}" for name, value in settings.items()]
    run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", *words])
    assert [line["step"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl")] == [0, 1, 2, 3, 4]
    assert load_latest(tmp_path / "run")[0] == 4
    (tmp_path / "run" / "steps" / "step_000004" / "COMPLETE").unlink()
    run([sys.executable, "-m", *words[1:]])
    assert load_latest(tmp_path / "run")[0] == 4
    assert (tmp_path / "run" / "model" / "COMPLETE").exists()


@pytest.mark.slow
@pytest.mark.parametrize("mode", AHEAD)
def test_killed_while_it_plays_ahead_it_loses_and_repeats_nothing(tmp_path, mode):
    """Killed six times and asked to end once; every game that it has learnt from counts once."""
    settings = {**AHEAD[mode], "sampler": "copy", "steps": 16, "save_every": 2, "eval_every": 0, "pool": "random"}
    run([sys.executable, "-c", COUNTED.replace("{settings}", repr(settings)), str(tmp_path)])
    lines = read_metrics(tmp_path / "metrics.jsonl")
    step, state = load_latest(tmp_path)
    assert [line["step"] for line in lines] == list(range(17))
    assert step == state["learner"]["step_number"] == 16
    assert (tmp_path / "model" / "COMPLETE").exists()
    assert max(line["staleness"]["max"] for line in lines[1:]) <= settings.get("max_staleness", 1)
    learnt = state["learnt"]
    assert sum(line["games"] for line in lines[1:]) == learnt["first"] * 12 + len(learnt["later"]) * 2, (
        "none is learnt from twice"
    )
    met = 0.0
    for line in lines[1:]:
        met = MEMORY * (met + sum(cell["games"] for name, cell in line["cells"].items() if not name.endswith("/self")))
    table = state["pool"]["payoffs"]["KuhnPoker-v0"]["sums"]
    assert sum(games for who, _, _, games, *_ in table if who == LEARNER) == pytest.approx(met), "and none is counted twice"
