"""`jax.tree_util`'s names: the functions of `gradkit.tree`, the registration of classes, paths and structures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import optree

from gradkit.pytrees.containers import NAMESPACE
from gradkit.pytrees.keys import DictKey, FlattenedIndexKey, GetAttrKey, KeyEntry, KeyPath, SequenceKey, keystr
from gradkit.pytrees.registry import (
    Partial,
    register_dataclass,
    register_pytree_node,
    register_pytree_node_class,
    register_pytree_with_keys,
    register_pytree_with_keys_class,
    register_static,
)
from gradkit.pytrees.structure import PyTreeDef
from gradkit.tree import all as tree_all
from gradkit.tree import broadcast as tree_broadcast
from gradkit.tree import flatten as tree_flatten
from gradkit.tree import flatten_with_path as tree_flatten_with_path
from gradkit.tree import leaves as tree_leaves
from gradkit.tree import leaves_with_path as tree_leaves_with_path
from gradkit.tree import map as tree_map
from gradkit.tree import map_with_path as tree_map_with_path
from gradkit.tree import reduce as tree_reduce
from gradkit.tree import reduce_associative as tree_reduce_associative
from gradkit.tree import structure as tree_structure
from gradkit.tree import transpose as tree_transpose
from gradkit.tree import unflatten as tree_unflatten

__all__ = [
    "DictKey", "FlattenedIndexKey", "GetAttrKey", "KeyEntry", "KeyPath", "Partial", "PyTreeDef", "SequenceKey",
    "all_leaves", "build_tree", "keystr", "register_dataclass", "register_pytree_node", "register_pytree_node_class",
    "register_pytree_with_keys", "register_pytree_with_keys_class", "register_static", "tree_all", "tree_broadcast",
    "tree_flatten", "tree_flatten_with_path", "tree_leaves", "tree_leaves_with_path", "tree_map", "tree_map_with_path",
    "tree_reduce", "tree_reduce_associative", "tree_structure", "tree_transpose", "tree_unflatten", "treedef_children",
    "treedef_is_leaf", "treedef_tuple",
]  # fmt: skip


def treedef_tuple(treedefs: Iterable[PyTreeDef]) -> PyTreeDef:
    """Return the structure of a tuple of trees.

    Examples
    --------
    >>> treedef_tuple([tree_structure([1, 2]), tree_structure(3)])
    PyTreeDef(([*, *], *))
    """
    return PyTreeDef(optree.treespec_tuple([treedef.spec for treedef in treedefs], namespace=NAMESPACE))


def treedef_children(treedef: PyTreeDef) -> list[PyTreeDef]:
    """Return the structures of the children."""
    return treedef.children()


def treedef_is_leaf(treedef: PyTreeDef) -> bool:
    """Return whether a structure is a leaf, or a container without children."""
    return treedef.num_nodes == 1


def all_leaves(iterable: Iterable[Any], is_leaf: Callable[[Any], bool] | None = None) -> bool:
    """Return whether no element is a container.

    Examples
    --------
    >>> all_leaves([1, 2]), all_leaves([1, [2]])
    (True, False)
    """
    elements = list(iterable)
    if is_leaf is not None:
        elements = [element for element in elements if not is_leaf(element)]
    return bool(optree.all_leaves(elements, namespace=NAMESPACE))


def build_tree(treedef: PyTreeDef, xs: Any) -> Any:
    """Put the subtrees that `xs` holds, itself of that structure, into the places of the leaves."""
    return treedef.unflatten(treedef.flatten_up_to(xs))
