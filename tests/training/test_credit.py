"""Which reply gets which advantage, and how much each row weighs; steps are made by hand."""

from dataclasses import replace

import pytest

from agents.agent import Reply
from agents.play import Step, play
from lmgames.records import Turn
from lmgames.registry import GAMES
from training.advantages import Outcome
from training.config import Config, load_config
from training.credit import WEIGHTS, Credit, Origin, turn_returns
from training.rollout import Trajectory
from training.samples import Row

GAME = "lmgames/G-v0"


def step(status="ok", reward=0.0, finish="stop", tokens=2):
    reply = Reply("", (1, 2), tuple(range(3, 3 + tokens)), (-0.5,) * tokens, finish)
    return Step(None, reply, Turn("seat", "", status), reward)


def trajectory(role, episode, return_, *steps, forfeited_by=(), opponent="self", seat=None):
    outcome = Outcome(GAME, role, opponent, 0, episode, return_)
    by_rules = not forfeited_by
    return Trajectory(outcome, seat or role, steps or (step(),), by_rules, frozenset(forfeited_by))


def credit(**settings):
    return Credit(load_config(None, {"games": "KuhnPoker-v0", "p_self": 1.0, "advantage_clip": 0.0, **settings}))


def advantages(trajs, **settings):
    return [row.advantage for row in credit(**settings).rows(trajs).rows]


def test_a_turn_gets_its_trajectorys_advantage_discounted_by_own_turns():
    trajs = [trajectory("a", 0, 4.0, step(), step(), step())]
    assert advantages(trajs, baseline="none") == [4, 4, 4]
    assert advantages(trajs, baseline="none", turn_discount=0.5) == [1, 2, 4]


def test_turn_returns_are_what_is_still_to_come():
    steps = [step(reward=1.0), step("refused", reward=0.0), step(reward=2.0), step(reward=4.0)]
    assert turn_returns(steps, 1.0) == [7, 6, 6, 4]
    assert turn_returns(steps, 0.5) == [1 + 0.5 * (2 + 0.5 * 4), 4, 4, 4]  # the refused attempt is no turn in between


def test_turns_are_compared_turn_by_turn():
    """Two games of two turns: paid (1, 2) and (3, 0). Without the own game the usual is the other's."""
    trajs = [
        trajectory("a", 0, 3.0, step(reward=1.0), step(reward=2.0)),
        trajectory("a", 1, 3.0, step(reward=3.0), step(reward=0.0)),
    ]
    settings = {"baseline": "role_loo", "drop_zero_advantage": False}
    assert advantages(trajs, credit="turn", **settings) == [0, 2, 0, -2]
    assert advantages(trajs, credit="turn", turn_buckets=1, **settings) == [3 - 1.5, 2 - 1.5, 3 - 2.5, 0 - 2.5]
    assert advantages(trajs, credit="trajectory", **settings) == [0, 0, 0, 0]


def test_turns_are_compared_at_their_positions():
    """Two games on one deal that come to the same position by different ways; one wins from there, one loses."""
    trajs = [
        replace(trajectory("a", 0, 1.0, step(), step(reward=1.0)), positions=("start", "p")),
        replace(trajectory("a", 1, -1.0, step(), step(), step(reward=-1.0)), positions=("start", "q", "p")),
    ]
    settings = {"baseline": "position", "credit": "turn", "baseline_kappa": 1.0}
    # Others at the position and on the deal, one each: of weight 1 and 1. Nobody else has been at "q"; on the deal, game 0 has
    # a second turn, which won. Game 1's third turn has no third turn on the deal to be compared with: the position's alone.
    assert advantages(trajs, **settings) == [1 + 1, 1 + 1, -1 - 1, -1 - 1, -1 - 1]


