"""Nests as calls of ufuncs, into arrays that are there already."""

from __future__ import annotations

import numpy as np

from gradkit.backend.plan import Index, Layout, Load, Nest, Number, Statement, Store
from gradkit_numpy.ufuncs.names import REDUCING
from gradkit_numpy.ufuncs.text import Function, Sizes

__all__ = ["write_nest"]


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
                self._known(self.function.view(part.layout), self._shape_of(part.layout))
            elif isinstance(part, Number):
                number = np.dtype(part.dtype).type(part.value) if part.dtype != "bool" else np.bool_(part.value)
                self._known(self.function.texts.name("n", number), (1,) * len(self.nest.sizes))
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
                copied = self.function.scratch(self.shapes[store.value], self.nest.body[store.value].dtype)
                self.function.emit(f"copyto({copied}, {self.names[store.value]})")
                self.names[store.value] = copied
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
        identity = np.dtype(store.layout.buffer.dtype).type(store.identity)
        self.function.emit(f"copyto({self._reduced(store)}, {self.function.texts.name('n', identity)})")

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
        operands = [self.names[x] for x in part.operands]
        shape = tuple(max(sizes) for sizes in zip(*(self.shapes[x] for x in part.operands), strict=True))
        for x in set(part.operands):
            if self.last[x] == position and x in self.own:
                self.free.setdefault(self.own.pop(x), []).append(self.names[x])
        store = self.targets.get(position)
        if store is not None and shape == self.nest.sizes and self._may_write(store, position):
            out = self.function.view(store.layout)
        else:
            key = (shape, part.dtype)
            waiting = self.free.get(key)
            # A choice is written in two steps, so it may not be in the place of one of its operands.
            out = waiting.pop() if waiting and part.name != "where" else self.function.scratch(*key)
            self.own[position] = key
        if part.name == "where":
            self.function.emit(f"copyto({out}, {operands[2]})")
            self.function.emit(f"copyto({out}, {operands[1]}, where={operands[0]})")
        elif part.name in ("astype", "astype_exact"):
            self.function.emit(f"copyto({out}, {operands[0]}, 'unsafe')")
        else:
            written = f"out={out}" if part.name in ("maximum", "minimum") else out  # NumPy asks for the name there
            self.function.emit(f"{self.function.ufunc(part.name)}({', '.join([*operands, written])})")
        self._known(out, shape)

    def _may_write(self, store: Store, position: int) -> bool:
        """Return whether what a store writes over is read no more after the statement at `position`."""
        # A choice is written in two steps, so it may not be in the place of one of its operands either.
        end = position - (self.nest.body[position].name == "where")  # type: ignore[union-attr]
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
        function = REDUCING[store.combine]
        called = self.function.texts.name("reduce", function.reduce)
        target = self._reduced(store)
        if self.shapes[store.value] != self.nest.sizes:
            whole = self.function.scratch(self.nest.sizes, store.layout.buffer.dtype)
            self.function.emit(f"copyto({whole}, {name})")
            name = whole
        axes = store.reduced if len(store.reduced) != 1 else store.reduced[0]
        self.function.emit(f"{called}({name}, {axes}, None, {target})")
