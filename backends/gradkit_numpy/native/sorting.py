"""Sorting in native code: runs put in order by insertion, then merged, two and two; equal elements stay in order.

NaN is the largest number. From the largest on, the order is the opposite one, in which equal elements stay as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gradkit.backend.plan import Call
from gradkit_numpy.native.sites import Site, in_words
from gradkit_numpy.native.text import LLVM_TYPES, SIZES, Text

__all__ = ["SORTING"]

RUN = 16
"""Elements that are put in order by insertion."""
POSITION = "int32"
LARGEST = 2**31 - 1


def _knows(call: Call) -> bool:
    dtype = call.operands[0].buffer.dtype
    return dtype in LLVM_TYPES and dtype != "bool" and _size(call) <= LARGEST


def _size(call: Call) -> int:
    """Return how many elements each of the vectors has."""
    return int(call.operands[0].shape[call.params["axis"]])


def _room(call: Call) -> int:
    return 2 * sum(in_words(_size(call) * SIZES[dtype]) for dtype in _kept(call))


def _kept(call: Call) -> tuple[str, ...]:
    """Return the dtypes of what is moved: elements, and their positions where these are asked for."""
    dtype = call.operands[0].buffer.dtype
    return (dtype, POSITION) if call.name == "argsort" else (dtype,)


def _cost(call: Call) -> int:
    return int(8 * math.prod(call.operands[0].shape) * _size(call).bit_length())


@dataclass(frozen=True)
class Vectors:
    """A vector of elements, and one of their positions if those are moved too."""

    text: Text
    bases: tuple[str, ...]
    dtypes: tuple[str, ...]

    def load(self, i: str) -> list[str]:
        """Read what is at a place."""
        return [self.text.load(base, i, dtype) for base, dtype in zip(self.bases, self.dtypes, strict=True)]

    def key(self, i: str) -> str:
        """Read the element at a place."""
        return self.text.load(self.bases[0], i, self.dtypes[0])

    def store(self, values: Sequence[str], i: str) -> None:
        """Write what is at a place."""
        for value, base, dtype in zip(values, self.bases, self.dtypes, strict=True):
            self.text.store(value, base, i, dtype)


class Sorter:
    """The writing of a sort of one vector.

    Parameters
    ----------
    text : Text
        The function in which it is written.
    dtypes : tuple of str
        Of what is moved, the elements' first.
    size : int
        How many elements there are.
    descending : bool
        Whether the largest comes first.
    """

    def __init__(self, text: Text, dtypes: tuple[str, ...], size: int, descending: bool) -> None:
        self.text, self.dtypes, self.size, self.descending = text, dtypes, size, descending
        self.kind = LLVM_TYPES[dtypes[0]]

    def precedes(self, x: str, y: str) -> str:
        """Return whether an element has to come before another one."""
        text, (x, y) = self.text, ((y, x) if self.descending else (x, y))
        if not self.dtypes[0].startswith("float"):
            return text.value(f"icmp {'u' if self.dtypes[0].startswith('u') else 's'}lt {self.kind} {x}, {y}")
        less = text.value(f"fcmp olt {self.kind} {x}, {y}")
        is_number, is_nan = text.value(f"fcmp ord {self.kind} {x}, {x}"), text.value(f"fcmp uno {self.kind} {y}, {y}")
        return text.value(f"or i1 {less}, {text.value(f'and i1 {is_number}, {is_nan}')}")

    def insert(self, vectors: Vectors) -> None:
        """Put runs in order."""
        runs, rest = divmod(self.size, RUN)
        self.text.loop(runs, lambda run: self._inserted(vectors, self.text.offset("0", run, RUN), RUN))
        if rest:
            self._inserted(vectors, str(runs * RUN), rest)

    def _inserted(self, vectors: Vectors, start: str, size: int) -> None:
        text = self.text
        place = text.local("i64")

        def element(i: str) -> None:
            at = text.offset(start, i, 1)
            moved = vectors.load(at)
            text.emit(f"store i64 {at}, ptr {place}")

            def goes_on() -> str:
                now = text.value(f"load i64, ptr {place}")
                before = text.value(f"call i64 @llvm.smax.i64(i64 {text.plus(now, -1)}, i64 0)")
                inside = text.value(f"icmp sgt i64 {now}, {start}")
                return text.value(f"and i1 {inside}, {self.precedes(moved[0], vectors.key(before))}")

            def move() -> None:
                now = text.value(f"load i64, ptr {place}")
                before = text.plus(now, -1)
                vectors.store(vectors.load(before), now)
                text.emit(f"store i64 {before}, ptr {place}")

            text.repeat(goes_on, move)
            vectors.store(moved, text.value(f"load i64, ptr {place}"))

        text.span("1", str(size), element)

    def merge(self, bases: tuple[tuple[str, ...], tuple[str, ...]]) -> Vectors:
        """Merge runs from some vectors into others and back, and return where they are in the end."""
        text = self.text
        width = text.local("i64")
        places = [(text.local("ptr"), text.local("ptr")) for _ in self.dtypes]
        text.emit(f"store i64 {RUN}, ptr {width}")
        for pair, source, target in zip(places, *bases, strict=True):
            text.emit(f"store ptr {source}, ptr {pair[0]}")
            text.emit(f"store ptr {target}, ptr {pair[1]}")

        def vectors(number: int) -> Vectors:
            return Vectors(text, tuple(text.value(f"load ptr, ptr {pair[number]}") for pair in places), self.dtypes)

        def all_pairs() -> None:
            now, source, target = text.value(f"load i64, ptr {width}"), vectors(0), vectors(1)
            twice = text.value(f"shl i64 {now}, 1")
            whole = text.value(f"udiv i64 {self.size}, {twice}")
            text.span(
                "0", whole, lambda i: self._merged_whole(source, target, text.value(f"mul i64 {i}, {twice}"), now)
            )
            start = text.value(f"mul i64 {whole}, {twice}")
            middle = text.value(
                f"call i64 @llvm.smin.i64(i64 {text.value(f'add i64 {start}, {now}')}, i64 {self.size})"
            )
            self._merged(source, target, start, middle, str(self.size))
            for one, other, old, new in zip(*zip(*places, strict=True), source.bases, target.bases, strict=True):
                text.emit(f"store ptr {new}, ptr {one}")
                text.emit(f"store ptr {old}, ptr {other}")
            text.emit(f"store i64 {twice}, ptr {width}")

        text.repeat(lambda: text.value(f"icmp slt i64 {text.value(f'load i64, ptr {width}')}, {self.size}"), all_pairs)
        return vectors(0)

    def _merged_whole(self, source: Vectors, target: Vectors, start: str, width: str) -> None:
        """Merge two whole runs, half of the elements from each end: none of them is used up before all is done.

        The two ends do not wait for each other.
        """
        text = self.text
        middle = text.value(f"add i64 {start}, {width}")
        end = text.value(f"add i64 {middle}, {width}")
        places = [text.local("i64") for _ in range(4)]
        for place, at in zip(places, (start, middle, text.plus(middle, -1), text.plus(end, -1)), strict=True):
            text.emit(f"store i64 {at}, ptr {place}")

        def element(k: str) -> None:
            i, j, last_i, last_j = (text.value(f"load i64, ptr {place}") for place in places)
            left, right = source.load(i), source.load(j)
            taken = self.precedes(right[0], left[0])
            target.store(self._chosen(taken, right, left), text.value(f"add i64 {start}, {k}"))
            self._step(taken, j, i, places[1], places[0], 1)
            left, right = source.load(last_i), source.load(last_j)
            taken = self.precedes(right[0], left[0])
            target.store(self._chosen(taken, left, right), text.value(f"sub i64 {text.plus(end, -1)}, {k}"))
            self._step(taken, last_i, last_j, places[2], places[3], -1)

        text.span("0", width, element)

    def _chosen(self, condition: str, values: Sequence[str], others: Sequence[str]) -> list[str]:
        kinds = [LLVM_TYPES[dtype] for dtype in self.dtypes]
        return [
            self.text.value(f"select i1 {condition}, {kind} {a}, {kind} {b}")
            for kind, a, b in zip(kinds, values, others, strict=True)
        ]

    def _step(self, condition: str, one: str, other: str, place: str, else_place: str, by: int) -> None:
        """Go on by one element: at the first place where a condition holds, else at the other."""
        text = self.text
        step = text.value(f"select i1 {condition}, i64 {by}, i64 0")
        rest = text.value(f"sub i64 {by}, {step}")
        text.emit(f"store i64 {text.value(f'add i64 {one}, {step}')}, ptr {place}")
        text.emit(f"store i64 {text.value(f'add i64 {other}, {rest}')}, ptr {else_place}")

    def _merged(self, source: Vectors, target: Vectors, start: str, middle: str, end: str) -> None:
        """Take the first of two runs' next elements, the left one's of equal ones, until both are used up."""
        text = self.text
        left, right = text.local("i64"), text.local("i64")
        text.emit(f"store i64 {start}, ptr {left}")
        text.emit(f"store i64 {middle}, ptr {right}")

        def element(k: str) -> None:
            i, j = (text.value(f"load i64, ptr {place}") for place in (left, right))
            # A run that is used up has no next element: any other one is read, and not taken.
            one, other = (
                source.load(text.value(f"call i64 @llvm.smin.i64(i64 {x}, i64 {self.size - 1})")) for x in (i, j)
            )
            has_left, has_right = text.value(f"icmp slt i64 {i}, {middle}"), text.value(f"icmp slt i64 {j}, {end}")
            first = text.value(f"select i1 {has_left}, i1 {self.precedes(other[0], one[0])}, i1 true")
            taken = text.value(f"and i1 {has_right}, {first}")
            target.store(self._chosen(taken, other, one), k)
            self._step(taken, j, i, right, left, 1)

        text.span(start, end, element)


def _sort(site: Site) -> None:
    text, call = site.text, site.call
    axis, size, dtypes = call.params["axis"], _size(call), _kept(call)
    layouts = [call.operands[0], call.results[0].whole]
    sorter = Sorter(text, dtypes, size, call.params["descending"])
    bases = [tuple(site.memory(size * SIZES[dtype]) for dtype in dtypes) for _ in range(2)]

    def vector(starts: Sequence[str]) -> None:
        vectors = Vectors(text, bases[0], dtypes)

        def read(i: str) -> None:
            value = text.load(site.operands[0], text.offset(starts[0], i, layouts[0].strides[axis]), dtypes[0])
            vectors.store([value, text.value(f"trunc i64 {i} to i32")][: len(dtypes)], i)

        text.loop(size, read)
        sorter.insert(vectors)
        result = sorter.merge((bases[0], bases[1])) if size > RUN else vectors

        def write(i: str) -> None:
            value = result.load(i)[-1]
            if len(dtypes) > 1:
                value = text.value(f"sext i32 {value} to i64")
            position = text.offset(starts[1], i, layouts[1].strides[axis])
            text.store(value, site.results[0], position, call.results[0].dtype)

        text.loop(size, write)

    def others(values: Sequence[int]) -> list[int]:
        return [value for number, value in enumerate(values) if number != axis]

    strides = [others(layout.strides) for layout in layouts]
    text.batches(others(layouts[0].shape), strides, [str(layout.offset) for layout in layouts], vector)


_PARTS: tuple[Callable[..., Any], ...] = (_knows, _sort, _room, _cost)
SORTING: dict[str, tuple[Any, ...]] = {"argsort": _PARTS, "sort": _PARTS}
"""By primitive: the parts of its `Routine`."""
