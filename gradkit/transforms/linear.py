"""`linear_transpose` and `closure_convert`: functions that are linear, and functions that close over nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradkit.compiler.passes import require_linear
from gradkit.core.array import Array
from gradkit.core.graph import zeros_of
from gradkit.core.promotion import is_inexact
from gradkit.transforms.abstract import abstract_leaf, capture
from gradkit.transforms.arguments import as_arrays, check_callable
from gradkit.transforms.reverse import vjp
from gradkit.tree import flatten, unflatten

__all__ = ["closure_convert", "linear_transpose"]


def linear_transpose(fun: Callable[..., Any], *primals: Any, reduce_axes: Any = ()) -> Callable[[Any], Any]:
    """Make the transpose of a linear function.

    Parameters
    ----------
    fun : callable
        A linear function of arrays or pytrees.
    *primals : pytree
        What its arguments are like: arrays, or anything with a shape and a dtype. Their values do not matter.
    reduce_axes
        Accepted, and without a meaning here.

    Returns
    -------
    callable
        Takes what `fun` returns, and gives a tuple of what it takes.

    Raises
    ------
    NotImplementedError
        If `fun` is not linear, naming an operation that is not.
    TypeError
        If an argument is not of a floating or complex dtype.

    Examples
    --------
    >>> import gradkit
    >>> transpose = gradkit.linear_transpose(lambda x: 3.0 * x, gradkit.ShapeDtypeStruct((), "float32"))
    >>> transpose(2.0)
    (Array(6., dtype=float32),)
    """
    check_callable(fun)
    leaves, treedef = flatten(primals)
    forms = [abstract_leaf(leaf, primals) for leaf in leaves]
    for form in forms:
        if not is_inexact(form.dtype.name):
            raise TypeError(f"linear_transpose only supports float or complex arguments, got {form.dtype.name}")
    graph = capture(lambda *flat: fun(*unflatten(treedef, flat)), list(map(zeros_of, forms)), {}).jaxpr
    require_linear(graph, [True] * len(graph.inputs), "the function given to linear_transpose is not linear")
    _, pullback = vjp(fun, *unflatten(treedef, list(map(zeros_of, forms))))
    return lambda cotangent: pullback(cotangent)


def closure_convert(fun: Callable[..., Any], *example_args: Any) -> tuple[Callable[..., Any], list[Array]]:
    """Make a function that takes as arguments what `fun` closes over and a transform follows.

    A rule of `custom_vjp` cannot differentiate what a function argument closes over; what is converted, and given its
    constants as arguments, it can.

    Parameters
    ----------
    fun : callable
        A function of arrays or pytrees.
    *example_args : pytree
        Arguments for it, or anything with their shapes and dtypes.

    Returns
    -------
    tuple
        ``(converted, constants)``, where ``converted(*args, *constants)`` is ``fun(*args)``.

    Examples
    --------
    >>> import gradkit
    >>> def f(scale):
    ...     converted, constants = gradkit.closure_convert(lambda x: x * scale, 1.0)
    ...     return converted(3.0, *constants)
    >>> gradkit.grad(f)(2.0)
    Array(3., dtype=float32)
    """
    check_callable(fun)
    jaxpr = capture(fun, example_args, {})
    hoisted = [c._node is not None and is_inexact(c.dtype.name) for c in jaxpr.consts]
    constants = [c for c, hoist in zip(jaxpr.consts, hoisted, strict=True) if hoist]
    graph = jaxpr.jaxpr.closed()

    def converted(*args: Any) -> Any:
        split = len(args) - len(constants)
        leaves, treedef = flatten((args[:split], {}))
        if treedef != jaxpr.in_tree:
            raise TypeError(
                f"the arguments to a closure-converted function must have the structure of the example arguments, "
                f"{jaxpr.in_tree}, got {treedef}"
            )
        given = iter(args[split:])
        values = [next(given) if hoist else c for c, hoist in zip(jaxpr.consts, hoisted, strict=True)]
        return unflatten(jaxpr.out_tree, graph.run(as_arrays([*values, *leaves])))

    return converted, constants
