"""Where in the user's program an operation comes from, for those who ask."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import islice

__all__ = ["levels_to_user", "noting_sources", "source_here"]

PACKAGE = __file__.rsplit(os.sep, 2)[0]  # pathlib would take a twentieth of what importing gradkit does

_source: ContextVar[str | None] = ContextVar("gradkit_source", default=None)


@contextmanager
def noting_sources(source: str = "") -> Iterator[None]:
    """Note operations with their source inside a ``with`` block: the line that runs, or the one that is given."""
    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)


def source_here() -> str | None:
    """Return ``file:line:column (function)`` of the innermost frame outside this package; None where nobody asks."""
    given = _source.get()
    if given is None or given:
        return given
    frame = sys._getframe(1)
    while frame.f_code.co_filename.startswith(PACKAGE):
        if frame.f_back is None:
            return ""
        frame = frame.f_back
    code = frame.f_code
    line, _, column, _ = next(islice(code.co_positions(), frame.f_lasti // 2, None))
    return f"{code.co_filename}:{line}:{column} ({code.co_qualname})"


def levels_to_user() -> int:
    """Return the `stacklevel` with which a warning of the function that asks names the line of the user's program."""
    frame, level = sys._getframe(1), 1
    while frame.f_code.co_filename.startswith(PACKAGE) and frame.f_back is not None:
        frame, level = frame.f_back, level + 1
    return level
