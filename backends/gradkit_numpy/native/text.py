"""LLVM text in the making: values, loops, memory."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradkit.backend import NARROW_SIZES, as_numpy_dtype

__all__ = ["LLVM_TYPES", "MEMORY_TYPES", "METADATA", "SIZES", "Text", "literal"]

LLVM_TYPES = {
    "bool": "i1",
    "float32": "float",
    "float64": "double",
    **{f"{kind}{bits}": f"i{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
}
"""By dtype: the type of a value."""
MEMORY_TYPES = {
    **LLVM_TYPES,
    "bool": "i8",
    "float16": "i16",
    **{dtype: f"i{8 * size}" for dtype, size in NARROW_SIZES.items()},
    "complex64": "i64",
    "complex128": "i128",
}
"""By dtype: the type of an element in memory. Elements of float16 and of those that follow are moved, and no more."""
SIZES = {
    "bool": 1,
    "float16": 2,
    **NARROW_SIZES,
    "float32": 4,
    "float64": 8,
    "complex64": 8,
    "complex128": 16,
    **{f"{kind}{bits}": bits // 8 for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
}
ALIGNMENTS = {**SIZES, "complex64": 4, "complex128": 8}

ROLLED = ", !llvm.loop !0"
"""Loops that are short are unrolled before they are vectorized, and then they are not: the innermost ones are kept."""
METADATA = '!0 = distinct !{!0, !1}\n!1 = !{!"llvm.loop.unroll.disable"}\n'


def literal(value: Any, dtype: str) -> str:
    """Return a number as LLVM writes it: a float by the bits of the double that it is, what is moved by its own."""
    if dtype == "bool":
        return "true" if value else "false"
    if dtype not in LLVM_TYPES:  # its elements are moved alone, as integers of their size
        kept = np.asarray(value).astype(as_numpy_dtype(dtype))
        return str(int.from_bytes(kept.tobytes(), sys.byteorder, signed=True))
    if dtype.startswith("float"):
        number = float(value)
        if dtype == "float32":
            number = _as_float32(number)
        return f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"
    bits = int(dtype.lstrip("uint"))
    wrapped = int(value) & (2**bits - 1)
    return str(wrapped - 2**bits if not dtype.startswith("u") and wrapped >= 2 ** (bits - 1) else wrapped)


def _as_float32(number: float) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", number))[0])
    except OverflowError:  # beyond the largest, and by more than rounding takes back
        return float("inf") if number > 0 else float("-inf")


class Text:
    """The text of one function."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.block = "entry"
        self.head: list[str] = []
        self._count = 0

    def emit(self, text: str) -> None:
        """Write a line."""
        self.lines.append("  " + text)

    def value(self, text: str) -> str:
        """Name what an instruction gives."""
        self._count += 1
        name = f"%v{self._count}"
        self.emit(f"{name} = {text}")
        return name

    def local(self, kind: str) -> str:
        """Return a variable of the function, which becomes registers."""
        self._count += 1
        name = f"%s{self._count}"
        self.head.append(f"  {name} = alloca {kind}")
        return name

    def label(self) -> str:
        """Return the name of a new block."""
        self._count += 1
        return f"B{self._count}"

    def begin(self, label: str) -> None:
        """Begin a block."""
        self.lines.append(f"{label}:")
        self.block = label

    def loop(self, size: int | str, body: Callable[[str], None]) -> None:
        """Run a body for 0, 1, ... , size - 1."""
        if size == 0:
            return
        self._count += 1
        number, before = self._count, self.block
        self.emit(f"br label %L{number}")
        self.begin(f"L{number}")
        hole = len(self.lines)
        self.emit("")
        body(f"%i{number}")
        self.emit(f"%n{number} = add nuw nsw i64 %i{number}, 1")
        again = self.value(f"icmp ne i64 %n{number}, {size}")
        innermost = self.block == f"L{number}"
        self.emit(f"br i1 {again}, label %L{number}, label %E{number}{ROLLED if innermost else ''}")
        self.lines[hole] = f"  %i{number} = phi i64 [0, %{before}], [%n{number}, %{self.block}]"
        self.begin(f"E{number}")

    def span(self, start: str, stop: str, body: Callable[[str], None]) -> None:
        """Run a body for start, start + 1, ..., stop - 1, if there are any."""
        if start.isdigit() and stop.isdigit():
            self.loop(max(int(stop) - int(start), 0), lambda i: body(self.offset(start, i, 1)))
            return
        inside, on = self.label(), self.label()
        some = self.value(f"icmp slt i64 {start}, {stop}")
        self.emit(f"br i1 {some}, label %{inside}, label %{on}")
        self.begin(inside)
        count = stop if start == "0" else self.value(f"sub nsw i64 {stop}, {start}")
        self.loop(count, lambda i: body(self.offset(start, i, 1)))
        self.emit(f"br label %{on}")
        self.begin(on)

    def repeat(self, condition: Callable[[], str], body: Callable[[], None]) -> None:
        """Run a body as long as a condition holds; what both change is in variables."""
        ask, inside, on = self.label(), self.label(), self.label()
        self.emit(f"br label %{ask}")
        self.begin(ask)
        self.emit(f"br i1 {condition()}, label %{inside}, label %{on}")
        self.begin(inside)
        body()
        self.emit(f"br label %{ask}")
        self.begin(on)

    def batches(
        self,
        sizes: Sequence[int],
        strides: Sequence[Sequence[int]],
        starts: Sequence[str],
        body: Callable[[Sequence[str]], None],
    ) -> None:
        """Run a body for all positions along several axes, for arrays of these strides that begin at `starts`."""
        if not sizes:
            body(starts)
            return
        rest = [x[1:] for x in strides]

        def inside(i: str) -> None:
            moved = [self.offset(at, i, x[0]) for at, x in zip(starts, strides, strict=True)]
            self.batches(sizes[1:], rest, moved, body)

        if sizes[0] == 1:
            self.batches(sizes[1:], rest, starts, body)
        else:
            self.loop(sizes[0], inside)

    def summing_loop(
        self, size: int, start: list[str], kind: str, body: Callable[[str, list[str]], list[str]]
    ) -> list[str]:
        """Run ``values = body(i, values)`` for 0, 1, ..., with values in registers, and return the last."""
        if size == 0:
            return start
        self._count += 1
        number, before = self._count, self.block
        names = [f"%x{number}.{i}" for i in range(len(start))]
        self.emit(f"br label %L{number}")
        self.begin(f"L{number}")
        hole = len(self.lines)
        self.emit("")
        values = body(f"%i{number}", names)
        self.emit(f"%n{number} = add nuw nsw i64 %i{number}, 1")
        again = self.value(f"icmp ne i64 %n{number}, {size}")
        self.emit(f"br i1 {again}, label %L{number}, label %E{number}")
        phis = [f"  %i{number} = phi i64 [0, %{before}], [%n{number}, %{self.block}]"]
        phis += [
            f"  {name} = phi {kind} [{first}, %{before}], [{last}, %{self.block}]"
            for name, first, last in zip(names, start, values, strict=True)
        ]
        self.lines[hole] = "\n".join(phis)
        self.begin(f"E{number}")
        return values

    def offset(self, start: str, index: str, stride: int) -> str:
        """Return ``start + index * stride``."""
        if not stride:
            return start
        if index.isdigit():
            step = str(int(index) * stride)
            if start.isdigit():
                return str(int(start) + int(step))
        else:
            step = index if stride == 1 else self.value(f"mul nsw i64 {index}, {stride}")
        return step if start == "0" else self.value(f"add nsw i64 {start}, {step}")

    def plus(self, start: str, more: int) -> str:
        """Return a position some elements on."""
        if not more:
            return start
        return str(int(start) + more) if start.isdigit() else self.value(f"add nsw i64 {start}, {more}")

    def pointer(self, base: str, position: str, kind: str) -> str:
        """Return the address of an element."""
        return base if position == "0" else self.value(f"getelementptr inbounds {kind}, ptr {base}, i64 {position}")

    def load(self, base: str, position: str, dtype: str) -> str:
        """Read an element."""
        kind = MEMORY_TYPES[dtype]
        value = self.value(f"load {kind}, ptr {self.pointer(base, position, kind)}, align {ALIGNMENTS[dtype]}")
        return self.value(f"icmp ne i8 {value}, 0") if dtype == "bool" else value

    def store(self, value: str, base: str, position: str, dtype: str) -> None:
        """Write an element."""
        kind = MEMORY_TYPES[dtype]
        if dtype == "bool":
            value = self.value(f"zext i1 {value} to i8")
        self.emit(f"store {kind} {value}, ptr {self.pointer(base, position, kind)}, align {ALIGNMENTS[dtype]}")

    def function(self, head: str, end: str = "ret void") -> str:
        """Return the whole function."""
        return "\n".join([f"{head} {{", "entry:", *self.head, *self.lines, f"  {end}", "}"])
