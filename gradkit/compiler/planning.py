"""Planning: from a captured graph to a `Plan`: nests, products, calls, loops and choices over planned buffers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradkit.backend import Backend, Printer
from gradkit.backend.plan import (
    Buffer,
    Call,
    Choice,
    Index,
    Layout,
    Load,
    Loop,
    Nest,
    Node,
    Number,
    Plan,
    Product,
    Statement,
    Store,
    While,
)
from gradkit.compiler.access import FIRST, Access, broadcast_access, everything, read_by, row_by_row, through
from gradkit.compiler.fusing import GATHERS, SCATTERS, Fusion, Group, Kept, Single, fused, index_access
from gradkit.compiler.memory import place_buffers, size_of
from gradkit.core.array import Array, raw, wrap
from gradkit.core.families import Elementwise
from gradkit.core.graph import Equation, Graph, HigherOrder, Params, Variable, abstract_like
from gradkit.core.namespace import PRIMITIVES
from gradkit.core.promotion import PYTHON_NUMBERS
from gradkit.core.values import host

__all__ = ["dtypes_of", "is_taken", "plannable", "planned"]


IDENTITIES = ("name", "optimization_barrier", "stop_gradient")
NO_RANGES: Mapping[Variable, tuple[int, int]] = {}


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
    return Planner(graph, printer, backend, ranges).run(donated)


def is_taken(printer: Printer, equation: Equation) -> bool:
    """Return whether a printer writes an operation down as it is, in a nest or as a product."""
    name, dtypes = dtypes_of(equation)
    if name in IDENTITIES:
        return True
    if name in GATHERS:
        return printer.takes("take", dtypes)
    if name in SCATTERS:
        combine, dtype = SCATTERS[name], dtypes[-1]
        return printer.takes("scatter", [dtype, dtypes[-2], dtype]) and (
            combine is None or printer.takes(combine, [dtype] * 3)
        )
    return printer.takes(name, dtypes)


def plannable(graph: Graph) -> Graph:
    """Return a graph that does the same, each of whose results is another one of its operations'.

    Means become sums, and arrays of one element that the program has are numbers.
    """
    equations = []
    for equation in graph.equations:
        inputs = tuple(_as_number(x, equation) for x in equation.inputs)
        equations.extend(_without_mean(Equation(equation.primitive, inputs, equation.params, equation.outputs)))
    made = {out for equation in equations for out in equation.outputs}
    outputs: list[Any] = []
    for output in graph.outputs:
        if type(output) is not Variable or output not in made:
            # An argument, a result that is there already, or (of a branch, a step) a literal.
            given = output if type(output) is Variable else _item(output)
            form = output.form if type(output) is Variable else abstract_like(output)
            trace: Any = graph.inputs[0].trace if graph.inputs else None
            output = Variable(trace, form)
            equations.append(Equation(PRIMITIVES["stop_gradient"], (given,), Params(), (output,)))
        made.discard(output)
        outputs.append(output)
    return Graph(graph.inputs, [], equations, outputs)


class Planner:
    """The making of one plan."""

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
        self.buffers: dict[Variable, Buffer] = {}
        self.fusion: Fusion

    def run(self, donated: Sequence[int], carry: int | None = None) -> Plan:
        """Return the plan; in a step of a loop, the arguments from `carry` on that are donated are its carry."""
        graph = self.graph
        self.fusion, nodes = fused(graph, self._takes, self._reduces, self._scatters, self._joins)
        arguments = [self._buffer(x, "argument") for x in graph.inputs]
        results = [self._buffer(x, "result") for x in graph.outputs]
        plan = Plan(arguments, results)
        for node in nodes:
            plan.nodes.extend(self._nest(node) if isinstance(node, Group) else self._single(node))
        free: dict[Buffer, Buffer | None] = {arguments[i]: None for i in donated}
        if carry is not None:  # each part of a loop's carry stays where it is
            free = {arguments[carry + i]: result for i, result in enumerate(results) if i < len(donated)}
        place_buffers(plan, free)
        return plan

    def _takes(self, equation: Equation) -> bool:
        name = equation.primitive.name
        fits = isinstance(equation.primitive, Elementwise) or name in CASTS or name in GATHERS or name in IDENTITIES
        return fits and is_taken(self.printer, equation)

    def _reduces(self, equation: Equation) -> bool:
        primitive: Any = equation.primitive
        x, dtype = equation.inputs[0], equation.outputs[0].dtype.name
        if type(x) is not Variable or primitive.mean or primitive.combine == "logaddexp":
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

    # Arrays in memory

    def _buffer(self, x: Variable, kind: str = "temporary") -> Buffer:
        buffer = self.buffers.get(x)
        if buffer is None:
            buffer = self.buffers[x] = Buffer(tuple(x.shape), x.dtype.name, kind)
        return buffer

    def _layout(self, x: Variable) -> Layout:
        """Return where the elements of an array are: its own memory, or what it is a view of."""
        equation = self.fusion.producers.get(x)
        if x not in self.buffers and x not in self.fusion.copied and equation is not None:
            access = through(equation, everything(x.shape))
            before = equation.inputs[0]
            if access is not None:
                return read_by(self._layout(before), access, x.shape)
            if equation.primitive.name == "reshape":
                layout = self._layout(before)
                return Layout(layout.buffer, tuple(x.shape), row_by_row(x.shape), layout.offset)
        return _whole(self._buffer(x))

    def _operand(self, x: Any) -> Any:
        return self._layout(x) if type(x) is Variable else raw(x) if type(x) is Array else x

    # Nests

    def _nest(self, group: Group) -> list[Node]:
        body = Body(self, group)
        for equation in reversed(group.entries):
            body.add(equation)
        stores = [body.store(kept) for kept in group.kept]
        return [Nest(group.space, tuple(body.parts), tuple(stores))]

    # Everything else

    def _single(self, node: Single) -> list[Node]:
        equation = node.equation
        name = equation.primitive.name
        if name == "matmul" and (found := self._product(node)) is not None:
            return [found]
        if name in CONTROL:
            return CONTROL[name](self, equation)
        return self._call(equation)

    def _product(self, node: Single) -> Node | None:
        equation = node.equation
        (left, right), out = equation.inputs, equation.outputs[0]
        dtypes = {x.dtype.name for x in (left, right, out)}
        if not all(type(x) is Variable for x in (left, right)) or len(dtypes) != 1 or 0 in (*left.shape, *right.shape):
            return None
        if not node.adds and not self.printer.takes("matmul", [*dtypes]):
            return None
        batch = out.shape[:-2]
        first, second = (self._batched(self._layout(x), batch) for x in (left, right))
        return Product(_whole(self._buffer(out)), first, second, node.alpha, node.adds)

    def _batched(self, layout: Layout, batch: tuple[int, ...]) -> Layout:
        lead = len(batch) - (len(layout.shape) - 2)
        strides = [
            0 if i < lead or layout.shape[i - lead] == 1 else layout.strides[i - lead] for i in range(len(batch))
        ]
        return Layout(layout.buffer, (*batch, *layout.shape[-2:]), (*strides, *layout.strides[-2:]), layout.offset)

    def _call(self, equation: Equation) -> list[Node]:
        primitive = equation.primitive
        if isinstance(primitive, HigherOrder):
            function: Callable[..., Any] = functools.partial(_run_higher_order, equation)
        else:
            function = functools.partial(primitive.kernel_of(self.backend), **equation.params)
        operands = tuple(self._operand(x) for x in equation.inputs)
        return [Call(primitive.name, function, operands, tuple(map(self._buffer, equation.outputs)))]

    # Loops and choices

    def inner(self, graph: Graph, start: int = 0, count: int = 0) -> Plan:
        """Return the plan of a part; of a loop's step, whose carry is `count` arguments from `start` on."""
        planner = Planner(plannable(graph), self.printer, self.backend)
        return planner.run(range(start, start + count), start if count else None)

    def scratch(self, plans: Sequence[Plan], carry: int = 0) -> Buffer:
        """Return memory for plans that run one at a time, and for the next carry of the last one."""
        spare = sum(size_of(result) for result in plans[-1].results[:carry])
        return Buffer((spare + max(plan.arena for plan in plans),), "uint8")

    def start(self, values: Sequence[Any], carry: Sequence[Variable]) -> list[Node]:
        """Copy what a loop starts from into its carry."""
        nodes: list[Node] = []
        for value, variable in zip(values, carry, strict=True):
            target = _whole(self._buffer(variable))
            if type(value) is Variable:
                part: Any = Load(self._layout(value))
            else:
                part = Number(_item(value), variable.dtype.name)
            nodes.append(Nest(tuple(variable.shape), (part,), (Store(0, target),)))
        return nodes

    def arrays(self, values: Sequence[Any], forms: Sequence[Any], moving: bool = False) -> tuple[Any, list[Node]]:
        """Return operands row by row in memory, and what copies those that are not; if moving, along the first axis."""
        layouts: list[Layout] = []
        nodes: list[Node] = []
        for value, form in zip(values, forms, strict=True):
            found = self._layout(value) if type(value) is Variable else None
            if found is not None:
                inner = found.shape[1:] if moving else found.shape
                strides = found.strides[1:] if moving else found.strides
                pairs = zip(strides, row_by_row(inner), inner, strict=True)
                if all(a == b or size == 1 for a, b, size in pairs):
                    layouts.append(found)
                    continue
            buffer = Buffer((*((value.shape[0],) if moving else ()), *form.shape), form.dtype.name)
            part: Any = Number(_item(value), buffer.dtype) if found is None else Load(found)
            nodes.append(Nest(buffer.shape, (part,), (Store(0, _whole(buffer)),)))
            layouts.append(_whole(buffer))
        return tuple(layouts), nodes


