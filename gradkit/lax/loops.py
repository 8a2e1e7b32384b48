"""Loops with JAX's meanings.

Where values are at hand they are Python's own, differentiated operation by operation. Under `vmap` each element of the
batch stops by itself. While a graph is captured they become operations of it (`scan_rules`, `while_rules`), whose
parameters are the graphs of the functions.
"""

from __future__ import annotations

import builtins
import operator
from collections.abc import Callable, Sequence
from typing import Any

from gradkit.core.array import Array, is_unseen, weak_type
from gradkit.core.assignment import keeping_arguments
from gradkit.core.graph import abstract_like
from gradkit.core.node import capturing
from gradkit.core.operands import cast, cast_to_fit, dtype_name, new_array, note_weakness, strong
from gradkit.core.promotion import promote, require_room_for
from gradkit.lax.compiled_loops import may_be_compiled
from gradkit.lax.process_ends import together
from gradkit.lax.scan_rules import scan_flat
from gradkit.lax.while_rules import while_flat
from gradkit.primitives import concat, less
from gradkit.primitives.new_arrays import zeros
from gradkit.transforms.abstract import ShapeDtypeStruct, eval_shape
from gradkit.transforms.arguments import as_array, as_arrays, check_callable
from gradkit.transforms.vectorize import vmap
from gradkit.tree import flatten, structure, unflatten

