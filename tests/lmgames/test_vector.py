"""Many games side by side: each comes out as it would alone."""

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import DictInfoToList, RecordEpisodeStatistics

import lmgames
from lmgames import Chance
from lmgames.vector import TextVectorEnv

KUHN = "lmgames/KuhnPoker-v0"


def make_vec(num_envs, game=KUHN, **options):
    return gymnasium.make_vec(game, num_envs=num_envs, **options)


def reply_to(observation):
    """A reply fixed by the observation, one in eight of them illegal."""
    chance = Chance(observation.seed)
    if chance.integer("slip", high=7) == 0:
        return "I cannot decide"
    return observation.game.sample_reply(observation.view, observation.seat, chance)


class Batches:
    """Replies by the observation's seed; keeps the sizes of the batches it was asked in."""

    def __init__(self):
        self.sizes = []

    def act(self, observations):
        self.sizes.append(len(observations))
        return [reply_to(observation) for observation in observations]


def run_all(envs, rng=None):
    """Replies to what is ready, to a random part of it at a time if a generator is given."""
    while True:
        indices, observations = envs.ready()
        if not indices:
            return
        chosen = list(range(len(indices)))
        if rng is not None:
            rng.shuffle(chosen)
            chosen = chosen[: rng.integers(1, len(chosen) + 1)]
        envs.step([indices[c] for c in chosen], [reply_to(observations[c]) for c in chosen])


def alone(name, seed, **options):
    env = gymnasium.make(f"lmgames/{name}", disable_env_checker=True, **options).unwrapped
    env.reset(seed=seed)
    while not env.over:
        env.step(reply_to(env.observation()))
    return env.record()


def test_it_is_what_make_vec_gives():
    envs = make_vec(8, opponent="random")
    assert isinstance(envs, TextVectorEnv)
    assert envs.num_envs == 8
    assert envs.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    assert envs.spec.id == KUHN
    texts, infos = envs.reset(seed=0)
    assert texts in envs.observation_space
    assert texts[0] in envs.single_observation_space
    assert ("[bet]",) * 8 in envs.action_space
    assert infos["legal_moves"].tolist() == [["[check]", "[bet]"]] * 8


@pytest.mark.parametrize("seat", [0, "random", "all"])
def test_256_interleaved_games_are_the_same_alone(seat):
    def opponent():
        return {} if seat == "all" else {"opponent": Batches()}

    envs = make_vec(256, seat=seat, hands=2, **opponent())
    envs.reset(seed=1000)
    run_all(envs, np.random.default_rng(0))
    for index in range(256):
        assert envs.record(index) == alone("KuhnPoker-v0", 1000 + index, seat=seat, hands=2, **opponent())


@pytest.mark.parametrize("name", list(lmgames.GAMES))
@pytest.mark.parametrize("seat", [0, "all"])
def test_every_game_is_the_same_alone(name, seat):
    envs = make_vec(4, f"lmgames/{name}", seat=seat, opponent="random")
    envs.reset(seed=5)
    run_all(envs, np.random.default_rng(1))
    assert [envs.record(index) for index in range(4)] == [alone(name, 5 + index, seat=seat) for index in range(4)]


def test_the_same_as_gymnasiums_sync_vector_env():
    ours = make_vec(5, opponent="random", hands=3)
    theirs = make_vec(5, opponent="random", hands=3, vectorization_mode="sync")
    assert ours.reset(seed=3)[0] == theirs.reset(seed=3)[0]
    assert ours.reset()[0] == theirs.reset()[0]  # the unseeded episodes, too
    replies = ["[check]", "[bet]", "[fold]", "hm", "[check]"]
    for mine, other in zip(ours.step(replies)[:4], theirs.step(replies)[:4], strict=True):
        assert tuple(mine) == tuple(other)


