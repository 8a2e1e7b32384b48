"""Many processes: the same program on each, over MPI, with data and sums that they share.

``mpiexec -n 4 python program.py`` starts four processes. `initialize` finds the others; without ``mpiexec`` a process
is a world of one, in which everything here works. `gradkit.fit` needs none of this: it shares its work by itself.
"""

from __future__ import annotations

from gradkit.distributed.batches import minibatches
from gradkit.distributed.gradients import value_and_grad
from gradkit.distributed.sharding import Mesh, PartitionSpec, pmap, shard_map
from gradkit.distributed.startup import barrier, initialize, process_count, process_index, shutdown
from gradkit.distributed.trees import all_gather, all_reduce, broadcast, reduce_scatter

__all__ = [
    "Mesh", "PartitionSpec", "all_gather", "all_reduce", "barrier", "broadcast", "initialize", "minibatches", "pmap",
    "process_count", "process_index", "reduce_scatter", "shard_map", "shutdown", "value_and_grad",
]  # fmt: skip
