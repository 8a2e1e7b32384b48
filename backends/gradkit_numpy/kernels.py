"""NumPy's cheapest call for each primitive that has a better one than the namespace's function.

Most of what is saved is the Python wrapper around a ufunc: on a 4 x 4 array `np.sum(a, axis=0)` costs four times
`np.add.reduce(a, 0)`, and `a @ b` nearly three times `a.dot(b)`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradkit_numpy import linear_algebra, losses, saturating, scattering
from gradkit_numpy.losses import ones
from gradkit_numpy.silence import SILENCE
from gradkit_numpy.threefry import fold_in, random_bits

__all__ = ["KERNELS"]

Raw = Any

# NumPy's stubs know no `keepdims` that is a variable.
sum_over: Any = np.add.reduce
max_over: Any = np.maximum.reduce
min_over: Any = np.minimum.reduce
product_over: Any = np.multiply.reduce
some_over: Any = np.logical_or.reduce
every_over: Any = np.logical_and.reduce
add_at: Any = np.add.at


Shares = list[tuple[Any, Raw]]
"""What `Primitive.pull` returns: a parent's node and its share of the cotangent."""

ROWS = (0,)
NUMBERS = (int, float, complex)
HALF = np.dtype("float16")
LONGEST = 4096
"""Elements of a sum up to which BLAS, which adds one to the next, loses no digits that NumPy's sums of halves keep."""


def total(x: Raw, axis: Any = None, keepdims: bool = False) -> Raw:
    # The product with a vector of ones takes a third of the time of np.add.reduce.
    if not keepdims and x.dtype.kind == "f":
        if axis == ROWS and x.ndim == 2 and x.shape[0] <= LONGEST:  # the gradient of a bias
            return ones(x.shape[0], x.dtype).dot(x)
        if 0 < x.size <= LONGEST and x.ndim and (axis is None or len(axis) == x.ndim):  # a loss
            return ones(x.size, x.dtype).dot(x.ravel())
    return sum_over(x, axis=axis, keepdims=keepdims)


