"""The single-seat view: Gymnasium's checker, seats, opponents, rewards."""

import copy
import pickle
import warnings
from types import SimpleNamespace

import gymnasium
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

import lmgames
from lmgames import Chance, players
from lmgames.observation import Observation
from lmgames.single import MAX_REDEALS

KUHN = "lmgames/KuhnPoker-v0"


class Says:
    """Gives the replies one after the other, the last one again and again; keeps what it was asked."""

    def __init__(self, *replies):
        self.replies = list(replies)
        self.asked: list[Observation] = []

    def act(self, observations):
        self.asked += observations
        return [self.replies.pop(0) if len(self.replies) > 1 else self.replies[0] for _ in observations]


class FoldsSometimes:
    """Plays by its seed, and in about half of the deals gives no legal reply at all."""

    def act(self, observations):
        return [self.reply(observation) for observation in observations]

    def reply(self, observation):
        card = observation.text.split("Your card: ")[1][0]
        return "no move" if card == "J" else Chance(observation.seed).choice(observation.legal_moves, "reply")


def make(opponent="random", seat=0, game=KUHN, **options):
    return gymnasium.make(game, opponent=opponent, seat=seat, **options).unwrapped


def deal(env, *hands, **options):
    """Resets to these hands, e.g. "KJ0": player_0 K, player_1 J, player_0 opens."""
    instance = [[hand[0], hand[1], int(hand[2])] for hand in hands]
    return env.reset(seed=1, options={"instance": instance, **options})


def play_out(env, text_info, choose=0):
    """Plays the listed move of this index to the end; gives the rewards."""
    _, info = text_info
    rewards, over = [], False
    while not over:
        moves = info["action_mask"]
        _, reward, terminated, truncated, info = env.step(moves[choose % len(moves)])
        rewards.append(reward)
        over = terminated or truncated
    return rewards


# Gymnasium's own checks.


@pytest.mark.parametrize("name", list(lmgames.GAMES))
def test_gymnasiums_checker_has_nothing_to_say(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(f"lmgames/{name}").unwrapped)


@pytest.mark.parametrize("options", [{"seat": 1}, {"seat": "random", "opponent": "first"}, {"seat": "all"}, {"hands": 3}])
def test_gymnasiums_checker_with_other_options(options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(KUHN, **options).unwrapped)


@pytest.mark.parametrize("name", list(lmgames.GAMES))
@pytest.mark.parametrize("seat", [0, -1, "random", "all"])
def test_every_game_can_be_played_from_its_seats(name, seat):
    game = lmgames.make_game(name)
    env = gymnasium.make(f"lmgames/{name}", seat=len(game.seats) - 1 if seat == -1 else seat)
    for seed in range(3):
        play_out(env, env.reset(seed=seed))
        assert lmgames.replay(env.unwrapped.record())


def test_specs_are_json_and_make_the_same_environment_again():
    env = gymnasium.make(KUHN, opponent="nash:alpha=0.2", seat="player_1", hands=3, legal_hint="none")
    again = gymnasium.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.unwrapped.opponents.anyone.spec == "nash:alpha=0.2"
    assert env.reset(seed=3) == again.reset(seed=3)
    assert play_out(env, env.reset(seed=4)) == play_out(again, again.reset(seed=4))


def test_gymnasiums_own_vector_env_takes_it():
    envs = gymnasium.make_vec(KUHN, num_envs=3, vectorization_mode="sync", opponent="first")
    texts, _ = envs.reset(seed=0)
    assert len(texts) == 3
    assert all(text in envs.single_observation_space for text in texts)
    envs.step(["[check]"] * 3)


# Rewards, by hand.


def test_a_hand_with_the_better_card():
    opponent = Says("[call]")
    env = make(opponent)
    text, info = deal(env, "KJ0")
    assert text.endswith("Your card: K.\nPot: 2 chips.\nYour turn. Legal moves: [check] [bet]")
    assert info == {
        "legal_moves": ["[check]", "[bet]"],
        "action_mask": ["[check]", "[bet]"],
        "role": "first",
        "turn": 0,
        "invalid_count": 0,
        "seat": "player_0",
    }
    text, reward, terminated, truncated, info = env.step("[bet]")
    assert (reward, terminated, truncated) == (2.0, True, False)
    assert text.endswith("player_1> [call]\nCards: player_0 K, player_1 J. player_0 wins 2 chips.")
    assert info == {
        "role": "first",
        "facts": {"chips": {"player_0": 2, "player_1": -2}, "hands": 1},
        "outcome": "rules",
        "invalid_count": 0,
        "seat": "player_0",
        "returns": {"player_0": 2.0, "player_1": -2.0},
    }
    assert [observation.seat for observation in opponent.asked] == ["player_1"]
    assert "Your card: J" in opponent.asked[0].text


