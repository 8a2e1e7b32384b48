"""One table entry, many facts: a function against JAX's, by value, in both modes, to second order and under vmap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as J
import numpy as np
from references import kept

import gradkit
import gradkit.numpy as jnp


@dataclass(frozen=True)
class Entry:
    """A function of the namespace and arrays, and the arrays it is called on.

    Attributes
    ----------
    function : callable
        Takes the namespace (`gradkit.numpy` or `jax.numpy`) first.
    arrays : tuple of numpy.ndarray
        The arguments; the floating ones are differentiated.
    order : int
        Up to which order derivatives are compared; 0 for none.
    """

    function: Callable[..., Any]
    arrays: tuple[Any, ...]
    order: int = 2

    def ours(self, *args: Any) -> Any:
        return self.function(jnp, *args)

    def theirs(self, *args: Any) -> Any:
        return self.function(J, *args)

    @property
    def argnums(self) -> tuple[int, ...]:
        return tuple(i for i, array in enumerate(self.arrays) if np.asarray(array).dtype.kind in "fc")


def leaves(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple | list) else [result]


def close(got: Any, expected: Any, tolerance: float = 1e-9) -> None:
    ours, theirs = leaves(got), leaves(expected)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        one, other = np.asarray(gradkit.device_get(one)), np.asarray(other)
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def scalar(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with its floating results weighted and summed, so that it has a gradient."""

    def total(*args: Any) -> Any:
        found = 0.0
        for part in leaves(function(*args)):
            if part.dtype.kind in "fc":
                weights = np.cos(np.arange(1.0, 1 + int(np.prod(part.shape)))).reshape(part.shape)
                found = found + (part * (jnp.asarray(weights) if isinstance(part, gradkit.Array) else weights)).sum()
        return found

    return total


def squared(grad: Any, function: Callable[..., Any], argnums: tuple[int, ...]) -> Callable[..., Any]:
    return lambda *args: sum((g * g).sum() for g in grad(function, argnums)(*args)) * 0.5


def of_floats(function: Callable[..., Any], argnums: tuple[int, ...], args: list[Any]) -> Callable[..., Any]:
    """Return the function of those arguments that are differentiated."""

    def call(*floats: Any) -> Any:
        full = list(args)
        for i, value in zip(argnums, floats, strict=True):
            full[i] = value
        return function(*full)

    return call


def results(m: Any, function: Callable[..., Any], entry: Entry, array: Callable[[Any], Any]) -> dict[str, Any]:
    """Compute what is compared, with `gradkit` or `jax` as m: the value, both modes, and second order."""
    argnums = entry.argnums
    args = [array(each) for each in entry.arrays]
    found = {"value": leaves(function(*args))}
    if not entry.order:
        return found
    first = scalar(function)
    found["gradients"] = list(m.grad(first, argnums)(*args))
    tangents = [np.sin(np.arange(1.0, 1 + args[i].size)).reshape(args[i].shape) for i in argnums]
    primals = tuple(args[i] for i in argnums)
    found["tangent"] = [m.jvp(of_floats(first, argnums, args), primals, tuple(map(array, tangents)))[1]]
    if entry.order > 1:
        found["second order"] = list(m.grad(squared(m.grad, first, argnums), argnums)(*args))
    return found


def results_of_batches(
    m: Any, function: Callable[..., Any], entry: Entry, array: Callable[[Any], Any]
) -> dict[str, Any]:
    """Compute vmap over every choice of batched arguments, at a front axis and a last one, and of its gradient."""
    arrays = [np.asarray(each) for each in entry.arrays]
    found = {}
    for chosen in range(1, 2 ** len(arrays)):
        in_axes: list[int | None] = []
        batches = []
        for i, each in enumerate(arrays):
            if not chosen >> i & 1:
                in_axes.append(None)
                batches.append(each)
                continue
            axis = each.ndim if i % 2 else 0
            in_axes.append(axis)
            batches.append(np.stack([each, np.flip(each), np.roll(each, 1)], axis=axis))
        args = [array(batch) for batch in batches]
        found[f"value, {in_axes}"] = leaves(m.vmap(function, tuple(in_axes))(*args))
        if entry.order:
            gradient = m.grad(scalar(function), entry.argnums)
            found[f"gradients, {in_axes}"] = list(m.vmap(gradient, tuple(in_axes))(*args))
    return found


def by_jax(what: Callable[..., dict[str, Any]], entry: Entry) -> Any:
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, what(jax, entry.theirs, entry, J.asarray))


def compare(what: Callable[..., dict[str, Any]], entry: Entry, xp: Any) -> None:
    expected = kept(by_jax, what, entry)
    got = what(gradkit, entry.ours, entry, xp.asarray)
    assert got.keys() == expected.keys()
    for name, values in expected.items():
        close(got[name], values, 1e-8 if name == "second order" else 1e-9)


def check(entry: Entry, xp: Any) -> None:
    """Compare everything that the entry asks for."""
    compare(results, entry, xp)


def check_vmap(entry: Entry, xp: Any) -> None:
    """Compare vmap over every choice of batched arguments."""
    compare(results_of_batches, entry, xp)
