"""Reductions over axes: sums, products, means, extrema, logsumexp, any and all."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from gradkit.backend import INEXACT, NOTHING
from gradkit.core import Array, General, bind
from gradkit.core.batching import reduction
from gradkit.core.namespace import publish
from gradkit.core.operands import as_array, cast, dtype_name, require_bool, require_inexact
from gradkit.core.promotion import BOOL, INTEGER, default_dtype, is_half, kind_of
from gradkit.core.structured import LinearReduction, Reduction, reduced_shape
from gradkit.primitives import elementwise as e
from gradkit.primitives.axes import Axis, normalize_axes
from gradkit.primitives.creation import ones_like
from gradkit.primitives.manipulation import astype, reshape

__all__ = ["all", "any", "argmax", "argmin", "count_nonzero", "max", "mean", "min", "prod", "sum"]


def expand(xp: Any, reduced: Any, ndim: int, axis: tuple[int, ...], keepdims: bool) -> Any:
    """Put back the reduced axes with size 1, so that the result broadcasts against what was reduced."""
    if keepdims or reduced.ndim == 0:
        return reduced
    # The cotangent may lack leading axes: it only has to broadcast to the result's shape.
    sizes = list((1,) * (ndim - len(axis) - reduced.ndim) + tuple(reduced.shape))
    for a in axis:
        sizes.insert(a, 1)
    return xp.reshape(reduced, tuple(sizes))


@functools.lru_cache(1024)
def _count(shape: tuple[int, ...], axis: tuple[int, ...]) -> int:
    return math.prod(shape[a] for a in axis)


def _divide(g: Any, count: int) -> Any:
    # float16 reaches to 65504 only.
    return g / count if count < 65504 else g * (1 / count)


def _pull_extremum(xp: Any, g: Any, y: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    # Ties share the gradient equally, as in JAX.
    chosen = x == expand(xp, y, x.ndim, axis, keepdims)
    ties = xp.sum(xp.astype(chosen, x.dtype), axis=axis, keepdims=True)
    return xp.astype(chosen, x.dtype) * (expand(xp, g, x.ndim, axis, keepdims) / ties)


def _pull_logsumexp(xp: Any, g: Any, y: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    # Not exp(x - y), which has lost the digits that y could not hold. Where y is infinite the elements that made it so
    # have no derivative (NaN, as in JAX), and the others 0.
    y = expand(xp, y, x.ndim, axis, keepdims)
    finite = xp.isfinite(y)
    zeros = xp.zeros_like(x)
    infinite = xp.where(finite | (x != y) & ~xp.isnan(y), zeros, zeros + math.nan)
    share = xp.where(finite, xp.exp(xp.log_softmax(xp.where(finite, x, zeros), axis=axis)), infinite)
    return expand(xp, g, x.ndim, axis, keepdims) * share


def _logsumexp(xp: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    if is_half(x.dtype):
        # A sum of more than 65504 exponentials overflows, its logarithm does not.
        return xp.astype(_logsumexp(xp, xp.astype(x, xp.float32), axis=axis, keepdims=keepdims), x.dtype)
    if _count(x.shape, axis) == 0:
        return xp.sum(x, axis=axis, keepdims=keepdims) - math.inf  # the logarithm of 0
    top = xp.max(x, axis=axis, keepdims=True)
    top = xp.where(xp.isfinite(top), top, xp.zeros_like(top))
    result = xp.log(xp.sum(xp.exp(x - top), axis=axis, keepdims=True)) + top
    return result if keepdims else xp.reshape(result, tuple(n for a, n in enumerate(x.shape) if a not in axis))


def _pull_prod(xp: Any, g: Any, _y: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    # The product of the others is that of those before and those behind, which has no division: zeros do no harm, in
    # no order of derivative.
    if _count(x.shape, axis) < 2:
        return expand(xp, g, x.ndim, axis, keepdims) * xp.ones_like(x)
    kept = tuple(a for a in range(x.ndim) if a not in axis)
    last = len(kept)
    moved = xp.permute_dims(x, (*kept, *axis))
    row = xp.reshape(moved, (*(x.shape[a] for a in kept), _count(x.shape, axis)))
    one = xp.ones_like(row[..., :1])
    before = xp.concat([one, xp.cumprod(row, axis=last, reverse=False)[..., :-1]], axis=last)
    behind = xp.concat([xp.cumprod(row, axis=last, reverse=True)[..., 1:], one], axis=last)
    others = xp.reshape(xp.sheltered_product(before, behind), moved.shape)
    order = (*kept, *axis)
    others = xp.permute_dims(others, tuple(order.index(a) for a in range(x.ndim)))
    return expand(xp, g, x.ndim, axis, keepdims) * others


def _wide(x: Any, **_: Any) -> str:
    """Return the dtype in which libraries sum, which for integers is one of 64 bits."""
    name: str = x.dtype.name
    if kind_of(name) > INTEGER:
        return name
    return "uint64" if name.startswith("uint") else "int64"


def _batch_position(primitive: Any, values: Any, axes: Any, size: int, params: Any) -> tuple[Any, int]:
    (x,), (batch,), axis = values, axes, params["axis"]
    shifted = axis + (axis >= batch)
    return bind(primitive, (x,), {**params, "axis": shifted}), batch - (shifted < batch and not params["keepdims"])


def _shape_of_position(x: Any, *, axis: int, keepdims: bool) -> tuple[int, ...]:
    return reduced_shape(x, axis=(axis,), keepdims=keepdims)


_sum = LinearReduction(
    "sum",
    None,
    (lambda xp, g, x, *, axis, keepdims: expand(xp, g, x.ndim, axis, keepdims),),
    combine="add",
    identity=0,
    small_cotangent=True,
    dtype=_wide,
)
_prod = Reduction("prod", None, (_pull_prod,), combine="multiply", identity=1, dtype=_wide)
_mean = LinearReduction(
    "mean",
    None,
    (lambda xp, g, x, *, axis, keepdims: expand(xp, _divide(g, _count(x.shape, axis)), x.ndim, axis, keepdims),),
    small_cotangent=True,
    hands_on=False,
    combine="add",
    identity=0,
    mean=True,
)
_max = Reduction("max", None, (_pull_extremum,), combine="maximum", identity=-math.inf)
_min = Reduction("min", None, (_pull_extremum,), combine="minimum", identity=math.inf)
logsumexp_primitive = Reduction(
    "logsumexp", _logsumexp, (_pull_logsumexp,), combine="logaddexp", identity=-math.inf, batch=reduction
)
_any = Reduction("any", None, (None,), combine="logical_or", identity=False, dtype="bool")
_all = Reduction("all", None, (None,), combine="logical_and", identity=True, dtype="bool")
_argmax = General("argmax", None, (None,), batch=_batch_position, shape=_shape_of_position, dtype="int64")
_argmin = General("argmin", None, (None,), batch=_batch_position, shape=_shape_of_position, dtype="int64")


def sum(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
    promote_integers: bool = True,
) -> Array:
    """Sum over axes.

    Parameters
    ----------
    a : array
        Of any shape.
    axis : int, tuple of int or None
        The axes to sum over; None: all.
    dtype : dtype, optional
        The dtype to sum in. By default that of `a`, or the default integer dtype for bool and narrow integers.
    out : None
        Not supported: Arrays are immutable.
    keepdims : bool
        Keep the summed axes with size 1.
    initial : number or array, optional
        What the sum starts from.
    where : array of bool, optional
        Which elements take part; it broadcasts to `a`.
    promote_integers : bool
        Whether narrow integers are summed in the default integer dtype.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.sum(jnp.ones((2, 3)), axis=0)
    Array([2., 2., 2.], dtype=float32)
    """
    if dtype is initial is where is out and type(a) is Array:
        value = a._value
        if value.dtype in INEXACT.get(type(value), NOTHING):
            return bind(_sum, (a,), _over(axis, keepdims, len(value.shape), "sum"))
    array = select_where(_in_accumulator(a, dtype, promote_integers, "sum"), where, _sum.identity, "sum")
    result = _accumulate(_sum, array, axis, keepdims, out)
    return result if initial is None else _keep_dtype(e.add(result, initial), result)


def prod(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
    promote_integers: bool = True,
) -> Array:
    """Multiply over axes; see `sum` for the parameters.

    The derivative is right at zeros, however many there are and to any order.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> gradkit.grad(jnp.prod)(jnp.asarray([2.0, 0.0, 3.0]))
    Array([0., 6., 0.], dtype=float32)
    """
    if dtype is initial is where is out and type(a) is Array:
        value = a._value
        if value.dtype in INEXACT.get(type(value), NOTHING):
            return bind(_prod, (a,), _over(axis, keepdims, len(value.shape), "prod"))
    array = select_where(_in_accumulator(a, dtype, promote_integers, "prod"), where, _prod.identity, "prod")
    result = _accumulate(_prod, array, axis, keepdims, out)
    return result if initial is None else _keep_dtype(e.multiply(result, initial), result)


def _in_accumulator(x: Any, dtype: Any, promote_integers: bool, caller: str) -> Array:
    """Return an array in the dtype in which it is summed or multiplied."""
    array = as_array(x, caller)
    if dtype is not None:
        return astype(array, dtype)
    name = dtype_name(array)
    wide = accumulator(name) if promote_integers or name == "bool" else name
    return array if wide == name else cast(array, wide)


def _accumulate(primitive: Any, array: Array, axis: Axis, keepdims: bool, out: None) -> Array:
    refuse_out(out, primitive.name)
    # Libraries sum integers in 64 bits of their own accord.
    return _keep_dtype(bind(primitive, (array,), _over(axis, keepdims, array.ndim, primitive.name)), array)


def _keep_dtype(result: Array, like: Array) -> Array:
    name = dtype_name(like)
    return result if dtype_name(result) == name else cast(result, name)


def refuse_out(out: Any, caller: str) -> None:
    """Raise for ``out=``, which has no meaning here."""
    if out is not None:
        raise NotImplementedError(f"The 'out' argument to jnp.{caller} is not supported.")


def select_where(array: Array, where: Any, identity: Any, caller: str) -> Array:
    """Return an array with the elements that do not take part replaced by what makes no difference."""
    if where is None:
        return array
    return _keep_dtype(e.where(require_bool(as_array(where, caller), caller), array, identity), array)


def accumulator(dtype: str) -> str:
    """Return the dtype that integers of `dtype` are summed in."""
    if kind_of(dtype) > INTEGER or dtype.endswith("64"):
        return dtype
    default = default_dtype(INTEGER)
    if dtype.startswith("uint"):
        return "u" + default
    return default if kind_of(dtype) == BOOL or dtype != "int64" else dtype


def _over(axis: Axis, keepdims: Any, ndim: int, caller: str) -> dict[str, Any]:
    """Return the parameters of a reduction."""
    if axis is None or type(axis) is int:
        return _over_one_or_all(axis, keepdims is True or bool(keepdims), ndim, caller)
    return {"axis": normalize_axes(axis, ndim, caller), "keepdims": keepdims}


@functools.cache
def _over_one_or_all(axis: int | None, keepdims: bool, ndim: int, caller: str) -> dict[str, Any]:
    return {"axis": normalize_axes(axis, ndim, caller), "keepdims": keepdims}


def mean(
    a: Any, axis: Axis = None, dtype: Any = None, out: None = None, keepdims: bool = False, *, where: Any = None
) -> Array:
    """Return the arithmetic mean over axes (None: all). Integers are averaged in the default float dtype.

    `dtype` is that of the result, and `where` says which elements take part.
    """
    if dtype is where is out and type(a) is Array:
        value = a._value
        if value.dtype in INEXACT.get(type(value), NOTHING):
            return bind(_mean, (a,), _over(axis, keepdims, len(value.shape), "mean"))
    refuse_out(out, "mean")
    array = as_array(a, "mean")
    if dtype is not None:
        array = _in_accumulator(array, dtype, True, "mean")
    array = require_inexact(array)
    if where is not None:
        taking_part = e.logical_and(where, ones_like(array, dtype="bool"))
        count = cast(sum(taking_part, axis=axis, keepdims=keepdims), dtype_name(array))
        return e.divide(sum(array, axis=axis, keepdims=keepdims, where=where), count)
    return bind(_mean, (array,), _over(axis, keepdims, array.ndim, "mean"))


def _extremum(primitive: Any, larger: Callable[[Any, Any], Array]) -> Callable[..., Array]:
    def reduce(
        a: Any, axis: Axis = None, out: None = None, keepdims: bool = False, initial: Any = None, where: Any = None
    ) -> Array:
        if initial is where is out and type(a) is Array and 0 not in a._value.shape:
            return bind(primitive, (a,), _over(axis, keepdims, len(a._value.shape), primitive.name))
        refuse_out(out, primitive.name)
        array = as_array(a, primitive.name)
        axes = normalize_axes(axis, array.ndim, primitive.name)
        if where is not None:
            if initial is None:
                raise ValueError(
                    f"reduction operation {primitive.name} does not have an identity, so to use a where mask one has "
                    f"to specify 'initial'"
                )
            array = select_where(array, where, initial, primitive.name)
        if _count(array.shape, axes) == 0:
            if initial is None:
                raise ValueError(
                    f"{primitive.name}: x of shape {array.shape} has no elements along axis {axes}, so there is no "
                    f"{primitive.name}"
                )
            # A sum of nothing is 0, of the right shape.
            nothing = bind(_sum, (array,), {"axis": axes, "keepdims": keepdims})
            return _keep_dtype(e.add(nothing, initial), array)
        result = bind(primitive, (array,), {"axis": axes, "keepdims": keepdims})
        return result if initial is None else _keep_dtype(larger(result, initial), result)

    reduce.__name__ = reduce.__qualname__ = primitive.name
    reduce.__doc__ = (
        f"Return the {primitive.name} over axes (None: all). Ties share the gradient equally.\n\n"
        f"`initial` takes part as well, and `where` says which elements of `x` do (it needs `initial`)."
    )
    return reduce


def _truth(primitive: Any) -> Callable[..., Array]:
    def reduce(a: Any, axis: Axis = None, out: None = None, keepdims: bool = False, *, where: Any = None) -> Array:
        if out is not None:
            refuse_out(out, primitive.name)
        array = require_bool(a if type(a) is Array else as_array(a, primitive.name), primitive.name)
        if where is not None:
            array = select_where(array, where, primitive.identity, primitive.name)
        return bind(primitive, (array,), _over(axis, keepdims, array.ndim, primitive.name))

    reduce.__name__ = reduce.__qualname__ = primitive.name
    reduce.__doc__ = (
        f"Return whether {primitive.name} elements are true (not 0), over axes (None: all axes).\n\n"
        f"`where` says which elements take part."
    )
    return reduce


def _position(primitive: Any) -> Callable[..., Array]:
    def find(a: Any, axis: int | None = None, out: None = None, keepdims: bool = False) -> Array:
        if out is not None:
            refuse_out(out, primitive.name)
        array = a if type(a) is Array else as_array(a, primitive.name)
        ndim = array.ndim
        if axis is None:
            array, axis = reshape(array, -1), 0
            flattened = True
        else:
            (axis,) = _over(axis, False, ndim, primitive.name)["axis"]
            flattened = False
        if array.shape[axis] == 0:
            raise ValueError(f"{primitive.name}: x of shape {array.shape} has no elements along axis {axis}")
        found = bind(primitive, (array,), {"axis": axis, "keepdims": keepdims and not flattened})
        if flattened and keepdims:
            found = reshape(found, (1,) * ndim)
        integer = default_dtype(INTEGER)
        return cast(found, integer) if dtype_name(found) != integer else found

    find.__name__ = find.__qualname__ = primitive.name
    find.__doc__ = f"Return the position of the {primitive.name[3:]} along an axis (None: in the flattened array)."
    return find


max = _extremum(_max, e.maximum)
min = _extremum(_min, e.minimum)
any = _truth(_any)
all = _truth(_all)
argmax = _position(_argmax)
argmin = _position(_argmin)


def count_nonzero(a: Any, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return how many elements are not 0, over axes (None: all)."""
    return sum(require_bool(as_array(a, "count_nonzero"), "count_nonzero"), axis=axis, keepdims=keepdims)


publish(globals(), __all__)
