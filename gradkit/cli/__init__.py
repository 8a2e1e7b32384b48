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
    FileFormatError,
    MissingDependencyError,
    NonFiniteLossError,
)

__all__ = ["main"]

DONE, WRONG, INTERRUPTED = 0, 2, 130

EXPECTED = (
    BackendNotInstalledError,
    BackendUnusableError,
    CommandError,
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
        print(f"gradkit {options.name}: error: {error}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        print(f"gradkit {options.name}: interrupted", file=sys.stderr)
        return INTERRUPTED
    return status
