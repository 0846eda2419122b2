"""Section ``select``: which frames are worth an expensive label."""

from typing import Annotated, Literal

from pydantic import Field

from pesatlas.config.section import Section
from pesatlas.registry import options_of

Policy = options_of("pesatlas.select.policies")

Components = Literal["kaiser"] | Annotated[int, Field(ge=1)]
_COMPONENTS = "principal components kept: a number, or kaiser (those with an eigenvalue above 1)"
_THRESHOLD = "BIRCH threshold, in weighted principal components: smaller means more clusters"


class StructureStage(Section):
    """First stage of 2DIRECT: clusters of structures. Defaults as MatPES (arXiv 2503.04070)."""

    components: Components = Field("kaiser", description=_COMPONENTS)
    threshold: float = Field(0.5, gt=0, description=_THRESHOLD)


class AtomStage(Section):
    """Second stage of 2DIRECT: clusters of atoms inside each cluster of structures. Defaults as MatPES."""

    components: Components = Field("kaiser", description=_COMPONENTS)
    threshold: float = Field(0.1, gt=0, description=_THRESHOLD)


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
    policy: Policy = Field({"kind": "matpes"}, description="how frames are picked from the clusters")  # type: ignore[valid-type]
