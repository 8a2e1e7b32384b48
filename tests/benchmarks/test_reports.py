"""What is written from results: sections, the README's lines, and pictures that say which results they show."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
MACHINE = {"date": "2026-11-30", "commit": "abc", "cpu": "a processor", "cores": 2, "python": "3.11", "versions": {}}
SCALING = {
    "machine": MACHINE,
    "threads": 2,
    "rounds": 5,
    "titles": {"gradkit-jit": "gradkit jit", "jax-jit": "jax.jit", "products": "products alone"},
    "base": {"width": 64, "depth": 3, "batch": 64},
    "sweeps": {
        sweep: {
            "values": [1, 2],
            "seconds": {"gradkit-jit": [1e-6, 3e-6], "jax-jit": [2e-6, 4e-6], "products": [1e-7, 2e-6]},
        }
        for sweep in ("width", "depth", "batch")
    },
    "compile": {
        "gradkit": {"values": [30, 1000, 10000], "seconds": [0.05, 0.7, 6.125], "growth": 0.94},
        "jax": {"values": [30, 1000], "seconds": [0.2, 4.8], "growth": 0.9},
    },
}
PROGRAMS = {
    "machine": MACHINE,
    "threads": 2,
    "rounds": 5,
    "geometric_mean": 0.75,
    "programs": [
        {
            "name": "char_rnn",
            "microseconds": {"jax": 100.0, "gradkit": 60.0},
            "ratio": ratio,
            "ratio_quartiles": [ratio, ratio],
            "megabytes": {"jax": 300, "gradkit": 150},
            "first": {"jax": {"cold": 2.0, "warm": 1.5}, "gradkit": {"cold": 1.0, "warm": warm}},
        }
        for ratio, warm in ((0.6, 0.5), (1.2, 0.7))
    ],
}


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("report")


def test_a_library_that_compiles_fewer_operations_has_empty_cells(report: Any) -> None:
    section = report.SECTIONS["scaling"](SCALING)
    assert "| operations | 30 | 1000 | 10000 | power of the last decade |" in section
    assert "| gradkit | 0.05 | 0.70 | 6.12 | 0.94 |" in section
    assert "| jax | 0.20 | 4.80 |  | 0.90 |" in section


def test_the_readme_has_a_line_on_each_measurement_that_is_there(report: Any) -> None:
    lines = report.summary.lines({"scaling": SCALING, "programs": PROGRAMS}).splitlines()
    assert lines[0].startswith("![")
    assert all(len(line) <= 125 for line in lines)
    assert " ".join(" ".join(lines[2:]).split()) == (
        "- **2 ordinary JAX programs**, unchanged: a step takes 0.75 of JAX's time in the geometric mean, 0.60 to 1.20 "
        "on each; the first result of a process 0.50 to 0.50, and 0.25 to 0.35 with code on disk. "
        "- **Compiling** 10,000 operations takes 6.12 seconds, and grows with the power 0.94 of their number."
    )


def test_results_become_a_file_and_a_page(report: Any, tmp_path: Path) -> None:
    report.write(tmp_path, "programs", PROGRAMS)
    report.write(tmp_path, "scaling", SCALING)
    page = (tmp_path / "README.md").read_text()
    assert page.index("## JAX programs, unchanged") < page.index("## Growth")
    assert report.read(tmp_path) == {"programs": PROGRAMS, "scaling": SCALING}
    assert "(images/scaling.png)" in report.sections_of(page)


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="pictures need matplotlib")
def test_a_picture_says_which_results_it_shows(report: Any, tmp_path: Path) -> None:
    path = report.pictures.draw("scaling", SCALING, tmp_path)
    assert report.pictures.drawn_from(path, SCALING)
    assert not report.pictures.drawn_from(path, SCALING | {"rounds": 6})
    assert not report.pictures.drawn_from(tmp_path / "none.png", SCALING)
