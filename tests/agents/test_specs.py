import pytest

from agents.human import Human
from agents.reference import ReferenceAgent
from agents.specs import check_spec, make_agent, parse_spec


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("random", ("random", None, {})),
        (" nash:alpha=0.2 ", ("nash", None, {"alpha": 0.2})),
        ("hf:a/b,top_p=1,thinking=false,top_k=none", ("hf", "a/b", {"top_p": 1, "thinking": False, "top_k": None})),
        ("hf:/a=b/c", ("hf", "/a=b/c", {})),
        ("x:name = word", ("x", None, {"name": "word"})),
        ("openai:m@http://localhost:8000/v1", ("openai", "m@http://localhost:8000/v1", {})),
    ],
)  # fmt: skip
def test_parts_of_a_spec(spec, parts):
    assert parse_spec(spec) == parts


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "an agent spec is a string such as"),
        (None, "not None"),
        ("randm", "no agent 'randm'; did you mean 'random'?"),
        ("hf", "needs a target: hf:NAME"),
        ("human:me", "takes no target, but was given 'me'"),
        ("hf:a,b", "two targets, 'a' and 'b'"),
        ("hf:a,temprature=1", "no option 'temprature'; did you mean 'temperature'"),
        ("random:x", "takes options such as key=value, not 'x'"),
        ("nash:alhpa=0.2", "no option 'alhpa'; did you mean 'alpha'"),
        ("random:name=3", "no option 'name'; there are none"),
        ("human:stdin=3", "no option 'stdin'; there are none"),
        ("threshold:t=abc", "t='abc' is no whole number"),
        ("openai:m@http://x/v1,max_tokens=1.5", "max_tokens='1.5' is no whole number"),
        ("openai:m@http://x/v1,temperature=hot", "temperature='hot' is no number"),
        ("openai:m@http://x/v1,thinking=maybe", "thinking='maybe' is no true or false or none"),
        ("openai:m@http://x/v1,top_p=1,top_p=0.9", "gives 'top_p' twice"),
        ("openai:m@http://x/v1,api_key_env=NO_SUCH_KEY", "'NO_SUCH_KEY' names an environment variable that is not set"),
        ("openai:m@http://x/v1,tokenizer=x,max_tokens_name=n", "is of the chat API"),
    ],
)
def test_wrong_specs_say_what_is_right(spec, message):
    with pytest.raises(ValueError) as error:
        make_agent(spec)
    assert message in str(error.value)


def test_specs_make_agents_that_know_their_spec():
    agent = make_agent(" random ")
    assert isinstance(agent, ReferenceAgent)
    assert agent.spec == "random"
    assert agent.fingerprint() == {"spec": "random"}
    assert isinstance(make_agent("human"), Human)


def test_values_are_what_the_option_takes():
    agent = make_agent(
        'openai:m@http://x/v1,max_tokens=1e3,temperature=1,system="Be brief, and win",requests_per_minute=none'
    )
    assert agent.sampling.max_tokens == 1000
    assert isinstance(agent.sampling.max_tokens, int)
    assert isinstance(agent.sampling.temperature, float)
    assert agent.system == "Be brief, and win"


def test_a_player_that_the_game_lacks_is_refused():
    with pytest.raises(ValueError, match="TicTacToe has no reference player 'nash'"):
        make_agent("nash", "TicTacToe")
    with pytest.raises(ValueError, match="no option 'beta'"):
        make_agent("nash:beta=1", "KuhnPoker")


def test_a_spec_is_checked_without_making_the_agent(monkeypatch, tmp_path):
    def make_agent(path, *, temperature=1.0):
        raise AssertionError(f"loaded {path} at {temperature}")

    monkeypatch.setattr("agents.models.hf.make_agent", make_agent)
    check_spec(f"hf:{tmp_path},temperature=0.5", "KuhnPoker")
    with pytest.raises(ValueError, match="did you mean 'temperature'"):
        check_spec(f"hf:{tmp_path},temperatur=0.5")
    with pytest.raises(ValueError, match="no such folder"):
        check_spec(f"hf:{tmp_path / 'nothing'}")
    with pytest.raises(ValueError, match="did you mean 'minimax'"):
        check_spec("minmax")
    with pytest.raises(ValueError, match="has no reference player 'nash'"):
        check_spec("nash", "TicTacToe")
