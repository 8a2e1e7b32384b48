"""Tools for testing code that uses gradkit; `gradkit.testing.plugin` is the pytest plugin."""
