"""Signs of collapse, watched for at every step.

Each alarm is one function from a line of metrics, and what was remembered, to a message or None. Where the limits come from: the
thinking collapse of self-play without role baselines (SPIRAL, 2506.24119), the phase in which one side wins everything, steady
drift between sampler and trainer; all show here before they show in a win rate.
"""

from collections.abc import Callable
from typing import Any

SHORT = 0.2  # of the first step's median reply length
EMPTY_THINKING = 0.5  # share of replies
ONE_SIDED = 0.95  # share of games that one role wins in self-play
ONE_SIDED_STEPS = 20
INVALID = 0.3  # share of replies
ENTROPY = 0.05  # nats a token
MISMATCH = 0.05  # nats a token, between sampler and trainer
ZERO_ADVANTAGE = 0.8  # share of advantages

Memory = dict[str, Any]


def _replies_are_short(line: dict[str, Any], memory: Memory) -> str | None:
    first = memory.setdefault("reply_median", line["reply_median"])
    if line["reply_median"] < SHORT * first:
        return f"the median reply has {line['reply_median']:g} tokens, at first it had {first:g}"
    return None


def _thinking_is_empty(line: dict[str, Any], memory: Memory) -> str | None:
    first = memory.setdefault("empty_thinking", line["empty_thinking"])
    if first <= EMPTY_THINKING < line["empty_thinking"]:
        return f"{line['empty_thinking']:.0%} of the replies come without thinking, at first {first:.0%} did"
    return None


def _one_role_wins(line: dict[str, Any], memory: Memory) -> str | None:
    streaks: dict[str, int] = memory.setdefault("one_sided", {})
    for role, won in line["won"].items():
        game = role.rpartition("/")[0]
        others = [share for other, share in line["won"].items() if other != role and other.rpartition("/")[0] == game]
        # Where all may gain together, as in a deal, all winning is no collapse.
        one_sided = won > ONE_SIDED and any(share < 1 - ONE_SIDED for share in others)
        streaks[role] = streaks.get(role, 0) + 1 if one_sided else 0
    roles = [role for role, streak in streaks.items() if streak >= ONE_SIDED_STEPS]
    if roles:
        return f"{', '.join(roles)} won more than {ONE_SIDED:.0%} of the games of self-play for {ONE_SIDED_STEPS} steps"
    return None


def _replies_are_refused(line: dict[str, Any], _: Memory) -> str | None:
    if line["invalid_rate"] > INVALID:
        return f"{line['invalid_rate']:.0%} of the replies are refused"
    return None


def _entropy_is_gone(line: dict[str, Any], _: Memory) -> str | None:
    if line.get("entropy", ENTROPY) < ENTROPY:
        return f"entropy is {line['entropy']:.3f} nats a token"
    return None


def _sampler_and_trainer_disagree(line: dict[str, Any], _: Memory) -> str | None:
    if line.get("mismatch_k3", 0.0) > MISMATCH:
        stale = line.get("staleness", {}).get("max")
        why = f"replies are up to {stale:g} steps old" if stale else "under the same weights"
        return f"sampler and trainer differ by {line['mismatch_k3']:.3f} nats a token: {why}"
    return None


def _nothing_to_learn(line: dict[str, Any], _: Memory) -> str | None:
    cells = line.get("cells", {}).values()
    games = sum(cell["games"] for cell in cells)
    if games and sum(cell["games"] * cell["zero_advantage"] for cell in cells) / games > ZERO_ADVANTAGE:
        return f"more than {ZERO_ADVANTAGE:.0%} of the advantages are 0"
    return None


ALARMS: dict[str, Callable[[dict[str, Any], Memory], str | None]] = {
    "short_replies": _replies_are_short,
    "empty_thinking": _thinking_is_empty,
    "one_sided": _one_role_wins,
    "refused": _replies_are_refused,
    "entropy": _entropy_is_gone,
    "mismatch": _sampler_and_trainer_disagree,
    "nothing_to_learn": _nothing_to_learn,
}


class Alarms:
    """All of them over a run; what they remember is saved with it."""

    def __init__(self) -> None:
        self.memory: Memory = {}

    def check(self, line: dict[str, Any]) -> dict[str, str]:
        """Name -> message of the alarms that a step's metrics set off."""
        found = {name: alarm(line, self.memory) for name, alarm in ALARMS.items()}
        return {name: message for name, message in found.items() if message is not None}

    def state_dict(self) -> dict[str, Any]:
        """Of JSON types."""
        return {**self.memory, "one_sided": dict(self.memory.get("one_sided", {}))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.memory = dict(state)
