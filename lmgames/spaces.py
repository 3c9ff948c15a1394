"""The space of texts: any string up to a length, in O(1).

Gymnasium's own `Text` refuses a space character by default, checks membership per character over a frozen set, and is
returned as garbage by `AsyncVectorEnv` with shared memory. This one is no subclass of it, so that the latter fails loudly.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Space


class TextSpace(Space[str]):
    """Every `str` of at most `max_chars` characters.

    Args:
        max_chars: longest member, characters.
        seed: of the sampler.
    """

    def __init__(self, max_chars: int, seed: int | np.random.Generator | None = None):
        if max_chars < 1:
            raise ValueError(f"max_chars must be at least 1, got {max_chars}")
        self.max_chars = max_chars
        super().__init__(shape=None, dtype=None, seed=seed)
        self.dtype = str  # type: ignore[assignment]  # what PettingZoo compares; numpy's str_ is another type

    def sample(self, mask: Sequence[str] | None = None, probability: Sequence[float] | None = None) -> str:
        """One of the texts in `mask` (e.g. `info["action_mask"]`, the legal moves), or a short random text without one."""
        if mask is not None and len(mask):
            index = self.np_random.choice(len(mask), p=probability)
            return mask[int(index)]
        length = int(self.np_random.integers(1, min(self.max_chars, 40) + 1))
        codes = self.np_random.integers(32, 127, size=length)
        return "".join(map(chr, codes))

    def contains(self, x: Any) -> bool:
        return isinstance(x, str) and len(x) <= self.max_chars

    @property
    def is_np_flattenable(self) -> bool:
        return False

    def __repr__(self) -> str:
        return f"TextSpace({self.max_chars})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TextSpace) and self.max_chars == other.max_chars

    __hash__ = None  # type: ignore[assignment]  # as Gymnasium's spaces: equal by value, so not hashable

    def to_jsonable(self, sample_n: Iterable[str]) -> list[Any]:
        return list(sample_n)

    def from_jsonable(self, sample_n: list[Any]) -> list[str]:
        return [str(sample) for sample in sample_n]
