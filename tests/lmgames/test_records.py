"""Records: one line each, tamper-evident, and re-executable to the byte."""

import json
from dataclasses import replace

import pytest

import lmgames
from lmgames import GameRecord, ReplayMismatch
from lmgames.records import Turn


def played(*replies, seed=5, instance=None, **options):
    """A record of a game in which these replies are given in order, then legal ones."""
    env = lmgames.make("KuhnPoker-v0", **options).unwrapped
    env.reset(seed=seed, options={"instance": instance} if instance else None)
    for reply in replies:
        env.step(reply)
    while not env.outcome:
        env.step(env.infos[env.agent_selection]["legal_moves"][0])
    return env.record({"player_0": "random", "player_1": "nash"})


@pytest.mark.parametrize(
    "record",
    [
        played(),
        played(seed=-1),
        played(seed=2**80, hands=4),
        played("hm", "[bet]", "[fold]"),
        played("hm", "hm"),
        played("hm", "hm", invalid_policy="retry_random", hands=2),
        played("hm", "hm", invalid_policy="retry_noop", retries=1, share="public", legal_hint="none"),
        played(instance=[["K", "J", 1]]),
        played("<think>Ünïcode \U0001f0cf</think>[check]\n", share="raw"),
        played("\ud800[check]", "\udfff\x00"),
        played(None, 3, hands=2),
        played({"private": "x\ud800", "public": "[bet]"}, {"public": 3}, {1: 2}, hands=2),
        played({"private": None, "public": "[bet]"}, {"private": 3, "public": "[fold]"}, hands=2),
        played({"public": "[bet]", "else": ""}, {"public": None}, {"unreadable": "x"}, {"unreadable": 1}, hands=2),
        played(
            "\ud83d\ude00 [check] \ude00\ud83d", {"private": "\ud83d\ude00", "public": "[bet] \ud83d\ude00"}, share="public"
        ),
        played(max_env_steps=1),
        played("[bet]", deck_size=5, ante=2),
    ],
    ids=lambda record: record.id[:6],
)
def test_round_trip_and_replay(record):
    line = record.to_json()
    assert line.isascii()
    assert "\n" not in line
    again = GameRecord.from_json(line)
    assert again == record
    assert again.id == record.id
    assert again.to_json() == line
    env = lmgames.replay(again)
    assert env.record(record.agents) == record


def test_a_split_reply_without_reasoning_is_kept_as_it_was():
    sent = {"public": "[check]", "private": None}
    env = lmgames.make("KuhnPoker-v0")
    env.reset(seed=5)
    env.step(sent)
    sent["public"] = "[bet]"
    assert env.turns[0] == Turn("player_0", {"public": "[check]"}, "ok", move="[check]")
    assert Turn("player_0", {"public": "[check]", "private": "hm"}, "ok").reply == {"private": "hm", "public": "[check]"}


def test_halves_of_a_character_count_as_the_character_whether_they_have_been_through_json_or_not():
    """As two characters they were two spaces in a message, and as one after a record was read."""
    env = lmgames.make("AdversarialTaboo-v0")
    env.reset(seed=0)
    env.step("it is \ud83d\ude00 nice, \ud83d\ud83d\ude00\ude00")
    record = GameRecord.from_json(env.record().to_json())
    assert record == env.record()
    assert record.turns[0].move == "it is \U0001f600 nice,  \U0001f600 "[:-1]
    assert lmgames.replay(record).record() == record


def test_what_a_record_says():
    record = played("[bet]", "hm", "[call]", instance=[["K", "J", 0]])
    assert record.env_id == "lmgames/KuhnPoker-v0"
    assert (record.seed, record.instance, record.instance_given) == (5, [["K", "J", 0]], True)
    assert record.options == {}
    assert record.roles == {"player_0": "first", "player_1": "second"}
    assert record.agents == {"player_0": "random", "player_1": "nash"}
    assert record.turns == (
        Turn("player_0", "[bet]", "ok", move="[bet]"),
        Turn("player_1", "hm", "refused", code="no_command"),
        Turn("player_1", "[call]", "ok", move="[call]"),
    )
    assert record.returns == {"player_0": 2.0, "player_1": -2.0}
    assert (record.outcome, record.facts["chips"]) == ("rules", {"player_0": 2, "player_1": -2})
    assert (record.invalid_count("player_0"), record.invalid_count("player_1")) == (0, 1)
    assert record.package
    assert record.schema == 1


def test_options_of_game_and_environment_are_kept():
    record = played(hands=3, alternate_first=False, legal_hint="count", share="public", max_public_chars=100)
    assert record.options == {
        "hands": 3,
        "alternate_first": False,
        "legal_hint": "count",
        "share": "public",
        "max_public_chars": 100,
    }


def test_equal_records_have_equal_ids():
    record = played()
    assert played().id == record.id
    assert replace(record, package="9.9").id == record.id  # whoever wrote it
    assert played(seed=6).id != record.id
    assert replace(record, agents={}).id != record.id


def test_the_prompts_are_in_the_hash():
    assert played(seed=5).prompts_sha256 != played(seed=5, show_rules=False).prompts_sha256
    assert len(played().prompts_sha256) == 64


