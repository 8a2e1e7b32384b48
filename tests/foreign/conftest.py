"""What the project's tests have in common: an option and a mark of its own, and tables."""

from __future__ import annotations

from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the project's own option."""
    parser.addoption("--database", default="sqlite")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the project's own mark, of a name that gradkit's plugin has too."""
    config.addinivalue_line("markers", "skip_backend(database): do not run the test on this database")


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str:
    """The database that was chosen."""
    chosen: str = request.config.getoption("--database")
    if any(chosen in mark.args for mark in request.node.iter_markers("skip_backend")):
        pytest.skip(f"not on {chosen}")
    return chosen


@pytest.fixture(scope="module")
def table(xp: Any) -> Any:
    """A table on each backend in turn."""
    return xp.asarray([[1.0, 2.0, 3.0], [4.0, -5.0, 6.0], [0.5, 0.0, -1.0]])


@pytest.fixture(scope="session")
def large_table(session_xp: Any) -> Any:
    """A table that is made once a session on each backend."""
    return session_xp.reshape(session_xp.arange(60.0), (20, 3))
