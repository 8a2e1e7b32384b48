"""Linear algebra in native code: solvers, inverses, determinants and factors of matrices of real numbers.

Small ones are loops (`elimination`), others LAPACK's, as SciPy publishes it. LAPACK's matrices lie column by column:
where that matters, what it gets is copied so. What has no result is NaN, for that matrix of a batch alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from gradkit.backend.plan import Call
from gradkit_numpy.native.elimination import Elimination, Matrix, copied
from gradkit_numpy.native.sites import Site
from gradkit_numpy.native.text import LLVM_TYPES, SIZES, literal

__all__ = ["LINEAR_ALGEBRA", "Frame", "by_matrix", "knows"]

FOR_LAPACK = 48
"""Rows from which on LAPACK is faster than loops."""
LETTERS = {"float32": "s", "float64": "d"}


def knows(call: Call) -> bool:
    """Return whether all operands have one dtype, which LAPACK has."""
    dtypes = {layout.buffer.dtype for layout in call.operands}
    return len(dtypes) == 1 and dtypes <= LETTERS.keys()


def _size(call: Call) -> int:
    """Return the rows of the first matrix."""
    return int(call.operands[0].shape[-2])


def _dtype(call: Call) -> str:
    return str(call.operands[0].buffer.dtype)


def _is_large(call: Call) -> bool:
    return _size(call) >= FOR_LAPACK


def _columns(call: Call) -> int:
    """Return the columns of the right-hand side; those of an inverse are the identity's."""
    return int(call.operands[-1].shape[-1])


class Frame:
    """One matrix of a batch, in the making.

    Parameters
    ----------
    site : Site
        Where it is written.
    operands, results : sequence of str
        Positions of the first elements.
    """

    def __init__(self, site: Site, operands: Sequence[str], results: Sequence[str]) -> None:
        self.site, self.text, self.call = site, site.text, site.call
        self.dtype = _dtype(site.call)
        self.kind = LLVM_TYPES[self.dtype]
        self.size = _size(site.call)
        self._operands, self._results = operands, results

    def operand(self, number: int = 0) -> Matrix:
        """Return a matrix that is given."""
        down, right = self.call.operands[number].strides[-2:]
        return Matrix(self.text, self.site.operands[number], self.dtype, down, right, self._operands[number])

    def result(self, number: int = 0) -> Matrix:
        """Return a matrix that is a result."""
        buffer = self.call.results[number]
        position = self._results[number]
        return Matrix(self.text, self.site.results[number], buffer.dtype, buffer.shape[-1], start=position)

    def store(self, value: str, number: int = 0, place: str = "0") -> None:
        """Write an element of a result that is a vector or a number."""
        position = self.text.offset(self._results[number], place, 1)
        self.text.store(value, self.site.results[number], position, self.call.results[number].dtype)

    def work(self, rows: int, columns: int) -> Matrix:
        """Return a matrix to work in: registers where it is small, else the call's own memory."""
        few = Elimination(self.text, self.dtype, rows, columns).few
        base = self.text.local(f"[{rows * columns} x {self.kind}]") if few else self.numbers(rows * columns)
        return Matrix(self.text, base, self.dtype, columns)

    def for_lapack(self, rows: int, columns: int, copies: int | None = None) -> Matrix:
        """Return a matrix that lies column by column, the first of them a copy of the operand's, or of so many."""
        work = Matrix(self.text, self.numbers(rows * columns), self.dtype, 1, rows)
        copied(self.operand(), work, rows, columns if copies is None else copies)
        return work

    def numbers(self, count: int) -> str:
        """Return the address of memory for so many numbers."""
        return self.site.memory(count * SIZES[self.dtype])

    def elimination(self, rows: int, columns: int) -> Elimination:
        """Return the writer of an algorithm in a matrix of that size."""
        return Elimination(self.text, self.dtype, rows, columns)

    def lapack(self, name: str, *given: str | int) -> str:
        """Call LAPACK with addresses, letters and whole numbers, and return the condition that it has failed."""
        info = self.text.local("i32")
        words = [self._given(x) for x in given]
        called = f"{LETTERS[self.dtype]}{name}"
        self.text.emit(f"call void @{called}({', '.join(f'ptr {word}' for word in [*words, info])})")
        return self.text.value(f"icmp ne i32 {self.text.value(f'load i32, ptr {info}')}, 0")

    def _given(self, x: str | int) -> str:
        if type(x) is int:
            return self.site.constant("i32", str(x))
        assert isinstance(x, str)
        return x if x.startswith("%") else self.site.constant("i8", str(ord(x)))


