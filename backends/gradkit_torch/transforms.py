"""PyTorch's Fourier transforms, which there are none of where there are no batches: MKL refuses those."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

__all__ = ["FUNCTIONS"]

Raw = Any


def _whole(name: str) -> Callable[..., Raw]:
    function = getattr(torch.fft, name)

    def transform(x: Raw, /, *, axes: tuple[int, ...] | None = None) -> Raw:
        _require_points(min(_sizes(x, axes), default=1))
        return function(x, dim=axes) if x.numel() else _empty(x, x.shape)

    transform.__name__ = name
    return transform


def rfft(x: Raw, /, *, axis: int = -1) -> Raw:
    _require_points(x.shape[axis])
    if x.numel():
        return torch.fft.rfft(x, dim=axis)
    shape = list(x.shape)
    shape[axis] = shape[axis] // 2 + 1
    return _empty(x, shape)


def irfft(x: Raw, /, *, n: int | None = None, axis: int = -1) -> Raw:
    n = 2 * (x.shape[axis] - 1) if n is None else n
    _require_points(min(n, x.shape[axis]) if n > 0 else n)
    if x.numel():
        return torch.fft.irfft(x, n=n, dim=axis)
    shape = list(x.shape)
    shape[axis] = n
    return _empty(x, shape).real


def _require_points(number: int) -> None:
    if number < 1:
        raise ValueError(f"Invalid number of FFT data points ({number}) specified.")


def _sizes(x: Raw, axes: tuple[int, ...] | None) -> list[int]:
    """Return how many points each transform has."""
    return [x.shape[axis] for axis in (range(x.ndim) if axes is None else axes)]


def _empty(x: Raw, shape: Any) -> Raw:
    return torch.empty(shape, dtype=torch.promote_types(x.dtype, torch.complex64), device=x.device)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "fftn": _whole("fftn"),
    "ifftn": _whole("ifftn"),
    "irfft": irfft,
    "rfft": rfft,
}
"""By the name in ``fft``."""
