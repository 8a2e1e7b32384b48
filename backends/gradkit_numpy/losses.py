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
    exponentials, shifted = _exponentials(rows)
    loss = np.log(_row_sums(exponentials))
    loss -= shifted[np.arange(len(chosen)), chosen]
    if valid is not None:
        loss[~valid] = np.nan
    return loss.reshape(labels.shape).astype(logits.dtype, copy=False)


def softmax_error(logits: Raw, labels: Raw) -> Raw:
    rows, chosen, valid = _flat(logits, labels)
    result, _ = _exponentials(rows)
    result /= _row_sums(result)[:, None]
    # The label's own share minus 1, as minus the sum of the others: where it is near 1 the difference would cancel.
    if valid is None:
        positions = np.arange(len(chosen)), chosen
        result[positions] = 0
        result[positions] = -_row_sums(result)
    else:
        positions = np.nonzero(valid)[0], chosen[valid]
        result[positions] = 0
        result[positions] = -_row_sums(result)[valid]
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


def _exponentials(rows: Raw) -> tuple[Raw, Raw]:
    """Return exp(rows - top) and its exponent, where top is each row's largest element, or 0 if that is infinite."""
    columns = rows.shape[1]
    top = max_over(rows.T.copy(), 0)[:, None] if 0 < columns <= FEW else rows.max(axis=1, keepdims=True)
    finite = np.isfinite(top)
    if not finite.all():
        top = np.where(finite, top, top.dtype.type(0))
    shifted = rows - top
    return np.exp(shifted), shifted


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
