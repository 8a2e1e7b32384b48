"""Benchmarks say where their figures cannot be trusted: where the same step, timed twice, took two times."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("eager")


def run(eager: Any, monkeypatch: pytest.MonkeyPatch, out: Path, size: str, ratio: float) -> None:
    """Run the comparison of the hand-written step with itself, as if it had taken so much longer the second time."""
    times = {"by-hand": [1e-6, 2e-6], "by-hand-again": [ratio * 1e-6, ratio * 2e-6]}
    for name in eager.THREAD_VARIABLES:
        monkeypatch.setenv(name, "1")  # what the run sets is taken back
    monkeypatch.setattr(eager, "measure", lambda *_: times)
    eager.main(["--only", "by-hand-again", "--sizes", size, "--rounds", "2", "--out", str(out)])


@pytest.mark.parametrize("ratio", [0.91, 1.0, 1.09])
def test_a_row_whose_control_is_near_1_has_no_mark(
    ratio: float, eager: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run(eager, monkeypatch, tmp_path, "3-4-4-1", ratio)
    assert "†" not in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("ratio", [0.89, 1.11])
def test_a_large_network_whose_control_is_off_is_marked(
    ratio: float, eager: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run(eager, monkeypatch, tmp_path, "784-128-10", ratio)
    page = (tmp_path / "README.md").read_text()
    assert "| 784-128-10, batch 128 † |" in page
    assert '\n\n† "By hand, again" is outside 0.9 to 1.1: ' in page


@pytest.mark.parametrize("ratio", [0.89, 1.11])
def test_a_small_network_whose_control_is_off_is_refused_and_the_run_fails(
    ratio: float, eager: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match=r"2-16-16-1: 'by hand, again' is outside \(0\.9, 1\.1\).* nothing is written"):
        run(eager, monkeypatch, tmp_path, "2-16-16-1", ratio)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def estimators(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("estimators")


@pytest.mark.parametrize("again, mark", [(1.0, ""), (1.2, " †")])
def test_the_table_of_fits_has_medians_of_the_rounds_own_ratios(
    again: float, mark: str, estimators: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fits(*seconds: float) -> list[Any]:
        return [
            estimators.Fit(each, 2 * each, 0.5, accuracy) for each, accuracy in zip(seconds, (0.9, 0.92), strict=True)
        ]

    measured = {"scikit-learn": fits(1.0, 4.0), "gradkit": fits(0.5, 3.0), "again": fits(again, 4.0 * again)}
    monkeypatch.setattr(estimators, "measure", lambda *_: measured)
    for name in estimators.THREAD_VARIABLES:
        monkeypatch.setenv(name, "1")
    estimators.main(["--only", "digits", "--rounds", "2", "--out", str(tmp_path)])
    page = (tmp_path / "README.md").read_text()
    (row,) = (line for line in page.splitlines() if line.startswith("| digits, float32"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[0] == f"digits, float32, 200 epochs{mark}"
    assert cells[1:3] == ["2.50", "0.62 (0.56 to 0.69)"]
    assert cells[-2:] == ["91.00% ± 1.41%", "91.00% ± 1.41%"]
    assert ("scikit-learn took another time in a second process" in page) == bool(mark)


def test_an_estimator_that_trains_otherwise_ends_the_run(estimators: Any) -> None:
    fits = {"scikit-learn": estimators.Fit(1, 1, 0.5, 0.9), "gradkit": estimators.Fit(1, 1, 0.52, 0.9)}
    with pytest.raises(
        SystemExit, match=r"digits, float32, 200 epochs: gradkit ends with a loss of 0\.52, scikit-learn wi"
    ):
        estimators.check(estimators.PROBLEMS[0], fits)
