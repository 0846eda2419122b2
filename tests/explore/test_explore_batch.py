"""Results of a batch: frames, failures, counts; what is stored and found again; limits of memory."""

from typing import ClassVar

import numpy as np
import pytest
import torch

from exploring import Gregarious, argon_rows, explore, structure_row
from known_thermodynamics import IdealGas, LennardJones
from pesatlas.errors import UserError
from pesatlas.tables import FailureReason, check_entry

ARGON = LennardJones().crystal(1, 5.4)
HOT = ((60.0, 0.0),)


def positions_of(table, name):
    return {
        row["step"]: np.array(row["positions_A"])
        for row in table.to_pylist()
        if row["snapshot_id"].rsplit(":", 1)[0] == name
    }


def test_frames_are_those_that_were_asked_for(tmp_path):
    table, failures = explore(tmp_path)
    assert failures.num_rows == 0
    ids = table["snapshot_id"].to_pylist()
    assert ids == sorted(set(ids))
    rows = table.to_pylist()
    moving = [row for row in rows if row["condition"] != "equilibrium"]
    assert len(moving) == 9 * 8
    assert {row["step"] for row in moving} == set(range(10, 81, 10))
    for row in moving:
        assert (
            row["snapshot_id"]
            == f"{row['structure_id']}:{row['variant']}:{row['condition']}:{row['step']:07d}"
        )
        assert row["time_fs"] == row["step"] * 4.0
        assert row["ensemble"] == "NpT"
        assert (row["instant_temperature_K"] is None) == (row["n_atoms"] == 1)
        assert len(row["positions_A"]) == 3 * row["n_atoms"]
    assert check_entry(tmp_path / "out" / "00000.parquet").counts == {
        "structures": 5,
        "trajectories": 9,
        "trajectories_finished": 9,
        "trajectories_failed": 0,
        "frames": 72,
        "equilibrium": 4,
        "equilibrium_failed": 0,
    }
    assert not list(tmp_path.glob("work/*/0*/*")), "the work folder is removed at the end"


def test_a_frame_holds_what_the_potential_says_of_it(tmp_path):
    table, _ = explore(tmp_path, LennardJones())
    potential = LennardJones()
    from pesatlas.potentials.potential import Batch

    for row in table.to_pylist()[::7]:
        n = row["n_atoms"]
        batch = Batch(
            torch.tensor(row["numbers"]),
            torch.tensor(row["positions_A"], dtype=torch.float64).reshape(n, 3),
            torch.tensor(row["cell_A"], dtype=torch.float64).reshape(1, 3, 3),
            torch.tensor([n]),
        )
        said = potential.evaluate(batch)
        assert row["mlip_energy_eV"] == pytest.approx(float(said.energies[0]), abs=1e-10)
        assert row["mlip_max_force_eV_per_A"] == pytest.approx(
            float(said.forces.norm(dim=1).max()), abs=1e-10
        )
        s = said.stresses[0]
        voigt = [s[0, 0], s[1, 1], s[2, 2], s[1, 2], s[0, 2], s[0, 1]]
        assert row["mlip_stress_eV_per_A3"] == pytest.approx([float(x) for x in voigt], abs=1e-12)


def test_the_crystal_as_given_is_a_row_of_its_own(tmp_path):
    table, _ = explore(tmp_path)
    found = [row for row in table.to_pylist() if row["condition"] == "equilibrium"]
    assert [row["snapshot_id"] for row in found] == [
        f"{x}:unit:equilibrium:0000000" for x in ("a1", "a2", "a3", "p1")
    ]
    given = {row["structure_id"]: row for row in argon_rows() if row["variant"] == "unit"}
    for row in found:
        assert (row["ensemble"], row["step"], row["temperature_K"], row["instant_temperature_K"]) == (
            "none",
            0,
            0.0,
            None,
        )
        assert row["positions_A"] == given[row["structure_id"]]["positions_A"]
        assert row["cell_A"] == given[row["structure_id"]]["cell_A"]


def test_nothing_is_computed_twice(tmp_path):
    potential = Gregarious()
    first, _ = explore(tmp_path, potential)
    assert potential.evaluated > 9 * 80
    again = Gregarious()
    assert explore(tmp_path, again)[0].equals(first)
    # other batches, other packing, other names: the same trajectories
    rows = argon_rows()
    for batch, row in enumerate(rows):
        part, _ = explore(
            tmp_path,
            again,
            [{**row, "batch": batch}],
            batch=batch,
            out="parts",
            structures_per_job=1,
            max_atoms_in_memory=4,
        )
        name = f"{row['structure_id']}:{row['variant']}:"
        assert part["snapshot_id"].to_pylist() == [
            x for x in first["snapshot_id"].to_pylist() if x.startswith(name)
        ]
    renamed, _ = explore(
        tmp_path,
        again,
        [{**row, "structure_id": f"other-{row['structure_id']}"} for row in rows],
        out="other",
    )
    assert renamed["positions_A"].equals(first["positions_A"])
    assert again.evaluated == 0


