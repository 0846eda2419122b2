"""Names for how a trajectory ends, the same in exploration and in benchmarks."""

from pesatlas.tables.schemas import FailureReason

SURVIVED = "survived"
"""The word for a trajectory that went on to its last step."""

SATURATED = "saturated"
"""The word for a trajectory that ended before, because it showed nothing new."""

LEFT_PHYSICS = frozenset(
    {
        FailureReason.EXPLODED_DISTANCE,
        FailureReason.EXPLODED_TEMPERATURE,
        FailureReason.EXPLODED_VOLUME,
        FailureReason.LOST_ATOMS,
        FailureReason.NOT_FINITE,
    }
)
"""Ends that the dynamics came to; any other reason is of a machine, a program or the input."""

_RENAMED = {"atoms_too_close": "exploded_distance"}


def current_name(end: str) -> str:
    """Return the word of today for an end that was stored under an older one."""
    return _RENAMED.get(end, end)
