"""The kinds of settings: a value for the process, and others inside the blocks of threads and tasks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gradkit.backend import openings
from gradkit.blocks import BlockValue

__all__ = ["ALGORITHMS", "MATMUL_PRECISIONS", "Precision", "Setting", "checked_precision"]

ALGORITHMS = tuple(
    """
    ANY_F8_ANY_F8_F32 ANY_F8_ANY_F8_F32_FAST_ACCUM ANY_F8_ANY_F8_ANY ANY_F8_ANY_F8_ANY_FAST_ACCUM F16_F16_F16
    F16_F16_F32 BF16_BF16_BF16 BF16_BF16_F32 BF16_BF16_F32_X3 BF16_BF16_F32_X6 BF16_BF16_F32_X9 TF32_TF32_F32
    TF32_TF32_F32_X3 F32_F32_F32 F64_F64_F64
    """.split()
)
"""JAX's names of how products may be computed: the factors' format, what is summed in, and in how many products."""
MATMUL_PRECISIONS = (
    "default", "high", "highest", "bfloat16", "tensorfloat32", "float32", *ALGORITHMS,
)  # fmt: skip
"""What ``jax_default_matmul_precision`` may be, beside None."""

UNSET = "unset"
"""The precision where no block chooses one."""


class Setting:
    """A value for the process, and another inside the blocks that are open in a thread or task."""

    def __init__(self, name: str, value: bool = False) -> None:
        self.name = name
        self.everywhere = value
        self.here = BlockValue[bool | None](f"gradkit_{name}", None)
        self.blocks = 0  # those that switch it on, in all threads
        self.on = value  # in any thread
        self.lock = threading.Lock()
        self.listeners: list[Callable[[bool], None]] = []

    def __get__(self, instance: Any, owner: type) -> bool:
        here = self.here.variable.get()
        if here is None:  # the common case first: it is asked for each new number
            return self.everywhere
        found = self.here.get()
        return self.everywhere if found is None else found

    def __set__(self, instance: Any, value: bool) -> None:
        with self.lock:
            self.everywhere = value
            openings.generation += 1
            self._tell()

    @contextmanager
    def block(self, value: bool) -> Iterator[None]:
        """Have it inside a ``with`` block, in this thread or task."""
        openings.blocks.append(None)
        self._count(value)
        try:
            with self.here.block(value):
                yield
        finally:
            self._count(-value)
            openings.blocks.pop()

    def _count(self, more: int) -> None:
        if more:
            with self.lock:
                self.blocks += more
                self._tell()

    def _tell(self) -> None:
        on = self.everywhere or self.blocks > 0
        if on != self.on:
            self.on = on
            for listener in self.listeners:
                listener(on)


class Precision:
    """The precision of products for the process, and another inside the blocks that are open in a thread or task."""

    def __init__(self) -> None:
        self.everywhere: str | None = None
        self.here = BlockValue[str | None]("gradkit_default_matmul_precision", UNSET)
        self.was_chosen = False
        """Whether there has been another than the library's own: what products look at first."""

    def __get__(self, instance: Any, owner: type) -> str | None:
        here = self.here.get()
        return self.everywhere if here == UNSET else here

    def __set__(self, instance: Any, value: str | None) -> None:
        self.everywhere = checked_precision(value, "config.update('jax_default_matmul_precision', value)")
        self.was_chosen |= value is not None
        openings.generation += 1

    @contextmanager
    def block(self, value: str | None) -> Iterator[None]:
        """Have it inside a ``with`` block, in this thread or task."""
        self.was_chosen |= value is not None
        openings.blocks.append(None)
        try:
            with self.here.block(value):
                yield
        finally:
            openings.blocks.pop()


def checked_precision(value: Any, caller: str) -> str | None:
    """Return a precision, if it is one that `caller` may be given."""
    if value is not None and not (type(value) is str and value in MATMUL_PRECISIONS):
        raise ValueError(f"{caller}: expected None or one of {', '.join(MATMUL_PRECISIONS)}; got {value!r}")
    return value
