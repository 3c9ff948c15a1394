import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

from agents.chat import Chat
from agents.model_agent import ModelAgent
from agents.models.fake import ByteTokenizer, FakeModel
from agents.models.model import Sampling
from lmgames import make
from lmgames.parsing import IllegalMove, public_text

THINKING = (
    "{% for m in messages %}<|start|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}{% if add_generation_prompt %}"
    "<|start|>assistant\n{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n"
    "{% else %}<think>\n{% endif %}{% endif %}"
)


def test_the_chat_template_wraps_the_whole_observation(tokenizer):
    chat = Chat(tokenizer, system="Play well.")
    expected = "<|start|>system\nPlay well.<|end|>\n<|start|>user\nYour turn.<|end|>\n<|start|>assistant\n"
    assert chat.render("Your turn.") == expected
    ids = chat.prompt_ids("Your turn.")
    assert tokenizer.decode(list(ids)) == expected
    start, end = tokenizer.convert_tokens_to_ids(["<|start|>", "<|end|>"])
    assert (ids.count(start), ids.count(end)) == (3, 2)  # template tokens are single tokens
    assert chat.prompt_ids("Your " + "turn.") is ids


@given(st.lists(st.text("aZ9 .,[]()\n\t-é東<", max_size=12), max_size=6).map("\n".join))
def test_a_prompt_of_lines_is_the_prompt(tokenizer, text):
    chat = Chat(tokenizer)
    assert chat.encodes_lines
    for _ in range(2):  # the lines are known the second time
        assert chat._encode(chat.render(text)) == tuple(tokenizer.encode(chat.render(text), add_special_tokens=False))


def test_a_line_is_encoded_once_for_all_prompts(tokenizer, monkeypatch):
    chat = Chat(tokenizer)
    chat.prompt_ids("The rules.\nYou hold K.\nYour turn.")
    encoded, encode = [], tokenizer.encode
    monkeypatch.setattr(tokenizer, "encode", lambda text, **options: encoded.append(text) or encode(text, **options))
    chat.prompt_ids("The rules.\nYou hold K.\nYour turn.\nplayer_1 bet.\nYour turn again.")
    assert encoded == ["Your turn.\n", "player_1 bet.\n", "Your turn again.<|end|>\n"]


def test_tokens_that_reach_over_lines_are_not_cut():
    """Merges over whole texts, as without any split into words; and a tokenizer that puts a space before each text."""
    template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    bpe = Tokenizer(BPE())
    bpe.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.train_from_iterator(
        ["one\ntwo"] * 9, BpeTrainer(vocab_size=300, initial_alphabet=ByteLevel.alphabet(), show_progress=False)
    )
    spaced = Tokenizer(BPE())
    spaced.pre_tokenizer = ByteLevel(add_prefix_space=True)
    spaced.train_from_iterator(["one two"], BpeTrainer(initial_alphabet=ByteLevel.alphabet(), show_progress=False))
    for backend in (bpe, spaced):
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
        tokenizer.chat_template = template
        chat = Chat(tokenizer)
        assert not chat.encodes_lines
        assert list(chat.prompt_ids("one\ntwo\none")) == tokenizer.encode("one\ntwo\none")


def test_base_models_get_a_plain_prompt_with_what_their_texts_begin_with(make_tokenizer):
    from tokenizers.processors import TemplateProcessing

    tokenizer = make_tokenizer(template=None)
    chat = Chat(tokenizer)
    assert tokenizer.decode(list(chat.prompt_ids("Your turn."))) == "Your turn.\nReply:"
    assert Chat(tokenizer, system="S").render("T") == "S\nT\nReply:"
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|start|> $A <|end|>", special_tokens=[("<|start|>", 1), ("<|end|>", 0)]
    )
    assert tokenizer.decode(list(Chat(tokenizer).prompt_ids("x"))) == "<|start|>x\nReply:"  # but no end before the reply


def test_replies_lose_special_tokens_and_keep_reasoning_tags(tokenizer):
    chat = Chat(tokenizer)
    ids = tokenizer.encode("<think>hm</think>[bet]<|end|>")
    assert chat.reply_text(ids) == "<think>hm</think>[bet]"


def test_reasoning_tags_survive_where_they_are_special_tokens(make_tokenizer):
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    assert len(tokenizer.encode("</think>")) == 1
    text = Chat(tokenizer).reply_text(tokenizer.encode("<think>[fold]?</think>[bet]<|end|>"))
    assert public_text(text) == "[bet]"


@pytest.mark.parametrize(
    ("special", "said", "reply"),
    [
        (["[THINK]", "[/THINK]"], "[THINK][fold]?[/THINK][bet]<|end|>", "[THINK][fold]?[/THINK][bet]"),
        (
            ["<|channel|>", "<|message|>", "<|start|>", "<|return|>"],
            "<|channel|>analysis<|message|>[fold]?<|end|><|start|>assistant<|channel|>final<|message|>[bet]<|return|>",
            "<|channel|>analysis<|message|>[fold]?assistant<|channel|>final<|message|>[bet]",
        ),
    ],
    ids=["mistral", "harmony"],
)
def test_other_marks_of_reasoning_survive_as_special_tokens(make_tokenizer, special, said, reply):
    tokenizer = make_tokenizer(template=None)
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    text = Chat(tokenizer).reply_text(tokenizer.encode(said))
    assert text == reply
    assert public_text(text) == "[bet]"


