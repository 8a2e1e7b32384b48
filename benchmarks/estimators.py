"""Times a fit of scikit-learn's MLPClassifier and of gradkit's, the same training by both.

One hidden layer of 100 neurons (ReLU), stochastic gradient descent with Nesterov's momentum, batches of 200: on
scikit-learn's digits, and on MNIST where the folder of its files is given. Both are given the same options and the same
`random_state`, which is the round's number, so their losses have to be the same; and their accuracies on the test part
are compared.

Each contestant has a process of its own, with the same number of threads. In each round every contestant fits once, in
an order that changes from round to round; its ratio is taken to scikit-learn's time in the same round, and the table
has the medians; and those of the processor's time, which other programs on the machine move less. "scikit-learn, again"
is scikit-learn in a second process: how far it is from 1 is how far to trust a difference. Where other programs run,
measure with ``--threads 1``: two threads that wait for each other take many times as long.

Run ``python benchmarks/estimators.py ../shared/data``; ``--help`` lists the options.
"""

from __future__ import annotations

import argparse
import importlib
import math
import multiprocessing
import os
import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import report
import sections
from eager import THREAD_VARIABLES
from machine import available_cores, describe
from workers import PAUSE_SECONDS

BASELINE = "scikit-learn"
TITLES = {BASELINE: "scikit-learn", "gradkit": "gradkit", "again": "scikit-learn, again"}
MODULES = {BASELINE: "sklearn.neural_network", "gradkit": "gradkit.sklearn", "again": "sklearn.neural_network"}
OPTIONS = {"hidden_layer_sizes": (100,), "learning_rate_init": 0.05, "momentum": 0.9, "tol": 0.0}
LOSS_TOLERANCE = {"float32": 1e-2, "float64": 1e-6}
"""How far apart, relative to each other, the last losses may be: rounding grows over the epochs."""
TEST_SHARE = 0.25


@dataclass(frozen=True)
class Problem:
    """One training.

    Attributes
    ----------
    data : str
        Of which data set.
    dtype : str
        Of the inputs, and so of the training.
    epochs : int
        How many epochs a fit has.
    goal : float
        Which share of scikit-learn's time gradkit's fit is to take at most.
    """

    data: str
    dtype: str
    epochs: int
    goal: float

    @property
    def name(self) -> str:
        """What the table calls it."""
        return f"{self.data}, {self.dtype}, {self.epochs} epochs"


PROBLEMS = [
    Problem(data, dtype, epochs, goal)
    for data, epochs, goal in (("digits", 200, 0.5), ("MNIST", 2, 1.0))
    for dtype in ("float32", "float64")
]


def load(problem: Problem, folder: Path | None) -> dict[str, Any]:
    """Return the two parts of a data set, the images from 0 to 1."""
    if problem.data == "digits":
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        x, y = load_digits(return_X_y=True)
        x, x_test, y, y_test = train_test_split(x / 16, y, test_size=TEST_SHARE, random_state=0, stratify=y)
    else:
        from gradkit.data import load_mnist

        (x, y), (x_test, y_test) = load_mnist(folder)
    images = {"x": np.asarray(x, problem.dtype), "x_test": np.asarray(x_test, problem.dtype)}
    return {**images, "y": np.asarray(y), "y_test": np.asarray(y_test)}


class Fit(NamedTuple):
    """What a fit took and gave: seconds, those of the processor, the last loss, the accuracy on the test part."""

    seconds: float
    cpu_seconds: float
    loss: float
    accuracy: float


# One contestant, in its process


def serve(connection: Connection, name: str, problem: Problem, data: Path) -> None:
    """Fit once for each number that comes; answer with what came of it."""
    warnings.simplefilter("ignore")  # that the training has not converged
    arrays = dict(np.load(data))
    estimator = importlib.import_module(MODULES[name]).MLPClassifier(**options_of(name, problem))
    while True:
        try:
            seed = connection.recv()
        except EOFError:
            return
        estimator.set_params(random_state=seed)
        start, cpu_start = time.perf_counter(), time.process_time()
        estimator.fit(arrays["x"], arrays["y"])
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        accuracy = estimator.score(arrays["x_test"], arrays["y_test"])
        connection.send(Fit(seconds, cpu_seconds, estimator.loss_, accuracy))


def options_of(name: str, problem: Problem) -> dict[str, Any]:
    """Return a contestant's options."""
    solver = {} if name == "gradkit" else {"solver": "sgd"}
    return {**OPTIONS, "max_iter": problem.epochs, "n_iter_no_change": math.inf, **solver}


