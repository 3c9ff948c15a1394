"""Options of the test run."""

import pytest
from hypothesis import settings

# The same examples every time, and no limit on seconds: a busy machine is no failure.
settings.register_profile("lmgames", deadline=None, derandomize=True)
settings.load_profile("lmgames")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden/ instead of comparing with it")
