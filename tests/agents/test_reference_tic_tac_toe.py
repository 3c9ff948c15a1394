"""The players of tic-tac-toe: what each does by hand, the exact table of all pairs, and the game's relatives."""

from fractions import Fraction

import pytest

import lmgames
from agents.reference import players_of
from agents.reference.base import MixedPlayer
from agents.reference.tic_tac_toe import PLAYERS, Minimax, WinBlockCentreCorner, WinBlockRandom, WinOrRandom
from agents.specs import make_agent
from lmgames import solve
from lmgames.games.tic_tac_toe import SYMMETRIES, TicTacToe

GAME = TicTacToe()
LADDER = ["random", *PLAYERS]


def player(name):
    return players_of("TicTacToe")[name]()


def win_draw_loss(game, x, o):
    found = solve.outcomes(game, {"player_0": player(x).mix, "player_1": player(o).mix})
    assert sum(found.values()) == pytest.approx(1, abs=1e-12)
    return tuple(found.get((paid, -paid), 0.0) for paid in (1.0, 0.0, -1.0))


def mix_after(mover, moves, **options):
    """The mix of a player after the given moves, by cell number."""
    options = {"opening": list(moves), **options}
    env = lmgames.make("TicTacToe-v0", **options).unwrapped
    env.reset(seed=0)
    return {int(reply[1:-1]): p for reply, p in mover.mix(env.observation(env.agent_selection)).items()}


def test_the_ladder():
    assert list(PLAYERS) == ["win_or_random", "win_block_random", "win_block_centre_corner", "minimax"]
    assert all(issubclass(each, MixedPlayer) for each in PLAYERS.values())


# By hand. Moves are X, O, X, ... on the usual numbering.


@pytest.mark.parametrize("mover", [WinOrRandom(), WinBlockRandom(), WinBlockCentreCorner()])
def test_each_completes_a_line(mover):
    assert mix_after(mover, [0, 3, 1, 4]) == {2: 1.0}  # rather than stop O at 5
    assert mix_after(mover, [0, 3, 8, 4]) == ({5: 1.0} if mover.block else dict.fromkeys((1, 2, 5, 6, 7), 1 / 5))


def test_two_ways_to_win_are_equally_good():
    assert mix_after(WinOrRandom(), [0, 5, 1, 7, 3, 8]) == {2: 0.5, 6: 0.5}


def test_two_threats_are_stopped_evenly():
    assert mix_after(WinBlockRandom(), [0, 5, 1, 7, 3]) == {2: 0.5, 6: 0.5}


def test_centre_then_corners():
    assert mix_after(WinBlockCentreCorner(), []) == {4: 1.0}
    assert mix_after(WinBlockCentreCorner(), [4]) == dict.fromkeys((0, 2, 6, 8), 0.25)
    assert mix_after(WinBlockRandom(), [4]) == dict.fromkeys((0, 1, 2, 3, 5, 6, 7, 8), 1 / 8)


def test_minimax_answers_a_corner_in_the_centre_and_the_centre_in_a_corner():
    assert mix_after(Minimax(), [0]) == {4: 1.0}
    assert mix_after(Minimax(), [4]) == dict.fromkeys((0, 2, 6, 8), 0.25)
    assert mix_after(Minimax(), []) == dict.fromkeys(range(9), 1 / 9)  # every first move draws


# The exact table: X wins, draw, O wins.

TABLE = {
    "random": [".5849/.1270/.2881", ".3952/.0831/.5217", ".0609/.2393/.6997", ".0120/.1400/.8480", "0/.2225/.7775"],
    "win_or_random": [".8136/.0661/.1203", ".6854/.0443/.2703", ".1414/.2030/.6556", ".0360/.1302/.8339", "0/.2225/.7775"],
    "win_block_random": [
        ".8955/.0914/.0131",
        ".8862/.0877/.0262",
        ".3114/.5148/.1738",
        ".1799/.7333/.0868",
        "0/.8349/.1651",
    ],
    "win_block_centre_corner": [".9601/.0399/0", ".9601/.0399/0", ".4583/.5417/0", "0/1/0", "0/1/0"],
    "minimax": [".9678/.0322/0", ".9678/.0322/0", ".7746/.2254/0", ".1922/.8078/0", "0/1/0"],
}


