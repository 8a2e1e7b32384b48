"""What two processes do in `test_sameness.py`: they say what is told of arrays that have to be the same in all."""

import json
import sys
from pathlib import Path

import numpy as np

import gradkit
import gradkit.numpy as jnp
from gradkit import distributed, lax, nn, random
from gradkit.distributed import Mesh, PartitionSpec, pmap, shard_map
from gradkit.errors import DistributedError

distributed.initialize(timeout=60)
me, count = distributed.process_index(), distributed.process_count()
mesh, P = Mesh((count,), ("i",)), PartitionSpec

WAYS = {
    "eager": lambda f: f,
    "jit": gradkit.jit,
    "scan": lambda f: lambda x: lax.scan(lambda c, _: (c, f(x)), 0, None, length=2)[1],
    "jitted scan": lambda f: gradkit.jit(lambda x: lax.scan(lambda c, _: (c, f(x)), 0, None, length=2)[1]),
    "vmap": lambda f: lambda x: gradkit.vmap(f)(jnp.stack([x, x])),
    "jvp": lambda f: lambda x: gradkit.jvp(f, (x,), (x,))[1],
    "grad": lambda f: gradkit.grad(lambda x: jnp.sum(f(x))),
    "jitted grad": lambda f: gradkit.jit(gradkit.grad(lambda x: jnp.sum(f(x)))),
}
DTYPES = ["float32", "float64", "complex64", "int8", "int32", "uint32", "bool"]
DTYPES_OF_NUMPY = ["float16", "bfloat16", "float8_e4m3fn"]
SIZES = [1, 5, 1500, 70000]


def told(call, *args):
    try:
        call(*args)
    except DistributedError as error:
        return str(error)
    return "nothing"


def sharded(f, in_specs, out_specs):
    return shard_map(f, mesh=mesh, in_specs=in_specs, out_specs=out_specs)


def own_result(x):
    """A result that is each process's own, though its spec says that it is the same."""
    return jnp.sum(x * 3)


def summed(x):
    return lax.psum(jnp.sum(x * 3), "i")


def arrays(backend):
    """Return what is told of arrays of each dtype and size: the same, all others, and others by rounding."""
    identity = sharded(lambda x: {"a": x}, P(), P())
    rows = []
    for dtype in [*DTYPES, *(DTYPES_OF_NUMPY if backend == "numpy" else [])]:
        for size in SIZES:
            drawn = np.random.default_rng(size).uniform(1, 100, (2, size))
            own = [jnp.asarray(values).astype(dtype) for values in (drawn > 50 if dtype == "bool" else drawn)]
            other = jnp.logical_not(own[0]) if dtype == "bool" else own[1]
            rows.append([dtype, size, "same", told(identity, own[0])])
            rows.append([dtype, size, "other", told(identity, other if me else own[0])])
    x = jnp.asarray(np.random.default_rng(0).normal(size=2000).astype("float32"))
    rounded = jnp.asarray(np.nextafter(np.asarray(x), np.float32(9), dtype="float32")) if me else x
    holes = jnp.where(jnp.arange(2000) % 9 == 0, jnp.nan, jnp.where(jnp.arange(2000) % 7 == 0, jnp.inf, x))
    rows.append(["float32", 2000, "same", told(identity, rounded)])
    rows.append(["float32", 2000, "same", told(identity, holes)])
    rows.append(["float32", 2000, "same", told(identity, jnp.zeros((0, 3)))])
    rows.append(["float32", 2000, "other", told(identity, holes if me else x)])
    rows.append(["float32", 2000, "other", told(identity, jnp.flip(x) if me else x)])
    rows.append(["float32", 2000, "other", told(identity, x * (1 + 0.01 * me))])
    return rows


def forms():
    """Return what each process is told of arguments and results that are not of one shape, dtype, number or name."""
    identity = sharded(lambda x: 1.0, P(), P())
    cases = {
        "shape": lambda: identity(jnp.zeros(4 + me)),
        "order of axes": lambda: identity(jnp.ones((2, 3) if me else (3, 2))),
        "many elements": lambda: identity(jnp.ones(2000 + me)),
        "dtype": lambda: identity(jnp.ones(4, "float64" if me else "float32")),
        "kind": lambda: identity(jnp.ones(4, "int32" if me else "float32")),
        "number": lambda: identity([jnp.ones(4)] * (1 + me)),
        "name": lambda: identity({"b" if me else "a": jnp.ones(4)}),
        "shape of a result": lambda: sharded(lambda x: x[: 1 + me], P(), P())(jnp.ones(4)),
        "number of results": lambda: sharded(lambda x: [x] * (1 + me), P(), P())(jnp.ones(4)),
        "batch": lambda: gradkit.vmap(identity)(jnp.ones((2 + me, 3))),
    }
    here = distributed.startup.world()
    return {name: here.gather_texts(told(call), "forms") for name, call in cases.items()}


def models(run):
    """Return what is told of the parameters of losses, each in steps of its own or in a program."""
    x = jnp.ones((2, 3))
    of_model = run(distributed.value_and_grad(lambda model, x: jnp.mean(model(x))))
    of_tree = run(distributed.value_and_grad(lambda tree, x: jnp.sum(tree["a"]) * tree["b"][0]))

    def model(seed):
        return nn.MLP(3, [4, 2], key=random.key(seed))

    def tree(b):
        return {"a": jnp.ones(3), "b": [jnp.asarray(b)]}

    def in_turns():
        """Take steps of two models by one loss, which a change of rows makes another program in one process alone."""
        for rows in (2, 2 + me):
            of_model(model(1), jnp.ones((rows, 3)))
            of_model(nn.MLP(3, [2], key=random.key(1)), x)

    return {
        "other keys": told(of_model, model(me), x),
        "the same": told(of_model, model(1), x),
        "in turns": told(in_turns),
        "one parameter": told(of_tree, tree(1.0 + me), x),
        "the same parameters": told(of_tree, tree(1.0), x),
    }


def all_of_it(backend):
    x = jnp.arange(1.0, 2.0 * count + 1)
    total, own = sharded(summed, P("i"), P()), sharded(own_result, P("i"), P())
    return {
        "arrays": arrays(backend),
        "forms": forms(),
        "results": {name: told(way(own), x) for name, way in WAYS.items()},
        "sums": {name: told(way(total), x) for name, way in WAYS.items()},
        "arguments": {name: told(way(total), x + me) for name, way in WAYS.items()},
        "pmap": told(pmap(lambda x: x * 2), jnp.ones((count, 2)) + me),
        "models": {"eager": models(lambda f: f), "jit": models(gradkit.jit)},
    }


found = {}
for backend in sys.argv[2:]:
    with gradkit.use_backend(backend):
        found[backend] = all_of_it(backend)
distributed.barrier()
if me == 0:
    Path(sys.argv[1]).write_text(json.dumps(found))
