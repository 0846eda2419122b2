"""CIFs of public data written and read again, and cases from public reports; they skip where ``../shared``
is not there."""

import gzip
import json
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pesatlas.atoms.elements import symbol_of
from pesatlas.structures.crystal import Crystal, Rejected
from pesatlas.structures.readers import read_file

SHARED = Path(__file__).parents[3] / "shared"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared beside the checkout")
SETS = {"mp-elasticity.json.gz": 40, "wbm-equilibrium.json.gz": 20, "alexandria-phonon.json.gz": 20}
"""So many crystals of each, evenly spread: all of them take 4 minutes, and none is refused then either."""


@needs_shared
@pytest.mark.parametrize("symprec", [None, 0.01])
@pytest.mark.parametrize("name", SETS)
def test_no_good_crystal_is_refused(tmp_path, name, symprec):
    from pymatgen.core import Structure
    from pymatgen.io.cif import CifWriter

    with gzip.open(SHARED / "data" / name) as file:
        entries = json.load(file)
    for entry in entries[:: len(entries) // SETS[name]]:
        structure = Structure.from_dict(entry["structure"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (tmp_path / "a.cif").write_text(str(CifWriter(structure, symprec=symprec)))
        (found,) = read_file(tmp_path / "a.cif")
        assert isinstance(found, Crystal), found
        times = len(found.numbers) / len(structure)
        assert abs(np.linalg.det(found.cell)) == pytest.approx(times * structure.volume, rel=1e-3)
        counts = Counter(symbol_of(int(z)) for z in found.numbers)
        assert counts == {str(e): n * times for e, n in structure.composition.items()}


@needs_shared
def test_the_cases_of_missing_atoms():
    found = {}
    for path in sorted((SHARED / "cases" / "cif-missing-atoms").glob("*.cif")):
        (found[path.stem],) = read_file(path)
    assert sorted(Counter(found.pop("occupancy-dot").numbers.tolist()).values()) == [1, 1, 3]
    assert len(found) == 5
    for name, each in found.items():
        assert isinstance(each, Rejected), name
        assert each.reason in {"incomplete", "ambiguous_setting"}, name
        assert "the file's formula is " in each.detail, name
        assert "its sites give " in each.detail, name


@needs_shared
def test_the_case_of_a_block_for_the_article():
    (found,) = read_file(SHARED / "cases" / "cif-global-block" / "global.cif")
    assert sorted(found.numbers.tolist()) == [8, 8, 8, 22, 38]
