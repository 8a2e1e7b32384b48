"""Data-parallel training by hand: each process has the whole network, and a part of each minibatch.

Run ``mpiexec -n 4 python examples/data_parallel.py``, or without mpiexec.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import in_parallel

from gradkit import distributed, lax, nn
from gradkit.distributed import PartitionSpec as P


def make_loss() -> Callable[..., Any]:
    """Return the loss, which is averaged over the processes; the gradients' sum is its transpose."""
    mesh = distributed.Mesh((distributed.process_count(),), ("data",))

    def loss(w: in_parallel.Parameters, x: Any, y: Any) -> Any:
        return lax.pmean(nn.softmax_cross_entropy(in_parallel.predict(w, x), y), "data")

    return distributed.shard_map(loss, mesh=mesh, in_specs=(P(), P("data"), P("data")), out_specs=P())


if __name__ == "__main__":
    in_parallel.train(__doc__, make_loss)
