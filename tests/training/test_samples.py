import pytest
import torch

from training.config import load_config
from training.learner import Learner
from training.loss import token_logprobs
from training.samples import Row, make_batch, micro_batches, reply_logits
from training.tiny import make_model, make_tokenizer

ROWS = [
    Row((5, 6, 7), (8, 1), (-0.5, -0.1), 1.0),
    Row((5, 6), (9,), (-0.7,), -2.0),
    Row((5, 6, 7), (8, 1), (-0.4, -0.2), 0.5),  # same tokens, another sampler
]


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer(["a b c [bet] [check]"] * 3, vocab_size=300)


def model_of(tokenizer, **options):
    return make_model(tokenizer, hidden_size=32, layers=2, heads=2, kv_heads=1, init_std=0.3, **options)


def test_distinct_rows_are_computed_once():
    batch = make_batch(ROWS)
    assert batch.distinct == 2
    assert batch.row_B.tolist() == [0, 1, 0]
    assert batch.ids_UT.tolist() == [[5, 6, 7, 8, 1], [0, 0, 5, 6, 9]]
    assert batch.positions_UT.tolist() == [[0, 1, 2, 3, 4], [0, 0, 0, 1, 2]]
    assert batch.is_reply_UR.tolist() == [[True, True], [False, True]]
    assert batch.sampled_logp_BR.flatten().tolist() == pytest.approx([-0.5, -0.1, 0.0, -0.7, -0.4, -0.2])


def test_the_padding_token_counts_where_it_was_sampled():
    """Token 0 pads, and here it was sampled as the end of a reply: the mask comes from lengths."""
    batch = make_batch([Row((3, 4), (5, 0), (-0.1, -0.2)), Row((3,), (5,), (-0.1,))])
    assert batch.is_reply_UR.tolist() == [[True, True], [False, True]]


@pytest.mark.parametrize(
    "rows, complaint",
    [
        ([], "at least one row"),
        ([Row((1, 2), ())], "no reply"),
        ([Row((1, 2), (3, 4), (-0.1,))], "2 reply tokens with 1"),
    ],
)
def test_refused(rows, complaint):
    with pytest.raises(ValueError, match=complaint):
        make_batch(rows)


def test_padding_changes_no_logprob(tokenizer):
    model = model_of(tokenizer).eval()
    rows = [Row((5, 6, 7, 9, 11, 12), (8, 1, 30)), Row((5,), (9,)), Row((40, 41), (42, 43))]
    with torch.no_grad():
        batch = make_batch(rows)
        together = token_logprobs(reply_logits(model, batch), batch.reply_ids_UR)
        for number, row in enumerate(rows):
            ids = torch.tensor([[*row.prompt_ids, *row.reply_ids]])
            logits = model(input_ids=ids, use_cache=False).logits[:, len(row.prompt_ids) - 1 : -1]
            alone = token_logprobs(logits, torch.tensor([row.reply_ids]))[0]
            assert torch.allclose(together[number, -len(row.reply_ids) :], alone, atol=1e-5)


def test_micro_batches_hold_every_row_once_within_the_budget():
    rows = [Row(tuple(range(length)), (1, 2)) for length in (3, 9, 4, 30, 5, 3, 9)]
    parts = list(micro_batches(rows, max_tokens=24))
    assert sorted(row.prompt_ids for part in parts for row in part) == sorted(row.prompt_ids for row in rows)
    for part in parts:
        batch = make_batch(part)
        assert batch.ids_UT.numel() <= 24 or batch.distinct == 1


def gradient(tokenizer, rows, **settings):
    config = load_config(None, {"kl_weight": 0.1, "entropy_weight": 0.01, "grad_clip": 1e9, "lr": 1e-12, **settings})
    model = model_of(tokenizer)
    learner = Learner(model, config, total_steps=1)
    with torch.no_grad():
        for parameter in learner.magnet.parameters():  # a magnet elsewhere, so that the KL has a gradient
            parameter.mul_(0.9)
    learner.update(rows)
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def many_rows():
    generator = torch.Generator().manual_seed(0)
    rows = []
    for number in range(24):
        prompt = tuple(
            torch.randint(4, 200, (int(torch.randint(2, 12, (1,), generator=generator)),), generator=generator).tolist()
        )
        reply = tuple(torch.randint(4, 200, (1 + number % 3,), generator=generator).tolist())
        rows.append(Row(prompt, reply, (-5.0,) * len(reply), float(number % 5 - 2)))
    return rows + rows[:7]


@pytest.mark.parametrize("max_tokens", [1, 37, 150])
def test_micro_batches_leave_the_gradient_as_it_is(tokenizer, max_tokens):
    rows = many_rows()
    whole = gradient(tokenizer, rows, micro_batch_tokens=100_000)
    parts = gradient(tokenizer, rows, micro_batch_tokens=max_tokens)
    assert torch.allclose(whole, parts, atol=1e-6)


def test_deduplication_leaves_the_gradient_as_it_is(tokenizer):
    """Against the sum over rows computed one by one, clip and KL included."""
    rows = many_rows()
    one_by_one = sum(gradient(tokenizer, [row]) for row in rows) / len(rows)
    assert torch.allclose(gradient(tokenizer, rows), one_by_one, atol=1e-6)
