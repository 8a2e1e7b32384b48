"""Types for annotations, of `jax.typing`'s names."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from gradkit.core import Array

__all__ = ["ArrayLike", "DTypeLike"]

ArrayLike: TypeAlias = Array | np.ndarray[Any, Any] | np.generic | bool | int | float | complex
"""What functions take as an array: an Array, an array or scalar of NumPy's, a Python number."""
DTypeLike: TypeAlias = np.dtype[Any] | type[Any] | str
"""What functions take as a dtype: a dtype, a scalar type (`gradkit.numpy.float32`, `float`), a name."""
