"""From stored trajectories to the tables ``snapshots``, ``failures``, ``trajectories``, ``features``."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pesatlas import __version__
from pesatlas.dynamics.ends import SATURATED, SURVIVED
from pesatlas.explore.stored_frames import ATOMS, NEW, STRUCTURE
from pesatlas.explore.trajectory import Trajectory, displacement_ratios
from pesatlas.potentials.encoder import Encoder
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


@contextmanager
def ends_written(
    outcomes: Iterable[Outcome],
    *,
    encoder: Encoder,
    potential: Potential,
    fingerprint: str,
    trajectories: Path,
    features: Path,
) -> Iterator[Iterator[Outcome]]:
    """Pass outcomes on; of those that were taken write the tables ``trajectories`` and ``features``.

    Both are there when the context ends without an error.
    """
    about = {"pesatlas.encoder": encoder.name, "pesatlas.encoder_hash": encoder.weights_hash}
    rows, ends = [], Counter[str]()
    with TableWriter(features, "features", fingerprint, about) as writer:

        def passing() -> Iterator[Outcome]:
            for outcome in outcomes:
                if outcome.trajectory.moves:
                    rows.append(_trajectory_row(outcome, encoder, potential))
                    ends[rows[-1]["ended"]] += 1
                    if NEW in outcome.frames.column_names:
                        writer.write(_feature_rows(outcome))
                yield outcome

        yield passing()
    write_table(trajectories, "trajectories", rows, fingerprint, counts=ends)


def _trajectory_row(outcome: Outcome, encoder: Encoder, potential: Potential) -> dict[str, Any]:
    each, steps = outcome.trajectory, outcome.frames["step"].to_pylist()
    new = outcome.frames[NEW].to_pylist() if NEW in outcome.frames.column_names else []
    last, fresh = max(steps, default=0), [step for step, is_new in zip(steps, new, strict=True) if is_new]
    reason, detail = SURVIVED, f"it has all its {each.steps} steps; nothing was new after {{}}"
    if outcome.failure:
        reason, detail = outcome.failure.reason.value, outcome.failure.detail
    elif last < each.steps:
        reason, detail = SATURATED, "nothing was new after {}"
    return {
        "structure_id": each.structure_id,
        "variant": each.variant,
        "domain": each.domain,
        "condition": each.condition,
        "key": each.key,
        "n_atoms": len(each.numbers),
        "ended": reason,
        "detail": detail.replace("{}", f"step {max(fresh, default=0)}"),
        "steps": last,
        "longest_steps": each.steps,
        "length_ps": last * each.timestep_fs / 1000,
        "frames": len(steps),
        "new_frames": len(fresh),
        "last_new_ps": max(fresh, default=0) * each.timestep_fs / 1000,
        "encoder": encoder.name,
        "encoder_hash": encoder.weights_hash,
        "potential": potential.name,
        "potential_hash": potential.weights_hash,
        "source": each.source,
        "code_version": __version__,
    }


def _feature_rows(outcome: Outcome) -> pa.Table:
    """Return rows of table ``features``."""
    each, frames = outcome.trajectory, outcome.frames
    return pa.table(
        {
            "snapshot_id": [f"{each.name}:{step:07d}" for step in frames["step"].to_pylist()],
            "n_atoms": pa.array([len(each.numbers)] * len(frames), pa.int32()),
            "structure_features": frames[STRUCTURE],
            "atom_features": frames[ATOMS],
        },
        schema=SCHEMAS["features"],
    )
