"""Tic-tac-toe by hand: endings, options, numbering, refusals, and the counts that are known of it."""

import itertools
from collections import Counter

import pytest

import lmgames
from lmgames import Chance, IllegalMove, solve
from lmgames.games.tic_tac_toe import SYMMETRIES, TicTacToe
from lmgames.records import replay

SEATS = ("player_0", "player_1")
EMPTY = {"symmetry": 0, "opening": []}


def played(game, moves, instance=EMPTY):
    state = game.start(instance)
    for cell in moves:
        (seat,) = game.to_move(state)
        state = game.apply(state, {seat: game.parse(state, seat, f"[{cell}]")})
    return state


def env_at(*replies, instance=EMPTY, **options):
    env = lmgames.make("TicTacToe-v0", **options).unwrapped
    env.reset(seed=1, options={"instance": instance})
    for reply in replies:
        env.step(reply)
    return env


def lines_of(env, seat):
    return env.observe(seat)["text"].split("\n")


# Endings.

LINES = [(0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6)]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize(("options", "x", "o"), [({}, 1, -1), ({"misere": True}, -1, 1), ({"first": "o"}, -1, 1)])
def test_a_line_of_the_first_mover_ends_the_game(line, options, x, o):
    game = TicTacToe(**options)
    others = [cell for cell in range(9) if cell not in line]
    state = played(game, [line[0], others[0], line[1], others[1], line[2]])
    assert game.is_over(state)
    assert game.returns(state) == {"player_0": x, "player_1": o}


def test_a_line_of_the_second_mover_wins_for_it():
    state = played(TicTacToe(), [0, 2, 1, 4, 8, 6])
    assert TicTacToe().returns(state) == {"player_0": -1, "player_1": 1}
    assert TicTacToe().facts(state) == {"winner": "o", "moves": [0, 2, 1, 4, 8, 6]}


def test_a_full_board_without_a_line_is_a_draw():
    game = TicTacToe()
    state = played(game, [0, 1, 2, 4, 3, 5, 7, 6, 8])
    assert game.is_over(state)
    assert game.returns(state) == {"player_0": 0, "player_1": 0}
    assert game.facts(state)["winner"] is None


def test_a_line_with_the_last_cell_wins():
    game = TicTacToe()
    state = played(game, [0, 1, 2, 3, 4, 6, 5, 7, 8])
    assert "." not in state.cells
    assert game.returns(state)["player_0"] == 1


def test_only_lines_of_the_board_count():
    """Wrapping round an edge is no line: 2, 3, 4 stand in two rows, 1, 5, 6 in three."""
    assert not TicTacToe().is_over(played(TicTacToe(), [2, 0, 3, 1, 4]))
    assert not TicTacToe().is_over(played(TicTacToe(), [1, 0, 5, 2, 6]))


def lines_of_board(game):
    return {frozenset(line) for cell in range(game.size) for line in game.lines_through(cell, 0)}


@pytest.mark.parametrize(("rows", "cols", "in_a_row", "lines"), [(3, 3, 3, 8), (4, 4, 4, 10), (4, 4, 3, 24), (6, 7, 4, 69)])
def test_number_of_lines(rows, cols, in_a_row, lines):
    assert len(lines_of_board(TicTacToe(rows=rows, cols=cols, in_a_row=in_a_row))) == lines


def test_a_wide_board_with_longer_lines():
    game = TicTacToe(rows=2, cols=5, in_a_row=4)
    state = played(game, [0, 5, 1, 6, 2, 7])
    assert not game.is_over(state)
    assert game.returns(played(game, [0, 5, 1, 6, 2, 7, 3]))["player_0"] == 1


# Options.


@pytest.mark.parametrize("options", [
    {"rows": 0}, {"cols": 20}, {"in_a_row": 1}, {"in_a_row": 4}, {"rows": 3.0}, {"misere": 2}, {"first": "z"},
    {"symmetry": 8}, {"symmetry": "any"}, {"opening": (9,)}, {"opening": (4, 4)}, {"opening": (0, 3, 1, 4, 2)},
    {"opening": 4}, {"random_opening": 9}, {"random_opening": -1}, {"opening": (0, 1), "random_opening": 7},
    {"in_a_row": 2, "random_opening": 7}, {"random_opening": (0, 9)}, {"random_opening": (3, 2)}, {"random_opening": (1, 2, 3)},
    {"random_opening": (-1, 2)}, {"random_opening": "4"}, {"coords": "yes"}, {"select": "best"},
])  # fmt: skip
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=r"=|found no such opening|opening"):
        TicTacToe(**options)


