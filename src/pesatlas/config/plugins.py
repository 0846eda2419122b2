"""Extensions found by name: one module in a package is one extension; no list of them is kept.

An extension module is light to import (torch, pymatgen and the like are imported inside its functions) and
has a class ``Options`` (a ``Section`` with ``kind: Literal["<module name>"]``), which is how it appears in
``config.yaml``.

Extensions of other distributions are entry points of the groups in ``GROUPS``. They are looked for only when
a name is none of ours, so that nobody can put another thing in the place of ours; and only those that are
asked for are imported, so that one that is broken harms no campaign but its own. A configuration has names:
what is imported is what is installed.
"""

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache, reduce
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from operator import or_
from pkgutil import iter_modules
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Discriminator, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from pesatlas.config.section import Section
from pesatlas.errors import UserError

EXTENSIONS = {
    "structures.sources": "pesatlas.structures.sources",
    "structures.domains": "pesatlas.structures.domains",
    "explore.potential": "pesatlas.potentials.kinds",
    "explore.stop.encoder": "pesatlas.encode.encoders",
    "encode.encoder": "pesatlas.encode.encoders",
    "select.policy": "pesatlas.select.policies",
    "compare.policies": "pesatlas.select.policies",
    "train.architecture": "pesatlas.train.architectures",
    "label.backend": "pesatlas.label.backends",
    "label.backend.potential": "pesatlas.potentials.kinds",
    "round.committee": "pesatlas.potentials.kinds",
    "train.base": "pesatlas.potentials.kinds",
    "benchmark.properties": "pesatlas.benchmark.properties",
    "benchmark.potentials.potential": "pesatlas.potentials.kinds",
}
"""Keys of a configuration that choose extensions, and the package in which their names are looked up."""


class Group(NamedTuple):
    """Entry points of one sort of extension.

    Attributes
    ----------
    name : of the group
    word : what one of them is called
    has : names that its module has to have
    options : whether it has a class ``Options`` too
    """

    name: str
    word: str
    has: tuple[str, ...]
    options: bool = True


BACKENDS = "pesatlas.label.backends"

GROUPS = {
    "pesatlas.structures.sources": Group("pesatlas.sources", "source", ("load",)),
    "pesatlas.structures.domains": Group("pesatlas.domains", "domain", ("cells",)),
    "pesatlas.potentials.kinds": Group("pesatlas.potentials", "potential", ("load", "elements")),
    "pesatlas.encode.encoders": Group("pesatlas.encoders", "encoder", ("load",)),
    "pesatlas.select.policies": Group("pesatlas.policies", "policy", ("PER_CLUSTER", "order", "choose")),
    BACKENDS: Group("pesatlas.backends", "backend", ("calculate", "levels", "elements")),
    "pesatlas.dataset.exporters": Group("pesatlas.exporters", "exporter", ("export",), options=False),
    "pesatlas.dataset.importers": Group("pesatlas.importers", "importer", ("read",), options=False),
    "pesatlas.benchmark.properties": Group(
        "pesatlas.benchmarks", "benchmark", ("SUITES", "VERSION", "QUANTITIES", "cases", "measure")
    ),
}
"""Entry points by the package of our own extensions of that sort."""


@dataclass(frozen=True)
class Plugin:
    """An extension of another distribution."""

    word: str
    name: str
    distribution: str
    version: str
    place: str
    """Module that the entry point names."""

    def __str__(self) -> str:
        """Return its name and distribution."""
        return f"{self.word} {self.name} ({self.distribution} {self.version})"


def available(package: str) -> list[str]:
    """Names of our own extensions in ``package`` (e.g. ``pesatlas.potentials.kinds``), sorted."""
    paths = import_module(package).__path__
    return sorted(m.name for m in iter_modules(paths) if not m.name.startswith("_"))


@cache
def _entry_points() -> Any:  # of another class since Python 3.12
    """Read what is installed, once in a process: it takes some 20 ms for 300 distributions."""
    return entry_points()


@cache
def _installed(package: str) -> dict[str, list[EntryPoint]]:
    """Entry points of the installed distributions by their name.

    Several of one name are of several distributions.
    """
    found: dict[str, list[EntryPoint]] = {}
    if package in GROUPS:
        for each in _entry_points().select(group=GROUPS[package].name):
            found.setdefault(each.name, []).append(each)
    return found


def installed(package: str) -> list[str]:
    """Names of extensions that other distributions add to ``package``, sorted.

    Those that have a name of ours do not count.
    """
    return sorted(set(_installed(package)) - set(available(package)))


def known(package: str) -> list[str]:
    """Names of all extensions in ``package``: ours, then those that are installed."""
    return [*available(package), *installed(package)]


def plugins(package: str, *, shadowed: bool = False) -> list[Plugin]:
    """Return extensions that other distributions add to ``package``.

    Or those that are left alone for having a name of ours.
    """
    own = set(available(package))
    return [
        _described(package, each)
        for name, many in sorted(_installed(package).items())
        if (name in own) is shadowed
        for each in many
    ]


