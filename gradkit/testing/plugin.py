"""The pytest plugin: one test, run on every backend."""
