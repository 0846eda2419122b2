"""Tests of every extension that has options."""

import json
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

import pytest
from pydantic import TypeAdapter, ValidationError

from pesatlas.config import plugins
from pesatlas.config.section import Section

_IMPORTS = """
import json, sys
from pesatlas.config import plugins
from pesatlas.errors import UserError

# what all of them have by then; of several that import the same, the first is told of
heavy, found = {"torch", "ase", "pymatgen", "matgl", "sklearn", "scipy", "pandas", "numba"}, {}
for package in plugins.GROUPS:
    for name in plugins.known(package):
        before = set(sys.modules)
        try:
            plugins.find(package, name)
        except UserError:
            continue
        found[f"{package} {name}"] = sorted(heavy & (set(sys.modules) - before))
print(json.dumps(found))
"""


@cache
def _imports() -> dict[str, list[str]]:
    """Heavy packages that importing each extension imports, seen in a fresh process."""
    done = subprocess.run([sys.executable, "-c", _IMPORTS], capture_output=True, text=True, check=True)
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


class NamedTests:
    """Tests of an extension that is found by its name.

    Attributes
    ----------
    kind : its name, that of the entry point
    """

    package: ClassVar[str]
    kind: ClassVar[str]

    @pytest.fixture(scope="class")
    @classmethod
    def module(cls) -> Any:
        """Find the extension as a campaign finds it."""
        return plugins.find(cls.package, cls.kind)

    def test_it_is_light_to_import(self) -> None:
        assert _imports()[f"{self.package} {self.kind}"] == [], "import these inside functions"


class ExtensionTests(NamedTests):
    """Tests of an extension with options.

    Attributes
    ----------
    options : given to its class ``Options``; override the fixture ``given`` for those that need files
    other_options : of them, those to change to get other results; without any, that is not tested
    """

    options: ClassVar[Mapping[str, Any]] = {}
    other_options: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture(scope="class")
    @classmethod
    def given(cls) -> dict[str, Any]:
        """Options as a configuration gives them."""
        return dict(cls.options)

    @pytest.fixture(scope="class")
    @classmethod
    def settings(cls, module: Any, given: dict[str, Any]) -> Section:
        """Check the options."""
        found: Section = module.Options(**given)
        return found

    @pytest.fixture(scope="class")
    @classmethod
    def other_settings(cls, module: Any, given: dict[str, Any]) -> Section:
        """Options that give other results."""
        if not cls.other_options:
            pytest.skip("no other_options: nothing is known that would give other results")
        found: Section = module.Options(**{**given, **cls.other_options})
        return found

    def test_a_configuration_takes_its_options_and_gives_them_back(self, settings: Section) -> None:
        read = TypeAdapter(plugins.options_of(self.package)).validate_python
        for mode in ("json", "python"):
            assert read(settings.model_dump(mode=mode)) == settings

    def test_a_key_that_it_does_not_know_is_refused(self, module: Any, given: dict[str, Any]) -> None:
        with pytest.raises(ValidationError, match="extra_forbidden"):
            module.Options(**given, no_such_key=1)

    def test_another_kind_is_refused(self, module: Any, given: dict[str, Any]) -> None:
        with pytest.raises(ValidationError, match="kind"):
            module.Options(**{**given, "kind": "no_such_kind"})

    def test_every_option_says_what_it_means(self, settings: Section) -> None:
        silent = [name for name, field in type(settings).model_fields.items() if not field.description]
        assert set(silent) <= {"kind"}, "give Field(..., description=...)"

    def test_its_identity_is_json(self, settings: Section) -> None:
        assert json.loads(json.dumps(settings.identity())) == settings.identity()
        assert settings.identity()["kind"] == self.kind

    def test_its_identity_is_of_what_decides_results(
        self, settings: Section, other_settings: Section
    ) -> None:
        changed = {name for name in self.other_options if name in settings.identity()}
        assert changed == set(self.other_options), "these decide results: they must not be Runtime fields"
        assert other_settings.identity() != settings.identity()
