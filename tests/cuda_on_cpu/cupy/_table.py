"""What the real CuPy has: its names, its functions' signatures and its ufuncs' loops, asked of the installed one.

The real CuPy imports on a machine without a GPU. It is asked in a process that does not see this folder, once for each
version: the answer lies in the temporary folder.
"""

import functools
import inspect
import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1]

ASK = r"""
import inspect, json, os, sys, warnings
warnings.simplefilter("ignore")
sys.path[:] = [place for place in sys.path if os.path.realpath(place) != sys.argv[1]]
import numpy, cupy, cupy.fft, cupy.linalg, cupyx.scipy.special

def letters(types):
    return "".join(numpy.dtype(t).char for t in types)

found = {"version": cupy.__version__, "names": {}, "loops": {}, "signatures": {}}
for prefix, module in {
    "": cupy, "linalg.": cupy.linalg, "fft.": cupy.fft, "special.": cupyx.scipy.special, "ndarray.": cupy.ndarray
}.items():
    found["names"][prefix] = dir(module)
    for name in dir(module):
        thing = getattr(module, name)
        if name.startswith("__"):
            continue
        if type(thing).__name__ == "ufunc":
            found["loops"][prefix + name] = [
                [letters(op.in_types), letters(op.out_types) if op.out_types else None] for op in thing._ops.ops
            ]
        elif callable(thing) and not isinstance(thing, type):
            try:
                parameters = inspect.signature(thing).parameters.values()
            except (ValueError, TypeError):
                continue
            found["signatures"][prefix + name] = [[p.name, int(p.kind), p.default is not p.empty] for p in parameters]
json.dump(found, sys.stdout)
"""


@functools.cache
def table():
    """Return what the real CuPy has: `version`, `names`, `loops` and `signatures`.

    Raises
    ------
    ImportError
        If the real CuPy is not installed.
    """
    versions = [d.version for d in distributions() if (d.metadata["Name"] or "").lower().startswith("cupy-cuda")]
    if not versions:
        raise ImportError(f"{FOLDER} imitates the CuPy that is installed, and none is: pip install cupy-cuda13x")
    kept = Path(tempfile.gettempdir(), f"cuda_on_cpu_{os.getuid()}", f"cupy-{versions[0]}.json")
    if not kept.exists():
        kept.parent.mkdir(mode=0o700, exist_ok=True)
        asked = subprocess.run(
            [sys.executable, "-c", ASK, os.fspath(FOLDER)], capture_output=True, text=True, check=False, cwd="/"
        )
        if asked.returncode:
            raise ImportError(f"{FOLDER}: the real CuPy cannot be asked what it has: {asked.stderr}")
        fresh = kept.with_suffix(f".{os.getpid()}")
        fresh.write_text(asked.stdout)
        fresh.replace(kept)
    return json.loads(kept.read_text())


@functools.cache
def signature(name):
    """Return the real function's signature, or None where it tells none."""
    parameters = table()["signatures"].get(name)
    if parameters is None:
        return None
    kinds = inspect._ParameterKind
    empty = inspect.Parameter.empty
    return inspect.Signature(
        [inspect.Parameter(n, kinds(kind), default=None if optional else empty) for n, kind, optional in parameters]
    )


def check_call(name, args, kwargs):
    """Raise TypeError for arguments that the real function does not take."""
    known = signature(name)
    if known is not None:
        try:
            known.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"cupy.{name}: {error}") from None
