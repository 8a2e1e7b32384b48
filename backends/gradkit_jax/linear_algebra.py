"""JAX's linear algebra where it does otherwise than NumPy's."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy

__all__ = ["LinearAlgebra", "det"]

SOLVERS = frozenset(
    "cholesky cond det eig eigh eigvals eigvalsh inv lstsq matrix_rank pinv qr slogdet solve svd svdvals".split()
)
"""What LAPACK computes, which has no numbers of 16 bits."""


class LinearAlgebra:
    """`jax.numpy.linalg`, with NumPy's error for dtypes that it has no solvers for."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(jax.numpy.linalg, name)
        if name in SOLVERS:
            found = _of_wide_numbers(found)
        setattr(self, name, found)
        return found


def _of_wide_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def checked(*args: Any, **params: Any) -> Any:
        for arg in args:
            if getattr(arg, "dtype", None) in (jax.numpy.float16, jax.numpy.bfloat16):
                raise TypeError(f"array type {arg.dtype} is unsupported in linalg")
        return function(*args, **params)

    return checked


def _from_triangle(x: Any) -> Any:
    # JAX's is exp(log(abs(det))): in float32 its error grows with the logarithm. The diagonal of U has the same
    # product, which may leave the range of numbers on the way, where the logarithm does not.
    sign, logarithm = jax.numpy.linalg.slogdet(x)
    triangle, _, _ = jax.lax.linalg.lu(x)
    product = jax.numpy.abs(jax.numpy.diagonal(triangle, axis1=-2, axis2=-1)).prod(axis=-1)
    within = jax.numpy.isfinite(product) & (product > 0)
    return sign * jax.numpy.where(within, product, jax.numpy.exp(logarithm)).astype(x.dtype)


def _jvp_of_det(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    """Return JAX's own derivative, which singular matrices have as well."""
    return _det(*primals), jax.jvp(jax.numpy.linalg.det, primals, tangents)[1]


_det: Any = jax.custom_jvp(jax.jit(_from_triangle))
_det.defjvp(_jvp_of_det)

det = _of_wide_numbers(lambda x: jax.numpy.linalg.det(x) if x.shape[-1] <= 3 else _det(x))
"""Return the determinants of square matrices; of up to three rows by JAX's own formula."""
