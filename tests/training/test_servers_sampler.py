"""Sampling by several processes: where engines and snapshots go, what servers are told, by whom and when.

Engines and servers here are stubs; the real ones are in `test_vllm_sampler`.
"""

import re
import weakref

import pytest
import torch

from agents.models.model import Request, Sampling
from training import distributed, weights
from training.config import load_config
from training.sampler import check_processes, make_sampler
from training.tiny import make_model, make_tokenizer
from training.vllm_sampler import VLLMEngine
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


def unchecked(**settings):
    """Settings that are refused where the packages which they need are not installed."""
    config = load_config("kuhn_tiny")
    for name, value in settings.items():
        object.__setattr__(config, name, value)
    return config


def test_each_process_has_its_engine_on_its_own_gpu(tokenizer, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("training.vllm_sampler.load", lambda base, **options: asked.append(options))
    module = make_model(tokenizer, hidden_size=32, layers=1)
    config = unchecked(model="folder", engine={"seeded": True})
    for world in (distributed.World(1, 2, torch.device("cuda", 1)), distributed.World(1, 2), distributed.World()):
        VLLMEngine(config, module, tokenizer, tmp_path, world)
    assert asked == [{"gpu": 1, "seeded": True}, {"seeded": True}, {"seeded": True}]


@pytest.mark.parametrize(
    "settings, complaint",
    [
        ({"sampler": "ray", "ray_actors": 3}, "sampler='ray' with 2 processes: each would place ray_actors=3 of its own"),
        ({"sampler": "vllm", "engine": {"tensor_parallel_size": 2}}, "engine={'tensor_parallel_size': 2} with 2 processes"),
    ],
)
def test_what_several_processes_cannot_sample_with_is_refused(settings, complaint):
    config = unchecked(**settings)
    check_processes(config, distributed.ALONE)
    with pytest.raises(ValueError, match=re.escape(complaint)):
        check_processes(config, distributed.World(0, 2))


def test_snapshots_are_put_where_the_trainer_computes(tokenizer, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("training.sampler.load", lambda path, **options: asked.append(options))
    module = make_model(tokenizer, hidden_size=32, layers=1)
    for kind in ("module", "copy"):
        world = distributed.World(device=torch.device("cuda", 1))
        make_sampler(load_config("kuhn_tiny", {"sampler": kind}), module, tokenizer, tmp_path, world).frozen(tmp_path)
    assert asked == [{"dtype": "float32", "device": "cuda:1"}] * 2


def test_only_rank_0_keeps_what_it_writes():
    """And no rank keeps what was gathered once the next tensor comes."""
    alive = []

    def gathered():
        for number in range(3):
            tensor = torch.full((2,), float(number))
            alive.append(weakref.ref(tensor))
            yield str(number), tensor
            del tensor
            assert rank == 0 or alive[-1]() is None

    for rank in (1, 0):
        kept = weights.on_main(gathered(), distributed.World(rank, 2))
        assert list(kept) == ([] if rank else ["0", "1", "2"])


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
