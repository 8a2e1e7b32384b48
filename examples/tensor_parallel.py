"""Tensor-parallel training by hand: each process has a part of the hidden neurons, and all of each minibatch.

The first layer is divided by columns and the second by rows, so between them nothing travels; behind them a sum does.
Run ``mpiexec -n 4 python examples/tensor_parallel.py``, or without mpiexec.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import in_parallel

import gradkit.numpy as jnp
from gradkit import distributed, lax, nn
from gradkit.distributed import PartitionSpec as P


def make_loss() -> Callable[..., Any]:
    """Return the loss of a network whose neurons are in several processes."""
    mesh = distributed.Mesh((distributed.process_count(),), ("neurons",))

    def loss(w: in_parallel.Parameters, x: Any, y: Any) -> Any:
        first = jnp.tanh(x @ w["w0"])  # this process's neurons
        second = jnp.tanh(lax.psum(first @ w["w1"], "neurons"))
        return nn.softmax_cross_entropy(second @ w["w2"], y)

    parts = {"w0": P(None, "neurons"), "w1": P("neurons", None), "w2": P()}
    return distributed.shard_map(loss, mesh=mesh, in_specs=(parts, P(), P()), out_specs=P())


if __name__ == "__main__":
    in_parallel.train(__doc__, make_loss)
