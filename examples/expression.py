"""The lecture's expression L = (a * b + c) * f, and how much each number in it changes L.

Every value is drawn with its gradient, the derivative of L with respect to it: the local derivatives on the way from L,
multiplied. Run ``python examples/expression.py``.
"""

from __future__ import annotations

import picturing

from gradkit import Value, viz


def main() -> None:
    """Compute the expression and its gradients, check one of them by a small step, and draw."""
    options = picturing.parsed(picturing.parser(__doc__))

    a = Value(2.0, label="a")
    b = Value(-3.0, label="b")
    c = Value(10.0, label="c")
    f = Value(-2.0, label="f")
    e = a * b
    e.label = "e"
    d = e + c
    d.label = "d"
    L = d * f
    L.label = "L"
    L.backward()

    print(f"L = {L.data}")
    for value in (a, b, c, f, e, d):
        print(f"dL/d{value.label} = {value.grad}")

    h = 0.001
    slope = (((a.data + h) * b.data + c.data) * f.data - L.data) / h
    print(f"a step of {h} in a changes L by {slope:.3f} times as much")

    picture = options.out / "expression.svg"
    viz.draw(L, title="L = (a * b + c) * f").save(picture)
    print(f"the graph is in {picture}")


if __name__ == "__main__":
    main()
