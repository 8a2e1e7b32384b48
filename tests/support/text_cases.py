"""Arguments and parameters to try the texts of primitives with, and how exactly their graphs have to agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import gradkit.numpy as jnp
from gradkit import callbacks, debug, lax, nn, random, scipy  # noqa: F401 - their primitives are declared when they are imported
from gradkit.backend import Backend
from gradkit.core import Array, Elementwise
from gradkit.core.namespace import PRIMITIVES
from gradkit.core.primitive import Primitive

__all__ = ["OF_A_RESULT", "TEXTS", "assert_same", "dtypes", "of_dtype", "reals", "samples"]

TEXTS = sorted(name for name, primitive in PRIMITIVES.items() if not primitive.leaf)

POINTWISE = {name for name in TEXTS if isinstance(PRIMITIVES[name], Elementwise)}

POINTS = np.asarray([-np.inf, -30.0, -2.5, -0.3, -0.0, 0.0, 0.2, 0.5, 1.0, 3.0, 40.0, np.inf, np.nan])
"""Where elementwise texts are tried, in each argument; the second and third are turned against the first."""
COMPLEX = ("gated", "hypot_slope", "limited", "masked", "relu", "sigmoid", "sigmoid_slope", "softplus", "tanh_slope")
"""Which of them may get complex numbers, of those that are text."""
OF_A_RESULT = ("sigmoid_slope", "tanh_slope")
"""Those that take an argument of a function, and its value there."""
NUMBERS = np.sin(np.arange(1.0, 200.0))


def reals(*shape: int) -> Any:
    return np.reshape(NUMBERS[: int(np.prod(shape))], shape)


def unsigned(*shape: int) -> Any:
    return np.reshape(np.arange(7, 7 + np.prod(shape)), shape).astype("uint32")


LABELS, PLACES = np.asarray([1, 0, 3, 7]), np.asarray([2, 0, -1, 2])
WINDOWS = {"window": (2, 2), "strides": (1, 2), "dilation": (2, 1)}
SAMPLES: dict[str, list[tuple[Sequence[Any], Mapping[str, Any]]]] = {
    "add_along_axis": [((reals(3, 4), np.asarray([[0, 2, 0, 1]] * 3)), {"axis": axis, "size": 5}) for axis in (0, 1)],
    "affine": [((reals(5, 3), reals(3, 2), reals(2)), {}), ((reals(2, 2, 3), reals(3, 2), reals(2)), {})],
    "cofactor": [((reals(2, 4, 4),), {})],
    "dynamic_slice": [
        ((reals(4, 5), np.asarray([-2])), {"slice_sizes": (4, 3), "axes": (1,)}),
        ((reals(4, 5), np.asarray([1, 9])), {"slice_sizes": (2, 1), "axes": (0, 1)}),
    ],
    "dynamic_update_slice": [
        ((reals(4, 5), reals(4, 3), np.asarray([-2])), {"axes": (1,)}),
        ((reals(4, 5), reals(2, 1), np.asarray([1, 9])), {"axes": (0, 1)}),
    ],
    "fold_in": [((unsigned(2), unsigned(3)), {}), ((unsigned(3, 2), unsigned(3)), {})],
    "label_cross_entropy": [((reals(4, 5), LABELS), {})],
    "last_of_equal": [((np.asarray([[3, 1, 3, 2, 1]]),), {}), ((np.asarray([[3], [1]]),), {})],
    "log_softmax": [((40 * reals(4, 5),), {"axis": (1,)}), ((reals(2, 3, 2),), {"axis": (0, 2)})],
    "logsumexp": [((40 * reals(4, 5),), {"axis": (1,), "keepdims": keepdims}) for keepdims in (True, False)],
    "mean_label_cross_entropy": [((reals(4, 5), LABELS % 5), {})],
    "mean_square": [((reals(4, 5), reals(5, 4).T), {})],
    "name": [((reals(3),), {"name": "x"})],
    "one_hot": [((LABELS,), {"classes": 5, "dtype": "float32"})],
    "pinv": [((reals(2, 3, 4), np.asarray([1e-5, 0.5])), {})],
    "plus_squares": [((reals(), reals(3, 2)), {"factor": 0.3})],
    "random_bits": [((unsigned(2, 2),), {"shape": (3, 2), "bit_width": width}) for width in (8, 16, 32, 64)],
    "random_order": [((unsigned(2, 2),), {"shape": (3, 9), "axis": axis, "dtype": "int32"}) for axis in (0, 1)],
    "running_sum": [((reals(2, size),), {}) for size in (7, 50)],
    "scatter_add": [((reals(4, 3), np.asarray([2, 0, 2, 1])), {"axis": 0, "size": 5})],
    **{
        name: [((reals(2, 3), reals(4, 2).T, PLACES), {"axis": 1}), ((reals(3, 2), reals(4, 2), PLACES), {"axis": 0})]
        for name in ("scatter_max", "scatter_min", "scatter_multiply", "scatter_set")
    },
    "sheltered_product": [((reals(3, 2), reals(2, 3).T), {})],
    "sliding_product": [((reals(9), reals(4)), {}), ((reals(3), reals(3)), {})],
    "sliding_windows": [((reals(size, 5),), WINDOWS) for size in (1, 3, 7)],
    "softmax_error": [((reals(4, 5), LABELS), {})],
    "gate_side": [((reals(3),), {})],
    "stop_gradient": [((reals(3),), {})],
    "without_tape": [((reals(3),), {})],
    "triangular_solve": [
        ((reals(3, 3) + 2 * np.eye(3), reals(3, 2)), {"lower": lower, "unit_diagonal": unit})
        for lower in (True, False)
        for unit in (True, False)
    ],
}


def samples(primitive: Primitive) -> list[tuple[Sequence[Any], Mapping[str, Any]]]:
    """Return arguments and parameters to try a text with, of float64 where they are floating."""
    if not isinstance(primitive, Elementwise):
        return SAMPLES[primitive.name]
    columns = [POINTS, POINTS[::-1, None], POINTS[3:4]][: len(primitive.rules)]
    if primitive.name == "masked":
        columns[1] = columns[1] > 0
    if primitive.name in OF_A_RESULT:
        with np.errstate(all="ignore"):
            columns[1] = np.tanh(POINTS) if primitive.name == "tanh_slope" else 1 / (1 + np.exp(-POINTS))
    return [(columns, {})]


def of_dtype(args: Sequence[Any], dtype: str) -> list[Array]:
    return [
        jnp.asarray(arg, dtype=dtype if np.issubdtype(np.asarray(arg).dtype, np.floating) else None) for arg in args
    ]


def dtypes(primitive: Primitive, args: Sequence[Any], backend: Backend) -> list[str]:
    if not any(np.issubdtype(np.asarray(arg).dtype, np.floating) for arg in args):
        return ["float32"]
    found = ["float32", "float64"]
    if isinstance(primitive, Elementwise) or primitive.name in ("log_softmax", "logsumexp"):
        found += ["float16"] if hasattr(backend.xp, "float16") else []
    return found + (
        ["complex128"] if primitive.name in COMPLEX and primitive.name not in ("relu", "hypot_slope") else []
    )


def assert_same(name: str, found: Any, expected: Any, what: str) -> None:
    assert found.shape == expected.shape, what
    assert found.dtype == expected.dtype, what
    if not jnp.issubdtype(expected.dtype, jnp.inexact):
        np.testing.assert_array_equal(found, expected, what)
    else:
        tolerance = 20 * float(jnp.finfo(expected.dtype).eps)
        # Sums may cancel; a function of single elements has no such excuse.
        size = 0.01 if name in POINTWISE else float(np.nanmax(np.abs(np.asarray(expected)), initial=0))
        np.testing.assert_allclose(np.asarray(found), np.asarray(expected), tolerance, tolerance * size, err_msg=what)
