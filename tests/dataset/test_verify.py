"""The verifier names each corruption that users of such datasets complained of."""

import json
import shutil

import pyarrow.parquet as pq
import pytest

from collecting import collect
from pesatlas.campaign.dataset_state import state_of
from pesatlas.campaign.layout import below
from pesatlas.dataset import physics
from pesatlas.dataset.checksums import check_exports
from pesatlas.dataset.export import export_dataset
from pesatlas.dataset.verify import verify
from pesatlas.errors import UserError
from pesatlas.tables import TableWriter
from pesatlas.tables.manifest import entry_path, in_manifest, read_entry


def rewrite(results, level, change):
    """Change rows of a dataset and its manifests, as somebody would who edits it by hand and hides the
    traces."""
    _rewrite(results, f"dataset/{level}/part-00000.parquet", "dataset", change)


def _rewrite(results, name, table, change):
    path = results / name
    rows = pq.read_table(path).to_pylist()
    counts = read_entry(path).counts
    change(rows)
    with TableWriter(path, table, "s") as writer:
        writer.counts.update(counts)
        writer.write(rows)
    manifest = json.loads(below(results, "manifest").read_text())
    for entry in manifest["files"]:
        if entry["file"] == name:
            entry |= {**in_manifest(read_entry(path)), "file": name}
    write_manifest(results, manifest)


def write_manifest(results, manifest):
    below(results, "manifest").write_text(json.dumps(manifest | {"state": state_of(manifest)}))


def everywhere(results, level, change):
    """Change a level's rows in the dataset and in the labels it is made of."""

    def change_level(rows):
        change([row for row in rows if row["level"] == level])

    rewrite(results, level, change_level)
    for batch in (0, 1):
        _rewrite(results, f"labels/{batch:05d}.parquet", "labels", change_level)


def of_level(results, level):
    return pq.read_table(below(results, "dataset", level=level)).to_pylist()


def same_energies(results):
    other = of_level(results, "pbe")
    rewrite(
        results,
        "r2scan",
        lambda rows: [row.update(energy_eV=o["energy_eV"]) for row, o in zip(rows, other, strict=True)],
    )


def swap_files(results):
    """What is called PBE is r2SCAN and the other way round, level names changed to match."""
    pbe, r2scan = (of_level(results, level) for level in ("pbe", "r2scan"))
    for rows, other, level in ((pbe, r2scan, "pbe"), (r2scan, pbe, "r2scan")):
        keep = {"level": level, "level_fingerprint": rows[0]["level_fingerprint"]}
        made = [{**row, **keep} for row in other]
        rewrite(results, level, lambda old, made=made: old.__setitem__(slice(None), made))


def flip(rows):
    for row in rows:
        row["stress_eV_per_A3"] = [-s for s in row["stress_eV_per_A3"]]
        if "static_pressure_GPa" in row:
            row["static_pressure_GPa"] *= -1


def flip_in_one_crystal(results):
    """Flip every stress of a level, of frames that are all of one crystal."""
    everywhere(results, "pbe", flip)
    of_one = lambda rows: [row.update(structure_id="one") for row in rows]  # noqa: E731
    _rewrite(results, "snapshots/00000.parquet", "snapshots", of_one)


def initial_moments(rows):
    settings = {**json.loads(rows[0]["settings"]), "moments_muB": [5.0, 0.6]}
    for row in rows:
        row.update(magmoms_muB=[5.0, 0.6], settings=json.dumps(settings))


def start_from_pbe(rows, moments, initial):
    """r2SCAN of VASP: settings have PBE's final moments, which the calculation started from."""
    settings = {
        "incar": {"NELM": 200, "MAGMOM": initial, "METAGGA": "R2SCAN"},
        "start": "PBE wavefunction and moments",
    }
    for row in rows:
        row.update(magmoms_muB=moments, settings=json.dumps(settings))


def same_moments(results):
    for level in ("pbe", "r2scan"):
        everywhere(results, level, lambda rows: [row.update(magmoms_muB=[4.1, -3.9]) for row in rows])


def rewrite_labels_only(results):
    path = below(results, "labels", batch=0)
    rows = pq.read_table(path).to_pylist()
    with TableWriter(path, "labels", "later") as writer:
        writer.write(rows)


