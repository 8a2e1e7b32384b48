"""The command line: ``gradkit``, or ``python -m gradkit``.

A command ends with 0, with 2 where what it was asked for or given is wrong, or with 130 where it was interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from gradkit.cli.options import CommandError
from gradkit.cli.parser import command_of, make_parser
from gradkit.errors import (
    BackendNotInstalledError,
    BackendUnusableError,
    DistributedError,
    FileFormatError,
    MissingDependencyError,
    NonFiniteLossError,
    ProcessLeftError,
)
from gradkit.processes import the_world

__all__ = ["main"]

DONE, WRONG, INTERRUPTED = 0, 2, 130

EXPECTED = (
    BackendNotInstalledError,
    BackendUnusableError,
    CommandError,
    DistributedError,
    FileFormatError,
    MissingDependencyError,
    NonFiniteLossError,
    OSError,
)
"""What can be wrong with what a command is given: told in a line, without a traceback."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words after ``gradkit``; by default those of this process.

    Returns
    -------
    int
        The exit status: 0; 2 where what was asked for cannot be done; 130 where it was interrupted.
    """
    options = make_parser().parse_args(arguments)
    try:
        status: int = command_of(options)(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads the output, such as `head`, has enough of it. Python must not try to write the rest at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except EXPECTED as error:
        if _is_told_elsewhere(error):
            return WRONG
        print(f"gradkit {options.name}: error{_where()}: {error}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        print(f"gradkit {options.name}: interrupted", file=sys.stderr)
        return INTERRUPTED
    return status


def _is_told_elsewhere(error: Exception) -> bool:
    """Return whether another process tells of an error: the one that has it too, or that ended by it."""
    here = the_world()
    told = isinstance(error, ProcessLeftError) or getattr(error, "everywhere", False)
    return here is not None and here.index > 0 and told


def _where() -> str:
    """Say which process it is, where there are several."""
    here = the_world()
    return f" in process {here.index}" if here is not None and here.count > 1 else ""
