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
from kernel_cases import CALLS, STEPS, leaves


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
        kernels = {"sigmoid": sigmoid, "sgd_update": sgd_update, "random_bits": random_bits, "fold_in": fold_in}
        return kernels[name.partition("<")[0]]


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


def random_bits(grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
    keys, bits, size, total = arguments
    assert keys.flags.c_contiguous
    assert type(size) is type(total) is np.int64
    assert total == bits.size
    rows = general("random_bits")(keys.reshape(-1, 2), shape=(int(size),), bit_width=bits.itemsize * 8)
    bits[...] = rows.reshape(bits.shape)


def fold_in(grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
    keys, step, counters, folded, size = arguments
    assert keys.flags.c_contiguous
    assert counters.flags.c_contiguous
    assert type(step) is type(size) is np.int64
    assert size == counters.size
    assert keys.size == (2 * size if step else 2)
    folded[...] = general("fold_in")(keys.reshape(-1, 2), counters.ravel()).reshape(folded.shape)


def empty(shape: tuple[int, ...], dtype: Any) -> ndarray:
    return np.full(shape, 77, dtype).view(ndarray)


cupy, cupyx = types.ModuleType("cupy"), types.ModuleType("cupyx")
for name in "add where maximum matmul exp zeros broadcast_to".split():
    setattr(cupy, name, getattr(np, name))
cupy.__dict__.update(
    ascontiguousarray=lambda x: np.require(x, requirements="C").view(ndarray),
    empty=empty,
    ndarray=ndarray,
    RawModule=RawModule,
)
cupyx.__dict__.update(scatter_add=np.add.at)


def general(name: str) -> Any:
    """Return a primitive's general text, on NumPy."""
    import gradkit.random  # noqa: F401 - declares its primitives
    from gradkit.backend import load_backend
    from gradkit.core.namespace import PRIMITIVES, kernel_namespace

    library = kernel_namespace(load_backend("numpy"))
    forward = PRIMITIVES[name].forward
    return getattr(library.library, name) if forward is None else functools.partial(forward, library)


def check_primitives(kernels: dict[str, Any]) -> None:
    calls = [call for call in CALLS if call[0] in kernels]
    untested = kernels.keys() - {name for name, _, _ in calls} - {"sgd_update"}
    assert not untested, untested
    for name, args, params in calls:
        expected = general(name)(*args, **params)
        got = kernels[name](*args, **params)
        assert got.dtype == expected.dtype, (name, params, got.dtype, expected.dtype)
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-12, err_msg=name)


def check_sgd_update(kernel: Any) -> None:
    from gradkit.optim.update import sgd_update as general_sgd_update

    computed = np.asarray(0.1, np.float32).view(ndarray)
    for count, options in STEPS:
        arguments = [[leaf.view(ndarray) for leaf in leaves(count)] for _ in range(3 if options["momentum"] else 2)]
        if not options["momentum"]:
            arguments.append(None)
        for rate, scale in ((0.1, None), (computed, computed)):
            expected = general_sgd_update(*arguments, learning_rate=rate, scale=scale, **options)
            got = kernel(*arguments, learning_rate=rate, scale=scale, **options)
            assert (got[1] is None) == (expected[1] is None)
            for ours, theirs in zip(got, expected, strict=True):
                for one, other in zip(ours or [], theirs or [], strict=True):
                    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


if __name__ == "__main__":
    sys.modules.update(cupy=cupy, cupyx=cupyx)
    from gradkit_cupy.kernels import KERNELS

    check_primitives(KERNELS)
    check_sgd_update(KERNELS["sgd_update"])
    sys.stdout.write("checked\n")
