"""Every property keeps what is promised of all."""

import gzip
import json

import pytest

from pesatlas import testing
from pesatlas.config.plugins import available
from pesatlas.testing.analytic import LennardJones, entry

IONS = {"ion": "Ar", "charge": 1, "temperature_K": 60.0}
CASES = {
    "relaxation": {"other_options": {"perturb_A": 0.2}},
    "elasticity": {"other_options": {"fmax_eV_per_A": 0.01}},
    "heat_capacity": {"options": {"min_length_A": 5.0}, "other_options": {"temperature_K": 100.0}},
    "formation_energy": {"other_options": {"perturb_A": 0.2}},
    "md_stability": {
        "options": {"min_length_A": 0, "length_ps": 0.1, "first_K": 20, "last_K": 40},
        "other_options": {"last_K": 30},
    },
    "conductivity": {
        "options": {
            "min_length_A": 0,
            "length_ps": 0.2,
            "equilibration_ps": 0.05,
            "frame_fs": 4.0,
            "blocks": 2,
        },
        "other_options": {"length_ps": 0.3},
        "entries": IONS,
    },
    "speed": {"options": {"atoms": 8, "repeats": 1}, "other_options": {"atoms": 16}},
    "test_error": {},
    "softening": {},
}

for kind, about in CASES.items():
    globals()[f"Test_{kind}"] = type(
        f"Test_{kind}", (testing.PropertyTests,), {"kind": kind, "__module__": __name__, **about}
    )


@pytest.fixture(autouse=True)
def argon_alone(request):
    """Lay down the crystal of the element, which formation energies are counted from."""
    if "sources" in request.fixturenames:
        sources = request.getfixturevalue("sources")
        elements = {"Ar": entry("Ar", LennardJones().crystal())}
        path = sources.data / "MatPES-PBE-Element-Refs.json.gz"
        path.write_bytes(gzip.compress(json.dumps(elements).encode(), mtime=0))


def test_every_property_is_tested():
    assert set(CASES) == set(available("pesatlas.benchmark.properties"))
