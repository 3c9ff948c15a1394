"""Several servers as one model: who is asked, and what a dead one costs."""

import pytest

from agents.model_agent import ModelAgent
from agents.models.endpoint import EndpointError
from agents.models.model import Request, Sampling
from agents.models.servers import Servers
from agents.play import play

FAST = {"retries": 1, "backoff_s": 0.0, "timeout_s": 20.0}


class Fake:
    """A vLLM server that replies with its number, and remembers what it was told."""

    def __init__(self, serve, number):
        self.number = number
        self.told = []
        self.down = False
        self.server = serve(self.respond)
        self.url = self.server.url

    def respond(self, path, body):
        if self.down:
            return b""
        if path == "/models":
            base = {"id": "base", "parent": None, "max_model_len": 512}
            return {"data": [{"id": "adapter", "parent": "base"}, base]}
        if path == "/completions":
            self.told.append((body["model"], tuple(body["prompt"])))
            choice = {
                "token_ids": [self.number],
                "prompt_token_ids": body["prompt"],
                "logprobs": {"token_logprobs": [-1.0]},
                "finish_reason": "length",
            }
            return {"choices": [choice], "usage": {}}
        self.told.append((path, body))
        return {"success": True} if path.startswith("/reset_prefix_cache") else "done, in words"

    def told_of(self, part):
        return [(path, body) for path, body in self.told if part in path]


@pytest.fixture
def fakes(serve):
    return [Fake(serve, number) for number in (1, 2, 3)]


@pytest.fixture
def servers(fakes, tokenizer):
    made = Servers([fake.url for fake in fakes], tokenizer, **FAST)
    yield made
    made.close()


def requests_of(keys, **options):
    return [Request(key, (5, 6, 7), Sampling(max_tokens=1), **options) for key in keys]


def test_a_seat_asks_one_server_at_every_turn_and_the_seats_are_spread(servers):
    for request in requests_of(range(30)):
        servers.submit(request)
    first = {}
    while servers.waiting:
        first.update((one.key, one.ids[0]) for one in servers.poll())
    assert sorted(set(first.values())) == [1, 2, 3]
    again = {}
    for request in requests_of(range(30)):
        servers.submit(request)
    while servers.waiting:
        again.update((one.key, one.ids[0]) for one in servers.poll())
    assert again == first
    assert servers.context == 512
    with pytest.raises(ValueError, match="exceeds the servers' context of 512 tokens"):
        servers.submit(Request(0, (5,) * 500, Sampling(max_tokens=13)))


def test_a_dead_server_is_named_and_its_games_go_on_with_the_others(servers, fakes):
    agent = ModelAgent(servers, sampling=Sampling(max_tokens=1))
    fakes[1].down = True
    with pytest.warns(RuntimeWarning, match=rf"the server at {fakes[1].url} cannot be reached.* go to the other servers"):
        episodes = play("KuhnPoker-v0", agent, episodes=24)
    assert len(episodes) == 24
    assert {step.reply.reply_ids for episode in episodes for step in episode.steps} == {(1,), (3,)}
    for fake in fakes:
        fake.down = True
    with pytest.warns(RuntimeWarning):
        (done,) = servers.generate(requests_of([0]))
    assert done.finish_reason == "error"
    assert "no server is left" in done.error
    assert fakes[0].url in done.error


def test_new_weights_go_to_every_server_and_to_one_that_came_back(servers, fakes, tmp_path):
    fakes[1].down = True
    with pytest.warns(RuntimeWarning, match="cannot be reached"):
        servers.load_weights(tmp_path, 4)
    assert servers.version == 4
    order = [path.partition("?")[0] for path, _ in fakes[0].told]
    assert order == ["/pause", "/collective_rpc", "/reset_prefix_cache", "/update_weight_version", "/resume"]
    ((_, told),) = fakes[0].told_of("collective_rpc")
    assert told == {"method": "reload_weights", "kwargs": {"weights_path": str(tmp_path)}}
    assert [server.failure == "" for server in servers.servers] == [True, False, True]
    fakes[1].down = False
    servers.load_weights(tmp_path / "newer", 5)
    ((_, told),) = fakes[1].told_of("collective_rpc")
    assert told["kwargs"] == {"weights_path": str(tmp_path / "newer")}
    assert len(servers.alive) == 3


def test_adapters_have_a_new_name_each_version(servers, fakes, tmp_path):
    for version in (1, 2, 3):
        folder = tmp_path / str(version)
        folder.mkdir()
        (folder / "adapter_config.json").write_text("{}")
        servers.load_adapter("policy", folder, version)
        done = servers.generate(requests_of(range(6), adapter="policy"))
        assert {one.version for one in done} == {version}
    names = [body["lora_name"] for _, body in fakes[0].told_of("/load_lora_adapter")]
    assert len(set(names)) == 3
    assert {model for model, _ in fakes[0].told if not model.startswith("/")} == set(names)
    assert [body["lora_name"] for _, body in fakes[0].told_of("/unload")] == names[:1]  # requests may still use the second
    with pytest.raises(ValueError, match="no adapter 'other' is loaded"):
        servers.submit(requests_of([0], adapter="other")[0])
    fakes[2].down = True
    with pytest.warns(RuntimeWarning):
        servers.load_adapter("frozen", tmp_path / "1")
    fakes[2].down = False
    fakes[2].told.clear()
    servers.load_adapter("policy", tmp_path / "2", 4)
    assert [body["lora_name"].partition("-")[0] for _, body in fakes[2].told_of("/load")] == ["frozen", "policy"]


def test_adapters_that_another_run_has_left_are_replaced_or_named_otherwise(serve, tokenizer, tmp_path):
    loaded = []

    def respond(path, body):
        if path == "/models":
            return {"data": [{"id": "base"}]}
        name = body["lora_name"]
        if path == "/load_lora_adapter":
            if name in loaded:
                return 400, {"error": {"message": f"The lora adapter '{name}' has already been loaded."}}
            loaded.append(name)
        else:
            loaded.remove(name)
        return "done, in words"

    (tmp_path / "adapter_config.json").write_text("{}")
    url = serve(respond).url
    for label in ("one", "one", "two"):
        servers = Servers([url], tokenizer, label=label, **FAST)
        servers.load_adapter("policy", tmp_path, 0)
        with pytest.raises(ValueError, match="is in use; save each version of an adapter to a folder of its own"):
            servers.load_adapter("policy", tmp_path, 0)
        servers.close()
    assert len(loaded) == 2
    for _ in range(2):  # without a label each has its own: a server keeps what it computed under an old name and folder
        servers = Servers([url], tokenizer, **FAST)
        servers.load_adapter("policy", tmp_path, 0)
        servers.close()
    assert len(loaded) == 4


def test_what_a_server_needs_is_said(serve, tokenizer, tmp_path):
    def respond(path, _):
        return {"data": [{"id": "base"}]} if path == "/models" else (404, {"error": "Not Found"})

    servers = Servers([serve(respond).url], tokenizer, **FAST)
    with pytest.raises(EndpointError, match="started with VLLM_SERVER_DEV_MODE=1"):
        servers.load_weights(tmp_path, 1)
    with pytest.raises(ValueError, match="no server is given"):
        Servers([], tokenizer)
    with pytest.raises(EndpointError, match="cannot be reached"):
        Servers(["http://127.0.0.1:9/v1"], tokenizer, **FAST)
