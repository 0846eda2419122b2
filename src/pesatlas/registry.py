"""Extensions found by name: one module in a package is one extension, and nothing lists it.

An extension module is light to import (torch, pymatgen and the like are imported inside its functions) and has
a class ``Options`` (a ``Section`` with ``kind: Literal["<module name>"]``), which is how it appears in ``config.yaml``.
"""

from functools import reduce
from importlib import import_module
from operator import or_
from pkgutil import iter_modules
from types import ModuleType
from typing import Annotated, Any

from pydantic import Field

from pesatlas.errors import UserError


def available(package: str) -> list[str]:
    """Names of the extensions in ``package`` (e.g. ``pesatlas.potentials.kinds``), sorted."""
    paths = import_module(package).__path__
    return sorted(m.name for m in iter_modules(paths) if not m.name.startswith("_"))


def find(package: str, name: str) -> ModuleType:
    """Import the extension ``name`` of ``package``.

    Raises
    ------
    UserError
        If there is no such extension; the message lists those there are.
    """
    names = available(package)
    if name not in names:
        raise UserError(f"There is no '{name}' in {package}. Known: {', '.join(names)}.")
    return import_module(f"{package}.{name}")


def options_of(package: str) -> Any:
    """Pydantic type that accepts the options of any extension in ``package``, told apart by ``kind``."""
    options = [find(package, name).Options for name in available(package)]
    union = reduce(or_, options)
    return Annotated[union, Field(discriminator="kind")] if len(options) > 1 else union
