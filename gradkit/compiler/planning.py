"""Planning: from a captured graph to a `Plan`: nests, products, calls, loops and choices over planned buffers.

What becomes a nest is said by `fusing` and `merging`, what a nest does by `bodies`, where arrays are by `arrays` and
`memory`; the nodes are put together here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gradkit.backend import NARROW, Backend
from gradkit.backend.plan import (
    Buffer,
    Call,
    Choice,
    Layout,
    Load,
    Loop,
    Nest,
    Node,
    Number,
    Plan,
    Product,
    Store,
    While,
    lies_row_by_row,
)
from gradkit.backend.printers import Printer
from gradkit.compiler.access import GATHERS, RUNNING
from gradkit.compiler.arrays import Arrays
from gradkit.compiler.bodies import Body
from gradkit.compiler.fusing import Fusion, fused
from gradkit.compiler.groups import Group, Single
from gradkit.compiler.memory import place_buffers
from gradkit.compiler.merging import merged
from gradkit.compiler.operating import run_higher_order
from gradkit.compiler.preparing import item_of, plannable
from gradkit.compiler.taking import CASTS, IDENTITIES, is_taken
from gradkit.core.families import Elementwise
from gradkit.core.graph import Equation, Graph, HigherOrder, Variable
from gradkit.core.narrow import widened_kernel
from gradkit.core.promotion import PYTHON_NUMBERS

__all__ = ["planned"]

NO_RANGES: Mapping[Variable, tuple[int, int]] = {}

WORTH_A_COPY = 1 << 15
"""Multiplications in a product from which on matrices whose neighbours lie apart are copied first."""


def planned(
    graph: Graph,
    printer: Printer,
    backend: Backend,
    donated: Sequence[int] = (),
    ranges: Mapping[Variable, tuple[int, int]] = NO_RANGES,
) -> Plan:
    """Return the plan of a graph without constants, whose results are results of its operations, each once.

    Parameters
    ----------
    graph : Graph
        The program (see `plannable`).
    printer : Printer
        Who will print it.
    backend : Backend
        Whose kernels the calls are of.
    donated : sequence of int
        The arguments whose memory the results may take.
    ranges : mapping from Variable to (int, int)
        Arguments that are start, start + step, start + 2 * step ...: these two.
    """
    plan = Planner(graph, printer, backend, ranges).run(donated)
    plan.device = (graph.inputs or graph.outputs)[0].form.device.raw
    return plan


class Planner:
    """The making of one plan. The functions of loops and choices are planned by planners of their own."""

    def __init__(
        self,
        graph: Graph,
        printer: Printer,
        backend: Backend,
        ranges: Mapping[Variable, tuple[int, int]] = NO_RANGES,
    ) -> None:
        self.graph = graph
        self.ranges = ranges
        self.printer = printer
        self.backend = backend
        self.fusion: Fusion
        self.arrays: Arrays

    def run(self, donated: Sequence[int], carry: int | None = None) -> Plan:
        """Return the plan; in a step of a loop, the arguments from `carry` on that are donated are its carry."""
        graph = self.graph
        self.fusion = fused(graph, self._takes, self._reduces, self._scatters, self._joins)
        self.arrays = Arrays(self.fusion)
        arguments = [self.arrays.buffer(x, "argument") for x in graph.inputs]
        results = [self.arrays.buffer(x, "result") for x in graph.outputs]
        plan = Plan(arguments, results)
        for node in merged(self.fusion):
            plan.nodes.extend(self._nest(node) if isinstance(node, Group) else self._single(node))
        free: dict[Buffer, Buffer | None] = {arguments[i]: None for i in donated}
        if carry is not None:  # each part of a loop's carry stays where it is
            free = {arguments[carry + i]: result for i, result in enumerate(results) if i < len(donated)}
        place_buffers(plan, free)
        return plan

    # What the printer writes down

    def _takes(self, equation: Equation) -> bool:
        name = equation.primitive.name
        fits = isinstance(equation.primitive, Elementwise) or name in CASTS or name in GATHERS or name in IDENTITIES
        return fits and is_taken(self.printer, equation)

    def _reduces(self, equation: Equation) -> bool:
        primitive: Any = equation.primitive
        x, dtype = equation.inputs[0], equation.outputs[0].dtype.name
        if type(x) is not Variable:
            return False
        if primitive.name in RUNNING:
            return x.dtype.name == dtype and self.printer.takes("running", [dtype])
        if primitive.mean or primitive.combine == "logaddexp":
            return False
        return self.printer.takes(primitive.combine, [dtype] * 3) and self.printer.takes(
            "astype", [x.dtype.name, dtype]
        )

    def _scatters(self, equation: Equation) -> bool:
        *_, updates, indices = equation.inputs
        fits = type(updates) is Variable and type(indices) is Variable and updates.dtype == equation.outputs[0].dtype
        return fits and is_taken(self.printer, equation)

    def _joins(self, equation: Equation) -> bool:
        return self.printer.takes("product and sum", [equation.outputs[0].dtype.name] * 3)

    # Nests

    def _nest(self, group: Group) -> list[Node]:
        body = Body(self.fusion, self.arrays, group, self.ranges)
        for equation in reversed(group.entries):
            body.add(equation)
        stores = [body.store(kept) for kept in group.kept]
        return [Nest(group.space, tuple(body.parts), tuple(stores))]

    # Everything else

    def _single(self, node: Single) -> list[Node]:
        equation = node.equation
        name = equation.primitive.name
        if all(0 in out.shape for out in equation.outputs) and is_taken(self.printer, equation):
            return list(map(self._nothing, equation.outputs))
        if name == "matmul" and (found := self._product(node)) is not None:
            return found
        if name in CONTROL:
            return CONTROL[name](self, equation)
        return self._call(equation)

    def _nothing(self, out: Variable) -> Node:
        """Return what computes no elements: that takes no call, unless the call is to say that it lacks a dtype."""
        buffer = self.arrays.buffer(out)
        return Nest(buffer.shape, (Number(0, buffer.dtype),), (Store(0, buffer.whole),))

    def _product(self, node: Single) -> list[Node] | None:
        equation = node.equation
        (left, right), out = equation.inputs, equation.outputs[0]
        dtypes = {x.dtype.name for x in (left, right, out)}
        if not all(type(x) is Variable for x in (left, right)) or len(dtypes) != 1 or 0 in (*left.shape, *right.shape):
            return None
        if not node.adds and not self.printer.takes("matmul", [*dtypes]):
            return None
        batch = out.shape[:-2]
        is_large = out.shape[-2] * out.shape[-1] * left.shape[-1] >= WORTH_A_COPY
        nodes: list[Node] = []
        layouts = [self.arrays.layout(x) for x in (left, right)]
        if is_large:
            layouts = [_side_by_side(layout, nodes) for layout in layouts]
        first, second = (self._batched(layout, batch) for layout in layouts)
        return [*nodes, Product(self.arrays.buffer(out).whole, first, second, node.alpha, node.adds)]

    def _batched(self, layout: Layout, batch: tuple[int, ...]) -> Layout:
        """Return the layout of matrices that are broadcast to these batches."""
        lead = len(batch) - (len(layout.shape) - 2)
        strides = [
            0 if i < lead or layout.shape[i - lead] == 1 else layout.strides[i - lead] for i in range(len(batch))
        ]
        return Layout(layout.buffer, (*batch, *layout.shape[-2:]), (*strides, *layout.strides[-2:]), layout.offset)

    def _call(self, equation: Equation) -> list[Node]:
        primitive = equation.primitive
        if isinstance(primitive, HigherOrder):
            function: Callable[..., Any] = functools.partial(run_higher_order, equation)
        else:
            kernel = primitive.kernel_of(self.backend)
            if any(type(x) is Variable and x.dtype.name in NARROW for x in equation.inputs):
                kernel = widened_kernel(primitive, self.backend, kernel)
            function = functools.partial(kernel, **primitive.as_planned(equation.params))
        effect = primitive.has_effect(equation.params)
        on_host = primitive.calls_host or effect or isinstance(primitive, HigherOrder)
        if on_host and not primitive.lends:
            function = functools.partial(_with_copies, self.backend, function)
        operands = tuple(self.arrays.operand(x) for x in equation.inputs)
        results = tuple(map(self.arrays.buffer, equation.outputs))
        frees = primitive.frees_memory or (effect and isinstance(primitive, HigherOrder))
        places = primitive.in_place(equation.params), primitive.made_in(equation.params)
        call = Call(primitive.name, function, operands, results, equation.params, None, on_host, *places, frees)
        room = self.printer.room(call)
        return [replace(call, scratch=Buffer((room,), "uint8")) if room else call]

    # Loops and choices

    def inner(self, graph: Graph, start: int = 0, count: int = 0) -> Plan:
        """Return the plan of a part; of a loop's step, whose carry is `count` arguments from `start` on."""
        planner = Planner(plannable(graph), self.printer, self.backend)
        return planner.run(range(start, start + count), start if count else None)

    def scratch(self, plans: Sequence[Plan], carry: int = 0) -> Buffer:
        """Return memory for plans that run one at a time, and for the next carry of the last one.

        A printer gives the first bytes to the parts of the carry that a step does not write in place, one after
        another, and the rest to the arena of whichever plan runs.
        """
        spare = sum(result.room for result in plans[-1].results[:carry])
        return Buffer((spare + max(plan.arena for plan in plans),), "uint8")

    def start(self, values: Sequence[Any], carry: Sequence[Variable]) -> list[Node]:
        """Copy what a loop starts from into its carry."""
        nodes: list[Node] = []
        for value, variable in zip(values, carry, strict=True):
            target = self.arrays.buffer(variable).whole
            if type(value) is Variable:
                part: Any = Load(self.arrays.layout(value))
            else:
                part = Number(item_of(value), variable.dtype.name)
            nodes.append(Nest(tuple(variable.shape), (part,), (Store(0, target),)))
        return nodes

    def in_rows(self, values: Sequence[Any], forms: Sequence[Any], moving: bool = False) -> tuple[Any, list[Node]]:
        """Return operands row by row in memory, and what copies those that are not; if moving, along the first axis."""
        layouts: list[Layout] = []
        nodes: list[Node] = []
        for value, form in zip(values, forms, strict=True):
            found = self.arrays.layout(value) if type(value) is Variable else None
            if found is not None:
                first = int(moving)
                if lies_row_by_row(found.shape[first:], found.strides[first:]):
                    layouts.append(found)
                    continue
            buffer = Buffer((*((value.shape[0],) if moving else ()), *form.shape), form.dtype.name)
            part: Any = Number(item_of(value), buffer.dtype) if found is None else Load(found)
            nodes.append(Nest(buffer.shape, (part,), (Store(0, buffer.whole),)))
            layouts.append(buffer.whole)
        return tuple(layouts), nodes


