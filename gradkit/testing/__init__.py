"""Tools for testing code that uses gradkit. Their pytest plugin is the module `pytest_gradkit`; it loads by itself."""