def lose_rows_and_their_count(results):
    """Lose a row in the dataset and put another into quarantine twice, so that the sums close."""
    rewrite(results, "pbe", lambda rows: rows.pop())
    extra = of_level(results, "pbe")[:1]
    _rewrite(results, "quarantine/pbe.parquet", "dataset", lambda rows: rows.extend(extra))
    path = below(results, "dataset_failures")
    failure = dict.fromkeys(pq.read_schema(path).names, "x") | {"attempts": 1}
    _rewrite(results, "failures/dataset.parquet", "failures", lambda rows: rows.append(failure))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-30])


CORRUPTIONS = {
    "one functional under two names": same_energies,
    "it has the energy of pbe: functionals are swapped": same_energies,
    "its settings are those of r2scan: functionals are swapped": swap_files,
    "the sign of its stress is flipped": lambda r: rewrite(r, "pbe", flip),
    "static_pressure_GPa": lambda r: rewrite(
        r, "pbe", lambda rows: rows[0].update(stress_eV_per_A3=[1.0] * 6)
    ),
    "stresses are anticorrelated with those of the potential": flip_in_one_crystal,
    "not converged, yet in the dataset": lambda r: rewrite(
        r, "pbe", lambda rows: rows[0].update(converged=False)
    ),
    "not converged: 51 SCF steps": lambda r: everywhere(
        r, "pbe", lambda rows: [row.update(scf_steps=51) for row in rows]
    ),
    "its magnetic moments are the initial ones": lambda r: everywhere(r, "pbe", initial_moments),
    "magnetic moments are the same at pbe and r2scan in 4 of 4 rows": same_moments,
    "not finite": lambda r: rewrite(r, "pbe", lambda rows: rows[0].update(energy_eV=float("nan"))),
    "forces sum to": lambda r: rewrite(r, "pbe", lambda rows: rows[0]["forces_eV_per_A"].__setitem__(0, 1.0)),
    "wrong number of values": lambda r: rewrite(r, "pbe", lambda rows: rows[0]["forces_eV_per_A"].pop()),
    "does not close": lambda r: rewrite(r, "pbe", lambda rows: rows.pop()),
    "neither in the dataset nor in quarantine: lost": lose_rows_and_their_count,
    "appears twice": lambda r: rewrite(r, "pbe", lambda rows: rows.append(rows[0])),
    "it came from nowhere": lambda r: rewrite(r, "pbe", lambda rows: rows[0].update(snapshot_id="a:b:c:1")),
    "a row of level r2scan": lambda r: rewrite(r, "pbe", lambda rows: rows[0].update(level="r2scan")),
    "entropy_eV_per_atom 0.05 is not T·S of its energies, 0": lambda r: rewrite(
        r, "pbe", lambda rows: rows[0].update(entropy_eV_per_atom=0.05)
    ),
    "different level fingerprints": lambda r: rewrite(
        r, "pbe", lambda rows: rows[0].update(level_fingerprint="x")
    ),
    "cohesive energy": lambda r: everywhere(
        r, "pbe", lambda rows: rows[0].update(energy_eV=rows[0]["energy_eV"] + 1)
    ),
    "geometry differs between": lambda r: rewrite(
        r, "pbe", lambda rows: rows[0]["positions_A"].__setitem__(0, 1e-3)
    ),
    "positions_A is not of its label": lambda r: rewrite(
        r, "pbe", lambda rows: rows[0]["positions_A"].__setitem__(0, 1e-3)
    ),
    "truncated or changed": lambda r: truncate(r / "dataset/pbe/part-00000.parquet"),
    "does not exist": lambda r: (r / "snapshots/00000.parquet").unlink(),
    "written again after": rewrite_labels_only,
}


@pytest.mark.parametrize("complaint", CORRUPTIONS)
def test_verify_names_each_corruption(finished, complaint, monkeypatch):
    monkeypatch.setattr(physics, "ENOUGH_ROWS", 4)
    assert verify(finished) == []
    CORRUPTIONS[complaint](finished)
    problems = verify(finished)
    assert any(complaint in problem for problem in problems), problems