def by_matrix(write: Callable[[Frame], None], *axes: int) -> Callable[[Site], None]:
    """Make a routine that writes one matrix after another; the results have so many axes of their own."""

    def routine(site: Site) -> None:
        site.each_matrix(lambda operands, results: write(Frame(site, operands, results)), axes)

    return routine


# Solvers


def _solve(frame: Frame) -> None:
    size, columns = frame.size, _columns(frame.call)
    _solved(frame, columns, lambda target: _copy_rows(frame.operand(1), target, size, columns, frame))


def _inverse(frame: Frame) -> None:
    size, text = frame.size, frame.text
    one, zero = (literal(x, frame.dtype) for x in (1.0, 0.0))

    def identity(target: Matrix) -> None:
        def element(i: str, j: str) -> None:
            if i.isdigit():
                target.store(one if i == j else zero, i, j)
                return
            here = text.value(f"icmp eq i64 {i}, {j}")
            target.store(text.value(f"select i1 {here}, {frame.kind} {one}, {frame.kind} {zero}"), i, j)

        loops = frame.elimination(size, 2 * size)
        loops.each("0", str(size), lambda i: loops.each("0", str(size), lambda j: element(i, j)))

    _solved(frame, size, identity)


def _copy_rows(source: Matrix, target: Matrix, rows: int, columns: int, frame: Frame) -> None:
    frame.elimination(rows, rows + columns).copy(source, target, rows, columns)


def _solved(frame: Frame, columns: int, right: Callable[[Matrix], None]) -> None:
    """Solve for a right-hand side that `right` writes down."""
    size, text = frame.size, frame.text
    if _is_large(frame.call):
        a = frame.for_lapack(size, size)
        b = Matrix(text, frame.numbers(size * columns), frame.dtype, 1, size)
        right(b)
        pivots = frame.site.memory(4 * size)
        failed = frame.lapack("gesv", size, columns, a.base, size, pivots, b.base, size)
        copied(b, frame.result(), size, columns, failed)
        return
    reach = size + columns
    loops, work = frame.elimination(size, reach), frame.work(size, reach)
    solution = Matrix(text, work.base, frame.dtype, reach, start=str(size))
    loops.copy(frame.operand(), work, size, size)
    right(solution)
    singular = loops.flag()
    zero = literal(0.0, frame.dtype)
    loops.eliminate(
        work, size, size, reach, lambda j, row, pivot: loops.note(singular, loops.compute("fcmp oeq", pivot, zero))
    )
    loops.substitute_back(work, size, reach)
    loops.copy(solution, frame.result(), size, columns, text.value(f"load i1, ptr {singular}"))


def _solve_triangle(frame: Frame) -> None:
    size, columns = frame.size, _columns(frame.call)
    loops = frame.elimination(size, size + columns)
    out = frame.result()
    x = frame.work(size, columns) if loops.few else out
    loops.copy(frame.operand(1), x, size, columns)
    singular = loops.solve_triangle(frame.operand(), x, size, columns, **frame.call.params)
    loops.copy(x, out, size, columns, singular)


def _room_to_solve(call: Call) -> int:
    size = _size(call)
    columns = size if call.name == "inv" else _columns(call)
    return size * (size + columns) * SIZES[_dtype(call)] + 8 * (size + 2)


# Determinants


def _log_of_determinant(frame: Frame) -> tuple[str, str, str]:
    """Return whether a matrix is singular, and variables of the sign and the logarithm of its determinant."""
    size, text = frame.size, frame.text
    loops = frame.elimination(size, size)
    turned, singular = loops.flag(), loops.flag()
    logarithm = text.local(frame.kind)
    zero = literal(0.0, frame.dtype)
    text.emit(f"store {frame.kind} {zero}, ptr {logarithm}")

    def on_pivot(j: str, row: str, pivot: str) -> None:
        loops.note(singular, loops.compute("fcmp oeq", pivot, zero))
        loops.note(turned, loops.compute("fcmp olt", pivot, zero), "xor")
        loops.note(turned, text.value(f"icmp ne i64 {row}, {j}"), "xor")
        more = loops.call("gk_log", loops.call("llvm.fabs", pivot))
        total = loops.compute("fadd", text.value(f"load {frame.kind}, ptr {logarithm}"), more)
        text.emit(f"store {frame.kind} {total}, ptr {logarithm}")

    if _is_large(frame.call):
        work = frame.for_lapack(size, size)
        pivots = frame.site.memory(4 * size)
        frame.lapack("getrf", size, size, work.base, size, pivots)

        def look(j: str) -> None:
            row = text.value(f"sext i32 {text.load(pivots, j, 'int32')} to i64")
            on_pivot(j, text.plus(row, -1), work.load(j, j))

        text.loop(size, look)
    else:
        work = frame.work(size, size)
        loops.copy(frame.operand(), work, size, size)
        loops.eliminate(work, size, size, size, on_pivot)
    is_turned = text.value(f"load i1, ptr {turned}")
    sign = loops.choice(is_turned, literal(-1.0, frame.dtype), literal(1.0, frame.dtype))
    return text.value(f"load i1, ptr {singular}"), sign, text.value(f"load {frame.kind}, ptr {logarithm}")