def test_who_drives_the_gradient():
    """|advantage| times tokens: 2 * (2 + 4) against 1 * 2, after the cut; the largest is told as it was before."""
    trajs = [trajectory("a", 0, 3.0, step(tokens=2), step(tokens=4)), trajectory("b", 0, -1.0, step(tokens=2))]
    found = credit(baseline="none", advantage_clip=2.0).rows(trajs).metrics
    assert found["pull"] == {"a": 12 / 14, "b": 2 / 14}
    assert found["advantage_max"] == 3.0
    weighed = credit(baseline="none", row_weights="row").rows(trajs).metrics
    assert weighed["pull"] == {"a": 6 / 7, "b": 1 / 7}, "two rows of 3 against one of 1"
    assert credit(baseline="none").rows([trajectory("a", 0, 0.0)]).metrics["pull"] == {}


@pytest.mark.parametrize("game", sorted(GAMES))
def test_turn_rewards_add_up_to_the_return(game):
    paid = 0
    for episode in play(game, "random", episodes=12):
        for seat, return_ in episode.returns.items():
            steps = episode.steps_of(seat)
            if steps:
                assert turn_returns(steps, 1.0)[0] == pytest.approx(return_)
                paid += return_ != 0
    assert paid, "random play is paid nothing: tells nothing"


def test_the_ejected_are_paid_with_their_team():
    """Civilians that were ejected, and reply no more, win or lose with theirs: on their last reply, and all of it."""
    options = {"mode": "elimination", "scheme": "win", "players": 5, "voters": "all", "tie": "random", "clue_rounds": 1}
    late = 0
    for episode in play("WhoIsTheSpy-v0", "random", episodes=12, options=options):
        last_of = {step.seat: number for number, step in enumerate(episode.steps)}
        for seat, last in last_of.items():
            steps = episode.steps_of(seat)
            assert [step.reward for step in steps] == [0.0] * (len(steps) - 1) + [episode.returns[seat]]
            assert turn_returns(steps, 0.5)[0] == pytest.approx(episode.returns[seat] * 0.5 ** (len(steps) - 1))
            late += last < max(last_of.values()) - len(last_of) and episode.returns[seat] != 0
    assert late, "nobody was ejected before the last round"


REFUSED = [
    trajectory("a", 0, 1.0, step(), step("refused"), step()),
    trajectory("a", 1, -1.0, step(), step()),
    trajectory("a", 2, -3.0, step(), step("forfeit"), forfeited_by={"a"}),
    trajectory("b", 2, 3.0, step(), forfeited_by={"a"}),
]


def test_a_refused_reply_gets_the_penalty_alone_and_forfeited_games_teach_nothing_else():
    """Usual return of "a" without the own game: -1 and 1; the forfeited game is in no baseline."""
    made = credit(baseline="role_loo", invalid_penalty=0.5)
    found = made.rows(REFUSED)
    assert [row.advantage for row in found.rows] == [2, -0.5, 2, -2, -2, -0.5]
    assert set(found.metrics["cells"]) == {"G-v0/a/self"}
    assert found.metrics["cells"]["G-v0/a/self"]["games"] == 2


def test_forfeited_games_can_be_kept():
    """Means of the others: a: -2, -1, 0; the only "b" has none."""
    found = advantages(REFUSED, baseline="role_loo", forfeits="keep", drop_zero_advantage=False)
    assert found == [3, -1, 3, 0, 0, -3, -1, 3]


def test_the_penalty_has_a_baseline_of_its_own():
    """Two of the seven replies of "a" are refused, the one of "b" is not: a refused reply is worth 5/7 less than usual."""
    found = advantages(REFUSED, baseline="none", invalid_baseline="role_batch", invalid_penalty=7.0)
    usual = -2 * 7 / 7
    assert found[:5] == pytest.approx([1 - usual, -7 - usual, 1 - usual, -1 - usual, -1 - usual])
    assert found[5:] == pytest.approx([-usual, -7 - usual]), "of the forfeited game only the penalty's channel counts"


@pytest.mark.parametrize("truncated, expected", [("keep", [1, 1]), ("mask", [1]), ("penalise", [1, -1.0])])
def test_replies_that_were_cut_off(truncated, expected):
    trajs = [trajectory("a", 0, 1.0, step(), step(finish="length"))]
    assert advantages(trajs, baseline="none", truncated=truncated) == expected


