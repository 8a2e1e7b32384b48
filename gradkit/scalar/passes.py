"""The backward pass over Values: from a result to the numbers it was computed from, each after all that depends on it.

Values depend on values that were there before, so there are no cycles, and counting suffices for the order: the first
loop counts how many values of the computation use each one, the second takes a value when the last of them has been
taken. No recursion, no sorting: the length of a computation is limited by memory alone.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from gradkit.config import config
from gradkit.scalar.operations import not_a_number

if TYPE_CHECKING:
    from gradkit.scalar.value import Value

__all__ = ["accumulate"]

_one_at_a_time = threading.Lock()  # the counts are kept in the values, which threads may share


def accumulate(root: Value, seed: float) -> None:
    """Add the gradients of `seed` times `root` to the ``grad`` of every value it was computed from, and its own."""
    with _one_at_a_time:
        if root._first is None:
            root._grad += seed
        else:
            _accumulate(root, seed)


def _accumulate(root: Value, seed: float) -> None:
    order = [root]
    # What a value had before comes on top at the end: it is not to be handed on again.
    earlier = [(root, root._grad)] if root._grad else []
    root._grad = seed
    try:
        found = order.append
        for node in order:  # which grows on the way
            child = node._first
            if child._first is not None:
                count = child._pending
                if not count:
                    found(child)
                    if child._grad:
                        earlier.append((child, child._grad))
                        child._grad = 0.0
                child._pending = count + 1
            child = node._second
            if child is not None and child._first is not None:
                count = child._pending
                if not count:
                    found(child)
                    if child._grad:
                        earlier.append((child, child._grad))
                        child._grad = 0.0
                child._pending = count + 1

        ready = [root]
        take, put = ready.pop, ready.append
        while ready:
            node = take()
            gradient = node._grad
            child = node._first
            child._grad += gradient * node._first_slope
            count = child._pending
            if count:
                child._pending = count - 1
                if count == 1:
                    put(child)
            child = node._second
            if child is not None:
                child._grad += gradient * node._second_slope
                count = child._pending
                if count:
                    child._pending = count - 1
                    if count == 1:
                        put(child)
    except BaseException:  # Ctrl-C: the next pass counts from 0
        for node in order:
            node._pending = 0
        raise
    if config.jax_debug_nans:
        _refuse_nans(order)
    for node, gradient in earlier:
        node._grad += gradient


def _refuse_nans(order: list[Value]) -> None:
    for node in order:
        for child in (node._first, node._second):
            if child is not None and child._grad != child._grad:
                raise not_a_number(f"the derivative of {node._operation.name}")  # type: ignore[union-attr]


def _unlocked() -> None:
    """Let a child that was made while another thread held the lock go on: that thread is not in it."""
    global _one_at_a_time
    _one_at_a_time = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlocked)
