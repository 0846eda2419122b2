"""One surface: what differs is named, and only allowed patch versions are merged, on record."""

import json

import pytest

from collecting import collect
from pesatlas.campaign.layout import below
from pesatlas.config.dataset import Dataset
from pesatlas.dataset.verify import verify
from pesatlas.errors import UserError
from pesatlas.levels.level import Level
from pesatlas.tables import read_entry, write_table


@pytest.fixture
def mixed(tables, definitions):
    """Return a function that writes the second batch of labels with PBE changed in some keys."""
    results, files, labels = tables

    def write(*, known=True, **changes):
        second = Level(**{**definitions["pbe"].identity(), **changes})
        for row in labels[4:]:
            if row["level"] == "pbe":
                row["level_fingerprint"] = second.fingerprint
                row["code"] = "double 9" if "code" in changes else row["code"]
        every = {d.fingerprint: d.identity() for d in (second, definitions["r2scan"])}
        metadata = {"pesatlas.levels": json.dumps(every)} if known else {}
        counts = read_entry(files[1]).counts
        write_table(files[1], "labels", labels[4:], "s", counts, metadata)
        return results, files, second

    return write


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"settings": {"cutoff_eV": 520.0}}, r"settings.cutoff_eV \(400.0 / 520.0\)"),
        ({"pseudopotentials": "other"}, r'pseudopotentials \("paw" / "other"\)'),
        ({"functional": "PBEsol"}, r'functional \("PBE" / "PBEsol"\)'),
        ({"code": {"double": "1.3.0", "library": "4.0"}}, r'code.double \("1.2.3" / "1.3.0"\)'),
        ({"code": {"double": "1.2.3"}}, r'code.library \("4.0" / absent\)'),
    ],
)
def test_labels_of_different_surfaces_are_not_merged_and_the_keys_are_named(campaign, mixed, changes, named):
    results, files, _ = mixed(**changes)
    campaign.dataset = Dataset(patch_versions=["double", "library"])
    with pytest.raises(UserError, match=f"different settings.*{named}"):
        collect(campaign, results, files)
    assert not below(results, "manifest").exists()


PATCH = {"code": {"double": "1.2.4", "library": "4.0"}}


def test_a_patch_version_is_merged_only_if_allowed_and_that_is_recorded(campaign, mixed):
    results, files, second = mixed(**PATCH)
    with pytest.raises(UserError, match=r"code.double.*dataset.patch_versions"):
        collect(campaign, results, files)
    campaign.dataset = Dataset(patch_versions=["double"])
    collect(campaign, results, files)
    surface = json.loads(below(results, "manifest").read_text())["surfaces"]["pbe"]
    assert surface["differences"] == ['code.double ("1.2.3" / "1.2.4")']
    assert surface["fingerprints"][1] == second.fingerprint
    assert verify(results) == []


def test_without_definitions_the_rows_tell_what_they_can(campaign, mixed):
    results, files, _ = mixed(known=False, **PATCH)
    campaign.dataset = Dataset(patch_versions=["double"])
    with pytest.raises(UserError, match=r"code \(test / double 9\)"):
        collect(campaign, results, files)


def test_isolated_atoms_of_another_surface_are_no_reference(campaign, tables, definitions):
    results, files, _ = tables
    path = below(results, "atoms")
    from pesatlas.tables import read_table

    rows = read_table(path, "atoms").to_pylist()
    other = Level(**{**definitions["pbe"].identity(), "settings": {"cutoff_eV": 300.0}})
    for row in rows:
        if row["level"] == "pbe":
            row["level_fingerprint"] = other.fingerprint
    metadata = {"pesatlas.levels": json.dumps({other.fingerprint: other.identity()})}
    write_table(path, "atoms", rows, "s", metadata=metadata)
    with pytest.raises(UserError, match=r"atoms.parquet differ in settings.cutoff_eV"):
        collect(campaign, results, files)
