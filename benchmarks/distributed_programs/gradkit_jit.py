"""A training loop by gradkit in several processes, whose step `jit` compiles: `mpiexec` starts them."""

from gradkit import distributed, jit, nn, optim, random, tree
from gradkit import numpy as jnp


def loss_of(model, x, y):
    return nn.softmax_cross_entropy(model(x), y)


def train(layers, batches):
    """Train from these weights on this process's part of each minibatch; gives the loss of each step."""
    distributed.initialize()
    widths = [len(bias) for _, bias in layers]
    model = nn.MLP(len(layers[0][0]), widths, activation="relu", key=random.key(0))
    model = tree.unflatten(tree.structure(model), [jnp.asarray(array) for layer in layers for array in layer])
    optimizer = optim.SGD(0.1)
    state = optimizer.init(model)
    value_and_gradient = distributed.value_and_grad(loss_of)

    @jit
    def step(model, state, x, y):
        loss, gradient = value_and_gradient(model, x, y)
        return *optimizer.update(model, gradient, state), loss

    for x, y in batches:
        model, state, loss = step(model, state, jnp.asarray(x), jnp.asarray(y))
        yield loss
