"""Discrete distributions: the logarithm of the probability mass of each, and what else JAX has of it."""

from __future__ import annotations

import math
from typing import Any

from gradkit.core import Array
from gradkit.core.calls import as_array, require_inexact
from gradkit.numpy import arange, astype, equal, exp, floor, isnan, log, log1p, not_equal, round, sum, where
from gradkit.primitives import xlog1py, xlogy
from gradkit.primitives.scipy_special import betaln, floating_together, gammaincc, gammaln
from gradkit.scipy.stats.distribution import Distribution

__all__ = ["bernoulli", "betabinom", "binom", "geom", "multinomial", "nbinom", "poisson"]


class Discrete(Distribution):
    """A distribution on integers, which has a location and no scale; JAX's formulas want it beside `k`."""

    has_scale = False

    def _function(self, kind: str, formula: Any) -> Any:
        if kind == "entropy" or (self.__name__ == "bernoulli" and kind in ("cdf", "ppf")):
            defaults: tuple[tuple[str, float], ...] = (("loc", 0),) if kind == "entropy" else ()
        else:
            defaults = (("loc", 0),)
        signature = self._signature("q" if kind == "ppf" else "k", defaults)
        if kind == "entropy":
            signature = signature.replace(parameters=list(signature.parameters.values())[1:])

        def function(*args: Any, **kwargs: Any) -> Array:
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            return formula(*floating_together(list(given.arguments.values()), f"{self.__name__}.{kind}"))  # type: ignore[no-any-return]

        return self._named(function, kind, signature)


def _inside(outside: Array, x: Array, there: float = 0.0) -> Array:
    """Return `x`, and a harmless value outside the support."""
    return where(outside, there, x)


def _poisson_logpmf(k: Array, mu: Array, loc: Array) -> Array:
    outside = (k - loc < 0) | not_equal(round(k), k)
    x = _inside(outside, k - loc)
    return where(outside, -math.inf, xlogy(x, mu) - gammaln(x + 1) - mu)


def _poisson_cdf(k: Array, mu: Array, loc: Array) -> Array:
    outside = k - loc < 0
    return where(outside, 0.0, gammaincc(floor(1 + _inside(outside, k - loc)), mu))


def _poisson_entropy(mu: Array, loc: Array) -> Array:
    """Sum up to where the terms vanish; for a large `mu` by the first terms of the asymptotic series."""
    mu = mu + 0 * loc
    few, many = (_entropy_of_terms(_inside(mu >= limit, mu), terms) for limit, terms in ((10, 35), (100, 250)))
    large = 0.5 * log(2 * math.pi * math.e * _inside(mu < 100, mu, 1.0)) - 1 / (12 * _inside(mu < 100, mu, 1.0))
    return where(equal(mu, 0), 0.0, where(mu < 10, few, where(mu < 100, many, large)))


def _entropy_of_terms(mu: Array, terms: int) -> Array:
    k = astype(arange(terms, device=mu.device), mu.dtype)
    positive = _inside(mu <= 0, mu, 1.0)[..., None]
    # Of p log p, where p underflows to 0, the derivative is 0; that of entr(p) would be infinite.
    logpmf = xlogy(k, positive) - gammaln(k + 1) - positive
    return -sum(exp(logpmf) * logpmf, axis=-1)


poisson = Discrete("poisson", "mu", logpmf=_poisson_logpmf, cdf=_poisson_cdf, entropy=_poisson_entropy)


def _bernoulli_logpmf(k: Array, p: Array, loc: Array) -> Array:
    outside = (k - loc < 0) | (k - loc > 1)
    x = _inside(outside, k - loc)
    return where(outside, -math.inf, xlogy(x, p) + xlog1py(1 - x, -p))


def _bernoulli_cdf(k: Array, p: Array) -> Array:
    valid = (p >= 0) & (p <= 1) & ~isnan(k)
    return where(valid, where(k < 0, 0.0, where(k < 1, 1 - p, 1.0)), math.nan)


def _bernoulli_ppf(q: Array, p: Array) -> Array:
    valid = (p >= 0) & (p <= 1) & (q >= 0) & (q <= 1)
    return where(valid, where(q <= 1 - p, 0 * q, 1.0), math.nan)


bernoulli = Discrete("bernoulli", "p", logpmf=_bernoulli_logpmf, cdf=_bernoulli_cdf, ppf=_bernoulli_ppf)


def _geom_logpmf(k: Array, p: Array, loc: Array) -> Array:
    x = k - loc
    return where(x <= 0, -math.inf, xlog1py(x - 1, -p) + log(p))


geom = Discrete("geom", "p", logpmf=_geom_logpmf)


def _binom_logpmf(k: Array, n: Array, p: Array, loc: Array) -> Array:
    outside = (k < loc) | (k >= loc + n + 1)
    y = _inside(outside, k - loc)
    powers = xlogy(y, p) + xlog1py(n - y, -p)
    choices = gammaln(n + 1) - gammaln(y + 1) - gammaln(n - y + 1)
    certain = (equal(y, 0) & equal(n, 0)) | equal(powers, 0)
    return where(outside, -math.inf, where(certain, 0.0, choices + powers))


binom = Discrete("binom", "n p", logpmf=_binom_logpmf)


def _nbinom_logpmf(k: Array, n: Array, p: Array, loc: Array) -> Array:
    outside = k < loc
    y = _inside(outside, k - loc)
    value = gammaln(y + n) - gammaln(n) - gammaln(y + 1) + xlogy(n, p) + xlogy(y, 1 - p)
    return where(outside, -math.inf, value)


nbinom = Discrete("nbinom", "n p", logpmf=_nbinom_logpmf)


def _betabinom_logpmf(k: Array, n: Array, a: Array, b: Array, loc: Array) -> Array:
    y = floor(k) - loc
    outside = (y < -loc) | (y > n) | (y + a <= 0)
    y = _inside(outside, y)
    value = -log1p(n) - betaln(n - y + 1, y + 1) + betaln(y + a, n - y + b) - betaln(a, b)
    value = where(equal(y, 0) & equal(n, 0), 0.0, value)
    return where((n < 0) | (a <= 0) | (b <= 0), math.nan, where(outside, -math.inf, value))


betabinom = Discrete("betabinom", "n a b", logpmf=_betabinom_logpmf)


class Multinomial(Distribution):
    """The multinomial distribution: counts of `n` draws, along the last axis."""

    def logpmf(self, x: Any, n: Any, p: Any) -> Array:
        """Compute the logarithm of the probability mass.

        Parameters
        ----------
        x : array of int, shape (..., k)
            The counts.
        n : array of int
            The number of draws.
        p : array, shape (..., k)
            The probabilities.

        Returns
        -------
        Array, shape (...)
        """
        counts, draws, probabilities = as_array(x, "x"), as_array(n, "n"), require_inexact(as_array(p, "p"))
        if counts.dtype.kind not in "iu":
            raise ValueError(f"x and n must be of integer type; got x.dtype={counts.dtype}, n.dtype={draws.dtype}")
        counts, draws = astype(counts, probabilities.dtype), astype(draws, probabilities.dtype)
        value = gammaln(draws + 1) + sum(xlogy(counts, probabilities) - gammaln(counts + 1), axis=-1)
        return where(equal(sum(counts, axis=-1), draws), value, -math.inf)

    def pmf(self, x: Any, n: Any, p: Any) -> Array:
        """Compute the probability mass; see `logpmf`."""
        return exp(self.logpmf(x, n, p))


multinomial = Multinomial("multinomial")
