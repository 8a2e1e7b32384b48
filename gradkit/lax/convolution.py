"""Convolutions: the windows' elements as the columns of a matrix, and one product with the kernel's.

Both are differentiable operations, so gradients of any order, forward mode and `vmap` follow from them.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

from gradkit.core import Array
from gradkit.core.operands import dtype_name
from gradkit.core.precision import PrecisionLike, check_precision, products_with
from gradkit.core.promotion import summed_in
from gradkit.lax.arguments import convert, named_dtype, require_same_dtype, together
from gradkit.lax.convolution_numbers import (
    ConvDimensionNumbers,
    conv_dimension_numbers,
    conv_transpose_padding,
    dilate_shape,
    padtype_to_pads,
    pairs_of,
)
from gradkit.lax.padding import padded
from gradkit.lax.products import dot_general
from gradkit.lax.shaping import rev
from gradkit.primitives.linalg import matmul
from gradkit.primitives.manipulation import permute_dims, reshape
from gradkit.primitives.windows import sliding_windows

__all__ = [
    "conv", "conv_general_dilated", "conv_general_dilated_local", "conv_general_dilated_patches", "conv_transpose",
    "conv_with_general_padding",
]  # fmt: skip

Padding = str | Sequence[tuple[int, int]]
Sizes = tuple[int, ...]


def conv_general_dilated(
    lhs: Any,
    rhs: Any,
    window_strides: Sequence[int],
    padding: Padding,
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: PrecisionLike = None,
    preferred_element_type: Any = None,
    out_sharding: None = None,
) -> Array:
    """Convolve over any number of spatial axes. The kernel is not flipped.

    Parameters
    ----------
    lhs : array
        The input: a batch axis, a feature axis, n spatial axes, in an order that `dimension_numbers` say.
    rhs : array
        The kernel: an axis of output features, one of input features, n spatial axes.
    window_strides : sequence of n int
        How far one window is from the next.
    padding : {"SAME", "SAME_LOWER", "VALID"} or sequence of n (int, int)
        Zeros before and behind the input.
    lhs_dilation, rhs_dilation : sequence of n int, optional
        How far apart the elements of the input are moved, and those of the kernel.
    dimension_numbers : (str, str, str) or ConvDimensionNumbers, optional
        Which axis is which, of the input, the kernel and the result; by default ``("NCHW", "OIHW", "NCHW")``.
    feature_group_count, batch_group_count : int
        Into how many groups the input's features or its batch are divided; the output features are, too.
    precision : Precision, optional
        How exactly products of float32 are computed: see `gradkit.default_matmul_precision`.
    preferred_element_type : dtype, optional
        The dtype of the result.

    Returns
    -------
    Array
        Of one batch axis, one feature axis and n spatial axes.

    Examples
    --------
    >>> from gradkit import lax
    >>> import gradkit.numpy as jnp
    >>> images, kernel = jnp.ones((1, 8, 8, 3)), jnp.ones((3, 3, 3, 16))
    >>> lax.conv_general_dilated(images, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")).shape
    (1, 4, 4, 16)
    """
    left, right = together("conv_general_dilated", lhs, rhs)
    numbers = conv_dimension_numbers(left.shape, right.shape, dimension_numbers)
    require_same_dtype("conv_general_dilated", (left, right))
    shape, kernel = (
        tuple(array.shape[a] for a in spec) for array, spec in ((left, numbers.lhs_spec), (right, numbers.rhs_spec))
    )
    _check_groups(shape, kernel, feature_group_count, batch_group_count)
    result_dtype = dtype_name(left) if preferred_element_type is None else named_dtype(preferred_element_type)
    dtype = summed_in(dtype_name(left), result_dtype)
    x, strides, dilation = _spread_out(
        _reorder(convert(left, dtype), numbers.lhs_spec),
        kernel[2:],
        window_strides,
        padding,
        lhs_dilation,
        rhs_dilation,
    )
    w = _reorder(convert(right, dtype), numbers.rhs_spec)
    groups = feature_group_count
    if batch_group_count > 1:
        # Groups of the batch are groups of features of a smaller batch.
        groups = batch_group_count
        parts = reshape(x, (groups, x.shape[0] // groups, *x.shape[1:]))
        x = reshape(
            permute_dims(parts, (1, 0, *range(2, parts.ndim))),
            (parts.shape[1], groups * parts.shape[2], *parts.shape[3:]),
        )
    with products_with(precision, "conv_general_dilated"):
        result = convert(_convolve(x, w, strides, dilation, groups), result_dtype)
    return _reorder(result, _inverse(numbers.out_spec))


def _spread_out(
    x: Array,
    window: Sequence[int],
    window_strides: Sequence[int],
    padding: Padding,
    lhs_dilation: Sequence[int] | None,
    rhs_dilation: Sequence[int] | None,
) -> tuple[Array, Sizes, Sizes]:
    """Return the input (n, c, ...) with dilation and padding, the windows' strides, and their dilation."""
    rank = x.ndim - 2
    strides = tuple(map(operator.index, window_strides))
    spread = (1,) * rank if lhs_dilation is None else tuple(map(operator.index, lhs_dilation))
    dilation = (1,) * rank if rhs_dilation is None else tuple(map(operator.index, rhs_dilation))
    for word, numbers in (("window_strides", strides), ("lhs_dilation", spread), ("rhs_dilation", dilation)):
        if len(numbers) != rank:
            raise ValueError(
                f"conv_general_dilated window and {word} must have the same number of dimensions, but got {rank} and "
                f"{len(numbers)}"
            )
        if any(n <= 0 for n in numbers):
            raise ValueError(f"conv_general_dilated {word} must be positive, got {numbers}.")
    if not isinstance(padding, str):
        pads = pairs_of(padding, "conv_general_dilated")
    elif any(d != 1 for d in spread):
        raise ValueError(
            "String padding is not implemented for transposed convolution using this op. Please either exactly specify "
            "the required padding or use conv_transpose."
        )
    else:
        pads = tuple(padtype_to_pads(x.shape[2:], dilate_shape(window, dilation), strides, padding))
    if len(pads) != rank:
        raise TypeError(f"Wrong number of explicit pads for convolution: expected {rank}, got {len(pads)}.")
    config = [(0, 0, 0), (0, 0, 0), *((low, high, d - 1) for (low, high), d in zip(pads, spread, strict=True))]
    return padded(x, None, config), strides, dilation


def _inverse(order: Sequence[int]) -> list[int]:
    return [list(order).index(a) for a in range(len(order))]


def _reorder(array: Array, order: Sequence[int]) -> Array:
    return array if list(order) == list(range(array.ndim)) else permute_dims(array, tuple(order))


def _convolve(x: Array, w: Array, strides: Sizes, dilation: Sizes, groups: int) -> Array:
    """Convolve x (n, c, ...) with w (o, c / groups, ...)."""
    batch, features = x.shape[:2]
    outputs, inputs, *window = w.shape
    columns = windows_of(
        permute_dims(x, (1, 0, *range(2, x.ndim))), (1, 1, *window), (1, 1, *strides), (1, 1, *dilation)
    )
    spatial = columns.shape[3:]
    elements, positions = columns.shape[0], batch * math.prod(spatial)
    rows = reshape(permute_dims(w, (0, *range(2, w.ndim), 1)), (groups, outputs // groups, elements * inputs))
    if groups == 1:
        product = matmul(reshape(rows, rows.shape[1:]), reshape(columns, (elements * features, positions)))
    else:
        grouped = permute_dims(reshape(columns, (elements, groups, inputs, positions)), (1, 0, 2, 3))
        product = matmul(rows, reshape(grouped, (groups, elements * inputs, positions)))
    result = reshape(product, (outputs, batch, *spatial))
    return permute_dims(result, (1, 0, *range(2, result.ndim)))


def windows_of(x: Array, window: Sequence[int], strides: Sequence[int], dilation: Sequence[int]) -> Array:
    """Return the elements of all windows, along a first axis; see `sliding_windows`."""
    if all(n == 1 for n in (*window, *strides)):
        return reshape(x, (1, *x.shape))
    return sliding_windows(x, window=tuple(window), strides=tuple(strides), dilation=tuple(dilation))


def _check_groups(shape: Sequence[int], kernel: Sequence[int], features: int, batches: int) -> None:
    name = "conv_general_dilated"
    for word, count in (("feature_group_count", features), ("batch_group_count", batches)):
        if count <= 0:
            raise ValueError(f"{name} {word} must be a positive integer, got {count}.")
    if shape[1] % features:
        raise ValueError(
            f"{name} feature_group_count must divide lhs feature dimension size, but {features} does not divide "
            f"{shape[1]}."
        )
    if shape[1] // features != kernel[1]:
        raise ValueError(
            f"{name} lhs feature dimension size divided by feature_group_count must equal the rhs input feature "
            f"dimension size, but {shape[1]} // {features} != {kernel[1]}."
        )
    if shape[0] % batches:
        raise ValueError(
            f"{name} batch_group_count must divide lhs batch dimension size, but {batches} does not divide {shape[0]}."
        )
    for word, count in (("feature_group_count", features), ("batch_group_count", batches)):
        if kernel[0] % count:
            raise ValueError(
                f"{name} rhs output feature dimension size must be a multiple of {word}, but {kernel[0]} is not a "
                f"multiple of {count}."
            )
    if batches > 1 and features > 1:
        raise ValueError(
            f"At most one of batch_group_count and feature_group_count may be > 1, got batch_group_count={batches} and "
            f"feature_group_count={features}"
        )


def conv(
    lhs: Any,
    rhs: Any,
    window_strides: Sequence[int],
    padding: Padding,
    precision: PrecisionLike = None,
    preferred_element_type: Any = None,
) -> Array:
    """Convolve an input (n, c, ...) with a kernel (o, c, ...); see `conv_general_dilated`."""
    return conv_general_dilated(
        lhs, rhs, window_strides, padding, precision=precision, preferred_element_type=preferred_element_type
    )


def conv_with_general_padding(
    lhs: Any,
    rhs: Any,
    window_strides: Sequence[int],
    padding: Padding,
    lhs_dilation: Sequence[int] | None,
    rhs_dilation: Sequence[int] | None,
    precision: PrecisionLike = None,
    preferred_element_type: Any = None,
) -> Array:
    """Convolve an input (n, c, ...) with a kernel (o, c, ...), with dilation; see `conv_general_dilated`."""
    return conv_general_dilated(
        lhs,
        rhs,
        window_strides,
        padding,
        lhs_dilation,
        rhs_dilation,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


DEFAULTS = {
    2: ("NC", "IO", "NC"),
    3: ("NHC", "HIO", "NHC"),
    4: ("NHWC", "HWIO", "NHWC"),
    5: ("NHWDC", "HWDIO", "NHWDC"),
}


def conv_transpose(
    lhs: Any,
    rhs: Any,
    strides: Sequence[int],
    padding: Padding,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    transpose_kernel: bool = False,
    precision: PrecisionLike = None,
    preferred_element_type: Any = None,
    use_consistent_padding: bool = False,
) -> Array:
    """Convolve with fractional strides: what a convolution's gradient computes, as a layer of its own.

    Parameters
    ----------
    lhs, rhs : array
        The input and the kernel; see `conv_general_dilated`.
    strides : sequence of int
        By how much the result is finer than the input.
    padding : {"SAME", "VALID"} or sequence of (int, int)
        By name, that of the convolution that this one transposes; numbers are the padding of this one itself, unless
        `use_consistent_padding`.
    rhs_dilation : sequence of int, optional
        How far apart the elements of the kernel are moved.
    dimension_numbers : (str, str, str), optional
        Which axis is which; by default ``("NHWC", "HWIO", "NHWC")``.
    transpose_kernel : bool
        Flip the kernel's spatial axes and exchange its features, as a convolution's gradient does.
    precision, preferred_element_type : optional
        See `conv_general_dilated`.
    use_consistent_padding : bool
        Numbers, too, are the padding of the convolution that this one transposes.
    """
    left, right = together("conv_transpose", lhs, rhs)
    if left.ndim != right.ndim or left.ndim < 2:
        raise ValueError(
            f"conv_transpose: lhs and rhs must have the same number of axes, at least 2, got {left.shape} and "
            f"{right.shape}"
        )
    if dimension_numbers is None:
        if left.ndim not in DEFAULTS:
            raise ValueError("No 4+ dimensional dimension_number defaults.")
        dimension_numbers = DEFAULTS[left.ndim]
    numbers = conv_dimension_numbers(left.shape, right.shape, dimension_numbers)
    window = tuple(right.shape[a] for a in numbers.rhs_spec[2:])
    dilation = (1,) * len(window) if rhs_dilation is None else tuple(rhs_dilation)
    pads: Any = padding
    if use_consistent_padding or padding in ("SAME", "VALID"):
        each = [padding] * len(window) if isinstance(padding, str) else list(padding)
        pads = [
            conv_transpose_padding(k, stride, p)
            for k, stride, p in zip(dilate_shape(window, dilation), strides, each, strict=True)
        ]
    if transpose_kernel:
        right = rev(right, tuple(numbers.rhs_spec[2:]))
        order = list(range(right.ndim))
        first, second = numbers.rhs_spec[:2]
        order[first], order[second] = second, first
        right = permute_dims(right, tuple(order))
    return conv_general_dilated(
        left,
        right,
        (1,) * len(window),
        pads,
        strides,
        dilation,
        numbers,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


def conv_general_dilated_patches(
    lhs: Any,
    filter_shape: Sequence[int],
    window_strides: Sequence[int],
    padding: Padding,
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    precision: PrecisionLike = None,
    preferred_element_type: Any = None,
) -> Array:
    """Return the elements of each window as features, the input's feature being the slower part.

    See `conv_general_dilated` for the parameters; `filter_shape` has the sizes of a window.
    """
    check_precision(precision, "conv_general_dilated_patches")
    (left,) = together("conv_general_dilated_patches", lhs)
    window = tuple(map(operator.index, filter_shape))
    numbers = conv_dimension_numbers(left.shape, (1,) * left.ndim, dimension_numbers)
    ordered = _reorder(left, numbers.lhs_spec)
    x, strides, dilation = _spread_out(ordered, window, window_strides, padding, lhs_dilation, rhs_dilation)
    columns = windows_of(x, (1, 1, *window), (1, 1, *strides), (1, 1, *dilation))
    elements, batch, features, *spatial = columns.shape
    moved = permute_dims(columns, (1, 2, 0, *range(3, columns.ndim)))
    result = _reorder(reshape(moved, (batch, features * elements, *spatial)), _inverse(numbers.out_spec))
    return result if preferred_element_type is None else convert(result, named_dtype(preferred_element_type))


def conv_general_dilated_local(
    lhs: Any,
    rhs: Any,
    window_strides: Sequence[int],
    padding: Padding,
    filter_shape: Sequence[int],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    precision: PrecisionLike = None,
) -> Array:
    """Convolve with a kernel of its own at each position.

    See `conv_general_dilated` for the parameters. The kernel's input features are the elements of a window as
    `conv_general_dilated_patches` orders them, and its spatial axes are the result's.
    """
    check_precision(precision, "conv_general_dilated_local")
    left, right = together("conv_general_dilated_local", lhs, rhs)
    numbers = conv_dimension_numbers(left.shape, right.shape, dimension_numbers)
    canonical = ConvDimensionNumbers(numbers.lhs_spec, numbers.rhs_spec, tuple(range(left.ndim)))
    patches = conv_general_dilated_patches(
        left, filter_shape, window_strides, padding, lhs_dilation, rhs_dilation, canonical
    )
    kernel = _reorder(right, numbers.rhs_spec)
    positions = tuple(range(2, left.ndim))
    product = dot_general(kernel, patches, (((1,), (1,)), (positions, positions)), precision)
    rank = len(positions)
    return _reorder(permute_dims(product, (rank + 1, rank, *range(rank))), _inverse(numbers.out_spec))
