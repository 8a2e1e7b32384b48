"""What some processes do in `test_disagreements.py`: each comes to something else. Process 0 writes what all were told.

``disagreeing_program.py PATH BACKEND/WAY ...``, where a way is how each collective is called.
"""

import itertools
import json
import sys
from pathlib import Path

import gradkit
import gradkit.numpy as jnp
from gradkit import distributed, lax
from gradkit.distributed import Mesh, shard_map
from gradkit.distributed import PartitionSpec as P
from gradkit.distributed.startup import world
from gradkit.errors import DistributedError

distributed.initialize(timeout=60)
me, count = distributed.process_index(), distributed.process_count()
mesh = Mesh((count,), ("i",))
RING = [(i, (i + 1) % count) for i in range(count)]
STAY = [(i, i) for i in range(count)]

COLLECTIVES = {
    "psum": lambda x: lax.psum(x, "i"),
    "pmax": lambda x: lax.pmax(x, "i"),
    "pmin": lambda x: lax.pmin(x, "i"),
    "all_gather": lambda x: lax.all_gather(x, "i"),
    "psum_scatter": lambda x: lax.psum_scatter(x, "i", tiled=True),
    "all_to_all": lambda x: lax.all_to_all(x, "i", 0, 0, tiled=True),
    "ppermute": lambda x: lax.ppermute(x, "i", RING),
}
OTHER = {
    "psum of another dtype": lambda x: lax.psum(x.astype("int32"), "i"),
    "psum of another shape": lambda x: lax.psum(jnp.reshape(x, (-1, 2)), "i"),
    "psum of another size": lambda x: lax.psum(x[1:], "i"),
    "psum of a large array": lambda x: lax.psum(jnp.tile(x, 1000), "i"),
    "all_gather of a large array": lambda x: lax.all_gather(jnp.tile(x, 1000), "i"),
    "all_to_all of a large array": lambda x: lax.all_to_all(jnp.tile(x, 1000), "i", 0, 0, tiled=True),
    "ppermute by other pairs": lambda x: lax.ppermute(x, "i", STAY),
}
BETWEEN_STEPS = {
    "barrier": lambda x: distributed.barrier(),
    "all_reduce": distributed.all_reduce,
    "broadcast": distributed.broadcast,
    "value_and_grad": distributed.value_and_grad(lambda w: jnp.sum(w)),
}


def in_a_scan(f):
    return lambda x: lax.scan(
        lambda carry, _: (carry + jnp.sum(f(x)).astype(x.dtype), None), jnp.zeros((), x.dtype), None, length=2
    )[0]


def in_a_cond(f):
    return lambda x: lax.cond(jnp.sum(x) > 0, lambda x: jnp.sum(f(x)).astype(x.dtype), jnp.sum, x)


def transposed(f):
    return gradkit.grad(lambda x: jnp.sum(f(x) * x[0]))


WAYS = {
    "eager": lambda f: f,
    "jit": gradkit.jit,
    "scan": in_a_scan,
    "jitted scan": lambda f: gradkit.jit(in_a_scan(f)),
    "cond": in_a_cond,
    "jitted cond": lambda f: gradkit.jit(in_a_cond(f)),
    "vmap": lambda f: lambda x: gradkit.vmap(f)(jnp.stack([x, x])),
    "grad": transposed,
    "jitted grad": lambda f: gradkit.jit(transposed(f)),
}


def told(call):
    try:
        call()
    except DistributedError as error:
        return f"told twice: {error}" if error.__cause__ else str(error)
    return "nothing"


def sharded(f):
    return shard_map(f, mesh=mesh, in_specs=P(), out_specs=P(), process_local=True)


def disagreements(backend, way):
    """Return what is told for each pair of calls, of which the last process makes the other one."""
    inside = {**COLLECTIVES, **OTHER}
    if way.endswith("grad"):
        inside = {name: f for name, f in inside.items() if not name.endswith("dtype")}
    with gradkit.use_backend(backend):
        x = jnp.arange(1.0, 2 * count + 1)
        calls = {**{name: sharded(WAYS[way](f)) for name, f in inside.items()}, **BETWEEN_STEPS}
        before = {name: str(f(x)) for name, f in calls.items()}
        pairs = list(itertools.combinations(calls, 2))
        words = [told(lambda pair=pair: calls[pair[me == count - 1]](x)) for pair in pairs]
        assert before == {name: str(f(x)) for name, f in calls.items()}  # all go on, as if nothing had been
    return [[*pair, text] for pair, text in zip(pairs, words, strict=True)]


def turns(x, count):
    """Take some turns of a loop with a collective in each."""
    return lax.while_loop(
        lambda state: state[1] < count, lambda state: (lax.psum(state[0], "i"), state[1] + 1), (x, 0)
    )[0]


def some_turns(x, count):
    return lax.fori_loop(0, count, lambda i, x: lax.psum(x, "i"), x)


def summed(x):
    return lax.psum(x, "i")


def as_it_is(x):
    return x


def branch_and_other(x, m):
    first = lax.cond(m == 0, summed, as_it_is, x)
    return first + lax.cond(m == 1, summed, as_it_is, x)


PARTED = {
    "a turn more": lambda x, m: turns(x, 2 + m),
    "a turn more, then one less": lambda x, m: turns(x, 2 + m) + turns(x, 3 - m),
    "a counted turn more, then one less": lambda x, m: some_turns(x, 2 + m) + some_turns(x, 3 - m),
    "one branch, then the other": branch_and_other,
}
"""What pairs the collectives of different places; the last process has another `m`."""
FITTING = {
    "both branches": lambda x, m: lax.cond(m == 0, lambda x: lax.psum(x, "i"), lambda x: lax.psum(2 * x, "i"), x),
    "a loop of its own": lambda x, m: lax.psum(lax.fori_loop(0, 2 + m, lambda i, x: 2 * x, x), "i"),
}
"""What is as it should be, though processes take other ways."""


def ways_that_part():
    """Return what is told of functions in which processes take other ways, eager, compiled and differentiated."""
    words = {}
    with gradkit.use_backend("numpy"):
        x, m = jnp.ones(3), jnp.asarray(int(me == count - 1))
        for name, f in {**PARTED, **FITTING}.items():
            words[name] = [told(lambda run=run, f=f: run(sharded(f))(x, m)) for run in (lambda f: f, gradkit.jit)]
            if "branch" in name:
                slope = gradkit.jit(gradkit.grad(lambda x, m, f=f: jnp.sum(sharded(f)(x, m))))
                words[name].append(told(lambda slope=slope: slope(x, m)))
    return words


found = {how: disagreements(*how.split("/")) for how in sys.argv[2:]}
found["parted"] = ways_that_part()
texts = world().gather_texts(json.dumps(found), "the end")
assert len(set(texts)) == 1, "processes were told different things"
if me == 0:
    Path(sys.argv[1]).write_text(json.dumps(found))
