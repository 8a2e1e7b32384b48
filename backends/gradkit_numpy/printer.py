"""Plans as Python text: a flat list of NumPy's calls into arrays that are there already. It needs NumPy alone.

A nest is a ufunc for each of its statements, over whole arrays. Views of memory that does not move are made once; those
of arguments and results with each call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from gradkit.backend.plan import (
    Box,
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
from gradkit_numpy.kernels import KERNELS
from gradkit_numpy.silence import SILENCE

__all__ = ["NumpyPrinter"]

Sizes = tuple[int, ...]

UFUNCS = {
    **{
        name: name
        for name in """
        add bitwise_and bitwise_or bitwise_xor ceil copysign cos cosh divide equal exp expm1 floor floor_divide greater
        greater_equal hypot isfinite isinf isnan less less_equal log log10 log1p log2 logaddexp logical_and logical_not
        logical_or logical_xor maximum minimum multiply negative nextafter not_equal positive reciprocal remainder sign
        signbit sin sinh sqrt square subtract tan tanh trunc
        """.split()
    },
    "abs": "absolute", "acos": "arccos", "acosh": "arccosh", "asin": "arcsin", "asinh": "arcsinh", "atan": "arctan",
    "atan2": "arctan2", "atanh": "arctanh", "bitwise_invert": "invert", "bitwise_left_shift": "left_shift",
    "bitwise_right_shift": "right_shift", "round": "rint",
}  # fmt: skip
"""By primitive, NumPy's ufunc."""
FLOATS = {"float32", "float64"}
FOR_FLOATS = {"floor", "ceil", "trunc", "round"}
"""Ufuncs that give floats of integers in some versions of NumPy, or nothing."""
REDUCING = {
    "add": np.add, "logical_and": np.logical_and, "logical_or": np.logical_or, "maximum": np.maximum,
    "minimum": np.minimum, "multiply": np.multiply,
}  # fmt: skip


class NumpyPrinter:
    """Prints plans as calls of NumPy."""

    name = "numpy"

    def why_unusable(self) -> str | None:
        """Return None: it needs nothing."""
        return None

    def takes(self, name: str, dtypes: Sequence[str]) -> bool:
        """Return whether a primitive is a ufunc, a choice, a cast or a product."""
        known = [np.dtype(dtype).kind in "fiub" and dtype != "float16" for dtype in dtypes]
        if not all(known) or name in ("take", "scatter", "product and sum"):
            return False
        if name in ("where", "astype", "astype_exact", "matmul"):
            return True
        if name in FOR_FLOATS:
            return dtypes[-1] in FLOATS
        if name not in UFUNCS or (name in ("floor_divide", "remainder") and dtypes[-1] in FLOATS):
            return False
        found = getattr(np, UFUNCS[name])
        try:
            resolved = found.resolve_dtypes((*(np.dtype(dtype) for dtype in dtypes[:-1]), None))
        except TypeError:
            return False
        return bool(resolved[-1] == np.dtype(dtypes[-1]))

    def calls(self, name: str) -> bool:
        """Return whether a primitive is a call of NumPy's own kernel, where it has one."""
        return name in KERNELS

    def compiled(self, plan: Plan, box: Box) -> Program:
        """Return what runs a plan."""
        return Program(plan, box)


