"""Steps of `fit` that are a program: the numbers of eager ones, and the same however they are grouped."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradkit
from gradkit import Array, data, nn, optim, random
from gradkit.compiler.executables import has_printer
from gradkit.config import setting as setting_of
from gradkit.errors import ConcretizationTypeError, NonFiniteLossError
from gradkit.train import Callback, Checkpoint, ClipGradients, compiled
from gradkit.train.programs import Programs

LAST = "checkpoint.safetensors"


def moons(n: int = 64) -> tuple[Array, Array]:
    return data.moons(n, key=random.key(7))


def fit(**options: Any) -> tuple[Any, Any]:
    defaults: dict[str, Any] = {
        "data": moons(),
        "optimizer": optim.SGD(optim.cosine_decay(0.3, 60), momentum=0.9),
        "epochs": 4,
        "batch_size": 8,
        "key": random.key(2),
        "progress": False,
    }
    given = {**defaults, **options}
    return gradkit.fit(given.pop("model", nn.MLP(2, [8, 2], key=random.key(1))), given.pop("data"), **given)


def leaves(tree: Any) -> list[np.ndarray[Any, Any]]:
    return [np.asarray(gradkit.device_get(leaf)) for leaf in gradkit.tree.leaves(tree)]


def assert_equal(found: Any, expected: Any) -> None:
    for one, other in zip(leaves(found), leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other)


def assert_close(found: Any, expected: Any) -> None:
    for one, other in zip(leaves(found), leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-5)


def without_times(history: Any) -> dict[str, Any]:
    return {name: column for name, column in history.to_dict().items() if name != "seconds"}


@pytest.fixture(autouse=True)
def from_the_ninth_step_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "EAGER_STEPS", 9)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Note the first and last step of each call of a program."""
    found: list[tuple[int, int]] = []
    run = Programs.__call__

    def noting(self: Programs, model: Any, state: Any, epoch: Any, start: int, stop: int) -> Any:
        found.append((start, stop))
        return run(self, model, state, epoch, start, stop)

    monkeypatch.setattr(Programs, "__call__", noting)
    return found


# The numbers


def test_compiled_steps_are_the_eager_ones_up_to_rounding(backend: Any, calls: list[Any]) -> None:
    options: dict[str, Any] = {"data": moons(60), "validation": 0.2, "epochs": 3}
    expected, by_hand = fit(jit=False, **options)
    assert not calls
    for jit in ("auto", True):
        model, history = fit(jit=jit, **options)
        assert bool(calls) == has_printer(backend)
        assert_close(model, expected)
        for name, column in without_times(by_hand).items():
            np.testing.assert_allclose(history[name], column, rtol=2e-4)
        calls.clear()


