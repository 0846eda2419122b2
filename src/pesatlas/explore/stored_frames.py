"""Frames of a trajectory, and their compact form in the store: Arrow IPC, zstd."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pesatlas.dynamics.distance import min_distance
from pesatlas.dynamics.md_state import State
from pesatlas.dynamics.shortest_distances import shortest_distances
from pesatlas.potentials import device as devices
from pesatlas.potentials.potential import VOIGT
from pesatlas.tables import SCHEMAS, FailureReason
from pesatlas.tables.failures import Failure

_COLUMNS = (
    "step",
    "cell_A",
    "positions_A",
    "instant_temperature_K",
    "mlip_energy_eV",
    "mlip_stress_eV_per_A3",
    "mlip_max_force_eV_per_A",
    "min_distance_A",
)
STRUCTURE, ATOMS, NEW = "structure_features", "atom_features", "new"
"""Columns of frames that are described: features, as in the table ``features``, and whether they are new.

A frame that is not described yet has None there; frames of trajectories of fixed length do not have them.
"""
_SCHEMA = pa.schema([SCHEMAS["snapshots"].field(name).remove_metadata() for name in _COLUMNS])
_DESCRIBED = pa.schema(
    [*_SCHEMA, *(pa.field(name, pa.list_(pa.float16())) for name in (STRUCTURE, ATOMS)), (NEW, pa.bool_())]
)

Frame = dict[str, Any]
"""One frame: the columns of the table ``snapshots`` that the dynamics decide."""


def take_frames(state: State, steps: Mapping[int, int], *, moving: bool = True) -> dict[int, Frame]:
    """Make frames of some structures of a state, by place in it.

    ``steps`` says which ones, and how far each is.

    What does not move has no kinetic temperature, nor has a cell of one atom.
    """
    arrays = state.arrays()
    largest = state.forces.norm(dim=1).cpu().numpy()
    temperatures = state.kinetic_temperature().tolist()
    ends = arrays["n_atoms"].cumsum()
    # on a GPU all distances at once; on a CPU each as it always was, to the last bit
    distances = shortest_distances(state.batch).tolist() if devices.runs_ahead(state.cells.device) else None
    frames = {}
    for i, step in steps.items():
        atoms = slice(ends[i] - arrays["n_atoms"][i], ends[i])
        cell, positions = arrays["cells"][i], arrays["positions"][atoms]
        frames[i] = make_frame(
            step,
            cell,
            positions,
            energy=float(arrays["energies"][i]),
            stress=arrays["stresses"][i][VOIGT],
            largest_force=float(largest[atoms].max()),
            temperature=temperatures[i] if moving and len(positions) > 1 else None,
            distance=distances[i] if distances else None,
        )
    return frames


def make_frame(
    step: int,
    cell: np.ndarray,
    positions: np.ndarray,
    *,
    energy: float,
    stress: np.ndarray,
    largest_force: float,
    temperature: float | None = None,
    distance: float | None = None,
) -> Frame:
    """Make a frame of what a potential says.

    Units are those of the columns, ``stress`` has its six components; ``distance`` is the shortest one, None
    if it is to be found.
    """
    return {
        "step": step,
        "cell_A": cell.ravel(),
        "positions_A": positions.ravel(),
        "instant_temperature_K": temperature,
        "mlip_energy_eV": energy,
        "mlip_stress_eV_per_A3": stress,
        "mlip_max_force_eV_per_A": largest_force,
        "min_distance_A": min_distance(cell, positions) if distance is None else distance,
    }


def frames_table(frames: Sequence[Frame]) -> pa.Table:
    """Return frames as a table."""
    schema = _DESCRIBED if frames and NEW in frames[0] else _SCHEMA
    return pa.table(
        {field.name: pa.array([each[field.name] for each in frames], field.type) for field in schema},
        schema=schema,
    )


def settled(frames: Sequence[Frame]) -> int:
    """Return how many frames, from the first one, will stay as they are: those that lack no description."""
    return next((i for i, frame in enumerate(frames) if NEW in frame and frame[NEW] is None), len(frames))


def table_frames(table: pa.Table) -> list[Frame]:
    """Return the frames of a table, the numbers bit for bit."""
    described = NEW in table.column_names
    frames = [
        {k: np.array(v) if isinstance(v, list) else v for k, v in row.items()}
        for row in table.select(_COLUMNS).to_pylist()
    ]
    if described:
        for name in (STRUCTURE, ATOMS):
            for frame, vector in zip(frames, table[name], strict=True):
                found = vector.values
                frame[name] = None if found is None else found.to_numpy(zero_copy_only=False)
        for frame, new in zip(frames, table[NEW].to_pylist(), strict=True):
            frame[NEW] = new
    return frames


def pack(frames: Sequence[Frame], failure: Failure | None = None) -> bytes:
    """Make the payload of a finished or failed trajectory."""
    metadata = {"reason": failure.reason.value, "detail": failure.detail} if failure else {}
    return to_bytes(frames_table(frames).replace_schema_metadata(metadata))


def unpack(payload: bytes) -> tuple[pa.Table, Failure | None]:
    """Read what ``pack`` made."""
    table = from_bytes(payload)
    metadata = table.schema.metadata or {}
    failure = None
    if b"reason" in metadata:
        failure = Failure(FailureReason(metadata[b"reason"].decode()), metadata[b"detail"].decode())
    return table.replace_schema_metadata(None), failure


def to_bytes(table: pa.Table) -> bytes:
    """Serialise a table."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def from_bytes(payload: bytes) -> pa.Table:
    """Read what ``to_bytes`` made."""
    with pa.ipc.open_stream(payload) as reader:
        return reader.read_all()
