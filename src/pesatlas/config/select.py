"""Section ``select``: the frames to label."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from pesatlas.config.plugins import options_of
from pesatlas.config.section import HomeText, Section

Policy = options_of("pesatlas.select.policies")

Components = Literal["kaiser"] | Annotated[int, Field(ge=1)]
_COMPONENTS = "number of principal components: a number, or kaiser (those with an eigenvalue above 1)"
_CLUSTERS = (
    "number of clusters instead of a threshold, which is then found by bisection; null: by the threshold"
)
_THRESHOLD = "BIRCH threshold, in weighted principal components: smaller means more clusters"


class StructureStage(Section):
    """First stage of 2DIRECT: clusters of structures. Defaults as MatPES (arXiv 2503.04070)."""

    components: Components = Field("kaiser", description=_COMPONENTS)
    threshold: float = Field(0.5, gt=0, description=_THRESHOLD)
    clusters: int | None = Field(None, ge=1, description=_CLUSTERS)


class AtomStage(Section):
    """Second stage of 2DIRECT: clusters of atoms inside each cluster of structures. Defaults as MatPES."""

    components: Components = Field("kaiser", description=_COMPONENTS)
    threshold: float = Field(0.1, gt=0, description=_THRESHOLD)
    clusters: int | None = Field(None, ge=1, description=_CLUSTERS)


class Budget(Section):
    """Limit of the DFT cost of the selection."""

    core_hours: float = Field(gt=0, description="core hours for all labels")
    core_hours_of_64_atoms: float = Field(
        gt=0,
        description="core hours for a structure of 64 atoms at all levels; the cost grows with the cube "
        "of the number of atoms",
    )


class Select(Section):
    """Two-stage DIRECT sampling, the selection policy, and the number of labels."""

    target: int = Field(
        1000,
        ge=1,
        description="number of structures to label at most, equilibrium crystals included; sets the "
        "number of label jobs",
    )
    include_equilibrium: bool = Field(
        True,
        description="always pick the unmoved crystals (condition equilibrium) first, as MatPES does",
    )
    structure: StructureStage = StructureStage()
    atoms: AtomStage = AtomStage()
    min_distance_A: float = Field(
        0.7, ge=0, description="frames with two atoms closer than this (Å) are never picked"
    )
    budget: Budget | None = Field(
        None,
        description="limit of the DFT cost of the picks, by the estimate given here; null: only target "
        "counts",
    )
    quotas: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(
        {},
        description="shares of domains, such as {surface: 0.2}: of the number of picks, or with a budget "
        "of the DFT cost; frames of such a domain are selected separately, all others share "
        "the rest; an unused share goes to the others",
    )
    reference: list[HomeText] = Field(
        [],
        description="labelled datasets (files, folders and globs as for structures) whose frames count as "
        "covered",
    )
    policy: Policy = Field({"kind": "matpes"}, description="policy to pick frames from the clusters")  # type: ignore[valid-type]

    @field_validator("quotas")
    @classmethod
    def _are_shares(cls, quotas: dict[str, float]) -> dict[str, float]:
        if sum(quotas.values()) > 1 + 1e-9:
            raise ValueError(f"the shares add up to {sum(quotas.values()):g}, which is more than 1")
        return quotas
