"""Gradients leave in buckets while the backward pass goes on: seen on a network whose messages take their time."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit import nn, random
from gradkit.core.binding import bind
from gradkit.distributed.gradients import SummedGradients
from gradkit.errors import ProcessLeftError
from gradkit.lax import across_processes
from gradkit.lax.started_sums import StartedSums
from gradkit.processes import ProcessAxis
from gradkit.transforms.reverse import watched_value_and_grad

DELAY = 3
"""What a message takes, where walking back a node takes 1."""


class Clock:
    now = 0


class Message:
    def __init__(self, clock, value):
        self.clock, self.value, self.there = clock, value, clock.now + DELAY

    def done(self):
        return self.clock.now >= self.there

    def result(self):
        self.clock.now = max(self.clock.now, self.there)  # waiting takes the time that is missing
        return self.value


class Transport:
    how = "a network of two processes, of which the other has the same values"

    def __init__(self, clock, xp):
        self.clock, self.xp, self.sent, self.elements = clock, xp, [], 0

    def apart(self):
        return nullcontext()

    def exchange(self, parts, call):
        self.sent.append(("exchange", self.clock.now))
        self.elements += parts.shape[1]
        return Message(self.clock, self.xp.stack([parts[0, ...], parts[0, ...]]))

    def collect(self, part, call):
        self.sent.append(("collect", self.clock.now))
        self.elements += part.shape[0]
        self.parts = part
        return Message(self.clock, self.xp.stack([part, part]))


class World:
    count = 2
    is_on_one_machine = False

    def __init__(self, clock, transport, bucket_bytes):
        self.clock, self.bucket_bytes, self._transport = clock, bucket_bytes, transport
        self.belongings = {}

    def transport(self, backend, lane):
        return self._transport

    def open(self, about, content=b""):
        return Met(np.frombuffer(content, np.uint8))


class Met:
    """A meeting to which the other process has come with the same."""

    def __init__(self, content):
        self._content = content

    def given(self):
        return np.stack([self._content, self._content])


class Watched(SummedGradients):
    """Counts the nodes that are walked back, and when gradients are told of."""

    def __init__(self, parameters, here):
        super().__init__(parameters, lambda: 0.5, here)
        self.clock, self.told = here.clock, []

    def node_done(self):
        self.clock.now += 1
        super().node_done()

    def gradient_done(self, leaf, gradient):
        self.told.append((self._positions[leaf], np.array(gradkit.device_get(gradient))))
        super().gradient_done(leaf, gradient)


def run(function, params, *batch, bucket_bytes=1):
    clock = Clock()
    transport = Transport(clock, gradkit.current_backend().xp)
    sums = Watched(gradkit.tree.leaves(params), World(clock, transport, bucket_bytes))
    _, gradient = watched_value_and_grad(function, sums.watch)(params, *batch)
    walked = clock.now
    found = sums.finish(gradkit.tree.leaves(gradient))
    return sums, transport, walked, found, gradkit.tree.leaves(gradient)


@pytest.fixture
def network(xp):
    x, y = jnp.ones((8, 20)), jnp.arange(8) % 10
    return nn.MLP(20, [16, 16, 10], key=random.key(0)), x, y


def loss(model, x, y):
    return nn.softmax_cross_entropy(model(x), y)


def test_messages_travel_while_the_backward_pass_goes_on(network):
    sums, transport, walked, *_ = run(loss, *network)
    ended = sums.clock.now
    messages = len(transport.sent)
    assert messages == 2 * 6  # each parameter is a bucket
    assert ended < walked + messages * DELAY / 2
    assert sum(when < walked for _, when in transport.sent) >= 4  # all but those of the first layer
    assert any(kind == "collect" and when < walked for kind, when in transport.sent)


def test_one_large_bucket_leaves_when_the_last_gradient_is_there(network):
    _, transport, walked, *_ = run(loss, *network, bucket_bytes=10**9)
    assert [kind for kind, _ in transport.sent] == ["exchange", "collect"]
    assert transport.sent[0][1] == walked


def test_both_movements_of_buckets_begin_in_the_order_of_the_buckets(network):
    sums, transport, *_ = run(loss, *network)
    for kind in ("exchange", "collect"):
        times = [when for what, when in transport.sent if what == kind]
        assert times == sorted(times)
    assert [position for position, _ in sums.told] == sorted((p for p, _ in sums.told), reverse=True)


def test_a_step_sends_what_a_sum_over_two_has_to(network):
    model = network[0]
    _, transport, *_ = run(loss, *network)
    # Of two processes each sends half of the gradients and half of the sums; halves of odd sizes are rounded up.
    optimum = sum(leaf.size for leaf in model.parameters())
    assert optimum <= transport.elements <= optimum + 2 * len(model.parameters())


def shared(params, x):
    """A parameter that is used early, in the middle and last; and one that is not used."""
    early = jnp.sin(x * params["a"])
    middle = jnp.sum(early * params["b"]) + params["a"]
    return jnp.sum(middle * params["c"]) * jnp.sum(params["a"])


def test_a_gradient_is_told_of_when_nothing_more_is_added_to_it(xp):
    params = {name: jnp.asarray([0.5, 2.0, -1.0]) for name in "abcd"}
    sums, _, _, found, gradient = run(shared, params, jnp.asarray([0.3, 0.2, 0.1]))
    assert [position for position, _ in sums.told] == [2, 1, 0]
    for position, told in sums.told:
        np.testing.assert_array_equal(told, np.asarray(gradient[position]))
    # The other process has the same half of everything, so the sums are what one process has.
    alone = gradkit.tree.leaves(gradkit.grad(shared)(params, jnp.asarray([0.3, 0.2, 0.1])))
    for leaf, own, whole in zip(found, gradient, alone, strict=True):
        np.testing.assert_allclose(np.asarray(own), np.asarray(whole) / 2, rtol=1e-6)
        np.testing.assert_allclose(np.asarray(leaf)[:2], np.asarray(whole)[:2], rtol=1e-6)
    assert np.asarray(found[3]).tolist() == [0.0, 0.0, 0.0]


class Alone:
    """A transport whose other process has ended."""

    how = "nothing"

    def exchange(self, parts, call):
        raise ProcessLeftError(f"{call}: process 1 of 2 has ended")

    collect = exchange


@pytest.mark.parametrize("run_it", [lambda f: f, gradkit.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("operation", ["psum", "gradients"])
def test_an_error_of_other_processes_keeps_its_type_in_all_operations(operation, run_it, xp):
    world = World(Clock(), Alone(), 1)

    def summed(x):
        if operation == "psum":
            return bind(across_processes.sums, (x,), {"axis": ProcessAxis("data", world)})
        sums = StartedSums(world, "gradients", "the sum of gradients")
        return sums.end(0, x, sums.begin(0, x), [x.shape])[0]

    with pytest.raises(ProcessLeftError, match="process 1 of 2 has ended"):
        run_it(summed)(jnp.ones(300))


@pytest.mark.parametrize("name", ["numpy", "strict", "jax"])
@pytest.mark.parametrize("operation", ["psum", "pmax", "gradients"])
def test_a_program_meets_the_others_at_each_run_whatever_compiles_it(operation, name):
    pytest.importorskip(name if name == "jax" else "numpy")
    with gradkit.use_backend(name):
        clock = Clock()
        transport = Transport(clock, gradkit.current_backend().xp)
        world = World(clock, transport, 1)
        axis = ProcessAxis("data", world)

        def met(x):
            if operation != "gradients":
                across = across_processes.sums if operation == "psum" else across_processes.maxima
                return bind(across, (x * 2,), {"axis": axis})
            sums = StartedSums(world, "gradients", "the sum of gradients", small=0)
            return sums.end(0, x * 2, sums.begin(0, x * 2), [x.shape])[0]

        program = gradkit.jit(met)
        for number in range(1, 4):
            found = program(jnp.full(2000, float(number)))
            # The other process has the same values, of which each has half to add up.
            np.testing.assert_array_equal(
                np.asarray(found), np.full(2000, number * (2.0 if operation == "pmax" else 4.0))
            )
        assert len(transport.sent) == 3 * 2
