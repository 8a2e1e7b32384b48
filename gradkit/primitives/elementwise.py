"""Elementwise operations: a table of functions and their local derivatives, as in a calculus book.

Each line states the derivative of the result ``y`` (or ``z``) with respect to each argument. A name that begins with
an underscore is not read, so the tape does not keep it.
"""

from __future__ import annotations

import builtins
import cmath
import math
from collections.abc import Callable, Sequence
from sys import _getframe
from typing import Any

from gradkit.backend import backend_of
from gradkit.core import MINUS_ONE, ONE, Array, Elementwise, Linear, bind, passes_where
from gradkit.core.array import renewed, wrap
from gradkit.core.batching import elementwise, same_shape
from gradkit.core.calls import apply, binary, unary
from gradkit.core.namespace import publish
from gradkit.core.node import NO_PARAMS
from gradkit.core.operands import as_array, as_operand, dtype_name, require_bool
from gradkit.core.printing import shaped
from gradkit.core.promotion import FLOATING, is_complex, kind_of, promote, real_part_of
from gradkit.primitives.creation import zeros_like
from gradkit.primitives.parts import is_asked, note

__all__ = [
    "abs", "acos", "acosh", "add", "asin", "asinh", "atan", "atan2", "atanh", "bitwise_and", "bitwise_invert",
    "bitwise_left_shift", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "ceil", "clip", "conj", "copysign", "cos",
    "cosh", "divide", "equal", "exp", "expm1", "floor", "floor_divide", "greater", "greater_equal", "hypot", "imag",
    "isfinite", "isinf", "isnan", "less", "less_equal", "log", "log1p", "log2", "log10", "logaddexp", "logical_and",
    "logical_not", "logical_or", "logical_xor", "masked", "maximum", "minimum", "multiply", "negative", "nextafter",
    "not_equal", "positive", "pow", "real", "reciprocal", "relu", "remainder", "round", "sigmoid", "sign", "signbit",
    "sin", "sinh", "sqrt", "square", "subtract", "tan", "tanh", "trunc", "where",
]  # fmt: skip

Unary = Callable[[Any], Array]
Binary = Callable[[Any, Any], Array]
DOC = "Compute `{}` element by element, as the array API standard defines it."


def _unary(
    name: str, rule: Any, floating: bool = True, forward: Any = None, counts: bool = False, **options: Any
) -> Unary:
    return unary(Elementwise(name, forward, (rule,), **options), floating, DOC.format(name), counts)


def _binary(
    name: str,
    *rules: Any,
    floating: bool = False,
    forward: Any = None,
    general: Any = None,
    counts: bool = False,
    **options: Any,
) -> Binary:
    return binary(Elementwise(name, forward, rules, **options), floating, DOC.format(name), general, counts)


def real_part(x: Any, *_: Any) -> str:
    """Return the name of the dtype of the parts of an array's elements."""
    return real_part_of(x.dtype.name)


# Formulas that do not fit a line

NUMBERS = (int, float, complex)


def _slope_of_abs(xp: Any, x: Any) -> Any:
    if is_complex(x.dtype):
        size = xp.abs(x)
        return xp.conj(x) / xp.astype(xp.where(size == 0, xp.ones_like(size), size), x.dtype)
    # 1 at 0, as in JAX.
    return 2 * xp.astype(x >= 0, x.dtype) - 1


def _sign(xp: Any, x: Any) -> Any:
    if not is_complex(x.dtype):
        return xp.library.sign(x)
    size = xp.abs(x)
    nothing = size == 0
    return xp.where(nothing, xp.zeros_like(x), x / xp.astype(xp.where(nothing, xp.ones_like(size), size), x.dtype))


def _sigmoid(xp: Any, x: Any) -> Any:
    if is_complex(x.dtype):
        return 1 / (1 + xp.exp(-x))
    # exp is taken of negative numbers alone, so it cannot overflow.
    decay = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, xp.ones_like(x), decay) / (1 + decay)


