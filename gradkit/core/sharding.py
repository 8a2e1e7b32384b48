"""`out_sharding`, which JAX's functions take: here an array is on one device."""

from __future__ import annotations

from typing import Any

__all__ = ["refuse_sharding"]


def refuse_sharding(out_sharding: Any, caller: str) -> None:
    """Raise NotImplementedError for a sharding; None is what there is."""
    if out_sharding is not None:
        raise NotImplementedError(f"{caller}: out_sharding is not supported: an array is on one device.")
