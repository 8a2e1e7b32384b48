"""What values and operations are called in a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gradkit import tree
from gradkit.core import Array
from gradkit.core.array import raw

__all__ = ["detail_of", "labels_of", "operation_name"]

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
LONGEST = 30
"""Characters of a parameter's text; what is longer is left out, as the type of the result says most of it."""


def operation_name(name: str, params: Mapping[str, Any]) -> str:
    """Return what an operation is called in a picture.

    Examples
    --------
    >>> operation_name("add", {}), operation_name("getitem", {"index": (0, slice(1, 3, 1))})
    ('+', '[0, 1:3]')
    """
    if name == "getitem":
        return f"[{', '.join(map(_step, params['index']))}]"
    return SYMBOLS.get(name, name)


def _step(part: Any) -> str:
    if not isinstance(part, slice):
        return str(part)
    ends = ["" if end is None else str(end) for end in (part.start, part.stop)]
    return ":".join([*ends, *([] if part.step in (None, 1) else [str(part.step)])])


def detail_of(name: str, params: Mapping[str, Any]) -> str:
    """Return an operation's parameters as text: numbers, words and tuples of them that are not long.

    Examples
    --------
    >>> detail_of("sum", {"axis": (0,), "keepdims": False})
    'axis=(0,)'
    """
    if name == "getitem":
        return ""
    shown = [(key, str(value)) for key, value in params.items() if value is not False and _is_plain(value)]
    return ", ".join(f"{key}={text}" for key, text in shown if len(text) <= LONGEST)


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return isinstance(value, bool | int | float | str)


def labels_of(labels: Any, variables: Mapping[str, Any]) -> dict[Any, str]:
    """Return labels by what identifies an array: its node, or the `id` of its raw array where it has none.

    Parameters
    ----------
    labels : mapping of str, or pytree
        Arrays by their labels; or a model or another tree, whose arrays are called by their paths.
    variables : mapping
        More arrays or trees, by their labels.
    """
    found: dict[Any, str] = {}
    for label, array in _labelled(labels, variables):
        if type(array) is Array and array._node is not None:
            found.setdefault(array._node, label)
        elif hasattr(array, "shape"):
            found.setdefault(id(raw(array)), label)
    return found


def _labelled(labels: Any, variables: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in variables.items():
        yield from _leaves(name, value)
    if isinstance(labels, Mapping):
        for name, value in labels.items():
            yield from _leaves(str(name), value)
    elif labels is not None:
        for label, value in _leaves("", labels):
            yield label.removeprefix("."), value


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    for path, leaf in tree.leaves_with_path(value):
        yield name + tree.keystr(path), leaf
