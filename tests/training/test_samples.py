import pytest
import torch

from agents.model_agent import ModelAgent
from agents.models.fake import FakeModel
from agents.models.model import Sampling
from agents.play import Match, run_matches
from training.config import load_config
from training.credit import Credit
from training.learner import Learner
from training.network import Network, predict
from training.rollout import Seating, trajectories
from training.samples import Row, make_batch, micro_batches
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
    assert batch.layout.ids_UT.tolist() == [[5, 6, 7, 8], [0, 0, 5, 6]], "the last token of a row predicts nothing"
    assert batch.layout.positions_UT.tolist() == [[0, 1, 2, 3], [0, 0, 0, 1]]
    assert batch.keep_P.tolist() == [2, 3, 7]
    assert batch.point_UR.tolist() == [[0, 1], [0, 2]]
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
        ([Row((1, 2), ())], "2 prompt tokens has 0 of reply"),
        ([Row((), (3,))], "0 prompt tokens has 1 of reply"),
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
        together = predict(Network(model), batch).logp_UR
        for number, row in enumerate(rows):
            ids = torch.tensor([[*row.prompt_ids, *row.reply_ids]])
            logits = model(input_ids=ids, use_cache=False).logits[:, len(row.prompt_ids) - 1 : -1]
            alone = logits.log_softmax(-1)[0].gather(1, torch.tensor([row.reply_ids]).T)[:, 0]
            assert torch.allclose(together[number, -len(row.reply_ids) :], alone, atol=1e-5)


@pytest.mark.parametrize("share", [False, True])
def test_micro_batches_hold_every_row_once_within_the_budget(share):
    rows = [Row(tuple(range(length)), (1, 2)) for length in (3, 9, 4, 30, 5, 3, 9)]
    parts = list(micro_batches(rows, max_tokens=24, share=share))
    assert len(parts) > 1
    assert sorted(row.prompt_ids for part in parts for row in part) == sorted(row.prompt_ids for row in rows)
    for part in parts:
        batch = make_batch(part, share=share)
        assert batch.layout.tokens <= 24 or batch.distinct == 1


def gradient(tokenizer, rows, **settings):
    settings = {"kl_weight": 0.1, "entropy_weight": 0.01, "grad_clip": 1e9, "lr": 1e-12, "row_reject": 0.0, **settings}
    config = load_config(None, settings)
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


class Recorder(FakeModel):
    """Keeps what it was asked."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.asked = []

    def submit(self, request):
        self.asked.append(request.prompt_ids)
        super().submit(request)


def thinks_aloud(prompt):
    return "<think>a bet [bet]?</think>" + ("[check]" if "[check]" in prompt.rsplit("Legal moves:", 1)[1] else "[fold]")


def played_rows(model, max_tokens=64):
    """Rows of eight games of three hands; the end token of the model's tokenizer is its padding token, too."""
    assert model.tokenizer.pad_token_id == model.tokenizer.eos_token_id
    config = load_config(
        None, {"games": {"KuhnPoker-v0": {"hands": 3}}, "baseline": "none", "forfeits": "keep", "drop_zero_advantage": False}
    )
    agent = ModelAgent(model, sampling=Sampling(max_tokens=max_tokens))
    matches = [
        Match("KuhnPoker-v0", seed, {"player_0": agent, "player_1": agent}, config.games["KuhnPoker-v0"], tag=seed)
        for seed in range(8)
    ]
    played = [
        trajectory
        for episode in run_matches(matches)
        for trajectory in trajectories(episode, Seating((0, 0), episode.index, frozenset(("player_0", "player_1"))))
    ]
    return Credit(config).rows(played).rows


def test_rows_are_what_the_engine_was_asked_and_said_though_thinking_is_stripped():
    """Later observations hold the move without the thinking; so a row is never rebuilt from the conversation."""
    model = Recorder(thinks_aloud)
    rows = played_rows(model)
    assert sorted(row.prompt_ids for row in rows) == sorted(model.asked)
    prompts = [model.tokenizer.decode(row.prompt_ids) for row in rows]
    assert not any("<think>" in prompt for prompt in prompts)
    assert any("check" in prompt.split("Legal moves:")[0] for prompt in prompts), "earlier moves are in later prompts"
    for row, prompt in zip(rows, prompts, strict=True):
        assert model.tokenizer.decode(row.reply_ids) == thinks_aloud(prompt) + model.tokenizer.eos_token


def test_the_end_token_is_learnt_where_it_was_sampled_and_nowhere_else():
    """Also where it is the padding token: masks come from lengths."""
    eos = Recorder("x").tokenizer.eos_token_id
    whole = played_rows(Recorder(thinks_aloud))
    cut_off = played_rows(Recorder(thinks_aloud), max_tokens=9)
    assert all(row.reply_ids[-1] == eos and row.reply_ids.count(eos) == 1 for row in whole)
    assert cut_off
    assert all(eos not in row.reply_ids and len(row.reply_ids) == 9 for row in cut_off)
    batch = make_batch(whole + cut_off)
    learnt = (batch.reply_ids_UR[batch.row_B] == eos) & batch.is_reply_BR
    assert learnt.sum(-1).tolist() == [1] * len(whole) + [0] * len(cut_off)
