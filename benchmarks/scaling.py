"""Measures how the time of a compiled step and of compiling grow: with width, depth, batch, and number of operations.

An MLP's training step (`problem.py`) by gradkit's jit, by JAX's, and its products of matrices alone; each point is the
least of several rounds, every contestant in a process of its own. Compile time is the processor's, of a chain of
operations that none of the passes can shorten, trace and all, with nothing found on disk. It must grow linearly to
10,000 operations; JAX, which takes a processor 17 seconds for 3,000, is measured to there.

Run ``python benchmarks/scaling.py`` (about five minutes); it writes `results/scaling.json`, the tables, and the picture
`docs/images/scaling.png`. ``--help`` lists the options.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import math
import os
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import report
import sections
from compiled_contestants import CONTESTANTS
from machine import available_cores, describe
from problem import Size, make_problem
from workers import SLOT_SECONDS, Worker, answer, in_rounds

STEPPING = "gradkit-jit", "jax-jit", "products"
COMPILING = {"gradkit": 10000, "jax": 3000}
"""By library: the most operations that it compiles."""
BASE_WIDTH, BASE_DEPTH, BASE_BATCH = 64, 3, 64
SWEEPS = {
    "width": [4, 8, 16, 32, 64, 128, 256, 512, 1024],
    "depth": [1, 2, 4, 8, 16, 32, 64],
    "batch": [1, 4, 16, 64, 256, 1024, 4096],
}
OPERATIONS = [30, 100, 300, 1000, 3000, 10000]
LONG = 1000
"""Operations from which on a chain is compiled once, not in rounds."""


def size_of(sweep: str, value: int) -> Size:
    """Return the network of one point."""
    width = value if sweep == "width" else BASE_WIDTH
    depth = value if sweep == "depth" else BASE_DEPTH
    batch = value if sweep == "batch" else BASE_BATCH
    return Size((width,) * (depth + 1), batch, goal=1.0)


def serve(connection: Connection, name: str, size: Size) -> None:
    """Be the process of one point."""
    run = CONTESTANTS[name].prepare(make_problem(size))

    def steps(number: int) -> None:
        for _ in range(number):
            run.call()
        run.wait()

    steps(3)  # the first compiles: it would count as a step, and a slot have one
    connection.send(None)
    answer(connection, steps)


def measure_sweep(sweep: str, values: Sequence[int], rounds: int) -> dict[str, list[float]]:
    """Return the least seconds a step of each contestant at each point."""
    found: dict[str, list[float]] = {name: [] for name in STEPPING}
    for value in values:
        size = size_of(sweep, value)
        workers = [Worker(f"{name}, {sweep} {value}", serve, (name, size)) for name in STEPPING]
        try:
            for name, times in zip(STEPPING, in_rounds(workers, rounds), strict=True):
                found[name].append(min(times))
        finally:
            for worker in workers:
                worker.close()
        times = ", ".join(f"{name} {found[name][-1] * 1e6:.1f} us" for name in STEPPING)
        print(f"{sweep} {value}: {times}", flush=True)
    return found


def serve_compile(connection: Connection, library: str, operations: int) -> None:
    """Be a process that compiles once, and sends the processor's seconds of it."""
    jax, jnp = importlib.import_module(library), importlib.import_module(f"{library}.numpy")

    def chain(x: Any) -> Any:
        total = x
        for i in range(operations // 5):
            x = jnp.tanh(x) * total + (1.0 + i)
            total = jnp.roll(total, 1) if i % 10 == 9 else total * x
        return total

    x = jnp.linspace(0.0, 1.0, 16)
    jax.block_until_ready(jax.jit(lambda x: x + 1)(x))  # what is imported at the first call
    begin = time.process_time()
    jax.block_until_ready(jax.jit(chain)(x))
    connection.send(time.process_time() - begin)
    answer(connection, lambda _: time.sleep(SLOT_SECONDS))


def measure_compile(operations: Sequence[int], rounds: int) -> dict[str, dict[str, Any]]:
    """Return by library how many operations, and the least processor's seconds that tracing and compiling them take."""
    found: dict[str, dict[str, Any]] = {}
    for library, most in COMPILING.items():
        values = [value for value in operations if value <= most]
        seconds = []
        for value in values:
            times = []
            for _ in range(1 if value >= LONG else rounds):
                title = f"{library}, {value} operations"
                worker = Worker(title, serve_compile, (library, value), {"GRADKIT_CACHE": "off"})
                times.append(worker.facts)
                worker.close()
            seconds.append(min(times))
            print(f"{title}: {seconds[-1]:.2f} s", flush=True)
        found[library] = {"values": values, "seconds": seconds, "growth": growth(values, seconds)}
    return found


def growth(values: Sequence[int], seconds: Sequence[float]) -> float:
    """Return the power of its last decade: 1 where time grows linearly."""
    last = len(values) - 1
    first = next((i for i in range(last) if values[i] * 10 >= values[-1]), last - 1)
    return math.log(seconds[-1] / seconds[first]) / math.log(values[-1] / values[first])


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measure how the times of a step and of compiling grow.")
    parser.add_argument("--rounds", type=int, default=5, help="at least 1 (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="every third point, and without --out write nothing")
    parser.add_argument("--out", type=Path, help="where to write (default: benchmarks/results)")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds: expected at least 1, got {options.rounds}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    options = parse(arguments)
    missing = [package for package in ("jax", "llvmlite") if importlib.util.find_spec(package) is None]
    if missing:
        sys.exit(f"expected {' and '.join(missing)} to be there: run `pip install {' '.join(missing)}`")
    os.environ.setdefault("GRADKIT_COMPILER", "native")
    every = slice(None, None, 3 if options.quick else 1)
    results: dict[str, Any] = {
        "machine": describe(["gradkit", "jax", "jaxlib", "llvmlite", "numpy", "scipy"]),
        "threads": available_cores(),
        "rounds": options.rounds,
        "titles": {name: CONTESTANTS[name].title for name in STEPPING},
        "base": {"width": BASE_WIDTH, "depth": BASE_DEPTH, "batch": BASE_BATCH},
        "sweeps": {
            sweep: {"values": values[every], "seconds": measure_sweep(sweep, values[every], options.rounds)}
            for sweep, values in SWEEPS.items()
        },
        "compile": measure_compile(OPERATIONS[every], min(options.rounds, 3)),
    }
    print("\n" + sections.scaling_section(results))
    if options.out is not None or not options.quick:
        report.write(options.out or report.RESULTS, "scaling", results)


if __name__ == "__main__":
    main()