def test_running_scale_divides_all_roles_alike():
    trajs = [
        trajectory(role, episode, sign * value)
        for episode, value in enumerate([20.0, -20.0])
        for role, sign in (("a", 1), ("b", -1))
    ]
    deviation = (2 * 20.0**2) ** 0.5
    assert advantages(trajs, baseline="none", scale="running") == pytest.approx(
        [20 / deviation, -20 / deviation, -20 / deviation, 20 / deviation]
    )


def test_clip_of_advantages_is_logged():
    made = credit(baseline="none", advantage_clip=5.0)
    found = made.rows([trajectory("a", 0, 9.0), trajectory("a", 1, -9.0), trajectory("a", 2, 3.0), trajectory("a", 3, 5.0)])
    assert [row.advantage for row in found.rows] == [5, -5, 3, 5]
    assert found.metrics["advantages_cut"] == 0.5


def test_dropped_rows_count_in_the_divisor():
    trajs = [trajectory("a", 0, 0.0), trajectory("a", 1, 1e-9), trajectory("a", 2, 1.0)]
    made = credit(baseline="none", max_reply_tokens=10).rows(trajs)
    assert (len(made.rows), made.norm_tokens) == (1, 30)
    assert made.metrics["rows_dropped"] == pytest.approx(2 / 3)
    assert made.metrics["cells"]["G-v0/a/self"]["zero_advantage"] == pytest.approx(2 / 3)
    for keeps in ({"kl_weight": 0.1}, {"entropy_weight": 0.1}, {"entropy_target": 0.1}, {"drop_zero_advantage": False}):
        assert len(credit(baseline="none", **keeps).rows(trajs).rows) == 3, keeps


def test_the_ema_may_be_without_bias():
    trajs = [trajectory("a", 0, 4.0), trajectory("a", 1, 4.0)]
    assert advantages(trajs, baseline="role_ema") == pytest.approx([4, 4 - 0.05 * 4])
    assert advantages(trajs, baseline="role_ema", ema_baseline_debias=True) == pytest.approx([4])  # the second has 0


def test_refused_replies_of_one_game_are_not_each_others_ema():
    made = advantages([trajectory("a", 0, 0.0, *[step("refused")] * 3)], baseline="none", invalid_baseline="role_ema")
    assert made == [-1, -1, -1]


def test_rows_are_drawn_among_those_that_teach():
    trajs = [trajectory("a", episode, float(episode % 4)) for episode in range(40)]
    made = credit(baseline="none", rows_per_step=10, max_reply_tokens=10)
    found = made.rows(trajs, step=1)
    assert len(found.rows) == 10
    assert found.norm_tokens == 100
    assert all(row.advantage for row in found.rows)
    assert found.rows == made.rows(trajs, step=1).rows
    assert found.rows != made.rows(trajs, step=2).rows


ROWS = [Row((1,), (2,) * tokens, (0.0,) * tokens) for tokens in (1, 2, 3, 4)]
ORIGINS = [Origin("g", "a", 0, "s0"), Origin("g", "a", 0, "s0"), Origin("g", "a", 1, "s0"), Origin("g", "b", 0, "s1")]


@pytest.mark.parametrize(
    "name, weights, norm",
    [
        ("token", [1, 1, 1, 1], 10),
        ("row", [1, 1 / 2, 1 / 3, 1 / 4], 4),
        ("const", [1, 1, 1, 1], 4 * 8),
        ("game", [1 / 2, 1 / 2, 1, 1], 3 * 8),  # three trajectories
        ("role", [4 / (2 * 3)] * 3 + [4 / (2 * 1)], 4 * 8),  # each role weighs 2 in all
    ],
)
def test_row_weights_by_hand(name, weights, norm):
    assert WEIGHTS[name](ROWS, ORIGINS, [8] * len(ROWS)) == (pytest.approx(weights), norm)


