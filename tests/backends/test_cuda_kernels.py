"""The kernels of gradkit_cupy give what the primitives' general texts give: on a GPU, or on tests/cuda_on_cpu."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gradkit_cupy import CUDA_SOURCES
from kernel_cases import CALLS, STEPS, leaves

from gradkit.backend import Backend, load_backend, why_not
from gradkit.core.namespace import PRIMITIVES, kernel_namespace
from gradkit.optim.update import sgd_update as general_sgd_update

REASON = why_not(load_backend("cupy"))
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))

WITH_TESTS_OF_THEIR_OWN = {
    "sgd_update",
    # In test_what_gpus_leave_out.py: CuPy's functions are not what these have to give.
    *"cholesky det eig eigh eigvals eigvalsh fftn floor_divide ifftn irfft remainder rfft running_sum solve".split(),
    "svd",
    "svdvals",
}


@pytest.fixture(scope="module")
def cupy() -> Backend:
    return load_backend("cupy")


def general(name: str) -> Callable[..., Any]:
    """Return a primitive's general text, on NumPy."""
    return PRIMITIVES[name].general_text(load_backend("numpy"))


def assert_close(got: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=1e-7 if got.dtype == np.float32 else 1e-12)


def test_every_kernel_has_a_case(cupy: Backend) -> None:
    assert cupy.kernels.keys() - {name for name, _, _ in CALLS} == WITH_TESTS_OF_THEIR_OWN


@pytest.mark.parametrize("case", range(len(CALLS)), ids=lambda i: f"{CALLS[i][0]}-{i}")
def test_a_kernel_gives_what_the_general_text_gives(cupy: Backend, case: int) -> None:
    name, args, params = CALLS[case]
    compute = getattr(kernel_namespace(cupy), name)  # the general text where CuPy has no kernel
    got = cupy.to_host(compute(*map(cupy.from_host, args), **params))
    assert_close(got, np.asarray(general(name)(*args, **params)), 1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sigmoid_has_the_values_of_the_formula(cupy: Backend, dtype: str) -> None:
    x = np.asarray([-1e4, -100, -20, -3.5, -1, 0, 0.5, 1, 7, 30, 1e4, np.inf, -np.inf, np.nan], dtype)
    got = cupy.to_host(cupy.kernels["sigmoid"](cupy.from_host(x)))
    with np.errstate(over="ignore"):
        expected = 1 / (1 + np.exp(-x.astype(np.float64)))
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-38)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("computed", [False, True], ids=["rate on the host", "rate on the GPU"])
@pytest.mark.parametrize("scaled", [False, True], ids=["as they are", "clipped"])
@pytest.mark.parametrize("step", range(len(STEPS)))
def test_sgd_update_is_the_general_text(cupy: Backend, step: int, scaled: bool, computed: bool, dtype: str) -> None:
    count, options = STEPS[step]
    groups = [[leaf.astype(dtype) for leaf in leaves(count)] for _ in range(3 if options["momentum"] else 2)]
    rate, scale = np.asarray(0.05, dtype), np.asarray(0.3, dtype)
    velocities = groups[2:] or [None]
    expected = general_sgd_update(
        *groups[:2], velocities[0], learning_rate=rate if computed else 0.05, scale=scale if scaled else None, **options
    )
    raw = [None if group is None else list(map(cupy.from_host, group)) for group in (*groups[:2], velocities[0])]
    got = cupy.kernels["sgd_update"](
        *raw,
        learning_rate=cupy.from_host(rate) if computed else 0.05,
        scale=cupy.from_host(scale) if scaled else None,
        **options,
    )
    assert (got[1] is None) == (expected[1] is None)
    for ours, theirs in zip(got, expected, strict=True):
        for one, other in zip(ours or [], theirs or [], strict=True):
            assert_close(cupy.to_host(one), other, 1e-6)


def test_no_kernel_of_the_sources_is_left_out(cupy: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """An instantiation that none of the cases above comes to would be one that nothing has ever run."""
    module = pytest.importorskip("gradkit_cupy.launch")
    compiled, started = module.kernel_function, set()

    def noting(source: str, kernel: str) -> Any:
        started.add((source, kernel))
        return compiled(source, kernel)

    monkeypatch.setattr(module, "kernel_function", noting)
    for name, args, params in CALLS:
        for dtype in ("float32", "float64") if name in CUDA_SOURCES else ():
            cast = [arg.astype(dtype) if arg.dtype.kind == "f" else arg for arg in args]
            cupy.kernels[name](*map(cupy.from_host, cast), **params)
    for dtype in ("float32", "float64"):
        leaf = [cupy.from_host(np.ones(3, dtype))]
        options = {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
        cupy.kernels["sgd_update"](leaf, leaf, None, learning_rate=0.1, scale=None, **options)
        for name in ("floor_divide", "remainder"):
            cupy.kernels[name](*leaf, 0.5)
        for name in ("tanh_slope", "sigmoid_slope"):
            cupy.kernels[name](*leaf, *leaf)
    assert started == {(source, kernel) for source, text in CUDA_SOURCES.items() for kernel in text.kernels}
