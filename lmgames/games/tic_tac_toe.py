"""Tic-tac-toe and its relatives: k marks in a row on a board of m rows and n columns.

Seats: `player_0` holds X, `player_1` holds O. Roles: `x`, `o`. X moves first unless `first="o"`.
Hidden: nothing.
Returns: +1 win, 0 draw, -1 loss, zero-sum.
Reference: perfect play of the 3 by 3 game is a draw; 5478 positions can be reached, by 255168 complete games.
Source: the game is old and common property; m,n,k-games in general: Uiterwijk and van den Herik, "The advantage of the
initiative", Information Sciences 122 (2000).
Versions: v0.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any, ClassVar, Literal

from lmgames.chance import Chance
from lmgames.game import Game, Payoffs, check_choice, check_count
from lmgames.parsing import IllegalMove, extract_command, parse_integer
from lmgames.text import Line, Said

MARKS = "XO"
ALONE = (("player_0",), ("player_1",))
"""The seat of each mark as the one to move."""
FREE = "."
SYMMETRIES = 8
MAX_SIDE = 19
MAX_LISTED_INSTANCES = 50_000
MAX_OPENING_ATTEMPTS = 100_000

RULES = """You play tic-tac-toe on a board of {rows} rows and {cols} columns. player_0 plays X, player_1 plays O; {first} \
moves first. The first player with {k} own marks in a line (row, column or diagonal) {result}; a full board without a line \
is a draw. Score: win 1, draw 0, loss -1.
Reply with the number of a free cell in brackets, such as [{example}].{coords}"""
COORDS = " [row,column] works too, rows from the top and columns from the left, both from 0."


@lru_cache(maxsize=256)
def _grid(rows: int, cols: int, symmetry: int) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(_cell_at(row, col, rows, cols, symmetry) for col in range(cols)) for row in range(rows))


def _cell_at(row: int, col: int, rows: int, cols: int, symmetry: int) -> int:
    if symmetry & 1:
        col = cols - 1 - col
    if symmetry & 2:
        row = rows - 1 - row
    return col * rows + row if symmetry & 4 else row * cols + col


@lru_cache(maxsize=256)
def _lines(rows: int, cols: int, in_a_row: int, symmetry: int) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """For each cell number, the lines through it."""
    grid = _grid(rows, cols, symmetry)
    through: list[list[tuple[int, ...]]] = [[] for _ in range(rows * cols)]
    for row in range(rows):
        for col in range(cols):
            for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
                last_row, last_col = row + down * (in_a_row - 1), col + right * (in_a_row - 1)
                if last_row < rows and 0 <= last_col < cols:
                    line = tuple(grid[row + down * step][col + right * step] for step in range(in_a_row))
                    for cell in line:
                        through[cell].append(line)
    return tuple(tuple(lines) for lines in through)


def _has_line(cells: str, mark: str, lines: Sequence[Sequence[int]]) -> bool:
    """Whether one of the lines is all of one mark. Plain loops: this runs after every move."""
    for line in lines:
        for cell in line:
            if cells[cell] != mark:
                break
        else:
            return True
    return False


@lru_cache(maxsize=8192)  # the usual board has 5478 positions
def _drawn(cells: str, rows: int, cols: int, symmetry: int) -> tuple[str, ...]:
    width = len(str(rows * cols - 1))
    texts = [(str(cell) if mark == FREE else mark).rjust(width) for cell, mark in enumerate(cells)]
    return tuple([" ".join([texts[cell] for cell in row]) for row in _grid(rows, cols, symmetry)])


@lru_cache(maxsize=8192)
def _free(cells: str) -> tuple[int, ...]:
    return tuple([cell for cell, mark in enumerate(cells) if mark == FREE])


@cache  # 2 seats, at most 361 cells; every move is told again at every later turn
def _said(seat: str, cell: int) -> Said:
    return Said(seat, f"[{cell}]")


@dataclass(frozen=True, slots=True)
class Board:
    """A position with its history.

    Args:
        cells: "X", "O" or "." for each cell number.
        moves: cell numbers in the order they were taken.
        opened: how many of the moves were made before the game began.
        symmetry: how the cells are numbered, 0 to 7; see `TicTacToe`.
        line_of: the mark that has a line, "" if none.
    """

    cells: str
    moves: tuple[int, ...] = ()
    opened: int = 0
    symmetry: int = 0
    line_of: str = ""


@dataclass(frozen=True, kw_only=True)
class TicTacToe(Game[Board, int]):
    """The rules.

    Args:
        rows, cols: size of the board, 1 to 19 each.
        in_a_row: own marks in a line that end the game.
        misere: whether a line loses rather than wins.
        first: the mark that moves first.
        opening: cell numbers taken before the game begins, in turn from the first mover on.
        random_opening: further moves made so, drawn by chance, each sequence that does not end the game equally likely; of a
            pair (least, most) their number is drawn first, evenly.
        symmetry: how the cells are numbered. Bit 0: from right to left; bit 1: from the bottom row up; bit 2: column by
            column. 0 is the usual numbering; "random" draws one of the eight.
        coords: whether [row,column] is a move, too.
    """

    rows: int = 3
    cols: int = 3
    in_a_row: int = 3
    misere: bool = False
    first: Literal["x", "o"] = "x"
    opening: tuple[int, ...] = ()
    random_opening: int | tuple[int, int] = 0
    symmetry: int | Literal["random"] = 0
    coords: bool = False

    name: ClassVar[str] = "TicTacToe"
    roles: ClassVar[tuple[str, ...]] = ("x", "o")
    sources: ClassVar[tuple[str, ...]] = ("traditional", "m,n,k-games: Uiterwijk and van den Herik 2000")
    hidden_information: ClassVar[bool] = False
    seats = ("player_0", "player_1")
    payoffs: ClassVar[Payoffs] = "zero_sum"
    return_bounds = (-1.0, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("rows", self.rows, 1, MAX_SIDE)
        check_count("cols", self.cols, 1, MAX_SIDE)
        check_count("in_a_row", self.in_a_row, 2, max(self.rows, self.cols))
        check_choice("misere", self.misere, (True, False))
        check_choice("coords", self.coords, (True, False))
        check_choice("first", self.first, ("x", "o"))
        if self.symmetry != "random":
            check_count("symmetry", self.symmetry, 0, SYMMETRIES - 1)
        if not isinstance(self.opening, tuple):
            raise ValueError(f"opening={self.opening!r} must be a list of cell numbers")
        self._check_random_opening()
        for symmetry in self._symmetries():
            self._started(self.opening, symmetry)
        most = self._opening_lengths[-1]
        if not self._opening_cannot_end(most):
            self._draw_opening(Chance(0), self._symmetries()[0], most, attempts=1000)

    def _check_random_opening(self) -> None:
        free = self.size - 1 - len(self.opening)
        if not isinstance(self.random_opening, tuple):
            check_count("random_opening", self.random_opening, 0, free)
            return
        if len(self.random_opening) != 2:
            raise ValueError(f"random_opening={self.random_opening!r} must be a number or a pair (least, most)")
        least, most = self.random_opening
        check_count("random_opening: most", most, 0, free)
        check_count("random_opening: least", least, 0, most)

    @cached_property
    def _opening_lengths(self) -> range:
        """How many moves `random_opening` may add, ascending."""
        least, most = self.random_opening if isinstance(self.random_opening, tuple) else (self.random_opening,) * 2
        return range(least, most + 1)

    @cached_property
    def size(self) -> int:
        """Cells of the board."""
        return self.rows * self.cols

    @property
    def max_turns(self) -> int:
        return self.size  # a pinned instance may begin from the empty board

    # Geometry.

    def grid(self, symmetry: int) -> tuple[tuple[int, ...], ...]:
        """Cell numbers as they stand on the board, row by row from the top."""
        return _grid(self.rows, self.cols, symmetry)

    def lines_through(self, cell: int, symmetry: int) -> tuple[tuple[int, ...], ...]:
        """Every line of `in_a_row` cells that a cell belongs to."""
        return _lines(self.rows, self.cols, self.in_a_row, symmetry)[cell]

    # Instances.

    def deal(self, chance: Chance) -> dict[str, Any]:
        """{"symmetry": how the cells are numbered, "opening": cells taken before the game begins}."""
        symmetry = chance.choice(self._symmetries(), "symmetry")
        lengths = self._opening_lengths
        plies = lengths[0] if len(lengths) == 1 else chance.choice(lengths, "opening length")
        return {"symmetry": symmetry, "opening": self._draw_opening(chance, symmetry, plies, attempts=MAX_OPENING_ATTEMPTS)}

    def instances(self) -> Sequence[Any] | None:
        if len(self._opening_lengths) > 1:
            return None  # those of different length are not equally likely
        (plies,) = self._opening_lengths
        count = len(self._symmetries())
        for ply in range(plies):
            count *= self.size - len(self.opening) - ply
        if count > MAX_LISTED_INSTANCES:
            return None
        return [
            {"symmetry": symmetry, "opening": list(board.moves)}
            for symmetry in self._symmetries()
            for board in self._boards_after(self._started(self.opening, symmetry), plies)
        ]

    def start(self, instance: Any) -> Board:
        if not isinstance(instance, Mapping) or set(instance) != {"symmetry", "opening"}:
            raise ValueError(f'an instance is {{"symmetry": 0 to 7, "opening": [cell, ...]}}, not {instance!r}')
        symmetry, opening = instance["symmetry"], instance["opening"]
        check_count("symmetry", symmetry, 0, SYMMETRIES - 1)
        if not isinstance(opening, list | tuple):
            raise ValueError(f"opening={opening!r} must be a list of cell numbers")
        return self._started(opening, symmetry)

    def _symmetries(self) -> tuple[int, ...]:
        return tuple(range(SYMMETRIES)) if self.symmetry == "random" else (self.symmetry,)

    def _started(self, opening: Sequence[int], symmetry: int) -> Board:
        board = Board(FREE * self.size, symmetry=symmetry)
        for cell in opening:
            check_count("opening: a cell", cell, 0, self.size - 1)
            if board.cells[cell] != FREE:
                raise ValueError(f"opening={list(opening)!r}: cell {cell} is taken twice")
            board = self._taken(board, cell)
            if not self.to_move(board):
                raise ValueError(f"opening={list(opening)!r} ends the game before it begins")
        return Board(board.cells, board.moves, len(board.moves), symmetry)

    def _opening_cannot_end(self, plies: int) -> bool:
        return len(self.opening) + plies <= 2 * self.in_a_row - 2  # the k-th own mark is move 2k - 1

    def _draw_opening(self, chance: Chance, symmetry: int, plies: int, *, attempts: int) -> list[int]:
        if not plies:
            return list(self.opening)
        free = [cell for cell in range(self.size) if cell not in self.opening]
        for attempt in range(attempts):  # whole sequences are drawn anew: this keeps all that are left equally likely
            drawn = [*self.opening, *chance.sample(free, plies, "opening", attempt)]
            if self._opening_cannot_end(plies) or self._goes_on_after(drawn, symmetry):
                return drawn
        raise ValueError(f"random_opening={self.random_opening!r}: found no such opening that leaves the game undecided")

    def _goes_on_after(self, opening: Sequence[int], symmetry: int) -> bool:
        try:
            self._started(opening, symmetry)
        except ValueError:
            return False
        return True

    def _boards_after(self, board: Board, plies: int) -> Iterator[Board]:
        if plies == 0:
            yield board
            return
        for cell in self._free(board):
            then = self._taken(board, cell)
            if self.to_move(then):
                yield from self._boards_after(then, plies - 1)

    # Play.

    def mark_to_move(self, board: Board) -> str:
        """ "X" or "O": whose turn it is, or would be."""
        return MARKS[(len(board.moves) + (self.first == "o")) % 2]

    def to_move(self, state: Board) -> tuple[str, ...]:
        if state.line_of or len(state.moves) == self.size:
            return ()
        return ALONE[(len(state.moves) + (self.first == "o")) % 2]

    def apply(self, state: Board, moves: Mapping[str, int]) -> Board:
        (cell,) = moves.values()
        return self._taken(state, cell)

    def _taken(self, board: Board, cell: int) -> Board:
        mark = self.mark_to_move(board)
        cells = board.cells[:cell] + mark + board.cells[cell + 1 :]
        moves = (*board.moves, cell)
        may_have_line = len(moves) > 2 * self.in_a_row - 2  # the k-th own mark is move 2k - 1
        has_line = may_have_line and _has_line(cells, mark, self.lines_through(cell, board.symmetry))
        return Board(cells, moves, board.opened, board.symmetry, mark if has_line else "")

    def _free(self, board: Board) -> tuple[int, ...]:
        return _free(board.cells)

    def winner(self, board: Board) -> str:
        """ "X", "O", or "" while there is none."""
        if not board.line_of or not self.misere:
            return board.line_of
        return MARKS[1 - MARKS.index(board.line_of)]

    def returns(self, state: Board) -> dict[str, float]:
        paid = {"X": 1.0, "O": -1.0, "": 0.0}[self.winner(state)]
        return {"player_0": paid, "player_1": 0.0 - paid}

    def role_of(self, state: Board, seat: str) -> str:
        return self.roles[self.seats.index(seat)]

    def facts(self, state: Board) -> dict[str, Any]:
        return {"winner": self.winner(state).lower() or None, "moves": list(state.moves)}

    def position(self, state: Board) -> Any:
        return state.cells, self.mark_to_move(state), state.symmetry

    # What a seat sees: everything.

    def rules(self, view: Board, seat: str) -> str:
        return self._rules

    @cached_property
    def _rules(self) -> str:
        return RULES.format(
            rows=self.rows,
            cols=self.cols,
            first=self.first.upper(),
            k=self.in_a_row,
            result="loses" if self.misere else "wins",
            example=self.size // 2,
            coords=COORDS if self.coords else "",
        )

    def observe(self, view: Board, seat: str) -> list[Line]:
        seats = self.seats if self.first == "x" else self.seats[::-1]
        moves = list(map(_said, itertools.cycle(seats), view.moves))
        lines: list[Line] = []
        if self.symmetry != 0 or view.symmetry != 0:
            rows = (" ".join(str(cell) for cell in row) for row in self.grid(view.symmetry))
            lines.append(f"Cell numbers, row by row: {' / '.join(rows)}.")
        if view.opened:
            lines.append(f"Already played: {', '.join(f'{move.seat} {move.words}' for move in moves[: view.opened])}.")
        lines += moves[view.opened :] if view.opened else moves
        if view.line_of:
            winner = self.seats[MARKS.index(self.winner(view))]
            lines.append(f"{moves[-1].seat} has {self.in_a_row} in a line. {winner} wins.")
        elif len(view.moves) == self.size:
            lines.append("The board is full: a draw.")
        return lines

    def request(self, view: Board, seat: str) -> list[Line]:
        """The board, a line for each row: X, O, or the number of a free cell."""
        return list(_drawn(view.cells, self.rows, self.cols, view.symmetry))

    def legal_moves(self, view: Board, seat: str) -> tuple[int, ...]:
        return self._free(view) if seat in self.to_move(view) else ()

    def parse(self, view: Board, seat: str, text: str) -> int:
        to_move = seat in self.to_move(view)
        free = view.cells.find(FREE)
        hint = f"Write the number of a free cell, such as [{free}]." if to_move else "It is not your turn."
        command = extract_command(
            text,
            numbers=True,
            select=self.select,
            hint=hint,
            meaning=lambda each: self._cell_named(each.args, view.symmetry),
        )
        cell = self._cell_named(command.args, view.symmetry)
        if not to_move or view.cells[cell] != FREE:
            raise IllegalMove("illegal_now", f"Cell {cell} is taken. {hint}")
        return cell

    def _cell_named(self, args: str, symmetry: int) -> int:
        if self.coords and args.count(",") == 1:
            row, col = args.split(",")
            row_number = parse_integer(row, 0, self.rows - 1, what="The row")
            return self.grid(symmetry)[row_number][parse_integer(col, 0, self.cols - 1, what="The column")]
        return parse_integer(args, 0, self.size - 1, what="The cell")