def _side_by_side(layout: Layout, nodes: list[Node]) -> Layout:
    """Return a layout of matrices whose rows or columns lie side by side: a copy's, where these do not."""
    (rows, columns), (down, right) = layout.shape[-2:], layout.strides[-2:]
    by_rows = (right == 1 or columns == 1) and (down >= columns or rows == 1)
    by_columns = (down == 1 or rows == 1) and (right >= rows or columns == 1)
    if by_rows or by_columns:
        return layout
    copied = Buffer(layout.shape, layout.buffer.dtype).whole
    nodes.append(Nest(layout.shape, (Load(layout),), (Store(0, copied),)))
    return copied


def _with_copies(backend: Backend, function: Callable[..., Any], *args: Any) -> Any:
    """Call a function that may keep its arguments: their memory is the program's, which uses it again."""
    return function(*(arg if type(arg) in PYTHON_NUMBERS else backend.xp.asarray(arg, copy=True) for arg in args))


def _scan(planner: Planner, equation: Equation) -> list[Node]:
    params = equation.params
    consts, count = params["num_consts"], params["num_carry"]
    given = equation.inputs
    step = planner.inner(params["jaxpr"], consts, count)
    carry, rows = equation.outputs[:count], equation.outputs[count:]
    inputs = params["jaxpr"].inputs
    constants, before = planner.in_rows(given[:consts], inputs[:consts])
    elements, more = planner.in_rows(given[consts + count :], inputs[consts + count :], moving=True)
    return [
        *before,
        *more,
        *planner.start(given[consts : consts + count], carry),
        Loop(
            step,
            constants,
            tuple(map(planner.arrays.buffer, carry)),
            elements,
            tuple(planner.arrays.buffer(row).whole for row in rows),
            params["length"],
            params["reverse"],
            planner.scratch([step], count),
        ),
    ]


