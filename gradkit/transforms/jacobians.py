"""`jacfwd`, `jacrev` and `hessian`: whole matrices of derivatives, by `vmap` over a basis."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gradkit.core import Array
from gradkit.core.array import backend_of_array, place_of_array, wrap
from gradkit.core.assignment import keeping_arguments
from gradkit.core.operands import dtype_name
from gradkit.core.printing import describe
from gradkit.core.promotion import COMPLEX, is_inexact, kind_of
from gradkit.primitives import ones_like, reshape, zeros_like
from gradkit.transforms.arguments import (
    Argnums,
    as_array_leaf,
    check_callable,
    check_pair,
    named_like,
    positions_of,
    replace,
    select,
    without_tape,
)
from gradkit.transforms.float0 import is_float0
from gradkit.transforms.forward import jvp
from gradkit.transforms.reverse import vjp
from gradkit.transforms.vectorize import vmap
from gradkit.tree import flatten, map, unflatten

__all__ = ["hessian", "jacfwd", "jacobian", "jacrev"]


def jacfwd(
    fun: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False
) -> Callable[..., Any]:
    """Make the function that computes the Jacobian of `fun` column by column, in forward mode.

    It costs one pass per element of the argument: the one to take where the result has more elements than the argument.

    Parameters
    ----------
    fun : callable
        A function of arrays or pytrees.
    argnums : int or sequence of int
        Which positional arguments to differentiate with respect to.
    has_aux : bool
        Whether `fun` returns a pair, whose second element is passed through.
    holomorphic : bool
        Whether `fun` is a holomorphic function of complex arguments.

    Returns
    -------
    callable
        Its result has the structure of `fun`'s result, with the argument's structure in place of each leaf; a leaf has
        the shape of the result's leaf followed by that of the argument's.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> gradkit.jacfwd(lambda x: x ** 2)(jnp.asarray([1.0, 2.0]))
    Array([[2., 0.],
           [0., 4.]], dtype=float32)
    """
    check_callable(fun)
    positions = positions_of(argnums)

    @named_like(fun)
    def jacobian_of(*args: Any, **kwargs: Any) -> Any:
        chosen = select(args, positions, argnums)
        leaves, treedef = flatten(chosen)
        leaves = [without_tape(as_array_leaf(leaf, chosen, (args, kwargs))) for leaf in leaves]
        _check_inputs("jacfwd", leaves, holomorphic)

        def of_chosen(*values: Any) -> Any:
            return keeping_arguments(fun)(*replace(args, positions, unflatten(treedef, values)), **kwargs)

        def push(*tangents: Any) -> Any:
            value, tangent, *rest = jvp(of_chosen, tuple(leaves), tangents, has_aux=has_aux)
            return tangent, value, *rest

        if _are_single_numbers(leaves):
            columns = [push(*_unit(leaves, i)) for i in range(len(leaves))]
            _, value, *rest = columns[0]
            _check_outputs("jacfwd", flatten(value)[0], holomorphic)
            result = map(
                lambda *row: _selected_structure(unflatten(treedef, row), argnums), *(column[0] for column in columns)
            )
            return (result, *rest) if has_aux else result
        tangents, value, *rest = vmap(push, out_axes=(-1, None, None) if has_aux else (-1, None))(*basis(leaves))
        _check_outputs("jacfwd", flatten(value)[0], holomorphic)
        tangents = map(_in_numbers, tangents, value)
        result = map(lambda y: _unravel(y, leaves, treedef, argnums, last=True), tangents)
        return (result, *rest) if has_aux else result

    return jacobian_of


def jacrev(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """Make the function that computes the Jacobian of `fun` row by row, in reverse mode.

    It costs one backward pass per element of the result: the one to take where the argument has more elements.

    Parameters
    ----------
    fun, argnums, has_aux, holomorphic
        As for `jacfwd`.
    allow_int : bool
        Whether integer and bool leaves are allowed; their derivative is zero.

    Returns
    -------
    callable
        As for `jacfwd`.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> gradkit.jacrev(lambda x: x ** 2)(jnp.asarray([1.0, 2.0]))
    Array([[2., 0.],
           [0., 4.]], dtype=float32)
    """
    check_callable(fun)
    positions = positions_of(argnums)

    @named_like(fun)
    def jacobian_of(*args: Any, **kwargs: Any) -> Any:
        chosen = select(args, positions, argnums)
        leaves, treedef = flatten(chosen)
        leaves = [without_tape(as_array_leaf(leaf, chosen, (args, kwargs))) for leaf in leaves]
        if not allow_int:
            _check_inputs("jacrev", leaves, holomorphic)

        def of_chosen(*values: Any) -> Any:
            result = keeping_arguments(fun)(*replace(args, positions, unflatten(treedef, values)), **kwargs)
            return check_pair(result) if has_aux else result

        value, pullback, *rest = vjp(of_chosen, *leaves, has_aux=has_aux)
        outputs, out_tree = flatten(value)
        _check_outputs("jacrev", outputs, holomorphic)
        if _are_single_numbers(outputs):
            rows = [pullback(unflatten(out_tree, _unit(outputs, i))) for i in range(len(outputs))]
        else:
            # for each leaf of the arguments, one row per element of the results, all results one after another
            columns = vmap(lambda *seeds: pullback(unflatten(out_tree, seeds)))(*basis(outputs))
            columns = [_in_numbers(column, leaf) for column, leaf in zip(columns, leaves, strict=True)]
            rows = list(zip(*(_split(column, outputs) for column in columns), strict=True))
        per_output = [_selected_structure(unflatten(treedef, row), argnums) for row in rows]
        result = unflatten(out_tree, per_output)
        return (result, *rest) if has_aux else result

    return jacobian_of


jacobian = jacrev


def hessian(
    fun: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False
) -> Callable[..., Any]:
    """Make the function that computes the Hessian of `fun`: forward mode over reverse mode.

    Parameters
    ----------
    fun, argnums, has_aux, holomorphic
        As for `jacfwd`.

    Returns
    -------
    callable
        Its result has the structure of the Jacobian of the Jacobian.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> gradkit.hessian(lambda x: jnp.sum(x ** 3))(jnp.asarray([1.0, 2.0]))
    Array([[ 6.,  0.],
           [ 0., 12.]], dtype=float32)
    """
    return jacfwd(
        jacrev(fun, argnums, has_aux=has_aux, holomorphic=holomorphic),
        argnums,
        has_aux=has_aux,
        holomorphic=holomorphic,
    )


def basis(leaves: list[Array]) -> list[Array]:
    """Return the unit vectors of the space of all leaves together, one after another along the first axis."""
    total = sum(leaf.size for leaf in leaves)
    result, start = [], 0
    for leaf in leaves:
        backend, device = place_of_array(leaf)
        dtype = backend.raw_dtype_named(dtype_name(leaf))
        rows = backend.xp.eye(total, leaf.size, k=-start, dtype=dtype, device=device)
        result.append(reshape(wrap(rows), (total, *leaf.shape)))
        start += leaf.size
    return result


def _in_numbers(derivative: Any, like: Array) -> Any:
    """Return derivatives of whole numbers, of float0, as zeros of their dtype: a Jacobian has numbers in it."""
    if not is_float0(derivative):
        return derivative
    backend, device = place_of_array(like)
    dtype = backend.raw_dtype_named(dtype_name(like))
    return wrap(backend.xp.zeros(derivative.shape, dtype=dtype, device=device))


def _are_single_numbers(leaves: list[Array]) -> bool:
    """Return whether they are where there are no axes, and so no batches."""
    return bool(leaves) and not any(backend_of_array(leaf).has_axes for leaf in leaves)


def _unit(leaves: list[Array], position: int) -> list[Array]:
    """Return 1 at one position among single numbers, and 0 at the others."""
    return [(ones_like if i == position else zeros_like)(leaf) for i, leaf in enumerate(leaves)]


def _unravel(y: Array, leaves: list[Array], treedef: Any, argnums: Argnums, last: bool) -> Any:
    """Cut the last axis, which counts the elements of all arguments, into the arguments."""
    pieces, start = [], 0
    for leaf in leaves:
        piece = y[..., start : start + leaf.size]
        pieces.append(reshape(piece, (*y.shape[:-1], *leaf.shape)))
        start += leaf.size
    return _selected_structure(unflatten(treedef, pieces), argnums)


def _split(rows: Array, outputs: list[Array]) -> list[Array]:
    """Cut the first axis, which counts the elements of all results, into the results."""
    pieces, start = [], 0
    for output in outputs:
        size = math.prod(output.shape)
        pieces.append(reshape(rows[start : start + size], (*output.shape, *rows.shape[1:])))
        start += size
    return pieces


def _selected_structure(chosen: Any, argnums: Argnums) -> Any:
    return chosen[0] if isinstance(argnums, int) else chosen


def _check_inputs(name: str, leaves: list[Array], holomorphic: bool) -> None:
    for leaf in leaves:
        dtype = dtype_name(leaf)
        if holomorphic and kind_of(dtype) != COMPLEX:
            raise TypeError(f"{name} with holomorphic=True requires inputs with complex dtype, but got {dtype}.")
        if name == "jacfwd" and not holomorphic and (kind_of(dtype) == COMPLEX or not is_inexact(dtype)):
            raise TypeError(
                f"{name} requires real-valued inputs (input dtype that is a sub-dtype of np.floating), but got "
                f"{dtype} ({describe(leaf)}). For holomorphic differentiation, pass holomorphic=True; for complex "
                f"inputs otherwise, or integers, use jvp."
            )
        if not is_inexact(dtype):
            raise TypeError(
                f"{name} requires real- or complex-valued inputs (input dtype that is a sub-dtype of np.inexact), but "
                f"got {dtype} ({describe(leaf)}). To differentiate, convert the value to a float."
            )


def _check_outputs(name: str, outputs: list[Array], holomorphic: bool) -> None:
    for output in outputs:
        dtype = dtype_name(output)
        if holomorphic and kind_of(dtype) != COMPLEX:
            raise TypeError(f"{name} with holomorphic=True requires outputs with complex dtype, but got {dtype}.")
        if name == "jacrev" and not holomorphic and (not is_inexact(dtype) or kind_of(dtype) == COMPLEX):
            raise TypeError(
                f"{name} requires real-valued outputs (output dtype that is a sub-dtype of np.floating), but got "
                f"{dtype}."
            )
