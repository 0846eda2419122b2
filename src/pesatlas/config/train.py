"""Section ``train``: potentials trained on the dataset of one level."""

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from pesatlas.config import plugins
from pesatlas.config.label import LevelName
from pesatlas.config.section import HomePath, Renamed, Runtime, Section

if TYPE_CHECKING:
    # built at run time from the modules that are there
    Architecture = Any
    Base = Any
else:
    Architecture = plugins.options_of("pesatlas.train.architectures")
    Base = plugins.find("pesatlas.potentials.kinds", "matgl").Options


class Loss(Section):
    """Weights of the loss: means of Huber losses over structures, force components and stress components."""

    energy: float = Field(1.0, ge=0, description="weight of energies (eV/atom)")
    forces: float = Field(1.0, ge=0, description="weight of force components (eV/Å)")
    stress: float = Field(0.1, ge=0, description="weight of stress components (GPa)")
    magmoms: float = Field(
        0.0,
        ge=0,
        description="weight of absolute magnetic moments (μB); only chgnet predicts them",
    )
    huber_delta: float = Field(
        0.01,
        gt=0,
        description="errors above this count linearly, below quadratically; in the unit of each quantity",
    )


class Train(Section):
    """Potentials of matgl, one per seed, trained on one level, with early stopping on the split valid."""

    level: LevelName | None = Field(
        None, description="level of the training labels; null: the first of label.levels"
    )
    architecture: Architecture = Field(
        {"kind": "tensornet"},
        description="architecture of a potential trained from scratch; ignored with a base",
    )
    base: Base | None = Field(
        None,
        description="weights to fine-tune, named as in explore.potential of kind matgl (path or name); "
        "their architecture, elements, scaling and references are kept",
    )
    retention_set: HomePath | None = Renamed(
        None,
        now="retention_set",
        before="kept",
        description="with a base: file or folder of a table dataset or imported, of the same level; errors "
        "on it "
        "before and after "
        "fine-tuning measure forgetting",
    )
    references: Literal["atoms", "fit"] = Field(
        "atoms",
        description="reference energies of the elements: atoms (isolated, at the same level) or fit "
        "(least squares on the split train; needed at mlip, which has no atoms)",
    )
    seeds: list[int] = Field(
        [0],
        min_length=1,
        description="seeds of initial weights and data order, one potential each; several potentials are "
        "a committee",
    )
    epochs: int = Field(200, ge=1, description="largest number of epochs")
    patience: int = Field(
        30,
        ge=1,
        description="stop after this number of epochs without a smaller loss of the split valid",
    )
    batch_size: int = Field(32, ge=1, description="structures per step, over all devices")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="initial learning rate of Adam")
    final_learning_rate: float = Field(
        0.01, gt=0, le=1, description="final learning rate as a share of the initial one; cosine schedule"
    )
    gradient_norm: float = Field(
        10.0, gt=0, description="largest norm of the gradient; longer ones are clipped"
    )
    loss: Loss = Loss()
    precision: Literal["float32", "float64"] = Field(
        "float32", description="precision of training; saved weights are float32"
    )
    device: str = Runtime(
        "cpu", pattern=r"^(cpu|cuda(:\d+)?)$", description="device of training: cpu, cuda, cuda:1"
    )
    devices: int = Runtime(
        1, ge=1, description="GPUs (or processes on a CPU) of one node that share each step"
    )
    loaders: int = Runtime(
        0,
        ge=0,
        description="processes per device that build neighbour lists in advance; 0 for a CPU, some for a GPU",
    )
    checkpoint_interval_s: float = Runtime(
        300.0,
        ge=0,
        description="time between checkpoints within an epoch (s): the most that a killed job loses",
    )

    @field_validator("seeds")
    @classmethod
    def _once_each(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise ValueError("seeds must be different and not negative; list each once")
        return seeds

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.retention_set is not None and self.base is None:
            raise ValueError(
                "retention_set: a potential trained from scratch has nothing to forget; set a base, or "
                "remove this key"
            )
        if self.base is not None and self.base.older_convention:
            raise ValueError(
                "base: weights of matgl's older convention cannot be fine-tuned, because matgl would load "
                "the result incorrectly, under its present convention; use weights made for matgl 4, or "
                "train from scratch"
            )
        if self.loss.magmoms and self.base is None and self.architecture.kind != "chgnet":
            raise ValueError(
                f"loss: {self.architecture.kind} predicts no magnetic moments; set loss.magmoms to 0, or "
                "use the architecture chgnet"
            )
        if self.device != "cpu" and ":" in self.device and self.devices > 1:
            raise ValueError(f"devices: {self.device} is one GPU; write device: cuda for {self.devices}")
        if self.devices > self.batch_size:
            raise ValueError(
                f"devices: a batch of {self.batch_size} cannot be shared by {self.devices}; make batch_size "
                "larger"
            )
        if not (self.loss.energy or self.loss.forces or self.loss.stress):
            raise ValueError("loss: all weights are 0, so there is nothing to learn")
        return self
