"""The parallel environment: PettingZoo's test, and the same games as in the AEC environment."""

import pettingzoo
import pytest
from pettingzoo.test import parallel_api_test

import lmgames
from lmgames.parallel import ParallelGameEnv

VOTE = {"players": 4, "clue_rounds": 1}
DEAL = {
    "words": {"civilian": "castle", "spy": "lighthouse"},
    "spies": ["player_3"],
    "orders": [["player_0", "player_1", "player_2", "player_3"]],
    "tie_breaks": [],
}


def made(name="WhoIsTheSpy-v0", **options):
    return pettingzoo.make("parallel", f"lmgames/{name}", **options)


def at_vote(**options):
    env = made(**VOTE, **options)
    env.reset(seed=0, options={"instance": DEAL})
    for seat in ("player_0", "player_1", "player_2", "player_3"):
        assert env.asked == (seat,)
        _, _, _, _, infos = env.step({seat: f"Clue of {seat}"})
    return env, infos


@pytest.mark.parametrize("name", list(lmgames.GAMES))
def test_pettingzoos_test(name):
    env = made(name)
    assert isinstance(env.unwrapped, ParallelGameEnv)
    parallel_api_test(env, num_cycles=50)


@pytest.mark.parametrize("name", list(lmgames.GAMES))
def test_the_same_game_as_in_the_aec_environment(name):
    env, alone = made(name), lmgames.make(name)
    _, infos = env.reset(seed=3)
    alone.reset(seed=3)
    paid = dict.fromkeys(env.possible_agents, 0.0)
    while env.agents:
        replies = {seat: infos[seat]["action_mask"][-1] for seat in env.agents if infos[seat]["asked"]}
        _, rewards, _, _, infos = env.step(replies)
        for seat, reward in rewards.items():
            paid[seat] += reward
        while not alone.outcome and alone.agent_selection in replies:
            alone.step(replies.pop(alone.agent_selection))
    assert env.unwrapped.record() == alone.record()
    assert paid == pytest.approx(alone.returns)
    assert lmgames.replay(env.unwrapped.record()).outcome == alone.outcome


def test_all_voters_reply_at_once():
    env, infos = at_vote()
    assert env.asked == ("player_0", "player_1", "player_2")
    assert [infos[seat]["asked"] for seat in env.agents] == [True, True, True, False]
    assert infos["player_2"]["legal_moves"] == ["[vote: player_0]", "[vote: player_1]", "[vote: player_3]", "[abstain]"]
    with pytest.raises(ValueError, match="no reply of player_1, player_2"):
        env.step({"player_0": "[abstain]"})
    replies = dict.fromkeys(env.agents, "[vote: 3]")  # the spy's is not looked at
    observations, rewards, terminations, _, _ = env.step(replies)
    assert rewards["player_0"] > 1
    assert all(terminations.values())
    assert env.agents == []
    assert "Votes: player_3 3." in observations["player_3"]["text"]


def test_a_refused_seat_is_asked_again_alone():
    env, _ = at_vote()
    observations, rewards, _, _, infos = env.step({"player_0": "[vote: 3]", "player_1": "hm", "player_2": "[abstain]"})
    assert env.asked == ("player_1",)
    assert infos["player_1"]["invalid_count"] == 1
    assert "Refused" in observations["player_1"]["text"]
    assert not any(rewards.values())
    env.step({"player_1": "[vote: 0]", "player_2": "[vote: 0]"})  # player_2 has replied
    assert [turn.reply for turn in env.unwrapped.record().turns[4:]] == ["[vote: 3]", "hm", "[vote: 0]", "[abstain]"]


def test_a_forfeit_that_replaces_a_turn_drops_what_others_replied():
    env = made("Debate-v0", order="simultaneous", invalid_policy="forfeit")
    env.reset(seed=0)
    assert env.asked == ("debater_0", "debater_1")
    env.step({"debater_0": "", "debater_1": "It is so."})
    assert env.agents == []
