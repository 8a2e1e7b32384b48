"""The steps of a path from a tree to a leaf, with JAX's names, fields and text."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import optree

__all__ = [
    "DictKey", "FlattenedIndexKey", "GetAttrKey", "KeyEntry", "KeyPath", "SequenceKey", "key_of", "keystr",
    "simple_text",
]  # fmt: skip


@dataclass(frozen=True)
class SequenceKey:
    """The step to an element of a list or tuple: ``[0]``."""

    idx: int

    def __str__(self) -> str:
        return f"[{self.idx!r}]"

    def __call__(self, tree: Any) -> Any:
        """Take the step."""
        return tree[self.idx]


@dataclass(frozen=True)
class DictKey:
    """The step to a value of a dictionary: ``['name']``."""

    key: Hashable

    def __str__(self) -> str:
        return f"[{self.key!r}]"

    def __call__(self, tree: Any) -> Any:
        """Take the step."""
        return tree[self.key]


@dataclass(frozen=True)
class GetAttrKey:
    """The step to an attribute: ``.name``."""

    name: str

    def __str__(self) -> str:
        return f".{self.name}"

    def __call__(self, tree: Any) -> Any:
        """Take the step."""
        return getattr(tree, self.name)


@dataclass(frozen=True)
class FlattenedIndexKey:
    """The step to a child of a class that says no names: ``[<flat index 0>]``."""

    key: int

    def __str__(self) -> str:
        return f"[<flat index {self.key}>]"


KeyEntry = Any
KeyPath = tuple[KeyEntry, ...]

BUILT_IN: dict[type, Callable[[Any], KeyEntry]] = {
    optree.SequenceEntry: lambda step: SequenceKey(step.index),
    optree.MappingEntry: lambda step: DictKey(step.key),
    optree.NamedTupleEntry: lambda step: GetAttrKey(step.field),
    optree.StructSequenceEntry: lambda step: SequenceKey(step.entry),
    optree.GetAttrEntry: lambda step: GetAttrKey(step.name),
}


def key_of(step: optree.PyTreeEntry) -> KeyEntry:
    """Return a step of optree's as JAX's key; one that a class brings itself is what it is."""
    make = BUILT_IN.get(type(step))
    if make is not None:
        return make(step)
    if isinstance(step, optree.FlattenedEntry) or type(step) is optree.PyTreeEntry:
        return FlattenedIndexKey(step.entry)
    return step.key if isinstance(step, OwnKey) else step


class OwnKey(optree.PyTreeEntry):
    """A step whose key is an object that the class's flatten function made."""

    @property
    def key(self) -> Any:
        """That object."""
        return self.entry


def keystr(keys: Sequence[KeyEntry], *, simple: bool = False, separator: str = "") -> str:
    """Print a path as JAX does: as the Python expression that follows it.

    Parameters
    ----------
    keys : sequence
        The path.
    simple : bool
        Print names and positions alone.
    separator : str
        What stands between the steps.

    Examples
    --------
    >>> path = (DictKey("layers"), SequenceKey(0), GetAttrKey("weight"))
    >>> keystr(path)
    "['layers'][0].weight"
    >>> keystr(path, simple=True, separator="/")
    'layers/0/weight'
    """
    return separator.join(map(simple_text if simple else _text, keys))


def _text(key: KeyEntry) -> str:
    return key.codify("") if isinstance(key, optree.PyTreeEntry) else str(key)


def simple_text(key: KeyEntry) -> str:
    """Print a step by its name or position alone."""
    match key:
        case SequenceKey(idx):
            return str(idx)
        case DictKey(name) | GetAttrKey(name) | FlattenedIndexKey(name):
            return str(name)
    return _text(key)
