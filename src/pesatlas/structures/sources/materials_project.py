"""Crystals from the Materials Project: fetched once into a Parquet file, then read from there.

``fetch`` is the only function that uses the network. The key is read from the environment and is never
written or logged. The cache is replaced only when it was fetched with other filters.
"""

import importlib.util
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pesatlas.atoms.elements import Symbols
from pesatlas.config.section import HomeText, Section
from pesatlas.errors import UserError
from pesatlas.runtime.progress import Progress
from pesatlas.storage.atomic import atomic_path
from pesatlas.structures import readers
from pesatlas.structures.crystal import Read, Rejected, from_pymatgen
from pesatlas.tables.schemas import FailureReason

log = logging.getLogger(__name__)

KEY = "MP_API_KEY"
LICENCE = "CC BY 4.0 (Materials Project)"
LICENCE_GNOME = "CC BY-NC 4.0 (those from GNoME: no commercial use)"
_QUERY = b"pesatlas.query"
_VERSION = b"pesatlas.database_version"
_FIELDS = ["material_id", "structure", "energy_above_hull"]
_COLUMNS = (
    "structure_id (text), numbers (list of uint8), cell_A (9 float64, rows are lattice vectors), "
    "positions_A (list of float64, Cartesian)"
)


class Options(Section):
    """Options of the source ``materials_project``."""

    kind: Literal["materials_project"] = Field(
        "materials_project", description="the Materials Project, through its API and a cache"
    )
    cache: HomeText = Field(
        "materials_project.parquet",
        description="cache file of fetched crystals; campaigns may share it",
    )
    elements: Symbols | None = Field(None, description="only materials that contain all of these elements")
    chemical_systems: list[str] | None = Field(None, description="only these systems, e.g. Li-Fe-O or Si-*")
    max_energy_above_hull_eV_per_atom: float | None = Field(
        None, ge=0, description="only materials this close to the convex hull (eV/atom)"
    )
    max_sites: int | None = Field(
        None, ge=1, description="only materials with at most this many atoms in the primitive cell"
    )

    include_gnome: bool = Field(
        default=False,
        description="include materials from GNoME: their licence is CC BY-NC 4.0 (no commercial use), "
        "that of all others is CC BY 4.0",
    )

    def query(self) -> dict[str, Any]:
        """Return what decides the content of the cache."""
        return {name: value for name, value in self.identity().items() if name not in {"kind", "cache"}}


def licence(options: Options) -> str:
    """Return the licences of the materials."""
    return LICENCE + (f"; {LICENCE_GNOME}" if options.include_gnome else "")


def check(options: Options) -> None:
    """Raise a UserError if there is neither a cache of these filters nor a way to fetch one."""
    if Path(options.cache).is_file():
        _check_cache(options)
    else:
        _check_can_fetch(options)


def _check_can_fetch(options: Options) -> None:
    if not os.environ.get(KEY):
        raise UserError(
            f"cache: '{options.cache}' does not exist and the environment variable {KEY} is not set. Get a "
            f"key from the dashboard of your Materials Project account and `export {KEY}=...`, or put a "
            f"Parquet file at that path with the columns {_COLUMNS}."
        )
    if importlib.util.find_spec("mp_api") is None:
        raise UserError(
            f"cache: '{options.cache}' does not exist and mp-api, which fetches it, is not installed: pip "
            "install 'pesatlas[mp]'."
        )


def _check_cache(options: Options) -> str:
    """Return the database version of the cache, after checking that it holds what these options ask for."""
    import pyarrow as pa  # noqa: PLC0415 - reading a configuration imports this module, not pyarrow
    import pyarrow.parquet as pq  # noqa: PLC0415 - reading a configuration imports this module, not pyarrow

    try:
        metadata = pq.read_schema(options.cache).metadata or {}
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(
            f"cache: '{options.cache}' is not a readable Parquet file ({error}). Delete it; it will be "
            "fetched again."
        ) from error
    if _QUERY in metadata:
        # mp-api's own default, which older versions of this program left to it
        fetched = {"include_gnome": True} | json.loads(metadata[_QUERY])
        if fetched != options.query():
            raise UserError(
                f"cache: '{options.cache}' was fetched with other filters ({_words(fetched)}) than the "
                f"configuration has ({_words(options.query())}). Set the filters back, name another file in "
                "cache, or delete it to fetch again."
            )
    return metadata.get(_VERSION, b"unknown").decode()


def _words(query: dict[str, Any]) -> str:
    return (
        ", ".join(
            f"{name}: {value}" for name, value in query.items() if value is not None and value is not False
        )
        or "none"
    )


