"""Replies that were given before, so that nobody pays for the same one twice: a file that tournaments share.

A reply is known by who gave it (fingerprint), what it was asked (text) and which draw it was (the seed of the observation, fixed
by deal, seat, turn and attempt). Where nothing is drawn, at temperature 0, the seed plays no part and equal prompts share a reply.
So replicas of a model that draws stay distinct, and the deals stay the unit of all statistics.
"""

import json
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.agent import Agent, Observation, Reply
from benchmarks.results import LineFile, digest, read_objects, sealed

REPEATED = "repeated_"  # before the names of counts that were paid for at another time
PROMPT, COMPLETION = "prompt_tokens", "completion_tokens"


class ReplyCache:
    """A file of replies by key. One process at a time may have it open.

    Raises:
        ValueError: if a line is damaged, with its number.
    """

    def __init__(self, path: Path):
        self._replies = {entry["key"]: entry for entry in read_objects(path)}
        self._file = LineFile(path)

    def __len__(self) -> int:
        return len(self._replies)

    def get(self, key: str) -> Reply | None:
        """The reply of a key, its tokens marked as repeated."""
        stored = self._replies.get(key)
        if stored is None:
            return None
        usage = dict(stored["usage"])
        usage |= {REPEATED + kind: usage[kind] for kind in (PROMPT, COMPLETION) if kind in usage}
        return Reply(stored["text"], finish_reason=stored["finish_reason"], usage={**usage, "repeated": 1, "seconds": 0.0})

    def put(self, key: str, spec: str, reply: Reply) -> None:
        entry = {
            "key": key,
            "agent": spec,
            "text": reply.text,
            "finish_reason": reply.finish_reason,
            "usage": dict(reply.usage),
        }
        self._replies[key] = entry
        self._file.append(sealed(entry))

    def close(self) -> None:
        self._file.close()


def paid_tokens(usage: Mapping[str, float]) -> tuple[float, float]:
    """(prompt, completion) tokens that were computed for these counts, without those of repeated replies."""
    prompt, completion = (usage.get(kind, 0.0) - usage.get(REPEATED + kind, 0.0) for kind in (PROMPT, COMPLETION))
    return prompt, completion


class CachedAgent(Agent):
    """An agent that is asked only what the cache does not know. Equal questions that wait at the same time are asked once.

    Args:
        agent: who replies.
        cache: its replies, of this and earlier runs.
    """

    def __init__(self, agent: Agent, cache: ReplyCache):
        self.agent, self.cache = agent, cache
        self.spec = agent.spec
        fingerprint = agent.fingerprint()
        self._who = json.dumps(fingerprint, sort_keys=True, default=repr)
        self._draws = fingerprint.get("temperature") != 0
        self._known: list[tuple[Hashable, Reply]] = []
        self._waiting: dict[str, list[Hashable]] = {}  # by key of the cache, who asked

    def act(self, observations: Sequence[Observation], /) -> list[Reply]:
        keys = [self._key(observation) for observation in observations]
        new = {key: seen for key, seen in zip(keys, observations, strict=True) if self.cache.get(key) is None}
        given = dict(zip(new, self.agent.act(list(new.values())), strict=True))
        for key, reply in given.items():
            self._keep(key, reply)
        return [given.pop(key) if key in given else self._again(key) for key in keys]

    def _again(self, key: str) -> Reply:
        reply = self.cache.get(key)
        if reply is None:
            return Reply("", finish_reason="error", error=RuntimeError("the same question has just failed"))
        return reply

    def submit(self, key: Hashable, observation: Observation) -> None:
        question = self._key(observation)
        known = self.cache.get(question)
        if known is not None:
            self._known.append((key, known))
            return
        if question in self._waiting:
            self._waiting[question].append(key)
        else:
            self.agent.submit(question, observation)  # may raise, and then nobody waits
            self._waiting[question] = [key]

    def poll(self) -> list[tuple[Hashable, Reply]]:
        if self._known:
            known, self._known = self._known, []
            return known
        if not self._waiting:
            return []
        found: list[tuple[Hashable, Reply]] = []
        try:
            given = self.agent.poll()
        except Exception:
            self._waiting.clear()  # the agent has given its requests up
            raise
        for question, reply in given:
            assert isinstance(question, str)
            self._keep(question, reply)
            first, *others = self._waiting.pop(question)
            found.append((first, reply))
            found += [(key, reply if reply.finish_reason == "error" else self._again(question)) for key in others]
        return found

    def masses(self, observations: Sequence[Observation], /) -> list[dict[str, float]] | None:
        return self.agent.masses(observations)

    def _key(self, observation: Observation) -> str:
        return digest(json.dumps([self._who, observation.text, observation.seed if self._draws else None]))

    def _keep(self, key: str, reply: Reply) -> None:
        if reply.finish_reason != "error":
            self.cache.put(key, self.spec, reply)

    def about(self) -> dict[str, Any]:
        return self.agent.about()

    def fingerprint(self) -> dict[str, Any]:
        return self.agent.fingerprint()

    def close(self) -> None:
        self.agent.close()
