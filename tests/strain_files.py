"""Strain tests of levels as `pesatlas doctor --strain` stores them, without a calculation."""

import json

from pesatlas.campaign.strain_test import Component, StrainTest, write_strain_test
from pesatlas.config.section import digest


def store(results, definition, *, off_gpa=0.03, **changes):
    """Store the test of the level with this definition, whose stress is off by ``off_gpa``."""
    test = StrainTest(
        level=definition["name"],
        fingerprint=digest(definition),
        backend="gpaw",
        definition=definition,
        code=definition["code"],
        command="mpirun /home/me/dft.x",
        crystal="Si",
        strain=0.005,
        free_energies_eV={"rest": -10.0, "xx+1": -10.1, "xx-1": -9.9},
        components={"xx": Component(stress_GPa=-5.0, slope_GPa=-5.0 - off_gpa)},
        difference_GPa=off_gpa,
        tolerance_GPa=1.0,
        verdict="passed" if off_gpa <= 1.0 else "failed",
        date="2026-11-29",
        pesatlas_version="0",
    )
    return write_strain_test(results, test.model_copy(update=changes))


def definitions(results):
    """Definitions of the levels of a finished campaign, by name."""
    surfaces = json.loads((results / "manifest.json").read_text())["surfaces"]
    return {level: surface["definition"] for level, surface in surfaces.items()}
