"""benchmarks/gpu.py on the CuPy that runs on the CPU: what is there is measured, what is not is told of."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks" / "gpu.py"
STAND_IN = ROOT / "tests" / "cuda_on_cpu"
TINY = ["--sizes", "8-8-4:4", "--rounds", "2", "--seconds", "0.01", "--peak-size", "16"]
FOUND: dict[str, Any] = {"losses": [], "offset": 0, "first_call": 0.1, "kernels": 3, "bytes": 10**6}


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    return importlib.import_module("gpu")


def on_the_stand_in(out: Path, *options: str) -> dict[str, Any]:
    """Run the script as a process that finds the stand-in; return what it has written."""
    pytest.importorskip("cupy", exc_type=ImportError)
    if shutil.which("g++") is None:
        pytest.skip("the stand-in compiles CUDA's sources with g++, which is not installed")
    paths = [str(STAND_IN), str(ROOT), str(ROOT / "backends"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, str(SCRIPT), *TINY, *options, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    results: dict[str, Any] = json.loads((out / "gpu.json").read_text())
    assert results["complete"]
    page = (out / "gpu.md").read_text()
    assert page.startswith("## On a GPU")
    assert page.strip() in (out / "README.md").read_text()
    return results


def check_step(found: dict[str, Any]) -> None:
    assert found["microseconds"]["median"] > 0
    assert found["host_microseconds"]["median"] > 0
    assert 0 < found["kernels"] < 100
    assert found["bytes"] is not None
    assert found["part_of_peak"] > 0


@pytest.mark.dealt
def test_a_step_on_the_stand_in_is_measured_and_the_rest_is_told_of(tmp_path: Path, backend: Any) -> None:
    options = ["--no-suite", "--modes", "float32", "--products", "CuPy", "--only", "gradkit-cupy", "torch-graph"]
    results = on_the_stand_in(tmp_path, *options)
    steps = results["sizes"][0]["modes"]["float32"]
    check_step(steps["gradkit-cupy"])
    assert "torch" in steps["torch-graph"]["missing"].lower()
    assert results["peaks"]["float32"]["flops"] > 0
    assert results["machine"]["gpus"] == ["cupy:0: tests/cuda_on_cpu"]


@pytest.mark.long
@pytest.mark.dealt
def test_the_whole_script_runs_on_the_stand_in(tmp_path: Path, backend: Any) -> None:
    results = on_the_stand_in(tmp_path, "--tests", "tests/backends/test_devices.py")
    assert results["suites"]["cupy"]["status"] == 0
    assert results["suites"]["cupy"]["outcomes"] is not None
    assert all("missing" in found for name, found in results["suites"].items() if name != "cupy")
    for mode, steps in results["sizes"][0]["modes"].items():
        for name, found in steps.items():
            if name in ("gradkit-cupy", "gradkit-cupy-jit") and mode != "bfloat16":
                check_step(found)
            else:
                assert len(found["missing"]) > 10, (mode, name)


def run_with(gpu: Any, monkeypatch: pytest.MonkeyPatch, out: Path, answer: Any) -> dict[str, Any]:
    """Run the script with `answer` in place of processes; return what is written, however it ends."""
    monkeypatch.setattr(gpu, "in_process", answer)
    with contextlib.suppress(KeyboardInterrupt):
        gpu.main([*TINY, "--no-suite", "--modes", "float32", "--only", "torch", "jax-jit", "--out", str(out)])
    results: dict[str, Any] = json.loads((out / "gpu.json").read_text())
    return results


@pytest.mark.dealt
def test_a_run_that_is_killed_keeps_what_it_has(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, backend: Any
) -> None:
    losses = gpu.losses_by_hand(gpu.Size((8, 8, 4), 4, goal=0))

    def answer(task: dict[str, Any], limit: float) -> dict[str, Any]:
        if task["name"] == "jax-jit":
            raise KeyboardInterrupt
        if task["name"] == "JAX":
            return {"missing": "out of memory"}
        return FOUND | {"losses": losses, "seconds": [1e-3, 3e-3], "host_seconds": [1e-4]}

    results = run_with(gpu, monkeypatch, tmp_path, answer)
    assert not results["complete"]
    assert results["sizes"][0]["modes"]["float32"].keys() == {"torch"}
    page = (tmp_path / "gpu.md").read_text()
    assert "**This run is not complete**" in page
    assert "| 8-8-4, batch 4 | PyTorch eager | 2000 | 100 | 3 | 1 |" in page
    assert "- products by JAX (float32): out of memory" in page


@pytest.mark.dealt
def test_losses_of_another_step_are_no_result(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, backend: Any
) -> None:
    def answer(task: dict[str, Any], limit: float) -> dict[str, Any]:
        return FOUND | {"losses": [1.0, float("nan")], "seconds": [1e-3, 3e-3], "host_seconds": [1e-4]}

    steps = run_with(gpu, monkeypatch, tmp_path, answer)["sizes"][0]["modes"]["float32"]
    assert all(found["missing"].startswith("another step: its losses are [1.0, nan]") for found in steps.values())


@pytest.mark.dealt
def test_a_process_that_fails_hangs_or_dies_is_a_reason(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, backend: Any
) -> None:
    task = {"kind": "step", "name": "nobody", "mode": "float32", "widths": (2, 1), "batch": 1}
    gpu.be_process(json.dumps(task), tmp_path / "result.json")
    assert json.loads((tmp_path / "result.json").read_text()) == {"missing": "KeyError: 'nobody'"}
    assert gpu.in_process(task, 0.001) == {"missing": "it took longer than 0.001 seconds"}
    program = tmp_path / "dies.py"
    program.write_text("import os, sys\nsys.stderr.write('no memory left\\n'); sys.stderr.flush(); os._exit(7)\n")
    monkeypatch.setattr(gpu, "__file__", str(program))
    assert gpu.in_process(task, 60) == {"missing": "its process ended with status 7: no memory left"}


@pytest.mark.dealt
def test_operations_of_a_step_are_those_of_its_products(gpu: Any, backend: Any) -> None:
    # Forward 3 x 4 and 4 x 2, backward both gradients of weights and that of the hidden layer: 2 a product's element.
    assert gpu.operations(gpu.Size((3, 4, 2), 5, goal=0)) == 2 * 5 * (2 * (3 * 4 + 4 * 2) + 4 * 2)
    with pytest.raises(SystemExit):
        gpu.main(["--sizes", "64"])
