"""Programs as people write them for JAX, which `programs.py` runs under JAX and under gradkit.

Each module's `setup()` returns a jitted step and the state that it starts from: ``state, value = step(state)``.
"""
