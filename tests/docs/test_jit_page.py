"""docs/jit.md: the plan and the log that it shows are those of its example."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import Any

import pytest

import gradkit
from gradkit.backend import get_backend

NUMBER = re.compile(r"\d+\.\d+ sec")

PAGE = (Path(__file__).parents[2] / "docs" / "jit.md").read_text()


def names_of_the_example() -> dict[str, Any]:
    """What the page's training step defines."""
    names: dict[str, Any] = {}
    for example in doctest.DocTestParser().get_examples(PAGE):
        if example.source.startswith(("import", "@gradkit.jit", "params", "x, y", "lowered", "compiled")):
            exec(example.source, names)
    return names


def test_what_is_logged_is_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    (shown,) = (text for text in re.findall(r"^```text\n(.*?)^```", PAGE, re.M | re.S) if text.startswith("Tracing"))
    names = names_of_the_example()
    step, params, x, y = (names[name] for name in ("step", "params", "x", "y"))
    capsys.readouterr()
    gradkit.config.update("jax_log_compiles", True)
    try:
        step(params, x[:50], y[:50])
    finally:
        gradkit.config.update("jax_log_compiles", False)
    assert NUMBER.sub("", capsys.readouterr().err) == NUMBER.sub("", shown)


def test_the_plan_is_the_one_that_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    (native, _) = get_backend("numpy").printers
    if reason := native.why_unusable():
        pytest.skip(reason)
    monkeypatch.setenv("GRADKIT_COMPILER", native.name)
    with gradkit.use_backend("numpy"):
        names = names_of_the_example()
        (shown,) = (
            text for text in re.findall(r"^```text\n(.*?)^```", PAGE, re.M | re.S) if text.startswith("arguments")
        )
        assert names["compiled"].as_text() == shown.rstrip()
    products = re.findall(r"^\w+ \+?= .*@", shown, re.M)
    nests = re.findall(r"^(?:for .*:|\w+\[\d\] =.*)$", shown, re.M)
    assert (len(products), len(nests)) == (4, 8)
    assert "four\nproducts and eight nests of loops" in PAGE
    assert len(names["lowered"]._program.graph.equations) == 28
