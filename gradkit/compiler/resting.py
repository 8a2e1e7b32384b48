"""Python's collector of cycles at rest: what compiling makes is all in use, and there is much of it to look at."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["no_collections"]


class _Resting:
    """How many threads are inside a block, where the collector was at work before the first."""

    blocks = 0
    lock = threading.Lock()


@contextmanager
def no_collections() -> Iterator[None]:
    """Let the collector rest inside a ``with`` block, if it is at work; blocks of several threads may overlap."""
    with _Resting.lock:
        counts = _Resting.blocks > 0 or gc.isenabled()
        if counts:
            gc.disable()
            _Resting.blocks += 1
    try:
        yield
    finally:
        if counts:
            with _Resting.lock:
                _Resting.blocks = max(_Resting.blocks - 1, 0)  # in a child it may have been set to 0 meanwhile
                if not _Resting.blocks:
                    gc.enable()


def _in_child() -> None:
    """Go on in a child with the one thread that it has: one that is inside a block would not wake it up again."""
    _Resting.lock = threading.Lock()
    if _Resting.blocks:
        _Resting.blocks = 0
        gc.enable()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
