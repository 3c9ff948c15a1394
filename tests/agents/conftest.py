"""Tokenizers and models with random weights, small enough for tests, and servers that do as they are told."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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


class Server(ThreadingHTTPServer):
    """Answers on loopback with what `respond(path, body)` gives: an object, a (status, object), or bytes sent as they are.

    Bytes are the whole of the answer, its status line included. `asked` holds (path, body, headers) of each request.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, respond):
        super().__init__(("127.0.0.1", 0), Handler)
        self.respond = respond
        self.asked = []
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def handle_error(self, *_):  # clients that give up are part of some tests
        pass


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer(None)

    def do_POST(self):
        self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def answer(self, body):
        path = self.path.removeprefix("/v1")
        self.server.asked.append((path, body, dict(self.headers)))
        given = self.server.respond(path, body)
        if isinstance(given, bytes):
            self.wfile.write(given)
            return
        status, content, *headers = given if isinstance(given, tuple) else (200, given)
        content = content if isinstance(content, str) else json.dumps(content)
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content.encode())))
        self.end_headers()
        self.wfile.write(content.encode())


@pytest.fixture
def serve():
    """`serve(respond)` starts a `Server`, which stops with the test."""
    started = []

    def start(respond):
        started.append(Server(respond))
        return started[-1]

    yield start
    for server in started:
        server.shutdown()
        server.server_close()
