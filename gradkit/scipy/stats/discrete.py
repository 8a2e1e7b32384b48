"""Discrete distributions: the logarithm of the probability mass of each, and what else JAX has of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gradkit.core import Array
from gradkit.core.operands import as_array, require_inexact
from gradkit.numpy import arange, astype, equal, exp, floor, isnan, log, min, not_equal, power, sum, where
from gradkit.primitives import log_binomial, log_poisson, log_share, stop_gradient, xlog1py, xlogy
from gradkit.primitives.scipy_special import gammaincc, gammaln
from gradkit.scipy.stats.distribution import OUTSIDE, Distribution, in_double

__all__ = ["bernoulli", "betabinom", "binom", "geom", "multinomial", "nbinom", "poisson"]


class Discrete(Distribution):
    """A distribution on integers, which has a location and no scale."""

    defaults = (("loc", 0),)
    variable = "k"

    def _defaults_of(self, kind: str) -> tuple[tuple[str, float], ...]:
        return () if self.__name__ == "bernoulli" and kind in ("cdf", "ppf") else self.defaults

    def _at_integers(self, kind: str, y: Array, result: Array) -> Array:
        """Between integers there is no mass."""
        return where(not_equal(floor(y), y), OUTSIDE[kind][0], result) if kind in ("logpmf", "pmf") else result


def _whole(n: Array) -> Array:
    return (n >= 0) & equal(floor(n), n)


def _is_probability(p: Array) -> Array:
    return (p >= 0) & (p <= 1)


# Poisson


def _poisson_entropy(mu: Array) -> Array:
    """Sum up to where the terms vanish; for a large `mu` by the first terms of the asymptotic series."""
    few, many = (_entropy_of_terms(where(mu >= limit, 0.0, mu), terms) for limit, terms in ((10, 35), (100, 250)))
    distant = where(mu < 100, 1.0, mu)
    large = 0.5 * log(2 * math.pi * math.e * distant) - 1 / (12 * distant)
    return where(equal(mu, 0), 0.0, where(mu < 10, few, where(mu < 100, many, large)))


def _entropy_of_terms(mu: Array, terms: int) -> Array:
    k = astype(arange(terms, device=mu.device), mu.dtype)
    positive = where(mu <= 0, 1.0, mu)[..., None]
    # Of p log p, where p underflows to 0, the derivative is 0; that of entr(p) would be infinite.
    logpmf = xlogy(k, positive) - gammaln(k + 1) - positive
    return -sum(exp(logpmf) * logpmf, axis=-1)


poisson = Discrete(
    "poisson",
    "mu",
    support=(0, math.inf),
    inside=0.0,
    valid=lambda mu: mu >= 0,
    indefinite=("logpmf",),
    logpmf=log_poisson,
    cdf=lambda k, mu: gammaincc(floor(1 + k), mu),
    entropy=_poisson_entropy,
)

# Draws with two outcomes


def _with_certain(formula: Callable[..., Array], certain: Callable[..., Array]) -> Callable[..., Array]:
    """Return a formula with another one for where p is 0 or 1: there logarithms have no slope.

    Parameters
    ----------
    formula, certain : callable
        ``formula(k, *n, p)``.
    """

    def with_certain(k: Array, *shapes: Array) -> Array:
        *others, p = shapes
        is_certain = equal(p, 0) | equal(p, 1)
        at_ends = certain(k, *others, where(is_certain, p, 0.5))
        found: Array = where(is_certain, at_ends, formula(k, *others, where(is_certain, 0.5, p)))
        return found

    return with_certain


def _bernoulli_of_powers(k: Array, p: Array) -> Array:
    result: Array = where(equal(k, 1), p, 1 - p)
    return result


def _bernoulli_logpmf(k: Array, p: Array) -> Array:
    result: Array = xlogy(k, p) + xlog1py(1 - k, -p)
    return result


def _geom_of_powers(k: Array, p: Array) -> Array:
    result: Array = p * power(1 - p, k - 1)
    return result


def _geom_logpmf(k: Array, p: Array) -> Array:
    at_once = equal(k, 1) & equal(p, 1)  # 0 times the logarithm of 0, whose slope is no number
    result: Array = xlog1py(k - 1, -where(at_once, 0.5, p)) + log(p)
    return result


def _binom_of_powers(k: Array, n: Array, p: Array) -> Array:
    far = (k > 3) & (n - k > 3)  # there neither it nor its slopes are other than 0, and the number of ways is too large
    ways = where(far, 0.0, exp(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)))
    result: Array = ways * power(p, k) * power(1 - p, n - k)
    return result


def _binom_logpmf(k: Array, n: Array, p: Array) -> Array:
    result: Array = log_binomial(k, n - k, p) + 0 * n  # of infinitely many draws there is none, whatever k: NaN
    return result


bernoulli = Discrete(
    "bernoulli",
    "p",
    support=(0, 1),
    inside=0.0,
    valid=_is_probability,
    logpmf=_with_certain(_bernoulli_logpmf, lambda k, p: log(_bernoulli_of_powers(k, p))),
    pmf=_with_certain(lambda k, p: exp(_bernoulli_logpmf(k, p)), _bernoulli_of_powers),
    cdf=lambda k, p: where(k < 1, 1 - p, 1.0),
    ppf=lambda q, p: where(equal(q, 0), -1.0, where(q <= 1 - p, 0.0, 1.0)),
)
geom = Discrete(
    "geom",
    "p",
    support=(1, math.inf),
    inside=1.0,
    valid=lambda p: (p > 0) & (p <= 1),
    logpmf=_geom_logpmf,
    pmf=_with_certain(lambda k, p: exp(_geom_logpmf(k, p)), _geom_of_powers),
)


binom = Discrete(
    "binom",
    "n p",
    support=lambda n, p: (0.0, n),
    inside=0.0,
    valid=lambda n, p: _whole(n) & _is_probability(p),
    logpmf=_binom_logpmf,
    pmf=_with_certain(lambda k, n, p: exp(_binom_logpmf(k, n, p)), _binom_of_powers),
)


def _nbinom_logpmf(k: Array, n: Array, p: Array) -> Array:
    result: Array = log_binomial(n, k, p) + log_share(n, k) + 0 * n  # NaN for infinitely many successes
    return result


nbinom = Discrete(
    "nbinom",
    "n p",
    support=(0, math.inf),
    inside=0.0,
    valid=lambda n, p: (n > 0) & (p > 0) & (p <= 1),
    indefinite=("logpmf",),
    logpmf=_nbinom_logpmf,
)


def _betabinom_logpmf(k: Array, n: Array, a: Array, b: Array) -> Array:
    """Divide negative binomial probabilities of k and n - k failures by that of n.

    That is so for every probability: it is taken at the one where none is far from its mode, which has no part in the
    derivative, and stated as that of a success or of a failure, whichever is smaller and has more digits.
    """
    few = n < a + b
    p = stop_gradient(where(few, n, a + b) / (a + b + n))

    def failures(k: Array, n: Array) -> Array:
        return log_binomial(where(few, k, n), where(few, n, k), p) + log_share(n, k)

    result: Array = failures(k, a) + failures(n - k, b) - failures(n, a + b)
    return result


betabinom = Discrete(
    "betabinom",
    "n a b",
    support=lambda n, a, b: (0.0, n),
    inside=0.0,
    valid=lambda n, a, b: _whole(n) & (a > 0) & (b > 0),
    logpmf=_betabinom_logpmf,
)


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
        dtype, probabilities = probabilities.dtype, in_double(probabilities)
        counts, draws = astype(counts, probabilities.dtype), astype(draws, probabilities.dtype)
        value = gammaln(draws + 1) + sum(xlogy(counts, probabilities) - gammaln(counts + 1), axis=-1)
        value = astype(value, dtype)
        possible = equal(sum(counts, axis=-1), draws) & (min(counts, axis=-1) >= 0)
        return where(isnan(sum(probabilities, axis=-1)), value, where(possible, value, -math.inf))

    def pmf(self, x: Any, n: Any, p: Any) -> Array:
        """Compute the probability mass; see `logpmf`."""
        return exp(self.logpmf(x, n, p))


multinomial = Multinomial("multinomial")
