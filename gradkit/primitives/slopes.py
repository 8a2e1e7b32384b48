"""Derivatives that are primitives themselves, because their plain formulas cancel, overflow or end in inf * 0.

The derivative of tanh is 1 - tanh(x)**2, which rounds to 0 where tanh rounds to 1 although sech(x)**2 is a number far
from 0 there; that of asinh is 1 / sqrt(x**2 + 1), whose square overflows. Each function here has the value that such a
formula means, and its own derivative stated the same way, so that the second derivative is exact as well.
"""

from __future__ import annotations

import math
from typing import Any

from gradkit.core import Elementwise
from gradkit.core.calls import binary, unary
from gradkit.core.namespace import publish
from gradkit.core.promotion import PYTHON_NUMBERS, is_complex

__all__ = [
    "acosh_slope", "asin_slope", "asinh_slope", "atan2_slope", "atan_slope", "atanh_slope", "hypot_slope", "power_log",
    "power_slope", "sigmoid_slope", "tanh_slope",
]  # fmt: skip

DOC = "Compute {} element by element, in full precision wherever it is a number."
STEEP = 0.9
"""Up to which y**2 the difference 1 - y**2 keeps its digits, and up to which y the difference 1 - y."""


def vanishing(xp: Any, factor: Any, slope: Any) -> Any:
    """Return factor * slope, which is 0 where the slope is: it falls faster than the factor grows."""
    nothing = slope == 0
    return xp.where(nothing, xp.zeros_like(slope), factor) * slope


def _falling(xp: Any, t: Any) -> Any:
    """Return exp(-t) / (1 + exp(-t))**2, the derivative of the logistic function at t, for t with a positive part."""
    decay = xp.exp(-t)
    return decay / ((1 + decay) * (1 + decay))


def _from_zero(xp: Any, x: Any) -> Any:
    """Return x or -x, the one whose real part is not negative."""
    return xp.where(xp.real(x) >= 0, x, -x) if is_complex(x.dtype) else xp.abs(x)


def _tanh_slope(xp: Any, x: Any, y: Any) -> Any:
    far = 4 * _falling(xp, 2 * _from_zero(xp, x))
    return far if is_complex(x.dtype) else xp.where(y * y < STEEP, 1 - y * y, far)


def _sigmoid_slope(xp: Any, x: Any, y: Any) -> Any:
    far = _falling(xp, _from_zero(xp, x))
    return far if is_complex(x.dtype) else xp.where(y < STEEP, y * (1 - y), far)


tanh_slope = binary(
    Elementwise("tanh_slope", _tanh_slope, (lambda xp, d, _x, y: -2 * (y * d), None)),
    True,
    DOC.format("1 - y**2 for y = tanh(x)"),
)
sigmoid_slope = binary(
    Elementwise("sigmoid_slope", _sigmoid_slope, (lambda xp, d, x, _y: -d * xp.tanh(x / 2), None)),
    True,
    DOC.format("y (1 - y) for y = sigmoid(x)"),
)


# Inverse functions: 1 / sqrt(...) by its factors, of which none overflows and none cancels. The roots of the factors
# have the branch of the function for complex numbers too (Kahan, "Branch cuts for complex elementary functions", 1987).


def _asin_slope(xp: Any, x: Any) -> Any:
    if is_complex(x.dtype):
        return 1 / (xp.sqrt(1 - x) * xp.sqrt(1 + x))
    return 1 / xp.sqrt((1 - x) * (1 + x))


def _asinh_slope(xp: Any, x: Any) -> Any:
    if is_complex(x.dtype):
        return 1 / (xp.sqrt(1 + 1j * x) * xp.sqrt(1 - 1j * x))
    return 1 / xp.hypot(x, xp.ones_like(x))


def _atan_slope(xp: Any, x: Any) -> Any:
    if is_complex(x.dtype):
        return (1 / (1 + 1j * x)) / (1 - 1j * x)
    d = 1 / xp.hypot(x, xp.ones_like(x))
    return d * d


