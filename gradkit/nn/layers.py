"""Layers: `Linear`, `Sequential`, and `MLP`, which is a chain of linear layers stored flat."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optree

from gradkit import random, tree
from gradkit.core import Array
from gradkit.core.operands import as_operand
from gradkit.core.promotion import FLOATING, default_dtype, dtype_named, is_inexact
from gradkit.errors import ShapeError
from gradkit.nn.activations import Activation, activation_named, identity
from gradkit.nn.initializers import Initializer, initializer_named, zeros
from gradkit.nn.module import Module, as_parameter, plain_leaves, setting_name, static
from gradkit.numpy import asarray
from gradkit.primitives.linalg import affine, matmul

__all__ = ["MLP", "Linear", "Sequential"]

InitializerLike = str | Initializer | None

RELU_LIKE = frozenset(
    map(activation_named, ("celu", "elu", "gelu", "leaky_relu", "mish", "relu", "relu6", "selu", "silu"))
)


def _size(value: Any, name: str, layer: str) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        size = operator.index(value)
    except TypeError:
        raise TypeError(f"{layer}: {name} must be a whole number, got {value!r}") from None
    if size < 1:
        raise ValueError(f"{layer}: {name} must be at least 1, got {size}")
    return size


def _input(x: Any, width: int, layer: str) -> Array:
    """Return a layer's input as an Array of that width, or say what is wrong with it."""
    array = asarray(x) if isinstance(x, list | tuple | np.ndarray) else as_operand(x, layer)
    if type(array) is not Array:
        array = asarray(array)
    if array.ndim == 0 or array.shape[-1] != width:
        raise ShapeError(
            f"{layer}: expected x of shape (..., {width}), got shape {array.shape}. The last axis must have the "
            f"layer's number of inputs, n_in={width}."
        )
    return array


def _parameters(
    key: Array, n_in: int, n_out: int, initializer: Initializer, bias_initializer: Initializer, dtype: Any
) -> tuple[Array, Array]:
    """Draw a weight matrix and a bias vector."""
    weight_key, bias_key = random.split(key)
    weight = initializer(weight_key, (n_in, n_out), dtype)
    bias = bias_initializer(bias_key, (n_out,), dtype)
    return as_parameter(weight), as_parameter(bias)


def _dtype(dtype: Any, layer: str) -> str:
    name = default_dtype(FLOATING) if dtype is None else dtype_named(dtype).name
    if not is_inexact(name):
        raise ValueError(
            f"{layer}: dtype must be a floating one, in which parameters have gradients, got {name}. Leave it out for "
            f"{default_dtype(FLOATING)}."
        )
    return name


class Linear(Module):
    """A linear layer, ``x @ weight + bias``.

    Parameters
    ----------
    n_in, n_out : int
        The numbers of inputs and outputs.
    key : key, optional
        The random key; by default the next one of `gradkit.random.seed`.
    initializer : str or callable, optional
        How the weight is drawn, a name or a function of `gradkit.nn.initializers`; by default ``"lecun_normal"``.
    bias : bool
        Whether there is a bias.
    bias_initializer : str or callable, optional
        How the bias is drawn; by default zeros.
    dtype : dtype, optional
        By default ``float32``, or ``float64`` with x64 enabled.

    Attributes
    ----------
    weight : Array, shape (n_in, n_out)
    bias : Array, shape (n_out,), or None

    Raises
    ------
    ValueError
        If a size is below 1, or an initializer's name unknown.

    Examples
    --------
    >>> import gradkit
    >>> layer = gradkit.nn.Linear(3, 2, key=gradkit.random.key(0))
    >>> layer([[1.0, 2.0, 3.0]]).shape
    (1, 2)
    """

    weight: Array
    bias: Array | None

    def __init__(
        self,
        n_in: int,
        n_out: int,
        key: Array | None = None,
        initializer: InitializerLike = None,
        bias: bool = True,
        bias_initializer: InitializerLike = None,
        dtype: Any = None,
    ) -> None:
        weight, offset = _parameters(
            random.next_key() if key is None else key,
            _size(n_in, "n_in", "Linear"),
            _size(n_out, "n_out", "Linear"),
            initializer_named("lecun_normal" if initializer is None else initializer),
            zeros if bias_initializer is None else initializer_named(bias_initializer),
            _dtype(dtype, "Linear"),
        )
        self._set(weight=weight, bias=offset if bias else None)

    def __call__(self, x: Any) -> Array:
        """Apply the layer.

        Parameters
        ----------
        x : array, shape (..., n_in)
            The inputs.

        Returns
        -------
        Array, shape (..., n_out)

        Raises
        ------
        ShapeError
            If the last axis has another size than `n_in`.
        """
        weight = self.weight
        if type(x) is not Array or x._value.shape[-1:] != weight._value.shape[:1]:
            x = _input(x, weight.shape[0], "Linear")
        return matmul(x, weight) if self.bias is None else affine(x, weight, self.bias)


