"""The processes that examples run in."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import warm_processes


@pytest.fixture(scope="session", autouse=True)
def processes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run examples in forks of one process; with --long each in a process of its own."""
    if request.config.getoption("--long") or not hasattr(os, "fork"):
        yield
        return
    with warm_processes.WarmProcesses() as warm_processes.warm:
        yield
    warm_processes.warm = None
