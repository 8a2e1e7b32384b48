"""Processes that run programs and have imported the large libraries already: forks of one that did so once.

Importing scikit-learn, matplotlib and gradkit is most of what a short run of an example takes. Everything else is as
in a process of its own: arguments, environment, folder, exit status, and what the interpreter prints at its end.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

from quick_strict import quicken_strict

__all__ = ["WarmProcesses", "run"]

LARGE = """numpy matplotlib.pyplot matplotlib.animation sklearn.datasets array_api_strict array_api_compat.numpy
    safetensors.numpy gradkit gradkit.backend gradkit.data gradkit.io gradkit.nn gradkit.numpy gradkit.optim
    gradkit.random gradkit.scalar gradkit.train gradkit.tree gradkit.viz.learning_curves gradkit_numpy.kernels
    gradkit_strict""".split()


class WarmProcesses:
    """Runs programs in forks of one process, which ends with the ``with`` block."""

    def __enter__(self) -> WarmProcesses:
        self._server = subprocess.Popen(
            [sys.executable, __file__],
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # threads wait by computing, and workers run beside these
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate()

    def run(self, words: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a program, ``words[0]``, to its end."""
        stdin, stdout = self._server.stdin, self._server.stdout
        assert stdin
        assert stdout
        print(json.dumps([words, str(folder), environment]), file=stdin, flush=True)
        status, *printed = json.loads(stdout.readline())
        return subprocess.CompletedProcess(words, status, *printed)


warm: WarmProcesses | None = None
"""Those of this run, which tests/examples/conftest.py starts; None where each program has a process of its own."""


def run(words: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a program, ``words[0]``, to its end."""
    if warm is not None:
        return warm.run(words, folder, environment)
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def draw() -> None:
    """Draw a picture, for matplotlib to find its fonts."""
    import io

    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    axes = figure.add_subplot(xlabel="a", ylabel="b", title="c")
    axes.plot([1, 2], label="d")
    axes.legend()
    figure.savefig(io.BytesIO())


def main() -> None:
    import runpy
    import tempfile
    import warnings

    for library in LARGE:
        importlib.import_module(library)
    quicken_strict()
    draw()
    gc.collect()
    gc.freeze()  # a child's collector would touch, and so copy, all of these pages

    for line in sys.stdin:
        words, folder, environment = json.loads(line)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # NumPy's threads wait, and hold nothing
                child = os.fork()
            if not child:
                for number, file in enumerate([os.open(os.devnull, os.O_RDONLY), out.fileno(), errors.fileno()]):
                    os.dup2(file, number)
                os.environ.clear()
                os.environ.update(environment)
                os.chdir(folder)
                for action in filter(None, environment.get("PYTHONWARNINGS", "").split(",")):
                    warnings.simplefilter(action)  # type: ignore[arg-type] - as the interpreter does when it starts
                sys.argv, sys.path[0] = words, os.path.dirname(words[0])
                runpy.run_path(words[0], run_name="__main__")
                return
            _, status = os.waitpid(child, 0)
            printed = []
            for file in (out, errors):
                file.seek(0)
                printed.append(file.read().decode())
        print(json.dumps([os.waitstatus_to_exitcode(status), *printed]), flush=True)


if __name__ == "__main__":
    main()
