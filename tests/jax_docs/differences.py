"""Cells of JAX's pages that print something else under gradkit: page, cell (from 0), and the reason's number."""

from __future__ import annotations

__all__ = ["DIFFERENT"]

DIFFERENT: dict[str, dict[int, int]] = {}
