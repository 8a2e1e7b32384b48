"""Softmax cross-entropy, forward and backward: a launch each, where the general text takes seventeen and more."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from gradkit_cupy.launch import C_TYPES, launch

__all__ = ["label_cross_entropy", "mean_label_cross_entropy", "softmax_error"]

Raw = Any

LABEL_TYPES = {"int32": "int", "int64": "long long"}
WARP = 32
"""Threads for each row of logits."""


def label_cross_entropy(logits: Raw, labels: Raw) -> Raw:
    """Return log(sum(exp(logits))) - logits[label] for each row; NaN for a label that is out of range."""
    return _losses(logits, labels).astype(logits.dtype, copy=False)


def mean_label_cross_entropy(logits: Raw, labels: Raw) -> Raw:
    """Return the mean of the rows' losses."""
    return _losses(logits, labels).mean().astype(logits.dtype, copy=False)


def softmax_error(logits: Raw, labels: Raw) -> Raw:
    """Return softmax(logits) - one_hot(labels)."""
    rows, labels, types = _prepare(logits, labels)
    errors = cupy.empty(rows.shape, rows.dtype)
    _launch("softmax_error", types, rows, labels, errors)
    return errors.astype(logits.dtype, copy=False)


def _losses(logits: Raw, labels: Raw) -> Raw:
    rows, labels, types = _prepare(logits, labels)
    losses = cupy.empty(labels.shape, rows.dtype)
    _launch("label_cross_entropy", types, rows, labels, losses)
    return losses


def _prepare(logits: Raw, labels: Raw) -> tuple[Raw, Raw, str]:
    """Return both in memory and types as the kernels take them: float16 is computed in float32."""
    if logits.dtype.name not in C_TYPES:
        logits = logits.astype(np.float32)
    if labels.dtype.name not in LABEL_TYPES:
        labels = labels.astype(np.int64)
    types = f"{C_TYPES[logits.dtype.name]}, {LABEL_TYPES[labels.dtype.name]}"
    return cupy.ascontiguousarray(logits), cupy.ascontiguousarray(labels), types


def _launch(kernel: str, types: str, rows: Raw, labels: Raw, out: Raw) -> None:
    sizes = (np.int64(labels.size), np.int64(rows.shape[-1]))
    launch(kernel, f"{kernel}<{types}>", labels.size * WARP, (rows, labels, out, *sizes))
