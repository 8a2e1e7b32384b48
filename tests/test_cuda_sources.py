"""The CUDA kernels without a GPU: NVRTC compiles each, and a C++ compiler runs their arithmetic on the CPU."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from gradkit_cupy import CUDA_SOURCES
from gradkit_cupy.sources import LEAVES, OPTIONS

from gradkit.optim.update import sgd_update

KERNELS = [(source, kernel) for source, text in CUDA_SOURCES.items() for kernel in text.kernels]
ARCHITECTURES = ("compute_75", "compute_90")
"""The oldest that CUDA 13 compiles for, and a recent one."""


# Compiling


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("source", CUDA_SOURCES)
def test_nvrtc_compiles_every_kernel(source: str, architecture: str) -> None:
    nvrtc = pytest.importorskip("cupy").cuda.nvrtc
    try:
        nvrtc.getVersion()
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"NVRTC is not installed: {error}")
    text = CUDA_SOURCES[source]
    program = nvrtc.createProgram(text.code, f"{source}.cu", (), ())
    try:
        for kernel in text.kernels:
            nvrtc.addNameExpression(program, kernel)
        try:
            nvrtc.compileProgram(program, (*OPTIONS, f"--gpu-architecture={architecture}"))
        except nvrtc.NVRTCError:
            pytest.fail(nvrtc.getProgramLog(program), pytrace=False)
        compiled = nvrtc.getPTX(program).decode()
        for kernel in text.kernels:
            assert f".entry {nvrtc.getLoweredName(program, kernel)}" in compiled
        assert not nvrtc.getProgramLog(program).strip("\0\n")
    finally:
        nvrtc.destroyProgram(program)


def test_every_source_has_kernels_and_includes_nothing() -> None:
    for text in CUDA_SOURCES.values():
        assert text.kernels
        assert "#include" not in text.code


# Running, on the CPU: the grid is two loops

ON_THE_CPU = """
#include <cmath>
#include <cstdint>
using std::exp;
#define __global__ static
#define __device__
#define __forceinline__ inline
struct Place { unsigned x, y; };
static Place gridDim, blockDim, blockIdx, threadIdx;

template <typename Kernel, typename... Arguments>
void launch(unsigned width, unsigned rows, unsigned threads, Kernel kernel, Arguments... arguments) {
    gridDim = {width, rows};
    blockDim = {threads, 1};
    for (unsigned y = 0; y < rows; ++y)
        for (unsigned x = 0; x < width; ++x)
            for (unsigned thread = 0; thread < threads; ++thread) {
                blockIdx = {x, y};
                threadIdx = {thread, 0};
                kernel(arguments...);
            }
}
"""

EXPORTED = {
    "sigmoid": """
extern "C" void run(const float* x, float* y, long long size) { launch(2, 1, 4, sigmoid<float>, x, y, size); }
""",
    "sgd_update": """
extern "C" void run(
    const Leaves<float>* leaves, unsigned rows, float rate, const float* computed_rate, const float* scale,
    float momentum, float weight_decay, bool nesterov
) {
    launch(2, rows, 4, sgd_update<float>, *leaves, rate, computed_rate, scale, momentum, weight_decay, nesterov);
}
""",
    "random_bits": """
template <typename T>
void random_bits_of(const unsigned* keys, void* bits, long long size, long long total) {
    launch(2, 1, 4, random_bits<T>, keys, (T*)bits, size, total);
}
extern "C" void run(int width, const unsigned* keys, void* bits, long long size, long long total) {
    if (width == 8) random_bits_of<unsigned char>(keys, bits, size, total);
    if (width == 16) random_bits_of<unsigned short>(keys, bits, size, total);
    if (width == 32) random_bits_of<unsigned int>(keys, bits, size, total);
    if (width == 64) random_bits_of<unsigned long long>(keys, bits, size, total);
}
""",
    "fold_in": """
