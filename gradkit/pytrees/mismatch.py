"""Where and how two trees differ, in JAX's words."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import optree

from gradkit.errors import TreeMismatchError
from gradkit.pytrees.containers import NAMESPACE, node_data
from gradkit.pytrees.keys import KeyPath, key_of, keystr, simple_text

__all__ = ["first_mismatch", "mismatches", "one_level"]

IsLeaf = Callable[[Any], bool]


def one_level(tree: Any) -> list[tuple[Any, Any]]:
    """Return the (key, child) pairs of a container; a leaf has none."""
    accessors, children, _ = optree.tree_flatten_with_accessor(tree, lambda x: x is not tree, namespace=NAMESPACE)
    if len(accessors) == 1 and not accessors[0]:
        return []
    return [(key_of(accessor[0]), child) for accessor, child in zip(accessors, children, strict=True)]


def first_mismatch(prefix: Any, full: Any, name: str, is_leaf: IsLeaf | None = None) -> TreeMismatchError | None:
    """Return the error that tells where `prefix` is no prefix of `full`, or None where it is one."""
    return next(mismatches((), prefix, full, name, is_leaf), None)


def mismatches(
    path: KeyPath, prefix: Any, full: Any, name: str, is_leaf: IsLeaf | None = None
) -> Iterator[TreeMismatchError]:
    """Give the error for each node where `prefix` is no prefix of `full`."""
    structure = _top(prefix)
    if structure is None or (is_leaf is not None and is_leaf(prefix)):
        return
    where = f" at key path\n    {name}{keystr(path)}\nAt that key path, the prefix pytree {name} has a subtree of type"
    if type(prefix) is not type(full):
        yield TreeMismatchError(
            f"pytree structure error: different types{where}\n    {type(prefix)}\n"
            f"but at the same key path the full pytree has a subtree of different type\n    {type(full)}."
        )
        return
    ours, theirs = one_level(prefix), one_level(full)
    if isinstance(prefix, list | tuple) and len(ours) != len(theirs):
        kind = type(prefix).__name__
        yield TreeMismatchError(
            f"pytree structure error: different lengths of {kind}{where} {kind} of length {len(ours)}, but the full "
            f"pytree has a subtree of the same type but of length {len(theirs)}."
        )
        return
    if len(ours) != len(theirs):
        names, others = ([simple_text(key) for key, _ in level] for level in (ours, theirs))
        yield TreeMismatchError(
            f"pytree structure error: different numbers of pytree children{where}\n    {type(prefix)}\n"
            f"with {len(ours)} child keys\n    {' '.join(names)}\n"
            f"but at the same key path the full pytree has a subtree of the same type but with "
            f"{len(theirs)} child keys\n"
            f"    {' '.join(others)}\n"
            f"so the symmetric difference on key sets is\n    {' '.join(sorted({*names} ^ {*others}))}"
        )
        return
    one, other = structure, _top(full)
    if one != other:
        before, after = str(one), str(other)
        difference = "\n".join(difflib.ndiff(before.splitlines(), after.splitlines()))
        yield TreeMismatchError(
            f"pytree structure error: different pytree metadata{where}\n    {type(prefix)}\nwith metadata\n"
            f"    {before}\nbut at the same key path the full pytree has a subtree of the same type but with metadata\n"
            f"    {after}\nso the diff in the metadata at these pytree nodes is\n{textwrap.indent(difference, '    ')}"
        )
        return
    for (key, left), (_, right) in zip(ours, theirs, strict=True):
        yield from mismatches((*path, key), left, right, name, is_leaf)


def _top(tree: Any) -> Any:
    """Return a container's metadata in a tuple; None for a leaf."""
    spec = optree.tree_structure(tree, lambda x: x is not tree, namespace=NAMESPACE)
    data = node_data(spec)
    if data is None:
        return None
    metadata = data[1]
    if isinstance(metadata, list):  # of a dictionary: its keys
        return Metadata(tuple(metadata))
    return Metadata(metadata)


class Metadata:
    """The metadata of a container, which may be None."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Metadata) and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash(self.value)

    def __str__(self) -> str:
        return str(self.value)
