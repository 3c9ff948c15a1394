"""What a step of the learner costs, counted: operations against a plain forward and backward pass, and tensors that stay."""

import gc

import pytest
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.memory import Followed, Load
from benchmarks.step import plain_pass
from training.config import load_config
from training.learner import Learner
from training.tiny import make_model, make_tokenizer

ROWS = Load(prompt=30, reply=6)


def learner_of(**settings):
    config = load_config(None, {"row_reject": 0.0, "micro_batch_tokens": 300, "lr": 1e-4, **settings})
    tokenizer = make_tokenizer(["a b c [bet] [check]"] * 3, vocab_size=300)
    return Learner(make_model(tokenizer, hidden_size=32, layers=1), config, total_steps=300)


def rows_of(learner):
    rows = ROWS.rows(learner.config, 200)
    return [*rows, *rows[:5]]  # some are sampled twice, and computed once


def operations(work):
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


@pytest.mark.parametrize("share, at_most", [(True, 0.6), (False, 1.05)])
def test_an_update_computes_what_a_plain_pass_of_its_rows_does(share, at_most):
    """1.3 times as much is promised. Shared beginnings save a good part of it; without them nothing is computed twice."""
    learner = learner_of(share_prefixes=share)
    rows = rows_of(learner)
    plain = operations(lambda: plain_pass(learner.model, rows, learner.config.micro_batch_tokens))
    assert plain > 1e6
    assert operations(lambda: learner.update(rows)) < at_most * plain


@pytest.mark.parametrize(
    "settings", [{}, {"kl_weight": 0.1, "magnet_hold": 0, "entropy_target": 9.0, "epochs": 2}], ids=["plain", "all"]
)
def test_memory_is_flat_over_200_steps(settings):
    """Once the optimiser has its state and the gradient is there, no tensor stays that was not there before."""
    learner = learner_of(**settings)
    rows = rows_of(learner)[:20]
    with Followed(learner.model) as followed:
        for _ in range(2):
            learner.learn(rows)
        gc.collect()
        alive, most = followed.now, followed.peak
        for _ in range(200 // learner.config.updates_per_step):
            learner.learn(rows)
        gc.collect()
    assert followed.now == alive
    assert followed.peak == pytest.approx(most, rel=0.01)
