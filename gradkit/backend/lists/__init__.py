"""Plans as lists of an array library's calls, into memory that is there already: what such printers share.

A backend says how calls of its library are written (`Library`), and how a program of it takes arrays and gives them
(`ListedProgram`). The text, Python's, is made by `plans`, nest by nest by `nests`; `text` has its functions and names.
"""

from gradkit.backend.kept_memory import note_kept
from gradkit.backend.lists.library import Library
from gradkit.backend.lists.nests import NestWriter
from gradkit.backend.lists.program import ListedProgram
from gradkit.backend.lists.text import Function, Sizes, Texts

__all__ = ["Function", "Library", "ListedProgram", "NestWriter", "Sizes", "Texts", "note_kept"]
