"""What `gradkit.fit` refuses: arguments and data that are wrong, and losses that are no number."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from test_fit import fit, leaves, moons, new_model

import gradkit
from gradkit import nn, optim
from gradkit.errors import NonFiniteLossError, ShapeError
from gradkit.train import Callback, EarlyStopping, Training


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"epochs": 0}, ValueError, "epochs must be a whole number of at least 1, got 0"),
        ({"batch_size": 0}, ValueError, "batch_size must be a whole number of at least 1, got 0"),
        ({"batch_size": 2.5}, ValueError, "batch_size must be a whole number of at least 1, got 2.5"),
        ({"loss": "sofmax_cross_entropy"}, ValueError, "Did you mean 'softmax_cross_entropy'?"),
        (
            {"loss": "mes"},
            ValueError,
            "Known: hinge, mse, sigmoid_cross_entropy, softmax_cross_entropy. Did you mean 'mse'?",
        ),
        ({"loss": 3}, TypeError, "loss must be a name"),
        ({"loss": lambda x: x}, TypeError, "which takes 1 arguments"),
        (
            {"optimizer": 0.1},
            TypeError,
            "optimizer must have init and update, such as gradkit.optim.SGD(0.1) has, got 0.1",
        ),
        (
            {"callbacks": EarlyStopping()},
            TypeError,
            "callbacks must be a list of gradkit.train.Callback objects, got <",
        ),
        (
            {"callbacks": [EarlyStopping]},
            TypeError,
            "callbacks must be a list of gradkit.train.Callback objects, got <",
        ),
        ({"metrics": 5}, TypeError, "metrics must be names"),
        ({"metrics": "acuracy"}, ValueError, "Did you mean 'accuracy'?"),
        ({"metrics": [3]}, TypeError, "metrics must be names"),
        ({"metrics": {"loss": nn.mse}}, ValueError, "a metric cannot be called 'loss'"),
        ({"validation": 1.5}, ValueError, "must be between 0 and 1, got 1.5"),
        ({"validation": "some"}, TypeError, "validation must be a pair (x, y) of examples and their targets, got str"),
        ({"resume": True}, ValueError, "resume=True needs checkpoint"),
        ({"resume": "yes"}, ValueError, "resume must be 'auto', True or False, got 'yes'"),
    ],
)
def test_a_wrong_argument_is_named(options: dict[str, Any], error: type[Exception], message: str, backend: Any) -> None:
    with pytest.raises(error, match=re.escape(message)):
        fit(new_model(), moons(), **options)


def test_wrong_data_are_named(xp: Any) -> None:
    x, y = moons()
    with pytest.raises(ShapeError, match="a target for each example, got 60 examples and 59 targets"):
        fit(new_model(), (x, y[1:]))
    with pytest.raises(ValueError, match=r"data is empty: x has shape \(0, 2\)"):
        fit(new_model(), (x[:0], y[:0]))
    with pytest.raises(ValueError, match=r"validation is empty"):
        fit(new_model(), (x, y), validation=(x[:0], y[:0]))
    with pytest.raises(TypeError, match=r"data must be a pair \(x, y\) of examples and their targets, got Array"):
        fit(new_model(), x)
    with pytest.raises(ShapeError, match=r"expected x of shape \(..., 2\), got shape \(32, 1\)"):
        fit(new_model(), (x[:, :1], y))


def test_a_loss_that_is_no_number_ends_training(xp: Any) -> None:
    with pytest.raises(NonFiniteLossError, match=r"the loss is (nan|inf) at step \d+. No checkpoint was") as caught:
        fit(new_model(1), (moons()[0], moons()[0][:, :1]), optimizer=optim.SGD(1e20), epochs=3)
    assert all(np.isfinite(leaf).all() for leaf in leaves(caught.value.model))
    assert caught.value.history.stopped.startswith("the loss is ")  # type: ignore[attr-defined]


def with_one(array: Any, position: tuple[int, ...], value: float) -> Any:
    changed = np.array(array, dtype="float32")
    changed[position] = value
    return changed


@pytest.mark.parametrize("part, value", [(0, float("nan")), (1, float("nan")), (1, float("inf"))])
def test_a_number_that_is_none_is_found_in_the_data_that_have_it(xp: Any, part: int, value: float) -> None:
    x = moons()[0]
    good = (np.asarray(x), np.asarray(x)[:, :1])
    bad = tuple(with_one(array, (3, 0), value) if i == part else array for i, array in enumerate(good))
    told = rf"step \d+: {{}}\[{part}\]\[3, 0\] is {value}\. Fill it in"
    with pytest.raises(NonFiniteLossError, match="^the loss is (nan|inf) at " + told.format("data")):
        fit(new_model(1), bad, epochs=1)
    with pytest.raises(
        NonFiniteLossError, match="^the validation loss is (nan|inf) at " + told.format("validation")
    ) as e:
        fit(new_model(1), good, epochs=1, validation=bad)
    assert e.value.history.stopped.startswith("the validation loss is ")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "targets, told",
    [
        (
            lambda y: [str(label) for label in y],
            r"data\[1\] must be numbers. It holds names, such as '[01]'. Classes are given",
        ),
        (lambda y: y.astype("S1"), r"names, y = numpy.unique\(y, return_inverse=True\)"),
        (lambda y: [None if label else 0 for label in y], "It holds None, a missing value"),
        (lambda y: y.astype("float32"), r"mean squared error. Classes are given as integers, y.astype\('int32'\)"),
        (lambda y: y.astype(bool), r"got dtype bool. Convert them with labels.astype\('int32'\)"),
        (lambda y: y + 5, r"Numbers to predict are given as real numbers, y.astype\('float32'\)"),
    ],
)
def test_targets_that_are_no_classes_are_told_what_classes_are(targets: Any, told: str) -> None:
    x, y = map(np.asarray, moons())
    with pytest.raises((TypeError, ValueError), match=told):
        fit(new_model(), (x, targets(y)), epochs=1)


def test_names_among_the_examples_are_told_to_be_encoded() -> None:
    x, y = map(np.asarray, moons())
    with pytest.raises(TypeError, match=r"data\[0\] must be numbers. It holds text, such as .*Encode it"):
        fit(new_model(), (x.astype(str), y), epochs=1)


def test_a_callback_is_told_of_the_end_of_a_run_that_fails(backend: Any) -> None:
    class Counts(Callback):
        ends = 0

        def end(self, training: Training) -> None:
            self.ends += 1

    counts = Counts()
    with pytest.raises(NonFiniteLossError):
        fit(new_model(), (moons()[0] * float("nan"), moons()[1]), callbacks=[counts])
    assert counts.ends == 1


@pytest.mark.parametrize("dtype", ["bool", "int32", "float32"])
@pytest.mark.parametrize("loss", [None, "softmax_cross_entropy"])
@pytest.mark.parametrize("columns", [(), (1,)])
def test_a_softmax_of_one_output_is_refused(dtype: str, loss: str | None, columns: tuple[int, ...], xp: Any) -> None:
    """It is 1, so that its loss is 0 and its accuracy 1, whatever the labels are."""
    x = np.linspace(-1, 1, 8, dtype=np.float32)[:, None]
    y = (x[:, 0] > 0).astype(dtype).reshape(8, *columns)
    if loss is None and dtype == "float32":
        return  # numbers to predict
    with pytest.raises(ShapeError, match=r"has one output, of shape \(8, 1\), and the softmax .* is always 1"):
        gradkit.fit(gradkit.nn.MLP(1, [1]), (x, y), loss=loss, epochs=1)


@pytest.mark.parametrize("row", range(6))
def test_a_number_that_is_none_is_named_by_its_row_in_the_data_that_were_given(xp: Any, row: int) -> None:
    x = np.ones((6, 2), "float32")
    x[row, 1] = np.nan
    with pytest.raises(NonFiniteLossError, match=rf"data\[0\]\[{row}, 1\] is nan"):
        fit(new_model(), (x, np.asarray([0, 1] * 3)), epochs=1, batch_size=3, validation=0.5)
