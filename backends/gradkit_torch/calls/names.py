"""Which of PyTorch's functions primitives are, of those that write into an array that is there (``out=``)."""

from __future__ import annotations

__all__ = ["CALLS", "FLOATS", "FOR_FLOATS", "IN_STEPS", "KINDS", "LOGIC", "WHOLE"]

CALLS = {
    **{
        name: name
        for name in """
        acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift
        bitwise_xor ceil copysign cos cosh exp expm1 floor hypot log log10 log2 logaddexp logical_and logical_not
        logical_or logical_xor maximum minimum nextafter reciprocal round signbit sin sinh sqrt square tan tanh trunc
        """.split()
    },
    "abs": "abs", "bitwise_invert": "bitwise_not", "divide": "div", "equal": "eq", "greater": "gt",
    "greater_equal": "ge", "less": "lt", "less_equal": "le", "multiply": "mul", "negative": "neg", "not_equal": "ne",
    "subtract": "sub",
}  # fmt: skip
"""By primitive, PyTorch's function."""
IN_STEPS = frozenset({"isfinite", "isinf", "log1p", "sign"})
"""Primitives of floating numbers that are several calls: PyTorch's own has no ``out=``, or is not what it should be."""
FLOATS = frozenset({"float16", "float32", "float64"})
KINDS = FLOATS | frozenset({"bool", "int8", "int16", "int32", "int64", "uint8"})
"""The dtypes that PyTorch computes in; the other unsigned integers and complex numbers are bridged by kernels."""
FOR_FLOATS = frozenset({"ceil", "floor", "isnan", "relu", "round", "signbit", "trunc"}) | IN_STEPS
LOGIC = frozenset(
    """
    bitwise_and bitwise_invert bitwise_or bitwise_xor equal logical_and logical_not logical_or logical_xor not_equal
    """.split()
)
"""What takes truth values."""
WHOLE = frozenset({"argmax", "argmin", "overlap_add", "searchsorted", "tril", "triu"})
"""Functions of the library, or slices in Python, that a compiler of loops has other ways for."""
