import io

import pytest

from agents.agent import Observation
from agents.human import CLEAR, Human, PlayerLeft, as_reply
from agents.play import play
from lmgames import make


class Terminal(io.StringIO):
    def isatty(self):
        return True


def asked(typed, env, out=None, seat="player_0"):
    out = out or io.StringIO()
    human = Human(stdin=io.StringIO(typed), stdout=out)
    (reply,) = human.act([env.observation(seat)])
    return reply.text, out.getvalue()


@pytest.fixture
def env():
    env = make("KuhnPoker-v0").unwrapped
    env.reset(options={"instance": [["J", "K", 0]]})
    return env


@pytest.mark.parametrize(
    ("typed", "reply"), [("2\n", "[bet]"), ("bet\n", "[bet]"), ("[Bet]\n", "[Bet]"), ("\n 1 \n", "[check]")]
)
def test_a_move_is_typed_or_chosen_by_number(env, typed, reply):
    assert asked(typed, env)[0] == reply


def test_it_shows_the_seat_its_text_and_its_moves(env):
    shown = asked("1\n", env)[1]
    assert env.observe("player_0")["text"] in shown
    assert "1) [check]  2) [bet]" in shown
    assert "K." not in shown.replace("J Q K.", "")  # nothing of the other seat's card
    assert "\x1b" not in shown


def test_a_question_mark_shows_the_rules(env):
    rules = env.game.rules(env.game.view(env.game_state, "player_0"), "player_0")
    assert asked("1\n", env)[1].count(rules) == 1
    assert asked("?\n1\n", env)[1].count(rules) == 2


def test_moves_that_are_numbers_are_typed_as_they_are():
    moves = ("[0]", "[4]")
    assert as_reply("4", moves) == "[4]"
    assert as_reply("1", moves) == "1"
    assert as_reply("Do I trust you?", None) == "Do I trust you?"


@pytest.mark.parametrize("typed", ["", "?\n"])
def test_the_end_of_the_input_leaves_the_game(env, typed):
    with pytest.raises(PlayerLeft):
        asked(typed, env)


def test_ctrl_c_leaves_the_game(env):
    class Interrupted:
        def readline(self):
            raise KeyboardInterrupt

    with pytest.raises(PlayerLeft):
        Human(stdin=Interrupted(), stdout=io.StringIO()).act([env.observation("player_0")])


@pytest.mark.parametrize(("out", "cleared"), [(Terminal(), CLEAR), (io.StringIO(), "\n" * 60)])
def test_hot_seat_clears_the_screen_between_seats(out, cleared):
    human = Human(stdin=io.StringIO("check\n\nbet\n\ncall\n"), stdout=out)
    (episode,) = play(make("KuhnPoker-v0"), [human, human], seed=0)
    assert [step.reply.text for step in episode.steps] == ["[check]", "[bet]", "[call]"]
    screens = out.getvalue().split("press Enter when you alone can see the screen. ")
    assert len(screens) == 3
    for screen, card in zip(screens, ("Q", "K", "Q"), strict=True):
        assert f"Your card: {card}" in screen.split(cleared)[-2 if screen is not screens[-1] else -1]
    assert screens[0].endswith(cleared + "\n" + "player_1, ")


def test_one_seat_reads_only_what_is_new():
    out = io.StringIO()
    human = Human(stdin=io.StringIO("1\n2\n"), stdout=out)
    human.act([Observation("One.", "player_0")])
    human.act([Observation("One.\nTwo.", "player_0")])
    assert out.getvalue().count("One.") == 1
    assert out.getvalue().count("Two.") == 1


def test_characters_that_a_terminal_lacks_do_not_stop_it():
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    Human(stdin=io.StringIO("x\n"), stdout=out).act([Observation("Café", "player_0")])
    assert b"Caf?" in raw.getvalue()
