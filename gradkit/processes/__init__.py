"""The processes of a run: which of them this one is, how they meet, and how flat arrays travel between them.

It stands beside the backends' protocol and knows neither Arrays nor trees; `gradkit.distributed` is its face. MPI is
imported where a launcher has started several processes, and not before.
"""

from __future__ import annotations

from gradkit.processes.axes import ProcessAxis, axes_in_scope, named_axes
from gradkit.processes.launchers import launched_processes
from gradkit.processes.sums import SMALL, OrderedSum, sum_of_all
from gradkit.processes.world import BUCKET_BYTES, TIMEOUT, World, enter_world, leave_world, the_world, world_of_launcher

__all__ = [
    "BUCKET_BYTES", "SMALL", "TIMEOUT", "OrderedSum", "ProcessAxis", "World", "axes_in_scope", "enter_world",
    "launched_processes", "leave_world", "named_axes", "sum_of_all", "the_world", "world_of_launcher",
]  # fmt: skip
