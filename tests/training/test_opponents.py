"""The pool: who is met, how often, in which seats, and that frozen seats leave no trace but the payoff table."""

import json
from collections import Counter

import pytest

from training.config import load_config
from training.credit import Credit
from training.games import dealt
from training.opponents import LEARNER, SAMPLERS, Member, OpponentPool, PayoffTable
from training.rollout import collect, matches
from training.train import new_run

SETTINGS = {"hidden_size": 32, "layers": 1, "warmup_games": 30, "games_per_step": 24, "group_size": 4, "p_self": 0.5}
SEATS = ("player_0", "player_1")


def run_of(tmp_path, **settings):
    return new_run(load_config("kuhn_tiny", {**SETTINGS, **settings}), tmp_path)


def groups(run, step):
    return dealt(run.config.played, step * run.config.groups_per_step, run.config.groups_per_step)


def table(**scores):
    """The learner's scores in ten games against each."""
    payoffs = PayoffTable()
    for name, score in scores.items():
        for number in range(10):
            payoffs.add(LEARNER, name, "first", float(number < score), float(number < score))
    return payoffs


@pytest.mark.parametrize(
    "sampler, weights",
    [
        ("latest", [0, 0, 1]),
        ("uniform", [1, 1, 1]),
        # (10 + 1) / 12, (4 + 1) / 12, 1/2 for the one never met
        ("pfsp_hard", [(1 / 12) ** 2, (7 / 12) ** 2, 1 / 4]),
        ("pfsp_even", [11 / 144, 35 / 144, 1 / 4]),
    ],
)
def test_samplers_by_hand(sampler, weights):
    assert SAMPLERS[sampler](["a", "b", "new"], table(a=10, b=4)) == pytest.approx(weights)


def beats(payoffs, winner, loser):
    for who, against, paid in ((winner, loser, 1.0), (loser, winner, -1.0)):
        for role in ("first", "second"):
            payoffs.add(who, against, role, paid, float(paid > 0))


def test_meta_strategies_over_a_cycle_and_its_victim():
    """Rock, paper, scissors, and a member that loses to all."""
    names = ["rock", "paper", "scissors", "victim"]
    payoffs = PayoffTable()
    for winner, loser in (("paper", "rock"), ("scissors", "paper"), ("rock", "scissors")):
        beats(payoffs, winner, loser)
        beats(payoffs, winner, "victim")
    for sampler in ("nash", "alpha_rank"):
        assert SAMPLERS[sampler](names, payoffs) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0], abs=1e-4)


def test_payoffs_are_means_over_roles_and_come_back():
    payoffs = PayoffTable()
    for paid in (1.0, 3.0, 2.0):
        payoffs.add("a", "b", "first", paid, 1.0)
    payoffs.add("a", "b", "second", -4.0, 0.0)
    assert payoffs.games("a", "b") == 4
    assert payoffs.return_("a", "b") == (2 - 4) / 2
    assert payoffs.score("a", "b") == pytest.approx((3 + 1) / (4 + 2))
    payoffs.fade("a", 0.5)
    assert payoffs.games("a", "b") == 2
    assert payoffs.return_("a", "b") == -1
    again = PayoffTable()
    again.load_state_dict(json.loads(json.dumps(payoffs.state_dict())))
    assert again.matrix(["a", "b"]).tolist() == [[0, -1], [0, 0]]


def test_every_role_gets_the_same_games_against_the_same_members(tmp_path):
    run = run_of(tmp_path, pool="random,honest,nash", games_per_step=88)
    played = [match for step in range(6) for match in matches(run.config, step, run.agents, run.pool)]
    counts = Counter()
    for match in played:
        learners = [seat for seat, agent in match.agents.items() if agent is run.agent]
        assert match.tag.learners == set(learners)
        if match.tag.pairing:
            (seat,) = learners
            counts[match.tag.pairing.member.name, seat] += 1
            other = next(agent for agent in match.agents.values() if agent is not run.agent)
            assert other is run.pool.agent(match.tag.pairing.member, *run.config.played)
        else:
            assert learners == list(SEATS)
    for name in ("random", "honest", "nash"):
        assert counts[name, "player_0"] == counts[name, "player_1"] > 0
    assert sum(counts.values()) == 6 * 11 * 4, "half of 22 groups a step"
    assert played[0].tag != played[-1].tag


