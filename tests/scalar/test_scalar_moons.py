"""micrograd's demo: a network of 2-16-16-1 neurons on two moons has micrograd's losses and accuracies, step by step."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

# What micrograd 0.1.0 computes (scikit-learn 1.9's moons); the first losses are those that its notebook shows.
MICROGRADS = [
    (0, 0.8958441028683222, 0.5),
    (1, 1.723590533697202, 0.81),
    (2, 0.7429006313851131, 0.77),
    (3, 0.7705641260584202, 0.82),
    (4, 0.3692793385976538, 0.84),
    (5, 0.31354548191852194, 0.86),
    (10, 0.2450702385365803, 0.91),
    (15, 0.2257450627928222, 0.93),
    (20, 0.18977522856087634, 0.91),
    (30, 0.1173129756901185, 0.95),
    (40, 0.06016009895234449, 1.0),
    (50, 0.09875114765619634, 0.96),
    (60, 0.03259711157810243, 0.99),
    (70, 0.014229870065926931, 1.0),
    (80, 0.012318500800515745, 1.0),
    (90, 0.010984458327280174, 1.0),
    (99, 0.010978370135492719, 1.0),
]


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark of the demo, which has its step; what it does to micrograd is undone."""
    pytest.importorskip("sklearn")
    nn = pytest.importorskip("micrograd.nn")
    monkeypatch.setattr(nn, "Value", nn.Value)
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("scalar")


def train(demo: Any, name: str, steps: int) -> list[tuple[float, float]]:
    """Return the loss before each step, and the accuracy after it."""
    x, y = demo.moons()
    value, model = demo.prepared(name, demo.MOONS)
    step = demo.moons_step(value, model, (x, y))
    return [(step(k), demo.accuracy(model, x, y)) for k in range(steps)]


@pytest.mark.parametrize("name", ["value", "scalar"])
def test_the_first_steps_of_the_demo_have_micrograds_numbers(demo: Any, name: str) -> None:
    found = train(demo, name, 4)
    for k, loss, _ in MICROGRADS[:4]:
        assert found[k][0] == pytest.approx(loss, rel=1e-10)
    # The accuracy is taken after the step, so it is that of the next one.
    assert [accuracy for _, accuracy in found] == [accuracy for _, _, accuracy in MICROGRADS[1:5]]


@pytest.mark.long
def test_all_steps_of_the_demo_have_micrograds_numbers(demo: Any) -> None:
    found = train(demo, "value", 100)
    for k, loss, accuracy in MICROGRADS:
        assert found[k][0] == pytest.approx(loss, rel=1e-8)
        assert k == 0 or found[k - 1][1] == accuracy


@pytest.mark.long
def test_micrograd_itself_agrees(demo: Any) -> None:
    theirs = train(demo, "micrograd", 3)
    ours = train(demo, "value", 3)
    assert [loss for loss, _ in ours] == pytest.approx([loss for loss, _ in theirs], rel=1e-12)
    assert [accuracy for _, accuracy in ours] == [accuracy for _, accuracy in theirs]


@pytest.mark.parametrize("problem", [pytest.param("moons", marks=pytest.mark.long), "lecture"])
def test_every_contestant_of_the_benchmark_has_the_same_loss(demo: Any, problem: str) -> None:
    losses = {}
    for name in demo.TITLES:
        demo.begin(name, problem, demo.moons() if problem == "moons" else None)
        losses[name] = demo.run(2)[1]
    demo.check(losses)


def test_a_contestant_that_computes_something_else_ends_the_benchmark(demo: Any) -> None:
    with pytest.raises(SystemExit, match="scalar computes something else: its loss is 2"):
        demo.check({"micrograd": 1.0, "scalar": 2.0})
