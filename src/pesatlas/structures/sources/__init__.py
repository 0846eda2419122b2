"""Sources of crystals, one module each.

A module may have a function ``licence(options)``: under which licence its crystals are given, for the
dataset's card.
"""