# The comparison


def measure(problem: Problem, data: Path, rounds: int) -> dict[str, list[Fit]]:
    """Return each contestant's fits, one a round; the first round, to warm up, is left out."""
    context = multiprocessing.get_context("spawn")
    connections, processes = {}, []
    for name in TITLES:
        connections[name], theirs = context.Pipe()
        processes.append(context.Process(target=serve, args=(theirs, name, problem, data), daemon=True))
        processes[-1].start()
        theirs.close()
    fits: dict[str, list[Fit]] = {name: [] for name in TITLES}
    try:
        for number in range(rounds + 1):
            for name in random.Random(number).sample(list(TITLES), len(TITLES)):
                time.sleep(PAUSE_SECONDS)
                connections[name].send(number)
                fits[name].append(connections[name].recv())
            check(problem, {name: done[-1] for name, done in fits.items()})
    finally:
        for connection in connections.values():
            connection.close()
        for process in processes:
            process.join()
    return {name: done[1:] for name, done in fits.items()}


def check(problem: Problem, fits: dict[str, Fit]) -> None:
    """Stop where a contestant's loss is not scikit-learn's: it did another training."""
    expected = fits[BASELINE].loss
    for name, fit in fits.items():
        if not abs(fit.loss - expected) <= LOSS_TOLERANCE[problem.dtype] * expected:
            raise SystemExit(
                f"{problem.name}: {TITLES[name]} ends with a loss of {fit.loss}, scikit-learn with {expected}"
            )


def summarize(fits: dict[str, list[Fit]]) -> dict[str, dict[str, Any]]:
    """Return medians of times and ratios, and means of accuracies, by contestant."""
    summary: dict[str, dict[str, Any]] = {}
    for name, done in fits.items():
        together = list(zip(done, fits[BASELINE], strict=True))
        lower, middle, upper = statistics.quantiles(
            [ours.seconds / theirs.seconds for ours, theirs in together], n=4, method="inclusive"
        )
        summary[name] = {
            "seconds": statistics.median(fit.seconds for fit in done),
            "ratio": middle,
            "ratio_quartiles": [lower, upper],
            "cpu_ratio": statistics.median(ours.cpu_seconds / theirs.cpu_seconds for ours, theirs in together),
            "accuracy": statistics.mean(fit.accuracy for fit in done),
            "accuracy_deviation": statistics.stdev(fit.accuracy for fit in done),
            "fits": [fit._asdict() for fit in done],
        }
    return summary


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Time scikit-learn's MLPClassifier and gradkit's on the same training."
    )
    parser.add_argument("mnist", nargs="?", type=Path, help="the folder of MNIST's files; without it, digits alone")
    parser.add_argument("--rounds", type=int, default=12, help="at least 2 (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=["digits", "MNIST"], metavar="DATA", help="%(choices)s")
    parser.add_argument("--threads", type=int, default=available_cores(), help="of each process (default: all cores)")
    parser.add_argument(
        "--out", type=Path, help="where to write; a run without MNIST or with --only else writes nothing"
    )
    options = parser.parse_args(arguments)
    if options.rounds < 2:
        parser.error(f"--rounds: expected at least 2, got {options.rounds}")
    if options.threads < 1:
        parser.error(f"--threads: expected at least 1, got {options.threads}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the comparison that the command line asks for, print it, and write it."""
    options = parse(arguments)
    # Libraries read these when they load, so they are set before any process starts.
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(options.threads)))
    wanted = [
        problem
        for problem in PROBLEMS
        if (options.only is None or problem.data in options.only) and (problem.data == "digits" or options.mnist)
    ]
    measured: list[dict[str, Any]] = []
    results: dict[str, Any] = {
        "machine": describe(["gradkit", "numpy", "scikit-learn"]),
        "threads": options.threads,
        "rounds": options.rounds,
        "titles": TITLES,
        "options": {name: str(value) for name, value in OPTIONS.items()},
        "problems": measured,
    }
    with tempfile.TemporaryDirectory() as folder:
        for problem in wanted:
            data = Path(folder) / "data.npz"
            np.savez(data, **load(problem, options.mnist))
            contestants = summarize(measure(problem, data, options.rounds))
            measured.append({"name": problem.name, "goal": problem.goal, "contestants": contestants})
            print(sections.estimators_row(measured[-1]), flush=True)
    print("\n" + sections.estimators_section(results))
    if options.out is not None or len(wanted) == len(PROBLEMS):
        report.write(options.out or report.RESULTS, "estimators", results)


if __name__ == "__main__":
    main()
