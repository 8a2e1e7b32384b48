"""Products of matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gradkit.backend import NARROW_DTYPES
from gradkit.core import Array, Linear, bind
from gradkit.core.array import backend_of_array, wrap
from gradkit.core.batching import broadcasting_leading, moved_to_front, text_on_batches
from gradkit.core.binding import KERNEL_ERRORS, explain
from gradkit.core.calls import binary
from gradkit.core.namespace import PLAIN, bound, lift, publish, unbroadcast
from gradkit.core.node import NO_PARAMS, Node, recording
from gradkit.core.operands import as_array, as_arrays, of_one_dtype
from gradkit.core.precision import PRODUCTS, product_mode
from gradkit.core.structured import Contraction
from gradkit.errors import ShapeError
from gradkit.primitives.elementwise import add, multiply
from gradkit.primitives.manipulation import permute_dims, reshape

__all__ = ["affine", "dot", "matmul"]

_new = object.__new__


def _pull_left(xp: Any, g: Any, _x: Any, y: Any) -> Any:
    product = xp.matmul(g, y.T if len(y.shape) == 2 else xp.matrix_transpose(y))
    return product if product.shape == _x.shape else unbroadcast(xp, product, product.shape, _x.shape)


def _pull_right(xp: Any, g: Any, x: Any, _y: Any) -> Any:
    product = xp.matmul(x.T if len(x.shape) == 2 else xp.matrix_transpose(x), g)
    return product if product.shape == _y.shape else unbroadcast(xp, product, product.shape, _y.shape)


def _rows(xp: Any, x: Any) -> Any:
    """Return an array as a matrix whose rows are its last axis."""
    return x if x.ndim == 2 else xp.reshape(x, (-1, x.shape[-1]))


def _batch_matmul(primitive: Any, values: Any, axes: Any, size: int, params: Any) -> tuple[Any, int]:
    """Take a batch of one factor as more rows or columns where the other factor is one matrix: one large product."""
    xp = bound()
    (x, y), (x_axis, y_axis) = values, axes
    if y_axis is None and y.ndim == 2:
        front = moved_to_front(x, x_axis)
        rows = xp.reshape(front, (math.prod(front.shape[:-1]), front.shape[-1]))
        return xp.reshape(bind(primitive, (rows, y), params), (*front.shape[:-1], y.shape[1])), 0
    if x_axis is None and x.ndim == 2 and y.ndim == 3:
        last = xp.permute_dims(y, (*(axis for axis in range(3) if axis != y_axis), y_axis))
        columns = xp.reshape(last, (last.shape[0], last.shape[1] * size))
        return xp.reshape(bind(primitive, (x, columns), params), (x.shape[0], last.shape[1], size)), 2
    return broadcasting_leading(primitive, values, axes, size, params)


_matmul = Contraction(
    "matmul",
    "...ij,...jk->...ik",
    None,
    (_pull_left, _pull_right),
    batch=_batch_matmul,
    leaf=True,
)


def _pull_left_in_mode(xp: Any, g: Any, _x: Any, y: Any, *, mode: str) -> Any:
    product = xp.matmul_in_mode(g, xp.matrix_transpose(y), mode=mode)
    return product if product.shape == _x.shape else unbroadcast(xp, product, product.shape, _x.shape)


def _pull_right_in_mode(xp: Any, g: Any, x: Any, _y: Any, *, mode: str) -> Any:
    product = xp.matmul_in_mode(xp.matrix_transpose(x), g, mode=mode)
    return product if product.shape == _y.shape else unbroadcast(xp, product, product.shape, _y.shape)


_matmul_in_mode = Linear(
    "matmul_in_mode",
    lambda xp, x, y, *, mode: xp.matmul(x, y),
    (_pull_left_in_mode, _pull_right_in_mode),
    hands_on=False,
    batch=_batch_matmul,
    shape=lambda x, y, *, mode: _matmul.shape_rule(x, y),  # type: ignore[misc]
    leaf=True,
)
"""A product in another mode than the library's own (`core.precision`), its transposes too."""


_without_modes: set[type] = set()
"""Types of raw arrays whose backends have no choice, so that plain products need not ask twice."""


def _mode_beside(array: Array) -> str:
    """Return the mode in which a product with an array is computed: an empty one where its backend has no choice."""
    backend = backend_of_array(array)
    modes = backend.product_modes
    if not modes and isinstance(array._value, backend.array_types):
        _without_modes.add(type(array._value))
    return mode if modes and (mode := product_mode()) in modes else ""


