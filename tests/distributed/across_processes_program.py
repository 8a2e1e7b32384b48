"""What four processes do in `test_across_processes.py`: process 0 writes what each case gave as JSON."""

import json
import sys
from pathlib import Path

from collective_cases import CASES, COUNT, results

import gradkit
import gradkit.numpy
from gradkit import distributed

distributed.initialize(timeout=100)
mesh = distributed.Mesh((COUNT,), ("i",))
P = distributed.PartitionSpec
found = {}
names = sys.argv[3:]
with gradkit.use_backend(sys.argv[2]):
    for case in CASES:
        if names and case.name not in names:
            continue
        shard_map = lambda f, in_specs, out_specs: distributed.shard_map(  # noqa: E731
            f, mesh=mesh, in_specs=in_specs, out_specs=out_specs
        )
        found[case.name] = results(gradkit, shard_map, P, case, gradkit.jit)
if distributed.process_index() == 0:
    Path(sys.argv[1]).write_text(json.dumps(found))
