"""Nests as calls of ufuncs, into arrays that are there already."""

from __future__ import annotations

import math

import numpy as np

from gradkit.backend.plan import Index, Layout, Load, Nest, Number, Statement, Store, lies_row_by_row
from gradkit_numpy.kernels import LONGEST
from gradkit_numpy.saturating import INTO
from gradkit_numpy.ufuncs.names import FLOATS, REDUCING
from gradkit_numpy.ufuncs.text import Function, Sizes

__all__ = ["write_nest"]

IN_STEPS = {"where", *INTO}
"""What is written in several steps, so that it may not be in the place of one of its operands."""


def write_nest(function: Function, nest: Nest) -> None:
    """Write a nest down."""
    Ufuncs(function, nest).write()


class Ufuncs:
    """The calls of one nest: a ufunc for each of its statements, over whole arrays.

    Axes along which a value is the same everywhere have size 1, so it is computed once.
    """

    def __init__(self, function: Function, nest: Nest) -> None:
        self.function, self.nest = function, nest
        self.last = self._last_uses()
        self.names: list[str] = []
        self.shapes: list[Sizes] = []
        self.free: dict[tuple[Sizes, str], list[str]] = {}
        """By shape and dtype: scratch arrays that are read no more."""
        self.own: dict[int, tuple[Sizes, str]] = {}
        """By position: values in scratch arrays."""
        self.targets = {store.value: store for store in nest.stores if self._is_whole(store)}
        self.waiting = dict(self.targets)
        """By position: targets that nothing has been written into."""
        self.held: dict[int, Layout] = {}
        """By position: where values are that are in the place of a target."""

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
        if 0 in self.nest.sizes:
            for store in self.nest.stores:
                if store.combine is not None:
                    self._nothing(store)
            return
        for position, part in enumerate(self.nest.body):
            if isinstance(part, Load):
                self._known(self.function.operand_of_ufuncs(part.layout), self._shape_of(part.layout))
            elif isinstance(part, Number):
                self._known(self.function.number(part.value, part.dtype), (1,) * len(self.nest.sizes))
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
                self.names[store.value] = self._copied(store.value, self.shapes[store.value])
        for store in in_place:
            self._store(store)

    def _reduced(self, store: Store) -> str:
        """Return the array of what a store reduces to."""
        kept = [axis for axis in range(len(self.nest.sizes)) if axis not in store.reduced]
        sizes = tuple(self.nest.sizes[axis] for axis in kept)
        strides = tuple(store.layout.strides[axis] for axis in kept)
        return self.function.array(store.layout.buffer, sizes, strides, store.layout.offset)

    def _nothing(self, store: Store) -> None:
        """Write what a reduction of no elements gives."""
        identity = self.function.number(store.identity, store.layout.buffer.dtype)
        self.function.emit(f"copyto({self._reduced(store)}, {identity})")

    def _known(self, name: str, shape: Sizes) -> None:
        self.names.append(name)
        self.shapes.append(shape)

    def _shape_of(self, layout: Layout) -> Sizes:
        return tuple(1 if stride == 0 else size for size, stride in zip(self.nest.sizes, layout.strides, strict=True))

    def _index(self, part: Index) -> None:
        shape = tuple(size if axis == part.axis else 1 for axis, size in enumerate(self.nest.sizes))
        values = np.arange(self.nest.sizes[part.axis], dtype=part.dtype).reshape(shape)
        self._known(self.function.texts.name("n", values), shape)

    def _statement(self, position: int, part: Statement) -> None:
        shape = tuple(max(sizes) for sizes in zip(*(self.shapes[x] for x in part.operands), strict=True))
        is_kernel = part.name in INTO
        operands = [self._whole(x, shape) if is_kernel else self.names[x] for x in part.operands]
        out = self._place(position, part, shape)
        if part.name == "where":
            self.function.emit(f"copyto({out}, {operands[2]})")
            self.function.emit(f"copyto({out}, {operands[1]}, where={operands[0]})")
        elif part.name in ("astype", "astype_exact"):
            self.function.emit(f"copyto({out}, {operands[0]}, 'unsafe')")
        else:
            written = f"out={out}" if part.name in ("maximum", "minimum") else out  # NumPy asks for the name there
            self.function.emit(f"{self.function.ufunc(part.name)}({', '.join([*operands, written])})")
        self._known(out, shape)

    def _place(self, position: int, part: Statement, shape: Sizes) -> str:
        """Return where a statement writes: where its value is kept, or will be, or in an array that is read no more."""
        for x in set(part.operands):
            if self.last[x] == position and x in self.own:
                self.free.setdefault(self.own.pop(x), []).append(self.names[x])
        if shape == self.nest.sizes and (store := self._target(position, part)) is not None:
            self.held[position] = store.layout
            return self.function.view(store.layout)
        key = shape, part.dtype
        self.own[position] = key
        free = self.free.get(key)
        return free.pop() if free and part.name not in IN_STEPS else self.function.scratch(*key)

    def _target(self, position: int, part: Statement) -> Store | None:
        """Return the store whose place a statement may write into: its own, or one of a value that reads it last."""
        own = self.targets.get(position)
        if own is not None and self._may_write(own, position):
            self.waiting.pop(position, None)
            return own
        for end, later in self.waiting.items():
            fits = part.dtype == later.layout.buffer.dtype and self.last[position] <= end
            if fits and self._is_in_one_step(end) and self._may_write(later, position):
                return self.waiting.pop(end)
        return None

    def _is_in_one_step(self, position: int) -> bool:
        part = self.nest.body[position]
        return isinstance(part, Statement) and part.name not in IN_STEPS

    def _whole(self, position: int, shape: Sizes) -> str:
        """Return an array of that shape of a value, for what does not broadcast."""
        part = self.nest.body[position]
        if isinstance(part, Load) and self.shapes[position] == shape:
            return self.function.view(part.layout)
        if not isinstance(part, Number) and self.shapes[position] == shape:
            return self.names[position]
        return self._copied(position, shape)

    def _copied(self, position: int, shape: Sizes) -> str:
        copied = self.function.scratch(shape, self.nest.body[position].dtype)
        self.function.emit(f"copyto({copied}, {self.names[position]})")
        return copied

    def _may_write(self, store: Store, position: int) -> bool:
        """Return whether what a store writes over is read no more after the statement at `position`."""
        end = position - (not self._is_in_one_step(position))
        return all(self.last.get(i, -1) <= end for i in self._in_its_place(store))

    def _in_its_place(self, store: Store) -> list[int]:
        """Return the parts of the body that read the memory that a store writes."""
        memory = self.function.plan.memory
        place = memory.get(store.layout.buffer, store.layout.buffer)
        return [
            i
            for i, part in enumerate(self.nest.body)
            if isinstance(part, Load) and memory.get(part.layout.buffer, part.layout.buffer) == place
        ]

    def _store(self, store: Store) -> None:
        name = self.names[store.value]
        if store.combine is None:
            target = self.function.view(store.layout)
            if target != name:
                self.function.emit(f"copyto({target}, {name})")
            return
        if store.combine == "add" and self._summed(store):
            return
        called = self.function.texts.name("reduce", REDUCING[store.combine].reduce)
        name = self._whole(store.value, self.nest.sizes)
        axes = store.reduced if len(store.reduced) != 1 else store.reduced[0]
        self.function.emit(f"{called}({name}, {axes}, None, {self._reduced(store)})")

    def _summed(self, store: Store) -> bool:
        """Write a sum as a product with ones, which takes BLAS a third of NumPy's time, where it is one."""
        buffer, strides, sizes = store.layout.buffer, store.layout.strides, self.nest.sizes
        if buffer.dtype not in FLOATS or not self._lies_in_rows(store.value, buffer.dtype):
            return False
        axes = [axis for axis, size in enumerate(sizes) if size != 1]
        kept = [axis for axis in axes if axis not in store.reduced]
        if not lies_row_by_row([sizes[axis] for axis in kept], [strides[axis] for axis in kept]):
            return False
        columns = math.prod(sizes[axis] for axis in kept)
        rows = math.prod(sizes) // columns
        if rows > LONGEST:
            return False
        shape: Sizes
        ones = self.function.ones(rows, buffer.dtype)
        if kept and kept == axes[-len(kept) :]:
            shape, given = (rows, columns), (ones, "{}")
        elif kept == axes[: len(kept)]:
            shape, given = (columns, rows) if kept else (rows,), ("{}", ones)
        else:
            return False
        values = self._whole(store.value, sizes)
        if shape != sizes:
            values = self.function.shaped(values, shape)
        kept_shape = (columns,) if kept else ()
        out = self.function.array(buffer, kept_shape, (1,) * len(kept_shape), store.layout.offset)
        self.function.emit(f"dot({', '.join(given).format(values)}, {out})")
        return True

    def _lies_in_rows(self, position: int, dtype: str) -> bool:
        """Return whether a value is in an array of that dtype, whole, whose elements lie row by row."""
        part = self.nest.body[position]
        if isinstance(part, Number) or part.dtype != dtype or self.shapes[position] != self.nest.sizes:
            return False
        layout = part.layout if isinstance(part, Load) else self.held.get(position)
        return layout is None or lies_row_by_row(layout.shape, layout.strides)
