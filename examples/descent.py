"""Gradient descent, visually: the path of the parameters on a contour of the loss.

On the left a line is fitted to points: its two parameters are the plane, and the path goes downhill. On the right is
the lecture's network of 41 parameters: of all planes through them, the one in which its path is seen best.

Run ``python examples/descent.py``; with ``--animate`` it draws the path on the right step by step, as a GIF.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import picturing
from lecture import xs, ys
from matplotlib.figure import Figure

import gradkit
import gradkit.numpy as jnp
from gradkit import Array, nn, random, tree, viz


def descend(loss: Callable[[Any], Array], model: Any, rate: float, steps: int) -> list[Any]:
    """Return the model before the first step of gradient descent, and after each."""
    path = [model]
    for _ in range(steps):
        path.append(tree.map(lambda p, g: p - rate * g, path[-1], gradkit.grad(loss)(path[-1])))
    return path


def main() -> None:
    """Descend twice, and draw."""
    parser = picturing.parser(__doc__, epochs=60, of="steps, each on all the data")
    picturing.add_backend(parser)
    parser.add_argument("--animate", action="store_true", help="also write descent.gif, a frame for each third step")
    options = picturing.parsed(parser)
    data_key, model_key = random.split(random.key(options.seed))

    x = jnp.linspace(-1, 2, 20)
    y = 2 * x - 1 + 0.3 * random.normal(data_key, (20,))

    def mean_squared_error(line: dict[str, Array]) -> Array:
        return nn.mse(line["slope"] * x + line["intercept"], y)

    def sum_of_squares(n: nn.MLP) -> Array:
        return jnp.sum((n(jnp.asarray(xs))[:, 0] - jnp.asarray(ys)) ** 2)

    start = {"slope": jnp.asarray(-1.0), "intercept": jnp.asarray(2.0)}
    line = descend(mean_squared_error, start, 0.1, options.epochs)
    network = descend(
        sum_of_squares, nn.MLP(3, [4, 4, 1], final_activation="tanh", key=model_key), 0.05, options.epochs
    )

    figure = Figure(figsize=(10.4, 5.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    viz.descent(
        mean_squared_error,
        line,
        along=("slope", "intercept"),
        title="a line fitted to 20 points",
        ax=left,
    )
    contour = viz.landscape(sum_of_squares, network)
    title = "the lecture's network 3-4-4-1 on its 4 samples"
    picture = options.out / "descent.png"
    viz.descent(contour, network, title=title, ax=right, path=picture)
    for name, loss, path in (("line", mean_squared_error, line), ("network", sum_of_squares, network)):
        print(
            f"{name}: loss {loss(path[0]).item():.4f} before, {loss(path[-1]).item():.4f} after {options.epochs} steps"
        )
    print(f"the paths are in {picture}")
    if options.animate:
        film = options.out / "descent.gif"
        ends = range(0, options.epochs + 1, 3)
        viz.animate(
            partial(viz.descent, contour, title=title),
            [network[: k + 1] for k in ends],
            labels=[f"step {k}" for k in ends],
            path=film,
        )
        print(f"the path as it goes on is in {film}")


if __name__ == "__main__":
    main()