def test_no_pool_and_an_empty_one_are_self_play(tmp_path):
    for settings in ({"p_self": 1.0}, {"p_self": 0.5}):
        run = run_of(tmp_path, **settings)
        assert run.pool.pairings(3, groups(run, 3)) == {}
        assert all(match.tag.opponent == "self" for match in matches(run.config, 3, run.agents, run.pool))


def test_frozen_seats_give_no_rows_no_logprobs_and_no_baseline(tmp_path):
    run = run_of(tmp_path, exploit="nash", p_self=0.8, baseline="role_ema", forfeits="keep", drop_zero_advantage=False)
    played = collect(run.config, 0, run.agents, run.pool)
    assert len(played) == 24, "one trajectory a game"
    assert Counter(trajectory.outcome.role for trajectory in played) == {"first": 12, "second": 12}
    assert {trajectory.outcome.opponent for trajectory in played} == {"fixed:nash"}
    credit = Credit(run.config)
    rows = credit.rows(played).rows
    assert len(rows) == sum(len(trajectory.steps) for trajectory in played)
    assert all(row.logprobs for row in rows), "every row was sampled by the learner"
    assert {cell[2] for cell, *_ in _cells(credit)} == {"fixed:nash"}
    assert run.pool.payoffs["KuhnPoker-v0"].games(LEARNER, "nash") == pytest.approx(24 * 0.98)
    assert not run.pool.payoffs["KuhnPoker-v0"].games("nash", LEARNER)


def _cells(credit):
    return [(tuple(entry[:3]), entry[3]) for entry in credit.outcome.state_dict()["cells"]]


def test_exploiter_meets_its_target_alone_and_reports_what_it_wins(tmp_path):
    run = run_of(tmp_path, exploit="random", p_self=0.8)
    assert run.pool.weights(*run.config.played) == {"random": 1.0}
    assert run.config.share_of_self == 0
    collect(run.config, 0, run.agents, run.pool)
    assert run.pool.metrics()["exploit"] == run.pool.payoffs["KuhnPoker-v0"].return_(LEARNER, "random") != 0


def test_snapshots_play_as_the_learner_did(tmp_path):
    run = run_of(tmp_path)
    run.pool.add_snapshot(50, lambda folder: _save(run, folder))
    run.pool.add_snapshot(100, lambda folder: _save(run, folder))
    assert [member.name for member in run.pool.members] == ["step_000050", "step_000100"]
    prompt = run.agent.chat.prompt_ids("Your card: K.")
    reply = run.agent.chat.reply_ids("[bet]")
    frozen = run.pool.agent(run.pool.members[0], *run.config.played)
    assert frozen.model.score([prompt], [reply]) == run.agent.model.score([prompt], [reply])
    played = collect(run.config, 0, run.agents, run.pool)
    assert {trajectory.outcome.opponent for trajectory in played} == {"self", "snapshot"}
    run.pool.add_snapshot(100, lambda folder: _save(run, folder))
    assert len(run.pool.members) == 2, "a resumed run writes its last snapshot again"


def _save(run, folder):
    run.learner.model.save_pretrained(folder)
    run.agent.model.tokenizer.save_pretrained(folder)


def test_only_the_last_snapshots_are_met(tmp_path):
    pool = run_of(tmp_path, pool="random", pool_last=2).pool
    pool.members += [Member(f"step_{step:06d}") for step in (1, 2, 3)]
    assert list(pool.weights(*pool.config.played)) == ["random", "step_000002", "step_000003"]


