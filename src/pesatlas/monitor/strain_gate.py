"""Strain tests of a campaign's levels, looked up before it starts: a level that failed does not label."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pesatlas.campaign.layout import folder_of
from pesatlas.campaign.strain_test import StrainTest, read_strain_test, strain_sentence
from pesatlas.config.campaign import Campaign
from pesatlas.errors import UserError
from pesatlas.levels.lookup import levels_of
from pesatlas.monitor.check import Check


@dataclass(frozen=True)
class LevelTest:
    """A level of a campaign as it is configured now, and its strain test.

    Attributes
    ----------
    test : None if the level was not tested with these settings and programs
    """

    level: str
    test: StrainTest | None

    @property
    def refusal(self) -> str:
        """Reason why the campaign does not start, with the remedy; empty if it does."""
        test = self.test
        if test is None or test.passed:
            return ""
        return (
            f"level {self.level} failed its strain test: its stress differs from the slope of its energy by "
            f"{test.difference_GPa:.2f} GPa (at most {test.tolerance_GPa:g} GPa; {test.crystal}, "
            f"{test.date}). Labels would have wrong stresses. Use another version or build of the program, "
            "or other settings (a higher cut-off or quality), and test it again: `pesatlas doctor --strain`."
        )


def tests_of_levels(campaign: Campaign, results: Path) -> list[LevelTest]:
    """Return the strain test of each level of a campaign.

    The levels themselves are read only where a test is stored, so that programs and pseudopotentials need not
    be there otherwise.

    Raises
    ------
    UserError
        If a level has stored tests, and its definition cannot be read here.
    """
    backend: Any = campaign.label.backend
    found = []
    for name in campaign.label.levels:
        test = None
        if any((results / folder_of("strain")).glob(f"{name}-*.json")):
            (level,) = levels_of(backend, [name]).values()
            test = read_strain_test(results, name, level.fingerprint)
        found.append(LevelTest(name, test if test is not None and test.backend == backend.kind else None))
    return found


def refusals(campaign: Campaign, results: Path) -> list[str]:
    """Return why a campaign must not start, a message for each level; empty if it may."""
    return [each.refusal for each in tests_of_levels(campaign, results) if each.refusal]


def strain_lines(campaign: Campaign, results: Path) -> Iterator[Check]:
    """Yield a line on the strain test of each level.

    A test that was never made is a note.
    """
    try:
        tests = tests_of_levels(campaign, results)
    except UserError as error:
        # a run looks them up before its first job, and refuses
        yield Check(
            False, f"strain tests in {results / folder_of('strain')}/ cannot be looked up", str(error)
        )
        return
    untested = [each.level for each in tests if each.test is None]
    for each in tests:
        if each.test is not None:
            text = f"level {each.level}, {strain_sentence(each.test)}"
            yield Check(each.test.passed, text, each.refusal)
    if untested:
        several = f"level{'s' if len(untested) > 1 else ''} {' and '.join(untested)}"
        yield Check(True, f"{several}, {strain_sentence(None)} (`pesatlas doctor --strain`)", doubtful=True)