def _first_is_larger(xp: Any, x: Any, y: Any) -> Any:
    """Return 1 where x > y, 1/2 where they are equal (JAX's convention for ties), else 0."""
    dtype = y.dtype if type(x) in (int, float) else x.dtype
    return (xp.astype(xp.greater(x, y), dtype) + xp.astype(xp.greater_equal(x, y), dtype)) / 2


SMALL_EXPONENT = 0.5
"""Below it the power in a derivative may overflow where the derivative does not: its root is multiplied twice."""

ROOT = 0.5
"""The exponent for which a library's operator is not its power: NumPy takes the square root."""


def _power(primitive: Elementwise, args: Sequence[Any], least: int) -> Array:
    """Run `pow`. A NumPy integer as exponent is a number, as in JAX, and integers have no negative powers."""
    base = as_operand(args[0], "power")
    exponent = args[1]
    owner = None if type(exponent) is Array else backend_of(exponent)
    if owner is not None and owner.is_scalar(exponent) and exponent.dtype.kind in "iu":
        exponent = int(exponent)
    kind = kind_of(dtype_name(base) if type(base) is Array else promote((), (type(base),)))
    if type(exponent) is int and exponent < 0 and kind < FLOATING:
        raise _negative_power(base, exponent)
    try:
        return apply(primitive, (base, exponent), least)
    except ValueError as error:
        if type(error) is not ValueError:  # of shapes or devices
            raise
        raise _negative_power(base, exponent) from error


def _negative_power(base: Any, exponent: Any) -> TypeError:
    found = ", ".join(shaped(x) if type(x) is Array else str(x) for x in (base, exponent))
    return TypeError(
        f"Integers cannot be raised to negative powers, got integer_pow({found}). Convert them first: "
        f"x.astype('float32')."
    )


def _power_in_base(xp: Any, x: Any, y: Any) -> Any:
    if type(y) in NUMBERS and cmath.isfinite(y):
        if 0 < builtins.abs(y) < SMALL_EXPONENT:  # of a number: `abs` is that of arrays here
            root = x ** ((y - 1) / 2)
            return y * root * root
        if y == ROOT + 1:
            return y * xp.pow(x, ROOT)
        return xp.zeros_like(x) if y == 0 else y * x ** (y - 1)
    return xp.power_slope(x, xp.zeros_like(x) + y if type(y) in NUMBERS else y)


def _power_in_exponent(xp: Any, z: Any, x: Any, y: Any) -> Any:
    if type(x) in NUMBERS and x != 0 and cmath.isfinite(x):
        if is_complex(z.dtype):
            return z * cmath.log(x)
        return z * math.log(x) if x > 0 else z * math.nan
    return xp.power_log(z, xp.zeros_like(y) + x if type(x) in NUMBERS else x, y)


def _logaddexp(xp: Any, x: Any, y: Any) -> Any:
    if not is_complex((y if type(x) in NUMBERS else x).dtype):
        return xp.library.logaddexp(x, y)
    x = xp.zeros_like(y) + x if type(x) in NUMBERS else x
    y = xp.zeros_like(x) + y if type(y) in NUMBERS else y
    larger = xp.where(xp.real(x) >= xp.real(y), x, y)
    result = larger + xp.log1p(xp.exp(x + y - 2 * larger))
    # JAX's branch: imaginary parts from -pi to pi.
    turns = xp.round(xp.imag(result) / (2 * math.pi))
    return result - turns * (2j * math.pi)


def _atan2(xp: Any, x: Any, y: Any) -> Any:
    if not is_complex((y if type(x) in NUMBERS else x).dtype):
        return xp.library.atan2(x, y)
    return -1j * xp.log((y + 1j * x) / xp.sqrt(x * x + y * y))


