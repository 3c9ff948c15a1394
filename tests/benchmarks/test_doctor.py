"""What a set-up lacks, before a game is played."""

import re

import pytest

from benchmarks.leaderboard import main


def answers(served=("m",), context=4096, move=None, usage=True):
    """An OpenAI-compatible server that plays the first legal move that it reads, or `move`."""

    def respond(path, body):
        if path == "/models":
            return {"data": [{"id": name, "max_model_len": context} for name in served]}
        found = move or re.findall(r"Legal moves: (\[\w+\])", body["messages"][-1]["content"])[-1]
        choice = {"message": {"role": "assistant", "content": found}, "finish_reason": "stop"}
        return {"choices": [choice], **({"usage": {"prompt_tokens": 77, "completion_tokens": 3}} if usage else {})}

    return respond


def doctor(server, *more):
    url = server if isinstance(server, str) else server.url
    return main(["doctor", "--agents", f"mine=openai:m@{url},retries=0,timeout_s=20", *more, "--games", "KuhnPoker-v0"])


def test_a_live_endpoint(serve, capsys):
    server = serve(answers())
    assert doctor(server) == 0
    shown = capsys.readouterr().out
    assert "serves it" in shown
    assert "4096" in shown
    assert re.search(r"mine +KuhnPoker-v0 +legal +[0-9.]+ +77", shown.replace("│", " "))
    assert [path for path, *_ in server.asked] == ["/models", "/chat/completions"]


@pytest.mark.parametrize(
    "respond, complaint",
    [
        (answers(served=("M", "other")), "does not serve 'm'; did you mean 'M'"),
        (answers(context=100), "do not fit into its context of 100 tokens"),
        (lambda *_: (401, {"error": {"message": "no key"}}), "OPENAI_API_KEY"),
        (lambda path, body: {"data": [{"id": "m"}]} if path == "/models" else (500, {}), "mine in KuhnPoker-v0"),
    ],
)
def test_what_is_wrong_is_told(serve, capsys, respond, complaint):
    assert doctor(serve(respond)) == 3
    assert complaint in capsys.readouterr().err


def test_a_refused_first_reply_is_shown(serve, capsys):
    assert doctor(serve(answers(move="I would rather not."))) == 0
    assert "refused: no_command" in capsys.readouterr().out


def test_a_server_that_lists_no_models_may_still_play(serve, capsys):
    plays = answers()
    assert doctor(serve(lambda path, body: (404, {}) if path == "/models" else plays(path, body))) == 0
    assert "lists no models" in capsys.readouterr().out


def test_nobody_there(capsys):
    assert doctor("http://127.0.0.1:9/v1") == 3
    assert "127.0.0.1:9" in capsys.readouterr().err


def test_a_model_in_this_process(tmp_path, capsys):
    transformers = pytest.importorskip("transformers")
    from training.tiny import make_model, make_tokenizer

    assert transformers
    tokenizer = make_tokenizer(["Your turn. Legal moves: [check] [bet]"] * 4)
    make_model(tokenizer).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    main(["doctor", "--agents", f"mine=hf:{tmp_path}", "--games", "KuhnPoker-v0"])
    shown = capsys.readouterr().out
    assert f"{len(tokenizer)} tokens" in shown
    assert "PreTrainedTokenizerFast" in shown or "TokenizersBackend" in shown
    assert re.search(r"mine +KuhnPoker-v0 +(legal|refused: \w+)", shown.replace("│", " "))


def test_weights_that_change_make_another_player(tmp_path):
    from agents.models.revision import revision_of

    (tmp_path / "model.safetensors").write_bytes(b"one")
    one = revision_of(str(tmp_path))
    assert one == revision_of(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"two")
    assert revision_of(str(tmp_path)) != one
    assert revision_of("org/name") == ""
