"""Which backends a test run is asked for, and with which parameters a test runs then, for the pytest plugin."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from gradkit.backend import backend_names, load_backend
from gradkit.testing.variants import GROUPS, Variant, floating_dtypes, in_group, variant_named

__all__ = ["EVERY", "USABLE", "Selection", "cases", "select", "variant_of", "with_required"]

EVERY, USABLE = "all", "available"


@dataclass(frozen=True)
class Selection:
    """The backends of one run.

    Attributes
    ----------
    names : tuple of str
        Those that tests are parametrized over, with their variants.
    reasons : dict
        Why each backend that cannot run on this machine cannot.
    """

    names: tuple[str, ...]
    reasons: dict[str, str]


def select(words: list[str], where: str) -> Selection:
    """Return the backends that names mean.

    Raises
    ------
    pytest.UsageError
        If no backend is named, or one that no package publishes.
    """
    known = backend_names()
    if not words:
        raise pytest.UsageError(
            f"{where}: no backend is named. Give names with commas between them (known: {', '.join(known)}), {EVERY!r} "
            f"or {USABLE!r}."
        )
    of_arrays = [name for name in known if load_backend(name).has_axes]
    chosen: list[str] = []
    reasons: dict[str, str] = {}
    for word in words:
        if word in (EVERY, USABLE):
            names = of_arrays
        elif word in GROUPS:
            names = [name for name in of_arrays if in_group(name, word)]
        else:
            names = [variant_of(word, where.partition("=")[0].strip(), (EVERY, USABLE, *GROUPS)).name]
        reasons |= reasons_of(names)
        chosen += [name for name in names if word != USABLE or name not in reasons]
    if not chosen:
        raise pytest.UsageError(f"{where}: there is no such backend (known: {', '.join(known)}).")
    return Selection(tuple(dict.fromkeys(chosen)), reasons)


def cases(selection: Selection, with_dtype: bool) -> list[Any]:
    """Return the parameters of a test: the name of a backend each, with one of its floating dtypes where it takes one.

    What cannot run is there once, to be skipped with its reason.
    """
    found = []
    for name in selection.names:
        reason = selection.reasons.get(name)
        marks = [] if reason is None else [pytest.mark.skip(reason=reason)]
        if not with_dtype:
            found.append(pytest.param(name, id=name, marks=marks))
            continue
        for dtype in [None] if reason is not None else _dtypes_of(variant_of(name)):
            plain = dtype is None or dtype in name.split(":")
            found.append(pytest.param(name, dtype, id=name if plain else f"{name}-{dtype}", marks=marks))
    return found


def _dtypes_of(variant: Variant) -> list[str]:
    """Return the floating dtypes that tests on a backend run with."""
    return floating_dtypes(variant.backend) if variant.dtype is None else [variant.dtype]


def with_required(selection: Selection, where: str, required: list[str]) -> Selection:
    """Return a selection with the backends that have to run; `where` is what names them.

    Raises
    ------
    pytest.UsageError
        If one cannot.
    """
    if not required:
        return selection
    more = select(required, where)
    if more.reasons:
        said = "\n".join(f"{where}={name}: {reason}" for name, reason in more.reasons.items())
        raise pytest.UsageError(said)
    return Selection(tuple(dict.fromkeys([*selection.names, *more.names])), selection.reasons)


def reasons_of(names: list[str]) -> dict[str, str]:
    """Return why each of these backends cannot run here, leaving out those that can."""
    reasons = {name: variant_of(name).why_not() for name in names}
    return {name: reason for name, reason in reasons.items() if reason is not None}


_known = cache(variant_named)


def variant_of(name: str, where: str = "", others: tuple[str, ...] = ()) -> Variant:
    """Return the backend of a name; an unknown one is a usage error that suggests the nearest, also of `others`."""
    try:
        return _known(name, others)
    except ValueError as error:
        raise pytest.UsageError(f"{where}: {error}") from None