class Program:
    """A plan as a Python function, with memory for each call that is in progress."""

    def __init__(self, plan: Plan, box: Box) -> None:
        self.plan = plan
        self._open = box.open
        self._dtypes = [np.dtype(buffer.dtype) for buffer in plan.arguments]
        self._results = [(buffer.shape, np.dtype(buffer.dtype)) for buffer in plan.results]
        taken = [plan.memory.get(buffer) for buffer in plan.results]
        self._taken = [plan.arguments.index(x) if isinstance(x, Buffer) else None for x in taken]
        self._texts = Texts()
        self._name = self._texts.plan(plan)
        self.text = self._texts.text
        self._free: deque[Any] = deque()
        self._make = self._texts.maker()

    def __call__(self, arguments: list[Any]) -> list[Any]:
        """Run it on arrays, and return arrays."""
        given = [
            x
            if type(x) is np.ndarray and x.dtype is dtype and x.flags.c_contiguous
            else np.require(x, dtype, ("C", "A"))
            for x, dtype in zip(map(self._open, arguments), self._dtypes, strict=True)
        ]
        results = [
            np.empty(shape, dtype) if taken is None else given[taken]
            for (shape, dtype), taken in zip(self._results, self._taken, strict=True)
        ]
        try:
            run = self._free.pop()
        except IndexError:
            run = self._make()[self._name]
        begin, end = SILENCE
        before = begin()
        try:
            run(*given, *results)
        finally:
            end(before)
            self._free.append(run)
        return results

    def if_it_fits(self, arguments: list[Any]) -> list[Any] | None:
        """Return None: nothing is known without asking each argument."""
        return None


