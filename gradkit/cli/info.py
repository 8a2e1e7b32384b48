"""``gradkit info``: what can run on this machine."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import version

from gradkit.backend import ENVIRONMENT_VARIABLE, Backend, backend_names, current_backend, load_backend, why_not
from gradkit.errors import BackendNotInstalledError, BackendUnusableError

__all__ = ["print_info"]

DONE, WRONG = 0, 2
CORE = ("array-api-compat", "numpy", "optree")
"""What gradkit itself stands on."""


def print_info(_options: argparse.Namespace) -> int:
    """Print what `gradkit info` says."""
    print(f"gradkit {version('gradkit')}, Python {platform.python_version()}, {platform.platform()}")
    print(", ".join(f"{name} {version(name)}" for name in CORE))
    for name in backend_names():
        print()
        for line in describe(load_backend(name)):
            print(line)
    print()
    wish = os.environ.get(ENVIRONMENT_VARIABLE)
    try:
        used = current_backend().name
    except (ValueError, BackendNotInstalledError, BackendUnusableError) as error:
        print(f"in use: none. {error}", file=sys.stderr)
        return WRONG
    print(f"in use: {used} ({why_used(wish)})")
    return DONE


def describe(backend: Backend) -> Iterator[str]:
    """Yield the lines about one backend."""
    reason = why_not(backend)
    if reason is not None:
        yield f"{backend.name}: cannot run here"
        yield f"  reason    {reason}"
        return
    yield f"{backend.name}: can run here"
    for device in backend.devices:
        yield f"  device    {device}  {device.platform}  {device.device_kind}"
    yield f"  travels   between processes by {backend.travel()}"
    for library, number in backend.versions().items():
        yield f"  version   {library} {number}"


def why_used(wish: str | None) -> str:
    """Say why this backend makes the new arrays."""
    if not wish:
        return f"the default; {ENVIRONMENT_VARIABLE}=auto takes a GPU where one can be used"
    if wish == "auto":
        return f"{ENVIRONMENT_VARIABLE}=auto: the first backend with a usable GPU, else numpy"
    return f"{ENVIRONMENT_VARIABLE}={wish}"