@pytest.mark.parametrize("x", LADDER)
def test_each_player_against_each(x):
    for o, cell in zip(LADDER, TABLE[x], strict=True):
        assert win_draw_loss(GAME, x, o) == pytest.approx(tuple(map(float, cell.split("/"))), abs=5.1e-5), (x, o)


def test_random_play_exactly():
    exact = tuple(map(float, (Fraction(737, 1260), Fraction(8, 63), Fraction(121, 420))))
    assert win_draw_loss(GAME, "random", "random") == pytest.approx(exact, abs=1e-14)


@pytest.mark.parametrize("options", [{}, {"misere": True}, {"first": "o"}, {"symmetry": 5}])
@pytest.mark.parametrize("other", LADDER)
def test_minimax_never_loses(options, other):
    game = TicTacToe(**options)
    assert win_draw_loss(game, "minimax", other)[2] == 0
    assert win_draw_loss(game, other, "minimax")[0] == 0


# Relatives.


@pytest.mark.parametrize("pair", [("win_block_centre_corner", "random"), ("win_block_random", "win_or_random")])
def test_the_numbering_of_the_cells_changes_nothing(pair):
    usual = win_draw_loss(GAME, *pair)
    for symmetry in (2, 5):
        assert win_draw_loss(TicTacToe(symmetry=symmetry), *pair) == pytest.approx(usual, abs=1e-12)


def test_with_o_first_results_change_seats():
    usual = win_draw_loss(GAME, "win_block_random", "random")
    assert win_draw_loss(TicTacToe(first="o"), "random", "win_block_random") == pytest.approx(usual[::-1], abs=1e-12)


@pytest.mark.parametrize("symmetry", range(SYMMETRIES))
def test_middle_and_corners_are_places_on_the_board(symmetry):
    game = TicTacToe(rows=3, cols=4, symmetry=symmetry)
    grid = game.grid(symmetry)
    middle = {grid[1][1], grid[1][2]}
    assert mix_after(WinBlockCentreCorner(), [], rows=3, cols=4, symmetry=symmetry) == dict.fromkeys(middle, 0.5)
    taken = [grid[1][1], grid[1][2]]
    corners = {grid[0][0], grid[0][3], grid[2][0], grid[2][3]}
    assert mix_after(WinBlockCentreCorner(), taken, rows=3, cols=4, symmetry=symmetry, in_a_row=4) == dict.fromkeys(
        corners, 0.25
    )


def test_even_boards_have_four_middles():
    middle = mix_after(WinBlockCentreCorner(), [], rows=4, cols=4, in_a_row=4)
    assert middle == dict.fromkeys((5, 6, 9, 10), 0.25)


def test_misere_heuristics_do_not_run_into_a_losing_line():
    """X holds 0 and 1: a third at 2 would lose; the middle is free."""
    assert mix_after(WinBlockCentreCorner(), [0, 3, 1, 8], misere=True) == {4: 1.0}
    after = mix_after(WinBlockCentreCorner(), [0, 4, 1, 8], misere=True)
    assert 2 not in after


def test_minimax_plays_misere():
    """X holds 4, 7 and 8: a line at 6 would lose, 5 keeps the draw by symmetry."""
    mix = mix_after(Minimax(), [4, 0, 8, 1, 7, 3], misere=True)
    assert 5 in mix
    assert 6 not in mix


def test_minimax_says_where_it_cannot_play():
    with pytest.raises(ValueError, match="up to 12 free cells"):
        mix_after(Minimax(), [], rows=4, cols=4, in_a_row=4)
    assert sum(mix_after(Minimax(), [0, 1, 2, 3, 4, 5, 7, 6], rows=4, cols=4, in_a_row=4).values()) == pytest.approx(1)


@pytest.mark.parametrize("spec", LADDER)
@pytest.mark.parametrize("options", [{}, {"random_opening": 4, "symmetry": "random"}, {"misere": True, "opening": [4]},
                                     {"rows": 3, "cols": 4, "random_opening": 2}])  # fmt: skip
def test_agents_play_whole_games_without_a_refusal(spec, options):
    agent = make_agent(spec)
    env = lmgames.make("TicTacToe-v0", **options).unwrapped
    for seed in range(5):
        env.reset(seed=seed)
        while not env.outcome:
            (reply,) = agent.act([env.observation(env.agent_selection)])
            env.step(reply.text)
        assert all(turn.status == "ok" for turn in env.record().turns)
