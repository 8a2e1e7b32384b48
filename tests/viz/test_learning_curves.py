"""Pictures of learning curves: what is on them, and what is wrong with a history or a log."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from seen_pictures import (
    HISTORY,
    check_picture,
    texts,
)

from gradkit import viz
from gradkit.errors import FileFormatError


def test_curves_have_loss_and_metrics_and_learning_rate_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "curves.png"
    figure = viz.curves(HISTORY, title="digits: MLP 64-128-10", units={"loss": "nats"}, path=path)
    check_picture(figure, path, "digits: MLP 64-128-10", "training", "validation", "epoch")
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss (nats)", "accuracy (%)", "learning rate"]
    loss, accuracy, rate = ([list(line.get_ydata()) for line in axes.lines] for axes in figure.axes)
    assert loss == [HISTORY["loss"], HISTORY["validation_loss"]]
    np.testing.assert_allclose(accuracy[1], [10, 65, 85, 90])
    assert rate == [HISTORY["learning_rate"]]
    legend = figure.axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["training", "validation"]
    assert figure.axes[0].get_yscale() == "log"


def test_curves_differ_in_dashes_and_markers_and_not_in_colour_alone() -> None:
    for history in (HISTORY, {"a": HISTORY, "b": HISTORY, "c": HISTORY}):
        figure = viz.curves(history)
        for axes in figure.axes:
            looks = {
                (line.get_linestyle(), line.get_marker(), line.get_markerfacecolor() == "white") for line in axes.lines
            }
            assert len(looks) == len(axes.lines)


def test_curves_take_arrays_of_every_backend(xp: Any) -> None:
    array = {name: xp.asarray(values) for name, values in HISTORY.items()}
    raw = {name: values.data for name, values in array.items()}
    numbers = {name: [xp.asarray(value) for value in values] for name, values in HISTORY.items()}
    for history in (array, raw, numbers):
        figure = viz.curves(history)
        assert list(figure.axes[2].lines[0].get_ydata()) == pytest.approx(HISTORY["learning_rate"])


def test_curves_take_what_has_columns_and_use_its_name() -> None:
    class Run:
        name = "MLP, 82 parameters: mse by SGD"

        def to_dict(self) -> dict[str, list[float | None]]:
            return {"epoch": [1, 2], "loss": [0.5, None], "learning_rate": [None, None]}

    figure = viz.curves(Run())
    assert "MLP, 82 parameters: mse by SGD: 2 epochs" in texts(figure)
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss"]
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), [0.5, math.nan])


def test_curves_of_a_log_are_those_of_its_rows(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    rows = [dict(zip(HISTORY, values, strict=True)) for values in zip(*HISTORY.values(), strict=True)]
    entries = [rows[0], {"event": "resumed", "at_step": 10}, rows[1] | {"loss": 99.0}, *rows[1:]]
    # Row 2 was done again after a stop, and the last line was being written when the process was killed.
    log.write_text("".join(json.dumps(entry) + "\n" for entry in entries) + '{"epoch": 5, "lo')
    for history in (log, str(log)):
        figure = viz.curves(history)
        assert list(figure.axes[0].lines[0].get_ydata()) == HISTORY["loss"]


def test_curves_of_several_runs_are_drawn_over_each_other(tmp_path: Path) -> None:
    path = tmp_path / "runs.png"
    runs = {"numpy": HISTORY, "strict": {name: values for name, values in HISTORY.items() if "validation" not in name}}
    figure = viz.curves(runs, title="the same training twice", path=path)
    check_picture(figure, path, "the same training twice", "numpy", "strict", "training", "validation")
    (legend,) = (axes.get_legend() for axes in figure.axes if axes.get_ylabel() == "loss")
    assert [text.get_text() for text in legend.get_texts()] == ["numpy", "strict", "training", "validation"]
    # Where they are equal, the one below is wider and paler.
    below, _, above = figure.axes[0].lines
    assert below.get_linewidth() > above.get_linewidth()


def test_curves_of_one_epoch_are_points(tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    figure = viz.curves({"epoch": [1], "loss": [0.5]}, path=path)
    check_picture(figure, path, "loss", "epoch", "training: 1 epoch")
    assert figure.axes[0].get_xlim() == (0, 2)


def test_curves_draw_on_axes_that_are_given() -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert viz.curves(HISTORY, ax=[left, right]) is figure
    assert (left.get_ylabel(), right.get_ylabel()) == ("loss", "accuracy (%)")
    assert viz.curves(HISTORY, ax=right) is figure


@pytest.mark.parametrize(
    "history, error, words",
    [
        ({}, ValueError, "the history is empty. Train for at least one epoch"),
        ({"epoch": [], "loss": []}, ValueError, "the history is empty"),
        ({"run": {"epoch": [], "loss": []}}, ValueError, "the history 'run' is empty"),
        ({"epoch": [1, 2], "loss": [0.5]}, ValueError, "differ in length: {'epoch': 2, 'loss': 1}"),
        ({"epoch": [1], "loss": [math.nan]}, ValueError, "nothing to draw: its columns are epoch, loss"),
        ({"epoch": [1], "loss": 0.5}, ValueError, "'loss' of the history must be a list of numbers, got shape ()"),
        ({"epoch": [1], "loss": np.ones((1, 1))}, ValueError, "must be a list of numbers, got shape (1, 1)"),
        ({"epoch": [1], "loss": [[0.5]]}, ValueError, "'loss' of the history must be a list of numbers: float() arg"),
        ([0.5, 0.4], TypeError, "must be what gradkit.fit returns, columns by their names, or the path of a log"),
    ],
)
def test_curves_say_what_is_wrong_with_a_history(history: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        viz.curves(history)
    assert words in str(caught.value)


@pytest.mark.parametrize("line, words", [("loss=1", "line 2 is no JSON"), ("[1, 2]", "line 2 must be a JSON object")])
def test_curves_name_the_line_of_a_log_that_is_wrong(tmp_path: Path, line: str, words: str) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(f'{{"epoch": 1, "loss": 1}}\n{line}\n')
    with pytest.raises(FileFormatError, match=words):
        viz.curves(log)


def test_curves_of_a_log_that_is_no_text_or_not_there_say_so(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with pytest.raises(FileNotFoundError, match=r"log\.jsonl"):
        viz.curves(log)
    log.write_bytes(b"\x89PNG\r\n\xff\xfe\n")
    with pytest.raises(FileFormatError, match="line 1 is no JSON"):
        viz.curves(log)
