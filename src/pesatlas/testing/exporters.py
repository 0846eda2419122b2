"""Tests of an exporter: its target program reads the same numbers, units and signs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
from ase import Atoms

from pesatlas.campaign.layout import below
from pesatlas.dataset.convert import to_ase
from pesatlas.dataset.export import RECORD, export_dataset
from pesatlas.tables import read_table
from pesatlas.testing.extension import NamedTests
from pesatlas.testing.labelled_dataset import LEVELS, by_finite_strain, write_results

_BOTH = ("accepted", "flagged")


class Read(NamedTuple):
    """A row that was read back.

    Attributes
    ----------
    atoms : as the program has it
    energy_eV : total
    forces_eV_per_A : (n, 3)
    stress_eV_per_A3 : (6,), tension positive, xx yy zz yz xz xy
    split : train, valid or test; None if the form does not keep it
    """

    atoms: Atoms
    energy_eV: float
    forces_eV_per_A: Any
    stress_eV_per_A3: Any
    split: str | None


class ExporterTests(NamedTests):
    """Tests of an exporter (``pesatlas.exporters``); a subclass has to have ``read``.

    Attributes
    ----------
    reproducible : whether the same dataset gives the same bytes
    energy_eV, force_eV_per_A, stress_eV_per_A3 : by how much numbers may differ from those of the dataset
    slope_eV_per_A3 : by how much a stress may differ from the slope of the energies that were read
    """

    package = "pesatlas.dataset.exporters"
    reproducible: ClassVar[bool] = True
    energy_eV: ClassVar[float] = 1e-9
    force_eV_per_A: ClassVar[float] = 1e-8
    stress_eV_per_A3: ClassVar[float] = 1e-8
    slope_eV_per_A3: ClassVar[float] = 1e-6

    @staticmethod
    def read(folder: Path, level: str, names: list[str]) -> Mapping[str, Read | tuple[Any, ...]]:
        """Read one level of an export with the program that it is for, in eV and Å, by ``snapshot_id``.

        ``names`` are those of the rows in their order, for forms that do not keep them.
        """
        raise NotImplementedError(
            f"read {level} in {folder} with the program that the export is for: {names}"
        )

    @pytest.fixture(scope="class")
    @classmethod
    def results(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Make a dataset at two levels, of 13 rows each."""
        return write_results(tmp_path_factory.mktemp("dataset"))

    @pytest.fixture(autouse=True)
    def _elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Go to an empty folder: some libraries make folders where they are."""
        monkeypatch.chdir(tmp_path)

    @pytest.mark.parametrize("level", LEVELS)
    def test_it_is_read_back_with_the_same_numbers_and_a_stress_that_follows_from_its_energies(
        self, results: Path, tmp_path: Path, level: str
    ) -> None:
        export_dataset(results, self.kind, tmp_path / "export", verdicts=_BOTH)
        rows = _rows(results, level)
        found = {
            name: Read(*each) for name, each in self.read(tmp_path / "export", level, list(rows)).items()
        }
        self.check_same(found, rows)
        by_name = {name.split(":")[-1]: each for name, each in found.items()}
        start = by_name["start"]
        scale = 1.1 if level == "r2scan" else 1
        energies = {name: each.energy_eV / scale for name, each in by_name.items()}
        slopes = by_finite_strain(energies, start.atoms.get_volume())
        assert np.abs(np.array(start.stress_eV_per_A3) - slopes).max() < self.slope_eV_per_A3
        assert np.abs(start.stress_eV_per_A3).max() > 0.01
        # no two components alike: their order counts
        assert len(set(np.round(start.stress_eV_per_A3, 3))) == 6

    @classmethod
    def check_same(cls, found: Mapping[str, Any], rows: Mapping[str, dict[str, Any]]) -> None:
        """Check that what a program read is what the rows of the dataset are.

        Units, signs, order of atoms, splits.
        """
        assert set(found) == set(rows)
        for name, each in found.items():
            row, read = rows[name], Read(*each)
            expected = to_ase(row)
            assert read.atoms.numbers.tolist() == row["numbers"]
            assert np.abs(read.atoms.cell.array - expected.cell.array).max() < 1e-7
            assert np.abs(read.atoms.positions - expected.positions).max() < 1e-7
            assert read.energy_eV == pytest.approx(row["energy_eV"], abs=cls.energy_eV)
            forces = np.reshape(read.forces_eV_per_A, -1)
            assert np.abs(forces - row["forces_eV_per_A"]).max() < cls.force_eV_per_A
            stress = np.asarray(read.stress_eV_per_A3)
            assert np.abs(stress - row["stress_eV_per_A3"]).max() < cls.stress_eV_per_A3
            assert read.split in {row["split"], None}

    def test_only_rows_that_are_asked_for_are_exported(self, results: Path, tmp_path: Path) -> None:
        rows = _rows(results, LEVELS[0])
        export_dataset(results, self.kind, tmp_path / "export", verdicts=["accepted"])
        names = [name for name, row in rows.items() if row["verdict"] == "accepted"]
        assert set(self.read(tmp_path / "export", LEVELS[0], names)) == set(names)
        assert len(names) == 12 < len(rows)

    def test_files_are_told_and_lie_in_the_folder(self, results: Path, tmp_path: Path) -> None:
        folder = tmp_path / "export"
        told = export_dataset(results, self.kind, folder, verdicts=_BOTH)
        assert all(path.is_file() and path.is_relative_to(folder) for path in told)
        written = {path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")}
        assert written == {*told, folder / RECORD}, "export returns every file that it writes"

    def test_the_same_dataset_gives_the_same_bytes(self, results: Path, tmp_path: Path) -> None:
        if not self.reproducible:
            pytest.skip("its form holds times")
        files = []
        for name in ("a", "b"):
            export_dataset(results, self.kind, tmp_path / name, verdicts=_BOTH)
            files.append(json.loads((tmp_path / name / RECORD).read_text())["files"])
        assert files[0] == files[1]


def _rows(results: Path, level: str) -> dict[str, dict[str, Any]]:
    path = below(results, "dataset", level=level)
    return {row["snapshot_id"]: row for row in read_table(path, "dataset").to_pylist()}
