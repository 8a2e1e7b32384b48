"""Plans for the NumPy backend as lists of NumPy's calls. It needs NumPy alone: the fallback of native code.

`printer` says what is written down, `library` how, and `program` runs it; the text is made by `gradkit.backend.lists`.
"""
