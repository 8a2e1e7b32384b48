"""`pure_callback` and `io_callback`: functions of the host, called on values, inside functions that are transformed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradkit.core import MultipleResults
from gradkit.core.array import Array
from gradkit.core.batching import at_front, one_by_one
from gradkit.core.binding import bind_several
from gradkit.core.graph import bind_where_captured
from gradkit.core.promotion import dtype_named
from gradkit.core.stand_in import Abstract
from gradkit.core.values import host
from gradkit.transforms.arguments import as_array, as_array_leaf, check_callable
from gradkit.tree import flatten, unflatten

__all__ = ["io_callback", "pure_callback"]

Shape = tuple[int, ...]
METHODS = (None, "sequential", "sequential_unrolled", "expand_dims", "broadcast_all", "legacy_vectorized")


class HostCallback(MultipleResults):
    """A call of a function of the host. It has no derivative, and says so."""

    distinct = True  # it may draw random numbers
    calls_host = True

    def abstract(self, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """Return what was promised."""
        backend, device = self.place(args, params)
        return tuple(Abstract(shape, dtype_named(dtype), backend, device) for shape, dtype in params["results"])

    def has_effect(self, params: Mapping[str, Any]) -> bool:
        """Return whether the function was said to have side effects."""
        return bool(params["kind"] == "IO")

    def reads_and_parents(self, tracked: int) -> tuple[int, int]:
        """Reach all nodes: a graph asks here whether to differentiate, and has to come to the refusal of `record`."""
        return 0, tracked

    def is_linear_in(self, bits: int) -> bool:
        """Return whether it is linear, of which nothing is known."""
        return not bits

    def record(self, trace: Any, out: Any, values: Any, nodes: Any, tracked: int, params: Any, plain: bool) -> Any:
        """Refuse to be differentiated."""
        raise _refusal(params)

    def push(self, out: Any, args: Any, tangents: Any, params: Mapping[str, Any]) -> Any:
        """Refuse to be differentiated."""
        if any(t is not None for t in tangents):
            raise _refusal(params)
        return None


def _refusal(params: Mapping[str, Any]) -> ValueError:
    if params["kind"] == "IO":
        return ValueError("IO callbacks do not support JVP.")
    return ValueError(
        "Pure callbacks do not support JVP. Please use `gradkit.custom_jvp` to use callbacks while taking gradients."
    )


def _batch(primitive: Any, values: Any, axes: Any, size: int, params: Any) -> Any:
    method, results = params["method"], params["results"]
    if method == "ordered":
        raise ValueError("Cannot `vmap` ordered IO callback.")
    if method in ("sequential", "sequential_unrolled"):
        return one_by_one(primitive, values, axes, size, params)
    if method is None:
        raise NotImplementedError(
            "vmap is only supported for pure_callback with vmap_method: 'sequential' calls the function for each "
            "element, 'expand_dims' and 'broadcast_all' once with whole batches."
        )
    whole = [
        at_front(v, axis, size if method == "broadcast_all" else 1) if axis is None else at_front(v, axis, size)
        for v, axis in zip(values, axes, strict=True)
    ]
    if method == "legacy_vectorized":
        whole = [v if axis is None else at_front(v, axis, size) for v, axis in zip(values, axes, strict=True)]
    batched = tuple(((size, *shape), dtype) for shape, dtype in results)
    return bind_several(primitive, whole, {**params, "results": batched}), 0


def _call(xp: Any, *args: Any, function: Callable[..., Any], results: Any, method: Any, kind: str) -> tuple[Any, ...]:
    backend = xp.backend
    found = function(*(_unwritable(backend.to_host(arg)) for arg in args), results=results)
    device = backend.device_of(args[0])
    return tuple(backend.from_host(array, device) for array in found)


def _unwritable(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return an array that cannot be assigned to, as JAX's cannot: its memory is that of the caller's Array."""
    view = array.view()
    view.flags.writeable = False
    return view


_callback = HostCallback("pure_callback", _call, (None,), batch=_batch, leaf=True)


