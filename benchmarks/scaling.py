"""Draws how the time of a compiled step and of compiling grow: against width, depth, batch, and number of operations.

An MLP's training step (`problem.py`) by gradkit's jit, by JAX's, and its products of matrices alone; each point is the
least of several repetitions in a process of its own. Compile time is that of a chain of operations which none of the
passes can shorten, trace and all, with nothing found on disk, and must grow linearly to 10,000 operations.

Run ``python benchmarks/scaling.py``; it writes `results/scaling.json` and the picture `docs/images/scaling.png`, for
which it needs matplotlib. ``--help`` lists the options.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import report
from compiled import CONTESTANTS
from machine import REPOSITORY, available_cores, describe
from problem import Size, make_problem
from workers import Worker, in_rounds

PICTURE = REPOSITORY / "docs" / "images" / "scaling.png"
STEPPING = "gradkit-jit", "jax-jit", "products"
COMPILING = "gradkit", "jax"
BASE_WIDTH, BASE_DEPTH, BASE_BATCH = 64, 3, 64
SWEEPS = {
    "width": [4, 8, 16, 32, 64, 128, 256, 512, 1024],
    "depth": [1, 2, 4, 8, 16, 32, 64],
    "batch": [1, 4, 16, 64, 256, 1024, 4096],
}
OPERATIONS = [30, 100, 300, 1000, 3000, 10000]


def size_of(sweep: str, value: int) -> Size:
    """Return the network of one point."""
    width = value if sweep == "width" else BASE_WIDTH
    depth = value if sweep == "depth" else BASE_DEPTH
    batch = value if sweep == "batch" else BASE_BATCH
    return Size((width,) * (depth + 1), batch, goal=1.0)


def serve(connection: Connection, name: str, size: Size) -> None:
    """Be the process of one point."""
    from workers import answer

    run = CONTESTANTS[name].prepare(make_problem(size))

    def steps(number: int) -> None:
        for _ in range(number):
            run.call()
        run.wait()

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
        print(f"{sweep} {value}: " + ", ".join(f"{name} {found[name][-1] * 1e6:.1f} us" for name in STEPPING))
    return found


def serve_compile(connection: Connection, library: str, operations: int) -> None:
    """Be a process that compiles once, and sends the processor's seconds of it."""
    from workers import answer

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
    answer(connection, time.sleep)


def measure_compile(values: Sequence[int], rounds: int) -> dict[str, list[float]]:
    """Return the least processor's seconds that tracing and compiling take."""
    found: dict[str, list[float]] = {library: [] for library in COMPILING}
    for value in values:
        for library in COMPILING:
            times = []
            for _ in range(rounds):
                worker = Worker(
                    f"{library}, {value} operations", serve_compile, (library, value), {"GRADKIT_CACHE": "0"}
                )
                times.append(worker.facts)
                worker.close()
            found[library].append(min(times))
        print(f"{value} operations: " + ", ".join(f"{library} {found[library][-1]:.2f} s" for library in COMPILING))
    return found


def growth(values: Sequence[int], seconds: Sequence[float]) -> float:
    """Return the power of its last decade: 1 where time grows linearly."""
    first = next(i for i, value in enumerate(values) if value * 10 >= values[-1])
    return math.log(seconds[-1] / seconds[first]) / math.log(values[-1] / values[first])


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw the four curves."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    titles = {name: CONTESTANTS[name].title for name in STEPPING} | {"gradkit": "gradkit", "jax": "JAX"}
    colours = {"gradkit-jit": "C0", "gradkit": "C0", "jax-jit": "C1", "jax": "C1", "products": "0.6"}
    figure, axes = plt.subplots(1, 4, figsize=(15, 3.6), layout="constrained")
    for axis, (sweep, found) in zip(axes, results["sweeps"].items(), strict=False):
        for name, seconds in found["seconds"].items():
            axis.loglog(
                found["values"], [x * 1e6 for x in seconds], "o-", ms=3, color=colours[name], label=titles[name]
            )
        axis.set(xlabel=sweep, ylabel="µs a step" if axis is axes[0] else None)
    compiling = results["compile"]
    for library, seconds in compiling["seconds"].items():
        axes[-1].loglog(compiling["values"], seconds, "o-", ms=3, color=colours[library], label=titles[library])
    axes[-1].set(xlabel="operations", ylabel="s to trace and compile")
    axes[0].legend(frameon=False)
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Draw how the times of a step and of compiling grow.")
    parser.add_argument("--rounds", type=int, default=5, help="at least 1 (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="every other point, and write nothing")
    parser.add_argument("--redraw", action="store_true", help="measure nothing, draw what was measured last")
    parser.add_argument("--picture", type=Path, help="where the picture goes (default: docs/images/scaling.png)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write and draw."""
    options = parse(arguments)
    kept = report.RESULTS / "scaling.json"
    if options.redraw:
        draw(json.loads(kept.read_text()), options.picture or PICTURE)
        return
    missing = [package for package in ("jax", "llvmlite") if importlib.util.find_spec(package) is None]
    if missing:
        sys.exit(f"expected {' and '.join(missing)} to be there: run `pip install {' '.join(missing)}`")
    os.environ.setdefault("GRADKIT_COMPILER", "native")
    every = 2 if options.quick else 1
    sweeps = {
        sweep: {"values": values[::every], "seconds": measure_sweep(sweep, values[::every], options.rounds)}
        for sweep, values in SWEEPS.items()
    }
    operations = OPERATIONS[every - 1 :: every]
    compiling = measure_compile(operations, min(options.rounds, 3))
    results: dict[str, Any] = {
        "machine": describe(["gradkit", "jax", "jaxlib", "llvmlite", "numpy", "scipy"]),
        "threads": available_cores(),
        "rounds": options.rounds,
        "base": {"width": BASE_WIDTH, "depth": BASE_DEPTH, "batch": BASE_BATCH},
        "sweeps": sweeps,
        "compile": {
            "values": operations,
            "seconds": compiling,
            "growth": {library: growth(operations, seconds) for library, seconds in compiling.items()},
        },
    }
    print("\n" + report.scaling_section(results))
    if options.picture or not options.quick:
        draw(results, options.picture or PICTURE)
    if not options.quick:
        report.write(report.RESULTS, "scaling", results)


if __name__ == "__main__":
    main()
