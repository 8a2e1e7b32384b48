"""Random programs of 1 to 12 operations under random stacks of transforms, against JAX."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from side_by_side import check_same

SIZE = 3
MATRIX = np.asarray([[0.5, -0.2, 0.1], [0.3, 0.4, -0.6], [-0.1, 0.7, 0.2]])
DIRECTION = np.asarray([0.3, -1.0, 0.7])
SCALES = np.asarray([0.5, -1.0])

# From vectors of SIZE numbers to one: smooth almost everywhere, and of moderate size.
OPERATIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "sin": lambda n, x, y: n.sin(x),
    "tanh": lambda n, x, y: n.tanh(x + y),
    "add": lambda n, x, y: x + y,
    "multiply": lambda n, x, y: n.sin(x) * y,
    "divide": lambda n, x, y: x / (2.0 + n.cos(y)),
    "power": lambda n, x, y: (1.5 + n.sin(x)) ** n.tanh(y),
    "exp": lambda n, x, y: n.exp(-x * x),
    "log": lambda n, x, y: n.log(1.0 + y * y),
    "sqrt": lambda n, x, y: n.sqrt(1.0 + x * x),
    "where": lambda n, x, y: n.where(x > y, x * 0.5, n.sin(y)),
    "maximum": lambda n, x, y: n.maximum(x, 0.3 * y),
    "matmul": lambda n, x, y: n.asarray(MATRIX) @ x,
    "outer": lambda n, x, y: n.sin(x[:, None] * y[None, :]) @ n.asarray(DIRECTION),
    "sum": lambda n, x, y: n.sum(n.sin(x)) * y * 0.3,
    "max": lambda n, x, y: n.max(x) + y * 0.1,
    "mean": lambda n, x, y: x - n.mean(y),
    "var": lambda n, x, y: n.tanh(x) * n.var(n.sin(y)),
    "prod": lambda n, x, y: n.prod(n.sin(x)) + y,
    "cumsum": lambda n, x, y: n.cumsum(n.sin(x)) * 0.5,
    "sort": lambda n, x, y: n.sort(n.sin(x)) + y,
    "reverse": lambda n, x, y: x[::-1] * 0.9,
    "take": lambda n, x, y: x[n.asarray([2, 0, 2])] + y,
    "concatenate": lambda n, x, y: n.concatenate([x[1:], y[:1]]),
    "reshape": lambda n, x, y: n.sum(n.reshape(n.stack([x, n.cos(y)]), (SIZE, 2)), axis=1),
    "set": lambda n, x, y: x.at[1].set(n.sin(y[0])),
    "add at": lambda n, x, y: x.at[n.asarray([0, 0])].add(n.cos(y[:2])),
}


def with_direction(n: Any) -> Any:
    return n.asarray(DIRECTION)


# From functions of vectors to functions of vectors.
TRANSFORMS: dict[str, Callable[[Any, Any, Callable[..., Any]], Callable[..., Any]]] = {
    "grad": lambda m, n, f: m.grad(lambda x: n.sum(f(x) * with_direction(n))),
    "vjp": lambda m, n, f: lambda x: m.vjp(f, x)[1](with_direction(n))[0],
    "jvp": lambda m, n, f: lambda x: m.jvp(f, (x,), (with_direction(n),))[1],
    "linearize": lambda m, n, f: lambda x: m.linearize(f, x)[1](with_direction(n)),
    "jacfwd": lambda m, n, f: lambda x: m.jacfwd(f)(x) @ with_direction(n),
    "jacrev": lambda m, n, f: lambda x: with_direction(n) @ m.jacrev(f)(x),
    "vmap": lambda m, n, f: lambda x: n.sum(m.vmap(lambda s: f(x * s))(n.asarray(SCALES)), axis=0),
    "vmap over columns": lambda m, n, f: (
        lambda x: m.vmap(f, in_axes=1, out_axes=1)(n.stack([x, n.sin(x)], axis=1))[:, 1]
    ),
    "checkpoint": lambda m, n, f: m.checkpoint(f),
    "jit": lambda m, n, f: m.jit(f),
    "scan": lambda m, n, f: lambda x: m.lax.scan(lambda c, s: (f(c) * s, None), x, n.asarray(SCALES))[0],
    "cond": lambda m, n, f: lambda x: m.lax.cond(x[0] > 0.1, f, lambda x: x * 2.0, x),
    "while_loop": lambda m, n, f: lambda x: m.lax.fori_loop(0, 2, lambda i, v: n.sin(f(v)), x),
}


def drawn(seed: int) -> tuple[list[tuple[str, int, int]], list[str], np.ndarray]:
    """Draw a list of operations, each on two of the values before it, a stack of transforms, and an argument."""
    draw = random.Random(seed)
    names, transforms = sorted(OPERATIONS), sorted(TRANSFORMS)
    program = [(draw.choice(names), draw.randint(0, i), draw.randint(0, i)) for i in range(draw.randint(1, 12))]
    stack = [draw.choice(transforms) for _ in range(draw.randint(0, 3))]
    return program, stack, np.random.default_rng(seed).uniform(-1.5, 1.5, SIZE)


def function_of(program: list[tuple[str, int, int]], n: Any) -> Callable[[Any], Any]:
    def f(x: Any) -> Any:
        values = [x]
        for name, first, second in program:
            values.append(OPERATIONS[name](n, values[first], values[second]))
        return values[-1] + 0.1 * values[0]

    return f


def text(program: list[tuple[str, int, int]], stack: list[str]) -> Callable[[Any, Any], Callable[..., Any]]:
    def build(m: Any, n: Any) -> Callable[..., Any]:
        f = function_of(program, n)
        for name in stack:
            f = TRANSFORMS[name](m, n, f)
        return f

    return build


@pytest.mark.parametrize("seed", [*range(30), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(30, 60))])
def test_random_programs_under_random_transforms_give_what_jax_gives(seed: int, xp: Any) -> None:
    program, stack, x = drawn(seed)
    check_same(text(program, stack), x, tolerance=1e-6)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_under_forward_over_reverse_over_vmap(name: str, xp: Any) -> None:
    check_same(
        text([(name, 0, 0), (name, 1, 0)], ["vmap", "grad", "jvp"]), np.asarray([0.3, -0.8, 1.2]), tolerance=1e-7
    )
