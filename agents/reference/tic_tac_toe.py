"""Players of tic-tac-toe and its relatives. Each looks at the board alone, and chooses evenly among moves it holds equal."""

from collections.abc import Iterable, Mapping
from typing import Any

from agents.reference.base import MixedPlayer
from lmgames import solve
from lmgames.games.tic_tac_toe import FREE, MARKS, Board, TicTacToe
from lmgames.observation import Observation

MAX_FREE_CELLS = 12  # the empty 3 by 4 board takes some seconds, the first time


class Heuristic(MixedPlayer):
    """Takes the first of its wishes that can be had.

    In the misere game nobody wants a line, so only the middle and the corners are left to wish for.
    """

    block = False
    """Whether to take a cell where the other would complete a line."""
    places = False
    """Whether to prefer the middle, then the corners."""

    def mix(self, observation: Observation) -> Mapping[str, float]:
        game, board = observation.game, observation.view
        moves = next(filter(None, self._wishes(game, board)))
        return {game.write(move): 1.0 / len(moves) for move in moves}

    def _wishes(self, game: TicTacToe, board: Board) -> Iterable[list[int]]:
        free = [cell for cell, mark in enumerate(board.cells) if mark not in MARKS]
        mine = game.mark_to_move(board)
        other = MARKS[1 - MARKS.index(mine)]
        if not game.misere:
            yield completing(game, board, free, mine)
            if self.block:
                yield completing(game, board, free, other)
        if self.places:
            safe = [cell for cell in free if cell not in completing(game, board, free, mine)] if game.misere else free
            yield [cell for cell in middle(game, board) if cell in safe]
            yield [cell for cell in corners(game, board) if cell in safe]
            yield safe
        yield free


class WinOrRandom(Heuristic):
    """Completes a line if it can, else plays at random."""


class WinBlockRandom(Heuristic):
    """Completes a line, else stops the other's, else plays at random."""

    block = True


class WinBlockCentreCorner(Heuristic):
    """Completes a line, else stops the other's, else takes the middle, else a corner, else plays at random."""

    block = True
    places = True


class Minimax(MixedPlayer):
    """Perfect play, uniform over all moves that keep the value; it does not hurry to win. For up to 12 free cells."""

    def mix(self, observation: Observation) -> Mapping[str, float]:
        free = observation.view.cells.count(FREE)
        if free > MAX_FREE_CELLS:
            raise ValueError(f"minimax searches boards of up to {MAX_FREE_CELLS} free cells, this one has {free}")
        moves = solve.minimax(observation.game).optimal_moves(observation.view)
        return dict.fromkeys(moves, 1.0 / len(moves))


def completing(game: TicTacToe, board: Board, free: Iterable[int], mark: str) -> list[int]:
    """Free cells that would give `mark` a line."""
    return [
        cell
        for cell in free
        if any(
            all(board.cells[each] == mark for each in line if each != cell)
            for line in game.lines_through(cell, board.symmetry)
        )
    ]


def middle(game: TicTacToe, board: Board) -> list[int]:
    """The one, two or four cells in the middle of the board."""
    grid = game.grid(board.symmetry)
    rows = {(game.rows - 1) // 2, game.rows // 2}
    cols = {(game.cols - 1) // 2, game.cols // 2}
    return [grid[row][col] for row in sorted(rows) for col in sorted(cols)]


def corners(game: TicTacToe, board: Board) -> list[int]:
    """The corners of the board."""
    grid = game.grid(board.symmetry)
    return sorted({grid[row][col] for row in (0, -1) for col in (0, -1)})


PLAYERS: dict[str, Any] = {
    "win_or_random": WinOrRandom,
    "win_block_random": WinBlockRandom,
    "win_block_centre_corner": WinBlockCentreCorner,
    "minimax": Minimax,
}