def test_offsets_between_crystals_are_no_flipped_sign(finished, monkeypatch):
    """Each row is of a crystal of its own: stresses of relaxed crystals differ between a level and a
    potential by their lattice constants, in any direction."""
    monkeypatch.setattr(physics, "ENOUGH_ROWS", 4)
    everywhere(finished, "pbe", flip)
    assert not [problem for problem in verify(finished) if "run against" in problem]


@pytest.fixture
def vasp_table(finished):
    """The manifest's definition of r2SCAN has VASP's table of moments to start from."""
    manifest = json.loads((finished / "manifest.json").read_text())
    manifest["surfaces"]["r2scan"]["definition"]["settings"]["moments_muB"] = {"Na": 5, "Fe": 5}
    write_manifest(finished, manifest)


@pytest.mark.parametrize("moments", [[0.001, 0.0], [0.0, 0.0], [4.102, -0.031]])
def test_r2scan_may_keep_the_moments_that_pbe_handed_over(finished, vasp_table, moments):
    everywhere(finished, "r2scan", lambda rows: start_from_pbe(rows, moments, moments[::-1]))
    assert verify(finished) == []


@pytest.mark.parametrize("handed", [[4.102, -0.031], [0.001, 0.0]])
def test_r2scan_with_the_moments_of_its_levels_table_is_refused(finished, vasp_table, handed):
    """As a reader would give them that takes MAGMOM of the input set for the result: 5 for the table's, 0.6
    for all others."""
    everywhere(finished, "r2scan", lambda rows: start_from_pbe(rows, [5.0, 0.6], handed))
    problems = verify(finished)
    assert len(problems) == 4
    assert all("its magnetic moments are the initial ones" in problem for problem in problems)


def test_a_good_campaign_has_nothing_to_object_to(finished):
    assert verify(finished) == []


def test_one_flipped_bit_of_an_export_is_named_whichever_file_it_hits(finished):
    files = export_dataset(finished, "extxyz", finished / "exports/extxyz", verdicts=["accepted"])
    assert verify(finished) == []
    for path in [*files, finished / "exports/extxyz/export.json"]:
        good = path.read_bytes()
        content = bytearray(good)
        content[0] ^= 4
        path.write_bytes(content)
        (problem,) = verify(finished)
        assert problem.startswith(str(path))
        assert "elete" in problem
        path.write_bytes(good)
    # of the record itself, what tells the files apart: everywhere, not only where JSON breaks
    record = finished / "exports/extxyz/export.json"
    good = record.read_bytes()
    for name in (b'"format"', b'"files"', b'"file"', b'"sha256"'):
        record.write_bytes(good.replace(name, name.replace(b"f", b"g").replace(b"s", b"r"), 1))
        (problem,) = check_exports(finished)
        assert f"{record} is not readable" in problem
    record.write_bytes(good)
    files[0].unlink()
    (problem,) = verify(finished)
    assert f"{files[0]}: lost" in problem


def test_a_value_of_the_manifest_or_a_count_of_an_entry_that_changed_is_named(finished):
    manifest = below(finished, "manifest")
    good = manifest.read_text()
    manifest.write_text(good.replace('"label_batches": 2', '"label_batches": 3'))
    assert ["its content differs from its own checksum" in each for each in verify(finished)] == [True]
    manifest.write_text(good)
    path = entry_path(below(finished, "labels", batch=0))
    entry = json.loads(path.read_text())
    path.write_text(json.dumps(entry | {"counts": {**entry["counts"], "selected": 7}}))
    assert [f"{path}: counts other rows" in each for each in verify(finished)] == [True]


def test_verify_without_a_campaign_says_so(tmp_path):
    with pytest.raises(UserError, match="no finished campaign"):
        verify(tmp_path)


def test_the_same_problem_in_many_rows_is_counted_after_the_first_few(
    campaign, tables, write_labels, monkeypatch
):
    results, _, labels = tables
    collect(campaign, results, write_labels(results, labels))
    monkeypatch.setattr("pesatlas.dataset.verify.SHOWN", 1)
    rewrite(results, "pbe", lambda rows: [row.update(converged=False) for row in rows])
    assert "pbe: 3 more rows have problems" in verify(results)


def test_an_older_campaign_is_told_how_to_be_checked(tmp_path, older):
    shutil.copytree(older, tmp_path / "results")
    with pytest.raises(UserError, match="Collect it again"):
        verify(tmp_path / "results")