class Texts:
    """The Python text of a plan and of those in it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[str, Any] = {"ndarray": np.ndarray, "copyto": np.copyto, "matmul": np.matmul, "dot": np.dot}
        self._count = 0
        self._made: list[str] = []

    @property
    def text(self) -> str:
        """Return all of it."""
        return "\n".join(["def make():", *("    " + line for line in self.lines), "    return locals()"])

    def maker(self) -> Callable[[], dict[str, Any]]:
        """Return a function that makes the functions, with memory of their own."""
        scope = dict(self.names)
        exec(compile(self.text, "<gradkit plan>", "exec"), scope)
        made: Callable[[], dict[str, Any]] = scope["make"]
        return made

    def name(self, kind: str, value: Any = None) -> str:
        """Return a new name, for a value that the text uses."""
        self._count += 1
        name = f"{kind}{self._count}"
        if value is not None:
            self.names[name] = value
        return name

    def plan(self, plan: Plan) -> str:
        """Write the function of a plan, and return its name."""
        return PlanText(self, plan).name


class PlanText:
    """The function of one plan, of its arguments and results."""

    def __init__(self, texts: Texts, plan: Plan) -> None:
        self.texts, self.plan = texts, plan
        self.lines: list[str] = []
        self.fixed: dict[Any, str] = {}
        """Views of temporary buffers, which are made once."""
        self.known: dict[Any, str] = {}
        self.roots: dict[Buffer, str] = {}
        given = [f"a{i}" for i in range(len(plan.arguments))]
        self.roots.update(zip(plan.arguments, given, strict=True))
        made = [f"r{i}" for i in range(len(plan.results))]
        for buffer, name in zip(plan.results, made, strict=True):
            place = plan.memory.get(buffer)
            self.roots[buffer] = self.roots[place] if isinstance(place, Buffer) else name
        self.arena = texts.name("arena")
        if plan.arena:
            self._made(f"{self.arena} = {texts.name('empty', np.empty)}({plan.arena}, 'uint8')")
        for node in plan.nodes:
            self._node(node)
        self.name = texts.name("plan")
        texts.lines.append(f"def {self.name}({', '.join([*given, *made])}):")
        texts.lines.extend("    " + line for line in self.lines or ["pass"])

    def _made(self, line: str) -> None:
        """Write a line that runs once."""
        self.texts.lines.append(line)

    # Arrays

    def view(self, layout: Layout, shape: Sizes | None = None) -> str:
        """Return the name of an array of a layout; axes along which it is broadcast have size 1."""
        shape = layout.shape if shape is None else shape
        sizes = tuple(1 if stride == 0 else size for size, stride in zip(shape, layout.strides, strict=True))
        return self.array(layout.buffer, sizes, layout.strides, layout.offset)

    def array(self, buffer: Buffer, sizes: Sizes, strides: Sizes, offset: int) -> str:
        """Return the name of an array in a buffer."""
        root = self.roots.get(buffer)
        dtype = np.dtype(buffer.dtype)
        steps = tuple(stride * dtype.itemsize for stride in strides)
        if root is not None and sizes == buffer.shape and offset == 0 and _lies_in_rows(sizes, strides):
            return root
        key = (buffer, sizes, steps, offset)
        found = self.fixed.get(key) or self.known.get(key)
        if found is None:
            found = self.texts.name("v")
            kind = self.texts.name("d", dtype)
            if root is None:
                start = self.plan.memory[buffer]
                assert isinstance(start, int)
                self._made(
                    f"{found} = ndarray({sizes}, {kind}, {self.arena}, {start + offset * dtype.itemsize}, {steps})"
                )
                self.fixed[key] = found
            else:
                self.lines.append(f"{found} = ndarray({sizes}, {kind}, {root}, {offset * dtype.itemsize}, {steps})")
                self.known[key] = found
        return found

    def whole(self, buffer: Buffer) -> str:
        """Return the name of all of a buffer."""
        return self.array(buffer, buffer.shape, _in_rows(buffer.shape), 0)

    def _scratch(self, shape: Sizes, dtype: str) -> str:
        name = self.texts.name("s")
        kind = self.texts.name("d", np.dtype(dtype))
        self._made(f"{name} = {self.texts.name('empty', np.empty)}({shape}, {kind})")
        return name

    # Nodes

    def _node(self, node: Node) -> None:
        if isinstance(node, Nest):
            Ufuncs(self, node).write()
        elif isinstance(node, Product):
            self._product(node)
        elif isinstance(node, Call):
            self._call(node)
        elif isinstance(node, Loop):
            self._loop(node)
        elif isinstance(node, While):
            self._while(node)
        else:
            self._choice(node)

    def _product(self, product: Product) -> None:
        out, left, right = (self._operand(x) for x in (product.out, product.left, product.right))
        call = "dot" if len(product.out.shape) == 2 else "matmul"
        if product.alpha == 1 and not product.adds:
            self.lines.append(f"{call}({left}, {right}, {out})")
            return
        part = self._scratch(product.out.shape, product.out.buffer.dtype)
        self.lines.append(f"{call}({left}, {right}, {part})")
        kind = np.dtype(product.out.buffer.dtype).type
        if product.alpha != 1:
            self.lines.append(f"{self._ufunc('multiply')}({part}, {self.texts.name('n', kind(product.alpha))}, {part})")
        if product.adds:
            self.lines.append(f"{self._ufunc('add')}({out}, {part}, {out})")
        else:
            self.lines.append(f"copyto({out}, {part})")

    def _ufunc(self, name: str) -> str:
        called = UFUNCS[name]
        self.texts.names[called] = getattr(np, called)
        return called

    def _call(self, call: Call) -> None:
        operands = [
            self._operand(operand) if isinstance(operand, Layout) else self.texts.name("n", operand)
            for operand in call.operands
        ]
        function = self.texts.name("f", call.function)
        found = self.texts.name("y")
        self.lines.append(f"{found} = {function}({', '.join(operands)})")
        several = len(call.results) != 1
        for i, buffer in enumerate(call.results):
            value = f"{found}[{i}]" if several else f"({found}[0] if type({found}) is tuple else {found})"
            self.lines.append(f"copyto({self.whole(buffer)}, {value})")

    # Loops and choices

    def _spare(self, plan: Plan, carry: Sequence[Buffer]) -> list[str]:
        """Return the arrays for the next carry: the carry's own where it is written in place."""
        spare = []
        for old, new in zip(carry, plan.results, strict=False):
            in_place = isinstance(plan.memory.get(new), Buffer)
            spare.append(self.whole(old) if in_place else self._scratch(new.shape, new.dtype))
        return spare

    def _move(self, carry: Sequence[str], spare: Sequence[str], indent: str) -> None:
        for old, new in zip(carry, spare, strict=True):
            if old != new:
                self.lines.append(f"{indent}copyto({old}, {new})")

    def _loop(self, loop: Loop) -> None:
        name = self.texts.plan(loop.step)
        constants = [self._operand(x) for x in loop.constants]
        carry = [self.whole(buffer) for buffer in loop.carry]
        spare = self._spare(loop.step, loop.carry)
        elements, rows = ([self._operand(x) for x in layouts] for layouts in (loop.elements, loop.rows))
        index = self.texts.name("i")
        steps = f"range({loop.length})" if not loop.reverse else f"range({loop.length - 1}, -1, -1)"
        self.lines.append(f"for {index} in {steps}:")
        at = [f"{x}[{index}, ...]" for x in elements]
        to = [f"{x}[{index}, ...]" for x in rows]
        self.lines.append(f"    {name}({', '.join([*constants, *carry, *at, *spare, *to])})")
        self._move(carry, spare, "    ")

    def _operand(self, layout: Layout) -> str:
        return self.array(layout.buffer, layout.shape, layout.strides, layout.offset)

    def _while(self, loop: While) -> None:
        test, step = self.texts.plan(loop.test), self.texts.plan(loop.step)
        of_test, of_step = ([self._operand(x) for x in layouts] for layouts in (loop.test_constants, loop.constants))
        carry = [self.whole(buffer) for buffer in loop.carry]
        spare = self._spare(loop.step, loop.carry)
        going = self._scratch((), "bool")
        self.lines.append("while True:")
        self.lines.append(f"    {test}({', '.join([*of_test, *carry, going])})")
        self.lines.append(f"    if not {going}[()]:")
        self.lines.append("        break")
        self.lines.append(f"    {step}({', '.join([*of_step, *carry, *spare])})")
        self._move(carry, spare, "    ")

    def _choice(self, choice: Choice) -> None:
        names = ", ".join(self.texts.plan(plan) for plan in choice.plans)
        index = self.array(choice.index.buffer, choice.index.shape, choice.index.strides, choice.index.offset)
        given = [self._operand(x) for x in choice.operands] + [self.whole(x) for x in choice.results]
        self.lines.append(f"({names},)[min(max(int({index}[()]), 0), {len(choice.plans) - 1})]({', '.join(given)})")


