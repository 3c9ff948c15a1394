"""Prompts and replies kept beside the games, and replies kept for other tournaments."""

import json

import pytest

from agents.agent import Agent, Reply
from agents.specs import make_agent
from benchmarks.cache import CachedAgent, ReplyCache, paid_tokens
from benchmarks.leaderboard import main
from benchmarks.results import read_objects, read_results
from benchmarks.schedule import GameSpec
from benchmarks.tournament import Budget, Price, run_tournament
from benchmarks.turns import FILE
from benchmarks.verify import verify
from lmgames.chance import Chance
from lmgames.observation import Observation

KUHN = GameSpec("KuhnPoker-v0", {})


class Talks(Agent):
    """Like a model: draws by the observation's seed, or takes the first move, and counts tokens."""

    spec = "talks"

    def __init__(self, temperature=1.0):
        self.temperature = temperature
        self.asked = 0

    def act(self, observations):
        self.asked += len(observations)
        return [self._reply(seen) for seen in observations]

    def _reply(self, seen):
        place = Chance(seen.seed).integer("move", high=len(seen.legal_moves) - 1) if self.temperature else 0
        usage = {"prompt_tokens": 10, "completion_tokens": 2}
        return Reply(f"<think>well</think>I play {seen.legal_moves[place]}", finish_reason="stop", usage=usage)

    def fingerprint(self):
        return {"spec": self.spec, "temperature": self.temperature}


def tournament(out, agent, **options):
    agents = {"random": make_agent("random"), "model": agent}
    return run_tournament(agents, [KUHN], blocks=5, seed=0, out=out, **options)


def manifest_of(out):
    """What `run` writes before it plays; verify wants it."""
    from benchmarks import manifest

    agents = {"random": make_agent("random"), "model": Talks()}
    manifest.write_manifest(out, manifest.make_manifest(agents, [KUHN], blocks=5, seed=0, schedule="round-robin"))


# Turns.


def test_a_line_for_each_reply_of_a_model(tmp_path):
    tournament(tmp_path, Talks())
    turns = read_objects(tmp_path / FILE)
    results = read_results(tmp_path)
    assert {turn["agent"] for turn in turns} == {"model"}
    assert len(turns) == sum(
        counts["replies"] for r in results.values() for s, counts in r.usage.items() if r.seats[s] == "model"
    )
    turn = turns[0]
    record = results[turn["key"]].record
    assert turn["record"] == record.id
    assert (turn["reply"], turn["move"]) == (record.turns[turn["turn"]].reply, record.turns[turn["turn"]].move)
    assert "Kuhn Poker" in turn["prompt"]
    assert turn["usage"] == {"prompt_tokens": 10, "completion_tokens": 2}
    assert (turn["status"], turn["reason"], turn["finish_reason"]) == ("ok", "", "stop")


@pytest.mark.parametrize("kind, agents", [("all", {"random", "model"}), ("none", set())])
def test_whose_turns_are_kept(tmp_path, kind, agents):
    tournament(tmp_path, Talks(), turns=kind)
    assert {turn["agent"] for turn in read_objects(tmp_path / FILE)} == agents


