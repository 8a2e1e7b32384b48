"""`gradkit.fit`: what it computes, what it measures, and what it says."""

from __future__ import annotations

import io
import json
import re
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradkit
from gradkit import Array, data, nn, optim, random
from gradkit.train import Callback, ClipGradients, EarlyStopping, History, LearningRateLog, Training, evaluate, predict
from gradkit.train.objectives import r2

Pair = tuple[Array, Array]


def moons(n: int = 60) -> Pair:
    return data.moons(n, key=random.key(7))


def new_model(n_out: int = 2) -> nn.MLP:
    return nn.MLP(2, [8, n_out], key=random.key(1))


def leaves(tree: Any) -> list[np.ndarray[Any, Any]]:
    return [np.asarray(gradkit.device_get(leaf)) for leaf in gradkit.tree.leaves(tree)]


def assert_equal(found: Any, expected: Any) -> None:
    for one, other in zip(leaves(found), leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other)


def fit(model: Any, pair: Any, **options: Any) -> tuple[Any, History]:
    return gradkit.fit(model, pair, **{"key": random.key(2), "progress": False, **options})


# What it computes


def test_fit_is_the_loop_that_one_would_write(xp: Any) -> None:
    x, y = moons()
    optimizer = optim.SGD(optim.exponential_decay(0.5, 10, 0.9), momentum=0.9)
    model, history = fit(new_model(), (x, y), optimizer=optimizer, epochs=3, batch_size=16)
    by_hand = new_model()
    state = optimizer.init(by_hand)
    losses, right = [], []
    step = gradkit.value_and_grad(lambda model, x, y: nn.softmax_cross_entropy(model(x), y))
    for epoch in range(3):
        total = hits = 0.0
        for x_batch, y_batch in data.minibatches((x, y), 16, key=random.fold_in(random.key(2), epoch)):
            hits += int((xp.argmax(by_hand(x_batch), axis=-1) == y_batch).sum())
            loss, gradients = step(by_hand, x_batch, y_batch)
            by_hand, state = optimizer.update(by_hand, gradients, state)
            total += float(loss) * len(y_batch)
        losses.append(total / 60)
        right.append(hits / 60)
    assert_equal(model, by_hand)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-12)
    np.testing.assert_allclose(history["accuracy"], right, rtol=1e-6)
    assert history["step"] == [4, 8, 12]
    np.testing.assert_allclose(history["learning_rate"], [0.5 * 0.9 ** (step / 10) for step in (3, 7, 11)], rtol=1e-12)


def test_fit_learns_moons(xp: Any) -> None:
    model, history = fit(
        new_model(), moons(400), optimizer=optim.SGD(0.5, momentum=0.9), epochs=15, validation=moons(100)
    )
    x, y = data.moons(300, key=random.key(70))
    assert float(nn.accuracy(model(x), y)) > 0.97
    assert history.stopped == "finished"
    assert history.best_epoch == 1 + int(np.argmin(history["validation_loss"]))


def test_the_model_given_stays_as_it_is_and_the_one_returned_follows_the_tape_like_it(xp: Any) -> None:
    model = new_model()
    before = leaves(model)
    trained, _ = fit(model, moons(), epochs=1)
    assert_equal(model, before)
    assert all(parameter.requires_grad for parameter in trained.parameters())
    plain, _ = fit(new_model().requires_grad_(False), moons(), epochs=1)
    assert not any(parameter.requires_grad for parameter in plain.parameters())


def test_the_loss_follows_from_the_targets(xp: Any) -> None:
    x, y = moons()
    _, classes = fit(new_model(), (x, y), epochs=1)
    assert "accuracy" in classes.to_dict()
    assert "softmax_cross_entropy" in classes.name
    _, numbers = fit(new_model(), (x, x), epochs=1)
    assert list(numbers.to_dict()) == ["epoch", "step", "loss", "learning_rate", "seconds"]
    assert "mse" in numbers.name