def _slogdet(frame: Frame) -> None:
    singular, sign, logarithm = _log_of_determinant(frame)
    loops = frame.elimination(frame.size, frame.size)
    frame.store(loops.choice(singular, literal(0.0, frame.dtype), sign), 0)
    frame.store(loops.choice(singular, literal(-math.inf, frame.dtype), logarithm), 1)


def _det(frame: Frame) -> None:
    singular, sign, logarithm = _log_of_determinant(frame)
    loops = frame.elimination(frame.size, frame.size)
    value = loops.compute("fmul", sign, loops.call("gk_exp", logarithm))
    frame.store(loops.choice(singular, literal(0.0, frame.dtype), value))


def _room_to_factor(call: Call) -> int:
    rows, columns = call.operands[0].shape[-2:]
    return int(rows * columns * SIZES[_dtype(call)] + 8 * (rows + 2))


# Factors


def _lu(frame: Frame) -> None:
    text = frame.text
    rows, columns = map(int, frame.call.operands[0].shape[-2:])
    out, pivoted, permutation = map(frame.result, range(3))
    text.loop(rows, lambda i: permutation.store(text.value(f"trunc i64 {i} to i32"), "0", i))

    def note(j: str, row: str) -> None:
        pivoted.store(text.value(f"trunc i64 {row} to i32"), "0", j)
        upper, lower = permutation.load("0", j), permutation.load("0", row)
        permutation.store(lower, "0", j)
        permutation.store(upper, "0", row)

    if min(rows, columns) >= FOR_LAPACK:
        work = frame.for_lapack(rows, columns)
        pivots = frame.site.memory(4 * min(rows, columns))
        frame.lapack("getrf", rows, columns, work.base, rows, pivots)
        copied(work, out, rows, columns)

        def look(j: str) -> None:
            note(j, text.plus(text.value(f"sext i32 {text.load(pivots, j, 'int32')} to i64"), -1))

        text.loop(min(rows, columns), look)
        return
    loops = frame.elimination(rows, columns)
    work = frame.work(rows, columns) if loops.few else out
    loops.copy(frame.operand(), work, rows, columns)
    loops.eliminate(work, rows, columns, columns, lambda j, row, pivot: note(j, row))
    if loops.few:
        loops.copy(work, out, rows, columns)


def _cholesky(frame: Frame) -> None:
    size, text = frame.size, frame.text
    out, x = frame.result(), frame.operand()
    loops = frame.elimination(size, size)
    if _is_large(frame.call):
        # Column by column, what lies row by row is the transposed matrix, and its upper factor.
        copied(x, out, size, size)
        failed = frame.lapack("potrf", "U", size, text.pointer(out.base, out.start, frame.kind), size)
        lower = out
    else:
        lower = frame.work(size, size) if loops.few else out
        failed = loops.cholesky(x, lower, size)
    nan, zero = (literal(value, frame.dtype) for value in (math.nan, 0.0))

    def row(i: str) -> None:
        loops.each("0", text.plus(i, 1), lambda j: out.store(loops.choice(failed, nan, lower.load(i, j)), i, j))
        loops.each(text.plus(i, 1), str(size), lambda j: out.store(zero, i, j))

    loops.each("0", str(size), row)


def _cube(call: Call) -> int:
    """Return the operations of what goes through a matrix for each element of its result."""
    rows, columns = call.operands[0].shape[-2:]
    batch = max(math.prod(layout.shape[:-2]) for layout in call.operands)
    return int(batch * rows * columns * (rows + _columns(call)))


LINEAR_ALGEBRA: dict[str, tuple[Any, ...]] = {
    "cholesky": (knows, by_matrix(_cholesky, 2), lambda call: 0, _cube),
    "det": (knows, by_matrix(_det, 0), _room_to_factor, _cube),
    "inv": (knows, by_matrix(_inverse, 2), _room_to_solve, _cube),
    "lu": (knows, by_matrix(_lu, 2, 1, 1), _room_to_factor, _cube),
    "slogdet": (knows, by_matrix(_slogdet, 0, 0), _room_to_factor, _cube),
    "solve": (knows, by_matrix(_solve, 2), _room_to_solve, _cube),
    "triangular_solve": (knows, by_matrix(_solve_triangle, 2), lambda call: 0, _cube),
}
"""By primitive: the parts of its `Routine`."""
