"""Times micrograd's demo, and the lecture's loop, on micrograd and on gradkit's Value.

The demo is that of micrograd's demo.ipynb: a network of 2-16-16-1 neurons with ReLU, 100 samples of two moons, a hinge
loss, and 100 steps at the rate 1.0 - 0.9 k / 100. It runs with micrograd's own network on micrograd's Value, with the
same network on gradkit's Value (one import is another), and with `gradkit.scalar.MLP`.

Each contestant has a process of its own. In each round every contestant takes the next few steps of its training, in an
order that changes from round to round; its ratio is taken to micrograd's time in the same round, and the table has the
medians. "micrograd, again" is micrograd in a second process: how far it is from 1 is how far to trust a difference. All
contestants have to find the same losses.

Run ``python benchmarks/scalar.py``; it needs micrograd and scikit-learn. ``--help`` lists the options.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import random
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import report
import sections
from machine import describe

SEED = 1337
LOSS_TOLERANCE = 1e-6
BASELINE = "micrograd"
TITLES = {
    BASELINE: "micrograd",
    "value": "its network on gradkit's Value",
    "scalar": "gradkit.scalar.MLP",
    "again": "micrograd, again",
}


@dataclass(frozen=True)
class Problem:
    """One training.

    Attributes
    ----------
    name : str
        What the table calls it.
    sizes : tuple of int
        The neurons of each layer, the inputs first.
    steps : int
        How many there are.
    """

    name: str
    sizes: tuple[int, ...]
    steps: int


MOONS = Problem("moons, 2-16-16-1, 100 samples", (2, 16, 16, 1), 100)
LECTURE = Problem("the lecture's loop, 3-4-4-1, 4 samples", (3, 4, 4, 1), 2000)
PROBLEMS = {"moons": MOONS, "lecture": LECTURE}


def moons() -> tuple[Any, Any]:
    """Return the demo's samples, as NumPy has them."""
    import numpy as np
    from sklearn.datasets import make_moons

    np.random.seed(SEED)  # noqa: NPY002 - the demo's
    x, y = make_moons(n_samples=100, noise=0.1)
    return x, y * 2 - 1


# One contestant, in its process


def prepared(name: str, problem: Problem) -> tuple[type, Any]:
    """Return the Value and the network of a contestant, with the same weights for all."""
    random.seed(SEED)
    nn = importlib.import_module("micrograd.nn")
    if name == "value":
        nn.Value = importlib.import_module("gradkit").Value
    model = nn.MLP(problem.sizes[0], list(problem.sizes[1:]))
    if name != "scalar":
        return nn.Value, model
    import gradkit

    ours = gradkit.scalar.MLP(problem.sizes[0], list(problem.sizes[1:]), "relu", "identity")
    for p, q in zip(ours.parameters(), model.parameters(), strict=True):
        p.data = q.data
    return gradkit.Value, ours


def moons_step(value: type, model: Any, data: tuple[Any, Any]) -> Callable[[int], float]:
    """Return the demo's step, as its notebook has it."""
    X, y = data

    def step(k: int) -> float:
        inputs = [list(map(value, xrow)) for xrow in X]
        scores = list(map(model, inputs))
        losses = [(1 + -yi * scorei).relu() for yi, scorei in zip(y, scores, strict=True)]
        data_loss = sum(losses) * (1.0 / len(losses))
        alpha = 1e-4
        reg_loss = alpha * sum(p * p for p in model.parameters())
        total_loss = data_loss + reg_loss

        model.zero_grad()
        total_loss.backward()

        learning_rate = 1.0 - 0.9 * k / 100
        for p in model.parameters():
            p.data -= learning_rate * p.grad
        return float(total_loss.data)

    return step


def accuracy(model: Any, X: Any, y: Any) -> float:
    """Return the share of samples on the right side."""
    right = [(yi > 0) == (model(list(xrow)).data > 0) for xrow, yi in zip(X.tolist(), y, strict=True)]
    return sum(right) / len(right)