extern "C" void run(
    const unsigned* keys, long long step, const unsigned* counters, unsigned* folded, long long size
) {
    launch(2, 1, 4, fold_in, keys, step, counters, folded, size);
}
""",
}


def on_the_cpu(source: str, folder: Path) -> Any:
    """Return the exported function of a source, compiled as C++."""
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("there is no C++ compiler on this machine")
    text = folder / f"{source}.cpp"
    text.write_text(ON_THE_CPU + CUDA_SOURCES[source].code + EXPORTED[source])
    library = folder / f"{source}.so"
    subprocess.run([compiler, "-std=c++17", "-O1", "-shared", "-fPIC", "-o", library, text], check=True)
    return ctypes.CDLL(os.fspath(library)).run


def address(array: np.ndarray | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if array is None else array.ctypes.data)


def test_sigmoid_has_the_values_of_the_formula(tmp_path: Path) -> None:
    run = on_the_cpu("sigmoid", tmp_path)
    x = np.asarray([-1e4, -100, -20, -3.5, -1, 0, 0.5, 1, 7, 30, 1e4], np.float32)
    y = np.full_like(x, np.nan)
    run(address(x), address(y), ctypes.c_longlong(x.size))
    with np.errstate(over="ignore"):
        expected = 1 / (1 + np.exp(-x.astype(np.float64)))
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-38)


@pytest.mark.parametrize("computed", [False, True], ids=["rate on the host", "rate on the GPU"])
@pytest.mark.parametrize("scaled", [False, True], ids=["as they are", "clipped"])
@pytest.mark.parametrize(
    "momentum, nesterov, weight_decay", [(0.0, False, 0.0), (0.0, False, 0.1), (0.9, False, 0.0), (0.9, True, 0.1)]
)
def test_sgd_update_is_the_general_text(
    tmp_path: Path, momentum: float, nesterov: bool, weight_decay: float, scaled: bool, computed: bool
) -> None:
    run = on_the_cpu("sgd_update", tmp_path)
    random = np.random.default_rng(0)
    shapes = [(3, 4), (1,), (5, 5), (0,), ()]

    def leaves() -> list[np.ndarray]:
        return [np.asarray(random.normal(size=shape), np.float32) for shape in shapes]

    params, grads, velocities = leaves(), leaves(), leaves() if momentum else None
    rate, scale = np.asarray(0.05, np.float32), np.asarray(0.3, np.float32)
    new = [np.full_like(p, np.nan) for p in params]
    new_velocities = [np.full_like(p, np.nan) for p in params] if momentum else None

    table = np.zeros((LEAVES, 6), np.int64)
    for row, places in zip(table, zip(params, grads, new, strict=True), strict=False):
        row[[0, 1, 3]] = [array.ctypes.data for array in places]
        row[5] = places[0].size
    if velocities is not None and new_velocities is not None:
        for row, old, fresh in zip(table, velocities, new_velocities, strict=False):
            row[2], row[4] = old.ctypes.data, fresh.ctypes.data
    run(
        address(table),
        ctypes.c_uint(len(shapes)),
        ctypes.c_float(0 if computed else float(rate)),
        address(rate if computed else None),
        address(scale if scaled else None),
        ctypes.c_float(momentum),
        ctypes.c_float(weight_decay),
        ctypes.c_bool(nesterov),
    )
    expected, expected_velocities = sgd_update(
        params,
        grads,
        velocities,
        learning_rate=float(rate),
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
        scale=scale if scaled else None,
    )
    for got, value in zip(new, expected, strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-6, atol=1e-7)
    for got, value in zip(new_velocities or [], expected_velocities or [], strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-6, atol=1e-7)


KEYS = np.asarray([[0, 42], [0xFFFFFFFF, 0x9E3779B9], [7, 0]], np.uint32)


@pytest.mark.parametrize("keys", [KEYS[:1], KEYS], ids=["one key", "keys"])
@pytest.mark.parametrize("width", [8, 16, 32, 64])
def test_random_bits_are_those_of_jax(tmp_path: Path, width: int, keys: np.ndarray) -> None:
    run = on_the_cpu("random_bits", tmp_path)
    bits = np.empty((len(keys), 101), f"uint{width}")
    run(ctypes.c_int(width), address(keys), address(bits), ctypes.c_longlong(101), ctypes.c_longlong(bits.size))
    with jax.enable_x64(True):
        for key, row in zip(keys, bits, strict=True):
            np.testing.assert_array_equal(row, jax.random.bits(jax.random.wrap_key_data(key), (101,), row.dtype))


def test_fold_in_gives_the_keys_of_jax(tmp_path: Path) -> None:
    run = on_the_cpu("fold_in", tmp_path)
    counters = np.asarray([3, 0xFFFFFFFF, 0], np.uint32)
    for keys, step in ((KEYS[:1], 0), (KEYS, 2)):
        folded = np.empty((3, 2), np.uint32)
        size = ctypes.c_longlong(len(counters))
        run(address(keys), ctypes.c_longlong(step), address(counters), address(folded), size)
        for key, counter, got in zip(np.broadcast_to(keys, (3, 2)), counters, folded, strict=True):
            expected = jax.random.fold_in(jax.random.wrap_key_data(key), counter)
            np.testing.assert_array_equal(got, jax.random.key_data(expected))


# The Python around them, on an array library of the CPU in CuPy's place

STAND_IN = Path(__file__).parent / "cupy_stand_in.py"


def test_kernels_give_what_the_general_text_gives_where_numpy_stands_in_for_cupy() -> None:
    done = subprocess.run([sys.executable, STAND_IN], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["checked"]
