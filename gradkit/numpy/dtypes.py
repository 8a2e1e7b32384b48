"""dtypes: their names, their kinds, and how they meet."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import (
    character,
    complexfloating,
    dtype,
    flexible,
    floating,
    generic,
    inexact,
    integer,
    issubdtype,
    number,
    object_,
    signedinteger,
    unsignedinteger,
)
from numpy.exceptions import ComplexWarning

from gradkit.core.promotion import promote_pair
from gradkit.numpy.scalar_types import complex64, complex128, float32, float64, int64, uint64

__all__ = [
    "ComplexWarning", "cdouble", "character", "complex_", "complexfloating", "csingle", "double", "dtype", "flexible",
    "float_", "floating", "generic", "inexact", "int_", "integer", "issubdtype", "number", "object_", "promote_types",
    "signedinteger", "single", "uint", "unsignedinteger",
]  # fmt: skip

# JAX's dtypes for new numbers with x64; without it they are narrowed where an array is made.
single, double, float_ = float32, float64, float64
csingle, cdouble, complex_ = complex64, complex128, complex128
int_, uint = int64, uint64


def promote_types(a: Any, b: Any) -> np.dtype[Any]:
    """Return the dtype in which two dtypes meet, as arrays of them do."""
    return np.dtype(promote_pair(np.dtype(a).name, np.dtype(b).name))
