"""Logarithms of sums of exponentials with factors and signs."""

from __future__ import annotations

import math
from typing import Any

from gradkit.core import Array, bind
from gradkit.core.namespace import publish
from gradkit.core.operands import as_array, cast, dtype_name, require_inexact
from gradkit.core.promotion import is_complex, promote
from gradkit.core.structured import reduced_shape
from gradkit.primitives import elementwise as e
from gradkit.primitives.axes import Axis, normalize_axes
from gradkit.primitives.manipulation import broadcast_to, reshape
from gradkit.primitives.reductions import logsumexp_primitive, max, select_where, sum

__all__ = ["logsumexp"]


def logsumexp(
    a: Any, axis: Axis = None, b: Any = None, keepdims: bool = False, return_sign: bool = False, where: Any = None
) -> Any:
    """Return log(sum(b * exp(x))) over axes, without overflow.

    Parameters
    ----------
    a : array
        Of any shape; integers are converted to the default float dtype.
    axis : int, tuple of int or None
        The axes; None: all.
    b : array, optional
        Factors, which broadcast with `a`.
    keepdims : bool
        Keep the reduced axes with size 1.
    return_sign : bool
        Return the pair of the logarithm of the sum's size and of its sign. Without it a negative sum gives NaN.
    where : array of bool, optional
        Which elements take part.
    """
    array = require_inexact(as_array(a, "logsumexp"))
    axes = normalize_axes(axis, array.ndim, "logsumexp")
    if b is None and not return_sign and not is_complex(array.dtype):
        # What is left out has exp(x) = 0.
        array = select_where(array, where, logsumexp_primitive.identity, "logsumexp")
        return bind(logsumexp_primitive, (array,), {"axis": axes, "keepdims": keepdims})
    return _weigh(array, axes, b, keepdims, return_sign, where)


def _weigh(
    x: Array, axis: tuple[int, ...], b: Any, keepdims: bool, return_sign: bool, where: Any
) -> Array | tuple[Array, Array]:
    """Return log(sum(b * exp(x))) over axes; see `logsumexp`."""
    factor = None
    if b is not None:
        factor = require_inexact(as_array(b, "logsumexp"))
        target = promote([dtype_name(x), dtype_name(factor)])
        x, factor = cast(x, target), cast(factor, target)
        shape = e.add(x, factor).shape
        lead = len(shape) - x.ndim
        axis = tuple(a + lead for a in axis)
        x = broadcast_to(x, shape)
        # What has the factor 0 takes no part, however large it is.
        present = e.not_equal(factor, 0)
        where = present if where is None else e.logical_and(present, where)
    if where is not None:
        x = e.where(where, x, -math.inf)
    # The result does not depend on it, so neither does the derivative.
    nothing = 0 in (x.shape[a] for a in axis)
    top = max(e.real(x), axis=axis, keepdims=True, initial=-math.inf if nothing else None)
    top = e.where(e.isfinite(top), top, 0.0)
    terms = e.exp(e.subtract(x, top))
    if where is not None:
        terms = e.where(where, terms, 0.0)
    if factor is not None:
        terms = e.multiply(terms, factor)
    total = sum(terms, axis=axis, keepdims=True)
    shape = reduced_shape(x, axis=axis, keepdims=keepdims)
    size = e.abs(total) if return_sign or not is_complex(total.dtype) else total
    logarithm = reshape(e.add(e.log(size), top), shape)
    sign = reshape(e.sign(total), shape)
    if return_sign:
        return logarithm, sign
    return logarithm if is_complex(sign.dtype) else e.where(e.less(sign, 0), math.nan, logarithm)


publish(globals(), __all__)
