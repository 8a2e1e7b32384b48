"""What three processes do in `test_collectives.py`: process 0 writes what it found as JSON; then one fails."""

import json
import sys
from pathlib import Path

import gradkit
import gradkit.numpy as jnp
from gradkit import distributed
from gradkit.errors import DistributedError, ShapeError


def numbers(found):
    return gradkit.tree.map(lambda array: [str(array.dtype), plain(array.tolist())], found)


def plain(values):
    """JSON has no complex numbers."""
    return (
        [plain(v) for v in values] if isinstance(values, list) else str(values) if type(values) is complex else values
    )


def error_of(call):
    try:
        call()
    except (DistributedError, ShapeError, NameError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


distributed.initialize(timeout=60)
index, count = distributed.process_index(), distributed.process_count()
found = {"count": count, "errors": {}}
for backend in ("numpy", "strict"):
    with gradkit.use_backend(backend):
        tree = {
            "floats": jnp.asarray([0.5, -1.0, 2.0]) * (index + 1),
            "whole": [jnp.asarray(index), jnp.asarray([[index], [7]], dtype="int8")],
            "long": jnp.arange(5000.0) * 0.1 * (index + 1),
            "none": jnp.zeros((0, 2)),
            "complex": jnp.asarray(1.0 + 2.0j) * index,
        }
        real = {name: part for name, part in tree.items() if name != "complex"}
        found[backend] = {
            "sum": numbers(distributed.all_reduce(tree)),
            "mean": numbers(distributed.all_reduce(tree, "mean")),
            "max": numbers(distributed.all_reduce(real, "max")),
            "min": numbers(distributed.all_reduce(real, "min")),
            "gathered": numbers(distributed.all_gather(tree)),
            "of process 2": numbers(distributed.broadcast(tree, source=2)),
            "parts": numbers(distributed.all_gather(distributed.reduce_scatter(jnp.arange(6000.0) * (index + 1)))),
            "is of": sorted({type(leaf.data).__module__ for leaf in gradkit.tree.leaves(distributed.all_reduce(tree))}),
        }
model = distributed.broadcast(gradkit.nn.MLP(3, [2]))
found["one model"] = len({str(row) for row in distributed.all_gather(model.layers[0].weight).tolist()}) == 1
errors = found["errors"]
errors["shapes"] = error_of(lambda: distributed.all_reduce([jnp.ones(2 + (index == 1))]))
errors["trees"] = error_of(lambda: distributed.all_gather({"a" if index else "b": jnp.ones(2)}))
errors["dtypes"] = error_of(lambda: distributed.broadcast(jnp.ones(2, "float64" if index == 2 else "float32")))
errors["operations"] = error_of(lambda: distributed.all_reduce(jnp.ones(2), "sum" if index else "max"))
errors["calls"] = error_of(lambda: distributed.barrier() if index else distributed.all_gather(jnp.ones(2)))
errors["uneven"] = error_of(lambda: distributed.reduce_scatter(jnp.ones(4)))
x, key = jnp.ones((12, 2)), gradkit.random.key(0)
batches = distributed.minibatches
errors["batch sizes"] = error_of(lambda: batches(x, 4 + (index == 2), key))
errors["lengths"] = error_of(lambda: batches(x[: 12 - index], 4, key))
errors["keys"] = error_of(lambda: batches(x, 4, gradkit.random.key(index)))
errors["rows for some"] = error_of(lambda: batches(x[:2], 4, key))
errors["a batch for some"] = error_of(lambda: batches(x, 2, key))
loss = distributed.value_and_grad(lambda params, x: jnp.sum(params["w"]) * jnp.mean(x))
errors["models"] = error_of(lambda: loss({"w": jnp.ones(2 + (index == 1))}, x))


def later(changed, how=lambda function: function):
    """Change the model in process 1 after a first step."""
    loss = how(distributed.value_and_grad(lambda params: sum(jnp.sum(leaf) for leaf in gradkit.tree.leaves(params))))
    loss({"w": jnp.ones((2, 3))})
    return error_of(lambda: loss(changed if index == 1 else {"w": jnp.ones((2, 3))}))


with gradkit.use_backend("strict" if index == 1 else "numpy"):
    found["backends of a tree"] = numbers(distributed.all_reduce(jnp.ones(2)))
errors["model of another shape later"] = later({"w": jnp.ones((3, 2))})
errors["model of another size later"] = later({"w": jnp.ones((9000, 3))})
errors["model of another dtype later"] = later({"w": jnp.ones((2, 3), "float64")})
errors["model of another structure later"] = later({"w": jnp.ones((2, 1)), "v": jnp.ones((2, 2))})
for what, changed in {"shape": {"w": jnp.ones((3, 2))}, "structure": {"w": jnp.ones((2, 1)), "v": jnp.ones(2)}}.items():
    errors[f"model of another {what} later, compiled"] = later(changed, gradkit.jit)
errors["an axis"] = error_of(
    lambda: distributed.shard_map(
        lambda x: gradkit.lax.psum(x, "dat"),
        mesh=distributed.Mesh((count,), ("data",)),
        in_specs=distributed.PartitionSpec("data"),
        out_specs=distributed.PartitionSpec(),
    )(x)
)


def neurons(w, v, x):
    """A layer whose neurons are in several processes, and the sum of what they send on."""
    return gradkit.lax.psum(jnp.tanh(x @ w) @ v, "neurons")


def derivatives_of_parts():
    """Return the gradients and the tangent of `neurons`, whose weights are this process's own, from outside."""
    P, mesh = distributed.PartitionSpec, distributed.Mesh((count,), ("neurons",))
    f = distributed.shard_map(
        neurons, mesh=mesh, in_specs=(P(None, "neurons"), P("neurons"), P()), out_specs=P(), process_local=True
    )
    w, v, x = (
        jnp.sin(jnp.arange(size) + size).reshape(shape) for size, shape in ((6.0, (2, 3)), (3.0, 3), (8.0, (4, 2)))
    )
    own = w[:, index : index + 1], v[index : index + 1], x
    gradient = gradkit.grad(lambda *args: jnp.sum(f(*args) ** 2), argnums=(0, 1, 2))
    push = lambda *args: gradkit.jvp(f, args, args)[1]  # noqa: E731
    return [
        numbers(distributed.all_gather((how(gradient)(*own), how(push)(*own)))) for how in (lambda f: f, gradkit.jit)
    ]


def steps(how, compiled):
    """Return what a loss of parts gives: those of process 0 are as long at each step, others' are not."""
    loss = distributed.value_and_grad(
        lambda params, x: (jnp.mean((x @ params["w"] - params["b"]) ** 2), jnp.sum(x)), has_aux=True
    )

    def step(params, x):
        (value, of_part), gradient = loss(params, x)
        return gradkit.tree.map(lambda p, g: p - 0.1 * g, params, gradient), (value, of_part, gradient)

    if compiled:
        step = gradkit.jit(step)
    params, given = {"w": jnp.asarray([1.0, -1.0]), "b": jnp.asarray(0.5)}, []
    for rows in ROWS_OF_STEPS:
        begin = sum(rows[:index])
        x = jnp.reshape(jnp.sin(jnp.arange(2.0 * sum(rows))), (-1, 2))[begin : begin + rows[index]]
        if how == "scan":  # two steps on the same rows
            params, results = gradkit.lax.scan(lambda params, x: step(params, x), params, jnp.stack([x, x]))
            given += [gradkit.tree.map(lambda leaf, i=i: leaf[i], results) for i in range(2)]
        else:
            params, result = step(params, x)
            given.append(result)
    return [numbers(result) for result in given]


ROWS_OF_STEPS = found["rows of steps"] = [(3, 3, 3), (3, 1, 5), (3, 0, 2), (3, 0, 0), (3, 4, 1), (3, 3, 3)]
for backend in ("numpy", "strict"):
    with gradkit.use_backend(backend):
        found[backend]["derivatives of parts"] = derivatives_of_parts()
        found[backend]["steps"] = {
            f"{how}, {compiled}": steps(how, compiled == "compiled")
            for how, compiled in [("step", "eager"), ("step", "compiled"), ("scan", "compiled")]
        }
distributed.barrier()  # after all these errors they still agree
if index == 0:
    Path(sys.argv[1]).write_text(json.dumps(found))
distributed.barrier()
if index == 1:
    raise ValueError("process 1 has had enough")
distributed.barrier()
