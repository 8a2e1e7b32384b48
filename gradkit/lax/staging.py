"""What JAX has for its compiler: functions by platform, functions under a name, random numbers of the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradkit.core.array import Array
from gradkit.devices import default_backend
from gradkit.transforms.arguments import as_arrays, check_callable, named_like

__all__ = ["composite", "platform_dependent", "rng_uniform"]

PLATFORMS = {"gpu": ("cuda", "gpu")}
"""The words for a platform that functions may be given by."""


def platform_dependent(
    *args: Any, default: Callable[..., Any] | None = None, **per_platform: Callable[..., Any]
) -> Any:
    """Apply the function for the platform of the current backend: ``platform_dependent(x, cpu=f, cuda=g, default=h)``.

    Parameters
    ----------
    *args : pytree
        The arguments.
    default : callable, optional
        The function for all other platforms.
    **per_platform : callable
        Functions by platform: ``cpu``, ``cuda``.

    Raises
    ------
    NotImplementedError
        If there is no function for the platform.

    Examples
    --------
    >>> import gradkit
    >>> with gradkit.use_backend("numpy"):
    ...     gradkit.lax.platform_dependent(2.0, cpu=lambda x: x + 1.0, default=lambda x: x)
    3.0
    """
    platform = default_backend()
    for name in PLATFORMS.get(platform, (platform,)):
        if name in per_platform:
            return per_platform[name](*args)
    if default is None:
        raise NotImplementedError(f"platform_dependent: no function for {platform}, only for {sorted(per_platform)}")
    return default(*args)


def composite(decomposition: Callable[..., Any], name: str, version: int = 0) -> Callable[..., Any]:
    """Make a function that JAX's compiler may replace by one of its own, of that name. Here it is itself.

    Parameters
    ----------
    decomposition : callable
        The function. Its keyword arguments are static.
    name : str
        The name.
    version : int
        The name's version.
    """
    check_callable(decomposition)

    @named_like(decomposition)
    def composed(*args: Any, **attributes: Any) -> Any:
        return decomposition(*args, **attributes)

    return composed


def rng_uniform(a: Any, b: Any, shape: Sequence[int]) -> Array:
    """Draw uniform numbers from `a` to below `b`, of their dtype, from `gradkit.random.seed`'s keys.

    Every call gives other numbers. With keys there is `gradkit.random.uniform`.
    """
    low, high = as_arrays([a, b])
    if low.dtype != high.dtype:
        raise ValueError(f"Arguments to rng_uniform must have identical dtypes, got {low.dtype} and {high.dtype}.")
    if low.shape or high.shape:
        raise ValueError(f"Arguments to rng_uniform must be scalars; got shapes {low.shape} and {high.shape}.")
    from gradkit.random import randint, uniform  # late: who imports `lax` may draw nothing
    from gradkit.random.state import next_key

    draw = randint if low.dtype.kind in "iu" else uniform
    return draw(next_key(), tuple(shape), dtype=low.dtype, minval=low, maxval=high)
