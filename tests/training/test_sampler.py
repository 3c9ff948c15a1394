"""The samplers: the trainer's weights arrive, which is proved, and a run does not depend on which one is used."""

from dataclasses import dataclass, field

import pytest
import torch

from agents.model_agent import ModelAgent
from agents.models.model import Sampling
from agents.models.sync import SyncError
from training.checkpoint import read_metrics
from training.config import load_config
from training.distributed import World
from training.metrics import without_timing
from training.rollout import collect
from training.sampler import InPlace, InProcess, make_sampler
from training.tiny import make_model, make_tokenizer
from training.train import new_run, train
from training.warmup import random_play

SMALL = {
    "hidden_size": 32,
    "layers": 1,
    "warmup_steps": 6,
    "warmup_games": 30,
    "games_per_step": 24,
    "group_size": 4,
    "steps": 3,
    "eval_every": 3,
    "save_every": 3,
    "play_every": 0,
}


class Quiet:
    """A display that only remembers."""

    def __init__(self):
        self.lines = []

    def warm_up(self, step, total, loss):
        pass

    def step(self, line, total):
        self.lines.append(line)


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer([turn.text for turn in random_play("KuhnPoker-v0", {}, 40, seed=0)], 320)


def small_module(tokenizer, seed=0):
    return make_model(tokenizer, hidden_size=32, layers=1, seed=seed)


def change(module):
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))


def sampler_of(kind, module, tokenizer, folder, **settings):
    return make_sampler(load_config("kuhn_tiny", {"sampler": kind, **settings}), module, tokenizer, folder)


@pytest.mark.parametrize("kind", ["module", "copy"])
def test_published_weights_are_those_that_games_are_sampled_with(kind, tokenizer, tmp_path):
    module = small_module(tokenizer)
    sampler = sampler_of(kind, module, tokenizer, tmp_path)
    config = sampler.config
    for version in range(3):
        change(module)
        difference = sampler.publish(module, version)
        assert difference is None or difference < 1e-4
        agents = {"KuhnPoker-v0": ModelAgent(sampler.model, sampling=Sampling(max_tokens=6))}
        steps = [step for one in collect(config, version, agents) for step in one.steps]
        assert {step.reply.policy_version for step in steps} == {version}
        for step in steps[:10]:
            (scored,) = sampler_of("module", module, tokenizer, tmp_path).model.score(
                [step.reply.prompt_ids], [step.reply.reply_ids]
            )
            assert step.reply.logprobs == pytest.approx(scored, abs=1e-4)


def test_a_copy_keeps_the_weights_that_were_published_last(tokenizer, tmp_path):
    module = small_module(tokenizer)
    sampler = sampler_of("copy", module, tokenizer, tmp_path)
    assert sampler.copies
    sampler.publish(module, 1)
    before = sampler.model.score([[5, 6]], [[7, 8]])
    change(module)
    assert sampler.model.score([[5, 6]], [[7, 8]]) == before
    sampler.publish(module, 2)
    assert sampler.model.score([[5, 6]], [[7, 8]]) != before
    assert sampler.model.version == 2


def test_weights_that_are_not_trained_are_shared_with_the_copy(tokenizer, tmp_path):
    module = small_module(tokenizer)
    module.model.embed_tokens.requires_grad_(False)
    copied = sampler_of("copy", module, tokenizer, tmp_path).model.model
    assert copied.model.embed_tokens.weight is module.model.embed_tokens.weight
    assert copied.model.norm.weight is not module.model.norm.weight


class Forgetful(InProcess):
    """Sends nothing from the second time on."""

    def _load(self, module, version):
        if self._published == 0:
            super()._load(module, version)
        self.model.version = version


