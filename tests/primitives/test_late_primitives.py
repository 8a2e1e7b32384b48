"""The files of primitives that are loaded when a name of theirs is asked for."""

from __future__ import annotations

import importlib
import subprocess
import sys

from gradkit.core.namespace import PRIMITIVES

IN_A_NEW_PROCESS = """
import sys
import gradkit
from gradkit import primitives
from gradkit.core.namespace import ARRAYS, PRIMITIVES, kernel_namespace

late = dict(PRIMITIVES.late)
assert not {module for module in late.values() if module in sys.modules}
for name, module in late.items():
    if {ask}:
        function = getattr(sys.modules[module], name)
        assert getattr(primitives, name) is function
        assert name not in PRIMITIVES or getattr(ARRAYS, name) in (function, PRIMITIVES[name])
declared = set(PRIMITIVES)
PRIMITIVES.load_all()
assert set(PRIMITIVES) == declared
"""
ASKING = {
    "in the package": "getattr(primitives, name)",
    "in a text on Arrays": "getattr(ARRAYS, name, True)",
    "in a text on raw arrays": "getattr(kernel_namespace(gradkit.current_backend()), name, True)",
    "as a declaration": "PRIMITIVES.named(name)",
}


def test_each_name_is_found_wherever_it_is_asked_for() -> None:
    for ask in ASKING.values():
        program = IN_A_NEW_PROCESS.replace("{ask}", ask)
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr


def test_the_table_has_the_names_of_each_file_and_no_others() -> None:
    modules = {module: importlib.import_module(module) for module in set(PRIMITIVES.late.values())}
    for module, found in modules.items():
        assert sorted(found.__all__) == sorted(name for name, its in PRIMITIVES.late.items() if its == module)


def test_a_name_of_a_file_that_is_not_loaded_is_taken() -> None:
    program = "from gradkit.core import Elementwise; Elementwise('logit', lambda xp, x: x, (None,))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "Elementwise('logit'): a primitive of that name is declared already." in run.stderr
