"""`checkpoint`: a function whose intermediate values are computed again in the backward pass instead of kept."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from gradkit.core.assignment import keeping_arguments
from gradkit.primitives.naming import named
from gradkit.transforms.arguments import as_array, as_array_leaf, as_arrays, check_callable, named_like, without_tape
from gradkit.transforms.policies import everything_saveable
from gradkit.transforms.rematerialization import call_checkpointed
from gradkit.tree import flatten, unflatten
from gradkit.tree import map as map_leaves

__all__ = ["checkpoint", "checkpoint_name", "remat"]


def checkpoint(
    fun: Callable[..., Any] | None = None,
    *,
    prevent_cse: bool = True,
    policy: Callable[..., Any] | None = None,
    static_argnums: int | Sequence[int] = (),
) -> Any:
    """Make a function that keeps no intermediate values for the backward pass, which runs it again.

    Parameters
    ----------
    fun : callable
        A function of arrays or pytrees. It has to give the same results when it runs again.
    prevent_cse : bool
        Accepted; it is about JAX's compiler.
    policy : callable, optional
        One of `checkpoint_policies`, which says of which operations the results are kept nevertheless, where the
        backward pass needs them. With a policy the function runs on arrays without values first, for its graph: it may
        not look at them in Python.
    static_argnums : int or sequence of int
        Arguments that are no arrays.

    Returns
    -------
    callable

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> gradkit.grad(gradkit.checkpoint(lambda x: jnp.sin(jnp.sin(x))))(1.0)
    Array(0.3..., dtype=float32)

    See Also
    --------
    gradkit.ad_checkpoint.print_saved_residuals : Shows what is kept.
    """
    if fun is None:
        return functools.partial(checkpoint, prevent_cse=prevent_cse, policy=policy, static_argnums=static_argnums)
    check_callable(fun)
    function = keeping_arguments(fun)
    static = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)
    if policy is everything_saveable:
        return fun

    @named_like(fun)
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        fixed = {position % len(args): args[position % len(args)] for position in static}
        dynamic = [None if i in fixed else arg for i, arg in enumerate(args)]
        leaves, treedef = flatten((dynamic, kwargs))
        arrays = [without_tape(as_array_leaf(leaf, (args, kwargs))) for leaf in leaves]
        out_tree: list[Any] = []

        def flat_function(flat: list[Any]) -> list[Any]:
            given, named = unflatten(treedef, flat)
            outs, tree = flatten(function(*(fixed.get(i, arg) for i, arg in enumerate(given)), **named))
            out_tree[:] = [tree]
            return as_arrays(outs, flat)

        outs = call_checkpointed(flat_function, arrays, policy)
        return unflatten(out_tree[0], outs)

    return checkpointed


remat = checkpoint


def checkpoint_name(x: Any, name: str) -> Any:
    """Return `x`, under a name by which a policy of `checkpoint` can refer to it.

    Parameters
    ----------
    x : pytree of arrays
        The value.
    name : str
        The name.

    Raises
    ------
    TypeError
        If the name is none.

    Examples
    --------
    >>> import gradkit
    >>> checkpoint_name(1.0, "loss")
    Array(1., dtype=float32)
    """
    if not isinstance(name, str):
        raise TypeError(f"checkpoint_name: the name must be a str, got {name!r} of type {type(name).__name__}")
    return map_leaves(lambda leaf: named(as_array(leaf), name), x)