@pytest.mark.parametrize("instance", [
    None, [], {}, {"symmetry": 0}, {"symmetry": 8, "opening": []}, {"symmetry": "0", "opening": []},
    {"symmetry": 0, "opening": [9]}, {"symmetry": 0, "opening": [1, 1]}, {"symmetry": 0, "opening": "12"},
    {"symmetry": 0, "opening": [0, 3, 1, 4, 2]}, {"symmetry": 0, "opening": [1.0]}, {"symmetry": 0, "opening": [], "x": 1},
])  # fmt: skip
def test_wrong_instances_are_refused(instance):
    with pytest.raises(ValueError, match=r"instance|symmetry|opening"):
        TicTacToe().start(instance)


def test_forced_moves_are_made_before_the_game():
    game = TicTacToe(opening=(4, 0, 8))
    assert game.deal(Chance(0)) == {"symmetry": 0, "opening": [4, 0, 8]}
    env = lmgames.make("TicTacToe-v0", opening=[4, 0, 8]).unwrapped
    env.reset(seed=0)
    assert env.agent_selection == "player_1"
    assert lines_of(env, "player_1")[-5:] == [
        "Already played: player_0 [4], player_1 [0], player_0 [8].",
        "O 1 2",
        "3 X 5",
        "6 7 X",
        "Your turn. Legal moves: [1] [2] [3] [5] [6] [7]",
    ]


@pytest.mark.parametrize("plies", range(1, 9))
def test_a_random_opening_never_ends_the_game(plies):
    game = TicTacToe(random_opening=plies)
    drawn = [game.deal(Chance(seed))["opening"] for seed in range(60)]
    assert len({tuple(opening) for opening in drawn}) > 5
    for opening in drawn:
        assert len(set(opening)) == plies
        assert not game.is_over(game.start({"symmetry": 0, "opening": opening}))


def test_the_length_of_a_random_opening_may_be_drawn():
    game = TicTacToe(random_opening=(2, 6))
    lengths = Counter(len(game.deal(Chance(seed))["opening"]) for seed in range(1000))
    assert set(lengths) == {2, 3, 4, 5, 6}
    assert sum((count - 200) ** 2 / 200 for count in lengths.values()) < 19  # chi square, 4 degrees of freedom
    assert game.instances() is None
    assert TicTacToe(random_opening=(2, 2)).instances() == TicTacToe(random_opening=2).instances()
    env = lmgames.make("TicTacToe-v0", random_opening=[2, 6])
    env.reset(seed=0)
    assert env.unwrapped.game == game


def test_a_random_opening_follows_the_forced_one():
    game = TicTacToe(opening=(4,), random_opening=1)
    drawn = Counter(tuple(game.deal(Chance(seed))["opening"]) for seed in range(800))
    assert set(drawn) == {(4, cell) for cell in (0, 1, 2, 3, 5, 6, 7, 8)}
    assert sum((count - 100) ** 2 / 100 for count in drawn.values()) < 25  # chi square, 7 degrees of freedom


def test_openings_that_could_end_the_game_stay_equally_likely():
    """A strip of 4 cells, 2 in a row: after three moves no line stands exactly where the two X are apart."""
    game = TicTacToe(rows=1, cols=4, in_a_row=2, random_opening=3)
    instances = game.instances()
    wanted = {tuple(each["opening"]) for each in instances}
    assert wanted == {cells for cells in itertools.permutations(range(4), 3) if abs(cells[0] - cells[2]) > 1}
    draws = 100 * len(wanted)
    drawn = Counter(tuple(game.deal(Chance(seed))["opening"]) for seed in range(draws))
    assert set(drawn) == wanted
    assert sum((count - 100) ** 2 / 100 for count in drawn.values()) < 2 * len(wanted) + 15


def test_instances():
    assert TicTacToe().instances() == [EMPTY]
    assert len(TicTacToe(symmetry="random").instances()) == SYMMETRIES
    assert len(TicTacToe(random_opening=2).instances()) == 72
    assert len(TicTacToe(random_opening=2, symmetry="random").instances()) == 576
    assert TicTacToe(random_opening=8).instances() is None  # too many to list


# Numbering.


