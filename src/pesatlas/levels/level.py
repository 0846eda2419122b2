"""A reference level: everything that decides a label, as one immutable object."""

from typing import Any

from pesatlas.config.section import Section, digest


class Level(Section):
    """Code, functional, settings and pseudopotentials.

    Attributes
    ----------
    name : ``pbe``, ``r2scan``, or ``mlip`` for labels of a potential
    code : code, library and data versions by name
    functional : functional as the code names it
    settings : rules from which the settings of every calculation follow, for crystals and for isolated atoms
    pseudopotentials : hash over the whole set of pseudopotentials, so that all rows of a campaign share a
        fingerprint
    """

    name: str
    code: dict[str, str]
    functional: str
    settings: dict[str, Any]
    pseudopotentials: str

    @property
    def fingerprint(self) -> str:
        """Hash of everything that defines the level."""
        return digest(self.identity())

    @property
    def code_text(self) -> str:
        """Code and versions in words, for the column ``code``."""
        return ", ".join(f"{name} {version}" for name, version in self.code.items())


def difference(first: Level, second: Level) -> list[str]:
    """Return the dotted keys in which two levels differ; empty if the levels are equal."""
    return _differing(first.identity(), second.identity(), "")


def _differing(first: Any, second: Any, path: str) -> list[str]:
    if isinstance(first, dict) and isinstance(second, dict):
        keys = sorted(first.keys() | second.keys())
        return [
            found
            for key in keys
            for found in _differing(first.get(key), second.get(key), f"{path}.{key}".lstrip("."))
        ]
    return [] if first == second else [path]
