"""`jax.debug`: looking at values inside functions that are being transformed."""

from __future__ import annotations

import string
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gradkit.backend import backend_of
from gradkit.core import Array, MultipleResults
from gradkit.core.array import wrap
from gradkit.core.batching import one_by_one
from gradkit.core.graph import bind_where_captured
from gradkit.core.namespace import as_bound
from gradkit.core.operands import new_array
from gradkit.core.values import host
from gradkit.tree import flatten, unflatten

__all__ = ["callback", "print"]


class Callback(MultipleResults):
    """A call of a Python function for its effect: no results, and nothing to differentiate."""

    calls_host = True

    def abstract(self, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """Return no results, without a call."""
        return ()

    def has_effect(self, params: Mapping[str, Any]) -> bool:
        """Say that it is called for its effect."""
        return True


def _call(xp: Any, *args: Any, function: Callable[..., None]) -> tuple[()]:
    function(*map(wrap, args))
    return ()


_callback = Callback("debug_callback", _call, (None,), batch=one_by_one, leaf=True)


def callback(callback: Callable[..., Any], *args: Any, ordered: bool = False, **kwargs: Any) -> None:
    """Call a Python function with the values of its arguments, whatever transform follows them.

    Parameters
    ----------
    callback : callable
        The function; what it returns is not used. Under `vmap` it is called once for each element of the batch, and
        under derivatives with the primal values.
    *args, **kwargs : pytree
        Its arguments.
    ordered : bool
        Accepted as in JAX; calls are always in order.
    """
    if not callable(callback):
        raise TypeError(f"first argument to callback must be callable, got {callback!r}")
    leaves, treedef = flatten((args, kwargs))
    followed = [type(leaf) is Array or backend_of(leaf) is not None for leaf in leaves]
    rest = tuple(None if flag else (type(leaf), leaf) for leaf, flag in zip(leaves, followed, strict=True))
    run = _Run(callback, treedef, rest)
    arrays = [as_bound(leaf) for leaf, flag in zip(leaves, followed, strict=True) if flag]
    # Without arguments there is still a place to be at.
    bind_where_captured(_callback, arrays or [new_array(0)], {"function": run})


@dataclass(frozen=True)
class _Run:
    """The call of a function with arrays where `rest` has None: equal for two calls of one program."""

    callback: Callable[..., Any]
    treedef: Any
    rest: tuple[tuple[type, Any] | None, ...]

    def __call__(self, *values: Array) -> None:
        given = iter(values)
        args, kwargs = unflatten(self.treedef, [next(given) if part is None else part[1] for part in self.rest])
        self.callback(*args, **kwargs)


class _Formatter(string.Formatter):
    """`str.format` that asks for every argument to be used, as JAX does."""

    def check_unused_args(self, used_args: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise ValueError for an argument that the text does not name."""
        unused = [arg for i, arg in enumerate(args) if i not in used_args]
        left = [name for name in kwargs if name not in used_args]
        if unused:
            raise ValueError(f"Unused positional arguments to `gradkit.debug.print`: {unused}")
        if left:
            raise ValueError(f"Unused keyword arguments to `gradkit.debug.print`: {left}")


def print(fmt: str, *args: Any, ordered: bool = False, **kwargs: Any) -> None:
    """Print values inside a function that is being transformed: ``gradkit.debug.print("x = {x}", x=x)``.

    Parameters
    ----------
    fmt : str
        The text, as for `str.format`.
    *args, **kwargs : pytree
        What the text names. Under `vmap` it is printed once for each element of the batch.
    ordered : bool
        Accepted as in JAX; lines are always in order.

    Raises
    ------
    ValueError
        If the text does not name one of the arguments.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> def f(x):
    ...     print("x = {}", x)
    ...     return x ** 2
    >>> gradkit.vmap(gradkit.grad(f))(jnp.asarray([1.0, 2.0]))
    x = 1.0
    x = 2.0
    Array([2., 4.], dtype=float32)
    """
    if not isinstance(fmt, str):
        raise TypeError(f"the first argument of debug.print is the text to print, got {fmt!r}. Write print('{{}}', x).")
    # Without values: what is wrong is found where the mistake is.
    _Formatter().vformat(fmt, [_Any()] * len(args), dict.fromkeys(kwargs, _Any()))
    callback(_Print(fmt), *args, ordered=ordered, **kwargs)


class _Any:
    """What takes any format."""

    def __format__(self, spec: str) -> str:
        return ""

    def __getitem__(self, key: Any) -> _Any:
        return self

    def __getattr__(self, name: str) -> _Any:
        return self


@dataclass(frozen=True)
class _Print:
    fmt: str

    def __call__(self, /, *args: Any, **kwargs: Any) -> None:
        values, treedef = flatten((args, kwargs))
        args, kwargs = unflatten(treedef, [host(value) if type(value) is Array else value for value in values])
        sys.stdout.write(_Formatter().vformat(self.fmt, args, kwargs) + "\n")
