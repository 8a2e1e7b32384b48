"""Linear algebra of small matrices in LLVM: loops over their elements, or all of these written out where they are few.

Pivots are LAPACK's: the largest of a column, and of equal ones the first. A matrix that is singular, or not positive
definite, has NaN for a result, as the kernels of NumPy's backend give it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from gradkit_numpy.native.text import LLVM_TYPES, Text, literal

__all__ = ["Elimination", "Matrix", "copied"]

FEW = 4
"""Rows up to which elements are written out: then LLVM has all of them in registers."""
FEW_ELEMENTS = 48


@dataclass(frozen=True)
class Matrix:
    """A matrix in memory.

    Attributes
    ----------
    text : Text
        The function that reads and writes it.
    base, start : str
        The address of its memory, and the position of its first element.
    dtype : str
        Of its elements.
    down, right : int
        How far neighbours are apart.
    """

    text: Text
    base: str
    dtype: str
    down: int
    right: int = 1
    start: str = "0"

    def position(self, i: str, j: str) -> str:
        """Return where an element is."""
        return self.text.offset(self.text.offset(self.start, i, self.down), j, self.right)

    def load(self, i: str, j: str) -> str:
        """Read an element."""
        return self.text.load(self.base, self.position(i, j), self.dtype)

    def store(self, value: str, i: str, j: str) -> None:
        """Write an element."""
        self.text.store(value, self.base, self.position(i, j), self.dtype)


def copied(source: Matrix, target: Matrix, rows: int, columns: int, flag: str | None = None) -> None:
    """Copy a matrix; where a flag is true in the end, NaN goes there instead."""
    text, kind = source.text, LLVM_TYPES[source.dtype]
    nan = literal(math.nan, source.dtype)

    def element(i: str, j: str) -> None:
        value = source.load(i, j)
        target.store(value if flag is None else text.value(f"select i1 {flag}, {kind} {nan}, {kind} {value}"), i, j)

    text.loop(rows, lambda i: text.loop(columns, lambda j: element(i, j)))


class Elimination:
    """The writing of one algorithm on matrices of real numbers.

    Parameters
    ----------
    text : Text
        The function in which it is written.
    dtype : str
        The numbers' dtype.
    rows, columns : int
        Of the matrix it works in: whether that is small enough for elements to be written out.
    """

    def __init__(self, text: Text, dtype: str, rows: int, columns: int) -> None:
        self.text, self.dtype, self.kind = text, dtype, LLVM_TYPES[dtype]
        self.few = rows <= FEW and rows * columns <= FEW_ELEMENTS

    # Numbers

    def number(self, value: float) -> str:
        """Return a number of the dtype."""
        return literal(value, self.dtype)

    def compute(self, word: str, x: str, y: str) -> str:
        """Return what an instruction makes of two numbers."""
        return self.text.value(f"{word} {self.kind} {x}, {y}")

    def less_product(self, x: str, a: str, b: str) -> str:
        """Return x - a b."""
        return self.compute("fsub contract", x, self.compute("fmul contract", a, b))

    def call(self, name: str, x: str) -> str:
        """Return a function's value: of LLVM (``llvm.fabs``) or of `native.math` (``gk_log``)."""
        joint, suffix = "." if name.startswith("llvm") else "_", "f32" if self.dtype == "float32" else "f64"
        return self.text.value(f"call {self.kind} @{name}{joint}{suffix}({self.kind} {x})")

    def choice(self, where: str, x: str, y: str, kind: str | None = None) -> str:
        """Return `x` where a condition holds, else `y`."""
        kind = kind or self.kind
        return self.text.value(f"select i1 {where}, {kind} {x}, {kind} {y}")

    # Steps

    def each(self, start: str, stop: str, body: Callable[[str], None]) -> None:
        """Run a body for positions from `start` to below `stop`."""
        if self.few:
            for i in range(int(start), int(stop)):
                body(str(i))
        else:
            self.text.span(start, stop, body)

    def _less(self, stop: str, i: str) -> str:
        """Return how far a position is from another one."""
        return str(int(stop) - int(i)) if i.isdigit() else self.text.value(f"sub nsw i64 {stop}, {i}")

    def each_from_the_end(self, stop: int, body: Callable[[str], None]) -> None:
        """Run a body for stop - 1, ..., 1, 0."""
        if self.few:
            for i in reversed(range(stop)):
                body(str(i))
        else:
            self.text.loop(stop, lambda i: body(self._less(str(stop - 1), i)))

    def copy(self, source: Matrix, target: Matrix, rows: int, columns: int, flag: str | None = None) -> None:
        """Copy a matrix, or write NaN where a flag is true."""
        if self.few:
            nan = self.number(math.nan)
            for i in map(str, range(rows)):
                for j in map(str, range(columns)):
                    value = source.load(i, j)
                    target.store(value if flag is None else self.choice(flag, nan, value), i, j)
        else:
            copied(source, target, rows, columns, flag)

    def flag(self) -> str:
        """Return a variable that is false."""
        flag = self.text.local("i1")
        self.text.emit(f"store i1 false, ptr {flag}")
        return flag

    def note(self, flag: str, condition: str, word: str = "or") -> None:
        """Make a flag true where a condition holds, or (``"xor"``) turn it."""
        before = self.text.value(f"load i1, ptr {flag}")
        self.text.emit(f"store i1 {self.text.value(f'{word} i1 {before}, {condition}')}, ptr {flag}")

    # Elimination

    def eliminate(
        self, work: Matrix, rows: int, columns: int, reach: int, on_pivot: Callable[[str, str, str], None]
    ) -> None:
        """Factor a matrix with exchange of rows, and do the same with what is right of it, up to column `reach`.

        ``on_pivot(j, row, value)`` is told of each column, of the row that changed places with row j, and the pivot.
        """
        text = self.text

        def column(j: str) -> None:
            row = self._pivot(work, j, rows)
            self._exchange(work, j, row, rows, reach)
            pivot = work.load(j, j)
            on_pivot(j, row, pivot)
            is_zero = self.compute("fcmp oeq", pivot, self.number(0))
            divisor = self.choice(is_zero, self.number(1), pivot)
            after = text.plus(j, 1)

            def below(i: str) -> None:
                factor = self.compute("fdiv", work.load(i, j), divisor)
                work.store(factor, i, j)
                self.each(
                    after,
                    str(reach),
                    lambda k: work.store(self.less_product(work.load(i, k), factor, work.load(j, k)), i, k),
                )

            self.each(after, str(rows), below)

        self.each("0", str(min(rows, columns)), column)

    def _pivot(self, work: Matrix, j: str, rows: int) -> str:
        """Return the row of the largest number of a column from the diagonal on; NaN is the largest."""
        text = self.text
        best, place = text.local(self.kind), text.local("i64")
        text.emit(f"store {self.kind} {self.call('llvm.fabs', work.load(j, j))}, ptr {best}")
        text.emit(f"store i64 {j}, ptr {place}")

        def look(i: str) -> None:
            size, so_far = self.call("llvm.fabs", work.load(i, j)), text.value(f"load {self.kind}, ptr {best}")
            is_nan = self.compute("fcmp uno", size, size)
            was_number = self.compute("fcmp ord", so_far, so_far)
            larger = self.compute("fcmp ogt", size, so_far)
            larger = text.value(f"or i1 {larger}, {text.value(f'and i1 {is_nan}, {was_number}')}")
            text.emit(f"store {self.kind} {self.choice(larger, size, so_far)}, ptr {best}")
            before = text.value(f"load i64, ptr {place}")
            text.emit(f"store i64 {self.choice(larger, i, before, 'i64')}, ptr {place}")

        self.each(text.plus(j, 1), str(rows), look)
        return text.value(f"load i64, ptr {place}")

    def _exchange(self, work: Matrix, j: str, row: str, rows: int, reach: int) -> None:
        if not self.few:

            def swap(k: str) -> None:
                upper, lower = work.load(j, k), work.load(row, k)
                work.store(lower, j, k)
                work.store(upper, row, k)

            self.each("0", str(reach), swap)
            return
        for i in map(str, range(int(j) + 1, rows)):  # elements in registers have no position that is a value
            here = self.text.value(f"icmp eq i64 {row}, {i}")
            for k in map(str, range(reach)):
                upper, lower = work.load(j, k), work.load(i, k)
                work.store(self.choice(here, lower, upper), j, k)
                work.store(self.choice(here, upper, lower), i, k)

    def substitute_back(self, work: Matrix, rows: int, reach: int) -> None:
        """Solve with the upper triangle, for what is right of it."""

        def row(i: str) -> None:
            def known(k: str) -> None:
                factor = work.load(i, k)
                self.each(
                    str(rows),
                    str(reach),
                    lambda c: work.store(self.less_product(work.load(i, c), factor, work.load(k, c)), i, c),
                )

            self.each(self.text.plus(i, 1), str(rows), known)
            pivot = work.load(i, i)
            self.each(str(rows), str(reach), lambda c: work.store(self.compute("fdiv", work.load(i, c), pivot), i, c))

        self.each_from_the_end(rows, row)

    def dot(self, start: str, size: str, x: Callable[[str], str], y: Callable[[str], str]) -> str:
        """Return `start` less the sum of products of so many pairs."""
        total = self.text.local(self.kind)
        self.text.emit(f"store {self.kind} {start}, ptr {total}")

        def step(k: str) -> None:
            product = self.compute("fmul contract", x(k), y(k))
            so_far = self.text.value(f"load {self.kind}, ptr {total}")
            less = self.compute("fsub reassoc contract", so_far, product)
            self.text.emit(f"store {self.kind} {less}, ptr {total}")

        self.each("0", size, step)
        return self.text.value(f"load {self.kind}, ptr {total}")

    def cholesky(self, x: Matrix, out: Matrix, size: int) -> str:
        """Write the lower factor of a matrix, and return a flag: whether there is none."""
        text, failed = self.text, self.flag()

        def row(i: str) -> None:
            def left(j: str) -> None:
                rest = self.dot(x.load(i, j), j, lambda k: out.load(i, k), lambda k: out.load(j, k))
                out.store(self.compute("fdiv", rest, out.load(j, j)), i, j)

            self.each("0", i, left)
            square = self.dot(x.load(i, i), i, lambda k: out.load(i, k), lambda k: out.load(i, k))
            self.note(failed, self.compute("fcmp ole", square, self.number(0)))
            out.store(self.call("llvm.sqrt", square), i, i)

        self.each("0", str(size), row)
        return text.value(f"load i1, ptr {failed}")

    def solve_triangle(self, a: Matrix, x: Matrix, size: int, columns: int, lower: bool, unit_diagonal: bool) -> str:
        """Solve ``a x = b`` in the place of b, and return a flag: whether there is a 0 on the diagonal."""
        text, singular = self.text, self.flag()

        def row(i: str) -> None:
            start, stop = ("0", i) if lower else (text.plus(i, 1), str(size))
            if columns == 1:
                count = i if lower else self._less(str(size - 1), i)
                rest = self.dot(
                    x.load(i, "0"),
                    count,
                    lambda k: a.load(i, text.offset(start, k, 1)),
                    lambda k: x.load(text.offset(start, k, 1), "0"),
                )
                x.store(rest, i, "0")
            else:

                def known(k: str) -> None:
                    factor = a.load(i, k)
                    self.each(
                        "0",
                        str(columns),
                        lambda c: x.store(self.less_product(x.load(i, c), factor, x.load(k, c)), i, c),
                    )

                self.each(start, stop, known)
            if not unit_diagonal:
                pivot = a.load(i, i)
                self.note(singular, self.compute("fcmp oeq", pivot, self.number(0)))
                self.each("0", str(columns), lambda c: x.store(self.compute("fdiv", x.load(i, c), pivot), i, c))

        if lower:
            self.each("0", str(size), row)
        else:
            self.each_from_the_end(size, row)
        return text.value(f"load i1, ptr {singular}")
