"""Distributions of vectors."""

from __future__ import annotations

import math
from typing import Any

from gradkit import numpy as jnp
from gradkit.core import Array
from gradkit.primitives import xlogy
from gradkit.primitives.scipy_special import gammaln
from gradkit.primitives.scipy_special.declaring import floating_together
from gradkit.scipy.stats.distribution import Distribution, in_double

__all__ = ["dirichlet", "multivariate_normal"]

LOG_2PI = math.log(2 * math.pi)


class MultivariateNormal(Distribution):
    """The normal distribution of vectors."""

    def logpdf(self, x: Any, mean: Any, cov: Any, allow_singular: None = None) -> Array:
        """Compute the logarithm of the probability density.

        Parameters
        ----------
        x : array, shape (..., n)
            The vectors.
        mean : array, shape (..., n) or ()
            Their mean.
        cov : array, shape (..., n, n) or ()
            Their covariance; a number stands for that times the identity.
        allow_singular : None
            Not supported, as in JAX.

        Returns
        -------
        Array, shape (...)

        Raises
        ------
        ValueError
            If `mean` and `cov` do not fit.
        """
        if allow_singular is not None:
            raise NotImplementedError("allow_singular argument of multivariate_normal.logpdf")
        x, mean, cov = floating_together((x, mean, cov), "multivariate_normal.logpdf")
        if not mean.ndim:
            squared, n, log_determinant = jnp.square(x - mean) / cov, 1, jnp.log(cov)
        elif not cov.ndim:
            n = mean.shape[-1]
            squared, log_determinant = jnp.sum(jnp.square(x - mean), axis=-1) / cov, n * jnp.log(cov)
        else:
            n = mean.shape[-1]
            if cov.ndim < 2 or cov.shape[-2:] != (n, n):
                raise ValueError(
                    f"multivariate_normal.logpdf got incompatible shapes: mean {mean.shape}, cov {cov.shape}"
                )
            root = jnp.linalg.cholesky(cov)
            squared = jnp.sum(jnp.square(jnp.linalg.solve(root, (x - mean)[..., None])[..., 0]), axis=-1)
            log_determinant = 2 * jnp.sum(jnp.log(jnp.linalg.diagonal(root)), axis=-1)
        result: Array = -(squared + n * LOG_2PI + log_determinant) / 2
        return result

    def pdf(self, x: Any, mean: Any, cov: Any) -> Array:
        """Compute the probability density; see `logpdf`."""
        return jnp.exp(self.logpdf(x, mean, cov))


multivariate_normal = MultivariateNormal("multivariate_normal")


class Dirichlet(Distribution):
    """The Dirichlet distribution of probabilities."""

    def logpdf(self, x: Any, alpha: Any) -> Array:
        """Compute the logarithm of the probability density.

        Parameters
        ----------
        x : array, shape (n, ...) or (n - 1, ...)
            The probabilities along the first axis; the last one may be left out.
        alpha : array, shape (n,)
            The concentrations.

        Returns
        -------
        Array, shape (...)
            Minus infinity where `x` is no distribution.
        """
        x, alpha = floating_together((x, alpha), "dirichlet.logpdf")
        if alpha.ndim != 1:
            raise ValueError(f"`alpha` must be one-dimensional; got alpha.shape={alpha.shape}")
        if x.shape[0] not in (alpha.shape[0], alpha.shape[0] - 1):
            raise ValueError(
                f"`x` must have either the same number of entries as `alpha` or one entry fewer; got "
                f"x.shape={x.shape}, alpha.shape={alpha.shape}"
            )
        if x.shape[0] != alpha.shape[0]:
            x = jnp.concat([x, 1 - jnp.sum(x, axis=0, keepdims=True)], axis=0)
        wide, wide_x = in_double(alpha), in_double(x)
        normalizer = jnp.sum(gammaln(wide)) - gammaln(jnp.sum(wide))
        exponents = jnp.reshape(wide, (-1,) + (1,) * (x.ndim - 1)) - 1
        is_distribution = (jnp.min(x, axis=0) > 0) & (jnp.abs(jnp.sum(x, axis=0) - 1) < 1e-6)
        value = jnp.astype(jnp.sum(xlogy(exponents, wide_x), axis=0) - normalizer, x.dtype)
        known = ~jnp.isnan(jnp.sum(x, axis=0) + jnp.sum(alpha))
        return jnp.where(is_distribution | ~known, value, -math.inf)

    def pdf(self, x: Any, alpha: Any) -> Array:
        """Compute the probability density; see `logpdf`."""
        return jnp.exp(self.logpdf(x, alpha))


dirichlet = Dirichlet("dirichlet")