@pytest.mark.parametrize(("symmetry", "grid"), [
    (0, "012345678"), (1, "210543876"), (2, "678345012"), (3, "876543210"),
    (4, "036147258"), (5, "630741852"), (6, "258147036"), (7, "852741630"),
])  # fmt: skip
def test_the_eight_numberings(symmetry, grid):
    rows = TicTacToe().grid(symmetry)
    found = "".join(str(cell) for row in rows for cell in row)
    assert sorted(found) == sorted("012345678")
    assert found == grid


def test_numberings_are_the_symmetries_of_the_square_and_keep_its_lines():
    numberings = {TicTacToe().grid(symmetry) for symmetry in range(SYMMETRIES)}
    assert len(numberings) == SYMMETRIES
    lines = {frozenset(line) for line in LINES}
    for symmetry in range(SYMMETRIES):
        assert {frozenset(line) for cell in range(9) for line in TicTacToe().lines_through(cell, symmetry)} == lines


@pytest.mark.parametrize("symmetry", range(SYMMETRIES))
def test_a_numbering_of_an_oblong_board_changes_no_line_on_the_board(symmetry):
    game = TicTacToe(rows=2, cols=3, in_a_row=3)
    grid = game.grid(symmetry)
    assert {frozenset(line) for cell in range(6) for line in game.lines_through(cell, symmetry)} == {
        frozenset(row) for row in grid
    }


def test_another_numbering_is_told_and_shown():
    env = env_at("[8]", symmetry=3, instance={"symmetry": 3, "opening": []})
    assert lines_of(env, "player_1")[-6:] == [
        "Cell numbers, row by row: 8 7 6 / 5 4 3 / 2 1 0.",
        "player_0> [8]",
        "X 7 6",
        "5 4 3",
        "2 1 0",
        "Your turn. Legal moves: [0] [1] [2] [3] [4] [5] [6] [7]",
    ]


def test_random_symmetry_draws_each_numbering():
    game = TicTacToe(symmetry="random")
    drawn = Counter(game.deal(Chance(seed))["symmetry"] for seed in range(800))
    assert sorted(drawn) == list(range(SYMMETRIES))
    assert min(drawn.values()) > 60
    told = {game.information_set(game.start(instance), "player_0") for instance in game.instances()}
    assert len(told) == SYMMETRIES


# Replies.


@pytest.mark.parametrize(("reply", "cell"), [
    ("[4]", 4), ("[ 4 ]", 4), ("I take [4].", 4), ("[04]", 4), (r"\boxed{4}", 4), ("[4], so [4]", 4), ("［４］", 4),
    ("[board] looks fine, [4]", 4), ("<think>[0]?</think> [4]", 4),
])  # fmt: skip
def test_understood(reply, cell):
    assert env_at(reply).record().turns[0].move == f"[{cell}]"


@pytest.mark.parametrize(("reply", "code"), [
    ("4", "no_command"), ("[centre]", "no_command"), ("[]", "no_command"),
    ("[9]", "out_of_range"), ("[1234]", "out_of_range"),
    ("[0]", "illegal_now"),
    ("[4] or [5]", "ambiguous"), ("[0] is taken, so [4]", "ambiguous"),
    ("[-4]", "bad_args"), ("[4.0]", "bad_args"), ("[1,1]", "bad_args"), ("[44444]", "bad_args"), ("[4 5]", "bad_args"),
    ("[\u0664]", "bad_args"),  # an Arabic-Indic 4
    ("", "empty"), ("<think>[4]", "empty"), (4, "type"),
    ("[4]" + " " * 20_000, "too_long"), ("[4]" + "x" * 2_000, "too_long"),
])  # fmt: skip
def test_refused(reply, code):
    env = env_at("[0]", reply)
    assert env.record().turns[1].code == code
    assert env.agent_selection == "player_1"
    assert f"Refused ({code})" in env.observe("player_1")["text"]
    assert "Refused" not in env.observe("player_0")["text"]


@pytest.mark.parametrize("reply", ["[4] i.e. [1,1]", "[1,1] [4]", "[4] [04]", "[1, 1] and [01,1]"])
def test_one_cell_by_two_names_is_one_move(reply):
    game = TicTacToe(coords=True)
    assert game.parse(game.start(game.deal(Chance(0))), "player_0", reply) == 4


