"""array-api-strict, sooner: in every operation it compares a dtype with all that there are."""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

__all__ = ["quicken_strict"]


def quicken_strict() -> None:
    """Let array-api-strict find a dtype by its hash, where it is of the version whose text is known."""
    if not find_spec("array_api_strict") or not version("array_api_strict").startswith("2.6."):
        return
    from array_api_strict import _array_object
    from array_api_strict._dtypes import DType, _all_dtypes, _dtype_categories

    usual = DType.__eq__

    def equal(self: Any, other: object) -> bool:
        return self._np_dtype == other._np_dtype if type(other) is DType else usual(self, other)

    DType.__eq__ = equal  # type: ignore[method-assign]
    _array_object._all_dtypes = frozenset(_all_dtypes)  # type: ignore[assignment]
    _dtype_categories.update({name: frozenset(dtypes) for name, dtypes in _dtype_categories.items()})  # type: ignore[misc]
