"""`lax`'s elementwise functions: the operations of this package under their names there, without promotion."""

from __future__ import annotations

import builtins
import enum
import operator
from collections.abc import Callable
from typing import Any

from gradkit.core import Array
from gradkit.core.operands import cast, dtype_name
from gradkit.core.promotion import is_complex
from gradkit.lax.arguments import (
    ANY,
    COMPLEX,
    FLOAT,
    INEXACT,
    INTEGER,
    NUMBER,
    ORDERED,
    array_of,
    convert,
    named_dtype,
    remembering,
    require,
    require_same_dtype,
    require_shapes_that_fit,
    together,
)
from gradkit.lax.creation import stop_gradient
from gradkit.primitives import elementwise as e
from gradkit.primitives import numbers, scipy_special, special
from gradkit.primitives.creation import zeros_like

__all__ = [
    "RoundingMethod", "abs", "acos", "acosh", "add", "asin", "asinh", "atan", "atan2", "atanh", "bessel_i0e",
    "bessel_i1e", "betainc", "cbrt", "ceil", "clamp", "complex", "conj", "cos", "cosh", "digamma", "div", "eq", "erf",
    "erf_inv", "erfc", "exp", "exp2", "expm1", "floor", "ge", "gt", "igamma", "igamma_grad_a", "igammac", "imag",
    "integer_pow", "is_finite", "le", "lgamma", "log", "log1p", "logistic", "lt", "max", "min", "mul", "ne", "neg",
    "nextafter", "polygamma", "pow", "real", "reciprocal", "rem", "round", "rsqrt", "select", "select_n", "sign", "sin",
    "sinh", "sqrt", "square", "sub", "tan", "tanh", "zeta",
]  # fmt: skip

PARTS = ("float32", "float64")


class RoundingMethod(enum.IntEnum):
    """Where `round` puts numbers that are halfway between two integers."""

    AWAY_FROM_ZERO = 0
    TO_NEAREST_EVEN = 1


# Formulas that are not the operation of another name


def _quotient(x: Array, y: Array) -> Array:
    if not dtype_name(x).startswith(("int", "uint")):
        return e.divide(x, y)
    # Towards zero; -1 for a division by zero, as XLA has it.
    safe = e.where(y == 0, 1, y)
    floor = e.floor_divide(x, safe)
    inexact = e.logical_and(floor * safe != x, floor < 0)
    return e.where(
        y == 0, convert(e.bitwise_invert(zeros_like(x)), dtype_name(x)), floor + cast(inexact, dtype_name(x))
    )


def _rest(x: Array, y: Array) -> Array:
    """Return what is left of a division towards zero: it has the sign of `x`."""
    if dtype_name(x).startswith(("int", "uint")):
        rest = e.remainder(x, e.where(y == 0, 1, y))
        other_sign = e.logical_and(rest != 0, e.not_equal(rest < 0, x < 0))
        return e.where(y == 0, x, e.where(other_sign, rest - y, rest))
    size = e.remainder(e.abs(x), e.abs(y))
    return e.where(x < 0, -size, size)


def _logistic(x: Array) -> Array:
    return e.divide(1, 1 + e.exp(-x)) if is_complex(x.dtype) else e.sigmoid(x)


def _exp2(x: Array) -> Array:
    return e.pow(2.0, x)


def _conj(x: Array) -> Array:
    return e.conj(x) if is_complex(x.dtype) else cast(x, _COMPLEX_OF[dtype_name(x)])


def _complex(x: Array, y: Array) -> Array:
    dtype = _COMPLEX_OF[dtype_name(x)]
    return e.add(cast(x, dtype), e.multiply(cast(y, dtype), 1j))


_COMPLEX_OF = {"float32": "complex64", "float64": "complex128"}


Function = Callable[..., Array]


def _unary(name: str, function: Callable[[Any], Array], accepted: tuple[str, ...]) -> Function:
    @remembering(function)
    def call(x: Any, *, accuracy: Any = None) -> Array:
        array = array_of(x, name)
        require(name, (array,), (accepted,))
        return function(array)

    call.__doc__ = f"Compute `{name}` element by element. The dtype has to be {' or '.join(accepted)}."
    return _rename(call, name)


NAMES_OF_ARGUMENTS = {
    "betainc": "a b x",
    "clamp": "min x max",
    "igamma": "a x",
    "igamma_grad_a": "a x",
    "igammac": "a x",
    "nextafter": "x1 x2",
    "polygamma": "m x",
    "zeta": "x q",
}
"""Those that are not called x and y."""