@pytest.mark.parametrize("verify_every", [0, 3])
def test_a_skipped_sync_stops_the_run(verify_every, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr("training.train.make_sampler", lambda config, module, *_: Forgetful(config, module, tokenizer))
    config = load_config("kuhn_tiny", {**SMALL, "sampler": "copy", "verify_every": verify_every, "warmup_lr": 3e-2})
    with pytest.raises(SyncError, match="weights were not sent"):
        train(config, tmp_path, Quiet())


def test_proof_is_given_at_the_first_two_times_and_every_so_often(tokenizer, tmp_path):
    module = small_module(tokenizer)
    sampler = sampler_of("copy", module, tokenizer, tmp_path, verify_every=4)
    proved = [sampler.publish(module, version) is not None for version in range(9)]
    assert proved == [True, True, False, True, False, False, False, True, False]


def test_a_run_is_the_same_whether_it_samples_from_the_module_or_a_copy(tmp_path):
    """And with a proof each time: to the bit, but for seconds."""
    runs = {"module": {}, "copy": {"verify_every": 1}}
    lines = {}
    for kind, settings in runs.items():
        train(load_config("kuhn_tiny", {**SMALL, "sampler": kind, **settings}), tmp_path / kind, Quiet())
        lines[kind] = [without_timing(line) for line in read_metrics(tmp_path / kind / "metrics.jsonl")]
    assert lines["module"] == lines["copy"]
    proofs = [line.get("sync", {}).get("difference") for line in read_metrics(tmp_path / "copy" / "metrics.jsonl")]
    assert proofs[0] is None
    assert all(0 <= proof < 1e-3 for proof in proofs[1:])
    assert isinstance(new_run(load_config("kuhn_tiny", SMALL), tmp_path).sampler, InPlace)


@pytest.mark.parametrize("kind", ["module", "copy"])
def test_of_an_adapter_in_training_the_base_is_shared_also_with_those_of_the_pool(kind, tokenizer, tmp_path):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    settings = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    module = get_peft_model(small_module(tokenizer), settings)
    sampler = sampler_of(kind, module, tokenizer, tmp_path)
    sampler.publish(module, 0)
    row = [[5, 6]], [[7, 8]]
    known = {}
    for step in (1, 2):
        folder = tmp_path / f"step_{step:06d}"
        module.save_pretrained(folder)
        known[folder] = sampler.model.score(*row)
        change(module)
        sampler.publish(module, step)
    assert len({str(one) for one in [*known.values(), sampler.model.score(*row)]}) == 3
    frozen = {folder: sampler.frozen(folder) for folder in known}
    for folder, expected in known.items():
        assert frozen[folder].score(*row)[0] == pytest.approx(expected[0], abs=1e-5)
    below = [
        engine.model.get_base_model().model.norm.weight
        for engine in {id(m.engine): m.engine for m in frozen.values()}.values()
    ]
    assert [weight is module.get_base_model().model.norm.weight for weight in below] == [True]
    assert not any("step_" in name for name in module.state_dict())


def test_an_adapter_is_trained_against_its_past_on_one_base(tmp_path):
    settings = {"lora_rank": 4, "p_self": 0.5, "snapshot_every": 1, "sampler": "copy", "verify_every": 1}
    last = train(load_config("kuhn_tiny", {**SMALL, **settings}), tmp_path, Quiet())
    assert last["step"] == 3
    assert last["mismatch_k3"] < 1e-6
    assert last["pool"]["score"].keys() == {"step_000001", "step_000002"}


@dataclass(frozen=True)
class Apart(World):
    """One of several processes, whose calls to the others are counted and not made."""

    calls: list = field(default_factory=list)

    def barrier(self):
        self.calls.append("barrier")

    def broadcast_object(self, value):
        return "told"


class Told:
    """A server that remembers the adapters that it was told of."""

    failure, context = "", 64
    told = []

    def __init__(self, url, tokenizer, *, seeded, **options):
        pass

    def load_adapter(self, served, folder):
        self.told.append(served)


def test_processes_on_servers_know_the_adapters_of_the_pool_by_one_name_and_wait_for_each_other_alike(
    tokenizer, tmp_path, monkeypatch
):
    """Whichever they meet first: what one plays another may not."""
    from peft import LoraConfig, get_peft_model

    monkeypatch.setattr("agents.models.servers.Server", Told)
    module = get_peft_model(small_module(tokenizer), LoraConfig(r=4, target_modules=["q_proj"]))
    folders = [tmp_path / "pool" / f"step_{step:06d}" for step in (1, 2)]
    for folder in folders:
        module.save_pretrained(folder)
    config = load_config("kuhn_tiny", {"sampler": "servers", "sampler_urls": "http://localhost:1/v1", "lora_rank": 4})
    worlds = [Apart(0, 2), Apart(1, 2)]
    samplers = [make_sampler(config, module, tokenizer, tmp_path, world) for world in worlds]
    for folder in folders:
        for sampler in samplers:
            sampler.admit(folder)
    met = [
        [sampler.frozen(folder).adapter for folder in order]
        for sampler, order in zip(samplers, (folders, folders[:1]), strict=True)
    ]
    assert met == [["step_000001", "step_000002"], ["step_000001"]]
    names = [[sampler.servers.served_as(folder.name) for folder in folders] for sampler in samplers]
    assert names[0] == names[1] == Told.told
    assert worlds[0].calls == worlds[1].calls == ["barrier"] * 2
