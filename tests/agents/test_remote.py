"""Clients of servers that answer well, badly, late or not at all."""

import json
import re
import socket
import threading
import time

import pytest

from agents.agent import Observation
from agents.models.endpoint import Calls, Endpoint, EndpointError
from agents.models.model import Request, Sampling
from agents.models.remote import RemoteAgent, RemoteModel
from agents.play import MatchError, play
from agents.play_cli import main
from agents.specs import make_agent
from lmgames.records import replay

KUHN = "lmgames/KuhnPoker-v0"
SEEN = Observation("Your turn. Legal moves: [check] [bet]", "player_0", seed=1)


def chat(content, reason="stop", usage=None, **message):
    choice = {"message": {"role": "assistant", "content": content, **message}, "finish_reason": reason}
    return {"choices": [choice], **({"usage": usage} if usage else {})}


def first_legal(_, body):
    """A model that plays the first legal move that it reads."""
    move = re.findall(r"Legal moves: (\[\w+\])", body["messages"][-1]["content"])[-1]
    return chat(move, usage={"prompt_tokens": 50, "completion_tokens": 3})


def http(raw, length=None):
    """A whole answer with this body; `length` is what it claims to be long."""
    length = len(raw) if length is None else length
    return f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n".encode() + raw


def in_turn(*answers):
    """Gives one answer after the other, then the last one for good."""
    left = list(answers)
    return lambda path, body: left.pop(0) if len(left) > 1 else left[0]


def agent_of(server, **options):
    url = server if isinstance(server, str) else server.url
    return RemoteAgent(Endpoint(url, backoff_s=0.001, **options), "m")


# What is sent, and what comes back.


def test_the_whole_observation_is_one_user_message(serve):
    server = serve(lambda *_: chat("[bet]"))
    agent = make_agent(f"openai:org/m@{server.url},temperature=0.5,top_k=7,max_tokens=9,system=Hi.,thinking=false")
    (reply,) = agent.act([SEEN])
    assert (reply.text, reply.finish_reason) == ("[bet]", "stop")
    assert (reply.prompt_ids, reply.reply_ids, reply.logprobs) == ((), (), ())  # text was all that came
    ((path, body, headers),) = server.asked
    assert path == "/chat/completions"
    assert "Authorization" not in headers
    assert body == {
        "model": "org/m",
        "messages": [{"role": "system", "content": "Hi."}, {"role": "user", "content": SEEN.text}],
        "max_tokens": 9, "temperature": 0.5, "top_p": 1.0, "top_k": 7,
        "chat_template_kwargs": {"enable_thinking": False},
    }  # fmt: skip
    agent.close()


def test_games_are_played_and_replay(serve, capsys):
    server = serve(first_legal)
    episodes = play(KUHN, [f"openai:m@{server.url}", "random"], episodes=20, seats="rotate")
    assert len(episodes) == 20
    for episode in episodes:
        assert replay(episode.record).returns == episode.returns
        assert all(step.turn.status == "ok" for step in episode.steps)
    assert main([KUHN, "--agents", f"openai:m@{server.url}", "random", "--games", "4", "--quiet"]) == 0
    assert f"openai:m@{server.url}" in capsys.readouterr().out


def test_requests_are_sent_at_once(serve):
    together = threading.Barrier(8)

    def respond(*_):
        together.wait(timeout=120)  # no answer before eight have asked
        return chat("[bet]")

    assert [reply.text for reply in agent_of(serve(respond)).act([SEEN] * 8)] == ["[bet]"] * 8


