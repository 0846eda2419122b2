"""Section ``dataset``: what is accepted, and how it is split."""

from pydantic import Field, model_validator

from pesatlas.config.section import Section


class Split(Section):
    """Shares of the splits; whole materials are assigned, so that frames of one trajectory never leak."""

    valid: float = Field(0.05, ge=0, lt=1, description="share of structures for validation")
    test: float = Field(
        0.05, ge=0, lt=1, description="share of structures for the test split; the rest trains"
    )

    @model_validator(mode="after")
    def _leave_some_to_train(self) -> "Split":
        if self.valid + self.test >= 1:
            raise ValueError("valid and test together leave nothing to train on; make their sum less than 1")
        return self


class Dataset(Section):
    """Which labels enter the dataset."""

    max_net_force_eV_per_A: float = Field(
        0.02, gt=0, description="quarantine a label whose forces sum to more than this (eV/Å)"
    )
    max_force_eV_per_A: float = Field(
        100.0, gt=0, description="quarantine a label with a force above this (eV/Å): not a physical structure"
    )
    max_entropy_eV_per_atom: float = Field(
        0.02,
        gt=0,
        description="quarantine a label whose energy and free energy differ by more than this (eV/atom): "
        "the electrons' entropy at that smearing makes its extrapolation to zero doubtful",
    )
    split: Split = Split()
