"""`scipy.special`'s functions: those of `gradkit.scipy.special`, and those that JAX does not have.

It is what SciPy finds as `gradkit.numpy.special`: so ``scipy.special.j0(x)`` of an Array is `j0` here, with its
derivative. Functions of distributions that count take the whole part of `k`, as SciPy's do.

Examples
--------
>>> import gradkit, gradkit.numpy as jnp, scipy.special
>>> gradkit.grad(lambda x: jnp.sum(scipy.special.j0(x)))(jnp.asarray([1.0, 2.0]))
Array([-0.44005057, -0.5767248 ], dtype=float32)
"""

from __future__ import annotations

import math
from typing import Any

from gradkit.core import Array
from gradkit.core.operands import as_array, require_inexact
from gradkit.numpy import abs, cbrt, cos, equal, exp, exp2, expm1, floor, log1p, sin, sinc, sqrt, square, where
from gradkit.primitives import scipy_special as primitive
from gradkit.primitives.scipy_special import (
    betaincc,
    betaincinv,
    binom,
    exprel,
    gammainccinv,
    gammaincinv,
    rgamma,
)
from gradkit.primitives.scipy_special.declaring import floating_together
from gradkit.scipy import special
from gradkit.scipy.special import *  # noqa: F403
from gradkit.scipy.special import betainc, gammainc, gammaincc, gammaln, ndtr

__all__ = [
    "bdtr", "bdtrc", "bdtri", "betaincc", "betaincinv", "binom", "cbrt", "chdtr", "chdtrc", "chdtri", "cosdg", "cosm1",
    "cotdg", "ellipk", "ellipkm1", "exp2", "exp10", "exprel", "fdtr", "fdtrc", "fdtri", "gammainccinv", "gammaincinv",
    "gdtr", "gdtrc", "huber", "inv_boxcox", "inv_boxcox1p", "j0", "j1", "k0", "k0e", "k1", "k1e", "lpmv", "nbdtr",
    "nbdtrc", "nbdtri", "pdtr", "pdtrc", "pdtri", "pseudo_huber", "radian", "rgamma", "sinc", "sindg", "stdtr", "tandg",
    "y0", "y1", "yn",
]  # fmt: skip
__all__ += special.__all__

j0, j1, y0, y1, yn = (getattr(primitive, f"bessel_{name}") for name in "j0 j1 y0 y1 yn".split())
k0, k0e, k1, k1e = (getattr(primitive, f"bessel_{name}") for name in "k0 k0e k1 k1e".split())
ellipk, ellipkm1 = primitive.elliptic_k, primitive.elliptic_k_of_complement
sindg, cosdg = primitive.sin_of_degrees, primitive.cos_of_degrees
tandg, cotdg = primitive.tan_of_degrees, primitive.cot_of_degrees
lpmv = primitive.legendre


def exp10(x: Any) -> Array:
    """Compute 10**x."""
    result: Array = 10.0 ** require_inexact(as_array(x, "exp10"))
    return result


def cosm1(x: Any) -> Array:
    """Compute cos(x) - 1, without the loss of a small x."""
    array = require_inexact(as_array(x, "cosm1"))
    return where(abs(array) < 0.5, -2 * square(sin(array / 2)), cos(array) - 1)


def radian(d: Any, m: Any, s: Any) -> Array:
    """Return an angle of degrees, minutes and seconds in radians."""
    d, m, s = floating_together((d, m, s), "radian")
    angle: Array = (d + m / 60 + s / 3600) * (math.pi / 180)
    return angle


def huber(delta: Any, r: Any) -> Array:
    """Compute Huber's loss: r**2 / 2 up to delta, then linear; infinite where delta is negative."""
    delta, r = floating_together((delta, r), "huber")
    size = abs(r)
    loss = where(size <= delta, square(r) / 2, delta * (size - delta / 2))
    return where(delta < 0, math.inf, loss)


