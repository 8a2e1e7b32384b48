"""Activation functions, under the names of `jax.nn`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from gradkit.core import Array
from gradkit.core.operands import as_array, dtype_name, require_inexact
from gradkit.core.promotion import dtype_named
from gradkit.errors import unknown_name
from gradkit.numpy import abs as absolute
from gradkit.numpy import asarray, clip, exp, expm1, hypot, log, log1p, ones_like, permute_dims, square, tanh, where
from gradkit.numpy import where as select
from gradkit.primitives import logsumexp, relu, sigmoid
from gradkit.primitives.axes import normalize_axes
from gradkit.primitives.gates import gated, normal_cdf
from gradkit.primitives.gates import soft_sign as softsign_primitive
from gradkit.primitives.losses import log_softmax as bind_log_softmax
from gradkit.primitives.losses import one_hot as bind_one_hot
from gradkit.primitives.losses import softplus

__all__ = [
    "ACTIVATIONS", "Activation", "activation_named", "celu", "elu", "gelu", "glu", "hard_sigmoid", "hard_silu",
    "hard_swish", "hard_tanh", "identity", "leaky_relu", "log1mexp", "log_sigmoid", "log_softmax", "logmeanexp",
    "logsumexp", "mish", "one_hot", "relu", "relu6", "selu", "sigmoid", "silu", "soft_sign", "softmax", "softplus",
    "sparse_plus", "sparse_sigmoid", "squareplus", "standardize", "swish", "tanh",
]  # fmt: skip

CUBED = 32.0
"""Beyond it the gate of `gelu` is 0 or 1 in float64, and below it the cube is finite in float16."""

Activation = Callable[[Any], Array]
Axis = int | Sequence[int] | None


def identity(x: Any) -> Array:
    """Return x."""
    return as_array(x, "identity")


def relu6(x: Any) -> Array:
    """Compute min(max(x, 0), 6); the derivative at 0 and at 6 is 0."""
    array = as_array(x, "relu6")
    return where(array >= 6, 6.0, relu(array))


def hard_sigmoid(x: Any) -> Array:
    """Compute relu6(x + 3) / 6."""
    return relu6(_floating(x) + 3.0) / 6.0


def hard_silu(x: Any) -> Array:
    """Compute x hard_sigmoid(x)."""
    array = _floating(x)
    return gated(array, hard_sigmoid(array))


def hard_tanh(x: Any) -> Array:
    """Compute min(max(x, -1), 1); the derivative at -1 and at 1 is 1."""
    array = as_array(x, "hard_tanh")
    return where(array > 1, 1, where(array < -1, -1, array))


def silu(x: Any) -> Array:
    """Compute x sigmoid(x), also known as swish."""
    array = _floating(x)
    return gated(array, sigmoid(array))


def log_sigmoid(x: Any) -> Array:
    """Compute log(sigmoid(x)) without overflow."""
    return -softplus(-_floating(x))


def soft_sign(x: Any) -> Array:
    """Compute x / (1 + abs(x))."""
    array = _floating(x)
    return softsign_primitive(array)


def leaky_relu(x: Any, negative_slope: float = 1e-2) -> Array:
    """Compute x where x >= 0, and negative_slope x elsewhere."""
    array = _floating(x)
    return where(array >= 0, array, negative_slope * array)


def elu(x: Any, alpha: float = 1.0) -> Array:
    """Compute x where x > 0, and alpha (exp(x) - 1) elsewhere (Clevert, Unterthiner and Hochreiter, 2016)."""
    array = _floating(x)
    return where(array > 0, array, alpha * expm1(_not_positive(array)))


def celu(x: Any, alpha: float = 1.0) -> Array:
    """Compute max(x, 0) + alpha (exp(min(x, 0) / alpha) - 1) (Barron, 2017)."""
    array = _floating(x)
    return where(array > 0, array, alpha * expm1(_not_positive(array) / alpha))


def selu(x: Any) -> Array:
    """Compute 1.0507 elu(x, 1.6733), which keeps mean 0 and variance 1 (Klambauer et al., 2017)."""
    return 1.0507009873554804934193349852946 * elu(x, 1.6732632423543772848170429916717)


def gelu(x: Any, approximate: bool = True) -> Array:
    """Compute x Phi(x), where Phi is the standard normal distribution (Hendrycks and Gimpel, 2016).

    Parameters
    ----------
    x : array
        Of any shape.
    approximate : bool
        Use ``x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x**3))) / 2``, as JAX does by default, instead of erf.
    """
    array = _floating(x)
    if approximate:
        # (1 + tanh(u)) / 2 is sigmoid(2 u), which does not cancel, and is 0 or 1 before the cube can overflow.
        inner = clip(array, -CUBED, CUBED)
        return gated(array, sigmoid(2 * math.sqrt(2 / math.pi) * (inner + 0.044715 * (inner * inner * inner))))
    return gated(array, normal_cdf(array))


def mish(x: Any) -> Array:
    """Compute x tanh(softplus(x)) (Misra, 2019)."""
    array = _floating(x)
    return gated(array, tanh(softplus(array)))


def squareplus(x: Any, b: float = 4.0) -> Array:
    """Compute (x + sqrt(x**2 + b)) / 2 (Barron, 2021)."""
    array = _floating(x)
    # For negative x the sum would cancel: it is b / 4 divided by what it is for -x.
    size = absolute(array)
    larger = size / 2 + hypot(array, b**0.5) / 2
    return where(array >= 0, larger, b / 4 / where(larger == 0, 1.0, larger))


def glu(x: Any, axis: int = -1) -> Array:
    """Compute a sigmoid(b), where a and b are the halves of x along an axis (Dauphin et al., 2017)."""
    array = _floating(x)
    (position,) = normalize_axes(axis, array.ndim, "glu")
    half, odd = divmod(array.shape[position], 2)
    if odd:
        raise ValueError(f"glu: the size of x along axis {axis} must be even, got {array.shape}")
    before = (slice(None),) * position
    return array[*before, :half] * sigmoid(array[*before, half:])


def sparse_plus(x: Any) -> Array:
    """Compute 0 below -1, x above 1, and (x + 1)**2 / 4 between (Blondel, Martins and Niculae, 2020)."""
    array = _floating(x)
    return where(array <= -1.0, 0.0, where(array >= 1.0, array, square(clip(array, -1.0, 1.0) + 1.0) / 4))


def sparse_sigmoid(x: Any) -> Array:
    """Compute (x + 1) / 2 cut at 0 and 1, the derivative of `sparse_plus`."""
    return 0.5 * clip(_floating(x) + 1.0, 0.0, 2.0)


def log1mexp(x: Any) -> Array:
    """Compute log(1 - exp(-x)) for positive x without losing digits (Mächler, 2012)."""
    array = _floating(x)
    small = array < math.log(2)
    near, far = where(small, array, 1.0), where(small, 1.0, array)
    return where(small, log(-expm1(-near)), log1p(-exp(-far)))


def softmax(x: Any, axis: Axis = -1, where: Any = None) -> Array:
    """Compute exp(x) / sum(exp(x)) along an axis, without overflow.

    Parameters
    ----------
    x : array
        Of any shape.
    axis : int, tuple of int or None
        The axes to normalize over (None: all).
    where : array of bool, optional
        Which elements take part; the others get 0.
    """
    return exp(log_softmax(x, axis, where))


def log_softmax(x: Any, axis: Axis = -1, where: Any = None) -> Array:
    """Compute x - log(sum(exp(x))) along an axis, without overflow; minus infinity where `where` does not hold."""
    array = _floating(x)
    axes = normalize_axes(axis, array.ndim, "log_softmax")
    if where is None:
        return bind_log_softmax(array, axis=axes)
    return select(where, bind_log_softmax(select(where, array, -math.inf), axis=axes), -math.inf)


def logmeanexp(x: Any, axis: Axis = None, where: Any = None, keepdims: bool = False) -> Array:
    """Compute log(mean(exp(x))) over axes (None: all), without overflow."""
    array = _floating(x)
    count = ones_like(array) if where is None else select(where, ones_like(array), 0.0)
    total: Array = logsumexp(array, axis=axis, where=where, keepdims=keepdims)
    return total - log(count.sum(axis=axis, keepdims=keepdims))


def standardize(
    x: Any,
    axis: Axis = -1,
    mean: Any = None,
    variance: Any = None,
    epsilon: float = 1e-5,
    where: Any = None,
    *,
    algorithm: str = "stable",
) -> Array:
    """Subtract the mean along an axis and divide by the standard deviation.

    Parameters
    ----------
    x : array
        Of any shape.
    axis : int, tuple of int or None
        The axes.
    mean, variance : array, optional
        By default those of `x`.
    epsilon : float
        What is added to the variance.
    where : array of bool, optional
        Which elements the mean and the variance are of.
    algorithm : {"stable", "fast"}
        Accepted as in JAX: the variance is always that of the differences from the mean.
    """
    if algorithm not in ("stable", "fast"):
        raise ValueError(f"Unknown algorithm '{algorithm}'. Expected 'fast' or 'stable'.")
    array = _floating(x)

    def average(values: Array) -> Array:
        if where is None:
            return values.mean(axis=axis, keepdims=True)  # type: ignore[no-any-return]
        taken = select(where, ones_like(values), 0.0)
        return (select(where, values, 0.0)).sum(axis=axis, keepdims=True) / taken.sum(axis=axis, keepdims=True)  # type: ignore[no-any-return]

    centred = array - (average(array) if mean is None else mean)
    if variance is None:
        variance = average(square(centred))
    result: Array = centred / (variance + epsilon) ** 0.5
    return result


def one_hot(x: Any, num_classes: int, *, dtype: Any = None, axis: int = -1) -> Array:
    """Return rows that are 1 at the given position and 0 elsewhere.

    Parameters
    ----------
    x : array of int, shape (...)
        The positions. One that is out of range gives a row of zeros, as in JAX.
    num_classes : int
        The length of a row.
    dtype : dtype, optional
        By default the dtype of new floating numbers.
    axis : int
        Where the new axis goes.

    Returns
    -------
    Array, shape (..., num_classes)
        With the last axis moved to `axis`.

    Examples
    --------
    >>> one_hot([0, 2], 3)
    Array([[1., 0., 0.],
           [0., 0., 1.]], dtype=float32)
    """
    positions = asarray(x)
    if not dtype_name(positions).startswith(("int", "uint")):
        raise TypeError(f"one_hot: x must have an integer dtype, got {positions.dtype}")
    name = dtype_named(dtype).name if dtype is not None else dtype_name(require_inexact(asarray(0.0)))
    rows = bind_one_hot(positions, num_classes, name)
    (position,) = normalize_axes(axis, rows.ndim, "one_hot")
    last = rows.ndim - 1
    return rows if position == last else permute_dims(rows, (*range(position), last, *range(position, last)))


def _not_positive(x: Array) -> Array:
    """Return min(x, 0) whose derivative at 0 is 1: `minimum` would share it between x and 0."""
    return where(x > 0, 0.0, x)


def _floating(x: Any) -> Array:
    return require_inexact(as_array(x, "an activation"))


swish, hard_swish = silu, hard_silu

ACTIVATIONS: dict[str, Activation] = {
    "celu": celu,
    "elu": elu,
    "gelu": gelu,
    "hard_sigmoid": hard_sigmoid,
    "hard_silu": hard_silu,
    "hard_swish": hard_swish,
    "hard_tanh": hard_tanh,
    "identity": identity,
    "leaky_relu": leaky_relu,
    "log_sigmoid": log_sigmoid,
    "log_softmax": log_softmax,
    "mish": mish,
    "relu": relu,
    "relu6": relu6,
    "selu": selu,
    "sigmoid": sigmoid,
    "silu": silu,
    "soft_sign": soft_sign,
    "softmax": softmax,
    "softplus": softplus,
    "sparse_plus": sparse_plus,
    "sparse_sigmoid": sparse_sigmoid,
    "squareplus": squareplus,
    "swish": swish,
    "tanh": tanh,
}
"""What a layer's `activation` can be by name."""


def activation_named(activation: str | Activation, argument: str = "activation") -> Activation:
    """Return the activation function of that name; a function as it is.

    Raises
    ------
    ValueError
        If no activation has that name; the message lists those that there are.
    TypeError
        If it is neither a name nor callable.

    Examples
    --------
    >>> activation_named("rleu")
    Traceback (most recent call last):
    ...
    ValueError: Unknown activation 'rleu'. Known: celu, elu, ... Did you mean 'relu'?
    """
    if callable(activation):
        return activation
    if not isinstance(activation, str):
        raise TypeError(f"{argument}: expected a name or a function, got {activation!r}")
    function = ACTIVATIONS.get(activation)
    if function is None:
        raise unknown_name(argument.replace("_", " "), activation, ACTIVATIONS)
    return function
