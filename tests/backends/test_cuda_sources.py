"""The CUDA kernels without a GPU: NVRTC compiles each, and tests/cuda_on_cpu runs each on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from gradkit_cupy import CUDA_SOURCES
from gradkit_cupy.sources import OPTIONS

from gradkit.backend import load_backend, why_not

KERNELS = [(source, kernel) for source, text in CUDA_SOURCES.items() for kernel in text.kernels]
ARCHITECTURES = ("compute_75", "compute_90")
"""The oldest that CUDA 13 compiles for, and a recent one."""


STAND_IN = Path(__file__).parents[1] / "cuda_on_cpu"


# Compiling


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("source", CUDA_SOURCES)
def test_nvrtc_compiles_every_kernel(source: str, architecture: str) -> None:
    nvrtc = pytest.importorskip("cupy").cuda.nvrtc
    if STAND_IN in Path(nvrtc.__file__).parents:
        pytest.skip("NVRTC is the real CuPy's, and this run has tests/cuda_on_cpu in its place")
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


# Running, on the CPU


def test_every_kernel_runs_on_the_cpu() -> None:
    if why_not(load_backend("cupy")) is None:
        pytest.skip("CuPy can run here, so tests/backends/test_cuda_kernels.py does")
    pytest.importorskip("cupy")
    tests = [Path(__file__).with_name(f"test_cuda_{name}.py") for name in ("devices", "kernels", "on_cpu")]
    paths = os.pathsep.join([os.fspath(STAND_IN), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider", "--backend=cupy", *tests],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if " passed" not in done.stdout:
        pytest.skip(done.stdout.strip().splitlines()[-1])
