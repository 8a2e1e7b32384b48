"""The estimators beside scikit-learn's own: its conventions by its own checks, its numbers from one random state."""

from __future__ import annotations

import pickle  # noqa: TID251 - what processes that search a grid send each other
import re
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import gradkit
from gradkit.backend import Backend, use_backend
from gradkit.sklearn import MLPClassifier, MLPRegressor, network

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# Of all of their checks with few steps each: what they look at shows at once, or not at all.


@parametrize_with_checks(
    [MLPClassifier(max_iter=40, learning_rate_init=0.1), MLPRegressor(max_iter=40, learning_rate_init=0.03)]
)
def test_scikit_learns_own_checks_pass(estimator: Any, check: Any) -> None:
    check(estimator)


@parametrize_with_checks(
    [MLPClassifier(backend="strict", max_iter=5), MLPRegressor(backend="strict", max_iter=5)], legacy=False
)
def test_scikit_learns_checks_of_the_interface_pass_on_another_backend(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.long
@parametrize_with_checks([MLPClassifier(), MLPRegressor(), MLPClassifier(backend="strict")])
def test_scikit_learns_own_checks_pass_with_as_many_steps_as_usual(estimator: Any, check: Any) -> None:
    check(estimator)


# Data, small enough for every backend and option


def _data() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    digits, labels = load_digits(return_X_y=True)
    x, progress = load_diabetes(return_X_y=True)
    digits, labels, x = digits[:150] / 16, labels[:150], 20 * x[:120]
    progress = (progress[:120] - progress.mean()) / progress.std()
    return {
        "classes": (digits, labels),
        "two classes": (digits, np.where(labels > 4, "large", "small")),
        "labels": make_multilabel_classification(120, random_state=0),
        "numbers": (x, progress),
        "rows of numbers": (x, np.stack([progress, progress**2], axis=1)),
        "counts": (x, np.floor(progress**2)),
    }


DATA = _data()
REGRESSION = ("numbers", "rows of numbers", "counts")


def pair(data: str, **options: Any) -> tuple[Any, Any]:
    """Return an estimator of scikit-learn's and one of gradkit's with the same options."""
    chosen = {"hidden_layer_sizes": (7, 5), "learning_rate_init": 0.05, "max_iter": 8, "batch_size": 40, **options}
    chosen.setdefault("random_state", 3)
    if data == "counts":
        chosen["loss"] = "poisson"
    theirs, ours = (TheirRegressor, MLPRegressor) if data in REGRESSION else (TheirClassifier, MLPClassifier)
    return theirs(solver="sgd", **chosen), ours(**chosen)


def assert_same(theirs: Any, ours: Any, x: Any, rtol: float = 1e-8) -> None:
    """Compare the course of two fits, and what came of them."""
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in ("loss_curve_", "loss_", "best_loss_", "validation_scores_", "best_validation_score_"):
        expected = getattr(theirs, name)
        if expected is None:
            assert getattr(ours, name) is None, name
        else:
            np.testing.assert_allclose(getattr(ours, name), expected, rtol=rtol, err_msg=name)
    for name in ("coefs_", "intercepts_"):
        for one, other in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol, err_msg=name)
    for name in ("predict", "predict_proba", "predict_log_proba"):
        if hasattr(theirs, name):
            got, expected = getattr(ours, name)(x), getattr(theirs, name)(x)
            assert got.shape == expected.shape
            if expected.dtype.kind == "f":
                np.testing.assert_allclose(got, expected, rtol=10 * rtol, atol=rtol, err_msg=name)
            else:
                np.testing.assert_array_equal(got, expected)
                assert got.dtype == expected.dtype


