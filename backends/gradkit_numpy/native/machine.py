"""From LLVM text to the address of a function: parse, optimize for this processor, and link into the process.

What was compiled once is kept on disk (`object_code`), under the text, the processor and the versions; a second process
links it and neither parses nor optimizes. Object code has names where it calls other libraries, never addresses.
"""

from __future__ import annotations

import importlib.util
import os
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from typing import Any

from gradkit.backend import CompileError
from gradkit_numpy.native import object_code
from gradkit_numpy.native.symbols import addresses_for, declared, declared_once

__all__ = ["Code", "CompileError", "compiled", "linked", "made_for", "vector_bits", "why_unusable"]

INSTALL = "pip install 'gradkit[jit]'"
OLDEST = (20, 0, 0)
"""LLVM's version from which on what is written here is its language: that of llvmlite 0.45."""
LARGE = 400_000
"""Characters of a program from which on loops are vectorized, but not unrolled: that halves the time."""

_LOCK = threading.RLock()
_NUMBERS = count()
_DROPPED: list[Any] = []
"""Libraries that nobody uses any longer; the next program that is compiled removes them, under the lock."""


class _Library:
    """What keeps code in memory. Whichever thread drops it, LLVM is not entered without the lock (see the end)."""

    def __init__(self, tracker: Any) -> None:
        self.tracker = tracker

    def __del__(self) -> None:
        _DROPPED.append(self.tracker)


@dataclass(frozen=True, eq=False)
class Code:
    """Native code in this process, which stays as long as this object lives.

    Attributes
    ----------
    address : int
        Where the function begins that was asked for.
    size : int
        Bytes of object code.
    seconds : float
        What it took to get it.
    from_disk : bool
        Whether it was compiled before, and loaded.
    key : str
        What it is called on disk.
    names : frozenset of str
        What its text declares.
    """

    address: int
    size: int
    seconds: float
    from_disk: bool
    library: _Library = field(repr=False)
    key: str = field(repr=False)
    names: frozenset[str] = field(repr=False)


@cache
def why_unusable() -> str | None:
    """Say why nothing can be compiled here, or return None where it can."""
    missing = [name for name in ("llvmlite", "scipy") if importlib.util.find_spec(name) is None]
    if missing:
        return f"{' and '.join(missing)} cannot be imported: {INSTALL}"
    try:
        import llvmlite  # optional
        import llvmlite.binding as llvm  # optional

        if llvm.llvm_version_info < OLDEST:
            return f"llvmlite {llvmlite.__version__} is too old: {INSTALL}"
        llvm.check_jit_execution()
        _machine()
    except (ImportError, AttributeError, OSError, RuntimeError) as error:  # such as a system that forbids new code
        return f"llvmlite cannot compile here: {error}"
    return None


def compiled(text: str, entry: str, symbols: Mapping[str, int] | None = None) -> Code:
    """Return the native code of a program.

    Parameters
    ----------
    text : str
        The program, as LLVM text. It declares what it calls of others by name: routines of BLAS and of C's library
        (`gradkit_numpy.native.symbols`), and `symbols`; the same line may declare a name again. LLVM's time for a
        function grows faster than its length, so each nest of loops of a large program should be a function of its own,
        which is ``noinline``.
    entry : str
        The function whose address is asked for.
    symbols : Mapping, optional
        Addresses of other things that the text declares, such as callbacks. They have to live as long as the code.

    Raises
    ------
    CompileError
        If LLVM refuses the text, or it declares what nobody has.
    """
    reason = why_unusable()
    if reason:
        raise CompileError(reason)
    started = time.perf_counter()
    key = object_code.key_of(text, *made_for())
    names = frozenset(declared(text))
    with _LOCK:
        addresses, unknown = addresses_for(names, symbols or {})
        if unknown:
            raise CompileError(f"The program declares {', '.join(unknown)}, which is neither given nor known.")
        code = object_code.load(key)
        from_disk = code is not None
        if code is None:
            code = _object_of(text)
            object_code.store(key, code)
        return _linked_code(key, names, code, entry, addresses, started, from_disk)


def linked(key: str, names: Iterable[str], entry: str, symbols: Mapping[str, int]) -> Code | None:
    """Return the native code of a program that was compiled before; None where it is not on disk any longer.

    Parameters
    ----------
    key : str
        What it is called there, by `Code.key`.
    names : iterable of str
        What it declares.
    entry, symbols
        As in `compiled`.
    """
    started = time.perf_counter()
    with _LOCK:
        addresses, unknown = addresses_for(names, symbols)
        code = None if unknown else object_code.load(key)
        if code is None:
            return None
        return _linked_code(key, frozenset(names), code, entry, addresses, started, True)