@pytest.mark.parametrize(
    "rate",
    [
        0.1,
        optim.cosine_decay(0.3, 25),
        optim.exponential_decay(0.3, 7, 0.9, staircase=True),
        optim.warmup(optim.inverse_time_decay(0.3, 5, 0.7), 6),
        optim.piecewise_constant(0.3, {5: 0.1, 17: 3.0}),
        lambda step: 0.1 / (1 + step) ** 0.5,
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_learning_rates_are_bit_for_bit_those_of_eager_steps(rate: Any, dtype: str) -> None:
    """A gradient of 1 makes each step the rate alone."""
    x = np.ones((60, 1), dtype)

    def run(jit: bool) -> Any:
        params = gradkit.numpy.zeros(3, dtype)
        return fit(
            model=params, data=(x, x), loss=lambda p, x, y: (p * x[0]).sum(), optimizer=optim.SGD(rate), jit=jit
        )[0]

    assert_equal(run(True), run(False))


@pytest.mark.parametrize(
    "optimizer, callbacks",
    [
        (optim.SGD(0.2, momentum=0.9, nesterov=True, weight_decay=0.01, clip_norm=0.5), ()),
        (optim.SGD(optim.exponential_decay(0.3, 5, 0.5)), [ClipGradients(0.3)]),
        (optim.SGD(gradkit.numpy.asarray(0.1), momentum=0.5), ()),
    ],
)
def test_every_option_of_sgd_is_in_the_program(
    optimizer: Any, callbacks: Any, calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADKIT_COMPILER", "numpy")  # which compiles in no time
    model, _ = fit(optimizer=optimizer, callbacks=callbacks)
    expected, _ = fit(optimizer=optimizer, callbacks=callbacks, jit=False)
    assert calls
    assert_close(model, expected)


class Adam:
    """An optimizer of one's own, whose state is arrays."""

    def init(self, params: Any) -> Any:
        zeros = gradkit.tree.map(gradkit.numpy.zeros_like, params)
        return {"count": gradkit.numpy.asarray(0), "m": zeros, "v": zeros}

    def update(self, params: Any, grads: Any, state: Any) -> Any:
        count = state["count"] + 1
        m = gradkit.tree.map(lambda m, g: 0.9 * m + 0.1 * g, state["m"], grads)
        v = gradkit.tree.map(lambda v, g: 0.99 * v + 0.01 * g**2, state["v"], grads)
        wide = count.astype("float32")

        def moved(p: Any, m: Any, v: Any) -> Any:
            return p - 0.01 * (m / (1 - 0.9**wide)) / ((v / (1 - 0.99**wide)) ** 0.5 + 1e-8)

        return gradkit.tree.map(moved, params, m, v), {"count": count, "m": m, "v": v}


def test_an_optimizer_of_ones_own_whose_state_is_arrays_is_compiled(
    calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADKIT_COMPILER", "numpy")
    model, _ = fit(optimizer=Adam())
    assert calls
    assert_close(model, fit(optimizer=Adam(), jit=False)[0])


def test_a_loss_and_a_metric_of_ones_own_are_compiled_where_they_only_compute(calls: list[Any]) -> None:
    def loss(prediction: Array, target: Array) -> Array:
        logs = nn.log_softmax(prediction)
        return -sum(logs[i, target[i]] for i in range(len(target))) / len(target)

    options = {"loss": loss, "metrics": {"largest": lambda p, t: p.max()}}
    model, history = fit(**options)
    assert calls
    expected, by_hand = fit(**options, jit=False)
    assert_close(model, expected)
    np.testing.assert_allclose(history["largest"], by_hand["largest"], rtol=1e-4)


def test_random_numbers_of_a_key_that_is_kept_in_the_state_are_drawn_anew_in_each_step(calls: list[Any]) -> None:
    """Dropout whose key is made of the batch: so each step has its own."""

    def loss(model: Any, x: Array, y: Array) -> Array:
        key = random.fold_in(random.key(0), (x * 1e6).astype("int32").sum())
        hidden = gradkit.numpy.tanh(model.layers[0](x))
        kept = random.bernoulli(key, 0.5, hidden.shape)
        return nn.softmax_cross_entropy(model.layers[1](gradkit.numpy.where(kept, hidden * 2, 0.0)), y)

    model, _ = fit(loss=loss)
    assert calls
    assert_close(model, fit(loss=loss, jit=False)[0])


# However they are grouped


def test_how_steps_are_grouped_changes_no_bit(calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    found, groups = [], []
    for seconds in ((0.0, 0.0), (0.0, 10.0), (10.0, 10.0)):
        monkeypatch.setattr(compiled, "CALL_SECONDS", seconds)
        found.append(fit(epochs=8, data=moons(60), validation=0.2))
        groups.append({stop - start for start, stop in calls})
        calls.clear()
    assert groups[0] == {1}
    assert max(groups[2]) > 3
    for model, history in found[1:]:
        assert_equal(model, found[0][0])
        assert without_times(history) == without_times(found[0][1])


def interrupting(at: int) -> Any:
    """Return the cross-entropy, which presses Ctrl-C at the step of that number, inside a program as well."""
    count = [-1]

    def note() -> None:
        count[0] += 1
        if count[0] == at:
            signal.raise_signal(signal.SIGINT)

    def softmax_cross_entropy(logits: Array, labels: Array) -> Array:
        gradkit.debug.callback(note)
        return nn.softmax_cross_entropy(logits, labels)

    return softmax_cross_entropy


@pytest.mark.dealt("at", "every")
@pytest.mark.parametrize("at", [3, 12, 25])
@pytest.mark.parametrize("every", [None, 3])
def test_a_run_of_programs_that_is_stopped_goes_on_bit_for_bit(at: int, every: int | None, tmp_path: Path) -> None:
    expected, whole = fit(loss=interrupting(-1), metrics="accuracy")
    options: dict[str, Any] = {"checkpoint": Checkpoint(tmp_path, every_steps=every), "metrics": "accuracy"}
    _, stopped = fit(loss=interrupting(at), **options)
    assert stopped.stopped == "interrupted"
    saved = gradkit.load(tmp_path / LAST)
    assert 0 < saved["optimizer.step"] <= 32  # the call at hand ends
    assert type(saved["optimizer.step"]) is int
    resumed, again = fit(loss=interrupting(-1), **options)
    assert_equal(resumed, expected)
    assert without_times(again) == without_times(whole)


def test_checkpoints_are_those_of_the_steps_that_are_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(compiled, "CALL_SECONDS", (10.0, 10.0))
    written: dict[Any, list[int]] = {}
    save = gradkit.train.checkpoints.Folder.save

    def noting(self: Any, saved: Any, best: Any) -> None:
        written.setdefault(jit, []).append(saved.run.state.step)
        save(self, saved, best)

    monkeypatch.setattr(gradkit.train.checkpoints.Folder, "save", noting)
    for jit in (False, "auto", True):
        fit(jit=jit, checkpoint=Checkpoint(tmp_path / str(jit), every_steps=3))
    assert written[False] == written["auto"] == written[True]


def test_more_epochs_are_those_of_a_run_that_had_them_from_the_start(tmp_path: Path) -> None:
    fit(epochs=2, checkpoint=tmp_path)
    assert_equal(fit(epochs=5, checkpoint=tmp_path)[0], fit(epochs=5)[0])


@pytest.mark.parametrize("bound", [0.5, 0.4])
def test_a_loss_that_is_no_number_leaves_the_state_that_eager_steps_leave(bound: float, tmp_path: Path) -> None:
    def poisoned(logits: Array, labels: Array) -> Array:
        loss = nn.softmax_cross_entropy(logits, labels)
        return gradkit.numpy.where(loss < bound, gradkit.numpy.nan, loss)

    found = {}
    for jit in (False, True):
        folder = tmp_path / str(jit)
        with pytest.raises(NonFiniteLossError) as caught:
            fit(loss=poisoned, checkpoint=folder, jit=jit, epochs=20)
        stored = gradkit.load(folder / LAST)
        found[jit] = str(caught.value).split(". ")[0], stored["optimizer.step"]
        assert_equal(stored["model.layers[0].weight"], caught.value.model.layers[0].weight)  # type: ignore[attr-defined]
        with pytest.raises(NonFiniteLossError, match=found[jit][0]):
            fit(loss=poisoned, checkpoint=folder, jit=jit, epochs=20)
    assert found[True] == found[False]


@pytest.mark.parametrize("jit", ["auto", True])
@pytest.mark.parametrize("stops", ["Ctrl-C", "NaN"])
def test_what_a_step_prints_is_printed_once_for_each_step_also_where_a_run_is_stopped(
    jit: Any, stops: str, calls: list[Any]
) -> None:
    at = 13
    noted: list[int] = []

    def note() -> None:
        noted.append(len(noted))
        if stops == "Ctrl-C" and len(noted) == at + 1:
            signal.raise_signal(signal.SIGINT)

    def loss(logits: Array, labels: Array) -> Array:
        gradkit.debug.callback(note)
        return nn.softmax_cross_entropy(logits, labels)

    rate = (lambda step: 0.1 if step < at - 1 else 1e39) if stops == "NaN" else 0.1
    try:
        fit(loss=loss, optimizer=optim.SGD(rate), jit=jit)
    except NonFiniteLossError:
        assert stops == "NaN"
    assert calls
    assert len(noted) == at + 1


def test_data_on_the_disk_give_the_same_model(calls: list[Any], tmp_path: Path) -> None:
    x, y = moons()
    expected, _ = fit()
    calls.clear()
    np.save(tmp_path / "x.npy", np.asarray(gradkit.device_get(x)))
    model, _ = fit(data=(data.load_npy(tmp_path / "x.npy", mmap=True), y))
    assert {*calls} == {(0, 1)}
    assert_equal(model, expected)


def test_a_small_last_minibatch_is_eager_where_epochs_are_long(
    calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADKIT_COMPILER", "numpy")
    expected, _ = fit(data=moons(60))
    assert (7, 8) in calls
    calls.clear()
    monkeypatch.setattr(compiled, "FEW_STEPS", 2)
    model, _ = fit(data=moons(60))
    assert max(stop for _, stop in calls) == 7
    assert_close(model, expected)


# Where they are none


def test_code_with_effects_runs_in_every_step(calls: list[Any]) -> None:
    seen: list[Any] = []

    def loss(prediction: Array, target: Array) -> Array:
        seen.append(len(target))
        return nn.softmax_cross_entropy(prediction, target)

    fit(loss=loss, metrics="accuracy")
    assert len(seen) == 4 * 8 + 2  # twice more, to look at it
    assert not calls


def test_a_loss_that_looks_at_values_is_eager_or_an_error(calls: list[Any]) -> None:
    def loss(prediction: Array, target: Array) -> Array:
        value = nn.softmax_cross_entropy(prediction, target)
        return value * 0.5 if value > 0.3 else value

    expected, _ = fit(loss=loss, jit=False)
    assert_equal(fit(loss=loss)[0], expected)
    assert not calls
    with pytest.raises(ConcretizationTypeError):
        fit(loss=loss, jit=True)


class Counting:
    """An optimizer whose state has a Python number: what it computes of that is as exact as Python's numbers."""

    def init(self, params: Any) -> Any:
        return {"step": 0}

    def update(self, params: Any, grads: Any, state: Any) -> Any:
        rate = 0.3 * 0.9 ** state["step"]
        return gradkit.tree.map(lambda p, g: p - rate * g, params, grads), {"step": state["step"] + 1}


@pytest.mark.parametrize("callbacks", [(), [ClipGradients(1.0)]])
def test_an_optimizer_that_computes_with_pythons_numbers_is_eager(calls: list[Any], callbacks: Any) -> None:
    model, _ = fit(optimizer=Counting(), callbacks=callbacks)
    assert not calls
    assert_equal(model, fit(optimizer=Counting(), callbacks=callbacks, jit=False)[0])


def test_a_callback_may_change_what_a_loss_of_ones_own_reads(calls: list[Any]) -> None:
    weight = [1.0]

    class Anneal(Callback):
        def epoch_end(self, training: Any) -> None:
            weight[0] *= 0.5

    def loss(prediction: Array, target: Array) -> Array:
        return weight[0] * nn.softmax_cross_entropy(prediction, target)

    model, _ = fit(loss=loss, callbacks=[Anneal()])
    assert not calls
    weight[0] = 1.0
    assert_equal(model, fit(loss=loss, callbacks=[Anneal()], jit=False)[0])


def test_a_callback_may_change_the_optimizer(calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADKIT_COMPILER", "numpy")

    class Plateau(Callback):
        def __init__(self, optimizer: Any) -> None:
            self.optimizer_in_use = optimizer

        def epoch_end(self, training: Any) -> None:
            self.optimizer_in_use.learning_rate *= 0.5
            self.optimizer_in_use.momentum *= 0.5

    found = []
    for jit in ("auto", False):
        optimizer = optim.SGD(0.3, momentum=0.9)
        found.append(fit(optimizer=optimizer, callbacks=[Plateau(optimizer)], jit=jit, epochs=3))
    assert calls
    assert_close(found[0][0], found[1][0])
    assert found[0][1]["learning_rate"] == found[1][1]["learning_rate"] == [0.3, 0.15, 0.075]


def test_an_optimizer_whose_parameters_change_their_dtype_is_eager_or_an_error(calls: list[Any]) -> None:
    class Widening:
        def init(self, params: Any) -> Any:
            return ()

        def update(self, params: Any, grads: Any, state: Any) -> Any:
            return gradkit.tree.map(lambda p, g: (p - 0.1 * g).astype(self.dtype(p)), params, grads), state

        def dtype(self, p: Any) -> str:
            return "float64" if p.dtype.name == "float32" else "float32"

    params = {"w": gradkit.numpy.zeros(()), "b": gradkit.numpy.zeros(2)}
    options: dict[str, Any] = {
        "model": params,
        "loss": lambda p, x, y: gradkit.numpy.mean((x @ p["b"] + p["w"] - 1) ** 2),
        "optimizer": Widening(),
    }
    model, _ = fit(**options)
    assert not calls
    assert_equal(model, fit(**options, jit=False)[0])
    with pytest.raises(TypeError, match="must return a model and an optimizer's state like those it was given"):
        fit(**options, jit=True)


@pytest.mark.parametrize("setting", ["jax_debug_nans", "jax_disable_jit"])
def test_settings_for_finding_faults_run_each_step(setting: str, calls: list[Any]) -> None:
    with setting_of(setting, True):
        fit(jit=True, epochs=1)
    assert not calls


def test_jit_is_auto_true_or_false() -> None:
    with pytest.raises(ValueError, match="jit must be 'auto', True or False, got 'always'"):
        fit(jit="always")
