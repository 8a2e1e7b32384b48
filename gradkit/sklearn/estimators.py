"""The estimators, under scikit-learn's names."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
from sklearn.utils.validation import validate_data

from gradkit.sklearn.base import BaseMLP, Host, Rows

__all__ = ["MLPClassifier", "MLPRegressor"]


class MLPClassifier(ClassifierMixin, BaseMLP):  # type: ignore[misc]
    r"""A multilayer perceptron that classifies, trained by stochastic gradient descent on the log loss.

    The parameters have the names, meanings and defaults of `sklearn.neural_network.MLPClassifier` with
    ``solver="sgd"``; there is no other solver.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, or int
        The number of neurons in each hidden layer.
    activation : {"identity", "logistic", "tanh", "relu"}
        What follows each hidden layer.
    alpha : float
        The strength of the penalty: :math:`\frac{\alpha}{2 n} \lVert W \rVert^2` is added to the loss of a batch of n
        examples, where W are all weights (without the biases).
    batch_size : int or "auto"
        The number of examples in a minibatch; "auto" is ``min(200, n_samples)``.
    learning_rate : {"constant", "invscaling", "adaptive"}
        How the rate goes on from `learning_rate_init`: stays; is divided by :math:`(t + 1)^{\mathrm{power\_t}}` after t
        examples; or is divided by 5 where the loss (or the validation score) would end the training.
    learning_rate_init : float
        The rate at first.
    power_t : float
        The exponent of "invscaling".
    max_iter : int
        The largest number of epochs.
    shuffle : bool
        Whether each epoch goes through the examples in a new random order.
    random_state : int, RandomState instance or None
        Determines the weights at first, the validation part and the order of the examples. The same number gives what
        it gives scikit-learn's estimator.
    tol : float
        An epoch that does not improve the loss (with early stopping: the validation score) by this much counts.
    verbose : bool
        Whether to print the loss of each epoch.
    warm_start : bool
        Whether `fit` goes on from the weights of the last call.
    momentum : float
        The share of the velocity that is kept, from 0 to below 1.
    nesterovs_momentum : bool
        Whether steps look ahead.
    early_stopping : bool
        Whether to hold a part of the examples out, end when the accuracy on it no longer improves, and keep the
        weights with which it was best.
    validation_fraction : float
        The size of that part, as a share of the examples.
    n_iter_no_change : int or inf
        After how many such epochs in a row the training ends.
    backend : str, optional
        Where to compute: "numpy", "cupy", "auto", or another installed backend's name. By default the one that
        `gradkit.set_backend` or ``GRADKIT_BACKEND`` chose. The fitted attributes are on the host on all of them.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        The classes.
    coefs_, intercepts_ : list of ndarray
        The weights and the biases of each layer, in the dtype of the inputs (float32, else float64).
    loss_, best_loss_ : float
        The loss of the last epoch, and the smallest one (None with early stopping).
    loss_curve_ : list of float
        The loss of each epoch: the mean over its batches, the penalty included.
    validation_scores_, best_validation_score_ : list of float, float
        The accuracy on the held-out part after each epoch, and the best one; None without early stopping.
    n_iter_, t_ : int
        The number of epochs, and of examples that the training went through.
    n_features_in_, n_layers_, n_outputs_ : int
        The numbers of inputs, layers (that of the inputs included) and outputs.
    feature_names_in_ : ndarray of str
        The names of the inputs' columns, where they have names.
    out_activation_ : {"softmax", "logistic"}
        What follows the last layer: "logistic" for two classes and for multilabel targets.

    Notes
    -----
    The computation is that of scikit-learn's estimator step by step, so from one `random_state` both give the same
    numbers up to rounding. The loss is computed from logits and not from probabilities cut at the machine's precision.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> x, y = load_digits(return_X_y=True)
    >>> x_train, x_test, y_train, y_test = train_test_split((x / 16).astype("float32"), y, random_state=0)
    >>> classifier = MLPClassifier((32,), learning_rate_init=0.2, batch_size=50, max_iter=100, random_state=0)
    >>> bool(classifier.fit(x_train, y_train).score(x_test, y_test) > 0.95)
    True
    >>> classifier.predict_proba(x_test).shape, classifier.coefs_[0].dtype
    ((450, 10), dtype('float32'))
    """

    loss = "log_loss"

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: float = 10,
        backend: str | None = None,
    ) -> None:
        self._keep(locals())

    def fit(self, X: Host, y: Host, sample_weight: Host | None = None) -> Self:
        """Train the network.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            The inputs. float32 ones are trained on in float32, others in float64. Batches of a sparse matrix are made
            dense one by one.
        y : array-like, shape (n_samples,) or (n_samples, n_classes)
            The classes; or which of several labels each example has, as zeros and ones.
        sample_weight : array-like, shape (n_samples,), optional
            The weights of the examples.

        Returns
        -------
        MLPClassifier
            This object.

        Raises
        ------
        ValueError
            If a parameter or the data are not what they have to be, with scikit-learn's words; if the weights end up
            infinite.
        """
        return self._fit(X, y, sample_weight, incremental=False)

    def partial_fit(self, X: Host, y: Host, sample_weight: Host | None = None, classes: Host | None = None) -> Self:
        """Train for one epoch, going on from where the last call ended.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        classes : array-like, shape (n_classes,)
            All classes that there will be; required in the first call.

        Returns
        -------
        MLPClassifier
            This object.
        """
        if _check_partial_fit_first_call(self, classes):
            multilabel = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if multilabel else classes)
        return self._fit(X, y, sample_weight, incremental=True)

    def predict_proba(self, X: Host) -> Host:
        """Compute the probabilities of the classes.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            The inputs.

        Returns
        -------
        ndarray, shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        outputs = self._outputs(X)
        return np.hstack([1 - outputs, outputs]) if self.n_outputs_ == 1 else outputs

    def predict_log_proba(self, X: Host) -> Host:
        """Compute the logarithms of `predict_proba`."""
        probabilities = self.predict_proba(X)
        return np.log(probabilities, out=probabilities)

    def _encode(self, x: Host, y: Host, incremental: bool, reset: bool) -> tuple[Host, Host]:
        x, y = validate_data(
            self,
            x,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            dtype=(np.float64, np.float32),
            reset=reset,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        else:
            classes = unique_labels(y)
            if self.warm_start and set(classes) != set(self.classes_):
                raise ValueError(
                    f"warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                    f"Previously got {self.classes_}, `y` has {classes}"
                )
            if len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
                raise ValueError(
                    f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
                )
        targets = self._label_binarizer.transform(y)
        # The loss of more than two classes takes their numbers, those of two and of labels the zeros and ones.
        return x, targets.argmax(axis=1) if self._out_activation() == "softmax" else targets.astype(x.dtype)

    def _out_activation(self) -> str:
        return "softmax" if self._label_binarizer.y_type_ == "multiclass" else "logistic"

    def _n_outputs(self, y: Host) -> int:
        return len(self.classes_) if y.ndim == 1 else y.shape[1]

    def _decode(self, outputs: Host) -> Host:
        return self._label_binarizer.inverse_transform(outputs.ravel() if self.n_outputs_ == 1 else outputs)

    def _stratification(self, y: Host) -> Host | None:
        return y if self.n_outputs_ == 1 else None

    def _validation_score(self, outputs: Host, rows: Rows) -> float:
        if self.out_activation_ == "softmax":
            return float(accuracy_score(rows.y, outputs.argmax(axis=1), sample_weight=rows.weights))
        return float(accuracy_score(rows.y > 0.5, outputs > 0.5, sample_weight=rows.weights))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class MLPRegressor(RegressorMixin, BaseMLP):  # type: ignore[misc]
    r"""A multilayer perceptron that predicts numbers, trained by stochastic gradient descent.

    The parameters have the names, meanings and defaults of `sklearn.neural_network.MLPRegressor` with
    ``solver="sgd"``; there is no other solver.

    Parameters
    ----------
    loss : {"squared_error", "poisson"}
        Half the squared error; or half the Poisson deviance, for counts, with which the network gives the logarithm of
        the prediction.
    hidden_layer_sizes, activation, alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter
        As for `MLPClassifier`.
    shuffle, random_state, tol, verbose, warm_start, momentum, nesterovs_momentum
        As for `MLPClassifier`.
    early_stopping, validation_fraction, n_iter_no_change
        As for `MLPClassifier`; the validation score is :math:`R^2`.
    backend : str, optional
        As for `MLPClassifier`.

    Attributes
    ----------
    coefs_, intercepts_, loss_, best_loss_, loss_curve_, validation_scores_, best_validation_score_
        As for `MLPClassifier`.
    n_iter_, t_, n_features_in_, n_layers_, n_outputs_, feature_names_in_
        As for `MLPClassifier`.
    out_activation_ : {"identity", "exp"}
        What follows the last layer.

    Notes
    -----
    With several outputs the squared error that is reported is their mean, while the steps go along the gradient of
    their sum, as scikit-learn's do.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.linspace(-1, 1, 200)[:, None]
    >>> y = np.sin(3 * x[:, 0])
    >>> regressor = MLPRegressor(hidden_layer_sizes=(16,), activation="tanh", learning_rate_init=0.1, max_iter=500,
    ...                          tol=0, batch_size=50, n_iter_no_change=np.inf, random_state=0)
    >>> import warnings
    >>> with warnings.catch_warnings(action="ignore"):  # that it has not converged
    ...     bool(regressor.fit(x, y).score(x, y) > 0.99)
    True
    """

    _parameter_constraints = {  # noqa: RUF012 - annotated in the base
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson"})],
    }

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: float = 10,
        backend: str | None = None,
    ) -> None:
        self._keep(locals())

    def fit(self, X: Host, y: Host, sample_weight: Host | None = None) -> Self:
        """Train the network.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            The inputs. float32 ones are trained on in float32, others in float64.
        y : array-like, shape (n_samples,) or (n_samples, n_outputs)
            The numbers to predict.
        sample_weight : array-like, shape (n_samples,), optional
            The weights of the examples.

        Returns
        -------
        MLPRegressor
            This object.

        Raises
        ------
        ValueError
            If a parameter or the data are not what they have to be, with scikit-learn's words; if the weights end up
            infinite.
        """
        return self._fit(X, y, sample_weight, incremental=False)

    def partial_fit(self, X: Host, y: Host, sample_weight: Host | None = None) -> Self:
        """Train for one epoch, going on from where the last call ended.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        MLPRegressor
            This object.
        """
        return self._fit(X, y, sample_weight, incremental=True)

    def _encode(self, x: Host, y: Host, incremental: bool, reset: bool) -> tuple[Host, Host]:
        x, y = validate_data(
            self,
            x,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            y_numeric=True,
            dtype=(np.float64, np.float32),
            reset=reset,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return x, y.reshape(len(y), -1).astype(x.dtype, copy=False)

    def _out_activation(self) -> str:
        return "exp" if self.loss == "poisson" else "identity"

    def _n_outputs(self, y: Host) -> int:
        return y.shape[1]  # type: ignore[no-any-return]

    def _decode(self, outputs: Host) -> Host:
        return outputs.ravel() if self.n_outputs_ == 1 else outputs

    def _validation_score(self, outputs: Host, rows: Rows) -> float:
        if not np.isfinite(outputs).all():
            return np.nan
        return float(r2_score(rows.y, outputs, sample_weight=rows.weights))
