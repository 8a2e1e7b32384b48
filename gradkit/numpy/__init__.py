"""`jax.numpy`'s and the array API standard's functions, on any backend: ``import gradkit.numpy as jnp``."""

from math import e, inf, nan, pi

from numpy import (
    bool_,
    complex64,
    complex128,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from numpy import bool_ as bool

from gradkit.core import Array
from gradkit.numpy.creation import (
    arange,
    array,
    asarray,
    broadcast_arrays,
    empty,
    empty_like,
    eye,
    full,
    full_like,
    linspace,
    ones,
    result_type,
    zeros,
)
from gradkit.primitives import *  # noqa: F403
from gradkit.primitives import __all__ as _operations
from gradkit.primitives import abs as absolute
from gradkit.primitives import (
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    bitwise_invert,
    concat,
    divide,
    permute_dims,
    pow,
)

newaxis = None
ndarray = Array
arccos, arccosh, arcsin, arcsinh, arctan, arctan2, arctanh = acos, acosh, asin, asinh, atan, atan2, atanh
concatenate, transpose, power, true_divide, invert = concat, permute_dims, pow, divide, bitwise_invert

__all__ = [
    *(name for name in _operations if name not in ("affine", "masked", "pad_index", "scatter_add", "relu", "sigmoid")),
    "absolute",
    "arange",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "array",
    "asarray",
    "bool",
    "bool_",
    "broadcast_arrays",
    "complex64",
    "complex128",
    "concatenate",
    "e",
    "empty",
    "empty_like",
    "eye",
    "float16",
    "float32",
    "float64",
    "full",
    "full_like",
    "inf",
    "int8",
    "int16",
    "int32",
    "int64",
    "invert",
    "linspace",
    "nan",
    "ndarray",
    "newaxis",
    "ones",
    "pi",
    "power",
    "result_type",
    "transpose",
    "true_divide",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "zeros",
]
