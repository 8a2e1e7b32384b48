"""Stochastic gradient descent, with two faces: pure functions of pytrees, and the lecture's step in place."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, NamedTuple
from typing import cast as cast_type

from gradkit import tree
from gradkit.backend import backend_of
from gradkit.core import Array
from gradkit.core.array import is_followed, raw, wrap
from gradkit.core.binding import KERNEL_ERRORS
from gradkit.core.calls import as_array, cast, dtype_name
from gradkit.core.node import Leaf
from gradkit.errors import ShapeError, TreeMismatchError
from gradkit.numpy import zeros_like
from gradkit.optim.schedules import Schedule
from gradkit.optim.update import clip_scale, sgd_update

__all__ = ["SGD", "SGDState"]


class SGDState(NamedTuple):
    """What SGD remembers between steps, a pytree.

    Attributes
    ----------
    step : int
        The number of updates so far, from which the schedule computes the learning rate.
    velocity : pytree or None
        The running sum of gradients, like the parameters; None without momentum.
    """

    step: Any
    velocity: Any = None


class SGD:
    r"""Stochastic gradient descent with momentum, Nesterov's momentum, weight decay and clipping.

    .. math::
        g &\leftarrow \min(1, \mathrm{clip\_norm} / \lVert g \rVert)\, g + \mathrm{weight\_decay}\, p \\
        v &\leftarrow \mathrm{momentum}\, v + g \\
        p &\leftarrow p - \mathrm{learning\_rate}\, (v \text{ or, with nesterov, } g + \mathrm{momentum}\, v)

    as in PyTorch's SGD (with dampening 0) and, without weight decay, in optax's. (Sutskever, Martens, Dahl and Hinton,
    On the importance of initialization and momentum in deep learning, 2013.)

    Parameters
    ----------
    learning_rate : float, 0-d Array or schedule
        The rate, or a function from the number of steps taken to it, such as `exponential_decay`. The update is
        differentiable in a rate that is an Array.
    momentum : float
        The share of the velocity that is kept, from 0 to below 1.
    nesterov : bool
        Whether the step looks ahead (needs momentum).
    weight_decay : float
        The share of the parameter that is added to its gradient.
    clip_norm : float, optional
        The largest global norm: gradients whose norm over all leaves is larger are scaled down to it.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    The pure face: nothing is changed in place.

    >>> import gradkit
    >>> opt = SGD(0.1)
    >>> params = {"w": gradkit.numpy.asarray([1.0, 2.0])}
    >>> state = opt.init(params)
    >>> params, state = opt.update(params, {"w": gradkit.numpy.asarray([1.0, 1.0])}, state)
    >>> params["w"], state.step
    (Array([0.9, 1.9], dtype=float32), 1)

    The lecture's face: after ``loss.backward()``, ``opt.step(model)`` moves the model's parameters.

    >>> model = gradkit.nn.Linear(2, 1, key=gradkit.random.key(0))
    >>> (model([1.0, 2.0]) ** 2).sum().backward()
    >>> opt.step(model)
    """

    def __init__(
        self,
        learning_rate: float | Array | Schedule,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
    ) -> None:
        # A 0-d Array is a number, whose value may be what a transform is about, and on a GPU is not looked at.
        array = type(learning_rate) is Array and learning_rate.ndim == 0
        if not callable(learning_rate) and not array:
            if not _is_number(learning_rate):
                raise TypeError(
                    f"SGD: learning_rate must be a number or a schedule (a function of the step), got {learning_rate!r}"
                )
            if not 0 <= learning_rate < float("inf"):
                raise ValueError(f"SGD: learning_rate must be at least 0 and finite, got {learning_rate}")
            learning_rate = float(learning_rate)
        if not _is_number(momentum) or not 0 <= momentum < 1:
            raise ValueError(f"SGD: momentum must be from 0 to below 1, got {momentum!r}")
        if nesterov and not momentum:
            raise ValueError("SGD: nesterov=True needs a momentum above 0, got momentum=0")
        if not _is_number(weight_decay) or not 0 <= weight_decay < float("inf"):
            raise ValueError(f"SGD: weight_decay must be at least 0 and finite, got {weight_decay!r}")
        if clip_norm is not None and (not _is_number(clip_norm) or not clip_norm > 0):
            raise ValueError(f"SGD: clip_norm must be positive, or None for no clipping, got {clip_norm!r}")
        self.learning_rate = learning_rate
        self.momentum = float(momentum)
        self.nesterov = bool(nesterov)
        self.weight_decay = float(weight_decay)
        self.clip_norm = None if clip_norm is None else float(clip_norm)
        self._states: dict[tuple[int, ...], tuple[list[weakref.ref[Array]], SGDState]] = {}
        self._unclaimed: list[tuple[list[tuple[Any, ...]], SGDState]] = []  # of parameters that were not loaded along

    # Copies: the states are found by the identity of the parameters, so those of a copy are by the copied parameters'.

    def __copy__(self) -> SGD:
        new = self._without_states()
        for references, state in self._states.values():
            new._keep([cast_type(Array, reference()) for reference in references], state)
        return new

    def __deepcopy__(self, memo: dict[int, Any]) -> SGD:
        new = self._without_states()
        memo[id(self)] = new
        new.learning_rate = copy.deepcopy(self.learning_rate, memo)
        for references, state in self._states.values():
            params = [cast_type(Array, reference()) for reference in references]
            copied_before = all(id(parameter) in memo for parameter in params)
            new._keep(copy.deepcopy(params, memo), copy.deepcopy(state, memo))
            if not copied_before:
                # The model is copied after this, or not at all: then the copy goes on with the model that there is.
                new._keep(params, copy.deepcopy(state))
        new._unclaimed = copy.deepcopy(self._unclaimed, memo)
        return new

    def __getstate__(self) -> dict[str, Any]:
        states = [([reference() for reference in references], state) for references, state in self._states.values()]
        return {**vars(self), "_states": states}

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        states = attributes.pop("_states")
        vars(self).update(attributes)
        self._states = {}
        for params, state in states:
            self._keep(params, state, loaded=True)

    def _without_states(self) -> SGD:
        new = object.__new__(type(self))
        vars(new).update(vars(self))
        new._states = {}
        new._unclaimed = list(self._unclaimed)
        return new

    def __repr__(self) -> str:
        return (
            f"SGD(learning_rate={self.learning_rate}, momentum={self.momentum}, nesterov={self.nesterov}, "
            f"weight_decay={self.weight_decay}, clip_norm={self.clip_norm})"
        )

    # The pure face

    def init(self, params: Any) -> SGDState:
        """Return the state before the first step.

        Parameters
        ----------
        params : pytree of arrays
            The parameters, such as a model.
        """
        if not self.momentum:
            return SGDState(0)
        leaves, treedef = tree.flatten(params)
        return SGDState(0, tree.unflatten(treedef, [_zeros_like(leaf) for leaf in leaves]))

    def update(self, params: Any, grads: Any, state: SGDState) -> tuple[Any, SGDState]:
        """Compute the parameters and the state after one step.

        Parameters
        ----------
        params, grads : pytree of arrays
            The parameters and their gradients, of the same structure and shapes.
        state : SGDState
            What `init` or the last `update` returned.

        Returns
        -------
        tuple of (pytree, SGDState)
            New ones: nothing is changed in place. The arrays are plain, so that ``loss.backward()`` needs
            ``model.requires_grad_()`` before it.

        Raises
        ------
        TreeMismatchError
            If the structures differ; the message names the first leaf that does.
        ShapeError
            If a gradient has another shape than its parameter.
        """
        leaves, treedef = tree.flatten(params)
        gradients, gradient_tree = tree.flatten(grads)
        if gradient_tree is not treedef and gradient_tree != treedef:
            raise _different_trees(params, grads)
        velocities = None
        if self.momentum:
            velocities, velocity_tree = tree.flatten(state.velocity)
            if velocity_tree != treedef:
                raise _different_trees(params, state.velocity)
        new, new_velocities = self._moved(
            leaves,
            gradients,
            velocities,
            state.step,
            lambda i: "params" + tree.keystr(tree.leaves_with_path(params)[i][0]),
        )
        velocity = None if new_velocities is None else tree.unflatten(treedef, new_velocities)
        return tree.unflatten(treedef, new), SGDState(state.step + 1, velocity)

    # The lecture's face

    def step(self, model: Any) -> None:
        """Move the parameters of a model by their ``.grad``, which `backward` computed.

        Parameters
        ----------
        model : Module, or sequence of Array
            The model, or ``model.parameters()``; they may be Values. A parameter without gradient stays as it is. The
            step count and the velocities are kept in this object, by model; `state_of` returns them.

        Raises
        ------
        RuntimeError
            If no parameter has a gradient.
        """
        params = _parameters_of(model)
        state = self.state_of(params)
        grads = [_gradient_of(parameter) for parameter in params]
        moved = [i for i, gradient in enumerate(grads) if gradient is not None]
        if not moved:
            raise RuntimeError("SGD.step: no parameter has a gradient. Call loss.backward() before step.")
        if len(moved) == len(params):
            new, velocity = self._moved(params, grads, state.velocity, state.step, _numbered)
            for parameter, value in zip(params, new, strict=True):
                _assign(parameter, value)
        else:
            # The loss does not depend on some parameters: they stay as they are.
            velocity = state.velocity and list(state.velocity)
            new, velocities = self._moved(
                [params[i] for i in moved],
                [grads[i] for i in moved],
                velocity and [velocity[i] for i in moved],
                state.step,
                _numbered,
            )
            for position, i in enumerate(moved):
                _assign(params[i], new[position])
                if velocities is not None:
                    velocity[i] = velocities[position]
        self._keep(params, SGDState(state.step + 1, velocity))

    def state_of(self, model: Any) -> SGDState:
        """Return the step count and velocities that `step` keeps for a model, to save them.

        Parameters
        ----------
        model : Module, or sequence of Array
            As given to `step`.

        Returns
        -------
        SGDState
            Its velocity is a list in the order of ``model.parameters()``.
        """
        params = _parameters_of(model)
        kept = self._states.get(tuple(map(id, params)))
        if kept is not None:
            return kept[1]
        if self._unclaimed:
            shapes = _shapes_of(params)
            for i, (expected, state) in enumerate(self._unclaimed):
                if expected == shapes:
                    del self._unclaimed[i]
                    self._keep(params, state)
                    return state
        return SGDState(0, [_zeros_like(parameter) for parameter in params] if self.momentum else None)

    def restore(self, model: Any, state: SGDState) -> None:
        """Go on from a state that `state_of` returned, for the same parameters.

        Parameters
        ----------
        model : Module, or sequence of Array
            The model that `step` will be given.
        state : SGDState
            The state.
        """
        params = _parameters_of(model)
        velocity = None
        if self.momentum:
            velocity = list(state.velocity or ())
            shapes, expected = [v.shape for v in velocity], [_array(p).shape for p in params]
            if shapes != expected:
                raise ShapeError(
                    f"SGD.restore: the velocities must have the parameters' shapes {expected}, got {shapes}"
                )
        self._keep(params, SGDState(int(state.step), velocity))

    def _keep(self, params: Sequence[Array], state: SGDState, loaded: bool = False) -> None:
        # By the identity of the parameters: arrays are no dictionary keys. The entry goes when one of them does.
        key = tuple(map(id, params))
        kept = self._states.get(key)
        if kept is not None:
            self._states[key] = (kept[0], state)
            return
        states, unclaimed = self._states, self._unclaimed
        shapes = _shapes_of(params) if loaded else []

        def forget(_: Any) -> None:
            gone = states.pop(key, None)
            if gone is not None and gone[1] is state and loaded:
                # An optimizer that was pickled without its model: the first model of these shapes is the one.
                unclaimed.append((shapes, state))

        self._states[key] = ([weakref.ref(parameter, forget) for parameter in params], state)

    # Both faces

    def _moved(
        self,
        params: Sequence[Any],
        grads: Sequence[Any],
        velocities: Sequence[Any] | None,
        step: Any,
        place: Callable[[int], str],
    ) -> tuple[list[Array], list[Array] | None]:
        """Return the new parameters and velocities; `place` says where the i-th is, for errors."""
        learning_rate: Any = self.learning_rate
        if callable(learning_rate):
            learning_rate = _rate(learning_rate(step))
        options = {"momentum": self.momentum, "nesterov": self.nesterov, "weight_decay": self.weight_decay}
        scale = None if self.clip_norm is None else clip_scale(grads, self.clip_norm)
        plain = None if is_followed(learning_rate) else _plain_values(params, grads, velocities)
        if plain is not None:
            kernel, *groups = plain
            # In the parameters' dtype, so that they keep it.
            rate = raw(_cast_like(params[0], learning_rate)) if type(learning_rate) is Array else learning_rate
            factor = None if scale is None else raw(_cast_like(params[0], scale))
            try:
                new, new_velocities = kernel(*groups, learning_rate=rate, scale=factor, **options)
            except KERNEL_ERRORS:
                pass  # the same on Arrays finds out what does not fit
            else:
                return list(map(wrap, new)), None if new_velocities is None else list(map(wrap, new_velocities))
        # A transform in progress follows them, or something is no Array yet.
        arrays = [None if group is None else [_array(leaf) for leaf in group] for group in (params, grads, velocities)]
        _check_shapes(arrays[0], arrays[1], place)  # type: ignore[arg-type]
        return _like(arrays[0], *sgd_update(*arrays, learning_rate=learning_rate, scale=scale, **options))  # type: ignore[arg-type]


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _numbered(i: int) -> str:
    return f"parameter {i}"


def _cast_like(leaf: Any, number: Array) -> Array:
    """Return a 0-d Array in the dtype of a leaf."""
    name = dtype_name(leaf)
    return number if dtype_name(number) == name else cast(number, name)


def _rate(value: Any) -> Any:
    """Return what a schedule gave as a float or an Array: a NumPy number would widen the parameters' dtype."""
    return float(value) if isinstance(value, Real) else as_array(value, "SGD (learning_rate)")


