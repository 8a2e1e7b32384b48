"""What a measurement has to say about where it was taken: the machine, the versions, the commit, the date."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
TUNING = ("BLIS_", "MKL_", "OPENBLAS_", "XLA_")
"""What variables begin with that tell libraries of linear algebra how to work."""


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def usual_environment() -> dict[str, str]:
    """Return this process's environment without what makes a library run otherwise than it does by itself.

    Such are variables that choose a BLAS's kernels (``OPENBLAS_CORETYPE``) or XLA's passes, which slow some contestants
    and not others, and the one that has Python compile a checkout's modules at each start. Numbers of threads stay.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if name != "PYTHONDONTWRITEBYTECODE" and (not name.startswith(TUNING) or name.endswith("NUM_THREADS"))
    }


def cpu_name() -> str:
    """Return what the processor calls itself, as well as this system tells."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def git(*arguments: str) -> str:
    """Return what a git command prints in this repository, or an empty string where there is none."""
    result = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else ""


def commit() -> str:
    """Return the commit that was measured, with a note where its code had been changed."""
    changed = git("status", "--porcelain", "--", "gradkit", "backends", "benchmarks/*.py")
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + (" with changes" if changed else "")


def describe(packages: Iterable[str]) -> dict[str, object]:
    """Return the facts that a reader needs to judge or repeat a measurement."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit(),
        "cpu": cpu_name(),
        "cores": available_cores(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {package: importlib.metadata.version(package) for package in packages},
    }
