"""Values for a ``with`` block of a thread or task, however several blocks overlap.

A context variable that is set when a block begins, and reset when it ends, is right for blocks that end in the order of
their nesting. Those of generators need not: of two that are suspended inside a block each, the one that began first may
end first, and its reset would bring back the value from before, and the other's the value of a block that is over. So
the blocks themselves are kept, and the one that began last of those that are open has its way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Generic, TypeVar

__all__ = ["BlockValue"]

T = TypeVar("T")


class Block(Generic[T]):
    """A block, and the value in it."""

    __slots__ = ("is_open", "value")

    def __init__(self, value: T) -> None:
        self.value = value
        self.is_open = True


class Blocks(Generic[T]):
    """The blocks that a thread or task is in, in the order in which they began; as true as their value is."""

    __slots__ = ("blocks", "outside")

    def __init__(self, blocks: tuple[Block[T], ...], outside: T) -> None:
        self.blocks = blocks
        self.outside = outside

    def value(self) -> T:
        """Return the value of the last one that is open, or the one outside of blocks."""
        return next((block.value for block in reversed(self.blocks) if block.is_open), self.outside)

    def __bool__(self) -> bool:
        return bool(self.value())


class BlockValue(Generic[T]):
    """A value of the thread or task, which blocks set.

    A generator that is suspended in a block leaves it open for whoever continues it, as a fixture of pytest's is meant
    to; it ends when the generator does.

    Parameters
    ----------
    name : str
        What it is called.
    outside : object
        The value outside of blocks.

    Attributes
    ----------
    variable : ContextVar
        It holds `outside`, or `Blocks`. Where the value is a bool, so that ``if variable.get()`` is a test of it.
    """

    def __init__(self, name: str, outside: T) -> None:
        self.outside = outside
        self.variable: ContextVar[T | Blocks[T]] = ContextVar(name, default=outside)

    def get(self) -> T:
        """Return the value."""
        found = self.variable.get()
        return found.value() if type(found) is Blocks else found  # type: ignore[return-value]

    @contextmanager
    def block(self, value: T) -> Iterator[None]:
        """Set the value inside a ``with`` block."""
        block = Block(value)
        token = self.variable.set(Blocks((*self._open(), block), self.outside))
        try:
            yield
        finally:
            blocks = self._open()
            try:
                self.variable.reset(token)
            except ValueError:
                # Another task ends the generator: it cannot reach what the one that began it has.
                block.is_open = False
            else:
                rest = tuple(one for one in blocks if one is not block)
                self.variable.set(Blocks(rest, self.outside) if rest else self.outside)

    def _open(self) -> tuple[Block[T], ...]:
        found = self.variable.get()
        return tuple(block for block in found.blocks if block.is_open) if type(found) is Blocks else ()
