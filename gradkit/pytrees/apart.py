"""Taking trees apart whose structure is expected: a function written for it, which needs no look at each type.

A registry asks of each node what its type is, and makes a structure to compare. What is written here asks whether it is
the one expected, which takes a fifth of the time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import optree

from gradkit.pytrees.containers import NAMESPACE, node_data

__all__ = ["taker"]

Taker = Callable[[Any], list[Any] | None]

SEVERAL = {optree.PyTreeKind.TUPLE, optree.PyTreeKind.LIST, optree.PyTreeKind.NAMEDTUPLE}


def taker(spec: optree.PyTreeSpec) -> Taker:
    """Return a function that gives the leaves of a tree of a structure, and None for one that has another one.

    What stands in the place of a leaf may be a container: the caller has to look.

    Examples
    --------
    >>> take = taker(optree.tree_structure(({"a": 0, "b": [0, 0]}, 0)))
    >>> take(({"b": [2, 3], "a": 1}, 4))
    [1, 2, 3, 4]
    >>> take(({"b": [2], "a": 1}, 4)) is None
    True
    """
    text = _Text()
    if not text.write(spec, "tree"):
        return functools.partial(_by_registry, spec)
    lines = [*text.lines, f"return [{', '.join(text.leaves)}]"]
    exec("\n".join(["def take(tree):", *("    " + line for line in lines)]), text.scope)
    take: Taker = text.scope["take"]
    return take


def _by_registry(spec: optree.PyTreeSpec, tree: Any) -> list[Any] | None:
    leaves, found = optree.tree_flatten(tree, namespace=NAMESPACE)
    return leaves if found == spec else None


class _Text:
    """The lines of a function that takes a tree apart, from the outside in."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.leaves: list[str] = []
        self.scope: dict[str, Any] = {}
        self._numbers = count()

    def write(self, spec: optree.PyTreeSpec, name: str) -> bool:
        """Write what takes the tree `name` apart; False if nothing can be written."""
        kind = spec.kind
        if kind == optree.PyTreeKind.LEAF:
            self.leaves.append(name)
            return True
        if kind == optree.PyTreeKind.NONE:
            self._unless(f"{name} is None")
            return True
        children = spec.children()
        parts = [f"x{next(self._numbers)}" for _ in children]
        if kind in SEVERAL:
            self._unless(f"type({name}) is {self._named(spec.type)} and len({name}) == {len(parts)}")
            self._unpack(parts, name)
        elif kind == optree.PyTreeKind.DICT:
            keys = [self._named(key) for key in spec.entries()]
            has_all = "".join(f" and {key} in {name}" for key in keys)
            self._unless(f"type({name}) is dict and len({name}) == {len(parts)}{has_all}")
            self.lines += [f"{part} = {name}[{key}]" for part, key in zip(parts, keys, strict=True)]
        elif kind == optree.PyTreeKind.CUSTOM:
            self._custom(spec, name, parts)
        else:
            return False
        return all(self.write(child, part) for child, part in zip(children, parts, strict=True))

    def _custom(self, spec: optree.PyTreeSpec, name: str, parts: Sequence[str]) -> None:
        """Ask the class's own function for children and metadata."""
        self._unless(f"type({name}) is {self._named(spec.type)}")
        found = node_data(spec)
        assert found is not None
        entry = optree.register_pytree_node.get(found[0], namespace=NAMESPACE)
        assert entry is not None
        inside, data, expected = f"x{next(self._numbers)}", f"x{next(self._numbers)}", self._named(found[1])
        self.lines.append(f"{inside}, {data}, *_ = {self._named(entry.flatten_func)}({name})")
        self._unless(f"{data} is {expected} or {data} == {expected}")
        self.lines.append(f"{inside} = tuple({inside})")
        self._unless(f"len({inside}) == {len(parts)}")
        self._unpack(parts, inside)

    def _unpack(self, parts: Sequence[str], name: str) -> None:
        if parts:
            self.lines.append(f"{', '.join(parts)}, = {name}")

    def _unless(self, condition: str) -> None:
        self.lines += [f"if not ({condition}):", "    return None"]

    def _named(self, value: Any) -> str:
        name = f"v{len(self.scope)}"
        self.scope[name] = value
        return name