def _logaddexp_share(xp: Any, z: Any, x: Any, y: Any) -> Any:
    if is_complex(z.dtype):
        # Where x and z are the same infinity their difference is NaN, and the share is 1.
        return xp.exp(xp.where(x == z, xp.zeros_like(z), x - z))
    # The same as exp(x - z), but the share of the smaller one keeps its digits in the next derivative.
    same = (x == z) & xp.isinf(z)
    return xp.where(same, xp.ones_like(z), xp.sigmoid(xp.where(same, xp.zeros_like(z), x - y)))


def _slope_of_tan(xp: Any, x: Any, y: Any) -> Any:
    # Far from the real axis tan(x) is i or -i, and 1 + y**2 cancels.
    return xp.tanh_slope(x * 1j, y * 1j) if is_complex(x.dtype) else 1 + y * y


def _inverse(y: Any) -> Any:
    # Python refuses to divide its own numbers by 0.
    return math.copysign(math.inf, y) if type(y) in (int, float) and y == 0 else 1 / y


# Arithmetic

add = _binary("add", ONE, ONE)
subtract = _binary("subtract", ONE, MINUS_ONE)
multiply = _binary("multiply", lambda xp, _z, _x, y: y, lambda xp, _z, x, _y: x)
divide = _binary("divide", lambda xp, _z, _x, y: _inverse(y), lambda xp, z, _x, y: -z / y, floating=True)
pow = _binary(
    "pow",
    lambda xp, _z, x, y: _power_in_base(xp, x, y),
    lambda xp, z, x, y: _power_in_exponent(xp, z, x, y),
    general=_power,
    counts=True,
)
remainder = _binary("remainder", ONE, lambda xp, _z, x, y: -xp.floor_divide(x, y), counts=True, jumps=True)
floor_divide = _binary("floor_divide", None, None, counts=True)
negative = _unary("negative", MINUS_ONE, floating=False)
_positive = _unary("positive", ONE, floating=False)
abs = _unary("abs", lambda xp, _y, x: _slope_of_abs(xp, x), floating=False, dtype=real_part)
sign = _unary("sign", None, floating=False, forward=lambda xp, x: _sign(xp, x), leaf=True)
copysign = _binary(
    "copysign", lambda xp, _z, x, y: _slope_of_abs(xp, x) * xp.copysign(xp.ones_like(x), y), None, floating=True
)
reciprocal = _unary("reciprocal", lambda xp, y, _x: -y * y)
square = _unary("square", lambda xp, _y, x: 2 * x, floating=False, counts=True)
sqrt = _unary("sqrt", lambda xp, y, _x: 0.5 / y)


def positive(x: Any, /) -> Array:
    """Return the elements as they are: +x, element by element."""
    array = as_array(x, "positive")
    return wrap(array._value, array._node) if dtype_name(array) == "bool" else _positive(array)


# Parts of complex numbers, with JAX's convention: the transposes do not conjugate, but for `conj` itself

_conj = Linear("conj", None, (lambda xp, g, _x: xp.conj(g),), hands_on=False, batch=elementwise, shape=same_shape)
_real = Linear(
    "real",
    None,
    (lambda xp, g, x: xp.astype(g, x.dtype),),
    small_cotangent=True,
    hands_on=False,
    batch=elementwise,
    shape=same_shape,
    dtype=real_part,
    shares_memory=True,
)
_imag = Linear(
    "imag",
    None,
    (lambda xp, g, x: xp.astype(g, x.dtype) * -1j,),
    small_cotangent=True,
    hands_on=False,
    batch=elementwise,
    shape=same_shape,
    dtype=real_part,
    shares_memory=True,
)


def conj(x: Any, /) -> Array:
    """Return the complex conjugate, element by element; real arrays as they are."""
    array = as_array(x, "conj")
    return bind(_conj, (array,), NO_PARAMS) if is_complex(array.dtype) else renewed(array)