@pytest.mark.parametrize(("reply", "code"), [("[3,0]", "out_of_range"), ("[0,7]", "out_of_range"), ("[1,]", "bad_args"),
                                             ("[1,1,1]", "bad_args"), ("[-1,0]", "bad_args"), ("[1,2]", "illegal_now"),
                                             ("[5]", "illegal_now"), ("[4] [0,0]", "ambiguous")])  # fmt: skip
def test_refused_coordinates(reply, code):
    game = TicTacToe(coords=True)
    with pytest.raises(IllegalMove) as refused:
        game.parse(played(game, [5]), "player_1", reply)
    assert refused.value.code == code


@pytest.mark.parametrize(("symmetry", "reply", "cell"), [
    (0, "[1,2]", 5), (0, "[ 1 , 2 ]", 5), (0, "[4]", 4), (1, "[1,2]", 3), (4, "[1,2]", 7), (7, "[0,1]", 5),
])  # fmt: skip
def test_coordinates_are_places_on_the_board_whatever_the_numbers(symmetry, reply, cell):
    game = TicTacToe(coords=True, symmetry=symmetry)
    state = game.start({"symmetry": symmetry, "opening": []})
    assert game.parse(state, "player_0", reply) == cell
    assert game.grid(symmetry)[1][2] == cell or reply in ("[4]", "[0,1]")
    assert "[row,column] works too" in game.rules(state, "player_0")


@pytest.mark.parametrize(("select", "cell"), [("first", 4), ("last", 5)])
def test_select_chooses_among_several_moves(select, cell):
    game = TicTacToe(select=select)
    assert game.parse(game.start(EMPTY), "player_0", "[4], no, [5]") == cell


def test_parsing_out_of_turn_is_a_refusal_not_a_crash():
    game = TicTacToe()
    with pytest.raises(IllegalMove) as refused:
        game.parse(played(game, [0, 3, 1, 4, 2]), "player_1", "[5]")
    assert refused.value.code == "illegal_now"


# What a seat is told.


def test_the_whole_text_of_a_game_for_one_seat():
    env = env_at("[4]", "[0]", "[2]", "[6]", "[3]", "[5]", "[8]", "[1]", "[7]")
    assert env.observe("player_1")["text"] == "\n".join([
        "You play tic-tac-toe on a board of 3 rows and 3 columns. player_0 plays X, player_1 plays O; X moves first. The "
        "first player with 3 own marks in a line (row, column or diagonal) wins; a full board without a line is a draw. "
        "Score: win 1, draw 0, loss -1.",
        "Reply with the number of a free cell in brackets, such as [4].",
        "You are player_1.",
        "player_0> [4]",
        "0 1 2", "3 X 5", "6 7 8",
        "Your turn. Legal moves: [0] [1] [2] [3] [5] [6] [7] [8]",
        "player_1> [0]", "player_0> [2]",
        "O 1 X", "3 X 5", "6 7 8",
        "Your turn. Legal moves: [1] [3] [5] [6] [7] [8]",
        "player_1> [6]", "player_0> [3]",
        "O 1 X", "X X 5", "O 7 8",
        "Your turn. Legal moves: [1] [5] [7] [8]",
        "player_1> [5]", "player_0> [8]",
        "O 1 X", "X X O", "O 7 X",
        "Your turn. Legal moves: [1] [7]",
        "player_1> [1]", "player_0> [7]",
        "The board is full: a draw.",
    ])  # fmt: skip
    assert env.outcome == "rules"
    assert env.returns == {"player_0": 0, "player_1": 0}


@pytest.mark.parametrize(("options", "line"), [
    ({}, "player_0 has 3 in a line. player_0 wins."),
    ({"misere": True}, "player_0 has 3 in a line. player_1 wins."),
    ({"first": "o"}, "player_1 has 3 in a line. player_1 wins."),
])  # fmt: skip
def test_the_result_is_told(options, line):
    env = env_at("[0]", "[3]", "[1]", "[4]", "[2]", **options)
    assert lines_of(env, "player_0")[-1] == lines_of(env, "player_1")[-1] == line


def test_columns_of_a_large_board_line_up():
    env = env_at("[11]", rows=3, cols=4)
    assert lines_of(env, "player_1")[-4:-1] == [" 0  1  2  3", " 4  5  6  7", " 8  9 10  X"]
    strip = env_at("[0]", rows=1, cols=11)
    assert lines_of(strip, "player_1")[-2] == " X  1  2  3  4  5  6  7  8  9 10"


