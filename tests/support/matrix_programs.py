"""Programs that nobody chose: lists of steps, each of which takes values made before it, by whatever number it names.

Every value is a 3x3 matrix of float32, so any step takes any values; what a step does in between may have other shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import hypothesis.strategies as st
import numpy as np

import gradkit
import gradkit.numpy as jnp
from gradkit import lax

__all__ = ["ARGUMENTS", "EXACT", "STEPS", "SUMS", "program", "programs"]

Step = Callable[[Any, Any, float], Any]
Program = Sequence[tuple[str, int, int, float]]

NUMBERS = (1.0, -1.0, 0.0, -0.0, 2.0, 0.25, 3.0, -1.5, 1e-3)


def _scan(a: Any, b: Any, k: float) -> Any:
    def step(c: Any, e: Any) -> Any:
        same, moving, number, unread = c
        return (same, jnp.tanh(moving + e) * number - same, number, unread * e), (moving * k, same, e, jnp.cos(same))

    (same, last, number, _), (ys, rows, es, outside) = lax.scan(step, (a[0], b[1], k, a[2]), b)
    return jnp.stack([last - same, ys[0] + rows[1], es[2] * outside[0] - number])


def _while(a: Any, b: Any, k: float) -> Any:
    def going(s: Any) -> Any:
        return s[0] < s[2]

    return lax.while_loop(going, lambda s: (s[0] + 1, s[1] * k + jnp.sin(s[3]), s[2], s[3]), (0, a, 3, b))[1]


def _choice(a: Any, b: Any, k: float) -> Any:
    first, second, third = lax.cond(
        a[0, 0] > k, lambda x, y: (x * 1.0, jnp.sin(y), y), lambda x, y: (y - x, x * 0.0, y), a, b
    )
    return jnp.where(first > 0, second, third)


def _known(a: Any, b: Any, k: float) -> Any:
    return lax.fori_loop(0, 1, lambda i, c: c * b, lax.fori_loop(0, 0, lambda i, c: c + b, a)) + k


EXACT: dict[str, Step] = {
    "add": lambda a, b, k: a + b,
    "add a number": lambda a, b, k: a + k,
    "subtract": lambda a, b, k: a - b,
    "subtract a number": lambda a, b, k: a - k,
    "from a number": lambda a, b, k: k - a,
    "multiply": lambda a, b, k: a * b,
    "multiply by a number": lambda a, b, k: k * a,
    "divide by a number": lambda a, b, k: a / (k if k else 4.0),
    "divide": lambda a, b, k: a / b,
    "negative": lambda a, b, k: -a,
    "abs": lambda a, b, k: jnp.abs(a),
    "tanh": lambda a, b, k: jnp.tanh(a),
    "where": lambda a, b, k: jnp.where(a > k, a, b),
    "where not": lambda a, b, k: jnp.where(~(a > b), b, jnp.where(a > b, a, k)),
    "maximum": lambda a, b, k: jnp.maximum(a, b),
    "floor": lambda a, b, k: jnp.floor(jnp.floor(a)),
    "float16 and back": lambda a, b, k: a.astype("float64").astype("float32") if k > 0 else a.astype("float32"),
    "transposed": lambda a, b, k: a.T,
    "reshaped": lambda a, b, k: jnp.reshape(jnp.reshape(a, (9, 1)), (3, 3)),
    "a row": lambda a, b, k: jnp.broadcast_to(a[1], (3, 3)) * b,
    "a column": lambda a, b, k: b + a[:, :1],
    "a part": lambda a, b, k: jnp.concatenate([a[1:][::-1], b[::2][:1]]),
    "one number": lambda a, b, k: jnp.full((3, 3), k) * a + jnp.broadcast_to(b[0, 0], (3, 3)),
    "max along rows": lambda a, b, k: jnp.max(a, axis=1, keepdims=True) - b,
    "min of everything": lambda a, b, k: b * jnp.min(jnp.min(a.T, axis=0)),
    "stopped": lambda a, b, k: lax.stop_gradient(a),
    "there is one": lambda a, b, k: jnp.where(jnp.any(a > k, axis=0), a, b),
    "scan": _scan,
    "while": _while,
    "choice": _choice,
    "known": _known,
    "closure": lambda a, b, k: gradkit.vmap(lambda r: jnp.sin(r) * b[0] + k)(a),
    "jit": lambda a, b, k: gradkit.jit(lambda x: x * b - k)(a),
    "checkpoint": lambda a, b, k: gradkit.checkpoint(lambda x: jnp.sin(x * b))(a),
}
"""Steps of which passes change no bit."""
SUMS: dict[str, Step] = {
    "sum along rows": lambda a, b, k: jnp.sum(a, axis=1, keepdims=True) * b,
    "sum of sums": lambda a, b, k: jnp.sum(jnp.sum(a, axis=0)) + b,
    "mean": lambda a, b, k: b - jnp.mean(a, axis=0),
    "sum of equal": lambda a, b, k: b * jnp.sum(jnp.broadcast_to(a, (4, 3, 3)), axis=(0, 1)),
    "product": lambda a, b, k: a @ b.T,
    "gradient": lambda a, b, k: gradkit.grad(lambda x: jnp.sum(jnp.tanh(x @ b + b[0]) ** 2))(a),
    "gradient of a scan": lambda a, b, k: gradkit.grad(
        lambda x: jnp.sum(lax.scan(lambda c, e: (jnp.tanh(c @ b) + e, c * k), x[0], x)[0])
    )(a),
    "softmax": lambda a, b, k: gradkit.nn.softmax(a, axis=1) * b,
}
"""Steps with sums, which passes may take in another order."""
STEPS = {**EXACT, **SUMS}


def programs(steps: Sequence[str]) -> Any:
    """Return a strategy for programs of these steps."""
    one = st.tuples(st.sampled_from(sorted(steps)), st.integers(0, 20), st.integers(0, 20), st.sampled_from(NUMBERS))
    return st.lists(one, min_size=1, max_size=9)


ARGUMENTS = st.lists(
    st.sampled_from([0.0, -0.0, 1.0, -2.5, 0.3, np.inf, -np.inf, np.nan, 1e-3, 7.0]), min_size=18, max_size=18
).map(lambda numbers: np.asarray(numbers, dtype="float32").reshape(2, 3, 3))


def program(steps: Program) -> Callable[..., Any]:
    """Return the function of two matrices that a list of steps is: it gives the value of every second one."""

    def function(a: Any, b: Any) -> Any:
        values = [a, b]
        for name, i, j, k in steps:
            values.append(STEPS[name](values[-1 - i % len(values)], values[j % len(values)], k))
        return values[:1:-2]

    return function
