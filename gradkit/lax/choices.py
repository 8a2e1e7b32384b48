"""Choices with JAX's meanings.

Where the choice is known one function runs. Under `vmap` a choice that differs between elements of the batch computes
all and selects. While a graph is captured a choice becomes an operation of it (`choice_rules`), whose parameters are
the functions' graphs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from gradkit.core.array import Array, is_unseen
from gradkit.core.assignment import keeping_arguments
from gradkit.core.operands import cast, dtype_name
from gradkit.lax.choice_rules import choose_flat
from gradkit.lax.process_ends import together
from gradkit.primitives import astype, clip
from gradkit.processes import axes_in_scope
from gradkit.transforms.arguments import array_among, as_array, as_arrays
from gradkit.tree import flatten, unflatten

__all__ = ["cond", "switch"]


def cond(pred: Any, *operands: Any, **options: Any) -> Any:
    """Apply one function or the other: ``cond(pred, true_fun, false_fun, *operands)``.

    Parameters
    ----------
    pred : bool or Array, shape ()
        Which function to apply. Numbers are true where they are not 0.
    true_fun, false_fun : callable
        Functions of the operands, with results of one structure, shapes and dtypes.
    *operands : pytree
        Their arguments.

    Returns
    -------
    pytree
        The result of the one that is chosen. Only that one runs, unless the choice differs between elements under
        `vmap`: then both do, and the derivative of the other one (NaN, say) goes nowhere, by an operand or by what the
        function closes over.

    Examples
    --------
    >>> import gradkit
    >>> gradkit.lax.cond(True, lambda x: x + 1.0, lambda x: x - 1.0, 5.0)
    Array(6., dtype=float32)
    """
    true_fun, false_fun, arguments = _branches(operands, options)
    condition = as_array(pred, array_among(arguments))
    if condition.shape != ():
        raise TypeError(f"Pred must be a scalar, got {pred!r} of shape {condition.shape}.")
    if dtype_name(condition) != "bool":
        condition = cast(condition, "bool")
    return _choose(astype(condition, "int32"), [false_fun, true_fun], arguments, "cond")


def _branches(operands: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, Any, tuple[Any, ...]]:
    """Return the two functions and their arguments, from either of `cond`'s forms."""
    options.pop("linear", None)
    if "true_fun" in options:
        return options["true_fun"], options["false_fun"], operands
    if "operand" in options:
        return operands[0], operands[1], (options["operand"],)
    if len(operands) == 4 and callable(operands[1]) and callable(operands[3]) and not callable(operands[0]):
        # The form cond(pred, true_operand, true_fun, false_operand, false_fun).
        true_operand, true_fun, false_operand, false_fun = operands
        return (lambda pair: true_fun(pair[0])), (lambda pair: false_fun(pair[1])), ((true_operand, false_operand),)
    if len(operands) < 2 or not (callable(operands[0]) and callable(operands[1])):
        raise TypeError("lax.cond: true_fun and false_fun arguments should be callable.")
    return operands[0], operands[1], operands[2:]


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """Apply one of several functions.

    Parameters
    ----------
    index : int or Array of int, shape ()
        Which one; beyond the ends the first or the last.
    branches : sequence of callable
        Functions of the operands, with results of one structure, shapes and dtypes.
    *operands : pytree
        Their arguments.

    Examples
    --------
    >>> import gradkit
    >>> gradkit.lax.switch(1, [lambda x: x, lambda x: -x], 2.0)
    Array(-2., dtype=float32)
    """
    if not all(callable(branch) for branch in branches):
        raise TypeError("lax.switch: branches argument should be a sequence of callables.")
    if not branches:
        raise ValueError("Empty branch sequence")
    position = as_array(index, array_among(operands))
    if position.shape != ():
        raise TypeError(f"Branch index must be scalar, got {index!r} of shape {position.shape}.")
    if not dtype_name(position).startswith(("int", "uint")):
        raise TypeError(f"Index type must be an integer, got {position.dtype}.")
    if position.dtype.itemsize < 4:  # which may not have a number for each branch
        position = cast(position, "int32")
    return _choose(clip(position, 0, len(branches) - 1), list(branches), operands, "switch")


def _choose(index: Array, branches: list[Callable[..., Any]], operands: tuple[Any, ...], what: str) -> Any:
    branches = [_to_its_end(keeping_arguments(branch), what) for branch in branches]
    if not is_unseen(index):
        return _as_arrays(branches[int(index)](*operands), operands)
    leaves, in_tree = flatten(operands)
    trees: list[Any] = []

    def flat_branch(branch: Callable[..., Any], flat: list[Any]) -> list[Any]:
        outs, tree = flatten(_as_arrays(branch(*unflatten(in_tree, flat)), (flat, index)))
        trees.append(tree)
        return outs

    functions = [functools.partial(flat_branch, branch) for branch in branches]
    outs = choose_flat(index, functions, as_arrays(leaves, index), lambda rs: _check_branches(trees, rs, what))
    return unflatten(trees[0], outs)


def _to_its_end(branch: Callable[..., Any], what: str) -> Callable[..., Any]:
    """Return a branch at whose end the processes come together that have met in it."""
    if not axes_in_scope():
        return branch

    def run(*operands: Any) -> Any:
        with together(what):
            return branch(*operands)

    return run


def _as_arrays(tree: Any, others: Any) -> Any:
    leaves, treedef = flatten(tree)
    return unflatten(treedef, as_arrays(leaves, others))


def _check_branches(trees: list[Any], leaves: list[list[Any]], what: str) -> None:
    names = ("false_fun", "true_fun") if what == "cond" else tuple(f"branch {i}" for i in range(len(trees)))
    for i in range(1, len(trees)):
        if trees[i] != trees[0]:
            raise TypeError(
                f"{names[i]} and {names[0]} output must have same type structure, got {trees[i]} and {trees[0]}."
            )
        for a, b in zip(leaves[i], leaves[0], strict=True):
            if a.shape != b.shape or a.dtype != b.dtype:
                raise TypeError(
                    f"{what} branches must have equal output types but they differ: {names[i]} gives "
                    f"{a.dtype.name}{list(a.shape)}, {names[0]} gives {b.dtype.name}{list(b.shape)}."
                )
