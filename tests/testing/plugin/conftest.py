"""The plugin's tests see the backends numpy and strict, and one that cannot run."""

from __future__ import annotations

import pytest
from plugin_runs import Broken

import gradkit.backend


@pytest.fixture(autouse=True)
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the runs inside this process find the broken backend, and no real one that may or may not run here."""
    known = gradkit.backend.registry._entry_points()
    entries = {name: entry for name, entry in known.items() if name in ("numpy", "strict")}
    for name in known.keys() - entries.keys():
        monkeypatch.delitem(gradkit.backend.registry._loaded, name, raising=False)
    monkeypatch.setattr(gradkit.backend.registry, "_entry_points", lambda: entries)
    monkeypatch.setitem(gradkit.backend.registry._loaded, "broken", Broken())
    monkeypatch.delenv("GRADKIT_TEST_BACKENDS", raising=False)
