"""Python text in the making: functions, and names for what they use."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gradkit.backend.plan import Buffer, Layout, Plan, lies_row_by_row, row_by_row
from gradkit_numpy.losses import ones
from gradkit_numpy.saturating import INTO
from gradkit_numpy.ufuncs.names import UFUNCS

__all__ = ["Function", "Sizes", "Texts"]

Sizes = tuple[int, ...]


class Texts:
    """The Python text of a plan and of those in it.

    Attributes
    ----------
    size : int
        Bytes of the memory that its functions have of their own.
    """

    def __init__(self) -> None:
        self.size = 0
        self.lines: list[str] = []
        self.names: dict[str, Any] = {"ndarray": np.ndarray, "copyto": np.copyto, "matmul": np.matmul, "dot": np.dot}
        self.ones: dict[tuple[int, str], str] = {}
        """Vectors of ones, by length and dtype."""
        self._count = 0

    @property
    def text(self) -> str:
        """Return all of it."""
        return "\n".join(["def make():", *("    " + line for line in self.lines), "    return locals()"])

    def maker(self) -> Callable[[], dict[str, Any]]:
        """Return a function that makes the functions, by name, with memory of their own at each call."""
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


class Function:
    """The function of a plan in the making: its lines, and names for the arrays that they are about.

    It takes the plan's arguments and results. Views of memory that does not move are made once, those of arguments and
    results with each call.
    """

    def __init__(self, texts: Texts, plan: Plan) -> None:
        self.texts, self.plan = texts, plan
        self.lines: list[str] = []
        self.fixed: dict[Any, str] = {}
        """Views of temporary buffers, which are made once."""
        self.known: dict[Any, str] = {}
        """Views that the lines have made so far."""
        self._steady: set[str] = set()
        """Arrays that are the same at each call."""
        self.roots: dict[Buffer, str] = {}
        """Arguments and results; other buffers are in the arena."""
        self.given = [f"a{i}" for i in range(len(plan.arguments))]
        self.roots.update(zip(plan.arguments, self.given, strict=True))
        self.made = [f"r{i}" for i in range(len(plan.results))]
        for buffer, name in zip(plan.results, self.made, strict=True):
            place = plan.memory.get(buffer)
            self.roots[buffer] = self.roots[place] if isinstance(place, Buffer) else name
        homes = {buffer: place for buffer, place in plan.memory.items() if isinstance(place, Buffer)}
        self.roots.update((buffer, self.roots[place]) for buffer, place in homes.items() if buffer not in self.roots)
        self._arena = texts.name("arena")
        if plan.memory:  # arrays without elements are in it as well
            texts.size += plan.arena
            self._once(f"{self._arena} = {texts.name('empty', np.empty)}({plan.arena}, 'uint8')")

    def emit(self, line: str) -> None:
        """Write a line."""
        self.lines.append(line)

    def _once(self, line: str) -> None:
        """Write a line that runs once, before all calls."""
        self.texts.lines.append(line)

    # Arrays

    def view(self, layout: Layout) -> str:
        """Return the name of an array of a layout; axes along which it is broadcast have size 1."""
        sizes = tuple(1 if stride == 0 else size for size, stride in zip(layout.shape, layout.strides, strict=True))
        return self.array(layout.buffer, sizes, layout.strides, layout.offset)

    def operand_of_ufuncs(self, layout: Layout) -> str:
        """Return the name of an array of a layout, but for leading axes of size 1, which ufuncs add of themselves."""
        sizes = tuple(1 if stride == 0 else size for size, stride in zip(layout.shape, layout.strides, strict=True))
        lead = next((axis for axis, size in enumerate(sizes) if size != 1), len(sizes))
        for start in range(lead, -1, -1):
            shape, strides = sizes[start:], layout.strides[start:]
            if shape == layout.buffer.shape and not layout.offset and lies_row_by_row(shape, strides):
                return self.whole(layout.buffer)
        return self.view(layout)

    def array(self, buffer: Buffer, sizes: Sizes, strides: Sizes, offset: int) -> str:
        """Return the name of an array in a buffer."""
        root = self.roots.get(buffer)
        dtype = np.dtype(buffer.dtype)
        steps = tuple(stride * dtype.itemsize for stride in strides)
        if root is not None and sizes == buffer.shape and offset == 0 and lies_row_by_row(sizes, strides):
            return root
        key = (buffer, sizes, steps, offset)
        found = self.fixed.get(key) or self.known.get(key)
        if found is None:
            found = self.texts.name("v")
            if root is None:
                start = self.plan.memory[buffer]
                assert isinstance(start, int)
                kind = self.texts.name("d", dtype)
                self._once(
                    f"{found} = ndarray({sizes}, {kind}, {self._arena}, {start + offset * dtype.itemsize}, {steps})"
                )
                self.fixed[key] = found
                self._steady.add(found)
            else:
                self.emit(f"{found} = {self._view_of(root, buffer, sizes, strides, offset)}")
                self.known[key] = found
        return found

    def _view_of(self, root: str, buffer: Buffer, sizes: Sizes, strides: Sizes, offset: int) -> str:
        """Write a view of an argument or a result, which is made with each call: in the cheapest way that there is."""
        if not offset and sizes == buffer.shape[::-1] and lies_row_by_row(buffer.shape, strides[::-1]):
            return f"{root}.T"
        if not offset and math.prod(sizes) == math.prod(buffer.shape) and lies_row_by_row(sizes, strides):
            return f"{root}.reshape({sizes})"
        dtype = np.dtype(buffer.dtype)
        steps = tuple(stride * dtype.itemsize for stride in strides)
        kind = self.texts.name("d", dtype)
        return f"ndarray({sizes}, {kind}, {root}, {offset * dtype.itemsize}, {steps})"

    def whole(self, buffer: Buffer) -> str:
        """Return the name of all of a buffer."""
        return self.array(buffer, buffer.shape, row_by_row(buffer.shape), 0)

    def number(self, value: Any, dtype: str) -> str:
        """Return the name of a number, as an array: one that is none is made one at each call."""
        return self.texts.name("n", np.full((), value, dtype))

    def scratch(self, shape: Sizes, dtype: str) -> str:
        """Return the name of an array that lines may write what they like into."""
        name = self.texts.name("s")
        kind = self.texts.name("d", np.dtype(dtype))
        self.texts.size += math.prod(shape) * np.dtype(dtype).itemsize
        self._once(f"{name} = {self.texts.name('empty', np.empty)}({shape}, {kind})")
        self._steady.add(name)
        return name

    def operand(self, layout: Layout) -> str:
        """Return the name of an array of a layout, whole."""
        return self.array(layout.buffer, layout.shape, layout.strides, layout.offset)

    def shaped(self, name: str, shape: Sizes) -> str:
        """Return the name of an array of the same elements, which lie row by row, in another shape."""
        key = name, shape
        found = self.fixed.get(key) or self.known.get(key)
        if found is None:
            found = self.texts.name("v")
            line = f"{found} = {name}.reshape({shape})"
            if name in self._steady:
                self._once(line)
                self.fixed[key] = found
            else:
                self.emit(line)
                self.known[key] = found
        return found

    def ones(self, count: int, dtype: str) -> str:
        """Return the name of a vector of ones."""
        key = count, dtype
        if key not in self.texts.ones:
            self.texts.ones[key] = self.texts.name("ones", ones(count, np.dtype(dtype)))
        return self.texts.ones[key]

    def ufunc(self, name: str) -> str:
        """Return the name of a primitive's ufunc, or of a kernel that writes into its last argument."""
        if name in INTO:
            self.texts.names[name] = INTO[name]
            return name
        called = UFUNCS[name]
        self.texts.names[called] = getattr(np, called)
        return called
