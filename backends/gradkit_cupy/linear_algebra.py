"""CuPy's linear algebra as the standard has it: leading axes broadcast, and what has no result is NaN.

cuSOLVER says in a number of its own whether it succeeded, and CuPy does not read it unless it is asked to: reading it
waits for the GPU. What it computed until then looks like a result, so here it is read where the result would be wrong
rather than infinite.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import cupy
import cupyx
import numpy as np

__all__ = ["KERNELS"]

Raw = Any
Results = tuple[Raw, ...]


def _or_nan(function: Callable[..., Results]) -> Callable[..., Results]:
    """Run a function of matrices once more when it fails, on one after another, with NaN for those that fail."""

    def run(x: Raw, **params: Any) -> Results:
        with cupyx.errstate(linalg="raise"):
            try:
                return function(x, **params)
            except np.linalg.LinAlgError:
                return _one_by_one(functools.partial(function, **params), x)

    return run


def _one_by_one(function: Callable[..., Results], x: Raw) -> Results:
    batch = x.shape[:-2]
    parts = [_attempt(function, matrix) for matrix in x.reshape(-1, *x.shape[-2:])]
    return tuple(cupy.stack(results).reshape(batch + results[0].shape) for results in zip(*parts, strict=True))


def _attempt(function: Callable[..., Results], matrix: Raw) -> Results:
    try:
        return function(matrix)
    except np.linalg.LinAlgError:
        solvable = function(cupy.eye(*matrix.shape, dtype=matrix.dtype))
        return tuple(cupy.full_like(result, math.nan) for result in solvable)


def _single(function: Callable[..., Raw]) -> Callable[..., Raw]:
    guarded = _or_nan(lambda x: (function(x),))
    return lambda x: guarded(x)[0]


def solve(a: Raw, b: Raw) -> Raw:
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (x if x.shape[:-2] == batch else cupy.broadcast_to(x, batch + x.shape[-2:]) for x in (a, b))
    return cupy.linalg.solve(a, b)


def det(x: Raw) -> Raw:
    # CuPy's is exp(log(abs(det))): in float32 its error grows with the logarithm. The diagonal of R has the same
    # product, which may leave the range of numbers on the way, where the logarithm does not.
    sign, logarithm = cupy.linalg.slogdet(x)
    product = cupy.abs(cupy.diagonal(cupy.linalg.qr(x, mode="r"), axis1=-2, axis2=-1)).prod(axis=-1)
    size = cupy.where(cupy.isfinite(product) & (product > 0), product, cupy.exp(logarithm))
    return sign * size.astype(x.dtype, copy=False)


def _with_empty(x: Raw, results: Results) -> Results:
    """Return complex results: of no elements, CuPy gives those of real matrices as real ones."""
    kind = np.result_type(x.dtype, np.complex64)
    return tuple(result.astype(kind, copy=False) for result in results)


def _eig(x: Raw) -> Results:
    if _has_eig():
        return _with_empty(x, cupy.linalg.eig(x))
    return _with_empty(x, tuple(map(cupy.asarray, np.linalg.eig(cupy.asnumpy(x)))))


def _eigvals(x: Raw) -> Raw:
    if _has_eig():
        return _with_empty(x, (cupy.linalg.eigvals(x),))[0]
    return _with_empty(x, (cupy.asarray(np.linalg.eigvals(cupy.asnumpy(x))),))[0]


@functools.cache
def _has_eig() -> bool:
    """Return whether the installed cuSOLVER has the general eigenvalue problem, as older ones have not."""
    from cupyx.cusolver import check_availability  # late: CuPy loads cuSOLVER with it

    available: bool = check_availability("geev")
    return available


KERNELS: dict[str, Callable[..., Any]] = {
    "cholesky": _single(cupy.linalg.cholesky),
    "det": det,
    "eig": _or_nan(_eig),
    "eigh": _or_nan(lambda x: tuple(cupy.linalg.eigh(x))),
    "eigvals": _single(_eigvals),
    "eigvalsh": _single(cupy.linalg.eigvalsh),
    "solve": solve,
    "svd": _or_nan(lambda x, full_matrices: tuple(cupy.linalg.svd(x, full_matrices=full_matrices))),
    "svdvals": _single(lambda x: cupy.linalg.svd(x, compute_uv=False)),
}
"""By the primitive's name."""
