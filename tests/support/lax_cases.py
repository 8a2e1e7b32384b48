"""How `lax` is compared with JAX: one function of the namespaces ``lax`` and ``jnp`` serves both."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as J
import numpy as np
from compiled import compiled

import gradkit
import gradkit.numpy as jnp
from gradkit import lax

REAL, POSITIVE, UNIT, ABOVE_ONE = (-2.0, 2.0), (0.3, 3.0), (0.1, 0.9), (1.2, 3.0)


@dataclass(frozen=True)
class Case:
    """A function ``f(lax, jnp, *args)``, and the shapes and range of its arguments."""

    f: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...] = ((3, 4),)
    interval: tuple[float, float] = REAL
    has_derivative: bool = True
    """In JAX, that is."""


def case(
    f: Callable[..., Any], *shapes: tuple[int, ...], interval: tuple[float, float] = REAL, has_derivative: bool = True
) -> Case:
    return Case(f, shapes or ((3, 4),), interval, has_derivative)


def arguments(case: Case, batch: int | None = None) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    lead = () if batch is None else (batch,)
    return [rng.uniform(*case.interval, size=lead + shape) for shape in case.shapes]


def leaves(tree: Any) -> list[Any]:
    return [np.asarray(gradkit.device_get(leaf)) for leaf in jax.tree.leaves(tree)]


def total(xp: Any, f: Callable[..., Any]) -> Callable[..., Any]:
    """Return a weighted sum of all inexact results: weights that are not all ones would show a wrong transpose."""

    def loss(*args: Any) -> Any:
        result = f(*args)
        parts = result if isinstance(result, tuple | list) else (result,)
        sums = []
        for part in parts:
            if part.dtype.name.startswith("float"):
                weights = np.cos(np.arange(1.0, 1.0 + part.size)).reshape(part.shape)
                sums.append(xp.sum(part * xp.asarray(weights)))
        return sum(sums[1:], sums[0])

    return loss


def squares(gradient: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose gradient takes second derivatives."""
    return lambda *args: sum((g * g).sum() * 0.5 for g in gradient(*args))


def inputs(case: Case) -> dict[str, list[np.ndarray]]:
    args, batch = arguments(case), arguments(case, 2)
    return {
        "args": args,
        "batch": batch,
        "turned": [np.moveaxis(arg, 0, -1) for arg in batch],
        "tangents": [np.sin(np.arange(arg.size, dtype=float)).reshape(arg.shape) for arg in args],
    }


def results(api: Any, lax_: Any, np_: Any, case: Case, given: dict[str, Any]) -> dict[str, Any]:
    """Compute all that is compared: the value, both modes, second order, and vmap over the first and the last axis."""

    def f(*args: Any) -> Any:
        return case.f(lax_, np_, *args)

    args, batch, turned, tangents = given["args"], given["batch"], given["turned"], given["tangents"]
    argnums = tuple(range(len(args)))
    found = {
        "value": f(*args),
        "vmap": api.vmap(f)(*batch),
        "vmap of one argument, last axis": api.vmap(f, in_axes=(-1,) + (None,) * (len(args) - 1))(turned[0], *args[1:]),
    }
    if case.has_derivative and any(leaf.dtype.kind == "f" for leaf in jax.tree.leaves(found["value"])):
        loss = total(np_, f)
        gradient = api.grad(loss, argnums)
        found["jvp"] = api.jvp(loss, tuple(args), tuple(tangents))[1]
        found["grad"] = gradient(*args)
        found["second"] = api.grad(squares(gradient), argnums)(*args)
        found["forward over reverse"] = api.jvp(gradient, tuple(args), tuple(tangents))[1]
        found["vmap of grad"] = api.vmap(gradient)(*batch)
    return found


@functools.cache
def expected_by_jax(case: Case) -> dict[str, Any]:
    return compiled(functools.partial(results, jax, jax.lax, J, case), inputs(case))


def compare(case: Case, xp: Any, tolerance: float = 1e-8) -> None:
    expected = expected_by_jax(case)
    given = {name: [xp.asarray(array) for array in arrays] for name, arrays in inputs(case).items()}
    got = results(gradkit, lax, jnp, case, given)
    assert set(got) == set(expected)
    for what, tree in expected.items():
        ours, theirs = leaves(got[what]), leaves(tree)
        assert len(ours) == len(theirs), what
        for a, b in zip(ours, theirs, strict=True):
            assert a.shape == b.shape, what
            assert a.dtype.kind == b.dtype.kind, what
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=what)
