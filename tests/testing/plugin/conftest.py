"""The plugin's tests see the backends numpy and strict, and one that cannot run."""

from __future__ import annotations

import pytest
from plugin_runs import Broken

import gradkit.backend


@pytest.fixture(autouse=True)
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the runs inside this process find the broken backend, and no real one that may or may not run here."""
    registry = gradkit.backend.registry
    for table in (registry.INCLUDED, registry._entry_points()):
        for name in table.keys() - {"numpy", "strict"}:
            monkeypatch.delitem(table, name)
            monkeypatch.delitem(registry._loaded, name, raising=False)
    monkeypatch.setitem(registry._loaded, "broken", Broken())
    monkeypatch.delenv("GRADKIT_TEST_BACKENDS", raising=False)
