"""Where the arrays of a graph are: each in a buffer of its own, or, a view, in that of what it is a view of."""

from __future__ import annotations

from typing import Any

from gradkit.backend.plan import Buffer, Layout, row_by_row
from gradkit.compiler.access import everything, read_by, through
from gradkit.compiler.fusing import Fusion
from gradkit.core.array import Array, raw
from gradkit.core.graph import Variable

__all__ = ["Arrays"]


class Arrays:
    """The arrays of one graph.

    Parameters
    ----------
    fusion : Fusion
        Which of its values are in memory, and which views have memory of their own.
    """

    def __init__(self, fusion: Fusion) -> None:
        self._fusion = fusion
        self._known: dict[Variable, Buffer] = {}

    def buffer(self, x: Variable, kind: str = "temporary") -> Buffer:
        """Return the memory of an array, of that kind if it is asked for the first time."""
        buffer = self._known.get(x)
        if buffer is None:
            buffer = self._known[x] = Buffer(tuple(x.shape), x.dtype.name, kind)
        return buffer

    def layout(self, x: Variable) -> Layout:
        """Return where the elements of an array are: its own memory, or what it is a view of."""
        equation = self._fusion.producers.get(x)
        if x not in self._known and x not in self._fusion.copied and equation is not None:
            access = through(equation, everything(x.shape))
            before = equation.inputs[0]
            if access is not None:
                return read_by(self.layout(before), access, x.shape)
            if equation.primitive.name == "reshape":
                layout = self.layout(before)
                return Layout(layout.buffer, tuple(x.shape), row_by_row(x.shape), layout.offset)
        return self.buffer(x).whole

    def operand(self, x: Any) -> Any:
        """Return what a call is given: a layout, a raw array or a number."""
        return self.layout(x) if type(x) is Variable else raw(x) if type(x) is Array else x
