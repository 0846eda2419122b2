"""Section ``select``: the frames to label."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from pesatlas.config.plugins import options_of
from pesatlas.config.section import Section

Policy = options_of("pesatlas.select.policies")

Components = Literal["kaiser"] | Annotated[int, Field(ge=1)]
_COMPONENTS = "principal components kept: a number, or kaiser (those with an eigenvalue above 1)"
_CLUSTERS = "clusters to make instead, over all: the threshold that gives them is found by bisection; null: as the threshold says"
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
    """How much DFT the selection may cost."""

    core_hours: float = Field(gt=0, description="core hours for all labels together")
    core_hours_of_64_atoms: float = Field(
        gt=0,
        description="what a structure of 64 atoms takes at all levels together; others go as the cube of their atoms",
    )


class Select(Section):
    """Two-stage DIRECT sampling, the policy that picks from its clusters, and how many labels may be spent."""

    target: int = Field(
        1000,
        ge=1,
        description="most structures to label, equilibrium crystals included; fixes the number of label jobs",
    )
    include_equilibrium: bool = Field(
        True,
        description="always pick the crystals as given (condition equilibrium), before anything else, as MatPES does",
    )
    structure: StructureStage = StructureStage()
    atoms: AtomStage = AtomStage()
    min_distance_A: float = Field(
        0.7, ge=0, description="frames with two atoms closer than this (Å) are never picked"
    )
    budget: Budget | None = Field(
        None, description="pick no more than DFT can pay for, by the estimate given; null: only target counts"
    )
    quotas: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(
        {},
        description="shares for domains, such as {surface: 0.2}: of the picks, or with a budget of what DFT costs; a domain with a share "
        "is selected from by itself, the others together have what is left; what a domain has no frames for goes to the others",
    )
    reference: list[str] = Field(
        [],
        description="datasets that are labelled already (files, folders and globs as for structures): what is in them counts as covered",
    )
    policy: Policy = Field({"kind": "matpes"}, description="how frames are picked from the clusters")  # type: ignore[valid-type]

    @field_validator("quotas")
    @classmethod
    def _are_shares(cls, quotas: dict[str, float]) -> dict[str, float]:
        if sum(quotas.values()) > 1 + 1e-9:
            raise ValueError(f"the shares add up to {sum(quotas.values()):g}, which is more than 1")
        return quotas