def test_turns_of_a_game_that_was_cut_are_dropped(tmp_path):
    """As after a kill between the turns and their game: those turns go, and come again once."""
    tournament(tmp_path, Talks(), concurrency=1)
    whole = (tmp_path / FILE).read_bytes()
    games = (tmp_path / "games.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "games.jsonl").write_bytes(b"".join(games[:-1]))
    (tmp_path / FILE).write_bytes(whole + b'{"sha256":"torn')
    tournament(tmp_path, Talks(), concurrency=1)
    assert (tmp_path / FILE).read_bytes() == whole
    (tmp_path / "games.jsonl").write_bytes(b"")
    tournament(tmp_path, Talks(), concurrency=1)
    assert (tmp_path / FILE).read_bytes() == whole


def test_verify_compares_prompts_and_replies(tmp_path):
    tournament(tmp_path, Talks())
    manifest_of(tmp_path)
    found = verify(tmp_path)
    assert found.problems == ()
    assert found.turns == len(read_objects(tmp_path / FILE))
    lines = (tmp_path / FILE).read_text().splitlines(keepends=True)
    (tmp_path / FILE).write_text("".join(lines[:-1]) + lines[-1].replace("I play", "I  play"))
    with pytest.raises(ValueError, match=r"turns\.jsonl:[0-9]+ is damaged"):
        verify(tmp_path)


@pytest.mark.parametrize(
    "key, value", [("reply", "[bet]!"), ("prompt", "You play Kuhn Poker."), ("turn", 9), ("key", "none")]
)
def test_verify_finds_forged_turns(tmp_path, key, value):
    from benchmarks.results import sealed

    tournament(tmp_path, Talks())
    manifest_of(tmp_path)
    turns = [{name: item for name, item in turn.items() if name != "schema"} for turn in read_objects(tmp_path / FILE)]
    turns[0][key] = value
    (tmp_path / FILE).write_text("".join(sealed(turn) + "\n" for turn in turns))
    (problem,) = verify(tmp_path).problems
    assert "turns.jsonl" in problem


def test_merge_joins_turns(tmp_path):
    arguments = ["--agents", "random", "nash", "--games", "KuhnPoker-v0", "--blocks", "4", "--turns", "all", "--quiet"]
    for part in ("1", "2"):
        assert main(["run", *arguments, "--part", f"{part}/2", "--out", str(tmp_path / part)]) == 0
    assert main(["merge", str(tmp_path / "1"), str(tmp_path / "2"), "--out", str(tmp_path / "both")]) == 0
    both = read_objects(tmp_path / "both" / FILE)
    assert len(both) == sum(len(read_objects(tmp_path / part / FILE)) for part in ("1", "2")) > 0
    assert [(turn["key"], turn["turn"]) for turn in both] == sorted((turn["key"], turn["turn"]) for turn in both)
    assert main(["verify", "--out", str(tmp_path / "both")]) == 0


def test_an_unknown_kind_is_refused(tmp_path, capsys):
    arguments = ["run", "--agents", "random", "nash", "--turns", "model", "--out", str(tmp_path / "new")]
    assert main(arguments) == 2
    assert "did you mean 'models'" in capsys.readouterr().err


# The cache.


def seen(text="Your turn.", seed=1):
    return Observation(text, "player_0", legal_moves=("[check]", "[bet]"), seed=seed)


def test_a_cached_tournament_asks_nobody_and_gives_the_same(tmp_path):
    cache = ReplyCache(tmp_path / "cache.jsonl")
    first = Talks()
    played = tournament(tmp_path / "a", CachedAgent(first, cache))
    assert first.asked == len(cache) > 0
    cache.close()
    cache = ReplyCache(tmp_path / "cache.jsonl")
    second = Talks()
    again = tournament(
        tmp_path / "b", CachedAgent(second, cache), budget=Budget(tokens=1), prices={"model": Price(1e6, 1e6)}
    )
    assert second.asked == 0
    assert again.stopped == "", "what was paid for before is not spent again"
    assert [result.returns for result in again.results] == [result.returns for result in played.results]
    assert [result.key for result in again.results] == [result.key for result in played.results]
    assert [result.record.id for result in again.results] == [result.record.id for result in played.results]


def test_draws_stay_distinct_and_greedy_replies_are_shared(tmp_path):
    cache = ReplyCache(tmp_path / "cache.jsonl")
    draws, greedy = CachedAgent(Talks(), cache), CachedAgent(Talks(temperature=0), cache)
    draws.act([seen(seed=number) for number in range(5)])
    assert draws.agent.asked == 5
    replies = greedy.act([seen(seed=number) for number in range(5)])
    assert greedy.agent.asked == 1
    assert {reply.text for reply in replies} == {replies[0].text}
    assert [paid_tokens(reply.usage) for reply in replies] == [(10, 2)] + [(0, 0)] * 4
    greedy.act([seen("Another turn.")])
    assert greedy.agent.asked == 2
    assert CachedAgent(Talks(temperature=0), cache).act([seen()])[0].usage["repeated"] == 1


def test_equal_questions_that_wait_are_asked_once(tmp_path):
    greedy = CachedAgent(Talks(temperature=0), ReplyCache(tmp_path / "cache.jsonl"))
    for key in ("a", "b", "c"):
        greedy.submit(key, seen(seed=ord(key)))
    assert sorted(key for key, _ in greedy.poll()) == ["a", "b", "c"]
    assert greedy.agent.asked == 1
    greedy.submit("d", seen())
    assert [key for key, _ in greedy.poll()] == ["d"]
    assert greedy.poll() == []


def test_failures_are_not_cached(tmp_path):
    class Fails(Talks):
        def _reply(self, observation):
            return Reply("", finish_reason="error", error=ConnectionError("gone"))

    agent = CachedAgent(Fails(temperature=0), ReplyCache(tmp_path / "cache.jsonl"))
    assert {reply.finish_reason for reply in agent.act([seen(), seen()])} == {"error"}
    for key in ("a", "b"):
        agent.submit(key, seen())
    assert [reply.finish_reason for _, reply in agent.poll()] == ["error", "error"]
    assert len(agent.cache) == 0


def test_nobody_waits_for_what_was_never_asked(tmp_path):
    class Refuses(Talks):
        def submit(self, key, observation):
            raise ValueError("the prompt is too long")

    class Dies(Talks):
        def poll(self):
            raise RuntimeError("the engine died")

    refuses, dies = (CachedAgent(agent, ReplyCache(tmp_path / "cache.jsonl")) for agent in (Refuses(), Dies()))
    for _ in range(2):
        with pytest.raises(ValueError, match="too long"):
            refuses.submit("a", seen())
        dies.submit("a", seen())
        with pytest.raises(RuntimeError, match="died"):
            dies.poll()
    assert refuses.poll() == dies.poll() == []


def test_a_damaged_cache_is_refused(tmp_path):
    cache = ReplyCache(tmp_path / "cache.jsonl")
    CachedAgent(Talks(), cache).act([seen(), seen(seed=2)])
    cache.close()
    path = tmp_path / "cache.jsonl"
    path.write_text(path.read_text().replace("well", "weal", 1))
    with pytest.raises(ValueError, match=r"cache\.jsonl:1 is damaged"):
        ReplyCache(path)


def test_scripted_players_need_no_cache(tmp_path):
    cache = tmp_path / "cache.jsonl"
    arguments = ["--agents", "random", "nash", "--games", "KuhnPoker-v0", "--blocks", "2", "--cache", str(cache), "--quiet"]
    assert main(["run", *arguments, "--out", str(tmp_path / "out")]) == 0
    assert cache.read_text() == ""
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["agents"]["nash"]["fingerprint"] == {"spec": "nash"}
