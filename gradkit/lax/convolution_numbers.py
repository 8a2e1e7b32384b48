"""The bookkeeping of convolutions: which axis is which, how much padding, what shape comes out."""

from __future__ import annotations

import enum
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

from gradkit.primitives.windows import windows_shape

__all__ = [
    "ConvDimensionNumbers", "ConvGeneralDilatedDimensionNumbers", "conv_dimension_numbers", "conv_general_permutations",
    "conv_general_shape_tuple", "conv_shape_tuple", "conv_transpose_shape_tuple", "padtype_to_pads",
]  # fmt: skip

Sizes = tuple[int, ...]


class ConvDimensionNumbers(NamedTuple):
    """Which axis is which.

    Attributes
    ----------
    lhs_spec, out_spec : tuple of int
        The axes of the batch and of the features, then the spatial ones, of the input and of the result.
    rhs_spec : tuple of int
        The axes of the output features and of the input features, then the spatial ones, of the kernel.
    """

    lhs_spec: Sequence[int]
    rhs_spec: Sequence[int]
    out_spec: Sequence[int]


ConvGeneralDilatedDimensionNumbers = tuple[str, str, str] | ConvDimensionNumbers | None

CHARACTERS = ("NC", "OI", "NC")


def conv_dimension_numbers(
    lhs_shape: Sequence[int], rhs_shape: Sequence[int], dimension_numbers: Any
) -> ConvDimensionNumbers:
    """Return dimension numbers, given as strings such as ``("NHWC", "HWIO", "NHWC")`` or not at all, as axes.

    Examples
    --------
    >>> conv_dimension_numbers((1, 8, 8, 3), (2, 2, 3, 4), ("NHWC", "HWIO", "NHWC"))
    ConvDimensionNumbers(lhs_spec=(0, 3, 1, 2), rhs_spec=(3, 2, 0, 1), out_spec=(0, 3, 1, 2))
    """
    if isinstance(dimension_numbers, ConvDimensionNumbers):
        return dimension_numbers
    rank = len(lhs_shape)
    if rank != len(rhs_shape):
        raise TypeError(f"convolution requires lhs and rhs ndim to be equal, got {rank} and {len(rhs_shape)}.")
    if dimension_numbers is None:
        axes = tuple(range(rank))
        return ConvDimensionNumbers(axes, axes, axes)
    if not isinstance(dimension_numbers, list | tuple):
        raise TypeError(f"convolution dimension_numbers must be tuple/list or None, got {type(dimension_numbers)}.")
    if len(dimension_numbers) != 3:
        raise TypeError(f"convolution dimension_numbers list/tuple must be length 3, got {len(dimension_numbers)}.")
    if not all(isinstance(spec, str) for spec in dimension_numbers):
        raise TypeError(
            f"convolution dimension_numbers elements must be strings, got {tuple(map(type, dimension_numbers))}."
        )
    for i, spec in enumerate(dimension_numbers):
        if len(spec) != rank:
            raise TypeError(
                f"convolution dimension_numbers[{i}] must have len equal to the ndim of lhs and rhs, got {len(spec)} "
                f"for lhs and rhs shapes {tuple(lhs_shape)} and {tuple(rhs_shape)}."
            )
    return ConvDimensionNumbers(*conv_general_permutations(dimension_numbers))


def conv_general_permutations(dimension_numbers: Sequence[str]) -> tuple[Sizes, Sizes, Sizes]:
    """Return the axes that three strings name; spatial ones in the order in which the kernel's string has them."""
    for i, (spec, pair) in enumerate(zip(dimension_numbers, CHARACTERS, strict=True)):
        a, b = pair[0], pair[1]
        if not spec.count(a) == spec.count(b) == 1:
            raise TypeError(
                f"convolution dimension_numbers[{i}] must contain the characters '{a}' and '{b}' exactly once, got "
                f"{spec}."
            )
        if len(spec) != len(set(spec)):
            raise TypeError(f"convolution dimension_numbers[{i}] cannot have duplicate characters, got {spec}.")
    spatial = [set(spec) - set(pair) for spec, pair in zip(dimension_numbers, CHARACTERS, strict=True)]
    if not spatial[0] == spatial[1] == spatial[2]:
        raise TypeError(
            f"convolution dimension_numbers elements must each have the same set of spatial characters, got "
            f"{dimension_numbers}."
        )
    order = [c for c in dimension_numbers[1] if c not in "OI"]
    lhs, rhs, out = (
        tuple(map(spec.index, (*pair, *order))) for spec, pair in zip(dimension_numbers, CHARACTERS, strict=True)
    )
    return lhs, rhs, out


class PaddingType(enum.Enum):
    """Padding by name."""

    VALID = 1
    SAME = 2
    SAME_LOWER = 3


