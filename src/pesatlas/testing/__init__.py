"""Conformance tests for authors of extensions: ``pip install 'pesatlas[testing]'``.

A subclass of one of these classes with the name of an extension, and options where it needs some, is its
test; pytest runs it::

    from pesatlas import testing

    class TestMine(testing.PotentialTests):
        kind = "mine"

Class attributes and fixtures say what is given; each class tells which. Nothing but these modules imports
pytest.
"""

from importlib import import_module
from typing import Any

import pytest

_CLASSES = {
    "SourceTests": "sources",
    "DomainTests": "domains",
    "PotentialTests": "potentials",
    "EncoderTests": "encoders",
    "PolicyTests": "policies",
    "BackendTests": "backends",
    "ExporterTests": "exporters",
    "ImporterTests": "importers",
    "PropertyTests": "properties",
}
"""Classes by their modules, which are imported when they are asked for: some import torch, some ASE."""

__all__ = list(_CLASSES)

pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in ("extension", *_CLASSES.values())))


def __getattr__(name: str) -> Any:
    """Return a class of tests."""
    if name not in _CLASSES:
        raise AttributeError(f"{__name__} has no {name}; it has {', '.join(_CLASSES)}")
    return getattr(import_module(f"{__name__}.{_CLASSES[name]}"), name)
