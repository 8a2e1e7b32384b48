"""`PyTreeDef`: the structure of a tree, with JAX's methods and text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import optree

from gradkit.pytrees.containers import metadata, node_data
from gradkit.pytrees.mismatch import first_mismatch

__all__ = ["PyTreeDef", "of_leaves"]


class PyTreeDef:
    """The structure of a tree: what is left of it without its leaves.

    `gradkit.tree.structure` makes it. Two are equal if their containers, keys and metadata are.

    Examples
    --------
    >>> import gradkit
    >>> gradkit.tree.structure({"b": [1, 2], "a": (None, 3)})
    PyTreeDef({'a': (None, *), 'b': [*, *]})
    """

    __slots__ = ("spec",)

    def __init__(self, spec: optree.PyTreeSpec) -> None:
        self.spec = spec

    @property
    def num_leaves(self) -> int:
        """The number of leaves."""
        return self.spec.num_leaves

    @property
    def num_nodes(self) -> int:
        """The number of containers and leaves."""
        return self.spec.num_nodes

    def unflatten(self, leaves: Iterable[Any]) -> Any:
        """Build a tree of this structure."""
        try:
            return self.spec.unflatten(leaves)
        except ValueError as error:
            raise of_leaves(error) from None

    def flatten_up_to(self, tree: Any) -> list[Any]:
        """Return the subtrees of `tree` where this structure has leaves.

        Raises
        ------
        TreeMismatchError
            If this structure is no prefix of `tree`'s.
        """
        try:
            return self.spec.flatten_up_to(tree)
        except ValueError:
            mismatch = first_mismatch(self.unflatten([object()] * self.num_leaves), tree, "treedef")
            if mismatch is None:
                raise
            raise mismatch from None

    def children(self) -> list[PyTreeDef]:
        """Return the structures of the children."""
        return [PyTreeDef(child) for child in self.spec.children()]

    def compose(self, inner: PyTreeDef) -> PyTreeDef:
        """Return this structure with `inner` in the place of each leaf."""
        return PyTreeDef(self.spec.compose(inner.spec))

    def node_data(self) -> tuple[type, Any] | None:
        """Return the type and the metadata of the outermost container; None for a leaf."""
        return node_data(self.spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PyTreeDef) and self.spec == other.spec

    def __ne__(self, other: object) -> bool:
        return not isinstance(other, PyTreeDef) or self.spec != other.spec

    def __hash__(self) -> int:
        return hash(self.spec)

    def __repr__(self) -> str:
        text = self.spec.walk(["*"] * self.num_leaves, _text)
        return f"PyTreeDef({text})"


def of_leaves(error: ValueError) -> ValueError:
    """Return optree's error about the number of leaves in JAX's words; any other as it is."""
    if "PyTreeSpec" not in str(error):
        return error
    text = str(error).replace("PyTreeSpec", "PyTreeDef").replace("expected:", "expected").replace("got:", "got")
    return ValueError(text.removesuffix(".") if "got" in text else text)


def _text(kind: type, data: Any, children: tuple[str, ...]) -> str:
    write = TEXTS.get(kind)
    if write is not None:
        return write(data, children)
    inside = f"namedtuple[{kind.__name__}]" if data is kind else f"{kind.__name__}[{metadata(kind, data)}]"
    return f"CustomNode({inside}, [{', '.join(children)}])"


TEXTS: dict[type, Callable[[Any, tuple[str, ...]], str]] = {
    type(None): lambda data, children: "None",
    tuple: lambda data, children: f"({children[0]},)" if len(children) == 1 else f"({', '.join(children)})",
    list: lambda data, children: f"[{', '.join(children)}]",
    dict: lambda data, children: "{" + ", ".join(f"{k!r}: {c}" for k, c in zip(data, children, strict=True)) + "}",
}
