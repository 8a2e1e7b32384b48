"""docs/jit.md: the plan that it shows is that of its example."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import Any

import pytest

import gradkit
from gradkit.backend import get_backend

PAGE = (Path(__file__).parents[2] / "docs" / "jit.md").read_text()


def test_the_plan_is_the_one_that_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    (native, _) = get_backend("numpy").printers
    if reason := native.why_unusable():
        pytest.skip(reason)
    monkeypatch.setenv("GRADKIT_COMPILER", native.name)
    names: dict[str, Any] = {}
    with gradkit.use_backend("numpy"):
        for example in doctest.DocTestParser().get_examples(PAGE):
            if example.source.startswith(("import", "@gradkit.jit", "params", "x, y", "lowered", "compiled")):
                exec(example.source, names)
        (shown,) = (
            text for text in re.findall(r"^```text\n(.*?)^```", PAGE, re.M | re.S) if text.startswith("arguments")
        )
        assert names["compiled"].as_text() == shown.rstrip()
    products = re.findall(r"^\w+ \+?= .*@", shown, re.M)
    nests = re.findall(r"^(?:for .*:|\w+\[\d\] =.*)$", shown, re.M)
    assert (len(products), len(nests)) == (4, 8)
    assert "four\nproducts and eight nests of loops" in PAGE
    assert len(names["lowered"]._program.graph.equations) == 28
