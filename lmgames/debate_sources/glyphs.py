"""Noisy digits on an 8 x 8 grid with 4 grey levels, drawn from strokes of our own; nothing is downloaded or shipped as data.

Only additions, multiplications, divisions and square roots decide a level, so a glyph is the same on every machine.
"""

import itertools

import numpy as np

from lmgames.chance import Chance

SIDE = 8  # pixels
LEVELS = 4  # grey levels, 0 is empty
STROKES: tuple[tuple[tuple[float, float], ...], ...] = (
    ((0.5, 0.1), (0.75, 0.28), (0.75, 0.72), (0.5, 0.9), (0.25, 0.72), (0.25, 0.28), (0.5, 0.1)),
    ((0.33, 0.28), (0.55, 0.1), (0.55, 0.9)),
    ((0.25, 0.28), (0.5, 0.1), (0.75, 0.3), (0.25, 0.9), (0.77, 0.9)),
    ((0.25, 0.13), (0.55, 0.1), (0.75, 0.29), (0.45, 0.48), (0.75, 0.69), (0.55, 0.9), (0.25, 0.87)),
    ((0.65, 0.9), (0.65, 0.1), (0.22, 0.65), (0.8, 0.65)),
    ((0.72, 0.1), (0.3, 0.1), (0.28, 0.46), (0.6, 0.43), (0.75, 0.66), (0.55, 0.9), (0.25, 0.86)),
    ((0.68, 0.12), (0.4, 0.3), (0.27, 0.65), (0.48, 0.9), (0.72, 0.7), (0.52, 0.5), (0.3, 0.62)),
    ((0.22, 0.1), (0.77, 0.1), (0.43, 0.9)),
    ((0.5, 0.48), (0.28, 0.29), (0.5, 0.1), (0.72, 0.29), (0.5, 0.48), (0.25, 0.7), (0.5, 0.9), (0.75, 0.7), (0.5, 0.48)),
    ((0.7, 0.38), (0.45, 0.5), (0.28, 0.3), (0.52, 0.1), (0.73, 0.3), (0.66, 0.65), (0.35, 0.88)),
)
"""Each digit's stroke as corner points (x to the right, y downwards) in the unit square."""
_CENTRES = (np.arange(SIDE) + 0.5) / SIDE
_X, _Y = np.meshgrid(_CENTRES, _CENTRES)


def draw_glyph(digit: int, chance: Chance, noise: float) -> list[list[int]]:
    """A digit as rows of grey levels 0..3.

    Args:
        digit: 0 to 9.
        chance: bends, shifts, scales and slants the stroke and draws the noise.
        noise: probability that a pixel is given a random level.
    """
    distance = np.full((SIDE, SIDE), 2.0)
    corners = _bent_stroke(digit, chance)
    for start, end in itertools.pairwise(corners):
        distance = np.minimum(distance, _distance_to(start, end))
    thickness = 0.05 + 0.04 * chance.uniform("thickness")
    ink = np.clip(1.0 - (distance - thickness) / 0.09, 0.0, 1.0)
    levels = np.floor(ink * (LEVELS - 1) + 0.5).astype(int).ravel().tolist()
    for pixel in range(SIDE * SIDE):
        if chance.uniform("noise", pixel) < noise:
            levels[pixel] = chance.integer("noise level", pixel, high=LEVELS - 1)
    return [levels[row * SIDE : (row + 1) * SIDE] for row in range(SIDE)]


def _bent_stroke(digit: int, chance: Chance) -> list[tuple[float, float]]:
    shift_x, shift_y, slant, width, height = (
        2.0 * chance.uniform(name) - 1.0 for name in ("shift x", "shift y", "slant", "width", "height")
    )
    corners = []
    for index, (x, y) in enumerate(STROKES[digit]):
        x += 0.08 * (chance.uniform("corner x", index) - 0.5) - 0.5
        y += 0.08 * (chance.uniform("corner y", index) - 0.5) - 0.5
        x, y = x * (0.95 + 0.15 * width) - 0.2 * slant * y, y * (0.97 + 0.1 * height)
        corners.append((x + 0.5 + 0.06 * shift_x, y + 0.5 + 0.04 * shift_y))
    return corners


def _distance_to(start: tuple[float, float], end: tuple[float, float]) -> np.ndarray:
    """Distance of each pixel's centre to a line segment, in widths of the picture."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = ((_X - start[0]) * dx + (_Y - start[1]) * dy) / (dx * dx + dy * dy)
    along = np.clip(along, 0.0, 1.0)
    gap_x, gap_y = _X - (start[0] + along * dx), _Y - (start[1] + along * dy)
    distance: np.ndarray = np.sqrt(gap_x * gap_x + gap_y * gap_y)
    return distance
