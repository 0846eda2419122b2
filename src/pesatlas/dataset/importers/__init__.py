"""Forms in which other people's datasets are read: one module is one format, found by its name.

A module has ``ENDINGS`` of files and a function ``read(path)``, which yields rows of the table ``imported`` one by one, without what is
the same in all of them (level, source).
"""
