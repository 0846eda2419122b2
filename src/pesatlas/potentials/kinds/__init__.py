"""One module for each kind of potential: ``load(options, device)``, ``elements(options)``.

Those that may label have ``identify(options)`` too.
"""