def real(x: Any, /) -> Array:
    """Return the real parts; real arrays as they are."""
    array = as_array(x, "real")
    if not is_complex(array.dtype):
        return array
    part = bind(_real, (array,), NO_PARAMS)
    if is_asked(_getframe(1)):
        note(part, array, real, lambda whole, new: new + 1j * imag(whole))
    return part


def imag(x: Any, /) -> Array:
    """Return the imaginary parts: zeros for real arrays."""
    array = as_array(x, "imag")
    if not is_complex(array.dtype):
        return zeros_like(array)
    part = bind(_imag, (array,), NO_PARAMS)
    if is_asked(_getframe(1)):
        note(part, array, imag, lambda whole, new: real(whole) + 1j * new)
    return part


# Exponentials

exp = _unary("exp", lambda xp, y, _x: y)
# Not y + 1, which is 0 where y rounds to -1.
expm1 = _unary("expm1", lambda xp, _y, x: xp.exp(x))
log = _unary("log", lambda xp, _y, x: 1 / x)
log1p = _unary("log1p", lambda xp, _y, x: 1 / (1 + x))
log2 = _unary("log2", lambda xp, _y, x: (1 / math.log(2)) / x)
log10 = _unary("log10", lambda xp, _y, x: (1 / math.log(10)) / x)
logaddexp = _binary(
    "logaddexp",
    lambda xp, z, x, y: _logaddexp_share(xp, z, x, y),
    lambda xp, z, x, y: _logaddexp_share(xp, z, y, x),
    floating=True,
    forward=_logaddexp,
    leaf=True,
)

# Trigonometry

sin = _unary("sin", lambda xp, _y, x: xp.cos(x))
cos = _unary("cos", lambda xp, _y, x: -xp.sin(x))
tan = _unary("tan", lambda xp, y, x: _slope_of_tan(xp, x, y))
asin = _unary("asin", lambda xp, _y, x: xp.asin_slope(x))
acos = _unary("acos", lambda xp, _y, x: -xp.asin_slope(x))
atan = _unary("atan", lambda xp, _y, x: xp.atan_slope(x))
atan2 = _binary(
    "atan2",
    lambda xp, _z, x, y: xp.atan2_slope(x, y),
    lambda xp, _z, x, y: -xp.atan2_slope(y, x),
    floating=True,
    forward=_atan2,
    leaf=True,
)
hypot = _binary(
    "hypot",
    lambda xp, _z, x, y: xp.hypot_slope(x, y),
    lambda xp, _z, x, y: xp.hypot_slope(y, x),
    floating=True,
)
sinh = _unary("sinh", lambda xp, _y, x: xp.cosh(x))
cosh = _unary("cosh", lambda xp, _y, x: xp.sinh(x))
tanh = _unary("tanh", lambda xp, y, x: xp.tanh_slope(x, y))
asinh = _unary("asinh", lambda xp, _y, x: xp.asinh_slope(x))
acosh = _unary("acosh", lambda xp, _y, x: xp.acosh_slope(x))
atanh = _unary("atanh", lambda xp, _y, x: xp.atanh_slope(x))

# Activations

sigmoid = _unary("sigmoid", lambda xp, y, x: xp.sigmoid_slope(x, y), forward=_sigmoid)
relu = _unary(
    "relu",
    passes_where(lambda xp, y, _x: y > 0),
    floating=False,
    forward=lambda xp, x: xp.maximum(x, xp.zeros_like(x)),
)

# Choosing

maximum = _binary(
    "maximum",
    lambda xp, _z, x, y: _first_is_larger(xp, x, y),
    lambda xp, _z, x, y: _first_is_larger(xp, y, x),
)
minimum = _binary(
    "minimum",
    lambda xp, _z, x, y: _first_is_larger(xp, y, x),
    lambda xp, _z, x, y: _first_is_larger(xp, x, y),
)

