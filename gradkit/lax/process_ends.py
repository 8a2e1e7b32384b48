"""The end of a function of parts, to which all processes have to come before they go on.

Operations that they come to in pairs may be those of different turns of a loop: where one process takes a turn more
than another, it would meet the other's next call. Here it is told instead.
"""

from __future__ import annotations

from typing import Any

from gradkit.core.graph import bind_where_captured
from gradkit.lax.started_sums import OnTheWay
from gradkit.primitives.new_arrays import asarray
from gradkit.processes import World, subject

__all__ = ["end_together"]


def end_together(call: str, here: World) -> None:
    """Let all processes come here before one goes on, at each run of a program as well.

    Parameters
    ----------
    call : str
        What ends.
    here : World
        The processes.
    """
    if here.count > 1:
        bind_where_captured(_end, (asarray(0.0),), {"subject": subject(call), "here": here})


def _run_end(xp: Any, at: Any, *, subject: Any, here: World) -> tuple[()]:
    here.open(subject).given()
    return ()


_end = OnTheWay("process_end", _run_end, lambda at, **_: [])