def _several(name: str, function: Function, *accepted: tuple[str, ...], called: str = "") -> Function:
    shown = called or name
    names = NAMES_OF_ARGUMENTS.get(name, "x y").split()

    @remembering(function)
    def call(*values: Any, **named: Any) -> Array:
        if named:
            rest = names[len(values) :]
            unknown = next((given for given in named if given not in rest), None)
            if unknown is not None:
                raise TypeError(f"{name}() got an unexpected keyword argument {unknown!r}")
            values = (*values, *(named[given] for given in rest if given in named))
        if len(values) != len(accepted):
            raise TypeError(f"{name}() takes {len(accepted)} positional arguments but {len(values)} were given")
        arrays = together(shown, *values)
        require(shown, arrays, accepted)
        require_same_dtype(shown, arrays)
        require_shapes_that_fit(shown, arrays)
        return function(*arrays)

    call.__doc__ = (
        f"Compute `{name}` element by element, of {len(accepted)} arguments of one dtype. Numbers are 0-d arrays of "
        f"the default dtype: there is no promotion."
    )
    return _rename(call, name)


def _rename(function: Any, name: str) -> Function:
    function.__name__ = function.__qualname__ = name
    function.__module__ = __name__
    return function  # type: ignore[no-any-return]


# Of one argument

abs = _unary("abs", e.abs, NUMBER)
acos = _unary("acos", e.acos, INEXACT)
acosh = _unary("acosh", e.acosh, INEXACT)
asin = _unary("asin", e.asin, INEXACT)
asinh = _unary("asinh", e.asinh, INEXACT)
atan = _unary("atan", e.atan, INEXACT)
atanh = _unary("atanh", e.atanh, INEXACT)
bessel_i0e = _unary("bessel_i0e", scipy_special.bessel_i0e, FLOAT)
bessel_i1e = _unary("bessel_i1e", scipy_special.bessel_i1e, FLOAT)
cbrt = _unary("cbrt", numbers.cbrt, FLOAT)
ceil = _unary("ceil", e.ceil, FLOAT)
conj = _unary("conj", _conj, ("float32", "complexfloating", "float64"))
cos = _unary("cos", e.cos, INEXACT)
cosh = _unary("cosh", e.cosh, INEXACT)
digamma = _unary("digamma", scipy_special.digamma, FLOAT)
erf = _unary("erf", special.erf, FLOAT)
erf_inv = _unary("erf_inv", special.erf_inv, FLOAT)
erfc = _unary("erfc", scipy_special.erfc, FLOAT)
exp = _unary("exp", e.exp, INEXACT)
exp2 = _unary("exp2", _exp2, INEXACT)
expm1 = _unary("expm1", e.expm1, INEXACT)
floor = _unary("floor", e.floor, FLOAT)
imag = _unary("imag", e.imag, COMPLEX)
is_finite = _unary("is_finite", e.isfinite, FLOAT)
lgamma = _unary("lgamma", scipy_special.gammaln, FLOAT)
log = _unary("log", e.log, INEXACT)
log1p = _unary("log1p", e.log1p, INEXACT)
logistic = _unary("logistic", _logistic, INEXACT)
neg = _unary("neg", e.negative, NUMBER)
real = _unary("real", e.real, COMPLEX)
reciprocal = _unary("reciprocal", e.reciprocal, INEXACT)
rsqrt = _unary("rsqrt", lambda x: e.reciprocal(e.sqrt(x)), INEXACT)
sign = _unary("sign", e.sign, NUMBER)
sin = _unary("sin", e.sin, INEXACT)
sinh = _unary("sinh", e.sinh, INEXACT)
sqrt = _unary("sqrt", e.sqrt, INEXACT)
square = _unary("square", e.square, NUMBER)
tan = _unary("tan", e.tan, INEXACT)
tanh = _unary("tanh", e.tanh, INEXACT)

# Of several

add = _several("add", e.add, NUMBER, NUMBER)
atan2 = _several("atan2", e.atan2, INEXACT, INEXACT)
betainc = _several("betainc", scipy_special.betainc, FLOAT, FLOAT, FLOAT)
complex = _several("complex", _complex, PARTS, PARTS)
div = _several("div", _quotient, NUMBER, NUMBER)
eq = _several("eq", e.equal, ANY, ANY)
ge = _several("ge", e.greater_equal, ORDERED, ORDERED)
gt = _several("gt", e.greater, ORDERED, ORDERED)
igamma = _several("igamma", scipy_special.gammainc, FLOAT, FLOAT)
igamma_grad_a = _several("igamma_grad_a", scipy_special.gammainc_slope, FLOAT, FLOAT)
igammac = _several("igammac", scipy_special.gammaincc, FLOAT, FLOAT)
le = _several("le", e.less_equal, ORDERED, ORDERED)
lt = _several("lt", e.less, ORDERED, ORDERED)
max = _several("max", e.maximum, ANY, ANY)
min = _several("min", e.minimum, ANY, ANY)
ne = _several("ne", e.not_equal, ANY, ANY)
nextafter = _several("nextafter", e.nextafter, FLOAT, FLOAT)
polygamma = _several("polygamma", scipy_special.polygamma, FLOAT, FLOAT)
rem = _several("rem", _rest, ("integer", "floating"), ("integer", "floating"))
sub = _several("sub", e.subtract, NUMBER, NUMBER)
zeta = _several("zeta", scipy_special.zeta, FLOAT, FLOAT)
_multiply = _several("multiply", e.multiply, NUMBER, NUMBER, called="mul")