__all__ = ["fori_loop", "map", "scan", "while_loop"]


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
    _split_transpose: bool = False,
) -> tuple[Any, Any]:
    """Run a function over the first axis of arrays, carrying a value along.

    Parameters
    ----------
    f : callable
        ``f(carry, x) -> (carry, y)``.
    init : pytree
        The first carry. The function has to return one of the same structure, shapes and dtypes.
    xs : pytree of arrays, optional
        What is run over.
    length : int, optional
        The number of steps; needed where `xs` has no arrays.
    reverse : bool
        Whether to run from the last element to the first.
    unroll, _split_transpose
        Accepted; they are about JAX's compiler.

    Returns
    -------
    tuple
        The last carry, and the ys of all steps, stacked along a new first axis.

    Raises
    ------
    TypeError
        If the carry changes its type.
    ValueError
        If the arrays' first axes differ in size.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> gradkit.lax.scan(lambda total, x: (total + x, total), 0.0, jnp.asarray([1.0, 2.0, 3.0]))
    (Array(6., dtype=float32), Array([0., 1., 3.], dtype=float32))
    """
    check_callable(f)
    f = keeping_arguments(f)
    x_leaves, x_tree = flatten(xs)
    carry_leaves, carry_tree = flatten(init)
    x_leaves, carry = as_arrays(x_leaves, carry_leaves), as_arrays(carry_leaves, x_leaves)
    steps = _length(x_leaves, length)
    weak = [_gives_way_as(leaf) for leaf in carry_leaves]

    def step(values: Sequence[Any], elements: Sequence[Any]) -> tuple[list[Any], list[Any], Any]:
        pair = f(unflatten(carry_tree, values), unflatten(x_tree, elements))
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(f"scan body output must be a pair, got {pair!r}.")
        new, new_tree = flatten(pair[0])
        if new_tree != carry_tree:
            raise TypeError(
                "scan body function carry input and carry output must have the same pytree structure, but they differ: "
                f"the input carry has structure {carry_tree}, the output carry {new_tree}."
            )
        ys, y_tree = flatten(pair[1])
        like = (values, elements)
        return as_arrays(new, like), as_arrays(ys, like), y_tree

    carry = (
        _settle(carry_leaves, carry, weak, lambda values: eval_shape_of(step, values, x_leaves)) if any(weak) else carry
    )
    if not steps:
        shapes, y_tree = _shapes_of_ys(step, carry, x_leaves)
        return unflatten(carry_tree, carry), unflatten(y_tree, [_no_rows(shape) for shape in shapes])
    trees: list[Any] = []

    def checked(values: Sequence[Any], elements: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        new, ys, tree = step(values, elements)
        _check_carry(values, new)
        trees[:] = [tree]
        return new, ys

    with together("scan"):
        outs = scan_flat(checked, carry, x_leaves, steps, reverse)
    return unflatten(carry_tree, outs[: len(carry)]), unflatten(trees[0], outs[len(carry) :])


def eval_shape_of(step: Callable[..., Any], carry: Sequence[Any], x_leaves: Sequence[Any]) -> list[Any]:
    """Return the shapes and dtypes of the carry after a step."""
    elements = [_element(x) for x in x_leaves]
    return list(eval_shape(lambda c, x: step(c, x)[0], list(carry), elements))


def _element(x: Array) -> ShapeDtypeStruct:
    return ShapeDtypeStruct(x.shape[1:], x.dtype)


def _shapes_of_ys(step: Callable[..., Any], carry: Sequence[Any], x_leaves: Sequence[Any]) -> tuple[list[Any], Any]:
    trees: list[Any] = []

    def of_step(values: Any, elements: Any) -> Any:
        _, ys, tree = step(values, elements)
        trees.append(tree)
        return ys

    return list(eval_shape(of_step, list(carry), [_element(x) for x in x_leaves])), trees[0]


def _no_rows(shape: Any) -> Array:
    return zeros((0, *shape.shape), dtype=shape.dtype)


def _length(x_leaves: Sequence[Array], length: int | None) -> int:
    if any(x.ndim == 0 for x in x_leaves):
        raise ValueError("scan got value with no leading axis to scan over: an array of no axes in xs.")
    sizes = {x.shape[0] for x in x_leaves}
    if length is not None:
        length = operator.index(length)
        if any(size != length for size in sizes):
            raise ValueError(
                f"scan got `length` argument of {length} which disagrees with leading axis sizes {sorted(sizes)}."
            )
        return length
    if len(sizes) > 1:
        raise ValueError(f"scan got values with different leading axis sizes: {sorted(sizes)}.")
    if not sizes:
        raise ValueError("scan got no values to scan over and `length` not provided.")
    return int(sizes.pop())


def _gives_way_as(leaf: Any) -> type | None:
    """Return the type of a Python number whose dtype is another's beside it; a truth value has the dtype of all."""
    kind = weak_type(leaf)
    return None if kind is bool else kind


def _settle(
    leaves: Sequence[Any],
    values: list[Array],
    weak: Sequence[type | None],
    after: Callable[[list[Any]], list[Any]],
) -> list[Array]:
    """Convert a carry's Python numbers to the dtype that the function gives for them, which has to hold them."""
    try:
        found = after([v if kind is None else abstract_like(v, kind) for v, kind in zip(values, weak, strict=True)])
    except TypeError:
        return [strong(value) for value in values]  # it needs values; the check in the loop has the last word
    if any(type(value) is Array and kind is not None for value, kind in zip(values, weak, strict=True)):
        note_weakness()
    wanted = [
        dtype_name(value) if kind is None else promote([new.dtype.name], [kind])
        for value, kind, new in zip(values, weak, found, strict=True)
    ]
    for leaf, dtype in zip(leaves, wanted, strict=True):
        require_room_for(dtype, leaf, "a loop's carry")
    return [
        strong(value) if dtype_name(value) == dtype else cast_to_fit(value, dtype)
        for value, dtype in zip(values, wanted, strict=True)
    ]


def _check_carry(before: Sequence[Any], after: Sequence[Any], what: str = "scan body function carry") -> None:
    for i, (old, new) in enumerate(zip(before, after, strict=True)):
        if old.shape != new.shape or old.dtype != new.dtype:
            raise TypeError(
                _carry_error(
                    f"leaf {i} of the input carry is {old.dtype.name}{list(old.shape)}, of the output carry "
                    f"{new.dtype.name}{list(new.shape)}",
                    what,
                )
            )


def _carry_error(difference: str, what: str = "scan body function carry") -> str:
    return (
        f"{what} input and {what.rpartition(' ')[2]} output must have equal types (e.g. shapes and dtypes of arrays), "
        f"but they differ: {difference}."
    )


def while_loop(cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], init_val: Any) -> Any:
    """Run `body_fun` as long as `cond_fun` holds of its result.

    Parameters
    ----------
    cond_fun : callable
        ``cond_fun(value) -> bool``.
    body_fun : callable
        ``body_fun(value) -> value``, of the same structure, shapes and dtypes.
    init_val : pytree
        The first value.

    Returns
    -------
    pytree
        The value of which `cond_fun` no longer holds. Under `vmap` each element stops by itself.

    Examples
    --------
    >>> import gradkit
    >>> gradkit.lax.while_loop(lambda x: x < 100.0, lambda x: x * 2.0, 3.0)
    Array(192., dtype=float32)
    """
    cond_fun, body_fun = keeping_arguments(cond_fun), keeping_arguments(body_fun)
    leaves, treedef = flatten(init_val)
    weak = [_gives_way_as(leaf) for leaf in leaves]
    values = as_arrays(leaves)

    def body(flat: Sequence[Any]) -> list[Any]:
        new, new_tree = flatten(body_fun(unflatten(treedef, flat)))
        if new_tree != treedef:
            raise TypeError(
                f"while_loop body function carry input and carry output must have the same pytree structure, but they "
                f"differ: {treedef} and {new_tree}."
            )
        return as_arrays(new, flat)

    def test(flat: Sequence[Any]) -> Array:
        result = as_array(cond_fun(unflatten(treedef, flat)))
        if result.shape != () or dtype_name(result) != "bool":
            raise TypeError(
                f"while_loop cond_fun must return a boolean scalar, but got {dtype_name(result)}{list(result.shape)}."
            )
        return result

    if any(weak):
        values = _settle(leaves, values, weak, lambda flat: list(eval_shape(body, flat)))

    def checked(flat: Sequence[Any]) -> list[Any]:
        new = body(flat)
        _check_carry(flat, new, "while_loop body function carry")
        return new

    with together("while_loop"):
        return unflatten(treedef, while_flat(test, checked, values))


