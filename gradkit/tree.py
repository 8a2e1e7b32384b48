"""Pytrees, under the names of `jax.tree`: nested containers of arrays, flattened and rebuilt by optree.

Dictionaries, lists, tuples, named tuples, None and every class registered here are containers; all else is a leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import optree
from optree import PyTreeSpec

from gradkit.errors import TreeMismatchError

__all__ = [
    "NAMESPACE",
    "PyTreeSpec",
    "all",
    "broadcast_prefix",
    "flatten",
    "flatten_with_path",
    "keystr",
    "leaves",
    "leaves_with_path",
    "map",
    "reduce",
    "register",
    "structure",
    "transpose",
    "unflatten",
]

NAMESPACE = "gradkit"
"""The registry's namespace in optree."""


def flatten(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list[Any], PyTreeSpec]:
    """Return the leaves of a tree in order, and its structure.

    Examples
    --------
    >>> flatten({"b": 2, "a": [1, None]})[0]
    [1, 2]
    """
    return optree.tree_flatten(tree, is_leaf, namespace=NAMESPACE)


def unflatten(treedef: PyTreeSpec, leaves: Iterable[Any]) -> Any:
    """Build a tree from its structure and leaves."""
    return treedef.unflatten(leaves)


def leaves(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[Any]:
    """Return the leaves of a tree in order."""
    return optree.tree_leaves(tree, is_leaf, namespace=NAMESPACE)


def structure(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> PyTreeSpec:
    """Return the structure of a tree."""
    return optree.tree_structure(tree, is_leaf, namespace=NAMESPACE)


def map(f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
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
    try:
        return optree.tree_map(f, tree, *rest, is_leaf=is_leaf, namespace=NAMESPACE)
    except ValueError as error:
        if rest and any(structure(tree, is_leaf) != structure(other, is_leaf) for other in rest):
            raise TreeMismatchError(f"tree.map: the trees differ in structure: {error}") from error
        raise


def reduce(function: Callable[[Any, Any], Any], tree: Any, *initializer: Any) -> Any:
    """Combine the leaves of a tree from left to right."""
    import functools

    return functools.reduce(function, leaves(tree), *initializer)


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


def all(tree: Any) -> bool:
    """Return whether every leaf is true."""
    return bool(optree.tree_all(tree, namespace=NAMESPACE))


def transpose(outer: PyTreeSpec, inner: PyTreeSpec, tree: Any) -> Any:
    """Turn a tree of trees inside out."""
    return optree.tree_transpose(outer, inner, tree)


def flatten_with_path(
    tree: Any, is_leaf: Callable[[Any], bool] | None = None
) -> tuple[list[tuple[tuple[Any, ...], Any]], PyTreeSpec]:
    """Return (path, leaf) pairs and the structure; `keystr` prints a path."""
    accessors, values, treedef = optree.tree_flatten_with_accessor(tree, is_leaf, namespace=NAMESPACE)
    return list(zip((tuple(accessor) for accessor in accessors), values, strict=True)), treedef


def leaves_with_path(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[tuple[tuple[Any, ...], Any]]:
    """Return (path, leaf) pairs."""
    return flatten_with_path(tree, is_leaf)[0]


def keystr(path: Sequence[Any]) -> str:
    """Print a path as the Python expression that follows it.

    Examples
    --------
    >>> [keystr(path) for path, _ in leaves_with_path({"layers": [1, 2]})]
    ["['layers'][0]", "['layers'][1]"]
    """
    return optree.PyTreeAccessor(path).codify("")


def register(
    kind: type, flatten_function: Callable[[Any], Any], unflatten_function: Callable[[Any, Any], Any], **options: Any
) -> None:
    """Make a class a container: how it comes apart (children, metadata, names), and how it is rebuilt."""
    optree.register_pytree_node(kind, flatten_function, unflatten_function, namespace=NAMESPACE, **options)
