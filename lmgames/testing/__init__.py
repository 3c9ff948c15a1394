"""The conformance suite: what must hold of every game, ours or a user's.

    from lmgames.testing import check_game
    print(check_game("KuhnPoker-v0", options=[{}, {"hands": 2}]))

`CHECKS` names every check; their docstrings say what they hold a game to.
"""

from lmgames.testing import official, repeatable, soundness, secrecy, replies  # noqa: I001  # they enter their checks, in this order
from lmgames.testing.suite import CHECKS, Check, ConformanceError, Report, Result, Subject, check_game

__all__ = ["CHECKS", "Check", "ConformanceError", "Report", "Result", "Subject", "check_game"]

assert official
assert repeatable
assert soundness
assert secrecy
assert replies
