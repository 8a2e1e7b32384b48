"""What values and operations are called in a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gradkit import tree
from gradkit.core import Array
from gradkit.core.array import raw
from gradkit.core.node import Node
from gradkit.errors import did_you_mean
from gradkit.scalar import Value
from gradkit.scalar.value import Input
from gradkit.viz.computation import Operation, Quantity

__all__ = ["Labels", "detail_of", "is_value", "key_of", "labels_of", "operation_of"]

SYMBOLS = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "/",
    "pow": "**",
    "matmul": "@",
    "negative": "-x",
    "floor_divide": "//",
    "remainder": "%",
    "greater": ">",
    "greater_equal": ">=",
    "less": "<",
    "less_equal": "<=",
    "equal": "==",
    "not_equal": "!=",
    "bitwise_and": "&",
    "bitwise_or": "|",
    "bitwise_xor": "^",
    "bitwise_invert": "~",
    "affine": "x @ w + b",
    "square": "**2",
    "astype_exact": "astype",
}
"""What the operations are called that Python writes with a sign."""
OPTIONS = ("gradients", "labels", "max_nodes", "title")
"""Of `draw`; any other keyword is a label."""
LONGEST = 30
"""Characters of a parameter's text; what is longer is left out, as the type of the result says most of it."""


def operation_of(
    name: str, params: Mapping[str, Any], inputs: list[Quantity], outputs: list[Quantity], detail: str | None = None
) -> Operation:
    """Return an operation as it is shown: by the sign that Python has for it, an exponent and an index as part of it.

    Parameters
    ----------
    name, params : str, mapping
        The primitive's name and static parameters.
    inputs, outputs : list of Quantity
        What it takes and gives.
    detail : str, optional
        What is written below the name; by default the parameters.

    Examples
    --------
    >>> x, three, y = (Quantity("", "constant", data=number) for number in (2.0, 3.0, 8.0))
    >>> operation_of("pow", {}, [x, three], [y]).name, operation_of("multiply", {}, [x, three], [y]).name
    ('**3', '*')
    >>> operation_of("getitem", {"index": (0, slice(1, 3, 1))}, [x], [y]).name
    '[0, 1:3]'
    """
    if name == "pow" and inputs[1].role == "constant" and inputs[1].type == "" and inputs[1].data is not None:
        return Operation(f"**{inputs[1].data:g}", inputs[:1], outputs)
    if name == "getitem":
        return Operation(f"[{', '.join(map(_step, params['index']))}]", inputs, outputs)
    return Operation(SYMBOLS.get(name, name), inputs, outputs, detail_of(params) if detail is None else detail)


def _step(part: Any) -> str:
    if not isinstance(part, slice):
        return str(part)
    ends = ["" if end is None else str(end) for end in (part.start, part.stop)]
    return ":".join([*ends, *([] if part.step in (None, 1) else [str(part.step)])])


def detail_of(params: Mapping[str, Any]) -> str:
    """Return an operation's parameters as text: numbers, words and tuples of them that are not long.

    Examples
    --------
    >>> detail_of({"axis": (0,), "keepdims": False})
    'axis=(0,)'
    """
    shown = [(key, str(value)) for key, value in params.items() if value is not False and _is_plain(value)]
    return ", ".join(f"{key}={text}" for key, text in shown if len(text) <= LONGEST)


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return isinstance(value, bool | int | float | str)


def is_value(value: Any) -> bool:
    """Return whether something is a Value: tree functions take one apart, and a picture shows it whole."""
    return isinstance(value, Value)


def key_of(value: Any) -> Any:
    """Return what identifies a value: a Value itself, an Array's node, or the `id` of its raw array without one."""
    if isinstance(value, Value | Node):
        return value
    node = value._node if type(value) is Array else None
    if node is None:
        return id(raw(value))
    return node.value if isinstance(node, Input) else node


@dataclass
class Labels:
    """What values are called.

    Attributes
    ----------
    names : dict
        A label by what identifies the value; see `key_of`.
    arrays : list of raw array
        Those that no node stands for: data, of which the tape may not know that they took part.
    """

    names: dict[Any, str] = field(default_factory=dict)
    arrays: list[Any] = field(default_factory=list)

    def of(self, value: Any) -> str:
        """Return the label of a Value, a node, an Array or a raw array; empty if it has none."""
        return self.names.get(key_of(value), "")


def labels_of(labels: Any, variables: Mapping[str, Any]) -> Labels:
    """Return the labels that `draw` was given.

    Parameters
    ----------
    labels : mapping of str, or pytree
        Arrays by their labels; or a model or another tree, whose arrays are called by their paths.
    variables : mapping
        More arrays or trees, by their labels.

    Raises
    ------
    TypeError
        If there is no array in one of `variables`: it may be an option that is misspelt.
    """
    found = Labels()
    for name, value in variables.items():
        if not any(map(_can_have_a_label, tree.leaves(value, is_leaf=is_value))):
            raise TypeError(
                f"draw: {name}={value!r} is no option and no array, Value or tree of them to be called {name!r}."
                f"{did_you_mean(name, OPTIONS)}"
            )
    for label, value in _find_labels(labels, variables):
        if _can_have_a_label(value):
            found.names.setdefault(key_of(value), label)
            if type(key_of(value)) is int:
                found.arrays.append(raw(value))
    return found


def _can_have_a_label(value: Any) -> bool:
    return isinstance(value, Value) or hasattr(value, "shape")


def _find_labels(labels: Any, variables: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in variables.items():
        yield from _leaves(name, value)
    if isinstance(labels, Mapping):
        for name, value in labels.items():
            yield from _leaves(str(name), value)
    elif labels is not None:
        for label, value in _leaves("", labels):
            yield label.removeprefix("."), value


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    for path, leaf in tree.leaves_with_path(value, is_leaf=is_value):
        yield name + tree.keystr(path), leaf
