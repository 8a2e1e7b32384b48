"""Special functions that random numbers are made with: erf and its inverse, and the fused multiply-add.

They have the values of XLA's functions, so that a random number is JAX's: `erf` exactly in float32, `erf_inv` to
rounding.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

from gradkit.core import ONE, Array, Elementwise
from gradkit.core.calls import apply, unary
from gradkit.core.promotion import FLOATING

__all__ = ["erf", "erf_inv", "fused_multiply_add"]

Raw = Any


def polynomial(x: Raw, coefficients: Sequence[float]) -> Raw:
    """Evaluate a polynomial by Horner's rule, the highest power first."""
    result = coefficients[0] * x + coefficients[1]
    for coefficient in coefficients[2:]:
        result = result * x + coefficient
    return result


# The fused multiply-add


def _fused_multiply_add(xp: Any, x: Raw, y: Raw, z: Raw) -> Raw:
    if z.dtype == xp.float64:
        fused = _fused_in_float64(xp, x, y, z)
        # The exact products and sums overflow somewhat earlier than the plain ones.
        return xp.where(xp.isfinite(fused), fused, x * y + z)
    if z.dtype == xp.float32:
        # The product of two float32 numbers is exact in float64.
        product = xp.astype(x, xp.float64) * xp.astype(y, xp.float64)
        return xp.astype(product + xp.astype(z, xp.float64), xp.float32)
    return x * y + z


def _fused_in_float64(xp: Any, x: Raw, y: Raw, z: Raw) -> Raw:
    product, product_error = _exact_product(x, y)
    low, low_error = _exact_sum(z, product_error)
    high, high_error = _exact_sum(product, low)
    return high + (low_error + high_error)


def _exact_sum(x: Raw, y: Raw) -> tuple[Raw, Raw]:
    """Return the rounded sum and its error (Knuth, The Art of Computer Programming 2, section 4.2.2, theorem B)."""
    total = x + y
    part = total - x
    return total, (x - (total - part)) + (y - part)


def _exact_product(x: Raw, y: Raw) -> tuple[Raw, Raw]:
    """Return the rounded product and its error (Dekker, "A floating-point technique ...", 1971)."""
    product = x * y
    x_high, x_low = _halves(x)
    y_high, y_low = _halves(y)
    return product, ((x_high * y_high - product) + x_high * y_low + x_low * y_high) + x_low * y_low


def _halves(x: Raw) -> tuple[Raw, Raw]:
    """Split float64 numbers in two of 26 bits each (Veltkamp), whose products are exact."""
    scaled = x * (2.0**27 + 1)
    high = scaled - (scaled - x)
    return high, x - high


_fused = Elementwise(
    "fused_multiply_add", _fused_multiply_add, (lambda xp, _w, _x, y, _z: y, lambda xp, _w, x, _y, _z: x, ONE)
)


def fused_multiply_add(x: Any, y: Any, z: Any, /) -> Array:
    """Compute ``x * y + z`` with one rounding, as a processor's FMA instruction and XLA's compiled code do.

    Parameters
    ----------
    x, y, z : arrays
        Of floating dtype. They broadcast.

    Returns
    -------
    Array
        In float32 and float64 the sum is rounded twice, once to about twice the precision: in one case out of about
        2**29 (float32) or 2**52 (float64) it is the other neighbour of the exact value. In float16 it is ``x * y + z``
        with two roundings, since XLA does not fuse there.
    """
    return apply(_fused, (x, y, z), FLOATING)


# erf

ERF_NUMERATOR = (
    0.00022905065861350646,
    0.0034082910107109506,
    0.050955695062380861,
    0.18520832239976145,
    1.128379143519084,
)
ERF_DENOMINATOR = (
    -1.1791602954361697e-7,
    0.000023547966471313185,
    0.0010179625278914885,
    0.014070470171167667,
    0.11098505178285362,
    0.49746925110067538,
    1.0,
)
"""The rational approximation of erf(x) / x in x**2 for float32, from XLA and Eigen."""
ERF_ONE = 3.832506856900711
"""Where erf rounds to 1 in float32."""

