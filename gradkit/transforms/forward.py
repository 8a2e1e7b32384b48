"""`jvp` and `linearize`: forward mode over functions of pytrees, with JAX's signatures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradkit.core import Array, ReverseTrace
from gradkit.core.array import dtype_as_stored, wrap
from gradkit.core.binding import PYTHON_NUMBERS
from gradkit.core.forward import Dual, ForwardTrace
from gradkit.core.node import Leaf
from gradkit.core.operands import cast, dtype_name
from gradkit.core.printing import describe
from gradkit.core.promotion import is_inexact
from gradkit.errors import NoReverseModeError, ShapeError
from gradkit.primitives import broadcast_to, zeros_like
from gradkit.transforms.arguments import (
    as_array,
    as_array_leaf,
    as_arrays,
    check_callable,
    lower,
    node_at,
    run_under,
    without_tape,
)
from gradkit.transforms.float0 import is_float0, zeros_of_float0
from gradkit.transforms.reverse import vjp
from gradkit.tree import flatten, unflatten

__all__ = ["jvp", "linearize"]


def jvp(fun: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False) -> Any:
    """Compute a function and its directional derivative: the product of its Jacobian with a vector.

    Parameters
    ----------
    fun : callable
        A function of arrays or pytrees that returns an array or pytree (with `has_aux`, a pair of it and anything).
    primals : tuple or list
        The arguments.
    tangents : tuple or list
        The direction, of the structure, shapes and dtypes of `primals`. (For integers: arrays of float0, or None.)
    has_aux : bool
        Whether `fun` returns auxiliary data beside its result.

    Returns
    -------
    tuple
        ``(result, tangent)``, or ``(result, tangent, auxiliary)``.

    Raises
    ------
    TypeError
        If the primals and tangents differ in structure or dtype.
    ValueError
        If they differ in shape.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> gradkit.jvp(jnp.sin, (0.0,), (2.0,))
    (Array(0., dtype=float32), Array(2., dtype=float32))
    """
    check_callable(fun)
    values, treedef = _flat_pair(primals, tangents)
    trace = ForwardTrace()
    arguments = [_argument(trace, primal, tangent, primals) for primal, tangent in values]
    result, auxiliary = run_under(trace, fun, unflatten(treedef, arguments), has_aux)
    outputs, out_tree = flatten(result)
    outputs = as_arrays(outputs, arguments)
    value = unflatten(out_tree, [lower(output, trace) for output in outputs])
    tangent = unflatten(out_tree, [tangent_of(output, trace) for output in outputs])
    return (value, tangent, *auxiliary)


def tangent_of(output: Array, trace: ForwardTrace) -> Any:
    """Return the tangent of a result; zeros where it does not depend on the arguments."""
    node = node_at(output, trace)
    if isinstance(node, Dual):
        return node.tangent if node.tangent.shape == output.shape else broadcast_to(node.tangent, output.shape)
    return zeros_like(output) if is_inexact(dtype_name(output)) else zeros_of_float0(output.shape)


def _flat_pair(primals: Any, tangents: Any) -> tuple[list[tuple[Any, Any]], Any]:
    if not isinstance(primals, tuple | list) or not isinstance(tangents, tuple | list):
        raise TypeError(
            f"primal and tangent arguments to jvp must be tuples or lists; found {type(primals).__name__} and "
            f"{type(tangents).__name__}. For one argument: jvp(f, (x,), (t,))."
        )
    values, treedef = flatten(tuple(primals), is_leaf=lambda x: x is None)
    directions, directions_tree = flatten(tuple(tangents), is_leaf=lambda x: x is None)
    if directions_tree != treedef:
        raise TypeError(
            f"primal and tangent arguments to jvp must have the same tree structure; primals have tree structure "
            f"{treedef} whereas tangents have tree structure {directions_tree}."
        )
    return list(zip(values, directions, strict=True)), treedef


def _argument(trace: ForwardTrace, primal: Any, tangent: Any, primals: Any) -> Any:
    if primal is None:
        return None
    array = without_tape(as_array_leaf(primal, primals))
    name = dtype_name(array)
    if not is_inexact(name):
        if tangent is not None and not is_float0(tangent):
            raise TypeError(
                f"primal and tangent arguments to jvp do not match: the primal is {describe(array)}, whose tangent "
                f"must have dtype float0 (numpy.zeros(shape, gradkit.dtypes.float0)) or be None, got {tangent!r}. To "
                f"differentiate, convert the primal to a float."
            )
        return array
    if tangent is None:
        raise TypeError(f"the tangent of {describe(array)} is None; expected an array like it.")
    direction = as_array_leaf(tangent, array, primals)
    if type(tangent) in PYTHON_NUMBERS and is_inexact(dtype_name(direction)):
        direction = cast(direction, name)
    if dtype_name(direction) != name:
        raise TypeError(
            f"primal and tangent arguments to jvp do not match; dtypes must be equal. Got primal dtype {name} and so "
            f"expected tangent dtype {name}, but got tangent dtype {dtype_name(direction)} instead."
        )
    if direction.shape != array.shape:
        raise ValueError(
            f"jvp called with different primal and tangent shapes; Got primal shape {array.shape} and tangent shape as "
            f"{direction.shape}"
        )
    return trace.wrap(array, direction)


def linearize(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """Compute a function, and the linear function that is its derivative at that point.

    What `jvp` computes, taken apart: the function itself runs once, and its derivative can then be applied to any
    number of tangents.

    Parameters
    ----------
    fun : callable
        A function of arrays or pytrees.
    *primals : pytree
        The arguments.
    has_aux : bool
        Whether `fun` returns auxiliary data beside its result.

    Returns
    -------
    tuple
        ``(result, f_jvp)``, or ``(result, f_jvp, auxiliary)``; ``f_jvp(*tangents)`` gives the tangent of the result.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> y, f_jvp = gradkit.linearize(jnp.sin, 0.0)
    >>> f_jvp(2.0)
    Array(2., dtype=float32)
    """
    # The pullback is linear, so its transpose is the derivative. It is recorded once, on a cotangent of zeros.
    value, pullback, *auxiliary = vjp(fun, *primals, has_aux=has_aux)
    outputs, out_tree = flatten(value)
    trace = ReverseTrace()
    seeds = [_seed(trace, output) for output in outputs]
    try:
        shares = pullback(unflatten(out_tree, seeds))
    except NoReverseModeError:
        return (value, _forward_at(fun, primals, has_aux), *auxiliary)
    finally:
        trace.end()
    roots = [node_at(share, trace) for share in flatten(shares)[0]]

    def f_jvp(*tangents: Any) -> Any:
        directions = _directions(tangents, primals)
        pairs = [(root, t) for root, t in zip(roots, directions, strict=True) if root is not None]
        found = trace.backward(pairs, retain=True)
        return unflatten(
            out_tree, [_output_tangent(seed, output, found) for seed, output in zip(seeds, outputs, strict=True)]
        )

    return (value, f_jvp, *auxiliary)


def _forward_at(fun: Callable[..., Any], primals: tuple[Any, ...], has_aux: bool) -> Callable[..., Any]:
    """Return the derivative at a point as forward mode, which runs the function again for each tangent."""

    def f_jvp(*tangents: Any) -> Any:
        directions = unflatten(flatten(primals)[1], _directions(tangents, primals))
        return jvp(fun, primals, directions, has_aux)[1]

    return f_jvp


def _directions(tangents: tuple[Any, ...], primals: tuple[Any, ...]) -> list[Any]:
    """Return the leaves of tangents; None for those of integers."""
    leaves, expected = flatten(primals)
    values, treedef = flatten(tangents)
    if treedef != expected:
        raise TypeError(
            f"linearized function called with tangents whose tree structure {treedef} differs from that of the "
            f"arguments, {expected}"
        )
    return [_tangent_like(tangent, leaf) for tangent, leaf in zip(values, as_arrays(leaves), strict=True)]


def _seed(trace: ReverseTrace, output: Array) -> Array:
    zeros = zeros_like(output)
    return (
        wrap(zeros._value, Leaf(trace, zeros.shape, dtype_as_stored(zeros))) if is_inexact(dtype_name(zeros)) else zeros
    )


def _tangent_like(tangent: Any, like: Array) -> Any:
    if is_float0(tangent) and tangent.shape == like.shape and not is_inexact(dtype_name(like)):
        return None
    array = as_array(tangent, like)
    if type(tangent) in PYTHON_NUMBERS:
        array = cast(array, dtype_name(like))
    if array.shape != like.shape or dtype_name(array) != dtype_name(like):
        raise ShapeError(
            f"linearized function called on tangent values inconsistent with the original primal values: got "
            f"{describe(array)}, expected {describe(like)}"
        )
    return array._value if array._node is None else array


def _output_tangent(seed: Array, output: Array, found: Any) -> Any:
    if not is_inexact(dtype_name(output)):
        return zeros_of_float0(output.shape)
    tangent = found.get(seed._node)
    return zeros_like(output) if tangent is None else as_array(tangent)
