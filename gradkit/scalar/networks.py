"""`Neuron`, `Layer` and `MLP` of Values, with the signatures of the lecture's notes."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Sequence
from operator import methodcaller
from typing import Any, ClassVar

import optree

from gradkit import nn, random, tree
from gradkit.backend import use_backend
from gradkit.core import Array
from gradkit.errors import unknown_name
from gradkit.scalar.value import Value

__all__ = ["MLP", "Layer", "Module", "Neuron"]

ACTIVATIONS: dict[str, Callable[[Value], Value]] = {
    "identity": lambda value: value,
    "relu": methodcaller("relu"),
    "sigmoid": methodcaller("sigmoid"),
    "tanh": methodcaller("tanh"),
}


class Module:
    """What neurons, layers and networks have in common: parameters, and being a pytree of them.

    A subclass names the attributes that hold values, or modules, in `children`, and its other attributes in `settings`.
    """

    children: ClassVar[tuple[str, ...]] = ()
    settings: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()

        def flatten(module: Any) -> Any:
            parts = [tuple(getattr(module, name) for name in names) for names in (cls.children, cls.settings)]
            return *parts, cls.children

        def unflatten(settings: Any, children: Any) -> Any:
            module = object.__new__(cls)
            vars(module).update(zip(cls.children, children, strict=True))
            vars(module).update(zip(cls.settings, settings, strict=True))
            return module

        tree.register(cls, flatten, unflatten, path_entry_type=optree.GetAttrEntry)

    def parameters(self) -> list[Value]:
        """Return the weights and biases."""
        return []

    def zero_grad(self) -> None:
        """Set the gradient of every parameter to 0."""
        for parameter in self.parameters():
            parameter.grad = 0.0


class Neuron(Module):
    """One neuron: the activation of w·x + b.

    Parameters
    ----------
    nIn : int
        The number of inputs.
    activation : str
        ``"tanh"``, ``"relu"``, ``"sigmoid"`` or ``"identity"``.
    key : key, optional
        The random key; by default the next one of `gradkit.random.seed`.

    Attributes
    ----------
    w : list of Value
        The weights; at first uniform between -1 and 1, as is the bias.
    b : Value
        The bias.

    Examples
    --------
    >>> import gradkit
    >>> n = gradkit.scalar.Neuron(2)
    >>> n.w[0].data, n.w[1].data, n.b.data = -3.0, 1.0, 6.8813735870195432
    >>> round(n([2.0, 0.0]).data, 4)
    0.7071
    """

    children = ("w", "b")
    settings = ("activation",)

    def __init__(self, nIn: int, activation: str = "tanh", key: Array | None = None) -> None:
        (weights,), (bias,) = _drawn(nIn, 1, key)
        self._set(weights, bias, activation)

    def _set(self, weights: list[Value], bias: Value, activation: str) -> Neuron:
        if activation not in ACTIVATIONS:
            raise unknown_name("activation", activation, list(ACTIVATIONS))
        self.w = weights
        self.b = bias
        self.activation = activation
        return self

    def __call__(self, x: Sequence[Any]) -> Value:
        """Apply the neuron to a list of `nIn` numbers or values.

        Raises
        ------
        ValueError
            If it is no list, or has another length.
        """
        try:
            count = len(x)
        except TypeError:
            raise ValueError(f"Neuron: expected a list of {len(self.w)} inputs, got {reprlib.repr(x)}") from None
        if count != len(self.w):
            raise ValueError(f"Neuron: expected a list of {len(self.w)} inputs, got {count}: {reprlib.repr(x)}")
        # calculate w * x + b
        act = sum((wi * xi for wi, xi in zip(self.w, x, strict=True)), self.b)
        return ACTIVATIONS[self.activation](act)

    def parameters(self) -> list[Value]:
        """Return the weights, then the bias."""
        return [*self.w, self.b]

    def __repr__(self) -> str:
        return f"Neuron({len(self.w)}, activation={self.activation!r})"


class Layer(Module):
    """`nOut` neurons beside each other, each connected to all inputs.

    Parameters
    ----------
    nIn, nOut : int
        The numbers of inputs and of neurons.
    activation : str
        As for `Neuron`.
    key : key, optional
        The random key; by default the next one of `gradkit.random.seed`.

    Attributes
    ----------
    neurons : list of Neuron
    """

    children = ("neurons",)

    def __init__(self, nIn: int, nOut: int, activation: str = "tanh", key: Array | None = None) -> None:
        weights, biases = _drawn(nIn, nOut, key)
        self.neurons = [object.__new__(Neuron)._set(w, b, activation) for w, b in zip(weights, biases, strict=True)]

    def __call__(self, x: Sequence[Any]) -> Any:
        """Apply every neuron: a list of values, or the value itself where there is one neuron."""
        outs = [n(x) for n in self.neurons]
        return outs[0] if len(outs) == 1 else outs

    def parameters(self) -> list[Value]:
        """Return the parameters of the neurons, one after another."""
        return [p for n in self.neurons for p in n.parameters()]

    def __repr__(self) -> str:
        first = self.neurons[0]
        return f"Layer({len(first.w)}, {len(self.neurons)}, activation={first.activation!r})"


class MLP(Module):
    """Layers one after the other, each fully connected to the one before.

    Parameters
    ----------
    nIn : int
        The number of inputs.
    nOut : list of int
        The number of neurons of each layer.
    activation : str
        What follows the layers but the last; as for `Neuron`.
    final_activation : str
        What follows the last layer. (``MLP(2, [16, 16, 1], "relu", "identity")`` is micrograd's network.)
    key : key, optional
        The random key; by default the next one of `gradkit.random.seed`. The numbers are those of
        ``gradkit.nn.MLP(nIn, nOut, initializer="lecture", bias_initializer="lecture", key=key)``.

    Attributes
    ----------
    layers : list of Layer

    Examples
    --------
    >>> import gradkit
    >>> n = gradkit.scalar.MLP(3, [4, 4, 1], key=gradkit.random.key(0))
    >>> n
    MLP(3, [4, 4, 1], activation='tanh', final_activation='tanh')
    >>> len(n.parameters())
    41
    >>> round(n([2.0, 3.0, -1.0]).data, 4) == round(float(gradkit.nn.MLP(3, [4, 4, 1], final_activation="tanh",
    ...     initializer="lecture", bias_initializer="lecture", key=gradkit.random.key(0))([2.0, 3.0, -1.0])[0]), 4)
    True
    """

    children = ("layers",)

    def __init__(
        self,
        nIn: int,
        nOut: Sequence[int],
        activation: str = "tanh",
        final_activation: str = "tanh",
        key: Array | None = None,
    ) -> None:
        if not isinstance(nOut, Sequence) or isinstance(nOut, str) or not nOut:
            raise ValueError(f"MLP: nOut must be a list of at least one layer size, such as [4, 4, 1], got {nOut!r}")
        sizes = [nIn, *nOut]
        activations = [*[activation] * (len(nOut) - 1), final_activation]
        keys = random.split(random.next_key() if key is None else key, len(nOut))
        self.layers = [Layer(sizes[i], sizes[i + 1], function, key=keys[i]) for i, function in enumerate(activations)]

    def __call__(self, x: Sequence[Any]) -> Any:
        """Apply the network to a list of `nIn` numbers or values."""
        for layer in self.layers:
            x = layer(x)
        return x

    def parameters(self) -> list[Value]:
        """Return the parameters of the layers, one after another."""
        return [p for layer in self.layers for p in layer.parameters()]

    def __repr__(self) -> str:
        first, last = self.layers[0].neurons[0], self.layers[-1].neurons[0]
        sizes = [len(layer.neurons) for layer in self.layers]
        return f"MLP({len(first.w)}, {sizes}, activation={first.activation!r}, final_activation={last.activation!r})"


def _drawn(n_in: int, n_out: int, key: Array | None) -> tuple[list[list[Value]], list[Value]]:
    """Draw the weights of each neuron and the biases of a layer, as `gradkit.nn` does."""
    with use_backend("numpy"):
        layer = nn.Linear(
            n_in,
            n_out,
            random.next_key() if key is None else key,
            initializer="lecture",
            bias_initializer="lecture",
        )
    assert layer.bias is not None
    columns: list[list[float]] = layer.weight.T.tolist()
    return [list(map(Value, column)) for column in columns], list(map(Value, layer.bias.tolist()))