def pure_callback(
    callback: Callable[..., Any],
    result_shape_dtypes: Any,
    *args: Any,
    sharding: Any = None,
    vmap_method: str | None = None,
    **kwargs: Any,
) -> Any:
    """Call a Python function with values, inside a function that is transformed.

    Parameters
    ----------
    callback : callable
        The function; it gets NumPy arrays that it cannot assign to, and gives such or arrays of a backend. It should
        have no side effects.
    result_shape_dtypes : pytree
        What it gives: a tree of things with a shape and a dtype (`ShapeDtypeStruct`).
    *args, **kwargs : pytree
        Its arguments.
    sharding
        Accepted, and without a meaning here.
    vmap_method : str, optional
        What happens under `vmap`: ``"sequential"`` calls the function for one element after another;
        ``"expand_dims"`` and ``"broadcast_all"`` call it once, with a new first axis, whose size is 1 (or that of the
        batch) for what is the same for every element. Without one it is an error.

    Returns
    -------
    pytree of arrays
        Of the structure of `result_shape_dtypes`.

    Raises
    ------
    ValueError
        If it is differentiated, or the function gives other shapes.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp, numpy as np
    >>> shape = gradkit.ShapeDtypeStruct((), "float32")
    >>> gradkit.pure_callback(lambda x: np.float32(np.asarray(x) ** 2), shape, jnp.asarray(3.0))
    Array(9., dtype=float32)
    """
    if vmap_method not in METHODS:
        raise ValueError(f"vmap_method must be on of the allowed methods {METHODS}, but got: {vmap_method}")
    return _make_call("pure", callback, result_shape_dtypes, vmap_method, args, kwargs)


def _make_call(
    kind: str, callback: Callable[..., Any], result_shape_dtypes: Any, method: Any, args: Any, kwargs: Any
) -> Any:
    check_callable(callback)
    expected, out_tree = flatten(result_shape_dtypes)
    results = tuple((tuple(e.shape), dtype_named(e.dtype).name) for e in expected)
    leaves, in_tree = flatten((args, kwargs))
    # Without arguments there is still a place to be at.
    arrays = [as_array_leaf(leaf, (args, kwargs)) for leaf in leaves] or [as_array(0)]

    function = _OnTheHost(callback, in_tree, out_tree)
    params = {"function": function, "results": results, "method": method, "kind": kind}
    return unflatten(out_tree, bind_where_captured(_callback, arrays, params))


@dataclass(frozen=True)
class _OnTheHost:
    """A function of the host as one of flat lists: equal for two calls of one program."""

    callback: Callable[..., Any]
    in_tree: Any
    out_tree: Any

    def __call__(self, *values: np.ndarray[Any, Any], results: Any) -> list[np.ndarray[Any, Any]]:
        given, named = unflatten(self.in_tree, values[: self.in_tree.num_leaves])
        found, tree = flatten(self.callback(*given, **named))
        if tree != self.out_tree:
            raise ValueError(f"callback: expected a result of structure {self.out_tree}, got {tree}")
        return [_check(_host(value), *result) for value, result in zip(found, results, strict=True)]


def _host(value: Any) -> np.ndarray[Any, Any]:
    return host(value) if type(value) is Array else np.asarray(value)


def _check(array: np.ndarray[Any, Any], shape: Shape, dtype: str) -> np.ndarray[Any, Any]:
    if array.shape != shape:
        raise ValueError(f"callback: expected a result of shape {shape}, got {array.shape}")
    if array.dtype.name != dtype:
        raise ValueError(f"callback: expected a result of dtype {dtype}, got {array.dtype.name}")
    return array


def io_callback(
    callback: Callable[..., Any],
    result_shape_dtypes: Any,
    *args: Any,
    sharding: Any = None,
    ordered: bool = False,
    **kwargs: Any,
) -> Any:
    """Call a Python function that has side effects; see `pure_callback`.

    Calls are always in order. Under `vmap` it is called for one element after another; with `ordered` that is an error,
    as in JAX.
    """
    method = "ordered" if ordered else "sequential"
    return _make_call("IO", callback, result_shape_dtypes, method, args, kwargs)
