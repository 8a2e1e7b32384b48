"""Pipeline-parallel training by hand: each process has a layer, and parts of the minibatch pass through them in turn.

At each tick every process applies its layer to what it has, and sends the result to the next one: so all are at work,
each on another part. Processes beyond the third hand on what they get. Run ``mpiexec -n 3 python
examples/pipeline_parallel.py``, or without mpiexec.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import in_parallel

import gradkit.numpy as jnp
from gradkit import distributed, lax, nn
from gradkit.distributed import PartitionSpec as P

WIDTH, LAYERS, PARTS = 64, 3, 4


def make_loss() -> Callable[..., Any]:
    """Return the loss of a network whose layers are in several processes."""
    count = distributed.process_count()
    mesh = distributed.Mesh((count,), ("layers",))
    each = -(-LAYERS // count)  # layers in a process
    places = each * count
    onwards = [(i, i + 1) for i in range(count - 1)]

    def loss(w: Any, is_there: Any, is_last: Any, x: Any, y: Any) -> Any:
        index = lax.axis_index("layers")

        def stage(values: Any) -> Any:
            for i in range(each):
                sums = values @ w[i]
                layer = jnp.where(is_last[i], sums, jnp.tanh(sums))
                values = jnp.where(is_there[i], layer, values)
            return values

        parts = jnp.reshape(x, (PARTS, -1, WIDTH))
        values, results = jnp.zeros_like(parts[0]), []
        for tick in range(PARTS + count - 1):
            entering = parts[min(tick, PARTS - 1)]
            values = stage(jnp.where(index == 0, entering, values))
            if tick >= count - 1:
                results.append(values)  # whole in the last process
            values = lax.ppermute(values, "layers", onwards)
        scores = jnp.concatenate(results)[:, : in_parallel.CLASSES]
        own = jnp.where(index == count - 1, nn.softmax_cross_entropy(scores, y), 0.0)
        return lax.psum(own, "layers")

    piped = distributed.shard_map(
        loss, mesh=mesh, in_specs=(P("layers"), P("layers"), P("layers"), P(), P()), out_specs=P()
    )

    def whole(w: in_parallel.Parameters, x: Any, y: Any) -> Any:
        # All layers have one shape, so that a process's layer is a matter of its index: the rest are zeros.
        square = [jnp.pad(m, [(0, WIDTH - m.shape[0]), (0, WIDTH - m.shape[1])]) for m in w.values()]
        nothing = [jnp.zeros((WIDTH, WIDTH))] * (places - LAYERS)
        numbers = jnp.arange(places)
        return piped(jnp.stack([*square, *nothing]), numbers < LAYERS, numbers == LAYERS - 1, x, y)

    return whole


if __name__ == "__main__":
    in_parallel.train(__doc__, make_loss)
