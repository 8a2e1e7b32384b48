"""Decompositions of matrices of real numbers by LAPACK, as SciPy publishes it, on copies like those that NumPy makes.

Eigenvectors and singular vectors are not among them: their signs hang on rounding, which differs between SciPy's LAPACK
and NumPy's, and a function is to give the same with `jit` and without.
"""

from __future__ import annotations

import math
from typing import Any

from gradkit.backend.plan import Call
from gradkit_numpy.native.elimination import copied
from gradkit_numpy.native.linear_algebra import Frame, by_matrix, knows
from gradkit_numpy.native.text import SIZES, literal

__all__ = ["DECOMPOSITIONS"]

BLOCK = 64
"""Columns that LAPACK takes at a time, at most: with work for so many it is as fast as it gets."""


def _sizes(call: Call) -> tuple[int, int]:
    """Return the rows and columns of the matrices."""
    rows, columns = call.operands[0].shape[-2:]
    return int(rows), int(columns)


def _store_numbers(frame: Frame, base: str, failed: str) -> None:
    """Write a vector, or NaN where there is none."""
    text = frame.text
    nan = literal(math.nan, frame.dtype)

    def element(i: str) -> None:
        value = text.load(base, i, frame.dtype)
        frame.store(text.value(f"select i1 {failed}, {frame.kind} {nan}, {frame.kind} {value}"), place=i)

    text.loop(frame.call.results[0].shape[-1], element)


# Eigenvalues of symmetric matrices


def _symmetric(frame: Frame) -> None:
    size = frame.size
    work, values = frame.for_lapack(size, size), frame.numbers(size)
    count, whole = 1 + (2 + BLOCK) * size, 3 + 5 * size
    given = frame.numbers(count), count, frame.site.memory(4 * whole), whole
    failed = frame.lapack("syevd", "N", "L", size, work.base, size, values, *given)
    _store_numbers(frame, values, failed)


def _room_for_eigenvalues(call: Call) -> int:
    size, _ = _sizes(call)
    return (size * size + (3 + BLOCK) * size + 4) * SIZES["float64"] + 4 * (3 + 5 * size) + 8


# Orthogonal and triangular factors


def _qr(frame: Frame) -> None:
    text = frame.text
    rows, columns = _sizes(frame.call)
    reach, count = frame.call.results[0].shape[-1], min(rows, columns)
    work, tau = frame.for_lapack(rows, max(columns, reach), columns), frame.numbers(count)
    size = BLOCK * max(columns, reach)
    extra = frame.numbers(size)
    frame.lapack("geqrf", rows, columns, work.base, rows, tau, extra, size)
    q, r = frame.result(0), frame.result(1)
    zero = literal(0.0, frame.dtype)

    def element(i: str, j: str) -> None:
        above = text.value(f"icmp sle i64 {i}, {j}")
        r.store(text.value(f"select i1 {above}, {frame.kind} {work.load(i, j)}, {frame.kind} {zero}"), i, j)

    text.loop(frame.call.results[1].shape[-2], lambda i: text.loop(columns, lambda j: element(i, j)))
    frame.lapack("orgqr", rows, reach, count, work.base, rows, tau, extra, size)
    copied(work, q, rows, reach)


def _room_for_qr(call: Call) -> int:
    rows, columns = _sizes(call)
    most = max(columns, call.results[0].shape[-1])
    return (rows * most + min(rows, columns) + BLOCK * most + 4) * SIZES["float64"]


# Singular values


def _singular(frame: Frame) -> None:
    rows, columns = _sizes(frame.call)
    work, nothing = frame.for_lapack(rows, columns), frame.numbers(1)
    values = frame.numbers(min(rows, columns))
    count, whole = _work_for_singular_values(frame.call)
    given = frame.numbers(count), count, frame.site.memory(4 * whole)
    failed = frame.lapack("gesdd", "N", rows, columns, work.base, rows, values, nothing, 1, nothing, 1, *given)
    _store_numbers(frame, values, failed)


def _work_for_singular_values(call: Call) -> tuple[int, int]:
    """Return the numbers and the whole numbers that ``gesdd`` works in."""
    rows, columns = _sizes(call)
    least, most = min(rows, columns), max(rows, columns)
    return 10 * least + most + BLOCK * (rows + columns), 8 * least


def _room_for_singular_values(call: Call) -> int:
    rows, columns = _sizes(call)
    count, whole = _work_for_singular_values(call)
    return (rows * columns + min(rows, columns) + count + 4) * SIZES["float64"] + 4 * whole + 8


def _cost(call: Call) -> int:
    rows, columns = _sizes(call)
    return int(10 * math.prod(call.operands[0].shape) * max(rows, columns))


DECOMPOSITIONS: dict[str, tuple[Any, ...]] = {
    "eigvalsh": (knows, by_matrix(_symmetric, 1), _room_for_eigenvalues, _cost),
    "qr": (knows, by_matrix(_qr, 2, 2), _room_for_qr, _cost),
    "svdvals": (knows, by_matrix(_singular, 1), _room_for_singular_values, _cost),
}
"""By primitive: the parts of its `Routine`."""
