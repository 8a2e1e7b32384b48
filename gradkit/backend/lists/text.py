"""Python text in the making: functions, and names for what they use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradkit.backend.lists.library import Library
from gradkit.backend.plan import Buffer, Layout, Plan, lies_row_by_row, row_by_row

__all__ = ["Function", "Sizes", "Texts"]

Sizes = tuple[int, ...]


class Texts:
    """The Python text of a plan and of those in it.

    Attributes
    ----------
    library : Library
        How calls are written.
    size : int
        Bytes of the memory that its functions have of their own.
    """

    def __init__(self, library: Library) -> None:
        self.library = library
        self.size = 0
        self.lines: list[str] = []
        self.names: dict[str, Any] = dict(library.names)
        self._shared: dict[Any, str] = {}
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

    def shared(self, kind: str, key: Any, make: Callable[[], Any]) -> str:
        """Return the name of a value that is made once for all of the text, by what it is."""
        if (kind, key) not in self._shared:
            self._shared[kind, key] = self.name(kind, make())
        return self._shared[kind, key]

    def dtype(self, name: str) -> str:
        """Return the name of a dtype."""
        return self.shared("d", name, lambda: self.library.dtype(name))


class Function:
    """The function of a plan in the making: its lines, and names for the arrays that they are about.

    It takes the plan's arguments and results. Views of memory that does not move are made once, those of arguments and
    results with each call.
    """

    def __init__(self, texts: Texts, plan: Plan) -> None:
        self.texts, self.plan, self.library = texts, plan, texts.library
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
            self._once(f"{self._arena} = {self.library.empty(texts, (plan.arena,), 'uint8')}")

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

    def broadcast(self, layout: Layout) -> tuple[str, bool]:
        """Return the name of an array of a layout, and whether it lacks leading axes of size 1.

        Calls add these of themselves, and so all of a buffer serves, without a view of it.
        """
        sizes = tuple(1 if stride == 0 else size for size, stride in zip(layout.shape, layout.strides, strict=True))
        lead = next((axis for axis, size in enumerate(sizes) if size != 1), len(sizes))
        for start in range(lead, -1, -1):
            shape, strides = sizes[start:], layout.strides[start:]
            if shape == layout.buffer.shape and not layout.offset and lies_row_by_row(shape, strides):
                return self.whole(layout.buffer), start > 0
        return self.view(layout), False

    def turned(self, sizes: Sizes, strides: Sizes) -> tuple[int, ...]:
        """Return the axes that are read backwards, where the library has no views that do."""
        if self.library.has_negative_strides:
            return ()
        return tuple(axis for axis, (n, step) in enumerate(zip(sizes, strides, strict=True)) if step < 0 and n > 1)

    def array(self, buffer: Buffer, sizes: Sizes, strides: Sizes, offset: int) -> str:
        """Return the name of an array in a buffer."""
        root = self.roots.get(buffer)
        if root is not None and sizes == buffer.shape and offset == 0 and lies_row_by_row(sizes, strides):
            return root
        if turned := self.turned(sizes, strides):
            # A copy of what is there now.
            first = offset + sum(strides[axis] * (sizes[axis] - 1) for axis in turned)
            there = self.array(buffer, sizes, tuple(map(abs, strides)), first)
            copied = self.texts.name("t")
            self.emit(f"{copied} = {self.library.flip(there, turned)}")
            return copied
        # How far apart one element is does not matter, but libraries compare it where arrays overlap.
        strides = tuple(
            plain if size == 1 else stride
            for size, stride, plain in zip(sizes, strides, row_by_row(sizes), strict=True)
        )
        key = (buffer, sizes, strides, offset)
        found = self.fixed.get(key) or self.known.get(key)
        if found is None:
            found = self.texts.name("v")
            if root is None:
                start = self.plan.memory[buffer]
                assert isinstance(start, int)
                start += offset * buffer.item_size
                made = self.library.in_arena(self.texts, self._arena, buffer.dtype, start, sizes, strides)
                self._once(f"{found} = {made}")
                self.fixed[key] = found
                self._steady.add(found)
            else:
                self.emit(f"{found} = {self.library.view(self.texts, root, buffer, sizes, strides, offset)}")
                self.known[key] = found
        return found

    def whole(self, buffer: Buffer) -> str:
        """Return the name of all of a buffer."""
        return self.array(buffer, buffer.shape, row_by_row(buffer.shape), 0)

    def number(self, value: Any, dtype: str, axes: int = 0) -> str:
        """Return the name of a number, as an array: one that is none is made one at each call."""
        return self.texts.name("n", self.library.number(value, dtype, axes))

    def scratch(self, shape: Sizes, dtype: str) -> str:
        """Return the name of an array that lines may write what they like into."""
        name = self.texts.name("s")
        self.texts.size += Buffer(shape, dtype).size
        self._once(f"{name} = {self.library.empty(self.texts, shape, dtype)}")
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