_where = Elementwise(
    "where",
    None,
    (None, passes_where(lambda xp, _z, c, _x, _y: c), passes_where(lambda xp, _z, c, _x, _y: xp.logical_not(c))),
    dtype=lambda c, x, y: (x if type(x) is Array else y).dtype,
)
masked = Elementwise(
    "masked",
    lambda xp, x, mask: xp.where(mask, x, xp.zeros_like(x)),
    (passes_where(lambda xp, _y, _x, mask: mask), None),
)
"""Return `x` where the bool array `mask` holds, and 0 elsewhere."""


def where(condition: Any, x: Any, y: Any, /) -> Array:
    """Take elements of `x` where `condition` holds, and of `y` elsewhere.

    Parameters
    ----------
    condition : array of bool
        Numbers count as true where they are not 0.
    x, y : array or number
        Operands that broadcast with `condition` and with each other.

    Returns
    -------
    Array
        Of the broadcast shape and the promoted dtype of `x` and `y`. An element that is not taken gets a cotangent of
        exactly 0, whatever is infinite or NaN in it.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.where(jnp.asarray([True, False]), 1.0, jnp.asarray([5.0, 6.0]))
    Array([1., 6.], dtype=float32)
    """
    return apply(_where, (require_bool(as_array(condition, "where"), "where"), x, y), first=1)


def clip(x: Any, /, min: Any = None, max: Any = None) -> Array:
    """Limit the elements to the range from `min` to `max`; None leaves a side open.

    The gradient is 1 inside, 0 outside, and 1/2 on a bound, as in JAX.
    """
    result = x
    if min is not None:
        result = maximum(result, min)
    if max is not None:
        result = minimum(result, max)
    return positive(result)


# Without a derivative

floor = _unary("floor", None, floating=False)
ceil = _unary("ceil", None, floating=False)
round = _unary("round", None, floating=False)
trunc = _unary("trunc", None, floating=False)
nextafter = _binary("nextafter", ONE, None, floating=True, jumps=True)
isnan = _unary("isnan", None, floating=False, dtype="bool")
isinf = _unary("isinf", None, floating=False, dtype="bool")
isfinite = _unary("isfinite", None, floating=False, dtype="bool")
signbit = _unary("signbit", None, floating=True, dtype="bool")
equal = _binary("equal", None, None, dtype="bool")
not_equal = _binary("not_equal", None, None, dtype="bool")
less = _binary("less", None, None, dtype="bool")
less_equal = _binary("less_equal", None, None, dtype="bool")
greater = _binary("greater", None, None, dtype="bool")
greater_equal = _binary("greater_equal", None, None, dtype="bool")
bitwise_and = _binary("bitwise_and", None, None)
bitwise_or = _binary("bitwise_or", None, None)
bitwise_xor = _binary("bitwise_xor", None, None)
bitwise_left_shift = _binary("bitwise_left_shift", None, None, counts=True)
bitwise_right_shift = _binary("bitwise_right_shift", None, None, counts=True)
bitwise_invert = _unary("bitwise_invert", None, floating=False)


def _logical(name: str) -> Binary:
    primitive = Elementwise(name, None, (None, None), dtype="bool")

    def call(x: Any, y: Any, /) -> Array:
        return apply(primitive, (_truth(x, name), _truth(y, name)))

    call.__doc__ = DOC.format(name)
    return call


def _truth(operand: Any, caller: str) -> Any:
    condition = as_operand(operand, caller)
    return require_bool(condition, caller) if type(condition) is Array else bool(condition)


logical_and: Binary = _logical("logical_and")
logical_or: Binary = _logical("logical_or")
logical_xor: Binary = _logical("logical_xor")
_logical_not = Elementwise("logical_not", None, (None,), dtype="bool")


def logical_not(x: Any, /) -> Array:
    """Compute `logical_not` element by element, as the array API standard defines it."""
    return apply(_logical_not, (_truth(x, "logical_not"),))


publish(globals(), __all__)