asin_slope = unary(
    Elementwise("asin_slope", _asin_slope, (lambda xp, d, x: vanishing(xp, x, d) * d * d,)),
    True,
    DOC.format("1 / sqrt(1 - x**2)"),
)
asinh_slope = unary(
    Elementwise("asinh_slope", _asinh_slope, (lambda xp, d, x: -vanishing(xp, x, d) * d * d,)),
    True,
    DOC.format("1 / sqrt(x**2 + 1)"),
)
acosh_slope = unary(
    Elementwise(
        "acosh_slope",
        lambda xp, x: (1 / xp.sqrt(x - 1)) / xp.sqrt(x + 1),
        (lambda xp, d, x: -vanishing(xp, x, d) * d * d,),
    ),
    True,
    DOC.format("1 / sqrt(x**2 - 1)"),
)
atan_slope = unary(
    Elementwise("atan_slope", _atan_slope, (lambda xp, d, x: -2 * vanishing(xp, x, d) * d,)),
    True,
    DOC.format("1 / (1 + x**2)"),
)
atanh_slope = unary(
    Elementwise(
        "atanh_slope",
        lambda xp, x: (1 / (1 - x)) / (1 + x),
        (lambda xp, d, x: 2 * vanishing(xp, x, d) * d,),
    ),
    True,
    DOC.format("1 / (1 - x**2)"),
)


# The hypotenuse


def _scale(xp: Any, x: Any, y: Any) -> tuple[Any, Any, Any, Any]:
    """Return the sides and the hypotenuse (1 at the origin) times a power of 2 that keeps it finite, and that."""
    z = xp.hypot(x, y)
    nothing = xp.zeros_like(z)
    x, y = x + nothing, y + nothing
    scale = xp.where(xp.isinf(z), nothing + 0.25, nothing + 1)
    x, y = x * scale, y * scale
    z = xp.hypot(x, y)
    return x, y, xp.where(z == 0, xp.ones_like(z), z), scale


def _cosine(xp: Any, x: Any, z: Any) -> Any:
    """Return x / z; beside an infinite side the other has no part."""
    infinite = xp.isinf(z)
    return xp.where(infinite, xp.where(xp.isinf(x), xp.sign(x), xp.zeros_like(z)), x / z)


def _hypot_slope(xp: Any, x: Any, y: Any) -> Any:
    x, y, z, _ = _scale(xp, x, y)
    # At the origin, where there is no derivative, JAX's 1/2 and not 0 / 0.
    origin = xp.logical_and(x == 0, y == 0)
    return xp.where(origin, xp.ones_like(z) / 2, _cosine(xp, x, z))


def _curvature_of_hypot(xp: Any, x: Any, y: Any, of_the_same: bool) -> Any:
    x, y, z, scale = _scale(xp, x, y)
    sine = _cosine(xp, y, z)
    other = sine if of_the_same else -_cosine(xp, x, z)
    return sine / z * other * scale


hypot_slope = binary(
    Elementwise(
        "hypot_slope",
        _hypot_slope,
        (
            lambda xp, _d, x, y: _curvature_of_hypot(xp, x, y, True),
            lambda xp, _d, x, y: _curvature_of_hypot(xp, x, y, False),
        ),
    ),
    True,
    DOC.format("x / hypot(x, y)"),
)


# The angle


def _atan2_slope(xp: Any, x: Any, y: Any) -> Any:
    if is_complex((y if type(x) in PYTHON_NUMBERS else x).dtype):
        return y / (x * x + y * y)
    x, y, z, scale = _scale(xp, x, y)
    # At the origin there is no derivative: 0 / 0.
    z = xp.where(xp.logical_and(x == 0, y == 0), xp.zeros_like(z), z)
    return xp.where(xp.isinf(z), xp.zeros_like(z), y / z) / z * scale


