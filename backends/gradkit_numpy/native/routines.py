"""Calls that native code does itself, instead of going back into Python: for which there is a routine.

A routine is written for its call: shapes, dtypes, strides and parameters are known. `ROUTINES` has them by the
primitive's name; `routine_of` says which one a call gets, if any.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from gradkit.backend.plan import Call, Layout
from gradkit_numpy.native.decompositions import DECOMPOSITIONS
from gradkit_numpy.native.linear_algebra import LINEAR_ALGEBRA
from gradkit_numpy.native.sites import Site
from gradkit_numpy.native.sorting import SORTING

__all__ = ["NAMES", "Routine", "routine_of"]


class Routine(NamedTuple):
    """What a call of some primitive is in native code.

    Attributes
    ----------
    knows : callable
        ``knows(call)``: whether it can be written, for operands and results that have elements.
    write : callable
        ``write(site)`` writes it.
    room : callable
        ``room(call)``: the bytes that it takes for itself.
    cost : callable
        ``cost(call)``: about how many operations it takes.
    """

    knows: Callable[[Call], bool]
    write: Callable[[Site], None]
    room: Callable[[Call], int]
    cost: Callable[[Call], int]


ROUTINES: Mapping[str, Routine] = {
    name: Routine(*parts) for name, parts in {**DECOMPOSITIONS, **LINEAR_ALGEBRA, **SORTING}.items()
}
NAMES = frozenset(ROUTINES)


def routine_of(call: Call) -> Routine | None:
    """Return the routine for a call, or None where it goes back into Python."""
    routine = ROUTINES.get(call.name)
    if routine is None or not all(isinstance(x, Layout) for x in call.operands):
        return None
    shapes = [*(x.shape for x in call.operands), *(buffer.shape for buffer in call.results)]
    return routine if all(0 not in shape for shape in shapes) and routine.knows(call) else None
