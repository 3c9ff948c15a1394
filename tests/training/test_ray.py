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
from training.checkpoint import load_latest, read_metrics
from training.config import load_config
from training.ray_pool import Player, RaySampler
from training.sampler import InPlace
from training.tiny import make_model, make_tokenizer
from training.train import train
from training.warmup import random_play

pytestmark = pytest.mark.slow
SMALL = {
    "hidden_size": 32,
    "layers": 1,
    "warmup_steps": 6,
    "warmup_games": 30,
    "games_per_step": 16,
    "group_size": 4,
    "steps": 2,
    "eval_every": 0,
    "save_every": 2,
    "play_every": 0,
}
SEATS = ("player_0", "player_1")
SAMPLING = Sampling(max_tokens=6)


class Quiet:
    """A display that shows nothing."""

    def warm_up(self, *_):
        pass

    def step(self, *_):
        pass


@pytest.fixture(scope="module")
def cluster():
    """Room for two actors and one more; loopback, little memory."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Else the tests beside these leave the actors next to nothing of the machine.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  # Ray's own spelling
    for left in (2, 1, 0):
        try:
            ray.init(
                num_cpus=3,
                include_dashboard=False,
                log_to_driver=False,
                object_store_memory=100 << 20,
                _node_ip_address="127.0.0.1",
                configure_logging=False,
            )
            break
        except Exception as error:  # Ray gives a machine that is busy half a minute, which cannot be changed
            ray.shutdown()
            if "timed out during startup" not in str(error) or not left:
                raise
    yield True
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
    """What training reads of games, in the order of their schedule, and the log-probabilities, which engines round."""
    episodes = sorted(episodes, key=lambda episode: episode.index)
    exact = [
        (
            episode.match.tag,
            dict(episode.returns),
            [(step.seat, step.reply.prompt_ids, step.reply.reply_ids, step.reply.policy_version) for step in episode.steps],
        )
        for episode in episodes
    ]
    return exact, [logprob for episode in episodes for step in episode.steps for logprob in step.reply.logprobs]


def assert_same(one, other):
    (exact, logprobs), (expected, expected_logprobs) = rows(one), rows(other)
    assert exact == expected
    assert logprobs == pytest.approx(expected_logprobs, abs=1e-4)


@pytest.fixture(scope="module")
def marks(tmp_path_factory):
    """A folder in which a file tells the actors what to suffer."""
    return tmp_path_factory.mktemp("marks")


@pytest.fixture(scope="module")
def module(tokenizer):
    return small_module(tokenizer)


@pytest.fixture(scope="module")
def sampler(cluster, module, tokenizer, marks, tmp_path_factory):
    class Mortal(Player):
        """With the mark "kill", the first that has some games going is killed; with "deaf", new weights are not taken."""

        def play(self, *arguments):
            model = self.sampler.model
            real, polls = model.poll, []

            def poll():
                polls.append(1)
                if len(polls) == 4 and model.waiting:
                    try:
                        (marks / "kill").unlink()
                    except FileNotFoundError:
                        return real()
                    os.kill(os.getpid(), signal.SIGKILL)
                return real()

            model.poll = poll
            try:
                return super().play(*arguments)
            finally:
                del model.poll

        def _load(self, *sent):
            if not (marks / "deaf").exists():
                super()._load(*sent)

    assert cluster
    made = RaySampler(config_of(), module, tokenizer, tmp_path_factory.mktemp("run"), Mortal)
    yield made
    made.close()


def test_actors_play_what_is_played_here_and_a_killed_one_loses_nothing(sampler, module, tokenizer, marks):
    here = InPlace(load_config("kuhn_tiny"), module, tokenizer)
    processes = ray.get([actor.process.remote() for actor in sampler.actors])
    for version, change in enumerate((0.0, 0.1)):
        for parameter in module.parameters():
            parameter.data.add_(change)
        assert sampler.publish(module, version) < 1e-4
        here.publish(module, version)
        if version == 1:
            (marks / "kill").touch()
        played = [
            list(one.play(games(dict.fromkeys(SEATS, ModelAgent(one.model, sampling=SAMPLING)), 40), concurrency=16))
            for one in (sampler, here)
        ]
        assert len(played[0]) == 40
        assert_same(*played)
    assert not (marks / "kill").exists()
    again = ray.get([actor.process.remote() for actor in sampler.actors])
    assert len(set(processes) & set(again)) == 1, "one process was replaced"


def test_actors_play_against_others_and_say_what_failed(sampler, module, tokenizer, tmp_path):
    small_module(tokenizer, seed=1).save_pretrained(tmp_path / "old")
    tokenizer.save_pretrained(tmp_path / "old")
    here = InPlace(load_config("kuhn_tiny"), module, tokenizer)
    played = []
    for one in (sampler, here):
        one.publish(module, 3)
        learner = ModelAgent(one.model, sampling=SAMPLING)
        frozen = ModelAgent(one.frozen(tmp_path / "old"), sampling=SAMPLING)
        schedule = games({SEATS[0]: learner, SEATS[1]: frozen}, 6)
        schedule += games({SEATS[0]: learner, SEATS[1]: one.player("random")}, 6)
        played.append(list(one.play(schedule, concurrency=4)))
    assert_same(*played)
    learner = ModelAgent(sampler.model, sampling=Sampling(max_tokens=100_000))
    with pytest.raises(MatchError, match=r"a match failed \(and 5 more\): KuhnPoker-v0, seed .*, seat player_0 .* context"):
        list(sampler.play(games(dict.fromkeys(SEATS, learner), 6), concurrency=6))
    with pytest.raises(RuntimeError, match="score with the module in training"):
        sampler.model.score([[1]], [[2]])


def test_weights_that_do_not_arrive_stop_the_run(sampler, module, marks):
    (marks / "deaf").touch()
    module.lm_head.weight.data.add_(0.3 * module.lm_head.weight.data.flip(0))
    sampler._published = 0
    with pytest.raises(SyncError, match="weights were not sent"):
        sampler.publish(module, 4)
    (marks / "deaf").unlink()


def test_more_actors_than_the_cluster_has_room_for_are_refused(cluster, tokenizer, tmp_path):
    assert cluster
    with pytest.raises(ValueError, match="ray_actors=4 take 4 processors, and the Ray cluster has 3"):
        RaySampler(config_of(ray_actors=4), small_module(tokenizer), tokenizer, tmp_path)


def test_a_run_on_ray_is_the_run_without(cluster, tmp_path):
    assert cluster
    lines = []
    for number, on_ray in enumerate(({"sampler": "ray", "ray_actors": 1}, {})):
        config = load_config("kuhn_tiny", {**SMALL, **on_ray})
        train(config, tmp_path / str(number), Quiet())
        lines.append(read_metrics(tmp_path / str(number) / "metrics.jsonl")[1:])
    for one, other in zip(*lines, strict=True):
        for name in ("loss", "grad_norm", "entropy", "reply_tokens"):
            assert one[name] == pytest.approx(other[name], rel=1e-3)


@pytest.mark.parametrize("mode", ["one_step", "stream"])
def test_a_run_on_ray_plays_ahead(cluster, tmp_path, mode):
    """New weights reach the actor between its games, no reply is staler than the cap, and no game is lost or learnt from twice."""
    assert cluster
    settings = {
        "sampler": "ray",
        "ray_actors": 1,
        "steps": 4,
        "mode": mode,
        "carry_over": mode == "stream",
        "concurrency": 8,
    }
    assert train(load_config("kuhn_tiny", {**SMALL, **settings}), tmp_path, Quiet())["step"] == 4
    lines = read_metrics(tmp_path / "metrics.jsonl")[1:]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert max(line["staleness"]["max"] for line in lines) == 1
    learnt = load_latest(tmp_path)[1]["learnt"]
    assert sum(line["games"] for line in lines) == 16 * learnt["first"] + 4 * len(learnt["later"]) >= 64