def _array(leaf: Any) -> Array:
    """Return a leaf as an Array without the tape's history: an update begins a new one."""
    array = as_array(leaf, "SGD")
    return array if array._node is None or array._node.trace.level else wrap(array._value)


def _zeros_like(leaf: Any) -> Array:
    return zeros_like(_array(leaf).detach())


def _plain_values(
    params: Sequence[Any], grads: Sequence[Any], velocities: Sequence[Any] | None
) -> tuple[Any, list[Any], list[Any], list[Any] | None] | None:
    """Return the kernel and the raw arrays of each group, or None where they are not all plain ones of one kind."""
    if not params:
        return None
    first = raw(params[0])
    backend = backend_of(first)
    if backend is None or backend.is_scalar(first):
        return None
    kind, dtype = type(first), first.dtype
    groups: list[list[Any]] = []
    for group in (params, grads) if velocities is None else (params, grads, velocities):
        values = []
        for leaf in group:
            if type(leaf) is Array:
                node = leaf._node
                if node is not None and node.trace.level:
                    return None
                leaf = leaf._value
            if type(leaf) is not kind or (leaf.dtype is not dtype and leaf.dtype != dtype):
                return None
            values.append(leaf)
        groups.append(values)
    shapes = [value.shape for value in groups[0]]
    if any([value.shape for value in values] != shapes for values in groups[1:]):
        return None
    kernel = backend.placed(backend.kernels.get("sgd_update", sgd_update))
    return kernel, groups[0], groups[1], None if velocities is None else groups[2]


