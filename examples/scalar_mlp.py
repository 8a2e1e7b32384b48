"""A network of 41 numbers: the lecture's MLP of single values, trained on its four samples.

Each weight, each product and each sum is a `Value`; the loop is the one on the blackboard. Run ``python
examples/scalar_mlp.py``; it draws the loss.
"""

from __future__ import annotations

import picturing
from lecture import xs, ys
from matplotlib.figure import Figure

import gradkit


def main() -> None:
    """Train, print the predictions, and draw the loss."""
    options = picturing.parsed(picturing.parser(__doc__, epochs=100, of="steps, each on all four samples"))
    n = gradkit.scalar.MLP(3, [4, 4, 1])
    print(f"{n}: {len(n.parameters())} parameters")

    losses = []
    for k in range(options.epochs):
        # forward pass
        ypred = [n(x) for x in xs]
        loss = sum((yi - predi) ** 2 for yi, predi in zip(ys, ypred, strict=True))

        # backward pass
        for p in n.parameters():
            p.grad = 0.0
        loss.backward()

        # update
        for p in n.parameters():
            p.data += -0.05 * p.grad

        losses.append(loss.data)
        if k % 10 == 0 or k == options.epochs - 1:
            print(f"step {k:3d}  loss {loss.data:.4f}  predictions {[round(pred.data, 3) for pred in ypred]}")

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.semilogy(losses, color="black")
    axes.set(
        xlabel="step", ylabel="loss (sum of squared errors)", title="the lecture's MLP 3-4-4-1 of Values, rate 0.05"
    )
    axes.grid(visible=True, alpha=0.3)
    picture = options.out / "scalar_mlp.png"
    figure.savefig(picture, dpi=150)
    print(f"the loss is in {picture}")


if __name__ == "__main__":
    main()
