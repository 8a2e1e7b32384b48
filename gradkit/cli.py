"""The command line: ``gradkit info``, or ``python -m gradkit info``, says what can run on this machine.

A command ends with 0, or with 2 where what it was asked for cannot be done.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version

from gradkit.backend import (
    ENVIRONMENT_VARIABLE,
    Backend,
    backend_names,
    current_backend,
    load_backend,
    why_not,
)
from gradkit.errors import BackendNotInstalledError, BackendUnusableError

__all__ = ["main"]

FAILED = 2
CORE = ("array-api-compat", "numpy", "optree")
"""What gradkit itself stands on."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words after ``gradkit``; by default those of this process.

    Returns
    -------
    int
        The exit status: 0, or 2 where what was asked for cannot be done.
    """
    parser = argparse.ArgumentParser(prog="gradkit", description="Array autograd for NumPy and CuPy.")
    parser.add_argument("--version", action="version", version=f"gradkit {version('gradkit')}")
    commands = parser.add_subparsers(title="commands", required=True)
    info = commands.add_parser(
        "info",
        help="say which backends there are and which of them can run on this machine",
        description="Print each backend: whether it can run on this machine, its devices and versions, the reason "
        "where it cannot; and which one is in use, and why.",
    )
    info.set_defaults(command=print_info)
    status: int = parser.parse_args(arguments).command()
    return status


def print_info() -> int:
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
        return FAILED
    print(f"in use: {used} ({why_used(wish)})")
    return 0


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
    for library, number in backend.versions().items():
        yield f"  version   {library} {number}"


def why_used(wish: str | None) -> str:
    """Say why this backend makes the new arrays."""
    if not wish:
        return f"the default; {ENVIRONMENT_VARIABLE}=auto takes a GPU where one can be used"
    if wish == "auto":
        return f"{ENVIRONMENT_VARIABLE}=auto: the first backend with a usable GPU, else numpy"
    return f"{ENVIRONMENT_VARIABLE}={wish}"