def load(options: Options) -> Iterator[Read]:
    """Yield the materials of the cache, which must be there: nothing here uses the network.

    Raises
    ------
    UserError
        If there is no cache, or it was fetched with other filters.
    """
    path = Path(options.cache)
    if not path.is_file():
        raise UserError(
            f"cache: '{path}' does not exist: fetch_structures makes it; run that where there is a network "
            f"and {KEY} is set."
        )
    source = f"materials_project {_check_cache(options)}"
    try:
        for name, row in readers.parquet_rows(path):
            yield readers.from_parquet_row(name or "unnamed", row, source)
    except ValueError as error:
        raise UserError(f"cache: '{path}': {error}.") from error


def fetch(options: Options, rester: Any = None) -> None:
    """Fetch the materials in bulk and write the cache; does nothing if it is there already.

    Parameters
    ----------
    rester : context manager like ``mp_api.client.MPRester``, optional
        Made from the key in the environment if not given.

    Raises
    ------
    UserError
        If there is no key, the query fails, or it finds nothing.
    """
    path = Path(options.cache)
    if path.is_file():
        log.info("%s holds Materials Project %s already", path, _check_cache(options))
        return
    if rester is None:
        _check_can_fetch(options)
        from mp_api.client import MPRester  # noqa: PLC0415 - reading a configuration imports this module, not mp_api

        rester = MPRester(os.environ[KEY], mute_progress_bars=True)
    log.info("asking the Materials Project for materials with filters: %s", _words(options.query()))
    try:
        with rester as client:
            version = str(client.db_version or "unknown")
            documents = client.materials.summary.search(**_arguments(options))
    except Exception as error:  # noqa: BLE001 - whatever the network or the client raises, a person has to act
        # a client's message may quote the request
        message = str(error).replace(os.environ.get(KEY) or "\0", "***")
        raise UserError(
            f"the Materials Project did not answer the query: {type(error).__name__}: {message}. Nothing "
            "was written; run again."
        ) from None
    if not documents:
        raise UserError(
            f"the Materials Project has no material for the filters {_words(options.query())}. Loosen them."
        )
    _write(path, documents, version, options)


def _arguments(options: Options) -> dict[str, Any]:
    """Return the query as arguments of mp-api's ``materials.summary.search``."""
    arguments: dict[str, Any] = {
        "fields": _FIELDS,
        "all_fields": False,
        "deprecated": False,
        "include_gnome": options.include_gnome,
    }
    if options.elements is not None:
        arguments["elements"] = options.elements
    if options.chemical_systems is not None:
        arguments["chemsys"] = options.chemical_systems
    if options.max_energy_above_hull_eV_per_atom is not None:
        arguments["energy_above_hull"] = (0, options.max_energy_above_hull_eV_per_atom)
    if options.max_sites is not None:
        arguments["num_sites"] = (1, options.max_sites)
    return arguments


def _crystal(name: str, document: Any) -> Read:
    """Return the crystal of one document, whatever is wrong with it."""
    structure = getattr(document, "structure", None)
    if structure is None:
        return Rejected(name, FailureReason.UNREADABLE, "the document has no structure")
    try:
        return from_pymatgen(name, structure, "")
    except Exception as error:  # noqa: BLE001 - one bad document costs itself alone
        return Rejected(name, FailureReason.UNREADABLE, f"{type(error).__name__}: {error}")


def _write(path: Path, documents: list[Any], version: str, options: Options) -> None:
    """Write one row for each document, sorted by id."""
    import pyarrow as pa  # noqa: PLC0415 - reading a configuration imports this module, not pyarrow
    import pyarrow.parquet as pq  # noqa: PLC0415 - reading a configuration imports this module, not pyarrow

    progress = Progress("converted", len(documents))
    rows: list[dict[str, Any]] = []
    for document in documents:
        row: dict[str, Any] = {
            "structure_id": str(document.material_id),
            "energy_above_hull_eV_per_atom": getattr(document, "energy_above_hull", None),
        }
        crystal = _crystal(row["structure_id"], document)
        if isinstance(crystal, Rejected):
            # kept as a row without geometry, which becomes a failure row of the campaign
            log.warning("%s: %s %s", crystal.structure_id, crystal.reason, crystal.detail)
        else:
            row["numbers"] = crystal.numbers.tolist()
            row["cell_A"] = crystal.cell.reshape(-1).tolist()
            row["positions_A"] = crystal.positions.reshape(-1).tolist()
        rows.append(row)
        progress.step()
    schema = pa.schema(
        [
            pa.field("structure_id", pa.string()),
            pa.field("energy_above_hull_eV_per_atom", pa.float64()),
            pa.field("numbers", pa.list_(pa.uint8())),
            pa.field("cell_A", pa.list_(pa.float64(), 9)),
            pa.field("positions_A", pa.list_(pa.float64())),
        ],
        metadata={_VERSION: version.encode(), _QUERY: json.dumps(options.query(), sort_keys=True).encode()},
    )
    rows.sort(key=lambda row: row["structure_id"])
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), temporary, compression="zstd")
    log.info("%s: %d materials of Materials Project %s", path, len(rows), version)