def pseudo_huber(delta: Any, r: Any) -> Array:
    """Compute delta**2 (sqrt(1 + (r / delta)**2) - 1); infinite where delta is negative, 0 where one of the two is."""
    delta, r = floating_together((delta, r), "pseudo_huber")
    nothing = equal(delta, 0) | (delta < 0)
    ratio = square(r / where(nothing, 1.0, delta))
    # sqrt(1 + q) - 1 without the loss of a small q
    loss = square(delta) * ratio / (sqrt(1 + ratio) + 1)
    return where(delta < 0, math.inf, where(nothing, 0.0, loss))


def inv_boxcox(y: Any, lmbda: Any) -> Array:
    """Compute (1 + lmbda y)**(1 / lmbda), the inverse of `boxcox`; exp(y) where `lmbda` is 0."""
    y, lmbda = floating_together((y, lmbda), "inv_boxcox")
    return exp(_log_inverse(y, lmbda))


def inv_boxcox1p(y: Any, lmbda: Any) -> Array:
    """Compute (1 + lmbda y)**(1 / lmbda) - 1, the inverse of `boxcox1p`; exp(y) - 1 where `lmbda` is 0."""
    y, lmbda = floating_together((y, lmbda), "inv_boxcox1p")
    return expm1(_log_inverse(y, lmbda))


def _log_inverse(y: Array, lmbda: Array) -> Array:
    nothing = equal(lmbda, 0)
    divisor = where(nothing, 1.0, lmbda)
    return where(nothing, y, log1p(lmbda * y) / divisor)


# Distributions


def bdtr(k: Any, n: Any, p: Any) -> Array:
    """Compute the probability of at most k of n events, each with probability p."""
    k, n, p = floating_together((k, n, p), "bdtr")
    k = floor(k)
    inner = (k >= 0) & (k < n)
    value = betainc(where(inner, n - k, 1.0), where(inner, k + 1, 1.0), 1 - p)
    return _probability(where(inner, value, where((k >= 0) & equal(k, n), 1.0, math.nan)), p)


def bdtrc(k: Any, n: Any, p: Any) -> Array:
    """Compute the probability of more than k of n events, each with probability p."""
    k, n, p = floating_together((k, n, p), "bdtrc")
    k = floor(k)
    inner = (k >= 0) & (k < n)
    value = betainc(where(inner, k + 1, 1.0), where(inner, n - k, 1.0), p)
    outer = where(k < 0, 1.0, where(equal(k, n), 0.0, math.nan))
    return _probability(where(inner, value, outer), p)


def bdtri(k: Any, n: Any, y: Any) -> Array:
    """Compute the probability of each event with which at most k of n events happen with probability y."""
    k, n, y = floating_together((k, n, y), "bdtri")
    k = floor(k)
    inner = (k >= 0) & (k < n)
    value = 1 - betaincinv(where(inner, n - k, 1.0), where(inner, k + 1, 1.0), y)
    return where(inner, value, math.nan)


def _probability(value: Array, p: Array) -> Array:
    return where((p >= 0) & (p <= 1), value, math.nan)


def nbdtr(k: Any, n: Any, p: Any) -> Array:
    """Compute the probability of at most k failures before n successes, each with probability p."""
    k, n, p = floating_together((k, n, p), "nbdtr")
    return betainc(n, floor(k) + 1, p)  # type: ignore[no-any-return]


def nbdtrc(k: Any, n: Any, p: Any) -> Array:
    """Compute the probability of more than k failures before n successes, each with probability p."""
    k, n, p = floating_together((k, n, p), "nbdtrc")
    return betainc(floor(k) + 1, n, 1 - p)  # type: ignore[no-any-return]


def nbdtri(k: Any, n: Any, y: Any) -> Array:
    """Compute the probability of a success with which `nbdtr` is y."""
    k, n, y = floating_together((k, n, y), "nbdtri")
    return betaincinv(n, floor(k) + 1, y)  # type: ignore[no-any-return]


def pdtr(k: Any, m: Any) -> Array:
    """Compute the probability of at most k events where m are expected."""
    k, m = floating_together((k, m), "pdtr")
    return where(k < 0, math.nan, gammaincc(where(k < 0, 1.0, floor(k) + 1), m))