OPTIONS = [
    {},
    {"shuffle": False},
    {"momentum": 0.0},
    {"momentum": 0.5, "nesterovs_momentum": False},
    {"alpha": 0.0},
    {"alpha": 2.0, "activation": "tanh"},
    {"activation": "logistic", "hidden_layer_sizes": 6},
    {"activation": "identity", "hidden_layer_sizes": ()},
    {"learning_rate": "invscaling", "power_t": 0.3},
    {"learning_rate": "adaptive", "n_iter_no_change": 1, "tol": 0.05, "max_iter": 15},
    {"tol": 0.5, "n_iter_no_change": 2, "max_iter": 30},
    {"early_stopping": True, "n_iter_no_change": 2, "tol": 0.01, "max_iter": 30},
    {"early_stopping": True, "learning_rate": "adaptive", "n_iter_no_change": 1, "tol": 0.05, "max_iter": 15},
    {"batch_size": "auto"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options_mean_what_they_mean_to_scikit_learn(options: dict[str, Any], backend: Backend) -> None:
    x, y = DATA["classes"]
    theirs, ours = pair("classes", **options)
    assert_same(theirs.fit(x, y), ours.fit(x, y), x)


@pytest.mark.dealt("data", "early_stopping", "weighted")
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("early_stopping", [False, True], ids=["", "early stopping"])
@pytest.mark.parametrize("data", DATA)
def test_every_kind_of_target_gives_scikit_learns_numbers(
    data: str, early_stopping: bool, weighted: bool, backend: Backend
) -> None:
    x, y = DATA[data]
    weights = np.random.default_rng(0).uniform(0, 3, len(x)) if weighted else None
    theirs, ours = pair(data, early_stopping=early_stopping, learning_rate_init=0.01, alpha=0.1)
    assert_same(theirs.fit(x, y, weights), ours.fit(x, y, weights), x)


@pytest.mark.parametrize("data", DATA)
def test_float32_inputs_are_trained_on_in_float32(data: str, backend: Backend) -> None:
    x, y = DATA[data]
    x = x.astype(np.float32)
    theirs, ours = pair(data, learning_rate_init=0.01)
    ours.fit(x, y)
    assert {array.dtype.name for array in [*ours.coefs_, *ours.intercepts_]} == {"float32"}
    assert_same(theirs.fit(x, y), ours, x, rtol=2e-4)


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_array])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_sparse_matrix_gives_what_its_dense_form_gives(kind: Any, shuffle: bool, backend: Backend) -> None:
    x, y = DATA["classes"]
    _, ours = pair("classes", shuffle=shuffle, early_stopping=True)
    dense, thin = clone(ours).fit(x, y), clone(ours).fit(kind(x), y)
    assert_same(dense, thin, kind(x))


# Going on


@pytest.mark.parametrize("data", ["classes", "labels", "rows of numbers"])
@pytest.mark.parametrize("learning_rate", ["constant", "invscaling", "adaptive"])
def test_partial_fit_goes_on_as_scikit_learns_does(data: str, learning_rate: str, backend: Backend) -> None:
    x, y = DATA[data]
    estimators = pair(data, learning_rate=learning_rate, tol=0.1, n_iter_no_change=1)
    for part in (slice(0, 60), slice(60, 100), slice(20, 90)) * 2:
        for estimator in estimators:
            classes = {} if data in REGRESSION else {"classes": np.arange(10 if data == "classes" else 5)}
            assert estimator.partial_fit(x[part], y[part], **classes) is estimator
    assert_same(*estimators, x)


def test_warm_start_goes_on_as_scikit_learns_does(backend: Backend) -> None:
    x, y = DATA["classes"]
    estimators = pair("classes", warm_start=True, max_iter=3, early_stopping=True)
    for _ in range(3):
        for estimator in estimators:
            estimator.fit(x, y)
    assert len(estimators[1].loss_curve_) == 9
    assert_same(*estimators, x)


def test_the_weights_are_the_users_to_change(backend: Backend) -> None:
    x, y = DATA["numbers"]
    estimators = pair("numbers", shuffle=False)
    for estimator in estimators:
        estimator.partial_fit(x, y)
        estimator.coefs_[0][:2] = 0.25
        estimator.intercepts_[-1] += 1
        estimator.partial_fit(x, y)
    assert_same(*estimators, x)


@pytest.mark.parametrize("data", ["two classes", "rows of numbers"])
def test_a_pickle_and_a_copy_go_on_as_the_original_would(data: str, backend: Backend) -> None:
    x, y = DATA[data]
    _, ours = pair(data, warm_start=True, random_state=0)
    ours.fit(x, y)
    loaded = pickle.loads(pickle.dumps(ours))
    np.testing.assert_array_equal(loaded.predict(x), ours.predict(x))
    for estimator in (ours, loaded):
        estimator.partial_fit(x, y)
    np.testing.assert_array_equal(loaded.coefs_[0], ours.coefs_[0])


def test_pipelines_and_grid_searches_take_it(backend: Backend) -> None:
    x, y = DATA["classes"]
    pipeline = make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=15, random_state=0))
    search = GridSearchCV(pipeline, {"mlpclassifier__learning_rate_init": [1e-6, 0.1]}, cv=3).fit(x, y)
    assert search.best_params_ == {"mlpclassifier__learning_rate_init": 0.1}
    assert search.best_estimator_[-1].get_params()["backend"] is None


# Where it runs


def test_backend_is_where_the_training_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = gradkit.sklearn.network.epoch
    monkeypatch.setattr(
        "gradkit.sklearn.base.epoch",
        lambda run, *rest: seen.append(run.network.layers[0].weight.device.backend) or original(run, *rest),
    )
    x, y = DATA["numbers"]
    MLPRegressor(backend="strict", max_iter=1).fit(x, y)
    with gradkit.use_backend("strict"):
        MLPRegressor(max_iter=1).fit(x, y)
        regressor = MLPRegressor(backend="numpy", max_iter=1).fit(x, y)
    assert seen == ["strict", "strict", "numpy"]
    assert type(regressor.coefs_[0]) is type(regressor.predict(x)) is np.ndarray


