"""A scale for losses: float16 learns what it would lose, by the field's rule, in programs and over stops as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit import nn, optim
from gradkit.cli import main
from gradkit.errors import NonFiniteLossError, ResumeError
from gradkit.train import Callback
from gradkit.train.scaling import ScaledOptimizer
from gradkit.train.steps import training_step

draw = np.random.default_rng(0)
X = draw.uniform(-1, 1, size=(64, 4))
TRUE = np.asarray([[0.5], [1.5], [-0.75], [0.25]])
Y = X @ TRUE
TINY = 2.0**-22
"""A share of a 64th of a loss that is so small is below 2**-24, the smallest number of float16."""


def small_loss(prediction: Any, y: Any) -> Any:
    return jnp.mean((prediction - y) ** 2) * jnp.asarray(TINY, prediction.dtype)


def fit(loss_scale: Any, epochs: int = 20, dtype: str = "float16", **options: Any) -> tuple[Any, Any]:
    model = nn.Linear(4, 1, key=gradkit.random.key(0), dtype=dtype)
    return gradkit.fit(
        model, (X.astype(dtype), Y.astype(dtype)), loss=small_loss, optimizer=optim.SGD(60_000.0), epochs=epochs,
        key=gradkit.random.key(2), progress=False,
        loss_scale=loss_scale, **{"batch_size": 16, **options},
    )  # fmt: skip


def weights(model: Any) -> np.ndarray:
    return np.asarray(gradkit.device_get(model.weight)).astype("float64")


has_float16 = pytest.mark.skip_backend("strict", reason="the array API standard has no float16")


@has_float16
def test_float16_learns_with_a_loss_scale_what_underflows_without_it(backend: Any) -> None:
    start = weights(nn.Linear(4, 1, key=gradkit.random.key(0), dtype="float16"))
    without, _ = fit(None, batch_size=64)
    np.testing.assert_array_equal(weights(without), start)  # every gradient was 0
    w, b = start, 0.0
    for _ in range(400):  # in float64, where nothing underflows
        rest = X @ w + b - Y
        w, b = w - 60_000 * TINY * 2 / 64 * X.T @ rest, b - 60_000 * TINY * 2 * rest.mean()
    assert np.abs(w - start).max() > 1
    for loss_scale in ("dynamic", 3000):
        found, _ = fit(loss_scale, epochs=400, batch_size=64)
        np.testing.assert_allclose(weights(found), w, atol=0.02)
        assert found.weight.dtype == jnp.float16


def by_hand(steps: int, x: float, interval: int) -> list[tuple[float, int, float]]:
    """Return scale, good steps and weight after each step on the loss w * x, by the rule as it is published."""
    scale, good, w, found = 2.0**15, 0, 1.0, []
    for _ in range(steps):
        with np.errstate(over="ignore"):
            gradient = np.float16(np.float16(scale) * np.float16(x))
        if np.isfinite(gradient):
            w -= 0.25 * float(gradient) / scale
            good += 1
            if good == interval:
                scale, good = 2 * scale, 0
        else:
            scale, good = scale / 2, 0
        found.append((scale, good, w))
    return found


@has_float16
def test_the_scale_and_the_weights_are_those_of_the_rule_by_hand(backend: Any) -> None:
    x = jnp.asarray([8.0], "float16")  # times 2**13 it is 65536, which float16 does not have
    optimizer = ScaledOptimizer(optim.SGD(0.25), optim.DynamicLossScale(growth_interval=3))
    step = training_step(lambda w, x: (jnp.sum(w * x), None), optimizer, has_aux=True)
    w = jnp.ones(1, "float16")
    expected = by_hand(12, 8.0, 3)
    for steps in (step, gradkit.jit(step)):
        model, state = w, optimizer.init(w)
        for i, (scale, good, weight) in enumerate(expected, start=1):
            model, state, _ = steps(model, state, x)
            assert (state.scale.item(), state.good_steps.item(), model.item()) == (scale, good, weight)
            assert int(state.optimizer.step) == i  # schedules go on
            assert state.scale.dtype == jnp.float32
    assert len({scale for scale, _, _ in expected}) > 2


def test_a_scale_that_grows_as_far_as_there_are_numbers_stays_one(backend: Any) -> None:
    optimizer = ScaledOptimizer(optim.SGD(0.25), optim.DynamicLossScale(init_scale=2.0**126, growth_interval=1))
    step = training_step(lambda w, x: (jnp.sum(w * x), None), optimizer, has_aux=True)
    w = jnp.ones(1)
    state = optimizer.init(w)
    with np.errstate(all="ignore"):
        for _ in range(3):
            w, state, _ = step(w, state, jnp.zeros(1))
            assert state.scale.item() == 2.0**127
        w, state, _ = step(w, state, jnp.asarray([0.5]))
    assert w.tolist() == [0.875]


@has_float16
def test_a_step_that_is_skipped_changes_neither_parameters_nor_velocities(backend: Any) -> None:
    optimizer = ScaledOptimizer(optim.SGD(0.25, momentum=0.5), optim.DynamicLossScale())
    step = training_step(lambda w, x: (jnp.sum(w * x), None), optimizer, has_aux=True)
    w = jnp.ones(2, "float16")
    state = optimizer.init(w)
    w, state, _ = step(w, state, jnp.ones(2, "float16"))
    after, new, _ = step(w, state, jnp.asarray([1.0, 1000.0], "float16"))
    assert after.tolist() == w.tolist()
    assert new.optimizer.velocity.tolist() == state.optimizer.velocity.tolist() == [1.0, 1.0]
    assert new.scale.item() == state.scale.item() / 2


@has_float16
def test_what_is_not_finite_at_a_scale_of_1_is_the_models_own(backend: Any) -> None:
    optimizer = ScaledOptimizer(optim.SGD(0.25), optim.DynamicLossScale(init_scale=4.0))
    step = training_step(lambda w, x: (jnp.sum(w * x), None), optimizer, has_aux=True)
    w, x = jnp.ones(1, "float16"), jnp.asarray([np.inf], "float16")
    state = optimizer.init(w)
    for _ in range(2):
        w, state, _ = step(w, state, x)
        assert w.tolist() == [1.0]
    w, state, _ = step(w, state, x)
    assert not np.isfinite(w.item())


@has_float16
@pytest.mark.skip_backend("jax", reason="XLA makes TINY / 16 one factor, which is 0 in float16")
def test_programs_take_the_steps_of_eager_ones_bit_for_bit(backend: Any) -> None:
    for loss_scale in ("dynamic", optim.DynamicLossScale(growth_interval=7), 512.0):
        eager, history = fit(loss_scale, jit=False)
        compiled, others = fit(loss_scale, jit=True)
        np.testing.assert_array_equal(weights(compiled), weights(eager))
        assert history["loss"] == others["loss"]


class Scales(Callback):
    def __init__(self) -> None:
        self.seen: list[float] = []

    def epoch_end(self, training: Any) -> None:
        self.seen.append(training.loss_scale)


@has_float16
@pytest.mark.parametrize("jit", [False, True])
def test_a_run_that_is_resumed_has_its_scale_and_every_bit(jit: bool, backend: Any, tmp_path: Path) -> None:
    rule = optim.DynamicLossScale(init_scale=1024, growth_interval=6)
    whole, history = fit(rule, epochs=14, jit=jit, checkpoint=tmp_path / "whole")
    fit(rule, epochs=5, jit=jit, checkpoint=tmp_path / "stopped")
    resumed, others = fit(rule, epochs=14, jit=jit, checkpoint=tmp_path / "stopped")
    np.testing.assert_array_equal(weights(resumed), weights(whole))
    assert others["loss"] == history["loss"]
    files = [(tmp_path / name / "checkpoint.safetensors").read_bytes() for name in ("whole", "stopped")]
    assert files[0] == files[1]
    stored = gradkit.load(tmp_path / "whole" / "checkpoint.safetensors")
    assert stored["optimizer.scale"].item() > 1024
    with pytest.raises(ResumeError, match="loss_scale"):
        fit(1024.0, epochs=20, checkpoint=tmp_path / "whole")


@has_float16
def test_callbacks_see_the_scale(backend: Any) -> None:
    scales = Scales()
    fit(optim.DynamicLossScale(init_scale=8.0, growth_interval=4), epochs=3, callbacks=[scales])
    assert scales.seen == [16.0, 32.0, 64.0]  # an epoch has four steps
    none = Scales()
    fit(None, epochs=1, callbacks=[none])
    assert none.seen == [None]


def test_a_scale_changes_nothing_where_nothing_underflows(backend: Any) -> None:
    plain, _ = fit(None, epochs=3, dtype="float32")
    scaled, _ = fit("dynamic", epochs=3, dtype="float32")
    np.testing.assert_array_equal(weights(scaled), weights(plain))  # a power of 2 moves no digit


@has_float16
def test_a_loss_that_is_infinite_itself_still_ends_the_run(backend: Any) -> None:
    with pytest.raises(NonFiniteLossError):
        gradkit.fit(
            nn.Linear(1, 1, key=gradkit.random.key(0), dtype="float16"),
            (np.full((4, 1), 300.0, "float16"), np.full((4, 1), -60000.0, "float16")),
            loss="mse", loss_scale="dynamic", epochs=1, progress=False,
        )  # fmt: skip


@pytest.mark.parametrize("wrong", ["static", 0, -1.0, True, float("inf"), float("nan"), [1024]])
def test_a_loss_scale_that_is_none_is_an_error_that_says_what_there_is(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"fit: loss_scale must be 'dynamic', a positive number, .* got"):
        fit(wrong, dtype="float32")


@pytest.mark.parametrize(
    "options",
    [{"init_scale": 0.5}, {"growth_factor": 1}, {"backoff_factor": 1.0}, {"backoff_factor": 0}, {"growth_interval": 0}],
)
def test_numbers_of_the_rule_that_are_out_of_range_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"DynamicLossScale: {next(iter(options))} must be"):
        optim.DynamicLossScale(**options)


@pytest.mark.backends("numpy")
@pytest.mark.parametrize("dtype", ["float16", pytest.param("bfloat16", marks=pytest.mark.long)])
def test_gradkit_train_has_dtype_and_loss_scale(dtype: str, backend: Any, tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / "run"
    common = ["train", "moons", "--epochs", "1", "--hidden", "8", "--backend", "numpy", "--out", str(folder)]
    assert main([*common, "--dtype", dtype, "--loss-scale", "256"]) == 0
    assert gradkit.load(folder / "best.safetensors")["layers[0].weight"].dtype.name == dtype
    assert gradkit.load(folder / "checkpoint.safetensors")["optimizer.scale"].item() == 256
    assert main(["evaluate", str(folder), "moons", "--backend", "numpy"]) == 0
    assert main([*common, "--dtype", dtype, "--loss-scale", "dynamic", "--resume"]) != 0
    assert "is of a run with --loss-scale 256.0, this one has --loss-scale dynamic" in capsys.readouterr().err
