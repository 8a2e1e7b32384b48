"""Distributions that are functions of uniform, normal and exponential numbers.

All take a `key`, a `shape` (by default that to which the parameters broadcast) and a `dtype` as `normal` does. They
give JAX's numbers, to rounding, and are differentiable in their parameters.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradkit.core import Array
from gradkit.core.operands import as_array, cast
from gradkit.core.sharding import refuse_sharding
from gradkit.errors import ShapeError
from gradkit.primitives import decompositions
from gradkit.primitives.elementwise import conj, exp, floor, log, log1p, sqrt, square, where
from gradkit.primitives.manipulation import broadcast_to, matrix_transpose, reshape
from gradkit.primitives.reductions import sum
from gradkit.random.arguments import (
    Shape,
    checked_shape,
    drawing,
    floating_dtype,
    integer_dtype,
    one_key,
    parameters_for,
)
from gradkit.random.choices import bernoulli
from gradkit.random.floats import exponential, normal, uniform
from gradkit.random.keys import split

__all__ = [
    "double_sided_maxwell", "geometric", "lognormal", "maxwell", "multivariate_normal", "orthogonal", "pareto",
    "rademacher", "rayleigh", "triangular", "wald", "weibull_min",
]  # fmt: skip


def rademacher(key: Array, shape: Shape = (), dtype: Any = None, *, out_sharding: None = None) -> Array:
    """Draw -1 or 1 with equal probability.

    Examples
    --------
    >>> import gradkit
    >>> gradkit.random.rademacher(gradkit.random.key(0), (4,)).tolist()
    [-1, -1, 1, 1]
    """
    refuse_sharding(out_sharding, "rademacher")
    name = integer_dtype(dtype, "rademacher")
    signs: Array = 2 * cast(bernoulli(key, 0.5, checked_shape(shape, "rademacher")), name) - 1
    return signs


def lognormal(
    key: Array, sigma: Any = 1.0, shape: Shape | None = None, dtype: Any = None, *, out_sharding: None = None
) -> Array:
    """Draw numbers whose logarithm is normal with standard deviation `sigma`: exp(sigma z) of a normal z."""
    key, sizes, name, (sigma,) = parameters_for("lognormal", key, shape, dtype, out_sharding, sigma=sigma)
    return exp(normal(key, sizes, name) * sigma)


def maxwell(key: Array, shape: Shape = (), dtype: Any = None, *, out_sharding: None = None) -> Array:
    """Draw from the Maxwell distribution of scale 1: the length of a vector of three normal numbers."""
    key, sizes, name = drawing("maxwell", key, shape, dtype, out_sharding)
    return sqrt(sum(square(normal(key, (*sizes, 3), name)), axis=-1))


def double_sided_maxwell(key: Array, loc: Any, scale: Any, shape: Shape = (), dtype: Any = None) -> Array:
    """Draw from the Maxwell distribution with a random sign, times `scale` and plus `loc`.

    Parameters
    ----------
    key : key
        The random key.
    loc, scale : number or array
        The center and the scale.
    shape : int or tuple of int
        Axes of the result in front of those to which the parameters broadcast.
    dtype : dtype, optional
        A floating dtype.
    """
    key, sizes, name, (loc, scale) = parameters_for(
        "double_sided_maxwell", key, None, dtype, None, loc=loc, scale=scale
    )
    sizes = checked_shape(shape, "double_sided_maxwell") + sizes
    lengths, signs = split(key)
    drawn: Array = cast(rademacher(signs, sizes), name) * maxwell(lengths, sizes, name) * scale + loc
    return drawn


def rayleigh(
    key: Array, scale: Any, shape: Shape | None = None, dtype: Any = None, *, out_sharding: None = None
) -> Array:
    """Draw from the Rayleigh distribution, scale sqrt(-2 log u) of a uniform u."""
    key, sizes, name, (scale,) = parameters_for("rayleigh", key, shape, dtype, out_sharding, scale=scale)
    drawn: Array = sqrt(log(uniform(key, sizes, name)) * -2.0) * scale
    return drawn


def pareto(key: Array, b: Any, shape: Shape | None = None, dtype: Any = None, *, out_sharding: None = None) -> Array:
    """Draw from the Pareto distribution of shape `b` above 1, exp(e / b) of an exponential e."""
    key, sizes, name, (b,) = parameters_for("pareto", key, shape, dtype, out_sharding, b=b)
    return exp(exponential(key, sizes, name) / b)


def weibull_min(key: Array, scale: Any, concentration: Any, shape: Shape = (), dtype: Any = None) -> Array:
    """Draw from the Weibull distribution, scale (-log(1 - u)) ** (1 / concentration) of a uniform u.

    Parameters
    ----------
    key : key
        The random key.
    scale, concentration : number or array
        The parameters, above 0. They broadcast with what is drawn.
    shape : int or tuple of int
        The shape of what is drawn.
    dtype : dtype, optional
        A floating dtype.
    """
    key, _, name, (scale, concentration) = parameters_for(
        "weibull_min", key, None, dtype, None, scale=scale, concentration=concentration
    )
    u = uniform(key, shape, name)
    drawn: Array = (-log1p(-u)) ** (1.0 / concentration) * scale
    return drawn


def triangular(
    key: Array,
    left: Any,
    mode: Any,
    right: Any,
    shape: Shape | None = None,
    dtype: Any = None,
    *,
    out_sharding: None = None,
) -> Array:
    """Draw from the triangular distribution between `left` and `right`, whose density is largest at `mode`."""
    key, sizes, name, (left, mode, right) = parameters_for(
        "triangular", key, shape, dtype, out_sharding, left=left, mode=mode, right=right
    )
    u = uniform(key, sizes, name)
    rising = left + sqrt(u * (right - left) * (mode - left))
    falling = right - sqrt((1.0 - u) * (right - left) * (right - mode))
    return where(u < (mode - left) / (right - left), rising, falling)


def geometric(key: Array, p: Any, shape: Shape | None = None, dtype: Any = None, *, out_sharding: None = None) -> Array:
    """Draw the number of trials up to the first success, whose probability is `p` each time: integers from 1.

    Examples
    --------
    >>> import gradkit
    >>> gradkit.random.geometric(gradkit.random.key(0), 0.3, (4,)).tolist()
    [1, 1, 4, 3]
    """
    refuse_sharding(out_sharding, "geometric")
    result = integer_dtype(dtype, "geometric")
    key, sizes, name, (p,) = parameters_for("geometric", key, shape, None, None, p=p)
    trials = floor(log(uniform(key, sizes, name, 2.0**-23 if name == "float32" else 2.0**-52)) / log1p(-p)) + 1.0
    return cast(trials, result)


def wald(key: Array, mean: Any, shape: Shape | None = None, dtype: Any = None, *, out_sharding: None = None) -> Array:
    """Draw from the Wald (inverse Gaussian) distribution of scale 1 (Michael, Schucany and Haas 1976)."""
    key, sizes, name, (mean,) = parameters_for("wald", key, shape, dtype, out_sharding, mean=mean)
    normal_key, uniform_key = split(key)
    y = square(normal(normal_key, sizes, name))
    x = mean + square(mean) * y / 2.0 - mean / 2.0 * sqrt(4.0 * mean * y + square(mean) * square(y))
    return where(uniform(uniform_key, sizes, name) <= mean / (mean + x), x, square(mean) / x)


def multivariate_normal(
    key: Array,
    mean: Any,
    cov: Any,
    shape: Shape | None = None,
    dtype: Any = None,
    method: str = "cholesky",
    *,
    out_sharding: None = None,
) -> Array:
    """Draw vectors from a multivariate normal distribution, mean + A z of a normal z, where A A^T is the covariance.

    Parameters
    ----------
    key : key
        The random key.
    mean : array, shape (..., n)
        The mean.
    cov : array, shape (..., n, n)
        The covariance.
    shape : int or tuple of int, optional
        The shape of the result without its last axis; by default that to which the parameters' batches broadcast.
    dtype : dtype, optional
        A floating dtype.
    method : {"cholesky", "eigh", "svd"}
        How A is found. The last two take a singular covariance.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> gradkit.random.multivariate_normal(gradkit.random.key(0), jnp.zeros(2), jnp.eye(2), (5,)).shape
    (5, 2)
    """
    refuse_sharding(out_sharding, "multivariate_normal")
    if method not in ("cholesky", "eigh", "svd"):
        raise ValueError(f"multivariate_normal: method must be one of 'cholesky', 'eigh' and 'svd', got {method!r}.")
    key = one_key(key, "multivariate_normal")
    name = floating_dtype(dtype, "multivariate_normal")
    mean, cov = (cast(as_array(a, "multivariate_normal"), name) for a in (mean, cov))
    if mean.ndim < 1 or cov.shape[-2:] != mean.shape[-1:] * 2:
        raise ShapeError(
            f"multivariate_normal: expected a mean of shape (..., n) and a covariance of shape (..., n, n), got "
            f"{mean.shape} and {cov.shape}."
        )
    batch = np.broadcast_shapes(mean.shape[:-1], cov.shape[:-2])
    sizes = batch if shape is None else checked_shape(shape, "multivariate_normal")
    if shape is not None and np.broadcast_shapes(sizes, batch) != sizes:
        raise ShapeError(f"multivariate_normal: the parameters' batch {batch} must broadcast to the shape {sizes}.")
    if method == "cholesky":
        factor = decompositions.cholesky(_symmetrize(cov))
    elif method == "eigh":
        values, vectors = decompositions.eigh(_symmetrize(cov))
        factor = vectors * sqrt(values)[..., None, :]
    else:
        vectors, values, _ = decompositions.svd(cov, full_matrices=True)
        factor = vectors * sqrt(values)[..., None, :]
    z = normal(key, (*sizes, mean.shape[-1]), name)
    drawn: Array = mean + (factor @ z[..., None])[..., 0]
    return drawn


def _symmetrize(x: Array) -> Array:
    return (x + matrix_transpose(conj(x))) / 2


def orthogonal(
    key: Array, n: int, shape: Shape = (), dtype: Any = None, m: int | None = None, *, out_sharding: None = None
) -> Array:
    """Draw orthogonal matrices, uniformly (Mezzadri 2007): the Q of normal matrices, its columns' signs made R's.

    Parameters
    ----------
    key : key
        The random key.
    n : int
        The number of rows.
    shape : int or tuple of int
        The batch of matrices.
    dtype : dtype, optional
        A floating or complex dtype.
    m : int, optional
        The number of columns, by default `n`. Then the smaller of the two axes is orthonormal.

    Returns
    -------
    Array, shape (*shape, n, m)
        JAX's matrices, to rounding.
    """
    refuse_sharding(out_sharding, "orthogonal")
    sizes = checked_shape(shape, "orthogonal")
    columns = n if m is None else m
    low, high = sorted((n, columns))
    z = normal(key, (*sizes, high, low), dtype)
    q, r = decompositions.qr(z, mode="reduced")
    d = reshape(r, (*sizes, low * low))[..., :: low + 1]
    q = q * broadcast_to(where(d == 0, 1.0, d / where(d == 0, 1.0, abs(d)))[..., None, :], q.shape)
    drawn: Array = q if n >= columns else matrix_transpose(conj(q))
    return drawn
