"""Nests as calls on whole arrays, into arrays that are there already."""

from __future__ import annotations

from gradkit.backend.lists.text import Function, Sizes
from gradkit.backend.plan import Buffer, Index, Layout, Load, Nest, Number, Statement, Store, lies_row_by_row

__all__ = ["NestWriter"]


class NestWriter:
    """The calls of one nest: one for each of its statements, over whole arrays.

    Axes along which a value is the same everywhere have size 1, so it is computed once.
    """

    def __init__(self, function: Function, nest: Nest) -> None:
        self.function, self.nest, self.library = function, nest, function.library
        self.last = self._last_uses()
        self.names: list[str] = []
        self.shapes: list[Sizes] = []
        self.short: set[int] = set()
        """The positions of arrays that have fewer axes than the nest."""
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
        layout = store.layout
        return (
            store.combine is None
            and not self.function.turned(layout.shape, layout.strides)
            and all(stride != 0 or size == 1 for stride, size in zip(layout.strides, layout.shape, strict=True))
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
                self._load(position, part)
            elif isinstance(part, Number):
                axes = len(self.nest.sizes)
                self._known(self.function.number(part.value, part.dtype, axes), (1,) * axes)
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

    def reduced(self, store: Store) -> str:
        """Return the array of what a store reduces to."""
        kept = [axis for axis in range(len(self.nest.sizes)) if axis not in store.reduced]
        sizes = tuple(self.nest.sizes[axis] for axis in kept)
        strides = tuple(store.layout.strides[axis] for axis in kept)
        return self.function.array(store.layout.buffer, sizes, strides, store.layout.offset)

    def _nothing(self, store: Store) -> None:
        """Write what a reduction of no elements gives."""
        identity = self.function.number(store.identity, store.layout.buffer.dtype)
        self.function.emit(self.library.copy(self.reduced(store), identity))

    def _load(self, position: int, part: Load) -> None:
        name, is_short = self.function.broadcast(part.layout)
        # Libraries take an operand in the place of the result if both are the same view of it.
        if is_short and self._place_of(part.layout) in map(
            self._place_of, (store.layout for store in self.nest.stores)
        ):
            name, is_short = self.function.view(part.layout), False
        if is_short:
            self.short.add(position)
        self._known(name, self._shape_of(part.layout))

    def _place_of(self, layout: Layout) -> int | Buffer:
        return self.function.plan.memory.get(layout.buffer, layout.buffer)

    def _known(self, name: str, shape: Sizes) -> None:
        self.names.append(name)
        self.shapes.append(shape)

    def _shape_of(self, layout: Layout) -> Sizes:
        return tuple(1 if stride == 0 else size for size, stride in zip(self.nest.sizes, layout.strides, strict=True))

    def _index(self, part: Index) -> None:
        shape = tuple(size if axis == part.axis else 1 for axis, size in enumerate(self.nest.sizes))
        self._known(self.function.texts.name("n", self.library.positions(shape, part.axis, part.dtype)), shape)

    def _statement(self, position: int, part: Statement) -> None:
        shape = tuple(max(sizes) for sizes in zip(*(self.shapes[x] for x in part.operands), strict=True))
        if part.name in self.library.takes_whole:
            operands = [self.whole(x, shape) for x in part.operands]
        else:
            operands = [self.names[x] for x in part.operands]
            if self.library.ranks_alike and self.short.issuperset(part.operands):
                first = self.nest.body[part.operands[0]]
                assert isinstance(first, Load)
                operands[0] = self.function.view(first.layout)
        out = self._place(position, part, shape)
        if part.name in ("astype", "astype_exact"):
            self.function.emit(self.library.copy(out, operands[0], casts=True))
        else:
            for line in self.library.statement(self, part, operands, out, shape):
                self.function.emit(line)
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
        return free.pop() if free and part.name not in self.library.in_steps else self.function.scratch(*key)

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
        return isinstance(part, Statement) and part.name not in self.library.in_steps

    def whole(self, position: int, shape: Sizes) -> str:
        """Return an array of that shape of a value, for what does not broadcast."""
        part = self.nest.body[position]
        if isinstance(part, Load) and self.shapes[position] == shape:
            is_turned = self.function.turned(part.layout.shape, part.layout.strides)
            return self.names[position] if is_turned else self.function.view(part.layout)
        if not isinstance(part, Number) and self.shapes[position] == shape:
            return self.names[position]
        return self._copied(position, shape)

    def _copied(self, position: int, shape: Sizes) -> str:
        copied = self.function.scratch(shape, self.nest.body[position].dtype)
        self.function.emit(self.library.copy(copied, self.names[position]))
        return copied

    def _may_write(self, store: Store, position: int) -> bool:
        """Return whether what a store writes over is read no more after the statement at `position`."""
        end = position - (not self._is_in_one_step(position))
        return all(self.last.get(i, -1) <= end for i in self._in_its_place(store))

    def _in_its_place(self, store: Store) -> list[int]:
        """Return the parts of the body that read the memory that a store writes."""
        place = self._place_of(store.layout)
        return [
            i
            for i, part in enumerate(self.nest.body)
            if isinstance(part, Load) and self._place_of(part.layout) == place
        ]

    def _store(self, store: Store) -> None:
        if store.combine is not None:
            self.library.reduce(self, store)
            return
        name, layout = self.names[store.value], store.layout
        if turned := self.function.turned(layout.shape, layout.strides):
            first = layout.offset + sum(layout.strides[axis] * (layout.shape[axis] - 1) for axis in turned)
            forwards = tuple(map(abs, layout.strides))
            target = self.function.view(Layout(layout.buffer, layout.shape, forwards, first))
            name = self.library.flip(self.whole(store.value, layout.shape), turned)
        else:
            target = self.function.view(layout)
        if target != name:
            self.function.emit(self.library.copy(target, name))

    def lies_in_rows(self, position: int, dtype: str) -> bool:
        """Return whether a value is in an array of that dtype, whole, whose elements lie row by row."""
        part = self.nest.body[position]
        if isinstance(part, Number) or part.dtype != dtype or self.shapes[position] != self.nest.sizes:
            return False
        layout = part.layout if isinstance(part, Load) else self.held.get(position)
        return layout is None or lies_row_by_row(layout.shape, layout.strides)