def plugin(package: str, name: str) -> Plugin | None:
    """Return the distribution of extension ``name`` of ``package``; None if it is ours or missing."""
    return next((each for each in plugins(package) if each.name == name), None)


def find(package: str, name: str) -> Any:
    """Import the extension ``name`` of ``package``.

    Raises
    ------
    UserError
        If there is no such extension, the message lists those there are; or if it is of another distribution
        and cannot be used.
    """
    if name in available(package):
        return import_module(f"{package}.{name}")
    if name not in _installed(package):
        raise UserError(f"There is no '{name}' in {package}. Known: {', '.join(known(package))}.")
    return _load(package, name)


def level_of(backend: str) -> Any:
    """Import the module with the reference levels of a backend."""
    own = backend in available(BACKENDS)
    return import_module(f"pesatlas.levels.{backend}") if own else find(BACKENDS, backend)


@cache
def _load(package: str, name: str) -> Any:
    """Import an installed extension and look at it."""
    first, *others = _installed(package)[name]
    who = _described(package, first)
    if others:
        several = " and ".join(
            f"{each.distribution} {each.version}" for each in plugins(package) if each.name == name
        )
        raise UserError(f"{several} both have a {who.word} '{name}'. Uninstall one of them.")
    try:
        with redirect_stdout(sys.stderr):  # an answer of ours may be JSON
            found = first.load()
    except (Exception, SystemExit) as error:
        raise UserError(
            f"the {who} cannot be imported from {who.place}: {type(error).__name__}: {error}. Install what "
            f"it needs, or another version of {who.distribution}; or do not use it."
        ) from error
    if wrong := _wrong(GROUPS[package], name, found):
        raise UserError(
            f"the {who} cannot be used: {who.place} {wrong}. This is an error in {who.distribution}: report "
            f"it to its authors; docs/extending.md lists what a {who.word} must have."
        )
    return found


def _wrong(group: Group, name: str, found: Any) -> str:
    """Return the problem of an extension; empty if there is none."""
    if not (name.isidentifier() and name == name.lower() and name.isascii()):
        return (
            f"has the name '{name}', where lower-case letters, digits and _ are allowed (tables and files "
            "are called after it)"
        )
    missing = [each for each in group.has if not hasattr(found, each)]
    if missing:
        return f"has no {', no '.join(missing)}"
    if not group.options:
        return ""
    options = getattr(found, "Options", None)
    if not (isinstance(options, type) and issubclass(options, Section)):
        return "has no class Options that is a Section"
    kind = options.model_fields.get("kind")
    if kind is None or kind.annotation != Literal[name]:
        return f'has Options without `kind: Literal["{name}"]`'
    return ""


def _described(package: str, entry: EntryPoint) -> Plugin:
    name, version = (entry.dist.name, entry.dist.version) if entry.dist else ("an unknown distribution", "")
    return Plugin(GROUPS[package].word, entry.name, name, version, entry.value)


def options_of(package: str) -> Any:
    """Pydantic type that accepts the options of any extension in ``package``, told apart by ``kind``."""
    union = reduce(or_, [find(package, name).Options for name in available(package)])
    if package not in GROUPS:
        return Annotated[union, Discriminator("kind")]
    return Annotated[union, Discriminator("kind"), _Installed(package)]


def name_in(package: str) -> Any:
    """Pydantic type of a name of any extension in ``package``, whose extensions have no options."""
    return Annotated[Literal[tuple(available(package))], _InstalledName(package)]


@dataclass(frozen=True)
class _Installed:
    """Annotation of a type that accepts extensions of other distributions."""

    package: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate with the options of the kind; write values by what they are."""
        return core_schema.no_info_wrap_validator_function(
            self._validate,
            handler(source),
            serialization=core_schema.wrap_serializer_function_ser_schema(
                lambda value, write: write(value), schema=core_schema.any_schema()
            ),
        )

    def _validate(self, value: Any, own: core_schema.ValidatorFunctionWrapHandler) -> Any:
        kind = value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", None)
        found = self._found(kind)
        return own(value) if found is None else found.Options.model_validate(value)

    def _found(self, kind: Any) -> Any:
        """Return the installed extension of this name; None if there is none, or ours has it."""
        if (
            not isinstance(kind, str)
            or kind in available(self.package)
            or kind not in _installed(self.package)
        ):
            return None
        try:
            return find(self.package, kind)
        except UserError as error:
            # what it says may hold braces: it is no template
            raise PydanticCustomError("plugin", "{said}", {"said": str(error)}) from error

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Describe the installed ones, too; those that cannot be used are left out."""
        found = handler(schema)
        for name in installed(self.package):
            try:
                options = find(self.package, name).Options
            except UserError:
                continue
            found["oneOf"].append(handler(options.__pydantic_core_schema__))
        return found


class _InstalledName(_Installed):
    """The same for a type of names."""

    def _validate(self, value: Any, own: core_schema.ValidatorFunctionWrapHandler) -> Any:
        return own(value) if self._found(value) is None else value

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Name the installed ones, too."""
        found = handler(schema)
        found["enum"] = [*found["enum"], *installed(self.package)]
        return found
