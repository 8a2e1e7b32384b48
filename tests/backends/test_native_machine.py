"""LLVM text becomes an address, and object code is kept on disk: what another process finds, and never loads."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="native code needs the extra jit")
pytest.importorskip("scipy", reason="native code needs the extra jit")

from gradkit_numpy.native import object_code
from gradkit_numpy.native.machine import Code, CompileError, compiled, why_unusable

TWICE = "define double @twice(double %x) { %y = fadd double %x, %x\n ret double %y }"


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Path]:
    """An empty folder in which object code is kept."""
    object_code.keep_in(tmp_path / "jit")
    yield tmp_path / "jit"
    object_code.keep_in(None)


@pytest.fixture(autouse=True)
def nothing_kept(request: pytest.FixtureRequest) -> None:
    if "kept" not in request.fixturenames:
        object_code.keep_in(None)


def run(code: Code, x: float) -> float:
    return float(ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(code.address)(x))


def objects(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_a_program_runs_where_it_says() -> None:
    assert why_unusable() is None
    code = compiled(TWICE, "twice")
    assert run(code, 2.5) == 5.0
    assert not code.from_disk
    assert code.size > 0


def test_an_llvmlite_that_is_too_old_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradkit_numpy.native import machine

    why_unusable.cache_clear()
    monkeypatch.setattr(machine, "OLDEST", (999, 0, 0))
    try:
        assert "too old: pip install 'gradkit[jit]'" in str(why_unusable())
        with pytest.raises(CompileError, match="too old"):
            compiled(TWICE, "twice")
    finally:
        why_unusable.cache_clear()


@pytest.mark.parametrize("package", ["llvmlite", "scipy"])
def test_a_package_that_is_missing_is_named(package: str) -> None:
    code = f"import sys; sys.modules[{package!r}] = None\n"
    code += "from gradkit_numpy.native.machine import why_unusable; print(why_unusable())"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert package in done.stdout
    assert "pip install 'gradkit[jit]'" in done.stdout


def test_blas_is_loaded_without_the_rest_of_scipys_package_which_finds_it_later() -> None:
    code = """if True:
    import sys
    from gradkit_numpy.native.symbols import address_of
    assert address_of("dgemm")
    assert "scipy.linalg" not in sys.modules
    import scipy.linalg.cython_blas
    from gradkit_numpy.native.symbols import _scipys
    assert scipy.linalg.cython_blas is _scipys("blas")
    assert scipy.linalg.det([[2.0, 0.0], [0.0, 3.0]]) == 6.0
    """
    subprocess.run([sys.executable, "-c", code], check=True)


PRODUCTS = """if True:
    import sys
    import numpy as np
    import gradkit, gradkit.numpy as jnp
    from gradkit_numpy.native import products, symbols
    if "scipys" in sys.argv:
        products.numpy_has_products = lambda: False
    for dtype, digits in (("float32", 1e-4), ("float64", 1e-11)):
        a, b, c = (np.random.default_rng(i).normal(size=(65, 70)).astype(dtype) for i in range(3))
        f = gradkit.jit(lambda a, b, c: (a @ b.T, a.T @ b, (a @ b.T) @ c - 0.5 * a, a - 0.1 * (c @ (a.T @ b))))
        expected = a @ b.T, a.T @ b, (a @ b.T) @ c - 0.5 * a, a - 0.1 * (c @ (a.T @ b))
        for one, other in zip(f(*map(jnp.asarray, (a, b, c))), expected):
            np.testing.assert_allclose(np.asarray(one), other, digits, digits * 100)
    print(symbols.numpy_has_products(), symbols._scipys.cache_info().currsize)
