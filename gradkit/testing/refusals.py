"""What a test is told that takes the pytest plugin's fixtures and cannot run once on every backend."""

from __future__ import annotations

import pytest

__all__ = ["explain", "is_of_unittest"]


def is_of_unittest(item: pytest.Item) -> bool:
    """Return whether a test is a method of `unittest.TestCase`."""
    return type(item).__name__ == "TestCaseFunction"


def explain(item: pytest.Item, fixture: str) -> str:
    """Say why a test cannot run once on every backend, and what to do instead."""
    if hasattr(item, "dtest"):
        return (
            f"{fixture}: pytest runs a doctest once, so it cannot run on every backend. Write a test function that "
            f"takes {fixture}, or choose the backend inside: with gradkit.use_backend('numpy'): ..."
        )
    if is_of_unittest(item):
        return (
            f"{fixture}: pytest runs the methods of unittest.TestCase once, so they cannot run on every backend. Take "
            f"{fixture} in a class that is no TestCase, name one backend alone (--backend=numpy), or loop inside: "
            f"with self.subTest(name), gradkit.use_backend(name): ..."
        )
    return (
        f"{fixture}: request.getfixturevalue({fixture!r}) comes when the test runs already, and how often it runs is "
        f"decided before. Let the test have it from the beginning: @pytest.mark.usefixtures({fixture!r})."
    )
