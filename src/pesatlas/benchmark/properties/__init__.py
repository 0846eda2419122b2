"""Benchmark properties, one module each.

It has ``Options`` (a ``Section`` with ``settings()``: what decides the result of a structure), ``SUITES``
(options of ``quick`` and ``full``), ``VERSION`` (raised when results change), ``QUANTITIES`` (name: unit,
statistic, key of the reference in the data; the statistic is ``mae`` of errors, ``mean`` or ``ratio`` of
values, or ``half_life``), ``cases(options, sources)``: a list of ``BenchmarkItem``, and ``measure(cases,
options, evaluator)``, which yields a ``PropertyResult`` for each in their order. Optional: ``FILES`` (usual
names of its data), ``NEEDS_DATASET``, ``NEEDS_ELEMENTS``, ``SAME_LEVEL``, ``ON_REQUEST`` (in no suite),
``KEPT`` (false: measured anew each time).
"""
