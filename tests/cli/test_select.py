"""`pesatlas select` on files, with chgnet's features."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from typer.testing import CliRunner

from pesatlas.cli.main import app

RECIPES = [("Si", "diamond", 5.43), ("NaCl", "rocksalt", 5.64), ("MgO", "rocksalt", 4.21)]


def run(*arguments):
    return CliRunner().invoke(app, ["select", *map(str, arguments)])


@pytest.fixture(scope="module")
def frames():
    """60 displaced crystals of three kinds, each with an energy and forces."""
    made = []
    for i in range(60):
        name, structure, a = RECIPES[0] if i < 50 else RECIPES[1 + i % 2]
        atoms = bulk(name, structure, a)
        atoms.rattle(0.01 + 0.002 * i, seed=i)
        forces = np.full((len(atoms), 3), float(i))
        atoms.calc = SinglePointCalculator(atoms, energy=-float(i), forces=forces)
        atoms.info["note"] = f"frame {i}"
        made.append(atoms)
    return made


@pytest.fixture
def pool(frames, tmp_path):
    write(tmp_path / "pool.extxyz", frames, format="extxyz")
    return tmp_path / "pool.extxyz"


@pytest.mark.parametrize("policy", ["cover", "facility"])
def test_the_rare_is_picked_and_all_that_was_known_is_kept(pool, frames, tmp_path, policy):
    done = run(pool, "--count", 6, "--policy", policy, "--to", tmp_path / "picked.extxyz")
    assert done.exit_code == 0, done.output
    assert "selected 6" in done.output
    picked = read(tmp_path / "picked.extxyz", ":")
    assert len(picked) == 6
    assert {str(atoms.symbols) for atoms in picked[:3]} == {"Si2", "NaCl", "MgO"}
    for rank, atoms in enumerate(picked):
        i = round(-atoms.get_potential_energy())
        assert atoms.info["note"] == f"frame {i}"
        assert atoms.info["pesatlas_rank"] == rank
        np.testing.assert_allclose(atoms.positions, frames[i].positions, atol=1e-7)
        np.testing.assert_allclose(atoms.get_forces(), float(i))


def test_what_is_labelled_already_counts_as_covered(pool, frames, tmp_path):
    write(tmp_path / "known.extxyz", frames[:55], format="extxyz")
    done = run(pool, "--count", 6, "--to", tmp_path / "new.extxyz", "--reference", tmp_path / "known.extxyz")
    assert done.exit_code == 0, done.output
    assert "known 55" in done.output
    picked = read(tmp_path / "new.extxyz", ":")
    assert {round(-atoms.get_potential_energy()) for atoms in picked} <= set(range(55, 60))


def test_rows_of_parquet_stay_rows_of_parquet(frames, tmp_path):
    rows = [
        {
            "structure_id": f"x-{i}",
            "numbers": atoms.numbers.tolist(),
            "cell_A": atoms.cell.array.ravel().tolist(),
            "positions_A": atoms.positions.ravel().tolist(),
            "energy": atoms.get_potential_energy(),
        }
        for i, atoms in enumerate(frames)
    ]
    pq.write_table(pa.Table.from_pylist(rows[:30]), tmp_path / "a.parquet")
    pq.write_table(pa.Table.from_pylist(rows[30:]), tmp_path / "b.parquet")
    files = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    done = run(*files, "--count", 6, "--policy", "random", "--to", tmp_path / "picked.parquet")
    assert done.exit_code == 0, done.output
    picked = pq.read_table(tmp_path / "picked.parquet").to_pylist()
    assert len(picked) == 6
    assert all(row in rows for row in picked)


@pytest.mark.parametrize("ending", ["extxyz", "db", "parquet"])
def test_of_two_frames_of_one_geometry_the_one_with_a_sound_label_is_picked(frames, tmp_path, ending):
    """The first has an energy, forces or an energy that is not finite; the twin comes later in the file."""
    bad = [atoms.copy() for atoms in frames[:3]]
    for i, atoms in enumerate(bad):
        forces = np.full((len(atoms), 3), np.inf if i == 1 else 0.0)
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0 if i == 1 else np.inf, forces=forces)
    pool = tmp_path / f"pool.{ending}"
    if ending == "parquet":
        names = ("numbers", "cell_A", "positions_A", "energy_eV", "forces_eV_per_A")
        rows = [
            dict(
                zip(
                    names,
                    (
                        a.numbers,
                        a.cell.array.ravel(),
                        a.positions.ravel(),
                        a.get_potential_energy(),
                        a.get_forces().ravel(),
                    ),
                    strict=True,
                )
            )
            | {"structure_id": "x"}
            for a in bad + frames[:6]
        ]
        pq.write_table(pa.Table.from_pylist(rows), pool)
    else:
        write(pool, bad + frames[:6])
    out = tmp_path / ("picked.parquet" if ending == "parquet" else "picked.extxyz")
    done = run(pool, "--count", 6, "--to", out)
    assert done.exit_code == 0, done.output
    assert "3 entries are not usable structures (3 not_finite)" in done.output
    if ending == "parquet":
        energies = pq.read_table(out)["energy_eV"].to_pylist()
    else:
        energies = [atoms.get_potential_energy() for atoms in read(out, ":")]
    assert sorted(energies) == [-5, -4, -3, -2, -1, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pool.extxyz", "--count", "3", "--to", "pool.extxyz"], "exists already"),
        (["pool.extxyz", "--count", "3", "--to", "new.txt"], "ends in .extxyz or .parquet"),
        (["nothing.extxyz", "--count", "3", "--to", "new.extxyz"], "does not exist"),
        (["pool.extxyz", "--count", "3", "--to", "nowhere/new.extxyz"], "you cannot write there"),
        (
            ["pool.extxyz", "--count", "3", "--to", "new.extxyz", "--min-distance", "99"],
            "no frame can be picked, and new.extxyz was not written",
        ),
        (["pool.extxyz", "--count", "3", "--to", "new.parquet"], "only frames of Parquet"),
        (
            ["pool.extxyz", "--count", "3", "--to", "new.extxyz", "--policy", "best"],
            "cover, disagree, facility, farthest, matpes, mixed, random",
        ),
        (["molecule.extxyz", "--count", "3", "--to", "new.extxyz"], "no periodic structure"),
    ],
)
def test_a_wrong_call_gets_one_message_and_writes_nothing(pool, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "molecule.extxyz").write_text("1\n\nHe 0 0 0\n")
    before = pool.read_bytes()
    done = run(*arguments)
    assert done.exit_code == 1
    assert message in " ".join(done.output.split())
    assert pool.read_bytes() == before
    assert not list(tmp_path.glob("new.*"))


def test_fewer_frames_than_were_asked_for_are_told_and_the_first_has_a_reason_of_its_own(pool, tmp_path):
    out = tmp_path / "all.extxyz"
    done = run(pool, "--count", 100, "--to", out)
    assert done.exit_code == 0, done.output
    picked = read(out, ":")
    assert f"{len(picked)} frames are in {out}, of 100 that were asked for" in done.output.replace("\n", "")
    reasons = [atoms.info["pesatlas_reason"] for atoms in picked]
    assert reasons[0] == "near to most frames of the pool"
    assert all("falls by" in reason for reason in reasons[1:])


def test_entries_are_written_as_they_are_and_a_broken_one_costs_itself_alone(tmp_path):
    entries = []
    for i in range(12):
        symbol = "D" if i == 3 else "K"
        comment = (
            'Lattice="5.3 0 0 0 5.3 0 0 0 5.3" Properties=species:S:1:pos:R:3:forces:R:3 '
            f'energy=-{i}.25 REF_virials="1 0 0 0 1 0 0 0 1" material_id=00{i} note="5 Å"'
        )
        atoms = [f"{symbol} 0 0 0 0.{i} 0 0", f"F {2.5 + 0.01 * i} 2.65 2.65 -0.{i} 0 0"]
        entries.append("\n".join(["2", comment, *atoms]))
    entries[5] = entries[5].replace("K 0 0 0", "Qq 0 0 0")
    entries[7] = entries[7].replace("2\n", "1000000000000\n", 1)
    entries[9] += " 1"
    (tmp_path / "pool.xyz").write_bytes("\n".join([*entries, ""]).encode("latin-1"))
    done = run(tmp_path / "pool.xyz", "--count", 9, "--policy", "random", "--to", tmp_path / "picked.extxyz")
    assert done.exit_code == 0, done.output
    assert (
        "3 entries are not usable structures (1 too_many_atoms, 1 unreadable, 1 unsupported_element)"
        in done.output
    )
    text = (tmp_path / "picked.extxyz").read_text()
    for i in set(range(12)) - {5, 7, 9}:
        assert (
            f'energy=-{i}.25 REF_virials="1 0 0 0 1 0 0 0 1" material_id=00{i} note="5 Å" pesatlas_rank='
            in text
        )
    picked = read(tmp_path / "picked.extxyz", ":")
    assert len(picked) == 9
    assert "HF" in {str(atoms.symbols) for atoms in picked}
    write(tmp_path / "rows.db", picked)
    done = run(tmp_path / "rows.db", "--count", 2, "--policy", "random", "--to", tmp_path / "two.extxyz")
    assert done.exit_code == 0, done.output
    assert len(read(tmp_path / "two.extxyz", ":")) == 2