def test_rewards_are_all_that_was_paid_since_the_last_reply():
    env = make(Says("[bet]", "[fold]", "[bet]", "[call]"), hands=3)
    deal(env, "JK1", "JQ0", "KQ1")
    steps = [env.step(reply)[1:4] for reply in ("[fold]", "[bet]", "[call]")]
    # Folds in hand 1; bets in hand 2, where the other folds and then bets in hand 3; calls with the king.
    assert steps == [(-1.0, False, False), (1.0, False, False), (2.0, True, False)]


def test_what_is_paid_before_the_first_reply_comes_with_the_first_reward():
    # The opponent opens and forfeits hand 1 (+1); the learner, who opens hand 2, has not replied yet.
    env = make(Says("?", "?", "[fold]"), hands=2)
    _, info = deal(env, "JK1", "JQ0")
    assert info["turn"] == 1
    assert env.step("[bet]")[1] == 2.0


@pytest.mark.parametrize("seat", [0, 1, "random", "first", "second"])
def test_rewards_sum_to_the_return(seat):
    env = make(seat=seat, hands=4)
    for seed in range(20):
        rewards = play_out(env, env.reset(seed=seed), choose=seed)
        assert sum(rewards) == env.core.returns[env.seat]


def test_refused_replies_are_the_learners_to_repeat():
    env = make(Says("[call]"))
    deal(env, "KJ0")
    text, reward, terminated, _, info = env.step("hm")
    assert (reward, terminated, info["invalid_count"]) == (0.0, False, 1)
    assert "Refused (no_command)" in text
    _, reward, terminated, _, info = env.step("hm")
    assert (reward, terminated, info["outcome"]) == (-1.0, True, "rules")


def test_truncation_is_told_apart():
    env = make(Says("[check]"), hands=2, max_env_steps=3)
    deal(env, "KJ0", "KJ1")
    assert env.step("[check]")[1:4] == (1.0, False, True)


# Seats.


def test_seats_by_index_name_and_role():
    for seat, wanted in (
        (0, "player_0"),
        (1, "player_1"),
        ("player_1", "player_1"),
        ("first", "player_0"),
        ("second", "player_1"),
    ):
        env = make(seat=seat)
        _, info = deal(env, "KJ0")
        assert info["seat"] == env.seat == wanted
    _, info = deal(make(seat="first"), "KJ1")  # the role follows the deal
    assert (info["seat"], info["role"]) == ("player_1", "first")


def test_a_random_seat_is_fixed_by_the_seed_and_fair():
    env, other = make(seat="random"), make(seat="random")
    seats = [env.reset(seed=seed)[1]["seat"] for seed in range(200)]
    assert seats == [other.reset(seed=seed)[1]["seat"] for seed in range(200)]
    assert 75 < seats.count("player_0") < 125


def test_the_seat_can_be_chosen_at_reset():
    env = make()
    assert deal(env, "KJ0", seat="player_1")[1]["seat"] == "player_1"
    assert deal(env, "KJ0", seat="second")[1]["seat"] == "player_1"
    assert deal(env, "KJ0")[1]["seat"] == "player_0"
    with pytest.raises(ValueError, match="cannot change to it"):
        env.reset(options={"seat": "all"})
    with pytest.raises(ValueError, match="seat='dealer'"):
        env.reset(options={"seat": "dealer"})


@pytest.mark.parametrize("seat", [2, -1, "player_2", "dealer", None, 0.0, True])
def test_seats_that_are_none(seat):
    with pytest.raises(ValueError, match="KuhnPoker has seats 0 to 1, or player_0, player_1, first, second, random, all"):
        make(seat=seat)


def test_self_play_has_every_seat_reply_in_turn():
    env = make(seat="all")
    text, info = deal(env, "KJ0")
    assert (info["seat"], env.seat) == ("player_0", None)
    text, reward, terminated, _, info = env.step("[bet]")
    assert (info["seat"], reward, terminated) == ("player_1", 0.0, False)
    assert "You are player_1." in text
    text, reward, terminated, _, info = env.step("[call]")
    assert (info["seat"], reward, terminated) == ("player_1", -2.0, True)  # the replying seat's
    assert info["returns"] == {"player_0": 2.0, "player_1": -2.0}
    assert env.record().agents == {}


# Opponents.


class Fails:
    """A model whose server is down."""

    def __init__(self, error=None):
        self.error = error

    def act(self, observations):
        return [SimpleNamespace(text="", finish_reason="error", error=self.error) for _ in observations]


