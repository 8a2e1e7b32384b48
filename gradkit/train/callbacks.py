"""Callbacks: what a training run does besides training, at the end of each epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from gradkit import tree
from gradkit.data.checked_json import Check, maybe, number, record, whole
from gradkit.errors import unknown_name
from gradkit.optim.update import clip_scale
from gradkit.train.steps import Optimizer

if TYPE_CHECKING:
    from gradkit.train.training import Training

__all__ = ["Callback", "ClipGradients", "EarlyStopping", "LearningRateLog"]


class Callback:
    """The base of callbacks: each method does nothing until a subclass says what.

    What a callback remembers from epoch to epoch belongs into `state`, so that a run that is resumed goes on as if it
    had not been stopped.

    Examples
    --------
    >>> class Patient(Callback):
    ...     def epoch_end(self, training):
    ...         if training.history["loss"][-1] < 0.01:
    ...             training.stop("the loss is below 0.01")
    """

    def optimizer(self, optimizer: Optimizer) -> Optimizer:
        """Return the optimizer to train with, before the first step: the one given, or one that wraps it."""
        return optimizer

    def start(self, training: Training) -> None:
        """Do what is to be done before the first step, or before the first one after a run was resumed."""

    def epoch_end(self, training: Training) -> None:
        """Do what is to be done after an epoch; its row is the last of ``training.history``."""

    def end(self, training: Training) -> None:
        """Do what is to be done when training has ended, however it did."""

    def state(self) -> Mapping[str, Any]:
        """Return what is remembered, as what JSON has: numbers, strings, lists and dictionaries."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned; a ValueError says that it is none of that."""


REMEMBERED: Check = record({"best": maybe(number()), "waited": whole()})