@pytest.mark.parametrize(
    "change",
    [{"seed": 2}, {"thermostat_tau_fs": 50.0}, {"length_ps": 0.4}, {"abort": {"min_distance_A": 0.6}}],
)
def test_what_decides_a_trajectory_makes_another_one(tmp_path, change):
    rows = [structure_row("a", ARGON, conditions=HOT)]
    explore(tmp_path, rows=rows)
    potential = Gregarious()
    explore(tmp_path, potential, rows, **change)
    # the equilibrium crystal is the same; the trajectory is not
    assert potential.evaluated >= 81


def test_the_start_decides_to_1e_8(tmp_path):
    numbers, cell, positions = ARGON
    explore(tmp_path, rows=[structure_row("a", ARGON, conditions=HOT)])
    potential = Gregarious()
    explore(tmp_path, potential, [structure_row("a", (numbers, cell, positions + 1e-10), conditions=HOT)])
    assert potential.evaluated == 0
    explore(
        tmp_path, potential, [structure_row("a", (numbers, cell, positions * (1 + 1e-7)), conditions=HOT)]
    )
    assert potential.evaluated == 82


def test_equal_cells_share_a_trajectory(tmp_path):
    rows = [structure_row("a", ARGON, conditions=HOT), structure_row("b", ARGON, conditions=HOT)]
    potential = Gregarious()
    table, _ = explore(tmp_path, potential, rows)
    assert potential.evaluated == 82
    assert table.num_rows == 18


def overlapping():
    numbers, cell, positions = ARGON
    positions = positions.copy()
    positions[1] = positions[0] + 0.2
    return numbers, cell, positions


class Treacherous(Gregarious):
    """Turns against cells of three atoms: NaN, a push, a crash or a full memory, after some evaluations."""

    def __init__(self, how, after=0):
        super().__init__()
        self.how, self.after, self.seen = how, after, 0

    def evaluate(self, batch):
        sizes = batch.n_atoms.tolist()
        self.seen += 3 in sizes
        if 3 not in sizes or self.seen <= self.after:
            return super().evaluate(batch)
        if self.how == "crash":
            raise ValueError("cells of three are not welcome")
        if self.how == "memory":
            raise torch.OutOfMemoryError("CUDA out of memory")
        evaluation = super().evaluate(batch)
        place = sizes.index(3)
        atoms = slice(sum(sizes[:place]), sum(sizes[:place]) + 3)
        if self.how == "nan":
            evaluation.forces[atoms] = torch.nan
        if self.how == "push":
            evaluation.forces[atoms] += torch.tensor([[50.0, 0, 0], [-50.0, 0, 0], [0, 0, 0]])
        if self.how == "swell":
            evaluation.stresses[place] -= 3.0 * torch.eye(3)
        return evaluation


TRIPLE = (ARGON[0][:3], ARGON[1], ARGON[2][:3])


