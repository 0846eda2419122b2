"""From stored trajectories to the tables ``snapshots`` and ``failures``."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pesatlas import __version__
from pesatlas.explore.trajectory import Trajectory, displacement_ratios
from pesatlas.potentials.potential import Potential
from pesatlas.tables import SCHEMAS, TableWriter, write_table
from pesatlas.tables.failures import Failure, failure_row

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Outcome:
    """Result of a trajectory: frames, and the reason of an early end."""

    trajectory: Trajectory
    frames: pa.Table
    failure: Failure | None


def write_tables(
    outcomes: Iterable[Outcome],
    *,
    n_structures: int,
    potential: Potential,
    about: Mapping[str, str],
    fingerprint: str,
    snapshots: Path,
    failures: Path,
) -> None:
    """Write both tables; ``outcomes`` are sorted by the names of their trajectories.

    ``about`` is metadata of the snapshots.
    """
    counts = Counter(
        dict.fromkeys(
            (
                "trajectories",
                "trajectories_finished",
                "trajectories_failed",
                "frames",
                "equilibrium",
                "equilibrium_failed",
            ),
            0,
        )
    )
    failed: list[dict[str, Any]] = []
    with TableWriter(snapshots, "snapshots", fingerprint, about) as writer:
        waiting: list[pa.Table] = []
        for outcome in outcomes:
            counts.update(_counted(outcome))
            if outcome.failure:
                each, failure = outcome.trajectory, outcome.failure
                failed.append(
                    failure_row("explore", each.name, each.structure_id, failure.reason, failure.detail)
                )
            waiting.append(_snapshot_rows(outcome, potential))
            if sum(len(table) for table in waiting) >= _ROWS_AT_ONCE:
                writer.write(pa.concat_tables(waiting))
                waiting = []
        writer.write(pa.concat_tables([SCHEMAS["snapshots"].empty_table(), *waiting]))
        if counts["trajectories"] != counts["trajectories_finished"] + counts["trajectories_failed"]:
            raise RuntimeError(f"trajectories were lost: {dict(counts)}")
        writer.counts.update(counts, structures=n_structures)
    write_table(failures, "failures", failed, fingerprint)


def _counted(outcome: Outcome) -> dict[str, int]:
    frames = len(outcome.frames)
    if outcome.trajectory.is_equilibrium:
        return {"equilibrium": frames, "equilibrium_failed": int(outcome.failure is not None)}
    ended = "trajectories_failed" if outcome.failure else "trajectories_finished"
    return {"trajectories": 1, ended: 1, "frames": frames}


def _snapshot_rows(outcome: Outcome, potential: Potential) -> pa.Table:
    """Return the rows of a trajectory: its frames beside what is the same for all of them."""
    each, frames = outcome.trajectory, outcome.frames
    steps = frames["step"].to_pylist()
    same = {
        "structure_id": each.structure_id,
        "variant": each.variant,
        "domain": each.domain,
        "condition": each.condition,
        "ensemble": each.ensemble,
        "pressure_GPa": each.pressure_GPa,
        "n_atoms": len(each.numbers),
        "numbers": each.numbers.tolist(),
        "potential": potential.name,
        "potential_hash": potential.weights_hash,
        "source": each.source,
        "code_version": __version__,
    }
    own = {
        "snapshot_id": [f"{each.name}:{step:07d}" for step in steps],
        "time_fs": [step * each.timestep_fs if each.moves else 0.0 for step in steps],
        "temperature_K": [each.temperature_at(step) for step in steps],
        "lindemann": displacement_ratios(each, frames) if each.moves else [None] * len(steps),
    }
    columns = []
    for column in SCHEMAS["snapshots"]:
        if column.name in own:
            columns.append(pa.array(own[column.name], column.type))
        elif column.name in same:
            columns.append(pa.array([same[column.name]] * len(steps), column.type))
        else:
            columns.append(frames[column.name])
    return pa.table(columns, schema=SCHEMAS["snapshots"])
