"""A campaign's tables in Python: lazy tables, SQL, pymatgen structures, ASE atoms with labels."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from pesatlas.campaign.finished import read_campaign_manifest
from pesatlas.campaign.layout import is_file_of
from pesatlas.campaign.so_far import UNFINISHED, read_manifest_so_far
from pesatlas.dataset.convert import to_ase, to_pymatgen
from pesatlas.dataset.queries import add_views, asking, check_reads_only, write_rows
from pesatlas.dataset.query_files import WRITERS, XYZ, with_structure
from pesatlas.errors import UserError
from pesatlas.tables import SCHEMAS
from pesatlas.tables.failures import BESIDE
from pesatlas.tables.label_verdicts import ACCEPTED, FLAGGED

if TYPE_CHECKING:
    import duckdb
    from ase import Atoms
    from pymatgen.core import Structure

_TOGETHER = ("dataset", "quarantine")
"""Two names for files of the table ``dataset``, by where they lie."""


class Atlas:
    """A finished campaign.

    Examples
    --------
    >>> atlas = pesatlas.open("results")
    >>> atlas.tables
    ['structures', 'snapshots', ..., 'dataset', 'quarantine', 'failures']
    >>> atlas.query("SELECT verdict, count(*) FROM dataset GROUP BY 1").to_pandas()
    >>> for atoms in atlas.atoms("pbe", split="train"):
    ...     atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()

    Attributes
    ----------
    root : the folder
    manifest : its ``manifest.json``; of a campaign that has not finished, one of the tables that are there
    unfinished : lines on what is not there yet; empty of a finished campaign
    levels : reference levels
    """

    def __init__(self, root: Path, *, so_far: bool = False) -> None:
        """Open a finished campaign; with ``so_far``, also one that has not finished."""
        self.root = root
        self.manifest = read_manifest_so_far(root) if so_far else read_campaign_manifest(root)
        self.unfinished: list[str] = self.manifest.get(UNFINISHED, [])
        self.levels: list[str] = self.manifest["levels"]

    def __repr__(self) -> str:
        return f"<Atlas {self.manifest['campaign']} at {', '.join(self.levels)} in {self.root}>"

    @property
    def tables(self) -> list[str]:
        """Names of the tables there are, in the order in which data flow."""
        return list(self.files())

    def table(self, name: str) -> ds.Dataset:
        """Return a table as a pyarrow dataset.

        Nothing is read before ``to_table``, ``scanner`` or ``to_batches`` is called.

        Columns that an older schema version did not have are null.

        Raises
        ------
        UserError
            If there is no such table.
        """
        files = self.files()
        if name not in files:
            raise UserError(f"{self.root} has no table '{name}'. There are: {', '.join(files)}.")
        for file in files[name]:
            if not Path(file).is_file():
                raise UserError(
                    f"table {name} of {self.root}: {file} is missing. `pesatlas verify {self.root}` tells "
                    "all that is wrong; `pesatlas run` makes it again."
                )
        fields = [field.with_nullable(True) for field in SCHEMAS["dataset" if name in _TOGETHER else name]]
        return ds.dataset(files[name], schema=pa.schema(fields), format="parquet")

    def connect(self) -> "duckdb.DuckDBPyConnection":
        """Return a DuckDB connection in which every table is a view of its name.

        What else it may do is up to you.
        """
        import duckdb  # noqa: PLC0415 - slow to import

        connection = duckdb.connect()
        add_views(connection, self)
        return connection

    def query(self, sql: str, to: Path | None = None) -> pa.Table:
        """Return what a query in DuckDB's SQL gives, as a pyarrow table (``.to_pandas()``, ``.to_pylist()``).

        A query reads tables in the campaign's folder of results and nothing else: no other file, nothing of
        the program that asks, and it writes nothing.

        Parameters
        ----------
        to : Path, optional Write it to this ``.csv``, ``.parquet``, ``.xlsx`` or ``.extxyz`` file, which may
            be larger than the memory; the table is then empty. In extended XYZ, rows that name a frame get
            its structure, and with a level its label.

        Raises
        ------
        UserError
            If it is not a query that the tables can answer, with what DuckDB says; or ``to`` is in the
            campaign's folder of results.
        """
        import duckdb  # noqa: PLC0415 - slow to import

        if to is not None:
            self._check_target(to)
        try:
            with asking(self) as connection:
                check_reads_only(connection, sql)
                found = connection.sql(sql)
                if to is not None and to.suffix in XYZ and found is not None:
                    found = connection.sql(with_structure(sql.rstrip("; \n"), found.columns, self.files()))
                if to is not None:
                    write_rows(found, to)
                table: pa.Table = pa.table({}) if found is None or to is not None else found.to_arrow_table()
        except (duckdb.Error, pa.ArrowException) as error:
            raise UserError(f"the query cannot be answered: {self._explain(error)}") from error
        return table

    def _check_target(self, to: Path) -> None:
        if to.suffix not in WRITERS:
            *others, last = WRITERS
            raise UserError(f"{to}: end the name with {', '.join(others)} or {last}.")
        if to.resolve().is_relative_to(self.root.resolve()):
            raise UserError(
                f"--to {to}: this is in {self.root}, where the campaign's own files are. Name a file "
                "elsewhere."
            )

    def files(self) -> dict[str, list[str]]:
        """Return the files of each table, as the manifest has them; imported tables as they lie there."""
        found: dict[str, list[str]] = {}
        for entry in self.manifest["files"]:
            name = entry["table"]
            if name == "dataset":
                name = next(each for each in _TOGETHER if is_file_of(entry["file"], each))
            found.setdefault(name, []).append(str(self.root / entry["file"]))
        tables = (self.root / "imported").glob("*.parquet")
        imported = sorted(path for path in tables if not path.name.endswith(BESIDE))
        return found | ({"imported": [str(path) for path in imported]} if imported else {})

    def _explain(self, error: Exception) -> str:
        """Return what DuckDB says, and what there is if something was asked for that is not there."""
        said = str(error)
        if "Table with name" in said:
            return f"{said.splitlines()[0]} There are: {', '.join(self.tables)}."
        if "Referenced column" in said or "does not have a column" in said:
            return f'{said}\n"DESCRIBE dataset" names the columns of a table.'
        return said

    def rows(
        self,
        level: str,
        *,
        split: str | None = None,
        verdicts: Sequence[str] = (ACCEPTED, FLAGGED),
        where: Any = None,
        columns: Sequence[str] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Yield rows of a level's dataset, one by one.

        Parameters
        ----------
        level, split : which
        verdicts : accepted, flagged
        where : a pyarrow expression, e.g. ``pyarrow.compute.field("chemical_system") == "Cl-Na"``
        columns : all, if it is not given
        """
        if level not in self.levels:
            raise UserError(f"{self.root} has no level '{level}'. There are: {', '.join(self.levels)}.")
        chosen = (pc.field("level") == level) & pc.field("verdict").isin(list(verdicts))
        for more in (where, None if split is None else pc.field("split") == split):
            chosen = chosen if more is None else chosen & more
        names = None if columns is None else list(columns)
        table = self.table("dataset")
        # a scan of the whole table reads ahead and keeps 0.9 GB of 500,000 rows; a row group at a time, it is
        # a few MB
        for fragment in table.get_fragments(filter=chosen):
            for group in fragment.split_by_row_group(chosen, schema=table.schema):
                piece = group.to_table(schema=table.schema, columns=names, filter=chosen)
                yield from piece.to_pylist()

    def atoms(self, level: str, **chosen: Any) -> Iterator["Atoms"]:
        """Yield ASE's atoms with a calculator that holds the label, and the row's names in ``info``.

        Choose as for ``rows``.
        """
        for row in self.rows(level, **chosen):
            atoms = to_ase(row)
            atoms.info = {
                name: row[name] for name in ("snapshot_id", "structure_id", "level", "split", "verdict")
            }
            yield atoms

    def structures(self, level: str, **chosen: Any) -> Iterator[tuple["Structure", dict[str, Any]]]:
        """Yield pymatgen's structures, each with its row; choose as for ``rows``."""
        for row in self.rows(level, **chosen):
            yield to_pymatgen(row), row

    def find(self, name: str, **keys: Any) -> list[dict[str, Any]]:
        """Return the rows of a table in which columns have these values.

        No rows of a table that is not there.
        """
        if name not in self.files():
            return []
        chosen = None
        for column, value in keys.items():
            one = pc.field(column) == value
            chosen = one if chosen is None else chosen & one
        found: list[dict[str, Any]] = self.table(name).to_table(filter=chosen).to_pylist()
        return found
