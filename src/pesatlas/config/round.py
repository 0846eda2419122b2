"""Section ``round``: what a campaign takes from the round before it."""

from pydantic import Field

from pesatlas.config.explore import Potential
from pesatlas.config.label import LevelName
from pesatlas.config.section import HomePath, Runtime, Section
from pesatlas.errors import UserError


class Round(Section):
    """A round after the first: potentials of the previous round explore and form the committee.

    Its labels are reused.
    """

    number: int = Field(
        ge=2, le=99, description="number of this round; the first round has no section `round`"
    )
    previous: HomePath = Field(
        description="folder of the finished previous round; it is only read, and frames in its datasets "
        "count as covered"
    )
    manifest_sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="checksum of manifest.json of the previous round: a run stops if it has changed; "
        "null: not checked",
    )
    committee: list[Potential] = Field(
        min_length=2,
        description="potentials that differ only in their training seed; their disagreement shows where "
        "labels are missing",
    )
    level: LevelName | None = Field(
        None,
        description="reference level of the committee's training; null: the first of label.levels",
    )
    device: str = Runtime(
        "cpu", pattern=r"^(cpu|cuda(:\d+)?)$", description="device of the committee: cpu, cuda, cuda:1"
    )
    stop_below_eV_per_A: float = Field(
        0.002,
        gt=0,
        description="advise to stop when a thousand more labels are expected to reduce the force error of "
        "the committee by less than this (eV/Å, root mean square over the candidates)",
    )


def required(settings: Round | None) -> Round:
    """Return the section ``round`` of a campaign that has to have one.

    Raises
    ------
    UserError
        If it has none.
    """
    if settings is None:
        raise UserError(
            "round: the section is missing, so there is no committee. `pesatlas config new --previous "
            "FOLDER` writes one."
        )
    return settings
