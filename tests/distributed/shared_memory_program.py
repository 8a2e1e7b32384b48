"""What some processes do in `test_shared_memory.py`: process 0 writes what came out as JSON.

They train the same model by eager steps and by programs, each process waiting now and then for a while of its own, and
keep the bytes of what came out. With ``one without``, the last process can share no memory. With
``errors``, each catches errors in the middle of steps; with ``compiled`` too, of steps that are programs, and with
``fit`` of those of `fit`; with ``waits`` they come where it waits for others.
"""

import json
import os
import random as chance
import sys
import time
from pathlib import Path

import numpy as np

import gradkit
import gradkit.numpy as jnp
from gradkit import distributed, nn, optim, random
from gradkit.errors import ConcretizationTypeError
from gradkit.processes import World

ROWS, STEPS = 24, 12


def parameters():
    """Return a tree with arrays of many kinds: one of them large, some empty or numbers, of several dtypes."""
    keys = random.split(random.key(0), 3)
    return {
        "model": nn.MLP(6, [33, 3], key=keys[0]),
        "scale": jnp.asarray(1.5),
        "empty": jnp.zeros((0, 3)),
        "wide": jnp.asarray(np.linspace(-1, 1, 6)),
        "half": jnp.ones(3, "float16"),
        "short": jnp.asarray([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).astype("bfloat16"),
        "waves": jnp.asarray(np.linspace(0.5, 1, 6) * (1 + 1j)),
        "unused": jnp.ones(5),
    }


def loss(tree, x, y):
    shifted = x * tree["wide"].astype("float32") * jnp.abs(tree["waves"]).astype("float32")
    found = tree["model"](shifted) * tree["scale"]
    narrow = jnp.sum(tree["half"]).astype("float32") / 64 + jnp.mean((x * tree["short"].astype("float32")) ** 2) / 2
    return nn.softmax_cross_entropy(found, y) + jnp.sum(tree["empty"]) + narrow


def rows(step):
    rng = np.random.default_rng(step)
    return rng.normal(size=(ROWS, 6)).astype("float32"), rng.integers(0, 3, ROWS).astype("int32")


def wait():
    """Come now and then later than the others."""
    if chance.random() < 0.3:
        time.sleep(chance.random() * 0.004)


def bits(tree):
    return [np.asarray(gradkit.device_get(leaf)).tobytes().hex() for leaf in gradkit.tree.leaves(tree)]


def train(compiled):
    """Take steps, and return the bytes of the parameters after each; or after all steps in a program."""
    tree, optimizer = parameters(), optim.SGD(0.1, momentum=0.5)
    state, told, kept = optimizer.init(tree), [], []
    mean = distributed.value_and_grad(loss)
    count, index = distributed.process_count(), distributed.process_index()
    part = slice(ROWS * index // count, ROWS * (index + 1) // count)
    if compiled:

        def step(tree, state, x, y):
            _, gradient = mean(tree, x, y)
            return gradient, *optimizer.update(tree, gradient, state)

        step = gradkit.jit(step)
    for number in range(STEPS):
        x, y = (jnp.asarray(array)[part] for array in rows(number))
        wait()
        if compiled:
            gradient, tree, state = step(tree, state, x, y)
        else:
            _, gradient = mean(tree, x, y)
            wait()
            tree, state = optimizer.update(tree, gradient, state)
        told.append(bits(tree))
        kept.append((gradient, bits(gradient)))
    assert all(bits(gradient) == before for gradient, before in kept)  # no later step has written there
    return told


def checked(x, where):
    """Return `x`; at each run it is an error where `where` says so."""

    def look(x):
        if where():
            raise FloatingPointError
        return x

    return gradkit.pure_callback(look, gradkit.ShapeDtypeStruct(x.shape, x.dtype), x)


def failing(where):
    """Return the identity, whose derivative is an error where `where` says so."""

    @gradkit.custom_vjp
    def same(x):
        return x

    same.defvjp(lambda x: (x, None), lambda _, cotangent: (checked(cotangent, where),))
    return same


def catch_errors(index, count, compiled):
    """Take steps that end in errors, each process's in a place of its own, and steps between; return the gradients.

    Compiled, the step after an error is another program, and now and then none.
    """
    place = [-1]
    layers = [failing(lambda i=i: place[0] == i) for i in range(4)]

    def loss(params, x):
        x = checked(x, lambda: place[0] == 4)
        for weights, layer in zip(params, layers, strict=True):
            x = layer(jnp.tanh(x @ weights))
        return jnp.mean(x)

    rng = np.random.default_rng(0)
    params = [jnp.asarray(rng.normal(size=(20, 20)).astype("float32")) for _ in layers]
    x = jnp.asarray(rng.normal(size=(count, 4, 20)).astype("float32"))
    mean, found, caught = distributed.value_and_grad(loss), [], 0
    program = gradkit.jit(mean) if compiled else mean

    def whole(step):
        return x[:, : 4 - step % 2] * (step + 1)

    plain = distributed.value_and_grad(lambda params, x: jnp.mean(jnp.tanh(x @ params[0]) @ params[1]))
    of_second_order = gradkit.grad(lambda params: plain(params, x[index])[0])
    in_batch = gradkit.vmap(lambda params: plain(params, x[index]))
    for step in range(40):
        if step % 8 == 0:  # what all refuse, in the middle of a step as well
            for refused, given in ((of_second_order, params), (in_batch, [jnp.stack([p, p]) for p in params])):
                try:
                    refused(given)
                except (ConcretizationTypeError, NotImplementedError):
                    pass
                else:
                    raise AssertionError
        place[0] = (step + 2 * index) % 5 if step % 3 == 0 else -1
        wait()
        try:
            found.append(bits((mean if step % 12 == 1 else program)(params, whole(step)[index])[1]))
        except FloatingPointError:
            caught += 1
    place[0] = -1
    alone = [gradkit.grad(loss)(params, whole(step).reshape(-1, 20)) for step in range(40) if step % 3]
    expected = [np.asarray(leaf).ravel().tolist() for gradient in alone for leaf in gradient]
    return {"caught": caught, "gradients": found, "expected": expected}


class Interrupted(Exception):
    """What Ctrl-C raises, in a place that is chosen."""


def interrupt_waits(index, count, compiled):
    """Take steps in which each process is interrupted where it waits, if it does, and steps between, as above."""
    left = [None]
    wait_until = World.wait_until

    def interrupted(world, done, call):
        if left[0] is None:
            return wait_until(world, done, call)
        if left[0] == 0:
            left[0] = None
            raise Interrupted
        left[0] -= 1
        began = time.monotonic()

        def done_in_time():
            if left[0] is not None and time.monotonic() - began > 0.05:  # another one was interrupted
                left[0] = None
                raise Interrupted
            return done()

        return wait_until(world, done_in_time, call)

    def loss(params, x):
        for weights in params:
            x = jnp.tanh(x @ weights)
        return jnp.mean(x)

    rng = np.random.default_rng(0)
    params = [jnp.asarray(rng.normal(size=(20, 20)).astype("float32")) for _ in range(3)]
    x = jnp.asarray(rng.normal(size=(count, 4, 20)).astype("float32"))
    mean, found = distributed.value_and_grad(loss), []
    mean = gradkit.jit(mean) if compiled else mean
    World.wait_until = interrupted
    for step in range(-1, 60):
        left[0] = chance.randrange(9) if step >= 0 and step % 3 == 0 else None
        try:
            gradient = bits(mean(params, x[index] * (step + 1))[1])
        except Interrupted:
            gradient = None
        left[0] = None
        if step % 3:
            found.append(gradient)
    World.wait_until = wait_until
    alone = [gradkit.grad(loss)(params, x.reshape(-1, 20) * (step + 1)) for step in range(-1, 60) if step % 3]
    expected = [np.asarray(leaf).ravel().tolist() for gradient in alone for leaf in gradient]
    return {"caught": 0, "gradients": found, "expected": expected}


def catch_errors_of_fit(index, count):
    """Train by programs that end in errors, each process's in its own place, and without; return the parameters."""
    place = [-1]
    checks = [failing(lambda i=i: place[0] == i) for i in range(4)]

    class Checked(nn.Module):
        layers: list

        def __call__(self, x):
            for layer, check in zip(self.layers, checks, strict=True):
                x = check(jnp.tanh(layer(x)))
            return x

    rng, keys = np.random.default_rng(0), random.split(random.key(0), len(checks))
    data = [jnp.asarray(rng.normal(size=(8 * count, 6)).astype("float32")) for _ in range(2)]
    model = Checked([nn.Linear(6, 6, key=key) for key in keys])

    def fit(**options):
        how = {"loss": nn.mse, "optimizer": optim.SGD(0.1), "epochs": 2, "batch_size": 4 * count, "progress": False}
        return gradkit.fit(model, data, key=random.key(1), jit=True, **how, **options)[0]

    found, caught = [], 0
    for step in range(6):
        place[0] = (step // 2 + 2 * index) % 4 if step % 2 == 0 else -1
        try:
            found.append(bits(fit()))
        except FloatingPointError:
            caught += 1
    expected = [np.asarray(leaf).ravel().tolist() for leaf in gradkit.tree.leaves(fit(distributed=False))]
    return {"caught": caught, "gradients": found, "expected": expected * 3}


def main(path, *words):
    distributed.initialize(bucket_bytes=100)
    index, count = distributed.process_index(), distributed.process_count()
    chance.seed(index)
    if "errors" in words:
        if "fit" in words:
            found = catch_errors_of_fit(index, count)
        else:
            found = (interrupt_waits if "waits" in words else catch_errors)(index, count, "compiled" in words)
        everybody = distributed.startup.world().gather_texts(
            json.dumps([found["caught"], found["gradients"]]), "the end"
        )
        found["same everywhere"] = len(set(everybody)) == 1
        if index == 0:
            Path(path).write_text(json.dumps(found))
        return
    if "one without" in words and index == count - 1:
        os.environ["GRADKIT_SHARED_MEMORY"] = "0"
    found = {"eager": train(compiled=False)}
    sums = distributed.startup.world().belongings["gradients"]
    found["shares"] = any(
        memories is not None for shared in sums._shared.values() for memories in shared._memories.values()
    )
    for printer in ("native", "numpy", "interpreter"):
        os.environ["GRADKIT_COMPILER"] = printer
        found[printer] = train(compiled=True)
    everybody = distributed.startup.world().gather_texts(json.dumps(found), "the end")
    found["same everywhere"] = all(text == everybody[0] for text in everybody)
    if index == 0:
        Path(path).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
