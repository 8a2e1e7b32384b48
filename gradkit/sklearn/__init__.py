"""Multilayer perceptrons as scikit-learn estimators, trained by gradkit on any of its backends.

They have the names, parameters and attributes of scikit-learn's own `MLPClassifier` and `MLPRegressor` with
``solver="sgd"``, and on the CPU, from the same `random_state`, their numbers up to rounding.

Examples
--------
>>> from sklearn.datasets import load_iris
>>> from sklearn.pipeline import make_pipeline
>>> from sklearn.preprocessing import StandardScaler
>>> from gradkit.sklearn import MLPClassifier
>>> x, y = load_iris(return_X_y=True)
>>> classifier = make_pipeline(StandardScaler(), MLPClassifier(learning_rate_init=0.02, max_iter=300, random_state=0))
>>> bool(classifier.fit(x, y).score(x, y) > 0.95)
True
"""

from gradkit.errors import MissingDependencyError

try:
    from gradkit.sklearn.estimators import MLPClassifier, MLPRegressor
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "sklearn":
        raise
    raise MissingDependencyError(
        f"gradkit.sklearn needs scikit-learn ({error}). Install it with: pip install 'gradkit[sklearn]'"
    ) from error

__all__ = ["MLPClassifier", "MLPRegressor"]
