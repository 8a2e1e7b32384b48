"""`checkpoint`: a function whose intermediate values are computed again in the backward pass instead of kept."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from gradkit.core.functions import call_checkpointed
from gradkit.transforms.arguments import as_array, as_array_leaf, check_callable, without_tape
from gradkit.tree import flatten, unflatten

__all__ = ["checkpoint", "checkpoint_name", "checkpoint_policies", "remat"]


def checkpoint(
    fun: Callable[..., Any] | None = None,
    *,
    prevent_cse: bool = True,
    policy: Callable[..., bool] | None = None,
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
        One of `checkpoint_policies`. With ``everything_saveable`` all values are kept; with any other none are.
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
    """
    if fun is None:
        return functools.partial(checkpoint, prevent_cse=prevent_cse, policy=policy, static_argnums=static_argnums)
    check_callable(fun)
    function = fun
    static = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)
    if policy is everything_saveable:
        return fun

    @functools.wraps(fun)
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
            return [as_array(out) for out in outs]

        outs = call_checkpointed(flat_function, arrays)
        return unflatten(out_tree[0], outs)

    return checkpointed


remat = checkpoint


def checkpoint_name(x: Any, name: str) -> Any:
    """Return `x`: names matter to policies that keep some values, of which there are none here."""
    return x


def everything_saveable(*_: Any, **__: Any) -> bool:
    """Keep every value."""
    return True


def nothing_saveable(*_: Any, **__: Any) -> bool:
    """Keep no value: what `checkpoint` does without a policy."""
    return False


class CheckpointPolicies:
    """JAX's policies by name. All but ``everything_saveable`` recompute everything here."""

    everything_saveable = staticmethod(everything_saveable)
    nothing_saveable = staticmethod(nothing_saveable)
    dots_saveable = staticmethod(nothing_saveable)
    checkpoint_dots = staticmethod(nothing_saveable)
    dots_with_no_batch_dims_saveable = staticmethod(nothing_saveable)
    checkpoint_dots_with_no_batch_dims = staticmethod(nothing_saveable)

    @staticmethod
    def save_only_these_names(*names: str) -> Callable[..., bool]:
        """Recompute everything."""
        return nothing_saveable

    save_any_names_but_these = save_anything_except_these_names = save_only_these_names


checkpoint_policies = CheckpointPolicies
