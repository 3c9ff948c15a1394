import dataclasses
import importlib.util

import pytest

from training.__main__ import main
from training.checkpoint import held_alone
from training.config import RANGES, Config, load_config


def test_order_of_precedence(tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text('preset = "spiral"\nlr = 0.5\n')
    config = load_config(recipe, {"steps": "7"})
    assert (config.baseline, config.lr, config.steps) == ("role_ema", 0.5, 7)


@pytest.mark.parametrize(
    "overrides, complaint",
    [
        ({"learning_rate": 1.0}, "no setting 'learning_rate'"),
        ({"basline": "none"}, "did you mean 'baseline'"),
        ({"baseline": "role_lo"}, "did you mean 'role_loo'"),
        ({"games": "KuhnPokr-v0"}, "did you mean 'KuhnPoker-v0'"),
        ({"games": {"KuhnPoker-v0": {"hand": 3}}}, "did you mean 'hands'"),
        ({"steps": "many"}, "steps='many' is not of type int"),
        ({"games_per_step": 7, "group_size": 3}, "no multiple of group_size=3"),
        ({"baseline": "seed_role_loo", "group_size": 1}, "compares games on one deal"),
        ({"temperature": 0.6}, "temperature=0.6"),
        ({"lr": 0}, "lr=0"),
        ({"kl_weight": -1}, "kl_weight=-1"),
        ({"p_self": 1.5}, "p_self=1.5"),
        ({"dual_clip": 0.5}, "dual_clip=0.5 must be above 1, or 0"),
        ({"row_reject": 1.0}, "row_reject=1.0"),
        ({"importance_cap": 1.0}, "importance_cap=1.0"),
        ({"loss": "reinforce", "epochs": 2}, "no ratio to the old policy"),
        ({"loss": "reinforce", "importance": "bypass"}, "leaves the sampler to the clipped ratio"),
        ({"ema_baseline_debias": True}, "ema_baseline_debias=true is of role_ema; baseline='shrink'"),
        ({"credit": "turn", "forfeits": "pay"}, "pays a whole game"),
        ({"exploit": "random", "pool": "nash"}, "leave pool out"),
        ({"snapshot_every": 0}, "empty pool"),
        ({"pool": "minimax"}, "minimax"),
        ({"warmup_player": "minimax"}, "KuhnPoker has no reference player 'minimax'"),
        ({"warmup_noise": 2.0}, "warmup_noise=2.0"),
        ({"save_every": 0}, "save_every=0 must be at least 1"),
        ({"beta1": 1.5}, "beta1=1.5 must be at least 0 and below 1"),
        ({"ema_baseline_decay": 1.0}, "ema_baseline_decay=1.0"),
        ({"lr": float("inf")}, "lr=inf"),
        ({"eval_every": -1}, "eval_every=-1 must not be below 0"),
        ({"model": "Qwen/Qwen3-4B", "hidden_size": 64}, "hidden_size=64 says something of model='tiny' alone"),
        ({"p_self": 1.0, "pool": "random"}, "pool=.'random',. says something with p_self below 1"),
        ({"loss": "cispo", "dual_clip": 3.0}, "dual_clip=3.0 says something with loss='ppo' or 'gspo'"),
        ({"turn_buckets": 4}, "turn_buckets=4 says something with credit='turn'"),
        ({"eval_samples": 64, "eval_every": 0}, "eval_samples=64 says something with eval_every above 0"),
        ({"preset": "spiral", "invalid_baseline": "role_loo"}, "invalid_baseline='role_loo' says something"),
        ({"preset": "spiral", "truncated": "penalise"}, "truncated='penalise'"),
        ({"sampler": "copy", "ray_gpus": 1.0}, "ray_gpus=1.0 says something with sampler='ray'"),
        ({"baseline": "position"}, "credit='trajectory' must be 'turn'"),
        ({"baseline": "position", "credit": "turn", "group_size": 1}, "group_size=1 must be 2 or more"),
        ({"games": "DealOrNoDeal-v0", "pool_sampler": "nash"}, "needs a zero-sum game"),
        ({"sampler": "servers"}, "sampler_urls and sampler='servers' go together"),
        ({"sampler_urls": "http://localhost:8000/v1"}, "sampler_urls and sampler='servers' go together"),
        ({"sampler": "servers", "sampler_urls": "localhost:8000"}, "'localhost:8000' must begin with http"),
        ({"sampler": "ray"}, "ray_actors and sampler='ray' go together"),
        ({"engine": '{"max_batch": 4}'}, "they need sampler='vllm'"),
        ({"evaluate": {"KuhnPokr-v0": {}}}, "evaluate: KuhnPokr-v0 is not trained on; did you mean 'KuhnPoker-v0'"),
        ({"evaluate": {"KuhnPoker-v0": {"hand": 3}}}, "did you mean 'hands'"),
        ({"evaluate": {"*": {"hands": 0}}}, "hands=0"),
        ({"evaluate": {"KuhnPoker-v0": {"weight": 2}}}, "weight is its share in training"),
        ({"evaluate": {"KuhnPoker-v0": {"max_reply_tokens": 0}}}, "evaluate: max_reply_tokens=0 of KuhnPoker-v0"),
        ({"eval_temperature": -0.1}, "eval_temperature=-0.1"),
        ({"eval_top_p": 0.0}, "eval_top_p=0.0 must be above 0"),
        ({"eval_temperature": 0.6, "play_every": 0}, "eval_temperature=0.6 says something with play_every above 0 alone"),
        ({"sampler": "vlm"}, "sampler='vlm' is not known; did you mean 'vllm'"),
    ],
)
def test_refused(overrides, complaint):
    with pytest.raises(ValueError, match=complaint):
        load_config(None, overrides)


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (["khun_tiny"], "did you mean 'kuhn_tiny'"),
        (["kuhn_tiny", "--stepps", "3"], "did you mean 'steps'"),
        (["kuhn_tiny", "stray"], "unexpected 'stray'"),
        (["kuhn_tiny", "--steps"], "--steps needs a value"),
    ],
)
def test_command_line_refuses_with_2(capsys, arguments, complaint):
    assert main(arguments) == 2
    assert complaint in capsys.readouterr().err


