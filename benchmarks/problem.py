"""The problem that every contestant solves: one training step of a small or large MLP on fixed random data.

float32, tanh between the layers, a linear output, mean squared error, plain SGD. Each contestant gets the same
weights and the same batch, so their losses must agree, and `eager.py` checks that before it times anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEARNING_RATE = 0.01

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Size:
    """The shape of an MLP and of its batch.

    Attributes
    ----------
    widths : tuple of int
        Input first.
    batch : int
        Rows in a batch.
    goal : float
        The most times hand-written NumPy that gradkit's step may take, on a CPU.
    """

    widths: tuple[int, ...]
    batch: int
    goal: float

    @property
    def name(self) -> str:
        """The widths with dashes between them, as ``--sizes`` takes them."""
        return "-".join(map(str, self.widths))


SIZES = (
    Size((3, 4, 4, 1), 4, goal=2.5),
    Size((2, 16, 16, 1), 100, goal=2.0),
    Size((64, 64, 10), 32, goal=2.0),
    Size((784, 128, 10), 128, goal=1.25),
    Size((784, 512, 512, 10), 128, goal=1.1),
    Size((784, 1024, 1024, 10), 128, goal=1.1),
)


@dataclass(frozen=True)
class Problem:
    """Start weights and one batch.

    Attributes
    ----------
    size : Size
        The shape of the network.
    layers : list of (weight, bias)
        float32, of shapes (n_in, n_out) and (n_out,).
    x, y : arrays
        float32, of shapes (batch, n_in of the first layer) and (batch, n_out of the last).
    """

    size: Size
    layers: list[tuple[Floats, Floats]]
    x: Floats
    y: Floats


def make_problem(size: Size, seed: int = 0) -> Problem:
    """Draw weights (LeCun's normal, so that no tanh saturates), inputs and targets (standard normal)."""
    draw = np.random.default_rng(seed).standard_normal
    layers = [
        (
            draw((n_in, n_out), dtype=np.float32) / np.float32(n_in**0.5),
            draw(n_out, dtype=np.float32) * np.float32(0.1),
        )
        for n_in, n_out in zip(size.widths, size.widths[1:], strict=False)
    ]
    return Problem(
        size,
        layers,
        draw((size.batch, size.widths[0]), dtype=np.float32),
        draw((size.batch, size.widths[-1]), dtype=np.float32),
    )
