"""Memory that programs keep from one call to the next, within a limit for all of them together.

A program writes into memory of its earlier calls, which it would else ask the system for, page by page, at each. It is
known for long after its last call, as another function may turn out to compute the same; so without a limit whatever
ran once would hold memory for ever.
"""

from __future__ import annotations

import os
import threading
from typing import Protocol
from weakref import WeakKeyDictionary

__all__ = ["LIMIT", "note_kept"]

LIMIT = 512 << 20
"""Bytes."""


class Holder(Protocol):
    """A program."""

    def forget(self) -> None:
        """Let go of what is kept."""


_holders: WeakKeyDictionary[Holder, int] = WeakKeyDictionary()
"""How many bytes each keeps; the one that began last is the last."""
_lock = threading.RLock()  # a finalizer that runs meanwhile may call a program


def note_kept(program: Holder, size: int) -> None:
    """Note that a program keeps memory from now on; of too much the others forget theirs, who began first the first."""
    with _lock:
        _holders.pop(program, None)
        _holders[program] = size
        surplus = sum(_holders.values()) - LIMIT
        for other in list(_holders):
            if surplus <= 0:
                break
            if other is not program:
                surplus -= _holders.pop(other, 0)
                other.forget()


def _unlocked() -> None:
    """Let a child that was made while another thread held the lock go on: that thread is not in it."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlocked)