def test_fitting_draws_no_key_of_gradkits_own(backend: Backend) -> None:
    gradkit.random.seed(0)
    expected = np.asarray(gradkit.random.normal(gradkit.random.next_key()))
    gradkit.random.seed(0)
    MLPRegressor(max_iter=1).fit(*DATA["numbers"])
    np.testing.assert_array_equal(np.asarray(gradkit.random.normal(gradkit.random.next_key())), expected)


# Many steps in a call


@pytest.mark.parametrize(
    "data, options, few, printer",  # native code takes long to make for all of them
    [
        ("classes", {}, 32, ""),  # its last batch, of other size, is a program
        ("classes", {}, 1, "numpy"),  # and here is eager
        ("two classes", {"early_stopping": True, "alpha": 0.5}, 32, "numpy"),
        ("labels", {"learning_rate": "invscaling", "momentum": 0.0}, 32, "numpy"),
        ("rows of numbers", {"batch_size": 50}, 32, "numpy"),
        ("counts", {"nesterovs_momentum": False}, 32, "numpy"),
    ],
)
def test_fits_whose_steps_are_a_program_are_scikit_learns(
    data: str, options: dict[str, Any], few: int, printer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADKIT_COMPILER", printer)
    monkeypatch.setattr(network, "MANY_STEPS", 1)
    monkeypatch.setattr(network, "FEW_STEPS", few)
    x, y = DATA[data]
    theirs, ours = pair(data, **options)
    with use_backend("numpy"):
        ours.fit(x, y)
    assert_same(theirs.fit(x, y), ours, x)


def test_a_fit_in_float32_leaves_the_program_of_float64_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADKIT_COMPILER", "numpy")
    monkeypatch.setattr(network, "MANY_STEPS", 1)
    x, y = DATA["classes"]
    MLPClassifier((5,), max_iter=2, random_state=0).fit(x.astype("float32"), y)
    theirs, ours = pair("classes", hidden_layer_sizes=(5,), max_iter=2, random_state=0)
    assert_same(theirs.fit(x, y), ours.fit(x, y), x)


def test_weights_are_in_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADKIT_COMPILER", "numpy")
    x, y = DATA["numbers"]
    weights = np.random.default_rng(1).integers(0, 3, len(x)).astype(float)
    weights[30:60] = 0  # a batch that is left out
    found = []
    for least in (1, 10**9):
        monkeypatch.setattr(network, "MANY_STEPS", least)
        found.append(MLPRegressor(batch_size=30, shuffle=False, random_state=0, max_iter=4).fit(x, y, weights))
    np.testing.assert_allclose(found[0].loss_curve_, found[1].loss_curve_, rtol=1e-10)
    np.testing.assert_allclose(found[0].coefs_[0], found[1].coefs_[0], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(
    "taken, whole, expected",
    [
        ([True] * 4, 4, [(0, 4)]),
        ([True] * 5, 4, [(0, 4), (4, 5)]),
        ([False, True, True, False, True], 4, [(1, 3), (4, 5)]),
        ([False, False], 1, []),
        ([True] * 600, 600, [(0, 256), (256, 512), (512, 600)]),
    ],
)
def test_batches_are_in_one_call_where_they_follow_each_other(
    taken: list[bool], whole: int, expected: list[tuple[int, int]]
) -> None:
    assert [*network._stretches(taken, whole)] == expected


# Weights of examples


def test_a_weight_counts_as_so_many_examples(backend: Backend) -> None:
    x, y = DATA["classes"]
    weights = np.random.default_rng(1).integers(0, 4, len(x))
    options = {"batch_size": 10_000, "random_state": 0, "max_iter": 5}
    with warnings.catch_warnings(action="ignore"):  # that the batches are cut to the data
        weighted = MLPClassifier(**options).fit(x, y, sample_weight=weights)
        repeated = MLPClassifier(**options).fit(np.repeat(x, weights, axis=0), np.repeat(y, weights))
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-10)
    np.testing.assert_allclose(weighted.coefs_[0], repeated.coefs_[0], rtol=1e-8, atol=1e-12)


def test_a_batch_whose_weights_are_all_0_changes_nothing(backend: Backend) -> None:
    x, y = DATA["numbers"]
    weights = np.repeat([1.0, 0.0, 2.0], 40)
    options = {"batch_size": 40, "shuffle": False, "max_iter": 3, "random_state": 0}
    with_empty = MLPRegressor(**options).fit(x, y, weights)
    kept = weights > 0
    without = MLPRegressor(**options).fit(x[kept], y[kept], weights[kept])
    np.testing.assert_allclose(with_empty.coefs_[0], without.coefs_[0], rtol=1e-12)
    with pytest.raises(ValueError, match="Sample weights must contain at least one non-zero number"):
        MLPRegressor().fit(x, y, np.zeros(120))


# What is said


def test_each_epoch_is_printed_as_scikit_learn_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    x, y = DATA["classes"]
    printed = []
    for estimator in pair("classes", verbose=True, learning_rate="adaptive", tol=0.3, n_iter_no_change=1, max_iter=12):
        estimator.fit(x, y)
        printed.append(capsys.readouterr().out)
    assert printed[1] == printed[0]
    assert "Setting learning rate to 0.01" in printed[1]


def test_training_that_was_cut_short_warns() -> None:
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached and .* hasn't converged yet\."):
        MLPRegressor(max_iter=2).fit(*DATA["numbers"])


def test_an_interrupted_fit_keeps_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    original = gradkit.sklearn.network.epoch
    calls = []

    def interrupted(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr("gradkit.sklearn.base.epoch", interrupted)
    x, y = DATA["numbers"]
    regressor = MLPRegressor(random_state=0)
    with pytest.warns(UserWarning, match=r"Training interrupted by user\."):
        regressor.fit(x, y)
    assert regressor.n_iter_ == 2
    monkeypatch.undo()
    np.testing.assert_array_equal(MLPRegressor(random_state=0, max_iter=2).fit(x, y).coefs_[0], regressor.coefs_[0])


# Wrong input: scikit-learn's own words where it has them


@pytest.mark.parametrize(
    "options",
    [
        {"hidden_layer_sizes": (3, 0)},
        {"hidden_layer_sizes": "many"},
        {"activation": "swish"},
        {"alpha": -1},
        {"batch_size": 0},
        {"learning_rate": "falling"},
        {"learning_rate_init": 0},
        {"max_iter": 0},
        {"validation_fraction": 1.0},
        {"validation_fraction": 0.001, "early_stopping": True},
        {"n_iter_no_change": 0.5},
        {"random_state": "seed"},
    ],
    ids=str,
)
def test_a_wrong_option_is_refused_in_scikit_learns_words(options: dict[str, Any]) -> None:
    x, y = DATA["numbers"]
    theirs, ours = pair("numbers", **options)
    with pytest.raises(ValueError, match=r".") as expected:
        theirs.fit(x, y)
    with pytest.raises(ValueError, match=r".") as got:
        ours.fit(x, y)
    # The words of a set of names have no order.
    assert sorted(re.findall(r"[\w.']+", str(got.value))) == sorted(re.findall(r"[\w.']+", str(expected.value)))


def test_wrong_data_are_refused_in_scikit_learns_words() -> None:
    x, y = DATA["classes"]
    for estimator in pair("classes"):
        with pytest.raises(ValueError, match="classes must be passed on the first call to partial_fit"):
            estimator.partial_fit(x, y)
        estimator.partial_fit(x, y, classes=np.arange(10))
        with pytest.raises(ValueError, match=r"`y` has classes not in `self\.classes_`\."):
            estimator.partial_fit(x, y + 1)
        with pytest.raises(ValueError, match="X has 63 features, but MLPClassifier is expecting 64 features as input"):
            estimator.predict(x[:, 1:])
        estimator.set_params(warm_start=True)
        with pytest.raises(
            ValueError, match="warm_start can only be used where `y` has the same classes as in the pre"
        ):
            estimator.fit(x, np.minimum(y, 5))
        estimator.set_params(early_stopping=True)
        with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
            estimator.partial_fit(x, y)
    for estimator in pair("numbers", learning_rate_init=1e30):
        x, y = DATA["numbers"]
        with (
            pytest.raises(
                ValueError, match=r"Solver produced non-finite parameter weights\. The input data may contain"
            ),
            warnings.catch_warnings(action="ignore"),
        ):
            estimator.fit(x, y)


def test_going_on_with_another_number_of_outputs_is_an_error() -> None:
    x, y = DATA["rows of numbers"]
    regressor = MLPRegressor(max_iter=1, warm_start=True).fit(x, y)
    with pytest.raises(ValueError, match="y must have 2 outputs, as in the earlier call that this one goes on from, g"):
        regressor.fit(x, y[:, 0])


def test_an_unknown_backend_is_gradkits_error() -> None:
    with pytest.raises(ValueError, match=r"Unknown backend 'nunpy'\. Known: .* Did you mean 'numpy'\?"):
        MLPRegressor(backend="nunpy").fit(*DATA["numbers"])


def test_without_scikit_learn_the_error_names_the_extra() -> None:
    code = "import sys; sys.modules['sklearn'] = None; import gradkit.sklearn"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingDependencyError: gradkit.sklearn needs scikit-learn" in done.stderr
    assert "pip install 'gradkit[sklearn]'" in done.stderr
