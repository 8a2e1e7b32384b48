"""A model of a training step on many processes: what it takes by the speed of a process and by its link.

A step takes what its products take, and a fixed overhead. A sum of gradients is two movements, in each of which a
process sends 1/n of the bytes to each of the others, one after another. All buckets but the last one may travel while
the gradient of the first layer is computed, where messages move by themselves; the last has nothing to hide behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

INPUTS, CLASSES = 784, 10
BUCKETS = 2
"""Of a network of 784-h-h-10 with a MB a bucket: the first layer's gradients are the second, all others the first."""


@dataclass(frozen=True)
class Link:
    """What a process's messages go through.

    Attributes
    ----------
    latency : float
        Seconds of a message besides its bytes.
    bandwidth : float
        Bytes that a process sends in a second.
    moves_alone : bool
        Whether messages move while their process computes, as by a network card; through shared memory it is the
        process itself that moves them.
    """

    latency: float
    bandwidth: float
    moves_alone: bool = True


@dataclass(frozen=True)
class Machine:
    """A process of a cluster.

    Attributes
    ----------
    speed : float
        Multiplications and additions in a second.
    overhead : float
        Seconds of a step besides.
    link : Link
    """

    speed: float
    overhead: float
    link: Link


CLUSTERS = {
    "CPUs: 16 cores a process, 100 Gb/s": Machine(8e11, 1e-3, Link(3e-6, 12.5e9)),
    "GPUs: one a process, 400 Gb/s": Machine(4e13, 3e-4, Link(6e-6, 50e9)),
}
"""Given, not measured: round numbers of today's machines, for products of matrices in float32."""


def shapes(hidden: int) -> list[tuple[int, ...]]:
    """Return the shapes of the network's parameters."""
    sizes = (INPUTS, hidden, hidden, CLASSES)
    return [shape for n, m in zip(sizes[:-1], sizes[1:], strict=True) for shape in ((n, m), (m,))]  # noqa: RUF007


def gradient_bytes(hidden: int) -> int:
    """Return the bytes of the gradients, in float32."""
    return 4 * sum(int(np.prod(shape)) for shape in shapes(hidden))


def least_bytes(count: int, hidden: int) -> float:
    """Return the least that each of `count` processes has to send for the sum of the gradients."""
    return 2 * (count - 1) / count * gradient_bytes(hidden)


def operations(hidden: int, rows: float) -> float:
    """Return the multiplications and additions of a step: three products a layer, for the first one two."""
    weights = [int(np.prod(shape)) for shape in shapes(hidden) if len(shape) == 2]
    return 2.0 * rows * (3 * sum(weights) - weights[0])


def computing(machine: Machine, hidden: int, rows: float, share: float = 1.0) -> float:
    """Return the seconds that a step computes; `share` is the part of a core that the process has."""
    return (machine.overhead + operations(hidden, rows) / machine.speed) / share


def sum_seconds(count: int, size: float, link: Link) -> float:
    """Return what a sum of so many bytes takes."""
    return 2 * (count - 1) * (link.latency + size / count / link.bandwidth)


def predicted(count: int, compute: float, hidden: int, link: Link) -> float:
    """Return the seconds of a step on so many processes, each of which computes for so long."""
    if count == 1:
        return compute
    last = 4 * (INPUTS * hidden + hidden)
    early = sum_seconds(count, gradient_bytes(hidden) - last, link)
    early += (BUCKETS - 2) * sum_seconds(count, 0, link)
    window = compute * 2 * INPUTS * hidden / operations(hidden, 1) if link.moves_alone else 0.0
    loss = (count - 1) * link.latency
    return compute + max(0.0, early - window) + sum_seconds(count, last, link) + loss


def step_of(machine: Machine, count: int, hidden: int, rows: float) -> float:
    """Return the seconds of a step on so many processes of a cluster, each of which has so many examples."""
    return predicted(count, computing(machine, hidden, rows), hidden, machine.link)


def fitted_link(sums: Mapping[int, float], count: int, moves_alone: bool) -> Link:
    """Return the link that explains best, in relative terms, what sums of so many bytes take."""
    sizes, seconds = np.asarray(list(sums), float), np.asarray(list(sums.values()))
    design = np.stack([np.full_like(sizes, 2.0 * (count - 1)), 2.0 * (count - 1) / count * sizes], axis=1)
    latency, per_byte = _least_squares(design, seconds)
    return Link(latency, 1 / per_byte, moves_alone)


def fitted_machine(steps: Mapping[int, float], hidden: int, link: Link) -> Machine:
    """Return the machine that explains best, in relative terms, what a step takes in one process by its examples."""
    work, seconds = np.asarray([operations(hidden, rows) for rows in steps]), np.asarray(list(steps.values()))
    overhead, per_operation = _least_squares(np.stack([np.ones_like(work), work], axis=1), seconds)
    return Machine(1 / per_operation, overhead, link)


def _least_squares(design: np.ndarray, seconds: np.ndarray) -> tuple[float, float]:
    """Solve for a constant and a slope, neither of them negative, by relative errors."""
    rows, ones = design / seconds[:, None], np.ones_like(seconds)
    constant, slope = np.linalg.lstsq(rows, ones, rcond=None)[0]
    if constant < 0:
        constant, slope = 0.0, np.linalg.lstsq(rows[:, 1:], ones, rcond=None)[0][0]
    return float(constant), max(float(slope), 1e-18)


def best_count(machine: Machine, hidden: int, batch: int, counts: Sequence[int]) -> int:
    """Return the number of processes on which a step of a shared minibatch is fastest."""
    return min(counts, key=lambda count: step_of(machine, count, hidden, batch / count))


def worth(machine: Machine, count: int, hidden: int, rows: int) -> float:
    """Return how many processes without communication would do the same work, each with so many examples a step."""
    return count * step_of(machine, 1, hidden, rows) / step_of(machine, count, hidden, rows)
