"""Measures what it costs to install and to import gradkit's core, NumPy, JAX and PyTorch.

Each goes into a fresh, empty virtual environment by `pip install`, without pip's cache. Imports are timed as whole
processes, in rounds that take every environment once, less what a bare `python -c pass` takes in that environment.

Run ``python benchmarks/imports.py``. It needs a package index, and about 3 GB of disk for a while.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import report
import sections
from machine import REPOSITORY, describe


@dataclass(frozen=True)
class Package:
    """What is installed and imported.

    Attributes
    ----------
    title : str
        What the table calls it.
    requirement : str
        What pip is given.
    module : str
        What is imported.
    """

    title: str
    requirement: str
    module: str


BASELINE = "numpy"
PACKAGES = {
    BASELINE: Package("numpy", "numpy", "numpy"),
    "gradkit": Package("gradkit", str(REPOSITORY), "gradkit"),
    "jax": Package("jax", "jax", "jax"),
    # PyPI's own wheel for Linux brings CUDA with it, some gigabytes; CPU builds are found where pip is told to look.
    "torch": Package("torch (CPU)", "torch==2.13.0", "torch"),
}


@dataclass(frozen=True)
class Environment:
    """A fresh virtual environment with one package and what it depends on."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        windows, other = self.folder / "Scripts" / "python.exe", self.folder / "bin" / "python"
        return windows if sys.platform == "win32" else other

    def install(self, package: Package) -> float:
        """Make the environment, install with the outer pip, and return the seconds that pip took."""
        venv.create(self.folder, with_pip=False)
        # pip stays outside, so that all that is in the environment is the package's.
        command = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "-qq", "--no-cache-dir"]
        start = time.perf_counter()
        subprocess.run([*command, package.requirement], check=True)
        return time.perf_counter() - start

    def size(self) -> int:
        """Return the bytes of all installed files."""
        packages = next(self.folder.rglob("site-packages"))
        return sum(path.lstat().st_size for path in packages.rglob("*") if path.is_file())

    def versions(self) -> dict[str, str]:
        """Return what pip installed, by name."""
        program = "import importlib.metadata as m; [print(d.name, d.version) for d in m.distributions()]"
        lines = self.run(program).splitlines()
        return dict(sorted(line.split() for line in lines))

    def run(self, program: str) -> str:
        """Run a program in the environment alone (no user site, no PYTHONPATH) and return what it prints."""
        command = [str(self.python), "-I", "-c", program]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def import_seconds(self, module: str) -> float:
        """Return the wall time of importing a module in a new process, less that of a process that imports none."""
        start = time.perf_counter()
        self.run("pass")
        middle = time.perf_counter()
        self.run(f"import {module}")
        return (time.perf_counter() - middle) - (middle - start)


def measure_imports(environments: dict[str, Environment], rounds: int) -> dict[str, list[float]]:
    """Return each package's import times, one a round, after one run that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in environments}
    for number in range(rounds + 1):
        for name, environment in environments.items():
            seconds = environment.import_seconds(PACKAGES[name].module)
            if number:
                times[name].append(seconds)
    return times


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measure installations and imports.")
    parser.add_argument("--rounds", type=int, default=20, help="at least 2 (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=sorted(PACKAGES), metavar="NAME", help="%(choices)s")
    parser.add_argument("--out", type=Path, help="where to write; a run with --only else writes nothing")
    options = parser.parse_args(arguments)
    if options.rounds < 2:
        parser.error(f"--rounds: expected at least 2, got {options.rounds}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the measurements that the command line asks for, print them, and write them."""
    options = parse(arguments)
    wanted = PACKAGES if options.only is None else {BASELINE, *options.only}
    with tempfile.TemporaryDirectory() as folder:
        environments = {name: Environment(Path(folder) / name) for name in PACKAGES if name in wanted}
        installed = {name: it.install(PACKAGES[name]) for name, it in environments.items()}
        times = measure_imports(environments, options.rounds)
        rows = []
        for name, environment in environments.items():
            ratios = [ours / base for ours, base in zip(times[name], times[BASELINE], strict=True)]
            lower, middle, upper = statistics.quantiles(ratios, n=4, method="inclusive")
            rows.append(
                {
                    "title": PACKAGES[name].title,
                    "megabytes": environment.size() / 1e6,
                    "install_seconds": installed[name],
                    "import_seconds": statistics.median(times[name]),
                    "import_ratio": middle,
                    "import_ratio_quartiles": [lower, upper],
                    "seconds": times[name],
                    "installed": environment.versions(),
                }
            )
    results = {"machine": describe([]), "rounds": options.rounds, "packages": rows}
    print(sections.imports_section(results))
    if options.out is not None or options.only is None:
        report.write(options.out or report.RESULTS, "imports", results)


if __name__ == "__main__":
    main()