class EarlyStopping(Callback):
    """Stop when a column of the history has not become better for some epochs.

    Parameters
    ----------
    patience : int
        How many epochs without a better value are waited for.
    monitor : str, optional
        The column; by default ``validation_loss``, or ``loss`` where there are no validation data.
    min_delta : float
        By how much a value must be better to count.
    mode : "min" or "max"
        Whether smaller or larger values are better.
    restore_best : bool
        Whether `fit` returns the model of the epoch with the smallest validation loss and not the last one, however
        training ends.

    Raises
    ------
    ValueError
        If a number is out of its range; when training begins, if there is no such column.

    Examples
    --------
    >>> import gradkit
    >>> from gradkit import data, nn, optim, random
    >>> model = nn.MLP(2, [16, 2], key=random.key(0))
    >>> model, history = gradkit.fit(
    ...     model, data.moons(200, key=random.key(1)), epochs=200, validation=0.2, key=random.key(2), progress=False,
    ...     optimizer=optim.SGD(0.5), callbacks=[EarlyStopping(patience=3)],
    ... )
    >>> history.stopped
    'validation_loss is not below ... for 3 epochs'
    """

    def __init__(
        self,
        patience: int = 10,
        monitor: str | None = None,
        min_delta: float = 0.0,
        mode: str = "min",
        restore_best: bool = False,
    ) -> None:
        if isinstance(patience, bool) or not isinstance(patience, int) or patience < 1:
            raise ValueError(f"EarlyStopping: patience must be a whole number of at least 1, got {patience!r}")
        if not 0 <= min_delta < math.inf:
            raise ValueError(f"EarlyStopping: min_delta must be a number of at least 0, got {min_delta!r}")
        if mode not in ("min", "max"):
            raise unknown_name("mode", mode, ("min", "max"))
        self.patience = patience
        self.monitor = monitor
        self.min_delta = min_delta
        self.mode = mode
        self.restore_best = restore_best
        self.best: float | None = None
        self.waited = 0
        self._column = ""

    def start(self, training: Training) -> None:
        """Check that there will be such a column, and forget an earlier run."""
        if not training.step:
            self.best, self.waited = None, 0
        usual = "validation_loss" if "validation_loss" in training.columns else "loss"
        self._column = usual if self.monitor is None else self.monitor
        if self._column not in training.columns:
            raise unknown_name("column to monitor", self._column, training.columns)

    def epoch_end(self, training: Training) -> None:
        """Compare the epoch's value with the best one so far."""
        value = training.history[self._column][-1]
        if value is not None and self._is_better(value):
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            side = "below" if self.mode == "min" else "above"
            best = "any value" if self.best is None else f"{self.best:.4g}"
            epochs = "epoch" if self.waited == 1 else "epochs"
            training.stop(f"{self._column} is not {side} {best} for {self.waited} {epochs}")

    def end(self, training: Training) -> None:
        """Go back to the best model, where that is asked for."""
        if self.restore_best:
            training.restore_best()

    def _is_better(self, value: float) -> bool:
        if math.isnan(value):
            return False
        if self.best is None:
            return True
        return value < self.best - self.min_delta if self.mode == "min" else value > self.best + self.min_delta

    def state(self) -> Mapping[str, Any]:
        """Return the best value and how many epochs have been waited."""
        return {"best": self.best, "waited": self.waited}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from them.

        Raises
        ------
        ValueError
            If they are none.
        """
        REMEMBERED(dict(state), "what EarlyStopping remembers")
        self.best, self.waited = state["best"], state["waited"]


class ClipGradients(Callback):
    """Scale gradients down whose global norm, over all parameters, is larger than a bound, before any optimizer.

    (Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural networks, 2013. For SGD alone,
    ``SGD(..., clip_norm=1.0)`` does the same.)

    Parameters
    ----------
    max_norm : float
        The bound.

    Raises
    ------
    ValueError
        If it is not positive.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> optimizer = ClipGradients(1.0).optimizer(gradkit.optim.SGD(1.0))
    >>> params = jnp.asarray([0.0, 0.0])
    >>> optimizer.update(params, jnp.asarray([3.0, 4.0]), optimizer.init(params))[0]
    Array([-0.6, -0.8], dtype=float32)
    """

    def __init__(self, max_norm: float) -> None:
        if not 0 < max_norm < math.inf:
            raise ValueError(f"ClipGradients: max_norm must be a positive number, got {max_norm!r}")
        self.max_norm = float(max_norm)

    def optimizer(self, optimizer: Optimizer) -> Optimizer:
        """Return the optimizer behind the clipping."""
        return _Clipped(self.max_norm, optimizer)


class _Clipped:
    """An optimizer that is given clipped gradients."""

    def __init__(self, max_norm: float, inner: Optimizer) -> None:
        self.max_norm = max_norm
        self.inner = inner

    @property
    def learning_rate(self) -> Any:
        return getattr(self.inner, "learning_rate", None)

    @property
    def with_rate(self) -> Callable[[Any], _Clipped]:
        inner: Any = self.inner.with_rate  # type: ignore[attr-defined]  # which it has, or this one has none either
        return lambda learning_rate: _Clipped(self.max_norm, inner(learning_rate))

    def init(self, params: Any) -> Any:
        return self.inner.init(params)

    def update(self, params: Any, grads: Any, state: Any) -> tuple[Any, Any]:
        leaves, treedef = tree.flatten(grads)
        scale = clip_scale(leaves, self.max_norm)
        scaled = [leaf * scale.astype(leaf.dtype) for leaf in leaves]
        return self.inner.update(params, tree.unflatten(treedef, scaled), state)


class LearningRateLog(Callback):
    """Keep the learning rate of every step, or of every few, and write it into the log.

    (The history has that of each epoch's last step.)

    Parameters
    ----------
    every : int
        The steps between two entries.

    Attributes
    ----------
    steps : list of int
        The steps, from 0.
    rates : list of float
        Their learning rates.

    Examples
    --------
    >>> import gradkit
    >>> from gradkit import data, nn, optim, random
    >>> rates = LearningRateLog(every=5)
    >>> _ = gradkit.fit(
    ...     nn.MLP(2, [2]), data.moons(100), batch_size=10, epochs=1, progress=False, callbacks=[rates],
    ...     optimizer=optim.SGD(optim.linear_decay(0.5, transition_steps=10)),
    ... )
    >>> rates.steps, rates.rates
    ([0, 5], [0.5, 0.25])
    """

    def __init__(self, every: int = 1) -> None:
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ValueError(f"LearningRateLog: every must be a whole number of at least 1, got {every!r}")
        self.every = every
        self.steps: list[int] = []
        self.rates: list[float] = []

    def start(self, training: Training) -> None:
        """Work the entries of the steps before out again: a rate is a function of the step."""
        self.steps, self.rates = [], []
        self._add(training, 0)

    def epoch_end(self, training: Training) -> None:
        """Add the epoch's steps."""
        for step, rate in self._add(training, training.step - training.steps_per_epoch):
            training.log({"event": "learning rate", "at_step": step, "learning_rate": rate})

    def _add(self, training: Training, first: int) -> list[tuple[int, float]]:
        first = -(-first // self.every) * self.every
        last = training.epoch * training.steps_per_epoch
        rates = ((step, training.rate_at(step)) for step in range(first, last, self.every))
        entries = [(step, rate) for step, rate in rates if rate is not None]
        self.steps.extend(step for step, _ in entries)
        self.rates.extend(rate for _, rate in entries)
        return entries
