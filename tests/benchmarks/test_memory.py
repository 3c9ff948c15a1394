"""What a run takes in memory: the estimate from a configuration alone is what real tensors then take."""

import pytest

from benchmarks.memory import Load, estimate, follow, main, make_model, read_shape
from training.config import load_config
from training.samples import micro_batches

SIZES = {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 4, "vocab_size": 400}
LOAD = Load(prompt=40, reply=12)
LORA = {"lora_rank": 4, "base_dtype": "bfloat16", "compute_dtype": "bfloat16"}
WAYS = {
    "full": {},
    "full, padded, KL, bf16": {"share_prefixes": False, "kl_weight": 0.1, "compute_dtype": "bfloat16"},
    "full, checkpointing": {"gradient_checkpointing": True},
    "LoRA, KL": {**LORA, "kl_weight": 0.1, "kl_kind": "k3"},
    "LoRA, checkpointing": {**LORA, "gradient_checkpointing": True},
}


def config_of(**settings):
    return load_config(None, {"micro_batch_tokens": 600, **settings})


@pytest.mark.parametrize("way", WAYS)
def test_the_estimate_is_what_real_tensors_take(way):
    """Of four layers, from one and two: what is kept to a thousandth, the most of a step to a fiftieth."""
    config = config_of(**WAYS[way])
    shape = read_shape(config, SIZES)
    found = estimate(shape, config, LOAD)
    kept, most = follow(make_model(shape, config), config, LOAD)
    assert sum(found.kept.values()) == pytest.approx(kept, rel=1e-3)
    assert found.total == pytest.approx(most, rel=0.02)
    assert found.passes > 0


def test_what_settings_do_to_it():
    shape = read_shape(config_of(), SIZES)
    one = estimate(shape, config_of(gradient_checkpointing=True), LOAD)
    plain, two = (estimate(shape, config_of(), LOAD, processes) for processes in (1, 2))
    assert one.passes < 0.6 * plain.passes
    assert sum(two.kept.values()) == pytest.approx(sum(plain.kept.values()) / 2, rel=1e-3)
    assert (plain.whole, plain.sampler) == (0, 0)
    assert two.whole > 0
    assert two.sampler == 4 * plain.parameters, "several processes sample with a copy of the weights"


@pytest.mark.parametrize("share", [False, True])
def test_rows_fill_two_micro_batches(share):
    config = config_of(share_prefixes=share)
    parts = list(micro_batches(LOAD.rows(config, 400), config.micro_batch_tokens, share=share))
    assert len(parts) == 2
    assert len({len(part) for part in parts}) == 1
    assert len({(row.prompt_ids, row.reply_ids) for part in parts for row in part}) == sum(map(len, parts))


def test_of_a_folder_its_configuration_is_enough(tmp_path):
    shape = read_shape(config_of(), SIZES)
    shape.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    read = read_shape(config_of(model=str(tmp_path), warmup_steps=0), {"num_hidden_layers": 2})
    assert (read.hidden_size, read.num_hidden_layers, len(read.layer_types)) == (64, 2, 2)
    with pytest.raises(ValueError, match="--sizes hiden_size=3: no such size of Qwen3Config; did you mean 'hidden_size'"):
        read_shape(config_of(), {"hiden_size": 3})
    with pytest.raises(ValueError, match="nowhere' has no configuration"):
        read_shape(config_of(model=str(tmp_path / "nowhere"), warmup_steps=0), {})


def test_the_command_prints_tables(capsys):
    main(
        [
            "--hidden_size",
            "32",
            "--layers",
            "2",
            "--micro_batch_tokens",
            "600",
            "--reply",
            "12",
            "--tables",
            "--processes",
            "2",
        ]
    )
    lines = capsys.readouterr().out.splitlines()
    cells = {line.split("|")[1].strip(): line.split("|") for line in lines if line.startswith("| ")}
    assert float(cells["sum"][2]) > float(cells["AdamW"][2]) > 0
    assert [float(cells[way][3]) for way in ("full weights", "full weights, KL")] == [20, 24]
    assert float(cells["padded"][4]) > float(cells["padded, gradient checkpointing"][4])