@pytest.mark.parametrize(("options", "sentence"), [
    ({"misere": True}, "in a line (row, column or diagonal) loses"),
    ({"first": "o"}, "O moves first"),
    ({"rows": 4, "cols": 5, "in_a_row": 4}, "a board of 4 rows and 5 columns"),
    ({"rows": 4, "cols": 5, "in_a_row": 4}, "with 4 own marks"),
])  # fmt: skip
def test_the_rules_tell_the_options(options, sentence):
    env = lmgames.make("TicTacToe-v0", **options).unwrapped
    env.reset(seed=0)
    assert sentence in env.observe("player_0")["text"]


def test_with_o_first_the_game_is_the_same_with_seats_exchanged():
    usual, other = TicTacToe(), TicTacToe(first="o")
    for moves in itertools.islice(itertools.permutations(range(9), 6), 0, 60_480, 97):
        states = usual.start(EMPTY), other.start(EMPTY)
        for cell in moves:
            if usual.is_over(states[0]):
                break
            assert usual.to_move(states[0])[0] != other.to_move(states[1])[0]
            states = tuple(g.apply(s, {g.to_move(s)[0]: cell}) for g, s in zip((usual, other), states, strict=True))
        swap = str.maketrans("XO", "OX")
        assert states[1].cells == states[0].cells.translate(swap)
        assert usual.returns(states[0])["player_0"] == other.returns(states[1])["player_1"]


@pytest.mark.parametrize("policy", ["forfeit", "retry_forfeit", "retry_random"])
def test_every_ending_by_garbage_is_zero_sum(policy):
    env = lmgames.make("TicTacToe-v0", invalid_policy=policy).unwrapped
    for seed in range(10):
        env.reset(seed=seed)
        while not env.outcome:
            legal = env.infos[env.agent_selection]["legal_moves"]
            env.step("garbage" if env.agent_selection == SEATS[seed % 2] else legal[0])
            assert sum(env.rewards.values()) == 0
        if policy != "retry_random":
            assert env.outcome == "forfeit"
            assert env.returns[SEATS[seed % 2]] == -1
        replay(env.record())


def test_there_is_no_move_that_does_nothing():
    with pytest.raises(ValueError, match="retry_noop"):
        lmgames.make("TicTacToe-v0", invalid_policy="retry_noop")


# What is known of the game.


def test_positions():
    game = TicTacToe()
    states = list(solve.positions(game, EMPTY))
    over = [state for state in states if game.is_over(state)]
    winners = Counter(game.winner(state) for state in over)
    assert (len(states), len(states) - len(over), len(over)) == (5478, 4520, 958)
    assert winners == {"X": 626, "O": 316, "": 16}


def test_positions_up_to_symmetry():
    game = TicTacToe()
    grids = [[cell for row in game.grid(symmetry) for cell in row] for symmetry in range(SYMMETRIES)]

    def canonical(cells):
        return min("".join(cells[cell] for cell in grid) for grid in grids)

    states = list(solve.positions(game, EMPTY))
    assert len({canonical(state.cells) for state in states}) == 765
    assert len({canonical(state.cells) for state in states if game.is_over(state)}) == 138


def test_complete_games():
    games = solve.complete_games(TicTacToe(), EMPTY)
    results = Counter()
    lengths = Counter()
    for ((x, _), turns), count in games.items():
        results[x] += count
        lengths[turns] += count
    assert sum(results.values()) == 255_168
    assert results == {1: 131_184, -1: 77_904, 0: 46_080}
    assert lengths == {5: 1_440, 6: 5_328, 7: 47_952, 8: 72_576, 9: 127_872}


def test_perfect_play_is_a_draw_and_misere_too():
    for options in ({}, {"misere": True}, {"first": "o"}, {"symmetry": 6}):
        game = TicTacToe(**options)
        assert solve.minimax(game).value(game.start(game.instances()[0])) == 0


def test_perfect_play_on_other_boards():
    """2 in a row on a strip of 4 is won at the second move; 3 in a row on 3 by 4 is a first-player win (m,n,k tables)."""
    won = TicTacToe(rows=1, cols=4, in_a_row=2)
    assert solve.minimax(won).value(won.start(EMPTY)) == 1
    larger = TicTacToe(rows=3, cols=4, opening=(5,))
    assert solve.minimax(larger).value(larger.start(larger.deal(Chance(0)))) == 1
