"""Which operations of a graph a printer writes down itself, in a nest or as a product."""

from __future__ import annotations

from typing import Any

from gradkit.backend.printers import Printer
from gradkit.compiler.access import GATHERS, SCATTERS
from gradkit.core.graph import Equation
from gradkit.core.promotion import PYTHON_NUMBERS, has_room_for

__all__ = ["CASTS", "IDENTITIES", "dtype_of", "dtypes_of", "is_taken"]

CASTS = ("astype", "astype_exact")
IDENTITIES = ("name", "optimization_barrier", "stop_gradient")
"""What hands on its argument, and is something for transforms and passes alone."""


def is_taken(printer: Printer, equation: Equation) -> bool:
    """Return whether a printer writes an operation down as it is, in a nest or as a product."""
    name, dtypes = dtypes_of(equation)
    if name in IDENTITIES:
        return True
    if not all(map(has_room_for, dtypes, equation.inputs)):
        return False  # the library's own function knows that x < 300 holds for each 8-bit x, and that x + 300 is none
    if name in GATHERS:
        return printer.takes("take", dtypes)
    if name in SCATTERS:
        combine, dtype = SCATTERS[name], dtypes[-1]
        return printer.takes("scatter", [dtype, dtypes[-2], dtype]) and (
            combine is None or printer.takes(combine, [dtype] * 3)
        )
    return printer.takes(name, dtypes)


def dtypes_of(equation: Equation) -> tuple[str, list[str]]:
    """Return the name of an operation, and the dtypes of its operands and its result, if it has one."""
    operands = [dtype_of(x, equation) for x in equation.inputs]
    return equation.primitive.name, [*operands, *(out.dtype.name for out in equation.outputs[:1])]


def dtype_of(x: Any, equation: Equation) -> str:
    """Return the dtype of an operand; a Python number has that of the arrays beside it."""
    if type(x) not in PYTHON_NUMBERS:
        return x.dtype.name  # type: ignore[no-any-return]
    out = equation.outputs[0].dtype
    arrays = [y for y in equation.inputs if type(y) not in PYTHON_NUMBERS]
    like = next((y for y in arrays if y.dtype.kind != "b"), None)
    return (out if like is None else like.dtype).name  # type: ignore[no-any-return]
