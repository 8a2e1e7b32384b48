"""Functions of real and complex arrays against JAX's: values, pullbacks and tangents, to second order, under vmap."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as J
import numpy as np
from compiled import compiled

import gradkit
import gradkit.numpy as jnp


class Case:
    """A function of the namespace and arrays, and the arrays (of NumPy, in double precision) it is called on.

    Parameters
    ----------
    name : str
        What the test is called.
    function : callable
        Takes a namespace, `gradkit.numpy` or `jax.numpy`, and the arrays; gives an array or a tuple of arrays.
    *arrays : numpy.ndarray
        The arguments, all of which are differentiated.
    order : int
        Up to which order derivatives are compared.
    tolerance : float
        Of the values and first derivatives; for the second ones it is a hundred times larger.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        *arrays: np.ndarray,
        order: int = 2,
        tolerance: float = 1e-9,
    ) -> None:
        self.name, self.function, self.arrays, self.order, self.tolerance = name, function, arrays, order, tolerance

    def on(self, namespace: Any) -> Callable[..., tuple[Any, ...]]:
        return lambda *arrays: leaves(self.function(namespace, *arrays))


def leaves(result: Any) -> tuple[Any, ...]:
    return tuple(result) if isinstance(result, tuple | list) else (result,)


def numbers(seed: int, shape: tuple[int, ...], is_complex: bool) -> np.ndarray:
    rng = np.random.default_rng(seed)
    real = rng.normal(size=shape)
    return np.asarray(real + 1j * rng.normal(size=shape) if is_complex else real)


def weights(x: Any, phase: float) -> np.ndarray:
    """Return a cotangent or a tangent for an array: not symmetric in any way."""
    places = np.arange(1.0, 1 + int(np.prod(x.shape, dtype=int))).reshape(x.shape)
    values = np.cos(places + phase)
    if np.dtype(x.dtype).kind == "c":
        return np.asarray(values + 1j * np.sin(2 * places + phase))
    return np.asarray(values, dtype="float64")


def derivatives(case: Case, module: Any, namespace: Any, array: Callable[[Any], Any], *arrays: Any) -> list[Any]:
    """Return the values; the pullback; the tangents; the pullback of the squared pullback."""
    function = case.on(namespace)
    values = function(*arrays)
    found = [values]
    if not case.order:
        return found
    cotangents = tuple(array(weights(value, 0.0)) for value in values)

    def gradient(*args: Any) -> Any:
        return module.vjp(function, *args)[1](cotangents)

    found.append(gradient(*arrays))
    tangents = tuple(array(weights(x, 1.0)) for x in case.arrays)
    found.append(module.jvp(function, tuple(arrays), tangents)[1])
    if case.order > 1:

        def size(*args: Any) -> Any:
            parts = [namespace.real(g * namespace.conj(g)).sum() for g in gradient(*args)]
            return sum(parts[1:], parts[0])

        found.append(module.vjp(size, *arrays)[1](array(np.asarray(1.0))))
    return found


@functools.cache
def expected(case: Case) -> list[list[np.ndarray]]:
    """Return JAX's results, computed once for all backends."""
    found: list[list[np.ndarray]] = compiled(functools.partial(derivatives, case, jax, J, J.asarray), *case.arrays)
    return found


def close(got: Any, wanted: Any, tolerance: float) -> None:
    got = np.asarray(gradkit.device_get(got))
    assert got.shape == wanted.shape
    assert got.dtype == wanted.dtype
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)


def check(case: Case, xp: Any) -> None:
    """Compare with JAX."""
    got = derivatives(case, gradkit, jnp, xp.asarray, *map(xp.asarray, case.arrays))
    for order, (ours, theirs) in enumerate(zip(got, expected(case), strict=True)):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            close(one, other, case.tolerance * (100 if order == 3 else 1))


def check_batches(case: Case, xp: Any) -> None:
    """Compare `vmap` of the function, and of its pullback, with one call for each element; and `eval_shape`."""
    batches = [np.stack([x, x + 0.01 * weights(x, 2.0), 1.01 * x], axis=-1) for x in case.arrays]
    function = case.on(jnp)

    def gradient(*args: Any) -> Any:
        values, pullback = gradkit.vjp(function, *args)
        return pullback(tuple(xp.asarray(weights(value, 0.0)) for value in values))

    for f in (function, gradient) if case.order else (function,):
        whole = gradkit.vmap(f, in_axes=-1)(*map(xp.asarray, batches))
        singles = [f(*(xp.asarray(np.array(batch[..., i])) for batch in batches)) for i in range(3)]
        for got, *parts in zip(whole, *singles, strict=True):
            close(got, np.stack([gradkit.device_get(part) for part in parts]), 1e-9)
    abstract = gradkit.eval_shape(function, *map(xp.asarray, case.arrays))
    for found, value in zip(abstract, function(*map(xp.asarray, case.arrays)), strict=True):
        assert (tuple(found.shape), found.dtype) == (value.shape, value.dtype)