def test_ready_names_who_waits_and_step_advances_only_those():
    envs = make_vec(3, seat="all")
    envs.reset(seed=0, options={"instance": [["K", "J", 0]]})
    indices, observations = envs.ready()
    assert indices == [0, 1, 2]
    assert [observation.seat for observation in observations] == ["player_0"] * 3
    texts, rewards, terminations, truncations, infos = envs.step([2, 0], ["[bet]", "[check]"])
    assert [observation.seat for observation in envs.ready()[1]] == ["player_1", "player_0", "player_1"]
    assert observations[1].text == texts[1]
    assert rewards.tolist() == [0.0, 0.0, 0.0]
    assert infos["_turn"].tolist() == [True, False, True]
    assert infos["turn"].tolist() == [1, 0, 1]
    assert infos["seat"].tolist() == ["player_1", None, "player_1"]
    texts, rewards, terminations, truncations, infos = envs.step([2], ["[call]"])
    assert rewards.tolist() == [0.0, 0.0, -2.0]  # of the seat that replied
    assert terminations.tolist() == [False, False, True]
    assert not truncations.any()
    assert infos["returns"].tolist() == [None, None, {"player_0": 2.0, "player_1": -2.0}]
    assert envs.ready()[0] == [0, 1]
    assert envs.over.tolist() == [False, False, True]


def test_gymnasiums_form_replies_to_all():
    envs = make_vec(2, opponent=Batches(), seat=0)
    envs.reset(seed=0, options={"instance": [["K", "J", 0]]})
    texts, rewards, terminations, truncations, _ = envs.step(("[bet]", "[check]"))
    assert rewards.shape == terminations.shape == truncations.shape == (2,)
    assert rewards.dtype == np.float64
    assert terminations.dtype == truncations.dtype == np.bool_
    assert len(texts) == 2


def test_opponents_are_asked_in_one_batch_a_round():
    opponent = Batches()
    envs = make_vec(16, opponent=opponent, seat=1)
    envs.reset(seed=0)
    assert opponent.sizes[0] == 16
    assert all(env.opponents is envs.envs[0].opponents for env in envs.envs)


def test_several_opponents_reply_until_every_learner_is_asked():
    class SlipsOnce(Batches):
        def act(self, observations):
            return ["hm" if "Refused" not in observation.text else "[check]" for observation in observations]

    envs = make_vec(12, seat="second", opponent={"player_0": SlipsOnce(), "player_1": SlipsOnce()}, first_player="random")
    envs.reset(seed=0)
    assert {observation.seat for observation in envs.ready()[1]} == {"player_0", "player_1"}
    assert all(env.core.agent_selection == env.seat for env in envs.envs)
    assert all([turn.status for turn in env.record().turns] == ["refused", "ok"] for env in envs.envs)


def test_the_end_stays_until_reset():
    envs = make_vec(2, seat="all")
    envs.reset(seed=0, options={"instance": [["K", "J", 0]]})
    envs.step(["[bet]", "[check]"])
    envs.step(["[fold]", "[check]"])
    assert envs.over.tolist() == [True, True]
    assert envs.ready() == ([], [])
    with pytest.raises(ValueError, match=r"environments \[0, 1\] wait for reset"):
        envs.step(["[bet]", "[bet]"])
    texts, infos = envs.reset(options={"reset_mask": np.array([False, True])})
    assert envs.over.tolist() == [True, False]
    assert envs.ready()[0] == [1]
    assert infos["_legal_moves"].tolist() == [False, True]
    assert "player_0 wins 1 chip" in texts[0]
    with pytest.raises(ValueError, match=r"environments \[0\] wait for reset"):
        envs.step(["[bet]", "[bet]"])
    _, _, terminations, _, _ = envs.step([1], ["[bet]"])
    assert terminations.tolist() == [True, False]


def test_a_reset_of_some_leaves_the_others_as_they_are():
    envs = make_vec(3, hands=2)
    envs.reset(seed=0)
    envs.step(["[check]"] * 3)
    before = [env.record() for env in envs.envs]
    options = {"reset_mask": np.array([True, False, False]), "instance": [["K", "J", 0], ["K", "J", 1]]}
    envs.reset(seed=[9, None, None], options=options)
    assert "reset_mask" in options  # the caller's dict is left alone
    assert envs.envs[0].episode_seed == 9
    assert envs.envs[0].core.instance == [["K", "J", 0], ["K", "J", 1]]
    assert [env.record() for env in envs.envs][1:] == before[1:]


