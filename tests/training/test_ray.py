"""Sampling on Ray actors: two on this machine, one of which is killed in mid-game."""

import os
import signal

import pytest

pytest.importorskip("ray")

import ray

from agents.model_agent import ModelAgent
from agents.models.model import Sampling
from agents.models.sync import SyncError
from agents.play import Match, MatchError
from agents.specs import make_agent
from training.config import load_config
from training.ray_pool import Player, RaySampler
from training.sampler import InPlace, make_sampler
from training.tiny import make_model, make_tokenizer
from training.warmup import random_play

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("cluster")]
SEATS = ("player_0", "player_1")
SAMPLING = Sampling(max_tokens=6)


@pytest.fixture(scope="module")
def cluster():
    """Two processors, loopback, little memory."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100 << 20,
        _node_ip_address="127.0.0.1",
        configure_logging=False,
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer([turn.text for turn in random_play("KuhnPoker-v0", {}, 40, seed=0)], 320)


def small_module(tokenizer, seed=0):
    return make_model(tokenizer, hidden_size=32, layers=1, seed=seed)


def config_of(**settings):
    return load_config("kuhn_tiny", {"sampler": "ray", "ray_actors": 2, **settings})


def games(agents, count):
    return [Match("KuhnPoker-v0", seed, agents, {"hands": 2}, tag=seed) for seed in range(count)]


def rows(episodes):
    """What training reads of games, in the order of their schedule; log-probabilities to five digits, as engines round."""
    return [
        (
            episode.match.tag,
            dict(episode.returns),
            [
                (step.seat, step.reply.prompt_ids, step.reply.reply_ids, [round(one, 5) for one in step.reply.logprobs])
                for step in episode.steps
            ],
            {step.reply.policy_version for step in episode.steps},
        )
        for episode in sorted(episodes, key=lambda episode: episode.index)
    ]


def test_actors_play_what_is_played_here_and_a_killed_one_loses_nothing(tokenizer, tmp_path):
    mark = tmp_path / "killed"

    class Mortal(Player):
        """The first that has some games going is killed."""

        def play(self, *arguments):
            model = self.sampler.model
            real, polls = model.poll, []

            def poll():
                polls.append(1)
                if len(polls) == 4 and model.waiting:
                    try:
                        mark.touch(exist_ok=False)
                    except FileExistsError:
                        return real()
                    os.kill(os.getpid(), signal.SIGKILL)
                return real()

            model.poll = poll
            try:
                return super().play(*arguments)
            finally:
                del model.poll

    module = small_module(tokenizer)
    sampler = RaySampler(config_of(), module, tokenizer, tmp_path, Mortal)
    here = InPlace(load_config("kuhn_tiny"), module, tokenizer)
    try:
        processes = ray.get([actor.process.remote() for actor in sampler.actors])
        for version, change in enumerate((0.0, 0.1)):
            for parameter in module.parameters():
                parameter.data.add_(change)
            assert sampler.publish(module, version) < 1e-4
            here.publish(module, version)
            played = [
                list(one.play(games(dict.fromkeys(SEATS, ModelAgent(one.model, sampling=SAMPLING)), 40), concurrency=16))
                for one in (sampler, here)
            ]
            assert rows(played[0]) == rows(played[1])
            assert len(played[0]) == 40
        assert mark.exists()
        again = ray.get([actor.process.remote() for actor in sampler.actors])
        assert len(set(processes) & set(again)) == 1, "one process was replaced"
    finally:
        sampler.close()


def test_actors_play_against_others_and_say_what_failed(tokenizer, tmp_path):
    module, old = small_module(tokenizer), small_module(tokenizer, seed=1)
    old.save_pretrained(tmp_path / "old")
    tokenizer.save_pretrained(tmp_path / "old")
    sampler = make_sampler(config_of(), module, tokenizer, tmp_path)
    here = InPlace(load_config("kuhn_tiny"), module, tokenizer)
    try:
        played = []
        for one in (sampler, here):
            one.publish(module, 3)
            learner = ModelAgent(one.model, sampling=SAMPLING)
            frozen = ModelAgent(one.frozen(tmp_path / "old"), sampling=SAMPLING)
            schedule = games({SEATS[0]: learner, SEATS[1]: frozen}, 6)
            schedule += games({SEATS[0]: learner, SEATS[1]: make_agent("random")}, 6)
            played.append(list(one.play(schedule, concurrency=4)))
        assert rows(played[0]) == rows(played[1])
        learner = ModelAgent(sampler.model, sampling=Sampling(max_tokens=100_000))
        with pytest.raises(
            MatchError, match=r"a match failed \(and 5 more\): KuhnPoker-v0, seed 0, seat player_0 .* context"
        ):
            list(sampler.play(games(dict.fromkeys(SEATS, learner), 6), concurrency=6))
        with pytest.raises(RuntimeError, match="play with the `play` of its sampler"):
            sampler.model.score([[1]], [[2]])
    finally:
        sampler.close()


def test_weights_that_do_not_arrive_stop_the_run(tokenizer, tmp_path):
    class Deaf(Player):
        def _load(self, number, version, sent):
            pass

    module = small_module(tokenizer)
    sampler = RaySampler(config_of(ray_actors=1), module, tokenizer, tmp_path, Deaf)
    try:
        module.lm_head.weight.data.add_(0.3 * module.lm_head.weight.data.flip(0))
        with pytest.raises(SyncError, match="weights were not sent"):
            sampler.publish(module, 1)
    finally:
        sampler.close()
