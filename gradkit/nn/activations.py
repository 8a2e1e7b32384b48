"""Activation functions, under the names of `jax.nn`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradkit.core import Array
from gradkit.core.calls import as_array, dtype_name, require_inexact
from gradkit.errors import unknown_name
from gradkit.numpy import abs as absolute
from gradkit.numpy import asarray, exp, expm1, logsumexp, square, tanh, where
from gradkit.primitives import relu, sigmoid
from gradkit.primitives.losses import log_softmax as bind_log_softmax
from gradkit.primitives.losses import one_hot as bind_one_hot
from gradkit.primitives.losses import softplus
from gradkit.primitives.reductions import normalize_axes
from gradkit.primitives.special import erf

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "activation_named",
    "celu",
    "elu",
    "gelu",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "identity",
    "leaky_relu",
    "log_sigmoid",
    "log_softmax",
    "logsumexp",
    "mish",
    "one_hot",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_sign",
    "softmax",
    "softplus",
    "squareplus",
    "standardize",
    "swish",
    "tanh",
]

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
    return array * hard_sigmoid(array)


def hard_tanh(x: Any) -> Array:
    """Compute min(max(x, -1), 1); the derivative at -1 and at 1 is 1."""
    array = as_array(x, "hard_tanh")
    return where(array > 1, 1, where(array < -1, -1, array))


def silu(x: Any) -> Array:
    """Compute x sigmoid(x), also known as swish."""
    array = _floating(x)
    return array * sigmoid(array)


def log_sigmoid(x: Any) -> Array:
    """Compute log(sigmoid(x)) without overflow."""
    return -softplus(-_floating(x))


def soft_sign(x: Any) -> Array:
    """Compute x / (1 + abs(x))."""
    array = _floating(x)
    return array / (absolute(array) + 1)


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
        return array * (0.5 * (1.0 + tanh(math.sqrt(2 / math.pi) * (array + 0.044715 * (array * array * array)))))
    return 0.5 * array * (1.0 + erf(array / math.sqrt(2)))


def mish(x: Any) -> Array:
    """Compute x tanh(softplus(x)) (Misra, 2019)."""
    array = _floating(x)
    return array * tanh(softplus(array))


def squareplus(x: Any, b: float = 4.0) -> Array:
    """Compute (x + sqrt(x**2 + b)) / 2 (Barron, 2021)."""
    array = _floating(x)
    return (array + (square(array) + b) ** 0.5) / 2


def softmax(x: Any, axis: Axis = -1) -> Array:
    """Compute exp(x) / sum(exp(x)) along an axis, without overflow."""
    return exp(log_softmax(x, axis))


def log_softmax(x: Any, axis: Axis = -1) -> Array:
    """Compute x - log(sum(exp(x))) along an axis, without overflow."""
    array = _floating(x)
    return bind_log_softmax(array, axis=normalize_axes(axis, array.ndim, "log_softmax"))


def standardize(x: Any, axis: Axis = -1, epsilon: float = 1e-5) -> Array:
    """Subtract the mean along an axis and divide by the standard deviation."""
    array = _floating(x)
    centred = array - array.mean(axis=axis, keepdims=True)
    result: Array = centred / (square(centred).mean(axis=axis, keepdims=True) + epsilon) ** 0.5
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
        Where the new axis goes; only the last one is supported.

    Returns
    -------
    Array, shape (..., num_classes)

    Examples
    --------
    >>> one_hot([0, 2], 3)
    Array([[1., 0., 0.],
           [0., 0., 1.]], dtype=float32)
    """
    positions = asarray(x)
    if not dtype_name(positions).startswith(("int", "uint")):
        raise TypeError(f"one_hot: x must have an integer dtype, got {positions.dtype}")
    if axis not in (-1, positions.ndim):
        raise ValueError(f"one_hot: axis must be -1, got {axis}. Move the last axis with permute_dims.")
    name = np.dtype(dtype).name if dtype is not None else dtype_name(require_inexact(asarray(0.0)))
    return bind_one_hot(positions, num_classes, name)


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
