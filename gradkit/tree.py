"""Pytrees, under the names of `jax.tree`: nested containers of arrays, flattened and rebuilt by optree.

Dictionaries, lists, tuples, named tuples, None and every class registered with `gradkit.tree_util` are containers; all
else is a leaf.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import optree

from gradkit.pytrees.containers import NAMESPACE
from gradkit.pytrees.keys import KeyPath, key_of, keystr
from gradkit.pytrees.mismatch import first_mismatch, one_level
from gradkit.pytrees.registry import SHORTCUTS, register, static
from gradkit.pytrees.structure import PyTreeDef, of_leaves

__all__ = [
    "PyTreeDef", "all", "broadcast", "broadcast_prefix", "flatten", "flatten_with_path", "keystr", "leaves",
    "leaves_with_path", "map", "map_with_path", "reduce", "reduce_associative", "register", "static", "structure",
    "transpose", "unflatten",
]  # fmt: skip

IsLeaf = Callable[..., bool] | None

_flatten = optree.tree_flatten
_python_all, _python_map = all, map
_NOTHING = object()


def flatten(tree: Any, is_leaf: IsLeaf = None) -> tuple[list[Any], PyTreeDef]:
    """Return the leaves of a tree in order, and its structure.

    Examples
    --------
    >>> flatten({"b": 2, "a": [1, None]})
    ([1, 2], PyTreeDef({'a': [*, None], 'b': *}))
    """
    shortcut = SHORTCUTS.get(type(tree))
    if shortcut is not None and is_leaf is None:
        known = shortcut(tree)
        if known is not None:
            return known
    leaves, spec = _flatten(tree, is_leaf, namespace=NAMESPACE)
    return leaves, PyTreeDef(spec)


def unflatten(treedef: PyTreeDef, leaves: Iterable[Any]) -> Any:
    """Build a tree from its structure and leaves.

    Raises
    ------
    ValueError
        If there are too few leaves, or too many.
    """
    try:
        return treedef.spec.unflatten(leaves)
    except ValueError as error:
        raise of_leaves(error) from None


def leaves(tree: Any, is_leaf: IsLeaf = None) -> list[Any]:
    """Return the leaves of a tree in order."""
    return optree.tree_leaves(tree, is_leaf, namespace=NAMESPACE)


def structure(tree: Any, is_leaf: IsLeaf = None) -> PyTreeDef:
    """Return the structure of a tree."""
    return PyTreeDef(optree.tree_structure(tree, is_leaf, namespace=NAMESPACE))


def map(f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: IsLeaf = None) -> Any:
    """Apply a function to the leaves of one tree, or to corresponding leaves of several.

    Parameters
    ----------
    f : callable
        Takes one leaf of each tree.
    tree, *rest : pytree
        The trees. `tree`'s structure must be a prefix of the others'.
    is_leaf : callable, optional
        What to take as a leaf although it is a container.

    Raises
    ------
    TreeMismatchError
        If the structures do not match.

    Examples
    --------
    >>> map(lambda p, g: p - g, {"w": 3.0}, {"w": 1.0})
    {'w': 2.0}
    """
    values, spec = _flatten(tree, is_leaf, namespace=NAMESPACE)
    if not rest:
        return spec.unflatten(_python_map(f, values))
    columns = _columns(spec, tree, rest, is_leaf, "tree_map tree")
    return spec.unflatten([f(*row) for row in zip(values, *columns, strict=True)])


def map_with_path(
    f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: IsLeaf = None, is_leaf_takes_path: bool = False
) -> Any:
    """Apply ``f(path, leaf, *other_leaves)`` to the leaves of one tree, or to corresponding leaves of several.

    Examples
    --------
    >>> map_with_path(lambda path, leaf: keystr(path), {"w": [1, 2]})
    {'w': ["['w'][0]", "['w'][1]"]}
    """
    pairs, treedef = flatten_with_path(tree, is_leaf, is_leaf_takes_path)
    columns = _columns(treedef.spec, tree, rest, is_leaf, "tree_map_with_path tree")
    return treedef.unflatten([f(*pair, *row) for pair, *row in zip(pairs, *columns, strict=True)])


def _columns(spec: optree.PyTreeSpec, tree: Any, rest: Iterable[Any], is_leaf: IsLeaf, name: str) -> list[list[Any]]:
    columns = []
    for other in rest:
        try:
            columns.append(spec.flatten_up_to(other))
        except ValueError:
            error = first_mismatch(tree, other, name, is_leaf)
            if error is None:
                raise
            raise error from None
    return columns


def reduce(function: Callable[[Any, Any], Any], tree: Any, initializer: Any = _NOTHING, is_leaf: IsLeaf = None) -> Any:
    """Combine the leaves of a tree from left to right.

    Examples
    --------
    >>> import operator
    >>> reduce(operator.add, {"a": 1, "b": [2, 3]})
    6
    """
    values = leaves(tree, is_leaf)
    return (
        functools.reduce(function, values)
        if initializer is _NOTHING
        else functools.reduce(function, values, initializer)
    )


def reduce_associative(
    operation: Callable[[Any, Any], Any], tree: Any, *, identity: Any = _NOTHING, is_leaf: IsLeaf = None
) -> Any:
    """Combine the leaves of a tree pairwise, by halves: `operation` must be associative.

    Raises
    ------
    TypeError
        If there are no leaves, and no `identity`.
    """
    values = leaves(tree, is_leaf)
    if not values:
        if identity is _NOTHING:
            raise TypeError("Must specify identity for parallel reduction of empty sequence.")
        return identity

    def combined(start: int, stop: int) -> Any:
        if stop - start == 1:
            return values[start]
        middle = (start + stop) // 2
        return operation(combined(start, middle), combined(middle, stop))

    return combined(0, len(values))


def all(tree: Any, *, is_leaf: IsLeaf = None) -> bool:
    """Return whether every leaf is true."""
    return _python_all(leaves(tree, is_leaf))


def transpose(outer_treedef: PyTreeDef, inner_treedef: PyTreeDef | None, pytree_to_transpose: Any) -> Any:
    """Turn a tree of trees inside out.

    Parameters
    ----------
    outer_treedef : PyTreeDef
        The structure of the tree.
    inner_treedef : PyTreeDef or None
        The structure of each tree in it; None: that of the first.
    pytree_to_transpose : pytree
        The tree.

    Raises
    ------
    TypeError
        If the tree has another structure.

    Examples
    --------
    >>> transpose(structure([0, 0]), None, [{"x": 1, "y": 2}, {"x": 3, "y": 4}])
    {'x': [1, 3], 'y': [2, 4]}
    """
    values, treedef = flatten(pytree_to_transpose)
    if inner_treedef is None:
        first, *_ = outer_treedef.flatten_up_to(pytree_to_transpose)
        inner_treedef = structure(first)
    inner = inner_treedef.num_leaves
    if treedef.num_leaves != inner * outer_treedef.num_leaves:
        raise TypeError(f"Mismatch\n{treedef}\n != \n{outer_treedef.compose(inner_treedef)}")
    return inner_treedef.unflatten([outer_treedef.unflatten(values[i::inner]) for i in range(inner)])


def broadcast_prefix(prefix: Any, tree: Any) -> list[Any]:
    """Return, for each leaf of `tree`, the leaf of the tree `prefix` above it; None is a leaf of the prefix.

    Examples
    --------
    >>> broadcast_prefix((0, None), ({"a": 1, "b": 2}, 3))
    [0, 0, None]
    """
    nothing = object()
    marked = optree.tree_map(
        lambda leaf: nothing if leaf is None else leaf, prefix, none_is_leaf=True, namespace=NAMESPACE
    )
    return [None if leaf is nothing else leaf for leaf in optree.broadcast_prefix(marked, tree, namespace=NAMESPACE)]


def broadcast(prefix_tree: Any, full_tree: Any, is_leaf: IsLeaf = None) -> Any:
    """Repeat each leaf of a tree over the subtree that `full_tree` has in its place.

    Examples
    --------
    >>> broadcast({"a": 1, "b": 2}, {"a": [0, 0], "b": 0})
    {'a': [1, 1], 'b': 2}
    """
    values, spec = _flatten(prefix_tree, is_leaf, namespace=NAMESPACE)
    (subtrees,) = _columns(spec, prefix_tree, (full_tree,), is_leaf, "broadcast_prefix prefix_tree")
    repeated = [
        map(lambda _, value=value: value, subtree, is_leaf=is_leaf)
        for value, subtree in zip(values, subtrees, strict=True)
    ]
    return spec.unflatten(repeated)


def flatten_with_path(
    tree: Any, is_leaf: IsLeaf = None, is_leaf_takes_path: bool = False
) -> tuple[list[tuple[KeyPath, Any]], PyTreeDef]:
    """Return (path, leaf) pairs and the structure; `keystr` prints a path.

    Parameters
    ----------
    tree : pytree
        The tree.
    is_leaf : callable, optional
        What to take as a leaf although it is a container.
    is_leaf_takes_path : bool
        Whether `is_leaf` takes the path and the container.
    """
    if is_leaf_takes_path and is_leaf is not None:
        # optree asks in this order, too.
        decisions = _decisions((), tree, is_leaf)
        is_leaf = lambda _: next(decisions)  # noqa: E731
    accessors, values, spec = optree.tree_flatten_with_accessor(tree, is_leaf, namespace=NAMESPACE)
    paths = (tuple(_python_map(key_of, accessor)) for accessor in accessors)
    return list(zip(paths, values, strict=True)), PyTreeDef(spec)


def _decisions(path: KeyPath, tree: Any, is_leaf: Callable[..., bool]) -> Iterator[bool]:
    """Say of each node of a tree, from the root on, whether it is taken as a leaf."""
    decision = bool(is_leaf(path, tree))
    yield decision
    if not decision:
        for key, child in one_level(tree):
            yield from _decisions((*path, key), child, is_leaf)


def leaves_with_path(tree: Any, is_leaf: IsLeaf = None, is_leaf_takes_path: bool = False) -> list[tuple[KeyPath, Any]]:
    """Return (path, leaf) pairs."""
    return flatten_with_path(tree, is_leaf, is_leaf_takes_path)[0]