def made_for() -> tuple[str, ...]:
    """Return what object code depends on beside its text: the processor and the versions."""
    return *_processor(), *_versions()


def _linked_code(
    key: str,
    names: frozenset[str],
    code: bytes,
    entry: str,
    addresses: Mapping[str, int],
    started: float,
    from_disk: bool,
) -> Code:
    tracker = _linked(code, entry, addresses)
    while _DROPPED:
        _DROPPED.pop().close()
    seconds = time.perf_counter() - started
    return Code(tracker[entry], len(code), seconds, from_disk, _Library(tracker), key, names)


def vector_bits() -> int:
    """Return the bits of the processor's widest vectors."""
    features = _processor()[1].split(",")
    return 512 if "+avx512f" in features else 256 if "+avx2" in features else 128


def _object_of(text: str) -> bytes:
    import llvmlite.binding as llvm  # optional

    try:
        with llvm.parse_assembly(declared_once(text), llvm.create_context()) as module:
            module.verify()
            _optimize(module, len(text))
            code: bytes = _machine().emit_object(module)
            return code
    except RuntimeError as error:
        raise CompileError(str(error)) from None


def _optimize(module: Any, size: int) -> None:
    import llvmlite.binding as llvm  # optional

    options = llvm.create_pipeline_tuning_options(speed_level=3)
    builder = llvm.create_pass_builder(_machine(), options)
    before = len(_defined(module))
    merging = llvm.create_new_module_pass_manager()
    merging.add_merge_functions_pass()  # a network's layers are often of one shape, and so are their nests
    _run_once(merging, module, builder)
    options.loop_vectorization = True
    left = size * len(_defined(module)) // max(before, 1)
    options.slp_vectorization = options.loop_unrolling = options.loop_interleaving = left < LARGE
    _run_once(llvm.create_pass_builder(_machine(), options).getModulePassManager(), module, builder)


def _run_once(passes: Any, module: Any, builder: Any) -> None:
    """Run passes, and give back what they take: the same ones cannot run on another module."""
    from llvmlite.binding.ffi import ObjectRef  # optional
    from llvmlite.binding.newpassmanagers import NewPassManager  # optional

    passes.run(module, builder)
    if type(passes)._dispose is ObjectRef._dispose:  # llvmlite, at least to 0.50, looks at the wrong base class
        NewPassManager._dispose(passes)


def _defined(module: Any) -> list[Any]:
    return [function for function in module.functions if not function.is_declaration]


def _linked(code: bytes, entry: str, addresses: Mapping[str, int]) -> Any:
    import llvmlite.binding as llvm  # optional

    builder = llvm.JITLibraryBuilder().add_object_img(code).export_symbol(entry)
    for name, address in addresses.items():
        builder.import_symbol(name, address)
    try:
        return builder.link(_linker(), f"gradkit {next(_NUMBERS)}")
    except RuntimeError as error:
        raise CompileError(str(error)) from None


@cache
def _processor() -> tuple[str, str]:
    import llvmlite.binding as llvm  # optional

    try:
        features = llvm.get_host_cpu_features().flatten()
    except RuntimeError:  # LLVM does not know this platform's
        features = ""
    return llvm.get_host_cpu_name(), features


@cache
def _versions() -> tuple[str, ...]:
    import llvmlite  # optional
    import llvmlite.binding as llvm  # optional

    return llvmlite.__version__, ".".join(map(str, llvm.llvm_version_info)), llvm.get_process_triple()


@cache
def _machine() -> Any:
    import llvmlite.binding as llvm  # optional

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    name, features = _processor()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=name, features=features, opt=3, reloc="pic", codemodel="small")


@cache
def _linker() -> Any:
    import llvmlite.binding as llvm  # optional

    linker = llvm.create_lljit_compiler(use_jit_link=os.name == "posix", suppress_errors=True)
    linker._owned = True  # never taken down: code may run until the process ends, in threads that outlive this module
    return linker


if hasattr(os, "register_at_fork"):
    # A child that is made while another thread compiles would wait for LLVM's own locks for ever.
    os.register_at_fork(before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_LOCK.release)