def _like(
    params: Sequence[Array] | None, new: list[Array], velocities: list[Array] | None
) -> tuple[list[Array], list[Array] | None]:
    """Return new parameters and velocities in the parameters' own dtypes."""
    names = [dtype_name(parameter) for parameter in params or ()]

    def converted(arrays: list[Array]) -> list[Array]:
        return [a if dtype_name(a) == name else cast(a, name) for a, name in zip(arrays, names, strict=True)]

    return converted(new), None if velocities is None else converted(velocities)


def _check_shapes(params: Sequence[Any], grads: Sequence[Any], place: Callable[[int], str]) -> None:
    for i, (parameter, gradient) in enumerate(zip(params, grads, strict=True)):
        if parameter.shape != gradient.shape:
            raise ShapeError(
                f"SGD: a gradient must have its parameter's shape, got {gradient.shape} for {place(i)} of shape "
                f"{parameter.shape}"
            )


def _different_trees(params: Any, other: Any) -> TreeMismatchError:
    ours, theirs = ({tree.keystr(path): None for path, _ in tree.leaves_with_path(one)} for one in (params, other))
    first = next((path for path in [*ours, *theirs] if (path in ours) != (path in theirs)), "the root")
    return TreeMismatchError(
        f"SGD.update: the gradients (and velocities) must have the structure of the parameters; they differ first at "
        f"{first}. Parameters: {tree.structure(params)}; got: {tree.structure(other)}."
    )


