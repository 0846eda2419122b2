"""Labels to dataset: rules, derived quantities, splits, and the campaign's manifest."""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pesatlas import __version__
from pesatlas.atoms.geometry import geometry_digest
from pesatlas.campaign.dataset_state import state_of
from pesatlas.campaign.made_with import deciding
from pesatlas.campaign.splits import Materials, material_column, splits_before
from pesatlas.config.campaign import Campaign
from pesatlas.config.plugins_used import plugins_in
from pesatlas.config.section import digest
from pesatlas.dataset.acceptance import always, check_limits, decide_verdict
from pesatlas.dataset.conservation import check_sums
from pesatlas.dataset.derive import derived, geometry_of
from pesatlas.dataset.level_consistency import LevelInTables, find_levels
from pesatlas.dataset.mixed import made_otherwise
from pesatlas.dataset.references import References, find_references
from pesatlas.errors import UserError
from pesatlas.storage.atomic import write_text
from pesatlas.tables import FailureReason, TableWriter, iter_table, read_entry, read_table
from pesatlas.tables.failures import failure_row
from pesatlas.tables.io import check_metadata
from pesatlas.tables.label_verdicts import ACCEPTED, QUARANTINED, VERDICTS
from pesatlas.tables.manifest import check_content, in_manifest

log = logging.getLogger(__name__)


Files = Mapping[str, Sequence[Path]]
_MADE_OF = (
    *("structures", "snapshots", "features", "clusters", "candidates", "calibration", "disagreement"),
    *("selection", "quality", "atoms", "labels"),
)
_LOSSES = ("structure_failures", "atom_failures", "explore_failures", "label_failures")


def collect_dataset(campaign: Campaign, files: Files, before: Sequence[Path] = ()) -> None:
    """Write the datasets, quarantine, failures and ``manifest.json`` of a campaign.

    Every label is checked by the rules of ``campaign.dataset.rules`` and becomes a row of the dataset
    (accepted or flagged) or of the quarantine. Those in quarantine are failures too, with the triggered
    rules.

    Parameters
    ----------
    files : tables that are read and files that are written, by their names in ``campaign.layout``, as the
        rule declares them and ``Results.files`` has them; datasets and quarantines in the order of the levels
    before : datasets of the rounds before, at all levels

    Raises
    ------
    UserError
        If rows were lost on the way, tables were made with other settings than ``campaign`` has or of other
        tables than there are, labels of one level have different fingerprints, or a table is not what its
        manifest entry says. Snapshots, features and what was selected from are not read here: whoever reads
        them checks them.
    """
    for path in _all(files, "structures", "selection", "quality", *_LOSSES):
        check_content(path)
    levels = campaign.label.levels
    (manifest,), (selection,), (atoms,) = (files[name] for name in ("manifest", "selection", "atoms"))
    problems = made_otherwise(
        manifest.parent, _below(manifest.parent, _all(files, *_MADE_OF, *_LOSSES)), campaign
    )
    if problems:
        raise UserError("these tables do not belong to one dataset:\n  " + "\n  ".join(problems))
    tables = [*((path, "labels") for path in files["labels"]), (atoms, "atoms")]
    merged_levels = find_levels(tables, levels, campaign.dataset.patch_versions)
    references = find_references(atoms, files["labels"], levels)
    selected = _geometries(selection)
    settled = splits_before(before, campaign.dataset.split)
    materials = Materials(campaign.dataset.split, campaign.campaign.seed, levels, settled)
    _write_rows(campaign, files, references, selected, materials)
    # only small datasets have an empty split valid, so that writing their rows again takes no time
    if materials.fill_valid():
        _write_rows(campaign, files, references, selected, materials)
    _write_manifest(campaign, files, merged_levels, references, materials)


def _all(files: Files, *names: str) -> list[Path]:
    """Return the files of some names; what only rounds after the first have may be missing."""
    return [path for name in names for path in files.get(name, ())]


def _below(results: Path, paths: Iterable[Path]) -> list[str]:
    """Return paths as the manifest names them."""
    return [path.relative_to(results).as_posix() for path in paths]


