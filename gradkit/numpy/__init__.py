"""`jax.numpy`'s and the array API standard's functions, on any backend: ``import gradkit.numpy as jnp``."""

from math import e, inf, nan, pi
from typing import Any

from gradkit.core import Array
from gradkit.core.above import above
from gradkit.numpy import (
    choosing,
    comparing,
    contractions,
    cumulative,
    data_types,
    dtypes,
    fft,
    formulas,
    histograms,
    host_data,
    indexing,
    inspection,
    joining,
    linalg,
    nan_reductions,
    numpy_protocol,  # noqa: F401 - an Array asks for it here
    padding,
    polynomials,
    products,
    ranges,
    rearranging,
    scalar_types,
    sets,
    shaping,
    signals,
    sorting,
    statistics,
    ufuncs,
    windows,
)
from gradkit.numpy.choosing import *  # noqa: F403
from gradkit.numpy.comparing import *  # noqa: F403
from gradkit.numpy.contractions import *  # noqa: F403
from gradkit.numpy.cumulative import *  # noqa: F403
from gradkit.numpy.data_types import *  # noqa: F403
from gradkit.numpy.dtypes import *  # noqa: F403
from gradkit.numpy.formulas import *  # noqa: F403
from gradkit.numpy.histograms import *  # noqa: F403
from gradkit.numpy.host_data import *  # noqa: F403
from gradkit.numpy.indexing import *  # noqa: F403
from gradkit.numpy.inspection import *  # noqa: F403
from gradkit.numpy.joining import *  # noqa: F403
from gradkit.numpy.nan_reductions import *  # noqa: F403
from gradkit.numpy.padding import *  # noqa: F403
from gradkit.numpy.polynomials import *  # noqa: F403
from gradkit.numpy.products import *  # noqa: F403
from gradkit.numpy.ranges import *  # noqa: F403
from gradkit.numpy.rearranging import *  # noqa: F403
from gradkit.numpy.scalar_types import *  # noqa: F403
from gradkit.numpy.scalar_types import bool_ as bool
from gradkit.numpy.sets import *  # noqa: F403
from gradkit.numpy.shaping import *  # noqa: F403
from gradkit.numpy.signals import *  # noqa: F403
from gradkit.numpy.sorting import *  # noqa: F403
from gradkit.numpy.statistics import *  # noqa: F403
from gradkit.numpy.ufuncs import *  # noqa: F403
from gradkit.numpy.windows import *  # noqa: F403
from gradkit.primitives import (
    abs,
    acos,
    acosh,
    add,
    all,
    any,
    argmax,
    argmin,
    asin,
    asinh,
    astype,
    atan,
    atan2,
    atanh,
    bitwise_and,
    bitwise_invert,
    bitwise_left_shift,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    broadcast_to,
    ceil,
    clip,
    concat,
    conj,
    copysign,
    cos,
    cosh,
    count_nonzero,
    divide,
    equal,
    exp,
    expand_dims,
    expm1,
    floor,
    floor_divide,
    greater,
    greater_equal,
    hypot,
    imag,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    log,
    log1p,
    log2,
    log10,
    logaddexp,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    logsumexp,
    matrix_transpose,
    max,
    maximum,
    mean,
    min,
    minimum,
    multiply,
    negative,
    new_arrays,
    nextafter,
    not_equal,
    permute_dims,
    positive,
    pow,
    prod,
    real,
    reciprocal,
    remainder,
    reshape,
    sign,
    signbit,
    sin,
    sinh,
    sqrt,
    square,
    squeeze,
    subtract,
    sum,
    take,
    tan,
    tanh,
    trunc,
)
from gradkit.primitives import abs as absolute
from gradkit.primitives.manipulation import moveaxis
from gradkit.primitives.moments import std, var
from gradkit.primitives.new_arrays import *  # noqa: F403

euler_gamma = 0.5772156649015329
newaxis = None
ndarray = Array
arccos, arccosh, arcsin, arcsinh, arctan, arctan2, arctanh = acos, acosh, asin, asinh, atan, atan2, atanh
conjugate, transpose, power, true_divide = conj, permute_dims, pow, divide
invert = bitwise_not = bitwise_invert

__all__ = [
    "abs", "absolute", "acos", "acosh", "add", "all", "any", "arccos", "arccosh", "arcsin", "arcsinh", "arctan",
    "arctan2", "arctanh", "argmax", "argmin", "asin", "asinh", "astype", "atan", "atan2", "atanh", "bitwise_and",
    "bitwise_invert", "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "bool",
    "broadcast_to", "ceil", "clip", "concat", "conj", "conjugate", "copysign", "cos", "cosh", "count_nonzero", "divide",
    "e", "equal", "euler_gamma", "exp", "expand_dims", "expm1", "floor", "floor_divide", "greater", "greater_equal",
    "hypot", "imag", "inf", "invert", "isfinite", "isinf", "isnan", "less", "less_equal", "log", "log1p", "log2",
    "log10", "logaddexp", "logical_and", "logical_not", "logical_or", "logical_xor", "logsumexp", "matrix_transpose",
    "max", "maximum", "mean", "min", "minimum", "moveaxis", "multiply", "nan", "ndarray", "negative", "newaxis",
    "nextafter", "not_equal", "permute_dims", "pi", "positive", "pow", "power", "prod", "real", "reciprocal",
    "remainder", "reshape", "sign", "signbit", "sin", "sinh", "sqrt", "square", "squeeze", "std", "subtract", "sum",
    "take", "tan", "tanh", "transpose", "true_divide", "trunc", "var",
]  # fmt: skip
__all__ += choosing.__all__
__all__ += comparing.__all__
__all__ += contractions.__all__
__all__ += new_arrays.__all__
__all__ += cumulative.__all__
__all__ += data_types.__all__
__all__ += dtypes.__all__
__all__ += formulas.__all__
__all__ += histograms.__all__
__all__ += host_data.__all__
__all__ += indexing.__all__
__all__ += inspection.__all__
__all__ += joining.__all__
__all__ += nan_reductions.__all__
__all__ += padding.__all__
__all__ += polynomials.__all__
__all__ += products.__all__
__all__ += ranges.__all__
__all__ += rearranging.__all__
__all__ += scalar_types.__all__
__all__ += sets.__all__
__all__ += shaping.__all__
__all__ += signals.__all__
__all__ += sorting.__all__
__all__ += statistics.__all__
__all__ += ufuncs.__all__
__all__ += windows.__all__
__all__ += ["fft", "linalg"]


def __getattr__(name: str) -> Any:
    # SciPy asks an array's namespace for `special`, an extension that the array API standard considers.
    if name == "special":
        return above.special()
    raise AttributeError(f"module 'gradkit.numpy' has no attribute {name!r}")
