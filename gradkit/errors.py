"""The errors that gradkit raises, and the wording they share.

Every message names the argument, what came, what was expected, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "AxisError", "BackendNotInstalledError", "BackendUnusableError", "CollectiveTimeoutError",
    "ConcretizationTypeError", "DeviceMismatchError", "DistributedError", "FileFormatError", "FolderInUseError",
    "IndexShapeError", "JAXIndexError", "JAXTypeError", "MissingDependencyError", "NoReverseModeError",
    "NonConcreteBooleanIndexError", "NonFiniteLossError", "ProcessLeftError", "ResumeError", "ShapeError",
    "TooFewDevicesError", "TooFewExamplesError", "TracerArrayConversionError", "TracerBoolConversionError",
    "TracerIntegerConversionError", "TransferError", "TreeMismatchError", "TypePromotionError", "UnexpectedTracerError",
    "did_you_mean", "unknown_name",
]  # fmt: skip


class BackendNotInstalledError(ImportError):
    """The backend's array library is not installed; the message names the pip command."""


class BackendUnusableError(RuntimeError):
    """The backend's library is installed and cannot run here; the message gives the library's own reason."""


class MissingDependencyError(ImportError):
    """An optional dependency is missing; the message names the extra that installs it."""


class DeviceMismatchError(ValueError):
    """Arrays of two devices or two backends met in one operation."""


class TransferError(RuntimeError):
    """Data would cross between the host and a device, or two devices, which a transfer guard refuses."""


class FileFormatError(ValueError):
    """A data file or checkpoint is truncated, damaged or of another format."""


class FolderInUseError(OSError):
    """Another run is in progress in the folder; the message names the folder and the process."""


class DistributedError(RuntimeError):
    """Processes of a run that do not agree, or cannot find each other.

    Attributes
    ----------
    everywhere : bool
        Whether all processes have the same error: it is told once.
    told_by : int
        The number of the process that tells an error which several have.
    """

    everywhere: bool = False
    told_by: int | None = None


class TooFewExamplesError(DistributedError, ValueError):
    """Data or minibatches have fewer examples than there are processes."""


class TooFewDevicesError(DistributedError, ValueError):
    """A machine has fewer GPUs than processes."""


class ProcessLeftError(DistributedError):
    """A process waits for one that has ended."""


class CollectiveTimeoutError(DistributedError, TimeoutError):
    """A process has waited too long for others; the message says who waits where."""


class AxisError(ValueError, IndexError):
    """An axis that an array does not have. JAX raises ValueError here and the standard IndexError; this is both."""


class ShapeError(TypeError, ValueError):
    """Shapes that do not fit an operation. JAX raises TypeError here and NumPy ValueError; this is both."""


class IndexShapeError(ShapeError, IndexError):
    """Arrays of an index whose shapes do not broadcast. It is JAX's ValueError and NumPy's IndexError."""


class NoReverseModeError(ValueError):
    """A loop in a captured graph that goes on for nobody knows how many steps: it has forward mode alone, as in JAX."""


class TreeMismatchError(ValueError):
    """Two pytrees that should have one structure, or leaves of one shape, differ."""


class TypePromotionError(ValueError):
    """Dtypes that do not meet: floats of 8 bits with other floats."""


class JAXTypeError(TypeError):
    """The base of what JAX raises where an array under a transform is used as a plain one."""


class ConcretizationTypeError(JAXTypeError):
    """A value is asked for where there is none: under `vmap`, or while a graph is captured."""


class TracerBoolConversionError(ConcretizationTypeError):
    """Python's `if` or `while` asks whether an array without values is true."""


class TracerIntegerConversionError(JAXTypeError):
    """An array without values is used as a Python integer."""


class TracerArrayConversionError(JAXTypeError):
    """An array without values is converted to a NumPy array."""


class JAXIndexError(IndexError):
    """The base of what JAX raises for an index that it cannot take."""


class NonConcreteBooleanIndexError(JAXIndexError):
    """A bool array without values is used as an index, whose result would have no known shape."""


class UnexpectedTracerError(JAXTypeError):
    """An array from inside a transformed function was used after the transform had returned."""


class NonFiniteLossError(FloatingPointError):
    """The loss became NaN or infinite during training.

    Attributes
    ----------
    model, history : object or None
        Where `gradkit.fit` raises it: the last model that had a loss, and the history of the epochs before.
    everywhere : bool
        Whether all processes that train have it: it is told once.
    """

    model: object = None
    history: object = None
    everywhere: bool = False


class ResumeError(ValueError):
    """A checkpoint is of another run than the one that is to go on from it.

    Attributes
    ----------
    path : object
        The checkpoint.
    name : str
        What differs.
    found, given : object
        What it is in the checkpoint, and in this run.
    detail : str
        What differs in words, where the two do not say it.
    """

    def __init__(self, path: object, name: str, found: object, given: object, detail: str = "") -> None:
        self.path, self.name, self.found, self.given, self.detail = path, name, found, given, detail
        what = detail or f"{path} is of a run with {name} {found!r}, this one has {given!r}."
        super().__init__(f"{what} Give the same to resume it, another folder, or resume=False to begin anew.")


class DamagedRunError(FileFormatError):
    """What a checkpoint says of its run is damaged, or not there.

    Attributes
    ----------
    fault : str
        What is wrong.
    """

    def __init__(self, fault: str) -> None:
        self.fault = fault
        super().__init__(f"{fault} Put an older file back, or begin anew with resume=False.")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest known name, or an empty string."""
    import difflib  # late: a mistake alone needs it

    nearest = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {nearest[0]!r}?" if nearest else ""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> ValueError:
    """Build the error for a name that is not in a table: what came, what is known, the nearest.

    Examples
    --------
    >>> print(unknown_name("activation", "rleu", ["relu", "tanh"]))
    Unknown activation 'rleu'. Known: relu, tanh. Did you mean 'relu'?
    """
    names = sorted(known)
    return ValueError(f"Unknown {kind} {name!r}. Known: {', '.join(names)}.{did_you_mean(str(name), names)}")
