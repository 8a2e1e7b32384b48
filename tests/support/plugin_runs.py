"""Runs of pytest inside of a test, with a backend that every machine has and none can run."""

from __future__ import annotations

from typing import ClassVar

import pytest

from gradkit.backend import Backend

__all__ = ["REASON", "RECORDS_BACKEND", "Broken", "run"]

REASON = "the driver is on holiday"


class Broken(Backend):
    """A backend that every machine has and none can run."""

    name: ClassVar[str] = "broken"
    library: ClassVar[str] = "math"
    install: ClassVar[str] = "pip install holiday"

    @property
    def array_types(self) -> tuple[type, ...]:
        return ()

    def why_unusable(self) -> str | None:
        return REASON


def run(pytester: pytest.Pytester, test: str, *options: str) -> pytest.RunResult:
    """Run pytest on a file, in this process."""
    pytester.makepyfile(test)
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", *options)


RECORDS_BACKEND = """
    from gradkit.backend import current_backend

    def test_it(backend):
        assert current_backend() is backend
"""