ERF_SMALL = (
    (1.85777706184603153e-1, 3.16112374387056560, 1.13864154151050156e2, 3.77485237685302021e2, 3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)
ERFC_LARGE = (
    (
        2.15311535474403846e-8,
        5.64188496988670089e-1,
        8.88314979438837594,
        6.61191906371416295e1,
        2.98635138197400131e2,
        8.81952221241769090e2,
        1.71204761263407058e3,
        2.05107837782607147e3,
        1.23033935479799725e3,
    ),
    (
        1.0,
        1.57449261107098347e1,
        1.17693950891312499e2,
        5.37181101862009858e2,
        1.62138957456669019e3,
        3.29079923573345963e3,
        4.36261909014324716e3,
        3.43936767414372164e3,
        1.23033935480374942e3,
    ),
)
"""Cody's rational approximations for float64 ("Rational Chebyshev approximations for the error function", 1969)."""


def _erf(xp: Any, x: Raw) -> Raw:
    if x.dtype == xp.float64:
        return _erf_in_float64(xp, x)
    if x.dtype == xp.float32:
        return _erf_in_float32(xp, x)
    return xp.astype(_erf_in_float32(xp, xp.astype(x, xp.float32)), x.dtype)


def _erf_in_float64(xp: Any, x: Raw) -> Raw:
    size = xp.abs(x)
    small = xp.where(size <= 0.46875, x, xp.zeros_like(x))
    near = small * (polynomial(small * small, ERF_SMALL[0]) / polynomial(small * small, ERF_SMALL[1]))
    # Beyond 6 erf is 1.
    limited = xp.minimum(size, xp.full_like(x, 6.0))
    complement = xp.exp(-limited * limited) * polynomial(limited, ERFC_LARGE[0]) / polynomial(limited, ERFC_LARGE[1])
    return xp.where(size <= 0.46875, near, xp.sign(x) * (1 - complement))


def _erf_in_float32(xp: Any, x: Raw) -> Raw:
    limited = xp.where(xp.abs(x) > ERF_ONE, xp.sign(x), x)
    square = limited * limited
    numerator = limited * _fused_polynomial(xp, square, ERF_NUMERATOR)
    return xp.where(xp.abs(x) > ERF_ONE, limited, numerator / _fused_polynomial(xp, square, ERF_DENOMINATOR))


def _fused_polynomial(xp: Any, x: Raw, coefficients: Sequence[float]) -> Raw:
    """Evaluate a polynomial in float32 by Horner's rule with fused steps, as XLA's compiled code does.

    Every bit counts where `erf` bounds a truncated distribution: in its tail the inverse stretches one unit in the last
    place a hundredfold.
    """
    first, *rest = (struct.unpack("f", struct.pack("f", coefficient))[0] for coefficient in coefficients)
    wide = xp.astype(x, xp.float64)
    result = first
    for coefficient in rest:
        result = xp.astype(xp.astype(result * wide + coefficient, xp.float32), xp.float64)
    return xp.astype(result, xp.float32)


_erf_call = unary(Elementwise("erf", _erf, (lambda xp, _y, x: 2 / math.sqrt(math.pi) * xp.exp(-x * x),)), True)


def erf(x: Any) -> Array:
    r"""Compute the error function, :math:`\frac{2}{\sqrt\pi} \int_0^x e^{-t^2} dt`.

    Parameters
    ----------
    x : array
        Of real floating dtype, of any shape. Integers are converted to the default floating dtype.

    Returns
    -------
    Array
        Of the shape and dtype of `x`. float64: to two units in the last place; float32: XLA's values, to five.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> erf(jnp.asarray([-1.0, 0.0, 1.0]))
    Array([-0.84270084,  0.        ,  0.84270084], dtype=float32)
    """
    return _erf_call(x)


# The inverse of erf

SINGLE_CENTRE = (
    2.81022636e-08,
    3.43273939e-07,
    -3.5233877e-06,
    -4.39150654e-06,
    0.00021858087,
    -0.00125372503,
    -0.00417768164,
    0.246640727,
    1.50140941,
)
SINGLE_TAIL = (
    -0.000200214257,
    0.000100950558,
    0.00134934322,
    -0.00367342844,
    0.00573950773,
    -0.0076224613,
    0.00943887047,
    1.00167406,
    2.83297682,
)
DOUBLE_CENTRE = (
    -3.6444120640178196996e-21,
    -1.685059138182016589e-19,
    1.2858480715256400167e-18,
    1.115787767802518096e-17,
    -1.333171662854620906e-16,
    2.0972767875968561637e-17,
    6.6376381343583238325e-15,
    -4.0545662729752068639e-14,
    -8.1519341976054721522e-14,
    2.6335093153082322977e-12,
    -1.2975133253453532498e-11,
    -5.4154120542946279317e-11,
    1.051212273321532285e-09,
    -4.1126339803469836976e-09,
    -2.9070369957882005086e-08,
    4.2347877827932403518e-07,
    -1.3654692000834678645e-06,
    -1.3882523362786468719e-05,
    0.0001867342080340571352,
    -0.00074070253416626697512,
    -0.0060336708714301490533,
    0.24015818242558961693,
    1.6536545626831027356,
)
DOUBLE_MIDDLE = (
    2.2137376921775787049e-09,
    9.0756561938885390979e-08,
    -2.7517406297064545428e-07,
    1.8239629214389227755e-08,
    1.5027403968909827627e-06,
    -4.013867526981545969e-06,
    2.9234449089955446044e-06,
    1.2475304481671778723e-05,
    -4.7318229009055733981e-05,
    6.8284851459573175448e-05,
    2.4031110387097893999e-05,
    -0.0003550375203628474796,
    0.00095328937973738049703,
    -0.0016882755560235047313,
    0.0024914420961078508066,
    -0.0037512085075692412107,
    0.005370914553590063617,
    1.0052589676941592334,
    3.0838856104922207635,
)
DOUBLE_TAIL = (
    -2.7109920616438573243e-11,
    -2.5556418169965252055e-10,
    1.5076572693500548083e-09,
    -3.7894654401267369937e-09,
    7.6157012080783393804e-09,
    -1.4960026627149240478e-08,
    2.9147953450901080826e-08,
    -6.7711997758452339498e-08,
    2.2900482228026654717e-07,
    -9.9298272942317002539e-07,
    4.5260625972231537039e-06,
    -1.9681778105531670567e-05,
    7.5995277030017761139e-05,
    -0.00021503011930044477347,
    -0.00013871931833623122026,
    1.0103004648645343977,
    4.8499064014085844221,
)
"""The polynomials of Giles ("Approximating the erfinv function", GPU Computing Gems, Jade Edition, 2011)."""


def _erf_inv(xp: Any, x: Raw) -> Raw:
    if x.dtype not in (xp.float32, xp.float64):
        return xp.astype(_erf_inv(xp, xp.astype(x, xp.float32)), x.dtype)
    size = xp.abs(x)
    inside = xp.where(size < 1, x, xp.zeros_like(x))
    # Minus the logarithm of 1 - x**2 says how far out x is.
    w = -xp.log1p(-inside * inside)
    factor = _single_factor(xp, w) if x.dtype == xp.float32 else _double_factor(xp, w)
    beyond = xp.where(size == 1, xp.full_like(x, math.inf), xp.full_like(x, math.nan))
    return xp.where(size < 1, inside * factor, xp.sign(x) * beyond)


def _single_factor(xp: Any, w: Raw) -> Raw:
    return xp.where(w < 5, polynomial(w - 2.5, SINGLE_CENTRE), polynomial(xp.sqrt(w) - 3, SINGLE_TAIL))


def _double_factor(xp: Any, w: Raw) -> Raw:
    root = xp.sqrt(w)
    outer = xp.where(w < 16, polynomial(root - 3.25, DOUBLE_MIDDLE), polynomial(root - 5, DOUBLE_TAIL))
    return xp.where(w < 6.25, polynomial(w - 3.125, DOUBLE_CENTRE), outer)


_erf_inv_call = unary(
    Elementwise("erf_inv", _erf_inv, (lambda xp, y, _x: math.sqrt(math.pi) / 2 * xp.exp(y * y),)), True
)


def erf_inv(x: Any) -> Array:
    """Compute the inverse of the error function.

    Parameters
    ----------
    x : array
        Of real floating dtype, of any shape. Integers are converted to the default floating dtype.

    Returns
    -------
    Array
        Of the shape and dtype of `x`; infinite at -1 and 1, NaN beyond them.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> erf_inv(jnp.asarray([-1.0, 0.0, 0.5]))
    Array([      -inf, 0.        , 0.47693628], dtype=float32)
    """
    return _erf_inv_call(x)