def _run_higher_order(equation: Equation, *args: Any) -> Any:
    primitive: Any = equation.primitive
    found = primitive.run([wrap(arg) for arg in args], **equation.params)
    return tuple(raw(x) for x in found)


def _scan(planner: Planner, equation: Equation) -> list[Node]:
    params = equation.params
    consts, count = params["num_consts"], params["num_carry"]
    given = equation.inputs
    step = planner.inner(params["jaxpr"], consts, count)
    carry, rows = equation.outputs[:count], equation.outputs[count:]
    inputs = params["jaxpr"].inputs
    constants, before = planner.arrays(given[:consts], inputs[:consts])
    elements, more = planner.arrays(given[consts + count :], inputs[consts + count :], moving=True)
    return [
        *before,
        *more,
        *planner.start(given[consts : consts + count], carry),
        Loop(
            step,
            constants,
            tuple(map(planner._buffer, carry)),
            elements,
            tuple(_whole(planner._buffer(row)) for row in rows),
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
    of_test, before = planner.arrays(given[:tests], params["cond_jaxpr"].inputs[:tests])
    of_step, more = planner.arrays(given[tests : tests + consts], params["body_jaxpr"].inputs[:consts])
    carry = tuple(map(planner._buffer, equation.outputs))
    return [
        *before,
        *more,
        *planner.start(given[tests + consts :], equation.outputs),
        While(test, step, of_test, of_step, carry, planner.scratch([test, step], count)),
    ]


def _cond(planner: Planner, equation: Equation) -> list[Node]:
    index, *operands = equation.inputs
    plans = tuple(planner.inner(branch) for branch in equation.params["branches"])
    which = planner._layout(index)
    layouts, more = planner.arrays(operands, equation.params["branches"][0].inputs)
    results = tuple(map(planner._buffer, equation.outputs))
    return [*more, Choice(which, plans, layouts, results, planner.scratch(plans))]


CONTROL = {"cond": _cond, "scan": _scan, "while": _while}
CASTS = ("astype", "astype_exact")


class Body:
    """The body of a nest in the making."""

    def __init__(self, planner: Planner, group: Group) -> None:
        self.planner = planner
        self.group = group
        self.parts: list[Load | Number | Any | Statement] = []
        self._known: dict[Any, int] = {}

    def add(self, equation: Equation) -> None:
        """Write an operation down."""
        out = equation.outputs[0]
        access = self.group.accesses[out]
        if equation.primitive.name in GATHERS:
            self._known[out] = self._gathered(equation, access)
            return
        operands = tuple(
            self.value(x, broadcast_access(x.shape, access) if type(x) is Variable else (), _dtype_of(x, equation))
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
        layout = self.planner._layout(x)
        whole = list(broadcast_access(x.shape, access) if equation.primitive.name == "take_along_axis" else access)
        whole[axis] = FIRST
        gathered = ((place, layout.strides[axis], x.shape[axis]),)
        return self._new(Load(read_by(layout, tuple(whole), self.group.space), gathered))

    def value(self, x: Any, access: Access, dtype: str) -> int:
        """Return the position of an operand."""
        group, fusion = self.group, self.planner.fusion
        x, access = fusion.source(x, access, group)
        if type(x) is Variable and x in self.planner.ranges:
            return self._counted(x, access)
        if type(x) is not Variable:
            number = _item(x)
            return self._once((type(number), repr(number), dtype), Number(number, dtype))
        if group.accesses.get(x) == access and x in self._known:
            return self._known[x]
        layout = read_by(self.planner._layout(x), access, group.space)
        return self._once((x, access), Load(layout))

    def _counted(self, x: Variable, access: Access) -> int:
        """Return the position of an element of a range, which is computed and not read."""
        start, step = self.planner.ranges[x]
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
        planner = self.planner
        buffer = planner._buffer(kept.memory)
        value = kept.value
        if type(value) is not Variable:
            position = self.value(value, (), buffer.dtype)
        elif value is kept.memory and value not in self.group.accesses:  # the copy of a view
            equation = planner.fusion.producers[value]
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
        return Store(position, layout, kept.combine, kept.identity, kept.reduced, scattered)

    def _once(self, key: Any, part: Any) -> int:
        position = self._known.get(key)
        if position is None:
            position = self._known[key] = self._new(part)
        return position

    def _new(self, part: Any) -> int:
        self.parts.append(part)
        return len(self.parts) - 1


def _whole(buffer: Buffer) -> Layout:
    return Layout(buffer, buffer.shape, row_by_row(buffer.shape))


def _item(value: Any) -> Any:
    return host(value).item() if type(value) is Array else value


def dtypes_of(equation: Equation) -> tuple[str, list[str]]:
    """Return the name of an operation, and the dtypes of its operands and its result, if it has one."""
    operands = [_dtype_of(x, equation) for x in equation.inputs]
    return equation.primitive.name, [*operands, *(out.dtype.name for out in equation.outputs[:1])]


def _dtype_of(x: Any, equation: Equation) -> str:
    """Return the dtype of an operand; a Python number has that of the arrays beside it."""
    if type(x) not in PYTHON_NUMBERS:
        return x.dtype.name  # type: ignore[no-any-return]
    out = equation.outputs[0].dtype
    arrays = [y for y in equation.inputs if type(y) not in PYTHON_NUMBERS]
    like = next((y for y in arrays if y.dtype.kind != "b"), None)
    return (out if like is None else like.dtype).name  # type: ignore[no-any-return]


def _as_number(x: Any, equation: Equation) -> Any:
    if type(x) is Array and x.shape == () and isinstance(equation.primitive, Elementwise) and _promotes(x, equation):
        return _item(x)
    return x


def _promotes(x: Array, equation: Equation) -> bool:
    """Return whether a number in place of an array has the array's dtype."""
    arrays = [y for y in equation.inputs if type(y) is Variable and y.dtype.kind != "b"]
    return bool(arrays) and all(y.dtype == x.dtype for y in arrays)


def _without_mean(equation: Equation) -> list[Equation]:
    if equation.primitive.name != "mean" or not getattr(equation.primitive, "mean", False):
        return [equation]
    x, out = equation.inputs[0], equation.outputs[0]
    size = 1
    for axis in equation.params["axis"]:
        size *= x.shape[axis]
    if not size or out.dtype.kind != "f":
        return [equation]
    total = Variable(out.trace, out.form)
    return [
        Equation(PRIMITIVES["sum"], (x,), equation.params, (total,)),
        Equation(PRIMITIVES["divide"], (total, float(size)), Params(), (out,)),
    ]
