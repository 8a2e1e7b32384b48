"""Checkpoints: what is saved comes back exactly, whole or not at all, and damage is named."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from random_inputs import examples

import gradkit
import gradkit.numpy as jnp
from gradkit import nn, optim
from gradkit.errors import FileFormatError, MissingDependencyError, TreeMismatchError

DTYPES = [f"{kind}{size}" for kind in ("int", "uint") for size in (8, 16, 32, 64)]
DTYPES += "bool float16 float32 float64 complex64 complex128 >f4 >i8".split()
ARRAYS = st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0)))
SCALARS = st.one_of(
    st.integers(-(2**80), 2**80), st.floats(), st.booleans(), st.text(max_size=5), st.complex_numbers(), st.none()
)
TREES = st.recursive(
    st.one_of(ARRAYS, SCALARS),
    lambda children: st.one_of(
        st.lists(children, max_size=3),
        st.dictionaries(st.text("ab.['0", max_size=3), children, max_size=3),
        st.tuples(children, children),
    ),
    max_leaves=5,
)


def same(a: Any, b: Any) -> bool:
    """Return whether two leaves are equal to the bit, in type as well."""
    if isinstance(a, np.ndarray):
        b = gradkit.device_get(b)
        return a.shape == b.shape and a.dtype == b.dtype and np.ascontiguousarray(a).tobytes() == b.tobytes()
    return type(a) is type(b) and repr(a) == repr(b)


def model_of(seed: int) -> nn.MLP:
    return nn.MLP(3, [4, 2], key=gradkit.random.key(seed))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.safetensors"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(60))
@given(TREES)
def test_any_tree_of_arrays_and_numbers_comes_back_exactly(path: Path, tree: Any) -> None:
    tree = {"tree": tree}  # a tree that is None has no leaves, and like=None means that there is none
    gradkit.save(path, tree)
    like = gradkit.tree.map(lambda leaf: np.zeros_like(leaf) if isinstance(leaf, np.ndarray) else leaf, tree)
    loaded = gradkit.load(path, like=like)
    assert gradkit.tree.structure(loaded) == gradkit.tree.structure(tree)
    for before, after in zip(gradkit.tree.leaves(tree), gradkit.tree.leaves(loaded), strict=True):
        native = before.astype(before.dtype.newbyteorder("=")) if isinstance(before, np.ndarray) else before
        assert same(native, after)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.0, 5e-324, 2**100, True, "a\0b", 1 - 2j])
def test_python_numbers_keep_their_type_and_every_bit(value: Any, path: Path) -> None:
    gradkit.save(path, value)
    assert same(value, gradkit.load(path, like=value))
    assert list(gradkit.load(path)) == ["value"]


def test_arrays_that_are_views_are_saved_as_what_they_show(path: Path, xp: Any) -> None:
    x = np.arange(12.0).reshape(3, 4)
    gradkit.save(path, [x.T, x[::2, ::-1], np.asfortranarray(x), gradkit.Array(x[:, 1])])
    loaded = gradkit.load(path)
    for name, expected in zip(["[0]", "[1]", "[2]", "[3]"], [x.T, x[::2, ::-1], x, x[:, 1]], strict=True):
        np.testing.assert_array_equal(gradkit.device_get(loaded[name]), expected)


@pytest.mark.parametrize("target", ["numpy", "strict"])
def test_a_checkpoint_of_any_backend_loads_on_any_other(target: str, path: Path, xp: Any) -> None:
    model = model_of(1)
    gradkit.save(path, model)
    with gradkit.use_backend(target):
        loaded = gradkit.load(path, like=model_of(2))
        flat = gradkit.load(path)
    assert type(loaded) is nn.MLP
    for before, after in zip(gradkit.tree.leaves(model), gradkit.tree.leaves(loaded), strict=True):
        assert after.device.backend == target
        assert after.requires_grad
        assert same(gradkit.device_get(before), after)
    assert sorted(flat) == ["layers[0].bias", "layers[0].weight", "layers[1].bias", "layers[1].weight"]
    assert {array.device.backend for array in flat.values()} == {target}


def test_like_says_on_which_device_each_array_goes(path: Path) -> None:
    devices = gradkit.devices("strict")
    gradkit.save(path, [np.ones(2), np.zeros(3)])
    like = [jnp.asarray(np.ones(2), device=devices[2]), jnp.asarray(np.ones(3), device=devices[1])]
    assert [array.device for array in gradkit.load(path, like=like)] == [devices[2], devices[1]]


def test_a_loaded_model_trains_in_the_lectures_way(path: Path, xp: Any) -> None:
    gradkit.save(path, model_of(1))
    model = gradkit.load(path, like=model_of(0))
    (model(jnp.ones((2, 3))) ** 2).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert not gradkit.grad(lambda model: model(jnp.ones(3)).sum())(model).parameters()[0].requires_grad


def test_a_run_that_is_resumed_in_mid_epoch_ends_bit_for_bit_where_it_would_have(path: Path, xp: Any) -> None:
    data = gradkit.data.moons(60, key=gradkit.random.key(0))
    optimizer = optim.SGD(optim.exponential_decay(0.1, 5, 0.9), momentum=0.9, nesterov=True)
    step = gradkit.grad(lambda model, x, y: nn.softmax_cross_entropy(model(x), y))

    def start() -> dict[str, Any]:
        model = nn.MLP(2, [8, 2], key=gradkit.random.key(3))
        return {
            "model": model,
            "optimizer": optimizer.init(model),
            "key": gradkit.random.key(9),
            "epoch": 0,
            "batch": 0,
        }

    def train(run: dict[str, Any], batches_left: int) -> dict[str, Any]:
        while run["epoch"] < 3:
            key = gradkit.random.fold_in(run["key"], run["epoch"])
            for x, y in gradkit.data.minibatches(data, 16, key, start=run["batch"]):
                if batches_left == 0:
                    return run
                gradients = step(run["model"], x, y)
                run["model"], run["optimizer"] = optimizer.update(run["model"], gradients, run["optimizer"])
                run["batch"] += 1
                batches_left -= 1
            run.update(epoch=run["epoch"] + 1, batch=0)
        return run

    whole = train(start(), 1000)
    for stop in (1, 4, 6, 11):
        gradkit.save(path, train(start(), stop))
        resumed = train(gradkit.load(path, like=start()), 1000)
        for a, b in zip(gradkit.tree.leaves(whole), gradkit.tree.leaves(resumed), strict=True):
            assert same(gradkit.device_get(a), b)


# What does not fit


@pytest.mark.parametrize(
    "like, words",
    [
        ({"a": np.ones((2, 4)), "n": 1}, [": a is", "float64[2, 4]", "float64[2, 3]"]),
        ({"a": np.ones((2, 3), "float32"), "n": 1}, [": a is", "float32[2, 3]", "float64[2, 3]"]),
        ({"a": np.ones((2, 3)), "n": 1.0}, [": n is", "float", "int"]),
        ({"a": np.ones((2, 3)), "n": True}, [": n is", "bool", "int"]),
        ({"a": 1, "n": 1}, [": a is", "int", "float64[2, 3]"]),
        ({"a": np.ones((2, 3)), "n": np.ones(1)}, [": n is", "float64[1]", "int"]),
        ({"a": np.ones((2, 3)), "n": 1, "z": 2}, ["leaf z,", "the file has not"]),
        ({"n": 1}, ["leaf a,", "`like` has not"]),
    ],
)
def test_a_tree_that_differs_names_the_first_leaf(like: Any, words: list[str], path: Path) -> None:
    gradkit.save(path, {"a": np.ones((2, 3)), "n": 1})
    with pytest.raises(TreeMismatchError) as caught:
        gradkit.load(path, like=like)
    for word in [str(path), *words]:
        assert word in str(caught.value)


def test_a_leaf_that_cannot_be_saved_is_named_and_nothing_is_written(path: Path) -> None:
    with pytest.raises(TypeError, match=r"a\[1\] is .*object"):
        gradkit.save(path, {"a": [1, object()]})
    with pytest.raises(TypeError, match=r"s has dtype datetime64"):
        gradkit.save(path, {"s": np.zeros(2, "datetime64[s]")})
    assert not list(path.parent.iterdir())


def test_without_safetensors_the_error_names_the_extra(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    for call in (lambda: gradkit.save(path, 1), lambda: gradkit.load(path)):
        with pytest.raises(MissingDependencyError, match=r"pip install 'gradkit\[io\]'"):
            call()


# Damage


def reference() -> dict[str, Any]:
    return {"w": np.arange(20, dtype=np.float32), "n": 12345, "c": np.ones(2, complex)}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(150))
@given(data=st.data())
def test_one_damaged_byte_anywhere_is_found_or_does_not_matter(path: Path, data: st.DataObject) -> None:
    gradkit.save(path, reference())
    contents = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(contents) - 1))
    contents[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(contents)
    try:
        loaded = gradkit.load(path, like=reference())
    except (FileFormatError, TreeMismatchError):
        return
    for a, b in zip(gradkit.tree.leaves(reference()), gradkit.tree.leaves(loaded), strict=True):
        assert same(a, b)


def test_a_file_that_is_truncated_anywhere_names_the_position(path: Path) -> None:
    gradkit.save(path, reference())
    contents = path.read_bytes()
    for length in range(len(contents)):
        path.write_bytes(contents[:length])
        with pytest.raises(FileFormatError, match=f"byte {length:,}|byte 8"):
            gradkit.load(path)
    path.write_bytes(contents + b"more")
    with pytest.raises(FileFormatError, match="too long"):
        gradkit.load(path)


@pytest.mark.parametrize(
    "start, kind",
    [(b"\x80\x04\x95", "pickle"), (b"PK\x03\x04", "zip archive"), (b"\x93NUMPY\x01\x00", ".npy"), (b"", "")],
)
def test_foreign_files_are_named_and_nothing_of_them_is_executed(start: bytes, kind: str, path: Path) -> None:
    path.write_bytes(start + b"0" * 100 if start else b"")
    with pytest.raises(FileFormatError) as caught:
        gradkit.load(path)
    assert str(path) in str(caught.value)
    assert kind in str(caught.value)


def test_a_pickle_is_not_run(path: Path) -> None:
    path.write_bytes(b"cos\nsystem\n(S'touch " + str(path.parent / "owned").encode() + b"'\ntR.")
    with pytest.raises(FileFormatError):
        gradkit.load(path)
    assert not (path.parent / "owned").exists()


def test_a_file_of_another_writer_of_the_format_loads(path: Path, xp: Any) -> None:
    from safetensors.numpy import save_file

    save_file({"weight": np.eye(2, dtype=np.float32)}, path)
    assert gradkit.load(path)["weight"].tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert gradkit.load(path, like={"weight": jnp.zeros((2, 2), "float32")})["weight"].tolist() == [[1, 0], [0, 1]]


def test_a_leaf_of_a_dtype_that_there_is_not_is_named(path: Path) -> None:
    entries = [("bias", "F32", 4), ("weight", "F7_E4M2", 2)]
    header: dict[str, Any] = {}
    size = 0
    for key, dtype, width in entries:
        header[key] = {"dtype": dtype, "shape": [3], "data_offsets": [size, size + 3 * width]}
        size += 3 * width
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(size))
    with pytest.raises(FileFormatError, match=r"leaf weight is of the dtype F7_E4M2, which is not supported\."):
        gradkit.load(path)


# All or nothing


def test_a_disk_that_is_full_leaves_the_old_file_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gradkit.save(path, {"n": 1})

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        gradkit.save(path, {"n": 2, "w": np.ones(1000)})
    monkeypatch.undo()
    assert gradkit.load(path, like={"n": 0}) == {"n": 1}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_file_beyond_the_limit_of_its_size_leaves_the_old_one_whole(path: Path) -> None:
    gradkit.save(path, {"n": 1})
    program = (
        "import resource, signal, numpy, gradkit\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        f"gradkit.save({str(path)!r}, {{'w': numpy.ones(100_000)}})\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "File too large" in done.stderr
    assert gradkit.load(path, like={"n": 0}) == {"n": 1}
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        gradkit.save(tmp_path / "nowhere" / "run.safetensors", 1)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_process_killed_at_any_moment_leaves_a_complete_file(path: Path) -> None:
    program = (
        "import itertools, numpy, gradkit\n"
        "for n in itertools.count():\n"
        f"    gradkit.save({str(path)!r}, {{'n': n, 'w': numpy.full(30_000, n)}})\n"
    )
    choose = random.Random(0)
    reached = -1
    for _ in range(6):
        process = subprocess.Popen([sys.executable, "-c", program])
        before = path.stat().st_mtime_ns if path.exists() else 0
        while not path.exists() or path.stat().st_mtime_ns == before:
            assert process.poll() is None
            time.sleep(0.001)
        time.sleep(choose.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        contents = gradkit.load(path)
        assert (gradkit.device_get(contents["w"]) == contents["n"]).all()
        reached = max(reached, contents["n"])
    assert reached > 0


def test_new_files_have_the_permissions_of_any_new_file(path: Path) -> None:
    (path.parent / "plain").write_text("")
    gradkit.save(path, 1)
    assert path.stat().st_mode == (path.parent / "plain").stat().st_mode


def test_a_link_stays_a_link(path: Path) -> None:
    link = path.parent / "latest.safetensors"
    gradkit.save(path, 1)
    link.symlink_to(path)
    gradkit.save(link, 2)
    assert link.is_symlink()
    assert gradkit.load(path, like=0) == 2


def test_the_same_tree_gives_the_same_file(path: Path) -> None:
    files = set()
    for _ in range(20):
        gradkit.save(path, {"model": model_of(1), "n": 1, "c": np.ones(2, complex)})
        files.add(path.read_bytes())
    assert len(files) == 1


# Names

# Written by gradkit before keys of dictionaries were names as they are.
OLDER = Path(__file__).parent / "older"


def older_tree(number: float) -> dict[Any, Any]:
    """Return the tree of older_tree.safetensors; other numbers are those of a tree like it."""
    return {
        "w": np.arange(3, dtype=np.float32) * number,
        "c": np.asarray([1 - 2j, 3j]) * number,
        "n": int(7 * number),
        "it's": {"deep": [np.asarray([bool(number)]), "text" if number else ""]},
        "model": nn.Linear(2, 1, key=gradkit.random.key(0 if number else 1)),
        3: 0.5 * number,
    }


def test_files_with_paths_for_names_still_load(xp: Any) -> None:
    expected = older_tree(1)
    loaded = gradkit.load(OLDER / "older_tree.safetensors", like=older_tree(0))
    for a, b in zip(gradkit.tree.leaves(expected), gradkit.tree.leaves(loaded), strict=True):
        assert same(gradkit.device_get(a), b)
    flat = gradkit.load(OLDER / "older_tree.safetensors")
    names = ["[3]", "c", "it's['deep'][0]", "it's['deep'][1]", "model.bias", "model.weight", "n", "w"]
    assert sorted(flat) == names
    assert (flat["n"], flat["[3]"], flat["it's['deep'][1]"]) == (7, 0.5, "text")
    assert gradkit.load(OLDER / "older_array.safetensors", like=np.zeros(2)).tolist() == [1.0, 1.0]
    assert gradkit.load(OLDER / "older_list.safetensors", like=[np.zeros(2), 0])[1] == 5
    with pytest.raises(TreeMismatchError, match=r"has a leaf \['v'\], which the file has not"):
        gradkit.load(OLDER / "older_tree.safetensors", like={"v": 1})


def test_what_other_programs_call_w_is_the_w_of_a_dictionary(path: Path) -> None:
    from safetensors.numpy import load_file

    tree = {
        "w": np.ones(2),
        "layers.0.weight": np.zeros(3),
        "model": model_of(0),
        "nest": {"a": [np.ones(1)]},
        5: np.ones(1),
    }
    gradkit.save(path, tree)
    layers = [f"model.layers[{i}].{name}" for i in (0, 1) for name in ("bias", "weight")]
    assert sorted(load_file(path)) == sorted(["w", "layers.0.weight", "nest['a'][0]", "[5]", *layers])
    assert sorted(gradkit.load(path)) == sorted(load_file(path))


@pytest.mark.parametrize(
    "tree",
    [
        {"a": {"b": 1}, "a['b']": 2},
        {"a": [1.5], "a[0]": 2.5},
        {"m": [1, 2], "m[1]": 3, "w": 4},
        {"": 1, "w": 2},
        {"__metadata__": 1},
        {"\ud800": 1},
        {"[3]": 1, 3: 2},
        {"value": 1},
        {"['w']": 1, "w": 2},
        {"a\"'\\": 1},
    ],
    ids=repr,
)
def test_keys_that_look_like_paths_or_are_no_names_come_back(tree: Any, path: Path) -> None:
    for convert in (lambda leaf: leaf, lambda leaf: np.full(2, leaf)):
        saved = gradkit.tree.map(convert, tree)
        gradkit.save(path, saved)
        loaded = gradkit.load(path, like=gradkit.tree.map(lambda leaf: leaf * 0, saved))
        assert gradkit.tree.structure(loaded) == gradkit.tree.structure(saved)
        for a, b in zip(gradkit.tree.leaves(saved), gradkit.tree.leaves(loaded), strict=True):
            assert same(a, b)
        assert len(gradkit.load(path)) == len(gradkit.tree.leaves(saved))
