"""The standard's dtypes by name, as JAX has them: each stands for its dtype, and called it makes an Array of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradkit.backend import as_numpy_dtype
from gradkit.core import Array
from gradkit.errors import MissingDependencyError
from gradkit.primitives.new_arrays import asarray

__all__ = [
    "bfloat16",
    "bool_",
    "complex64",
    "complex128",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]  # fmt: skip


class ScalarType(type):
    """A name of a dtype: equal to it, taken wherever a dtype is asked for, and a conversion where it is called.

    NumPy's own scalar types would take a gradkit Array to the host, and off the tape, when they are called.

    Attributes
    ----------
    dtype : numpy.dtype
        What it stands for.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.float32(2)
    Array(2., dtype=float32)
    >>> jnp.int32(jnp.asarray([1.5, 2.5]))
    Array([1, 2], dtype=int32)
    >>> jnp.ones(3).dtype == jnp.float32
    True
    """

    of: str
    """The name of it."""

    @property
    def dtype(cls) -> np.dtype[Any]:
        """What it stands for: ml_dtypes, which some are of, is imported when it is asked for."""
        return as_numpy_dtype(cls.of)

    def __call__(cls, x: Any = 0) -> Array:
        """Return a number or array in this dtype."""
        return asarray(x, dtype=cls.dtype)

    def __instancecheck__(cls, instance: Any) -> bool:
        return getattr(instance, "dtype", None) == cls.dtype

    def __eq__(cls, other: object) -> bool:
        if isinstance(other, np.dtype):
            return bool(other.isnative and other.name == cls.of)
        return cls is other or (isinstance(other, type) and issubclass(other, np.generic) and cls.dtype.type is other)

    def __hash__(cls) -> int:
        try:
            return hash(cls.dtype.type)
        except MissingDependencyError:
            return hash(cls.of)

    def __repr__(cls) -> str:
        return f"gradkit.numpy.{cls.__name__}"


def _scalar_type(name: str) -> Any:
    of = name.rstrip("_")
    return ScalarType(name, (), {"of": of, "__doc__": f"The dtype {of}.", "__module__": "gradkit.numpy"})


bool_ = _scalar_type("bool_")
int8, int16, int32, int64 = map(_scalar_type, ("int8", "int16", "int32", "int64"))
uint8, uint16, uint32, uint64 = map(_scalar_type, ("uint8", "uint16", "uint32", "uint64"))
float16, float32, float64 = map(_scalar_type, ("float16", "float32", "float64"))
bfloat16 = _scalar_type("bfloat16")
float8_e4m3fn, float8_e4m3fnuz = map(_scalar_type, ("float8_e4m3fn", "float8_e4m3fnuz"))
float8_e5m2, float8_e5m2fnuz = map(_scalar_type, ("float8_e5m2", "float8_e5m2fnuz"))
float8_e8m0fnu = _scalar_type("float8_e8m0fnu")
complex64, complex128 = map(_scalar_type, ("complex64", "complex128"))