def mean(x: Raw, axis: Any = None, keepdims: bool = False) -> Raw:
    if x.dtype == HALF:
        # Its sums overflow at 65504, which its means do not.
        return mean(x.astype(np.float32), axis, keepdims).astype(HALF)
    result = total(x, axis, keepdims)
    return result / (x.size // result.size) if result.size else result


def largest(x: Raw, axis: Any = None, keepdims: bool = False) -> Raw:
    return max_over(x, axis=axis, keepdims=keepdims)


def smallest(x: Raw, axis: Any = None, keepdims: bool = False) -> Raw:
    return min_over(x, axis=axis, keepdims=keepdims)


def product(x: Raw, axis: Any = None, keepdims: bool = False) -> Raw:
    return product_over(x, axis=axis, keepdims=keepdims)


def some(x: Raw, axis: Any = None, keepdims: bool = False) -> Raw:
    return some_over(x, axis=axis, keepdims=keepdims)


def every(x: Raw, axis: Any = None, keepdims: bool = False) -> Raw:
    return every_over(x, axis=axis, keepdims=keepdims)


def matmul(x: Raw, y: Raw) -> Raw:
    return x.dot(y) if x.ndim == 2 == y.ndim else np.matmul(x, y)


def affine(x: Raw, w: Raw, b: Raw) -> Raw:
    result = x.dot(w)
    result += b
    return result


def affine_pull(g: Raw, node: Any, saved: Sequence[Raw]) -> Shares:
    x_node, w_node, b_node = node.parents
    _, x, w, _ = saved
    shares = []
    if x_node is not None:
        shares.append((x_node, g.dot(w.T)))
    if w_node is not None:
        shares.append((w_node, x.T.dot(g)))
    if b_node is not None:
        shares.append((b_node, total(g, ROWS)))
    return shares


def reshape(x: Raw, shape: tuple[int, ...]) -> Raw:
    return x.reshape(shape)


def permute_dims(x: Raw, axes: tuple[int, ...]) -> Raw:
    return x.transpose(axes)


def broadcast_to(x: Raw, shape: tuple[int, ...]) -> Raw:
    # As np.broadcast_to does, without its checks in Python.
    views = np.nditer((x,), ["multi_index", "refs_ok", "zerosize_ok"], ["readonly"], itershape=shape, order="C")
    return views.itviews[0]


def getitem(x: Raw, index: tuple[Any, ...]) -> Raw:
    return x[index]


begin_silence, end_silence = SILENCE
WHOLE = "biu"


def astype(x: Raw, dtype: Any) -> Raw:
    # Whole numbers are in the range of every dtype that they are converted to, but for half the digits.
    if x.dtype.kind in WHOLE and dtype != HALF:
        return x.astype(dtype)
    token = begin_silence()
    try:
        return x.astype(dtype)
    finally:
        end_silence(token)


BITS = {size: np.dtype(f"int{8 * size}") for size in (1, 2, 4, 8)}


def sheltered_product(x: Raw, y: Raw) -> Raw:
    # 0 times an infinity is seen in the result; there is hardly ever one.
    token = begin_silence()
    try:
        z = x * y
    finally:
        end_silence(token)
    if np.isnan(z).any():
        z = np.where(np.isnan(z) & ((x == 0) & (y == y) | (y == 0) & (x == x)), z.dtype.type(0), z)
    return z


def masked(g: Raw, mask: Raw) -> Raw:
    # The bits times 1 or 0. np.where branches at each element, and on a mask without a pattern (relu's) takes 20 times
    # as long: every second guess of the processor is wrong.
    bits = BITS.get(g.dtype.itemsize)
    if bits is None:
        return np.where(mask, g, g.dtype.type(0))
    return np.multiply(g.view(bits), mask.view(np.int8)).view(g.dtype)


def power(x: Raw, y: Raw) -> Raw:
    # NumPy takes a square root where one exponent of 1/2 is for a row of numbers. At -0.0 and minus infinity that is
    # not the power, which is 0 and infinity there in C, in the array API standard and in JAX.
    if type(y) is int or (type(y) is float and y != 0.5):
        return np.power(x, y)
    if type(x) in NUMBERS:
        x = np.asarray(x, y.dtype)
    elif type(y) is np.ndarray and y.shape == x.shape and y.ndim and 0 not in y.strides:
        return np.power(x, y)
    if x.dtype.kind == "f" and not min_over(x, axis=None, initial=1) > 0:
        x = np.where((y == 0.5) & ((x == 0) | (x == -np.inf)), np.abs(x), x)
    return np.power(x, y)


def relu(x: Raw) -> Raw:
    return np.maximum(x, x.dtype.type(0))


def square_pull(g: Raw, node: Any, saved: Sequence[Raw]) -> Shares:
    # Not 2 * x, which would convert a Python number for each call; nor 2 * g, which is a number where 2 * x overflows.
    x = saved[1]
    return [(node.parents[0], g * (x + x))]


def scatter_add(updates: Raw, indices: Raw, *, axis: int, size: int) -> Raw:
    shape = updates.shape[:axis] + (size,) + updates.shape[axis + 1 :]
    result = np.zeros(shape, updates.dtype)
    add_at(result, (slice(None),) * axis + (indices,), updates)
    return result


def take(x: Raw, indices: Raw, *, axis: int) -> Raw:
    return x.take(indices, axis)


def mean_square(x: Raw, y: Raw) -> Raw:
    difference = (x - y).ravel()
    if x.itemsize == 2:
        difference = difference.astype(np.float32)
        return (difference.dot(difference) / x.size).astype(HALF)
    return difference.dot(difference) / x.size


def mean_square_pull(g: Raw, node: Any, saved: Sequence[Raw]) -> Shares:
    _, x, y = saved
    share = x - y
    share *= g * (2 / x.size)
    x_node, y_node = node.parents
    return [(n, s) for n, s in ((x_node, share), (y_node, share if y_node is None else -share)) if n is not None]


def sgd_update(
    params: Sequence[Raw],
    grads: Sequence[Raw],
    velocities: Sequence[Raw] | None,
    *,
    learning_rate: Any,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
    scale: Any,
) -> tuple[list[Raw], list[Raw] | None]:
    multiply, subtract = np.multiply, np.subtract
    new_params: list[Raw] = []
    if velocities is None and not weight_decay and scale is None:
        # An array of no axes: NumPy takes half as long over it as over a Python float.
        rate = np.asarray(learning_rate, params[0].dtype)
        for parameter, gradient in zip(params, grads, strict=True):
            step = multiply(gradient, rate)
            new_params.append(subtract(parameter, step, step))
        return new_params, None
    unscaled = type(learning_rate) is float and learning_rate == 1
    new_velocities: list[Raw] = []
    for i, (parameter, gradient) in enumerate(zip(params, grads, strict=True)):
        if scale is not None:
            gradient = gradient * scale
        if weight_decay:
            gradient = gradient + parameter * weight_decay
        if velocities is not None:
            velocity = velocities[i] * momentum
            velocity += gradient
            new_velocities.append(velocity)
            step = velocity * momentum if nesterov else velocity * learning_rate
            if nesterov:
                step += gradient
                if not unscaled:
                    step *= learning_rate
        else:
            step = gradient * learning_rate
        new_params.append(subtract(parameter, step, step))
    return new_params, None if velocities is None else new_velocities


def sliding_product(x: Raw, y: Raw) -> Raw:
    # np.correlate would conjugate.
    return np.convolve(x, y[::-1], "valid")


KERNELS: dict[str, Callable[..., Any]] = {
    **linear_algebra.KERNELS,
    **losses.KERNELS,
    **saturating.KERNELS,
    **scattering.KERNELS,
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "negative": operator.neg,
    "sum": total,
    "mean": mean,
    "max": largest,
    "min": smallest,
    "prod": product,
    "any": some,
    "all": every,
    "matmul": matmul,
    "affine": affine,
    "affine_pull": affine_pull,
    "reshape": reshape,
    "permute_dims": permute_dims,
    "broadcast_to": broadcast_to,
    "fold_in": fold_in,
    "getitem": getitem,
    "astype": astype,
    "astype_exact": astype,
    "masked": masked,
    "pow": power,
    "sheltered_product": sheltered_product,
    "relu": relu,
    "square_pull": square_pull,
    "scatter_add": scatter_add,
    "take": take,
    "mean_square": mean_square,
    "mean_square_pull": mean_square_pull,
    "random_bits": random_bits,
    "sgd_update": sgd_update,
    "cbrt": np.cbrt,
    "gcd": np.gcd,
    "sliding_product": sliding_product,
}
