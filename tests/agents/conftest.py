"""Tokenizers and models with random weights, small enough for tests."""

import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

TEMPLATE = (
    "{% for m in messages %}<|start|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
SHAPE = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 2048,
}
CORPUS = [
    "You play Kuhn Poker, one hand. The deck has 3 cards, from low to high: J Q K.",
    "Your turn. Legal moves: [check] [bet] [call] [fold]. player_0 acts first. Pot: 2 chips. user assistant system",
]


def tiny_tokenizer(template: str | None = TEMPLATE, pad_is_eos: bool = True) -> PreTrainedTokenizerFast:
    """A byte-level BPE of some 300 tokens, moves such as [bet] whole."""
    bpe = Tokenizer(BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"\[\w+\]| ?\w+|\s|[^\w\s]+"), "isolated"), ByteLevel(False, use_regex=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    special = ["<|end|>", "<|start|>", "<|pad|>"]
    trainer = BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=ByteLevel.alphabet(), show_progress=False)
    bpe.train_from_iterator(CORPUS * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token="<|end|>", pad_token="<|end|>" if pad_is_eos else "<|pad|>"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|start|>"]})
    tokenizer.chat_template = template
    return tokenizer


def tiny_qwen3(vocabulary: int, seed: int = 0, scale: float = 0.2, **options) -> Qwen3ForCausalLM:
    """Some 0.5M parameters, in fp32; `scale` makes the random distributions uneven."""
    torch.manual_seed(seed)
    config = Qwen3Config(**{"vocab_size": vocabulary, "initializer_range": scale, **SHAPE, **options})
    return Qwen3ForCausalLM(config).eval()


@pytest.fixture(scope="session")
def make_tokenizer():
    """`tiny_tokenizer`."""
    return tiny_tokenizer


@pytest.fixture(scope="session")
def make_qwen3():
    """`tiny_qwen3`."""
    return tiny_qwen3


@pytest.fixture(scope="session")
def tokenizer():
    return tiny_tokenizer()


@pytest.fixture(scope="session")
def qwen3(tokenizer):
    """A model that tests do not change."""
    return tiny_qwen3(len(tokenizer))
