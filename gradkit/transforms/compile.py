"""`jit`: a function that is captured once for each kind of arguments, and runs as a program from then on."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from gradkit.compiler.executables import clear_executables
from gradkit.config import setting
from gradkit.transforms.arguments import check_callable
from gradkit.transforms.call_arguments import places
from gradkit.transforms.jitted import Jitted, Options, clear_programs

__all__ = ["clear_caches", "disable_jit", "jit"]


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
    """Make a function that runs compiled.

    At the first call with arguments of some structure, shapes and dtypes the function runs once on arrays that have no
    values, and leaves the graph of its operations. From then on the graph runs, and the function does not: so Python's
    `if` cannot look at values, and side effects happen once. `debug.print` and the callbacks are in the graph.

    Parameters
    ----------
    fun : callable
        A function of arrays or pytrees.
    static_argnums, static_argnames : int, str or sequences of them, optional
        Arguments that are no arrays; each has to be hashable. For another value the function is captured anew.
    donate_argnums, donate_argnames : int, str or sequences of them, optional
        Arguments whose memory the results may take. Arrays in them that are like a result are deleted by the call.
    inline : bool
        Whether the call is taken apart where a graph of it is captured.
    keep_unused, device, backend, in_shardings, out_shardings, compiler_options
        Accepted, and without a meaning here.

    Returns
    -------
    callable
        Takes what `fun` takes, and gives the same with Arrays for leaves. It has ``trace``, ``lower``, ``eval_shape``
        and ``clear_cache``.

    Raises
    ------
    TypeError
        By the returned function: if an argument or result is no array or number.
    ValueError
        If a static argument is not hashable.
    ConcretizationTypeError
        By the returned function: if `fun` asks for the values of what depends on its arguments.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> @gradkit.jit
    ... def selu(x, alpha=1.67, lmbda=1.05):
    ...     print("captured")
    ...     return lmbda * jnp.where(x > 0, x, alpha * jnp.exp(x) - alpha)
    >>> selu(jnp.arange(3.0))
    captured
    Array([0.  , 1.05, 2.1 ], dtype=float32)
    >>> selu(2 * jnp.arange(3.0))
    Array([0. , 2.1, 4.2], dtype=float32)
    """
    if fun is None:
        return functools.partial(
            jit,
            static_argnums=static_argnums,
            static_argnames=static_argnames,
            donate_argnums=donate_argnums,
            donate_argnames=donate_argnames,
            inline=inline,
        )
    check_callable(fun)
    static = places(fun, static_argnums, static_argnames, "static")
    donated = places(fun, donate_argnums, donate_argnames, "donate")
    if both := static.names & donated.names:
        raise ValueError(
            f"static_argnames and donate_argnames cannot intersect. Argument names {set(both)} appear in both "
            f"static_argnames and donate_argnames"
        )
    return Jitted(fun, Options(static, donated, bool(inline)))


def disable_jit(disable: bool = True) -> AbstractContextManager[None]:
    """Run jitted functions as plain ones inside a ``with`` block, in this thread or task alone."""
    return setting("jax_disable_jit", disable)


def clear_caches() -> None:
    """Forget all that `jit` has captured and compiled."""
    clear_programs()
    clear_executables()
