"""The stand-in for CuPy refuses what CuPy refuses, and counts what is asked of it."""

from __future__ import annotations

import pickle  # noqa: TID251
from typing import Any

import numpy as np
import pytest
from cuda_counts import counted

cupy = pytest.importorskip("cupy")
if not hasattr(cupy, "_ledger"):
    pytest.skip("this run does without tests/cuda_on_cpu", allow_module_level=True)

X = np.arange(6.0, dtype=np.float32).reshape(2, 3)

SUM = r"""
template <typename T>
__global__ void sums(const T* x, T* y, int width) {
    __shared__ T part[64];
    T sum = 0;
    for (int i = threadIdx.x; i < width; i += blockDim.x) sum += x[blockIdx.x * width + i];
    part[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x >= 32) return;
    sum = part[threadIdx.x] + part[threadIdx.x + 32];
    for (int step = 16; step; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
    if (threadIdx.x == 0) y[blockIdx.x] = sum;
}
"""


def on_gpu(x: Any) -> Any:
    return cupy.asarray(x)


def sums(x: Any, y: Any, width: Any) -> None:
    module = cupy.RawModule(code=SUM, options=("-std=c++17",), name_expressions=("sums<float>", "sums<double>"))
    module.get_function("sums<float>")((x.shape[0],), (64,), (x, y, width))


def test_a_kernel_whose_threads_wait_for_each_other_runs() -> None:
    x = np.random.default_rng(0).normal(size=(5, 1000)).astype(np.float32)
    y = cupy.empty(5, np.float32)
    sums(on_gpu(x), y, np.int32(1000))
    np.testing.assert_allclose(y.get(), x.astype(np.float64).sum(axis=1), atol=1e-4)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (lambda x, y: (x, y), "takes 3 arguments, got 2"),
        (lambda x, y: (x.astype("float64"), y, np.int32(3)), "float64 where the kernel has elements of 4 bytes"),
        (lambda x, y: (x.astype("int32"), y, np.int32(3)), "int32 where the kernel has elements"),
        (lambda x, y: (x, y, np.int64(3)), "int64 where the kernel has 4 bytes"),
        (lambda x, y: (x, y, np.float32(3)), "float32 where the kernel has 4 bytes"),
        (lambda x, y: (x, y, 3), "whose size is not told"),
        (lambda x, y: (x.T, y, np.int32(3)), "not contiguous"),
        (lambda x, y: (x[:, ::2], y, np.int32(3)), "not contiguous"),
        (lambda x, y: (x, cupy.broadcast_to(y[:1], (2,)), np.int32(3)), "not contiguous|broadcast"),
        (lambda x, y: (X, y, np.int32(3)), "by value"),
        (lambda x, y: (x, y, y), "an array where the kernel has a number"),
    ],
)
def test_arguments_that_a_kernel_would_misread_are_refused(arguments: Any, message: str) -> None:
    module = cupy.RawModule(code=SUM, options=("-std=c++17",), name_expressions=("sums<float>",))
    with pytest.raises((TypeError, RuntimeError), match=message):
        module.get_function("sums<float>")((2,), (64,), arguments(on_gpu(X), cupy.empty(2, np.float32)))


def test_source_that_does_not_compile_says_where() -> None:
    module = cupy.RawModule(code="__global__ void f(float* x) { y; }", options=("-std=c++17",), name_expressions=("f",))
    with pytest.raises(cupy.cuda.nvrtc.NVRTCError, match="y"):
        module.get_function("f")((1,), (1,), (on_gpu(X),))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.asarray(x),
        lambda x: x + X,
        lambda x: X + x,
        lambda x: cupy.add(x, X),
        lambda x: cupy.concatenate([x, X]),
        lambda x: cupy.sum(X),
        lambda x: cupy.exp([1.0, 2.0]),
        lambda x: x.dot(X.T),
        lambda x: cupy.negative(x > 0),
        lambda x: cupy.linalg.inv(cupy.eye(2, dtype="float16")),
        lambda x: cupy.add.at(x.astype("int8"), on_gpu([0]), 1),
        lambda x: cupy.add(x, x, out=cupy.empty((2, 3), "int32")),
        lambda x: x.astype("int32", casting="safe"),
        lambda x: cupy.sum(x, where=x > 0),
    ],
)
def test_what_cupy_refuses_with_a_type_error(call: Any) -> None:
    with pytest.raises(TypeError):
        call(on_gpu(X))


@pytest.mark.parametrize("dtype", ["U3", "O", "S2", "M8[s]", "longdouble"])
def test_dtypes_that_cupy_does_not_have(dtype: str) -> None:
    with pytest.raises(ValueError, match="Unsupported dtype"):
        cupy.zeros(2, dtype)


def test_names_that_cupy_does_not_have_are_not_here() -> None:
    for name in ("unstack", "cumulative_sum", "has_arrays", "fetched"):
        assert not hasattr(cupy, name)


def test_indices_are_not_checked_but_wrap_around() -> None:
    x = on_gpu(X)
    assert x.take(on_gpu([7]), 1).get().tolist() == [[1.0], [4.0]]
    assert x[:, on_gpu([-4])].get().tolist() == [[2.0], [5.0]]
    with pytest.raises(IndexError):
        x[:, 3]


def test_a_result_without_axes_is_an_array() -> None:
    x = on_gpu(X)
    for result in (x.sum(), cupy.max(x), x[0, 0], cupy.exp(np.float32(1)), cupy.linalg.det(cupy.eye(2))):
        assert type(result) is cupy.ndarray
        assert result.shape == ()


def test_pythons_numbers_take_the_dtype_of_arrays() -> None:
    x = on_gpu(X)
    assert (x + 1).dtype == (x * 2.0).dtype == np.float32
    assert (x.astype("int8") + 1.0).dtype == np.float64
    assert (x.astype("float16") * 1e3).dtype == np.float16
    assert (x + 1j).dtype == np.complex64


def test_launches_and_copies_are_counted() -> None:
    with counted() as found:
        x = on_gpu(X)
        y = cupy.exp(x).reshape(3, 2).T
        float(y.sum())
        cupy.exp(x[:0])
    assert found.log == [("to device", "float32[2, 3]"), ("launch", "exp"), ("launch", "sum"), ("to host", "float32[]")]
    assert found["launch"] == 2


def test_an_array_that_was_pickled_is_on_the_gpu_again() -> None:
    copied = pickle.loads(pickle.dumps(on_gpu(X)))
    assert type(copied) is cupy.ndarray
    np.testing.assert_array_equal(copied.get(), X)
