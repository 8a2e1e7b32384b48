"""How many inputs random tests draw."""

from __future__ import annotations

from hypothesis import settings

__all__ = ["examples"]

USUAL = 100
"""How many Hypothesis draws where nothing is said, as conftest.py has it with ``--long``."""


def examples(long: int, short: int | None = None) -> int:
    """Return how many a test draws: `long` with ``--long``, and otherwise `short`, or as small a part as elsewhere."""
    number = settings().max_examples
    if number < USUAL and short is not None:
        return short
    return long * number // USUAL