def test_preset_spiral_by_hand():
    """b = 0 at first, read before it is updated, 0.95: first 0, 0.05 -> 0.0725; second 0, -0.05 -> -0.1225."""
    config = load_config(None, {"preset": "spiral"})
    made = Credit(config)
    found = made.rows(
        [
            trajectory("first", 0, 0.0, step(), step()),  # advantage exactly 0: left out
            trajectory("second", 0, 0.0),
            trajectory("first", 1, 1.0, step(), step()),
            trajectory("second", 1, -1.0),
            trajectory("first", 2, 2.0, step(), forfeited_by={"second"}),
            trajectory("second", 2, -2.0, step(), step("forfeit"), forfeited_by={"second"}),
            trajectory("first", 3, 0.0),
            trajectory("second", 3, 0.0),
        ]
    )
    expected = [1, 1, -1, 0.5 - 0.05, -1.5 + 0.05, -1.5 + 0.05, -0.0725, 0.1225]
    assert [row.advantage for row in found.rows] == pytest.approx(expected)
    assert found.norm_tokens == 8 * 4096
    assert {row.weight for row in found.rows} == {1.0}
    pinned = {
        "epochs": 2, "minibatches": 1, "clip_low": 0.2, "clip_high": 0.2, "loss": "ppo", "dual_clip": 0.0, "lr": 1e-6,
        "lr_end": 1.0,
        "beta1": 0.9, "beta2": 0.95, "weight_decay": 0.0, "grad_clip": 1.0, "kl_weight": 0.0, "entropy_weight": 0.0,
        "rows_per_step": 128, "group_size": 1, "ema_baseline_decay": 0.95, "importance": "none", "row_reject": 0.0,
        "temperature": 1.0,
        "turn_discount": 1.0, "max_reply_tokens": 4096, "p_self": 1.0, "games": {"KuhnPoker-v0": {"invalid_policy": "forfeit"}},
    }  # fmt: skip
    assert {name: getattr(config, name) for name in pinned} == pinned


def test_preset_rcgrpo_by_hand():
    """Shrink with kappa 8: the first step has no past and compares with the other games alone."""
    config = load_config(None, {"preset": "rcgrpo"})
    made = Credit(config)
    first = made.rows([trajectory("a", 0, 3.0), trajectory("a", 1, -1.0), trajectory("a", 2, 1.0), trajectory("a", 3, 9.0)])
    assert [row.advantage for row in first.rows] == pytest.approx([-5, 1 - 11 / 3, 5])  # 3 - 3 dropped; 9 - 1, -1 - 13/3 cut
    assert first.metrics["advantages_cut"] == 2 / 4
    ema = 0.05 * (0.95**3 * 3 + 0.95**2 * -1 + 0.95 * 1 + 9) / (1 - 0.95**4)
    second = made.rows([trajectory("a", 4, 2.0), trajectory("a", 5, 0.0)])
    weight = 1 / (1 + 8)
    assert [row.advantage for row in second.rows] == pytest.approx(
        [2 - (weight * 0 + (1 - weight) * ema), 0 - (weight * 2 + (1 - weight) * ema)]
    )
    assert second.norm_tokens == 2 * config.max_reply_tokens
    pinned = {
        "baseline": "shrink", "baseline_kappa": 8.0, "ema_baseline_decay": 0.95, "scale": "none", "advantage_clip": 5.0,
        "clip_low": 0.2, "clip_high": 0.28, "epochs": 1, "row_weights": "const", "importance": "tis", "importance_cap": 2.0,
        "row_reject": 2.0, "kl_weight": 0.0, "temperature": 1.0, "games_per_step": 256, "p_self": 0.8, "drop_zero_advantage": True,
        "forfeits": "mask", "invalid_baseline": "none",
    }  # fmt: skip
    assert {name: getattr(config, name) for name in pinned} == pinned
    assert config == Config()


def test_channels_and_scale_come_back():
    settings = {"baseline": "shrink", "invalid_baseline": "role_ema", "scale": "running"}
    one, other = credit(**settings), credit(**settings)
    one.rows(REFUSED)
    other.load_state_dict(one.state_dict())
    assert one.rows(REFUSED) == other.rows(REFUSED)


def test_no_trajectories_no_rows():
    assert credit().rows([]).rows == []
