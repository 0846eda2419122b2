"""The whole configuration of a campaign: the root of ``config.yaml``."""

import math
from typing import Any

from pydantic import Field, model_validator

from pesatlas.config.dataset import Dataset
from pesatlas.config.encode import Encode
from pesatlas.config.explore import Explore
from pesatlas.config.label import Label
from pesatlas.config.section import Runtime, Section
from pesatlas.config.select import Select
from pesatlas.config.structures import Structures


class About(Section):
    """Who this campaign is, and where it keeps what it never computes twice."""

    name: str = Field(
        "campaign",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$",
        description="short name: letters, digits, - and _",
    )
    seed: int = Field(2026, ge=0, description="every random number of the campaign follows from this one")
    store: str = Runtime(
        "store",
        description="folder of finished trajectories and labels, addressed by content; campaigns may share one",
    )


class Campaign(Section):
    """One campaign, section by section, in the order in which data flow."""

    campaign: About = About()
    structures: Structures
    explore: Explore
    encode: Encode
    select: Select
    label: Label
    dataset: Dataset = Dataset()

    @model_validator(mode="after")
    def _quotas_have_domains(self) -> "Campaign":
        kinds = [domain.kind for domain in self.structures.domains]
        for name in self.select.quotas:
            if name not in kinds:
                raise ValueError(
                    f"select.quotas: there is no domain '{name}' in structures.domains, which has {', '.join(kinds)}"
                )
        return self

    @property
    def potentials(self) -> list[Any]:
        """Options of every potential: the one that explores, and the one that labels, if it is a potential that does."""
        labels = getattr(self.label.backend, "potential", None)
        return [self.explore.potential, *([labels] if labels is not None else [])]

    @property
    def label_batches(self) -> int:
        """Batches of labels: as many as the target may fill, so that the DAG need not wait for the selection."""
        return math.ceil(self.select.target / self.label.structures_per_job)