def padtype_to_pads(
    in_shape: Sequence[int], window_shape: Sequence[int], window_strides: Sequence[int], padding: Any
) -> list[tuple[int, int]]:
    """Return how much padding comes before and behind each axis.

    Parameters
    ----------
    in_shape, window_shape, window_strides : sequence of int
        The sizes of the array and of a window, and how far one window is from the next.
    padding : {"VALID", "SAME", "SAME_LOWER"}
        None; so that the result has the array's size over the stride, the odd one at the end; or at the front.

    Examples
    --------
    >>> padtype_to_pads((5,), (2,), (1,), "SAME")
    [(0, 1)]
    """
    if isinstance(padding, str):
        if padding.upper() not in PaddingType.__members__:
            raise RuntimeError(f"Unrecognized padding type: expected 'VALID', 'SAME', or 'SAME_LOWER', got {padding}.")
        padding = PaddingType[padding.upper()]
    if padding is PaddingType.VALID:
        return [(0, 0)] * len(tuple(in_shape))
    if not isinstance(padding, PaddingType):
        raise TypeError(f"Unknown padding type: {padding}.")
    pads = []
    for size, window, stride in zip(in_shape, window_shape, window_strides, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + window - size)
        pads.append(
            (total // 2, total - total // 2) if padding is PaddingType.SAME else (total - total // 2, total // 2)
        )
    return pads


def dilate_shape(shape: Sequence[int], dilation: Sequence[int]) -> Sizes:
    """Return a shape with so much space between the elements."""
    return tuple(0 if size == 0 else 1 + d * (size - 1) for size, d in zip(shape, dilation, strict=True))


def pairs_of(padding: Any, caller: str) -> tuple[tuple[int, int], ...]:
    """Return explicit padding as pairs."""
    try:
        return tuple((operator.index(low), operator.index(high)) for low, high in padding)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"padding argument to {caller} should be a string or a sequence of (low, high) pairs, got {padding}"
        ) from error


def conv_shape_tuple(
    lhs_shape: Sequence[int], rhs_shape: Sequence[int], strides: Sequence[int], pads: Any, batch_group_count: int = 1
) -> Sizes:
    """Return the shape of a convolution of arrays whose axes are in the order ``NC...`` and ``OI...``."""
    if isinstance(pads, str):
        pads = padtype_to_pads(lhs_shape[2:], rhs_shape[2:], strides, pads)
    if len(pads) != len(lhs_shape) - 2:
        raise TypeError(
            f"Wrong number of explicit pads for convolution: expected {len(lhs_shape) - 2}, got {len(pads)}."
        )
    sizes = tuple(size + low + high for size, (low, high) in zip(lhs_shape[2:], pads, strict=True))
    one = (1,) * len(sizes)
    spatial = windows_shape(sizes, tuple(rhs_shape[2:]), tuple(strides), one)
    return (lhs_shape[0] // batch_group_count, rhs_shape[0], *spatial)


def conv_general_shape_tuple(
    lhs_shape: Sequence[int],
    rhs_shape: Sequence[int],
    window_strides: Sequence[int],
    padding: Any,
    dimension_numbers: Sequence[str],
) -> Sizes:
    """Return the shape of a convolution with these strides, padding and dimension numbers."""
    lhs, rhs, out = conv_general_permutations(dimension_numbers)
    shape = conv_shape_tuple([lhs_shape[a] for a in lhs], [rhs_shape[a] for a in rhs], window_strides, padding)
    return tuple(shape[out.index(a)] for a in range(len(out)))


def conv_transpose_padding(k: int, stride: int, padding: Any) -> tuple[int, int]:
    """Return the padding of a transposed convolution whose forward one has this kernel, stride and padding."""
    if padding == "SAME":
        total = k + stride - 2
        before = k - 1 if stride > k - 1 else -(-total // 2)
    elif padding == "VALID":
        total = k + stride - 2 + max(k - stride, 0)
        before = k - 1
    elif isinstance(padding, tuple):
        before, behind = (k - p - 1 for p in padding)
        total = before + behind
    else:
        raise ValueError(f"Invalid padding mode: {padding}")
    return before, total - before


def conv_transpose_shape_tuple(
    lhs_shape: Sequence[int],
    rhs_shape: Sequence[int],
    window_strides: Sequence[int],
    padding: Any,
    dimension_numbers: Sequence[str],
) -> Sizes:
    """Return the shape of a transposed convolution with these strides, padding and dimension numbers."""
    lhs, rhs, out = conv_general_permutations(dimension_numbers)
    inputs, kernel = [lhs_shape[a] for a in lhs], [rhs_shape[a] for a in rhs]
    if isinstance(padding, str):
        padding = [conv_transpose_padding(k, s, padding) for k, s in zip(kernel[2:], window_strides, strict=True)]
    inputs[2:] = dilate_shape(inputs[2:], window_strides)
    shape = conv_shape_tuple(inputs, kernel, (1,) * len(padding), padding)
    return tuple(shape[out.index(a)] for a in range(len(out)))