def _write_rows(
    campaign: Campaign,
    files: Files,
    references: References,
    selected: dict[str, str],
    materials: Materials,
) -> None:
    """Write the tables of all levels, and count the accepted rows of each material."""
    # a new name or card leaves the tables as they are, to the last bit: nothing is trained again for it
    fingerprint = digest(deciding(campaign))
    levels = campaign.label.levels
    (lost,) = files["dataset_failures"]
    with ExitStack() as stack:
        failures = stack.enter_context(TableWriter(lost, "failures", fingerprint))
        writers = {
            (level, place): stack.enter_context(
                TableWriter(path, "dataset", fingerprint, {"pesatlas.level": level})
            )
            for place in ("dataset", "quarantine")
            for level, path in zip(levels, files[place], strict=True)
        }
        for path in files["labels"]:
            rows = _verdict_rows(campaign, path, references, selected, materials)
            for level in levels:
                here = [row for row in rows if row["level"] == level]
                bad = [row for row in here if row["verdict"] == QUARANTINED]
                writers[level, "dataset"].write([row for row in here if row["verdict"] != QUARANTINED])
                writers[level, "quarantine"].write(bad)
                failures.write([_failure(row) for row in bad])
                for place in ("dataset", "quarantine"):
                    _count(writers[level, place].counts, here, place)
        for level in levels:
            log.info(
                "%s: %s", level, {**writers[level, "dataset"].counts, **writers[level, "quarantine"].counts}
            )


def _verdict_rows(
    campaign: Campaign, path: Path, references: References, selected: dict[str, str], materials: Materials
) -> list[dict[str, Any]]:
    """Return the labels of one file as rows of the dataset, each with its verdict."""
    settings = campaign.dataset
    material = material_column(settings.split)
    geometries: dict[str, Any] = {}
    rows = []
    for label in read_table(path, "labels").to_pylist():
        key = _digest(label)
        if key not in geometries:
            geometries[key] = geometry_of(label)
        violations = list(always(label, selected.get(label["snapshot_id"]) == key))
        row = label | derived(label, geometries[key], references)
        violations += check_limits(row, settings.rules)
        row["verdict"], row["verdict_rules"] = decide_verdict(violations)
        row["split"] = materials.of(row[material])
        if row["verdict"] == ACCEPTED:
            materials.accept(row["level"], row[material], row["numbers"])
        rows.append(row)
    return rows


def _geometries(selection: Path) -> dict[str, str]:
    """Return a hash of the geometry of each pick."""
    check_metadata(selection, "selection")
    columns = ["snapshot_id", "numbers", "cell_A", "positions_A"]
    return {
        row["snapshot_id"]: _digest(row)
        for piece in iter_table(selection, columns)
        for row in piece.to_pylist()
    }


def _digest(row: dict[str, Any]) -> str:
    """Hash of a row's geometry; of its text where a number of it is not finite."""
    lengths = np.array([*row["cell_A"], *row["positions_A"]])
    if not np.isfinite(lengths).all():
        return digest(row["numbers"], lengths.tolist())
    return geometry_digest(np.array(row["numbers"]), lengths[:9], lengths[9:])


def _count(counts: dict[str, int], rows: list[dict[str, Any]], place: str) -> None:
    """Add up verdicts for the manifest entry; those that cannot be in ``place`` are left out."""
    found = Counter(row["verdict"] for row in rows)
    for verdict in VERDICTS:
        if (verdict == QUARANTINED) == (place == "quarantine"):
            counts[verdict] = counts.get(verdict, 0) + found[verdict]


def _failure(row: dict[str, Any]) -> dict[str, Any]:
    return failure_row(
        "dataset",
        row["snapshot_id"],
        row["structure_id"],
        FailureReason.QUARANTINED,
        row["verdict_rules"],
        level=row["level"],
    )


def _write_manifest(
    campaign: Campaign,
    files: Files,
    merged_levels: dict[str, LevelInTables],
    references: References,
    materials: Materials,
) -> None:
    levels = campaign.label.levels
    (path_of_manifest,) = files["manifest"]
    tables = _all(files, *_MADE_OF, "dataset", "quarantine", *_LOSSES, "dataset_failures")
    found = check_sums(files, levels)
    for each in found:
        log.info("%s", each)
    configuration = campaign.model_dump(mode="json")
    manifest: dict[str, Any] = {
        "campaign": campaign.campaign.name,
        "code_version": __version__,
        "plugins": [str(each) for each in plugins_in(configuration)],
        "levels": list(levels),
        "label_batches": len(files["labels"]),
        "surfaces": {level: found.as_json() for level, found in merged_levels.items()},
        "references": references.as_json(),
        "configuration": configuration,
        "splits": materials.as_json(),
        "sums": [{**asdict(each), "closes": each.closes} for each in found],
        "files": [
            {**in_manifest(read_entry(path)), "file": name}
            for path, name in zip(tables, _below(path_of_manifest.parent, tables), strict=True)
        ],
    }
    manifest["state"] = state_of(manifest)
    write_text(path_of_manifest, json.dumps(manifest, indent=1) + "\n")
