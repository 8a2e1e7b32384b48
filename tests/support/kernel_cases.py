"""Calls of those primitives that backends have kernels of their own for, as NumPy arrays and parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

import gradkit.lax
import gradkit.numpy
import gradkit.random
import gradkit.scipy.special  # noqa: F401 - they declare all primitives

_random = np.random.default_rng(0)
X, W, B = _random.normal(size=(4, 3)), _random.normal(size=(3, 2)), _random.normal(size=2)
CUBE = _random.normal(size=(2, 4, 3))
INDEX = np.asarray([2, 0, 2])
KEYS = np.asarray([[0, 42], [7, 0xFFFFFFFF]], np.uint32)
COUNTERS = np.asarray([0xFFFFFFFF, 5], np.uint32)
MANY_KEYS = np.arange(40_000, dtype=np.uint32).reshape(-1, 2)  # more numbers than a block of NumPy's kernels

Call = tuple[str, tuple[np.ndarray, ...], dict[str, Any]]

CALLS: list[Call] = [
    *((name, (X,), {"axis": axis, "keepdims": keep}) for name in ("sum", "mean", "max", "min")
      for axis, keep in (((0,), False), ((1,), True), ((0, 1), False))),
    *((name, (np.asarray(2.5),), {"axis": (), "keepdims": False}) for name in ("sum", "mean", "max", "min")),
    *((name, (CUBE.transpose(2, 0, 1),), {"axis": (0, 2), "keepdims": True}) for name in ("sum", "mean", "max", "min")),
    ("root_of_squares", (X,), {"axis": (1,), "keepdims": False, "divisor": 3.0}),
    ("root_of_squares", (CUBE,), {"axis": (0, 2), "keepdims": True, "divisor": 1}),
    ("add", (X, B[:1]), {}),
    ("subtract", (X, X[0]), {}),
    ("multiply", (X.T, X.T), {}),
    ("negative", (X,), {}),
    ("matmul", (X, W), {}),
    ("matmul", (X.T, X), {}),
    ("matmul", (CUBE, W), {}),
    ("matmul", (X[:0], W), {}),
    ("matmul_in_mode", (X, W), {"mode": "float32"}),
    ("affine", (X, W, B), {}),
    ("affine", (X[0], W, B), {}),
    ("affine", (CUBE, W, B), {}),
    ("reshape", (X,), {"shape": (2, 6)}),
    ("permute_dims", (CUBE,), {"axes": (2, 0, 1)}),
    ("masked", (X, X > 0), {}),
    ("sheltered_product", (X, X), {}),
    ("masked", (X[0], X > 0), {}),
    ("masked", (X.T, X.T > 0), {}),
    ("masked", (np.asarray([np.inf, np.nan, -np.inf, np.nan]), np.asarray([True, True, False, False])), {}),
    *(("masked", ((10 * X).astype(dtype), X > 0), {}) for dtype in ("int8", "float32", "complex64", "complex128")),
    ("cbrt", (np.asarray([-27.0, 0.0, 1e-300, 1e300, np.inf]),), {}),
    ("cbrt", (X.astype("float32"),), {}),
    ("gcd", (np.asarray([12, -18, 0, 7]), np.asarray([[8], [0]])), {}),
    ("sliding_product", (X[:, 0], B), {}),
    ("sliding_product", (X[:, 0] + 1j, B - 2j), {}),
    ("relu", (X.astype("float32"),), {}),
    ("relu", (np.asarray([-2, 3]),), {}),
    ("sigmoid", (X.astype("float32"),), {}),
    ("sigmoid", (X.T * 50,), {}),
    ("sigmoid", (X[:0],), {}),
    *((name, (x, function(x)), {})
      for name, function in (("tanh_slope", np.tanh), ("sigmoid_slope", lambda x: 1 / (1 + np.exp(-x))))
      for x in (X, (X * 10).astype("float32"), X.T, X[:0], np.asarray(2.5), np.asarray(20.0))),
    ("gated", (X * 500, np.where(X > 0.5, 1.0, 0.0)), {}),
    ("limited", (X * 500,), {}),
    ("scatter_add", (X[:3], INDEX), {"axis": 0, "size": 4}),
    ("scatter_add", (X, INDEX), {"axis": 1, "size": 4}),
    ("scatter_add", (X[:, :0], INDEX[:0]), {"axis": 1, "size": 4}),
    *(("scatter_add", ((X * 90).astype(dtype), INDEX), {"axis": 1, "size": 4})
      for dtype in ("int8", "int16", "int32", "int64", "float32", "complex64")),
    ("take", (X, INDEX), {"axis": 1}),
    *((name, (logits, labels), {}) for name in ("label_cross_entropy", "softmax_error") for logits, labels in (
        (X * 50, np.asarray([0, 2, 1, 1])),
        (CUBE.astype("float32"), np.asarray([[0, 2, 1, 1], [2, 2, 3, -1]])),
        (X, np.asarray([0, 2, 1, 1], np.int8)),
        (X.T, np.asarray([0, 3, 1], np.int32)),
        (100 * _random.normal(size=(3, 70)), np.asarray([69, 0, 70], np.int32)),
        (np.asarray([[1.0, np.nan], [-np.inf, 1]]), np.asarray([0, 1])),
        (X[0], np.asarray(2)),
        (X[:0], np.asarray([], np.int64)),
        (np.asarray([[-np.inf, 0.0, 1.0]]), np.asarray([1])),
        (_random.normal(size=(2, 40)), np.asarray([39, 0])),
    )),
    ("mean_label_cross_entropy", (CUBE, np.asarray([[0, 2, 1, 1], [2, 2, 0, 1]])), {}),
    *(("plus_squares", (x.dtype.type(3) * np.ones((), x.dtype), x), {"factor": 0.3})
      for x in (X.T, CUBE.astype("float32"), X[:0], np.asarray(2.5))),
    *((name, (X, X[:, ::-1] * 2, np.asarray([2, -1, 2])), {"axis": 1})
      for name in ("scatter_set", "scatter_multiply", "scatter_min", "scatter_max")),
    *((name, (CUBE, CUBE[:, :0], INDEX[:0]), {"axis": 1})
      for name in ("scatter_set", "scatter_multiply", "scatter_min", "scatter_max")),
    ("last_of_equal", (np.asarray([[2, 0, 2, -1], [1, 1, 1, -1]]),), {}),
    ("last_of_equal", (INDEX[:0],), {}),
    *(("dynamic_slice", (X, np.asarray(starts)), {"slice_sizes": (2, 3), "axes": (0, 1)})
      for starts in ((1, 0), (-3, 9), (9, -1))),
    ("dynamic_slice", (X, np.asarray([1])), {"slice_sizes": (4, 2), "axes": (1,)}),
    *(("dynamic_update_slice", (X, W, np.asarray(starts)), {"axes": (0, 1)}) for starts in ((1, 1), (-3, 9), (9, -1))),
    ("dynamic_update_slice", (X, X[:2], np.asarray([-1])), {"axes": (0,)}),
    ("dynamic_update_slice", (X, X[:0], np.asarray([1, 0])), {"axes": (0, 1)}),
    *(("random_bits", (keys,), {"shape": shape, "bit_width": width})
      for keys, shape in ((KEYS, (5,)), (KEYS[0], (3, 7)), (KEYS, (0,)), (KEYS[0], ()), (MANY_KEYS, (2,)))
      for width in (8, 16, 32, 64)),
    *(("fold_in", (keys, data), {})
      for keys, data in ((KEYS[0], COUNTERS[0]), (KEYS[0], COUNTERS), (KEYS[0], COUNTERS[:0]), (KEYS, COUNTERS),
                         (KEYS[:, None], COUNTERS), (KEYS[:1], COUNTERS[0]), (KEYS.T.copy().T, COUNTERS),
                         (MANY_KEYS[:, None], COUNTERS[:2]))),
]  # fmt: skip


def leaves(count: int) -> list[np.ndarray]:
    """Return so many arrays to take a step of SGD with; they are not contiguous, and some are empty."""
    return [_random.normal(size=(i % 4, 3)).astype(np.float32).T for i in range(count)]


STEPS: list[tuple[int, dict[str, Any]]] = [
    (3, {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0}),
    (3, {"momentum": 0.0, "nesterov": False, "weight_decay": 0.01}),
    (32, {"momentum": 0.9, "nesterov": False, "weight_decay": 0.0}),
    (70, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    (3, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.0}),
]
"""Steps of SGD: how many leaves, and the options."""