@pytest.mark.parametrize(
    ("said", "reply", "public"),
    [
        ("[fold]? no</think>[bet]<|end|>", "[fold]? no</think>[bet]", "[bet]"),  # the prompt opened it: the closer alone
        ("[fold]? or rather", "<think>[fold]? or rather", None),  # cut off while thinking: nothing is public
    ],
)
def test_reasoning_that_the_template_opens_stays_private(make_tokenizer, said, reply, public):
    tokenizer = make_tokenizer(template=THINKING)
    chat = Chat(tokenizer)
    assert chat.opener == "<think>"
    text = chat.reply_text(tokenizer.encode(said))
    assert text == reply
    if public is None:
        with pytest.raises(IllegalMove, match="no public text"):
            public_text(text)
    else:
        assert public_text(text) == public


def test_thinking_can_be_switched_off(make_tokenizer):
    tokenizer = make_tokenizer(template=THINKING)
    chat = Chat(tokenizer, thinking=False)
    assert not chat.opener
    assert chat.render("x").endswith("</think>\n\n")
    assert chat.reply_text(tokenizer.encode("[bet]<|end|>")) == "[bet]"
    assert chat.fingerprint() != Chat(tokenizer).fingerprint()
    assert chat.fingerprint() == Chat(tokenizer, thinking=False).fingerprint()


def test_reasoning_never_reaches_the_other_seat(make_tokenizer):
    tokenizer = make_tokenizer(template=THINKING)
    agent = ModelAgent(FakeModel("I hold a secret</think>[bet]", tokenizer=tokenizer), sampling=Sampling(max_tokens=99))
    env = make("KuhnPoker-v0", share="public").unwrapped
    env.reset(seed=1)
    (reply,) = agent.act([env.observation("player_0")])
    env.step(reply.text)
    assert "secret" not in env.observe("player_1")["text"]
    assert "[bet]" in env.observe("player_1")["text"]


def test_probabilities_of_bare_moves_say_nothing_where_the_prompt_opens_the_reasoning(make_tokenizer):
    model = FakeModel("[bet]", tokenizer=make_tokenizer(template=THINKING))
    env = make("KuhnPoker-v0").unwrapped
    env.reset(seed=1)
    assert ModelAgent(model).masses([env.observation("player_0")]) is None
    assert ModelAgent(model, thinking=False).masses([env.observation("player_0")]) is not None


def test_every_token_that_ends_a_reply_counts(monkeypatch):
    """A turn may end by a token of its own or by that of the text, as in Gemma: the mass of a move is the sum."""
    model = FakeModel("[bet]")
    chances = {256: 0.25, 7: 0.5}
    monkeypatch.setattr(FakeModel, "end_ids", tuple(chances))
    monkeypatch.setattr(model, "score", lambda prompts, replies, _: [[math.log(chances[ids[-1]])] for ids in replies])
    env = make("KuhnPoker-v0").unwrapped
    env.reset(seed=1)
    assert ModelAgent(model).masses([env.observation("player_0")]) == [pytest.approx({"[check]": 0.75, "[bet]": 0.75})]


def test_replies_carry_what_was_sampled():
    model = FakeModel({"[bet]": 1, "[check]": 1}, version=7)
    agent = ModelAgent(model, sampling=Sampling(max_tokens=20))
    env = make("KuhnPoker-v0").unwrapped
    env.reset(seed=1)
    observation = env.observation("player_0")
    (reply,) = agent.act([observation])
    assert reply.text in ("[bet]", "[check]")
    assert reply.prompt_ids == tuple(ByteTokenizer().encode(observation.text + "\nReply:"))
    assert reply.reply_ids == (*ByteTokenizer().encode(reply.text), 256)
    assert sum(reply.logprobs) == pytest.approx(-0.693147, abs=1e-5)  # ln 1/2
    assert (reply.finish_reason, reply.policy_version) == ("stop", 7)
    usage = dict(reply.usage)
    assert usage.pop("seconds") >= 0
    assert usage == {"prompt_tokens": len(reply.prompt_ids), "completion_tokens": len(reply.reply_ids)}
    assert agent.act([observation]) == [reply]  # drawn from the observation's seed
    assert agent.masses([observation]) == [pytest.approx({"[check]": 0.5, "[bet]": 0.5})]
    assert ModelAgent(model, sampling=Sampling(top_k=1)).masses([observation]) is None


@pytest.mark.parametrize(
    ("said", "private"),
    [
        ("[bet]<|end|>", ""),
        ("<think>hm</think>[bet]<|end|>", "<think>hm</think>"),
        ("<think>a</think>[bet] <think>b</think> x<|end|>", "<think>a</think>[bet] <think>b</think>"),
        ("<think>cut off", "<think>cut off"),
        ("[THINK]hm[/THINK][bet]<|end|>", "[THINK]hm[/THINK]"),
        (
            "<|channel|>analysis<|message|>hm<|channel|>final<|message|>[bet]",
            "<|channel|>analysis<|message|>hm<|channel|>final<|message|>",
        ),
    ],
)
def test_tokens_of_reasoning_are_counted_as_sampled(tokenizer, said, private):
    ids = tokenizer.encode(said)
    assert Chat(tokenizer).reasoning_tokens(ids) == len(tokenizer.encode(private))


def test_reasoning_tokens_are_in_the_usage(make_tokenizer):
    tokenizer = make_tokenizer(template=THINKING)
    agent = ModelAgent(FakeModel("hm, hm</think>[bet]", tokenizer=tokenizer), sampling=Sampling(max_tokens=99))
    env = make("KuhnPoker-v0").unwrapped
    env.reset(seed=1)
    (reply,) = agent.act([env.observation("player_0")])
    assert reply.usage["reasoning_tokens"] == len(tokenizer.encode("hm, hm</think>"))
