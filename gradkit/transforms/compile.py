"""`jit`, in the form that it has before there is a compiler: it checks as it will, and runs the function at once."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from gradkit.config import config, setting
from gradkit.core.array import Array
from gradkit.core.assignment import keeping_arguments
from gradkit.transforms.arguments import as_array, as_array_leaf, check_callable, named_like
from gradkit.transforms.float0 import is_float0
from gradkit.tree import flatten, unflatten

__all__ = ["disable_jit", "jit"]


def jit(
    fun: Callable[..., Any] | None = None,
    *,
    static_argnums: int | Sequence[int] | None = None,
    static_argnames: str | Iterable[str] | None = None,
    donate_argnums: int | Sequence[int] | None = None,
    donate_argnames: str | Iterable[str] | None = None,
    keep_unused: bool = False,
    device: Any = None,
    backend: str | None = None,
    inline: bool = False,
    in_shardings: Any = None,
    out_shardings: Any = None,
    compiler_options: Any = None,
) -> Any:
    """Make a function that will be compiled; in this version it runs at once, operation by operation.

    What it takes and gives is what it will be: arguments that are not static become Arrays, static ones have to be
    hashable, results are Arrays in the function's own tree. Since nothing is traced yet, Python's ``if`` may still look
    at values, and side effects happen at every call.

    Parameters
    ----------
    fun : callable
        A function of arrays or pytrees.
    static_argnums, static_argnames : int, str or sequences of them, optional
        Arguments that are no arrays; each has to be hashable.
    donate_argnums, donate_argnames : int, str or sequences of them, optional
        Arguments whose memory the result may take. It is not taken yet.
    keep_unused, device, backend, inline, in_shardings, out_shardings, compiler_options
        Accepted, and without a meaning here.

    Raises
    ------
    TypeError
        By the returned function: if an argument or result is no array or number.
    ValueError
        If a static argument is not hashable.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> @gradkit.jit
    ... def selu(x, alpha=1.67, lmbda=1.05):
    ...     return lmbda * jnp.where(x > 0, x, alpha * jnp.exp(x) - alpha)
    >>> selu(jnp.arange(3.0))
    Array([0.  , 1.05, 2.1 ], dtype=float32)
    """
    if fun is None:
        return functools.partial(
            jit,
            static_argnums=static_argnums,
            static_argnames=static_argnames,
            donate_argnums=donate_argnums,
            donate_argnames=donate_argnames,
        )
    check_callable(fun)
    function, run = fun, keeping_arguments(fun)
    positions, names = _static(function, static_argnums, static_argnames)
    _numbers(donate_argnums, "donate_argnums")
    _words(donate_argnames, "donate_argnames")

    @named_like(function)
    def compiled(*args: Any, **kwargs: Any) -> Any:
        if config.jax_disable_jit:
            return function(*args, **kwargs)
        fixed = {position % len(args) for position in positions if -len(args) <= position < len(args)}
        new_args = [_hashable(a, i) if i in fixed else _arrays(a, args) for i, a in enumerate(args)]
        new_kwargs = {name: _hashable(a, name) if name in names else _arrays(a, kwargs) for name, a in kwargs.items()}
        outputs, treedef = flatten(run(*new_args, **new_kwargs))
        return unflatten(treedef, [_result(output, function) for output in outputs])

    return compiled


def _static(fun: Callable[..., Any], argnums: Any, argnames: Any) -> tuple[tuple[int, ...], frozenset[str]]:
    """Return the static positions and names; each follows from the other where the signature is known."""
    positions, names = _numbers(argnums, "static_argnums"), _words(argnames, "static_argnames")
    try:
        parameters = list(inspect.signature(fun).parameters.values())
    except ValueError:
        return positions, frozenset(names)
    by_position = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        unknown = [name for name in names if name not in {p.name for p in parameters}]
        if unknown:
            raise ValueError(
                f"jitted function has invalid argnames {set(unknown)} in static_argnames. Function does not take these "
                f"args. Valid names: {[p.name for p in parameters]}"
            )
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if not variadic and any(not -len(by_position) <= p < len(by_position) for p in positions):
        raise ValueError(
            f"jitted function has static_argnums={argnums}, but only accepts {len(by_position)} positional arguments."
        )
    found = {by_position.index(name) for name in names if name in by_position}
    named = {by_position[p] for p in positions if -len(by_position) <= p < len(by_position)}
    return tuple(sorted({*positions, *found})), frozenset({*names, *named})


def _numbers(value: Any, name: str) -> tuple[int, ...]:
    try:
        return tuple(map(operator.index, (value,) if isinstance(value, int) else value or ()))
    except TypeError as error:
        raise TypeError(f"jit: {name} must be an int or a sequence of ints, got {value!r}") from error


def _words(value: Any, name: str) -> tuple[str, ...]:
    words = (value,) if isinstance(value, str) else tuple(value or ())
    if not all(isinstance(word, str) for word in words):
        raise TypeError(f"jit: {name} must be a str or a sequence of strs, got {value!r}")
    return words


def _hashable(value: Any, argument: int | str) -> Any:
    try:
        hash(value)
    except TypeError as error:
        raise ValueError(
            f"Non-hashable static arguments are used in a jit function: argument {argument!r} is {value!r} of type "
            f"{type(value).__name__}. A static argument must be hashable."
        ) from error
    return value


def _arrays(value: Any, arguments: Any) -> Any:
    leaves, treedef = flatten(value)
    return unflatten(treedef, [leaf if type(leaf) is Array else _argument(leaf, arguments) for leaf in leaves])


def _argument(leaf: Any, arguments: Any) -> Array:
    try:
        return as_array_leaf(leaf, arguments)
    except TypeError as error:
        raise TypeError(
            f"{error}. Arguments of a jitted function that are no arrays have to be static: name them in "
            f"static_argnums or static_argnames."
        ) from error


def _result(output: Any, fun: Callable[..., Any]) -> Any:
    if is_float0(output):
        return output
    try:
        return as_array(output)
    except TypeError as error:
        raise TypeError(
            f"function {getattr(fun, '__name__', fun)} for jit returned a value of type {type(output).__name__}, which "
            f"is not a valid JAX type"
        ) from error


def disable_jit(disable: bool = True) -> AbstractContextManager[None]:
    """Run jitted functions as plain ones inside a ``with`` block, in this thread or task alone."""
    return setting("jax_disable_jit", disable)