def _shapes_of(params: Sequence[Any]) -> list[tuple[Any, ...]]:
    return [(parameter.shape, parameter.dtype) for parameter in map(_array, params)]


def _parameters_of(model: Any) -> Sequence[Any]:
    params: Sequence[Any] = model if isinstance(model, list | tuple) else getattr(model, "parameters", tuple)()
    if not params or not all(type(parameter) is Array or _is_value(parameter) for parameter in params):
        raise TypeError(f"SGD.step: expected a model or a list of its parameters (Arrays), got {model!r}")
    return params


def _is_value(parameter: Any) -> bool:
    """Return whether it is a number of the lecture's engine, which turns into an Array where it is asked to."""
    return hasattr(type(parameter), "__gradkit_array__")


def _assign(parameter: Any, new: Array) -> None:
    if type(parameter) is Array:
        # A model that is changed in place holds values: what a transform follows would lose its derivative here.
        parameter._value = new._value if new._node is None else new.data
    else:
        parameter.data = new.data


def _gradient_of(parameter: Any) -> Any:
    """Return what `backward` accumulated in a parameter, raw or an Array; None if that is nothing."""
    if type(parameter) is not Array:
        return _zeros_like(parameter) + parameter.grad
    node = parameter._node
    gradient = node.grad if type(node) is Leaf else None
    return gradient if hasattr(gradient, "shape") else None