def test_an_opponent_that_fails_loses_no_game():
    env = make(Fails(ConnectionError("the server is down")), seat="player_0")
    deal(env, "KJ0")
    with pytest.raises(ConnectionError, match="the server is down"):
        env.step("[bet]")
    assert not env.over
    assert env.core.returns == {"player_0": 0.0, "player_1": 0.0}
    with pytest.raises(ResetNeeded, match="player_1 failed to reply"):
        env.step("[bet]")
    with pytest.raises(RuntimeError, match="finish_reason 'error'"):
        deal(make(Fails(), seat="player_1"), "KJ0")


def test_an_opponent_that_fails_in_one_of_many_games_is_an_error_too():
    envs = gymnasium.make_vec(KUHN, num_envs=3, opponent=Fails(TimeoutError("no answer")), seat="player_1", first_player=0)
    with pytest.raises(TimeoutError, match="no answer"):
        envs.reset(seed=0)


def test_opponents_for_the_learners_own_seat_are_not_ignored_in_silence():
    with pytest.raises(ValueError, match=r"opponent='nobody'.* leave the opponent out"):
        make("nobody", seat="all")
    with pytest.warns(UserWarning, match="nobody but the learner sits at player_1; 'random' plays there only if"):
        make({"player_0": "random", "player_1": "random"}, seat=1)


def test_options_of_reset_are_not_ignored_in_silence():
    env = make()
    with pytest.raises(ValueError, match="no option 'instanse'; did you mean 'instance'"):
        env.reset(options={"instanse": [["K", "J", 0]]})
    with pytest.raises(ValueError, match="no option 'x'; there are instance, seat"):
        env.reset(options={"x": 1})


def test_the_same_game_as_between_agents_in_the_aec_environment():
    env = make(opponent="random", seat="player_1", hands=3)
    core = lmgames.make("KuhnPoker-v0", hands=3).unwrapped
    opponent = players.make_player("random", "KuhnPoker")
    for seed in range(10):
        play_out(env, env.reset(seed=seed))
        core.reset(seed=seed)
        while not core.outcome:
            if core.agent_selection == "player_0":
                (reply,) = opponent.act([core.observation("player_0")])
                core.step(reply.text)
            else:
                core.step(core.infos["player_1"]["legal_moves"][0])
        assert env.record().turns == core.record().turns
        assert env.record().prompts_sha256 == core.record().prompts_sha256


def test_an_episode_is_fixed_by_its_seed_whatever_came_before():
    env, other = make(hands=3), make(hands=3)
    play_out(other, other.reset(seed=99))
    for seed in (4, 5):
        assert play_out(env, env.reset(seed=seed)) == play_out(other, other.reset(seed=seed))
    assert env.record() == other.record()


def test_unseeded_resets_continue_the_stream():
    def seeds(env):
        env.reset(seed=7)
        found = [env.episode_seed]
        for _ in range(4):
            env.reset()
            found.append(env.episode_seed)
        return found

    env = make()
    assert seeds(env)[0] == 7
    assert seeds(env) == seeds(make())
    assert len(set(seeds(env))) == 5


def test_opponents_by_seat_and_by_role():
    checks, bets = Says("[check]"), Says("[bet]")
    env = make({"first": bets, "second": checks}, seat="random")
    deal(env, "KJ0", seat="player_0")
    env.step("[check]")
    assert (len(checks.asked), len(bets.asked)) == (1, 0)
    deal(env, "KJ1", seat="player_0")
    assert (len(checks.asked), len(bets.asked)) == (1, 1)
    env = make({"player_1": bets, "second": checks})  # a seat's name goes before its role
    deal(env, "KJ0")
    env.step("[check]")
    assert (len(checks.asked), len(bets.asked)) == (1, 2)


def test_a_spec_named_twice_is_one_player():
    env = make({"player_0": "random", "player_1": "random"}, seat="random")
    assert env.opponents.at("player_0", "first") is env.opponents.at("player_1", "second")


@pytest.mark.parametrize(
    ("opponent", "message"),
    [
        ("nsh", "no agent 'nsh'; did you mean 'nash'?"),
        ("nash:beta=1", "'nash:beta=1' has no option 'beta'"),
        ("minimax-of-another-game", "no agent"),
        (3, "3 is neither"),
        (None, "None is neither"),
        ({"player_2": "random"}, "KuhnPoker has no seat or role 'player_2'; there are player_0, player_1, first, second"),
        ({"player_0": "random"}, "nobody sits at player_1"),
        ({"first": "random"}, "nobody sits at player_1"),
        ({}, "nobody sits at player_1"),
        ({"player_1": 3}, "3 is neither"),
    ],
)
def test_opponents_that_cannot_be_had_are_refused_at_once(opponent, message):
    with pytest.raises(ValueError) as caught:
        make(opponent)
    assert message in str(caught.value)


