"""Launches and copies, counted by tests/cuda_on_cpu: for tests that say how many something takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest


@dataclass
class Counted:
    """What was asked of the GPU inside the block: how many of each kind, and each with its name, in order."""

    counts: Counter[str] = field(default_factory=Counter)
    log: list[tuple[str, str]] = field(default_factory=list)

    def __getitem__(self, kind: str) -> int:
        return self.counts[kind]


@contextmanager
def counted() -> Iterator[Counted]:
    """Count launches ("launch"), copies ("to host", "to device") and waits ("wait"); skip where nothing counts them."""
    cupy = pytest.importorskip("cupy")
    ledger = getattr(cupy, "_ledger", None)
    if ledger is None:
        pytest.skip("launches are counted by tests/cuda_on_cpu, which this run does without")
    found, outer = Counted(), ledger.log
    ledger.log = found.log
    try:
        yield found
    finally:
        ledger.log = outer
        found.counts.update(kind for kind, _ in found.log)