"""


@pytest.mark.parametrize("whose", ["numpys", "scipys"])
def test_products_are_those_of_numpys_library_where_it_has_names_and_of_scipys_elsewhere(whose: str) -> None:
    environment = {**os.environ, "GRADKIT_CACHE": "off", "GRADKIT_ENABLE_X64": "1", "GRADKIT_COMPILER": "native"}
    command = [sys.executable, "-W", "error", "-c", PRODUCTS, whose]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    has_names, loaded = done.stdout.split()
    assert loaded == ("0" if whose == "numpys" and has_names == "True" else "1")


def test_a_numpy_whose_library_has_no_names_for_products_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradkit_numpy.native import symbols

    monkeypatch.setattr(symbols, "_numpys", lambda: None)
    assert symbols.address_of.__wrapped__("sgemm_64") is None
    monkeypatch.setattr(symbols, "_numpys", lambda: ctypes.CDLL(None) if os.name == "posix" else None)
    monkeypatch.setitem(symbols.OF_NUMPY, "sgemm_64", "a_routine_that_nobody_has_")
    assert symbols.address_of.__wrapped__("sgemm_64") is None


def test_code_outlives_the_programs_compiled_after_it() -> None:
    codes = [compiled(TWICE.replace("%x, %x", f"%x, {i}.0"), "twice") for i in range(20)]
    assert [run(code, 1.0) for code in codes] == [1.0 + i for i in range(20)]
    del codes[::2]
    assert [run(code, 1.0) for code in codes] == [2.0 + i for i in range(0, 20, 2)]


@pytest.mark.parametrize(
    "text, says",
    [
        ("define void @f() { ret i32 1 }", "value doesn't match function result type"),
        (
            "define i32 @f(i32 %x) {\n br label %a\na:\n %z = add i32 %y, 1\n %y = add i32 %x, 1\n ret i32 %z }",
            "dominate",
        ),
        ("declare void @nobody()\ndefine void @f() { call void @nobody()\n ret void }", "declares nobody"),
        ("@x = external global i32\ndefine ptr @f() { ret ptr @x }", "materialize"),
        ("define void @g() { ret void }", "not found: \\[ _?f \\]"),
        ("", "f"),
    ],
)
def test_a_program_that_llvm_refuses_is_an_error_with_its_words(text: str, says: str) -> None:
    with pytest.raises(CompileError, match=says):
        compiled(text, "f")


@pytest.mark.parametrize("letter", "sdcz")
def test_blas_is_found_by_name(letter: str) -> None:
    dtype = {"s": "f", "d": "d", "c": "F", "z": "D"}[letter]
    gemm = f"{letter}gemm"
    pointers = ", ".join(["ptr"] * 13)
    loads = "\n".join(f"%p{i} = getelementptr ptr, ptr %args, i64 {i}\n%a{i} = load ptr, ptr %p{i}" for i in range(13))
    passed = ", ".join(f"ptr %a{i}" for i in range(13))
    text = (
        f"declare void @{gemm}({pointers})\n"
        f"define void @f(ptr %args) {{\n{loads}\ncall void @{gemm}({passed})\nret void }}"
    )
    code = compiled(text, "f")
    rng = np.random.default_rng(0)
    a, b = (np.asfortranarray(rng.standard_normal((3, 3)) + 1j * rng.standard_normal((3, 3))) for _ in "ab")
    a, b = (np.asfortranarray((x if dtype in "FD" else x.real).astype(dtype)) for x in (a, b))
    c = np.zeros((3, 3), dtype, order="F")
    letters, sizes = np.array([ord("N")], np.int8), np.array([3], np.int32)
    one, zero = np.ones(1, dtype), np.zeros(1, dtype)
    args = [letters, letters, sizes, sizes, sizes, one, a, sizes, b, sizes, zero, c, sizes]
    addresses = (ctypes.c_void_p * 13)(*(x.ctypes.data for x in args))
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code.address)(ctypes.addressof(addresses))
    np.testing.assert_allclose(c, a @ b, rtol=1e-5)


def test_what_llvm_calls_of_its_own_accord_is_there() -> None:
    text = """
    declare float @llvm.exp.f32(float)
    declare double @llvm.pow.f64(double, double)
    declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
    define double @f(double %x) {
      %x32 = fptrunc double %x to float
      %e32 = call float @llvm.exp.f32(float %x32)
      %e = fpext float %e32 to double
      %p = call double @llvm.pow.f64(double %x, double 3.5)
      %r = frem double %p, 1.5
      %n = fptosi double %x to i64
      %bytes = mul i64 %n, 100
      %a = alloca i8, i64 %bytes
      %b = alloca i8, i64 %bytes
      call void @llvm.memcpy.p0.p0.i64(ptr %a, ptr %b, i64 %bytes, i1 0)
      %h = fptrunc double %r to half
      %d = fpext half %h to double
      %s = fadd double %e, %d
      ret double %s
    }"""
    x = 2.25
    expected = float(np.exp(np.float32(x))) + float(np.float16(np.fmod(x**3.5, 1.5)))
    assert run(compiled(text, "f"), x) == pytest.approx(expected, rel=1e-6)


def test_callbacks_are_linked_by_the_addresses_of_this_process(kept: Path) -> None:
    text = "declare double @callback(double)\n"
    text += "define double @f(double %x) { %y = call double @callback(double %x)\n ret double %y }"
    kind = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)
    for factor in (2.0, 3.0):  # the second from the same object code
        callback = kind(lambda x, factor=factor: factor * x)
        address = ctypes.cast(callback, ctypes.c_void_p).value
        assert address is not None
        assert run(compiled(text, "f", {"callback": address}), 5.0) == 5.0 * factor
    assert len(objects(kept)) == 1


PROGRAM = """
import ctypes, sys
from gradkit_numpy.native.machine import compiled
text = "declare double @hypot(double, double)\\n"
text += "define double @f(double %x) { %y = call double @hypot(double %x, double 4.0)\\n ret double %y }"
code = compiled(text, "f")
print(code.from_disk, ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(code.address)(3.0))
"""


def in_new_processes(folder: Path, number: int = 1, **variables: str) -> list[str]:
    environment = {**os.environ, "GRADKIT_CACHE_DIR": str(folder), **variables}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(number)
    ]
    results = []
    for process in started:
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert errors == ""
        results.append(output.strip())
    return results


def many_nests(number: int, distinct: bool) -> str:
    """Return a program of that many loops over arrays, each of them a function, that add up all numbers below 8."""
    nest = """define internal void @nest{0}(ptr noalias %out, ptr noalias %in) noinline {{
      br label %loop
    loop:
      %i = phi i64 [0, %0], [%next, %loop]
      %p = getelementptr double, ptr %in, i64 %i
      %x = load double, ptr %p
      %y = fadd double %x, {1}.0
      %q = getelementptr double, ptr %out, i64 %i
      %z = load double, ptr %q
      %sum = fadd double %y, %z
      store double %sum, ptr %q
      %next = add i64 %i, 1
      %more = icmp ne i64 %next, 1000
      br i1 %more, label %loop, label %end
    end:
      ret void
    }}"""
    nests = [nest.format(i, i if distinct else 1) for i in range(number)]
    calls = [f"call void @nest{i}(ptr %out, ptr %in)" for i in range(number)]
    return "\n".join([*nests, "define void @main(ptr %out, ptr %in) {", *calls, "ret void", "}"])


def results_of(code: Code) -> np.ndarray[Any, Any]:
    out, values = np.zeros(1000), np.arange(1000.0)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(code.address)(out.ctypes.data, values.ctypes.data)
    return out


def test_functions_that_are_the_same_are_compiled_once() -> None:
    same, different = (compiled(many_nests(number, number < 200), "main") for number in (250, 50))
    np.testing.assert_array_equal(results_of(same), 250 * (np.arange(1000.0) + 1))
    np.testing.assert_array_equal(results_of(different), 50 * np.arange(1000.0) + sum(range(50)))
    assert same.size < different.size


@pytest.mark.long
def test_time_to_compile_grows_as_the_program_does() -> None:
    seconds = []
    for number in (200, 800):  # both of them with functions that stay apart
        started = time.process_time()
        code = compiled(many_nests(number, distinct=True), "main")
        seconds.append(time.process_time() - started)
        np.testing.assert_array_equal(results_of(code), number * np.arange(1000.0) + sum(range(number)))
    assert seconds[1] < 8 * seconds[0]


def test_a_second_process_loads_what_the_first_compiled(tmp_path: Path) -> None:
    assert in_new_processes(tmp_path) == ["False 5.0"]
    assert in_new_processes(tmp_path) == ["True 5.0"]
    assert in_new_processes(tmp_path, GRADKIT_CACHE="off") == ["False 5.0"]


def test_processes_that_compile_the_same_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    assert {result.split()[1] for result in in_new_processes(tmp_path, 4)} == {"5.0"}
    assert [path.suffix for path in objects(tmp_path / "jit")] == [".object"]
    assert in_new_processes(tmp_path) == ["True 5.0"]


def test_damaged_object_code_is_compiled_anew_and_never_loaded(kept: Path) -> None:
    compiled(TWICE, "twice")
    (path,) = objects(kept)
    whole = path.read_bytes()
    damaged = [b"", whole[:10], whole[:-1], whole + b"x", b"x" + whole, whole[: len(whole) // 2], bytes(len(whole))]
    for place in range(0, len(whole), 37):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        damaged.append(bytes(flipped))
    for content in damaged:
        path.write_bytes(content)
        code = compiled(TWICE, "twice")
        assert not code.from_disk
        assert run(code, 4.0) == 8.0
        assert path.read_bytes() == whole
    assert compiled(TWICE, "twice").from_disk


def test_object_code_of_another_program_under_this_name_is_not_loaded(kept: Path) -> None:
    compiled(TWICE, "twice")
    (path,) = objects(kept)
    content = path.read_bytes()
    path.unlink()
    thrice = "define double @twice(double %x) { %y = fmul double %x, 3.0\n ret double %y }"
    compiled(thrice, "twice")
    (other,) = objects(kept)
    other.write_bytes(content)
    code = compiled(thrice, "twice")
    assert not code.from_disk
    assert run(code, 1.0) == 3.0


@pytest.mark.parametrize("fact", ["processor", "features", "version", "format"])
def test_object_code_for_another_processor_or_version_is_not_found(
    kept: Path, monkeypatch: pytest.MonkeyPatch, fact: str
) -> None:
    from gradkit_numpy.native import machine

    compiled(TWICE, "twice")
    name, features = machine._processor()
    if fact == "processor":
        monkeypatch.setattr(machine, "_processor", lambda: (name + "2", features))
    elif fact == "features":
        monkeypatch.setattr(machine, "_processor", lambda: (name, features + ",+other"))
    elif fact == "version":
        monkeypatch.setattr(machine, "_versions", lambda: ("0.1",))
    else:
        monkeypatch.setattr(object_code, "MAGIC", b"gradkit object code 0\n")
    assert not compiled(TWICE, "twice").from_disk


def test_a_folder_that_cannot_be_used_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for place in (tmp_path / "file", tmp_path / "file" / "inside", Path("/proc/nowhere"), Path("x" * 5000)):
        object_code.keep_in(place)
        for _ in range(2):
            code = compiled(TWICE, "twice")
            assert not code.from_disk
            assert run(code, 1.0) == 2.0


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_nothing_is_loaded_from_a_folder_into_which_anybody_may_write(kept: Path) -> None:
    compiled(TWICE, "twice")
    kept.chmod(0o777)
    assert not compiled(TWICE, "twice").from_disk
    kept.chmod(0o755)
    assert compiled(TWICE, "twice").from_disk


def test_a_folder_in_the_place_of_a_file_is_no_error(kept: Path) -> None:
    compiled(TWICE, "twice")
    (path,) = objects(kept)
    path.unlink()
    (path / "inside").mkdir(parents=True)
    assert run(compiled(TWICE, "twice"), 1.0) == 2.0
    assert objects(kept) == [path]  # nothing half-written stays


def test_the_oldest_object_code_is_removed(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_code, "LIMIT", 10_000)
    for i in range(20):
        object_code.store(f"{i:02}", bytes(1000))
        if (kept / "05.object").exists():
            os.utime(kept / "05.object", (4e9, 4e9))  # used all the time
        for path in objects(kept):
            if path.name != "05.object":
                os.utime(path, (int(path.stem) + 1, int(path.stem) + 1))
    names = [path.stem for path in objects(kept)]
    assert {"05", "19"} <= set(names)
    assert "00" not in names
    assert sum(path.stat().st_size for path in objects(kept)) <= 10_000 + 1100


def test_the_folder_is_that_of_the_environment_or_of_the_platform(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(object_code._Place, "decided", False)
    for name in ("GRADKIT_CACHE", "GRADKIT_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    if sys.platform == "linux":
        assert object_code.folder() == Path.home() / ".cache" / "gradkit" / "jit"
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert object_code.folder() == tmp_path / "gradkit" / "jit"
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")
        assert object_code.folder() == Path.home() / ".cache" / "gradkit" / "jit"
    monkeypatch.setenv("GRADKIT_CACHE_DIR", str(tmp_path / "own"))
    assert object_code.folder() == tmp_path / "own" / "jit"
    monkeypatch.setenv("GRADKIT_CACHE", "Off")
    assert object_code.folder() is None


def test_threads_compile_at_once_and_each_is_right() -> None:
    results: dict[int, float] = {}

    def one(i: int) -> None:
        results[i] = run(compiled(TWICE.replace("%x, %x", f"%x, {i}.0"), "twice"), 0.5)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {i: 0.5 + i for i in range(8)}


FORKS = """
import ctypes, os, threading
from gradkit_numpy.native.machine import compiled

def program(i):
    return compiled(f"define double @f(double %x) {{ %y = fadd double %x, {i}.0\\n ret double %y }}", "f")

def run(code):
    return ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(code.address)(1.0)

def keep_compiling():
    i = 1000
    while not stop.is_set():
        i += 1
        program(i)

old, stop = program(1), threading.Event()
thread = threading.Thread(target=keep_compiling)
thread.start()
try:
    for i in range(20):
        child = os.fork()
        if not child:
            os._exit(0 if run(old) == 2.0 and run(program(i)) == 1.0 + i else 1)
        assert os.waitpid(child, 0)[1] == 0
finally:
    stop.set()
    thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_runs_old_code_and_compiles_new_code_while_the_parent_compiles() -> None:
    environment = {**os.environ, "GRADKIT_CACHE": "off"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS], check=True, env=environment, timeout=120)