def test_meta_strategy_plays_out_what_it_does_not_know(tmp_path):
    """Members meet in both roles; against Nash nobody wins, and the uniform player loses to both others."""
    run = run_of(tmp_path, pool="random,honest,nash", pool_sampler="nash", payoff_games=200)
    run.pool.settle(0)
    payoffs = run.pool.payoffs["KuhnPoker-v0"]
    assert payoffs.games("random", "nash") == payoffs.games("nash", "random") == 400
    assert payoffs.return_("random", "nash") == pytest.approx(-payoffs.return_("nash", "random"))
    # Exact: honest wins 1/12 in the first seat and 1/6 in the second against uniform play.
    assert payoffs.return_("honest", "random") == pytest.approx(1 / 8, abs=0.25)
    weights = run.pool.weights(*run.config.played)
    assert sum(weights.values()) == pytest.approx(1)
    before = payoffs.state_dict()
    run.pool.settle(1)
    assert payoffs.state_dict() == before, "what is known is not played again"
    again = OpponentPool(run.config, tmp_path, run.pool.sampling, run.sampler)
    again.load_state_dict(json.loads(json.dumps(run.pool.state_dict())))
    assert again.weights(*run.config.played) == weights


def test_a_round_has_the_member_that_was_drawn_when_it_began(tmp_path):
    """Also while the pool grows, and after the run was cut off in the middle of a round."""
    run = run_of(tmp_path, pool="random", games_per_step=12)  # of 3 groups a step 1.5 meet others: rounds end within steps
    met = {}
    for step in range(40):
        run.pool.members.append(Member(f"step_{step:06d}"))
        if step % 3 == 0:  # taken up from a checkpoint
            state = json.loads(json.dumps(run.pool.state_dict()))
            run.pool = OpponentPool(run.config, tmp_path, run.pool.sampling, run.sampler)
            run.pool.load_state_dict(state)
        run.pool.settle(step)
        for pairing in run.pool.pairings(step, groups(run, step)).values():
            met.setdefault(pairing.role, []).append(pairing.member.name)
    assert len(met["first"]) == len(met["second"]) == 30
    assert met["first"] == met["second"]
    assert len(set(met["first"])) > 10
    assert sum(map(len, run.pool.state_dict()["met"].values())) <= 2, "rounds that are over are forgotten"


def test_ahead_of_training_pairings_are_those_that_were_settled(tmp_path):
    """Of steps that are begun before the next weights come, whatever is learnt in between."""
    run = run_of(
        tmp_path, pool="random,honest,nash", sampler="copy", mode="stream", max_staleness=2, pool_sampler="pfsp_hard"
    )
    run.pool.settle(0)
    before = [run.pool.pairings(step, groups(run, step)) for step in (0, 1, 2)]
    for name, won in (("random", True), ("honest", False), ("nash", True)):
        for _ in range(50):
            run.pool.payoffs["KuhnPoker-v0"].add(LEARNER, name, "first", float(won), float(won))
    assert [run.pool.pairings(step, groups(run, step)) for step in (0, 1, 2)] == before


def test_each_process_plays_its_share_of_the_payoff_games(tmp_path):
    settings = {"pool": "random,honest,nash", "pool_sampler": "nash", "payoff_games": 5}
    alone = run_of(tmp_path, **settings)
    alone.pool.settle(0)
    gathered, played = [], []
    for rank in (0, 1, 0, 1):  # first to see what each gives, then with what both gave
        run = run_of(tmp_path, **settings)
        run.sampler.world = Gathering(rank, gathered)
        play = run.sampler.play
        run.sampler.play = lambda matches, play=play, **how: play(played.append(len(list(matches))) or matches, **how)
        run.pool.settle(0)
    assert played == [5] * 12, "of three pairs' ten games each"
    assert run.pool.state_dict() == alone.pool.state_dict()


class Gathering:
    """A world of two, one of which is here: what the first two give is what the others get."""

    size = 2

    def __init__(self, rank, given):
        self.rank = rank
        self._given = given

    def all_gather_objects(self, value):
        if isinstance(value, tuple):  # no games
            return [value]
        if len(self._given) < 2:
            self._given.append(value)
        return self._given if len(self._given) == 2 else [value, [[] for _ in value]]
