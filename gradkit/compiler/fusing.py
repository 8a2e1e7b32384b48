"""Fusing: which operations of a graph become one nest of loops.

The graph is read backwards, so whoever reads a value is known before the operation that makes it: each reader leaves a
*demand*, the group and the access by which it reads. An elementwise operation with one demand alone becomes part of
that group, through views as well; any other begins a group of its own, which keeps its result in memory. Since all that
reads a value is in one group, nothing is ever between the two, so no order of the nests is lost. Afterwards groups over
the same positions are put together (`merging`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from gradkit.backend.plan import row_by_row
from gradkit.compiler.access import (
    RUNNING,
    SCATTERS,
    VIEWS,
    Access,
    Sizes,
    broadcast_access,
    everything,
    indexed_shape,
    operand_accesses,
    steps_of,
    through,
    through_index,
)
from gradkit.compiler.groups import Group, Kept, Single
from gradkit.compiler.passes import reads, variables_in
from gradkit.core.graph import Equation, Graph, Variable
from gradkit.core.structured import LinearReduction, Reduction

__all__ = ["LARGEST", "Fusion", "fused"]

PARTS = ("concatenate", "pad_index", "set_index")
"""What puts arrays into a larger one; those without elements change nothing."""
LARGEST = 120
"""Operations in a nest: what is far longer takes a compiler of machine code more than linear time."""


def fused(
    graph: Graph,
    takes: Callable[[Equation], bool],
    reduces: Callable[[Equation], bool],
    scatters: Callable[[Equation], bool],
    joins: Callable[[Equation], bool],
) -> Fusion:
    """Return the groups of a graph, and what was found out on the way; the arguments are those of `Fusion`."""
    fusion = Fusion(graph, takes, reduces, scatters, joins)
    fusion.run()
    return fusion


class Fusion:
    """The groups of a graph.

    Parameters
    ----------
    graph : Graph
        What to fuse.
    takes, reduces, scatters : callable
        Whether an equation may be part of a nest: elementwise, as a reduction (one that runs along an axis, too), or as
        an update by positions.
    joins : callable
        Whether a sum may become part of a product.
    """

    def __init__(
        self,
        graph: Graph,
        takes: Callable[[Equation], bool],
        reduces: Callable[[Equation], bool],
        scatters: Callable[[Equation], bool],
        joins: Callable[[Equation], bool],
    ) -> None:
        self.graph = graph
        self.joins = joins
        self.takes = takes
        self.reduces = reduces
        self.scatters = scatters
        self.producers = {out: equation for equation in graph.equations for out in equation.outputs}
        self.outputs = set(variables_in(graph.outputs))
        self.kept: set[Variable] = set(self.outputs)
        """What has to be in memory."""
        self.copied: set[Variable] = set()
        """Views that have memory of their own."""
        self.nodes: list[Group | Single] = []
        self._demands: dict[Variable, list[tuple[Group, Access]]] = defaultdict(list)
        """Which groups read a value, and how."""
        self._reads = reads(graph)
        self._taken: set[Equation] = set()
        """Operations that are part of a product."""

    def run(self) -> None:
        """Read the graph backwards."""
        for number in reversed(range(len(self.graph.equations))):
            equation = self.graph.equations[number]
            if equation not in self._taken:
                self._read(equation, number)
        self.nodes.reverse()
        self.nodes.sort(key=lambda node: node.position)

    def _read(self, equation: Equation, number: int) -> None:
        primitive = equation.primitive
        name = primitive.name
        if primitive.has_effect(equation.params) or len(equation.outputs) != 1:
            self._single(equation, number)
            return
        out = equation.outputs[0]
        if out not in self.kept and not self._demands[out]:
            pass
        elif name in VIEWS and (name != "getitem" or through(equation, everything(out.shape)) is not None):
            self._view(equation, number)
        elif 0 in out.shape or (name not in PARTS and any(0 in x.shape for x in variables_in(equation.inputs))):
            self._single(equation, number)
        elif self.takes(equation):
            self._pointwise(equation, number)
        elif name in RUNNING and not equation.params["reverse"] and self.reduces(equation):
            self._running(equation, number)
        elif name in SCATTERS and self.scatters(equation):
            self._scatter(equation, number)
        elif isinstance(primitive, Reduction | LinearReduction) and self.reduces(equation):
            self._reduction(equation, number)
        elif name == "concatenate":
            self._pieces(equation, number)
        elif name in PARTS and self._part(equation, number):
            pass
        else:
            self._single(equation, number)

    def _single(self, equation: Equation, number: int) -> None:
        self.kept.update(variables_in(equation.inputs))
        self.nodes.append(Single(equation, (number, 1)))

    def _view(self, equation: Equation, number: int) -> None:
        """Pass on who reads it; what needs it as an array gets the argument's memory, or a copy."""
        (x,), out = equation.inputs, equation.outputs[0]
        for group, access in self._demands[out]:
            before = through(equation, access)
            if before is None:
                self.kept.add(out)
            else:
                self._demand(x, group, before)
        if out in self.kept:
            moved = through(equation, everything(out.shape)) is None and not self._lies_row_by_row(x)
            if type(x) is not Variable or out in self.outputs or moved:
                self._copy(equation, number)
            else:
                self.kept.add(x)

    def _copy(self, equation: Equation, number: int) -> None:
        """Keep a view in memory of its own."""
        x, out = equation.inputs[0], equation.outputs[0]
        self.copied.add(out)
        before = through(equation, everything(out.shape))
        if before is None:  # the elements of a reshaped array lie as before
            group = self._group(x.shape, number, Kept(out, x, row_by_row(x.shape)))
            self._demand(x, group, everything(x.shape))
        else:
            group = self._group(out.shape, number, Kept(out, out, row_by_row(out.shape)))
            self._demand(x, group, before)

    def _lies_row_by_row(self, x: Variable) -> bool:
        equation = self.producers.get(x)
        while equation is not None and equation.primitive.name == "reshape":
            x = equation.inputs[0]
            equation = self.producers.get(x) if type(x) is Variable else None
        return equation is None or equation.primitive.name not in VIEWS

    def _pointwise(self, equation: Equation, number: int) -> None:
        out = equation.outputs[0]
        demands = self._demands[out]
        group = None
        if out not in self.kept and len(set(demands)) == 1:
            group, access = demands[0]
            size = math.prod(out.shape)
            # What is broadcast in the group would be computed again and again, unless it is one number.
            if len(group.entries) >= LARGEST or not (math.prod(group.space) <= size or size == 1):
                group = None
        if group is None:
            if self._product_and_sum(equation, number):
                return
            self.kept.add(out)
            access = everything(out.shape)
            group = self._group(out.shape, number, Kept(out, out, row_by_row(out.shape)))
        group.entries.append(equation)
        group.accesses[out] = access
        for x, how in operand_accesses(equation, access):
            if how is None:  # any element of it may be read at any position
                self.kept.add(x)
            else:
                self._demand(x, group, how)

    def _product_and_sum(self, equation: Equation, number: int) -> bool:
        """Make ``t + c * (a @ b)``, and what is like it, a product that is added to a copy of `t`."""
        out = equation.outputs[0]
        if equation.primitive.name not in ("add", "subtract") or not self.joins(equation):
            return False
        for position in (1, 0):
            other, term = equation.inputs[1 - position], equation.inputs[position]
            sign = -1.0 if equation.primitive.name == "subtract" else 1.0
            if (sign < 0 and position == 0) or type(other) is not Variable or other.shape != out.shape:
                continue
            found = self._scaled_product(term)
            if found is not None and found[-1].outputs[0].shape == out.shape:
                scale, *between, product = found
                self._taken.update([*between, product])
                self.kept.add(out)
                self.kept.update(variables_in(product.inputs))
                fused = Equation(product.primitive, product.inputs, product.params, (out,))
                self.nodes.append(Single(fused, (number, 1), sign * scale, adds=True))
                group = self._group(out.shape, number, Kept(out, other, row_by_row(out.shape)))
                self._demand(other, group, everything(out.shape))
                return True
        return False

    def _scaled_product(self, term: Any) -> tuple[Any, ...] | None:
        """Return a number, and the operations of ``number * (a @ b)``, if that is what a value is, read here alone."""
        scale: float = 1.0
        between: list[Equation] = []
        while type(term) is Variable and self._reads[term] == 1 and term.dtype.kind == "f":
            equation = self.producers.get(term)
            if equation is None:
                return None
            if equation.primitive.name == "matmul":
                return (scale, *between, equation)
            numbers = [x for x in equation.inputs if type(x) in (int, float)]
            if equation.primitive.name != "multiply" or len(numbers) != 1:
                return None
            scale *= numbers[0]
            between.append(equation)
            term = next(x for x in equation.inputs if x is not numbers[0])
        return None

    def _reduction(self, equation: Equation, number: int) -> None:
        (x,), out = equation.inputs, equation.outputs[0]
        primitive: Any = equation.primitive
        axes, keepdims = equation.params["axis"], equation.params["keepdims"]
        rest = iter(row_by_row(out.shape))
        strides = []
        for axis in range(len(x.shape)):
            stride = next(rest) if keepdims or axis not in axes else 0
            strides.append(0 if axis in axes else stride)  # one that is kept has size 1, and so no steps
        identity = primitive.identity_of(out.dtype.name)
        kept = Kept(out, x, tuple(strides), 0, primitive.combine, identity, tuple(axes))
        self.kept.add(out)
        group = self._group(x.shape, number, kept)
        self._demand(x, group, everything(x.shape))

    def _running(self, equation: Equation, number: int) -> None:
        (x,), out = equation.inputs, equation.outputs[0]
        combine, identity = RUNNING[equation.primitive.name]
        running = equation.params["axis"]
        kept = Kept(out, x, row_by_row(out.shape), 0, combine, identity, running=running)
        self.kept.add(out)
        self._demand(x, self._group(x.shape, number, kept), everything(x.shape))

    def _scatter(self, equation: Equation, number: int) -> None:
        """Write what is there before, then element after element to where the positions say."""
        *before, updates, indices = equation.inputs
        out, axis = equation.outputs[0], equation.params["axis"]
        combine = SCATTERS[equation.primitive.name]
        strides = row_by_row(out.shape)
        self.kept.add(out)
        start = before[0] if before else 0
        group = self._group(out.shape, number, Kept(out, start, strides))
        if type(start) is Variable:
            self._demand(start, group, everything(out.shape))
        inner = tuple(0 if i == axis else stride for i, stride in enumerate(strides))
        place = ((axis, 0, 1),)
        moved = (indices, place, strides[axis], out.shape[axis])
        kept = Kept(out, updates, inner, combine=combine, scattered=moved)
        group = Group(tuple(updates.shape), (number, 1), kept=[kept])
        self.nodes.append(group)
        for x, access in ((updates, everything(updates.shape)), (indices, place)):
            self._demand(x, group, access)

    def _pieces(self, equation: Equation, number: int) -> None:
        """Let each part of a joined array be computed where it goes."""
        out, axis = equation.outputs[0], equation.params["axis"]
        strides = row_by_row(out.shape)
        start = 0
        self.kept.add(out)
        for part in equation.inputs:
            group = self._group(part.shape, number, Kept(out, part, strides, start * strides[axis]))
            if type(part) is Variable:
                self._demand(part, group, everything(part.shape))
            start += part.shape[axis]

    def _part(self, equation: Equation, number: int) -> bool:
        """Write what is there before, then a part of it."""
        *before, part = equation.inputs
        out = equation.outputs[0]
        sizes = indexed_shape(equation.params["index"], out.shape)
        access = through_index(equation.params["index"], out.shape, everything(sizes))
        if access is None:
            return False
        strides, offset = steps_of(access, row_by_row(out.shape), len(sizes))
        self.kept.add(out)
        start_value = before[0] if before else 0
        group = self._group(out.shape, number, Kept(out, start_value, row_by_row(out.shape)))
        if type(start_value) is Variable:
            self._demand(start_value, group, everything(out.shape))
        group = Group(sizes, (number, 1), kept=[Kept(out, part, strides, offset)])
        self.nodes.append(group)
        if type(part) is Variable:
            self._demand(part, group, broadcast_access(part.shape, everything(sizes)))
        return True

    def _group(self, space: Sizes, number: int, kept: Kept) -> Group:
        group = Group(space, (number, 0), kept=[kept])
        self.nodes.append(group)
        return group

    def _demand(self, x: Any, group: Group, access: Access) -> None:
        if type(x) is Variable:
            self._demands[x].append((group, access))
            if x not in self.producers:
                self.kept.add(x)

    # What a group reads

    def source(self, x: Any, access: Access, group: Group) -> tuple[Any, Access]:
        """Return what a group reads where one of its operations reads `x`: what views are of."""
        while type(x) is Variable and x not in group.accesses and x not in self.copied:
            equation = self.producers.get(x)
            before = None if equation is None else through(equation, access)
            if equation is None or before is None:
                break
            x, access = equation.inputs[0], before
        return x, access

    def loads(self, group: Group) -> Iterator[tuple[Variable, Access | None]]:
        """Yield which arrays in memory a group reads, and how; None where positions are values."""
        for x, access in self._operands(group):
            if access is None:
                yield x, None
                continue
            source, how = self.source(x, access, group)
            if type(source) is Variable and group.accesses.get(source) != how:
                yield source, how

    def _operands(self, group: Group) -> Iterator[tuple[Any, Access | None]]:
        for equation in group.entries:
            yield from operand_accesses(equation, group.accesses[equation.outputs[0]])
        for kept in group.kept:
            if kept.scattered is not None and type(kept.scattered[0]) is Variable:
                yield kept.scattered[:2]
            if type(kept.value) is Variable and kept.value not in group.accesses:
                if kept.value is kept.memory:  # the copy of a view
                    equation = self.producers[kept.value]
                    before = through(equation, everything(kept.value.shape))
                    assert before is not None
                    yield equation.inputs[0], before
                else:
                    yield kept.value, broadcast_access(kept.value.shape, everything(group.space))

    def root(self, x: Variable) -> Variable:
        """Return the array whose memory `x` has."""
        while x not in self.copied:
            equation = self.producers.get(x)
            if equation is None or equation.primitive.name not in VIEWS or type(equation.inputs[0]) is not Variable:
                break
            if equation.primitive.name == "getitem" and through(equation, everything(x.shape)) is None:
                break
            x = equation.inputs[0]
        return x
