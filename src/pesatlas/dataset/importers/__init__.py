"""Import formats: one module each, found by name.

A module has ``ENDINGS`` of files and a function ``read(path)``, which yields for each entry either a row of
the table ``imported``, without what is the same in all of them (level, source), or a
``pesatlas.frames.frame.Refusal``. A row may have a list ``notes`` of sentences that are counted and shown,
and are no column.
"""