def test_every_number_has_a_range():
    free = {"seed", "temperature", "invalid_bonus", "dual_clip", "row_reject"}
    numbers = {each.name for each in dataclasses.fields(Config) if each.type in (int, float)}
    ranged = [name for names, *_ in RANGES for name in names.split()]
    assert len(ranged) == len(set(ranged))
    assert set(ranged) == numbers - free


def test_only_a_model_from_scratch_is_warm_started_unasked():
    assert load_config(None, {}).warmup_steps == 160
    assert load_config(None, {"model": "Qwen/Qwen3-4B"}).warmup_steps == 0
    assert load_config(None, {"model": "Qwen/Qwen3-4B", "warmup_steps": "5"}).warmup_steps == 5


def test_what_goes_wrong_in_a_run_is_no_users_mistake(tmp_path, monkeypatch, capsys):
    """A bug keeps its traceback; a folder of other settings is refused in a line."""
    small = ["kuhn_tiny", "--steps", "1", "--warmup_steps", "0", "--games_per_step", "30", "--run", str(tmp_path / "run")]

    def breaks(*_):
        raise ValueError("a bug")

    monkeypatch.setattr("training.train._start", breaks)
    with pytest.raises(ValueError, match="a bug"):
        main(small)
    assert main([*small, "--lr", "1e-4"]) == 2
    assert "holds a run with other settings" in capsys.readouterr().err
    with held_alone(tmp_path / "run"):  # by another process
        assert main(small) == 2
    assert "is being trained in by another process" in capsys.readouterr().err


def test_options_of_the_environment_add_to_the_presets():
    config = load_config(None, {"preset": "spiral", "games": {"TicTacToe-v0": {"show_rules": False}}})
    assert config.games == {"TicTacToe-v0": {"invalid_policy": "forfeit", "show_rules": False}}


def test_tensorboard_is_asked_for_by_name_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install tensorboard"):
        load_config(None, {"tensorboard": "true"})


@pytest.mark.parametrize("settings, extra", [({"sampler": "vllm"}, "vllm"), ({"sampler": "ray", "ray_actors": 2}, "ray")])
def test_a_sampler_names_the_extra_that_it_needs(monkeypatch, settings, extra):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == extra else real(name, *more))
    with pytest.raises(ValueError, match=rf"pip install 'lmgames\[{extra}\]'"):
        load_config(None, settings)


def test_evaluation_lays_its_options_over_those_of_training(tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        '[games."TicTacToe-v0"]\nrandom_opening = [0, 6]\nshow_rules = false\n[games."KuhnPoker-v0"]\nweight = 2\n'
        '[evaluate."*"]\nlegal_hint = "none"\n[evaluate."lmgames/TicTacToe-v0"]\nrandom_opening = 0\nmax_reply_tokens = 9\n'
    )
    config = load_config(recipe, {"evaluate.KuhnPoker-v0.hands": "3"})
    training, evaluation = ({game.name: game for game in games} for games in (config.played, config.evaluated))
    assert training["TicTacToe-v0"].options == {"random_opening": [0, 6], "show_rules": False}
    assert evaluation["TicTacToe-v0"].options == {"random_opening": 0, "show_rules": False, "legal_hint": "none"}
    assert (training["TicTacToe-v0"].max_reply_tokens, evaluation["TicTacToe-v0"].max_reply_tokens) == (6, 9)
    assert (training["KuhnPoker-v0"].options, evaluation["KuhnPoker-v0"].options) == ({}, {"hands": 3, "legal_hint": "none"})
    assert evaluation["KuhnPoker-v0"].weight == 2
