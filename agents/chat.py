"""From observation text to prompt tokens, and from sampled tokens to reply text.

The whole observation is one user message. It only grows during an episode, and all that a player may know is in it, so the
prompt is a function of the text alone: equal observations give equal prompts, and engines share their computation.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

from lmgames.reasoning import is_mark, opener_of, private_spans

PROMPT_VERSION = 1  # raised by any change of the messages or of PLAIN
PLAIN = "{system}{text}\nReply:"
"""For base models, whose tokenizer has no chat template."""
CACHED_PROMPTS = 50_000
CACHED_LINES = 200_000

_NEXT_LINE = re.compile(r"(?<=\S\n)(?=\S)")
_SPANS_LINES = re.compile(r"[\nĊ][^\sĠĊĉč▁]")  # in a vocabulary, byte-level ones included
_SAMPLE = (
    'You are player_0. Cards: J, Q\n[bet] or (fold)?\n"Hi," said 3\n4 of them, naïve\n東京: 1.\n\n  two \n- three…\nx\ny'
)


class Chat:
    """How one model is spoken to.

    Args:
        tokenizer: with a chat template, or the plain form above is used.
        system: a message before the observation; None for none.
        thinking: handed to the template as `enable_thinking`; None leaves the template's own default.
    """

    def __init__(self, tokenizer: Any, *, system: str | None = None, thinking: bool | None = None):
        self.tokenizer = tokenizer
        self.system = system
        self.thinking = thinking
        self.has_template = bool(getattr(tokenizer, "chat_template", None))
        self._prompts: dict[str, tuple[int, ...]] = {}
        self._texts: dict[tuple[int, ...], str] = {}
        self._lines: dict[str, list[int]] = {}
        self._silent = _silent_ids(tokenizer)
        self.opener = opener_of(self.render(""))
        """The mark with which the prompt opens the model's reasoning, so that replies begin in it; "" if it does not."""
        self.encodes_lines = self.has_template and self._lines_stand_alone()
        """Whether a prompt's tokens are those of its lines, so that a line is encoded once for all prompts that have it.
        Observations grow by lines, so a game costs what its text costs, and not what all its prompts do."""

    def messages(self, text: str) -> list[dict[str, str]]:
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return [*system, {"role": "user", "content": text}]

    def render(self, text: str) -> str:
        """The prompt as a string."""
        if not self.has_template:
            return PLAIN.format(system="" if self.system is None else self.system + "\n", text=text)
        options = {} if self.thinking is None else {"enable_thinking": self.thinking}
        rendered: str = self.tokenizer.apply_chat_template(
            self.messages(text), tokenize=False, add_generation_prompt=True, **options
        )
        return rendered

    def prompt_ids(self, text: str) -> tuple[int, ...]:
        """The prompt of an observation text."""
        ids = self._prompts.get(text)
        if ids is None:
            if len(self._prompts) >= CACHED_PROMPTS:
                self._prompts.clear()
            ids = self._prompts[text] = self._encode(self.render(text))
        return ids

    def reply_ids(self, text: str) -> tuple[int, ...]:
        """The tokens of a reply that says `text` and ends, as a model would be taught or scored to say it."""
        ids = tuple(self.tokenizer.encode(text, add_special_tokens=False))
        eos = getattr(self.tokenizer, "eos_token_id", None)
        return ids if eos is None else (*ids, eos)

    def _encode(self, rendered: str) -> tuple[int, ...]:
        if self.encodes_lines:
            return tuple(self._encode_lines(rendered))
        # A chat template writes its special tokens itself; a plain prompt gets those that the tokenizer begins texts with.
        ids = list(self.tokenizer.encode(rendered, add_special_tokens=not self.has_template))
        eos = getattr(self.tokenizer, "eos_token_id", None)
        if not self.has_template and len(ids) > 1 and ids[-1] == eos:
            ids.pop()
        return tuple(ids)

    def _encode_lines(self, rendered: str) -> list[int]:
        ids: list[int] = []
        for line in _NEXT_LINE.split(rendered):
            known = self._lines.get(line)
            if known is None:
                if len(self._lines) >= CACHED_LINES:
                    self._lines.clear()
                known = self._lines[line] = list(self.tokenizer.encode(line, add_special_tokens=False))
            ids += known
        return ids

    def _lines_stand_alone(self) -> bool:
        """Whether no token reaches over the end of a line, and the tokenizer adds nothing to a line by itself."""
        vocabulary: dict[str, int] = getattr(self.tokenizer, "get_vocab", dict)()
        if not vocabulary or any(_SPANS_LINES.search(token) for token in vocabulary):
            return False
        rendered = self.render(_SAMPLE)
        return self._encode_lines(rendered) == list(self.tokenizer.encode(rendered, add_special_tokens=False))

    def reply_text(self, ids: Sequence[int]) -> str:
        """What the model said, without special tokens but with the marks of its reasoning: by them others know what is private.

        Where the prompt opens the reasoning, the reply carries the closing mark alone, and all before that is private. If the
        model never closed it, all of the reply is reasoning, and the opening mark is put before it to say so.
        """
        key = tuple(ids)
        text = self._texts.get(key)
        if text is None:
            if len(self._texts) >= CACHED_PROMPTS:
                self._texts.clear()
            text = self._spoken(key)
            if self.opener and [closed for *_, closed in private_spans(self.opener + text)] == [False]:
                text = self.opener + text
            self._texts[key] = text
        return text

    def _spoken(self, ids: Sequence[int]) -> str:
        spoken = [token for token in ids if token not in self._silent]
        text: str = self.tokenizer.decode(spoken, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

    def reasoning_tokens(self, ids: Sequence[int]) -> int:
        """How many of a reply's tokens are private reasoning, up to and with its last closing mark."""
        spans = private_spans(self.reply_text(ids))
        if not spans:
            return 0
        _, end, closed = spans[-1]
        if not closed:
            return len(ids)
        least, most = 1, len(ids)
        while least < most:  # the shortest beginning that has it
            middle = (least + most) // 2
            least, most = (least, middle) if len(self._spoken(ids[:middle])) >= end else (middle + 1, most)
        return least

    def fingerprint(self) -> str:
        """Hash of all that turns an observation into a prompt, but the tokenizer's vocabulary."""
        template = self.tokenizer.chat_template if self.has_template else PLAIN
        what = [PROMPT_VERSION, template, self.system, self.thinking]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]


def _silent_ids(tokenizer: Any) -> frozenset[int]:
    """Special tokens that are no part of the text; some tokenizers count the marks of reasoning among theirs."""
    special = getattr(tokenizer, "all_special_ids", ())
    return frozenset(token for token in special if not is_mark(str(tokenizer.decode([token]))))
