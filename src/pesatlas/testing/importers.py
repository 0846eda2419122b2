"""Tests of an importer: numbers, units and signs; torn files are reported."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from pesatlas.dataset.imported import import_dataset
from pesatlas.errors import UserError
from pesatlas.frames.frame import Refusal
from pesatlas.tables import read_table
from pesatlas.tables.failures import failures_beside
from pesatlas.testing.extension import NamedTests
from pesatlas.testing.labelled_dataset import by_finite_strain, strained


class ImporterTests(NamedTests):
    """Tests of an importer (``pesatlas.importers``); a subclass has to have ``write``.

    Attributes
    ----------
    file : name of the file that is written
    energy_eV, force_eV_per_A, stress_eV_per_A3 : by how much numbers may differ from those that were written
    """

    package = "pesatlas.dataset.importers"
    file: ClassVar[str]
    energy_eV: ClassVar[float] = 1e-7
    force_eV_per_A: ClassVar[float] = 1e-7
    stress_eV_per_A3: ClassVar[float] = 1e-7

    @staticmethod
    def write(path: Path, frames: list[Atoms]) -> None:
        """Write structures with their labels as the program does, in its own units.

        Each has a calculator with energy (eV), forces (eV/Å) and stress (eV/Å³, tension positive, Voigt) and
        its name in ``info["snapshot_id"]``, which is kept where the form keeps names.
        """
        raise NotImplementedError(f"write {len(frames)} structures into {path}")

    @pytest.fixture(scope="class")
    @classmethod
    def frames(cls) -> list[Atoms]:
        """Make a crystal under each of six strains, both ways, with its labels."""
        found = []
        for name, atoms in strained():
            atoms.calc = EMT()
            labels = {
                "energy": atoms.get_potential_energy(),
                "forces": atoms.get_forces(),
                "stress": atoms.get_stress(),
            }
            atoms.calc = SinglePointCalculator(atoms, **labels)
            atoms.info["snapshot_id"] = name
            found.append(atoms)
        return found

    @pytest.fixture(scope="class")
    @classmethod
    def path(cls, frames: list[Atoms], tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Write the file."""
        path = tmp_path_factory.mktemp("theirs") / cls.file
        cls.write(path, frames)
        return path

    def test_rows_have_the_numbers_that_were_written(
        self, path: Path, frames: list[Atoms], tmp_path: Path
    ) -> None:
        table = tmp_path / "imported.parquet"
        assert import_dataset(path, "pbe", table, self.kind) == len(frames)
        rows = read_table(table, "imported").to_pylist()
        assert len({row["snapshot_id"] for row in rows}) == len(rows)
        for row, atoms in zip(rows, frames, strict=True):
            assert row["numbers"] == atoms.numbers.tolist()
            assert np.abs(np.array(row["cell_A"]) - atoms.cell.array.ravel()).max() < 1e-6
            assert np.abs(np.array(row["positions_A"]) - atoms.positions.ravel()).max() < 1e-6
            assert row["energy_eV"] == pytest.approx(atoms.get_potential_energy(), abs=self.energy_eV)
            forces = np.array(row["forces_eV_per_A"])
            assert np.abs(forces - atoms.get_forces().ravel()).max() < self.force_eV_per_A
            if row["stress_eV_per_A3"] is not None:
                stress = np.array(row["stress_eV_per_A3"])
                assert np.abs(stress - atoms.get_stress()).max() < self.stress_eV_per_A3
        energies = {
            atoms.info["snapshot_id"]: row["energy_eV"] for row, atoms in zip(rows, frames, strict=True)
        }
        if rows[0]["stress_eV_per_A3"] is not None:
            slopes = by_finite_strain(energies, frames[0].get_volume())
            assert np.abs(np.array(rows[0]["stress_eV_per_A3"]) - slopes).max() < 1e-4, "tension is positive"

    def test_entries_are_rows_or_refusals(self, path: Path, module: Any) -> None:
        for each in module.read(path):
            assert isinstance(each, dict | Refusal)
            if isinstance(each, dict):
                n = len(each["numbers"])
                assert [len(each[name]) for name in ("positions_A", "forces_eV_per_A", "cell_A")] == [
                    3 * n,
                    3 * n,
                    9,
                ]

    def test_what_a_torn_file_has_lost_is_said(self, path: Path, frames: list[Atoms], tmp_path: Path) -> None:
        torn, table = tmp_path / self.file, tmp_path / "imported.parquet"
        torn.write_bytes(path.read_bytes()[: -(path.stat().st_size // 3)])
        try:
            rows = import_dataset(torn, "pbe", table, self.kind)
        except UserError:
            return  # nothing of it can be read, which was said
        assert rows < len(frames)
        assert read_table(failures_beside(table), "failures").num_rows > 0

    def test_no_dataset_at_all_is_an_error_for_people(self, tmp_path: Path) -> None:
        nothing = tmp_path / self.file
        nothing.write_bytes(b"\x00 this is none \xff")
        with pytest.raises(UserError):
            import_dataset(nothing, "pbe", tmp_path / "imported.parquet", self.kind)
        assert not (tmp_path / "imported.parquet").exists()
