"""The training loop of a first lecture on backpropagation, as it is written on the blackboard.

Four samples of three numbers, a network of 3-4-4-1 neurons with tanh at every layer, the sum of squared errors, and the
update ``p.data += -0.05 * p.grad``. Run ``python examples/lecture.py``.
"""

from __future__ import annotations

import argparse
import os
import sys

import gradkit
from gradkit.errors import BackendNotInstalledError, BackendUnusableError

xs = [
    [2.0, 3.0, -1.0],
    [3.0, -1.0, 0.5],
    [0.5, 1.0, 1.0],
    [1.0, 1.0, -1.0],
]
ys = [1.0, -1.0, -1.0, 1.0]  # desired targets


def main() -> int:
    """Train until the loss is below 0.01, and print it on the way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    backend = os.environ.get("GRADKIT_BACKEND") or "auto"
    parser.add_argument("--backend", default=backend, help="numpy, cupy, strict or auto (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=1000, help="at most so many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the initial weights (default: %(default)s)")
    options = parser.parse_args()
    try:
        gradkit.set_backend(options.backend)
    except (ValueError, BackendNotInstalledError, BackendUnusableError) as error:
        parser.error(f"argument --backend: {error}")
    try:
        gradkit.random.seed(options.seed)
    except OverflowError as error:
        parser.error(f"argument --seed: {error}")

    n = gradkit.nn.MLP(
        3, [4, 4, 1], activation="tanh", final_activation="tanh", initializer="lecture", bias_initializer="lecture"
    )
    print(n)

    # gradient descent
    for k in range(options.steps):
        # forward pass
        ypred = [n(x) for x in xs]
        loss = sum((yi - predi) ** 2 for yi, predi in zip(ys, ypred, strict=True))

        # backward pass
        for p in n.parameters():
            p.grad = 0.0  # need to reset since otherwise backward accumulates => huge step size
        loss.backward()

        # update
        for p in n.parameters():
            p.data += -0.05 * p.grad  # step size 0.05

        if k % 20 == 0 or loss < 0.01:
            print(f"step {k:3d}  loss {loss.item():.4f}  predictions {[round(pred.item(), 3) for pred in ypred]}")
        if loss < 0.01:
            return 0
    print(f"the loss is not below 0.01 after {options.steps} steps", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