_of_matrices = binary(
    _matmul,
    False,
    general=lambda primitive, matrices, _: bind(primitive, of_one_dtype(matrices), NO_PARAMS),
)


class Affine(Linear):
    """``x @ w + b``. The transposes share the work of bringing the cotangent into the form of a matrix."""

    def push(self, out: Any, args: Sequence[Any], tangents: Sequence[Any], params: Any) -> Any:
        """Push the tangents through the product and the sum."""
        (x, w, _), (x_tangent, w_tangent, b_tangent) = args, tangents
        result = None if b_tangent is None else bound().broadcast_to(b_tangent, out.shape)
        for left, right in ((x_tangent, w), (x, w_tangent)):
            if left is not None and right is not None:
                product = matmul(left, right)
                result = product if result is None else result + product
        return result

    def batch(self, values: Any, axes: Any, size: int, params: Any) -> tuple[Any, int]:
        """Take a batch of inputs as more rows; with a batch of weights it is a batch of products."""
        x, w, b = values
        x_axis, w_axis, b_axis = axes
        if w_axis is None and b_axis is None:
            return bind(self, (moved_to_front(x, x_axis), w, b), params), 0
        return text_on_batches(self, values, axes, size, params)

    def pull(self, cotangent: Any, node: Node, saved: Sequence[Any]) -> list[tuple[Node, Any]]:
        """Run each transpose."""
        xp = PLAIN.get(type(cotangent)) if node.plain else None
        if xp is None:
            xp, cotangent, saved = lift(cotangent, saved)
        elif len(node.shape) == 2 and cotangent.shape == node.shape:
            kernel = xp.kernel(self.pull_kernel)
            if kernel is not None:
                return kernel(cotangent, node, saved)  # type: ignore[no-any-return]
        if cotangent.shape != node.shape:
            cotangent = xp.broadcast_to(cotangent, node.shape)
        x, w, b = node.parents
        _, x_value, w_value, _ = saved
        matmul = xp.matmul
        shares = [] if x is None else [(x, matmul(cotangent, w_value.T))]
        rows = cotangent if len(node.shape) == 2 else _rows(xp, cotangent)
        if w is not None:
            shares.append((w, matmul((x_value if len(x_value.shape) == 2 else _rows(xp, x_value)).T, rows)))
        if b is not None:
            shares.append((b, xp.sum(rows, axis=ROWS, keepdims=False)))
        return shares


ROWS = (0,)
_affine = Affine(
    "affine",
    lambda xp, x, w, b: xp.matmul(x, w) + b,
    (
        lambda xp, g, _x, w, _b: xp.matmul(g, w.T),
        lambda xp, g, x, _w, _b: xp.matmul(_rows(xp, x).T, _rows(xp, g)),
        lambda xp, g, _x, _w, _b: xp.sum(_rows(xp, g), axis=ROWS, keepdims=False),
    ),
    hands_on=False,
    shape=lambda x, w, b: (*x.shape[:-1], w.shape[1]),
)


def matmul(x: Any, y: Any, /) -> Array:
    """Multiply matrices; leading axes are batches and broadcast.

    Parameters
    ----------
    x : array, shape (..., n, k) or (k,)
        The left factor.
    y : array, shape (..., k, m) or (k,)
        The right factor.

    Returns
    -------
    Array, shape (..., n, m)
        Without the axis of a factor that was a vector.

    Raises
    ------
    ShapeError
        If the inner sizes differ, or an operand is 0-d.
    """
    if type(x) is Array and type(y) is Array:
        # The plain case: two matrices that fit.
        shape, other = x._value.shape, y._value.shape
        fit = len(shape) == 2 == len(other) and shape[1] == other[0]
        if fit and not (PRODUCTS.was_chosen and type(x._value) not in _without_modes and _mode_beside(x)):
            return _of_matrices(x, y)
    left, right = of_one_dtype((as_array(x, "matmul"), as_array(y, "matmul")))
    shape, other = left.shape, right.shape
    if not shape or not other:
        raise ShapeError(f"matmul requires arrays of at least one dimension, got {shape} and {other}")
    inner = other[-2:][0]
    if shape[-1] != inner:
        raise ShapeError(
            f"matmul requires contracting dimensions to have the same size, got {shape[-1]} and {inner} "
            f"(x has shape {shape}, y has shape {other})"
        )
    if len(shape) > 2 and len(other) > 2 and not _batches_broadcast(shape, other):
        raise ShapeError(
            f"matmul requires leading axes that broadcast (from the right, sizes must be equal or 1), got x of shape "
            f"{shape} and y of shape {other}"
        )
    if len(shape) == 1:
        left = reshape(left, (1, inner))
    if len(other) == 1:
        right = reshape(right, (inner, 1))
    mode = _mode_beside(left) if PRODUCTS.was_chosen else ""
    product = bind(_matmul_in_mode, (left, right), {"mode": mode}) if mode else bind(_matmul, (left, right), NO_PARAMS)
    if len(shape) > 1 < len(other):
        return product
    *lead, rows, columns = product._value.shape
    return reshape(product, (*lead, *(rows,) * (len(shape) > 1), *(columns,) * (len(other) > 1)))


