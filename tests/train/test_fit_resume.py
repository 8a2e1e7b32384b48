"""Runs of `gradkit.fit` that are stopped, killed or broken, and go on: bit for bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable as Function
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradkit
from gradkit import Array, data, nn, optim, random
from gradkit.errors import NonFiniteLossError
from gradkit.train import Checkpoint, EarlyStopping, History, Training

LAST, BEST, LOG = "checkpoint.safetensors", "best.safetensors", "log.jsonl"


def moons(n: int = 60) -> tuple[Array, Array]:
    return data.moons(n, key=random.key(7))


def new_model(width: int = 8) -> nn.MLP:
    return nn.MLP(2, [width, 2], key=random.key(1))


def fit(folder: Any, **options: Any) -> tuple[Any, History]:
    defaults: dict[str, Any] = {
        "optimizer": optim.SGD(optim.cosine_decay(0.3, 60), momentum=0.9),
        "epochs": 6,
        "batch_size": 10,
        "validation": 0.25,
        "key": random.key(2),
        "progress": False,
        "checkpoint": folder,
    }
    return gradkit.fit(new_model(), moons(), **{**defaults, **options})


def leaves(tree: Any) -> list[np.ndarray[Any, Any]]:
    return [np.asarray(gradkit.device_get(leaf)) for leaf in gradkit.tree.leaves(tree)]


def assert_equal(found: Any, expected: Any) -> None:
    for one, other in zip(leaves(found), leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other)


def without_times(history: History) -> dict[str, Any]:
    return {name: column for name, column in history.to_dict().items() if name != "seconds"}


def entries(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


class Stop(Exception):
    """What a test breaks a run off with."""


def stopping_loss(at: int, how: Function[[], None]) -> Function[[Array, Array], Array]:
    """Return the cross-entropy, which does something at the step of that number."""
    count = -1

    def softmax_cross_entropy(logits: Array, labels: Array) -> Array:
        nonlocal count
        count += logits.shape[0] == 10 or logits.shape[0] == 5  # a batch, and not the validation
        if count == at:
            count += 1000
            how()
        return nn.softmax_cross_entropy(logits, labels)

    return softmax_cross_entropy


def break_off() -> None:
    raise Stop


def press_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("at", [0, 1, 4, 5, 13, 29])
def test_a_run_that_broke_off_ends_like_one_that_did_not(at: int, xp: Any, tmp_path: Path) -> None:
    expected, history = fit(None, metrics="accuracy", loss=stopping_loss(-1, break_off))
    with pytest.raises(Stop):
        fit(Checkpoint(tmp_path, every_steps=3), metrics="accuracy", loss=stopping_loss(at, break_off))
    options: dict[str, Any] = {"metrics": "accuracy", "loss": stopping_loss(-1, break_off)}
    resumed, again = fit(Checkpoint(tmp_path, every_steps=3), **options)
    assert_equal(resumed, expected)
    assert without_times(again) == without_times(history)
    assert again.best_epoch == history.best_epoch
    rows = [entry for entry in entries(tmp_path) if "epoch" in entry]
    assert {name: [row[name] for row in rows] for name in rows[0]} == again.to_dict()
    best = gradkit.load(tmp_path / BEST, like=new_model())
    held = data.split(moons(), 0.25, random.fold_in(random.key(2), 2**32 - 1))[1]
    np.testing.assert_allclose(
        float(nn.softmax_cross_entropy(best(held[0]), held[1])), min(history["validation_loss"]), rtol=1e-6
    )


@pytest.mark.dealt
@pytest.mark.parametrize("at", [0, 7, 29])
def test_ctrl_c_saves_the_run_and_returns_the_model_so_far(at: int, xp: Any, tmp_path: Path) -> None:
    expected, history = fit(None, loss=stopping_loss(-1, press_ctrl_c))
    model, stopped = fit(tmp_path, loss=stopping_loss(at, press_ctrl_c))
    assert stopped.stopped == "interrupted"
    assert len(stopped) == at // 5 + (at % 5 == 4)
    stored = gradkit.load(tmp_path / LAST)
    assert stored["optimizer.step"] in (at, at + 1)
    np.testing.assert_array_equal(stored["model.layers[0].weight"].tolist(), model.layers[0].weight.tolist())
    assert entries(tmp_path)[-1] == {"event": "interrupted", "at_step": stored["optimizer.step"]}
    resumed, again = fit(tmp_path, loss=stopping_loss(-1, press_ctrl_c))
    assert again.stopped == "finished"
    assert_equal(resumed, expected)
    assert without_times(again) == without_times(history)


@pytest.mark.dealt
def test_a_second_ctrl_c_stops_at_once(backend: Any, tmp_path: Path) -> None:
    def twice() -> None:
        press_ctrl_c()
        press_ctrl_c()

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, loss=stopping_loss(7, twice))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    resumed, _ = fit(tmp_path, loss=stopping_loss(-1, twice))
    assert_equal(resumed, fit(None)[0])


@pytest.mark.dealt
def test_a_handler_of_ones_own_is_left_alone(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, _: calls.append(number))
    try:
        _, history = fit(None, loss=stopping_loss(7, press_ctrl_c))
    finally:
        signal.signal(signal.SIGINT, previous)
    assert calls == [signal.SIGINT]
    assert history.stopped == "finished"


@pytest.mark.dealt
def test_ctrl_c_that_is_ignored_stays_so(backend: Any) -> None:
    # As in a job that a shell has started in the background.
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _, history = fit(None, loss=stopping_loss(7, press_ctrl_c))
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, previous)
    assert history.stopped == "finished"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not say which file a descriptor is of")
@pytest.mark.parametrize("name", [LAST, BEST])
def test_ctrl_c_during_a_save_leaves_the_old_file_whole(
    name: str, backend: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(Checkpoint(tmp_path, every_steps=1), epochs=2)
    before = {each: (tmp_path / each).read_bytes() for each in (LAST, BEST)}
    force = os.fsync

    def interrupted(descriptor: int) -> None:
        if name in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise KeyboardInterrupt
        force(descriptor)

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(Checkpoint(tmp_path, every_steps=1))
    monkeypatch.undo()
    assert (tmp_path / name).read_bytes() == before[name]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([LAST, BEST, LOG])
    assert_equal(fit(tmp_path)[0], fit(None)[0])


def test_a_nan_leaves_the_last_good_state_saved(xp: Any, tmp_path: Path) -> None:
    def poisoned(logits: Array, labels: Array) -> Array:
        return nn.softmax_cross_entropy(logits, labels) + xp.where(xp.abs(logits).max() > 3, xp.nan, 0.0)

    with pytest.raises(NonFiniteLossError) as caught:
        fit(tmp_path, loss=poisoned, optimizer=optim.SGD(5.0), epochs=50, validation=None)
    step = int(str(caught.value).split("at step ")[1].split(".")[0])
    assert f"The last good checkpoint is {tmp_path / LAST}. " in str(caught.value)
    stored = gradkit.load(tmp_path / LAST)
    assert stored["optimizer.step"] == step - 1
    np.testing.assert_array_equal(
        stored["model.layers[0].weight"].tolist(),
        caught.value.model.layers[0].weight.tolist(),  # type: ignore[attr-defined]
    )
    assert entries(tmp_path)[-1] == {"event": "the loss is not finite", "at_step": step}
    # It is the state before that step, and so comes to the same end.
    with pytest.raises(NonFiniteLossError, match=f"the loss is nan at step {step}"):
        fit(tmp_path, loss=poisoned, optimizer=optim.SGD(5.0), epochs=50, validation=None)
    rows = [entry["epoch"] for entry in entries(tmp_path) if "epoch" in entry]
    assert rows == [*range(1, len(rows) + 1)]


def test_an_update_that_breaks_the_model_at_the_end_is_seen(xp: Any, tmp_path: Path) -> None:
    class Breaking(optim.SGD):
        def update(self, params: Any, grads: Any, state: Any) -> Any:
            params, state = super().update(params, grads, state)
            return (gradkit.tree.map(lambda p: p * xp.nan, params) if state.step == 12 else params), state

    with pytest.raises(NonFiniteLossError, match="the loss is nan at step 12"):
        fit(tmp_path, optimizer=Breaking(0.1), epochs=2, validation=None)
    stored = gradkit.load(tmp_path / LAST)
    assert stored["optimizer.step"] == 11
    assert np.isfinite(stored["model.layers[0].weight"].tolist()).all()


def test_a_nan_in_the_first_step_of_an_epoch_goes_back_to_the_epoch_before(backend: Any, tmp_path: Path) -> None:
    losses = [1.0, 0.5, 0.9, 0.9, 0.9, 0.9, 0.9]
    waited: list[int] = []

    class Scripted(EarlyStopping):
        def epoch_end(self, training: Training) -> None:
            training.history._columns["validation_loss"][-1] = losses[training.epoch - 1]
            super().epoch_end(training)
            waited.append(self.waited)

    def not_a_number() -> None:
        raise FloatingPointError

    def run(at: int) -> History:
        def loss(logits: Array, labels: Array) -> Array:
            try:
                return inner(logits, labels)
            except FloatingPointError:
                return nn.softmax_cross_entropy(logits, labels) * float("nan")

        inner = stopping_loss(at, not_a_number)
        return fit(tmp_path, loss=loss, callbacks=[Scripted(patience=3)])[1]

    with pytest.raises(NonFiniteLossError, match="at step 15"):
        run(15)  # the first of the fourth epoch
    history = run(-1)
    assert waited == [0, 0, 1, 1, 2, 3]  # the third epoch ended twice, and was waited for once
    assert history["epoch"] == [1, 2, 3, 4, 5]
    assert history.stopped == "validation_loss is not below 0.5 for 3 epochs"


@pytest.mark.dealt
def test_early_stopping_goes_on_with_its_patience(backend: Any, tmp_path: Path) -> None:
    def run(folder: Path, at: int) -> History:
        early = EarlyStopping(patience=2, min_delta=10.0)
        return fit(folder, loss=stopping_loss(at, press_ctrl_c), callbacks=[early])[1]

    whole = run(tmp_path / "whole", -1)
    assert whole["epoch"] == [1, 2, 3]
    assert run(tmp_path / "parts", 12).stopped == "interrupted"  # in the third epoch
    assert without_times(run(tmp_path / "parts", -1)) == without_times(whole)
    # A run that was stopped stays so.
    again = run(tmp_path / "parts", -1)
    assert without_times(again) == without_times(whole)
    assert again.stopped == whole.stopped


@pytest.mark.dealt
def test_a_finished_run_is_returned_as_it_is_and_can_be_given_more_epochs(xp: Any, tmp_path: Path) -> None:
    first, history = fit(tmp_path)
    contents = (tmp_path / LAST).read_bytes()
    again, same = fit(tmp_path)
    assert_equal(again, first)
    assert same.to_dict() == history.to_dict()
    assert (tmp_path / LAST).read_bytes() == contents
    more, longer = fit(tmp_path, epochs=8, resume=True)
    expected, _ = fit(None, epochs=8)
    assert_equal(more, expected)
    assert longer["epoch"] == [*range(1, 9)]
    assert longer["seconds"] == sorted(longer["seconds"])


@pytest.mark.dealt
def test_a_resumed_run_says_where_it_goes_on(backend: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for at, words in ((0, "epoch 1, batch 1"), (12, "epoch 3, batch 3"), (-1, "")):
        fit(tmp_path, loss=stopping_loss(at, press_ctrl_c), progress=True)
        capsys.readouterr()
        if words:
            fit(tmp_path, loss=stopping_loss(0, press_ctrl_c), progress=True)
            assert capsys.readouterr().out.startswith(f"resuming from {tmp_path / LAST}: {words}\n")
    fit(tmp_path, loss=stopping_loss(-1, press_ctrl_c), progress=True)
    assert "resuming" not in capsys.readouterr().out  # there is nothing left to do


@pytest.mark.dealt
def test_the_key_of_a_run_need_not_be_given_again(backend: Any, tmp_path: Path) -> None:
    with pytest.raises(Stop):
        fit(tmp_path, loss=stopping_loss(13, break_off), key=None)
    resumed, _ = fit(tmp_path, loss=stopping_loss(-1, break_off), key=None)
    key = gradkit.load(tmp_path / LAST)["key"]
    assert_equal(resumed, fit(None, key=key)[0])


def test_a_run_resumes_on_another_backend(tmp_path: Path) -> None:
    with gradkit.use_backend("numpy"), pytest.raises(Stop):
        fit(Checkpoint(tmp_path, every_steps=5), loss=stopping_loss(13, break_off))
    with gradkit.use_backend("strict"):
        resumed, _ = fit(tmp_path, loss=stopping_loss(-1, break_off))
        assert resumed.layers[0].weight.device.backend == "strict"
    with gradkit.use_backend("numpy"):
        expected, _ = fit(None)
    for found, wanted in zip(leaves(resumed), leaves(expected), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.dealt
def test_resume_false_begins_anew(backend: Any, tmp_path: Path) -> None:
    fit(tmp_path, optimizer=optim.SGD(0.01))
    model, _ = fit(tmp_path, resume=False)
    assert_equal(model, fit(None)[0])
    assert [entry["epoch"] for entry in entries(tmp_path) if "epoch" in entry] == [*range(1, 7)]


def test_the_folder_may_be_the_one_that_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fit(".", epochs=2)
    assert len(fit(Path(), epochs=3)[1]) == 3


def test_an_optimizer_of_ones_own_is_resumed(xp: Any, tmp_path: Path) -> None:
    class Signs:
        """Moves each parameter by the sign of its gradient: it has an attribute that is no schedule."""

        def __init__(self) -> None:
            self.direction = xp.sign
            self.sizes = xp.asarray([0.01])

        def init(self, params: Any) -> Any:
            return {"step": 0}

        def update(self, params: Any, grads: Any, state: Any) -> Any:
            moved = gradkit.tree.map(lambda p, g: p - self.sizes * self.direction(g), params, grads)
            return moved, {"step": state["step"] + 1}

    expected, history = fit(None, optimizer=Signs(), loss=stopping_loss(-1, break_off))
    assert history["learning_rate"] == [None] * 6
    often = Checkpoint(tmp_path, every_steps=3)
    with pytest.raises(Stop):
        fit(often, optimizer=Signs(), loss=stopping_loss(17, break_off))
    assert_equal(fit(often, optimizer=Signs(), loss=stopping_loss(-1, break_off))[0], expected)


# Killed

KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import gradkit
from gradkit import data, nn, optim
from gradkit.random import key
from gradkit.train import Checkpoint

backend, folder, epochs = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
gradkit.set_backend(backend)
x, y = data.load_digits()

def run(folder):
    model = nn.MLP(64, [32, 10], activation="relu", key=key(0))
    optimizer = optim.SGD(optim.cosine_decay(0.1, 45 * epochs), momentum=0.9)
    gradkit.fit(
        model, (x, y), optimizer=optimizer, epochs=epochs, validation=0.2, key=key(1), progress=False,
        checkpoint=Checkpoint(folder, every_steps=7),
    )

begun = time.monotonic()
run(folder / "undisturbed")
took = time.monotonic() - begun

def wait(seconds, saves):
    # For some time, but no more saves than that: on a machine whose load changes, a time may be all that a run takes.
    until, file, seen = time.monotonic() + seconds, folder / "disturbed" / "checkpoint.safetensors", set()
    while time.monotonic() < until and len(seen) <= saves:
        if file.exists():
            seen.add(file.stat().st_mtime_ns)
        time.sleep(0.0005)

landed, steps = 0, []
longest = took / 8
while landed < 10:
    child = os.fork()
    if not child:
        run(folder / "disturbed")
        os._exit(0)
    wait(random.uniform(0, longest), saves=epochs * 45 // 7 // 12)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        break  # it had ended before
    landed += 1
    if (folder / "disturbed" / "checkpoint.safetensors").exists():
        steps.append(gradkit.load(folder / "disturbed" / "checkpoint.safetensors")["optimizer.step"])
    if len(steps) < 2 or steps[-1] == steps[-2]:
        longest *= 1.3  # a machine that others load now gives less time than it gave the undisturbed run
run(folder / "disturbed")
print(landed, *steps)
"""


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the children of the test are forks")
def test_digits_killed_at_ten_random_moments_end_with_the_parameters_of_a_run_that_was_not(
    backend: Any, tmp_path: Path
) -> None:
    epochs = 20 if backend.name == "numpy" else 6
    done = subprocess.run(
        [sys.executable, "-c", KILLED, backend.name, str(tmp_path), str(epochs)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **{f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}},
    )
    assert done.returncode == 0, done.stderr
    landed, *steps = map(int, done.stdout.split())
    assert landed == 10, f"{landed} of 10 kills found the run in progress, at steps {steps}"
    assert len({*steps}) > 1, f"the kills came so early that nothing was saved: {steps}"
    undisturbed, disturbed = ((tmp_path / run / LAST).read_bytes() for run in ("undisturbed", "disturbed"))
    assert undisturbed == disturbed
    assert (tmp_path / "undisturbed" / BEST).read_bytes() == (tmp_path / "disturbed" / BEST).read_bytes()
    logged = [entry["epoch"] for entry in entries(tmp_path / "disturbed") if "epoch" in entry]
    assert logged == [*range(1, epochs + 1)]
