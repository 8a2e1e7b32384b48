"""Times ordinary JAX programs, run unchanged by JAX and by gradkit: their numbers, their steps, their first result.

The programs are the modules of `jax_programs`, which import `jax`; in gradkit's processes that name is gradkit. Of a
program's two processes both stay up while it is measured and take turns, round by round, as in `eager.py`; steps
begin anew every `RESTART` steps, so that all do the same work. What the first steps give must agree, else the program
is reported, its times are not taken, and the run ends with status 1.

The time to the first result is that of a whole process, from its start to the first step's value: import, trace,
compile, run. "Cold" finds an empty cache on disk, "warm" the one that the cold process has left. Python's own bytecode
is there for both, as it is for packages that pip has installed.

Run ``python benchmarks/programs.py``; ``--help`` lists the options.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import report
import sections
from first_result import load
from machine import available_cores, describe, usual_environment
from workers import Worker, WorkerError, answer, in_rounds

FOLDER = Path(__file__).resolve().parent / "jax_programs"
PROGRAMS = sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))
LIBRARIES = "jax", "gradkit"
CHECKED_STEPS = 5
RESTART = 50
TOLERANCE = {"rtol": 2e-3, "atol": 1e-4}
CACHES = {
    "jax": {
        "JAX_COMPILATION_CACHE_DIR": "{}",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    },
    "gradkit": {"GRADKIT_CACHE_DIR": "{}"},
}
"""What tells each library where its compiled programs are kept."""


def serve(connection: Connection, library: str, name: str) -> None:
    """Be the process of one program: send what its first steps give, then time steps until told to stop."""
    jax, step, start = load(library, name)
    state, found = start, []
    for _ in range(CHECKED_STEPS):
        state, value = step(state)
        found.append(value)
    connection.send([[np.asarray(x) for x in jax.tree.leaves(value)] for value in found])

    def steps(number: int) -> None:
        state = value = start
        for i in range(number):
            state, value = step(start if i % RESTART == 0 else state)
        jax.block_until_ready((state, value))

    answer(connection, steps)


def difference(workers: Sequence[Worker]) -> str | None:
    """Return how the values of the first steps differ; None where they agree and are numbers."""
    for number, (ours, theirs) in enumerate(zip(*(worker.facts for worker in workers), strict=True)):
        for a, b in zip(ours, theirs, strict=True):
            if not (np.isfinite(a).all() and np.isfinite(b).all()):
                return f"step {number} gives {a} and {b}, which are not all finite"
            if a.shape != b.shape or a.dtype != b.dtype:
                return f"step {number} gives {a.dtype}{list(a.shape)} and {b.dtype}{list(b.shape)}"
            if not np.allclose(a, b, **TOLERANCE):
                return f"step {number} gives {a} and {b}"
    return None


def measure_steps(name: str, rounds: int) -> dict[str, dict[str, Any]] | str:
    """Return each library's seconds a step in each round and its peak memory, or what is wrong with the values."""
    workers: list[Worker] = []
    try:
        workers.extend(Worker(f"{name} by {library}", serve, (library, name)) for library in LIBRARIES)
        wrong = difference(workers)
        if wrong:
            return wrong
        times = in_rounds(workers, rounds)
        return {
            library: {"seconds": seconds, "megabytes": worker.peak_megabytes()}
            for library, worker, seconds in zip(LIBRARIES, workers, times, strict=True)
        }
    except WorkerError as error:
        return str(error)
    finally:
        for worker in workers:
            worker.close()


def run_first(library: str, name: str, cache: Mapping[str, str]) -> float:
    """Run a process that takes one step, and return its wall seconds."""
    command = [sys.executable, str(FOLDER.parent / "first_result.py"), library, name]
    begin = time.perf_counter()
    subprocess.run(command, check=True, env=usual_environment() | dict(cache))
    return time.perf_counter() - begin


def measure_first(name: str, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return the wall seconds of processes that take one step, without and with a cache on disk, in each round."""
    found: dict[str, dict[str, list[float]]] = {x: {"cold": [], "warm": []} for x in LIBRARIES}
    for number in range(rounds + 1):
        for library in random.Random(number).sample(LIBRARIES, len(LIBRARIES)):
            with tempfile.TemporaryDirectory() as folder:
                cache = {key: value.format(folder) for key, value in CACHES[library].items()}
                for kind in ("cold", "warm"):
                    seconds = run_first(library, name, cache)
                    if number:  # what comes before the first round leaves bytecode
                        found[library][kind].append(seconds)
    return found


def summarize(name: str, steps: dict[str, dict[str, Any]], first: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    """Return the medians of one program, ratios of the same round first."""
    ratios = [a / b for a, b in zip(steps["gradkit"]["seconds"], steps["jax"]["seconds"], strict=True)]
    lower, middle, upper = statistics.quantiles(ratios, n=4, method="inclusive")
    return {
        "name": name,
        "microseconds": {library: statistics.median(steps[library]["seconds"]) * 1e6 for library in LIBRARIES},
        "ratio": middle,
        "ratio_quartiles": [lower, upper],
        "megabytes": {library: steps[library]["megabytes"] for library in LIBRARIES},
        "first": {
            library: {kind: statistics.median(times) for kind, times in first[library].items()}
            for library in LIBRARIES
            if first[library]["cold"]
        },
        "seconds": {library: steps[library]["seconds"] for library in LIBRARIES},
        "first_seconds": first,
    }


def measured(names: Sequence[str], rounds: int, first_rounds: int) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Measure program by program."""
    for name in names:
        steps = measure_steps(name, rounds)
        if isinstance(steps, str):
            yield name, steps
        else:
            yield name, summarize(name, steps, measure_first(name, first_rounds))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Time ordinary JAX programs under JAX and under gradkit.")
    parser.add_argument("--rounds", type=int, default=12, help="of steps, at least 2 (default: %(default)s)")
    parser.add_argument("--first-rounds", type=int, default=3, help="of fresh processes (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=PROGRAMS, metavar="NAME", help="%(choices)s")
    parser.add_argument("--out", type=Path, help="where to write; a run with --only else writes nothing")
    options = parser.parse_args(arguments)
    if options.rounds < 2:
        parser.error(f"--rounds: expected at least 2, got {options.rounds}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the comparison that the command line asks for, print it, and write it."""
    options = parse(arguments)
    programs, wrong = [], []
    for name, found in measured(options.only or PROGRAMS, options.rounds, options.first_rounds):
        if isinstance(found, str):
            wrong.append(name)
            print(f"{name}: WRONG, {found}", flush=True)
        else:
            programs.append(found)
            print(sections.programs_row(found), flush=True)
    results: dict[str, Any] = {
        "machine": describe(["gradkit", "jax", "jaxlib", "llvmlite", "numpy", "scipy"]),
        "threads": available_cores(),
        "rounds": options.rounds,
        "geometric_mean": math.exp(statistics.fmean(math.log(it["ratio"]) for it in programs)) if programs else None,
        "wrong": wrong,
        "programs": programs,
    }
    print("\n" + sections.programs_section(results))
    if wrong:
        sys.exit(f"{', '.join(wrong)}: the numbers differ or there are none, and nothing is written")
    if options.out is not None or options.only is None:
        report.write(options.out or report.RESULTS, "programs", results)


if __name__ == "__main__":
    main()