def lecture_step(value: type, model: Any, data: Any) -> Callable[[int], float]:
    """Return a step of the lecture's loop."""
    xs = [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]
    ys = [1.0, -1.0, -1.0, 1.0]

    def step(k: int) -> float:
        ypred = [model(x) for x in xs]
        loss = sum((yi - predi) ** 2 for yi, predi in zip(ys, ypred, strict=True))
        for p in model.parameters():
            p.grad = 0.0
        loss.backward()
        for p in model.parameters():
            p.data += -0.001 * p.grad
        return float(loss.data)

    return step


STEPS = {"moons": moons_step, "lecture": lecture_step}
state: dict[str, Any] = {}


def begin(name: str, problem: str, data: Any) -> None:
    """Set a contestant's process up."""
    state["step"] = STEPS[problem](*prepared(name, PROBLEMS[problem]), data)
    state["taken"] = 0


def run(steps: int) -> tuple[float, float]:
    """Take the next steps; return the seconds that they took, and the last loss."""
    step, taken = state["step"], state["taken"]
    start = time.perf_counter()
    for k in range(taken, taken + steps):
        loss = step(k)
    elapsed = time.perf_counter() - start
    state["taken"] += steps
    return elapsed, loss


# All of them


def measure(problem: str, rounds: int) -> dict[str, list[float]]:
    """Return each contestant's seconds per step in each round."""
    context = multiprocessing.get_context("spawn")
    data = moons() if problem == "moons" else None
    workers = {name: ProcessPoolExecutor(1, context, begin, (name, problem, data)) for name in TITLES}
    steps = PROBLEMS[problem].steps // rounds
    times: dict[str, list[float]] = {name: [] for name in TITLES}
    try:
        for number in range(rounds):
            losses = {}
            for name in random.Random(number).sample(list(workers), len(workers)):
                elapsed, losses[name] = workers[name].submit(run, steps).result()
                times[name].append(elapsed / steps)
            check(losses)
    finally:
        for worker in workers.values():
            worker.shutdown()
    return times


def check(losses: dict[str, float]) -> None:
    """Stop where a contestant has another loss than micrograd."""
    for name, loss in losses.items():
        if abs(loss - losses[BASELINE]) > LOSS_TOLERANCE * abs(losses[BASELINE]):
            raise SystemExit(f"{name} computes something else: its loss is {loss}, micrograd's {losses[BASELINE]}")


def summarize(times: dict[str, list[float]]) -> dict[str, dict[str, object]]:
    """Return medians and quartiles of the times, and of the ratios to micrograd's in the same round."""
    summary: dict[str, dict[str, object]] = {}
    for name, seconds in times.items():
        ratios = [ours / base for ours, base in zip(seconds, times[BASELINE], strict=True)]
        lower, middle, upper = statistics.quantiles(ratios, n=4, method="inclusive")
        summary[name] = {
            "milliseconds": statistics.median(seconds) * 1e3,
            "ratio": middle,
            "ratio_quartiles": [lower, upper],
            "seconds": seconds,
        }
    return summary


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the comparison, print it, and write it."""
    parser = argparse.ArgumentParser(description="Time micrograd's demo on micrograd and on gradkit's Value.")
    parser.add_argument("--rounds", type=int, default=10, help="2 to 100 (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=report.RESULTS, help="where to write (default: %(default)s)")
    options = parser.parse_args(arguments)
    if not 2 <= options.rounds <= 100:
        parser.error(f"--rounds: expected 2 to 100, got {options.rounds}")
    results = {
        "machine": describe(["gradkit", "micrograd"]),
        "rounds": options.rounds,
        "titles": TITLES,
        "problems": [
            {"name": PROBLEMS[name].name, "goal": 1.0, "contestants": summarize(measure(name, options.rounds))}
            for name in PROBLEMS
        ],
    }
    print(sections.scalar_section(results))
    report.write(options.out, "scalar", results)


if __name__ == "__main__":
    main()
