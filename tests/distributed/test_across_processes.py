"""Collectives as primitives, in four processes, against JAX's shard_map on four devices of the host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from collective_cases import CASES, COUNT
from launched import ROOT, environment, launch, needs_mpi

import gradkit
import gradkit.numpy as jnp
from gradkit import distributed, lax
from gradkit.distributed import Mesh, PartitionSpec, pmap, shard_map
from gradkit.errors import ShapeError

PROGRAM = Path(__file__).with_name("across_processes_program.py")
KEPT = Path(__file__).with_name("collectives_of_jax.json")
"""What `collectives_in_jax.py` wrote; the long test runs it again."""
SOME = ["all_gather", "pmax, differentiated", "pmin, differentiated", "several"]


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, parts in expected.items():
        for what, values in parts.items():
            assert len(found[name][what]) == len(values)
            for own, theirs in zip(found[name][what], values, strict=True):
                np.testing.assert_allclose(own, theirs, rtol=2e-4, atol=2e-5, err_msg=f"{name}, {what}")


@needs_mpi
@pytest.mark.parametrize(
    "backend, names",
    [("numpy", SOME), *(pytest.param(name, [], marks=pytest.mark.long) for name in ("numpy", "strict"))],
)
def test_values_and_derivatives_of_collectives_are_jaxs(backend, names, tmp_path):
    ended = launch(COUNT, PROGRAM, tmp_path / "found.json", backend, *names, timeout=500)
    assert ended.status == 0, ended.err
    expected = json.loads(KEPT.read_text())
    assert_same(json.loads((tmp_path / "found.json").read_text()), {n: expected[n] for n in names or expected})


@pytest.mark.long
def test_what_is_kept_of_jax_is_what_it_computes(tmp_path):
    program = ROOT / "tests/support/collectives_in_jax.py"
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={COUNT}", "JAX_PLATFORMS": "cpu"}
    words = [sys.executable, os.fspath(program), os.fspath(tmp_path / "found.json")]
    subprocess.run(words, env=environment(**flags), check=True, timeout=500)
    kept = json.loads(KEPT.read_text())
    assert kept.keys() == {case.name for case in CASES}
    assert_same(json.loads((tmp_path / "found.json").read_text()), kept)


@pytest.fixture
def mesh(xp):
    return Mesh((1,), ("i",))


def test_a_world_of_one_computes_what_the_function_does(mesh):
    P = PartitionSpec
    for case in CASES:
        if "ppermute" in case.name or case.name == "several":
            continue  # whose pairs are of four
        x, w = jnp.ones((1, 1)) * 0.5, jnp.ones((1, 1)) * 2.0
        f = shard_map(
            lambda x, w, case=case: case.function(gradkit, x, w), mesh=mesh, in_specs=(P("i"), P()), out_specs=P()
        )
        if "tiled" not in case.name or case.name == "psum_scatter":
            np.testing.assert_allclose(np.asarray(gradkit.jit(f)(x, w)), np.asarray(f(x, w)), rtol=1e-6)


def test_names_of_batches_go_before_those_of_processes(mesh):
    f = shard_map(
        lambda x: gradkit.vmap(lambda y: lax.psum(y, "i"), axis_name="i")(x) + lax.psum(1.0, "i"),
        mesh=mesh,
        in_specs=PartitionSpec("i"),
        out_specs=PartitionSpec("i"),
    )
    assert f(jnp.asarray([1.0, 2.0])).tolist() == [4.0, 4.0]


def test_an_axis_is_known_inside_alone(mesh):
    with pytest.raises(NameError, match="unbound axis name: i"):
        lax.psum(jnp.ones(2), "i")


def test_functions_compiled_under_one_mesh_are_not_run_under_another(mesh):
    total = gradkit.jit(lambda x: lax.psum(x, "i") * lax.axis_size("i"))
    P = PartitionSpec
    assert shard_map(total, mesh=mesh, in_specs=P("i"), out_specs=P())(jnp.ones(1)).tolist() == [1.0]
    with pytest.raises(NameError):
        total(jnp.ones(1))


@pytest.mark.parametrize(
    "call, kind, words",
    [
        (lambda: Mesh((2,), ("i",)), ValueError, "for 2 processes, but there are 1"),
        (lambda: Mesh((1, 1), ("i", "i")), ValueError, "a different name for each axis"),
        (lambda: shard_over("j")(jnp.ones(2)), ValueError, "in_specs names the axis 'j'"),
        (lambda: shard_over("i", "i")(jnp.ones((2, 2))), ValueError, "'i' twice"),
        (lambda: shard_over(None, "i")(jnp.ones(2)), ShapeError, "is for 2 axes"),
        (lambda: pmap(lambda x: x)(jnp.ones((2, 3))), ValueError, "has size 2, but there are 1 processes"),
        (
            lambda: shard_map(len, mesh=Mesh((1,), ("i",)), in_specs="i", out_specs="i")([1.0]),
            TypeError,
            "PartitionSpec",
        ),
        (lambda: pmap(lambda x: lax.ppermute(x, "processes", [(0, 1)]))(jnp.ones(1)), ValueError, "from 0 to 0"),
    ],
)
def test_meshes_and_specs_that_do_not_fit_are_errors(call, kind, words):
    with pytest.raises(kind, match=words):
        call()


def shard_over(*names):
    return shard_map(
        lambda x: x, mesh=Mesh((1,), ("i",)), in_specs=PartitionSpec(*names), out_specs=PartitionSpec(*names)
    )


def test_pmap_is_differentiated_from_outside(xp):
    f = pmap(lambda x, w: jnp.sin(x) * w + lax.pmean(x, "processes"), in_axes=(0, None))
    gradient = gradkit.grad(lambda x, w: jnp.sum(f(x, w)), argnums=(0, 1))(jnp.asarray([0.5]), jnp.asarray(2.0))
    np.testing.assert_allclose(np.asarray(gradient[0]), [2 * np.cos(0.5) + 1], rtol=1e-6)
    np.testing.assert_allclose(np.asarray(gradient[1]), np.sin(0.5), rtol=1e-6)
    assert distributed.process_count() == 1
