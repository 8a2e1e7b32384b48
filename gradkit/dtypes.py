"""`jax.dtypes`: questions about dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradkit.core.promotion import canonical, dtype_named
from gradkit.numpy import issubdtype, result_type
from gradkit.transforms.float0 import FLOAT0 as float0

__all__ = ["canonicalize_dtype", "float0", "issubdtype", "result_type"]


def canonicalize_dtype(dtype: Any) -> np.dtype[Any]:
    """Return the dtype that new numbers asked for as `dtype` have: 32 bits at most, unless x64 is enabled.

    Examples
    --------
    >>> from gradkit import dtypes
    >>> dtypes.canonicalize_dtype("float64")
    dtype('float32')
    """
    return dtype_named(canonical(dtype_named(dtype).name))
