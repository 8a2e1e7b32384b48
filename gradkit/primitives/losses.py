"""What losses are made of, each as one operation: a step of a small network is mostly the cost of calls."""

from __future__ import annotations

import math
from typing import Any

from gradkit.core import Array, Elementwise, General, bind
from gradkit.core.array import wrap
from gradkit.core.batching import along_axes, leading, same_shape
from gradkit.core.calls import binary, unary
from gradkit.core.namespace import publish
from gradkit.core.node import NO_PARAMS
from gradkit.core.operands import dtype_name, wide_integers
from gradkit.core.promotion import is_complex, is_half

__all__ = [
    "label_cross_entropy", "log_softmax", "mean_label_cross_entropy", "mean_square", "one_hot", "plus_squares",
    "softmax_error", "softplus",
]  # fmt: skip


_mean_square_primitive = General(
    "mean_square",
    lambda xp, x, y: xp.mean((x - y) ** 2, axis=tuple(range(x.ndim)), keepdims=False),
    (
        lambda xp, g, _z, x, y: (g * (2 / math.prod(x.shape))) * (x - y),
        lambda xp, g, _z, x, y: (g * (2 / math.prod(x.shape))) * (y - x),
    ),
    shape=lambda x, y: (),
)


mean_square = binary(  # it is element by element, up to the mean
    _mean_square_primitive,
    True,
    "Return mean((x - y)**2) of two Arrays of one shape.",
)


_plus_squares_primitive = General(
    "plus_squares",
    lambda xp, total, x, *, factor: total + factor * xp.sum(x * x, axis=tuple(range(x.ndim)), keepdims=False),
    (
        lambda xp, g, _z, _total, _x, *, factor: g,
        lambda xp, g, _z, _total, x, *, factor: (g * (2 * factor)) * x,
    ),
    shape=lambda total, x, *, factor: (),
)
_plus_squares_primitive.hands_on = True  # the cotangent of the total is that of the result


def plus_squares(total: Array, x: Array, /, factor: float) -> Array:
    """Return total + factor * sum(x**2), a loss with the penalty of one more array, for Arrays of one dtype.

    Parameters
    ----------
    total : Array of float, shape ()
        The loss so far.
    x : Array of float
        Of any shape.
    factor : float
        The strength of the penalty.

    Returns
    -------
    Array, shape ()
    """
    return bind(_plus_squares_primitive, (total, x), {"factor": factor})


def _one_hot(xp: Any, labels: Any, *, classes: int, dtype: str) -> Any:
    positions = xp.arange(classes, dtype=labels.dtype, device=xp.device_of(labels))
    return xp.astype(labels[..., None] == positions, dtype)


_one_hot_primitive = General(
    "one_hot",
    _one_hot,
    (None,),
    batch=leading,
    shape=lambda labels, *, classes, dtype: (*labels.shape, classes),
    dtype=lambda labels, *, classes, dtype: dtype,
)


def one_hot(labels: Array, classes: int, dtype: str) -> Array:
    """Return rows of zeros with a 1 at each label; a label that is out of range gives zeros."""
    return bind(_one_hot_primitive, (wide_integers(labels),), {"classes": classes, "dtype": dtype})


def _log_softmax(xp: Any, x: Any, *, axis: tuple[int, ...]) -> Any:
    if 0 in x.shape:
        return xp.zeros_like(x)  # an empty axis has no largest element
    if is_half(x.dtype):
        # A sum of more than 65504 exponentials overflows, its logarithm does not.
        return xp.astype(_log_softmax(xp, xp.astype(x, xp.float32), axis=axis), x.dtype)
    # The largest element is subtracted from all before anything else is: logsumexp would add it to a small number and
    # lose that number's digits, at logits of 1e4 all but three. If it is infinite all of them are NaN, as in JAX.
    shifted = x - xp.max(x, axis=axis, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=True))


def _shares(xp: Any, y: Any, axis: tuple[int, ...]) -> Any:
    # Logarithms in half precision are off by the same part for all, which would show in the sum.
    share = xp.exp(y)
    return share / xp.sum(share, axis=axis, keepdims=True)


def _pull_log_softmax(xp: Any, g: Any, y: Any, *, axis: tuple[int, ...], share: Any = None) -> Any:
    if is_half(y.dtype):
        # Its sums overflow at 65504, which probabilities times such a sum do not.
        wide = [xp.astype(value, xp.float32) for value in (g, y)]
        return xp.astype(_pull_log_softmax(xp, *wide, axis=axis, share=_shares(xp, wide[1], axis)), y.dtype)
    share = xp.exp(y) if share is None else share
    # What is near 1 is 1 minus the others' sum: its own g - share * sum(g) would cancel.
    most = xp.greater(share, 0.5)
    nothing = xp.zeros_like(share)
    others = xp.sum(xp.where(most, nothing, share), axis=axis, keepdims=True)
    beside = xp.sum(xp.where(most, nothing, g), axis=axis, keepdims=True)
    own = xp.sum(xp.where(most, g, nothing), axis=axis, keepdims=True)
    return xp.where(most, g * others - share * beside, g - share * (own + beside))


_log_softmax_primitive = General(
    "log_softmax",
    _log_softmax,
    (lambda xp, g, y, _x, *, axis: _pull_log_softmax(xp, g, y, axis=axis),),
    batch=along_axes,
    shape=same_shape,
)


def log_softmax(x: Array, /, *, axis: tuple[int, ...]) -> Array:
    """Return x - log(sum(exp(x))) over axes that are given as sorted non-negative numbers."""
    return bind(_log_softmax_primitive, (x,), {"axis": axis})