class Sequential(Module):
    """Layers one after the other; each takes what the one before gives.

    Parameters
    ----------
    layers : sequence of callable
        Modules, and functions or names of activations.

    Examples
    --------
    >>> import gradkit
    >>> key = gradkit.random.key(0)
    >>> model = gradkit.nn.Sequential([gradkit.nn.Linear(2, 8, key), "relu", gradkit.nn.Linear(8, 1, key)])
    >>> model([[0.5, -0.5]]).shape
    (1, 1)
    """

    layers: tuple[Any, ...]
    functions: tuple[Activation | None, ...] = static()

    def __init__(self, layers: Sequence[Any]) -> None:
        if not isinstance(layers, Sequence) or isinstance(layers, str):
            raise TypeError(
                f"Sequential: layers must be a list of modules and activations, such as [Linear(2, 8), 'relu', "
                f"Linear(8, 1)], got {type(layers).__name__}"
            )
        # Functions have no leaves: they are settings, and None stands in their place among the layers.
        modules = tuple(layer if isinstance(layer, Module) else None for layer in layers)
        functions = tuple(
            None if isinstance(layer, Module) else activation_named(layer, f"layers[{i}]")
            for i, layer in enumerate(layers)
        )
        self._set(layers=modules, functions=functions)

    def __call__(self, x: Any) -> Any:
        """Apply the layers in order."""
        for layer, function in zip(self.layers, self.functions, strict=True):
            x = layer(x) if function is None else function(x)
        return x

    def _rows(self, path: str = "") -> list[tuple[str, str, str, int]]:
        rows: list[tuple[str, str, str, int]] = []
        for i, (layer, function) in enumerate(zip(self.layers, self.functions, strict=True)):
            name = f"{path}.layers[{i}]" if path else f"layers[{i}]"
            rows.extend(layer._rows(name) if function is None else [(name, "", setting_name(function), 0)])
        return rows


