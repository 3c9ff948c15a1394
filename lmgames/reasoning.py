"""Private reasoning in what a model writes: the one table of how models mark it, for the games and for the agents.

    <think> ... </think>               also thinking, thought, reasoning, scratchpad, seed:think; in any case
    [THINK] ... [/THINK]               Mistral
    <|START_THINKING|> ... <|END_THINKING|>    Cohere
    ◁think▷ ... ◁/think▷               Kimi
    <|channel|>analysis<|message|> ... <|channel|>final<|message|>    harmony, of gpt-oss; every channel but "final" is private

Paired marks hide what is between them. An opening mark that is never closed hides the rest. A closing mark without an opening
one hides all before it, since chat templates often write the opening one into the prompt. Within reasoning only the kind of mark
that began it ends it. Everything takes time linear in the text.
"""

import re
from collections.abc import Iterator

_KINDS = (
    r"<(?P<think>/?)(?:think|thinking|thought|reasoning|scratchpad|seed:think)>",
    r"(?-i:\[(?P<mistral>/?)THINK\])",
    r"<\|(?P<cohere>START|END)_THINKING\|>",
    "\N{WHITE LEFT-POINTING TRIANGLE}(?P<kimi>/?)think\N{WHITE RIGHT-POINTING TRIANGLE}",
    r"(?:<\|start\|>)?(?:assistant)?<\|channel\|>\s{0,9}(?P<harmony>\w{0,30})"
    r"(?:[^<]{0,200}(?:<\|constrain\|>[^<]{0,200})?<\|message\|>)?",  # a header may be cut off
)
_MARK = re.compile("|".join(_KINDS), re.IGNORECASE)
_CLOSES = {"/", "end"}
_OF_HARMONY = re.compile(r"<\|(?:channel|message|constrain)\|>")  # a mark is made of several tokens
_ENDS_MESSAGE = re.compile(r"<\|(?:end|return|call)\|>(?:<\|start\|>assistant)?")
_MAYBE = re.compile(r"[<\u25c1]|THINK\]")

LONGEST = 500  # characters of a mark
Mark = tuple[int, int, str, bool]  # start, end, kind, whether it closes


def _marks(text: str) -> Iterator[Mark]:
    for match in _MARK.finditer(text):
        kind = str(match.lastgroup)
        what = match[kind].casefold()
        yield match.start(), match.end(), kind, what == "final" if kind == "harmony" else what in _CLOSES


def private_spans(text: str) -> list[tuple[int, int, bool]]:
    """The private parts of a reply in order: start, end, with their marks, and whether a mark ends them."""
    if not _MAYBE.search(text):
        return []
    spans: list[tuple[int, int, bool]] = []
    open_kinds: list[str] = []
    start = 0
    for mark_start, mark_end, kind, closes in _marks(text):
        if not closes:
            if not open_kinds:
                start = mark_start
            if kind != "harmony" or kind not in open_kinds:  # a channel follows another, it is not inside it
                open_kinds.append(kind)
        elif not open_kinds:
            spans = [(0, mark_end, True)]
        elif kind in open_kinds:
            while open_kinds.pop() != kind:
                pass
            if not open_kinds:
                spans.append((start, mark_end, True))
    if open_kinds:
        spans.append((start, len(text), False))
    return spans


def without_reasoning(text: str) -> str:
    """The public part of a reply."""
    spans = private_spans(text)
    if not spans:
        return text
    public, start = [], 0
    for private_start, private_end, _ in spans:
        public.append(text[start:private_start])
        start = private_end
    public.append(text[start:])
    if "<|channel|>" in text:
        public = [_ENDS_MESSAGE.sub("", part) for part in public]
    return "".join(public)


def reasoning_in(text: str) -> str:
    """The private part of a reply, without its marks."""
    return "".join(_MARK.sub("", text[start:end]) for start, end, _ in private_spans(text)).strip()


def opener_of(prompt: str) -> str:
    """The opening mark that a prompt ends with, so that the reply begins inside the reasoning; "" if there is none."""
    end = prompt.rstrip()[-LONGEST:]
    marks = list(_marks(end))
    if not marks:
        return ""
    mark_start, mark_end, _, closes = marks[-1]
    return "" if closes or mark_end < len(end) else end[mark_start:]


def is_mark(token: str) -> bool:
    """Whether a token, written out, is a mark or part of one; some tokenizers count them among their special tokens."""
    token = token.strip()
    return bool(_MARK.fullmatch(token) or _OF_HARMONY.fullmatch(token))
