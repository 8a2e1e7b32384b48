"""Scaled dot-product attention (Vaswani et al., Attention is all you need, 2017)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradkit.core import Array
from gradkit.core.operands import as_array, cast, dtype_name
from gradkit.core.promotion import limits_of
from gradkit.errors import ShapeError
from gradkit.nn.activations import softmax
from gradkit.numpy import arange, expand_dims, matmul, permute_dims, reshape, where
from gradkit.primitives import logsumexp

__all__ = ["dot_product_attention"]


def dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    *,
    scale: float | None = None,
    is_causal: bool = False,
    query_seq_lengths: Any = None,
    key_value_seq_lengths: Any = None,
    local_window_size: int | tuple[int, int] | None = None,
    implementation: str | None = None,
    return_residual: bool = False,
) -> Any:
    """Compute softmax(scale query key^T + bias) value for each head.

    Parameters
    ----------
    query : array, shape (batch, t, heads, size) or (t, heads, size)
        The queries.
    key, value : array, shape (batch, s, groups, size) or (s, groups, size)
        The keys and values; `heads` is a multiple of `groups`, and each serves as many heads.
    bias : array, optional
        What is added to the logits; it broadcasts to (batch, heads, t, s).
    mask : array of bool, optional
        Which keys each query sees; it broadcasts to (batch, heads, t, s).
    scale : float, optional
        By default 1 / sqrt(size).
    is_causal : bool
        Whether a query sees the keys up to its own position alone.
    query_seq_lengths, key_value_seq_lengths : array of int, shape (batch,), optional
        How many queries and keys are there; the rest of the results are zero.
    local_window_size : int or (int, int), optional
        How many positions a query sees to its left and right.
    implementation : str, optional
        Accepted as in JAX: there is one.
    return_residual : bool
        Also return the logsumexp of the logits, of shape (batch, t, heads).

    Returns
    -------
    Array
        Of the shape of `query`.
    """
    if implementation not in (None, "xla"):
        raise ValueError(f"Unsupported implementation option: {implementation}")
    arrays = [as_array(x, "dot_product_attention") for x in (query, key, value)]
    shape = arrays[0].shape
    q, k, v = (_four_axes(x) for x in arrays)
    _check(q, k, v)
    batch, t, heads, size = q.shape
    s, groups = k.shape[1], k.shape[2]
    # One axis more for the heads that share a key: (batch, groups, heads of the group, t, ...).
    q = permute_dims(reshape(q, (batch, t, groups, heads // groups, size)), (0, 2, 3, 1, 4))
    k, v = (expand_dims(permute_dims(x, (0, 2, 1, 3)), axis=2) for x in (k, v))
    logits = matmul(q, k.mT) * (1 / math.sqrt(size) if scale is None else scale)
    logits = reshape(logits, (batch, heads, t, s))
    if bias is not None:
        logits = logits + _four_axes(as_array(bias, "dot_product_attention"))
    visible = _visible(logits, mask, is_causal, local_window_size)
    for lengths, axis in ((query_seq_lengths, 2), (key_value_seq_lengths, 3)):
        if lengths is not None:
            visible = _both(visible, _below(lengths, logits, axis))
    name = dtype_name(logits)
    if visible is not None:
        logits = where(visible, logits, -0.7 * float(limits_of(name).max))
    wide = cast(logits, "float32") if name in ("float16", "bfloat16") else logits
    shares = reshape(cast(softmax(wide, axis=-1), name), (batch, groups, heads // groups, t, s))
    result = reshape(permute_dims(matmul(shares, v), (0, 3, 1, 2, 4)), (batch, t, heads, size))
    if query_seq_lengths is not None:
        result = where(permute_dims(_below(query_seq_lengths, logits, 2), (0, 2, 1, 3)), result, 0.0)
    result = reshape(result, shape)
    if not return_residual:
        return result
    residual = cast(permute_dims(logsumexp(wide, axis=-1), (0, 2, 1)), name)
    return result, reshape(residual, shape[:-1])


def _four_axes(x: Array) -> Array:
    return reshape(x, (1,) * (4 - x.ndim) + x.shape) if x.ndim < 4 else x


def _check(q: Array, k: Array, v: Array) -> None:
    if k.shape != v.shape:
        raise ShapeError(f"dot_product_attention: value shape should be {k.shape}: but got {v.shape}")
    if q.ndim != 4 or k.ndim != 4 or q.shape[0] != k.shape[0] or q.shape[3] != k.shape[3]:
        raise ShapeError(
            f"dot_product_attention: query shape should be {(k.shape[0], -1, -1, k.shape[-1])}: but got {q.shape}"
        )
    if q.shape[2] % k.shape[2]:
        raise ValueError(
            f"The number of query heads must be a multiple of key/value heads, but got {q.shape[2]} vs {k.shape[2]}"
        )


def _visible(logits: Array, mask: Any, is_causal: bool, window: int | tuple[int, int] | None) -> Array | None:
    """Return which keys each query sees, or None where it sees all."""
    visible = None
    if mask is not None:
        visible = _four_axes(as_array(mask, "dot_product_attention"))
        if visible.dtype != np.bool_:
            raise ValueError(f"mask dtype should be bool, but got {visible.dtype}")
    queries = expand_dims(arange(logits.shape[2], device=logits.device), axis=1)
    keys = arange(logits.shape[3], device=logits.device)
    if is_causal:
        visible = _both(visible, queries >= keys)
    if window is not None:
        left, right = (window, window) if isinstance(window, int) else window
        visible = _both(visible, (queries <= keys + left) & (queries >= keys - right))
    return visible


def _both(one: Array | None, other: Array) -> Array:
    return other if one is None else one & other


def _below(lengths: Any, logits: Array, axis: int) -> Array:
    """Return which positions along an axis of the logits are below each sequence's length."""
    limits = reshape(as_array(lengths, "dot_product_attention"), (-1, 1, 1, 1))
    positions = arange(logits.shape[axis], dtype=limits.dtype, device=logits.device)
    return reshape(positions, (-1, *(1,) * (3 - axis))) < limits
