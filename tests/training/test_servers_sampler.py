"""Sampling from servers by several processes: what is told to the servers, by whom and when. The servers here are stubs; the real
ones are in `test_vllm_sampler`."""

import pytest

from agents.models.model import Request, Sampling
from training import weights
from training.config import load_config
from training.sampler import make_sampler
from training.tiny import make_model, make_tokenizer
from training.warmup import random_play


class Server:
    """Knows the adapters that it was told to load, and refuses others."""

    def __init__(self, serve):
        self.loaded = []
        self.url = f"{serve(self.respond).url}/v1"

    def respond(self, path, body):
        path = path.removeprefix("/v1")
        if path == "/models":
            return {"data": [{"id": "base", "parent": None, "max_model_len": 512}]}
        if path == "/load_lora_adapter":
            if body["lora_name"] in self.loaded:
                return 400, {"error": "has already been loaded"}
            self.loaded.append(body["lora_name"])
        if path == "/completions":
            if body["model"] not in self.loaded:
                return 404, {"error": f"no model {body['model']}"}
            choice = {"token_ids": [9], "prompt_token_ids": body["prompt"], "logprobs": {"token_logprobs": [-1.0]}}
            return {"choices": [{**choice, "finish_reason": "length"}], "usage": {}}
        return {"success": True}


class World:
    """One of two processes, here one after the other. Whoever meets the other says so."""

    size = 2

    def __init__(self, rank, said="12345678"):
        self.rank = rank
        self.said = said
        self.is_main = rank == 0
        self.met = 0

    def barrier(self):
        self.met += 1

    def broadcast_object(self, value):
        return self.said


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer([turn.text for turn in random_play("KuhnPoker-v0", {}, 40, seed=0)], 320)


def adapters(module, folder, count):
    for number in range(count):
        weights.save_adapter(module, folder / "pool" / f"step_{number:06d}")
        yield folder / "pool" / f"step_{number:06d}"


def test_adapters_of_the_pool_are_loaded_once_for_all_processes(serve, tokenizer, tmp_path):
    """At one moment; later each process asks for whom it meets, in its own order and without the others."""
    from peft import LoraConfig, get_peft_model

    server = Server(serve)
    module = get_peft_model(make_model(tokenizer, hidden_size=32, layers=1), LoraConfig(r=2, target_modules=["q_proj"]))
    config = load_config("kuhn_tiny", {"sampler": "servers", "sampler_urls": (server.url,), "engine": {"retries": 0}})
    worlds = [World(0), World(1)]
    samplers = [make_sampler(config, module, tokenizer, tmp_path, world) for world in worlds]
    folders = list(adapters(module, tmp_path, 3))
    for sampler in samplers:
        for folder in folders:
            sampler.admit(folder)
    assert [world.met for world in worlds] == [3, 3]
    assert len(server.loaded) == 3
    for sampler, mine in zip(samplers, (folders[:1], folders[::-1]), strict=True):
        for folder in mine:
            (done,) = sampler.frozen(folder).generate([Request(0, (5, 6), Sampling(max_tokens=1))])
            assert done.ids == (9,), done.error
    assert [world.met for world in worlds] == [3, 3], "nobody waits for others while games are played"
    again = make_sampler(config, module, tokenizer, tmp_path, World(0, "started again"))
    for folder in folders:
        again.admit(folder)
    assert len(server.loaded) == 6, "of a run that is started again the names are new"
    for sampler in (*samplers, again):
        sampler.close()
