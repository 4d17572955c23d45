"""One file a format. A reader is found by listing this folder; there is no list to edit.

A reader module has `ORDER: int` (a lower one is asked first), `accepts(path) -> bool` (looks at names, opens nothing
large) and `read(path, *, columns, root, cache, progress) -> Collection`. One of a format that keeps what is searched
apart from the pairs also has `documents(path, *, cache, progress) -> Collection`.
"""
