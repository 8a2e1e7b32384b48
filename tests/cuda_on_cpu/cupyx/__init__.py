"""The little of cupyx that is needed."""


def scatter_add(a, slices, value):
    a.scatter_add(slices, value)  # which is deprecated in CuPy 14, and says so