def test_usage_tells_tokens_retries_and_seconds(serve):
    usage = {
        "prompt_tokens": 40,
        "completion_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 32},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    (reply,) = agent_of(serve(in_turn((500, {}), chat("[bet]", usage=usage)))).act([SEEN])
    costs = dict(reply.usage)
    assert costs.pop("seconds") > 0
    expected = {"prompt_tokens": 40, "cached_tokens": 32, "completion_tokens": 9, "reasoning_tokens": 5, "retries": 1}
    assert costs == expected


def test_reasoning_that_the_server_splits_off_is_not_played(serve):
    (reply,) = agent_of(serve(lambda *_: chat("[bet]", reasoning_content="[fold]?"))).act([SEEN])
    assert reply.text == "[bet]"
    cut_off = agent_of(serve(lambda *_: chat(None, "length", reasoning="[fold]? or"))).act([SEEN])[0]
    assert (cut_off.text, cut_off.finish_reason) == ("<think>[fold]? or", "length")  # all of it private: a refused move


def test_text_that_is_no_utf8_is_made_sound(serve):
    (reply,) = agent_of(serve(lambda *_: http(json.dumps(chat("[bet] \ud800")).encode()))).act([SEEN])
    assert reply.text == "[bet] ?"


def test_the_key_is_sent_and_never_shown(serve, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-secret")
    server = serve(lambda *_: (401, {"error": {"message": "bad key sk-secret"}}))
    agent = make_agent(f"openai:m@{server.url},api_key_env=MY_KEY")
    (reply,) = agent.act([SEEN])
    assert server.asked[0][2]["Authorization"] == "Bearer sk-secret"
    assert "bad key ***. Set the environment variable OPENAI_API_KEY" in str(reply.error)
    assert "sk-secret" not in json.dumps([agent.fingerprint(), agent.spec, str(reply.error)])


# What can go wrong. Each failure is an error reply with a message, never a text that would be played.


def unused_url():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/v1"


def test_an_unreachable_server_is_tried_again_and_named():
    (reply,) = agent_of(url := unused_url(), retries=2).act([SEEN])
    assert (reply.text, reply.finish_reason) == ("", "error")
    assert f"the server at {url} cannot be reached" in str(reply.error)
    assert "Start it, or check the address and the port (tried 3 times)" in str(reply.error)


WRONG = {
    "wrong model": (
        lambda path, _: (
            {"data": [{"id": "qwen"}, {"id": "llama"}]}
            if path == "/models"
            else (404, {"error": {"message": "The model `m` does not exist."}})
        ),
        "The model `m` does not exist. Check the model's name and the address, which usually ends with /v1 "
        "It serves: qwen, llama",
    ),
    "context overflow": (
        lambda *_: (400, {"error": {"message": "This model's maximum context length is 512 tokens."}}),
        "maximum context length is 512 tokens. If the prompt is too long: lower max_tokens, play a shorter game",
    ),
    "another name of max_tokens": (
        lambda *_: (
            400,
            {"error": {"message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."}},
        ),
        "Give the option max_tokens_name=max_completion_tokens",
    ),
    "bad request": (lambda *_: (400, {"detail": "no"}), "answered 400: {'detail': 'no'}. It does not accept the request"),
    "no utf-8": (lambda *_: http(b'{"choices": "\xff\xfe"}'), "no UTF-8 text (at byte 13"),
    "a web page": (lambda *_: http(b"<html>Welcome</html>"), "no JSON ('<html>Welcome</html>'); is http"),
    "a list": (lambda *_: http(b"[1, 2]"), "no JSON object"),
    "no choices": (lambda *_: {"object": "x", "choices": []}, "has no choices (it has: choices, object)"),
    "choices of numbers": (lambda *_: {"choices": [1]}, "has no choices"),
    "no message": (lambda *_: {"choices": [{"text": "[bet]"}]}, "gave no message"),
    "content is a list": (lambda *_: chat([{"text": "[bet]"}]), "gave no message"),
    "empty": (lambda *_: chat(""), "gave an empty reply (finish_reason 'stop')"),
    "blank": (lambda *_: chat(" \n"), "gave an empty reply"),
    "spent on reasoning": (
        lambda *_: chat(None, "length"),
        "gave an empty reply (finish_reason 'length'); raise max_tokens",
    ),
    "a redirect": (lambda *_: (307, "", ("Location", "http://127.0.0.1:9/")), "It redirects; give the address"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_answers_fail_at_once_with_what_to_do(serve, name):
    respond, message = WRONG[name]
    server = serve(respond)
    (reply,) = agent_of(server, retries=3).act([SEEN])
    assert (reply.text, reply.finish_reason) == ("", "error")
    assert isinstance(reply.error, EndpointError)
    assert message in str(reply.error)
    assert len([path for path, *_ in server.asked if path == "/chat/completions"]) == 1  # not tried again


PASSING = {
    "429": (429, {"error": "slow down"}),
    "500": (500, "oops"),
    "503": (503, {}),
    "hangs up": b"",
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "cut off": http(b'{"choices"', length=500),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_may_pass_is_tried_again(serve, name):
    server = serve(in_turn(PASSING[name], PASSING[name], chat("[bet]")))
    (reply,) = agent_of(server, retries=2).act([SEEN])
    assert (reply.text, reply.usage["retries"]) == ("[bet]", 2)
    (reply,) = agent_of(serve(in_turn(PASSING[name])), retries=1).act([SEEN])
    assert reply.finish_reason == "error"
    assert "(tried 2 times)" in str(reply.error)


def test_a_server_that_hangs_is_given_up(serve):
    free = threading.Event()

    def respond(*_):
        free.wait(120)
        return chat("[bet]")

    (reply,) = agent_of(serve(respond), timeout_s=0.1, retries=1).act([SEEN])
    free.set()
    assert "no answer within 0.1 s" in str(reply.error)


def test_the_server_says_how_long_to_wait(serve):
    server = serve(in_turn((429, {}, ("Retry-After", "0.2")), chat("[bet]")))
    began = time.monotonic()
    assert agent_of(server).act([SEEN])[0].text == "[bet]"
    assert time.monotonic() - began >= 0.2


def test_requests_keep_to_the_rate_limit(serve):
    times = []

    def respond(*_):
        times.append(time.monotonic())
        return chat("[bet]")

    agent = agent_of(serve(respond), requests_per_minute=600)  # one each 0.1 s
    began = time.monotonic()
    agent.act([SEEN] * 5)
    assert [arrived - began >= 0.1 * number for number, arrived in enumerate(sorted(times))] == [True] * 5


def test_failures_of_the_server_lose_no_game(serve):
    asked = []

    def respond(path, body):
        asked.append(body)
        return chat("") if len(asked) == 7 else first_legal(path, body)

    episodes = []
    with pytest.raises(MatchError, match="gave an empty reply") as error:
        play(KUHN, [agent_of(serve(respond)), "random"], episodes=12, on_episode=episodes.append)
    (failure,) = error.value.failures
    finished = {episode.match.seed for episode in episodes}
    assert finished | {failure.match.seed} == set(range(12))
    assert all(step.turn.status == "ok" for episode in episodes for step in episode.steps)
    assert play(KUHN, [agent_of(serve(first_legal)), "random"], seed=failure.match.seed)[0].match.seed == failure.match.seed


def test_the_command_line_says_why_and_keeps_what_is_done(serve, capsys):
    server = serve(lambda *_: (404, {"error": {"message": "The model `m` does not exist."}}))
    assert main([KUHN, "--agents", f"openai:m@{server.url}", "random", "--games", "2", "--quiet"]) == 1
    assert "EndpointError: the server at" in (error := capsys.readouterr().err)
    assert "The model `m` does not exist. Check the model's name" in error


def test_a_closed_agent_waits_no_longer(serve):
    agent = agent_of(serve(lambda *_: (503, {}, ("Retry-After", "60"))))
    agent.submit("k", SEEN)
    while not agent._calls._threads:
        time.sleep(0.01)
    began = time.monotonic()
    agent.close()
    assert agent.poll() == []
    assert time.monotonic() - began < 30, "half of what the server asked for"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("openai:m", "names no model and server; write openai:MODEL@http://HOST:PORT/v1"),
        ("openai:@http://x/v1", "names no model and server"),
        ("openai:m@http://x/v1,retries=-1", "retries=-1"),
        ("openai:m@http://x/v1,requests_per_minute=0", "requests_per_minute=0.0 must be above 0"),
        ("openai:m@http://x/v1,concurrency=0", "concurrency=0 must be at least 1"),
        ("openai:m@http://x/v1,tokenizer=/no/such", "tokenizer='/no/such' cannot be loaded"),
    ],
)
def test_wrong_specs_say_what_is_right(spec, message, monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(ValueError) as error:
        make_agent(spec)
    assert message in str(error.value)


def test_the_address_can_come_from_the_environment(serve, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", serve(lambda *_: chat("[bet]")).url)
    assert make_agent("openai:m").act([SEEN])[0].text == "[bet]"
    assert make_agent("openai:a@b").name == "a@b"


# By token ids; what a server does that answers well is in the contract of test_models.py.


def model_of(server, tokenizer, **options):
    return RemoteModel(Endpoint(server.url, backoff_s=0.001), "m", tokenizer, **options)


GOOD = {"token_ids": [5, 0], "prompt_token_ids": [1, 2], "logprobs": {"token_logprobs": [-0.5, -1]}, "finish_reason": "stop"}


def test_an_adapter_is_asked_for_by_its_name(serve, tokenizer):
    server = serve(lambda *_: {"choices": [GOOD]})
    done = model_of(server, tokenizer).generate([Request(0, (1, 2)), Request(1, (1, 2), adapter="a")])
    assert [(one.ids, one.logprobs) for one in done] == [((5, 0), (-0.5, -1.0))] * 2
    assert sorted(body["model"] for _, body, _ in server.asked) == ["a", "m"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"token_ids": None}, "gives no token ids with their log-probabilities"),
        ({"logprobs": None}, "gives no token ids with their log-probabilities"),
        ({"logprobs": {"token_logprobs": [None, -1]}}, "gives no token ids with their log-probabilities"),
        ({"prompt_token_ids": [9, 1, 2]}, "did not take the prompt's token ids as they were given"),
        ({"token_ids": [5]}, "did not take the prompt's token ids as they were given"),
        ({"finish_reason": "abort"}, "gave the request up (finish_reason 'abort')"),
    ],
)
def test_wrong_tokens_are_refused(serve, tokenizer, change, message):
    server = serve(lambda *_: {"choices": [{**GOOD, **change}]})
    (done,) = model_of(server, tokenizer).generate([Request(0, (1, 2))])
    assert (done.finish_reason, done.ids) == ("error", ())
    assert message in done.error


def test_what_cannot_be_scored_is_said(serve, tokenizer):
    with pytest.raises(EndpointError, match="does not score tokens; it is no vLLM server"):
        model_of(serve(lambda *_: {"choices": [GOOD]}), tokenizer).score([(1,)], [(2, 3)])


def test_prompts_beyond_the_context_are_refused(serve, tokenizer):
    model = model_of(serve(first_legal), tokenizer, context=20)
    with pytest.raises(ValueError, match=r"18 tokens with up to 3 of reply exceeds the server's context of 20"):
        model.submit(Request(0, (5,) * 18, Sampling(max_tokens=3)))


def test_jobs_that_were_given_up_never_come_back():
    go = threading.Event()

    def do(job):
        go.wait(120)
        return job * 2

    calls = Calls(do, 2)
    for job in range(5):
        calls.submit(job)
    calls.close()
    assert calls.results() == []
    go.set()
    calls.submit(50)
    assert calls.results() == [(50, 100)]