# With rules of their own


def mul(x: Any, y: Any, *, out_dtype: Any = None) -> Array:
    """Multiply element by element, in the dtype that both have.

    Parameters
    ----------
    x, y : array or number
        Of one dtype and one number of axes; numbers are 0-d arrays of the default dtype.
    out_dtype : dtype, optional
        The dtype of the result.
    """
    product = _multiply(x, y)
    return product if out_dtype is None else convert(product, named_dtype(out_dtype))


@remembering(e.pow)
def pow(x: Any, y: Any) -> Array:
    """Return `x`, which is not of integers, to the power `y`, which may be: of any dtype then."""
    arrays = together("pow", x, y)
    require("pow", arrays, (INEXACT, (*INTEGER, *INEXACT)))
    if not dtype_name(arrays[1]).startswith(("int", "uint")):
        require_same_dtype("pow", arrays)
    require_shapes_that_fit("pow", arrays)
    base, exponent = arrays
    return e.pow(base, convert(exponent, dtype_name(base)))


def integer_pow(x: Any, y: int) -> Array:
    """Return `x` to the power of a Python int; of integers it must not be negative."""
    array = array_of(x, "integer_pow")
    require("integer_pow", (array,), (NUMBER,))
    exponent = operator.index(y)
    if exponent < 0 and dtype_name(array).startswith(("int", "uint")):
        sizes = ",".join(map(str, array.shape))
        raise TypeError(
            f"Integers cannot be raised to negative powers, got integer_pow({dtype_name(array)}[{sizes}], {y})"
        )
    return e.square(array) if exponent == 2 else e.pow(array, exponent)


def round(x: Any, rounding_method: Any = RoundingMethod.AWAY_FROM_ZERO) -> Array:
    """Round to integers.

    Parameters
    ----------
    x : array
        Of floating dtype.
    rounding_method : RoundingMethod
        Where halves go: away from zero (the default), or to the nearest even integer.
    """
    array = array_of(x, "round")
    require("round", (array,), (FLOAT,))
    if RoundingMethod(rounding_method) is RoundingMethod.TO_NEAREST_EVEN:
        return e.round(array)
    whole = e.trunc(array)
    return e.where(e.abs(array - whole) >= 0.5, whole + e.sign(array), whole)


def clamp(min: Any, x: Any, max: Any) -> Array:
    """Limit the elements to the range from `min` to `max`.

    Parameters
    ----------
    min, max : array or number
        0-d or of the shape of `x`, and of its dtype.
    x : array
        Of any shape. Its derivative is 1 inside the range and 0 outside and on its bounds.
    """
    low, array, high = together("clamp", min, x, max)
    require_same_dtype("clamp", (low, array, high))
    for name, bound in (("min", low), ("max", high)):
        if bound.shape not in ((), array.shape):
            raise TypeError(
                f"clamp requires {name}.shape == operand.shape or {name}.shape == (), got {name}.shape={bound.shape}, "
                f"operand.shape={array.shape}."
            )
    inside = e.logical_and(array > low, array < high)
    limited = stop_gradient(e.minimum(e.maximum(array, low), high))
    below = e.logical_and(array < low, low < high)
    return e.where(inside, array, e.where(below, low, e.where(array > high, high, limited)))


def select(pred: Any, on_true: Any, on_false: Any) -> Array:
    """Take the elements of `on_true` where `pred` holds, and those of `on_false` elsewhere.

    Parameters
    ----------
    pred : array of bool
        0-d, or of the shape of the others.
    on_true, on_false : array
        Of one shape and dtype.
    """
    return select_n(pred, on_false, on_true)


def select_n(which: Any, *cases: Any) -> Array:
    """Take each element from the case that `which` names.

    Parameters
    ----------
    which : array of bool or int
        0-d, or of the shape of the cases: from 0 to their number, without that.
    *cases : array
        Of one shape and dtype.
    """
    if not cases:
        raise ValueError("select_n() must have at least one case")
    which, *arrays = together("select", which, *cases)
    if not dtype_name(which).startswith(("bool", "int", "uint")):
        raise TypeError(f"select `which` must be boolean or integer type, got {dtype_name(which)}.")
    shapes = [array.shape for array in arrays]
    if shapes.count(shapes[0]) != len(shapes):
        raise TypeError(f"select cases must have the same shapes, got [{', '.join(map(str, shapes))}].")
    if which.shape not in ((), shapes[0]):
        raise TypeError(
            f"select `which` must be scalar or have the same shape as cases, got `which` shape {which.shape} but case "
            f"shape {shapes[0]}."
        )
    require_same_dtype("select", arrays)
    if dtype_name(which) == "bool":
        if len(arrays) > 2:
            raise TypeError(f"select with boolean `which` cannot have > 2 cases, got {len(arrays)}.")
        return e.where(which, arrays[-1], arrays[0])
    result = arrays[-1]
    for position in builtins.range(len(arrays) - 2, -1, -1):
        result = e.where(which <= position, arrays[position], result)
    return result
