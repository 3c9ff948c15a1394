import pytest

from training.__main__ import main
from training.config import RECIPES, load_config


def test_every_recipe_loads():
    names = [file.stem for file in RECIPES.glob("*.toml")]
    assert "kuhn_tiny" in names
    for name in names:
        load_config(name)


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
        ({"game": "KuhnPokr-v0"}, "did you mean 'KuhnPoker-v0'"),
        ({"env_options": {"hand": 3}}, "did you mean 'hands'"),
        ({"steps": "many"}, "steps='many' is not of type int"),
        ({"games_per_step": 7, "group_size": 3}, "no multiple of group_size=3"),
        ({"group_size": 1}, "compares games on one deal"),
        ({"temperature": 0.6}, "temperature=0.6"),
        ({"lr": 0}, "lr=0"),
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