def _while(planner: Planner, equation: Equation) -> list[Node]:
    params = equation.params
    tests, consts = params["cond_nconsts"], params["body_nconsts"]
    given = equation.inputs
    test = planner.inner(params["cond_jaxpr"])
    count = len(equation.outputs)
    step = planner.inner(params["body_jaxpr"], consts, count)
    of_test, before = planner.in_rows(given[:tests], params["cond_jaxpr"].inputs[:tests])
    of_step, more = planner.in_rows(given[tests : tests + consts], params["body_jaxpr"].inputs[:consts])
    carry = tuple(map(planner.arrays.buffer, equation.outputs))
    return [
        *before,
        *more,
        *planner.start(given[tests + consts :], equation.outputs),
        While(test, step, of_test, of_step, carry, planner.scratch([test, step], count)),
    ]


def _cond(planner: Planner, equation: Equation) -> list[Node]:
    index, *operands = equation.inputs
    plans = tuple(planner.inner(branch) for branch in equation.params["branches"])
    which = planner.arrays.layout(index)
    layouts, more = planner.in_rows(operands, equation.params["branches"][0].inputs)
    results = tuple(map(planner.arrays.buffer, equation.outputs))
    return [*more, Choice(which, plans, layouts, results, planner.scratch(plans))]


CONTROL: Mapping[str, Callable[[Planner, Equation], list[Node]]] = {"cond": _cond, "scan": _scan, "while": _while}
