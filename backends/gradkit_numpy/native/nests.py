"""A nest as an LLVM function: loops over elements, vectorized by LLVM, since no two arrays overlap."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from gradkit.backend.plan import Index, Layout, Load, Nest, Number, Store
from gradkit_numpy.native.statements import combine, statement
from gradkit_numpy.native.text import LLVM_TYPES, MEMORY_TYPES, Text, literal

__all__ = ["nest_function"]

Sizes = tuple[int, ...]


class Axes:
    """The axes of a nest in the order of its loops, neighbours joined where all arrays go on from one to the next.

    The loops are in the order of one array's memory, which is written or, where all is reduced, read element after
    element then: the largest array that is written, since writing across memory costs more than reading, or if all
    stores reduce the same axes, the argument that has most of them.

    Attributes
    ----------
    groups : list of list of int
        By loop, the outermost first: the axes that it runs over.
    sizes : list of int
        By loop: its steps.
    """

    def __init__(self, nest: Nest) -> None:
        layouts = [part.layout for part in nest.body if isinstance(part, Load)]
        layouts += [store.layout for store in nest.stores]
        indexed = {part.axis for part in nest.body if isinstance(part, Index)}
        indexed |= {store.running for store in nest.stores if store.running is not None}
        reduced = {axis for store in nest.stores for axis in store.reduced}
        lead = max(nest.stores, key=lambda store: math.prod(store.layout.buffer.shape)).layout
        kept = [axis for axis, size in enumerate(nest.sizes) if size != 1]
        if len({store.reduced for store in nest.stores}) == 1 and nest.stores[0].reduced and layouts:
            lead = max(layouts, key=lambda layout: sum(1 for stride in layout.strides if stride))
        if not any(store.scattered for store in nest.stores):  # their order matters
            kept.sort(key=lambda axis: -abs(lead.strides[axis]) if lead.strides[axis] else -math.inf)
        self.groups: list[list[int]] = []
        for axis in kept:
            if self.groups and axis not in indexed and self.groups[-1][-1] not in indexed:
                last = self.groups[-1][-1]
                goes_on = all(x.strides[last] == x.strides[axis] * nest.sizes[axis] for x in layouts)
                alike = all((last in store.reduced) == (axis in store.reduced) for store in nest.stores)
                if goes_on and alike:
                    self.groups[-1].append(axis)
                    continue
            self.groups.append([axis])
        self.sizes = [math.prod(nest.sizes[axis] for axis in group) for group in self.groups]
        self.reduced = reduced

    def strides(self, layout: Layout) -> list[int]:
        """Return a layout's strides by loop."""
        return [layout.strides[group[-1]] for group in self.groups]

    def is_reduced(self, store: Store, loop: int) -> bool:
        """Return whether a store reduces along a loop."""
        return self.groups[loop][-1] in store.reduced

    def loop_of(self, axis: int) -> int | None:
        """Return the loop that runs over an axis; None if that has one step."""
        return next((loop for loop, group in enumerate(self.groups) if axis in group), None)