def test_a_loss_may_be_a_name_a_function_of_predictions_or_a_function_of_the_model(xp: Any) -> None:
    x, y = moons()
    expected, _ = fit(new_model(), (x, y), epochs=2, loss="softmax_cross_entropy")
    of_predictions, _ = fit(new_model(), (x, y), epochs=2, loss=lambda p, t: nn.softmax_cross_entropy(p, t))
    assert_equal(of_predictions, expected)
    of_model, history = fit(
        new_model(),
        (x, y),
        epochs=2,
        loss=lambda m, x, y: nn.softmax_cross_entropy(m(x), y),
        validation=moons(20),
        metrics="accuracy",
    )
    assert_equal(of_model, expected)
    assert "validation_accuracy" in history.to_dict()


def test_validation_measures_all_predictions_at_once(xp: Any) -> None:
    x, _ = moons()
    target = xp.sin(3 * x[:, :1])

    def spread(prediction: Array, _target: Array) -> Array:
        return prediction.max() - prediction.min()

    model, history = fit(
        new_model(1), (x, target), epochs=2, validation=(x, target), metrics=["mae", "r2", spread], batch_size=7
    )
    prediction, wanted = leaves(model(x))[0].astype(np.float64), leaves(target)[0].astype(np.float64)
    from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

    expected = {
        "loss": mean_squared_error(wanted, prediction),
        "mae": mean_absolute_error(wanted, prediction),
        "r2": r2_score(wanted, prediction),
        "spread": np.ptp(prediction),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(history[f"validation_{name}"][-1], value, rtol=1e-4)


def test_a_share_of_the_data_is_kept_apart_for_validation(xp: Any) -> None:
    x, y = moons()
    model, history = fit(new_model(), (x, y), epochs=1, validation=0.25, batch_size=10)
    train, held = data.split((x, y), 0.25, random.fold_in(random.key(2), 2**32 - 1))
    assert history["step"] == [5]  # 45 of 60 examples
    np.testing.assert_allclose(
        history["validation_loss"][0], float(nn.softmax_cross_entropy(model(held[0]), held[1])), rtol=1e-6
    )
    same, _ = fit(new_model(), train, epochs=1, batch_size=10)
    assert_equal(model, same)


def test_data_on_the_host_and_on_the_disk_give_the_same_model(xp: Any, tmp_path: Path) -> None:
    x, y = moons()
    expected, _ = fit(new_model(), (x, y), epochs=2)
    on_host = [np.asarray(gradkit.device_get(part)) for part in (x, y)]
    assert_equal(fit(new_model(), (on_host[0].astype(np.float64), on_host[1].tolist()), epochs=2)[0], expected)
    np.save(tmp_path / "x.npy", on_host[0])
    mapped = data.load_npy(tmp_path / "x.npy", mmap=True)
    assert_equal(fit(new_model(), (mapped, y), epochs=2)[0], expected)


@pytest.mark.parametrize("jit", [False, True])
def test_data_on_the_disk_of_which_some_are_kept_for_validation_are_read_in_parts(
    xp: Any, tmp_path: Path, jit: bool
) -> None:
    written = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (4000, 1000))  # 16 MB
    written[:, :2] = np.random.default_rng(0).normal(size=(4000, 2))
    written.flush()
    y = (written[:, 0] > 0).astype("int32")
    options = {"epochs": 1, "batch_size": 400, "validation": 0.2, "jit": jit}
    expected, in_memory = fit(nn.MLP(1000, [2], key=random.key(0)), (np.array(written), y), **options)
    del written
    mapped = data.load_npy(tmp_path / "x.npy", mmap=True)
    tracemalloc.start()
    try:
        found, on_disk = fit(nn.MLP(1000, [2], key=random.key(0)), (mapped, y), **options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    if jit and gradkit.current_backend().library == "jax":
        # XLA rounds a step whose rows are gathered from all of the data otherwise than one of a minibatch.
        for ours, theirs in zip(leaves(found), leaves(expected), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-8)
    else:
        assert_equal(found, expected)
    assert on_disk["validation_accuracy"] == in_memory["validation_accuracy"]
    assert peak < 14_000_000  # of the validation data, 3.2 MB, and a minibatch there are copies


def test_a_model_may_be_parameters_alone(xp: Any) -> None:
    x, _ = moons()
    target = xp.matmul(x, xp.asarray([2.0, -1.0])) + 0.5
    params, history = fit(
        {"w": xp.zeros(2), "b": xp.zeros(())},
        (x, target),
        loss=lambda params, x, y: xp.mean((x @ params["w"] + params["b"] - y) ** 2),
        optimizer=optim.SGD(0.3, momentum=0.5),
        epochs=60,
        validation=0.2,
    )
    np.testing.assert_allclose(leaves(params["w"])[0], [2, -1], atol=1e-3)
    assert list(history.to_dict()) == ["epoch", "step", "loss", "validation_loss", "learning_rate", "seconds"]


def test_targets_of_minus_one_and_one_train_with_the_hinge_loss(xp: Any) -> None:
    x, y = moons(200)
    signs = (2 * y - 1).reshape((200, 1))
    _, history = fit(new_model(1), (x, signs), loss="hinge", optimizer=optim.SGD(0.5, momentum=0.9), epochs=10)
    accuracies = history["binary_accuracy"]
    assert accuracies[-1] is not None
    assert accuracies[-1] > 0.9


def test_evaluate_measures_as_validation_does(xp: Any) -> None:
    x, y = moons()
    model, history = fit(new_model(), (x, y), epochs=2, validation=moons(30))
    found = evaluate(model, moons(30))
    assert found == {name: history[f"validation_{name}"][-1] for name in ("loss", "accuracy")}
    host = evaluate(model, tuple(np.asarray(gradkit.device_get(part)) for part in moons(30)))  # type: ignore[arg-type]
    assert host == found
    with pytest.raises(ValueError, match="Did you mean 'accuracy'"):
        evaluate(model, (x, y), metrics="acuracy")


def test_predict_gives_all_rows_and_records_nothing(xp: Any) -> None:
    x, _ = moons()
    model = new_model()
    found = predict(model, x, batch_size=7)
    np.testing.assert_allclose(leaves(found)[0], leaves(model(x).detach())[0], rtol=1e-6)
    assert not found.requires_grad


def test_lists_are_predicted_and_evaluated_too(xp: Any) -> None:
    model, (x, y) = new_model(), moons()
    assert_equal(predict(model, x.tolist()), predict(model, x))
    assert evaluate(model, (x.tolist(), y.tolist())) == evaluate(model, (x, y))


@pytest.mark.parametrize("target", [[0.5] * 7, [3.5], [0.0] * 4, [1.0, 2.0, 4.0]])
@pytest.mark.parametrize("error", [0.0, 0.25])
def test_r2_is_scikit_learns_for_targets_that_are_all_the_same(target: list[float], error: float, xp: Any) -> None:
    from sklearn.metrics import r2_score

    wanted = np.asarray(target, np.float32)
    prediction = wanted + np.float32(error)
    # Of a single example scikit-learn computes none; twice the same example is a column without spread as well.
    expected = r2_score(np.repeat(wanted, 2), np.repeat(prediction, 2))
    assert r2(xp.asarray(prediction), xp.asarray(wanted)).item() == pytest.approx(expected, rel=1e-5)


def test_r2_sees_that_targets_are_the_same_whatever_their_mean_is_rounded_to(xp: Any) -> None:
    assert r2(xp.full(7, 0.3), xp.full(7, 0.1)).item() == 0


def test_r2_of_a_last_minibatch_of_one_example_leaves_a_finite_mean(xp: Any) -> None:
    x, _ = moons(33)
    _, history = fit(new_model(1), (x, x[:, :1]), epochs=1, metrics="r2")
    assert np.isfinite(history["r2"]).all()  # type: ignore[arg-type]


# Callbacks


def test_clipping_is_that_of_sgd(xp: Any) -> None:
    clipped, _ = fit(new_model(), moons(), epochs=2, optimizer=optim.SGD(0.5, clip_norm=0.1))
    by_callback, _ = fit(new_model(), moons(), epochs=2, optimizer=optim.SGD(0.5), callbacks=[ClipGradients(0.1)])
    for found, expected in zip(leaves(by_callback), leaves(clipped), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    assert any(
        (a != b).any() for a, b in zip(leaves(clipped), leaves(fit(new_model(), moons(), epochs=2)[0]), strict=True)
    )


class Scripted(Callback):
    """Puts values of its own into the last row, as if the loss had been that."""

    def __init__(self, losses: list[float]) -> None:
        self.losses = losses

    def epoch_end(self, training: Training) -> None:
        training.history._columns["loss"][-1] = self.losses[training.epoch - 1]


def test_early_stopping_waits_for_its_patience(backend: Any) -> None:
    losses = [1.0, 0.5, 0.6, 0.45, 0.449, 0.46, 0.47, 0.1]
    early = EarlyStopping(patience=3, min_delta=0.01)
    _, history = fit(new_model(), moons(), epochs=8, callbacks=[Scripted(losses), early])
    assert history["epoch"][-1] == 7
    assert history.stopped == "loss is not below 0.45 for 3 epochs"


def test_early_stopping_begins_anew_with_another_run(backend: Any) -> None:
    early = EarlyStopping(patience=2)
    for _ in range(2):
        _, history = fit(new_model(), moons(), epochs=5, callbacks=[Scripted([0.5, 0.4, 0.6, 0.7, 0.1]), early])
        assert history["epoch"][-1] == 4


def test_early_stopping_may_look_for_the_largest(backend: Any) -> None:
    losses = [0.1, 0.3, 0.2, 0.25, 0.9]
    early = EarlyStopping(patience=2, monitor="loss", mode="max")
    _, history = fit(new_model(), moons(), epochs=5, callbacks=[Scripted(losses), early])
    assert history.stopped == "loss is not above 0.3 for 2 epochs"


def test_early_stopping_gives_back_the_best_model(xp: Any) -> None:
    seen: list[Any] = []

    class Keep(Callback):
        def epoch_end(self, training: Training) -> None:
            seen.append(training.model)

    # A rate that grows makes the last epochs worse than those before.
    optimizer = optim.SGD(optim.exponential_decay(0.05, 4, 2.0))
    model, history = fit(
        new_model(),
        moons(),
        epochs=14,
        optimizer=optimizer,
        validation=moons(30),
        callbacks=[Keep(), EarlyStopping(2, restore_best=True)],
    )
    assert history.best_epoch is not None
    assert history.best_epoch < len(seen)
    assert_equal(model, seen[history.best_epoch - 1])


def test_learning_rates_are_kept_by_step(backend: Any, tmp_path: Path) -> None:
    schedule = optim.inverse_time_decay(0.5, 10)
    rates = LearningRateLog(every=3)
    fit(
        new_model(),
        moons(),
        epochs=2,
        batch_size=12,
        optimizer=optim.SGD(schedule),
        callbacks=[rates],
        checkpoint=tmp_path,
    )
    assert rates.steps == [0, 3, 6, 9]
    assert rates.rates == [schedule(step) for step in rates.steps]
    logged = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(e["at_step"], e["learning_rate"]) for e in logged if e.get("event") == "learning rate"] == [
        *zip(rates.steps, rates.rates, strict=True)
    ]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: EarlyStopping(0), "patience must be a whole number of at least 1, got 0"),
        (lambda: EarlyStopping(min_delta=-1), "min_delta must be a number of at least 0, got -1"),
        (lambda: EarlyStopping(mode="mni"), "Unknown mode 'mni'. Known: max, min. Did you mean 'min'?"),
        (lambda: ClipGradients(0), "max_norm must be a positive number, got 0"),
        (lambda: LearningRateLog(0), "every must be a whole number of at least 1, got 0"),
    ],
)
def test_a_callback_refuses_numbers_out_of_range(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_early_stopping_refuses_a_column_that_there_is_not(backend: Any) -> None:
    with pytest.raises(ValueError, match=r"column to monitor 'acuracy'. Known: .* Did you mean 'accuracy'\?"):
        fit(new_model(), moons(), callbacks=[EarlyStopping(monitor="acuracy")])


# What it says


def test_history_is_a_table(backend: Any) -> None:
    _, history = fit(new_model(), moons(), epochs=30)
    columns = history.to_dict()
    assert list(columns) == ["epoch", "step", "loss", "accuracy", "learning_rate", "seconds"]
    assert {len(column) for column in columns.values()} == {30}
    assert columns["seconds"] == sorted(columns["seconds"])  # type: ignore[type-var]
    heading, names, *rows = repr(history).splitlines()
    assert heading == "History of MLP, 42 parameters: softmax_cross_entropy by SGD"
    assert names.split() == list(columns)
    assert [row.split()[0] for row in rows] == ["1", "2", "3", "4", "5", "...", *map(str, range(21, 31))]
    assert rows[0].split()[2] == f"{columns['loss'][0]:.4g}"
    page = history._repr_html_()
    assert page.count("<tr>") == 17
    assert "<th>learning_rate</th>" in page


def test_history_is_drawn_by_rich(backend: Any) -> None:
    console = pytest.importorskip("rich.console")
    _, history = fit(new_model(), moons(), epochs=2)
    out = io.StringIO()
    console.Console(file=out, width=120).print(history)
    assert "accuracy" in out.getvalue()
    assert f"{history['loss'][1]:.4g}" in out.getvalue()


def test_history_draws_its_columns(backend: Any, tmp_path: Path) -> None:
    _, history = fit(new_model(), moons(), epochs=4, validation=0.25)
    figure = history.plot(tmp_path / "curves.svg", units={"loss": "nats"})
    loss, accuracy, rate = figure.axes
    assert [axes.get_ylabel() for axes in (loss, accuracy, rate)] == ["loss (nats)", "accuracy (%)", "learning rate"]
    for line, name in zip(loss.lines, ("loss", "validation_loss"), strict=True):
        np.testing.assert_allclose(line.get_ydata(), history[name])
    assert history.name in figure.get_suptitle()
    assert "<svg" in (tmp_path / "curves.svg").read_text()
    with pytest.raises(ValueError, match="empty"):
        History("nothing").plot()


def test_history_escapes_what_html_would_take_for_its_own() -> None:
    history = History("a <b> & c")
    history.append({"epoch": 1, "loss": float("nan")})
    assert "a &lt;b&gt; &amp; c" in history._repr_html_()
    assert "<td>nan</td>" in history._repr_html_()


def test_history_of_nothing_says_so() -> None:
    assert repr(History("a model")) == "History of a model: no epoch is complete"
    assert History().to_dict() == {}


def test_history_suggests_the_nearest_column() -> None:
    history = History()
    history.append({"epoch": 1, "loss": 0.5})
    with pytest.raises(KeyError, match="Did you mean 'loss'"):
        history["lose"]
    with pytest.raises(ValueError, match="expected a row of the columns"):
        history.append({"epoch": 2})


def test_progress_is_plain_lines_where_there_is_no_terminal(backend: Any, capsys: pytest.CaptureFixture[str]) -> None:
    _, history = fit(new_model(), moons(), epochs=3, progress=True, validation=0.2)
    captured = capsys.readouterr()
    last = captured.out.splitlines()[-1]
    assert re.fullmatch(
        rf"epoch 3/3  loss {history['loss'][-1]:.4g}  accuracy [\d.]+  validation loss [\d.]+  validation accuracy "
        rf"[\d.]+  learning rate 0\.1  \d+ steps/s  0 s left",
        last,
    ), last
    assert not captured.err


def test_progress_is_one_line_on_a_terminal(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    _, history = fit(new_model(), moons(), epochs=3, progress=True, validation=0.2)
    written = terminal.getvalue()
    assert written.count("\n") == 1
    last = written.split("\r")[-1]
    loss, held, accuracy, held_accuracy = (
        f"{history[name][-1]:.4g}" for name in ("loss", "validation_loss", "accuracy", "validation_accuracy")
    )
    assert re.fullmatch(
        r"epoch 3/3 100%\|#{6}\| +[\d.]+ steps/s, 00:00 left, "
        + re.escape(f"loss {loss} ({held}), accuracy {accuracy} ({held_accuracy}), rate 0.1")
        + r" *\n",
        last,
    ), last


def test_no_progress_is_silence(backend: Any, capsys: pytest.CaptureFixture[str]) -> None:
    fit(new_model(), moons(), epochs=1)
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""