def _batches_broadcast(left: tuple[int, ...], right: tuple[int, ...]) -> bool:
    return all(n == m or 1 in (n, m) for n, m in zip(left[-3::-1], right[-3::-1], strict=False))


def dot(x: Any, y: Any, /) -> Array:
    """Multiply as `numpy.dot` does: the last axis of `x` with the last but one of `y`.

    Parameters
    ----------
    x : array, shape (..., k)
        The left factor.
    y : array, shape (..., k, m) or (k,)
        The right factor.

    Returns
    -------
    Array, shape (..., ..., m)
        The axes that are left of `x`, then those of `y`. (`matmul` pairs the leading axes.) With a number it is the
        product.

    Raises
    ------
    ShapeError
        If the inner sizes differ.
    """
    left, right = as_arrays([x, y], "dot")
    if left.ndim == 0 or right.ndim == 0:
        return multiply(left, right)
    if right.ndim <= 2:
        return matmul(left, right)
    *lead, inner, last = range(right.ndim)
    columns = permute_dims(right, (inner, *lead, last))
    product = matmul(left, reshape(columns, (columns.shape[0], math.prod(columns.shape[1:]))))
    return reshape(product, (*left.shape[:-1], *columns.shape[1:]))


def affine(x: Any, w: Any, b: Any, /) -> Array:
    """Return ``x @ w + b`` as one operation: what a layer computes.

    Parameters
    ----------
    x : array, shape (..., n)
        The inputs.
    w : array, shape (n, m)
        The weights.
    b : array, shape (m,)
        The biases.

    Returns
    -------
    Array, shape (..., m)

    Raises
    ------
    ShapeError
        If the shapes do not fit; the message names all three.
    """
    if not (type(x) is Array and type(w) is Array and type(b) is Array):
        x, w, b = as_array(x, "affine"), as_array(w, "affine"), as_array(b, "affine")
    left, weight, bias = x._value, w._value, b._value
    shape = weight.shape
    if len(shape) != 2 or left.shape[-1:] != shape[:1] or bias.shape != shape[1:]:
        raise ShapeError(
            f"affine(x, w, b): expected x (..., n), w (n, m) and b (m,), got x {x.shape}, w {w.shape}, b {b.shape}"
        )
    if PRODUCTS.was_chosen and _mode_beside(w):
        return add(matmul(x, w), b)
    dtype, kind = weight.dtype, type(weight)
    # Dtypes of two libraries, or of a library and a stand-in, are not compared.
    if (
        type(left) is not kind
        or type(bias) is not kind
        or (left.dtype is not dtype and left.dtype != dtype)
        or (bias.dtype is not dtype and bias.dtype != dtype)
    ):
        return bind(_affine, of_one_dtype((x, w, b)), NO_PARAMS)
    # What `bind` does, for the plain case: arrays of one backend, and one transform that follows the weights.
    kernel = _affine.kernels.get(kind)
    x_node, w_node, b_node = x._node, w._node, b._node
    trace = None if w_node is None else w_node.trace
    if (
        kernel is None
        or (NARROW_DTYPES and dtype in NARROW_DTYPES)
        or type(left) is not kind
        or type(bias) is not kind
        or (None if b_node is None else b_node.trace) is not trace
        or (x_node is not None and x_node.trace is not trace)
    ):
        return bind(_affine, (x, w, b), NO_PARAMS)
    try:
        out = kernel(left, weight, bias)
    except KERNEL_ERRORS as error:
        raise explain(_affine, (left, weight, bias), error) from error
    if trace is None or not (trace.level or recording()):
        return wrap(out)
    nodes = (x_node, w_node, b_node)
    saved = (None, left, weight if x_node is not None else w_node, b_node)
    result: Array = _new(Array)  # as `wrap` does
    result._value = out
    result._node = Node(trace, out.shape, out.dtype, _affine, nodes, saved, NO_PARAMS, True)
    return result


publish(globals(), __all__)
