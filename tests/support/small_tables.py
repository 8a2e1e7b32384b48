"""Small tables for the command line, and the options with which it learns them in no time."""

from __future__ import annotations

from pathlib import Path

import numpy as np

__all__ = ["SHORT", "flowers", "prices"]

SHORT = ("--epochs", "3", "--hidden", "8", "--backend", "numpy")


def flowers(path: Path, rows: int = 90, seed: int = 0) -> Path:
    """Write measurements of three kinds, of very different scales, and a column that is constant."""
    draw = np.random.default_rng(seed)
    lines = ["length,width,always,kind"]
    for i in range(rows):
        kind = i % 3
        length, width = 1000 + 10 * kind + draw.normal(), 0.01 * (kind == 1) + 0.001 * draw.normal()
        lines.append(f"{length:.4f},{width:.6f},7,{('rose', 'lily', 'iris')[kind]}")
    path.write_text("\n".join(lines) + "\n")
    return path


def prices(path: Path, rows: int = 200) -> Path:
    """Write numbers that a plane gives, far from 0."""
    draw = np.random.default_rng(1)
    x = draw.normal(size=(rows, 2)) * [5.0, 0.1] + [100.0, 3.0]
    y = 1000 * x[:, 0] - 20_000 * x[:, 1] + 5000
    lines = ["area,rooms,price", *(f"{a:.6f},{b:.6f},{c:.3f}" for (a, b), c in zip(x, y, strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return path
