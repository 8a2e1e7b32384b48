"""What optree knows about a tree's containers, as JAX has it."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import Any

import optree

__all__ = ["NAMESPACE", "metadata", "node_data"]

NAMESPACE = "gradkit"
"""The registry's namespace in optree."""


def node_data(spec: optree.PyTreeSpec) -> tuple[type, Any] | None:
    """Return the type and the metadata of the outermost container; None for a leaf."""
    if spec.is_leaf():
        return None
    level = spec.one_level()
    assert level is not None
    found: tuple[type, Any] = level.walk([None] * level.num_leaves, lambda kind, data, _: (kind, metadata(kind, data)))
    return found


def metadata(kind: type, data: Any) -> Any:
    """Return the metadata of a container as JAX has it."""
    if kind is OrderedDict:
        return tuple(data)
    if kind is defaultdict:
        return data[0], tuple(data[1])
    return None if data is kind else data  # a named tuple's is its type
