"""Labels to dataset: accepted rows at each level, cohesive energies, splits, and the campaign's manifest."""

import hashlib
import json
import logging
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pesatlas import __version__
from pesatlas.config.campaign import Campaign
from pesatlas.config.dataset import Split
from pesatlas.config.section import digest
from pesatlas.dataset.conservation import check_sums
from pesatlas.dataset.paths import Results
from pesatlas.errors import UserError
from pesatlas.tables import SCHEMAS, FailureReason, TableWriter, read_entry, read_table
from pesatlas.tables.atomic import write_text
from pesatlas.tables.failures import failure_row

log = logging.getLogger(__name__)


def collect_dataset(campaign: Campaign, results: Path, labels: list[Path]) -> None:
    """Write ``dataset/{level}/``, ``failures/dataset.parquet`` and ``manifest.json`` below ``results``.

    Labels that were not accepted become rows of the failures with the rules that spoke.

    Raises
    ------
    UserError
        If rows were lost on the way, or if labels of one level have different fingerprints.
    """
    layout = Results(results, len(labels), tuple(campaign.label.levels))
    atoms = reference_energies(layout.atoms)
    fingerprint = digest(campaign.identity())
    seen: dict[str, str] = {}
    with TableWriter(layout.dataset_failures, "failures", fingerprint) as failures:
        for level in layout.levels:
            with TableWriter(
                layout.dataset(level), "dataset", fingerprint, {"pesatlas.level": level}
            ) as dataset:
                for path in layout.labels:
                    table = read_table(path, "labels")
                    table = table.filter(pc.equal(table["level"], level))
                    _check_fingerprints(table, level, seen, path)
                    good = pc.equal(table["verdict"], "accepted")
                    rows = table.filter(good)
                    dataset.write(_derive(rows, atoms, campaign.dataset.split, campaign.campaign.seed))
                    failures.write(_quarantined(table.filter(pc.invert(good))))
                log.info("%s: %d rows", level, dataset.rows)
    _write_manifest(campaign, layout)


def reference_energies(path: Path) -> dict[tuple[str, int], float]:
    """Energies of isolated atoms in eV, by level fingerprint and atomic number."""
    from ase.data import atomic_numbers  # noqa: PLC0415 - ase is slow to import

    table = read_table(path, "atoms", ["element", "level_fingerprint", "energy_eV"])
    return {
        (row["level_fingerprint"], atomic_numbers[row["element"]]): row["energy_eV"]
        for row in table.to_pylist()
    }


def split_of(structure_id: str, split: Split, seed: int) -> str:
    """Return the split of a material: decided by its id and the seed alone, so it never changes as a dataset grows."""
    number = int(hashlib.sha256(f"{seed}:{structure_id}".encode()).hexdigest()[:12], 16) / 16**12
    if number < split.test:
        return "test"
    return "valid" if number < split.test + split.valid else "train"


def _check_fingerprints(table: pa.Table, level: str, seen: dict[str, str], path: Path) -> None:
    for found in pc.unique(table["level_fingerprint"]).to_pylist():
        if seen.setdefault(level, found) != found:
            raise UserError(
                f"{path}: labels of level {level} with fingerprint {found}, others have {seen[level]}: settings, code or "
                "pseudopotentials changed half-way. One dataset shows one surface: label again with one set "
                "(`pesatlas run --forcerun label_batch`; what has the current fingerprint is found in the store)."
            )


def _derive(rows: pa.Table, atoms: dict[tuple[str, int], float], split: Split, seed: int) -> pa.Table:
    """Add the columns that the dataset has beyond the labels."""
    cohesive = [
        _cohesive(energy, numbers, level, atoms)
        for energy, numbers, level in zip(
            rows["energy_eV"].to_pylist(),
            rows["numbers"].to_pylist(),
            rows["level_fingerprint"].to_pylist(),
            strict=True,
        )
    ]
    splits = [split_of(name, split, seed) for name in rows["structure_id"].to_pylist()]
    rows = rows.append_column(
        SCHEMAS["dataset"].field("cohesive_energy_eV_per_atom"), pa.array(cohesive, pa.float64())
    )
    return rows.append_column(SCHEMAS["dataset"].field("split"), pa.array(splits, pa.string()))


def _cohesive(
    energy: float, numbers: list[int], level: str, atoms: dict[tuple[str, int], float]
) -> float | None:
    """Cohesive energy in eV/atom; None if the isolated atom of an element is missing (it is in the failures)."""
    counts = Counter(numbers)
    if any((level, number) not in atoms for number in counts):
        return None
    return (energy - sum(n * atoms[level, number] for number, n in counts.items())) / len(numbers)


def _quarantined(table: pa.Table) -> list[dict[str, object]]:
    columns = ["snapshot_id", "structure_id", "level", "verdict_rules"]
    return [
        failure_row(
            "dataset",
            row["snapshot_id"],
            row["structure_id"],
            FailureReason.QUARANTINED,
            row["verdict_rules"],
            level=row["level"],
        )
        for row in table.select(columns).to_pylist()
    ]


def _write_manifest(campaign: Campaign, layout: Results) -> None:
    found = check_sums(layout)
    for each in found:
        log.info("%s", each)
    manifest = {
        "campaign": campaign.campaign.name,
        "code_version": __version__,
        "levels": list(layout.levels),
        "label_batches": layout.label_batches,
        "configuration": campaign.model_dump(mode="json"),
        "sums": [{**asdict(each), "closes": each.closes} for each in found],
        "files": [
            {**asdict(read_entry(path)), "file": path.relative_to(layout.root).as_posix()}
            for path in layout.tables()
        ],
    }
    write_text(layout.root / "manifest.json", json.dumps(manifest, indent=1) + "\n")
