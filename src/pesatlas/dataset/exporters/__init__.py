"""Export formats: one module each, found by name.

A module has a function ``export(source, folder)``, which writes one level into a folder (the levels share it)
and returns the files. ``source`` gives rows one by one, so that memory does not grow with the dataset. A
module may have ``remarks(source)``: sentences for the README of the export.
"""
