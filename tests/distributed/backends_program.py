"""What two processes do on each backend, for `test_backends_together.py`: ``backends_program.py OUT BACKEND ...``.

Those of CuPy share the one GPU that there may be.
"""

import json
import sys
from pathlib import Path

import numpy as np
import training_program

import gradkit
import gradkit.numpy as jnp
from gradkit import distributed, lax
from gradkit.distributed import Mesh, PartitionSpec, pmap, shard_map

distributed.initialize(timeout=100, bucket_bytes=2000)
index, count = distributed.process_index(), distributed.process_count()
mesh = Mesh((count,), ("i",))
RING = [(i, (i + 1) % count) for i in range(count)]


def numbers(tree):
    return [np.asarray(gradkit.device_get(leaf)).tolist() for leaf in gradkit.tree.leaves(tree)]


def trees():
    """Return what the collectives between steps give."""
    half = "float16" if gradkit.current_backend().has_dtype("float16") else "float32"
    tree = {
        "floats": jnp.arange(3.0) * (index + 1),
        "large": jnp.arange(3000.0) / (index + 3),
        "whole": [jnp.asarray(index + 2), jnp.asarray([[index], [7]], dtype="int16")],
        "half": jnp.asarray([0.5, 1.5], dtype=half) * (index + 1),
        "none": jnp.zeros((0, 2)),
    }
    switches = jnp.asarray([True, index == 0])
    return {
        **{op: numbers(distributed.all_reduce(tree, op)) for op in ("sum", "mean", "max", "min")},
        "gathered": numbers(distributed.all_gather({**tree, "switches": switches})),
        "broadcast": numbers(distributed.broadcast({**tree, "switches": switches}, source=1)),
        "scattered": numbers(distributed.all_gather(distributed.reduce_scatter(jnp.arange(4.0 * count) * (index + 1)))),
    }


def of_parts(x, w):
    """Use each collective, on small arrays and on large ones."""
    large = jnp.tile(x * w, 100)
    sums = lax.psum(jnp.sin(x * w), "i") + lax.pmean(large, "i")[: x.size]
    sent = lax.ppermute(x * w, "i", RING) * lax.axis_index("i")
    gathered = jnp.sum(lax.all_gather(large, "i") ** 2, axis=0)[: x.size]
    exchanged = lax.all_to_all(large, "i", 0, 0, tiled=True)[: x.size]
    scattered = jnp.tile(lax.psum_scatter(jnp.cos(x), "i", tiled=True), count)
    largest = lax.pmax(lax.stop_gradient(x), "i") - lax.pmin(lax.stop_gradient(large), "i")[: x.size]
    return jnp.sum(sums * sent + gathered * exchanged * scattered + largest * x) + lax.psum(jnp.sum(x) ** 2, "i")


def in_a_loop(x):
    return lax.scan(lambda carry, _: (lax.psum(jnp.sin(carry), "i"), carry[0]), x, None, length=3)


def collectives():
    """Return what functions of parts give, and their derivatives."""
    x, w = jnp.linspace(0.1, 1.0, 4 * count), jnp.linspace(0.5, 1.5, 4)
    sharded = lambda f, specs, out: shard_map(f, mesh=mesh, in_specs=specs, out_specs=out)  # noqa: E731
    P = PartitionSpec
    loss = sharded(lambda x, w: lax.pmean(of_parts(x, w), "i"), (P("i"), P()), P())
    loop = sharded(lambda x: in_a_loop(x)[0], P("i"), P("i"))
    elements = pmap(lambda x: x * lax.psum(x, "processes"))
    return {
        "value": numbers(loss(x, w)),
        "gradient": numbers(gradkit.grad(loss, argnums=(0, 1))(x, w)),
        "jitted": numbers(gradkit.jit(gradkit.value_and_grad(loss, argnums=(0, 1)))(x, w)),
        "loop": numbers(loop(x)),
        "jitted loop": numbers(gradkit.jit(loop)(x)),
        "elements": numbers(gradkit.jit(elements)(jnp.reshape(x, (count, 4)))),
    }


PARTS = {
    "trees": trees,
    "collectives": collectives,
    "loop": lambda: training_program.loop(distributed)["losses"],
    "eager": lambda: training_program.fit(epochs=1)["rows"],
    "compiled": lambda: training_program.fit(epochs=1, jit=True)["rows"],
}
LEFT_OUT = {"jax": ["eager"]}
"""What takes too long, since JAX compiles each operation for each shape."""

if "cupy" in sys.argv:
    import gradkit_cupy.nccl

    gradkit_cupy.nccl.place = lambda processes: None
    gradkit_cupy.nccl.why_no_nccl = lambda: "NCCL wants a GPU for each process"

found = {}
for name in sys.argv[2:]:
    with gradkit.use_backend(name):
        found[name] = {part: call() for part, call in PARTS.items() if part not in LEFT_OUT.get(name, [])}
if index == 0:
    Path(sys.argv[1]).write_text(json.dumps(found))
