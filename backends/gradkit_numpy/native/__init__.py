"""Native code for the NumPy backend: LLVM text, compiled in the process by llvmlite (extra ``jit``).

`math` writes scalar functions that LLVM vectorizes, `machine` turns text into an address, `symbols` says where routines
of other libraries are, and `object_code` keeps what was compiled on disk. llvmlite and SciPy are imported when
something is compiled, not before.
"""
