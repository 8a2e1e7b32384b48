"""What every test of this project has: hypothesis' settings, and pytest's own test tools for the plugin's tests."""

from __future__ import annotations

import os
from importlib.util import find_spec

import hypothesis

pytest_plugins = ["pytester"]

# Doctests are collected by importing a module, and these import CuPy.
collect_ignore_glob = [] if find_spec("cupy") else ["backends/gradkit_cupy/[!_]*.py"]

# The machines of CI are shared: a deadline would measure the neighbours. There every run tries the same inputs, so
# that a failure is the change's; at home each run tries new ones.
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")
