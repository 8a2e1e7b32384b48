"""What the marks that say where a test runs mean on a backend, for the pytest plugin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gradkit.testing.choosing import variant_of
from gradkit.testing.variants import GROUPS, Variant, in_group

__all__ = ["meanings"]

ONLY, SKIP, EXPECTED_FAILURE, NO_TRANSFER = "backends", "skip_backend", "xfail_backend", "no_transfer"
WORDS = {
    ONLY: {"reason"},
    SKIP: {"reason"},
    EXPECTED_FAILURE: {"reason", "raises", "strict"},
    "on_cpu": {"reason"},
    "on_gpu": {"reason"},
    NO_TRANSFER: set(),
}
"""The arguments by name of each mark."""


def meanings(item: pytest.Item, variant: Variant) -> Iterator[pytest.MarkDecorator]:
    """Yield pytest's marks for ours on a test, its class and its module, where it runs on a backend.

    Raises
    ------
    pytest.UsageError
        If a mark names no backend or an unknown one, gives no reason where it has to, or has another argument that
        is not what it should be.
    """
    for kind in WORDS:
        for mark in item.iter_markers(kind):
            _check(mark, item)
            if mark.name != NO_TRANSFER and (decorator := _meaning(mark, variant)) is not None:
                yield decorator


def _backends_of(mark: pytest.Mark) -> tuple[Any, ...]:
    """Return the names in a mark."""
    return (mark.name, *mark.args) if mark.name in GROUPS else mark.args


def _meaning(mark: pytest.Mark, variant: Variant) -> pytest.MarkDecorator | None:
    """Return the mark of pytest's that one of ours is on a backend; what is left out has pytest's default."""
    names = _backends_of(mark)
    is_meant = any(
        in_group(variant.base, name) if name in GROUPS else variant.is_one_of(variant_of(name)) for name in names
    )
    given = {word: value for word, value in mark.kwargs.items() if value is not None}
    if mark.name == EXPECTED_FAILURE:
        return pytest.mark.xfail(**given) if is_meant else None
    if mark.name == SKIP:
        return pytest.mark.skip(**given) if is_meant else None
    reason = f"runs on {', '.join(names)} alone{': ' if 'reason' in given else ''}{given.get('reason', '')}"
    return None if is_meant else pytest.mark.skip(reason=reason)


def _check(mark: pytest.Mark, item: pytest.Item) -> None:
    """Raise a usage error unless the mark names known backends, and gives a reason where it has to."""
    where = f"{item.nodeid}: mark {mark.name}"
    example = f'@pytest.mark.{mark.name}("cupy"' + (")" if mark.name == ONLY else ', reason="...")')
    names = _backends_of(mark)
    takes_none = mark.name in GROUPS or mark.name == NO_TRANSFER
    if takes_none and mark.args:
        raise pytest.UsageError(f"{where}: expected no names, got {mark.args!r}. Write @pytest.mark.{mark.name}.")
    if not takes_none and (not names or not all(isinstance(name, str) for name in names)):
        raise pytest.UsageError(f"{where}: expected the names of backends, got {mark.args!r}. Write {example}.")
    for name in names:
        if name not in GROUPS:
            variant_of(name, where, tuple(GROUPS))
    reason = mark.kwargs.get("reason")
    may_be_left_out = reason is None and mark.name not in (SKIP, EXPECTED_FAILURE)
    if not may_be_left_out and (not isinstance(reason, str) or not reason.strip()):
        raise pytest.UsageError(
            f"{where}: expected a reason, got {reason!r}. "
            f'Say why: @pytest.mark.{mark.name}({names[0]!r}, reason="CuPy has no float16 kernel for this").'
        )
    if unknown := mark.kwargs.keys() - WORDS[mark.name]:
        raise pytest.UsageError(
            f"{where}: unknown argument {', '.join(sorted(unknown))}. "
            f"Known: {', '.join(sorted(WORDS[mark.name])) or 'none'}."
        )
    if not isinstance(strict := mark.kwargs.get("strict"), bool | None):
        raise pytest.UsageError(f"{where}: expected strict to be True or False, got {strict!r}.")
    if not _says_what_is_raised(raises := mark.kwargs.get("raises")):
        raise pytest.UsageError(
            f"{where}: expected raises to be an exception's class, or a tuple of them, got {raises!r}. "
            f"Write raises=ValueError."
        )


def _says_what_is_raised(raises: object) -> bool:
    """Return whether pytest's own mark takes this: newer ones take a `pytest.RaisesExc` as well."""
    kinds = raises if isinstance(raises, tuple) else (raises,)
    return all(
        kind is None or (isinstance(kind, type) and issubclass(kind, BaseException)) or hasattr(kind, "matches")
        for kind in kinds
    )
