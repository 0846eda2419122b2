"""One module for each property: ``Options``, ``SUITES``, ``QUANTITIES``, ``VERSION``, ``cases(options, sources)`` and ``measure(cases, options, bench)``."""
