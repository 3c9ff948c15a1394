import re

import pytest

from agents.elicit import policy_of_agent
from lmgames import solve
from lmgames.registry import make_game
from training.config import load_config
from training.samples import Row
from training.tiny import make_model, make_tokenizer
from training.train import new_run
from training.warmup import RECALL, random_play, recall_items, taught_play, warm_up

OPTIONS = {"show_rules": False}


def test_random_play_is_legal_and_covers_the_game():
    turns = random_play("KuhnPoker-v0", OPTIONS, 200, seed=0)
    assert {turn.replies for turn in turns} == {("[check]", "[bet]"), ("[call]", "[fold]")}
    assert len({turn.text for turn in turns}) == 12  # the information sets of Kuhn Poker
    assert turns == random_play("KuhnPoker-v0", OPTIONS, 200, seed=0)
    assert turns != random_play("KuhnPoker-v0", OPTIONS, 200, seed=1)


def test_a_named_player_is_taught_wherever_random_moves_lead():
    turns = taught_play("TicTacToe-v0", OPTIONS, 150, seed=0, player="minimax", noise=0.5)
    assert turns == taught_play("TicTacToe-v0", OPTIONS, 150, seed=0, player="minimax", noise=0.5)
    assert len({turn.text for turn in turns}) > 400, "random moves lead to many positions"
    game = make_game("TicTacToe-v0")
    solved, lost = solve.minimax(game), 0
    for turn in turns:
        moves = [int(move) for move in re.findall(r"> \[(\d)\]", turn.text)]
        board = game.start({"symmetry": 0, "opening": moves})
        assert turn.replies[0] in solved.optimal_moves(board)
        lost += max(solved.move_values(board).values()) < 0
    assert lost > 10, "also where minimax would not have come to"


def test_without_noise_a_named_player_is_shown_as_it_plays():
    turns = taught_play("KuhnPoker-v0", OPTIONS, 100, seed=0, player="honest", noise=0.0)
    assert {turn.replies for turn in turns if "Your card: J" in turn.text} <= {("[check]",), ("[fold]",)}


def test_the_warm_start_can_imitate_a_player(tmp_path):
    config = load_config("kuhn_tiny", {"warmup_steps": 60, "warmup_player": "honest"})
    run = new_run(config, tmp_path)
    warm_up(run.learner.model, config, run.agent.chat.prompt_ids, run.agent.chat.reply_ids)
    (game,) = config.played
    policy = policy_of_agent(run.agent, game.name, **game.options).policy
    for (_, lines), mix in policy.items():
        if "Your card: K" in str(lines):
            assert mix.get("[bet]", 0) + mix.get("[call]", 0) > 0.8
        if "Your card: J" in str(lines):
            assert mix.get("[check]", 0) + mix.get("[fold]", 0) > 0.8


def test_recall_asks_where_texts_differ():
    texts = ["Your card: Q.\nPot: 2", "Your card: K.\nPot: 2", "Your card: K.\nPot: 3"]
    assert recall_items(texts) == [
        [("card", "Q."), ("Pot", "2")],
        [("card", "K."), ("Pot", "2")],
        [("card", "K."), ("Pot", "3")],
    ]


def test_recall_never_asks_what_is_the_same_everywhere_or_ambiguous():
    assert recall_items(["always here", "always here"]) == [[], []]
    assert recall_items(["cell 1\ncell 2", "cell 3\ncell 4"]) == [[], []]  # which cell?


def test_the_card_is_asked_in_kuhn_poker():
    turns = random_play("KuhnPoker-v0", OPTIONS, 100, seed=0)
    for turn, items in zip(turns, recall_items([turn.text for turn in turns]), strict=True):
        card = turn.text.split("Your card: ")[1][:2]
        assert ("card", card) in items


def test_tokens_of_moves_and_round_trip():
    tokenizer = make_tokenizer(["Legal moves: [check] [bet]"] * 5, vocab_size=320)
    assert len(tokenizer.encode("[check]")) == 1
    assert len(tokenizer.encode(" [bet]")) == 2  # a space, then the same token as without it
    for text in ("[bet]", "naïve ♠ text\n\twith <|end|>tags", "日本"):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_seeds_give_different_weights_and_leave_the_global_generator():
    import torch

    tokenizer = make_tokenizer(["a b"], vocab_size=300)
    before = torch.random.get_rng_state()
    one, two, again = (make_model(tokenizer, hidden_size=32, layers=1, seed=seed) for seed in (0, 1, 0))
    assert torch.equal(torch.random.get_rng_state(), before)
    weight = "model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(one.state_dict()[weight], two.state_dict()[weight])
    assert torch.equal(one.state_dict()[weight], again.state_dict()[weight])


@pytest.fixture(scope="module")
def warmed(tmp_path_factory):
    config = load_config("kuhn_tiny", {"warmup_steps": 100, "seed": 3})
    run = new_run(config, tmp_path_factory.mktemp("run"))
    losses = []
    warm_up(
        run.learner.model, config, run.agent.chat.prompt_ids, run.agent.chat.reply_ids, lambda _, loss: losses.append(loss)
    )
    return run, losses


def test_the_warm_start_plays_legally(warmed):
    run, _ = warmed
    (game,) = run.config.played
    elicited = policy_of_agent(run.agent, game.name, **game.options)
    assert elicited.illegal_mass < 0.05
    # Not skilled: nothing in it says which moves are good.
    for mix in elicited.policy.values():
        assert min(mix.values()) > 0.2


def test_the_warm_start_reads_its_card(warmed):
    run, _ = warmed
    (game,) = run.config.played
    turns = random_play(game.name, game.options, 30, seed=99)
    right = 0
    for turn in turns:
        prompt = run.agent.chat.prompt_ids(turn.text + RECALL + "card")
        scores = run.agent.model.score([prompt] * 3, [run.agent.chat.reply_ids(card) for card in ("J.", "Q.", "K.")])
        best = max(zip(map(sum, scores), ("J.", "Q.", "K."), strict=True))[1]
        right += f"Your card: {best}" in turn.text
    assert right / len(turns) > 0.95


def test_rows_that_only_imitate_need_no_logprobs():
    assert Row((1,), (2,)).logprobs == ()
