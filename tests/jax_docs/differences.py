"""Cells of JAX's pages that print something else under gradkit: page, cell (from 0), and the reason's number."""

from __future__ import annotations

__all__ = ["DIFFERENT"]

DIFFERENT: dict[str, dict[int, int]] = {
    "Automatic differentiation": {9: 1},
    "Autodiff cookbook": {7: 1},
    "Custom derivative rules": {9: 2, 60: 12, 64: 13, 67: 13},
    "Advanced autodiff (0.5.0)": {47: 2, 98: 12, 102: 13, 105: 13},
    "Random numbers": {8: 14},
    "Pytrees": {4: 4, 12: 4, 13: 4, 14: 4},
    "Working with pytrees (0.4.30)": {4: 4, 17: 5, 20: 4, 21: 4},
    "Custom pytrees": {10: 5, 15: 4},
    "Key concepts": {4: 2},
    "Thinking in JAX": {4: 7, 9: 7, 10: 7, 13: 6, 14: 11, 15: 11, 18: 1, 26: 14},
    "Quickstart (0.4.30)": {5: 1},
    "Common gotchas": {5: 8, 25: 8, 31: 2, 37: 11},
    "Gradient checkpointing": {0: 9, 17: 9, 20: 9, 21: 9, 23: 9, 24: 9, 25: 9, 27: 9, 28: 9},
    "jax.checkpoint (remat)": {1: 9, 18: 9, 21: 9, 22: 9, 23: 9, 24: 9, 26: 9, 27: 9},
    "Just-in-time compilation": {0: 2, 1: 2},
    "Jaxprs": {3: 2, 4: 2, 5: 2, 6: 2, 7: 2, 8: 2},
    "Batched log-probabilities": {4: 11, 5: 10, 7: 11, 8: 11},
    "Convolutions": {14: 11},
}
