"""Kernels of losses: of a step of a small network on a classifier's logits they are the larger part."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["KERNELS", "ones"]

Raw = Any
HALF = np.dtype("float16")
UNSIGNED = {size: np.dtype(f"uint{8 * size}") for size in (1, 2, 4, 8)}
FEW = 32
"""Columns up to which NumPy takes longer to reduce each row than to transpose the matrix and reduce its columns."""

max_over: Any = np.maximum.reduce
sum_over: Any = np.add.reduce


def label_cross_entropy(logits: Raw, labels: Raw) -> Raw:
    rows, chosen, valid = _flat(logits, labels)
    exponentials, shifted, _ = _exponentials(rows)
    loss = np.log(_row_sums(exponentials))
    loss -= shifted[np.arange(len(chosen)), chosen]
    if valid is not None:
        loss[~valid] = np.nan
    return loss.reshape(labels.shape).astype(logits.dtype, copy=False)


def softmax_error(logits: Raw, labels: Raw) -> Raw:
    rows, chosen, valid = _flat(logits, labels)
    result, _, finite = _exponentials(rows)
    result /= _row_sums(result)[:, None]
    # The label's own share minus 1, as minus the sum of the others: where it is near 1 the difference would cancel.
    which = slice(None) if valid is None else valid
    positions = np.arange(len(chosen))[which], chosen[which]
    own = None if finite is None else result[positions] - 1
    result[positions] = 0
    error = -_row_sums(result)[which]
    # Beside an infinite logit there are no others to sum up.
    result[positions] = error if finite is None else np.where(finite[which, 0], error, own)
    return result.reshape(logits.shape).astype(logits.dtype, copy=False)


def mean_label_cross_entropy(logits: Raw, labels: Raw) -> Raw:
    loss = label_cross_entropy(logits, labels)
    return sum_over(loss, axis=None) / loss.dtype.type(loss.size)


def plus_squares(total: Raw, x: Raw, *, factor: float) -> Raw:
    elements = x.ravel()
    return total + elements.dot(elements) * factor


def _flat(logits: Raw, labels: Raw) -> tuple[Raw, Raw, Raw]:
    """Return logits as a matrix, labels as a vector of indices into its rows, and which are (None where all are)."""
    classes = logits.shape[-1]
    rows = logits.reshape(labels.size, classes)
    if logits.dtype == HALF:
        rows = rows.astype(np.float32)
    chosen = labels.ravel()
    # Read as unsigned numbers, negative ones are too large.
    if not chosen.size or max_over(chosen.view(UNSIGNED[chosen.dtype.itemsize])) < classes:
        return rows, chosen, None
    valid = (chosen >= 0) & (chosen < classes)
    return rows, np.where(valid, chosen, 0), valid


def _exponentials(rows: Raw) -> tuple[Raw, Raw, Raw]:
    """Return exp(rows - top) and its exponent, where top is each row's largest element, or 0 if that is infinite.

    The last is where it is finite; None where all of them are.
    """
    columns = rows.shape[1]
    top = max_over(rows.T.copy(), 0)[:, None] if 0 < columns <= FEW else rows.max(axis=1, keepdims=True)
    finite = np.isfinite(top)
    if finite.all():
        finite = None
    else:
        top = np.where(finite, top, top.dtype.type(0))
    shifted = rows - top
    return np.exp(shifted), shifted, finite


def _row_sums(rows: Raw) -> Raw:
    return rows.dot(ones(rows.shape[1], rows.dtype))


@functools.lru_cache(256)
def ones(n: int, dtype: Any) -> Raw:
    """Return a vector of ones, for sums that are products: nobody may change it."""
    return np.ones(n, dtype)


KERNELS: dict[str, Callable[..., Any]] = {
    "label_cross_entropy": label_cross_entropy,
    "mean_label_cross_entropy": mean_label_cross_entropy,
    "plus_squares": plus_squares,
    "softmax_error": softmax_error,
}