class Nested:
    """The writing of one nest.

    A reduction is collected in a variable of the function, which LLVM keeps in registers, along the innermost loops
    that reduce it; along outer ones, element by element in its array. So is one that runs along an axis: in a variable
    along the innermost loop, else each element is made of the one before.
    """

    def __init__(self, nest: Nest, pointers: Mapping[int, str], text: Text) -> None:
        self.nest, self.text = nest, text
        self.axes = Axes(nest)
        self.pointers = pointers
        """By the identity of a buffer, its address."""
        self.layouts: list[Layout] = [p.layout for p in nest.body if isinstance(p, Load)]
        self.layouts += [store.layout for store in nest.stores]
        combining = [store for store in nest.stores if store.combine and not store.scattered]
        self.reducing = [store for store in combining if store.running is None]
        self.inner = {id(store): self._first_inner(store) for store in self.reducing}
        self.sums: dict[int, str] = {}

    def write(self) -> None:
        """Write it."""
        text, loops = self.text, len(self.axes.sizes)
        starts = {id(layout): str(layout.offset) for layout in self.layouts}
        for store in self.reducing:
            if store.combine:
                self.sums[id(store)] = text.local(MEMORY_TYPES[store.layout.buffer.dtype])
                if any(self.axes.is_reduced(store, loop) for loop in range(self.inner[id(store)])):
                    self._fill(store)
        self._loops(0, loops, starts, [])

    def _first_inner(self, store: Store) -> int:
        """Return the first of the innermost loops along which a store reduces."""
        loop = len(self.axes.sizes)
        while loop and self.axes.is_reduced(store, loop - 1):
            loop -= 1
        return loop

    def _fill(self, store: Store) -> None:
        """Write the identity where a reduction that is not done in the innermost loops is collected."""
        text, layout = self.text, store.layout
        base, dtype = self.pointers[id(layout.buffer)], layout.buffer.dtype
        strides = self.axes.strides(layout)
        kept = [loop for loop in range(len(strides)) if not self.axes.is_reduced(store, loop)]

        def fill(left: Sequence[int], position: str) -> None:
            if not left:
                text.store(literal(store.identity, dtype), base, position, dtype)
                return
            loop, *rest = left
            text.loop(self.axes.sizes[loop], lambda i: fill(rest, text.offset(position, i, strides[loop])))

        fill(kept, str(layout.offset))

    def _loops(self, loop: int, loops: int, starts: Mapping[int, str], indices: list[str]) -> None:
        text = self.text
        begun = [s for s in self.reducing if self.inner[id(s)] == loop]
        for store in begun:
            dtype = store.layout.buffer.dtype
            text.store(literal(store.identity, dtype), self.sums[id(store)], "0", dtype)
        if loop == loops - 1:
            for store in self.nest.stores:
                if store.running is not None and self.axes.loop_of(store.running) == loop:
                    dtype = store.layout.buffer.dtype
                    self.sums[id(store)] = text.local(MEMORY_TYPES[dtype])
                    text.store(literal(store.identity, dtype), self.sums[id(store)], "0", dtype)
        if loop == loops:
            self._body(starts, indices)
        else:

            def inside(i: str) -> None:
                moved = {
                    id(layout): text.offset(starts[id(layout)], i, self.axes.strides(layout)[loop])
                    for layout in self.layouts
                }
                self._loops(loop + 1, loops, moved, [*indices, i])

            text.loop(self.axes.sizes[loop], inside)
        for store in begun:
            self._collect(store, starts[id(store.layout)], loop)

    def _collect(self, store: Store, position: str, loop: int) -> None:
        """Write what the innermost loops have reduced, or add it to what outer ones have."""
        text, dtype = self.text, store.layout.buffer.dtype
        base = self.pointers[id(store.layout.buffer)]
        value = text.load(self.sums[id(store)], "0", dtype)
        if any(self.axes.is_reduced(store, outer) for outer in range(loop)):
            assert store.combine
            value = combine(text, store.combine, dtype, text.load(base, position, dtype), value)
        text.store(value, base, position, dtype)

    def _body(self, starts: Mapping[int, str], indices: Sequence[str]) -> None:
        text, body = self.text, self.nest.body
        values: list[str] = []
        for part in body:
            if isinstance(part, Load):
                position = starts[id(part.layout)]
                for value, stride, size in part.gathered:
                    at = self._clamped(values[value], body[value].dtype, size)
                    position = text.offset(position, at, stride)
                values.append(text.load(self.pointers[id(part.layout.buffer)], position, part.dtype))
            elif isinstance(part, Number):
                values.append(literal(part.value, part.dtype))
            elif isinstance(part, Index):
                values.append(self._index(part, indices))
            else:
                dtypes = [*(body[x].dtype for x in part.operands), part.dtype]
                values.append(statement(text, part.name, dtypes, [values[x] for x in part.operands]))
        for store in self.nest.stores:
            dtype = store.layout.buffer.dtype
            if store.scattered:
                self._scatter(store, values, starts[id(store.layout)])
            elif store.running is not None:
                self._go_on(store, values[store.value], starts[id(store.layout)], indices)
            elif store.combine:
                place = self.sums[id(store)]
                so_far = text.load(place, "0", dtype)
                text.store(combine(text, store.combine, dtype, so_far, values[store.value]), place, "0", dtype)
            else:
                base = self.pointers[id(store.layout.buffer)]
                text.store(values[store.value], base, starts[id(store.layout)], dtype)

    def _go_on(self, store: Store, value: str, position: str, indices: Sequence[str]) -> None:
        """Combine a value with what was made of those before it along an axis."""
        text, dtype, layout = self.text, store.layout.buffer.dtype, store.layout
        assert store.running is not None
        assert store.combine is not None
        base, place = self.pointers[id(layout.buffer)], self.sums.get(id(store))
        loop = self.axes.loop_of(store.running)
        if place is not None:
            so_far = text.load(place, "0", dtype)
        elif loop is None:
            so_far = literal(store.identity, dtype)
        else:
            # Of the first element nothing is before: it is read itself, and not used.
            first = text.value(f"icmp eq i64 {indices[loop]}, 0")
            back = text.value(f"select i1 {first}, i64 0, i64 {-layout.strides[store.running]}")
            before = text.load(base, text.offset(position, back, 1), dtype)
            kind = LLVM_TYPES[dtype]
            so_far = text.value(f"select i1 {first}, {kind} {literal(store.identity, dtype)}, {kind} {before}")
        found = statement(text, store.combine, [dtype] * 3, [so_far, value])
        if place is not None:
            text.store(found, place, "0", dtype)
        text.store(found, base, position, dtype)

    def _scatter(self, store: Store, values: Sequence[str], position: str) -> None:
        """Write a value where another one says, or nowhere."""
        text, body = self.text, self.nest.body
        dtype = store.layout.buffer.dtype
        base = self.pointers[id(store.layout.buffer)]
        inside = "true"
        for value, stride, size in store.scattered:
            wide = self._wide(values[value], body[value].dtype)
            fits = text.value(f"icmp ult i64 {wide}, {size}")
            inside = text.value(f"and i1 {inside}, {fits}")
            position = text.offset(position, wide, stride)
        write, on = text.label(), text.label()
        text.emit(f"br i1 {inside}, label %{write}, label %{on}")
        text.begin(write)
        found = values[store.value]
        if store.combine:
            found = combine(text, store.combine, dtype, text.load(base, position, dtype), found)
        text.store(found, base, position, dtype)
        text.emit(f"br label %{on}")
        text.begin(on)

    def _wide(self, value: str, dtype: str) -> str:
        kind = MEMORY_TYPES[dtype]
        if kind == "i64":
            return value
        return self.text.value(f"{'zext' if dtype.startswith('u') else 'sext'} {kind} {value} to i64")

    def _clamped(self, value: str, dtype: str, size: int) -> str:
        text, wide = self.text, self._wide(value, dtype)
        word = "u" if dtype.startswith("u") else "s"
        low = text.value(f"call i64 @llvm.{word}max.i64(i64 {wide}, i64 0)")
        return text.value(f"call i64 @llvm.{word}min.i64(i64 {low}, i64 {size - 1})")

    def _index(self, part: Index, indices: Sequence[str]) -> str:
        text, kind = self.text, MEMORY_TYPES[part.dtype]
        loop = next((n for n, group in enumerate(self.axes.groups) if part.axis in group), None)
        if loop is None:
            return literal(0, part.dtype)
        if part.dtype.startswith("float"):
            return text.value(f"sitofp i64 {indices[loop]} to {kind}")
        return indices[loop] if kind == "i64" else text.value(f"trunc i64 {indices[loop]} to {kind}")


def nest_function(name: str, nest: Nest, key: Callable[[object], object]) -> tuple[str, list[object]]:
    """Return the text of a function that runs a nest, and the buffers whose addresses it takes, each once.

    ``key(buffer)`` says which buffers are the same memory.
    """
    buffers = [part.layout.buffer for part in nest.body if isinstance(part, Load)]
    buffers += [store.layout.buffer for store in nest.stores]
    names: dict[object, str] = {}
    chosen: list[object] = []
    for buffer in buffers:
        if key(buffer) not in names:
            names[key(buffer)] = f"%b{len(chosen)}"
            chosen.append(buffer)
    text = Text()
    Nested(nest, {id(buffer): names[key(buffer)] for buffer in buffers}, text).write()
    parameters = ", ".join(f"ptr noalias nocapture {name}" for name in names.values())
    return text.function(f"define internal void {name}({parameters}) #0"), chosen
