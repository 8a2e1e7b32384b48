"""What the two estimators share: parameters, and scikit-learn's course of a fit around gradkit's steps."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import compress, pairwise
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from gradkit.backend import use_backend
from gradkit.numpy import asarray
from gradkit.sklearn.network import (
    ACTIVATIONS,
    Training,
    batches,
    compiled_epoch,
    epoch,
    make_network,
    predict,
    programs_for,
    to_host,
    training,
)  # fmt: skip
from gradkit.sklearn.outputs import OUTPUTS

__all__ = ["BaseMLP"]

Host = Any
"""A NumPy array, or for inputs a SciPy sparse matrix."""

SMALLEST_RATE = 1e-6
"""With ``learning_rate="adaptive"``: a rate that is as small as this is not divided once more."""


class Rows(NamedTuple):
    """Examples on the host: inputs, encoded targets, and weights or None."""

    x: Host
    y: Host
    weights: Host | None


class BaseMLP(BaseEstimator, ABC):  # type: ignore[misc]
    """The base of `MLPClassifier` and `MLPRegressor`, which document the parameters and attributes."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "backend": [str, None],
    }

    loss: str
    hidden_layer_sizes: Any
    activation: str
    alpha: float
    batch_size: Any
    learning_rate: str
    learning_rate_init: float
    power_t: float
    max_iter: int
    shuffle: bool
    random_state: Any
    tol: float
    verbose: bool | int
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: float
    backend: str | None

    def _keep(self, parameters: dict[str, Any]) -> None:
        """Make attributes of a constructor's parameters, which is all that scikit-learn lets it do."""
        self.__dict__.update((name, value) for name, value in parameters.items() if name != "self")

    # What differs between the two

    @abstractmethod
    def _encode(self, x: Host, y: Host, incremental: bool, reset: bool) -> tuple[Host, Host]:
        """Check the data, and return the inputs and the targets as the loss wants them."""

    @abstractmethod
    def _out_activation(self) -> str:
        """Return scikit-learn's name of the output activation."""

    @abstractmethod
    def _n_outputs(self, y: Host) -> int:
        """Return the number of outputs for encoded targets."""

    @abstractmethod
    def _decode(self, outputs: Host) -> Host:
        """Return the predictions that outputs of shape (n, n_outputs_) mean."""

    @abstractmethod
    def _validation_score(self, outputs: Host, rows: Rows) -> float:
        """Return how good outputs are, for early stopping."""

    def _stratification(self, y: Host) -> Host | None:
        """Return what the validation part is stratified by."""
        return None

    # Fitting

    def _fit(self, x: Host, y: Host, sample_weight: Host | None, incremental: bool) -> Self:
        fitted = hasattr(self, "coefs_")
        if not (incremental and fitted):
            self._validate_params()
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        hidden = _sizes(self.hidden_layer_sizes)
        first_pass = not fitted or not (self.warm_start or incremental)
        with self._on_backend():
            x, y = self._encode(x, y, incremental, reset=first_pass)
            weights = None
            if sample_weight is not None:
                weights = _check_sample_weight(sample_weight, x, dtype=x.dtype, ensure_non_negative=True)
                if not weights.any():
                    raise ValueError("Sample weights must contain at least one non-zero number.")
            random_state = check_random_state(self.random_state)
            if first_pass:
                self._initialize(y, [x.shape[1], *hidden, self._n_outputs(y)], x.dtype, random_state)
            elif self._n_outputs(y) != self.n_outputs_:
                raise ValueError(
                    f"y must have {self.n_outputs_} outputs, as in the earlier call that this one goes on from, got "
                    f"{self._n_outputs(y)}. For other outputs fit anew, with warm_start=False."
                )
            dtype = self.coefs_[0].dtype  # in which the training began
            rows = Rows(
                x.astype(dtype, copy=False),
                y.astype(dtype, copy=False) if y.dtype.kind == "f" else y,
                None if weights is None else weights.astype(dtype, copy=False),
            )
            self._train(rows, incremental, random_state)
        if not all(np.isfinite(array).all() for array in [*self.coefs_, *self.intercepts_]):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to be"
                " preprocessed."
            )
        return self

    def _on_backend(self) -> AbstractContextManager[None]:
        return nullcontext() if self.backend is None else use_backend(self.backend)

    def _initialize(self, y: Host, sizes: list[int], dtype: Any, random_state: np.random.RandomState) -> None:
        self.n_iter_ = self.t_ = 0
        self.n_outputs_ = sizes[-1]
        self.n_layers_ = len(sizes)
        self.out_activation_ = self._out_activation()
        self.coefs_, self.intercepts_ = [], []
        for fan_in, fan_out in pairwise(sizes):
            # Glorot and Bengio (2010); in scikit-learn's order of drawing, which makes the numbers the same.
            bound = math.sqrt((2 if self.activation == "logistic" else 6) / (fan_in + fan_out))
            self.coefs_.append(random_state.uniform(-bound, bound, (fan_in, fan_out)).astype(dtype, copy=False))
            self.intercepts_.append(random_state.uniform(-bound, bound, fan_out).astype(dtype, copy=False))
        self.loss_curve_: list[float] = []
        self._no_improvement_count = 0
        self.best_loss_: Any = None if self.early_stopping else math.inf
        self.validation_scores_: Any = [] if self.early_stopping else None
        self.best_validation_score_: Any = -math.inf if self.early_stopping else None

    def _train(self, rows: Rows, incremental: bool, random_state: np.random.RandomState) -> None:
        if not incremental or not hasattr(self, "_velocities"):
            self._velocities, self._rate = None, float(self.learning_rate_init)
        validate: Callable[[Training], float] | None = None
        if self.early_stopping:
            rows, held_out = self._split(rows, random_state)
            validate = self._validation(held_out)
        n = rows.x.shape[0]
        size = self._batch_size(n)
        arrays = tuple(asarray(part) for part in rows[1:] if part is not None)
        x = rows.x if issparse(rows.x) else asarray(rows.x)
        network = make_network(_in_turn(self.coefs_, self.intercepts_), self.activation)
        output = OUTPUTS[self.out_activation_]
        run = training(network, output, self.alpha, self.momentum, self.nesterovs_momentum, self._velocities)
        epochs = 1 if incremental else self.max_iter
        programs = None if issparse(x) else programs_for(run, output, self.alpha, epochs * -(-n // size))
        best = run.network
        order = np.arange(n)
        self.n_iter_ = 0
        try:
            for _ in range(epochs):
                if self.shuffle:
                    order = order[random_state.permutation(n)]  # the draws of sklearn.utils.shuffle, at less cost
                # Of batches all of whose weights are 0 there is nothing to average over: they are left out.
                taken = [rows.weights is None or rows.weights[order[at]].any() for at in gen_batches(n, size)]
                if programs is not None:
                    run, loss = compiled_epoch(run, programs, self._rate, (x, *arrays), size, order, taken)
                else:
                    minibatches = compress(batches(x, arrays, size, order if self.shuffle else None), taken)
                    run, loss = epoch(run, self._rate, minibatches)
                improved = self._end_epoch(loss, n, None if validate is None else validate(run))
                best = run.network if improved else best
                if self._is_converged():
                    break
            else:
                if not incremental:
                    warnings.warn(
                        f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization "
                        f"hasn't converged yet.",
                        ConvergenceWarning,
                        stacklevel=4,
                    )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=4)
        # With early stopping the weights of the best validation score are kept.
        parameters = to_host(run.network if validate is None else best)
        self.coefs_, self.intercepts_ = parameters[::2], parameters[1::2]
        self._velocities = to_host(run.state.velocity) if self.momentum else None

    def _batch_size(self, n: int) -> int:
        if self.batch_size == "auto":
            return min(200, n)
        if self.batch_size > n:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=5
            )
        return min(int(self.batch_size), n)

    # Early stopping and the learning rate

    def _split(self, rows: Rows, random_state: np.random.RandomState) -> tuple[Rows, Rows]:
        parts = train_test_split(
            *(part for part in rows if part is not None),
            random_state=random_state,
            test_size=self.validation_fraction,
            stratify=self._stratification(rows.y),
        )
        if rows.weights is None:
            parts += [None, None]
        if parts[1].shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        return Rows(*parts[::2]), Rows(*parts[1::2])

    def _validation(self, rows: Rows) -> Callable[[Training], float]:
        """Return what scores a network on examples that were held out."""
        x = rows.x if issparse(rows.x) else asarray(rows.x)
        output = OUTPUTS[self.out_activation_]
        return lambda run: self._validation_score(predict(run.network, output, x), rows)

    def _end_epoch(self, loss: float, n: int, score: float | None) -> bool:
        """Note the loss and the validation score of an epoch; return whether it is the best one so far."""
        self.n_iter_ += 1
        self.loss_ = loss
        self.t_ += n
        self.loss_curve_.append(loss)
        self._say(f"Iteration {self.n_iter_}, loss = {loss:.8f}")
        if score is None:
            enough = not loss > self.best_loss_ - self.tol
            improved = bool(loss < self.best_loss_)
            self.best_loss_ = min(loss, self.best_loss_)
        else:
            self._say(f"Validation score: {score:f}")
            self.validation_scores_.append(score)
            enough = not score < self.best_validation_score_ + self.tol
            improved = bool(score > self.best_validation_score_)
            if improved:
                self.best_validation_score_ = score
        self._no_improvement_count = 0 if enough else self._no_improvement_count + 1
        if self.learning_rate == "invscaling":
            self._rate = float(self.learning_rate_init) / (self.t_ + 1) ** self.power_t
        return improved

    def _is_converged(self) -> bool:
        """Return whether to stop, for want of progress; with an adaptive rate that is first divided by 5."""
        if self._no_improvement_count <= self.n_iter_no_change:
            return False
        what = "Validation score" if self.early_stopping else "Training loss"
        message = f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change} consecutive epochs."
        if self.learning_rate != "adaptive":
            self._say(f"{message} Stopping.")
            return True
        if self._rate <= SMALLEST_RATE:
            self._say(f"{message} Learning rate too small. Stopping.")
            return True
        self._rate /= 5
        self._say(f"{message} Setting learning rate to {self._rate:f}")
        self._no_improvement_count = 0
        return False

    def _say(self, line: str) -> None:
        if self.verbose:
            print(line)

    # Predictions

    def _outputs(self, x: Host) -> Host:
        """Return what the output activation gives for inputs, shape (n, n_outputs_), on the host."""
        check_is_fitted(self)
        x = validate_data(self, x, accept_sparse=["csr", "csc"], reset=False)
        x = (x.tocsr() if issparse(x) else x).astype(self.coefs_[0].dtype, copy=False)
        with self._on_backend():
            network = make_network(_in_turn(self.coefs_, self.intercepts_), self.activation)
            return predict(network, OUTPUTS[self.out_activation_], x)

    def predict(self, X: Host) -> Host:
        """Predict targets.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            The inputs.

        Returns
        -------
        ndarray, shape (n_samples,) or (n_samples, n_outputs)
            Classes or numbers, as `fit` was given them.
        """
        return self._decode(self._outputs(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _sizes(hidden_layer_sizes: Any) -> list[int]:
    sizes = list(hidden_layer_sizes) if hasattr(hidden_layer_sizes, "__iter__") else [hidden_layer_sizes]
    if any(size <= 0 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
    return sizes


def _in_turn(coefs: list[Host], intercepts: list[Host]) -> list[Host]:
    return [array for pair in zip(coefs, intercepts, strict=True) for array in pair]