def test_a_player_of_another_game_is_refused_at_once():
    with pytest.raises(ValueError, match="TicTacToe has no reference player 'nash'"):
        make("nash", game="lmgames/TicTacToe-v0")


def test_a_seat_that_nobody_was_named_for():
    env = make({"player_1": "random"})
    with pytest.raises(ValueError, match="nobody was named for player_0"):
        env.reset(options={"seat": "player_1"})


def test_without_any_package_of_players(monkeypatch):
    monkeypatch.setattr(players, "_factories", lambda: ())
    with pytest.raises(ValueError, match=r"entry-point group 'lmgames.players'; install the lmgames distribution"):
        make("random")
    assert make(Says("[fold]")).reset(seed=0)


def test_players_of_other_packages_are_found(monkeypatch):
    def refuses(spec, game=None):  # noqa: ARG001
        raise ValueError(f"no {spec}")

    def knows(spec, game=None):
        if spec != "mine":
            raise ValueError("only mine")
        return Says(game)

    monkeypatch.setattr(players, "_factories", lambda: (refuses, knows))
    assert players.make_player("mine", "KuhnPoker").replies == ["KuhnPoker"]
    with pytest.raises(ValueError, match="no yours"):
        players.make_player("yours")


def test_closing_closes_the_players_made_for_it():
    class Closable(Says):
        closed = 0

        def close(self):
            self.closed += 1

    given = Closable("[fold]")
    env = make(given)
    env.close()
    assert given.closed == 0
    made = Closable("[fold]")
    env.opponents = players.Opponents({}, made, (made,))
    env.close()
    assert made.closed == 1


def test_replies_may_be_objects_with_a_text():
    class Reply:
        text = "[fold]"

    env = make(Says(Reply()))
    deal(env, "KJ0")
    assert env.step("[bet]")[1] == 1.0


# Games that end before the learner is asked.


def test_a_game_without_the_learner_is_dropped_and_the_next_deal_begun():
    env = make(FoldsSometimes(), seat="player_1")
    dropped = 0
    for seed in range(30):
        text, info = env.reset(seed=seed)
        assert info["legal_moves"]
        assert env.core.agent_selection == "player_1"
        assert "no legal move" not in text
        dropped += env.episode_seed != seed
        played = env.episode_seed
        assert env.reset(seed=seed)[0] == text
        assert env.episode_seed == played
        assert env.reset(seed=played)[0] == text
    assert 3 < dropped < 20  # the opener has the jack in a third of the deals


def test_an_opponent_that_always_forfeits_is_an_error_not_a_loop():
    env = make(Says("no move"), seat="player_1")
    with pytest.raises(RuntimeError, match=f"{MAX_REDEALS} games ended before player_1 was asked"):
        env.reset(seed=0)
    with pytest.raises(ResetNeeded):
        env.step("[bet]")


# The rest of Gymnasium's interface.


def test_stepping_at_the_wrong_time():
    env = make(Says("[fold]"))
    with pytest.raises(ResetNeeded, match="before step"):
        env.step("[bet]")
    deal(env, "KJ0")
    env.step("[bet]")
    with pytest.raises(ResetNeeded, match="the episode is over"):
        env.step("[bet]")


def test_a_bad_instance_leaves_nothing_to_step():
    env = make()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="is not a hand"):
        env.reset(options={"instance": [["K", "K", 0]]})
    with pytest.raises(ResetNeeded):
        env.step("[bet]")


def test_render(capsys):
    env = make(Says("[fold]"), render_mode="ansi")
    text, _ = deal(env, "KJ0")
    assert env.render() == f"[player_0]\n{text}"
    env.step("[bet]")
    assert env.render() == "player_0: +1\nplayer_1: -1"
    assert make().render() is None
    env = make(Says("[fold]"), render_mode="human")
    deal(env, "KJ0")
    assert env.render() is None
    assert capsys.readouterr().out == f"[player_0]\n{text}\n"
    env.step("[bet]")
    assert capsys.readouterr().out == "player_0: +1\nplayer_1: -1\n"


def test_records_name_the_opponents():
    env = make({"player_0": "random", "player_1": "nash"}, seat="player_0")
    play_out(env, env.reset(seed=3))
    record = env.record()
    assert record.agents == {"player_1": "nash"}
    assert lmgames.replay(record)
    env = make(Says("[fold]"))
    env.reset(seed=0)
    assert env.record().agents == {}


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])  # noqa: S301
def test_copies_go_on_alike(duplicate):
    env = make("random", hands=5)
    _, info = env.reset(seed=2)
    env.step(info["legal_moves"][0])
    again = duplicate(env)
    for _ in range(3):
        assert env.step("[check] or [fold]") == again.step("[check] or [fold]")
    assert env.reset() == again.reset()