class Ufuncs:
    """The calls of one nest."""

    def __init__(self, owner: PlanText, nest: Nest) -> None:
        self.owner, self.nest = owner, nest
        self.last = self._last_uses()
        self.names: list[str] = []
        self.shapes: list[Sizes] = []
        self.free: dict[tuple[Sizes, str], list[str]] = {}
        self.own: dict[int, tuple[Sizes, str]] = {}
        self.targets = {store.value: store for store in nest.stores if self._is_whole(store)}

    def _last_uses(self) -> dict[int, int]:
        last: dict[int, int] = {}
        for position, part in enumerate(self.nest.body):
            if isinstance(part, Statement):
                last.update(dict.fromkeys(part.operands, position))
        last.update((store.value, len(self.nest.body)) for store in self.nest.stores)
        return last

    def _is_whole(self, store: Store) -> bool:
        return store.combine is None and all(
            stride != 0 or size == 1 for stride, size in zip(store.layout.strides, store.layout.shape, strict=True)
        )

    def write(self) -> None:
        """Write them."""
        for position, part in enumerate(self.nest.body):
            if isinstance(part, Load):
                self._known(self.owner.view(part.layout), self._shape_of(part.layout))
            elif isinstance(part, Number):
                number = np.dtype(part.dtype).type(part.value) if part.dtype != "bool" else np.bool_(part.value)
                self._known(self.owner.texts.name("n", number), (1,) * len(self.nest.sizes))
            elif isinstance(part, Index):
                self._index(part)
            else:
                self._statement(position, part)
        in_place = [store for store in self.nest.stores if self._in_its_place(store)]
        for store in self.nest.stores:
            if store not in in_place:
                self._store(store)
        # What one of them writes over may be what another one writes.
        for store in in_place if len(in_place) > 1 else ():
            if isinstance(self.nest.body[store.value], Load):
                copied = self.owner._scratch(self.shapes[store.value], self.nest.body[store.value].dtype)
                self.owner.lines.append(f"copyto({copied}, {self.names[store.value]})")
                self.names[store.value] = copied
        for store in in_place:
            self._store(store)

    def _known(self, name: str, shape: Sizes) -> None:
        self.names.append(name)
        self.shapes.append(shape)

    def _shape_of(self, layout: Layout) -> Sizes:
        return tuple(1 if stride == 0 else size for size, stride in zip(self.nest.sizes, layout.strides, strict=True))

    def _index(self, part: Index) -> None:
        shape = tuple(size if axis == part.axis else 1 for axis, size in enumerate(self.nest.sizes))
        values = np.arange(self.nest.sizes[part.axis], dtype=part.dtype).reshape(shape)
        self._known(self.owner.texts.name("n", values), shape)

    def _statement(self, position: int, part: Statement) -> None:
        operands = [self.names[x] for x in part.operands]
        shape = tuple(max(sizes) for sizes in zip(*(self.shapes[x] for x in part.operands), strict=True))
        for x in set(part.operands):
            if self.last[x] == position and x in self.own:
                self.free.setdefault(self.own.pop(x), []).append(self.names[x])
        store = self.targets.get(position)
        if store is not None and shape == self.nest.sizes and self._may_write(store, position):
            out = self.owner.view(store.layout)
        else:
            key = (shape, part.dtype)
            waiting = self.free.get(key)
            # A choice is written in two steps, so it may not be in the place of one of its operands.
            out = waiting.pop() if waiting and part.name != "where" else self.owner._scratch(*key)
            self.own[position] = key
        if part.name == "where":
            self.owner.lines.append(f"copyto({out}, {operands[2]})")
            self.owner.lines.append(f"copyto({out}, {operands[1]}, where={operands[0]})")
        elif part.name in ("astype", "astype_exact"):
            self.owner.lines.append(f"copyto({out}, {operands[0]}, 'unsafe')")
        else:
            written = f"out={out}" if part.name in ("maximum", "minimum") else out  # NumPy asks for the name there
            self.owner.lines.append(f"{self.owner._ufunc(part.name)}({', '.join([*operands, written])})")
        self._known(out, shape)

    def _may_write(self, store: Store, position: int) -> bool:
        """Return whether what a store writes over is read no more after the statement at `position`."""
        # A choice is written in two steps, so it may not be in the place of one of its operands either.
        end = position - (self.nest.body[position].name == "where")  # type: ignore[union-attr]
        return all(self.last.get(i, -1) <= end for i in self._in_its_place(store))

    def _in_its_place(self, store: Store) -> list[int]:
        """Return the parts of the body that read the memory that a store writes."""
        memory = self.owner.plan.memory
        place = memory.get(store.layout.buffer, store.layout.buffer)
        return [
            i
            for i, part in enumerate(self.nest.body)
            if isinstance(part, Load) and memory.get(part.layout.buffer, part.layout.buffer) == place
        ]

    def _store(self, store: Store) -> None:
        name = self.names[store.value]
        if store.combine is None:
            target = self.owner.view(store.layout)
            if target != name:
                self.owner.lines.append(f"copyto({target}, {name})")
            return
        function = REDUCING[store.combine]
        called = self.owner.texts.name("reduce", function.reduce)
        kept = [axis for axis in range(len(self.nest.sizes)) if axis not in store.reduced]
        sizes = tuple(self.nest.sizes[axis] for axis in kept)
        strides = tuple(store.layout.strides[axis] for axis in kept)
        target = self.owner.array(store.layout.buffer, sizes, strides, store.layout.offset)
        if self.shapes[store.value] != self.nest.sizes:
            whole = self.owner._scratch(self.nest.sizes, store.layout.buffer.dtype)
            self.owner.lines.append(f"copyto({whole}, {name})")
            name = whole
        axes = store.reduced if len(store.reduced) != 1 else store.reduced[0]
        self.owner.lines.append(f"{called}({name}, {axes}, None, {target})")


def _in_rows(shape: Sizes) -> Sizes:
    strides, size = [], 1
    for length in reversed(shape):
        strides.append(size)
        size *= length
    return tuple(reversed(strides))


def _lies_in_rows(shape: Sizes, strides: Sizes) -> bool:
    pairs: Iterator[tuple[int, int, int]] = zip(strides, _in_rows(shape), shape, strict=True)
    return all(a == b or size == 1 for a, b, size in pairs)
