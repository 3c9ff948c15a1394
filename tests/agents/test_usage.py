"""What replies cost."""

import pytest

from agents.agent import Agent, Reply
from agents.model_agent import ModelAgent
from agents.models.fake import FakeModel
from agents.models.model import Sampling
from agents.play import play
from agents.play_cli import main
from agents.usage import Price, Usage, price_of, read_prices, usage_by_seat, usage_table

KUHN = "lmgames/KuhnPoker-v0"
COSTS = {
    "prompt_tokens": 100,
    "cached_tokens": 60,
    "completion_tokens": 10,
    "reasoning_tokens": 4,
    "retries": 1,
    "seconds": 0.5,
}


class Costly(Agent):
    def __init__(self, spec):
        self.spec = spec

    def act(self, observations):
        return [Reply(seen.legal_moves[0], usage=COSTS) for seen in observations]


def test_costs_add_up_by_agent_and_seat():
    episodes = play(KUHN, [Costly("m"), "random"], episodes=10, seats="rotate")
    sums = usage_by_seat(episodes)
    assert set(sums) == {("m", "player_0"), ("m", "player_1")}  # scripted players cost nothing
    for (_, seat), usage in sums.items():
        calls = sum(step.seat == seat and bool(step.reply.usage) for episode in episodes for step in episode.steps)
        assert usage == Usage(calls, 100 * calls, 60 * calls, 10 * calls, 4 * calls, calls, 0.5 * calls)


def test_models_tell_their_tokens_and_seconds():
    agent = ModelAgent(FakeModel("[bet]", latency_s=0.001), sampling=Sampling(max_tokens=20))
    (usage,) = usage_by_seat(play(KUHN, [agent, "first"], episodes=4)).values()
    assert usage.calls >= 4
    assert usage.completion_tokens == 6 * usage.calls  # five bytes and the end
    assert usage.prompt_tokens > 100 * usage.calls
    assert usage.seconds >= 0.006 * usage.calls


@pytest.mark.parametrize(
    ("price", "cost"),
    [
        (Price(10, 100), (100 * 10 + 10 * 100) / 1e6),
        (Price(10, 100, cached=1), (40 * 10 + 60 * 1 + 10 * 100) / 1e6),
    ],
)
def test_the_cost_by_hand(price, cost):
    assert price.of(Usage(1, 100, 60, 10, 4, 0, 0.5)) == pytest.approx(cost)


def test_prices_are_found_by_spec_target_model_and_kind(tmp_path):
    file = tmp_path / "prices.toml"
    names = ["openai:m@http://x/v1,top_k=3", "m@http://x/v1", "m", "openai"]
    file.write_text("\n".join(f'["{name}"]\nprompt = {n}\ncompletion = 2.5' for n, name in enumerate(names)))
    prices = read_prices(file)
    assert price_of("openai:m@http://x/v1,top_k=3", prices) == Price(0, 2.5)
    assert price_of("openai:m@http://x/v1", prices) == Price(1, 2.5)
    assert price_of("openai:m@http://y/v1", prices) == Price(2, 2.5)
    assert price_of("openai:other@http://y/v1", prices) == Price(3, 2.5)
    assert price_of("random", prices) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[m", "is no TOML file"),
        ("m = 3", "'m' is no table; write [\"m\"] and the prices below it"),
        ("[m]\nprompt = 1", "[m] lacks completion, the price of a million tokens"),
        ("[m]\nprompt = 1\ncompletion = -1", "[m] completion = -1 is no price"),
        ("[m]\nprompt = true\ncompletion = 1", "[m] prompt = True is no price"),
        ("[m]\npromt = 1\ncompletion = 1", "unknown price 'promt'; did you mean 'prompt'?"),
    ],
)
def test_wrong_prices_say_what_is_wrong(tmp_path, text, message):
    file = tmp_path / "prices.toml"
    file.write_text(text)
    with pytest.raises(ValueError) as error:
        read_prices(file)
    assert message in str(error.value)


def test_the_table_has_a_row_for_each_seat_and_their_sum():
    sums = {("m", "player_0"): Usage(2, 200, 0, 20), ("m", "player_1"): Usage(1, 100, 0, 10), ("n", "x"): Usage(1, 1)}
    lines = [line.split() for line in usage_table(sums, {"m": Price(10_000, 0)}).splitlines()]
    assert lines[0] == [
        "agent",
        "seat",
        "calls",
        "prompt",
        "cached",
        "completion",
        "reasoning",
        "retries",
        "seconds",
        "cost",
    ]
    assert lines[1:] == [
        ["m", "player_0", "2", "200", "0", "20", "0", "0", "0.0", "2"],
        ["m", "player_1", "1", "100", "0", "10", "0", "0", "0.0", "1"],
        ["m", "all", "3", "300", "0", "30", "0", "0", "0.0", "3"],
        ["n", "x", "1", "1", "0", "0", "0", "0", "0.0", "-"],
    ]
    assert usage_table({}) == ""


def test_the_command_line_shows_usage_and_cost(tmp_path, capsys, monkeypatch):
    file = tmp_path / "prices.toml"
    file.write_text('["m"]\nprompt = 10000\ncompletion = 0')
    monkeypatch.setattr("agents.play.make_agent", lambda spec: Costly(spec))
    assert main([KUHN, "--agents", "m", "--games", "2", "--quiet", "--prices", str(file)]) == 0
    calls, cost = next(line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("m      all"))[2::7]
    assert float(cost) == int(calls)  # 100 tokens a call
    file.write_text("[m]")
    assert main([KUHN, "--agents", "m", "--quiet", "--prices", str(file)]) == 2
    assert "lacks prompt" in capsys.readouterr().err
    monkeypatch.undo()
    assert main([KUHN, "--agents", "random", "--quiet"]) == 0
    assert "calls" not in capsys.readouterr().out
