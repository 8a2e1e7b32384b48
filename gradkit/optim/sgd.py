"""Stochastic gradient descent, with two faces: pure functions of pytrees, and the lecture's step in place."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, NamedTuple
from typing import cast as cast_type

from gradkit import tree
from gradkit.core import Array
from gradkit.core.array import is_followed, raw, wrap
from gradkit.core.binding import KERNEL_ERRORS
from gradkit.errors import ShapeError
from gradkit.optim.leaves import (
    array_of,
    assign,
    cast_like,
    check_shapes,
    different_trees,
    gradient_of,
    like,
    numbered,
    parameters_of,
    plain_values,
    rate_of,
    shapes_of,
    zeros_of,
)
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

    Copies and pickles go on where the original is. What one call copies together belongs together; the state of an
    optimizer that is copied alone goes to the first model of these shapes that its copy sees, once.

    >>> import copy
    >>> other, other_opt = copy.deepcopy(model), copy.deepcopy(opt)
    >>> other_opt.state_of(other).step
    1
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
    # Where those are not known, because the model is copied by a call of its own, the first model of these shapes has
    # the state: the one that was copied, or the copy.

    def __copy__(self) -> SGD:
        new = self._without_states()
        for references, state in self._states.values():
            params = [cast_type(Array, reference()) for reference in references]
            new._keep(params, state)
            new._unclaimed.append((shapes_of(params), state))
        return new

    def __deepcopy__(self, memo: dict[int, Any]) -> SGD:
        new = self._without_states()
        memo[id(self)] = new
        new.learning_rate = copy.deepcopy(self.learning_rate, memo)
        for references, state in self._states.values():
            params = [cast_type(Array, reference()) for reference in references]
            copied_before = all(id(parameter) in memo for parameter in params)
            copied = copy.deepcopy(state, memo)
            # The model is copied after this, or not by this call: then its copies are gone after it.
            new._keep(copy.deepcopy(params, memo), copied, loaded=not copied_before)
            if not copied_before:
                new._keep(params, copied)
        new._unclaimed[:] = copy.deepcopy(self._unclaimed, memo)
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
        return SGDState(0, tree.unflatten(treedef, [zeros_of(leaf) for leaf in leaves]))

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
            raise different_trees(params, grads)
        velocities = None
        if self.momentum:
            velocities, velocity_tree = tree.flatten(state.velocity)
            if velocity_tree != treedef:
                raise different_trees(params, state.velocity)
        new, new_velocities = self._moved(
            leaves,
            gradients,
            velocities,
            state.step,
            lambda i: "params" + tree.keystr(tree.leaves_with_path(params)[i][0]),
        )
        velocity = None if new_velocities is None else tree.unflatten(treedef, new_velocities)
        return tree.unflatten(treedef, new), SGDState(state.step + 1, velocity)

    def with_rate(self, learning_rate: Any) -> SGD:
        """Return an optimizer like this one whose pure update takes steps of another learning rate.

        A program of several steps has their rates as an argument: so a schedule stays Python's.

        Parameters
        ----------
        learning_rate : float or 0-d Array
            The rate.
        """
        new = self._without_states()
        new.learning_rate = learning_rate
        return new

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
        params = parameters_of(model)
        state = self.state_of(params)
        grads = [gradient_of(parameter) for parameter in params]
        moved = [i for i, gradient in enumerate(grads) if gradient is not None]
        if not moved:
            raise RuntimeError("SGD.step: no parameter has a gradient. Call loss.backward() before step.")
        if len(moved) == len(params):
            new, velocity = self._moved(params, grads, state.velocity, state.step, numbered)
            for parameter, value in zip(params, new, strict=True):
                assign(parameter, value)
        else:
            # The loss does not depend on some parameters: they stay as they are.
            velocity = state.velocity and list(state.velocity)
            new, velocities = self._moved(
                [params[i] for i in moved],
                [grads[i] for i in moved],
                velocity and [velocity[i] for i in moved],
                state.step,
                numbered,
            )
            for position, i in enumerate(moved):
                assign(params[i], new[position])
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
        params = parameters_of(model)
        kept = self._states.get(tuple(map(id, params)))
        if kept is not None:
            return kept[1]
        if self._unclaimed:
            shapes = shapes_of(params)
            for i, (expected, state) in enumerate(self._unclaimed):
                if expected == shapes:
                    del self._unclaimed[i]
                    self._keep(params, state)
                    return state
        return SGDState(0, [zeros_of(parameter) for parameter in params] if self.momentum else None)

    def restore(self, model: Any, state: SGDState) -> None:
        """Go on from a state that `state_of` returned, for the same parameters.

        Parameters
        ----------
        model : Module, or sequence of Array
            The model that `step` will be given.
        state : SGDState
            The state.
        """
        params = parameters_of(model)
        velocity = None
        if self.momentum:
            velocity = list(state.velocity or ())
            shapes, expected = [v.shape for v in velocity], [array_of(p).shape for p in params]
            if shapes != expected:
                raise ShapeError(
                    f"SGD.restore: the velocities must have the parameters' shapes {expected}, got {shapes}"
                )
        self._keep(params, SGDState(int(state.step), velocity))

    def _keep(self, params: Sequence[Array], state: SGDState, loaded: bool = False) -> None:
        # By the identity of the parameters: arrays are no dictionary keys. The entry goes when one of them does.
        key = tuple(map(id, params))
        states, unclaimed = self._states, self._unclaimed
        kept = states.get(key)
        if kept is not None:
            states[key] = (kept[0], state)
            # A state goes on with one model.
            unclaimed[:] = [one for one in unclaimed if one[1] is not kept[1]]
            return
        shapes = shapes_of(params) if loaded else []

        def forget(_: Any) -> None:
            gone = states.pop(key, None)
            if gone is not None and gone[1] is state and loaded:
                # An optimizer that was pickled or copied without its model: the first model of these shapes is the one.
                unclaimed.append((shapes, state))

        self._states[key] = ([weakref.ref(parameter, forget) for parameter in params], state)

    # Both faces

    def _moved(
        self,
        params: Sequence[Any],
        grads: Sequence[Any],
        velocities: Sequence[Any] | None,
        step: Any,
        name_of: Callable[[int], str],
    ) -> tuple[list[Array], list[Array] | None]:
        """Return the new parameters and velocities; `name_of` says which is the i-th, for errors."""
        learning_rate: Any = self.learning_rate
        if callable(learning_rate):
            learning_rate = rate_of(learning_rate(step))
        options = {"momentum": self.momentum, "nesterov": self.nesterov, "weight_decay": self.weight_decay}
        scale = None if self.clip_norm is None else clip_scale(grads, self.clip_norm)
        plain = None if is_followed(learning_rate) else plain_values(params, grads, velocities)
        if plain is not None:
            kernel, *groups = plain
            # In the parameters' dtype, so that they keep it.
            rate = raw(cast_like(params[0], learning_rate)) if type(learning_rate) is Array else learning_rate
            factor = None if scale is None else raw(cast_like(params[0], scale))
            try:
                new, new_velocities = kernel(*groups, learning_rate=rate, scale=factor, **options)
            except KERNEL_ERRORS:
                pass  # the same on Arrays finds out what does not fit
            else:
                return list(map(wrap, new)), None if new_velocities is None else list(map(wrap, new_velocities))
        # A transform in progress follows them, or something is no Array yet.
        given = (params, grads, velocities)
        arrays = [None if group is None else [array_of(leaf) for leaf in group] for group in given]
        check_shapes(arrays[0], arrays[1], name_of)  # type: ignore[arg-type]
        return like(arrays[0], *sgd_update(*arrays, learning_rate=learning_rate, scale=scale, **options))  # type: ignore[arg-type]


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
