"""The machinery: arrays, primitives, and the tape. It knows no array library and no backend by name."""

from gradkit.core.array import Array
from gradkit.core.binding import bind
from gradkit.core.node import enable_grad, no_grad
from gradkit.core.primitive import MINUS_ONE, ONE, Elementwise, General, Linear, Primitive, passes_where
from gradkit.core.reverse import TAPE, ReverseTrace

__all__ = [
    "MINUS_ONE",
    "ONE",
    "TAPE",
    "Array",
    "Elementwise",
    "General",
    "Linear",
    "Primitive",
    "ReverseTrace",
    "bind",
    "enable_grad",
    "no_grad",
    "passes_where",
]
