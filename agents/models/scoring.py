"""Teacher forcing by an engine that gives log-probabilities of a prompt and of the next token."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pass:
    """One request to the engine.

    Args:
        context: its prompt.
        places: of the reply's tokens in the context, whose log-probabilities are wanted.
        next_token: the token after the context, wanted likewise.
    """

    context: tuple[int, ...]
    places: range
    next_token: int


def passes(prompt: tuple[int, ...], reply: tuple[int, ...], *, in_one: bool) -> list[Pass]:
    """What to ask for to score a reply of at least one token, in order.

    A reply's last token is never part of the context, so that a reply that fills the model's context can be scored.

    Args:
        in_one: let the engine score the tokens of its prompt, which it does before any temperature. Otherwise there is one
            pass for each token, scored as the next one; the engine's cache of prompts makes that cheap.
    """
    if in_one:
        context = prompt + reply[:-1]
        return [Pass(context, range(len(prompt), len(context)), reply[-1])]
    return [Pass(prompt + reply[:place], range(0), token) for place, token in enumerate(reply)]