def pdtrc(k: Any, m: Any) -> Array:
    """Compute the probability of more than k events where m are expected."""
    k, m = floating_together((k, m), "pdtrc")
    return where(k < 0, math.nan, gammainc(where(k < 0, 1.0, floor(k) + 1), m))


def pdtri(k: Any, y: Any) -> Array:
    """Compute how many events are expected where at most k happen with probability y."""
    k, y = floating_together((k, y), "pdtri")
    return gammainccinv(floor(k) + 1, y)  # type: ignore[no-any-return]


def chdtr(v: Any, x: Any) -> Array:
    """Compute the distribution function of chi-squared with v degrees of freedom."""
    v, x = floating_together((v, x), "chdtr")
    return gammainc(v / 2, x / 2)  # type: ignore[no-any-return]


def chdtrc(v: Any, x: Any) -> Array:
    """Compute 1 - `chdtr`."""
    v, x = floating_together((v, x), "chdtrc")
    return gammaincc(v / 2, x / 2)  # type: ignore[no-any-return]


def chdtri(v: Any, p: Any) -> Array:
    """Compute the x at which `chdtrc` is p."""
    v, p = floating_together((v, p), "chdtri")
    return 2 * gammainccinv(v / 2, p)  # type: ignore[no-any-return]


def gdtr(a: Any, b: Any, x: Any) -> Array:
    """Compute the distribution function of gamma with rate a and shape b."""
    a, b, x = floating_together((a, b, x), "gdtr")
    return where(x < 0, math.nan, gammainc(b, where(x < 0, 1.0, a * x)))


def gdtrc(a: Any, b: Any, x: Any) -> Array:
    """Compute 1 - `gdtr`."""
    a, b, x = floating_together((a, b, x), "gdtrc")
    return where(x < 0, math.nan, gammaincc(b, where(x < 0, 1.0, a * x)))


def fdtr(dfn: Any, dfd: Any, x: Any) -> Array:
    """Compute the distribution function of F with `dfn` and `dfd` degrees of freedom."""
    n, d, x = floating_together((dfn, dfd, x), "fdtr")
    inner = (x >= 0) & (x < math.inf)
    ratio = n * where(inner, x, 1.0)
    return where(inner, betainc(n / 2, d / 2, ratio / (d + ratio)), where(equal(x, math.inf), 1.0, math.nan))


def fdtrc(dfn: Any, dfd: Any, x: Any) -> Array:
    """Compute 1 - `fdtr`."""
    n, d, x = floating_together((dfn, dfd, x), "fdtrc")
    return where(x < 0, math.nan, betainc(d / 2, n / 2, d / (d + n * where(x < 0, 1.0, x))))


def fdtri(dfn: Any, dfd: Any, p: Any) -> Array:
    """Compute the x at which `fdtr` is p."""
    n, d, p = floating_together((dfn, dfd, p), "fdtri")
    share = betaincinv(n / 2, d / 2, p)
    x: Array = d * share / (n * (1 - share))
    return x


def stdtr(df: Any, t: Any) -> Array:
    """Compute the distribution function of Student's t with `df` degrees of freedom; `ndtr` where they are infinite."""
    df, t = floating_together((df, t), "stdtr")
    is_normal = equal(df, math.inf)
    df = where(is_normal, 1.0, df)
    size = square(t)
    close = size < df
    at_0 = size < 1e-24  # there a line is exact, and what it is made of below has an infinite slope
    far = where(close, df, size)
    beyond = betainc(df / 2, 0.5, df / (df + far)) / 2
    middle = where(at_0 | ~close, df / 2, size)
    near = betainc(0.5, df / 2, middle / (df + middle)) / 2
    tail = where(close, 0.5 - near, beyond)
    density = exp(gammaln((df + 1) / 2) - gammaln(df / 2)) / sqrt(math.pi * df)
    line = 0.5 + t * density * (1 - size * (df + 1) / (6 * df))
    lower = where(at_0, line, where(t < 0, tail, 1 - tail))
    return where(is_normal, ndtr(t), where(df > 0, lower, math.nan))
