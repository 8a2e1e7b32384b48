"""Times one MLP training step: gradkit's two faces and plain JAX code on it against NumPy by hand, and other libraries.

Each contestant has a process of its own, with the same number of threads, and all of them stay up while one size is
measured. In each round every contestant runs for about the same time, in an order that changes from round to round;
a contestant's ratio is taken to the hand-written step of the same round, and the table has the medians. So a
machine that slows down for a while slows all of a round, and no contestant alone. "by hand, again" is the
hand-written step in a second process: how far it is from 1 is how far to trust a difference. Where it is too far the
row is marked; where it is a small network's, nothing is written and the run ends with status 1.

Run ``python benchmarks/eager.py``; ``--help`` lists the options.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import report
import sections
from contestants import BASELINE, CONTESTANTS, TARGETS, Contestant
from machine import available_cores, describe
from problem import SIZES, Size, make_problem
from words import TRUSTED
from workers import Worker, WorkerError, answer, in_rounds

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
"""glibc's settings that keep the memory of large arrays that are freed. Else it hands it back and fetches it again page
by page, in some processes and not in others, which can double the time of a large network's step."""
SMALL = [size.name for size in SIZES[:3]]
"""The networks whose figures do not depend on page faults."""
CHECKED_STEPS = 5
LOSS_TOLERANCE = 1e-4


def serve(connection: Connection, name: str, target: str, size: Size) -> None:
    """Be the process of one contestant: send the losses of the first steps, then time steps until told to stop."""
    run = CONTESTANTS[name].prepare(make_problem(size), TARGETS[target])
    connection.send([in_float32(name, run.step()) for _ in range(CHECKED_STEPS + 1)])
    run.wait()

    def steps(number: int) -> None:
        for _ in range(number):
            run.step()
        run.wait()

    answer(connection, steps)


def in_float32(name: str, loss: Any) -> float:
    """Return a loss as a number; a contestant that left float32 on the way does not compete."""
    if not str(loss.dtype).endswith("float32"):
        raise TypeError(f"{name}: expected a loss of float32, got {loss.dtype}")
    number: float = loss.item()
    return number


def check_losses(workers: Sequence[Worker]) -> None:
    """Stop where a contestant's losses over the first steps are not the hand-written ones."""
    expected: list[float] = workers[0].facts
    if abs(expected[0] - expected[-1]) < 10 * LOSS_TOLERANCE * expected[0]:
        raise SystemExit(f"The losses {expected} hardly move, so they cannot show that the steps are the same")
    for worker in workers:
        if any(
            abs(ours - theirs) > LOSS_TOLERANCE * theirs for ours, theirs in zip(worker.facts, expected, strict=True)
        ):
            raise SystemExit(f"{worker.title} computes another step: its losses are {worker.facts}, by hand {expected}")


def measure(size: Size, names: Sequence[str], target: str, rounds: int) -> dict[str, list[float]]:
    """Return each contestant's seconds per step in each round."""
    workers: list[Worker] = []
    try:
        workers.extend(Worker(name, serve, (name, target, size)) for name in names)
        check_losses(workers)
        return dict(zip(names, in_rounds(workers, rounds), strict=True))
    except WorkerError as error:
        raise SystemExit(str(error)) from None
    finally:
        for worker in workers:
            worker.close()


def summarize(times: dict[str, list[float]]) -> dict[str, dict[str, object]]:
    """Return medians and quartiles of the times, and of the ratios to the hand-written step of the same round."""
    summary: dict[str, dict[str, object]] = {}
    for name, seconds in times.items():
        ratios = [ours / base for ours, base in zip(seconds, times[BASELINE], strict=True)]
        lower, middle, upper = statistics.quantiles(ratios, n=4, method="inclusive")
        summary[name] = {
            "microseconds": statistics.median(seconds) * 1e6,
            "ratio": middle,
            "ratio_quartiles": [lower, upper],
            "seconds": seconds,
        }
    return summary


def can_run(contestant: Contestant, target: str) -> bool:
    """Tell whether a contestant takes part, and say why where it does not."""
    if target not in contestant.targets:
        print(f"{contestant.title}: left out, it does not run on {target}", file=sys.stderr)
        return False
    missing = [package for package in contestant.packages if importlib.util.find_spec(package) is None]
    if missing:
        print(f"{contestant.title}: left out, run `pip install {' '.join(missing)}` to have it", file=sys.stderr)
    return not missing


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Time one MLP training step against other libraries.")
    parser.add_argument("--rounds", type=int, default=20, help="at least 2 (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=sorted(CONTESTANTS), metavar="NAME", help="%(choices)s")
    parser.add_argument("--sizes", nargs="+", choices=[size.name for size in SIZES], metavar="SIZE", help="%(choices)s")
    parser.add_argument("--backend", choices=sorted(TARGETS), default="numpy")
    parser.add_argument("--threads", type=int, default=available_cores(), help="of each process (default: all cores)")
    parser.add_argument(
        "--keep-memory", action="store_true", help="let glibc keep freed memory: no page faults in large networks"
    )
    parser.add_argument("--out", type=Path, help="where to write; a run with --only or --sizes else writes nothing")
    options = parser.parse_args(arguments)
    if options.rounds < 2:
        parser.error(f"--rounds: expected at least 2, got {options.rounds}")
    if options.threads < 1:
        parser.error(f"--threads: expected at least 1, got {options.threads}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the comparison that the command line asks for, print it, and write it."""
    options = parse(arguments)
    # Libraries read these when they load, so they are set before any worker starts.
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(options.threads)))
    if options.keep_memory:
        os.environ.update(KEEP_MEMORY)
    wanted = CONTESTANTS if options.only is None else {BASELINE, *options.only}
    names = [name for name, it in CONTESTANTS.items() if name in wanted and can_run(it, options.backend)]
    sizes = [size for size in SIZES if options.sizes is None or size.name in options.sizes]
    packages = sorted({package for name in names for package in CONTESTANTS[name].packages})
    measured: list[dict[str, Any]] = []
    results: dict[str, object] = {
        "machine": describe(packages),
        "backend": options.backend,
        "threads": options.threads,
        "keep_memory": options.keep_memory,
        "rounds": options.rounds,
        "titles": {name: CONTESTANTS[name].title for name in names},
        "sizes": measured,
    }
    for size in sizes:
        summary = summarize(measure(size, names, options.backend, options.rounds))
        measured.append({"name": size.name, "batch": size.batch, "goal": size.goal, "contestants": summary})
        print(sections.eager_row(measured[-1], names), flush=True)
    print("\n" + sections.eager_section(results))
    # The large networks' rows show how the system deals with memory: on most machines they are never quiet.
    unsteady = [size["name"] for size in measured if size["name"] in SMALL and not sections.is_trusted(size)]
    if unsteady:
        sys.exit(
            f"{', '.join(unsteady)}: {CONTESTANTS[sections.CONTROL].title!r} is outside {TRUSTED}, so the figures "
            f"cannot be trusted, and nothing is written. Run again on a quieter machine."
        )
    complete = options.only is None and options.sizes is None
    if options.out is not None or complete:
        report.write(options.out or report.RESULTS, f"eager-{options.backend}{'-keep' * options.keep_memory}", results)


if __name__ == "__main__":
    main()
