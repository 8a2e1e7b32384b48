"""What JAX gives for the cases of `collective_cases.py`, on as many devices of the host: a program that writes JSON."""

import json
import sys
from pathlib import Path

import jax
import numpy as np
from collective_cases import CASES, COUNT, results

mesh = jax.sharding.Mesh(np.asarray(jax.devices()), ("i",))
P = jax.sharding.PartitionSpec
names = sys.argv[2:]


def shard_map(f, in_specs, out_specs):
    return jax.shard_map(f, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)


assert len(jax.devices()) == COUNT
cases = [case for case in CASES if not names or case.name in names]
Path(sys.argv[1]).write_text(json.dumps({case.name: results(jax, shard_map, P, case, jax.jit) for case in cases}))
