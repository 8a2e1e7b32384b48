"""`jax.scipy.special`'s functions, with derivatives.

They need SciPy (``pip install 'gradkit[scipy]'``), or CuPy on a GPU, but for those that are made of other functions:
`entr`, `erf`, `erfinv`, `expit`, `kl_div`, `log_softmax`, `logit`, `logsumexp`, `rel_entr`, `softmax`, `xlogy`,
`xlog1py`, `boxcox` and `boxcox1p`.

Examples
--------
>>> import gradkit, gradkit.numpy as jnp
>>> gammaln(jnp.asarray([1.0, 5.0]))
Array([0.       , 3.1780539], dtype=float32)
>>> gradkit.grad(digamma)(1.0)
Array(1.644934, dtype=float32)
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradkit.backend import scipy_special
from gradkit.core import Array
from gradkit.core.operands import as_array, require_inexact
from gradkit.core.promotion import FLOATING, default_dtype, is_complex
from gradkit.numpy import asarray, astype, equal, exp, full_like, isinf, where
from gradkit.primitives import scipy_special as primitive
from gradkit.primitives import sigmoid
from gradkit.primitives.axes import normalize_axes
from gradkit.primitives.gamma_differences import log_choices
from gradkit.primitives.log_sums import logsumexp
from gradkit.primitives.losses import log_softmax as bind_log_softmax
from gradkit.primitives.power_transforms import power_transform, power_transform_1p
from gradkit.primitives.relative_entropies import divergence, relative_entropy
from gradkit.primitives.scipy_special import (
    betainc,
    betaln,
    dawsn,
    digamma,
    erfc,
    erfcx,
    exp1,
    expi,
    expn,
    gamma,
    gammainc,
    gammaincc,
    gammaln,
    gammasgn,
    hyp1f1,
    hyp2f1,
    log_ndtr,
    logit,
    ndtr,
    ndtri,
    owens_t,
    poch,
    spence,
    xlog1py,
    xlogy,
)
from gradkit.primitives.scipy_special.declaring import floating_together
from gradkit.primitives.special import erf, erf_inv

__all__ = [
    "bernoulli", "beta", "betainc", "betaln", "boxcox", "boxcox1p", "comb", "dawsn", "digamma", "entr", "erf", "erfc",
    "erfcx", "erfinv", "exp1", "expi", "expit", "expn", "factorial", "fresnel", "gamma", "gammainc", "gammaincc",
    "gammaln", "gammasgn", "hyp1f1", "hyp2f1", "i0", "i0e", "i1", "i1e", "kl_div", "log_ndtr", "log_softmax",
    "loggamma", "logit", "logsumexp", "multigammaln", "ndtr", "ndtri", "owens_t", "poch", "polygamma", "psi",
    "rel_entr", "sici", "softmax", "spence", "xlog1py", "xlogy", "zeta",
]  # fmt: skip

Axis = int | Sequence[int] | None

expit = sigmoid
erfinv = erf_inv
i0 = primitive.bessel_i0
i0e = primitive.bessel_i0e
i1 = primitive.bessel_i1
i1e = primitive.bessel_i1e


psi = digamma  # SciPy's other name for it


def zeta(x: Any, q: Any = None) -> Array:
    """Compute the Hurwitz zeta function, the sum of ``(k + q)**-x`` over k = 0, 1, ...

    Its derivative with respect to `x` is not supported.
    """
    if q is None:
        raise NotImplementedError("Riemann zeta function not implemented; pass q to compute the Hurwitz Zeta function.")
    return primitive.zeta(x, q)  # type: ignore[no-any-return]


def polygamma(n: Any, x: Any) -> Array:
    """Compute the n-th derivative of `digamma` at `x`.

    Parameters
    ----------
    n : array of int
        The order.
    x : array
        Of real floating dtype; it broadcasts with `n`.
    """
    order = as_array(n, "polygamma")
    if order.dtype.kind not in "iu":
        raise ValueError(f"Argument `n` to polygamma must be of integer type. Got dtype {order.dtype}.")
    array = _real(x, "polygamma")
    return primitive.polygamma(astype(order, array.dtype), array)  # type: ignore[no-any-return]


def loggamma(x: Any) -> Array:
    """Compute the logarithm of the gamma function; infinite at 0, NaN where x is negative."""
    array = _floating(x, "loggamma")
    return where(array >= 0, gammaln(where(array >= 0, array, 1.0)), math.nan)


def beta(a: Any, b: Any) -> Array:
    """Compute the beta function, gamma(a) gamma(b) / gamma(a + b)."""
    a, b = _together("beta", a, b)
    return primitive.beta(a, b)  # type: ignore[no-any-return]


def factorial(n: Any, exact: bool = False) -> Array:
    """Compute n!, as gamma(n + 1); 0 where n is negative."""
    if exact:
        raise NotImplementedError("factorial with exact=True")
    array = _floating(n, "factorial")
    return where(array < 0, 0.0, exp(gammaln(where(array < 0, 0.0, array) + 1)))


def comb(N: Any, k: Any, *, repetition: bool = False) -> Array:
    """Compute the number of ways to choose k of N things; 0 where there is none."""
    n, k = _together("comb", N, k)
    if repetition:
        return where(equal(k, 0) & (n >= 0), 1.0, comb(n + k - 1, k))
    known = equal(n, n) & equal(k, k)
    possible = (k <= n) & (n >= 0) & (k >= 0)
    infinite = possible & isinf(n)
    finite = possible & ~infinite
    inner_n, inner_k = where(finite, n, 0.0), where(finite, k, 0.0)
    value = exp(log_choices(inner_k, inner_n - inner_k + 1))
    of_infinity = where(equal(k, 0), 1.0, where(k < n, math.inf, math.nan))
    value = where(infinite, astype(of_infinity, n.dtype), value)
    return where(known, where(possible, value, 0.0), n + k)


def multigammaln(a: Any, d: int) -> Array:
    """Compute the logarithm of the multivariate gamma function of dimension `d`."""
    d = operator.index(d)
    array = _floating(a, "multigammaln")
    result = full_like(array, d * (d - 1) / 4 * math.log(math.pi))
    for j in range(d):
        result = result + gammaln(array - j / 2)
    return result


def entr(x: Any) -> Array:
    """Compute -x log(x): 0 at 0, minus infinity where x is negative."""
    array = _real(x, "entr")
    return where(array < 0, -math.inf, -primitive.xlogx(where(array < 0, 1.0, array)))


def rel_entr(p: Any, q: Any) -> Array:
    """Compute p log(p / q): 0 where p is 0 and q is not negative, else infinite where one is not positive."""
    p, q = _together("rel_entr", p, q)
    positive = (p > 0) & (q > 0)
    value = relative_entropy(where(positive, p, 1.0), where(positive, q, 1.0))
    return where(positive, value, _beside(p, q, equal(p, 0) & (q >= 0), 0.0))


def kl_div(p: Any, q: Any) -> Array:
    """Compute p log(p / q) - p + q, the Kullback-Leibler divergence; see `rel_entr`."""
    p, q = _together("kl_div", p, q)
    positive = (p > 0) & (q > 0)
    value = divergence(where(positive, p, 1.0), where(positive, q, 1.0))
    return where(positive, value, _beside(p, q, equal(p, 0) & (q >= 0), q))


def _beside(p: Array, q: Array, nothing: Array, value: Any) -> Array:
    """Return `value` where `nothing` of p is there, NaN where p or q is NaN, else infinity."""
    known = equal(p, p) & equal(q, q)
    return where(known, where(nothing, value, full_like(p, math.inf)), p + q)


def boxcox(x: Any, lmbda: Any) -> Array:
    """Compute (x**lmbda - 1) / lmbda, or log(x) where `lmbda` is 0."""
    x, lmbda = _together("boxcox", x, lmbda)
    return power_transform(x, lmbda)


def boxcox1p(x: Any, lmbda: Any) -> Array:
    """Compute ((1 + x)**lmbda - 1) / lmbda, or log(1 + x) where `lmbda` is 0."""
    x, lmbda = _together("boxcox1p", x, lmbda)
    return power_transform_1p(x, lmbda)


def sici(x: Any) -> tuple[Array, Array]:
    """Compute the sine integral, and the cosine integral."""
    array = _real(x, "sici")
    return primitive.sine_integral(array), primitive.cosine_integral(array)


def fresnel(x: Any) -> tuple[Array, Array]:
    """Compute the Fresnel integrals: of sin(pi t**2 / 2), and of cos(pi t**2 / 2), for t from 0 to x."""
    array = _real(x, "fresnel")
    return primitive.fresnel_sine(array), primitive.fresnel_cosine(array)


def bernoulli(n: int) -> Array:
    """Return the Bernoulli numbers from the 0th to the n-th; the one at 1 is -1/2."""
    count = operator.index(n)
    if count < 0:
        raise ValueError("n must be a non-negative integer.")
    numbers = scipy_special("bernoulli")(max(count, 1))[: count + 1]
    return asarray(np.asarray(numbers), dtype=default_dtype(FLOATING))


def softmax(x: Any, /, *, axis: Axis = None) -> Array:
    """Compute exp(x) / sum(exp(x)) over axes (None: all), without overflow."""
    return exp(log_softmax(x, axis=axis))


def log_softmax(x: Any, /, *, axis: Axis = None) -> Array:
    """Compute x - log(sum(exp(x))) over axes (None: all), without overflow."""
    array = _floating(x, "log_softmax")
    return bind_log_softmax(array, axis=normalize_axes(axis, array.ndim, "log_softmax"))


# Arguments


def _floating(x: Any, caller: str) -> Array:
    return require_inexact(as_array(x, caller))


def _real(x: Any, caller: str) -> Array:
    array = _floating(x, caller)
    if is_complex(array.dtype):
        raise ValueError(f"{caller} does not support complex-valued inputs.")
    return array


def _together(caller: str, *args: Any) -> list[Array]:
    arrays = floating_together(args, caller)
    return [_real(array, caller) for array in arrays]
