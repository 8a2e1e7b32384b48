"""CUDA C++ compiled for the host: the grid is loops, and a kernel's arguments are checked against its signature."""

import ctypes
import functools
import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from cupy._core import is_array
from cupy._ledger import LAUNCH, note
from cupy.cuda import current, nvrtc

HOST = Path(__file__).with_name("_host.hpp")
"""CUDA's words in C++. A kernel that waits for its block's other threads runs them as fibers, one after the other."""

FLAGS = ("-std=c++17", "-O2", "-march=native", "-ffp-contract=fast", "-Wno-unknown-pragmas", "-shared", "-fPIC")
"""CUDA's compilers fuse multiplications and additions; so does this, where the processor can."""

MOST_ARGUMENTS = 4096
"""The bytes that a launch takes by value."""


class Parameter(ctypes.Structure):
    """What the compiler says of one of a kernel's parameters."""

    _fields_ = [(name, ctypes.c_int) for name in ("pointer", "size", "floating", "constant")]


@functools.cache
def library(code, kernels):
    """Return the compiled library, with each of the kernels by its position."""
    text = HOST.read_text().replace("// THE SOURCE", code)
    for i, kernel in enumerate(kernels):
        text += (
            f'extern "C" void run_{i}(const unsigned* n, void** a) {{ on_cpu::run({kernel}, n, a); }}\n'
            f'extern "C" int describe_{i}(on_cpu::Parameter* p) {{ return on_cpu::describe({kernel}, p); }}\n'
        )
    flags = [*FLAGS, *(["-DFIBERS"] if "__sync" in code or "_sync(" in code else [])]
    name = hashlib.sha256("\n".join([text, *flags]).encode()).hexdigest()[:24]
    built = Path(tempfile.gettempdir(), f"cuda_on_cpu_{os.getuid()}", f"{name}.so")
    if not built.exists():
        built.parent.mkdir(mode=0o700, exist_ok=True)
        source, fresh = (built.with_suffix(f".{os.getpid()}{end}") for end in (".cpp", ".so"))
        source.write_text(text)
        nvrtc.getVersion()
        done = subprocess.run(
            [nvrtc.COMPILER, *flags, "-o", fresh, source], capture_output=True, text=True, check=False
        )
        source.unlink()
        if done.returncode:
            raise nvrtc.NVRTCError(done.stderr)
        fresh.replace(built)
    return ctypes.CDLL(os.fspath(built))


class RawKernel:
    """One kernel, compiled when it is first called."""

    def __init__(self, code, name, options=(), **_):
        self.code, self.name, self.kernels = code, name, (name,)

    @functools.cached_property
    def compiled(self):
        """The function, and its parameters."""
        built, position = library(self.code, self.kernels), self.kernels.index(self.name)
        found = (Parameter * 64)()
        count = getattr(built, f"describe_{position}")(found)
        return getattr(built, f"run_{position}"), found[:count]

    def __call__(self, grid, block, args, *, shared_mem=0):
        grid, block = ((*sizes, 1, 1)[:3] for sizes in (grid, block))
        if not all(type(n) is int and n >= 1 for n in (*grid, *block)):
            raise ValueError(f"{self.name}: grid {grid}, block {block}")
        if np.prod(block) > 1024 or grid[0] >= 1 << 31 or max(grid[1:]) > 65535:
            raise RuntimeError(f"CUDA_ERROR_INVALID_VALUE: grid {grid}, block {block}")
        run, parameters = self.compiled
        if len(args) != len(parameters):
            raise TypeError(f"{self.name} takes {len(parameters)} arguments, got {len(args)}")
        packed = [
            by_value(arg, parameter, f"{self.name}, argument {i}")
            for i, (arg, parameter) in enumerate(zip(args, parameters, strict=True))
        ]
        if sum(map(ctypes.sizeof, packed)) > MOST_ARGUMENTS:
            raise RuntimeError(f"{self.name}: more than {MOST_ARGUMENTS} bytes of arguments")
        note(LAUNCH, self.name)
        run((ctypes.c_uint * 6)(*grid, *block), (ctypes.c_void_p * len(packed))(*map(ctypes.addressof, packed)))


class RawModule:
    """CUDA source with several kernels."""

    def __init__(self, *, code=None, options=(), name_expressions=None):
        if name_expressions and not any("-std=" in option for option in options):
            raise ValueError("need to specify C++ standard")
        if not isinstance(options, tuple):
            raise TypeError("options must be a tuple")
        self.code, self.names = code, tuple(name_expressions or ())

    def get_function(self, name):
        if name not in self.names:
            raise RuntimeError(f"CUDA_ERROR_NOT_FOUND: {name}")
        kernel = RawKernel(self.code, name)
        kernel.kernels = self.names
        return kernel


def by_value(arg, parameter, place):
    """Return the bytes that a launch takes for an argument, refusing what the kernel would misread."""
    if is_array(arg):
        if not parameter.pointer:
            raise TypeError(f"{place}: an array where the kernel has a number")
        if (arg.dtype.itemsize, arg.dtype.kind == "f") != (parameter.size, bool(parameter.floating)):
            raise TypeError(f"{place}: {arg.dtype} where the kernel has elements of {parameter.size} bytes")
        if arg._device != current.device:
            raise RuntimeError(f"{place}: an array of another GPU")
        if not arg.flags.c_contiguous:
            raise TypeError(f"{place}: an array that is not contiguous")
        if not (parameter.constant or arg.flags.writeable):
            raise TypeError(f"{place}: a broadcast array that the kernel writes to")
        return ctypes.c_void_p(arg.data.ptr)
    if isinstance(arg, np.ndarray):
        if parameter.pointer or arg.size != 1 or arg.nbytes != parameter.size:
            raise TypeError(f"{place}: a numpy.ndarray of shape {arg.shape} and {arg.nbytes} bytes by value")
        return ctypes.create_string_buffer(arg.tobytes(), arg.nbytes)
    if not isinstance(arg, np.generic):
        raise TypeError(f"{place}: {type(arg)}, whose size is not told: a NumPy scalar is")
    if parameter.pointer:
        if arg.nbytes != 8 or int(arg) != 0:
            raise TypeError(f"{place}: a number that is no null pointer where the kernel has a pointer")
    elif (arg.nbytes, arg.dtype.kind == "f") != (parameter.size, bool(parameter.floating)):
        raise TypeError(f"{place}: {arg.dtype} where the kernel has {parameter.size} bytes")
    return ctypes.create_string_buffer(arg.tobytes(), arg.nbytes)
