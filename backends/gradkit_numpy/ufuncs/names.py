"""Which of NumPy's ufuncs primitives are."""

from __future__ import annotations

import numpy as np

__all__ = ["FLOATS", "FOR_FLOATS", "REDUCING", "UFUNCS", "WHOLE"]

UFUNCS = {
    **{
        name: name
        for name in """
        add bitwise_and bitwise_or bitwise_xor ceil copysign cos cosh divide equal exp expm1 floor floor_divide greater
        greater_equal hypot isfinite isinf isnan less less_equal log log10 log1p log2 logaddexp logical_and logical_not
        logical_or logical_xor maximum minimum multiply negative nextafter not_equal positive reciprocal remainder sign
        signbit sin sinh sqrt square subtract tan tanh trunc
        """.split()
    },
    "abs": "absolute", "acos": "arccos", "acosh": "arccosh", "asin": "arcsin", "asinh": "arcsinh", "atan": "arctan",
    "atan2": "arctan2", "atanh": "arctanh", "bitwise_invert": "invert", "bitwise_left_shift": "left_shift",
    "bitwise_right_shift": "right_shift", "round": "rint",
}  # fmt: skip
"""By primitive, NumPy's ufunc."""
FLOATS = {"float32", "float64"}
FOR_FLOATS = {"floor", "ceil", "trunc", "round"}
"""Ufuncs that give floats of integers in some versions of NumPy, or nothing."""
REDUCING = {
    "add": np.add, "logical_and": np.logical_and, "logical_or": np.logical_or, "maximum": np.maximum,
    "minimum": np.minimum, "multiply": np.multiply,
}  # fmt: skip
"""By what a reduction combines with, the ufunc whose ``reduce`` it is."""
WHOLE = {"argmax", "argmin", "overlap_add", "searchsorted", "tril", "triu"}
"""Functions of the library, or slices in Python, that a compiler of loops has other ways for."""