@pytest.mark.parametrize(
    ("seed", "seeds"),
    [(4, [4, 5, 6]), (np.int64(4), [4, 5, 6]), ([7, 7, 1], [7, 7, 1])],
)
def test_seeds(seed, seeds):
    envs = make_vec(3)
    envs.reset(seed=seed)
    assert [env.episode_seed for env in envs.envs] == seeds
    envs.reset(seed=seed)
    first = envs.reset()[0]
    envs.reset(seed=seed)
    assert envs.reset()[0] == first


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda envs: envs.reset(seed=[1, 2]), "2 seeds for 3 environments"),
        (lambda envs: envs.reset(options={"reset_mask": np.array([True])}), "must be 3 booleans"),
        (lambda envs: envs.reset(options={"reset_mask": np.array([1, 0, 0])}), "must be 3 booleans"),
        (lambda envs: envs.reset(options={"reset_mask": np.zeros(3, bool)}), "at least one of them True"),
        (lambda envs: envs.step(["[bet]"]), "3 environments were to be stepped with 1 replies"),
        (lambda envs: envs.step("[a]"), "were to be stepped with"),
        (lambda envs: envs.step([0, 1], ["[bet]"]), "2 environments were to be stepped with 1 replies"),
        (lambda envs: envs.step([0, 0], ["[bet]", "[bet]"]), "must be different and from 0 to 2"),
        (lambda envs: envs.step([3], ["[bet]"]), "must be different and from 0 to 2"),
        (lambda envs: envs.step([-1], ["[bet]"]), "must be different and from 0 to 2"),
    ],
)
def test_calls_that_make_no_sense_change_nothing(call, message):
    envs = make_vec(3, seat="all")
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        call(envs)
    assert [len(env.record().turns) for env in envs.envs] == [0, 0, 0]


def test_before_the_first_reset():
    envs = make_vec(2)
    assert envs.ready() == ([], [])
    with pytest.raises(ValueError, match="wait for reset"):
        envs.step(["[bet]", "[bet]"])
    with pytest.raises(ValueError, match="the first reset must be of every environment"):
        envs.reset(options={"reset_mask": np.array([True, False])})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"opponent": "nsh"}, "did you mean 'nash'?"),
        ({"seat": 5}, "seat=5"),
        ({"hand": 2}, "did you mean 'hands'?"),
    ],
)
def test_options_are_checked_at_construction(options, message):
    with pytest.raises(ValueError) as caught:
        make_vec(2, **options)
    assert message in str(caught.value)


def test_at_least_one_environment():
    with pytest.raises(ValueError, match="num_envs=0"):
        TextVectorEnv(0, game="KuhnPoker-v0")


def test_gymnasiums_wrappers_take_it():
    envs = DictInfoToList(RecordEpisodeStatistics(make_vec(2, opponent="first")))
    _, infos = envs.reset(seed=0)
    assert infos[1]["legal_moves"] == ["[check]", "[bet]"]
    _, rewards, terminations, _, infos = envs.step(["hm", "hm"])
    _, rewards, terminations, _, infos = envs.step(["hm", "hm"])
    assert rewards.tolist() == [-1.0, -1.0]
    assert terminations.all()
    assert [info["episode"]["r"] for info in infos] == [-1.0, -1.0]


def test_render_and_close(capsys):
    envs = make_vec(2, seat="all", render_mode="ansi")
    texts, _ = envs.reset(seed=0)
    assert envs.render() == tuple(f"[player_0]\n{text}" for text in texts)
    envs.close()
    envs.close()
    envs = make_vec(2, seat="all", render_mode="human")
    texts, _ = envs.reset(seed=0)
    assert capsys.readouterr().out == "".join(f"[player_0]\n{text}\n" for text in texts)
    assert envs.render() is None
