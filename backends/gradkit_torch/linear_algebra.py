"""PyTorch's linear algebra as the standard has it: leading axes broadcast, and what has no result is NaN.

PyTorch's functions with ``_ex`` in their names tell whether they succeeded; the others raise, for which they wait for a
GPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from array_api_compat.torch import linalg as compat

__all__ = ["FUNCTIONS"]

Raw = Any
Results = tuple[Raw, ...]
Function = Callable[..., Any]


def _or_nan(result: Raw, info: Raw) -> Raw:
    failed = (info != 0)[(...,) + (None,) * (result.ndim - info.ndim)]
    return torch.where(failed, torch.full_like(result, math.nan), result)


def cholesky(x: Raw, /, *, upper: bool = False) -> Raw:
    return _or_nan(*torch.linalg.cholesky_ex(x, upper=upper))


def inv(x: Raw, /) -> Raw:
    return _or_nan(*torch.linalg.inv_ex(x))


def solve(a: Raw, b: Raw, /) -> Raw:
    is_vector = b.ndim == 1
    right = b[:, None] if is_vector else b
    batch = torch.broadcast_shapes(a.shape[:-2], right.shape[:-2])
    a = a.expand(batch + a.shape[-2:])
    right = right.expand(batch + right.shape[-2:])
    result = _or_nan(*torch.linalg.solve_ex(a, right))
    return result[..., 0] if is_vector else result


def det(x: Raw, /) -> Raw:
    # PyTorch's product may leave the range of numbers on the way, where its logarithm does not.
    triangle, pivots, _ = torch.linalg.lu_factor_ex(x)
    diagonal = torch.diagonal(triangle, dim1=-2, dim2=-1)
    moved = pivots != torch.arange(1, pivots.shape[-1] + 1, device=x.device)
    sign = (1 - 2 * (moved.sum(-1) % 2)).to(x.dtype)
    product = torch.prod(diagonal, -1)
    size = torch.abs(product)
    within = torch.isfinite(size) & (size > 0)
    logarithm = torch.sum(torch.log(torch.abs(diagonal)), -1)
    return sign * torch.where(within, product, torch.prod(torch.sgn(diagonal), -1) * torch.exp(logarithm))


def _of_finite(function: Callable[..., Results], look: Callable[[Raw], Raw] = lambda x: x) -> Callable[..., Results]:
    """Return a function of matrices whose results are NaN for those in which there is an infinite number or NaN.

    PyTorch raises for some of them, or hands them on to LAPACK, which prints that it was asked for them.
    """

    def run(x: Raw, /, **params: Any) -> Results:
        finite = torch.isfinite(look(x)).all(-1).all(-1)
        unit = torch.eye(*x.shape[-2:], dtype=x.dtype, device=x.device)
        results = function(torch.where(finite[..., None, None], x, unit), **params)
        return tuple(
            torch.where(finite[(...,) + (None,) * (part.ndim - finite.ndim)], part, torch.full_like(part, math.nan))
            for part in results
        )

    return run


def _single(function: Callable[..., Results]) -> Callable[..., Raw]:
    return lambda x, /: function(x)[0]


def _of_wide_numbers(name: str, function: Function) -> Function:
    """Return a function that refuses the numbers of 16 bits, which LAPACK has none of, in NumPy's words."""

    def checked(*args: Any, **params: Any) -> Any:
        for arg in args:
            if getattr(arg, "dtype", None) in (torch.float16, torch.bfloat16):
                raise TypeError(f"array type {str(arg.dtype).rpartition('.')[2]} is unsupported in linalg")
        return function(*args, **params)

    checked.__name__ = name
    return checked


OWN: dict[str, Function] = {
    "cholesky": cholesky,
    "det": det,
    "eig": _of_finite(torch.linalg.eig),
    "eigh": _of_finite(torch.linalg.eigh, torch.tril),  # which reads no more than the lower triangle
    "eigvals": _single(_of_finite(lambda x: (torch.linalg.eigvals(x),))),
    "eigvalsh": _single(_of_finite(lambda x: (torch.linalg.eigvalsh(x),), torch.tril)),
    "inv": inv,
    "solve": solve,
    "svd": _of_finite(compat.svd),
    "svdvals": _single(_of_finite(lambda x: (compat.svdvals(x),))),
}
REST = ("qr", "slogdet")
FUNCTIONS: dict[str, Function] = {
    name: _of_wide_numbers(name, function)
    for name, function in {**OWN, **{name: getattr(compat, name) for name in REST}}.items()
}
"""By the name in ``linalg``."""
