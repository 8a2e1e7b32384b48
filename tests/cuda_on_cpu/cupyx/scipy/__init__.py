"""SciPy's functions on a pretended GPU."""
