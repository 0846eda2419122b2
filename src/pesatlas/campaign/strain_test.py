"""Strain tests of reference levels: results of `pesatlas doctor --strain`, stored beside a campaign's tables.

A test belongs to exactly the level, settings, pseudopotentials and program version of its fingerprint: after
a change of any of them the level counts as not tested.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import ValidationError, model_validator

from pesatlas.campaign.dataset_state import CARD, PAGE, REPORT
from pesatlas.campaign.layout import below
from pesatlas.config.section import Section, digest
from pesatlas.errors import UserError
from pesatlas.storage.atomic import write_text

_PREFIX = "pesatlas-strain-"


class Component(Section):
    """One component of the stress, GPa, and the slope of the free energy that it is compared with."""

    stress_GPa: float
    slope_GPa: float


class StrainTest(Section):
    """The outcome of one strain test.

    Attributes
    ----------
    definition : the whole level, whose hash is the fingerprint
    code : programs and data with their versions
    command : command that started the program, as configured; None where the configuration has none
    strain : amplitude of the strains, in no unit
    free_energies_eV : of the crystal at rest, and of each strained one
    components : normal and shear components
    difference_GPa, tolerance_GPa : the largest difference of a component, and the largest allowed one
    date : day of the test, ISO 8601, UTC
    """

    level: str
    fingerprint: str
    backend: str
    definition: dict[str, Any]
    code: dict[str, str]
    command: str | None
    crystal: str
    strain: float
    free_energies_eV: dict[str, float]
    components: dict[str, Component]
    difference_GPa: float
    tolerance_GPa: float
    verdict: Literal["passed", "failed"]
    date: str
    pesatlas_version: str

    @model_validator(mode="after")
    def _verdict_follows(self) -> Self:
        if (self.verdict == "passed") != (self.difference_GPa <= self.tolerance_GPa):
            raise ValueError(
                f"verdict {self.verdict} with a difference of {self.difference_GPa:g} GPa, of which "
                f"{self.tolerance_GPa:g} are allowed"
            )
        return self

    @property
    def passed(self) -> bool:
        """Whether stress and energy agree within the tolerance."""
        return self.verdict == "passed"

    @property
    def sentence(self) -> str:
        """The result in a clause, e.g. for a card."""
        limit = "" if self.passed else f" (at most {self.tolerance_GPa:g} GPa)"
        programs = ", ".join(f"{name} {version}" for name, version in self.code.items())
        return (
            f"{'' if self.passed else 'FAILED, '}{self.difference_GPa:.2f} GPa off{limit} at strains of "
            f"{100 * self.strain:g} %, tested {self.date} with {programs} on {self.crystal}"
        )


def write_strain_test(results: Path, test: StrainTest) -> Path:
    """Write a test below ``results``, in the place of an earlier one of the same level; return its path."""
    path = below(results, "strain", level=test.level, fingerprint=test.fingerprint)
    write_text(path, test.model_dump_json(indent=1) + "\n")
    return path


def read_strain_test(results: Path, level: str, fingerprint: str) -> StrainTest | None:
    """Return the test of a level; None if the level of this fingerprint was not tested.

    Raises
    ------
    UserError
        If the file is damaged, or of another level.
    """
    path = below(results, "strain", level=level, fingerprint=fingerprint)
    try:
        found = StrainTest.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValidationError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} cannot be read ({type(error).__name__}): it was changed or truncated. Delete it, and "
            "test the level again: `pesatlas doctor --strain`."
        ) from error
    if (found.level, found.fingerprint, digest(found.definition)) != (level, fingerprint, fingerprint):
        raise UserError(
            f"{path} is the test of another level than its name tells. Delete it, and test the level again: "
            "`pesatlas doctor --strain`."
        )
    return found


def strain_tests(results: Path, manifest: Mapping[str, Any]) -> dict[str, StrainTest | None]:
    """Return the test of each level of a dataset; None for a level that was not tested.

    Of a level with rows of several fingerprints, a failed test counts before a missing one.
    """
    found: dict[str, StrainTest | None] = {}
    for level in manifest["levels"]:
        there = tests_of_level(results, manifest, level)
        worst = max(there, key=lambda test: (not test.passed, test.difference_GPa), default=None)
        whole = len(there) == len(_fingerprints(manifest, level))
        found[level] = worst if whole or (worst and not worst.passed) else None
    return found


def tests_of_level(results: Path, manifest: Mapping[str, Any], level: str) -> list[StrainTest]:
    """Return the tests of all fingerprints that rows of a level have; those not tested are left out."""
    found = [read_strain_test(results, level, each) for each in _fingerprints(manifest, level)]
    return [test for test in found if test is not None]


def _fingerprints(manifest: Mapping[str, Any], level: str) -> list[str]:
    return list(manifest.get("surfaces", {}).get(level, {}).get("fingerprints", []))


def strain_sentence(test: StrainTest | None) -> str:
    """Return the result of a level's test in a clause, or that it was not tested."""
    return f"stress against strain: {'not tested' if test is None else test.sentence}"


def strain_caveats(tests: Mapping[str, StrainTest | None]) -> list[str]:
    """Return warnings on levels that failed their test."""
    return [
        f"stresses at {level} differ from slopes of the energy by up to {test.difference_GPa:.2f} GPa"
        for level, test in tests.items()
        if test is not None and not test.passed
    ]


def strain_state(tests: Iterable[StrainTest | None]) -> str | None:
    """Return a name of the state of these tests, which card and report carry; None if nothing was tested."""
    known = [test.model_dump(exclude={"command"}) for test in tests if test is not None]
    return f"{_PREFIX}{digest(known)}" if known else None


def shows_other_tests(results: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Return the files of card and report below ``results`` that show other strain tests than are stored."""
    state = strain_state(strain_tests(results, manifest).values())
    found = []
    for name in (CARD, PAGE, REPORT):
        path = results / name
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            if (state is None and _PREFIX in text) or (state is not None and state not in text):
                found.append(name)
    return found