def _from_finite_top(xp: Any, logits: Any) -> tuple[Any, Any]:
    """Return each row less its largest element, and whether that is finite; where it is not nothing is subtracted.

    So an infinite logit leaves 0 to the shares of those that are finite: the loss is logsumexp(logits) - logits[label].
    """
    top = xp.max(logits, axis=(logits.ndim - 1,), keepdims=True)
    finite = xp.isfinite(top)
    return logits - xp.where(finite, top, xp.zeros_like(top)), finite


def _has_label(xp: Any, logits: Any, labels: Any) -> Any:
    return labels[..., None] == xp.arange(logits.shape[-1], dtype=labels.dtype, device=xp.device_of(labels))


def _label_cross_entropy(xp: Any, logits: Any, labels: Any) -> Any:
    if is_half(logits.dtype):
        return xp.astype(_label_cross_entropy(xp, xp.astype(logits, xp.float32), labels), logits.dtype)
    classes, axis = logits.shape[-1], (logits.ndim - 1,)
    if not classes:
        return xp.full_like(xp.sum(logits, axis=axis, keepdims=False), float("nan"))
    shifted, _ = _from_finite_top(xp, logits)
    own = xp.sum(xp.where(_has_label(xp, logits, labels), shifted, xp.zeros_like(logits)), axis=axis, keepdims=False)
    loss = xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=False)) - own
    # A label that is out of range has no loss: NaN, and not the loss of another class.
    valid = (labels >= 0) & (labels < classes)
    return xp.where(valid, loss, xp.full_like(loss, float("nan")))


def _softmax_error(xp: Any, logits: Any, labels: Any) -> Any:
    if is_half(logits.dtype):
        return xp.astype(_softmax_error(xp, xp.astype(logits, xp.float32), labels), logits.dtype)
    if 0 in logits.shape:
        return xp.zeros_like(logits)
    axis = (logits.ndim - 1,)
    shifted, finite = _from_finite_top(xp, logits)
    exponentials = xp.exp(shifted)
    share = exponentials / xp.sum(exponentials, axis=axis, keepdims=True)
    own = _has_label(xp, logits, labels)
    # The label's own share minus 1 is minus the sum of the others', which does not cancel.
    others = xp.sum(xp.where(own, xp.zeros_like(share), share), axis=axis, keepdims=True)
    return xp.where(own, xp.where(finite, -others, share - 1), share)


def _pull_softmax_error(xp: Any, g: Any, y: Any, labels: Any) -> Any:
    probabilities = y + xp.one_hot(labels, classes=y.shape[-1], dtype=dtype_name_of(y))
    # The same for every g that differs by a number: with 0 at what is near 1, nothing cancels there.
    axis = (y.ndim - 1,)
    g = g - xp.sum(xp.where(probabilities > 0.5, g, xp.zeros_like(g)), axis=axis, keepdims=True)
    return probabilities * (g - xp.sum(g * probabilities, axis=axis, keepdims=True))


_softmax_error_primitive = General(
    "softmax_error",
    _softmax_error,
    (lambda xp, g, y, _x, labels: _pull_softmax_error(xp, g, y, labels), None),
    batch=leading,
    shape=lambda logits, labels: tuple(logits.shape),
)


def softmax_error(logits: Array, labels: Array, /) -> Array:
    """Return softmax(logits) - one_hot(labels), the derivative of `label_cross_entropy` of each row."""
    return bind(_softmax_error_primitive, (logits, wide_integers(labels)), NO_PARAMS)


def dtype_name_of(x: Any) -> str:
    """Return the name of the dtype of a raw array or an Array."""
    return dtype_name(x if type(x) is Array else wrap(x))


_label_cross_entropy_primitive = General(
    "label_cross_entropy",
    _label_cross_entropy,
    (lambda xp, g, _z, x, labels: xp.expand_dims(g, axis=-1) * xp.softmax_error(x, labels), None),
    batch=leading,
    shape=lambda logits, labels: tuple(labels.shape),
)


def label_cross_entropy(logits: Array, labels: Array, /) -> Array:
    """Return logsumexp(logits) - logits[label] for each row of logits.

    Parameters
    ----------
    logits : Array of float, shape (..., classes)
        The rows.
    labels : Array of int, shape (...)
        Which element of each row is right. One that is out of range gives NaN.

    Returns
    -------
    Array, shape (...)
    """
    return bind(_label_cross_entropy_primitive, (logits, wide_integers(labels)), NO_PARAMS)


_mean_label_cross_entropy_primitive = General(
    "mean_label_cross_entropy",
    lambda xp, logits, labels: xp.mean(
        xp.label_cross_entropy(logits, labels), axis=tuple(range(labels.ndim)), keepdims=False
    ),
    (lambda xp, g, _z, x, labels: (g * (1 / math.prod(labels.shape))) * xp.softmax_error(x, labels), None),
    shape=lambda logits, labels: (),
)


def mean_label_cross_entropy(logits: Array, labels: Array, /) -> Array:
    """Return the mean of `label_cross_entropy` over all rows, of which there has to be one."""
    return bind(_mean_label_cross_entropy_primitive, (logits, wide_integers(labels)), NO_PARAMS)


def _softplus(xp: Any, x: Any) -> Any:
    if is_complex(x.dtype):
        return xp.logaddexp(x, xp.zeros_like(x))
    return xp.maximum(x, xp.zeros_like(x)) + xp.log1p(xp.exp(-xp.abs(x)))


softplus = unary(
    Elementwise("softplus", _softplus, (lambda xp, _y, x: xp.sigmoid(x),)),
    True,
    "Compute log(1 + exp(x)) element by element, without overflow.",
)


publish(globals(), __all__)