@pytest.mark.parametrize(
    ("how", "after", "reason"),
    [
        ("nan", 31, FailureReason.NOT_FINITE),
        ("push", 31, FailureReason.EXPLODED_TEMPERATURE),
        ("swell", 31, FailureReason.EXPLODED_VOLUME),
        ("crash", 31, FailureReason.CRASHED),
        ("memory", 31, FailureReason.OUT_OF_MEMORY),
        ("nan", 0, FailureReason.NOT_FINITE),
        ("crash", 0, FailureReason.CRASHED),
        ("memory", 0, FailureReason.OUT_OF_MEMORY),
    ],
)
def test_a_trajectory_that_fails_keeps_its_frames_and_harms_no_neighbour(tmp_path, how, after, reason):
    bad = structure_row("bad", TRIPLE, variant="supercell-1x1x1", conditions=HOT)
    good = argon_rows()[1:3]
    reference, _ = explore(tmp_path / "good", LennardJones(), good)
    table, failures = explore(tmp_path / "both", Treacherous(how, after), [bad, *good])
    (failure,) = failures.to_pylist()
    assert (failure["reason"], failure["key"], failure["stage"]) == (
        reason.value,
        "bad:supercell-1x1x1:60K-0GPa",
        "explore",
    )
    kept = positions_of(table, "bad:supercell-1x1x1:60K-0GPa")
    assert list(kept) == [10, 20, 30][: after // 10]
    for name in {x.rsplit(":", 1)[0] for x in reference["snapshot_id"].to_pylist()}:
        expected, found = positions_of(reference, name), positions_of(table, name)
        assert list(expected) == list(found)
        for step, positions in expected.items():
            np.testing.assert_allclose(found[step], positions, atol=1e-8)
    counts = check_entry(tmp_path / "both" / "out" / "00000.parquet").counts
    assert counts["trajectories"] == counts["trajectories_finished"] + counts["trajectories_failed"]
    assert counts["trajectories_failed"] == failures.num_rows
    # what failed by physics is known; what failed by circumstance is tried again
    healthy = Gregarious()
    table, failures = explore(tmp_path / "both", healthy, [bad, *good])
    assert failures.num_rows == (
        1 if reason not in {FailureReason.OUT_OF_MEMORY, FailureReason.CRASHED} else 0
    )


def test_overlapping_atoms_never_reach_the_potential(tmp_path):
    rows = [structure_row("bad", overlapping(), conditions=HOT), structure_row("good", ARGON, conditions=HOT)]
    potential = Gregarious()
    table, failures = explore(tmp_path, potential, rows)
    assert [(row["key"], row["reason"]) for row in failures.to_pylist()] == [
        ("bad:unit:60K-0GPa", "exploded_distance"),
        ("bad:unit:equilibrium", "exploded_distance"),
    ]
    assert "0.346 Å" in failures["detail"][0].as_py()
    assert set(table["structure_id"].to_pylist()) == {"good"}
    assert potential.evaluated == 82
    counts = check_entry(tmp_path / "out" / "00000.parquet").counts
    assert (counts["equilibrium"], counts["equilibrium_failed"], counts["trajectories_failed"]) == (1, 1, 1)


def test_atoms_that_meet_on_the_way_end_a_trajectory_at_a_frame(tmp_path):
    cell = np.eye(3) * 6.0
    numbers = np.full(8, 18, dtype=np.uint8)
    rows = [
        structure_row(
            "gas",
            (numbers, cell, np.random.default_rng(1).random((8, 3)) @ cell),
            conditions=((3000.0, 0.1),),
        )
    ]
    _, failures = explore(
        tmp_path, IdealGas(), rows, length_ps=4.0, abort={"min_distance_A": 0.6, "max_volume_ratio": 100.0}
    )
    assert "exploded_distance" in failures["reason"].to_pylist()


def test_elements_that_the_potential_does_not_know(tmp_path):
    potential = Gregarious()
    potential.elements = frozenset({10, 11})
    table, failures = explore(tmp_path, potential, [structure_row("a", ARGON, conditions=HOT)])
    assert table.num_rows == 0
    assert failures["reason"].to_pylist() == ["unsupported_element"] * 2
    assert "does not know Ar" in failures["detail"][0].as_py()
    assert potential.evaluated == 0


class Small(LennardJones):
    """A memory that takes ten atoms at a time."""

    def __init__(self):
        super().__init__()
        self.refused, self.largest = 0, 0

    def evaluate(self, batch):
        if len(batch.numbers) > 10:
            self.refused += 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.largest = max(self.largest, len(batch.numbers))
        return super().evaluate(batch)


def test_a_full_memory_shrinks_the_batch_and_goes_on(tmp_path, caplog):
    reference, _ = explore(tmp_path / "large", LennardJones(), max_atoms_in_memory=100)
    potential = Small()
    table, failures = explore(tmp_path / "small", potential, max_atoms_in_memory=100)
    assert failures.num_rows == 0
    assert potential.largest > 5
    assert potential.refused < 20, "it learns what fits"
    assert "out of memory" in caplog.text
    assert table["snapshot_id"].equals(reference["snapshot_id"])
    for one, other in zip(
        table["positions_A"].to_pylist(), reference["positions_A"].to_pylist(), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-8)


def test_a_cell_that_does_not_fit_alone_fails_alone(tmp_path):
    rows = [
        structure_row("large", LennardJones().crystal(2, 5.4), variant="supercell-2x2x2", conditions=HOT),
        *argon_rows(),
    ]
    table, failures = explore(tmp_path, Small(), rows, max_atoms_in_memory=100)
    assert [(x["structure_id"], x["reason"]) for x in failures.to_pylist()] == [("large", "out_of_memory")]
    assert table.num_rows == 76


def test_batches_stay_within_the_limit_and_are_refilled(tmp_path):
    class Watched(Gregarious):
        sizes: ClassVar = []

        def evaluate(self, batch):
            self.sizes.append(len(batch.numbers))
            return super().evaluate(batch)

    explore(tmp_path, Watched(), max_atoms_in_memory=12)
    assert max(Watched.sizes) == 12
    assert np.mean([size for size in Watched.sizes if size > 4]) > 8


def test_messages_for_people_are_not_swallowed(tmp_path):
    class Unlicensed(Gregarious):
        def evaluate(self, batch):
            raise UserError("get a licence")

    with pytest.raises(UserError, match="licence"):
        explore(tmp_path, Unlicensed())


def test_an_empty_batch_makes_empty_tables(tmp_path):
    table, failures = explore(tmp_path, batch=7)
    assert (table.num_rows, failures.num_rows) == (0, 0)


def test_progress_is_told(tmp_path, caplog):
    with caplog.at_level("INFO"):
        explore(tmp_path, progress_interval_s=0.05)
    lines = [line for line in caplog.messages if "steps·atoms/s" in line]
    assert lines
    assert "of 9 trajectories done" in lines[-1]
    assert "left" in lines[-1]
