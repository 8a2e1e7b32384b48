"""Movements between processes on CuPy's arrays, by MPI: ``cuda_messages_program.py gpu|pinned|numpy``, on the stand-in.

The processes share the one GPU that the stand-in has. Process 0 prints what has arrived, and the losses of a training.
"""

import json
import sys

import numpy as np

import gradkit
import gradkit.numpy as jnp
from gradkit import data, distributed, nn, optim, random
from gradkit.distributed.startup import world

memory = sys.argv[1]
if memory != "numpy":
    import gradkit_cupy.messages
    import gradkit_cupy.nccl

    gradkit_cupy.nccl.place = lambda processes: None
    gradkit_cupy.nccl.why_no_nccl = lambda: "this run does without"
    gradkit_cupy.messages.mpi_knows_cuda = lambda: memory == "gpu"
    gradkit.set_backend("cupy")

distributed.initialize()
index = distributed.process_index()
values = np.arange(12.0).reshape(3, 4) * (index + 1)
tree = {
    "float32": jnp.asarray(values, dtype="float32").T,  # not row by row
    "int16": jnp.asarray(values, dtype="int16"),
    "bool": jnp.asarray(values % 3 == 0),
    "empty": jnp.zeros((0, 3), dtype="float32"),
    "number": jnp.asarray(index + 0.5, dtype="float32"),
    "large": jnp.asarray(np.arange(5000.0) / (index + 3), dtype="float32"),
}
found = {
    "how": world().transport(gradkit.backend.current_backend(), "calls").how,
    "gathered": distributed.all_gather(tree),
    "broadcast": distributed.broadcast(tree),
    "sums": distributed.all_reduce({name: x for name, x in tree.items() if name != "bool"}),
}
x, y = (np.asarray(part[:200]) for part in data.load_digits())
_, history = gradkit.fit(
    nn.MLP(64, [20, 10], key=random.key(1)), (x, y), optimizer=optim.SGD(0.1), epochs=2, batch_size=50,
    key=random.key(2), progress=False, jit=False,
)  # fmt: skip
found["loss"] = list(history["loss"])
if index == 0:
    print(json.dumps(gradkit.tree.map(lambda leaf: leaf.tolist() if hasattr(leaf, "tolist") else leaf, found)))
