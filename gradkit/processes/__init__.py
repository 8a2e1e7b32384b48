"""The processes of a run: which of them this one is, how they meet, and how flat arrays travel between them.

It stands beside the backends' protocol and knows neither Arrays nor trees; `gradkit.distributed` is its face. MPI is
imported where a launcher has started several processes, and not before.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gradkit.processes.axes import ProcessAxis, axes_in_scope, named_axes
from gradkit.processes.sums import SMALL, OrderedSum, sum_of_all

if TYPE_CHECKING:
    from gradkit.processes.launchers import launched_processes
    from gradkit.processes.meetings import Meeting, Subject, place_in_program, subject
    from gradkit.processes.world import (
        BUCKET_BYTES,
        TIMEOUT,
        World,
        enter_world,
        leave_world,
        the_world,
        world_of_launcher,
    )

__all__ = [
    "BUCKET_BYTES", "SMALL", "TIMEOUT", "Meeting", "OrderedSum", "ProcessAxis", "Subject", "World", "axes_in_scope",
    "enter_world", "launched_processes", "leave_world", "named_axes", "place_in_program", "subject", "sum_of_all",
    "the_world", "world_of_launcher",
]  # fmt: skip

_LATE = {
    "launchers": "launched_processes",
    "meetings": "Meeting Subject place_in_program subject",
    "world": "BUCKET_BYTES TIMEOUT World enter_world leave_world the_world world_of_launcher",
}
"""By file, its names: most programs are one process, and load neither."""


def __getattr__(name: str) -> Any:
    """Load the file that has a name."""
    for module, names in _LATE.items():
        if name in names.split():
            return getattr(importlib.import_module(f"gradkit.processes.{module}"), name)
    raise AttributeError(f"module 'gradkit.processes' has no attribute {name!r}")
