"""Signatures: what a jitted function is captured for, and how messages speak of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gradkit.backend import current_backend
from gradkit.core.array import Array, backend_of_array, device_of_array, weak_type
from gradkit.core.node import Leaf
from gradkit.transforms.call_arguments import Fixed, Places
from gradkit.transforms.float0 import is_float0
from gradkit.transforms.programs import Form
from gradkit.transforms.surroundings import described
from gradkit.tree import PyTreeDef, keystr, leaves_with_path

__all__ = ["Call", "Signature", "form_of", "name_of_leaf", "what_is_new", "where_defined"]


class Signature(NamedTuple):
    """What a program is captured for.

    Attributes
    ----------
    tree : PyTreeDef
        The structure of the arguments that are not static, by position and by name.
    forms : tuple of Form
        Their leaves.
    fixed : tuple
        The static arguments.
    settings : int
        The number of the settings.
    """

    tree: PyTreeDef
    forms: tuple[Form, ...]
    fixed: Fixed
    settings: int

    @property
    def paths(self) -> list[Any]:
        """The paths of the leaves."""
        return [path for path, _ in leaves_with_path(self.tree.unflatten(range(len(self.forms))))]

    def leaves_of(self, arguments: Places) -> list[int]:
        """Return which leaves are of those arguments."""
        if not arguments:
            return []
        given, _ = self.tree.unflatten(range(len(self.forms)))
        positions = arguments.among(len(given) + sum(isinstance(place, int) for place, _, _ in self.fixed))
        return [
            i
            for i, path in enumerate(self.paths)
            if (_position(path[1].idx, self.fixed) in positions if path[0].idx == 0 else path[1].key in arguments.names)
        ]


class Call(NamedTuple):
    """The arguments of a call, taken apart: their signature, their leaves, and those as Arrays."""

    signature: Signature
    leaves: list[Any]
    arrays: list[Array | None]


def form_of(leaf: Any, array: Array | None) -> Form:
    """Return the form of a leaf, and of the Array that it is; None if it has no values."""
    if array is None:
        if is_float0(leaf):
            return Form(leaf.shape, None, None, None, "float0")
        backend = current_backend()
        return Form(leaf.shape, leaf.dtype, backend, backend.devices[0])
    kind: Any = weak_type(leaf)
    if (
        kind is None
        and (node := array._node) is not None
        and not node.trace.level
        and not (type(node) is Leaf and node.is_parameter)
    ):
        kind = "tape"
    return Form(array.shape, array.dtype, backend_of_array(array), device_of_array(array), kind)


# In messages


def where_defined(fun: Any) -> str:
    """Return file and line of a function."""
    code = getattr(inspect.unwrap(fun) if hasattr(fun, "__wrapped__") else fun, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else "<unknown>"


def name_of_leaf(fun: Callable[..., Any], path: Any, fixed: Fixed) -> str:
    """Return a leaf's place in words of the function: its parameter's name, and the way from there."""
    if path[0].idx == 1:
        return f"{path[1].key}{keystr(path[2:])}"
    try:
        parameters = list(inspect.signature(fun).parameters.values())
    except (TypeError, ValueError):  # a builtin, which says nothing of its parameters
        parameters = []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    i = _position(path[1].idx, fixed)
    return f"{names[i] if i < len(names) else f'args[{i}]'}{keystr(path[2:])}"


def what_is_new(fun: Callable[..., Any], signature: Signature, seen: Sequence[Signature]) -> list[str]:
    """Say what is new in a signature, compared with the nearest of those that were seen before."""
    if not seen:
        forms = ", ".join(map(str, signature.forms))
        return [f"never seen function, defined at {where_defined(fun)}, with {forms}"]
    changes = [_changes(fun, signature, other) for other in reversed(seen)]
    return ["all previously seen signatures differ. For the closest one:", *min(changes, key=len)]


def _changes(fun: Callable[..., Any], now: Signature, before: Signature) -> list[str]:
    lines = []
    if now.tree != before.tree:
        lines.append(f"  * the arguments' structure is now {now.tree} and before {before.tree}")
    else:
        lines += [
            f"  * at {name_of_leaf(fun, path, now.fixed)}, now {new} and before {old}"
            for path, new, old in zip(now.paths, now.forms, before.forms, strict=True)
            if new != old
        ]
    if now.fixed != before.fixed:
        lines.append(f"  * static arguments are now {_shown(now.fixed)} and before {_shown(before.fixed)}")
    if now.settings != before.settings:
        new_settings, old_settings = described(now.settings), described(before.settings)
        lines += [
            f"  * the setting {name} is now {value} and before {old_settings[name]}"
            for name, value in new_settings.items()
            if value != old_settings[name]
        ]
    return lines


def _position(index: int, fixed: Fixed) -> int:
    """Return the position of an argument, of its number among those that are not static."""
    for place, _, _ in fixed:
        if isinstance(place, int) and place <= index:
            index += 1
    return index


def _shown(fixed: Fixed) -> str:
    return ", ".join(f"{place}: {value!r}" for place, _, value in fixed) or "none"
