"""NumPy's linear algebra, with NaN where a matrix has no result, as other libraries give it.

NumPy raises an error for the whole batch when one matrix is singular, is not positive definite, or has no finite
elements.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["KERNELS"]

Raw = Any
Results = tuple[Raw, ...]


def _or_nan(function: Callable[..., Results]) -> Callable[..., Results]:
    """Run a function of matrices once more when it fails, on one after another, with NaN for those that fail."""

    def run(*arrays: Raw, **params: Any) -> Results:
        try:
            return function(*arrays, **params)
        except np.linalg.LinAlgError:
            return _one_by_one(functools.partial(function, **params), arrays)

    return run


def _one_by_one(function: Callable[..., Results], arrays: Sequence[Raw]) -> Results:
    batch = np.broadcast_shapes(*(a.shape[:-2] for a in arrays))
    stacks = [np.broadcast_to(a, batch + a.shape[-2:]).reshape(-1, *a.shape[-2:]) for a in arrays]
    parts = [_attempt(function, matrices) for matrices in zip(*stacks, strict=True)]
    return tuple(np.stack(results).reshape(batch + results[0].shape) for results in zip(*parts, strict=True))


def _attempt(function: Callable[..., Results], matrices: Sequence[Raw]) -> Results:
    try:
        return function(*matrices)
    except np.linalg.LinAlgError:
        solvable = [np.eye(*matrix.shape, dtype=matrix.dtype) for matrix in matrices]
        return tuple(np.full_like(result, np.nan) for result in function(*solvable))


def _single(function: Callable[..., Raw]) -> Callable[..., Raw]:
    guarded = _or_nan(lambda *arrays, **params: (function(*arrays, **params),))
    return lambda *arrays, **params: guarded(*arrays, **params)[0]


_cholesky = _single(np.linalg.cholesky)


def _complex(x: Raw) -> Raw:
    return x if x.dtype.kind == "c" else x.astype(np.complex64 if x.dtype == np.float32 else np.complex128)


def _eig(x: Raw) -> Results:
    values, vectors = np.linalg.eig(x)
    return _complex(values), _complex(vectors)


KERNELS: dict[str, Callable[..., Any]] = {
    "cholesky": lambda x: np.tril(_cholesky(x)),
    "eig": _or_nan(_eig),
    "eigh": _or_nan(lambda x: tuple(np.linalg.eigh(x))),
    "eigvals": _single(lambda x: _complex(np.linalg.eigvals(x))),
    "eigvalsh": _single(np.linalg.eigvalsh),
    "inv": _single(np.linalg.inv),
    "solve": _single(np.linalg.solve),
    "svd": _or_nan(lambda x, full_matrices: tuple(np.linalg.svd(x, full_matrices=full_matrices))),
    "svdvals": _single(lambda x: np.linalg.svd(x, compute_uv=False)),
}
"""By the primitive's name."""
