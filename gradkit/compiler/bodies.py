"""The bodies of nests: from the operations of a group to what is computed at each position."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradkit.backend.plan import Index, Layout, Load, Number, Statement, Store
from gradkit.compiler.access import (
    FIRST,
    GATHERS,
    Access,
    broadcast_access,
    everything,
    index_access,
    read_by,
    through,
)
from gradkit.compiler.arrays import Arrays
from gradkit.compiler.fusing import Fusion
from gradkit.compiler.groups import Group, Kept
from gradkit.compiler.preparing import item_of
from gradkit.compiler.taking import CASTS, IDENTITIES, dtype_of
from gradkit.core.graph import Equation, Variable

__all__ = ["Body"]


class Body:
    """The body of a nest in the making: what is computed once, however often it is read.

    Parameters
    ----------
    fusion, arrays : Fusion, Arrays
        Of the graph: what its views are of, and where its arrays are.
    group : Group
        What becomes the nest.
    ranges : mapping from Variable to (int, int)
        Arrays that are start, start + step, ...: these two. They are counted and not read.

    Attributes
    ----------
    parts : list
        What is computed at each position, in order.
    """

    def __init__(
        self, fusion: Fusion, arrays: Arrays, group: Group, ranges: Mapping[Variable, tuple[int, int]]
    ) -> None:
        self._fusion, self._arrays, self._ranges = fusion, arrays, ranges
        self.group = group
        self.parts: list[Load | Number | Index | Statement] = []
        self._known: dict[Any, int] = {}
        """Positions of parts, by value, or by what they are."""

    def add(self, equation: Equation) -> None:
        """Write an operation down, after those whose results it reads."""
        out = equation.outputs[0]
        access = self.group.accesses[out]
        if equation.primitive.name in GATHERS:
            self._known[out] = self._gathered(equation, access)
            return
        operands = tuple(
            self.value(x, broadcast_access(x.shape, access) if type(x) is Variable else (), dtype_of(x, equation))
            for x in equation.inputs
        )
        name = equation.primitive.name
        if name in IDENTITIES:
            self._known[out] = operands[0]
        else:
            self._known[out] = self._new(Statement("astype" if name in CASTS else name, operands, out.dtype.name))

    def _gathered(self, equation: Equation, access: Access) -> int:
        x, indices = equation.inputs
        axis = equation.params["axis"]
        place = self.value(indices, index_access(equation, access), indices.dtype.name)
        layout = self._arrays.layout(x)
        # Where the positions count from: element 0 of that axis, and along the others the nest's own.
        whole = list(broadcast_access(x.shape, access) if equation.primitive.name == "take_along_axis" else access)
        whole[axis] = FIRST
        gathered = ((place, layout.strides[axis], x.shape[axis]),)
        return self._new(Load(read_by(layout, tuple(whole), self.group.space), gathered))

    def value(self, x: Any, access: Access, dtype: str) -> int:
        """Return the position in the body of a value that is read by an access."""
        group = self.group
        x, access = self._fusion.source(x, access, group)
        if type(x) is Variable and x in self._ranges:
            return self._counted(x, access)
        if type(x) is not Variable:
            number = item_of(x)
            # By its text: 0.0 and -0.0 are equal, as are 1 and True.
            return self._once((type(number), repr(number), dtype), Number(number, dtype))
        if group.accesses.get(x) == access and x in self._known:
            return self._known[x]
        layout = read_by(self._arrays.layout(x), access, group.space)
        return self._once((x, access), Load(layout))

    def _counted(self, x: Variable, access: Access) -> int:
        """Return the position of an element of a range, which is computed and not read."""
        start, step = self._ranges[x]
        dtype = x.dtype.name
        ((axis, first, stride),) = access
        start, step = start + step * first, step * stride
        if axis is None:
            return self._once(("number", start, dtype), Number(start, dtype))
        position = self._once(("index", axis, dtype), Index(axis, dtype))
        for name, number, nothing in (("multiply", step, 1), ("add", start, 0)):
            if number != nothing:
                other = self._once(("number", number, dtype), Number(number, dtype))
                position = self._once((name, position, other), Statement(name, (position, other), dtype))
        return position

    def store(self, kept: Kept) -> Store:
        """Keep a value."""
        buffer = self._arrays.buffer(kept.memory)
        value = kept.value
        if type(value) is not Variable:
            position = self.value(value, (), buffer.dtype)
        elif value is kept.memory and value not in self.group.accesses:  # the copy of a view
            equation = self._fusion.producers[value]
            before = through(equation, everything(value.shape))
            assert before is not None
            position = self.value(equation.inputs[0], before, buffer.dtype)
        else:
            whole = broadcast_access(value.shape, everything(self.group.space))
            position = self.value(value, self.group.accesses.get(value, whole), buffer.dtype)
        if self.parts[position].dtype != buffer.dtype:
            position = self._new(Statement("astype", (position,), buffer.dtype))
        layout = Layout(buffer, self.group.space, kept.strides, kept.offset)
        scattered: tuple[tuple[int, int, int], ...] = ()
        if kept.scattered is not None:
            indices, access, stride, size = kept.scattered
            scattered = ((self.value(indices, access, indices.dtype.name), stride, size),)
        return Store(position, layout, kept.combine, kept.identity, kept.reduced, scattered, kept.running)

    def _once(self, key: Any, part: Any) -> int:
        position = self._known.get(key)
        if position is None:
            position = self._known[key] = self._new(part)
        return position

    def _new(self, part: Any) -> int:
        self.parts.append(part)
        return len(self.parts) - 1
