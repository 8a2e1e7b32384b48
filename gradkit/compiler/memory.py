"""Memory of a plan: one arena for its temporary buffers, by when they are written first and read last.

A buffer may take the memory of one that a nest reads for the last time where it writes, element by element; so a chain
of nests works in place, and a result takes the memory of an argument that was donated.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from gradkit.backend.plan import (
    Buffer,
    Call,
    Choice,
    Layout,
    Load,
    Loop,
    Nest,
    Node,
    Plan,
    Product,
    While,
    lies_row_by_row,
)

__all__ = ["buffers_read", "buffers_written", "place_buffers"]


def buffers_read(node: Node) -> Iterator[Buffer]:
    """Yield what a node reads."""
    if isinstance(node, Nest):
        yield from (store.layout.buffer for store in node.stores if store.scattered)
        layouts: Iterable[Layout] = (part.layout for part in node.body if isinstance(part, Load))
    elif isinstance(node, Product):
        layouts = (node.left, node.right, node.out) if node.adds else (node.left, node.right)
    elif isinstance(node, Call):
        layouts = (operand for operand in node.operands if isinstance(operand, Layout))
    elif isinstance(node, Loop):
        yield from node.carry
        layouts = (*node.constants, *node.elements)
    elif isinstance(node, While):
        yield from node.carry
        layouts = (*node.test_constants, *node.constants)
    else:
        layouts = (node.index, *node.operands)
    for layout in layouts:
        yield layout.buffer


def buffers_written(node: Node) -> Iterator[Buffer]:
    """Yield what a node writes."""
    if isinstance(node, Nest):
        yield from (store.layout.buffer for store in node.stores)
    elif isinstance(node, Product):
        yield node.out.buffer
    elif isinstance(node, Call):
        yield from node.results
        if node.scratch is not None:
            yield node.scratch
    else:
        yield node.scratch
        yield from node.results if isinstance(node, Choice) else node.carry
        if isinstance(node, Loop):
            yield from (layout.buffer for layout in node.rows)


def lives(plan: Plan) -> tuple[dict[Buffer, int], dict[Buffer, int]]:
    """Return at which node each buffer is written first, and at which it is read or written last.

    A result lives until the end. Arguments are written by nobody.
    """
    first: dict[Buffer, int] = {}
    last: dict[Buffer, int] = {}
    for position, node in enumerate(plan.nodes):
        for buffer in buffers_read(node):
            last[buffer] = position
        for buffer in buffers_written(node):
            first.setdefault(buffer, position)
            last[buffer] = max(position, last.get(buffer, 0))
    last.update((buffer, len(plan.nodes)) for buffer in plan.results)
    return first, last


def place_buffers(plan: Plan, donated: Mapping[Buffer, Buffer | None]) -> None:
    """Say where the buffers of a plan are, and leave out copies of an array onto itself.

    `donated` has the arguments whose memory a result may take: a certain one, or None for any.
    """
    first, last = lives(plan)
    leaving: dict[int, list[Buffer]] = {}
    for buffer, position in last.items():
        leaving.setdefault(position, []).append(buffer)
    memory: dict[Buffer, int | Buffer] = {}
    homes = homes_in_results(plan, donated, first, last)
    others = made_in_operands(plan, first, last)
    freeing = [position for position, node in enumerate(plan.nodes) if frees_memory(node)]
    free = set(donated)
    arena = Arena()
    for position, node in enumerate(plan.nodes):
        taken: set[Buffer] = set()
        for buffer in dict.fromkeys(buffers_written(node)):
            if first[buffer] != position:
                continue
            # What the node reads for the last time, each for one of its results.
            ending = [old for old in replaceable(node, buffer) if last[old] == position and old not in taken]
            if buffer.kind == "result":
                # Memory in the arena is no result's: that belongs to whoever called.
                fitting = [old for old in ending if old in free and donated[old] in (None, buffer)]
                if fitting:
                    taken.add(fitting[0])
                    memory[buffer] = fitting[0]
                    free.discard(fitting[0])
            elif buffer.kind == "temporary":
                is_kept = any(position < place < last[buffer] for place in freeing)
                own = None if is_kept else operand_in_place(node, buffer) or others.get(buffer)
                place = own and (own if own.kind == "argument" else memory.get(own))
                if isinstance(place, Buffer):
                    memory[buffer] = place
                elif buffer not in homes and ending and isinstance(place := memory.get(ending[0]), int):
                    taken.add(ending[0])
                    memory[buffer] = place
                    arena.hand_on(ending[0], buffer)
                else:
                    memory[buffer] = homes[buffer] if buffer in homes else arena.take(buffer)
        for buffer in leaving.get(position, ()):
            if buffer.kind == "temporary":
                arena.give_back(buffer)
    plan.memory = memory
    plan.arena = arena.size
    plan.nodes = [with_places(node, memory) if isinstance(node, Call) else node for node in plan.nodes]
    plan.nodes = [node for node in plan.nodes if not copies_onto_itself(node, memory)]


def homes_in_results(
    plan: Plan, donated: Mapping[Buffer, Buffer | None], first: Mapping[Buffer, int], last: Mapping[Buffer, int]
) -> dict[Buffer, Buffer]:
    """Return the temporary buffers that become a result element by element, and which: they may have its memory.

    So a gradient is where the new weights will be, and no more memory than theirs goes through the cache.
    """
    homes: dict[Buffer, Buffer] = {}
    for position, node in reversed(list(enumerate(plan.nodes))):
        for buffer in dict.fromkeys(buffers_written(node)):
            home = buffer if buffer.kind == "result" else homes.get(buffer)
            if home is None or first[buffer] != position:
                continue
            ending = [old for old in replaceable(node, buffer) if last[old] == position]
            if any(donated.get(old, node) in (None, buffer) for old in ending):  # whose memory it takes
                continue
            for old in ending:
                if old.kind == "temporary" and (old.shape, old.dtype) == (home.shape, home.dtype):
                    homes[old] = home
                    break
    return homes


def made_in_operands(plan: Plan, first: Mapping[Buffer, int], last: Mapping[Buffer, int]) -> dict[Buffer, Buffer]:
    """Return the temporary buffers that may be made in the memory of another operand of the call that reads them last.

    That one has to be there before, so that nothing is written into it too early.
    """
    found: dict[Buffer, Buffer] = {}
    calls = [(position, node) for position, node in enumerate(plan.nodes) if isinstance(node, Call)]
    for position, node in calls:
        for made, into in node.made_in.items():
            value, place = node.operands[made], node.operands[into].buffer
            if not isinstance(value, Layout):
                continue  # a number
            buffer = value.buffer
            if (
                buffer.kind == "temporary"
                and is_whole(value)
                and (buffer.shape, buffer.dtype) == (place.shape, place.dtype)
                and last[buffer] == position
                and first.get(place, -1) < first[buffer]
                and place not in found.values()
            ):
                found[buffer] = place
    return found


def frees_memory(node: Node) -> bool:
    """Return whether others may write from this node on where earlier calls have given results in place."""
    return not isinstance(node, Nest | Product) and Plan(nodes=[node]).frees_memory


def operand_in_place(node: Node, result: Buffer) -> Buffer | None:
    """Return the operand of a call that is one of its results, whole, or None."""
    if not isinstance(node, Call):
        return None
    for number, operand in node.in_place.items():
        layout = node.operands[operand]
        if node.results[number] is result and is_whole(layout) and layout.buffer.shape == result.shape:
            return layout.buffer  # type: ignore[no-any-return]
    return None


def is_whole(layout: Layout) -> bool:
    """Return whether a layout is all of a buffer, row by row."""
    same = layout.shape == layout.buffer.shape
    return same and layout.offset == 0 and lies_row_by_row(layout.shape, layout.strides)


def with_places(call: Call, memory: Mapping[Buffer, int | Buffer]) -> Call:
    """Return a call that says of those results and operands alone that they are in place that are."""
    if not call.in_place and not call.made_in:
        return call

    def place(buffer: Buffer) -> object:
        return memory.get(buffer, buffer)

    results, operands = call.results, call.operands
    in_place = {i: j for i, j in call.in_place.items() if place(results[i]) is place(operands[j].buffer)}
    made_in = {
        i: j
        for i, j in call.made_in.items()
        if isinstance(operands[i], Layout) and place(operands[i].buffer) is place(operands[j].buffer)
    }
    return replace(call, in_place=in_place, made_in=made_in)


def replaceable(node: Node, buffer: Buffer) -> Iterator[Buffer]:
    """Yield the buffers that a nest reads, at each position, in the element alone that it writes in `buffer`."""
    if not isinstance(node, Nest):
        return
    stores = [store for store in node.stores if store.layout.buffer is buffer]
    if len(stores) != 1 or stores[0].combine is not None or stores[0].scattered:
        return
    target = stores[0].layout
    reads: dict[Buffer, list[Load]] = {}
    for part in node.body:
        if isinstance(part, Load):
            reads.setdefault(part.layout.buffer, []).append(part)
    size = math.prod(target.shape)
    if size != math.prod(buffer.shape):
        return
    written = {store.layout.buffer for store in node.stores}
    for old, loads in reads.items():
        if old in written or math.prod(old.shape) != size or old.item_size != buffer.item_size:
            continue
        if buffer.kind == "result" and (old.shape, old.dtype) != (buffer.shape, buffer.dtype):
            continue
        same = all(
            not load.gathered and same_strides(load.layout, target) and load.layout.offset == target.offset
            for load in loads
        )
        if same:
            yield old


def same_strides(one: Layout, other: Layout) -> bool:
    """Return whether two layouts of one shape step alike along the axes that have steps."""
    return all(a == b for a, b, size in zip(one.strides, other.strides, one.shape, strict=True) if size != 1)


def copies_onto_itself(node: Node, memory: dict[Buffer, int | Buffer]) -> bool:
    """Return whether a nest does nothing but store elements where they are."""
    if not isinstance(node, Nest) or len(node.stores) != 1 or len(node.body) != 1:
        return False
    (load,), (store,) = node.body, node.stores
    if not isinstance(load, Load) or store.combine is not None or load.gathered or store.scattered:
        return False
    here, there = load.layout.buffer, store.layout.buffer
    if load.dtype != there.dtype:
        return False
    same = memory.get(there, there) is memory.get(here, here) or (
        isinstance(memory.get(there), int) and memory.get(there) == memory.get(here)
    )
    return same and same_strides(load.layout, store.layout) and load.layout.offset == store.layout.offset


class Arena:
    """One piece of memory, handed out in parts: the smallest free part that is large enough."""

    def __init__(self) -> None:
        self.size = 0
        self._free: list[tuple[int, int]] = []  # where, how many bytes; in order
        self._parts: dict[Buffer, tuple[int, int]] = {}

    def take(self, buffer: Buffer) -> int:
        """Return where a buffer begins."""
        size = buffer.room
        fitting = [part for part in self._free if part[1] >= size]
        if fitting:
            start, length = min(fitting, key=lambda part: part[1])
            self._free.remove((start, length))
            if length > size:
                self._insert(start + size, length - size)
        else:
            start, length = self._last_free()
            self.size = start + size
        self._parts[buffer] = start, size
        return start

    def hand_on(self, old: Buffer, new: Buffer) -> None:
        """Let a buffer have the memory of one that is read no more."""
        self._parts[new] = self._parts.pop(old)

    def give_back(self, buffer: Buffer) -> None:
        """Note that a buffer is read no more."""
        if buffer in self._parts:
            self._insert(*self._parts.pop(buffer))

    def _last_free(self) -> tuple[int, int]:
        """Return what is free at the end, and take it."""
        if self._free and sum(self._free[-1]) == self.size:
            return self._free.pop()
        return self.size, 0

    def _insert(self, start: int, size: int) -> None:
        if not size:
            return
        parts = sorted([*self._free, (start, size)])
        joined = [parts[0]]
        for begin, length in parts[1:]:
            if sum(joined[-1]) == begin:
                joined[-1] = joined[-1][0], joined[-1][1] + length
            else:
                joined.append((begin, length))
        self._free = joined
