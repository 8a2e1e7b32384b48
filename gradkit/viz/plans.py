"""`draw_plan`: what a jitted function became, as a picture: its nodes, what was fused in each, and its memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

from gradkit import tree
from gradkit.backend.plan import Buffer, Call, Choice, Loop, Nest, Node, Plan, Product, Statement, While
from gradkit.compiler.memory import buffers_read, buffers_written
from gradkit.compiler.plan_costs import Work, work_of, work_of_plan
from gradkit.compiler.plan_text import buffer_names
from gradkit.transforms import jit
from gradkit.transforms.stages import Compiled
from gradkit.viz.computation import Computation, Mark, Operation, Quantity
from gradkit.viz.drawing import Drawing
from gradkit.viz.folding import TIMES, fold
from gradkit.viz.naming import SYMBOLS
from gradkit.viz.wording import printable

__all__ = ["draw_plan"]

REDUCTIONS = {"add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min"}
"""What a nest does where it collects values by these primitives."""
WIDTH = 32
"""Columns of the names of what is fused in a nest."""


def draw_plan(
    function: Callable[..., Any], /, *args: Any, title: str = "", max_nodes: int = 200, **kwargs: Any
) -> Drawing:
    """Draw what `jit` makes of a function: its plan, from left to right.

    A round mark is one operation on arrays (a product of matrices, a call), a box with a double border is several that
    were fused: a nest of loops over elements, with the operations that it does at each position, or a loop or a choice
    with plans inside. Below stand the operations on numbers and the bytes that are read and written, each element once.
    A record is an array in memory: its name in ``compiled.as_text()``, its shape and dtype, its bytes, where it lies,
    and which arrays have the same memory before or after it.

    Parameters
    ----------
    function : callable
        A function, jitted or not; or one that is compiled, ``jitted.lower(...).compile()``.
    *args, **kwargs
        Arguments for it, or anything with their shapes and dtypes; none for one that is compiled.
    title : str
        What stands above the picture; by default the function's name and what all of it takes.
    max_nodes : int
        The most marks of a picture. In a larger plan nodes of a kind are put together.

    Returns
    -------
    Drawing
        Which shows itself in a notebook, and has ``save(path)``, ``svg`` and ``dot``.

    Raises
    ------
    ValueError
        If the function is not compiled here: its backend has no printer, or ``GRADKIT_COMPILER`` asks for none.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> with gradkit.use_backend("numpy"):
    ...     drawing = gradkit.viz.draw_plan(lambda x: jnp.sum(jnp.tanh(2 * x)), jnp.ones((3, 4)))
    >>> "*, tanh, sum" in drawing.dot
    True
    """
    if not isinstance(max_nodes, int) or max_nodes < 1:
        raise ValueError(f"draw_plan: max_nodes is the most marks that a picture may have, got {max_nodes!r}")
    compiled = _compiled(function, args, kwargs)
    plan = compiled.runtime_executable().plan
    if plan is None:
        raise ValueError(
            "draw_plan: the function is interpreted, operation by operation, so there is no plan. Plans are made on "
            "the backend numpy, unless GRADKIT_COMPILER=interpreter. Draw its graph: draw(function, *arguments)."
        )
    computation = computation_of_plan(plan, _labels(compiled, plan))
    diagram = computation.diagram() if computation.size <= max_nodes else fold(computation, max_nodes)
    diagram.title = printable(title or _title(compiled, plan))
    return Drawing(diagram)


def _compiled(function: Any, args: Sequence[Any], kwargs: Any) -> Compiled:
    if isinstance(function, Compiled):
        if args or kwargs:
            raise TypeError("draw_plan: a compiled function has its arguments' shapes already; give no arguments")
        return function
    if not callable(function):
        raise TypeError(f"draw_plan: expected a function, got {type(function).__name__}: {function!r}")
    jitted: Any = function if hasattr(function, "lower") else jit(function)
    compiled: Compiled = jitted.lower(*args, **kwargs).compile()
    return compiled


def _title(compiled: Compiled, plan: Plan) -> str:
    work = work_of_plan(plan)
    return (
        f"{compiled.fun_name}: {_count(len(plan.nodes), 'node')}, {_amounts(work)}, temporary arrays in "
        f"{plan.arena:,} bytes"
    )


def _labels(compiled: Compiled, plan: Plan) -> dict[Buffer, str]:
    """Return what the function calls its arguments and results; what was computed before stands in front of them."""
    names = compiled.argument_names
    labels = dict(zip(reversed(plan.arguments), reversed(names), strict=False))
    constants = plan.arguments[: max(len(plan.arguments) - len(names), 0)]
    labels.update(dict.fromkeys(constants, "constant"))
    paths = [tree.keystr(path) for path, _ in tree.leaves_with_path(compiled.out_info)]
    if len(paths) == len(plan.results):  # otherwise some are arguments, or the same
        labels.update((buffer, f"out{path}") for buffer, path in zip(plan.results, paths, strict=True))
    return labels


def computation_of_plan(plan: Plan, labels: dict[Buffer, str]) -> Computation:
    """Return the arrays of a plan and its nodes."""
    letters = buffer_names(plan)
    sharing = _sharing(plan)
    quantities: dict[Buffer, Quantity] = {}

    def quantity(buffer: Buffer) -> Quantity:
        if buffer not in quantities:
            label = labels.get(buffer, "out" if buffer.kind == "result" else "")
            where = _place(plan, buffer, letters)
            shared = "".join(f"\nmemory of {letters[other]}" for other in sharing.get(buffer, ()))
            quantities[buffer] = Quantity(
                f"{letters[buffer]}: {label}" if label else letters[buffer],
                "constant" if label == "constant" else "input" if buffer in plan.arguments else "result",
                buffer.shape,
                buffer.dtype,
                note=f"{buffer.size:,} bytes{where}{shared}",
            )
        return quantities[buffer]

    for buffer in plan.arguments:
        quantity(buffer)
    operations = []
    for node in plan.nodes:
        scratch = _scratch(node)
        read, written = (
            [quantity(buffer) for buffer in dict.fromkeys(buffers) if buffer is not scratch]
            for buffers in (buffers_read(node), buffers_written(node))
        )
        # Two arrows for one array that is written where it was read would hide each other.
        operations.append(_operation(node, [x for x in read if x not in written], written))
    return Computation(list(quantities.values()), operations, [quantity(buffer) for buffer in plan.results])


def _scratch(node: Node) -> Buffer | None:
    """Return the memory that a node has for itself alone."""
    return None if isinstance(node, Nest | Product) else node.scratch


def _place(plan: Plan, buffer: Buffer, letters: dict[Buffer, str]) -> str:
    place = plan.memory.get(buffer)
    if isinstance(place, Buffer):
        return f", memory of {letters[place]}"
    return "" if place is None else f" at {place:,}"


def _sharing(plan: Plan) -> dict[Buffer, list[Buffer]]:
    """Return for temporary arrays which others, before them in the plan, have had a part of their memory."""
    scratch = {_scratch(node) for node in plan.nodes}
    placed = [(place, b) for b, place in plan.memory.items() if isinstance(place, int) and b not in scratch]
    found: dict[Buffer, list[Buffer]] = {}
    active: list[tuple[int, int, Buffer]] = []
    order = {buffer: number for number, buffer in enumerate(plan.memory)}
    for place, buffer in sorted(placed, key=lambda pair: pair[0]):
        active = [entry for entry in active if entry[1] > place]
        for _, _, other in active:
            later, earlier = sorted((buffer, other), key=lambda b: -order[b])
            found.setdefault(later, []).append(earlier)
        active.append((place, place + max(buffer.size, 1), buffer))
    return {later: sorted(earlier, key=order.__getitem__) for later, earlier in found.items()}


@dataclass(eq=False)
class Fused(Operation):
    """Several operations in one."""

    def mark(self) -> Mark:
        """Return the box that stands for them."""
        return Mark("group", tuple(printable(line) for line in (self.name, *self.detail.split("\n")) if line))


def _operation(node: Node, inputs: list[Quantity], outputs: list[Quantity]) -> Operation:
    costs = _amounts(work_of(node), "\n")
    if isinstance(node, Nest):
        fused = [_sign(part) for part in node.body if isinstance(part, Statement)]
        fused += [REDUCTIONS.get(store.combine, store.combine) for store in node.stores if store.combine]
        sizes = f" {TIMES} ".join(map(str, node.sizes))
        title = f"loops {sizes}" if sizes else "numbers"
        kind = Fused if len(fused) > 1 else Operation
        return kind(title, inputs, outputs, "\n".join([*_listed(fused or ["copy"]), costs]))
    if isinstance(node, Product):
        sizes = f" {TIMES} ".join(map(str, (*node.out.shape[:-1], node.left.shape[-1], node.out.shape[-1])))
        detail = f"{sizes}{', added to what is there' * node.adds}\n{costs}"
        return Operation(SYMBOLS["matmul"], inputs, outputs, detail)
    if isinstance(node, Call):
        return Operation(f"call {node.name}", inputs, outputs, costs)
    title, inside = _control(node)
    return Fused(title, inputs, outputs, f"{inside}\n{costs}")


def _control(node: Loop | While | Choice) -> tuple[str, str]:
    """Return what a loop or a choice is called, and what is in it."""
    if isinstance(node, Choice):
        return f"choice of {len(node.plans)}", "\n".join(f"{i}: {_inside(plan)}" for i, plan in enumerate(node.plans))
    if isinstance(node, While):
        return "while", f"test: {_inside(node.test)}\nstep: {_inside(node.step)}"
    return f"loop of {_count(node.length, 'step')}", _inside(node.step)


def _inside(plan: Plan) -> str:
    """Return how many nodes of each kind a plan has."""
    kinds = Counter(type(node).__name__.lower() for node in plan.nodes)
    return ", ".join(_count(count, kind) for kind, count in kinds.items()) or "nothing"


def _sign(statement: Statement) -> str:
    return statement.dtype if statement.name.startswith("astype") else SYMBOLS.get(statement.name, statement.name)


def _listed(names: Sequence[str]) -> Iterator[str]:
    """Yield lines that name operations, with counts."""
    counts = Counter(names)
    yield from wrap(", ".join(f"{name} {TIMES}{count}" if count > 1 else name for name, count in counts.items()), WIDTH)


def _amounts(work: Work, between: str = ", ") -> str:
    told = [_count(work.operations, "operation")] if work.operations else []
    return between.join([*told, _count(work.bytes, "byte")])


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
