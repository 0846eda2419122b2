"""Section ``round``: what a campaign takes from the round before it."""

from pathlib import Path

from pydantic import Field

from pesatlas.config.explore import Potential
from pesatlas.config.label import LevelName
from pesatlas.config.section import Runtime, Section
from pesatlas.errors import UserError


class Round(Section):
    """A round after the first: what the round before trained explores and disagrees, and its labels are never made again."""

    number: int = Field(ge=2, le=99, description="which round this is; the first one has no section `round`")
    previous: Path = Field(
        description="folder of the round before, which has finished; it is only read, and what its datasets hold counts as covered"
    )
    manifest_sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="checksum of the manifest.json of the round before: a run stops if it has changed; null: whatever is there",
    )
    committee: list[Potential] = Field(
        min_length=2,
        description="potentials that differ by the seed of their training alone: where they disagree, labels are missing",
    )
    level: LevelName | None = Field(
        None,
        description="reference level that the committee was trained at, and is compared with; null: the first of label.levels",
    )
    device: str = Runtime(
        "cpu", pattern=r"^(cpu|cuda(:\d+)?)$", description="where the committee is asked: cpu, cuda, cuda:1"
    )
    stop_below_eV_per_A: float = Field(
        0.002,
        gt=0,
        description="say stop when a thousand labels more are expected to bring the forces of the committee nearer to the "
        "labels by less than this (eV/Å, root mean square over the candidates)",
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
            "round: there is no such section, and so no committee that could disagree. `pesatlas config new --previous FOLDER` writes one."
        )
    return settings