@dataclasses.dataclass(frozen=True)
class _Chain:
    """What an MLP is besides its parameters, and what follows from it, worked out once for all copies of the model."""

    n_in: int
    n_outs: tuple[int, ...]
    activation: str | Activation
    final_activation: str | Activation
    width: tuple[int] = dataclasses.field(init=False, compare=False)
    functions: tuple[Activation | None, ...] = dataclasses.field(init=False, compare=False)
    """What follows each layer; None where that is nothing."""
    paths: tuple[str, ...] = dataclasses.field(init=False, compare=False)
    """The paths of the parameters, as attributes."""
    structures: dict[type, tree.PyTreeDef] = dataclasses.field(init=False, compare=False)
    """By class: the structure of a model whose parameters are Arrays, once one has been taken apart."""

    def __post_init__(self) -> None:
        hidden = activation_named(self.activation)
        final = activation_named(self.final_activation, "final_activation")
        functions = [*[hidden] * (len(self.n_outs) - 1), final]
        derived = {
            "width": (self.n_in,),
            "functions": tuple(None if function is identity else function for function in functions),
            "paths": tuple(f"layers[{i}].{name}" for i in range(len(self.n_outs)) for name in ("weight", "bias")),
            "structures": {},
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Chain, (self.n_in, self.n_outs, self.activation, self.final_activation)


class _ParameterPath(optree.GetAttrEntry):
    """The step of a path from an MLP to a parameter, two attributes at once: ``layers[0].weight``."""

    def __call__(self, model: Any, /) -> Any:
        position, _, name = self.entry.rpartition("].")
        return getattr(model.layers[int(position.removeprefix("layers["))], name)

    def codify(self, /, node: str = "") -> str:
        return f"{node}.{self.entry}"


class MLP(Module):
    """A multilayer perceptron: linear layers with an activation after each.

    Parameters
    ----------
    n_in : int
        The number of inputs.
    n_outs : sequence of int
        The number of outputs of each layer.
    activation : str or callable
        What follows each layer but the last: a name such as "tanh" or "relu", or a function.
    final_activation : str or callable
        What follows the last layer.
    key : key, optional
        The random key; by default the next one of `gradkit.random.seed`.
    initializer : str or callable, optional
        How weights are drawn, a name or a function of `gradkit.nn.initializers`. By default He's for activations like
        relu and Glorot's for others, which keep the signal's variance from layer to layer.
    bias_initializer : str or callable, optional
        How biases are drawn; by default zeros.
    dtype : dtype, optional
        By default ``float32``, or ``float64`` with x64 enabled.

    Attributes
    ----------
    layers : tuple of Linear
        The layers; they share the model's parameters.

    Raises
    ------
    ValueError
        If a size is below 1, `n_outs` empty, or the name of an activation or initializer unknown.
    TypeError
        If an activation or initializer is neither a name nor a function.

    Examples
    --------
    >>> import gradkit
    >>> model = gradkit.nn.MLP(3, [4, 4, 1], key=gradkit.random.key(0))
    >>> model([2.0, 3.0, -1.0]).shape
    (1,)
    >>> model
    MLP (float32 on numpy:0)
      layer      shapes                    settings  parameters
      layers[0]  weight (3, 4), bias (4,)  tanh              16
      layers[1]  weight (4, 4), bias (4,)  tanh              20
      layers[2]  weight (4, 1), bias (1,)  identity           5
      total                                                  41
    """

    # The parameters of all layers in one tuple, and one node of a tree for all: a step of training takes the tree
    # apart and rebuilds it several times, which would take longer than the arithmetic of a small network.
    _flat: tuple[Array, ...]
    _chain: _Chain
    _path_entry = _ParameterPath

    def __init__(
        self,
        n_in: int,
        n_outs: Sequence[int],
        activation: str | Activation = "tanh",
        final_activation: str | Activation = "identity",
        key: Array | None = None,
        initializer: InitializerLike = None,
        bias_initializer: InitializerLike = None,
        dtype: Any = None,
    ) -> None:
        if not isinstance(n_outs, Sequence) or isinstance(n_outs, str) or not n_outs:
            raise ValueError(
                f"MLP: n_outs must be a list of at least one layer size, such as [4, 4, 1], got {n_outs!r}"
            )
        sizes = [_size(n_in, "n_in", "MLP"), *(_size(n, f"n_outs[{i}]", "MLP") for i, n in enumerate(n_outs))]
        for argument, value in (("activation", activation), ("final_activation", final_activation)):
            if isinstance(value, Module):
                raise TypeError(
                    f"MLP: {argument} must be a name or a function, got a {type(value).__name__}: the parameters of a "
                    f"module would not be trained there. Put it between Linear layers in a Sequential."
                )
        hidden = activation_named(activation)
        chain = _Chain(sizes[0], tuple(sizes[1:]), activation, final_activation)
        if initializer is None:
            initializer = "he_normal" if hidden in RELU_LIKE else "glorot_uniform"
        weights = initializer_named(initializer)
        biases = zeros if bias_initializer is None else initializer_named(bias_initializer)
        keys = random.split(random.next_key() if key is None else key, len(n_outs))
        name = _dtype(dtype, "MLP")
        flat: list[Array] = []
        for i in range(len(n_outs)):
            flat.extend(_parameters(keys[i], sizes[i], sizes[i + 1], weights, biases, name))
        self._set(_flat=tuple(flat), _chain=chain)

    @classmethod
    def _tree_functions(cls) -> tuple[Callable[..., Any], ...]:
        added = set(cls._children + cls._settings) - {"_flat", "_chain"}
        if added:
            raise TypeError(
                f"{cls.__name__}: a subclass of MLP cannot have fields of its own ({', '.join(sorted(added))}), "
                f"because an MLP is stored flat. Write a Module with the MLP in one field."
            )
        new = object.__new__

        def flatten(model: MLP) -> Any:
            return model._flat, model._chain, model._chain.paths

        def unflatten(chain: _Chain, values: Any) -> MLP:
            model: MLP = new(cls)
            fields = model.__dict__
            fields["_flat"] = plain_leaves(values)
            fields["_chain"] = chain
            return model

        def shortcut(model: MLP) -> tuple[list[Any], tree.PyTreeDef] | None:
            for parameter in model._flat:
                if type(parameter) is not Array:
                    return None
            structures = model._chain.structures
            known = structures.get(cls)
            if known is None:
                known = structures[cls] = tree.structure(model)
            return list(model._flat), known

        return flatten, unflatten, shortcut

    def _leaves(self) -> Sequence[Any]:
        return self._flat

    @property
    def layers(self) -> tuple[Linear, ...]:
        """The linear layers."""
        return tuple(_linear(*self._flat[i : i + 2]) for i in range(0, len(self._flat), 2))

    @property
    def activation(self) -> str | Activation:
        """What follows each layer but the last."""
        return self._chain.activation

    @property
    def final_activation(self) -> str | Activation:
        """What follows the last layer."""
        return self._chain.final_activation

    def __call__(self, x: Any) -> Array:
        """Apply the network.

        Parameters
        ----------
        x : array or list of numbers, shape (..., n_in)
            The inputs.

        Returns
        -------
        Array, shape (..., n_outs[-1])

        Raises
        ------
        ShapeError
            If the last axis has another size than `n_in`.
        """
        chain = self._chain
        if type(x) is not Array or x._value.shape[-1:] != chain.width:
            x = _input(x, chain.n_in, "MLP")
        parameters = iter(self._flat)
        for weight, function in zip(parameters, chain.functions, strict=False):
            x = affine(x, weight, next(parameters))
            if function is not None:
                x = function(x)
        return x  # type: ignore[no-any-return]

    def _rows(self, path: str = "") -> list[tuple[str, str, str, int]]:
        rows = []
        last = len(self._chain.n_outs) - 1
        for i, layer in enumerate(self.layers):
            function = self.final_activation if i == last else self.activation
            shapes = f"weight {tuple(layer.weight.shape)}, bias {tuple(layer.bias.shape)}"  # type: ignore[union-attr]
            count = layer.weight.size + layer.bias.size  # type: ignore[union-attr]
            rows.append((f"{path}.layers[{i}]" if path else f"layers[{i}]", shapes, setting_name(function), count))
        return rows


def _linear(weight: Array, bias: Array) -> Linear:
    layer: Linear = object.__new__(Linear)
    layer._set(weight=weight, bias=bias)
    return layer
