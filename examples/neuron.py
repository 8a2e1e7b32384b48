"""A single neuron, tanh(x1 w1 + x2 w2 + b), with the lecture's numbers: forward, then backward.

Run ``python examples/neuron.py``; it draws every value with its gradient.
"""

from __future__ import annotations

import picturing

from gradkit import Value, viz


def main() -> None:
    """Compute the neuron's output and the gradients, and draw."""
    options = picturing.parsed(picturing.parser(__doc__))

    # inputs, weights and bias
    x1 = Value(2.0, label="x1")
    x2 = Value(0.0, label="x2")
    w1 = Value(-3.0, label="w1")
    w2 = Value(1.0, label="w2")
    b = Value(6.8813735870195432, label="b")

    # forward pass
    x1w1 = x1 * w1
    x1w1.label = "x1*w1"
    x2w2 = x2 * w2
    x2w2.label = "x2*w2"
    x1w1x2w2 = x1w1 + x2w2
    x1w1x2w2.label = "x1*w1 + x2*w2"
    n = x1w1x2w2 + b
    n.label = "n"
    o = n.tanh()
    o.label = "o"

    # backward pass
    o.backward()

    print(f"o = {o.data:.4f}")
    for value in (x1, w1, x2, w2, b):
        print(f"do/d{value.label} = {value.grad:.4f}")

    picture = options.out / "neuron.svg"
    viz.draw(o, title="o = tanh(x1 w1 + x2 w2 + b)").save(picture)
    print(f"the graph is in {picture}")


if __name__ == "__main__":
    main()