def fori_loop(
    lower: Any, upper: Any, body_fun: Callable[[Any, Any], Any], init_val: Any, *, unroll: int | bool | None = None
) -> Any:
    """Run ``value = body_fun(i, value)`` for i from `lower` to below `upper`.

    Parameters
    ----------
    lower, upper : int or Array of int
        The bounds, of one dtype; a Python number may stand beside a signed integer of any.
    body_fun : callable
        ``body_fun(i, value) -> value``, of the same structure, shapes and dtypes.
    init_val : pytree
        The first value.
    unroll : int or bool, optional
        Accepted; it is about JAX's compiler.

    Raises
    ------
    TypeError
        If the bounds are no integers, or are of two dtypes, or the value changes its type.

    Examples
    --------
    >>> import gradkit
    >>> gradkit.lax.fori_loop(0, 5, lambda i, total: total + i, 0)
    Array(10, dtype=int32)
    """
    body_fun = keeping_arguments(body_fun)
    leaves, treedef = flatten(init_val)
    first, last = _bounds(lower, upper, leaves)
    if is_unseen(first) or is_unseen(last):
        return while_loop(
            lambda state: less(state[0], state[1]),
            lambda state: (state[0] + 1, state[1], body_fun(state[0], state[2])),
            (first, last, init_val),
        )[2]
    steps = builtins.max(int(last) - int(first), 0)
    first = new_array(int(first), like=first)  # steps that are known are counted in new numbers' dtype
    # The number of steps is known: a scan, which has a derivative in reverse mode as well.
    if capturing() or may_be_compiled(as_arrays(leaves, first), steps):
        return scan(lambda pair, _: ((pair[0] + 1, body_fun(*pair)), None), (first, init_val), None, steps)[0][1]
    carry, weak = as_arrays(leaves, first), [_gives_way_as(leaf) for leaf in leaves]

    def step(i: Array, values: Sequence[Any]) -> list[Any]:
        new, new_tree = flatten(body_fun(i, unflatten(treedef, values)))
        if new_tree != treedef:
            raise TypeError(
                f"fori_loop body function carry input and carry output must have the same pytree structure, but they "
                f"differ: {treedef} and {new_tree}."
            )
        return as_arrays(new, values)

    if any(weak):
        carry = _settle(leaves, carry, weak, lambda values: list(eval_shape(step, first, values)))
    with together("fori_loop"):
        for i in range(int(first), int(last)):
            new = step(new_array(i, like=first), carry)
            _check_carry(carry, new, "fori_loop body function carry")
            carry = new
    return unflatten(treedef, carry)


def _bounds(lower: Any, upper: Any, carry: Sequence[Any]) -> tuple[Array, Array]:
    """Return a loop's bounds as Arrays of one dtype: that of the other where one of them is a Python number."""
    first, last = as_arrays([lower, upper], carry)
    names = dtype_name(first), dtype_name(last)
    if not all(name.startswith(("int", "uint")) for name in names):
        raise TypeError(
            f"lower and upper arguments to fori_loop must have integer type, got {first.dtype} and {last.dtype}"
        )
    if names[0] == names[1]:
        return first, last
    gives_way = weak_type(lower) is not None, weak_type(upper) is not None
    # Counting in a dtype that has no room for the last number would never end.
    if gives_way[0] == gives_way[1] or any(name.startswith("uint") for name in names):
        raise TypeError(
            f"lower and upper arguments to fori_loop must have equal types, got {names[0]} and {names[1]}. Convert one "
            f"with astype."
        )
    require_room_for(names[1] if gives_way[0] else names[0], lower if gives_way[0] else upper, "fori_loop")
    return (cast(first, names[1]), last) if gives_way[0] else (first, cast(last, names[0]))


def map(f: Callable[[Any], Any], xs: Any, *, batch_size: int | None = None) -> Any:
    """Apply a function to one element of the first axis after another, and stack the results.

    Parameters
    ----------
    f : callable
        A function of one element.
    xs : pytree of arrays
        Arrays whose first axes have one size.
    batch_size : int, optional
        How many elements to take at a time, by `vmap`.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> gradkit.lax.map(lambda x: x ** 2, jnp.arange(3))
    Array([0, 1, 4], dtype=int32)
    """
    if batch_size is None:
        return scan(lambda _, x: (None, f(x)), None, xs)[1]
    leaves, treedef = flatten(xs)
    size = _length(as_arrays(leaves), None)
    if not size:
        return map(f, xs)
    pieces = [
        vmap(f)(unflatten(treedef, [leaf[start : start + batch_size] for leaf in leaves]))
        for start in range(0, size, batch_size)
    ]
    columns = zip(*(flatten(piece)[0] for piece in pieces), strict=True)
    return unflatten(structure(pieces[0]), [concat(column, axis=0) for column in columns])