def _curvature_of_atan2(xp: Any, x: Any, y: Any, of_the_same: bool) -> Any:
    if is_complex((y if type(x) in PYTHON_NUMBERS else x).dtype):
        square = x * x + y * y
        return (-2 * x * y if of_the_same else x * x - y * y) / square / square
    x, y, z, scale = _scale(xp, x, y)
    sine, cosine = _cosine(xp, x, z), _cosine(xp, y, z)
    if of_the_same:
        # The smaller one first: what it is divided by may overflow for the other one.
        small = xp.where(xp.abs(sine) < xp.abs(cosine), sine, cosine)
        large = xp.where(xp.abs(sine) < xp.abs(cosine), cosine, sine)
        return -2 * (small / z * scale / z * scale) * large
    return (sine - cosine) * (sine + cosine) / z * scale / z * scale


atan2_slope = binary(
    Elementwise(
        "atan2_slope",
        _atan2_slope,
        (
            lambda xp, _d, x, y: _curvature_of_atan2(xp, x, y, True),
            lambda xp, _d, x, y: _curvature_of_atan2(xp, x, y, False),
        ),
    ),
    True,
    DOC.format("y / (x**2 + y**2)"),
)


# Powers. In the mixed derivative, x**(y - 1) (1 + y log(x)), the exponent 0 is a number like others, although the first
# derivative in x is 0 there.


def _power_slope(xp: Any, x: Any, y: Any) -> Any:
    """Return y x**(y - 1): no 1 / 0 is taken at y = 0, and an infinite power alone decides what its limit is."""
    one = xp.ones_like(y)
    factor = xp.where(x * one == 1, y, xp.where(xp.isinf(y), xp.copysign(one, y), y)) if not is_complex(y.dtype) else y
    return factor * xp.pow(x, xp.where(y == 0, one, y) - 1)


def _power_log(xp: Any, z: Any, x: Any, y: Any) -> Any:
    """Return z log(x) for z = x**y, the limit where that is 0 times infinity; 0 at x = y = 0, as in JAX."""
    one = xp.ones_like(y)
    z, x = z * one, x * one  # arrays, where they are numbers
    if is_complex(z.dtype):
        return z * xp.log(xp.where(x == 0, xp.ones_like(x + y), x))
    at_zero = xp.where(x == 0, xp.where(y < 0, x, one), x)
    return z * xp.log(xp.where(x > 0, xp.where(z == 0, one, x), at_zero))


def _second_of_power(xp: Any, x: Any, y: Any) -> Any:
    if is_complex(x.dtype):
        factor, slope = y, xp.power_slope(x, y - 1)
    else:
        # With a small exponent x**(y - 2) may overflow where y (y - 1) x**(y - 2) does not.
        small, one = (xp.abs(y) < 1) & (x > 0) & (x < math.inf), xp.ones_like(x * y)
        factor = xp.where(small, (y - 1) / xp.where(small, x, one), y)
        slope = xp.power_slope(x, xp.where(small, y, y - 1))
    return vanishing(xp, factor, xp.where(y == 0, xp.zeros_like(slope), slope))


def _mixed_of_power(xp: Any, x: Any, y: Any) -> Any:
    power = xp.pow(x, y - 1)
    one = xp.ones_like(x)
    positive = one if is_complex(x.dtype) else xp.where(x >= 0, one, x)
    return vanishing(xp, 1 + y * xp.log(xp.where(y == 0, positive, x)), power)


power_slope = binary(
    Elementwise(
        "power_slope",
        _power_slope,
        (lambda xp, _d, x, y: _second_of_power(xp, x, y), lambda xp, _d, x, y: _mixed_of_power(xp, x, y)),
    ),
    True,
    DOC.format("y x**(y - 1)"),
)
power_log = Elementwise(
    "power_log",
    _power_log,
    (
        None,
        lambda xp, _d, _z, x, y: _mixed_of_power(xp, x, y),
        lambda xp, d, _z, x, _y: d * xp.log(xp.where(d == 0, xp.ones_like(x), x)),
    ),
)
"""Compute z log(x) for z = x**y element by element, the derivative of the power in y."""


publish(globals(), __all__)
