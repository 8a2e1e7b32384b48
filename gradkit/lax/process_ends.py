"""Ends of functions of parts, of branches and of loops, to which processes come together where they have met inside.

Operations that processes come to in pairs may be those of different branches, or of different turns of a loop: where
one takes a turn more than another, it would meet the other's next call. At the end it is told instead.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gradkit.core.graph import Equation, bind_where_captured, graphs_in
from gradkit.core.node import capturing
from gradkit.lax.across_processes import Across
from gradkit.lax.started_sums import OnTheWay
from gradkit.primitives.new_arrays import asarray
from gradkit.processes import ProcessAxis, axes_in_scope

if TYPE_CHECKING:
    from gradkit.processes import World

__all__ = ["Stretch", "together"]


class Stretch:
    """A stretch of a function, from here on, at whose end those processes come together that have met in it.

    Parameters
    ----------
    axes : mapping of ProcessAxis
        Along which they may meet.
    """

    def __init__(self, axes: Mapping[Any, ProcessAxis]) -> None:
        self._axes = [axis for axis in axes.values() if axis.size > 1]
        if not self._axes:
            return
        trace = capturing()
        self._written = 0 if trace is None else len(trace.graph.equations)
        self._opened = [axis.world.opened for axis in self._axes]

    def end(self, what: str, is_at_one_place: bool = False, without: Collection[str] = ()) -> None:
        """Come to the end.

        Parameters
        ----------
        what : str
            Of what it is the end.
        is_at_one_place : bool
            Whether all have to come to the same line of the program.
        without : collection of str
            The axes along which all come together anyway.
        """
        if not self._axes:
            return
        from gradkit.processes import place_in_program, subject  # late: one process needs neither JSON nor hashes

        trace = capturing()
        worlds = _met_in(trace.graph.equations[self._written :]) if trace is not None else set()
        for axis, opened in zip(self._axes, self._opened, strict=True):
            if axis.name not in without and (axis.world in worlds or axis.world.opened > opened):
                place = place_in_program() if is_at_one_place else ""
                about = subject(f"{what}, at its end, along {axis.name!r}", place)
                bind_where_captured(_end, (asarray(0.0),), {"subject": about, "here": axis.world})


@contextmanager
def together(what: str) -> Iterator[None]:
    """Let the processes come together at the end of a ``with`` block of a function of parts, if they have met in it."""
    axes = axes_in_scope()
    stretch = Stretch(axes) if axes else None
    yield
    if stretch is not None:
        stretch.end(what, is_at_one_place=True)


def _met_in(equations: Sequence[Equation]) -> set[World]:
    """Return between which processes something travels in some operations."""
    found = set()
    for equation in equations:
        if isinstance(equation.primitive, Across):
            if equation.primitive.meets:
                found.add(equation.params["axis"].world)
        elif equation.primitive is _end:
            found.add(equation.params["here"])
        else:
            for graph in (graph for value in equation.params.values() for graph in graphs_in(value)):
                found |= _met_in(graph.equations)
    return found


def _run_end(xp: Any, at: Any, *, subject: Any, here: World) -> tuple[()]:
    here.open(subject).given()
    return ()


_end = OnTheWay("process_end", _run_end, lambda at, **_: [])
