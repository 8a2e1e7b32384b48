"""Whether a function gives the same on every backend, under `vmap`, and under `jit`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradkit.backend import backend_names, current_backend, get_backend, load_backend, use_backend, why_not
from gradkit.core.array import Array
from gradkit.core.promotion import letter_of
from gradkit.devices import device_get
from gradkit.numpy import asarray, stack
from gradkit.testing.asserting import assert_close
from gradkit.testing.gradients import as_given
from gradkit.transforms import jit, vjp, vmap
from gradkit.tree import leaves, map

__all__ = ["assert_same_on_every_backend", "check_jit", "check_vmap"]


def assert_same_on_every_backend(
    f: Callable[..., Any],
    *args: Any,
    backends: Sequence[str] | None = None,
    gradients: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
) -> None:
    """Check that a function gives the same values and gradients on every backend that can run here.

    Parameters
    ----------
    f : callable
        A function of arrays, or pytrees of them, that gives such. It makes new arrays on the backend that it runs on.
    *args
        Its arguments; arrays are copied to each backend.
    backends : sequence of str, optional
        The backends' names; by default all that can run on this machine and whose arrays have axes. The first is what
        the others are compared with: by default the one that makes new arrays.
    gradients : bool
        Whether gradients are compared too: with respect to all floating arguments, for a random cotangent.
    rtol, atol : float, optional
        As in `assert_close`.

    Raises
    ------
    AssertionError
        If they differ; the message names the backends.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> assert_same_on_every_backend(lambda x: jnp.tanh(x) @ x, jnp.asarray([0.5, -1.0]))
    """
    as_given("assert_same_on_every_backend", f, args)
    names = _usable() if backends is None else list(backends)
    if not names:
        raise ValueError("backends: expected the names of backends, got none")
    kept = map(lambda leaf: device_get(leaf) if type(leaf) is Array else leaf, args)
    first, *others = [(name, *_results(f, kept, name, gradients)) for name in names]
    for name, values, slopes in others:
        for what, one, other in (("", values, first[1]), ("gradient ", slopes, first[2])):
            assert_close(one, other, rtol=rtol, atol=atol, err_msg=f"{what}on {name}, expected as on {first[0]}")


def _usable() -> list[str]:
    known = (load_backend(name) for name in backend_names())
    usable = [backend.name for backend in known if backend.has_axes and why_not(backend) is None]
    return sorted(usable, key=lambda name: name != current_backend().name)


def _results(f: Callable[..., Any], args: Any, name: str, gradients: bool) -> tuple[Any, Any]:
    """Return the values and the gradients of a function on a backend, on the host."""
    backend = get_backend(name)
    with backend.with_every_dtype(), use_backend(name):
        given = map(lambda leaf: asarray(leaf) if isinstance(leaf, np.ndarray) else leaf, args)
        values = f(*given)
        floating = [leaf for leaf in leaves(given) if type(leaf) is Array and letter_of(leaf.dtype) in "fc"]
        if not gradients or not floating:
            return device_get(values), []
        random = np.random.default_rng(0)

        def of_floating(*arrays: Array) -> list[Array]:
            rest = iter(arrays)
            all_args = map(
                lambda leaf: next(rest) if type(leaf) is Array and letter_of(leaf.dtype) in "fc" else leaf, given
            )
            found = [asarray(leaf) for leaf in leaves(f(*all_args))]
            return [leaf for leaf in found if letter_of(leaf.dtype) in "fc"]

        results, pullback = vjp(of_floating, *floating)
        cotangents = [
            asarray(random.standard_normal(leaf.shape), dtype=leaf.dtype, device=leaf.device) for leaf in results
        ]
        return device_get(values), device_get(list(pullback(cotangents)))


def check_vmap(
    f: Callable[..., Any],
    args: Sequence[Any],
    in_axes: Any = 0,
    *,
    rtol: float | None = None,
    atol: float | None = None,
) -> None:
    """Check that `vmap` of a function gives what a loop over its arguments gives.

    Parameters
    ----------
    f : callable
        The function, of single examples.
    args : tuple
        Its arguments, with an axis of examples more.
    in_axes : int, None or sequence of int or None
        That axis, of all arguments or for each; None for an argument that all examples share.
    rtol, atol : float, optional
        As in `assert_close`.

    Raises
    ------
    AssertionError
        If they differ.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> check_vmap(jnp.dot, (jnp.ones((3, 2)), jnp.ones(2)), in_axes=(0, None))
    """
    args = as_given("check_vmap", f, args)
    axes = tuple(in_axes) if isinstance(in_axes, list | tuple) else (in_axes,) * len(args)
    if len(axes) != len(args):
        raise ValueError(f"in_axes: expected one for each of {len(args)} arguments, got {in_axes!r}")
    sizes = {leaf.shape[axis] for arg, axis in zip(args, axes, strict=True) if axis is not None for leaf in leaves(arg)}
    if len(sizes) != 1:
        raise ValueError(f"in_axes: expected arguments with one number of examples, got {sorted(sizes)}")

    def example(arg: Any, axis: int | None, number: int) -> Any:
        if axis is None:
            return arg
        return map(lambda leaf: leaf[(slice(None),) * (axis % leaf.ndim) + (number,)], arg)

    (size,) = sizes
    if not size:
        raise ValueError("args: expected at least one example, got none")
    singles = [f(*(example(arg, axis, number) for arg, axis in zip(args, axes, strict=True))) for number in range(size)]
    expected = map(lambda *results: stack([asarray(result) for result in results]), *singles)
    assert_close(vmap(f, in_axes=axes)(*args), expected, rtol=rtol, atol=atol, err_msg="vmap(f), expected as in a loop")


def check_jit(
    f: Callable[..., Any],
    args: Sequence[Any],
    *,
    static_argnums: int | Sequence[int] = (),
    rtol: float | None = None,
    atol: float | None = None,
) -> None:
    """Check that `jit` of a function gives what the function gives, in the first call and in the next.

    Parameters
    ----------
    f : callable
        The function.
    args : tuple
        Its arguments.
    static_argnums : int or sequence of int
        As in `jit`.
    rtol, atol : float, optional
        As in `assert_close`.

    Raises
    ------
    AssertionError
        If they differ.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> check_jit(lambda x: jnp.sin(x) ** 2, (jnp.ones(3),))
    """
    args = as_given("check_jit", f, args)
    compiled = jit(f, static_argnums=static_argnums)
    for call in ("first", "second"):
        message = f"{call} call of jit(f), expected as without"
        assert_close(map(asarray, compiled(*args)), map(asarray, f(*args)), rtol=rtol, atol=atol, err_msg=message)
