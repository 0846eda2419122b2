"""The whole configuration of a campaign: the root of ``config.yaml``."""

import math
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from pesatlas.config.benchmark import Benchmark
from pesatlas.config.campaign_info import CampaignInfo
from pesatlas.config.compare import Compare
from pesatlas.config.dataset import Dataset
from pesatlas.config.encode import Encode
from pesatlas.config.explore import Explore
from pesatlas.config.label import MLIP, Label
from pesatlas.config.round import Round
from pesatlas.config.section import Runtime, Section
from pesatlas.config.select import Select
from pesatlas.config.structures import Structures
from pesatlas.config.train import Train

_TO_FINE_TUNE = 5e-4


class Campaign(Section):
    """One campaign, section by section, in the order in which data flow."""

    campaign: CampaignInfo = CampaignInfo()
    structures: Structures
    explore: Explore = Field(default_factory=Explore)
    encode: Encode = Field(default_factory=Encode)
    select: Select = Field(default_factory=Select)
    label: Label = Field(default_factory=Label)
    dataset: Dataset = Dataset()
    # trained and benchmarked potentials change nothing in the dataset
    train: Train | None = Runtime(
        None,
        description="potentials trained on the dataset of one level (docs/train.md); null: none",
    )
    benchmark: Benchmark | None = Runtime(
        None, description="benchmarks of potentials (docs/benchmark.md); null: none"
    )
    compare: Compare | None = Field(
        None,
        description="comparison of selection policies by potentials trained on their picks "
        "(docs/compare.md); without a section train the exploring potential is fine-tuned if it is a "
        "published one of the level of labels by vasp; null: none",
    )
    round: Round | None = Field(
        None,
        description="previous round (docs/rounds.md); null: this is the first round",
    )

    def identity(self) -> dict[str, Any]:
        """Return what decides results.

        A section that is null is left out, so that campaigns without it keep their keys.
        """
        return {name: value for name, value in super().identity().items() if value is not None}

    @model_validator(mode="before")
    @classmethod
    def _compare_by_fine_tuning(cls, raw: Any) -> Any:
        """Fine-tune the exploring potential for ``compare`` if there is no section ``train``.

        Only if it is a published one of the level of the labels, and these are by VASP: then its energies are
        of the same kind as theirs. For the learning rate see docs/examples.md.
        """
        if not isinstance(raw, dict) or raw.get("compare") is None or raw.get("train") is not None:
            return raw
        explore, label = (
            part if isinstance(part := raw.get(key), dict) else {} for key in ("explore", "label")
        )
        potential, backend = explore.get("potential"), label.get("backend")
        if not isinstance(potential, dict) or not isinstance(backend, dict):
            return raw
        level = (label.get("levels") or Label.model_fields["levels"].default)[0]
        # of a path its last part, as a potential is named by it
        weights = Path(str(potential.get("name") or potential.get("path"))).name.lower()
        kinds = potential.get("kind"), backend.get("kind")
        if (
            kinds != ("matgl", "vasp")
            or f"matpes-{level}" not in weights
            or potential.get("older_convention")
        ):
            return raw
        device = explore.get("device", "cpu")
        return raw | {"train": {"base": potential, "learning_rate": _TO_FINE_TUNE, "device": device}}

    @model_validator(mode="after")
    def _train_at_a_level_there_is(self) -> Self:
        train = self.train
        if train is None:
            return self
        if self.train_level not in self.label.levels:
            raise ValueError(
                f"train.level: {train.level} is not in label.levels, {self.label.levels}; name one of them"
            )
        if self.train_level == MLIP and train.base is None and train.references == "atoms":
            raise ValueError("train.references: labels by a potential include no isolated atoms; write fit")
        return self

    @model_validator(mode="after")
    def _quotas_have_domains(self) -> Self:
        kinds = [domain.kind for domain in self.structures.domains]
        for name in self.select.quotas:
            if name not in kinds:
                raise ValueError(
                    f"select.quotas: there is no domain '{name}' in structures.domains, which has "
                    f"{', '.join(kinds)}"
                )
        return self

    @model_validator(mode="after")
    def _compare_what_is_trained_and_held_out(self) -> Self:
        if self.compare is None:
            return self
        if self.train is None:
            raise ValueError(
                "compare: the section train is missing, which sets how potentials are trained, and the "
                "exploring potential is not fine-tuned without it, because it is not a published one of "
                f"matgl, of MatPES at level {self.label.levels[0]}, with labels by vasp. Add it, e.g. "
                "train: {base: {name: TensorNet-PES-MatPES-PBE-2025.2}}, or train: {} to train from scratch"
            )
        if not self.dataset.split.test:
            raise ValueError("compare: dataset.split.test is 0, so no material is held out; make it e.g. 0.2")
        return self

    @property
    def potentials(self) -> list[Any]:
        """Options of every potential.

        The one that explores, the one that labels, if it is a potential that does, and a committee.
        """
        labels = getattr(self.label.backend, "potential", None)
        committee = self.round.committee if self.round else []
        return [self.explore.potential, *([labels] if labels is not None else []), *committee]

    @property
    def train_level(self) -> str:
        """Level of trained potentials and of held-out frames for benchmarks; it has to be labelled."""
        return (self.train and self.train.level) or self.label.levels[0]

    @property
    def most_labels(self) -> int:
        """Structures that are labelled at most.

        The target, or what all arms of a comparison and its test may need.
        """
        target = self.select.target
        return self.compare.most_labels(target) if self.compare else target

    @property
    def label_batches(self) -> int:
        """Number of label batches, set by the target, so that the DAG need not wait for the selection."""
        return math.ceil(self.most_labels / self.label.structures_per_job)
