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
    number,
    object_,
    signedinteger,
    unsignedinteger,
)
from numpy.exceptions import ComplexWarning

from gradkit.backend import NARROW
from gradkit.core.promotion import dtype_named, promote_pair
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


def issubdtype(arg1: Any, arg2: Any) -> bool:
    """Return whether a dtype is another one, or one of a kind, such as `jnp.floating`.

    Parameters
    ----------
    arg1 : dtype
        The dtype, or a kind.
    arg2 : dtype or type
        A dtype or one of NumPy's kinds, which are those of `gradkit.numpy`.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.issubdtype("float32", jnp.floating), jnp.issubdtype("float32", jnp.integer)
    (True, False)
    """
    if isinstance(arg1, type) and issubclass(arg1, np.generic) and arg1 in KINDS:
        return bool(np.issubdtype(arg1, arg2))
    found = dtype_named(arg1)
    if found.name in NARROW:
        return arg2 in (floating, inexact, number, generic) or (arg2 not in KINDS and dtype_named(arg2) == found)
    return bool(np.issubdtype(found, arg2 if arg2 in KINDS else dtype_named(arg2)))


KINDS = (
    character, complexfloating, flexible, floating, generic, inexact, integer, number, signedinteger, unsignedinteger,
)  # fmt: skip


def promote_types(a: Any, b: Any) -> np.dtype[Any]:
    """Return the dtype in which two dtypes meet, as arrays of them do."""
    return dtype_named(promote_pair(dtype_named(a).name, dtype_named(b).name))
