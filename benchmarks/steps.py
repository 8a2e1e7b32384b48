"""Times one compiled MLP training step: gradkit's jit beside JAX's, other compilers, and NumPy by hand.

Each contestant has a process of its own, and all of them stay up while one size is measured; they take turns in rounds,
as in `eager.py`. Their first losses must be the hand-written ones. Beside the time of a step stand what the first call
took more than the second one (trace and compile, nothing from disk) and the most memory that the process has had.

Run ``python benchmarks/steps.py``; ``--help`` lists the options.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import report
import sections
from compiled_contestants import BASELINE, BY_HAND, CONTESTANTS
from machine import available_cores, describe
from problem import SIZES, Size, make_problem
from workers import Worker, WorkerError, answer, in_rounds

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
CHECKED_STEPS = 6
LOSS_TOLERANCE = 1e-4


def serve(connection: Connection, name: str, size: Size) -> None:
    """Be the process of one contestant: send its first losses and the time of its first call, then time steps."""
    run = CONTESTANTS[name].prepare(make_problem(size))
    losses: list[float] = []
    durations = []
    while len(losses) < CHECKED_STEPS or len(durations) < 2:
        begin = time.perf_counter()
        found = run.call()
        run.wait()
        durations.append(time.perf_counter() - begin)
        losses += [float("nan")] * CHECKED_STEPS if found is None else in_float32(name, found)
    connection.send(
        {"losses": losses[:CHECKED_STEPS], "compile_seconds": durations[0] - durations[1], "steps": run.steps}
    )

    def steps(number: int) -> None:
        for _ in range(number):
            run.call()
        run.wait()

    answer(connection, steps)


def in_float32(name: str, losses: Any) -> list[float]:
    """Return losses as numbers; a contestant that left float32 on the way does not compete."""
    if not str(losses.dtype).endswith("float32"):
        raise TypeError(f"{name}: expected losses of float32, got {losses.dtype}")
    numbers: list[float] = np.ravel(losses.tolist()).tolist()
    return numbers


def wrong_losses(losses: list[float], expected: list[float]) -> bool:
    """Return whether losses are not the hand-written ones; what computes none has not-a-numbers."""
    return any(abs(ours - theirs) > LOSS_TOLERANCE * theirs for ours, theirs in zip(losses, expected, strict=True))


def measure(size: Size, names: Sequence[str], rounds: int) -> dict[str, dict[str, Any]]:
    """Return what is measured of each contestant; who fails or computes another step is left out, with a message."""
    workers: dict[str, Worker] = {}
    try:
        with tempfile.TemporaryDirectory() as folder:  # nothing compiled is found on disk
            for name in names:
                environment = CONTESTANTS[name].environment | {"GRADKIT_CACHE_DIR": folder}
                try:
                    workers[name] = Worker(f"{name}, {size.name}", serve, (name, size), environment)
                except WorkerError as error:
                    print(error, file=sys.stderr)
        expected = workers[BY_HAND].facts["losses"]
        for name in [name for name, worker in workers.items() if wrong_losses(worker.facts["losses"], expected)]:
            worker = workers.pop(name)
            print(f"{worker.title}: another step, {worker.facts['losses']}, by hand {expected}", file=sys.stderr)
            worker.close()
        times = in_rounds(list(workers.values()), rounds)
        return {
            name: {
                "seconds": [seconds / worker.facts["steps"] for seconds in found],
                "compile_seconds": worker.facts["compile_seconds"],
                "megabytes": worker.peak_megabytes(),
            }
            for (name, worker), found in zip(workers.items(), times, strict=True)
        }
    finally:
        for worker in workers.values():
            worker.close()


def summarize(measured: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return medians and quartiles of the times, and of the ratios to jax.jit in the same round, where that is."""
    base = measured.get(BASELINE, measured[BY_HAND])["seconds"]
    summary = {}
    for name, found in measured.items():
        ratios = [ours / theirs for ours, theirs in zip(found["seconds"], base, strict=True)]
        lower, middle, upper = statistics.quantiles(ratios, n=4, method="inclusive")
        times = [x * 1e6 for x in statistics.quantiles(found["seconds"], n=4, method="inclusive")]
        summary[name] = found | {
            "microseconds": times[1],
            "microseconds_quartiles": [times[0], times[2]],
            "ratio": middle,
            "ratio_quartiles": [lower, upper],
        }
    return summary


def can_run(name: str) -> bool:
    """Tell whether a contestant's packages are there, and say what to install where they are not."""
    missing = [package for package in CONTESTANTS[name].packages if importlib.util.find_spec(package) is None]
    if missing:
        print(f"{CONTESTANTS[name].title}: left out, run `pip install {' '.join(missing)}` to have it", file=sys.stderr)
    return not missing


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Time one compiled MLP training step against other libraries.")
    parser.add_argument("--rounds", type=int, default=20, help="at least 2 (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=sorted(CONTESTANTS), metavar="NAME", help="%(choices)s")
    parser.add_argument("--sizes", nargs="+", choices=[size.name for size in SIZES], metavar="SIZE", help="%(choices)s")
    parser.add_argument("--threads", type=int, default=available_cores(), help="of each process (default: all cores)")
    parser.add_argument("--out", type=Path, help="where to write; a run with --only or --sizes else writes nothing")
    options = parser.parse_args(arguments)
    if options.rounds < 2:
        parser.error(f"--rounds: expected at least 2, got {options.rounds}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the comparison that the command line asks for, print it, and write it."""
    options = parse(arguments)
    # Libraries read these when they load, so they are set before any worker starts.
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(options.threads)))
    wanted = CONTESTANTS if options.only is None else {BY_HAND, BASELINE, *options.only}
    names = [name for name in CONTESTANTS if name in wanted and can_run(name)]
    results: dict[str, Any] = {
        "machine": describe(sorted({package for name in names for package in CONTESTANTS[name].packages})),
        "threads": options.threads,
        "rounds": options.rounds,
        "titles": {name: CONTESTANTS[name].title for name in names},
        "sizes": [],
    }
    for size in [size for size in SIZES if options.sizes is None or size.name in options.sizes]:
        found = summarize(measure(size, names, options.rounds))
        results["sizes"].append({"name": size.name, "batch": size.batch, "contestants": found})
        print(sections.steps_row(results["sizes"][-1]), flush=True)
    print("\n" + sections.steps_section(results))
    if options.out is not None or (options.only is None and options.sizes is None):
        report.write(options.out or report.RESULTS, "steps", results)


if __name__ == "__main__":
    main()
