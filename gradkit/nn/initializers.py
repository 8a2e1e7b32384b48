"""Initial values of parameters, under the names and call form of `jax.nn.initializers`.

Each function returns an initializer, ``initializer(key, shape, dtype=None)``, which draws an array. For the same key
they give JAX's numbers, to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from gradkit import numpy as jnp
from gradkit import random
from gradkit.core import Array
from gradkit.core.sharding import refuse_sharding
from gradkit.core.sizes import whole_numbers
from gradkit.errors import unknown_name
from gradkit.numpy import full

__all__ = [
    "Initializer", "constant", "delta_orthogonal", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform",
    "initializer_named", "kaiming_normal", "kaiming_uniform", "lecture", "lecun_normal", "lecun_uniform", "normal",
    "ones", "orthogonal", "truncated_normal", "uniform", "variance_scaling", "xavier_normal", "xavier_uniform", "zeros",
]  # fmt: skip

Initializer = Callable[..., Array]
Shape = Sequence[int]

TRUNCATED_DEVIATION = 0.87962566103423978
"""The standard deviation of the standard normal distribution cut at -2 and 2."""


def zeros(key: Any, shape: Shape, dtype: Any = None, out_sharding: None = None) -> Array:
    """Return zeros; an initializer itself."""
    refuse_sharding(out_sharding, "zeros")
    return full(shape, 0.0, dtype)


def ones(key: Any, shape: Shape, dtype: Any = None, out_sharding: None = None) -> Array:
    """Return ones; an initializer itself."""
    refuse_sharding(out_sharding, "ones")
    return full(shape, 1.0, dtype)


def constant(value: Any, dtype: Any = None) -> Initializer:
    """Make the initializer that fills with one value."""

    def initialize(key: Any, shape: Shape, dtype: Any = dtype) -> Array:
        return full(shape, value, dtype)

    return initialize


def uniform(scale: float = 1e-2, dtype: Any = None) -> Initializer:
    """Make the initializer that draws uniformly from 0 to below `scale`."""

    def initialize(key: Array, shape: Shape, dtype: Any = dtype) -> Array:
        return random.uniform(key, shape, dtype) * scale

    return initialize


def lecture(scale: float = 1.0, dtype: Any = None) -> Initializer:
    """Make the initializer that draws uniformly from -`scale` to below `scale`: a first lecture's uniform(-1, 1)."""

    def initialize(key: Array, shape: Shape, dtype: Any = dtype) -> Array:
        return random.uniform(key, shape, dtype, -scale, scale)

    return initialize


def normal(stddev: float = 1e-2, dtype: Any = None) -> Initializer:
    """Make the initializer that draws from the normal distribution of mean 0 and that standard deviation."""

    def initialize(key: Array, shape: Shape, dtype: Any = dtype) -> Array:
        return random.normal(key, shape, dtype) * stddev

    return initialize


def truncated_normal(stddev: float = 1e-2, dtype: Any = None, lower: float = -2.0, upper: float = 2.0) -> Initializer:
    """Make the initializer that draws from the normal distribution cut at `lower` and `upper` deviations.

    The standard deviation of what it draws is smaller than `stddev`, as in JAX.
    """

    def initialize(key: Array, shape: Shape, dtype: Any = dtype) -> Array:
        return random.truncated_normal(key, lower, upper, shape, dtype) * stddev

    return initialize


def variance_scaling(
    scale: float,
    mode: str,
    distribution: str,
    in_axis: int | Sequence[int] = -2,
    out_axis: int | Sequence[int] = -1,
    batch_axis: int | Sequence[int] = (),
    dtype: Any = None,
) -> Initializer:
    r"""Make the initializer of variance :math:`\mathrm{scale} / n`.

    Parameters
    ----------
    scale : float
        The factor, positive.
    mode : {"fan_in", "fan_out", "fan_avg", "fan_geo_avg"}
        Whether n is the number of inputs, of outputs, their mean, or their geometric mean.
    distribution : {"truncated_normal", "normal", "uniform"}
        What is drawn from.
    in_axis, out_axis : int or sequence of int
        Which axes count inputs and outputs; the others multiply both.
    batch_axis : int or sequence of int
        Which axes count neither: there is a kernel for each.
    dtype : dtype, optional
        By default that of new floating numbers.

    Raises
    ------
    ValueError
        If `mode` or `distribution` has another name; by the initializer, if the shape has fewer than two axes.

    Examples
    --------
    >>> import gradkit
    >>> he = variance_scaling(2.0, "fan_in", "normal")
    >>> he(gradkit.random.key(0), (1000, 50)).shape
    (1000, 50)
    """
    if mode not in FANS:
        raise unknown_name("mode", mode, FANS)
    if distribution not in ("truncated_normal", "normal", "uniform"):
        raise unknown_name("distribution", distribution, ("truncated_normal", "normal", "uniform"))

    def initialize(key: Array, shape: Shape, dtype: Any = dtype) -> Array:
        shape = whole_numbers(shape)
        if len(shape) < 2:
            raise ValueError(
                f"variance_scaling: shape must have at least two axes, to count inputs and outputs, got "
                f"{tuple(shape)}. For biases take zeros or uniform."
            )
        inputs, outputs, batches = (_size(shape, axis) for axis in (in_axis, out_axis, batch_axis))
        elements = math.prod(shape)
        fan_in = elements / (outputs * batches) if outputs * batches else 0
        fan_out = elements / (inputs * batches) if inputs * batches else 0
        variance = scale / (FANS[mode](fan_in, fan_out) or 1)
        if distribution == "truncated_normal":
            return random.truncated_normal(key, -2.0, 2.0, shape, dtype) * (math.sqrt(variance) / TRUNCATED_DEVIATION)
        if distribution == "normal":
            return random.normal(key, shape, dtype) * math.sqrt(variance)
        return random.uniform(key, shape, dtype, -1.0) * math.sqrt(3 * variance)

    return initialize


