"""One table entry, many facts: a function against JAX's, by value, in both modes, to second order and under vmap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as J
import numpy as np

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


def check(entry: Entry, xp: Any) -> None:
    """Compare everything that the entry asks for."""
    argnums = entry.argnums
    arrays = [np.asarray(array) for array in entry.arrays]
    tangents = [np.sin(np.arange(1.0, 1 + arrays[i].size)).reshape(arrays[i].shape) for i in argnums]
    with jax.enable_x64(True):
        theirs = [J.asarray(array) for array in arrays]
        ours = [xp.asarray(array) for array in arrays]
        close(entry.ours(*ours), entry.theirs(*theirs))
        if not entry.order:
            return
        first, other = scalar(entry.ours), scalar(entry.theirs)
        close(gradkit.grad(first, argnums)(*ours), jax.grad(other, argnums)(*theirs))

        def of_floats(function: Any, args: list[Any]) -> Any:
            def call(*floats: Any) -> Any:
                full = list(args)
                for i, value in zip(argnums, floats, strict=True):
                    full[i] = value
                return function(*full)

            return call

        got = gradkit.jvp(
            of_floats(first, ours), tuple(ours[i] for i in argnums), tuple(xp.asarray(t) for t in tangents)
        )
        expected = jax.jvp(
            of_floats(other, theirs), tuple(theirs[i] for i in argnums), tuple(J.asarray(t) for t in tangents)
        )
        close(got[1], expected[1])
        if entry.order > 1:
            close(
                gradkit.grad(squared(gradkit.grad, first, argnums), argnums)(*ours),
                jax.grad(squared(jax.grad, other, argnums), argnums)(*theirs),
                1e-8,
            )


def check_vmap(entry: Entry, xp: Any) -> None:
    """Compare vmap over every choice of batched arguments, at a front axis and a last one, and of its gradient."""
    arrays = [np.asarray(array) for array in entry.arrays]
    with jax.enable_x64(True):
        for chosen in range(1, 2 ** len(arrays)):
            in_axes: list[int | None] = []
            batches = []
            for i, array in enumerate(arrays):
                if not chosen >> i & 1:
                    in_axes.append(None)
                    batches.append(array)
                    continue
                axis = array.ndim if i % 2 else 0
                in_axes.append(axis)
                batches.append(np.stack([array, np.flip(array), np.roll(array, 1)], axis=axis))
            ours, theirs = [xp.asarray(b) for b in batches], [J.asarray(b) for b in batches]
            close(gradkit.vmap(entry.ours, tuple(in_axes))(*ours), jax.vmap(entry.theirs, tuple(in_axes))(*theirs))
            if entry.order:
                close(
                    gradkit.vmap(gradkit.grad(scalar(entry.ours), entry.argnums), tuple(in_axes))(*ours),
                    jax.vmap(jax.grad(scalar(entry.theirs), entry.argnums), tuple(in_axes))(*theirs),
                )
