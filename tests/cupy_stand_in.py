"""Run gradkit_cupy's kernels with NumPy in CuPy's place: what test_cuda_sources.py starts in a process of its own.

It finds mistakes in the Python around the kernels: names, arguments, shapes, dtypes. It says nothing about the GPU.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import types
from typing import Any

import numpy as np


class ndarray(np.ndarray[Any, Any]):
    """An array that tells its address as CuPy's do."""

    @property
    def data(self) -> Any:  # type: ignore[override]
        return types.SimpleNamespace(ptr=self.ctypes.data)


class RawModule:
    """A module of kernels that are written in NumPy here."""

    def __init__(self, code: str, options: tuple[str, ...], name_expressions: tuple[str, ...]) -> None:
        assert "__global__" in code
        self.names = name_expressions

    def get_function(self, name: str) -> Any:
        assert name in self.names
        return {"sigmoid": sigmoid, "sgd_update": sgd_update}[name.partition("<")[0]]


def sigmoid(grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
    x, y, size = arguments
    assert x.flags.c_contiguous
    assert y.flags.c_contiguous
    assert x.dtype == y.dtype
    assert type(size) is np.int64
    assert size == x.size
    assert grid[0] * block[0] >= 1
    with np.errstate(over="ignore"):
        y[...] = 1 / (1 + np.exp(-x))


def sgd_update(grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
    table, rate, computed_rate, scale, momentum, weight_decay, nesterov = arguments
    assert table.size == 1
    assert [type(n) for n in (rate, momentum, weight_decay, nesterov)] == [np.float32] * 3 + [np.bool_]
    rate = rate if type(computed_rate) is np.uintp else computed_rate
    scale = 1 if type(scale) is np.uintp else scale
    for row in table.view(np.int64).reshape(-1, 6)[: grid[1]]:
        size = int(row[5])
        arrays = [
            np.frombuffer((ctypes.c_float * size).from_address(place), np.float32) if place else None
            for place in row[:5].tolist()
        ]
        parameter, gradient, velocity, new, new_velocity = arrays
        step = gradient * scale + weight_decay * parameter
        if velocity is not None:
            new_velocity[:] = momentum * velocity + step
            step = step + momentum * new_velocity if nesterov else new_velocity
        new[:] = parameter - rate * step


def empty(shape: tuple[int, ...], dtype: Any) -> ndarray:
    return np.full(shape, 77, dtype).view(ndarray)


cupy, cupyx = types.ModuleType("cupy"), types.ModuleType("cupyx")
for name in "add where maximum matmul exp zeros".split():
    setattr(cupy, name, getattr(np, name))
cupy.__dict__.update(
    ascontiguousarray=lambda x: np.require(x, requirements="C").view(ndarray),
    empty=empty,
    ndarray=ndarray,
    RawModule=RawModule,
)
cupyx.__dict__.update(scatter_add=np.add.at)
random = np.random.default_rng(0)
X, W, B = random.normal(size=(4, 3)), random.normal(size=(3, 2)), random.normal(size=2)
CUBE = random.normal(size=(2, 4, 3))
INDEX = np.asarray([2, 0, 2])
CASES: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    *((name, (X,), {"axis": axis, "keepdims": keep}) for name in ("sum", "mean", "max", "min")
      for axis, keep in (((0,), False), ((1,), True), ((0, 1), False))),
    *((name, (np.asarray(2.5),), {"axis": (), "keepdims": False}) for name in ("sum", "mean", "max", "min")),
    ("matmul", (X, W), {}),
    ("matmul", (CUBE, W), {}),
    ("affine", (X, W, B), {}),
    ("affine", (X[0], W, B), {}),
    ("affine", (CUBE, W, B), {}),
    ("reshape", (X,), {"shape": (2, 6)}),
    ("permute_dims", (CUBE,), {"axes": (2, 0, 1)}),
    ("masked", (X, X > 0), {}),
    ("masked", (X[0], X > 0), {}),
    ("relu", (X.astype("float32"),), {}),
    ("relu", (np.asarray([-2, 3]),), {}),
    ("sigmoid", (X.astype("float32"),), {}),
    ("sigmoid", (X.T * 50,), {}),
    ("sigmoid", (X.astype("float16"),), {}),
    ("scatter_add", (X[:3], INDEX), {"axis": 0, "size": 4}),
    ("scatter_add", (X, INDEX), {"axis": 1, "size": 4}),
    ("scatter_add", (X[:, :0], INDEX[:0]), {"axis": 1, "size": 4}),
    *(("scatter_add", ((X * 90).astype(dtype), INDEX), {"axis": 1, "size": 4})
      for dtype in ("int8", "int16", "int32", "int64", "float32", "complex64")),
    ("take", (X, INDEX), {"axis": 1}),
]  # fmt: skip


def general(name: str) -> Any:
    """Return a primitive's general text, on NumPy."""
    from gradkit.backend import load_backend
    from gradkit.core.primitive import PRIMITIVES, kernel_namespace

    library = kernel_namespace(load_backend("numpy"))
    forward = PRIMITIVES[name].forward
    return getattr(library.library, name) if forward is None else functools.partial(forward, library)


def leaves(count: int) -> list[Any]:
    """Return more leaves than one launch takes, one of them not contiguous."""
    shapes = [(i % 4, 3) for i in range(count)]
    return [random.normal(size=shape).astype(np.float32).T.view(ndarray) for shape in shapes]


def check_primitives(kernels: dict[str, Any]) -> None:
    untested = kernels.keys() - {name for name, _, _ in CASES} - {"sgd_update", "random_bits"}
    assert not untested, untested
    for name, args, params in CASES:
        expected = general(name)(*args, **params)
        got = kernels[name](*args, **params)
        assert got.dtype == expected.dtype, (name, params, got.dtype, expected.dtype)
        tolerance = 2e-3 if got.dtype == np.float16 else 1e-6
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=1e-12, err_msg=name)


def check_sgd_update(kernel: Any) -> None:
    from gradkit.optim.sgd import sgd_update as general_sgd_update

    for count, momentum, nesterov, rate, scale in (
        (3, 0.0, False, 0.1, None),
        (70, 0.9, True, np.asarray(0.1, np.float32).view(ndarray), np.asarray(0.5, np.float32).view(ndarray)),
        (32, 0.9, False, 0.1, None),
    ):
        arguments = (leaves(count), leaves(count), leaves(count) if momentum else None)
        options = {
            "learning_rate": rate,
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": 0.01,
            "scale": scale,
        }
        expected, got = general_sgd_update(*arguments, **options), kernel(*arguments, **options)
        for ours, theirs in zip(got, expected, strict=True):
            for one, other in zip(ours or [], theirs or [], strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
        assert (got[1] is None) == (expected[1] is None)


if __name__ == "__main__":
    sys.modules.update(cupy=cupy, cupyx=cupyx)
    from gradkit_cupy.kernels import KERNELS

    check_primitives(KERNELS)
    check_sgd_update(KERNELS["sgd_update"])
    sys.stdout.write("checked\n")
