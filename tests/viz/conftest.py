"""What is alive when a graph is drawn."""

from __future__ import annotations

import gc

import pytest


@pytest.fixture(scope="module", autouse=True)
def few_objects() -> None:
    """Take what other files have left from the garbage collector, which `draw` asks for all objects: a million."""
    gc.freeze()
