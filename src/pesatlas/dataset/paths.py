"""Paths of a campaign's tables under ``results/``."""

from dataclasses import dataclass
from pathlib import Path

from pesatlas.config.select import groups
from pesatlas.tables import read_entry


@dataclass(frozen=True)
class Results:
    """The files of one campaign, as its manifests (not a look at the folder) say they are.

    A folder may hold more, e.g. batches of an earlier run with other batch sizes: those belong to nothing.
    """

    root: Path
    label_batches: int
    levels: tuple[str, ...]

    @property
    def structures(self) -> Path:
        """The table of cells."""
        return self.root / "structures.parquet"

    @property
    def selection(self) -> Path:
        """The table of picks."""
        return self.root / "selection.parquet"

    @property
    def atoms(self) -> Path:
        """The table of isolated atoms."""
        return self.root / "labels" / "atoms.parquet"

    def of_batches(self, folder: str) -> list[Path]:
        """One file for each explore batch in ``snapshots``, ``features`` and the like."""
        return self._numbered(folder, read_entry(self.structures).counts["batches"])

    def of_groups(self, folder: str) -> list[Path]:
        """One file for each group of explore batches in ``select/clusters`` and ``select/candidates``."""
        return [self.root / folder / f"{name}.parquet" for name in groups(len(self.of_batches("")))]

    @property
    def labels(self) -> list[Path]:
        """The tables of labels, one for each label batch."""
        return self._numbered("labels", self.label_batches)

    @property
    def label_failures(self) -> list[Path]:
        """Calculations that gave no label, one table for each label batch."""
        return self._numbered("failures/label", self.label_batches)

    @property
    def failures(self) -> list[Path]:
        """Every table of failures but that of the dataset itself."""
        folder = self.root / "failures"
        return [
            folder / "structures.parquet",
            folder / "atoms.parquet",
            *self.of_batches("failures/explore"),
            *self.label_failures,
        ]

    @property
    def dataset_failures(self) -> Path:
        """What was labelled but not accepted."""
        return self.root / "failures" / "dataset.parquet"

    def dataset(self, level: str) -> Path:
        """Return the dataset of one level."""
        return self.root / "dataset" / level / "part-00000.parquet"

    def quarantine(self, level: str) -> Path:
        """Return the labels of one level that are not in its dataset, as rows of the same table."""
        return self.root / "quarantine" / f"{level}.parquet"

    def tables(self) -> list[Path]:
        """Every table file, in the order in which data flow."""
        return [
            self.structures,
            *self.of_batches("snapshots"),
            *self.of_batches("features"),
            *self.of_groups("select/clusters"),
            *self.of_groups("select/candidates"),
            *self.of_committee(),
            self.selection,
            self.root / "select" / "quality.parquet",
            self.atoms,
            *self.labels,
            *[self.dataset(level) for level in self.levels],
            *[self.quarantine(level) for level in self.levels],
            *self.failures,
            self.dataset_failures,
        ]

    def of_committee(self) -> list[Path]:
        """Return what a committee said, if the campaign is a round after the first."""
        calibration = self.root / "select" / "calibration.parquet"
        return [calibration, *self.of_groups("select/disagreement")] if calibration.is_file() else []

    def _numbered(self, folder: str, count: int) -> list[Path]:
        return [self.root / folder / f"{i:05d}.parquet" for i in range(count)]
