import subprocess
import sys

import pytest
from pydantic import ValidationError

from pesatlas.config.structures import Structures

DEMO = [{"kind": "demo"}]


def test_defaults():
    structures = Structures(sources=DEMO)
    assert [d.kind for d in structures.domains] == ["bulk"]
    assert structures.min_distance_A == 0.5
    assert structures.remove_duplicates
    assert structures.elements is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sources": []}, "at least 1 item"),
        ({}, "Field required"),
        ({"sources": [{"kind": "cod"}]}, "'demo', 'files', 'materials_project'"),
        ({"sources": DEMO, "domains": []}, "at least 1 item"),
        ({"sources": DEMO, "domains": [{"kind": "bulk"}, {"kind": "bulk"}]}, "'bulk' is listed twice"),
        ({"sources": DEMO, "elements": ["Si", "Sx"]}, "'Sx' is not a chemical symbol"),
        ({"sources": DEMO, "elements": ["si"]}, "'si' is not a chemical symbol; did you mean 'Si'"),
        ({"sources": DEMO, "elements": []}, "at least 1 item"),
        ({"sources": DEMO, "max_atoms": 0}, "greater than or equal to 1"),
        ({"sources": DEMO, "min_distance_A": 0}, "greater than 0"),
        ({"sources": [{"kind": "files", "paths": []}]}, "at least 1 item"),
        ({"sources": [{"kind": "materials_project", "elements": ["Zz"]}]}, "'Zz' is not a chemical symbol"),
    ],
)
def test_bad_input(wrong, message):
    with pytest.raises(ValidationError, match=message):
        Structures(**wrong)


def test_reading_a_configuration_imports_nothing_heavy():
    code = (
        "import sys; from pesatlas.config.structures import Structures; Structures(sources=[{'kind': "
        "'demo'}]);"
        "print([m for m in ('torch', 'pymatgen', 'ase', 'gpaw', 'mp_api', 'spglib', 'vesin') if m in "
        "sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_symbols_are_those_of_the_periodic_table():
    from ase.data import chemical_symbols

    from pesatlas.atoms.elements import SYMBOLS, atomic_number, symbol_of

    assert list(SYMBOLS) == chemical_symbols[1:]
    assert (atomic_number("Og"), symbol_of(118), symbol_of(0)) == (118, "Og", "Z=0")
