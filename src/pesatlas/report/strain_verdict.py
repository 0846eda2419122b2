"""Verdict on the stress of the labels, from the strain tests of `pesatlas doctor --strain`."""

from collections.abc import Mapping

from pesatlas.campaign.strain_test import StrainTest, strain_state
from pesatlas.report.report_verdict import Mark, Verdict

_HOW = (
    "At each level the stress of a small crystal, compressed and sheared, is compared with slopes of its "
    "free energy (pesatlas doctor --strain). A test is of the level with this fingerprint alone. State of "
    "the tests: "
)


def strained(tests: Mapping[str, StrainTest | None]) -> Verdict:
    """Return the verdict on whether the stress of each level is the slope of its energy."""
    known = {level: test for level, test in tests.items() if test is not None}
    untested = [level for level in tests if level not in known]
    mark: Mark = "not known" if untested else "fine"
    if not all(test.passed for test in known.values()):
        mark = "look"
    parts = [f"{level}: {test.sentence}" for level, test in known.items()]
    parts += [f"{' and '.join(untested)}: not tested (pesatlas doctor --strain)"] if untested else []
    return Verdict(
        "Is the stress of the labels the slope of their energy?",
        mark,
        f"{'; '.join(parts)}.",
        f"{_HOW}{strain_state(tests.values()) or 'none was made'}.",
        ("level", "crystal", "component", "stress (GPa)", "slope of the free energy (GPa)"),
        [row for level, test in known.items() for row in _rows(level, test)],
    )


def _rows(level: str, test: StrainTest) -> list[tuple[str, ...]]:
    return [
        (level, test.crystal, name, f"{each.stress_GPa:.3f}", f"{each.slope_GPa:.3f}")
        for name, each in test.components.items()
    ]