FANS: dict[str, Callable[[float, float], float]] = {
    "fan_in": lambda fan_in, fan_out: fan_in,
    "fan_out": lambda fan_in, fan_out: fan_out,
    "fan_avg": lambda fan_in, fan_out: (fan_in + fan_out) / 2,
    "fan_geo_avg": lambda fan_in, fan_out: (fan_in * fan_out) ** 0.5,
}


def _size(shape: Shape, axis: int | Sequence[int]) -> int:
    return math.prod(shape[a] for a in whole_numbers(axis))


def _named(name: str, scale: float, mode: str, distribution: str, source: str) -> Callable[..., Initializer]:
    def make(
        in_axis: int | Sequence[int] = -2,
        out_axis: int | Sequence[int] = -1,
        batch_axis: int | Sequence[int] = (),
        dtype: Any = None,
    ) -> Initializer:
        return variance_scaling(scale, mode, distribution, in_axis, out_axis, batch_axis, dtype)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = (
        f"Make the initializer of variance {scale:g} / n, n by {mode}, from the {distribution} distribution ({source})."
    )
    return make


LECUN = "LeCun, Bottou, Orr and Müller, Efficient BackProp, 1998"
GLOROT = "Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010"
HE = "He, Zhang, Ren and Sun, Delving deep into rectifiers, 2015"

lecun_normal = _named("lecun_normal", 1.0, "fan_in", "truncated_normal", LECUN)
lecun_uniform = _named("lecun_uniform", 1.0, "fan_in", "uniform", LECUN)
glorot_normal = _named("glorot_normal", 1.0, "fan_avg", "truncated_normal", GLOROT)
glorot_uniform = _named("glorot_uniform", 1.0, "fan_avg", "uniform", GLOROT)
he_normal = _named("he_normal", 2.0, "fan_in", "truncated_normal", HE)
he_uniform = _named("he_uniform", 2.0, "fan_in", "uniform", HE)
xavier_normal, xavier_uniform = glorot_normal, glorot_uniform
kaiming_normal, kaiming_uniform = he_normal, he_uniform


def orthogonal(scale: float = 1.0, column_axis: int = -1, dtype: Any = None) -> Initializer:
    """Make the initializer that draws a matrix with orthonormal rows or columns, times `scale` (Saxe et al., 2014).

    Parameters
    ----------
    scale : float
        The factor.
    column_axis : int
        Which axis counts the columns; the others together count the rows.
    dtype : dtype, optional
        By default that of new floating numbers.
    """

    def initialize(key: Array, shape: Shape, dtype: Any = dtype) -> Array:
        shape = whole_numbers(shape)
        if len(shape) < 2:
            raise ValueError(f"orthogonal: shape must have at least two axes, got {tuple(shape)}")
        columns = shape[column_axis]
        rows = math.prod(shape) // columns if columns else 0
        if not rows * columns:
            return full(shape, 0.0, dtype)
        q, r = jnp.linalg.qr(random.normal(key, (max(rows, columns), min(rows, columns)), dtype))
        # With the signs of the diagonal every orthogonal matrix is equally likely.
        matrix = q * jnp.sign(jnp.linalg.diagonal(r))
        if rows < columns:
            matrix = matrix.mT
        rest = [size for axis, size in enumerate(shape) if axis != column_axis % len(shape)]
        return scale * jnp.moveaxis(jnp.reshape(matrix, (*rest, columns)), -1, column_axis)

    return initialize


def delta_orthogonal(scale: float = 1.0, column_axis: int = -1, dtype: Any = None) -> Initializer:
    """Make the initializer of convolutions that is `orthogonal` at the centre, and 0 elsewhere (Xiao et al., 2018).

    Shapes have one to three axes of positions, then inputs and outputs, of which there are at least as many.
    """
    central = orthogonal(scale, column_axis, dtype)

    def initialize(key: Array, shape: Shape, dtype: Any = dtype) -> Array:
        shape = whole_numbers(shape)
        if len(shape) not in (3, 4, 5):
            raise ValueError(f"delta_orthogonal: shape must have 3, 4 or 5 axes, got {tuple(shape)}")
        if shape[-1] < shape[-2]:
            raise ValueError(f"delta_orthogonal: there must be at least as many outputs as inputs, got {tuple(shape)}")
        centre = tuple((size - 1) // 2 for size in shape[:-2])
        matrix = central(key, shape[-2:], dtype)
        return full(shape, 0.0, matrix.dtype).at[centre].set(matrix)

    return initialize


INITIALIZERS: dict[str, Callable[[], Initializer]] = {
    "glorot_normal": glorot_normal,
    "glorot_uniform": glorot_uniform,
    "he_normal": he_normal,
    "he_uniform": he_uniform,
    "lecture": lecture,
    "lecun_normal": lecun_normal,
    "lecun_uniform": lecun_uniform,
    "normal": normal,
    "ones": lambda: ones,
    "uniform": uniform,
    "zeros": lambda: zeros,
}
"""What a layer's `initializer` can be by name."""


def initializer_named(initializer: str | Initializer) -> Initializer:
    """Return the initializer of that name; a function as it is.

    Raises
    ------
    ValueError
        If no initializer has that name; the message lists those that there are.
    TypeError
        If it is neither a name nor callable.
    """
    if callable(initializer):
        return initializer
    if not isinstance(initializer, str):
        raise TypeError(f"initializer: expected a name or a function, got {initializer!r}")
    make = INITIALIZERS.get(initializer)
    if make is None:
        raise unknown_name("initializer", initializer, INITIALIZERS)
    return make()