def test_an_episode_that_is_not_over():
    env = lmgames.make("KuhnPoker-v0", hands=2).unwrapped
    env.reset(seed=3)
    partial = env.record()
    assert (partial.turns, partial.outcome, partial.prompts_sha256) == ((), "", "")
    env.step("hm")
    env.step("[check]")
    partial = GameRecord.from_json(env.record().to_json())
    assert partial.outcome == ""
    again = lmgames.replay(partial)
    for each in (env, again):
        each.step("[bet]")
        each.step("[call]")
    assert env.record() == again.record()
    assert env.observe("player_0") == again.observe("player_0")


# Lines that are no records.


def changed(record, **values):
    data = json.loads(record.to_json())
    data.update(values)
    return json.dumps(data)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 6},
        {"returns": {"player_0": 2.0, "player_1": -2.0}},
        {"outcome": "forfeit"},
        {"agents": {"player_0": "me"}},
        {"instance": [["Q", "J", 0]]},
        {"turns": []},
        {"prompts_sha256": "0" * 64},
        {"id": "0" * 32},
    ],
)
def test_a_changed_record_is_refused(change):
    with pytest.raises(ValueError, match="was changed after it was written"):
        GameRecord.from_json(changed(played(), **change))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "not a game record"),
        ("{", "not a game record"),
        ("[]", "found 'list'"),
        ("{}", "found None"),
        ('{"schema": 2}', "found 2"),
        ('{"schema": 1, "id": "x"}', "wrong or missing keys"),
        ("3", "found 'int'"),
    ],
)
def test_lines_that_are_no_records(line, message):
    with pytest.raises(ValueError, match=message):
        GameRecord.from_json(line)


def test_keys_too_many_or_too_few():
    with pytest.raises(ValueError, match=r"wrong or missing keys \['extra'\]"):
        GameRecord.from_json(changed(played(), extra=1))
    data = json.loads(played().to_json())
    del data["facts"]
    with pytest.raises(ValueError, match=r"wrong or missing keys \['facts'\]"):
        GameRecord.from_json(json.dumps(data))


@pytest.mark.parametrize(
    "turns", [3, [3], [{"seat": "player_0"}], [{"seat": "player_0", "reply": "", "status": "ok", "x": 1}]]
)
def test_turns_that_are_none(turns):
    with pytest.raises(ValueError, match="not a game record"):
        GameRecord.from_json(changed(played(), turns=turns))


# Records that do not come out again.


def mutated(record, number, **values):
    turns = list(record.turns)
    turns[number] = replace(turns[number], **values)
    return replace(record, turns=tuple(turns))


RECORD = played("[check]", "hm", "[bet]", "[fold]", instance=[["K", "J", 0]])


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (replace(RECORD, instance=[["K", "J", 0]], instance_given=False, seed=4), "seed 4 deals .* the record says"),
        (mutated(RECORD, 0, reply="[bet]"), r"turn 0: now .*move='\[bet\]'.*the record says .*move='\[check\]'"),
        (mutated(RECORD, 0, seat="player_1"), "turn 0: player_0 is to move, the record says player_1"),
        (mutated(RECORD, 1, code="empty"), "turn 1: now .*code='no_command'.*the record says .*code='empty'"),
        (mutated(RECORD, 2, status="replaced"), "turn 2: now .*status='ok'.*the record says .*status='replaced'"),
        (replace(RECORD, turns=(*RECORD.turns, RECORD.turns[0])), r"turn 4: the game is over \(rules\), the record goes on"),
        (replace(RECORD, turns=RECORD.turns[:3]), "returns: now .*0.0.*the record says .*-1.0"),
        (replace(RECORD, returns={"player_0": 1.0, "player_1": -1.0}), "returns: now "),
        (replace(RECORD, outcome="limit"), 'outcome: now "rules", the record says "limit"'),
        (replace(RECORD, facts={}), "facts: now .*chips.*the record says {}"),
        (replace(RECORD, roles={"player_0": "second", "player_1": "first"}), "roles: now "),
        (replace(RECORD, prompts_sha256="00"), "prompts_sha256: now .*the record says "),
        (replace(RECORD, options={"show_rules": False}), "prompts_sha256: now "),
    ],
)
def test_a_mismatch_says_where_and_how(record, message):
    lmgames.replay(RECORD)
    with pytest.raises(ReplayMismatch, match=message):
        lmgames.replay(record)


def test_replaying_an_unknown_game():
    with pytest.raises(ValueError, match="did you mean"):
        lmgames.replay(replace(RECORD, env_id="lmgames/KuhnPokr-v0"))


def test_unreadable_replies_keep_their_type():
    assert Turn("player_0", 3.5, "refused").reply == {"unreadable": "float"}
    assert Turn("player_0", {"unreadable": "float"}, "refused").reply == {"unreadable": "float"}
    assert Turn("player_0", {"public": "x", 3: "y"}, "refused").reply == {"unreadable": "dict"}
    assert Turn("player_0", {"public": "x", "private": "y"}, "ok").reply == {"public": "x", "private": "y"}
